"""Several sources in one command, and compiles that link: as the plain compiler, and cached."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.kit import World, put_back, tree_of, wait_until

SOURCES = {
    "h.h": "#define H 3\n",
    "a.c": '#include <stdio.h>\n#include "h.h"\nint b(void);\n'
    'int main(void) { printf("%d", b() * H); return 0; }\n',
    "b.c": "int c(void);\nint b(void) { int unused; return c(); }\n",
    "c.c": "int c(void) { return sizeof __FILE__; }\n",
    "bad.c": "int x = ;\n",
    "s.S": '#define N 2\n.globl s\ns: movl $N, %eax\nret\n.section .note.GNU-stack,"",@progbits\n',
    "m.cc": "#include <new>\nint b(void);\nstruct S { S(); ~S(); } s;\nS::S() {}\nS::~S() {}\n"
    'extern "C" int main() { int *p = new int(1); delete p; return 0; }\n',
    "warns.cc": "int warns() { int unused; }\n",
    "temp.c": "#include <stdio.h>\nint main(void) { char n[L_tmpnam]; return !tmpnam(n); }\n",
    "d/a.c": "int d(void) { return 1; }\n",
}


@pytest.fixture(autouse=True)
def sources(world: World) -> None:
    for name, text in SOURCES.items():
        world.write(name, text)
        os.utime(world.src / name, (time.time() - 3600,) * 2)


def without_names(text: bytes) -> bytes:
    """Temporary objects have random names."""
    text = re.sub(rb"/cc\w{6}\.o", b"/ccXXXXXX.o", text)
    return re.sub(rb"/(\w+)-[0-9a-f]{6}\.o", rb"/\1-xxxxxx.o", text)


def alike(world: World, line: str, hits: int, **how: str | None) -> None:
    """The plain compiler, a first and a second call leave the same; the second is ``hits`` hits."""
    before = tree_of(world.src)
    found = []
    for bare in (True, False, False):
        counted = world.stats()
        done = world.call(*line.split(), bare=bare, env=how)
        tree = tree_of(world.src)
        found.append((done.status, without_names(done.out), without_names(done.err), tree))
        put_back(world.src, before)
    assert found[1] == found[0]
    assert found[2] == found[0]
    after = world.stats().get("direct_cache_hit", 0)
    assert after - counted.get("direct_cache_hit", 0) == hits
    assert list((world.root / "tmp").iterdir()) == []


LINES = [
    ("gcc -c a.c b.c c.c", 3),
    ("gcc -Wall -g a.c b.c c.c -o app", 3),
    ("gcc a.c b.c c.c s.S", 4),
    ("gcc -Wall -c a.c bad.c b.c", 2),
    ("gcc -Wall a.c bad.c b.c -o app", 2),
    ("gcc a.c b.c -o app", 2),  # which the linker refuses
    ("gcc temp.c -o app", 1),  # of which it warns
    ("gcc -MMD -MP temp.c -o d/app.x", 1),
    ("gcc -c -MD a.c b.c", 2),
    ("gcc -S -O1 a.c b.c", 2),
    ("gcc -shared -fPIC -Wl,-soname,l b.c c.c -o l.so", 2),
    ("g++ -O2 m.cc -o app", 1),
    ("g++ -Wall -c m.cc warns.cc", 2),  # cc1plus names its file, like the driver itself
    ("g++ -Wall -Werror -c m.cc warns.cc", 1),
    ("gcc -Wmissing-include-dirs -Inothing -c b.c c.c", 2),
    ("gcc -foo a.c b.c", 0),
    ("gcc -c a.c b.c -o x.o", 0),
    ("gcc -c a.c d/a.c", 0),
    ("gcc a.c nothing.c -o app", 0),
    ("gcc a.c b.c c.c nothing.o -o app", 0),
]
CLANG_LINES = [
    ("clang -c a.c b.c c.c", 3),
    ("clang -Wall -g a.c b.c c.c -o app -lm -Wl,-O1", 3),
    ("clang -Wall a.c bad.c b.c -o app", 2),
    ("clang a.c b.c -o app", 2),
    ("clang -Werror -DX -nostdinc c.c -shared -o l.so", 1),
    ("clang -c a.c b.c -lm", 0),
    # The link would warn, so the whole command is run, after compiles that warned.
    ("clang -Wall b.c c.c -shared -fPIC -mllvm -inline-threshold=9 -Wl,--trace -o l.so", 0),
]


@pytest.mark.parametrize(("line", "hits"), LINES, ids=[line for line, _ in LINES])
def test_it_comes_out_as_from_gcc(world: World, line: str, hits: int) -> None:
    alike(world, line, hits)


@pytest.mark.parametrize(("line", "hits"), CLANG_LINES, ids=[line for line, _ in CLANG_LINES])
def test_it_comes_out_as_from_clang(world: World, clang: None, line: str, hits: int) -> None:
    alike(world, line, hits)


def test_without_a_server(world: World) -> None:
    alike(world, "gcc -Wall a.c b.c c.c -o app", 3, PYCC_RESIDENT="0")


def test_compiles_are_shared_with_commands_of_one_source(world: World) -> None:
    for name in "abc":
        world.gcc("-c", f"{name}.c")
    world.gcc("a.c", "b.c", "c.c", "-o", "app")
    stats = world.stats()
    assert (stats["cache_miss"], stats["direct_cache_hit"]) == (3, 3)
    assert "called_for_link" not in stats


def test_what_changed_is_compiled(world: World) -> None:
    words = ("a.c", "b.c", "c.c", "-o", "app")
    world.gcc(*words)
    world.write("h.h", "#define H 5\n")
    time.sleep(0.02)  # what changes in the tick in which a compile starts is not stored
    world.gcc(*words)
    assert subprocess.run([world.src / "app"], capture_output=True, check=False).stdout == b"20"
    stats = world.stats()
    assert (stats["cache_miss"], stats["direct_cache_hit"]) == (4, 2)


def test_a_whole_command_is_counted_as_before(world: World) -> None:
    no = {"PYCC_NOSPLIT_COMMANDS": "1"}
    world.gcc("a.c", "b.c", "c.c", "-o", "app", env=no)
    world.gcc("-c", "a.c", "b.c", env=no)
    stats = world.stats()
    assert (stats["called_for_link"], stats["multiple_source_files"]) == (1, 1)


@pytest.fixture
def waiting(world: World) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A command whose first compile waits for what is in a pipe."""
    world.write("slow.c", "int slow;\n")
    pipe = world.root / "pipe.h"
    os.mkfifo(pipe)
    command = subprocess.Popen(
        ["gcc", "temp.c", "slow.c", "-include", pipe, "-o", "app"],
        executable=world.install.link("gcc"),
        cwd=world.src,
        env=world.env,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: reads(pipe, command.pid))
        yield command, pipe
    finally:
        command.kill()
        command.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all(
    world: World, waiting: tuple[subprocess.Popen[bytes], Path], number: signal.Signals
) -> None:
    command, _ = waiting
    os.killpg(command.pid, number)
    assert command.wait(20) == -number
    assert not (world.src / "app").exists()
    wait_until(lambda: list((world.root / "tmp").iterdir()) == [])


def test_without_its_server_the_whole_command_is_run(
    world: World, waiting: tuple[subprocess.Popen[bytes], Path]
) -> None:
    command, pipe = waiting
    world.kill_server()
    world.eager = True
    while command.poll() is None:
        try:
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # nobody reads
            time.sleep(0.01)
    assert command.returncode == 0
    assert (world.src / "app").exists()


def reads(pipe: Path, group: int) -> bool:
    """Whether a compiler of that process group has begun to open the pipe."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            called = status.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[2]) == group and b"cc1" in called and os.fsencode(pipe) in called:
            return True
    return False
