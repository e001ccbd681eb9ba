"""Standard input, output and error as the compiler itself would use them, whatever they are."""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import subprocess

import pytest

from tests.e2e.kit import SYSTEM_PATH, World, tree_of

WARNING = "int f(void) { int unused; return 0; }\n"
RESIDENT = pytest.mark.parametrize("resident", ["1", "0"])


def shell(
    world: World, text: str, *, bare: bool, resident: str = "1"
) -> tuple[int, dict[bytes, object]]:
    """(status, tree) of a shell command in the source directory."""
    env = world.environment({"PYCC_RESIDENT": resident})
    if bare:
        env["PATH"] = SYSTEM_PATH
    done = subprocess.run(["/bin/sh", "-c", text], env=env, cwd=world.src, timeout=60, check=False)
    return done.returncode, dict(tree_of(world.src))


def compare(world: World, text: str, *, resident: str = "1", times: int = 2) -> None:
    """The same shell command with and without us leaves the same files and status."""
    world.start()
    expected = shell(world, text, bare=True)
    for _ in range(times):
        for path in world.src.glob("*.o"):
            path.unlink()
        assert shell(world, text, bare=False, resident=resident) == expected


@RESIDENT
def test_source_from_stdin(world: World, resident: str) -> None:
    words = ["gcc", "-x", "c", "-c", "-", "-o", "a.o"]
    env = {"PYCC_RESIDENT": resident}
    world.compare(*words, stdin=b"int x = 7;\n", env=env)
    world.compare(*words, stdin=b"int y = 8;\n", env=env)


def test_preprocessed_output_to_stdout(world: World) -> None:
    world.write("a.c", "int x = __LINE__;\n")
    outcome = world.compare("gcc", "-E", "a.c")
    assert b"int x = 1;" in outcome.done.out


def test_assembly_to_stdout(world: World) -> None:
    world.write("a.c", "int x;\n")
    outcome = world.compare("gcc", "-S", "-o", "-", "a.c")
    assert b"x:" in outcome.done.out


@RESIDENT
@pytest.mark.parametrize(
    "closed", [c for n in (1, 2, 3) for c in itertools.combinations("012", n)], ids="".join
)
def test_closed_standard_streams(world: World, closed: tuple[str, ...], resident: str) -> None:
    world.write("a.c", "int f(void) { return 0; }\n")
    closing = " ".join({"0": "<&-", "1": ">&-", "2": "2>&-"}[fd] for fd in closed)
    compare(world, f"gcc -c a.c {closing}", resident=resident)


def test_closed_streams_at_the_servers_start(private: World) -> None:
    private.eager = False
    private.write("a.c", "int f(void) { return 0; }\n")
    status, _ = shell(private, "exec gcc -c a.c <&- >&- 2>&-", bare=False)
    assert status == 0
    private.gcc("-c", "a.c")
    private.gcc("-c", "a.c")
    assert private.stats()["direct_cache_hit"] >= 1
    assert len(private.servers()) == 1


def test_a_warning_with_stderr_closed(world: World) -> None:
    # Bare gcc fails here, because one of its own files becomes its stderr.
    world.write("a.c", WARNING)
    world.start()
    expected = shell(world, "gcc -c a.c", bare=True)
    for _ in range(2):
        assert shell(world, "gcc -Wall -c a.c 2>&-", bare=False) == expected


@pytest.mark.parametrize("words", ["-E a.c", "--version", "-S -o - a.c"])
def test_a_full_stdout_is_an_error_as_with_the_compiler(world: World, words: str) -> None:
    world.write("a.c", "int a;\n")
    compare(world, f"gcc {words} >/dev/full 2>err")


def test_a_full_stderr_does_not_hurt(world: World) -> None:
    world.write("a.c", WARNING)
    compare(world, "gcc -Wall -c a.c 2>/dev/full")


