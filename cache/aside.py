"""Small values beside the store: one file each, named by a digest and proven by its checksum.

They are what a process would otherwise find out again at its first call (what the compiler is),
so they must be readable without opening the store, and losing them costs only time.
"""

from __future__ import annotations

import os
from contextlib import suppress

from . import shared_files
from .storage import DIGEST_SIZE, seal, unseal

SUBDIRECTORY = "known"
LIMIT = 1 << 20  # bytes a value
MOST = 300
"""Values kept; a machine has a handful of compilers, a farm of cross compilers some dozens."""

_KIND = b"K"


class Aside:
    """The values below ``root``, the directory in which everything of ours lies. Nothing here
    raises."""

    def __init__(self, root: str, umask: int | None) -> None:
        self._directory = os.path.join(root, SUBDIRECTORY)
        self._umask = umask

    def get(self, digest: bytes) -> bytes | None:
        """The value stored under ``digest`` (32 bytes), if it is whole."""
        try:
            with open(self._path(digest), "rb", buffering=0) as file:
                frame = file.read(LIMIT + 64)
        except OSError:
            return None
        return unseal(_KIND + digest, frame)

    def put(self, digest: bytes, value: bytes) -> None:
        """Store ``value``; where that fails it is not stored."""
        if len(value) > LIMIT or len(digest) != DIGEST_SIZE:
            return
        with suppress(OSError):
            shared_files.make_directories(self._directory, self._umask)
            names = os.listdir(self._directory)
            if len(names) >= MOST:
                for name in names:
                    os.unlink(os.path.join(self._directory, name))
            frame = seal(_KIND + digest, value)
            shared_files.replace(self._path(digest), frame, self._umask)

    def _path(self, digest: bytes) -> str:
        return os.path.join(self._directory, digest.hex())
