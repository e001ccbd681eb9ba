"""Manifests as bytes."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycc.cache import manifest
from pycc.cache.compression import compress, decompress
from pycc.cache.digest import DIGEST_SIZE
from pycc.cache.fingerprint import KEY_SIZE
from pycc.cache.manifest import (
    LIMIT,
    MAX_ENTRIES,
    NEEDS_TEXT,
    STATS,
    ManifestEntry,
    ManifestError,
    add,
    pack,
    unpack,
)
from tests.quick import quick

PATHS = st.binary(max_size=12).map(lambda b: b.replace(b"\0", b"/"))
KEYS = st.binary(min_size=KEY_SIZE, max_size=KEY_SIZE)
DIGESTS = st.binary(min_size=DIGEST_SIZE, max_size=DIGEST_SIZE)
ENTRIES = st.builds(
    ManifestEntry,
    KEYS,
    st.lists(st.tuples(PATHS, DIGESTS), max_size=4).map(tuple),
    st.lists(st.tuples(PATHS, st.lists(PATHS, max_size=3).map(tuple)), max_size=3).map(tuple),
    st.lists(PATHS, max_size=3).map(tuple),
    st.integers(0, 2**16 - 1).map(lambda flags: flags & ~STATS),  # that one is stats itself
    PATHS,
)


def entry(
    files: tuple[tuple[bytes, bytes], ...] = (), key: bytes = b"k", **fields: object
) -> ManifestEntry:
    return ManifestEntry(key * KEY_SIZE, files, **fields)  # type: ignore[arg-type]


def file(name: bytes, content: bytes = b"c") -> tuple[bytes, bytes]:
    return name, content * DIGEST_SIZE


EXAMPLE = (
    entry((file(b"a.h"), file(b"/usr/b.h")), groups=((b"/inc", (b"a.h", b"sys/b.h")),)),
    entry((file(b"a.h", b"d"),), present=(b"p.h",), day=b"2024-02-29"),
)


def test_sizes_and_times_survive() -> None:
    files = (file(b"a.h"), file(b"/usr/b.h"))
    with_stats = entry(files, stats=((1, -(2**62), 3), (2**40, 5, 2**62)), flags=NEEDS_TEXT)
    assert unpack(pack((with_stats, entry(files)))) == (with_stats, entry(files))


def test_an_entry_with_times_takes_the_place_of_one_without() -> None:
    files = (file(b"a.h"),)
    with_stats = entry(files, stats=((1, 2, 3),))
    assert add((entry(files),), with_stats) == (with_stats,)


@quick
@given(st.lists(ENTRIES, max_size=4).map(tuple))
def test_manifests_survive(entries: tuple[ManifestEntry, ...]) -> None:
    assert unpack(pack(entries)) == entries


def test_a_manifest_that_is_cut_anywhere_is_none() -> None:
    whole = pack(EXAMPLE)
    for length in range(len(whole)):
        with pytest.raises(ManifestError):
            unpack(whole[:length])


def framed(raw: bytes) -> bytes:
    return manifest._HEAD.pack(b"PM", 1, 0, len(raw)) + compress(raw, 1)


def test_content_that_is_cut_anywhere_is_none() -> None:
    value = pack(EXAMPLE)
    raw = decompress(value[manifest._HEAD.size :], manifest._HEAD.unpack_from(value)[3])
    assert unpack(framed(raw)) == EXAMPLE
    for length in range(len(raw)):
        with pytest.raises(ManifestError):
            unpack(framed(raw[:length]))


def test_content_with_more_behind_it_is_none() -> None:
    value = pack(EXAMPLE)
    raw = decompress(value[manifest._HEAD.size :], manifest._HEAD.unpack_from(value)[3])
    with pytest.raises(ManifestError):
        unpack(framed(raw + b"x"))


def a_table(paths: bytes = b"a\0", count: int = 1) -> bytes:
    return manifest._TABLE.pack(count, len(paths)) + paths


HUGE = 2**32 - 1


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        a_table(count=HUGE),
        a_table(count=0),
        manifest._TABLE.pack(1, HUGE) + b"a\0",
        a_table() + b"\xff\xff",
        a_table() + b"\1\0" + bytes(KEY_SIZE) + manifest._ENTRY.pack(0, HUGE, 0, 0, 0),
        a_table() + b"\1\0" + bytes(KEY_SIZE) + manifest._ENTRY.pack(0, 0, HUGE, 0, 0),
        a_table() + b"\1\0" + bytes(KEY_SIZE) + manifest._ENTRY.pack(0, 0, 0, HUGE, 0),
        a_table() + b"\1\0" + bytes(KEY_SIZE) + manifest._ENTRY.pack(0, 0, 0, 0, 7),
        a_table() + b"\1\0" + bytes(KEY_SIZE) + manifest._ENTRY.pack(0, 0, 0, 1, 0) + b"\7\0\0\0",
    ],
)
def test_claims_that_are_refused_allocate_nothing(raw: bytes) -> None:
    value = framed(raw)
    tracemalloc.start()
    try:
        with pytest.raises(ManifestError):
            unpack(value)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "head", [(b"PR", 1, 0, 4), (b"PM", 0, 0, 4), (b"PM", 2, 0, 4), (b"PM", 1, 0, LIMIT + 1)]
)
def test_heads_that_are_refused(head: tuple[bytes, int, int, int]) -> None:
    with pytest.raises(ManifestError):
        unpack(manifest._HEAD.pack(*head) + compress(b"data", 1))


@quick
@given(st.binary(max_size=300))
def test_garbage_gives_manifest_errors_only(data: bytes) -> None:
    for value in (data, manifest._HEAD.pack(b"PM", 1, 0, len(data)) + data, framed(data)):
        try:
            unpack(value)
        except ManifestError:
            continue


@quick
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_gives_manifest_errors_only(at: int, byte: int) -> None:
    value = pack(EXAMPLE)
    raw = bytearray(decompress(value[manifest._HEAD.size :], manifest._HEAD.unpack_from(value)[3]))
    raw[at % len(raw)] = byte
    try:
        unpack(framed(bytes(raw)))
    except ManifestError:
        return


def test_the_newest_entry_is_first() -> None:
    one, two = entry((file(b"a"),)), entry((file(b"a", b"x"),))
    assert add((one,), two) == (two, one)


def test_an_entry_with_the_same_witnesses_gives_way() -> None:
    old, new = entry((file(b"a"),), key=b"1"), entry((file(b"a"),), key=b"2")
    assert add((entry(), old), new) == (new, entry())


@pytest.mark.parametrize("fields", [{"day": b"2024-01-01"}, {"flags": NEEDS_TEXT}])
def test_another_day_or_flag_is_another_entry(fields: dict[str, object]) -> None:
    old, new = entry(), entry(**fields)  # type: ignore[arg-type]
    assert add((old,), new) == (new, old)


def test_the_oldest_entries_fall_out() -> None:
    entries: tuple[ManifestEntry, ...] = ()
    for number in range(MAX_ENTRIES + 5):
        entries = add(entries, entry((file(b"%d" % number),)))
    assert len(entries) == MAX_ENTRIES
    assert entries[0].files == (file(b"%d" % (MAX_ENTRIES + 4)),)
    assert entries[-1].files == (file(b"5"),)


def test_every_path_is_stored_once() -> None:
    names = tuple(file(b"/a/long/path/to/a/header/%d.h" % i) for i in range(100))
    twice = (entry(names), entry(tuple((p, b"x" * DIGEST_SIZE) for p, _ in names)))
    value = pack(twice)
    raw = decompress(value[manifest._HEAD.size :], manifest._HEAD.unpack_from(value)[3])
    assert raw.count(b"/a/long/path/to/a/header/7.h\0") == 1
