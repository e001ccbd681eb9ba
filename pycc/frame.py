"""The wire between launcher and server: bytes to records and records to bytes, without I/O.

``launcher/frame.h`` holds the grammar. Lengths are checked against the frame that carries them
before anything is sliced, and a frame is never longer than ``LIMIT`` bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct, error

from .blake import blake2b
from .record import record

MAGIC = 0x31435950
LIMIT = 1 << 30  # bytes; environments reach 6 MiB, captured output a few hundred
HEADER = Struct("<III")

REQUEST, REPORT, REPLY = 1, 2, 3

STDERR_TTY, OWN_NAME = 1, 4

REPLACE, REPLACE_ALWAYS = 1, 2
"""How WRITE treats an existing file: as GNU as does (unlink it unless it is empty), or as clang
does (rename over it); 0 truncates it in place, as cc1 does with -S and dependency files."""

CLONE = 4
"""Of LINK: another file with the same content, which shares its blocks where that can be had."""

CAPTURE_ERR, TEE_ERR, CAPTURE_OUT, TEE_OUT, OUT_FILE, FINAL, UNCACHED_FD = 1, 2, 4, 8, 16, 32, 64
STRIP_ERR = 128

_REQUEST = Struct("<8I")
_REPORT = Struct("<4IQ")
_OP = Struct("<II")
_WRITE = Struct("<IIIIII")
_SHARED = Struct("<7I")
_COMMAND = Struct("<IIIIII")


class FrameError(Exception):
    """The peer sent something that is no frame of this protocol."""


@record
class Request:
    """What the launcher saw: everything that the server may use, and nothing of the server's."""

    argv: tuple[bytes, ...]
    argv_block: bytes
    environment_block: bytes
    cwd: bytes
    umask: int
    flags: int
    pid: int = 0
    """The client's process, for its log lines; 0 when it is not known."""
    name: bytes = b""
    """name_of its frame; nothing when it had none."""

    @property
    def stderr_tty(self) -> bool:
        return bool(self.flags & STDERR_TTY)

    @property
    def own_name(self) -> bool:
        return bool(self.flags & OWN_NAME)


@record
class Report:
    """How a command ended: ``status`` as wait(2) gives it, ``error`` an errno if it never ran."""

    status: int
    error: int
    out: bytes
    err: bytes
    ns: int

    @property
    def ok(self) -> bool:
        return self.status == 0 and self.error == 0


@record
class Write:
    """Make a file; ``flags`` say how an existing one is treated."""

    path: bytes
    data: bytes
    flags: int = 0
    mode: int = 0o666


@record
class Shared:
    """As Write; the ``size`` bytes lie at ``at`` in the memory that goes along (sharing.py)."""

    path: bytes
    at: int
    size: int
    flags: int = 0
    mode: int = 0o666


@record
class Out:
    """Write ``data`` to the launcher's own descriptor ``fd``."""

    fd: int
    data: bytes


@record
class Run:
    """Run ``argv`` (argv[0] is the file to execute) as the launcher's child and report."""

    argv: Sequence[bytes]
    flags: int
    environment: Sequence[bytes] = ()
    out_path: bytes = b""


@record
class Exec:
    """Become ``argv``: nothing of ours remains."""

    argv: Sequence[bytes]
    environment: Sequence[bytes] = ()


@record
class Exit:
    """End as a child with this wait status ended."""

    status: int


@record
class Unlink:
    """Remove a file, if it is there."""

    path: bytes


@record
class Link:
    """Give a file a second name."""

    source: bytes
    target: bytes
    flags: int = REPLACE


@record
class Wait:
    """The answer will take up to ``ms`` milliseconds more."""

    ms: int


@record
class Fallback:
    """Let the launcher find and exec the real compiler itself."""


Op = Write | Shared | Out | Run | Exec | Exit | Unlink | Link | Wait | Fallback


def frame_length(header: bytes | bytearray) -> int:
    """Length in bytes of the frame that starts with ``header`` (HEADER.size bytes or more)."""
    length, magic, kind = HEADER.unpack_from(header)
    if magic != MAGIC or kind not in (REQUEST, REPORT, REPLY):
        raise FrameError("not a frame of this protocol")
    if not HEADER.size <= length <= LIMIT:
        raise FrameError(f"a frame of {length} bytes")
    return int(length)


def _strings(block: bytes, count: int, what: str) -> tuple[bytes, ...]:
    if not block:
        parts: list[bytes] = []
    elif block[-1] != 0:
        raise FrameError(f"{what} does not end with NUL")
    else:
        parts = block[:-1].split(b"\0")
    if len(parts) != count:
        raise FrameError(f"{what} holds {len(parts)} strings, not {count}")
    return tuple(parts)


def name_of(frame: bytes) -> bytes:
    """What stands for a whole request: requests with one name differ in their processes alone."""
    return blake2b(frame, digest_size=20).digest()


def read_request(frame: bytes, pid: int = 0) -> Request:
    """One whole request frame from the process ``pid``. Raises FrameError."""
    try:
        if HEADER.unpack_from(frame)[2] != REQUEST:
            raise FrameError("a request was due")
        umask, flags, argc, _envc, cwd_n, argv_n, env_n, _ = _REQUEST.unpack_from(
            frame, HEADER.size
        )
    except error as problem:
        raise FrameError("a short request") from problem
    at = HEADER.size + _REQUEST.size
    if at + cwd_n + argv_n + env_n != len(frame):
        raise FrameError("a request whose parts do not add up")
    cwd = frame[at : at + cwd_n]
    argv_block = frame[at + cwd_n : at + cwd_n + argv_n]
    if not cwd.startswith(b"/") or b"\0" in cwd:
        raise FrameError("a directory that is not absolute")
    if not argc:
        raise FrameError("a command without a name")
    return Request(
        _strings(argv_block, argc, "argv"),
        argv_block,
        frame[at + cwd_n + argv_n :],
        cwd,
        umask,
        flags,
        pid,
        name_of(frame),
    )


