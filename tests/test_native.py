"""Witness records: the C check against its reference in Python, on files of all sorts."""

from __future__ import annotations

import ctypes
import os
import queue
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycc import native
from pycc.launcher.build_launcher import compile_commands, find_compiler
from pycc.native import (
    ABSENT,
    NO_FILE,
    SAME,
    SAME_LINK,
    SAME_PLACE,
    STABLE_NS,
    WRITABLE,
    RealFiles,
    Signature,
    absence,
    as_found,
    pack,
    paths,
    place_of,
    signature,
    unpack,
)
from tests.quick import quick

SOURCE = Path(native.__file__).with_name("launcher") / "statcheck.c"
KINDS = (SAME, ABSENT, SAME_LINK, WRITABLE, SAME_PLACE)
LATER = 10**20
"""A moment at which every directory has stood still for long."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    target = tmp_path_factory.mktemp("native") / "_statcheck.so"
    command = compile_commands(find_compiler(dict(os.environ)), freestanding=True, shared=True)[0]
    subprocess.run([*command, "-Werror", "-o", str(target), str(SOURCE)], check=True)
    loaded = native._load(str(target))
    assert loaded is not None
    assert isinstance(loaded, ctypes.CDLL)
    return loaded


@pytest.fixture(params=["C", "Python"])
def check(
    request: pytest.FixtureRequest, library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., int]]:
    monkeypatch.setattr(native, "_library", library if request.param == "C" else None)
    yield native.check


class Tree:
    """Random files, directories, links and pipes below one directory."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = os.fsencode(root)
        self.random = random.Random(seed)
        for name in (b"d", b"d/e", b"many"):
            os.makedirs(os.path.join(self.root, name))
        for number in range(30):
            self.write(b"many/%d" % number)
        for _ in range(30):
            self.change()

    def name(self) -> bytes:
        parts = [b"d", b"d/e", b"many", b"gone", b"link", b"."]
        names = [b"a", b"b", b"\xff\xfe", b"a b", b"link", b"..", b"", b"7", b"e", b"x" * 300]
        return self.random.choice(parts) + b"/" + self.random.choice(names)

    def path(self) -> bytes:
        joint = self.random.choice([b"/", b"/", b"/", b"//", b"/./"])
        return self.root + joint + self.name()

    def write(self, name: bytes) -> None:
        with open(os.path.join(self.root, name), "wb") as file:
            file.write(bytes(self.random.randrange(5)))

    def change(self) -> None:
        name = self.name()
        path = os.path.join(self.root, name)
        target = self.random.choice([b"a", b"../d", b"gone", b"link", b"e", b"/"])
        try:
            match self.random.randrange(6):
                case 0 | 1:
                    self.write(name)
                case 2:
                    os.symlink(target, path)
                case 3:
                    os.unlink(path)
                case 4:
                    os.mkdir(path)
                case 5:
                    times = self.random.randrange(-(2**40), 2**61)
                    os.utime(path, ns=(0, times), follow_symlinks=False)
        except OSError:
            pass

    def record(self) -> bytes:
        path, kind = self.path(), self.random.choice(KINDS)
        follow = kind not in (SAME_LINK, WRITABLE)
        return pack(kind, path, signature(path, follow=follow))


@pytest.mark.parametrize("seed", range(30))
def test_c_and_python_find_the_same_record(tmp_path: Path, library: ctypes.CDLL, seed: int) -> None:
    tree = Tree(tmp_path, seed)
    records = [tree.record() for _ in range(40)]
    records[20:20] = [pack(SAME, p, signature(p)) for p in sorted(neighbours(tree))]
    buffer = b"".join(records)
    for _ in range(3):
        first = 0
        while 0 <= first <= len(records):
            expected = native._reference_check(buffer, first)
            assert library.pycc_check(buffer, len(buffer), first) == expected
            first = expected + 1 if expected >= 0 else -1
        tree.change()


def neighbours(tree: Tree) -> list[bytes]:
    """Enough paths in one directory that it is opened, one of them without a name."""
    return [tree.root + b"/many/" + name for name in (b"", *(b"%d" % i for i in range(30)))]


