"""A manifest: for one source and command line, the files that earlier compiles depended on.

    <manifest> ::= "PM" <version:u8> <0:u8> <raw:u32> zstd(<table> <count:u16> {<entry>})
    <table>    ::= <count:u32> <bytes:u32> { path NUL }          every path once
    <entry>    ::= <result_key:32> <flags:u16> <files:u32> <groups:u32> <present:u32> <day:u32>
                   { <path:u32> } { <digest:20> }                files
                   { <size:i64> <mtime:i64> <ctime:i64> }        of the files, with flag STATS
                   { <directory:u32> <names:u32> { <name:u32> } }  groups
                   { <path:u32> }                                present
Version 1: first.

An entry holds when every file has its digest, no name of a group exists in its directory (the
absent candidates: places where the compiler looked for a header before it found it), and every
present path still exists, and on its day if it has one. Paths are as the compiler named them:
relative ones are relative to the
directory of the call. Newest entry first.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from struct import error as struct_error

from ..record import record
from .compression import CompressionError, compress, decompress
from .digest import DIGEST_SIZE
from .fingerprint import KEY_SIZE

MAX_ENTRIES = 24
LIMIT = 64 << 20  # bytes

_HEAD = Struct("<2sBBI")
_TABLE = Struct("<II")
_ENTRY = Struct("<HIIII")
_U32 = Struct("<I")
_STAT = Struct("<qqq")
_MAGIC, _VERSION = b"PM", 1

NEEDS_TEXT = 1
"""No result, only a marker: for this source the preprocessor has to run first."""


TIMES = 2
"""The digests of the files include their modification times (lookup.stamped)."""

ELSEWHERE = 4
"""Another machine made the result of preprocessed text: only for calls that would do the same."""

WHOLE = 8
"""All that was asked is known: an absent name must not even be a directory's, and what was present
has its kind (directories end in ``/``)."""

STATS = 16
"""Of each file size and times are kept, for calls that are content with them."""


class ManifestError(Exception):
    """These bytes are no manifest of this version."""


@record
class ManifestEntry:
    """What one earlier compile of this source depended on, and where its result is."""

    result_key: bytes
    files: tuple[tuple[bytes, bytes], ...]
    """(path, digest) of everything read, the source itself left out."""
    groups: tuple[tuple[bytes, tuple[bytes, ...]], ...] = ()
    """(directory, names): none of the names may exist in the directory."""
    present: tuple[bytes, ...] = ()
    flags: int = 0
    day: bytes = b""
    """The date of the compile where the sources ask for it (__DATE__), else nothing."""
    stats: tuple[tuple[int, int, int], ...] = ()
    """Size in bytes, mtime and ctime in ns of each of ``files`` (sloppiness file_stat_matches)."""


def add(entries: Sequence[ManifestEntry], new: ManifestEntry) -> tuple[ManifestEntry, ...]:
    """``new`` in front; entries with the same witnesses give way to it."""
    kept = [e for e in entries if _witnesses(e) != _witnesses(new)]
    return (new, *kept)[:MAX_ENTRIES]


def _witnesses(entry: ManifestEntry) -> tuple[object, ...]:
    return entry.files, entry.present, entry.flags & ~STATS, entry.day


def pack(entries: Sequence[ManifestEntry]) -> bytes:
    """Entries as one value."""
    ids: dict[bytes, int] = {}
    packed: dict[tuple[bytes, ...], bytes] = {}

    def numbers(paths: tuple[bytes, ...]) -> bytes:
        # Most groups of an entry have the same names.
        done = packed.get(paths)
        if done is None:
            for path in paths:
                if path not in ids:
                    ids[path] = len(ids)
            done = packed[paths] = Struct(f"<{len(paths)}I").pack(*map(ids.__getitem__, paths))
        return done

    body: list[bytes] = [len(entries).to_bytes(2, "little")]
    for entry in entries:
        body.append(entry.result_key)
        body.append(
            _ENTRY.pack(
                entry.flags | STATS if entry.stats else entry.flags & ~STATS,
                len(entry.files),
                len(entry.groups),
                len(entry.present),
                ids.setdefault(entry.day, len(ids)),
            )
        )
        body.append(numbers(tuple(path for path, _ in entry.files)))
        body += (digest for _, digest in entry.files)
        body += (_STAT.pack(*one) for one in entry.stats)
        for directory, names in entry.groups:
            body += (numbers((directory,)), _U32.pack(len(names)), numbers(names))
        body.append(numbers(entry.present))
    paths = b"".join(path + b"\0" for path in ids)
    raw = _TABLE.pack(len(ids), len(paths)) + paths + b"".join(body)
    return _HEAD.pack(_MAGIC, _VERSION, 0, len(raw)) + compress(raw, 1)


class _Reader:
    def __init__(self, raw: bytes) -> None:
        self.raw, self.at = raw, 0

    def take(self, length: int) -> bytes:
        part = self.raw[self.at : self.at + length]
        if len(part) != length:
            raise ManifestError("a manifest that is cut")
        self.at += length
        return part

    def numbers(self, count: int) -> tuple[int, ...]:
        if count > len(self.raw):
            raise ManifestError("a count that cannot be")
        return Struct(f"<{count}I").unpack(self.take(4 * count))


def unpack(value: bytes) -> tuple[ManifestEntry, ...]:
    """The inverse of pack. Raises ManifestError."""
    try:
        magic, version, _, size = _HEAD.unpack_from(value)
        if magic != _MAGIC or version != _VERSION or size > LIMIT:
            raise ManifestError("not a manifest of this version")
        reader = _Reader(decompress(value[_HEAD.size :], size))
        count, length = _TABLE.unpack(reader.take(_TABLE.size))
        paths = reader.take(length).split(b"\0")
        if len(paths) != count + 1:
            raise ManifestError("a path table that does not add up")
        number = int.from_bytes(reader.take(2), "little")
        entries = tuple(_entry(reader, paths) for _ in range(number))
        if reader.at != len(reader.raw):
            raise ManifestError("more than a manifest")
        return entries
    except (struct_error, CompressionError, IndexError) as problem:
        raise ManifestError(str(problem)) from problem


def _entry(reader: _Reader, paths: list[bytes]) -> ManifestEntry:
    result_key = reader.take(KEY_SIZE)
    flags, n_files, n_groups, n_present, day = _ENTRY.unpack(reader.take(_ENTRY.size))
    numbers = reader.numbers(n_files)
    digests = reader.take(DIGEST_SIZE * n_files)
    files = tuple(
        (paths[number], digests[DIGEST_SIZE * i : DIGEST_SIZE * (i + 1)])
        for i, number in enumerate(numbers)
    )
    stats: tuple[tuple[int, int, int], ...] = ()
    if flags & STATS:
        packed = reader.take(_STAT.size * n_files)
        stats = tuple((size, mtime, ctime) for size, mtime, ctime in _STAT.iter_unpack(packed))
    groups = []
    for _ in range(n_groups):
        directory, n_names = reader.numbers(2)
        names = tuple(paths[number] for number in reader.numbers(n_names))
        groups.append((paths[directory], names))
    present = tuple(paths[number] for number in reader.numbers(n_present))
    return ManifestEntry(
        result_key, files, tuple(groups), present, flags & ~STATS, paths[day], stats
    )
