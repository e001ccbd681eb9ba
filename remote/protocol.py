"""distcc's protocol, versions 1 to 3, without I/O: bytes in, messages out, and the other way.

One connection carries one job. The client speaks first, the server answers once, both close::

    request ::= DIST v  [ CDIR ]  ARGC n  { ARGV }*n  ( DOTI | NFIL n  { NAME ( FILE | LINK ) }*n )
    reply   ::= DONE v  STAT s  SERR  SOUT  DOTO  [ DOTD ]

    v = 1: preprocessed text, bodies as they are
    v = 2: preprocessed text, bodies in LZO (bulk.py)
    v = 3: the source and its headers ("pump"), bodies in LZO; CDIR, NFIL and DOTD belong to it

A packet is a token of four characters and a number of eight hexadecimal digits. For DIST, ARGC,
NFIL, DONE and STAT the number is the value; for the others it is the length of a body that
follows. distcc writes small digits and reads both, and so does this. (doc/protocol-*.txt of
distcc; captures of Debian's 3.4 with itself and with the newest.)

What the real programs do beside that, tried:

* A version of 0 is answered like 1, with the same number. What is above 3 is closed without a
  byte, and so is whatever else a server does not like.
* STAT is a wait status, of a process that has ended. When it is not 0 an empty DOTO follows, which
  the client need not read.
* DOTD follows only on success, and its absence is no error to distcc's client.

Between our own programs there are two versions more, OURS, without and with LZO. Their ARGV begin
with what is asked for. `HELLO` asks who is there. `COMPILE` is followed by the identity of the
client's compiler (hexadecimal, or nothing where it is not known) and a job's vector; `FETCH` by
both and in between the text's digest (hexadecimal), in place of the text, for a result that the
server keeps. The answer to each is a reply as above. A stock distccd closes the connection without
a byte.

distcc believes every number that it is sent. Here each is compared with `Limits` before anything
is allocated for it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Generic, TypeVar

from pycc.blake import blake2b
from pycc.errors import PyccError
from pycc.record import record

from . import bulk

T = TypeVar("T")

VERSIONS = (1, 2, 3)
PUMP = 3
OURS_PLAIN, OURS_LZO = 0x70796301, 0x70796302
OURS = (OURS_PLAIN, OURS_LZO)
HELLO, COMPILE, FETCH = b"hello", b"compile", b"fetch"
EXACT_OFFERED = b"exact 1"
"""A line of the answer to HELLO: exact jobs are served (exact_wire.py)."""
TEXT_DIGEST = 32  # bytes
OTHER_COMPILER, NOT_KEPT = 121, 122
"""Exit codes in STAT, for OURS alone: the server's compiler is not the client's; it keeps no result
of that text."""
_PACKED = (2, 3, OURS_LZO)
PACKET = 12  # bytes of a token with its number
_LARGEST = 0xFFFFFFFF


class ProtocolError(PyccError):
    """The peer says what the protocol does not know; the text names it."""


class Truncated(ProtocolError):
    """The peer closed the connection in the middle of a message."""


@record
class Limits:
    """The most that is accepted from a peer; all but the counts in bytes."""

    words: int = 16_384
    word: int = 128 << 10
    command: int = 2 << 20
    files: int = 100_000
    name: int = 4_096
    text: int = 1 << 30
    """One body as it was before it was packed."""
    total: int = 2 << 30
    """All bodies of one message."""


LIMITS = Limits()


@record
class File:
    """A file of a version 3 request: its absolute name on the client, and its content; ``body``
    stands for that on the wire, where it is known already."""

    name: bytes
    content: bytes
    body: bytes | None = None


@record
class Link:
    """A symbolic link of a version 3 request."""

    name: bytes
    target: bytes


@record
class Request:
    """A job. ``text`` is the preprocessed source (versions 1 and 2), ``cwd`` and ``files`` are the
    client's working directory and what is read there (version 3)."""

    version: int
    argv: tuple[bytes, ...]
    text: bytes = b""
    cwd: bytes = b""
    files: tuple[File | Link, ...] = ()


@record
class Reply:
    """What became of a job. ``status`` is a wait status, as of wait(2); ``dependencies`` is None
    where the server sent none."""

    version: int
    status: int
    err: bytes = b""
    out: bytes = b""
    object: bytes = b""
    dependencies: bytes | None = None


def text_digest(text: bytes) -> bytes:
    """What stands for a text where it need not be sent."""
    return blake2b(text, digest_size=TEXT_DIGEST).digest()


# Writing.


