"""The local tier: one SQLite database per cache directory, shared by many servers and users.

Layout under the cache directory (a real ccache may live beside it and is never touched)::

    pycc/CACHEDIR.TAG
    pycc/1/                 ; 1 is the version of this layout
    pycc/1/lock             ; held while a generation is made or thrown away
    pycc/1/db-1700…/        ; a generation (see generations.py): cache.db, value files in ab/cd/

Who still holds an older generation keeps a database that is whole but private; `alive` tells, by
one stat, that its name has gone, and `set` asks before it stores.

Reads never write and never wait for a writer (WAL). What a read learns, that an entry was used or
is broken, is remembered and written later by `flush`, which belongs on a thread that may wait. A
damaged database is replaced by the next `set`; until then every read is a miss.

Eviction follows each store that finds the limit exceeded: the least recently used entries go, in
transactions of about `_SLICE` seconds, until 1 % below the limit. (ccache goes 10 % below, because
its order is exact only within one of 256 directories; here the order is exact, so what is kept is
worth keeping, and the 1 % only spares most stores the work.)
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from . import generations
from .local_database import Database, DatabaseErrors, Enough
from .local_handle import LocalHandle
from .storage import (
    HEADER_SIZE,
    MAX_VALUE,
    MISSING,
    PATIENCE,
    TIMED_OUT,
    Counts,
    Failed,
    Found,
    Listed,
    Lookup,
    Totals,
    seal,
    unseal,
)
from .value_files import charge

SUBDIRECTORY: Final = "pycc"
VERSION: Final = "1"

# No write transaction is meant to last longer than a slice, no flush or eviction than the budget.
_SLICE: Final = 0.020
_BUDGET: Final = 0.050
_MOST_TOUCHES: Final = 100_000
_TOUCHES: Final = 200
_LOW_WATER: Final = 100
_MAX_BATCH: Final = 128
_VACUUM_PAGES: Final = 256
_LISTED: Final = 500
_EVERYTHING: Final = (1 << 62, 1 << 62)


def open_local(
    directory: str,
    *,
    umask: int | None = None,
    read_only: bool = False,
    max_size: int = 0,
    max_files: int = 0,
    clock: Callable[[], float] = time.time,
) -> "LocalStorage":
    """Return the local tier of the cache directory; nothing is opened or made before it is used.

    ``directory`` is an absolute path, ``umask`` what CCACHE_UMASK says (None: private to the user),
    ``max_size`` in bytes and ``max_files`` in entries (0: no limit).
    """
    return LocalStorage(directory, umask, read_only, max_size, max_files, clock)


class LocalStorage:
    """See `Storage`; the module's essay says how."""

    def __init__(
        self,
        directory: str,
        umask: int | None,
        read_only: bool,
        max_size: int,
        max_files: int,
        clock: Callable[[], float],
    ) -> None:
        self.directory: Final = directory
        self.root: Final = f"{directory}/{SUBDIRECTORY}/{VERSION}"
        self.clock = clock
        self.counts = Counts()
        self._max_size = max_size
        self._max_files = max_files
        self._handle: Final = LocalHandle(self.root, umask, read_only, self.counts)
        self._memory = threading.Lock()
        self._touches: dict[str, float] = {}
        self._bad: set[bytes] = set()
        self._batch = 16

    # Reading: never waits for another thread, never writes.

    def get(self, key: bytes) -> bytes | None:
        """Return the value, or None: absent, broken, locked or unreadable (see `counts`)."""
        database = self._handle.database
        if database is None:
            database = self._handle.for_reading()
            if database is None:
                return None
        try:
            row = database.select(key.hex())
        except DatabaseErrors as error:
            self._handle.fault(database, error)
            return None
        if row is None:
            return None
        frame = row[0]
        if type(frame) is bytes:
            value = unseal(key, frame)
            if value is not None:
                return value
        return self._get_slowly(database, key, row)

    def _get_slowly(
        self, database: Database, key: bytes, row: tuple[object, object, int] | None
    ) -> bytes | None:
        # A writer that replaces an entry commits and then removes the old file: whoever read the
        # old row in between looks once more.
        for _ in range(2):
            if row is None:
                return None
            value = _payload(database, key, row[0], row[1])
            if value is not None:
                return value
            before = row
            try:
                row = database.select(key.hex())
            except DatabaseErrors as error:
                self._handle.fault(database, error)
                return None
            if row == before:
                break
        with self._memory:
            if key not in self._bad:
                self._bad.add(key)
                self.counts.add("corrupt")
        return None

    def lookup(self, key: bytes) -> Lookup:
        """Return the value or the reason why there is none."""
        before = [self.counts[name] for name in ("timeouts", "failures")]
        value = self.get(key)
        if value is not None:
            return Found(value)
        if self.counts["timeouts"] > before[0]:
            return TIMED_OUT
        if self.counts["failures"] > before[1] or self._handle.broken:
            return Failed(self._handle.reason)
        return MISSING

    def contains(self, key: bytes) -> bool:
        """Say whether there is an entry, without reading or proving it."""
        database = self._handle.database
        if database is None:
            database = self._handle.for_reading()
        if database is None:
            return False
        try:
            return database.contains(key.hex())
        except DatabaseErrors as error:
            self._handle.fault(database, error)
            return False

    def touch(self, key: bytes) -> None:
        """Remember that the entry was used; written by the next `flush`."""
        if len(self._touches) < _MOST_TOUCHES:
            self._touches[key.hex()] = self.clock()

    def alive(self) -> bool:
        """Say whether the directory still is the one that was opened (one stat)."""
        return self._handle.alive()

    def totals(self) -> Totals:
        """Return what the store holds; zeros when it cannot be read."""
        database = self._handle.database
        if database is None:
            database = self._handle.for_reading()
        if database is None:
            return Totals(0, 0)
        try:
            return Totals(*database.totals())
        except DatabaseErrors as error:
            self._handle.fault(database, error)
            return Totals(0, 0)

    def listing(self) -> Iterator[Listed]:
        """Every entry, in the order of the database; read in pieces, so nobody waits."""
        database = self._handle.database or self._handle.for_reading()
        rows: list[tuple[int, str, int, str, float]] = []
        last = 0
        while database is not None:
            try:
                rows = database.rows(last, _LISTED)
            except DatabaseErrors as error:
                self._handle.fault(database, error)
                return
            for row, key, size, tag, used in rows:
                last = row
                with suppress(ValueError):
                    yield Listed(bytes.fromhex(key), size, used, tag)
            if len(rows) < _LISTED:
                return

    # Writing: belongs on a thread that may wait.

    def set(
        self, key: bytes, value: bytes, namespace: str = "", *, used: float | None = None
    ) -> bool:
        """Store ``value``, replacing what was there; False if it was not stored."""
        limit = self._max_size
        if len(value) > MAX_VALUE or (limit and charge(len(value) + HEADER_SIZE) > limit):
            self.counts.add("failures")
            return False
        tag = os.fsencode(namespace) if namespace else None
        frame = seal(key, value)
        moment = self.clock() if used is None else used
        stored = self._write(lambda database: database.put(key.hex(), frame, tag, moment))
        if stored:
            self._bad.discard(key)
        return stored

    def link_file(
        self, key: bytes, source: bytes, namespace: str = "", *, clone: bool = False
    ) -> bool:
        """Store the file ``source`` as it is, by a second name or as a clone; False if it is not
        stored."""
        tag = os.fsencode(namespace) if namespace else None
        linked: list[bool] = []

        def put(database: Database) -> None:
            linked.append(database.put_link(key.hex(), source, tag, self.clock(), clone=clone))

        return self._write(put) and linked[-1]

    def file_of(self, key: bytes) -> bytes | None:
        """Return where the file of such an entry lies, or None."""
        database = self._handle.database
        if database is None:
            database = self._handle.for_reading()
        if database is None:
            return None
        try:
            return database.value_file(key.hex())
        except DatabaseErrors as error:
            self._handle.fault(database, error)
            return None

    def _write(self, put: Callable[[Database], None]) -> bool:
        # Once more if the first try shows that the database is damaged: then there is a new one.
        for _ in range(2):
            database = self._handle.for_writing()
            if database is None:
                return False
            try:
                database.begin_call()
                put(database)
            except DatabaseErrors as error:
                self._handle.fault(database, error)
                if not self._handle.broken:
                    return False
            else:
                self._evict_to_limits(database, time.monotonic() + _BUDGET)
                return True
        return False

    def delete(self, key: bytes) -> bool:
        """Remove the entry; True if there was one."""
        database = self._handle.for_writing(create=False)
        if database is None:
            return False
        try:
            return database.remove(key.hex())
        except DatabaseErrors as error:
            self._handle.fault(database, error)
            return False

    def flush(self, now: float | None = None) -> bool:
        """Write the remembered touches, within `MAX_WAIT`; False if some are left for later.

        ``now`` (seconds) bounds the times written: a clock that was wrong does not make an entry
        outlive all others.
        """
        if not self._touches and not self._bad:
            return True
        database = self._handle.for_writing(create=False)
        if database is None:
            if not self._handle.broken:
                self._touches.clear()
            return not self._touches
        try:
            database.begin_call()
            self._flush(database, now)
        except DatabaseErrors as error:
            self._handle.fault(database, error)
        return not self._touches

    def _flush(self, database: Database, now: float | None = None) -> None:
        deadline = time.monotonic() + _BUDGET - _SLICE
        self._remove_bad(database)
        while self._touches and time.monotonic() < deadline and database.may_wait():
            self._write_touches(database, now)

    def _write_touches(self, database: Database, now: float | None = None) -> None:
        batch = self._take_touches(now)
        try:
            database.touch_all(batch)
        except DatabaseErrors:
            for moment, key in batch:
                self._touches.setdefault(key, moment)
            raise

    def _take_touches(self, now: float | None) -> list[tuple[float, str]]:
        batch: list[tuple[float, str]] = []
        while self._touches and len(batch) < _TOUCHES:
            key, moment = self._touches.popitem()
            batch.append((moment if now is None else min(moment, now), key))
        return batch

    def _remove_bad(self, database: Database) -> None:
        with self._memory:
            keys, self._bad = self._bad, set()
        while keys and database.may_wait():
            key = keys.pop()

            def still_bad(value: object, filename: object, key: bytes = key) -> bool:
                return _payload(database, key, value, filename) is None

            try:
                database.remove(key.hex(), still_bad)
            except DatabaseErrors:
                with self._memory:
                    self._bad |= keys | {key}
                raise
        with self._memory:
            self._bad |= keys

    # Limits.

    def set_limits(self, max_size: int, max_files: int) -> None:
        """Change the limits (bytes, entries; 0 means none); the next store obeys them."""
        self._max_size = max_size
        self._max_files = max_files

    def _excess(self, database: Database, share: int) -> tuple[int, int]:
        """Return (bytes, entries) above the limits less a ``share``-th; 0 share: the limits."""
        size, entries = database.totals()
        max_size, max_files = self._max_size, self._max_files
        if share:
            max_size -= max_size // share
            max_files -= max_files // share
        return (
            max(0, size - max_size) if self._max_size else 0,
            max(0, entries - max_files) if self._max_files else 0,
        )

    def _evict_to_limits(self, database: Database, deadline: float | None) -> Totals:
        """Evict the oldest until below the limits or the deadline (monotonic seconds)."""
        evicted = Totals(0, 0)
        try:
            if not any(self._excess(database, 0)):
                return evicted
            if database.may_wait():
                self._flush(database)
            while database.may_wait() and any(excess := self._excess(database, _LOW_WATER)):
                batch = self._evict_batch(database, "oldest", (), excess)
                evicted = Totals(evicted.size + batch.size, evicted.entries + batch.entries)
                if not batch.entries or (deadline is not None and time.monotonic() >= deadline):
                    break
        except DatabaseErrors as error:
            self._handle.fault(database, error)
        if evicted.entries:
            self.counts.add("cleanups")
        return evicted

    def _evict_batch(
        self,
        database: Database,
        choice: str,
        parameters: tuple[object, ...],
        excess: tuple[int, int] = _EVERYTHING,
    ) -> Totals:
        started = time.monotonic()
        entries, size = database.evict(choice, parameters, self._batch, _covers(excess))
        taken = time.monotonic() - started
        if taken > _SLICE:
            self._batch = max(1, self._batch // 2)
        elif taken < _SLICE / 4:
            self._batch = min(_MAX_BATCH, self._batch * 2)
        self.counts.add("evicted", entries)
        return Totals(size, entries)

    def _evict_all(self, choice: str, parameters: tuple[object, ...], dry_run: bool) -> Totals:
        database = self._handle.for_writing(create=False)
        evicted = Totals(0, 0)
        if database is None:
            return evicted
        try:
            with database.patience(PATIENCE):
                self._write_all(database)
                if dry_run:
                    entries, size = database.measure(choice, parameters)
                    return Totals(size, entries)
                while (batch := self._evict_batch(database, choice, parameters)).entries:
                    evicted = Totals(evicted.size + batch.size, evicted.entries + batch.entries)
        except DatabaseErrors as error:
            self._handle.fault(database, error)
        if evicted.entries:
            self.counts.add("cleanups")
        return evicted

    def _write_all(self, database: Database) -> None:
        while self._touches:
            self._write_touches(database)
        self._remove_bad(database)

    def evict_older_than(
        self, seconds: float, namespace: str | None = None, *, dry_run: bool = False
    ) -> Totals:
        """Remove entries not used for ``seconds`` (of one namespace if given); return what went."""
        bound = self.clock() - seconds
        if namespace is None:
            return self._evict_all("older", (bound,), dry_run)
        return self._evict_all("tag and older", (os.fsencode(namespace), bound), dry_run)

    def evict_namespace(self, namespace: str, *, dry_run: bool = False) -> Totals:
        """Remove the entries stored under ``namespace``; return what went."""
        return self._evict_all("tag", (os.fsencode(namespace),), dry_run)

    # Maintenance: may take its time, though no transaction does.

    def clear(self) -> Totals:
        """Remove every entry; return what went."""
        database = self._handle.for_writing(create=False)
        if database is None:
            return Totals(0, 0)
        totals = self.totals()
        self._touches.clear()
        return totals if self._handle.replace(database) else Totals(0, 0)

    def cleanup(self, *, dry_run: bool = False) -> Totals:
        """Obey the limits, sweep what dead writers left, give space back; return what went."""
        database = self._handle.for_writing(create=False)
        evicted = Totals(0, 0)
        if database is None:
            return evicted
        try:
            with database.patience(PATIENCE):
                self._write_all(database)
                if dry_run:
                    return self._measure_excess(database)
                self._sweep(database, self.clock() - generations.ORPHAN_AGE)
                database.recount()
                evicted = self._evict_to_limits(database, None)
                while database.give_back(_VACUUM_PAGES):
                    pass
                database.checkpoint()
        except DatabaseErrors as error:
            self._handle.fault(database, error)
        return evicted

    def _measure_excess(self, database: Database) -> Totals:
        if not any(self._excess(database, 0)):
            return Totals(0, 0)
        excess = self._excess(database, _LOW_WATER)
        entries, size = database.measure("oldest", (), _covers(excess))
        return Totals(size, entries)

    def _sweep(self, database: Database, older_than: float) -> None:
        generations.remove_left_over(self.root, older_than)
        generations.remove_orphans(os.path.dirname(database.path), older_than, database.knows_file)

    def close(self) -> None:
        """Flush and let go of every descriptor. The next call opens again."""
        before = len(self._touches)
        while not self.flush() and len(self._touches) < before:
            before = len(self._touches)
        self._handle.close()


def _covers(excess: tuple[int, int]) -> Enough:
    """Return the test whether some entries and bytes make up for an excess (bytes, entries)."""
    return lambda entries, size: size >= excess[0] and entries >= excess[1]


def _payload(database: Database, key: bytes, value: object, filename: object) -> bytes | None:
    """Return the proven payload of a row, or None."""
    if type(filename) is bytes:
        try:
            value = database.read(filename)
        except (OSError, ValueError):
            return None
    return unseal(key, value) if type(value) is bytes else None
