"""What exact jobs share in a daemon, and whether this machine has it."""

from __future__ import annotations

import os
import shutil
import tempfile

from pycc import native
from pycc.cache.digest import FileDigests
from pycc.directives import scan
from pycc.record import made, mutable

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
TEXT_LIMIT = 64 << 20
MEMO_LIMIT = 100_000


@mutable
class Exactness:
    """Safe for several threads. ``temporary`` is a directory to be removed in the end, if any."""

    contents: Contents
    sandbox: Sandbox
    ground: Ground
    digests: FileDigests
    survey: Survey
    temporary: str = ""
    _moving: dict[bytes, bool] = made(factory=dict)

    def digest(self, path: bytes, began: int) -> bytes | None:
        """Of one of the server's own files, if it stood still since ``began`` (file_clock)."""
        found = native.signature(path, follow=False)
        if not found.is_regular or found.changed >= began:
            return None
        return self.digests.digest(path, found)

    def moves(self, path: bytes, digest: bytes, *, sent: bool) -> bool:
        """Whether a text asks for the time, or in another way for what no file says. It is among
        the contents that were ``sent``, or the server's own."""
        known = self._moving.get(digest)
        if known is not None:
            return known
        text = self._text(path, digest, sent=sent)
        if text is None:
            return True
        asked = scan(text)
        by_clock = asked.date or asked.time or asked.timestamp or asked.dependency_pragma
        moves = by_clock or asked.modules or asked.pch_pragma
        if len(self._moving) >= MEMO_LIMIT:
            self._moving.clear()
        self._moving[digest] = moves
        return moves

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
        if self.temporary:
            shutil.rmtree(self.temporary, ignore_errors=True)


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

    ``program`` is the sandbox's, ``root`` our own directory in the cache's, empty without one."""
    temporary = "" if root else tempfile.mkdtemp(prefix=PREFIX)
    try:
        directory = os.path.join(root, CONTENTS) if root else temporary
        contents = Contents(directory, limit=cache_size // CONTENTS_SHARE)
    except OSError as problem:
        log(Level.WARNING, f"exact jobs are not served: {problem}")
        return None
    shown = ground.find()
    elsewhere = {ground.place_of(path, shown) for path in runnable(rules).values()}
    if elsewhere != {None}:
        shown = ground.find(sorted(place for place in elsewhere if place))
    try:
        sandbox = Sandbox.open(contents.descriptor, shown, program)
    except SandboxFailed as problem:
        contents.close()
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
