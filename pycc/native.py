"""What the file system says of many paths, asked in one native call or by the Python reference.

A *witness* is a packed record of one fact about one path: that it is the file it was (device,
inode, size, times, mode), that it is absent, that a link is unchanged, or that it can be written
as an output. ``launcher/statcheck.c`` holds the layout.
"""

from __future__ import annotations

import os
import queue
import stat
import threading
from collections.abc import Callable, Iterable, Sequence
from struct import Struct
from typing import Any, NamedTuple

_RECORD = Struct("<HHIQQQqq")
_STAT = Struct("=qQQQqq")  # overlay file systems use all 64 bits of an inode's number
SAME, ABSENT, SAME_LINK, WRITABLE, SAME_PLACE = 0, 1, 2, 3, 4


class Signature(NamedTuple):
    """What stat says of a file; ``mode`` is 0 when there is none. Times are ns since 1970."""

    mode: int
    device: int
    inode: int
    size: int
    mtime: int
    ctime: int

    @property
    def exists(self) -> bool:
        return self.mode != 0

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_regular(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)

    @property
    def changed(self) -> int:
        """The later of the two times."""
        return max(self.mtime, self.ctime)


NO_FILE = Signature(0, 0, 0, 0, 0, 0)


def load(path: str = os.path.join(os.path.dirname(__file__), "_statcheck.so")) -> bool:
    """Have the native library from now on: what a server does and a single call does not, because
    it costs 3 ms. False when it is not to be had."""
    global _library
    if os.environ.get("PYCC_NATIVE") != "0":
        _library = _load(path)
    return _library is not None


def _load(path: str) -> Any:
    import ctypes

    try:
        library = ctypes.CDLL(path)
    except OSError:
        return None
    library.pycc_check.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_long)
    library.pycc_check.restype = ctypes.c_long
    library.pycc_stat.argtypes = (
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_void_p,
    )
    library.pycc_stat.restype = None
    library.pycc_fs_type.argtypes = (ctypes.c_char_p,)
    library.pycc_fs_type.restype = ctypes.c_long
    return library


_library: Any = None


def pack(kind: int, path: bytes, signature: Signature = NO_FILE) -> bytes:
    """One witness record. Paths longer than 65,000 bytes cannot exist (PATH_MAX is 4,096)."""
    body = path + b"\0"
    body += b"\0" * (-len(body) % 8)
    mode, device, inode, size, mtime, ctime = signature
    return (
        _RECORD.pack(
            _RECORD.size + len(body),
            kind,
            mode,
            device & 0xFFFFFFFFFFFFFFFF,
            inode & 0xFFFFFFFFFFFFFFFF,
            size & 0xFFFFFFFFFFFFFFFF,
            mtime,
            ctime,
        )
        + body
    )


def as_found(path: bytes, *, contents: bool = True) -> bytes:
    """The witness of what ``path`` is right now; of a directory only which one it is, unless
    ``contents``."""
    found = signature(path)
    if not found.exists:
        return pack(ABSENT, path)
    if found.is_directory and not contents:
        return pack(SAME_PLACE, path, found)
    return pack(SAME, path, found)


def kind_and_path(record: bytes) -> tuple[int, bytes]:
    """What a single record says, and of which path."""
    kind = int.from_bytes(record[2:4], "little")
    return kind, record[_RECORD.size :].split(b"\0", 1)[0]


def paths(records: bytes) -> list[bytes]:
    """The paths of packed records."""
    return [record[_RECORD.size :].split(b"\0", 1)[0] for record in unpack([records])]


def unpack(records: Iterable[bytes]) -> list[bytes]:
    """Single records, each once."""
    found: dict[bytes, None] = {}
    for packed in records:
        size = int.from_bytes(packed[:2], "little")
        if size and size == len(packed):
            found[packed] = None
            continue
        at = 0
        while at < len(packed):
            size = int.from_bytes(packed[at : at + 2], "little")
            found[packed[at : at + size]] = None
            at += size
    return list(found)


def place_of(record: bytes) -> tuple[bytes, bytes, bytes]:
    """What to sort single records by: neighbours share a directory, which is looked up faster."""
    return record[_RECORD.size :].rpartition(b"/")


RECORDS = 20_000  # paths whose last record is kept
STABLE_NS = 600 * 1_000_000_000


def absence(path: bytes, now: int) -> bytes:
    """The cheapest witness that ``path`` does not exist: its topmost missing ancestor, or, where
    the directory has not changed for ten minutes before ``now`` (ns), the directory's signature,
    which serves for every other name that is missing there."""
    parent = os.path.dirname(path) or b"/"
    found = signature(parent)
    while not found.exists and parent != b"/":
        path, parent = parent, os.path.dirname(parent) or b"/"
        found = signature(parent)
    stable = found.is_directory and found.changed < now - STABLE_NS
    # The target of a link may appear where this directory shows nothing of it.
    if stable and not signature(path, follow=False).exists:
        return pack(SAME, parent, found)
    return pack(ABSENT, path)


