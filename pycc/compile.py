"""One compile, from request to reply; read this file first.

    open_call      whose configuration, which compiler            call.py
    read           the command line, or why it cannot be cached   arguments.py
    toolchain      what the compiler is                           toolchains.py
    look_up        manifest key -> entry -> result key -> result  keying.py, cache/lookup.py
    preprocess     only when it pays; text -> result key          preprocess.py
    run            the compiler, as the launcher's child          execution.py
    keep           outputs and dependencies, if they stood still  collect.py, keep.py

By default the compiler itself reports the headers (-MD) in the run that makes the object, so a
miss costs one compile and no preprocessing. The classic order, preprocessor first, is taken where
that report cannot be had (-MMD leaves out system headers; nothing derives them exactly), where
adding -MD would be seen in the object (clang's -frecord-command-line), where direct mode is off,
where the text asks for the time, and where ``preprocess_first`` says so.

Nothing is counted, logged or stored before the last question to the launcher is answered: on the
loop's thread the first question raises NotHere, and the call is begun again elsewhere.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from . import collect, commands, hardlinks, keying, precompiled, toolchains
from .arguments import parse, reread
from .basedir import BaseDirectories, apparent_directory
from .cache import manifest
from .cache.digest import file_clock
from .cache.fingerprint import Fingerprint
from .cache.lookup import absolute
from .cache.storage import manifest_key, result_key
from .call import Call, open_call
from .compiler import ProbeFailed
from .delivery import Delivery, delivery_for
from .execution import Execution, run_compiler, without_index_store
from .frame import Op, Request
from .hardlinks import LinkedObjects
from .hot import foresee, keep_hot
from .invocation import Family, Invocation, ParseSettings, Uncacheable
from .job import Job, Witnesses
from .keep import keep
from .outcome import Outcome
from .preprocess import Preprocessed, preprocess
from .responsefile import ResponseFileError, expand
from .stability import identities, prefixes
from .talk import NotHere, Talk

if TYPE_CHECKING:
    from .resident import Resident

BIG_SOURCE = 4 << 20  # bytes; hashing more would keep others waiting on the loop's thread
RESPONSE_FILE_LIMIT = 64 << 20
TICK_SECONDS, TICKS = 0.002, 6
"""Kernels stamp files with a clock that moves every 1 to 10 ms."""


def answer(request: Request, talk: Talk, resident: Resident) -> Sequence[Op]:
    """The operations that end this request. Raises NotHere, Gone."""
    if request.own_name and (len(request.argv) < 2 or request.argv[1].startswith(b"-")):
        return commands.answer(request, talk, resident)
    call = open_call(request, resident)
    if not isinstance(call, Call):
        return call
    ops = _compile(call, talk, resident)
    return [*call.commit(), *ops]


def count_failure(request: Request, resident: Resident) -> None:
    """A call raised: count it where its user looks, if its configuration can be read."""
    with suppress(Exception):
        call = open_call(request, resident)
        if isinstance(call, Call):
            call.count(Outcome.INTERNAL_ERROR)
            call.commit()


def _compile(call: Call, talk: Talk, resident: Resident) -> Sequence[Op]:
    start = file_clock()
    if call.config.disable:
        return call.plain()
    if call.log.enabled:
        _log_compiler(call)
    witnesses = Witnesses(resident.digests)
    witnesses.records += call.records
    base_dir = _base_directories(call, witnesses)
    read = _read(call, witnesses, base_dir)
    if isinstance(read, Uncacheable):
        return _uncacheable(call, read.outcome, os.fsdecode(read.detail))
    try:
        toolchain = toolchains.toolchain(call, talk, resident, read)
    except ProbeFailed as problem:
        return _uncacheable(call, Outcome.COMPILER_CHECK_FAILED, str(problem))
    invocation = read
    if toolchain.family is not read.family:
        again = reread(read, toolchain.family)
        if isinstance(again, Uncacheable):
            return _uncacheable(call, again.outcome, os.fsdecode(again.detail))
        invocation = again
    witnesses.records.append(toolchain.witnesses)

    trouble = _check_files(call, invocation, witnesses)
    if trouble is not None:
        return _uncacheable(call, *trouble)
    source = absolute(call.cwd, invocation.source)
    call.source = invocation.source
    if witnesses.size_of(source) > BIG_SOURCE:
        talk.may_block()
    source_digest = witnesses.content(source)
    if source_digest is None:
        return _uncacheable(call, Outcome.BAD_INPUT_FILE, os.fsdecode(source))
    if source_digest in resident.digests.disabling:
        return _uncacheable(call, Outcome.DISABLED, "the source says ccache:disable")
    try:
        base = keying.common(call, invocation, toolchain, witnesses)
    except keying.KeyProblem as problem:
        return _uncacheable(call, problem.outcome, os.fsdecode(problem.path))

    job = Job(
        call=call,
        invocation=invocation,
        toolchain=toolchain,
        delivery=delivery_for(
            invocation,
            _wants_colour(call, invocation),
            call.cwd if call.config.absolute_paths_in_stderr else b"",
            LinkedObjects(call.cache, call.cwd, hardlinks.wanted(call, invocation)),
        ),
        base=base,
        source_digest=source_digest,
        start=start,
        witnesses=witnesses,
        base_dir=base_dir,
    )
    if call.debug is not None:
        call.debug.output = invocation.output or call.debug.output
        call.debug.add("c", base)
    if call.config.direct_mode and invocation.direct and toolchain.family is not Family.OTHER:
        job.direct = keying.direct(base, call, invocation, source_digest, job.moved())
        job.manifest_key = job.direct.key()
        if call.debug is not None:
            call.debug.add("d", job.direct, base)
        if not call.config.recache:
            ops = _look_up(job, resident)
            if ops is not None:
                return ops
        if call.config.read_only_direct:
            return call.plain(*_missed(job))
    talk.may_block()
    return _miss(job, talk, resident)


def _log_compiler(call: Call) -> None:
    kind = call.config.compiler_type
    call.log(f"Compiler: {os.fsdecode(call.compiler)}")
    call.log(f"Compiler type: {_likely_family(call).value if kind == 'auto' else kind}")


def _base_directories(call: Call, witnesses: Witnesses) -> BaseDirectories | None:
    directories = call.config.base_dir
    if not directories:
        return None
    pwd = call.variables.get(b"PWD")
    return BaseDirectories(
        [os.fsencode(d) for d in directories], call.cwd, pwd, witnesses.signature
    )


def _uncacheable(call: Call, outcome: Outcome, detail: str) -> list[Op]:
    call.log(f"Not cached: {detail}")
    return call.plain(outcome)


def _wants_colour(call: Call, invocation: Invocation) -> bool:
    if invocation.color is not None:
        return invocation.color
    return call.request.stderr_tty and call.variables.get(b"TERM", b"dumb") != b"dumb"


# Reading the command line.


def _read(
    call: Call, witnesses: Witnesses, base_dir: BaseDirectories | None
) -> Invocation | Uncacheable:
    def read_file(name: bytes) -> bytes | None:
        got = witnesses.read(absolute(call.cwd, name), RESPONSE_FILE_LIMIT)
        return None if got is None or b"\0" in got else got

    try:
        args, _ = expand(call.words, read_file)
    except ResponseFileError as problem:
        return Uncacheable(Outcome.BAD_COMPILER_ARGUMENTS, os.fsencode(str(problem)))
    if "clang_index_store" in call.config.sloppiness:
        args = without_index_store(args)
    # Names that the compiler derives from its directory begin with $PWD where that is right.
    cwd = apparent_directory(call.cwd, call.variables.get(b"PWD"), witnesses.signature)
    return _parse(call, args, _likely_family(call), cwd, base_dir)


def _parse(
    call: Call,
    args: Sequence[bytes],
    family: Family,
    cwd: bytes,
    base_dir: BaseDirectories | None,
) -> Invocation | Uncacheable:
    config = call.config
    settings = ParseSettings(
        sloppiness=config.sloppiness,
        direct_mode=config.direct_mode,
        depend_mode=config.depend_mode,
        ignore_options=tuple(os.fsencode(p) for p in config.ignore_options.split()),
    )
    invocation = parse(
        args,
        family=family,
        driver=call.driver,
        settings=settings,
        cwd=cwd,
        environment=call.variables,
    )
    if base_dir is None or isinstance(invocation, Uncacheable):
        return invocation
    return base_dir.invocation(invocation)


def _likely_family(call: Call) -> Family:
    """By the compiler's name; what it says itself decides later."""
    configured = call.config.compiler_type
    if configured == "clang":
        return Family.CLANG
    name = os.path.basename(os.path.realpath(call.compiler))
    return Family.CLANG if b"clang" in name or b"clang" in call.driver else Family.GCC


