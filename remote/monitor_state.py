"""What distccmon shows: a file per job in $DISTCC_DIR/state, rewritten at each phase.

    <state> ::= <size:u64 = 296> <magic:u64> <pid:u64> <file:128> <host:128> <slot:i32> <phase:i32>
                <next:u64 = 0>                  as a 64-bit little-endian machine lays it out

Texts are padded with NUL. The monitor hides a job whose process has ended, and removes a file that
was not written for 60 s; so a long job writes its own again now and then (`Job.touch`).
(struct dcc_task_state, src/state.h of distcc.)
"""

from __future__ import annotations

import os
from contextlib import suppress
from enum import IntEnum
from struct import Struct

_STATE = Struct("<QQQ128s128siiQ")
_MAGIC = 0x44494800


class Phase(IntEnum):
    """Where a job is."""

    STARTUP = 0
    BLOCKED = 1
    CONNECT = 2
    PREPROCESS = 3
    SEND = 4
    COMPILE = 5
    RECEIVE = 6
    DONE = 7


def pack_state(pid: int, file: bytes, host: bytes, slot: int, phase: Phase) -> bytes:
    """The content of a job's file; names are cut to what fits with a NUL behind it."""
    return _STATE.pack(_STATE.size, _MAGIC, pid, file[:127], host[:127], slot, phase, 0)


def unpack_state(data: bytes) -> tuple[int, bytes, bytes, int, Phase] | None:
    """The inverse; None for what is no state, or is one of another machine's layout."""
    if len(data) != _STATE.size:
        return None
    size, magic, pid, file, host, slot, phase, _ = _STATE.unpack(data)
    if (size, magic) != (_STATE.size, _MAGIC) or not 0 <= phase <= Phase.DONE or pid == 0:
        return None
    return pid, file.partition(b"\0")[0], host.partition(b"\0")[0], slot, Phase(phase)


class JobState:
    """One job's file, held open: some file systems make truncating and closing a file dear.
    Whatever goes wrong with it is nobody's trouble."""

    def __init__(self, directory: bytes, pid: int, source: bytes) -> None:
        self._pid = pid
        self._file = os.path.basename(source)
        self._path = b"%s/state/binstate_%d" % (directory, pid) if directory and pid else b""
        self._last = b""
        self._open = -1

    def enter(self, phase: Phase, host: str = "", slot: int = 0) -> None:
        """The job is in this phase now."""
        if self._path:
            name = host.encode(errors="surrogateescape")
            self._last = pack_state(self._pid, self._file, name, slot, phase)
            if self._open < 0:
                self.touch()
            else:
                with suppress(OSError):
                    os.pwrite(self._open, self._last, 0)

    def touch(self) -> None:
        """Say again what was said last, also to who has removed the file meanwhile."""
        if not self._last:
            return
        self._close()
        try:
            self._write()
        except FileNotFoundError:
            with suppress(OSError):
                os.makedirs(os.path.dirname(self._path), exist_ok=True)
                self._write()
        except OSError:
            self._path = self._last = b""

    def _write(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        self._open = os.open(self._path, flags, 0o666)
        os.write(self._open, self._last)

    def _close(self) -> None:
        if self._open >= 0:
            os.close(self._open)
            self._open = -1

    def leave(self) -> None:
        """The job has ended."""
        self._close()
        if self._last:
            with suppress(OSError):
                os.unlink(self._path)
