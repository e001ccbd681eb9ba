"""Servers that announce themselves are found: ours by the real client, real ones by ours."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from pycc.remote.discovery import kind_of
from tests.daemon_kit import DISTCC, ENVIRONMENT, ROOT, Daemon, daemon, wait_for
from tests.e2e.kit import Done, Install, World, wait_until, with_server_script, world_in
from tests.interop.kit import farm_counts, write_sources
from tests.interop.lan import Station, end, two_stations

KINDS = pytest.mark.parametrize("kind", ["distccd", "pyccd"])
_numbers = itertools.count(1)
LIST = {"DISTCC_HOSTS": "+zeroconf"}
ANNOUNCE = """\
import sys, time
from pycc.remote.mdns import Announcement, Announcer
texts = {"txtvers": "1", "jobs": sys.argv[3]}
what = Announcement(sys.argv[1], int(sys.argv[2]), texts, listen=sys.argv[4])
Announcer(what, lambda said: print(said, flush=True))
time.sleep(600)
"""


@pytest.fixture(scope="module")
def lan() -> Iterator[tuple[Station, Station]]:
    with two_stations() as (farm, desk):
        farm.start_avahi()
        desk.start_avahi()
        yield farm, desk


@pytest.fixture
def farm(lan: tuple[Station, Station]) -> Station:
    return lan[0]


@pytest.fixture
def desk(lan: tuple[Station, Station]) -> Station:
    return lan[1]


@pytest.fixture
def here(private: World) -> World:
    """A user with something to compile, whose server is to run on the client's machine."""
    write_sources(private.src)
    private.eager = False
    return private


