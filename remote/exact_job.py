"""An exact job of the daemon: a source with what it reads, compiled under the client's paths.

    argumentfilter  may this vector be run at all?
    compilers       is the program that the client names the one that we would run, and the same?
    exact_root      what the root is made of; which contents are missing
    sandbox         compile in it, and record what was asked
    witness         under which answers the result is right
    server_cache    keep both, by what was really compiled

What a client says of itself enters nothing that another client receives. The key holds the
compiler's identity, which was compared; the words and variables, with which the compiler was run;
and the digest of the source, from the bytes that were compiled. The manifest's entry comes from
what the compiler itself asked. A client that asks with other facts gets another key.

Whoever only asks whether there is a manifest, or takes a result, waits for no turn.
"""

from __future__ import annotations

import os
from itertools import pairwise

from pycc.cache import manifest
from pycc.cache.digest import digest_of, file_clock
from pycc.cache.fingerprint import KEY_SIZE, Fingerprint
from pycc.cache.lookup import result_key_of
from pycc.cache.storage import manifest_key, result_key
from pycc.record import record
from pycc.unfinished import FOLLOW_SECONDS

from . import commandline
from .argumentfilter import exact_refusal
from .client_view import Refused, shown
from .compilers import choose
from .contents import WrongContent
from .exact_root import Layout
from .exact_wire import (
    AGAIN,
    ASK,
    EXACT,
    MISSING,
    TAKE,
    Made,
    Pairs,
    Result,
    Work,
    pack_digests,
    pack_result,
    unpack_ask,
    unpack_work,
)
from .exactness import Exactness
from .job import LANGUAGES, Answers, Code, Done, Workshop
from .protocol import OTHER_COMPILER, OURS, ProtocolError, Request
from .sandbox import Compiled, ContentGone, SandboxFailed
from .witness import Places, Unwitnessed, entry

VERSION = b"pyccd exact 1"
VARIABLES = frozenset(
    b"LANG LANGUAGE LC_ALL LC_CTYPE LC_MESSAGES GCC_COLORS GCC_EXTRA_DIAGNOSTIC_OUTPUT CPATH"
    b" C_INCLUDE_PATH CPLUS_INCLUDE_PATH OBJC_INCLUDE_PATH OBJCPLUS_INCLUDE_PATH"
    b" SOURCE_DATE_EPOCH PWD".split()
)
"""What a client may give to a compile."""
MOST_ENTRIES = 8
"""Of a manifest; each is sent to whoever asks."""


def is_exact(request: Request) -> bool:
    """Whether this is ours to answer."""
    return request.version in OURS and request.argv[:1] in ((ASK,), (TAKE,), (EXACT,))


def is_question(request: Request) -> bool:
    """Whether nothing is to be compiled."""
    return is_exact(request) and request.argv[0] != EXACT


def do(request: Request, shop: Workshop, exact: Exactness | None, client: int | None) -> Done:
    """Answer a request for which `is_exact`. ``client`` is the descriptor of its connection."""
    kind, word, argv = request.argv[0], b"".join(request.argv[1:2]), request.argv[2:]
    answers = Answers(request.version, argv)
    if not argv:
        return answers.refused("no command")
    if exact is None:
        return answers.refused("exact jobs are not served here")
    try:
        if kind == TAKE:
            return _take(answers, shop, word)
        identity = bytes.fromhex(word.decode("ascii"))
        if kind == ASK:
            return _ask(answers, shop, identity, argv, request.text)
        return _compile(answers, shop, exact, identity, argv, unpack_work(request.text), client)
    except (ProtocolError, ValueError) as problem:
        return answers.refused(f"the request cannot be read: {problem}")


def key_of(
    identity: bytes, argv: tuple[bytes, ...], environment: Pairs, cwd: bytes, digest: bytes
) -> bytes:
    """A manifest's key. ``cwd`` is empty where it cannot reach an output, ``digest`` is that of the
    source's content."""
    state = Fingerprint()
    state.add(b"version", VERSION)
    state.add(b"compiler", identity)
    state.add(b"argv", *argv)
    state.add_pairs(b"environment", sorted(environment))
    state.add(b"cwd", cwd)
    state.add(b"source", digest)
    return state.key()


