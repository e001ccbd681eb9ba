"""Compiles that are the same run once, and nobody waits long for another's."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.kit import SYSTEM_PATH, World, wait_until

SOURCE = "int f(int x) { return x + 1; }\n"


@pytest.fixture
def world(private: World) -> World:
    return private


@pytest.fixture
def slow(world: World) -> dict[str, str]:
    """A gcc that notes its compiles, and takes as long for one as the file ``seconds`` says."""
    compiler = world.script(
        "slow/gcc",
        f"seconds=$(cat {world.root}/seconds)\n"
        f'case " $* " in *" -c "*) echo $$ >> {world.root}/ran; sleep $seconds;; esac\n'
        'exec /usr/bin/gcc "$@"',
    )
    env = {"PATH": os.pathsep.join([str(world.install.links), str(compiler.parent), SYSTEM_PATH])}
    take(world, 0)
    world.write("warm.c", "int warm;\n")
    assert world.call("gcc", "-c", "warm.c", env=env).status == 0
    (world.root / "ran").write_text("")
    return env


def take(world: World, seconds: float) -> None:
    (world.root / "seconds").write_text(str(seconds))


def runs(world: World) -> int:
    return len((world.root / "ran").read_text().split())


def trees(world: World, count: int) -> list[Path]:
    """Directories with the same source."""
    made = [world.src / f"tree{number}" for number in range(count)]
    for tree in made:
        tree.mkdir()
        (tree / "a.c").write_text(SOURCE)
    return made


def test_the_same_at_once_is_compiled_once(world: World, slow: dict[str, str]) -> None:
    take(world, 0.4)
    places = trees(world, 5)
    with ThreadPoolExecutor(5) as pool:
        done = list(pool.map(lambda p: world.call("gcc", "-c", "a.c", env=slow, cwd=p), places))
    assert [one.status for one in done] == [0] * 5
    assert len({(place / "a.o").read_bytes() for place in places}) == 1
    assert runs(world) == 1
    assert world.stats(slow)["direct_cache_hit"] == 4


def stop(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGSTOP)


def kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)


def leave(process: subprocess.Popen[bytes]) -> None:
    """It only takes long."""


@pytest.mark.parametrize("act", [stop, kill, leave])
def test_nobody_waits_for_who_does_not_come_to_an_end(
    world: World, slow: dict[str, str], act: Callable[[subprocess.Popen[bytes]], None]
) -> None:
    take(world, 60)
    first, second = trees(world, 2)
    leader = subprocess.Popen(
        ["gcc", "-c", "a.c"],
        cwd=first,
        env=world.environment(slow),
        executable=world.install.link("gcc"),
        start_new_session=True,
    )
    try:
        wait_until(lambda: runs(world) == 1)
        act(leader)
        take(world, 0)
        done = world.call("gcc", "-c", "a.c", env=slow, cwd=second)
        assert done.status == 0
        assert (second / "a.o").exists()
        assert runs(world) == 2
    finally:
        kill(leader)
        leader.wait()


def test_who_fails_makes_the_others_try(world: World, slow: dict[str, str]) -> None:
    take(world, 0.3)
    places = trees(world, 3)
    for place in places:
        (place / "a.c").write_text("int f(\n")
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda p: world.call("gcc", "-c", "a.c", env=slow, cwd=p), places))
    assert [one.status for one in done] == [1] * 3
    assert len({one.err for one in done}) == 1
