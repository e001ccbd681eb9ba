"""A real sshd on loopback, with keys and a configuration of its own, and users who may come."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.daemon_kit import PROGRAM, ROOT, free_port, open_place, wait_for

SSHD = "/usr/sbin/sshd"
DISTCCD = "/usr/bin/distccd"


@dataclass
class Client:
    """Who reaches the server as ``host``, by the file ``config``."""

    config: Path
    host: str

    @property
    def ssh(self) -> str:
        return f"ssh -F {self.config}"

    def variables(self, command: str, slots: int = 4, options: str = "") -> dict[str, str]:
        hosts = f"@{self.host}/{slots}:{command}{options}"
        return {"DISTCC_HOSTS": hosts, "DISTCC_SSH": self.ssh}


@dataclass
class Sshd:
    """``place`` holds everything; ``daemons`` are commands for the list of hosts, by kind."""

    place: Path
    port: int
    daemons: dict[str, str]

    @property
    def log(self) -> str:
        return (self.place / "sshd.log").read_text(errors="replace")

    @property
    def connections(self) -> int:
        """How many have shaken hands."""
        return self.log.count("Accepted publickey")

    @property
    def sessions(self) -> int:
        """How many commands were run."""
        return self.log.count("Starting session: command")

    def daemons_log(self, kind: str) -> str:
        path = self.place / f"{kind}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def client(self, *more: str, known: str = "known", key: str = "key") -> Client:
        """A configuration of ssh, in which the server has a name that nothing is known of."""
        number = len(list(self.place.glob("config-*")))
        path = self.place / f"config-{number}"
        lines = [
            f"Host farm{number}",
            "HostName 127.0.0.1",
            f"Port {self.port}",
            f"IdentityFile {self.place}/{key}",
            "IdentitiesOnly yes",
            "IdentityAgent none",
            f"UserKnownHostsFile {self.place}/{known}",
            "GlobalKnownHostsFile none",
            *more,
        ]
        path.write_text("\n".join(lines) + "\n")
        return Client(path, f"farm{number}")


def make_key(path: Path) -> None:
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)


@contextmanager
def an_sshd() -> Iterator[Sshd]:
    """Lets whoever has ``key`` in as the user of the test, and runs what he says."""
    with open_place() as place:
        port = free_port()
        for name in ("host", "key", "stranger"):
            make_key(place / name)
        shutil.copy(place / "key.pub", place / "authorized")
        public = (place / "host.pub").read_text().split()
        (place / "known").write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
        (place / "unknown").touch()
        other = (place / "stranger.pub").read_text().split()
        (place / "changed").write_text(f"[127.0.0.1]:{port} {other[0]} {other[1]}\n")
        (place / "sshd_config").write_text(
            "\n".join(
                [
                    f"Port {port}",
                    "ListenAddress 127.0.0.1",
                    f"HostKey {place}/host",
                    f"AuthorizedKeysFile {place}/authorized",
                    f"PidFile {place}/sshd.pid",
                    "StrictModes no",
                    "UsePAM no",
                    "PasswordAuthentication no",
                    "KbdInteractiveAuthentication no",
                    "PermitRootLogin yes",
                    "AllowTcpForwarding yes",
                    "LogLevel VERBOSE",
                ]
            )
        )
        daemons = {}
        pyccd = [sys.executable, str(place / "pyccd.py"), "--cache-dir", str(place / "cache")]
        (place / "pyccd.py").write_text(PROGRAM)
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
        given = " ".join(f"{name}={value}" for name, value in environment.items())
        for kind, words in (("pyccd", pyccd), ("distccd", [DISTCCD])):
            path = place / kind
            log = place / f"{kind}.log"
            log.touch()
            log.chmod(0o666)
            options = f"--verbose --log-file {log}"
            path.write_text(f'#!/bin/sh\nexec env {given} {" ".join(words)} {options} "$@"\n')
            path.chmod(0o755)
            daemons[kind] = str(path)
        # Where sshd wants to be root it also wants this.
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        process = subprocess.Popen(
            [SSHD, "-D", "-f", str(place / "sshd_config"), "-E", str(place / "sshd.log")],
            env={"PATH": os.defpath},
        )
        made = Sshd(place, port, daemons)
        try:
            wait_for(lambda: (place / "sshd.log").exists() and "Server listening" in made.log)
            yield made
        finally:
            process.terminate()
            process.wait()
