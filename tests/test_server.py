"""The loop that answers launchers, with a handler that does what the test wants."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from pycc import log
from pycc import server as serving
from pycc.frame import (
    HEADER,
    Exit,
    Fallback,
    FrameError,
    Op,
    Out,
    Request,
    Run,
    Shared,
    Write,
    frame_length,
    read_reply,
    read_request,
    reply_parts,
    write_reply,
)
from pycc.ready import Ready, make_ready
from pycc.server import Server
from pycc.sharing import MOST_SLOTS, SLOT_SIZE, Large
from pycc.talk import Talk
from tests.daemon_kit import wait_for
from tests.test_frame import a_report, a_request

REQUEST = a_request()
REQUEST_WORD = read_request(REQUEST).argv[0]
QUIET_SECONDS = 0.3


class Fake:
    """A handler; ``script`` says what a call does, by the first word of its command line."""

    def __init__(self) -> None:
        self.script: dict[bytes, Callable[[Request, Talk], Sequence[Op]]] = {}
        self.replies: dict[bytes, bytes] = {}
        self.shared: dict[bytes, bytes] = {}
        self.large: dict[bytes, Large | Ready] = {}
        self.requests: list[Request] = []
        self.failures: list[tuple[Request | None, BaseException]] = []
        self.leave = False
        self.ticks = 0
        self.closed = False

    def quick(
        self, frame: bytes, room: Callable[[int], memoryview | None]
    ) -> bytes | Sequence[bytes] | Ready | Large | None:
        with suppress(FrameError):
            word = read_request(frame).argv[0]
            if word in self.large:
                return self.large[word]
            shared = self.shared.get(word)
            memory = room(len(shared)) if shared is not None else None
            if shared is not None and memory is not None:
                memory[:] = shared
                return reply_parts([Shared(b"a.o", 0, len(shared)), Exit(0)])
            return self.replies.get(word)
        return None

    def answer(self, request: Request, talk: Talk) -> Sequence[Op]:
        self.requests.append(request)
        act = self.script.get(request.argv[0])
        return [Exit(0)] if act is None else act(request, talk)

    def failed(self, request: Request | None, problem: BaseException) -> None:
        self.failures.append((request, problem))

    def tick(self, now: float) -> None:
        self.ticks += 1

    def should_leave(self) -> bool:
        return self.leave

    def close(self) -> None:
        self.closed = True


class Running:
    """A server on a thread, with its fake handler."""

    def __init__(self, path: Path, idle: float = 600) -> None:
        self.path = str(path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(128)
        self.handler = Fake()
        self.ours = True
        self.server = Server(
            self.listener,
            self.handler,
            unlink=self.unlink,
            still_ours=lambda: self.ours,
            idle=idle,
        )
        self.thread = threading.Thread(target=self.server.serve)
        self.thread.start()

    def unlink(self) -> None:
        if os.path.exists(self.path):
            os.unlink(self.path)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(10)
        try:
            client.connect(self.path)
        except OSError:
            client.close()
            raise
        return client

    def call(self, data: bytes = REQUEST, step: int = 1 << 20) -> list[Op] | None:
        """The operations of the reply; None when the connection is closed without one."""
        with self.connect() as client:
            with suppress(BrokenPipeError):
                for at in range(0, len(data), step):
                    client.sendall(data[at : at + step])
            return receive(client)

    def stop(self) -> None:
        self.handler.leave = True
        self.thread.join(10)
        assert not self.thread.is_alive()
        assert self.handler.closed


def receive(client: socket.socket) -> list[Op] | None:
    data = b""
    try:
        while len(data) < HEADER.size or len(data) < frame_length(data):
            more = client.recv(1 << 20)
            if not more:
                return None
            data += more
    except ConnectionResetError:
        return None
    return read_reply(data)


@pytest.fixture(autouse=True)
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "STEP_SECONDS", 0.02)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path / "s")
    yield running
    running.stop()


def named(word: bytes) -> bytes:
    return a_request(argv=word + b"\0")


@pytest.mark.parametrize("step", [1, 5, 1 << 20])
def test_a_request_arrives_in_any_pieces(running: Running, step: int) -> None:
    assert running.call(step=step) == [Exit(0)]
    (request,) = running.handler.requests
    assert request.argv == (b"gcc", b"-c")
    assert request.pid == os.getpid()


def test_a_long_request_arrives(running: Running) -> None:
    assert running.call(a_request(environment=b"A=" + bytes(3 << 20) + b"\0")) == [Exit(0)]


def test_what_lies_in_memory_goes_along_until_it_is_read(running: Running) -> None:
    clients = []
    try:
        for number in range(MOST_SLOTS + 1):
            word = b"hot%d" % number
            running.handler.shared[word] = content = word * 1000
            running.handler.replies[word] = write_reply([Out(1, b"by the socket")])
            client = running.connect()
            clients.append(client)
            client.sendall(named(word))
            data, fds, _, _ = socket.recv_fds(client, 1 << 16, 4)
            if number == MOST_SLOTS:
                assert read_reply(data) == [Out(1, b"by the socket")]
                assert not fds
            else:
                assert read_reply(data) == [Shared(b"a.o", 0, len(content)), Exit(0)]
                (fd,) = fds
                assert os.pread(fd, len(content), 0) == content
                os.close(fd)
    finally:
        for client in clients:
            client.close()
    with running.connect() as client:
        client.sendall(named(b"hot0"))
        assert socket.recv_fds(client, 1 << 16, 4)[1]


def in_room(content: bytes) -> Large:
    def make(room: Callable[[int], memoryview | None]) -> Sequence[bytes]:
        memory = room(len(content))
        if memory is None:
            return reply_parts([Write(b"a.o", content), Exit(0)])
        memory[:] = content
        return reply_parts([Shared(b"a.o", 0, len(content)), Exit(0)])

    return Large(len(content), make)


def test_large_replies_are_made_by_others(running: Running) -> None:
    """More at once than there are slots, some of them larger than a slot."""
    contents = {b"x%d" % n: b"%d" % n * (400_000 + n) for n in range(8)}
    contents[b"huge"] = b"h" * (SLOT_SIZE + 1)
    running.handler.large = {word: in_room(content) for word, content in contents.items()}

    def ask(word: bytes) -> tuple[list[Op] | None, bytes]:
        with running.connect() as client:
            client.sendall(named(word))
            data, fds, _, _ = socket.recv_fds(client, 1 << 16, 1)
            if not fds:
                data += b"".join(iter(lambda: client.recv(1 << 16), b""))
                return read_reply(data), b""
            content = os.pread(fds[0], len(contents[word]), 0)
            os.close(fds[0])
            return read_reply(data), content

    for _ in range(3):
        with ThreadPoolExecutor(9) as pool:
            for word, (ops, memory) in zip(contents, pool.map(ask, contents), strict=True):
                content = contents[word]
                if memory:
                    assert ops == [Shared(b"a.o", 0, len(content)), Exit(0)]
                    assert memory == content
                else:
                    assert ops == [Write(b"a.o", content), Exit(0)]
    wait_for(lambda: not running.server._threads)


def test_a_large_reply_that_cannot_be_had_is_asked_for_in_the_usual_way(running: Running) -> None:
    def fails(_: object) -> Sequence[bytes] | None:
        raise ValueError("no")

    for number, make in enumerate((fails, lambda _: None)):
        running.handler.large = {REQUEST_WORD: Large(100, make)}
        assert running.call() == [Exit(0)]
        assert len(running.handler.requests) == number + 1
    assert len(running.handler.failures) == 1
    wait_for(lambda: not running.server._threads)


def test_a_quick_reply_is_sent_as_it_is(running: Running) -> None:
    running.handler.replies[b"hot"] = write_reply([Out(1, b"quick")])
    assert running.call(named(b"hot")) == [Out(1, b"quick")]
    assert running.handler.requests == []


def test_half_a_request_hurts_nobody(running: Running) -> None:
    with running.connect() as client:
        client.sendall(REQUEST[:20])
        assert running.call() == [Exit(0)]
    assert running.call() == [Exit(0)]
    assert running.handler.failures == []


def test_who_says_nothing_is_dropped(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "REQUEST_SECONDS", 0.1)
    with running.connect() as silent, running.connect() as slow:
        slow.sendall(REQUEST[:3])
        assert receive(silent) is None
        assert receive(slow) is None
    assert running.call() == [Exit(0)]


@pytest.mark.parametrize(
    "data",
    [
        REQUEST + REQUEST,
        REQUEST + b"x",
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(100),
        a_report(),
        HEADER.pack(2**32 - 1, 0x31435950, 1) + b"x",
        HEADER.pack(HEADER.size, 0x31435950, 1),
    ],
)
def test_garbage_is_answered_by_closing(running: Running, data: bytes) -> None:
    assert running.call(data) is None
    assert [request for request, _ in running.handler.failures] == [None]
    assert running.call() == [Exit(0)]


def test_a_call_that_raises_falls_back(running: Running) -> None:
    def fail(request: Request, talk: Talk) -> Sequence[Op]:
        raise ZeroDivisionError

    running.handler.script[b"bad"] = fail
    assert running.call(named(b"bad")) == [Fallback()]
    ((request, problem),) = running.handler.failures
    assert request is not None
    assert isinstance(problem, ZeroDivisionError)
    assert running.call() == [Exit(0)]


def test_a_call_that_raises_on_a_thread_falls_back(running: Running) -> None:
    def fail(request: Request, talk: Talk) -> Sequence[Op]:
        talk.may_block()
        raise ZeroDivisionError

    running.handler.script[b"bad"] = fail
    assert running.call(named(b"bad")) == [Fallback()]
    assert len(running.handler.failures) == 1
    assert running.call() == [Exit(0)]


def compile_once(request: Request, talk: Talk) -> Sequence[Op]:
    report = talk.run(Run((b"/usr/bin/gcc",), 0))
    return [Out(1, report.out), Exit(report.status)]


def test_what_may_not_be_done_here_is_done_on_a_thread(running: Running) -> None:
    running.handler.script[b"cc"] = compile_once
    with running.connect() as client:
        client.sendall(named(b"cc"))
        assert receive(client) == [Run((b"/usr/bin/gcc",), 0)]
        assert running.call() == [Exit(0)], "others are served in the meantime"
        client.sendall(a_report(256, out=b"said"))
        assert receive(client) == [Out(1, b"said"), Exit(256)]
    begun = [request.argv[0] for request in running.handler.requests]
    assert begun == [b"cc", b"cc", b"gcc"]


def test_a_launcher_that_leaves_in_the_middle_hurts_nobody(running: Running) -> None:
    running.handler.script[b"cc"] = compile_once
    with running.connect() as client:
        client.sendall(named(b"cc"))
        receive(client)
    assert running.call() == [Exit(0)]
    assert running.handler.failures == []


def test_a_launcher_that_does_not_wait_for_its_reply_hurts_nobody(running: Running) -> None:
    with running.connect() as client:
        client.sendall(REQUEST)
    assert running.call() == [Exit(0)]


def test_a_reply_larger_than_the_sockets_buffer_arrives(running: Running) -> None:
    big = bytes(8 << 20)
    running.handler.script[b"big"] = lambda request, talk: [Out(1, big)]
    with running.connect() as client:
        client.sendall(named(b"big"))
        time.sleep(0.05)
        assert running.call() == [Exit(0)], "others are served in the meantime"
        assert receive(client) == [Out(1, big)]


def test_a_reply_that_is_too_long_is_a_fallback(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pycc.frame.LIMIT", 1000)
    running.handler.script[b"big"] = lambda request, talk: [Out(1, bytes(2000))]
    assert running.call(named(b"big")) == [Fallback()]


def test_many_come_at_once(running: Running) -> None:
    running.handler.script[b"cc"] = compile_once
    clients = [running.connect() for _ in range(100)]
    for number, client in enumerate(clients):
        client.sendall(named(b"cc") if number % 2 else REQUEST)
    for number, client in enumerate(clients):
        if number % 2:
            assert receive(client) == [Run((b"/usr/bin/gcc",), 0)]
            client.sendall(a_report())
            assert receive(client) == [Out(1, b"out"), Exit(0)]
        else:
            assert receive(client) == [Exit(0)]
        client.close()


def test_beyond_its_threads_it_falls_back(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "MAX_THREADS", 1)
    running.handler.script[b"cc"] = compile_once
    with running.connect() as client:
        client.sendall(named(b"cc"))
        receive(client)
        assert running.call(named(b"cc")) == [Fallback()]
        client.sendall(a_report())
        assert receive(client) == [Out(1, b"out"), Exit(0)]
    eventually(lambda: running.server._threads == 0)
    with running.connect() as client:
        client.sendall(named(b"cc"))
        assert receive(client) == [Run((b"/usr/bin/gcc",), 0)]


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_where_no_thread_can_be_had_the_connection_is_closed(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    running.handler.script[b"cc"] = compile_once
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert running.call(named(b"cc")) is None
    assert running.call() == [Exit(0)]
    assert running.server._threads == 0


class TestLeaving:
    """Leaving must never be felt."""

    def test_when_idle(self, tmp_path: Path) -> None:
        running = Running(tmp_path / "s", idle=0.1)
        running.thread.join(10)
        assert running.handler.closed
        assert not os.path.exists(running.path)

    def test_when_told_even_while_calls_keep_coming(self, tmp_path: Path) -> None:
        running = Running(tmp_path / "s")
        running.handler.leave = True
        deadline = time.monotonic() + 10
        while os.path.exists(running.path):
            assert time.monotonic() < deadline
            try:
                running.call()
            except OSError:
                break
        running.thread.join(10)
        assert running.handler.closed

    def test_when_the_name_leads_elsewhere(self, tmp_path: Path) -> None:
        running = Running(tmp_path / "s")
        running.ours = False
        running.thread.join(10)
        assert running.handler.closed

    def test_what_runs_is_finished_first(self, tmp_path: Path) -> None:
        running = Running(tmp_path / "s")
        running.handler.script[b"cc"] = compile_once
        with running.connect() as client:
            client.sendall(named(b"cc"))
            receive(client)
            running.handler.leave = True
            eventually(lambda: not os.path.exists(running.path))
            assert not running.handler.closed
            client.sendall(a_report())
            assert receive(client) == [Out(1, b"out"), Exit(0)]
        running.thread.join(10)
        assert running.handler.closed

    def test_who_had_connected_is_served(self, tmp_path: Path) -> None:
        running = Running(tmp_path / "s")
        with running.connect() as client:
            client.sendall(REQUEST[:10])
            running.handler.leave = True
            eventually(lambda: not os.path.exists(running.path))
            client.sendall(REQUEST[10:])
            assert receive(client) == [Exit(0)]
        running.thread.join(10)

    def test_a_running_compile_keeps_it_from_being_idle(self, tmp_path: Path) -> None:
        running = Running(tmp_path / "s", idle=0.1)
        running.handler.script[b"cc"] = compile_once
        with running.connect() as client:
            client.sendall(named(b"cc"))
            receive(client)
            time.sleep(QUIET_SECONDS)
            assert os.path.exists(running.path)
            client.sendall(a_report())
            receive(client)
        running.thread.join(10)
        assert running.handler.closed


def test_others_are_not_served(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_peer", lambda connection: (1, os.getuid() + 1))
    assert running.call() is None
    assert running.handler.requests == []


def test_nothing_is_raised_where_nothing_can_be_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    full = open("/dev/full", "w")  # noqa: SIM115
    try:
        monkeypatch.setattr("sys.stderr", full)
        log.log_problem(ValueError("x"))
    finally:
        with suppress(OSError):
            full.close()


def a_ready(content: bytes) -> Ready:
    def deliver(room: Callable[[int], memoryview | None]) -> list[Op]:
        memory = room(len(content))
        assert memory is not None
        memory[:] = content
        return [Shared(b"a.o", 0, len(content)), Exit(0)]

    made = make_ready(deliver, len(content))
    assert isinstance(made, Ready)
    return made


def shared_memory(running: Running, word: bytes, size: int) -> bytes:
    with running.connect() as client:
        client.sendall(named(word))
        data, fds, _, _ = socket.recv_fds(client, 1 << 16, 1)
        assert read_reply(data) == [Shared(b"a.o", 0, size), Exit(0)]
        assert client.recv(1) == b"", "nobody waits for who has all that he needs"
        content = os.pread(fds[0], size, 0)
        os.close(fds[0])
        return content


def test_a_reply_that_lies_ready_is_read_by_many(running: Running) -> None:
    content = b"object" * 100_000
    running.handler.large = {b"x0": a_ready(content)}
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            found = pool.map(lambda _: shared_memory(running, b"x0", len(content)), range(8))
            assert all(one == content for one in found)


def test_a_large_reply_may_come_with_memory_of_its_own(running: Running) -> None:
    content = b"object" * 100_000
    running.handler.large = {b"x0": Large(len(content), lambda _: a_ready(content))}
    for _ in range(2 * MOST_SLOTS):
        assert shared_memory(running, b"x0", len(content)) == content
    assert all(slot.free() for slot in running.server._slots._slots)
    wait_for(lambda: not running.server._threads)
