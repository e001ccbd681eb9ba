"""One job on one connection: a request out, a reply in, with limits on time.

A server that is busy leaves the connection in its queue, and a compile says nothing until its end:
so what is limited is how long the peer may be silent (DISTCC_IO_TIMEOUT), not how long a job may
take. While we wait the user may press Ctrl-C; his launcher's connection is watched as well, and
closing ours is how a server hears of it.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable

from pycc.errors import PyccError

from .hosts import HostSpec, Kind
from .protocol import ProtocolError, Reader, Reply, Request, Truncated, reply_reader, write_request

CONNECT_SECONDS = 4.0  # distcc's
CONNECT_TRIES = 3
RECEIVE = 1 << 20
_TOUCH_SECONDS = 20.0


class Fault(PyccError):
    """The network or the daemon failed, not the compile. ``status`` is distcc's exit code."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class NoAnswer(Fault):
    """The peer closed the connection without a byte, as a stock distccd does with what it does not
    know."""


EXIT_CONNECT_FAILED, EXIT_IO_ERROR, EXIT_TRUNCATED, EXIT_PROTOCOL_ERROR = 103, 107, 108, 109
EXIT_TIMEOUT = 118


_NO_ANSWER = (
    "server provided no answer. Is the server configured to allow access from your IP address? Does"
    " the server have the compiler installed? Is the server configured to access the compiler?"
)


class Left(Exception):
    """The launcher has gone: nobody waits for the object."""


def connect(host: HostSpec) -> socket.socket:
    """A connection to a TCP host. Raises Fault."""
    if host.kind is not Kind.TCP or host.tls or host.auth:
        raise Fault(f"{host.spelled}: only plain TCP is there yet", EXIT_CONNECT_FAILED)
    for attempt in range(CONNECT_TRIES):
        try:
            connection = socket.create_connection((host.host, host.port), CONNECT_SECONDS)
            break
        except BlockingIOError as problem:  # the server's queue is full
            if attempt == CONNECT_TRIES - 1:
                raise _connect_fault(host, problem) from None
            time.sleep(0.05)
        except (OSError, UnicodeError) as problem:
            raise _connect_fault(host, problem) from None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _connect_fault(host: HostSpec, problem: Exception) -> Fault:
    why = getattr(problem, "strerror", None) or str(problem) or "timed out"
    return Fault(f"failed to connect to {host.host}:{host.port}: {why}", EXIT_CONNECT_FAILED)


def _io_fault(what: str, problem: OSError, *, began: bool) -> Fault:
    text = f"failed to {what}: {problem.strerror}"
    # Who is denied is hung up on, and with bytes on their way that is a reset, not an end.
    if isinstance(problem, ConnectionError) and not began:
        return NoAnswer(f"{text}: {_NO_ANSWER}", EXIT_IO_ERROR)
    return Fault(text, EXIT_IO_ERROR)


class Conversation:
    """A job on a connection. ``launcher`` is the descriptor of the other connection to watch, or
    None; ``touch`` is called now and then while we wait."""

    def __init__(
        self,
        connection: socket.socket,
        seconds: float,
        launcher: int | None = None,
        touch: Callable[[], None] | None = None,
    ) -> None:
        self._connection = connection
        self._seconds = seconds
        self._launcher = launcher
        self._touch = touch
        connection.setblocking(False)

    def send(self, request: Request) -> None:
        """Raises Fault, Left, ProtocolError for what cannot be said."""
        data = memoryview(b"".join(write_request(request)))
        while data:
            self._wait(select.POLLOUT)
            try:
                data = data[self._connection.send(data) :]
            except BlockingIOError:
                continue
            except OSError as problem:
                raise _io_fault("send", problem, began=False) from None

    def receive(self, version: int) -> Reply:
        """Raises Fault, Left."""
        reader: Reader[Reply] = reply_reader(version)
        began = False
        try:
            while reader.message is None:
                self._wait(select.POLLIN)
                try:
                    data = self._connection.recv(min(RECEIVE, max(reader.wanted, 1 << 12)))
                except BlockingIOError:
                    continue
                if not data:
                    if not began:
                        raise NoAnswer(_NO_ANSWER, EXIT_TRUNCATED)
                    return reader.end()
                began = True
                reader.feed(data)
        except Truncated as problem:
            raise Fault(str(problem), EXIT_TRUNCATED) from None
        except ProtocolError as problem:
            raise Fault(str(problem), EXIT_PROTOCOL_ERROR) from None
        except OSError as problem:
            raise _io_fault("receive", problem, began=began) from None
        return reader.message

    def _wait(self, event: int) -> None:
        number = self._connection.fileno()
        poll = select.poll()
        poll.register(number, event)
        if self._launcher is not None:
            poll.register(self._launcher, select.POLLIN)
        end = time.monotonic() + self._seconds
        while True:
            left = end - time.monotonic()
            if left <= 0:
                raise Fault(f"no answer for {self._seconds:.0f} s", EXIT_TIMEOUT)
            ready = dict(poll.poll(min(left, _TOUCH_SECONDS) * 1000))
            # A launcher says nothing while it waits: what comes is the end of its connection.
            if self._launcher in ready:
                raise Left
            if number in ready:
                return
            if self._touch is not None:
                self._touch()
