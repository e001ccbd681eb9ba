"""The log of one request, in the format of ccache's log_file (CCACHE_LOGFILE) and debug log.

    <log>  ::= { <line> }
    <line> ::= "[" YYYY-MM-DD "T" HH:MM:SS "." microseconds " " pid padded to 5 "] " text "\\n"

Lines are kept in memory and leave in one write at the end of the request: with O_APPEND the lines
of one compilation then stand together however many compile at the same time, where ccache takes
a lock for every line. The time is local, as in ccache, and the process id is the client's.

A log file that is the client's own terminal or pipe (/dev/stderr) cannot be opened from another
process; `Log.stream` says so, and the caller sends `Log.text` there.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable

from pycc.config_values import normal_path

# One compilation logs some kilobytes; a runaway one must not grow a resident server.
MAX_SIZE = 8 * 1024 * 1024

_STREAMS = {
    **dict.fromkeys(("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"), 1),
    **dict.fromkeys(("/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"), 2),
}
_SYSLOG_LOCK = threading.Lock()


class Log:
    """Takes lines (``log("text")``) and writes them when `flush` is called.

    ``path`` is log_file, made absolute, or b"" for none, or b"syslog"; ``debug`` keeps the lines
    for a debug log as well; ``umask`` is the client's and holds for a file that is made.
    Not meant for several threads at once.
    """

    __slots__ = (
        "_clock",
        "_full",
        "_lines",
        "_path",
        "_pid",
        "_size",
        "_umask",
        "_unwritten",
        "enabled",
    )

    def __init__(
        self,
        path: bytes,
        pid: int,
        *,
        debug: bool = False,
        umask: int = 0o022,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.enabled = bool(path) or debug
        self._path = path
        self._pid = pid
        self._umask = umask
        self._clock = clock
        self._lines: list[tuple[str, str]] = []
        self._unwritten = 0
        self._size = 0
        self._full = False

    def __call__(self, text: str) -> None:
        """Log one line, stamped now."""
        self._add(self._prefix(), text)

    def bulk(self, texts: Iterable[str]) -> None:
        """Log lines that belong together under one time."""
        prefix = self._prefix()
        for text in texts:
            self._add(prefix, text)

    @property
    def stream(self) -> int | None:
        """1 or 2 when the log file is the client's own standard output or error, else None."""
        return _STREAMS.get(normal_path(os.fsdecode(self._path)))

    @property
    def text(self) -> bytes:
        """All lines so far: the content of a debug log (``FILE.ccache-log``)."""
        return _encode(self._lines)

    def flush(self) -> str | None:
        """Write the lines that were not yet written; the words of the error when that failed.

        Nothing is opened when there is nothing to say or `stream` is not None. Lines that could
        not be written are dropped.
        """
        lines = self._lines[self._unwritten :]
        self._unwritten = len(self._lines)
        if not lines or not self._path or self.stream is not None:
            return None
        if self._path == b"syslog":
            _write_syslog(self._pid, lines)
            return None
        try:
            _append(self._path, _encode(lines), 0o666 & ~self._umask)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            return f"Failed to write to {os.fsdecode(self._path)}: {reason}"
        return None

    def _prefix(self) -> str:
        now = self._clock()
        seconds = int(now)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))
        return f"[{stamp}.{int((now - seconds) * 1e6):06d} {self._pid:<5}] "

    def _add(self, prefix: str, text: str) -> None:
        if self._full:
            return
        self._size += len(prefix) + len(text)
        if self._size > MAX_SIZE:
            self._full = True
            text = "Log is too long; the rest is dropped"
        self._lines.append((prefix, text))


class _NoLog(Log):
    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(b"", 0)

    def __call__(self, text: str) -> None:
        pass

    def bulk(self, texts: Iterable[str]) -> None:
        pass


NO_LOG: Log = _NoLog()


def open_log(log_file: bytes, pid: int, *, debug: bool = False, umask: int = 0o022) -> Log:
    """The log for a request: `NO_LOG`, which costs nothing, unless one was asked for."""
    return Log(log_file, pid, debug=debug, umask=umask) if log_file or debug else NO_LOG


def _encode(lines: Iterable[tuple[str, str]]) -> bytes:
    return b"".join(os.fsencode(f"{prefix}{text}\n") for prefix, text in lines)


def _append(path: bytes, data: bytes, mode: int) -> None:
    # Non-blocking for the opening of a pipe that nobody reads.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        descriptor = os.open(path, flags | os.O_CREAT, mode)
        # The umask of this process is not the client's.
        if os.fstat(descriptor).st_size == 0:
            os.fchmod(descriptor, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)


def _write_syslog(pid: int, lines: list[tuple[str, str]]) -> None:
    import syslog

    # The client's process id is part of the tag because LOG_PID would add this process's own.
    with _SYSLOG_LOCK:
        syslog.openlog(f"ccache[{pid}]", 0, syslog.LOG_USER)
        for _, text in lines:
            printable = text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
            syslog.syslog(syslog.LOG_DEBUG, printable)
        syslog.closelog()


def log_problem(problem: BaseException) -> None:
    """To the server's own log (its stderr), with the time."""
    import traceback

    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    text = "".join(traceback.format_exception(problem))
    with contextlib.suppress(
        OSError, ValueError
    ):  # a full disk, or no stderr: no reason to fail calls
        print(f"[{stamp}] {text}", file=sys.stderr, flush=True)
