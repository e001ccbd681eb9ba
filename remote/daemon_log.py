"""The daemon's log, in the form of distccd's lines.

    2026-01-31 12:00:00 pyccd[1234] (dcc_job_summary) client: 10.0.0.7:4711 COMPILE_OK ...

People grep for these words, so the function that distccd names stands in front of what it says.
distccd writes no time into its file; here one stands before what is otherwise the same.
"""

from __future__ import annotations

import os
import sys
import syslog
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum

from pycc.errors import Fatal

EXIT_NO_FILE = 115  # distcc's: "cannot open a file"


class Level(IntEnum):
    """syslog's numbers."""

    CRITICAL = 2
    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6
    DEBUG = 7


_SAYS = {Level.CRITICAL: "CRITICAL! ", Level.ERROR: "ERROR: ", Level.WARNING: "Warning: "}


class Log:
    """Lines of at most ``level`` go to ``write``, each in one call. Safe for several threads."""

    def __init__(self, level: int, write: Callable[[int, str], None], name: str = "pyccd") -> None:
        self._level = level
        self._write = write
        self._name = name

    def __call__(self, level: Level, text: str, function: str = "") -> None:
        if level > self._level:
            return
        where = f"({function}) " if function else ""
        self._write(level, f"{self._name}[{os.getpid()}] {where}{_SAYS.get(level, '')}{text}")


def to_descriptor(descriptor: int) -> Callable[[int, str], None]:
    """A writer to an open file; what cannot be written is lost, and no job with it."""
    lock = threading.Lock()

    def write(_: int, line: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with lock, suppress(OSError):
            os.write(descriptor, f"{stamp} {line}\n".encode(errors="backslashreplace"))

    return write


def to_file(path: str) -> Callable[[int, str], None]:
    """The same, appended to ``path``. Raises Fatal."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        return to_descriptor(os.open(path, flags, 0o666))
    except OSError as problem:
        raise Fatal(f"failed to open {path}: {problem.strerror}", EXIT_NO_FILE) from None


def to_standard_error() -> Callable[[int, str], None]:
    """A writer to standard error."""
    return to_descriptor(sys.stderr.fileno())


def to_syslog(name: str = "pyccd") -> Callable[[int, str], None]:
    """A writer to syslog's daemon facility, which adds the name, the number and the time."""
    syslog.openlog(name, syslog.LOG_PID, syslog.LOG_DAEMON)

    def write(level: int, line: str) -> None:
        syslog.syslog(level, line.partition("] ")[2])

    return write
