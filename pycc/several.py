"""A command of several parts (parts.py): every compile looked up by itself, then the link.

The parts are compiled one after the other, as the driver does it, and what there is to keep of one
is kept while the next is compiled, or linked: so a miss of each costs hardly more than the driver
that is started for it.

Nothing is said or written where the user looks before the compiles are over. Until then the whole
command can be run instead, and is, where a driver says anything in its own name: what the parts of
a command are told may differ from what the whole is told, and so may what drivers think of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from .call import RECURSION_GUARD, Call
from .delivery import without_colour
from .distribution import distributes
from .errors import ConfigError
from .frame import (
    CAPTURE_ERR,
    CAPTURE_OUT,
    FINAL,
    STRIP_ERR,
    TEE_ERR,
    TEE_OUT,
    Exec,
    Exit,
    Op,
    Out,
    Report,
    Run,
    Unlink,
    Write,
)
from .invocation import Family, Invocation, ParseSettings, Uncacheable
from .job import Job, Several
from .parts import split
from .pattern import pattern
from .record import replace
from .talk import GIVEN_MS, LoopTalk, NotHere, Talk

if TYPE_CHECKING:
    from .miss import Compiled, Judged
    from .resident import Resident

FAILED = 1 << 8
"""The wait status of a driver one of whose compilers found an error."""

LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

_DRIVER = pattern(rb"(?:[\w.+-]*-)?(?:gcc|g\+\+|cc|c\+\+|clang|clang\+\+)(?:-[0-9.]+)?: ")

OpenPart = Callable[[Call, Invocation, Talk], Sequence[Op] | Job]
"""A part's job, or the operations that end it: it is a hit, or cannot be cached."""


def taken_apart(
    call: Call,
    why: Uncacheable,
    family: Family,
    settings: ParseSettings,
    cwd: bytes,
    resident: Resident,
) -> Several | None:
    """The parts of a call of several sources, or that links; None where it is to stay whole."""
    config = call.config
    if not config.split_commands or distributes(call) or call.prefix or config.prefix_command_cpp:
        return None
    if config.base_dir or config.debug:
        return None
    if config.hard_link or config.file_clone:
        return None
    if resident.stays_whole(call.request):
        return None
    directory = _temporary_directory(call, family)
    if directory is None:
        return None
    parts = split(
        call.words,
        family=family,
        driver=call.driver,
        settings=settings,
        cwd=cwd,
        environment=call.variables,
        temporary=lambda source: directory + b"/" + _object_name(source, family),
    )
    if parts is None or not all(_can_be_read(call.cwd, name) for name in parts.inputs):
        return None
    return Several(call, parts, why)


def _temporary_directory(call: Call, family: Family) -> bytes | None:
    """Where the driver has its temporary files (libiberty/make-temp-file.c, choose_tmpdir; LLVM's
    system_temp_directory)."""
    names = (b"TMPDIR", b"TMP", b"TEMP")
    if family is Family.CLANG:
        named = [call.variables[n] for n in (*names, b"TEMPDIR") if n in call.variables][:1]
        named = named or [b"/tmp"]
    else:
        named = [*(call.variables[name] for name in names if name in call.variables), b"/tmp"]
    for directory in named:
        if os.path.isdir(directory) and os.access(directory, os.R_OK | os.W_OK | os.X_OK):
            return directory.rstrip(b"/") if directory[:1] == b"/" else None
    return None


def _object_name(source: bytes, family: Family) -> bytes:
    """As the driver calls its own: the linker names them in its messages."""
    if family is Family.CLANG:
        stem = os.path.splitext(os.path.basename(source))[0]
        return stem + b"-%s.o" % os.urandom(3).hex().encode()
    return b"cc%s.o" % bytes(LETTERS[n % len(LETTERS)] for n in os.urandom(6))


def _can_be_read(cwd: bytes, name: bytes) -> bool:
    path = os.path.join(cwd, name)
    with suppress(OSError, ValueError):
        return stat.S_ISREG(os.stat(path).st_mode) and os.access(path, os.R_OK)
    return False


def answer(several: Several, talk: Talk, resident: Resident, open_part: OpenPart) -> Sequence[Op]:
    """The operations that end the call. Raises Gone."""
    course = _Course(several, talk, resident, open_part)
    try:
        return course.run()
    finally:
        course.settle()
        for path in course.objects:
            with suppress(OSError):
                os.unlink(path)


