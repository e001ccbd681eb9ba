"""A job of a stock client in pump mode (protocol 3): the source with the headers that it may read.

distccd lays the files out below a temporary directory, rewrites the words that name absolute paths,
and leaves its own directory in the object (DWARF 5) and in no cache of the world. Here the job is
compiled in a root of its own under the client's paths, as an exact job is, so that nothing has to
be rewritten, and a result is kept under what was really asked.

    LINK ../../../usr/include   the client's way to say "your own /usr/include": left to the server
    forcing_technique_271828    an empty file that makes its directory exist: laid out as any other
    DOTD                        what -MMD lists, which the client writes where its user wants it

No client says when its files were changed. Each gets a time of its own, because under ``#pragma
once`` gcc takes two files of one content and time for one.
"""

from __future__ import annotations

import os
from contextlib import suppress

from pycc.cache import manifest
from pycc.cache.digest import digest_of, file_clock
from pycc.cache.manifest import ManifestEntry
from pycc.cache.storage import manifest_key, result_key
from pycc.options import are_for_the_machine, special_words
from pycc.record import replace
from pycc.unfinished import FOLLOW_SECONDS

from . import commandline
from .argumentfilter import exact_refusal
from .client_view import ClientFile, ClientLink, Refused, View, ancestors, check, shown
from .compilers import Missing, choose
from .compilers import Refused as RefusedCompiler
from .exact_root import Kind
from .exact_wire import Result, unpack_result
from .exactness import Exactness
from .in_root import RootJob, keep, key_of, own_places, run
from .job import LANGUAGES, Answers, Code, Done, Workshop
from .protocol import PUMP, Link, ProtocolError, Request
from .witness import Unwitnessed

FIRST_TIME = 1_000_000_000_000_000_000  # ns
SECOND = 1_000_000_000
DEPENDENCIES = b".pyccd-dependencies"
_LOCALE = (b"LANG", b"LANGUAGE", b"LC_ALL", b"LC_CTYPE", b"LC_MESSAGES")


def is_pump(request: Request) -> bool:
    """Whether this is ours to answer."""
    return request.version == PUMP


def do(request: Request, shop: Workshop, exact: Exactness | None, client: int | None) -> Done:
    """Answer a request for which `is_pump`. ``client`` is the descriptor of its connection."""
    argv = request.argv
    answers = Answers(request.version, argv)
    if not argv:
        return answers.refused("no command")
    if exact is None:
        return answers.refused("pump mode is not served here: this machine cannot make roots")
    program = choose(argv[0], shop.rules)
    if isinstance(program, RefusedCompiler):
        return answers.refused(program.reason)
    if isinstance(program, Missing):
        reason = f"failed to exec {shown(program.name)}: No such file or directory"
        return answers.done(Code.COMPILE_ERROR, answers.told(reason), said=reason)
    why = exact_refusal(argv)
    if why is not None:
        return answers.refused(why)
    reading = commandline.read(argv)
    if len(reading.inputs) != 1 or len(reading.outputs) != 1 or reading.action is None:
        return answers.refused("not one source and one output")
    try:
        job = _job(request, shop, exact, program, reading.inputs[0].name)
    except (Refused, Unwitnessed) as problem:
        return answers.refused(str(problem))
    output = reading.outputs[0].value or b""
    if _is_taken(job, output) or _is_taken(job, DEPENDENCIES):
        return answers.refused(f"{shown(output)}, or {shown(DEPENDENCIES)}, was sent")
    if job.key in shop.compiling:
        shop.compiling.wait(job.key, FOLLOW_SECONDS)
    kept = _kept(job)
    done = None if kept is None else _answer(answers, job, kept, output, "hit")
    if done is not None:
        return done
    with shop.compiling.under_way([job.key]):
        ran = run(answers, job, client)
        if isinstance(ran, Done):
            return ran
        made = {made.path: made.content for made in ran[0].outputs}
        cache = "off" if job.shop.cache is None else "miss"
        done = _answer(answers, job, (made, ran[0].ran.err, ran[0].ran.out), output, cache)
        if done is None:
            return answers.refused(f"{shown(output)} was not made")
        with suppress(Unwitnessed):  # it is right all the same, for this client alone
            keep(job, *ran)
    return done


_Outputs = tuple[dict[bytes, bytes], bytes, bytes]
"""Contents by physical path, standard error, standard output."""


def _is_taken(job: RootJob, name: bytes) -> bool:
    """Whether something was sent that lies where an output is to be: through a link it would be
    made elsewhere."""
    directory, slash, last = name.rpartition(b"/")
    place = job.places.physical(directory or slash or b".").rstrip(b"/") + b"/" + last
    view = job.view
    return place in {file.path for file in view.files} | {link.path for link in view.links}


def _answer(
    answers: Answers, job: RootJob, made: _Outputs, output: bytes, cache: str
) -> Done | None:
    """None where an output is missing."""
    outputs, err, out = made
    place = job.places.physical
    own, listed = outputs.get(place(output)), outputs.get(place(DEPENDENCIES))
    if own is None or listed is None:
        return None
    reply = answers.reply(0, err=err, out=out, made=own, dependencies=listed)
    return answers.done(Code.COMPILE_OK, reply, cache=cache)


