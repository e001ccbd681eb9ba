"""Which host gets the next job: what is known and the clock in, a decision out, no I/O.

distcc takes the lowest free slot number, and among hosts that have it free the first of the list
(dcc_lock_one, src/where.c); it polls lock files for that. Here all jobs of a user pass one server,
so the same order comes from counting: the host with the fewest of our jobs, then the list's order.

Hosts that run pyccd keep what they compile. Among those, a job with a key goes to the one that
rendezvous hashing names for it, weighted by slots, so that the next client finds it there; unless
that host has more than its share of what is under way (``BOUND``), when the next best takes it.

A host is avoided after a fault of the network or the daemon, for a time that doubles from
``FIRST_PAUSE`` to the user's DISTCC_BACKOFF_PERIOD, and never for a compile that failed: distcc
avoids healthy hosts for a minute because of a syntax error (its issue 74).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from enum import Enum

from pycc.blake import blake2b
from pycc.record import mutable

from .hosts import HostSpec, Kind, lock_name

FIRST_PAUSE = 2.0  # seconds
BOUND = 1.25
KEEPERS = 3
"""A job that its own host had no room for went to the next ones."""
_STALE = 600.0
"""A fault is forgotten when the host has been left in peace for so long after its pause."""


class No(Enum):
    """Why there is no host for a job."""

    BUSY = "every slot is taken"
    HOSTS = "no host can be used"


@mutable
class _Fate:
    """What became of the last jobs of one host."""

    faults: int = 0
    avoided_until: float = -math.inf


class Balance:
    """Counts jobs and faults by host; times are seconds of one monotonic clock.

    Not for several threads at once.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, int] = {}
        self._fates: dict[str, _Fate] = {}

    def jobs(self, host: HostSpec) -> int:
        """How many jobs are there now."""
        return self._jobs.get(lock_name(host), 0)

    def avoided(self, host: HostSpec, now: float) -> bool:
        """Whether it is still too early after its last fault."""
        fate = self._fates.get(lock_name(host))
        return fate is not None and now < fate.avoided_until

    def choose(
        self,
        hosts: Sequence[HostSpec],
        now: float,
        *,
        key: bytes = b"",
        caching: Collection[str] = (),
        without: Collection[str] = (),
    ) -> HostSpec | No:
        """The host for the next job. ``caching`` are the lock names of hosts that keep results,
        ``without`` of those that this job does not want."""
        usable = [
            host
            for host in hosts
            if not host.down and lock_name(host) not in without and not self.avoided(host, now)
        ]
        if not usable:
            return No.HOSTS
        free = [host for host in usable if self.jobs(host) < host.slots]
        if not free:
            return No.BUSY
        first = min(free, key=self.jobs)
        if key and lock_name(first) in caching:
            keeping = [host for host in usable if lock_name(host) in caching]
            return self._by_key(keeping, key) or first
        return first

    def keepers(
        self, hosts: Sequence[HostSpec], now: float, key: bytes, caching: Collection[str]
    ) -> list[HostSpec]:
        """The hosts that may keep what belongs to ``key``, the likeliest first."""
        known = [
            host
            for host in hosts
            if lock_name(host) in caching and not host.down and not self.avoided(host, now)
        ]
        return sorted(known, key=lambda host: weight(host, key), reverse=True)[:KEEPERS]

    def _by_key(self, hosts: Sequence[HostSpec], key: bytes) -> HostSpec | None:
        under_way = sum(map(self.jobs, hosts)) + 1
        slots = sum(host.slots for host in hosts)
        for host in sorted(hosts, key=lambda host: weight(host, key), reverse=True):
            share = math.ceil(BOUND * under_way * host.slots / slots)
            if self.jobs(host) < min(host.slots, share):
                return host
        return None

    def begin(self, host: HostSpec) -> None:
        """A job was given to it."""
        self._jobs[lock_name(host)] = self.jobs(host) + 1

    def end(self, host: HostSpec) -> None:
        """A job has come back, whatever became of it."""
        left = self.jobs(host) - 1
        if left > 0:
            self._jobs[lock_name(host)] = left
        else:
            self._jobs.pop(lock_name(host), None)

    def worked(self, host: HostSpec) -> None:
        """It answered: its faults are forgiven."""
        self._fates.pop(lock_name(host), None)

    def failed(self, host: HostSpec, now: float, most: float) -> float:
        """The network or the daemon failed; returns for how long it is avoided. ``most`` is
        DISTCC_BACKOFF_PERIOD in seconds, 0 switches avoiding off."""
        fate = self._fates.setdefault(lock_name(host), _Fate())
        if now - fate.avoided_until > _STALE:
            fate.faults = 0
        if now >= fate.avoided_until:  # several jobs that were there fail together, once
            fate.faults += 1
        pause = min(most, FIRST_PAUSE * (1 << min(fate.faults - 1, 20)))
        fate.avoided_until = max(fate.avoided_until, now + pause) if pause > 0 else -math.inf
        return max(pause, 0.0)


def weight(host: HostSpec, key: bytes) -> float:
    """Weighted rendezvous hashing: the host with the largest weight is the key's (C. Schindelhauer
    and G. Schomaker, "Weighted Distributed Hash Tables", 2005)."""
    name = lock_name(host).encode(errors="surrogateescape")
    drawn: int = int.from_bytes(blake2b(name + b"\0" + key, digest_size=8).digest(), "big")
    score: float = -host.slots / math.log((drawn + 1) / ((1 << 64) + 1))
    return 0.0 if host.kind is Kind.LOCAL else score
