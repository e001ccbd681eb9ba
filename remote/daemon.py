"""The daemon's loop: it listens, and gives each connection a thread and each compile a turn.

A client may connect long before it sends anything, because it preprocesses meanwhile; so reading
a request takes no turn, and only as many compiles run at a time as there are turns. Where there
are too many connections the next ones wait in the listener's queue, as with distccd.

SIGTERM drains: nothing more is accepted, what runs may finish for some seconds, and then is ended,
children and all, and its clients are told. A second signal does not wait for those seconds.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from functools import partial
from types import FrameType

from . import exact_job, job, pump_job
from .access import Mask, allows
from .admission import OPEN, Admission, Refused
from .daemon_log import Level, Log
from .exactness import Exactness
from .job import Code, Done, Workshop, greeting, subject
from .metrics import Metrics
from .protocol import OURS, ProtocolError, Reader, Request, Truncated, request_reader, write_reply
from .room import NoRoom, Room, Share
from .server_cache import FAULTS
from .streams import Client, Pipes, Stream, peer_of

IO_SECONDS = 300.0
"""How long a peer may be silent (DISTCC_IO_TIMEOUT)."""
CONNECTIONS_A_TURN, MORE_CONNECTIONS = 4, 16
RECEIVE = 1 << 20
ASKS_FOR_GSS = b"*"
KEPT_SECONDS = 90.0
"""How long a client's next request on the same connection is waited for (`kept.IDLE_SECONDS`)."""
END_SECONDS = 3.0
"""For jobs whose children were ended to tell their clients."""
COMPLAINT_SECONDS = 600.0
"""How often the log says that the cache has the same trouble."""


