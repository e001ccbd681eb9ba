"""Hosts that are reached through ssh: the daemon is started there, and speaks on its pipes.

    DISTCC_SSH -l USER HOST COMMAND --inetd --enable-tcp-insecure      distcc's words (src/ssh.c)

No shell is asked here; what the other side makes of COMMAND is sshd's business. The daemon trusts
whoever came in, because ssh has asked him for more than an address.

Shaking hands takes ssh ten times as long as the rest of a small job. Where the program is OpenSSH's
and the user has not arranged for it himself, several jobs share a connection: a master process is
started once (ssh -M), its socket lies in our private directory, and each job is a session in it. It
leaves when it has been idle for a minute. A master takes few sessions (sshd's MaxSessions, 10), so
there are several where a host has more jobs. Whatever goes wrong with one, ssh makes a connection
of its own, and the job goes on.

Nobody sits at a terminal: what ssh would ask, it must not (BatchMode). So a host whose key is not
known, or that wants a password, is refused in ssh's words, and the compile is done here.
"""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from pycc.record import mutable

from .client_settings import ClientSettings
from .connection import EXIT_CONNECT_FAILED, Connection, Fault
from .hosts import HostSpec

DEFAULT_COMMAND = b"distccd"
DAEMON_WORDS = (b"--inetd", b"--enable-tcp-insecure")
CONNECT_SECONDS = 10
"""How long ssh may take to reach a host, where the user has not said so in its configuration."""
IDLE_SECONDS = 60
SESSIONS = 8
"""Jobs on one connection: sshd refuses the eleventh, and others may have some."""
LONGEST_SOCKET = 88
"""Bytes of a master's path: ssh adds a random end to it, and 107 are the most."""
PROBE_SECONDS, END_SECONDS = 5.0, 1.0
MASTER_SECONDS = 2.0 * CONNECT_SECONDS
SAID_LIMIT = 1 << 16
FAILED = 255
"""ssh's exit status where it failed itself; all others are the command's."""
NOT_FOUND = {126: "cannot be run", 127: "was not found"}
"""A shell's exit statuses, from the other side."""
QUIETLY = (
    *(b"-T", b"-a", b"-x", b"-oBatchMode=yes", b"-oClearAllForwardings=yes"),
    *(b"-oPermitLocalCommand=no", b"-oRemoteCommand=none"),
)
"""Nobody is asked, no terminal, and nothing of the user's configuration that would speak on the
job's pipes or offer the other side more than a job."""


_WITH_VALUE = b"BDEFIJLOPQRSWbceilmopw"
"""ssh's options that take one (ssh(1))."""


@mutable
class _Shared:
    """What is known of one destination: whether connections to it can be shared, and how."""

    words: tuple[bytes, ...] = ()
    """What is put between the program and the destination."""
    base: str = ""
    """Where masters' sockets lie, but for their number; empty where none are to be had."""
    until: float = 0.0
    """Asked again then: the configuration may have changed."""


