"""Damage, locks, full disks and killed writers cost time or entries, never a wrong value."""

import os
import random
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pycc.cache import disk_cache, storage_local
from pycc.cache.local_database import PAGE_SIZE
from pycc.cache.storage import Failed, TimedOut
from pycc.cache.storage_files import open_files
from pycc.cache.storage_local import open_local
from tests.storage_faults_kit import (  # noqa: F401
    LARGE,
    SMALL,
    as_root,
    assert_usable,
    copy,
    database_of,
    fill,
    filled,
    read_all,
    size_of,
    template,
)
from tests.storage_kit import Clock, key, start, value

# ruff: noqa: F811

# Damage.


@pytest.mark.parametrize("group", range(4))
def test_flipped_bytes_never_give_a_wrong_value(group: int, template: Path, tmp_path: Path) -> None:
    original = database_of(template).read_bytes()
    for seed in range(group * 50, group * 50 + 50):
        rng = random.Random(seed)
        data = bytearray(original)
        for _ in range(rng.choice((1, 4, 40))):
            data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
        directory = tmp_path / str(seed)
        generation = directory / "pycc/1/db-00000001"
        generation.mkdir(parents=True)
        (generation / "cache.db").write_bytes(data)
        with closing(open_local(str(directory))) as storage:
            read_all(storage)
            storage.totals()
            storage.flush()
            assert_usable(storage)
            read_all(storage)
        shutil.rmtree(directory)


@pytest.mark.parametrize("seed", range(20))
def test_exchanged_pages_never_give_another_key_s_value(seed: int, filled: Path) -> None:
    rng = random.Random(seed)
    path = database_of(filled)
    data = path.read_bytes()
    pages = [data[at : at + PAGE_SIZE] for at in range(0, len(data), PAGE_SIZE)]
    for _ in range(rng.randrange(1, 6)):
        one, other = rng.sample(range(2, len(pages)), 2)
        pages[one], pages[other] = pages[other], pages[one]
    path.write_bytes(b"".join(pages))
    with closing(open_local(str(filled))) as storage:
        read_all(storage)
        assert_usable(storage)


def test_rows_that_changed_places_are_misses(filled: Path) -> None:
    change(filled, "UPDATE Cache SET rowid = -rowid")
    change(filled, "UPDATE Cache SET key = (SELECT key FROM Cache c WHERE c.rowid = -40) || rowid")
    keys = [key(number).hex() for number in SMALL]
    for row, name in enumerate(reversed(keys), 1):
        change(filled, "UPDATE Cache SET key = ? WHERE rowid = ?", name, -row)
    with closing(open_local(str(filled))) as storage:
        assert read_all(storage) == 0
        assert storage.counts["corrupt"] >= len(SMALL) - 4


@pytest.mark.parametrize("seed", range(20))
def test_a_truncated_database_never_gives_a_wrong_value(seed: int, filled: Path) -> None:
    path = database_of(filled)
    os.truncate(path, random.Random(seed).randrange(path.stat().st_size))
    with closing(open_local(str(filled))) as storage:
        read_all(storage)
        assert_usable(storage)


def test_a_database_truncated_while_open_never_gives_a_wrong_value(filled: Path) -> None:
    with closing(open_local(str(filled))) as storage:
        assert read_all(storage) == 44
        os.truncate(database_of(filled), 40_000)
        read_all(storage)
        for number in range(100, 120):
            storage.set(key(number), value(number))
        assert_usable(storage)


def test_pages_overwritten_while_open_never_give_a_wrong_value(filled: Path) -> None:
    rng = random.Random(1)
    with closing(open_local(str(filled))) as storage:
        read_all(storage)
        with database_of(filled).open("r+b") as file:
            for _ in range(8):
                file.seek(rng.randrange(1, 20) << 14)
                file.write(rng.randbytes(1 << 14))
        for number in range(100, 400):
            storage.set(key(number), value(number))
            got = storage.get(key(number))
            assert got is None or got == value(number)
        read_all(storage)
        assert_usable(storage)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a database\n" * 5000),
        lambda path: path.write_bytes(bytes(100) + path.read_bytes()[100:]),
        lambda path: path.unlink(),
        lambda path: shutil.copy(path, path.with_name("cache.db-wal")),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["empty", "text", "header", "missing", "log", "directory"],
)
def test_a_damaged_database_is_rebuilt(damage: Callable[[Path], object], filled: Path) -> None:
    path = database_of(filled)
    damage(path)
    with closing(open_local(str(filled))) as storage:
        read_all(storage)
        assert_usable(storage)
        if path.name == "cache.db" and not path.with_name("cache.db-wal").exists():
            assert storage.counts["rebuilt"] <= 1
    assert len(list(filled.glob("pycc/1/db-*"))) == 1


