"""Every planted bug is found by the compile fuzzer within 500 steps (slow: `make fuzz-planted`)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.planted import PLANTED, REPOSITORY, Planted, install
from tests.fuzz.scenarios import SCENARIOS

STEPS = 500
SEEDS = (1,)
# Names the launcher to test; without it these tests are not run, they take minutes.
LAUNCHER = os.environ.get("FUZZ_PLANTED_LAUNCHER", "")
slow = pytest.mark.skipif(not LAUNCHER, reason="FUZZ_PLANTED_LAUNCHER names no launcher")


def fuzz(launcher: Path, seed: int, keep: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz.differential", "--stop-first"]
    command += ["--wrapper", os.fspath(launcher), "--steps", str(STEPS), "--seed", str(seed)]
    command += ["--keep", os.fspath(keep)]
    return subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, errors="replace", check=False
    )


def test_there_are_twenty_planted_bugs() -> None:
    assert len({planted.name for planted in PLANTED}) == 20


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_planted_bug_names_a_scenario(planted: Planted) -> None:
    assert planted.scenario in SCENARIOS


@slow
@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_planted_bug_is_found(planted: Planted, tmp_path: Path) -> None:
    launcher = install(planted.name, Path(LAUNCHER), tmp_path / "bin")
    for seed in SEEDS:
        ran = fuzz(launcher, seed, tmp_path / "keep")
        assert ran.returncode == 1, f"{planted.wrong}: not found with seed {seed}\n{ran.stdout}"
        assert "DIFFERENCE" in ran.stdout


@slow
def test_nothing_is_found_without_a_planted_bug(tmp_path: Path) -> None:
    ran = fuzz(Path(LAUNCHER), SEEDS[0], tmp_path / "keep")
    assert ran.returncode == 0, ran.stdout
