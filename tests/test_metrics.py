"""The daemon's counters, and the pages that show them."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_network

import pytest

from pycc.remote import stats_server
from pycc.remote.metrics import (
    MINUTES,
    Machine,
    Metrics,
    distccd_page,
    json_page,
    prometheus_page,
)
from pycc.remote.stats_server import StatsServer

MACHINE = Machine(3, (0.5, 1.25, 2.0), 1, 4096, "(cc1plus)", 17, 1234, 567)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def counted() -> tuple[Metrics, Clock]:
    clock = Clock()
    metrics = Metrics(4, clock)
    metrics.accepted(allowed=True)
    metrics.accepted(allowed=False)
    turn = metrics.began()
    clock.now += 30
    metrics.ended(turn)
    metrics.job("COMPILE_OK", source="a.c", compiler="gcc", milliseconds=30_000, cache="miss")
    metrics.job("COMPILE_OK", source="b.c", compiler="gcc", milliseconds=5, cache="hit")
    metrics.job("COMPILE_ERROR", source="c.c", compiler="gcc", milliseconds=99_000, cache="miss")
    metrics.job("REJ_BAD_REQ", cache="off")
    metrics.cache_faults({"full": 2})
    metrics.cache_faults({"full": 1, "corrupt": 1})
    return metrics, clock


def test_the_page_of_distccd_line_by_line() -> None:
    metrics, _ = counted()
    assert distccd_page(metrics.snapshot(), MACHINE) == (
        "argv /distccd\n"
        "<distccstats>\n"
        "dcc_tcp_accept 2\n"
        "dcc_rej_bad_req 1\n"
        "dcc_rej_overload 0\n"
        "dcc_compile_ok 2\n"
        "dcc_compile_error 1\n"
        "dcc_compile_timeout 0\n"
        "dcc_cli_disconnect 0\n"
        "dcc_other 0\n"
        "dcc_longest_job a.c\n"
        "dcc_longest_job_compiler gcc\n"
        "dcc_longest_job_time_msecs 30000\n"
        "dcc_max_kids 4\n"
        "dcc_avg_kids1 0\n"
        "dcc_avg_kids2 0\n"
        "dcc_avg_kids3 0\n"
        "dcc_current_load 3\n"
        "dcc_load1 0.50\n"
        "dcc_load2 1.25\n"
        "dcc_load3 2.00\n"
        "dcc_num_compiles1 3\n"
        "dcc_num_compiles2 3\n"
        "dcc_num_compiles3 3\n"
        "dcc_num_procstate_D 1\n"
        "dcc_max_RSS 4096\n"
        "dcc_max_RSS_name (cc1plus)\n"
        "dcc_io_rate 17\n"
        "dcc_free_space 1234 MB\n"
        "dcc_free_mem 567 MB\n"
        "</distccstats>\n"
    )


def test_what_ran_is_averaged_and_forgotten() -> None:
    metrics, clock = counted()
    one, five, fifteen = metrics.snapshot().average_running
    assert (one, five, fifteen) == pytest.approx((30 / 60, 30 / 300, 30 / 900))
    clock.now += 120
    assert metrics.snapshot().compiles == (0, 3, 3)
    assert metrics.snapshot().average_running[0] == 0
    clock.now += 86_400
    now = metrics.snapshot()
    assert (now.compiles, now.average_running) == ((0, 0, 0), (0, 0, 0))
    assert now.jobs["COMPILE_OK"] == 2


def test_what_runs_all_the_time_fills_its_averages() -> None:
    clock = Clock()
    metrics = Metrics(4, clock)
    metrics.began()
    metrics.began()
    clock.now += MINUTES[-1] * 60 + 3
    assert metrics.snapshot().average_running == pytest.approx((2, 2, 2), rel=0.06)


def test_a_name_makes_no_line_of_its_own() -> None:
    metrics = Metrics(1)
    metrics.job("COMPILE_OK", source="a\nb 7\x1b.c", compiler="gcc", milliseconds=1, cache="off")
    page = distccd_page(metrics.snapshot(), MACHINE)
    assert "dcc_longest_job a?b 7?.c\n" in page


def test_json_has_the_same_and_the_cache() -> None:
    metrics, _ = counted()
    page = json.loads(json_page(metrics.snapshot(), MACHINE))
    assert page["jobs"]["compile_ok"] == 2
    assert page["cache"] == {"hit": 1, "miss": 2, "off": 1}
    assert page["cache_faults"] == {"full": 3, "corrupt": 1}
    assert page["longest_job"] == {"source": "a.c", "compiler": "gcc", "milliseconds": 30_000}
    assert (page["accepted"], page["denied"], page["cache_state"]) == (2, 1, "none")


def test_every_line_for_prometheus_is_of_its_grammar() -> None:
    metrics, _ = counted()
    lines = prometheus_page(metrics.snapshot(), MACHINE).splitlines()
    sample = re.compile(r'[a-z_][a-z0-9_]*(\{[a-z]+="[a-z_]+"\})? -?[0-9.]+')
    comment = re.compile(r"# (HELP pyccd_\w+ .+\.|TYPE pyccd_\w+ (counter|gauge))")
    assert all((comment if line.startswith("#") else sample).fullmatch(line) for line in lines)
    assert 'pyccd_cache_total{result="hit"} 1' in lines
    assert 'pyccd_cache_state{state="none"} 1' in lines
    assert 'pyccd_cache_state{state="unusable"} 0' in lines
    assert 'pyccd_cache_faults_total{fault="full"} 3' in lines
    assert 'pyccd_jobs_total{code="compile_error"} 1' in lines


# Over HTTP.


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(stats_server, "REQUEST_SECONDS", 1.0)
    listener = socket.create_server(("127.0.0.1", 0))
    number: int = listener.getsockname()[1]
    server = StatsServer(listener, counted()[0], (ip_network("127.0.0.1"),), "/tmp")
    server.start()
    yield number
    server.close()


def get(port: int, request: bytes, source: str = "127.0.0.1") -> tuple[bytes, bytes]:
    """(header, body) of what ``request`` is answered with."""
    with socket.create_connection(("127.0.0.1", port), 10, (source, 0)) as connection:
        connection.sendall(request)
        answer = b""
        while data := connection.recv(1 << 16):
            answer += data
    if b"\r\n\r\n" in answer:
        header, _, body = answer.partition(b"\r\n\r\n")
    else:
        header, _, body = answer.partition(b"\n\n")
    return header, body


@pytest.mark.parametrize(
    "request_", [b"GET / HTTP/1.0\r\n\r\n", b"GET /stats?x HTTP/1.1\r\n\r\n", b"anything\n\n", b""]
)
def test_any_request_gets_the_page_of_distccd(port: int, request_: bytes) -> None:
    header, body = get(port, request_)
    assert header == b"HTTP/1.0 200 OK\nContent-Type: text/plain\nConnection: close"
    assert body.startswith(b"argv /distccd\n<distccstats>\ndcc_tcp_accept 2\n")
    assert body.endswith(b" MB\n</distccstats>\n")


def test_two_paths_have_pages_of_their_own(port: int) -> None:
    header, body = get(port, b"GET /json HTTP/1.0\r\n\r\n")
    assert b"Content-Type: application/json\r\n" in header
    assert json.loads(body)["turns"] == 4
    header, body = get(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"text/plain; version=0.0.4" in header
    assert f"Content-Length: {len(body)}".encode() in header
    assert b"pyccd_turns 4\n" in body


@pytest.mark.parametrize("path", [b"/", b"/html", b"/json", b"/metrics"])
def test_the_access_list_holds(port: int, path: bytes) -> None:
    request = b"GET " + path + b" HTTP/1.0\r\nAccept: text/html\r\n\r\n"
    with suppress(ConnectionResetError):  # what was not even read is not waited for
        assert get(port, request, source="127.0.0.2") == (b"", b"")
    assert get(port, request)[1]


def test_an_endless_request_is_cut_off(port: int) -> None:
    began = time.monotonic()
    _, body = get(port, b"GET /json HTTP/1.0\r\n" + b"X: y\r\n" * 3000)
    assert b'"turns": 4' in body
    assert time.monotonic() - began < 3


def test_a_slow_client_costs_the_next_one_a_bounded_wait(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as slow:
        slow.sendall(b"GET /json")
        began = time.monotonic()
        assert get(port, b"GET / HTTP/1.0\r\n\r\n")[1]
        assert time.monotonic() - began < 5
