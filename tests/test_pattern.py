"""Patterns that are compiled late."""

from __future__ import annotations

import re

import pytest

from pycc.pattern import pattern


def test_it_is_what_compile_gives() -> None:
    late, early = pattern(rb"a(b)", re.IGNORECASE), re.compile(rb"a(b)", re.IGNORECASE)
    for text in (b"AB", b"xab", b""):
        for name in ("match", "search", "fullmatch", "findall"):
            found, expected = getattr(late, name)(text), getattr(early, name)(text)
            assert repr(found) == repr(expected)
    assert late.sub(b"-", b"xab") == b"x-"
    assert (late.pattern, late.flags) == (early.pattern, early.flags)


def test_it_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    late = pattern("a")
    assert late.match("a")
    monkeypatch.setattr(re, "compile", None)
    assert late.match("ab")


def test_a_broken_one_says_so_when_it_is_used() -> None:
    late = pattern("(")
    with pytest.raises(re.error):
        late.match("a")