def _make(path: bytes) -> bool:
    """Make a temporary object, ours alone, before anybody else can."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError:
        return False
    return True


class _PartTalk:
    """What a part says to the launcher: its messages wait; while its command runs ``waiting`` is
    done."""

    def __init__(self, talk: Talk, waiting: list[Callable[[], None]]) -> None:
        self._talk = talk
        self._waiting = waiting
        self.descriptor = talk.descriptor
        self.withheld: list[Op] = []

    def run(self, command: Run, meanwhile: Callable[[], None] | None = None) -> Report:
        def both() -> None:
            # The launcher finds it behind the command's end: what is done here may take longer.
            self._talk.wait(GIVEN_MS)
            if meanwhile is not None:
                meanwhile()
            do_all(self._waiting)

        shown = command.flags & (TEE_ERR | TEE_OUT)
        flags = command.flags & ~(TEE_ERR | TEE_OUT | FINAL | STRIP_ERR)
        report = self._talk.run(replace(command, flags=flags), both)
        if report.out and shown & TEE_OUT:
            self.withheld.append(Out(1, report.out))
        if report.err and shown & TEE_ERR:
            self.withheld.append(Out(2, report.err))
        return report

    def may_block(self) -> None:
        self._talk.may_block()

    def hand_over(self, go_on: Callable[[Talk], Sequence[Op]]) -> Sequence[Op]:
        return go_on(self)

    def release(self, ops: Sequence[Op]) -> bool:  # noqa: ARG002
        return False

    def wait(self, ms: int) -> None:
        self._talk.wait(ms)

    def give(self, ops: Sequence[Op]) -> None:
        self._talk.give(ops)


def do_all(waiting: list[Callable[[], None]]) -> None:
    """Do what waits, and what comes to wait meanwhile."""
    while waiting:
        waiting.pop(0)()


class _Course:
    """One such call on its way."""

    def __init__(
        self, several: Several, talk: Talk, resident: Resident, open_part: OpenPart
    ) -> None:
        self._several = several
        self._parts = several.parts.parts
        self._talk = talk
        self._resident = resident
        self._open_part = open_part
        self._waiting: list[Callable[[], None]] = []
        """What may be done while the launcher's child runs."""
        self._part_talk = _PartTalk(talk, self._waiting)
        self._opened: dict[int, tuple[Call, Sequence[Op] | Job]] = {}
        self._calls: list[Call] = []
        self.objects: list[bytes] = []
        """Temporary ones that are there."""
        self._judged: list[Judged] = []
        """What is to be stored when nobody waits any more."""

    def run(self) -> Sequence[Op]:
        call, link = self._several.call, self._several.parts.link
        ops: list[Op] = []
        failed = False
        for number in range(len(self._parts)):
            made = self._part(number)
            status = made.pop() if made else None
            said = [op for op in made if isinstance(op, Out)]
            if not isinstance(status, Exit) or status.status not in (0, FAILED):
                return self.whole()
            if any(_lines_of_driver(op.data, call.compiler) for op in said):
                return self.whole()
            failed = failed or status.status != 0
            ops += said if link and status.status else map(self._in_place, made)
        if failed and link:
            ops = [op for op in ops if isinstance(op, Out)]
        if failed or not link:
            return self._end([*ops, Exit(FAILED if failed else 0)])
        # gcc's link says what the whole command would; clang's may add warnings of its own, and
        # then the whole command says all there is to say.
        clang = self._several.parts.family is Family.CLANG and not call.request.stderr_tty
        withheld = [op for op in ops if clang and isinstance(op, Out)]
        given = [op for op in ops if not (clang and isinstance(op, Out))]
        if given:
            self._talk.give(given)
        flags = CAPTURE_ERR | CAPTURE_OUT if clang else 0
        command = Run((call.compiler, *link), flags, environment=(RECURSION_GUARD,))
        call.log("Linking")
        report = self._part_talk.run(command)
        lines = _lines_of_driver(report.err, call.compiler)
        warned = any(b"linker command failed" not in line for line in lines)
        if report.error or warned:
            return self.whole()
        return self._end([*withheld, *_said(report), Exit(report.status)])

    def _in_place(self, op: Op) -> Op:
        """Temporary objects keep the files that were made for them, ours alone."""
        temporary = isinstance(op, Write) and op.path in self.objects
        return replace(op, flags=0) if temporary else op

    def whole(self) -> Sequence[Op]:
        """The user's own command, now and for as long as this server remembers it."""
        several = self._several
        self._resident.stay_whole(several.call.request)
        self.settle()
        self._calls.clear()
        return several.call.refuse(several.otherwise.outcome, os.fsdecode(several.otherwise.detail))

    def settle(self) -> None:
        """Keep what is compiled all the same."""
        self._finish((), self._part_talk)

    def _end(self, ops: Sequence[Op]) -> Sequence[Op]:
        do_all(self._waiting)  # which reads the objects
        # Gone before the command ends, as the driver's own.
        removed = [Unlink(path) for path in self.objects]
        ops = self._finish([*removed, *ops], self._talk)
        for call in self._calls:
            call.commit()
        return ops

    def _finish(self, ops: Sequence[Op], talk: Talk) -> Sequence[Op]:
        do_all(self._waiting)
        judged, self._judged = self._judged, []
        if not judged:
            return ops
        from .miss import finish

        return finish(judged, ops, talk, self._resident)

    def _part(self, number: int) -> list[Op]:
        """What ends one part; Exit at the end, and nothing where it cannot be had."""
        early = self._opened.pop(number) if number in self._opened else None
        call, found = early or self._open(number, self._part_talk)
        self._calls.append(call)
        self._waiting.append(lambda: self._open_early(number + 1))
        if isinstance(found, Job):
            if found.invocation.family is not self._several.parts.family:
                return []
            from .miss import Compiled, compile_one

            if call.config.remote_storage:
                from .tiers import look_up

                try:
                    kept = look_up(found, self._part_talk, self._resident)
                except ConfigError as problem:
                    call.log(str(problem))
                    return []
                if kept is not None:
                    return list(kept)
            if call.config.read_only_direct:
                return self._ended(call.plain(*found.missed()))
            compiled = compile_one(found, self._part_talk, self._resident)
            if isinstance(compiled, Compiled):
                self._waiting.append(lambda: self._judge(compiled))
                found = compiled.execution.ops
            else:
                found = compiled
        return self._ended(found)

    def _ended(self, found: Sequence[Op]) -> list[Op]:
        made = list(found)
        if made and isinstance(last := made[-1], Exec):
            made[-1:] = self._plainly(last)
        withheld, self._part_talk.withheld = self._part_talk.withheld, []
        return [*withheld, *made]

    def _open(self, number: int, talk: Talk) -> tuple[Call, Sequence[Op] | Job]:
        whole, part = self._several.call, self._parts[number]
        # Hot calls are known by their whole request, and this is none.
        call = replace(
            whole, request=replace(whole.request, name=b""), words=part.words, tally=[], extra={}
        )
        call.log(f"Part {number + 1}: {os.fsdecode(part.invocation.source)}")
        temporary = part.invocation.output if self._several.parts.link else None
        if temporary is not None and temporary not in self.objects:
            if not _make(temporary):
                return call, ()
            self.objects.append(temporary)
        return call, self._open_part(call, part.invocation, talk)

    def _open_early(self, number: int) -> None:
        """While another part is compiled; what would have to be asked of the launcher waits."""
        if number < len(self._parts):
            with suppress(NotHere):
                self._opened[number] = self._open(number, LoopTalk())

    def _judge(self, compiled: Compiled) -> None:
        from .miss import Judged, judge

        judged = judge(compiled, self._resident)
        if isinstance(judged, Judged):
            self._judged.append(judged)

    def _plainly(self, command: Exec) -> list[Op]:
        """The part as it is called, where it cannot be cached."""
        flags = CAPTURE_ERR | CAPTURE_OUT
        report = self._part_talk.run(Run(command.argv, flags, command.environment))
        if report.error:
            return []
        return [*_said(report), Exit(report.status)]


def _said(report: Report) -> list[Op]:
    return [Out(fd, data) for fd, data in ((1, report.out), (2, report.err)) if data]


def _lines_of_driver(text: bytes, compiler: bytes) -> list[bytes]:
    """Those that begin with its name: not cc1's, and not "main.cc: In function"."""
    name = os.path.basename(compiler) + b": "
    lines = without_colour(text).splitlines()
    return [line for line in lines if line.startswith(name) or _DRIVER.match(line)]
