"""Which file system a path lies on, and whether other machines may share it.

Linux says so in ``/proc/self/mountinfo`` (proc_pid_mountinfo(5)): per line the mount point in the
fifth field, octal escapes for blanks, and after a lone ``-`` the type. A later line hides an
earlier one of the same mount point.
"""

import os
from collections.abc import Callable
from typing import Final

from ..pattern import pattern

# Types on which machines, or guests and hosts, see one another's writes without sharing memory.
NETWORK_TYPES: Final = frozenset(
    "9p acfs afs beegfs ceph cifs coda dfs gfs gfs2 glusterfs gpfs lustre ncp ncpfs nfs nfs4 ocfs2"
    " orangefs panfs prl_fs pvfs2 smb2 smb3 smbfs vboxsf virtiofs vmhgfs".split()
)

_ESCAPE: Final = pattern(rb"\\([0-7]{3})")
_MOST_LINKS: Final = 40
_MOUNTINFO: Final = "/proc/self/mountinfo"


def parse(text: bytes) -> dict[bytes, str]:
    """Return the file system type of each mount point; lines of another shape are skipped."""
    types = {}
    for line in text.splitlines():
        fields, separator, rest = line.partition(b" - ")
        before, after = fields.split(b" "), rest.split(b" ")
        if separator and len(before) > 4:
            point = _ESCAPE.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), before[4])
            types[point] = after[0].decode("ascii", "replace")
    return types


def type_at(path: bytes, types: dict[bytes, str]) -> str:
    """Return the type of the file system that the absolute, resolved ``path`` lies on, or ''."""
    while path not in types:
        parent = os.path.dirname(path)
        if parent == path:
            return ""
        path = parent
    return types[path]


def is_network_type(name: str) -> bool:
    """Say whether files on this type of file system may be used by several machines.

    Any FUSE file system counts: what is behind it cannot be known, nor whether its locks and shared
    mappings work.
    """
    return name in NETWORK_TYPES or name == "fuse" or name.startswith("fuse.")


def is_network(path: str) -> bool:
    """Say whether ``path``, or the nearest parent that exists, lies on a shared file system.

    That file system is not asked for anything: it may stand still, and whoever asks with it. Where
    mounts cannot be read the answer is no.
    """
    try:
        with open(_MOUNTINFO, "rb") as file:
            types = parse(file.read())
    except OSError:
        return False
    return is_shared(os.path.join(os.getcwdb(), os.fsencode(path)), types, os.readlink)


def is_shared(path: bytes, types: dict[bytes, str], readlink: Callable[[bytes], bytes]) -> bool:
    """Say whether an absolute path lies on a shared file system; ``readlink`` is asked about
    nothing on one, so links there are taken for directories."""

    def shared(place: bytes) -> bool:
        # What is not mounted yet (autofs) is, by whoever asks for it.
        kind = type_at(place, types)
        return is_network_type(kind) or kind == "autofs"

    left = path.split(b"/")[::-1]
    here, links = b"/", 0
    while left:
        name = left.pop()
        if name in (b"", b"."):
            continue
        here = os.path.dirname(here) if name == b".." else os.path.join(here, name)
        if shared(here):
            return shared(os.path.normpath(os.path.join(here, *reversed(left))))
        try:
            target = readlink(here)
        except OSError:  # no link, or not there
            continue
        links += 1
        if links > _MOST_LINKS:
            break
        left += target.split(b"/")[::-1]
        here = b"/" if target[:1] == b"/" else os.path.dirname(here)
    return shared(here)
