"""``pycc --monitor [SECONDS]``: the whole farm as it works, on a terminal or into a pipe.

A process of its own, which the launcher becomes. It asks nobody but daemons that serve statistics:
all else lies in files that clients and servers write anyway (running_jobs.py, cache/statistics.py),
and those are read again only after they were written. Nothing here is written or removed.

On a terminal it draws on the alternate screen, as pagers do, and leaves the terminal as it was
however it ends; ``q`` ends it. Into a pipe it prints a block each time, as distccmon-text does, and
without SECONDS a single one.
"""

from __future__ import annotations

import os
import pwd
import select
import shutil
import signal
import stat
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from .cache import statistics
from .config import load
from .config_access import home_directory
from .errors import PyccError
from .monitor_view import Course, Look, counts_of, host_rows, lines, stats_place
from .remote.client_settings import ClientSettings, read_settings
from .remote.running_jobs import RunningJobs, candidates
from .remote.stats_client import StatsClient

EXIT_USAGE = 1
SECONDS = 1.0
LEAST_SECONDS, MOST_SECONDS = 0.1, 86_400.0
STATS_SECONDS = 2.0
"""Between two questions to one daemon."""
SURVEY_SECONDS = 10.0
"""Between two searches for users, directories and another host list."""
FILE_LIMIT = 1 << 20
SYSTEM_CACHE = "/var/cache/ccache"
EMULATOR = "x-terminal-emulator"
USAGE = "usage: pycc --monitor [SECONDS]     (SECONDS: from 0.1 to 86400)\n"
_ENTER = b"\x1b[?1049h\x1b[?25l\x1b[?7l"  # another screen, no cursor, no line goes on in the next
_LEAVE = b"\x1b[?7h\x1b[?25h\x1b[?1049l"


def interval_of(words: Sequence[str]) -> float | None:
    """The seconds that were asked for, None where none were. Raises ValueError."""
    if not words:
        return None
    seconds = float(words[0])
    if len(words) > 1 or not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise ValueError(words)
    return seconds


class _Counters:
    """Statistics files, each read again after it was replaced."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, int], dict[str, int]]] = {}

    def read(self, paths: Sequence[str]) -> list[Mapping[str, int]]:
        known = {}
        seen: set[tuple[int, int]] = set()
        for path in paths:
            with suppress(OSError):
                found = os.stat(path)
                signature = (found.st_mtime_ns, found.st_ino)
                if not stat.S_ISREG(found.st_mode) or (found.st_dev, found.st_ino) in seen:
                    continue
                seen.add((found.st_dev, found.st_ino))
                old = self._known.get(path)
                if old is None or old[0] != signature:
                    old = (signature, statistics.decode(_content(path)))
                known[path] = old
        self._known = known
        return [counters for _, counters in known.values()]


def _content(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        return os.read(file, FILE_LIMIT) if stat.S_ISREG(os.fstat(file).st_mode) else b""
    finally:
        os.close(file)


class Monitor:
    """Looks around when it is told to."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = dict(variables)
        self._jobs = RunningJobs()
        self._counters = _Counters()
        self._stats = StatsClient(STATS_SECONDS)
        self._course = Course()
        self._surveyed = float("-inf")
        self._places: list[str] = []
        self._files: list[str] = []
        self._users: dict[int, str] = {}
        self._settings = ClientSettings(None)

    def look(self) -> Look:
        """What there is to see now."""
        now = time.time()
        if time.monotonic() - self._surveyed >= SURVEY_SECONDS:
            self._surveyed = time.monotonic()
            self._survey()
        jobs = self._jobs.look(self._places, now)
        total = counts_of(self._counters.read(self._files))
        self._course.note(time.monotonic(), total, len(jobs))
        hosts = self._settings.hosts
        places = [stats_place(spec) for spec in hosts.hosts] if hosts is not None else []
        said = self._stats.of(place for place in places if place is not None)
        load = -1.0
        with suppress(OSError):
            load = os.getloadavg()[0]
        return Look(
            now,
            time.strftime("%H:%M:%S", time.localtime(now)),
            jobs,
            host_rows(hosts, jobs, said),
            total,
            self._course.lately,
            self._course.build,
            self._users,
            load,
            self._settings.problem,
        )

    def _survey(self) -> None:
        users = pwd.getpwall()
        self._users = {user.pw_uid: user.pw_name for user in users}
        homes = list(dict.fromkeys(user.pw_dir for user in users))
        # Our own are looked for always: the first job makes them.
        places = candidates(self._variables, homes)
        self._places = [places[0], *(path for path in places[1:] if os.access(path, os.R_OK))]
        caches = [SYSTEM_CACHE]
        caches += (f"{home}/{name}" for home in homes for name in (".cache/ccache", ".ccache"))
        files = (_statistics(cache) for cache in caches)
        own = _statistics(self._cache_directory())
        self._files = [own, *(path for path in files if os.access(path, os.R_OK))]
        environment = {os.fsencode(k): os.fsencode(v) for k, v in self._variables.items()}
        self._settings = read_settings(environment, _host_list)

    def _cache_directory(self) -> str:
        environment = {os.fsencode(k): os.fsencode(v) for k, v in self._variables.items()}
        try:
            settings = load(environment, os.getcwdb(), home=home_directory())
            return os.fsdecode(settings.absolute(settings.cache_dir))
        except (PyccError, OSError):
            return ""

    def close(self) -> None:
        """Ask nobody any more."""
        self._stats.close()


