"""Connections that wait for their next job."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from pycc.remote import kept
from pycc.remote.connection import Connection
from pycc.remote.kept import Kept
from tests.daemon_kit import wait_for


@pytest.fixture
def pool() -> Iterator[Kept]:
    made = Kept()
    yield made
    made.close()


def pair() -> tuple[Connection, socket.socket]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    return Connection(ours), theirs


def test_what_was_used_last_is_used_next(pool: Kept) -> None:
    (first, one), (second, other) = pair(), pair()
    with one, other:
        pool.put("a", first)
        pool.put("a", second)
        assert pool.take("b") is None
        assert pool.take("a") is second
        assert pool.take("a") is first
        assert pool.take("a") is None
        first.close()
        second.close()


def test_what_has_ended_or_speaks_unasked_is_not_used(pool: Kept) -> None:
    (ended, one), (speaking, other) = pair(), pair()
    pool.put("a", ended)
    pool.put("a", speaking)
    one.close()
    with other:
        other.send(b"x")
        assert pool.take("a") is None
    assert (ended.fileno(), speaking.fileno()) == (-1, -1)


def test_nobody_waits_for_ever(pool: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "IDLE_SECONDS", 0.1)
    connection, theirs = pair()
    with theirs:
        pool.put("a", connection)
        assert theirs.recv(1) == b""
        wait_for(lambda: pool.take("a") is None)
        later, other = pair()
        with other:
            pool.put("a", later)
            assert other.recv(1) == b""


def test_who_comes_after_the_end_is_closed() -> None:
    pool = Kept()
    (one, theirs), (two, others) = pair(), pair()
    with theirs, others:
        pool.put("a", one)
        pool.close()
        pool.put("a", two)
        assert (theirs.recv(1), others.recv(1)) == (b"", b"")
