"""Keys: what is told apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycc.cache.fingerprint import KEY_SIZE, Fingerprint
from tests.quick import quick

Fields = list[tuple[bytes, list[bytes]]]
LABELS = st.binary(min_size=1, max_size=5).map(lambda b: b.replace(b"\0", b"x"))
FIELDS = st.lists(st.tuples(LABELS, st.lists(st.binary(max_size=5), max_size=4)), max_size=4)


def key(fields: Fields) -> bytes:
    fingerprint = Fingerprint()
    for label, values in fields:
        fingerprint.add(label, *values)
    return fingerprint.key()


def test_a_key_has_its_size() -> None:
    assert len(key([])) == KEY_SIZE


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([(b"arg", [b"-I", b"-O2"])], [(b"arg", [b"-I-O2"])]),
        ([(b"arg", [b"-I", b"-O2"])], [(b"arg", [b"-I"]), (b"arg", [b"-O2"])]),
        ([(b"arg", [b"a"])], [(b"args", [b"a"])]),
        ([(b"arg", [b""])], [(b"arg", [])]),
        ([(b"arg", [b"", b""])], [(b"arg", [b""])]),
        ([(b"a", [b"b"]), (b"c", [])], [(b"a", [b"b", b"c"])]),
        ([(b"a", [b"1"]), (b"b", [b"2"])], [(b"b", [b"2"]), (b"a", [b"1"])]),
        ([(b"a", [b"x\x001\x00y"])], [(b"a", [b"x", b"y"])]),
        ([(b"a", [b"x\x00"])], [(b"a", [b"x"])]),
        ([(b"a", [b"1\x00x"])], [(b"a", [b"x"])]),
        ([], [(b"a", [])]),
    ],
)
def test_fields_that_must_not_run_into_each_other(one: Fields, other: Fields) -> None:
    assert key(one) != key(other)


@quick
@given(FIELDS, FIELDS)
def test_equal_keys_have_equal_fields(one: Fields, other: Fields) -> None:
    assert (key(one) == key(other)) is (one == other)


@quick
@given(FIELDS)
def test_what_is_hashed_can_be_told_apart(fields: Fields) -> None:
    traced = Fingerprint(trace=True)
    for label, values in fields:
        traced.add(label, *values)
    assert traced.key() == key(fields)
    assert list(traced.fields()) == [(label, tuple(values)) for label, values in fields]


@quick
@given(FIELDS, FIELDS, FIELDS)
def test_a_copy_goes_its_own_way(start: Fields, one: Fields, other: Fields) -> None:
    base = Fingerprint()
    for label, values in start:
        base.add(label, *values)
    fork = base.copy()
    for label, values in one:
        base.add(label, *values)
    for label, values in other:
        fork.add(label, *values)
    assert base.key() == key(start + one)
    assert fork.key() == key(start + other)


def test_pairs_are_one_field() -> None:
    pairs = Fingerprint()
    pairs.add_pairs(b"env", [(b"A", b"1"), (b"B", b"2")])
    assert pairs.key() == key([(b"env", [b"A", b"1", b"B", b"2"])])


def test_only_what_came_after_is_shown() -> None:
    base = Fingerprint(trace=True)
    base.add(b"one", b"1")
    fork = base.copy()
    fork.add(b"two", b"2", b"\xff")
    assert list(fork.fields(base)) == [(b"two", (b"2", b"\xff"))]
    assert fork.hashed(base) == b"two\x002\x001\x0021\x00\xff"
    assert fork.text(base) == b"### two\n2\nff\n"


def test_nothing_is_kept_without_a_trace() -> None:
    fingerprint = Fingerprint()
    fingerprint.add(b"one", b"1")
    assert list(fingerprint.fields()) == []
    assert fingerprint.text() == b""
