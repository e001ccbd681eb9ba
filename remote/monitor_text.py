"""`distccmon-text [DELAY]`: the jobs of this user's distcc and pycc, one line each, as they run.

It reads what clients write (monitor_state.py), ours and distcc's alike, and prints what distcc's
own program of this name prints: sorted by host and slot, jobs whose process has ended left out,
and files that nobody has written for a minute removed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress

from pycc.record import record

from .monitor_state import Phase, unpack_state
from .running_jobs import exists, printable

STALE_SECONDS = 60.0
EXIT_USAGE = 1
USAGE = """\
usage: distccmon-text [DELAY]

Shows the jobs that are being compiled now, here and on other machines, one line each.

With DELAY, does so again after that many seconds (fractions are allowed), until it is ended.
"""


@record
class Shown:
    """One job."""

    pid: int
    file: str
    host: str
    slot: int
    phase: Phase

    def line(self) -> str:
        name = self.phase.name.capitalize()
        where = f"{self.host:.24}"
        return f"{self.pid:6d}  {name:<10.10}  {self.file:<30.30} {where:>24}[{self.slot}]"


def state_directory(variables: Mapping[str, str]) -> str:
    """Where clients with these variables say what they do."""
    home = os.path.join(variables.get("HOME", "/nonexistent"), ".distcc")
    return os.path.join(variables.get("DISTCC_DIR") or home, "state")


def jobs_in(directory: str, now: float) -> list[Shown]:
    """What is said in a directory at ``now`` (seconds since 1970), in the order of printing."""
    found = []
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    for name in names:
        if name.startswith("binstate_"):
            job = _read(os.path.join(directory, name), now)
            if job is not None and job.phase is not Phase.DONE and exists(job.pid):
                found.append(job)
    return sorted(found, key=lambda job: (job.host, job.slot))


def _read(path: str, now: float) -> Shown | None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if os.fstat(file).st_mtime < now - STALE_SECONDS:
            with suppress(OSError):
                os.unlink(path)
            return None
        said = unpack_state(os.read(file, 4096))
    except OSError:
        return None
    finally:
        os.close(file)
    if said is None:
        return None
    pid, name, host, slot, phase = said
    return Shown(pid, printable(name), printable(host), slot, phase)


def run(words: list[str], variables: Mapping[str, str]) -> int:
    """The command; ``words`` without its name. Returns the exit status."""
    delay = None
    if words:
        try:
            delay = float(words[0])
        except ValueError:
            delay = -1.0
    if len(words) > 1 or (delay is not None and not 0 <= delay < 1e9):
        sys.stderr.write(USAGE)
        return EXIT_USAGE
    directory = state_directory(variables)
    while True:
        for job in jobs_in(directory, time.time()):
            print(job.line())
        print(flush=True)
        if delay is None:
            return 0
        time.sleep(delay)


def main() -> None:
    """The entry point."""
    try:
        status = run(sys.argv[1:], os.environ)
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # nobody looks any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 0
    sys.exit(status)
