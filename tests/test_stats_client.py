"""What is asked of daemons that serve statistics, and what of the answers is believed."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress

import pytest

from pycc.remote.metrics import Machine, Metrics, json_page
from pycc.remote.stats_client import LIMIT, ServerCounts, StatsClient, ask, parse_page
from tests.daemon_kit import free_port, wait_for

HEADER = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"
NOTHING = ServerCounts(0, 0, 0, 0, 0, -1.0)


def test_a_page_of_our_daemons() -> None:
    metrics = Metrics(8)
    metrics.began()
    for code, cache in (("COMPILE_OK", "miss"), ("COMPILE_OK", "hit"), ("COMPILE_ERROR", "miss")):
        metrics.job(code, cache=cache)
    metrics.job("REJ_BAD_REQ", cache="off")
    page = json_page(metrics.snapshot(), Machine(load=(1.5, 0.0, 0.0)))
    assert parse_page(HEADER + page.encode()) == ServerCounts(1, 8, 2, 1, 1, 1.5)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.0 200 OK\nContent-Type: text/plain\nConnection: close\n\nargv /distccd\n",
        b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n{}",
        HEADER,
        HEADER + b"[1]",
        HEADER + b"\xff{}",
        HEADER + b"[" * 100_000,
    ],
)
def test_no_page_of_ours(answer: bytes) -> None:
    assert parse_page(answer) is None


@pytest.mark.parametrize(
    "page",
    [
        {},
        {"running": "many", "turns": -1, "jobs": [1], "cache": None, "load": ["x"]},
        {"running": True, "turns": 1 << 70, "jobs": {"compile_ok": 0.5}, "load": [float("nan")]},
    ],
)
def test_what_is_no_number_counts_nothing(page: object) -> None:
    assert parse_page(HEADER + json.dumps(page).encode()) == NOTHING


def test_an_endless_answer_is_not_kept() -> None:
    sent: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                while len(sent) < 100:
                    connection.sendall(b"x" * (1 << 20))
                    sent.append(1)

        thread = threading.Thread(target=serve)
        thread.start()
        assert ask("127.0.0.1", listener.getsockname()[1]) is None
        thread.join()
    assert LIMIT < 100 << 20
    assert len(sent) < 100


def test_nobody_there() -> None:
    assert ask("127.0.0.1", free_port()) is None
    assert ask("x" * 70 + ".invalid", 1) is None


def test_hosts_are_asked_again_and_those_that_are_not_wanted_no_more() -> None:
    asked: dict[str, int] = {}

    def question(host: str, port: int) -> ServerCounts | None:
        asked[host] = asked.get(host, 0) + 1
        return None if host == "mute" else ServerCounts(asked[host], port, 0, 0, 0, 0.0)

    client = StatsClient(0.01, question)
    places = [("a", 1), ("mute", 2), ("b", 3)]
    wait_for(lambda: client.of(places).keys() == {("a", 1), ("b", 3)})
    wait_for(lambda: client.of(places)["a", 1].running > 2)
    wait_for(lambda: client.of(places[:1]).keys() == {("a", 1)} and ("b", 3) not in client._answers)
    client.close()
    assert asked["mute"] == 1
