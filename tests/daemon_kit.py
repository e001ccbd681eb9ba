"""A daemon in a process of its own, and ways to talk to it."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pycc.remote.protocol import Reply, Request, reply_reader, write_request
from tests.mounting import UNSHARE

DISTCC = "/usr/bin/distcc"  # Debian's; scripts/test-packages.txt
ROOT = Path(__file__).resolve().parent.parent
PROGRAM = 'import sys; sys.argv[0] = "pyccd"; from pycc.remote.pyccd import main; main()'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Farm:
    """A daemon, and a place to work in that an unprivileged daemon can reach."""

    place: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        log = self.place / "log"
        return log.read_text() if log.exists() else ""

    def summaries(self) -> list[str]:
        """The job summaries from the code on, when every connection has one: they are written after
        the reply."""
        lines: list[str] = []

        def complete() -> bool:
            log = self.log.splitlines()
            lines[:] = (line for line in log if "(dcc_job_summary)" in line)
            return len(lines) == sum("connection from" in line for line in log)

        wait_for(complete)
        return [line.split(" ", 6)[6] for line in lines]

    def distcc(
        self, *words: str, options: str = "", cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        environment = {
            "PATH": "/usr/bin:/bin",
            "DISTCC_HOSTS": f"127.0.0.1:{self.port}/50{options}",
            "DISTCC_DIR": str(self.place / "distcc"),
            "DISTCC_FALLBACK": "0",
            "DISTCC_BACKOFF_PERIOD": "0",
            "LC_ALL": "C.UTF-8",
            **variables,
        }
        return subprocess.run(
            [DISTCC, *words],
            cwd=cwd or self.place / "project",
            env=environment,
            capture_output=True,
            check=False,
        )

    def send(self, request: Request) -> socket.socket:
        """A connection on which ``request`` was sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), 30)
        connection.sendall(b"".join(write_request(request)))
        return connection

    def ask(self, request: Request) -> Reply:
        """What the daemon answers to our own words."""
        with self.send(request) as connection:
            return answer(connection, request.version)

    def write(self, name: str, text: str) -> None:
        (self.place / "project" / name).write_text(text)

    def read(self, name: str) -> bytes:
        return (self.place / "project" / name).read_bytes()


def answer(connection: socket.socket, version: int = 1) -> Reply:
    """What comes on a connection. Raises ProtocolError when nothing does."""
    reader = reply_reader(version)
    while reader.message is None:
        data = connection.recv(1 << 16)
        if not data:
            reader.end()
        reader.feed(data)
    return reader.message


@contextmanager
def open_place() -> Iterator[Path]:
    """A directory that the daemon's user can reach; pytest's own are closed again by any other
    run of pytest."""
    place = Path(tempfile.mkdtemp(prefix="farm-"))
    place.chmod(0o755)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def a_farm(*options: str, compiler: str = "", mounts: str = "", **variables: str) -> Iterator[Farm]:
    """A daemon with ``options`` beside the usual ones. ``compiler`` is a shell script that stands
    for gcc on its PATH, ``mounts`` one that mounts what only the daemon is to see; in it $PLACE is
    the farm's place."""
    with open_place() as place:
        for name in ("project", "distcc", "bin", "notes"):
            (place / name).mkdir()
        # Where a job's own process may leave a word for the test.
        (place / "notes").chmod(0o777)
        path = "/usr/bin:/bin"
        if compiler:
            (place / "bin/gcc").write_text(f"#!/bin/sh\n{compiler}\n")
            (place / "bin/gcc").chmod(0o755)
            path = f"{place}/bin:{path}"
        port = free_port()
        words = ["--daemon", "--no-detach", "--port", str(port), "--listen", "127.0.0.1"]
        words += ["--allow", "127.0.0.1", "--jobs", "3", "--verbose"]
        words += ["--log-file", str(place / "log"), "--pid-file", str(place / "pid")]
        words += ["--cache-dir", str(place / "cache"), *options]
        if mounts:
            variables["PLACE"] = str(place)
        variables = {name: text.replace("$PLACE", str(place)) for name, text in variables.items()}
        process = start(*words, mounts=mounts, **{"PATH": path, **variables})
        farm = Farm(place, port, process)
        try:
            wait_for(lambda: "allowing up to" in farm.log)
            yield farm
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.communicate()  # closes its pipes


def start(*words: str, mounts: str = "", **variables: str) -> subprocess.Popen[bytes]:
    """pyccd in a process of its own, with no variables but these and what it needs."""
    needed = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
    command = [sys.executable, "-c", PROGRAM, *words]
    if mounts:
        command = [*UNSHARE, "/bin/sh", "-ec", f'{mounts}\nexec "$@"', "sh", *command]
    return subprocess.Popen(
        command, env={**needed, **variables}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def said(*words: str, **variables: str) -> tuple[int, str, str]:
    """(status, standard output, standard error) of pyccd that does something and ends."""
    process = start(*words, **variables)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, out.decode(), err.decode()


def wait_for(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until ``true()``."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(number: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        content = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False
    return content.rpartition(")")[2].split()[0] not in "ZX"
