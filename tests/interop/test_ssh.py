"""Hosts behind a real sshd: our client and the stock one, our daemon and the stock one."""

from __future__ import annotations

import getpass
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from pycc.remote.client_settings import read_settings
from pycc.remote.protocol import EXACT_OFFERED, HELLO, OURS_PLAIN, Request
from pycc.remote.transport import Conversation, Ways
from tests.daemon_kit import DISTCC, ENVIRONMENT, alive, daemon, free_port, open_place, wait_for
from tests.e2e.kit import World
from tests.interop.kit import SOURCE, WAYS, farm_counts, of_the_text, write_sources
from tests.interop.sshd_kit import Sshd, an_sshd

KINDS = pytest.mark.parametrize("kind", ["distccd", "pyccd"])


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with an_sshd() as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def no_master_is_left(long_lived: World, sshd: Sshd) -> Iterator[None]:
    yield
    for path in masters(long_lived):
        asked = ["ssh", "-O", "exit", "-S", str(path), "farm"]
        subprocess.run(asked, stderr=subprocess.DEVNULL, check=False)
    # Also those that no socket leads to any more.
    place = os.fsencode(sshd.place)
    wait_for(lambda: not processes_with(place, b"ControlPersist"))


def processes_with(*words: bytes) -> list[str]:
    """Those in whose command lines all of the words are."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (directory / "cmdline").read_bytes()
            if all(word in line for word in words):
                found.append(directory.name)
    return found


def masters(world: World) -> set[Path]:
    return {path for path in world.run_dir.glob("ssh-*") if path.is_socket()}


@WAYS
def test_the_stock_client(sshd: Sshd, options: str) -> None:
    with open_place() as place:
        write_sources(place)
        done = subprocess.run(
            [DISTCC, "gcc", "-O2", "-c", "a.c", "-o", "made"],
            cwd=place,
            env={
                **ENVIRONMENT,
                **sshd.client().variables(sshd.daemons["pyccd"], options=options),
                "DISTCC_DIR": str(place),
                "DISTCC_FALLBACK": "0",
            },
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        subprocess.run(["gcc", "-O2", "-c", "a.c", "-o", "here"], cwd=place, check=True)
        assert (place / "made").read_bytes() == (place / "here").read_bytes()
    assert "client: standard input COMPILE_OK exit:0" in sshd.daemons_log("pyccd")


@WAYS
@KINDS
def test_our_client(world: World, sshd: Sshd, kind: str, options: str) -> None:
    env = sshd.client().variables(sshd.daemons[kind], options=options)
    done = world.call("gcc", "-O2", "-Wall", "-c", "a.c", "-o", "made.o", env=env)
    assert done.status == 0, done
    made = (world.src / "made.o").read_bytes(), done.err
    expected = {"compiled": of_the_text(world, "gcc", ["-O2", "-Wall"], "a.c")}
    if kind == "pyccd":  # it is sent the source if it has said in time who it is
        plain = world.call("gcc", "-O2", "-Wall", "-c", "a.c", "-o", "made.o", bare=True)
        expected["exact"] = (world.src / "made.o").read_bytes(), plain.err
        expected["known"] = expected["exact"]  # from another test
    counts = farm_counts(world, env)
    assert [(made, 1)] == [(expected[name], count) for name, count in counts.items()], counts


def test_exact_jobs_follow_each_other_on_one_pair_of_pipes(world: World, sshd: Sshd) -> None:
    env = sshd.client().variables(sshd.daemons["pyccd"])
    probe = Ways()
    settings = read_settings({k.encode(): v.encode() for k, v in env.items()}, lambda _: None)
    assert settings.hosts is not None
    with probe.connect(settings.hosts.hosts[0], settings) as connection:
        talk = Conversation(connection, 60)
        for _ in range(2):
            talk.send(Request(OURS_PLAIN, (HELLO,)))
            said = talk.receive(OURS_PLAIN).out
    if EXACT_OFFERED not in said:
        pytest.skip("this machine does not run exact jobs")
    number = 0
    while "exact" not in farm_counts(world, env):  # until the daemon has said who it is
        assert number < 20
        number += 1
        world.write("a.c", SOURCE.replace("int f", f"int f{number}"))
        world.compare("gcc", "-O2", "-c", "a.c", env=env, times=1)
    before = sshd.sessions
    for number in range(30, 33):
        world.write("a.c", SOURCE.replace("int f", f"int f{number}"))
        world.compare("gcc", "-O2", "-c", "a.c", env=env, times=1)
    assert farm_counts(world, env)["exact"] >= 4
    assert sshd.sessions == before


def test_jobs_share_a_connection(world: World, sshd: Sshd) -> None:
    env = sshd.client().variables(sshd.daemons["distccd"], 20)
    before, known = sshd.connections, masters(world)
    jobs = 14
    for number in range(jobs):
        world.write(f"{number}.c", f"int f{number} = {number};\n")
    with ThreadPoolExecutor(jobs) as pool:
        done = list(pool.map(lambda n: world.call("gcc", "-c", f"{n}.c", env=env), range(jobs)))
    assert [one.status for one in done] == [0] * jobs
    assert farm_counts(world, env) == {"compiled": jobs}
    assert sshd.connections - before <= 2  # a connection takes eight
    before = sshd.connections
    world.write("later.c", "int later;\n")
    assert world.call("gcc", "-c", "later.c", env=env).status == 0
    assert sshd.connections == before
    ours = masters(world) - known
    assert ours
    assert all(path.stat().st_mode & 0o077 == 0 for path in ours)


def test_a_connection_that_has_died_is_made_anew(world: World, sshd: Sshd) -> None:
    env = sshd.client().variables(sshd.daemons["distccd"])
    known = masters(world)
    assert world.call("gcc", "-c", "a.c", env=env).status == 0
    (path,) = masters(world) - known
    asked = subprocess.run(
        ["ssh", "-O", "check", "-S", str(path), "farm"],
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    master = int(asked.stderr.partition("pid=")[2].partition(")")[0])
    os.kill(master, signal.SIGKILL)
    wait_for(lambda: not alive(master))
    world.write("b.c", SOURCE.replace("int f", "int g"))
    assert world.call("gcc", "-c", "b.c", env=env).status == 0
    assert farm_counts(world, env) == {"compiled": 2}


def test_the_users_own_sharing_is_left_alone(world: World, sshd: Sshd) -> None:
    own = sshd.client("ControlMaster no", f"ControlPath {sshd.place}/own")
    env = own.variables(sshd.daemons["distccd"])
    known = masters(world)
    assert world.call("gcc", "-c", "a.c", env=env).status == 0
    assert farm_counts(world, env) == {"compiled": 1}
    assert masters(world) == known


def test_another_program_gets_distccs_words(world: World, sshd: Sshd) -> None:
    words = world.root / "words"
    client, user = sshd.client(), getpass.getuser()
    text = f'printf "%s\\n" "$@" > {words}\nshift\nexec {client.ssh} "$@"'
    script = world.script("reach", text)
    env = {
        "DISTCC_HOSTS": f"{user}@{client.host}:{sshd.daemons['distccd']}",
        "DISTCC_SSH": f"{script}  -q",
    }
    assert world.call("gcc", "-c", "a.c", env=env).status == 0
    assert words.read_text().split() == [
        *("-q", "-l", user, client.host),
        *(sshd.daemons["distccd"], "--inetd", "--enable-tcp-insecure"),
    ]
    assert farm_counts(world, env) == {"compiled": 1}


@pytest.mark.parametrize(
    ("trouble", "shared", "why"),
    [
        ("unknown", True, "ssh failed: Host key verification failed."),
        ("changed", False, "ssh failed: Host key verification failed."),
        ("stranger", True, "Permission denied (publickey)"),
        ("user", False, "Permission denied (publickey)"),
        ("down", True, "Connection refused"),
        ("down", False, "Connection refused"),
        ("name", True, "Could not resolve hostname"),
        ("command", True, "no-such-daemon was not found there"),
        ("command", False, "no-such-daemon was not found there"),
        ("program", True, "failed to run no-such-ssh: No such file or directory; install it or"),
    ],
)
def test_who_cannot_be_reached_costs_nothing(
    world: World, sshd: Sshd, trouble: str, why: str, shared: bool
) -> None:
    client = sshd.client(
        *([] if shared else [f"ControlPath {sshd.place}/own"]),
        known=trouble if trouble in ("unknown", "changed") else "known",
        key="stranger" if trouble == "stranger" else "key",
    )
    text = client.config.read_text()
    if trouble == "down":
        text = text.replace(str(sshd.port), str(free_port()))
    elif trouble == "name":
        text = text.replace("127.0.0.1", "no-such-host.invalid")
    client.config.write_text(text)
    log = world.root / "distcc.log"
    env = {
        "DISTCC_HOSTS": f"@{client.host}",
        "DISTCC_SSH": "no-such-ssh" if trouble == "program" else client.ssh,
        "DISTCC_LOG": str(log),
    }
    if trouble in ("command", "user"):
        word = {"command": f"@{client.host}:no-such-daemon", "user": f"nobody-there@{client.host}"}
        env["DISTCC_HOSTS"] = word[trouble]
    before = children(world)
    world.compare("gcc", "-c", "a.c", env=env)
    assert farm_counts(world, env) == {"unreachable": 1}
    assert why in log.read_text()
    wait_for(lambda: children(world) <= before)


def children(world: World) -> set[int]:
    """Of the server: connections that are in use, and those that wait for the next job."""
    found: set[int] = set()
    for thread in Path(f"/proc/{world.server()}/task").iterdir():
        with suppress(OSError):
            found |= {int(word) for word in (thread / "children").read_text().split()}
    return found


@pytest.mark.parametrize("shared", [True, False])
def test_ssh_goes_with_whom_it_works_for(world: World, sshd: Sshd, shared: bool) -> None:
    """The user presses Ctrl-C while the other side compiles."""
    client = sshd.client(*([] if shared else [f"ControlPath {sshd.place}/own"]))
    slow = world.script("slow", "exec cat >/dev/null")
    log = world.root / "log"
    before = children(world)
    env = {**client.variables(str(slow)), "DISTCC_LOG": str(log), "DISTCC_VERBOSE": "1"}
    launcher = subprocess.Popen(
        [world.install.link("gcc"), "-c", "a.c"], cwd=world.src, env=world.environment(env)
    )
    try:
        wait_for(lambda: log.exists() and "exec on @farm" in log.read_text())
        # The greeting's is not his: it ends by itself when nothing comes of it.
        wait_for(lambda: len(children(world) - before) == 2)
    finally:
        launcher.send_signal(signal.SIGINT)
        launcher.wait(20)
    wait_for(lambda: len(children(world) - before) < 2, 2)


def test_a_server_that_leaves_takes_its_connections_along(private: World, sshd: Sshd) -> None:
    client = sshd.client()
    write_sources(private.src)
    env = client.variables(sshd.daemons["pyccd"])
    assert private.call("gcc", "-c", "a.c", env=env).status == 0
    config = os.fsencode(client.config)
    assert processes_with(config)
    assert private.call(private.install.launcher, "--stop-server").status == 0
    wait_for(lambda: not processes_with(config))


def test_without_a_server_of_ours(world: World, sshd: Sshd) -> None:
    client = sshd.client()
    env = {**client.variables(sshd.daemons["pyccd"]), "PYCC_RESIDENT": "0"}
    world.compare("gcc", "-c", "a.c", env=env, times=1)
    # The daemon may know it from another test.
    assert farm_counts(world, env) in ({"compiled": 1}, {"exact": 1}, {"known": 1})
    config = os.fsencode(client.config)
    wait_for(lambda: not processes_with(config))


def test_a_daemon_behind_a_reverse_tunnel(world: World, sshd: Sshd) -> None:
    client = sshd.client()
    with daemon("pyccd") as server:
        port = free_port()
        forward = f"-R127.0.0.1:{port}:127.0.0.1:{server.port}"
        words = ["-N", "-oExitOnForwardFailure=yes", forward, client.host]
        tunnel = subprocess.Popen([*client.ssh.split(), *words])
        try:
            wait_for(lambda: reachable(port))
            env = {"DISTCC_HOSTS": f"127.0.0.1:{port}"}
            world.compare("gcc", "-O2", "-c", "a.c", env=env)
            assert farm_counts(world, env) in ({"exact": 1}, {"compiled": 1})
        finally:
            tunnel.terminate()
            tunnel.wait()


def reachable(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0
