"""The files that large values lie in, and what an entry is charged for.

A file whose bytes can be changed by another name (a hard link to what a compiler made) is stored
by its second name alone.
"""

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Callable
from typing import Final

from ..pattern import pattern
from . import shared_files
from .storage import MAX_VALUE

MIN_FILE_SIZE: Final = 1 << 16

# What diskcache calls a value that is in its row, and one that is in a file. They are not asked of
# the library, because whoever reads goes without it (see disk_cache.py).
MODE_RAW: Final = 1
MODE_BINARY: Final = 2

# What an entry costs beside its bytes: key, index entries, access time; and, in a database that has
# long been full, an eighth of its pages unused (measured: 1.18 times the bytes without these).
ROW_OVERHEAD: Final = 512
FILE_OVERHEAD: Final = 640
_BLOCK: Final = 4096

FICLONE: Final = 0x40049409  # linux/fs.h

_VALUE_NAME: Final = pattern(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{28}\.val", re.ASCII)


def charge(size: int) -> int:
    """Return the bytes that a frame of ``size`` bytes is charged for: about what it takes."""
    if size < MIN_FILE_SIZE:
        return size + size // 8 + ROW_OVERHEAD
    return _charge_file(size)


def _charge_file(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK + FILE_OVERHEAD


class ValueFiles:
    """The value files of one generation; ``umask`` is theirs (None: private to the user)."""

    def __init__(self, directory: str, umask: int | None) -> None:
        self._directory: Final = directory
        self._umask: Final = umask

    def store(self, value: bytes) -> tuple[int, int, str | None, bytes | None]:
        """Return (charged size, mode, file name, value); raises OSError."""
        if len(value) < MIN_FILE_SIZE:
            return charge(len(value)), MODE_RAW, None, value
        filename, path = self.fresh_name()
        try:
            shared_files.write_new(path, value, self._umask)
        except FileNotFoundError:
            shared_files.make_directories(os.path.dirname(path), self._umask)
            shared_files.write_new(path, value, self._umask)
        return charge(len(value)), MODE_BINARY, filename, None

    def link(self, source: bytes) -> tuple[int, int, str]:
        """Give the file ``source`` a second name here; return (charged size, mode, file name)."""
        return self._take(source, lambda path: os.link(source, path))

    def clone(self, source: bytes) -> tuple[int, int, str]:
        """The same with a file that only shares its blocks (Linux's FICLONE)."""
        return self._take(source, lambda path: self._clone(source, path))

    def _clone(self, source: bytes, path: str) -> None:
        target = shared_files.create(path, self._umask)
        try:
            with open(source, "rb", buffering=0) as file:
                fcntl.ioctl(target, FICLONE, file.fileno())
        except OSError:
            os.unlink(path)
            raise
        finally:
            os.close(target)

    def _take(self, source: bytes, make: Callable[[str], None]) -> tuple[int, int, str]:
        filename, path = self.fresh_name()
        os.stat(source)
        try:
            make(path)
        except FileNotFoundError:
            shared_files.make_directories(os.path.dirname(path), self._umask)
            make(path)
        return _charge_file(os.stat(path).st_size), MODE_BINARY, filename

    def read(self, filename: str) -> bytes:
        """Return the bytes of a value file; raises OSError, ValueError for a name not our own."""
        descriptor = os.open(self.path_of(filename), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            size = os.fstat(descriptor).st_size
            if size > MAX_VALUE + 64:
                raise OSError(errno.EFBIG, "value file too large")
            parts = []
            while part := os.read(descriptor, min(size + 1, 1 << 24)):
                parts.append(part)
                size -= len(part)
                if size < 0:
                    break
        finally:
            os.close(descriptor)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def fresh_name(self) -> tuple[str, str]:
        """Return a fresh name of a value file, relative and absolute."""
        name = os.urandom(16).hex()
        relative = f"{name[:2]}/{name[2:4]}/{name[4:]}.val"
        return relative, f"{self._directory}/{relative}"

    def remove(self, filename: str) -> None:
        """Remove a value file, if it is there and of our naming."""
        with contextlib.suppress(OSError, ValueError):
            os.unlink(self.path_of(filename))

    def path_of(self, filename: str) -> str:
        """Return where a value file lies; raises ValueError for a name not our own."""
        # In a shared cache a row is whatever some member of the group wrote into it.
        if not _VALUE_NAME.fullmatch(filename):
            msg = "strange value file name"
            raise ValueError(msg)
        return f"{self._directory}/{filename}"
