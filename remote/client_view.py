"""What a client says of its file system, for one compile, taken only where it is harmless.

A view lists all that the compile may meet: the files by content, the symbolic links, directories
that have to exist although nothing is read in them, and the places where the compiler looks for a
file and finds none. All paths are physical: no component of them is a link, `.` or `..` (a name
such as ``a/../b/h.h`` needs the directory ``a`` and the file ``b/h.h``; a name that leads through
a link needs the link and the file where it leads).

What is checked here needs no knowledge of the server. A view that passes can be laid out in an
empty directory, each path once, in any order, without following a link.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pycc.errors import PyccError
from pycc.pattern import pattern
from pycc.record import record

DIGEST_BYTES = 20
LONGEST_PATH = 4095  # PATH_MAX without its NUL
LONGEST_NAME = 255
DEEPEST = 128
"""Components. The sandbox walks the tree for outputs, one directory inside another."""
LATEST = (1 << 63) - 1

RESERVED = frozenset(
    b"proc sys dev etc bin sbin lib lib32 lib64 libx32 libo32 boot .pycc-patches".split()
)
"""Top names under which nothing of a client is put by itself. The loader reads its settings in
/etc (ld.so.preload) and libraries in /lib*; the others belong to the kernel or to us. What lies
in a tree that the server shows may still agree with it."""
_PRECOMPILED = pattern(rb"\.(?:gch|pch|pcm)(?:/|\Z)")
_PHYSICAL = pattern(rb"(?:/(?!\.\.?(?:/|\Z))[^/\0]{1,255}){1,128}")
"""What `_check_path` finds nothing wrong with, asked first because it is asked of every path."""


class Refused(PyccError):
    """This job cannot be compiled exactly on this server; the text says why, for people."""


@record
class ClientFile:
    """A regular file: its path, the digest of its content, its mtime in ns since 1970.

    ``same_as`` is the path of the file of which this is a second name (a hard link), if any:
    compilers that know a file by its inode read it once only."""

    path: bytes
    content: bytes
    mtime: int
    same_as: bytes = b""


@record
class ClientLink:
    """A symbolic link and what it holds."""

    path: bytes
    target: bytes


@record
class View:
    """Everything of the client that one compile may meet."""

    cwd: bytes
    files: tuple[ClientFile, ...] = ()
    links: tuple[ClientLink, ...] = ()
    directories: tuple[bytes, ...] = ()
    absent: tuple[bytes, ...] = ()


@record
class Limits:
    """The most that one view may hold."""

    entries: int = 20_000
    """Files, links and directories together, those on the way to them included."""
    absent: int = 200_000
    bytes: int = 32 << 20
    """Of all paths and targets."""


LIMITS = Limits()


def shown(path: bytes) -> str:
    """A path for people; nothing in it can do harm to a terminal."""
    text = path.decode(errors="backslashreplace")
    return text if text.isprintable() else repr(text)[1:-1]


def ancestors(path: bytes) -> Iterator[bytes]:
    """The directories on the way to an absolute path, nearest first, without the root."""
    while (cut := path.rfind(b"/")) > 0:
        path = path[:cut]
        yield path


def is_below(path: bytes, directory: bytes) -> bool:
    """Whether ``path`` is ``directory`` or lies in it."""
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")


def check(view: View, limits: Limits = LIMITS) -> frozenset[bytes]:
    """All directories of a view: those that it names and those on the way to anything it has.
    Raises Refused with the first reason not to take it."""
    _check_amount(view, limits)
    _check_path(view.cwd, root_too=True)
    for file in view.files:
        _check_path(file.path)
        _check_file(file)
    for link in view.links:
        _check_path(link.path)
        if not 0 < len(link.target) <= LONGEST_PATH or b"\0" in link.target:
            raise Refused(f"the link {shown(link.path)} has no possible target")
    for path in (*view.directories, *view.absent):
        _check_path(path)
    leaves = _leaves(view)
    directories = {view.cwd, *view.directories} - {b"/"}
    for path in (*leaves, *tuple(directories)):
        directories.update(_new(ancestors(path), directories))
        if len(directories) + len(leaves) > limits.entries:
            raise Refused(f"more than {limits.entries} files and directories")
    for path in directories & leaves.keys():
        raise Refused(f"{shown(path)} is {leaves[path]} and a directory")
    for path in view.absent:
        if path in leaves or path in directories:
            raise Refused(f"{shown(path)} is said to be there and to be missing")
        for above in ancestors(path):
            if leaves.get(above) == "a link":
                raise Refused(f"{shown(path)} leads through the link {shown(above)}")
    _check_names(view)
    return frozenset(directories)


def _new(paths: Iterable[bytes], known: set[bytes]) -> Iterator[bytes]:
    """Those before the first one that is known: all behind that are known, too."""
    for path in paths:
        if path in known:
            return
        yield path


def _check_amount(view: View, limits: Limits) -> None:
    entries = len(view.files) + len(view.links) + len(view.directories)
    if entries > limits.entries:
        raise Refused(f"{entries} files and directories, more than {limits.entries}")
    if len(view.absent) > limits.absent:
        raise Refused(f"{len(view.absent)} missing files, more than {limits.absent}")
    total = sum(len(file.path) + len(file.same_as) for file in view.files)
    total += sum(len(link.path) + len(link.target) for link in view.links)
    total += sum(map(len, view.directories)) + sum(map(len, view.absent))
    if total > limits.bytes:
        raise Refused(f"more than {limits.bytes} bytes of names")


def _check_path(path: bytes, *, root_too: bool = False) -> None:
    if (_PHYSICAL.fullmatch(path) and len(path) <= LONGEST_PATH) or (root_too and path == b"/"):
        return
    if not path.startswith(b"/"):
        raise Refused(f"{shown(path)} is no absolute path")
    if len(path) > LONGEST_PATH:
        raise Refused(f"a path has {len(path)} bytes")
    if b"\0" in path:
        raise Refused(f"{shown(path)} contains a zero byte")
    parts = path[1:].split(b"/")
    if len(parts) > DEEPEST:
        raise Refused(f"{shown(path)} is deeper than {DEEPEST} directories")
    for part in parts:
        if part in (b"", b".", b".."):
            raise Refused(f"{shown(path)} is no physical path")
        if len(part) > LONGEST_NAME:
            raise Refused(f"{shown(path)} has a name of {len(part)} bytes")
    raise Refused(f"{shown(path)} is no path")


def _check_file(file: ClientFile) -> None:
    if len(file.content) != DIGEST_BYTES:
        raise Refused(f"{shown(file.path)} has no proper digest")
    if not 0 <= file.mtime <= LATEST:
        raise Refused(f"{shown(file.path)} has an impossible time")
    # A precompiled header is an image of a compiler's memory: whoever writes it may make the
    # compiler do anything, and it fits one build of one compiler only.
    if _PRECOMPILED.search(file.path):
        raise Refused(f"{shown(file.path)} is a precompiled header")


def _leaves(view: View) -> dict[bytes, str]:
    """What each path is that is no directory."""
    leaves = dict.fromkeys((file.path for file in view.files), "a file")
    leaves.update(dict.fromkeys((link.path for link in view.links), "a link"))
    if len(leaves) < len(view.files) + len(view.links):
        seen: set[bytes] = set()
        for path in (*(f.path for f in view.files), *(k.path for k in view.links)):
            if path in seen:
                raise Refused(f"{shown(path)} is named twice")
            seen.add(path)
    return leaves


def _check_names(view: View) -> None:
    """Second names are of files of the view that are no second names, with the same facts."""
    files = {file.path: file for file in view.files}
    for file in view.files:
        if not file.same_as:
            continue
        first = files.get(file.same_as)
        if first is None or first.same_as or first.path == file.path:
            raise Refused(f"{shown(file.path)} is a second name of nothing")
        if (first.content, first.mtime) != (file.content, file.mtime):
            raise Refused(f"{shown(file.path)} differs from its first name")
