"""Scanning texts for what they ask of the file system and the clock."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycc.directives import Directives, flags_of, scan

QUOTED = [
    b'#include "x.h"',
    b'#include"x.h"',
    b'  # \t include  "x.h"',
    b'#import "x.h"',
    b'#include_next "x.h"',
    b'#inc\\\nlude "x.h"',
    b'#include "x\\\n.h"',
    b'#include "x\\  \n.h"',
    b'#include "x\\\r\n.h"',
    b'#include "x\\\r.h"',
    b'#\\\n\\\ninclude\\\n"x.h"',
    b'#/**/include "x.h"',
    b'# /* a\n # b */ include/* c\n */ "x.h"',
    b'#/* # include */include "x.h"',
    b'/* a */ #include "x.h"',
    b'%:include "x.h"',
    b'%\\\n:include "x.h"',
    b'??=include "x.h"',
    b'??=inc??/\nlude "x.h"',
    b'#include "x??/\n.h"',
    b'int a;\r#include "x.h"\rint b;\r',
    b'#\r#include "x.h"\r',
    b'#\0include\0"x.h"',
    b'\xef\xbb\xbf#include "x.h"',
    b'#define a(b) #b\n#include "x.h"',
    b'R"(/*)"\n#include "x.h"',
    b'"/*"\n#include "x.h"',
    b'#if 0\n#include "x.h"\n#endif',
    b'#include "x.h" // y',
    b'#/*/ */include "x.h"',
    b'#pragma GCC /*\n*/ dependency "y"\n#include "x.h"',
]


@pytest.mark.parametrize("text", QUOTED)
def test_a_quoted_name_is_found(text: bytes) -> None:
    assert b"x.h" in scan(text).quoted


@pytest.mark.parametrize("text", QUOTED)
def test_an_angled_name_is_found(text: bytes) -> None:
    angled = text.replace(b'"x', b"<x").replace(b'.h"', b".h>")
    assert b"x.h" in scan(angled).angled


def test_names_keep_their_bytes() -> None:
    assert scan(b'#include "a\\b \xff%:??=.h"\n').quoted >= {b"a\\b \xff%:??=.h"}


@pytest.mark.parametrize(
    "text",
    [
        b"#include_next <x.h>",
        b"#include/**/_next <x.h>\n#include_next/**/<x.h>",
        b"#if __has_include_next(<x.h>)",
    ],
)
def test_names_that_go_on_behind_their_own_directory(text: bytes) -> None:
    assert scan(text).next == {b"x.h"}


@pytest.mark.parametrize("text", [b"#include <>", b'#include ""', b"#include", b"#include <x"])
def test_an_include_without_a_name_is_nothing(text: bytes) -> None:
    assert scan(text) == Directives()


@pytest.mark.parametrize(
    "text",
    [
        b"#include MACRO\n",
        b"#include MACRO(x) // y\n",
        b"#include/**/MACRO\n",
        b"#inc\\\nlude MACRO\n",
        b"%:include MACRO\n",
        b"??=include MACRO\n",
        b"/* a */ #include MACRO\n",
        b"int a;\r#include MACRO\r",
        b"#include_next MACRO\n",
        b"#import MACRO\n",
        b"#include \xc3\xa9\n",
    ],
)
def test_a_computed_include_is_found(text: bytes) -> None:
    assert scan(text).computed_include


@pytest.mark.parametrize(
    "text",
    [
        b"/* We put this #include_next outside the check */",
        b"// applications should #include this file",
        b"   #include's protect themselves",
        b"#included MACRO",
        b'#include "x.h" MACRO',
    ],
)
def test_prose_is_no_computed_include(text: bytes) -> None:
    assert not scan(text).computed_include


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        (b"#if __has_include(<x.h>)", (False, b"x.h")),
        (b'#if __has_include("x.h")', (True, b"x.h")),
        (b'#elif defined A && __has_include ( "x.h" )', (True, b"x.h")),
        (b"#if __has_include(/* a */<x.h>)", (False, b"x.h")),
        (b"#if __has_\\\ninclude\\\n(<x.h>)", (False, b"x.h")),
        (b"#if __has_include__(<x.h>)", (False, b"x.h")),
        (b"#if __has_include_next(<x.h>)", (False, b"x.h")),
        (b"#if __has_include <x.h>", (False, b"x.h")),
        (b"%:if __has_include(<x.h>)", (False, b"x.h")),
        (b"#define HAS_X __has_include(<x/y.h>)", (False, b"x/y.h")),
    ],
)
def test_an_operand_of_has_include_is_found(text: bytes, entry: tuple[bool, bytes]) -> None:
    found = scan(text + b"\n")
    assert found.has_include == {entry}
    assert not found.computed_has_include


@pytest.mark.parametrize(
    "text",
    [
        b"#if __has_include(MACRO)",
        b"#if __has_include(/* a */ MACRO)",
        b"#define HAS(x) __has_include(x)",
        b"#define HAS __has_include",
        b"#define HAS /* a */ __has_include",
        b"#if CALL(__has_include, <x.h>)",
        b"#define HAS_X __has_include(<linux/x.h>)",
        b"#define x y\n#define HAS_X __has_include(<x/z.h>)",
        b'#define HAS_X __has_include("x.h")',
        b"#define GLUE(x) __has_ ## include(x)",
    ],
)
def test_an_operand_that_cannot_be_read_is_reported(text: bytes) -> None:
    assert scan(text + b"\n").computed_has_include


@pytest.mark.parametrize(
    "text",
    [
        b"#ifdef __has_include",
        b"#ifndef __has_include",
        b"#if defined __has_include",
        b"#if defined(__has_include) && 1",
        b"#  define __has_include(x) 0",
        b"#undef __has_include",
        b"#endif // __has_include",
        b"#endif /* __has_include */",
        b"// the operator __has_include is C++17",
        b" * __has_include() is used",
        b"#if __has_includes(x)",
        b"#define HAS(x) __has_ ## x",
    ],
)
def test_a_mention_of_has_include_is_no_use(text: bytes) -> None:
    assert scan(text + b"\n") == Directives()


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        (b'#embed "x"', "embed"),
        (b"#  /**/ embed <x>", "embed"),
        (b"#if __has_embed(<x>)", "embed"),
        (b'asm(".incbin \\"x\\"");', "incbin"),
        (b".INCBIN x", "incbin"),
        (b".inc\\\nbin x", "incbin"),
        (b'asm(".include \\"x\\"");', "asm_include"),
        (b".InClude x", "asm_include"),
        (b'asm(".inc" "bin x");', "asm_include"),
        (b'asm(".incb"\n  "in x");', "asm_include"),
        (b'asm(".inc\\x62in x");', "asm_include"),
        (b'#define INC(x) ".inc" #x', "asm_include"),
        (b"const char *d = __DATE__;", "date"),
        (b"const char *d = __DA\\\nTE__;", "date"),
        (b"// __TIME__", "time"),
        (b'"__TIMESTAMP__"', "timestamp"),
        (b"int c = __builtin_COLUMN();", "columns"),
        (b"return __builtin_source_location();", "columns"),
        (b"import foo;", "modules"),
        (b"export import foo.bar:baz;", "modules"),
        (b"import <vector>;", "modules"),
        (b'  import"x.h";', "modules"),
        (b"import :part;", "modules"),
        (b"module;", "modules"),
        (b"export module a.b;", "modules"),
        (b"module :private;", "modules"),
        (b"/* a */ module m [[x]];", "modules"),
        (b"@import Foundation;", "modules"),
        (b"#pragma clang module import X", "modules"),
        (b'"\x1b[31m"', "escape"),
        (b'#pragma GCC pch_preprocess "x.gch"', "pch_pragma"),
        (b'# pragma /**/ GCC/**/pch_preprocess "x.gch"', "pch_pragma"),
        (b'#pragma GCC dependency "parse.y"', "dependency_pragma"),
    ],
)
def test_a_flag_is_raised_alone(text: bytes, flag: str) -> None:
    found = scan(b"int a;\n" + text + b"\n")
    raised = [name for name in Directives.__match_args__ if getattr(found, name) is True]
    assert raised == [flag]


@pytest.mark.parametrize(
    "text",
    [
        b'#include "x.inc"\n#include "y.inc"\n',
        b"/* one import of foo and one\n module of bar */\n",
        b"module::call();\nmodule = import;\nimported x;\n",
        b"__DATE __TIME __TIMES__\n",
        b"#pragma once\n#pragma GCC system_header\n",
        b"int a = b ?: c; // 50 %\n",
    ],
)
def test_no_flag_is_raised(text: bytes) -> None:
    found = scan(text)
    assert not any(getattr(found, name) is True for name in Directives.__match_args__)


def test_the_flags_of_several_texts() -> None:
    texts = scan(b"#include <a>\n__DATE__"), scan(b'.incbin "b"\n__TIME__'), Directives()
    assert flags_of(texts) == Directives(date=True, time=True, incbin=True)
    assert flags_of(()) == Directives()


@given(st.binary(max_size=200))
def test_any_bytes_can_be_scanned(text: bytes) -> None:
    scan(text)


PIECES = [
    *(b"#", b"include", b"__has_include", b"_next", b'"', b"<", b">", b"(", b")", b"x.h", b"/*"),
    *(b"*/", b"//", b"\\", b"\n", b" ", b"??=", b"??/", b"%:", b"define", b"M", b"import", b";"),
    *(b"pragma", b"GCC", b".inc", b"\r", b"module", b"__"),
]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join))
def test_a_text_after_another_keeps_its_directives(text: bytes) -> None:
    # A splice before the end of the first text, or an open word, would join the two.
    before = b"int before;\n"
    alone, joined = scan(text), scan(before + text)
    assert alone.quoted <= joined.quoted
    assert alone.angled <= joined.angled


@pytest.mark.parametrize(
    "piece",
    [b"#/*", b"#include ", b"#include X ", b"__has_include(", b"\\\n", b"??", b"#pragma ", b".inc"],
)
def test_repeated_pieces_take_linear_time(piece: bytes) -> None:
    start = time.process_time()
    scan(piece * (60_000 // len(piece)))
    scan(b"#define X " + piece * (60_000 // len(piece)) + b"*/ define __has_include")
    assert time.process_time() - start < 5


def test_many_macros_and_lookups_take_linear_time() -> None:
    start = time.process_time()
    line = b"#define M%d __has_include(<a%d/x.h>)\n"
    scan(b"".join(line % (i, i) for i in range(3_000)))
    assert time.process_time() - start < 5


@pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc here")
@pytest.mark.parametrize("start", range(0, len(QUOTED), 8))
def test_gcc_agrees_that_the_tables_name_a_header(tmp_path: Path, start: int) -> None:
    (tmp_path / "y").write_bytes(b"")
    (tmp_path / "x.h").write_bytes(b"")
    for text in QUOTED[start : start + 8]:
        if b"include_next" in text or b"#if 0" in text:
            continue
        source = tmp_path / "m.cc"
        source.write_bytes(text + b"\n")
        command = ["gcc", "-w", "-std=c++11", "-M", "m.cc"]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        assert b" x.h" in done.stdout, text
