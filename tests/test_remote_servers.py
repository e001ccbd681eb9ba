"""Remote storage with real servers: Redis and nginx; what a build sees when they go."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycc.cache.remote_breaker import Breaker
from pycc.resident import Resident
from tests.compile_kit import Bench
from tests.remote_kit import Server, Web, redis, web
from tests.test_remote_tiers import LOCAL_HIT, MISS, REMOTE_HIT, compiled, counts, forget_locally


@pytest.fixture(scope="module")
def resident() -> Iterator[Resident]:
    resident = Resident()
    yield resident
    resident.close()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis(tmp_path_factory.mktemp("locked"), "--requirepass", "geheim") as server:
        yield server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with web(tmp_path_factory.mktemp("web")) as server:
        yield server


@pytest.fixture
def bench(tmp_path: Path, resident: Resident) -> Bench:
    bench = Bench(tmp_path, resident).setup(LOGFILE=str(tmp_path / "log"))
    bench.file("a.c", f'#include "h.h"\nint x = V; /* {tmp_path} */\n')
    bench.file("h.h", "#define V 1\n")
    return bench


def round_trip(bench: Bench, setting: str) -> str:
    """A miss, a local hit, a remote hit; the log."""
    bench.configure(REMOTE_STORAGE=setting)
    assert compiled(bench) == MISS
    made = (bench.cwd / "a.o").read_bytes()
    assert compiled(bench) == LOCAL_HIT
    forget_locally(bench)
    (bench.cwd / "a.o").unlink()
    assert compiled(bench) == REMOTE_HIT
    assert (bench.cwd / "a.o").read_bytes() == made
    return (bench.root / "log").read_text()


def database_keys(server: Server, *options: str) -> list[str]:
    words = ["redis-cli", "-p", str(server.port), *options, "keys", "ccache:*"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()


def test_redis_keeps_entries_under_ccaches_keys(bench: Bench, database: Server) -> None:
    before = len(database_keys(database))
    round_trip(bench, f"redis://127.0.0.1:{database.port}")
    assert len(database_keys(database)) == before + 2


def test_redis_has_databases_passwords_and_a_unix_socket(bench: Bench, locked: Server) -> None:
    place = f"{locked.place}/s"
    for number, url in enumerate(
        (
            f"redis://geheim@127.0.0.1:{locked.port}/3",
            f"redis://default:geheim@localhost:{locked.port}/4",
            f"redis+unix://geheim@localhost{place}?db=5",
            f"redis://:geheim@127.0.0.1:{locked.port}/6",
        )
    ):
        bench.file("a.c", f'#include "h.h"\nint x{number} = V;\n')
        assert "geheim" not in round_trip(bench, f"{url} connect-timeout=2000")
        database = str(3 + number)
        assert len(database_keys(locked, "--no-auth-warning", "-a", "geheim", "-n", database)) == 2


@pytest.mark.parametrize("who", ["", "falsch@", "no:body@"])
def test_a_password_that_is_refused_breaks_no_build(bench: Bench, locked: Server, who: str) -> None:
    bench.configure(REMOTE_STORAGE=f"redis://{who}127.0.0.1:{locked.port}")
    found = compiled(bench)
    assert (found["cache_miss"], found["remote_storage_error"]) == (1, 1)
    assert "falsch" not in (bench.root / "log").read_text()


def test_a_database_without_room_is_still_read(bench: Bench, tmp_path: Path) -> None:
    with redis(tmp_path / "r") as server:
        bench.configure(REMOTE_STORAGE=f"redis://127.0.0.1:{server.port}")
        assert compiled(bench) == MISS
        words = ["redis-cli", "-p", str(server.port), "config", "set", "maxmemory", "1"]
        subprocess.run(words, check=True, capture_output=True)
        bench.file("b.c", "int y;\n")
        assert compiled(bench, "-c b.c")["remote_storage_error"] == 1
        forget_locally(bench)
        assert compiled(bench) == REMOTE_HIT


def test_a_server_that_was_started_anew_is_asked_at_once(bench: Bench, tmp_path: Path) -> None:
    with redis(tmp_path / "r") as server:
        bench.configure(REMOTE_STORAGE=f"redis://127.0.0.1:{server.port}")
        assert compiled(bench) == MISS
        server.stop()
        server.start()
        forget_locally(bench)
        assert compiled(bench) == MISS, "nothing is there any more, and nothing went wrong"


def test_a_server_that_dies_and_comes_back(bench: Bench, tmp_path: Path) -> None:
    with redis(tmp_path / "r") as server:
        bench.configure(REMOTE_STORAGE=f"redis://127.0.0.1:{server.port}")
        assert compiled(bench) == MISS
        server.stop()
        for name in "bc":
            bench.file(f"{name}.c", f"int {name};\n")
            found = compiled(bench, f"-c {name}.c")
            assert (found["cache_miss"], found["remote_storage_error"]) == (1, 1)


def test_a_server_that_is_stopped_costs_one_time_limit(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is used again when it goes on, without any call waiting for it."""
    watched: list[Breaker] = []
    make = Breaker.__init__

    def kept(
        breaker: Breaker, *what: object, watched_: list[Breaker] = watched, **how: object
    ) -> None:
        make(breaker, *what, **{**how, "watched": True})  # type: ignore[arg-type]
        watched_.append(breaker)

    monkeypatch.setattr(Breaker, "__init__", kept)
    with redis(tmp_path / "r") as server:
        bench.configure(REMOTE_STORAGE=f"redis://127.0.0.1:{server.port} operation-timeout=1500")
        assert compiled(bench) == MISS
        server.send(signal.SIGSTOP)
        start = time.monotonic()
        for name in "bcdef":
            bench.file(f"{name}.c", f"int {name};\n")
            found = compiled(bench, f"-c {name}.c")
            assert (found["cache_miss"], found["remote_storage_timeout"]) == (1, 1)
        assert time.monotonic() - start < 5 * 1.5 - 0.5
        server.send(signal.SIGCONT)
        deadline = time.monotonic() + 10
        while any(breaker.failure() for breaker in watched):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        forget_locally(bench)
        assert compiled(bench) == REMOTE_HIT


