"""From a stored result to the operations that put its outputs where a call wants them."""

from __future__ import annotations

import pytest

from pycc.cache.result import Entry, Kind, pack
from pycc.delivery import Delivery, delivery_for, target_name, without_colour
from pycc.depfile import Style
from pycc.frame import REPLACE, REPLACE_ALWAYS, Exit, Out, Write
from pycc.invocation import DependencyRequest, Family
from pycc.record import replace
from tests.command_lines import understood

DEPENDENCIES = DependencyRequest(b"a.d", True, (), b"a.o", False, False)
PLAIN = Delivery(b"a.o", REPLACE, (), None, Style.GCC, False, b"")
OBJECT = Entry(Kind.OBJECT, b"object")


def test_an_object_and_its_end() -> None:
    assert PLAIN(pack([OBJECT])) == [Write(b"a.o", b"object", REPLACE), Exit(0)]


@pytest.mark.parametrize("value", [b"", b"PR", b"garbage", pack([OBJECT])[:-1]])
def test_a_damaged_result_serves_nobody(value: bytes) -> None:
    assert PLAIN(value) is None


def test_files_come_before_messages() -> None:
    entries = [Entry(Kind.STDERR, b"warning"), Entry(Kind.STDOUT, b"note"), OBJECT]
    got = PLAIN.operations(entries)
    assert got == [
        Write(b"a.o", b"object", REPLACE),
        Out(2, b"warning"),
        Out(1, b"note"),
        Exit(0),
    ]


COLOURED = b"\x1b[01m\x1b[Ka.c:1: \x1b[01;31m\x1b[Kerror\x1b[m"


@pytest.mark.parametrize(
    ("kind", "wanted", "expected"),
    [
        (Kind.STDERR_COLOUR, True, COLOURED),
        (Kind.STDERR_COLOUR, False, b"a.c:1: error"),
        (Kind.STDERR, True, COLOURED),
        (Kind.STDERR, False, COLOURED),
    ],
)
def test_only_our_own_colours_are_taken_out(kind: Kind, wanted: bool, expected: bytes) -> None:
    got = replace(PLAIN, colour=wanted).operations([Entry(kind, COLOURED)])
    assert got == [Out(2, expected), Exit(0)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"plain", b"plain"),
        (COLOURED, b"a.c:1: error"),
        (b"\x1b[38;5;1mx\x1b[0m", b"x"),
        (b"\x1b]8;;url\x1b\\x", b"\x1b]8;;url\x1b\\x"),
        (b"a\x1b", b"a\x1b"),
    ],
)
def test_colours(text: bytes, expected: bytes) -> None:
    assert without_colour(text) == expected


@pytest.mark.parametrize(
    "kind", [k for k in Kind if k.value > Kind.STDOUT and k < Kind.STDERR_COLOUR]
)
def test_an_output_that_was_not_asked_for_serves_nobody(kind: Kind) -> None:
    assert PLAIN.operations([OBJECT, Entry(kind, b"x")]) is None


@pytest.mark.parametrize("entry", [OBJECT, Entry(Kind.DEPENDENCY, b"a.o: a.c\n", b"1a.o")])
def test_without_a_place_for_it_a_result_serves_nobody(entry: Entry) -> None:
    assert replace(PLAIN, output=None).operations([entry]) is None


def test_files_of_one_kind_go_out_in_their_order() -> None:
    files = ((Kind.COVERAGE, b"1.gcno"), (Kind.DWO, b"a.dwo"), (Kind.COVERAGE, b"2.gcno"))
    entries = [
        Entry(Kind.COVERAGE, b"one"),
        Entry(Kind.COVERAGE, b"two"),
        Entry(Kind.DWO, b"dwo"),
    ]
    assert replace(PLAIN, files=files).operations(entries) == [
        Write(b"1.gcno", b"one"),
        Write(b"2.gcno", b"two"),
        Write(b"a.dwo", b"dwo", REPLACE),
        Exit(0),
    ]


def depfile(entry: Entry, wanted: DependencyRequest) -> bytes | None:
    got = replace(PLAIN, dependencies=wanted).operations([entry])
    if got is None:
        return None
    assert isinstance(got[0], Write)
    return got[0].data


TEXT = b"a.o: a.c a.h\n"
OURS = target_name(DEPENDENCIES)
OTHER = replace(DEPENDENCIES, default_target=b"other.o")
ODD = b"a.o : a.c\t a.h"


@pytest.mark.parametrize(
    ("entry", "wanted", "expected"),
    [
        (Entry(Kind.DEPENDENCY, TEXT, OURS), DEPENDENCIES, TEXT),
        (Entry(Kind.DEPENDENCY, TEXT, OURS), OTHER, b"other.o: a.c a.h\n"),
        (
            Entry(Kind.DEPENDENCY, TEXT, OURS),
            replace(DEPENDENCIES, targets=((b"x", False), (b"y", True))),
            b"x y: a.c a.h\n",
        ),
        (Entry(Kind.DEPENDENCY, ODD, b"=" + OURS), DEPENDENCIES, ODD),
        (Entry(Kind.DEPENDENCY, TEXT, b"=" + OURS), OTHER, None),
        (Entry(Kind.DEPENDENCY, b"no rule", OURS), OTHER, None),
    ],
)
def test_dependency_files(entry: Entry, wanted: DependencyRequest, expected: bytes | None) -> None:
    assert depfile(entry, wanted) == expected


def test_targets_are_told_apart_by_text_and_quoting() -> None:
    targets = [(), ((b"a.o", False),), ((b"a", True), (b".o", True)), ((b"a\0.o", True),)]
    names = [target_name(replace(DEPENDENCIES, targets=t)) for t in targets]
    assert len(set(names)) == len(names)
    assert target_name(replace(DEPENDENCIES, targets=((b"a.o", True),))) == names[0]


@pytest.mark.parametrize(
    ("line", "family", "flags"),
    [
        ("-c a.c", Family.GCC, REPLACE),
        ("-S a.c", Family.GCC, 0),
        ("-c a.h", Family.GCC, 0),
        ("-c a.c", Family.CLANG, REPLACE_ALWAYS),
        ("-S a.c", Family.CLANG, REPLACE_ALWAYS),
    ],
)
def test_how_an_existing_output_is_treated(line: str, family: Family, flags: int) -> None:
    assert delivery_for(understood(line, family), False).output_flags == flags


def test_what_a_command_line_makes() -> None:
    line = "-c -MD -fstack-usage --coverage -gsplit-dwarf -g a.c -o out/a.o"
    delivery = delivery_for(understood(line), True, b"/w")
    assert delivery.output == b"out/a.o"
    assert delivery.dependencies is not None
    assert delivery.dependencies.path == b"out/a.d"
    kinds = {kind for kind, _ in delivery.files}
    assert kinds == {Kind.STACK_USAGE, Kind.COVERAGE, Kind.DWO}
    assert (delivery.colour, delivery.base) == (True, b"/w")
