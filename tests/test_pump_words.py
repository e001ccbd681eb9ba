"""What is said to a stock server in pump mode, and what its answers are taken for."""

from __future__ import annotations

import struct

import pytest

from pycc.remote.pump_words import (
    CannotPump,
    Command,
    command,
    dependencies,
    diagnostics,
    is_shortened,
    scrubbed,
)

CWD = b"/home/you/p"
STEPS = b"../../../"


def sent(*words: str, clang: bool = False) -> list[str]:
    argv = [b"gcc", *(word.encode() for word in words), b"-c", b"a.c", b"-o", b"a.o"]
    return [word.decode() for word in command(argv, CWD, clang=clang).argv]


def owns(path: bytes) -> bool:
    return path.startswith(b"/usr/")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-O2", "-Iinc"], ["-O2", "-Iinc"]),
        (["-I/x/inc"], ["-I../../../x/inc"]),
        (["-I", "/x/inc"], ["-I", "../../../x/inc"]),
        (["-isystem", "/x", "-iquote/y"], ["-isystem", "../../../x", "-iquote../../../y"]),
        (["-include", "/x/h.h"], ["-include", "../../../x/h.h"]),
        (["-idirafter", "z", "-DX=/a"], ["-idirafter", "z", "-DX=/a"]),
        (["-D", "X"], ["-D", "X"]),
        (["-xc"], ["-x", "c"]),
        (["-MMD", "-MP", "-MF", "d", "-MTx", "-MQ", "y"], []),
        (["-Wp,-MD,d", "-Wp,-DX"], ["-DX"]),
        (["--param", "l1-cache-size=64"], ["--param", "l1-cache-size=64"]),
    ],
)
def test_no_absolute_path_is_sent(words: list[str], expected: list[str]) -> None:
    mapped = any("../../../" in word for word in expected)
    ours = ["-MD", *(["-ffile-prefix-map=../../../=/"] if mapped else [])]
    assert sent(*words) == ["gcc", *ours, *expected, "-c", "a.c", "-o", "a.o"]


def test_an_absolute_source_is_named_from_the_root() -> None:
    argv = [b"gcc", b"-c", b"/home/you/q/a.c", b"-o", b"/tmp/a.o"]
    assert command(argv, CWD, clang=False).argv == (
        *(b"gcc", b"-MD", b"-ffile-prefix-map=../../../=/"),
        *(b"-c", b"../../../home/you/q/a.c", b"-o", b"/tmp/a.o"),
    )


def test_clang_is_told_the_directory() -> None:
    assert "-fdebug-compilation-dir=/home/you/p" in sent("-g", clang=True)
    assert not any("compilation" in word for word in sent("-g"))


@pytest.mark.parametrize(
    "words",
    [
        ["-I=inc"],
        ["-isystem", "$SYSROOT/x"],
        ["-I../../../x"],
        ["-iprefix", "/x"],
        ["--include=x.h"],
        ["-Xpreprocessor", "-DX"],
        ["-fdebug-prefix-map=/a=/b"],
        ["-ffile-prefix-map=/a=/b"],
        ["-fdebug-compilation-dir", "/x"],
        ["-fsanitize-undefined-strip-path-components=1"],
    ],
)
def test_what_a_server_would_take_otherwise_is_not_sent(words: list[str]) -> None:
    with pytest.raises(CannotPump):
        sent(*words)


def test_nothing_is_sent_from_the_root() -> None:
    with pytest.raises(CannotPump, match="root"):
        command([b"gcc", b"-c", b"a.c"], b"/", clang=False)


@pytest.mark.parametrize(
    ("directory", "physical", "shortened"),
    [
        (b"inc", b"/home/you/p/inc", False),
        (b"../very/long/way/to", b"/x", True),
        (b"/home/you/inc", b"/home/you/inc", False),
        (b"/home/you/link/that/is/long", b"/x/y", True),
    ],
)
def test_what_gcc_calls_a_system_header(directory: bytes, physical: bytes, shortened: bool) -> None:
    assert is_shortened(directory, physical, STEPS) is shortened


def test_a_deep_directory_makes_the_way_longer_than_the_root() -> None:
    assert is_shortened(b"/x/inc", b"/x/inc", b"../" * 6)
    assert not is_shortened(b"/x/inc", b"/x/inc", b"../" * 4)


def test_names_come_back_as_they_are_here() -> None:
    text = b"a.o: a.c ../../../x/inc/h.h \\\n /usr/include/stdio.h ../up.h\n"
    rule = dependencies(text, STEPS, owns)
    assert rule.prerequisites == (b"a.c", b"/x/inc/h.h", b"/usr/include/stdio.h", b"../up.h")


