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
LIMIT = 1 << 19
"""Bytes. Nobody else runs in this process meanwhile, for up to half a second per MB: so long take
tables in which each line has strings and comments."""

_COMMENTS = re.compile(
    rb'"(?:[^"\\\n]|\\.)*"'
    rb"|'(?:[^'\\\n]|\\.)*'"
    rb"|//[^\n]*"
    rb"|/\*.*?\*/",
    re.DOTALL,
)
_BLANKS = bytes.maketrans(b"\t\v\f\r", b"    ")
_SPACES = re.compile(rb"  +")
_LINES = re.compile(rb"\n\n+")


def tokens_digest(text: bytes) -> bytes:
    """The digest of a text with comments made blanks, and each run of blanks one blank or end of
    line, also within strings: these the preprocessed text holds as they are. Of a text beyond
    LIMIT, the digest of all of it."""
    if len(text) > LIMIT:
        return blake2b(text, digest_size=SIZE).digest()
    if b"//" in text or b"/*" in text:
        text = _COMMENTS.sub(_short, text)
    text = _SPACES.sub(b" ", text.translate(_BLANKS))
    text = _LINES.sub(b"\n", text.replace(b" \n", b"\n").replace(b"\n ", b"\n"))
    return blake2b(text, digest_size=SIZE).digest()


def _short(match: re.Match[bytes]) -> bytes:
    part = match.group()
    return part if part[:1] in b"\"'" else b" "
