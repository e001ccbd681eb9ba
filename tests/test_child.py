"""Programs of jobs: their end, what they say, and that nothing of them is left."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pycc.remote import child
from pycc.remote.child import End, Ran, run


def shell(script: str, **more: Any) -> Ran:
    return run((b"/bin/sh", b"-c", script.encode()), cwd=b"/", environment={}, **more)


def ends(path: Path) -> bool:
    """Whether the process whose number is in ``path`` goes away, as a killed one does."""
    for _ in range(500):
        try:
            state = Path(f"/proc/{path.read_text().strip()}/stat").read_text().rsplit(")", 1)[1]
        except FileNotFoundError:
            return True
        if state.split()[0] in "ZX":
            return True
        time.sleep(0.01)
    return False


def test_what_it_says_and_how_it_ends() -> None:
    assert shell("echo out; echo err >&2; exit 3") == Ran(End.DONE, 3 << 8, b"out\n", b"err\n")
    assert shell("kill -SEGV $$").status == signal.SIGSEGV


def test_it_has_no_input_and_the_environment_that_is_given() -> None:
    ran = run((b"/bin/cat",), cwd=b"/", environment={})
    assert ran == Ran(End.DONE, 0, b"", b"")
    ran = run((b"/usr/bin/env",), cwd=b"/", environment={b"A": b"1"})
    assert ran.out == b"A=1\n"


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(OSError, match="No such file"):
        run((b"/missing",), cwd=b"/", environment={})


def test_much_is_said_at_once() -> None:
    ran = shell("head -c 3000000 /dev/zero; head -c 2000000 /dev/zero >&2")
    assert (len(ran.out), len(ran.err)) == (3_000_000, 2_000_000)


def test_too_much_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "SPOKEN_LIMIT", 100_000)
    assert len(shell("head -c 3000000 /dev/zero").out) < 100_000 + (1 << 16)


def test_its_time_is_bounded(tmp_path: Path) -> None:
    began = time.monotonic()
    ran = shell(f"sleep 60 & echo $! > {tmp_path}/pid; wait", seconds=0.3)
    assert ran.end is End.TIMEOUT
    assert time.monotonic() - began < 5
    assert ends(tmp_path / "pid")


def test_a_client_that_leaves_ends_it(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    threading.Timer(0.2, theirs.close).start()
    with ours:
        ran = shell(f"sleep 60 & echo $! > {tmp_path}/pid; wait", client=ours.fileno())
    assert ran.end is End.CLIENT_LEFT
    assert ends(tmp_path / "pid")


def test_what_it_leaves_behind_is_ended(tmp_path: Path) -> None:
    ran = shell(f"sleep 60 & echo $! > {tmp_path}/pid; echo said")
    assert ran == Ran(End.DONE, 0, b"said\n", b"")
    assert ends(tmp_path / "pid")


def test_no_descriptor_is_left() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        shell("true")
        with pytest.raises(OSError, match="No such file"):
            run((b"/missing",), cwd=b"/", environment={})
    assert len(os.listdir("/proc/self/fd")) == before
