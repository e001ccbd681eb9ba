"""Conversations with a launcher over a socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from pycc.frame import (
    HEADER,
    MAGIC,
    REPORT,
    Exit,
    Out,
    Report,
    Run,
    Wait,
    frame_length,
    read_reply,
)
from pycc.talk import Gone, LoopTalk, NotHere, SocketTalk
from tests.test_frame import a_report, a_request

RUN = Run((b"/bin/true",), 1)


class Ends:
    """A SocketTalk and the launcher's end of its socket."""

    def __init__(self) -> None:
        self.server, self.client = socket.socketpair()
        self.client.settimeout(5)
        self.talk = SocketTalk(self.server)

    def answer(self, data: bytes, step: int = 1 << 20) -> threading.Thread:
        """Send ``data`` in steps, then close."""

        def send() -> None:
            for at in range(0, len(data), step):
                self.client.sendall(data[at : at + step])
            self.client.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        return thread


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    ends.server.close()
    ends.client.close()


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize("size", [0, 3, 300])
def test_a_report_arrives_in_any_pieces(ends: Ends, step: int, size: int) -> None:
    thread = ends.answer(a_report(256, 0, bytes(size), b"err", 9), step)
    assert ends.talk.run(RUN) == Report(256, 0, bytes(size), b"err", 9)
    thread.join()


def test_a_large_report_arrives(ends: Ends) -> None:
    thread = ends.answer(a_report(out=bytes(3 << 20)))
    assert len(ends.talk.run(RUN).out) == 3 << 20
    thread.join()


def test_what_can_be_done_meanwhile_is_done_while_the_command_runs(ends: Ends) -> None:
    sent = []

    def meanwhile() -> None:
        sent.append(ends.client.recv(1 << 16))
        ends.client.sendall(a_report())

    ends.talk.run(RUN, meanwhile)
    assert [read_reply(frame) for frame in sent] == [[RUN]]


def test_a_launcher_that_is_released_has_its_operations(ends: Ends) -> None:
    assert ends.talk.release([Out(1, b"x"), Exit(0)])
    assert ends.talk.released
    sent = ends.client.recv(1 << 16)
    assert frame_length(sent) == len(sent)
    assert read_reply(sent) == [Out(1, b"x"), Exit(0)]


def test_waiting_is_announced(ends: Ends) -> None:
    ends.talk.wait(1500)
    assert read_reply(ends.client.recv(1 << 16)) == [Wait(1500)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        a_report()[:5],
        a_report()[:-1],
        a_report() + b"x",
        a_report() * 2,
        a_request(),
        b"garbage that is no frame",
        HEADER.pack(2**32 - 1, MAGIC, REPORT),
        HEADER.pack(0, MAGIC, REPORT),
    ],
)
def test_whoever_does_not_answer_properly_is_gone(ends: Ends, data: bytes) -> None:
    thread = ends.answer(data)
    with pytest.raises(Gone):
        ends.talk.run(RUN)
    thread.join()


def test_whoever_has_left_is_gone(ends: Ends) -> None:
    ends.client.close()
    with pytest.raises(Gone):
        ends.talk.run(RUN)
    with pytest.raises(Gone):
        ends.talk.wait(1)


def test_on_a_thread_of_its_own_a_call_may_block(ends: Ends) -> None:
    ends.talk.may_block()
    assert ends.talk.hand_over(lambda there: [Exit(there is ends.talk)]) == [Exit(1)]


def test_on_the_loop_nothing_may_be_asked() -> None:
    talk = LoopTalk()
    with pytest.raises(NotHere):
        talk.may_block()
    with pytest.raises(NotHere):
        talk.run(RUN)
    with pytest.raises(NotHere):
        talk.release([Exit(0)])
    with pytest.raises(NotHere) as elsewhere:
        talk.hand_over(lambda there: [Exit(1)])
    assert elsewhere.value.go_on is not None
    assert elsewhere.value.go_on(talk) == [Exit(1)]
    with pytest.raises(NotHere):
        talk.wait(1)
