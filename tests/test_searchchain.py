"""The include search chain: read off the compiler's output, and merged with a command line's."""

import os
import shutil
import subprocess
from collections.abc import Hashable
from pathlib import Path

import pytest

from pycc.searchchain import SearchChain, parse_search_output, user_chain

GCC_OUTPUT = b"""\
Using built-in specs.
COLLECT_GCC=gcc
Configured with: ../src/configure -v --with-pkgversion='Debian "12"'
ignoring nonexistent directory "/usr/local/include/x86_64-linux-gnu"
ignoring duplicate directory "a"
  as it is a non-system directory that duplicates a system directory
ignoring nonexistent directory "no such"
#include "..." search starts here:
 q
#include <...> search starts here:
 dir with space
 /usr/include
End of search list.
COMPILER_PATH=/usr/lib
"""
CLANG_OUTPUT = b"""\
Debian clang version 14.0.6
 "/usr/bin/clang" -cc1 -internal-isystem "/usr/include"
clang -cc1 version 14.0.6 based upon LLVM 14.0.6 default target x86_64-pc-linux-gnu
ignoring nonexistent directory "/include"
#include "..." search starts here:
#include <...> search starts here:
 /usr/lib/llvm-14/lib/clang/14.0.6/include
 /Library/Frameworks (framework directory)
End of search list.
"""
GERMAN_OUTPUT = b"""\
Es werden eingebaute Spezifikationen verwendet.
Verzeichnis \xe2\x80\x9e/usr/local/include/x\xe2\x80\x9c existiert nicht und wird ignoriert
#include "..." - Suche beginnt hier:
#include <...> - Suche beginnt hier:
 /usr/include
Ende der Suchliste.
"""


def identity(name: bytes) -> Hashable | None:
    """A file system in which names under no/ do not exist, and a link la is the same as a."""
    name = os.path.normpath(name)
    if name.startswith(b"no"):
        return None
    return b"a" if name == b"la" else name


def test_gcc_output() -> None:
    assert parse_search_output(GCC_OUTPUT) == SearchChain(
        (b"q",),
        (
            b"/usr/local/include/x86_64-linux-gnu",
            b"no such",
            b"dir with space",
            b"/usr/include",
        ),
    )


def test_clang_output() -> None:
    assert parse_search_output(CLANG_OUTPUT) == SearchChain(
        (),
        (b"/include", b"/usr/lib/llvm-14/lib/clang/14.0.6/include", b"/Library/Frameworks"),
    )


def test_translated_output() -> None:
    assert parse_search_output(GERMAN_OUTPUT).bracket == (b"/usr/local/include/x", b"/usr/include")


@pytest.mark.parametrize("text", [b"", b"cc: error: no input files\n", b"\xff\0"])
def test_other_output_has_no_chain(text: bytes) -> None:
    assert parse_search_output(text) == SearchChain()


BASE = SearchChain((), (b"/usr/local/include", b"/usr/include"))


@pytest.mark.parametrize(
    ("flags", "environment", "quote", "bracket"),
    [
        ({}, {}, (), ()),
        ({"angle": [b"a", b"b"]}, {}, (), (b"a", b"b")),
        ({"angle": [b"a", b"no/dir", b"b"]}, {}, (), (b"a", b"no/dir", b"b")),
        ({"angle": [b"a", b"./a", b"la"]}, {}, (), (b"a",)),
        ({"angle": [b"a"], "system": [b"la"]}, {}, (), (b"la",)),
        ({"quote": [b"q", b"q"], "angle": [b"q"]}, {}, (b"q",), (b"q",)),
        ({"angle": [b"a"]}, {b"CPATH": b"c::d"}, (), (b"a", b"c", b".", b"d")),
        ({"system": [b"s"]}, {b"C_INCLUDE_PATH": b"e"}, (), (b"s", b"e")),
        ({}, {b"CPLUS_INCLUDE_PATH": b"e"}, (), ()),
        ({"language": b"c++"}, {b"CPLUS_INCLUDE_PATH": b"e"}, (), (b"e",)),
        ({"angle": [b"=/x"], "sysroot": b"/root/"}, {}, (), (b"/root/x",)),
        ({"quote": [b"a", b"q"], "system": [b"a"]}, {}, (b"q",), (b"a",)),
        ({"quote": [b"a", b"q"], "system": [b"a"], "clang": True}, {}, (b"a", b"q"), (b"a",)),
    ],
)
def test_the_directories_of_a_command_line(
    flags: dict[str, object],
    environment: dict[bytes, bytes],
    quote: tuple[bytes, ...],
    bracket: tuple[bytes, ...],
) -> None:
    chain = user_chain(BASE, identity=identity, environment=environment, **flags)  # type: ignore[arg-type]
    assert chain == SearchChain(quote, bracket + BASE.bracket)