@pytest.mark.parametrize("seed", range(5))
def test_c_and_python_see_the_same_signatures(
    tmp_path: Path, library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    tree = Tree(tmp_path, seed)
    paths = [tree.path() for _ in range(100)] + [b"/proc/self/stat", b"/dev/null", b"", b"/"]
    for follow in (True, False):
        monkeypatch.setattr(native, "_library", library)
        seen = native.signatures(paths, follow=follow)
        monkeypatch.setattr(native, "_library", None)
        assert seen == native.signatures(paths, follow=follow)
        assert seen == [signature(path, follow=follow) for path in paths]


def test_numbers_keep_their_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    values = (0o100644, 2**63 + 1, 2**64 - 1, 5, -7, 2**62)

    class Fake:
        """Overlay file systems number inodes from the highest bit on."""

        @staticmethod
        def pycc_stat(paths: bytes, count: int, nofollow: int, out: ctypes.Array[Any]) -> None:
            ctypes.memmove(out, native._STAT.pack(*values), native._STAT.size)

    monkeypatch.setattr(native, "_library", Fake)
    assert native.signatures([b"/a"]) == [Signature(*values)]


def test_nobody_is_asked_about_nothing(check: Callable[..., int]) -> None:
    assert check(b"") == -1
    assert native.signatures([]) == []


@pytest.mark.parametrize("kind", [SAME, SAME_LINK, SAME_PLACE])
def test_a_missing_file_is_not_the_same(
    check: Callable[..., int], tmp_path: Path, kind: int
) -> None:
    assert check(pack(kind, os.fsencode(tmp_path / "gone"), NO_FILE)) == 0


def changes() -> list[tuple[str, int, bool]]:
    """(change, kind of witness of the file f, whether it still holds)"""
    return [
        ("nothing", SAME, True),
        ("rewrite", SAME, False),
        ("touch", SAME, False),
        ("remove", SAME, False),
        ("chmod", SAME, False),
        ("replace", SAME, False),
        ("nothing", WRITABLE, True),
        ("rewrite", WRITABLE, True),
        ("remove", WRITABLE, True),
        ("directory", WRITABLE, False),
        ("link", WRITABLE, False),
        ("nothing", ABSENT, False),
        ("remove", ABSENT, True),
        ("dangling", ABSENT, True),
        ("link", SAME_LINK, False),
    ]


@pytest.mark.parametrize(("change", "kind", "holds"), changes())
def test_what_a_witness_sees(
    check: Callable[..., int], tmp_path: Path, change: str, kind: int, holds: bool
) -> None:
    path = tmp_path / "f"
    path.write_text("one")
    os.utime(path, (1, 1))
    record = pack(kind, os.fsencode(path), signature(os.fsencode(path)))
    other = tmp_path / "other"
    other.write_text("two")
    match change:
        case "rewrite":
            path.write_text("two")
        case "touch":
            os.utime(path, (2, 2))
        case "chmod":
            path.chmod(0o600)
        case "replace":
            os.utime(other, (1, 1))
            other.replace(path)
        case "remove":
            path.unlink()
        case "directory":
            path.unlink()
            path.mkdir()
        case "link":
            path.unlink()
            path.symlink_to(other)
        case "dangling":
            path.unlink()
            path.symlink_to("gone")
    assert (check(record) < 0) is holds


def test_a_place_may_fill_but_not_be_another(check: Callable[..., int], tmp_path: Path) -> None:
    place = tmp_path / "d"
    place.mkdir()
    record = as_found(os.fsencode(place), contents=False)
    (place / "new").write_text("")
    assert check(record) == -1
    shutil.rmtree(place)
    (tmp_path / "keeps the inode busy").mkdir()
    place.mkdir()
    assert check(record) == 0


def test_a_directory_is_the_same_until_something_is_made_in_it(
    check: Callable[..., int], tmp_path: Path
) -> None:
    os.utime(tmp_path, (1, 1))
    record = as_found(os.fsencode(tmp_path))
    assert check(record) == -1
    (tmp_path / "new").write_text("")
    assert check(record) == 0


def test_the_first_record_that_fails_is_named(check: Callable[..., int], tmp_path: Path) -> None:
    gone = pack(ABSENT, os.fsencode(tmp_path / "gone"))
    fails = pack(ABSENT, os.fsencode(tmp_path))
    assert check(gone + fails + gone + fails) == 1
    assert check(gone + fails + gone + fails, 2) == 3
    assert check(gone + fails + gone + fails, 4) == -1


def test_a_cut_buffer_does_not_hold(check: Callable[..., int], tmp_path: Path) -> None:
    whole = pack(ABSENT, os.fsencode(tmp_path / "gone")) * 2
    half = len(whole) // 2
    for length in range(1, len(whole)):
        assert check(whole[:length]) == (-1 if length == half else length // half)


@quick
@given(st.binary(max_size=150))
def test_garbage_is_answered_alike(library: ctypes.CDLL, data: bytes) -> None:
    assert library.pycc_check(data, len(data), 0) == native._reference_check(data, 0)


def test_records_are_kept_once() -> None:
    a, b, c = pack(ABSENT, b"/x/b"), pack(ABSENT, b"/a/z"), pack(WRITABLE, b"/x/b")
    assert unpack([a + b, b"", a, c, c + b]) == [a, b, c]


def test_neighbours_share_a_directory() -> None:
    names = [b"/x/b", b"/a/z", b"/x/a/c", b"/x/a", b"/a"]
    ordered = sorted((pack(ABSENT, name) for name in names), key=place_of)
    assert paths(b"".join(ordered)) == [b"/a", b"/a/z", b"/x/a", b"/x/b", b"/x/a/c"]


def test_a_record_of_what_is_another_now_is_another(tmp_path: Path) -> None:
    files, path = RealFiles(), tmp_path / "a.h"
    made = []
    for text in ("one", "other", "one"):
        path.write_text(text)
        found = signature(os.fsencode(path))
        made.append(files.same(os.fsencode(path), found))
        assert made[-1] == pack(SAME, os.fsencode(path), found)
        assert files.same(os.fsencode(path), found) is made[-1]
    assert made[0] != made[1]


@pytest.mark.parametrize("length", [1, 7, 8, 9, 300, 4095, 65_000])
def test_paths_of_any_length_are_packed(length: int) -> None:
    record = pack(ABSENT, b"/" * length)
    assert len(record) % 8 == 0
    assert unpack([record, record]) == [record]


class TestAbsence:
    """What stands for a name that is not there."""

    def test_a_fresh_directory_does_not(self, tmp_path: Path) -> None:
        path = os.fsencode(tmp_path / "x")
        assert absence(path, 0) == pack(ABSENT, path)

    def test_an_old_directory_does(self, tmp_path: Path) -> None:
        directory = os.fsencode(tmp_path)
        expected = pack(SAME, directory, signature(directory))
        assert absence(directory + b"/x", LATER) == expected
        now = signature(directory).changed + STABLE_NS
        assert absence(directory + b"/x", now) != expected
        assert absence(directory + b"/x", now + 1) == expected

    def test_the_topmost_missing_directory_does(self, tmp_path: Path) -> None:
        path = os.fsencode(tmp_path / "no" / "such" / "file")
        assert absence(path, 0) == pack(ABSENT, os.fsencode(tmp_path / "no"))

    def test_below_a_file_the_name_itself_does(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        path = os.fsencode(tmp_path / "file" / "x")
        assert absence(path, LATER) == pack(ABSENT, path)

    @pytest.mark.parametrize("name", ["link", "link/x"])
    def test_behind_a_link_to_nothing_no_directory_does(
        self, tmp_path: Path, check: Callable[..., int], name: str
    ) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "link").symlink_to("elsewhere/target")
        record = absence(os.fsencode(tmp_path / name), LATER)
        assert check(record) == -1
        (tmp_path / "elsewhere" / "target").mkdir()
        (tmp_path / "elsewhere" / "target" / "x").write_text("")
        assert check(record) == 0


def test_file_systems_are_known_by_their_numbers(library: ctypes.CDLL) -> None:
    assert library.pycc_fs_type(b"/proc") == 0x9FA0
    assert library.pycc_fs_type(b"/no/such/place") < 0


class TestMany:
    """Records that two threads ask."""

    @pytest.fixture
    def records(
        self, tmp_path: Path, library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch
    ) -> list[bytes]:
        monkeypatch.setattr(native, "_library", library)
        monkeypatch.setattr(native, "_TWO_PROCESSORS", True)
        for number in range(native.MANY * 2):
            (tmp_path / f"{number}.h").write_text("x")
        names = [os.fsencode(path) for path in sorted(tmp_path.iterdir())]
        return [native.as_found(name) for name in names]

    def test_they_hold(self, records: list[bytes]) -> None:
        for _ in range(50):
            assert native.all_hold(records)

    @pytest.mark.parametrize("which", [0, 1, 47, 48, native.MANY, -1])
    def test_each_of_them_is_asked(self, records: list[bytes], which: int) -> None:
        os.truncate(native.kind_and_path(records[which])[1], 0)
        for _ in range(20):
            assert not native.all_hold(records)

    def test_without_a_second_thread(
        self, records: list[bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(native, "_have_worker", lambda: None)
        monkeypatch.setattr(native, "_work", queue.SimpleQueue())
        assert native.all_hold(records)
        os.truncate(native.kind_and_path(records[99])[1], 0)
        assert not native.all_hold(records)
        late = native._work.get()
        late()  # nobody waits for it any more
