"""One job of the daemon, from a request that was read to the reply.

    argumentfilter  may this vector be run at all?
    compilers       which program is it?
    server_cache    do we have what it would give?
    textfilter      else: may this text be compiled here? (what is kept was asked before)
    child           run it, in a directory of its own

A text is compiled under a constant name in its directory, so that no name of ours reaches the
object; gcc takes the names that matter from the text's line markers. Should a name of the
directory reach the output all the same (clang writes the working directory where the text does not
say it), the output is sent, as distccd's is, and not kept.

What is refused is answered inside the protocol: a stock client then says why and compiles by
itself, where a connection that is closed without a byte would tell it nothing.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum

from pycc import __version__
from pycc.pattern import pattern
from pycc.record import record, replace
from pycc.unfinished import FOLLOW_SECONDS, Unfinished

from . import commandline
from .argumentfilter import refusal
from .child import End, Ran, Stop, run
from .client_view import shown
from .compilers import Missing, Refused, Rules, choose
from .identities import Identities
from .protocol import (
    COMPILE,
    EXACT_OFFERED,
    FETCH,
    HELLO,
    LIMITS,
    NOT_KEPT,
    OTHER_COMPILER,
    OURS,
    Reply,
    Request,
    text_digest,
)
from .server_cache import Output, ServerCache, key_of
from .textfilter import refusal as text_refusal

PREFIX = "pyccd_"
"""Of the directories of jobs, so that what an ended daemon left can be told from other files."""
EXIT_COMPILER_MISSING, EXIT_BUSY, EXIT_TIMEOUT = 110, 114, 118  # distcc's
LONGEST_STEM = 200
_GCC = pattern(rb"(?:[A-Za-z0-9_.]+-)*(?:gcc|g\+\+|c89|c99)(?:-[0-9][0-9.]*)?")
"""What leaves directives of preprocessed text alone, as its file is called behind all links."""
LANGUAGES = {b".i": b"c", b".ii": b"c++", b".mi": b"objective-c", b".mii": b"objective-c++"}
"""Words of -x for what preprocessed text was, by its extension."""


class Code(Enum):
    """How a job ended, in the words of distccd's job summaries."""

    COMPILE_OK = "COMPILE_OK"
    COMPILE_ERROR = "COMPILE_ERROR"
    COMPILE_TIMEOUT = "COMPILE_TIMEOUT"
    CLI_DISCONN = "CLI_DISCONN"
    REJ_BAD_REQ = "REJ_BAD_REQ"
    REJ_OVERLOAD = "REJ_OVERLOAD"
    OTHER = "OTHER"
    NOT_KEPT = "NOT_KEPT"
    """Only a question, which distccd's summaries do not know."""


@record
class Done:
    """``reply`` is None where nobody waits for one. ``cache`` is hit, miss or off."""

    code: Code
    reply: Reply | None
    compiler: str
    source: str
    cache: str
    milliseconds: int
    said: str = ""
    """For the log."""


@record
class Workshop:
    """What all jobs of a daemon share. ``environment`` is that of every compile."""

    rules: Rules
    environment: Mapping[bytes, bytes]
    identities: Identities
    cache: ServerCache | None
    temporary: str
    compiling: Unfinished
    """By the keys of results."""
    seconds: float | None = None
    """The most that a compile may take."""
    stop: Stop | None = None
    """Ends what runs when the daemon leaves."""


