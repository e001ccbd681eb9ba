"""What the daemon's compilers are, asked once and then as long as their files stand.

The identity is the client's own (compiler.py): the content of the driver, of the programs and
libraries behind it, and the absence of what would be taken instead if it appeared.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Mapping, Sequence

from pycc import native
from pycc.cache.digest import FileDigests
from pycc.compiler import ProbeFailed, Toolchain, probe
from pycc.frame import Report, Run
from pycc.options import machine_words
from pycc.talk import HereTalk

from .child import End, Stop, run

PROBE_SECONDS = 30.0
MEMO_LIMIT = 500


class _DaemonTalk(HereTalk):
    """A Talk for questions to a compiler, which runs as a child of the daemon."""

    def __init__(self, environment: Mapping[bytes, bytes], stop: Stop | None) -> None:
        self._environment = environment
        self._stop = stop

    def run(self, command: Run, meanwhile: Callable[[], None] | None = None) -> Report:
        environment = dict(self._environment)
        for edit in command.environment:
            name, equals, value = edit.partition(b"=")
            if equals:
                environment[name] = value
            else:
                environment.pop(name, None)
        try:
            ran = run(
                command.argv,
                cwd=b"/",
                environment=environment,
                seconds=PROBE_SECONDS,
                stop=self._stop,
            )
        except OSError as problem:
            return Report(0, problem.errno or 1, b"", b"", 0)
        if ran.end is not End.DONE:  # its status says nothing
            return Report(0, errno.ETIMEDOUT, b"", b"", 0)
        return Report(ran.status, 0, ran.out, ran.err, 0)


class Identities:
    """Safe for several threads; ``environment`` is that of every compile."""

    def __init__(self, environment: Mapping[bytes, bytes], stop: Stop | None = None) -> None:
        self._environment = environment
        self._talk = _DaemonTalk(environment, stop)
        self._digests = FileDigests(native.signature, native.fs_type)
        self._known: dict[tuple[bytes, bytes, tuple[bytes, ...]], Toolchain] = {}
        self._asking = threading.Lock()

    def of(self, program: bytes, language: bytes, args: Sequence[bytes] = ()) -> bytes | None:
        """The identity of ``program`` for a language (a word of -x) and the machine that ``args``
        choose; None if it is neither gcc nor clang, or does not answer as they do."""
        what = (program, language, machine_words(args))
        known = self._known.get(what)
        if known is not None and native.check(known.witnesses) < 0:
            return known.identity
        with self._asking:
            known = self._known.get(what)
            if known is None or native.check(known.witnesses) >= 0:
                try:
                    known = self._ask(*what)
                except ProbeFailed:
                    return None
                if len(self._known) >= MEMO_LIMIT:
                    self._known.clear()
                self._known[what] = known
        return known.identity

    def _ask(self, program: bytes, language: bytes, special: tuple[bytes, ...]) -> Toolchain:
        return probe(
            self._talk,
            program,
            language=language,
            special=special,
            native=(),
            environment=self._environment,
            cwd=b"/",
            split_dwarf=False,
            digests=self._digests,
            compiler_check=lambda _: None,
        )
