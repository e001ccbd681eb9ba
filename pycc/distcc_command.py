"""``distcc`` by name: one command, distributed if it can be, without the local cache.

    distcc gcc -c x.c      the compiler is named
    distcc -c x.c          it is ``cc``

Words, messages and exit codes are distcc's (dcc_build_somewhere, src/compile.c; src/distcc.c). The
log goes where DISTCC_LOG says; without it, warnings go to standard error, as there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from . import __version__
from .announced import with_discovered
from .call import RECURSION_GUARD, locate_once, which
from .dispatch import (
    EXIT_NO_HOSTS,
    WAIT_MS,
    Dispatch,
    read_hosts_file,
    triplet,
)
from .frame import (
    CAPTURE_ERR,
    FINAL,
    OUT_FILE,
    OWN_NAME,
    REPLACE,
    Exit,
    Op,
    Out,
    Request,
    Run,
    Write,
)
from .locate import DEFAULT_PATH, Located
from .record import replace
from .remote import commandline
from .remote.client_log import ClientLog
from .remote.client_settings import EXIT_BAD_ARGUMENTS, ClientSettings, read_settings
from .remote.daemon_log import Level
from .remote.farm import Answer, Farm, Job, elsewhere, local_hosts
from .remote.hosts import HostSpec
from .remote.monitor_state import JobState, Phase
from .remote.transport import Left
from .responsefile import ResponseFileError, expand
from .talk import Gone, Talk

if TYPE_CHECKING:
    from .job import Job as PyccJob
    from .resident import Resident

SAFEGUARD = b"_DISTCC_SAFEGUARD"
EXIT_COMPILER_MISSING, EXIT_RECURSION, EXIT_DISTCC_FAILED = 110, 111, 100
TEXT_LIMIT = 1 << 30

VERSION = f"""\
distcc {__version__} pycc
  (protocols 1 and 2) (default port 3632)
  without the local cache that pycc has under its own name
"""
USAGE = """\
Usage:
   distcc [COMPILER] [compile options] -o OBJECT -c SOURCE
   distcc [--help|--version|--show-hosts|--show-principal|-j]

Options:
   COMPILER                   Defaults to "cc".
   --help                     Explain usage, and exit.
   --version                  Show version, and exit.
   --show-hosts               Show host list, and exit.
   --show-principal           Show $DISTCC_PRINCIPAL, and exit.
   -j                         Show the concurrency level, as calculated from
                              the host list, and exit.

Environment variables:
   DISTCC_HOSTS               Where to compile; else $DISTCC_DIR/hosts,
                              ~/.distcc/hosts or /etc/distcc/hosts.
   DISTCC_FALLBACK=0          Do not compile here what cannot be distributed.
   DISTCC_VERBOSE=1           Give debug messages.
   DISTCC_LOG                 Send messages to file, not stderr.
   DISTCC_DIR                 Directory for host list and state.
   DISTCC_SSH                 Command that reaches hosts with an @ (ssh).
