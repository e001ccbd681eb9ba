"""Running the compiler for a miss: the user's words, plus what is proven to leave no trace.

Three things may be added in front of the user's words, where they are overridden by them:

* a colour switch, so that one stored stderr serves terminals and files. The words with which the
  user chose are taken out; the answer is stripped where no colour is wanted.
* -MD -MF into a file of ours, when the user asked for no dependency file. gcc and clang make the
  same objects with it, except where clang records its command line: there nothing is added.
* -Wa,--MD for GNU as, which then names the files that .include and .incbin read.

When the compile fails and its messages name one of these, the user's own words are run instead.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from .call import RECURSION_GUARD
from .depfile import DepfileError, as_depfile
from .frame import (
    CAPTURE_ERR,
    CAPTURE_OUT,
    FINAL,
    STRIP_ERR,
    TEE_ERR,
    TEE_OUT,
    UNCACHED_FD,
    Exit,
    Op,
    Out,
    Report,
    Run,
)
from .invocation import Action, Family, Invocation
from .job import Job
from .keying import forces_colour
from .outcome import Outcome
from .record import record
from .talk import Gone, Talk

if TYPE_CHECKING:
    from .resident import Resident

COLOUR_WORDS = (b"-fdiagnostics-color", b"-fcolor-diagnostics")
NO_COLOUR_WORDS = (b"-fno-diagnostics-color", b"-fno-color-diagnostics")

INDEX_STORE = b"-index-store-path"

_numbers = itertools.count()


@record
class Execution:
    """A compile that succeeded. ``ops`` end the call."""

    report: Report
    ops: Sequence[Op]
    coloured: bool
    users_depfile: bytes | None
    """The dependency file that the user asked for, read at once: he may remove it."""
    own_depfile: bytes
    """Where ours lies, if one was asked for."""
    assembler_depfile: bytes
    """Where GNU as left its list of files, if it was asked."""
    temporary: tuple[bytes, ...]
    made: Mapping[bytes, bytes] | None = None
    """The object by its absolute name, where another machine made it: the launcher has yet to
    write it."""
    alike: bool = False
    """Whether that machine's compiler is known to be this one."""

    def depfile(self) -> bytes | None:
        """The list of headers. To be asked before ``clean``."""
        return _read(self.own_depfile) if self.own_depfile else self.users_depfile

    def assembler_files(self, cwd: bytes) -> tuple[bytes, ...] | None:
        """What GNU as read besides the source; None when it was not asked."""
        return _assembler_files(cwd, _read(self.assembler_depfile))

    def clean(self) -> None:
        """Remove the temporary files."""
        _remove(self.temporary)


def _remove(paths: Sequence[bytes]) -> None:
    for path in paths:
        with suppress(OSError):
            os.unlink(path)


def temporary_name(job: Job, resident: Resident, suffix: bytes) -> bytes:
    """A name that no other compile of this machine uses now."""
    directory = resident.temporary_directory(job.call.config)
    if not os.path.isdir(directory):
        with suppress(OSError):
            os.makedirs(directory, 0o700, exist_ok=True)
    return b"%s/%x-%x.%s" % (directory, os.getpid(), next(_numbers), suffix)


def without_colour_words(words: Sequence[bytes]) -> list[bytes]:
    """Without those with which the user chooses colours."""
    return [
        word
        for before, word in zip((b"", *words), words, strict=False)
        if before == b"-Xclang" or not _is_colour_word(word)
    ]


def _is_colour_word(word: bytes) -> bool:
    return word in NO_COLOUR_WORDS or word.partition(b"=")[0] in COLOUR_WORDS


