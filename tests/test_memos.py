"""What a server remembers of files, and when it no longer believes it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pycc.directives import Directives
from pycc.memos import Contents, Headers
from pycc.native import signature

ASKED = Directives()


def known(path: Path, headers: Headers) -> bytes:
    name = os.fsencode(path)
    headers.keep(name, signature(name, follow=False), b"digest", ASKED)
    return name


def test_an_unchanged_header_stands(tmp_path: Path) -> None:
    headers = Headers(10)
    paths = []
    for name in "abc":
        (tmp_path / name).write_text(name)
        paths.append(known(tmp_path / name, headers))
    start = max(signature(path).changed for path in paths) + 1
    found = headers.standing([*paths, b"/elsewhere"], start)
    assert list(found) == paths
    assert {header.digest for header in found.values()} == {b"digest"}


@pytest.mark.parametrize("change", ["edit", "remove", "link", "touch", "replace"])
def test_a_changed_header_is_forgotten(tmp_path: Path, change: str) -> None:
    headers = Headers(10)
    path, other = tmp_path / "a.h", tmp_path / "b.h"
    path.write_text("1")
    other.write_text("2")
    names = [known(path, headers), known(other, headers)]
    start = max(signature(name).changed for name in names) + 1
    if change == "edit":
        path.write_text("22")
    elif change == "touch":
        os.utime(path, (1, 1))
    else:
        path.unlink()
    if change == "link":
        path.symlink_to("b.h")
    elif change == "replace":
        path.write_text("1")
    assert list(headers.standing(names, start)) == names[1:]
    assert list(headers.standing(names, start)) == names[1:]


def test_a_header_that_changed_at_the_start_does_not_stand(tmp_path: Path) -> None:
    headers = Headers(10)
    (tmp_path / "a.h").write_text("1")
    name = known(tmp_path / "a.h", headers)
    assert not headers.standing([name], signature(name).changed)
    assert headers.standing([name], signature(name).changed + 1)


def test_headers_are_bounded_and_can_be_forgotten(tmp_path: Path) -> None:
    headers = Headers(2)
    for name in "abc":
        (tmp_path / name).write_text(name)
        last = known(tmp_path / name, headers)
    assert list(headers.standing([os.fsencode(tmp_path / n) for n in "abc"], 1 << 62)) == [last]
    headers.forget()
    assert not headers.standing([last], 1 << 62)


def test_contents_are_bounded() -> None:
    contents = Contents(160)
    contents.keep(b"large", b"x" * 11)
    assert contents.get(b"large") is None
    for number in range(17):
        contents.keep(b"%d" % number, b"x" * 10)
    assert contents.get(b"16") == b"x" * 10
    assert contents.get(b"0") is None
    contents.keep(b"16", b"x" * 10)
    assert contents.get(b"16") == b"x" * 10
