"""A job on a connection, with servers that do not behave, and a launcher that leaves."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from pycc.remote import farm as farming
from pycc.remote.client_log import ClientLog
from pycc.remote.client_settings import NOTHING_TOLD, ClientSettings
from pycc.remote.connection import (
    EXIT_CONNECT_FAILED,
    EXIT_IO_ERROR,
    EXIT_PROTOCOL_ERROR,
    EXIT_TIMEOUT,
    EXIT_TRUNCATED,
    Connection,
    Fault,
)
from pycc.remote.farm import Answer, Farm, Job, elsewhere, local_hosts
from pycc.remote.hosts import HostList, HostSpec, Kind, parse_hosts
from pycc.remote.monitor_state import JobState
from pycc.remote.protocol import Reply, Request, request_reader, write_reply
from pycc.remote.transport import Conversation, Left, Ways

REQUEST = Request(1, (b"gcc", b"-c", b"a.c", b"-o", b"a.o"), b"int x;\n")
GOOD = b"".join(write_reply(Reply(1, 0, b"said", b"", b"object")))


@contextmanager
def conversations(act: Callable[[socket.socket, Request], None]) -> Iterator[HostSpec]:
    """A host that does ``act`` with each connection and request, several at a time."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads: list[threading.Thread] = []

        def one(connection: socket.socket) -> None:
            reader = request_reader()
            with connection:
                while reader.message is None:
                    data = connection.recv(1 << 16)
                    if not data:
                        return
                    reader.feed(data)
                act(connection, reader.message)

        def serve() -> None:
            while True:
                connection, _ = listener.accept()
                if ended.is_set():
                    connection.close()
                    return
                threads.append(threading.Thread(target=one, args=(connection,)))
                threads[-1].start()

        ended = threading.Event()
        threads.append(threading.Thread(target=serve))
        threads[0].start()
        port = listener.getsockname()[1]
        yield parse_hosts(f"127.0.0.1:{port}").hosts[0]
        ended.set()
        socket.create_connection(("127.0.0.1", port)).close()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()


def server(act: Callable[[socket.socket], None]) -> AbstractContextManager[HostSpec]:
    """A host that does ``act`` with each connection, after it has read a request."""
    return conversations(lambda connection, _: act(connection))


def connect(host: HostSpec) -> Connection:
    return Ways().connect(host, NOTHING_TOLD)


def ask(host: HostSpec, seconds: float = 5.0, launcher: int | None = None) -> Reply:
    with connect(host) as connection:
        talk = Conversation(connection, seconds, launcher)
        talk.send(REQUEST)
        return talk.receive(1)


def test_what_few_need_is_loaded_when_it_is_needed() -> None:
    """The server's start has a budget."""
    rare = "ssl subprocess gssapi pycc.remote.ssh pycc.remote.tls pycc.remote.gss pycc.remote.kept"
    program = (
        "import sys; from pycc.remote import farm, client_settings\n"
        f"print([name for name in {rare.split()!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"[]\n"


def test_an_answer() -> None:
    with server(lambda c: c.sendall(GOOD)) as host:
        assert ask(host) == Reply(1, 0, b"said", b"", b"object")


def test_an_answer_byte_by_byte() -> None:
    def slowly(connection: socket.socket) -> None:
        for at in range(len(GOOD)):
            connection.sendall(GOOD[at : at + 1])

    with server(slowly) as host:
        assert ask(host).object == b"object"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"", EXIT_TRUNCATED),
        (GOOD[:-1], EXIT_TRUNCATED),
        (GOOD[:5], EXIT_TRUNCATED),
        (b"HTTP/1.0 400 Bad Request\r\n\r\n", EXIT_PROTOCOL_ERROR),
        (GOOD.replace(b"DONE00000001", b"DONE00000002"), EXIT_PROTOCOL_ERROR),
        (b"DONE00000001STAT00000000SERRffffffff", EXIT_PROTOCOL_ERROR),
    ],
)
def test_what_is_no_answer(answer: bytes, status: int) -> None:
    with server(lambda c: c.sendall(answer)) as host:
        with pytest.raises(Fault) as caught:
            ask(host)
        assert caught.value.status == status


