"""Our client in front of pyccd: whatever is compiled there is what would have been made here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.daemon_kit import Daemon, daemon
from tests.e2e.kit import World
from tests.interop.kit import farm_counts
from tests.mounting import NO_ROOTS

HEADER = """\
#define OWN 3
#define TWICE(x) ((x) + (x) + unused_in_macro())
static inline int unused_in_macro(void) { int nobody; return 1; }
"""
SOURCE = """\
#include <stdio.h>
#include "own.h"
int f(int a)
{
    int unused;
    switch (a) {
    case 1:
        printf("%d", OWN);
        /* fallthrough */
    case 2:
        return TWICE(a);
    }
    return a << OWN;
}
"""
CXX = """\
#include <map>
#include <string>
#include "own.h"
int where(int line = __builtin_LINE()) { return line; }
std::string f(std::map<int, std::string> m) { return m[OWN] + "x"; }
"""


WHERE = """\
#include <source_location>
int column() { return std::source_location::current().column(); }
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Daemon]:
    with daemon("pyccd") as made:
        if not made.serves_exact_jobs:
            pytest.skip(NO_ROOTS)
        yield made


@pytest.fixture
def world(private: World) -> World:
    private.write("own.h", HEADER)
    private.write("a.c", SOURCE)
    private.write("a.cc", CXX)
    private.write("where.cc", WHERE)
    return private


def forget(world: World, env: dict[str, str]) -> None:
    """Have the client know nothing of earlier compiles."""
    for option in ("--clear", "--zero-stats"):
        assert world.call(world.install.launcher, option, env=env).status == 0


@pytest.mark.parametrize("options", ["", ",lzo"], ids=["plain", "lzo"])
@pytest.mark.parametrize(
    ("compiler", "name", "words"),
    [
        ("gcc", "a.c", ["-O2"]),
        ("gcc", "a.c", ["-g", "-Wall", "-Wextra"]),
        ("gcc", "a.c", ["-O1", "-Wextra", "-Werror", "-Wno-unused-variable", "-MD"]),
        ("gcc", "a.c", ["-fsanitize=undefined", "-g", "-MMD", "-MP"]),
        ("gcc", "a.c", ["-march=native", "-O3", "-S"]),
        ("gcc", "a.c", ["-m64", "-msse4.2", "-g"]),
        ("clang", "a.c", ["-march=x86-64-v3", "-mllvm", "-inline-threshold=5"]),
        ("g++", "a.cc", ["-g", "-O1", "-std=c++20"]),
        ("g++", "where.cc", ["-std=c++20"]),
        ("clang", "a.c", ["-g", "-Weverything"]),
        ("clang", "a.c", ["-O1", "-fsanitize=undefined"]),
        ("clang++", "a.cc", ["-g", "-std=c++20", "-MD", "-MF", "deps"]),
    ],
)
def test_what_comes_back_is_what_would_be_made_here(
    world: World, server: Daemon, compiler: str, name: str, words: list[str], options: str
) -> None:
    env = {"DISTCC_HOSTS": server.host(options)}
    done = world.compare(compiler, *words, "-c", name, "-o", "made.o", env=env).done
    assert done.status == 0, done
    first = farm_counts(world, env)
    assert first in ({"exact": 1}, {"known": 1})
    forget(world, env)
    world.compare(compiler, *words, "-c", name, "-o", "made.o", env=env)
    assert farm_counts(world, env) == {"known": 1}
    assert world.stats(env)["direct_cache_hit"] == 1


def test_nothing_is_compiled_twice_for_another_directory(world: World, server: Daemon) -> None:
    env = {"DISTCC_HOSTS": server.host()}
    made = []
    for tree in ("one", "other"):
        place = world.src / tree
        shutil.copytree(world.src, place, ignore=shutil.ignore_patterns("one", "other"))
        assert world.call("gcc", "-O2", "-DX", "-c", "a.c", env=env, cwd=place).status == 0
        made.append((place / "a.o").read_bytes())
        assert farm_counts(world, env) == ({"exact": 1} if tree == "one" else {"known": 1})
        forget(world, env)
    assert made[0] == made[1]


def test_a_name_that_clang_has_from_a_directory_is_not_anothers(
    world: World, server: Daemon
) -> None:
    """Where the working directory is the source's, clang calls the header by the name of -I."""
    world.write("tree/a.c", '#include "name.h"\n')
    world.write("tree/name.h", "const char *name = __FILE__;\n")
    (world.src / "build").mkdir()
    env = {"DISTCC_HOSTS": server.host()}
    words = ("clang", "-I.", "-c", "../tree/a.c", "-o", "../a.o")
    made = []
    for tree in ("build", "tree"):
        cwd = world.src / tree
        for _ in range(2):
            assert world.call(*words, env=env, cwd=cwd).status == 0
            made.append((world.src / "a.o").read_bytes())
        forget(world, env)
        assert world.call(*words, env=env, cwd=cwd).status == 0
        made.append((world.src / "a.o").read_bytes())
        assert world.call(*words, cwd=cwd, bare=True).status == 0
        made.append((world.src / "a.o").read_bytes())
    assert len(set(made[:4])) == len(set(made[4:])) == 1
    assert made[0] != made[4]


