"""Results under way: who waits for which, and for how long."""

from __future__ import annotations

import threading

import pytest

from pycc import unfinished
from pycc.unfinished import Unfinished


def test_what_is_under_way_is_known_by_each_of_its_keys() -> None:
    table = Unfinished()
    with table.under_way([b"a", b"b"]):
        assert [key in table for key in (b"a", b"b", b"c")] == [True, True, False]
    assert b"a" not in table


@pytest.mark.parametrize("key", [b"a", None])
def test_whoever_asks_waits_until_it_is_stored(key: bytes | None) -> None:
    table, stored = Unfinished(), threading.Event()
    begun, done = threading.Event(), []

    def store() -> None:
        with table.under_way([b"a"]):
            begun.set()
            stored.wait(5)
            done.append(1)

    thread = threading.Thread(target=store)
    thread.start()
    begun.wait(5)
    assert table.wait(b"other")
    assert not done
    threading.Timer(0.05, stored.set).start()
    assert table.wait(key)
    assert done
    thread.join()


def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "PATIENCE_SECONDS", 0.01)
    table = Unfinished()
    with table.under_way([b"a"]):
        assert not table.wait(b"a")


def test_what_begins_later_is_not_waited_for() -> None:
    table = Unfinished()
    first = table.under_way([b"a"])
    first.__enter__()
    waited = threading.Thread(target=table.wait, args=(b"a",))
    waited.start()
    with table.under_way([b"a"]):
        first.__exit__(None, None, None)
        waited.join(1.0)
        assert not waited.is_alive()


def test_a_failure_ends_the_waiting_too() -> None:
    table = Unfinished()
    with pytest.raises(OSError), table.under_way([b"a"]):
        raise OSError
    assert table.wait(b"a")
