"""The remote tier: what the storages of one setting are asked and told on behalf of a call.

What is stored is the frame of storage.py (which knows its key and its checksum) around the caller's
own bytes, so an entry that was damaged, cut or put under another's name is an error and no entry.

Reading happens on the call's thread, within time limits. Writing happens afterwards on threads of
the tier's own, so that no compile waits for it; whoever reads in between is served from what waits.
The result of a call is written before the manifest that leads to it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from ..errors import ConfigError
from ..record import made, mutable, record
from .remote_backend import Backend, Say, StorageFailed, StorageRefused
from .remote_breaker import Breaker
from .remote_lease import DONE, FAILED, Lease, Leases, Leasing
from .remote_settings import REQUEST_TIMEOUT, Shard, StorageSettings, shard_of
from .remote_signing import Signing, unsigned
from .storage import RESULT, seal, unseal

ERROR, TIMEOUT = "remote_storage_error", "remote_storage_timeout"
HIT, READ_HIT, READ_MISS = (
    "remote_storage_hit",
    "remote_storage_read_hit",
    "remote_storage_read_miss",
)
WRITE = "remote_storage_write"
NOT_WRITTEN = "pycc_remote_not_written"
"""Entries that were not sent because too much was waiting."""

UNTRUSTED = "pycc_remote_untrusted"
"""Entries that nobody signed who is trusted."""

WAITING_LIMIT = 64 << 20  # bytes that may wait to be written
WRITERS, WRITER_IDLE_SECONDS = 4, 5.0
_NOBODYS = bytes(32)


class Place:
    """One URL: its backend, and whether it is asked."""

    def __init__(self, shard: Shard, backend: Backend, *, watched: bool) -> None:
        self.shown = shard.url.shown()
        self.backend = backend
        self.breaker = Breaker(lambda: backend.get(_NOBODYS, _unsaid), watched=watched)


def _unsaid(_: str) -> None:
    pass


class RemoteStorage:
    """One storage of the setting, with its shards."""

    def __init__(
        self,
        settings: StorageSettings,
        make: Callable[[Shard], Backend],
        signing: Signing | None = None,
        *,
        watched: bool = True,
    ) -> None:
        self.settings = settings
        self.signing = signing
        self._places = {
            shard: Place(shard, make(shard), watched=watched) for shard in settings.shards
        }

    @property
    def places(self) -> Sequence[Place]:
        return tuple(self._places.values())

    def opened(self, key: bytes, found: bytes) -> bytes | None:
        """The frame of what was found; None if it is from nobody who is trusted."""
        return unsigned(found) if self.signing is None else self.signing.opened(key, found)

    def place(self, key: bytes) -> Place:
        """Where the entry lies; ``key`` as of storage.py."""
        shards = self.settings.shards
        return self._places[shards[0] if len(shards) == 1 else shard_of(key[1:], shards)]


@record
class Put:
    """An entry to be stored: ``key`` as of storage.py."""

    key: bytes
    value: bytes
    overwrite: bool


@mutable
class Visit:
    """One call's dealings with the tier. ``count`` is given the names of counters."""

    say: Say
    count: Callable[[str], None]
    later: Callable[[str], None]
    """As ``count``, for what happens when the call is over."""
    synchronous: bool = False
    """Somebody reads this call's log: nothing is to happen behind his back."""
    puts: list[Put] = made(factory=list)
    lease: Lease | None = None
    """Ends when the puts are stored."""
    failed: set[Place] = made(factory=set)


