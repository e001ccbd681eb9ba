"""A miss that is compiled on another machine: what switches that on, and one job of it.

What is sent is preprocessed text, as distcc sends it. Such text is not the source: columns have
moved and comments are gone, so where these could reach an output (keying.free_text_allowed) the
result is kept under a key of its own, which only calls that distribute ask for. Whatever goes
wrong on the way, and every compile that fails elsewhere, is done again on this machine, and that
counts; no host is blamed for a compile that fails.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from . import exact
from .announced import announces, with_discovered
from .blake import blake2b
from .cache.lookup import absolute
from .call import Call, locate_once
from .dependencies import is_dependency_word
from .distribution import distributes
from .exact import Exact
from .execution import Execution, without_colour_words
from .frame import Exit, Op, Out, Report, Write
from .invocation import Family
from .invocation import Kind as OutputKind
from .job import Job
from .keying import forces_colour
from .locate import DEFAULT_PATH
from .options import are_for_the_machine
from .outcome import Outcome
from .record import replace
from .remote import commandline
from .remote.client_log import ClientLog
from .remote.client_settings import ClientSettings, read_settings
from .remote.daemon_log import Level
from .remote.exact_client import Done, ExactJob, exactly
from .remote.exact_wire import Work
from .remote.farm import Answer, elsewhere, local_hosts
from .remote.farm import Job as FarmJob
from .remote.hosts import HostSpec, lock_name
from .remote.monitor_state import JobState, Phase
from .remote.protocol import Request
from .remote.pump_client import another_there, pumping
from .remote.pump_words import CannotPump
from .remote.transport import Left
from .talk import Gone, Talk

if TYPE_CHECKING:
    from .preprocess import Preprocessed
    from .pump import Pumped
    from .resident import Resident

WAIT_MS = 600_000
HOSTS_LIMIT = 1 << 20
EXIT_NO_HOSTS = 116  # distcc's
NAMING_THE_MACHINE = frozenset((b"-emit-llvm", b"-fdiagnostics-absolute-paths"))
_COLOUR = {Family.GCC: b"-fdiagnostics-color", Family.CLANG: b"-fcolor-diagnostics"}


def settings_of(call: Call) -> ClientSettings | None:
    """The settings of a call that distributes, else None."""
    if not distributes(call):
        return None

    return read_settings(call.variables, lambda path: read_hosts_file(call.cwd, path), call.cwd)


def _can_be_expanded(job: Job) -> bool:
    """Whether it is known what the words stand for, and no word takes one of them back."""
    native = job.invocation.native
    others = [word for word in job.invocation.args if word not in native]
    answered = {word.partition(b"=")[0] + b"=" for word in native}
    taken_back = any(word.startswith(tuple(answered)) for word in others)
    return bool(job.toolchain.native) and not taken_back


def read_hosts_file(cwd: bytes, path: bytes) -> str | None:
    """A host list's text; None when it cannot be read."""
    try:
        with open(os.path.join(cwd, path), "rb", buffering=0) as file:
            return os.fsdecode(file.read(HOSTS_LIMIT))
    except OSError:
        return None


