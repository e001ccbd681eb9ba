"""Replies that lie ready."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import pytest

from pycc import ready
from pycc.cache.result import Room
from pycc.frame import Exit, Op, Shared, Write, read_reply
from pycc.ready import Ready, Replies, make_ready

CALL, OTHER = object(), object()


def in_room(content: bytes) -> Callable[[Room], Sequence[Op] | None]:
    def deliver(room: Room) -> Sequence[Op] | None:
        memory = room(len(content))
        if memory is None:
            return [Write(b"a.o", content), Exit(0)]
        memory[:] = content
        return [Shared(b"a.o", 0, len(content)), Exit(0)]

    return deliver


def a_ready(content: bytes) -> Ready:
    made = make_ready(in_room(content), len(content))
    assert isinstance(made, Ready)
    return made


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_the_result_lies_in_memory_that_nobody_writes() -> None:
    made = a_ready(b"object" * 1000)
    assert os.pread(made.fd, 10_000, 0) == b"object" * 1000
    assert read_reply(b"".join(made.parts)) == [Shared(b"a.o", 0, 6000), Exit(0)]
    with pytest.raises(OSError):
        os.pwrite(made.fd, b"other", 0)


def test_what_needs_no_room_is_a_plain_reply() -> None:
    before = open_files()
    made = make_ready(lambda _: [Write(b"a.o", b"object"), Exit(0)], 100)
    assert not isinstance(made, Ready)
    assert read_reply(b"".join(made or ())) == [Write(b"a.o", b"object"), Exit(0)]
    assert make_ready(lambda _: None, 100) is None
    assert open_files() == before


def test_nothing_is_left_open_after_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Room) -> Sequence[Op]:
        raise ValueError

    before = open_files()
    with pytest.raises(ValueError):
        make_ready(fails, 100)
    assert open_files() == before
    monkeypatch.setattr(os, "memfd_create", lambda _: os.open("/nowhere", os.O_RDONLY))
    assert make_ready(in_room(b"object"), 6) is None


def test_only_for_the_very_same_call() -> None:
    replies = Replies()
    replies.keep("name", CALL, b"old")
    assert replies.get("name", CALL) == b"old"
    assert replies.get("name", OTHER) is None
    made = a_ready(b"new")
    replies.keep("name", OTHER, made)
    assert replies.get("name", OTHER) is made
    assert replies.get("name", CALL) is None


def test_descriptors_are_closed_with_the_last_user() -> None:
    replies, before = Replies(), open_files()
    for number in range(10):
        replies.keep(number, CALL, a_ready(b"%d" % number))
    held = replies.get(3, CALL)
    assert isinstance(held, Ready)
    replies.clear()
    assert os.pread(held.fd, 10, 0) == b"3"
    assert open_files() == before + 1
    del held
    assert open_files() == before


def test_they_are_bounded_in_size_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "READY_SIZE", 1000)
    monkeypatch.setattr(ready, "MOST_READY", 6)
    replies, before = Replies(), open_files()
    for size in (100, 300):
        for number in range(20):
            assert replies.has_room(size) is (number < min(6, 1000 // size))
            replies.keep(number, CALL, a_ready(bytes(size)))
        assert open_files() == before + min(6, 1000 // size)
        replies.clear()
    assert not replies.has_room(ready.LARGEST_READY + 1)


def test_who_is_kept_anew_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "READY_SIZE", 1000)
    monkeypatch.setattr(ready, "BYTES_SIZE", 1000)
    replies = Replies()
    replies.keep("other", CALL, bytes(400))
    for _ in range(50):
        replies.keep("name", CALL, a_ready(bytes(600)))
        replies.keep("name", CALL, bytes(600))
    assert replies.has_room(1000)
    assert replies.get("other", CALL) is not None


def test_small_ones_give_way_to_newer_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "BYTES_SIZE", 1000)
    replies = Replies()
    large = a_ready(bytes(5000))
    replies.keep("large", CALL, large)
    for number in range(3):
        replies.keep(number, CALL, bytes(400))
    assert [replies.get(number, CALL) is not None for number in range(3)] == [False, False, True]
    assert replies.get("large", CALL) is large


def test_what_nobody_asks_for_goes() -> None:
    replies = Replies()
    for name in ("asked", "forgotten"):
        replies.keep(name, CALL, a_ready(b"object"))
    replies.keep("small", CALL, b"object")
    kept = replies.get("asked", CALL)
    assert isinstance(kept, Ready)
    now = kept.used
    kept.used += ready.READY_SECONDS
    replies.sweep(now + ready.READY_SECONDS + 1)
    assert replies.get("asked", CALL) is kept
    assert replies.get("forgotten", CALL) is None
    assert replies.get("small", CALL) == b"object"
