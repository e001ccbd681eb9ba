"""After the compiler has run: read its outputs, and decide whether they may be kept.

The outputs are the user's; nothing here may change them, and whatever is in doubt is only a
result that is not stored, with a counter that says why.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .basedir import BaseDirectories
from .cache.digest import DIGEST_SIZE, SETTLED_NS
from .cache.lookup import absolute, stamped
from .cache.result import LIMIT, Entry, Kind
from .call import Call
from .delivery import KINDS, NULL, target_name
from .depfile import DepfileError, Style, parse, render
from .directives import Directives
from .frame import Report, Write
from .invocation import DependencyRequest, Family, Invocation
from .invocation import Kind as OutputKind
from .native import Signature, signature, signatures
from .outcome import Outcome
from .precompiled import records_times
from .record import record
from .stability import disturbed

if TYPE_CHECKING:
    from .resident import Resident

__all__ = ["Dependencies", "Refused", "dependencies", "lying", "outputs"]


NOTHING: Mapping[bytes, Signature] = {}


@record
class Refused:
    """The result is not stored."""

    outcome: Outcome
    detail: str


@record
class Dependencies:
    """What the compile read: (path as named, digest), the source left out, and what the texts
    (the source's included) ask for."""

    files: tuple[tuple[bytes, bytes], ...]
    directives: dict[bytes, Directives]
    stats: dict[bytes, tuple[int, int, int]]
    """Size, mtime and ctime of the files, by their absolute names; under the sloppiness that asks
    for them."""


def relative_depfile(invocation: Invocation, base_dir: BaseDirectories) -> Write | None:
    """The dependency file of this compile with relative names, if it is another one."""
    wanted = invocation.dependencies
    data = None if wanted is None else _content(absolute(invocation.cwd, wanted.path))
    if wanted is None or data is None:
        return None
    text = base_dir.depfile(data, *_depfile_form(invocation, wanted))
    return None if text is None else Write(wanted.path, text)


def lying(invocation: Invocation) -> dict[bytes, Signature]:
    """The files that lie where this call has its outputs, before it has run; by absolute names."""
    names = [output.path for output in invocation.outputs]
    if invocation.output is not None:
        names.append(invocation.output)
    paths = [absolute(invocation.cwd, name) for name in names]
    found = zip(paths, signatures(paths), strict=True)
    return {path: signature for path, signature in found if signature.exists}


def outputs(
    invocation: Invocation,
    report: Report,
    coloured: bool,
    depfile: Write | None = None,
    made: Mapping[bytes, bytes | None] | None = None,
    older: Mapping[bytes, Signature] = NOTHING,
    start: int = 0,
) -> tuple[Entry, ...] | Refused:
    """Every output as entries of a result; ``depfile`` is to be the dependency file. ``made`` are
    those that another machine made, by their absolute names; the others lie where they belong.

    ``older`` are those that lay there before the compiler ran, at ``start`` (ns): one that is still
    the same was not written. gcc's notes have another name since its tenth release, and options for
    clang's inner compiler can have it make no object at all."""
    entries: list[Entry] = []
    total = 0
    wanted: list[tuple[Kind, bytes, bytes, bool]] = []
    if invocation.output is not None:
        wanted.append((Kind.OBJECT, absolute(invocation.cwd, invocation.output), b"", False))
    for output in invocation.outputs:
        name = b""
        if output.kind is OutputKind.DEPENDENCY and invocation.dependencies is not None:
            name = target_name(invocation.dependencies)
        path = absolute(invocation.cwd, output.path)
        wanted.append((KINDS[output.kind], path, name, output.optional))
    for kind, path, name, optional in wanted:
        if kind is Kind.DEPENDENCY and depfile is not None:
            data: bytes | None = depfile.data
        elif made is not None and path in made:
            data = made[path]
        elif path in older and _untouched(path, older[path], start):
            data = None
        else:
            data = _content(path)
        if data is None:
            if optional:
                continue
            return Refused(Outcome.COMPILER_PRODUCED_NO_OUTPUT, os.fsdecode(path))
        if not data and kind is Kind.OBJECT:
            return Refused(Outcome.COMPILER_PRODUCED_EMPTY_OUTPUT, os.fsdecode(path))
        total += len(data)
        if total > LIMIT // 2:
            return Refused(Outcome.BAD_OUTPUT_FILE, f"{os.fsdecode(path)} is too large to keep")
        if kind is Kind.DEPENDENCY and not _dependency_is_renderable(invocation, data):
            # Its layout is not understood: only a call with the same targets may have it.
            name = b"=" + name
        entries.append(Entry(kind, data, name))
    if report.err:
        entries.append(Entry(Kind.STDERR_COLOUR if coloured else Kind.STDERR, report.err))
    if report.out:
        entries.append(Entry(Kind.STDOUT, report.out))
    return tuple(entries)


def _untouched(path: bytes, before: Signature, start: int) -> bool:
    """Whether the file is as it was; one of the tick of the start may have been written again."""
    if not before.changed % 1_000_000_000:
        # Whole seconds: a file system that stamps no others shows no later tick.
        start -= SETTLED_NS
    return before.changed < start and not before.is_directory and signature(path) == before


def _content(path: bytes) -> bytes | None:
    before = signature(path)
    if not before.is_regular or before.size > LIMIT // 2:
        return None
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read()
    except OSError:
        return None
    return data if len(data) == before.size else None


def _dependency_is_renderable(invocation: Invocation, data: bytes) -> bool:
    wanted = invocation.dependencies
    if wanted is None:
        return False
    try:
        return render(parse(data), *_depfile_form(invocation, wanted)) == data
    except DepfileError:
        return False


def _depfile_form(
    invocation: Invocation, wanted: DependencyRequest
) -> tuple[Sequence[tuple[bytes, bool]], Style]:
    style = Style.CLANG if invocation.family is Family.CLANG else Style.GCC
    return wanted.targets or ((wanted.default_target, True),), style


def dependencies(
    call: Call,
    resident: Resident,
    invocation: Invocation,
    source_digest: bytes,
    depfile: bytes | None,
    more: Sequence[bytes],
    start: int,
    before: dict[bytes, tuple[int, int]],
    opaque: Sequence[bytes] = (),
) -> Dependencies | Refused:
    """Digest and read everything that the dependency file names, if it stood still.

    ``more`` are further files that were read (the assembler's), ``opaque`` those of them that are
    no text (precompiled headers). ``start`` in ns by the file clock, ``before`` from
    stability.identities.
    """
    names: dict[bytes, None] = {}
    if depfile is not None:
        try:
            names = dict.fromkeys(parse(depfile).prerequisites)
        except DepfileError as problem:
            return Refused(Outcome.INTERNAL_ERROR, f"dependency file: {problem}")
    elif not invocation.preprocessed:
        return Refused(Outcome.INTERNAL_ERROR, "the compiler left no dependency file")
    names.update(dict.fromkeys((*more, *opaque)))
    times = records_times(invocation)
    names.pop(invocation.source, None)
    ignored = _ignored_headers(call)
    source = absolute(call.cwd, invocation.source)
    by_mtime = "include_file_mtime" not in call.config.sloppiness
    by_ctime = "include_file_ctime" not in call.config.sloppiness
    keeps_stats = "file_stat_matches" in call.config.sloppiness
    paths = {name: absolute(call.cwd, name) for name in names}
    plain = not (ignored or times or keeps_stats)
    texts = [path for name, path in paths.items() if name not in opaque] if plain else []
    standing = resident.headers.standing(texts, start)
    looked = [(name, path) for name, path in paths.items() if path not in standing]
    looked.insert(0, (invocation.source, source))
    known = resident.digests.known
    digests: dict[bytes, bytes] = {}
    directives: dict[bytes, Directives] = {}
    stats: dict[bytes, tuple[int, int, int]] = {}
    links = signatures([path for _, path in looked], follow=False)
    for (name, path), link in zip(looked, links, strict=True):
        if ignored and name in names and _is_below(path, ignored):
            continue
        if path == NULL:
            directives[name] = Directives()
            continue
        found = signature(path) if link.is_link else link
        if not found.is_regular:
            return Refused(Outcome.BAD_INPUT_FILE, os.fsdecode(path))
        if (found.mtime >= start and by_mtime) or (found.ctime >= start and by_ctime):
            return Refused(Outcome.MODIFIED_INPUT_FILE, os.fsdecode(path))
        pinned = known(path, found)
        digest = pinned or resident.digests.digest(path, found)
        if digest is None or len(digest) != DIGEST_SIZE:
            return Refused(Outcome.MODIFIED_INPUT_FILE, os.fsdecode(path))
        if name == invocation.source and digest != source_digest:
            return Refused(Outcome.MODIFIED_INPUT_FILE, os.fsdecode(path))
        asked = Directives() if name in opaque else resident.directives(path, digest)
        if asked is None:
            return Refused(Outcome.MODIFIED_INPUT_FILE, os.fsdecode(path))
        if name not in opaque:
            directives[name] = asked
            if pinned is not None and found is link:
                resident.headers.keep(path, found, digest, asked)
        if name != invocation.source:
            stats[path] = found.size, found.mtime, found.ctime
            digests[name] = stamped(digest, found.mtime) if times else digest
    if by_mtime or by_ctime:
        linked = [path for (_, path), link in zip(looked, links, strict=True) if link.is_link]
        moved = disturbed(
            [source, *paths.values()],
            start,
            before,
            lambda p, follow: signatures(p, follow=follow),
            linked,
        )
        if moved is not None:
            resident.doubt(moved)
            return Refused(Outcome.MODIFIED_INPUT_FILE, os.fsdecode(moved))
    files: list[tuple[bytes, bytes]] = []
    for name, path in paths.items():
        header = standing.get(path)
        if header is not None:
            directives[name] = header.asked
            files.append((name, header.digest))
        elif name in digests:
            files.append((name, digests[name]))
    return Dependencies(tuple(files), directives, stats)


def _ignored_headers(call: Call) -> tuple[bytes, ...]:
    """Files and directories, as normal paths, whose contents the user takes for granted."""
    text = call.config.ignore_headers_in_manifest
    named = [absolute(call.cwd, os.fsencode(p)) for p in text.split(":") if p]
    if "system_headers" in call.config.sloppiness:
        named += [b"/usr/include", b"/usr/local/include", b"/usr/lib"]
    return tuple(os.path.normpath(path) for path in named)


def _is_below(path: bytes, places: Sequence[bytes]) -> bool:
    """Whether a file is one of ``places`` or lies below one."""
    path = os.path.normpath(path)
    return any(path == place or path.startswith(place.rstrip(b"/") + b"/") for place in places)
