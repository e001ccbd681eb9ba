"""How diskcache is to store keys and values: bytes, no pickles, and large values in files.

A file whose bytes can be changed by another name (a hard link to what a compiler made) is stored
by its second name alone.
"""

import contextlib
import errno
import os
import re
from typing import Final

import diskcache

from ..pattern import pattern
from . import shared_files
from .storage import MAX_VALUE

MIN_FILE_SIZE: Final = 1 << 16

# What an entry costs beside its bytes: key, index entries, access time; and, in a database that has
# long been full, an eighth of its pages unused (measured: 1.18 times the bytes without these).
ROW_OVERHEAD: Final = 512
FILE_OVERHEAD: Final = 640
_BLOCK: Final = 4096

_VALUE_NAME: Final = pattern(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{28}\.val", re.ASCII)


def charge(size: int) -> int:
    """Return the bytes that a frame of ``size`` bytes is charged for: about what it takes."""
    if size < MIN_FILE_SIZE:
        return size + size // 8 + ROW_OVERHEAD
    return _charge_file(size)


def _charge_file(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK + FILE_OVERHEAD


class BytesDisk(diskcache.Disk):  # type: ignore[misc]  # the library publishes no types
    """Keys are str, values are bytes, and whatever asks for pickle is refused (CVE-2025-69872)."""

    umask: int | None = None

    def put(self, key: str) -> tuple[str, bool]:
        """Return the key as stored; raises ValueError for anything but str."""
        if type(key) is not str:
            msg = f"key of type {type(key).__name__}"
            raise ValueError(msg)
        return key, True

    def get(self, key: str, raw: bool) -> str:
        """Return the key as it was put; raises ValueError for one that was pickled."""
        if not raw:
            msg = "pickled key"
            raise ValueError(msg)
        return key

    def store(
        self,
        value: bytes,
        read: bool,
        key: object = None,  # noqa: ARG002
    ) -> tuple[int, int, str | None, bytes | None]:
        """Return (charged size, mode, file name, value); raises OSError and ValueError."""
        if type(value) is not bytes or read:
            msg = f"value of type {type(value).__name__}"
            raise ValueError(msg)
        if len(value) < MIN_FILE_SIZE:
            return charge(len(value)), diskcache.core.MODE_RAW, None, value
        filename, path = self.filename()
        try:
            shared_files.write_new(path, value, self.umask)
        except FileNotFoundError:
            shared_files.make_directories(os.path.dirname(path), self.umask)
            shared_files.write_new(path, value, self.umask)
        return charge(len(value)), diskcache.core.MODE_BINARY, filename, None

    def link(self, source: bytes) -> tuple[int, int, str]:
        """Give the file ``source`` a second name here; return (charged size, mode, file name)."""
        filename, path = self.filename()
        try:
            os.link(source, path)
        except FileNotFoundError:
            shared_files.make_directories(os.path.dirname(path), self.umask)
            os.link(source, path)
        return _charge_file(os.stat(path).st_size), diskcache.core.MODE_BINARY, filename

    def fetch(self, mode: int, filename: str | None, value: bytes | None, read: bool) -> bytes:
        """Return the stored bytes; raises OSError, and ValueError for any mode but ours."""
        if mode == diskcache.core.MODE_BINARY and filename is not None and not read:
            return self.read(filename)
        if mode == diskcache.core.MODE_RAW and type(value) is bytes:
            return value
        msg = f"mode {mode}"
        raise ValueError(msg)

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

    def filename(self, key: object = None, value: object = None) -> tuple[str, str]:  # noqa: ARG002
        """Return a fresh name of a value file, relative and absolute."""
        name = os.urandom(16).hex()
        relative = f"{name[:2]}/{name[2:4]}/{name[4:]}.val"
        return relative, f"{self._directory}/{relative}"

    def remove(self, file_path: str) -> None:
        """Remove a value file, if it is there and of our naming."""
        with contextlib.suppress(OSError, ValueError):
            os.unlink(self.path_of(file_path))

    def path_of(self, filename: str) -> str:
        """Return where a value file lies; raises ValueError for a name not our own."""
        # In a shared cache a row is whatever some member of the group wrote into it.
        if not _VALUE_NAME.fullmatch(filename):
            msg = "strange value file name"
            raise ValueError(msg)
        return f"{self._directory}/{filename}"
