"""Runs a compiler in a root that a plan describes, and brings back all that it wrote.

The work is done by a small program of our own (launcher/sandbox.c), which makes the root inside
namespaces and is gone with everything in it when the compile ends, however it ends. It is used
rather than bubblewrap because a job has hundreds of files, which one process puts down from one
list, and because there is nothing to install. What it needs of the kernel is the same: user
namespaces for the daemon's user, and Linux 5.12.

`Sandbox.open` finds out once whether all that is to be had, and why not.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import Enum
from struct import Struct

from pycc.errors import PyccError
from pycc.record import record

from .child import End, Ran, Stop, run
from .client_view import View
from .exact_root import PATCHES, TEMPORARY, Ground, Layout, Plan, Step

PROGRAM = os.path.join(os.path.dirname(os.path.dirname(__file__)), "_sandbox")
PROBE_SECONDS = 10.0
SIZE_LIMIT = 2 << 30
"""Bytes: all files of a root together, and all outputs. It is memory, taken as it is filled."""
MOST_INODES = 1 << 17
NOBODY = 65534

_HEAD = Struct("=IIiI")
_OUTPUT = Struct("=IIQ")
_LOOKUPS = Struct("=II")
_LOOKUP = Struct("=HHH")
_MAGIC = 0x70636378
_RAN, _FAILED = 1, 2
_STAGES = {
    0xFFFFFFF0: "making namespaces",
    0xFFFFFFF1: "mapping users",
    0xFFFFFFF2: "making a root",
    0xFFFFFFF3: "starting the compiler",
    0xFFFFFFF4: "fetching outputs",
    0xFFFFFFF5: "staying with the daemon",
    0xFFFFFFF6: "reading the order",
}
_NAMESPACES, _MAPS, _PROCESS = 0xFFFFFFF0, 0xFFFFFFF1, 0xFFFFFFF3
_LETTERS = {
    b"B": "showing the tree",
    b"N": "showing the device",
    b"D": "making the directory",
    b"T": "making the directory",
    b"L": "making the link",
    b"F": "putting down the file",
    b"K": "putting down the file",
    b"O": "laying over",
}


class SandboxFailed(PyccError):
    """The compiler was not run, or what it wrote cannot be had; the text says why."""


class ContentGone(SandboxFailed):
    """A content that the plan needs is no longer there; the client may send it again."""


@record
class Output:
    """A regular file that a compile wrote: its path, its content, and its permission bits as they
    are under a umask of 0."""

    path: bytes
    mode: int
    content: bytes


class Found(Enum):
    """What a compile found at a path, with links followed."""

    ABSENT = 1
    FILE = 2
    """A regular file of which it was only asked whether it is there."""
    CONTENT = 3
    """A regular file that was opened to be read, or run."""
    DIRECTORY = 4
    LISTED = 5
    """A directory that was opened: its names may have been read."""
    OTHER = 6


_FOUND = {found.value: found for found in Found}


@record
class Lookup:
    """One question to the file system: a path as it was spelled, relative to the plan's cwd, and
    the answer.

    ``target`` is what the symbolic link at the path holds; where it is empty, no link is there. The
    directories on the way to whatever is there are lookups of their own."""

    path: bytes
    found: Found
    target: bytes = b""


@record
class Compiled:
    """``ran`` is what child.run says, of the compiler itself; without outputs unless it is done.

    ``lookups`` is all that the compiler and its children asked, each path once: the outcome is the
    same wherever the answers are. None where it was not asked for, or is not known completely."""

    ran: Ran
    outputs: tuple[Output, ...] = ()
    lookups: tuple[Lookup, ...] | None = None


class Sandbox:
    """Safe for several threads. ``patches``: whether plans with patches can be carried out;
    ``records``: whether lookups can be told."""

    def __init__(self, program: int, contents: int) -> None:
        self._program = program
        self._contents = contents
        self.patches = False
        self.records = False

    @staticmethod
    def open(contents: int, ground: Ground, program: str = PROGRAM) -> Sandbox:
        """Try it out. ``contents`` is the descriptor of the directory of contents. Raises
        SandboxFailed, saying what this machine lacks.

        The program stays open: a daemon that has given up its privileges may not be able to
        reach it any more."""
        try:
            sandbox = Sandbox(os.open(program, os.O_PATH | os.O_CLOEXEC), contents)
        except OSError as problem:
            message = f"{program}: {problem.strerror}"
            raise SandboxFailed(message) from None
        try:
            sandbox._carry_out(_root(ground), PROBE_SECONDS, None)
        except SandboxFailed:
            sandbox.close()
            raise
        with suppress(SandboxFailed):
            sandbox._carry_out(_patched_root(), PROBE_SECONDS, None)
            sandbox.patches = True
        with suppress(SandboxFailed):
            probe = sandbox._carry_out(_asking_root(), PROBE_SECONDS, None)
            sandbox.records = probe.lookups == (Lookup(b"/", Found.DIRECTORY),)
        return sandbox

    def close(self) -> None:
        """Let go of the program."""
        os.close(self._program)

    def run(
        self,
        plan: Plan,
        argv: Sequence[bytes],
        *,
        environment: Mapping[bytes, bytes],
        client: int | None = None,
        seconds: float | None = None,
        stop: Stop | None = None,
        record: bool = False,
    ) -> Compiled:
        """Run ``argv``, whose first word is the path of a program in a tree, as `child.run` does.
        ``record``: tell the lookups, if that is possible here. Raises SandboxFailed."""
        if plan.patched and not self.patches:
            where = os.fsdecode(plan.patched[0])
            message = f"{where} differs here, and this kernel cannot lay others' files over it"
            raise SandboxFailed(message)
        steps = [*plan.steps, Step(b"C", (plan.cwd,)), Step(b"R", (argv[0],))]
        steps += [Step(b"A", (word,)) for word in argv]
        steps += [Step(b"E", (b"%s=%s" % pair,)) for pair in environment.items()]
        if record and self.records:
            steps.append(Step(b"Q", (b"",)))
        return self._carry_out(steps, seconds, client, stop)

    def _carry_out(
        self,
        steps: Sequence[Step],
        seconds: float | None,
        client: int | None,
        stop: Stop | None = None,
    ) -> Compiled:
        order = os.memfd_create("pycc-order", os.MFD_CLOEXEC)
        outcome = os.memfd_create("pycc-outcome", os.MFD_CLOEXEC)
        try:
            text = _written((*_own_steps(), *steps))
            _write(order, text)
            fds = (order, self._contents, outcome)
            program = b"/proc/self/fd/%d" % self._program
            words = (program, *(b"%d" % fd for fd in fds), b"%d" % os.getpid())
            ran = run(
                words,
                cwd=b"/",
                environment={},
                client=client,
                seconds=seconds,
                stop=stop,
                keep=(self._program, *fds),
            )
            if ran.end is not End.DONE:
                return Compiled(ran)
            return _read(outcome, text, ran)
        except OSError as problem:
            message = f"the sandbox did not start: {problem.strerror}"
            raise SandboxFailed(message) from None
        finally:
            os.close(order)
            os.close(outcome)


def _own_steps() -> tuple[Step, ...]:
    """What every order has. The user keeps his number, but for root, who would keep his
    capabilities with it."""
    uid, gid = os.geteuid(), os.getegid()
    return (
        Step(b"U", (b"%d %d 1" % (uid or NOBODY, uid),)),
        Step(b"G", (b"%d %d 1" % (gid or NOBODY, gid),)),
        Step(b"S", (b"size=%d,nr_inodes=%d,mode=755" % (SIZE_LIMIT, MOST_INODES),)),
        Step(b"X", (b"%d" % SIZE_LIMIT,)),
    )


def _root(ground: Ground) -> list[Step]:
    """An order that shows the trees and runs nothing."""
    steps = Layout(View(TEMPORARY), ground).plan({}).steps
    return [*steps, Step(b"C", (b"/",)), Step(b"R", (b"",))]


def _patched_root() -> list[Step]:
    """An order that lays one directory over another and hides a file, and runs nothing."""
    directories = (PATCHES, PATCHES + b"/0", PATCHES + b"/1", b"/proc")
    return [
        *(Step(b"D", (path,)) for path in directories),
        Step(b"W", (PATCHES + b"/0/hidden",)),
        Step(b"O", (PATCHES + b"/1", b"lowerdir=%s/0:%s/1" % (PATCHES, PATCHES))),
        Step(b"C", (b"/",)),
        Step(b"R", (b"",)),
    ]


def _asking_root() -> list[Step]:
    """An order for an empty root, in which one question is asked."""
    return [Step(b"C", (b"/",)), Step(b"R", (b"",)), Step(b"Q", (b"",))]


def _written(steps: Sequence[Step]) -> bytes:
    parts = []
    for step in steps:
        if any(b"\0" in word for word in step.words):
            message = "a word contains a zero byte"
            raise SandboxFailed(message)
        parts.append(step.letter + b"\0".join(step.words) + b"\0")
    return b"".join(parts)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _read(outcome: int, order: bytes, ran: Ran) -> Compiled:
    """What sandbox.c wrote, and its own output with the compiler's status."""
    size = os.fstat(outcome).st_size
    data = memoryview(os.pread(outcome, size, 0)) if size < 1 << 30 else _all(outcome, size)
    if len(data) < _HEAD.size:
        raise SandboxFailed(f"the sandbox ended with status {ran.status}")
    magic, kind, value, at = _HEAD.unpack_from(data)
    if magic != _MAGIC or kind not in (_RAN, _FAILED):
        raise SandboxFailed("the sandbox said nothing that is known")
    if kind == _FAILED:
        raise _failure(value, at, order)
    outputs = []
    lookups = None
    place = _HEAD.size
    while True:
        if place + _OUTPUT.size > len(data):
            if len(data) == _HEAD.size:  # nothing was run
                break
            raise SandboxFailed("the outputs were cut short")
        mode, length, size = _OUTPUT.unpack_from(data, place)
        place += _OUTPUT.size
        if not length:
            lookups = _lookups(data[place:])
            break
        if place + length + size > len(data):
            raise SandboxFailed("the outputs were cut short")
        path = bytes(data[place : place + length])
        place += length
        outputs.append(Output(path, mode, bytes(data[place : place + size])))
        place += size
    return Compiled(Ran(ran.end, value, ran.out, ran.err), tuple(outputs), lookups)


