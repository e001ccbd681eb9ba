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
from pycc.record import replace
from pycc.unfinished import FOLLOW_SECONDS

from . import commandline
from .argumentfilter import exact_refusal
from .client_view import ClientFile, ClientLink, Refused, View, check, shown
from .compilers import Missing, choose
from .compilers import Refused as RefusedCompiler
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
    if job.key in shop.compiling:
        shop.compiling.wait(job.key, FOLLOW_SECONDS)
    kept = _kept(job)
    if kept is not None:
        return _answer(answers, job, kept, output, "hit")
    with shop.compiling.under_way([job.key]):
        ran = run(answers, job, client)
        if isinstance(ran, Done):
            return ran
        with suppress(Unwitnessed):  # it is right all the same, for this client alone
            keep(job, *ran)
    made = {made.path: made.content for made in ran[0].outputs}
    cache = "off" if shop.cache is None else "miss"
    return _answer(answers, job, (made, ran[0].ran.err, ran[0].ran.out), output, cache)


_Outputs = tuple[dict[bytes, bytes], bytes, bytes]
"""Contents by physical path, standard error, standard output."""


def _answer(answers: Answers, job: RootJob, made: _Outputs, output: bytes, cache: str) -> Done:
    outputs, err, out = made
    place = job.places.physical
    reply = answers.reply(
        0,
        err=err,
        out=out,
        made=outputs.get(place(output), b""),
        dependencies=outputs.get(place(DEPENDENCIES), b""),
    )
    return answers.done(Code.COMPILE_OK, reply, cache=cache)


def _job(
    request: Request, shop: Workshop, exact: Exactness, program: bytes, source: bytes
) -> RootJob:
    """Raises Refused, Unwitnessed."""
    view, contents = view_of(request)
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
    identity = shop.identities.of(program, LANGUAGES[extension], words)
    if identity is None:
        shop = replace(shop, cache=None)
    locale = tuple(pair for pair in shop.environment.items() if pair[0] in _LOCALE)
    key = key_of(identity or b"", (b"pump", *argv), locale, view.cwd, own.content)
    return RootJob(shop, exact, argv, view, locale, contents, key, source, own.content, places)


def view_of(request: Request) -> tuple[View, tuple[bytes, ...]]:
    """What a request says of its client's files, and their contents. Raises Refused for what no
    client of distcc's sends."""
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
    directories: set[bytes] = set()
    for word in commandline.read(request.argv).outputs:
        directory = os.path.normpath(os.path.join(cwd, os.path.dirname(word.value or b"")))
        if directory != b"/":
            directories.add(directory)
    view = View(cwd, tuple(files), tuple(links), tuple(directories))
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

    def there(name: bytes) -> bool:
        path = places.physical(name)
        if path in sent or path in directories or path in ground.above:
            return True
        return ground.tree_of(path) is not None and os.path.lexists(path)

    for name, content in entry.files:
        path = places.physical(name)
        own = sent.get(path)
        if own is None and ground.tree_of(path) is not None:
            own = job.exact.digest(path, now)
        if own != content:
            return False
    for directory, names in entry.groups:
        if any(there(os.path.join(directory, name)) for name in names):
            return False
    if not all(map(there, entry.present)):
        return False
    links = dict(result.links)
    names = (job.source, *(name for name, _ in entry.files), *entry.present)
    return all(places.target(name) == links.get(name, b"") for name in names)