class Masters:
    """The connections that jobs share; for several threads. ``directory`` is ours alone; empty
    where there is none, and each job has a connection of its own."""

    KNOWN_SECONDS = 600.0

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._known: dict[bytes, _Shared] = {}
        self._sessions: dict[str, int] = {}
        self._starting: dict[str, _Start] = {}
        self._made: dict[str, ClientSettings] = {}

    def words(self, settings: ClientSettings, destination: Sequence[bytes]) -> _Shared:
        """What is to be said to ssh for this destination."""
        told = settings.environment
        agent = (told.get(b"HOME", b""), told.get(b"SSH_AUTH_SOCK", b""), told.get(b"PATH", b""))
        named = b"\0".join((*settings.ssh, b"", *destination, b"", *agent))
        with self._lock:
            known = self._known.get(named)
        if known is None or time.monotonic() > known.until:
            known = self._ask(settings, destination, hashlib.sha256(named).hexdigest()[:16])
            known.until = time.monotonic() + self.KNOWN_SECONDS
            with self._lock:
                self._known[named] = known
        return known

    def _ask(self, settings: ClientSettings, destination: Sequence[bytes], name: str) -> _Shared:
        # Something else may take our options for the command that it is to run.
        if os.path.basename(settings.ssh[0]) != b"ssh" or not has_only_options(settings.ssh):
            return _Shared()
        if not _answer(settings, b"-V").startswith(b"OpenSSH"):
            return _Shared()
        chosen = dict(
            line.partition(b" ")[::2]
            for line in _answer(settings, b"-G", *QUIETLY, *destination).splitlines()
        )
        words: tuple[bytes, ...] = QUIETLY
        if chosen.get(b"connecttimeout", b"none") in (b"none", b"0"):
            words += (b"-oConnectTimeout=%d" % CONNECT_SECONDS,)
        base = os.path.join(self._directory, f"ssh-{name}") if self._directory else ""
        own = chosen.get(b"controlpath", b"none") != b"none"
        if own or not chosen or len(os.fsencode(base)) > LONGEST_SOCKET:
            base = ""
        return _Shared(words, base)

    def take(self, base: str) -> str:
        """A master's socket, in which one session more may be had; to be given back."""
        with self._lock:
            number = 0
            while self._sessions.get(f"{base}-{number}", 0) >= SESSIONS:
                number += 1
            path = f"{base}-{number}"
            self._sessions[path] = self._sessions.get(path, 0) + 1
            return path

    def give_back(self, path: str) -> None:
        """The session has ended."""
        with self._lock:
            left = self._sessions[path] - 1
            if left:
                self._sessions[path] = left
            else:
                del self._sessions[path]

    def ensure(
        self, path: str, settings: ClientSettings, words: Sequence[bytes], host: HostSpec
    ) -> None:
        """Have a master listen at ``path``; whoever finds one being started waits for that. Raises
        Fault."""
        if _listens(path):
            return
        with self._lock:
            start = self._starting.get(path)
            first = start is None
            if start is None:
                start = self._starting[path] = _Start()
        if first:
            try:
                start.fault = _start_master(path, settings, words, host)
                with self._lock:
                    self._made[path] = settings
            finally:
                with self._lock:
                    del self._starting[path]
                start.done.set()
        start.done.wait(MASTER_SECONDS)
        if start.fault is not None:
            raise Fault(str(start.fault), start.fault.status)

    def close(self) -> None:
        """Have the masters leave that were started here; others would see them go in a minute."""
        with self._lock:
            made, self._made = self._made, {}
        for path, settings in made.items():
            _answer(settings, b"-O", b"exit", b"-S", os.fsencode(path), b"-oBatchMode=yes", b"x")


def has_only_options(command: Sequence[bytes]) -> bool:
    """Whether ssh's destination is still to follow, and not already there as in ``ssh gate ssh``,
    where what we add would be the other side's."""
    words = iter(command[1:])
    for word in words:
        if len(word) < 2 or word[:1] != b"-" or word == b"--":
            return False
        for at, letter in enumerate(word[1:], 2):
            if letter in _WITH_VALUE:
                if at == len(word):
                    next(words, b"")
                break
    return True


class _Start:
    """A master on its way, and why there is none."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.fault: Fault | None = None


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as trial:
        try:
            trial.settimeout(END_SECONDS)
            trial.connect(path)
        except OSError:
            return False
    return True


def _start_master(
    path: str, settings: ClientSettings, words: Sequence[bytes], host: HostSpec
) -> Fault | None:
    """Why there is none; a connection that came about without its master is no fault.

    It has a job of its own (`true`): one that cannot listen, because somebody else has just begun
    to, ends with that, where with -N it would stay for ever."""
    argv = (
        *settings.ssh,
        *(b"-M", b"-S", os.fsencode(path)),
        b"-oControlPersist=%d" % IDLE_SECONDS,
        *words,
        *_destination(host),
        b"true",
    )
    # The socket of one that was killed; ssh would not listen beside it.
    with suppress(OSError):
        os.unlink(path)
    with open(os.devnull, "r+b") as null:
        try:
            child = _spawn(argv, settings, null.fileno(), null.fileno())
        except OSError as problem:
            return _not_started(settings, problem)
        try:
            status = child.wait(MASTER_SECONDS)
        except subprocess.TimeoutExpired:
            status = FAILED
        finally:
            said = _end(child)
    return _failure(host, status, said) if status == FAILED else None


def _destination(host: HostSpec) -> tuple[bytes, ...]:
    """distcc's words; no name begins with a minus (hosts.py)."""
    user = (b"-l", os.fsencode(host.user)) if host.user else ()
    return (*user, os.fsencode(host.host))


def _spawn(
    argv: Sequence[bytes], settings: ClientSettings, reader: int, writer: int
) -> subprocess.Popen[bytes]:
    """With the caller's environment, and in no directory of his, which a master would keep busy.
    Raises OSError."""
    program = argv[0]
    if b"/" in program:
        program = os.path.join(settings.cwd, program)
    return subprocess.Popen(
        [program, *argv[1:]],
        stdin=reader,
        stdout=writer,
        stderr=subprocess.PIPE,
        cwd="/",
        env=dict(settings.environment),
    )


