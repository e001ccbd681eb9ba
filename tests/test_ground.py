"""What is shown of this machine, and what it answers about places."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pycc import native
from pycc.cache.digest import FileDigests, digest_of
from pycc.remote import ground
from pycc.remote.client_view import is_below
from pycc.remote.exact_root import Ground, Kind, Questions


def test_this_machine_shows_its_compilers_and_nothing_private() -> None:
    found = ground.find()
    shown = (*found.trees, *found.links)
    for path in (b"/usr/bin", b"/usr/include"):
        assert found.tree_of(path) == path
    for path in (b"/home", b"/root", b"/var", b"/run", b"/etc", b"/proc", b"/usr/src", b"/tmp"):
        assert not any(is_below(one, path) and path != b"/etc" for one in shown)
        assert found.tree_of(path) is None
    assert {one for one in shown if is_below(one, b"/etc")} <= set(ground._MORE)
    assert not any(a != b and is_below(a, b) for a in found.trees for b in found.trees)
    assert b"/dev/null" in found.nodes
    assert all(os.readlink(link) == target for link, target in found.links.items())


def test_more_compilers_are_shown_on_demand(tmp_path: Path) -> None:
    place = bytes(tmp_path / "gcc-99")
    os.mkdir(place)
    found = ground.find((place, b"/usr/bin/sub", bytes(tmp_path / "none")))
    assert found.tree_of(place + b"/bin/gcc") == place
    assert b"/usr/bin/sub" not in found.trees
    assert found.tree_of(bytes(tmp_path / "none")) is None


def test_where_a_compiler_is_installed(tmp_path: Path) -> None:
    prefix = tmp_path.resolve() / "home"
    for name in ("bin", "lib/gcc/arm-none-eabi/13", "share/locale", "private", ".ssh"):
        (prefix / name).mkdir(parents=True)
    gcc = bytes(prefix / "bin/gcc")
    Path(os.fsdecode(gcc)).touch()
    places = ground.places_of(gcc, Ground(()))
    shown = ground.find(places)
    for name in ("bin/gcc", "lib/gcc/x", "share/locale/de", "arm-none-eabi/include"):
        found = shown.tree_of(bytes(prefix / name))
        assert (found is not None) is (prefix / name).parent.exists(), name
    for name in ("private/x", ".ssh/id", "share/x", "x"):
        assert shown.tree_of(bytes(prefix / name)) is None
    assert ground.places_of(gcc, Ground((bytes(prefix),))) == []


@pytest.mark.parametrize("program", ["/gcc-none", "/opt/gcc-none", "/home/u/gcc"])
def test_a_compiler_that_is_installed_in_no_bin_shows_nothing(program: str) -> None:
    assert ground.places_of(program.encode(), Ground(())) == []


def survey() -> ground.Survey:
    return ground.Survey(FileDigests(native.signature, native.fs_type))


@pytest.mark.parametrize("age", [0, 100], ids=["fresh", "old"])
def test_a_file_that_has_changed_is_read_again(tmp_path: Path, age: int) -> None:
    path = tmp_path / "f"
    asked = Questions(frozenset([bytes(path)]), frozenset())
    ask = survey()
    for content in (b"one", b"two", b"three"):
        path.write_bytes(content)
        then = path.stat().st_mtime - age
        os.utime(path, (then, then))
        for _ in range(2):
            assert ask(asked)[bytes(path)].content == digest_of(content)
    path.unlink()
    assert ask(asked)[bytes(path)].kind is Kind.NOTHING
    path.mkdir()
    assert ask(asked)[bytes(path)].kind is Kind.DIRECTORY


def test_what_is_remembered_of_a_file_is_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = FileDigests(native.signature, native.fs_type)
    asked = Questions(frozenset([b"/bin/sh", b"/usr/bin/env"]), frozenset([b"/usr/bin"]))
    ask = ground.Survey(digests)
    first = ask(asked)
    assert first[b"/usr/bin/env"].content == digest_of(Path("/usr/bin/env").read_bytes())
    monkeypatch.setattr(digests, "digest", None)
    assert ask(asked) == first


def test_answers_are_of_the_places_themselves(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "f").write_bytes(b"content")
    (tmp_path / "g").write_bytes(b"content")
    (tmp_path / "l").symlink_to("f")
    os.mkfifo(tmp_path / "fifo")
    names = {name: bytes(tmp_path / name) for name in ("d", "f", "g", "l", "fifo", "none")}
    names["in f"] = bytes(tmp_path / "f/x")
    asked = Questions(frozenset(names[n] for n in ("f", "l", "none")), frozenset(names.values()))
    answers = survey()(asked)
    kinds = {name: answers[path].kind for name, path in names.items()}
    assert kinds == {
        "d": Kind.DIRECTORY, "f": Kind.FILE, "g": Kind.FILE, "l": Kind.LINK, "fifo": Kind.OTHER,
        "none": Kind.NOTHING, "in f": Kind.NOTHING,
    }  # fmt: skip
    found = answers[names["f"]]
    status = (tmp_path / "f").stat()
    assert found.content == digest_of(b"content")
    assert (found.mtime, found.inode) == (status.st_mtime_ns, (status.st_dev, status.st_ino))
    assert answers[names["g"]].content == b""  # was not asked for
    assert answers[names["l"]].target == b"f"
