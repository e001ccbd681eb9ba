"""Leases: which of several machines makes what all of them miss, and how long the others wait.

    pycc:lease:<digest>     of the entry that leads to the result (its manifest; where none does, of
                            the result that its text leads to), in hexadecimal
    <value> ::= <token> ":" <milliseconds>      it is being made; its maker's compiles take so long
              | "+"                             it is stored
              | "-"                             nothing came of it

Whoever misses an entry asks for its lease and, with the answer, has it or knows that another has.
Then he waits until it is stored, and reads it.

A lease lives for a few seconds and is renewed while its holder's compile runs: a machine that dies,
a server that is stopped and a compile that somebody stopped with Ctrl-Z let go of it, and the next
one takes it over. "+" and "-" stay for a moment, so that nobody takes it who looked just before.

Waiting pays where the holder is as quick as we are, because he has begun before us. Nobody knows
whether he is, so what may be lost is bounded (``Patience``). Every second is counted that was
waited in vain, or that would not have been needed here: where this machine's compiles are quicker
on the average than the holder's, by that proportion. Once MOST_LOST seconds are gone, nobody waits
until some are given back, one in every 1 / RECOVERY.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol, runtime_checkable

from ..record import mutable, record
from .remote_backend import StorageFailed

LIFE_MS, DONE_MS, LONGEST_VALUE = 6000, 3000, 64
RENEW_SECONDS: Final = 1.5
MOST_HELD_SECONDS: Final = 1800.0
DONE, FAILED = b"+", b"-"
MOST_LOST, RECOVERY = 30.0, 0.05
ALONE_SECONDS: Final = 5.0
"""The most that is waited where there is no server that adds it up."""
SAMPLES: Final = 8
"""Compiles from which on their average says something."""
REFUSED_SECONDS: Final = 60.0
SHORTEST_PAUSE, LONGEST_PAUSE = 0.01, 0.2
FOLLOWED, NOT_FOLLOWED = "pycc_remote_followed", "pycc_remote_not_followed"
"""Calls that waited for another machine's compile: those that got it, and those that did not."""


@runtime_checkable
class Leasing(Protocol):
    """A backend that knows leases. Keys are those of Backend; every method raises StorageFailed."""

    leases: bool
    """Whether they are wanted."""

    def lease(self, key: bytes, value: bytes, ms: int) -> bytes | None:
        """Take the lease, if nobody has it; its value then, or None if it has gone just now."""

    def lease_value(self, key: bytes) -> bytes | None:
        """Its value now."""

    def prolong_leases(self, keys: Sequence[bytes], ms: int) -> None:
        """Let them live for so long from now."""

    def end_lease(self, key: bytes, value: bytes, end: bytes, ms: int) -> None:
        """Let it have the value ``end`` for a while, or go if that is empty; unless it has another
        value than ``value`` now."""


@record
class Holder:
    """Who has a lease; ``average`` of his compiles in seconds, 0 if it is not known."""

    token: bytes
    average: float


def read_value(value: bytes | None) -> Holder | None:
    """Who makes it; None where nobody does."""
    if value is None or value in (DONE, FAILED):
        return None
    token, colon, digits = value[:LONGEST_VALUE].partition(b":")
    known = bool(colon) and digits.isdigit() and len(digits) <= 9
    return Holder(token, int(digits) / 1000 if known else 0.0)


class Patience:
    """How long this machine waits for others. For several threads; seconds of one clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lost = 0.0
        self._at = clock()
        self._compiles = 0
        self._average = 0.0
        self._lock = threading.Lock()

    @property
    def average(self) -> float:
        """Of this machine's own compiles, the last ones above all; 0 as long as there are few."""
        return self._average if self._compiles >= SAMPLES else 0.0

    def compiled(self, seconds: float) -> None:
        """A compile here took so long."""
        with self._lock:
            self._compiles += 1
            share = 1 / min(self._compiles, 100)
            self._average += share * (seconds - self._average)

    def left(self) -> float:
        """So long one may wait now."""
        with self._lock:
            now = self._clock()
            self._lost = max(0.0, self._lost - RECOVERY * (now - self._at))
            self._at = now
            return max(0.0, MOST_LOST - self._lost)

    def waited(self, seconds: float, holder: Holder, *, helped: bool) -> None:
        """It was waited so long; ``helped``: for what could be used."""
        lost = seconds
        if helped:
            mine, theirs = self.average, holder.average
            lost *= 1 - min(1.0, mine / theirs) if mine and theirs else 0.0
        with self._lock:
            self._lost += lost


def pause(waited: float) -> float:
    """How long to sleep before it is looked again, after so many seconds."""
    return min(LONGEST_PAUSE, max(SHORTEST_PAUSE, waited / 8))


@mutable
class Lease:
    """A lease that this machine has. ``works`` says whether its compile goes on."""

    backend: Leasing
    key: bytes
    value: bytes
    works: Callable[[], bool]
    began: float

    def end(self, end: bytes) -> None:
        """Let go of it with DONE, FAILED, or nothing, where the next one is to take it over."""
        try:
            self.backend.end_lease(self.key, self.value, end, DONE_MS)
        except StorageFailed:
            return  # it ends by itself


class Leases:
    """The leases of one tier that this process has. For several threads."""

    def __init__(self) -> None:
        self.patience = Patience()
        self._held: dict[bytes, Lease] = {}
        self._refused_until = 0.0
        self._renewing = False
        self._lock = threading.Lock()

    def value(self) -> bytes:
        """A new one for a lease of this machine."""
        return b"%s:%d" % (os.urandom(8).hex().encode(), int(self.patience.average * 1000))

    @property
    def refused(self) -> bool:
        """Whether a storage has said, lately, that it gives none."""
        return time.monotonic() < self._refused_until

    def refuse(self) -> None:
        """It has said so."""
        self._refused_until = time.monotonic() + REFUSED_SECONDS

    def holds(self, key: bytes) -> bool:
        """Whether this process makes it."""
        return key in self._held

    def begin(self, backend: Leasing, key: bytes, value: bytes, works: Callable[[], bool]) -> Lease:
        """Keep a lease that was taken until ``end``."""
        lease = Lease(backend, key, value, works, time.monotonic())
        with self._lock:
            self._held[key] = lease
            start = not self._renewing
            self._renewing = True
        if start:
            try:
                threading.Thread(target=self._renew, daemon=True).start()
            except RuntimeError:  # no more threads to be had: it ends by itself
                self._renewing = False
        return lease

    def end(self, lease: Lease, end: bytes) -> None:
        """See Lease.end."""
        with self._lock:
            self._held.pop(lease.key, None)
        lease.end(end)

    def _renew(self) -> None:
        while True:
            time.sleep(RENEW_SECONDS)
            with self._lock:
                if not self._held:
                    self._renewing = False
                    return
                held = list(self._held.values())
            self.renew(held, time.monotonic())

    def renew(self, held: Sequence[Lease], now: float) -> None:
        """Prolong those whose compiles go on."""
        groups: dict[int, list[Lease]] = {}
        for lease in held:
            if now - lease.began < MOST_HELD_SECONDS and lease.works():
                groups.setdefault(id(lease.backend), []).append(lease)
        for those in groups.values():
            try:
                those[0].backend.prolong_leases([lease.key for lease in those], LIFE_MS)
            except StorageFailed:
                continue  # who stores there will find out