class Dispatch:
    """One miss on its way to another machine; made only where distribution is on."""

    def __init__(self, job: Job, talk: Talk, resident: Resident, settings: ClientSettings) -> None:
        self._job, self._talk, self._resident, self._settings = job, talk, resident, settings
        self._farm = resident.farm(settings.directory)
        call = job.call
        self._said: list[bytes] = []
        self._log = ClientLog(settings, call.request.pid, call.cwd, self._said.append, quiet=True)
        self._state = JobState(settings.directory, call.request.pid, job.invocation.source)
        vector = _vector(job, resident, settings)
        self._sent, self._scanned = vector[0], commandline.scan(vector)
        self._here = False
        self.reason = self._reason()
        """Why the job cannot be sent; empty if it can."""

    def _reason(self) -> str:
        if isinstance(self._scanned, commandline.Local):
            return self._scanned.reason
        invocation = self._job.invocation
        if {output.kind for output in invocation.outputs} - {OutputKind.DEPENDENCY}:
            return "another machine would not send all outputs"
        if invocation.dependencies is None and any(map(is_dependency_word, invocation.args)):
            return "words about a list of dependencies that is not asked for may be an error"
        if not NAMING_THE_MACHINE.isdisjoint(invocation.args):
            return "a server and its directories would have other names"
        if invocation.generates_pch or invocation.uses_pch or invocation.preprocessed:
            return "precompiled headers and preprocessed text stay here"
        if invocation.family is Family.OTHER or b"-P" in invocation.args:
            return "nothing would say which files were read"
        if invocation.records_command_line and invocation.family is Family.CLANG:
            return "the object would name the server's command"
        if self._settings.hosts is None:
            return self._settings.problem or "no hostlist is set; can't distribute work"
        if self._settings.io_timeout <= 0:
            return "DISTCC_IO_TIMEOUT must be a positive integer"
        if invocation.native and not _can_be_expanded(self._job):
            return "-march=native stands for this machine"
        return ""

    def discover(self) -> None:
        """Add the hosts that announce themselves, where the list asks for them. Raises NotHere,
        Gone."""
        hosts, call = self._settings.hosts, self._job.call
        if self.reason or hosts is None or not announces(hosts):
            return
        hosts, problem = with_discovered(
            self._settings, self._farm, self._talk, call.variables, call.cwd
        )
        self._settings = replace(self._settings, hosts=hosts)
        if problem:
            self._log(Level.WARNING, problem)
            call.log(problem)
        # With the user's leave it is compiled here at once, without a text that nobody would get.
        if not (hosts and hosts.hosts) and self._settings.fallback:
            self.reason, self._here = problem or "no server announces itself", True
            self._count("undiscovered" if problem else "unannounced")

    def preprocess_words(self) -> Sequence[bytes]:
        """The words that preprocess the source to standard output and write the dependency file
        that the user wants."""
        if not isinstance(self._scanned, commandline.Distributable):
            raise ValueError(self.reason)
        return commandline.preprocess_argv(self._scanned.argv)[1:]

    @contextmanager
    def preprocessing(self) -> Iterator[None]:
        """A slot of this machine for the preprocessor."""
        hosts = local_hosts(self._settings.hosts, preprocessor=True)
        with self._farm.slot(hosts, self._wait):
            self._state.enter(Phase.PREPROCESS, "localhost")
            try:
                yield
            finally:
                self._state.leave()

    def exactly(self) -> Exact | None:
        """What a server made of the source as it is; None where nobody did. Then ``reason`` says
        it, if nobody is to be asked in another way either. Raises Gone."""
        job = self._job
        why = self.reason or exact.obstacle(job)
        identity = self._identity()
        if why or not identity or not isinstance(self._scanned, commandline.Distributable):
            job.call.log(f"Not compiled exactly elsewhere: {why or 'the compiler is not compared'}")
            return None
        self._talk.wait(WAIT_MS)
        argv = (job.call.compiler, *_words(job))
        ask = exact.ask_of(job)
        exact_job = ExactJob(
            self._farm_job(argv),
            blake2b(b"\0".join((*argv, ask.digest)), digest_size=16).digest(),
            ask,
            self._work,
            lambda file: exact.content_of(file, self._resident),
            lambda entry: exact.differs(job, self._resident, entry),
        )
        try:
            with closing(exactly(self._farm, exact_job)) as found:
                return self._taken(next(found, None))
        except Left as gone:
            raise Gone from gone
        finally:
            self._state.leave()

    @property
    def stays(self) -> bool:
        """Whether it is to be compiled here now: it is this machine's turn, or it failed there."""
        return self._here

    @property
    def pumps(self) -> bool:
        """Whether it may go by pump mode: a host is listed with ``,cpp``."""
        hosts = self._settings.hosts
        return not self.reason and hosts is not None and any(host.cpp for host in hosts.hosts)

    def pumped(self, before: dict[bytes, tuple[int, int]], *, kept: bool = True) -> Pumped | None:
        """What a stock server made in pump mode, to be ``kept`` or not; as for `exactly`.
        ``before`` is from stability.identities."""
        job, resident, scanned = self._job, self._resident, self._scanned
        if not isinstance(scanned, commandline.Distributable):
            return None
        from . import pump  # most farms never need it

        why = pump.obstacle(job)
        sent: list[pump.Sent] = []

        def request() -> Request | None:
            try:
                sent.append(pump.sent(job, resident, scanned.argv))
            except CannotPump as problem:
                self._not_pumped(str(problem))
                return None
            return sent[0].request

        if why:
            self._not_pumped(why)
            return None
        self._talk.wait(WAIT_MS)
        farm_job = self._farm_job(scanned.argv)
        try:
            with closing(pumping(self._farm, farm_job, request)) as found:
                answer = next(found, None)
                if not isinstance(answer, Answer) or answer.refused or answer.reply.status:
                    self._taken(answer)
                    return None
                known, name = self._farm.headers, lock_name(answer.host)
                since, there = known.period(name), partial(known.lookups, name)
                err = commandline.messages(answer.reply.err, self._sent, job.call.driver)
                what = (sent[0], replace(answer.reply, err=err), before, None if kept else there)
                made = pump.received(job, resident, *what)
                other = another_there(
                    self._farm,
                    answer.host,
                    farm_job,
                    made.facts,
                    lambda path, digest: exact.content_at(path, digest, resident),
                    made.lookups,
                    since,
                )
        except CannotPump as problem:
            self._not_pumped(f"what came back is not taken: {problem}")
            return None
        except Left as gone:
            raise Gone from gone
        finally:
            self._state.leave()
        if other:
            self._count("other_headers")
            self._not_pumped(f"{answer.host.spelled}: {other}")
            return None
        job.call.log(f"Compiled on {answer.host.spelled} in pump mode")
        self._count("pumped")
        return made

    def _not_pumped(self, why: str) -> None:
        self._job.call.log(f"Not by pump: {why}")
        self._count("not_pumped")

    def _work(self) -> Work | None:
        work = exact.work_of(self._job, self._resident)
        if isinstance(work, Work):
            return work
        self._job.call.log(f"Not compiled exactly elsewhere: {work}")
        return None

    def _taken(self, found: HostSpec | Answer | Done | None) -> Exact | None:
        call = self._job.call
        if isinstance(found, HostSpec):
            self.reason, self._here = "it is this machine's turn", True
        elif isinstance(found, Answer) and found.refused:
            shown = found.reply.err.decode(errors="backslashreplace").strip()
            call.log(f"{found.host.spelled} does not compile it as it is: {shown}")
        elif isinstance(found, Answer) and found.other_compiler:
            self._note_other_compiler(found)
        elif isinstance(found, Answer) and self._settings.local_retry and self._settings.fallback:
            call.log(f"It failed on {found.host.spelled}")
            self._count("retried")
            self._say_retried()
            self.reason, self._here = "it failed elsewhere", True
        elif isinstance(found, Answer):  # the text's compile says what becomes of that
            call.log(f"It failed on {found.host.spelled}")
        elif found is not None:
            taken = exact.accept(self._job, self._resident, found.result, found.entry)
            if isinstance(taken, Exact):
                what = "Compiled exactly" if found.compiled else "Found"
                call.log(f"{what} on {found.host.spelled}")
                self._count("exact" if found.compiled else "known")
                return taken
            call.log(f"What {found.host.spelled} made is not taken: {taken}")
        return None

    def run(
        self, text: Preprocessed | None, compile_here: Callable[[], Execution | Sequence[Op]]
    ) -> Execution | Sequence[Op]:
        """Compile somewhere. Raises Gone."""
        try:
            found = self._elsewhere(text, compile_here)
            if found is None:
                with self._farm.slot(local_hosts(self._settings.hosts), self._wait):
                    self._state.enter(Phase.COMPILE, "localhost")
                    found = compile_here()
        except Left as gone:
            raise Gone from gone
        finally:
            self._state.leave()
        return self._with_messages(found)

    def _elsewhere(
        self, text: Preprocessed | None, compile_here: Callable[[], Execution | Sequence[Op]]
    ) -> Execution | Sequence[Op] | None:
        """None where it is to be compiled here, because nobody else does."""
        call = self._job.call
        why = self.reason
        if not why and (text is None or text.asks_assembler):
            why = "the assembler may read files"
        if why or text is None or not isinstance(self._scanned, commandline.Distributable):
            call.log(f"Not distributed: {why}")
            if self._settings.hosts is None:
                self._log(Level.WARNING, why)
            if not self._here:
                self._count("local")
            return None
        self._talk.wait(WAIT_MS)
        job = self._farm_job(commandline.strip(self._scanned.argv))
        with closing(elsewhere(self._farm, job, lambda: text.text)) as hosts:
            for found in hosts:
                if isinstance(found, HostSpec):
                    return compile_here()
                if not found.other_compiler:
                    return self._answered(found, text)
                self._note_other_compiler(found)
        self._count("unreachable")
        self._log(Level.WARNING, "failed to distribute, running locally instead")
        return None if self._settings.fallback else self._refuse(EXIT_NO_HOSTS << 8, b"")

    def _note_other_compiler(self, answer: Answer) -> None:
        what = f"{answer.host.spelled} has another compiler than this machine"
        self._log(Level.WARNING, what)
        self._job.call.log(what)
        self._count("other_compiler")

    def _farm_job(self, argv: tuple[bytes, ...]) -> FarmJob:
        return FarmJob(
            argv,
            os.fsdecode(self._job.invocation.source),
            self._settings,
            self._log,
            self._state,
            self._wait,
            self._talk.descriptor,
            self._identity(),
            self._job.toolchain.scripted,
        )

    def _identity(self) -> bytes:
        """The compiler's, if it is what a server would find out of its own."""
        call, invocation = self._job.call, self._job.invocation
        as_servers_ask = call.config.origin("compiler_check") == "default"
        plain = are_for_the_machine(invocation.include.special) and not invocation.split_dwarf
        return self._job.toolchain.identity if as_servers_ask and plain else b""

    def _answered(self, answer: Answer, text: Preprocessed) -> Execution | Sequence[Op] | None:
        reply, source = answer.reply, os.fsdecode(self._job.invocation.source)
        call = self._job.call
        if answer.refused or not (reply.object or reply.status):
            shown = reply.err.decode(errors="backslashreplace").strip() or "an empty object came"
            call.log(f"{answer.host.spelled} refused: {shown}")
            self._count("refused")
            what = f"failed to distribute {source} to {answer.host.spelled}"
            self._log(Level.WARNING, f"{what}, running locally instead", named=False)
            return None if self._settings.fallback else self._refuse(reply.status, reply.err)
        if reply.status:
            call.log(f"It failed on {answer.host.spelled}")
            retry = self._settings.local_retry and self._settings.fallback
            self._count("retried" if retry else "failed")
            if retry:
                self._say_retried()
                return None
            return self._refuse(reply.status, text.said + reply.err)
        call.log(f"Compiled on {answer.host.spelled}")
        self._count("compiled")
        coloured = forces_colour(self._job.invocation)
        err = commandline.messages(reply.err, self._sent, call.driver, text.said)
        report = Report(0, 0, reply.out, text.said + err, 0)
        said: list[Op] = []
        if report.err:
            shown_err = self._job.delivery.diagnostics(report.err, coloured=coloured)
            said.append(Out(2, shown_err))
        if report.out:
            said.append(Out(1, report.out))
        output = self._job.invocation.output or b""
        ops = [Write(output, reply.object, self._job.delivery.output_flags), *said, Exit(0)]
        alike = answer.compared and bool(self._identity())
        made = {absolute(self._job.invocation.cwd, output): reply.object}
        return Execution(report, ops, coloured, None, b"", b"", (), made, alike)

    def _say_retried(self) -> None:
        source = os.fsdecode(self._job.invocation.source)
        what = f"remote compilation of '{source}' failed, retrying locally"
        self._log(Level.WARNING, what, "dcc_build_somewhere")

    def _refuse(self, status: int, err: bytes) -> Sequence[Op]:
        if not self._settings.fallback:
            self._log(Level.ERROR, "failed to distribute and fallbacks are disabled")
        self._job.call.count(Outcome.COMPILE_FAILED)
        return [Out(2, err), Exit(status)]

    def _with_messages(self, found: Execution | Sequence[Op]) -> Execution | Sequence[Op]:
        if not self._said:
            return found
        out = Out(self._settings.errors_to, b"".join(self._said))
        if isinstance(found, Execution):
            return replace(found, ops=[out, *found.ops])
        return [out, *found]

    def _wait(self) -> None:
        self._talk.wait(WAIT_MS)
        self._state.touch()

    def _count(self, name: str) -> None:
        extra, counter = self._job.call.extra, f"pycc_farm_{name}"
        extra[counter] = extra.get(counter, 0) + 1


