"""Bulk bodies of protocol versions 2 and 3: one raw LZO1X stream, or nothing at all.

distcc sends no header and no length of what comes out (its src/bulk.c, and captures of Debian's
3.4): an empty body stands for an empty file, everything else is a stream that ends with
``11 00 00``. The receiver has to guess how much memory it needs. distcc doubles its guess without
an end; here a caller's limit ends it, and so does the format: LZO1X cannot grow its input more than
some 256 times.
"""

from __future__ import annotations

import lzo

from pycc.errors import PyccError

LEVEL = 1  # LZO1X-1, the only one that distcc has
_GROWTH = 256
_FIRST_GUESS = 8
_OUTPUT_OVERRUN = "-5"  # LZO_E_OUTPUT_OVERRUN


class BulkError(PyccError):
    """A body is no LZO1X stream, or holds more than is allowed."""


def compress(data: bytes) -> bytes:
    """The body that stands for ``data``."""
    packed: bytes = lzo.compress(data, LEVEL, False) if data else b""
    return packed


def largest(length: int, limit: int) -> int:
    """The most that a body of ``length`` bytes can stand for, at most ``limit``."""
    return min(limit, length * _GROWTH + _GROWTH)


def decompress(body: bytes, limit: int) -> bytes:
    """What ``body`` stands for, at most ``limit`` bytes. Raises BulkError."""
    if not body:
        return b""
    most = largest(len(body), limit)
    guess = min(len(body) * _FIRST_GUESS + _GROWTH, most)
    while True:
        try:
            data: bytes = lzo.decompress(body, False, guess)
        except lzo.error as problem:
            if not str(problem).endswith(_OUTPUT_OVERRUN):
                message = f"a body of {len(body)} bytes is no LZO stream ({problem})"
                raise BulkError(message) from None
            if guess >= most:
                message = f"a body of {len(body)} bytes holds more than {most} bytes"
                raise BulkError(message) from None
            guess = min(guess * 4, most)
        else:
            return data
