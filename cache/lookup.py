"""Whether a manifest entry still describes the files: the step from manifest key to result key.

Three kinds of witnesses are asked (manifest.py): files have their digests, names are absent from
directories, paths are present. Asking gives a verdict and, where every answer is pinned by a
signature, the packed records with which the same question can be asked again in one native call.

A directory is one witness for all names that must be absent from it: while its signature stands
nothing was created in it. Directories that change all the time (a build tree with objects in it)
are listed once per signature and their names compared; directories too fresh to pin, and those of
which only a few names are wanted, are asked name by name: who removes a build directory and makes
it anew changes the one above it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

from ..blake import blake2b
from ..record import record
from .digest import DIGEST_SIZE, FileDigests, file_clock
from .fingerprint import KEY_SIZE
from .manifest import TIMES, WHOLE, ManifestEntry

LISTINGS_LIMIT = 2_000
LARGEST_LISTING = 5_000
MANY_NAMES = 64
"""From here on, listing a directory is cheaper than asking it for each name."""
FEW_NAMES = 16
"""Up to here, asking for each name costs a hit less than being wrong about the directory does."""
MOST_SINGLE = 1_000
"""Names that are pinned singly where their directory cannot be."""


class Stat(Protocol):
    """The part of pycc.native.Signature that is used here."""

    @property
    def exists(self) -> bool: ...
    @property
    def device(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def mtime(self) -> int: ...
    @property
    def ctime(self) -> int: ...
    @property
    def changed(self) -> int: ...
    @property
    def is_regular(self) -> bool: ...
    @property
    def is_directory(self) -> bool: ...


class Files(Protocol):
    """The file system's shell (pycc.native; a fake in tests)."""

    def signatures(self, paths: Sequence[bytes]) -> Sequence[Stat]: ...
    def same(self, path: bytes, signature: Any) -> bytes: ...
    def absent(self, path: bytes) -> bytes: ...
    def listed(self, directory: bytes) -> tuple[Stat, Sequence[bytes]]:
        """What the names are, and whose: a link on the way may be switched at any time. Raises
        OSError."""


@record
class Verdict:
    """``reason`` is empty when the entry holds, else what differs. ``records`` is None when the
    answer cannot be pinned (fresh files, network file systems)."""

    reason: bytes = b""
    records: tuple[bytes, ...] | None = None

    @property
    def holds(self) -> bool:
        return not self.reason


def absolute(cwd: bytes, path: bytes) -> bytes:
    """``path`` as seen from anywhere; not normalised, because links may be on the way."""
    return path if path[:1] == b"/" else cwd + b"/" + path


def stamped(digest: bytes, mtime: int) -> bytes:
    """The digest of a file's content together with its modification time (ns)."""
    return blake2b(b"%d\0%s" % (mtime, digest), digest_size=DIGEST_SIZE).digest()


