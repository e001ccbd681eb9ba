"""What every store of results promises: keys, answers, the sealed frame and the interface.

A store maps a key to opaque bytes. The bytes may come back wrong (a truncated file, a flipped bit,
a database whose index and table disagree after a power cut), so nothing is believed that does not
carry its own proof. The proof binds the *key* too: an intact value that lies under another's key is
as wrong as a broken one, and only a checksum that knows the key can tell.

Grammar of what is stored::

    frame    ::= magic checksum payload
    magic    ::= "pyc" version          ; version ::= 0x01
    checksum ::= 8 bytes, big endian    ; XXH3-64 of payload, seeded with the key's fold
    payload  ::= bytes                  ; the caller's, compressed or not

History: 1 first version.
"""

import errno
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

import xxhash

from ..record import record

MANIFEST: Final = b"M"
RESULT: Final = b"R"
FILE: Final = b"F"
DIGEST_SIZE: Final = 32

MAGIC: Final = b"pyc\x01"
HEADER_SIZE: Final = len(MAGIC) + 8

# Longer values are refused, at set and at get: one entry must never take a server's memory.
MAX_VALUE: Final = 1 << 30

# No call waits longer for a lock of another process. The part given to SQLite and to flock is less,
# because both sleep in steps and may end a step late.
MAX_WAIT: Final = 0.050
LOCK_WAIT: Final = 0.035

# Except that a command which somebody typed, and awaits, does its work even if a build is on.
PATIENCE: Final = 2.0

# What is created without a configured umask belongs to its user alone.
PRIVATE_UMASK: Final = 0o077

# What can go wrong, by name, as counted in `Storage.counts`.
FAULTS: Final = ("corrupt", "timeouts", "failures", "full", "rebuilt")
EVENTS: Final = ("evicted", "cleanups")


@record
class Found:
    """The entry is there and intact."""

    value: bytes


@record
class Missing:
    """There is no such entry."""


@record
class Failed:
    """The store could not say; ``reason`` is for the log."""

    reason: str


@record
class TimedOut:
    """Somebody else held the store for longer than `MAX_WAIT`."""


Lookup = Found | Missing | Failed | TimedOut

MISSING: Final = Missing()
TIMED_OUT: Final = TimedOut()


@record
class Totals:
    """What a store holds: ``size`` in bytes as charged against the limit, ``entries`` in number."""

    size: int
    entries: int


@record
class Listed:
    """One entry as a listing names it: ``size`` as charged against the limit, ``used`` in seconds
    since the epoch."""

    key: bytes
    size: int
    used: float
    namespace: str


def manifest_key(digest: bytes) -> bytes:
    """Return the key of the manifest named by ``digest`` (`DIGEST_SIZE` bytes)."""
    return MANIFEST + digest


def result_key(digest: bytes) -> bytes:
    """Return the key of the result named by ``digest`` (`DIGEST_SIZE` bytes)."""
    return RESULT + digest


def file_key(digest: bytes) -> bytes:
    """Return the key of the file that belongs to the result named by ``digest``."""
    return FILE + digest


def _seed(key: bytes) -> int:
    # Two keys of one store differ in the digest's first bytes or in the kind alone; the kind goes
    # into the top so that a manifest never passes for the result of the same digest.
    return int.from_bytes(key[1:9], "big") ^ (key[0] << 56)


def seal(key: bytes, payload: bytes) -> bytes:
    """Return the frame that is stored for ``payload`` under ``key``."""
    return b"".join((MAGIC, xxhash.xxh3_64_digest(payload, _seed(key)), payload))


def unseal(key: bytes, frame: bytes) -> bytes | None:
    """Return the payload of a stored frame; None if it is short, altered or another key's."""
    payload = frame[HEADER_SIZE:]
    if frame[:HEADER_SIZE] == MAGIC + xxhash.xxh3_64_digest(payload, _seed(key)):
        return payload
    return None


def is_full(error: OSError) -> bool:
    """Say whether ``error`` means that there is no room left: the disk or the user's quota."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


class Counts:
    """Faults and events since the last `take`; safe to use from several threads."""

    __slots__ = ("_counts", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(FAULTS + EVENTS, 0)

    def add(self, name: str, count: int = 1) -> None:
        """Count ``name``, one of `FAULTS` or `EVENTS`."""
        with self._lock:
            self._counts[name] += count

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def take(self) -> Mapping[str, int]:
        """Return the counts that are not zero, and start again from zero."""
        with self._lock:
            taken = {name: count for name, count in self._counts.items() if count}
            self._counts = dict.fromkeys(self._counts, 0)
        return taken

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}: {count}" for name, count in self._counts.items() if count)
        return f"<Counts [{shown}]>"


class Storage(Protocol):
    """One tier of storage. No method raises for a fault of the store: it counts and answers.

    Keys come from `manifest_key` and `result_key`. Times are seconds since the epoch. `get`,
    `touch` and `alive` may be called on a thread that must not wait; everything else writes and
    belongs on a thread of its own. The last four methods are commands and wait up to `PATIENCE`.
    """

    counts: Counts
    clock: Callable[[], float]

    def get(self, key: bytes) -> bytes | None:
        """Return the value, or None: absent, broken, locked or unreadable (see `counts`)."""

    def lookup(self, key: bytes) -> Lookup:
        """Return the value or the reason why there is none."""

    def set(
        self, key: bytes, value: bytes, namespace: str = "", *, used: float | None = None
    ) -> bool:
        """Store ``value``, replacing what was there; False if it was not stored.

        It counts as used now, or at ``used``."""

    def link_file(
        self, key: bytes, source: bytes, namespace: str = "", *, clone: bool = False
    ) -> bool:
        """Store the file ``source`` as it is, by a second name; False if it was not stored. A
        ``clone`` is another file that shares its blocks.

        Nothing proves its bytes: whoever has the first name can change them. `get` does not
        answer for such an entry.
        """

    def file_of(self, key: bytes) -> bytes | None:
        """Return where the file of such an entry lies, or None."""

    def delete(self, key: bytes) -> bool:
        """Remove the entry; True if there was one."""

    def contains(self, key: bytes) -> bool:
        """Say whether there is an entry, without reading or proving it."""

    def touch(self, key: bytes) -> None:
        """Remember that the entry was used; written by the next `flush`."""

    def flush(self, now: float | None = None) -> bool:
        """Write the remembered touches, within `MAX_WAIT`; False if some are left for later."""

    def alive(self) -> bool:
        """Say whether the directory still is the one that was opened (one stat).

        If not, it is let go of, and the next call opens what is there now. Ask once a request.
        """

    def totals(self) -> Totals:
        """Return what the store holds; zeros when it cannot be read."""

    def listing(self) -> Iterator[Listed]:
        """Every entry, in no particular order; what comes or goes meanwhile may be missing."""

    def set_limits(self, max_size: int, max_files: int) -> None:
        """Change the limits (bytes, entries; 0 means none); the next store obeys them."""

    def close(self) -> None:
        """Flush and let go of every descriptor. The next call opens again."""

    def evict_older_than(
        self, seconds: float, namespace: str | None = None, *, dry_run: bool = False
    ) -> Totals:
        """Remove entries not used for ``seconds`` (of one namespace if given); return what went."""

    def evict_namespace(self, namespace: str, *, dry_run: bool = False) -> Totals:
        """Remove the entries stored under ``namespace``; return what went."""

    def clear(self) -> Totals:
        """Remove every entry; return what went."""

    def cleanup(self, *, dry_run: bool = False) -> Totals:
        """Obey the limits, sweep what dead writers left, give space back; return what went."""
