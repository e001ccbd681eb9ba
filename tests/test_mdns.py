"""Multicast DNS: what is kept open, when it is opened anew, and what becomes of failures."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from pycc.remote import mdns
from pycc.remote.mdns import FAILED, MISSING, Announcement, Announcer, Browser, _Kept
from tests.daemon_kit import wait_for


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mdns, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(mdns, "PAUSE_SECONDS", 0.01)


class Opened:
    """Counts what was opened and closed."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.events: list[str] = []
        self.problems: list[str] = []
        self.wanted = True
        self.problem = problem

    def open(self, opened: ExitStack) -> None:
        self.events.append("open")
        opened.callback(self.events.append, "close")
        if self.problem is not None:
            raise self.problem

    def keep(self) -> _Kept:
        kept = _Kept(self.open, lambda: self.wanted, self.problems.append)
        kept.start()
        return kept


def test_it_stays_open_until_nobody_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mdns, "addresses_here", lambda: ("10.0.0.1",))
    opened = Opened()
    kept = opened.keep()
    wait_for(lambda: opened.problems)
    assert opened.events == ["open"]
    opened.wanted = False
    kept.join(10)
    assert opened.events == ["open", "close"]
    assert opened.problems == ["", ""]


def test_it_is_opened_anew_when_addresses_change(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = ["10.0.0.1"]
    monkeypatch.setattr(mdns, "addresses_here", lambda: tuple(addresses))
    opened = Opened()
    kept = opened.keep()
    wait_for(lambda: opened.problems)
    addresses.append("10.0.0.2")
    wait_for(lambda: opened.events == ["open", "close", "open"])
    kept.close()
    kept.join(10)
    assert opened.events == ["open", "close", "open", "close"]


@pytest.mark.parametrize("problem", [OSError(19, "No such device"), RuntimeError("No adapters")])
def test_a_failure_is_noted_and_what_was_opened_is_closed(
    monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    monkeypatch.setattr(mdns, "addresses_here", tuple)
    opened = Opened(problem)
    kept = opened.keep()
    wait_for(lambda: opened.problems)
    assert opened.problems[0] == str(problem)
    wait_for(lambda: opened.events[:3] == ["open", "close", "open"])
    opened.wanted = False
    kept.join(10)
    assert opened.problems[-1] == ""


def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)


def test_without_the_package_a_browser_says_so_and_is_not_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing(monkeypatch)
    browser = Browser("_x--1")
    wait_for(lambda: browser.problem == MISSING)
    assert browser.alive
    assert browser.hosts() == ()
    browser.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_browser_that_breaks_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks() -> None:
        raise AttributeError("half an upgrade")

    monkeypatch.setattr(mdns, "load", breaks)
    browser = Browser("_x--1")
    browser._kept.join(10)
    assert browser.problem == FAILED
    assert browser.alive


def open_nothing(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr(mdns, "addresses_here", lambda: ("10.0.0.1",))
    target = Browser if method == "_browse" else Announcer
    monkeypatch.setattr(target, method, lambda self, opened: None)


def test_a_browser_that_nobody_asks_ends_and_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    open_nothing(monkeypatch, "_browse")
    now = [0.0]
    browser = Browser("_x--1", clock=lambda: now[0])
    browser.hosts()
    assert browser.alive
    now[0] += mdns.IDLE_SECONDS - 1
    browser.hosts()
    now[0] += mdns.IDLE_SECONDS - 1
    assert browser.alive
    now[0] += 2
    wait_for(lambda: not browser.alive)


class Info:
    """An instance that answers the last of so many questions."""

    port = 3632
    properties: ClassVar[dict[bytes, bytes]] = {b"jobs": b"7"}

    def __init__(self, questions: int) -> None:
        self.left = questions

    def request(self, zeroconf: object, milliseconds: int) -> bool:
        self.left -= 1
        return self.left == 0

    def parsed_addresses(self, version: object) -> list[str]:
        return ["10.0.0.9"]


@pytest.mark.parametrize(("questions", "left", "found"), [(1, 0, 1), (3, 0, 1), (4, 1, 0)])
def test_who_does_not_say_everything_at_once_is_asked_a_few_times(
    monkeypatch: pytest.MonkeyPatch, questions: int, left: int, found: int
) -> None:
    open_nothing(monkeypatch, "_browse")
    browser = Browser("_x--1")
    info: Any = Info(questions)
    zeroconf: Any = SimpleNamespace(done=False)
    browser._names.add("a")
    browser._asking.acquire()
    browser._ask(zeroconf, "a", info)
    assert [host.slots for host in browser.hosts()] == [7] * found
    assert info.left == left
    browser._asking.acquire()
    browser._ask(zeroconf, "who has gone", info)
    assert info.left == left
    browser.close()


ANNOUNCEMENT = Announcement("_x--1", 3632, {})


def said_by(announcement: Announcement, until: Callable[[list[str]], object]) -> list[str]:
    said: list[str] = []
    announcer = Announcer(announcement, said.append)
    wait_for(lambda: until(said))
    announcer.close(10)
    return said


def test_an_announcer_says_once_why_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Semaphore(0)

    def nowhere() -> tuple[str, ...]:
        looked.release()
        return ()

    monkeypatch.setattr(mdns, "addresses_here", nowhere)
    said = said_by(ANNOUNCEMENT, lambda said: looked.acquire(timeout=20) and said)
    assert said == [
        "--zeroconf: not announced: this machine has no address by which others can reach it, yet"
    ]


def test_an_announcer_without_the_package_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    missing(monkeypatch)
    assert said_by(ANNOUNCEMENT, bool) == [f"--zeroconf: not announced: {MISSING}"]


def test_what_only_this_machine_can_reach_is_not_announced() -> None:
    announcement = Announcement("_x--1", 3632, {}, listen="127.0.0.1")
    (said,) = said_by(announcement, bool)
    assert said.endswith("no other machine can reach 127.0.0.1: see --listen")


def test_addresses_of_this_machine_alone_are_not_among_its_addresses() -> None:
    assert not any(address.startswith("127.") for address in mdns.addresses_here())
