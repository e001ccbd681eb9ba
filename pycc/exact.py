"""A compile that a server of ours does as it would be done here, and what is made of its answer.

Sent are the command line, the variables that reach an output, and the files that may be read, at
the paths where they are (remote/client_view.py). What comes back is taken only if every answer that
the compiler got from the file system there is what it would get here: the manifest's entry says
which those are, and is checked like one of our own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from . import collect
from .cache.lookup import absolute
from .cache.manifest import WHOLE, ManifestEntry
from .cache.result import Entry
from .closure import Closure
from .compiler import KEY_VARIABLES
from .frame import Op, Report
from .invocation import Family, Invocation
from .keying import DIAGNOSTIC_VARIABLES, LOCALE_VARIABLES, SEARCH_VARIABLES, forces_colour
from .native import signature, signatures
from .record import record, replace
from .remote.client_view import ClientFile, ClientLink, View
from .remote.exact_wire import Ask, Pairs, Result, Work
from .searchchain import is_systems
from .searched import Looker, other_names

if TYPE_CHECKING:
    from .directives import Directives
    from .job import Job
    from .memos import Header
    from .resident import Resident

SEARCHED = SEARCH_VARIABLES[:5]
_SENT = (*LOCALE_VARIABLES, *DIAGNOSTIC_VARIABLES[:2], *SEARCHED, b"SOURCE_DATE_EPOCH")
_WRITING = tuple(
    b"DEPENDENCIES_OUTPUT SUNPRO_DEPENDENCIES CC_PRINT_OPTIONS CC_PRINT_HEADERS".split()
)
_MODE = 0o666
"""What compilers give to what they write, under a umask of 0."""
CONTENT_LIMIT = 64 << 20


@record
class Exact:
    """An answer that is as good as our own compile's: outputs, what ends the call, the entry."""

    entries: tuple[Entry, ...]
    ops: Sequence[Op]
    entry: ManifestEntry


def obstacle(job: Job) -> str:
    """Why this job cannot be compiled exactly elsewhere, whatever its files; empty if it can."""
    call, invocation = job.call, job.invocation
    if not job.manifest_key or call.config.depend_mode:
        return "direct mode is off, or trusts what the compiler says of its headers"
    if call.config.extra_files_to_hash:
        return "extra_files_to_hash names files that no server sees"
    if invocation.family is Family.OTHER or invocation.preprocessed or job.base_dir is not None:
        return "the source is not sent as it is"
    if invocation.generates_pch or invocation.uses_pch:
        return "a precompiled header"
    if invocation.input_files or invocation.output in (None, b"/dev/null"):
        return "it reads or writes other files"
    variables = (*KEY_VARIABLES, *_WRITING, DIAGNOSTIC_VARIABLES[2])
    if any(name in call.variables for name in variables):
        return "a variable chooses what is run or written"
    return ""


def ask_of(job: Job) -> Ask:
    """What finds an earlier result."""
    where = job.call.cwd if is_bound(job.invocation) else b""
    return Ask(where, _variables(job), job.source_digest)


def is_bound(invocation: Invocation) -> bool:
    """Whether the working directory may reach an output."""
    return invocation.cwd_sensitive or invocation.lto or invocation.coverage


def _variables(job: Job) -> Pairs:
    variables = job.call.variables
    found = [(name, variables[name]) for name in _SENT if name in variables]
    if is_bound(job.invocation) and b"PWD" in variables:
        found.append((b"PWD", variables[b"PWD"]))
    return tuple(found)


def work_of(job: Job, resident: Resident) -> Work | str:
    """The compile with its view, or why its files cannot be told."""
    closure = Closure(job, resident)
    if closure.reason:
        return closure.reason
    view = view_of(job, resident, closure)
    bound = is_bound(job.invocation)
    return view if isinstance(view, str) else Work(view, _variables(job), bound)


