"""Who runs our daemon, and which of our own messages there are."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from pycc.remote import farm as farming
from pycc.remote.farm import Daemon, Farm, Peers, elsewhere
from pycc.remote.hosts import HostList, HostSpec, lock_name, parse_hosts
from pycc.remote.protocol import (
    COMPILE,
    HELLO,
    OTHER_COMPILER,
    OURS,
    OURS_LZO,
    OURS_PLAIN,
    Reply,
    Request,
    reply_reader,
    request_reader,
    write_reply,
    write_request,
)
from tests.daemon_kit import wait_for
from tests.test_transport import conversations, found, job, server


@pytest.mark.parametrize("version", OURS)
def test_our_own_versions_carry_jobs(version: int) -> None:
    request = Request(version, (COMPILE, b"00ff", b"gcc", b"-c", b"a.c"), b"int x;\n" * 100)
    data = b"".join(write_request(request))
    assert request_reader().feed(data) == request
    assert (len(data) > 700) is (version == OURS_PLAIN)
    reply = Reply(version, 0, b"said", b"", b"object" * 50)
    assert reply_reader(version).feed(b"".join(write_reply(reply))) == reply


def pyccd(connection: socket.socket) -> None:
    connection.sendall(b"".join(write_reply(Reply(OURS_PLAIN, 0, out=b"pyccd 1\n"))))


def test_who_is_there() -> None:
    peers = Peers()
    with server(pyccd) as ours, server(lambda c: None) as stock:
        silent = socket.create_server(("127.0.0.1", 0))
        with silent:
            dead = parse_hosts(f"127.0.0.1:{silent.getsockname()[1]}").hosts[0]
            began = time.monotonic()
            peers.meet([ours, stock, dead, *parse_hosts("localhost a,down @b,down").hosts])
            assert time.monotonic() - began < 2 * farming.GREETING_SECONDS
            assert peers.all_ours() == {lock_name(ours)}
            assert peers.daemon(stock) is Daemon.STOCK
            assert peers.daemon(dead) is Daemon.UNKNOWN
            assert peers.daemon(parse_hosts("localhost").hosts[0]) is Daemon.STOCK
            began = time.monotonic()
            peers.meet([ours, stock, dead])
            assert time.monotonic() - began < 2 * farming.GREETING_SECONDS


def test_they_are_asked_again_in_time() -> None:
    now = [0.0]
    peers = Peers(lambda: now[0])
    with server(pyccd) as host:
        peers.meet([host])
        assert peers.daemon(host) is Daemon.OURS
        peers.note(host, Daemon.STOCK)
        peers.meet([host])
        assert peers.daemon(host) is Daemon.STOCK
        now[0] += farming.PEER_SECONDS + 1
        peers.meet([host])
        deadline = time.monotonic() + 5
        while peers.daemon(host) is not Daemon.OURS and time.monotonic() < deadline:
            time.sleep(0.01)
        assert peers.daemon(host) is Daemon.OURS


def test_after_a_fault_a_host_is_asked_again_and_taken_for_what_it_was() -> None:
    now = [0.0]
    peers = Peers(lambda: now[0])
    greeted = threading.Semaphore(0)

    def busy(connection: socket.socket) -> None:
        greeted.release()
        connection.sendall(b"".join(write_reply(Reply(OURS_PLAIN, 0, out=b"pyccd 1\n")))[:20])

    with server(busy) as host:
        peers.note(host, Daemon.OURS)
        peers.doubt(host)
        peers.meet([host])
        assert not greeted.acquire(timeout=0.05)
        assert peers.daemon(host) is Daemon.OURS
        now[0] += farming.FAULT_SECONDS + 1
        peers.meet([host])
        assert greeted.acquire(timeout=5)


def test_who_has_not_said_yet_is_sent_the_identity() -> None:
    """It may be ours, and slow; a stock daemon closes, and gets the job again at once."""
    seen: list[Request] = []

    def slow(connection: socket.socket, request: Request) -> None:
        seen.append(request)
        if request.argv == (HELLO,):
            time.sleep(1.0)
        elif request.version not in OURS:
            connection.sendall(b"".join(write_reply(Reply(1, 0, b"", b"", b"object"))))

    with conversations(slow) as host:
        (answer,) = elsewhere(Farm(), job(HostList((host,)), []), lambda: b"int x;\n")
        assert not isinstance(answer, HostSpec)
        assert answer.reply.object == b"object"
    versions = [request.version for request in seen if request.argv != (HELLO,)]
    assert versions == [OURS_PLAIN, 1]


def test_what_is_found_out_meanwhile_is_no_fault() -> None:
    """The greeting says that it is a stock daemon, while a job in our words is on its way."""
    greeted, asked = threading.Event(), threading.Event()
    farm = Farm()

    def slow(connection: socket.socket, request: Request) -> None:
        if request.argv == (HELLO,):
            asked.wait(10)
            greeted.set()
        elif request.version in OURS:
            asked.set()
            greeted.wait(10)
            wait_for(lambda: farm.peers.daemon(host) is Daemon.STOCK)
        else:
            connection.sendall(b"".join(write_reply(Reply(1, 0, b"", b"", b"object"))))

    with conversations(slow) as host:
        (answer,) = elsewhere(farm, job(HostList((host,)), []), lambda: b"int x;\n")
        assert not isinstance(answer, HostSpec)
        assert answer.reply.object == b"object"


def test_another_compiler_is_not_used() -> None:
    asked: list[bytes] = []

    def other(connection: socket.socket) -> None:
        asked.append(b"")
        if len(asked) == 1:
            pyccd(connection)
        else:
            refusal = Reply(OURS_PLAIN, OTHER_COMPILER << 8, b"pyccd: another\n")
            connection.sendall(b"".join(write_reply(refusal)))

    with server(other) as host:
        farm = Farm()
        (answer,) = found(farm, job(HostList((host,)), []))
        assert not isinstance(answer, HostSpec)
        assert answer.other_compiler
        assert not farm._balance.avoided(host, time.monotonic())  # it has done nothing wrong


def test_a_daemon_of_ours_is_sent_the_identity() -> None:
    seen: list[Request] = []

    def keep(connection: socket.socket) -> None:
        if not seen:
            seen.append(Request(0, ()))
            pyccd(connection)
            return
        connection.sendall(b"".join(write_reply(Reply(OURS_LZO, 0, b"", b"", b"object"))))

    with server(keep) as host:
        lzo = parse_hosts(host.spelled + ",lzo").hosts[0]
        work = job(HostList((lzo,)), [])
        (answer,) = elsewhere(Farm(), work, lambda: b"int x;\n")
        assert not isinstance(answer, HostSpec)
        assert answer.reply.object == b"object"
        assert answer.reply.version == OURS_LZO


def test_a_greeting_is_no_job() -> None:
    data = b"".join(write_request(Request(OURS_PLAIN, (HELLO,))))
    assert data.startswith(b"DIST70796301ARGC00000001ARGV00000005hello")
