"""A server that lies to pycc's client: spoilt answers, silence, ends anywhere.

Most answers go through `Conversation` on a pair of sockets in this process; some through the whole
of `elsewhere`, with a listener on the network that gives the case's answers one after another.
Nothing but the transport's own faults may come of it, no answer that was cut may be taken, and
nobody may wait longer than was said.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import resource
import socket
import struct
import threading
import time

from pycc.record import replace
from pycc.remote.client_log import ClientLog
from pycc.remote.client_settings import ClientSettings
from pycc.remote.connection import Connection, Fault
from pycc.remote.farm import Answer, Farm, Job, elsewhere
from pycc.remote.hosts import HostList, parse_hosts
from pycc.remote.monitor_state import JobState
from pycc.remote.protocol import (
    NOT_KEPT,
    OTHER_COMPILER,
    OURS_LZO,
    OURS_PLAIN,
    PUMP,
    Reply,
    Request,
    write_reply,
)
from pycc.remote.transport import Conversation
from tests.fuzz.wire_mutations import any_mutation, bomb

SECONDS = 0.1
"""What a client waits for a silent server."""
SLACK = 5.0
"""What it may take beyond that, on a machine that is busy."""
FARM_SHARE, SILENT_SHARE, BOMB_SHARE = 0.15, 0.004, 0.01
LARGEST_BOMB = 16 << 20
MEMORY = 1 << 30
"""Bytes that the process may grow to: some of the largest bodies, and itself."""
PAIR_BUFFER = 1 << 20
JOB = (b"gcc", b"-c", b"a.c", b"-o", b"a.o")
TEXT = b"int x;\n"
GREETING = b"".join(write_reply(Reply(OURS_PLAIN, 0, out=b"pyccd 1\n")))


@dataclasses.dataclass(frozen=True, slots=True)
class Lie:
    """An answer to a request of ``version``. ``valid``: what it is when it was not spoilt;
    ``shortened``: it was, only by leaving its end away. ``silent``: the server does not close."""

    kind: str
    version: int
    data: bytes
    silent: bool = False
    reset: bool = False
    valid: Reply | None = None
    shortened: Reply | None = None


def lie_of(seed: int, number: int) -> Lie:
    """Answer ``number`` of a seed."""
    rng = random.Random(f"{seed}/lie/{number}")
    version = rng.choice((1, 1, 2, 2, PUMP, OURS_PLAIN, OURS_LZO))
    status = rng.choice((0, 0, 0, 1 << 8, 110 << 8, OTHER_COMPILER << 8, NOT_KEPT << 8, 11, 139))
    made = rng.choice((b"", b"object", b"\x7fELF" + b"o" * 3000, rng.randbytes(900)))
    reply = Reply(
        version,
        status,
        rng.choice((b"", b"said\n", b"\xff\0\x1b[31m" * 40)),
        rng.choice((b"", b"out")),
        b"" if status else made,
        None if version != PUMP or status else b"a.o: a.c\n",
    )
    data = b"".join(write_reply(reply))
    silent, reset = rng.random() < SILENT_SHARE, rng.random() < 0.02
    if rng.random() < BOMB_SHARE:
        body = bomb(rng, LARGEST_BOMB)
        head = b"DONE%08xSTAT00000000" % version
        data = head + b"SERR%08x" % len(body) + body + data[len(head) :]
        return Lie("bomb", version, data[: PAIR_BUFFER // 2], silent, reset)
    if rng.random() < 0.1:
        return Lie("good", version, data, valid=reply)
    kind, spoilt = any_mutation(rng, data)
    shortened = reply if kind == "cut" else None
    return Lie(kind, version, spoilt, silent, reset, shortened=shortened)


def whole_without(reply: Reply, data: bytes) -> bool:
    """Whether an answer is one although its end is missing: of a failed compile the empty object,
    of pump mode the dependencies."""
    whole = b"".join(write_reply(reply))
    if reply.status:
        return len(data) >= len(whole) - 12
    return reply.version == PUMP and len(data) >= whole.rindex(b"DOTD")


def ended(status: int) -> bool:
    """Whether the system says so of a wait status, and that it is a failure where it is not 0."""
    if status > 0xFFFF:
        return False
    return status == 0 or os.WIFSIGNALED(status) or os.WEXITSTATUS(status) > 0


class Client:
    """Hears lies; ``findings`` collects what came of them that must not."""

    def __init__(self) -> None:
        self.answers = self.faults = 0
        self._thread_failures: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._host = parse_hosts(f"127.0.0.1:{self._listener.getsockname()[1]}").hosts[0]
        self._lies: list[Lie] = []
        self._open: list[socket.socket] = []
        self._before = threading.excepthook
        threading.excepthook = lambda problem: self._thread_failures.append(
            f"{problem.exc_type.__name__}: {problem.exc_value}"
        )
        self._server = threading.Thread(target=self._serve, daemon=True)
        self._server.start()

    def close(self) -> None:
        """End the hostile server."""
        self._lies = []
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._server.join(SLACK)
        threading.excepthook = self._before

    def run(self, seed: int, number: int) -> list[str]:
        """Hear one lie; what was wrong with how it was taken."""
        lie = lie_of(seed, number)
        rng = random.Random(f"{seed}/way/{number}")
        began = time.monotonic()
        try:
            if rng.random() < FARM_SHARE:
                found = self._through_a_farm(rng, lie)
            else:
                found = self._through_a_pair(lie)
        except Exception as problem:
            found = [f"{type(problem).__name__}: {problem}"]
        passed = time.monotonic() - began
        if passed > 6 * SECONDS + SLACK:
            found.append(f"it took {passed:.1f} s")
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 > MEMORY:
            found.append("it has taken more memory than it may")
        found += self._thread_failures
        self._thread_failures.clear()
        return [f"client, {lie.kind}: {said}" for said in found]

    def _through_a_pair(self, lie: Lie) -> list[str]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PAIR_BUFFER)
            theirs.setblocking(False)
            theirs.sendall(lie.data)
            if lie.reset:
                theirs.close()
            elif not lie.silent:
                theirs.shutdown(socket.SHUT_WR)
            talk = Conversation(Connection(ours), SECONDS)
            try:
                talk.send(Request(min(lie.version, 2) if lie.version == PUMP else lie.version, JOB))
                reply = talk.receive(lie.version)
            except Fault as fault:
                self.faults += 1
                if lie.valid is not None and not lie.reset:
                    return [f"a good answer was not taken: {fault}"]
                return []
        self.answers += 1
        if lie.valid is not None and reply != lie.valid:
            return [f"a good answer became another: {reply}"[:300]]
        if not ended(reply.status):
            return [f"a status that no process ends with was taken: {reply.status:#x}"]
        if lie.shortened is not None and not whole_without(lie.shortened, lie.data):
            return [f"an answer that was cut was taken: {reply}"[:300]]
        return []

    # With the whole of the farm's client.

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            lies = self._lies
            lie = lies.pop(0) if len(lies) > 1 else (lies or [Lie("", 1, b"")])[0]
            with contextlib.suppress(OSError):
                # All that was sent, or its close would be a reset that overtakes the answer.
                connection.settimeout(SECONDS)
                connection.recv(1 << 16)
                connection.sendall(lie.data)
            if lie.silent:
                self._open.append(connection)
                continue
            if lie.reset:
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.close()

    def _through_a_farm(self, rng: random.Random, lie: Lie) -> list[str]:
        greeting = Lie("greeting", OURS_PLAIN, GREETING)
        self._lies = [rng.choice((greeting, greeting, lie)), lie]
        farm = Farm()
        hosts = HostList((replace(self._host, lzo=rng.random() < 0.5),))
        backoff = rng.choice((0.0, 60.0))
        settings = ClientSettings(hosts, io_timeout=SECONDS, backoff=backoff)
        lines: list[bytes] = []
        job = Job(
            argv=JOB,
            source="a.c",
            settings=settings,
            log=ClientLog(settings, 1, b"/", lines.append),
            state=JobState(b"", 0, b"a.c"),
            waiting=lambda: None,
            identity=rng.choice((b"", b"\x01" * 32)),
        )
        found = list(elsewhere(farm, job, lambda: TEXT))
        for connection in self._open:
            connection.close()
        self._open.clear()
        answers = [one for one in found if isinstance(one, Answer)]
        self.answers += len(answers)
        self.faults += not answers
        wrong = [f"no answer of the host: {one}"[:300] for one in found if one not in answers]
        if farm.jobs(self._host):
            wrong.append("a slot is still taken")
        return wrong
