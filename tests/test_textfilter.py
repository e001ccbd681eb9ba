"""Which texts a server compiles, and that looking at them takes linear time."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycc.remote.textfilter import PIECE, refusal

READS = [
    r'asm(".incbin \"/etc/passwd\"");',
    r'__asm__ volatile(".section .rodata\n\t.incbin \"a\", 0, 4\n");',
    r'asm(".include \"x.s\"");',
    r'asm(".INCLUDE\t\"x.s\"");',
    r'asm("x: .IncBin\t\"x.s\"");',
    r'asm(".inc" "bin \"x\"");',
    'asm("." "incbin" " \\"x\\"");',
    'asm(".inc"\n# 3 "a.c" 2\n"bin \\"x\\"");',
    'asm(".inc" /* more */ "bin \\"x\\"");',
    'asm(".inc" // more\n "bin \\"x\\"");',
    r'asm("\x2eincbin \"x\"");',
    r'asm("\056incbin \"x\"");',
    r'asm(".i\x6ecbin \"x\"");',
    r'asm(".\x000049NC\102IN \"x\"");',
    r'asm("\u002eincbin \"x\"");',
    r'asm("\x{2e}incbin \"x\"");',
    r'asm("\N{FULL STOP}incbin \"x\"");',
    r'asm(".incl\N{LATIN SMALL LETTER U}de \"x\"");',
    'asm(".inc\\\nbin \\"x\\"");',
    'asm(".inc\\ \r\nbin \\"x\\"");',
    'asm(".inc??/\nbin \\"x\\"");',
    'asm(R"(.incbin "x")");',
    r'asm(".macro m f\n.incbin \\f\n.endm");',
    r'asm(".include\x20" "\"x\"");'.replace(r"\x20", " "),
    r'int x __attribute__((section(".a\n.incbin \"x\"\n#")));',
    '#pragma GCC pch_preprocess "x.gch"',
    '#pragma GCC dependency "x.h"',
    '#pragma GCC/**/dependency "x.h"',
    "#pragma clang module import x",
    '_Pragma("GCC dependency \\"x.h\\"")',
]


@pytest.mark.parametrize("text", READS)
@pytest.mark.parametrize("obeys", [False, True])
def test_what_reads_files_is_refused_for_every_compiler(text: str, obeys: bool) -> None:
    why = refusal(f"int before;\n{text}\nint after;\n".encode(), obeys_directives=obeys)
    assert why is not None
    assert "read" in why


DIRECTIVES = [
    '#include "x"',
    "#include <x>",
    "#include_next <x>",
    " # import <x>",
    "#embed </etc/passwd>",
    "#__include_macros <x>",
    '%:include "x"',
    '??=include "x"',
    '/* a */ #include "x"',
    '/* a\n*/#include "x"',
    '#/**/include "x"',
    '#inc\\\nlude "x"',
    '\x0c#include "x"',
    '\u00a0#include "x"',
    "#if __has_include(</etc/passwd>)",
    "#ifdef X",
]


@pytest.mark.parametrize("text", DIRECTIVES)
def test_a_directive_is_refused_for_compilers_that_obey_it(text: str) -> None:
    for before in ("", "int before;\n"):
        content = (before + text + "\nint after;\n").encode()
        why = refusal(content, obeys_directives=True)
        assert why is not None
        assert "still has a directive: " in why
        assert refusal(content, obeys_directives=False) is None


def test_a_mark_of_byte_order_hides_no_directive() -> None:
    assert refusal(b'\xef\xbb\xbf#include "x"\n', obeys_directives=True)


HARMLESS = [
    '# 1 "a.c"\n# 0 "<built-in>"\n#line 3 "b.c"\nint x;',
    "#pragma once\n#pragma GCC diagnostic push\n#pragma omp parallel\n#pragma clang loop unroll",
    '#define A 1\n#undef A\n#ident "x"\n#\n',
    '# 1 "/usr/include/x.h" 1 3 4\n',
    "struct s { int include, incbin; };",
    "int f(struct s *p, struct s q) { q.include = 1; return p->incbin + (q.include); }",
    "int f(foo x) { x.include(); return x.included / 2; }",
    'const char *s = "see file.include and a.inc" "luded";',
    'const char *s = "The end." "In fact";',
    'const char *s = "// # /* #include";',
    'extern int f(void) __asm__ ("" "g");\nasm("nop\\n\\t.byte 0x2e");',
    "int dependency, module; template <class GCC> struct dependency_of;",
    "a\\b \\x2e \\056 ???",
]


@pytest.mark.parametrize("text", HARMLESS)
@pytest.mark.parametrize("obeys", [False, True])
def test_what_compilers_are_sent_every_day_passes(text: str, obeys: bool) -> None:
    assert refusal(text.encode(), obeys_directives=obeys) is None


@pytest.mark.parametrize("at", [PIECE - 20, PIECE - 3, PIECE, PIECE + 1, 3 * PIECE - 1])
def test_pieces_hide_nothing(at: int) -> None:
    text = b"x" * at + b'\n#include "a"\n' + b"y" * 100
    assert refusal(text, obeys_directives=True)
    text = b"x" * at + b'.incbin "a"' + b"y" * 100
    assert refusal(text, obeys_directives=False)


HARD = [
    b"\\",
    b"/*",
    b'"',
    b'."',
    b'."\n#',
    b"#\n",
    b'# 1 "a"\n',
    b".inc",
    b'.i"" "n',
    b"\\x0000",
    b"\\ ",
    b"GCC ",
    b"GCC/**/",
    b"*/ ",
    b" ",
    b"??/",
    b"%:1\n",
    b'\n#."',
]


@pytest.mark.parametrize("unit", HARD)
def test_the_time_is_linear(unit: bytes) -> None:
    def seconds(size: int) -> float:
        text = unit * (size // len(unit))
        best = 1e9
        for _ in range(3):
            began = time.process_time()
            refusal(text, obeys_directives=True)
            best = min(best, time.process_time() - began)
        return best

    # Quadratic time would be sixteen times as much at least.
    small, large = seconds(1 << 16), seconds(1 << 20)
    assert large < max(small, 0.002) * 16 * 4


@pytest.mark.parametrize("between", [" ", "\t", "\n", " \n", '\n# 3 "a.c"\n'])
def test_a_string_that_goes_on_in_the_next_line_costs_no_time(between: str) -> None:
    """A sentence's end and an indented next line: every message of several lines. With ways to cut
    the blanks in parts the 22 of them took seconds, and each one more twice as long."""
    text = f'puts("The end."{between * 22}"and more");\n'.encode()
    began = time.process_time()
    assert refusal(text, obeys_directives=False) is None
    assert time.process_time() - began < 0.2


@given(st.lists(st.sampled_from([*HARD, b"x", b"\n", b"include", b"bin", b'"'])), st.booleans())
def test_no_text_is_too_odd(pieces: list[bytes], obeys: bool) -> None:
    assert isinstance(refusal(b"".join(pieces), obeys_directives=obeys), str | None)


# That compilers really read, so that the tables above are about something.


@pytest.mark.parametrize(
    "text",
    [
        'asm(".incbin \\"secret\\"");',
        r'asm("\x2e" "i\x6e" /* c */ "c\142in \"secret\"");',
        'int x __attribute__((section(".a\\n.incbin \\"secret\\"\\n#"))) = 1;',
        r'asm(".macro m f\n.incbin \"\\f\"\n.endm\nm secret");',
        'asm("." "inc"\n# 3 "a.c"\n"bin \\"secret\\"");',
    ],
)
def test_gcc_reads_what_these_texts_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "secret").write_text("SECRET CONTENT")
    (tmp_path / "a.i").write_text(text + "\n")
    subprocess.run(["gcc", "-c", "a.i", "-o", "a.o"], cwd=tmp_path, check=True)
    assert b"SECRET CONTENT" in (tmp_path / "a.o").read_bytes()
    assert refusal(text.encode(), obeys_directives=False)


@pytest.mark.parametrize(
    "text", ['#include "secret"', '%:include "secret"', '#/**/include "secret"']
)
def test_clang_obeys_directives_of_preprocessed_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "secret").write_text('const char *s = "SECRET CONTENT";\n')
    (tmp_path / "a.i").write_text(text + "\n")
    subprocess.run(["clang", "-c", "a.i", "-o", "a.o"], cwd=tmp_path, check=True)
    assert b"SECRET CONTENT" in (tmp_path / "a.o").read_bytes()
    gcc = subprocess.run(["gcc", "-c", "a.i", "-o", "b.o"], cwd=tmp_path, capture_output=True)
    assert gcc.returncode
    assert refusal(text.encode(), obeys_directives=True)
