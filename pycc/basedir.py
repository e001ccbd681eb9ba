"""base_dir: absolute paths below a base directory become relative to the working directory.

Two checkouts of one project then have one command line, one preprocessed text and one set of
dependency files, and so one cache entry. This is ccache's option of that name, with its meaning
(manual, "base_dir"): a path counts when its words start with those of a base directory, and is
then spelled from the working directory, the apparent one ($PWD) if that is shorter.

A new spelling is taken only if it leads to the same place, and *by the same directory*: what a
file includes is looked for beside the name under which it was opened, so a name that reaches it
through another directory, by a link or by ``..`` behind a link, compiles something else. (ccache
asks only for the same file, and not at all about ``..`` that it has folded.)

The file system is asked through ``look``; its answers belong to the caller's witnesses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Protocol

from pycc.arguments import rewrite
from pycc.depfile import DepfileError, Style, parse, render
from pycc.invocation import Invocation, KeyArg
from pycc.pattern import pattern
from pycc.record import replace

Group = tuple[bytes, tuple[bytes, ...]]
File = tuple[bytes, bytes]

# Names with escapes are left alone: what they unescape to is another name.
_MARKER = pattern(rb'^(#(?:line)? \d+ |#pragma GCC pch_preprocess )"([^"\\\n]+)"', re.MULTILINE)
_PREFIX_MAP = pattern(rb"(-f[a-z]+-prefix-map=)(/[^=]*)(=.*)", re.DOTALL)
_CSI = pattern(rb"(?:\x1b\[[0-?]*[ -/]*[Km])*")
_BEFORE_PATH = pattern(
    rb"    inlined from .*? at |                 from |In file included from |"
    rb"        included from |In module imported at |In module |of module |imported at "
)


class Place(Protocol):
    """What stat says of a path (native.Signature)."""

    @property
    def exists(self) -> bool:
        """Whether anything is there, links followed."""

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""

    @property
    def device(self) -> int:
        """The file system's number; with ``inode`` it tells files apart."""

    @property
    def inode(self) -> int:
        """The file's number."""


Look = Callable[[bytes], Place]


def _same(one: Place, other: Place) -> bool:
    return one.exists and (one.device, one.inode) == (other.device, other.inode)


def apparent_directory(cwd: bytes, pwd: bytes | None, look: Look) -> bytes:
    """The working directory as the user sees it and as compilers write it into their outputs:
    $PWD when it is absolute and leads to ``cwd``, else ``cwd``."""
    if pwd is None or pwd == cwd or not pwd.startswith(b"/"):
        return cwd
    return pwd if _same(look(pwd), look(cwd)) else cwd


def normal(path: bytes) -> bytes:
    """``path`` (absolute) with ``.``, ``..`` and needless slashes folded, links not looked at."""
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/" + b"/".join(parts)


def _parts(path: bytes) -> list[bytes]:
    return [part for part in path.split(b"/") if part]


def lexically_relative(path: bytes, directory: bytes) -> bytes:
    """``path`` as seen from ``directory``, both absolute and normal; links are not looked at."""
    ours, theirs = _parts(path), _parts(directory)
    common = 0
    for one, other in zip(ours, theirs, strict=False):
        if one != other:
            break
        common += 1
    return b"/".join([b".."] * (len(theirs) - common) + ours[common:]) or b"."