@pytest.mark.parametrize("text", [b"int x;\n", b"x" * (8 << 20)])
def test_who_is_hung_up_on_is_told_what_that_may_mean(text: bytes) -> None:
    """A close with bytes on their way is a reset, be they a part of the request or more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = parse_hosts(f"127.0.0.1:{listener.getsockname()[1]}").hosts[0]

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(1, socket.MSG_PEEK)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with connect(host) as connection:
            talk = Conversation(connection, 5.0)
            with pytest.raises(Fault, match="configured to allow access") as caught:
                talk.send(Request(1, REQUEST.argv, text))
                talk.receive(1)
        thread.join()
    assert caught.value.status == EXIT_IO_ERROR
    assert "Connection reset by peer" in str(caught.value) or "Broken pipe" in str(caught.value)


def test_silence_has_its_limit() -> None:
    with server(lambda c: time.sleep(0.5)) as host:
        began = time.monotonic()
        with pytest.raises(Fault, match="no answer for") as caught:
            ask(host, 0.1)
        assert caught.value.status == EXIT_TIMEOUT
        assert time.monotonic() - began < 0.45


def test_a_launcher_that_leaves_ends_the_job() -> None:
    closed = threading.Event()

    def until_closed(connection: socket.socket) -> None:
        connection.settimeout(5)
        if connection.recv(1) == b"":
            closed.set()

    ours, theirs = socket.socketpair()
    with server(until_closed) as host, ours:
        threading.Timer(0.05, theirs.close).start()
        with pytest.raises(Left):
            ask(host, 5.0, ours.fileno())
        assert closed.wait(5)


@pytest.mark.parametrize("word", ["127.0.0.1:1", "[::1]:1", "no-such-host.invalid", "a" * 300])
def test_who_cannot_be_reached(word: str) -> None:
    with pytest.raises(Fault) as caught:
        connect(parse_hosts(word).hosts[0])
    assert caught.value.status == EXIT_CONNECT_FAILED


# ---- with the farm -------------------------------------------------------------------------


def job(hosts: HostList, lines: list[bytes], **settings: object) -> Job:
    known = ClientSettings(hosts, io_timeout=5.0, **settings)  # type: ignore[arg-type]
    return Job(
        argv=REQUEST.argv,
        source="a.c",
        settings=known,
        log=ClientLog(known, 1, b"/", lines.append),
        state=JobState(b"", 0, b"a.c"),
        waiting=lambda: None,
    )


def found(farm: Farm, work: Job) -> list[HostSpec | Answer]:
    return list(elsewhere(farm, work, lambda: REQUEST.text))


def test_the_next_host_gets_what_one_failed_to_do() -> None:
    lines: list[bytes] = []
    with server(lambda c: None) as bad, server(lambda c: c.sendall(GOOD)) as good:
        farm = Farm()
        work = job(HostList((bad, good)), lines)
        (answer,) = found(farm, work)
        assert isinstance(answer, Answer)
        assert answer.host is good
        assert b"server provided no answer" in b"".join(lines)
        assert farm.jobs(bad) == farm.jobs(good) == 0
        lines.clear()
        found(farm, work)
        assert lines == []  # it is left in peace for a while


def test_without_backoff_three_hosts_are_tried() -> None:
    with server(lambda c: None) as bad:
        same = [bad, *(parse_hosts(f"127.0.0.{n}:{bad.port}").hosts[0] for n in range(2, 6))]
        lines: list[bytes] = []
        assert found(Farm(), job(HostList(tuple(same)), lines, backoff=0.0)) == []
        assert b"Couldn't find a host in 3 attempts" in b"".join(lines)


def test_this_machine_when_it_is_its_turn() -> None:
    farm, hosts = Farm(), parse_hosts("localhost/1")
    with_text: list[bytes] = []

    def text() -> bytes:
        with_text.append(b"")
        return b""

    steps = elsewhere(farm, job(hosts, []), text)
    here = next(steps)
    assert isinstance(here, HostSpec)
    assert here.kind is Kind.LOCAL
    assert farm.jobs(here) == 1
    steps.close()
    assert farm.jobs(here) == 0
    assert not with_text


def test_whoever_waits_is_woken_and_may_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(farming, "PATIENCE", 0.05)
    farm, hosts = Farm(), local_hosts(parse_hosts("--localslots=1 a"))
    signs: list[float] = []
    with farm.slot(hosts, lambda: None) as first:
        assert first is not None

        def tired() -> None:
            signs.append(time.monotonic())
            if len(signs) == 3:
                raise Left

        with pytest.raises(Left), farm.slot(hosts, tired):
            pass
        got = threading.Event()

        def wait() -> None:
            with farm.slot(hosts, lambda: None):
                got.set()

        thread = threading.Thread(target=wait)
        thread.start()
        assert not got.wait(0.1)
    assert got.wait(5)
    thread.join()
    assert farm.jobs(hosts[0]) == 0
