"""Cold and warm builds of a project under make -j2."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

from bench.measure import Times
from bench.subjects import BenchError, Subject

JOBS = "-j2"


@dataclasses.dataclass(frozen=True, slots=True)
class Builds:
    """Wall times of whole builds in ms, by subject."""

    cold: dict[str, Times]
    warm: dict[str, Times]
    noop: Times
    files: int


def build(
    project: Path, place: Path, environment: dict[str, str], words: tuple[str, ...]
) -> tuple[float, str]:
    """Build everything once by the makefile in `place`; returns ms and a digest of all objects."""
    out = place / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    begin = time.perf_counter()
    ran = subprocess.run(
        ["make", "-s", JOBS, "-f", place / "Makefile", f"CC={' '.join(words)}"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    milliseconds = (time.perf_counter() - begin) * 1000
    if ran.returncode:
        message = f"build with {words[0]} failed: {ran.stderr.strip()[-300:]}"
        raise BenchError(message)
    digest = hashlib.blake2b()
    for path in sorted(out.iterdir()):
        digest.update(os.fsencode(path.name) + b"\0" + path.read_bytes())
    return milliseconds, digest.hexdigest()


def measure_builds(
    project: Path, place: Path, files: int, subjects: list[Subject], noop: Path, rounds: int
) -> Builds:
    """Build cold and warm with every subject, a round at a time; objects must be those of gcc."""
    cold: dict[str, list[float]] = {}
    warm: dict[str, list[float]] = {}
    empty: list[float] = []
    plain = subjects[0]
    expected = build(project, place, dict(plain.environment), plain.compilers["gcc"])[1]
    for index in range(rounds):
        start = index % len(subjects)
        for subject in subjects[start:] + subjects[:start]:
            subject.forget()
            # Time goes by between an edit and a build: files as new as the build are not stored.
            time.sleep(0.05)
            environment = dict(subject.environment)
            for times in (cold, warm):
                if times is warm and subject is plain:
                    continue
                milliseconds, digest = build(project, place, environment, subject.compilers["gcc"])
                if digest != expected:
                    message = f"{subject.name}: objects differ from plain gcc's"
                    raise BenchError(message)
                times.setdefault(subject.name, []).append(milliseconds)
        empty.append(build(project, place, dict(plain.environment), (os.fspath(noop),))[0])
    return Builds(
        {name: Times(tuple(values)) for name, values in cold.items()},
        {name: Times(tuple(values)) for name, values in warm.items()},
        Times(tuple(empty)),
        files,
    )
