"""What drivers say in their own name, and what their compilers say."""

from __future__ import annotations

import pytest

from pycc.several import _lines_of_driver

OWN = """
    gcc: error: unrecognized command-line option '-foo'
    cc: warning: x
    gcc-12: fatal error: no input files
    x86_64-linux-gnu-g++-12: error: x
    clang: warning: argument unused during compilation: '-lm'
    clang++-14: error: x
    \x1b[01m\x1b[Kgcc:\x1b[m\x1b[K \x1b[01;31m\x1b[Kerror: \x1b[m\x1b[Kx
    mycc: x
"""
OTHERS = """
    main.cc: In function 'int main()':
    cc1plus: all warnings being treated as errors
    cc1: warning: nothing: No such file or directory
    a.c:1:2: error: gcc: x
    gcc.c:1: x
    collect2: error: ld returned 1 exit status
"""


@pytest.mark.parametrize("line", [one.strip() for one in OWN.strip().split("\n")])
def test_a_driver_speaks(line: str) -> None:
    assert _lines_of_driver(b"a.c: x\n" + line.encode() + b"\n", b"/usr/bin/mycc")


@pytest.mark.parametrize("line", [one.strip() for one in OTHERS.strip().split("\n")])
def test_a_compiler_speaks(line: str) -> None:
    assert not _lines_of_driver(line.encode() + b"\n", b"/usr/bin/gcc")
