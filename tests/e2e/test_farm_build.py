"""Machines that share a Redis server: each with its own home, server and cache, as in a team."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.e2e.kit import SYSTEM_PATH, Install, World, wait_until, world_in
from tests.remote_kit import REDIS, Server, redis

pytestmark = pytest.mark.skipif(not REDIS, reason="needs redis-server")

MACHINES, FILES = 8, 24
MAKEFILE = """\
objects = $(patsubst %.c,%.o,$(wildcard *.c))
all: $(objects)
%.o: %.c
\t$(CC) -O1 -MMD -c $< -o $@
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


class Team:
    """The machines, and a compiler that notes its compiles."""

    def __init__(self, installed: Install, root: Path, database: Server, stack: ExitStack) -> None:
        self.ran = root / "ran"
        self.ran.touch()
        compiler = root / "bin/gcc"
        compiler.parent.mkdir()
        note = f'case " $* " in *" -c "*) echo x >> {self.ran};; esac'
        compiler.write_text(f'#!/bin/sh\n{note}\nexec /usr/bin/gcc "$@"\n')
        compiler.chmod(0o755)
        self._stack = stack
        self._installed = installed
        self.root = root
        self.env = {
            "PATH": os.pathsep.join([str(installed.links), str(compiler.parent), SYSTEM_PATH]),
            "CCACHE_REMOTE_STORAGE": f"redis://127.0.0.1:{database.port} @operation-timeout=1500",
        }

    def machine(self, name: str) -> World:
        place = self.root / name
        place.mkdir()
        world = self._stack.enter_context(world_in(self._installed, place))
        for number in range(FILES):
            text = f'#include <stdio.h>\n#include "h.h"\nint f{number}(void) {{ return V; }}\n'
            world.write(f"s{number}.c", text)
        world.write("h.h", "#define V 1\n")
        world.write("Makefile", MAKEFILE)
        world.start()
        return world

    def build(self, world: World, *words: str) -> None:
        done = world.call("make", "-s", "CC=gcc", *words, env=self.env)
        assert (done.status, done.err) == (0, b"")

    def stats(self, world: World) -> dict[str, int]:
        done = world.call(world.install.launcher, "--print-stats", "-v", env=self.env)
        pairs = [line.split("\t") for line in done.out.decode().splitlines()]
        return {name: int(value) for name, value in pairs if value.isdigit()}


@pytest.fixture
def team(installed: Install, tmp_path: Path, database: Server) -> Iterator[Team]:
    with ExitStack() as stack:
        yield Team(installed, tmp_path, database, stack)


def objects(world: World) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in world.src.glob("*.o")}


def test_a_build_of_eight_machines_compiles_each_file_once(team: Team) -> None:
    with ThreadPoolExecutor(MACHINES) as pool:
        worlds = [team.machine(f"m{number}") for number in range(MACHINES)]
        list(pool.map(lambda world: team.build(world, "-j2"), worlds))
    assert FILES <= len(team.ran.read_text().split()) <= 1.02 * FILES
    made = objects(worlds[0])
    assert len(made) == FILES
    assert all(objects(world) == made for world in worlds)
    # Who comes later compiles nothing.
    before = team.ran.read_text()
    late = team.machine("late")
    team.build(late, "-j2")
    assert team.ran.read_text() == before
    assert objects(late) == made
    counts = team.stats(late)
    assert counts["direct_cache_hit"] >= 0.99 * FILES
    assert counts["remote_storage_hit"] >= 0.99 * FILES


def test_a_redis_that_is_stopped_in_mid_build_breaks_nothing(team: Team, database: Server) -> None:
    worlds = [team.machine(f"m{number}") for number in range(2)]
    for world in worlds:
        world.write("h.h", "#define V 2\n")
        world.may_complain = True  # it says that the storage is left alone
    with ThreadPoolExecutor(2) as pool:
        building = [pool.submit(team.build, world, "-j2") for world in worlds]
        deadline = time.monotonic() + 20
        while len(team.ran.read_text().split()) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        database.send(signal.SIGSTOP)
        try:
            for one in building:
                one.result()
        finally:
            database.send(signal.SIGCONT)
    assert len(objects(worlds[0])) == FILES
    assert objects(worlds[0]) == objects(worlds[1])


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_who_was_stopped_or_killed_by_his_user_is_followed_by_another(
    team: Team, number: signal.Signals
) -> None:
    first, second = (team.machine(f"m{number}") for number in range(2))
    for world in (first, second):
        world.write("a.c", f"int only_{number.name};\n")
        world.gcc("-c", "s0.c", env=team.env)  # the compiler is known then
    slow = first.root / "slow"
    slow.touch()
    compiler = team.root / "bin/gcc"
    note = f'case " $* " in *" a.c "*) test -e {slow} && echo >> {team.ran}.a && sleep 300;; esac'
    text = compiler.read_text().replace("\nexec", f"\n{note}\nexec")
    compiler.write_text(text)
    process = subprocess.Popen(
        ["gcc", "-c", "a.c"],
        cwd=first.src,
        env=first.environment(team.env),
        executable=first.install.link("gcc"),
        start_new_session=True,
    )
    try:
        wait_until(lambda: Path(f"{team.ran}.a").exists(), 20)
        slow.unlink()
        began = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(second.call, "gcc", "-c", "a.c", env=team.env)
            time.sleep(0.3)
            os.killpg(process.pid, number)
            done = waiting.result()
        assert (done.status, done.err) == (0, b"")
        assert time.monotonic() - began < (4 if number == signal.SIGKILL else 12)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
