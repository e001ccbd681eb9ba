"""Objects that reach the launcher through shared memory."""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pycc.frame import HEADER, Exit, Op, Shared, frame_length, write_reply
from tests.e2e.kit import World

MANY = 20
LARGE = 300_000
HUGE = 3_900_000


@pytest.fixture
def world(private: World) -> World:
    return private


def large(number: int, size: int = LARGE) -> str:
    """A source whose object holds ``size`` bytes that are like no others."""
    text = random.Random(number).randbytes(size // 2).hex()
    return f'const char text{number}[] = "{text}";\n'


def test_a_large_object_is_the_same_whatever_way_it_comes(world: World) -> None:
    for size in (150_000, LARGE, 5_000_000):
        world.write("a.c", large(size, size))
        world.compare("gcc", "-c", "a.c", times=3)
        world.compare("gcc", "-c", "a.c", "-o", "b.o", "-MD", times=3, umask=0o077)
    assert world.stats()["direct_cache_hit"] == 12


@pytest.mark.parametrize("size", [LARGE, HUGE])
def test_many_at_once_get_their_own(world: World, size: int) -> None:
    """Those of the second size are too many to lie ready."""
    expected = []
    for number in range(MANY):
        if size == HUGE:
            (world.src / f"{number}.bin").write_bytes(random.Random(number).randbytes(size))
            bin_text = f'__asm__(".section .rodata\\n.incbin \\"{number}.bin\\"\\n");\n'
            world.write(f"{number}.c", bin_text)
        else:
            world.write(f"{number}.c", large(number))
        world.gcc("-c", f"{number}.c")
        expected.append((world.src / f"{number}.o").read_bytes())
    for _ in range(3):
        for number in range(MANY):
            (world.src / f"{number}.o").unlink()
        running = [start(world, "-c", f"{number}.c") for number in range(MANY)]
        assert [process.wait(30) for process in running] == [0] * MANY
        for number in range(MANY):
            assert (world.src / f"{number}.o").read_bytes() == expected[number]
    assert world.stats()["direct_cache_hit"] == 3 * MANY
    assert "pycc_launcher_server_gone" not in world.stats()


def start(world: World, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["gcc", *words],
        executable=world.install.links / "gcc",
        env=world.environment(None),
        cwd=world.src,
        stdin=subprocess.DEVNULL,
    )


def test_a_launcher_that_was_stopped_gets_what_was_meant_for_it(world: World) -> None:
    """However many come after it."""
    for number in range(MANY):
        world.write(f"{number}.c", large(number))
        world.gcc("-c", f"{number}.c")
    expected = (world.src / "0.o").read_bytes()
    for _ in range(5):
        (world.src / "0.o").unlink(missing_ok=True)
        first = start(world, "-c", "0.c")
        os.kill(first.pid, signal.SIGSTOP)
        for number in range(1, MANY):
            world.gcc("-c", f"{number}.c")
        os.kill(first.pid, signal.SIGCONT)
        assert first.wait(30) == 0
        assert (world.src / "0.o").read_bytes() == expected


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(world: World, closed: str) -> None:
    world.write("a.c", large(1))
    world.gcc("-c", "a.c")
    expected = (world.src / "a.o").read_bytes()
    for _ in range(2):
        (world.src / "a.o").unlink()
        assert world.call("sh", "-c", f"gcc -c a.c {closed}").status == 0
        assert (world.src / "a.o").read_bytes() == expected
    assert world.stats()["direct_cache_hit"] == 2


@contextmanager
def answering(world: World, ops: list[Op], descriptors: list[int]) -> Iterator[None]:
    """A server that gives one answer in place of ours."""
    world.server()
    (path,) = world.sockets()
    world.kill_server()
    path.unlink(missing_ok=True)
    world.eager = False
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(5)

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                data = b""
                while len(data) < HEADER.size or len(data) < frame_length(data):
                    data += connection.recv(1 << 20)
                rights = struct.pack(f"{len(descriptors)}i", *descriptors)
                control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else []
                connection.sendmsg([write_reply(ops)], control)
                connection.recv(1)

        thread = threading.Thread(target=answer)
        thread.start()
        yield
        thread.join(10)
        assert not thread.is_alive()
    path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("at", "size", "count", "good"),
    [
        (1, 3, 1, True),
        (4096, 5, 1, True),
        (0, 0, 1, False),
        (0, 9000, 1, False),
        (8192, 1, 1, False),
        (2**32 - 1, 2**32 - 1, 1, False),
        (1, 3, 0, False),
        (1, 3, 2, False),
    ],
)
def test_what_lies_outside_is_not_written(
    world: World, tmp_path: Path, at: int, size: int, count: int, good: bool
) -> None:
    world.write("a.c", "int x;\n")
    content = random.Random(1).randbytes(8192)
    (tmp_path / "memory").write_bytes(content)
    plain = world.call("gcc", "-c", "a.c", "-o", "plain.o", bare=True)
    assert plain.status == 0
    fd = os.open(tmp_path / "memory", os.O_RDONLY)
    try:
        with answering(world, [Shared(b"a.o", at, size), Exit(0)], [fd] * count):
            assert world.call("gcc", "-c", "a.c").status == 0
    finally:
        os.close(fd)
    made = (world.src / "a.o").read_bytes()
    assert made == (content[at : at + size] if good else (world.src / "plain.o").read_bytes())
