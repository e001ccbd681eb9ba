"""What every kind of remote storage promises, and how it may fail.

A backend answers for one URL and holds what it needs for that (connections, a directory). It may be
asked by several threads. Whatever it is sent has been sealed (storage.py), and whatever it gives is
opened by whoever asked: a backend moves bytes, and bounds their number before it takes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from .storage import HEADER_SIZE

Say = Callable[[str], None]
"""Takes a line for the log of the call that asks."""

LARGEST: Final = (256 << 20) + HEADER_SIZE + 256
"""Bytes of an entry as it is sent: what is larger is not taken, and not sent."""


class StorageFailed(Exception):
    """The storage cannot be asked: it is away, mute, or speaks another language."""

    def __init__(self, reason: str, *, timeout: bool = False) -> None:
        super().__init__(reason)
        self.timeout = timeout


class StorageRefused(StorageFailed):
    """The storage is there and will not do this (no permission, no room)."""


class Backend(Protocol):
    """Keys are the 32 bytes of a digest. Every method raises StorageFailed."""

    def get(self, key: bytes, say: Say) -> bytes | None:
        """The bytes stored under ``key``, or None."""

    def put(self, key: bytes, value: bytes, say: Say, *, overwrite: bool) -> bool:
        """Store ``value``; False if there was one already, which is kept unless ``overwrite``."""

    def remove(self, key: bytes, say: Say) -> bool:
        """Remove the entry; False if there was none."""

    def give_up(self) -> None:
        """End the requests of other threads that wait: there will be no answer."""

    def stop(self) -> bool:
        """End the program that was started for it; False if none runs."""

    def close(self) -> None:
        """Let go of connections; whoever asks next opens others."""


class Unusable:
    """A backend that cannot be used on this machine."""

    def __init__(self, reason: StorageFailed) -> None:
        self._reason = reason

    def get(self, key: bytes, say: Say) -> bytes | None:
        raise self._reason

    def put(self, key: bytes, value: bytes, say: Say, *, overwrite: bool) -> bool:
        raise self._reason

    def remove(self, key: bytes, say: Say) -> bool:
        raise self._reason

    def give_up(self) -> None:
        return

    def stop(self) -> bool:
        return False

    def close(self) -> None:
        return


def entry_path(key: bytes, layout: str) -> str:
    """Where an entry lies below its storage's directory or URL, in ccache's three layouts."""
    name = key.hex()
    match layout:
        case "flat":
            return name
        case "bazel":
            # A Bazel cache takes 64 hexadecimal digits.
            return f"ac/{(name + name)[:64]}"
        case _:
            return f"{name[:2]}/{name[2:]}"
