"""The monitor as a program: on a terminal, and into a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycc import monitor
from pycc.cache.statistics import encode
from pycc.remote.monitor_state import Phase, pack_state
from tests.daemon_kit import ROOT, wait_for

PROGRAM = [sys.executable, "-c", "from pycc.__main__ import server; server()", "--monitor"]
ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Of a user with three jobs and a cache."""
    state = tmp_path / ".distcc/state"
    state.mkdir(parents=True)
    for number, phase in enumerate((Phase.COMPILE, Phase.SEND, Phase.PREPROCESS)):
        said = pack_state(os.getpid() if number else os.getppid(), b"%d.c" % number, b"h", 0, phase)
        (state / f"binstate_{number}").write_bytes(said)
    (tmp_path / ".distcc/hosts").write_text("h/5 # the fast one\n")
    counters = {"direct_cache_hit": 3, "cache_miss": 1}
    (tmp_path / "cache/pycc").mkdir(parents=True)
    (tmp_path / "cache/pycc/stats").write_bytes(encode(counters))
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    return {
        "HOME": str(home),
        "CCACHE_DIR": str(home / "cache"),
        "PYTHONPATH": str(ROOT),
        "PATH": "/usr/bin:/bin",
        "TERM": "xterm",
    }


def printed(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *words], env=environment(home), capture_output=True, text=True, check=False
    )


def test_into_a_pipe_it_prints_one_block(home: Path) -> None:
    done = printed(home)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("pycc monitor   ")
    assert "h                                  2     5     3" in lines
    assert lines[-1] == ""
    # One process, one job: of two files of a process the later one counts.
    assert sum(" h[0]" in line for line in lines) == 2