def _ask(
    answers: Answers, shop: Workshop, identity: bytes, argv: tuple[bytes, ...], body: bytes
) -> Done:
    ask = unpack_ask(body)
    key = key_of(identity, argv, ask.environment, ask.cwd, ask.digest)
    name = manifest_key(key)
    kept = None if shop.cache is None else shop.cache.value(name)
    if kept is None and key in shop.compiling and shop.compiling.wait(key, FOLLOW_SECONDS):
        kept = None if shop.cache is None else shop.cache.value(name)
    if kept is None:
        return answers.not_kept()
    return answers.done(Code.NOT_KEPT, answers.reply(0, out=kept))


def _take(answers: Answers, shop: Workshop, word: bytes) -> Done:
    key = bytes.fromhex(word.decode("ascii"))
    if len(key) != KEY_SIZE:
        return answers.refused("no key")
    kept = None if shop.cache is None else shop.cache.value(result_key(key))
    if kept is None:
        return answers.not_kept()
    return answers.done(Code.COMPILE_OK, answers.reply(0, made=kept), cache="hit")


def _compile(
    answers: Answers,
    shop: Workshop,
    exact: Exactness,
    identity: bytes,
    argv: tuple[bytes, ...],
    work: Work,
    client: int | None,
) -> Done:
    program = choose(argv[0], shop.rules)
    if program != argv[0]:
        return answers.refused(f"{shown(argv[0])} is not where the compiler is here")
    why = exact_refusal(argv)
    if why is not None:
        return answers.refused(why)
    reading = commandline.read(argv)
    source = reading.inputs[0].name
    language = LANGUAGES[commandline.preprocessed_extension(source) or b".i"]
    if not identity or shop.identities.of(argv[0], language, argv[1:]) != identity:
        return answers.refused(f"{shown(argv[0])} is another compiler here", OTHER_COMPILER)
    strange = [name for name, _ in work.environment if name not in VARIABLES]
    if strange:
        return answers.refused(f"the variable {shown(strange[0])} is not taken")
    view = work.view
    places = Places(view, exact.ground, _read_link)
    try:
        own = {file.path: file for file in view.files}.get(places.physical(source))
    except Unwitnessed as problem:
        return answers.refused(str(problem))
    if own is None:
        return answers.refused(f"{shown(source)} was not sent")
    cwd = view.cwd if work.bound else b""
    key = key_of(identity, argv, work.environment, cwd, own.content)
    if key in shop.compiling and shop.compiling.wait(key, FOLLOW_SECONDS) and shop.cache:
        return answers.done(Code.NOT_KEPT, answers.reply(AGAIN << 8))
    job = _Job(shop, exact, argv, work, key, source, own.content, places)
    with shop.compiling.under_way([key]):
        return _run(answers, job, client)


@record
class _Job:
    """A compile that may be done. ``digest`` is that of the source."""

    shop: Workshop
    exact: Exactness
    argv: tuple[bytes, ...]
    work: Work
    key: bytes
    source: bytes
    digest: bytes
    places: Places


