"""A miss: the preprocessor if it pays, the compiler, and what is kept of it.

By default the compiler itself reports the headers (-MD) in the run that makes the object, so a
miss costs one compile and no preprocessing. The classic order, preprocessor first, is taken where
that report cannot be had (-MMD leaves out system headers; nothing derives them exactly), where
adding -MD would be seen in the object (clang's -frecord-command-line), where direct mode is off,
where the text asks for the time, and where ``preprocess_first`` says so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from . import collect, hardlinks, keying, precompiled
from .cache.digest import CLOCK_REALTIME_COARSE
from .cache.lookup import absolute, result_key_of
from .cache.result import Entry
from .cache.storage import result_key
from .dependencies import is_dependency_word
from .distribution import distributes
from .execution import Execution, run_compiler
from .frame import Op
from .hot import foresee
from .invocation import Family
from .job import Job
from .keep import Decision, decide, store
from .outcome import Outcome
from .preprocess import Preprocessed, preprocess
from .record import record, replace
from .stability import identities, prefixes
from .talk import Gone, Talk

if TYPE_CHECKING:
    from .directives import Directives
    from .dispatch import Dispatch
    from .native import Signature
    from .pump import Pumped
    from .resident import Resident

FINER_NS = int(time.clock_getres(CLOCK_REALTIME_COARSE) * 1.5e9)
"""What is made in one go may carry stamps that lie so far apart: some are of the finer clock."""


@record
class Compiled:
    """A compile that has succeeded, its outputs not yet read. ``before`` is from
    stability.identities, ``older`` from collect.lying."""

    job: Job
    execution: Execution
    text: Preprocessed | None
    before: dict[bytes, tuple[int, int]]
    older: dict[bytes, Signature]


@record
class Judged:
    """What a compile left, and what of it is to be stored. ``ops`` end the call."""

    job: Job
    ops: Sequence[Op]
    decision: Decision | None
    entries: Sequence[Entry]


def miss(job: Job, talk: Talk, resident: Resident) -> Sequence[Op]:
    """The operations that end a call whose result is not known directly. Raises Gone."""
    call, invocation = job.call, job.invocation
    elsewhere: Dispatch | None = None
    if distributes(call):
        from .dispatch import dispatch_of  # most calls never need it

        elsewhere = dispatch_of(job, talk, resident)
        if elsewhere is not None and not call.config.read_only:
            exact = elsewhere.exactly()
            if exact is not None:
                _count_miss(job)
                hardlinks.make_way(call, invocation)
                key = result_key_of(job.manifest_key, exact.entry.files, b"", exact.entry.present)
                known = Decision(key, replace(exact.entry, result_key=key))
                judged = Judged(job, exact.ops, known, exact.entries)
                return finish([judged], exact.ops, talk, resident)
            pumped = pump(job, resident, elsewhere)
            if pumped is not None:
                _count_miss(job)
                hardlinks.make_way(call, invocation)
                judged = Judged(job, pumped.ops, pumped.decision, pumped.entries)
                return finish([judged], pumped.ops, talk, resident)
    compiled = compile_one(job, talk, resident, elsewhere)
    if not isinstance(compiled, Compiled):
        return compiled
    found = judge(compiled, resident)
    return finish([found], found.ops, talk, resident) if isinstance(found, Judged) else found


def compile_one(
    job: Job, talk: Talk, resident: Resident, elsewhere: Dispatch | None = None
) -> Compiled | Sequence[Op]:
    """The compile of a miss; operations where the call ends without one. Raises Gone."""
    call, invocation = job.call, job.invocation

    def find_precompiled() -> None:
        job.precompiled = precompiled.find(job, resident)

    sent = elsewhere is not None and not elsewhere.reason
    classic = sent or _classic_order(job, resident)
    job.source_text = None
    meanwhile: Callable[[], None] | None = find_precompiled
    if classic or job.entries or invocation.uses_pch or invocation.pch_candidates:
        find_precompiled()
        trouble = precompiled.trouble(job)
        if trouble is not None:
            return call.refuse(*trouble)
        # Depend mode is asked for by who wants no preprocessing.
        pays = bool(job.entries) and not (job.precompiled or job.depends_only)
        classic = classic or (pays and keying.free_text_allowed(invocation))
        meanwhile = None
    _start_anew(job, resident)
    before = identities(_directories_known_before(job, resident), resident.look)
    older = collect.lying(invocation)
    text: Preprocessed | None = None
    if classic:
        got = _preprocess(job, talk, resident, elsewhere)
        if not isinstance(got, Preprocessed):
            return got
        text = got
        if not call.config.recache:
            ways = (text, text.compiled_elsewhere()) if sent else (text,)
            for way in ways:
                ops = _look_up_text(job, way, talk, resident, before)
                if ops is not None:
                    return ops
            ops = _follow_text(job, ways, talk, resident, before)
            if ops is not None:
                return ops
    if call.config.read_only:
        return call.plain(*job.missed(), Outcome.PREPROCESSED_CACHE_MISS)
    hardlinks.make_way(call, invocation)

    def run_here() -> Execution | Sequence[Op]:
        # The compiler needs milliseconds until it opens a file, which is time enough to look.
        return run_compiler(job, talk, resident, meanwhile, ask_headers=text is None)

    execution = run_here() if elsewhere is None else elsewhere.run(text, run_here)
    if not isinstance(execution, Execution):
        return execution
    return Compiled(job, execution, text, before, older)


def judge(compiled: Compiled, resident: Resident) -> Judged | Sequence[Op]:
    """What to keep of a compile; operations that end its call, where that is nothing."""
    job, execution, text = compiled.job, compiled.execution, compiled.text
    call, invocation = job.call, job.invocation
    if execution.made is not None and text is not None:
        as_here = execution.alike and text.free and not execution.report.err
        text = text if as_here else text.compiled_elsewhere()
    trouble = precompiled.trouble(job)
    if trouble is not None:
        execution.clean()
        call.log(f"Not stored: {trouble[1]}")
        call.count(trouble[0])
        return execution.ops
    _count_miss(job)
    depfile = None if job.base_dir is None else collect.relative_depfile(invocation, job.base_dir)
    if depfile is not None:
        execution = replace(execution, ops=[depfile, *execution.ops])
    entries = collect.outputs(
        invocation,
        execution.report,
        execution.coloured,
        depfile,
        execution.made,
        compiled.older,
        job.start,
    )
    if isinstance(entries, collect.Refused):
        call.tally.clear()
        call.log(f"Not stored: {entries.detail}")
        call.count(entries.outcome)
        execution.clean()
        return execution.ops
    try:
        decision = decide(job, resident, execution, entries, text, compiled.before)
    finally:
        execution.clean()
    return Judged(job, execution.ops, decision, entries)


def pump(job: Job, resident: Resident, elsewhere: Dispatch, *, kept: bool = True) -> Pumped | None:
    """What a stock server made of the source itself, which is to be ``kept`` or not; None where
    none did. Raises Gone."""
    if not elsewhere.pumps:
        return None
    job.precompiled = precompiled.find(job, resident)
    _start_anew(job, resident)
    before = identities(_directories_known_before(job, resident), resident.look)
    return elsewhere.pumped(before, kept=kept)


def finish(
    judged: Sequence[Judged], ops: Sequence[Op], talk: Talk, resident: Resident
) -> Sequence[Op]:
    """Store what was decided, if possible behind the launcher's back; ``ops``, if they are still
    to be carried out."""
    keys = [key for one in judged for key in (one.job.manifest_key, one.job.base.key())]
    with resident.unfinished.under_way(keys):
        released = all(_nobody_looks(one.job) for one in judged) and _release(talk, ops)
        for one in judged:
            if one.decision is not None:
                store(one.job, resident, one.decision, one.entries)
                # A part of a command is no request that could be hot.
                if one.decision.entry is not None and one.job.call.request.name:
                    foresee(one.job, resident, one.decision.entry)
            if released:
                one.job.call.commit()
    return () if released else ops


def _count_miss(job: Job) -> None:
    call = job.call
    if call.config.recache:
        call.count(Outcome.RECACHE)
        return
    call.count(*job.missed())
    if not job.depends_only:
        call.count(Outcome.PREPROCESSED_CACHE_MISS)
    job.count_local(hit=False)
    if job.remote is not None:
        job.remote.count_miss()


def _preprocess(
    job: Job, talk: Talk, resident: Resident, elsewhere: Dispatch | None
) -> Preprocessed | Sequence[Op]:
    if elsewhere is None:
        return preprocess(job, talk, resident)
    sent = not elsewhere.reason and job.invocation.dependencies is not None
    with elsewhere.preprocessing():
        return preprocess(job, talk, resident, elsewhere.preprocess_words() if sent else ())


def _release(talk: Talk, ops: Sequence[Op]) -> bool:
    try:
        return talk.release(ops)
    except Gone:  # killed, now that its compile is done; the result is as good
        return True


def _nobody_looks(job: Job) -> bool:
    """Whether all that is still to be done may happen behind the launcher's back."""
    config = job.call.config
    seen = config.log_file or config.debug or config.stats_log or config.recache
    seen = seen or config.hard_link or config.file_clone
    return not seen


