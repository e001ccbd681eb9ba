"""The traps that were reproduced on other caches: what must never give a stale or wrong object.

Each test walks through states and, in each, compares with the bare compiler twice: the second
call may be a hit and must still be right.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.kit import SYSTEM_PATH, World, define, real

HEADER = '#include "v.h"\nint v = V;\n'

pytestmark = pytest.mark.usefixtures("count_hits")


# ---- the compiler and what stands behind it ------------------------------------------------


def marking_assembler(world: World, name: str, mark: str) -> Path:
    """A directory with an `as` that leaves a mark in the object."""
    return world.script(f"{name}/as", f'exec /usr/bin/as --defsym {mark}=1 "$@"').parent


def test_another_assembler_in_front_on_path(world: World) -> None:
    world.write("a.c", "int a;\n")
    world.compare("gcc", "-c", "a.c")
    front = marking_assembler(world, "front", "one")
    env = {"PATH": f"{front}:{world.install.links}:{SYSTEM_PATH}"}
    outcome = world.compare("gcc", "-c", "a.c", env=env)
    assert b"one" in outcome.tree[b"a.o"][2]
    marking_assembler(world, "front", "two")
    assert b"two" in world.compare("gcc", "-c", "a.c", env=env).tree[b"a.o"][2]
    (front / "as").unlink()
    assert b"two" not in world.compare("gcc", "-c", "a.c", env=env).tree[b"a.o"][2]


@pytest.mark.parametrize("how", ["COMPILER_PATH", "-B", "-B with a slash"])
def test_another_assembler_by(world: World, how: str) -> None:
    world.write("a.c", "int a;\n")
    place = marking_assembler(world, "tools", "one")
    words = ["gcc", "-c", "a.c"]
    env = {}
    if how == "COMPILER_PATH":
        env = {"COMPILER_PATH": str(place)}
    else:
        words.insert(1, f"-B{place}/" if "slash" in how else f"-B{place}")
    world.compare("gcc", "-c", "a.c")
    assert b"one" in world.compare(*words, env=env).tree[b"a.o"][2]
    marking_assembler(world, "tools", "two")
    assert b"two" in world.compare(*words, env=env).tree[b"a.o"][2]
    (place / "as").unlink()
    world.compare(*words, env=env)
    marking_assembler(world, "tools", "three")
    assert b"three" in world.compare(*words, env=env).tree[b"a.o"][2]


def test_a_specs_file_that_changes(world: World) -> None:
    define(world, "v.h", 1)
    world.write("a.c", "int v = V;\n")
    for value in (1, 2):
        world.write("my.specs", f"*cpp:\n+ -DV={value}\n\n")
        world.compare("gcc", "-specs=my.specs", "-c", "a.c")


def test_a_specs_file_that_appears_beside_the_compilers_own_files(world: World) -> None:
    world.write("a.c", "#ifndef V\n#define V 0\n#endif\nint v = V;\n")
    place = world.root / "b"
    place.mkdir()
    words = ["gcc", f"-B{place}/", "-c", "a.c"]
    world.compare(*words)
    (place / "specs").write_text("*cpp:\n+ -DV=1\n\n")
    world.compare(*words)
    (place / "specs").unlink()
    world.compare(*words)


def test_a_clang_configuration_file(world: World, clang: None) -> None:
    world.write("a.c", "int v = V;\n")
    for value in (1, 2):
        world.write("my.cfg", f"-DV={value}\n")
        world.compare("clang", "--config", f"{world.src}/my.cfg", "-c", "a.c")


def test_native_is_keyed_by_what_it_stands_for(world: World) -> None:
    world.write("a.c", "int a;\n")
    probe = ["gcc", "-march=native", "-E", "-v", "-x", "c", "/dev/null"]
    text = subprocess.run(probe, capture_output=True, text=True, check=False).stderr
    words = next((line for line in text.splitlines() if " -march=" in line), "").split()
    march = next((word for word in words if word.startswith("-march=")), "")
    if march in ("", "-march=native"):
        pytest.skip("this gcc does not say what native is")
    env = {"CCACHE_DEBUG": "1", "CCACHE_DEBUGDIR": str(world.root / "debug")}
    world.gcc("-march=native", "-c", "a.c", env=env)
    keyed = [p for p in (world.root / "debug").rglob("*") if p.is_file() and "input" in p.name]
    assert any(march.encode() in path.read_bytes() for path in keyed)
    world.compare("gcc", "-march=native", "-c", "a.c")


# ---- the environment -----------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["CPATH", "C_INCLUDE_PATH"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_include_directories_from(world: World, variable: str, compiler: str) -> None:
    if real(compiler) is None:
        pytest.skip(f"needs {compiler}")
    define(world, "one/v.h", 1)
    define(world, "two/v.h", 2)
    world.write("a.c", "#include <v.h>\nint v = V;\n")
    for value in ("one", "two", "two:one", "one:two", "nothing"):
        world.compare(compiler, "-c", "a.c", env={variable: value})


def test_an_empty_entry_of_cpath_is_the_working_directory(world: World) -> None:
    define(world, "one/v.h", 1)
    world.write("a.c", "#include <v.h>\nint v = V;\n")
    world.compare("gcc", "-c", "a.c", env={"CPATH": ":one"})
    define(world, "v.h", 2)
    world.compare("gcc", "-c", "a.c", env={"CPATH": ":one"})


def test_a_gcc_exec_prefix(world: World) -> None:
    world.write("a.c", "int a;\n")
    world.compare("gcc", "-c", "a.c", env={"GCC_EXEC_PREFIX": "/nowhere/"})
    world.compare("gcc", "-c", "a.c")


def test_the_date_is_that_of_the_clients_time_zone(world: World) -> None:
    world.write("a.c", "const char *d = __DATE__;\n")
    made = set()
    for zone in ("AAA-14", "BBB+12", "AAA-14"):  # 26 hours apart: never the same date
        made.add(world.compare("gcc", "-c", "a.c", env={"TZ": zone}).tree[b"a.o"])
    assert len(made) == 2


def test_the_time_is_the_clocks(world: World) -> None:
    world.write("a.c", "const char *d = __TIME__;\n")
    for _ in range(2):
        world.gcc("-c", "a.c")
        time.sleep(1.1)  # two calls within a second have the same text
    stats = world.stats()
    assert "direct_cache_hit" not in stats
    assert stats["cache_miss"] >= 2


def test_the_time_stamp_of_the_source(world: World) -> None:
    path = world.write("a.c", "const char *d = __TIMESTAMP__;\n")
    for second in (1_000_000_000, 1_100_000_000):
        os.utime(path, (second, second))
        world.compare("gcc", "-c", "a.c")


def test_source_date_epoch(world: World) -> None:
    world.write("a.c", "const char *d = __DATE__ __TIME__;\n")
    for second in ("1000000000", "1100000000"):
        world.compare("gcc", "-c", "a.c", env={"SOURCE_DATE_EPOCH": second})


def test_time_macros_under_a_preload_are_not_cached(world: World) -> None:
    library = next((p for p in Path("/lib").rglob("libm.so.6")), None)
    if library is None:
        pytest.skip("nothing to preload")
    world.write("a.c", "const char *d = __DATE__;\n")
    env = {"LD_PRELOAD": str(library)}
    world.compare("gcc", "-c", "a.c", env=env)
    assert not {"direct_cache_hit", "preprocessed_cache_hit"} & set(world.stats())


def test_the_language_of_messages(world: World) -> None:
    world.write("a.c", "int f(void) { int unused; }\n")
    said = set()
    for locale in ("C", "C.UTF-8", "C"):  # the quotation marks differ
        said.add(world.compare("gcc", "-Wall", "-c", "a.c", env={"LC_ALL": locale}).done.err)
    assert len(said) == 2


def test_the_width_of_messages(world: World) -> None:
    world.write("a.c", f"int f(void) {{ int unused; return {'1 + ' * 60}0; }}\n")
    for columns in ("60", "200"):
        world.compare("gcc", "-Wall", "-c", "a.c", env={"COLUMNS": columns})


def test_urls_and_colours_asked_for_by_the_environment(world: World) -> None:
    world.write("a.c", "int f(void) { int unused; }\n")
    words = ["gcc", "-Wall", "-fdiagnostics-color=always", "-c", "a.c"]
    for env in ({}, {"GCC_COLORS": "warning=01;32"}, {"TERM": "xterm"}, {"GCC_COLORS": ""}):
        world.compare(*words, env=env)


@pytest.mark.parametrize("debug", ["-g", "-g3", "-gdwarf-4"])
def test_the_working_directory_under(world: World, debug: str) -> None:
    root = world.src
    made = set()
    for name in ("one", "two"):
        world.src = root / name
        world.write("a.c", "int a;\n")
        made.add(world.compare("gcc", debug, "-c", "a.c").tree[b"a.o"])
    assert len(made) == 2


def test_the_working_directory_as_pwd_says_it(world: World) -> None:
    world.write("a.c", "int a;\n")
    link = world.root / "link"
    link.symlink_to(world.src)
    for pwd in (str(link), str(world.src), "/", None):
        world.compare("gcc", "-g", "-c", "a.c", env={"PWD": pwd})


@pytest.mark.parametrize("variable", ["DEPENDENCIES_OUTPUT", "SUNPRO_DEPENDENCIES"])
def test_dependencies_asked_for_by(world: World, variable: str) -> None:
    define(world, "v.h", 1)
    world.write("a.c", HEADER)
    world.compare("gcc", "-c", "a.c", env={variable: "deps"})
    world.compare("gcc", "-c", "a.c", env={variable: "deps target"})


# ---- text that the preprocessor does not show ----------------------------------------------


@pytest.mark.parametrize("order", ["", "1"], ids=["our order", "classic order"])
@pytest.mark.parametrize(
    "words", [["-g"], ["-fsanitize=undefined"], ["-Wall"], ["-O2"]], ids=" ".join
)
def test_a_longer_comment_on_a_line(world: World, words: list[str], order: str) -> None:
    env = {"PYCC_PREPROCESS_FIRST": order} if order else {}
    for comment in ("/* x */", "/* longer */", "/* x */", ""):
        world.write("a.c", f"int f(int x) {{ {comment} int unused; return x + 1; }}\n")
        world.compare("gcc", *words, "-c", "a.c", env=env)


@pytest.mark.parametrize("order", ["", "1"], ids=["our order", "classic order"])
def test_a_comment_that_a_warning_looks_for(world: World, order: str) -> None:
    env = {"PYCC_PREPROCESS_FIRST": order} if order else {}
    statuses = []
    for comment in ("fallthrough", "fallthru_no", "fallthrough"):
        world.write(
            "a.c",
            "int f(int x) {\n    switch (x) {\n    case 1:\n        x++;\n"
            f"        /* {comment} */\n    case 2:\n        x++;\n    }}\n    return x;\n}}\n",
        )
        outcome = world.compare("gcc", "-Wextra", "-Werror", "-c", "a.c", env=env)
        statuses.append(outcome.done.status)
    assert statuses == [0, 1, 0]


def test_lines_that_move(world: World) -> None:
    for blank in ("", "\n", "\n\n"):
        world.write("a.c", f"{blank}int f(void) {{ int unused; return __LINE__; }}\n")
        world.compare("gcc", "-Wall", "-g", "-c", "a.c")


def test_the_warnings_of_other_options(world: World) -> None:
    world.write("a.c", "int f(void) { int unused; return 0; }\n")
    for words in (["-Wall"], ["-w"], ["-Wall", "-Werror"], ["-Wunused-variable"], []):
        world.compare("gcc", *words, "-c", "a.c")


def test_the_warnings_of_a_header_that_becomes_a_system_header(world: World) -> None:
    world.write("inc/w.h", "static int g(void) { int unused; return 0; }\n")
    world.write("a.c", "#include <w.h>\n")
    for option in ("-I", "-isystem", "-I"):
        world.compare("gcc", "-Wall", option, "inc", "-c", "a.c")


def test_source_locations_in_cxx20(world: World) -> None:
    if real("g++") is None:
        pytest.skip("needs g++")
    for comment in ("", "/* xxxxx */"):
        world.write(
            "a.cc",
            "#include <source_location>\n"
            f"int f() {{ {comment} return std::source_location::current().column(); }}\n",
        )
        world.compare("g++", "-std=c++20", "-c", "a.cc")


# ---- precompiled headers, response files, names --------------------------------------------


def test_a_precompiled_header_beside_the_header(world: World) -> None:
    world.write("a.c", "int v = V;\n")
    define(world, "v.h", 1)

    def precompile(value: int) -> None:
        define(world, "v.h", value)
        done = world.call("gcc", "-c", "v.h", "-o", "v.h.gch", bare=True)
        assert done.status == 0

    words = ["gcc", "-include", "v.h", "-c", "a.c"]
    for env in ({}, {"CCACHE_SLOPPINESS": "pch_defines,time_macros"}):
        world.compare(*words, env=env)
        precompile(2)
        world.compare(*words, env=env)
        precompile(3)
        world.compare(*words, env=env)
        define(world, "v.h", 4)  # gcc goes on using the precompiled one
        world.compare(*words, env=env)
        (world.src / "v.h.gch").unlink()
        world.compare(*words, env=env)
        define(world, "v.h", 1)


def test_a_precompiled_header_found_by_include(world: World) -> None:
    world.write("a.c", HEADER)
    define(world, "v.h", 1)
    world.compare("gcc", "-c", "a.c")
    define(world, "other.h", 2)
    assert world.call("gcc", "-c", "other.h", "-o", "v.h.gch", bare=True).status == 0
    world.compare("gcc", "-c", "a.c")
    (world.src / "v.h.gch").unlink()
    world.compare("gcc", "-c", "a.c")


def test_the_content_of_a_response_file(world: World) -> None:
    world.write("a.c", "int v = V;\n")
    for value in (1, 2, 1):
        world.write("args", f"-DV={value} -O2")
        world.compare("gcc", "@args", "-c", "a.c")


def test_the_content_of_a_nested_response_file(world: World) -> None:
    world.write("a.c", "int v = V;\n")
    world.write("outer", "@inner -O2")
    for value in (1, 2):
        world.write("inner", f"-DV={value}")
        world.compare("gcc", "@outer", "-c", "a.c")


def test_a_response_file_that_appears(world: World) -> None:
    world.write("a.c", "int a;\n")
    world.compare("gcc", "@args", "-c", "a.c")
    world.write("args", "-O2")
    world.compare("gcc", "@args", "-c", "a.c")


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_target_in_the_dependency_file(world: World, compiler: str) -> None:
    if real(compiler) is None:
        pytest.skip(f"needs {compiler}")
    define(world, "v.h", 1)
    world.write("a.c", HEADER)
    (world.src / "out").mkdir()
    for words in (
        ["-MD"],
        ["-MD", "-o", "b.o"],
        ["-MD", "-o", "out/a.o"],
        ["-MD", "-MT", "x"],
        ["-MD", "-MT", "x", "-MT", "y"],
        ["-MD", "-MQ", "$x"],
        ["-MD", "-MT", "$x"],
        ["-MD", "-MF", "x.d"],
        ["-MMD", "-MF", "x.d", "-o", "c.o"],
        ["-MD", "-MP"],
    ):
        world.compare(compiler, *words, "-c", "a.c")


def test_the_source_under_another_name(world: World) -> None:
    for name in ("a.c", "b.c", "sub/a.c"):
        world.write(name, "const char *f = __FILE__;\nint g(void) { int unused; }\n")
        world.compare("gcc", "-Wall", "-g", "-c", name, "-o", "out.o")


def test_prefix_maps(world: World) -> None:
    world.write("a.c", "const char *f = __FILE__;\n")
    source = str(world.src / "a.c")
    for option in ("-ffile-prefix-map", "-fdebug-prefix-map", "-fmacro-prefix-map"):
        for new in ("x", "y"):
            world.compare("gcc", "-g", f"{option}={world.src}={new}", "-c", source)


def test_order_of_include_directories(world: World) -> None:
    define(world, "one/v.h", 1)
    define(world, "two/v.h", 2)
    world.write("a.c", "#include <v.h>\nint v = V;\n")
    for order in ("one two", "two one", "one two"):
        world.compare("gcc", *(f"-I{d}" for d in order.split()), "-c", "a.c")


def test_a_header_that_is_there_and_read_by_nobody(world: World) -> None:
    """Two trees that read the same files, and differ in what __has_include answers."""
    text = '#if __has_include("x.h")\nint with = 1;\n#else\nint without = 1;\n#endif\n'
    for tree in ("one", "other"):
        (world.src / tree).mkdir()
        (world.src / tree / "a.c").write_text(text)
    (world.src / "other/x.h").touch()
    for tree in ("one", "other", "one", "other"):
        place = world.src / tree
        assert world.call("gcc", "-Wall", "-c", "a.c", cwd=place).status == 0
        assert (b"without" in (place / "a.o").read_bytes()) is (tree == "one")
    assert world.stats()["cache_miss"] == 2
    assert world.stats()["direct_cache_hit"] == 2


def test_a_macro_without_optimisation(world: World) -> None:
    """The preprocessed text is the same, gcc's object is not: a nop tells them apart."""
    body = "{ if (a == b) return; if (a < 3) { v = 1; } }"
    macro = f"int v;\n#define CODE(X) X\nvoid f(int a, int b) CODE({body})\n"
    written = f"int v;\n\nvoid f(int a, int b) {body}\n"
    env = {"CCACHE_PREPROCESS_FIRST": "1"}
    for text in (macro, written, macro.replace("int v;", "int  v; /* v */")):
        world.write("a.c", text)
        world.compare("gcc", "-c", "a.c", env=env, times=1)
        world.compare("gcc", "-O1", "-c", "a.c", env=env, times=1)
    # Comments and blanks are no matter, and optimised, nothing of this is.
    assert world.stats(env)["preprocessed_cache_hit"] == 3