"""


def answer(
    request: Request, talk: Talk, resident: Resident, job_of: Callable[[Request], PyccJob | None]
) -> Sequence[Op]:
    """The operations that end this call. ``job_of`` gives the job of a call under our own name, for
    hosts that are sent the source itself. Raises NotHere, Gone."""
    talk.may_block()
    variables = resident.environment(request.environment_block).variables
    if len(request.argv) < 2:
        text = "distcc: missing option/operand\nTry `distcc --help' for more information.\n"
        return _end(EXIT_BAD_ARGUMENTS, err=text)
    cwd = request.cwd
    settings = read_settings(variables, lambda path: read_hosts_file(cwd, path), cwd)
    option = request.argv[1]
    if option == b"--help":
        return _end(0, out=VERSION + USAGE)
    if option == b"--version":
        return _end(0, out=VERSION)
    if option == b"--show-principal":
        principal = variables.get(b"DISTCC_PRINCIPAL")
        shown = "\t: Not Set." if principal is None else f" is\t: {os.fsdecode(principal)}"
        return _end(0, out=f"Principal{shown}\n")
    farm = resident.farm(settings.directory)
    if option in (b"--show-hosts", b"-j"):
        hosts, problem = with_discovered(settings, farm, talk, variables, request.cwd)
        settings = replace(settings, hosts=hosts)
        return _show_hosts(settings, problem, count=option == b"-j")
    said: list[bytes] = []
    log = ClientLog(settings, request.pid, request.cwd, said.append)
    command = _Command(request, talk, farm, settings, log, variables, resident, job_of)
    began = time.monotonic()
    try:
        ops = command.run()
    except Left as gone:
        raise Gone from gone
    log(Level.INFO, f"elapsed compilation time {time.monotonic() - began:.6f}s")
    return [Out(settings.errors_to, b"".join(said)), *ops] if said else ops


def _end(status: int, *, out: str = "", err: str = "") -> list[Op]:
    ops: list[Op] = [Out(1, out.encode())] if out else []
    if err:
        ops.append(Out(2, err.encode(errors="surrogateescape")))
    return [*ops, Exit(status << 8)]


def _show_hosts(settings: ClientSettings, problem: str, *, count: bool) -> list[Op]:
    if settings.hosts is None:
        why = settings.problem or "no hostlist is set; can't distribute work"
        return _end(0, out="0\n" if count else "", err=f"distcc: {why}\n")
    err = f"distcc: {problem}\n" if problem else ""
    if count:
        return _end(0, out=f"{sum(host.slots for host in settings.hosts.hosts)}\n", err=err)
    shown = "".join(f"{host.spelled}\n" for host in settings.hosts.hosts)
    return _end(0, out=shown, err=err)


class _Command:
    """One command on its way."""

    def __init__(
        self,
        request: Request,
        talk: Talk,
        farm: Farm,
        settings: ClientSettings,
        log: ClientLog,
        variables: dict[bytes, bytes],
        resident: Resident,
        job_of: Callable[[Request], PyccJob | None],
    ) -> None:
        self._job_of = job_of
        self._request, self._talk, self._farm = request, talk, farm
        self._settings, self._log, self._variables = settings, log, variables
        self._resident = resident
        self._search = variables.get(b"PATH", DEFAULT_PATH)
        scan_only = request.argv[1] == b"--scan-includes"
        self._scan_only = scan_only
        vector = commandline.find_compiler(request.argv[1:] if scan_only else request.argv)
        try:
            words, _ = expand(vector[1:], self._read)
        except ResponseFileError:
            words = vector[1:]
        self._vector = (vector[0], *words)
        self._as_called = vector
        self._state = JobState(settings.directory, request.pid, b"")
        self._source = ""

    def _read(self, name: bytes) -> bytes | None:
        try:
            with open(os.path.join(self._request.cwd, name), "rb", buffering=0) as file:
                return file.read(TEXT_LIMIT)
        except OSError:
            return None

    def _wait(self) -> None:
        self._talk.wait(WAIT_MS)
        self._state.touch()

    def run(self) -> Sequence[Op]:
        settings, log = self._settings, self._log
        if self._variables.get(SAFEGUARD):
            log(Level.CRITICAL, "distcc seems to have invoked itself recursively!", "main")
            return _end(EXIT_RECURSION)
        if settings.io_timeout <= 0:
            log(Level.ERROR, "DISTCC_IO_TIMEOUT must be a positive integer")
            return _end(EXIT_BAD_ARGUMENTS)
        scanned = commandline.scan(self._sent_vector())
        if self._scan_only:
            return self._scan_includes()
        if isinstance(scanned, commandline.Local):
            log(Level.DEBUG, scanned.reason, "dcc_scan_args")
            return self._here(preprocessor=scanned.preprocess)
        self._source = os.fsdecode(scanned.input)
        self._state = JobState(settings.directory, self._request.pid, scanned.input)
        log(Level.INFO, f"compile from {self._source} to {os.fsdecode(scanned.output)}")
        if settings.hosts is None:
            why = settings.problem or "no hostlist is set; can't distribute work"
            log(Level.WARNING, why, "dcc_get_hostlist")
        try:
            self._discover()
            ops = self._by_pump()
            return self._somewhere(scanned) if ops is None else ops
        finally:
            self._state.leave()

    def _job(self) -> PyccJob | None:
        """The same command under our own name; None unless a host is listed with ``,cpp``."""
        hosts = self._settings.hosts
        if hosts is None or not any(host.cpp for host in hosts.hosts):
            return None
        request = replace(
            self._request,
            argv=(b"pycc", *self._vector),
            flags=self._request.flags | OWN_NAME,
        )
        return self._job_of(request)

    def _by_pump(self) -> Sequence[Op] | None:
        """What a server made of the source itself; None where it is to be preprocessed here."""
        job = self._job()
        if job is None:
            return None
        from .miss import pump

        dispatch = Dispatch(job, self._talk, self._resident, self._settings)
        exact = dispatch.exactly()
        if exact is not None:
            return exact.ops
        pumped = pump(job, self._resident, dispatch, kept=False)
        if pumped is not None:
            return pumped.ops
        return self._here() if dispatch.stays else None

    def _scan_includes(self) -> Sequence[Op]:
        """What would be sent by pump, as distcc prints it."""
        job = self._job()
        if job is None:
            text = "'--scan_includes' specified, but distcc wouldn't have used include server"
            self._log(Level.ERROR, f"{text} (make sure hosts list includes ',cpp' option)")
            return _end(EXIT_DISTCC_FAILED)
        from .exact import scanned

        found = scanned(job, self._resident)
        if isinstance(found, str):
            self._log(Level.ERROR, f"its headers cannot be told: {found}")
            return _end(EXIT_DISTCC_FAILED)
        return [Out(1, b"".join(b"%-9s %s\n" % row for row in found)), Exit(0)]

    def _discover(self) -> None:
        variables, cwd = self._variables, self._request.cwd
        hosts, problem = with_discovered(self._settings, self._farm, self._talk, variables, cwd)
        self._settings = replace(self._settings, hosts=hosts)
        if problem:
            self._log(Level.WARNING, problem, "dcc_zeroconf_add_hosts")

    def _sent_vector(self) -> tuple[bytes, ...]:
        compiler = self._located(self._vector[0])
        real = b"" if compiler is None else compiler.real_name
        clang = b"clang" in real
        if not self._settings.rewrite_names or not (clang or b"gcc" in real or b"g++" in real):
            return self._vector

        def same(name: bytes) -> bool:
            found = self._located(name)
            return bool(found and compiler and found.physical == compiler.physical)

        return commandline.portable(self._vector, clang=clang, triplet=triplet(), same=same)

    def _somewhere(self, scanned: commandline.Distributable) -> Sequence[Op]:
        settings, log = self._settings, self._log
        job = Job(
            commandline.strip(scanned.argv),
            self._source,
            settings,
            log,
            self._state,
            self._wait,
            self._talk.descriptor,
        )
        self._talk.wait(WAIT_MS)
        messages: list[bytes] = []
        host: HostSpec | None = None
        with closing(elsewhere(self._farm, job, lambda: self._text(scanned, messages))) as hosts:
            found = next(hosts, None)
            if isinstance(found, HostSpec):
                return self._run_here()
        if isinstance(found, Answer):
            host, reply = found.host, found.reply
            if reply.status == 0:
                before = b"".join(messages)
                err = commandline.messages(reply.err, scanned.argv[0], self._vector[0], before)
                said = before + err
                ops: list[Op] = [Out(1, reply.out)] if reply.out else []
                ops += [Out(2, said)] if said else []
                return [Write(scanned.output, reply.object, REPLACE), *ops, Exit(0)]
            failed = f"remote compilation of '{self._source}' failed"
            if not os.WIFSIGNALED(reply.status):
                if not settings.local_retry:
                    return [Out(2, reply.err), Exit(reply.status)]
                log(Level.WARNING, f"{failed}, retrying locally", "dcc_build_somewhere")
            if not settings.fallback:
                return self._no_fallback(reply.err, reply.status)
        elif not settings.fallback:
            return self._no_fallback(b"".join(messages), EXIT_NO_HOSTS << 8)
        if host is not None:
            what = f"failed to distribute {self._source} to {host.spelled}"
            log(Level.WARNING, f"{what}, running locally instead")
        else:
            log(Level.WARNING, "failed to distribute, running locally instead")
        return self._here()

    def _no_fallback(self, err: bytes, status: int) -> Sequence[Op]:
        self._log(Level.ERROR, "failed to distribute and fallbacks are disabled")
        return [*([Out(2, err)] if err else []), Exit(status)]

    def _text(self, scanned: commandline.Distributable, messages: list[bytes]) -> bytes | None:
        """The preprocessed text; None if there is none, which the compiler will explain."""
        if commandline.is_preprocessed(scanned.input):
            return self._read(scanned.input)
        compiler = self._compiler()
        if compiler is None:
            return None
        number = f"distcc-{os.getpid()}-{self._request.pid}.i"
        directory = self._resident.scratch()
        path = os.path.join(directory, number.encode())
        words = commandline.preprocess_argv(scanned.argv)[1:]
        hosts = local_hosts(self._settings.hosts, preprocessor=True)
        with self._farm.slot(hosts, self._wait):
            self._state.enter(Phase.PREPROCESS, "localhost")
            try:
                run = Run((compiler, *words), CAPTURE_ERR | OUT_FILE, self._edits(), path)
                report = self._talk.run(run)
                self._talk.wait(WAIT_MS)
                self._log.ended("cpp", self._source, "localhost", report.status)
                if not report.ok:
                    return None
                messages.append(report.err)
                with open(path, "rb", buffering=0) as file:
                    return file.read(TEXT_LIMIT)
            except OSError:
                return None
            finally:
                with suppress(OSError):
                    os.unlink(path)

    def _located(self, name: bytes) -> Located | None:
        return locate_once(self._resident, name, self._search, self._request.cwd)

    def _compiler(self) -> bytes | None:
        name = self._vector[0]
        found = self._located(name)
        return which(name, self._search, self._request.cwd) if found is None else found.path

    def _edits(self) -> tuple[bytes, ...]:
        return (RECURSION_GUARD, SAFEGUARD + b"=1")

    def _here(self, *, preprocessor: bool = False) -> Sequence[Op]:
        hosts = local_hosts(self._settings.hosts, preprocessor=preprocessor)
        with self._farm.slot(hosts, self._wait):
            return self._run_here()

    def _run_here(self) -> Sequence[Op]:
        """The user's own words, as a child of the launcher, while the slot is held."""
        compiler = self._compiler()
        shown = b" ".join(self._as_called).decode(errors="surrogateescape")
        self._log(Level.INFO, f"exec on localhost: {shown}")
        if compiler is None:
            name = os.fsdecode(self._as_called[0])
            text = f"failed to exec {name}: No such file or directory"
            self._log(Level.ERROR, text, "dcc_execvp")
            return _end(EXIT_COMPILER_MISSING)
        report = self._talk.run(Run((compiler, *self._as_called[1:]), FINAL, self._edits()))
        if report.error:
            text = f"failed to exec {os.fsdecode(compiler)}: {os.strerror(report.error)}"
            self._log(Level.ERROR, text, "dcc_execvp")
            return _end(EXIT_COMPILER_MISSING)
        self._log.ended("compile", self._source or "(null)", "localhost", report.status)
        return [Exit(report.status)]
