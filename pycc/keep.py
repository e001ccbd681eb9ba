"""Whether a result may be stored, and storing it with the manifest entry that leads to it.

``decide`` asks the file system, and so belongs before the launcher is released: what is edited,
moved or removed as soon as the compiler has ended must not be taken for what the compiler saw.
``store`` only packs and puts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import collect, hardlinks, precompiled
from .cache import manifest
from .cache.fingerprint import KEY_SIZE
from .cache.lookup import absolute, result_key_of
from .cache.manifest import ManifestEntry
from .cache.result import LEVEL, Entry, pack
from .cache.storage import file_key, manifest_key, result_key
from .collect import Dependencies, Refused
from .directives import Directives, flags_of
from .execution import Execution
from .job import Job
from .native import signature
from .outcome import Outcome
from .preprocess import Preprocessed
from .record import record
from .searched import Looker, searched
from .stability import disturbed

if TYPE_CHECKING:
    from .includes import Proven
    from .resident import Resident
    from .tiers import Remote


NO_STAT = (-1, 0, 0)
"""Of a file that was found under another name: its content counts."""


@record
class Decision:
    """To be stored: a result under ``key`` and, if direct mode serves this source, an entry.

    ``untaken`` are files that are there and were not read, although a text may have asked for them
    first: the directive was not evaluated. ``lookups`` are those that were remembered
    (includes.Absent)."""

    key: bytes
    entry: ManifestEntry | None
    untaken: tuple[bytes, ...] = ()
    lookups: tuple[object, int] = (None, 0)


def decide(
    job: Job,
    resident: Resident,
    execution: Execution | None,
    entries: Sequence[Entry] | None,
    text: Preprocessed | None,
    before: dict[bytes, tuple[int, int]],
    proven: Proven | None = None,
) -> Decision | None:
    """What to store of this compile, or None, which is counted then.

    ``entries`` is None where the result is stored already. With ``proven`` (includes.py) nothing
    may be stored: the entry names neither its result nor what is proven."""
    call = job.call
    read_by_assembler = execution.assembler_files(call.cwd) if execution is not None else None
    found = collect.dependencies(
        call,
        resident,
        job.invocation,
        job.source_digest,
        text.depfile if text is not None else (execution.depfile() if execution else None),
        read_by_assembler or (),
        job.start,
        before,
        precompiled.files(
            call.cwd, job.precompiled, external_checksum=call.config.pch_external_checksum
        ),
    )
    if isinstance(found, Refused):
        _refuse(job, found, entries)
        return None
    asked = flags_of(found.directives.values())
    reads_more = text is not None and _assembler_reads_more(job, asked, read_by_assembler, text)
    if reads_more:
        if text is not None and text.elsewhere:
            call.log("Not stored: the assembler may read other files")
            return None
        text = None  # it does not say all that counts; a manifest entry does
    entry: _Witnessed | Refused | str = "the assembler was not asked"
    if not (reads_more and read_by_assembler is None):
        known = (read_by_assembler, text, before, proven)
        entry = _manifest_entry(job, resident, found, asked, *known)
    if isinstance(entry, Refused):
        _refuse(job, entry, entries)
        return None
    if isinstance(entry, str):
        call.log(f"No manifest entry: {entry}")
        if reads_more:
            call.log("Not stored: the assembler may read other files")
            if entries is not None:
                call.tally.clear()
                call.count(Outcome.UNSUPPORTED_CODE_DIRECTIVE)
            return None
        if text is None:
            _mark(job, resident)
            return None
        appeared = set(precompiled.find(job, resident)).difference(job.precompiled)
        if appeared:
            detail = f"{os.fsdecode(min(appeared))} appeared"
            _refuse(job, Refused(Outcome.MODIFIED_INPUT_FILE, detail), entries)
            return None
        return Decision(text.key, None)
    return Decision(entry[0].result_key, *entry)


_Witnessed = tuple[ManifestEntry, tuple[bytes, ...], tuple[object, int]]
"""An entry, Decision.untaken and Decision.lookups."""


def store(
    job: Job, resident: Resident, decision: Decision, entries: Sequence[Entry] | None
) -> None:
    """Have it written; ``entries`` as for ``decide``."""
    key, entry = decision.key, decision.entry
    if not key:
        raise ValueError("what rests on proven lookups names no result")
    call, remote = job.call, _remote(job, resident)
    if entries is not None:
        if call.config.recache:
            resident.forget_hits()
        stored_key = result_key(key)
        entries = hardlinks.store(call, job.invocation, file_key(key), entries)
        level = call.config.compression_level or LEVEL
        value = pack(entries, level, call.config.compression)
        _put(job, remote, stored_key, value)
    if entry is not None:
        packed = manifest.pack(manifest.add(job.entries, entry))
        _put(job, remote, manifest_key(job.manifest_key), packed)
    if remote is not None:
        remote.flush()


def _remote(job: Job, resident: Resident) -> Remote | None:
    if not job.call.config.remote_storage:
        return None
    from .tiers import remote_of  # most have none

    return remote_of(job, resident)


def _put(job: Job, remote: Remote | None, key: bytes, value: bytes) -> None:
    call = job.call
    if not call.config.remote_only:
        call.cache.put(key, value, call.config.namespace)
        call.add(Outcome.LOCAL_STORAGE_WRITE)
    if remote is not None:
        remote.put(key, value)


def _refuse(job: Job, refused: Refused, entries: Sequence[Entry] | None) -> None:
    job.call.log(f"Not stored: {refused.detail} ({refused.outcome.value})")
    if entries is not None:
        job.call.take_back()
        job.call.count(refused.outcome)


def _mark(job: Job, resident: Resident) -> None:
    """Next time, this source goes through the preprocessor at once."""
    if job.call.config.read_only:
        return
    if job.manifest_key and not job.invocation.preprocessed:
        marker = ManifestEntry(bytes(KEY_SIZE), (), flags=manifest.NEEDS_TEXT)
        packed = manifest.pack(manifest.add(job.entries, marker))
        key, config = manifest_key(job.manifest_key), job.call.config
        if not config.remote_only:
            job.call.cache.put(key, packed, config.namespace)
        if (remote := _remote(job, resident)) is not None:
            remote.put(key, packed)
            remote.flush()


def _assembler_reads_more(
    job: Job, asked: Directives, read_by_assembler: Sequence[bytes] | None, text: Preprocessed
) -> bool:
    """Whether files that are not in the preprocessed text may have reached the object.

    GNU as lists the files that it read and those that .file directives name. gcc names the source
    there, by its last part: the one that preprocessed text came from. In assembly a name in the
    text explains it, unless macros may have put a directive together that reads the file too."""
    if "incbin" in job.call.config.sloppiness:
        return False
    if text.asks_assembler or asked.incbin or asked.asm_include:
        return True
    cwd, assembly = job.call.cwd, job.invocation.language.startswith(b"assembler")
    own = (job.invocation.source, *(() if assembly else text.main_name()))
    signatures = [signature(absolute(cwd, name)) for name in own]
    read = {n for n in read_by_assembler or () if signature(absolute(cwd, n)) not in signatures}
    if not read or not assembly:
        return bool(read)
    return text.has_assembler_macros or not read <= text.file_names()


def _manifest_entry(
    job: Job,
    resident: Resident,
    found: Dependencies,
    asked: Directives,
    read_by_assembler: tuple[bytes, ...] | None,
    text: Preprocessed | None,
    before: dict[bytes, tuple[int, int]],
    proven: Proven | None = None,
) -> _Witnessed | Refused | str:
    """The entry, why direct mode cannot serve this source, or why nothing can be stored."""
    call, invocation = job.call, job.invocation
    if not job.manifest_key:
        return "direct mode is off"
    sloppy = call.config.sloppiness
    sloppy_time = "time_macros" in sloppy
    if (asked.time or asked.timestamp) and not sloppy_time:
        return "the time is asked for"
    # clang lists the headers of a module and its map; with the sloppiness that is enough.
    modules = asked.modules and not ("modules" in sloppy and b"-fmodules" in invocation.args)
    if asked.embed or modules or asked.dependency_pragma or asked.pch_pragma:
        return "files are read in a way that is not followed"
    unseen = (asked.incbin or asked.asm_include) and read_by_assembler is None
    if unseen and "incbin" not in sloppy:
        return "the assembler may read files that it was not asked about"
    day = b""
    if asked.date and not sloppy_time:
        began, now = job.day(job.started), job.day(time.time())
        if now is None or now != began:
            return "the date turned or cannot be known"
        day = now
    places = _absent(job, resident, found, read_by_assembler or (), before, proven)
    if isinstance(places, str | Refused):
        return places
    files, (groups, present, untaken, lookups) = found.files, places
    if job.base_dir is not None:
        search = job.search_directories()
        files, groups, present = job.base_dir.witnesses(files, groups, present, search)
    key = b""
    if text is not None:
        key = text.key
    elif proven is None:
        key = result_key_of(job.manifest_key, files, day, present)
    flags = manifest.TIMES if precompiled.records_times(invocation) else 0
    if text is not None and text.elsewhere:
        flags |= manifest.ELSEWHERE
    stats: tuple[tuple[int, int, int], ...] = ()
    if "file_stat_matches" in sloppy:
        known = {absolute(call.cwd, path): digest for path, digest in files}
        stats = tuple(found.stats.get(path, NO_STAT) for path in known)
        stats = stats if len(known) == len(files) else ()
    return ManifestEntry(key, files, groups, present, flags, day, stats), untaken, lookups


_Places = tuple[
    tuple[tuple[bytes, tuple[bytes, ...]], ...],
    tuple[bytes, ...],
    tuple[bytes, ...],
    tuple[object, int],
]
"""Absent.groups, Absent.present, Absent.present_untaken, Absent.lookups."""


def _absent(
    job: Job,
    resident: Resident,
    found: Dependencies,
    read_by_assembler: Sequence[bytes],
    before: dict[bytes, tuple[int, int]],
    proven: Proven | None = None,
) -> _Places | Refused | str:
    invocation, cwd = job.invocation, job.call.cwd
    look = Looker(cwd, resident)
    lookups: tuple[object, int] = (None, 0)
    if invocation.preprocessed:
        groups: tuple[tuple[bytes, tuple[bytes, ...]], ...] = ()
        present: tuple[bytes, ...] = ()
        untaken: tuple[bytes, ...] = ()
    else:
        places = searched(job, found.directives, look, proven)
        lookups = places.lookups
        unforeseen = set(places.precompiled).difference(job.precompiled)
        if unforeseen and precompiled.may_read(invocation):
            detail = f"{os.fsdecode(min(unforeseen))} may have been read"
            return Refused(Outcome.COULD_NOT_USE_PRECOMPILED_HEADER, detail)
        known = precompiled.named(invocation)
        if any(look(p).is_directory for p in job.precompiled if p not in known):
            return "a directory of precompiled headers"
        if not places.complete:
            return "__has_include of a computed name"
        unread = [absolute(cwd, path) for path in (*places.present_untaken, *places.present)]
        new = next((path for path in unread if look(path).changed >= job.start), None)
        new = new or disturbed(unread, job.start, before, resident.look)
        if new is not None:
            resident.doubt(new)
            detail = f"{os.fsdecode(new)} appeared during the compile"
            return Refused(Outcome.MODIFIED_INPUT_FILE, detail)
        groups = places.groups + tuple((b"/", (absolute(cwd, p)[1:],)) for p in places.dangling)
        present, untaken = places.present, places.present_untaken
    extra = _assembler_candidates(invocation.include.angle, read_by_assembler)
    missing = tuple(path for path in extra if not look(path).exists)
    if missing:
        groups = (*groups, (b".", tuple(p for p in missing if p[:1] != b"/")))
        groups += tuple((b"/", (p[1:],)) for p in missing if p[:1] == b"/")
    return groups, present, untaken, lookups


def _assembler_candidates(directories: Sequence[bytes], files: Sequence[bytes]) -> list[bytes]:
    """Where GNU as looked before it found ``files``: the working directory, then each -I."""
    candidates: dict[bytes, None] = {}
    for path in files:
        for directory in directories:
            prefix = directory.rstrip(b"/") + b"/"
            if path.startswith(prefix):
                name = path[len(prefix) :]
                candidates[name] = None
                for other in directories:
                    candidates[other.rstrip(b"/") + b"/" + name] = None
    return [path for path in candidates if path not in files]