def _run(answers: Answers, job: _Job, client: int | None) -> Done:
    shop, exact, argv, work = job.shop, job.exact, job.argv, job.work
    try:
        for content in work.contents:
            exact.contents.put(digest_of(content), content)
        layout = Layout(work.view, exact.ground)
        plan = layout.plan(exact.survey(layout.questions()))
        missing = exact.contents.missing(plan.contents)
        if missing:
            told = answers.reply(MISSING << 8, out=pack_digests(missing))
            return answers.done(Code.NOT_KEPT, told)
        began = file_clock()
        compiled = exact.sandbox.run(
            plan,
            argv,
            environment={b"PATH": shop.environment[b"PATH"], **dict(work.environment)},
            client=client,
            seconds=shop.seconds,
            stop=shop.stop,
            record=True,
        )
    except Refused as problem:
        return answers.refused(str(problem))
    except ContentGone:
        return answers.done(Code.NOT_KEPT, answers.reply(MISSING << 8))
    except (SandboxFailed, WrongContent, OSError) as problem:
        return answers.refused(f"no room to run {shown(argv[0])}: {problem}")
    ran = compiled.ran
    cache = "off" if shop.cache is None else "miss"
    cut_short = answers.cut_short(ran.end, shop.seconds, cache)
    if cut_short is not None:
        return cut_short
    if ran.status:
        reply = answers.reply(ran.status, err=ran.err, out=ran.out)
        return answers.done(Code.COMPILE_ERROR, reply, cache=cache)
    try:
        value = _keep(job, compiled, began)
    except Unwitnessed as problem:
        return answers.refused(str(problem))
    return answers.done(Code.COMPILE_OK, answers.reply(0, made=value), cache=cache)


def _keep(job: _Job, compiled: Compiled, began: int) -> bytes:
    """The packed result, which is kept with its entry. Raises Unwitnessed."""
    shop, exact, view, places = job.shop, job.exact, job.work.view, job.places
    if compiled.lookups is None:
        raise Unwitnessed("it could not be recorded what the compiler asked")
    if any(b"__DATE__" in word or b"__TIME" in word for word in job.argv):
        raise Unwitnessed("the time is asked for")
    found, links = entry(
        lambda files, present: result_key_of(job.key, files, b"", present),
        compiled.lookups,
        job.source,
        view,
        places,
        exact.ground,
        made={output.path for output in compiled.outputs},
        digest=lambda path: exact.digest(path, began),
        runs=lambda path: os.access(path, os.X_OK),
    )
    sent = {file.path for file in view.files}
    outputs = {os.path.basename(output.path) for output in compiled.outputs}
    if any(name in word for name in outputs for word in _defining(job.argv)):
        raise Unwitnessed("a macro names an output")
    seen: dict[bytes, bytes] = {}
    for name, digest in (*found.files, (job.source, job.digest)):
        path = places.physical(name)
        if exact.moves(path, digest, sent=path in sent):
            raise Unwitnessed(f"{shown(name)} asks for the time, or for what is not recorded")
        if any(exact.includes(path, digest, output, sent=path in sent) for output in outputs):
            raise Unwitnessed(f"{shown(name)} asks for an output")
        if seen.setdefault(digest, path) != path and exact.counts_names(
            path, digest, sent=path in sent
        ):
            raise Unwitnessed(f"{shown(name)} is there twice, and to be read once")
    made = tuple(
        Made(_below(output.path, view.cwd), output.mode, output.content)
        for output in compiled.outputs
    )
    ran = compiled.ran
    value = pack_result(Result(made, ran.err, ran.out, manifest.pack((found,)), links))
    if shop.cache is not None:
        shop.cache.keep(result_key(found.result_key), value)
        _add_entry(shop, manifest_key(job.key), found)
    return value


def _defining(argv: tuple[bytes, ...]) -> list[bytes]:
    """The words that may give a name to #include, or include a file themselves."""
    apart = (b"-D", b"-include", b"-imacros")
    return [word for before, word in pairwise(argv) if before in apart or word.startswith(apart)]


def _add_entry(shop: Workshop, key: bytes, found: manifest.ManifestEntry) -> None:
    entries: tuple[manifest.ManifestEntry, ...] = ()
    if shop.cache is None:
        return
    kept = shop.cache.value(key)
    if kept is not None:
        try:
            entries = manifest.unpack(kept)
        except manifest.ManifestError:
            entries = ()
    shop.cache.keep(key, manifest.pack(manifest.add(entries, found)[:MOST_ENTRIES]))


def _below(path: bytes, directory: bytes) -> bytes:
    prefix = directory.rstrip(b"/") + b"/"
    return path.removeprefix(prefix)


def _read_link(path: bytes) -> bytes | None:
    try:
        return os.readlink(path)
    except OSError:
        return None
