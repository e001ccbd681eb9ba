"""lsdistcc: ours finds, and prints, what the real one does, whoever serves."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.daemon_kit import ROOT, Daemon

REAL = "/usr/bin/lsdistcc"  # Debian's; scripts/test-packages.txt
OURS = [sys.executable, "-c", "from pycc.remote.lsdistcc import main; main()"]
MISSING = "no.such.name.invalid"


def said(program: list[str], *words: str) -> tuple[int, list[str], str]:
    # Where nobody answers for names, an unknown one is to be given up soon.
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    environment["RES_OPTIONS"] = "timeout:1 attempts:1"
    done = subprocess.run(
        [*program, *words], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, sorted(done.stdout.splitlines()), done.stderr


PATIENT = ("-c5000", "-k20000", "-t60")


@pytest.mark.parametrize(
    "words",
    [
        ["127.0.0.1"],
        ["localhost", "127.0.0.1"],
        ["-n", "localhost"],
        ["-x", "127.0.0.1", "127.0.0.9"],
        ["-x", "-P3", "127.0.0.1", "127.0.0.9"],
        ["-c0", "127.0.0.1", "127.0.0.9"],
        ["-pgcc", "127.0.0.1"],
        ["-pgcc", "-P2", "127.0.0.1"],
        ["-pgcc", "-P3", "127.0.0.1"],
        ["-k0", "-pno-such-compiler", "127.0.0.1"],
        ["-x", "-pno-such-compiler", "127.0.0.1", "127.0.0.9"],
        ["127.0.0.1", MISSING],
        ["-m8", "127.0.0.1", "127.0.0.9"],
        ["-o0", "127.0.0.%d"],
        ["-o9", "127.0.0.%d", "what follows a format"],
    ],
    ids=" ".join,
)
def test_both_find_the_same(server: Daemon, words: list[str]) -> None:
    words = [*PATIENT, f"-r{server.port}", *words]
    real, ours = said([REAL], *words), said(OURS, *words)
    assert ours[1] == real[1]
    assert ours[2] == real[2] == ""
    up = [line for line in ours[1] if not line.endswith(",down")]
    assert ours[0] == (0 if up else 1)


def test_both_print_milliseconds(server: Daemon) -> None:
    words = [*PATIENT, f"-r{server.port}", "-l", "-pgcc", "127.0.0.1"]
    for program in ([REAL], OURS):
        status, (line,), _ = said(program, *words)
        assert status == 0
        assert re.fullmatch(rf"127\.0\.0\.1:{server.port} [0-9]+", line)


def test_a_list_is_asked_to_its_end(server: Daemon) -> None:
    words = [f"-r{server.port}", "-t60", "-o0", MISSING, "127.0.0.1"]
    assert said(OURS, *words)[:2] == (0, [f"127.0.0.1:{server.port}"])
    assert said(OURS, "-g0", *words)[:2] == (1, [])


def test_both_show_their_usage_and_fail() -> None:
    for program in ([REAL], OURS):
        status, lines, err = said(program, "--help")
        assert (status, err) == (1, "")
        assert any(line.startswith("Usage: lsdistcc") for line in lines)
