"""What is under way, by the keys under which it may be asked for.

Results that are still being stored although their callers have been answered.

A miss answers its launcher as soon as the outputs are read, and stores them afterwards. Whoever
asks in between would not find what was just compiled, so that a test, or a user, who compiles
twice and looks at the counters would see two misses. Therefore what is under way is known by the
keys under which it may be asked for, and whoever asks for one of these waits until it is stored.

Compiles that run now. Whoever needs the same result waits for it, but no longer than
FOLLOW_SECONDS: then he compiles by himself, because whoever compiles first may have been stopped,
or be slow, and nobody's Ctrl-Z may hold up another's build.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

PATIENCE_SECONDS = 2.0
"""Storing takes milliseconds; should it take longer than this, asking finds nothing."""


FOLLOW_SECONDS = 0.8
"""So long one compile waits for another that makes the same."""


class Unfinished:
    """Safe for several threads."""

    def __init__(self) -> None:
        self._under_way: dict[int, frozenset[bytes]] = {}
        self._numbers = 0
        self._changed = threading.Condition()

    def __contains__(self, key: bytes) -> bool:
        return bool(self._under_way) and bool(self._those(key))

    def _those(self, key: bytes | None) -> set[int]:
        """The numbers of what is under way under ``key``, or of everything."""
        under_way = self._under_way.copy()
        return {n for n, keys in under_way.items() if key is None or key in keys}

    @contextmanager
    def under_way(self, keys: Collection[bytes]) -> Iterator[None]:
        """While what can be asked for by ``keys`` is being made or stored."""
        with self._changed:
            self._numbers += 1
            number = self._numbers
            self._under_way[number] = frozenset(keys)
        try:
            yield
        finally:
            with self._changed:
                del self._under_way[number]
                self._changed.notify_all()

    def wait(self, key: bytes | None = None, seconds: float | None = None) -> bool:
        """Wait for what is under way now under ``key`` (None: for everything); False when it took
        longer than ``seconds``, or else PATIENCE_SECONDS."""
        deadline = time.monotonic() + (PATIENCE_SECONDS if seconds is None else seconds)
        with self._changed:
            awaited = self._those(key)
            while awaited & self._under_way.keys():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True
