"""The daemon's counters, and the texts that show them: distccd's, JSON, and Prometheus's.

distccd's page, whose lines and order are grepped by scripts (src/stats.c):

    argv /distccd
    <distccstats>
    dcc_tcp_accept 12
    ...
    </distccstats>

A job counts when it has ended, so its averages of running jobs look one minute back. Here the jobs
are known, and the averages are those of the last 1, 5 and 15 minutes.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from pycc.record import record, replace

SLICE = 3
"""Seconds of one point of a time series, distccd's."""
MINUTES = (1, 5, 15)
NAME_LIMIT = 1023
"""Bytes of the longest job's name that are shown."""
SHOWN_LIMIT = 200
"""Letters of any other text of a client's that is shown."""
MOST_SHOWN = 100
"""Running jobs that are listed; more are only counted."""
REFUSALS = 20
"""Of the last ones the reasons are kept."""
CLIENTS = 256
"""Addresses that are kept, those that asked last."""

JOBS = {
    "REJ_BAD_REQ": "dcc_rej_bad_req",
    "REJ_OVERLOAD": "dcc_rej_overload",
    "COMPILE_OK": "dcc_compile_ok",
    "COMPILE_ERROR": "dcc_compile_error",
    "COMPILE_TIMEOUT": "dcc_compile_timeout",
    "CLI_DISCONN": "dcc_cli_disconnect",
    "OTHER": "dcc_other",
}
"""Lines by the codes of job summaries, in the page's order."""
_TAXING = ("COMPILE_OK", "COMPILE_ERROR", "COMPILE_TIMEOUT", "CLI_DISCONN")
_REFUSED = {"REJ_BAD_REQ": "no request that can be read", "REJ_OVERLOAD": "no room"}
"""And what is said of those that nobody gave a reason for."""
CACHE = ("hit", "miss", "off")
STATES = ("none", "used", "unusable")
"""No cache was asked for; there is one; there should be one."""


@record
class Machine:
    """What is asked of the system when somebody looks; -1 where it cannot be had. Memory and room
    in MB, the largest process in kB, load as uptime shows it, I/O in sectors a second."""

    running: int = -1
    load: tuple[float, float, float] = (-1.0, -1.0, -1.0)
    waiting: int = -1
    largest: int = -1
    largest_name: str = ""
    io_rate: int = -1
    free_space: int = -1
    free_memory: int = -1


@record
class Running:
    """A job that has its turn."""

    client: str
    compiler: str
    source: str
    seconds: float


@record
class Refusal:
    """A job, or a connection, that was refused; so many ``seconds`` ago."""

    client: str
    source: str
    reason: str
    seconds: float


@record
class Client:
    """An address that connected: its jobs that ended, those that were refused, and how many
    ``seconds`` ago it was heard of."""

    address: str
    jobs: int
    refused: int
    seconds: float


@record
class Snapshot:
    """All counters at one moment."""

    accepted: int
    denied: int
    jobs: dict[str, int]
    cache: dict[str, int]
    cache_faults: dict[str, int]
    cache_state: str
    longest: tuple[str, str, int]
    """Source, compiler, milliseconds."""
    turns: int
    running: int
    average_running: tuple[float, ...]
    compiles: tuple[int, ...]
    """In the last 1, 5 and 15 minutes."""
    uptime: float
    jobs_now: tuple[Running, ...] = ()
    """The oldest MOST_SHOWN of those that run."""
    refusals: tuple[Refusal, ...] = ()
    """The newest first."""
    clients: tuple[Client, ...] = ()
    """Who was heard of last, first."""


