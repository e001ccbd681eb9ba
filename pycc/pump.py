"""A compile that a stock server does in pump mode: what it is sent, and what its answer is worth.

The user's own files are sent at the paths where they are, found as for an exact job (closure.py,
exact.py). The server's own headers are those below /usr and on the compiler's own search chain.
Its list of dependencies says which of both were read; from that the manifest entry is derived as
after a compile of our own (keep.py), and the entry is good there as it is here: of the user's
files because the server had no others, of its own because it is asked for them (pump_probe.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from . import collect, exact, keep, user_headers
from .basedir import apparent_directory
from .blake import blake2b
from .cache import manifest
from .cache.digest import file_clock
from .cache.lookup import absolute
from .closure import Closure
from .depfile import Rule, Style, quote, render, without_dot_slash
from .execution import Execution
from .frame import Op, Report
from .invocation import DependencyRequest, Family, Invocation
from .keying import DIAGNOSTIC_VARIABLES, forces_colour
from .native import signature
from .record import record, replace
from .remote import pump_words
from .remote.bulk import compress
from .remote.client_view import View
from .remote.protocol import PUMP, File, Link, Reply, Request
from .remote.pump_probe import Facts
from .remote.pump_words import CannotPump, Command
from .searchchain import SearchChain, is_systems

if TYPE_CHECKING:
    from .cache.manifest import ManifestEntry
    from .cache.result import Entry
    from .includes import Proven
    from .job import Job
    from .resident import Resident

FORCING = b"forcing_technique_271828"
"""distcc's name of an empty file that makes its directory exist."""
MOST_OWNS, MOST_FILES = 50, 20_000
UPS = b"../" * 40
"""More than a server's temporary directory is deep: out of it, and to the server's own."""


@record
class Sent:
    """A job as it is sent. ``files`` are the digests of the user's, by absolute physical path."""

    request: Request
    command: Command
    files: Mapping[bytes, bytes]


@record
class Pumped:
    """A result that is as good as our own compile's, if ``facts`` hold on the server; without a
    ``decision`` where nothing is kept of it."""

    ops: tuple[Op, ...]
    decision: keep.Decision | None
    entries: tuple[Entry, ...]
    facts: Facts
    lookups: tuple[object, int]
    """Those that the facts, or what was proven before, say of the server."""


def obstacle(job: Job) -> str:
    """Why this job cannot go by pump, whatever its files; empty if it can."""
    invocation, call = job.invocation, job.call
    if invocation.dependencies is not None and invocation.dependencies.generated:
        return "-MG names headers that are not there"
    args = invocation.args
    if invocation.family is Family.CLANG and b"-MD" in args and b"-MMD" in args:
        return "a server would not say which of -MD and -MMD is not used"
    if invocation.lto or invocation.records_command_line or invocation.split_dwarf:
        return "the server's directory would be in the object, where it is not found again"
    if invocation.preprocessed or job.precompiled:
        return "it is preprocessed in part"
    if any(name in call.variables for name in exact.SEARCHED):
        return "a variable names directories of headers"
    if any(name in call.variables for name in DIAGNOSTIC_VARIABLES):
        return "a variable says how messages look"
    pwd = call.variables.get(b"PWD")
    if invocation.cwd_sensitive and apparent_directory(call.cwd, pwd, signature) != call.cwd:
        return "the working directory goes by another name"
    return exact.obstacle(job)


def sent(job: Job, resident: Resident, argv: tuple[bytes, ...]) -> Sent:
    """The job for a server. ``argv`` is a Distributable's. Raises CannotPump."""
    clang = job.invocation.family is Family.CLANG
    command = pump_words.command(argv, job.call.cwd, clang=clang)
    closure = Closure(job, resident)
    if closure.reason or closure.absolute:
        raise CannotPump(closure.reason or "a header is included by its absolute path")
    view = exact.view_of(job, resident, closure)
    if isinstance(view, str):
        raise CannotPump(view)
    job.start_after(max((file.mtime for file in view.files), default=0))
    owns = _own(job, resident)
    linked = _linked(job, owns, command)
    files = _files(view, resident, owns)
    links = [_link(link.path, link.target, owns) for link in view.links if not owns(link.path)]
    links += (Link(path, UPS + path[1:]) for path in linked)
    digests = {file.path: file.content for file in view.files if not owns(file.path)}
    if any(name.startswith(path + b"/") for path in linked for name in digests):
        raise CannotPump("a file would have to be laid into the server's own directory")
    occupied = set(map(os.path.dirname, digests))
    forced = [
        File(path + b"/" + FORCING, b"")
        for path in view.directories
        if path not in occupied and not owns(path) and path != job.call.cwd
    ]
    request = Request(PUMP, command.argv, cwd=job.call.cwd, files=(*files, *links, *forced))
    return Sent(request, command, digests)