# The files of the command line.


def _check_files(
    call: Call, invocation: Invocation, witnesses: Witnesses
) -> tuple[Outcome, str] | None:
    """Why this call cannot be cached on account of its files, or None."""
    sloppy = call.config.sloppiness
    candidates = [absolute(call.cwd, path) for path in invocation.pch_candidates]
    uses_pch = invocation.uses_pch or any(witnesses.exists(path) for path in candidates)
    if invocation.generates_pch and "pch_defines" not in sloppy:
        return Outcome.COULD_NOT_USE_PRECOMPILED_HEADER, "making a precompiled header"
    if uses_pch and "time_macros" not in sloppy:
        return Outcome.COULD_NOT_USE_PRECOMPILED_HEADER, "using a precompiled header"
    if invocation.output is not None:
        for output in (invocation.output, *(o.path for o in invocation.outputs)):
            path = absolute(call.cwd, output)
            if not witnesses.can_be_written(path):
                return Outcome.BAD_OUTPUT_FILE, os.fsdecode(path)
    source = absolute(call.cwd, invocation.source)
    if not witnesses.is_regular(source):
        return Outcome.NO_INPUT_FILE, os.fsdecode(source)
    return None


# Looking up.


def _look_up(job: Job, resident: Resident) -> Sequence[Op] | None:
    """The reply of a direct hit, or None."""
    call = job.call
    stored = call.cache.get(manifest_key(job.manifest_key))
    if stored is None:
        call.log("No manifest")
        return None
    try:
        job.entries = manifest.unpack(stored)
    except manifest.ManifestError as problem:
        call.log(f"Manifest cannot be read: {problem}")
        return None
    for entry in job.entries:
        if entry.flags & manifest.NEEDS_TEXT:
            job.needs_text = True
            continue
        if entry.day and entry.day != job.started_day:
            continue
        verdict = resident.verifier.verify(entry, call.cwd)
        if not verdict.holds:
            call.log(f"Entry does not hold: {os.fsdecode(verdict.reason)}")
            continue
        key = result_key(entry.result_key)
        value = call.cache.get(key)
        if value is None:
            job.extra_misses += 1
            continue
        ops = job.delivery(value)
        if ops is None:
            continue
        keys = (manifest_key(job.manifest_key), key)
        for touched in keys:
            call.cache.storage.touch(touched)
        call.count(Outcome.DIRECT_CACHE_HIT)
        _hit(job, resident, ops, keys, None if entry.day else verdict.records)
        return ops
    return None


