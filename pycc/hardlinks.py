"""Objects that the store keeps, and calls receive, as files (the settings ``hard_link`` and
``file_clone``).

One file then has many names, and whoever writes through one of them writes through all. Against
that stand ccache's means, the names are made read-only and an output with further names is removed
before the compiler runs, and one more: the content is proven each time before it is used, so that a
changed file costs a miss and never gives a wrong object. That reads the file, which a copy would
have to do as well; what is saved is the writing and the space.

Only objects are kept like this. Assembler text, dependency files and precompiled headers are
written in place by the compilers. With remote storage both are without effect, as in ccache.

Clones share their blocks until one of them is written, on file systems that can do that (btrfs,
xfs, bcachefs). Elsewhere nothing is stored in this way.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from .cache.lookup import absolute
from .cache.result import LIMIT, Entry, Kind, ResultError, holds, linked, read_linked
from .frame import CLONE, REPLACE, Link, Op, Write
from .invocation import Action, Invocation
from .record import record

if TYPE_CHECKING:
    from .cache.directory import CacheDirectory
    from .call import Call

NULL = b"/dev/null"
READ_ONLY = 0o444


def wanted(call: Call, invocation: Invocation) -> bool:
    """Whether the object of this call is to be a hard link, or a clone."""
    return (
        (call.config.hard_link or call.config.file_clone)
        and not call.config.remote_storage
        and invocation.action is Action.COMPILE
        and not invocation.generates_pch
        and invocation.output not in (None, NULL)
    )


def make_way(call: Call, invocation: Invocation) -> None:
    """Remove an object that has further names: the compiler may write to it in place."""
    if not wanted(call, invocation):
        return
    path = absolute(call.cwd, invocation.output or b"")
    with suppress(OSError):
        found = os.lstat(path)
        if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
            os.unlink(path)


def store(
    call: Call, invocation: Invocation, key: bytes, entries: Sequence[Entry]
) -> Sequence[Entry]:
    """``entries`` as the result is to hold them, the object's file being stored under ``key``."""
    if not wanted(call, invocation):
        return entries
    path = absolute(call.cwd, invocation.output or b"")
    clone, namespace = call.config.file_clone, call.config.namespace
    kept: list[Entry] = []
    for entry in entries:
        if entry.kind is Kind.OBJECT and call.cache.link_file(key, path, namespace, clone=clone):
            what = "Cloned" if clone else "Hard linked"
            call.log(f"{what} {os.fsdecode(path)} into the cache")
            if not clone:
                with suppress(OSError):
                    os.chmod(path, READ_ONLY & ~call.request.umask)
            kept.append(linked(key, entry.data))
        else:
            kept.append(entry)
    return kept


@record
class LinkedObjects:
    """How one call receives objects that the store has as files: linked, cloned or copied."""

    cache: CacheDirectory
    cwd: bytes
    by_link: bool
    by_clone: bool = False
    say: Callable[[str], None] | None = None

    def __call__(self, entry: Entry, output: bytes, flags: int) -> Op | None:
        """The operation that makes ``output``; None when the file has gone or was changed."""
        try:
            file = read_linked(entry)
        except ResultError:
            return None
        storage = self.cache.storage
        path = storage.file_of(file.key)
        if path is None or file.size > LIMIT:
            return None
        found = _read(path, file.size)
        if found is None or not holds(file, found[1]):
            self.cache.delete(file.key)
            return None
        storage.touch(file.key)
        if self.by_clone:
            if self.say is not None:
                self.say(f"Cloning {os.fsdecode(path)} to {os.fsdecode(output)}")
            return Link(path, output, CLONE)
        if self.by_link and self._can_be_linked(found[0], output):
            # A file that is older than its sources would be made again and again.
            with suppress(OSError):
                os.utime(path)
            return Link(path, output, REPLACE)
        return Write(output, found[1], flags)

    def _can_be_linked(self, found: os.stat_result, output: bytes) -> bool:
        # The kernel may refuse links to others' files (fs.protected_hardlinks).
        if found.st_uid != os.getuid():
            return False
        with suppress(OSError):
            directory = os.path.dirname(absolute(self.cwd, output))
            return os.stat(directory).st_dev == found.st_dev
        return False


def receiving(call: Call, invocation: Invocation) -> LinkedObjects:
    """How this call receives them."""
    by_file, by_clone = wanted(call, invocation), call.config.file_clone
    say = call.log if call.log.enabled else None
    return LinkedObjects(call.cache, call.cwd, by_file and not by_clone, by_file and by_clone, say)


def _read(path: bytes, size: int) -> tuple[os.stat_result, bytes] | None:
    """The file if it still has ``size`` bytes."""
    try:
        with open(path, "rb", buffering=0) as file:
            found = os.fstat(file.fileno())
            data = file.read(size + 1) if found.st_size == size else b""
    except OSError:
        return None
    return (found, data) if len(data) == size else None
