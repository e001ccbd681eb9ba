"""Where the daemon's cache lies on the disk: how the place is made, tried and mended.

    DIRECTORY/           --cache-dir: made when it is missing; when it is there, its owner, group
                         and mode are somebody's decision (root:portage 2775), and stay
    DIRECTORY/pycc/      ours, and all that lies in it

Root makes what is missing and gives it away before it stops being root, in directories that others
may be able to write in. So nothing is done by name: each directory is opened without following a
link, in the one opened before, and changed by its descriptor, when it is the one that was just made
(ours and empty). The way to the first missing directory may lead over links; those were there
before, and whoever could change them could change the directories themselves.

A directory that is shared with a group hands the group down by its setgid bit. The cache's files
then need modes for the group: the umask is what the directory's own mode leaves (2775: 002, 2770:
007), and without group permission to write the cache is private.

Nothing here asks for HOME.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator

from pycc.record import record

from .privileges import User, group_name, user_name

SUBDIRECTORY = "pycc"
CONTENTS = "contents"
"""In ours: what clients sent (contents.py)."""
LARGEST_TREE = 10_000_000
"""Files that are looked at when permissions are mended."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ON_THE_WAY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: what was a file when it was listed may be a pipe now.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_GROUP_WRITES = stat.S_IWGRP


@record
class Place:
    """``root`` is our own directory in ``directory``, ``umask`` what `open_local` takes, ``made``
    the directories that were missing."""

    directory: str
    root: str
    umask: int | None
    made: tuple[str, ...]


@record
class Obstacle:
    """Why a user cannot keep a cache in a place, and what can be done about it."""

    text: str
    remedy: str
    missing: bool = False
    """Nothing is wrong but that it was not made yet."""

    def __str__(self) -> str:
        return f"{self.text}; {self.remedy}"


def umask_for(mode: int) -> int | None:
    """The umask of what is made in a directory of this mode; None: private.

    Others never write, whatever the directory says: a cache that anyone may write to is a way to
    hand objects to everybody who compiles here."""
    return (0o777 & ~mode & 0o077) | 0o002 if mode & _GROUP_WRITES else None


def prepare(directory: str, user: User | None) -> Place:
    """Have ``directory`` and our own directory in it, given to ``user`` where they are new.

    ``user`` is None for a process that keeps being who it is. Raises OSError; nothing that is
    there already is changed."""
    if not os.path.isabs(directory):
        raise OSError(errno.EINVAL, "not an absolute path", directory)
    made: list[str] = []
    opened = _reach(os.path.realpath(directory), user, made)
    try:
        umask = umask_for(os.fstat(opened).st_mode)
        mode = 0o700 if umask is None else 0o777 & ~umask
        root = os.path.join(directory, SUBDIRECTORY)
        ours = _open_or_make(opened, root, _DIRECTORY, user, mode, made)
        try:
            umask = umask_for(os.fstat(ours).st_mode)
        finally:
            os.close(ours)
    finally:
        os.close(opened)
    return Place(directory, root, umask, tuple(made))


def _reach(path: str, user: User | None, made: list[str]) -> int:
    """A descriptor of ``path``, which has no links in it, made as far as it is missing."""
    at = os.open("/", _ON_THE_WAY)
    names = [name for name in path.split("/") if name]
    here = ""
    for number, name in enumerate(names, 1):
        here += f"/{name}"
        last = number == len(names)
        # What lies between is root's own, as mkdir -p would leave it; only the end is given away.
        mode, owner = (0o700, user) if last else (0o755, None)
        try:
            following = _open_or_make(at, here, _ON_THE_WAY, owner, mode, made)
        finally:
            os.close(at)
        at = following
    return at


def _open_or_make(
    parent: int, path: str, flags: int, owner: User | None, mode: int, made: list[str]
) -> int:
    name = os.path.basename(path)
    try:
        return os.open(name, flags, dir_fd=parent)
    except FileNotFoundError:
        os.mkdir(name, 0o700, dir_fd=parent)
    except OSError as problem:
        raise OSError(problem.errno, problem.strerror, path) from None
    opened = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        found = os.fstat(opened)
        if found.st_uid != os.geteuid() or os.listdir(opened):
            raise OSError(errno.EPERM, "was replaced while it was made", path)
        inherited = found.st_mode & stat.S_ISGID
        if owner is not None:
            os.fchown(opened, owner.uid, -1 if inherited else owner.gid)
        os.fchmod(opened, mode | inherited)
    except OSError:
        os.close(opened)
        raise
    made.append(path)
    return opened


def obstacle(directory: str, user: User) -> Obstacle | None:
    """Why this process, which is ``user``, cannot use the cache; None if it can."""
    root = os.path.join(directory, SUBDIRECTORY)
    if os.path.islink(root):
        return Obstacle(f"{root} is a symbolic link", "give --cache-dir the place it leads to")
    for path, mode in _needed(directory, root):
        if not os.access(path, mode, effective_ids=True):
            return _denied(path, mode, user, ours=path != directory)
    try:
        # Quotas, read-only mounts and full disks show only when something is written.
        with tempfile.TemporaryFile(dir=root) as file:
            file.write(b"x")
    except OSError as problem:
        remedy = "make room there, or give --cache-dir another directory"
        return Obstacle(f"{root} cannot be written: {problem.strerror}", remedy)
    return None


def can_be_made(directory: str) -> bool:
    """Whether this process could make what is missing of ``directory`` and ours in it."""
    path = os.path.join(os.path.realpath(directory), SUBDIRECTORY)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK, effective_ids=True)


