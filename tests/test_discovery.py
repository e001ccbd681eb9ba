"""Hosts that announce themselves: what is believed of them, and when they are used."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from pycc.remote import farm as farm_module
from pycc.remote.discovery import (
    MOST_HOSTS,
    MOST_JOBS,
    Instances,
    Register,
    announced,
    is_usable,
    kind_of,
    service_of,
    texts,
    with_announced,
)
from pycc.remote.farm import Daemon, Farm
from pycc.remote.hosts import HostSpec, Kind, parse_hosts
from tests.test_transport import server


@pytest.mark.parametrize(
    ("machine", "version", "kind"),
    [
        (b"x86_64-linux-gnu\n", b"12\n", "_x86-64-linux-gnu--12"),
        (b"x86_64-pc-linux-gnu", b"13.2.1 20230801", "_x86-64-pc-linux-gnu--13-2-1"),
        (b"ARM\n", b"9", "_arm--9"),
        (b"", b"12", None),
        (b"x86_64", b" \n", None),
        (b"x" * 60, b"12", None),
        (b"a\xff", b"\0", "_a---" + "-"),
    ],
)
def test_a_kind_is_the_label_that_distccd_announces(
    machine: bytes, version: bytes, kind: str | None
) -> None:
    assert kind_of(machine, version) == kind


def test_a_kind_is_a_subtype() -> None:
    assert service_of("_x--1") == "_x--1._sub._distcc._tcp.local."


def test_a_daemon_says_what_distccd_says() -> None:
    said = texts(cpus=2, jobs=4, release="r", machine=b"x86_64-linux-gnu\n", version=b"12\n")
    assert said == {
        "txtvers": "1",
        "cpus": "2",
        "jobs": "4",
        "distcc": "r",
        "gnuhost": "x86_64-linux-gnu",
        "cc_version": "12",
        "cc_machine": "x86_64-linux-gnu",
    }
    assert "cc_version" not in texts(cpus=1, jobs=1, release="", machine=b"", version=b"")


@pytest.mark.parametrize(
    ("address", "usable"),
    [
        ("192.168.0.4", True),
        ("169.254.1.2", True),
        ("198.51.100.1", True),
        ("2001:db8::1", True),
        ("fd00::1", True),
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("::1", False),
        ("0.0.0.0", False),
        ("::", False),
        ("224.0.0.251", False),
        ("255.255.255.255", False),
        ("ff02::fb", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("::ffff:127.0.0.1", False),
        ("host", False),
        ("", False),
    ],
)
def test_an_address_must_lead_to_another_machine(address: str, usable: bool) -> None:
    assert is_usable(address) is usable


HOME = ["192.168.0.4"]


@pytest.mark.parametrize(
    ("addresses", "port", "said", "spelled"),
    [
        (HOME, 3632, {b"jobs": b"6", b"cpus": b"4"}, "192.168.0.4:3632/6"),
        (HOME, 4000, {b"cpus": b"4"}, "192.168.0.4:4000/6"),
        (HOME, 4000, {}, "192.168.0.4:4000/4"),
        (HOME, 4000, {b"jobs": b"-3", b"cpus": b"x"}, "192.168.0.4:4000/4"),
        (HOME, 4000, {b"jobs": None, b"cpus": None}, "192.168.0.4:4000/4"),
        (HOME, 4000, {b"jobs": b"2147483647"}, f"192.168.0.4:4000/{MOST_JOBS}"),
        (HOME, 4000, {b"jobs": b"9" * 5000}, f"192.168.0.4:4000/{MOST_JOBS}"),
        (HOME, 4000, {b"jobs": b"6,lzo,cpp"}, "192.168.0.4:4000/6"),
        (["fd00::1", "127.0.0.1", *HOME], 1, {}, "192.168.0.4:1/4"),
        (["fe80::1", "fd00::1"], 65535, {}, "[fd00::1]:65535/4"),
        (HOME, 0, {}, None),
        (HOME, 65536, {}, None),
        (HOME, None, {}, None),
        ([], 3632, {}, None),
        (["127.0.0.1"], 3632, {}, None),
        ([*["127.0.0.1"] * 100, *HOME], 3632, {}, None),
    ],
)
def test_an_instance_is_a_plain_host_within_limits(
    addresses: list[str], port: int | None, said: dict[bytes, bytes | None], spelled: str | None
) -> None:
    host = announced(addresses, port, said)
    if spelled is None:
        assert host is None
    else:
        assert host == parse_hosts(spelled).hosts[0]


def a_host(number: int) -> HostSpec:
    host = announced([f"10.0.{number >> 8}.{number & 255}"], 3632, {})
    assert host is not None
    return host


def test_instances_come_change_and_go() -> None:
    instances = Instances()
    instances.add("a", a_host(1))
    instances.add("b", a_host(2))
    instances.add("c", a_host(1))
    assert instances.hosts() == (a_host(1), a_host(2))
    instances.add("a", a_host(3))
    assert instances.hosts() == (a_host(3), a_host(2), a_host(1))
    instances.add("b", None)
    instances.remove("a")
    instances.remove("nobody")
    assert instances.hosts() == (a_host(1),)


def test_there_are_not_more_instances_than_a_table_holds() -> None:
    instances = Instances()
    for number in range(MOST_HOSTS + 9):
        instances.add(str(number), a_host(number))
    instances.add("0", a_host(500))
    assert len(instances.hosts()) == MOST_HOSTS
    assert instances.hosts()[0] == a_host(500)


@pytest.mark.parametrize(
    ("text", "merged"),
    [
        ("+zeroconf", "10.0.0.1 10.0.0.2"),
        ("red +zeroconf blue", "red 10.0.0.1 10.0.0.2 blue"),
        ("red 10.0.0.2:3632/9 +zeroconf", "red 10.0.0.2:3632/9 10.0.0.1"),
        ("localhost/1 +zeroconf 10.0.0.1,lzo", "localhost/1 10.0.0.2 10.0.0.1,lzo"),
    ],
)
def test_they_stand_where_the_list_asks_for_them(text: str, merged: str) -> None:
    hosts = parse_hosts(text)
    found = with_announced(hosts, [(hosts.zeroconf_at, (a_host(1), a_host(2)))])
    names = [host.spelled.removesuffix(":3632/4") for host in found.hosts]
    assert names == merged.split()


class Fake:
    """Discovery that finds what it is told to."""

    def __init__(
        self, found: Callable[[], tuple[HostSpec, ...]] = tuple, problem: str = ""
    ) -> None:
        self.began = time.monotonic()
        self.problem = problem
        self.settled = False
        self.alive = True
        self.closed = False
        self.hosts = found

    def close(self) -> None:
        self.closed = True


def test_who_does_not_answer_is_not_offered_and_costs_one_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(farm_module, "DISCOVERY_SECONDS", 0.2)
    silent = HostSpec(Kind.TCP, "127.0.0.1", port=1, spelled="silent")
    farm = Farm(browse=lambda kind: Fake(lambda: (silent,)))
    began = time.monotonic()
    assert farm.announced("_x--1") == ((), "")
    assert 0.2 <= time.monotonic() - began < 5
    began = time.monotonic()
    for _ in range(20):
        assert farm.announced("_x--1") == ((), "")
    assert time.monotonic() - began < 0.2


def test_who_answers_is_offered_at_once() -> None:
    with server(lambda c: None) as host:  # a stock daemon closes on what it does not know
        farm = Farm(browse=lambda kind: Fake(lambda: (host,)))
        began = time.monotonic()
        assert farm.announced("_x--1") == ((host,), "")
        assert time.monotonic() - began < 0.9
        assert farm.peers.daemon(host) is Daemon.STOCK


def test_who_vanishes_is_offered_no_more() -> None:
    there = [True]
    with server(lambda c: None) as host:
        farm = Farm(browse=lambda kind: Fake(lambda: (host,) if there else ()))
        assert farm.announced("_x--1")[0] == (host,)
        there.clear()
        browser = farm._browsers["_x--1"]
        browser.began -= 9
        assert farm.announced("_x--1") == ((), "")


def test_what_cannot_be_discovered_costs_nothing() -> None:
    farm = Farm(browse=lambda kind: Fake(problem="no network"))
    began = time.monotonic()
    assert farm.announced("_x--1") == ((), "no network")
    assert time.monotonic() - began < 0.5
    assert "resident server" in Farm(browse=None).announced("_x--1")[1]


def test_one_browser_serves_all_calls_of_a_kind_and_there_are_few() -> None:
    made: list[Fake] = []

    def browse(kind: str | Register) -> Fake:
        made.append(Fake(problem="none"))
        return made[-1]

    farm = Farm(browse=browse)
    for kind in ("a", "a", "b", "c", "d", "a"):
        farm.announced(kind)
    assert len(made) == 4
    farm.announced("e")
    assert [browser.closed for browser in made] == [True, False, False, False, False]
    made[1].alive = False
    farm.announced("b")
    assert len(made) == 6
    with closing(farm):
        pass
    assert all(browser.closed for browser in made[2:])


def test_calls_that_come_together_share_the_first_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(farm_module, "DISCOVERY_SECONDS", 0.3)
    made: list[str | Register] = []

    def browse(kind: str | Register) -> Fake:
        made.append(kind)
        return Fake()

    farm = Farm(browse=browse)
    threads = [threading.Thread(target=farm.announced, args=("_x--1",)) for _ in range(8)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < 2
    assert made == ["_x--1"]
