"""Interleaved rounds of timed processes, and what is made of them."""

from __future__ import annotations

import dataclasses
import os
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent


@dataclasses.dataclass(frozen=True, slots=True)
class Times:
    """Medians of the rounds, in µs."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the rounds' medians."""
        return statistics.median(self.rounds)

    def __str__(self) -> str:
        return f"{self.median:.0f} [{min(self.rounds):.0f}-{max(self.rounds):.0f}]"


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """One command to be timed; `renew` and `unlink` as in spawn.c, `before` runs once a round."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path
    count: int
    renew: str = ""
    unlink: str = ""
    before: Callable[[], None] | None = None


class Spawner:
    """The compiled loop, and the processes that do nothing."""

    def __init__(self, place: Path) -> None:
        """Compile spawn.c and noop.c into `place`."""
        self.spawn = place / "spawn"
        self.static_noop = place / "noop-static"
        self.bare_noop = place / "noop-bare"
        build = ["gcc", "-O2", "-Wall", "-Wextra"]
        subprocess.run([*build, "-o", self.spawn, HERE / "spawn.c"], check=True)
        noop = HERE / "noop.c"
        subprocess.run([*build, "-static", "-o", self.static_noop, noop], check=True)
        bare = ["-DFREESTANDING", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector"]
        subprocess.run([*build, *bare, "-o", self.bare_noop, noop], check=True)

    def run(self, task: Task) -> list[float]:
        """Time the task's command `count` times, in µs each."""
        if task.before:
            task.before()
        command = [os.fspath(self.spawn)]
        command += ["-w", task.renew] if task.renew else []
        command += ["-u", task.unlink] if task.unlink else []
        ran = subprocess.run(
            [*command, str(task.count), *task.argv],
            env=dict(task.environment),
            cwd=task.cwd,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return [int(line) / 1000 for line in ran.stdout.split()]

    def interleave(self, tasks: Mapping[str, Task], rounds: int) -> dict[str, Times]:
        """Run every task once a round, each round beginning with another one."""
        names = list(tasks)
        medians: dict[str, list[float]] = {name: [] for name in names}
        for index in range(rounds):
            start = index % len(names)
            for name in names[start:] + names[:start]:
                medians[name].append(statistics.median(self.run(tasks[name])))
        return {name: Times(tuple(values)) for name, values in medians.items()}


def above(times: Sequence[float], floor: float) -> float:
    """The median of some times, less a floor."""
    return statistics.median(times) - floor
