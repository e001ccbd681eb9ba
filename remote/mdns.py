"""Multicast DNS by the package zeroconf: finding compile servers, and announcing one.

Each is kept open by a thread of its own, which opens it anew when the addresses of this machine
change: the package joins the networks that are there when it is opened, and a daemon is started
before its network is up, a laptop moved. Whatever fails is said once, and tried again later.

Nothing here is loaded, and no thread started, before somebody asks for it.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from pycc.errors import PyccError
from pycc.record import record

from .discovery import SERVICE, Instances, announced, is_usable, service_of
from .hosts import HostSpec

if TYPE_CHECKING:
    import asyncio

    from zeroconf import ServiceInfo, ServiceStateChange, Zeroconf

LOOK_SECONDS, PAUSE_SECONDS = 15.0, 3.0
"""How often it is looked whether this machine's addresses have changed, and how long it stays
closed before it is opened anew, also where that failed."""
IDLE_SECONDS = 300.0
"""Who looks for servers stops when nobody has asked for so long."""
_RESOLVE_MS, _RESOLVE_TRIES = 3000, 3
MOST_NAMES, MOST_QUESTIONS = 1000, 32
MISSING = "the Python package zeroconf is not installed: pip install zeroconf"
FAILED = "the search has failed; see the server's log (pycc --server-status)"


class Unavailable(PyccError):
    """There is no multicast DNS here; the text says why, and what to do."""


def load() -> None:
    """Load the package. Raises Unavailable."""
    try:
        import ifaddr
        import zeroconf
    except ImportError:
        raise Unavailable(MISSING) from None
    del ifaddr, zeroconf


def addresses_here() -> tuple[str, ...]:
    """The addresses by which others may reach this machine."""
    import ifaddr

    found = (address.ip for adapter in ifaddr.get_adapters() for address in adapter.ips)
    texts = {address if isinstance(address, str) else address[0] for address in found}
    return tuple(sorted(filter(is_usable, texts)))


class Opened(ExitStack):
    """What is open, to be closed together; ``broken`` is called where it cannot go on."""

    def __init__(self, broken: Callable[[str], None]) -> None:
        super().__init__()
        self._broken = broken

    def zeroconf(self) -> Zeroconf:
        """A new instance of the package. Raises what the package raises."""
        from zeroconf import IPVersion, Zeroconf

        try:
            made = Zeroconf(ip_version=IPVersion.All)
        except OSError:  # a kernel without IPv6
            made = Zeroconf(ip_version=IPVersion.V4Only)
        self.callback(made.close)
        loop = made.loop
        if loop is not None:
            loop.call_soon_threadsafe(loop.set_exception_handler, self._handle)
        return made

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Packets of strangers break the package's questions, of which some are then never asked
        again: names that it reads and cannot write, times below zero (seen with 0.154)."""
        del loop
        problem = context.get("exception")
        self._broken(f"the package zeroconf: {problem or context.get('message', '')!s:.200}")


class _Kept(threading.Thread):
    """Keeps open what ``open_in`` opens, until ``wanted`` is false or it is told to close."""

    def __init__(
        self,
        open_in: Callable[[Opened], None],
        wanted: Callable[[], bool],
        failed: Callable[[str], None],
    ) -> None:
        super().__init__(daemon=True)
        self._open_in = open_in
        self._wanted = wanted
        self._failed = failed
        self._closing = threading.Event()
        self._wake = threading.Event()

    def close(self) -> None:
        """End soon."""
        self._closing.set()
        self._wake.set()

    def _break(self, problem: str) -> None:
        self._failed(problem)
        self._wake.set()

    def run(self) -> None:
        ended = FAILED
        try:
            load()
            while self._wanted() and not self._closing.is_set():
                self._once()
                self._closing.wait(PAUSE_SECONDS)
            ended = ""
        except Unavailable as problem:
            ended = str(problem)
        finally:
            self._failed(ended)

    def _once(self) -> None:
        from zeroconf import Error

        with Opened(self._break) as opened:
            try:
                self._wake.clear()
                before = addresses_here()
                self._open_in(opened)
                self._failed("")
            # RuntimeError is the package's word for a machine without interfaces.
            except (Error, OSError, RuntimeError, Unavailable) as problem:
                self._failed(str(problem) or type(problem).__name__)
                return
            if self._closing.is_set():  # before it was cleared
                return
            while not self._wake.wait(LOOK_SECONDS) and self._wanted():
                with suppress(OSError):
                    if addresses_here() != before:
                        return


