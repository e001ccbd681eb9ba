"""One compile, from request to reply; read this file first.

    open_call      whose configuration, which compiler            call.py
    read           the command line, or why it cannot be cached   arguments.py
    toolchain      what the compiler is                           toolchains.py
    look_up        manifest key -> entry -> result key -> result  keying.py, cache/lookup.py
    preprocess     only when it pays; text -> result key          preprocess.py
    run            the compiler, as the launcher's child          execution.py
    keep           outputs and dependencies, if they stood still  collect.py, keep.py

The last three are miss.py's.

Nothing is counted, logged or stored before the last question to the launcher is answered: on the
loop's thread the first question raises NotHere, and the call is begun again elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING

from . import hardlinks, keying, toolchains
from .arguments import parse, reread
from .basedir import BaseDirectories, apparent_directory
from .cache import manifest
from .cache.digest import file_clock
from .cache.lookup import absolute
from .cache.storage import manifest_key, result_key
from .call import Call, message, open_call
from .compiler import ProbeFailed
from .delivery import delivery_for
from .distribution import distributes, is_distcc
from .errors import ConfigError
from .execution import without_index_store
from .frame import Op, Request
from .hot import keep_hot
from .invocation import Family, Invocation, ParseSettings, Uncacheable
from .job import Job, Several, Witnesses
from .outcome import Outcome
from .responsefile import ResponseFileError, expand
from .talk import Talk
from .unfinished import FOLLOW_SECONDS

if TYPE_CHECKING:
    from .resident import Resident

BIG_SOURCE = 4 << 20  # bytes; hashing more would keep others waiting on the loop's thread
FOLLOW_MS = int(2000 * FOLLOW_SECONDS)
RESPONSE_FILE_LIMIT = 64 << 20


def answer(request: Request, talk: Talk, resident: Resident) -> Sequence[Op]:
    """The operations that end this request. Raises NotHere, Gone."""
    if request.own_name and (len(request.argv) < 2 or request.argv[1].startswith(b"-")):
        from . import commands

        return commands.answer(request, talk, resident)
    if is_distcc(request.argv[0]):
        from . import distcc_command

        return distcc_command.answer(
            request, talk, resident, lambda called: _job_of(called, talk, resident)
        )
    call = open_call(request, resident)
    if not isinstance(call, Call):
        return call
    found = _compile(call, talk, resident)
    if isinstance(found, Job):
        return talk.hand_over(lambda talk: _miss(found, talk, resident))
    if isinstance(found, Several):
        return talk.hand_over(lambda talk: _several(found, talk, resident))
    return [*call.commit(), *found]


def _several(several: Several, talk: Talk, resident: Resident) -> Sequence[Op]:
    def open_part(call: Call, read: Invocation, talk: Talk) -> Sequence[Op] | Job:
        found = _compile(call, talk, resident, read)
        # A part has one source and no link: it is never taken apart again.
        return call.plain() if isinstance(found, Several) else found

    from .several import answer as answer_parts

    ops = answer_parts(several, talk, resident, open_part)
    return [*several.call.commit(), *ops]


def _job_of(request: Request, talk: Talk, resident: Resident) -> Job | None:
    """The job of a call whose results are not looked up; None where it cannot be cached."""
    call = open_call(request, resident)
    if not isinstance(call, Call) or call.config.disable:
        return None
    opened = _open(call, talk, resident)
    return opened if isinstance(opened, Job) else None


def _miss(job: Job, talk: Talk, resident: Resident) -> Sequence[Op]:
    # A process that only serves a hit never pays for loading what a miss needs.
    from .miss import miss

    call, key = job.call, job.manifest_key
    if key in resident.compiling and not call.config.recache:
        talk.wait(FOLLOW_MS)
        if resident.compiling.wait(key, FOLLOW_SECONDS):
            ops = _look_up(job, resident)
            if ops is not None:
                return [*call.commit(), *ops]
    with resident.compiling.under_way([key] if key else []):
        ops = None
        leading: AbstractContextManager[None] = nullcontext()
        if call.config.remote_storage:
            from .tiers import look_up, remote_of

            try:
                ops = look_up(job, talk, resident)
            except ConfigError as problem:
                return message(str(problem), 1)
            remote = remote_of(job, resident)
            leading = remote.leading()
            if ops is None:
                ops = remote.follow(talk)
        if ops is None and call.config.read_only_direct:
            ops = call.plain(*job.missed())
        if ops is None:
            with leading:
                ops = miss(job, talk, resident)
    job.remote = None  # each knows the other, and both know the source
    return [*call.commit(), *ops]


def count_failure(request: Request, resident: Resident) -> None:
    """A call raised: count it where its user looks, if its configuration can be read."""
    with suppress(Exception):
        call = open_call(request, resident)
        if isinstance(call, Call):
            call.count(Outcome.INTERNAL_ERROR)
            call.commit()


def _compile(
    call: Call, talk: Talk, resident: Resident, read: Invocation | None = None
) -> Sequence[Op] | Job | Several:
    """What ends this call, the job that is a miss, or its parts. Raises NotHere."""
    if call.config.disable:
        return call.plain()
    job = _open(call, talk, resident, read)
    if not isinstance(job, Job):
        return job
    if job.manifest_key and not call.config.recache:
        if job.manifest_key in resident.unfinished:
            talk.may_block()
            resident.unfinished.wait(job.manifest_key)
        if call.config.reshare and call.config.remote_storage:
            talk.may_block()
        ops = _look_up(job, resident)
        if ops is not None:
            return ops
    if call.config.read_only_direct and not call.config.remote_storage:
        return call.plain(*job.missed())
    return job


def _open(
    call: Call, talk: Talk, resident: Resident, known: Invocation | None = None
) -> Sequence[Op] | Job | Several:
    """What ends this call, its job with its keys, or its parts. Raises NotHere. ``known`` is what
    its words ask for, where they were read before."""
    start = file_clock()
    if call.log.enabled:
        _log_compiler(call)
    foreign = _foreign(call)
    if foreign:
        return call.refuse(Outcome.UNSUPPORTED_COMPILER_OPTION, f"options of {foreign}")
    if call.config.reads_again:
        resident.digests.forget()
        resident.headers.forget()
    witnesses = Witnesses(resident.digests)
    witnesses.records += call.records
    base_dir = _base_directories(call, witnesses)
    read = known or _read(call, witnesses, base_dir)
    if isinstance(read, Uncacheable):
        parts = _parts(call, read, witnesses, resident)
        return parts or call.refuse(read.outcome, os.fsdecode(read.detail))
    try:
        toolchain = toolchains.toolchain(call, talk, resident, read)
    except ProbeFailed as problem:
        return call.refuse(Outcome.COMPILER_CHECK_FAILED, str(problem))
    invocation = read
    if toolchain.family is not read.family:
        again = reread(read, toolchain.family)
        if isinstance(again, Uncacheable):
            return call.refuse(again.outcome, os.fsdecode(again.detail))
        invocation = again
    witnesses.records.append(toolchain.witnesses)

    trouble = _check_files(call, invocation, witnesses)
    if trouble is not None:
        return call.refuse(*trouble)
    source = absolute(call.cwd, invocation.source)
    call.source = invocation.source
    if witnesses.size_of(source) > BIG_SOURCE:
        talk.may_block()
    source_digest, source_text = witnesses.content_and_text(source)
    if source_digest is None:
        return call.refuse(Outcome.BAD_INPUT_FILE, os.fsdecode(source))
    if source_digest in resident.digests.disabling:
        return call.refuse(Outcome.DISABLED, "the source says ccache:disable")
    try:
        base = keying.common(call, invocation, toolchain, witnesses)
    except keying.KeyProblem as problem:
        return call.refuse(problem.outcome, os.fsdecode(problem.path))

    job = Job(
        call=call,
        invocation=invocation,
        toolchain=toolchain,
        delivery=delivery_for(
            invocation,
            _wants_colour(call, invocation),
            call.cwd if call.config.absolute_paths_in_stderr else b"",
            hardlinks.receiving(call, invocation),
        ),
        base=base,
        source_digest=source_digest,
        source_text=source_text,
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
    return job


UNKNOWN_TO_US = frozenset({"clang-cl", "cl", "icl", "icx-cl", "msvc", "nvcc"})
"""Compilers, by name and by compiler_type, whose options mean other things than gcc's."""


