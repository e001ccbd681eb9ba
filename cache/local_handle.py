"""Which generation's database is open now, and what a fault of it leads to.

A reader must not wait for another process: it opens what is there, or goes without. A writer may
make the first generation, or the next one in place of a damaged one. Between the two stands one
lock, for which a reader waits no longer than for SQLite.

A connection belongs to its thread and is never closed under another's hands: SQLite would free the
statement that the other is stepping through. Dropping a database lets go of the connections, and
each ends when nobody is inside it any more.
"""

import os
import threading
import time
from typing import Final

from . import generations, shared_files
from .local_database import DATABASE, Database, DatabaseErrors, Fault, classify
from .storage import LOCK_WAIT, PATIENCE, Counts

TAG_FILE: Final = "CACHEDIR.TAG"
TAG_TEXT: Final = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# This directory holds compiler outputs that can be made again.\n"
    b"# For information about cache directory tags see https://bford.info/cachedir/\n"
)

# A store that could not be opened is not tried again at once: a request may ask it several times.
_RETRY: Final = 0.1

_COUNTED: Final = {
    Fault.LOCKED: "timeouts",
    Fault.FULL: "full",
    Fault.DAMAGED: "failures",
    Fault.OTHER: "failures",
}


class LocalHandle:
    """The database of one cache directory, or None while there is none to be had."""

    def __init__(self, root: str, umask: int | None, read_only: bool, counts: Counts) -> None:
        self.root: Final = root
        self.read_only: Final = read_only
        self.database: Database | None = None
        self.reason = ""
        self._umask: Final = umask
        self._counts: Final = counts
        self._identity: tuple[int, ...] = ()
        self._damaged: str | None = None  # the path of a generation that is to be replaced
        self._retry_at = 0.0
        self._swept = False
        self._lock: Final = threading.RLock()

    def alive(self) -> bool:
        """Say whether the database is open and still lies where it was opened (one stat)."""
        database = self.database
        if database is None:
            return False
        if _identity(database) == self._identity:
            return True
        self.drop(database)
        return False

    @property
    def broken(self) -> bool:
        """Say whether a writer has to replace the database before anything can be read."""
        return self._damaged is not None and self.database is None

    def for_reading(self) -> Database | None:
        """Return the database, opened if that needs no waiting but for another thread that does."""
        if self.database is not None:
            return self.database
        # The first calls of a build come together: all but one would find nothing.
        if time.monotonic() < self._retry_at or not self._lock.acquire(timeout=LOCK_WAIT):
            return None
        try:
            return self._open()
        finally:
            self._lock.release()

    def for_writing(self, *, create: bool = True) -> Database | None:
        """Return the database if it can be written; one that is gone is opened anew.

        With ``create``, and where there is a damaged one, a generation is made.
        """
        if self.read_only:
            return None
        with self._lock:
            self.alive()
            database = self._open()
            if database is None and (create or self._damaged is not None):
                database = self._create()
            if database is not None and not self._swept:
                # A clear that was killed may have left gigabytes; looking costs one listing.
                self._swept = True
                generations.remove_left_over(self.root, time.time() - generations.ORPHAN_AGE)
        return database if database is not None and database.writable else None

    def _open(self) -> Database | None:
        if self.database is not None:
            return self.database
        path = generations.newest(self.root)
        if path is None or path == self._damaged:
            return None
        self._damaged = None
        writable = not self.read_only and _is_writable(path)
        database = Database(path, self._umask, writable=writable)
        try:
            database.totals()
            self._identity = _identity(database)
        except DatabaseErrors as error:
            self._retry_at = time.monotonic() + _RETRY
            self.fault(database, error)
            return None
        self.database = database
        return database

    def _create(self) -> Database | None:
        damaged = self._damaged
        try:
            shared_files.make_directories(self.root, self._umask)
            tag = f"{os.path.dirname(self.root)}/{TAG_FILE}"
            if not os.path.exists(tag):
                shared_files.replace(tag, TAG_TEXT, self._umask)
            if not self._publish(damaged):
                return None
        except DatabaseErrors as error:
            if self.count(error) is Fault.FULL and damaged is not None:
                # The damaged one may be what fills the disk.
                generations.retire(self.root, damaged)
            return None
        if damaged is not None:
            self._counts.add("rebuilt")
            generations.retire(self.root, damaged)
            self._damaged = None
        return self._open()

    def _publish(self, current: str | None, wait: float = LOCK_WAIT) -> bool:
        """Make a generation above ``current``, unless there is one; False if the lock is taken."""
        with shared_files.locked(f"{self.root}/lock", self._umask, wait) as held:
            if not held:
                self._counts.add("timeouts")
            elif generations.newest(self.root) in (current, None):
                generations.make_next(self.root, current, self._umask)
            return held

    def replace(self, database: Database) -> bool:
        """Put an empty generation in the place of ``database``'s; False if that failed."""
        current = os.path.dirname(database.path)
        with self._lock:
            try:
                if not self._publish(current, PATIENCE):
                    return False
            except DatabaseErrors as error:
                # On a full disk the old one has to go before there is room for the new one.
                if self.count(error) is not Fault.FULL:
                    return False
            self.drop(database)
            generations.retire(self.root, current)
            self._open()
            return True

    def drop(self, database: Database) -> None:
        """Let go of ``database``."""
        # Without the lock, for readers: at worst a new one is let go of as well, and opened again.
        if self.database is database:
            self.database = None
        database.close()

    def fault(self, database: Database, error: BaseException) -> None:
        """Count ``error`` (of `DatabaseErrors`), and let go of a database damaged or gone."""
        fault = self.count(error)
        if fault is Fault.LOCKED or fault is Fault.FULL:
            return
        missing = not os.path.isfile(database.path)
        if fault is Fault.DAMAGED or missing:
            if database.writable:
                self._damaged = os.path.dirname(database.path)
            else:
                self._retry_at = time.monotonic() + _RETRY
            self.drop(database)

    def count(self, error: BaseException) -> Fault:
        """Count ``error`` (of `DatabaseErrors`) and remember its text; return what it means."""
        fault = classify(error)
        self.reason = str(error)
        self._counts.add(_COUNTED[fault])
        return fault

    def close(self) -> None:
        """Let go of the database, if any; the next use opens again."""
        database = self.database
        if database is not None:
            self.drop(database)


def _identity(database: Database) -> tuple[int, ...]:
    """Return what changes when another database takes the place of this one; () if it is gone."""
    try:
        status = os.stat(database.path)
        if not database.immutable:
            return status.st_dev, status.st_ino
        # An immutable database is only read as long as nobody writes to it.
        return status.st_dev, status.st_ino, status.st_mtime_ns, _size(f"{database.path}-wal")
    except OSError:
        return ()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _is_writable(generation: str) -> bool:
    database = f"{generation}/{DATABASE}"
    return os.access(generation, os.W_OK, effective_ids=True) and (
        os.access(database, os.W_OK, effective_ids=True) or not os.path.exists(database)
    )
