"""What several machines miss at the same time is compiled by one of them, and nobody waits long."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from pycc import tiers
from pycc.cache import remote_lease
from pycc.cache.remote_lease import Holder, Lease, Leases, Patience, pause, read_value
from pycc.resident import Resident
from tests.compile_kit import Bench
from tests.remote_kit import Server, redis

HOLDER = Holder(b"x", 0.0)


# How long one waits.


@pytest.mark.parametrize(
    ("value", "holder"),
    [
        (b"ab:1500", Holder(b"ab", 1.5)),
        (b"ab:0", Holder(b"ab", 0.0)),
        (b"ab", Holder(b"ab", 0.0)),
        (b"ab:x", Holder(b"ab", 0.0)),
        (b"ab:9999999999", Holder(b"ab", 0.0)),
        (b"", Holder(b"", 0.0)),
        (b"+", None),
        (b"-", None),
        (None, None),
    ],
)
def test_a_lease_says_who_has_it(value: bytes | None, holder: Holder | None) -> None:
    assert read_value(value) == holder


def test_the_pauses_grow_with_the_wait() -> None:
    assert [pause(t) for t in (0.0, 0.16, 0.8, 60.0)] == [0.01, 0.02, 0.1, 0.2]


def patience(now: list[float], *compiles: float) -> Patience:
    made = Patience(lambda: now[0])
    for seconds in compiles:
        made.compiled(seconds)
    return made


def test_what_is_waited_in_vain_is_bounded_and_given_back_slowly() -> None:
    now = [0.0]
    made = patience(now)
    assert made.left() == 30
    made.waited(20, HOLDER, helped=False)
    assert made.left() == 10
    made.waited(10, HOLDER, helped=False)
    assert made.left() == 0
    now[0] += 100
    assert made.left() == pytest.approx(5)
    now[0] += 10_000
    assert made.left() == 30


def test_who_is_as_quick_as_we_are_may_be_waited_for_without_end() -> None:
    made = patience([0.0], *[1.0] * 8)
    for average in (0.0, 0.5, 1.0):
        for _ in range(100):
            made.waited(10, Holder(b"x", average), helped=True)
    assert made.left() == 30


def test_who_is_slower_is_waited_for_as_long_as_little_is_lost() -> None:
    made = patience([0.0], *[1.0] * 8)
    made.waited(10, Holder(b"x", 10.0), helped=True)
    assert made.left() == pytest.approx(30 - 9)


def test_few_compiles_say_nothing() -> None:
    made = patience([0.0], *[1.0] * 7)
    assert made.average == 0
    made.waited(10, Holder(b"x", 10.0), helped=True)
    assert made.left() == 30
    made.compiled(1.0)
    assert made.average == 1


class Fake:
    """A backend that notes what it is asked."""

    leases = True

    def __init__(self) -> None:
        self.prolonged: list[list[bytes]] = []

    def lease(self, key: bytes, value: bytes, ms: int) -> bytes | None:
        return value

    def lease_value(self, key: bytes) -> bytes | None:
        return None

    def prolong_leases(self, keys: list[bytes], ms: int) -> None:
        self.prolonged.append(list(keys))

    def end_lease(self, key: bytes, value: bytes, end: bytes, ms: int) -> None:
        raise remote_lease.StorageFailed("away")  # type: ignore[attr-defined]


def test_leases_of_compiles_that_stand_still_or_take_too_long_are_not_renewed() -> None:
    fake, other = Fake(), Fake()
    held = [
        Lease(fake, b"a", b"v", lambda: True, 0.0),  # type: ignore[arg-type]
        Lease(fake, b"b", b"v", lambda: False, 0.0),  # type: ignore[arg-type]
        Lease(fake, b"c", b"v", lambda: True, -5000.0),  # type: ignore[arg-type]
        Lease(other, b"d", b"v", lambda: True, 0.0),  # type: ignore[arg-type]
    ]
    Leases().renew(held, 1.0)
    assert (fake.prolonged, other.prolonged) == ([[b"a"]], [[b"d"]])


def test_a_launcher_that_is_stopped_does_not_work() -> None:
    process = subprocess.Popen(["sleep", "60"])
    remote = SimpleNamespace(
        _job=SimpleNamespace(call=SimpleNamespace(request=SimpleNamespace(pid=process.pid)))
    )

    def works() -> bool:
        return tiers.Remote._works(remote)  # type: ignore[arg-type]

    try:
        assert works()
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        assert not works()
    finally:
        process.kill()
        process.wait()
    assert works(), "of one that has gone the connection tells"


# With a Redis server, in one process: each bench is a machine of its own.


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


class Farm:
    """Machines with one source tree, a cache each, and a compiler that notes its compiles."""

    def __init__(self, root: Path, database: Server, options: str = "") -> None:
        self.root = root
        self.database = database
        self.setting = f"redis://127.0.0.1:{database.port} {options}"
        compiler = root / "bin/gcc"
        compiler.parent.mkdir()
        compiler.write_text(
            "#!/bin/sh\n"
            'case " $* " in *" -c "*)\n'
            f'  s=$(cat {root}/seconds); echo "$*" >> {root}/ran; sleep $s;;\n'
            "esac\n"
            'exec /usr/bin/gcc "$@"\n'
        )
        compiler.chmod(0o755)
        self.take(0)
        (root / "ran").touch()
        self._benches: list[Bench] = []
        (root / "work").mkdir()

    def machine(self) -> Bench:
        place = self.root / f"m{len(self._benches)}"
        bench = Bench(place, Resident()).setup(REMOTE_STORAGE=self.setting)
        bench.variables[b"PATH"] = os.fsencode(f"{self.root}/bin:/usr/bin:/bin")
        bench.variables[b"LC_ALL"] = b"C"
        bench.file("warm.c", "int warm;\n")
        bench.call("-c warm.c -o warm.o")
        self._benches.append(bench)
        return bench

    def machines(self, count: int, seconds: float, **files: str) -> list[Bench]:
        """So many, with these sources (``.c`` is added); a compile takes so long from now on."""
        made = [self.machine() for _ in range(count)]
        for bench in made:
            for name, text in files.items():
                bench.file(f"{name}.c", text)
            bench.resident.remotes.written()
        (self.root / "ran").write_text("")
        self.take(seconds)
        return made

    def take(self, seconds: float) -> None:
        (self.root / "seconds").write_text(str(seconds))

    def ran(self) -> int:
        return len((self.root / "ran").read_text().splitlines())

    def ask(self, *words: str) -> str:
        command = ["redis-cli", "-p", str(self.database.port), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def close(self) -> None:
        for bench in self._benches:
            bench.resident.close()


@pytest.fixture
def farm(tmp_path: Path, database: Server) -> Iterator[Farm]:
    made = Farm(tmp_path, database)
    made.ask("flushall")
    yield made
    made.close()


def compile_at_once(benches: list[Bench], line: str = "-c a.c") -> list[int]:
    with ThreadPoolExecutor(len(benches)) as pool:
        return list(pool.map(lambda bench: bench.call(line), benches))


def counted(benches: list[Bench], name: str) -> int:
    return sum(bench.counters().get(name, 0) for bench in benches)


def test_the_same_at_once_is_compiled_by_one_machine(farm: Farm) -> None:
    benches = farm.machines(6, 0.6, a="int a;\n")
    assert compile_at_once(benches) == [0] * 6
    assert farm.ran() == 1
    assert len({(bench.cwd / "a.o").read_bytes() for bench in benches}) == 1
    assert counted(benches, remote_lease.FOLLOWED) == 5


def test_what_fails_is_tried_by_everybody_at_once(farm: Farm) -> None:
    benches = farm.machines(4, 0.5, a="int a\n")
    began = time.monotonic()
    assert compile_at_once(benches) == [1] * 4
    assert time.monotonic() - began < 4 * 0.5 + 1
    assert farm.ran() == 4
    assert all(b"error" in bench.stderr for bench in benches)


def test_a_holder_who_died_is_followed_by_one(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    benches = farm.machines(4, 0.3, a="int a;\n")
    monkeypatch.setattr(tiers, "LIFE_MS", 1200)
    monkeypatch.setattr(remote_lease.Leases, "renew", lambda *_: None)
    died = farm.machine()
    with_lease = tiers.Remote.follow

    def die(remote: tiers.Remote, talk: object) -> None:
        assert with_lease(remote, talk) is None  # type: ignore[arg-type]
        raise RuntimeError

    # Its lease stays, and nobody renews it.
    monkeypatch.setattr(tiers.Remote, "follow", die)
    died.file("a.c", "int a;\n")
    with pytest.raises(RuntimeError):
        died.call("-c a.c")
    monkeypatch.setattr(tiers.Remote, "follow", with_lease)
    (farm.root / "ran").write_text("")
    farm.take(0.3)
    assert compile_at_once(benches) == [0] * 4
    assert farm.ran() == 1


def test_a_holder_who_does_not_come_to_an_end_is_not_waited_for_for_ever(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_lease, "MOST_LOST", 0.5)
    first, second = farm.machines(2, 2.5, a="int a;\n", b="int b;\n")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(first.call, "-c a.c")
        while not farm.ran():
            time.sleep(0.01)
        farm.take(0)
        began = time.monotonic()
        assert second.call("-c a.c") == 0
        assert 0.5 <= time.monotonic() - began < 2.4
        assert counted([second], remote_lease.NOT_FOLLOWED) == 1
        assert slow.result() == 0
    assert farm.ran() == 2


def test_headers_that_differ_are_no_reason_to_wait_in_turn(farm: Farm) -> None:
    benches = farm.machines(3, 0.4, a='#include "h.h"\nint a = V;\n')
    for number, bench in enumerate(benches):
        bench.file("h.h", f"#define V {number}\n")
    began = time.monotonic()
    assert compile_at_once(benches) == [0] * 3
    assert time.monotonic() - began < 3
    assert farm.ran() == 3
    assert len({(bench.cwd / "a.o").read_bytes() for bench in benches}) == 3


@pytest.mark.parametrize("setting", ["@single-flight=false", "read-only"])
def test_it_can_be_switched_off(tmp_path: Path, database: Server, setting: str) -> None:
    farm = Farm(tmp_path, database, setting)
    farm.ask("flushall")
    benches = farm.machines(2, 0.3, a="int a;\n")
    assert compile_at_once(benches) == [0] * 2
    assert farm.ran() == 2
    assert farm.ask("keys", "pycc:*") == ""
    farm.close()


def test_a_server_that_gives_no_leases_still_stores(tmp_path: Path, database: Server) -> None:
    with redis(tmp_path / "r") as server:
        farm = Farm(tmp_path, server)
        rights = ("on", "nopass", "~ccache:*", "+@all")
        farm.ask("acl", "setuser", "default", "resetkeys", *rights)
        benches = farm.machines(2, 0.2, a="int a;\n")
        assert compile_at_once(benches[:1]) == [0]
        benches[0].resident.remotes.written()
        assert counted(benches[:1], "remote_storage_error") == 0
        assert compile_at_once(benches[1:]) == [0]
        assert farm.ran() == 1
        farm.close()


def test_a_redis_that_stops_while_somebody_waits_costs_one_time_limit(
    tmp_path: Path, database: Server
) -> None:
    with redis(tmp_path / "r") as server:
        farm = Farm(tmp_path, server, "operation-timeout=600")
        first, second = farm.machines(2, 4, a="int a;\n")
        stop = threading.Timer(0.8, server.send, (signal.SIGSTOP,))
        with ThreadPoolExecutor(2) as pool:
            slow = pool.submit(first.call, "-c a.c")
            while not farm.ran():
                time.sleep(0.01)
            farm.take(0)
            stop.start()
            began = time.monotonic()
            assert pool.submit(second.call, "-c a.c").result() == 0
            assert time.monotonic() - began < 0.8 + 0.6 + 2
            assert slow.result() == 0
        assert farm.ran() == 2
        server.send(signal.SIGCONT)
        farm.close()


@pytest.mark.parametrize(
    ("text", "direct"),
    [("int a;\n", False), ("const char *a = __TIMESTAMP__;\n", True)],
)
def test_what_is_found_by_its_text_is_compiled_by_one_machine(
    farm: Farm, text: str, direct: bool
) -> None:
    benches = farm.machines(4, 0.6, a=text)
    for bench in benches:
        bench.configure(**{"DIRECT" if direct else "NODIRECT": "1"})
        os.utime(bench.cwd / "a.c", (1e9, 1e9))
    assert compile_at_once(benches) == [0] * 4
    assert farm.ran() == 1
    assert counted(benches, remote_lease.FOLLOWED) == 3
    assert len({(bench.cwd / "a.o").read_bytes() for bench in benches}) == 1


def test_what_is_no_lease_is_not_waited_for(farm: Farm) -> None:
    """And the storage is used as before."""
    (bench,) = farm.machines(1, 0, a="int a;\n")
    assert bench.call("-c a.c") == 0
    bench.resident.remotes.written()
    names = farm.ask("keys", "pycc:lease:*").split()
    bench.counters()
    for name in names:
        farm.ask("del", name)
        farm.ask("lpush", name, "x")
    farm.ask("del", *farm.ask("keys", "ccache:*").split())
    other = farm.machine()
    other.file("a.c", "int a;\n")
    assert other.call("-c a.c") == 0
    other.resident.remotes.written()
    counts = other.counters()
    assert counts.get("remote_storage_error", 0) == 0
    assert counts["remote_storage_write"] >= 2


def test_leases_go_with_what_they_were_for(farm: Farm) -> None:
    (bench,) = farm.machines(1, 0, a="int a;\n", b="int b\n")
    assert (bench.call("-c a.c"), bench.call("-c b.c")) == (0, 1)
    bench.resident.remotes.written()
    leases = farm.ask("keys", "pycc:lease:*").split()
    assert {farm.ask("get", name) for name in leases} == {"+", "-"}
    assert all(0 < int(farm.ask("pttl", name)) <= remote_lease.DONE_MS for name in leases)
    (remotes,) = bench.resident.remotes._remotes.values()
    assert not remotes.leases._held