class Answers:
    """Builds what is said of one request, in the protocol's ``version``."""

    def __init__(self, version: int, argv: tuple[bytes, ...]) -> None:
        self._began = time.monotonic()
        self._version = version
        inputs = commandline.read(argv).inputs
        self._compiler = shown(argv[0]) if argv else ""
        self._source = shown(inputs[0].name) if inputs else ""

    def done(self, code: Code, reply: Reply | None, *, cache: str = "off", said: str = "") -> Done:
        passed = int((time.monotonic() - self._began) * 1000)
        return Done(code, reply, self._compiler, self._source, cache, passed, said)

    def told(self, reason: str, status: int = EXIT_COMPILER_MISSING) -> Reply:
        """A reply with no more than a message of our own."""
        text = f"pyccd: {reason}\n".encode(errors="backslashreplace")
        return self.reply(status << 8, err=text)

    def refused(self, reason: str, status: int = EXIT_COMPILER_MISSING) -> Done:
        return self.done(Code.REJ_BAD_REQ, self.told(reason, status), said=reason)

    def not_kept(self) -> Done:
        return self.done(Code.NOT_KEPT, self.reply(NOT_KEPT << 8))

    def reply(
        self,
        status: int,
        *,
        err: bytes = b"",
        out: bytes = b"",
        made: bytes = b"",
        dependencies: bytes | None = None,
    ) -> Reply:
        return Reply(self._version, status, err, out, made, dependencies)

    def cut_short(self, end: End, seconds: float | None, cache: str) -> Done | None:
        """What is said of a compile that did not come to its own end; None if it did."""
        if end is End.CLIENT_LEFT:
            return self.done(Code.CLI_DISCONN, None, cache=cache)
        if end is End.TIMEOUT:
            reason = f"ended after {seconds} seconds (--job-lifetime)"
            reply = self.told(reason, EXIT_TIMEOUT)
            return self.done(Code.COMPILE_TIMEOUT, reply, cache=cache, said=reason)
        if end is End.STOPPED:
            return self.done(Code.OTHER, self.told("the daemon is leaving", EXIT_BUSY), cache=cache)
        return None


def subject(version: int, argv: tuple[bytes, ...]) -> tuple[str, str]:
    """(compiler, source) of a request, for people; empty where the words do not say so."""
    if version in OURS:  # each kind has an identity or a key before the command, FETCH one more
        argv = argv[3 if argv[:1] == (FETCH,) else 2 :]
    inputs = commandline.read(argv).inputs if argv else ()
    return (shown(argv[0]) if argv else "", shown(inputs[0].name) if inputs else "")


def is_question(request: Request) -> bool:
    """Whether the client asks for what is kept, and nothing is to be compiled."""
    return request.version in OURS and request.argv[:1] == (FETCH,)


def greeting(request: Request, *, exact: bool) -> Reply | None:
    """The answer to a client of ours that only wants to know who is here; None for a job.
    ``exact``: we serve exact jobs."""
    if request.version not in OURS or request.argv[:1] != (HELLO,):
        return None
    offers = EXACT_OFFERED + b"\n" if exact else b""
    return Reply(request.version, 0, out=f"pyccd {__version__}\n".encode() + offers)


def do(request: Request, shop: Workshop, client: int | None) -> Done:
    """Answer a request. ``client`` is the descriptor of its connection."""
    identity = wanted = b""
    asked = is_question(request)
    if request.version in OURS and request.argv[:1] == (COMPILE,):
        identity = b"".join(request.argv[1:2])
        request = replace(request, argv=request.argv[2:])
    elif asked:
        identity, wanted = (*request.argv[1:3], b"", b"")[:2]
        request = replace(request, argv=request.argv[3:])
    # Stock clients leave words in that mean nothing for preprocessed text, or worse.
    argv = commandline.strip(request.argv)
    answers = Answers(request.version, argv)
    if not request.argv:
        return answers.refused("no command")
    program = choose(request.argv[0], shop.rules)
    if isinstance(program, Refused):
        return answers.refused(program.reason)
    why = refusal(argv)
    if why is not None:
        return answers.refused(why)
    reading = commandline.read(argv)
    named = reading.inputs[0].name
    extension = commandline.preprocessed_extension(named)
    if extension is None or reading.action is None:
        return answers.refused(f"{shown(named)} is no source that can be compiled here")
    if isinstance(program, Missing):
        reason = f"failed to exec {shown(program.name)}: No such file or directory"
        return answers.done(Code.COMPILE_ERROR, answers.told(reason), said=reason)
    if identity:
        ours = shop.identities.of(program, LANGUAGES[extension], argv[1:]) or b"unknown"
        if ours.hex().encode() != identity:
            reason = f"{shown(request.argv[0])} is another compiler here"
            return answers.refused(reason, OTHER_COMPILER)

    name, output = _text_name(named, extension), b"out" + reading.action.value
    words = commandline.with_files(argv, name, output)[1:]
    key = _key(shop, program, extension, words, name, request.text, wanted if asked else None)
    if key is not None and shop.cache is not None:
        kept = shop.cache.get(key)
        if kept is None and key in shop.compiling and shop.compiling.wait(key, FOLLOW_SECONDS):
            kept = shop.cache.get(key)
        if kept is not None:
            reply = answers.reply(0, err=kept.err, out=kept.out, made=kept.object)
            return answers.done(Code.COMPILE_OK, reply, cache="hit")
    if asked:  # whatever it asked for, it has no turn to compile in
        return answers.not_kept()
    why = text_refusal(request.text, obeys_directives=not _GCC.fullmatch(_real_name(program)))
    if why is not None:
        return answers.refused(why)
    with shop.compiling.under_way([] if key is None else [key]):
        return _do(answers, shop, (program, *words), name, output, request, client, key)