def _number(token: bytes, value: int) -> bytes:
    if not 0 <= value <= _LARGEST:
        message = f"{token.decode()} cannot carry {value}"
        raise ProtocolError(message)
    return b"%s%08x" % (token, value)


def _string(token: bytes, value: bytes) -> bytes:
    return _number(token, len(value)) + value


def write_request(request: Request) -> list[bytes]:
    """The bytes of a request, in pieces. Raises ProtocolError for what cannot be said."""
    packing = _packing(request.version)
    pump = request.version == PUMP
    parts = [_number(b"DIST", request.version)]
    if pump:
        parts.append(_string(b"CDIR", request.cwd))
    parts.append(_number(b"ARGC", len(request.argv)))
    parts += (_string(b"ARGV", word) for word in request.argv)
    if not pump:
        parts += _body(b"DOTI", request.text, packing)
        return parts
    parts.append(_number(b"NFIL", len(request.files)))
    for file in request.files:
        parts.append(_string(b"NAME", file.name))
        if isinstance(file, Link):
            parts.append(_string(b"LINK", file.target))
        else:
            body = packing(file.content) if file.body is None else file.body
            parts += (_number(b"FILE", len(body)), body)
    return parts


def write_reply(reply: Reply) -> list[bytes]:
    """The bytes of a reply, in pieces. An object is only sent with a status of 0."""
    packing = _packing(reply.version)
    parts = [_number(b"DONE", reply.version), _number(b"STAT", reply.status & _LARGEST)]
    parts += _body(b"SERR", reply.err, packing)
    parts += _body(b"SOUT", reply.out, packing)
    parts += _body(b"DOTO", reply.object if reply.status == 0 else b"", packing)
    if reply.version == PUMP and reply.status == 0:
        parts += _body(b"DOTD", reply.dependencies or b"", packing)
    return parts


def _packing(version: int) -> Callable[[bytes], bytes]:
    if version > max(VERSIONS) and version not in OURS:
        message = f"protocol version {version} is not known"
        raise ProtocolError(message)
    return bulk.compress if version in _PACKED else bytes


def _body(token: bytes, data: bytes, packing: Callable[[bytes], bytes]) -> list[bytes]:
    packed = packing(data)
    return [_number(token, len(packed)), packed]


# Reading. A grammar is a generator: it asks for so many bytes and is sent them.

Grammar = Generator[int, bytes, T]


class Reader(Generic[T]):
    """Reads one message out of bytes that come in pieces of any size.

    ``message`` is None until it is complete; ``rest`` is what came behind it."""

    def __init__(self, grammar: Grammar[T]) -> None:
        self.message: T | None = None
        self._grammar = grammar
        self._data = bytearray()
        self._at = 0
        self._wanted = next(grammar)

    @property
    def wanted(self) -> int:
        """How many bytes have to come before there is anything to do; 0 at the end."""
        return 0 if self.message is not None else self._wanted - (len(self._data) - self._at)

    @property
    def rest(self) -> bytes:
        """Bytes behind the message."""
        return bytes(self._data[self._at :]) if self.message is not None else b""

    def feed(self, data: bytes) -> T | None:
        """Take the next bytes; returns the message once it is there. Raises ProtocolError."""
        self._data += data
        while self.message is None and len(self._data) - self._at >= self._wanted:
            end = self._at + self._wanted
            piece = bytes(memoryview(self._data)[self._at : end])
            self._at = end
            if self._at > 1 << 16:
                del self._data[: self._at]
                self._at = 0
            try:
                self._wanted = self._grammar.send(piece)
            except StopIteration as done:
                self.message = done.value
        return self.message

    def end(self) -> T:
        """The peer has closed; returns the message if it may end here. Raises Truncated."""
        if self.message is None:
            try:
                self._grammar.throw(Truncated("the peer closed the connection too early"))
            except StopIteration as done:
                self.message = done.value
        if self.message is None:  # no grammar goes on after its end
            raise Truncated("the peer closed the connection too early")
        return self.message


Take = Callable[[int], None]


def _unbounded(_: int) -> None:
    """For who reads only from servers of his own choice, one at a time."""


def request_reader(limits: Limits = LIMITS, take: Take = _unbounded) -> Reader[Request]:
    """A server's reader. ``take`` is told of so many bytes more (or fewer) before memory is taken
    for them; it may wait, and raise ProtocolError."""
    return Reader(_request(limits, take))


def reply_reader(version: int, limits: Limits = LIMITS) -> Reader[Reply]:
    """A client's reader of the answer to a request of ``version``."""
    return Reader(_reply(version, limits))