def _in_line(names: Sequence[bytes]) -> bytes:
    """As prerequisites; hardly ever one of hundreds has to be quoted."""
    plain = b" ".join(names)
    quoted = plain.count(b" ") >= len(names) or any(c in plain for c in (b"\t", b"#", b"$", b"\\"))
    return b" ".join(map(quote, names)) if quoted else plain


def _main(invocation: Invocation, names: Sequence[bytes]) -> int:
    """Where the source stands in the list. Before it clang has what it tells its sanitizers to
    ignore, which comes with the system. Raises CannotPump."""
    if invocation.family is not Family.CLANG:
        return 0
    source = without_dot_slash(invocation.source)
    if source not in names:
        raise CannotPump("the list of dependencies does not name the source")
    return names.index(source)


def _depfile(invocation: Invocation, wanted: DependencyRequest, rule: Rule) -> bytes:
    style = Style.CLANG if invocation.family is Family.CLANG else Style.GCC
    targets = wanted.targets or ((wanted.default_target, True),)
    listed = render(replace(rule, phony=wanted.phony), targets, style)
    if listed is None:
        raise CannotPump("the list of dependencies cannot be written")
    return listed


class Own:
    """Tells whether an absolute path is one of the server's own: what comes with the system, and
    what lies where the compiler looks by itself."""

    def __init__(self, chain: SearchChain) -> None:
        self._directories = tuple(
            _plain(directory).rstrip(b"/") + b"/"
            for directory in (*chain.quote, *chain.bracket)
            if directory.startswith(b"/")
        )
        self.files: set[bytes] = set()
        """Some of them."""

    def __call__(self, path: bytes) -> bool:
        return is_systems(path) or (path + b"/").startswith(self._directories)

    def file(self, path: bytes) -> bool:
        """The same of a file, whose path may hold ``.`` and ``..``; most are asked about again."""
        if path in self.files:
            return True
        if not self(_plain(path)):
            return False
        if len(self.files) >= MOST_FILES:
            self.files.clear()
        self.files.add(path)
        return True

    def may_be_below(self, directory: bytes) -> bool:
        """Whether a name that begins with ``directory``, a slash at its end, may be one."""
        return any(own.startswith(directory) for own in (*self._directories, b"/usr/", b"/lib"))


def _own(job: Job, resident: Resident) -> Own:
    chain = job.toolchain.chain
    known = resident.owns.get(chain)
    if known is None:
        if len(resident.owns) >= MOST_OWNS:
            resident.owns.clear()
        known = resident.owns[chain] = Own(chain)
    return known


def _linked(job: Job, owns: Own, command: Command) -> tuple[bytes, ...]:
    """The server's own directories that the command names. Raises CannotPump."""
    include, cwd = job.invocation.include, job.call.cwd
    systems = (*include.system, *include.cxx_system, *include.after)
    found: dict[bytes, None] = {}
    for directory in (*include.quote, *include.angle, *systems):
        path = absolute(cwd, directory)
        physical = os.path.realpath(path)
        if owns(os.path.normpath(path)) or owns(physical):
            if not directory.startswith(b"/") or os.path.normpath(path) != path.rstrip(b"/"):
                raise CannotPump(f"{os.fsdecode(directory)} leads to the server's own files")
            found[path.rstrip(b"/")] = None
        if directory in systems and pump_words.is_shortened(directory, physical, command.steps):
            raise CannotPump(f"{os.fsdecode(directory)} may get another name")
    for _, name in include.forced:
        if owns(absolute(cwd, name)):
            raise CannotPump(f"{os.fsdecode(name)} is one of the server's own files")
    shortest = sorted(found, key=len)
    nested = {p for p in shortest for q in shortest if p != q and p.startswith(q + b"/")}
    return tuple(path for path in shortest if path not in nested)


def _files(view: View, resident: Resident, owns: Own) -> list[File]:
    files: list[File] = []
    digests: set[bytes] = set()
    for file in view.files:
        if owns(file.path):
            continue
        content = exact.content_of(file, resident)
        if content is None:
            raise CannotPump(f"{os.fsdecode(file.path)} is being changed")
        if file.content in digests and (b"once" in content or b"import" in content):
            raise CannotPump("two files of one content would be taken for one")
        digests.add(file.content)
        body = resident.bodies.get(file.content)
        if body is None:
            body = compress(content)
            resident.bodies.keep(file.content, body)
        files.append(File(file.path, content, body))
    return files


def _link(path: bytes, target: bytes, owns: Own) -> Link:
    """A link of the user's. An absolute target is put below the server's directory, a relative one
    is taken as it is."""
    where = os.path.join(os.path.dirname(path), target)
    depth = 0
    for part in where.split(b"/"):
        depth += {b"": 0, b".": 0, b"..": -1}.get(part, 1)
        if depth < 0:
            raise CannotPump(f"{os.fsdecode(path)} leads above the root")
    if owns(os.path.normpath(where)):
        raise CannotPump(f"{os.fsdecode(path)} leads to the server's own files")
    return Link(path, target)


