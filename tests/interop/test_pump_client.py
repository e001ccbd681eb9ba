"""Our client in pump mode with the real distccd: what it makes is what the compiler makes here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon_kit import Daemon, daemon
from tests.e2e.kit import World, wait_until
from tests.interop.gate_kit import OWN_NAME, Gate
from tests.interop.kit import farm_counts
from tests.mounting import need_private_mounts

HEADER = """\
#define TOLD 3
static inline const char *told(void) { return __FILE__; }
"""
SOURCE = """\
#include <stdio.h>
#include <sub.h>
int f(int a)
{
    int unused;
    return printf("%s %s", told(), __FILE__) + a + TOLD;
}
"""
DEPENDENCIES = {
    "none": [],
    "all": ["-MD"],
    "named": ["-MD", "-MP", "-MQ", "x y", "-MF", "deps"],
    "own": ["-MMD", "-MP", "-MT", "a b", "-MT", "c"],
}


@pytest.fixture(scope="module")
def stock() -> Iterator[Daemon]:
    # The quotation marks in messages are those of the server's locale.
    with daemon("distccd", LC_ALL="C") as made:
        yield made


def hosts(stock: Daemon) -> dict[str, str]:
    return {"DISTCC_HOSTS": stock.host(",cpp,lzo")}


def made(world: World) -> dict[str, bytes]:
    found = {p.name: p.read_bytes() for p in world.src.iterdir() if p.is_file()}
    return {name: found[name] for name in found.keys() & {"made.o", "made.d", "deps"}}


def forget(world: World) -> None:
    for name in made(world):
        (world.src / name).unlink()


def without_debug(path: Path) -> bytes:
    stripped = path.with_suffix(".stripped")
    subprocess.run(["objcopy", "--strip-debug", path, stripped], check=True)
    return stripped.read_bytes()


def names_in(path: Path) -> set[bytes]:
    """The strings of the debug information's lines, with one slash where there are many."""
    section = path.with_suffix(".section")
    done = ["objcopy", "-O", "binary", "--only-section=.debug_line_str"]
    done += ["--set-section-flags", ".debug_line_str=alloc", path, section]  # type: ignore[list-item]
    subprocess.run(done, check=True)
    return {
        b"/" + n.lstrip(b"/") if n[:2] == b"//" else n for n in section.read_bytes().split(b"\0")
    }


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("listed", DEPENDENCIES)
@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
def test_a_source_is_compiled_there_as_it_is(
    world: World, stock: Daemon, compiler: str, listed: str, absolute: bool
) -> None:
    world.write("inc/sub.h", HEADER)
    world.write("a.c", SOURCE)
    place = f"{world.src}/" if absolute else ""
    words = ["-O2", "-Wall", f"-I{place}inc", *DEPENDENCIES[listed]]
    command = (compiler, *words, "-c", f"{place}a.c", "-o", "made.o")
    done = world.call(*command, env=hosts(stock))
    mine = made(world)
    forget(world)
    plain = world.call(*command, bare=True)
    assert (done.status, done.out, done.err) == (plain.status, plain.out, plain.err)
    assert b"unused" in done.err
    assert mine == made(world)

    counts = farm_counts(world, hosts(stock))
    assert counts == {"pumped": 1}
    forget(world)
    again = world.call(*command, env=hosts(stock))
    assert (again.out, again.err, made(world)) == (plain.out, plain.err, mine)
    assert world.stats(hosts(stock)).get("direct_cache_hit") == 1


@pytest.mark.parametrize("way", [",cpp,lzo", ",lzo"])
def test_the_driver_calls_itself_as_it_does_here(world: World, stock: Daemon, way: str) -> None:
    """It is sent by its whole name, so that the server takes one for this machine."""
    world.write("a.c", "int x;\n")
    command = ("gcc", "-fvtable-gc", "-c", "a.c", "-o", "made.o")
    env = {"DISTCC_HOSTS": stock.host(way)}
    done = [world.call(*command, env=env) for _ in range(2)]
    plain = world.call(*command, bare=True)
    assert plain.err.startswith(b"gcc: warning: ")
    assert {one.err for one in done} == {plain.err}
    assert farm_counts(world, env) == ({"pumped": 1} if "cpp" in way else {"compiled": 1})