@pytest.mark.parametrize("text", [b"", b"nonsense", b"a.o: a.c /home/you/p/own.h\n"])
def test_what_a_server_read_of_its_own_is_found_out(text: bytes) -> None:
    with pytest.raises(CannotPump):
        dependencies(text, STEPS, owns)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a.c:1: warning: x\n", b"a.c:1: warning: x\n"),
        (b"../../../x/h.h:1:2: error\n", b"/x/h.h:1:2: error\n"),
        (b"In file included from ../../../x/h.h:1,\n", b"In file included from /x/h.h:1,\n"),
        (b"                 from ../../../x:3:\n", b"                 from /x:3:\n"),
        (b"\x1b[01m\x1b[K../../../x.h:1:\x1b[m", b"\x1b[01m\x1b[K/x.h:1:\x1b[m"),
        (b'    1 | #include "../../../y.h"\n', b'    1 | #include "../../../y.h"\n'),
        (b"../../../../x.h:1:\n", b"../../../../x.h:1:\n"),
    ],
)
def test_messages_name_files_as_they_are_here(text: bytes, expected: bytes) -> None:
    assert diagnostics(text, STEPS) == expected


def elf(sections: dict[bytes, bytes], flags: int = 0) -> bytes:
    """An object with these sections."""
    names = b"\0" + b"".join(name + b"\0" for name in (*sections, b".shstrtab"))
    body, rows = b"", [struct.pack("<IIQQQQIIQQ", *[0] * 10)]
    for name, content in (*sections.items(), (b".shstrtab", names)):
        place = 64 + len(body)
        at = names.index(b"\0" + name + b"\0") + 1
        rows.append(struct.pack("<IIQQQQIIQQ", at, 1, flags, 0, place, len(content), 0, 0, 1, 0))
        body += content
    head = b"\x7fELF\x02\x01" + bytes(34) + struct.pack("<Q", 64 + len(body))
    head += bytes(64 - len(head) - 6) + struct.pack("<HHH", 64, len(rows), len(rows) - 1)
    return head + body + b"".join(rows)


ROOT = b"/tmp/distccd_aB3dE9"
SENT = Command((b"gcc",), b"../../", mapped=True)


def test_slashes_stand_for_the_servers_directory() -> None:
    content = elf({b".text": b"code", b".debug_line_str": ROOT + b"/home/you/p\0a.c\0"})
    made = scrubbed(content, SENT)
    assert len(made) == len(content)
    assert b"/" * len(ROOT) + b"/home/you/p\0a.c\0" in made
    assert b"distccd" not in made


@pytest.mark.parametrize(
    "sections",
    [
        {b".rodata": ROOT + b"/home/you/p/a.c\0"},
        {b".debug_str": ROOT + b"/x\0", b".rodata.str1.1": ROOT + b"/y\0"},
    ],
)
def test_elsewhere_it_makes_another_object(sections: dict[bytes, bytes]) -> None:
    with pytest.raises(CannotPump, match="in the object"):
        scrubbed(elf(sections), SENT)


def test_compressed_debug_information_cannot_be_looked_through() -> None:
    with pytest.raises(CannotPump, match="compressed"):
        scrubbed(elf({b".debug_info": b"packed"}, flags=0x800), SENT)
    with pytest.raises(CannotPump, match="compressed"):
        scrubbed(elf({b".zdebug_info": b"packed"}), SENT)


def test_sections_that_are_counted_elsewhere_cannot_be_looked_through() -> None:
    content = bytearray(elf({b".debug_info": b"packed"}, flags=0x800))
    content[60:62] = bytes(2)
    with pytest.raises(CannotPump, match="too many sections"):
        scrubbed(bytes(content), SENT)


def test_what_is_no_object_is_left_alone() -> None:
    for content in (b"", b"\t.text\n", b"\x7fELF\x02\x01 cut", elf({b".text": b"x"})):
        assert scrubbed(content, SENT) == content


@pytest.mark.parametrize(
    ("name", "mapped", "taken"),
    [
        (b"../../home/you/p/a.c", True, False),
        (b"../../home/you/p/a.c", False, True),
        (b"/home/you/p/inc/a/b/../../common.h", True, True),
        (b"/home/you/p/../../a.h\0../../a.h", True, False),
        (b"../a.h", True, True),
    ],
)
def test_a_name_as_it_was_sent_is_not_the_clients(name: bytes, mapped: bool, taken: bool) -> None:
    content = elf({b".rodata": name + b"\0"})
    what = Command((b"gcc",), b"../../", mapped=mapped)
    if taken:
        assert scrubbed(content, what) == content
    else:
        with pytest.raises(CannotPump, match="as it was sent"):
            scrubbed(content, what)
