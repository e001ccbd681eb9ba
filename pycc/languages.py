"""Source languages: which one a file name or ``-x`` word means to which compiler.

Sources: ``default_compilers`` in gcc/gcc.cc and gcc/cp/lang-specs.h, ``lookupTypeForExtension`` in
clang's Types.cpp. Names are gcc's ``-x`` words.
"""

from pycc.invocation import Family
from pycc.pattern import pattern

_SUFFIXES = {
    b"c": b"c",
    b"i": b"cpp-output",
    b"cc cp cxx cpp CPP c++ C": b"c++",
    b"ii": b"c++-cpp-output",
    b"m": b"objective-c",
    b"mi": b"objective-c-cpp-output",
    b"mm M": b"objective-c++",
    b"mii": b"objective-c++-cpp-output",
    b"h": b"c-header",
    b"hh H hp hxx hpp HPP h++ tcc": b"c++-header",
    b"s": b"assembler",
    b"S sx": b"assembler-with-cpp",
    # Sources all the same, but of languages that are not cached.
    b"f for ftn F FOR fpp FPP FTN f90 f95 f03 f08 F90 F95 F03 F08": b"fortran",
    b"adb ads go d di dd mod def": b"other",
}
_CLANG_SUFFIXES = {
    b"CC CXX C++": b"c++",
    b"HH HXX H++": b"c++-header",
    b"cppm ccm cxxm c++m ixx": b"c++-module",
    b"ll bc": b"ir",
    b"cl cu hip ast pcm ifs": b"other",
}

SUPPORTED = frozenset(
    b"c c-header cpp-output c++ c++-header c++-cpp-output objective-c objective-c-header "
    b"objective-c-cpp-output objc-cpp-output objective-c++ objective-c++-header "
    b"objective-c++-cpp-output objc++-cpp-output assembler assembler-with-cpp".split()
)
"""The languages that are cached, as ``-x`` takes them."""

_AS_CXX = {b"c": b"c++", b"c-header": b"c++-header", b"cpp-output": b"c++-cpp-output"}

_LINKER_INPUT = pattern(rb"\.(?:o|a|so(?:\.[0-9]+)*|lo|la|obj|lib|dylib|tbd)$")

_CXX_DRIVER = pattern(rb"(?:^|[-_])(?:g\+\+|c\+\+|clang\+\+)(?:-[0-9.]+)?$")


def _table(*tables: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {s: language for t in tables for names, language in t.items() for s in names.split()}


_BY_SUFFIX = {
    Family.GCC: _table(_SUFFIXES),
    Family.CLANG: _table(_SUFFIXES, _CLANG_SUFFIXES),
    Family.OTHER: _table(_SUFFIXES, _CLANG_SUFFIXES),
}


def is_cxx_driver(driver: bytes) -> bool:
    """Whether the compiler called ``driver`` reads C files as C++ (g++, clang++, with prefixes)."""
    return _CXX_DRIVER.search(driver) is not None


def of_file(name: bytes, family: Family, *, cxx_driver: bool) -> bytes | None:
    """The language that the compiler takes ``name`` for; None: it goes to the linker."""
    base = name.rpartition(b"/")[2]
    stem, dot, suffix = base.rpartition(b".")
    language = _BY_SUFFIX[family].get(suffix) if dot and stem else None
    if cxx_driver and language is not None:
        return _AS_CXX.get(language, language)
    return language


def is_linker_input(name: bytes) -> bool:
    """Whether ``name`` is a file that only a linker reads, by its suffix."""
    return _LINKER_INPUT.search(name) is not None


def is_header(language: bytes) -> bool:
    """Whether compiling it makes a precompiled header."""
    return language.endswith(b"-header")