@pytest.mark.parametrize(
    "words",
    [["-emit-llvm"], ["-flto"], ["-MD", "-MMD"], ["-fdiagnostics-absolute-paths"]],
    ids=" ".join,
)
def test_clang_words_of_which_a_server_makes_something_else(
    world: World, stock: Daemon, words: list[str]
) -> None:
    world.write("sub/a.c", "int f(void) { int unused; return 1; }\n")
    command = ("clang", "-Wall", *words, "-c", "sub/a.c", "-o", "made.o")
    done = world.call(*command, env=hosts(stock))
    mine = made(world)
    forget(world)
    plain = world.call(*command, bare=True)
    assert (done.status, done.err, mine) == (plain.status, plain.err, made(world))
    assert b"unused" in plain.err


@pytest.mark.parametrize("word", ["-MP", "-MG", "-MTx", "-Wp,-MP"])
def test_words_that_need_a_list_are_errors_as_here(world: World, stock: Daemon, word: str) -> None:
    world.write("a.c", "int x;\n")
    command = ("gcc", word, "-c", "a.c", "-o", "made.o")
    done = world.call(*command, env=hosts(stock))
    mine = made(world)
    forget(world)
    plain = world.call(*command, bare=True)
    assert (done.status, done.err, mine) == (plain.status, plain.err, made(world))
    assert plain.status == 1


@pytest.mark.parametrize("listed", ["all", "named", "own"])
@pytest.mark.parametrize("place", ["", "./", "../src/"])
def test_what_a_sanitizer_ignores_is_no_source(
    world: World, stock: Daemon, listed: str, place: str
) -> None:
    """clang names that list before the source, which alone has no rule of its own under -MP."""
    world.write("inc/sub.h", HEADER)
    world.write("a.c", SOURCE)
    words = ["-fsanitize=address", "-Iinc", *DEPENDENCIES[listed], "-c", f"{place}a.c"]
    assert world.call("clang", *words, "-o", "made.o", env=hosts(stock)).status == 0
    mine = made(world)
    names = any(b"asan_ignorelist.txt" in content for content in mine.values())
    assert names is (listed != "own")
    assert farm_counts(world, hosts(stock)) == {"pumped": 1}
    forget(world)
    assert world.call("clang", *words, "-o", "made.o", bare=True).status == 0
    assert mine == made(world)


@pytest.mark.parametrize("version", ["4", "5"])
def test_debug_information_names_the_clients_directories(
    world: World, stock: Daemon, version: str
) -> None:
    world.write("inc/sub.h", HEADER)
    world.write("a.c", SOURCE)
    words = [f"-gdwarf-{version}", f"-I{world.src}/inc", "-c", f"{world.src}/a.c", "-o", "made.o"]
    assert world.call("gcc", *words, env=hosts(stock)).status == 0
    content = (world.src / "made.o").read_bytes()
    assert b"distccd_" not in content
    mine = without_debug(world.src / "made.o")
    strings = names_in(world.src / "made.o") if version == "5" else set()
    assert world.call("gcc", *words, bare=True).status == 0
    assert mine == without_debug(world.src / "made.o")
    if version == "5":
        assert strings == names_in(world.src / "made.o")
        assert os.fsencode(world.src) in strings
    assert farm_counts(world, hosts(stock)) == {"pumped": 1}
    # clang is told the directory.
    assert world.call("clang", *words, env=hosts(stock)).status == 0
    mine = (world.src / "made.o").read_bytes()
    assert world.call("clang", *words, bare=True).status == 0
    assert mine == (world.src / "made.o").read_bytes()
    assert farm_counts(world, hosts(stock)) == {"pumped": 2}


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("sanitizer", ["address", "undefined"])
@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
def test_what_sanitizers_report_has_its_name(
    world: World, stock: Daemon, compiler: str, sanitizer: str, absolute: bool
) -> None:
    """Neither compiler maps these names, so an absolute one would be another."""
    world.write("inc/sub.h", "static int array[3];\nstatic int at(int i) { return array[i]; }\n")
    world.write("a.c", "#include <sub.h>\nint f(int i, int j) { return at(i) / j; }\n")
    place = f"{world.src}/" if absolute else ""
    words = [f"-fsanitize={sanitizer}", f"-I{place}inc"]
    command = (compiler, *words, "-c", f"{place}a.c", "-o", "made.o")
    done = world.call(*command, env=hosts(stock))
    mine = made(world)
    forget(world)
    plain = world.call(*command, bare=True)
    assert (done.status, done.err) == (plain.status, plain.err)
    assert mine == made(world)
    counts = farm_counts(world, hosts(stock))
    assert counts.get("pumped", 0) == (not absolute)


