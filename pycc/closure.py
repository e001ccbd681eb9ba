"""The files that a compile may read, found without running the compiler.

For an exact job (remote/exact_wire.py) a server needs the source and the user's own headers. What
is found here errs on both sides, and may: too many names cost time, and a file that is missing
makes the compile fail there, or the record of what was asked differ from what is here; then it is
compiled here.

The search is that of includes.py, forwards: a name is looked for beside its file and along the
chain, and the first file that is there is taken. Nothing is evaluated, so all branches count; and
where a macro names a header, every macro that looks like a header's name does.
Headers of the compiler and the system are not followed: a server has them, or has others, which
shows in the record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .cache.digest import file_clock
from .cache.lookup import absolute
from .directives import Directives
from .pattern import pattern
from .places import Places, lacks, normal, prefix_of
from .searchchain import is_systems
from .searched import Looker, chain_of
from .textlookups import Along, TextLookups

if TYPE_CHECKING:
    from .job import Job
    from .memos import Header
    from .resident import Resident

MOST_FILES = 4_000
_NAMING = pattern(
    rb"(?:define[ \t]+\w+(?:\([^)\n]*\))?[ \t]+|\A(?:-D|--define-macro=)?\s*\w+=\\?)"
    rb'(?:"([^"\\\n]+)|<([^>\n]+)>)'
)
"""The definition of a macro, in a text or on the command line, whose body is a header's name."""


