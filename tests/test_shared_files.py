"""Files that a group may share are complete, have the right mode and leave nothing behind."""

import os
import stat
from pathlib import Path

import pytest

from pycc.cache import shared_files


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_directories_are_made_with_all_their_parents(tmp_path: Path) -> None:
    shared_files.make_directories(str(tmp_path / "a/b/c"), 0o002)
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/c")] == [0o775] * 3


def test_a_directory_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o700)
    shared_files.make_directories(str(tmp_path / "a"), 0o002)
    assert mode(tmp_path / "a") == 0o700


def test_the_setgid_bit_is_handed_down(tmp_path: Path) -> None:
    tmp_path.chmod(0o2755)
    shared_files.make_directories(str(tmp_path / "a/b"), 0o022)
    assert mode(tmp_path / "a/b") == 0o2755


def test_a_file_in_a_directory_s_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(OSError, match="a"):
        shared_files.make_directories(str(tmp_path / "a/b"), 0o022)


def test_replacing_leaves_one_file_with_the_new_content(tmp_path: Path) -> None:
    for data in (b"old", b"new"):
        shared_files.replace(str(tmp_path / "file"), data, 0o022)
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_replacement_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file/full").mkdir(parents=True)
    with pytest.raises(OSError, match="file"):
        shared_files.replace(str(tmp_path / "file"), b"data", None)
    assert os.listdir(tmp_path) == ["file"]


def test_a_new_file_never_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="link"):
        shared_files.write_new(str(tmp_path / "link"), b"data", None)
    assert not (tmp_path / "target").exists()


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with (
        shared_files.locked(path, None) as first,
        shared_files.locked(path, None, 0.01) as second,
    ):
        assert (first, second) == (True, False)
    with shared_files.locked(path, None, 0.01) as third:
        assert third


def test_a_lock_that_cannot_be_opened_is_not_held(tmp_path: Path) -> None:
    with shared_files.locked(str(tmp_path / "no/lock"), None) as held:
        assert not held


def test_the_lock_file_has_the_group_s_mode(tmp_path: Path) -> None:
    with shared_files.locked(str(tmp_path / "lock"), 0o002):
        assert mode(tmp_path / "lock") == 0o664