@pytest.mark.parametrize("way", [",cpp,lzo", ",lzo"])
def test_clang_records_no_servers_command(world: World, stock: Daemon, way: str) -> None:
    world.write("a.c", "int x;\n")
    command = ("clang", "-frecord-gcc-switches", "-c", "a.c", "-o", "made.o")
    assert world.call(*command, env={"DISTCC_HOSTS": stock.host(way)}).status == 0
    mine = made(world)
    forget(world)
    assert world.call(*command, bare=True).status == 0
    assert mine == made(world)


def test_headers_are_followed(world: World, stock: Daemon) -> None:
    """One that changes, one that appears before it, one that is made beside it."""
    world.write("one/x.h", "int x = 1;\n")
    world.write("two/x.h", "int x = 2;\n")
    world.write("a.c", '#include <x.h>\n#if __has_include("maybe.h")\n#include "maybe.h"\n#endif\n')
    words = ("gcc", "-Izero", "-Ione", "-Itwo", "-c", "a.c", "-o", "made.o")
    edits = (
        ("one/x.h", "int x = 3;\n"),
        ("zero/x.h", "int x = 4;\n"),
        ("maybe.h", "int maybe = 5;\n"),
        ("one/x.h", "int x = 6;\n"),
    )
    for number, (name, text) in enumerate((("two/x.h", "int x = 2;\n"), *edits)):
        world.write(name, text)
        assert world.call(*words, env=hosts(stock)).status == 0
        mine = made(world)
        forget(world)
        assert world.call(*words, bare=True).status == 0
        assert mine == made(world), (number, name)
    # The last edit is of a header that is not read any more.
    assert farm_counts(world, hosts(stock)) == {"pumped": 4}


@pytest.mark.parametrize("mode", ["other", "missing", "more"])
def test_a_server_with_other_headers_is_found_out(world: World, mode: str) -> None:
    need_private_mounts()
    mounts = {
        "other": "cp -a /usr/include/stdio.h $PLACE/s.h; echo 'extern int more;' >> $PLACE/s.h;"
        " mount --bind $PLACE/s.h /usr/include/stdio.h",
        "missing": "mount --bind /dev/null /usr/include/stdlib.h",
        "more": "mkdir -p $PLACE/l; cp /usr/include/stdio.h $PLACE/l;"
        " echo 'extern int more;' >> $PLACE/l/stdio.h; mount --bind $PLACE/l /usr/local/include",
    }[mode]
    header = "stdlib.h" if mode == "missing" else "stdio.h"
    world.write("a.c", f"#include <{header}>\nint f(void) {{ return 1; }}\n")
    command = ("gcc", "-g3", "-c", "a.c", "-o", "made.o")
    with daemon("distccd", mounts=mounts) as other:
        log = world.root / "log"
        env = {**hosts(other), "DISTCC_LOG": os.fspath(log)}
        assert world.call(*command, env=env).status == 0
        counts = farm_counts(world, env)
        # A header that this machine lacks is in the list of what was read: nothing is to be asked.
        asked = {} if mode == "more" else {"other_headers": 1}
        assert counts == {"compiled": 1, "not_pumped": 1, **asked}
        assert world.call("gcc", "-O1", *command[1:], env=env).status == 0
        assert (f"/usr/include/{header}" in log.read_text()) is (mode != "more")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#include HEADER\nint x = TOLD;\n", ["-DHEADER=<sub.h>"]),
        ('#define HEADER "inc/sub.h"\n#include HEADER\nint x = TOLD;\n', []),
        ("#include <by_name.h>\nint x = TOLD;\n", []),
        ('#include "link/sub.h"\nint x = TOLD;\n', []),
        ('#include "sub.h"\nint x = TOLD;\n', ["-iquote", "inc", "-include", "inc/sub.h"]),
        ("int x = TOLD;\n", ["-include", "{src}/inc/sub.h"]),
        ("#include <sub.h>\nint x = TOLD;\n", ["-isystem", "inc"]),
        ("#include_next <sub.h>\nint x = TOLD;\n", ["-idirafter", "inc"]),
        ("#include <only_after.h>\nint x = AFTER;\n", ["-idirafter", "after"]),
        ("#include <sys/only_after.h>\nint x = AFTER;\n", ["-idirafter", "after"]),
        ("#include <stdio.h>\nint x = EOF;\n", ["-idirafter", "after"]),
    ],
)
def test_every_way_to_a_header(world: World, stock: Daemon, text: str, words: list[str]) -> None:
    world.write("inc/sub.h", "#ifndef TOLD\n#define TOLD 7\n#endif\n")
    world.write("inc/by_name.h", "#define NAME <sub.h>\n#include NAME\n")
    for name in ("only_after.h", "sys/only_after.h"):
        world.write(f"after/{name}", "#define AFTER 8\n")
    world.write("after/stdio.h", "#error the system's is found first\n")
    os.symlink("inc", world.src / "link")
    world.write("a.c", text)
    words = [word.replace("{src}", str(world.src)) for word in words]
    command = ("gcc", "-Wall", "-Iinc", *words, "-MD", "-c", "a.c", "-o", "made.o")
    done = world.call(*command, env=hosts(stock))
    mine = made(world)
    forget(world)
    plain = world.call(*command, bare=True)
    assert (done.status, done.err, mine) == (plain.status, plain.err, made(world))
    assert farm_counts(world, hosts(stock)) == {"pumped": 1}


