"""Memory that the server shares with the launchers which it answers.

Half a megabyte that goes through a socket is copied into it, out of it and into pages that the
launcher has to be given first: 0.6 ms of 3 for such a hit. Unpacked into a slot, anonymous memory
whose descriptor goes along with the reply, it is copied once, by the launcher into its file.

A slot belongs to one reply until the launcher that got it has closed its connection, which every
end of a process does; nobody is woken for that, it is asked when a slot is needed. When all slots
are taken, or the result is larger than one, the reply goes through the socket.
"""

from __future__ import annotations

import mmap
import os
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .cache.result import Room
from .record import record

if TYPE_CHECKING:
    from .ready import Ready

SLOT_SIZE = 4 << 20  # bytes
MOST_SLOTS = 6


class Slot:
    """One piece of memory, and who may be reading it."""

    __slots__ = ("fd", "lent", "memory", "reader")

    def __init__(self, size: int) -> None:
        self.fd = os.memfd_create("pycc")
        try:
            os.ftruncate(self.fd, size)
            self.memory = memoryview(mmap.mmap(self.fd, size))
        except OSError:
            os.close(self.fd)
            raise
        self.reader: socket.socket | None = None
        self.lent = False
        """Whether a thread is filling it."""

    def free(self) -> bool:
        """Whether nobody reads it any more."""
        if self.lent:
            return False
        reader = self.reader
        if reader is None:
            return True
        try:
            if reader.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                return False
        except BlockingIOError:
            return False
        except OSError:
            pass
        reader.close()
        self.reader = None
        return True


@record
class Large:
    """A reply that takes milliseconds to make, so that a thread of its own does it: ``make`` gives
    its parts, maybe with memory of their own, or None if it cannot be had, with a room of up to
    ``size`` bytes."""

    size: int
    make: Callable[[Room], Sequence[bytes] | Ready | None]


class Slots:
    """For one thread: ``take`` gives memory for the answer being made, ``taken`` ends that, and
    ``lend`` gives a slot to another thread, which fills it, sets its reader and gives it back."""

    def __init__(self, most: int = MOST_SLOTS, size: int = SLOT_SIZE) -> None:
        self._most, self._size = most, size
        self._slots: list[Slot] = []
        self._taken: Slot | None = None

    def take(self, size: int) -> memoryview | None:
        """``size`` bytes at the beginning of a free slot, or None."""
        slot = self._taken
        if size > self._size or slot is not None:
            return None
        for slot in self._slots:
            if slot.free():
                break
        else:
            slot = self._another()
        self._taken = slot
        return None if slot is None else slot.memory[:size]

    def _another(self) -> Slot | None:
        if len(self._slots) >= self._most:
            return None
        try:
            slot = Slot(self._size)
        except OSError:
            return None
        self._slots.append(slot)
        return slot

    def lend(self, size: int) -> Slot | None:
        """A slot of ``size`` bytes or more, until its ``lent`` is set back; None without one."""
        slot = None if self.take(size) is None else self.taken()
        if slot is not None:
            slot.lent = True
        return slot

    def taken(self) -> Slot | None:
        """The slot that this answer took; the next one may take it, too, if it has no reader."""
        slot, self._taken = self._taken, None
        return slot

    def sweep(self) -> None:
        """Close the connections of launchers that have ended."""
        for slot in self._slots:
            slot.free()
