"""What one server knows of hosts and of this machine's own slots, for all its threads.

distcc's clients know nothing of each other and poll lock files once a second; here a job that
finds every slot taken sleeps until one is given back.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import (
    Callable,
    Collection,
    Generator,
    Hashable,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import contextmanager
from enum import Enum
from typing import Final, Protocol

from pycc.record import record

from .balance import Balance, No
from .client_log import ClientLog
from .client_settings import NOTHING_TOLD, ClientSettings
from .connection import (
    EXIT_CONNECT_FAILED,
    EXIT_IO_ERROR,
    EXIT_PROTOCOL_ERROR,
    EXIT_TRUNCATED,
    Connection,
    Fault,
    NoAnswer,
)
from .daemon_log import Level
from .discovery import Register
from .hosts import HostList, HostSpec, Kind, lock_name
from .monitor_state import JobState, Phase
from .protocol import (
    COMPILE,
    EXACT_OFFERED,
    FETCH,
    HELLO,
    OTHER_COMPILER,
    OURS,
    OURS_LZO,
    OURS_PLAIN,
    ProtocolError,
    Reply,
    Request,
    text_digest,
)
from .pump_probe import Known
from .transport import Conversation, Ways

PATIENCE: Final = 1.0
"""Seconds after which whoever waits for a slot makes a sign of life."""
MOST_SENT: Final = 100_000
DISCOVERY_SECONDS: Final = 1.0
MOST_BROWSERS: Final = 4
TRIES_WITHOUT_BACKOFF: Final = 3  # distcc's
_ENDED_BY_DAEMON: Final = 110 << 8


class Browsing(Protocol):
    """Who looks for hosts that announce themselves (mdns.Browser, register.Browser; a fake in
    tests). ``problem``: why nobody can be found; ``settled``: nobody is found by waiting."""

    began: float
    problem: str
    settled: bool

    @property
    def alive(self) -> bool: ...
    def hosts(self) -> tuple[HostSpec, ...]: ...
    def close(self) -> None: ...


def _browse(sought: str | Register) -> Browsing:
    # Most users list their hosts.
    if isinstance(sought, Register):
        from . import register

        return register.Browser(sought.url, sought.kind, sought.options)
    from . import mdns

    return mdns.Browser(sought)


class Farm:
    """Slots and hosts; safe for several threads. ``browse`` begins to look for hosts with a kind of
    compiler, or in a register; None where nobody will be there to hear of them. ``ways`` may be
    another farm's."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        browse: Callable[[str | Register], Browsing] | None = _browse,
        *,
        ways: Ways | None = None,
    ) -> None:
        self._clock = clock
        self._browse = browse
        self._browsers: dict[str | Register, Browsing] = {}
        self._browsers_lock = threading.Lock()
        self.kinds: dict[Hashable, str | None] = {}
        """Kinds of compilers (discovery.kind_of), by what tells the compilers apart."""
        self._balance = Balance()
        self._freed = threading.Condition()
        self.ways = ways or Ways()
        self.peers = Peers(clock, self.ways)
        self.headers = Known(clock)
        self._sent: dict[str, set[bytes]] = {}

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
                    hosts, now, key=key, caching=self.peers.all_ours(), without=without
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

    def announced(
        self, sought: str | Register, settings: ClientSettings = NOTHING_TOLD
    ) -> tuple[tuple[HostSpec, ...], str]:
        """The hosts that announce themselves with this kind of compiler, or in this register, and
        have answered, and why there can be none. Waits for the first of them until
        DISCOVERY_SECONDS after the first question, and never again."""
        browser = self._browser(sought)
        if browser is None:
            return (), "hosts that announce themselves are known to a resident server alone"
        while True:
            found = browser.hosts()
            self.peers.ask(found, settings)
            # Who does not answer is not worth the time of a compile to find that out.
            there = tuple(host for host in found if self.peers.answered(host))
            late = self._clock() - browser.began >= DISCOVERY_SECONDS
            if there or late or browser.problem or (browser.settled and not found):
                return there, browser.problem
            time.sleep(0.01)

    def _browser(self, sought: str | Register) -> Browsing | None:
        if self._browse is None:
            return None
        with self._browsers_lock:
            browser = self._browsers.get(sought)
            if browser is None or not browser.alive:
                while len(self._browsers) >= MOST_BROWSERS:
                    self._browsers.pop(next(iter(self._browsers))).close()
                browser = self._browsers[sought] = self._browse(sought)
            return browser

    def close(self) -> None:
        """Stop looking for hosts, and end the connections that jobs share."""
        self.ways.close()
        self.stop_looking()

    def stop_looking(self) -> None:
        """Look for no hosts until somebody asks for them again."""
        with self._browsers_lock:
            for browser in self._browsers.values():
                browser.close()
            self._browsers.clear()

    def keepers(self, hosts: Sequence[HostSpec], key: bytes) -> list[HostSpec]:
        """See Balance."""
        with self._freed:
            return self._balance.keepers(hosts, self._clock(), key, self.peers.all_ours())

    def sent_to(self, host: HostSpec) -> Collection[bytes]:
        """Digests of contents that the host got from us; it may have let go of them."""
        return self._sent.get(lock_name(host), frozenset())

    def note_sent(self, host: HostSpec, digests: Iterable[bytes]) -> None:
        """It has got these now."""
        with self._freed:
            known = self._sent.setdefault(lock_name(host), set())
            if len(known) > MOST_SENT:
                known.clear()
            known.update(digests)

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


