"""A hit leaves what the compiler would have left: bytes, permissions, links, special files."""

from __future__ import annotations

import os
import stat

import pytest

from tests.e2e.kit import World, real

SOURCE = '#include "a.h"\nint f(void) { return A; }\n'
COMPILERS = pytest.mark.parametrize("compiler", ["gcc", "clang"])
RESIDENT = pytest.mark.parametrize("resident", ["1", "0"])


@pytest.fixture(autouse=True)
def sources(world: World) -> None:
    world.write("a.h", "#define A 1\n")
    world.write("a.c", SOURCE)


def need(compiler: str) -> None:
    if real(compiler) is None:
        pytest.skip(f"needs {compiler}")


@COMPILERS
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027, 0o077])
def test_a_new_output_obeys_the_umask(world: World, compiler: str, umask: int) -> None:
    need(compiler)
    world.compare(compiler, "-c", "a.c", "-MD", umask=umask)


def test_a_hit_under_another_umask_obeys_that_one(world: World) -> None:
    for umask in (0o022, 0o077, 0o002):
        world.compare("gcc", "-c", "a.c", "-MD", umask=umask)
    assert world.stats()["cache_miss"] == 1


def existing(world: World, name: str, what: str) -> None:
    """Something stands where the output goes."""
    path = world.src / name
    for old in (path, world.src / "other", world.src / "target"):
        old.unlink(missing_ok=True)
    match what:
        case "read-only":
            path.write_bytes(b"old")
            path.chmod(0o444)
        case "odd mode":
            path.write_bytes(b"old")
            path.chmod(0o741)
        case "empty, odd mode":
            path.write_bytes(b"")
            path.chmod(0o741)
        case "link":
            (world.src / "target").write_bytes(b"old")
            path.symlink_to("target")
        case "link to an empty file":
            (world.src / "target").write_bytes(b"")
            path.symlink_to("target")
        case "dangling link":
            path.symlink_to("target")
        case "hard link":
            (world.src / "other").write_bytes(b"old")
            os.link(world.src / "other", path)
        case "longer":
            path.write_bytes(b"x" * 100_000)


EXISTING = [
    "read-only",
    "odd mode",
    "empty, odd mode",
    "link",
    "link to an empty file",
    "dangling link",
    "hard link",
    "longer",
]


@COMPILERS
@pytest.mark.parametrize("what", EXISTING)
def test_an_existing_object_is_treated_as_the_compiler_treats_it(
    world: World, compiler: str, what: str
) -> None:
    need(compiler)
    world.gcc("-c", "a.c", "-o", "warm.o")
    world.compare(
        compiler, "-c", "a.c", "-o", "out.o", prepare=lambda: existing(world, "out.o", what)
    )


@COMPILERS
@pytest.mark.parametrize("what", EXISTING)
def test_an_existing_dependency_file_is_treated_as_the_compiler_treats_it(
    world: World, compiler: str, what: str
) -> None:
    need(compiler)
    words = [compiler, "-c", "a.c", "-MD", "-MF", "out.d"]
    world.compare(*words, prepare=lambda: existing(world, "out.d", what))


@pytest.mark.parametrize("what", EXISTING)
def test_existing_assembly_is_treated_as_the_compiler_treats_it(world: World, what: str) -> None:
    words = ["gcc", "-S", "a.c", "-o", "out.s"]
    world.compare(*words, prepare=lambda: existing(world, "out.s", what))


@pytest.mark.parametrize("what", ["odd mode", "link", "hard link"])
def test_an_existing_object_without_a_server(world: World, what: str) -> None:
    words = ["gcc", "-c", "a.c", "-o", "out.o"]
    env = {"PYCC_RESIDENT": "0"}
    world.compare(*words, prepare=lambda: existing(world, "out.o", what), env=env)


@RESIDENT
@COMPILERS
def test_dev_null_survives_being_the_output(world: World, compiler: str, resident: str) -> None:
    need(compiler)
    for _ in range(3):
        done = world.call(compiler, "-c", "a.c", "-o", "/dev/null", env={"PYCC_RESIDENT": resident})
        assert done.status == 0
        assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@RESIDENT
def test_dev_null_survives_being_the_dependency_file(world: World, resident: str) -> None:
    for _ in range(3):
        world.gcc("-c", "a.c", "-MD", "-MF", "/dev/null", env={"PYCC_RESIDENT": resident})
        assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_link_to_dev_null_survives_being_the_output(world: World) -> None:
    def prepare() -> None:
        (world.src / "out.o").unlink(missing_ok=True)
        (world.src / "out.o").symlink_to("/dev/null")

    world.compare("gcc", "-c", "a.c", "-o", "out.o", prepare=prepare)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@COMPILERS
def test_an_output_that_is_a_directory(world: World, compiler: str) -> None:
    need(compiler)
    (world.src / "dir").mkdir()
    world.compare(compiler, "-c", "a.c", "-o", "dir")


