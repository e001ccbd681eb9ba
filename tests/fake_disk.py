"""A file system in memory whose clock ticks when it is told to."""

from __future__ import annotations

import itertools
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field

from pycc.cache.digest import FileDigests, digest_of
from pycc.native import NO_FILE, Signature

SECOND = 10**9
LONGEST = 20


@dataclass(eq=False)
class Node:
    """A file (``content``), directory (``entries``) or link (``target``)."""

    inode: int
    mtime: int
    ctime: int
    content: bytes = b""
    entries: dict[bytes, Node] | None = None
    target: bytes = b""


@dataclass
class Disk:
    """Directories come into being with their files; every change moves times to ``now``."""

    now: int = 1_000_000 * SECOND
    fs_type: int = 0xEF53
    listings: list[bytes] = field(default_factory=list)
    records: list[tuple[str, bytes, Signature]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inodes = itertools.count(2)
        self.root = Node(1, self.now, self.now, entries={})

    def tick(self, seconds: float = 10) -> None:
        self.now += int(seconds * SECOND)

    # Walking.

    def find(self, path: bytes, *, follow: bool = True, depth: int = 0) -> Node | None:
        """The node at an absolute path."""
        node, parts = self.root, [part for part in path.split(b"/") if part not in (b"", b".")]
        for number, part in enumerate(parts):
            if node.entries is None or part not in node.entries:
                return None
            node = node.entries[part]
            if node.target and (follow or number < len(parts) - 1):
                rest = b"/".join([node.target, *parts[number + 1 :]])
                return None if depth > LONGEST else self.find(rest, follow=follow, depth=depth + 1)
        return node

    def _parent(self, path: bytes) -> Node:
        directory = path.rpartition(b"/")[0]
        node = self.find(directory)
        if node is None:
            self.mkdir(directory)
            node = self.find(directory)
        assert node is not None
        return node

    # Changing.

    def _put(self, path: bytes, **fields: object) -> None:
        parent = self._parent(path)
        if parent.entries is None:
            return
        node = Node(next(self.inodes), self.now, self.now, **fields)  # type: ignore[arg-type]
        parent.entries[path.rpartition(b"/")[2]] = node
        parent.mtime = parent.ctime = self.now

    def write(self, path: bytes, content: bytes = b"") -> None:
        node = self.find(path)
        if node is None or node.entries is not None:
            self._put(path, content=content)
        else:
            node.content = content
            node.mtime = node.ctime = self.now

    def mkdir(self, path: bytes) -> None:
        if path and self.find(path) is None:
            self._put(path, entries={})

    def link(self, path: bytes, target: bytes) -> None:
        self._put(path, target=target)

    def remove(self, path: bytes) -> None:
        parent = self._parent(path)
        if parent.entries and parent.entries.pop(path.rpartition(b"/")[2], None):
            parent.mtime = parent.ctime = self.now

    # What lookup.Files promises.

    def signature(self, path: bytes, *, follow: bool = True) -> Signature:
        node = self.find(path, follow=follow)
        if node is None:
            return NO_FILE
        kind = stat.S_IFDIR if node.entries is not None else stat.S_IFREG
        if node.target:
            kind = stat.S_IFLNK
        return Signature(kind | 0o644, 1, node.inode, len(node.content), node.mtime, node.ctime)

    def signatures(self, paths: Sequence[bytes]) -> list[Signature]:
        return [self.signature(path) for path in paths]

    def _record(self, kind: str, path: bytes, signature: Signature) -> bytes:
        self.records.append((kind, path, signature))
        return b"%d" % (len(self.records) - 1)

    def same(self, path: bytes, signature: Signature) -> bytes:
        return self._record("same", path, signature)

    def absent(self, path: bytes) -> bytes:
        return self._record("absent", path, NO_FILE)

    def listed(self, directory: bytes) -> tuple[Signature, Sequence[bytes]]:
        self.listings.append(directory)
        node = self.find(directory)
        if node is None or node.entries is None:
            raise NotADirectoryError(directory)
        return self.signature(directory), list(node.entries)

    def holds(self, records: Sequence[bytes]) -> bool:
        """What native.check would say of the records."""
        return all(self.signature(p) == s for _, p, s in (self.records[int(r)] for r in records))


class DiskDigests(FileDigests):
    """Digests of what is on a Disk."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk.signature, lambda _: disk.fs_type, lambda: disk.now)
        self.disk = disk
        self.read_files: list[bytes] = []

    def read(self, path: bytes, limit: int = 1 << 30) -> tuple[bytes, bytes, Signature] | None:
        """As the real one, from the Disk."""
        self.read_files.append(path)
        node, found = self.disk.find(path), self.disk.signature(path)
        if node is None or not found.is_regular:
            return None
        digest = digest_of(node.content)
        self._remember(path, found, digest, self.disk.now)
        return digest, node.content, found
