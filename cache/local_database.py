"""diskcache's database without its pickles and without its waits.

diskcache opens by writing every setting into the database, retries that for a minute whenever
another process writes, and takes any failure to begin a transaction for a time-out. Its constructor
is therefore used only once in a database's life, on a directory that nobody else can see yet; from
then on a database is opened by reading, and every wait is SQLite's own, bounded by `LOCK_WAIT`.
Beyond that the library only writes the rows (disk_cache.py), and reading does without it.

Two things are added to diskcache's tables. Access times live in a narrow table of their own,
because updating one in the wide table rewrites the 16 kB page that its entry's value lies in: the
touches of a warm build would write about a hundred times more. And the tag (our namespace) and the
file name are indexed only where they are present, which costs the ordinary entry nothing.

Settings, each for a reason:

* page size 16 kB: an entry of 2,000 bytes takes 2,480 bytes instead of 4,230 (4 kB pages).
* values of 64 kB and more go to files: below, a row is faster to read and to write than a file.
* synchronous NORMAL: one sync per checkpoint. OFF stores in half the time, but a power cut could
  then cost the whole cache; it could not cost more, as every value carries its proof.
* mmap off: a database truncated by somebody else would end the server with SIGBUS.
* page cache 4 MiB a connection: diskcache's default would be 128 MiB with these pages.
* incremental vacuum: diskcache's full one moves pages at every commit.
"""

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Final

from . import shared_files
from .storage import LOCK_WAIT, MAX_WAIT, is_full
from .value_files import MIN_FILE_SIZE, ValueFiles

DATABASE: Final = "cache.db"
PAGE_SIZE: Final = 1 << 14

_SETTINGS: Final = {
    "cull_limit": 0,
    "disk_min_file_size": MIN_FILE_SIZE,
    "eviction_policy": "none",
    "sqlite_auto_vacuum": 2,
    "sqlite_cache_size": -4096,
    "sqlite_mmap_size": 0,
    "sqlite_synchronous": 0,
}

_SCHEMA: Final = (
    "DROP INDEX Cache_expire_time",
    "CREATE TABLE Access (entry INTEGER PRIMARY KEY, time REAL)",
    "CREATE INDEX Access_time ON Access (time)",
    (
        "CREATE TRIGGER Access_insert AFTER INSERT ON Cache FOR EACH ROW BEGIN"
        " INSERT OR REPLACE INTO Access VALUES (NEW.rowid, NEW.access_time); END"
    ),
    (
        "CREATE TRIGGER Access_update AFTER UPDATE OF access_time ON Cache FOR EACH ROW BEGIN"
        " UPDATE Access SET time = NEW.access_time WHERE entry = NEW.rowid; END"
    ),
    (
        "CREATE TRIGGER Access_delete AFTER DELETE ON Cache FOR EACH ROW BEGIN"
        " DELETE FROM Access WHERE entry = OLD.rowid; END"
    ),
    "CREATE INDEX Cache_tag ON Cache (tag) WHERE tag IS NOT NULL",
    "CREATE INDEX Cache_filename ON Cache (filename) WHERE filename IS NOT NULL",
)

_CONNECTION: Final = (
    "PRAGMA trusted_schema = OFF",
    "PRAGMA mmap_size = 0",
    "PRAGMA cache_size = -4096",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA wal_autocheckpoint = 1000",
    "PRAGMA journal_size_limit = 33554432",
)

_SELECT: Final = "SELECT value, filename, rowid FROM Cache WHERE key = ? AND raw = 1"


_LISTING: Final = (
    "SELECT Cache.rowid, Cache.key, Cache.size, Cache.tag, IFNULL(Access.time, 0.0) FROM Cache"
    " LEFT JOIN Access ON Access.entry = Cache.rowid"
    " WHERE Cache.rowid > ? ORDER BY Cache.rowid LIMIT ?"
)

_CHOSEN: Final = "SELECT Cache.rowid, Cache.filename, Cache.size FROM "
_BY_AGE: Final = _CHOSEN + "Access CROSS JOIN Cache ON Cache.rowid = Access.entry "
_BY_TAG: Final = _CHOSEN + "Cache CROSS JOIN Access ON Cache.rowid = Access.entry "

# Which rows to evict. CROSS JOIN is SQLite's way to say in which order the tables are walked.
CHOICES: Final = {
    "oldest": _BY_AGE + "ORDER BY Access.time LIMIT ?",
    "older": _BY_AGE + "WHERE Access.time < ? ORDER BY Access.time LIMIT ?",
    "tag": _BY_TAG + "WHERE Cache.tag = ? LIMIT ?",
    "tag and older": _BY_TAG + "WHERE Cache.tag = ? AND Access.time < ? LIMIT ?",
}


# Asked with the entries and the bytes chosen so far: are these enough?
Enough = Callable[[int, int], bool]