class BaseDirectories:
    """``directories`` are absolute, ``cwd`` is the physical working directory, ``pwd`` is $PWD."""

    def __init__(
        self, directories: Sequence[bytes], cwd: bytes, pwd: bytes | None, look: Look
    ) -> None:
        self._directories = [_parts(directory) for directory in directories]
        self._cwd = cwd
        self._look = look
        self._known: dict[bytes, bytes] = {}
        apparent = apparent_directory(cwd, pwd, look)
        self._starts = (cwd,) if apparent != normal(apparent) else (cwd, apparent)

    def relative(self, path: bytes) -> bytes:
        """``path`` relative to the working directory, or unchanged: it is not below a base
        directory, or no relative name leads to it."""
        if path[:1] != b"/":
            return path
        known = self._known.get(path)
        if known is None:
            known = self._known[path] = self._relative(path) if self._covers(path) else path
        return known

    def _covers(self, path: bytes) -> bool:
        parts = _parts(path)
        return any(parts[: len(base)] == base for base in self._directories)

    def _relative(self, path: bytes) -> bytes:
        look = self._look
        folded = normal(path)
        if b".." in path.split(b"/") and not self._folds(path, folded):
            return path
        existing, rest = folded, b""
        while existing != b"/" and not look(existing).exists:
            existing, _, last = existing.rpartition(b"/")
            existing = existing or b"/"
            rest = last + b"/" + rest
        place = look(existing)
        candidates = {lexically_relative(existing, start): None for start in self._starts}
        for candidate in sorted(candidates, key=len):
            full = self._cwd + b"/" + candidate
            if not _same(look(full), place):
                continue
            if not place.is_directory and not self._same_parent(full, existing):
                continue
            if not rest:
                return candidate
            return rest[:-1] if candidate == b"." else candidate + b"/" + rest[:-1]
        return path

    def _same_parent(self, one: bytes, other: bytes) -> bool:
        parents = (os.path.dirname(one), os.path.dirname(other))
        return _same(self._look(parents[0]), self._look(parents[1]))

    def _folds(self, path: bytes, folded: bytes) -> bool:
        """Whether folding ``..`` led to the same entry of the same directory."""
        path = path.rstrip(b"/")
        if path.endswith((b"/..", b"/.")):
            return _same(self._look(path), self._look(folded))
        return self._same_parent(path, folded)

    # What a call consists of.

    def invocation(self, invocation: Invocation) -> Invocation:
        """The command line with relative paths. Outputs and targets stay as they are named; of a
        prefix map only the key changes, because the compiler matches it against real paths."""
        again = rewrite(invocation, self.relative)
        keys = tuple(self._key_arg(arg) for arg in again.key_args)
        return again if keys == again.key_args else replace(again, key_args=keys)

    def _key_arg(self, arg: KeyArg) -> KeyArg:
        match = _PREFIX_MAP.fullmatch(arg.words[0])
        if match is None:
            return arg
        option, old, new = match.groups()
        bare = old.rstrip(b"/")
        # Any other spelling matches other texts than the normal one does.
        if bare != normal(bare):
            return arg
        slashes = old[len(bare) :]
        return KeyArg((option + self.relative(bare) + slashes + new, *arg.words[1:]), arg.scope)

    def markers(self, text: bytes) -> bytes:
        """Preprocessed text with relative names in its line markers."""

        def marker(match: re.Match[bytes]) -> bytes:
            head, name = match.groups()
            # A directory (-fworking-directory) ends in two slashes.
            bare = name.rstrip(b"/")
            found = self.relative(bare)
            return match.group() if found == bare else b'%s"%s"' % (head, found)

        return _MARKER.sub(marker, text)

    def depfile(
        self, text: bytes, targets: Sequence[tuple[bytes, bool]], style: Style
    ) -> bytes | None:
        """The dependency file with relative prerequisites; None when it stays as it is."""
        try:
            rule = parse(text)
        except DepfileError:
            return None
        names = tuple(map(self.relative, rule.prerequisites))
        if names == rule.prerequisites or render(rule, targets, style) != text:
            return None
        return render(replace(rule, prerequisites=names), targets, style)

    def moved(self, directories: Sequence[bytes]) -> tuple[bytes, ...]:
        """Those of the absolute ``directories`` that have another name now."""
        pairs = ((name, self.relative(name)) for name in directories)
        return tuple(found for name, found in pairs if found != name)

    def witnesses(
        self,
        files: Sequence[File],
        groups: Sequence[Group],
        present: Sequence[bytes],
        search: Sequence[bytes],
    ) -> tuple[tuple[File, ...], tuple[Group, ...], tuple[bytes, ...]]:
        """A manifest entry's witnesses by their relative names.

        A name that does not come from a directory in ``search`` (whose relative names are in the
        key) was spelled out in a source text. From another working directory that text names the
        same file still, so its absolute name stays a witness beside the relative one.
        """
        below = tuple(directory.rstrip(b"/") + b"/" for directory in search)

        def names(path: bytes) -> tuple[bytes, ...]:
            found = self.relative(path)
            if found == path or (path + b"/").startswith(below):
                return (found,)
            return found, path

        moved_groups: list[Group] = []
        for directory, members in groups:
            if directory == b"/":
                for member in members:
                    moved_groups += (_group(name) for name in names(b"/" + member))
            else:
                moved_groups += ((name, members) for name in names(directory))
        return (
            tuple((name, digest) for path, digest in files for name in names(path)),
            tuple(moved_groups),
            tuple(name for path in present for name in names(path)),
        )


def _group(path: bytes) -> Group:
    return (b"/", (path[1:],)) if path[:1] == b"/" else (b".", (path,))


def absolute_diagnostics(text: bytes, real: Callable[[bytes], bytes]) -> bytes:
    """Compiler messages with the path at the head of each line replaced by ``real`` of it.

    This is ccache's absolute_paths_in_stderr: a path stands before the first colon, behind the
    words with which the compilers lead to an including file, and behind colours.
    """
    lines = text.split(b"\n")
    for index, line in enumerate(lines):
        before = _BEFORE_PATH.match(line)
        colours = _CSI.match(line, before.end() if before else 0)
        start = colours.end() if colours else 0
        end = line.find(b":", start)
        if end > start:
            lines[index] = line[:start] + real(line[start:end]) + line[end:]
    return b"\n".join(lines)