def _start_anew(job: Job, resident: Resident) -> None:
    """Let the compile start after the source's last change, and after the last header was made:
    sources fresh from a generator would never be stored."""
    cwd = job.call.cwd
    checksums = job.call.config.pch_external_checksum
    opaque = precompiled.files(cwd, job.precompiled, external_checksum=checksums)
    named = (job.invocation.source, *opaque)
    changed = max(job.witnesses.signature(absolute(cwd, path)).changed for path in named)
    places = _include_directories(job)
    if places:
        # Where objects are made, something is always new.
        made = job.output_directories()
        places = [path for path in places if os.path.normpath(path) not in made]
        last_made = max([0, *(found.mtime for found in resident.look(places, True))])
        changed = max(changed, last_made + FINER_NS if last_made else 0)
    job.start_after(changed)


def _directories_known_before(job: Job, resident: Resident) -> list[bytes]:
    """Directories on the way to what this compile will read, as far as they are known."""
    cwd = job.call.cwd
    ways = [absolute(cwd, job.invocation.source), cwd + b"/x"]
    ways += (directory + b"/x" for directory in _include_directories(job))
    return list(dict.fromkeys((*prefixes(ways), *resident.doubtful_directories())))


def _include_directories(job: Job) -> list[bytes]:
    """Those of the command line."""
    include = job.invocation.include
    named = (*include.quote, *include.angle, *include.system, *include.after)
    return [absolute(job.call.cwd, directory) for directory in named]


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
    if wanted is None and any(is_dependency_word(word) for word in invocation.args):
        # -MF without -MD, or into /dev/null: the user's word would win over ours.
        return True
    if invocation.records_command_line and invocation.family is Family.CLANG:
        return True
    if job.source_text is not None and b"__TIME" not in job.source_text:
        return False  # one that is spelled with splices is found when the result is to be kept
    asked = _asked(job, resident)
    if asked is not None and (asked.time or asked.timestamp):
        return "time_macros" not in config.sloppiness
    return False