def test_the_servers_file_is_not_taken_for_the_clients(world: World, stock: Daemon) -> None:
    stock.write("of_the_server.h", "int x = 1;\n")
    world.write("a.c", f'#include "{stock.place}/project/of_the_server.h"\n')
    command = ("gcc", "-c", "a.c", "-o", "made.o")
    assert world.call(*command, env=hosts(stock)).status == 0
    assert "pumped" not in farm_counts(world, hosts(stock))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("const char *t = __TIME__;\n", []),
        ("int x;\n", ["-g", "-gz"]),
        ("int x;\n", ["-g", "-gz=zlib-gnu"]),
        ("int x;\n", ["-frecord-gcc-switches"]),
        ("int x;\n", ["-g", "-fdebug-prefix-map=/a=/b"]),
        ("int x;\n", ["-I/usr/include/../include"]),
    ],
)
def test_what_does_not_go_by_pump_is_compiled_otherwise(
    world: World, stock: Daemon, text: str, words: list[str]
) -> None:
    world.write("a.c", text)
    command = ("gcc", *words, "-c", "a.c", "-o", "made.o")
    done = world.call(*command, env=hosts(stock))
    plain = world.call(*command, bare=True)
    assert (done.status, done.err) == (plain.status, plain.err)
    counts = farm_counts(world, hosts(stock))
    assert counts.get("not_pumped") == 1
    assert "pumped" not in counts


@pytest.mark.parametrize(
    ("files", "words", "pumped"),
    [
        ({"inc/own.h": "int own;\n", "a.c": "#include <own.h>\n#include <stdlib.h>\n"}, [], True),
        ({"sys/own.h": "int own;\n", "a.c": "#include <own.h>\n"}, ["-isystem", "sys"], True),
        # The system's <stdlib.h> includes it, and so does the source.
        ({"inc/stddef.h": "#include_next <stddef.h>\n", "a.c": "#include <stdlib.h>\n"}, [], False),
        ({"inc/own.h": "#pragma GCC system_header\n#include <x.h>\n", "inc/x.h": "int x;\n",
          "a.c": "#include <own.h>\n"}, [], False),
        ({"sys/own.h": "int own;\n", "a.c": '#include "sys/own.h"\n'}, ["-isystem", "sys"], False),
    ],
)  # fmt: skip
def test_the_users_own_headers_are_listed(
    world: World, stock: Daemon, files: dict[str, str], words: list[str], pumped: bool
) -> None:
    for name, text in files.items():
        world.write(name, text)
    for compiler in ("gcc", "clang"):
        command = (compiler, "-Iinc", *words, "-MMD", "-c", "a.c", "-o", "made.o")
        assert world.call(*command, env=hosts(stock)).status == 0
        mine = made(world)
        forget(world)
        assert world.call(*command, bare=True).status == 0
        assert mine == made(world)
    assert ("pumped" in farm_counts(world, hosts(stock))) is pumped


def test_a_header_that_goes_while_the_server_has_it_is_missed(world: World, gate: Gate) -> None:
    text = '#if __has_include("opt.h")\nint a = 1;\n#else\nint a = 2;\n#endif\n'
    world.write("a.c", text)
    world.write("opt.h", "")
    command = ("gcc", "-c", "a.c", "-o", "made.o")
    with daemon("distccd", compiler=gate.compiler, LC_ALL="C") as stock:
        env = {**hosts(stock), **OWN_NAME}
        world.start()
        process = subprocess.Popen(command, env={**world.env, **env}, cwd=world.src)
        wait_until(lambda: "child started" in stock.log)
        (world.src / "opt.h").unlink()
        gate.let_pass()
        assert process.wait(60) == 0
        assert world.call(*command, env=env).status == 0
        mine = made(world)
        assert farm_counts(world, env) == {"not_pumped": 1, "compiled": 1}
    assert world.call(*command, bare=True).status == 0
    assert mine == made(world)