def view_of(job: Job, resident: Resident, closure: Closure) -> View | str:
    """The files of ``closure`` with all that leads to them, or why they cannot be told."""
    view = _View(job, resident)
    for name in closure.names:
        path = absolute(job.call.cwd, name)
        if not view.add(path, closure.standing.get(path)):
            return f"{os.fsdecode(name)} cannot be read"
    if not view.has(job.invocation.source, job.source_digest):
        return "the source is being changed"
    include = job.invocation.include
    for directory in (*include.quote, *include.angle, *include.system, *include.after):
        view.add_directory(directory)
    for path in _expected(job.invocation):
        view.add_directory(os.path.dirname(path))
    return view.view()


def scanned(job: Job, resident: Resident) -> list[tuple[bytes, bytes]] | str:
    """What ``distcc --scan-includes`` prints of each file, or why they cannot be told."""
    closure = Closure(job, resident)
    view = closure.reason or view_of(job, resident, closure)
    if isinstance(view, str):
        return view
    rows = [(b"FILE", file.path) for file in view.files]
    rows += ((b"SYMLINK", link.path) for link in view.links)
    rows += ((b"DIRECTORY", path) for path in view.directories)
    chain = job.toolchain.chain
    rows += ((b"SYSTEMDIR", os.path.normpath(path)) for path in (*chain.quote, *chain.bracket))
    return rows


class _View:
    """Collects files with the links on the ways to them."""

    def __init__(self, job: Job, resident: Resident) -> None:
        self._cwd = job.call.cwd
        self._digests = resident.digests
        self._files: dict[bytes, ClientFile] = {}
        self._inodes: dict[tuple[int, int], bytes] = {}
        self._links: dict[bytes, bytes] = {}
        self._directories: set[bytes] = set()
        self._known: dict[bytes, bytes] = {}

    def view(self) -> View:
        links = tuple(ClientLink(path, target) for path, target in self._links.items())
        directories = tuple(path for path in self._directories if path != b"/")
        return View(self._cwd, tuple(self._files.values()), links, directories)

    def add(self, name: bytes, known: Header | None) -> bool:
        """A file, by its absolute name, with all that leads to it; False if there is none to be
        read. ``known`` is what it was found to be just now, if it is no link."""
        directory, _, last = name.rpartition(b"/")
        path = self._directory(directory) + b"/" + last
        if known is None:
            path = self._leaf(path)
        if path in self._files:
            return True
        found = signature(path) if known is None else known.found
        digest: bytes | None = None
        if known is not None:
            digest = known.digest
        elif found.is_regular:
            digest = self._digests.digest(path, found)
        if digest is None:
            return False
        first = self._inodes.setdefault((found.device, found.inode), path)
        same_as = b"" if first == path else first
        self._files[path] = ClientFile(path, digest, found.mtime, same_as)
        return True

    def has(self, name: bytes, digest: bytes) -> bool:
        """Whether a file was added with this content."""
        directory, _, last = absolute(self._cwd, name).rpartition(b"/")
        file = self._files.get(self._leaf(self._directory(directory) + b"/" + last))
        return file is not None and file.content == digest

    def add_directory(self, name: bytes) -> None:
        """A directory that is searched or written into, if there is one and it is the user's."""
        path = self._directory(absolute(self._cwd, name).rstrip(b"/"))
        if not is_systems(path) and os.path.isdir(path):
            self._directories.add(path)

    def _directory(self, path: bytes) -> bytes:
        """The physical path of a directory, b"" for the root; what is on the way is noted."""
        known = self._known.get(path)
        if known is not None:
            return known
        above, _, last = path.rpartition(b"/")
        if not path or path == b"/":
            return b""
        here = self._directory(above)
        if last in (b"", b"."):
            physical = here
        elif last == b"..":
            physical = here.rpartition(b"/")[0]
        else:
            physical = self._leaf(here + b"/" + last)
            if physical and not is_systems(physical) and os.path.isdir(physical):
                self._directories.add(physical)
        self._known[path] = physical
        return physical

    def _leaf(self, path: bytes) -> bytes:
        """Where a path leads whose directory is physical."""
        for _ in range(40):
            try:
                target = os.readlink(path)
            except OSError:
                return path
            self._links[path] = target
            place = os.path.join(os.path.dirname(path), target)
            directory, _, last = place.rpartition(b"/")
            if last in (b"", b".", b".."):
                return self._directory(place)
            path = self._directory(directory) + b"/" + last
        return path


