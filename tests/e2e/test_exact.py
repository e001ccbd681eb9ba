"""Compiles in a root of the client's own files: every byte is that of a plain compile.

Each case is compiled plainly in a directory first. Then the directory is renamed away, and the same
words are run in the sandbox, from contents that lie elsewhere. Status, standard output, standard
error and every file that was written must be the same.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pycc.record import replace
from pycc.remote.sandbox import Found, Lookup
from tests.exact_kit import Server, build, need, read_by, serving, view_of

PLAIN = "int twice(int x) { return 2 * x; }\n"
HEADER = "#pragma once\nstatic inline int half(int x) { return x / 2; }\n"
IOSTREAM = """\
#include <iostream>
#include <map>
#include <string>
#include "a.h"
std::map<std::string, int> m;
int main() { for (auto &[k, v] : m) std::cout << k << half(v); }
"""
FALLTHROUGH = """\
int f(int x) {
    switch (x) {
    case 1:
        x++;
        /* fallthrough */
    case 2:
        return x;
    }
    return 0;
}
"""
MACRO = """\
#define WIDE(x)   ((x)   +   undeclared)
#define MORE(x) WIDE(x)
/* a comment that moves columns */ int f(void) { return   MORE(1); }
"""
UNDEFINED = """\
int f(int x, int y) { /* here */ return x / y + (x << y); }
"""
LOCATION = """\
#include <source_location>
unsigned f() { /* far */      return std::source_location::current().column(); }
const char *g() { return std::source_location::current().file_name(); }
"""
NAMES = """\
#include "a.h"
const char *file(void) { return __FILE__; }
const char *base(void) { return __BASE_FILE__; }
int f(int x) { return half(x); }
"""
HAS = """\
#if __has_include("here.h")
int here;
#endif
#if __has_include("nowhere.h") || __has_include(<nowhere.h>)
int nowhere;
#endif
"""
STACK = '#include "one.h"\n'
ONE, TWO = '\n#include "two.h"\n', "int f(void) { int unused; return 0 }\n"
TWICE = {
    "a.c": '#include "x/h.h"\n#include "y/h.h"\n',
    "x/h.h": "#pragma once\nint a = 1;\n",
    "y/h.h": "#pragma once\nint a = 1;\n",
}
INCBIN = '__asm__(".section .rodata\\n.incbin \\"data.bin\\"\\n");\n'


@dataclass(frozen=True)
class Case:
    """``words`` are run in ``cwd`` below the top of ``files``. A file that begins with ``->`` is a
    link, one that begins with ``=>`` a hard link. ``fails``: the compile does."""

    words: str
    files: dict[str, str]
    cwd: str = "."
    fails: bool = False
    directories: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    one_time: bool = False
    """All headers have the same mtime."""


C = {"a.c": PLAIN}
CASES = {
    "plain": Case("gcc -c a.c -O2", C),
    "debug": Case("gcc -g -c a.c", C),
    "dwarf 4, an absolute source": Case("gcc -gdwarf-4 -c {top}/a.c -o a.o", C),
    "dwarf 5 with -gsplit-dwarf": Case("gcc -g -gsplit-dwarf -c a.c -o o/a.o", C,
                                       directories=("o",)),
    "C++ with system headers": Case("g++ -std=c++17 -g -O1 -c a.cc -MD",
                                    {"a.cc": IOSTREAM, "a.h": HEADER}),
    "a fallthrough comment": Case("gcc -Wextra -Werror -c a.c", {"a.c": FALLTHROUGH}),
    "a warning": Case("gcc -Wall -c a.c", {"a.c": "int f(void) { int unused; return 0; }\n"}),
    "an error in a macro": Case("gcc -c a.c", {"a.c": MACRO}, fails=True),
    "an include stack": Case("gcc -Wall -c a.c -Iinc",
                             {"a.c": STACK, "inc/one.h": ONE, "inc/two.h": TWO}, fails=True),
    "a missing header": Case("gcc -c a.c -I inc -MMD", {"a.c": '#include "no/such.h"\n'},
                             directories=("inc",), fails=True),
    "a missing source": Case("gcc -c b.c", C, fails=True),
    "a missing include directory": Case("gcc -Wmissing-include-dirs -Inone -c a.c", C),
    "a missing directory of outputs": Case("gcc -c a.c -o none/a.o", C, fails=True),
    "sanitized": Case("gcc -fsanitize=undefined -g -c a.c", {"a.c": UNDEFINED}),
    "source_location": Case("g++ -std=c++20 -c a.cc", {"a.cc": LOCATION}),
    "__FILE__ through relative paths": Case("gcc -g -c ../src/a.c -I../inc -I./../inc -o a.o",
                                            {"src/a.c": NAMES, "inc/a.h": HEADER}, cwd="build",
                                            directories=("build",)),
    "__FILE__ through absolute paths": Case("gcc -g -c {top}/src/a.c -I{top}/inc -o a.o",
                                            {"src/a.c": NAMES, "inc/a.h": HEADER}),
    "prefix maps": Case("gcc -g -fdebug-prefix-map={top}=/proj -fmacro-prefix-map={top}=M -c"
                        " {top}/a.c", {"a.c": NAMES, "a.h": HEADER}),
    "coverage": Case("gcc --coverage -frandom-seed=1 -c a.c -o o/a.o", C, directories=("o",)),
    "coverage by absolute paths": Case("gcc --coverage -fprofile-abs-path -frandom-seed=1 -c a.c",
                                       C),
    "__has_include": Case("gcc -c a.c", {"a.c": HAS, "here.h": ""},
                          absent=("nowhere.h", "/usr/include/nowhere.h",
                                  "/usr/local/include/nowhere.h")),
    "a linked directory": Case("gcc -g -c l/a.c -Il/inc -MMD -o a.o",
                               {"real/a.c": NAMES, "real/inc/a.h": HEADER, "l": "->real"}),
    "a linked header": Case("gcc -g -c a.c -MMD",
                            {"a.c": NAMES, "a.h": "->{top}/real/b.h", "real/b.h": HEADER}),
    "a working directory by its linked name": Case(
        "gcc -g -c a.c", {"real/a.c": PLAIN, "w": "->real"}, cwd="real",
        environment={"PWD": "{top}/w"}),
    "one content at two times is two files": Case("gcc -c a.c -I.", TWICE, fails=True),
    "one content at one time is one file": Case("gcc -c a.c -I.", TWICE, one_time=True),
    "one content is two files for clang": Case("clang -c a.c -I.", TWICE, one_time=True,
                                               fails=True),
    "a hard link is one file for clang": Case(
        "clang -c a.c -I.", {**TWICE, "y/h.h": "=>x/h.h"}, one_time=True),
    "forced and late headers": Case(
        "gcc -g -c a.c -include inc/f.h -imacros inc/m.h -iquote q -idirafter late -isystem s -H"
        " -MD -MP -MT t",
        {"a.c": '#include "q.h"\n#include <l.h>\n#include <s.h>\nint x = F + M + Q + L + S;\n',
         "inc/f.h": "#define F 1\n", "inc/m.h": "#define M 1\n", "q/q.h": "#define Q 1\n",
         "late/l.h": "#define L 1\n", "s/s.h": "#define S 1\n"}),
    "directories in the environment": Case(
        "gcc -g -c a.c -MD", {"a.c": NAMES, "inc/a.h": HEADER},
        environment={"CPATH": "{top}/none:inc", "DEPENDENCIES_OUTPUT": "deps t"}),
    "up through a linked directory": Case(
        "gcc -g -c a.c -Il/../inc -MD",
        {"a.c": NAMES, "real/inc/a.h": HEADER, "real/d/x": "", "l": "->real/d",
         "inc/a.h": "#error\n"}),
    "a response file": Case("gcc @args -c a.c", {**C, "args": "-DX=1 -g -O1"}),
    "structured diagnostics": Case("gcc -Wall -fdiagnostics-format=json -c a.c",
                                   {"a.c": MACRO}, fails=True),
    "coloured diagnostics": Case(
        "gcc -Wall -fdiagnostics-color=always -fdiagnostics-urls=always -c a.c",
        {"a.c": UNDEFINED + "static int unused;\n"}),
    "serialized diagnostics of clang": Case(
        "clang -Weverything --serialize-diagnostics a.dia -MJ a.json -c a.c", {"a.c": UNDEFINED}),
    "link time optimisation": Case("gcc -flto -ffat-lto-objects -frandom-seed=1 -g -c a.c", C),
    "all dumps": Case("gcc -O1 -fdump-tree-optimized -fdump-rtl-final -c a.c -dumpdir o/", C,
                      directories=("o",)),
    "profiles that are not there": Case("gcc -O2 -fprofile-use -Wmissing-profile -c a.c", C),
    "an error in a system header": Case("g++ -std=c++98 -c a.cc",
                                        {"a.cc": "#include <type_traits>\n"}, fails=True),
    "an error that names a template's header": Case(
        "g++ -c a.cc", {"a.cc": "#include <vector>\nstd::vector<int &> v;\n"}, fails=True),
    "stack usage and dumps": Case("gcc -O1 -fstack-usage -fcallgraph-info -c a.c -o o/a.o", C,
                                  directories=("o",)),
    "temporary files": Case("gcc -save-temps=obj -c a.c -o o/a.o", C, directories=("o",)),
    "optimisation records": Case("gcc -O2 -fopt-info -c a.c", C),
    "an assembler listing": Case("gcc -S -g -fverbose-asm a.c -o -", C),
    "assembler with includes": Case("gcc -c a.S -g", {
        "a.S": '#include "n.h"\n.include "b.inc"\n.long N\n', "n.h": "#define N 3\n",
        "b.inc": ".long 5\n"}),
    "an incbin": Case("gcc -c a.c", {"a.c": INCBIN, "data.bin": "0123"}),
    "a spaced and odd name": Case("gcc -g -c odd%20name.c -Iü", {"odd name.c": NAMES,
                                                                "ü/a.h": HEADER}),
    "long strings and a large object": Case("gcc -g -c a.c", {
        "a.c": "const char t[] = \"" + "0123456789" * 100_000 + "\";\n"}),
    "clang": Case("clang -g -c a.c -MD", {"a.c": NAMES, "a.h": HEADER}),
    "clang++ with system headers": Case("clang++ -std=c++17 -g -c a.cc",
                                        {"a.cc": IOSTREAM, "a.h": HEADER}),
    "a warning of clang": Case("clang -Weverything -c a.c", {"a.c": UNDEFINED}),
    "an error of clang in a macro": Case("clang -c a.c", {"a.c": MACRO}, fails=True),
    "coverage of clang": Case("clang --coverage -c a.c", C),
    "clang's coverage mapping": Case(
        "clang -fprofile-instr-generate -fcoverage-mapping -c a.c", C),
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("server")
    with serving(directory, build(directory)) as made:
        yield made


def lay_out(case: Case, top: Path) -> list[str]:
    """Make the files of a case; its words."""
    for name, text in case.files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("->"):
            path.symlink_to(text[2:].format(top=top))
        elif text.startswith("=>"):
            path.hardlink_to(top / text[2:])
        else:
            path.write_text(text)
    for number, path in enumerate(sorted(top.rglob("*.h"))):
        # Other times than the server's, and not the same one twice.
        if not path.is_symlink():
            when = 1_500_000_000 + (0 if case.one_time else number)
            os.utime(path, (when, when))
    for name in case.directories:
        (top / name).mkdir(parents=True, exist_ok=True)
    words = case.words.format(top=top).split()
    return [need(words[0]), *(word.replace("%20", " ") for word in words[1:])]


def outputs(top: Path, before: set[Path]) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mode & 0o777, path.read_bytes())
        for path in sorted(top.rglob("*"))
        if path.is_file() and not path.is_symlink() and path not in before
    }


@pytest.mark.parametrize("name", CASES)
def test_every_byte_is_that_of_a_plain_compile(server: Server, name: str, tmp_path: Path) -> None:
    case = CASES[name]
    top = tmp_path.resolve() / "client" / "project"
    top.mkdir(parents=True)
    argv = lay_out(case, top)
    cwd = (top / case.cwd).resolve()
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TMPDIR": "/tmp"}
    environment |= {n: value.format(top=top) for n, value in case.environment.items()}
    before = set(top.rglob("*"))
    view = view_of(
        top, cwd, server.contents,
        system=read_by(argv, cwd, environment, top),
        absent=[top / one for one in case.absent],
    )  # fmt: skip
    assert set(top.rglob("*")) == before
    plain = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, check=False)
    made = outputs(top, before)
    assert (plain.returncode != 0) is case.fails, plain.stderr
    assert made or case.fails or "-o -" in case.words

    away = top.parent.rename(top.parent.with_name("away"))
    done, told = (
        server.sandbox.run(
            server.plan(view),
            tuple(map(os.fsencode, argv)),
            environment={os.fsencode(n): os.fsencode(value) for n, value in environment.items()},
            seconds=60,
            record=record,
        )
        for record in (False, True)
    )
    assert done.ran.err == plain.stderr
    assert done.ran.out == plain.stdout
    assert os.waitstatus_to_exitcode(done.ran.status) == plain.returncode
    # What a client does: its own umask decides.
    umask = os.umask(0o022)
    os.umask(umask)
    found = {os.fsdecode(one.path): (one.mode & ~umask, one.content) for one in done.outputs}
    assert found.keys() == made.keys()
    assert [path for path in found if found[path] != made[path]] == []
    assert replace(told, lookups=None) == done

    away.rename(top.parent)
    for output in made:
        os.unlink(output)
    assert told.lookups is not None or not server.sandbox.records
    check_answers(told.lookups or (), cwd, top)


def check_answers(lookups: tuple[Lookup, ...], cwd: Path, top: Path) -> None:
    """The client's own file system gives all that was noted below ``top`` or of headers."""
    paths = [cwd / os.fsdecode(one.path) for one in lookups]
    assert len(set(paths)) > 3 or not lookups
    for one, path in zip(lookups, paths, strict=True):
        if top in path.parents or "include" in path.parts:
            # As it is spelled: a Path would lose what stands behind the last name.
            name = os.path.join(os.fsencode(cwd), one.path)
            assert os.path.lexists(name) == (one.found is not Found.ABSENT or bool(one.target))
            assert os.path.isfile(name) == (one.found in (Found.FILE, Found.CONTENT))
            assert os.path.isdir(name) == (one.found in (Found.DIRECTORY, Found.LISTED))
            assert (os.readlink(name) if os.path.islink(name) else b"") == one.target


def test_the_comparison_can_fail(server: Server, tmp_path: Path) -> None:
    """Another directory, and another content, give another object."""
    (tmp_path / "a.c").write_text(PLAIN)
    words = (b"/usr/bin/gcc", b"-g", b"-c", b"a.c")
    objects = set()
    for number in range(2):
        view = view_of(tmp_path.resolve(), tmp_path.resolve(), server.contents)
        objects.add(server.sandbox.run(server.plan(view), words, environment={}).outputs[0].content)
        if number:
            (tmp_path / "a.c").write_text(PLAIN.replace("2", "3"))
        else:
            tmp_path = tmp_path.rename(tmp_path.with_name("elsewhere"))
    view = view_of(tmp_path.resolve(), tmp_path.resolve(), server.contents)
    objects.add(server.sandbox.run(server.plan(view), words, environment={}).outputs[0].content)
    assert len(objects) == 3


def test_the_cases_are_many() -> None:
    assert len(CASES) > 50
    assert {case.words.split()[0] for case in CASES.values()} == {"gcc", "g++", "clang", "clang++"}
    assert shutil.which("gcc") is not None
