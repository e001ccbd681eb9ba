"""What exact jobs share in a daemon, and whether this machine has it."""

from __future__ import annotations

import os
import shutil
import tempfile

from pycc import native
from pycc.cache.digest import FileDigests
from pycc.directives import scan
from pycc.record import made, mutable, record

from . import ground
from .cache_place import CONTENTS
from .compilers import Rules, runnable
from .contents import Contents
from .daemon_log import Level, Log
from .exact_root import Ground
from .ground import Survey
from .job import PREFIX
from .sandbox import Sandbox, SandboxFailed

CONTENTS_SHARE = 8
"""Contents that clients sent may take this part of the cache's size beside it."""
UNBOUNDED_CACHE = 40 << 30
"""Taken for the size of a cache that nothing bounds: contents can be asked for again."""
TEXT_LIMIT = 64 << 20
MEMO_LIMIT = 100_000


@record
class _Asked:
    """What is known of a text. ``names`` are the last parts of what it includes, which is not all
    if it ``computed`` one."""

    moves: bool
    computed: bool
    names: frozenset[bytes] = frozenset()


@mutable
class Exactness:
    """Safe for several threads. ``temporary`` is a directory to be removed in the end, if any."""

    contents: Contents
    sandbox: Sandbox
    ground: Ground
    digests: FileDigests
    survey: Survey
    temporary: str = ""
    _asked: dict[bytes, _Asked] = made(factory=dict)

    def digest(self, path: bytes, began: int) -> bytes | None:
        """Of one of the server's own files, if it stood still since ``began`` (file_clock)."""
        found = native.signature(path, follow=False)
        if not found.is_regular or found.changed >= began:
            return None
        return self.digests.digest(path, found)

    def moves(self, path: bytes, digest: bytes, *, sent: bool) -> bool:
        """Whether a text asks for the time, or in another way for what no file says. It is among
        the contents that were ``sent``, or the server's own."""
        return self._what(path, digest, sent=sent).moves

    def includes(self, path: bytes, digest: bytes, name: bytes, *, sent: bool) -> bool:
        """Whether a text may ask for a file whose name ends in ``name``."""
        asked = self._what(path, digest, sent=sent)
        if asked.computed:
            text = self._text(path, digest, sent=sent)
            return text is None or name in text
        return name in asked.names

    def _what(self, path: bytes, digest: bytes, *, sent: bool) -> _Asked:
        known = self._asked.get(digest)
        if known is not None:
            return known
        text = self._text(path, digest, sent=sent)
        if text is None:
            return _Asked(moves=True, computed=True)
        found = scan(text)
        by_clock = found.date or found.time or found.timestamp or found.dependency_pragma
        asked = _Asked(
            by_clock or found.modules or found.pch_pragma,
            found.computed_include or found.computed_has_include,
            frozenset(map(os.path.basename, found.quoted | found.angled))
            | {os.path.basename(name) for _, name in found.has_include},
        )
        if len(self._asked) >= MEMO_LIMIT:
            self._asked.clear()
        self._asked[digest] = asked
        return asked

    def counts_names(self, path: bytes, digest: bytes, *, sent: bool) -> bool:
        """Whether a compile may tell apart two files with this content, or take them for one:
        under ``#pragma once`` gcc compares their times and clang their inodes."""
        text = self._text(path, digest, sent=sent)
        return text is None or b"once" in text or b"import" in text

    def _text(self, path: bytes, digest: bytes, *, sent: bool) -> bytes | None:
        return self.contents.read(digest, TEXT_LIMIT) if sent else _read(path)

    def close(self) -> None:
        """Let go of everything."""
        self.sandbox.close()
        self.contents.close()
        _remove(self.temporary)


def _remove(temporary: str) -> None:
    if temporary:
        shutil.rmtree(temporary, ignore_errors=True)


def _read(path: bytes) -> bytes | None:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(TEXT_LIMIT)
    except OSError:
        return None


def opened(path: str) -> str:
    """A name under which a program can still be run when its place is out of reach."""
    try:
        return f"/proc/self/fd/{os.open(path, os.O_PATH | os.O_CLOEXEC)}"
    except OSError:
        return path


def open_exactness(
    program: str, root: str, cache_size: int, rules: Rules, log: Log
) -> Exactness | None:
    """What exact jobs need; None where this machine does not have it, which the log says.

    ``program`` is the sandbox's, ``root`` our own directory in the cache's, empty without one,
    ``cache_size`` in bytes, 0 for any."""
    temporary = "" if root else tempfile.mkdtemp(prefix=PREFIX)
    try:
        directory = os.path.join(root, CONTENTS) if root else temporary
        size = cache_size or UNBOUNDED_CACHE
        contents = Contents(directory, limit=size // CONTENTS_SHARE)
    except OSError as problem:
        log(Level.WARNING, f"exact jobs are not served: {problem}")
        _remove(temporary)
        return None
    shown = ground.find()
    programs = runnable(rules).values()
    elsewhere = {place for path in programs for place in ground.places_of(path, shown)}
    if elsewhere:
        shown = ground.find(sorted(elsewhere))
    try:
        sandbox = Sandbox.open(contents.descriptor, shown, program)
    except SandboxFailed as problem:
        contents.close()
        _remove(temporary)
        log(Level.INFO, f"exact jobs are not served: {problem}")
        return None
    digests = FileDigests(native.signature, native.fs_type)
    exact = Exactness(contents, sandbox, shown, digests, Survey(digests), temporary)
    if not sandbox.records:
        log(Level.INFO, "exact jobs are not served: the kernel does not tell what compilers ask")
        exact.close()
        return None
    log(Level.INFO, "exact jobs are served")
    return exact
