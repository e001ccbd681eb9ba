"""Where the compiler of one job looked for headers: includes.py asked with the job's own paths."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from . import native
from .cache.digest import file_clock
from .cache.lookup import absolute
from .directives import Directives
from .includes import Absent, Proven, Remembered, absent, precompiled
from .includes import other_names as names_elsewhere
from .invocation import Family
from .places import Probes, Spot
from .searchchain import SearchChain, user_chain, variables_of
from .textlookups import Directory, Pinned, TextLookups

if TYPE_CHECKING:
    from .job import Job
    from .resident import Resident

SPOTS, CHAINS, TEXT_LOOKUPS = 4_000, 500, 24
LONGEST_PATH = 4_096  # PATH_MAX
TEXT_LOOKUP_BYTES = 128 << 20  # of all chains; what one call adds may come on top


class Looker:
    """The file system as seen from ``cwd`` at one moment: each path is asked about once."""

    def __init__(self, cwd: bytes, resident: Resident) -> None:
        self._cwd = cwd
        self._resident = resident
        # A signature may be older than whoever judges it later.
        self._now = file_clock()
        self._signatures: dict[bytes, native.Signature] = {}
        self._listings: dict[bytes, frozenset[bytes] | None] = {}

    def ask(self, paths: Sequence[bytes]) -> None:
        """Ask about many paths in one go."""
        full = {absolute(self._cwd, path) for path in paths}.difference(self._signatures)
        new = list(full)
        self._signatures.update(zip(new, native.signatures(new), strict=True))

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
        if path not in self._listings:
            verifier = self._resident.verifier
            self._listings[path] = verifier.listing(absolute(self._cwd, path), self(path))
        return self._listings[path]

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
            if _lacks_way(path, found, spot.rest):
                spots[key] = (found, spot)
        return spot

    def probes(self) -> Probes:
        return Probes(
            self.exists, self.is_directory, self.is_link, self.listing, self.spot, self.ask
        )

    def pin(self, directory: bytes) -> native.Signature | None:
        """The signature of a directory, where that tells that its names are the same."""
        found = self(directory)
        path = absolute(self._cwd, directory)
        return found if self._resident.digests.settled(path, found, self._now) else None

    def remembered(self, chain: SearchChain) -> Remembered:
        """What is known of a chain, as far as it holds."""
        known = self._resident.text_lookups
        key = (self._cwd, chain)
        if sum(one.size for one in list(known.values())) > TEXT_LOOKUP_BYTES:
            known.clear()
        lookups = known.get(key)
        if lookups is None:
            if len(known) >= TEXT_LOOKUPS:
                known.clear()
            lookups = known[key] = TextLookups()
        with lookups.lock:
            if not self._all_stand(lookups):
                lookups.clear()
        return Remembered(lookups, self.pin)

    def _all_stand(self, lookups: TextLookups) -> bool:
        """Whether every directory shows what it did of the names that were wanted in it."""
        directories, pinned = lookups.directories, lookups.pinned
        if pinned is None:
            pinned = lookups.pinned = self._pinned(directories)
        asked: Iterable[bytes] = directories
        if native.check(pinned.witnesses) < 0:
            # What was asked before stays: its listing may be known, and is of that directory.
            self._signatures = {**pinned.signatures, **self._signatures}
            asked = pinned.others
        self.ask(list(asked))
        for name in asked:
            directory, found = directories[name], self(name)
            if found == directory.signature:
                continue
            listing = self.listing(name) if found.is_directory else None
            if listing is None or not directory.still(listing):
                return False
            before, directory.signature = directory.signature, self.pin(name)
            if directory.signature is not before:
                lookups.pinned = None
        return True

    def _pinned(self, directories: Mapping[bytes, Directory]) -> Pinned:
        signatures: dict[bytes, native.Signature] = {}
        records: list[bytes] = []  # of each name: two may be of one directory
        others: list[bytes] = []
        for name, directory in directories.items():
            path = absolute(self._cwd, name)
            if isinstance(directory.signature, native.Signature):
                signatures[path] = directory.signature
                records.append(native.pack(native.SAME, path, directory.signature))
            else:
                others.append(name)
        return Pinned(b"".join(records), signatures, tuple(others))

    def chain(
        self, key: Hashable, make: Callable[[Callable[[bytes], Hashable | None]], SearchChain]
    ) -> SearchChain:
        """What ``make(identity)`` gives for ``key``. It is remembered by the identities that it
        asked for."""
        chains = self._resident.chains
        known = chains.get(key)
        if known is not None and native.check(known[0]) < 0:
            return known[1]
        asked: dict[bytes, native.Signature] = {}

        def identity(name: bytes) -> tuple[int, int] | None:
            asked[absolute(self._cwd, name)] = self(name)
            return self.identity(name)

        chain = make(identity)
        if len(chains) >= CHAINS:
            chains.clear()
        if all(len(path) <= LONGEST_PATH for path in asked):
            witnesses = [_witness(path, found) for path, found in asked.items()]
            chains[key] = (b"".join(witnesses), chain)
        return chain


def _lacks_way(path: bytes, found: native.Signature, rest: bytes) -> bool:
    """Whether the directory at ``path`` is the one that was ``found``, and has neither a directory
    nor a link where ``rest`` begins. It is opened for that: a link on the way may be switched, and
    back, between any two looks at names."""
    try:
        opened = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if rest and _leads_on(rest[: rest.index(b"/")], opened):
            return False
        return native.signature(opened) == found
    finally:
        os.close(opened)


def _leads_on(name: bytes, directory: int) -> bool:
    try:
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return stat.S_ISDIR(mode) or stat.S_ISLNK(mode)


def _witness(path: bytes, found: native.Signature) -> bytes:
    """That a path is the directory that it was, or the file, or nothing."""
    if not found.exists:
        return native.pack(native.ABSENT, path)
    return native.pack(native.SAME_PLACE if found.is_directory else native.SAME, path, found)


def searched(
    job: Job,
    directives: Mapping[bytes, Directives],
    look: Looker,
    proven: Proven | None = None,
) -> Absent:
    """The places where the texts that ``directives`` describes, by name, had headers looked for."""
    invocation = job.invocation
    chain = chain_of(job, look)
    return absent(
        directives,
        invocation.source,
        chain,
        look.probes(),
        remembered=look.remembered(chain),
        forced=[name for _, name in invocation.include.forced],
        clang=invocation.family is Family.CLANG,
        proven=proven,
    )


def other_names(
    job: Job, directives: Mapping[bytes, Directives], look: Looker
) -> tuple[tuple[bytes, tuple[bytes, ...]], ...] | None:
    """What must be missing (Absent.groups) lest clang should call one of the files that
    ``directives`` describes by another name; None where it does."""
    forced = [name for _, name in job.invocation.include.forced]
    found, present = names_elsewhere(directives, chain_of(job, look), look.probes(), forced=forced)
    read = {(look(name).device, look(name).inode) for name in directives}
    if any((look(path).device, look(path).inode) in read for path in present):
        return None
    dangling = ((b"/", (absolute(job.call.cwd, path)[1:],)) for path in found.dangling)
    return (*found.groups, *dangling)


def precompiled_for(job: Job, asked: Directives, look: Looker) -> tuple[bytes, ...]:
    """The precompiled headers that gcc may read for a source that asks for ``asked``."""
    chain = job.chain = chain_of(job, look)
    return precompiled(
        asked,
        job.invocation.source,
        chain,
        look.probes(),
        remembered=look.remembered(chain),
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