class Verifier:
    """Asks the witnesses of manifest entries; remembers directory listings by signature."""

    def __init__(
        self,
        files: Files,
        digests: FileDigests,
        clock: Callable[[], int] = file_clock,
        stands: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        """``stands``: nothing is made in this directory for weeks, so that it is the better
        witness even for a few names."""
        self._files = files
        self._digests = digests
        self._clock = clock
        self._stands = stands
        self._listings: dict[bytes, tuple[Stat, frozenset[bytes]]] = {}

    def verify(
        self,
        entry: ManifestEntry,
        cwd: bytes,
        changing: Collection[bytes] = (),
        by_stat: Collection[str] = (),
    ) -> Verdict:
        """Ask everything that ``entry`` depends on, for a call in ``cwd``.

        ``changing`` are directories (normal paths) that the call itself writes into: their
        signatures would not last until the next call. ``by_stat`` is the sloppiness: with
        file_stat_matches a file of the same size and times is not read, with
        file_stat_matches_ctime besides its ctime does not matter."""
        now = self._clock()
        records: list[bytes] = []
        settled = True
        paths = [absolute(cwd, path) for path, _ in entry.files]
        signatures = self._files.signatures(paths)
        known, pinned = self._digests.known, self._digests.settled
        unread = _unread(entry, paths, signatures, by_stat) if by_stat else ()
        for path, signature, (_, expected) in zip(paths, signatures, entry.files, strict=True):
            digest = known(path, signature)
            if path in unread:
                digest = expected
            elif digest is None:
                digest = self._digests.digest(path, signature)
            if entry.flags & TIMES and digest is not None and path not in unread:
                digest = stamped(digest, signature.mtime)
            if digest != expected:
                return Verdict(path)
            if pinned(path, signature, now):
                records.append(self._files.same(path, signature))
            else:
                settled = False
        directories = [absolute(cwd, directory) for directory, _ in entry.groups]
        # Most groups have the same names, and then the same tuple of them.
        heads: dict[int, set[bytes]] = {}
        for directory, signature, (_, names) in zip(
            directories, self._files.signatures(directories), entry.groups, strict=True
        ):
            if signature.exists and not signature.is_directory:
                return Verdict(directory)
            fresh = not pinned(directory, signature, now)
            fresh = fresh or (bool(changing) and os.path.normpath(directory) in changing)
            appeared, loose, taken = self._appeared(directory, signature, names, fresh, heads)
            if appeared or (taken and entry.flags & WHOLE):
                return Verdict(absolute(directory, appeared or taken))
            few = len(names) <= FEW_NAMES and not (taken or self._stands(directory))
            if not (fresh or few):
                records.append(self._files.same(directory, signature))
                records += (self._files.absent(absolute(directory, name)) for name in loose)
            elif len(names) <= MOST_SINGLE:
                records += (self._files.absent(absolute(directory, name)) for name in names)
            else:
                settled = False
        present = [absolute(cwd, path) for path in entry.present]
        for path, signature in zip(present, self._files.signatures(present), strict=True):
            if not signature.exists:
                return Verdict(path)
            if entry.flags & WHOLE and signature.is_directory != path.endswith(b"/"):
                return Verdict(path)
            if pinned(path, signature, now):
                records.append(self._files.same(path, signature))
            else:
                settled = False
        return Verdict(b"", tuple(records) if settled else None)

    def _appeared(
        self,
        directory: bytes,
        signature: Stat,
        names: Sequence[bytes],
        fresh: bool,
        heads: dict[int, set[bytes]],
    ) -> tuple[bytes, Sequence[bytes], bytes]:
        """(the first of ``names`` that exists in ``directory`` now, or nothing; those of the
        others that may appear without a change of ``directory``: below a directory that came
        later, or as the target of a link; one that is a directory's, or nothing). ``heads`` keeps
        first parts by the identity of ``names``."""
        if not signature.exists:
            return b"", (), b""
        if len(names) > MANY_NAMES or not fresh:
            listing = self._listing(directory, signature, fresh)
            if listing is not None:
                # A name below a directory that is absent is absent; its first part decides.
                firsts = heads.get(id(names))
                if firsts is None:
                    firsts = heads[id(names)] = {name.partition(b"/")[0] for name in names}
                suspects = those_among(firsts, listing)
                if not suspects:
                    return b"", (), b""
                names = [name for name in names if name.partition(b"/")[0] in suspects]
        paths = [absolute(directory, name) for name in names]
        loose: list[bytes] = []
        taken = b""
        for name, found in zip(names, self._files.signatures(paths), strict=True):
            if not found.exists:
                loose.append(name)
            elif not found.is_directory:
                return name, (), b""
            else:
                taken = taken or name
        return b"", loose, taken

    def listing(self, directory: bytes, signature: Stat) -> frozenset[bytes] | None:
        """The names in a directory whose signature was just taken, for `may_be_among`; None if
        they are too many."""
        fresh = not self._digests.settled(directory, signature, self._clock())
        return self._listing(directory, signature, fresh)

    def _listing(self, directory: bytes, signature: Stat, fresh: bool) -> frozenset[bytes] | None:
        known = self._listings.get(directory)
        if known is not None and known[0] == signature and not fresh:
            return known[1]
        if signature.size > LARGEST_LISTING * 64:
            return None
        try:
            found, names = self._files.listed(directory)
        except OSError:
            return None
        if len(names) > LARGEST_LISTING:
            return None
        if not fresh and found != signature:
            return None  # these are another directory's names
        listing = frozenset(name.lower() for name in names)
        if not fresh:
            if len(self._listings) >= LISTINGS_LIMIT:
                self._listings.clear()
            self._listings[directory] = (signature, listing)
        return listing


def _unread(
    entry: ManifestEntry,
    paths: Sequence[bytes],
    signatures: Sequence[Stat],
    by_stat: Collection[str],
) -> Collection[bytes]:
    """The files whose content is taken for granted, because their size and times are the same."""
    if "file_stat_matches" not in by_stat or len(entry.stats) != len(paths):
        return ()
    with_ctime = "file_stat_matches_ctime" not in by_stat
    return {
        path
        for path, found, (size, mtime, ctime) in zip(paths, signatures, entry.stats, strict=True)
        if found.is_regular
        and (found.size, found.mtime) == (size, mtime)
        and (found.ctime == ctime or not with_ctime)
    }


def may_be_among(name: bytes, listing: Collection[bytes]) -> bool:
    """Whether a directory with this listing (lower case) may have ``name``: some file systems do
    not tell the cases apart."""
    return name.lower() in listing or not name.isascii()


def those_among(names: AbstractSet[bytes], listing: AbstractSet[bytes]) -> Collection[bytes]:
    """Those of ``names`` that a directory with this listing may have."""
    joined = b"/".join(names)
    if joined.isascii() and joined == joined.lower():
        return names & listing
    return [name for name in names if may_be_among(name, listing)]


def result_key_of(
    manifest_key: bytes,
    entry_files: Sequence[tuple[bytes, bytes]],
    day: bytes = b"",
    present: Sequence[bytes] = (),
) -> bytes:
    """The key of the result that a compile with these dependencies (on that day) gave.

    ``present`` belongs to it because __has_include tells of files that are not read: two trees may
    read the same and give another object. What must be absent does not: it is the same for all that
    read the same files and are told the same."""
    state = blake2b(b"result\0%s%s\0" % (manifest_key, day), digest_size=KEY_SIZE)
    for path, digest in sorted(entry_files):
        state.update(b"%d\0%s%s" % (len(path), path, digest))
    for path in sorted(present):
        state.update(b"there %d\0%s" % (len(path), path))
    return state.digest()
