"""Absent candidates: where the compiler looked for a header before it found it, or found none.

A result depends on the files that were read *and* on the places where none was: a header that
appears earlier on the search chain than the one that was read makes every stored result wrong.
This module derives those places from the list of files that were read, what each of them asks for
(`pycc.directives`), and the search chain (`pycc.searchchain`).

The search, for gcc and clang alike: a quoted name is looked for in the directory of the file that
holds the directive, *as that file was named* (no link is resolved), then along the quote chain,
then along the bracket chain; an angled name along the bracket chain only; a name given with
-include or -imacros in the working directory, then like a quoted one. So the candidates before
the first one that is a dependency were looked at and missing.

Which of the many names in a text was really searched depends on conditionals that are not
evaluated here, so the answer errs on one side only: places may be listed that were never looked
at. A name that leads to no dependency at all comes from an untaken branch, or its file goes by
another name in the list (gcc writes system headers by their real path when that is shorter); the
places up to the first file that exists are listed.

``#include_next`` starts behind the directory of its own file and thus passes over files that were
read: for its names every place counts. A computed include cannot be read off the text, but its
outcome can be read off the list of dependencies: each of these is split at every directory of the
chain, and the rest is taken for the name that was searched. A computed ``__has_include`` leaves no
trace when the answer was no; it alone makes the answer incomplete.

Names are grouped by the deepest directory that exists now: as long as that one has not changed,
nothing can have appeared in it. A symbolic link whose target is missing breaks this rule (the
target appears elsewhere) and is listed by itself.

Not modelled, and to be refused by the caller where they occur: framework directories (-F), header
maps, -remap, -I-, and a list of dependencies without system headers (-MMD).
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import nullcontext

from pycc.cache.lookup import those_among
from pycc.directives import Directives
from pycc.places import Place, Places, Probes, normal, prefix_of
from pycc.record import record
from pycc.searchchain import SearchChain, is_systems
from pycc.textlookups import CHAIN, Along, Part, TextLookups

FEW = 4
"""Names that are looked for one by one: hardly a C++ file has another than <stdlib.h>, and to sort
some hundreds of names by their directories took a fifth of the whole search."""
Names = dict[bytes, set[bytes]]
"""Last parts of names by what stands before them: nothing, or a directory with a slash."""


Proven = Callable[[object], int]
"""The bits of lookups, by TextLookups.epoch, that are known to have found nothing elsewhere too."""


@record
class Remembered:
    """What is known of one search chain and holds now. ``pin`` gives what a directory's listing may
    be known by again, or None."""

    lookups: TextLookups
    pin: Callable[[bytes], object | None]


@record
class Absent:
    """What must still be missing, or still be there, for a stored result to be right.

    groups           (directory, names): no file may be at directory/name. ``directory`` exists;
                     a name may hold slashes, and then its first component did not exist, or is
                     no directory
    dangling         places of the same kind on whose way there is a symbolic link without a
                     target: to be looked at by themselves, whatever their directory's time stamp
    present          files that are no dependencies but whose existence answered a
                     ``__has_include``: they must still exist
    present_untaken  files that exist although they are no dependencies and would have been found
                     earlier than one. They were made during the compile (their time stamps tell),
                     or the directive that names them was not evaluated
    precompiled      precompiled headers that exist where the compiler looks for one; they may have
                     been read, and gcc does not name them in its dependency file
    complete         False: there are lookups that these lists do not show
    lookups          (TextLookups.epoch, bits) of what was remembered, with what is ``proven``
    """

    groups: tuple[tuple[bytes, tuple[bytes, ...]], ...] = ()
    dangling: tuple[bytes, ...] = ()
    present: tuple[bytes, ...] = ()
    present_untaken: tuple[bytes, ...] = ()
    precompiled: tuple[bytes, ...] = ()
    complete: bool = True
    lookups: tuple[object, int] = (None, 0)


def absent(
    deps: Mapping[bytes, Directives],
    source: bytes,
    chain: SearchChain,
    probes: Probes,
    *,
    remembered: Remembered | None = None,
    forced: Sequence[bytes] = (),
    clang: bool = False,
    proven: Proven | None = None,
) -> Absent:
    """The absent candidates of one compile; without those of lookups that are ``proven``.

    ``deps`` maps every file that was read, the source included, by the name that the compiler
    gave it in its dependency file, to its directives. ``forced`` are the names of -include and
    -imacros. The answer is the same without ``remembered``, and takes longer.
    """
    search = _Search(deps, chain, Places(probes), remembered)
    main = normal(source)
    with remembered.lookups.lock if remembered is not None else nullcontext():
        search.everything(deps, main, forced, clang=clang)
        if clang:
            search.other_names(deps, forced)
        return search.result(complete=search.unexplained(main), proven=proven)


def other_names(
    deps: Mapping[bytes, Directives],
    chain: SearchChain,
    probes: Probes,
    *,
    forced: Sequence[bytes] = (),
) -> tuple[Absent, Sequence[bytes]]:
    """What must be missing lest clang should call a file by another name, and the files that are
    there and may be ones that were read, by such a name."""
    search = _Search(deps, chain, Places(probes))
    present = search.other_names(deps, forced)
    return search.result(complete=True), [path for path in present if path not in search.read]


def precompiled(
    asked: Directives,
    source: bytes,
    chain: SearchChain,
    probes: Probes,
    *,
    remembered: Remembered | None = None,
    forced: Sequence[bytes] = (),
) -> tuple[bytes, ...]:
    """The precompiled headers that gcc may read for a source that asks for ``asked``, before any
    other file is known to be read; the arguments are those of `absent`."""
    search = _Search({source: asked}, chain, Places(probes), remembered)
    main = normal(source)
    with remembered.lookups.lock if remembered is not None else nullcontext():
        if remembered is not None and not forced:
            along = Along(search.places, search.chain, search.bracket, remembered.pin)
            if remembered.lookups.lacks_precompiled(main, asked, along):
                search.look(main + b".gch", precompiled=True)
                return tuple(sorted(search.precompiled))
        search.everything({source: asked}, main, forced, clang=False)
        search.unexplained(main)
    return tuple(sorted(search.precompiled))


def _normals(names: Collection[bytes]) -> Collection[bytes]:
    """The same of many, which mostly are normal already."""
    joined = b"\0%s\0" % b"\0".join(names)
    if b"//" in joined or b"/./" in joined or b"\0./" in joined or b"/.\0" in joined:
        return [normal(name) for name in names]
    return names


def _by_head(names: Iterable[bytes]) -> Names:
    """Names by their directory part."""
    found: Names = {}
    for name in names:
        cut = name.rfind(b"/") + 1
        head = name[:cut]
        known = found.get(head)
        if known is None:
            found[head] = {name[cut:]}
        else:
            known.add(name[cut:])
    return found


class _Search:
    """One run of `absent`.

    A C++ file brings some hundreds of names and some dozens of directories, so no path is made
    where a set will do: names with the same directory part are searched together."""

    def __init__(
        self,
        deps: Mapping[bytes, Directives],
        chain: SearchChain,
        places: Places,
        remembered: Remembered | None = None,
    ) -> None:
        self.names = _normals(deps)  # of the texts, in order
        self.read = set(self.names)
        self.by_directory: Names = {}
        self.explained: set[bytes] = set()
        self.prefixes = [prefix_of(name) for name in (*chain.quote, *chain.bracket)]
        self.bracket = len(chain.quote)
        # (quoted, for precompiled headers too) -> names to be looked for along the chain.
        self.wanted: dict[tuple[bool, bool], set[bytes]] = {}
        self.walked: dict[tuple[bool, bool], set[bytes]] = {}
        self.places = places
        self.remembered = remembered
        self.lookups = 0  # bits of those that were remembered
        self.dangling: set[bytes] = set()
        self.untaken: set[bytes] = set()
        self.precompiled: set[bytes] = set()
        self.has: set[bytes] = set()
        self.computed: set[bytes] = set()
        self.computed_in_main = False
        self.incomplete = False
        self.chain = [places.at(prefix) for prefix in self.prefixes]

    def read_in(self, prefix: bytes, lasts: set[bytes]) -> set[bytes] | None:
        """The last parts of what was read in one directory, at least those of ``lasts``."""
        if len(lasts) <= FEW and not self.by_directory:
            return {last for last in lasts if prefix + last in self.read}
        self.by_directory = self.by_directory or _by_head(self.read)
        return self.by_directory.get(prefix)

    # What the texts ask for.

    def everything(
        self,
        deps: Mapping[bytes, Directives],
        main: bytes,
        forced: Sequence[bytes],
        *,
        clang: bool,
    ) -> None:
        """Every lookup that the command line, the compiler and the texts may have caused."""
        for name in forced:
            self.quoted(b"", name, precompiled=not clang)
            if clang:
                # clang's driver looks only where -include is spelled, and drops the last suffix.
                head, slash, base = name.rpartition(b"/")
                stem = head + slash + (base.rpartition(b".")[0] or base)
                for path in (stem, name):
                    for suffix in (b".pch", b".gch"):
                        self.look(normal(path + suffix), precompiled=True)
        # Only gcc's own source may use precompiled headers.
        first = b"" if clang else main
        if first:
            self.look(main + b".gch", precompiled=True)
        following: set[bytes] = set()
        for name, asked in zip(self.names, deps.values(), strict=True):
            following |= asked.next
            if asked.computed_include:
                self.computed.add(name[: name.rfind(b"/") + 1])
                self.computed_in_main |= name == first
            if asked.computed_has_include:
                self.incomplete = True
        self.texts(zip(self.names, deps.values(), strict=True), first)
        self.walk()
        for wanted in following:
            self.everywhere(wanted)

    def text(self, name: bytes, asked: Directives, *, precompiled: bool) -> None:
        """Every lookup that one text may have caused."""
        here = name[: name.rfind(b"/") + 1]
        for wanted in asked.quoted:
            self.quoted(here, wanted, precompiled=precompiled)
        self.wanted.setdefault((False, precompiled), set()).update(asked.angled)
        for quoted, wanted in asked.has_include:
            self.has_include(here, wanted, quoted=quoted, next_=wanted in asked.next)
            if precompiled and quoted:
                self.quoted(here, wanted, precompiled=True)
            elif precompiled:
                self.along(wanted, quoted=False, precompiled=True)

    def texts(self, texts: Iterable[tuple[bytes, Directives]], first: bytes) -> None:
        """The same for all, by what is remembered of them; the headers of ``first`` may be
        precompiled."""
        found = None
        texts = list(texts)
        if self.remembered is not None:
            along = Along(self.places, self.chain, self.bracket, self.remembered.pin)
            found = self.remembered.lookups.sum(texts, first, self.read, along)
        if found is not None:
            texts = found.odd
            self.lookups = found.lookups
            self.explained |= self.read & found.leads_to
            self.untaken |= found.untaken
            self.has |= found.has
            for lookup, early in found.again:
                here, name = lookup.here, lookup.name
                if here is None or here == CHAIN:
                    self.along(name, quoted=here is not None, precompiled=early)
                else:
                    self.quoted(here, name, precompiled=early)
        elif first:
            # gcc includes this one by itself before everything else, when there is one.
            self.along(b"stdc-predef.h", quoted=False, precompiled=True)
        for name, asked in texts:
            self.text(name, asked, precompiled=name == first)

    def quoted(self, here: bytes, name: bytes, *, precompiled: bool) -> None:
        """A quoted name in a file of the directory with the prefix ``here``."""
        if not name.startswith(b"/"):
            path = normal(here + name)
            if precompiled:
                self.look(path + b".gch", precompiled=True)
            if path in self.read:
                self.explained.add(path)
                return
            self.look(path)
        self.along(name, quoted=True, precompiled=precompiled)

    def along(self, name: bytes, *, quoted: bool, precompiled: bool) -> None:
        """``name`` is looked for along the chain, as soon as `walk` is called."""
        self.wanted.setdefault((quoted, precompiled), set()).add(name)

    def walk(self) -> None:
        """Note the places of the chain before the one where each wanted name is a dependency."""
        wanted, self.wanted = self.wanted, {}
        for (quoted, precompiled), names in wanted.items():
            walked = self.walked.setdefault((quoted, precompiled), set())
            start = 0 if quoted else self.bracket
            for head, lasts in _by_head(_normals(names - walked)).items():
                if head[:1] == b"/":
                    place = self.places.at(head)
                    self.look_together(place, lasts)
                    if precompiled:
                        gch = {last + b".gch" for last in lasts}
                        self.look_together(place, gch, precompiled=True)
                else:
                    self.walk_together(head, lasts, start, precompiled=precompiled)
            walked |= names

    def walk_together(
        self, head: bytes, lasts: set[bytes], start: int, *, precompiled: bool
    ) -> None:
        """The same for the names with the directory part ``head``."""
        chain = self.chain[start:]
        if head:
            chain = [self.places.below(place, head) for place in chain]
        reads = [self.read_in(place.prefix, lasts) for place in chain]
        never_read = lasts.difference(*filter(None, reads))
        for place, read in zip(chain, reads, strict=True):
            if precompiled:
                self.look_together(place, {last + b".gch" for last in lasts}, precompiled=True)
            if read is not None and not read.isdisjoint(lasts):
                self.explained.update(map(place.prefix.__add__, lasts & read))
                lasts = lasts - read
            if not lasts:
                return
            present = self.look_together(place, lasts)
            if present:
                lasts = lasts.difference(never_read.intersection(present))

    def everywhere(self, name: bytes) -> None:
        """A name of ``#include_next``: a dependency does not end its search."""
        name = normal(name)
        for prefix in self.prefixes:
            path = prefix + name
            if path in self.read:
                self.explained.add(path)
            else:
                self.look(normal(path))

    def has_include(self, here: bytes, name: bytes, *, quoted: bool, next_: bool) -> None:
        """A name of ``__has_include``, whose answer may have been yes or no."""
        prefixes = self.prefixes if quoted else self.prefixes[self.bracket :]
        if name.startswith(b"/"):
            prefixes = [b""]
        elif quoted:
            prefixes = [here, *prefixes]
        for prefix in prefixes:
            path = normal(prefix + name)
            if path not in self.read:
                if not self.look(path):
                    continue
                self.has.add(path)
            if not next_:
                return

    def other_names(
        self, deps: Mapping[bytes, Directives], forced: Sequence[bytes]
    ) -> Sequence[bytes]:
        """clang knows a directory by its inode, and calls it as it first heard of it: on the chain.
        What was found beside its text would have another name (in __FILE__, too), were a directory
        of the chain the same one. It is not, as long as the name is missing there; gives those that
        are there."""
        present: list[bytes] = []
        beside = {name for name in map(normal, forced) if name in self.read}
        for text, asked in zip(self.names, deps.values(), strict=True):
            here = text[: text.rfind(b"/") + 1]
            beside.update(name for name in asked.quoted if normal(here + name) in self.read)
        for head, lasts in _by_head(_normals(beside)).items():
            for place in self.chain:
                if head[:1] == b"/" or is_systems(place.prefix):
                    continue
                place = self.places.below(place, head) if head else place
                seems = lasts
                if not place.rest and place.listing is not None:
                    seems = set(those_among(lasts, place.listing))
                there = {last for last in seems if self.places.exists(place.prefix + last)}
                self.look_together(place, lasts - there)
                present += (place.prefix + last for last in there)
        return present

    def unexplained(self, main: bytes) -> bool:
        """Account for the dependencies that no literal name led to; is the account complete?"""
        complete = not self.incomplete
        # A computed include may have led by another way to a file that a literal one explains.
        candidates = self.read if self.computed else self.read - self.explained
        may_rename = any(b".." in prefix for prefix in self.prefixes)
        for path in candidates - {main}:
            if self.computed_in_main:
                self.look(path + b".gch", precompiled=True)
            rests = {
                path[len(prefix) :]
                for prefix in self.prefixes
                if path.startswith(prefix) and (prefix or not path.startswith(b"/"))
            }
            for rest in rests:
                self.along(rest, quoted=True, precompiled=self.computed_in_main)
                for here in self.computed:
                    beside = normal(here + rest)
                    self.look(beside)
                    if self.computed_in_main:
                        self.look(beside + b".gch", precompiled=True)
            # gcc may have shortened the name of a file below a directory with `..` in it.
            if self.computed and may_rename and not rests and path not in self.explained:
                complete = complete and any(path.startswith(here) for here in self.computed)
        self.walk()
        return complete

    # The file system.

    def look(self, path: bytes, *, precompiled: bool = False) -> bool:
        """The compiler looks for this one file, or may do so: is it there?"""
        cut = path.rfind(b"/") + 1
        place = self.places.at(path[:cut])
        return bool(self.look_together(place, {path[cut:]}, precompiled=precompiled))

    def look_together(
        self, place: Place, names: set[bytes], *, precompiled: bool = False
    ) -> Sequence[bytes]:
        """The same for some names in a place: which of them are there?"""
        group = place.group
        if place.rest:
            group.update(map(place.rest.__add__, names))
            if place.linked:
                self.dangling.update(map(place.prefix.__add__, names))
            return ()
        suspects = those_among(names, place.listing) if place.listing is not None else names
        if not suspects:
            group |= names
            return ()
        group.update(names.difference(suspects))
        present = []
        for name in suspects:
            path = place.prefix + name
            there = self.places.exists(path)
            if there:
                present.append(name)
            if precompiled and (there or self.places.is_directory(path)):
                self.precompiled.add(path)
            elif not there:
                group.add(name)
                if self.places.is_link(path):
                    self.dangling.add(path)
            elif path not in self.read:
                self.untaken.add(path)
        return present

    def result(self, *, complete: bool, proven: Proven | None = None) -> Absent:
        """What was found."""
        lookups: tuple[object, int] = (None, 0)
        if proven is not None and self.remembered is not None:
            epoch = self.remembered.lookups.epoch
            lookups = (epoch, self.lookups)
            self.lookups &= ~proven(epoch)
        # Most directories of a chain lack the same names: each such set is sorted once, and held
        # in memory once.
        ordered: dict[Hashable, tuple[bytes, ...]] = {}
        parts: dict[bytes, list[Part]] = {}
        if self.remembered is not None:
            for directory, part in self.remembered.lookups.lacking(self.lookups):
                parts.setdefault(directory, []).append(part)
        own = self.places.groups
        groups = []
        for directory in sorted(own.keys() | parts.keys()):
            key = (frozenset(own.get(directory, ())), *parts.get(directory, ()))
            names = ordered.get(key)
            if names is None:
                ordered[key] = names = self.names_of(*key)
            if names:
                groups.append((directory, names))
        return Absent(
            groups=tuple(groups),
            dangling=tuple(sorted(self.dangling)),
            present=tuple(sorted(self.has)),
            present_untaken=tuple(sorted(self.untaken - self.has)),
            precompiled=tuple(sorted(self.precompiled)),
            complete=complete,
            lookups=lookups,
        )

    def names_of(self, own: AbstractSet[bytes], *parts: Part) -> tuple[bytes, ...]:
        """Names in order: some, and those of lookups that were remembered."""
        found = set(own)
        if self.remembered is not None:
            for part in parts:
                found.update(self.remembered.lookups.names(part))
        return tuple(sorted(found))
