"""The programs that are compared, and how each is called."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

STOP_SECONDS = 5.0

# Asked of the interpreter beside the launcher: where is pycc, and how was it installed?
WHERE = """
import importlib.metadata, json, os, platform, pycc, sys
direct = importlib.metadata.distribution("pycc").read_text("direct_url.json") or "{}"
editable = json.loads(direct).get("dir_info", {}).get("editable", False)
runs_on = f"Python {platform.python_version()}, {os.path.realpath(sys.executable)}"
print(json.dumps([pycc.__file__, sys.prefix, editable, runs_on]))
"""


class BenchError(Exception):
    """Nothing can be measured; the message says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Subject:
    """One wrapper, or the plain compiler, with its cache and environment.

    `compilers` maps gcc and g++ to the words that call them through the subject.
    """

    name: str
    program: Path | None
    compilers: Mapping[str, tuple[str, ...]]
    environment: Mapping[str, str]
    place: Path

    @property
    def runtime(self) -> Path:
        """Where a server's socket is."""
        return self.place / "run"

    def counters(self) -> dict[str, int]:
        """The counters that ccache and pycc print; empty for others."""
        if self.program is None or self.name.startswith("sccache"):
            return {}
        # ccache answers options only under a name that begins with its own.
        command = [os.fspath(self.place / "links" / "ccache"), "--print-stats"]
        ran = subprocess.run(
            command, env=dict(self.environment), capture_output=True, text=True, check=False
        )
        rows = (line.split("\t") for line in ran.stdout.splitlines())
        return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}

    def stop(self) -> None:
        """Stop the subject's server, if it has one."""
        if self.program is None or not self.program.exists():
            return
        option = "--stop-server"
        if self.name == "pycc" or self.name.startswith("sccache"):
            subprocess.run(
                [self.program, option],
                env=dict(self.environment),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
        # A server says that it leaves before it has left.
        deadline = time.monotonic() + STOP_SECONDS
        while self.servers() and time.monotonic() < deadline:
            time.sleep(0.01)

    def forget(self) -> None:
        """Empty the cache, with the server stopped."""
        self.stop()
        shutil.rmtree(self.place / "cache", ignore_errors=True)

    def servers(self) -> list[int]:
        """The processes whose command line names the subject's runtime directory.

        The socket's peer credentials would not do: they are of the process that made the socket,
        and a launcher makes it for the server that it starts.
        """
        mark = os.fsencode(self.runtime) + b"/"
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if mark in path.read_bytes():
                    found.append(int(path.parent.name))
        return found

    def server_memory(self) -> int | None:
        """Peak resident memory of the subject's servers in KiB; None without a server."""
        peaks = []
        for pid in self.servers():
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                peaks += [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
        return sum(peaks) if peaks else None


def subject(
    name: str, program: Path | None, place: Path, extra: Mapping[str, str] | None = None
) -> Subject:
    """Make a subject with links, cache and environment of its own below `place`."""
    place = place / name
    links = place / "links"
    links.mkdir(parents=True)
    # Made beforehand, or a launcher might find the user's server in /tmp first.
    (place / "run" / "pycc").mkdir(mode=0o700, parents=True)
    (place / "run").chmod(0o700)
    (place / "home").mkdir()
    compilers: dict[str, tuple[str, ...]] = {}
    for compiler in ("gcc", "g++"):
        if program is None:
            compilers[compiler] = (shutil.which(compiler, path="/usr/bin:/bin") or compiler,)
        elif name.startswith("sccache"):
            compilers[compiler] = (os.fspath(program), compiler)
        else:
            (links / compiler).symlink_to(program)
            compilers[compiler] = (os.fspath(links / compiler),)
    if program is not None:
        (links / "ccache").symlink_to(program)
    environment = {
        "PATH": f"{links}:/usr/bin:/bin",
        "HOME": os.fspath(place / "home"),
        "XDG_RUNTIME_DIR": os.fspath(place / "run"),
        "CCACHE_DIR": os.fspath(place / "cache"),
        "SCCACHE_DIR": os.fspath(place / "cache"),
        "SCCACHE_SERVER_UDS": os.fspath(place / "run" / "sccache"),
        "LANG": "C.UTF-8",
        "LOGNAME": "bench",
        "SHELL": "/bin/sh",
        "TERM": "xterm-256color",
        **(extra or {}),
    }
    return Subject(name, program, compilers, environment, place)


def interpreter(pycc: Path) -> str:
    """What runs the server of `pycc`. Raises BenchError unless that is a proper installation.

    A Python that was built without its optimizations, as version managers do it, costs a cold build
    some 3 % more than Debian's. An editable install imports from a checkout through a finder hook,
    whose cost and whose missing byte code are not what users have.
    """
    python = pycc.resolve().with_name("python")
    if not python.exists():
        python = pycc.resolve().with_name("python3")
    ran = subprocess.run(
        [python, "-I", "-c", WHERE], cwd="/", capture_output=True, text=True, check=False
    )
    if ran.returncode:
        message = f"{python} does not import pycc: {ran.stderr.strip().splitlines()[-1:]}"
        raise BenchError(message)
    where, prefix, editable, runs_on = json.loads(ran.stdout)
    if editable or not Path(where).resolve().is_relative_to(Path(prefix).resolve()):
        message = f"{pycc} is an editable install ({where}): nothing is measured from one"
        raise BenchError(message)
    return str(runs_on)


def is_static(program: Path) -> bool:
    """Whether an ELF program has no dynamic section that names libraries."""
    ran = subprocess.run(["readelf", "-d", program], capture_output=True, text=True, check=False)
    return ran.returncode == 0 and "NEEDED" not in ran.stdout
