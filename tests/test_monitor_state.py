"""The files that distccmon reads."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest

from pycc.remote.monitor_state import JobState, Phase, pack_state


def test_the_layout() -> None:
    packed = pack_state(4711, b"x" * 300, b"host", 3, Phase.COMPILE)
    assert len(packed) == 296
    assert struct.unpack("<QQQ128s128siiQ", packed) == (
        296, 0x44494800, 4711, b"x" * 127 + b"\0", b"host" + bytes(124), 3, 5, 0,
    )  # fmt: skip


@pytest.mark.parametrize("phase", list(Phase))
def test_the_real_monitor_shows_a_job(tmp_path: Path, phase: Phase) -> None:
    state = JobState(os.fsencode(tmp_path), os.getpid(), b"dir/main.c")
    state.enter(phase, "10.0.0.7", 2)
    environment = {"PATH": "/usr/bin:/bin", "DISTCC_DIR": str(tmp_path)}
    shown = subprocess.run(
        ["/usr/bin/distccmon-text"], env=environment, capture_output=True, text=True, check=True
    ).stdout
    if phase is Phase.DONE:
        assert "main.c" not in shown
    else:
        assert shown.split()[:4] == [
            str(os.getpid()), phase.name.capitalize(), "main.c", "10.0.0.7[2]",
        ]  # fmt: skip
    state.leave()
    assert os.listdir(tmp_path / "state") == []


def test_a_job_stays_young(tmp_path: Path) -> None:
    state = JobState(os.fsencode(tmp_path), os.getpid(), b"main.c")
    state.enter(Phase.COMPILE, "a")
    (path,) = (tmp_path / "state").iterdir()
    os.utime(path, (1, 1))
    state.touch()
    assert path.stat().st_mtime > 1000


@pytest.mark.parametrize(("directory", "pid"), [(b"", 1), (b"/proc/nowhere", 1), (b"/tmp", 0)])
def test_no_place_is_no_trouble(directory: bytes, pid: int) -> None:
    state = JobState(directory, pid, b"main.c")
    state.enter(Phase.SEND, "a")
    state.touch()
    state.leave()


def test_a_file_that_was_removed_comes_back(tmp_path: Path) -> None:
    state = JobState(os.fsencode(tmp_path), os.getpid(), b"a.c")
    state.enter(Phase.CONNECT, "one", 1)
    (file,) = (tmp_path / "state").iterdir()
    state.enter(Phase.SEND, "two", 2)
    assert file.read_bytes() == pack_state(os.getpid(), b"a.c", b"two", 2, Phase.SEND)
    file.unlink()
    state.touch()
    assert file.read_bytes() == pack_state(os.getpid(), b"a.c", b"two", 2, Phase.SEND)
    before = len(os.listdir("/proc/self/fd"))
    state.leave()
    assert len(os.listdir("/proc/self/fd")) == before - 1
    assert not file.exists()


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "state" / f"binstate_{os.getpid()}").symlink_to(victim)
    JobState(os.fsencode(tmp_path), os.getpid(), b"main.c").enter(Phase.SEND, "a")
    assert victim.read_text() == "mine"