def _lookups(data: memoryview) -> tuple[Lookup, ...] | None:
    """What follows the outputs."""
    if not data:
        return None
    complete, count = _LOOKUPS.unpack_from(data)
    if not complete:
        return None
    lookups = []
    place = _LOOKUPS.size
    text = bytes(data)
    for _ in range(count):
        if place + _LOOKUP.size > len(text):
            break
        found, length, more = _LOOKUP.unpack_from(text, place)
        place += _LOOKUP.size
        end = place + length
        lookups.append(Lookup(text[place:end], _FOUND[found], text[end : end + more]))
        place = end + more
    if place != len(text) or len(lookups) != count:
        raise SandboxFailed("the lookups were cut short")
    return tuple(lookups)


def _all(fd: int, size: int) -> memoryview:
    """The whole of a file that is larger than what one call reads."""
    parts = []
    at = 0
    while at < size and (part := os.pread(fd, 1 << 30, at)):
        parts.append(part)
        at += len(part)
    return memoryview(b"".join(parts))


def _failure(number: int, at: int, order: bytes) -> SandboxFailed:
    why = os.strerror(number)
    if at in _STAGES:
        what = _STAGES[at]
        if at in (_NAMESPACES, _MAPS):
            why += _advice(number)
        return SandboxFailed(f"{what}: {why}")
    letter = order[at : at + 1]
    path = os.fsdecode(order[at + 1 : order.find(b"\0", at)])
    what = _LETTERS.get(letter, "step " + os.fsdecode(letter))
    if letter == b"F" and number == errno.ENOENT:
        return ContentGone(f"the content of {path} is no longer here")
    if letter in (b"B", b"N") and number in (errno.EPERM, errno.EACCES):
        why += _advice(number)
    elif letter in (b"B", b"N") and number == errno.ENOSYS:
        why += " (Linux 5.12 is needed)"
    return SandboxFailed(f"{what} {path}: {why}")


def _advice(number: int) -> str:
    """What usually forbids namespaces, for people."""
    if number == errno.ENOSPC:
        return " (user.max_user_namespaces allows no more)"
    return (
        " (user namespaces are not allowed here: by kernel.unprivileged_userns_clone, by"
        " kernel.apparmor_restrict_unprivileged_userns, or by the container)"
    )
