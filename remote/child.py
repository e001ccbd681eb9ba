"""Runs one program for a job: bounded in time and in what it says, and never left behind.

The program leads a session of its own, so that everything that it started can be ended with it.
It is watched through its pidfd, together with what it says and with the client's connection: a
client that leaves ends its compile at once, where distccd looks once a second.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import Enum, auto

from pycc.record import record

SPOKEN_LIMIT = 64 << 20
"""Bytes of standard output and of standard error that are kept; what comes after is dropped."""
LINGER_SECONDS = 1.0
"""How long what the program started may keep its output open after it has ended."""


class End(Enum):
    """How a run came to its end."""

    DONE = auto()
    TIMEOUT = auto()
    CLIENT_LEFT = auto()
    STOPPED = auto()


class Stop:
    """Says to every run that it was given to, in whatever thread, that it is to end now."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe2(os.O_CLOEXEC)
        self._said = False

    def now(self) -> None:
        """Say it."""
        if not self._said:
            self._said = True
            os.close(self._writer)


@record
class Ran:
    """``status`` is a wait status; it says nothing unless ``end`` is DONE."""

    end: End
    status: int
    out: bytes
    err: bytes


def run(
    argv: Sequence[bytes],
    *,
    cwd: bytes,
    environment: Mapping[bytes, bytes],
    client: int | None = None,
    seconds: float | None = None,
    stop: Stop | None = None,
    keep: Sequence[int] = (),
) -> Ran:
    """Run ``argv``, whose first word is a path, with nothing on standard input.

    ``client`` is the descriptor of the connection that waits for the outcome; those of ``keep``
    are open in the program as well. Raises OSError when the program cannot be started."""
    out, err = os.pipe(), os.pipe()
    pipes = {out[0]: bytearray(), err[0]: bytearray()}
    spoken = tuple(pipes.values())
    try:
        try:
            child = subprocess.Popen(
                list(argv),
                cwd=cwd,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out[1],
                stderr=err[1],
                start_new_session=True,
                pass_fds=tuple(keep),
            )
        finally:
            os.close(out[1])
            os.close(err[1])
        try:
            end = _watch(child.pid, pipes, client, seconds, stop.reader if stop else None)
        finally:
            # Before it is waited for: until then its number names this group and no other.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            code = child.wait()
    finally:
        os.close(out[0])
        os.close(err[0])
    status = -code if code < 0 else code << 8
    return Ran(end, status, bytes(spoken[0]), bytes(spoken[1]))


def _watch(
    pid: int,
    pipes: Mapping[int, bytearray],
    client: int | None,
    seconds: float | None,
    stop: int | None,
) -> End:
    """Read what is said through ``pipes`` until the process has ended and they are closed."""
    deadline = time.monotonic() + seconds if seconds else None
    process = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(process, select.POLLIN)
    for pipe in pipes:
        poll.register(pipe, select.POLLIN)
    if client is not None:
        poll.register(client, select.POLLRDHUP)
    if stop is not None:
        poll.register(stop, select.POLLIN)
    running, open_pipes = True, len(pipes)
    try:
        while running or open_pipes:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return End.TIMEOUT if running else End.DONE
            for fd, _ in poll.poll(None if left is None else left * 1000):
                if fd == client:
                    return End.CLIENT_LEFT
                if fd == stop:
                    return End.STOPPED
                if fd == process:
                    running = False
                    poll.unregister(process)
                    # Nobody may keep the job by keeping its standard error.
                    deadline = time.monotonic() + LINGER_SECONDS
                elif not _take(fd, pipes[fd]):
                    poll.unregister(fd)
                    open_pipes -= 1
        return End.DONE
    finally:
        os.close(process)


def _take(pipe: int, spoken: bytearray) -> bool:
    """Keep what can be read now; False at the end."""
    data = os.read(pipe, 1 << 16)
    if len(spoken) < SPOKEN_LIMIT:
        spoken += data
    return bool(data)
