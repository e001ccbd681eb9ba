"""Counters: many add to one file, none is lost, and nothing that is wrong with it is an error."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from pycc.cache.cleanup import account
from pycc.cache.statistics import Statistics, add_up, append_to_log, decode, encode
from pycc.cache.storage_local import open_local
from tests.storage_kit import Clock, key, start

HITS = {"direct_cache_hit": 2, "cache_miss": 1}


def file_of(directory: Path) -> Path:
    return directory / "pycc/stats"


def counts(statistics: Statistics) -> dict[str, int]:
    """Return the counters without the time of the last update."""
    return {k: v for k, v in statistics.read().items() if k != "stats_updated_timestamp"}


def test_the_file_is_a_header_the_counters_and_their_number() -> None:
    assert encode(HITS) == b"pycc statistics 1\ncache_miss\t1\ndirect_cache_hit\t2\nend\t2\n"


def test_what_was_encoded_is_decoded() -> None:
    for counters in ({}, HITS, {"recache": (1 << 63) - 1}):
        assert decode(encode(counters)) == counters


def test_zeros_and_strange_names_are_not_written() -> None:
    assert decode(encode({"recache": 0, "a b": 1, "x" * 65: 1, "ok": 1, "minus": -1})) == {"ok": 1}


def test_a_truncated_file_counts_nothing() -> None:
    data = encode(HITS)
    assert all(decode(data[:size]) == {} for size in range(len(data)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 300,
        b"pycc statistics 2\nend\t0\n",
        b"pycc statistics 1\ncache_miss\t-1\nend\t1\n",
        b"pycc statistics 1\ncache_miss\t1\nend\t2\n",
        b"pycc statistics 1\na\t1\na\t1\nend\t2\n",
        b"pycc statistics 1\nend\t0\nmore",
        b"pycc statistics 1\na\t" + b"9" * 21 + b"\nend\t1\n",
    ],
)
def test_a_file_of_another_shape_counts_nothing(data: bytes) -> None:
    assert decode(data) == {}


def test_counters_add_and_timestamps_advance() -> None:
    old = {"cache_miss": 3, "stats_zeroed_timestamp": 100}
    new = {"cache_miss": 2, "recache": -1, "stats_zeroed_timestamp": 50}
    assert add_up(old, new) == {"cache_miss": 5, "recache": 0, "stats_zeroed_timestamp": 100}


def test_counts_are_read_before_they_are_written(tmp_path: Path) -> None:
    statistics = Statistics(str(tmp_path))
    statistics.add(HITS)
    assert counts(statistics) == HITS
    assert not file_of(tmp_path).exists()
    assert statistics.pending


def test_flushed_counts_are_seen_by_others_and_counted_once(tmp_path: Path) -> None:
    first, second = Statistics(str(tmp_path)), Statistics(str(tmp_path))
    first.add(HITS)
    assert first.flush()
    assert first.flush()
    second.add({"cache_miss": 1})
    assert second.flush()
    assert counts(first) == counts(second) == {"direct_cache_hit": 2, "cache_miss": 2}
    assert not first.pending


def test_the_time_of_the_last_count_is_kept(tmp_path: Path) -> None:
    clock = Clock(1000.7)
    statistics = Statistics(str(tmp_path), clock=clock)
    statistics.add(HITS)
    clock.now = 2000.0
    statistics.flush()
    assert statistics.read()["stats_updated_timestamp"] == 1000


def test_zero_forgets_all_and_notes_the_time(tmp_path: Path) -> None:
    statistics = Statistics(str(tmp_path), clock=Clock(5000.0))
    statistics.add(HITS)
    statistics.flush()
    statistics.add(HITS)
    assert statistics.zero()
    assert counts(statistics) == {"stats_zeroed_timestamp": 5000}
    assert counts(Statistics(str(tmp_path))) == {"stats_zeroed_timestamp": 5000}


def test_counts_on_their_way_to_the_file_do_not_come_after_a_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statistics = Statistics(str(tmp_path), clock=Clock(5000.0))
    statistics.add(HITS)
    on_its_way, go_on = threading.Event(), threading.Event()
    rewrite = Statistics._rewrite

    def slow(self: Statistics, *what: Any) -> bool:
        if not on_its_way.is_set():
            on_its_way.set()
            assert go_on.wait(10)
        return rewrite(self, *what)

    monkeypatch.setattr(Statistics, "_rewrite", slow)
    flushing = threading.Thread(target=statistics.flush)
    flushing.start()
    assert on_its_way.wait(10)
    zeroing = threading.Thread(target=statistics.zero)
    zeroing.start()
    zeroing.join(0.05)
    go_on.set()
    flushing.join()
    zeroing.join()
    assert counts(statistics) == {"stats_zeroed_timestamp": 5000}


def test_counting_goes_on_after_zero(tmp_path: Path) -> None:
    statistics = Statistics(str(tmp_path), clock=Clock(5000.0))
    statistics.zero()
    statistics.add({"recache": 1})
    statistics.flush()
    assert counts(statistics) == {"recache": 1, "stats_zeroed_timestamp": 5000}


@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 1000, b"x" * 200_000])
def test_a_corrupt_file_counts_as_zeros_and_is_replaced(content: bytes, tmp_path: Path) -> None:
    file_of(tmp_path).parent.mkdir()
    file_of(tmp_path).write_bytes(content)
    statistics = Statistics(str(tmp_path))
    assert counts(statistics) == {}
    statistics.add(HITS)
    assert statistics.flush()
    assert counts(statistics) == HITS


def test_a_directory_in_the_file_s_place_is_no_error(tmp_path: Path) -> None:
    file_of(tmp_path).mkdir(parents=True)
    statistics = Statistics(str(tmp_path))
    statistics.add(HITS)
    assert not statistics.flush()
    assert counts(statistics) == HITS
    assert [path.name for path in (tmp_path / "pycc").iterdir() if path.suffix == ".tmp"] == []


def test_read_only_writes_nothing(tmp_path: Path) -> None:
    statistics = Statistics(str(tmp_path / "cache"), read_only=True)
    statistics.add(HITS)
    assert not statistics.flush()
    assert not statistics.zero()
    assert not (tmp_path / "cache").exists()


def test_a_held_lock_leaves_the_counts_for_later(tmp_path: Path) -> None:
    code = (
        "import fcntl, os, sys\n"
        "f = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
        "fcntl.flock(f, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    (tmp_path / "pycc").mkdir()
    process = start(code, str(tmp_path / "pycc/stats.lock"))
    assert process.stdout is not None
    process.stdout.readline()
    statistics = Statistics(str(tmp_path))
    statistics.add(HITS)
    try:
        assert not statistics.flush()
        assert counts(statistics) == HITS
    finally:
        process.kill()
        process.communicate()
    assert statistics.flush()
    assert counts(statistics) == HITS


ADDER = """
import sys
from pycc.cache.statistics import Statistics
statistics = Statistics(sys.argv[1])
for _ in range(40):
    statistics.add({"cache_miss": 1})
    statistics.flush()
