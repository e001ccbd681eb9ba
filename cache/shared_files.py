"""Files and directories that several users and processes write at once.

A shared cache works only if every file that anyone makes is open to all who share it. The process's
own umask says nothing about that: a resident server has one umask for many requests, and changing
it is visible to every thread. So modes are always set explicitly: created private, then widened by
descriptor to what the configured umask leaves. A directory keeps the setgid bit that it inherited,
because that bit is what hands the group down.

Locks are flock(2) on files that are never removed: removing one would let two processes hold "the"
lock on two inodes. flock goes away with its holder, however that ends.
"""

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from typing import Final

from .storage import LOCK_WAIT, PRIVATE_UMASK

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_POLL: Final = 0.002


def file_mode(umask: int | None) -> int:
    """Return the permission bits of a new file; None means private."""
    return 0o666 & ~(PRIVATE_UMASK if umask is None else umask)


def make_directories(path: str, umask: int | None) -> None:
    """Create ``path`` and its missing parents.

    Raises OSError; a directory that is already there is left as it is.
    """
    missing = []
    while path and not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    mode = 0o777 & ~(PRIVATE_UMASK if umask is None else umask)
    for name in reversed(missing):
        try:
            os.mkdir(name, 0o700)
        except FileExistsError:
            continue
        # Who shares the directory above may have put a link in its place meanwhile.
        made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            inherited = os.fstat(made).st_mode & stat.S_ISGID
            os.fchmod(made, mode | inherited)
        finally:
            os.close(made)


def create(path: str, umask: int | None) -> int:
    """Create a new file for writing and return its descriptor; raises OSError."""
    descriptor = os.open(path, _CREATE, 0o600)
    mode = file_mode(umask)
    if mode != 0o600:
        os.fchmod(descriptor, mode)
    return descriptor


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data``; raises OSError."""
    written = os.write(descriptor, data)
    if written < len(data):
        rest = memoryview(data)[written:]
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def write_new(path: str, data: bytes, umask: int | None) -> None:
    """Create ``path`` with ``data``, or raise OSError and leave nothing behind."""
    descriptor = create(path, umask)
    try:
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def temporary_name(path: str) -> str:
    """Return a fresh name beside ``path``, recognised by `is_temporary`."""
    return f"{path}.{os.urandom(8).hex()}.tmp"


def is_temporary(name: str) -> bool:
    """Say whether a file of this name was made by `replace` and may be left over."""
    return name.endswith(".tmp")


def replace(path: str, data: bytes, umask: int | None) -> None:
    """Make ``path`` hold ``data``: a reader sees the old bytes or the new; raises OSError.

    Nothing is synced: a power cut may cost the file, and every reader takes a bad one for none.
    """
    temporary = temporary_name(path)
    write_new(temporary, data, umask)
    try:
        os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def locked(path: str, umask: int | None, wait: float = LOCK_WAIT) -> Iterator[bool]:
    """Hold the lock file ``path``; yields False if it was not had within ``wait`` seconds.

    The directory must exist. A lock file that cannot be opened also yields False.
    """
    try:
        descriptor = _open_lock(path, umask)
    except OSError:
        yield False
        return
    try:
        yield _acquire(descriptor, time.monotonic() + wait)
    finally:
        os.close(descriptor)


def _open_lock(path: str, umask: int | None) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        pass
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags)
    os.fchmod(descriptor, file_mode(umask))
    return descriptor


def _acquire(descriptor: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL)
        except OSError:
            return False
        else:
            return True
