"""The bodies of exact jobs: whole, cut, and with lengths that lie."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycc.remote.client_view import ClientFile, ClientLink, View
from pycc.remote.exact_wire import (
    Ask,
    Made,
    Result,
    Work,
    pack_ask,
    pack_digests,
    pack_result,
    pack_work,
    unpack_ask,
    unpack_digests,
    unpack_result,
    unpack_work,
)
from pycc.remote.protocol import ProtocolError

FIELDS = st.binary(max_size=40)
PAIRS = st.tuples(FIELDS, FIELDS)
TIMES = st.integers(0, (1 << 63) - 1)
ASKS = st.builds(Ask, FIELDS, st.lists(PAIRS).map(tuple), FIELDS)
VIEWS = st.builds(
    View,
    FIELDS,
    st.lists(st.builds(ClientFile, FIELDS, FIELDS, TIMES, FIELDS)).map(tuple),
    st.lists(st.builds(ClientLink, FIELDS, FIELDS)).map(tuple),
    st.lists(FIELDS).map(tuple),
    st.lists(FIELDS).map(tuple),
)
WORKS = st.builds(
    Work, VIEWS, st.lists(PAIRS).map(tuple), st.booleans(), st.lists(FIELDS).map(tuple)
)
RESULTS = st.builds(
    Result,
    st.lists(st.builds(Made, FIELDS, st.integers(0, 0o777), FIELDS)).map(tuple),
    FIELDS,
    FIELDS,
    FIELDS,
    st.lists(PAIRS).map(tuple),
)


@given(ASKS)
def test_a_question(ask: Ask) -> None:
    assert unpack_ask(pack_ask(ask)) == ask


@given(WORKS)
def test_a_compile(work: Work) -> None:
    assert unpack_work(pack_work(work)) == work


@given(RESULTS)
def test_a_result(result: Result) -> None:
    assert unpack_result(pack_result(result)) == result


@given(WORKS, st.data())
def test_what_is_cut_is_refused(work: Work, data: st.DataObject) -> None:
    body = pack_work(work)
    end = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(ProtocolError):
        unpack_work(body[:end])


@given(WORKS, st.data())
def test_whatever_is_changed_is_read_or_refused(work: Work, data: st.DataObject) -> None:
    body = bytearray(pack_work(work))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ProtocolError):
        unpack_work(bytes(body))


@pytest.mark.parametrize("read", [unpack_ask, unpack_work, unpack_result])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"PX",
        b"PX\x02" + b"\0" * 8,
        b"PX\x01\xff\xff\xff\xff",
        b"PX\x01" + b"\x08\0\0\0" + b"\xff" * 8,
        (1 << 40).to_bytes(8, "little") + b"x",
        (40).to_bytes(8, "little") + b"no zstd frame at all",
    ],
)
def test_what_is_no_body(read: Callable[[bytes], object], body: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(body)


def test_a_list_as_long_as_nothing_can_be() -> None:
    body = bytearray(pack_ask(Ask(b"", (), b"")))
    body[-8:] = (1 << 60).to_bytes(8, "little")
    with pytest.raises(ProtocolError, match="cannot be"):
        unpack_ask(bytes(body))


def test_something_behind() -> None:
    with pytest.raises(ProtocolError, match="follows"):
        unpack_ask(pack_ask(Ask(b"/", (), b"")) + b"\0\0\0\0")


def test_digests() -> None:
    digests = (b"a" * 20, b"b" * 20)
    assert unpack_digests(pack_digests(digests)) == digests
    with pytest.raises(ProtocolError):
        unpack_digests(b"a" * 21)
