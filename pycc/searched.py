"""Where the compiler of one job looked for headers: includes.py asked with the job's own paths."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from . import native
from .cache.lookup import absolute
from .directives import Directives
from .includes import Absent, absent
from .invocation import Family
from .searchchain import user_chain

if TYPE_CHECKING:
    from .job import Job

Look = Callable[[bytes], native.Signature]


def looker(cwd: bytes) -> Look:
    """Signatures of paths as seen from ``cwd``, each taken once."""
    signatures: dict[bytes, native.Signature] = {}

    def look(path: bytes) -> native.Signature:
        path = absolute(cwd, path)
        known = signatures.get(path)
        if known is None:
            known = signatures[path] = native.signature(path)
        return known

    return look


def searched(job: Job, directives: Mapping[bytes, Directives], look: Look) -> Absent:
    """The places where the texts that ``directives`` describes, by name, had headers looked for."""
    call, invocation = job.call, job.invocation
    include = invocation.include
    clang = invocation.family is Family.CLANG

    def identity(path: bytes) -> tuple[int, int] | None:
        s = look(path)
        return (s.device, s.inode) if s.is_directory else None

    chain = user_chain(
        job.toolchain.chain,
        identity=identity,
        quote=include.quote,
        angle=include.angle,
        system=(*include.system, *include.cxx_system),
        after=include.after,
        environment=call.variables,
        language=invocation.language,
        sysroot=_sysroot(include.special),
        clang=clang,
    )
    return absent(
        directives,
        invocation.source,
        chain,
        exists=lambda p: (s := look(p)).exists and not s.is_directory,
        is_directory=lambda p: look(p).is_directory,
        is_link=lambda p: os.path.islink(absolute(call.cwd, p)),
        forced=[name for _, name in include.forced],
        clang=clang,
    )


def _sysroot(special: Sequence[bytes]) -> bytes:
    for before, word in zip((b"", *special), special, strict=False):
        if word.startswith(b"--sysroot="):
            return word[len(b"--sysroot=") :]
        if before == b"--sysroot":
            return word
    return b""
