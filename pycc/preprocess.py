"""Running the preprocessor, and the key that its text gives.

The text alone is a key only where nothing else of the sources can reach an output
(keying.free_text_allowed) and the preprocessor said nothing. Elsewhere the key also holds the
digest of every file and every word for the preprocessor: what has the same tokens in other
columns, or other comments, is then another compile.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from . import keying, precompiled
from .blake import blake2b
from .cache.lookup import absolute, stamped
from .call import RECURSION_GUARD, which
from .depfile import DepfileError, parse, quote
from .execution import temporary_name
from .frame import CAPTURE_ERR, OUT_FILE, UNCACHED_FD, Op, Run
from .invocation import Family
from .job import Job
from .locate import DEFAULT_PATH
from .native import signature, signatures
from .outcome import Outcome
from .record import record, replace
from .searchchain import is_systems
from .talk import Talk

if TYPE_CHECKING:
    from .resident import Resident

_ASSEMBLER = re.compile(rb"\.[iI][nN][cC](?:[bB][iI][nN]|[lL][uU][dD][eE])\b")
_COLUMNS = re.compile(rb"__builtin_(?:COLUMN|source_location)|source_location")
_WORKING_DIRECTORY = re.compile(rb'^# \d+ "[^"\n]*//"\n', re.MULTILINE)
_MARKER = re.compile(rb'^# \d+ "((?:[^"\\\n]|\\.)*)"', re.MULTILINE)
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_MACROS = re.compile(rb"\.(?:macro|irpc?|rept|altmacro)\b", re.IGNORECASE)
_MAIN = re.compile(rb'# \d+ "([^"\n]*)"')
_FILE = re.compile(rb'\.file[ \t]+"([^"\n]*)"')
TEXT_LIMIT = 1 << 30


@record
class Preprocessed:
    """``depfile`` lists every header that the text came from."""

    key: bytes
    depfile: bytes | None
    text: bytes
    free: bool = False
    """Whether the text alone decides what comes of it."""
    said: bytes = b""
    """The preprocessor's messages."""
    elsewhere: bool = False
    """Whether the key is that of what another machine makes of the text."""

    def compiled_elsewhere(self) -> Preprocessed:
        """The same with the key of what another machine makes of the text, where columns and
        comments of the source can reach an output."""
        key = blake2b(b"elsewhere" + self.key, digest_size=len(self.key)).digest()
        return replace(self, key=key, elsewhere=True)

    @property
    def asks_assembler(self) -> bool:
        """Whether a directive of the assembler that reads a file may be in the text."""
        return _ASSEMBLER.search(self.text) is not None

    def main_name(self) -> tuple[bytes, ...]:
        """The source that the text says it came from, if it does."""
        match = _MAIN.match(self.text)
        return (match.group(1),) if match else ()

    @property
    def has_assembler_macros(self) -> bool:
        """Whether directives may be put together that are not in the text as they stand."""
        return _MACROS.search(self.text) is not None

    def file_names(self) -> frozenset[bytes]:
        """The files that line markers and, in assembly, .file directives name."""
        return frozenset((*_marked(self.text), *_FILE.findall(self.text)))


def preprocess(
    job: Job, talk: Talk, resident: Resident, own_words: Sequence[bytes] = ()
) -> Preprocessed | Sequence[Op]:
    """Run the preprocessor; operations when the call ends here. ``own_words`` are used in place of
    the call's: they write the dependency file that the user wants."""
    call, invocation = job.call, job.invocation
    if invocation.preprocessed:
        return _already(job, resident)
    reports_files = job.toolchain.family is not Family.OTHER and not own_words
    text_path = temporary_name(job, resident, b"i")
    depfile_path = temporary_name(job, resident, b"d")
    search_path = call.variables.get(b"PATH", DEFAULT_PATH)
    prefix = [
        which(word, search_path, call.cwd) or word
        for word in os.fsencode(call.config.prefix_command_cpp).split()
    ]
    # Ours go in front: behind a "--" they would be taken for files.
    action, *others = (b"-E", *own_words) if own_words else invocation.preprocess_args()
    words = (
        *prefix,
        call.compiler,
        action,
        *((precompiled.PREPROCESS,) if _may_be_precompiled(job, resident) else ()),
        *((b"-MD", b"-MF", depfile_path, b"-MT", b"x") if reports_files else ()),
        *((b"-C",) if call.config.keep_comments_cpp else ()),
        *others,
    )
    try:
        report = talk.run(
            Run(words, CAPTURE_ERR | OUT_FILE | UNCACHED_FD, (RECURSION_GUARD,), text_path)
        )
        if not report.ok:
            call.log("The preprocessor failed")
            return call.plain(Outcome.PREPROCESSOR_ERROR)
        with open(text_path, "rb", buffering=0) as file:
            text = file.read(TEXT_LIMIT)
        if reports_files:
            with open(depfile_path, "rb", buffering=0) as file:
                depfile = file.read()
        else:
            depfile = _named_files(call.cwd, text)
    except OSError as problem:
        call.log(f"The preprocessor's output cannot be read: {problem}")
        return call.plain(Outcome.INTERNAL_ERROR)
    finally:
        for path in (text_path, depfile_path):
            with suppress(OSError):
                os.unlink(path)
    key, free = _text_key(job, resident, text, report.err, depfile)
    return Preprocessed(key, depfile, text, free, report.err)


