"""Compile servers for tests: Debian's distccd, and our own daemon."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DISTCCD = "/usr/bin/distccd"  # Debian's; scripts/test-packages.txt
ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = 'import sys; sys.argv[0] = "pyccd"; from pycc.remote.pyccd import main; main()'
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
START_SECONDS = 20.0
GREETING = "REJ_BAD_REQ exit:0 sig:0 core:0 ret:109 "
"""What a stock distccd says of being asked whether it is one of ours."""


@dataclass
class Daemon:
    """A server that listens on loopback, in a place that its unprivileged user can reach."""

    kind: str
    place: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return (self.place / "log").read_text(errors="replace")

    def summaries(self) -> list[str]:
        """What became of the jobs, each from its code on (COMPILE_OK …)."""
        lines = [
            line
            for line in self.log.splitlines()
            if "(dcc_job_summary)" in line and GREETING not in line
        ]
        return [line.partition("client: ")[2].partition(" ")[2] for line in lines]

    def summaries_of(self, count: int) -> list[str]:
        """The same, once there are so many: a daemon writes them after it has answered."""
        deadline = time.monotonic() + START_SECONDS
        while len(self.summaries()) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        found = self.summaries()
        assert len(found) == count, found
        return found

    def host(self, options: str = "", slots: int = 50) -> str:
        return f"127.0.0.1:{self.port}/{slots}{options}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def daemon(kind: str, *words: str, allow: str = "127.0.0.1") -> Iterator[Daemon]:
    """A ``distccd`` or a ``pyccd`` with a cache, for the time of a test; who may ask is
    ``allow``."""
    place = Path(tempfile.mkdtemp(prefix="farm-"))
    place.chmod(0o755)
    (place / "tmp").mkdir()
    (place / "tmp").chmod(0o1777)
    (place / "log").touch()
    (place / "log").chmod(0o666)
    port = free_port()
    command: Sequence[str]
    common = ["--daemon", "--no-detach", "--port", str(port), "--listen", "127.0.0.1"]
    common += ["--allow", allow, "--jobs", "4", "--verbose", *words]
    if kind == "distccd":
        command = [DISTCCD, *common, "--log-file", str(place / "log")]
    else:
        cache = ["--cache-dir", str(place / "cache")]
        command = [sys.executable, "-c", PROGRAM, *common, *cache]
        command += ["--log-file", str(place / "log")]
    environment = {**ENVIRONMENT, "TMPDIR": str(place / "tmp"), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + START_SECONDS
    while not _answers(port) and time.monotonic() < deadline:
        assert process.poll() is None, (place / "log").read_text()
        time.sleep(0.02)
    # The look at the port was a client, too.
    found = Daemon(kind, place, port, process)
    settled = time.monotonic() + 1.0
    while not found.summaries() and time.monotonic() < settled:
        time.sleep(0.02)
    (place / "log").write_text("")
    try:
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()
            shutil.rmtree(place, ignore_errors=True)