def content_of(file: ClientFile, resident: Resident) -> bytes | None:
    """The content of a file of the view, if it still has it."""
    return content_at(file.path, file.content, resident)


def content_at(path: bytes, digest: bytes, resident: Resident) -> bytes | None:
    """What has that digest, of which the file is known to have been; None if it has another now."""
    known = resident.contents.get(digest)
    if known is not None:
        return known
    got = resident.digests.read(path, CONTENT_LIMIT)
    if got is None or got[0] != digest:
        return None
    resident.contents.keep(digest, got[1])
    return got[1]


def _expected(invocation: Invocation) -> Iterable[bytes]:
    """The outputs, as they are named."""
    if invocation.output is not None:
        yield invocation.output
    for output in invocation.outputs:
        yield output.path


def accept(job: Job, resident: Resident, result: Result, entry: ManifestEntry) -> Exact | str:
    """What an answer ends the call with, or why it is not taken. ``entry`` holds."""
    call, invocation = job.call, job.invocation
    if invocation.family is Family.CLANG:
        groups = _other_names(job, resident, entry)
        if groups is None:
            return "a file that was read may have another name here"
        entry = replace(entry, groups=(*entry.groups, *groups))
    if entry.flags & ~WHOLE or entry.day:
        return "it holds under conditions that are not asked for"
    moved = _other_link(job, result.links, entry)
    if moved:
        return f"{os.fsdecode(moved)} is another link here"
    by_place = {absolute(call.cwd, made.path): made for made in result.outputs}
    made: dict[bytes, bytes | None] = {}
    for name in _expected(invocation):
        path = absolute(invocation.cwd, name)
        directory, _, last = path.rpartition(b"/")
        found = by_place.pop(os.path.realpath(directory or b"/") + b"/" + last, None)
        made[path] = None if found is None else found.content
        if found is not None and found.mode != _MODE:
            return f"{os.fsdecode(name)} got another mode"
    if by_place:
        return f"{os.fsdecode(min(by_place))} was written, too"
    report = Report(0, 0, result.out, result.err, 0)
    entries = collect.outputs(invocation, report, forces_colour(invocation), made=made)
    if isinstance(entries, collect.Refused):
        return entries.detail
    ops = job.delivery.operations(entries)
    return "it does not fit" if ops is None else Exact(entries, ops, entry)


def _other_names(
    job: Job, resident: Resident, entry: ManifestEntry
) -> tuple[tuple[bytes, tuple[bytes, ...]], ...] | None:
    """What searched.other_names says of the user's files; None where they are not known, too."""
    directives: dict[bytes, Directives] = {}
    for name, digest in ((job.invocation.source, job.source_digest), *entry.files):
        path = absolute(job.call.cwd, name)
        if is_systems(path):
            continue
        asked = resident.directives(path, digest)
        if asked is None:
            return None
        directives[name] = asked
    return other_names(job, directives, Looker(job.call.cwd, resident))


def _other_link(job: Job, links: Pairs, entry: ManifestEntry) -> bytes:
    """The name that leads another way here than there, if one does."""
    expected = dict(links)
    present = (name.rstrip(b"/") or b"/" for name in entry.present)
    names = [job.invocation.source, *(name for name, _ in entry.files), *present]
    paths = [absolute(job.call.cwd, name) for name in names]
    for name, path, found in zip(names, paths, signatures(paths, follow=False), strict=True):
        target = expected.get(name, b"")
        if found.is_link != bool(target) or (target and _read_link(path) != target):
            return name
    return b""


def _read_link(path: bytes) -> bytes:
    try:
        return os.readlink(path)
    except OSError:
        return b""


def differs(job: Job, resident: Resident, entry: ManifestEntry) -> str:
    """Which answer of the file system is another here; empty if none is."""
    verdict = resident.verifier.verify(entry, job.call.cwd, job.output_directories())
    return os.fsdecode(verdict.reason)