def test_a_rebuilt_database_is_counted(filled: Path) -> None:
    database_of(filled).write_bytes(b"not a database\n" * 5000)
    with closing(open_local(str(filled))) as storage:
        assert isinstance(storage.lookup(key(1)), Failed)
        assert storage.set(key(1), b"new")
        assert storage.counts["rebuilt"] == 1
        assert storage.get(key(1)) == b"new"


def test_two_openers_of_a_damaged_database_agree_on_the_next(filled: Path) -> None:
    database_of(filled).write_bytes(b"not a database\n" * 5000)
    first, second = open_local(str(filled)), open_local(str(filled))
    assert first.get(key(1)) is second.get(key(1)) is None
    assert first.set(key(1), b"1")
    assert second.set(key(2), b"2")
    assert first.counts["rebuilt"] + second.counts["rebuilt"] <= 2
    assert first.get(key(2)) == b"2"
    assert second.get(key(1)) == b"1"


@pytest.mark.parametrize("cut", [0, 1, 11, 12, 50_000, 99_999])
def test_a_truncated_value_file_is_a_miss_and_is_removed(cut: int, filled: Path) -> None:
    for path in filled.rglob("*.val"):
        os.truncate(path, cut)
    with closing(open_local(str(filled))) as storage:
        assert all(storage.get(key(number)) is None for number in LARGE)
        assert all(storage.get(key(number)) is None for number in LARGE)
        assert storage.counts["corrupt"] == len(LARGE)
        assert storage.flush()
        assert storage.totals().entries == len(SMALL)
    assert not list(filled.rglob("*.val"))


def test_a_missing_value_file_is_a_miss_and_its_row_is_removed(filled: Path) -> None:
    for path in filled.rglob("*.val"):
        path.unlink()
    with closing(open_local(str(filled))) as storage:
        assert read_all(storage) == len(SMALL)
        storage.flush()
        assert storage.totals().entries == len(SMALL)


def test_a_bad_entry_that_was_stored_again_is_kept(filled: Path) -> None:
    for path in filled.rglob("*.val"):
        os.truncate(path, 10)
    with closing(open_local(str(filled))) as storage:
        assert storage.get(key(40)) is None
        assert open_local(str(filled)).set(key(40), b"good")
        storage.flush()
        assert storage.get(key(40)) == b"good"


def test_a_bad_file_of_the_file_store_is_a_miss_and_is_removed(tmp_path: Path) -> None:
    storage = open_files(str(tmp_path))
    storage.set(key(1), value(1))
    (path,) = (path for path in tmp_path.rglob("R*") if path.is_file())
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    path.write_bytes(data)
    assert storage.get(key(1)) is None
    assert storage.counts["corrupt"] == 1
    storage.flush()
    assert not path.exists()


def change(directory: Path, statement: str, *parameters: object) -> None:
    """Let somebody else write into the database."""
    with closing(sqlite3.connect(database_of(directory), isolation_level=None)) as connection:
        connection.execute(statement, parameters)


@pytest.mark.parametrize(
    ("column", "content"),
    [
        ("mode", 4),
        ("value", "text"),
        ("value", 17),
        ("value", None),
        ("filename", "../../../../etc/passwd"),
        ("filename", b"\xff\x00"),
        ("size", "many"),
        ("tag", 3.5),
    ],
)
def test_a_row_of_foreign_make_is_harmless(column: str, content: object, filled: Path) -> None:
    victim = filled.parent / "victim"
    victim.write_bytes(b"precious")
    change(filled, f"UPDATE Cache SET {column} = ?", content)
    with closing(open_local(str(filled), max_files=20)) as storage:
        read_all(storage)
        storage.flush()
        storage.set(key(500), value(500))
        storage.delete(key(0))
        storage.evict_namespace("x")
        storage.cleanup()
        assert_usable(storage)
    assert victim.exists()


def test_a_value_file_name_that_climbs_is_not_removed(filled: Path) -> None:
    victim = filled.parent / "victim"
    victim.write_bytes(b"precious")
    for name in ("../../../../victim", str(victim), "ab/cd/../../../../../../victim"):
        change(filled, "UPDATE Cache SET filename = ?, value = NULL", name)
        with closing(open_local(str(filled))) as storage:
            read_all(storage)
            storage.flush()
            storage.evict_older_than(-10)
    assert victim.read_bytes() == b"precious"


