"""Results as bytes."""

import os
import threading
import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pycc.cache import result
from pycc.cache.compression import CompressionError, compress, decompress
from pycc.cache.result import LIMIT, Entry, Kind, ResultError, pack, unpack
from tests.quick import quick

ENTRIES = st.lists(
    st.builds(Entry, st.sampled_from(Kind), st.binary(max_size=200), st.binary(max_size=20)),
    max_size=5,
)
EXAMPLE = [Entry(Kind.OBJECT, b"\x7fELF" * 20), Entry(Kind.DEPENDENCY, b"a: b\n", b"1a.o")]


@quick
@given(ENTRIES, st.booleans(), st.sampled_from([-5, 1, 19]))
def test_results_survive(entries: list[Entry], compressed: bool, level: int) -> None:
    assert unpack(pack(entries, level, compressed)) == entries


@pytest.mark.parametrize("compressed", [True, False])
def test_a_large_result_is_unpacked_where_there_is_room(compressed: bool) -> None:
    data = os.urandom(300_000)
    entries = [Entry(Kind.DEPENDENCY, b"a: b\n", b"1a.o"), Entry(Kind.OBJECT, data, b"n")]
    value = pack(entries, compressed=compressed)
    memory = bytearray(1 << 20)
    dependency, made = unpack(value, lambda size: memoryview(memory)[:size])
    assert dependency == entries[0]
    assert made.data == data
    assert memory[made.at :][: len(data)] == data
    for room in (None, lambda size: None):
        assert [entry.at for entry in unpack(value, room)] == [-1, -1]
    for length in range(0, len(value), 30_011):
        with pytest.raises(ResultError):
            unpack(value[:length], lambda size: memoryview(memory)[:size])


def test_a_small_result_needs_no_room() -> None:
    def room(size: int) -> memoryview:
        raise AssertionError(size)

    assert unpack(pack(EXAMPLE), room) == EXAMPLE


@pytest.mark.parametrize("compressed", [True, False])
def test_a_result_that_is_cut_anywhere_is_none(compressed: bool) -> None:
    whole = pack(EXAMPLE, compressed=compressed)
    for length in range(len(whole)):
        with pytest.raises(ResultError):
            unpack(whole[:length])


def test_trailing_data_makes_no_other_result() -> None:
    with pytest.raises(ResultError):
        unpack(pack(EXAMPLE, compressed=False) + b"x")
    assert unpack(pack(EXAMPLE) + b"x") == EXAMPLE


@pytest.mark.parametrize(
    "head",
    [
        (b"PM", 1, 0, 4),
        (b"PR", 0, 0, 4),
        (b"PR", 2, 0, 4),
        (b"PR", 1, 0, LIMIT + 1),
        (b"PR", 1, 1, 2**32 - 1),
    ],
)
def test_heads_that_are_refused(head: tuple[bytes, int, int, int]) -> None:
    with pytest.raises(ResultError):
        unpack(result._HEAD.pack(*head) + b"data")


@pytest.mark.parametrize(
    "raw",
    [
        result._ENTRY.pack(0, 0, 1),
        result._ENTRY.pack(0, 1, 0),
        result._ENTRY.pack(0, 2**16 - 1, 2**32 - 1),
        result._ENTRY.pack(200, 0, 0),
        result._ENTRY.pack(0, 0, 0) + b"x",
    ],
)
@pytest.mark.parametrize("compressed", [True, False])
def test_entries_that_are_refused(raw: bytes, compressed: bool) -> None:
    head = result._HEAD.pack(b"PR", 1, 0 if compressed else 1, len(raw))
    with pytest.raises(ResultError):
        unpack(head + (compress(raw, 1) if compressed else raw))


def claiming(size: int) -> bytes:
    """A frame whose head says that it holds ``size`` bytes (RFC 8878, 3.1.1.1)."""
    return b"\x28\xb5\x2f\xfd" + bytes([0b11100000]) + size.to_bytes(8, "little") + b"\x01\0\0"


@pytest.mark.parametrize("claim", [1 << 34, 1 << 62, 2**64 - 3, 101, 99])
def test_what_a_frame_claims_is_never_allocated(claim: int) -> None:
    value = result._HEAD.pack(b"PR", 1, 0, 100) + claiming(claim)
    tracemalloc.start()
    try:
        with pytest.raises(ResultError):
            unpack(value)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_frame_that_does_not_name_its_size_is_refused() -> None:
    stream = zstandard.ZstdCompressor(write_content_size=False).compress(b"data")
    with pytest.raises(CompressionError):
        decompress(stream, 4)


def test_nothing_is_a_frame_of_no_bytes() -> None:
    assert decompress(compress(b"", 1), 0) == b""
    with pytest.raises(CompressionError):
        decompress(b"", 0)


@quick
@given(st.binary(max_size=300), st.integers(0, 1000), st.booleans())
def test_garbage_gives_result_errors_only(data: bytes, size: int, stored: bool) -> None:
    for value in (data, result._HEAD.pack(b"PR", 1, stored, size) + data):
        try:
            unpack(value)
        except ResultError:
            continue


@quick
@given(st.integers(0, 10_000), st.integers(0, 255), st.booleans())
def test_a_changed_byte_gives_result_errors_only(at: int, byte: int, compressed: bool) -> None:
    value = bytearray(pack(EXAMPLE, compressed=compressed))
    value[at % len(value)] = byte
    try:
        unpack(bytes(value))
    except ResultError:
        return


def test_threads_do_not_get_each_others_bytes() -> None:
    contents = [[Entry(Kind.OBJECT, os.urandom(40_000) * 10)] for _ in range(4)]
    values = [pack(entries) for entries in contents]
    wrong: list[object] = []

    def read(which: int) -> None:
        for _ in range(60):
            try:
                if unpack(values[which]) != contents[which]:
                    wrong.append(which)
            except ResultError as problem:
                wrong.append(problem)

    threads = [threading.Thread(target=read, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
