"""What changes while a compile runs, or right before and behind it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pycc import compile as compiling
from pycc.frame import Report, Run
from tests.compile_kit import Bench, Launcher, request_of
from tests.test_compile import plainly


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path).setup()
    yield bench
    bench.close()


def test_a_header_that_was_just_made_is_waited_for(bench: Bench) -> None:
    for number in range(12):
        bench.file(f"new{number}.c", f"#include <fresh{number}.h>\n")
        time.sleep(0.01)
        (bench.cwd / f"inc{number}").mkdir()
        (bench.cwd / f"inc{number}/fresh{number}.h").write_text("int x;\n")
        bench.call(f"-c -Iinc{number} new{number}.c -o fresh.o")
        assert "modified_input_file" not in bench.counters()


def make_optional(bench: Bench) -> None:
    bench.file("opt.h", "int opt;\n")


def move_in_front(bench: Bench) -> None:
    (bench.cwd / "new").replace(bench.cwd / "one")


def link_in_front(bench: Bench) -> None:
    (bench.cwd / "one").mkdir(exist_ok=True)
    (bench.cwd / "one/w.h").symlink_to("../new/w.h")


@pytest.mark.parametrize("change", [make_optional, move_in_front, link_in_front])
def test_what_appears_just_behind_the_compile_is_not_taken_for_what_was_there(
    bench: Bench, change: Callable[[Bench], None]
) -> None:
    text = '#if __has_include("opt.h")\nint has;\n#endif\n#include <w.h>\nint w = W;\n'
    bench.file("late.c", text)
    for name, value in (("new", 1), ("two", 2)):
        (bench.cwd / name).mkdir()
        bench.file(f"{name}/w.h", f"#define W {value}\n")
    time.sleep(0.02)

    class Changing(Launcher):
        def run(self, command: Run, meanwhile: Callable[[], None] | None = None) -> Report:
            report = super().run(command, meanwhile)
            if b"late.c" in command.argv:
                change(bench)
            return report

    launcher = Changing(bench.variables, os.fsencode(bench.cwd))
    words = [b"gcc", b"-c", b"-Ione", b"-Itwo", b"late.c"]
    request = request_of(words, bench.variables, launcher.cwd)
    launcher.carry_out(compiling.answer(request, launcher, bench.resident))
    time.sleep(0.02)
    for _ in range(2):
        bench.call("-c -Ione -Itwo late.c")
        expected = plainly(bench, "-c -Ione -Itwo late.c -o OUT", "late.o")
        assert (bench.cwd / "late.o").read_bytes() == expected
