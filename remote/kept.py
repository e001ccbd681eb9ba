"""Connections that wait for their next job, because to open one costs more than a small job.

A daemon that ssh starts has taken most of a second until it reads its first byte, and TLS with
certificates of both sides takes 5 ms of each. `pyccd` goes on reading when it has answered a client
of ours on such a connection, which so serves one job after the other (2 to 6 ms for a small one); a
stock distccd ends, which is seen when the connection is to be taken again.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Hashable

from .connection import Connection

IDLE_SECONDS = 60.0
"""Less than pyccd waits (`daemon.KEPT_SECONDS`)."""
MOST = 64


class Kept:
    """The connections, by where they lead; for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, list[tuple[float, Connection]]] = {}
        self._timer: threading.Timer | None = None
        self._closed = False

    def take(self, place: Hashable) -> Connection | None:
        """One that leads there and has not ended; the caller's from now on."""
        while True:
            with self._lock:
                waiting = self._waiting.get(place)
                if not waiting:
                    return None
                _, connection = waiting.pop()  # the one that was used last: others may grow old
            # Nobody speaks without being asked: what can be read is the end.
            poll = select.poll()
            poll.register(connection.fileno(), select.POLLIN)
            if not poll.poll(0):
                return connection
            connection.close()

    def put(self, place: Hashable, connection: Connection) -> None:
        """Have it wait for the next one."""
        with self._lock:
            count = sum(map(len, self._waiting.values()))
            keep = not self._closed and count < MOST
            if keep:
                at = (time.monotonic(), connection)
                self._waiting.setdefault(place, []).append(at)
                if self._timer is None:
                    self._watch()
        if not keep:
            connection.close()

    def _watch(self) -> None:
        self._timer = threading.Timer(IDLE_SECONDS / 4, self._look)
        self._timer.daemon = True
        self._timer.start()

    def _look(self) -> None:
        """Close those that nobody has wanted for long."""
        before = time.monotonic() - IDLE_SECONDS
        with self._lock:
            old = [c for waiting in self._waiting.values() for at, c in waiting if at < before]
            for place, waiting in list(self._waiting.items()):
                left = [(at, connection) for at, connection in waiting if at >= before]
                if left:
                    self._waiting[place] = left
                else:
                    del self._waiting[place]
            self._timer = None
            if self._waiting:
                self._watch()
        for connection in old:
            connection.close()

    def close(self) -> None:
        """Close all, and whatever is put here later."""
        with self._lock:
            self._closed = True
            timer, self._timer = self._timer, None
            waiting, self._waiting = self._waiting, {}
        if timer is not None:
            timer.cancel()
        for connections in waiting.values():
            for _, connection in connections:
                connection.close()
