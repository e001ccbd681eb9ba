"""Files that the local store keeps by a second name."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycc.cache.storage import file_key
from pycc.cache.storage_files import open_files
from pycc.cache.storage_local import LocalStorage, open_local
from tests.storage_kit import Clock, digest, key, value

KEY = file_key(digest(1))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStorage]:
    opened = open_local(str(tmp_path / "cache"), clock=Clock())
    assert isinstance(opened, LocalStorage)
    yield opened
    opened.close()


@pytest.fixture
def source(tmp_path: Path) -> bytes:
    path = tmp_path / "a.o"
    path.write_bytes(b"object" * 100)
    return os.fsencode(path)


def names(path: bytes) -> int:
    return os.stat(path).st_nlink


def test_a_linked_file_is_the_same_file(store: LocalStorage, source: bytes) -> None:
    assert store.link_file(KEY, source)
    found = store.file_of(KEY)
    assert found is not None
    assert os.path.samefile(found, source)


def test_a_linked_file_counts_as_one_entry_of_its_size(store: LocalStorage, source: bytes) -> None:
    assert store.link_file(KEY, source)
    totals = store.totals()
    assert totals.entries == 1
    assert totals.size >= os.path.getsize(source)


def test_linking_again_lets_go_of_the_file_before(store: LocalStorage, source: bytes) -> None:
    assert store.link_file(KEY, source)
    assert store.link_file(KEY, source)
    assert (names(source), store.totals().entries) == (2, 1)


def test_a_linked_file_goes_when_its_entry_is_deleted(store: LocalStorage, source: bytes) -> None:
    store.link_file(KEY, source)
    assert store.delete(KEY)
    assert store.file_of(KEY) is None
    assert names(source) == 1


def test_a_linked_file_goes_when_its_entry_is_evicted(store: LocalStorage, source: bytes) -> None:
    store.link_file(KEY, source)
    store.set_limits(0, 3)
    for number in range(2, 6):
        assert isinstance(store.clock, Clock)
        store.clock.now += 1
        store.set(key(number), value(number))
    assert store.file_of(KEY) is None
    assert names(source) == 1


def test_a_linked_file_goes_with_its_namespace(store: LocalStorage, source: bytes) -> None:
    store.link_file(KEY, source, "ours")
    assert store.evict_namespace("ours").entries == 1
    assert names(source) == 1


def test_cleanup_keeps_a_linked_file(store: LocalStorage, source: bytes) -> None:
    store.link_file(KEY, source)
    store.cleanup()
    assert store.file_of(KEY) is not None
    assert store.totals().entries == 1


def test_a_file_that_cannot_have_a_second_name_is_not_stored(
    store: LocalStorage, tmp_path: Path
) -> None:
    assert not store.link_file(KEY, os.fsencode(tmp_path / "absent"))
    assert store.file_of(KEY) is None
    assert store.set(key(2), value(2))
    assert not store.counts.take().get("failures")


def test_an_ordinary_entry_has_no_file_of_its_own(store: LocalStorage) -> None:
    store.set(key(1), value(1))
    assert store.file_of(key(1)) is None


def test_the_tier_of_files_keeps_no_links(tmp_path: Path, source: bytes) -> None:
    tier = open_files(str(tmp_path / "cache"))
    assert not tier.link_file(KEY, source)
    assert tier.file_of(KEY) is None
    assert names(source) == 1
