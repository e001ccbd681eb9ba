"""Network file systems are recognised by the mount that a path lies on."""

import pytest

from pycc.cache.mounts import is_network, is_network_type, is_shared, parse, type_at

MOUNTS = rb"""22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:27 / /home rw - nfs4 server:/home rw
31 30 0:28 / /home/me/scratch rw shared:5 - xfs /dev/sdb1 rw
32 22 0:29 / /with\040blank rw - cifs //host/share rw
33 22 0:30 / /twice rw - ext4 /dev/sdc rw
34 33 0:31 / /twice rw - fuse.sshfs host: rw
a line of another shape
35 22 0:32 / /short
"""


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"/", "ext4"),
        (b"/home", "nfs4"),
        (b"/home/me", "nfs4"),
        (b"/homes", "ext4"),
        (b"/home/me/scratch/cache", "xfs"),
        (b"/with blank/x", "cifs"),
        (b"/twice/x", "fuse.sshfs"),
    ],
)
def test_the_innermost_mount_counts(path: bytes, name: str) -> None:
    assert type_at(path, parse(MOUNTS)) == name


def test_without_mounts_there_is_no_type() -> None:
    assert type_at(b"/a/b", {}) == ""


@pytest.mark.parametrize("name", ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse", "fuse.x"])
def test_shared_types(name: str) -> None:
    assert is_network_type(name)


@pytest.mark.parametrize("name", ["", "ext4", "xfs", "btrfs", "tmpfs", "overlay", "fuseblk", "zfs"])
def test_local_types(name: str) -> None:
    assert not is_network_type(name)


def test_proc_is_local() -> None:
    assert not is_network("/proc/no/such/path")


LINKS = {b"/l": b"home/me", b"/local": b"/l/scratch/cache/../cache/x", b"/circle": b"/circle"}


@pytest.mark.parametrize(
    ("path", "shared"),
    [
        (b"/", False),
        (b"/homes/x", False),
        (b"/home/me/x", True),
        (b"/home/me/scratch/cache/x", False),
        (b"/l/x", True),
        (b"/l/../x", True),
        (b"/local", False),
        (b"/x/../l", True),
        (b"/circle/x", False),
        (b"/auto/x", True),
    ],
)
def test_a_shared_file_system_is_known_without_asking_it(path: bytes, shared: bool) -> None:
    types = {**parse(MOUNTS), b"/auto": "autofs"}

    def readlink(asked: bytes) -> bytes:
        assert not is_network_type(type_at(asked, types))
        if asked not in LINKS:
            raise FileNotFoundError
        return LINKS[asked]

    assert is_shared(path, types, readlink) == shared