PEER_SECONDS, FAULT_SECONDS = 600.0, 20.0
"""So long it is remembered whether a host runs our daemon, and that it could not be asked."""
GREETING_SECONDS = 0.5
"""What a build may lose to hosts that do not answer, once in that time."""


class Daemon(Enum):
    """What runs on a host."""

    OURS = "pyccd"
    STOCK = "distccd, which gets what it understands"
    UNKNOWN = "nobody has said yet; it is asked as ours"


_Peer = tuple[str, str, str, bool, bool]


def _peer(host: HostSpec) -> _Peer:
    """What tells daemons apart: on one machine ssh may start several."""
    return (lock_name(host), host.user, host.command, host.tls, host.auth)


class Peers:
    """Which hosts run pyccd; safe for several threads.

    A stock distccd closes the connection on a version that it does not know, and that alone makes
    a host stock: to one that was slow or away a job goes in our own words, because these carry the
    compiler's identity, which a stock daemon cannot compare. Who is there is asked of all hosts of
    a list together, before the first job, because jobs are best given from the first one on to the
    server that keeps their results."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, ways: Ways | None = None
    ) -> None:
        self._clock = clock
        self._ways = ways or Ways()
        self._known: dict[_Peer, tuple[float, Daemon]] = {}
        self._exact: set[_Peer] = set()
        self._asking: dict[_Peer, threading.Thread] = {}
        self._lock = threading.Lock()

    def daemon(self, host: HostSpec) -> Daemon:
        """What runs there, as far as it is known."""
        if host.kind is Kind.LOCAL:
            return Daemon.STOCK
        return self._known.get(_peer(host), (0.0, Daemon.UNKNOWN))[1]

    def exact(self, host: HostSpec) -> bool:
        """Whether ours runs there, and serves exact jobs."""
        return _peer(host) in self._exact and self.daemon(host) is Daemon.OURS

    def all_ours(self) -> set[str]:
        """The lock names of all that run ours."""
        known = self._known.copy()
        return {peer[0] for peer, (_, daemon) in known.items() if daemon is Daemon.OURS}

    def note(self, host: HostSpec, daemon: Daemon) -> None:
        """This is what runs there."""
        seconds = FAULT_SECONDS if daemon is Daemon.UNKNOWN else PEER_SECONDS
        self._known[_peer(host)] = (self._clock() + seconds, daemon)

    def doubt(self, host: HostSpec) -> None:
        """Something went wrong there: another daemon may come up, so it is asked again soon."""
        self._known[_peer(host)] = (self._clock() + FAULT_SECONDS, self.daemon(host))

    def answered(self, host: HostSpec) -> bool:
        """Whether it has said, once, what runs there."""
        return self._known.get(_peer(host), (0.0, Daemon.UNKNOWN))[1] is not Daemon.UNKNOWN

    def meet(self, hosts: Sequence[HostSpec], settings: ClientSettings = NOTHING_TOLD) -> None:
        """Ask those hosts that are not known; returns after GREETING_SECONDS at the latest, and
        at once where all have been asked before."""
        waited = self.ask(hosts, settings)
        end = time.monotonic() + GREETING_SECONDS
        for thread in waited:
            thread.join(max(0.0, end - time.monotonic()))

    def ask(
        self, hosts: Sequence[HostSpec], settings: ClientSettings = NOTHING_TOLD
    ) -> list[threading.Thread]:
        """The same without waiting; the threads that ask those who were never asked before."""
        now = self._clock()
        waited: list[threading.Thread] = []
        for host in hosts:
            peer = _peer(host)
            known = self._known.get(peer)
            if host.kind is Kind.LOCAL or host.down or (known is not None and now < known[0]):
                continue
            with self._lock:
                thread = self._asking.get(peer)
                if thread is None:
                    words = (host, settings)
                    thread = threading.Thread(target=self._greet, args=words, daemon=True)
                    self._asking[peer] = thread
                    thread.start()
            if known is None:
                waited.append(thread)
        return waited

    def _greet(self, host: HostSpec, settings: ClientSettings) -> None:
        before = daemon = self.daemon(host)
        try:
            said = self._hello(host, settings)
            daemon = Daemon.OURS if said[0].startswith(b"pyccd ") else Daemon.STOCK
            (self._exact.add if EXACT_OFFERED in said else self._exact.discard)(_peer(host))
        except NoAnswer:
            daemon = Daemon.STOCK
        except Fault as problem:
            garbled = problem.status in (EXIT_TRUNCATED, EXIT_PROTOCOL_ERROR)
            daemon = Daemon.STOCK if garbled else Daemon.UNKNOWN
        finally:
            if daemon is Daemon.UNKNOWN and before is not Daemon.UNKNOWN:
                self.doubt(host)
            else:
                self.note(host, daemon)
            with self._lock:
                self._asking.pop(_peer(host), None)

    def _hello(self, host: HostSpec, settings: ClientSettings) -> list[bytes]:
        """The lines of what it says of itself. Raises Fault."""
        connection = self._ways.connect(host, settings)
        try:
            talk = Conversation(connection, 10 * GREETING_SECONDS)
            talk.send(Request(OURS_PLAIN, (HELLO,)))
            said = talk.receive(OURS_PLAIN).out
        except BaseException:
            connection.close()
            raise
        self._ways.keep(host, settings, connection)
        return said.split(b"\n")


@record
class Job:
    """One compile that is to run elsewhere. ``argv`` is what is sent, ``source`` the file's name
    for messages, ``launcher`` the descriptor of the connection of whoever waits for it.
    ``identity`` is the compiler's, for hosts that can compare it; empty if it is not known.
    ``own_compiler``: it is one that others can hardly have, so that no host gets the job which
    cannot compare."""

    argv: tuple[bytes, ...]
    source: str
    settings: ClientSettings
    log: ClientLog
    state: JobState
    waiting: Callable[[], None]
    launcher: int | None = None
    identity: bytes = b""
    own_compiler: bool = False


@record
class Answer:
    """``host`` compiled it, or refused to."""

    host: HostSpec
    reply: Reply

    @property
    def refused(self) -> bool:
        """Whether a daemon said inside the protocol that it does not want the job."""
        return self.reply.status == _ENDED_BY_DAEMON

    @property
    def compared(self) -> bool:
        """Whether the host would have said if its compiler were not the one of ``Job.identity``."""
        return self.reply.version in OURS

    @property
    def other_compiler(self) -> bool:
        """Whether the host has none that would give the same."""
        return self.compared and self.reply.status == OTHER_COMPILER << 8


def elsewhere(
    farm: Farm, job: Job, text: Callable[[], bytes | None]
) -> Generator[HostSpec | Answer, None, None]:
    """Try hosts, in the order that the farm says, until one answers.

    Yields a HostSpec of this machine when the job is its own; the slot is held until the caller
    goes on. Yields an Answer, and ends, unless it says ``other_compiler``. Ends without when nobody
    can be had, or ``text`` (asked once, before the first host) is None. Raises transport.Left, and
    what ``job.waiting`` raises.
    """
    settings, log = job.settings, job.log
    hosts = list(settings.hosts.hosts) if settings.hosts is not None else []
    if settings.hosts is not None and settings.hosts.randomize:
        random.shuffle(hosts)
    tried: list[str] = []
    known: bytes | None = None
    faults = 0
    key = b""
    farm.peers.meet(hosts, settings)
    if job.own_compiler:
        hosts = [h for h in hosts if h.kind is Kind.LOCAL or farm.peers.daemon(h) is Daemon.OURS]
    if job.identity and farm.peers.all_ours():
        known = text()
        if known is None:
            return
        key = text_digest(known)
        for keeper in farm.keepers(hosts, key):
            answer = _fetch(farm, keeper, job, key)
            if answer is not None:
                yield answer
                if not answer.other_compiler:
                    return
                tried.append(lock_name(keeper))
    while True:
        job.state.enter(Phase.BLOCKED)
        with farm.slot(hosts, job.waiting, key=key, without=tried) as host:
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
            answer = _compile(farm, host, job, known)
        if answer is not None and answer.other_compiler:
            tried.append(lock_name(host))
            yield answer
            continue
        if answer is not None:
            yield answer
            return
        if settings.backoff <= 0:
            tried.append(lock_name(host))
            faults += 1
            if faults >= TRIES_WITHOUT_BACKOFF:
                what = f"Couldn't find a host in {faults} attempts, retrying locally"
                log(Level.WARNING, what)
                return


def exchange(
    farm: Farm, host: HostSpec, job: Job, request: Request, *, to_whom: Daemon = Daemon.OURS
) -> Reply | None:
    """One request and its answer; None after a fault, which the host answers for. Raises NoAnswer
    where it was not known what runs there (``to_whom``, when the request was made)."""
    slot = max(farm.jobs(host) - 1, 0)
    try:
        job.state.enter(Phase.CONNECT, host.host, slot)
        reply = _again(farm, host, job, request, slot)
        if reply is None:
            connection = farm.ways.connect(host, job.settings)
            reply = _ask(farm, host, job, request, slot, connection)
    except (Fault, ProtocolError) as problem:
        if isinstance(problem, NoAnswer) and to_whom is Daemon.UNKNOWN:
            raise
        job.log(Level.WARNING, f"{host.spelled}: {problem}")
        farm.peers.doubt(host)
        pause = farm.failed(host, job.settings.backoff)
        if pause:
            job.log(Level.INFO, f"{host.spelled} is avoided for {pause:.0f} s")
        return None
    farm.worked(host)
    return reply


def _again(farm: Farm, host: HostSpec, job: Job, request: Request, slot: int) -> Reply | None:
    """The answer on a connection that is there already; None where there is none, or it had
    ended."""
    connection = farm.ways.again(host, job.settings) if request.version in OURS else None
    if connection is None:
        return None
    try:
        return _ask(farm, host, job, request, slot, connection)
    except Fault as problem:
        ended = problem.status in (EXIT_IO_ERROR, EXIT_CONNECT_FAILED)
        if ended or isinstance(problem, NoAnswer):
            return None
        raise


def _ask(
    farm: Farm, host: HostSpec, job: Job, request: Request, slot: int, connection: Connection
) -> Reply:
    try:
        talk = Conversation(connection, job.settings.io_timeout, job.launcher, job.state.touch)
        job.state.enter(Phase.SEND, host.host, slot)
        talk.send(request)
        job.state.enter(Phase.COMPILE, host.host, slot)
        reply = talk.receive(request.version)
    except BaseException:
        connection.close()
        raise
    if request.version in OURS:
        farm.ways.keep(host, job.settings, connection)
    else:
        connection.close()
    return reply


def _fetch(farm: Farm, host: HostSpec, job: Job, digest: bytes) -> Answer | None:
    """What the host keeps of the text with this digest."""
    version = OURS_LZO if host.lzo else OURS_PLAIN
    argv = (FETCH, job.identity.hex().encode(), digest.hex().encode(), *job.argv)
    reply = exchange(farm, host, job, Request(version, argv))
    if reply is None:
        return None
    answer = Answer(host, reply)
    if reply.status:
        return answer if answer.other_compiler else None
    job.log(Level.INFO, f"{job.source} was known on {host.host}")
    job.log.ended("compile", job.source, host.spelled, 0)
    return answer


def _request(host: HostSpec, job: Job, text: bytes, to_whom: Daemon) -> Request:
    if to_whom is Daemon.STOCK:
        return Request(2 if host.lzo else 1, job.argv, text)
    argv = (COMPILE, job.identity.hex().encode(), *job.argv)
    return Request(OURS_LZO if host.lzo else OURS_PLAIN, argv, text)


def _compile(farm: Farm, host: HostSpec, job: Job, text: bytes) -> Answer | None:
    words = b" ".join(job.argv).decode(errors="backslashreplace")
    job.log(Level.INFO, f"exec on {host.spelled}: {words}")
    began = time.monotonic()
    # What is known may change while the job is on its way.
    to_whom = farm.peers.daemon(host)
    try:
        request = _request(host, job, text, to_whom)
        reply = exchange(farm, host, job, request, to_whom=to_whom)
    except NoAnswer:
        to_whom = Daemon.STOCK
        farm.peers.note(host, to_whom)
        request = _request(host, job, text, to_whom)
        reply = exchange(farm, host, job, request, to_whom=to_whom)
    if reply is None:
        return None
    passed = max(time.monotonic() - began, 1e-6)
    rate = len(text) / 1024 / passed
    job.log(
        Level.INFO,
        f"{len(text)} bytes from {job.source} compiled on {host.host} in {passed:.4f}s,"
        f" rate {rate:.0f}kB/s",
    )
    job.log.ended("compile", job.source, host.spelled, reply.status)
    return Answer(host, reply)
