"""A cold client in front of a warm server, and what a remote job costs beside its compile.

    distcc   Debian's client and daemon, with Debian's ccache on the server's PATH
    pycc     our client and pyccd

Both daemons listen on loopback, so what is measured is the programs and not a network.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.measure import Spawner, Task, Times
from bench.subjects import BenchError, Subject

SOURCE = "cxx.cc"
OPTIONS = ("-O2", "-std=c++17")
START_SECONDS = 20.0


@dataclasses.dataclass(frozen=True, slots=True)
class Farm:
    """Medians by what was measured."""

    served: dict[str, Times]
    missed: dict[str, Times]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def daemon(command: list[str], environment: dict[str, str], port: int) -> Iterator[None]:
    """A daemon, from its first answer to its end."""
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                message = f"{command[0]} does not serve"
                raise BenchError(message)
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measure_farm(
    place: Path, sources: Path, plain: Subject, pycc: Subject, spawner: Spawner, rounds: int
) -> Farm | None:
    """Measure both; None where distcc or ccache are not installed."""
    if not all(map(shutil.which, ("distcc", "distccd", "ccache"))) or pycc.program is None:
        return None
    source = sources / SOURCE
    place.mkdir()
    place.chmod(0o755)
    for name in ("cache", "distcc", "tmp"):
        (place / name).mkdir()
        (place / name).chmod(0o1777)
    # The daemons' users must reach what they run and where they work.
    for path in (place, *place.parents[:1]):
        path.chmod(path.stat().st_mode | 0o055)
    ours, theirs = free_port(), free_port()
    words = ["--daemon", "--no-detach", "--listen", "127.0.0.1", "--allow", "127.0.0.1"]
    stock = {
        "PATH": "/usr/lib/ccache:/usr/bin:/bin",
        "CCACHE_DIR": os.fspath(place / "cache"),
        "TMPDIR": os.fspath(place / "tmp"),
    }
    with (
        daemon(["distccd", *words, "--port", str(theirs), "--log-level", "error"], stock, theirs),
        daemon(
            [
                os.fspath(pycc.program.resolve().with_name("pyccd")),
                *(*words, "--port", str(ours), "--cache-dir", os.fspath(place / "pyccd")),
            ],
            {"PATH": "/usr/bin:/bin", "TMPDIR": os.fspath(place / "tmp")},
            ours,
        ),
    ):
        client = {
            **pycc.environment,
            "DISTCC_HOSTS": f"127.0.0.1:{ours}/4",
            "DISTCC_DIR": os.fspath(place / "distcc"),
        }
        who = dataclasses.replace(pycc, environment=client)
        distcc = {**plain.environment, "DISTCC_DIR": os.fspath(place / "distcc")}
        distcc |= {"DISTCC_HOSTS": f"127.0.0.1:{theirs}/4", "DISTCC_FALLBACK": "0"}
        return _measure(source, plain, who, distcc, spawner, rounds)


def _measure(
    source: Path,
    plain: Subject,
    pycc: Subject,
    distcc: dict[str, str],
    spawner: Spawner,
    rounds: int,
) -> Farm:
    def task(words: tuple[str, ...], environment: dict[str, str]) -> Task:
        output = os.fspath(pycc.place / "farm.o")
        argv = (*words, *OPTIONS, "-c", os.fspath(source), "-o", output)
        return Task(argv, environment, pycc.place, 1)

    def tell(option: str) -> None:
        subprocess.run(
            [os.fspath(pycc.place / "links" / "ccache"), option],
            env=dict(pycc.environment),
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def start() -> None:
        pycc.forget()
        tell("--print-stats")  # which has a server start

    def clear() -> None:
        tell("--clear")

    by_distcc = task(("distcc", "g++"), distcc)
    by_pycc = task(pycc.compilers["g++"], dict(pycc.environment))
    for one in (by_distcc, by_pycc):
        for _ in range(2):
            spawner.run(one)
    served = spawner.interleave(
        {
            "distcc, server's ccache": by_distcc,
            "pycc, nothing known": dataclasses.replace(by_pycc, before=start),
            "pycc, digests known": dataclasses.replace(by_pycc, before=clear),
        },
        rounds,
    )
    missed = spawner.interleave(
        {
            "g++ alone": dataclasses.replace(
                task(plain.compilers["g++"], dict(plain.environment)), renew=os.fspath(source)
            ),
            "distcc": dataclasses.replace(by_distcc, renew=os.fspath(source)),
            "pycc": dataclasses.replace(by_pycc, renew=os.fspath(source)),
        },
        rounds,
    )
    return Farm(served, missed)
