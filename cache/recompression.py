"""How well a store's entries are compressed, and compressing them again at another level.

What is not one of our packed values (objects stored as files for ``hard_link``) is counted as
incompressible, as ccache counts its raw files.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from struct import error as struct_error

from ..record import record
from .cleanup import size_text
from .compression import CompressionError, compress, decompress
from .result import LEVEL, LIMIT, STORED_RAW
from .storage import FILE, Storage

_HEAD = Struct("<2sBBI")  # of results (result.py) and of manifests (manifest.py)
_RESULT, _MANIFEST = b"PR", b"PM"


@record
class Sizes:
    """In bytes: what entries hold, what they take packed, and what cannot be packed."""

    content: int = 0
    packed: int = 0
    incompressible: int = 0


@record
class Recompressed:
    """Bytes of content, and packed before and after."""

    content: int
    before: int
    after: int


def content_size(value: bytes) -> int | None:
    """The bytes of a packed value once it is unpacked; None for anything else."""
    try:
        magic, _, _, size = _HEAD.unpack_from(value)
    except struct_error:
        return None
    return int(size) if magic in (_RESULT, _MANIFEST) and size <= LIMIT else None


def is_compressed(value: bytes) -> bool:
    """Whether a packed value is compressed."""
    return value[:2] == _MANIFEST or not value[3] & STORED_RAW


def repacked(value: bytes, level: int | None) -> bytes:
    """A packed value at another zstd ``level`` (None: as it is); a manifest, which is small and
    has one form, remains. Raises CompressionError."""
    magic, version, flags, size = _HEAD.unpack_from(value)
    if magic != _RESULT or size > LIMIT:
        return value
    body = value[_HEAD.size :]
    raw = body if flags & STORED_RAW else decompress(body, size)
    if level is None:
        return _HEAD.pack(magic, version, flags | STORED_RAW, size) + raw
    return _HEAD.pack(magic, version, flags & ~STORED_RAW, size) + compress(raw, level or LEVEL)


def measure(storage: Storage, go_on: Callable[[], None]) -> Sizes:
    """Look at every entry; ``go_on`` is called now and then."""
    content = packed = incompressible = 0
    for number, entry in enumerate(storage.listing()):
        if not number % 100:
            go_on()
        value = None if entry.key[:1] == FILE else storage.get(entry.key)
        size = None if value is None else content_size(value)
        if size is None:
            incompressible += entry.size
        else:
            content += size
            packed += len(value or b"")
    return Sizes(content, packed, incompressible)


def recompress(storage: Storage, level: int | None, go_on: Callable[[], None]) -> Recompressed:
    """Pack every result at ``level`` (None: not at all). An entry keeps its place in the order in
    which entries are evicted."""
    content = before = after = 0
    for number, entry in enumerate(list(storage.listing())):
        if not number % 20:
            go_on()
        value = None if entry.key[:1] == FILE else storage.get(entry.key)
        size = None if value is None else content_size(value)
        if value is None or size is None:
            continue
        try:
            new = repacked(value, level)
        except CompressionError:
            continue
        if new != value and not storage.set(entry.key, new, entry.namespace, used=entry.used):
            new = value
        content, before, after = content + size, before + len(value), after + len(new)
    return Recompressed(content, before, after)


def _row(label: str, quantity: str, unit: str, note: str = "") -> str:
    return f"{label:20} {quantity:>5} {unit:5} {note}".rstrip() + "\n"


def _size_row(label: str, size: int, note: str = "", *, binary_units: bool) -> str:
    quantity, unit = size_text(abs(size), binary_units=binary_units).split(" ", 1)
    return _row(label, "-" + quantity if size < 0 else quantity, unit, note)


def _packed_rows(label: str, content: int, packed: int, *, binary_units: bool) -> str:
    part = 100.0 * packed / content if content and packed else 100.0
    return _size_row(label, packed, f"({part:.1f}% of original size)", binary_units=binary_units)


def _ratio_row(content: int, packed: int) -> str:
    ratio = content / packed if packed else 0.0
    saved = 100.0 - 100.0 / ratio if ratio else 0.0
    return _row("  Compression ratio:", f"{ratio:.3f}", "x", f"({saved:.1f}% space savings)")


def sizes_text(sizes: Sizes, *, binary_units: bool = True) -> str:
    """``--show-compression`` in ccache's words."""
    total = sizes.packed + sizes.incompressible
    return (
        _size_row("Total data:", total, binary_units=binary_units)
        + _packed_rows("Compressed data:", sizes.content, sizes.packed, binary_units=binary_units)
        + _size_row("  Original size:", sizes.content, binary_units=binary_units)
        + _ratio_row(sizes.content, sizes.packed)
        + _size_row("Incompressible data:", sizes.incompressible, binary_units=binary_units)
    )


def recompressed_text(done: Recompressed, *, binary_units: bool = True) -> str:
    """``--recompress`` in ccache's words."""
    content, before, after = done.content, done.before, done.after
    return (
        _size_row("Original data:", content, binary_units=binary_units)
        + _packed_rows("Old compressed data:", content, before, binary_units=binary_units)
        + _ratio_row(content, before)
        + _packed_rows("New compressed data:", content, after, binary_units=binary_units)
        + _ratio_row(content, after)
        + _size_row("Size change:", after - before, binary_units=binary_units)
    )