def _hit(
    job: Job,
    resident: Resident,
    ops: Sequence[Op],
    keys: tuple[bytes, ...],
    records: tuple[bytes, ...] | None,
) -> None:
    call = job.call
    call.extra.update(
        {Outcome.LOCAL_STORAGE_HIT.value: 1, Outcome.LOCAL_STORAGE_READ_HIT.value: 2}
    )
    keep_hot(job, resident, keys, records)


def _missed(job: Job) -> list[Outcome]:
    outcomes = [Outcome.CACHE_MISS]
    if job.manifest_key:
        outcomes.append(Outcome.DIRECT_CACHE_MISS)
    return outcomes


# Missing.


def _miss(job: Job, talk: Talk, resident: Resident) -> Sequence[Op]:
    call, invocation = job.call, job.invocation
    job.precompiled = precompiled.find(job, resident)
    trouble = precompiled.trouble(job)
    if trouble is not None:
        return _uncacheable(call, *trouble)
    _start_anew(job)
    before = identities(_directories_known_before(job, resident), resident.look)
    text: Preprocessed | None = None
    if _classic_order(job, resident):
        got = preprocess(job, talk, resident)
        if not isinstance(got, Preprocessed):
            return got
        text = got
        if not call.config.recache:
            ops = _look_up_text(job, text, resident, before)
            if ops is not None:
                return ops
    if call.config.read_only:
        return call.plain(*_missed(job), Outcome.PREPROCESSED_CACHE_MISS)
    hardlinks.make_way(call, invocation)
    execution = run_compiler(job, talk, resident, ask_headers=text is None)
    if not isinstance(execution, Execution):
        return execution
    if call.config.recache:
        call.count(Outcome.RECACHE)
    else:
        call.count(*_missed(job))
        if not (call.config.depend_mode and invocation.dependencies is not None):
            call.count(Outcome.PREPROCESSED_CACHE_MISS)
        call.extra[Outcome.LOCAL_STORAGE_MISS.value] = 1
        call.extra[Outcome.LOCAL_STORAGE_READ_MISS.value] = 2 if job.manifest_key else 1
    depfile = None if job.base_dir is None else collect.relative_depfile(invocation, job.base_dir)
    if depfile is not None:
        execution = replace(execution, ops=[depfile, *execution.ops])
    entries = collect.outputs(invocation, execution.report, execution.coloured, depfile)
    if isinstance(entries, collect.Refused):
        call.tally.clear()
        call.log(f"Not stored: {entries.detail}")
        call.count(entries.outcome)
        execution.clean()
        return execution.ops
    entry = keep(job, resident, execution, entries, text, before)
    if entry is not None:
        foresee(job, resident, entry)
    execution.clean()
    return execution.ops


