"""The numbered directories of which the highest holds the database in use.

A database cannot be replaced under its name. SQLite opens the log and its index by name, some time
after it opened the database; a process that opened the old database and then finds the new one's
log would play that log into the wrong file. So each database lies in a directory whose name is used
once, and clearing or rebuilding means making the next one.

The number is the time of its making in nanoseconds, or one more than its predecessor's, whichever
is higher: so no name comes back even where the predecessor had to go first, on a full disk. A
generation is built under a name that nobody looks at, published by rename under the caller's lock
and retired by rename too, so that a name leads to a whole generation or to nothing. Whoever dies in
between leaves directories that `remove_left_over` finds.
"""

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import Final

from ..pattern import pattern
from . import local_database, shared_files

_GENERATION: Final = pattern(r"db-([0-9]{1,20})", re.ASCII)
_NEW: Final = pattern(r"new-[0-9a-f]{16}", re.ASCII)
_GONE: Final = pattern(r"gone-[0-9a-f]{16}", re.ASCII)

# Nothing younger (seconds) has been left over: its maker may still be about to finish it.
ORPHAN_AGE: Final = 3600.0
_LEVEL: Final = pattern(r"[0-9a-f]{2}", re.ASCII)


def newest(root: str) -> str | None:
    """Return the path of the generation in use; None if there is none or no reading ``root``."""
    try:
        names = os.listdir(root)
    except OSError:
        return None
    best = max((number for name in names if (number := _number(name))), default=0)
    return next((f"{root}/{name}" for name in names if best and _number(name) == best), None)


def _number(name: str) -> int:
    match = _GENERATION.fullmatch(name)
    return int(match[1]) if match else 0


def make_next(root: str, current: str | None, umask: int | None) -> None:
    """Publish an empty generation above ``current``; raises `DatabaseErrors`.

    The caller holds the lock.
    """
    number = time.time_ns()
    if current is not None:
        number = max(number, _number(os.path.basename(current)) + 1)
    temporary = f"{root}/new-{local_database.new_name()}"
    shared_files.make_directories(temporary, umask)
    try:
        local_database.build(temporary, umask)
        os.rename(temporary, f"{root}/db-{number}")
    finally:
        _remove_tree(temporary)


def retire(root: str, generation: str) -> None:
    """Remove a generation that is no longer the newest, as far as it can be removed."""
    gone = f"{root}/gone-{local_database.new_name()}"
    with contextlib.suppress(OSError):
        os.rename(generation, gone)
        _remove_tree(gone)


def remove_left_over(root: str, older_than: float) -> int:
    """Remove what builders and removers that died have left; return how many things.

    ``older_than`` (seconds since the epoch): what is younger may still be under construction.
    """
    used = newest(root)
    removed = 0
    for entry in _scan(root):
        path = entry.path
        if _GENERATION.fullmatch(entry.name):
            if used is not None and _number(entry.name) < _number(os.path.basename(used)):
                retire(root, path)
                removed += 1
        elif _GONE.fullmatch(entry.name) or (
            _NEW.fullmatch(entry.name) and _is_older(path, older_than)
        ):
            _remove_tree(path)
            removed += 1
    return removed


def remove_orphans(generation: str, older_than: float, is_known: Callable[[str], bool]) -> int:
    """Remove value files that no entry knows; return how many.

    A writer makes the file first and the entry after it, so only a file older than ``older_than``
    (seconds since the epoch) whose entry is still missing has lost its writer.
    """
    removed = 0
    for level_1 in _levels(generation):
        for level_2 in _levels(level_1.path):
            for entry in _scan(level_2.path):
                name = f"{level_1.name}/{level_2.name}/{entry.name}"
                if _is_older(entry.path, older_than) and not is_known(name):
                    with contextlib.suppress(OSError):
                        os.unlink(entry.path)
                        removed += 1
    return removed


def _remove_tree(path: str) -> None:
    # Late: it takes 4 ms to load, and most processes have nothing to remove.
    import shutil

    shutil.rmtree(path, ignore_errors=True)


def _levels(path: str) -> Iterator["os.DirEntry[str]"]:
    for entry in _scan(path):
        if _LEVEL.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
            yield entry


def _scan(path: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except OSError:
        return []


def _is_older(path: str, moment: float) -> bool:
    try:
        return os.lstat(path).st_mtime < moment
    except OSError:
        return False
