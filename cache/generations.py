"""The numbered directories of which the highest holds the database in use.

A database cannot be replaced under its name. SQLite opens the log and its index by name, some time
after it opened the database; a process that opened the old database and then finds the new one's
log would play that log into the wrong file. So each database lies in a directory whose name is used
once, and clearing or rebuilding means making the next one.

A generation is built under a name that nobody looks at and published by rename, which fails if the
name is taken: two builders cannot both win even where the lock does not work. It is retired by
rename too, so that a name either leads to a whole generation or to nothing. Whoever dies in between
leaves directories that `remove_left_over` finds.
"""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Final

from . import local_database, shared_files

_GENERATION: Final = re.compile(r"db-([0-9]{8})", re.ASCII)
_LEFT_OVER: Final = re.compile(r"(?:new|gone)-[0-9a-f]{16}", re.ASCII)
_LEVEL: Final = re.compile(r"[0-9a-f]{2}", re.ASCII)


def newest(root: str) -> str | None:
    """Return the path of the generation in use; None if there is none or no reading ``root``."""
    try:
        names = os.listdir(root)
    except OSError:
        return None
    generations = [name for name in names if _GENERATION.fullmatch(name)]
    return f"{root}/{max(generations)}" if generations else None


def make_next(root: str, current: str | None, umask: int | None) -> None:
    """Publish an empty generation above ``current``; raises `DatabaseErrors`.

    That somebody else has published it first is no error.
    """
    number = int(os.path.basename(current)[3:]) + 1 if current is not None else 1
    temporary = f"{root}/new-{local_database.new_name()}"
    shared_files.make_directories(temporary, umask)
    try:
        local_database.build(temporary, umask)
        try:
            os.rename(temporary, f"{root}/db-{number:08d}")
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def retire(root: str, generation: str) -> None:
    """Remove a generation that is no longer the newest, as far as it can be removed."""
    gone = f"{root}/gone-{local_database.new_name()}"
    with contextlib.suppress(OSError):
        os.rename(generation, gone)
        shutil.rmtree(gone, ignore_errors=True)


def remove_left_over(root: str, older_than: float) -> int:
    """Remove what builders and removers that died have left; return how many things.

    ``older_than`` (seconds since the epoch): what is younger may still be under construction.
    """
    used = newest(root)
    removed = 0
    for entry in _scan(root):
        path = entry.path
        if _GENERATION.fullmatch(entry.name):
            if used is not None and path < used:
                retire(root, path)
                removed += 1
        elif not _is_older(path, older_than):
            continue
        elif _LEFT_OVER.fullmatch(entry.name):
            shutil.rmtree(path, ignore_errors=True)
            removed += 1
        elif shared_files.is_temporary(entry.name):
            with contextlib.suppress(OSError):
                os.unlink(path)
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
