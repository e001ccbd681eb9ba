"""What a file holds: its BLAKE2b digest, read once and remembered by the file's signature.

A digest may be remembered only when the signature is sure to change with the content. A file that
was written within the last two seconds may be written again inside the same clock tick and keep
every time stamp, so the memo takes files whose mtime and ctime are both older than that, by the
clock that local file systems stamp with (CLOCK_REALTIME_COARSE). Network and FUSE file systems
stamp with somebody else's clock and cache attributes: their files are read again each time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Protocol

import xxhash

from ..blake import blake2b

DIGEST_SIZE = 20
SETTLED_NS = 2_000_000_000
DISABLING_COMMENT = b"ccache:disable"
MEMO_LIMIT = 60_000
BLOCK = 1 << 20  # bytes
CLOCK_REALTIME_COARSE = 5  # linux/time.h; the time module does not name it

LOCAL_FILE_SYSTEMS = frozenset(
    {
        0xEF53,  # ext2, ext3, ext4
        0x58465342,  # xfs
        0x9123683E,  # btrfs
        0x01021994,  # tmpfs
        0x858458F6,  # ramfs
        0x794C7630,  # overlay
        0xF2F52010,  # f2fs
        0x2FC12FC1,  # zfs
        0xCA451A4E,  # bcachefs
        0x73717368,  # squashfs
        0xE0F5E1E2,  # erofs
        0x9660,  # iso9660
    }
)


class Stat(Protocol):
    """The part of pycc.native.Signature that is used here."""

    @property
    def device(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def changed(self) -> int: ...
    @property
    def is_regular(self) -> bool: ...


def digest_of(data: bytes) -> bytes:
    """The digest by which contents are named everywhere."""
    return blake2b(data, digest_size=DIGEST_SIZE).digest()


def checksum(pieces: Iterable[bytes]) -> bytes:
    """The XXH3-128 of ``pieces``, one behind the other: what ccache prints for a file."""
    state = xxhash.xxh3_128()
    for piece in pieces:
        state.update(piece)
    return state.digest()


def file_clock() -> int:
    """Now, in ns, by the clock with which local file systems stamp their files."""
    return time.clock_gettime_ns(CLOCK_REALTIME_COARSE)


class FileDigests:
    """Digests by path, each with the signature under which it was read.

    ``signature_of`` and ``fs_type_of`` are the file system's shell, so that tests can fake it.
    Safe for several threads: every update is one dict operation.
    """

    def __init__(
        self,
        signature_of: Callable[[bytes], Stat],
        fs_type_of: Callable[[bytes], int],
        clock: Callable[[], int] = file_clock,
    ) -> None:
        self._signature_of = signature_of
        self._fs_type_of = fs_type_of
        self._clock = clock
        self._memo: dict[bytes, tuple[Stat, bytes]] = {}
        self._programs: dict[bytes, tuple[Stat, bytes]] = {}
        # The same header has as many paths as there are directories that it is included from
        # (a/../h.h, b/../h.h).
        self._by_file: dict[tuple[bytes, Stat], bytes] = {}
        self.disabling: set[bytes] = set()
        """Contents that say near their beginning that they must not be cached."""
        self._local_devices: dict[int, tuple[bool, int]] = {}

    def known(self, path: bytes, signature: Stat) -> bytes | None:
        """The remembered digest, if ``signature`` is still the file's own."""
        entry = self._memo.get(path)
        return entry[1] if entry is not None and entry[0] == signature else None

    def settled(self, path: bytes, signature: Stat, now: int) -> bool:
        """Whether this signature pins the content from ``now`` (ns, file clock) on."""
        return signature.changed < now - SETTLED_NS and self._is_local(path, signature.device, now)

    def _is_local(self, path: bytes, device: int, now: int) -> bool:
        known = self._local_devices.get(device)
        # A device number may be given to another mount later.
        if known is None or not 0 <= now - known[1] < 10_000_000_000:
            known = (self._fs_type_of(path) in LOCAL_FILE_SYSTEMS, now)
            self._local_devices[device] = known
        return known[0]

    def read(self, path: bytes, limit: int = 1 << 30) -> tuple[bytes, bytes, Stat] | None:
        """Digest, content and signature of a regular file, or None (no such file, not regular,
        over ``limit`` bytes, or changing while it is read)."""
        now = self._clock()
        before = self._signature_of(path)
        if not before.is_regular or before.size > limit:
            return None
        try:
            with open(path, "rb", buffering=0) as file:
                data = file.read(before.size + 1)
                while len(data) < before.size:
                    more = file.read(before.size + 1 - len(data))
                    if not more:
                        break
                    data += more
        except OSError:
            return None
        if len(data) != before.size or self._signature_of(path) != before:
            return None
        digest = digest_of(data)
        self._remember(path, before, digest, now)
        if DISABLING_COMMENT in data[:4096]:
            self.disabling.add(digest)
        return digest, data, before

    def program(self, path: bytes, signature: Stat) -> bytes | None:
        """What tells a program, or a library, from any other: its XXH3-128, in a twentieth of the
        time (a compiler has 50 MB). None if it cannot be read, or is changing.

        Who can make two that collide gains nothing by it: to poison a cache he has to have his own
        run, and what runs can write into the cache."""
        known = self._programs.get(path)
        if known is not None and known[0] == signature:
            return known[1]
        now, state, left = self._clock(), xxhash.xxh3_128(), signature.size
        block = memoryview(bytearray(BLOCK))
        try:
            with open(path, "rb", buffering=0) as file:
                while size := file.readinto(block):
                    state.update(block[:size])
                    left -= size
        except OSError:
            return None
        if left or self._signature_of(path) != signature:
            return None
        digest = state.digest()
        if self.settled(path, signature, now):
            self._programs[path] = signature, digest
        return digest

    def content(self, path: bytes, signature: Stat) -> tuple[bytes, bytes | None] | None:
        """(digest, content if it had to be read) of a file whose signature was just taken."""
        known = self.known(path, signature)
        if known is None:
            known = self._by_file.get((path[path.rfind(b"/") + 1 :], signature))
            if known is not None:
                self._remember(path, signature, known, self._clock())
        if known is not None:
            return known, None
        got = self.read(path)
        return (got[0], got[1]) if got is not None and got[2] == signature else None

    def digest(self, path: bytes, signature: Stat) -> bytes | None:
        """The digest of a file whose signature was just taken, from memory or by reading."""
        got = self.content(path, signature)
        return None if got is None else got[0]

    def _remember(self, path: bytes, signature: Stat, digest: bytes, now: int) -> None:
        if self.settled(path, signature, now):
            if len(self._memo) >= MEMO_LIMIT:
                self.forget()
            self._memo[path] = (signature, digest)
            self._by_file[path[path.rfind(b"/") + 1 :], signature] = digest

    def forget(self) -> None:
        """Drop everything (the server's memory is over its limit)."""
        self._memo.clear()
        self._programs.clear()
        self._by_file.clear()

    def __len__(self) -> int:
        return len(self._memo)


def real_path(path: bytes) -> bytes:
    """The path without links; the path itself where it cannot be resolved."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return path
