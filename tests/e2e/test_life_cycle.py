"""The resident server's life: start, race, upgrade, idleness, crash, and servers that lie."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.kit import (
    SYSTEM_PATH,
    Install,
    World,
    install,
    wait_until,
    with_server_script,
    world_in,
)

SOURCE = "int f(int x) { int unused; return x + 1; }\n"
WORDS = ("gcc", "-Wall", "-c", "a.c")


@pytest.fixture
def world(private: World) -> World:
    return private


@pytest.fixture(scope="module")
def other_build(tmp_path_factory: pytest.TempPathFactory) -> Install:
    return install(tmp_path_factory.mktemp("other"), identity="other0123456789a")


@pytest.fixture(scope="module")
def counting(installed: Install, tmp_path_factory: pytest.TempPathFactory) -> Install:
    """Its server leaves a line in ``starts`` of its prefix for every start."""
    prefix = tmp_path_factory.mktemp("counting")
    text = f'echo start >>{prefix}/starts; exec "$SERVER" "$@"'
    return with_server_script(installed, prefix, text)


def slow_compiler(world: World, seconds: float = 0.5) -> dict[str, str]:
    """The environment of a gcc that takes its time and leaves a file when it has started."""
    script = world.script(
        "slow/gcc",
        f'case " $* " in *" -c "*) touch {world.root}/started; sleep {seconds};; esac\n'
        'exec /usr/bin/gcc "$@"',
    )
    return {"PATH": f"{world.install.links}:{script.parent}:{SYSTEM_PATH}"}


def popen(world: World, *words: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words,
        executable=world.install.links / words[0],
        env=world.environment(env),
        cwd=world.src,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


# ---- start and end -------------------------------------------------------------------------


def test_the_first_call_starts_the_server_and_is_answered_by_it(world: World) -> None:
    world.eager = False
    world.write("a.c", SOURCE)
    world.compare(*WORDS)
    assert len(world.servers()) == 1


def test_thirty_launchers_at_once_start_one_server(counting: Install, tmp_path: Path) -> None:
    with world_in(counting, tmp_path) as world:
        world.eager = False
        for number in range(30):
            world.write(f"{number}.c", f"int v = {number};\n")
        calls = [popen(world, "gcc", "-c", f"{n}.c") for n in range(30)]
        ends = [(call.communicate(timeout=60), call.returncode) for call in calls]
        assert ends == [((b"", b""), 0)] * 30
        assert len(world.servers()) == 1
        assert (counting.prefix / "starts").read_text() == "start\n"
        assert len(list(world.src.glob("*.o"))) == 30


def test_words_for_us_are_left_out_where_no_server_comes(
    installed: Install, tmp_path: Path
) -> None:
    broken = with_server_script(installed, tmp_path / "broken", "exit 1")
    with world_in(broken, tmp_path) as world:
        world.eager = False
        world.write("a.c", SOURCE)
        done = world.gcc("--ccache-skip", "-DX=1", "-c", "a.c")
        assert (done.status, done.err) == (0, b"")
        assert (world.src / "a.o").exists()


def test_the_server_has_nothing_of_the_client(world: World) -> None:
    world.write("a.c", SOURCE)
    world.eager = False
    world.gcc("-c", "a.c", env={"SECRET": "1"})
    process = Path("/proc", str(world.server()))
    assert process.joinpath("environ").read_bytes() == b""
    assert os.readlink(process / "cwd") == "/"
    targets = []
    for descriptor in process.joinpath("fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # what it is just loading
            targets.append(os.readlink(descriptor))
    assert not [target for target in targets if target.startswith(str(world.src))]
    stat = process.joinpath("stat").read_text().rpartition(")")[2].split()
    assert int(stat[3]) != os.getsid(0)
    assert int(stat[4]) == 0  # no controlling terminal


def test_many_cache_directories_do_not_use_up_its_descriptors(world: World) -> None:
    """Each takes four, and the session that starts the server may allow few."""
    world.eager = False
    world.write("a.c", SOURCE)
    for round_ in range(2):
        for number in range(20):
            env = {"CCACHE_DIR": str(world.root / f"cache{number}")}
            done = world.call("sh", "-c", "ulimit -Sn 60; exec gcc -c a.c", env=env)
            assert done.status == 0
            if round_:
                assert world.stats(env)["direct_cache_hit"] == 1
    limits = Path("/proc", str(world.server()), "limits").read_text()
    (line,) = (line for line in limits.splitlines() if line.startswith("Max open files"))
    assert int(line.split()[3]) > 60


def test_an_idle_server_leaves_and_nothing_is_lost(installed: Install, tmp_path: Path) -> None:
    short = with_server_script(installed, tmp_path / "short", 'exec "$SERVER" "$@" 0.3')
    (tmp_path / "world").mkdir()
    with world_in(short, tmp_path / "world") as world:
        world.write("a.c", SOURCE)
        world.gcc("-c", "a.c")
        wait_until(lambda: not world.servers())
        assert not world.sockets()
        assert not world.leftovers()
        world.gcc("-c", "a.c")
        assert world.stats()["direct_cache_hit"] == 1


def test_a_server_with_a_compile_under_way_is_not_idle(installed: Install, tmp_path: Path) -> None:
    short = with_server_script(installed, tmp_path / "short", 'exec "$SERVER" "$@" 0.2')
    (tmp_path / "world").mkdir()
    with world_in(short, tmp_path / "world") as world:
        world.write("a.c", SOURCE)
        env = slow_compiler(world, 2.5)
        world.gcc("-c", "a.c", env=env)
        world.gcc("-c", "a.c", env=env)
        assert world.stats(env)["direct_cache_hit"] == 1


def test_stop_server_ends_it_after_what_runs(world: World) -> None:
    world.write("a.c", SOURCE)
    env = slow_compiler(world)
    pid = world.server()
    call = popen(world, *WORDS, env=env)
    wait_until((world.root / "started").exists)
    assert world.call(world.install.launcher, "--stop-server").status == 0
    assert call.wait(10) == 0
    call.communicate()
    wait_until(lambda: pid not in world.servers())
    world.gcc(*WORDS[1:], env=env)
    assert world.stats(env)["direct_cache_hit"] == 1


def test_another_build_makes_the_old_server_leave(world: World, other_build: Install) -> None:
    world.write("a.c", SOURCE)
    env = slow_compiler(world, 1.0)
    old = world.server()
    call = popen(world, *WORDS, env=env)
    wait_until((world.root / "started").exists)
    world.install = other_build
    world.start()
    assert call.wait(10) == 0  # what the old one had begun it finished
    call.communicate()
    wait_until(lambda: old not in world.servers())
    (new,) = world.servers()
    assert new != old
    env["PATH"] = f"{other_build.links}:{world.root}/slow:{SYSTEM_PATH}"
    world.gcc(*WORDS[1:], env=env)
    assert world.stats(env)["direct_cache_hit"] == 1
    assert not world.leftovers()


def test_a_removed_socket_makes_the_server_leave(world: World) -> None:
    old = world.server()
    (path,) = world.sockets()
    path.unlink()
    world.start()
    wait_until(lambda: old not in world.servers())


def test_status_names_process_and_socket(world: World) -> None:
    pid = world.server()
    text = world.call(world.install.launcher, "--server-status").out.decode()
    (path,) = world.sockets()
    assert str(pid) in text
    assert str(path) in text


# ---- crash ---------------------------------------------------------------------------------


def test_a_server_killed_during_a_compile_costs_nothing_but_the_caching(world: World) -> None:
    world.write("a.c", SOURCE)
    env = slow_compiler(world)
    bare = world.call(*WORDS, bare=True)
    expected = (world.src / "a.o").read_bytes()
    (world.src / "a.o").unlink()
    world.server()
    call = popen(world, *WORDS, env=env)
    wait_until((world.root / "started").exists)
    world.kill_server()
    out, err = call.communicate(timeout=30)
    assert (call.returncode, out, err) == (bare.status, bare.out, bare.err)
    assert (world.src / "a.o").read_bytes() == expected
    world.start()
    assert not world.leftovers()


@pytest.mark.parametrize("text", [SOURCE, "int f( {\n"])
def test_a_compile_survives_its_server_and_the_start_of_another(world: World, text: str) -> None:
    world.write("a.c", text)
    env = slow_compiler(world, 2.0)
    bare = world.call(*WORDS, bare=True)
    world.server()
    call = popen(world, *WORDS, env=env)
    wait_until((world.root / "started").exists)
    world.kill_server()
    world.start()
    out, err = call.communicate(timeout=30)
    assert (call.returncode, out, err) == (bare.status, bare.out, bare.err)


def test_launchers_that_wait_for_a_killed_server_compile_all_the_same(world: World) -> None:
    for number in range(10):
        world.write(f"{number}.c", f"int v = {number};\n")
    pid = world.server()
    os.kill(pid, signal.SIGSTOP)
    calls = [popen(world, "gcc", "-c", f"{n}.c") for n in range(10)]
    time.sleep(0.2)
    world.kill_server()
    assert [(c.communicate(timeout=60), c.returncode) for c in calls] == [((b"", b""), 0)] * 10
    for number in range(10):
        made = (world.src / f"{number}.o").read_bytes()
        world.call("gcc", "-c", f"{number}.c", bare=True)
        assert (world.src / f"{number}.o").read_bytes() == made
    world.start()
    assert len(world.servers()) == 1
    assert not world.leftovers()


def test_the_next_call_after_a_crash_starts_a_server_and_hits(world: World) -> None:
    world.write("a.c", SOURCE)
    world.gcc("-c", "a.c")
    world.stats()
    world.kill_server()
    world.compare("gcc", "-c", "a.c")
    assert len(world.servers()) == 1


def test_a_server_that_does_not_start_costs_no_call(installed: Install, tmp_path: Path) -> None:
    broken = with_server_script(installed, tmp_path / "broken", "exit 1")
    (tmp_path / "world").mkdir()
    with world_in(broken, tmp_path) as world:
        world.eager = False
        world.write("a.c", SOURCE)
        world.compare(*WORDS)


def test_a_server_that_hangs_at_its_start_costs_a_second(
    installed: Install, tmp_path: Path
) -> None:
    hanging = with_server_script(
        installed, tmp_path / "hanging", f"echo $$ >{tmp_path}/pid; sleep 8"
    )
    (tmp_path / "world").mkdir()
    with world_in(hanging, tmp_path / "world") as world:
        world.eager = False
        world.write("a.c", SOURCE)
        before = time.monotonic()
        world.compare(*WORDS, times=1)
        assert time.monotonic() - before < 5
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_stopped_server_costs_a_second_once(world: World) -> None:
    world.write("a.c", SOURCE)
    world.compare(*WORDS)
    old = world.server()
    os.kill(old, signal.SIGSTOP)
    before = time.monotonic()
    world.compare(*WORDS, times=1)
    assert 0.5 < time.monotonic() - before < 4
    world.start()
    new = [pid for pid in world.servers() if pid != old]
    assert len(new) == 1
    world.compare(*WORDS)
    os.kill(old, signal.SIGCONT)
    wait_until(lambda: world.servers() == new)
    world.compare(*WORDS)
    assert len(world.sockets()) == 1


# ---- a server that lies --------------------------------------------------------------------

MAGIC, REPLY = 0x31435950, 3


def frame(*ops: tuple[int, bytes]) -> bytes:
    body = b""
    for op, payload in ops:
        body += struct.pack("<II", op, len(payload)) + payload + b"\0" * (-len(payload) % 4)
    return struct.pack("<III", 12 + len(body), MAGIC, REPLY) + body


def write_op(path: bytes, data: bytes) -> tuple[int, bytes]:
    return 1, struct.pack("<IIII", 0, 0o666, len(path), len(data)) + path + b"\0" + data


EXIT_0 = (5, struct.pack("<I", 0))
CUT = frame(write_op(b"a.o", b"half an object" * 100), EXIT_0)

ANSWERS = {
    "nothing": b"",
    "text": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "zeros": bytes(64),
    "header only": CUT[:12],
    "half a frame": CUT[: len(CUT) // 2],
    "all but a byte": CUT[:-1],
    "a huge length": struct.pack("<III", 0xFFFFFFF0, MAGIC, REPLY),
    "too short a length": struct.pack("<III", 4, MAGIC, REPLY),
    "another kind": struct.pack("<III", 12, MAGIC, 1),
    "no operation": frame(),
    "an unknown operation": frame((99, b"")),
    "an operation without end": frame((2, struct.pack("<I", 1) + b"")),
    "a write that is too long": frame((1, struct.pack("<IIII", 0, 0o666, 3, 1 << 30) + b"a.o\0")),
    "a run of nothing": frame((3, struct.pack("<IIII", 0, 0, 0, 0) + b"\0")),
    "strings that do not end": frame((3, struct.pack("<IIII", 32, 2, 0, 0) + b"\0/bin/true")),
    "fall back": frame((9, b"")),
}


@pytest.fixture
def fake(world: World) -> Iterator[tuple[World, socket.socket]]:
    """A listening socket of ours under the real server's name."""
    world.write("a.c", SOURCE)
    world.server()
    (path,) = world.sockets()
    world.kill_server()
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(16)
        yield world, listener


