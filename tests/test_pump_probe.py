"""Questions about a server's own headers, answered by a compiler."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pycc.remote.protocol import File, Reply
from pycc.remote.pump_probe import KNOWN_SECONDS, Facts, Known, Question, differing, question


def answer(asked: Question, place: Path, compiler: str = "gcc") -> Reply:
    """What a server with this machine's files says."""
    (file,) = asked.request.files
    assert isinstance(file, File)
    (place / "question.c").write_bytes(file.content)
    argv = [compiler, *(word.decode() for word in asked.request.argv[1:])]
    done = subprocess.run(argv, cwd=place, capture_output=True, check=False)
    made = (place / "question.o").read_bytes() if done.returncode == 0 else b""
    return Reply(3, done.returncode << 8, done.stderr, b"", made, b"")


def read(path: bytes, digest: bytes) -> bytes | None:
    return Path(path.decode()).read_bytes() if digest == b"good" else None


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_what_is_the_same_is_found_the_same(tmp_path: Path, compiler: str) -> None:
    one, two = tmp_path / "one.h", tmp_path / "two.h"
    one.write_text("int one;\n")
    two.write_bytes(b"\0\xff any bytes\n")
    facts = Facts(
        ((bytes(one), b"good"), (bytes(two), b"good")),
        (bytes(one),),
        ((bytes(tmp_path) + b"/", (b"three.h", b"sub/four.h")),),
    )
    asked = question(facts, compiler.encode(), read)
    assert isinstance(asked, Question)
    assert differing(asked, answer(asked, tmp_path, compiler)) == ""


def test_what_is_another_there_is_named(tmp_path: Path) -> None:
    one, two = tmp_path / "one.h", tmp_path / "two.h"
    one.write_text("int one;\n")
    two.write_text("int two;\n")
    facts = Facts(
        ((bytes(one), b"good"), (bytes(two), b"good")),
        (bytes(two),),
        ((bytes(tmp_path) + b"/", (b"three.h",)),),
    )
    asked = question(facts, b"gcc", read)
    assert isinstance(asked, Question)
    one.write_text("int one;\nint more;\n")
    assert differing(asked, answer(asked, tmp_path)) == str(one)
    one.write_text("int One;\n")
    assert differing(asked, answer(asked, tmp_path)) == str(one)
    one.write_text("int one;\n")
    (tmp_path / "three.h").touch()
    assert differing(asked, answer(asked, tmp_path)) == f'"{tmp_path}/three.h" is there'
    (tmp_path / "three.h").unlink()
    two.unlink()
    assert str(two) in differing(asked, answer(asked, tmp_path))


def test_an_answer_that_is_none_is_not_believed(tmp_path: Path) -> None:
    asked = question(Facts(((b"/usr/include/stdio.h", b"good"),)), b"gcc", read)
    assert isinstance(asked, Question)
    assert differing(asked, Reply(3, 0, b"", b"", b"", b""))
    assert differing(asked, Reply(3, 0, b"", b"", asked.mark, b""))
    assert differing(asked, Reply(3, 1 << 8, b"", b""))


@pytest.mark.parametrize("name", [b'/a"b.h', b"/a\\b.h", b"/a\nb.h", b"/\xe9.h", b"relative.h"])
def test_what_cannot_be_asked_for_is_said(name: bytes) -> None:
    assert "cannot be asked for" in str(question(Facts(present=(name,)), b"gcc", read))
    assert "has changed" in str(question(Facts(((b"/x", b"bad"),)), b"gcc", read))


def test_what_was_asked_is_not_asked_again() -> None:
    clock = [0.0]
    known = Known(lambda: clock[0])
    facts = Facts(((b"/a", b"1"),), (b"/b",), ((b"/c/", (b"x", b"y")),))
    assert known.unknown("host", facts) == facts
    known.learn("host", facts)
    assert not known.unknown("host", facts)
    assert not known.unknown("host", Facts(present=(b"/a",)))
    assert known.unknown("host", Facts(((b"/a", b"2"),))).files == ((b"/a", b"2"),)
    assert known.unknown("host", Facts(absent=((b"/c/", (b"x", b"z")),))).absent == (
        (b"/c/", (b"z",)),
    )
    assert known.unknown("another", facts) == facts
    clock[0] = KNOWN_SECONDS
    assert known.unknown("host", facts) == facts


def test_a_difference_is_remembered_for_a_while() -> None:
    clock = [0.0]
    known = Known(lambda: clock[0])
    assert known.different("host") == ""
    known.learn_difference("host", "/usr/include/stdio.h")
    assert known.different("host") == "/usr/include/stdio.h"
    clock[0] = KNOWN_SECONDS
    assert known.different("host") == ""


def test_lookups_hold_as_long_as_what_was_asked() -> None:
    clock = [1.0]
    known = Known(lambda: clock[0])
    key = object()
    assert known.period("host") is None
    known.learn("host", Facts(present=(b"/a",)), key, 0b1, known.period("host"))
    assert known.lookups("host", key) == 0
    known.learn("host", Facts(present=(b"/b",)), key, 0b10, known.period("host"))
    known.learn("host", Facts(), key, 0b100, known.period("host"))
    assert known.lookups("host", key) == 0b110
    assert known.lookups("host", object()) == known.lookups("another", key) == 0
    old = known.period("host")
    clock[0] += KNOWN_SECONDS
    assert known.lookups("host", key) == 0
    assert known.period("host") is None
    # One job opens the next period, another has its lookups from the old one.
    known.learn("host", Facts(), key, 0b1110, old)
    known.learn("host", Facts(), key, 0b1110, old)
    known.learn("host", Facts(), key, 0b1, known.period("host"))
    assert known.lookups("host", key) == 0b1