while not statistics.flush():
    pass
"""


def test_processes_and_threads_lose_no_count(tmp_path: Path) -> None:
    statistics = Statistics(str(tmp_path))

    def add() -> None:
        for _ in range(40):
            statistics.add({"cache_miss": 1})
            statistics.flush()

    processes = [start(ADDER, str(tmp_path)) for _ in range(3)]
    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    while not statistics.flush():
        pass
    assert counts(statistics) == {"cache_miss": 240}


@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_modes_are_what_the_umask_leaves(umask: int, tmp_path: Path) -> None:
    statistics = Statistics(str(tmp_path / "cache"), umask=umask)
    statistics.zero()
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {0o666 & ~umask}


def test_the_store_s_own_counts_become_counters(tmp_path: Path) -> None:
    storage, statistics = open_local(str(tmp_path), max_files=1), Statistics(str(tmp_path))
    for number in range(4):
        storage.set(key(number), b"x")
    account(storage, statistics)
    account(storage, statistics)
    assert counts(statistics) == {"cleanups_performed": 3, "pycc_storage_evicted": 3}


def test_the_log_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert append_to_log(str(path), b"# a.c\ncache_miss\n", 0o022)
    assert append_to_log(str(path), b"# b.c\n", 0o022)
    assert path.read_bytes() == b"# a.c\ncache_miss\n# b.c\n"


def test_a_log_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    assert not append_to_log(str(tmp_path / "no/such/log"), b"", None)
    assert os.listdir(tmp_path) == []