def _foreign(call: Call) -> str:
    """Which of them this call's compiler is; empty for any other."""
    configured = call.config.compiler_type
    names = (os.fsdecode(call.driver), os.fsdecode(call.real_name))
    found = (configured,) if configured != "auto" else names
    return next((name for name in found if name in UNKNOWN_TO_US), "")


def _log_compiler(call: Call) -> None:
    kind = call.config.compiler_type
    if kind == "auto":
        kind = _foreign(call) or _likely_family(call).value
    call.log(f"Compiler: {os.fsdecode(call.compiler)}")
    call.log(f"Compiler type: {kind}")


def _base_directories(call: Call, witnesses: Witnesses) -> BaseDirectories | None:
    directories = call.config.base_dir
    if not directories:
        return None
    pwd = call.variables.get(b"PWD")
    return BaseDirectories(
        [os.fsencode(d) for d in directories], call.cwd, pwd, witnesses.signature
    )


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
        args, _ = expand(call.words, read_file, call.config.response_file_format)
    except ResponseFileError as problem:
        return Uncacheable(Outcome.BAD_COMPILER_ARGUMENTS, os.fsencode(str(problem)))
    if "clang_index_store" in call.config.sloppiness:
        args = without_index_store(args)
    # Names that the compiler derives from its directory begin with $PWD where that is right.
    cwd = apparent_directory(call.cwd, call.variables.get(b"PWD"), witnesses.signature)
    return _parse(call, args, _likely_family(call), cwd, base_dir)


