"""The register of compile servers in a Redis server: writing oneself down, reading who is there.

What stands in it is membership.py's. Each is done by a thread of its own, so that nobody who
compiles waits for Redis but for the very first answer. Where Redis is away, readers go on with
whom they knew for STALE_SECONDS: the servers are probably still there, and one that is not is
avoided as any other host.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from pycc.cache.remote_backend import StorageFailed
from pycc.cache.remote_resp import PORT, SCHEMES, Redis, raised
from pycc.cache.remote_url import Url, parse_url
from pycc.errors import ConfigError, PyccError
from pycc.record import replace

from .discovery import MOST_HOSTS, is_usable
from .hosts import HostSpec, lock_name
from .membership import (
    HEARTBEAT_SECONDS,
    INDEX,
    LARGEST,
    LIFE_SECONDS,
    LONGEST_NAME,
    Member,
    key_of,
    pack,
    unpack,
)

IDLE_SECONDS = 300.0
"""Who reads stops when nobody has asked for so long."""
STALE_SECONDS = 120.0
CONNECT_SECONDS, DATA_SECONDS, WHOLE_SECONDS = 1.0, 2.0, 3.0
BEATS_TO_PRUNE = 12
FAILED = "the search has failed; see the server's log (pycc --server-status)"
_ELSEWHERE = ("192.0.2.1", 9)  # RFC 5737: nothing is sent there


class Unreachable(PyccError):
    """No other machine could reach this daemon; the text says why, and what to do."""


def url_of(text: str) -> Url:
    """The URL of a register. Raises ConfigError."""
    url = parse_url(text)
    if url.scheme not in SCHEMES:
        raise ConfigError(f'"{url.shown()}" is no URL of Redis: write redis://HOST[:PORT][/DB]')
    return url


def open_redis(url: Url) -> Redis:
    """Raises ConfigError; nothing is asked yet. Loads all that asking will need: the user that a
    daemon becomes may not be able to read where Python lies."""
    codecs.lookup("idna")  # of every name and address that is connected to
    return Redis(url, connect=CONNECT_SECONDS, data=DATA_SECONDS, whole=WHOLE_SECONDS)


def is_here(url: Url) -> bool:
    """Whether the Redis server is on this machine, as the URL tells."""
    if url.scheme == "redis+unix" or url.host in ("", "localhost"):
        return True
    try:
        return ip_address(url.host).is_loopback
    except ValueError:
        return False


def members(redis: Redis, *, here: bool) -> tuple[Member, ...]:
    """Who is there now, MOST_HOSTS at most. Raises StorageFailed."""
    limit = b"%d" % (MOST_HOSTS - 1)
    names = redis.ask_for_list(
        b"ZREVRANGE", INDEX, b"0", limit, most_items=MOST_HOSTS, most=LONGEST_NAME
    )
    keys = sorted(key_of(name) for name in names if isinstance(name, bytes))
    if not keys:
        return ()
    said = redis.ask_for_list(b"MGET", *keys, most_items=len(keys), most=LARGEST)
    found = (unpack(text, here=here) for text in said if isinstance(text, bytes))
    return tuple(member for member in found if member is not None)


class Browser:
    """Reads a register as long as somebody asks; for servers with a ``kind`` of compiler, any where
    it is empty, which get ``options`` of the host list."""

    def __init__(
        self,
        url: str,
        kind: str,
        options: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._kind = kind
        self._options = options
        self._hosts: tuple[HostSpec, ...] = ()
        self._known = self.began = self._asked = clock()
        self.problem = ""
        """Why nobody can be found; empty if it works."""
        self.settled = False
        """Whether Redis has answered, once."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        try:
            parsed = url_of(url)
            self._here = is_here(parsed)
            self._shown = parsed.shown()
            self._redis = open_redis(parsed)
        except ConfigError as problem:
            self.problem = str(problem)
            return
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether another one would do no better."""
        return self._thread.is_alive() or bool(self.problem)

    def hosts(self) -> tuple[HostSpec, ...]:
        """Who is there now; never waits."""
        self._asked = self._clock()
        return self._hosts

    def close(self) -> None:
        """Stop reading, soon."""
        self._closing.set()

    def _run(self) -> None:
        ended = FAILED
        try:
            while not self._closing.is_set() and self._clock() - self._asked < IDLE_SECONDS:
                self.look()
                self._closing.wait(HEARTBEAT_SECONDS)
            ended = ""
        finally:
            self.problem = ended
            self._redis.close()

    def look(self) -> None:
        """Ask once."""
        try:
            there = members(self._redis, here=self._here)
        except StorageFailed as problem:
            if self._hosts and self._clock() - self._known < STALE_SECONDS:
                return
            self._hosts = ()
            self.problem = f"{self._shown}: {problem}"
            return
        found: dict[str, HostSpec] = {}
        for member in there:
            if member.has(self._kind):
                host = member.host(self._options)
                found.setdefault(lock_name(host), host)
        self._hosts = tuple(found.values())
        self._known = self._clock()
        self.settled, self.problem = True, ""


class Announcer:
    """Writes a daemon down until it is closed. ``describe`` tells what does not change of it, but
    for its address, and may take its time; ``running`` how many jobs it has now; ``listen`` is the
    only address that it listens on, empty for all. ``say`` takes what became of it, a line each."""

    def __init__(
        self,
        url: Url,
        listen: str,
        describe: Callable[[], Member],
        running: Callable[[], int],
        say: Callable[[str], None],
    ) -> None:
        """Raises ConfigError."""
        self._url = url
        self._redis = open_redis(url)
        self._listen = listen
        self._describe = describe
        self._running = running
        self._say = say
        self._said = ""
        self._beats = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Take the announcement back, soon; may be called by a signal's handler."""
        self._closing.set()

    def close(self, seconds: float) -> None:
        """The same, and wait for it for at most so long."""
        self.leave()
        self._thread.join(seconds)

    def _run(self) -> None:
        described = self._describe()
        written: Member | None = None
        while not self._closing.is_set():
            try:
                member = replace(
                    described,
                    address=reachable_at(self._url, self._listen),
                    running=self._running(),
                    load=_load(),
                )
                if written is not None and written.name != member.name:
                    self._forget(written)
                written = member
                self._write(member)
                self._note("", f"announced as {member.name.decode()} in {self._url.shown()}")
            except (StorageFailed, Unreachable) as problem:
                self._note(str(problem), f"not announced in {self._url.shown()}: {problem}")
            self._closing.wait(HEARTBEAT_SECONDS)
        if written is not None:
            with contextlib.suppress(StorageFailed):
                self._forget(written)
        self._redis.close()

    def _note(self, problem: str, line: str) -> None:
        if self._said != problem or (not problem and self._beats == 0):
            self._say(f"--announce: {line}")
        self._said = problem
        self._beats += not problem

    def _write(self, member: Member) -> None:
        life = b"%d" % int(LIFE_SECONDS * 1000)
        replies = self._redis.ask_all(
            [
                (b"SET", key_of(member.name), pack(member), b"PX", life),
                (b"ZADD", INDEX, b"%d" % time.time(), member.name),
            ]
        )
        for reply in replies:
            raised(reply)
        if self._beats % BEATS_TO_PRUNE == 0:
            self._prune()

    def _prune(self) -> None:
        """Take the names out of whom nothing has been heard: those of the longest silence."""
        limit = b"%d" % (MOST_HOSTS - 1)
        names = self._redis.ask_for_list(
            b"ZRANGE", INDEX, b"0", limit, most_items=MOST_HOSTS, most=LARGEST
        )
        known = [name for name in names if isinstance(name, bytes)]
        there = self._redis.ask_all([(b"EXISTS", key_of(name)) for name in known])
        gone = [name for name, count in zip(known, there, strict=True) if count == 0]
        if gone:
            self._redis.ask(b"ZREM", INDEX, *gone)

    def _forget(self, member: Member) -> None:
        self._redis.ask_all([(b"DEL", key_of(member.name)), (b"ZREM", INDEX, member.name)])


def reachable_at(url: Url, listen: str) -> str:
    """The address by which clients of this register reach a daemon here: the only one that it
    listens on, or the one from which Redis is reached. Raises Unreachable."""
    here = is_here(url)
    if listen and not ip_address(listen).is_unspecified:
        if not is_usable(listen) and not (here and ip_address(listen).is_loopback):
            raise Unreachable(f"no other machine can reach {listen}: see --listen")
        return listen
    way = _ELSEWHERE if here else (url.host, int(url.port or PORT))
    found = _address_towards(way)
    if found and is_usable(found):
        return found
    if here:
        return "127.0.0.1"
    raise Unreachable("this machine has no address by which others can reach it, yet")


def _address_towards(way: tuple[str, int]) -> str:
    """This machine's address on the way there; nothing is sent."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(*way, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(place)
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def _load() -> float:
    try:
        return os.getloadavg()[0]
    except OSError:
        return 0.0