def _never(_entries: int, _size: int) -> bool:
    return False


class Fault(Enum):
    """What an exception of the database or the disk means to us."""

    LOCKED = "locked"
    FULL = "full"
    DAMAGED = "damaged"
    OTHER = "other"


# Everything that a call into the database may raise.
DatabaseErrors: Final = (sqlite3.Error, sqlite3.Warning, OSError, OverflowError, ValueError)

_FAULTS: Final = {
    sqlite3.SQLITE_BUSY: Fault.LOCKED,
    sqlite3.SQLITE_LOCKED: Fault.LOCKED,
    sqlite3.SQLITE_PROTOCOL: Fault.LOCKED,
    sqlite3.SQLITE_FULL: Fault.FULL,
    sqlite3.SQLITE_CORRUPT: Fault.DAMAGED,
    sqlite3.SQLITE_NOTADB: Fault.DAMAGED,
    # Our statements are constants: if one does not compile, or breaks a constraint of our own
    # schema, then the file does not hold that schema.
    sqlite3.SQLITE_CONSTRAINT: Fault.DAMAGED,
    sqlite3.SQLITE_MISMATCH: Fault.DAMAGED,
    sqlite3.SQLITE_FORMAT: Fault.DAMAGED,
}


def classify(error: BaseException) -> Fault:
    """Return what ``error``, one of `DatabaseErrors`, means."""
    if isinstance(error, OSError):
        return Fault.FULL if is_full(error) else Fault.OTHER
    if isinstance(error, UnicodeDecodeError):
        # The library quotes names of a damaged schema in its own messages.
        return Fault.DAMAGED
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return Fault.OTHER
    if code == sqlite3.SQLITE_IOERR_SHORT_READ:
        return Fault.DAMAGED
    if code == sqlite3.SQLITE_ERROR:
        return Fault.OTHER if "transaction" in str(error) else Fault.DAMAGED
    return _FAULTS.get(code & 0xFF, Fault.OTHER)


