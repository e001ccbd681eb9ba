"""Exit codes and signals: make and the shell see what they would have seen of the compiler."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.kit import SYSTEM_PATH, World, wait_until

RESIDENT = pytest.mark.parametrize("resident", ["1", "0"])


def compiler(world: World, what: str) -> dict[str, str]:
    """A gcc that is the real one, but with -c does ``what``; the environment that finds it."""
    script = world.script(
        "compiler/gcc", f'case " $* " in *" -c "*) {what};; *) exec /usr/bin/gcc "$@";; esac'
    )
    return {"PATH": f"{world.install.links}:{script.parent}:{SYSTEM_PATH}"}


def start(world: World, env: dict[str, str], before: str = "") -> subprocess.Popen[bytes]:
    """The launcher as a child of ours, once the compiler that it runs has written its pid."""
    world.write("a.c", "int a;\n")
    world.start()
    child = subprocess.Popen(
        ["/bin/sh", "-c", f"{before} exec gcc -c a.c"],
        env=world.environment(env),
        cwd=world.src,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: (world.root / "pid").exists() and (world.root / "pid").read_text())
    return child


def compiler_pid(world: World) -> int:
    return int((world.root / "pid").read_text())


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@RESIDENT
@pytest.mark.parametrize("status", [1, 42, 255])
def test_the_compilers_exit_status_is_ours(world: World, status: int, resident: str) -> None:
    env = compiler(world, f"echo failing >&2; exit {status}") | {"PYCC_RESIDENT": resident}
    world.write("a.c", "int a;\n")
    world.compare("gcc", "-c", "a.c", env=env)
    assert world.stats(env)["compile_failed"] == 2


@RESIDENT
@pytest.mark.parametrize("name", ["SEGV", "KILL", "ABRT", "TERM", "PIPE"])
def test_a_compiler_that_a_signal_kills_gives_us_the_same_end(
    world: World, name: str, resident: str
) -> None:
    env = compiler(world, f"kill -{name} $$") | {"PYCC_RESIDENT": resident}
    world.write("a.c", "int a;\n")
    outcome = world.compare("gcc", "-c", "a.c", env=env)
    assert outcome.done.status == -getattr(signal, f"SIG{name}")
    assert "direct_cache_hit" not in world.stats(env)


@RESIDENT
@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT"])
def test_a_signal_to_us_ends_the_compiler_and_us(world: World, name: str, resident: str) -> None:
    env = compiler(world, f"echo $$ >{world.root}/pid; exec sleep 30")
    child = start(world, env | {"PYCC_RESIDENT": resident})
    number = getattr(signal, f"SIG{name}")
    child.send_signal(number)
    assert child.wait(10) == -number
    wait_until(lambda: is_gone(compiler_pid(world)))


def test_kill_9_to_us_ends_the_compiler_too(world: World) -> None:
    env = compiler(world, f"echo $$ >{world.root}/pid; exec sleep 30")
    child = start(world, env)
    child.kill()
    child.wait(10)
    wait_until(lambda: is_gone(compiler_pid(world)))


@RESIDENT
def test_a_hangup_ignored_by_nohup_stays_ignored(world: World, resident: str) -> None:
    env = compiler(world, f"echo $$ >{world.root}/pid; sleep 0.3; exit 3")
    child = start(world, env | {"PYCC_RESIDENT": resident}, before="trap '' HUP;")
    child.send_signal(signal.SIGHUP)
    os.kill(compiler_pid(world), signal.SIGHUP)
    assert child.wait(10) == 3


def test_a_compiler_that_survives_a_signal_ends_as_it_likes(world: World) -> None:
    env = compiler(
        world, f"trap 'exit 5' TERM; echo $$ >{world.root}/pid; while :; do sleep 0.05; done"
    )
    child = start(world, env)
    child.terminate()
    assert child.wait(10) == 5


def test_an_interrupted_compile_is_not_cached(world: World) -> None:
    env = compiler(world, f"echo $$ >{world.root}/pid; exec sleep 30")
    child = start(world, env)
    child.send_signal(signal.SIGINT)
    child.wait(10)
    env = compiler(world, 'exec /usr/bin/gcc "$@"')
    world.compare("gcc", "-c", "a.c", env=env)


def test_a_stopped_compile_goes_on(world: World) -> None:
    env = compiler(world, f'echo $$ >{world.root}/pid; sleep 0.2; exec /usr/bin/gcc "$@"')
    child = start(world, env)
    for number in (signal.SIGSTOP, signal.SIGCONT):
        os.kill(child.pid, number)
        os.kill(compiler_pid(world), number)
    assert child.wait(10) == 0
    assert (world.src / "a.o").exists()


def test_a_process_that_the_compiler_leaves_behind_does_not_keep_us(world: World) -> None:
    # It holds the pipes to our stdout and stderr open.
    env = compiler(world, f'sleep 5 & echo $! >{world.root}/pid; exec /usr/bin/gcc "$@"')
    child = start(world, env)
    try:
        assert child.wait(3) == 0
    finally:
        os.kill(compiler_pid(world), signal.SIGKILL)