def read_environment(block: bytes) -> dict[bytes, bytes]:
    """KEY=VALUE strings, each ended by NUL; the first of two equal keys counts, as getenv does."""
    environment: dict[bytes, bytes] = {}
    for entry in block.split(b"\0"):
        key, equals, value = entry.partition(b"=")
        if equals and key not in environment:
            environment[key] = value
    return environment


def read_report(frame: bytes) -> Report:
    """One whole report frame. Raises FrameError."""
    try:
        if HEADER.unpack_from(frame)[2] != REPORT:
            raise FrameError("a report was due")
        status, err_no, out_n, err_n, ns = _REPORT.unpack_from(frame, HEADER.size)
    except error as problem:
        raise FrameError("a short report") from problem
    at = HEADER.size + _REPORT.size
    if at + out_n + err_n != len(frame):
        raise FrameError("a report whose parts do not add up")
    return Report(status, err_no, frame[at : at + out_n], frame[at + out_n :], ns)


def _padding(length: int) -> bytes:
    return b"\0" * (-length % 4)


def _command(op: int, item: Run | Exec) -> list[bytes]:
    flags = item.flags if isinstance(item, Run) else 0
    out_path = item.out_path if isinstance(item, Run) else b""
    words = b"\0".join((out_path, *item.argv, *item.environment)) + b"\0"
    length = 16 + len(words)
    head = _COMMAND.pack(op, length, flags, len(item.argv), len(item.environment), len(out_path))
    return [head, words, _padding(length)]


def _op(item: Op) -> list[bytes]:
    match item:
        case Write(path, data, flags, mode):
            length = 17 + len(path) + len(data)
            head = _WRITE.pack(1, length, flags, mode, len(path), len(data))
            return [head, path, b"\0", data, _padding(length)]
        case Out(fd, data):
            length = 4 + len(data)
            return [_OP.pack(2, length), fd.to_bytes(4, "little"), data, _padding(length)]
        case Run():
            return _command(3, item)
        case Exec():
            return _command(4, item)
        case Exit(status):
            return [_OP.pack(5, 4), status.to_bytes(4, "little")]
        case Unlink(path):
            length = len(path) + 1
            return [_OP.pack(6, length), path, b"\0", _padding(length)]
        case Wait(ms):
            return [_OP.pack(7, 4), ms.to_bytes(4, "little")]
        case Link(source, target, flags):
            length = 8 + len(source) + len(target) + 2
            body = Struct("<II").pack(flags, len(source)) + source + b"\0" + target + b"\0"
            return [_OP.pack(8, length), body, _padding(length)]
        case Fallback():
            return [_OP.pack(9, 0)]
        case Shared(path, at, size, flags, mode):
            length = 21 + len(path)
            head = _SHARED.pack(10, length, flags, mode, len(path), size, at)
            return [head, path, b"\0", _padding(length)]


def reply_parts(ops: Sequence[Op]) -> list[bytes]:
    """One reply frame that carries out ``ops`` in order, in pieces."""
    parts = [b""]
    for item in ops:
        parts += _op(item)
    length = HEADER.size + sum(map(len, parts))
    if length > LIMIT:
        raise FrameError(f"a reply of {length} bytes")
    parts[0] = HEADER.pack(length, MAGIC, REPLY)
    return parts


def write_reply(ops: Sequence[Op]) -> bytes:
    """The same in one piece."""
    return b"".join(reply_parts(ops))


def read_reply(frame: bytes) -> list[Op]:
    """The inverse of write_reply, for the in-process executor's tests. Raises FrameError."""
    ops: list[Op] = []
    at = HEADER.size
    try:
        if len(frame) != frame_length(frame) or HEADER.unpack_from(frame)[2] != REPLY:
            raise FrameError("a reply that is cut")
        while at < len(frame):
            code, length = _OP.unpack_from(frame, at)
            body = frame[at + 8 : at + 8 + length]
            if len(body) != length:
                raise FrameError("an operation that is cut")
            at += 8 + length + (-length % 4)
            ops.append(_read_op(code, body))
    except error as problem:
        raise FrameError("a short reply") from problem
    return ops


def _read_op(code: int, body: bytes) -> Op:
    match code:
        case 1:
            flags, mode, path_n, data_n = Struct("<IIII").unpack_from(body)
            return Write(body[16 : 16 + path_n], body[17 + path_n :][:data_n], flags, mode)
        case 2:
            return Out(int.from_bytes(body[:4], "little"), body[4:])
        case 3 | 4:
            flags, argc, envc, _ = Struct("<IIII").unpack_from(body)
            words = body[16:-1].split(b"\0")
            argv, environment = words[1 : 1 + argc], words[1 + argc : 1 + argc + envc]
            if code == 3:
                return Run(tuple(argv), flags, tuple(environment), words[0])
            return Exec(tuple(argv), tuple(environment))
        case 5:
            return Exit(int.from_bytes(body, "little"))
        case 6:
            return Unlink(body[:-1])
        case 7:
            return Wait(int.from_bytes(body, "little"))
        case 8:
            flags, n = Struct("<II").unpack_from(body)
            return Link(body[8 : 8 + n], body[9 + n : -1], flags)
        case 9:
            return Fallback()
        case 10:
            flags, mode, path_n, size, at = Struct("<5I").unpack_from(body)
            return Shared(body[20 : 20 + path_n], at, size, flags, mode)
    raise FrameError(f"operation {code}")
