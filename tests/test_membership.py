"""What servers write down of themselves, and what a client believes of what stands there."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycc.record import replace
from pycc.remote.discovery import MOST_JOBS, with_announced
from pycc.remote.hosts import (
    HostSpec,
    HostSpecError,
    Kind,
    Membership,
    lock_name,
    parse_hosts,
    render,
)
from pycc.remote.membership import LARGEST, Compiler, Member, pack, unpack
from pycc.remote.pump_command import in_pump_mode
from tests.quick import quick

COMPILERS = (
    Compiler("gcc", "x86_64-linux-gnu", "12", "00ff"),
    Compiler("clang", "x86_64-pc-linux-gnu", "14.0.6"),
)
MEMBER = Member("10.0.0.7", 4000, 6, 4, 2, 0.5, "pyccd-1", ("cache", "exact"), compilers=COMPILERS)
SAID = json.loads(pack(MEMBER))


def test_what_was_written_down_is_read_again() -> None:
    assert unpack(pack(MEMBER)) == MEMBER
    other = replace(MEMBER, address="fd00::7", features=(), compilers=())
    assert unpack(pack(other)) == other


def test_what_is_too_long_loses_its_last_compilers() -> None:
    many = tuple(Compiler(f"gcc-{n}", "x" * 500, "y" * 500, "z" * 4000) for n in range(99))
    packed = pack(replace(MEMBER, compilers=many))
    assert len(packed) <= LARGEST
    assert [one["name"] for one in json.loads(packed)["compilers"]] == ["gcc-0", "gcc-1", "gcc-2"]


@pytest.mark.parametrize(
    "said",
    [
        {"address": "127.0.0.1"},
        {"address": "::1"},
        {"address": "0.0.0.0"},
        {"address": "224.0.0.1"},
        {"address": "fe80::1%eth0"},
        {"address": "build1.example.com"},
        {"address": "10.0.0.7 -oProxyCommand=x"},
        {"address": "@10.0.0.7"},
        {"address": ["10.0.0.7"]},
        {"address": None},
        {"port": 0},
        {"port": 65536},
        {"port": "4000"},
        {"port": True},
        {"port": 4000.5},
        {"port": 1e400},
        {"jobs": 0},
        {"jobs": -1},
        {"jobs": []},
    ],
)
def test_nothing_comes_of_a_server_that_nobody_could_reach(said: Mapping[str, object]) -> None:
    assert unpack(json.dumps({**SAID, **said}).encode()) is None


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"null", b"\xff\xfe", b"[" * 9000, b"{" * 9000, pack(MEMBER)[:-1]]
)
def test_nothing_comes_of_what_is_no_description(data: bytes) -> None:
    assert unpack(data) is None


@pytest.mark.parametrize(
    ("said", "believed"),
    [
        ({"jobs": 10**6}, {"jobs": MOST_JOBS}),
        ({"load": float("nan")}, {"load": 0.0}),
        ({"load": "much"}, {"load": 0.0}),
        ({"running": -1, "cpus": 2**80}, {"running": 0, "cpus": 0}),
        ({"release": "\x1b[2J"}, {"release": ""}),
        ({"features": {"tls": 1}}, {"features": ()}),
        ({"features": ["tls", ["x"], 7, "root"]}, {"features": ("tls",)}),
        ({"compilers": 7}, {"compilers": ()}),
        ({"compilers": [7, {"name": 1}]}, {"compilers": (Compiler("", "", "", ""),)}),
    ],
)
def test_what_is_said_is_believed_within_limits(
    said: Mapping[str, object], believed: dict[str, object]
) -> None:
    found = unpack(json.dumps({**SAID, **said}).encode())
    assert found == replace(MEMBER, **believed)


def test_an_address_of_this_machine_alone_counts_where_redis_is_here() -> None:
    local = replace(MEMBER, address="127.0.0.1")
    assert unpack(pack(local)) is None
    assert unpack(pack(local), here=True) == local


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
@quick
def test_whatever_is_said_gives_a_host_that_a_list_could_name_or_none(value: object) -> None:
    for part in SAID:
        found = unpack(json.dumps({**SAID, part: value}).encode())
        if found is not None:
            host = found.host()
            (again,) = parse_hosts(render(host)).hosts
            assert replace(again, spelled="") == replace(host, spelled="")


def test_a_server_is_for_who_has_one_of_its_compilers() -> None:
    assert MEMBER.has("_x86-64-linux-gnu--12")
    assert MEMBER.has("_x86-64-pc-linux-gnu--14-0-6")
    assert MEMBER.has("")
    assert not MEMBER.has("_x86-64-linux-gnu--13")


def test_a_server_becomes_a_host_with_the_options_of_the_list() -> None:
    wanted = HostSpec(Kind.TCP, "10.0.0.7", port=4000, slots=6, spelled="10.0.0.7:4000/6")
    assert MEMBER.host() == wanted
    spelled = "10.0.0.7:4000/6,lzo,auth=n"
    assert MEMBER.host(("lzo", "auth=n")) == replace(
        wanted, lzo=True, auth=True, auth_name="n", spelled=spelled
    )
    assert replace(MEMBER, features=("tls",)).host().tls
    assert replace(MEMBER, address="fd00::7").host().spelled == "[fd00::7]:4000/6"


def test_options_stand_behind_the_url_which_may_hold_commas() -> None:
    (one,) = parse_hosts("a +redis://x:p,lzo@h/1,2,lzo,tls b").membership
    assert one == Membership("redis://x:p,lzo@h/1,2", 1, ("lzo", "tls"))
    assert one.word() == "+redis://x:p,lzo@h/1,2,lzo,tls"
    with pytest.raises(HostSpecError, match="write ,lzo,cpp"):
        parse_hosts("+redis://h,cpp")
    with pytest.raises(HostSpecError, match=r"begin with a plus"):
        parse_hosts("+mysql://h")


def test_a_password_is_not_shown() -> None:
    with pytest.raises(HostSpecError) as caught:
        parse_hosts("+redis://me:ge@heim@h,cpp")
    assert "heim" not in str(caught.value)
    assert "+redis://********@h,cpp" in str(caught.value)


def test_pump_mode_asks_the_same_servers() -> None:
    text = in_pump_mode(parse_hosts("a +redis://h/1,tls"))
    assert text.endswith("a,lzo,cpp +redis://h/1,lzo,cpp,tls")
    assert parse_hosts(text).membership[0].options == ("lzo", "cpp", "tls")


def test_they_stand_where_the_list_asks_for_them_each_once() -> None:
    hosts = parse_hosts("red +redis://h +zeroconf 10.0.0.7:4000 +redis://i")
    first, second = (replace(MEMBER, address=f"10.0.0.{n}").host() for n in (8, 9))
    found = [(1, (first,)), (1, (first, second)), (2, (MEMBER.host(), second))]
    names = [lock_name(host)[4:] for host in with_announced(hosts, found).hosts]
    assert names == ["red_3632", "10.0.0.8_4000", "10.0.0.9_4000", "10.0.0.7_4000"]