def _reference_check(buffer: bytes, first: int) -> int:
    at = index = 0
    while at < len(buffer):
        if at + _RECORD.size >= len(buffer):
            return index
        size, kind, mode, device, inode, length, mtime, ctime = _RECORD.unpack_from(buffer, at)
        if size <= _RECORD.size or at + size > len(buffer) or buffer[at + size - 1]:
            return index
        if index >= first:
            path = buffer[at + _RECORD.size : at + size].split(b"\0", 1)[0]
            got = _reference_signature(path, follow=kind not in (SAME_LINK, WRITABLE))
            if kind == ABSENT:
                holds = not got.exists
            elif kind == WRITABLE:
                holds = not got.exists or got.is_regular
            elif kind == SAME_PLACE:
                holds = got.exists and got[:3] == (mode, device, inode)
            else:
                holds = got.exists and got == (mode, device, inode, length, mtime, ctime)
            if not holds:
                return index
        at += size
        index += 1
    return -1


def check(buffer: bytes, first: int = 0) -> int:
    """Index of the first record at or after ``first`` that no longer holds, or -1."""
    if _library is None:
        return _reference_check(buffer, first)
    return int(_library.pycc_check(buffer, len(buffer), first))


MANY = 192
"""Records from which on two threads share the work; waking the second costs what fifty do."""
PART = 48
_work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
_worker: threading.Thread | None = None


def all_hold(records: Sequence[bytes]) -> bool:
    """Whether every record holds at this moment; many are shared out between two processors."""
    if len(records) < MANY or _library is None or not _TWO_PROCESSORS:
        return check(b"".join(records)) < 0
    parts = iter([b"".join(records[i : i + PART]) for i in range(0, len(records), PART)])
    failed: list[bytes] = []

    def ask() -> None:
        for part in parts:
            if failed or check(part) >= 0:
                failed.append(part)
                return

    running = threading.Lock()

    def help_to_ask() -> None:
        # Too late if everything is asked already: nobody waits for a thread that has not started.
        if running.acquire(blocking=False):
            try:
                ask()
            except BaseException:
                failed.append(b"")
                raise
            finally:
                running.release()

    _have_worker()
    _work.put(help_to_ask)
    ask()
    running.acquire()
    return not failed


_TWO_PROCESSORS = len(os.sched_getaffinity(0)) > 1


def _have_worker() -> None:
    global _worker  # one thread serves the process
    if _worker is None:
        _worker = threading.Thread(target=_help, daemon=True)
        _worker.start()


def _help() -> None:
    while True:
        _work.get()()


def _reference_signature(path: bytes | int, follow: bool = True) -> Signature:
    try:
        s = os.stat(path, follow_symlinks=follow)
    except (OSError, ValueError):
        return NO_FILE
    return Signature(s.st_mode, s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)


def signature(path: bytes | int, *, follow: bool = True) -> Signature:
    """The signature of one path, or of what is open."""
    return _reference_signature(path, follow)


def signatures(paths: Sequence[bytes], *, follow: bool = True) -> list[Signature]:
    """The signatures of many paths, in order."""
    if _library is None or not paths:
        return [_reference_signature(path, follow) for path in paths]
    import ctypes

    out = bytearray(_STAT.size * len(paths))
    _library.pycc_stat(
        b"\0".join(paths) + b"\0",
        len(paths),
        0 if follow else 1,
        (ctypes.c_char * len(out)).from_buffer(out),
    )
    return [Signature._make(s) if s[0] else NO_FILE for s in _STAT.iter_unpack(out)]


def fs_type(path: bytes) -> int:
    """statfs(2)'s magic number of the file system that holds ``path``; 0 when it is not known."""
    if _library is not None:
        return max(0, int(_library.pycc_fs_type(path)))
    import ctypes

    try:
        answer = (ctypes.c_long * 64)()  # f_type is the first word of struct statfs
        failed = ctypes.CDLL(None).statfs(path, answer)
    except (OSError, AttributeError):
        return 0
    return 0 if failed else int(answer[0])


class RealFiles:
    """The file system as cache/lookup.py asks it. The same headers are recorded for every call, so
    their last records are kept."""

    def __init__(self) -> None:
        self._records: dict[bytes, tuple[Signature, bytes]] = {}

    def signatures(self, paths: Sequence[bytes]) -> Sequence[Signature]:
        return signatures(paths)

    def same(self, path: bytes, signature: Signature) -> bytes:
        known = self._records.get(path)
        if known is not None and known[0] == signature:
            return known[1]
        if len(self._records) >= RECORDS:
            self._records.clear()
        made = pack(SAME, path, signature)
        self._records[path] = (signature, made)
        return made

    def absent(self, path: bytes) -> bytes:
        return pack(ABSENT, path)

    def listed(self, directory: bytes) -> tuple[Signature, Sequence[bytes]]:
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            names = [os.fsencode(name) for name in os.listdir(opened)]
            return signature(opened), names
        finally:
            os.close(opened)
