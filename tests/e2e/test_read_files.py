"""The traps in what a compile reads: headers, links and the assembler's files that change, appear
or are switched must never give a stale object.

As in test_traps.py each state is compared with the bare compiler more than once.
"""

from __future__ import annotations

import os

import pytest

from tests.e2e.kit import SYSTEM_PATH, World, define, real

HEADER = '#include "v.h"\nint v = V;\n'

pytestmark = pytest.mark.usefixtures("count_hits")


# ---- headers and links ---------------------------------------------------------------------


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_a_header_that_changes(world: World, compiler: str) -> None:
    if real(compiler) is None:
        pytest.skip(f"needs {compiler}")
    world.write("a.c", HEADER)
    for value in (1, 2, 1, 3):
        define(world, "v.h", value)
        world.compare(compiler, "-c", "a.c", "-MD")


def test_edits_of_the_same_size_within_a_tick(world: World) -> None:
    world.write("a.c", HEADER)
    expected = {}
    for value in range(1, 10):
        define(world, "v.h", value)
        world.call("gcc", "-c", "a.c", bare=True)
        expected[value] = (world.src / "a.o").read_bytes()
    path = world.src / "v.h"
    for turn in range(40):
        value = turn % 9 + 1
        with open(path, "r+b") as file:
            file.write(b"#define V %d\n" % value)
        world.gcc("-c", "a.c")
        assert (world.src / "a.o").read_bytes() == expected[value], turn


def test_an_edit_that_keeps_size_and_time(world: World) -> None:
    world.write("a.c", HEADER)
    path = define(world, "v.h", 1)
    before = os.stat(path)
    world.compare("gcc", "-c", "a.c")
    define(world, "v.h", 2)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    world.compare("gcc", "-c", "a.c")


def test_a_header_that_appears_earlier_on_the_path(world: World) -> None:
    define(world, "three/v.h", 3)
    world.write("src/a.c", '#include "v.h"\nint v = V;\n')
    (world.src / "one").mkdir()
    words = ["gcc", "-Ione", "-Itwo", "-Ithree", "-c", "src/a.c"]
    world.compare(*words, times=3)
    define(world, "two/v.h", 2)  # its directory was not there either
    world.compare(*words, times=3)
    define(world, "one/v.h", 1)
    world.compare(*words, times=3)
    define(world, "src/v.h", 4)
    world.compare(*words, times=3)
    for path in ("src/v.h", "one/v.h", "two/v.h"):
        (world.src / path).unlink()
        world.compare(*words, times=3)


def test_a_header_that_appears_in_a_directory_that_appears(world: World) -> None:
    define(world, "two/sub/dir/v.h", 2)
    world.write("a.c", "#include <sub/dir/v.h>\nint v = V;\n")
    (world.src / "one").mkdir()
    words = ["gcc", "-Ione", "-Itwo", "-c", "a.c"]
    world.compare(*words, times=3)
    define(world, "one/sub/dir/v.h", 1)
    world.compare(*words, times=3)


def test_a_header_included_by_a_header_is_shadowed(world: World) -> None:
    world.write("inc/outer.h", '#include "v.h"\n')
    define(world, "sys/v.h", 1)
    world.write("a.c", "#include <outer.h>\nint v = V;\n")
    words = ["gcc", "-Iinc", "-isystem", "sys", "-c", "a.c"]
    world.compare(*words)
    define(world, "inc/v.h", 2)
    world.compare(*words)


def test_has_include_of_a_file_that_appears(world: World) -> None:
    world.write("a.c", "#if __has_include(<maybe.h>)\nint yes;\n#else\nint no;\n#endif\n")
    (world.src / "inc").mkdir()
    words = ["gcc", "-Iinc", "-c", "a.c"]
    world.compare(*words, times=3)
    path = world.write("inc/maybe.h", "")
    world.compare(*words, times=3)
    path.unlink()
    world.compare(*words, times=3)


def test_has_include_of_a_computed_name(world: World) -> None:
    world.write(
        "a.c", "#define N <maybe.h>\n#if __has_include(N)\nint yes;\n#else\nint no;\n#endif\n"
    )
    (world.src / "inc").mkdir()
    words = ["gcc", "-Iinc", "-c", "a.c"]
    world.compare(*words)
    world.write("inc/maybe.h", "")
    world.compare(*words)


