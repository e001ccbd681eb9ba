"""Replies that lie ready: a hot call is answered without its result being unpacked again.

Small replies are kept as bytes. For a large one the result lies unpacked in anonymous memory of
its own, whose descriptor goes along with the reply as one of a slot does (sharing.py), and which
nobody writes any more: any number of launchers may read it, also after it was dropped here. Half
of what a warm build of half-megabyte objects costs is unpacking, so those of the last minutes are
kept, up to a limit; what was not asked for in that time is dropped.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Callable, Hashable, Sequence

from .cache.result import Room
from .frame import Op, Shared, reply_parts

BYTES_SIZE, LARGEST_BYTES = 8 << 20, 128 << 10  # of replies kept whole
READY_SIZE, LARGEST_READY = 64 << 20, 4 << 20  # bytes of results kept unpacked
MOST_READY = 200
"""Each has a descriptor, of which a process has a thousand or so."""
READY_SECONDS = 300.0


class Ready:
    """A reply and the memory that goes along with it; ``size`` in bytes."""

    __slots__ = ("fd", "parts", "size", "used")

    def __init__(self, fd: int, parts: Sequence[bytes], size: int) -> None:
        self.fd = fd
        self.parts = parts
        self.size = size
        self.used = time.monotonic()

    def __del__(self) -> None:
        # Whoever holds the reply has an open descriptor; a number could be given anew.
        os.close(self.fd)


def make_ready(
    deliver: Callable[[Room], Sequence[Op] | None], size: int
) -> Ready | Sequence[bytes] | None:
    """The reply of ``deliver(room)``, with up to ``size`` bytes beside it or in itself; None if
    there is none, or no memory to be had."""
    try:
        writable = os.memfd_create("pycc")
        try:
            os.ftruncate(writable, size)
            memory = memoryview(mmap.mmap(writable, size))
            fd = os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(writable)
    except OSError:
        return None
    try:
        ops = deliver(lambda wanted: memory[:wanted] if wanted <= size else None)
        parts = None if ops is None else reply_parts(ops)
        if parts is None or not any(op.__class__ is Shared for op in ops or ()):
            os.close(fd)
            return parts
        return Ready(fd, parts, size)
    except BaseException:
        os.close(fd)
        raise


class Replies:
    """By the names of calls. One thread asks, others may keep and clear."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._small: dict[Hashable, tuple[object, bytes]] = {}
        self._small_size = 0
        self._large: dict[Hashable, tuple[object, Ready]] = {}

    def get(self, name: Hashable, call: object) -> bytes | Ready | None:
        """The reply to this very call: one to the call before it under the same name would be its
        older object."""
        small = self._small.get(name)
        if small is not None and small[0] is call:
            return small[1]
        large = self._large.get(name)
        if large is None or large[0] is not call:
            return None
        large[1].used = time.monotonic()
        return large[1]

    def has_room(self, size: int) -> bool:
        """Whether a large reply may be kept."""
        kept = list(self._large.values())
        fits = sum(ready.size for _, ready in kept) + size <= READY_SIZE
        return fits and size <= LARGEST_READY and len(kept) < MOST_READY

    def keep(self, name: Hashable, call: object, reply: bytes | Ready) -> None:
        """Keep a reply, a large one if there is room, a small one instead of others."""
        with self._lock:
            _, small = self._small.pop(name, (None, b""))
            self._small_size -= len(small)
            self._large.pop(name, None)
            if isinstance(reply, Ready):
                if self.has_room(reply.size):
                    self._large[name] = (call, reply)
                return
            if self._small_size + len(reply) > BYTES_SIZE:
                self._small, self._small_size = {}, 0
            self._small[name] = (call, reply)
            self._small_size += len(reply)

    def sweep(self, now: float) -> None:
        """Drop the large ones that nobody asked for; ``now`` of time.monotonic."""
        if not self._large:
            return
        with self._lock:
            for name, (_, ready) in list(self._large.items()):
                if now - ready.used > READY_SECONDS:
                    del self._large[name]

    def clear(self) -> None:
        with self._lock:
            self._small, self._small_size = {}, 0
            self._large = {}
