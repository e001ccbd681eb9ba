"""Remote storage behind ccache's storage helpers: programs that are started when needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pycc.resident import Resident
from tests.compile_kit import Bench
from tests.remote_kit import redis
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


# pycc-storage, the same from the other side.


@contextmanager
def storage(
    bench: Bench, url: str, *attributes: tuple[str, str], idle: int = 600
) -> Iterator[subprocess.Popen[bytes]]:
    """A running pycc-storage behind ``own.sock`` in the directory of the calls."""
    variables = {
        **os.environ,
        # In a directory with a long name it is found by its own.
        "CRSH_IPC_ENDPOINT": "own.sock",
        "PYTHONPATH": str(PROGRAM.parent.parent),
        "CRSH_URL": url,
        "CRSH_IDLE_TIMEOUT": str(idle),
        "CRSH_NUM_ATTR": str(len(attributes)),
    }
    for number, (key, value) in enumerate(attributes):
        variables[f"CRSH_ATTR_KEY_{number}"] = key
        variables[f"CRSH_ATTR_VALUE_{number}"] = value
    words = [sys.executable, "-c", "from pycc.cache.remote_program import main; main()"]
    process = subprocess.Popen(words, env=variables, cwd=bench.cwd, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        while not (bench.cwd / "own.sock").exists() and process.poll() is None:
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_our_storages_serve_who_speaks_ccaches_protocol(bench: Bench) -> None:
    with storage(bench, f"file:{bench.root}/remote", ("layout", "flat")) as process:
        bench.configure(REMOTE_STORAGE="crsh:own.sock")
        assert compiled(bench) == MISS
        assert len(list((bench.root / "remote").iterdir())) == 3
        forget_locally(bench)
        assert compiled(bench) == REMOTE_HIT
        bench.command("--stop-storage-helpers")
        assert process.wait(10) == 0
        assert not (bench.cwd / "own.sock").exists()


def test_a_program_of_ours_ends_when_nobody_asks(bench: Bench) -> None:
    with storage(bench, f"file:{bench.root}/remote", idle=1) as process:
        assert process.wait(10) == 0


def test_a_storage_that_is_away_is_an_error_there_too(bench: Bench) -> None:
    with storage(bench, "redis://127.0.0.1:1"):
        bench.configure(REMOTE_STORAGE="crsh:own.sock", LOGFILE=str(bench.root / "log"))
        found = compiled(bench)
        assert (found["cache_miss"], found["remote_storage_error"]) == (1, 1)
        assert "Connection refused" in (bench.root / "log").read_text()


@pytest.mark.parametrize("url", ["", "gopher://x", "/x"])
def test_a_program_of_ours_says_why_it_cannot_serve(bench: Bench, url: str) -> None:
    with storage(bench, url) as process:
        assert process.wait(10) == 1
        assert process.stderr is not None
        assert process.stderr.read().startswith(b"pycc-storage: ")


CCACHE = shutil.which(os.environ.get("PYCC_TEST_CCACHE", "ccache")) or ""
HELPED = (
    bool(CCACHE)
    and "crsh-storage"
    in subprocess.run([CCACHE, "--version"], check=False, capture_output=True, text=True).stdout
)


@pytest.mark.skipif(not HELPED, reason="needs ccache 4.13 (or PYCC_TEST_CCACHE)")
def test_a_real_ccache_uses_our_storages(bench: Bench) -> None:
    """Started by ccache itself."""
    script = bench.root / "programs/pycc-storage"
    script.write_text(
        f"#!/bin/sh\nPYTHONPATH={PROGRAM.parent.parent} exec {sys.executable} -c"
        " 'from pycc.cache.remote_program import main; main()'\n"
    )
    script.chmod(0o755)
    environment = {os.fsdecode(k): os.fsdecode(v) for k, v in bench.variables.items()}
    environment |= {
        "CCACHE_DIR": str(bench.root / "theirs"),
        "CCACHE_REMOTE_STORAGE": f"s3://x helper={script} @endpoint=http://127.0.0.1:1",
    }

    def ccache(*words: str) -> str:
        done = subprocess.run(
            [CCACHE, *words], env=environment, cwd=bench.cwd, check=True, capture_output=True
        )
        return done.stdout.decode()

    def counted(name: str) -> int:
        lines = (line.split("\t") for line in ccache("--print-stats").splitlines())
        return int(dict(lines)[name])

    ccache("gcc", "-c", "a.c")
    assert counted("remote_storage_error") == 1
    ccache("--stop-storage-helpers")
    # A scheme that both have built in, so that ccache is told to use the program.
    with redis(bench.root / "redis") as server:
        url = f"redis://127.0.0.1:{server.port}"
        environment["CCACHE_REMOTE_STORAGE"] = f"{url} helper={script}"
        ccache("-Cz")
        ccache("gcc", "-c", "a.c")
        ccache("-C")
        ccache("gcc", "-c", "a.c")
        ccache("--stop-storage-helpers")
        assert (counted("remote_storage_hit"), counted("remote_storage_error")) == (1, 0)
