"""Connections to a remote storage: bytes with time limits, and idle ones kept for the next request.

Two times limit a request: how long no byte may move, and how long it may take in all. A connection
that has lain idle may have been closed at the other end without a word, which shows when it is used
next; such a request is made again, once, on a new one. Everything that storages are asked for may
be done twice.
"""

from __future__ import annotations

import os
import queue
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from ..pattern import pattern
from ..record import record
from .remote_backend import StorageFailed

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")

MOST_IDLE, IDLE_SECONDS = 16, 55.0
"""Connections kept; servers close theirs after a minute or more (nginx 75 s)."""
BLOCK = 256 << 10
LONGEST_LINE = 64 << 10
GIVEN_UP = "given up, as another request got no answer"
LONGEST_NAME = 107  # bytes, of a Unix socket (unix(7))
MOST_ADDRESSES = 4
_NUMERIC = pattern(r"[0-9.]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


class _Stale(Exception):
    """The other end had closed the connection before this request."""


class Stream:
    """One connection; not for several threads at once."""

    def __init__(self, connection: socket.socket, data_timeout: float) -> None:
        self._socket = connection
        self._data_timeout = data_timeout
        self._buffer = bytearray()
        self._deadline = 0.0
        self._answered = False
        self._given_up = False
        self.reused = False
        self.used = 0.0

    def begin(self, seconds: float) -> None:
        """Start a request that may take ``seconds``."""
        self._deadline = time.monotonic() + seconds
        self._answered = False

    def send(self, *parts: bytes) -> None:
        """Send all of it."""
        data = b"".join(parts) if sum(map(len, parts)) < 1 << 16 else None
        try:
            for part in parts if data is None else (data,):
                view = memoryview(part)
                while view:
                    self._limit()
                    view = view[self._socket.send(view[:BLOCK]) :]
        except OSError as problem:
            raise self._failure(problem) from problem

    def line(self) -> bytes:
        """The next line, without its end."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > LONGEST_LINE:
                raise StorageFailed("a line that is too long")
            self._more(BLOCK)
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        return line

    def exactly(self, size: int) -> bytes:
        """The next ``size`` bytes, which the caller has bounded."""
        buffer = self._buffer
        if len(buffer) >= size:
            data = bytes(buffer[:size])
            del buffer[:size]
            return data
        # What a peer announces is not allocated before it comes.
        while len(buffer) < size:
            self._more(min(size - len(buffer), max(BLOCK, len(buffer))))
        self._buffer = bytearray()
        return bytes(buffer)

    def rest(self, most: int) -> bytes:
        """Everything until the other end closes."""
        while len(self._buffer) <= most:
            try:
                self._more(BLOCK)
            except EOFError:
                data, self._buffer = bytes(self._buffer), bytearray()
                return data
        raise StorageFailed("an answer that is too long")

    def _more(self, most: int) -> None:
        try:
            self._limit()
            data = self._socket.recv(most)
        except OSError as problem:
            raise self._failure(problem) from problem
        if not data:
            if self._given_up:
                raise StorageFailed(GIVEN_UP, timeout=True)
            if self.reused and not self._answered:
                raise _Stale
            raise EOFError
        self._answered = True
        self._buffer += data

    def _limit(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(min(left, self._data_timeout))

    def _failure(self, problem: OSError) -> Exception:
        if self._given_up or isinstance(problem, TimeoutError):
            return StorageFailed(GIVEN_UP if self._given_up else "timeout", timeout=True)
        if self.reused and not self._answered:
            return _Stale()
        return StorageFailed(problem.strerror or str(problem))

    @property
    def at_rest(self) -> bool:
        """Nothing has come since the last answer: neither more of it, which would be taken for the
        next one, nor the end."""
        if self._buffer:
            return False
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return not waiting.poll(0)

    def give_up(self) -> None:
        """Have whoever waits for it, in another thread, wait no longer."""
        self._given_up = True
        with suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()


@record
class Peer:
    """Where connections go: a host and port, or the path of a Unix socket; times in seconds."""

    host: str
    port: int
    path: str
    connect_timeout: float
    data_timeout: float
    request_timeout: float
    tls: ssl.SSLContext | None = None

    def connect(self) -> Stream:
        """Raises StorageFailed."""
        connection: socket.socket | None = None
        try:
            if self.path:
                connection = socket.socket(socket.AF_UNIX)
                connection.settimeout(self.connect_timeout)
                _connect_unix(connection, self.path)
            else:
                addresses = resolved(self.host, self.port, self.data_timeout)
                connection = _connect_first(addresses, self.connect_timeout)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls is not None:
                connection.settimeout(self.data_timeout)
                connection = self.tls.wrap_socket(connection, server_hostname=self.host)
        except BaseException as problem:
            if connection is not None:
                connection.close()
            if isinstance(problem, TimeoutError):
                raise StorageFailed("connection timeout", timeout=True) from problem
            if isinstance(problem, OSError):
                reason = problem.strerror or str(problem)
                raise StorageFailed(f"connection error: {reason}") from problem
            if isinstance(problem, ValueError):  # a name that cannot be one
                raise StorageFailed(f"connection error: {problem}") from problem
            raise
        return Stream(connection, self.data_timeout)


_Address = tuple[int, int, int, str, Any]  # as of socket.getaddrinfo


def resolved(host: str, port: int, seconds: float) -> Sequence[_Address]:
    """The addresses of a host, asked for at most so long. Raises OSError, ValueError.

    The C library has no time limit but its own, of half a minute and more where name servers are
    away, and cannot be called back: then its thread is left behind."""
    if _NUMERIC.fullmatch(host):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    done: queue.SimpleQueue[Sequence[_Address] | OSError | ValueError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            done.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, ValueError) as problem:
            done.put(problem)

    try:
        threading.Thread(target=ask, daemon=True).start()
    except RuntimeError as problem:
        raise OSError(str(problem)) from problem
    try:
        found = done.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(found, OSError | ValueError):
        raise found
    return found


def _connect_first(addresses: Sequence[_Address], seconds: float) -> socket.socket:
    """A connection to the first that takes it, each within ``seconds``."""
    problem = OSError("no address")
    for family, kind, protocol, _, address in addresses[:MOST_ADDRESSES]:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(seconds)
            connection.connect(address)
        except OSError as failed:
            connection.close()
            problem = failed
        else:
            return connection
    raise problem


def _connect_unix(connection: socket.socket, path: str) -> None:
    if len(os.fsencode(path)) <= LONGEST_NAME:
        connection.connect(path)
        return
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    finally:
        os.close(directory)


class Connections:
    """To one peer; ``greet`` is what a new connection begins with. For several threads."""

    def __init__(
        self,
        peer: Peer,
        greet: Callable[[Stream], None] = lambda _: None,
        connect: Callable[[], Stream] | None = None,
        *,
        keep: bool = True,
    ) -> None:
        self._peer = peer
        self._greet = greet
        self._connect = peer.connect if connect is None else connect
        self._keep = keep
        self._idle: list[Stream] = []
        self._busy: set[Stream] = set()
        self._lock = threading.Lock()

    def ask(self, exchange: Callable[[Stream], tuple[T, bool]]) -> T:
        """What ``exchange`` gives, on a connection of its own meanwhile; it says, too, whether the
        connection can be used again. Raises StorageFailed."""
        stream = self._take()
        if stream is not None:
            try:
                return self._use(stream, exchange)
            except _Stale:
                self.close()  # the others are as old
        stream = self._connect()
        self._use(stream, self._greeted, keep=True)
        return self._use(stream, exchange)

    def _greeted(self, stream: Stream) -> tuple[None, bool]:
        self._greet(stream)
        return None, True

    def _use(
        self, stream: Stream, exchange: Callable[[Stream], tuple[T, bool]], *, keep: bool = False
    ) -> T:
        """What ``exchange`` gives; the stream is given back unless the caller is to ``keep`` it."""
        stream.begin(self._peer.request_timeout)
        with self._lock:
            self._busy.add(stream)
        try:
            got, again = exchange(stream)
        except (EOFError, ValueError) as problem:
            stream.close()
            raise StorageFailed(str(problem) or "connection closed") from problem
        except BaseException:
            stream.close()
            raise
        finally:
            with self._lock:
                self._busy.discard(stream)
        if not keep:
            self._give_back(stream, again)
        return got

    def _take(self) -> Stream | None:
        now = time.monotonic()
        with self._lock:
            while self._idle:
                stream = self._idle.pop()
                if now - stream.used < IDLE_SECONDS and stream.at_rest:
                    stream.reused = True
                    return stream
                stream.close()
        return None

    def _give_back(self, stream: Stream, again: bool) -> None:
        stream.used = time.monotonic()
        with self._lock:
            if again and self._keep and len(self._idle) < MOST_IDLE:
                self._idle.append(stream)
                return
        stream.close()

    def give_up(self) -> None:
        """End what other threads have asked for and wait for."""
        with self._lock:
            for stream in self._busy:
                stream.give_up()

    def close(self) -> None:
        """Let go of those that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for stream in idle:
            with suppress(OSError):
                stream.close()


def context(ca_file: str) -> ssl.SSLContext:
    """How TLS is spoken: the peer proves its name by the system's certificates, or by those of
    ``ca_file``. Raises OSError."""
    import ssl  # 20 ms, and most storages have none

    return ssl.create_default_context(cafile=ca_file or None)


def text_of(parts: Sequence[bytes]) -> str:
    """Bytes of a peer for the log: short and printable."""
    return b" ".join(parts)[:200].decode("ascii", "backslashreplace")
