"""What the root of an exact job is made of: from a client's view and the server's files to steps.

An exact job is compiled under the client's own paths, from the client's own files, so that every
byte that the compiler writes or says is what it would have been at home. Its root is an empty
directory with three kinds of things in it:

* *trees* of the server, as they are: programs, libraries, system headers;
* what the client sent, at the client's paths;
* *patches*: overlays over directories of a tree, where the client's system headers are others
  than the server's, or the server has one that the client has not.

Nothing is taken from the server on trust. `Layout.questions` lists the places in trees that matter
to a view, the shell looks at them (`remote.ground`), and `Layout.plan` compares: a file of the same
content is left to the server; one that differs or is not there is put over it; what the client did
not find must not be there, or is hidden. Patches are made only below directories that are called
include: anywhere else they could give the compiler another program, another library or other specs.
Where that does not do, the job is refused, with the reason.

Times and second names matter in one case. gcc takes two files for one under ``#pragma once`` when
content and mtime agree, clang when they are one inode. So every file that is put down has the
client's mtime, and files of one content that are left to the server must be told apart there as
they are at the client.

This module asks nobody anything: paths and answers in, steps out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from enum import Enum
from itertools import chain

from pycc.record import record

from .client_view import RESERVED, ClientFile, Refused, View, ancestors, check, is_below, shown

PATCHES = b"/.pycc-patches"
TEMPORARY = b"/tmp"
SECOND = 1_000_000_000
MOST_PATCHES = 16
_ALWAYS = frozenset((b"proc", b"dev", PATCHES[1:]))
_NOT_IN_OPTIONS = b"\\,:\"'\n\t "
"""What a directory's name must not hold to be named in the options of a mount."""


class Ground:
    """What every root shows of the server, each at its own path.

    trees    directories and single files, shown whole and read only; none lies in another
    files    those of the trees that are single files
    links    symbolic links on the way to them (/lib, where it is one), with their targets
    nodes    device files
    above    all directories on the way to these
    """

    def __init__(
        self,
        trees: Iterable[bytes],
        files: Iterable[bytes] = (),
        links: Iterable[tuple[bytes, bytes]] = (),
        nodes: Iterable[bytes] = (),
    ) -> None:
        self.trees = tuple(trees)
        self.files = frozenset(files)
        self.links = dict(links)
        self.nodes = tuple(nodes)
        everything = (*self.trees, *self.links, *self.nodes, b"/proc", TEMPORARY, PATCHES)
        self.above = frozenset(above for path in everything for above in ancestors(path))
        self._trees = frozenset(self.trees)
        self._tops = frozenset(tree[1:].partition(b"/")[0] for tree in self.trees)
        self._deepest = max((tree.count(b"/") for tree in self.trees), default=0)

    def tree_of(self, path: bytes) -> bytes | None:
        """The tree in which a path lies, itself included."""
        # Asked for every path: so by its few beginnings, not by every tree.
        at = path.find(b"/", 1)
        if (path[1:] if at < 0 else path[1:at]) not in self._tops:
            return None
        at = 0
        for _ in range(self._deepest):
            at = path.find(b"/", at + 1)
            start = path if at < 0 else path[:at]
            if start in self._trees:
                return start
            if at < 0:
                return None
        return None

    def link_on(self, path: bytes) -> bytes | None:
        """The link of `links` through which a path leads, itself included."""
        if path in self.links:
            return path
        return next((above for above in ancestors(path) if above in self.links), None)


class Kind(Enum):
    """What is at a path of the server, no link followed."""

    NOTHING = "nothing"
    FILE = "a file"
    DIRECTORY = "a directory"
    LINK = "a link"
    OTHER = "neither file nor directory"


@record
class Spot:
    """What the server has at one path. ``content`` is a file's digest, where it was asked for and
    could be had; ``target`` a link's; ``inode`` tells files apart; ``mtime`` is in ns."""

    kind: Kind
    content: bytes = b""
    target: bytes = b""
    mtime: int = 0
    inode: tuple[int, int] = (0, 0)


NOTHING = Spot(Kind.NOTHING)


@record
class Questions:
    """Paths of the server that a plan has to know about. Those of ``contents`` are asked for the
    digest as well, if they are files."""

    contents: frozenset[bytes]
    kinds: frozenset[bytes]


@record
class Step:
    """One line of the sandbox's order: its letter and words (sandbox.c holds the grammar)."""

    letter: bytes
    words: tuple[bytes, ...]


