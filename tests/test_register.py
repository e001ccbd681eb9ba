"""Compile servers in a Redis server: written down and read, and what is done when it is away."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from pycc.cache.remote_backend import StorageFailed
from pycc.errors import ConfigError
from pycc.remote import register
from pycc.remote.discovery import Register
from pycc.remote.farm import Farm
from pycc.remote.membership import INDEX, Compiler, Member, key_of, pack
from pycc.remote.register import Announcer, Browser, Unreachable, reachable_at, url_of
from tests.daemon_kit import ROOT, wait_for
from tests.remote_kit import Server, free_port, redis

KIND = "_x--1"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(shared: Server) -> Server:
    assert ask(shared, "flushall") == "OK"
    return shared


def ask(server: Server, *words: str) -> str:
    command = ["redis-cli", "-p", str(server.port), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def url(server: Server) -> str:
    return f"redis://127.0.0.1:{server.port}"


def member(port: int, address: str = "127.0.0.1") -> Member:
    return Member(address, port, 4, compilers=(Compiler("cc", "x", "1"),))


def write_down(server: Server, *those: Member) -> None:
    for one in those:
        assert ask(server, "set", key_of(one.name).decode(), pack(one).decode()) == "OK"
        ask(server, "zadd", INDEX.decode(), "1", one.name.decode())


def announcer(server: Server, said: list[str], listen: str = "127.0.0.1") -> Announcer:
    return Announcer(url_of(url(server)), listen, lambda: member(4000), lambda: 1, said.append)


@contextmanager
def reading(
    url: str, kind: str = KIND, *options: str, clock: Callable[[], float] = time.monotonic
) -> Iterator[Browser]:
    browser = Browser(url, kind, options, clock)
    yield browser
    browser.close()
    browser._thread.join(10)


def looked(browser: Browser) -> list[str]:
    browser.look()
    return [host.spelled for host in browser.hosts()]


def test_who_is_written_down_is_found_and_who_leaves_is_not(server: Server) -> None:
    said: list[str] = []
    with reading(url(server), KIND, "lzo") as browser:
        made = announcer(server, said)
        wait_for(lambda: ask(server, "zcard", INDEX.decode()) == "1")
        wait_for(lambda: said)
        assert said == [f"--announce: announced as 127.0.0.1:4000 in {url(server)}"]
        assert looked(browser) == ["127.0.0.1:4000/4,lzo"]
        written = json.loads(ask(server, "get", key_of(member(4000).name).decode()))
        assert (written["jobs"], written["running"]) == (4, 1)
        assert 10_000 < int(ask(server, "pttl", key_of(member(4000).name).decode())) <= 15_000
        made.close(5)
        assert looked(browser) == []
        assert ask(server, "dbsize") == "0"


def test_names_of_whom_nothing_is_heard_are_taken_out(server: Server) -> None:
    ask(server, "zadd", INDEX.decode(), "1", "10.0.0.1:1", "2", "10.0.0.2:1")
    made = announcer(server, [])
    wait_for(lambda: ask(server, "zrange", INDEX.decode(), "0", "-1") == "127.0.0.1:4000")
    made.close(5)


def test_a_server_with_other_compilers_is_left_out(server: Server) -> None:
    write_down(server, member(1), Member("127.0.0.1", 2, 4))
    with reading(url(server)) as some, reading(url(server), "") as every:
        assert looked(some) == ["127.0.0.1:1/4"]
        assert looked(every) == ["127.0.0.1:1/4", "127.0.0.1:2/4"]


def test_of_strange_entries_some_are_left_out_and_many_are_bounded(server: Server) -> None:
    names = [str(number) for number in range(300)]
    ask(server, "zadd", INDEX.decode(), *(word for name in names for word in ("1", name)))
    ask(server, "set", "pycc:server:1", "{}")
    ask(server, "lpush", "pycc:server:2", "x")
    ask(server, "zadd", INDEX.decode(), "9", member(1).name.decode())
    write_down(server, member(1))
    ask(server, "zadd", INDEX.decode(), "9", member(1).name.decode())
    with reading(url(server)) as browser:
        assert looked(browser) == ["127.0.0.1:1/4"]


@pytest.mark.parametrize(
    "spoil",
    [
        ("zadd", INDEX.decode(), "9", "n" * 200),
        ("set", "pycc:server:127.0.0.1:1", "x" * 20_000),
        ("set", INDEX.decode(), "x"),
    ],
)
def test_what_is_too_large_is_not_read(server: Server, spoil: tuple[str, ...]) -> None:
    write_down(server, member(1))
    ask(server, *spoil)
    with reading(url(server)) as browser:
        assert looked(browser) == []
        assert browser.problem


def test_a_redis_that_is_gone_leaves_the_last_list_for_a_while(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_down(server, member(1))
    now = [100.0]
    with reading(url(server), clock=lambda: now[0]) as browser:
        assert looked(browser) == ["127.0.0.1:1/4"]
        monkeypatch.setattr(register, "members", _away)
        assert looked(browser) == ["127.0.0.1:1/4"]
        assert browser.problem == ""
        now[0] += register.STALE_SECONDS + 1
        assert looked(browser) == []
        assert browser.problem == f"{url(server)}: away"
        monkeypatch.undo()
        assert looked(browser) == ["127.0.0.1:1/4"]
        assert browser.problem == ""


def _away(*_: object, **__: object) -> None:
    raise StorageFailed("away")


def test_a_redis_that_is_stopped_costs_one_second(server: Server) -> None:
    server.send(signal.SIGSTOP)
    try:
        farm = Farm()
        began = time.monotonic()
        for _ in range(10):
            assert farm.announced(Register(url(server), KIND))[0] == ()
        assert time.monotonic() - began < 1.8
        farm.close()
    finally:
        server.send(signal.SIGCONT)


def test_nobody_there_is_known_at_once(server: Server) -> None:
    farm = Farm()
    began = time.monotonic()
    assert farm.announced(Register(url(server), KIND)) == ((), "")
    assert time.monotonic() - began < 0.9
    away = Register(f"redis://127.0.0.1:{free_port()}", KIND)
    assert "refused" in farm.announced(away)[1]
    assert "is no URL of Redis" in farm.announced(Register("http://h", KIND))[1]
    farm.close()


def test_a_password_is_not_shown() -> None:
    with reading(f"redis://:geheim@127.0.0.1:{free_port()}") as browser:
        browser.look()
        assert browser.problem
        assert "geheim" not in browser.problem
    with pytest.raises(ConfigError) as caught:
        url_of("http://a:geheim@h")
    assert "geheim" not in str(caught.value)


def test_the_documents_rights_are_enough(server: Server) -> None:
    text = (ROOT / "docs/discovery.md").read_text()
    users = [line.split() for line in text.splitlines() if line.startswith("    user ")]
    for _, name, *rights in users:
        ask(server, "acl", "setuser", name, "reset", *rights)
    (_, announcing, *_), (_, reading_only, *_) = users
    place = f"127.0.0.1:{server.port}/1"
    said: list[str] = []
    there = url_of(f"redis://{announcing}:SECRET@{place}")
    made = Announcer(there, "127.0.0.1", lambda: member(4000), lambda: 1, said.append)
    wait_for(lambda: said)
    assert "announced as 127.0.0.1:4000 in redis://********@" in said[0]
    with reading(f"redis://{reading_only}:SECRET2@{place}") as browser:
        assert looked(browser) == ["127.0.0.1:4000/4"]
        made.close(5)
        assert looked(browser) == []
        assert browser.problem == ""


def test_an_address_that_nobody_can_reach_is_not_written_down() -> None:
    there = url_of("redis://10.0.0.1")
    with pytest.raises(Unreachable, match="--listen"):
        reachable_at(there, "127.0.0.1")
    assert reachable_at(there, "10.0.0.2") == "10.0.0.2"
    assert reachable_at(url_of("redis://127.0.0.1"), "127.0.0.1") == "127.0.0.1"
    assert reachable_at(url_of("redis:"), "")


def test_a_redis_that_comes_later_is_told_then(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register, "HEARTBEAT_SECONDS", 0.1)
    said: list[str] = []
    with redis(tmp_path_factory.mktemp("late")) as server:
        server.stop()
        made = announcer(server, said)
        wait_for(lambda: said)
        time.sleep(0.3)
        assert "refused" in said[0]
        assert len(said) == 1, "said once"
        server.start()
        wait_for(lambda: len(said) == 2)
        assert "announced as 127.0.0.1:4000" in said[1]
        server.stop()
        made.close(5)


def test_a_machine_with_one_address_is_found_by_the_way_to_redis() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("no way out")
        mine = probe.getsockname()[0]
    assert reachable_at(url_of("redis://192.0.2.1"), "0.0.0.0") == mine
