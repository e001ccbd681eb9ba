"""Cleaning up by command and by itself: what ccache's suite asks in `cleanup`, of our own store."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycc.cache.directory import CacheDirectory
from tests.compile_kit import Bench

MANY = 60
SIZE = 1000  # bytes of a value


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path).setup()
    bench.command("-s")
    fill(bench)
    yield bench
    bench.close()


def cache_of(bench: Bench) -> CacheDirectory:
    (cache,) = bench.resident._caches.values()
    return cache


def key_of(number: int) -> bytes:
    return b"R" + number.to_bytes(32, "big")


def fill(bench: Bench) -> None:
    """Entries that were used one minute after the other, the last one now."""
    storage = cache_of(bench).storage
    for number in range(MANY):
        storage.set(key_of(number), os.urandom(SIZE), used=time.time() - 60 * (MANY - 1 - number))


def state(bench: Bench) -> tuple[list[int], int]:
    """The entries that are left, and how often something was cleaned up."""
    rows = dict(row.split("\t") for row in bench.command("--print-stats").splitlines())
    listing = cache_of(bench).storage.listing()
    left = sorted(int.from_bytes(entry.key[1:], "big") for entry in listing)
    assert int(rows["files_in_cache"]) == len(left)
    return left, int(rows["cleanups_performed"])


def test_clear(bench: Bench) -> None:
    bench.command("-C")
    assert state(bench) == ([], 1)


def test_a_cleanup_without_limits_removes_nothing(bench: Bench) -> None:
    bench.command("-F 0")
    bench.command("-M 0")
    bench.command("-c")
    assert state(bench) == (list(range(MANY)), 0)


@pytest.mark.parametrize("limit", ["-F 50", "-M 80k"])
def test_a_cleanup_keeps_what_was_used_last(bench: Bench, limit: str) -> None:
    bench.command(limit)
    bench.command("-c --dry-run")
    assert state(bench) == (list(range(MANY)), 0)
    bench.command("-c")
    left, cleanups = state(bench)
    assert cleanups == 1
    assert 30 < len(left) <= 50
    assert left == list(range(MANY - len(left), MANY))


@pytest.mark.parametrize("limit", ["-F 50", "-M 80k"])
def test_a_store_cleans_up_by_itself(bench: Bench, limit: str) -> None:
    bench.command(limit)
    bench.file("a.c", "int x;\n")
    bench.call("-c a.c")
    left, cleanups = state(bench)
    assert cleanups >= 1
    assert 0 not in left
    bench.call("-c a.c")
    assert bench.counters()["direct_cache_hit"] == 1  # not what was just stored


def test_a_hit_keeps_an_entry(bench: Bench) -> None:
    storage = cache_of(bench).storage
    assert storage.get(key_of(0)) is not None
    storage.touch(key_of(0))
    bench.command("-F 50")
    bench.command("-c")
    assert 0 in state(bench)[0]


@pytest.mark.parametrize(
    ("age", "left"), [("1d", MANY), ("1h", MANY), ("1710s", 29), ("29m", 29), ("0s", 0)]
)
def test_cleaning_up_by_age(bench: Bench, age: str, left: int) -> None:
    bench.command(f"--evict-older-than {age} --dry-run")
    assert len(state(bench)[0]) == MANY
    bench.command(f"--evict-older-than {age}")
    assert len(state(bench)[0]) in (left, left + 1)


def test_left_over_files_are_swept_when_they_are_old(bench: Bench) -> None:
    store = cache_of(bench).storage
    store.set(key_of(MANY), os.urandom(200_000))  # large enough for a file
    (value,) = (p for p in (bench.root / "cache/pycc").rglob("*.val"))
    old, young = value.with_name("0" * 28 + ".val"), value.with_name("1" * 28 + ".val")
    for path in (old, young):
        path.write_bytes(b"of a writer that was killed")
    os.utime(old, (time.time() - 100_000,) * 2)
    for option in ("--evict-older-than 1d --dry-run", "-c --dry-run"):
        bench.command(option)
        assert old.exists()
    bench.command("-c")
    assert (old.exists(), young.exists(), value.exists()) == (False, True, True)


def test_what_is_not_ours_stays(bench: Bench) -> None:
    """A real ccache's entries, and files that an NFS client has hidden."""
    strangers = [bench.root / "cache" / name for name in ("0/1/abcR", "0/stats", ".nfs0123456789")]
    for path in strangers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("ccache's")
        os.utime(path, (1_000_000, 1_000_000))
    for option in ("-F 1", "-c", "-C", "--evict-older-than 0s"):
        bench.command(option)
    assert all(path.read_text() == "ccache's" for path in strangers)