def _may_be_precompiled(job: Job, resident: Resident) -> bool:
    if job.invocation.family is not Family.GCC:
        return False
    source = absolute(job.call.cwd, job.invocation.source)
    asked = resident.directives(source, job.source_digest)
    return bool(job.precompiled) or asked is None or asked.computed_include


def _already(job: Job, resident: Resident) -> Preprocessed | Sequence[Op]:
    """The source is the text."""
    call = job.call
    source = absolute(call.cwd, job.invocation.source)
    got = resident.digests.read(source)
    if got is None or got[0] != job.source_digest:
        return call.plain(Outcome.MODIFIED_INPUT_FILE)
    depfile = b"x:\n"
    key, free = _text_key(job, resident, got[1], b"", depfile)
    return Preprocessed(key, depfile, got[1], free)


def _marked(text: bytes) -> set[bytes]:
    """The names in the line markers. Both compilers escape quotes, backslashes and ends of lines
    there, and clang whatever is not ASCII."""
    return {
        _ESCAPE.sub(_unescaped, name) if b"\\" in name else name for name in _MARKER.findall(text)
    }


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match.group(1)
    if len(code) == 3:
        return bytes((int(code, 8) & 0xFF,))
    return b"\n" if code == b"n" else code


def _named_files(cwd: bytes, text: bytes) -> bytes:
    """A dependency file out of the line markers, where -MD cannot be asked for."""
    names = sorted(name for name in _marked(text) if os.path.isfile(absolute(cwd, name)))
    if any(b"\n" in name for name in names):
        return b""  # it cannot be said: nothing is stored
    return b"x: " + b" ".join(map(quote, names)) + b"\n"


def _text_key(
    job: Job, resident: Resident, text: bytes, said: bytes, depfile: bytes
) -> tuple[bytes, bool]:
    call, invocation = job.call, job.invocation
    key = job.base.copy()
    if not call.config.hash_dir:
        text = _WORKING_DIRECTORY.sub(b"", text)
    if job.base_dir is not None:
        text = job.base_dir.markers(text)
    key.add(b"text", text)
    key.add(b"said", said)
    wanted = invocation.dependencies
    if wanted is not None:
        key.add(b"depfile", keying.depfile_shape(invocation, wanted), *job.moved())
    read = job.precompiled = tuple(dict.fromkeys((*job.precompiled, *precompiled.in_text(text))))
    free = keying.free_text_allowed(invocation) and not (said or read or _COLUMNS.search(text))
    if wanted is not None or not free:
        # A dependency file lists the files that were read, so they decide it.
        times = precompiled.records_times(invocation)
        shown = (lambda name: name) if job.base_dir is None else job.base_dir.relative
        files = _files(call.cwd, resident, depfile, times=times)
        key.add_pairs(
            b"files", ((shown(name), b"" if free else content) for name, content in files)
        )
    unoptimised = keying.tokens_matter(invocation) or b"optimize" in text  # by an attribute
    if free and unoptimised and not invocation.preprocessed:
        key.add(b"tokens", *sorted(_tokens(call.cwd, resident, depfile)))
    if not free:
        for arg in invocation.key_args:
            if not keying.only_acts(arg.words):
                key.add(b"cpp arg", *arg.words)
        for name in keying.SEARCH_VARIABLES:
            if name in call.variables:
                key.add(b"search", name, call.variables[name])
        key.add(b"source", keying.source_name(invocation), job.source_digest)
    for name in precompiled.files(
        call.cwd, read, external_checksum=call.config.pch_external_checksum
    ):
        digest = resident.digests.digest(path := absolute(call.cwd, name), signature(path))
        key.add(b"precompiled", name, digest or b"missing")
    if call.debug is not None:
        call.debug.add("p", key, job.base)
    return key.key(), free


def _tokens(cwd: bytes, resident: Resident, depfile: bytes) -> set[bytes]:
    """What the files that were read consist of; those of the system, whatever they hold."""
    return {
        content
        if is_systems(absolute(cwd, name))
        else resident.tokens(absolute(cwd, name), content)
        for name, content in _files(cwd, resident, depfile, times=False)
    }


def _files(
    cwd: bytes, resident: Resident, depfile: bytes, *, times: bool
) -> list[tuple[bytes, bytes]]:
    try:
        names = parse(depfile).prerequisites
    except DepfileError:
        return [(b"unreadable", depfile)]
    paths = [absolute(cwd, name) for name in names]
    contents = []
    for name, path, found in zip(names, paths, signatures(paths), strict=True):
        digest = resident.digests.digest(path, found) or b"missing"
        contents.append((name, stamped(digest, found.mtime) if times else digest))
    return contents
