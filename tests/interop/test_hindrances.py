"""What stands in the way of a farm, and costs only time: full disks, refusals, missing compilers,
homes that are none. Each build succeeds, and somewhere it is said why it was slower."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import urllib.request
from pathlib import Path

import pytest

from pycc.remote.protocol import Request
from tests.daemon_kit import a_farm, daemon, free_port, wait_for
from tests.e2e.kit import World
from tests.interop.test_pycc_client import farm_counts
from tests.mounting import need_private_mounts

SOURCE = "int f(int a) { return a + 1; }\n"
SERVERS = pytest.mark.parametrize("kind", ["distccd", "pyccd"])


@pytest.fixture
def world(private: World) -> World:
    private.write("a.c", SOURCE)
    return private


def logged(world: World, env: dict[str, str]) -> str:
    """What the client writes for its user, into the file that ``env`` names."""
    path = Path(env["DISTCC_LOG"])
    return path.read_text() if path.exists() else ""


def environment(world: World, hosts: str) -> dict[str, str]:
    log = str(world.root / "distcc.log")
    return {"DISTCC_HOSTS": hosts, "DISTCC_LOG": log}


# Full disks of a server.


def job_of(number: int) -> Request:
    """One whose object is large, and hardly to be packed."""
    text = f'const char d{number}[] = "{secrets.token_urlsafe(60_000)}";\n'
    return Request(1, (b"gcc", b"-c", b"a.c", b"-o", b"a.o"), text.encode())


def object_of(tmp_path: Path, request: Request) -> bytes:
    (tmp_path / "a.i").write_bytes(request.text)
    subprocess.run(["gcc", "-c", "a.i", "-o", "out.o"], cwd=tmp_path, check=True)
    return (tmp_path / "out.o").read_bytes()


def mount(name: str, size: str) -> str:
    """A small file system of its own, for anyone to write in."""
    return f"mkdir -p $PLACE/{name}; mount -t tmpfs -o size={size},mode=1777 none $PLACE/{name}\n"


FILL = "head -c 10M /dev/zero > $PLACE/cache/filler 2>/dev/null || true\n"


def test_a_server_whose_cache_has_no_room_at_its_start(as_root: None, tmp_path: Path) -> None:
    need_private_mounts()
    with a_farm(mounts=mount("cache", "64k") + FILL) as farm:
        request = job_of(1)
        for _ in range(2):
            reply = farm.ask(request)
            assert (reply.status, reply.object) == (0, object_of(tmp_path, request))
        assert farm.log.count("compiling without a cache") == 1
        assert "No space left on device; make room there" in farm.log
        wait_for(lambda: farm.log.count("cache:off") == 2)


@pytest.mark.parametrize("size", ["200k", "600k"])
def test_a_server_whose_cache_fills_up(as_root: None, tmp_path: Path, size: str) -> None:
    need_private_mounts()
    port = free_port()
    words = ("--stats", "--stats-port", str(port))
    with a_farm(*words, mounts=mount("cache", size)) as farm:

        def faults() -> dict[str, int]:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=10) as answered:
                found: dict[str, int] = json.load(answered)["cache_faults"]
            return found

        for number in range(15):
            request = job_of(number)
            expected = object_of(tmp_path, request)
            for _ in range(2):  # the second may be answered from what waits to be written
                reply = farm.ask(request)
                assert (reply.status, reply.object, reply.err) == (0, expected, b"")
        # What went wrong is told with a later job.
        wait_for(lambda: farm.ask(request).status == 0 and faults().get("full", 0) > 0)
        assert farm.log.count("there is no room left, so results are not kept") == 1


def test_a_server_whose_temporary_directory_has_no_room(as_root: None, tmp_path: Path) -> None:
    need_private_mounts()
    with a_farm(mounts=mount("tmp", "100k"), TMPDIR="$PLACE/tmp") as farm:
        small = Request(1, (b"gcc", b"-c", b"a.c", b"-o", b"a.o"), SOURCE.encode())
        for number in range(3):
            text = job_of(number).text * 4
            reply = farm.ask(Request(1, small.argv, text))
            assert reply.status == 110 << 8
            assert b"no room to run /usr/bin/gcc: No space left on device" in reply.err
            # Nothing of it is left: the next one that fits is compiled.
            assert farm.ask(small).object == object_of(tmp_path, small)
        assert farm.log.count("no room to run /usr/bin/gcc: No space left on device") == 3


@pytest.mark.parametrize(
    ("text", "count", "why"),
    [
        # The text does not fit …
        (f'const char d[] = "{secrets.token_urlsafe(150_000)}";\n', "refused", "running locally"),
        # … or what is made of it does not.
        ("char d[300000] = {1};\n", "retried", "failed, retrying locally"),
    ],
)
def test_a_build_with_such_a_server(
    world: World, as_root: None, text: str, count: str, why: str
) -> None:
    need_private_mounts()
    # What may ask for the date is sent as preprocessed text: else it needs no room.
    world.write("a.c", f"/* __DATE__ */\n{text}")
    with a_farm(mounts=mount("tmp", "100k"), TMPDIR="$PLACE/tmp") as farm:
        env = environment(world, f"127.0.0.1:{farm.port}")
        world.compare("gcc", "-c", "a.c", env=env)
        assert farm_counts(world, env) == {count: 1}
        assert why in logged(world, env)
        # It is not avoided for that.
        world.write("b.c", SOURCE)
        world.compare("gcc", "-c", "b.c", env=env)
        assert farm_counts(world, env) == {count: 1, "compiled": 1}


def test_a_stock_client_of_such_a_server(as_root: None) -> None:
    need_private_mounts()
    with a_farm(mounts=mount("tmp", "100k"), TMPDIR="$PLACE/tmp") as farm:
        farm.write("a.c", f'const char d[] = "{secrets.token_urlsafe(150_000)}";\n')
        done = farm.distcc("gcc", "-c", "a.c", DISTCC_FALLBACK="1")
        assert done.returncode == 0
        assert b"retried locally" in done.stderr
        assert re.search("no room to run .*: No space left on device", farm.log)
        subprocess.run(["gcc", "-c", "a.c", "-o", "b.o"], cwd=farm.place / "project", check=True)
        assert farm.read("a.o") == farm.read("b.o")


# Servers that do not want the job, or cannot do it.


@SERVERS
def test_a_denied_address(world: World, kind: str) -> None:
    with daemon(kind, allow="10.99.99.99") as server:
        env = environment(world, server.host())
        world.compare("gcc", "-Wall", "-c", "a.c", env=env)
        assert farm_counts(world, env) == {"unreachable": 1}
        said = logged(world, env)
        assert "Is the server configured to allow access from your IP address?" in said
        assert "failed to distribute, running locally instead" in said
        wait_for(lambda: "denied by access list" in server.log)


@SERVERS
def test_a_compiler_that_the_server_does_not_have(world: World, kind: str) -> None:
    name = "odd-vendor-gcc"
    (world.root / "odd").mkdir()
    (world.root / "odd" / name).symlink_to("/usr/bin/gcc")
    world.install.link(name)
    with daemon(kind) as server:
        env = environment(world, server.host())
        env["PATH"] = f"{world.install.links}:{world.root}/odd:/usr/bin:/bin"
        world.compare(name, "-c", "a.c", env=env)
        # distccd closes the connection, and cannot be told from one that is broken.
        expected = {"pyccd": "refused", "distccd": "unreachable"}[kind]
        assert farm_counts(world, env) == {expected: 1}
        assert "running locally instead" in logged(world, env)
        why = {"pyccd": f"failed to exec {name}: No such file or directory", "distccd": "whitelist"}
        wait_for(lambda: why[kind] in server.log)


def test_a_compiler_that_the_server_cannot_run(world: World) -> None:
    """It is there, and allowed, and broken."""
    with a_farm(compiler="echo broken >&2; exit 126") as farm:
        env = environment(world, f"127.0.0.1:{farm.port}")
        env["DISTCC_NO_REWRITE_CROSS"] = "1"
        world.compare("gcc", "-c", "a.c", env=env)
        assert farm_counts(world, env) == {"other_compiler": 1, "unreachable": 1}
        assert "has another compiler than this machine" in logged(world, env)


# Homes.


@pytest.mark.parametrize("resident", ["1", "0"])
@pytest.mark.parametrize("home", ["/dev/null", "/proc/nowhere"])
def test_a_client_without_a_home(world: World, home: str, resident: str) -> None:
    with daemon("pyccd") as server:
        env: dict[str, str | None] = {
            **environment(world, server.host()),
            "HOME": home,
            "CCACHE_DIR": None,
            "PYCC_RESIDENT": resident,
        }
        outcome = world.compare("gcc", "-Wall", "-c", "a.c", env=env)
        assert outcome.done.status == 0
        # Twice, unless a launcher on a busy machine has not waited for its server.
        wait_for(server.summaries)
        assert {line.split()[0] for line in server.summaries()} == {"COMPILE_OK"}
