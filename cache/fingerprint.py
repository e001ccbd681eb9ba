"""The key of a compile: BLAKE2b over typed, delimited fields.

Every field is hashed as <label> NUL <length> <bytes>, so that ``-I -O2`` and ``-I-O2``, or two
fields whose values run into each other, can never give one key.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

KEY_SIZE = 32
VERSION = b"pycc key 1"


class Fingerprint:
    """Collects fields; ``copy`` forks it where direct and preprocessed mode part.

    With ``trace`` every field is also kept as a line, for CCACHE_DEBUG's input-text file.
    """

    __slots__ = ("_state", "_trace")

    def __init__(self, trace: bool = False) -> None:
        self._state = blake2b(VERSION, digest_size=KEY_SIZE)
        self._trace: list[bytes] | None = [] if trace else None

    def copy(self) -> Fingerprint:
        other = Fingerprint.__new__(Fingerprint)
        other._state = self._state.copy()
        other._trace = None if self._trace is None else list(self._trace)
        return other

    def add(self, label: bytes, *values: bytes) -> None:
        """Hash one field of any number of values."""
        self._state.update(b"%s\0%d\0" % (label, len(values)))
        for value in values:
            self._state.update(b"%d\0" % len(value))
            self._state.update(value)
        if self._trace is not None:
            self._trace.append(b"### " + label)
            self._trace += values

    def add_pairs(self, label: bytes, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Hash a mapping's items in the given order."""
        self.add(label, *(part for pair in pairs for part in pair))

    def key(self) -> bytes:
        """The key of everything added so far, 32 bytes."""
        return self._state.digest()

    def text(self) -> bytes:
        """What went into the key, a line a value; empty without ``trace``."""
        return b"\n".join(self._trace) + b"\n" if self._trace else b""
