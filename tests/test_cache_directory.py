"""A cache directory that is removed under a server takes everything along that was meant for it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

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
