"""A compile in a root of its own, and what may be kept of it; for exact jobs and for pump's.

exact_root    what the root is made of; which contents are missing
sandbox       compile in it, and record what was asked
witness       under which answers the result is right
server_cache  keep both, by what was really compiled
"""

from __future__ import annotations

import os
from itertools import pairwise

from pycc.cache import manifest
from pycc.cache.digest import digest_of, file_clock
from pycc.cache.fingerprint import Fingerprint
from pycc.cache.lookup import result_key_of
from pycc.cache.storage import manifest_key, result_key
from pycc.pattern import pattern
from pycc.record import record

from .client_view import Refused, View, shown
from .contents import WrongContent
from .exact_root import Layout
from .exact_wire import MISSING, Made, Pairs, Result, pack_digests, pack_result
from .exactness import Exactness
from .job import Answers, Code, Done, Workshop
from .sandbox import Compiled, ContentGone, Found, Lookup, SandboxFailed
from .witness import Places, Unwitnessed, entry

VERSION = b"pyccd exact 2"
_GRAPHICS = pattern(rb"/opt(?:/rocm.*)?|/usr/(?:local|lib)/cuda[^/]*")
"""Where clang's driver always looks for the tools of graphic cards. What is not of the server's own
kind is in no root."""
MOST_ENTRIES = 8
"""Of a manifest; each is sent to whoever asks."""


@record
class RootJob:
    """A compile that may be done, under the ``key`` of its manifest. ``digest`` is that of the
    source; ``contents`` came along."""

    shop: Workshop
    exact: Exactness
    argv: tuple[bytes, ...]
    view: View
    environment: Pairs
    contents: tuple[bytes, ...]
    key: bytes
    source: bytes
    digest: bytes
    places: Places


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


def own_places(view: View, exact: Exactness) -> Places:
    """Where names lead in the root of a view."""
    return Places(view, exact.ground, _read_link)


def run(answers: Answers, job: RootJob, client: int | None) -> tuple[Compiled, int] | Done:
    """(what a compile without an error gave, the file clock before it), or what is answered."""
    shop, exact = job.shop, job.exact
    try:
        for content in job.contents:
            exact.contents.put(digest_of(content), content)
        layout = Layout(job.view, exact.ground)
        plan = layout.plan(exact.survey(layout.questions()))
        missing = exact.contents.missing(plan.contents)
        if missing:
            told = answers.reply(MISSING << 8, out=pack_digests(missing))
            return answers.done(Code.NOT_KEPT, told)
        began = file_clock()
        compiled = exact.sandbox.run(
            plan,
            job.argv,
            environment={b"PATH": shop.environment[b"PATH"], **dict(job.environment)},
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
        return answers.refused(f"no room to run {shown(job.argv[0])}: {problem}")
    ran, cache = compiled.ran, "off" if shop.cache is None else "miss"
    cut_short = answers.cut_short(ran.end, shop.seconds, cache)
    if cut_short is not None:
        return cut_short
    if ran.status:
        reply = answers.reply(ran.status, err=ran.err, out=ran.out)
        return answers.done(Code.COMPILE_ERROR, reply, cache=cache)
    return compiled, began


def keep(job: RootJob, compiled: Compiled, began: int) -> bytes:
    """The packed result, which is kept with its entry. Raises Unwitnessed."""
    shop, exact, view, places = job.shop, job.exact, job.view, job.places
    if compiled.lookups is None:
        raise Unwitnessed("it could not be recorded what the compiler asked")
    if any(b"__DATE__" in word or b"__TIME" in word for word in job.argv):
        raise Unwitnessed("the time is asked for")
    found, links = entry(
        lambda files, present: result_key_of(job.key, files, b"", present),
        [lookup for lookup in compiled.lookups if not _is_a_whim(lookup, job)],
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


def _is_a_whim(lookup: Lookup, job: RootJob) -> bool:
    """Whether clang's driver only looked whether somebody has installed code for graphic cards."""
    missing = lookup.found is Found.ABSENT and _GRAPHICS.fullmatch(lookup.path) is not None
    words = (*job.argv, *(value for _, value in job.environment))
    return missing and not any(b"/opt" in word or b"/cuda" in word for word in words)


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