def dispatch_of(job: Job, talk: Talk, resident: Resident) -> Dispatch | None:
    """None where distribution is off."""
    settings = settings_of(job.call)
    if settings is None:
        return None
    made = Dispatch(job, talk, resident, settings)
    made.discover()
    return made


def _words(job: Job) -> list[bytes]:
    """The user's words, as any machine understands them."""
    invocation = job.invocation
    words = list(invocation.args)
    if forces_colour(invocation):
        words = [_COLOUR[invocation.family], *without_colour_words(words)]
    if invocation.native and job.toolchain.native:
        # In front, where the user's other words on the same matter win over them.
        words = [*job.toolchain.native, *(w for w in words if w not in invocation.native)]
    return words


def _vector(job: Job, resident: Resident, settings: ClientSettings) -> tuple[bytes, ...]:
    """The user's command, as another machine can obey it."""
    call, invocation, words = job.call, job.invocation, _words(job)
    if call.named != call.compiler:  # the user wrote a path
        return (call.named, *words)
    clang = invocation.family is Family.CLANG
    if clang and not settings.rewrite_names:
        return (call.driver, *words)
    search = call.variables.get(b"PATH", DEFAULT_PATH)

    def same(other: bytes) -> bool:
        if not settings.rewrite_names:
            return False
        found = locate_once(resident, other, search, call.cwd)
        return found is not None and found.physical == call.physical

    return commandline.portable((call.driver, *words), clang=clang, triplet=triplet(), same=same)


def triplet() -> bytes:
    """What this machine's compilers are called by, or ``unknown``."""
    return os.fsencode(getattr(sys.implementation, "_multiarch", "") or "unknown")