def _packet(*tokens: bytes) -> Grammar[tuple[bytes, int]]:
    head = yield PACKET
    token, digits = head[:4], head[4:]
    if token not in tokens:
        expected = " or ".join(one.decode() for one in tokens)
        message = f"expected {expected}, got {head!r}"
        raise ProtocolError(message)
    if digits.strip(b"0123456789abcdefABCDEF"):  # int() takes more than distcc does
        message = f"{token.decode()} with the number {digits!r}"
        raise ProtocolError(message)
    return token, int(digits, 16)


def _value(token: bytes, most: int = _LARGEST) -> Grammar[int]:
    _, value = yield from _packet(token)
    if value > most:
        message = f"{token.decode()} {value} is above the limit of {most}"
        raise ProtocolError(message)
    return value


def _text(token: bytes, most: int) -> Grammar[bytes]:
    length = yield from _value(token, most)
    text = (yield length) if length else b""
    if b"\0" in text:
        message = f"{token.decode()} holds a NUL"
        raise ProtocolError(message)
    return text


class _Bodies:
    """Reads the bodies of one message, and counts what they hold together."""

    def __init__(self, version: int, limits: Limits, take: Take = _unbounded) -> None:
        self._packed = version in _PACKED
        self._take = take
        self._limits = limits
        self._left = limits.total

    def read(self, length: int) -> Grammar[bytes]:
        most = min(self._limits.text, self._left)
        if length > most:
            message = f"a body of {length} bytes is above the limit of {most}"
            raise ProtocolError(message)
        self._take(length)
        data = (yield length) if length else b""
        if self._packed:
            grown = bulk.largest(length, most)
            self._take(grown)
            try:
                data = bulk.decompress(data, most)
            except bulk.BulkError as problem:
                raise ProtocolError(str(problem)) from None
            self._take(len(data) - length - grown)
        self._left -= len(data)
        return data

    def after(self, token: bytes) -> Grammar[bytes]:
        _, length = yield from _packet(token)
        data = yield from self.read(length)
        return data


def _request(limits: Limits, take: Take) -> Grammar[Request]:
    version = yield from _value(b"DIST")
    if version > max(VERSIONS) and version not in OURS:
        message = f"protocol version {version} is not known"
        raise ProtocolError(message)
    cwd = b""
    if version == PUMP:
        cwd = yield from _text(b"CDIR", limits.name)
    argv = yield from _command(limits)
    bodies = _Bodies(version, limits, take)
    if version != PUMP:
        text = yield from bodies.after(b"DOTI")
        return Request(version, argv, text)
    count = yield from _value(b"NFIL", limits.files)
    files: list[File | Link] = []
    for _ in range(count):
        name = yield from _text(b"NAME", limits.name)
        token, length = yield from _packet(b"FILE", b"LINK")
        if token == b"FILE":
            content = yield from bodies.read(length)
            files.append(File(name, content))
            continue
        if length > limits.name:
            message = f"LINK {length} is above the limit of {limits.name}"
            raise ProtocolError(message)
        target = (yield length) if length else b""
        files.append(Link(name, target))
    return Request(version, argv, cwd=cwd, files=tuple(files))


def _command(limits: Limits) -> Grammar[tuple[bytes, ...]]:
    count = yield from _value(b"ARGC", limits.words)
    words: list[bytes] = []
    left = limits.command
    for _ in range(count):
        word = yield from _text(b"ARGV", min(limits.word, left))
        left -= len(word)
        words.append(word)
    return tuple(words)


def _ended(status: int) -> bool:
    """Whether wait(2) says so of a process that has ended. Of the others some mean a failure to us
    and an exit with 0 to who calls us, and some fit into no C int."""
    signal = status & 0x7F
    return status <= 0xFFFF and signal != 0x7F and (not status or bool(signal or status >> 8))


def _reply(version: int, limits: Limits) -> Grammar[Reply]:
    answered = yield from _value(b"DONE")
    if answered != version:
        message = f"an answer of version {answered} to a request of version {version}"
        raise ProtocolError(message)
    status = yield from _value(b"STAT")
    if not _ended(status):
        message = f"STAT {status:#x} is not how a process ends"
        raise ProtocolError(message)
    bodies = _Bodies(version, limits)
    err = yield from bodies.after(b"SERR")
    out = yield from bodies.after(b"SOUT")
    if status:
        # Nothing of use follows, and some servers send nothing.
        return Reply(version, status, err, out)
    made = yield from bodies.after(b"DOTO")
    dependencies: bytes | None = None
    if version == PUMP:
        try:
            dependencies = yield from bodies.after(b"DOTD")
        except Truncated:
            dependencies = None
    return Reply(version, status, err, out, made, dependencies)
