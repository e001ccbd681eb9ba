"""The contents that clients have sent, by their digests: a directory that many processes share.

    <directory>/<2 digits>/<38 digits>     a content, 0444
    <directory>/<2 digits>/tmp-<random>    one that is being written
    <directory>/lock                       held by whoever makes room

A content gets its name by a rename, after its digest was computed from the very bytes that were
written; so a name never stands for other bytes, unless a disk fails or a crash cut the file short.
Against that, each content is read and checked once by every daemon before it is used, and again
whenever its signature has changed.

Nothing here is ever handed out to be written to: a job gets copies. Links would be cheaper by some
microseconds a file, but all names of one content would be one inode, which compilers notice (clang
takes them for one file), with one time stamp, which they notice too (``#pragma once``).

The mtime of a content says when it was last asked for; what was not asked for longest goes first.
A content that goes while a job waits for it is no harm: the job ends with its name missing, and the
client sends it again.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from pycc.blake import blake2b
from pycc.cache.digest import DIGEST_SIZE, digest_of
from pycc.errors import PyccError

from .exact_root import content_name

DIRECTORIES = tuple(f"{n:02x}" for n in range(256))
STALE_SECONDS = 3600.0
"""After this a file that is being written is taken for left behind."""
TOUCH_SECONDS = 600.0
"""A content's mtime is moved only when it is older than this."""
SPARE = 0.9
"""Making room goes down to this part of the limit, so that it is not made for every content."""
SLACK = 16
"""Room is made after every sixteenth part of the limit that was written."""
BLOCK = 1 << 20
MEMO_LIMIT = 200_000

_Signature = tuple[int, int, int]  # inode, size, ctime in ns


class WrongContent(PyccError):
    """What was sent is not what its digest says."""


class Contents:
    """A store of at most ``limit`` bytes; safe for several threads and processes.

    The directory is made at need. Raises OSError where it cannot be used."""

    def __init__(self, directory: str, *, limit: int) -> None:
        self.directory = directory
        self._limit = limit
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        self._checked: dict[bytes, _Signature] = {}
        self._written = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self._fd)

    @property
    def descriptor(self) -> int:
        """Of the directory, for the sandbox."""
        return self._fd

    def missing(self, digests: Iterable[bytes]) -> tuple[bytes, ...]:
        """Those of which the content is not here, each once; the others are now in use."""
        now = time.time()
        return tuple(one for one in dict.fromkeys(digests) if not self._use(one, now))

    def _use(self, digest: bytes, now: float) -> bool:
        name = content_name(digest)
        try:
            found = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except OSError:
            return False
        signature = (found.st_ino, found.st_size, found.st_ctime_ns)
        if self._checked.get(digest) != signature and not self._check(digest, name):
            return False
        if found.st_mtime < now - TOUCH_SECONDS:
            with suppress(OSError):
                os.utime(name, (now, now), dir_fd=self._fd)
                found = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
                signature = (found.st_ino, found.st_size, found.st_ctime_ns)
        if len(self._checked) >= MEMO_LIMIT:
            self._checked.clear()
        self._checked[digest] = signature
        return True

    def _check(self, digest: bytes, name: bytes) -> bool:
        state = blake2b(digest_size=DIGEST_SIZE)
        try:
            with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self._fd), "rb") as file:
                while block := file.read(BLOCK):
                    state.update(block)
        except OSError:
            return False
        if state.digest() == digest:
            return True
        with suppress(OSError):
            os.unlink(name, dir_fd=self._fd)
        return False

    def read(self, digest: bytes, most: int) -> bytes | None:
        """A content of at most ``most`` bytes, if it is here."""
        try:
            fd = os.open(content_name(digest), os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self._fd)
            with open(fd, "rb") as file:
                return None if os.fstat(fd).st_size > most else file.read()
        except OSError:
            return None

    def put(self, digest: bytes, content: bytes) -> None:
        """Keep a content. Raises WrongContent, or OSError where it cannot be written."""
        if digest_of(content) != digest:
            message = f"a content of {len(content)} bytes is not {digest.hex()}"
            raise WrongContent(message)
        name = content_name(digest)
        place = os.path.join(self.directory, os.fsdecode(name.partition(b"/")[0]))
        with suppress(FileExistsError):
            os.mkdir(place, 0o700)
        fd, partial = tempfile.mkstemp(prefix="tmp-", dir=place)
        try:
            with open(fd, "wb") as file:
                file.write(content)
                os.fchmod(fd, 0o444)
            os.rename(partial, os.path.join(self.directory, os.fsdecode(name)))
        except BaseException:
            with suppress(OSError):
                os.unlink(partial)
            raise
        with self._lock:
            self._written += len(content)
            full = self._written >= self._limit / SLACK
            if full:
                self._written = 0
        if full:
            self.make_room()

    def make_room(self, clock: Callable[[], float] = time.time) -> int:
        """Remove what was not asked for longest until the limit holds, and what ended writers
        left; the number of bytes that went. Returns 0 while another process does it."""
        with _held(os.path.join(self.directory, "lock")) as ours:
            if not ours:
                return 0
            found = sorted(self._listed(clock() - STALE_SECONDS))
            total = sum(size for _, size, _ in found)
            if total <= self._limit:
                return 0
            gone = 0
            for _, size, path in found:
                if total - gone <= self._limit * SPARE:
                    break
                with suppress(OSError):
                    os.unlink(path)
                    gone += size
            return gone

    def _listed(self, stale: float) -> Iterator[tuple[float, int, str]]:
        """(mtime, bytes, path) of all contents; what was left half written is removed."""
        for directory in DIRECTORIES:
            with suppress(OSError), os.scandir(os.path.join(self.directory, directory)) as entries:
                for entry in entries:
                    with suppress(OSError):
                        found = entry.stat(follow_symlinks=False)
                        if not entry.name.startswith("tmp-"):
                            yield found.st_mtime, found.st_size, entry.path
                        elif found.st_mtime < stale:
                            os.unlink(entry.path)


@contextmanager
def _held(path: str) -> Iterator[bool]:
    """A lock that is taken or left alone, never waited for."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(fd)
