"""Whether a storage is asked at all: one that failed is left alone until it has answered again.

A storage that is away must not cost every compile its time limit. The first request that fails
opens the breaker, and no compile asks until it is closed again. Who finds out is a thread that asks
for an entry which nobody has, in growing intervals, so that no compile ever waits for a storage
twice. It ends when nobody has wanted the storage for a while; the next compile then asks by itself.

An entry that nobody has may be answered where others are not (a disk that fails behind a web
server). A storage that is too late again soon after it was taken for well is left alone for longer
each time.

A storage that is there but refuses to store is still read; for a moment it is not written to.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .remote_backend import StorageFailed, StorageRefused

FIRST_SECONDS, LONGEST_SECONDS, FACTOR = 0.5, 30.0, 2.0
UNWANTED_SECONDS = 120.0
RELAPSE_SECONDS, RELAPSE_FACTOR, RELAPSE_LONGEST = 60.0, 4.0, 300.0
REFUSED_SECONDS, WARNING_SECONDS = 2.0, 60.0


class Breaker:
    """For several threads. ``probe`` raises StorageFailed while the storage does not answer."""

    def __init__(
        self,
        probe: Callable[[], object],
        *,
        watched: bool,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Without ``watched`` nobody looks whether it is back: this process ends soon."""
        self._probe = probe
        self._watched = watched
        self._sleep = sleep
        self._clock = clock
        self._failure: StorageFailed | None = None
        self._refused_until = self._warn_at = 0.0
        self._refusal: StorageFailed | None = None
        self._wanted = 0.0
        self._first, self._relapses_until = FIRST_SECONDS, 0.0
        self._lock = threading.Lock()

    def failure(self, *, writing: bool = False) -> StorageFailed | None:
        """Why the storage is not to be asked now; None: it is."""
        if self._failure is not None:
            self._wanted = self._clock()
            return self._failure
        return self._refusal if writing and self._clock() < self._refused_until else None

    def trip(self, failure: StorageFailed) -> bool:
        """Note a failure; True for one that is worth a warning."""
        if isinstance(failure, StorageRefused):
            now = self._clock()
            self._refused_until, self._refusal = now + REFUSED_SECONDS, failure
            first = now >= self._warn_at
            if first:
                self._warn_at = now + WARNING_SECONDS
            return first
        with self._lock:
            if self._failure is not None:
                return False
            self._failure = failure
            self._wanted = now = self._clock()
            if failure.timeout and now < self._relapses_until:
                self._first = min(self._first * RELAPSE_FACTOR, RELAPSE_LONGEST)
            else:
                self._first = FIRST_SECONDS
        if self._watched:
            try:
                threading.Thread(target=self.watch, daemon=True).start()
            except RuntimeError:  # no more threads to be had: the next call asks by itself
                self._failure = None
        return True

    def watch(self) -> None:
        """Ask until there is an answer, or nobody wants one."""
        pause = self._first
        try:
            while self._clock() - self._wanted < UNWANTED_SECONDS:
                self._sleep(pause)
                pause = min(pause * FACTOR, max(LONGEST_SECONDS, self._first))
                try:
                    self._probe()
                except StorageRefused:
                    break
                except StorageFailed:
                    continue
                break
        finally:  # whatever went wrong, the storage is not given up for good
            with self._lock:
                self._failure = None
                self._relapses_until = self._clock() + RELAPSE_SECONDS + self._first