def serve(listener: socket.socket, answer: bytes, hang: float = 0.0) -> None:
    """Answer every connection with these bytes until the listener is shut down."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(5)
            try:
                connection.recv(1 << 20)
                connection.sendall(answer)
                time.sleep(hang)
            except OSError:
                pass


@pytest.mark.parametrize("name", ANSWERS)
def test_nonsense_from_a_server_is_as_good_as_none(
    fake: tuple[World, socket.socket], name: str
) -> None:
    world, listener = fake
    with ThreadPoolExecutor(1) as pool:
        pool.submit(serve, listener, ANSWERS[name])
        try:
            world.compare(*WORDS, times=1)
        finally:
            listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("name", ["nothing", "half a frame"])
def test_a_server_that_stops_talking_costs_a_second(
    fake: tuple[World, socket.socket], name: str
) -> None:
    world, listener = fake
    with ThreadPoolExecutor(1) as pool:
        pool.submit(serve, listener, ANSWERS[name], 2.0)
        try:
            before = time.monotonic()
            world.compare(*WORDS, times=1)
            assert time.monotonic() - before < 4
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def test_after_the_users_own_command_nonsense_cannot_run_it_again(
    fake: tuple[World, socket.socket],
) -> None:
    world, listener = fake
    script = world.script("count/gcc", f'echo x >>{world.root}/runs; exec /usr/bin/gcc "$@"')
    argv = [str(script).encode(), *(word.encode() for word in WORDS[1:])]
    run = struct.pack("<IIII", 1 | 4 | 32, len(argv), 0, 0) + b"\0"
    run += b"".join(word + b"\0" for word in argv)
    bare = world.call(*WORDS, bare=True)
    expected = (world.src / "a.o").read_bytes()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(serve, listener, frame((3, run)))
        try:
            done = world.call(*WORDS)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    assert done == bare
    assert (world.src / "a.o").read_bytes() == expected
    assert (world.root / "runs").read_text() == "x\n"


def test_half_a_request_does_not_hurt_the_server(world: World) -> None:
    world.may_complain = True
    world.write("a.c", SOURCE)
    world.server()
    (path,) = world.sockets()
    silent = []
    for data in (b"", b"\0", b"GET / HTTP/1.0\r\n\r\n", struct.pack("<III", 1 << 20, MAGIC, 1)):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(path))
        client.sendall(data)
        silent.append(client)
    try:
        world.compare(*WORDS)
        assert world.stats()["direct_cache_hit"] == 1
    finally:
        for client in silent:
            client.close()
    assert len(world.servers()) == 1
