"""The counters of a cache directory, on disk and in memory.

A server counts in memory and writes every now and then; so several servers and one-shot calls add
to one small file, each under its lock, each by making the file anew::

    file  ::= "pycc statistics 1\\n" entry* "end\\t" number "\\n"   ; the number of entries
    entry ::= name "\\t" number "\\n"
    name  ::= [a-z0-9_]{1,64}

A file that does not read exactly so counts as zeros: statistics are worth no error and no retry. It
is not synced, for the same reason. What cannot be written now stays in memory for the next time.

The names are ccache's (see statistics_text.py); our own begin with ``pycc_``.
"""

import contextlib
import fcntl
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from ..pattern import pattern
from . import shared_files
from .storage import LOCK_WAIT

FILE_NAME: Final = "stats"
UPDATED: Final = "stats_updated_timestamp"
ZEROED: Final = "stats_zeroed_timestamp"

_HEADER: Final = b"pycc statistics 1\n"
_FILE: Final = pattern(
    re.escape(_HEADER) + rb"((?:[a-z0-9_]{1,64}\t[0-9]{1,20}\n)*)end\t([0-9]{1,5})\n"
)
_NAME: Final = pattern(r"[a-z0-9_]{1,64}", re.ASCII)
_MAX_FILE: Final = 1 << 16
_MAX_COUNT: Final = (1 << 63) - 1

# A user who zeroes waits for another's flush; a build does not.
_PATIENCE: Final = 2.0


def encode(counters: Mapping[str, int]) -> bytes:
    """Return the file's bytes; zeros and names outside the grammar are left out."""
    lines = [
        b"%s\t%d\n" % (name.encode(), min(count, _MAX_COUNT))
        for name, count in sorted(counters.items())
        if count > 0 and _NAME.fullmatch(name)
    ]
    return b"%s%send\t%d\n" % (_HEADER, b"".join(lines), len(lines))


def decode(data: bytes) -> dict[str, int]:
    """Return the counters of a file's bytes; none at all if anything is wrong with them."""
    match = _FILE.fullmatch(data)
    if match is None:
        return {}
    pairs = [line.split(b"\t") for line in match[1].splitlines()]
    counters = {name.decode(): int(count) for name, count in pairs}
    return counters if len(pairs) == int(match[2]) == len(counters) else {}


def add_up(counters: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Return the sums; below zero nothing counts. Timestamps do not add: the later one stays."""
    result = dict(counters)
    for name, count in more.items():
        old = result.get(name, 0)
        result[name] = max(old, count) if name in (UPDATED, ZEROED) else max(0, old + count)
    return result


class Statistics:
    """The counters of one cache directory; safe to use from several threads and processes.

    ``directory`` is the cache directory, ``umask`` as in `open_local`. Nothing here raises.
    """

    def __init__(
        self,
        directory: str,
        *,
        umask: int | None = None,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path: Final = f"{directory}/pycc/{FILE_NAME}"
        self._umask: Final = umask
        self._read_only: Final = read_only
        self._clock: Final = clock
        self._lock: Final = threading.Lock()
        # Held while counts are on their way from memory to the file: who reads or zeroes then
        # would miss them, or have them come afterwards.
        self._moving: Final = threading.Lock()
        self._pending: dict[str, int] = {}

    def add(self, counts: Mapping[str, int]) -> None:
        """Count in memory; written by the next `flush`."""
        with self._lock:
            for name, count in counts.items():
                self._pending[name] = self._pending.get(name, 0) + count
            if counts:
                self._pending[UPDATED] = int(self._clock())

    def forget(self) -> None:
        """Drop what is in memory: the directory that it belongs to is gone."""
        with self._lock:
            self._pending = {}

    @property
    def pending(self) -> bool:
        """Say whether anything waits for `flush`."""
        return bool(self._pending)

    def flush(self) -> bool:
        """Add what is in memory to the file; False if it could not be done now and stays."""
        return self._update(LOCK_WAIT, add_up)

    def read(self) -> dict[str, int]:
        """Return all counters that are not zero: the file's and those still in memory."""
        with self._moving, self._lock:
            return add_up(self._read_file(), self._pending)

    def zero(self) -> bool:
        """Forget all counters, note the time; False if the file could not be written.

        What describes the cache's contents is not kept here but asked of the store, so ccache's
        rule that ``-z`` leaves it alone needs no care.
        """
        now = int(self._clock())
        return self._update(_PATIENCE, lambda _old, _new: {ZEROED: now, UPDATED: now}, force=True)

    def _update(
        self,
        wait: float,
        change: Callable[[Mapping[str, int], Mapping[str, int]], dict[str, int]],
        *,
        force: bool = False,
    ) -> bool:
        with self._moving:
            with self._lock:
                if not self._pending and not force:
                    return True
                if self._read_only:
                    return False
                taken, self._pending = self._pending, {}
            # Not under the first lock: `add` is called on threads that must not wait for a file.
            if self._rewrite(wait, lambda old: change(old, taken)):
                return True
            with self._lock:
                self._pending = add_up(taken, self._pending)
            return False

    def _rewrite(self, wait: float, change: Callable[[dict[str, int]], dict[str, int]]) -> bool:
        try:
            shared_files.make_directories(os.path.dirname(self._path), self._umask)
            with shared_files.locked(f"{self._path}.lock", self._umask, wait) as held:
                if held:
                    shared_files.replace(self._path, encode(change(self._read_file())), self._umask)
                return held
        except OSError:
            return False

    def _read_file(self) -> dict[str, int]:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return decode(os.read(descriptor, _MAX_FILE))
            finally:
                os.close(descriptor)
        except OSError:
            return {}


def append_to_log(path: str, entry: bytes, umask: int | None) -> bool:
    """Append one call's `statistics_text.log_entry` to the statistics log; False if it failed."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o666 if umask is None else 0o666 & ~umask)
        try:
            # Appending is atomic on local file systems; elsewhere the lock makes it so, and where
            # there are no locks the log is still better than none.
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shared_files.write_all(descriptor, entry)
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return True