def test_include_next_of_a_file_that_appears(world: World) -> None:
    world.write("one/v.h", "#include_next <v.h>\n")
    define(world, "three/v.h", 3)
    world.write("a.c", "#include <v.h>\nint v = V;\n")
    (world.src / "two").mkdir()
    words = ["gcc", "-Ione", "-Itwo", "-Ithree", "-c", "a.c"]
    world.compare(*words)
    define(world, "two/v.h", 2)
    world.compare(*words)


def test_a_link_to_a_directory_that_is_switched(world: World) -> None:
    define(world, "one/v.h", 1)
    define(world, "two/v.h", 2)
    link = world.src / "inc"
    world.write("a.c", "#include <v.h>\nint v = V;\n")
    for target in ("one", "two", "one"):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        world.compare("gcc", "-Iinc", "-c", "a.c", times=3)


def test_a_header_that_is_a_link(world: World) -> None:
    define(world, "one.h", 1)
    define(world, "two.h", 2)
    link = world.src / "v.h"
    world.write("a.c", HEADER)
    for target in ("one.h", "two.h"):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        world.compare("gcc", "-c", "a.c", times=3)


def test_a_directory_exchanged_by_rename(world: World) -> None:
    define(world, "inc/v.h", 1)
    define(world, "new/v.h", 2)
    world.write("a.c", "#include <v.h>\nint v = V;\n")
    world.compare("gcc", "-Iinc", "-c", "a.c")
    (world.src / "inc").rename(world.src / "old")
    (world.src / "new").rename(world.src / "inc")
    world.compare("gcc", "-Iinc", "-c", "a.c")


CHANGES = {
    "a link is switched": "ln -sfn two inc",
    "a directory is exchanged": "mv inc old; mv two inc",
    "the header is rewritten": "echo '#define V 2' >inc/v.h",
    "the header is replaced": "echo '#define V 2' >new; mv new inc/v.h",
    "the header is replaced by an older file": "cp -p two/v.h new; mv new inc/v.h",
    "a header appears earlier": "mkdir -p early; echo '#define V 2' >early/v.h",
    "the source is rewritten": "echo 'int v = 2;' >a.c",
}


