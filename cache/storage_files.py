"""The tier of one file per entry, for file systems that machines share.

SQLite's write-ahead log needs memory that all its users share, which machines do not; so on NFS and
its like (see mounts.py) entries are plain files::

    pycc/files-1/ab/cd/R0123…     ; kind and rest of the digest abcd0123…
    pycc/files-1/totals           ; bytes and entries, in decimal, as last known
    pycc/files-1/lock             ; held while totals are written
    content ::= frame (storage.py) of: namespace size (2 bytes, big endian) namespace payload

An entry appears by rename, so it is whole or absent; its mtime says when it was last used. Nothing
is locked to read or to store. Totals are a running sum that every process adds to, and a walk over
the directories sets right. The limits are kept as ccache keeps them: while the cache is small by a
walk over everything, later by trimming the one of 256 directories that was just stored into, to its
share less a tenth. Keys are evenly spread, so all directories get their turn.
"""

import contextlib
import errno
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from ..pattern import pattern
from . import shared_files
from .local_database import new_name
from .storage import (
    HEADER_SIZE,
    MAX_VALUE,
    MISSING,
    Counts,
    Failed,
    Found,
    Listed,
    Lookup,
    Totals,
    is_full,
    seal,
    unseal,
)

ROOT: Final = "pycc/files-1"
ORPHAN_AGE: Final = 3600.0

_LEVEL: Final = pattern(r"[0-9a-f]{2}", re.ASCII)
_ENTRY: Final = pattern(r"[A-Z][0-9a-f]{4,200}", re.ASCII)
_GONE: Final = pattern(r"files-gone-[0-9a-f]{16}", re.ASCII)
_TOTALS: Final = pattern(rb"([0-9]{1,18}) ([0-9]{1,18})\n")
_BLOCK: Final = 4096
_BUDGET: Final = 0.050

# Up to here a walk over everything is quick enough to follow a store.
FULL_WALK: Final = 20_000
WALK_EVERY: Final = 4096
_DIRECTORIES: Final = 256

# Not a fault: the file is not there, or a server took it away while it was open.
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})


@dataclass(frozen=True, slots=True, order=True)
class _Entry:
    used: float
    path: str
    size: int


def open_files(
    directory: str,
    *,
    umask: int | None = None,
    read_only: bool = False,
    max_size: int = 0,
    max_files: int = 0,
    clock: Callable[[], float] = time.time,
) -> "FileStorage":
    """Return the tier of files of the cache directory; arguments as of `open_local`."""
    return FileStorage(directory, umask, read_only, max_size, max_files, clock)


