"""Builds a project again and again with `make -j` while the server is killed at random moments.

    python -m tests.faults.soak [--builds N] [--jobs J] [--files F] [--seed S] [--cc gcc]

Every build must succeed with the objects of the bare compiler, and when the last server has left
no process and no temporary file may be there. Half of the builds start with an empty cache. Then,
while another process is stopped inside a write transaction on the cache, a build may be slower
than without by a twentieth, and a cache that was made read-only must still hit.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.e2e.kit import World, install, wait_until, world_in

SLOWER = 1.05


def write_project(world: World, files: int, rng: random.Random) -> None:
    """Sources of different weights, with headers of their own and of the system."""
    for number in range(10):
        lines = [f"static inline int h{number}_{n}(int x) {{ return x * {n}; }}" for n in range(40)]
        world.write(f"h{number}.h", "\n".join(["#pragma once", *lines, ""]))
    for number in range(files):
        used = rng.sample(range(10), 3)
        body = [f'#include "h{h}.h"' for h in used]
        body += [
            f"#include <{name}>" for name in rng.sample(["stdio.h", "stdlib.h", "string.h"], 2)
        ]
        count = rng.choice([5, 20, 80])
        body += [
            f"int f{number}_{n}(int x) {{ int unused; return h{used[0]}_{n % 40}(x) + {n}; }}"
            for n in range(count)
        ]
        world.write(f"s{number}.c", "\n".join([*body, ""]))
    names = " ".join(f"s{number}.o" for number in range(files))
    world.write(
        "Makefile",
        f"all: {names}\n%.o: %.c\n\t$(CC) -O1 -g -Wall -MD -c $< -o $@\nclean:\n\t@rm -f *.o *.d\n",
    )


@dataclass(frozen=True, slots=True)
class Build:
    """One build: how long it took and how many warnings it showed."""

    seconds: float
    warnings: int


def build(world: World, cc: str, jobs: int, *, bare: bool = False) -> Build:
    """Build from nothing; it must succeed."""
    for path in (*world.src.glob("*.o"), *world.src.glob("*.d")):
        path.unlink()
    env = world.environment({})
    compiler = cc if not bare else shutil.which(cc, path="/usr/local/bin:/usr/bin:/bin")
    before = time.monotonic()
    done = subprocess.run(
        # -O: messages of several compilers in one pipe could be torn.
        ["make", "-s", "-O", f"-j{jobs}", f"CC={compiler}"],
        cwd=world.src,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - before
    if done.returncode:
        raise SystemExit(f"soak: the build failed:\n{done.stdout}{done.stderr}")
    return Build(seconds, done.stderr.count("warning:"))


def outputs(world: World) -> dict[str, bytes]:
    """Every file that a build made."""
    paths = (*world.src.glob("*.o"), *world.src.glob("*.d"))
    return {path.name: path.read_bytes() for path in paths}


class Killer:
    """Kills the server at random moments until told to stop."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.kills = 0
        self._world = world
        self._rng = rng
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._rng.expovariate(4.0)):
            for pid in self._world.servers():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.kills += 1


def soak_kills(world: World, options: argparse.Namespace, rng: random.Random) -> None:
    """The builds under fire."""
    warnings = build(world, options.cc, options.jobs, bare=True).warnings
    expected = outputs(world)
    kills = 0
    for number in range(options.builds):
        if number % 2 == 0:
            shutil.rmtree(world.cache, ignore_errors=True)
        with Killer(world, rng) as killer:
            built = build(world, options.cc, options.jobs)
        if built.warnings != warnings:
            raise SystemExit("soak: messages of the compiler were lost or told twice")
        kills += killer.kills
        made = outputs(world)
        wrong = [name for name in expected if made.get(name) != expected[name]]
        if wrong or made.keys() != expected.keys():
            raise SystemExit(f"soak: build {number}: not the compiler's: {wrong or made.keys()}")
        print(f"build {number}: {built.seconds:.1f} s, {killer.kills} kills", flush=True)
    world.start()
    world.stats()
    left = world.leftovers()
    world.call(world.install.launcher, "--stop-server")
    wait_until(lambda: not world.servers())
    left += world.leftovers()
    left += [path for path in (world.root / "tmp").iterdir() if not path.name.startswith("cc")]
    if left:
        raise SystemExit(f"soak: left behind: {left}")
    print(f"{options.builds} builds, {kills} kills: all objects identical, nothing left behind")


def soak_lock(world: World, options: argparse.Namespace) -> None:
    """Builds while somebody stopped inside a transaction, against builds without."""
    build(world, options.cc, options.jobs)
    world.stats()
    databases = [
        p for p in world.cache.rglob("*") if p.is_file() and p.open("rb").read(6) == b"SQLite"
    ]
    free, held = [], []
    for _ in range(5):
        free.append(build(world, options.cc, options.jobs).seconds)
        connections = [sqlite3.connect(path, timeout=10) for path in databases]
        for connection in connections:
            connection.execute("BEGIN IMMEDIATE")
        held.append(build(world, options.cc, options.jobs).seconds)
        for connection in connections:
            connection.rollback()
            connection.close()
    ratio = statistics.median(held) / statistics.median(free)
    print(f"warm build beside a stopped writer: {ratio:.3f} of one without")
    if ratio > SLOWER:
        raise SystemExit("soak: a stopped writer slows builds")


def soak_read_only(world: World, options: argparse.Namespace) -> None:
    """A cache that may not be written still hits (as root nothing is read-only)."""
    if os.geteuid() == 0:
        return
    before = world.stats().get("direct_cache_hit", 0)
    for path in (*world.cache.rglob("*"), world.cache):
        path.chmod(0o555 if path.is_dir() else 0o444)
    world.kill_server()
    log = world.root / "log"
    world.env["CCACHE_LOGFILE"] = str(log)
    try:
        build(world, options.cc, options.jobs)
    finally:
        for path in (world.cache, *world.cache.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
    hits = log.read_text().count("direct_cache_hit")
    print(f"read-only cache: {hits} hits after {before}")
    if hits != options.files:
        raise SystemExit("soak: a read-only cache does not hit")


def main() -> None:
    """Run all three."""
    parser = argparse.ArgumentParser(description="kill the server while make builds")
    parser.add_argument("--builds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--files", type=int, default=120)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--cc", default="gcc")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        installed = install(Path(place, "prefix"))
        (Path(place) / "world").mkdir()
        with world_in(installed, Path(place, "world")) as world:
            write_project(world, options.files, rng)
            soak_kills(world, options, rng)
            soak_lock(world, options)
            soak_read_only(world, options)


if __name__ == "__main__":
    main()
