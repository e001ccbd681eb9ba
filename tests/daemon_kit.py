"""Compile servers in processes of their own, ours and Debian's, and ways to talk to them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pycc.remote.identities import Identities
from pycc.remote.protocol import Reply, Request, reply_reader, write_request
from tests.mounting import UNSHARE

DISTCC = "/usr/bin/distcc"  # Debian's; scripts/test-packages.txt
DISTCCD = "/usr/bin/distccd"
ROOT = Path(__file__).resolve().parent.parent
PROGRAM = 'import sys; sys.argv[0] = "pyccd"; from pycc.remote.pyccd import main; main()'
COMMANDS = {"distccd": [DISTCCD], "pyccd": [sys.executable, "-c", PROGRAM]}
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
GREETING = "REJ_BAD_REQ exit:0 sig:0 core:0 ret:109 "
"""What a stock distccd says of being asked whether it is one of ours."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def free_ports() -> int:
    """A port such that the next one is free, too."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


@dataclass
class Daemon:
    """A server that listens on loopback, in a place that its unprivileged user can reach, where
    the stock client has a directory to work in."""

    kind: str
    place: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return (self.place / "log").read_text(errors="replace")

    @property
    def serves_exact_jobs(self) -> bool:
        return "exact jobs are served" in self.log

    def host(self, options: str = "", slots: int = 50) -> str:
        return f"127.0.0.1:{self.port}/{slots}{options}"

    def summaries(self) -> list[str]:
        """What became of the jobs, each from its code on (COMPILE_OK …)."""
        lines = [line for line in self.log.splitlines() if "(dcc_job_summary)" in line]
        found = (line.partition("client: ")[2].partition(" ")[2] for line in lines)
        return [line for line in found if not line.startswith(GREETING)]

    def summaries_of(self, count: int) -> list[str]:
        """The same, once there are so many: a daemon writes them after it has answered."""
        wait_for(lambda: len(self.summaries()) >= count)
        found = self.summaries()
        assert len(found) == count, found
        return found

    def send(self, request: Request) -> socket.socket:
        """A connection on which ``request`` was sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), 30)
        connection.sendall(b"".join(write_request(request)))
        return connection

    def ask(self, request: Request) -> Reply:
        """What the daemon answers to our own words."""
        with self.send(request) as connection:
            return answer(connection, request.version)

    def distcc(
        self, *words: str, options: str = "", cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        environment = {
            **ENVIRONMENT,
            "DISTCC_HOSTS": self.host(options),
            "DISTCC_DIR": str(self.place / "distcc"),
            "DISTCC_FALLBACK": "0",
            "DISTCC_BACKOFF_PERIOD": "0",
            **variables,
        }
        return subprocess.run(
            [DISTCC, *words],
            cwd=cwd or self.place / "project",
            env=environment,
            capture_output=True,
            check=False,
        )

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
def daemon(
    kind: str,
    *options: str,
    compiler: str = "",
    mounts: str = "",
    wrapper: Sequence[str] = (),
    allow: str = "127.0.0.1",
    at: str = "",
    **variables: str,
) -> Iterator[Daemon]:
    """A ``distccd``, or a ``pyccd`` with a cache, with ``options`` beside the usual ones.

    ``compiler`` is a shell script that stands for gcc on its PATH, ``mounts`` one that mounts what
    only the daemon is to see; in it and in variables $PLACE is the daemon's place. ``wrapper`` is a
    command that runs the daemon, ``allow`` who may ask, ``at`` its port where that matters."""
    with open_place() as place:
        for name in ("project", "distcc", "bin", "notes", "tmp"):
            (place / name).mkdir()
        # Where a job's own process works, and may leave a word for the test.
        for name in ("notes", "tmp"):
            (place / name).chmod(0o1777)
        # A stock daemon opens its log when it is nobody already.
        (place / "log").touch()
        (place / "log").chmod(0o666)
        path = ENVIRONMENT["PATH"]
        if compiler:
            (place / "bin/gcc").write_text(f"#!/bin/sh\n{compiler}\n")
            (place / "bin/gcc").chmod(0o755)
            path = f"{place}/bin:{path}"
        port = int(at or free_port())
        words = ["--daemon", "--no-detach", "--port", str(port), "--listen", "127.0.0.1"]
        words += ["--allow", allow, "--jobs", "4", "--verbose"]
        words += ["--log-file", str(place / "log"), "--pid-file", str(place / "pid")]
        if kind == "pyccd":
            words += ["--cache-dir", str(place / "cache")]
        if mounts:
            wrapper = [*UNSHARE, "/bin/sh", "-ec", f'{mounts}\nexec "$@"', "sh", *wrapper]
            variables["PLACE"] = str(place)
        variables = {name: text.replace("$PLACE", str(place)) for name, text in variables.items()}
        environment = {**ENVIRONMENT, "PATH": path, "TMPDIR": str(place / "tmp")}
        with (place / "output").open("wb") as output:
            process = subprocess.Popen(
                [*wrapper, *COMMANDS[kind], *words, *options],
                env={**environment, "PYTHONPATH": str(ROOT), **variables},
                stdout=output,
                stderr=output,
            )
        made = Daemon(kind, place, port, process)
        try:
            wait_for(lambda: "allowing up to" in made.log or process.poll() is not None)
            assert process.poll() is None, made.log + (place / "output").read_text()
            yield made
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                # A stock one passes the signal on to its whole group, and ends by it.
                assert process.wait(30) == (0 if kind == "pyccd" else -signal.SIGTERM)
        finally:
            if process.poll() is None:
                # A stock one leads a group of its own, which would live on and be found by others.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.kill()
            process.wait()


def a_farm(
    *options: str, compiler: str = "", mounts: str = "", **variables: str
) -> AbstractContextManager[Daemon]:
    """Our own daemon."""
    return daemon("pyccd", *options, compiler=compiler, mounts=mounts, **variables)


def identity_of_gcc() -> bytes:
    """That of a daemon's gcc for C, as an honest client finds it out."""
    environment = {name.encode(): value.encode() for name, value in ENVIRONMENT.items()}
    found = Identities(environment).of(b"/usr/bin/gcc", b"c")
    assert found is not None
    return found.hex().encode()


def said(*words: str, **variables: str) -> tuple[int, str, str]:
    """(status, standard output, standard error) of pyccd that does something and ends."""
    done = subprocess.run(
        [*COMMANDS["pyccd"], *words],
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


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