class FileStorage:
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
        self.root: Final = f"{directory}/{ROOT}"
        self.clock = clock
        self.counts = Counts()
        self._umask: Final = umask
        self._read_only: Final = read_only
        self._max_size = max_size
        self._max_files = max_files
        self._identity: tuple[int, int] | None = None
        self._lock = threading.Lock()
        self._touches: dict[str, float] = {}
        self._bad: set[bytes] = set()
        self._delta = Totals(0, 0)
        self._stores = 0
        self._reason = ""

    # Reading.

    def get(self, key: bytes) -> bytes | None:
        """Return the value, or None: absent, broken or unreadable (see `counts`)."""
        frame = self._read(self._path(key))
        if frame is None:
            return None
        content = unseal(key, frame)
        if content is not None and len(content) >= 2:
            start = 2 + int.from_bytes(content[:2], "big")
            if len(content) >= start:
                return content[start:]
        with self._lock:
            if key not in self._bad:
                self._bad.add(key)
                self.counts.add("corrupt")
        return None

    def _read(self, path: str) -> bytes | None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                left = os.fstat(descriptor).st_size
                if left > MAX_VALUE + _BLOCK * 32:
                    return b""
                parts = []
                while left >= 0 and (part := os.read(descriptor, left + 1)):
                    parts.append(part)
                    left -= len(part)
                return b"".join(parts)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno not in _ABSENT:
                self._fault(error)
            return None

    def lookup(self, key: bytes) -> Lookup:
        """Return the value or the reason why there is none."""
        before = self.counts["failures"]
        value = self.get(key)
        if value is not None:
            return Found(value)
        return Failed(self._reason) if self.counts["failures"] > before else MISSING

    def contains(self, key: bytes) -> bool:
        """Say whether there is an entry, without reading or proving it."""
        return os.path.exists(self._path(key))

    def touch(self, key: bytes) -> None:
        """Remember that the entry was used; written by the next `flush`."""
        self._touches[self._path(key)] = self.clock()

    def alive(self) -> bool:
        """Say whether the directory still is the one that was used first (one stat)."""
        try:
            status = os.stat(self.root)
        except OSError:
            return False
        identity = (status.st_dev, status.st_ino)
        known = self._identity
        self._identity = identity
        return known is None or known == identity

    def totals(self) -> Totals:
        """Return what the store holds as far as is known without a walk."""
        known = self._known_totals()
        return Totals(
            max(0, known.size + self._delta.size), max(0, known.entries + self._delta.entries)
        )

    def listing(self) -> Iterator[Listed]:
        """Every entry, in the order of the directories."""
        for entry in self._entries():
            parent, name = os.path.split(entry.path)
            outer, second = os.path.split(parent)
            with contextlib.suppress(ValueError):
                digest = bytes.fromhex(os.path.basename(outer) + second + name[1:])
                namespace = _namespace_of(entry.path)
                yield Listed(name[:1].encode() + digest, _charge(entry.size), entry.used, namespace)

    def _known_totals(self) -> Totals:
        match = _TOTALS.fullmatch(self._read(f"{self.root}/totals") or b"")
        return Totals(int(match[1]), int(match[2])) if match else Totals(0, 0)

    # Writing.

    def set(
        self, key: bytes, value: bytes, namespace: str = "", *, used: float | None = None
    ) -> bool:
        """Store ``value``, replacing what was there; False if it was not stored."""
        if self._read_only:
            return False
        name = os.fsencode(namespace)[:0xFFFF]
        frame = seal(key, b"".join((len(name).to_bytes(2, "big"), name, value)))
        if len(value) > MAX_VALUE or (self._max_size and _charge(len(frame)) > self._max_size):
            self.counts.add("failures")
            return False
        path = self._path(key)
        try:
            old = self._size(path)
            try:
                shared_files.replace(path, frame, self._umask)
            except FileNotFoundError:
                shared_files.make_directories(os.path.dirname(path), self._umask)
                shared_files.replace(path, frame, self._umask)
            if used is not None:
                os.utime(path, (used, used))
        except OSError as error:
            self._fault(error)
            return False
        self._bad.discard(key)
        self._count(_charge(len(frame)) - _charge(old), 0 if old else 1)
        if self._identity is None:
            self.alive()
        self._trim(path)
        return True

    def link_file(
        self,
        key: bytes,  # noqa: ARG002
        source: bytes,  # noqa: ARG002
        namespace: str = "",  # noqa: ARG002
        *,
        clone: bool = False,  # noqa: ARG002
    ) -> bool:
        """Say no: a network's file systems are no place for files that may change in place."""
        return False

    def file_of(self, key: bytes) -> bytes | None:  # noqa: ARG002
        """Return None: there are no such entries."""
        return None

    def delete(self, key: bytes) -> bool:
        """Remove the entry; True if there was one."""
        return not self._read_only and self._unlink(self._path(key)) is not None

    def _unlink(self, path: str) -> int | None:
        """Remove an entry; return its size or None if it was not there."""
        try:
            size = os.stat(path, follow_symlinks=False).st_size
            os.unlink(path)
        except OSError as error:
            if error.errno not in _ABSENT:
                self._fault(error)
            return None
        self._count(-_charge(size), -1)
        return size

    def flush(self, now: float | None = None) -> bool:
        """Write the remembered touches, within `MAX_WAIT`; False if some are left for later."""
        deadline = time.monotonic() + _BUDGET
        if self._read_only:
            self._touches.clear()
            return True
        with self._lock:
            bad, self._bad = self._bad, set()
        for key in bad:
            frame = self._read(self._path(key))
            if frame is not None and unseal(key, frame) is None:
                self.delete(key)
        while self._touches and time.monotonic() < deadline:
            path, moment = self._touches.popitem()
            used = moment if now is None else min(now, moment)
            with contextlib.suppress(OSError):
                try:
                    os.utime(path, (used, used))
                except PermissionError:
                    # Another member's file: its group may set no time but the present.
                    os.utime(path)
        return self._write_totals() and not self._touches

    def _write_totals(self, exact: Totals | None = None) -> bool:
        with self._lock:
            delta, self._delta = self._delta, Totals(0, 0)
        if (exact is None and delta == Totals(0, 0)) or not os.path.isdir(self.root):
            return True
        with shared_files.locked(f"{self.root}/lock", self._umask) as held:
            if held:
                old = self._known_totals() if exact is None else exact
                change = delta if exact is None else Totals(0, 0)
                size = max(0, old.size + change.size)
                entries = max(0, old.entries + change.entries)
                try:
                    text = b"%d %d\n" % (size, entries)
                    shared_files.replace(f"{self.root}/totals", text, self._umask)
                except OSError as error:
                    self._fault(error)
                    held = False
            else:
                self.counts.add("timeouts")
        if not held and exact is None:
            self._count(delta.size, delta.entries)
        return held

    # Limits.

    def set_limits(self, max_size: int, max_files: int) -> None:
        """Change the limits (bytes, entries; 0 means none); the next store obeys them."""
        self._max_size = max_size
        self._max_files = max_files

    def _over(self, totals: Totals) -> bool:
        return bool(
            (self._max_size and totals.size > self._max_size)
            or (self._max_files and totals.entries > self._max_files)
        )

    def _trim(self, stored: str) -> None:
        totals = self.totals()
        self._stores += 1
        # The sum that everybody adds to may be lost or go astray; a walk sets it right.
        walk = self._stores % WALK_EVERY == 0
        if not walk and not self._over(totals):
            return
        if walk or totals.entries <= FULL_WALK:
            evicted = self._evict(self._limits(1.0))
        else:
            level = os.path.dirname(os.path.dirname(stored))
            entries = sorted(self._entries([level]))
            evicted = self._remove(_surplus(entries, self._limits(0.9 / _DIRECTORIES)), False)
        if evicted.entries:
            self.counts.add("cleanups")

    def _limits(self, share: float) -> tuple[float, float]:
        """Return the limits (bytes, entries) times ``share``; infinite where there is none."""
        return (
            self._max_size * share if self._max_size else float("inf"),
            self._max_files * share if self._max_files else float("inf"),
        )

    def _evict(self, limits: tuple[float, float]) -> Totals:
        entries = sorted(self._entries())
        size = sum(_charge(entry.size) for entry in entries)
        removed = self._remove(_surplus(entries, limits), False)
        self._write_totals(Totals(size - removed.size, len(entries) - removed.entries))
        return removed

    def _remove(self, entries: list[_Entry], dry_run: bool) -> Totals:
        size = count = 0
        for entry in entries:
            if dry_run or self._unlink(entry.path) is not None:
                size += _charge(entry.size)
                count += 1
        if not dry_run:
            self.counts.add("evicted", count)
        return Totals(size, count)

    def evict_older_than(
        self, seconds: float, namespace: str | None = None, *, dry_run: bool = False
    ) -> Totals:
        """Remove entries not used for ``seconds`` (of one namespace if given); return what went."""
        bound = self.clock() - seconds
        return self._evict_chosen(
            lambda entry: (
                entry.used < bound and (namespace is None or _has_namespace(entry.path, namespace))
            ),
            dry_run,
        )

    def evict_namespace(self, namespace: str, *, dry_run: bool = False) -> Totals:
        """Remove the entries stored under ``namespace``; return what went."""
        return self._evict_chosen(lambda entry: _has_namespace(entry.path, namespace), dry_run)

    def _evict_chosen(self, choose: Callable[[_Entry], bool], dry_run: bool) -> Totals:
        self._flush_all()
        if self._read_only:
            return Totals(0, 0)
        removed = self._remove([entry for entry in self._entries() if choose(entry)], dry_run)
        if removed.entries and not dry_run:
            self.counts.add("cleanups")
            self._write_totals()
        return removed

    # Maintenance.

    def clear(self) -> Totals:
        """Remove every entry; return what went."""
        if self._read_only:
            return Totals(0, 0)
        entries = list(self._entries())
        gone = f"{os.path.dirname(self.root)}/files-gone-{new_name()}"
        try:
            os.rename(self.root, gone)
        except OSError as error:
            if error.errno not in _ABSENT:
                self._fault(error)
            return Totals(0, 0)
        self._touches.clear()
        self._identity = None
        with self._lock:
            self._delta = Totals(0, 0)
        shutil.rmtree(gone, ignore_errors=True)
        return Totals(sum(_charge(entry.size) for entry in entries), len(entries))

    def cleanup(self, *, dry_run: bool = False) -> Totals:
        """Obey the limits, sweep what dead writers left, set the totals right."""
        self._flush_all()
        if self._read_only or not os.path.isdir(self.root):
            return Totals(0, 0)
        if dry_run:
            return self._remove(_surplus(sorted(self._entries()), self._limits(1.0)), True)
        self._sweep(self.clock() - ORPHAN_AGE)
        removed = self._evict(self._limits(1.0))
        if removed.entries:
            self.counts.add("cleanups")
        return removed

    def _flush_all(self) -> None:
        while not self.flush() and self._touches:
            pass

    def _sweep(self, older_than: float) -> None:
        for path, name in self._files():
            if shared_files.is_temporary(name) and _mtime(path) < older_than:
                with contextlib.suppress(OSError):
                    os.unlink(path)
        parent = os.path.dirname(self.root)
        for path, name in _listed(parent):
            if _GONE.fullmatch(name):
                shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        """Flush. There is nothing to let go of."""
        self.flush()

    # Files.

    def _path(self, key: bytes) -> str:
        digest = key[1:].hex()
        return f"{self.root}/{digest[:2]}/{digest[2:4]}/{chr(key[0])}{digest[4:]}"

    def _size(self, path: str) -> int:
        try:
            return os.stat(path, follow_symlinks=False).st_size
        except FileNotFoundError:
            return 0

    def _count(self, size: int, entries: int) -> None:
        with self._lock:
            self._delta = Totals(self._delta.size + size, self._delta.entries + entries)

    def _fault(self, error: OSError) -> None:
        self._reason = str(error)
        self.counts.add("full" if is_full(error) else "failures")

    def _files(self, levels: list[str] | None = None) -> Iterator[tuple[str, str]]:
        """Yield (path, name) of all files two directories deep, under ``levels`` if given."""
        if levels is None:
            levels = [path for path, name in _listed(self.root) if _LEVEL.fullmatch(name)]
        for level in levels:
            for inner, name in _listed(level):
                if _LEVEL.fullmatch(name):
                    yield from _listed(inner)

    def _entries(self, levels: list[str] | None = None) -> Iterator[_Entry]:
        for path, name in self._files(levels):
            if _ENTRY.fullmatch(name):
                with contextlib.suppress(OSError):
                    status = os.stat(path, follow_symlinks=False)
                    yield _Entry(status.st_mtime, path, status.st_size)