def test_a_stderr_that_does_not_block_loses_nothing(world: World) -> None:
    world.write("a.c", "".join(f"int f{n}(void) {{ int unused; }}\n" for n in range(800)))
    expected = world.call("gcc", "-Wall", "-c", "a.c", bare=True).err
    assert len(expected) > 100_000
    for _ in range(2):
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK)
        world.start()
        child = subprocess.Popen(
            ["gcc", "-Wall", "-c", "a.c"],
            executable=world.install.links / "gcc",
            env=world.environment(None),
            cwd=world.src,
            stderr=writer,
        )
        os.close(writer)
        with open(reader, "rb") as file:
            assert file.read() == expected
        assert child.wait(10) == 0


def test_messages_on_a_terminal_have_colours_cold_and_warm(world: World) -> None:
    world.write("a.c", WARNING)
    env = {"TERM": "xterm"}

    def said(bare: bool) -> bytes:
        reader, terminal = pty.openpty()
        path = world.environment(env)
        if bare:
            path["PATH"] = SYSTEM_PATH
        child = subprocess.Popen(
            ["/bin/sh", "-c", "exec gcc -Wall -c a.c"], env=path, cwd=world.src, stderr=terminal
        )
        os.close(terminal)
        text = b""
        try:
            while more := os.read(reader, 65536):
                text += more
        except OSError:  # the other end is closed
            pass
        os.close(reader)
        assert child.wait(10) == 0
        return text

    world.start()
    expected = said(True)
    assert b"\x1b[" in expected
    assert [said(False), said(False)] == [expected, expected]
    assert world.stats()["direct_cache_hit"] == 1
    # The same result serves a file, without colours.
    world.compare("gcc", "-Wall", "-c", "a.c", env=env)


def test_warnings_are_told_again_by_every_hit(world: World) -> None:
    world.write("a.c", WARNING)
    outcome = world.compare("gcc", "-Wall", "-c", "a.c", times=3)
    assert b"unused" in outcome.done.err
    assert world.stats()["direct_cache_hit"] == 2


def test_inherited_descriptors_reach_the_compiler(world: World) -> None:
    script = world.script("compiler/gcc", 'echo here >&7; exec /usr/bin/gcc "$@"')
    world.write("a.c", "int a;\n")
    world.env["PATH"] = f"{world.install.links}:{script.parent}:{SYSTEM_PATH}"
    world.start()
    status, tree = shell(world, "gcc -c a.c 7>seven", bare=False)
    assert status == 0
    assert b"here" in tree[b"seven"][2]  # type: ignore[index]


def test_the_compiler_has_no_descriptor_of_ours(world: World) -> None:
    script = world.script(
        "compiler/gcc",
        f'case " $* " in *" -c "*) ls /proc/self/fd >{world.root}/fds;; esac\n'
        'exec /usr/bin/gcc "$@"',
    )
    world.write("a.c", "int a;\n")
    path = f"{world.install.links}:{script.parent}:{SYSTEM_PATH}"
    world.gcc("-c", "a.c", env={"PATH": path})
    found = set((world.root / "fds").read_text().split())
    # 3 is ls's own; one more is the user's stderr, named in UNCACHED_ERR_FD.
    assert len(found - {"0", "1", "2", "3"}) <= 1


def test_clang_is_told_nothing_that_it_does_not_use(world: World, clang: None) -> None:
    """It warns of such words, which -Werror makes an error of."""
    world.write("a.s", ".globl f\nf: ret\n")
    world.compare("clang", "-Werror", "-c", "a.s", times=3)


def test_gcc_breaks_lines_as_without_colours(world: World) -> None:
    world.write("a.c", "int f(void) { return f; }\n")
    world.compare("gcc", "-fmessage-length=20", "-c", "a.c", times=2)


def test_clang_assembles_although_bitcode_is_asked_for(world: World, clang: None) -> None:
    world.write("a.S", "#define N 1\n.globl f\nf: mov $N, %eax\nret\n")
    world.write("a.bc", "of another source")
    world.compare("clang", "-c", "-emit-llvm", "a.S", times=3)