def _asked(job: Job, resident: Resident) -> Directives | None:
    if job.source_text is not None:
        return resident.learn(job.source_digest, job.source_text)
    source = absolute(job.call.cwd, job.invocation.source)
    return resident.directives(source, job.source_digest)


def _follow_text(
    job: Job,
    ways: Sequence[Preprocessed],
    talk: Talk,
    resident: Resident,
    before: dict[bytes, tuple[int, int]],
) -> Sequence[Op] | None:
    """What another machine makes of the same text now."""
    if job.remote is None:
        return None

    def look_up() -> Sequence[Op] | None:
        found = (_look_up_text(job, way, talk, resident, before) for way in ways)
        return next((ops for ops in found if ops is not None), None)

    return job.remote.follow_text(talk, result_key(ways[0].key), look_up)


def _look_up_text(
    job: Job,
    text: Preprocessed,
    talk: Talk,
    resident: Resident,
    before: dict[bytes, tuple[int, int]],
) -> Sequence[Op] | None:
    call = job.call
    key = result_key(text.key)
    resident.unfinished.wait(job.base.key())
    value = None if call.config.remote_only else call.cache.get(key)
    ops = None if value is None else job.delivery(value)
    if ops is not None and value is not None:
        call.cache.storage.touch(key)
        job.count_local(hit=True)
        if job.remote is not None and call.config.reshare:
            job.remote.reshare(key, value)
    elif job.remote is not None:
        talk.wait(job.remote.longest_ms)
        ops = job.remote.result(key)
    if ops is None:
        return None
    call.count(Outcome.PREPROCESSED_CACHE_HIT)
    if job.manifest_key:
        call.count(Outcome.DIRECT_CACHE_MISS)
    if call.config.read_only:
        return ops
    decision = decide(job, resident, None, None, text, before)
    if decision is not None:
        store(job, resident, decision, None)
    return ops
