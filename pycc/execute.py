"""The launcher's work done in Python: one call, in this process, without a server.

PYCC_RESIDENT=0 (hermetic sandboxes, tests) and systems without a usable runtime directory come
here. The compile runs as our child, and the same operations that a launcher carries out are
carried out here; ``launcher/launcher.c`` is the other executor of the same grammar.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, NoReturn

from .frame import (
    CAPTURE_ERR,
    CAPTURE_OUT,
    CLONE,
    FINAL,
    OUT_FILE,
    OWN_NAME,
    REPLACE,
    REPLACE_ALWAYS,
    STDERR_TTY,
    TEE_ERR,
    TEE_OUT,
    UNCACHED_FD,
    Exec,
    Exit,
    Fallback,
    Link,
    Op,
    Out,
    Report,
    Request,
    Run,
    Shared,
    Unlink,
    Wait,
    Write,
)
from .talk import Gone, HereTalk

if TYPE_CHECKING:
    import subprocess

LEVEL = b"_PYCC_LEVEL"


def once(argv: Sequence[bytes]) -> NoReturn:
    """Answer the call ``argv`` (argv[0] as the launcher was called) and end the process."""
    from .locate import DEFAULT_PATH, locate
    from .resident import Resident

    _occupy_standard_streams()
    executor = Executor()
    request = _request(argv)
    resident = Resident(None)
    ops: Sequence[Op]
    try:
        ops = resident.answer(request, executor)
    except Gone:
        ops = [Fallback()]
    except Exception as problem:
        resident.failed(request, problem)
        ops = [Fallback()]
    resident.close()
    status = executor.carry_out(ops)
    if status is not None:
        end_as(status)
    words = list(argv[1:]) if request.own_name else [os.path.basename(argv[0]), *argv[1:]]
    while len(words) > 1 and b"=" in words[0] and b"/" not in words[0].split(b"=")[0]:
        words.pop(0)  # a setting for us
    words = [word for word in words if not word.startswith(b"--ccache-")]
    located = locate(words[0], os.environb.get(b"PATH", DEFAULT_PATH), os.getcwdb())
    if located is None:
        print(f"pycc: could not find compiler {os.fsdecode(words[0])}", file=sys.stderr)
        sys.exit(1)
    os.execve(located.path, [located.path, *words[1:]], _environment(()))


def _occupy_standard_streams() -> None:
    """No file that we open may become the user's closed stdin, stdout or stderr. What stands in
    for them is closed again where the compiler starts."""
    fd = 0
    while fd < 3:
        fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.close(fd)


def _request(argv: Sequence[bytes]) -> Request:
    umask = os.umask(0o022)
    os.umask(umask)
    name = os.path.basename(argv[0])
    flags = OWN_NAME if name.startswith((b"pycc", b"ccache")) else 0
    flags |= STDERR_TTY if _is_tty(2) else 0
    block = b"".join(b"%s=%s\0" % item for item in os.environb.items())
    return Request(
        tuple(argv),
        b"".join(word + b"\0" for word in argv),
        block,
        os.getcwdb(),
        umask,
        flags,
        os.getpid(),
    )


def _is_tty(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _environment(edits: Iterable[bytes]) -> dict[bytes, bytes]:
    environment = dict(os.environb)
    for edit in edits:
        key, equals, value = edit.partition(b"=")
        if equals:
            environment[key] = value
        else:
            environment.pop(key, None)
    level = int(environment.get(LEVEL, b"0") or 0)
    environment[LEVEL] = str(level + 1).encode()
    return environment


def end_as(status: int) -> NoReturn:
    """End as a child with this wait status ended: the same code, or the same signal."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it was closed when we started
            with contextlib.suppress(OSError):
                stream.flush()
    if os.WIFSIGNALED(status):
        import resource
        import signal

        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        os._exit(128 + number)
    os._exit(os.WEXITSTATUS(status))


