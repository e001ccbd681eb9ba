"""Attacks a daemon, and pycc's client, with mutated and hostile messages, and looks for harm.

    python -m tests.fuzz.wire [--connections N] [--seed S] [--first K] [--clients C] [--share P]

Most connections are a hostile client's to a real pyccd; a share is a hostile server's to our
client, in this process. Every some thousand the attack pauses, and it is asked whether the daemon
lives, serves ordinary jobs rightly, and has come back to what it was: no process, no descriptor, no
file of a job left, nothing outside touched, no program run that is none of the allowed compilers
(wire_ground.py has the traps), no error that nobody expected. A case is decided by seed and number;
--first K --connections 1 sends one again.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import dataclasses
import itertools
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.wire_cases import case_of
from tests.fuzz.wire_client import Client
from tests.fuzz.wire_daemon import PROGRAM, Daemon

MORE_RESIDENT, MORE_PEAK = 40_000, 400_000
"""kB that the daemon may grow by for good (memos have their limits), and at its worst, with several
texts of the largest bomb's size at once."""
MOST_SHOWN = 20


@dataclasses.dataclass(slots=True)
class Report:
    """What an attack found; filled while it runs. ``findings`` with the number of the first case
    that may have caused it, and of the first that did not any more."""

    connections: int = 0
    kinds: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    findings: list[tuple[int, int, str]] = dataclasses.field(default_factory=list)
    resident: tuple[int, int, int] = (0, 0, 0)
    """At first, at last, and at its worst; kB."""
    dead: bool = False


class Attack:
    """Cases of one seed against one daemon, from several threads at once."""

    def __init__(self, daemon: Daemon, seed: int, clients: int) -> None:
        self.report = Report()
        self._daemon = daemon
        self._seed = seed
        self._clients = clients
        self._lock = threading.Lock()

    def run(self, first: int, connections: int, pause_each: int) -> Report:
        """Send cases from ``first`` on until there were so many connections."""
        report = self.report
        begin = first
        # A daemon that cannot even do this has not to be attacked.
        self._look(begin, begin)
        while report.connections < connections and not report.dead:
            upto = min(report.connections + pause_each, connections)
            numbers = itertools.count(begin)
            with concurrent.futures.ThreadPoolExecutor(self._clients) as pool:
                workers = [pool.submit(self._send, numbers, upto) for _ in range(self._clients)]
            end = max(worker.result() for worker in workers) + 1
            self._look(begin, end)
            begin = end
        first_size = self._daemon.resident
        report.resident = (first_size, self._daemon.memory("VmRSS"), self._daemon.memory("VmHWM"))
        if report.resident[1] > first_size + MORE_RESIDENT:
            report.findings.append((first, begin, f"memory: {report.resident} kB"))
        if report.resident[2] > first_size + MORE_PEAK:
            report.findings.append((first, begin, f"memory at its worst: {report.resident} kB"))
        return report

    def _send(self, numbers: itertools.count[int], upto: int) -> int:
        """Send cases; returns the number of the last."""
        number = 0
        while True:
            with self._lock:
                if self.report.connections >= upto:
                    return number
                number = next(numbers)
                # Before it is sent, so that no other thread begins one too many.
                case = case_of(self._seed, number, self._daemon.ground.playground)
                self.report.connections += case.connections
                self.report.kinds[case.kind] += case.connections
            for said in self._daemon.run(case):
                self._found(number, number + 1, said)

    def _look(self, begin: int, end: int) -> None:
        for said in self._daemon.findings():
            self._found(begin, end, said)
            self.report.dead |= "is dead" in said

    def _found(self, begin: int, end: int, said: str) -> None:
        with self._lock:
            self.report.findings.append((begin, end, said))


def attack_daemon(
    seed: int,
    first: int,
    connections: int,
    *,
    clients: int = 8,
    pause_each: int = 2000,
    program: str = PROGRAM,
) -> Report:
    """Start a daemon in a new place, and attack it."""
    place = Path(tempfile.mkdtemp(prefix="wire-"))
    try:
        daemon = Daemon(place, program)
        try:
            report = Attack(daemon, seed, clients).run(first, connections, pause_each)
        finally:
            ended = daemon.close()
        report.findings += ((first, first + connections, said) for said in ended)
        return report
    finally:
        shutil.rmtree(place, ignore_errors=True)


def attack_client(seed: int, first: int, connections: int) -> Report:
    """Tell our client lies."""
    report, client = Report(), Client()
    try:
        for number in range(first, first + connections):
            report.connections += 1
            report.findings += ((number, number + 1, said) for said in client.run(seed, number))
    finally:
        client.close()
    report.kinds["answers"], report.kinds["faults"] = client.answers, client.faults
    return report


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--clients", type=int, default=8, help="connections at the same time")
    parser.add_argument("--pause-each", type=int, default=2000, help="connections between looks")
    parser.add_argument(
        "--share", type=float, default=0.2, help="part of the connections that goes to our client"
    )
    return parser.parse_args(argv)


def show(what: str, seed: int, report: Report, seconds: float) -> None:
    """The figures, and what was found with how to see it again."""
    count = report.connections
    print(
        f"{what}, seed {seed}: {count} connections in {seconds:.0f} s ({count / seconds:.0f}/s),"
        f" {len(report.findings)} findings"
    )
    print("  " + ", ".join(f"{count} {kind}" for kind, count in report.kinds.most_common()))
    if report.resident[0]:
        first, last, worst = (kilobytes / 1024 for kilobytes in report.resident)
        print(f"  memory of the daemon: {first:.0f} MiB, then {last:.0f}, at most {worst:.0f}")
    option = " --share 1" if what == "client" else " --share 0"
    for begin, end, said in report.findings[:MOST_SHOWN]:
        again = f"--seed {seed} --first {begin} --connections {max(end - begin, 1)}{option}"
        print(f"FOUND {said}\n  python -m tests.fuzz.wire {again}")
    if len(report.findings) > MOST_SHOWN:
        print(f"  and {len(report.findings) - MOST_SHOWN} more")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Attack both; 0 if nothing was found, else 1."""
    options = arguments(argv)
    os.umask(0o022)
    to_client = round(options.connections * options.share)
    to_daemon = options.connections - to_client
    found = 0
    if to_client:
        begin = time.monotonic()
        report = attack_client(options.seed, options.first, to_client)
        show("client", options.seed, report, time.monotonic() - begin)
        found += len(report.findings)
    if to_daemon:
        begin = time.monotonic()
        report = attack_daemon(
            options.seed,
            options.first,
            to_daemon,
            clients=options.clients,
            pause_each=options.pause_each,
        )
        show("daemon", options.seed, report, time.monotonic() - begin)
        found += len(report.findings)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
