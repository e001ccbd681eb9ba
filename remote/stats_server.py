"""Serves the daemon's counters over HTTP, on a thread of its own that no job ever waits for.

As with distccd any request is answered with its page, even none at all, and the access list holds;
the paths /json and /metrics have the other texts. Who says that he takes text/html, as browsers do
and curl and distccd's scripts do not, gets the page for people instead; it is also at /html, and
distccd's at /distccd whoever asks. One client is served at a time. It may take two seconds and send
eight kilobytes, so that a slow one costs the next one a wait, and memory nothing.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from .access import Mask, allows
from .metrics import Machine, Metrics, distccd_page, json_page, prometheus_page
from .stats_page import PAGE, POLICY

REQUEST_LIMIT = 8192
"""Browsers send one or two kilobytes."""
REQUEST_SECONDS = 2.0
SILENCE_SECONDS = 0.5
"""After which somebody who connected and said nothing gets distccd's page, as from distccd."""
_CONNECTION_POLL = 1.0
FRESH_SECONDS = 1.0
"""So long one look at the machine, which reads all of /proc, serves everybody who asks."""

# distccd ends its header's lines so, and that page is kept to the byte.
_DISTCCD_HEADER = b"HTTP/1.0 200 OK\nContent-Type: text/plain\nConnection: close\n\n"
_HEADER = (
    "HTTP/1.0 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n"
    "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n%s\r\n"
)
_PAGES: Mapping[bytes, tuple[str, Callable[..., str]]] = {
    b"/json": ("application/json", json_page),
    b"/metrics": ("text/plain; version=0.0.4; charset=utf-8", prometheus_page),
}


class StatsServer:
    """Serves until `close`. ``temporary`` is the directory whose free space is shown."""

    def __init__(
        self, listener: socket.socket, metrics: Metrics, masks: Sequence[Mask], temporary: str
    ) -> None:
        self._listener = listener
        self._metrics = metrics
        self._masks = masks
        self._watch = _MachineWatch(temporary)
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> None:
        """Begin; the counters may change meanwhile."""
        self._listener.setblocking(False)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._leaving.set()
        self._thread.join(REQUEST_SECONDS + _CONNECTION_POLL)
        self._listener.close()

    def _serve(self) -> None:
        while not self._leaving.is_set():
            ready, _, _ = select.select([self._listener], [], [], _CONNECTION_POLL)
            if not ready:
                continue
            try:
                connection, address = self._listener.accept()
            except OSError:
                self._leaving.wait(0.01)
                continue
            with connection, suppress(OSError):
                if allows(self._masks, address[0].partition("%")[0]):
                    self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        content = self._page(*_requested(connection))
        connection.settimeout(REQUEST_SECONDS)
        connection.sendall(content)
        # What was not read makes the kernel reset the connection, and the peer lose the page.
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(SILENCE_SECONDS)
        connection.recv(REQUEST_LIMIT)

    def _page(self, path: bytes, accepted: bytes) -> bytes:
        if path == b"/html" or (path in (b"/", b"/index.html") and b"text/html" in accepted):
            return _page_for_people()
        now, machine = self._metrics.snapshot(), self._watch.look()
        if path not in _PAGES:
            return _DISTCCD_HEADER + distccd_page(now, machine).encode(errors="replace")
        kind, write = _PAGES[path]
        body = write(now, machine).encode(errors="replace")
        return (_HEADER % (kind, len(body), "")).encode() + body


def _page_for_people() -> bytes:
    more = f"Content-Security-Policy: {POLICY}\r\nReferrer-Policy: no-referrer\r\n"
    body = PAGE.encode()
    return (_HEADER % ("text/html; charset=utf-8", len(body), more)).encode() + body


def _requested(connection: socket.socket) -> tuple[bytes, bytes]:
    """(path, what Accept says) of the request, as far as one came in time."""
    deadline = time.monotonic() + REQUEST_SECONDS
    request = b""
    while b"\r\n\r\n" not in request and b"\n\n" not in request and len(request) < REQUEST_LIMIT:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        connection.settimeout(left if request else min(left, SILENCE_SECONDS))
        try:
            data = connection.recv(REQUEST_LIMIT)
        except TimeoutError:
            break
        if not data:
            break
        request += data
    return read_request(request)


def read_request(request: bytes) -> tuple[bytes, bytes]:
    """(path, what Accept says), each empty where nothing says it."""
    first, _, rest = request.partition(b"\n")
    words = first.split()
    path = words[1].partition(b"?")[0] if len(words) > 1 else b""
    for line in rest.splitlines():
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"accept":
            return path, value.strip().lower()
    return path, b""


class _MachineWatch:
    """Asks the system; one thread's."""

    def __init__(self, temporary: str) -> None:
        self._temporary = temporary
        self._sectors: tuple[float, int] | None = None
        self._rate = -1
        self._seen: tuple[float, Machine] | None = None

    def look(self) -> Machine:
        now = time.monotonic()
        if self._seen is None or now - self._seen[0] >= FRESH_SECONDS:
            self._seen = (now, self._ask())
        return self._seen[1]

    def _ask(self) -> Machine:
        waiting, largest, name = _processes()
        load = (-1.0, -1.0, -1.0)
        with suppress(OSError):
            load = os.getloadavg()
        space = -1
        with suppress(OSError):
            found = os.statvfs(self._temporary)
            space = found.f_bavail * found.f_frsize >> 20
        running = -1
        with suppress(ValueError, IndexError):
            running = int(_text("/proc/loadavg").split()[3].partition("/")[0])
        return Machine(
            running, load, waiting, largest, name, self._io_rate(), space, _memory_available()
        )

    def _io_rate(self) -> int:
        """Sectors a second since it was last asked, at least some seconds ago; -1 at first."""
        now = time.monotonic()
        if self._sectors is not None and now - self._sectors[0] < 10:
            return self._rate
        total = 0
        for line in _text("/proc/diskstats").splitlines():
            words = line.split()
            # A partition's sectors are its disk's, too.
            if len(words) > 9 and os.path.exists(f"/sys/block/{words[2]}"):
                total += int(words[5]) + int(words[9])
        if self._sectors is not None:
            before, sectors = self._sectors
            self._rate = int((total - sectors) / (now - before))
        self._sectors = (now, total)
        return self._rate


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _memory_available() -> int:
    for line in _text("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) >> 10
    return -1


def _processes() -> tuple[int, int, str]:
    """(processes that wait for a disk, kB of the largest, its name in parentheses)."""
    waiting, largest, name = 0, 0, ""
    page = os.sysconf("SC_PAGE_SIZE")
    for number in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if not number.isdigit():
            continue
        head, _, rest = _text(f"/proc/{number}/stat").rpartition(")")
        words = rest.split()
        if len(words) < 22:
            continue
        waiting += words[0] == "D"
        size = int(words[21]) * page >> 10
        if size > largest:
            largest, name = size, head.partition(" ")[2] + ")"
    return waiting, largest, name
