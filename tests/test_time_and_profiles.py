"""SOURCE_DATE_EPOCH and profile data, with a real compiler."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compile_kit import GCC, Bench

pytestmark = pytest.mark.skipif(not GCC, reason="gcc is not installed")
USE = "-fprofile-use=data -c a.c"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path).setup(SLOPPINESS="include_file_ctime")
    made.file("a.c", "int main(void) { return 0; }\n")
    made.file("date.c", "char date[] = __DATE__;\n")
    made.file("time.c", "char time[] = __TIME__;\n")
    yield made
    made.close()


def counted(bench: Bench, line: str, **variables: str) -> dict[str, int]:
    bench.variables |= {k.encode(): v.encode() for k, v in variables.items()}
    bench.call(line)
    return bench.counters()


def test_an_epoch_that_nothing_asks_for_is_no_difference(bench: Bench) -> None:
    assert "cache_miss" in counted(bench, "-c a.c", SOURCE_DATE_EPOCH="1")
    assert "direct_cache_hit" in counted(bench, "-c a.c", SOURCE_DATE_EPOCH="2")


def test_an_epoch_of_another_day_is_a_miss_where_the_date_is_asked_for(bench: Bench) -> None:
    assert "cache_miss" in counted(bench, "-c date.c", SOURCE_DATE_EPOCH="1")
    assert "direct_cache_hit" in counted(bench, "-c date.c", SOURCE_DATE_EPOCH="1")
    assert "cache_miss" in counted(bench, "-c date.c", SOURCE_DATE_EPOCH="86401")
    assert b"Jan  2 1970" in (bench.cwd / "date.o").read_bytes()


def test_what_a_sloppy_call_stored_serves_no_strict_one(bench: Bench) -> None:
    sloppy = "include_file_ctime,time_macros"
    found = counted(bench, "-c time.c", SOURCE_DATE_EPOCH="1", CCACHE_SLOPPINESS=sloppy)
    assert "cache_miss" in found
    assert "direct_cache_hit" in counted(bench, "-c time.c", SOURCE_DATE_EPOCH="2")
    strict = counted(bench, "-c time.c", CCACHE_SLOPPINESS="include_file_ctime")
    assert "direct_cache_hit" not in strict
    assert b"00:00:02" in (bench.cwd / "time.o").read_bytes()


@pytest.mark.parametrize("line", [USE, "-fprofile-use -c a.c", "-fbranch-probabilities -c a.c"])
def test_missing_profile_data_is_a_missing_input_file(bench: Bench, line: str) -> None:
    assert counted(bench, line) == {"no_input_file": 1}


def run_instrumented(bench: Bench) -> None:
    subprocess.run([GCC, "-fprofile-generate", "a.o", "-o", "a"], cwd=bench.cwd, check=True)
    subprocess.run(["./a"], cwd=bench.cwd, check=True)


def test_other_profile_data_is_a_miss(bench: Bench) -> None:
    assert "cache_miss" in counted(bench, "-fprofile-generate=data -c a.c")
    run_instrumented(bench)
    generated = (bench.cwd / "a").read_bytes()
    assert "cache_miss" in counted(bench, USE)
    assert "direct_cache_hit" in counted(bench, USE)
    (bench.cwd / "a").write_bytes(generated)
    subprocess.run(["./a"], cwd=bench.cwd, check=True)
    assert "cache_miss" in counted(bench, USE)


def test_profile_data_is_found_by_the_directory_as_the_user_sees_it(bench: Bench) -> None:
    # The mangled name of the data file begins with $PWD.
    seen = bench.root / "seen"
    seen.symlink_to(bench.cwd)
    bench.variables[b"PWD"] = os.fsencode(seen)
    assert "cache_miss" in counted(bench, "-fprofile-generate=data -c a.c")
    run_instrumented(bench)
    assert [name for name in os.listdir(bench.cwd / "data") if "#seen#" in name]
    assert "cache_miss" in counted(bench, USE)
    assert b"profile count data file not found" not in bench.stderr


def test_a_missing_sanitizer_list_is_a_bad_input_file(bench: Bench) -> None:
    found = counted(bench, "-fsanitize-coverage-allowlist=no.txt -c a.c")
    assert found == {"bad_input_file": 1}
