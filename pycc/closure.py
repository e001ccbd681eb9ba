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

from .cache.lookup import absolute
from .directives import Directives
from .pattern import pattern
from .places import Places, lacks, prefix_of
from .searchchain import is_systems
from .searched import Looker, chain_of

if TYPE_CHECKING:
    from .job import Job
    from .resident import Resident

MOST_FILES = 4_000
_NAMING = pattern(
    rb"(?:define[ \t]+\w+(?:\([^)\n]*\))?[ \t]+|\A(?:-D|--define-macro=)?\s*\w+=\\?)"
    rb'(?:"([^"\\\n]+)|<([^>\n]+)>)'
)
"""The definition of a macro, in a text or on the command line, whose body is a header's name."""


class Closure:
    """The files, by the names that the compiler would give them, in ``names``; ``reason`` says why
    they cannot be known. ``absolute``: a text gives a header's absolute path."""

    def __init__(self, job: Job, resident: Resident) -> None:
        self._job, self._resident = job, resident
        self._look = Looker(job.call.cwd, resident)
        chain = job.chain or chain_of(job, self._look)
        self._seen: set[tuple[bytes, bytes]] = set()
        self._waiting: list[bytes] = []
        self._places = Places(self._look.probes())
        self._quote = [self._places.at(prefix_of(path)) for path in chain.quote]
        self._bracket = [self._places.at(prefix_of(path)) for path in chain.bracket]
        self.names: dict[bytes, None] = {}
        self.reason = ""
        self.absolute = False
        self._computing: set[bytes] = set()
        self._take(job.invocation.source)
        for _, name in job.invocation.include.forced:
            self._look_for(b"", name, quoted=True)
        # The command line's names are no text's; a text that gives one is asked about it.
        self.absolute = False
        self._seen.clear()
        self._follow_all()
        read: set[bytes] = set()
        while self._computing and not self.reason and read != self.names.keys():
            texts = [name for name in self.names if name not in read]
            read.update(texts)
            for wanted in self._named_by_macros(texts):
                for here in self._computing:
                    self._look_for(here, wanted, quoted=True)
            self._follow_all()

    def _follow_all(self) -> None:
        while self._waiting and not self.reason:
            self._follow(self._waiting.pop())

    def _named_by_macros(self, texts: Sequence[bytes]) -> set[bytes]:
        found = {name for word in self._job.invocation.args for name in _NAMING.findall(word)}
        for name in texts:
            got = self._resident.digests.read(absolute(self._job.call.cwd, name))
            if got is not None:
                found.update(_NAMING.findall(got[1]))
        return {quoted or angled for quoted, angled in found}

    def _follow(self, name: bytes) -> None:
        path = absolute(self._job.call.cwd, name)
        digest = self._resident.digests.digest(path, self._look(name))
        asked = None if digest is None else self._resident.directives(path, digest)
        if asked is None:
            self.reason = "a file cannot be read"
            return
        self.reason = _unknowable(asked)
        here = name[: name.rfind(b"/") + 1]
        if asked.computed_include:
            self._computing.add(here)
        for wanted in asked.quoted:
            self._look_for(here, wanted, quoted=True, every=wanted in asked.next)
        for wanted in asked.angled:
            self._look_for(here, wanted, quoted=False, every=wanted in asked.next)
        for quoted, wanted in asked.has_include:
            self._look_for(here, wanted, quoted=quoted)

    def _look_for(self, here: bytes, name: bytes, *, quoted: bool, every: bool = False) -> None:
        beside = here if quoted else b"\0"
        if (beside, name) in self._seen:
            return
        self._seen.add((beside, name))
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


def _unknowable(asked: Directives) -> str:
    if asked.date or asked.time or asked.timestamp:
        return "the time is asked for"
    if asked.incbin or asked.asm_include or asked.embed:
        return "files are read that are no headers"
    if asked.modules or asked.pch_pragma or asked.dependency_pragma:
        return "files are read in a way that is not followed"
    return ""
