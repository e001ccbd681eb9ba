"""What this machine shows to exact jobs, and what is at the places that a job asks about.

Shown are the trees that hold compilers, their libraries and the system's headers, and nothing
else: no home, no /etc but what the loader and Debian's alternatives need, no /var, no /run.
/usr and /usr/local are not shown whole but child by child, so that a client whose sources lie in
/usr/src, or which has a directory in /usr/local that is not here, can have them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from pycc import native
from pycc.cache.digest import FileDigests, file_clock

from .client_view import is_below
from .exact_root import NOTHING, Ground, Kind, Questions, Spot

_TOPS = b"bin sbin lib lib32 lib64 libx32 libo32".split()
_OPENED = (b"/usr", b"/usr/local")
_LEFT_OUT = frozenset(b"src games man tmp obj portage".split())
RELEASES = (b"/etc/debian_version", b"/etc/lsb-release", b"/etc/os-release", b"/etc/redhat-release")
"""clang's driver looks into these for what its distribution wants."""
_MORE = (
    *RELEASES,
    b"/etc/ld.so.cache",
    b"/etc/alternatives",  # /usr/bin/cc leads there
    b"/etc/locale.alias",  # asked for in every locale but C
    b"/etc/clang",  # clang's configuration; identities.py watches it
)
_INSTALLED = b"bin lib lib32 lib64 libx32 libexec include share/locale".split()
"""What compilers have below their prefix, and a directory for each machine that they compile for
(<prefix>/<machine>, of which <prefix>/lib/gcc knows the names)."""
MEMO_LIMIT = 50_000
_DIRECTORY = Spot(Kind.DIRECTORY)
_NODES = (b"/dev/null", b"/dev/zero", b"/dev/random", b"/dev/urandom")


def find(extra: Iterable[bytes] = ()) -> Ground:
    """This machine's. ``extra`` are directories of compilers that are installed elsewhere (/opt),
    as `places_of` gives them."""
    wanted = [b"/" + name for name in _TOPS]
    for directory in _OPENED:
        if os.path.islink(directory) or not os.path.isdir(directory):
            continue
        for name in sorted(os.listdir(directory)):
            path = directory + b"/" + name
            # A link is shown where programs are looked for (Fedora's /usr/sbin); whoever has
            # another one (/usr/local/cuda) sends it.
            if name not in _LEFT_OUT and (name in _TOPS or not os.path.islink(path)):
                wanted.append(path)
    wanted += [*_MORE, *extra]
    trees: list[bytes] = []
    files = set()
    links: list[tuple[bytes, bytes]] = []
    for path in wanted:
        if path in _OPENED or any(is_below(path, tree) for tree in trees):
            continue
        mode = _mode(path)
        if stat.S_ISLNK(mode):
            links.append((path, os.readlink(path)))
        elif stat.S_ISDIR(mode) or stat.S_ISREG(mode):
            trees.append(path)
            if stat.S_ISREG(mode):
                files.add(path)
    nodes = tuple(node for node in _NODES if stat.S_ISCHR(_mode(node)))
    return Ground(trees, files, links, nodes)


def _mode(path: bytes) -> int:
    """0 where there is nothing."""
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0


class Survey:
    """Answers questions about places; safe for several threads.

    Most are about system headers that every job asks about, so what is known of a file is
    remembered by its signature, where that pins its content. Asked again after a compile, it tells
    whether the server's files stood still meanwhile: then the answers are equal."""

    def __init__(self, digests: FileDigests) -> None:
        self._digests = digests
        self._known: dict[bytes, tuple[native.Signature, Spot]] = {}

    def __call__(self, questions: Questions) -> dict[bytes, Spot]:
        """The answers. A path on whose way there is a link is answered all the same: the plan
        knows from the link's own answer what that is worth."""
        now = file_clock()
        paths = [*questions.contents, *questions.kinds]
        answers: dict[bytes, Spot] = {}
        for path, found in zip(paths, native.signatures(paths, follow=False), strict=True):
            known = self._known.get(path)
            if known is not None and known[0] == found:
                answers[path] = known[1]
            elif not found.exists:
                answers[path] = NOTHING
            elif found.is_directory:
                answers[path] = _DIRECTORY
            elif found.is_link:
                answers[path] = Spot(Kind.LINK, target=_target(path))
            elif not found.is_regular:
                answers[path] = Spot(Kind.OTHER)
            else:
                inode = (found.device, found.inode)
                spot = Spot(Kind.FILE, mtime=found.mtime, inode=inode)
                if path in questions.contents:
                    content = self._digests.digest(path, found)
                    if content is not None:
                        spot = Spot(Kind.FILE, content, mtime=found.mtime, inode=inode)
                        if self._digests.settled(path, found, now):
                            self._remember(path, found, spot)
                answers[path] = spot
        return answers

    def _remember(self, path: bytes, signature: native.Signature, spot: Spot) -> None:
        if len(self._known) >= MEMO_LIMIT:
            self._known.clear()
        self._known[path] = (signature, spot)


def _target(path: bytes) -> bytes:
    try:
        return os.readlink(path)
    except OSError:  # it has just gone: what is left has no target
        return b""


def places_of(program: bytes, ground: Ground) -> list[bytes]:
    """What `find` needs as ``extra`` so that a compiler at this path can run: beside the ``bin``
    that it lies in, what compilers install there, and nothing else, for it may be somebody's home.
    Nothing where it is shown already, or does not lie in a ``bin``."""
    real = os.path.realpath(program)
    directory = os.path.dirname(real)
    prefix, _, last = directory.rpartition(b"/")
    if ground.tree_of(real) is not None or last != b"bin" or not prefix:
        return []
    machines = {
        name for part in (b"lib", b"libexec") for name in _names(prefix + b"/%s/gcc" % part)
    }
    return [prefix + b"/" + name for name in sorted({*_INSTALLED, *machines})]


def _names(directory: bytes) -> list[bytes]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
