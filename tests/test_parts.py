"""Which commands are taken apart, and into what."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pycc.invocation import Family, ParseSettings
from pycc.parts import MOST, Parts, split

GCC, CLANG = Family.GCC, Family.CLANG


def taken(line: str, family: Family = GCC, driver: bytes = b"gcc") -> Parts | None:
    numbers = itertools.count(1)
    return split(
        line.encode().split(),
        family=family,
        driver=driver,
        settings=ParseSettings(),
        cwd=b"/work",
        environment={},
        temporary=lambda _: b"/tmp/%d.o" % next(numbers),
    )


def lines(parts: Parts | None) -> list[str]:
    """Each part's words, then the link's."""
    assert parts is not None
    commands = [part.words for part in parts.parts] + ([parts.link] if parts.link else [])
    return [b" ".join(words).decode() for words in commands]


APART = [
    ("-c a.c b.c", ["-c a.c", "-c b.c"]),
    ("-O2 -c a.c -DX b.c -Ii", ["-O2 -c a.c -DX -Ii", "-O2 -c -DX b.c -Ii"]),
    ("-S a.c b.c", ["-S a.c", "-S b.c"]),
    ("-fsyntax-only a.c b.c", ["-fsyntax-only a.c", "-fsyntax-only b.c"]),
    ("-c -MD a.c b.c", ["-c -MD a.c", "-c -MD b.c"]),
    ("-c -x c a.x b.x", ["-c -x c a.x", "-c -x c b.x"]),
    ("-c -x c a.x -x none b.c", ["-c -x c a.x", "-c b.c"]),
    ("-c a.c b.s c.S d.cc", ["-c a.c", "-c b.s", "-c c.S", "-c d.cc"]),
    ("a.c", ["-c -o /tmp/1.o a.c", "/tmp/1.o"]),
    ("a.c -o app", ["-c -o /tmp/1.o a.c", "/tmp/1.o -o app"]),
    (
        "-L. a.c -lx b.c -ly -o app z.o",
        [
            "-c -o /tmp/1.o -L. a.c -lx -ly",
            "-c -o /tmp/2.o -L. -lx b.c -ly",
            "-L. /tmp/1.o -lx /tmp/2.o -ly -o app z.o",
        ],
    ),
    (
        "-x c a.c -x c++ b.c -x none z.o -o app",
        [
            "-c -o /tmp/1.o -x c a.c",
            "-c -o /tmp/2.o -x c++ b.c",
            "/tmp/1.o /tmp/2.o z.o -o app",
        ],
    ),
    (
        "-MD a.c -o d/app.x",
        ["-MF d/app.d -MQ d/app.x -c -o /tmp/1.o -MD a.c", "-MD /tmp/1.o -o d/app.x"],
    ),
    (
        "-MMD -MF x.d -MT t a.c -o app",
        ["-c -o /tmp/1.o -MMD -MF x.d -MT t a.c", "-MMD -MF x.d -MT t /tmp/1.o -o app"],
    ),
    (
        "-g -Wl,-Map=m a.c -oapp",
        ["-c -o /tmp/1.o -g -Wl,-Map=m a.c", "-g -Wl,-Map=m /tmp/1.o -oapp"],
    ),
]


@pytest.mark.parametrize(("line", "expected"), APART, ids=lambda v: str(v)[:40])
def test_a_command_is_taken_apart(line: str, expected: list[str]) -> None:
    assert lines(taken(line)) == expected


def test_each_driver_of_clang_hears_what_it_does_not_warn_of() -> None:
    line = "-nostdinc -DX -shared -fPIC -Wl,-z,now -Wa,-x a.c -lm -fuse-ld=lld -o l.so"
    assert lines(taken(line, CLANG, b"clang")) == [
        "-c -o /tmp/1.o -nostdinc -DX -fPIC -Wa,-x a.c",
        "-DX -shared -fPIC -Wl,-z,now /tmp/1.o -lm -fuse-ld=lld -o l.so",
    ]


WHOLE = """
    a.o b.o -o app
    -c a.c
    -c a.c b.c -o x.o
    -c a.c d/a.c
    -c a.c b.c z.o
    -c a.c ./b.c b.c
    -c -MD -MF x.d a.c b.c
    -c a.c -
    -c a.c a.h
    -E a.c b.c
    -M a.c b.c
    -c a.c b.f90
    a.c script -o app
    a.c -x c z.o.in -x none z -o app
    a.c @more
    a.c -- b.c
    -v a.c
    -### a.c
    -save-temps a.c -o app
    -flto a.c -o app
    -flto=auto a.c -o app
    --coverage a.c -o app
    -fprofile-arcs a.c -o app
    -fprofile-generate a.c -o app
    -fprofile-use a.c -o app
    -ftest-coverage a.c -o app
    -fstack-usage a.c -o app
    -fcallgraph-info a.c -o app
    -g -gsplit-dwarf a.c -o app
    -frecord-gcc-switches a.c -o app
    -fdump-tree-all a.c -o app
    -specs=x a.c -o app
    -dumpdir d a.c -o app
    -dumpbase x -c a.c b.c
    -Wa,-al=x a.c -o app
    -MD a.c b.c -o app
    -MD a.c
    -Wp,-MD,x a.c -o app
    conftest.c -o conftest
    -c conftest.c b.c
    a.c -o a.c
    --ccache-skip -DX a.c b.c -c
    -include