def _last_words(child: subprocess.Popen[bytes], before: bytes = b"") -> bytes:
    """What was said last, as far as it has come: a master keeps its standard error, so nobody waits
    for the end of that."""
    if child.stderr is None or child.stderr.closed:
        return before
    os.set_blocking(child.stderr.fileno(), False)
    with suppress(OSError):
        while data := os.read(child.stderr.fileno(), SAID_LIMIT):
            before = (before + data)[-SAID_LIMIT:]
            if len(data) < SAID_LIMIT:
                break
    return before


def _end(child: subprocess.Popen[bytes], before: bytes = b"") -> bytes:
    """End the process if it still runs, and return what it said last."""
    try:
        child.wait(0)
    except subprocess.TimeoutExpired:
        child.terminate()
        try:
            child.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    said = _last_words(child, before)
    if child.stderr is not None:
        child.stderr.close()
    return said


def _answer(settings: ClientSettings, *words: bytes) -> bytes:
    """What ssh says of itself; nothing where it cannot be asked."""
    try:
        done = subprocess.run(
            [*settings.ssh, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if words == (b"-V",) else subprocess.DEVNULL,
            cwd="/",
            env=dict(settings.environment),
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return b""
    return done.stdout[:SAID_LIMIT]


def _not_started(settings: ClientSettings, problem: OSError) -> Fault:
    program = os.fsdecode(settings.ssh[0])
    text = f"failed to run {program}: {problem.strerror}; install it or set DISTCC_SSH"
    return Fault(text, EXIT_CONNECT_FAILED)


def _failure(host: HostSpec, status: int, said: bytes) -> Fault:
    lines = [line.strip() for line in said.decode(errors="backslashreplace").splitlines()]
    last = next((line for line in reversed(lines) if line), "it said nothing")
    shown = last if last.isprintable() else ascii(last)[1:-1]
    if status in NOT_FOUND:
        command = host.command or os.fsdecode(DEFAULT_COMMAND)
        text = f"{command} {NOT_FOUND[status]} there ({shown}): write @HOST:COMMAND in the list"
        return Fault(text, EXIT_CONNECT_FAILED)
    by_hand = " ".join(os.fsdecode(word) for word in _destination(host))
    text = f"ssh failed: {shown} (does `ssh -oBatchMode=yes {by_hand}` work?)"
    return Fault(text, EXIT_CONNECT_FAILED)


def open_ssh(host: HostSpec, settings: ClientSettings, masters: Masters) -> SshConnection:
    """Start the daemon on the host, and talk with it. Raises Fault."""
    shared = masters.words(settings, _destination(host))
    session = ""
    words = shared.words
    if shared.base:
        session = masters.take(shared.base)
        words = (*words, b"-oControlMaster=no", b"-S", os.fsencode(session))
    try:
        if session:
            masters.ensure(session, settings, shared.words, host)
        command = os.fsencode(host.command) or DEFAULT_COMMAND
        argv = (*settings.ssh, *words, *_destination(host), command, *DAEMON_WORDS)
        ours, theirs = socket.socketpair()
        try:
            child = _spawn(argv, settings, theirs.fileno(), theirs.fileno())
        except OSError as problem:
            ours.close()
            raise _not_started(settings, problem) from None
        finally:
            theirs.close()
    except BaseException:
        if session:
            masters.give_back(session)
        raise
    return SshConnection(ours, child, host, masters, session)


class SshConnection(Connection):
    """A program that carries the bytes; it goes with the connection.

    What it says has to be read, if only to be forgotten: a daemon there may write its log to
    standard error, and ssh stands still when nobody takes that."""

    def __init__(
        self,
        channel: socket.socket,
        child: subprocess.Popen[bytes],
        host: HostSpec,
        masters: Masters,
        session: str,
    ) -> None:
        super().__init__(channel)
        self._child = child
        self._host = host
        self._masters = masters
        self._session = session
        self._said = b""

    def look_after(self) -> None:
        self._said = _last_words(self._child, self._said)

    def recv(self, most: int, /) -> bytes:
        self.look_after()
        return super().recv(most)

    def fault(self, *, began: bool) -> Fault | None:
        """What ssh said last, if it or the shell on the other side failed."""
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(END_SECONDS)
        status = self._child.returncode
        if status != FAILED and (began or status not in NOT_FOUND):
            return None
        return _failure(self._host, status, _end(self._child, self._said))

    def close(self) -> None:
        super().close()
        if self._child.stderr is not None and not self._child.stderr.closed:
            _end(self._child)
        if self._session:
            self._masters.give_back(self._session)
            self._session = ""
