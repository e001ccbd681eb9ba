"""Two machines on one wire: namespaces of their own for network, mounts and name, with Avahi."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.daemon_kit import ENVIRONMENT, wait_for

SPACES = ("--mount", "--net", "--uts")
SETTLE = """\
hostname "$1"
mount -t tmpfs none /run
mkdir /run/dbus /run/avahi-daemon
ip link set lo up
touch /run/ready
exec sleep infinity
"""
AVAHI = """\
[server]
host-name={name}
use-ipv4=yes
use-ipv6=no
enable-dbus=yes
[publish]
publish-workstation=no
"""
PROGRAMS = ("unshare", "nsenter", "ip", "dbus-daemon", "avahi-daemon")


class Station:
    """One of the machines."""

    def __init__(self, stack: ExitStack, hostname: str, address: str) -> None:
        self.address = address
        self._hostname = hostname
        self._stack = stack
        self._process = subprocess.Popen(["unshare", *SPACES, "sh", "-ec", SETTLE, "sh", hostname])
        stack.callback(end, self._process, signal.SIGKILL)
        self.run_directory = Path(f"/proc/{self._process.pid}/root/run")
        wait_for(lambda: (self.run_directory / "ready").exists())

    def enter(self, directory: Path = Path("/")) -> list[str]:
        """What stands before a command that is to run there."""
        target = ["nsenter", "--target", str(self._process.pid), *SPACES]
        return [*target, "env", "-C", str(directory)]

    def run(self, *words: str) -> None:
        subprocess.run([*self.enter(), *words], check=True)

    def lay_wire_to(self, other: Station) -> None:
        """The machines have one wire each, and one name for it."""
        pid = str(other._process.pid)
        self.run("ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", pid)
        for one in (self, other):
            one.run("ip", "addr", "add", f"{one.address}/24", "dev", "wire")
            one.run("ip", "link", "set", "wire", "up")

    def start_avahi(self) -> None:
        """The machine's own, on a bus of its own."""
        (self.run_directory / "avahi.conf").write_text(AVAHI.format(name="m" + self.address[-1]))
        self.start("dbus-daemon", "--system", "--nofork", "--nopidfile", "--nosyslog")
        wait_for(lambda: (self.run_directory / "dbus/system_bus_socket").exists())
        alone = ("--no-drop-root", "--no-chroot", "--no-rlimits")
        log = self.start("avahi-daemon", "--file", "/run/avahi.conf", *alone)
        wait_for(lambda: "Server startup complete" in log.read_text())

    def start(self, *words: str) -> Path:
        """Start a program that runs until the end; returns where it writes."""
        path = self.run_directory / f"{words[0]}.log"
        with path.open("wb") as log:
            process = subprocess.Popen(
                [*self.enter(), *words],
                stdout=log,
                stderr=log,
                env={**ENVIRONMENT, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            )
        self._stack.callback(end, process, signal.SIGTERM)
        return path


def end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    process.send_signal(number)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def two_stations() -> Iterator[tuple[Station, Station]]:
    """A server's machine and a client's."""
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"needs root and {' '.join(missing)}")
    if subprocess.run(["unshare", *SPACES, "true"], check=False).returncode:
        pytest.skip("cannot make namespaces")
    with ExitStack() as stack:
        server = Station(stack, "farm", "10.99.0.1")
        client = Station(stack, "desk", "10.99.0.2")
        server.lay_wire_to(client)
        yield server, client
