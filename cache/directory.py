"""One cache directory as a server uses it: its store, its counters, and one thread that writes.

A compile never waits for the store. ``put`` makes the value visible to this server at once and
leaves the writing to the thread; what has not been written when the process is killed is lost,
which costs a miss. Touches and counters are collected in memory and written by ``tick`` and
``drain`` on the same thread.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from . import shared_files
from .aside import Aside
from .statistics import Statistics
from .storage import Storage

STORE_TRIES, STORE_PAUSE = 6, 0.1  # seconds
PENDING_LIMIT = 256 << 20  # bytes that may wait for the writer; what comes on top is not stored


class CacheDirectory:
    """Opened for one set of options; safe for several threads.

    ``root`` is the directory in which everything of ours lies."""

    def __init__(
        self, root: str, storage: Storage, statistics: Statistics, umask: int | None = None
    ) -> None:
        self.aside = Aside(root, umask)
        self._root = root
        self._umask = umask
        self._identity: tuple[int, int] | None = None
        self._held: int | None = None
        self._holding = threading.Lock()
        self._gone = False
        self._tries = STORE_TRIES
        self.replaced()
        self.storage = storage
        self.statistics = statistics
        self._pending: dict[bytes, bytes] = {}
        self._pending_size = 0
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None

    @property
    def root(self) -> str:
        """The directory in which everything of ours lies."""
        return self._root

    def replaced(self) -> bool:
        """Whether the directory was removed or replaced since it was first seen (one stat).

        Once it was, it stays so: whoever asks next opens another. The writing thread asks before
        each job, so that nothing of the old contents comes back in a new directory."""
        if self._gone:
            return True
        try:
            found = os.stat(self._root)
            now: tuple[int, int] | None = (found.st_dev, found.st_ino)
        except OSError:
            now = None
        if self._identity is None:
            self._identity = None if now is None else self._hold()
        elif self._identity != now:
            self._gone = True
        return self._gone

    def _hold(self) -> tuple[int, int] | None:
        """The identity of the directory, kept open: else its successor might get its number."""
        with self._holding:
            if self._held is None:
                try:
                    self._held = os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                except OSError:
                    return None
            found = os.fstat(self._held)
            return found.st_dev, found.st_ino

    def _let_go(self) -> None:
        with self._holding:
            held, self._held = self._held, None
        if held is not None:
            os.close(held)

    def _establish(self) -> None:
        """Have the directory before anything waits for it: what is meant for one that is removed
        in the meantime must not end up in its successor."""
        if self._identity is None and not self._gone:
            with suppress(OSError):
                shared_files.make_directories(self._root, self._umask)
            self.replaced()

    def get(self, key: bytes) -> bytes | None:
        """The value, from what waits to be written or from the store."""
        return self._pending.get(key) or self.storage.get(key)

    def put(self, key: bytes, value: bytes, namespace: str = "") -> bool:
        """Have ``value`` stored; False when too much is waiting already."""
        self._establish()
        with self._lock:
            if self._pending_size + len(value) > PENDING_LIMIT:
                return False
            self._pending_size += len(value)
            self._pending[key] = value
        self.later(lambda: self._store(key, value, namespace))
        return True

    def _store(self, key: bytes, value: bytes, namespace: str) -> None:
        try:
            if not self.replaced():
                self._set(key, value, namespace)
                self.replaced()  # this may have made it: see its removal from now on
        finally:
            with self._lock:
                self._pending_size -= len(value)
                if self._pending.get(key) is value:
                    del self._pending[key]

    def _set(self, key: bytes, value: bytes, namespace: str) -> None:
        """Store, more than once while somebody else holds the store for a moment: nobody waits for
        this thread. Who holds it for long makes us give up at once until he lets go."""
        for left in range(self._tries - 1, -1, -1):
            held = self.storage.counts["timeouts"]
            if self.storage.set(key, value, namespace):
                self._tries = STORE_TRIES
                return
            if self.storage.counts["timeouts"] == held:
                return
            if left:
                time.sleep(STORE_PAUSE)
        self._tries = 1

    def link_file(
        self, key: bytes, source: bytes, namespace: str = "", *, clone: bool = False
    ) -> bool:
        """Have the file ``source`` in the store by a second name, at once; False if it is not."""
        self._establish()
        return not self.replaced() and self.storage.link_file(key, source, namespace, clone=clone)

    def delete(self, key: bytes) -> None:
        """Have an entry removed."""
        self._pending.pop(key, None)
        self.later(lambda: self._delete(key))

    def _delete(self, key: bytes) -> None:
        self.storage.delete(key)

    def count(self, counts: Mapping[str, int]) -> None:
        """Add to the counters; written with the next tick."""
        self._establish()
        self.statistics.add(counts)

    def later(self, job: Callable[[], None]) -> None:
        """Run ``job`` on the writing thread, after everything that was asked for before; never in
        a directory that is gone."""
        if self._gone:
            return
        with self._lock:
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, daemon=True)
                self._writer.start()
        self._jobs.put(job)

    def _write(self) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                job()
        finally:
            # After a job that raised, which the thread's hook reports, another thread goes on.
            with self._lock:
                self._writer = None

    def flush(self) -> None:
        """Write counters and touches; on the writing thread or when there is none."""
        if not self.replaced():
            self.storage.flush()
            self.statistics.flush()
            self.replaced()

    def tick(self) -> None:
        """Have counters and touches written soon."""
        self.later(self.flush)

    def drain(self, timeout: float = 10.0) -> None:
        """Wait until everything asked for so far is written, at most ``timeout`` seconds."""
        if self._gone:
            return
        done = threading.Event()
        self.later(self.flush)
        self.later(done.set)
        done.wait(timeout)

    def abandon(self) -> None:
        """The directory is gone: what was not written belongs nowhere."""
        self._gone = True
        self.statistics.forget()
        self._let_go()
        self._jobs.put(None)

    def close(self) -> None:
        """Write everything and stop the thread."""
        writer = self._writer
        if writer is None and self._jobs.empty():
            self.flush()
        else:
            self.drain()
        self._jobs.put(None)
        if writer is not None:
            writer.join(10.0)
        self.storage.close()
        self._let_go()
