"""distcc's protocol: what the real programs send is read, and hostile bytes are refused."""

from __future__ import annotations

import lzo
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycc.remote import bulk
from pycc.remote.protocol import (
    File,
    Limits,
    Link,
    ProtocolError,
    Reader,
    Reply,
    Request,
    Truncated,
    reply_reader,
    request_reader,
    write_reply,
    write_request,
)

TEXT = st.binary(max_size=300)
WORD = st.binary(max_size=40).map(lambda b: b.replace(b"\0", b""))
PLAIN = st.builds(Request, st.sampled_from([0, 1, 2]), st.lists(WORD, max_size=8).map(tuple), TEXT)
FILES = st.lists(st.builds(File, WORD, TEXT) | st.builds(Link, WORD, WORD), max_size=6)
PUMP = st.builds(
    lambda argv, cwd, files: Request(3, tuple(argv), cwd=cwd, files=tuple(files)),
    st.lists(WORD, max_size=8),
    WORD,
    FILES,
)
REQUESTS = PLAIN | PUMP
REPLIES = st.builds(Reply, st.sampled_from([0, 1, 2]), st.just(0), TEXT, TEXT, TEXT) | st.builds(
    Reply, st.just(3), st.just(0), TEXT, TEXT, TEXT, TEXT
)
ENDS = st.integers(1, 255).map(lambda code: code << 8) | st.integers(1, 0x7E)
FAILURES = st.builds(Reply, st.sampled_from([1, 2, 3]), ENDS, TEXT, TEXT, st.just(b""))


def joined(parts: list[bytes]) -> bytes:
    return b"".join(parts)


# Captured from Debian's 3.4: client and server, `distcc gcc -O2 -I. -DX=1 -c t.c -o t.o`.
ARGV = (b"x86_64-linux-gnu-gcc", b"-O2", b"-c", b"t.c", b"-o", b"t.o")
ARGV_BYTES = (
    b"ARGC00000006ARGV00000014x86_64-linux-gnu-gccARGV00000003-O2ARGV00000002-c"
    b"ARGV00000003t.cARGV00000002-oARGV00000003t.o"
)


def test_a_request_in_the_bytes_of_the_real_client() -> None:
    text = b'# 0 "t.c"\nint x;\n'
    sent = b"DIST00000001" + ARGV_BYTES + b"DOTI00000011" + text
    assert joined(write_request(Request(1, ARGV, text))) == sent
    assert request_reader().feed(sent) == Request(1, ARGV, text)


def test_a_packed_body_of_the_real_client() -> None:
    packed = bytes.fromhex("1e23646566696e6520482034320a110000")
    assert bulk.decompress(packed, 100) == b"#define H 42\n"
    sent = (
        b"DIST00000003CDIR00000004/srcARGC00000001ARGV00000003gccNFIL00000002"
        b"NAME00000008/src/h.hFILE00000011" + packed + b"NAME00000006/src/l"
        b"LINK00000008/src/h.h"
    )
    files = (File(b"/src/h.h", b"#define H 42\n"), Link(b"/src/l", b"/src/h.h"))
    assert request_reader().feed(sent) == Request(3, (b"gcc",), cwd=b"/src", files=files)


def test_a_failed_compile_in_the_bytes_of_the_real_server() -> None:
    err = b"bad.c:1:7: error: expected"
    sent = b"DONE00000001STAT00000100SERR%08xSOUT00000000DOTO00000000" % len(err)
    sent = sent.replace(b"SOUT", err + b"SOUT")
    assert joined(write_reply(Reply(1, 0x100, err))) == sent
    reader = reply_reader(1)
    assert reader.feed(sent) == Reply(1, 0x100, err)
    assert reader.rest == b"DOTO00000000"


@pytest.mark.parametrize("digits", [b"0000000A", b"0000000a"])
def test_digits_of_either_size_are_read(digits: bytes) -> None:
    sent = b"DIST00000001ARGC00000000DOTI" + digits + b"0123456789"
    assert request_reader().feed(sent) == Request(1, (), b"0123456789")


@given(REQUESTS, TEXT)
def test_a_request_is_read_as_it_was_written(request_: Request, behind: bytes) -> None:
    reader = request_reader()
    assert reader.feed(joined(write_request(request_)) + behind) == request_
    assert reader.rest == behind
    assert reader.end() == request_


@given(REPLIES | FAILURES)
def test_a_reply_is_read_as_it_was_written(reply: Reply) -> None:
    assert reply_reader(reply.version).feed(joined(write_reply(reply))) == reply


@given(REQUESTS, st.integers(1, 7))
def test_pieces_of_any_size_will_do(request_: Request, size: int) -> None:
    sent = joined(write_request(request_))
    reader = request_reader()
    for at in range(0, len(sent), size):
        assert reader.message is None
        assert reader.wanted > 0
        reader.feed(sent[at : at + size])
    assert reader.message == request_
    assert reader.wanted == 0


@given(REQUESTS, st.data())
def test_a_cut_request_is_no_request(request_: Request, data: st.DataObject) -> None:
    sent = joined(write_request(request_))
    reader = request_reader()
    assert reader.feed(sent[: data.draw(st.integers(0, len(sent) - 1))]) is None
    with pytest.raises(Truncated):
        reader.end()


@given(REPLIES, st.data())
def test_a_cut_reply_is_no_reply(reply: Reply, data: st.DataObject) -> None:
    parts = write_reply(reply)
    if reply.version == 3:
        parts = parts[:-2]  # the list of headers may be missing
    sent = joined(parts)
    reader = reply_reader(reply.version)
    assert reader.feed(sent[: data.draw(st.integers(0, len(sent) - 1))]) is None
    with pytest.raises(Truncated):
        reader.end()


