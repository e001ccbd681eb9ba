"""One conversation with a launcher: operations out, reports in.

compile.py is written against ``Talk`` alone, so that the same code runs behind a socket, in
process (PYCC_RESIDENT=0) and in tests with a scripted launcher.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from .frame import (
    HEADER,
    FrameError,
    Op,
    Report,
    Run,
    Wait,
    frame_length,
    read_report,
    write_reply,
)

if TYPE_CHECKING:
    import socket

GIVEN_MS = 10_000  # what follows is on its way
REPORT_LIMIT_SECONDS = 24 * 3600.0  # a compile may take long; a dead launcher closes its socket


class Gone(Exception):
    """The launcher has left (killed, or it gave up waiting): nobody wants the answer."""


class NotHere(Exception):
    """This caller must not block: do the same again, or ``go_on``, where it may (a thread of its
    own)."""

    def __init__(self, go_on: Callable[[Talk], Sequence[Op]] | None = None) -> None:
        super().__init__()
        self.go_on = go_on


class Talk(Protocol):
    """What compile.py may say to a launcher."""

    @property
    def descriptor(self) -> int | None:
        """Of the connection, which becomes readable when the launcher goes; None without one."""
        ...

    def run(self, command: Run, meanwhile: Callable[[], None] | None = None) -> Report:
        """Have ``command`` run; ``meanwhile`` is called at its beginning. Raises Gone, NotHere."""
        ...

    def may_block(self) -> None:
        """Raises NotHere on a thread that answers others too."""
        ...

    def hand_over(self, go_on: Callable[[Talk], Sequence[Op]]) -> Sequence[Op]:
        """What ``go_on`` gives, called where it may block. Raises NotHere."""
        ...

    def release(self, ops: Sequence[Op]) -> bool:
        """End the launcher's call with ``ops`` while the caller still has work to do, and returns
        no operations; False where the launcher has to wait for that."""
        ...

    def wait(self, ms: int) -> None:
        """Tell the launcher that the answer takes up to ``ms`` milliseconds more."""
        ...

    def give(self, ops: Sequence[Op]) -> None:
        """Have ``ops`` carried out while more are to come. Raises Gone, NotHere."""
        ...


class HereTalk(Talk):
    """A Talk whose commands are this process's own children: nobody waits for an answer."""

    @property
    def descriptor(self) -> int | None:
        return None

    def may_block(self) -> None:
        return

    def hand_over(self, go_on: Callable[[Talk], Sequence[Op]]) -> Sequence[Op]:
        return go_on(self)

    def release(self, ops: Sequence[Op]) -> bool:
        return False

    def wait(self, ms: int) -> None:
        return

    def give(self, ops: Sequence[Op]) -> None:
        raise Gone("nobody is there to carry out anything")


class LoopTalk:
    """On the loop's thread nothing may block: every attempt to talk raises NotHere."""

    descriptor: int | None = None

    def run(self, command: Run, meanwhile: Callable[[], None] | None = None) -> Report:
        raise NotHere

    def may_block(self) -> None:
        raise NotHere

    def hand_over(self, go_on: Callable[[Talk], Sequence[Op]]) -> Sequence[Op]:
        raise NotHere(go_on)

    def release(self, ops: Sequence[Op]) -> bool:
        raise NotHere

    def wait(self, ms: int) -> None:
        raise NotHere

    def give(self, ops: Sequence[Op]) -> None:
        raise NotHere


class SocketTalk:
    """Over a connected, blocking Unix socket, on a thread of its own."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.descriptor: int | None = connection.fileno()
        self.released = False

    def may_block(self) -> None:
        return

    def hand_over(self, go_on: Callable[[Talk], Sequence[Op]]) -> Sequence[Op]:
        return go_on(self)

    def release(self, ops: Sequence[Op]) -> bool:
        self._send(ops)
        self.released = True
        return True

    def wait(self, ms: int) -> None:
        self._send([Wait(ms)])

    def give(self, ops: Sequence[Op]) -> None:
        self._send([*ops, Wait(GIVEN_MS)])

    def run(self, command: Run, meanwhile: Callable[[], None] | None = None) -> Report:
        self._send([command])
        try:
            if meanwhile is not None:
                meanwhile()
        finally:  # whatever comes of that: the command must not run once more
            report = self._report()
        return report

    def _report(self) -> Report:
        try:
            return read_report(self._receive())
        except (OSError, FrameError) as problem:
            raise Gone(str(problem)) from problem

    def _send(self, ops: Sequence[Op]) -> None:
        try:
            self._connection.settimeout(10.0)
            self._connection.sendall(write_reply(ops))
        except OSError as problem:
            raise Gone(str(problem)) from problem

    def _receive(self) -> bytes:
        self._connection.settimeout(REPORT_LIMIT_SECONDS)
        frame = bytearray()
        while len(frame) < HEADER.size:
            frame += self._some(HEADER.size - len(frame) + 65536)
        length = frame_length(frame)
        while len(frame) < length:
            frame += self._some(length - len(frame))
        if len(frame) != length:
            raise FrameError("more than one frame")
        return bytes(frame)

    def _some(self, most: int) -> bytes:
        data = self._connection.recv(min(most, 1 << 20))
        if not data:
            raise Gone("the launcher closed the connection")
        return data