@record
class Plan:
    """A root that can be made: the steps in their order, and the contents that they need."""

    cwd: bytes
    steps: tuple[Step, ...]
    contents: frozenset[bytes]
    patched: tuple[bytes, ...] = ()
    """Directories of the server that are not shown as they are."""


class _Trees:
    """Ground.tree_of, remembered by directory: a view has many names and few directories."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._known: dict[bytes, bytes | None] = {}

    def of(self, path: bytes) -> bytes | None:
        directory = path[: path.rfind(b"/")]
        if directory not in self._known:
            self._known[directory] = self._ground.tree_of(directory)
        # A tree is in no other tree.
        return self._known[directory] or self._ground.tree_of(path)


class Layout:
    """A view on its way to a plan. Raises Refused where the view is not to be taken."""

    def __init__(self, view: View, ground: Ground) -> None:
        self._view = view
        self._ground = ground
        self._trees = _Trees(ground)
        self._directories = check(view)
        self._named = {file.path for file in view.files}
        self._shared = {file.path for file in view.files if self._trees.of(file.path)}
        """The files that lie in trees."""
        self._server: Mapping[bytes, Spot] = {}
        self._real: dict[bytes, bool] = {}
        self._ways: dict[bytes, tuple[bool, bytes]] = {}
        self._free_directories: set[bytes] = set()
        """Where something of the client may be put."""
        self._own: list[ClientFile] = []
        """Files that are put down at their places."""
        self._own_links: dict[bytes, bytes] = {}
        self._patch_files: list[ClientFile] = []
        self._patch_links: dict[bytes, bytes] = {}
        self._patch_directories: set[bytes] = set()
        self._hidden: set[bytes] = set()

    def questions(self) -> Questions:
        """What has to be known of the server."""
        kinds: set[bytes] = set()
        links = (link.path for link in self._view.links)
        for path in (*self._shared, *self._directories, *links, *self._view.absent):
            tree = self._trees.of(path)
            if tree is None:
                continue
            for above in chain((path,), ancestors(path)):
                if above in kinds or not is_below(above, tree):
                    break
                kinds.add(above)
        return Questions(frozenset(self._shared), frozenset(kinds - self._shared))

    def plan(self, server: Mapping[bytes, Spot]) -> Plan:
        """The root, once; ``server`` answers `questions`. Raises Refused."""
        self._server = server
        own_directories = self._place_directories()
        self._place_links()
        self._place_files()
        for path in self._view.absent:
            self._keep_absent(path)
        return self._write(own_directories)

    # What the server has.

    def _at(self, path: bytes) -> Spot:
        """What the server shows at a path in a tree, with real directories all the way."""
        directory = path[: path.rfind(b"/")]
        if directory not in self._real:
            tree = self._trees.of(path)
            self._real[directory] = all(
                self._server.get(above, NOTHING).kind is Kind.DIRECTORY
                for above in ancestors(path)
                if tree is not None and is_below(above, tree)
            )
        return self._server.get(path, NOTHING) if self._real[directory] else NOTHING

    def _free(self, path: bytes, what: str) -> None:
        """Refuse a path that lies in no tree and is not the client's to fill."""
        if path in self._ground.above or path == TEMPORARY:
            raise Refused(f"{what} {shown(path)} stands where the server has its own")
        directory = path[: path.rfind(b"/")]
        if directory not in self._free_directories:
            if path[1:].partition(b"/")[0] in RESERVED:
                raise Refused(f"{what} {shown(path)} is in a place that is the server's")
            if self._ground.link_on(path):
                raise Refused(f"{what} {shown(path)} is reached by another way here")
            if directory:
                self._free_directories.add(directory)
        elif path in self._ground.links:
            raise Refused(f"{what} {shown(path)} is reached by another way here")

    def _may_patch(self, path: bytes, why: str) -> None:
        """Refuse to alter a tree where that could alter the compiler."""
        parts = path.split(b"/")
        # Headers only: a directory of that name, and the file is no library.
        if not any(part.startswith(b"include") for part in parts[:-1]):
            raise Refused(f"{shown(path)} {why}, and lies in no include directory")
        if b".so" in parts[-1]:
            raise Refused(f"{shown(path)} {why}, and is a library")

    # Where the client's things go.

    def _place_directories(self) -> list[bytes]:
        own = []
        entries = [*self._directories, *(file.path for file in self._view.files)]
        entries += [link.path for link in self._view.links]
        inner = {path[: path.rfind(b"/")] for path in entries}
        for path in sorted(self._directories):
            tree = self._trees.of(path)
            if tree is not None:
                if path in self._ground.files:
                    raise Refused(f"{shown(path)} is no directory here")
                spot = self._at(path)
                if spot.kind is not Kind.DIRECTORY and path != tree:
                    # What is on the way to something is judged by that.
                    if spot.kind is not Kind.NOTHING or path not in inner:
                        self._may_patch(path + b"/", "is no directory here")
                    self._patch_directories.add(path)
            elif path not in self._ground.above:
                if path != TEMPORARY:
                    self._free(path, "the directory")
                own.append(path)
        if self._trees.of(self._view.cwd) is not None:
            where = shown(self._view.cwd)
            raise Refused(f"the working directory {where} lies among the server's own files")
        return own

    def _place_links(self) -> None:
        for link in self._view.links:
            if self._trees.of(link.path) is not None:
                spot = self._at(link.path)
                if spot.kind is not Kind.LINK or spot.target != link.target:
                    self._may_patch(link.path, "is another link here")
                    self._patch_links[link.path] = link.target
            elif self._ground.links.get(link.path) != link.target:
                self._free(link.path, "the link")
                self._own_links[link.path] = link.target

    def _place_files(self) -> None:
        by_content: dict[bytes, list[ClientFile]] = defaultdict(list)
        for file in self._view.files:
            by_content[file.content].append(file)
        shared = self._shared
        for file in self._view.files:
            if file.same_as and (file.same_as in shared) != (file.path in shared):
                # An overlay shows another inode than what lies under it.
                raise Refused(f"{shown(file.path)} has a name among the server's own files")
        for files in by_content.values():
            in_tree = [file for file in files if file.path in shared]
            for file in files:
                if file.path not in shared:
                    self._free(file.path, "the file")
                    self._own.append(file)
            alike = len(files) == 1 or self._told_apart(files, in_tree)
            for file in in_tree:
                spot = self._at(file.path)
                same = spot.kind is Kind.FILE and spot.content == file.content
                if not same or not alike:
                    self._may_patch(file.path, "differs here" if spot.kind is not Kind.NOTHING
                                    else "is missing here")  # fmt: skip
                    self._patch_files.append(file)

    def _told_apart(self, files: Iterable[ClientFile], in_tree: Iterable[ClientFile]) -> bool:
        """Whether the server's files of one content have the client's times, in the seconds that
        gcc compares, and are different files."""
        inodes = set()
        for file in in_tree:
            spot = self._at(file.path)
            if spot.mtime // SECOND != file.mtime // SECOND or spot.inode in inodes:
                return False
            inodes.add(spot.inode)
        return not any(file.same_as for file in files)

    def _keep_absent(self, path: bytes) -> None:
        tree = self._trees.of(path)
        if tree is None:
            link = self._ground.link_on(path)
            if link is not None:
                raise Refused(f"{shown(link)}, missing at the client, is a link here")
            if path in self._ground.above or path[1:].partition(b"/")[0] in _ALWAYS:
                raise Refused(f"{shown(path)}, missing at the client, is always here")
            return
        directory = path[: path.rfind(b"/")]
        if directory not in self._ways:
            self._ways[directory] = self._way(path, tree)
        ends, link = self._ways[directory]
        if link:
            # Something may be there by another way, of which the view knows nothing.
            self._may_patch(link, "is a link here")
            self._hidden.add(link)
        if ends:
            return
        if self._at(path).kind is not Kind.NOTHING:
            self._may_patch(path, "is missing at the client")
            self._hidden.add(path)

    def _way(self, path: bytes, tree: bytes) -> tuple[bool, bytes]:
        """Whether the way to a path ends before it, and the link of the server where it does, if
        that is not laid over."""
        for above in ancestors(path):
            if above in self._named:
                return True, b""  # the client's own file: nothing is below it
            if not is_below(above, tree):
                break
            linked = self._server.get(above, NOTHING).kind is Kind.LINK
            if linked and above not in self._patch_directories:
                return True, above
        return False, b""

    # Steps.

    def _patch_roots(self) -> list[bytes]:
        """The directories that get an overlay, none in another."""
        changed = {file.path for file in self._patch_files} | self._patch_links.keys()
        roots: set[bytes] = set()
        for path in changed | self._patch_directories | self._hidden:
            roots.add(self._patch_root(path))
        least = [one for one in roots if not any(one != o and is_below(one, o) for o in roots)]
        if len(least) > MOST_PATCHES:
            raise Refused(f"{len(least)} directories differ here")
        for root in least:
            if any(byte in _NOT_IN_OPTIONS for byte in root):
                raise Refused(f"{shown(root)} differs here, and cannot be laid over")
        return sorted(least)

    def _patch_root(self, path: bytes) -> bytes:
        """The include directory of ``path``, or the nearest one above that the server has."""
        tree = self._trees.of(path)
        outermost = b""
        above = [one for one in ancestors(path) if tree is not None and is_below(one, tree)]
        for one in above:
            if one.rpartition(b"/")[2].startswith(b"include"):
                outermost = one
        for one in above:
            if (not outermost or is_below(outermost, one)) and self._at(one).kind is Kind.DIRECTORY:
                return one
        raise Refused(f"{shown(path)} differs here, and cannot be laid over")

    def _write(self, own_directories: Iterable[bytes]) -> Plan:
        directories = {TEMPORARY: b"T", b"/dev": b"D", b"/proc": b"D"}
        directories |= dict.fromkeys(self._ground.above - directories.keys(), b"D")
        for tree in self._ground.trees:
            if tree not in self._ground.files:
                directories.setdefault(tree, b"D")
        for path in own_directories:
            directories.setdefault(path, b"D")

        roots = self._patch_roots()
        if roots:
            directories[PATCHES] = b"D"
        places = {root: PATCHES + b"/%d" % n for n, root in enumerate(roots)}

        def patched(path: bytes) -> bytes:
            for root, place in places.items():
                if path != root and is_below(path, root):
                    for above in ancestors(path):
                        if above == root:
                            break
                        directories.setdefault(place + above[len(root) :], b"D")
                    return place + path[len(root) :]
            raise Refused(f"{shown(path)} differs here")

        for place in places.values():
            directories[place] = b"D"
        for path in self._patch_directories:
            directories.setdefault(patched(path), b"D")
        links = self._ground.links | self._own_links
        links |= {patched(path): target for path, target in self._patch_links.items()}
        links |= _STANDARD_LINKS
        files = {file.path: file for file in self._own}
        files |= {patched(file.path): file for file in self._patch_files}
        whiteouts = [
            patched(path) for path in self._hidden if self._hidden.isdisjoint(ancestors(path))
        ]

        empty = (*self._ground.files, *self._ground.nodes)
        steps = [Step(letter, (path,)) for path, letter in sorted(directories.items())]
        steps += [Step(b"I", (path,)) for path in sorted(empty)]
        steps += [Step(b"L", pair) for pair in sorted(links.items())]
        steps += [Step(b"B", (tree, tree)) for tree in self._ground.trees]
        steps += [Step(b"N", (node, node)) for node in self._ground.nodes]
        steps += _file_steps(files)
        steps += [Step(b"W", (path,)) for path in sorted(whiteouts)]
        steps += [Step(b"O", (root, b"lowerdir=%s:%s" % (places[root], root))) for root in roots]
        steps.append(Step(b"P", (b"/proc",)))
        contents = frozenset(file.content for file in files.values())
        return Plan(self._view.cwd, tuple(steps), contents, tuple(roots))


_STANDARD_LINKS = {
    b"/dev/fd": b"/proc/self/fd",
    b"/dev/stdin": b"/proc/self/fd/0",
    b"/dev/stdout": b"/proc/self/fd/1",
    b"/dev/stderr": b"/proc/self/fd/2",
}


def content_name(digest: bytes) -> bytes:
    """Where a content is, below the directory of contents."""
    text = digest.hex().encode()
    return text[:2] + b"/" + text[2:]


def _file_steps(files: Mapping[bytes, ClientFile]) -> list[Step]:
    """The files in ascending order; second names after the first that was put down."""
    steps = []
    first: dict[bytes, bytes] = {}
    for path, file in sorted(files.items()):
        one = file.same_as or file.path
        if one in first:
            steps.append(Step(b"K", (path, first[one])))
            continue
        first[one] = path
        seconds, rest = divmod(file.mtime, SECOND)
        words = (path, content_name(file.content), b"%d" % seconds, b"%d" % rest)
        steps.append(Step(b"F", words))
    return steps
