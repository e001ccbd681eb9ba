"""Watching system headers and programs, so that a hit need not stat every one of them.

A hit asks about hundreds of files below /usr that change when a package is installed. inotify
tells of such a change, and asking it is one system call. It is sound only where nothing can
change a file behind its back, so a record is *watched* only if

* its path lies in a system directory on a local file system of a kind that reports everything
  (not overlay, whose lower files can be edited behind it; not network or FUSE);
* the file's own inode is watched: an edit through another hard link, and the making of such a
  link, are reported there; and
* every directory on the way is watched, on the way as named and as resolved: a renamed parent, a
  switched link, a file renamed over another are reported there.

A mount over any of them is reported by /proc/self/mountinfo. What neither inotify nor a stat
signature sees is a store through a shared mapping that moves no time stamp (docs name the limit).

The kernel queues an event before the call that caused it returns. So if the queue is empty *now*,
and a record was found true after its watches had been laid, it is true now. Any event at all makes
everything be asked again once, and the watches be laid again (a replaced file has another inode).
"""

from __future__ import annotations

import ctypes
import os
import select
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

from . import native

SYSTEM = (b"/usr/", b"/lib/", b"/lib64/", b"/lib32/", b"/opt/", b"/bin/", b"/etc/ld.so.cache")
WATCHABLE_FILE_SYSTEMS = frozenset(
    {
        0xEF53,  # ext2, ext3, ext4
        0x58465342,  # xfs
        0x9123683E,  # btrfs
        0x01021994,  # tmpfs
        0xF2F52010,  # f2fs
    }
)
MOST_WATCHES = 16_000

_MASK = 0x2 | 0x4 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800
"""IN_MODIFY, ATTRIB, MOVED_FROM, MOVED_TO, CREATE, DELETE, DELETE_SELF, MOVE_SELF."""
_DONT_FOLLOW = 0x02000000
_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000


def is_system(record: bytes) -> bool:
    """Whether a record is of the kind that can be watched."""
    kind, path = native.kind_and_path(record)
    return kind == native.SAME and path.startswith(SYSTEM)


class Watch:
    """``generation`` names a time in which nothing that is watched has changed."""

    def __init__(
        self, fs_type: Callable[[bytes], int] = native.fs_type, *, enabled: bool = True
    ) -> None:
        self._fs_type = fs_type
        self._watched: set[bytes] = set()
        self._refused: set[bytes] = set()
        self._generation = 0
        self._lock = threading.Lock()
        self._fd = -1
        self._poll = select.poll()
        if not enabled:
            return
        with suppress(OSError, AttributeError):
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._mounts = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
            self._fd = self._libc.inotify_init1(_NONBLOCK_CLOEXEC)
        if self._fd >= 0:
            self._poll.register(self._fd, select.POLLIN)
            self._poll.register(self._mounts, select.POLLPRI | select.POLLERR)

    def generation(self) -> int:
        """The generation of this moment; -1 where nothing can be watched."""
        if self._fd < 0:
            return -1
        with self._lock:
            if self._poll.poll(0):
                self._generation += 1
                self._watched.clear()
                self._refused.clear()
                with suppress(BlockingIOError):
                    while os.read(self._fd, 65536):
                        pass
            return self._generation

    def covers(self, record: bytes) -> bool:
        """Whether this SAME record is watched, laying the watches if they are missing.

        A record that is covered must still be asked once *after* this."""
        path = native.kind_and_path(record)[1]
        if self._fd < 0 or not is_system(record):
            return False
        with self._lock:
            if path in self._refused:
                return False
            if all(self._lay(place) for place in _ways(path)):
                return True
            self._refused.add(path)
            return False

    def _lay(self, place: bytes) -> bool:
        if place in self._watched:
            return True
        if len(self._watched) >= MOST_WATCHES:
            return False
        if self._fs_type(place) not in WATCHABLE_FILE_SYSTEMS:
            return False
        if self._libc.inotify_add_watch(self._fd, place, _MASK | _DONT_FOLLOW) < 0:
            return False
        self._watched.add(place)
        return True

    def close(self) -> None:
        """Let go of the queue."""
        if self._fd >= 0:
            os.close(self._fd)
            os.close(self._mounts)
            self._fd = -1


def _ways(path: bytes) -> Iterable[bytes]:
    """The file, and every directory that decides where its name leads: parents of the name as it
    stands, of each link on the way, and of what the links lead to."""
    found: dict[bytes, None] = {}
    pending = [path]
    for _ in range(40):
        if not pending:
            break
        current = pending.pop()
        walked = b""
        for part in current.split(b"/")[1:]:
            found[walked or b"/"] = None
            if part in (b"", b"."):
                continue
            walked = os.path.dirname(walked) if part == b".." else walked + b"/" + part
            # A link's own directory is in the list already; where it leads is walked too.
            with suppress(OSError):
                target = os.readlink(walked)
                pending.append(os.path.join(os.path.dirname(walked), target))
                walked = os.path.realpath(walked)
                pending.append(walked)
    real = os.path.realpath(path)
    found[real] = None
    return found
