"""The wire between launcher and server."""

import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycc import frame
from pycc.frame import (
    HEADER,
    LIMIT,
    MAGIC,
    REPLY,
    REPORT,
    REQUEST,
    Exec,
    Exit,
    Fallback,
    FrameError,
    Link,
    Op,
    Out,
    Report,
    Request,
    Run,
    Shared,
    Unlink,
    Wait,
    Write,
    frame_length,
    read_environment,
    read_reply,
    read_report,
    read_request,
    write_reply,
)
from tests.quick import quick

ROOT = Path(__file__).resolve().parent.parent
WORDS = st.binary(max_size=30).map(lambda b: b.replace(b"\0", b"?"))
U32 = st.integers(0, 2**32 - 1)
OPS = st.one_of(
    st.builds(Write, WORDS, st.binary(max_size=50), U32, U32),
    st.builds(Out, U32, st.binary(max_size=50)),
    st.builds(
        Run,
        st.lists(WORDS, min_size=1, max_size=4).map(tuple),
        U32,
        st.lists(WORDS, max_size=3).map(tuple),
        WORDS,
    ),
    st.builds(
        Exec,
        st.lists(WORDS, min_size=1, max_size=4).map(tuple),
        st.lists(WORDS, max_size=3).map(tuple),
    ),
    st.builds(Exit, U32),
    st.builds(Shared, WORDS, U32, U32, U32, U32),
    st.builds(Unlink, WORDS),
    st.builds(Link, WORDS, WORDS, U32),
    st.builds(Wait, U32),
    st.builds(Fallback),
)


def a_request(
    argv: bytes = b"gcc\0-c\0",
    environment: bytes = b"A=1\0",
    cwd: bytes = b"/w",
    argc: int | None = None,
    umask: int = 0o22,
    flags: int = 0,
) -> bytes:
    """A request as launcher.c writes it."""
    count = argv.count(b"\0") if argc is None else argc
    lengths = (len(cwd), len(argv), len(environment))
    head = frame._REQUEST.pack(umask, flags, count, environment.count(b"\0"), *lengths, 0)
    body = head + cwd + argv + environment
    return HEADER.pack(HEADER.size + len(body), MAGIC, REQUEST) + body


def a_report(
    status: int = 0, error: int = 0, out: bytes = b"out", err: bytes = b"err", ns: int = 5
) -> bytes:
    body = frame._REPORT.pack(status, error, len(out), len(err), ns) + out + err
    return HEADER.pack(HEADER.size + len(body), MAGIC, REPORT) + body


def test_a_request_is_read() -> None:
    got = read_request(a_request(umask=0o77, flags=5), pid=7)
    assert got == Request((b"gcc", b"-c"), b"gcc\0-c\0", b"A=1\0", b"/w", 0o77, 5, 7, got.name)
    assert got.name == frame.name_of(a_request(umask=0o77, flags=5))


@pytest.mark.parametrize(
    ("flags", "tty", "own"),
    [(0, False, False), (1, True, False), (4, False, True), (5, True, True)],
)
def test_flags_of_a_request(flags: int, tty: bool, own: bool) -> None:
    got = read_request(a_request(flags=flags))
    assert (got.stderr_tty, got.own_name) == (tty, own)


def test_empty_words_are_words() -> None:
    assert read_request(a_request(argv=b"gcc\0\0")).argv == (b"gcc", b"")


@pytest.mark.parametrize(
    "bad",
    [
        a_request(cwd=b"w"),
        a_request(cwd=b""),
        a_request(cwd=b"/a\0b"),
        a_request(argv=b"gcc\0-c"),
        a_request(argc=1),
        a_request(argc=3),
        a_request(argv=b""),
        a_request(argv=b"", argc=2**32 - 1),
        a_request()[:-1],
        a_request() + b"x",
        a_request() + a_request(),
        a_report(),
        b"",
    ],
)
def test_what_is_no_request(bad: bytes) -> None:
    with pytest.raises(FrameError):
        read_request(bad)


def test_a_report_is_read() -> None:
    assert read_report(a_report(256, 2)) == Report(256, 2, b"out", b"err", 5)


@pytest.mark.parametrize(
    ("status", "error", "ok"), [(0, 0, True), (256, 0, False), (9, 0, False), (0, 2, False)]
)
def test_when_a_report_is_good(status: int, error: int, ok: bool) -> None:
    assert read_report(a_report(status, error)).ok is ok


@pytest.mark.parametrize("whole", [a_request(), a_report()])
def test_a_frame_that_is_cut_anywhere_is_none(whole: bytes) -> None:
    read = read_request if whole == a_request() else read_report
    for length in range(len(whole)):
        with pytest.raises(FrameError):
            read(whole[:length])