class Browser:
    """Looks for servers of one kind, as long as somebody asks for them."""

    def __init__(self, kind: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._service = service_of(kind)
        self.began = self._asked = clock()
        self.problem = ""
        """Why nobody can be found; empty if it works."""
        self.settled = False  # there may always be somebody who has not answered yet
        self._instances = Instances()
        self._names: set[str] = set()
        self._lock = threading.Lock()
        self._asking = threading.Semaphore(MOST_QUESTIONS)
        self._kept = _Kept(self._browse, self._wanted, self._note)
        self._kept.start()

    @property
    def alive(self) -> bool:
        """Whether another one would do no better: this one still looks, or it has failed for good,
        as without the package."""
        return self._kept.is_alive() or bool(self.problem)

    def hosts(self) -> tuple[HostSpec, ...]:
        """Who is there now; never waits."""
        self._asked = self._clock()
        with self._lock:
            return self._instances.hosts()

    def close(self) -> None:
        """Stop looking, soon."""
        self._kept.close()

    def _wanted(self) -> bool:
        return self._clock() - self._asked < IDLE_SECONDS

    def _note(self, problem: str) -> None:
        self.problem = problem

    def _browse(self, opened: Opened) -> None:
        from zeroconf import ServiceBrowser

        with self._lock:
            self._instances = Instances()
            self._names.clear()
        zeroconf = opened.zeroconf()
        browser = ServiceBrowser(zeroconf, self._service, handlers=[self._changed])
        opened.callback(browser.cancel)

    def _changed(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        """On the browser's own thread, which must not wait for strangers."""
        from zeroconf import Error, ServiceInfo, ServiceStateChange

        del service_type
        try:
            if state_change is ServiceStateChange.Removed:
                with self._lock:
                    self._names.discard(name)
                    self._instances.remove(name)
                return
            with suppress(Error, OSError, RuntimeError, ValueError):
                info = ServiceInfo(SERVICE, name)
                known = info.load_from_cache(zeroconf)
                with self._lock:
                    if len(self._names) >= MOST_NAMES:
                        return
                    self._names.add(name)
                if known:
                    self._take(name, info)
                elif self._asking.acquire(blocking=False):
                    what = (zeroconf, name, info)
                    threading.Thread(target=self._ask, args=what, daemon=True).start()
        except Exception:  # the thread ends by it, and nobody would know
            self.problem = FAILED
            raise

    def _ask(self, zeroconf: Zeroconf, name: str, info: ServiceInfo) -> None:
        """For who did not say everything at once, as most do."""
        from zeroconf import Error

        try:
            with suppress(Error, OSError, RuntimeError, ValueError):
                for _ in range(_RESOLVE_TRIES):
                    if zeroconf.done or name not in self._names:
                        break
                    if info.request(zeroconf, _RESOLVE_MS):
                        self._take(name, info)
                        break
        finally:
            self._asking.release()

    def _take(self, name: str, info: ServiceInfo) -> None:
        from zeroconf import IPVersion

        host = announced(info.parsed_addresses(IPVersion.All), info.port, info.properties)
        with self._lock:
            if name in self._names:  # else it has gone meanwhile
                self._instances.add(name, host)


@record
class Announcement:
    """What a daemon says of itself. ``kind`` is None where its compiler is not known, ``listen``
    the only address that it listens on, empty for all."""

    kind: str | None
    port: int
    texts: Mapping[str, str]
    listen: str = ""


class Announcer:
    """Announces a daemon until it is closed. ``say`` takes what became of it, a line each."""

    def __init__(self, announcement: Announcement, say: Callable[[str], None]) -> None:
        self._announcement = announcement
        self._say = say
        self._said = ""
        self._kept = _Kept(self._announce, lambda: True, self._note)
        self._kept.start()

    def leave(self) -> None:
        """Take the announcement back, soon; may be called by a signal's handler."""
        self._kept.close()

    def close(self, seconds: float) -> None:
        """The same, and wait for it for at most so long."""
        self.leave()
        self._kept.join(seconds)

    def _note(self, problem: str) -> None:
        if problem and problem != self._said:
            self._say(f"--zeroconf: not announced: {problem}")
        self._said = problem

    def _announce(self, opened: Opened) -> None:
        from zeroconf import ServiceInfo

        what = self._announcement
        addresses = [what.listen] if what.listen else addresses_here()
        if what.listen and not is_usable(what.listen):
            message = f"no other machine can reach {what.listen}: see --listen"
            raise Unavailable(message)
        if not addresses:
            raise Unavailable("this machine has no address by which others can reach it, yet")
        # One label: the package takes a dot for the end of one.
        hostname = socket.gethostname().partition(".")[0][:40] or "localhost"

        def info(service: str, name: str) -> ServiceInfo:
            return ServiceInfo(
                service,
                name,
                port=what.port,
                properties=dict(what.texts),
                # Not the machine's own name, which is Avahi's to answer for.
                server=f"pyccd-{hostname}-{what.port}.local.",
                parsed_addresses=list(addresses),
            )

        zeroconf = opened.zeroconf()
        instance = info(SERVICE, f"distcc@{hostname}.{SERVICE}")
        # A distccd of this machine may have the name already.
        zeroconf.register_service(instance, allow_name_change=True)
        if what.kind is not None:
            # An instance of the package announces a name once, under one type.
            another = opened.zeroconf()
            service = info(service_of(what.kind), instance.name)
            another.register_service(service, cooperating_responders=True)
        name = instance.name.removesuffix(f".{SERVICE}")
        # Stock clients ask for a kind; those without a compiler would ask for any.
        kind = what.kind or "without a compiler's kind, because there is no cc"
        self._say(f"--zeroconf: announced as {name}, {kind}, at {' '.join(addresses)}")