def test_pickles_are_refused(tmp_path: Path) -> None:
    disk: Any = disk_cache.BytesDisk(str(tmp_path))
    calls: tuple[Callable[[], object], ...] = (
        lambda: disk.put(("a", "tuple")),
        lambda: disk.put(b"bytes"),
        lambda: disk.get(b"\x80\x04.", raw=False),
        lambda: disk.store({"a": 1}, read=False),
        lambda: disk.store("text", read=False),
        lambda: disk.fetch(4, None, b"\x80\x04N.", read=False),
        lambda: disk.fetch(4, "ab/cd/" + "0" * 28 + ".val", None, read=False),
        lambda: disk.fetch(3, "ab/cd/" + "0" * 28 + ".val", None, read=False),
    )
    for call in calls:
        with pytest.raises(ValueError, match=r"type|mode|pickle"):
            call()


# Locks.


@contextmanager
def transaction(directory: Path, kind: str = "IMMEDIATE") -> Iterator[None]:
    """Hold a write transaction in another process."""
    code = (
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('BEGIN ' + sys.argv[2])\n"
        "c.execute('UPDATE Settings SET value = value')\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = start(code, str(database_of(directory)), kind)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        process.kill()
        process.communicate()


LONG = 0.5
"""Seconds: ten times what a call waits, as others want the processor, and a tenth of what SQLite
waits by itself."""


def took(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


@pytest.mark.parametrize("kind", ["IMMEDIATE", "EXCLUSIVE"])
def test_no_call_waits_long_for_a_lock(kind: str, filled: Path) -> None:
    storage = open_local(str(filled))
    for number in SMALL:
        storage.touch(key(number))
    with transaction(filled, kind):
        fresh = open_local(str(filled))
        assert took(lambda: fresh.get(key(1))) < LONG
        assert fresh.get(key(1)) == value(1, size_of(1))
        for call in (
            lambda: storage.get(key(1)),
            lambda: storage.set(key(1), b"other"),
            lambda: storage.set(key(1), value(1, 100_000)),
            lambda: storage.delete(key(1)),
            storage.flush,
            storage.totals,
            storage.close,
        ):
            assert min(took(call), took(call)) < LONG, call
        assert storage.counts["timeouts"]
        assert storage.get(key(1)) == value(1, size_of(1))
    assert storage.flush()
    assert storage.set(key(1), b"other")


def test_a_command_waits_for_a_lock_but_not_for_ever(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_local, "PATIENCE", 0.3)
    storage = open_local(str(filled), max_files=10)
    with transaction(filled):
        for call in (storage.cleanup, lambda: storage.evict_older_than(-1)):
            assert 0.25 < took(call) < 1.5
        assert storage.counts["timeouts"] >= 2
        assert storage.totals().entries == 44


def test_a_command_outwaits_a_short_lock(filled: Path) -> None:
    storage = open_local(str(filled), max_files=10)
    with closing(sqlite3.connect(database_of(filled), check_same_thread=False)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        threading.Timer(0.15, connection.rollback).start()
        assert storage.cleanup().entries == 34


def test_a_set_that_meets_a_lock_leaves_no_file(filled: Path) -> None:
    before = sorted(filled.rglob("*.val"))
    with transaction(filled), closing(open_local(str(filled))) as storage:
        assert not storage.set(key(1), value(1, 1_000_000))
    assert sorted(filled.rglob("*.val")) == before


def test_touches_that_meet_a_lock_are_kept(filled: Path) -> None:
    clock = Clock(time.time() + 1000)
    storage = open_local(str(filled), clock=clock)
    storage.touch(key(0))
    with transaction(filled):
        assert not storage.flush()
    assert storage.flush()
    storage.evict_older_than(500)
    assert storage.totals().entries == 1
    assert storage.contains(key(0))


def test_the_lock_on_generations_is_not_waited_for_long(tmp_path: Path) -> None:
    code = (
        "import fcntl, os, sys\n"
        "f = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
        "fcntl.flock(f, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    (tmp_path / "pycc/1").mkdir(parents=True)
    process = start(code, str(tmp_path / "pycc/1/lock"))
    assert process.stdout is not None
    process.stdout.readline()
    storage = open_local(str(tmp_path))
    try:
        assert took(lambda: storage.set(key(1), b"1")) < LONG
        assert storage.counts["timeouts"] == 1
    finally:
        process.kill()
        process.communicate()
    assert storage.set(key(1), b"1")


def test_a_lock_is_told_from_a_miss(filled: Path) -> None:
    storage = open_local(str(filled))
    storage.get(key(1))
    database = storage._handle.database
    assert database is not None
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY

    def locked(_key: str) -> None:
        raise error

    database.select = locked  # type: ignore[method-assign,assignment]
    assert isinstance(storage.lookup(key(1)), TimedOut)


# Many at once.

WRITER = """
import sys
from tests.storage_kit import key, value
from pycc.cache.storage_local import open_local
storage = open_local(sys.argv[1])
first, count = int(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for number in range(first, first + count):
    size = 100_000 if number % 20 == 0 else 2000
    while not storage.set(key(number), value(number, size)):
        pass
    print(number, flush=True)
assert not storage.counts["failures"], storage
storage.close()
"""


def test_killed_writers_lose_at_most_what_they_were_writing(tmp_path: Path) -> None:
    rng = random.Random(3)
    directory = tmp_path / "cache"
    writers = [start(WRITER, str(directory), str(n * 500), "500") for n in range(4)]
    for writer in writers:
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdout.readline()
        writer.stdin.write(b"go\n")
        writer.stdin.flush()
    for writer in writers[:2]:
        time.sleep(rng.random() / 5)
        writer.kill()
    stored = []
    for writer in writers:
        output = writer.communicate()[0]
        stored += [int(line) for line in output.splitlines(keepends=True) if line.endswith(b"\n")]
    assert [writer.returncode for writer in writers[2:]] == [0, 0]
    with closing(open_local(str(directory))) as storage:
        for number in stored:
            size = 100_000 if number % 20 == 0 else 2000
            assert storage.get(key(number)) == value(number, size)
        assert not storage.counts.take()
        assert storage.totals().entries - len(stored) in (0, 1, 2)
        connection = sqlite3.connect(database_of(directory))
        with closing(connection):
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_many_that_start_at_once_make_one_generation(tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    writers = [start(WRITER, str(directory), str(n * 10), "10") for n in range(6)]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.readline()
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    assert len(list(directory.glob("pycc/1/*-*"))) == 1
    assert open_local(str(directory)).totals().entries == 60


def test_threads_share_a_store_that_is_cleared_under_them(tmp_path: Path) -> None:
    storage = open_local(str(tmp_path))
    wrong: list[object] = []
    end = time.monotonic() + 0.7

    def work(seed: int) -> None:
        rng = random.Random(seed)
        while time.monotonic() < end:
            number = rng.randrange(30)
            size = 80_000 if number % 10 == 0 else 500
            try:
                match rng.randrange(8):
                    case 0 | 1:
                        storage.set(key(number), value(number, size))
                    case 2:
                        storage.delete(key(number))
                    case 3 if seed == 0:
                        storage.clear()
                    case 4:
                        storage.touch(key(number))
                        storage.flush()
                    case _:
                        got = storage.get(key(number))
                        if got is not None and got != value(number, size):
                            wrong.append(number)
            except Exception as error:  # whatever escapes is what is tested for
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert storage.set(key(1), b"1")


def test_a_reader_follows_once_it_asked_whether_the_store_is_alive(filled: Path) -> None:
    reader, writer = open_local(str(filled), read_only=True), open_local(str(filled))
    assert reader.get(key(1)) is not None
    writer.clear()
    writer.set(key(100), b"new")
    assert not reader.alive()
    assert reader.get(key(100)) == b"new"
    assert reader.get(key(1)) is None
    assert reader.alive()


def test_a_store_cleared_by_another_is_followed(filled: Path) -> None:
    first, second = open_local(str(filled)), open_local(str(filled))
    assert second.get(key(1)) is not None
    assert first.clear().entries == 44
    assert not second.alive()
    assert second.set(key(1), b"new")
    assert first.get(key(1)) == b"new"
    assert first.totals().entries == second.totals().entries == 1


def test_a_forked_child_reads_and_writes_on_its_own(filled: Path) -> None:
    storage = open_local(str(filled))
    assert storage.get(key(1)) is not None
    child = os.fork()
    if child == 0:
        ok = storage.get(key(2)) == value(2, size_of(2)) and storage.set(key(100), b"child")
        os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert storage.get(key(100)) == b"child"
    assert storage.set(key(101), b"parent")