class Closure:
    """The files, by the names that the compiler would give them, in ``names``; ``reason`` says why
    they cannot be known. ``absolute``: a text gives a header's absolute path. ``standing`` are
    those that were known, by their absolute names. The answer is the same without what is
    remembered of texts, and takes longer."""

    def __init__(self, job: Job, resident: Resident, *, remembers: bool = True) -> None:
        self._job, self._resident = job, resident
        self._look = Looker(job.call.cwd, resident)
        chain = job.chain or chain_of(job, self._look)
        self._lookups = self._look.remembered(chain).lookups if remembers else None
        self._places = Places(self._look.probes())
        self._quote = [self._places.at(prefix_of(path)) for path in chain.quote]
        self._bracket = [self._places.at(prefix_of(path)) for path in chain.bracket]
        places = (*self._quote, *self._bracket)
        self._along = Along(self._places, places, len(self._quote), self._look.pin)
        self._find()
        if (
            self._lookups is not None
            and self.reason
            and not all(map(self._look.exists, self.names))
        ):
            # The target of a link has gone, which no directory on the chain shows.
            with self._lookups.lock:
                self._lookups.clear()
            self._lookups = None
            self._find()

    def _find(self) -> None:
        job = self._job
        self.names: dict[bytes, None] = {}
        self.standing: dict[bytes, Header] = {}
        self.reason = ""
        self._waiting: list[bytes] = []
        self._seen: set[tuple[bytes, bytes, bool]] = set()
        self._computing: set[bytes] = set()
        self._followed: tuple[object, int] = (None, 0)  # TextLookups.epoch, bits
        self._take(normal(job.invocation.source))
        for _, name in job.invocation.include.forced:
            self._look_for(b"", name, quoted=True)
        # The command line's names are no text's; a text that gives one is asked about it.
        self.absolute = False
        self._seen.clear()
        if self._lookups is not None:
            with self._lookups.lock:
                self._lookups.trim()
        self._follow_all()
        read: set[bytes] = set()
        while self._computing and not self.reason and read != self.names.keys():
            texts = [name for name in self.names if name not in read]
            read.update(texts)
            for wanted in self._named_by_macros(texts):
                for here in self._computing:
                    self._look_for(here, wanted, quoted=True)
            self._follow_all()

    def _named_by_macros(self, texts: Sequence[bytes]) -> set[bytes]:
        found = {name for word in self._job.invocation.args for name in _NAMING.findall(word)}
        for name in texts:
            got = self._resident.digests.read(absolute(self._job.call.cwd, name))
            if got is not None:
                found.update(_NAMING.findall(got[1]))
        return {quoted or angled for quoted, angled in found}

    def _follow_all(self) -> None:
        while self._waiting and not self.reason:
            names, self._waiting = self._waiting, []
            texts = self._read(names)
            for name, asked in texts:
                if asked.computed_include:
                    self._computing.add(name[: name.rfind(b"/") + 1])
            if self._lookups is not None:
                texts = self._follow_known(self._lookups, texts)
            for name, asked in texts:
                self._follow(name, asked)

    def _read(self, names: Sequence[bytes]) -> list[tuple[bytes, Directives]]:
        """What files ask for; ``reason`` is set where that cannot be told."""
        cwd, headers = self._job.call.cwd, self._resident.headers
        paths = [absolute(cwd, name) for name in names]
        standing = headers.standing(paths, file_clock())
        self.standing.update(standing)
        texts: list[tuple[bytes, Directives]] = []
        for name, path in zip(names, paths, strict=True):
            header = standing.get(path)
            asked = self._learn(path) if header is None else header.asked
            self.reason = self.reason or _unknowable(asked)
            if asked is not None:
                texts.append((name, asked))
        return texts

    def _learn(self, path: bytes) -> Directives | None:
        digests = self._resident.digests
        found = self._look(path)
        digest = digests.digest(path, found)
        asked = None if digest is None else self._resident.directives(path, digest)
        if digest is None or asked is None:
            return None
        if digests.known(path, found) == digest and not self._look.is_link(path):
            self._resident.headers.keep(path, found, digest, asked)
        return asked

    def _follow_known(
        self, lookups: TextLookups, texts: Sequence[tuple[bytes, Directives]]
    ) -> list[tuple[bytes, Directives]]:
        """Take the files to which texts are known to lead. What is left has to be looked for."""
        with lookups.lock:
            found = lookups.leads(texts, self._along)
            epoch, followed = self._followed
            if epoch is not lookups.epoch:
                followed = 0
            files = lookups.firsts_of(found.files & ~followed)
            self._followed = lookups.epoch, followed | found.files
        self.absolute = self.absolute or found.absolute
        for path in files:
            self._take(path)
        # A name of #include_next may stand for each of several files.
        passing = ((name, _passing(asked)) for name, asked in texts if asked.next)
        return [*found.odd, *passing]

    def _follow(self, name: bytes, asked: Directives) -> None:
        here = name[: name.rfind(b"/") + 1]
        for wanted in asked.quoted:
            self._look_for(here, wanted, quoted=True, every=wanted in asked.next)
        for wanted in asked.angled:
            self._look_for(here, wanted, quoted=False, every=wanted in asked.next)
        for quoted, wanted in asked.has_include:
            self._look_for(here, wanted, quoted=quoted)

    def _look_for(self, here: bytes, name: bytes, *, quoted: bool, every: bool = False) -> None:
        beside = here if quoted else b"\0"
        if (beside, name, every) in self._seen:
            return
        self._seen.add((beside, name, every))
        for path in self._candidates(beside, name, quoted=quoted):
            if self._look.exists(path):
                self._take(path)
                if not every:
                    return

    def _candidates(self, beside: bytes, name: bytes, *, quoted: bool) -> Iterator[bytes]:
        if name.startswith(b"/"):
            self.absolute = True
            yield name
            return
        if quoted:
            yield beside + name
        cut = name.rfind(b"/") + 1
        head, last = name[:cut], name[cut:]
        places = [*self._quote, *self._bracket] if quoted else self._bracket
        if head:
            places = [self._places.below(place, head) for place in places]
        found = [
            place.prefix + last
            for place in places
            if not place.rest and not lacks(place.listing, last)
        ]
        # What the system has is not followed, so its places count only in front of the user's.
        while found and is_systems(absolute(self._job.call.cwd, found[-1])):
            found.pop()
        yield from found

    def _take(self, name: bytes) -> None:
        if name in self.names or is_systems(absolute(self._job.call.cwd, name)):
            return
        if len(self.names) >= MOST_FILES:
            self.reason = f"more than {MOST_FILES} files"
            return
        self.names[name] = None
        self._waiting.append(name)


def _passing(asked: Directives) -> Directives:
    """Without the names that end with the first file."""
    return Directives(asked.quoted & asked.next, asked.angled & asked.next, asked.next)


def _unknowable(asked: Directives | None) -> str:
    if asked is None:
        return "a file cannot be read"
    if asked.date or asked.time or asked.timestamp:
        return "the time is asked for"
    if asked.incbin or asked.asm_include or asked.embed:
        return "files are read that are no headers"
    if asked.modules or asked.pch_pragma or asked.dependency_pragma:
        return "files are read in a way that is not followed"
    return ""