def add_directory(world: World) -> None:
    world.write("later/own.h", HEADER.replace("3", "6"))


def edit_header(world: World) -> None:
    world.write("own.h", HEADER.replace("3", "4"))


def shadow_header(world: World) -> None:
    world.write("first/own.h", HEADER.replace("3", "5"))


def add_what_is_asked_for(world: World) -> None:
    world.write("maybe.h", "#define MAYBE 1\n")


@pytest.mark.parametrize(
    "change", [edit_header, shadow_header, add_what_is_asked_for, add_directory]
)
def test_what_is_other_here_is_compiled_anew(world: World, server: Daemon, change: object) -> None:
    env = {"DISTCC_HOSTS": server.host()}
    (world.src / "first").mkdir()
    world.write(
        "b.c",
        '#include <own.h>\n#if __has_include("maybe.h")\n#define FOUND 1\n#else\n'
        "#define FOUND 0\n#endif\nint value = OWN, found = FOUND;\n",
    )
    words = ("-Wall", "-Ilater", "-Ifirst", "-I.", "-c", "b.c")
    world.compare("gcc", *words, env=env)
    forget(world, env)
    assert callable(change)
    change(world)
    world.compare("gcc", *words, env=env)
    assert farm_counts(world, env) in ({"exact": 1}, {"known": 1})
    forget(world, env)
    world.compare("gcc", *words, env=env)
    assert farm_counts(world, env) == {"known": 1}


def test_links_and_dots_on_the_way(world: World, server: Daemon) -> None:
    env = {"DISTCC_HOSTS": server.host()}
    world.write("real/include/deep.h", '#include "../more.h"\n')
    world.write("real/more.h", "#define MORE 7\n")
    (world.src / "linked").symlink_to("real")
    (world.src / "one.h").symlink_to(world.src / "real/more.h")
    world.write("d.c", '#include "deep.h"\n#include "./one.h"\nint value = MORE;\n')
    world.compare("gcc", "-g", "-Ilinked/include", "-Ireal/../nowhere", "-c", "d.c", env=env)
    assert farm_counts(world, env) == {"exact": 1}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bad.c", '#include "own.h"\nint f(\n'),
        ("pre.c", "#error no\n"),
        ("gone.c", '#include "x"\n'),
    ],
)
def test_what_does_not_compile_is_done_again_here(
    world: World, server: Daemon, name: str, text: str
) -> None:
    env = {"DISTCC_HOSTS": server.host()}
    world.write(name, text)
    world.compare("gcc", "-Wall", "-c", name, env=env)
    assert farm_counts(world, env) == {"retried": 2}


@pytest.mark.parametrize("variable", [{"DISTCC_FALLBACK": "0"}, {"DISTCC_SKIP_LOCAL_RETRY": "1"}])
def test_a_failure_elsewhere_that_counts(
    world: World, server: Daemon, variable: dict[str, str]
) -> None:
    env = {"DISTCC_HOSTS": server.host(), **variable}
    world.write("bad.c", "int f(\n")
    done = world.call("gcc", "-c", "bad.c", env=env)
    assert (done.status, b"bad.c:1" in done.err) == (1, True)
    assert farm_counts(world, env) == {"failed": 1}


def test_files_that_no_server_sees(world: World, server: Daemon) -> None:
    world.write("more", "1")
    env = {"DISTCC_HOSTS": server.host(), "CCACHE_EXTRAFILES": str(world.src / "more")}
    world.compare("gcc", "-O2", "-c", "a.c", env=env)
    assert farm_counts(world, env) == {"compiled": 1}
    forget(world, env)
    world.write("more", "2")
    world.compare("gcc", "-O2", "-c", "a.c", env=env)
    assert farm_counts(world, env) == {"compiled": 1}


def test_a_header_that_a_macro_names(world: World, server: Daemon) -> None:
    env = {"DISTCC_HOSTS": server.host()}
    world.write("t.c", "#define NAME <own.h>\n#include NAME\nint value = OWN;\n")
    world.compare("gcc", "-I.", "-c", "t.c", env=env)
    assert farm_counts(world, env) == {"exact": 1}


