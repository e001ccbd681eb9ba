"""Precompiled headers: which ones a compile may read, and what of them decides its outputs.

Neither compiler lists them with -MD. gcc takes ``x.h.gch`` for ``x.h`` wherever it looks for a
header that the source or the command line asks for first, and any file of it where that is a
directory; clang takes one only for a header that the command line names. Which header comes first
is not decided here: everything that the source itself asks for may be it.

What was read is a witness of its manifest entry, by content, or with ``pch_external_checksum`` by
the content of the file of the same name with ``.sum`` behind it. Where the names in a directory are
known before the source is read (-include) they are part of the key; where they are not, direct
mode is left alone. A key that is made from preprocessed text holds all of it, and the text is made
with -fpch-preprocess: it then names the precompiled header instead of holding its declarations.

A precompiled header made by clang also records the times of all the files that it was made of and
is refused by the compiler when one differs, so for these the times are part of the key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from .cache.lookup import absolute
from .invocation import Family, Invocation
from .languages import is_header
from .outcome import Outcome
from .pattern import pattern

if TYPE_CHECKING:
    from .job import Job
    from .resident import Resident

PREPROCESS = b"-fpch-preprocess"
_EXPLICIT = (b"-include-pch", b"-include-pth")
_PRAGMA = pattern(rb'^#pragma GCC pch_preprocess "([^"\n]+)"', re.MULTILINE)


class Place(Protocol):
    """What stat says of a path (native.Signature)."""

    @property
    def is_directory(self) -> bool: ...
    @property
    def is_regular(self) -> bool: ...


class Files(Protocol):
    """What is asked of the file system before a lookup (job.Witnesses)."""

    def signature(self, path: bytes) -> Place: ...
    def names(self, path: bytes) -> tuple[bytes, ...]: ...


def named(invocation: Invocation) -> tuple[bytes, ...]:
    """What the command line may have read, by name."""
    explicit = tuple(name for kind, name in invocation.include.forced if kind in _EXPLICIT)
    if not (invocation.pch_candidates or explicit):
        return ()
    from .places import normal

    return tuple(map(normal, (*invocation.pch_candidates, *explicit)))


def key_fields(invocation: Invocation, cwd: bytes, files: Files) -> tuple[bytes, ...]:
    """The names in the directories among `named`: what is in them decides, and a manifest entry
    could not see that another file came."""
    found: list[bytes] = []
    for path in named(invocation):
        full = absolute(cwd, path)
        if files.signature(full).is_directory:
            found += (path, *files.names(full))
    return tuple(found)


def records_times(invocation: Invocation) -> bool:
    """Whether the output is a precompiled header that holds the times of its files."""
    return (
        invocation.generates_pch
        and invocation.family is Family.CLANG
        and not any(b"-fno-pch-timestamp" in arg.words for arg in invocation.key_args)
    )


def may_read(invocation: Invocation) -> bool:
    """Whether the compiler looks for precompiled headers: gcc does not while it makes one."""
    return not (invocation.family is Family.GCC and is_header(invocation.language))


def find(job: Job, resident: Resident) -> tuple[bytes, ...]:
    """The precompiled headers that exist now where this compile may look for one."""
    call, invocation = job.call, job.invocation
    # Loaded for a miss only: a process that serves one hit has no use for it.
    from .searched import Looker, precompiled_for

    look = Looker(call.cwd, resident)
    if not may_read(invocation):
        return ()
    found = [path for path in named(invocation) if look(path).exists]
    if invocation.family is Family.GCC and not invocation.preprocessed and invocation.compiles:
        source = absolute(call.cwd, invocation.source)
        asked = resident.directives(source, job.source_digest)
        if asked is not None:
            found += precompiled_for(job, asked, look)
    return tuple(dict.fromkeys(found))


def trouble(job: Job) -> tuple[Outcome, str] | None:
    """Why a compile with the precompiled headers of ``job`` cannot be cached, or None."""
    if not job.precompiled or "time_macros" in job.call.config.sloppiness:
        return None
    for path in job.precompiled:
        header = os.path.splitext(absolute(job.call.cwd, path))[0]
        if not os.path.exists(header):
            return Outcome.PREPROCESSOR_ERROR, f"{os.fsdecode(header)} is there only precompiled"
    return Outcome.COULD_NOT_USE_PRECOMPILED_HEADER, os.fsdecode(job.precompiled[0])


def in_text(text: bytes) -> tuple[bytes, ...]:
    """The precompiled headers that preprocessed text names."""
    return tuple(_PRAGMA.findall(text)) if b"pch_preprocess" in text else ()


def files(cwd: bytes, paths: Iterable[bytes], *, external_checksum: bool) -> tuple[bytes, ...]:
    """The files whose content stands for the precompiled headers ``paths``."""
    found: dict[bytes, None] = {}
    for path in paths:
        full = absolute(cwd, path)
        members: Sequence[bytes] = (b"",)
        if os.path.isdir(full):
            members = [b"/" + name for name in sorted(os.listdir(full))]
        for member in members:
            if external_checksum and os.path.isfile(full + member + b".sum"):
                found[path + member + b".sum"] = None
            elif not (external_checksum and member.endswith(b".sum")):
                found[path + member] = None
    return tuple(path for path in found if os.path.isfile(absolute(cwd, path)))
