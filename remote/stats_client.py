"""What daemons say of themselves: their --stats page for programs, asked on threads of its own.

    GET /json HTTP/1.0      to the port after the one that serves jobs, as 3633 follows 3632

A host that does not answer, or answers with something else, is asked again after a while: most
daemons serve no statistics. What comes is believed to be no more than numbers and short texts.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from pycc.record import record

LIMIT = 1 << 20
SECONDS = 2.0
"""For one question."""
AGAIN = 30.0
"""Seconds until a host that did not answer is asked once more."""
MOST_HOSTS = 64
_REQUEST = b"GET /json HTTP/1.0\r\n\r\n"


@record
class ServerCounts:
    """What one daemon counted since it began. ``load`` is -1 where it is not known."""

    running: int
    turns: int
    compiled: int
    """With or without success."""
    served: int
    """From its cache."""
    refused: int
    load: float


def parse_page(data: bytes) -> ServerCounts | None:
    """Read an answer with its header; None for what is no pyccd's."""
    header, blank, body = data.partition(b"\r\n\r\n")
    if not blank or b"application/json" not in header:
        return None
    try:
        page = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(page, dict):
        return None
    jobs, cache = _table(page, "jobs"), _table(page, "cache")
    load = page.get("load")
    first = load[0] if isinstance(load, list) and load else -1.0
    ended = _number(jobs, "compile_ok") + _number(jobs, "compile_error")
    served = _number(cache, "hit")
    return ServerCounts(
        running=_number(page, "running"),
        turns=_number(page, "turns"),
        compiled=max(ended - served, 0),
        served=served,
        refused=_number(jobs, "rej_bad_req") + _number(jobs, "rej_overload"),
        load=float(first) if type(first) in (int, float) and -1 <= first < 1e6 else -1.0,
    )


def _table(page: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = page.get(name)
    return found if isinstance(found, dict) else {}


def _number(table: Mapping[str, Any], name: str) -> int:
    found = table.get(name)
    return found if type(found) is int and 0 <= found < 1 << 53 else 0


def ask(host: str, port: int) -> ServerCounts | None:
    """Ask one daemon; None if there is no answer within SECONDS."""
    deadline = time.monotonic() + SECONDS
    data = b""
    try:
        with socket.create_connection((host, port), SECONDS) as connection:
            connection.sendall(_REQUEST)
            while len(data) < LIMIT and (left := deadline - time.monotonic()) > 0:
                connection.settimeout(left)
                more = connection.recv(1 << 16)
                if not more:
                    break
                data += more
    except (OSError, UnicodeError):
        return None
    return parse_page(data)


class StatsClient:
    """The newest answers of all hosts that were asked for; a thread for each."""

    def __init__(
        self,
        interval: float,
        question: Callable[[str, int], ServerCounts | None] = ask,
        again: float = AGAIN,
    ) -> None:
        self._interval = interval
        self._again = again
        self._question = question
        self._answers: dict[tuple[str, int], ServerCounts | None] = {}
        self._wanted: frozenset[tuple[str, int]] = frozenset()
        self._leaving = threading.Event()

    def of(self, hosts: Iterable[tuple[str, int]]) -> dict[tuple[str, int], ServerCounts]:
        """What is known of these hosts, (name, port of --stats); they are asked from now on."""
        self._wanted = frozenset(list(dict.fromkeys(hosts))[:MOST_HOSTS])
        for place in self._wanted - self._answers.keys():
            self._answers[place] = None
            with suppress(RuntimeError):  # no thread is to be had
                threading.Thread(target=self._follow, args=(place,), daemon=True).start()
        found = {place: self._answers.get(place) for place in self._wanted}
        return {place: answer for place, answer in found.items() if answer is not None}

    def _follow(self, place: tuple[str, int]) -> None:
        while place in self._wanted and not self._leaving.is_set():
            answer = self._question(*place)
            self._answers[place] = answer
            self._leaving.wait(self._again if answer is None else self._interval)
        self._answers.pop(place, None)

    def close(self) -> None:
        """Ask no more."""
        self._leaving.set()
