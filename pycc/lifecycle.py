"""How a server is born and how it leaves: the names beside the socket and the lock over them.

In ``<runtime dir>/pycc`` (mode 0700, ours) lie, for each server, ``<build>-<identity>`` (the
socket), ``….lock`` (taken to start and to leave, so that no starter sees half a change) and
``….log`` (stderr); ``server`` links to the program for launchers that were copied elsewhere, and
``fallbacks`` collects the reasons for which launchers ran the compiler without us.

Files of a running compile lie in a directory in memory if there is one: making a file on a disk may
take a millisecond, and every miss makes two.

A new build has another socket name, so it never meets an old server; it asks the old ones of the
same identity to leave by removing their sockets, which every server watches.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .blake import blake2b
from .native import fs_type

LOG_LIMIT = 1 << 20  # bytes
BACKLOG = 4096
MEMORY = "/dev/shm"  # noqa: S108  # directories there are ours alone or not used
TMPFS = 0x01021994  # statfs(2)
MEMORY_FREE = 1 << 30  # bytes; a container's may be too small for preprocessed texts


ABANDONED = "abandoned"
ABANDONED_SECONDS = 3600.0


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _hold(directory: Path) -> int:
    """A descriptor by which ``directory`` is locked; -1 when its server lives or it is gone."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return -1
    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(fd)
        if found.st_uid == os.geteuid() and os.path.samestat(found, os.lstat(directory)):
            return fd
    os.close(fd)
    return -1


def memory_for(directory: Path) -> Path | None:
    """Where directories in memory may be made instead of below ``directory``, or None."""
    with suppress(OSError):
        found = os.statvfs(MEMORY)
        wide = found.f_bavail * found.f_frsize >= MEMORY_FREE
        if wide and fs_type(MEMORY.encode()) == TMPFS != fs_type(os.fsencode(directory)):
            return Path(MEMORY)
    return None


def mark_of(directory: Path) -> str:
    """What tells the directories in memory of one runtime directory from others'."""
    return f"pycc-{os.geteuid()}-{blake2b(os.fsencode(directory), digest_size=4).hexdigest()}"


def _is_finished(directory: Path) -> bool:
    """Whether nobody needs ``directory`` any more, whose server is dead.

    The compiles of a server that was killed go on, and gcc opens its dependency file at their end.
    Nothing says when that was, so the directory is marked when it is first met like this, and goes
    when the mark has become old."""
    mark = directory / ABANDONED
    try:
        return time.time() - mark.stat().st_mtime > ABANDONED_SECONDS
    except OSError:
        with suppress(OSError):
            mark.touch()
        return False


class Place:
    """The files of one server, by the path of its socket."""

    def __init__(self, socket_path: str) -> None:
        self.socket = Path(socket_path)
        self.lock = Path(socket_path + ".lock")
        self.log = Path(socket_path + ".log")
        self.directory = self.socket.parent
        self.fallbacks = self.directory / "fallbacks"
        self.memory = memory_for(self.directory)
        self.temporary = self._below_runtime = Path(f"{socket_path}.{os.getpid()}.tmp")
        if self.memory is not None:
            name = self.temporary.name
            self.temporary = self.memory / f"{mark_of(self.directory)}-{name}"
        self._identity = self._socket_identity()
        self._held = -1
        self._temporary_lock = threading.Lock()

    def _socket_identity(self) -> tuple[int, int] | None:
        try:
            found = os.lstat(self.socket)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def still_ours(self) -> bool:
        """Whether the socket's name still leads to the socket that we were started on."""
        return self._identity is not None and self._socket_identity() == self._identity

    def unlink(self) -> None:
        """Take the name away if it is still ours, under the starters' lock."""
        with suppress(OSError), _locked(self.lock):
            if self.still_ours():
                self.socket.unlink()

    def settle(self, program: str) -> None:
        """Make the directories and links that a server needs; ask older builds to leave."""
        self._hold_temporary()
        identity = self.socket.name.rpartition("-")[2]
        for directory in self._temporary_directories():
            abandoned = _hold(directory)
            if abandoned >= 0:
                if _is_finished(directory):
                    shutil.rmtree(directory, ignore_errors=True)
                os.close(abandoned)
        with suppress(OSError):
            if self.log.stat().st_size > LOG_LIMIT:
                os.truncate(self.log, 0)
        link = self.directory / "server"
        with suppress(OSError):
            if not link.is_symlink() or os.readlink(link) != program:
                fresh = self.directory / f"server.{os.getpid()}"
                fresh.symlink_to(program)
                fresh.replace(link)
        for other in self.directory.glob(f"*-{identity}"):
            if other != self.socket:
                with suppress(OSError):
                    other.unlink()

    def _hold_temporary(self) -> None:
        """Make our directory and keep it locked: process ids say nothing across namespaces, and
        outlive their processes."""
        for _ in range(100):
            with suppress(OSError):
                self.temporary.mkdir(mode=0o700, exist_ok=True)
            self._held = _hold(self.temporary)
            if self._held >= 0:  # else another server took it for abandoned just now
                (self.temporary / ABANDONED).unlink(missing_ok=True)
                return
            if self.memory is not None:  # or it is not to be had, or is somebody else's
                self.temporary, self.memory = self._below_runtime, None

    def usable_temporary(self) -> Path:
        """Where files of a compile may lie: our directory, as long as it is the one that we hold.

        In memory another user may make one of its name, once somebody has removed it."""
        # One thread at a time: a second one would find the new directory locked by the first.
        with self._temporary_lock:
            with suppress(OSError):
                if os.path.samestat(os.lstat(self.temporary), os.fstat(self._held)):
                    return self.temporary
            if self._held >= 0:
                os.close(self._held)
            self.temporary, self.memory = self._below_runtime, None
            self._hold_temporary()
            return self.temporary

    def _temporary_directories(self) -> list[Path]:
        """Those of all servers of this user, also of runtime directories that are gone."""
        found = list(self.directory.glob("*.tmp"))
        if self.memory is not None:
            found += self.memory.glob(f"pycc-{os.geteuid()}-*.tmp")
        return found

    def take_fallbacks(self) -> dict[str, int]:
        """The reasons noted since the last time, each with its number; the file starts anew."""
        taken = self.directory / f"fallbacks.{os.getpid()}"
        try:
            self.fallbacks.rename(taken)
            words = taken.read_bytes()[:LOG_LIMIT].split()
            taken.unlink()
        except OSError:
            return {}
        known = Counter(word.decode("ascii", "replace") for word in words)
        return {word: n for word, n in known.items() if re.fullmatch("[a-z_]{1,40}", word)}

    def clear(self) -> None:
        """Remove what only this server used."""
        shutil.rmtree(self.temporary, ignore_errors=True)


def listener_from(fd: int) -> socket.socket:
    """The listening socket that the launcher made and passed on.

    Listening once more makes us, and not that launcher, the peer whom clients see: they look
    whether a server that does not answer is stopped."""
    listener = socket.socket(fileno=fd)
    listener.listen(BACKLOG)
    return listener


def program_path() -> str:
    """The pycc-server program that runs now."""
    return os.path.abspath(sys.argv[0])
