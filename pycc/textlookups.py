"""What the texts of compiles with one search chain ask for, and where that is found, remembered.

The compiles of a project read the same headers along the same chain, and a header's names lead to
the same files each time. So the answer for one text is kept, with the *directories* that it rests
on: for each, the first parts of the names that were wanted there, and those of them that it shows.
While these stand, so does every answer; where a directory has changed (objects are made in it), it
is listed anew and only those names are compared.

Each lookup (a name, and for a quoted one the directory of its text) has a bit, a text the bits of
its lookups, and a directory those of the lookups that did not find theirs in it, so that some
hundreds of texts are put together in no time.

Only what is plainly there or plainly not is remembered: a name that a directory seems to have and
that is no file (a directory, a link without a target, the same name in other letters) is *odd*, and
is looked for each time.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import compress
from typing import Any

from pycc.cache.lookup import may_be_among
from pycc.directives import Directives
from pycc.places import Place, Places, normal
from pycc.record import record
from pycc.searchchain import is_systems

MOST_LOOKUPS = 8_000
"""Every set of bits is that long: with 20,000 one call took 5 ms more."""
SPELLED = 100_000  # names, in all
LOOKUP_BYTES, TEXT_BYTES, NAME_BYTES, SPELLED_BYTES = 700, 2_000, 100, 80
"""What each holds, about: measured with 9,600 texts, 21 directories and 19,000 lookups (85 MB)."""
CHAIN = b"\0"
"""Stands for a text's directory where a quoted name is looked for along the chain only."""
_AS_FLAGS = bytes.maketrans(b"01", b"\0\1")


Part = tuple[bytes, int, int]
"""Lookups as they are in one directory: (what stands before each name there, how many bytes of it
are cut, their bits)."""


@record
class Lookup:
    """One name as a text asks for it. ``here`` is the prefix of the text's directory where the name
    is quoted, else None. ``existing`` are the files that it may lead to, the first one first; it
    ``goes_on`` along the chain where that is beside the text and was not read."""

    here: bytes | None
    name: bytes
    existing: tuple[bytes, ...]
    goes_on: bool


@record
class Text:
    """What one text that holds ``asked`` asks for: bits of the lookups of names that are wanted, of
    those that are asked for, and of ``.gch``; what is looked for each time; and whether some name
    is ``absolute``."""

    asked: Directives
    wanted: int
    has: int
    gch: int
    odd: Directives | None
    absolute: bool


class Directory:
    """The first parts of names that were wanted in a directory, in lower case, and those that it
    shows. ``signature`` is the directory's when that was seen, None where it proves nothing."""

    def __init__(self, signature: object, listing: AbstractSet[bytes]) -> None:
        self.signature = signature
        self.listing = listing
        self.wanted: set[bytes] = set()
        self.shown: set[bytes] = set()

    def want(self, name: bytes) -> bool:
        """Note a name; whether it is shown."""
        lower = name.lower()
        self.wanted.add(lower)
        if lower in self.listing:
            self.shown.add(lower)
        return may_be_among(name, self.listing)

    def still(self, listing: AbstractSet[bytes]) -> bool:
        """Whether a new listing says the same of every name."""
        self.listing = listing
        return self.wanted & listing == self.shown


@record
class Pinned:
    """Directories that can be asked about in one go: the ``signatures`` of those that have one, by
    absolute path, and ``witnesses`` that say that they still do; and the ``others``."""

    witnesses: bytes
    signatures: Mapping[bytes, Any]
    others: Sequence[bytes]


@record
class Along:
    """A search chain as one compile sees it: its places, those of the bracket chain from
    ``bracket`` on. ``pin`` gives what a directory's listing may be known by again, or None."""

    places: Places
    chain: Sequence[Place]
    bracket: int
    pin: Callable[[bytes], object | None]


@record
class Leads:
    """Where several texts may lead: ``files``, by bits; what is looked for each time, by the text's
    name; and whether some name is ``absolute``."""

    files: int
    odd: Sequence[tuple[bytes, Directives]]
    absolute: bool