@COMPILERS
@pytest.mark.parametrize("output", ["missing/a.o", "a.c/a.o"])
def test_an_output_in_a_directory_that_is_not_there(
    world: World, compiler: str, output: str
) -> None:
    need(compiler)
    assert world.call(compiler, "-c", "a.c", "-o", "good.o").status == 0
    done = [world.call(compiler, "-c", "a.c", "-o", output, bare=bare) for bare in (True, False)]
    names = [d.err.count(os.fsencode(output)) for d in done]
    assert done[0].status == done[1].status != 0
    assert names[0] == names[1] != 0


def test_a_hit_after_the_output_directory_went_away(world: World) -> None:
    (world.src / "out").mkdir()
    world.gcc("-c", "a.c", "-o", "out/a.o")
    world.gcc("-c", "a.c", "-o", "out/a.o")
    (world.src / "out/a.o").unlink()
    (world.src / "out").rmdir()
    done = [world.call("gcc", "-c", "a.c", "-o", "out/a.o", bare=bare) for bare in (True, False)]
    assert done[0].status == done[1].status == 1


def test_a_fifo_as_output(world: World) -> None:
    world.gcc("-c", "a.c")
    expected = (world.src / "a.o").read_bytes()
    # gcc's assembler cannot seek there; what matters is that nobody hangs or unlinks it.
    os.mkfifo(world.src / "pipe")
    reader = os.open(world.src / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        done = [world.call("gcc", "-c", "a.c", "-o", "pipe", bare=bare) for bare in (True, False)]
        assert done[0].status == done[1].status
        exists = (world.src / "pipe").exists()
    finally:
        os.close(reader)
    assert expected
    assert not exists or stat.S_ISFIFO(os.stat(world.src / "pipe").st_mode)


@pytest.mark.parametrize(
    "words",
    [
        ["-g", "-gsplit-dwarf"],
        ["-fstack-usage"],
        ["-MD"],
        ["-MMD"],
        ["-MD", "-MF", "x.d"],
        ["-MD", "-MT", "t", "-MP"],
        ["-Wp,-MD,x.d"],
        ["-Wp,-MMD,x.d", "-MT", "y"],
        ["-save-temps"],
        ["-fcallgraph-info"],
        ["-dA"],
        ["-fdump-tree-optimized"],
        ["-MD", "-o", "sub/b.o"],
        ["-g", "-O2", "-o", "b"],
    ],
    ids=" ".join,
)
def test_every_output_file(world: World, words: list[str]) -> None:
    (world.src / "sub").mkdir()
    world.compare("gcc", *words, "-c", "a.c")


@pytest.mark.parametrize(
    "words",
    [
        ["-MD"],
        ["-MMD", "-MF", "x.d"],
        ["-g", "-gsplit-dwarf"],
        ["--serialize-diagnostics", "x.dia", "-Wall"],
    ],
    ids=" ".join,
)
def test_every_output_file_of_clang(world: World, clang: None, words: list[str]) -> None:
    world.compare("clang", *words, "-c", "a.c")


@pytest.mark.parametrize("old", ["", "older and longer than what comes" * 200])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_files_that_are_in_the_way(world: World, clang: None, compiler: str, old: str) -> None:
    words = ["-g", "-gsplit-dwarf", "-MD"]
    words += ["-fstack-usage"] if compiler == "gcc" else ["--serialize-diagnostics", "a.dia"]

    def prepare() -> None:
        for name in ("a.o", "a.dwo", "a.d", "a.su", "a.dia"):
            path = world.src / name
            path.write_text(old)
            path.chmod(0o640)

    world.compare(compiler, *words, "-c", "a.c", prepare=prepare, umask=0o77, times=3)


def test_an_output_is_newer_than_its_sources(world: World) -> None:
    world.gcc("-c", "a.c")
    first = os.stat(world.src / "a.o").st_mtime_ns
    world.gcc("-c", "a.c")
    again = os.stat(world.src / "a.o").st_mtime_ns
    assert again > first > os.stat(world.src / "a.c").st_mtime_ns


def test_a_clone_is_copied_where_blocks_cannot_be_shared(world: World) -> None:
    """What was stored as a hard link, a call that wants clones receives as a file of its own."""
    world.write("a.c", f"int v[50000] = {{ 1 }};\n{SOURCE}")
    world.gcc("-c", "a.c", env={"CCACHE_HARDLINK": "1"})
    world.write("b.o", b"older", 0o640)
    world.gcc("-c", "a.c", "-o", "b.o", env={"CCACHE_FILECLONE": "1"})
    assert world.stats()["direct_cache_hit"] == 1
    linked, cloned = world.src / "a.o", world.src / "b.o"
    assert cloned.read_bytes() == linked.read_bytes()
    assert (linked.stat().st_nlink, cloned.stat().st_nlink) == (2, 1)
    assert os.access(cloned, os.W_OK)
