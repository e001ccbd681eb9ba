"""distccmon-text: ours shows what clients of either kind write, as the real one does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pycc.remote.monitor_state import Phase, pack_state, unpack_state
from pycc.remote.monitor_text import jobs_in
from tests.daemon_kit import ROOT

REAL = "/usr/bin/distccmon-text"  # Debian's; scripts/test-packages.txt
OURS = [sys.executable, "-c", "from pycc.remote.monitor_text import main; main()"]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    place = tmp_path / "state"
    place.mkdir()
    return place


def say(
    state: Path, number: int, file: str, host: str, slot: int, phase: Phase, pid: int = 0
) -> Path:
    path = state / f"binstate_{number}"
    path.write_bytes(pack_state(pid or os.getpid(), file.encode(), host.encode(), slot, phase))
    return path


def some_jobs(state: Path) -> None:
    say(state, 1, "main.c", "192.168.0.4", 2, Phase.COMPILE)
    say(state, 2, "x" * 40 + ".c", "h" * 60, 11, Phase.SEND)
    say(state, 3, "first.c", "192.168.0.4", 0, Phase.PREPROCESS)
    say(state, 4, "done.c", "b", 0, Phase.DONE)
    say(state, 5, "a.cc", "localhost", 0, Phase.BLOCKED, pid=1)
    ended = subprocess.Popen(["/bin/true"])
    ended.wait()
    say(state, 6, "ended.c", "b", 1, Phase.COMPILE, pid=ended.pid)
    (state / "binstate_7").write_bytes(b"something else")
    (state / "other").write_bytes(b"")


def shown(program: list[str], state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"DISTCC_DIR": str(state.parent), "PYTHONPATH": str(ROOT), "HOME": "/nonexistent"}
    return subprocess.run(
        [*program, *words], env=environment, capture_output=True, text=True, check=False
    )


def test_it_prints_what_the_real_one_prints(state: Path) -> None:
    if shutil.which(REAL) is None:
        pytest.skip("Debian's distcc is not installed")
    some_jobs(state)
    ours, real = shown(OURS, state), shown([REAL], state)
    assert ours.stdout == real.stdout
    assert ours.stdout.count("\n") == 5
    assert (ours.returncode, ours.stderr) == (0, "")


def test_it_goes_on_until_it_is_ended(state: Path) -> None:
    some_jobs(state)
    environment = {"DISTCC_DIR": str(state.parent), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([*OURS, "0.05"], env=environment, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        lines = [running.stdout.readline() for _ in range(15)]
        running.stdout.close()
        assert running.wait(10) == 0  # nobody reads any more
    assert lines[:5] == lines[5:10] == lines[10:]


@pytest.mark.parametrize("words", [["often"], ["1", "2"], ["--help"], ["-1"], ["nan"]])
def test_what_it_does_not_understand(state: Path, words: list[str]) -> None:
    done = shown(OURS, state, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("usage: distccmon-text [DELAY]\n")


def test_nothing_is_said_where_nobody_works(tmp_path: Path) -> None:
    assert shown(OURS, tmp_path / "none/state").stdout == "\n"


def test_what_was_not_written_for_a_minute_goes(state: Path) -> None:
    old = say(state, 1, "a.c", "h", 0, Phase.COMPILE)
    new = say(state, 2, "b.c", "h", 1, Phase.COMPILE)
    then = time.time() - 61
    os.utime(old, (then, then))
    assert [job.file for job in jobs_in(str(state), time.time())] == ["b.c"]
    assert not old.exists()
    assert new.exists()


def test_names_do_no_harm_to_a_terminal(state: Path) -> None:
    say(state, 1, "\x1b[2J.c", "h\n", 0, Phase.COMPILE)
    (job,) = jobs_in(str(state), time.time())
    assert job.line().isprintable()


def test_a_state_comes_back_as_it_was_said() -> None:
    assert unpack_state(pack_state(7, b"a.c", b"h", 3, Phase.SEND)) == (
        7,
        b"a.c",
        b"h",
        3,
        Phase.SEND,
    )
    for bad in (b"", b"x" * 296, pack_state(7, b"", b"", 0, Phase.DONE)[:-1]):
        assert unpack_state(bad) is None
