"""Views of clients: what is taken, and every sort of hostile one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycc.remote.client_view import (
    DEEPEST,
    LATEST,
    LONGEST_NAME,
    LONGEST_PATH,
    ClientFile,
    ClientLink,
    Limits,
    Refused,
    View,
    ancestors,
    check,
    is_below,
    shown,
)
from tests.quick import quick

ONE = b"1" * 20
CWD = b"/home/u"


def file(path: bytes, content: bytes = ONE, mtime: int = 0, same_as: bytes = b"") -> ClientFile:
    return ClientFile(path, content, mtime, same_as)


def test_the_directories_of_a_view_are_all_on_the_way() -> None:
    view = View(
        b"/w/d", (file(b"/a/b/c.h"),), (ClientLink(b"/l/k", b"../x"),), (b"/e/f",), (b"/n/o",)
    )
    assert check(view) == {b"/w", b"/w/d", b"/a", b"/a/b", b"/l", b"/e", b"/e/f"}


def test_the_root_may_be_the_working_directory() -> None:
    assert check(View(b"/", (file(b"/a.c"),))) == frozenset()


BAD_PATHS = {
    b"": "no absolute path",
    b"a.c": "no absolute path",
    b"../a.c": "no absolute path",
    b"/": "no physical path",
    b"//a": "no physical path",
    b"/a//b": "no physical path",
    b"/a/": "no physical path",
    b"/a/./b": "no physical path",
    b"/./a": "no physical path",
    b"/a/..": "no physical path",
    b"/a/../../etc/passwd": "no physical path",
    b"/..": "no physical path",
    b"/a\0b": "zero byte",
    b"/a/" + b"n" * (LONGEST_NAME + 1): "a name of 256 bytes",
    b"/" + b"d/" * DEEPEST + b"x": "deeper than 128",
    b"/" + b"/".join([b"n" * 250] * 17): "a path has",
}


@pytest.mark.parametrize("path", BAD_PATHS)
@pytest.mark.parametrize("place", ["cwd", "files", "links", "directories", "absent"])
def test_a_path_that_is_none(path: bytes, place: str) -> None:
    if place == "cwd":
        if path == b"/":
            return
        view = View(path)
    elif place == "files":
        view = View(CWD, (file(path),))
    elif place == "links":
        view = View(CWD, (), (ClientLink(path, b"x"),))
    elif place == "directories":
        view = View(CWD, (), (), (path,))
    else:
        view = View(CWD, (), (), (), (path,))
    with pytest.raises(Refused, match=BAD_PATHS[path]):
        check(view)


GOOD_PATHS = [
    b"/a",
    b"/...",
    b"/.a/..b/c..",
    b"/a b\n\xff",
    b"/" + b"n" * LONGEST_NAME,
    b"/" + b"/".join([b"d"] * DEEPEST),
    b"/" + b"/".join([b"n" * 254] * 16)[: LONGEST_PATH - 1],
]


@pytest.mark.parametrize("path", GOOD_PATHS)
def test_a_path_that_is_one(path: bytes) -> None:
    assert set(ancestors(path)) <= check(View(CWD, (file(path),)))


@quick
@given(st.binary(max_size=40).map(lambda text: b"/" + text))
def test_what_passes_can_be_laid_out_without_surprise(path: bytes) -> None:
    try:
        check(View(CWD, (file(path),)))
    except Refused:
        return
    parts = path.split(b"/")[1:]
    assert not {b"", b".", b".."} & set(parts)
    assert b"\0" not in path


F, G = file(b"/p/f"), file(b"/p/g")

BAD_VIEWS = {
    "a file twice": (View(CWD, (F, F)), "named twice"),
    "a file and a link": (View(CWD, (F,), (ClientLink(F.path, b"x"),)), "named twice"),
    "a link twice": (
        View(CWD, (), (ClientLink(b"/l", b"x"), ClientLink(b"/l", b"y"))),
        "named twice",
    ),
    "a file in a file": (View(CWD, (F, file(b"/p/f/g"))), "a file and a directory"),
    "a file deep in a file": (View(CWD, (F, file(b"/p/f/g/h/i"))), "a file and a directory"),
    "a file in a link": (
        View(CWD, (file(b"/l/f"),), (ClientLink(b"/l", b"/etc"),)),
        "a link and a directory",
    ),
    "a link in a link": (
        View(CWD, (), (ClientLink(b"/l", b"/etc"), ClientLink(b"/l/k", b"x"))),
        "a link and a directory",
    ),
    "a directory in a file": (View(CWD, (F,), (), (b"/p/f/d",)), "a file and a directory"),
    "a directory that is a file": (View(CWD, (F,), (), (b"/p/f",)), "a file and a directory"),
    "a working directory that is a link": (
        View(CWD, (), (ClientLink(CWD, b"x"),)),
        "a link and a directory",
    ),
    "a working directory in a file": (View(b"/p/f/d", (F,)), "a file and a directory"),
    "a missing file that is there": (View(CWD, (F,), (), (), (F.path,)), "to be missing"),
    "a missing directory that is there": (View(CWD, (F,), (), (), (b"/p",)), "to be missing"),
    "a missing working directory": (View(CWD, (), (), (), (CWD,)), "to be missing"),
    "a missing file behind a link": (
        View(CWD, (), (ClientLink(b"/l", b"/etc"),), (), (b"/l/passwd",)),
        "leads through the link",
    ),
    "no target": (View(CWD, (), (ClientLink(b"/l", b""),)), "no possible target"),
    "a target with NUL": (View(CWD, (), (ClientLink(b"/l", b"a\0b"),)), "no possible target"),
    "a long target": (View(CWD, (), (ClientLink(b"/l", b"x" * 5000),)), "no possible target"),
    "no digest": (View(CWD, (file(b"/f", b""),)), "no proper digest"),
    "a path for a digest": (View(CWD, (file(b"/f", b"../../etc/shadow"),)), "no proper digest"),
    "a long digest": (View(CWD, (file(b"/f", ONE + b"1"),)), "no proper digest"),
    "a time before all": (View(CWD, (file(b"/f", mtime=-1),)), "impossible time"),
    "a time after all": (View(CWD, (file(b"/f", mtime=LATEST + 1),)), "impossible time"),
    "a precompiled header": (View(CWD, (file(b"/p/a.h.gch"),)), "precompiled"),
    "a directory of them": (View(CWD, (file(b"/p/a.h.gch/x"),)), "precompiled"),
    "clang's": (View(CWD, (file(b"/p/a.pch"),)), "precompiled"),
    "a module": (View(CWD, (file(b"/p/a.pcm"),)), "precompiled"),
    "a second name of nothing": (
        View(CWD, (file(b"/f", same_as=b"/g"),)),
        "second name of nothing",
    ),
    "a second name of itself": (
        View(CWD, (file(b"/f", same_as=b"/f"),)),
        "second name of nothing",
    ),
    "a second name of a second name": (
        View(CWD, (F, file(b"/p/g", same_as=b"/p/f"), file(b"/p/h", same_as=b"/p/g"))),
        "second name of nothing",
    ),
    "a second name with another time": (
        View(CWD, (F, file(b"/p/g", mtime=5, same_as=b"/p/f"))),
        "differs from its first name",
    ),
    "a second name with another content": (
        View(CWD, (F, file(b"/p/g", b"2" * 20, same_as=b"/p/f"))),
        "differs from its first name",
    ),
}


@pytest.mark.parametrize("name", BAD_VIEWS)
def test_a_view_that_is_refused(name: str) -> None:
    view, reason = BAD_VIEWS[name]
    with pytest.raises(Refused, match=reason):
        check(view)


def test_names_that_only_begin_alike_are_different() -> None:
    check(View(CWD, (F, file(b"/p/f.h"), file(b"/p/fg/h")), (), (), (b"/p/ff", b"/p/f-/x")))


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(entries=2), "3 files and directories, more than 2"),
        (Limits(entries=4), "more than 4 files and directories"),
        (Limits(absent=1), "2 missing files"),
        (Limits(bytes=10), "more than 10 bytes of names"),
    ],
)
def test_there_is_an_end_to_everything(limits: Limits, reason: str) -> None:
    view = View(b"/w", (F, G), (ClientLink(b"/l", b"x"),), (), (b"/n", b"/m"))
    check(view, Limits(entries=5, absent=2, bytes=20))
    with pytest.raises(Refused, match=reason):
        check(view, limits)


def test_a_reason_does_no_harm_to_a_terminal() -> None:
    assert shown(b"/a\x1b[2J\n\xff") == "/a\\x1b[2J\\n\\\\xff"
    assert shown(b"/a b") == "/a b"


def test_below_is_by_components() -> None:
    assert is_below(b"/usr/include", b"/usr")
    assert is_below(b"/usr", b"/usr")
    assert not is_below(b"/usrx", b"/usr")
    assert is_below(b"/usr", b"/")
