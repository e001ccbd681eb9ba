"""Many compiles at once that wait before a gate, so that what is shown of them can be compared."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.daemon_kit import ENVIRONMENT, Daemon

JOBS = 24
NAMES = tuple(f"f{number}.c" for number in range(JOBS))
OWN_NAME = {"DISTCC_NO_REWRITE_CROSS": "1"}
"""The server's gcc is asked for by that name, and the one on its PATH waits."""


class Gate:
    """Where compiles wait that came as far as the server's compiler."""

    def __init__(self, place: Path) -> None:
        self.path = place / "gate"
        os.mkfifo(self.path)
        self.path.chmod(0o666)
        self._end = os.open(self.path, os.O_RDWR)

    @property
    def compiler(self) -> str:
        """A script that waits, and then compiles."""
        return f'case "$*" in *-c*) read -r _ <{self.path} ;; esac\nexec /usr/bin/gcc "$@"'

    def let_pass(self, jobs: int = JOBS) -> None:
        os.write(self._end, b"\n" * jobs)

    def close(self) -> None:
        os.close(self._end)


@contextmanager
def running(
    directory: Path,
    program: Sequence[str],
    env: Mapping[str, str],
    gate: Gate,
    names: Sequence[str] = NAMES,
) -> Iterator[dict[int, str]]:
    """A compile for each of ``names``, by process id; they go on when the block ends, and must
    succeed."""
    processes: dict[int, tuple[str, subprocess.Popen[bytes]]] = {}
    try:
        for number, name in enumerate(names):
            (directory / name).write_text(f"int f{number}(void) {{ return {number}; }}\n")
            process = subprocess.Popen([*program, "-O1", "-c", name], env=dict(env), cwd=directory)
            processes[process.pid] = (name, process)
        yield {pid: name for pid, (name, _) in processes.items()}
        gate.let_pass(len(names))
        assert [process.wait(60) for _, process in processes.values()] == [0] * len(names)
    finally:
        for _, process in processes.values():
            process.kill()
            process.wait()


def distcc_environment(server: Daemon) -> dict[str, str]:
    """Of the stock client."""
    return {
        **ENVIRONMENT,
        "DISTCC_HOSTS": server.host(slots=40),
        "DISTCC_DIR": str(server.place / "distcc"),
        "DISTCC_FALLBACK": "0",
        "TMPDIR": str(server.place / "tmp"),
        "HOME": str(server.place),
        **OWN_NAME,
    }