def _charge(size: int) -> int:
    """Return the bytes that a file of ``size`` bytes takes on disk."""
    return -(-size // _BLOCK) * _BLOCK


def _surplus(entries: list[_Entry], limits: tuple[float, float]) -> list[_Entry]:
    """Return the first of ``entries`` (oldest first) that must go for the rest to fit."""
    size, count = sum(_charge(entry.size) for entry in entries), len(entries)
    for index, entry in enumerate(entries):
        if size <= limits[0] and count <= limits[1]:
            return entries[:index]
        size -= _charge(entry.size)
        count -= 1
    return entries


def _has_namespace(path: str, namespace: str) -> bool:
    name = os.fsencode(namespace)
    wanted = len(name).to_bytes(2, "big") + name
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            return os.pread(descriptor, len(wanted), 12) == wanted
        finally:
            os.close(descriptor)
    except OSError:
        return False


def _namespace_of(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(HEADER_SIZE + 2 + 0xFFFF)
    except OSError:
        return ""
    size = int.from_bytes(head[HEADER_SIZE : HEADER_SIZE + 2], "big")
    return os.fsdecode(head[HEADER_SIZE + 2 : HEADER_SIZE + 2 + size])


def _mtime(path: str) -> float:
    try:
        return os.stat(path, follow_symlinks=False).st_mtime
    except OSError:
        return float("inf")


def _listed(path: str) -> list[tuple[str, str]]:
    try:
        with os.scandir(path) as entries:
            return [(entry.path, entry.name) for entry in entries]
    except OSError:
        return []
