"""What one server knows of hosts and of this machine's own slots, for all its threads.

distcc's clients know nothing of each other and poll lock files once a second; here a job that
finds every slot taken sleeps until one is given back.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from pycc.record import record

from .balance import Balance, No
from .client_log import ClientLog
from .client_settings import ClientSettings
from .daemon_log import Level
from .hosts import HostList, HostSpec, Kind, lock_name
from .monitor_state import JobState, Phase
from .protocol import ProtocolError, Reply, Request
from .transport import Conversation, Fault, connect

PATIENCE: Final = 1.0
"""Seconds after which whoever waits for a slot makes a sign of life."""
TRIES_WITHOUT_BACKOFF: Final = 3  # distcc's
_ENDED_BY_DAEMON: Final = 110 << 8


class Farm:
    """Slots and hosts; safe for several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._balance = Balance()
        self._freed = threading.Condition()
        self.caching: set[str] = set()
        """Lock names of hosts that are known to keep what they compile."""

    @contextmanager
    def slot(
        self,
        hosts: Sequence[HostSpec],
        waiting: Callable[[], None],
        *,
        key: bytes = b"",
        without: Sequence[str] = (),
    ) -> Iterator[HostSpec | None]:
        """A slot of one of the hosts for the time of a ``with``; None when none can be used.
        ``waiting`` is called now and then before; it may raise to give up."""
        host = self._take(hosts, waiting, key, without)
        try:
            yield host
        finally:
            if host is not None:
                with self._freed:
                    self._balance.end(host)
                    self._freed.notify_all()

    def _take(
        self,
        hosts: Sequence[HostSpec],
        waiting: Callable[[], None],
        key: bytes,
        without: Sequence[str],
    ) -> HostSpec | None:
        said = None
        while True:
            with self._freed:
                now = self._clock()
                choice = self._balance.choose(
                    hosts, now, key=key, caching=self.caching, without=without
                )
                if isinstance(choice, HostSpec):
                    self._balance.begin(choice)
                    return choice
                if choice is No.HOSTS:
                    return None
                if said is not None:
                    self._freed.wait(PATIENCE)
            # At once, too: whoever waits for us has been told of no wait yet.
            if said is None or self._clock() - said >= PATIENCE:
                said = self._clock()
                waiting()

    def jobs(self, host: HostSpec) -> int:
        """How many jobs are there now, the caller's included."""
        with self._freed:
            return self._balance.jobs(host)

    def worked(self, host: HostSpec) -> None:
        """See Balance."""
        with self._freed:
            self._balance.worked(host)

    def failed(self, host: HostSpec, most: float) -> float:
        """See Balance."""
        with self._freed:
            pause = self._balance.failed(host, self._clock(), most)
            self._freed.notify_all()
            return pause


def local_hosts(hosts: HostList | None, *, preprocessor: bool = False) -> tuple[HostSpec, ...]:
    """This machine as a host, for what has to run here. Its jobs count together with those that
    the list gives to ``localhost``, and with preprocessors, as in distcc's lock files."""
    known = hosts or HostList()
    slots = known.local_cpp_slots if preprocessor else known.local_slots
    return (HostSpec(Kind.LOCAL, "localhost", slots=slots, spelled="localhost"),)


@record
class Job:
    """One compile that is to run elsewhere. ``argv`` is what is sent, ``source`` the file's name
    for messages, ``launcher`` the descriptor of the connection of whoever waits for it."""

    argv: tuple[bytes, ...]
    source: str
    settings: ClientSettings
    log: ClientLog
    state: JobState
    waiting: Callable[[], None]
    launcher: int | None = None
    key: bytes = b""


@record
class Answer:
    """``host`` compiled it, or refused to."""

    host: HostSpec
    reply: Reply

    @property
    def refused(self) -> bool:
        """Whether a daemon said inside the protocol that it does not want the job."""
        return self.reply.status == _ENDED_BY_DAEMON


def elsewhere(
    farm: Farm, job: Job, text: Callable[[], bytes | None]
) -> Generator[HostSpec | Answer, None, None]:
    """Try hosts, in the order that the farm says, until one answers.

    Yields a HostSpec of this machine when the job is its own; the slot is held until the caller
    goes on. Yields an Answer, and ends. Ends without when nobody can be had, or ``text`` (asked
    once, before the first host) is None. Raises transport.Left, and what ``job.waiting`` raises.
    """
    settings, log = job.settings, job.log
    hosts = list(settings.hosts.hosts) if settings.hosts is not None else []
    if settings.hosts is not None and settings.hosts.randomize:
        random.shuffle(hosts)
    tried: list[str] = []
    known: bytes | None = None
    while True:
        job.state.enter(Phase.BLOCKED)
        with farm.slot(hosts, job.waiting, key=job.key, without=tried) as host:
            if host is None:
                return
            if host.kind is Kind.LOCAL:
                job.state.enter(Phase.COMPILE, host.host, farm.jobs(host) - 1)
                yield host
                return
            if known is None:
                known = text()
                if known is None:
                    return
            answer = _ask(farm, host, job, known)
        if answer is not None:
            yield answer
            return
        if settings.backoff <= 0:
            tried.append(lock_name(host))
            if len(tried) >= TRIES_WITHOUT_BACKOFF:
                log(
                    Level.WARNING,
                    f"Couldn't find a host in {len(tried)} attempts, retrying locally",
                )
                return


def _ask(farm: Farm, host: HostSpec, job: Job, text: bytes) -> Answer | None:
    """None after a fault, which the host answers for."""
    log, slot = job.log, farm.jobs(host) - 1
    version = 2 if host.lzo else 1
    began = time.monotonic()
    words = b" ".join(job.argv).decode(errors="backslashreplace")
    log(Level.INFO, f"exec on {host.spelled}: {words}")
    try:
        job.state.enter(Phase.CONNECT, host.host, slot)
        with connect(host) as connection:
            talk = Conversation(connection, job.settings.io_timeout, job.launcher, job.state.touch)
            job.state.enter(Phase.SEND, host.host, slot)
            talk.send(Request(version, job.argv, text))
            job.state.enter(Phase.COMPILE, host.host, slot)
            reply = talk.receive(version)
    except (Fault, ProtocolError) as problem:
        log(Level.WARNING, f"{host.spelled}: {problem}")
        pause = farm.failed(host, job.settings.backoff)
        if pause:
            log(Level.INFO, f"{host.spelled} is avoided for {pause:.0f} s")
        return None
    farm.worked(host)
    passed = max(time.monotonic() - began, 1e-6)
    rate = len(text) / 1024 / passed
    log(
        Level.INFO,
        f"{len(text)} bytes from {job.source} compiled on {host.host} in {passed:.4f}s,"
        f" rate {rate:.0f}kB/s",
    )
    log.ended("compile", job.source, host.spelled, reply.status)
    return Answer(host, reply)
