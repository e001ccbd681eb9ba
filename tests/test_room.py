"""The memory of all texts together: usual ones are not counted, large ones wait or are refused."""

from __future__ import annotations

import threading

import pytest

from pycc.remote.protocol import ProtocolError, Request, request_reader, write_request
from pycc.remote.room import NoRoom, Room


def room(size: int = 1000, patience: float = 0.05) -> Room:
    return Room(size, usual=100, patience=patience)


def test_usual_texts_are_not_counted() -> None:
    here = room(size=0)
    shares = [here.share() for _ in range(50)]
    for share in shares:
        share.take(100)
    assert here.taken == 0


def test_a_large_one_is_refused_while_others_have_the_room() -> None:
    here = room()
    with here.share() as first, here.share() as second:
        first.take(600)
        with pytest.raises(NoRoom, match="no room for a text of 500 bytes"):
            second.take(500)
        second.take(400)
        assert here.taken == 1000
    assert here.taken == 0


def test_one_alone_always_has_room() -> None:
    here = room()
    with here.share() as share:
        share.take(5000)
        share.take(5000)
        assert here.taken == 10_000
    assert here.taken == 0


def test_who_waits_gets_what_is_given_back() -> None:
    here = room(patience=20)
    first, second = here.share(), here.share()
    first.take(900)
    got = threading.Event()

    def wait() -> None:
        with second:
            second.take(800)
            got.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not got.wait(0.05)
    first.take(-850)  # what is left is a usual size
    assert got.wait(10)
    thread.join(10)
    assert here.taken == 0


def test_what_was_refused_is_not_held() -> None:
    here = room()
    with here.share() as first, here.share() as second:
        first.take(1000)
        for _ in range(3):
            with pytest.raises(NoRoom):
                second.take(200)
        first.take(-1000)
        second.take(1000)
    assert here.taken == 0


def taken(request: Request, upto: int | None = None) -> list[int]:
    """What a reader asks for while it reads a request."""
    asked: list[int] = []
    reader = request_reader(take=asked.append)
    reader.feed(b"".join(write_request(request))[:upto])
    return asked


def test_a_text_as_it_is_takes_its_length_before_it_comes() -> None:
    request = Request(1, (b"gcc",), b"x" * 5000)
    assert taken(request, -4990) == taken(request) == [5000]


def test_a_packed_text_takes_the_most_that_it_can_be_until_it_is_known() -> None:
    request = Request(2, (b"gcc",), b"x" * 500_000)
    sent = int(b"".join(write_request(request)).partition(b"DOTI")[2][:8], 16)
    before, most, after = taken(request)
    assert before == sent
    assert 500_000 <= most <= 256 * (sent + 1)
    assert before + most + after == 500_000
    assert taken(request, -1) == [sent]


def test_nothing_is_unpacked_without_room() -> None:
    def refuse(count: int) -> None:
        if count > 100_000:
            raise NoRoom("no")

    reader = request_reader(take=refuse)
    with pytest.raises(ProtocolError):
        reader.feed(b"".join(write_request(Request(2, (b"gcc",), b"x" * 500_000))))