@pytest.mark.parametrize(
    "text",
    [
        "const char *when = __TIME__;\n",
        "const char *when = __DATE__;\n",
        '__asm__(".section .blob\\n.incbin \\"blob\\"\\n");\n',
        '#include "one/once.h"\n#include "other/once.h"\nint value = ONCE;\n',
    ],
)
def test_what_cannot_be_told_beforehand_goes_another_way(
    world: World, server: Daemon, text: str
) -> None:
    env = {"DISTCC_HOSTS": server.host(), "SOURCE_DATE_EPOCH": "1700000000"}
    world.write("blob", "ours")
    for place in ("one", "other"):
        world.write(f"{place}/once.h", "#pragma once\n#define ONCE 1\n")
    world.write("t.c", text)
    world.compare("gcc", "-I.", "-c", "t.c", env=env)
    assert "exact" not in farm_counts(world, env)


def test_outputs_that_are_there_are_no_matter(world: World, server: Daemon) -> None:
    env = {"DISTCC_HOSTS": server.host()}
    for compiler in ("gcc", "clang"):
        for output in (["-MD"], ["-o", "made.o"], ["-S", "-o", "./made.s"]):
            words = (compiler, "-O2", "-DY", "-c", "a.c", *output)
            for expected in ({"exact": 1}, {"known": 1}, {"known": 1}):
                assert world.call(*words, env=env).status == 0
                assert farm_counts(world, env) == expected
                assert world.call(*words, env=env).status == 0
                assert world.stats(env)["direct_cache_hit"] == 1
                forget(world, env)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], '#if __has_include("t.o")\n#error\n#endif\n'),
        ([], '#define N "t.o"\n#if __has_include(N)\n#error\n#endif\n'),
        (['-DN="t.o"'], "#if __has_include(N)\n#error\n#endif\n"),
        (["-D", 'N="t.o"'], "#if __has_include(N)\n#error\n#endif\n"),
    ],
)
def test_a_source_that_asks_for_its_own_output(
    world: World, server: Daemon, words: list[str], text: str
) -> None:
    env = {"DISTCC_HOSTS": server.host()}
    world.write("t.c", text)
    for status in (0, 1, 1):
        assert world.call("gcc", *words, "-c", "t.c", env=env).status == status
    assert "exact" not in farm_counts(world, env)


def test_many_at_once(world: World, server: Daemon) -> None:
    env = {"DISTCC_HOSTS": server.host(",lzo", slots=6)}
    for number in range(50):
        world.write(f"{number}.c", f'#include "own.h"\nint g{number} = OWN + {number};\n')
    # Without the start of a server, which a launcher awaits for a second.
    assert world.call("gcc", "-g", "-c", "a.c", env=env).status == 0
    forget(world, env)
    with ThreadPoolExecutor(50) as pool:
        done = list(pool.map(lambda n: world.call("gcc", "-g", "-c", f"{n}.c", env=env), range(50)))
    assert [one.status for one in done] == [0] * 50
    assert [one.err for one in done] == [b""] * 50
    for number in range(50):
        made = (world.src / f"{number}.o").read_bytes()
        assert world.call("gcc", "-g", "-c", f"{number}.c", bare=True).status == 0
        assert made == (world.src / f"{number}.o").read_bytes()
    assert farm_counts(world, env) == {"exact": 50}


def test_a_source_that_is_large(world: World, server: Daemon) -> None:
    env = {"DISTCC_HOSTS": server.host(",lzo")}
    rows = "".join(f"{number * 7919 % (1 << 31)},\n" for number in range(300_000))
    world.write("big.c", f"const int numbers[] = {{\n{rows}}};\n")
    world.compare("gcc", "-g", "-c", "big.c", env=env)
    assert farm_counts(world, env) == {"exact": 1}


def test_contents_that_the_server_has_lost_are_sent_again(world: World) -> None:
    with daemon("pyccd") as own:
        if not own.serves_exact_jobs:
            pytest.skip(NO_ROOTS)
        env = {"DISTCC_HOSTS": own.host()}
        assert world.call("gcc", "-c", "a.c", env=env).status == 0
        contents = own.place / "cache/pycc/contents"
        for path in contents.glob("??/*"):
            path.unlink()
        world.compare("gcc", "-g", "-c", "a.c", env=env)
        assert farm_counts(world, env) == {"exact": 2}


def test_the_directory_of_the_user_is_not_needed(world: World, server: Daemon) -> None:
    """Nothing is read by way of a common file system: the daemon's user may not enter here."""
    env = {"DISTCC_HOSTS": server.host()}
    place = Path(world.src)
    mode = place.stat().st_mode
    place.chmod(0o700)
    try:
        world.compare("gcc", "-g3", "-c", "a.c", env=env)
    finally:
        place.chmod(mode)
    assert farm_counts(world, env) == {"exact": 1}