class _Slot:
    """A thread's connection, closed when the last to hold the slot lets go of it.

    A connection is part of a cycle with its statement cache and would otherwise stay open until the
    garbage collector comes by.
    """

    __slots__ = ("connection", "execute", "patient_until", "waited")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.execute = connection.execute
        self.patient_until = 0.0
        self.waited = 0.0

    def begin(self) -> None:
        """Begin to write; waits `LOCK_WAIT`, or until ``patient_until`` (monotonic seconds)."""
        started = time.monotonic()
        while True:
            try:
                self.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if classify(error) is not Fault.LOCKED or time.monotonic() >= self.patient_until:
                    raise
            else:
                self.waited += time.monotonic() - started
                return

    def __del__(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()


_databases: "weakref.WeakSet[Database]" = weakref.WeakSet()
_inherited: list[object] = []


def _forget_after_fork() -> None:
    # SQLite forbids carrying a connection across fork, even to close it: closing could unlink the
    # write-ahead log under the parent. So the child leaks what it inherited.
    _inherited.extend([database.forget() for database in _databases])


os.register_at_fork(after_in_child=_forget_after_fork)


class Database:
    """One generation's database, opened without writing. Methods raise `DatabaseErrors`."""

    def __init__(self, directory: str, umask: int | None, *, writable: bool) -> None:
        self._files: Final = ValueFiles(directory, umask)
        self.path: Final = f"{directory}/{DATABASE}"
        self.writable: Final = writable
        self.immutable = False
        self._local = threading.local()
        _databases.add(self)

    def forget(self) -> object:
        """Drop every connection without closing it, and return them (see `_forget_after_fork`)."""
        dropped, self._local = self._local, threading.local()
        return dropped

    def _held(self) -> _Slot:
        """Return this thread's slot; whoever uses its connection holds it meanwhile."""
        slot: _Slot | None = getattr(self._local, "slot", None)
        return slot if slot is not None else self._connect()

    def _connect(self) -> _Slot:
        connection = sqlite3.connect(
            f"file:{_quoted(os.fsencode(self.path))}?{self._mode()}",
            uri=True,
            timeout=LOCK_WAIT,
            isolation_level=None,
            # Every thread has its own, but the last one to let go of them may be another.
            check_same_thread=False,
        )
        # Text that is not UTF-8 in a damaged row must not raise while it is fetched.
        connection.text_factory = bytes
        try:
            for statement in _CONNECTION:
                connection.execute(statement).close()
        except sqlite3.Error:
            connection.close()
            raise
        slot = self._local.slot = _Slot(connection)
        return slot

    def _mode(self) -> str:
        if self.writable:
            return "mode=rw"
        # A database in WAL mode can be read without its log's index only if it is declared
        # immutable, which is true enough while there is no log: a writer would have one.
        try:
            self.immutable = os.stat(self.path + "-wal").st_size == 0
        except FileNotFoundError:
            self.immutable = True
        return "mode=ro&immutable=1" if self.immutable else "mode=ro"

    @contextlib.contextmanager
    def _transact(
        self, filename: str | None = None
    ) -> Iterator[tuple[sqlite3.Connection, Callable[[str | None], None]]]:
        """Yield the connection and what takes the names of files to remove after the commit.

        ``filename`` is removed if there is no commit.
        """
        slot = self._held()
        connection = slot.connection
        removed: list[str | None] = []
        try:
            slot.begin()
            yield connection, removed.append
            connection.execute("COMMIT")
        except BaseException:
            # A commit that fails (disk full) leaves the transaction open.
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            if filename is not None:
                self._files.remove(filename)
            raise
        for name in removed:
            if name is not None:
                self._files.remove(name)

    def select(self, key: str) -> tuple[object, object, int] | None:
        """Return (value, file name, row id) of the entry, or None."""
        slot = self._held()
        rows = slot.execute(_SELECT, (key,)).fetchall()
        return rows[0] if rows else None

    def read(self, filename: bytes) -> bytes:
        """Return the bytes of the entry's value file."""
        return self._files.read(os.fsdecode(filename))

    def value_file(self, key: str) -> bytes | None:
        """Return the path of the entry's value file, if it has one and it is named like ours."""
        row = self.select(key)
        if row is None or type(row[1]) is not bytes:
            return None
        return os.fsencode(self._files.path_of(os.fsdecode(row[1])))

    def put(self, key: str, frame: bytes, tag: bytes | None, now: float) -> None:
        """Store ``frame``, replacing what was there."""
        size, mode, filename, value = self._files.store(frame)
        self._put(key, (None, tag, size, mode, filename, value), now)

    def put_link(
        self, key: str, source: bytes, tag: bytes | None, now: float, *, clone: bool
    ) -> bool:
        """Store the file ``source`` by a second name, or as a clone; False if that cannot be."""
        try:
            size, mode, filename = (self._files.clone if clone else self._files.link)(source)
        except OSError:
            return False
        self._put(key, (None, tag, size, mode, filename, None), now)
        return True

    def _put(self, key: str, columns: tuple[object, ...], now: float) -> None:
        # Late: the library takes 9 ms to load, which one that only reads would spend for nothing.
        from .disk_cache import Rows

        filename = columns[4] if isinstance(columns[4], str) else None
        with self._transact(filename) as (connection, remove):
            rows = connection.execute(
                "SELECT rowid, filename FROM Cache WHERE key = ? AND raw = 1", (key,)
            ).fetchall()
            if rows:
                ((row, old),) = rows
                remove(_text(old))
                Rows(connection).update(row, now, columns)
            else:
                Rows(connection).insert(key, now, columns)

    def remove(self, key: str, accept: Callable[[object, object], bool] | None = None) -> bool:
        """Remove the entry if ``accept`` (value, file name) says so, or unconditionally."""
        with self._transact() as (connection, remove):
            rows = connection.execute(_SELECT, (key,)).fetchall()
            if not rows:
                return False
            ((value, filename, row),) = rows
            if accept is not None and not accept(value, filename):
                return False
            connection.execute("DELETE FROM Cache WHERE rowid = ?", (row,))
            remove(_text(filename))
        return True

    def contains(self, key: str) -> bool:
        """Say whether there is a row."""
        slot = self._held()
        statement = "SELECT 1 FROM Cache WHERE key = ? AND raw = 1"
        return bool(slot.execute(statement, (key,)).fetchall())

    def touch_all(self, touches: list[tuple[float, str]]) -> None:
        """Write the access times (seconds, key) in one transaction."""
        with self._transact() as (connection, _):
            connection.executemany(
                "UPDATE Access SET time = ?1 WHERE time < ?1 AND entry ="
                " (SELECT rowid FROM Cache WHERE key = ?2 AND raw = 1)",
                touches,
            )

    def totals(self) -> tuple[int, int]:
        """Return (charged bytes, entries)."""
        slot = self._held()
        rows = dict(
            slot.execute(
                "SELECT key, value FROM Settings WHERE key IN ('size', 'count')"
            ).fetchall()
        )
        size, count = rows.get(b"size"), rows.get(b"count")
        if not isinstance(size, int) or not isinstance(count, int):
            error = sqlite3.DatabaseError("no totals")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        return max(0, size), max(0, count)

    def evict(
        self, choice: str, parameters: tuple[object, ...], limit: int, enough: Enough = _never
    ) -> tuple[int, int]:
        """Remove up to ``limit`` rows of a `CHOICES` entry, fewer once they are ``enough``.

        Returns the entries removed and their charged bytes.
        """
        with self._transact() as (connection, remove):
            chosen: list[tuple[int]] = []
            total = 0
            rows = connection.execute(CHOICES[choice], (*parameters, limit)).fetchall()
            for row, filename, size in rows:
                if enough(len(chosen), total):
                    break
                chosen.append((row,))
                total += size if isinstance(size, int) else 0
                remove(_text(filename))
            connection.executemany("DELETE FROM Cache WHERE rowid = ?", chosen)
        return len(chosen), total

    def measure(
        self, choice: str, parameters: tuple[object, ...], enough: Enough = _never
    ) -> tuple[int, int]:
        """Return what `evict` without a limit would remove."""
        slot = self._held()
        count = total = 0
        with contextlib.closing(slot.execute(CHOICES[choice], (*parameters, -1))) as cursor:
            for _, _, size in cursor:
                if enough(count, total):
                    break
                count += 1
                total += size if isinstance(size, int) else 0
        return count, total

    def rows(self, after: int, limit: int) -> list[tuple[int, str, int, str, float]]:
        """Return up to ``limit`` rows behind row ``after``: (row, key, bytes, tag, used)."""
        found = self._held().execute(_LISTING, (after, limit)).fetchall()
        return [
            (row, _text(key) or "", size if isinstance(size, int) else 0, _text(tag) or "", used)
            for row, key, size, tag, used in found
        ]

    def knows_file(self, filename: str) -> bool:
        """Say whether an entry's value lies in this file."""
        slot = self._held()
        statement = "SELECT 1 FROM Cache WHERE filename = ?"
        return bool(slot.execute(statement, (filename,)).fetchall())

    def begin_call(self) -> None:
        """Start to sum up how long this thread waits to write."""
        self._held().waited = 0.0

    def may_wait(self) -> bool:
        """Say whether one more transaction keeps the call's waits within `MAX_WAIT`."""
        slot = self._held()
        return slot.waited <= MAX_WAIT - LOCK_WAIT or slot.patient_until > 0.0

    @contextlib.contextmanager
    def patience(self, seconds: float) -> Iterator[None]:
        """Let this thread's writes wait longer for others'."""
        slot = self._held()
        slot.patient_until = time.monotonic() + seconds
        try:
            yield
        finally:
            slot.patient_until = 0.0

    def recount(self) -> None:
        """Set the totals to what the rows say, in case damage or another program moved them."""
        slot = self._held()
        # The scan is long, so it only reads, and what is written is the difference that it found.
        slot.execute("BEGIN")
        try:
            size, count = self.totals()
            ((rows, total),) = slot.execute("SELECT COUNT(*), TOTAL(size) FROM Cache").fetchall()
        finally:
            slot.execute("ROLLBACK")
        for name, change in ((b"count", rows - count), (b"size", int(total) - size)):
            if change:
                with self._transact() as (connection, _):
                    connection.execute(
                        "UPDATE Settings SET value = value + ? WHERE key = ?",
                        (change, name.decode()),
                    )

    def give_back(self, pages: int) -> bool:
        """Return up to ``pages`` free pages to the file system; True if more are left."""
        slot = self._held()
        slot.execute(f"PRAGMA incremental_vacuum({pages:d})").fetchall()
        ((left,),) = slot.execute("PRAGMA freelist_count").fetchall()
        return bool(left)

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database and cut it to nothing, if nobody minds."""
        slot = self._held()
        slot.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Let go of the connections of all threads; each closes when nobody is inside it."""
        self._local = threading.local()


def _text(filename: object) -> str | None:
    return os.fsdecode(filename) if isinstance(filename, bytes) else None


def build(directory: str, umask: int | None) -> None:
    """Make an empty database in ``directory``, new and known to nobody; raises `DatabaseErrors`."""
    # Late, as in `Database._put`.
    from . import disk_cache

    path = f"{directory}/{DATABASE}"
    os.close(shared_files.create(path, umask))
    # Page size and vacuum mode can be chosen only before the first page is written, and diskcache
    # sets its pragmas in alphabetical order, journal mode first.
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in (
            f"PRAGMA page_size = {PAGE_SIZE:d}",
            "PRAGMA auto_vacuum = INCREMENTAL",
            "PRAGMA synchronous = OFF",
            "CREATE TABLE Settings (key TEXT NOT NULL UNIQUE, value)",
        ):
            connection.execute(statement).close()
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # diskcache expands $NAME in the path that it is given.
        plain = directory if "$" not in directory else f"/proc/self/fd/{descriptor}"
        disk_cache.make_tables(plain, _SETTINGS, _SCHEMA)
    finally:
        os.close(descriptor)


def new_name() -> str:
    """Return a name for a directory that is being built or thrown away."""
    return os.urandom(8).hex()


def _quoted(path: bytes) -> str:
    """``path`` for a file: URI (urllib takes 4 ms to import)."""
    return "".join(chr(c) if c < 128 and c not in b"%?#" else f"%{c:02X}" for c in path)