def _statistics(cache: str) -> str:
    return f"{cache}/pycc/{statistics.FILE_NAME}"


def _host_list(path: bytes) -> str | None:
    try:
        return os.fsdecode(_content(os.fsdecode(path)))
    except OSError:
        return None


# ---- the terminal --------------------------------------------------------------------------


class _Terminal:
    """The screen, and the signals that concern it."""

    def __init__(self) -> None:
        self.ended = 0
        """The signal that ended it."""
        self.stopped = False
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._mode: list[Any] | None = None
        self._keys = os.isatty(0)

    def enter(self) -> None:
        if self._keys:
            with suppress(termios.error):
                self._mode = termios.tcgetattr(0)
                mode = termios.tcgetattr(0)
                mode[3] &= ~(termios.ECHO | termios.ICANON)
                termios.tcsetattr(0, termios.TCSANOW, mode)
        _write(_ENTER)

    def leave(self) -> None:
        with suppress(OSError):
            _write(_LEAVE)
        if self._mode is not None:
            with suppress(termios.error):
                termios.tcsetattr(0, termios.TCSANOW, self._mode)

    def wait(self, seconds: float) -> None:
        """Until that time has passed, or something happened that is to be drawn or obeyed."""
        watched = [self._reader, 0] if self._keys else [self._reader]
        ready, _, _ = select.select(watched, [], [], seconds)
        if self._reader in ready:
            with suppress(BlockingIOError):
                os.read(self._reader, 4096)
        if 0 in ready:
            typed = b""
            with suppress(OSError):
                typed = os.read(0, 64)
            self._keys = bool(typed)
            if b"q" in typed:
                self.ended = self.ended or -1

    def take_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGTSTP, self._stop)
        signal.signal(signal.SIGWINCH, self._wake)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.ended = number
        self._wake(number, frame)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopped = True
        self._wake(number, frame)

    def _wake(self, _number: int, _frame: FrameType | None) -> None:
        with suppress(OSError):
            os.write(self._writer, b"x")

    def pause(self) -> None:
        """Be stopped, as Ctrl-Z asks, with the terminal as it was; return when we go on."""
        self.stopped = False
        self.leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self.enter()


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def screen(shown: Sequence[str]) -> bytes:
    """The bytes that draw these lines over what was there before, without a flicker."""
    text = "\r\n".join(f"{line}\x1b[K" for line in shown)
    return b"\x1b[H" + text.encode("utf-8", "replace") + b"\x1b[J"


@contextmanager
def _on_screen(terminal: _Terminal) -> Iterator[None]:
    terminal.take_signals()
    terminal.enter()
    try:
        yield
    finally:
        terminal.leave()


def _draw(monitor: Monitor, interval: float) -> int:
    terminal = _Terminal()
    with _on_screen(terminal):
        due = 0.0
        while not terminal.ended:
            now = time.monotonic()
            if now >= due:
                look = monitor.look()
                due = now + interval
            size = shutil.get_terminal_size()
            _write(screen(lines(look, size.columns, size.lines)))
            terminal.wait(max(due - time.monotonic(), 0.0))
            if terminal.stopped:
                terminal.pause()
    return 128 + terminal.ended if terminal.ended > 0 else 0


def _print(monitor: Monitor, interval: float | None) -> int:
    while True:
        _write("".join(f"{line}\n" for line in [*lines(monitor.look()), ""]).encode())
        if interval is None:
            return 0
        time.sleep(interval)


def run(words: Sequence[str], variables: Mapping[str, str]) -> int:
    """The command; ``words`` are what follows --monitor. Returns the exit status."""
    try:
        interval = interval_of(words)
    except ValueError:
        sys.stderr.write(USAGE)
        return EXIT_USAGE
    monitor = Monitor(variables)
    try:
        # LINES and COLUMNS may be another terminal's, and get_terminal_size believes them.
        os.environ.pop("COLUMNS", None)
        os.environ.pop("LINES", None)
        if os.isatty(1) and variables.get("TERM", "dumb") != "dumb":
            return _draw(monitor, interval or SECONDS)
        return _print(monitor, interval)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # nobody looks any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    finally:
        monitor.close()


def in_a_window(words: Sequence[str], variables: Mapping[str, str]) -> list[str] | None:
    """The command that shows the monitor in a window of its own, where there is a display and no
    terminal yet; else None."""
    display = variables.get("DISPLAY") or variables.get("WAYLAND_DISPLAY")
    emulator = shutil.which(EMULATOR, path=variables.get("PATH", os.defpath))
    if os.isatty(1) or not display or emulator is None:
        return None
    return [emulator, "-e", os.path.abspath(sys.argv[0]), *words]


def main() -> None:
    """Entry point of ``distccmon-gui`` and ``distccmon-gnome``, as distcc calls its window."""
    command = in_a_window(sys.argv[1:], os.environ)
    if command is not None:
        with suppress(OSError):
            os.execv(command[0], command)
    sys.exit(run(sys.argv[1:], os.environ))
