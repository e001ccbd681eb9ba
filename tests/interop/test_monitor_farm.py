"""The monitor beside a build: what it shows is what is so, for our clients and distcc's."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.daemon_kit import DISTCC, daemon, free_ports
from tests.e2e.kit import World
from tests.interop.gate_kit import JOBS, OWN_NAME, Gate, distcc_environment, running

BUSY_LIMIT = 0.02
"""Of one core."""
_JOB = re.compile(r" *(\d+)  (\w+) +\S+ +\S+  (\S+) +(\S+)\[\d+\]  (\S+)")


@contextmanager
def monitor(world: World, env: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Ours, as it was installed, printing every half second."""
    with subprocess.Popen(
        [world.install.launcher, "--monitor", "0.5"],
        env=dict(env),
        cwd=world.src,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def block(process: subprocess.Popen[str]) -> list[str]:
    """The next block that it prints."""
    assert process.stdout is not None
    found: list[str] = []
    while not (found and found[-1] == "" and any(line.startswith("    pid") for line in found)):
        line = process.stdout.readline()
        assert line
        found.append(line.rstrip("\n"))
    return found


def of(jobs: Collection[int], lines: list[str]) -> set[tuple[int, str, str, str, str]]:
    """(pid, phase, file, host, user) of each job that is ours."""
    matches = filter(None, map(_JOB.fullmatch, lines))
    shown = {(int(m[1]), m[2], m[3], m[4], m[5]) for m in matches}
    return {one for one in shown if one[0] in jobs}


def until(process: subprocess.Popen[str], true: Callable[[list[str]], object]) -> list[str]:
    """The first block that is as it should be."""
    deadline = time.monotonic() + 30
    while not true(lines := block(process)):
        assert time.monotonic() < deadline, "\n".join(lines)
    return lines


def processor_seconds(pid: int) -> float:
    """What a process and its threads have used."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def test_our_jobs_are_shown_by_both_monitors(world: World, gate: Gate) -> None:
    with daemon("distccd", "--jobs", "30", compiler=gate.compiler) as server:
        state = world.root / "distcc"
        env = {
            **world.env,
            "DISTCC_HOSTS": server.host(slots=40),
            "DISTCC_DIR": str(state),
            **OWN_NAME,
        }
        world.start()
        user = pwd.getpwuid(os.getuid()).pw_name
        with monitor(world, env) as ours:
            with running(world.src, ["gcc"], env, gate) as jobs:
                expected = {(pid, "Compile", name, "127.0.0.1", user) for pid, name in jobs.items()}
                lines = until(ours, lambda lines: of(jobs, lines) == expected)
                host = next(line for line in lines if line.startswith("127.0.0.1"))
                assert host.split()[:4] == ["127.0.0.1", str(JOBS), "40", str(40 - JOBS)]
                real = subprocess.run(
                    ["/usr/bin/distccmon-text"], env=env, capture_output=True, text=True, check=True
                ).stdout
                theirs = [line.split() for line in real.splitlines() if line]
                assert {(int(w[0]), w[1], w[2]) for w in theirs} == {one[:3] for one in expected}
                began, used = time.monotonic(), processor_seconds(ours.pid)
                for _ in range(6):
                    block(ours)
                busy = (processor_seconds(ours.pid) - used) / (time.monotonic() - began)
                assert busy < BUSY_LIMIT, f"{100 * busy:.2f} % of a core"
            lines = until(ours, lambda lines: f"{JOBS} misses ({JOBS} remote, 0 local)" in lines[1])
            assert lines[1].startswith(f"Build: {JOBS} done in ")
            until(ours, lambda lines: not of(jobs, lines))


def test_jobs_of_distcc_and_what_our_daemon_says(world: World, gate: Gate) -> None:
    port = free_ports()
    options = ("--jobs", "30", "--stats", "--stats-port", str(port + 1))
    with daemon("pyccd", *options, compiler=gate.compiler, at=str(port)) as server:
        env = distcc_environment(server)
        with (
            monitor(world, {**world.env, **env}) as ours,
            running(world.src, [DISTCC, "gcc"], env, gate) as jobs,
        ):
            named = set(jobs.items())
            lines = until(
                ours,
                lambda lines: (
                    {(one[0], one[2]) for one in of(jobs, lines)} == named
                    and f"{JOBS}/30 run" in "".join(lines)
                ),
            )
            host = next(line for line in lines if line.startswith("127.0.0.1"))
            assert host.split()[1:4] == [str(JOBS), "40", str(40 - JOBS)]
            assert {one[3] for one in of(jobs, lines)} == {"127.0.0.1"}
        with monitor(world, {**world.env, **env}) as ours:
            until(ours, lambda lines: f"0/30 run, {JOBS} compiled, 0 from" in "".join(lines))


def test_the_other_names_open_it(world: World) -> None:
    """As scripts that call distcc's window do, where there is no display."""
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from pycc.monitor import main; main()"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(world.install.prefix / "lib")],
        env=world.env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("pycc monitor   ")
