"""Whether what a compile read stood still: fake looks for policy, real files for the links."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pycc.native import NO_FILE, Signature, signatures
from pycc.stability import disturbed, identities, prefixes

START = 1000
BEFORE, DURING = START - 1, START


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([], []),
        ([b"/a"], []),
        ([b"/a/b"], [b"/a"]),
        ([b"/a/b/c"], [b"/a", b"/a/b"]),
        ([b"/a/b/c", b"/a/b/d", b"/a/e"], [b"/a", b"/a/b"]),
        ([b"/a/b/c", b"/x/y/z"], [b"/a", b"/a/b", b"/x", b"/x/y"]),
        ([b"/a/../b/c"], [b"/a", b"/a/..", b"/a/../b"]),
    ],
)
def test_the_directories_on_the_way(paths: list[bytes], expected: list[bytes]) -> None:
    assert prefixes(paths) == expected


class Looks:
    """A look at a table; directories and files that are not in it are old."""

    def __init__(self, changed: Mapping[bytes, Signature]) -> None:
        self.changed = changed

    def __call__(self, paths: Sequence[bytes], follow: bool) -> list[Signature]:
        return [self.changed.get(path, self.old(path)) for path in paths]

    @staticmethod
    def old(path: bytes) -> Signature:
        return (file if path.endswith(b".h") else directory)(inode=hash(path) & 0xFFFF)


def directory(inode: int = 1, mtime: int = BEFORE, ctime: int = BEFORE) -> Signature:
    return Signature(stat.S_IFDIR | 0o755, 1, inode, 0, mtime, ctime)


def file(inode: int = 1, mtime: int = BEFORE, ctime: int = BEFORE) -> Signature:
    return Signature(stat.S_IFREG | 0o644, 1, inode, 0, mtime, ctime)


MADE_BESIDE = directory(5, DURING, DURING)
PATHS = [b"/w/src/a.h", b"/w/inc/b.h"]


@pytest.mark.parametrize(
    ("changed", "known", "expected"),
    [
        pytest.param({}, {}, None, id="nothing"),
        pytest.param({b"/w/src": MADE_BESIDE}, {}, None, id="object made beside"),
        pytest.param({b"/w": MADE_BESIDE}, {}, None, id="file made above"),
        pytest.param(
            {b"/w": MADE_BESIDE, b"/w/src": directory(7)}, {}, None, id="made above an old one"
        ),
        pytest.param(
            {b"/w": MADE_BESIDE, b"/w/src": directory(7, DURING, DURING)},
            {},
            b"/w/src",
            id="renamed over, or made in both",
        ),
        pytest.param(
            {b"/w": MADE_BESIDE, b"/w/src": directory(7, BEFORE, DURING)},
            {},
            b"/w/src",
            id="renamed: only its ctime moves",
        ),
        pytest.param(
            {b"/w": MADE_BESIDE, b"/w/src": directory(7, DURING, DURING)},
            {b"/w/src": (1, 7)},
            None,
            id="made in both, looked at before",
        ),
        pytest.param(
            {b"/w": MADE_BESIDE, b"/w/src": directory(7, DURING, DURING)},
            {b"/w/src": (1, 6)},
            b"/w/src",
            id="another directory than before",
        ),
        pytest.param(
            {b"/w": MADE_BESIDE, b"/w/src": directory(7, DURING, DURING)},
            {b"/w/src": (2, 7)},
            b"/w/src",
            id="mounted over",
        ),
        pytest.param({b"/w/inc": NO_FILE}, {}, b"/w/inc", id="removed"),
        pytest.param({b"/w/inc": file(3)}, {}, b"/w/inc", id="a file now"),
        pytest.param({b"/": MADE_BESIDE, b"/w": MADE_BESIDE}, {}, b"/w", id="in the root"),
    ],
)
def test_directories(
    changed: Mapping[bytes, Signature],
    known: Mapping[bytes, tuple[int, int]],
    expected: bytes | None,
) -> None:
    assert disturbed(PATHS, START, known, Looks(changed)) == expected


def test_dot_dot_is_no_name_of_its_own() -> None:
    paths = [b"/w/src/../a.h"]
    moving = {b"/w": MADE_BESIDE, b"/w/src": directory(7, DURING), b"/w/src/..": MADE_BESIDE}
    assert disturbed(paths, START, {}, Looks(moving)) is None


def test_identities_are_those_of_directories() -> None:
    looks = Looks({b"/w": directory(3), b"/gone": NO_FILE})
    assert identities([b"/w", b"/gone", b"/a.h"], looks) == {b"/w": (1, 3)}


def look(paths: Sequence[bytes], follow: bool) -> list[Signature]:
    return signatures(paths, follow=follow)


class Site:
    """Two include directories and a link to the first; everything is older than ``start``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("one", "two"):
            (root / name).mkdir()
            (root / name / "a.h").write_text(name)
        (root / "inc").symlink_to("one")
        (root / "deep").symlink_to(root / "inc")
        (root / "a.h").symlink_to("one/a.h")
        (root / "far.h").symlink_to("deep/a.h")
        self.start = max(s.changed for s in signatures(self.everything(), follow=False)) + 1
        self.before = identities(prefixes(self.everything()), look)

    def everything(self) -> list[bytes]:
        return [os.fsencode(path) for path in self.root.rglob("*")]

    def disturbed(self, name: str) -> str | None:
        # Times of what the test changed are later than the start by the coarse clock only if
        # that has moved on; the files are given times before it instead.
        found = disturbed([os.fsencode(self.root / name)], self.start, self.before, look)
        return None if found is None else os.fsdecode(found).removeprefix(f"{self.root}/")

    def switch(self, name: str, target: str) -> None:
        (self.root / "new").symlink_to(target)
        (self.root / "new").replace(self.root / name)
        now = os.lstat(self.root / name).st_ctime_ns
        self.start = min(self.start, now)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


