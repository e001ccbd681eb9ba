"""What both stores promise: the same facts for the database and for the files."""

import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from pycc.cache.storage import (
    HEADER_SIZE,
    MISSING,
    Found,
    Storage,
    Totals,
    manifest_key,
    result_key,
    seal,
    unseal,
)
from pycc.cache.storage_files import open_files
from pycc.cache.storage_local import open_local
from tests.storage_kit import Clock, key, manifest, value

Opener = Callable[..., Storage]
BOTH = pytest.mark.parametrize("opener", [open_local, open_files], ids=["local", "files"])

DAY = 86_400.0


def test_a_sealed_payload_comes_back() -> None:
    for payload in (b"", b"x", value(1, 100_000)):
        assert unseal(key(1), seal(key(1), payload)) == payload


def test_a_frame_under_another_key_is_refused() -> None:
    assert unseal(key(2), seal(key(1), b"payload")) is None


def test_a_manifest_does_not_pass_for_the_result_of_the_same_digest() -> None:
    assert unseal(manifest(1), seal(key(1), b"payload")) is None


def test_every_flipped_bit_of_a_frame_is_noticed() -> None:
    frame = seal(key(1), b"some payload")
    for position in range(len(frame) * 8):
        bad = bytearray(frame)
        bad[position // 8] ^= 1 << position % 8
        assert unseal(key(1), bytes(bad)) is None, position


def test_every_truncation_of_a_frame_is_noticed() -> None:
    frame = seal(key(1), b"some payload")
    assert all(unseal(key(1), frame[:size]) is None for size in range(len(frame)))
    assert len(frame) == HEADER_SIZE + len(b"some payload")


def test_kinds_have_keys_of_their_own() -> None:
    assert result_key(b"d" * 32) != manifest_key(b"d" * 32)


@BOTH
@pytest.mark.parametrize("size", [0, 1, 2000, 65_523, 65_524, 65_536, 3_000_000])
def test_what_was_stored_is_found_by_another_opener(
    opener: Opener, size: int, tmp_path: Path
) -> None:
    writer = opener(str(tmp_path / "cache"))
    assert writer.set(key(1), value(1, size))
    reader = opener(str(tmp_path / "cache"))
    assert reader.get(key(1)) == value(1, size)
    assert reader.lookup(key(1)) == Found(value(1, size))
    assert reader.contains(key(1))


@BOTH
def test_what_was_stored_is_found_by_all_who_come_first(
    opener: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How long they wait for one another is not what is asked here.
    monkeypatch.setattr("pycc.cache.local_handle.LOCK_WAIT", 20.0)
    opener(str(tmp_path)).set(key(1), value(1))
    for _ in range(20):
        fresh, together = opener(str(tmp_path)), Barrier(8)

        def ask(store: Storage = fresh, together: Barrier = together) -> bytes | None:
            together.wait()
            return store.get(key(1))

        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(ask) for _ in range(8)]
        assert [one.result() for one in asked] == [value(1)] * 8


@BOTH
def test_what_was_not_stored_is_missing(opener: Opener, tmp_path: Path) -> None:
    storage = opener(str(tmp_path))
    assert storage.get(key(1)) is None
    storage.set(key(2), b"2")
    assert storage.get(key(1)) is None
    assert storage.lookup(key(1)) is MISSING
    assert not storage.contains(key(1))
    assert not storage.counts.take()


@BOTH
def test_asking_creates_nothing(opener: Opener, tmp_path: Path) -> None:
    storage = opener(str(tmp_path / "cache"))
    storage.get(key(1))
    storage.touch(key(1))
    assert storage.totals() == Totals(0, 0)
    assert not storage.delete(key(1))
    storage.flush()
    storage.close()
    assert not (tmp_path / "cache").exists()


@BOTH
def test_a_second_value_replaces_the_first(opener: Opener, tmp_path: Path) -> None:
    storage = opener(str(tmp_path))
    for size in (100, 100_000, 200, 200_000, 300_000):
        assert storage.set(key(1), value(size, size))
        assert storage.get(key(1)) == value(size, size)
    storage.cleanup()
    assert storage.totals().entries == 1
    assert len(list(tmp_path.rglob("*.val"))) <= 1


@BOTH
def test_a_deleted_entry_is_gone(opener: Opener, tmp_path: Path) -> None:
    storage = opener(str(tmp_path))
    storage.set(key(1), value(1, 100_000))
    assert storage.delete(key(1))
    assert not storage.delete(key(1))
    assert storage.get(key(1)) is None
    assert storage.totals() == Totals(0, 0)


@BOTH
def test_totals_count_entries_and_about_their_bytes(opener: Opener, tmp_path: Path) -> None:
    storage = opener(str(tmp_path))
    for number in range(20):
        storage.set(key(number), value(number, 10_000))
    totals = storage.totals()
    assert totals.entries == 20
    assert 200_000 <= totals.size <= 300_000


@BOTH
def test_clear_removes_everything_and_says_what(opener: Opener, tmp_path: Path) -> None:
    storage = opener(str(tmp_path))
    for number in range(5):
        storage.set(key(number), value(number))
    before = storage.totals()
    assert storage.clear() == before
    assert storage.totals() == Totals(0, 0)
    assert storage.get(key(1)) is None
    assert storage.set(key(1), b"again")
    assert storage.get(key(1)) == b"again"


@BOTH
def test_the_limit_of_entries_evicts_the_oldest(opener: Opener, tmp_path: Path) -> None:
    clock = Clock()
    storage = opener(str(tmp_path), max_files=10, clock=clock)
    for number in range(30):
        clock.now += 10
        storage.set(key(number), value(number))
        storage.touch(key(number))
        storage.flush()
    assert storage.totals().entries == 10
    assert [number for number in range(30) if storage.contains(key(number))] == list(range(20, 30))
    assert storage.counts["evicted"] == 20
    assert storage.counts["cleanups"] == 20


@BOTH
def test_the_limit_of_bytes_evicts_the_oldest(opener: Opener, tmp_path: Path) -> None:
    clock = Clock()
    storage = opener(str(tmp_path), max_size=100_000, clock=clock)
    for number in range(40):
        clock.now += 10
        storage.set(key(number), value(number, 8_000))
        storage.touch(key(number))
        storage.flush()
    totals = storage.totals()
    assert 60_000 < totals.size <= 100_000
    kept = [number for number in range(40) if storage.contains(key(number))]
    assert kept == list(range(40 - len(kept), 40))


@BOTH
def test_an_entry_that_was_used_outlives_an_unused_newer_one(
    opener: Opener, tmp_path: Path
) -> None:
    clock = Clock()
    storage = opener(str(tmp_path), max_files=3, clock=clock)
    for number in range(3):
        clock.now += 10
        storage.set(key(number), value(number))
        storage.touch(key(number))
    storage.flush()
    clock.now += 10
    storage.touch(key(0))
    clock.now += 10
    storage.flush()
    storage.set(key(3), value(3))
    assert storage.contains(key(0))
    assert not storage.contains(key(1))


@BOTH
def test_a_limit_that_was_lowered_is_obeyed_by_cleanup(opener: Opener, tmp_path: Path) -> None:
    storage = opener(str(tmp_path))
    for number in range(200):
        storage.set(key(number), value(number))
    storage.set_limits(0, 100)
    would = storage.cleanup(dry_run=True)
    assert storage.totals().entries == 200
    removed = storage.cleanup()
    assert removed == would
    assert storage.totals().entries == 200 - removed.entries
    assert 90 <= storage.totals().entries <= 100


@BOTH
def test_a_value_larger_than_the_limit_is_not_stored(opener: Opener, tmp_path: Path) -> None:
    storage = opener(str(tmp_path), max_size=10_000)
    storage.set(key(1), value(1, 1000))
    assert not storage.set(key(2), value(2, 20_000))
    assert storage.contains(key(1))


@BOTH
def test_eviction_by_age_takes_what_was_not_used_since(opener: Opener, tmp_path: Path) -> None:
    clock = Clock()
    storage = opener(str(tmp_path), clock=clock)
    for number in range(10):
        storage.set(key(number), value(number))
        storage.touch(key(number))
        clock.now += DAY
    storage.flush()
    assert storage.evict_older_than(4.5 * DAY, dry_run=True).entries == 6
    assert storage.totals().entries == 10
    assert storage.evict_older_than(4.5 * DAY).entries == 6
    assert [number for number in range(10) if storage.contains(key(number))] == [6, 7, 8, 9]


@BOTH
def test_eviction_of_a_namespace_leaves_the_others(opener: Opener, tmp_path: Path) -> None:
    storage = opener(str(tmp_path))
    names = ["", "one", "two", "\udcff", "on"]
    for number in range(50):
        storage.set(key(number), value(number), names[number % 5])
    assert storage.evict_namespace("one", dry_run=True).entries == 10
    assert storage.evict_namespace("one").entries == 10
    assert storage.evict_namespace("\udcff").entries == 10
    assert storage.evict_namespace("none").entries == 0
    assert storage.totals().entries == 30


@BOTH
def test_eviction_by_age_within_a_namespace(opener: Opener, tmp_path: Path) -> None:
    clock = Clock()
    storage = opener(str(tmp_path), clock=clock)
    for number in range(4):
        storage.set(key(number), value(number), "a" if number % 2 else "b")
        storage.touch(key(number))
    storage.flush()
    clock.now += DAY
    assert storage.evict_older_than(1, "a").entries == 2
    assert storage.contains(key(0))
    assert not storage.contains(key(1))


@BOTH
def test_a_removed_directory_is_noticed_and_made_anew(opener: Opener, tmp_path: Path) -> None:
    storage = opener(str(tmp_path / "cache"))
    storage.set(key(1), value(1))
    assert storage.alive()
    (tmp_path / "cache").rename(tmp_path / "elsewhere")
    assert not storage.alive()
    assert storage.set(key(2), value(2))
    fresh = opener(str(tmp_path / "cache"))
    assert fresh.get(key(2)) == value(2)
    assert fresh.get(key(1)) is None


@BOTH
@pytest.mark.parametrize("umask", [0o002, 0o007, 0o022, 0o077, None])
def test_modes_are_what_the_umask_leaves(opener: Opener, umask: int | None, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        tmp_path.chmod(0o2775)
        storage = opener(str(tmp_path / "cache"), umask=umask)
        storage.set(key(1), value(1, 100))
        storage.set(key(2), value(2, 100_000))
        storage.touch(key(1))
        storage.flush()
    finally:
        os.umask(before)
    mask = 0o077 if umask is None else umask
    modes = {
        (stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode))
        for status in (path.stat() for path in (tmp_path / "cache", *tmp_path.glob("cache/**/*")))
    }
    assert modes == {(stat.S_IFDIR, 0o2777 & ~mask), (stat.S_IFREG, 0o666 & ~mask)}


@BOTH
def test_a_directory_name_may_be_any_bytes(opener: Opener, tmp_path: Path) -> None:
    directory = os.fsdecode(os.fsencode(str(tmp_path)) + b"/a\xff b%20?#$HOME~\n")
    storage = opener(directory)
    assert storage.set(key(1), value(1))
    storage.set(key(2), value(2, 100_000))
    assert opener(directory).get(key(1)) == value(1)
    assert opener(directory).get(key(2)) == value(2, 100_000)
    assert os.listdir(tmp_path) == [os.path.basename(directory)]


@BOTH
def test_read_only_finds_and_changes_nothing(opener: Opener, tmp_path: Path) -> None:
    writer = opener(str(tmp_path / "cache"))
    writer.set(key(1), value(1))
    writer.set(key(2), value(2, 100_000), "name")
    writer.flush()
    writer.close()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    storage = opener(str(tmp_path / "cache"), read_only=True, max_files=1)
    assert storage.get(key(1)) == value(1)
    assert storage.get(key(2)) == value(2, 100_000)
    storage.touch(key(1))
    assert storage.flush()
    assert not storage.set(key(3), value(3))
    assert not storage.delete(key(1))
    assert storage.clear() == storage.cleanup() == Totals(0, 0)
    assert storage.evict_namespace("name") == storage.evict_older_than(-1) == Totals(0, 0)
    storage.close()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@BOTH
def test_read_only_does_not_create(opener: Opener, tmp_path: Path) -> None:
    storage = opener(str(tmp_path / "cache"), read_only=True)
    assert storage.get(key(1)) is None
    assert not storage.set(key(1), b"")
    assert not (tmp_path / "cache").exists()


@BOTH
def test_a_closed_store_opens_again(opener: Opener, tmp_path: Path) -> None:
    storage = opener(str(tmp_path))
    storage.set(key(1), value(1))
    storage.close()
    assert storage.get(key(1)) == value(1)