def _job(
    request: Request, shop: Workshop, exact: Exactness, program: bytes, source: bytes
) -> RootJob:
    """Raises Refused, Unwitnessed."""
    view, contents = view_of(request, exact)
    places = own_places(view, exact)
    own = {file.path: file for file in view.files}.get(places.physical(source))
    if own is None:
        raise Refused(f"{shown(source)} was not sent")
    if any(file.path == view.cwd + b"/" + DEPENDENCIES for file in view.files):
        raise Refused(f"{shown(DEPENDENCIES)} is a name of ours")
    words = request.argv[1:]
    asked = any(word in (b"-MD", b"-MMD") for word in words)
    argv = (program, *words, *(() if asked else (b"-MMD",)), b"-MF", DEPENDENCIES)
    extension = commandline.preprocessed_extension(source)
    if extension is None:
        raise Refused(f"{shown(source)} is no source that can be compiled here")
    # What the identity does not tell must not be kept: other parts of the compiler, which words
    # choose that mean a place, and another language than the name's.
    special = special_words(words)
    told = are_for_the_machine(special) and not commandline.read(request.argv).languages
    identity = shop.identities.of(program, LANGUAGES[extension], words) if told else None
    if identity is None:
        shop = replace(shop, cache=None)
    locale = tuple(pair for pair in shop.environment.items() if pair[0] in _LOCALE)
    key = key_of(identity or b"", (b"pump", *argv), locale, view.cwd, own.content)
    return RootJob(shop, exact, argv, view, locale, contents, key, source, own.content, places)


def view_of(request: Request, exact: Exactness) -> tuple[View, tuple[bytes, ...]]:
    """What a request says of its client's files, and their contents. Raises Refused for what no
    client of distcc's sends, and Unwitnessed."""
    files: list[ClientFile] = []
    links: list[ClientLink] = []
    for number, file in enumerate(request.files):
        if not isinstance(file, Link):
            time = FIRST_TIME + number * SECOND
            files.append(ClientFile(file.name, digest_of(file.content), time))
        elif not _is_the_servers_own(file):
            links.append(ClientLink(file.name, file.target))
    contents = tuple(file.content for file in request.files if not isinstance(file, Link))
    cwd = request.cwd if len(request.cwd) == 1 else request.cwd.rstrip(b"/")
    view = View(cwd, tuple(files), tuple(links))
    places = own_places(view, exact)
    directories: set[bytes] = set()
    for word in commandline.read(request.argv).outputs:
        directories.add(places.physical(os.path.dirname(word.value or b"") or b"."))
    view = replace(view, directories=tuple(directories - {b"/"}))
    check(view)
    return view, contents


def _is_the_servers_own(link: Link) -> bool:
    """Whether a link says that the directory of its name is to be the server's: it leads out of
    any place that a server may have put it, and back to its own name."""
    tail, ups = link.target, 0
    while tail.startswith(b"../"):
        tail, ups = tail[3:], ups + 1
    return b"/" + tail == link.name and ups > link.name.count(b"/")


def _kept(job: RootJob) -> _Outputs | None:
    """What was made of the same before, if all that it depended on is the same now."""
    cache = job.shop.cache
    value = None if cache is None else cache.value(manifest_key(job.key))
    if cache is None or value is None:
        return None
    try:
        for entry in manifest.unpack(value):
            packed = cache.value(result_key(entry.result_key))
            result = None if packed is None else unpack_result(packed)
            if result is not None and _holds(job, entry, result):
                place = job.places.physical
                made = {place(one.path): one.content for one in result.outputs}
                return made, result.err, result.out
    except (manifest.ManifestError, ProtocolError, Unwitnessed):
        pass
    return None


def _holds(job: RootJob, entry: ManifestEntry, result: Result) -> bool:
    """Whether the compiler would get every answer of ``entry`` in this job's root. Raises
    Unwitnessed for links that go round."""
    view, places, ground, now = job.view, job.places, job.exact.ground, file_clock()
    sent = {file.path: file.content for file in view.files}
    directories = check(view)

    def kind(name: bytes) -> Kind:
        path = places.physical(name)
        if path in sent:
            return Kind.FILE
        if path == b"/" or path in directories or path in ground.above:
            return Kind.DIRECTORY
        if ground.tree_of(path) is None or any(above in sent for above in ancestors(path)):
            return Kind.NOTHING
        if os.path.isdir(path):
            return Kind.DIRECTORY
        return Kind.FILE if os.path.lexists(path) else Kind.NOTHING

    for name, content in entry.files:
        path = places.physical(name)
        own = sent.get(path)
        if own is None and ground.tree_of(path) is not None:
            own = job.exact.digest(path, now)
        if own != content:
            return False
    for directory, names in entry.groups:
        if any(kind(os.path.join(directory, name)) is not Kind.NOTHING for name in names):
            return False
    for name in entry.present:
        if kind(name) is not (Kind.DIRECTORY if name.endswith(b"/") else Kind.FILE):
            return False
    links = dict(result.links)
    present = (name.rstrip(b"/") or b"/" for name in entry.present)
    names = (job.source, *(name for name, _ in entry.files), *present)
    return all(places.target(name) == links.get(name, b"") for name in names)