def test_what_it_knows(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pwd.getpwall", list)
    monkeypatch.setattr(monitor, "SYSTEM_CACHE", str(home / "none"))
    made = monitor.Monitor(environment(home))
    try:
        look = made.look()
    finally:
        made.close()
    assert (look.total.hits, look.total.misses) == (3, 1)
    assert {job.file for job in look.jobs} >= {"0.c"}
    assert [(row.name, row.slots, row.used) for row in look.hosts] == [("h", 5, 2)]
    assert look.load >= 0


@pytest.mark.parametrize("words", [["x"], ["0"], ["nan"], ["1", "2"], ["1e9"]])
def test_what_it_does_not_understand(home: Path, words: list[str]) -> None:
    done = printed(home, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("usage: pycc --monitor [SECONDS]")


def test_with_seconds_it_goes_on_until_nobody_reads(home: Path) -> None:
    with subprocess.Popen(
        [*PROGRAM, "0.1"], env=environment(home), stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        titles = 0
        while titles < 3:
            titles += running.stdout.readline().startswith(b"pycc monitor")
        running.stdout.close()
        assert running.wait(10) == 0


class Screen:
    """A terminal with the monitor on it."""

    def __init__(self, home: Path, columns: int, rows: int) -> None:
        self.ours, theirs = pty.openpty()
        self.resize(columns, rows)
        self.mode = termios.tcgetattr(theirs)
        self.theirs = theirs
        self.process = subprocess.Popen(
            [*PROGRAM, "0.2"],
            env=environment(home),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.seen = b""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self) -> bytes:
        while select.select([self.ours], [], [], 0)[0]:
            self.seen += os.read(self.ours, 1 << 16)
        return self.seen

    def frames(self) -> list[list[str]]:
        """What was drawn so far, without what erases."""
        whole = self.read().split(ENTER)[-1].split(b"\x1b[H")[1:]
        complete = [frame for frame in whole if b"\x1b[J" in frame]
        texts = [frame.partition(b"\x1b[J")[0].decode() for frame in complete]
        return [text.replace("\x1b[K", "").replace("\r", "").split("\n") for text in texts]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def screen(home: Path) -> Iterator[Screen]:
    made = Screen(home, 60, 9)
    try:
        wait_for(lambda: len(made.frames()) > 1)
        yield made
    finally:
        made.end()


def test_on_a_terminal_it_redraws_and_fits(screen: Screen) -> None:
    frames = screen.frames()
    assert frames[0][0].startswith("pycc monitor   ")
    assert max(map(len, frames)) <= 9
    assert max(len(line) for frame in frames for line in frame) <= 60, frames
    screen.resize(100, 30)
    wait_for(lambda: any(len(frame) > 9 for frame in screen.frames()))
    assert max(map(len, screen.frames()[-1])) > 60


@pytest.mark.parametrize(
    ("how", "status"), [("key", 0), ("ctrl-c", 130), ("terminated", 143), ("hung up", 129)]
)
def test_the_terminal_is_as_it_was(screen: Screen, how: str, status: int) -> None:
    assert termios.tcgetattr(screen.theirs) != screen.mode
    if how == "key":
        os.write(screen.ours, b"q")
    elif how == "ctrl-c":
        os.write(screen.ours, b"\x03")
    else:
        screen.process.send_signal(signal.SIGTERM if how == "terminated" else signal.SIGHUP)
    wait_for(lambda: screen.process.poll() is not None)
    assert screen.process.returncode == status
    assert screen.read().rstrip().endswith(LEAVE)
    assert screen.seen.count(ENTER) == screen.seen.count(LEAVE) == 1
    assert termios.tcgetattr(screen.theirs) == screen.mode


def test_it_can_be_stopped_and_go_on(screen: Screen) -> None:
    os.write(screen.ours, b"\x1a")
    stat = Path(f"/proc/{screen.process.pid}/stat")
    wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
    assert screen.read().endswith(LEAVE)
    assert termios.tcgetattr(screen.theirs) == screen.mode
    screen.process.send_signal(signal.SIGCONT)
    wait_for(lambda: len(screen.read().split(ENTER)) == 3 and len(screen.frames()) > 1)


def test_statistics_are_read_again_when_they_were_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = monitor._Counters()
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(encode({"cache_miss": 1}))
    two.symlink_to(one)
    paths = [str(one), str(two), str(tmp_path / "none"), str(tmp_path)]
    assert counters.read(paths) == [{"cache_miss": 1}]
    with monkeypatch.context() as patched:
        patched.setattr(monitor, "_content", lambda _: pytest.fail("read again"))
        assert counters.read(paths) == [{"cache_miss": 1}]
    fresh = tmp_path / "fresh"
    fresh.write_bytes(encode({"cache_miss": 2}))
    fresh.replace(one)
    assert counters.read(paths) == [{"cache_miss": 2}]
    one.write_bytes(b"no statistics")
    os.utime(one, (time.time(), 5))
    assert counters.read(paths) == [{}]


@pytest.mark.parametrize(
    ("variables", "opens"),
    [
        ({"DISPLAY": ":0"}, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True),
        ({"DISPLAY": ""}, False),
        ({}, False),
        ({"DISPLAY": ":0", "PATH": "/nowhere"}, False),
    ],
)
def test_a_window_where_there_is_a_display_and_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], opens: bool
) -> None:
    emulator = tmp_path / "x-terminal-emulator"
    emulator.write_text("#!/bin/sh\n")
    emulator.chmod(0o755)
    monkeypatch.setattr(sys, "argv", ["/opt/bin/distccmon-gui", "2"])
    monkeypatch.setattr(os, "isatty", lambda _: False)
    command = monitor.in_a_window(["2"], {"PATH": str(tmp_path), **variables})
    expected = [str(emulator), "-e", "/opt/bin/distccmon-gui", "2"] if opens else None
    assert command == expected
    monkeypatch.setattr(os, "isatty", lambda _: True)
    assert monitor.in_a_window([], {"PATH": str(tmp_path), **variables}) is None


def test_the_window_is_opened(tmp_path: Path) -> None:
    emulator = tmp_path / "x-terminal-emulator"
    emulator.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    emulator.chmod(0o755)
    code = "import sys; sys.argv[0] = '/opt/gui'; from pycc.monitor import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "3"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "DISPLAY": ":9", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["-e", "/opt/gui", "3"]
