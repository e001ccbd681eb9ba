"""Compile servers that write themselves down in Redis get the jobs of who reads there."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.daemon_kit import Daemon, daemon, open_place, said
from tests.e2e.kit import World, wait_until
from tests.interop.kit import farm_counts, write_sources
from tests.interop.lan import two_stations
from tests.remote_kit import REDIS, Server, redis


@pytest.fixture(scope="module")
def register(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def here(private: World) -> World:
    write_sources(private.src)
    return private


def url(register: Server) -> str:
    return f"redis://127.0.0.1:{register.port}"


def ask(register: Server, *words: str) -> str:
    command = ["redis-cli", "-p", str(register.port), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def shown_hosts(world: World, env: dict[str, str]) -> list[str]:
    done = world.call(world.install.link("distcc"), "--show-hosts", env=env)
    assert done.status == 0, done
    return done.out.decode().split()


def announced(server: Daemon) -> bool:
    return f"--announce: announced as 127.0.0.1:{server.port} in" in server.log


def test_jobs_go_to_who_is_there_and_stay_when_he_has_gone(here: World, register: Server) -> None:
    env = {"DISTCC_HOSTS": f"+{url(register)}", "PYCCD_ANNOUNCE": url(register)}
    assert shown_hosts(here, env) == []
    began = time.monotonic()
    with daemon("pyccd", **env) as server:
        wait_until(lambda: announced(server), 20)
        wait_until(lambda: shown_hosts(here, env) == [f"127.0.0.1:{server.port}/4"], 20)
        assert time.monotonic() - began < 20
        done = here.call("gcc", "-O1", "-c", "a.c", env=env)
        assert (done.status, done.err) == (0, b"")
        assert server.summaries_of(1)[0].startswith("COMPILE_OK exit:0")
        assert set(farm_counts(here, env)) <= {"compiled", "exact"}
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        key = f"pycc:server:127.0.0.1:{server.port}"
        assert 0 < int(ask(register, "pttl", key)) <= 15_000
        ask(register, "pexpire", key, "1")  # as if this time had passed
        wait_until(lambda: shown_hosts(here, env) == [], 20)
        done = here.call("gcc", "-O2", "-c", "a.c", env=env)
        assert (done.status, done.err) == (0, b"")
        assert farm_counts(here, env)["unannounced"] == 1


def test_a_daemon_that_leaves_says_so(register: Server) -> None:
    with daemon("pyccd", "--announce", url(register)) as server:
        wait_until(lambda: announced(server), 20)
        assert ask(register, "exists", f"pycc:server:127.0.0.1:{server.port}") == "1"
    assert ask(register, "exists", f"pycc:server:127.0.0.1:{server.port}") == "0"


def test_a_redis_that_is_away_is_said_and_counted_and_breaks_nothing(here: World) -> None:
    env = {"DISTCC_HOSTS": "+redis://127.0.0.1:1", "CCACHE_LOGFILE": str(here.root / "log")}
    with daemon("pyccd", "--announce", "redis://127.0.0.1:1") as server:
        wait_until(lambda: "--announce: not announced in redis://127.0.0.1:1" in server.log, 20)
        server.write("a.c", "int a;\n")
        assert server.distcc("gcc", "-c", "a.c").returncode == 0
    done = here.call("gcc", "-c", "a.c", env=env)
    assert (done.status, done.err) == (0, b"")
    assert farm_counts(here, env) == {"undiscovered": 1}
    assert "+redis: redis://127.0.0.1:1: " in (here.root / "log").read_text()


def test_a_check_says_whether_it_can_be_announced(register: Server) -> None:
    words = ("--check", "--no-cache", "--listen", "127.0.0.1", "--announce")
    _, out, _ = said(*words, url(register))
    assert f"ok: announce: as 127.0.0.1 in {url(register)}" in out
    status, out, _ = said(*words, "redis://:x@127.0.0.1:1")
    assert status == 1
    assert "PROBLEM: announce: cannot be announced in redis://********@127.0.0.1:1: " in out
    status, _, err = said(*words, "http://h")
    assert status == 101
    assert "is no URL of Redis" in err
    assert "announce = redis://********@h" in said("--announce", "redis://x@h", "--print-config")[1]


def test_over_a_wire_servers_say_how_they_are_reached(private: World) -> None:
    write_sources(private.src)
    private.eager = False
    with two_stations() as (farm, desk), open_place() as place:
        place.chmod(0o777)
        words = ["--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--dir", str(place)]
        server = Server(
            [*farm.enter(), REDIS, "--port", "6379", *words], place, 0, str(place / "s")
        )
        server.words = [*server.words, "--unixsocket", server.path]
        server.start()
        try:
            env = {
                "DISTCC_HOSTS": f"+redis://{farm.address}",
                "PYCCD_ANNOUNCE": f"redis://{farm.address}",
            }
            options = ("--listen", "0.0.0.0")
            made = daemon(
                "pyccd", *options, wrapper=farm.enter(), allow=f"{farm.address}/24", **env
            )
            with made as there:
                word = f"{farm.address}:{there.port}/4"
                enter = desk.enter(private.src)
                distcc = str(private.install.link("distcc"))
                wait_until(
                    lambda: (
                        private.call(*enter, distcc, "--show-hosts", env=env).out.split()
                        == [word.encode()]
                    ),
                    20,
                )
                done = private.call(*enter, "gcc", "-c", "a.c", env=env)
                assert (done.status, done.err) == (0, b"")
                assert there.summaries_of(1)[0].startswith("COMPILE_OK exit:0")
        finally:
            server.stop()