def _start_anew(job: Job) -> None:
    """Let the compile start in a later clock tick than the source's last change.

    A file that was made in the tick in which its compile starts could be changed once more
    without a trace; sources fresh from a generator would never be stored."""
    named = (job.invocation.source, *job.precompiled)
    changed = max(
        job.witnesses.signature(absolute(job.call.cwd, path)).changed for path in named
    )
    for _ in range(TICKS):
        job.start = file_clock()
        if job.start > changed:
            break
        time.sleep(TICK_SECONDS)


def _directories_known_before(job: Job, resident: Resident) -> list[bytes]:
    """Directories on the way to what this compile will read, as far as they are known."""
    cwd, include = job.call.cwd, job.invocation.include
    named = (*include.quote, *include.angle, *include.system, *include.after)
    ways = [absolute(cwd, job.invocation.source), cwd + b"/x"]
    ways += (absolute(cwd, directory) + b"/x" for directory in named)
    return list(dict.fromkeys((*prefixes(ways), *resident.doubtful_directories())))


def _classic_order(job: Job, resident: Resident) -> bool:
    """Whether the preprocessor runs first; see the head of this file."""
    config, invocation = job.call.config, job.invocation
    if invocation.preprocessed:
        return not job.manifest_key
    if not job.manifest_key or config.preprocess_first or job.needs_text:
        return True
    wanted = invocation.dependencies
    if wanted is not None and not wanted.system and not config.depend_mode:
        return True
    if wanted is None and any(_is_dependency_word(word) for word in invocation.args):
        # -MF without -MD, or into /dev/null: the user's word would win over ours.
        return True
    if invocation.records_command_line and invocation.family is Family.CLANG:
        return True
    source = absolute(job.call.cwd, invocation.source)
    asked = resident.directives(source, job.source_digest)
    if asked is not None and (asked.time or asked.timestamp):
        return "time_macros" not in config.sloppiness
    return bool(job.entries) and not job.precompiled and keying.free_text_allowed(invocation)


def _is_dependency_word(word: bytes) -> bool:
    return word.startswith(b"-M") or (word.startswith(b"-Wp,") and b",-M" in word)


def _look_up_text(
    job: Job, text: Preprocessed, resident: Resident, before: dict[bytes, tuple[int, int]]
) -> Sequence[Op] | None:
    call = job.call
    key = result_key(text.key)
    value = call.cache.get(key)
    ops = None if value is None else job.delivery(value)
    if ops is None:
        return None
    call.cache.storage.touch(key)
    call.count(Outcome.PREPROCESSED_CACHE_HIT)
    if job.manifest_key:
        call.count(Outcome.DIRECT_CACHE_MISS)
    call.extra.update(
        {Outcome.LOCAL_STORAGE_HIT.value: 1, Outcome.LOCAL_STORAGE_READ_HIT.value: 1}
    )
    keep(job, resident, None, None, text, before)
    return ops


__all__ = ["Delivery", "Fingerprint", "NotHere", "answer", "count_failure"]
