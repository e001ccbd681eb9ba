"""Remote storage as builds see it: an installed copy, a server that stops, no resident server."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.kit import World, wait_until
from tests.remote_kit import REDIS, Server, redis

pytestmark = pytest.mark.skipif(not REDIS, reason="needs redis-server")
SOURCES, JOBS = 12, 4


@pytest.fixture
def world(private: World) -> World:
    for number in range(SOURCES):
        path = private.write(f"f{number}.c", f"int f{number}(void) {{ return {number}; }}\n")
        os.utime(path, (1_700_000_000, 1_700_000_000))
    private.may_complain = True
    return private


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Server]:
    with redis(tmp_path / "redis") as server:
        yield server


def build(world: World, jobs: int = JOBS) -> list[bytes]:
    """Compile everything; the objects."""
    for path in world.src.glob("*.o"):
        path.unlink()
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda n: world.gcc("-c", f"f{n}.c"), range(SOURCES)))
    return [(world.src / f"f{n}.o").read_bytes() for n in range(SOURCES)]


def counters(world: World) -> dict[str, int]:
    """All of them since the last time."""
    done = world.call(world.install.launcher, "--print-stats", "-v")
    world.call(world.install.launcher, "-z")
    pairs = [line.split(b"\t") for line in done.out.splitlines()]
    return {key.decode(): int(value) for key, value in pairs if int(value)}


def clear(world: World) -> None:
    assert world.call(world.install.launcher, "-C").status == 0
    counters(world)


def test_a_storage_that_stops_in_mid_build_is_waited_for_once(
    world: World, database: Server
) -> None:
    """Also longer than a launcher waits for an answer that nobody has told it to wait for."""
    seconds = 3.0
    world.env["CCACHE_REMOTE_STORAGE"] = (
        f"redis://127.0.0.1:{database.port} operation-timeout={int(seconds * 1000)}"
    )
    expected = build(world)
    assert counters(world)["remote_storage_write"] == 2 * SOURCES
    clear(world)
    for path in world.src.glob("*.o"):
        path.unlink()
    world.gcc("-c", "f0.c")
    database.send(signal.SIGSTOP)
    clear(world)
    start = time.monotonic()
    assert build(world) == expected
    assert time.monotonic() - start < SOURCES / JOBS * seconds - 0.5
    found = counters(world)
    assert found["cache_miss"] == found["remote_storage_timeout"] == SOURCES
    assert not [name for name in found if name.startswith("pycc_launcher")]
    assert world.log().count("is left alone until it answers") == 1
    status = world.call(world.install.launcher, "--server-status").out.decode()
    assert f"remote storage      redis://127.0.0.1:{database.port}: Redis command failed" in status
    database.send(signal.SIGCONT)

    def used_again() -> bool:
        clear(world)
        world.gcc("-c", "f0.c")
        return "remote_storage_hit" in counters(world)

    wait_until(used_again, 20.0)


def test_a_storage_that_is_killed_and_comes_back(world: World, database: Server) -> None:
    world.env["CCACHE_REMOTE_STORAGE"] = f"redis://127.0.0.1:{database.port}"
    expected = build(world)
    database.stop()
    clear(world)
    assert build(world) == expected
    assert counters(world)["remote_storage_error"] == SOURCES
    database.start()

    def used_again() -> bool:
        clear(world)
        build(world)
        return "remote_storage_error" not in counters(world)

    wait_until(used_again, 20.0)
    clear(world)
    assert build(world) == expected
    assert counters(world)["remote_storage_hit"] == SOURCES


def test_without_a_resident_server(world: World, database: Server) -> None:
    world.env["CCACHE_REMOTE_STORAGE"] = f"redis://127.0.0.1:{database.port}"
    world.env["PYCC_RESIDENT"] = "0"
    world.gcc("-c", "f0.c")
    assert counters(world)["remote_storage_write"] == 2
    made = (world.src / "f0.o").read_bytes()
    clear(world)
    (world.src / "f0.o").unlink()
    world.gcc("-c", "f0.c")
    assert counters(world)["remote_storage_hit"] == 1
    assert (world.src / "f0.o").read_bytes() == made
    database.stop()
    clear(world)
    world.gcc("-c", "f0.c")
    found = counters(world)
    assert (found["cache_miss"], found["remote_storage_error"]) == (1, 1)
