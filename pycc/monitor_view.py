"""What the live monitor shows: what is known of the farm in, lines of text out, no I/O.

Everything that came from a client or a host can be shown on a terminal already (running_jobs.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from .record import record
from .remote.hosts import HostList, HostSpec, Kind
from .remote.monitor_state import Phase
from .remote.running_jobs import RunningJob
from .remote.stats_client import ServerCounts

WINDOW = 10.0
"""Seconds over which rates are taken."""
PAUSE = 10.0
"""A build has ended when for so many seconds nothing ran and nothing was counted."""
LEAST_JOBS = 3
"""Lines that jobs get on a small screen, whatever else there is."""

_ON_A_HOST = (Phase.CONNECT, Phase.PREPROCESS, Phase.SEND, Phase.COMPILE, Phase.RECEIVE)


# ---- what the statistics say ---------------------------------------------------------------


@record
class Counts:
    """Calls since some moment. ``remote`` and ``local`` are misses, by where they were compiled;
    ``failed`` are compiles that gave no object, ``other`` calls that the cache is not for."""

    hits: int = 0
    misses: int = 0
    remote: int = 0
    failed: int = 0
    other: int = 0

    @property
    def local(self) -> int:
        return max(self.misses - self.remote, 0)

    @property
    def all(self) -> int:
        return self.hits + self.misses + self.failed + self.other

    def since(self, before: Counts) -> Counts:
        return Counts(
            max(self.hits - before.hits, 0),
            max(self.misses - before.misses, 0),
            max(self.remote - before.remote, 0),
            max(self.failed - before.failed, 0),
            max(self.other - before.other, 0),
        )


_HITS = ("direct_cache_hit", "preprocessed_cache_hit")
_REMOTE = ("pycc_farm_exact", "pycc_farm_known", "pycc_farm_compiled")
_FAILED = ("compile_failed", "preprocessor_error")
_OTHER = (
    "autoconf_test",
    "bad_compiler_arguments",
    "called_for_link",
    "called_for_preprocessing",
    "disabled",
    "multiple_source_files",
    "no_input_file",
    "output_to_stdout",
    "unsupported_code_directive",
    "unsupported_compiler_option",
    "unsupported_environment_variable",
    "unsupported_source_language",
)


def counts_of(files: Iterable[Mapping[str, int]]) -> Counts:
    """The sums of several statistics files."""
    tables = list(files)

    def total(names: Iterable[str]) -> int:
        return sum(table.get(name, 0) for table in tables for name in names)

    return Counts(
        total(_HITS), total(("cache_miss",)), total(_REMOTE), total(_FAILED), total(_OTHER)
    )


@record
class Pace:
    """What was counted in the last ``seconds``; 0 seconds where there is nothing to compare."""

    counts: Counts = Counts()
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.counts.all / self.seconds if self.seconds > 0 else 0.0


class Course:
    """The counters over time; times are seconds of one clock."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, Counts]] = deque()
        self._base: tuple[float, Counts] | None = None
        self._active = 0.0

    def note(self, now: float, counts: Counts, running: int) -> None:
        """What is counted, and how many jobs run, at ``now``."""
        before = self._points[-1] if self._points else None
        if before is None or counts.all < before[1].all:  # somebody zeroed them
            self._points.clear()
            self._base = (now, counts)
            self._active = now
        elif running or counts != before[1]:
            if now - self._active > PAUSE:
                self._base = before
            self._active = now
        self._points.append((now, counts))
        while len(self._points) > 2 and self._points[1][0] <= now - WINDOW:
            self._points.popleft()

    @property
    def lately(self) -> Pace:
        """The last WINDOW seconds."""
        return self._between(self._points[0] if self._points else None)

    @property
    def build(self) -> Pace:
        """From the last moment at which something began after a pause, until nothing went on."""
        whole = self._between(self._base)
        if self._base is None:
            return whole
        return Pace(whole.counts, max(min(whole.seconds, self._active - self._base[0]), 0.0))

    def _between(self, first: tuple[float, Counts] | None) -> Pace:
        if first is None:
            return Pace()
        now, counts = self._points[-1]
        return Pace(counts.since(first[1]), now - first[0])


# ---- hosts ---------------------------------------------------------------------------------


@record
class HostRow:
    """One host, by its name: daemons of one host on several ports have one line, because clients
    write down no port. ``slots`` is 0 where no list names it."""

    name: str
    slots: int
    used: int
    down: bool = False
    servers: tuple[ServerCounts, ...] = ()


def stats_place(spec: HostSpec) -> tuple[str, int] | None:
    """Where a host may serve statistics: after the port of jobs, as 3633 follows 3632."""
    if spec.kind is not Kind.TCP or spec.down or spec.port >= 65535:
        return None
    return spec.host, spec.port + 1


