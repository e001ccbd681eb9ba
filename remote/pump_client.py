"""The client's side of pump mode: which server compiles, and whether its headers are ours."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from .daemon_log import Level
from .farm import Answer, Daemon, Farm, Job, exchange
from .hosts import HostSpec, Kind, lock_name
from .monitor_state import Phase
from .protocol import Request
from .pump_probe import Facts, differing, question


def wanting(farm: Farm, hosts: Sequence[HostSpec]) -> list[HostSpec]:
    """The hosts that are listed with ``,cpp`` and run a stock daemon, as far as that is known, with
    the headers of this machine. (pyccd gets exact jobs.)"""
    return [
        host
        for host in hosts
        if host.cpp
        and not host.down
        and farm.peers.daemon(host) is Daemon.STOCK
        and not farm.headers.different(lock_name(host))
    ]


def pumping(
    farm: Farm, job: Job, request: Callable[[], Request | None]
) -> Generator[HostSpec | Answer, None, None]:
    """Yields an Answer, while the host's slot is held, or the HostSpec of this machine when it is
    its turn; ends without when it is the turn of a host that is sent preprocessed text, or none can
    be had. ``request`` is asked once, if at all. Raises what `farm.elsewhere` raises."""
    hosts = list(job.settings.hosts.hosts) if job.settings.hosts is not None else []
    if job.own_compiler or not any(host.cpp for host in hosts):
        return
    farm.peers.meet(hosts, job.settings)
    pumps = wanting(farm, hosts)
    if not pumps:
        return
    asked = request()
    if asked is None:
        return
    job.state.enter(Phase.BLOCKED)
    with farm.slot(hosts, job.waiting) as host:
        if host is None:
            return
        if host.kind is Kind.LOCAL:
            job.state.enter(Phase.COMPILE, host.host, farm.jobs(host) - 1)
            yield host
        elif host in pumps:
            words = b" ".join(asked.argv).decode(errors="backslashreplace")
            job.log(Level.INFO, f"exec on {host.spelled}: {words}")
            reply = exchange(farm, host, job, asked)
            if reply is not None:
                job.log.ended("compile", job.source, host.spelled, reply.status)
                yield Answer(host, reply)


def another_there(
    farm: Farm,
    host: HostSpec,
    job: Job,
    facts: Facts,
    read: Callable[[bytes, bytes], bytes | None],
    lookups: tuple[object, int] = (None, 0),
    since: object = None,
) -> str:
    """What of the ``facts`` does not hold on the host, or cannot be known; empty if all hold.
    ``read(path, digest)`` gives this machine's content. ``lookups``, by whom their numbers belong
    to, hold if the facts do, and what was known of the host ``since`` then does."""
    name = lock_name(host)
    unknown = farm.headers.unknown(name, facts)
    if not unknown:
        farm.headers.learn(name, unknown, *lookups, since)
        return ""
    asked = question(unknown, job.argv[0], read)
    if isinstance(asked, str):
        return asked
    reply = exchange(farm, host, job, asked.request)
    if reply is None:
        return "its headers cannot be asked for"
    what = differing(asked, reply)
    if what:
        farm.headers.learn_difference(name, what)
        message = f"{host.spelled} has other headers than this machine ({what}); pump mode is off"
        job.log(Level.WARNING, message)
    else:
        farm.headers.learn(name, unknown, *lookups, since)
    return what
