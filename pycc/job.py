"""A job: a call that can be cached, with everything that its lookup and its compile share."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from . import keying, native
from .basedir import BaseDirectories
from .cache.digest import FileDigests, digest_of, file_clock
from .cache.fingerprint import Fingerprint
from .cache.manifest import ManifestEntry
from .call import Call
from .compiler import Toolchain
from .delivery import NULL, Delivery
from .invocation import Invocation, Uncacheable
from .outcome import Outcome
from .record import made, mutable, record

if TYPE_CHECKING:
    from .parts import Parts
    from .searchchain import SearchChain
    from .tiers import Remote

_TIME_ZONE_LOCK = threading.Lock()
TICK_SECONDS, TICKS = 0.002, 13
"""Kernels stamp files with a clock that moves every 1 to 10 ms."""


class Witnesses:
    """What a call asked the file system, as records; ``settled`` while every answer is pinned."""

    def __init__(self, digests: FileDigests) -> None:
        self.records: list[bytes] = []
        self.settled = True
        self._digests = digests
        self._signatures: dict[bytes, native.Signature] = {}

    def signature(self, path: bytes) -> native.Signature:
        """Of one absolute path; taken once in this call."""
        found = self._signatures.get(path)
        if found is None:
            found = self._signatures[path] = native.signature(path)
            self.records.append(native.as_found(path, contents=False))
            if found.is_regular and not self._digests.settled(path, found, file_clock()):
                self.settled = False
        return found

    def exists(self, path: bytes) -> bool:
        """Whether there is anything, links followed."""
        return self.signature(path).exists

    def is_regular(self, path: bytes) -> bool:
        """Whether it is a regular file (or /dev/null, the empty source)."""
        return path == NULL or self.signature(path).is_regular

    def size_of(self, path: bytes) -> int:
        """Its size in bytes."""
        return self.signature(path).size

    def content(self, path: bytes) -> bytes | None:
        """The digest of a regular file, None when there is none."""
        return self.content_and_text(path)[0]

    def content_and_text(self, path: bytes) -> tuple[bytes | None, bytes | None]:
        """Its digest, and what is in it if it had to be read for that."""
        if path == NULL:
            return digest_of(b""), b""
        found = self.signature(path)
        got = self._digests.content(path, found) if found.is_regular else None
        return got or (None, None)

    def names(self, path: bytes) -> tuple[bytes, ...]:
        """The names in a directory."""
        found = native.signature(path)
        self.records.append(native.pack(native.SAME, path, found))
        if not self._digests.settled(path, found, file_clock()):
            self.settled = False
        try:
            return tuple(sorted(os.listdir(path)))
        except OSError:
            return ()

    def read(self, path: bytes, limit: int) -> bytes | None:
        """The content of a regular file of at most ``limit`` bytes."""
        if not self.signature(path).is_regular:
            return None
        got = self._digests.read(path, limit)
        return None if got is None else got[1]

    def can_be_written(self, path: bytes) -> bool:
        """Whether an output can be made there: a regular file, or none in a directory."""
        if path == NULL:
            return True
        found = native.signature(path, follow=False)
        self.records.append(native.pack(native.WRITABLE, path))
        if found.exists:
            return found.is_regular
        parent = os.path.dirname(path)
        return native.signature(parent).is_directory


@mutable
class Job:
    """``direct``, ``manifest_key`` and ``entries`` stay empty where direct mode is off."""

    call: Call
    invocation: Invocation
    toolchain: Toolchain
    delivery: Delivery
    base: Fingerprint
    source_digest: bytes
    source_text: bytes | None
    """If it had to be read."""
    start: int
    """ns by the file clock, before anything was looked at."""
    witnesses: Witnesses
    base_dir: BaseDirectories | None = None
    direct: Fingerprint | None = None
    manifest_key: bytes = b""
    entries: tuple[ManifestEntry, ...] = ()
    precompiled: tuple[bytes, ...] = ()
    """Precompiled headers that this compile may read, if it comes to one."""
    known_locally: bool = False
    """Whether the local tier had a manifest."""
    wanted: tuple[tuple[ManifestEntry, tuple[bytes, ...] | None], ...] = ()
    """Entries that hold, with the records of their witnesses, whose results are not in it."""
    remote: Remote | None = None
    """What this call has to do with remote storages, once it has."""
    looked_up_result: bool = False
    """Whether a tier that did not have it was asked for a result."""
    chain: SearchChain | None = None
    """The one of its headers as it was before the compile: for what may err."""
    needs_text: bool = False
    """An earlier compile found that direct mode cannot serve this source."""
    started: float = made(factory=time.time)
    """Seconds since 1970."""

    def start_after(self, changed: int) -> None:
        """Let the compile start in a later clock tick than ``changed`` (ns by the file clock): what
        changes in the tick in which it starts could have changed twice, without a trace."""
        for _ in range(TICKS):
            self.start = file_clock()
            if self.start > changed:
                break
            time.sleep(TICK_SECONDS)

    def output_directories(self) -> frozenset[bytes]:
        """The directories that this call writes into, as normal paths."""
        invocation = self.invocation
        names = [output.path for output in invocation.outputs]
        if invocation.output is not None:
            names.append(invocation.output)
        paths = (os.path.join(self.call.cwd, name) for name in names)
        return frozenset(os.path.normpath(os.path.dirname(path)) for path in paths)

    def search_directories(self) -> list[bytes]:
        """Where headers are looked for besides what the command line says."""
        variables = (self.call.variables.get(name, b"") for name in keying.SEARCH_VARIABLES)
        named = (directory for value in variables for directory in value.split(b":"))
        chain = self.toolchain.chain
        return [*chain.quote, *chain.bracket, *(d for d in named if d[:1] == b"/")]

    def moved(self) -> tuple[bytes, ...]:
        """The names of those directories that base_dir changes: they are in dependency files."""
        return () if self.base_dir is None else self.base_dir.moved(self.search_directories())

    @property
    def depends_only(self) -> bool:
        """Whether the compiler's dependencies take the place of preprocessed text."""
        return self.call.config.depend_mode and self.invocation.dependencies is not None

    def count_local(self, *, hit: bool) -> None:
        """Count what the local tier was asked for: the manifest, and the result, which it had if
        ``hit``; a compile that nobody had is counted as if it had asked for its result."""
        if self.call.config.remote_only:
            return
        asked = 2 if self.manifest_key else 1
        if self.depends_only and not (hit or self.looked_up_result):
            asked -= 1
        found = self.known_locally + hit
        for outcome, count in (
            (Outcome.LOCAL_STORAGE_READ_HIT, found),
            (Outcome.LOCAL_STORAGE_READ_MISS, asked - found),
            (Outcome.LOCAL_STORAGE_HIT, int(hit)),
            (Outcome.LOCAL_STORAGE_MISS, int(not hit)),
        ):
            if count > 0:
                self.call.add(outcome, count)

    def missed(self) -> list[Outcome]:
        """What a miss counts, as far as direct mode is concerned."""
        direct = [Outcome.DIRECT_CACHE_MISS] if self.manifest_key else []
        return [Outcome.CACHE_MISS, *direct]

    def day(self, now: float) -> bytes | None:
        """The date of ``now`` (seconds since 1970) in the client's time zone, as __DATE__ will say
        it; None when it cannot be known (a preloaded library such as faketime may tell the compiler
        another date)."""
        variables = self.call.variables
        if b"LD_PRELOAD" in variables:
            return None
        epoch = variables.get(b"SOURCE_DATE_EPOCH")
        if epoch is not None:
            return b"epoch " + epoch
        return local_day(variables.get(b"TZ"), now)


@record
class Several:
    """A call that is taken apart, and why it would not be cached as a whole."""

    call: Call
    parts: Parts
    otherwise: Uncacheable


def local_day(zone: bytes | None, now: float) -> bytes:
    """The date of ``now`` (seconds since 1970) in the time zone TZ names; None: the system's."""
    with _TIME_ZONE_LOCK:
        before = os.environb.get(b"TZ")
        _set_zone(zone)
        try:
            return time.strftime("%Y-%m-%d", time.localtime(now)).encode()
        finally:
            _set_zone(before)


def _set_zone(zone: bytes | None) -> None:
    if zone is None:
        os.environb.pop(b"TZ", None)
    else:
        os.environb[b"TZ"] = zone
    time.tzset()
