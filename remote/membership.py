"""What compile servers write down of themselves in a Redis server, and what of it is believed.

    pycc:servers            a sorted set of names, by the time of their last sign of life (Unix, s)
    pycc:server:<name>      a JSON object, which lives for LIFE_SECONDS; <name> is ADDRESS:PORT

    address, port           where clients connect to
    jobs, cpus              most jobs at a time; processors
    running, load           jobs that run there now; the machine's load average of one minute
    release                 "pyccd-" and its version
    features                of: cache, exact, tls, auth
    compilers               objects of name, machine (-dumpmachine), version (-dumpversion) and
                            identity (hexadecimal, see compiler.py; empty if it is not known)

Each server repeats it every HEARTBEAT_SECONDS. Who does not any more is forgotten by Redis.

Whoever can write to the Redis server can say all of this, and clients send him their sources: that
is what +redis:// means. What is said chooses an address (never a name that is resolved), a port
and a number of jobs, within limits, and whether TLS or authentication is spoken.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Final

from pycc.record import record

from .discovery import MOST_JOBS, is_usable, kind_of
from .hosts import MAX_PORT, HostSpec, Kind, with_options

INDEX: Final = b"pycc:servers"
HEARTBEAT_SECONDS: Final = 5.0
LIFE_SECONDS: Final = 15.0
LONGEST_NAME: Final = 128
LARGEST: Final = 16 << 10
"""Bytes of a server's name, and of what it says."""
MOST_COMPILERS: Final = 16
_LONGEST_TEXT: Final = 128
_FEATURES: Final = ("cache", "exact", "tls", "auth")


def key_of(name: bytes) -> bytes:
    """Where the server of this name is described."""
    return b"pycc:server:" + name


@record
class Compiler:
    """One compiler of a server; texts as it printed them, ``identity`` in hexadecimal."""

    name: str
    machine: str
    version: str
    identity: str = ""

    @property
    def kind(self) -> str | None:
        """See discovery.kind_of."""
        return kind_of(self.machine.encode(), self.version.encode())


@record
class Member:
    """What a server says of itself."""

    address: str
    port: int
    jobs: int
    cpus: int = 0
    running: int = 0
    load: float = 0.0
    release: str = ""
    features: tuple[str, ...] = ()
    compilers: tuple[Compiler, ...] = ()

    @property
    def name(self) -> bytes:
        shown = f"[{self.address}]" if ":" in self.address else self.address
        return f"{shown}:{self.port}".encode()

    def has(self, kind: str) -> bool:
        """Whether one of its compilers is of this kind; true for an empty one."""
        return not kind or any(compiler.kind == kind for compiler in self.compilers)

    def host(self, options: Sequence[str] = ()) -> HostSpec:
        """The server as a host of a list, with ``options`` of the list besides its own."""
        spelled = ",".join((f"{self.name.decode()}/{self.jobs}", *options))
        host = HostSpec(
            Kind.TCP,
            self.address,
            port=self.port,
            slots=self.jobs,
            tls="tls" in self.features,
            auth="auth" in self.features,
            spelled=spelled,
        )
        return with_options(host, options)


def pack(member: Member) -> bytes:
    """What is written down of it; the last compilers are left out where it gets too long."""
    compilers = list(member.compilers)[:MOST_COMPILERS]
    while True:
        said = {
            "address": member.address,
            "port": member.port,
            "jobs": member.jobs,
            "cpus": member.cpus,
            "running": member.running,
            "load": round(member.load, 2),
            "release": member.release,
            "features": list(member.features),
            "compilers": [
                {
                    "name": compiler.name[:_LONGEST_TEXT],
                    "machine": compiler.machine[:_LONGEST_TEXT],
                    "version": compiler.version[:_LONGEST_TEXT],
                    "identity": compiler.identity,
                }
                for compiler in compilers
            ],
        }
        packed = json.dumps(said).encode()
        if len(packed) <= LARGEST or not compilers:
            return packed
        compilers.pop()


def unpack(data: bytes, *, here: bool = False) -> Member | None:
    """The server that somebody describes so; None if nothing can come of it.

    ``here``: the Redis server is on this machine, so addresses of this machine alone will do."""
    try:
        said = json.loads(data[:LARGEST])
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    address = _text(said.get("address"))
    port, jobs = _count(said.get("port")), _count(said.get("jobs"))
    if not (_believed(address, here) and 0 < port <= MAX_PORT and jobs):
        return None
    load = said.get("load")
    listed = said.get("features"), said.get("compilers")
    features, compilers = (one if isinstance(one, list) else [] for one in listed)
    return Member(
        str(ip_address(address)),
        port,
        min(jobs, MOST_JOBS),
        _count(said.get("cpus")),
        _count(said.get("running")),
        float(load) if isinstance(load, int | float) and 0 <= load < 1e6 else 0.0,
        _text(said.get("release")),
        tuple(feature for feature in _FEATURES if feature in features),
        tuple(
            Compiler(*(_text(one.get(part)) for part in ("name", "machine", "version", "identity")))
            for one in compilers[:MOST_COMPILERS]
            if isinstance(one, dict)
        ),
    )


def _believed(address: str, here: bool) -> bool:
    if is_usable(address):
        return True
    try:
        return here and "%" not in address and ip_address(address).is_loopback
    except ValueError:
        return False


def _text(said: Any) -> str:
    fits = isinstance(said, str) and len(said) <= _LONGEST_TEXT and said.isprintable()
    return said if fits and said.isascii() else ""


def _count(said: Any) -> int:
    whole = isinstance(said, int) and not isinstance(said, bool)
    return said if whole and 0 <= said <= 1_000_000 else 0
