"""``pyccd --inetd`` below programs that listen for it, with both clients."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.daemon_kit import DISTCC, ENVIRONMENT, PROGRAM, ROOT, free_port, open_place, wait_for
from tests.e2e.kit import World
from tests.interop.kit import WAYS, farm_counts, write_sources

SERVERS = pytest.mark.parametrize("program", ["socat", "systemd-socket-activate"])


@contextmanager
def listening(program: str, *options: str) -> Iterator[tuple[Path, int]]:
    """(a place with the daemon's log, the port); each connection gets a daemon of its own."""
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program}")
    with open_place() as place:
        port = free_port()
        (place / "pyccd.py").write_text(PROGRAM)
        script = place / "pyccd"
        words = f"--inetd --verbose --log-file {place}/log {' '.join(options)}"
        script.write_text(
            f"#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} {place}/pyccd.py {words}\n"
        )
        script.chmod(0o755)
        if program == "socat":
            listen = f"TCP4-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork"
            command = [program, listen, f"EXEC:{script},nofork"]
        else:
            command = [program, "--inetd", "-a", "-l", f"127.0.0.1:{port}", str(script)]
        with open(place / "said", "wb") as said:
            process = subprocess.Popen(
                command, env=ENVIRONMENT, stdout=said, stderr=said, start_new_session=True
            )
        try:
            wait_for(lambda: listens(port) or process.poll() is not None)
            assert process.poll() is None, (place / "said").read_text()
            yield place, port
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            process.wait()


def listens(port: int) -> bool:
    """Without connecting, which would start a daemon."""
    wanted = f":{port:04X} 00000000:0000 0A"
    return wanted in Path("/proc/net/tcp").read_text()


@SERVERS
@WAYS
def test_the_stock_client(program: str, options: str) -> None:
    with listening(program) as (place, port):
        write_sources(place)
        done = subprocess.run(
            [DISTCC, "gcc", "-O2", "-c", "a.c", "-o", "made"],
            cwd=place,
            env={
                **ENVIRONMENT,
                "DISTCC_HOSTS": f"127.0.0.1:{port}{options}",
                "DISTCC_DIR": str(place),
                "DISTCC_FALLBACK": "0",
            },
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        subprocess.run(["gcc", "-O2", "-c", "a.c", "-o", "here"], cwd=place, check=True)
        assert (place / "made").read_bytes() == (place / "here").read_bytes()
        wait_for(lambda: "job complete" in (place / "log").read_text())
        log = (place / "log").read_text()
        assert "client: 127.0.0.1:" in log
        assert "COMPILE_OK exit:0" in log


@SERVERS
def test_our_client(world: World, program: str) -> None:
    with listening(program, f"--cache-dir {world.root}/served") as (place, port):
        env = {"DISTCC_HOSTS": f"127.0.0.1:{port}"}
        for number in range(3):
            world.write("a.c", f"int f{number}(void) {{ return {number}; }}\n")
            world.compare("gcc", "-O2", "-c", "a.c", env=env, times=1)
        counts = farm_counts(world, env)
        assert sum(counts.get(name, 0) for name in ("compiled", "exact", "known")) == 3, counts
        wait_for(lambda: (place / "log").read_text().count("COMPILE_OK") == 3)


@SERVERS
def test_who_may_not_ask_is_hung_up_on(program: str) -> None:
    with listening(program, "--allow 10.0.0.0/8") as (place, port):
        with socket.create_connection(("127.0.0.1", port), 20) as connection:
            assert connection.recv(1) == b""
        assert "denied by access list" in (place / "log").read_text()
