"""The page for people in a browser, beside a build: what it shows is what is so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pycc.remote.protocol import Request
from tests.daemon_kit import DISTCC, daemon, free_ports, wait_for
from tests.interop.gate_kit import JOBS, NAMES, Gate, distcc_environment, running

HOSTILE = "<img src=x onerror=document.title=1><b>&lt;\"'`.c"
SOURCES = (*NAMES[1:], HOSTILE)


class Page(HTMLParser):
    """The texts of elements that have an id, and the rows of tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}
        self.rows: dict[str, list[list[str]]] = {}
        self.tags: set[str] = set()
        self._open = self._table = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        name = dict(attrs).get("id") or ""
        if tag == "table":
            self._table = name
            self.rows[name] = []
        elif tag == "tr":
            self.rows[self._table].append([])
        elif tag in ("td", "th"):
            self.rows[self._table][-1].append("")
        self._open = "td" if tag in ("td", "th") else name
        if tag == "title":
            self._open = "title"
        self.texts.setdefault(self._open, "")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "td":
            self.rows[self._table][-1][-1] += data
        elif self._open:
            self.texts[self._open] += data


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("Debian's chromium is not installed")
    return found


def seen(chromium: str, profile: Path, url: str) -> Page:
    """What a browser has made of the page after some seconds of its clock."""
    done = subprocess.run(
        [
            *(chromium, "--headless", "--disable-gpu", "--virtual-time-budget=3000"),
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            *(f"--user-data-dir={profile}", "--dump-dom", url),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return Page(done.stdout)


def asked(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
        page: dict[str, Any] = json.load(answer)
    return page


def test_it_shows_what_is_so(chromium: str, tmp_path: Path, gate: Gate) -> None:
    port = free_ports()
    options = ("--jobs", "30", "--stats", "--stats-port", str(port + 1))
    url = f"http://127.0.0.1:{port + 1}/"
    with daemon("pyccd", *options, compiler=gate.compiler, at=str(port)) as server:
        env, project = distcc_environment(server), server.place / "project"
        command = [DISTCC, "gcc"]
        refused = server.ask(Request(1, (b"gcc", b"-fplugin=<i>x", b"-c", b"<u>.i"), b"int x;\n"))
        assert refused.status
        with running(project, command, env, gate, SOURCES):
            wait_for(lambda: asked(port + 1)["running"] == JOBS)
            page, now = seen(chromium, tmp_path, url), asked(port + 1)
            assert page.texts["running"] == str(JOBS) == str(now["running"])
            assert page.texts["turns"] == "30"
            assert page.texts["title"] == "pyccd"
            rows = page.rows["jobs"][1:]
            assert {row[1] for row in rows} == set(SOURCES)
            assert sorted(row[1] for row in rows) == sorted(j["source"] for j in now["jobs_now"])
            assert {(row[2], row[3]) for row in rows} == {("gcc", "127.0.0.1")}
            assert not page.tags & {"img", "i", "u", "b"}
            (reason,) = page.rows["refusals"][1:]
            assert reason[1] == "127.0.0.1"
            assert reason[2] == now["refusals"][0]["reason"]
            assert "-fplugin" in reason[2]
            assert page.texts["refused"] == "1"
            assert page.texts["served"] == page.texts["compiled"] == "0"
        with running(project, command, env, gate, SOURCES[:8]):
            pass  # served from the cache
        wait_for(lambda: asked(port + 1)["cache"]["hit"] == 8)
        page = seen(chromium, tmp_path, url)
        assert page.texts["running"] == "0"
        assert (page.texts["served"], page.texts["compiled"]) == ("8", str(JOBS))
        assert page.texts["share"] == "25 %"
        assert ["compile_ok", str(JOBS + 8)] in page.rows["ends"]
        assert page.rows["clients"][1][:3] == ["127.0.0.1", str(JOBS + 8), "1"]
        assert page.texts["cache-state"] == "used"


def test_one_who_may_not_ask_sees_nothing(chromium: str, tmp_path: Path) -> None:
    port = free_ports()
    options = ("--stats", "--stats-port", str(port + 1))
    with daemon("pyccd", *options, at=str(port), allow="127.0.0.2"):
        page = seen(chromium, tmp_path, f"http://127.0.0.1:{port + 1}/")
    assert "running" not in page.texts
