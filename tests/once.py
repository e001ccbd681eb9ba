"""One call of pycc in a process of its own, without a server: what PYCC_RESIDENT=0 runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def call(
    cwd: Path, argv: Sequence[str], variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run ``argv`` (argv[0] as the launcher was called) in ``cwd``; the cache is beside it."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(cwd),
        "LC_ALL": "C",
        "PYTHONPATH": str(ROOT),
        "CCACHE_DIR": str(cwd.parent / "cache"),
        "CCACHE_CONFIGPATH": str(cwd.parent / "no.conf"),
        **(variables or {}),
    }
    return subprocess.run(
        [sys.executable, "-m", "pycc", "--once", *argv],
        cwd=cwd,
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )


def results(log: Path) -> list[str]:
    """What the calls of a log file came to."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.partition("Result: ")[2] for line in lines if "Result: " in line]
