"""Where the compiler of one job looked for headers: includes.py asked with the job's own paths."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

from . import native
from .cache.digest import file_clock
from .cache.lookup import absolute
from .directives import Directives
from .includes import Absent, Spot, absent, precompiled
from .invocation import Family
from .searchchain import SearchChain, user_chain, variables_of

if TYPE_CHECKING:
    from .job import Job
    from .resident import Resident

SPOTS, CHAINS = 4_000, 500


class Looker:
    """The file system as seen from ``cwd`` at one moment: each path is asked about once."""

    def __init__(self, cwd: bytes, resident: Resident) -> None:
        self._cwd = cwd
        self._resident = resident
        # A signature may be older than whoever judges it later.
        self._now = file_clock()
        self._signatures: dict[bytes, native.Signature] = {}

    def ask(self, paths: Sequence[bytes]) -> None:
        """Ask about many paths in one go."""
        full = [absolute(self._cwd, path) for path in paths]
        self._signatures.update(zip(full, native.signatures(full), strict=True))

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
        return self._resident.verifier.listing(absolute(self._cwd, path), self(path))

    def spot(self, prefix: bytes, find: Callable[[bytes], Spot]) -> Spot:
        """What ``find`` gives for a prefix. It is remembered by the signature of the directory
        that it ends in: while that stands, the same names are missing from it."""
        spots = self._resident.spots
        key = (b"" if prefix[:1] == b"/" else self._cwd, prefix)
        known = spots.get(key)
        if known is not None and known[0] == self(known[1].directory):
            return known[1]
        spot = find(prefix)
        found = self(spot.directory)
        path = absolute(self._cwd, spot.directory)
        # What a link leads to may change without its directory.
        if not spot.linked and self._resident.digests.settled(path, found, self._now):
            if len(spots) >= SPOTS:
                spots.clear()
            spots[key] = (found, spot)
        return spot

    def chain(
        self, key: Hashable, make: Callable[[Callable[[bytes], Hashable | None]], SearchChain]
    ) -> SearchChain:
        """What ``make(identity)`` gives for ``key``. It is remembered by the identities that it
        asked for."""
        chains = self._resident.chains
        known = chains.get(key)
        if known is not None:
            asked, chain = known
            self.ask(list(asked))
            if all(self.identity(name) == one for name, one in asked.items()):
                return chain
        asked = {}

        def identity(name: bytes) -> tuple[int, int] | None:
            found = asked[name] = self.identity(name)
            return found

        chain = make(identity)
        if len(chains) >= CHAINS:
            chains.clear()
        chains[key] = (asked, chain)
        return chain


def searched(job: Job, directives: Mapping[bytes, Directives], look: Looker) -> Absent:
    """The places where the texts that ``directives`` describes, by name, had headers looked for."""
    invocation = job.invocation
    return absent(
        directives,
        invocation.source,
        chain_of(job, look),
        exists=look.exists,
        is_directory=look.is_directory,
        is_link=look.is_link,
        listing=look.listing,
        memory=look.spot,
        forced=[name for _, name in invocation.include.forced],
        clang=invocation.family is Family.CLANG,
    )


def precompiled_for(job: Job, asked: Directives, look: Looker) -> tuple[bytes, ...]:
    """The precompiled headers that gcc may read for a source that asks for ``asked``."""
    return precompiled(
        asked,
        job.invocation.source,
        chain_of(job, look),
        exists=look.exists,
        is_directory=look.is_directory,
        is_link=look.is_link,
        listing=look.listing,
        memory=look.spot,
        forced=[name for _, name in job.invocation.include.forced],
    )


def chain_of(job: Job, look: Looker) -> SearchChain:
    """The directories in which this job's compiler looks for headers."""
    invocation = job.invocation
    include = invocation.include
    sysroot = _sysroot(include.special)
    clang = invocation.family is Family.CLANG

    def make(identity: Callable[[bytes], Hashable | None]) -> SearchChain:
        return user_chain(
            job.toolchain.chain,
            identity=identity,
            quote=include.quote,
            angle=include.angle,
            system=(*include.system, *include.cxx_system),
            after=include.after,
            environment=job.call.variables,
            language=invocation.language,
            sysroot=sysroot,
            clang=clang,
        )

    variables = tuple(map(job.call.variables.get, variables_of(invocation.language)))
    named = (include.quote, include.angle, include.system, include.cxx_system, include.after)
    own = job.toolchain.chain
    key = (job.call.cwd, own, named, variables, invocation.language, sysroot, clang)
    return look.chain(key, make)


def _sysroot(special: Sequence[bytes]) -> bytes:
    for before, word in zip((b"", *special), special, strict=False):
        if word.startswith(b"--sysroot="):
            return word[len(b"--sysroot=") :]
        if before == b"--sysroot":
            return word
    return b""
