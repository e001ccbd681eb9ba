"""The statistics page for people, what the JSON behind it says, and Prometheus's text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import ip_network

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pycc.remote.exact_wire import ASK, EXACT
from pycc.remote.job import subject
from pycc.remote.metrics import CLIENTS, MOST_SHOWN, REFUSALS, SHOWN_LIMIT, Machine, Metrics
from pycc.remote.metrics import json_page as json_text
from pycc.remote.metrics import prometheus_page as prometheus_text
from pycc.remote.protocol import COMPILE, FETCH, OURS_LZO, OURS_PLAIN
from pycc.remote.stats_page import PAGE, POLICY
from pycc.remote.stats_server import StatsServer, read_request
from tests.test_metrics import Clock, get

BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def page_of(metrics: Metrics) -> dict[str, object]:
    found: dict[str, object] = json.loads(json_text(metrics.snapshot(), Machine()))
    return found


# ---- what the page may do ------------------------------------------------------------------


def test_the_policy_lets_only_its_own_script_and_style_in() -> None:
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", PAGE, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in POLICY.split("; ")
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY


def test_nothing_is_loaded_from_elsewhere() -> None:
    assert "//" not in PAGE.replace("// ", "")
    assert re.findall(r"\b(?:src|href|action)=\"([^\"]*)", PAGE) == ["data:,"]
    assert re.findall(r"fetch\(([^,]*),", PAGE) == ['"json"']


@pytest.mark.parametrize(
    "word", "innerHTML outerHTML insertAdjacent document.write eval( Function( setAttr".split()
)
def test_nothing_makes_markup_of_texts(word: str) -> None:
    assert word not in PAGE


def test_no_style_or_script_is_an_attribute() -> None:
    assert re.findall(r"<[a-z]+[^>]*\s(on\w+|style)=", PAGE) == []


def test_it_is_made_for_phones_and_for_the_dark() -> None:
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in PAGE
    assert "prefers-color-scheme: dark" in PAGE


# ---- who gets it ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "read"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n", (b"/", b"text/html")),
        (b"GET /x?text/html HTTP/1.1\r\nACCEPT : */*\r\n\r\n", (b"/x", b"*/*")),
        (b"GET / HTTP/1.1\nX: Accept: text/html\n\n", (b"/", b"")),
        (b"GET", (b"", b"")),
        (b"", (b"", b"")),
    ],
)
def test_a_request_is_read(request_: bytes, read: tuple[bytes, bytes]) -> None:
    assert read_request(request_) == read


@pytest.fixture
def port() -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = StatsServer(listener, Metrics(4), (ip_network("127.0.0.1"),), "/tmp")
    server.start()
    yield listener.getsockname()[1]
    server.close()


@pytest.mark.parametrize(
    ("path", "accept", "begins"),
    [
        (b"/", BROWSER, b"<!DOCTYPE html>"),
        (b"/html", b"*/*", b"<!DOCTYPE html>"),
        (b"/", b"*/*", b"argv /distccd"),
        (b"/distccd", BROWSER, b"argv /distccd"),
        (b"/json", BROWSER, b"{"),
        (b"/metrics", BROWSER, b"# HELP"),
    ],
)
def test_browsers_get_it_and_scripts_what_they_got(
    port: int, path: bytes, accept: bytes, begins: bytes
) -> None:
    request = b"GET %s HTTP/1.1\r\nHost: x\r\nAccept: %s\r\n\r\n" % (path, accept)
    header, body = get(port, request)
    assert body.startswith(begins)
    if begins.startswith(b"<"):
        assert f"Content-Security-Policy: {POLICY}".encode() in header
    if not begins.startswith(b"argv"):
        assert b"X-Content-Type-Options: nosniff" in header
        assert f"Content-Length: {len(body)}".encode() in header


# ---- what the JSON says --------------------------------------------------------------------


def test_running_jobs_by_client() -> None:
    clock = Clock()
    metrics = Metrics(4, clock)
    first = metrics.began("10.0.0.1", lambda: ("gcc", "a.c"))
    clock.now += 2
    metrics.began("10.0.0.2", lambda: ("g++", "x" * 999))
    found = page_of(metrics)
    assert found["jobs_now"] == [
        {"client": "10.0.0.1", "compiler": "gcc", "source": "a.c", "seconds": 2.0},
        {"client": "10.0.0.2", "compiler": "g++", "source": "x" * SHOWN_LIMIT, "seconds": 0.0},
    ]
    metrics.ended(first)
    found = page_of(metrics)
    assert (found["running"], len(metrics.snapshot().jobs_now)) == (1, 1)
    for _ in range(2 * MOST_SHOWN):
        metrics.began()
    assert len(metrics.snapshot().jobs_now) == MOST_SHOWN
    assert metrics.snapshot().running == 1 + 2 * MOST_SHOWN


def test_refusals_with_their_reasons() -> None:
    clock = Clock()
    metrics = Metrics(4, clock)
    metrics.job("REJ_BAD_REQ", source="a.c", cache="off", client="10.0.0.1", said="no " * 999)
    clock.now += 3
    metrics.job("REJ_OVERLOAD", cache="", client="10.0.0.2")
    metrics.accepted(allowed=False, client="10.0.0.3")
    found = page_of(metrics)["refusals"]
    assert found == [
        {
            "client": "10.0.0.3",
            "source": "",
            "reason": "denied by the access list",
            "seconds_ago": 0.0,
        },
        {"client": "10.0.0.2", "source": "", "reason": "no room", "seconds_ago": 0.0},
        {
            "client": "10.0.0.1",
            "source": "a.c",
            "reason": ("no " * 999)[:SHOWN_LIMIT],
            "seconds_ago": 3.0,
        },
    ]
    for _ in range(2 * REFUSALS):
        metrics.accepted(allowed=False, client="10.0.0.4")
    assert len(metrics.snapshot().refusals) == REFUSALS


def test_clients_who_were_heard_of_last() -> None:
    clock = Clock()
    metrics = Metrics(4, clock)
    for client in ("a", "b", "a"):
        metrics.job("COMPILE_OK", cache="hit", client=client)
        clock.now += 1
    metrics.job("REJ_BAD_REQ", cache="off", client="b")
    assert page_of(metrics)["clients"] == [
        {"address": "b", "jobs": 1, "refused": 1, "seconds_ago": 0.0},
        {"address": "a", "jobs": 2, "refused": 0, "seconds_ago": 1.0},
    ]
    for number in range(2 * CLIENTS):
        metrics.job("COMPILE_OK", cache="hit", client=str(number))
    clients = metrics.snapshot().clients
    assert [one.address for one in clients] == [str(n) for n in range(2 * CLIENTS)][
        : -CLIENTS - 1 : -1
    ]


# ---- what a request is about ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "argv", "told"),
    [
        (1, (b"gcc", b"-O2", b"-c", b"a.c", b"-o", b"a.o"), ("gcc", "a.c")),
        (3, (b"g++", b"-c", b"dir/a.cc"), ("g++", "dir/a.cc")),
        (OURS_PLAIN, (COMPILE, b"00ff", b"gcc", b"-c", b"a.i"), ("gcc", "a.i")),
        (OURS_LZO, (FETCH, b"00ff", b"11", b"gcc", b"-c", b"a.i"), ("gcc", "a.i")),
        (OURS_PLAIN, (EXACT, b"00ff", b"/usr/bin/gcc", b"-c", b"a.c"), ("/usr/bin/gcc", "a.c")),
        (OURS_PLAIN, (ASK, b"00ff", b"gcc", b"-c", b"a.c"), ("gcc", "a.c")),
        (OURS_PLAIN, (COMPILE,), ("", "")),
        (1, (), ("", "")),
        (1, (b"",), ("", "")),
        (1, (b"gcc", b"-o"), ("gcc", "")),
        (1, (b"\x1b[2J", b"-c", b"\xff\n.c"), ("\\x1b[2J", "\\\\xff\\n.c")),
    ],
)
def test_what_a_request_is_about(
    version: int, argv: tuple[bytes, ...], told: tuple[str, str]
) -> None:
    assert subject(version, argv) == told


# ---- Prometheus ----------------------------------------------------------------------------


def some_metrics() -> Metrics:
    metrics = Metrics(4, cache="used")
    metrics.began()
    metrics.accepted(allowed=True)
    metrics.job("COMPILE_OK", source='a"\n\\.c', cache="hit", client='"\n')
    metrics.cache_faults({"full": 1})
    return metrics


def test_its_own_parser_reads_the_text() -> None:
    text = prometheus_text(some_metrics().snapshot(), Machine())
    families = {family.name: family for family in text_string_to_metric_families(text)}
    jobs = {sample.labels["code"]: sample.value for sample in families["pyccd_jobs"].samples}
    assert jobs["compile_ok"] == 1
    assert families["pyccd_running"].samples[0].value == 1
    assert families["pyccd_turns"].type == "gauge"
    assert all(family.documentation for family in families.values())


def test_its_own_checker_finds_nothing() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("Debian's prometheus is not installed")
    text = prometheus_text(some_metrics().snapshot(), Machine())
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