class Daemon:
    """Serves until it is told to leave. ``turns`` is the number of compiles at a time."""

    def __init__(
        self,
        shop: Workshop,
        log: Log,
        *,
        turns: int,
        masks: Sequence[Mask],
        metrics: Metrics,
        exact: Exactness | None = None,
        admission: Admission = OPEN,
        drain_seconds: float = 10.0,
    ) -> None:
        self._shop = shop
        self._exact = exact
        self._admission = admission
        self._log = log
        self._masks = masks
        self._metrics = metrics
        self._turns = threading.BoundedSemaphore(turns)
        self._most = turns * CONNECTIONS_A_TURN + MORE_CONNECTIONS
        self._drain_seconds = drain_seconds
        self._serving: set[int] = set()
        self._kept: set[int] = set()
        self._lock = threading.Lock()
        self._wake_reader, self._wake_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._leaving = self._at_once = False
        self._signal = 0
        self._complained: dict[str, float] = {}
        self._room = Room()

    # The listening thread.

    def leave(self, number: int = 0, _: FrameType | None = None) -> None:
        """Stop accepting, and the second time, wait for nothing; a signal's handler, too."""
        self._at_once = self._leaving
        self._leaving = True
        self._signal = number
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
        why = f" on signal {self._signal}" if self._signal else ""
        self._log(Level.NOTICE, f"leaving{why}")
        self._drain()

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, address = listener.accept()
        except OSError:  # it has gone already, or there is no descriptor to be had
            time.sleep(0.001)
            return
        client = Client(address[0].partition("%")[0], address[1])
        if not self._admits(client):
            connection.close()
            return
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            stream = self._admission.stream(connection)
        except OSError:  # it has gone already
            connection.close()
            return
        with self._lock:
            self._serving.add(stream.fileno())
        thread = threading.Thread(target=self._serve_one, args=(stream, client), daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._forget(stream)

    def _admits(self, client: Client) -> bool:
        self._log(Level.INFO, f"connection from {client}", "dcc_check_client")
        allowed = not client.address or allows(self._masks, client.address)
        self._metrics.accepted(allowed=allowed, client=client.address)
        if not allowed:
            text = f"connection from client '{client}' denied by access list"
            self._log(Level.WARNING, text, "dcc_check_client")
        return allowed

    def _forget(self, connection: Stream) -> None:
        with self._lock:
            self._serving.discard(connection.fileno())
        connection.close()
        self._wake()

    def _drain(self) -> None:
        if not self._idle(self._drain_seconds, may_hurry=True):
            if self._shop.stop is not None:
                self._shop.stop.now()
            self._idle(END_SECONDS, may_hurry=False)

    def _idle(self, seconds: float, *, may_hurry: bool) -> bool:
        """Wait until nobody is served; False if that took too long."""
        deadline = time.monotonic() + seconds
        while True:
            with self._lock:
                if not self._serving:
                    return True
            left = deadline - time.monotonic()
            if left <= 0 or (may_hurry and self._at_once):
                return False
            select.select([self._wake_reader], [], [], min(left, 0.5))
            with suppress(BlockingIOError):
                os.read(self._wake_reader, 1 << 12)

    # One client, on a connection's thread.

    def serve_standard_input(self) -> bool:
        """Serve the client of inetd or ssh; False if it may not ask."""
        client = peer_of(0)
        if not self._admits(client):
            return False
        stream: Stream = Pipes(0, 1, IO_SECONDS)
        if client.address and self._admission.needs_socket:
            stream = self._admission.stream(socket.socket(fileno=os.dup(0)))
        with self._lock:
            self._serving.add(stream.fileno())
        thread = threading.Thread(target=self._serve_one, args=(stream, client), daemon=True)
        thread.start()
        while thread.is_alive() and not self._leaving:
            thread.join(0.5)
        self._drain()
        return True

    def _serve_one(self, connection: Stream, client: Client) -> None:
        try:
            # Whoever came in through ssh has proven more than an address.
            if client.address and not self._proves(connection, client):
                return
            while self._serve_request(connection, client):
                if not self._asks_again(connection):
                    break
        except OSError as problem:
            self._log(Level.ERROR, f"{client}: {problem}", "dcc_serve")
        finally:
            self._forget(connection)

    def _proves(self, connection: Stream, client: Client) -> bool:
        try:
            who = self._admission.prove(connection)
        except Refused as problem:
            self._log(Level.WARNING, f"{client}: {problem}", "dcc_check_client")
            self._summary(client, Code.REJ_BAD_REQ, "")
            return False
        if who:
            self._log(Level.INFO, f"{client} is {who}", "dcc_check_client")
        connection.settimeout(IO_SECONDS)
        return True

    def _serve_request(self, connection: Stream, client: Client) -> bool:
        """Whether the client may have another one: it is one of ours, and to start this process, or
        to shake hands, cost it more than a small job."""
        with self._room.share() as share:
            request = self._read(share, connection, client)
            if request is None:
                return False
            known = greeting(request, exact=self._exact is not None)
            if known is not None:
                connection.sendall(b"".join(write_reply(known)))
            else:
                self._serve_job(request, connection, client)
        dear = isinstance(connection, Pipes) or self._admission.tls is not None
        return request.version in OURS and dear

    def _asks_again(self, connection: Stream) -> bool:
        """Wait for the next request; False at the end. Meanwhile nobody is served."""
        number = connection.fileno()
        with self._lock:
            if self._leaving or len(self._kept) >= self._most:
                return False
            self._serving.discard(number)
            self._kept.add(number)
        self._wake()  # there is room for another one
        poll = select.poll()
        poll.register(number, select.POLLIN | select.POLLRDHUP)
        ready = dict(poll.poll(KEPT_SECONDS * 1000)).get(number, 0)
        with self._lock:
            self._kept.discard(number)
            self._serving.add(number)
        return not self._leaving and ready == select.POLLIN

    def _serve_job(self, request: Request, connection: Stream, client: Client) -> None:
        # Who only asks has not to wait for those that compile.
        asked = exact_job.is_question(request) or job.is_question(request)
        with nullcontext() if asked else self._turns:
            turn = self._metrics.began(
                client.address, partial(subject, request.version, request.argv)
            )
            try:
                done = self._do(request, connection.fileno())
            finally:
                self._metrics.ended(turn)
        self._answer(done, client, connection)

    def _do(self, request: Request, client: int) -> Done:
        if exact_job.is_exact(request):
            return exact_job.do(request, self._shop, self._exact, client)
        if pump_job.is_pump(request):
            return pump_job.do(request, self._shop, self._exact, client)
        return job.do(request, self._shop, client)

    def _read(self, share: Share, connection: Stream, client: Client) -> Request | None:
        reader: Reader[Request] = request_reader(take=share.take)
        began = False
        try:
            while reader.message is None:
                data = connection.recv(min(RECEIVE, max(reader.wanted, 1 << 12)))
                if not data:
                    reader.end()
                if not began and data.startswith(ASKS_FOR_GSS):  # and waits for an answer
                    raise ProtocolError("a client with ,auth: start this daemon with --auth")
                began = True
                reader.feed(data)
        except Truncated:
            self._summary(client, Code.CLI_DISCONN, "")
        except ProtocolError as problem:
            # In the middle of a message there is nothing that a stock client would read.
            self._log(Level.ERROR, f"{client}: {problem}", "dcc_r_token")
            overload = isinstance(problem, NoRoom)
            self._summary(client, Code.REJ_OVERLOAD if overload else Code.REJ_BAD_REQ, "")
        return reader.message

    def _answer(self, done: Done, client: Client, connection: Stream) -> None:
        if done.said:
            self._log(Level.ERROR, f"{client}: {done.said}", "dcc_serve")
        if done.code is Code.NOT_KEPT and done.reply is not None:
            connection.sendall(b"".join(write_reply(done.reply)))
            return
        status = done.reply.status if done.reply is not None else 0
        try:
            if done.reply is not None:
                connection.sendall(b"".join(write_reply(done.reply)))
        finally:
            self._summary(
                client,
                done.code,
                f" exit:{status >> 8} sig:{status & 0x7F} core:{status >> 7 & 1} ret:0"
                f" time:{done.milliseconds}ms {done.compiler} {done.source} cache:{done.cache}",
                done,
            )
        self._log(Level.INFO, "job complete")
        self._look_after_the_cache()

    def _look_after_the_cache(self) -> None:
        """What went wrong with it never fails a job, so nobody else would hear of it."""
        faults = {} if self._shop.cache is None else self._shop.cache.faults()
        if not faults:
            return
        self._metrics.cache_faults(faults)
        now = time.monotonic()
        for name, count in faults.items():
            said = self._complained.get(name)
            if FAULTS[name] and (said is None or now - said >= COMPLAINT_SECONDS):
                self._complained[name] = now
                text = f"the cache: {FAULTS[name]} ({name}: {count}); see --check"
                self._log(Level.WARNING, text)

    def _summary(self, client: Client, code: Code, rest: str, done: Done | None = None) -> None:
        self._log(Level.NOTICE, f"client: {client} {code.value}{rest}", "dcc_job_summary")
        if done is None:
            self._metrics.job(code.value, cache="", client=client.address)
            return
        self._metrics.job(
            code.value,
            source=done.source,
            compiler=done.compiler,
            milliseconds=done.milliseconds,
            cache=done.cache,
            client=client.address,
            said=done.said,
        )
