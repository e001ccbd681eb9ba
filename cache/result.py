"""A result: every output of one compile as one value.

    <result>  ::= "PR" <version:u8> <flags:u8> <raw:u32> zstd(<entries>)
    <entries> ::= { <kind:u8> <suffix_len:u16> <data_len:u32> suffix data }

``raw`` is the length of the entries in bytes; a value that claims more than LIMIT is refused
before anything is allocated. The store checks the bytes themselves (storage.py).
Version 1: first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from struct import Struct
from struct import error as struct_error
from typing import Any

from ..blake import blake2b
from ..record import record
from .compression import CompressionError, compress, decompress, decompress_into

LIMIT = 512 << 20  # bytes
MOST_ENTRIES = 10_000
"""Of one result; a compile has a few, and 500 MB of empty ones are 100 kB once compressed."""
LEVEL = -1
"""zstd's, where the user has not chosen: a tenth less time to unpack than at 1, 4 % more bytes."""
_LARGE = 64 << 10
_ROOMY = 192 << 10  # bytes from which on a room is worth its while

_HEAD = Struct("<2sBBI")
_ENTRY = Struct("<BHI")
_DIGEST = 20
_LINKED = Struct(f"<Q{_DIGEST}s")
_MAGIC, _VERSION = b"PR", 1
STORED_RAW = 1


class Kind(IntEnum):
    """What an output is; ccache's list (its manual, "cached result"), in our own numbers."""

    OBJECT = 0
    DEPENDENCY = 1
    STDERR = 2
    STDOUT = 3
    COVERAGE = 4
    STACK_USAGE = 5
    DIAGNOSTICS = 6
    DWO = 7
    LISTING = 8
    CALLGRAPH = 9
    IPA_CLONES = 10
    STDERR_COLOUR = 11
    OTHER = 12
    LINKED = 13  # the object, as a file of its own: see linked()


@record
class Entry:
    """One output. ``name`` tells dependency files for different targets (delivery.py)."""

    kind: Kind
    data: bytes
    name: bytes = b""
    at: int = -1
    """Where the data lie in the room that unpack was given."""


Room = Callable[[int], memoryview | None]
"""Gives that many bytes of memory to unpack a large result into, if it has them."""


@record
class Linked:
    """What an entry of kind LINKED says of the file that the store has under `key`: its length in
    bytes and the digest of its content, because somebody else may write to it."""

    key: bytes
    size: int
    digest: bytes


class ResultError(Exception):
    """These bytes are no result of this version."""


def linked(key: bytes, data: bytes) -> Entry:
    """The entry for an object ``data`` that the store has as a file under ``key``."""
    digest = blake2b(data, digest_size=_DIGEST).digest()
    return Entry(Kind.LINKED, _LINKED.pack(len(data), digest) + key)


def read_linked(entry: Entry) -> Linked:
    """The inverse of linked. Raises ResultError."""
    if len(entry.data) <= _LINKED.size:
        raise ResultError("an entry that is cut")
    size, digest = _LINKED.unpack_from(entry.data)
    return Linked(entry.data[_LINKED.size :], size, digest)


def holds(file: Linked, data: bytes) -> bool:
    """Whether ``data`` is still what was stored."""
    return len(data) == file.size and blake2b(data, digest_size=_DIGEST).digest() == file.digest


def pack(entries: Sequence[Entry], level: int = LEVEL, compressed: bool = True) -> bytes:
    """Entries as one value. ``level`` is zstd's."""
    parts: list[bytes] = []
    for entry in entries:
        parts += (
            _ENTRY.pack(entry.kind, len(entry.name), len(entry.data)),
            entry.name,
            entry.data,
        )
    raw = b"".join(parts)
    if not compressed:
        return _HEAD.pack(_MAGIC, _VERSION, STORED_RAW, len(raw)) + raw
    return _HEAD.pack(_MAGIC, _VERSION, 0, len(raw)) + compress(raw, level)


def size_of(value: bytes) -> int:
    """The bytes of a packed result once it is unpacked, as it says itself; 0 if it says nothing."""
    try:
        _, _, _, size = _HEAD.unpack_from(value)
    except struct_error:
        return 0
    return int(size) if size <= LIMIT else 0


def unpack(value: bytes, room: Room | None = None) -> list[Entry]:
    """The inverse of pack. The data of large objects are views. Raises ResultError."""
    try:
        magic, version, flags, size = _HEAD.unpack_from(value)
        if magic != _MAGIC or version != _VERSION or size > LIMIT:
            raise ResultError("not a result of this version")
        packed = value[_HEAD.size :]
        view = room(size) if room is not None and size >= _ROOMY else None
        if view is None:
            raw = packed if flags & STORED_RAW else decompress(packed, size)
            if len(raw) != size:
                raise ResultError("a result that is cut")
            view = memoryview(raw)
            return _entries(view, shared=False)
        if flags & STORED_RAW:
            view[:] = packed
        else:
            decompress_into(packed, view)
        return _entries(view, shared=True)
    except (struct_error, CompressionError, ValueError) as problem:
        raise ResultError(str(problem)) from problem


def _entries(raw: memoryview, shared: bool) -> list[Entry]:
    entries: list[Entry] = []
    at, size = 0, len(raw)
    while at < size:
        if len(entries) == MOST_ENTRIES:
            raise ResultError("too many outputs")
        kind, name_n, data_n = _ENTRY.unpack_from(raw, at)
        at += _ENTRY.size
        data_at = at + name_n
        end = data_at + data_n
        if end > size:
            raise ResultError("an entry that is cut")
        data: Any = raw[data_at:end]
        if data_n >= _LARGE and kind == Kind.OBJECT:
            entries.append(
                Entry(Kind(kind), data, bytes(raw[at:data_at]), data_at if shared else -1)
            )
        else:
            entries.append(Entry(Kind(kind), bytes(data), bytes(raw[at:data_at])))
        at = end
    return entries