@pytest.mark.parametrize(
    "header",
    [
        (HEADER.size - 1, MAGIC, REQUEST),
        (0, MAGIC, REQUEST),
        (LIMIT + 1, MAGIC, REQUEST),
        (2**32 - 1, MAGIC, REPORT),
        (100, MAGIC + 1, REQUEST),
        (100, MAGIC, 0),
        (100, MAGIC, 4),
    ],
)
def test_headers_that_are_refused(header: tuple[int, int, int]) -> None:
    with pytest.raises(FrameError):
        frame_length(HEADER.pack(*header))


def test_the_length_is_known_from_the_header() -> None:
    assert frame_length(bytearray(a_request()[: HEADER.size])) == len(a_request())


@pytest.mark.parametrize("places", [(4, 5, 6), (4,), (5,), (6,)])
def test_claimed_lengths_allocate_nothing(places: tuple[int, ...]) -> None:
    fields = [0o22, 0, 1, 0, 2, 4, 0, 0]
    for place in places:
        fields[place] = 2**32 - 1
    body = frame._REQUEST.pack(*fields) + b"/wgcc\0"
    whole = HEADER.pack(HEADER.size + len(body), MAGIC, REQUEST) + body
    tracemalloc.start()
    try:
        with pytest.raises(FrameError):
            read_request(whole)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@quick
@given(st.binary(max_size=200))
def test_garbage_gives_frame_errors_only(data: bytes) -> None:
    for kind in (REQUEST, REPORT, REPLY):
        for whole in (data, HEADER.pack(HEADER.size + len(data), MAGIC, kind) + data):
            for read in (read_request, read_report, read_reply):
                try:
                    read(whole)
                except FrameError:
                    continue


@quick
@given(st.binary(max_size=60), st.integers(0, 60), st.integers(0, 255))
def test_a_changed_byte_gives_frame_errors_only(extra: bytes, at: int, byte: int) -> None:
    whole = bytearray(a_request(environment=extra))
    whole[at % len(whole)] = byte
    try:
        got = read_request(bytes(whole))
    except FrameError:
        return
    assert got.argv
    assert got.cwd.startswith(b"/")


@quick
@given(st.lists(OPS, max_size=6))
def test_replies_survive_the_wire(ops: list[Op]) -> None:
    whole = write_reply(ops)
    assert frame_length(whole) == len(whole)
    assert len(whole) % 4 == 0
    assert read_reply(whole) == ops


def test_a_reply_that_is_cut_anywhere_is_none() -> None:
    whole = write_reply([Write(b"a.o", b"data"), Out(2, b"x"), Exit(0)])
    for length in range(len(whole)):
        with pytest.raises(FrameError):
            read_reply(whole[:length])


def test_a_reply_is_never_longer_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "LIMIT", 100)
    with pytest.raises(FrameError):
        write_reply([Write(b"a", bytes(100))])


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (b"", {}),
        (b"A=1\0B=2\0", {b"A": b"1", b"B": b"2"}),
        (b"A=1\0A=2\0", {b"A": b"1"}),
        (b"A=x=y\0", {b"A": b"x=y"}),
        (b"no equals sign\0A=\0", {b"A": b""}),
        (b"A=\xff\xfe\0", {b"A": b"\xff\xfe"}),
    ],
)
def test_environments(block: bytes, expected: dict[bytes, bytes]) -> None:
    assert read_environment(block) == expected


def test_the_numbers_are_those_of_the_header_file() -> None:
    text = (ROOT / "pycc/launcher/frame.h").read_text()
    defined = {
        name: int(value, 0)
        for name, value in re.findall(r"\b([A-Z][A-Z_]+)(?: =)? (0x[0-9a-f]+|\d+)u?\b", text)
    }
    assert defined["FRAME_MAGIC"] == MAGIC
    assert defined["FRAME_HEADER"] == HEADER.size
    assert "#define FRAME_LIMIT (1u << 30)" in text
    assert LIMIT == 1 << 30
    for kind in ("REQUEST", "REPORT", "REPLY"):
        assert defined[f"KIND_{kind}"] == getattr(frame, kind)
    for name, value in defined.items():
        prefix, _, flag = name.partition("_")
        if prefix in ("REQUEST", "OUT", "RUN"):
            assert getattr(frame, flag) == value, name
    assert {"REQUEST_OWN_NAME", "OUT_REPLACE", "RUN_FINAL"} <= defined.keys()
    ops: list[Op] = [
        Write(b"", b""),
        Out(1, b""),
        Run((b"x",), 0),
        Exec((b"x",)),
        Exit(0),
        Unlink(b""),
    ]
    codes = ["WRITE", "OUT", "RUN", "EXEC", "EXIT", "UNLINK", "WAIT", "LINK", "FALLBACK"]
    for name, op in zip(codes, [*ops, Wait(0), Link(b"", b""), Fallback()], strict=True):
        code = int.from_bytes(write_reply([op])[HEADER.size :][:4], "little")
        assert code == defined[f"OP_{name}"], name
