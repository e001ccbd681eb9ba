"""What goes to and fro for exact jobs, inside the bodies of our own messages (protocol.OURS).

    ASK    argv, environment, where, the source's digest  ->  a manifest (cache/manifest.py)
    TAKE   a result's key                                 ->  a result
    EXACT  argv, environment, a view, contents            ->  a result, or what is missing

A manifest says under which answers of the file system a result is right: the client compares them
with its own, and takes a result only if they are the same. So nothing in a view has to be complete
for an object to be right: what the compiler asked for beside it was recorded, and is in the
manifest's entry that comes with the result.

    <body>   ::= "PX" version { length:u32 field }*
    <list>   ::= count fields...           numbers are fields of eight bytes, little endian

Every length is compared with what is there before anything is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pycc.cache.compression import CompressionError, compress, decompress
from pycc.record import record

from .client_view import ClientFile, ClientLink, View
from .protocol import ProtocolError

ASK, TAKE, EXACT = b"ask", b"take", b"exact"
MISSING, AGAIN = 123, 124
"""Exit codes in STAT: SOUT holds the digests of the contents that are to be sent; somebody else's
compile has just given what is wanted, so ask again."""
DIGEST = 20  # bytes
RESULT_LIMIT = 1 << 30
_MAGIC = b"PX\x01"
_COMPRESSION = 1

Pairs = tuple[tuple[bytes, bytes], ...]


@record
class Ask:
    """``cwd`` is empty where it cannot reach an output; ``digest`` is that of the source."""

    cwd: bytes
    environment: Pairs
    digest: bytes


@record
class Work:
    """A compile. ``bound``: its working directory may reach an output. ``contents`` are those that
    the server is thought to lack."""

    view: View
    environment: Pairs
    bound: bool
    contents: tuple[bytes, ...] = ()


@record
class Made:
    """One output: its path, below the working directory without that, and the permission bits that
    it got under a umask of 0."""

    path: bytes
    mode: int
    content: bytes


@record
class Result:
    """What a successful compile gave. ``manifest`` is packed and holds one entry; ``links`` are the
    symbolic links among what that names, with what they hold: all else are none."""

    outputs: tuple[Made, ...]
    err: bytes
    out: bytes
    manifest: bytes
    links: Pairs = ()


class _Writer:
    def __init__(self) -> None:
        self._parts = [_MAGIC]

    def put(self, *fields: bytes) -> None:
        for field in fields:
            self._parts += (len(field).to_bytes(4, "little"), field)

    def number(self, *values: int) -> None:
        self.put(*(value.to_bytes(8, "little") for value in values))

    def all(self, fields: Sequence[bytes]) -> None:
        self.number(len(fields))
        self.put(*fields)

    def pairs(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self.all([field for pair in pairs for field in pair])

    def text(self) -> bytes:
        return b"".join(self._parts)


class _Reader:
    """Raises ProtocolError for what cannot be."""

    def __init__(self, body: bytes) -> None:
        if not body.startswith(_MAGIC):
            raise ProtocolError("the body is of another version")
        self._body = body
        self._at = len(_MAGIC)

    def take(self) -> bytes:
        start = self._at + 4
        end = start + int.from_bytes(self._body[self._at : start], "little")
        if start > len(self._body) or end > len(self._body):
            raise ProtocolError("the body is cut")
        self._at = end
        return self._body[start:end]

    def number(self) -> int:
        field = self.take()
        if len(field) != 8:
            raise ProtocolError("a number of another size")
        return int.from_bytes(field, "little")

    def all(self, each: int = 1) -> list[bytes]:
        """A list of ``each`` fields by one."""
        count = self.number()
        if count % each or count > (len(self._body) - self._at) // 4:
            raise ProtocolError(f"a list of {count} that cannot be")
        return [self.take() for _ in range(count)]

    def pairs(self) -> Pairs:
        fields = self.all(2)
        return tuple(zip(fields[::2], fields[1::2], strict=True))

    def end(self) -> None:
        if self._at != len(self._body):
            raise ProtocolError("something follows the body")


def pack_ask(ask: Ask) -> bytes:
    """For DOTI."""
    writer = _Writer()
    writer.put(ask.cwd, ask.digest)
    writer.pairs(ask.environment)
    return writer.text()


def unpack_ask(body: bytes) -> Ask:
    """The inverse. Raises ProtocolError."""
    reader = _Reader(body)
    cwd, digest, environment = reader.take(), reader.take(), reader.pairs()
    reader.end()
    return Ask(cwd, environment, digest)


def pack_work(work: Work) -> bytes:
    """For DOTI."""
    view, writer = work.view, _Writer()
    writer.put(view.cwd)
    writer.number(work.bound)
    writer.pairs(work.environment)
    writer.all(
        [
            field
            for file in view.files
            for field in (file.path, file.content, b"%d" % file.mtime, file.same_as)
        ]
    )
    writer.pairs((link.path, link.target) for link in view.links)
    writer.all(view.directories)
    writer.all(view.absent)
    writer.all(work.contents)
    return writer.text()


def unpack_work(body: bytes) -> Work:
    """The inverse; what a view may say is client_view.check's question. Raises ProtocolError."""
    reader = _Reader(body)
    cwd, bound, environment = reader.take(), reader.number(), reader.pairs()
    fields = reader.all(4)
    files = tuple(
        ClientFile(fields[at], fields[at + 1], _decimal(fields[at + 2]), fields[at + 3])
        for at in range(0, len(fields), 4)
    )
    links = tuple(ClientLink(path, target) for path, target in reader.pairs())
    view = View(cwd, files, links, tuple(reader.all()), tuple(reader.all()))
    contents = tuple(reader.all())
    reader.end()
    return Work(view, environment, bound == 1, contents)


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 19:
        raise ProtocolError("a time that is no number")
    return int(text)


def pack_result(result: Result) -> bytes:
    """For DOTO, and to be kept."""
    writer = _Writer()
    writer.put(result.err, result.out, result.manifest)
    writer.pairs(result.links)
    writer.all(
        [field for made in result.outputs for field in (made.path, b"%d" % made.mode, made.content)]
    )
    text = writer.text()
    return len(text).to_bytes(8, "little") + compress(text, _COMPRESSION)


def unpack_result(value: bytes) -> Result:
    """The inverse. Raises ProtocolError."""
    size = int.from_bytes(value[:8], "little")
    if size > RESULT_LIMIT:
        raise ProtocolError(f"a result of {size} bytes")
    try:
        reader = _Reader(bytes(decompress(value[8:], size)))
    except CompressionError as problem:
        raise ProtocolError(str(problem)) from None
    err, out, manifest = reader.take(), reader.take(), reader.take()
    links = reader.pairs()
    fields = reader.all(3)
    outputs = tuple(
        Made(fields[at], _decimal(fields[at + 1]), fields[at + 2])
        for at in range(0, len(fields), 3)
    )
    reader.end()
    return Result(outputs, err, out, manifest, links)


def pack_digests(digests: Sequence[bytes]) -> bytes:
    """The contents that are missing, for SOUT."""
    return b"".join(digests)


def unpack_digests(text: bytes) -> tuple[bytes, ...]:
    """The inverse. Raises ProtocolError."""
    if len(text) % DIGEST:
        raise ProtocolError("a digest that is cut")
    return tuple(text[at : at + DIGEST] for at in range(0, len(text), DIGEST))