"""


@pytest.mark.parametrize("line", [one.strip() for one in WHOLE.strip().splitlines()])
def test_a_command_stays_whole(line: str) -> None:
    assert taken(line) is None


def test_the_libraries_of_a_cxx_driver_depend_on_languages() -> None:
    assert taken("-x c a.c -o app", driver=b"g++") is None
    assert taken("-c -x c a.x -x none b.c", driver=b"g++") is None


def test_an_x_behind_all_inputs_is_warned_of() -> None:
    assert taken("-c a.c b.c -x c") is None
    assert taken("a.c -o app -x c") is None
    assert taken("-x c") is None
    assert lines(taken("a.c -o app", driver=b"g++")) == ["-c -o /tmp/1.o a.c", "/tmp/1.o -o app"]


def test_assembly_stays_whole_under_clang() -> None:
    assert taken("a.c b.S -o app", CLANG, b"clang") is None
    assert taken("-c a.c b.s", CLANG, b"clang") is None


def test_unknown_compilers_and_endless_commands_stay_whole() -> None:
    assert taken("-c a.c b.c", Family.OTHER) is None
    assert taken("-c " + " ".join(f"{n}.c" for n in range(MOST))) is not None
    assert taken("-c " + " ".join(f"{n}.c" for n in range(MOST + 1))) is None


# What the driver gives the compiler, the assembler and the linker.

OPTIONS = """
    -O2 -Wall
    -g -O1
    -g3 -gdwarf-4
    -static
    -static-pie
    -shared -fPIC
    -pie -fPIE
    -no-pie
    -no-pie -fno-pie
    -nostdlib
    -nostartfiles -nodefaultlibs
    -rdynamic -s
    -r
    -pthread
    -fopenmp
    -pg
    -m32
    -march=native
    -fsanitize=undefined
    -static-libgcc
    -Wl,-O1,--as-needed -L. -lm -Wl,-Map=map
    -Xlinker -z -Xlinker now
    -u main -z relro -T x.ld -e main
    -B. -DX=1 -I. -include h.h
    -nostdinc -undef -Wp,-DY
    -Wa,--noexecstack -Xassembler -L
    -std=c99 -pedantic -ansi
    -ffunction-sections -fdata-sections -Wl,--gc-sections
    -fuse-ld=gold
    -pipe -w
    -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fcf-protection
    -Os -fno-plt -fvisibility=hidden
"""
KINDS = {"a.c": "c", "b.cc": "c++", "c.S": "assembler-with-cpp", "d.s": "assembler", "e.i": "i"}


def touched(path: Path) -> Path:
    path.touch()
    return path


def jobs(command: list[str], cwd: Path) -> list[str]:
    """The commands that a driver would run, without the names of temporary files, and what only
    names files that are not asked for (gcc's -dump options)."""
    done = subprocess.run(
        [*command, "-###"], cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )
    found = []
    for line in done.stderr.splitlines():
        if re.match(r'^ ["/a-z]', line):
            text = line.replace(f"{cwd}/", "/tmp/")
            text = re.sub(r"/tmp/[\w.+-]+(\.[sori]|\.res)\b", r"TMP\1", text)
            text = re.sub(r" -(dumpdir|dumpbase|dumpbase-ext) [^ ]+", "", text)
            found.append(text.replace('"', ""))
    return found


@pytest.mark.parametrize("compiler", ["gcc", "g++", "clang", "clang++"])
def test_the_driver_gives_its_programs_the_same_words(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    family = CLANG if "clang" in compiler else GCC
    for name in (*KINDS, "z.o"):
        (tmp_path / name).touch()
    (tmp_path / "h.h").touch()
    numbers = itertools.count(1)
    # clang takes long to start.
    step = {"clang": 2, "clang++": 7}.get(compiler, 1)
    for number, options in enumerate(OPTIONS.strip().splitlines()[::step]):
        kinds = [name for name in KINDS if family is GCC or name not in ("c.S", "d.s")]
        words = [*options.split(), *kinds[: 1 + number % len(kinds)], "z.o", "-o", "app"]
        if number % 3 == 0:
            words = [*options.split(), "-c", *kinds]
        parts = split(
            [os.fsencode(word) for word in words],
            family=family,
            driver=compiler.encode(),
            settings=ParseSettings(),
            cwd=os.fsencode(tmp_path),
            environment={},
            temporary=lambda _: os.fsencode(touched(tmp_path / f"t{next(numbers)}.o")),
        )
        assert parts is not None, words
        whole = jobs([compiler, *words], tmp_path)
        apart = [
            job
            for command in (*(part.words for part in parts.parts), parts.link)
            if command
            for job in jobs([compiler, *map(os.fsdecode, command)], tmp_path)
        ]
        assert [a for a in whole if a not in apart] == [a for a in apart if a not in whole], words
        assert whole
