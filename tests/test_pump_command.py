"""The host list that `pump` gives a build."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pycc.remote.hosts import parse_hosts
from pycc.remote.pump_command import in_pump_mode, run

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b:4000/2", "--localslots=4 --localslots_cpp=8 a,lzo,cpp b:4000/2,lzo,cpp"),
        ("localhost/3 a,lzo", "--localslots=4 --localslots_cpp=8 localhost/3 a,lzo,cpp"),
        (
            "--localslots=1 --randomize @a",
            "--localslots=1 --localslots_cpp=8 --randomize @a,lzo,cpp",
        ),
        ("+zeroconf a,cpp,lzo", "--localslots=4 --localslots_cpp=8 a,lzo,cpp +zeroconf"),
    ],
)
def test_every_host_gets_sources(text: str, expected: str) -> None:
    assert in_pump_mode(parse_hosts(text)) == expected
    assert in_pump_mode(parse_hosts(expected)) == expected


def pump(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from pycc.remote.pump_command import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sys.path), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_is_run_with_it() -> None:
    done = pump("sh", "-c", 'echo "$DISTCC_HOSTS"; exit 3', DISTCC_HOSTS="a/2")
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.split()[-1] == "a/2,lzo,cpp"


def test_a_shell_gets_it() -> None:
    done = pump("--startup", DISTCC_HOSTS="a/2 @b:pyccd")
    hosts = "--localslots=4 --localslots_cpp=8 a/2,lzo,cpp @b:pyccd,lzo,cpp"
    assert (done.returncode, done.stdout) == (0, f"export DISTCC_HOSTS='{hosts}'\n")
    assert pump("--shutdown").returncode == 0


def test_without_hosts_the_build_runs_all_the_same() -> None:
    # An empty one counts, so that no other is looked for.
    done = pump("sh", "-c", "echo built", DISTCC_HOSTS="")
    assert (done.returncode, done.stdout) == (0, "built\n")
    assert "there is no host list" in done.stderr
    assert pump("--startup", DISTCC_HOSTS="").returncode == 116


def test_what_is_wrong_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--nonsense"], ENVIRONMENT) == 101
    assert run(["true"], {**ENVIRONMENT, "DISTCC_HOSTS": "a/0"}) == 106
    assert pump("no-such-command", DISTCC_HOSTS="a").returncode == 127
    assert "a/0" in capsys.readouterr().err