class Remotes:
    """All storages of one setting. Safe for several threads."""

    def __init__(
        self, storages: Sequence[RemoteStorage], warn: Callable[[str], None] = _unsaid
    ) -> None:
        self.storages = storages
        self._warn = warn
        self.leases = Leases()
        self._waiting: dict[bytes, bytes] = {}
        self._waiting_size = 0
        self._under_way = 0
        self._writers = 0
        self._changed = threading.Condition()
        self._work: queue.SimpleQueue[tuple[Visit, Sequence[Put]]] = queue.SimpleQueue()

    @property
    def places(self) -> Sequence[Place]:
        return [place for storage in self.storages for place in storage.places]

    # Reading.

    @property
    def longest(self) -> float:
        """Seconds that a manifest and its result may take to be had, or not."""
        return sum(
            2 * (REQUEST_TIMEOUT if limit is None else limit)
            for limit in (storage.settings.request_timeout for storage in self.storages)
        )

    def values(self, key: bytes, visit: Visit) -> Iterator[bytes]:
        """The values stored under ``key``, one storage after the other."""
        waiting = self._waiting.get(key)
        if waiting is not None:
            self._count_read(key, visit)
            yield waiting
            return
        for storage in self.storages:
            place = storage.place(key)
            if not self._may_ask(place, visit, "getting from"):
                continue
            start = time.monotonic()
            try:
                found = place.backend.get(key[1:], visit.say)
            except StorageFailed as problem:
                self._failed(place, problem, visit)
                continue
            took = f"({(time.monotonic() - start) * 1000:.2f} ms)"
            name = key[1:].hex()
            if found is None:
                visit.say(f"No {name} in {place.shown} {took}")
                visit.count(READ_MISS)
                continue
            frame = storage.opened(key, found)
            value = None if frame is None else unseal(key, frame)
            if value is None:
                what = "empty" if not found else "a bad" if frame else "an untrusted"
                visit.say(f"Got {what} entry for {name} from {place.shown} {took}")
                visit.count(ERROR)
                if found and frame is None:
                    visit.count(UNTRUSTED)
                continue
            visit.say(f"Retrieved {name} from {place.shown} {took}")
            self._count_read(key, visit)
            yield value

    def _count_read(self, key: bytes, visit: Visit) -> None:
        visit.count(READ_HIT)
        if key[:1] == RESULT:
            visit.count(HIT)

    def answering(self, key: bytes, visit: Visit) -> int:
        """How many storages would be asked for ``key``."""
        return sum(
            place not in visit.failed and place.breaker.failure() is None
            for place in (storage.place(key) for storage in self.storages)
        )

    # Writing.

    def flush(self, visit: Visit) -> None:
        """Have everything stored that the call wants stored."""
        puts, visit.puts = visit.puts, []
        if not puts:
            return
        if visit.synchronous:
            self._put_all(puts, visit)
            return
        size = sum(len(put.value) for put in puts)
        with self._changed:
            if self._waiting_size and self._waiting_size + size > WAITING_LIMIT:
                for _ in puts:
                    visit.later(NOT_WRITTEN)
                return
            self._waiting_size += size
            self._under_way += 1
            for put in puts:
                self._waiting[put.key] = put.value
            more = self._writers < min(WRITERS, self._under_way)
            self._writers += more
        lease, visit.lease = visit.lease, None
        behind = Visit(_unsaid, visit.later, visit.later, failed=visit.failed, lease=lease)
        self._work.put((behind, puts))
        if more:
            self._start()

    def _start(self) -> None:
        try:
            threading.Thread(target=self._write, daemon=True).start()
        except RuntimeError:  # no more threads to be had
            with self._changed:
                self._writers -= 1
            with suppress(queue.Empty):
                unsent, puts = self._work.get_nowait()
                self._end(puts)
                self.end_lease(unsent, FAILED)

    def _write(self) -> None:
        counted = True
        try:
            while True:
                try:
                    visit, puts = self._work.get(timeout=WRITER_IDLE_SECONDS)
                except queue.Empty:
                    with self._changed:
                        if self._under_way:
                            continue
                        self._writers -= 1
                        counted = False
                        return
                try:
                    self._put_all(puts, visit)
                finally:
                    self._end(puts)
        finally:
            # After a job that raised, which the thread's hook reports, another thread goes on.
            if counted:
                with self._changed:
                    self._writers -= 1

    def _end(self, puts: Sequence[Put]) -> None:
        with self._changed:
            for put in puts:
                self._waiting_size -= len(put.value)
                if self._waiting.get(put.key) is put.value:
                    del self._waiting[put.key]
            self._under_way -= 1
            self._changed.notify_all()

    def _put_all(self, puts: Sequence[Put], visit: Visit) -> None:
        lease, end = visit.lease, FAILED
        try:
            for put in puts:
                self._put(put, visit)
            failed = {id(place.backend) for place in visit.failed}
            if lease is not None and id(lease.backend) not in failed:
                end = DONE
        finally:
            self.end_lease(visit, end)

    def _put(self, put: Put, visit: Visit) -> None:
        name = put.key[1:].hex()
        frame: bytes | None = None
        for storage in self.storages:
            place = storage.place(put.key)
            signing = storage.signing
            if storage.settings.read_only or not (signing is None or signing.writes):
                scheme = storage.settings.scheme
                visit.say(f"Not putting in {scheme} storage since it is read-only")
                continue
            if not self._may_ask(place, visit, "putting in", writing=True):
                continue
            start = time.monotonic()
            try:
                frame = frame or seal(put.key, put.value)
                sent = frame if signing is None else signing.sign(put.key, frame)
                stored = place.backend.put(put.key[1:], sent, visit.say, overwrite=put.overwrite)
            except StorageFailed as problem:
                self._failed(place, problem, visit)
                continue
            except ConfigError as problem:  # the key has gone since it was first read
                self._failed(place, StorageRefused(str(problem)), visit)
                continue
            done = "Stored" if stored else "Did not have to store"
            took = f"({(time.monotonic() - start) * 1000:.2f} ms)"
            visit.say(f"{done} {name} in {place.shown} {took}")
            visit.count(WRITE)

    def written(self, seconds: float) -> bool:
        """Wait until everything is written that waits now; False when it took longer."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._under_way:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True

    def stop(self) -> None:
        """End the programs that were started for storages."""
        for place in self.places:
            with suppress(StorageFailed):
                place.backend.stop()

    def close(self, seconds: float) -> None:
        """Write what waits, for at most ``seconds``, and let go of everything."""
        self.written(seconds)
        for place in self.places:
            place.backend.close()

    # Leases: see remote_lease.py. The first storage that knows them gives them.

    def leasing(self, key: bytes, visit: Visit) -> tuple[Place, Leasing] | None:
        """Where the lease of the entry is to be had, if a result can be stored there."""
        if self.leases.refused:
            return None
        for storage in self.storages:
            place = storage.place(key)
            if storage.settings.read_only or not (
                storage.signing is None or storage.signing.writes
            ):
                continue
            backend = place.backend
            answers = place not in visit.failed and place.breaker.failure() is None
            if answers and isinstance(backend, Leasing) and backend.leases:
                return place, backend
        return None

    def lease_failed(self, place: Place, failure: StorageFailed, visit: Visit) -> None:
        """It could not be asked for a lease, or will give none."""
        if isinstance(failure, StorageRefused):
            visit.say(f"No lease of {place.shown}: {failure}")
            self.leases.refuse()
        else:
            self._failed(place, failure, visit)

    def end_lease(self, visit: Visit, end: bytes) -> None:
        """Let go of the call's lease, if it has one that does not wait for what it stores."""
        lease, visit.lease = visit.lease, None
        if lease is not None:
            self.leases.end(lease, end)

    # Failing.

    def _may_ask(self, place: Place, visit: Visit, what: str, *, writing: bool = False) -> bool:
        if place in visit.failed:
            visit.say(f"Not {what} {place.shown} since it failed earlier")
            return False
        failure = place.breaker.failure(writing=writing)
        if failure is None:
            return True
        visit.say(f"Not {what} {place.shown} since it failed earlier: {failure}")
        self._mark(place, failure, visit)
        return False

    def _failed(self, place: Place, failure: StorageFailed, visit: Visit) -> None:
        visit.say(str(failure))
        if place.breaker.trip(failure):
            refused = isinstance(failure, StorageRefused)
            what = "does not store" if refused else "is left alone until it answers"
            self._warn(f"Remote storage {place.shown} {what}: {failure}")
            if failure.timeout:
                # Who has begun to wait a moment ago would wait his whole time.
                place.backend.give_up()
        self._mark(place, failure, visit)

    def _mark(self, place: Place, failure: StorageFailed, visit: Visit) -> None:
        visit.say(f"Marking remote storage backend for {place.shown} as failed")
        visit.failed.add(place)
        visit.count(TIMEOUT if failure.timeout else ERROR)
