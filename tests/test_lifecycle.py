"""The files beside a server's socket."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from pycc import lifecycle
from pycc.lifecycle import Place, listener_from

NAME = "0123456789abcdef-feed"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / NAME).write_text("stands for the socket")
    return tmp_path


@pytest.fixture
def place(directory: Path) -> Place:
    return Place(str(directory / NAME))


def test_the_socket_is_ours_until_its_name_leads_elsewhere(place: Place) -> None:
    assert place.still_ours()
    other = place.directory / "other"
    other.write_text("")
    other.replace(place.socket)
    assert not place.still_ours()
    place.unlink()
    assert place.socket.exists()


def test_a_socket_without_a_name_is_not_ours(directory: Path) -> None:
    assert not Place(str(directory / "none")).still_ours()


def test_our_name_is_taken_away(place: Place) -> None:
    place.unlink()
    assert not place.socket.exists()
    assert not place.still_ours()
    place.unlink()


def test_the_name_goes_under_the_starters_lock(place: Place) -> None:
    fd = os.open(place.lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    thread = threading.Thread(target=place.unlink)
    thread.start()
    thread.join(0.1)
    waited = place.socket.exists()
    os.close(fd)
    thread.join()
    assert waited
    assert not place.socket.exists()


def test_settling_makes_what_a_server_needs(place: Place) -> None:
    place.settle("/opt/bin/pycc-server")
    assert place.temporary.stat().st_mode & 0o777 == 0o700
    assert os.readlink(place.directory / "server") == "/opt/bin/pycc-server"
    place.settle("/usr/bin/pycc-server")
    assert os.readlink(place.directory / "server") == "/usr/bin/pycc-server"
    place.clear()
    assert not place.temporary.exists()


def test_files_of_compiles_lie_in_memory_if_there_is_any(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = directory / "memory"
    memory.mkdir()
    monkeypatch.setattr(lifecycle, "memory_for", lambda _: memory)
    place = Place(str(directory / NAME))
    gone = memory / f"{lifecycle.mark_of(directory)}-gone.1234.tmp"
    gone.mkdir()
    (gone / lifecycle.ABANDONED).touch()
    os.utime(gone / lifecycle.ABANDONED, (0, 0))
    place.settle("/p")
    assert place.temporary.parent == memory
    assert list(memory.iterdir()) == [place.temporary]
    place.clear()
    assert not place.temporary.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_directory_in_memory_that_is_somebody_elses_is_not_used(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "memory_for", lambda _: directory)
    place = Place(str(directory / NAME))
    place.temporary.mkdir()
    os.chown(place.temporary, 54321, -1)
    place.settle("/p")
    assert place.temporary == Path(f"{place.socket}.{os.getpid()}.tmp")
    assert place.temporary.stat().st_uid == 0


def test_threads_that_find_it_swept_agree_on_another(directory: Path) -> None:
    place = Place(str(directory / NAME))
    place.settle("/p")
    place.temporary.rmdir()
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(place.usable_temporary())) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {place.temporary}
    assert place.temporary.is_dir()
    assert place._held >= 0
    place.clear()


def test_memory_is_used_where_it_is_another_file_system(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = {lifecycle.MEMORY.encode(): lifecycle.TMPFS, os.fsencode(directory): 1}
    monkeypatch.setattr(lifecycle, "fs_type", kinds.get)
    monkeypatch.setattr(lifecycle, "MEMORY_FREE", 0)
    assert lifecycle.memory_for(directory) == Path(lifecycle.MEMORY)
    kinds[os.fsencode(directory)] = lifecycle.TMPFS
    assert lifecycle.memory_for(directory) is None
    kinds[os.fsencode(directory)] = kinds[lifecycle.MEMORY.encode()] = 1
    assert lifecycle.memory_for(directory) is None


def test_older_builds_of_the_same_identity_are_asked_to_leave(place: Place) -> None:
    names = ["older-feed", "older-beef", "older-feed.lock", "older-feed.log", "x-feed.tmp"]
    for name in names:
        (place.directory / name).write_text("")
    place.settle("/p")
    left = {path.name for path in place.directory.iterdir()}
    assert left >= {NAME, "older-beef", "older-feed.lock", "older-feed.log"}
    assert "older-feed" not in left


def test_what_dead_servers_left_is_removed_an_hour_later(place: Place) -> None:
    gone = place.directory / "older-feed.1234.tmp"
    elsewhere = place.directory / "older-beef.1234.tmp"
    for path in (gone, elsewhere):
        path.mkdir()
        (path / "f").write_text("")
    for age, exists in ((0, True), (3500, True), (3700, False)):
        if age:
            for path in (gone, elsewhere):
                os.utime(path / lifecycle.ABANDONED, (time.time() - age,) * 2)
        place.settle("/p")
        assert [path.exists() for path in (gone, elsewhere)] == [exists] * 2


def test_what_another_server_uses_is_left_alone(place: Place, directory: Path) -> None:
    (directory / "other-beef").write_text("")
    other = Place(str(directory / "other-beef"))
    other.settle("/p")
    place.settle("/p")
    assert other.temporary.exists()
    other.clear()


def test_a_link_in_place_of_a_directory_is_not_followed(place: Place, directory: Path) -> None:
    (directory / "precious").mkdir()
    (directory / "precious" / "f").write_text("")
    (directory / "x.tmp").symlink_to("precious")
    place.settle("/p")
    assert (directory / "precious" / "f").exists()


@pytest.mark.parametrize(("size", "left"), [(100, 100), (lifecycle.LOG_LIMIT + 1, 0)])
def test_a_long_log_starts_anew(place: Place, size: int, left: int) -> None:
    place.log.write_bytes(bytes(size))
    place.settle("/p")
    assert place.log.stat().st_size == left


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, {}),
        (b"", {}),
        (b"server_gone\n", {"server_gone": 1}),
        (b"a\nb\na\n", {"a": 2, "b": 1}),
        (b"Bad na-me\n../x\n\xff\nok\n" + b"x" * 41, {"ok": 1}),
    ],
)
def test_fallbacks_are_taken_once(
    place: Place, text: bytes | None, expected: dict[str, int]
) -> None:
    if text is not None:
        place.fallbacks.write_bytes(text)
    assert place.take_fallbacks() == expected
    assert place.take_fallbacks() == {}
    assert not place.fallbacks.exists()


def test_the_listener_is_the_one_that_was_passed_on(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
        made.listen()
        with listener_from(os.dup(made.fileno())) as passed:
            assert passed.getsockname() == str(tmp_path / "s")
