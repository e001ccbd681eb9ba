"""Choosing a host."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycc.remote.balance import BOUND, FIRST_PAUSE, Balance, No, weight
from pycc.remote.hosts import HostSpec, lock_name, parse_hosts

KEYS = [b"%d" % n for n in range(3000)]


def hosts(text: str) -> tuple[HostSpec, ...]:
    return parse_hosts(text).hosts


def filled(text: str, jobs: int, **how: object) -> list[str]:
    """The hosts that so many jobs go to, all of them staying."""
    balance, listed = Balance(), hosts(text)
    chosen = []
    for _ in range(jobs):
        host = balance.choose(listed, 0.0, **how)  # type: ignore[arg-type]
        if isinstance(host, No):
            chosen.append(host.name)
            continue
        balance.begin(host)
        chosen.append(host.host)
    return chosen


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a/1 b/2", ["a", "b", "b", "BUSY"]),
        ("a/2 b/2 localhost/1", ["a", "b", "localhost", "a", "b", "BUSY"]),
        ("a/1 a:9/1", ["a", "a", "BUSY"]),
        ("a,down b/1", ["b", "BUSY"]),
        ("a,down", ["HOSTS"]),
        ("", ["HOSTS"]),
    ],
)
def test_lowest_slot_first_then_the_lists_order(text: str, expected: list[str]) -> None:
    assert filled(text, len(expected)) == expected


def test_an_ended_job_makes_room() -> None:
    balance, (host,) = Balance(), hosts("a/1")
    balance.begin(host)
    assert balance.choose([host], 0.0) is No.BUSY
    balance.end(host)
    assert balance.choose([host], 0.0) is host
    assert balance.jobs(host) == 0


def test_pauses_double_up_to_the_users_period() -> None:
    balance, (host, other) = Balance(), hosts("a b")
    now, pauses = 0.0, []
    for _ in range(7):
        pauses.append(balance.failed(host, now, 60.0))
        assert balance.choose([host, other], now) is other
        assert balance.choose([host], now + pauses[-1] - 0.01) is No.HOSTS
        now += pauses[-1]
        assert balance.choose([host], now) is host
    assert pauses == [FIRST_PAUSE, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    balance.worked(host)
    assert balance.failed(host, now, 60.0) == FIRST_PAUSE


def test_jobs_that_fail_together_count_once() -> None:
    balance, (host,) = Balance(), hosts("a")
    assert [balance.failed(host, 1.0, 60.0) for _ in range(5)] == [FIRST_PAUSE] * 5


def test_a_fault_is_forgotten_in_time() -> None:
    balance, (host,) = Balance(), hosts("a")
    balance.failed(host, 0.0, 60.0)
    assert balance.failed(host, 2.0, 60.0) == 2 * FIRST_PAUSE
    assert balance.failed(host, 10_000.0, 60.0) == FIRST_PAUSE


@pytest.mark.parametrize("period", [0.0, -1.0])
def test_no_backoff_no_pause(period: float) -> None:
    balance, (host,) = Balance(), hosts("a")
    assert balance.failed(host, 0.0, period) == 0.0
    assert balance.choose([host], 0.0) is host


def test_a_job_may_have_had_enough_of_a_host() -> None:
    listed = hosts("a b")
    assert Balance().choose(listed, 0.0, without=[lock_name(listed[0])]) is listed[1]
    assert Balance().choose(listed, 0.0, without=[lock_name(h) for h in listed]) is No.HOSTS


class TestKeys:
    """Hosts that keep what they compile."""

    LISTED = hosts("a/8 b/8 c/8 d/8")
    NAMES = frozenset(lock_name(host) for host in LISTED)

    def of(self, key: bytes, listed: tuple[HostSpec, ...], balance: Balance | None = None) -> str:
        host = (balance or Balance()).choose(listed, 0.0, key=key, caching=self.NAMES)
        assert isinstance(host, HostSpec)
        return host.host

    def test_a_key_has_one_host_whatever_the_order(self) -> None:
        for key in KEYS[:200]:
            assert self.of(key, self.LISTED) == self.of(key, self.LISTED[::-1])

    def test_keys_are_spread_by_slots(self) -> None:
        listed = hosts("a/4 b/12")
        found = Counter(max(listed, key=lambda host: weight(host, key)).host for key in KEYS)
        assert 0.20 < found["a"] / len(KEYS) < 0.30

    def test_a_host_that_goes_takes_only_its_own_keys(self) -> None:
        left = self.LISTED[:3]
        for key in KEYS[:300]:
            before = self.of(key, self.LISTED)
            assert before == "d" or self.of(key, left) == before

    def test_no_host_gets_much_more_than_its_share(self) -> None:
        balance = Balance()
        for _ in range(16):
            host = balance.choose(self.LISTED, 0.0, key=b"same", caching=self.NAMES)
            assert isinstance(host, HostSpec)
            balance.begin(host)
        most = max(balance.jobs(host) for host in self.LISTED)
        assert most <= BOUND * 16 / 4 + 1

    def test_hosts_that_keep_nothing_take_their_turn(self) -> None:
        listed = hosts("plain/2 a/8")
        assert self.of(b"k", listed) == "plain"
        balance = Balance()
        balance.begin(listed[0])
        assert self.of(b"k", listed, balance) == "a"


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.binary(max_size=2)), max_size=80))
def test_no_host_ever_has_more_jobs_than_slots(steps: list[tuple[int, bool, bytes]]) -> None:
    listed = hosts("a/1 b/2 localhost/1 c/3,lzo")
    caching = {lock_name(listed[1]), lock_name(listed[3])}
    balance = Balance()
    running: list[HostSpec] = []
    for which, begins, key in steps:
        if begins:
            host = balance.choose(listed, 0.0, key=key, caching=caching)
            if isinstance(host, HostSpec):
                balance.begin(host)
                running.append(host)
            else:
                assert len(running) == 7
        elif running:
            balance.end(running.pop(which % len(running)))
        for host in listed:
            assert balance.jobs(host) == running.count(host) <= host.slots