NAMES = ["one/a.h", "inc/a.h", "deep/a.h", "a.h", "far.h"]


@pytest.mark.parametrize("name", NAMES)
def test_what_stood_still(site: Site, name: str) -> None:
    assert site.disturbed(name) is None


@pytest.mark.parametrize(
    ("link", "target", "name", "expected"),
    [
        ("inc", "two", "inc/a.h", "inc"),
        ("inc", "two", "deep/a.h", "inc"),
        ("inc", "two", "far.h", "inc"),
        ("deep", "two", "deep/a.h", "deep"),
        ("deep", "two", "far.h", "deep"),
        ("a.h", "two/a.h", "a.h", "a.h"),
        ("far.h", "two/a.h", "far.h", "far.h"),
        ("inc", "two", "one/a.h", None),
    ],
)
def test_a_link_that_was_switched(
    site: Site, link: str, target: str, name: str, expected: str | None
) -> None:
    site.switch(link, target)
    found = site.disturbed(name)
    assert found is None if expected is None else found is not None
    if found is not None and expected is not None:
        assert found.endswith(expected)


def test_a_link_to_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.h").symlink_to("sub/../a.h")
    path = os.fsencode(tmp_path / "a.h")
    assert disturbed([path], 2**62, {}, look) is None


def test_a_link_is_looked_at_again_although_it_is_known(tmp_path: Path) -> None:
    """Between the look that found a link and the reading of what it names it may be switched."""
    path = os.fsencode(tmp_path / "v.h")
    (tmp_path / "v.h").symlink_to("one.h")
    known = signatures([path], follow=False)
    start = known[0].changed + 1
    switched = known[0]._replace(mtime=start + 5, ctime=start + 5)

    def look(paths: Sequence[bytes], follow: bool) -> list[Signature]:
        return [
            switched if p == path and not follow else s
            for p, s in zip(paths, signatures(paths, follow=follow), strict=True)
        ]

    assert disturbed([path], start, {}, look, [path]) == path
