"""The two tiers of a cache: what is done with the remote storages on behalf of a call.

    local        remote
    miss         miss      compile, store in both
    miss         hit       deliver, store locally
    hit          -         deliver; store remotely only with ``reshare``

With ``remote_only`` there is no local tier. A hit in the local tier never comes here, and nothing
of this is loaded where no remote storage is set.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from .cache import manifest, remote_storage
from .cache.manifest import ManifestEntry
from .cache.remote_backend import StorageFailed
from .cache.remote_lease import (
    ALONE_SECONDS,
    DONE,
    FAILED,
    FOLLOWED,
    LIFE_MS,
    NOT_FOLLOWED,
    Leasing,
    pause,
    read_value,
)
from .cache.remote_storage import Put, Visit
from .cache.result import Entry, Kind, ResultError, unpack
from .cache.storage import manifest_key, result_key
from .distribution import distributes
from .frame import Op
from .hot import keep_hot
from .job import Job
from .outcome import Outcome
from .record import replace
from .talk import Gone, Talk

if TYPE_CHECKING:
    from .call import Call
    from .resident import Resident


MOST_MS, MARGIN_MS = 600_000, 5000


def remote_of(job: Job, resident: Resident) -> Remote:
    """What this call has to do with its remote storages. Raises ConfigError."""
    if job.remote is None:
        job.remote = Remote(job, resident)
    return job.remote


def look_up(job: Job, talk: Talk, resident: Resident) -> Sequence[Op] | None:
    """The reply to a call that the local tier cannot serve, if the remote one can.

    Raises ConfigError."""
    remote = remote_of(job, resident)
    if not job.manifest_key or job.call.config.recache:
        return None
    talk.wait(remote.longest_ms)
    return remote.look_up()


class Remote:
    """The remote tier as one call sees it. Made on a thread that may wait. Raises ConfigError."""

    def __init__(self, job: Job, resident: Resident) -> None:
        call = job.call
        config = call.config
        self._job = job
        self._resident = resident
        self._remotes = resident.remotes.of(
            config, call.variables, call.request, call.log, stays=resident.stays
        )
        self._by_text = False
        # Somebody reads the log of this call, or nobody will be there to write behind its back.
        seen = bool(config.log_file or config.debug or config.stats_log)
        later = partial(_count_later, call) if config.stats else _uncounted
        self._visit = Visit(call.log, call.add, later, synchronous=seen)

    # Looking up.

    @property
    def longest_ms(self) -> int:
        """How long asking may take: so long the launcher has to wait."""
        return min(MOST_MS, int(1000 * self._remotes.longest) + MARGIN_MS)

    def look_up(self) -> Sequence[Op] | None:
        """The reply of a direct hit whose result or manifest the local tier does not have."""
        job = self._job
        if job.wanted:
            for entry, records in job.wanted:
                ops = self._result(entry, records)
                if ops is not None:
                    return ops
            return None
        key = manifest_key(job.manifest_key)
        for value in self._remotes.values(key, self._visit):
            ops = self._by_manifest(key, value)
            if ops is not None:
                return ops
        return None

    def _by_manifest(self, key: bytes, value: bytes) -> Sequence[Op] | None:
        job = self._job
        call = job.call
        try:
            entries = manifest.unpack(value)
        except manifest.ManifestError as problem:
            call.log(f"Manifest cannot be read: {problem}")
            call.add(remote_storage.ERROR)
            return None
        # Sizes and times of another machine's files (file_stat_matches) say nothing of ours: in two
        # checkouts of one release all times may be the same. They are not kept here, either, where
        # the next call would take them for its own.
        theirs = [replace(e, stats=()) if e.stats else e for e in entries[: manifest.MAX_ENTRIES]]
        new = [entry for entry in theirs if entry not in job.entries]
        hit: ManifestEntry | None = None
        ops: Sequence[Op] | None = None
        for entry in new:
            if entry.flags & manifest.NEEDS_TEXT:
                job.needs_text = True
                continue
            records = self._holds(entry)
            if records is None:
                continue
            ops = self._result(entry, records[0])
            if ops is not None:
                hit = entry
                break
        job.entries = _merged(job.entries, new, hit)
        self._keep(key, value if job.entries == entries else manifest.pack(job.entries))
        return ops

    def _holds(self, entry: ManifestEntry) -> tuple[tuple[bytes, ...] | None] | None:
        """The records of its witnesses in a tuple; None if it does not hold."""
        job, call = self._job, self._job.call
        if entry.flags & manifest.ELSEWHERE and not distributes(call):
            return None
        if entry.day and entry.day != job.day(job.started):
            return None
        verdict = self._resident.verifier.verify(entry, call.cwd, job.output_directories())
        if not verdict.holds:
            call.log(f"Entry does not hold: {os.fsdecode(verdict.reason)}")
            return None
        return (None if entry.day else verdict.records,)

    def _result(
        self, entry: ManifestEntry, records: tuple[bytes, ...] | None
    ) -> Sequence[Op] | None:
        job, call = self._job, self._job.call
        key = result_key(entry.result_key)
        keys = (manifest_key(job.manifest_key), key)
        if not call.config.remote_only and not job.wanted:
            value = call.cache.get(key)
            ops = None if value is None else job.delivery(value)
            if ops is not None:
                call.cache.storage.touch(key)
                call.count(Outcome.DIRECT_CACHE_HIT)
                job.count_local(hit=True)
                keep_hot(job, self._resident, keys, records)
                return ops
        ops = self._fetched(key)
        if ops is None:
            return None
        call.count(Outcome.DIRECT_CACHE_HIT)
        job.count_local(hit=False)
        keep_hot(job, self._resident, keys, records)
        if records is not None and self._resident.stays:
            call.cache.later(partial(_make_ready, job, self._resident))
        return ops

    # One of several machines compiles.

    def follow(self, talk: Talk) -> Sequence[Op] | None:
        """The reply made of what another machine compiles now; None where it is to be compiled
        here. Waits for him within bounds (cache/remote_lease.py). Raises Gone."""
        self._by_text = self._needs_text()
        if self._by_text:
            return None
        return self._follow(talk, manifest_key(self._job.manifest_key), self.look_up)

    def follow_text(
        self, talk: Talk, key: bytes, look_up: Callable[[], Sequence[Op] | None]
    ) -> Sequence[Op] | None:
        """The same for what can be found by its preprocessed text alone, as ``look_up`` does it;
        ``key`` is the result's. After `follow`."""
        if not self._by_text:
            return None
        return self._follow(talk, key, look_up)

    def _follow(
        self, talk: Talk, key: bytes, look_up: Callable[[], Sequence[Op] | None]
    ) -> Sequence[Op] | None:
        remotes, leases, config = self._remotes, self._remotes.leases, self._job.call.config
        name, value = key[1:], leases.value()
        alone = config.read_only or config.read_only_direct or config.recache
        if alone or leases.holds(name):
            return None
        found = remotes.leasing(key, self._visit)
        if found is None:
            return None
        place, backend = found
        began, limit = time.monotonic(), -1.0
        try:
            while True:
                now = backend.lease(name, value, LIFE_MS)
                if now == value:
                    self._visit.lease = leases.begin(backend, name, value, self._works)
                    return None
                holder = read_value(now)
                if holder is None:
                    ops = look_up() if now == DONE else None
                    if now is None and time.monotonic() - began < 1:  # it has gone just now
                        continue
                    return self._followed(began, ops)
                if limit < 0:
                    limit = leases.patience.left()
                    if not self._resident.stays:  # nobody adds up what all calls lose
                        limit = min(limit, ALONE_SECONDS)
                    talk.wait(int(limit * 1000) + self.longest_ms)
                since = time.monotonic()
                now = self._await(talk, backend, name, began + limit)
                waited = time.monotonic() - since
                ops = look_up() if now in (None, DONE) else None
                leases.patience.waited(waited, holder, helped=ops is not None)
                if ops is not None or now is not None:
                    return self._followed(began, ops)
        except StorageFailed as problem:
            remotes.lease_failed(place, problem, self._visit)
        return None

    def _needs_text(self) -> bool:
        """Whether the result can be found by the preprocessed text alone: then another's compile
        helps nobody who waits for an entry."""
        job = self._job
        asks_time = b"__TIME" in (job.source_text or b"")
        sloppy = "time_macros" in job.call.config.sloppiness
        return not job.manifest_key or job.needs_text or (asks_time and not sloppy)

    def _await(self, talk: Talk, backend: Leasing, name: bytes, until: float) -> bytes | None:
        """The lease's value when nobody has it any more, or the time is over. Raises Gone,
        StorageFailed."""
        began = time.monotonic()
        watched = select.poll()
        if talk.descriptor is not None:
            # A launcher says nothing while it waits: what comes is the end of its connection.
            watched.register(talk.descriptor, select.POLLIN)
        while True:
            now = time.monotonic()
            if watched.poll(1000 * max(0.0, min(pause(now - began), until - now))):
                raise Gone("nobody waits for it")
            value = backend.lease_value(name)
            if read_value(value) is None or time.monotonic() >= until:
                return value

    def _followed(self, began: float, ops: Sequence[Op] | None) -> Sequence[Op] | None:
        call = self._job.call
        what = "Compiled" if ops is not None else "Not compiled"
        call.log(f"{what} by another machine ({time.monotonic() - began:.3f} s waited)")
        call.add(NOT_FOLLOWED if ops is None else FOLLOWED)
        return ops

    def _works(self) -> bool:
        """Whether the launcher, and so its compiler, was not stopped by Ctrl-Z."""
        try:
            with open(f"/proc/{self._job.call.request.pid}/stat", "rb", buffering=0) as file:
                stat = file.read(512)
        except OSError:
            return True
        return stat.rpartition(b")")[2].split()[:1] not in ([b"T"], [b"t"])

    @contextmanager
    def leading(self) -> Iterator[None]:
        """While this machine compiles what others may wait for."""
        began = time.monotonic()
        end = b""
        try:
            yield
            end = FAILED
            self._remotes.leases.patience.compiled(time.monotonic() - began)
        finally:
            # Unless it waits for its result to be stored. Nothing came of it then; or the launcher
            # was killed, and the next one is to take it over.
            self._remotes.end_lease(self._visit, end)

    def result(self, key: bytes) -> Sequence[Op] | None:
        """The reply made of the result under ``key``, which the local tier does not have."""
        ops = self._fetched(key)
        if ops is not None:
            self._job.count_local(hit=False)
        return ops

    def _fetched(self, key: bytes) -> Sequence[Op] | None:
        job = self._job
        for value in self._values(key):
            try:
                entries = unpack(value)
                if job.delivery.output is not None and not any(map(_is_object, entries)):
                    raise ResultError("no object")  # collect.py stores none of that kind
            except ResultError as problem:
                job.call.log(f"Result cannot be read: {problem}")
                job.call.add(remote_storage.ERROR)
                continue
            # What says that it lies in a file of the store means one of ours.
            ops = (
                None
                if any(entry.kind is Kind.LINKED for entry in entries)
                else job.delivery.operations(entries)
            )
            if ops is not None:
                self._keep(key, value)
                return ops
        return None

    def _values(self, key: bytes) -> Iterator[bytes]:
        self._job.looked_up_result = True
        return self._remotes.values(key, self._visit)

    def _keep(self, key: bytes, value: bytes) -> None:
        """Store in the local tier what came from the remote one."""
        call = self._job.call
        if call.config.remote_only or call.config.read_only:
            return
        call.cache.put(key, value, call.config.namespace)
        call.add(Outcome.LOCAL_STORAGE_WRITE.value)

    # Storing.

    def put(self, key: bytes, value: bytes, *, overwrite: bool = True) -> None:
        """Have an entry stored by the next ``flush``."""
        self._visit.puts.append(Put(key, value, overwrite))

    def flush(self) -> None:
        """Send what was put; where nobody looks behind the call's back."""
        self._remotes.flush(self._visit)

    def reshare(self, key: bytes, value: bytes) -> None:
        """Have an entry of the local tier stored, unless it is there or lies in files."""
        if key[:1] == result_key(b""):
            try:
                entries = unpack(value)
            except ResultError:
                return
            if any(entry.kind is Kind.LINKED for entry in entries):
                self._job.call.log("Not putting in remote storage since it's not self-contained")
                return
        self.put(key, value, overwrite=False)

    def count_miss(self) -> None:
        """Count a compile that nobody had; ccache always asks for its result, too."""
        job = self._job
        job.call.add(Outcome.REMOTE_STORAGE_MISS.value)
        if not job.looked_up_result and not job.depends_only:
            key = result_key(job.manifest_key or job.base.key())
            for _ in range(self._remotes.answering(key, self._visit)):
                job.call.add(Outcome.REMOTE_STORAGE_READ_MISS.value)


def _is_object(entry: Entry) -> bool:
    return entry.kind is Kind.LINKED or (entry.kind is Kind.OBJECT and len(entry.data) > 0)


def _merged(
    ours: tuple[ManifestEntry, ...], new: Sequence[ManifestEntry], hit: ManifestEntry | None
) -> tuple[ManifestEntry, ...]:
    """One list of both, with the one that was just right in front."""
    merged: tuple[ManifestEntry, ...] = ()
    for entry in reversed((*ours, *new)):
        merged = manifest.add(merged, entry)
    return merged if hit is None else manifest.add(merged, hit)


def _make_ready(job: Job, resident: Resident) -> None:
    resident.watch_over(job.call.request)
    resident.prepare(job.call.request)


def _count_later(call: Call, name: str) -> None:
    call.cache.count({name: 1})


def _uncounted(_: str) -> None:
    pass
