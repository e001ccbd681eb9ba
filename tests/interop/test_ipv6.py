"""IPv6: our client and the stock one, our daemon and the stock one."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.daemon_kit import Daemon, daemon, wait_for
from tests.e2e.kit import World
from tests.interop.kit import WAYS, farm_counts, write_sources
from tests.interop.test_tls import Papers, papers

__all__ = ["papers"]


def _there() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not _there(), reason="there is no IPv6 here")


@pytest.fixture(scope="module", params=["distccd", "pyccd"])
def server(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    with daemon(request.param, "--listen", "::1", "--allow", "::1") as made:
        yield made


def compiled(world: World, env: dict[str, str]) -> int:
    counts = farm_counts(world, env)
    return sum(counts.get(name, 0) for name in ("compiled", "exact", "known"))


@WAYS
def test_the_stock_client(server: Daemon, options: str) -> None:
    write_sources(server.place / "project")
    hosts = f"[::1]:{server.port}/4{options}"
    done = server.distcc("gcc", "-O2", "-c", "a.c", "-o", "made", DISTCC_HOSTS=hosts)
    assert (done.returncode, done.stderr) == (0, b"")
    if server.kind == "pyccd":
        wait_for(lambda: "client: [::1]:" in server.log)


@WAYS
def test_our_client(world: World, server: Daemon, options: str) -> None:
    env = {"DISTCC_HOSTS": f"[::1]:{server.port}/4{options}"}
    world.write("a.c", f"int of_{len(options)}(void) {{ return 1; }}\n")
    world.compare("gcc", "-O2", "-c", "a.c", env=env)
    assert compiled(world, env) == 1


@pytest.mark.parametrize(
    ("listen", "allow", "reached"),
    [
        ("::", "127.0.0.1 ::1", {"127.0.0.1", "[::1]"}),
        ("::", "127.0.0.1", {"127.0.0.1"}),
        ("::", "::1", {"[::1]"}),
        ("", "127.0.0.1 ::1", {"127.0.0.1", "[::1]"}),
        ("127.0.0.1", "127.0.0.1 ::1", {"127.0.0.1"}),
    ],
)
def test_who_reaches_which_address(
    world: World, listen: str, allow: str, reached: set[str]
) -> None:
    words = [word for address in allow.split() for word in ("--allow", address)]
    found = set()
    # What the kit allows is the same for all.
    with daemon("pyccd", f"--listen={listen}", *words, allow="10.0.0.0/8") as server:
        for number, host in enumerate(("127.0.0.1", "[::1]")):
            env = {"DISTCC_HOSTS": f"{host}:{server.port}"}
            world.write("a.c", f"int number{number}_{len(listen)}_{len(allow)};\n")
            before = compiled(world, env)
            assert world.call("gcc", "-c", "a.c", env=env).status == 0
            if compiled(world, env) > before:
                found.add(host)
    assert found == reached


def test_with_tls(world: World, papers: Papers) -> None:
    shown = papers.ours.sign("six", alternative="IP:::1")
    with daemon("pyccd", "--listen", "::1", "--allow", "::1", *papers.serving(shown)) as server:
        env = {**papers.variables(), "DISTCC_HOSTS": f"[::1]:{server.port},tls"}
        world.compare("gcc", "-c", "a.c", env=env)
        assert compiled(world, env) == 1


def test_nobody_there(world: World) -> None:
    log = world.root / "distcc.log"
    env = {"DISTCC_HOSTS": "[::1]:1", "DISTCC_LOG": str(log)}
    world.compare("gcc", "-c", "a.c", env=env, times=1)
    assert "failed to connect to [::1]:1: Connection refused" in log.read_text()
