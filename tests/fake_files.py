"""A file system in a dictionary, for what configuration asks of one."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FakeFile:
    content: bytes = b""
    owner: int = 1000
    permissions: int = 0o644


@dataclass(frozen=True, slots=True)
class FakeDirectory:
    owner: int = 1000
    permissions: int = 0o755
    device: int = 1


class FakeFiles:
    """`FileAccess` whose missing directories spring up above every path that is given."""

    def __init__(self, nodes: Mapping[str, str | FakeFile | FakeDirectory]) -> None:
        self.nodes: dict[str, FakeFile | FakeDirectory] = {}
        self.asked: set[str] = set()
        for path, node in nodes.items():
            self._add(path, FakeFile(node.encode()) if isinstance(node, str) else node)

    def _add(self, path: str, node: FakeFile | FakeDirectory) -> None:
        self.nodes[path] = node
        while path not in ("", "/"):
            path = posixpath.dirname(path)
            self.nodes.setdefault(path, FakeDirectory())

    def read(self, path: str) -> bytes | None:
        self.asked.add(path)
        node = self.nodes.get(path)
        return node.content if isinstance(node, FakeFile) else None

    def stat(self, path: str) -> os.stat_result | None:
        self.asked.add(path)
        node = self.nodes.get(path)
        if node is None:
            return None
        if isinstance(node, FakeFile):
            kind, device = stat.S_IFREG, 1
        else:
            kind, device = stat.S_IFDIR, node.device
        return os.stat_result((kind | node.permissions, 1, device, 1, node.owner, 0, 0, 0, 0, 0))

    def exists(self, path: str) -> bool:
        self.asked.add(path)
        return path in self.nodes

    def writable(self, path: str) -> bool:
        self.asked.add(path)
        node = self.nodes.get(path)
        return isinstance(node, FakeDirectory) and bool(node.permissions & 0o200)

    def user(self) -> int:
        return 1000

    def replace(self, path: str, content: bytes, umask: int) -> None:
        if isinstance(self.nodes.get(path), FakeDirectory):
            raise IsADirectoryError(21, os.strerror(21), path)
        self._add(path, FakeFile(content, permissions=0o666 & ~umask))
