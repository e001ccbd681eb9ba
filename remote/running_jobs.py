"""The jobs of several users that run now, each state file read again only after it was written.

distccmon-text hides a job whose file is older than a minute, because it cannot tell a long compile
from a number that another process has by now. Here the process is asked when it began: one that
was there when the file was last written is the job's, however long ago that is. Nothing is removed:
the files may be other users'.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Sequence

from pycc.pattern import pattern
from pycc.record import record

from .monitor_state import Phase, unpack_state

_NAME = pattern(r"binstate_[0-9]{1,20}")
_READ = 4096
MOST_FILES = 10_000
"""State files of one directory that are looked at."""
SETTLED_NS = 100_000_000
"""A file that was written so shortly before it was read may have been written again in the same
tick of the file system's clock."""
_LATER = 2.0  # seconds; clocks of files and of processes do not tick together


@record
class RunningJob:
    """One compile. ``file`` and ``host`` can be shown on a terminal; ``user`` is a uid; ``began``
    and ``changed`` are seconds since 1970, of the job and of its phase."""

    pid: int
    file: str
    host: str
    slot: int
    phase: Phase
    user: int
    began: float
    changed: float


@record
class _Known:
    """A state file as it was read."""

    mtime_ns: int
    inode: int
    settled: bool
    job: RunningJob | None


def printable(text: bytes) -> str:
    """As it may be shown on a terminal."""
    shown = text.decode(errors="backslashreplace")
    return shown if shown.isprintable() else repr(shown)[1:-1]


def candidates(variables: dict[str, str], homes: Iterable[str]) -> list[str]:
    """Where clients may say what they do: ours first, then every user's, then Portage's."""
    home = os.path.join(variables.get("HOME", "/nonexistent"), ".distcc")
    tops = [variables.get("DISTCC_DIR") or home]
    tops += (os.path.join(other, ".distcc") for other in homes)
    tops.append("/var/tmp/portage/.distcc")  # noqa: S108
    return list(dict.fromkeys(os.path.normpath(os.path.join(top, "state")) for top in tops))


def order(jobs: Iterable[RunningJob]) -> list[RunningJob]:
    """As distccmon-text has them: by host and slot."""
    return sorted(jobs, key=lambda job: (job.host, job.slot, job.pid))


class RunningJobs:
    """What the state files in ``places`` say. ``began`` tells when a process began, in seconds
    since 1970: None if there is none, 0 if it cannot be told."""

    def __init__(self, began: Callable[[int], float | None] | None = None) -> None:
        self._began = began or process_began
        self._known: dict[str, _Known] = {}

    def look(self, places: Sequence[str], now: float) -> list[RunningJob]:
        """The jobs at ``now`` (seconds since 1970), in distccmon-text's order."""
        known: dict[str, _Known] = {}
        seen: set[tuple[int, int]] = set()
        for place in places:
            try:
                found = os.stat(place)
                if (found.st_dev, found.st_ino) in seen:  # ~/.distcc is often a link
                    continue
                seen.add((found.st_dev, found.st_ino))
                names = os.listdir(place)
            except OSError:
                continue
            for name in names[:MOST_FILES]:
                if _NAME.fullmatch(name):
                    path = os.path.join(place, name)
                    one = self._one(path, now)
                    if one is not None:
                        known[path] = one
        self._known = known
        jobs = {one.job.pid: one.job for one in known.values() if one.job is not None}
        return order(job for job in jobs.values() if job.phase is not Phase.DONE)

    def _one(self, path: str, now: float) -> _Known | None:
        old = self._known.get(path)
        try:
            found = os.lstat(path)
        except OSError:
            return None
        unchanged = (
            old is not None
            and old.settled
            and (old.mtime_ns, old.inode) == (found.st_mtime_ns, found.st_ino)
        )
        if old is not None and unchanged:
            if old.job is None or exists(old.job.pid):
                return old
            return _Known(old.mtime_ns, old.inode, True, None)
        settled = now * 1e9 - found.st_mtime_ns > SETTLED_NS
        job = self._read(path, old.job if old is not None else None)
        return _Known(found.st_mtime_ns, found.st_ino, settled, job)

    def _read(self, path: str, before: RunningJob | None) -> RunningJob | None:
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            found = os.fstat(file)
            said = unpack_state(os.read(file, _READ)) if stat.S_ISREG(found.st_mode) else None
        except OSError:
            return None
        finally:
            os.close(file)
        if said is None:  # or somebody is just writing it
            return before if before is not None and exists(before.pid) else None
        pid, file_name, host, slot, phase = said
        if before is not None and before.pid == pid and exists(pid):
            began: float | None = before.began
        else:
            began = self._began(pid)
        if began is None or began > found.st_mtime + _LATER:
            return None
        changed = found.st_mtime
        if before is not None and (before.pid, before.phase) == (pid, phase):
            changed = before.changed  # it was only said again
        return RunningJob(
            pid,
            printable(file_name),
            printable(host),
            slot,
            phase,
            found.st_uid,
            began or found.st_mtime,
            changed,
        )


def exists(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True


def process_began(pid: int) -> float | None:
    """When a process began (seconds since 1970); None if there is none, 0 where nobody says."""
    if not exists(pid):
        return None
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            words = file.read(_READ).rpartition(b")")[2].split()
        if words[0] in (b"Z", b"X"):
            return None
        ticks = int(words[19]) / os.sysconf("SC_CLK_TCK")
        return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks)
    except (OSError, IndexError, ValueError, AttributeError):
        return 0.0 if exists(pid) else None
