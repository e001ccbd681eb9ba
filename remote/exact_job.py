"""An exact job of the daemon: a source with what it reads, compiled under the client's paths.

    argumentfilter  may this vector be run at all?
    compilers       is the program that the client names the one that we would run, and the same?
    in_root         compile in a root of its own, and keep what came of it

What a client says of itself enters nothing that another client receives. The key holds the
compiler's identity, which was compared; the words and variables, with which the compiler was run;
and the digest of the source, from the bytes that were compiled. The manifest's entry comes from
what the compiler itself asked. A client that asks with other facts gets another key.

Whoever only asks whether there is a manifest, or takes a result, waits for no turn.
"""

from __future__ import annotations

from pycc.cache.fingerprint import KEY_SIZE
from pycc.cache.storage import manifest_key, result_key
from pycc.unfinished import FOLLOW_SECONDS

from . import commandline
from .argumentfilter import exact_refusal
from .client_view import Refused, shown
from .compilers import choose
from .exact_wire import (
    AGAIN,
    ASK,
    EXACT,
    TAKE,
    Work,
    unpack_ask,
    unpack_work,
)
from .exactness import Exactness
from .in_root import RootJob, keep, key_of, own_places, run
from .job import LANGUAGES, Answers, Code, Done, Workshop
from .protocol import OTHER_COMPILER, OURS, ProtocolError, Request
from .witness import Unwitnessed

VARIABLES = frozenset(
    b"LANG LANGUAGE LC_ALL LC_CTYPE LC_MESSAGES GCC_COLORS GCC_EXTRA_DIAGNOSTIC_OUTPUT CPATH"
    b" C_INCLUDE_PATH CPLUS_INCLUDE_PATH OBJC_INCLUDE_PATH OBJCPLUS_INCLUDE_PATH"
    b" SOURCE_DATE_EPOCH PWD".split()
)
"""What a client may give to a compile."""


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
    try:
        places = own_places(view, exact)
        own = {file.path: file for file in view.files}.get(places.physical(source))
    except (Refused, Unwitnessed) as problem:
        return answers.refused(str(problem))
    if own is None:
        return answers.refused(f"{shown(source)} was not sent")
    cwd = view.cwd if work.bound else b""
    key = key_of(identity, argv, work.environment, cwd, own.content)
    if key in shop.compiling and shop.compiling.wait(key, FOLLOW_SECONDS) and shop.cache:
        return answers.done(Code.NOT_KEPT, answers.reply(AGAIN << 8))
    job = RootJob(
        *(shop, exact, argv, view, work.environment, work.contents),
        *(key, source, own.content, places),
    )
    with shop.compiling.under_way([key]):
        return _run(answers, job, client)


def _run(answers: Answers, job: RootJob, client: int | None) -> Done:
    ran = run(answers, job, client)
    if isinstance(ran, Done):
        return ran
    try:
        value = keep(job, *ran)
    except Unwitnessed as problem:
        return answers.refused(str(problem))
    cache = "off" if job.shop.cache is None else "miss"
    return answers.done(Code.COMPILE_OK, answers.reply(0, made=value), cache=cache)
