"""A cache directory that is removed under a server takes everything along that was meant for it."""

import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycc.cache import directory
from pycc.cache.directory import CacheDirectory
from pycc.cache.statistics import Statistics
from pycc.cache.storage_local import open_local
from tests.storage_kit import key, value


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[CacheDirectory]:
    place = str(tmp_path / "cache")
    opened = CacheDirectory(f"{place}/pycc", open_local(place), Statistics(place))
    yield opened
    opened.close()


def test_a_fresh_directory_is_there_before_anything_is_written(
    cache: CacheDirectory, tmp_path: Path
) -> None:
    cache.count({"cache_miss": 1})
    assert (tmp_path / "cache" / "pycc").is_dir()
    assert not cache.replaced()


def test_nothing_of_a_removed_directory_comes_back(cache: CacheDirectory, tmp_path: Path) -> None:
    cache.count({"cache_miss": 1})
    shutil.rmtree(tmp_path / "cache")
    cache.put(key(1), value(1))
    cache.drain()
    assert not (tmp_path / "cache").exists()


def test_that_a_directory_was_removed_is_told_to_everybody(
    cache: CacheDirectory, tmp_path: Path
) -> None:
    cache.count({"cache_miss": 1})
    shutil.rmtree(tmp_path / "cache")
    assert [cache.replaced() for _ in "12"] == [True, True]


def test_a_removed_directory_takes_no_links(cache: CacheDirectory, tmp_path: Path) -> None:
    source = tmp_path / "a.o"
    source.write_bytes(b"object")
    cache.count({"cache_miss": 1})
    shutil.rmtree(tmp_path / "cache")
    assert not cache.link_file(key(1), bytes(source))


def hold(tmp_path: Path) -> sqlite3.Connection:
    """Somebody else who writes to the store."""
    (path,) = tmp_path.rglob("cache.db")
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    return other


def test_who_holds_the_store_for_a_moment_costs_no_result(
    cache: CacheDirectory, tmp_path: Path
) -> None:
    cache.put(key(1), value(1))
    cache.drain()
    other = hold(tmp_path)
    cache.put(key(2), value(2))
    assert cache.get(key(2)) == value(2)
    threading.Timer(0.2, other.rollback).start()
    cache.drain()
    assert cache.storage.get(key(2)) == value(2)
    other.close()


def test_who_holds_it_for_long_is_not_waited_for_each_time(
    cache: CacheDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    cache.put(key(1), value(1))
    cache.drain()
    other = hold(tmp_path)
    for number in (2, 3, 4):
        cache.put(key(number), value(number))
    cache.drain()
    assert len(pauses) == directory.STORE_TRIES - 1
    other.rollback()
    other.close()
    cache.put(key(5), value(5))
    cache.drain()
    assert cache.storage.get(key(5)) == value(5)
