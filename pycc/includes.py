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

Places are grouped by the deepest directory that exists now: as long as that one has not changed,
nothing can have appeared in it. A symbolic link whose target is missing breaks this rule (the
target appears elsewhere) and is listed by itself.

Not modelled, and to be refused by the caller where they occur: framework directories (-F), header
maps, -remap, -I-, and a list of dependencies without system headers (-MMD).
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from pycc.cache.lookup import may_be_among
from pycc.directives import Directives
from pycc.record import record
from pycc.searchchain import SearchChain, parse_search_output, user_chain

__all__ = ["Absent", "SearchChain", "absent", "normal", "parse_search_output", "user_chain"]

Probe = Callable[[bytes], bool]
Listing = Callable[[bytes], Collection[bytes] | None]


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
    search = _Search(deps, chain, exists, is_directory, is_link, listing)
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
    listing: Listing | None = None,
    forced: Sequence[bytes] = (),
) -> tuple[bytes, ...]:
    """The precompiled headers that gcc may read for a source that asks for ``asked``, before any
    other file is known to be read; the arguments are those of `absent`."""
    search = _Search({source: asked}, chain, exists, is_directory, None, listing)
    search.everything({source: asked}, normal(source), forced, clang=False)
    search.unexplained(normal(source))
    return search.precompiled_that_exist()


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


def _parent(path: bytes) -> bytes:
    head, slash, _ = path.rpartition(b"/")
    return head or slash or b"."


class _Search:
    """One run of `absent`: notes the places first, sorts them by what is there at the end.

    A C++ file brings some hundreds of names and some dozens of directories, so a place of the
    chain is not noted by itself but as the stretch of the chain that its name was searched in.
    """

    def __init__(
        self,
        deps: Mapping[bytes, Directives],
        chain: SearchChain,
        exists: Probe,
        is_directory: Probe,
        is_link: Probe | None,
        listing: Listing | None,
    ) -> None:
        self.read = {normal(name) for name in deps}
        self.explained: set[bytes] = set()
        self.prefixes = [_prefix(name) for name in (*chain.quote, *chain.bracket)]
        self.bracket = len(chain.quote)
        # Directory part of the names -> (last part, first and end index into the prefixes).
        self.stretches: dict[bytes, list[tuple[bytes, int, int]]] = {}
        # Prefix -> names that were, or may have been, looked for there in vain.
        self.places: dict[bytes, set[bytes]] = {}
        self.precompiled: set[bytes] = set()
        self.has: set[bytes] = set()
        self.walked: set[tuple[bytes, bool, bool]] = set()
        self.computed: set[bytes] = set()
        self.computed_in_main = False
        self.incomplete = False
        self.ask_exists = exists
        self.ask_is_directory = is_directory
        self.ask_is_link = is_link
        self.ask_listing = listing
        self.known_listings: dict[bytes, Collection[bytes] | None] = {}
        self.known_files: dict[bytes, bool] = {}
        self.known_directories: dict[bytes, bool] = {b".": True, b"/": True}

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
                self.precompiled.update(
                    normal(s + e) for s in (stem, name) for e in (b".pch", b".gch")
                )
        if not clang:
            # gcc includes this one by itself before everything else, when there is one.
            self.along(b"stdc-predef.h", quoted=False, precompiled=True)
            self.precompiled.add(main + b".gch")
        self.files(deps, None if clang else main)

    def files(self, deps: Mapping[bytes, Directives], main: bytes | None) -> None:
        """Every lookup that the texts may have caused; ``main`` may use precompiled headers."""
        angled: set[bytes] = set()
        following: set[bytes] = set()
        for spelled, directives in deps.items():
            name = normal(spelled)
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
        for wanted in angled:
            self.along(wanted, quoted=False, precompiled=False)
        for wanted in following:
            self.everywhere(wanted)

    def quoted(self, here: bytes, name: bytes, *, precompiled: bool) -> None:
        """A quoted name in a file of the directory with the prefix ``here``."""
        if not name.startswith(b"/"):
            path = normal(here + name)
            if precompiled:
                self.precompiled.add(path + b".gch")
            if path in self.read:
                self.explained.add(path)
                return
            self.note(here, name)
        self.along(name, quoted=True, precompiled=precompiled)

    def along(self, name: bytes, *, quoted: bool, precompiled: bool) -> None:
        """Note the places of the chain before the one where ``name`` is a dependency."""
        key = (name, quoted, precompiled)
        if key in self.walked:
            return
        self.walked.add(key)
        if name.startswith(b"/"):
            self.note(b"", name)
            return
        name = normal(name)
        prefixes = self.prefixes
        start = 0 if quoted else self.bracket
        for stop in range(start, len(prefixes)):
            path = prefixes[stop] + name
            if path in self.read:
                self.explained.add(path)
                break
        else:
            stop = self.first_present(name, start)
        cut = name.rfind(b"/") + 1
        self.stretches.setdefault(name[:cut], []).append((name[cut:], start, stop))
        if precompiled:
            self.precompiled.update(p + name + b".gch" for p in prefixes[start : stop + 1])

    def first_present(self, name: bytes, start: int) -> int:
        """The end of the stretch up to, and with, the first file of this name."""
        for index in range(start, len(self.prefixes)):
            if self.exists(self.prefixes[index] + name):
                return index + 1
        return len(self.prefixes)

    def everywhere(self, name: bytes) -> None:
        """A name of ``#include_next``: a dependency does not end its search."""
        name = normal(name)
        for prefix in self.prefixes:
            path = prefix + name
            if path in self.read:
                self.explained.add(path)
            else:
                self.note(prefix, name)

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
                if not self.exists(path):
                    self.note(prefix, name)
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
            rests = {
                path[len(prefix) :]
                for prefix in self.prefixes
                if path.startswith(prefix) and (prefix or not path.startswith(b"/"))
            }
            for rest in rests:
                self.along(rest, quoted=True, precompiled=self.computed_in_main)
                for here in self.computed:
                    self.note(here, rest)
                    if self.computed_in_main:
                        self.precompiled.add(normal(here + rest) + b".gch")
            # gcc may have shortened the name of a file below a directory with `..` in it.
            if self.computed and may_rename and not rests and path not in self.explained:
                complete = complete and any(path.startswith(here) for here in self.computed)
        return complete

    def note(self, prefix: bytes, name: bytes) -> None:
        """``prefix`` + ``name`` was, or may have been, looked at in vain."""
        names = self.places.get(prefix)
        if names is None:
            self.places[prefix] = {name}
        else:
            names.add(name)

    # The file system.

    def exists(self, path: bytes) -> bool:
        known = self.known_files.get(path)
        if known is None:
            # Most parents are missing, and known to be.
            parent = _parent(path)
            known = self.is_directory(parent) and self.may_be_in(parent, path)
            known = known and self.ask_exists(path)
            self.known_files[path] = known
        return known

    def may_be_in(self, directory: bytes, path: bytes) -> bool:
        """False when the listing of its directory shows that ``path`` is not there."""
        listing = self.listing(directory)
        return listing is None or may_be_among(path[path.rfind(b"/") + 1 :], listing)

    def listing(self, directory: bytes) -> Collection[bytes] | None:
        """The names in a directory that exists."""
        if self.ask_listing is None:
            return None
        try:
            return self.known_listings[directory]
        except KeyError:
            known = self.known_listings[directory] = self.ask_listing(directory)
            return known

    def is_directory(self, path: bytes) -> bool:
        known = self.known_directories.get(path)
        if known is None:
            known = self.ask_is_directory(path)
            self.known_directories[path] = known
        return known

    def precompiled_that_exist(self) -> tuple[bytes, ...]:
        sorter = _Sorter(self)
        for path in self.precompiled:
            cut = path.rfind(b"/") + 1
            sorter.add(path[:cut], (path[cut:],), precompiled=True)
        return tuple(sorted(sorter.precompiled))

    def result(self, *, complete: bool) -> Absent:
        """Sort the places that were noted by what is there now."""
        sorter = _Sorter(self)
        for head, stretches in self.stretches.items():
            for index, prefix in enumerate(self.prefixes):
                names = [name for name, start, stop in stretches if start <= index < stop]
                if names:
                    sorter.add(prefix + head, names)
        for prefix, wanted in self.places.items():
            for name in wanted:
                path = normal(prefix + name)
                cut = path.rfind(b"/") + 1
                sorter.add(path[:cut], (path[cut:],))
        for path in self.precompiled:
            cut = path.rfind(b"/") + 1
            sorter.add(path[:cut], (path[cut:],), precompiled=True)
        # Most directories of a chain lack the same names: each such set is sorted once, and held
        # in memory once.
        ordered: dict[frozenset[bytes], tuple[bytes, ...]] = {}
        groups = []
        for directory, lacking in sorted(sorter.groups.items()):
            key = frozenset(lacking)
            if key and key not in ordered:
                ordered[key] = tuple(sorted(key))
            if key:
                groups.append((directory, ordered[key]))
        return Absent(
            groups=tuple(groups),
            dangling=tuple(sorted(sorter.dangling)),
            present=tuple(sorted(self.has)),
            present_untaken=tuple(sorted(sorter.untaken - self.has)),
            precompiled=tuple(sorted(sorter.precompiled)),
            complete=complete,
        )