def on(farm: Station, kind: str, **variables: str) -> AbstractContextManager[Daemon]:
    options = ("--zeroconf", "--listen", farm.address)
    allow = f"{farm.address}/24"
    # Each has a name of its own: Avahi may not have let go of the last one's yet, and a distccd
    # that meets its own name crashes. The name is a whole domain name, as many machines have it.
    name = ("unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"')
    wrapper = [*farm.enter(), *name, f"farm{next(_numbers)}.example.org"]
    return daemon(kind, *options, wrapper=wrapper, allow=allow, **variables)


def call(world: World, desk: Station, *words: str, **variables: str) -> Done:
    return world.call(*desk.enter(world.src), *words, env={**LIST, **variables})


def shown_hosts(world: World, desk: Station, **variables: str) -> list[str]:
    done = call(world, desk, str(world.install.link("distcc")), "--show-hosts", **variables)
    assert done.status == 0, done
    return done.out.decode().split()


def await_hosts(world: World, desk: Station, *words: str) -> None:
    """Until these are the hosts that are shown."""
    deadline = time.monotonic() + 30
    while (shown := sorted(shown_hosts(world, desk))) != sorted(words):
        assert time.monotonic() < deadline, (shown, words, world.log())
        time.sleep(0.02)


def counts(world: World, desk: Station) -> dict[str, int]:
    done = call(world, desk, str(world.install.launcher), "--print-stats", "-v")
    pairs = [line.split("\t") for line in done.out.decode().splitlines()]
    return {name[10:]: int(n) for name, n in pairs if name.startswith("pycc_farm_") and int(n)}


def kind_of_cc() -> str:
    said = (
        subprocess.run(["cc", option], capture_output=True, check=True).stdout
        for option in ("-dumpmachine", "-dumpversion")
    )
    kind = kind_of(*said)
    assert kind is not None
    return kind


@KINDS
def test_our_client_finds_them_and_drops_who_has_gone(
    here: World, farm: Station, desk: Station, kind: str
) -> None:
    with on(farm, kind) as server:
        word = f"{farm.address}:{server.port}/4"
        await_hosts(here, desk, word)
        began = time.monotonic()
        done = call(here, desk, "gcc", "-O1", "-c", "a.c")
        assert done.status == 0, done
        assert time.monotonic() - began < 15
        assert server.summaries_of(1)[0].startswith("COMPILE_OK exit:0")
        assert sum(counts(here, desk).values()) == 1
        assert set(counts(here, desk)) <= {"compiled", "exact"}
    await_hosts(here, desk)
    done = call(here, desk, "gcc", "-O2", "-c", "a.c")
    assert (done.status, done.err) == (0, b"")
    assert counts(here, desk)["unannounced"] == 1


@KINDS
def test_the_real_client_finds_them_and_drops_who_has_gone(
    farm: Station, desk: Station, kind: str, tmp_path: Path
) -> None:
    write_sources(tmp_path)
    found = tmp_path / "distcc/zeroconf/hosts"
    found.parent.parent.mkdir()
    environment = {**ENVIRONMENT, **LIST, "DISTCC_DIR": str(tmp_path / "distcc")}
    environment |= {"DISTCC_FALLBACK": "0", "DISTCC_BACKOFF_PERIOD": "0"}

    def compiles() -> bool:
        words = [*desk.enter(tmp_path), DISTCC, "gcc", "-O1", "-c", "a.c", "-o", "made.o"]
        done = subprocess.run(words, env=environment, capture_output=True, check=False)
        return done.returncode == 0

    with on(farm, kind) as server:
        wait_until(compiles, 20)
        assert found.read_text() == f"{farm.address}:{server.port}/4\n"
        assert server.summaries_of(1)[0].startswith("COMPILE_OK exit:0")
    wait_until(lambda: found.read_text() == "", 20)


def test_a_server_with_another_compiler_is_not_used(
    here: World, farm: Station, desk: Station
) -> None:
    other = here.script("other/cc", 'case $1 in -dumpversion) echo 99;; *) exec gcc "$@";; esac')
    path = f"{other.parent}:{here.env['PATH']}"
    with on(farm, "distccd"):
        wait_until(lambda: shown_hosts(here, desk), 20)
        assert shown_hosts(here, desk, PATH=path) == []


def test_two_daemons_of_one_machine_are_two_hosts(
    here: World, farm: Station, desk: Station
) -> None:
    with on(farm, "distccd") as real, on(farm, "pyccd") as ours:
        words = [f"{farm.address}:{server.port}/4" for server in (real, ours)]
        await_hosts(here, desk, *words)


def test_who_announces_himself_and_does_not_answer_costs_nothing_after_the_first_second(
    here: World, farm: Station, desk: Station
) -> None:
    environment = {**ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", ANNOUNCE, kind_of_cc(), "9", "2147483647", "10.99.0.77"]
    announcer = subprocess.Popen([*farm.enter(), *words], env=environment, stdout=subprocess.PIPE)
    try:
        assert announcer.stdout is not None
        assert b"announced as distcc@farm" in announcer.stdout.readline()
        assert call(here, desk, "gcc", "-c", "a.c").status == 0
        began = time.monotonic()
        for number in range(5):
            done = call(here, desk, "gcc", f"-DX={number}", "-c", "a.c")
            assert (done.status, done.err) == (0, b"")
        assert time.monotonic() - began < 12  # a connection to nobody takes three seconds
        assert counts(here, desk) == {"unannounced": 6}
    finally:
        end(announcer, signal.SIGKILL)
        assert announcer.stdout is not None
        announcer.stdout.close()


HOSTILE = """\
import random, socket, sys, time
from zeroconf import const, DNSAddress, DNSOutgoing, DNSPointer, DNSService, DNSText
service, wanted = sys.argv[1] + "._sub._distcc._tcp.local.", "_distcc._tcp.local."
draw = random.Random(1)
group = ("224.0.0.251", 5353)
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[2]))
out.bind(("", 5353))
names = ["a", "a" * 60, "distcc@\\u00e9", "a\\tb", "a b", "-", "a.b.c", "_tcp", "distcc@farm"]
said = [b"", b"\\0", b"jobs=1", b"\\6jobs=9\\6jobs=8", b"\\xffjobs", b"\\5\\xff=\\xfe\\0\\1"]
places = [b"\\x7f\\0\\0\\1", b"\\0" * 4, b"\\xff" * 4, b"\\xe0\\0\\0\\xfb", b"\\0" * 16]
places += [b"\\xfe\\x80" * 8, socket.inet_aton(sys.argv[2])]
for number in range(600):
    name = f"{draw.choice(names)}{number % 300}.{wanted}"
    where = f"h{number}.local."
    packet = DNSOutgoing(const._FLAGS_QR_RESPONSE | const._FLAGS_AA)
    place = draw.choice(places)
    kind = const._TYPE_A if len(place) == 4 else const._TYPE_AAAA
    unique = const._CLASS_IN | const._CLASS_UNIQUE
    for record in (
        DNSPointer(service, const._TYPE_PTR, const._CLASS_IN, draw.choice([0, 1, 4500]), name),
        DNSService(name, const._TYPE_SRV, unique, 120, 0, 0, draw.choice([0, 9, 65535]), where),
        DNSText(name, const._TYPE_TXT, unique, 4500, draw.choice(said)),
        DNSAddress(where, kind, unique, 120, place),
    ):
        if draw.random() < 0.9:
            packet.add_answer_at_time(record, 0)
    for data in packet.packets():
        data = bytearray(data)
        for _ in range(draw.choice([0, 0, 1, 9])):
            data[draw.randrange(len(data))] = draw.randrange(256)
        out.sendto(bytes(data[: draw.choice([None, None, draw.randrange(len(data))])]), group)
    time.sleep(0.001)
print("sent")
"""


def test_who_says_strange_things_keeps_nobody_from_being_found(
    here: World, farm: Station, desk: Station
) -> None:
    with on(farm, "distccd") as server:
        word = f"{farm.address}:{server.port}/4"
        await_hosts(here, desk, word)
        (pid,) = here.servers()
        words = [*farm.enter(), sys.executable, "-c", HOSTILE, kind_of_cc(), farm.address]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("sent\n", "")
        began = time.monotonic()
        compiled = call(here, desk, "gcc", "-O1", "-c", "a.c")
        assert (compiled.status, compiled.err) == (0, b"")
        assert time.monotonic() - began < 5
    await_hosts(here, desk)
    with on(farm, "distccd") as server:
        word = f"{farm.address}:{server.port}/4"
        await_hosts(here, desk, word)
    assert here.servers() == [pid]
    assert here.log() == ""


def test_the_server_leaves_and_is_silent_about_it(
    here: World, farm: Station, desk: Station
) -> None:
    with on(farm, "distccd"):
        wait_until(lambda: shown_hosts(here, desk), 20)
        (pid,) = here.servers()
        threads = len(os.listdir(f"/proc/{pid}/task"))
        assert threads > 2
        began = time.monotonic()
        assert call(here, desk, str(here.install.launcher), "--stop-server").status == 0
        wait_until(lambda: not here.servers())
        assert time.monotonic() - began < 8
    assert here.log() == ""


def test_without_the_package_it_is_said_counted_and_compiled_here(
    installed: Install, tmp_path: Path
) -> None:
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked/zeroconf.py").write_text("raise ImportError\n")
    script = f'PYTHONPATH={tmp_path / "blocked"} exec $SERVER "$@"'
    without = with_server_script(installed, tmp_path / "prefix", script)
    (tmp_path / "world").mkdir()
    with world_in(without, tmp_path / "world") as world:
        write_sources(world.src)
        log = tmp_path / "log"
        began = time.monotonic()
        done = world.call("gcc", "-c", "a.c", env={**LIST, "CCACHE_LOGFILE": str(log)})
        assert (done.status, done.err) == (0, b"")
        assert time.monotonic() - began < 10
        assert farm_counts(world, LIST) == {"undiscovered": 1}
        assert "pip install zeroconf" in log.read_text()
        done = world.call(without.link("distcc"), "gcc", "-O1", "-c", "a.c", env=LIST)
        assert done.status == 0
        assert b"Warning: +zeroconf: the Python package zeroconf is not installed" in done.err
        done = world.call("gcc", "-O2", "-c", "a.c", env={**LIST, "DISTCC_FALLBACK": "0"})
        assert done.status == 116


def test_without_a_server_nobody_is_looked_for(world: World) -> None:
    env = {**LIST, "PYCC_RESIDENT": "0"}
    began = time.monotonic()
    done = world.call("gcc", "-c", "a.c", env=env)
    assert (done.status, done.err) == (0, b"")
    assert time.monotonic() - began < 10
    assert farm_counts(world, env) == {"undiscovered": 1}


@pytest.mark.parametrize("module", ["zeroconf", "ifaddr"])
def test_a_daemon_without_the_package_says_so_and_serves(tmp_path: Path, module: str) -> None:
    (tmp_path / f"{module}.py").write_text("raise ImportError\n")
    path = f"{tmp_path}:{ROOT}"
    with daemon("pyccd", "--zeroconf", PYTHONPATH=path) as server:
        assert "--zeroconf: not announced: the Python package zeroconf is not" in server.log
        server.write("a.c", "int a;\n")
        assert server.distcc("gcc", "-c", "a.c").returncode == 0


def test_a_daemon_that_nobody_can_reach_does_not_announce_itself() -> None:
    with daemon("pyccd", "--zeroconf") as server:
        wait_for(lambda: "not announced: no other machine can reach 127.0.0.1" in server.log)
