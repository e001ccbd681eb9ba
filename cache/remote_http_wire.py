"""HTTP/1.1 as far as a storage needs it: one request, one bounded answer (RFC 9112).

    <answer> ::= "HTTP/1." digit SP status SP reason CRLF { <field> CRLF } CRLF <body>
    <body>   ::= nothing                      to HEAD, and for 204 and 304
               | { <size in hex> CRLF data CRLF } "0" CRLF { <field> CRLF } CRLF    if chunked
               | Content-Length bytes
               | all that comes                otherwise

The bytes come from anything that gives lines and numbers of bytes (remote_stream.Stream).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ..record import record

MOST_FIELDS = 200
REASON_LIMIT = 64 << 10
"""Bytes of a body that is not an entry: what comes on top of it is not read."""


class Reader(Protocol):
    """Raises EOFError where the other end closes too early."""

    def line(self) -> bytes: ...
    def exactly(self, size: int) -> bytes: ...
    def rest(self, most: int) -> bytes: ...


@record
class Answer:
    """``again``: another request may follow on this connection."""

    status: int
    body: bytes
    again: bool

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


def request(
    method: str, target: str, fields: Iterable[tuple[str, str]], size: int | None = None
) -> bytes:
    """The head of a request; ``size`` of the body that follows. Raises ValueError."""
    lines = [f"{method} {target} HTTP/1.1"]
    lines += (f"{name}: {value}" for name, value in fields)
    if size is not None:
        lines.append(f"Content-Length: {size}")
    if any("\r" in line or "\n" in line or "\0" in line for line in lines):
        raise ValueError("a header that is more than a line")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


def read_answer(stream: Reader, method: str, most: int) -> Answer:
    """The answer to a request. Raises ValueError, EOFError."""
    while True:
        status, minor, fields = _head(stream)
        if status >= 200:
            break
    connection = fields.get("connection", "").lower()
    again = "close" not in connection and (minor > 0 or "keep-alive" in connection)
    if method == "HEAD" or status in (204, 304):
        return Answer(status, b"", again)
    limit = most if 200 <= status < 300 else REASON_LIMIT
    if "chunked" in fields.get("transfer-encoding", "").lower():
        body = _chunks(stream, limit)
        return Answer(status, body or b"", again and body is not None)
    length = fields.get("content-length")
    if length is None:
        return Answer(status, stream.rest(limit), False)
    size = _number(length, 10)
    if size > limit:
        if limit == most:
            raise ValueError(f"an entry of {size} bytes")
        return Answer(status, b"", False)
    return Answer(status, stream.exactly(size), again)


def _head(stream: Reader) -> tuple[int, int, dict[str, str]]:
    version, _, rest = stream.line().partition(b" ")
    if version not in (b"HTTP/1.1", b"HTTP/1.0") or not rest[:3].isdigit():
        raise ValueError("no HTTP answer")
    fields: dict[str, str] = {}
    for _ in range(MOST_FIELDS):
        line = stream.line()
        if not line:
            return int(rest[:3]), version[-1] - ord("0"), fields
        name, colon, value = line.partition(b":")
        if not colon:
            raise ValueError("no HTTP header")
        text = value.strip().decode("latin-1")
        known = fields.get(name.lower().decode("latin-1"))
        if name.lower() == b"content-length" and known not in (None, text):
            raise ValueError("two lengths of one answer")
        fields[name.lower().decode("latin-1")] = text
    raise ValueError("too many HTTP headers")


def _chunks(stream: Reader, most: int) -> bytes | None:
    """The body; None if it is longer than ``most``."""
    body = bytearray()  # a list of chunks of two bytes would take twenty times their size
    while True:
        size = _number(stream.line().partition(b";")[0].decode("latin-1"), 16)
        if not size:
            break
        if len(body) + size > most:
            return None
        body += stream.exactly(size)
        if stream.line():
            raise ValueError("a chunk that is longer than it says")
    for _ in range(MOST_FIELDS):
        if not stream.line():
            return bytes(body)
    raise ValueError("too many HTTP headers")


def _number(text: str, base: int) -> int:
    text = text.strip()
    allowed = "0123456789abcdefABCDEF"[: 10 if base == 10 else None]
    if not text or len(text) > 18 or text.strip(allowed):
        raise ValueError("a length that is none")
    return int(text, base)
