"""The key of a compile: BLAKE2b over typed, delimited fields.

Every field is hashed as <label> NUL <length> <bytes>, so that ``-I -O2`` and ``-I-O2``, or two
fields whose values run into each other, can never give one key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..blake import blake2b

KEY_SIZE = 32
VERSION = b"pycc key 1"


class Fingerprint:
    """Collects fields; ``copy`` forks it where direct and preprocessed mode part.

    With ``trace`` every field is also kept, for the debug files (pycc/debug.py).
    """

    __slots__ = ("_state", "_trace")

    def __init__(self, trace: bool = False) -> None:
        self._state = blake2b(VERSION, digest_size=KEY_SIZE)
        self._trace: list[tuple[bytes, tuple[bytes, ...]]] | None = [] if trace else None

    def copy(self) -> Fingerprint:
        """The same fields so far, to go on from separately."""
        other = Fingerprint.__new__(Fingerprint)
        other._state = self._state.copy()
        other._trace = None if self._trace is None else list(self._trace)
        return other

    def add(self, label: bytes, *values: bytes) -> None:
        """Hash one field of any number of values."""
        parts = [b"%s\0%d\0" % (label, len(values))]
        for value in values:
            parts += (b"%d\0" % len(value), value)
        self._state.update(b"".join(parts))
        if self._trace is not None:
            self._trace.append((label, values))

    def add_pairs(self, label: bytes, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Hash a mapping's items in the given order."""
        self.add(label, *(part for pair in pairs for part in pair))

    def key(self) -> bytes:
        """The key of everything added so far, 32 bytes."""
        return self._state.digest()

    def hashed(self, after: Fingerprint | None = None) -> bytes:
        """The bytes that were hashed for the fields behind those of ``after``."""
        out: list[bytes] = []
        for label, values in self.fields(after):
            out.append(b"%s\0%d\0" % (label, len(values)))
            for value in values:
                out += (b"%d\0" % len(value), value)
        return b"".join(out)

    def fields(self, after: Fingerprint | None = None) -> Iterator[tuple[bytes, tuple[bytes, ...]]]:
        """(label, values) of what went into the key; nothing without ``trace``.

        ``after``: what this one was copied from, whose fields are left out."""
        yield from (self._trace or [])[len(after._trace or []) if after is not None else 0 :]

    def text(self, after: Fingerprint | None = None) -> bytes:
        """The fields for people, a line a value; ``###`` stands before a label."""
        lines: list[bytes] = []
        for label, values in self.fields(after):
            lines += (b"### " + label, *map(_readable, values))
        return b"\n".join(lines) + b"\n" if lines else b""


def _readable(value: bytes) -> bytes:
    """A digest in hexadecimal, everything else as it is."""
    if len(value) > KEY_SIZE:
        return value
    try:
        value.decode()
    except UnicodeDecodeError:
        return value.hex().encode()
    return value
