"""A filled store to damage, and what must hold of it afterwards."""

import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from pycc.cache.storage_local import LocalStorage, open_local
from tests.storage_kit import key, value

SMALL, LARGE = range(40), range(40, 44)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def size_of(number: int) -> int:
    return 100_000 if number in LARGE else 100 + 300 * (number % 20)


def fill(directory: Path) -> None:
    with closing(open_local(str(directory))) as storage:
        for number in (*SMALL, *LARGE):
            assert storage.set(key(number), value(number, size_of(number)))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("template") / "cache"
    fill(directory)
    return directory


@pytest.fixture
def filled(template: Path, tmp_path: Path) -> Path:
    return copy(template, tmp_path / "cache")


def copy(template: Path, directory: Path) -> Path:
    shutil.copytree(template, directory)
    return directory


def database_of(directory: Path) -> Path:
    (path,) = directory.glob("pycc/1/db-*/cache.db")
    return path


def read_all(storage: LocalStorage) -> int:
    """Return how many entries are found; fails if any is wrong."""
    found = 0
    for number in (*SMALL, *LARGE):
        got = storage.get(key(number))
        if got is not None:
            assert got == value(number, size_of(number))
            found += 1
    return found


def assert_usable(storage: LocalStorage) -> None:
    """A store that was damaged works again after at most two stores."""
    for _ in range(2):
        storage.set(key(1000), b"one")
    assert storage.set(key(1001), b"two")
    assert storage.get(key(1001)) == b"two"