def _do(
    answers: Answers,
    shop: Workshop,
    argv: tuple[bytes, ...],
    name: bytes,
    output: bytes,
    request: Request,
    client: int | None,
    key: bytes | None,
) -> Done:
    """Compile, and keep what came of it under ``key``, if there is one."""
    cache = "off" if key is None else "miss"
    directory = ""
    try:
        directory = tempfile.mkdtemp(prefix=PREFIX, dir=shop.temporary)
        ran, made = _compile(shop, directory, argv, name, output, request, client)
    except OSError as problem:
        what = "failed to exec" if problem.filename == argv[0] else "no room to run"
        reason = f"{what} {shown(argv[0])}: {problem.strerror}"
        return answers.done(Code.COMPILE_ERROR, answers.told(reason), said=reason)
    finally:
        if directory:
            shutil.rmtree(directory, ignore_errors=True)
    cut_short = answers.cut_short(ran.end, shop.seconds, cache)
    if cut_short is not None:
        return cut_short
    reply = answers.reply(ran.status, err=ran.err, out=ran.out, made=made)
    if ran.status:
        return answers.done(Code.COMPILE_ERROR, reply, cache=cache)
    place = os.fsencode(os.path.basename(directory))
    if key is not None and shop.cache is not None and not _names(place, made, ran):
        shop.cache.put(key, Output(made, ran.err, ran.out))
    return answers.done(Code.COMPILE_OK, reply, cache=cache)


def _real_name(program: bytes) -> bytes:
    return os.path.basename(os.path.realpath(program))


def _names(ours: bytes, made: bytes, ran: Ran) -> bool:
    return ours in made or ours in ran.err or ours in ran.out


def _text_name(source: bytes, extension: bytes) -> bytes:
    """What the text is called while it is compiled: some tools derive names from it."""
    stem = source.rpartition(b"/")[2].rpartition(b".")[0][:LONGEST_STEM]
    return (b"_" + stem if stem[:1] in (b"-", b"@", b"") else stem) + extension


def _key(
    shop: Workshop,
    program: bytes,
    extension: bytes,
    words: tuple[bytes, ...],
    name: bytes,
    text: bytes,
    digest: bytes | None,
) -> bytes | None:
    """``digest`` is the text's, in hexadecimal, where that did not come along. None where nothing
    may be kept."""
    if shop.cache is None:
        return None
    identity = shop.identities.of(program, LANGUAGES[extension], words)
    if identity is None:
        return None
    digest = text_digest(text).hex().encode() if digest is None else digest
    return key_of(identity, words, name, shop.environment, digest)


def _compile(
    shop: Workshop,
    directory: str,
    argv: tuple[bytes, ...],
    name: bytes,
    output: bytes,
    request: Request,
    client: int | None,
) -> tuple[Ran, bytes]:
    """(what ran, the object). Raises OSError."""
    place = os.fsencode(directory)
    with open(os.path.join(place, name), "xb") as file:
        file.write(request.text)
    environment = {**shop.environment, b"TMPDIR": place}
    ran = run(
        argv,
        cwd=place,
        environment=environment,
        client=client,
        seconds=shop.seconds,
        stop=shop.stop,
    )
    made = b""
    if ran.end is End.DONE and ran.status == 0:
        with suppress(FileNotFoundError), open(os.path.join(place, output), "rb") as file:
            if os.fstat(file.fileno()).st_size > LIMITS.text:
                raise OSError(errno.EFBIG, "the object is too large to be sent")
            made = file.read()
    return ran, made