def test_a_macro_in_a_function_without_optimisation(world: World) -> None:
    here = '__attribute__((optimize("O0")))\n'
    body = "{ if (a) { switch (a) { case 1: break; default: break; } } return a; }"
    env = {"CCACHE_PREPROCESS_FIRST": "1"}
    for text in (
        f"#define CODE(X) X\n{here}int f(int a) CODE({body})\n",
        f"\n{here}int f(int a) {body}\n",
    ):
        world.write("a.c", text)
        world.compare("gcc", "-O2", "-c", "a.c", env=env, times=1)
    assert "preprocessed_cache_hit" not in world.stats(env)


@pytest.mark.parametrize("how", ["directory", "link"])
def test_clang_calls_a_directory_as_it_first_heard_of_it(world: World, how: str) -> None:
    """On the chain, where that has the text's own directory; in __FILE__, too."""
    world.write("tree/a.c", '#include "own.h"\n')
    world.write("tree/own.h", "const char *name = __FILE__;\n")
    for name in ("build", "none"):
        (world.src / name).mkdir()
    link = world.src / "link"
    seen = set()
    for target in ("none", "tree"):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        cwd = world.src / {"none": "build"}.get(target, target) if how == "directory" else world.src
        words = ["-I.", "-MD", "-c", "../tree/a.c", "-o", "../a.o"]
        if how == "link":
            words = ["-Ilink", "-MD", "-c", "tree/a.c", "-o", "a.o"]
        found = []
        for bare in (True, False, False):
            assert world.call("clang", *words, cwd=cwd, bare=bare).status == 0
            found.append([(world.src / name).read_bytes() for name in ("a.o", "a.d")])
        assert found[0] == found[1] == found[2]
        seen.add(found[0][0])
    assert len(seen) == 2


@pytest.mark.parametrize(
    "word", ["-fembed-bitcode", "-fembed-bitcode=all", "-fembed-bitcode-marker"]
)
def test_clang_keeps_its_inner_words(world: World, word: str) -> None:
    world.write("a.c", "int a;\n")
    world.compare("clang", word, "-c", "a.c")
    world.compare("clang", word, "-MD", "-c", "a.c")