@pytest.mark.parametrize("order", ["our order", "classic order"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_in_mid_compile_is_not_stored(world: World, change: str, order: str) -> None:
    once = f"if [ ! -e {world.root}/done ]; then touch {world.root}/done; {CHANGES[change]}; fi"
    script = world.script(
        "changing/gcc",
        '/usr/bin/gcc "$@"; status=$?\n'
        f'case " $* " in *" -E "*) ;; *" -c "*) {once};; esac\nexit $status',
    )
    define(world, "one/v.h", 1)
    define(world, "two/v.h", 2)
    if "link" in change:
        (world.src / "inc").symlink_to("one")
    else:
        define(world, "inc/v.h", 1)
    world.write("a.c", "#include <v.h>\nint v = V;\n")
    env = {"PATH": f"{world.install.links}:{script.parent}:{SYSTEM_PATH}"}
    if order == "classic order":
        env["PYCC_PREPROCESS_FIRST"] = "1"
    words = ["gcc", "-Iearly", "-Iinc", "-c", "a.c"]
    # Both states are old enough to be stored when nothing happens to them.
    world.start()
    world.gcc(*words[1:], env=env)
    assert (world.root / "done").exists()
    world.compare(*words, env=env)
    world.compare(*words, env=env)


# ---- the assembler's files -----------------------------------------------------------------


def test_incbin_in_an_assembler_string(world: World) -> None:
    world.write("a.c", '__asm__(".incbin \\"data.bin\\"");\n')
    for data in (b"one", b"two", b"three"):
        world.write("data.bin", data)
        world.compare("gcc", "-c", "a.c", times=3)


def test_incbin_made_by_a_macro(world: World) -> None:
    world.write("a.c", '#define BIN(x) __asm__(".inc" "bin \\"" x "\\"")\nBIN("data.bin");\n')
    for data in (b"one", b"two"):
        world.write("data.bin", data)
        world.compare("gcc", "-c", "a.c", times=3)


def test_incbin_that_is_found_earlier(world: World) -> None:
    world.write("a.c", '__asm__(".incbin \\"data.bin\\"");\n')
    world.write("two/data.bin", b"two")
    (world.src / "one").mkdir()
    words = ["gcc", "-Wa,-Ione", "-Wa,-Itwo", "-Ione", "-Itwo", "-c", "a.c"]
    world.compare(*words)
    world.write("one/data.bin", b"one")
    world.compare(*words)
    world.write("data.bin", b"here")
    world.compare(*words)


@pytest.mark.parametrize("suffix", ["S", "s"])
def test_include_in_assembly(world: World, suffix: str) -> None:
    world.write(f"a.{suffix}", '.include "x.inc"\n')
    for value in (1, 2):
        world.write("x.inc", f".long {value}\n")
        world.compare("gcc", "-c", f"a.{suffix}", times=3)


def test_assembly_with_preprocessing(world: World) -> None:
    world.write("a.S", '#include "v.h"\n.long V\n')
    for value in (1, 2):
        define(world, "v.h", value)
        world.compare("gcc", "-c", "a.S", "-MD", times=3)


@pytest.mark.parametrize(
    "text", ['const char *s = ".include";\n', '__asm__(".incbin \\"d.bin\\"");\n']
)
def test_the_preprocessor_first_does_not_keep_from_direct_hits(world: World, text: str) -> None:
    env = {"CCACHE_PREPROCESS_FIRST": "1"}
    world.write("a.c", text)
    for data in (b"one", b"two"):
        world.write("d.bin", data)
        world.compare("gcc", "-g", "-c", "a.c", times=3, env=env)
    hits = 5 if "include" in text else 4
    assert world.stats(env)["direct_cache_hit"] == hits


def test_a_file_that_only_the_assembler_knows_of(world: World) -> None:
    world.write("a.c", '__asm__(".macro m a, b\\n.inc\\\\a \\"\\\\b\\"\\n.endm\\nm bin d.bin");\n')
    for env in ({}, {"CCACHE_PREPROCESS_FIRST": "1"}):
        for data in (b"one", b"two", b"three"):
            world.write("d.bin", data)
            world.compare("gcc", "-c", "a.c", times=3, env=env)


def test_assembly_that_names_its_source_has_hits(world: World) -> None:
    world.write("a.c", "int x;\n")
    world.write("a.s", '.file "a.c"\n.data\n.long 1\n')
    world.compare("gcc", "-c", "a.s", times=3)
    assert world.stats()["direct_cache_hit"] == 2


@pytest.mark.parametrize(
    "code",
    [
        '__asm__(".section .rodata\\n.in" "cbin \\"d.h\\"\\n.text");',
        '#define A ".inc"\n__asm__(".section .rodata\\n" A "bin \\"d.h\\"\\n.text");',
    ],
)
@pytest.mark.parametrize("env", [{}, {"CCACHE_PREPROCESS_FIRST": "1"}], ids=["direct", "text"])
def test_a_header_that_the_assembler_reads_too(
    world: World, code: str, env: dict[str, str]
) -> None:
    world.write("a.c", f'#include "d.h"\n{code}\n')
    for number in range(3):
        world.write("d.h", f"int q; /* {number} */\n")
        world.compare("gcc", "-c", "a.c", times=2, env=env)


@pytest.mark.parametrize("name", ["./a.c", "sub/../a.c"])
def test_other_spellings_of_the_source_are_the_source(world: World, name: str) -> None:
    (world.src / "sub").mkdir()
    world.write("a.c", "int x;\n")
    env = {"CCACHE_NODIRECT": "1"}
    world.compare("gcc", "-c", name, times=3, env=env)
    assert world.stats(env)["preprocessed_cache_hit"] == 2


@pytest.mark.parametrize(
    "text",
    ['#include "{root}/i/x.h"\n', '#define H "i/x.h"\n#include H\n'],
    ids=["absolute", "computed"],
)
def test_precompiled_headers_of_unusual_names(world: World, text: str) -> None:
    world.write("i/x.h", "#define V 1\n")
    world.write("a.c", text.format(root=world.src) + "int x = V;\n")
    world.compare("gcc", "-c", "a.c", times=3)
    world.write("other.h", "#define V 2\n")
    made = world.call("gcc", "-x", "c-header", "other.h", "-o", "i/x.h.gch", bare=True)
    assert made.status == 0
    world.compare("gcc", "-c", "a.c", times=3)


def test_preprocessed_text_beside_its_source_is_cached(world: World) -> None:
    world.write("a.c", "int x;\n")
    assert world.call("gcc", "-E", "a.c", "-o", "b.i", bare=True).status == 0
    env = {"CCACHE_NODIRECT": "1"}
    world.compare("gcc", "-c", "b.i", times=3, env=env)
    assert world.stats(env)["preprocessed_cache_hit"] == 2
