"""Where the compiler of one job looked for headers: includes.py asked with the job's own paths."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from . import native
from .cache.lookup import Verifier, absolute
from .directives import Directives
from .includes import Absent, absent, precompiled
from .invocation import Family
from .searchchain import SearchChain, user_chain

if TYPE_CHECKING:
    from .job import Job


class Looker:
    """The file system as seen from ``cwd`` at one moment: each path is asked about once."""

    def __init__(self, cwd: bytes, verifier: Verifier) -> None:
        self._cwd = cwd
        self._verifier = verifier
        self._signatures: dict[bytes, native.Signature] = {}

    def __call__(self, path: bytes) -> native.Signature:
        """The signature of what is there, links followed."""
        path = absolute(self._cwd, path)
        known = self._signatures.get(path)
        if known is None:
            known = self._signatures[path] = native.signature(path)
        return known

    def exists(self, path: bytes) -> bool:
        """Whether there is anything but a directory."""
        found = self(path)
        return found.exists and not found.is_directory

    def is_directory(self, path: bytes) -> bool:
        return self(path).is_directory

    def is_link(self, path: bytes) -> bool:
        return os.path.islink(absolute(self._cwd, path))

    def identity(self, path: bytes) -> tuple[int, int] | None:
        """What tells directories apart; None when there is none."""
        found = self(path)
        return (found.device, found.inode) if found.is_directory else None

    def listing(self, path: bytes) -> frozenset[bytes] | None:
        """The names in a directory; None when they are too many."""
        return self._verifier.listing(absolute(self._cwd, path), self(path))


def searched(job: Job, directives: Mapping[bytes, Directives], look: Looker) -> Absent:
    """The places where the texts that ``directives`` describes, by name, had headers looked for."""
    invocation = job.invocation
    return absent(
        directives,
        invocation.source,
        _chain(job, look),
        exists=look.exists,
        is_directory=look.is_directory,
        is_link=look.is_link,
        listing=look.listing,
        forced=[name for _, name in invocation.include.forced],
        clang=invocation.family is Family.CLANG,
    )


def precompiled_for(job: Job, asked: Directives, look: Looker) -> tuple[bytes, ...]:
    """The precompiled headers that gcc may read for a source that asks for ``asked``."""
    return precompiled(
        asked,
        job.invocation.source,
        _chain(job, look),
        exists=look.exists,
        is_directory=look.is_directory,
        listing=look.listing,
        forced=[name for _, name in job.invocation.include.forced],
    )


def _chain(job: Job, look: Looker) -> SearchChain:
    invocation = job.invocation
    include = invocation.include
    return user_chain(
        job.toolchain.chain,
        identity=look.identity,
        quote=include.quote,
        angle=include.angle,
        system=(*include.system, *include.cxx_system),
        after=include.after,
        environment=job.call.variables,
        language=invocation.language,
        sysroot=_sysroot(include.special),
        clang=invocation.family is Family.CLANG,
    )


def _sysroot(special: Sequence[bytes]) -> bytes:
    for before, word in zip((b"", *special), special, strict=False):
        if word.startswith(b"--sysroot="):
            return word[len(b"--sysroot=") :]
        if before == b"--sysroot":
            return word
    return b""
