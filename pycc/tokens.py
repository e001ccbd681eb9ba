"""What is left of a source when comments and blanks are no matter.

Without optimisation gcc decides by source locations where it puts a ``nop``, and all that comes of
one macro's expansion has one location. So the same preprocessed text may give another object when
it was written another way, though not when only comments were edited.

    #define CODE(X) X
    void f(int a, int b) CODE({ if (a == b) return; if (a < 3) { v = 1; } })

Nothing is understood here: two texts that differ may pass for one only if they differ in comments,
or in what looks like them.
"""

from __future__ import annotations

import re

from .blake import blake2b

SIZE = 20  # bytes

_PARTS = re.compile(
    rb'"(?:[^"\\\n]|\\.)*"'
    rb"|'(?:[^'\\\n]|\\.)*'"
    rb"|(?:\s+|//[^\n]*|/\*.*?\*/)+",
    re.DOTALL,
)


def tokens_digest(text: bytes) -> bytes:
    """The digest of a text with each run of comments and blanks made one blank or end of line."""
    return blake2b(_PARTS.sub(_short, text), digest_size=SIZE).digest()


def _short(match: re.Match[bytes]) -> bytes:
    part = match.group()
    if part[:1] in b"\"'":
        return part
    return b"\n" if b"\n" in part else b" "