def test_a_user_directory_that_is_a_system_one_counts_there() -> None:
    chain = user_chain(BASE, identity=identity, angle=[b"/usr/include", b"a"])
    assert chain.bracket == (b"a", *BASE.bracket)


def test_after_comes_last() -> None:
    chain = user_chain(BASE, identity=identity, after=[b"z"], system=[b"s"])
    assert chain.bracket == (b"s", *BASE.bracket, b"z")


FLAG_SETS: list[list[str]] = [
    [],
    ["-Ia", "-Ib"],
    ["-Ia", "-Ib/", "-iquote", "a", "-isystem", "b", "-Ino", "-Ila", "-idirafter", "a"],
    ["-I/usr/include", "-I./c", "-I", "c", "-isystem", "d"],
    ["-iquote", "a", "-Ia"],
    ["-iquote", "b", "-iquote", "a", "-iquote", "./b", "-Ia"],
    ["-iquote", "a", "-iquote", "b", "-isystem", "la", "-idirafter", "d"],
    ["-Ia/../b", "-Ib", "-isystem", "a/../d", "-isystem", "./d"],
    ["-idirafter", "a", "-idirafter", "b", "-Ib", "-iquote", "q/no"],
]
ENVIRONMENTS: list[dict[str, str]] = [
    {},
    {"CPATH": ":c:d:", "C_INCLUDE_PATH": "b:no2:/usr/include"},
]
OPTIONS = {"-iquote": "quote", "-I": "angle", "-isystem": "system", "-idirafter": "after"}


def real_identity(name: bytes) -> Hashable | None:
    if not os.path.isdir(name):
        return None
    status = os.stat(name)
    return (status.st_dev, status.st_ino)


def ask(compiler: str, flags: list[str], environment: dict[str, str]) -> SearchChain:
    command = [compiler, *flags, "-E", "-v", "-o", os.devnull, "-xc", os.devnull]
    clean = {k: v for k, v in os.environ.items() if not k.endswith("PATH") or k == "PATH"}
    done = subprocess.run(
        command, env={**clean, **environment, "LC_ALL": "C"}, check=True, capture_output=True
    )
    return parse_search_output(done.stderr)


def existing(names: tuple[bytes, ...]) -> list[Hashable]:
    """What matters of a chain: which directories, in which order."""
    return [which for which in map(real_identity, names) if which is not None]


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_compiler_prints_the_same_chain(
    compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler} here")
    monkeypatch.chdir(tmp_path)
    for name in "abcd":
        (tmp_path / name).mkdir()
    (tmp_path / "la").symlink_to("a")
    base = ask(compiler, [], {})
    for flags in FLAG_SETS:
        given: dict[str, list[bytes]] = {name: [] for name in OPTIONS.values()}
        words = iter(flags)
        for word in words:
            option = word if word in OPTIONS else "-I"
            value = next(words) if word in OPTIONS else word[2:]
            given[OPTIONS[option]].append(value.encode())
        for environment in ENVIRONMENTS:
            printed = ask(compiler, flags, environment)
            chain = user_chain(
                base,
                identity=real_identity,
                quote=given["quote"],
                angle=given["angle"],
                system=given["system"],
                after=given["after"],
                environment={k.encode(): v.encode() for k, v in environment.items()},
                clang=compiler == "clang",
            )
            assert existing(chain.bracket) == existing(printed.bracket), flags
            # gcc drops the last quote directory when the bracket chain begins with it.
            ours, theirs = existing(chain.quote), existing(printed.quote)
            if ours and ours[-1:] == existing(chain.bracket)[:1] and ours != theirs:
                ours.pop()
            assert ours == theirs, flags