@record
class Sum:
    """What several texts ask for together.

    lookups   bits of all
    leads_to  the files to which names lead
    untaken   those of them that were not read: a text may not have been evaluated so far
    again     such names that may lead to another file, too, with whether that may be precompiled
    has       files that answered a ``__has_include`` and were not read
    odd       what is looked for each time, by the text's name
    """

    lookups: int
    leads_to: AbstractSet[bytes]
    untaken: AbstractSet[bytes]
    again: Sequence[tuple[Lookup, bool]]
    has: AbstractSet[bytes]
    odd: Sequence[tuple[bytes, Directives]]


class TextLookups:
    """What is remembered for one search chain. Its lock is held by who asks."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.directories: dict[bytes, Directory] = {}
        self.pinned: Pinned | None = None
        """Those of ``directories``, as long as none was added or has another signature."""
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.epoch = object()
        """What the numbers of lookups, and their bits, belong to."""
        self.directories.clear()
        self.pinned = None
        # By number: the lookup, its name, and the first file that it leads to.
        self._lookups: list[Lookup] = []
        self._names: list[bytes] = []
        self._firsts: list[bytes] = []
        self._systems = 0  # bits of lookups whose first file comes with the system
        self._numbers: dict[tuple[bytes | None, bytes, bool], int | None] = {}
        self._leading: dict[bytes, list[int]] = {}
        self._texts: dict[tuple[bytes, bool], Text] = {}
        self._spelled: dict[Part, Collection[bytes]] = {}
        self._names_spelled = self._text_bytes = 0
        self._sized: tuple[tuple[int, int, int], int] = ((0, 0, 0), 0)
        # (directory, what stands before the name there, how much of it is cut) -> bits.
        self._lacking: dict[tuple[bytes, bytes, int], int] = {}

    @property
    def size(self) -> int:
        """How much memory this takes, about, in bytes."""
        state = (len(self._lookups), self._text_bytes, self._names_spelled)
        if self._sized[0] != state:
            wanted = sum(len(directory.wanted) for directory in list(self.directories.values()))
            held = len(self._lookups) * LOOKUP_BYTES + wanted * NAME_BYTES
            held += self._text_bytes + self._names_spelled * SPELLED_BYTES
            self._sized = (state, held)
        return self._sized[1]

    def trim(self) -> None:
        """Forget everything if it is too much."""
        if len(self._lookups) > MOST_LOOKUPS:
            self.clear()

    def leads(self, texts: Iterable[tuple[bytes, Directives]], along: Along) -> Leads:
        """Where texts (normal name, what it asks for) lead, whatever of them is evaluated; without
        files that come with the system."""
        files, absolute = 0, False
        odd: list[tuple[bytes, Directives]] = []
        for name, asked in texts:
            text = self._texts.get((name, True))
            if text is None or text.asked is not asked:
                text = self._texts.get((name, False))
            if text is None or text.asked is not asked:
                text = self._texts[name, False] = self._text(name, asked, along, precompiled=False)
            files |= text.wanted | text.has
            absolute = absolute or text.absolute
            if text.odd is not None:
                odd.append((name, text.odd))
        return Leads(files & ~self._systems, odd, absolute)

    def lacks_precompiled(self, name: bytes, asked: Directives, along: Along) -> bool:
        """Whether it is known that no header that a text names first is there precompiled."""
        self.trim()
        return self._known(name, asked, along, precompiled=True).odd is None

    def sum(
        self,
        texts: Iterable[tuple[bytes, Directives]],
        precompiled: bytes,
        read: AbstractSet[bytes],
        along: Along,
    ) -> Sum | None:
        """What texts (normal name, what it asks for) ask for in a compile that read ``read``; the
        headers of the one named ``precompiled`` may be so, and ``.gch`` is looked for as well.
        None, and everything is forgotten, where it turns out to be no longer so."""
        self.trim()
        wanted = has = gch = early = 0
        odd: list[tuple[bytes, Directives]] = []
        for name, asked in texts:
            first = name == precompiled
            text = self._known(name, asked, along, precompiled=first)
            wanted |= text.wanted
            if text.has:
                has |= text.has
            if text.odd is not None:
                odd.append((name, text.odd))
            if first:
                gch, early = text.gch, text.wanted
        again: list[tuple[Lookup, bool]] = []
        leads_to: set[bytes] = set()
        now = wanted
        while now:
            found = self.firsts_of(now)
            leads_to |= found
            more = 0
            for path in found - read:
                for number in self._leading[path]:
                    if not now >> number & 1:
                        continue
                    lookup = self._lookups[number]
                    first = bool(early >> number & 1)
                    onwards = lookup.goes_on and not first
                    onward = self._number(CHAIN, lookup.name, along) if onwards else None
                    if onward is not None:
                        more |= 1 << onward
                    elif lookup.goes_on or not read.isdisjoint(lookup.existing):
                        again.append((lookup, first))
            now = more & ~wanted
            wanted |= now
        untaken = leads_to - read
        answers = self.firsts_of(has) - read
        along.places.expect([*untaken, *answers])
        if not all(map(along.places.exists, (*untaken, *answers))):
            self.clear()
            return None
        return Sum(wanted | has | gch, leads_to, untaken, again, answers, odd)

    def firsts_of(self, lookups: int) -> set[bytes]:
        """The first file that each leads to, if there is one."""
        found = set(compress(self._firsts, _flags(lookups)))
        found.discard(b"")
        return found

    def lacking(self, wanted: int) -> Iterator[tuple[bytes, Part]]:
        """(directory, what `names` makes names of): where lookups of ``wanted`` found nothing."""
        for (directory, before, cut), bits in self._lacking.items():
            if bits & wanted:
                yield directory, (before, cut, bits & wanted)

    def names(self, part: Part) -> Collection[bytes]:
        """The names of lookups, as they are in one directory."""
        known = self._spelled.get(part)
        if known is None:
            before, cut, bits = part
            names = compress(self._names, _flags(bits))
            known = frozenset((before + name[cut:] for name in names) if before or cut else names)
            if self._names_spelled > SPELLED:
                self._spelled.clear()
                self._names_spelled = 0
            self._spelled[part] = known
            self._names_spelled += len(known) + 1
        return known

    def _known(self, name: bytes, asked: Directives, along: Along, *, precompiled: bool) -> Text:
        text = self._texts.get((name, precompiled))
        if text is None or text.asked is not asked:
            text = self._text(name, asked, along, precompiled=precompiled)
            self._texts[name, precompiled] = text
        return text

    def _text(self, text: bytes, asked: Directives, along: Along, *, precompiled: bool) -> Text:
        beside = text[: text.rfind(b"/") + 1]
        wanted = has = gch = 0
        odd: dict[bool, set[bytes]] = {False: set(), True: set()}
        odd_has: set[tuple[bool, bytes]] = set()
        names = [(True, name) for name in asked.quoted]
        names += [(False, name) for name in asked.angled]
        if precompiled:
            # The preprocessor asks for the precompiled one as well.
            names += asked.has_include
            # gcc includes this one by itself before everything else, when there is one.
            names.append((False, b"stdc-predef.h"))
        for quoted, name in names:
            here = beside if quoted else None
            number = self._number(here, name, along)
            early = self._number(here, name, along, precompiled=True) if precompiled else 0
            if number is None or early is None:
                odd[quoted].add(name)
            else:
                wanted |= 1 << number
                gch |= 1 << early if precompiled else 0
        for quoted, name in asked.has_include:
            number = self._number(beside if quoted else None, name, along)
            if number is None or name in asked.next:
                odd_has.add((quoted, name))
            else:
                has |= 1 << number
        rest = None
        if odd[False] or odd[True] or odd_has:
            rest = Directives(
                frozenset(odd[True]), frozenset(odd[False]), asked.next, frozenset(odd_has)
            )
        bits = wanted.bit_length() + has.bit_length() + gch.bit_length()
        self._text_bytes += TEXT_BYTES + bits // 8
        absolute = any(name[:1] == b"/" for _, name in (*names, *asked.has_include))
        return Text(asked, wanted, has, gch, rest, absolute)

    def _number(
        self, here: bytes | None, name: bytes, along: Along, *, precompiled: bool = False
    ) -> int | None:
        """The bit of a lookup; None where it is odd."""
        key = (here, name, precompiled)
        if key not in self._numbers:
            name = normal(name)
            found = self._look(here, name, along, b".gch" if precompiled else b"")
            number = None
            if found is not None:
                number = len(self._lookups)
                existing, lacking = found
                beside = normal(here + name) if here not in (None, CHAIN) else b""
                goes_on = bool(existing) and existing[0] == beside and name[:1] != b"/"
                self._lookups.append(Lookup(here, name, existing, goes_on))
                self._names.append(name + b".gch" if precompiled else name)
                self._firsts.append(existing[0] if existing else b"")
                if existing and is_systems(existing[0]):
                    self._systems |= 1 << number
                for place in lacking:
                    self._lacking[place] = self._lacking.get(place, 0) | 1 << number
                for path in existing[:1]:
                    self._leading.setdefault(path, []).append(number)
            self._numbers[key] = number
        return self._numbers[key]

    def _look(
        self, here: bytes | None, name: bytes, along: Along, suffix: bytes
    ) -> tuple[tuple[bytes, ...], list[tuple[bytes, bytes, int]]] | None:
        """(files that are there, in order; where nothing was before the first), or None. With a
        suffix: (none; where no name with that was until the first file was found)."""
        existing: dict[bytes, None] = {}
        lacking: list[tuple[bytes, bytes, int]] = []
        for place, last in _candidates(here, name, along):
            directory = self._directory(place, along)
            if directory is None or place.linked:
                return None
            if suffix and not existing:
                if directory.want(_first(place, last + suffix)):
                    return None
                lacking.append(_cut(place, last + suffix, name + suffix))
            seems = directory.want(_first(place, last))
            if seems and (place.rest or not along.places.exists(place.prefix + last)):
                return None
            if seems:
                existing[place.prefix + last] = None
            elif not existing and not suffix:
                lacking.append(_cut(place, last, name))
        return () if suffix else tuple(existing), lacking

    def _directory(self, place: Place, along: Along) -> Directory | None:
        known = self.directories.get(place.directory)
        if known is None:
            listing = along.places.listing(place.directory)
            if listing is None:
                return None
            known = Directory(along.pin(place.directory), listing)
            self.directories[place.directory] = known
            self.pinned = None
        return known


def _candidates(here: bytes | None, name: bytes, along: Along) -> Iterator[tuple[Place, bytes]]:
    """(place, last part of the name there), in the order of the search; ``name`` is normal."""
    cut = name.rfind(b"/") + 1
    head, last = name[:cut], name[cut:]
    if head[:1] == b"/":
        yield along.places.at(head), last
        return
    if here is not None and here != CHAIN:
        path = normal(here + name)
        cut = path.rfind(b"/") + 1
        yield along.places.at(path[:cut]), path[cut:]
    for place in along.chain if here is not None else along.chain[along.bracket :]:
        yield along.places.below(place, head) if head else place, last


def _first(place: Place, last: bytes) -> bytes:
    """The first part of a name as it is in the directory of a place."""
    return place.rest[: place.rest.index(b"/")] if place.rest else last


def _cut(place: Place, last: bytes, name: bytes) -> tuple[bytes, bytes, int]:
    """The directory of a place, and how ``name`` becomes the name in there."""
    inside = place.rest + last
    cut = len(name) - len(inside)
    if cut >= 0 and name.endswith(inside):
        return place.directory, b"", cut
    if inside.endswith(name):
        return place.directory, inside[: len(inside) - len(name)], 0
    return place.directory, inside, len(name)


def _flags(bits: int) -> bytes:
    """Each bit as a byte of 0 or 1, the lowest first."""
    return bin(bits)[:1:-1].encode().translate(_AS_FLAGS)