def received(
    job: Job,
    resident: Resident,
    what: Sent,
    reply: Reply,
    before: dict[bytes, tuple[int, int]],
    proven: Proven | None = None,
) -> Pumped:
    """What an answer without an error is worth. Nothing is kept of it with ``proven``: the lookups,
    by whom their numbers belong to, that find nothing on the server. Raises CannotPump."""
    invocation = job.invocation
    steps, output = what.command.steps, invocation.output
    if output is None or not reply.object or reply.dependencies is None:
        raise CannotPump("the answer is not complete")
    owns = _own(job, resident)
    rule = pump_words.dependencies(reply.dependencies, steps, owns.file)
    content = pump_words.scrubbed(reply.object, what.command)
    names = rule.prerequisites
    made: dict[bytes, bytes | None] = {absolute(invocation.cwd, output): content}
    wanted = invocation.dependencies
    if wanted is not None:
        main = _main(invocation, names)
        if wanted.system:
            rule = replace(rule, main=main)
        else:
            users = user_headers.of(job, resident, names[main:])
            rule = replace(rule, prerequisites=users)
        made[absolute(invocation.cwd, wanted.path)] = _depfile(invocation, wanted, rule)
    if any(b"\n" in name for name in names):
        raise CannotPump("a name cannot be written")
    listed = b"x: %s\n" % _in_line(names)
    err = pump_words.diagnostics(reply.err, steps)
    coloured = forces_colour(invocation)
    report = Report(0, 0, reply.out, err, 0)
    entries = collect.outputs(invocation, report, coloured, made=made)
    if isinstance(entries, collect.Refused):
        raise CannotPump(entries.detail)
    execution = Execution(report, (), coloured, listed, b"", b"", ())
    # Which directories are the server's own is the toolchain's affair.
    chain = job.toolchain.chain
    known = None if proven is None else lambda epoch: proven((epoch, chain))
    decision = keep.decide(job, resident, execution, None, None, before, known)
    ops = job.delivery.operations(entries)
    if decision is None or decision.entry is None or ops is None:
        raise CannotPump("its files cannot be told")
    # Only now: what goes before this is told here, and what goes later was not missed above.
    _must_be_there(what.files, resident)
    facts = _facts(job, owns, decision, decision.entry, what)
    epoch, bits = decision.lookups
    lookups = ((epoch, chain), bits)
    if proven is not None:
        return Pumped(tuple(ops), None, entries, facts, lookups)
    # As text that is compiled elsewhere: what a stock server made is for calls that distribute.
    key = blake2b(b"pumped" + decision.key, digest_size=len(decision.key)).digest()
    flags = decision.entry.flags | manifest.ELSEWHERE
    entry = replace(decision.entry, result_key=key, flags=flags)
    return Pumped(tuple(ops), keep.Decision(key, entry), entries, facts, lookups)


def _must_be_there(sent: Mapping[bytes, bytes], resident: Resident) -> None:
    """The server had them, and __has_include may have been told so: a result for which one of them
    is missing is another's. Raises CannotPump."""
    standing = resident.headers.standing(list(sent), file_clock())
    for path in sent:
        if path not in standing and not signature(path).is_regular:
            raise CannotPump(f"{os.fsdecode(path)} is gone")


def _facts(job: Job, owns: Own, decision: keep.Decision, entry: ManifestEntry, what: Sent) -> Facts:
    """What of the entry has to hold on the server's own disk; the rest holds among the files that
    were sent. Raises CannotPump where it does not."""
    cwd = job.call.cwd
    known = owns.files
    files: list[tuple[bytes, bytes]] = []
    present: list[bytes] = []
    absent: list[tuple[bytes, tuple[bytes, ...]]] = []
    for file in entry.files:
        name, digest = file
        if name in known:
            files.append(file)
            continue
        path = absolute(cwd, name)
        if owns.file(path):
            files.append((path, digest))
        elif _sent_digest(path, what) != digest:
            raise CannotPump(f"{os.fsdecode(name)} was not sent, or is another now")
    for name in (*entry.present, *decision.untaken):
        path = absolute(cwd, name)
        if owns.file(path):
            present.append(path)
        elif _sent_digest(path, what) is None:
            raise CannotPump(f"{os.fsdecode(name)} was not sent")
    for directory, names in entry.groups:
        prefix = absolute(cwd, directory).rstrip(b"/") + b"/"
        plain = _plain(prefix).rstrip(b"/") + b"/"
        if owns(plain) and b"../" not in b"".join(names):
            absent.append((prefix, names))
        elif owns(plain) or owns.may_be_below(plain):
            rest = tuple(name for name in names if owns.file(prefix + name))
            if rest:
                absent.append((prefix, rest))
    return Facts(tuple(files), tuple(present), tuple(absent))


def _plain(path: bytes) -> bytes:
    """An absolute path without `.`, `..` and empty components."""
    return os.path.normpath(path) if b"/." in path or b"//" in path else path


def _sent_digest(path: bytes, what: Sent) -> bytes | None:
    found = what.files.get(path)
    return found if found is not None else what.files.get(os.path.realpath(path))