class _Sorter:
    """Splits places into absent ones, by the directory to watch, and existing ones."""

    def __init__(self, search: _Search) -> None:
        self.search = search
        self.groups: dict[bytes, set[bytes]] = {}
        self.dangling: set[bytes] = set()
        self.untaken: set[bytes] = set()
        self.precompiled: set[bytes] = set()

    def add(self, prefix: bytes, names: Sequence[bytes], *, precompiled: bool = False) -> None:
        """The places ``prefix`` + name; ``prefix`` is empty or ends in a slash."""
        search = self.search
        parent = prefix[:-1] or prefix or b"."
        if not search.is_directory(parent):
            directory, rest = self.deepest(parent)
            self.groups.setdefault(directory, set()).update([rest + name for name in names])
            below = b"" if directory == b"." else directory.rstrip(b"/") + b"/"
            if search.ask_is_link and search.ask_is_link(below + rest.partition(b"/")[0]):
                self.dangling.update(prefix + name for name in names)
            return
        lacking: list[bytes] = []
        listing = search.listing(parent)
        if listing is not None:
            here = [name for name in names if may_be_among(name, listing)]
            self.groups.setdefault(parent, set()).update(set(names).difference(here))
            if not here:
                return
            names = here
        for name in names:
            path = prefix + name
            there = search.known_files.get(path)
            if there is None:
                there = search.known_files[path] = search.ask_exists(path)
            if precompiled and (there or search.is_directory(path)):
                self.precompiled.add(path)
            elif not there:
                lacking.append(name)
            elif path not in search.read:
                self.untaken.add(path)
        self.groups.setdefault(parent, set()).update(lacking)
        if search.ask_is_link is not None:
            self.dangling.update(
                prefix + name for name in lacking if search.ask_is_link(prefix + name)
            )

    def deepest(self, parent: bytes) -> tuple[bytes, bytes]:
        """The deepest directory on the way to ``parent``, and the rest with a slash after it."""
        rest = b""
        while not self.search.is_directory(parent):
            head, slash, last = parent.rpartition(b"/")
            rest = last + b"/" + rest
            parent = head or slash or b"."
        return parent, rest