@pytest.mark.parametrize(
    ("layout", "pattern"), [("subdirs", "??/*"), ("flat", "*"), ("bazel", "ac/*")]
)
def test_a_web_server_keeps_entries_in_ccaches_layouts(
    bench: Bench, site: Web, layout: str, pattern: str
) -> None:
    where = f"{layout}-{bench.root.name}"
    url = f"http://127.0.0.1:{site.server.port}/{where}"
    log = round_trip(bench, f"{url} layout={layout} @header=X-Team=a%20b @unknown=1")
    assert len(list((site.files / where).glob(pattern))) == 2
    assert f"GET http://127.0.0.1:{site.server.port}/{where}/" in log
    assert "Unknown attribute: unknown" in log


def test_a_web_servers_connection_is_kept(bench: Bench, site: Web) -> None:
    """nginx writes the connection's number into no log; its status would need a module."""
    asked = len(site.requests())
    round_trip(bench, f"http://127.0.0.1:{site.server.port}/kept")
    assert len(site.requests()) - asked == 5, "a manifest that is absent, two puts, two gets"


def test_a_web_server_may_want_a_name_or_a_token(bench: Bench, site: Web) -> None:
    place = f"127.0.0.1:{site.server.port}"
    for number, setting in enumerate(
        (f"http://me:geheim@{place}/private/", f"http://{place}/token @bearer-token=t0ken")
    ):
        bench.file("a.c", f'#include "h.h"\nint x{number} = V;\n')
        log = round_trip(bench, setting)
        assert "geheim" not in log
        assert "t0ken" not in log


def test_who_is_not_known_there_compiles_by_himself(bench: Bench, site: Web) -> None:
    bench.configure(REMOTE_STORAGE=f"http://me:falsch@127.0.0.1:{site.server.port}/private")
    found = compiled(bench)
    assert (found["cache_miss"], found["remote_storage_error"]) == (1, 1)
    log = (bench.root / "log").read_text()
    assert "status code: 401" in log
    assert "falsch" not in log


def test_a_web_server_that_stores_nothing_is_still_read(bench: Bench, site: Web) -> None:
    place = f"127.0.0.1:{site.server.port}"
    bench.configure(REMOTE_STORAGE=f"http://{place}/open")
    assert compiled(bench) == MISS
    bench.configure(REMOTE_STORAGE=f"http://{place}/readable")
    forget_locally(bench)
    assert compiled(bench) == REMOTE_HIT
    bench.file("b.c", "int y;\n")
    assert compiled(bench, "-c b.c")["remote_storage_error"] == 1
    forget_locally(bench)
    assert compiled(bench) == REMOTE_HIT


def test_tls_is_spoken_with_who_proves_its_name(bench: Bench, site: Web) -> None:
    url = f"https://localhost:{site.tls}/tls"
    round_trip(bench, f"{url} @ca-file={site.certificate} connect-timeout=2000")
    bench.configure(REMOTE_STORAGE=f"{url} connect-timeout=2000")
    forget_locally(bench)
    found = compiled(bench)
    assert (found["cache_miss"], found["remote_storage_error"]) == (1, 1)
    assert "CERTIFICATE_VERIFY_FAILED" in (bench.root / "log").read_text()


def test_large_objects_go_both_ways(bench: Bench, site: Web) -> None:
    numbers = ",".join(str(i * 2654435761 % 2**32) for i in range(150_000))
    bench.file("big.c", f"const unsigned int big[] = {{{numbers}}};\n")
    bench.configure(REMOTE_STORAGE=f"http://127.0.0.1:{site.server.port}/large")
    bench.call("-c big.c -o big.o")
    counts(bench)
    made = (bench.cwd / "big.o").read_bytes()
    forget_locally(bench)
    (bench.cwd / "big.o").unlink()
    assert compiled(bench, "-c big.c -o big.o") == REMOTE_HIT
    assert (bench.cwd / "big.o").read_bytes() == made
