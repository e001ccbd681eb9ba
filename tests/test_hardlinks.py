"""hard_link with a real compiler: one file, many names, and never another's bytes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compile_kit import GCC, Bench

pytestmark = pytest.mark.skipif(not GCC, reason="gcc is not installed")
LINE = "-c a.c -o a.o"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path).setup(HARDLINK="1", SLOPPINESS="include_file_ctime")
    made.file("a.c", "int a = 1;\n")
    yield made
    made.close()


def hit(bench: Bench, line: str = LINE) -> bool:
    assert bench.call(line) == 0, bench.stderr
    return "cache_miss" not in bench.counters()


def put_away(bench: Bench) -> Path:
    """The object under another name, so that the next call makes it again."""
    bench.counters()
    return (bench.cwd / "a.o").rename(bench.cwd / "saved.o")


def test_a_hit_is_another_name_of_the_object_that_was_compiled(bench: Bench) -> None:
    assert not hit(bench)
    saved = put_away(bench)
    assert hit(bench)
    assert os.path.samefile(saved, bench.cwd / "a.o")


def test_objects_with_many_names_are_read_only(bench: Bench) -> None:
    assert not hit(bench)
    assert os.stat(bench.cwd / "a.o").st_mode & 0o777 == 0o444


def test_a_linked_object_is_no_older_than_its_source(bench: Bench) -> None:
    assert not hit(bench)
    os.utime(put_away(bench), (1, 1))
    assert hit(bench)
    assert os.stat(bench.cwd / "a.o").st_mtime > os.stat(bench.cwd / "a.c").st_mtime


def test_without_the_setting_a_hit_is_a_copy(bench: Bench) -> None:
    assert not hit(bench)
    saved = put_away(bench)
    bench.configure(NOHARDLINK="1")
    del bench.variables[b"CCACHE_HARDLINK"]
    assert hit(bench)
    assert not os.path.samefile(saved, bench.cwd / "a.o")
    assert saved.read_bytes() == (bench.cwd / "a.o").read_bytes()


@pytest.mark.parametrize("length", [0, -1, 1])
def test_a_file_that_somebody_wrote_to_is_a_miss(bench: Bench, length: int) -> None:
    assert not hit(bench)
    saved = put_away(bench)
    good = saved.read_bytes()
    saved.chmod(0o644)
    saved.write_bytes(b"x" * (len(good) + length))
    assert not hit(bench)
    assert (bench.cwd / "a.o").read_bytes() == good
    put_away(bench)
    assert hit(bench)


def test_a_compile_does_not_write_through_the_name_that_it_finds(bench: Bench) -> None:
    assert not hit(bench)
    bench.counters()
    (bench.cwd / "kept.o").hardlink_to(bench.cwd / "a.o")
    first = (bench.cwd / "kept.o").read_bytes()
    bench.file("a.c", "int b = 2;\n")
    assert not hit(bench)
    assert (bench.cwd / "kept.o").read_bytes() == first


def test_the_file_is_an_entry_and_goes_with_the_cache(bench: Bench) -> None:
    assert not hit(bench)
    put_away(bench)
    stats = dict(line.split("\t") for line in bench.command("--print-stats").splitlines())
    assert stats["files_in_cache"] == "3"
    bench.command("--clear")
    assert os.stat(bench.cwd / "saved.o").st_nlink == 1
    assert not hit(bench)


@pytest.mark.parametrize("line", ["-S a.c -o a.o", "-c a.h -o a.o"])
def test_what_compilers_write_in_place_is_copied(bench: Bench, line: str) -> None:
    bench.file("a.h", "int a;\n")
    bench.configure(SLOPPINESS="include_file_ctime,pch_defines")
    assert not hit(bench, line)
    saved = put_away(bench)
    assert hit(bench, line)
    assert not os.path.samefile(saved, bench.cwd / "a.o")


def test_with_remote_storage_nothing_is_linked(bench: Bench, tmp_path: Path) -> None:
    bench.configure(REMOTE_STORAGE=f"file:{tmp_path}/remote")
    assert not hit(bench)
    assert os.stat(bench.cwd / "a.o").st_nlink == 1


def test_an_object_on_another_file_system_is_copied(bench: Bench) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or os.stat(memory).st_dev == os.stat(bench.cwd).st_dev:
        pytest.skip("needs two file systems")
    assert not hit(bench)
    other = memory / f"pycc-{os.getpid()}.o"
    try:
        assert hit(bench, f"-c a.c -o {other}")
        subprocess.run([GCC, "-c", "a.c", "-o", "plain.o"], cwd=bench.cwd, check=True)
        assert other.read_bytes() == (bench.cwd / "plain.o").read_bytes()
    finally:
        other.unlink(missing_ok=True)