def test_a_reply_without_its_list_of_headers_is_one() -> None:
    reply = Reply(3, 0, b"", b"", b"object", b"t.o: t.c")
    reader = reply_reader(3)
    assert reader.feed(joined(write_reply(reply)[:-2])) is None
    assert reader.end() == Reply(3, 0, b"", b"", b"object", None)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"DIST00000004", "version 4"),
        (b"DISTffffffff", "version 4294967295"),
        (b"GET / HTTP/1", "expected DIST"),
        (b"DIST0000 001", "number"),
        (b"DIST+0000001", "number"),
        (b"DIST0x000001", "number"),
        (b"DIST0000_001", "number"),
        (b"DIST0000000\xb2", "number"),
        (b"DIST00000001ARGCffffffff", "above the limit"),
        (b"DIST00000001ARGC00000001ARGVffffffff", "above the limit"),
        (b"DIST00000001ARGC00000001ARGV00000003a\0b", "NUL"),
        (b"DIST00000001ARGC00000000DOTIffffffff", "above the limit"),
        (b"DIST00000001ARGC00000000FILE00000000", "expected DOTI"),
        (b"DIST00000002ARGC00000000DOTI00000003abc", "LZO"),
        (b"DIST00000003CDIR00002000", "above the limit"),
        (b"DIST00000003CDIR00000000ARGC00000000NFILffffffff", "above the limit"),
        (b"DIST00000003CDIR00000000ARGC00000000NFIL00000001NAME00000000DOTI", "LINK"),
        (b"DIST00000003CDIR00000000ARGC00000000NFIL00000001NAME00000000LINK00010000", "limit"),
    ],
)
def test_what_is_wrong_is_named(sent: bytes, said: str) -> None:
    with pytest.raises(ProtocolError, match=said):
        request_reader().feed(sent + bytes(12))


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"DONE00000002STAT00000000", "version 2"),
        (b"DONE00000001SERR00000000", "expected STAT"),
        # Stopped, going on, an exit with 0 that is not 0, and more than a C int.
        (b"DONE00000001STAT0000137f", "STAT 0x137f is not how a process ends"),
        (b"DONE00000001STAT0000ffff", "not how a process ends"),
        (b"DONE00000001STAT00000080", "not how a process ends"),
        (b"DONE00000001STAT00010000", "not how a process ends"),
        (b"DONE00000001STAT80000000", "not how a process ends"),
        (b"DONE00000001STAT00000000SERRffffffff", "above the limit"),
    ],
)
def test_what_is_wrong_with_a_reply_is_named(sent: bytes, said: str) -> None:
    with pytest.raises(ProtocolError, match=said):
        reply_reader(1).feed(sent + bytes(12))


def test_the_words_of_a_command_are_bounded_together() -> None:
    limits = Limits(word=10, command=15)
    sent = joined(write_request(Request(1, (b"12345678", b"12345678"), b"")))
    with pytest.raises(ProtocolError, match="ARGV 8 is above the limit of 7"):
        request_reader(limits).feed(sent)


def test_bodies_are_bounded_together_by_what_they_hold() -> None:
    limits = Limits(text=60_000, total=120_000)
    files = tuple(File(b"/%d" % n, bytes(50_000)) for n in range(3))
    sent = joined(write_request(Request(3, (), cwd=b"/", files=files)))
    assert len(sent) < 2_000
    with pytest.raises(ProtocolError, match="holds more than"):
        request_reader(limits).feed(sent)


@given(st.binary(max_size=400))
@settings(max_examples=300)
def test_other_bytes_are_refused_or_waited_for(sent: bytes) -> None:
    for reader in (request_reader(), reply_reader(2)):
        assert not refused_or_read(reader, sent)


def refused_or_read(reader: Reader[Request] | Reader[Reply], sent: bytes) -> bool:
    try:
        return reader.feed(sent) is not None
    except ProtocolError:
        return False


@given(REQUESTS, st.data())
def test_a_changed_byte_does_no_harm(request_: Request, data: st.DataObject) -> None:
    sent = bytearray(joined(write_request(request_)))
    sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    refused_or_read(request_reader(Limits(text=5_000, total=20_000)), bytes(sent))


# Bulk.


@given(st.binary(max_size=5_000) | st.integers(0, 200_000).map(bytes))
def test_what_was_packed_is_unpacked(data: bytes) -> None:
    assert bulk.decompress(bulk.compress(data), len(data)) == data


def test_nothing_is_packed_as_nothing() -> None:
    assert bulk.compress(b"") == b""
    assert bulk.decompress(b"", 0) == b""
    assert bulk.decompress(bytes.fromhex("110000"), 0) == b""


def test_a_body_that_grows_too_much_is_refused() -> None:
    packed = bulk.compress(bytes(10 << 20))
    assert len(packed) < 100_000
    with pytest.raises(bulk.BulkError, match="holds more than 1048576"):
        bulk.decompress(packed, 1 << 20)
    assert len(bulk.decompress(packed, 10 << 20)) == 10 << 20


@given(st.binary(min_size=1, max_size=200))
def test_what_is_no_stream_is_refused(body: bytes) -> None:
    try:
        data = bulk.decompress(body, 1 << 16)
    except bulk.BulkError:
        return
    assert lzo.decompress(body, False, 1 << 16) == data


def test_a_version_that_is_not_known_cannot_be_written() -> None:
    with pytest.raises(ProtocolError, match="version 4"):
        write_request(Request(4, ()))