class Metrics:
    """Safe for several threads; nothing here waits for anything. ``cache`` is one of STATES."""

    def __init__(
        self, turns: int, clock: Callable[[], float] = time.monotonic, *, cache: str = "none"
    ) -> None:
        self._clock = clock
        self._state = cache
        self._lock = threading.Lock()
        self._turns = turns
        self._began = clock()
        self._accepted = self._denied = self._running = 0
        self._jobs = dict.fromkeys(JOBS, 0)
        self._cache = dict.fromkeys(CACHE, 0)
        self._cache_faults: dict[str, int] = {}
        self._longest = ("none", "none", -1)
        # (slice's number, compiles that ended in it, seconds of running in it)
        self._slices: deque[list[float]] = deque(maxlen=MINUTES[-1] * 60 // SLICE + 1)
        self._seen = self._began
        # number -> (when, address, what tells compiler and source)
        self._now: dict[int, tuple[float, str, Callable[[], tuple[str, str]]]] = {}
        self._number = 0
        # (when, address, source, reason)
        self._refusals: deque[tuple[float, str, str, str]] = deque(maxlen=REFUSALS)
        # address -> [jobs, refused, when]; who was heard of last stands last
        self._clients: dict[str, tuple[int, int, float]] = {}

    def accepted(self, *, allowed: bool, client: str = "") -> None:
        """Somebody connected."""
        with self._lock:
            self._accepted += 1
            self._denied += not allowed
            if not allowed:
                self._refuse(client, "", "denied by the access list")

    def began(
        self, client: str = "", subject: Callable[[], tuple[str, str]] = lambda: ("", "")
    ) -> int:
        """A job has its turn; ``subject`` tells compiler and source to whoever looks. Returns what
        `ended` is to be told."""
        with self._lock:
            self._advance()
            self._running += 1
            self._number += 1
            self._now[self._number] = (self._clock(), client, subject)
            return self._number

    def ended(self, number: int) -> None:
        """It gives the turn back."""
        with self._lock:
            self._advance()
            self._running -= 1
            self._now.pop(number, None)

    def _hear(self, client: str, *, refused: bool) -> None:
        jobs, refusals, _ = self._clients.pop(client, (0, 0, 0.0))
        self._clients[client] = (jobs + (not refused), refusals + refused, self._clock())
        if len(self._clients) > CLIENTS:
            del self._clients[next(iter(self._clients))]

    def _refuse(self, client: str, source: str, reason: str) -> None:
        self._hear(client, refused=True)
        self._refusals.append((self._clock(), client, source[:SHOWN_LIMIT], reason[:SHOWN_LIMIT]))

    def job(
        self,
        code: str,
        *,
        source: str = "",
        compiler: str = "",
        milliseconds: int = 0,
        cache: str,
        client: str = "",
        said: str = "",
    ) -> None:
        """A job came to its end, with the code of its summary; ``said`` is why it was refused."""
        with self._lock:
            self._advance()
            if code in _REFUSED:
                self._refuse(client, source, said or _REFUSED[code])
            else:
                self._hear(client, refused=False)
            self._jobs[code] += 1
            if cache in self._cache:
                self._cache[cache] += 1
            if code in _TAXING:
                self._slices[-1][1] += 1
            if code == "COMPILE_OK" and milliseconds > self._longest[2]:
                self._longest = (source[:NAME_LIMIT], compiler[:NAME_LIMIT], milliseconds)

    def cache_faults(self, counts: Mapping[str, int]) -> None:
        """So often something went wrong with the cache."""
        with self._lock:
            for name, count in counts.items():
                self._cache_faults[name] = self._cache_faults.get(name, 0) + count

    def _advance(self) -> None:
        """Book what has run since the last call, slice by slice."""
        now = self._clock()
        while True:
            number = int(self._seen // SLICE)
            if not self._slices or self._slices[-1][0] != number:
                self._slices.append([number, 0, 0.0])
            until = min(now, (number + 1) * SLICE)
            self._slices[-1][2] += (until - self._seen) * self._running
            self._seen = until
            if until >= now:
                return
            if now - until > SLICE * (self._slices.maxlen or 0):
                # After hours of nothing only the last minutes are worth a step each.
                self._seen = now - SLICE * (self._slices.maxlen or 0)

    def snapshot(self) -> Snapshot:
        """What was counted so far."""
        with self._lock:
            self._advance()
            now = self._clock()
            averages, compiles = [], []
            for minutes in MINUTES:
                first = (now - minutes * 60) // SLICE
                recent = [one for one in self._slices if one[0] > first]
                compiles.append(int(sum(one[1] for one in recent)))
                averages.append(sum(one[2] for one in recent) / (minutes * 60))
            oldest = list(self._now.values())[:MOST_SHOWN]
            clients = [
                Client(address, jobs, refused, now - when)
                for address, (jobs, refused, when) in reversed(self._clients.items())
            ]
            refusals = [
                Refusal(client, source, reason, now - when)
                for when, client, source, reason in reversed(self._refusals)
            ]
            found = Snapshot(
                self._accepted,
                self._denied,
                dict(self._jobs),
                dict(self._cache),
                dict(self._cache_faults),
                self._state,
                self._longest,
                self._turns,
                self._running,
                tuple(averages),
                tuple(compiles),
                now - self._began,
                (),
                tuple(refusals),
                tuple(clients),
            )
        # What tells the names is not ours, and nobody waits for it.
        running = []
        for when, client, subject in oldest:
            compiler, source = subject()
            running.append(
                Running(client, compiler[:SHOWN_LIMIT], source[:SHOWN_LIMIT], now - when)
            )
        return replace(found, jobs_now=tuple(running))


def distccd_page(now: Snapshot, machine: Machine) -> str:
    """What distccd's --stats serves, without the header."""
    rows: list[tuple[str, Any]] = [("dcc_tcp_accept", now.accepted)]
    rows += [(name, now.jobs[code]) for code, name in JOBS.items()]
    rows += zip(
        ("dcc_longest_job", "dcc_longest_job_compiler", "dcc_longest_job_time_msecs"),
        now.longest,
        strict=True,
    )
    rows.append(("dcc_max_kids", now.turns))
    rows += ((f"dcc_avg_kids{n}", int(v)) for n, v in enumerate(now.average_running, 1))
    rows.append(("dcc_current_load", machine.running))
    rows += ((f"dcc_load{n}", f"{value:.2f}") for n, value in enumerate(machine.load, 1))
    rows += ((f"dcc_num_compiles{n}", value) for n, value in enumerate(now.compiles, 1))
    rows += [
        ("dcc_num_procstate_D", machine.waiting),
        ("dcc_max_RSS", machine.largest),
        ("dcc_max_RSS_name", machine.largest_name),
        ("dcc_io_rate", machine.io_rate),
        ("dcc_free_space", f"{machine.free_space} MB"),
        ("dcc_free_mem", f"{machine.free_memory} MB"),
    ]
    lines = "".join(f"{name} {_one_line(value)}\n" for name, value in rows)
    return f"argv /distccd\n<distccstats>\n{lines}</distccstats>\n"


def _one_line(value: object) -> str:
    """Clients choose names of sources; none of them makes a line of its own."""
    return "".join(c if c.isprintable() else "?" for c in str(value))


def json_page(now: Snapshot, machine: Machine) -> str:
    """The same, and the cache's counters, for programs."""
    return (
        json.dumps(
            {
                "accepted": now.accepted,
                "denied": now.denied,
                "jobs": {code.lower(): count for code, count in now.jobs.items()},
                "cache": now.cache,
                "cache_faults": now.cache_faults,
                "cache_state": now.cache_state,
                "longest_job": dict(
                    zip(("source", "compiler", "milliseconds"), now.longest, strict=True)
                ),
                "turns": now.turns,
                "running": now.running,
                "average_running": [round(value, 3) for value in now.average_running],
                "compiles": list(now.compiles),
                "uptime_seconds": round(now.uptime, 3),
                "load": list(machine.load),
                "free_space_mb": machine.free_space,
                "free_memory_mb": machine.free_memory,
                "jobs_now": [
                    {
                        "client": job.client,
                        "compiler": job.compiler,
                        "source": job.source,
                        "seconds": round(job.seconds, 3),
                    }
                    for job in now.jobs_now
                ],
                "refusals": [
                    {
                        "client": one.client,
                        "source": one.source,
                        "reason": one.reason,
                        "seconds_ago": round(one.seconds, 3),
                    }
                    for one in now.refusals
                ],
                "clients": [
                    {
                        "address": one.address,
                        "jobs": one.jobs,
                        "refused": one.refused,
                        "seconds_ago": round(one.seconds, 3),
                    }
                    for one in now.clients
                ],
            },
            indent=1,
        )
        + "\n"
    )


def prometheus_page(now: Snapshot, machine: Machine) -> str:
    """Prometheus's text format, version 0.0.4."""
    lines: list[str] = []

    def metric(name: str, kind: str, text: str, *samples: tuple[str, float]) -> None:
        lines.append(f"# HELP pyccd_{name} {text}")
        lines.append(f"# TYPE pyccd_{name} {kind}")
        lines.extend(f"pyccd_{name}{labels} {value}" for labels, value in samples)

    metric("connections_total", "counter", "Connections accepted.", ("", now.accepted))
    metric("denied_total", "counter", "Connections refused by the access list.", ("", now.denied))
    jobs = ((f'{{code="{code.lower()}"}}', count) for code, count in now.jobs.items())
    metric("jobs_total", "counter", "Jobs by the way they ended.", *jobs)
    cache = ((f'{{result="{result}"}}', count) for result, count in now.cache.items())
    metric("cache_total", "counter", "Jobs by what the cache did for them.", *cache)
    faults = ((f'{{fault="{fault}"}}', count) for fault, count in now.cache_faults.items())
    metric("cache_faults_total", "counter", "What went wrong with the cache.", *faults)
    states = ((f'{{state="{state}"}}', int(state == now.cache_state)) for state in STATES)
    metric("cache_state", "gauge", "Whether there is a cache.", *states)
    metric("turns", "gauge", "Compiles that may run at a time.", ("", now.turns))
    metric("running", "gauge", "Compiles that run now.", ("", now.running))
    longest = max(now.longest[2], 0) / 1000
    metric("longest_job_seconds", "gauge", "The longest job so far.", ("", longest))
    metric("uptime_seconds", "gauge", "Time since the start.", ("", round(now.uptime, 3)))
    metric("load1", "gauge", "The machine's load average.", ("", machine.load[0]))
    free = max(machine.free_space, 0) << 20
    metric("temporary_free_bytes", "gauge", "Room in the temporary directory.", ("", free))
    return "\n".join(lines) + "\n"
