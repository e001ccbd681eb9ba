"""Memory that goes along with replies."""

from __future__ import annotations

import mmap
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pycc import sharing
from pycc.sharing import Slot, Slots

SIZE = 8192


@pytest.fixture
def pairs() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def a_pair(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    stack.enter_context(ours)
    stack.enter_context(theirs)
    return ours, theirs


def give(slots: Slots, content: bytes, reader: socket.socket | None) -> Slot:
    memory = slots.take(len(content))
    assert memory is not None
    memory[:] = content
    slot = slots.taken()
    assert slot is not None
    slot.reader = reader
    return slot


def content(slot: Slot) -> bytes:
    with mmap.mmap(slot.fd, SIZE, prot=mmap.PROT_READ) as view:
        return view[:]


def test_a_slot_is_its_readers_until_he_has_gone(pairs: ExitStack) -> None:
    slots = Slots(2, SIZE)
    ours, theirs = a_pair(pairs)
    first = give(slots, b"first", ours)
    second = give(slots, b"second", None)
    assert first is not second
    assert content(first).startswith(b"first")
    assert content(second).startswith(b"second")
    theirs.close()
    assert give(slots, b"third", None) is first
    assert ours.fileno() < 0


def test_who_has_stopped_reading_but_lives_keeps_his(pairs: ExitStack) -> None:
    slots = Slots(1, SIZE)
    ours, theirs = a_pair(pairs)
    slot = give(slots, b"kept", ours)
    for _ in range(3):
        assert slots.take(4) is None
    assert content(slot).startswith(b"kept")
    theirs.sendall(b"x")
    slots.sweep()
    assert slots.take(4) is None
    assert slots.taken() is None


def test_an_answer_takes_one_slot_and_an_unread_one_is_free() -> None:
    slots = Slots(2, SIZE)
    assert slots.take(3) is not None
    assert slots.take(3) is None
    first = slots.taken()
    assert slots.take(3) is not None
    assert slots.taken() is first
    assert slots.taken() is None


def test_more_than_a_slot_holds() -> None:
    slots = Slots(2, SIZE)
    assert slots.take(SIZE + 1) is None
    assert slots.taken() is None
    whole = slots.take(SIZE)
    assert whole is not None
    assert len(whole) == SIZE


def test_no_memory_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", refuse)
    assert Slots().take(1) is None


def test_a_failed_slot_leaves_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def refuse(fd: int, size: int) -> None:
        made.append(fd)
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(OSError, match="allocate"):
        sharing.Slot(SIZE)
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(made[0])