def run_compiler(
    job: Job,
    talk: Talk,
    resident: Resident,
    meanwhile: Callable[[], None] | None,
    *,
    ask_headers: bool,
) -> Execution | Sequence[Op]:
    """Run the compiler through the launcher; operations when the call ends without a result.
    ``meanwhile`` is called while it starts."""
    call, invocation = job.call, job.invocation
    words: Sequence[bytes] = call.compiler_words if job.base_dir is None else invocation.args
    added: list[bytes] = []
    temporary: list[bytes] = []
    forced = forces_colour(invocation)
    gcc = invocation.family is Family.GCC
    if forced:
        if invocation.color is not None:
            words = without_colour_words(invocation.args)
        added.append(COLOUR_WORDS[0] if gcc else COLOUR_WORDS[1])
    if invocation.family is Family.OTHER and not invocation.output_given:
        words = _spelled_out(invocation)
    if INDEX_STORE in call.words and invocation.family is not Family.OTHER:
        words = without_index_store(words)
    own_depfile = b""
    if ask_headers and invocation.dependencies is None and not invocation.preprocessed:
        own_depfile = temporary_name(job, resident, b"d")
        added += (b"-MD", b"-MF", own_depfile)
        temporary.append(own_depfile)
    assembler_depfile = b""
    # A prefix command may be distcc, which compiles here whatever asks the assembler for a file.
    asks_assembler = gcc and invocation.action is Action.COMPILE and not call.prefix
    # With -flto gcc keeps the assembler's options in the object, for the link.
    if asks_assembler and not (invocation.lto or invocation.generates_pch):
        assembler_depfile = temporary_name(job, resident, b"as")
        if b"," not in assembler_depfile:  # which would end the assembler's word
            added.append(b"-Wa,--MD," + assembler_depfile)
            temporary.append(assembler_depfile)
    delivery = job.delivery
    # A terminal shows messages as they come; a file gets them together at the end.
    as_it_is = (delivery.colour or not forced) and not delivery.base
    shown_live = call.request.stderr_tty and as_it_is
    flags = CAPTURE_ERR | CAPTURE_OUT | TEE_OUT | FINAL | UNCACHED_FD
    if shown_live:
        flags |= TEE_ERR
    elif forced and not delivery.colour:
        flags |= STRIP_ERR
    argv = (*call.prefix, call.compiler, *added, *words)
    try:
        report = talk.run(Run(argv, flags, (RECURSION_GUARD,)), meanwhile)
    except Gone:
        _remove(temporary)
        raise
    said: list[Op] = []
    if report.err and not shown_live:
        said.append(Out(2, delivery.diagnostics(report.err, coloured=forced)))
    ours = [path for path in temporary if path in report.err]
    execution = Execution(
        report,
        [*said, Exit(report.status)],
        forced,
        _read(_users_depfile(job, ask_headers)),
        own_depfile,
        assembler_depfile,
        tuple(temporary),
    )
    if report.error or ours or (report.status and b"--MD" in report.err):
        execution.clean()
        call.log("The command line cannot be extended; running it as it is")
        return call.plain(Outcome.INTERNAL_ERROR)
    if report.status:
        execution.clean()
        call.log(f"Compiler gave exit status {report.status >> 8}")
        call.count(Outcome.COMPILE_FAILED)
        return execution.ops
    return execution


def without_index_store(words: Sequence[bytes]) -> tuple[bytes, ...]:
    """ccache's clang_index_store sloppiness: the index is neither made nor cached."""
    kept = []
    for before, word in zip((b"", *words), words, strict=False):
        if INDEX_STORE not in (before, word):
            kept.append(word)
    return tuple(kept)


def _spelled_out(invocation: Invocation) -> Sequence[bytes]:
    """The words with the output's name, as ccache calls compilers that it does not know."""
    if invocation.output is None:
        return invocation.args
    at = invocation.source_index
    others = invocation.args[:at] + invocation.args[at + 1 :]
    return (*others, b"-o", invocation.output, invocation.source)


def _users_depfile(job: Job, ask_headers: bool) -> bytes:
    wanted = job.invocation.dependencies
    if wanted is None or not ask_headers or job.invocation.preprocessed:
        return b""
    return os.path.join(job.call.cwd, wanted.path)


def _read(path: bytes) -> bytes | None:
    if not path:
        return None
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return None


def _assembler_files(cwd: bytes, text: bytes | None) -> tuple[bytes, ...] | None:
    """What exists of the list: the compiler's temporary file is gone, and .file directives name
    files that need not be there (those that are were not read, but do no harm here)."""
    if text is None:
        return None
    try:
        names = as_depfile(text).prerequisites
    except DepfileError:
        return None
    return tuple(name for name in names if os.path.exists(os.path.join(cwd, name)))
