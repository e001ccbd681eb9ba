"""The daemon's loop: it listens, and gives each connection a thread and each compile a turn.

A client may connect long before it sends anything, because it preprocesses meanwhile; so reading
a request takes no turn, and only as many compiles run at a time as there are turns. Where there
are too many connections the next ones wait in the listener's queue, as with distccd.

SIGTERM drains: nothing more is accepted, what runs may finish for some seconds, and then its
children are ended with it. A second signal ends it at once.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from pycc.record import record

from .access import Mask, allows
from .daemon_log import Level, Log
from .job import Code, Done, Workshop, do
from .protocol import ProtocolError, Reader, Request, Truncated, request_reader, write_reply

IO_SECONDS = 300.0
"""How long a peer may be silent (DISTCC_IO_TIMEOUT)."""
CONNECTIONS_A_TURN, MORE_CONNECTIONS = 4, 16
RECEIVE = 1 << 20


@record
class Client:
    """A connection's other end."""

    address: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


class Daemon:
    """Serves until it is told to leave. ``turns`` is the number of compiles at a time."""

    def __init__(
        self,
        shop: Workshop,
        log: Log,
        *,
        turns: int,
        masks: Sequence[Mask],
        drain_seconds: float = 10.0,
    ) -> None:
        self._shop = shop
        self._log = log
        self._masks = masks
        self._turns = threading.BoundedSemaphore(turns)
        self._most = turns * CONNECTIONS_A_TURN + MORE_CONNECTIONS
        self._drain_seconds = drain_seconds
        self._serving: set[int] = set()
        self._lock = threading.Lock()
        self._wake_reader, self._wake_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._leaving = False

    # The listening thread.

    def leave(self, number: int = 0, _: FrameType | None = None) -> None:
        """Stop accepting; a signal's handler, too."""
        self._log(Level.NOTICE, f"leaving{f' on signal {number}' if number else ''}")
        self._leaving = True
        self._wake()

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._wake_writer, b"x")

    def serve(self, listeners: Sequence[socket.socket], lifetime: float | None = None) -> None:
        """Accept and serve until `leave`, or for ``lifetime`` seconds; then drain."""
        deadline = time.monotonic() + lifetime if lifetime else None
        by_number = {listener.fileno(): listener for listener in listeners}
        for listener in listeners:
            listener.setblocking(False)
        while not self._leaving:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            with self._lock:
                room = len(self._serving) < self._most
            poll = select.poll()
            poll.register(self._wake_reader, select.POLLIN)
            for number in by_number if room else ():
                poll.register(number, select.POLLIN)
            for number, _ in poll.poll(None if left is None else left * 1000):
                if number == self._wake_reader:
                    os.read(self._wake_reader, 1 << 12)
                else:
                    self._accept(by_number[number])
        for listener in listeners:
            listener.close()
        self._drain()

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, address = listener.accept()
        except OSError:  # it has gone already, or there is no descriptor to be had
            time.sleep(0.001)
            return
        client = Client(address[0].partition("%")[0], address[1])
        self._log(Level.INFO, f"connection from {client}", "dcc_check_client")
        if not allows(self._masks, client.address):
            text = f"connection from client '{client}' denied by access list"
            self._log(Level.WARNING, text, "dcc_check_client")
            connection.close()
            return
        with self._lock:
            self._serving.add(connection.fileno())
        thread = threading.Thread(target=self._serve_one, args=(connection, client), daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._serving.discard(connection.fileno())
        connection.close()
        self._wake()

    def _drain(self) -> None:
        deadline = time.monotonic() + self._drain_seconds
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        while time.monotonic() < deadline:
            with self._lock:
                if not self._serving:
                    return
            select.select([self._wake_reader], [], [], 0.05)
            with suppress(BlockingIOError):
                os.read(self._wake_reader, 1 << 12)

    # A connection's thread.

    def _serve_one(self, connection: socket.socket, client: Client) -> None:
        try:
            connection.settimeout(IO_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            request = self._read(connection, client)
            if request is not None:
                with self._turns:
                    done = do(request, self._shop, connection.fileno())
                self._answer(done, client, connection)
        except OSError as problem:
            self._log(Level.ERROR, f"{client}: {problem}", "dcc_serve")
        finally:
            self._forget(connection)

    def _read(self, connection: socket.socket, client: Client) -> Request | None:
        reader: Reader[Request] = request_reader()
        try:
            while reader.message is None:
                data = connection.recv(min(RECEIVE, max(reader.wanted, 1 << 12)))
                if not data:
                    reader.end()
                reader.feed(data)
        except Truncated:
            self._summary(client, Code.CLI_DISCONN.value, "")
        except ProtocolError as problem:
            # In the middle of a message there is nothing that a stock client would read.
            self._log(Level.ERROR, f"{client}: {problem}", "dcc_r_token")
            self._summary(client, Code.REJ_BAD_REQ.value, "")
        return reader.message

    def _answer(self, done: Done, client: Client, connection: socket.socket) -> None:
        if done.said:
            self._log(Level.ERROR, f"{client}: {done.said}", "dcc_serve")
        if done.reply is not None:
            connection.sendall(b"".join(write_reply(done.reply)))
        status = done.reply.status if done.reply is not None else 0
        self._summary(
            client,
            done.code.value,
            f" exit:{status >> 8} sig:{status & 0x7F} core:{status >> 7 & 1} ret:0"
            f" time:{done.milliseconds}ms {done.compiler} {done.source} cache:{done.cache}",
        )
        self._log(Level.INFO, "job complete")

    def _summary(self, client: Client, code: str, rest: str) -> None:
        self._log(Level.NOTICE, f"client: {client} {code}{rest}", "dcc_job_summary")
