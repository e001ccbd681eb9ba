"""How much memory the texts of all connections may take together.

A connection is read before its job has a turn, and there are several connections to a turn; a body
of 4 MB may unpack to 1 GiB. So some tens of them would take whatever the machine has. Texts of a
usual size are not counted, and nobody waits for them: a large one waits until others have gone, and
is refused if none goes. One alone always has room, as large as the protocol's limits let it be.

What is counted is what a text will take at the moment at which it is about to be taken: the bytes
on the wire when their number was said, and the most to which they can grow just before they are
unpacked, which is soon corrected. Whoever sends slowly holds no more than he sends.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from .protocol import ProtocolError

SIZE = 2 << 30
USUAL = 16 << 20
"""Larger than all but generated texts; as many as there are connections come on top of SIZE."""
PATIENCE = 60.0


class NoRoom(ProtocolError):
    """Too much is on its way already."""


class Room:
    """Safe for several threads."""

    def __init__(self, size: int = SIZE, *, usual: int = USUAL, patience: float = PATIENCE) -> None:
        self.size, self.usual, self.patience = size, usual, patience
        self.taken = 0
        self.changed = threading.Condition()

    def share(self) -> Share:
        """What one connection takes; to be closed."""
        return Share(self)


class Share:
    """The part of a room that one connection has; for one thread."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.take(-self._held)

    def take(self, count: int) -> None:
        """Have ``count`` bytes more, or fewer; waits for them. Raises NoRoom."""
        room = self._room
        with room.changed:
            before, after = self._counted(self._held), self._counted(self._held + count)

            def fits() -> bool:
                others = room.taken - before
                return not others or others + after <= room.size

            if after > before and not room.changed.wait_for(fits, room.patience):
                message = f"no room for a text of {self._held + count} bytes beside the others"
                raise NoRoom(message)
            self._held += count
            room.taken += after - before
            if after < before:
                room.changed.notify_all()

    def _counted(self, size: int) -> int:
        return size if size > self._room.usual else 0
