"""A directory as remote storage: layouts, modes, and several users in one."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pycc.cache import remote_file
from pycc.cache.remote_backend import StorageFailed, StorageRefused
from pycc.cache.remote_file import FileBackend
from pycc.cache.remote_settings import parse_storages
from pycc.errors import ConfigError
from tests.storage_kit import digest

OLD = 1_600_000_000


def backend(directory: Path, words: str = "", umask: int = 0o022) -> FileBackend:
    (settings,) = parse_storages(f"file:{directory} {words}")
    return FileBackend(settings.shards[0].url, settings, umask)


def quietly(_: str) -> None:
    pass


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("words", "dirs", "files"), [("", 0o750, 0o640), ("@umask=2", 0o775, 0o664)]
)
def test_modes_are_by_the_umask_of_the_call_or_the_setting(
    tmp_path: Path, words: str, dirs: int, files: int
) -> None:
    one = backend(tmp_path / "r", words, umask=0o027)
    assert one.put(digest(1), b"x", quietly, overwrite=True)
    (path,) = (tmp_path / "r").glob("??/*")
    assert (mode(path.parent), mode(path)) == (dirs, files)
    assert mode(tmp_path / "r/CACHEDIR.TAG") == files


def test_what_is_there_is_kept_on_request(tmp_path: Path) -> None:
    one = backend(tmp_path / "r")
    assert one.put(digest(1), b"x", quietly, overwrite=False)
    assert not one.put(digest(1), b"y", quietly, overwrite=False)
    assert one.get(digest(1), quietly) == b"x"
    assert one.put(digest(1), b"y", quietly, overwrite=True)
    assert one.get(digest(1), quietly) == b"y"
    assert one.remove(digest(1), quietly)
    assert not one.remove(digest(1), quietly)
    assert one.get(digest(1), quietly) is None


def test_reading_may_leave_a_trace(tmp_path: Path) -> None:
    for words, touched in [("", False), ("@update-mtime", True)]:
        one = backend(tmp_path / "r", f"{words} @layout=flat")
        one.put(digest(1), b"x", quietly, overwrite=True)
        path = tmp_path / "r" / digest(1).hex()
        os.utime(path, (OLD, OLD))
        one.get(digest(1), quietly)
        assert (path.stat().st_mtime != OLD) == touched


def test_an_entry_that_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = backend(tmp_path / "r")
    one.put(digest(1), b"x" * 100, quietly, overwrite=True)
    monkeypatch.setattr(remote_file, "LARGEST", 99)
    assert one.get(digest(1), quietly) == b""


def test_a_file_system_that_stands_still_is_not_awaited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_file, "is_network", lambda _: True)
    one = backend(tmp_path / "r", "data-timeout=100ms")
    assert one.put(digest(1), b"x", quietly, overwrite=True)
    assert one.get(digest(1), quietly) == b"x"
    gate = threading.Event()
    monkeypatch.setattr(one, "_read", lambda *_: gate.wait(10))
    with pytest.raises(StorageFailed, match="does not answer") as problem:
        one.get(digest(1), quietly)
    assert problem.value.timeout
    gate.set()


def test_what_waits_in_vain_for_a_file_system_does_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_file, "is_network", lambda _: True)
    monkeypatch.setattr(remote_file, "MOST_LEFT", 2)
    one = backend(tmp_path / "r", "data-timeout=50ms")
    gate, asked = threading.Event(), threading.Semaphore(10)
    monkeypatch.setattr(one, "_read", lambda *_: asked.acquire() and gate.wait(10))
    for _ in range(5):
        with pytest.raises(StorageFailed, match="does not answer"):
            one.get(digest(1), quietly)
    assert asked._value == 8
    gate.set()


def test_one_entry_that_cannot_be_read_is_no_reason_to_ask_for_no_other(tmp_path: Path) -> None:
    one = backend(tmp_path / "r", "@layout=flat")
    one.put(digest(1), b"x", quietly, overwrite=True)
    (tmp_path / "r" / digest(2).hex()).symlink_to(digest(2).hex())
    said: list[str] = []
    assert one.get(digest(2), said.append) == b""
    assert "Too many levels of symbolic links" in said[0]
    assert one.get(digest(1), quietly) == b"x"


def test_a_path_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="invalid file URL"):
        backend(tmp_path / "r%00")


def test_a_link_in_place_of_a_directory_that_was_just_made_changes_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By somebody who may write into the shared directory."""
    private = tmp_path / "private"
    private.mkdir(0o700)
    (tmp_path / "r").mkdir()
    mkdir = os.mkdir

    def exchanged(path: str, mode: int = 0o777) -> None:
        mkdir(path, mode)
        os.rmdir(path)
        os.symlink(private, path)

    monkeypatch.setattr(os, "mkdir", exchanged)
    with pytest.raises(StorageRefused):
        backend(tmp_path / "r", "@umask=0").put(digest(1), b"x", quietly, overwrite=True)
    assert mode(private) == 0o700


@contextmanager
def as_user(number: int, group: int) -> Iterator[None]:
    groups = os.getgroups()
    os.setgroups([group])
    os.setegid(number)
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_two_users_share_a_directory() -> None:
    """With a umask that lets the group write, in a directory that hands its group down."""
    place = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        place.chmod(0o755)
        shared = place / "shared"
        shared.mkdir()
        os.chown(shared, 0, 60000)
        shared.chmod(0o2775)
        one = backend(shared, "@umask=002")
        keys = [bytes((number,)) * 32 for number in range(3)]
        with as_user(65534, 60000):
            for key in keys[:2]:
                assert one.put(key, b"a", quietly, overwrite=True)
        with as_user(65533, 60000):
            assert one.get(keys[0], quietly) == b"a"
            for key in (keys[0], keys[2]):
                assert one.put(key, b"b", quietly, overwrite=True)
        with as_user(65534, 60000):
            assert [one.get(key, quietly) for key in keys] == [b"b", b"a", b"b"]
        with as_user(65532, 65532), pytest.raises(StorageRefused, match="Permission denied"):
            one.put(keys[0], b"c", quietly, overwrite=True)
        with as_user(65532, 65532):
            assert one.get(keys[0], quietly) == b"b"
    finally:
        shutil.rmtree(place)
