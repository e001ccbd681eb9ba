"""Remote storage behind ccache's storage helpers: programs that are started when needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycc.resident import Resident
from tests.compile_kit import Bench
from tests.test_remote_tiers import LOCAL_HIT, MISS, REMOTE_HIT, compiled, forget_locally

PROGRAM = Path(__file__).with_name("storage_program.py")


@pytest.fixture(scope="module")
def resident() -> Iterator[Resident]:
    resident = Resident()
    yield resident
    resident.close()


@pytest.fixture
def bench(tmp_path: Path, resident: Resident) -> Iterator[Bench]:
    runtime = tempfile.mkdtemp(prefix="r")  # short, because it is for sockets
    place = tmp_path / "programs"
    place.mkdir()
    script = place / "ccache-storage-test"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -S {PROGRAM} "$@"\n')
    script.chmod(0o755)
    bench = Bench(tmp_path, resident).setup(
        REMOTE_STORAGE=f"test://somewhere @log={tmp_path}/asked"
    )
    bench.variables[b"PATH"] += b":" + os.fsencode(place)
    bench.variables[b"XDG_RUNTIME_DIR"] = os.fsencode(runtime)
    bench.file("a.c", '#include "h.h"\nint x = V;\n')
    bench.file("h.h", "#define V 1\n")
    yield bench
    bench.command("--stop-storage-helpers")
    shutil.rmtree(runtime)


def asked(bench: Bench) -> list[str]:
    return (bench.root / "asked").read_text().split("\n")[:-1]


def test_a_program_is_started_and_serves(bench: Bench) -> None:
    assert compiled(bench) == MISS
    assert compiled(bench) == LOCAL_HIT
    forget_locally(bench)
    assert compiled(bench) == REMOTE_HIT
    assert asked(bench) == ["start test://somewhere", "get", "put", "put", "get", "get"]


def test_another_server_uses_the_program_that_runs(bench: Bench) -> None:
    assert compiled(bench) == MISS
    other = Bench(bench.root, Resident(), bench.variables)
    forget_locally(other)
    assert compiled(other) == REMOTE_HIT
    other.close()
    assert asked(bench).count("start test://somewhere") == 1


def test_a_program_that_was_stopped_is_started_again(bench: Bench) -> None:
    assert compiled(bench) == MISS
    assert bench.command("--stop-storage-helpers") == ""
    assert asked(bench)[-1] == "stop"
    forget_locally(bench)
    assert compiled(bench) == MISS, "it kept its entries in memory"


def test_a_program_that_stores_nothing_is_still_asked(bench: Bench) -> None:
    (bench.root / "asked.full").touch()
    found = compiled(bench)
    assert (found["cache_miss"], found["remote_storage_error"]) == (1, 1)
    forget_locally(bench)
    bench.resident.forget_hits()
    assert "get" in asked(bench)


def test_a_program_that_runs_already(bench: Bench) -> None:
    variables = {
        **{os.fsdecode(k): os.fsdecode(v) for k, v in bench.variables.items()},
        "CRSH_IPC_ENDPOINT": "own.sock",
        "CRSH_URL": "x:",
        "CRSH_IDLE_TIMEOUT": "600",
    }
    words = [sys.executable, "-S", str(PROGRAM)]
    process = subprocess.Popen(words, env=variables, cwd=bench.cwd)
    while not (bench.cwd / "own.sock").exists():
        time.sleep(0.01)
    bench.configure(REMOTE_STORAGE="crsh:own.sock")
    assert compiled(bench) == MISS
    forget_locally(bench)
    assert compiled(bench) == REMOTE_HIT
    bench.configure(RESHARE="1")
    assert compiled(bench) == {**LOCAL_HIT, "remote_storage_write": 2}
    bench.command("--stop-storage-helpers")
    assert process.wait(10) == 0


@pytest.mark.parametrize("setting", ["crsh:absent.sock", "test://x helper=/bin/false"])
def test_nobody_there_breaks_no_build(bench: Bench, setting: str) -> None:
    bench.configure(REMOTE_STORAGE=setting)
    found = compiled(bench)
    assert (found["cache_miss"], found["remote_storage_error"]) == (1, 1)


def test_a_directory_that_others_may_enter_is_not_used(bench: Bench) -> None:
    runtime = Path(os.fsdecode(bench.variables[b"XDG_RUNTIME_DIR"]))
    (runtime / "ccache-tmp").mkdir(mode=0o755)
    found = compiled(bench)
    assert (found["cache_miss"], found["remote_storage_error"]) == (1, 1)
