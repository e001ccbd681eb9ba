"""A client that lies to the daemon: about its compiler, about digests, about what a text is. It may
waste its own time; what another client receives is never changed by it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from pycc.remote.protocol import (
    COMPILE,
    FETCH,
    NOT_KEPT,
    OTHER_COMPILER,
    OURS_LZO,
    OURS_PLAIN,
    ProtocolError,
    Reply,
    Request,
    text_digest,
)
from tests.daemon_kit import Daemon, a_farm, identity_of_gcc

JOB = (b"gcc", b"-O1", b"-c", b"a.c", b"-o", b"a.o")
ENVIRONMENT = {b"PATH": b"/usr/bin:/bin", b"LC_ALL": b"C.UTF-8"}
_numbers = count(1)


def digest(text: bytes) -> bytes:
    return text_digest(text).hex().encode()


def text_of(number: int) -> bytes:
    return b'# 1 "a.c"\nint answer(void) { return %d; }\n' % number


@dataclass(frozen=True)
class Texts:
    """The text of honest clients with its object, and the liar's; no other test has the same."""

    true: bytes
    false: bytes
    expected: bytes


@pytest.fixture(scope="module")
def farm() -> Iterator[Daemon]:
    with a_farm() as farm:
        yield farm


@pytest.fixture(scope="module")
def identity() -> bytes:
    return identity_of_gcc()


@pytest.fixture
def texts(tmp_path: Path) -> Texts:
    true, false = text_of(next(_numbers)), text_of(-next(_numbers))
    (tmp_path / "a.i").write_bytes(true)
    command = ["gcc", "-O1", "-c", "a.i", "-o", "out.o"]
    subprocess.run(command, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, check=True)
    return Texts(true, false, (tmp_path / "out.o").read_bytes())


def compiled(farm: Daemon, identity: bytes, text: bytes, version: int = OURS_PLAIN) -> Reply:
    return farm.ask(Request(version, (COMPILE, identity, *JOB), text))


def kept(farm: Daemon, identity: bytes, wanted: bytes, text: bytes = b"") -> Reply:
    return farm.ask(Request(OURS_PLAIN, (FETCH, identity, wanted, *JOB), text))


def assert_the_lies_left_nothing(farm: Daemon, identity: bytes, texts: Texts) -> None:
    """What honest clients get, and nothing is kept before the first of them has asked."""
    assert kept(farm, identity, digest(texts.true)).status == NOT_KEPT << 8
    for reply in (
        farm.ask(Request(1, JOB, texts.true)),
        farm.ask(Request(2, JOB, texts.true)),
        compiled(farm, identity, texts.true),
        compiled(farm, identity, texts.true, OURS_LZO),
        kept(farm, identity, digest(texts.true)),
    ):
        assert (reply.status, reply.object, reply.err) == (0, texts.expected, b"")


@pytest.mark.parametrize("false", [b"00" * 32, b"ab", b"\xff", b"x" * 60_000, b"../../x"])
def test_about_its_compiler(farm: Daemon, identity: bytes, texts: Texts, false: bytes) -> None:
    for text in (texts.true, texts.false):
        assert compiled(farm, false, text).status == OTHER_COMPILER << 8
    assert kept(farm, false, digest(texts.true), texts.false).status == OTHER_COMPILER << 8
    assert_the_lies_left_nothing(farm, identity, texts)


def test_about_what_a_digest_is_of(farm: Daemon, identity: bytes, texts: Texts) -> None:
    """Another text beside the digest that an honest client is going to ask for."""
    for known in (identity, b""):
        assert kept(farm, known, digest(texts.true), texts.false).status == NOT_KEPT << 8
    assert_the_lies_left_nothing(farm, identity, texts)
    # And when the true one is kept, it is what comes, whatever else is said.
    assert kept(farm, identity, digest(texts.true), texts.false).object == texts.expected
    false = compiled(farm, identity, texts.false)
    assert false.status == 0
    assert false.object != texts.expected
    assert kept(farm, identity, digest(texts.true)).object == texts.expected
    assert kept(farm, identity, digest(texts.false), texts.true).object == false.object


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"0",
        b"zz" * 32,
        b"<digest>0",
        b"0<digest>",
        b"<DIGEST>",
        b"../" * 20 + b"etc/passwd",
        b"\xff" * 64,
        b"a" * 120_000,
    ],
)
def test_with_what_is_no_digest(farm: Daemon, identity: bytes, texts: Texts, odd: bytes) -> None:
    """It is not kept, and a text beside it is not compiled: questions wait for no turn."""
    wanted = digest(texts.true)
    odd = odd.replace(b"<digest>", wanted).replace(b"<DIGEST>", wanted.upper())
    assert kept(farm, identity, odd, texts.false).status == NOT_KEPT << 8
    assert_the_lies_left_nothing(farm, identity, texts)
    assert kept(farm, identity, digest(texts.false)).status == NOT_KEPT << 8
    assert kept(farm, identity, odd).status == NOT_KEPT << 8


def test_with_a_digest_that_is_too_long_for_the_protocol(
    farm: Daemon, identity: bytes, texts: Texts
) -> None:
    with pytest.raises((ProtocolError, ConnectionError)):
        kept(farm, identity, b"a" * 140_000)
    assert_the_lies_left_nothing(farm, identity, texts)


@pytest.mark.parametrize(
    "argv",
    [
        (COMPILE, b"", FETCH, b"", b"<digest>", *JOB),
        (COMPILE, b"", COMPILE, b"", *JOB),
        (FETCH, b"", b"<digest>", FETCH, b"", b"<digest>", *JOB),
        (b"store", b"", b"<digest>", *JOB),
        (COMPILE, b"<digest>", *JOB),
        (COMPILE,),
        (FETCH, b""),
        JOB,
    ],
)
def test_about_what_it_asks_for(
    farm: Daemon, identity: bytes, texts: Texts, argv: tuple[bytes, ...]
) -> None:
    argv = tuple(word.replace(b"<digest>", digest(texts.true)) for word in argv)
    farm.ask(Request(OURS_PLAIN, argv, texts.false))
    assert_the_lies_left_nothing(farm, identity, texts)


def test_about_where_the_text_comes_from(farm: Daemon, identity: bytes, texts: Texts) -> None:
    """The markers of the true text, its names and its words, around another one."""
    for text in (
        texts.false,
        texts.true + texts.false.replace(b"answer", b"more"),
        texts.true + b"\n",
        texts.true[:-1],
    ):
        assert compiled(farm, identity, text).status == 0
        assert farm.ask(Request(1, JOB, text)).status == 0
    assert_the_lies_left_nothing(farm, identity, texts)
