"""Compile servers that announce themselves: what they are called, what they say, what is believed.

    service   _distcc._tcp.local.                        by DNS-SD (RFC 6763) over mDNS (RFC 6762)
    kind      _MACHINE--VERSION, a subtype of it         of `cc`, from -dumpmachine and -dumpversion
    instance  distcc@HOSTNAME
    TXT       txtvers=1 cpus=N jobs=N distcc=VERSION gnuhost=TRIPLET cc_version=V cc_machine=M

distccd announces both, and distcc asks for the kind of its own `cc` alone, so that no job is sent
to another compiler. (src/zeroconf.c, zeroconf-reg.c and gcc-id.c of distcc.)

Anybody on the network can say all of this, and a client that discovers sends him its sources: that
is what +zeroconf means. What is said chooses an address, a port and a number of jobs, within
limits; it switches nothing on, and a host that was found is a host like one in the list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv6Address, ip_address
from typing import Final

from pycc.pattern import pattern
from pycc.record import record, replace

from .hosts import MAX_PORT, REMOTE_SLOTS, HostList, HostSpec, Kind, lock_name

SERVICE: Final = "_distcc._tcp.local."
MOST_HOSTS: Final = 128
MOST_JOBS: Final = 1000
"""Nobody has more processors; without a limit, who says 2**31 gets every job that has a key."""
LONGEST_LABEL: Final = 63  # bytes, RFC 1035
_MOST_ADDRESSES: Final = 32
_OTHER = pattern(rb"[^a-z0-9]")
_NUMBER = pattern(rb"\s*([+-]?[0-9]{1,9})")


@record
class Register:
    """Where servers write themselves down: a Redis server's URL, the kind of compiler that they are
    to have (any, where it is empty), and options that each of them has in the list."""

    url: str
    kind: str
    options: tuple[str, ...] = ()


def kind_of(machine: bytes, version: bytes) -> str | None:
    """The subtype's name, of what a compiler printed for -dumpmachine and -dumpversion; None if
    that gives none."""
    words = [_OTHER.sub(b"-", (text.split() or [b""])[0].lower()) for text in (machine, version)]
    kind = b"_%s--%s" % tuple(words)
    return kind.decode() if all(words) and len(kind) <= LONGEST_LABEL else None


def service_of(kind: str) -> str:
    """What is asked for to find servers of this kind."""
    return f"{kind}._sub.{SERVICE}"


def texts(*, cpus: int, jobs: int, release: str, machine: bytes, version: bytes) -> dict[str, str]:
    """The TXT record of a server; ``machine`` and ``version`` as the compiler printed them."""
    said = {"txtvers": "1", "cpus": str(cpus), "jobs": str(jobs), "distcc": release}
    named = (("gnuhost", machine), ("cc_version", version), ("cc_machine", machine))
    for name, text in named:
        words = text.decode(errors="replace").split()
        if words:
            said[name] = words[0][:LONGEST_LABEL]
    return said


def is_usable(address: str) -> bool:
    """Whether a server that says this of itself can be another machine. An address of this machine
    alone would lead to whatever listens here; fe80:: leads nowhere without an interface."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and (found.is_link_local or found.ipv4_mapped is not None):
        return False
    wrong = found.is_loopback, found.is_multicast, found.is_unspecified, found.is_reserved
    return not any(wrong)


def announced(
    addresses: Sequence[str], port: int | None, said: Mapping[bytes, bytes | None]
) -> HostSpec | None:
    """The host that an instance stands for, IPv4 preferred; None if nothing can come of it."""
    usable = [address for address in addresses[:_MOST_ADDRESSES] if is_usable(address)]
    if not usable or port is None or not 0 < port <= MAX_PORT:
        return None
    address = min(usable, key=lambda one: ":" in one)
    cpus = _whole(said.get(b"cpus"), 0)
    jobs = _whole(said.get(b"jobs"), 0)
    if jobs <= 0:  # distcc's guesses
        jobs = cpus + 2 if cpus > 0 else REMOTE_SLOTS
    jobs = min(jobs, MOST_JOBS)
    shown = f"[{address}]" if ":" in address else address
    spelled = f"{shown}:{port}/{jobs}"
    return HostSpec(Kind.TCP, address, port=port, slots=jobs, spelled=spelled)


def _whole(text: bytes | None, default: int) -> int:
    found = _NUMBER.match(text or b"")
    return int(found[1]) if found else default


class Instances:
    """The instances that are there now, by name; the first MOST_HOSTS of them."""

    def __init__(self) -> None:
        self._hosts: dict[str, HostSpec] = {}

    def add(self, name: str, host: HostSpec | None) -> None:
        """This is what ``name`` stands for now; with None, nothing."""
        if host is None:
            self.remove(name)
        elif name in self._hosts or len(self._hosts) < MOST_HOSTS:
            self._hosts[name] = host

    def remove(self, name: str) -> None:
        """It has said goodbye, or has not been heard of for too long."""
        self._hosts.pop(name, None)

    def hosts(self) -> tuple[HostSpec, ...]:
        """Each host once, in the order in which they were found."""
        found: dict[str, HostSpec] = {}
        for host in self._hosts.values():
            found.setdefault(lock_name(host), host)
        return tuple(found.values())


def with_announced(hosts: HostList, found: Iterable[tuple[int, Iterable[HostSpec]]]) -> HostList:
    """The list with the hosts that were found behind so many of its own, but for those that it
    names already."""
    listed = {lock_name(host) for host in hosts.hosts}
    new: list[tuple[int, HostSpec]] = []
    for at, those in found:
        for host in those:
            if lock_name(host) not in listed:
                listed.add(lock_name(host))
                new.append((at, host))
    merged = [host for at, host in new if at == 0]
    for number, own in enumerate(hosts.hosts, 1):
        merged += [own, *(host for at, host in new if at == number)]
    return replace(hosts, hosts=tuple(merged))
