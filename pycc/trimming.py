"""Trimming a directory of remote storage to a size (``--trim-dir``): oldest files first."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress

from .cache.cleanup import size_text
from .cache.compression import CompressionError
from .cache.recompression import content_size, repacked
from .cache.shared_files import is_temporary, replace
from .cache.storage import DIGEST_SIZE, manifest_key, result_key, seal, unseal
from .errors import Fatal
from .record import record

BLOCK = 512  # bytes of st_blocks
LOCAL_CACHE = ("ccache.conf", "stats", "cache.db")
"""Names that tell a local cache, where trimming by files would leave the books wrong."""

LARGEST = 1 << 30  # bytes of a file that is compressed again


@record
class Aged:
    """A file: when it was last used (ns), and the bytes that it takes on disk."""

    used: int
    path: str
    size: int


def files_below(directory: str, *, by_mtime: bool) -> Iterator[Aged]:
    """The files below ``directory``, however deep. Raises Fatal where it is a local cache."""

    def refuse(problem: OSError) -> None:
        if problem.filename == directory:
            raise Fatal(f"failed to traverse {directory}: {problem.strerror}")

    for place, _, names in os.walk(directory, onerror=refuse):
        for name in names:
            path = os.path.join(place, name)
            if name in LOCAL_CACHE:
                raise Fatal(f"this looks like a local cache directory (found {path})")
            if is_temporary(name):
                continue
            with suppress(OSError):
                found = os.lstat(path)
                used = found.st_mtime_ns if by_mtime else found.st_atime_ns
                yield Aged(used, path, found.st_blocks * BLOCK)


def _entry(path: str, data: bytes) -> tuple[bytes, bytes]:
    """(key, value) of a sealed entry, whose name is its key's in one of the layouts that remote
    storage has; (nothing, ``data``) of any other file."""
    place, name = os.path.split(path)
    for digits in (name, os.path.basename(place) + name):
        try:
            digest = bytes.fromhex(digits)
        except ValueError:
            continue
        for key in (result_key(digest), manifest_key(digest)):
            value = unseal(key, data) if len(digest) == DIGEST_SIZE else None
            if value is not None:
                return key, value
    return b"", data


def recompress_file(path: str, level: int | None) -> tuple[int, int]:
    """(bytes on disk before, after) of one file, compressed again if it is a value of ours; times
    and mode stay."""
    before = os.lstat(path)
    with open(path, "rb") as file:
        data = file.read(LARGEST)
    key, value = _entry(path, data)
    try:
        new = value if content_size(value) is None else repacked(value, level)
    except CompressionError:
        new = value
    if new != value:
        replace(path, seal(key, new) if key else new, ~before.st_mode & 0o777)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return before.st_blocks * BLOCK, os.lstat(path).st_blocks * BLOCK


def trim(
    directory: str,
    max_size: int,
    *,
    binary_units: bool,
    by_mtime: bool,
    recompress: bool,
    level: int | None,
    dry_run: bool,
    go_on: Callable[[], None],
) -> str:
    """Carry it out and tell it in ccache's words; ``max_size`` in bytes, 0 for no limit. Raises
    Fatal."""
    files = sorted(files_below(directory, by_mtime=by_mtime), key=lambda one: one.used)

    def shown(size: int, sign: bool = False) -> str:
        text = size_text(abs(size), binary_units=binary_units)
        return ("+" if size > 0 else "-" if size < 0 else "") + text if sign else text

    said = ""
    if recompress:
        before = after = 0
        kept = []
        for one in files:
            go_on()
            with suppress(OSError):
                old, new = recompress_file(one.path, level)
                before, after = before + old, after + new
                kept.append(Aged(one.used, one.path, new))
        files = kept
        difference = shown(after - before, sign=True)
        said = f"Recompressed {shown(before)} to {shown(after)} ({difference})\n"
    total = left = sum(one.size for one in files)
    removed = 0
    for one in files if max_size else ():
        if left <= max_size:
            break
        go_on()
        if not dry_run:
            try:
                os.unlink(one.path)
            except OSError:
                continue
        removed += 1
        left -= one.size
    plural = "" if removed == 1 else "s"
    minus = "-" if removed else ""
    difference = shown(left - total, sign=True)
    return (
        f"{said}Trimmed {shown(total)} to {shown(left)}"
        f" ({difference}, {minus}{removed} file{plural})\n"
    )
