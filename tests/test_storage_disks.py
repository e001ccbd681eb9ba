"""What dead writers leave, full and read-only disks, and several users of one store."""

import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from pycc.cache.storage import Totals
from pycc.cache.storage_files import open_files
from pycc.cache.storage_local import open_local
from tests.daemon_kit import open_place
from tests.mounting import UNSHARE, need_private_mounts
from tests.storage_faults_kit import (  # noqa: F401
    LARGE,
    SMALL,
    as_root,
    assert_usable,
    copy,
    database_of,
    fill,
    filled,
    read_all,
    size_of,
    template,
)
from tests.storage_kit import ROOT, key, start, value

# ruff: noqa: F811

# What dead writers leave.


def test_orphans_are_swept_when_they_are_old(filled: Path) -> None:
    root = filled / "pycc/1"
    generation = database_of(filled).parent
    known = sorted(filled.rglob("*.val"))
    old, young = generation / "ab/cd/old.val", generation / "ab/cd/young.val"
    half_built, half_gone = root / ("new-" + "0" * 16), root / ("gone-" + "1" * 16)
    lower = root / "db-1"
    old.parent.mkdir(parents=True, exist_ok=True)
    for path in (old, young):
        path.write_bytes(b"orphan")
    for path in (half_built, half_gone, lower):
        (path / "ab").mkdir(parents=True)
    long_ago = time.time() - 7200
    for path in (old, half_built, half_gone, *known):
        os.utime(path, (long_ago, long_ago))
    with closing(open_local(str(filled))) as storage:
        storage.cleanup()
        assert read_all(storage) == 44
    assert sorted(filled.rglob("*.val")) == sorted([*known, young])
    assert sorted(path.name for path in root.iterdir()) == [generation.name, "lock"]


def test_temporary_files_of_the_file_store_are_swept_when_they_are_old(tmp_path: Path) -> None:
    storage = open_files(str(tmp_path))
    storage.set(key(1), value(1))
    (entry,) = (path for path in tmp_path.rglob("R*") if path.is_file())
    old, young = (entry.with_name(f"{entry.name}.{n}.tmp") for n in (1, 2))
    old.write_bytes(b"")
    young.write_bytes(b"")
    os.utime(old, (1, 1))
    storage.cleanup()
    assert sorted(entry.parent.iterdir()) == sorted([entry, young])


def test_space_is_given_back_by_cleanup(tmp_path: Path) -> None:
    storage = open_local(str(tmp_path))
    for number in range(400):
        storage.set(key(number), value(number, 10_000))
    storage.set_limits(0, 40)
    storage.cleanup()
    assert database_of(tmp_path).stat().st_size < 1_500_000
    assert storage.totals().entries <= 40


# Disks.


