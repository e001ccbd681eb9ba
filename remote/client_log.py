"""What a client says, in the form of distcc's lines, which people and their tools grep for.

    distcc[1234] (dcc_build_somewhere) Warning: remote compilation of 'x.c' failed, retrying locally

Without $DISTCC_LOG, warnings go to standard error and the rest nowhere; with it, or under
DISTCC_VERBOSE, everything is said. (src/trace.c.) A compile that succeeds in the end should not
say more than the compiler does, because some builds take that for a failure; so a ``quiet`` log
says nothing on standard error unless it was asked to, or the job is lost (DISTCC_FALLBACK=0).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress

from .client_settings import ClientSettings
from .daemon_log import _SAYS, Level


class ClientLog:
    """One job's lines. ``say`` takes text for the user's own standard error."""

    def __init__(
        self,
        settings: ClientSettings,
        pid: int,
        cwd: bytes,
        say: Callable[[bytes], None],
        *,
        quiet: bool = False,
    ) -> None:
        self._pid = pid
        self._say = say
        self._path = os.path.join(cwd, settings.log) if settings.log else b""
        self._level: int = Level.INFO if settings.log else Level.WARNING
        if settings.verbose:
            self._level = Level.DEBUG
        elif quiet and not settings.log:
            self._level = -1 if settings.fallback else Level.ERROR

    def __call__(self, level: Level, text: str, function: str = "", *, named: bool = True) -> None:
        if level > self._level:
            return
        where = f"({function}) " if function and named else ""
        line = f"distcc[{self._pid}] {where}{_SAYS.get(level, '')}{text}\n"
        data = line.encode(errors="surrogateescape")
        if not (self._path and self._append(data)):
            self._say(data)

    def _append(self, data: bytes) -> bool:
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as problem:
            shown = os.fsdecode(self._path)
            self._path = b""
            self._say(
                f"distcc[{self._pid}] ERROR: failed to open logfile {shown}:"
                f" {problem.strerror}\n".encode(errors="surrogateescape")
            )
            return False
        with suppress(OSError):
            os.write(file, data)
        os.close(file)
        return True

    def ended(self, what: str, source: str, host: str, status: int) -> None:
        """How a program ended, from its wait status (dcc_critique_status, src/exec.c)."""
        if os.WIFSIGNALED(status):
            core = " (core dumped)" if os.WCOREDUMP(status) else ""
            name = signal.strsignal(os.WTERMSIG(status)) or str(os.WTERMSIG(status))
            self(Level.ERROR, f"{what} {source} on {host}: {name}{core}")
        elif code := os.WEXITSTATUS(status):
            # A program that fails is an everyday thing: only what is no usual code is told loudly.
            how = "failed" if code == 1 else f"failed with exit code {code}"
            self(Level.ERROR, f"{what} {source} on {host} {how}")
        else:
            self(Level.INFO, f"{what} {source} on {host} completed ok")
