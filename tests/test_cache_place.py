"""The cache's directory: what is made, given away, left alone and mended."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycc.remote.cache_place import mend, obstacle, prepare, umask_for
from pycc.remote.privileges import User, current_user
from tests.daemon_kit import open_place

NOBODY = User("nobody", 65534, 65534, (65534,))
SHARED_GROUP = 12345
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")


def facts(path: Path) -> tuple[int, int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


@pytest.fixture
def place() -> Iterator[Path]:
    with open_place() as place:
        yield place


def as_user(user: User, directory: Path) -> str:
    """What `obstacle` says to a process that is ``user``; empty if nothing."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups(user.groups)
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
        os.write(writer, str(obstacle(str(directory), user) or "").encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.parametrize(
    ("mode", "umask"),
    [
        (0o700, None),
        (0o755, None),
        (0o2755, None),
        (0o2775, 0o002),
        (0o2770, 0o007),
        (0o775, 0o002),
        (0o777, 0o002),
        (0o2773, 0o006),
    ],
)
def test_the_umask_is_what_the_directory_shares(mode: int, umask: int | None) -> None:
    assert umask_for(mode) == umask


@needs_root
def test_what_is_missing_is_made_and_given_away(place: Path) -> None:
    made = prepare(str(place / "a/b/cache"), NOBODY)
    assert facts(place / "a/b") == (0, 0, 0o755)
    assert facts(place / "a/b/cache") == (65534, 65534, 0o700)
    assert facts(place / "a/b/cache/pycc") == (65534, 65534, 0o700)
    assert [os.path.basename(path) for path in made.made] == ["a", "b", "cache", "pycc"]
    assert made.umask is None
    assert as_user(NOBODY, place / "a/b/cache") == ""


@needs_root
def test_an_existing_directory_stays_as_it_is(place: Path) -> None:
    cache = place / "cache"
    cache.mkdir()
    os.chown(cache, 0, SHARED_GROUP)
    cache.chmod(0o2775)
    made = prepare(str(cache), NOBODY)
    assert facts(cache) == (0, SHARED_GROUP, 0o2775)
    assert facts(cache / "pycc") == (65534, SHARED_GROUP, 0o2775)
    assert made.umask == 0o002
    assert as_user(NOBODY, cache) == ""


@needs_root
def test_our_existing_directory_stays_as_it_is(place: Path) -> None:
    (place / "pycc").mkdir(mode=0o750)
    before = facts(place / "pycc")
    assert prepare(str(place), NOBODY).made == ()
    assert facts(place / "pycc") == before
    assert "cannot be written by nobody; run pyccd --fix-permissions" in as_user(NOBODY, place)


@needs_root
def test_a_directory_of_a_group_that_the_user_is_not_in(place: Path) -> None:
    cache = place / "cache"
    cache.mkdir()
    os.chown(cache, 0, SHARED_GROUP)
    cache.chmod(0o2770)
    prepare(str(cache), NOBODY)
    said = as_user(NOBODY, cache)
    assert f"{cache} (root:{SHARED_GROUP} 2770) cannot be entered by nobody" in said
    assert f"usermod -a -G {SHARED_GROUP} nobody" in said
    assert facts(cache) == (0, SHARED_GROUP, 0o2770)
    member = User("nobody", 65534, 65534, (SHARED_GROUP, 65534))
    assert as_user(member, cache) == ""


@needs_root
def test_a_shared_store_of_others_names_the_group(place: Path) -> None:
    (place / "pycc").mkdir()
    os.chown(place / "pycc", 0, SHARED_GROUP)
    (place / "pycc").chmod(0o2775)
    said = as_user(NOBODY, place)
    assert f"who is not in the group {SHARED_GROUP}" in said


def test_a_link_in_our_directorys_place_is_not_followed(place: Path) -> None:
    (place / "elsewhere").mkdir()
    cache = place / "cache"
    cache.mkdir()
    (cache / "pycc").symlink_to(place / "elsewhere")
    before = facts(place / "elsewhere")
    with pytest.raises(OSError, match="pycc"):
        prepare(str(cache), current_user())
    assert facts(place / "elsewhere") == before
    assert "is a symbolic link" in str(obstacle(str(cache), current_user()))


def test_a_link_on_the_way_leads_on(place: Path) -> None:
    (place / "real").mkdir()
    (place / "link").symlink_to(place / "real")
    prepare(str(place / "link/cache"), None)
    assert (place / "real/cache/pycc").is_dir()


def test_a_file_in_the_way_is_an_error(place: Path) -> None:
    (place / "cache").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        prepare(str(place / "cache"), None)


@pytest.mark.parametrize("path", ["cache", "/dev/null/.cache/x", "/proc/cache"])
def test_where_nothing_can_be_made(path: str) -> None:
    with pytest.raises(OSError, match=r".+"):
        prepare(path, None)


def test_what_was_replaced_while_it_was_made_is_not_given_away(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "theirs").mkdir()
    (place / "theirs/secret").write_text("x")
    (place / "theirs").chmod(0o711)
    real = os.mkdir

    def swapped(path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        if path != "pycc":
            real(path, mode, dir_fd=dir_fd)
            return
        (place / "theirs").rename(place / "cache/pycc")

    (place / "cache").mkdir()
    monkeypatch.setattr(os, "mkdir", swapped)
    with pytest.raises(OSError, match="was replaced"):
        prepare(str(place / "cache"), current_user())
    assert stat.S_IMODE((place / "cache/pycc").stat().st_mode) == 0o711


@needs_root
def test_mending_gives_our_tree_to_the_user_and_nothing_else(place: Path) -> None:
    ours = place / "pycc"
    (ours / "1/db-1").mkdir(parents=True)
    (ours / "1/db-1/cache.db").write_text("x")
    (ours / "1/db-1/cache.db").chmod(0o400)
    secret = place / "secret"
    secret.write_text("x")
    os.link(secret, ours / "second")
    (ours / "link").symlink_to(secret)
    os.mkfifo(ours / "pipe")
    before = facts(secret), facts(place), (ours / "pipe").lstat().st_uid
    said = list(mend(prepare(str(place), NOBODY), NOBODY))
    assert (facts(secret), facts(place), (ours / "pipe").lstat().st_uid) == before
    for path in (ours, ours / "1", ours / "1/db-1", ours / "1/db-1/cache.db"):
        assert facts(path)[:2] == (65534, 65534)
        assert f"{path}: given to nobody:nogroup" in said
    assert facts(ours / "1/db-1/cache.db")[2] == 0o600
    assert f"{ours}/second: left alone: it has a second name" in said
    assert f"{ours}/link: left alone: neither a file nor a directory" in said
    assert f"{ours}/pipe: left alone: neither a file nor a directory" in said
    assert as_user(NOBODY, place) != ""  # what could not be mended
    for name in ("second", "link", "pipe"):
        (ours / name).unlink()
    assert as_user(NOBODY, place) == ""
    assert list(mend(prepare(str(place), NOBODY), NOBODY)) == []


@needs_root
def test_mending_a_shared_cache_keeps_its_owners(place: Path) -> None:
    os.chown(place, 0, SHARED_GROUP)
    place.chmod(0o2775)
    member = User("nobody", 65534, 65534, (SHARED_GROUP, 65534))
    ours = Path(prepare(str(place), member).root)
    (ours / "file").write_text("x")
    os.chown(ours / "file", 4711, 4711)
    (ours / "file").chmod(0o600)
    list(mend(prepare(str(place), member), member))
    assert facts(ours / "file") == (4711, SHARED_GROUP, 0o664)
    assert facts(place) == (0, SHARED_GROUP, 0o2775)
