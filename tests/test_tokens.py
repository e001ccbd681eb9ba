"""What two texts have in common that differ in comments and blanks."""

from __future__ import annotations

import pytest

from pycc.tokens import LIMIT, tokens_digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"int  x ;", b"int x ;"),
        (b"int x; // one\nint y;", b"int x; // two\nint y;"),
        (b"int x; /* a\n b */ int y;", b"int x; int y;"),
        (b'"a  b"', b'"a b"'),
        (b"a\n\n\nb", b"a\n/* c */\n\t// d\nb"),
    ],
)
def test_the_same(one: bytes, other: bytes) -> None:
    assert tokens_digest(one) == tokens_digest(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"int x;", b"int y;"),
        (b'"// a"', b'"// b"'),
        (b"'\"' /* \" */ x", b"'\"' /* \" */ y"),
        (b"#define A\nB", b"#define A B"),
        (b"C({ x })", b"{ x }"),
    ],
)
def test_other_ones(one: bytes, other: bytes) -> None:
    assert tokens_digest(one) != tokens_digest(other)


def test_long_ones() -> None:
    text = b"int x;\n" * (LIMIT // 7 + 1)
    assert tokens_digest(text + b" ") != tokens_digest(text)


def test_what_never_ends() -> None:
    assert tokens_digest(b'"' * 99 + b"/*" * 99 + b"\\") != tokens_digest(b"")
