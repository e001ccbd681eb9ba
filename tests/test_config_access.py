"""The disk as configuration uses it: what is read, what is refused, how a file is replaced."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pycc import config
from pycc.config_access import MAX_FILE_SIZE, RealFiles
from pycc.errors import ConfigError

FILES = RealFiles()


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 100_000)
    assert FILES.read(str(tmp_path / "f")) == b"x" * 100_000


def test_a_name_that_is_not_utf8_is_read(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff"
    Path(os.fsdecode(path)).write_bytes(b"x")
    assert FILES.read(os.fsdecode(path)) == b"x"


@pytest.mark.parametrize("path", ["/nowhere/x", "/", "/dev/zero", "a\0b", ""])
def test_what_is_no_file_is_not_read(path: str) -> None:
    assert FILES.read(path) is None


def test_a_pipe_without_a_writer_does_not_stop_us(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert FILES.read(str(tmp_path / "pipe")) is None


def test_an_enormous_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.touch()
    os.truncate(path, MAX_FILE_SIZE + 1)
    assert FILES.read(str(path)) is None


@pytest.mark.parametrize("path", ["/nowhere/x", "a\0b"])
def test_what_is_absent_is_nothing(path: str) -> None:
    answers = (FILES.stat(path), FILES.exists(path), FILES.writable(path))
    assert answers == (None, False, False)


def test_a_replaced_file_and_its_directories_follow_the_umask_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.conf"
    FILES.replace(str(path), b"x", 0o002)
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (path, path.parent, path.parent.parent)]
    assert (path.read_bytes(), modes) == (b"x", [0o664, 0o775, 0o775])


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    FILES.replace(str(tmp_path / "link"), b"new", 0o022)
    assert ((tmp_path / "link").is_symlink(), (tmp_path / "real").read_bytes()) == (True, b"new")


def test_no_temporary_file_is_left_when_a_replacement_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(ConfigError, match=r"failed to write to .*c: No space left on device"):
        config.set_value(str(tmp_path / "c"), "stats", "true")
    assert list(tmp_path.iterdir()) == []


def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="Not a regular file"):
        config.set_value(str(tmp_path / "pipe"), "stats", "true")


def test_a_real_configuration_is_loaded(tmp_path: Path) -> None:
    (tmp_path / ".config" / "ccache").mkdir(parents=True)
    (tmp_path / ".config" / "ccache" / "ccache.conf").write_text("namespace = real")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "ccache.conf").write_text("debug = true")
    environment = {b"HOME": os.fsencode(tmp_path), b"CCACHE_CONFIGPATH2": b"/nowhere"}
    found = config.load(environment, os.fsencode(tmp_path / "project"))
    assert (found.namespace, found.debug) == ("real", True)
