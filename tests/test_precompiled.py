"""Precompiled headers with real compilers: what they hold is seen, and who may use them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycc.precompiled import files, in_text, may_read, named, records_times
from tests.command_lines import CLANG, understood
from tests.compile_kit import GCC, Bench

CLANG_PATH = shutil.which("clang", path="/usr/bin:/bin")
needs_gcc = pytest.mark.skipif(not GCC, reason="gcc is not installed")
needs_clang = pytest.mark.skipif(not CLANG_PATH, reason="clang is not installed")

MISS = {"cache_miss", "direct_cache_miss", "preprocessed_cache_miss"}
USES = "include_file_ctime,time_macros"
MAKES = "include_file_ctime,pch_defines"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path).setup(SLOPPINESS=USES)
    made.file("p.h", "#define P 1\n")
    made.file("a.c", "int a = P;\n")
    made.file("i.c", '#include "p.h"\nint a = P;\n')
    yield made
    made.close()


def precompile(bench: Bench, text: str, name: str = "p.h.gch") -> None:
    """A precompiled header of ``text``; p.h itself stays as it is."""
    source = bench.file("other/p.h", text)
    output = bench.cwd / name
    output.parent.mkdir(exist_ok=True)
    subprocess.run([GCC, "-x", "c-header", source, "-o", output], check=True)
    bench.file("other/p.h", "")
    os.utime(output, (time.time() - 3600, time.time() - 3600))


def outcome(bench: Bench, line: str, name: bytes = b"gcc") -> str:
    """The counter that tells what became of one call."""
    assert bench.call(line, name=name) == 0, bench.stderr
    found = bench.counters()
    for counter in ("direct_cache_hit", "preprocessed_cache_hit", "cache_miss"):
        if counter in found:
            return counter
    return next(iter(found.keys() - MISS))


def same_as_plain(bench: Bench, line: str) -> bool:
    ours = (bench.cwd / "a.o").read_bytes()
    subprocess.run([GCC, *line.split(), "-o", "plain.o"], cwd=bench.cwd, check=True)
    return ours == (bench.cwd / "plain.o").read_bytes()


@needs_gcc
@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("line", ["-include p.h -c a.c", "-c i.c -o a.o"])
def test_another_precompiled_header_of_an_unchanged_header_is_a_miss(
    bench: Bench, line: str, direct: bool
) -> None:
    if not direct:
        bench.configure(NODIRECT="1")
    hit = "direct_cache_hit" if direct else "preprocessed_cache_hit"
    precompile(bench, "#define P 2\n")
    assert [outcome(bench, line) for _ in "12"] == ["cache_miss", hit]
    precompile(bench, "#define P 3\n")
    assert outcome(bench, line) == "cache_miss"
    assert same_as_plain(bench, line.removesuffix(" -o a.o"))
    assert outcome(bench, line) == hit


@needs_gcc
def test_a_precompiled_header_that_appears_is_a_miss(bench: Bench) -> None:
    line = "-c i.c -o a.o"
    assert [outcome(bench, line) for _ in "12"] == ["cache_miss", "direct_cache_hit"]
    precompile(bench, "#define P 2\n")
    assert outcome(bench, line) == "cache_miss"
    assert same_as_plain(bench, "-c i.c")


@needs_gcc
def test_a_precompiled_header_that_goes_is_a_miss(bench: Bench) -> None:
    precompile(bench, "#define P 2\n")
    line = "-include p.h -c a.c"
    assert outcome(bench, line) == "cache_miss"
    (bench.cwd / "p.h.gch").unlink()
    assert outcome(bench, line) == "cache_miss"
    assert same_as_plain(bench, line)


@needs_gcc
@pytest.mark.parametrize("line", ["-include p.h -c a.c", "-c i.c -o a.o"])
def test_another_file_in_a_directory_of_precompiled_headers_is_a_miss(
    bench: Bench, line: str
) -> None:
    precompile(bench, "#define P 2\n", "p.h.gch/one")
    seen = [outcome(bench, line) for _ in "123"]
    assert seen[0] == "cache_miss"
    assert seen[-1].endswith("_hit")
    precompile(bench, "#define P 3\n", "p.h.gch/another")
    assert outcome(bench, line) == "cache_miss"
    assert same_as_plain(bench, line.removesuffix(" -o a.o"))


@needs_gcc
@pytest.mark.parametrize("line", ["-include p.h -c a.c", "-c i.c -o a.o"])
def test_without_time_macros_nothing_that_uses_one_is_cached(bench: Bench, line: str) -> None:
    bench.configure(SLOPPINESS="include_file_ctime")
    precompile(bench, "#define P 2\n")
    assert outcome(bench, line) == "could_not_use_precompiled_header"


@needs_gcc
def test_a_header_that_is_there_only_precompiled_counts_as_the_preprocessors_error(
    bench: Bench,
) -> None:
    bench.configure(SLOPPINESS="include_file_ctime")
    precompile(bench, "#define P 2\n")
    (bench.cwd / "p.h").unlink()
    assert outcome(bench, "-c i.c -o a.o") == "preprocessor_error"


@needs_gcc
def test_an_external_checksum_stands_for_the_precompiled_header(bench: Bench) -> None:
    bench.configure(PCH_EXTSUM="1")
    line = "-include p.h -c a.c"
    precompile(bench, "#define P 2\n")
    bench.file("p.h.gch.sum", "one")
    assert outcome(bench, line) == "cache_miss"
    precompile(bench, "#define P 3\n")
    assert outcome(bench, line) == "direct_cache_hit"
    bench.file("p.h.gch.sum", "two")
    assert outcome(bench, line) == "cache_miss"


@needs_gcc
def test_results_with_external_checksums_do_not_serve_calls_without(bench: Bench) -> None:
    line = "-include p.h -c a.c"
    precompile(bench, "#define P 2\n")
    bench.file("p.h.gch.sum", "one")
    bench.configure(PCH_EXTSUM="1")
    assert outcome(bench, line) == "cache_miss"
    del bench.variables[b"CCACHE_PCH_EXTSUM"]
    assert outcome(bench, line) == "cache_miss"


@needs_gcc
def test_a_precompiled_header_newer_than_the_compile_is_not_stored(bench: Bench) -> None:
    precompile(bench, "#define P 2\n")
    os.utime(bench.cwd / "p.h.gch", (time.time() + 60, time.time() + 60))
    assert outcome(bench, "-include p.h -c a.c") == "modified_input_file"


@needs_gcc
@pytest.mark.parametrize("direct", [True, False])
def test_a_macro_that_no_text_shows_tells_precompiled_headers_apart(
    bench: Bench, direct: bool
) -> None:
    bench.configure(SLOPPINESS=MAKES)
    if not direct:
        bench.configure(NODIRECT="1")
    line = "-c p.h -o p.h.gch"
    assert outcome(bench, line) == "cache_miss"
    assert outcome(bench, line).endswith("_hit")
    assert outcome(bench, "-DQ " + line) == "cache_miss"
    bench.file("p.h", "#define P 2\n")
    assert outcome(bench, line) == "cache_miss"


@needs_clang
def test_clang_s_precompiled_headers_are_told_apart_by_the_times_of_their_files(
    bench: Bench,
) -> None:
    bench.configure(SLOPPINESS=MAKES)
    bench.file("q.h", '#include "p.h"\n')
    line = "-c q.h -o q.h.pch"
    assert [outcome(bench, line, b"clang") for _ in "12"] == ["cache_miss", "direct_cache_hit"]
    bench.file("p.h", "#define P 1\n", age=7200)
    assert outcome(bench, line, b"clang") == "cache_miss"
    bench.file("q.h", '#include "p.h"\n', age=7200)
    assert outcome(bench, line, b"clang") == "cache_miss"
    used = subprocess.run([str(CLANG_PATH), "-include", "q.h", "-c", "a.c"], cwd=bench.cwd)
    assert used.returncode == 0


def test_names_on_the_command_line_are_candidates_by_their_normal_form() -> None:
    found = named(understood("-include ./p.h -include-pch q.pch -c a.c", CLANG))
    assert found[:2] == (b"p.h.gch", b"p.h.pch")
    assert found[-1] == b"q.pch"


def test_gcc_looks_for_no_precompiled_header_while_it_makes_one() -> None:
    assert not may_read(understood("-c p.h"))
    assert may_read(understood("-c a.c -o a.gch"))
    assert may_read(understood("-c p.h", CLANG))


def test_only_clang_records_times_and_only_without_the_option_against_it() -> None:
    assert records_times(understood("-c p.h", CLANG))
    assert not records_times(understood("-Xclang -fno-pch-timestamp -c p.h", CLANG))
    assert not records_times(understood("-c p.h"))
    assert not records_times(understood("-c a.c", CLANG))


def test_the_pragma_of_preprocessed_text_names_its_precompiled_header() -> None:
    text = b'# 1 "a.c"\n#pragma GCC pch_preprocess "p.h.gch"\nint a;\n'
    assert in_text(text) == (b"p.h.gch",)
    assert in_text(b'x = "#pragma GCC pch_preprocess \\"p.h.gch\\"";\n') == ()


def test_a_checksum_file_is_used_where_it_exists(tmp_path: Path) -> None:
    for name in ("one.gch", "two.gch", "two.gch.sum"):
        (tmp_path / name).touch()
    cwd, names = os.fsencode(tmp_path), (b"one.gch", b"two.gch", b"gone.gch")
    assert files(cwd, names, external_checksum=True) == (b"one.gch", b"two.gch.sum")
    assert files(cwd, names, external_checksum=False) == (b"one.gch", b"two.gch")
