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

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from pycc.cache.lookup import may_be_among, those_among
from pycc.directives import Directives
from pycc.record import record
from pycc.searchchain import SearchChain, parse_search_output, user_chain

__all__ = ["Absent", "SearchChain", "absent", "normal", "parse_search_output", "user_chain"]

Probe = Callable[[bytes], bool]
Names = dict[bytes, set[bytes]]
"""Last parts of names by what stands before them: nothing, or a directory with a slash."""
Listing = Callable[[bytes], AbstractSet[bytes] | None]


@record
class Spot:
    """What is where a prefix points: a directory, or what would be one below ``rest``.

    directory  the deepest one that exists on the way, without a slash at its end
    rest       what comes between that and the names, with a slash at its end; empty if nothing does
    linked     ``rest`` begins with a symbolic link: one without a target, or not to a directory
    listing    the names that are here, in lower case; None if not known
    """

    directory: bytes
    rest: bytes
    linked: bool
    listing: AbstractSet[bytes] | None


Memory = Callable[[bytes, Callable[[bytes], Spot]], Spot]
"""(prefix, what finds out) -> its spot, which may be remembered while nothing has changed."""


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
    """

    groups: tuple[tuple[bytes, tuple[bytes, ...]], ...] = ()
    dangling: tuple[bytes, ...] = ()
    present: tuple[bytes, ...] = ()
    present_untaken: tuple[bytes, ...] = ()
    precompiled: tuple[bytes, ...] = ()
    complete: bool = True


def absent(
    deps: Mapping[bytes, Directives],
    source: bytes,
    chain: SearchChain,
    *,
    exists: Probe,
    is_directory: Probe,
    is_link: Probe | None = None,
    listing: Listing | None = None,
    memory: Memory | None = None,
    forced: Sequence[bytes] = (),
    clang: bool = False,
) -> Absent:
    """The absent candidates of one compile.

    ``deps`` maps every file that was read, the source included, by the name that the compiler
    gave it in its dependency file, to its directives. ``forced`` are the names of -include and
    -imacros. ``exists`` tells whether a non-directory is there now (links followed),
    ``is_directory`` likewise; ``is_link`` tells whether the name itself is a symbolic link, and
    without it dangling links are taken for nothing. Each is asked at most once a path, and not at
    all about what ``listing`` does not show: the names in a directory, in lower case; None if it is
    not known.
    """
    search = _Search(deps, chain, exists, is_directory, is_link, listing, memory)
    main = normal(source)
    search.everything(deps, main, forced, clang=clang)
    return search.result(complete=search.unexplained(main))


def precompiled(
    asked: Directives,
    source: bytes,
    chain: SearchChain,
    *,
    exists: Probe,
    is_directory: Probe,
    is_link: Probe | None = None,
    listing: Listing | None = None,
    memory: Memory | None = None,
    forced: Sequence[bytes] = (),
) -> tuple[bytes, ...]:
    """The precompiled headers that gcc may read for a source that asks for ``asked``, before any
    other file is known to be read; the arguments are those of `absent`."""
    search = _Search({source: asked}, chain, exists, is_directory, is_link, listing, memory)
    search.everything({source: asked}, normal(source), forced, clang=False)
    search.unexplained(normal(source))
    return tuple(sorted(search.precompiled))


def normal(path: bytes) -> bytes:
    """``path`` without empty and ``.`` components; ``..`` stays, for the sake of links."""
    if b"//" not in path and b"./" not in path and not path.endswith(b"/."):
        return path
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    return (b"/" if path.startswith(b"/") else b"") + b"/".join(parts)


def _prefix(directory: bytes) -> bytes:
    """What to put before a name to have it in ``directory``, in the form of `normal`."""
    name = normal(directory)
    if name in (b"", b"."):
        return b""
    return name if name.endswith(b"/") else name + b"/"


def _normals(names: Collection[bytes]) -> Collection[bytes]:
    """The same of many, which mostly are normal already."""
    joined = b"\0".join(names) + b"\0"
    if b"./" in joined or b"//" in joined or b"/.\0" in joined:
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


def _split(path: bytes) -> tuple[bytes, bytes]:
    """The directory and the last part of a path."""
    head, slash, last = path.rpartition(b"/")
    return head or slash or b".", last


@record
class _Place:
    """Where names are looked for.

    prefix   what stands before the names: a directory's name with a slash at its end, or nothing
    group    the names that must stay absent from the deepest directory that exists on the way
    rest, linked, listing  as for `Spot`
    """

    prefix: bytes
    group: set[bytes]
    rest: bytes
    linked: bool
    listing: AbstractSet[bytes] | None


def _lacks(listing: AbstractSet[bytes] | None, name: bytes) -> bool:
    """Whether a listing shows that there is no ``name``, which may be ``..``."""
    if listing is None or name in (b".", b".."):
        return False
    return not may_be_among(name, listing)


class _Search:
    """One run of `absent`.

    A C++ file brings some hundreds of names and some dozens of directories, so no path is made
    where a set will do: names with the same directory part are searched together."""

    def __init__(
        self,
        deps: Mapping[bytes, Directives],
        chain: SearchChain,
        exists: Probe,
        is_directory: Probe,
        is_link: Probe | None,
        listing: Listing | None,
        memory: Memory | None,
    ) -> None:
        self.names = _normals(deps)  # of the texts, in order
        self.read = set(self.names)
        # The same by directory, with a slash at its end: last parts.
        self.read_in = _by_head(self.read)
        self.explained: set[bytes] = set()
        self.prefixes = [_prefix(name) for name in (*chain.quote, *chain.bracket)]
        self.bracket = len(chain.quote)
        # (quoted, for precompiled headers too) -> names to be looked for along the chain.
        self.wanted: dict[tuple[bool, bool], set[bytes]] = {}
        self.walked: dict[tuple[bool, bool], set[bytes]] = {}
        self.places: dict[bytes, _Place] = {}
        # What was, or may have been, looked for in vain; the directory without a slash.
        self.groups: Names = {}
        self.dangling: set[bytes] = set()
        self.untaken: set[bytes] = set()
        self.precompiled: set[bytes] = set()
        self.has: set[bytes] = set()
        self.computed: set[bytes] = set()
        self.computed_in_main = False
        self.incomplete = False
        self.ask_exists = exists
        self.ask_is_directory = is_directory
        self.ask_is_link = is_link
        self.ask_listing = listing
        self.memory = memory
        self.known_listings: dict[bytes, AbstractSet[bytes] | None] = {}
        self.known_files: dict[bytes, bool] = {}
        self.known_directories: dict[bytes, bool] = {b".": True, b"/": True}
        self.chain = [self.place(prefix) for prefix in self.prefixes]

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
        if not clang:
            # gcc includes this one by itself before everything else, when there is one.
            self.along(b"stdc-predef.h", quoted=False, precompiled=True)
            self.look(main + b".gch", precompiled=True)
        self.files(deps, None if clang else main)

    def files(self, deps: Mapping[bytes, Directives], main: bytes | None) -> None:
        """Every lookup that the texts may have caused; ``main`` may use precompiled headers."""
        angled: set[bytes] = set()
        following: set[bytes] = set()
        for name, directives in zip(self.names, deps.values(), strict=True):
            here = name[: name.rfind(b"/") + 1]
            first = name == main
            for wanted in directives.quoted:
                self.quoted(here, wanted, precompiled=first)
            if first:
                for wanted in directives.angled:
                    self.along(wanted, quoted=False, precompiled=True)
            else:
                angled |= directives.angled
            following |= directives.next
            for quoted, wanted in directives.has_include:
                self.has_include(here, wanted, quoted=quoted, next_=wanted in directives.next)
                if first and quoted:
                    self.quoted(here, wanted, precompiled=True)
                elif first:
                    self.along(wanted, quoted=False, precompiled=True)
            if directives.computed_include:
                self.computed.add(here)
                self.computed_in_main |= first
            if directives.computed_has_include:
                self.incomplete = True
        self.wanted.setdefault((False, False), set()).update(angled)
        self.walk()
        for wanted in following:
            self.everywhere(wanted)

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
                    place = self.places.get(head) or self.place(head)
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
            chain = [self.below(place, head) for place in chain]
        reads = [self.read_in.get(place.prefix) for place in chain]
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
        place = self.places.get(path[:cut]) or self.place(path[:cut])
        return bool(self.look_together(place, {path[cut:]}, precompiled=precompiled))

    def look_together(
        self, place: _Place, names: set[bytes], *, precompiled: bool = False
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
            there = self.known_files.get(path)
            if there is None:
                there = self.known_files[path] = self.ask_exists(path)
            if there:
                present.append(name)
            if precompiled and (there or self.is_directory(path)):
                self.precompiled.add(path)
            elif not there:
                group.add(name)
                if self.ask_is_link is not None and self.ask_is_link(path):
                    self.dangling.add(path)
            elif path not in self.read:
                self.untaken.add(path)
        return present

    def place(self, prefix: bytes) -> _Place:
        """The place with this prefix, a directory's name with a slash at its end or nothing."""
        known = self.places.get(prefix)
        if known is not None:
            return known
        spot = self.spot(prefix) if self.memory is None else self.memory(prefix, self.spot)
        group = self.groups.setdefault(spot.directory, set())
        known = _Place(prefix, group, spot.rest, spot.linked, spot.listing)
        self.places[prefix] = known
        self.known_directories[spot.directory] = True
        return known

    def spot(self, prefix: bytes) -> Spot:
        """What is where this prefix points."""
        directory = prefix[:-1] or prefix or b"."
        rest = b""
        while not self.is_directory(directory):
            directory, last = _split(directory)
            rest = last + b"/" + rest
        linked = False
        if rest and self.ask_is_link is not None:
            first = _prefix(directory) + rest[: rest.index(b"/")]
            linked = self.may_be_there(first) and self.ask_is_link(first)
        return Spot(directory, rest, linked, None if rest else self.listing(directory))

    def below(self, place: _Place, head: bytes) -> _Place:
        """The place ``head`` below another; most of those along a chain are missing."""
        prefix = place.prefix + head
        known = self.places.get(prefix)
        if known is None:
            if place.rest:
                known = _Place(prefix, place.group, place.rest + head, place.linked, None)
            elif _lacks(place.listing, head[: head.index(b"/")]):
                known = _Place(prefix, place.group, head, False, None)
            else:
                return self.place(prefix)
            self.places[prefix] = known
        return known

    def listing(self, directory: bytes) -> AbstractSet[bytes] | None:
        """The names in a directory that exists, in lower case; None if they are not known."""
        try:
            return self.known_listings[directory]
        except KeyError:
            listing = None if self.ask_listing is None else self.ask_listing(directory)
            self.known_listings[directory] = listing
            return listing

    def is_directory(self, path: bytes) -> bool:
        known = self.known_directories.get(path)
        if known is None:
            # Most directories of a name are missing in most directories of the chain.
            known = self.may_be_there(path) and self.ask_is_directory(path)
            self.known_directories[path] = known
        return known

    def may_be_there(self, path: bytes) -> bool:
        """False when what is known of its directory shows that it is not."""
        parent, last = _split(path)
        known = self.known_directories.get(parent)
        return known is None or (known and not _lacks(self.listing(parent), last))

    def result(self, *, complete: bool) -> Absent:
        """What was found."""
        # Most directories of a chain lack the same names: each such set is sorted once, and held
        # in memory once.
        ordered: dict[frozenset[bytes], tuple[bytes, ...]] = {}
        groups = []
        for directory, lacking in sorted(self.groups.items()):
            key = frozenset(lacking)
            if key and key not in ordered:
                ordered[key] = tuple(sorted(key))
            if key:
                groups.append((directory, ordered[key]))
        return Absent(
            groups=tuple(groups),
            dangling=tuple(sorted(self.dangling)),
            present=tuple(sorted(self.has)),
            present_untaken=tuple(sorted(self.untaken - self.has)),
            precompiled=tuple(sorted(self.precompiled)),
            complete=complete,
        )