class Executor(HereTalk):
    """A Talk whose launcher is this process."""

    def __init__(self) -> None:
        self._final_status: int | None = None

    def run(self, command: Run, meanwhile: Callable[[], None] | None = None) -> Report:
        if meanwhile is not None:
            meanwhile()
        report = _run(command)
        if command.flags & FINAL and not report.error:
            self._final_status = report.status
        return report

    def give(self, ops: Sequence[Op]) -> None:
        for op in ops:
            match op:
                case Write() if not write_file(op):
                    raise Gone(f"{os.fsdecode(op.path)} cannot be written")
                case Out(fd, data):
                    with contextlib.suppress(OSError):
                        _write_all(fd, data)

    def carry_out(self, ops: Sequence[Op]) -> int | None:
        """The wait status with which to end; None when the plain compiler must run."""
        for op in ops:
            match op:
                case Write():
                    if not write_file(op):
                        return self._final_status
                case Out(fd, data):
                    with contextlib.suppress(OSError):
                        _write_all(fd, data)
                case Exec(argv, edits):
                    with contextlib.suppress(OSError):
                        os.execve(argv[0], list(argv), _environment(edits))
                    return self._final_status
                case Exit(status):
                    return status
                case Unlink(path):
                    with contextlib.suppress(OSError):
                        os.unlink(path)
                case Link(source, target, flags):
                    try:
                        if flags & CLONE:
                            with open(source, "rb") as file:
                                if not write_file(Write(target, file.read(), REPLACE)):
                                    return self._final_status
                            continue
                        if flags & REPLACE:
                            with contextlib.suppress(FileNotFoundError):
                                os.unlink(target)
                        os.link(source, target)
                    except OSError:
                        return self._final_status
                case Wait() | Run():
                    continue
                case Fallback() | Shared():  # nobody shares memory with himself
                    return self._final_status
        return self._final_status


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_file(op: Write) -> bool:
    """Make the file as the compiler itself would have; False when that cannot be done."""
    try:
        if op.flags & (REPLACE | REPLACE_ALWAYS):
            try:
                link = os.lstat(op.path)
            except FileNotFoundError:
                link = None
            if link is not None:
                if not stat.S_ISREG(link.st_mode) and not stat.S_ISLNK(link.st_mode):
                    return False
                if op.flags & REPLACE_ALWAYS:
                    if not os.access(op.path, os.W_OK) and os.path.exists(op.path):
                        return False
                    os.unlink(op.path)
                elif _size(op.path):
                    os.unlink(op.path)
        elif os.path.exists(op.path) and not os.path.isfile(op.path):
            return False
        fd = os.open(op.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, op.mode)
        try:
            _write_all(fd, op.data)
        finally:
            os.close(fd)
    except OSError:
        return False
    return True


def _size(path: bytes) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _run(command: Run) -> Report:
    # A process that only serves a hit has no use for it, and it takes milliseconds to load.
    import subprocess

    environment = _environment(command.environment)
    keep: tuple[int, ...] = ()
    if command.flags & UNCACHED_FD:
        with contextlib.suppress(OSError):
            keep = (os.dup(2),)
            environment[b"UNCACHED_ERR_FD"] = str(keep[0]).encode()
    out: int | IO[bytes] | None = subprocess.PIPE if command.flags & CAPTURE_OUT else None
    opened: IO[bytes] | None = None
    with _signals_passed_on() as pass_on_to:
        try:
            if command.flags & OUT_FILE:
                fd = os.open(command.out_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                out = opened = os.fdopen(fd, "wb")
            started = time.monotonic_ns()
            child = subprocess.Popen(
                list(command.argv),
                env=environment,
                stdout=out,
                stderr=subprocess.PIPE if command.flags & CAPTURE_ERR else None,
                pass_fds=keep,
            )
        except OSError as problem:
            return Report(0, problem.errno or 1, b"", b"", 0)
        finally:
            if opened is not None:
                opened.close()
            for fd in keep:
                os.close(fd)
        pass_on_to(child)
        captured = _capture(child, command.flags)
        code = child.wait()
    status = -code if code < 0 else code << 8
    elapsed = time.monotonic_ns() - started
    return Report(status, 0, bytes(captured[1]), bytes(captured[2]), elapsed)


@contextlib.contextmanager
def _signals_passed_on() -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """The signals that would end us go to the compiler, from before it is there: one that came
    while it was started would end us and leave it running. Gives what tells which it is."""
    import signal

    children: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def handle(number: int, _: object) -> None:
        if children:
            children[0].send_signal(number)
        else:
            early.append(number)

    def pass_on_to(child: subprocess.Popen[bytes]) -> None:
        children.append(child)
        for number in early:
            child.send_signal(number)

    previous = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) != signal.SIG_IGN:
            previous[number] = signal.signal(number, handle)
    try:
        yield pass_on_to
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if not children:
            for one in early:
                signal.raise_signal(one)


def _capture(child: subprocess.Popen[bytes], flags: int) -> dict[int, bytearray]:
    """What the child says, passed on at once where that was asked for."""
    import selectors

    captured = {1: bytearray(), 2: bytearray()}
    tee = {1: bool(flags & TEE_OUT), 2: bool(flags & TEE_ERR)}
    with selectors.DefaultSelector() as selector:
        for fd, pipe in ((1, child.stdout), (2, child.stderr)):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, fd)
        while selector.get_map():
            for key, _ in selector.select():
                data = os.read(key.fd, 1 << 16)
                if not data:
                    selector.unregister(key.fileobj)
                    continue
                captured[key.data] += data
                if tee[key.data]:
                    with contextlib.suppress(OSError):
                        _write_all(key.data, data)
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()
    return captured
