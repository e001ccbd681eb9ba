"""Whether the files that a compile read are still the ones that it read.

A result may be stored only if every dependency, and every directory and symbolic link on the way
to it, is what it was when the compile started; otherwise hashing afterwards would pair new
content with an old object for good (an include directory behind a link that is switched in
mid-compile).

A file is safe when its mtime and ctime are older than the start. A link is safe when its own
times are, be it a directory on the way or the last name. A directory is harder: making an object
in it moves its times just as renaming another directory over it does. The entry ``d`` of directory
``p`` still names the same directory if

  * d's ctime is older than the start (a rename moves the ctime of what it renames), or
  * p's mtime is older (nothing in p was renamed, made or removed), or
  * d was looked at before the start and had the same device and inode.

The last rule needs to know the directories beforehand, so the caller keeps those that were in
doubt once and looks at them before every compile. A directory that is in doubt for the first time
costs that one result.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from .native import Signature

Identity = tuple[int, int]
LONGEST_CHAIN = 40  # links that the kernel follows for one path


def prefixes(paths: Iterable[bytes]) -> list[bytes]:
    """Every directory on the way to the absolute ``paths``, without the root, parents first."""
    found: dict[bytes, None] = {}
    for path in paths:
        end = path.rfind(b"/")
        directory = path[:end] if end > 0 else b""
        if not directory or directory in found:
            continue
        chain = []
        while directory and directory not in found:
            chain.append(directory)
            end = directory.rfind(b"/")
            directory = directory[:end] if end > 0 else b""
        found.update(dict.fromkeys(reversed(chain)))
    return list(found)


def identities(
    directories: Sequence[bytes], look: Callable[[Sequence[bytes], bool], Sequence[Signature]]
) -> dict[bytes, Identity]:
    """Device and inode of each directory that exists (links followed), before a compile."""
    signatures = look(directories, True)
    return {
        path: (s.device, s.inode)
        for path, s in zip(directories, signatures, strict=True)
        if s.is_directory
    }


def _followed(
    paths: Sequence[bytes],
    start: int,
    look: Callable[[Sequence[bytes], bool], Sequence[Signature]],
    links: Sequence[bytes] | None,
) -> tuple[bytes | None, list[bytes]]:
    """(the first link among the files ``paths`` that may have changed, or None; ``paths`` and
    what those of them that are links lead to)."""
    found = dict.fromkeys(paths)
    # A link is looked at once more: what was read through it is known only now.
    pending = list(paths if links is None else links)
    for _ in range(LONGEST_CHAIN if pending else 0):
        new: dict[bytes, None] = {}
        for path, link in zip(pending, look(pending, False), strict=True):
            if not link.is_link:
                continue
            if link.changed >= start:
                return path, []
            try:
                new[os.path.join(os.path.dirname(path), os.readlink(path))] = None
            except OSError:
                return path, []
        pending = [path for path in new if path not in found]
        if not pending:
            break
        found.update(new)
    return None, list(found)


def disturbed(
    paths: Sequence[bytes],
    start: int,
    before: Mapping[bytes, Identity],
    look: Callable[[Sequence[bytes], bool], Sequence[Signature]],
    links: Sequence[bytes] | None = None,
) -> bytes | None:
    """The first directory or link on the way to ``paths`` that may have changed since ``start``
    (ns by the file clock), or None. ``look(paths, follow)`` gives signatures; ``links`` are those
    of ``paths`` that are links, if that is known."""
    switched, ways = _followed(paths, start, look, links)
    if switched is not None:
        return switched
    pending = prefixes(ways)
    seen = set(pending)
    while pending:
        # One rule holds for nearly all of them and needs no other look.
        doubtful = [
            (path, link)
            for path, link in zip(pending, look(pending, False), strict=True)
            if not (link.is_directory and link.ctime < start)
        ]
        if not doubtful:
            break
        pending = [path for path, _ in doubtful]
        signatures = [signature for _, signature in doubtful]
        targets = look(pending, True)
        parents = look([os.path.dirname(path) or b"/" for path in pending], True)
        new: dict[bytes, None] = {}
        for path, link, target, parent in zip(pending, signatures, targets, parents, strict=True):
            if not target.is_directory:
                return path
            if link != target and not link.is_directory:
                if link.changed >= start:
                    return path
                try:
                    way = os.path.join(os.path.dirname(path), os.readlink(path))
                except OSError:
                    return path
                new.update(dict.fromkeys(p for p in prefixes([way + b"/x"]) if p not in seen))
            elif (
                target.ctime >= start
                and parent.mtime >= start
                and os.path.basename(path) not in (b".", b"..")
                and before.get(path) != (target.device, target.inode)
            ):
                return path
        pending = list(new)
        seen |= set(pending)
    return None
