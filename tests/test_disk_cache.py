"""What the library does for the local store, and who does without it."""

import os
from contextlib import closing
from pathlib import Path

import diskcache
import pytest

from pycc.cache import value_files
from pycc.cache.disk_cache import BytesDisk
from pycc.cache.storage_local import open_local
from tests.storage_kit import Clock, key, start, value

SLOW_TO_LOAD = {"diskcache", "pickle", "shutil", "tempfile"}

IMPORT = """
import sys
before = set(sys.modules)
import pycc.cache.storage_local
print(*sorted(set(sys.modules) - before))
"""

READ = """
import sys
before = set(sys.modules)
from pycc.cache.storage_local import open_local
storage = open_local(sys.argv[1])
for text in sys.argv[2:]:
    value = storage.get(bytes.fromhex(text))
    assert value is not None, storage.counts
    storage.touch(bytes.fromhex(text))
assert storage.flush(), storage.counts
storage.close()
assert not storage.counts.take()
print(*sorted(set(sys.modules) - before))
"""


def loaded(code: str, *arguments: str) -> set[str]:
    """Return what another Python has loaded at the end of ``code``."""
    process = start(code, *arguments)
    output = process.communicate()[0]
    assert process.returncode == 0
    return set(output.decode().split())


def test_the_local_store_is_imported_without_what_is_slow_to_load() -> None:
    modules = loaded(IMPORT)
    assert "pycc.cache.local_database" in modules
    assert not modules & SLOW_TO_LOAD


@pytest.mark.parametrize("size", [2000, 100_000], ids=["row", "file"])
def test_an_entry_is_read_and_touched_without_the_library(size: int, tmp_path: Path) -> None:
    clock = Clock()
    with closing(open_local(str(tmp_path), clock=clock)) as storage:
        for number in (1, 2):
            assert storage.set(key(number), value(number, size))
    modules = loaded(READ, str(tmp_path), key(1).hex())
    assert "pycc.cache.local_database" in modules
    assert not modules & (SLOW_TO_LOAD | {"pycc.cache.disk_cache"})
    with closing(open_local(str(tmp_path), clock=clock)) as storage:
        assert storage.evict_older_than(-1).entries == 1
        assert storage.get(key(1)) == value(1, size)


def test_modes_are_called_as_the_library_calls_them() -> None:
    assert diskcache.core.MODE_RAW == value_files.MODE_RAW
    assert diskcache.core.MODE_BINARY == value_files.MODE_BINARY


@pytest.mark.parametrize("size", [0, 65_535, 65_536])
def test_the_library_stores_and_finds_bytes_as_we_do(size: int, tmp_path: Path) -> None:
    disk = BytesDisk(str(tmp_path))
    charged, mode, filename, in_row = disk.store(value(1, size), read=False)
    assert charged == value_files.charge(size)
    assert (filename is None) == (size < value_files.MIN_FILE_SIZE)
    assert disk.fetch(mode, filename, in_row, read=False) == value(1, size)
    if filename is not None:
        assert value_files.ValueFiles(str(tmp_path), None).read(filename) == value(1, size)
        disk.remove(filename)
        assert not os.path.exists(tmp_path / filename)


def test_the_library_itself_reads_what_we_stored(tmp_path: Path) -> None:
    with closing(open_local(str(tmp_path))) as storage:
        for number, size in ((1, 2000), (2, 100_000)):
            for _ in range(2):
                assert storage.set(key(number), value(number, size))
    (generation,) = tmp_path.glob("pycc/1/db-*")
    with closing(diskcache.Cache(str(generation), disk=BytesDisk)) as cache:
        assert len(cache) == 2
        assert cache[key(1).hex()].endswith(value(1, 2000))
        assert cache[key(2).hex()].endswith(value(2, 100_000))
