"""The maintenance commands: what they remove and what they count."""

from pathlib import Path

import pytest

from pycc.cache.cleanup import Eviction, clean_up, clear, evict
from pycc.cache.statistics import Statistics
from pycc.cache.storage import Totals
from pycc.cache.storage_local import LocalStorage, open_local
from tests.storage_kit import Clock, key, value


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def storage(tmp_path: Path, clock: Clock) -> LocalStorage:
    storage = open_local(str(tmp_path), clock=clock)
    for number in range(10):
        storage.set(key(number), value(number), "odd" if number % 2 else "")
    return storage


@pytest.fixture
def statistics(tmp_path: Path) -> Statistics:
    return Statistics(str(tmp_path))


def cleanups(statistics: Statistics) -> int:
    return statistics.read().get("cleanups_performed", 0)


def test_cleaning_below_no_limit_removes_nothing(
    storage: LocalStorage, statistics: Statistics
) -> None:
    assert clean_up(storage, statistics) == Totals(0, 0)
    assert cleanups(statistics) == 0


def test_cleaning_obeys_the_limit_and_is_counted(
    storage: LocalStorage, statistics: Statistics
) -> None:
    storage.set_limits(0, 4)
    assert clean_up(storage, statistics, dry_run=True).entries == 6
    assert cleanups(statistics) == 0
    assert clean_up(storage, statistics).entries == 6
    assert cleanups(statistics) == 1


def test_clearing_is_counted_once(storage: LocalStorage, statistics: Statistics) -> None:
    assert clear(storage, statistics).entries == 10
    assert clear(storage, statistics).entries == 0
    assert cleanups(statistics) == 1


def test_clearing_keeps_the_counters(storage: LocalStorage, statistics: Statistics) -> None:
    statistics.add({"cache_miss": 10})
    clear(storage, statistics)
    assert statistics.read()["cache_miss"] == 10


@pytest.mark.parametrize(
    ("eviction", "entries"),
    [
        (Eviction(), 0),
        (Eviction(older_than=100.0), 0),
        (Eviction(older_than=10.0), 10),
        (Eviction(namespace="odd"), 5),
        (Eviction(namespace="even"), 0),
        (Eviction(10.0, "odd"), 5),
        (Eviction(100.0, "odd"), 0),
    ],
)
def test_evicting_takes_what_was_named(
    eviction: Eviction, entries: int, storage: LocalStorage, statistics: Statistics, clock: Clock
) -> None:
    clock.now += 50
    assert evict(storage, statistics, eviction, dry_run=True).entries == entries
    assert storage.totals().entries == 10
    assert evict(storage, statistics, eviction).entries == entries
    assert storage.totals().entries == 10 - entries
    assert cleanups(statistics) == (1 if entries else 0)
