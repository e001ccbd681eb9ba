"""What the compiles of these tests are made of, and what they are compared with."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from tests.daemon_kit import ENVIRONMENT
from tests.e2e.kit import World

OWN = "#define OWN 3\n"
SOURCE = """\
#include <stdio.h>
#include "own.h"
int f(int a)
{
    int unused;
    if (a)
        printf("%d %d", a, OWN);
    return a;
}
"""
CXX = """\
#include <map>
#include <string>
#include "own.h"
std::string f(std::map<int, std::string> m) { return m[OWN] + "x"; }
"""
WAYS = pytest.mark.parametrize("options", ["", ",lzo"], ids=["plain", "lzo"])


def write_sources(directory: Path) -> None:
    for name, text in (("own.h", OWN), ("a.c", SOURCE), ("a.cc", CXX)):
        (directory / name).write_text(text)


def a_large_text() -> str:
    """Two megabytes of C."""
    numbers = random.Random(1)
    rows = "".join(f"{numbers.randrange(1 << 31)},\n" for _ in range(200_000))
    return f"const int numbers[] = {{\n{rows}}};\n"


def of_the_text(world: World, compiler: str, words: list[str], name: str) -> tuple[bytes, bytes]:
    """(object, messages) of compiling the preprocessed text where there is no source to show."""
    elsewhere = world.root / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    text = elsewhere / ("t.ii" if name.endswith("cc") else "t.i")
    made = elsewhere / "made"
    subprocess.run(
        [compiler, *words, "-E", name, "-o", text], cwd=world.src, env=ENVIRONMENT, check=True
    )
    done = subprocess.run(
        [compiler, *words, "-c", text.name, "-o", made],
        cwd=elsewhere,
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
    )
    return made.read_bytes(), done.stderr


def farm_counts(world: World, env: dict[str, str]) -> dict[str, int]:
    """What became of misses where they are distributed, by the counters' names."""
    done = world.call(world.install.launcher, "--print-stats", "-v", env=env)
    pairs = [line.split("\t") for line in done.out.decode().splitlines()]
    return {
        name.removeprefix("pycc_farm_"): int(count)
        for name, count in pairs
        if name.startswith("pycc_farm_") and int(count)
    }