def in_private_mounts(script: str, code: str, *arguments: str) -> str:
    """Run ``code`` in Python after ``script`` in sh, in a mount namespace of their own."""
    need_private_mounts()
    command = [*UNSHARE, "sh", "-ec", script + '\nexec "$@"', "sh", sys.executable]
    return subprocess.run(
        [*command, "-c", code, *arguments],
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


FULL = """
import sys
from tests.storage_kit import key, value
from pycc.cache.statistics import Statistics
from pycc.cache.storage_local import open_local
from pycc.cache.storage_files import open_files
opener = {"local": open_local, "files": open_files}[sys.argv[2]]
size = int(sys.argv[3])
storage = opener(sys.argv[1])
stored = [n for n in range(300) if storage.set(key(n), value(n, size))]
assert 3 < len(stored) < 300, stored
assert storage.counts["full"], storage.counts
statistics = Statistics(sys.argv[1])
statistics.add({"cache_miss": 1})
statistics.flush()
for n in range(300):
    assert storage.get(key(n)) == (value(n, size) if n in stored else None), n
    storage.touch(key(n))
storage.flush()
fresh = opener(sys.argv[1])
assert fresh.get(key(stored[0])) == value(stored[0], size)
fresh.close()
storage.cleanup()
storage.clear()
assert storage.set(key(1), value(1, size)), storage.counts
assert storage.get(key(1)) == value(1, size)
assert statistics.flush()
print("ok")
"""


@as_root
@pytest.mark.parametrize("tier", ["local", "files"])
@pytest.mark.parametrize("size", [20_000, 200_000])
def test_a_full_disk_is_counted_and_survived(tier: str, size: int, tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=4m tmpfs {tmp_path}"
    assert in_private_mounts(mount, FULL, str(tmp_path), tier, str(size)) == "ok\n"


FULL_FROM_THE_START = """
import sys
from tests.storage_kit import key
from pycc.cache.storage_local import open_local
storage = open_local(sys.argv[1] + "/cache")
assert storage.get(key(1)) is None
assert not storage.set(key(1), b"1")
assert storage.counts["full"], storage.counts
storage.close()
print("ok")
"""


@as_root
def test_a_disk_too_full_to_make_a_database_is_survived(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=64k tmpfs {tmp_path}"
    assert in_private_mounts(mount, FULL_FROM_THE_START, str(tmp_path)) == "ok\n"


READ_ONLY = """
import sys
from tests.storage_kit import key, value
from pycc.cache.statistics import Statistics
from pycc.cache.storage_local import open_local
storage = open_local(sys.argv[1])
assert storage.get(key(1)) == value(1, 400), storage.counts
assert storage.get(key(40)) == value(40, 100_000)
assert storage.totals().entries == 44
assert storage.alive()
storage.touch(key(1))
storage.flush()
assert not storage.set(key(1), b"")
assert storage.get(key(1)) == value(1, 400)
storage.cleanup()
statistics = Statistics(sys.argv[1])
statistics.add({"cache_miss": 1})
assert not statistics.flush()
assert statistics.read()["cache_miss"] == 1
print("ok")
"""


@as_root
def test_a_cache_on_a_read_only_mount_is_read(filled: Path) -> None:
    mount = f"mount --bind {filled} {filled}\nmount -o remount,ro,bind {filled}"
    assert in_private_mounts(mount, READ_ONLY, str(filled)) == "ok\n"


@as_root
def test_a_cache_that_others_write_to_is_read_through_a_read_only_mount(filled: Path) -> None:
    writer = open_local(str(filled))
    assert writer.set(key(1), value(1, 400))
    mount = f"mount --bind {filled} {filled}\nmount -o remount,ro,bind {filled}"
    assert in_private_mounts(mount, READ_ONLY, str(filled)) == "ok\n"
    writer.close()


def test_a_reader_without_rights_follows_a_writer(filled: Path) -> None:
    reader = open_local(str(filled), read_only=True)
    assert reader.get(key(1)) is not None
    writer = open_local(str(filled))
    assert writer.set(key(1), b"changed")
    assert not reader.alive()
    got = reader.get(key(1))
    assert got is None or got in (b"changed", value(1, size_of(1)))
    assert writer.totals() == Totals(*(writer.totals().size, 44))


# Users.

MEMBER = """
import os, sys
from tests.storage_kit import key, value
from pycc.cache.statistics import Statistics
from pycc.cache.storage_local import open_local
from pycc.cache.storage_files import open_files
from pycc.cache import disk_cache  # what a store would load only then
# After the imports: the interpreter itself may be out of the user's reach.
os.setgroups([4242])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
os.umask(0o077)
base = int(sys.argv[2])
for opener in open_local, open_files:
    storage = opener(sys.argv[1], umask=0o002)
    for n in range(base, base + 30):
        assert storage.set(key(n), value(n, 100_000 if n % 3 else 100)), storage.counts
    for n in map(int, sys.argv[3:]):
        assert storage.get(key(n)) == value(n, 100_000 if n % 3 else 100), n
        storage.touch(key(n))
    assert storage.flush()
    for n in map(int, sys.argv[3:]):
        assert storage.set(key(n), b"mine"), storage.counts
        assert storage.set(key(n), value(n, 100_000 if n % 3 else 100)), storage.counts
    if len(sys.argv) > 4:
        assert storage.delete(key(int(sys.argv[3])))
        assert storage.clear().entries, storage.counts
    assert not storage.counts.take()
    storage.close()
statistics = Statistics(sys.argv[1], umask=0o002)
statistics.add({"cache_miss": 1})
assert statistics.flush()
print(statistics.read()["cache_miss"])
"""


@as_root
def test_members_of_a_group_share_a_cache() -> None:
    with open_place() as place:
        directory = place / "cache"
        directory.mkdir()
        os.chown(directory, 0, 4242)
        directory.chmod(0o2775)
        counted = []
        for user, others in ((4301, []), (4302, [4301, 4302]), (4303, []), (0, [])):
            arguments = [str(directory), str(user), *map(str, others)]
            code = MEMBER if user else MEMBER.replace("os.setgroups([4242])", "")
            process = start(code, *arguments)
            counted.append(process.communicate()[0])
            assert process.returncode == 0, user
        assert counted == [b"1\n", b"2\n", b"3\n", b"4\n"]
        for path in (directory, *directory.rglob("*")):
            assert path.stat().st_gid == 4242, path
            assert path.stat().st_mode & 0o060 == 0o060, path


"""Every path in a shared cache is the group's and writable by it."""
