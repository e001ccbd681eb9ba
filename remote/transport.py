"""One job on one connection: a request out, a reply in, with limits on time.

A server that is busy leaves the connection in its queue, and a compile says nothing until its end:
so what is limited is how long the peer may be silent (DISTCC_IO_TIMEOUT), not how long a job may
take. While we wait the user may press Ctrl-C; his launcher's connection is watched as well, and
closing ours is how a server hears of it.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from .client_settings import ClientSettings
from .connection import (
    CONNECT_SECONDS,
    EXIT_CONNECT_FAILED,
    EXIT_GSSAPI_FAILED,
    EXIT_IO_ERROR,
    EXIT_PROTOCOL_ERROR,
    EXIT_TIMEOUT,
    EXIT_TRUNCATED,
    Connection,
    Fault,
    NoAnswer,
    NotReady,
)
from .hosts import HostSpec, Kind
from .protocol import ProtocolError, Reader, Reply, Request, Truncated, reply_reader, write_request

if TYPE_CHECKING:
    import ssl

    from .kept import Kept
    from .ssh import Masters

CONNECT_TRIES = 3
RECEIVE = 1 << 20
_TOUCH_SECONDS = 20.0
_NO_ANSWER = (
    "server provided no answer. Is the server configured to allow access from your IP address? Does"
    " the server have the compiler installed? Is the server configured to access the compiler?"
)


class Left(Exception):
    """The launcher has gone: nobody waits for the object."""


class Ways:
    """How hosts are reached, and what several jobs there share. ``directory`` is ours alone, and
    holds the sockets of shared connections; empty where there is none. Safe for several threads."""

    def __init__(self, directory: str = "") -> None:
        self._directory = directory
        self._masters: Masters | None = None
        self._kept: Kept | None = None
        self._tls: tuple[object, ssl.SSLContext] | None = None
        self._lock = threading.Lock()

    def again(self, host: HostSpec, settings: ClientSettings) -> Connection | None:
        """A connection that has served a job of ours before, if there is one."""
        kept = self._kept
        return None if kept is None else kept.take(_place(host, settings))

    def keep(self, host: HostSpec, settings: ClientSettings, connection: Connection) -> None:
        """A daemon of ours has answered on this connection: use it `again`, where that pays."""
        if self._kept is None or not (host.kind is Kind.SSH or host.tls):
            connection.close()
        else:
            self._kept.put(_place(host, settings), connection)

    def connect(self, host: HostSpec, settings: ClientSettings) -> Connection:
        """A connection to a host of another machine. Raises Fault."""
        try:
            return self._connect(host, settings)
        except ImportError as problem:  # an upgrade took the module from under us
            text = f"{host.spelled}: {problem}: pycc --stop-server"
            raise Fault(text, EXIT_CONNECT_FAILED) from None

    def _connect(self, host: HostSpec, settings: ClientSettings) -> Connection:
        if host.kind is Kind.SSH:
            if host.auth:
                text = f"{host.spelled}: ssh authenticates by itself: leave ,auth out"
                raise Fault(text, EXIT_GSSAPI_FAILED)
            from .ssh import Masters, open_ssh

            self._be_ready_to_keep()
            with self._lock:
                if self._masters is None:
                    self._masters = Masters(self._directory)
            return open_ssh(host, settings, self._masters)
        context = self._tls_context(settings) if host.tls else None
        channel = dial(host)
        if context is None:
            if host.auth:
                self._authenticate(channel, host, settings)
            return Connection(channel)
        from .tls import TlsConnection, open_tls, shake_hands

        self._be_ready_to_keep()
        secured = open_tls(channel, host, context)
        if host.auth:
            shake_hands(secured)
            self._authenticate(secured, host, settings)
        return TlsConnection(secured)

    def _be_ready_to_keep(self) -> None:
        from .kept import Kept

        with self._lock:
            if self._kept is None:
                self._kept = Kept()

    def _authenticate(
        self, channel: socket.socket, host: HostSpec, settings: ClientSettings
    ) -> None:
        from .gss import authenticate

        try:
            authenticate(channel, host, settings, channel.getpeername()[0])
        except OSError as problem:  # it has gone already
            channel.close()
            raise _connect_fault(host, problem) from None
        except BaseException:
            channel.close()
            raise

    def _tls_context(self, settings: ClientSettings) -> ssl.SSLContext:
        """Made once, because reading all authorities of a machine takes 10 ms; and anew when one of
        the files has changed."""
        from .tls import client_context

        files = settings.tls
        named = (files.authority, files.certificate, files.key)
        known = (files, *map(_stamp, named))
        with self._lock:
            if self._tls is None or self._tls[0] != known:
                self._tls = (known, client_context(settings))
            return self._tls[1]

    def close(self) -> None:
        """End what is shared."""
        with self._lock:
            masters, self._masters = self._masters, None
            kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()
        if masters is not None:
            masters.close()


_WHO = (b"HOME", b"PATH", b"SSH_AUTH_SOCK", b"DISTCC_PRINCIPAL", b"KRB5CCNAME")
"""Variables that decide who we are on the other side."""


def _place(host: HostSpec, settings: ClientSettings) -> tuple[object, ...]:
    """Where a connection leads, for who has such settings: others may be somebody else there."""
    told = settings.environment
    reached = (host.kind, host.host, host.port, host.user, host.command)
    shown = (host.tls, host.auth, host.auth_name, settings.tls, settings.ssh)
    return (*reached, *shown, *map(told.get, _WHO))


def _stamp(path: bytes) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def dial(host: HostSpec) -> socket.socket:
    """A TCP connection, which blocks. Raises Fault."""
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
    name = f"[{host.host}]" if ":" in host.host else host.host
    return Fault(f"failed to connect to {name}:{host.port}: {why}", EXIT_CONNECT_FAILED)


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
        connection: Connection,
        seconds: float,
        launcher: int | None = None,
        touch: Callable[[], None] | None = None,
    ) -> None:
        self._connection = connection
        self._seconds = seconds
        self._launcher = launcher
        self._touch = touch

    def send(self, request: Request) -> None:
        """Raises Fault, Left, ProtocolError for what cannot be said."""
        data = memoryview(b"".join(write_request(request)))
        while data:
            try:
                data = data[self._connection.send(data) :]
            except NotReady as wanted:
                self._wait(wanted.event)
            except OSError as problem:
                raise self._fault("send", problem, began=False) from None

    def receive(self, version: int) -> Reply:
        """Raises Fault, Left."""
        reader: Reader[Reply] = reply_reader(version)
        began = False
        try:
            while reader.message is None:
                try:
                    data = self._connection.recv(min(RECEIVE, max(reader.wanted, 1 << 12)))
                except NotReady as wanted:
                    self._wait(wanted.event)
                    continue
                if not data:
                    known = self._connection.fault(began=began)
                    if known is not None:
                        raise known
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
            raise self._fault("receive", problem, began=began) from None
        return reader.message

    def _fault(self, what: str, problem: OSError, *, began: bool) -> Fault:
        known = self._connection.fault(began=began)
        return known if known is not None else _io_fault(what, problem, began=began)

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
            self._connection.look_after()
            if self._touch is not None:
                self._touch()