def _parts(
    call: Call, why: Uncacheable, witnesses: Witnesses, resident: Resident
) -> Several | None:
    if why.outcome not in (Outcome.CALLED_FOR_LINK, Outcome.MULTIPLE_SOURCE_FILES):
        return None
    # A call of one part never pays for loading it.
    from .several import taken_apart

    cwd = apparent_directory(call.cwd, call.variables.get(b"PWD"), witnesses.signature)
    return taken_apart(call, why, _likely_family(call), _settings(call), cwd, resident)


def _settings(call: Call) -> ParseSettings:
    config = call.config
    return ParseSettings(
        sloppiness=config.sloppiness,
        direct_mode=config.direct_mode,
        depend_mode=config.depend_mode,
        ignore_options=tuple(os.fsencode(p) for p in config.ignore_options.split()),
    )


def _parse(
    call: Call,
    args: Sequence[bytes],
    family: Family,
    cwd: bytes,
    base_dir: BaseDirectories | None,
) -> Invocation | Uncacheable:
    invocation = parse(
        args,
        family=family,
        driver=call.driver,
        settings=_settings(call),
        cwd=cwd,
        environment=call.variables,
    )
    if base_dir is None or isinstance(invocation, Uncacheable):
        return invocation
    return base_dir.invocation(invocation)


def _likely_family(call: Call) -> Family:
    """By the compiler's name; what it says itself decides later."""
    configured = call.config.compiler_type
    if configured in ("clang", "gcc"):
        return Family(configured)
    return Family.CLANG if b"clang" in call.real_name or b"clang" in call.driver else Family.GCC


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
    if call.config.remote_only:
        return None
    stored = call.cache.get(manifest_key(job.manifest_key))
    if stored is None:
        call.log("No manifest")
        return None
    job.known_locally, job.wanted = True, ()
    try:
        job.entries = manifest.unpack(stored)
    except manifest.ManifestError as problem:
        call.log(f"Manifest cannot be read: {problem}")
        return None
    for entry in job.entries:
        if entry.flags & manifest.NEEDS_TEXT:
            job.needs_text = True
            continue
        if entry.flags & manifest.ELSEWHERE and not distributes(call):
            continue
        if entry.day and entry.day != job.day(job.started):
            continue
        by_stat = call.config.sloppiness if entry.stats else ()
        verdict = resident.verifier.verify(entry, call.cwd, job.output_directories(), by_stat)
        if not verdict.holds:
            call.log(f"Entry does not hold: {os.fsdecode(verdict.reason)}")
            continue
        key = result_key(entry.result_key)
        value = call.cache.get(key)
        if value is None:
            job.wanted = (*job.wanted, (entry, None if entry.day else verdict.records))
            job.looked_up_result = True
            continue
        ops = job.delivery(value)
        if ops is None:
            continue
        keys = (manifest_key(job.manifest_key), key)
        for touched in keys:
            call.cache.storage.touch(touched)
        call.count(Outcome.DIRECT_CACHE_HIT)
        job.count_local(hit=True)
        keep_hot(job, resident, keys, None if entry.day else verdict.records)
        if call.config.reshare and call.config.remote_storage:
            _reshare(job, resident, keys, (stored, value))
        return ops
    return None


def _reshare(job: Job, resident: Resident, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
    from .tiers import remote_of

    try:
        remote = remote_of(job, resident)
    except ConfigError as problem:  # whoever misses is told
        job.call.log(str(problem))
        return
    for key, value in zip(keys, values, strict=True):
        remote.reshare(key, value)
    remote.flush()
    job.remote = None