def _needed(directory: str, root: str) -> Iterator[tuple[str, int]]:
    """Paths with the access that is needed; of the store, what already is there."""
    whole = os.R_OK | os.W_OK | os.X_OK
    yield directory, os.X_OK
    yield root, whole
    for path, names, files in os.walk(root):
        below = path[len(root) :].count("/")
        if path == os.path.join(root, CONTENTS):
            names.clear()  # nobody writes to them again, and who lacks one is sent it
            continue
        for name in sorted(names):
            # Levels of value files are made by whoever stores; the generations hold all else.
            if below == 0 or (below == 1 and name.startswith("db-")):
                yield os.path.join(path, name), whole
        for name in sorted(files):
            yield os.path.join(path, name), os.R_OK | os.W_OK
        if below >= 2:
            names.clear()


def _denied(path: str, mode: int, user: User, *, ours: bool) -> Obstacle:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return Obstacle(f"{path} does not exist", "run pyccd --fix-permissions as root", True)
    except NotADirectoryError:
        return Obstacle(f"{path} cannot be: a file is in its way", "name another directory")
    except OSError as problem:
        return Obstacle(f"{path}: {problem.strerror}", f"let {user.name} search the way to it")
    group = group_name(found.st_gid)
    owner = f"{user_name(found.st_uid)}:{group} {stat.S_IMODE(found.st_mode):04o}"
    text = f"{path} ({owner}) cannot be {'written' if mode & os.W_OK else 'entered'} by {user.name}"
    if ours and found.st_mode & _GROUP_WRITES and found.st_gid not in user.groups:
        text += f", who is not in the group {group}"
    if found.st_gid not in user.groups and found.st_mode & stat.S_IXGRP and found.st_gid != 0:
        remedy = f"usermod -a -G {group} {user.name}"
        return Obstacle(text, remedy + (", or run pyccd --fix-permissions as root" if ours else ""))
    remedy = "run pyccd --fix-permissions as root" if ours else f"chmod o+x {path}"
    return Obstacle(text, remedy)


# Mending.


def mend(place: Place, user: User) -> Iterator[str]:
    """Make everything in our own directory usable for ``user``; says what was done, and what was
    not.

    In a private cache everything comes to belong to the user. In one that is shared, owners stay
    as they are and the group gets what it lacks, unless the user is not in the group. What has a
    second name is left alone, because that name may be anywhere, and so are links and devices."""
    ours = os.open(place.root, _DIRECTORY)
    try:
        yield from _mend_tree(ours, place.root, _Wanted(place.umask, user, os.fstat(ours)))
    finally:
        os.close(ours)


class _Wanted:
    """What owner, group and mode are to be."""

    def __init__(self, umask: int | None, user: User, top: os.stat_result) -> None:
        self.device = top.st_dev
        self._shared = umask is not None
        self._bits = 0o700 if umask is None else 0o777 & ~umask
        self._group = top.st_gid if self._shared else user.gid
        self._owner = -1 if self._shared and top.st_gid in user.groups else user.uid
        self.left = LARGEST_TREE

    def change(self, opened: int, path: str) -> Iterator[str]:
        """Change the open file or directory; says what."""
        found = os.fstat(opened)
        try:
            uid = self._owner if self._owner >= 0 else found.st_uid
            gid = self._group
            if not self._shared and found.st_uid == uid:
                gid = found.st_gid
            if (uid, gid) != (found.st_uid, found.st_gid):
                os.fchown(opened, uid, gid)
                yield f"{path}: given to {user_name(uid)}:{group_name(gid)}"
            mode = stat.S_IMODE(found.st_mode)
            if stat.S_ISDIR(found.st_mode):
                wanted = mode | self._bits | (stat.S_ISGID if self._shared else 0)
            else:
                wanted = mode | (self._bits & 0o666)
            if wanted != mode:
                os.fchmod(opened, wanted)
                yield f"{path}: mode {mode:04o} is now {wanted:04o}"
        except OSError as problem:
            yield f"{path}: not changed: {problem.strerror}"


def _mend_tree(opened: int, path: str, wanted: _Wanted) -> Iterator[str]:
    yield from wanted.change(opened, path)
    for name in sorted(os.listdir(opened)):
        inner = os.path.join(path, name)
        wanted.left -= 1
        if wanted.left < 0:
            yield f"{path}: more than {LARGEST_TREE} files: the rest is left as it is"
            return
        try:
            found = os.stat(name, dir_fd=opened, follow_symlinks=False)
            is_directory = stat.S_ISDIR(found.st_mode)
            if not is_directory and not stat.S_ISREG(found.st_mode):
                yield f"{inner}: left alone: neither a file nor a directory"
                continue
            entry = os.open(name, _DIRECTORY if is_directory else _FILE, dir_fd=opened)
        except OSError as problem:
            yield f"{inner}: left alone: {problem.strerror}"
            continue
        try:
            # Asked of what was opened: since it was listed another may have come in its place.
            found = os.fstat(entry)
            if found.st_dev != wanted.device:
                yield f"{inner}: left alone: on another file system"
            elif stat.S_ISDIR(found.st_mode):
                yield from _mend_tree(entry, inner, wanted)
            elif not stat.S_ISREG(found.st_mode):
                yield f"{inner}: left alone: neither a file nor a directory"
            elif found.st_nlink > 1:
                yield f"{inner}: left alone: it has a second name"
            else:
                yield from wanted.change(entry, inner)
        finally:
            os.close(entry)