def host_rows(
    known: HostList | None,
    jobs: Iterable[RunningJob],
    servers: Mapping[tuple[str, int], ServerCounts],
) -> list[HostRow]:
    """The hosts of the list in its order, then others that have jobs."""
    used: dict[str, int] = {}
    for job in jobs:
        if job.phase in _ON_A_HOST and job.host:
            used[job.host] = used.get(job.host, 0) + 1
    rows: dict[str, HostRow] = {}
    specs = known.hosts if known is not None else ()
    for spec in specs:
        place = stats_place(spec)
        said = (servers[place],) if place is not None and place in servers else ()
        name = spec.host[:127]  # as much as a state file holds
        old = rows.get(name, HostRow(name, 0, used.pop(name, 0), True))
        slots = old.slots + (0 if spec.down else spec.slots)
        rows[name] = HostRow(name, slots, old.used, old.down and spec.down, old.servers + said)
    for name, count in sorted(used.items()):
        slots = (known or HostList()).local_slots if name == "localhost" else 0
        rows[name] = HostRow(name, slots, count)
    return list(rows.values())


# ---- lines ---------------------------------------------------------------------------------


@record
class Look:
    """All that is shown at one moment; ``now`` in seconds since 1970, ``clock`` is its text."""

    now: float
    clock: str
    jobs: Sequence[RunningJob]
    hosts: Sequence[HostRow]
    total: Counts
    lately: Pace
    build: Pace
    users: Mapping[int, str]
    load: float = -1.0
    problem: str = ""
    """With the host list."""


def lines(look: Look, width: int = 0, height: int = 0) -> list[str]:
    """The screen, cut to ``width`` columns and ``height`` lines; 0 cuts nothing."""
    head = [_title(look), *_figures(look)]
    if look.problem:
        head.append(f"Hosts: {look.problem}")
    hosts = [_host(row) for row in look.hosts]
    jobs = [_job(job, look) for job in look.jobs]
    table = ["", _HOSTS, *hosts] if hosts else []
    if height:
        # Both tables may be longer than the screen; jobs keep some lines, hosts get the others.
        room = height - len(head) - 2
        needed = min(len(jobs), max(LEAST_JOBS, room - len(table)))
        table = _cut(table, max(room - needed, 0), len(hosts), "hosts")
        jobs = _cut(jobs, max(room - len(table), 0), len(jobs), "jobs")
    shown = [*head, *table, "", _JOBS, *jobs]
    if height:
        shown = shown[:height]
    return [line[:width].rstrip() if width else line.rstrip() for line in shown]


def _cut(rows: list[str], room: int, count: int, what: str) -> list[str]:
    if len(rows) <= room:
        return rows
    kept = rows[: max(room - 1, 0)]
    hidden = len(rows) - len(kept)
    return [*kept, f"  ... {min(hidden, count)} more {what}"] if room else []


def _title(look: Look) -> str:
    load = f"   load {look.load:.2f}" if look.load >= 0 else ""
    return f"pycc monitor   {look.clock}   {len(look.jobs)} jobs running{load}"


def _figures(look: Look) -> list[str]:
    build, lately, total = look.build.counts, look.lately, look.total
    rate = f"{look.build.rate:.1f}/s" if look.build.seconds > 0 else "-"
    done = (
        f"Build: {build.all} done in {_duration(look.build.seconds)} ({rate}):"
        f" {build.hits} hits, {build.misses} misses ({build.remote} remote, {build.local} local),"
        f" {build.failed} failed, {build.other} not cached"
    )
    cache = (
        f"Last {lately.seconds:.0f} s: {lately.rate:.1f} jobs/s, hits {_share(lately.counts)}"
        f"   Cache: {total.hits} hits, {total.misses} misses, hits {_share(total)}"
    )
    return [done, cache]


def _share(counts: Counts) -> str:
    asked = counts.hits + counts.misses
    return f"{100 * counts.hits / asked:.0f} %" if asked else "-"


_HOSTS = f"{'Host':<30} {'used':>5} {'slots':>5} {'free':>5}  what its daemon says"
_JOBS = f"{'pid':>7}  {'phase':<10}  {'age':>6} {'in it':>6}  {'file':<30} {'host[slot]':>24}  user"


def _host(row: HostRow) -> str:
    slots = f"{row.slots:5d} {max(row.slots - row.used, 0):5d}" if row.slots else "    ?     ?"
    said = "; ".join(map(_server, row.servers))
    return f"{row.name:<30.30} {row.used:5d} {slots}  {'down' if row.down else said}"


def _server(said: ServerCounts) -> str:
    load = f", load {said.load:.2f}" if said.load >= 0 else ""
    return (
        f"{said.running}/{said.turns} run, {said.compiled} compiled, {said.served} from its cache,"
        f" {said.refused} refused{load}"
    )


def _job(job: RunningJob, look: Look) -> str:
    phase = job.phase.name.capitalize()
    age, inside = _duration(look.now - job.began), _duration(look.now - job.changed)
    where = f"{job.host:.24}[{job.slot}]" if job.host else ""
    user = look.users.get(job.user, str(job.user))
    return (
        f"{job.pid:7d}  {phase:<10.10}  {age:>6} {inside:>6}  {job.file:<30.30} {where:>24}  {user}"
    )


def _duration(seconds: float) -> str:
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole // 60 % 60:02d}m"
