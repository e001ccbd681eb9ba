"""Our launcher linked as ``distcc``, in front of the real distccd and of pyccd."""

from __future__ import annotations

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.daemon_kit import Daemon
from tests.e2e.kit import Done, World
from tests.interop.kit import WAYS, a_large_text, of_the_text

VERSION = r"distcc [\w.-]+ [.\w-]+\n[ \t]+\(protocol.*\) \(default port 3632\)\n.*\n"
NOWHERE = {"DISTCC_HOSTS": "127.0.0.1:1"}


@pytest.fixture
def world(world: World) -> World:
    (world.root / "links").mkdir()
    (world.root / "links/distcc").symlink_to(world.install.launcher)
    world.env["PATH"] = f"{world.root / 'links'}:{world.env['PATH']}"
    return world


def distcc(world: World, *words: str, hosts: str = "", **env: str) -> Done:
    """A call without the server's messages in between: they have a file of their own."""
    (world.root / "log").unlink(missing_ok=True)
    variables = {"DISTCC_HOSTS": hosts, "DISTCC_LOG": str(world.root / "log"), **env}
    return world.call("distcc", *words, env=variables)


def log(world: World) -> str:
    return (world.root / "log").read_text()


@pytest.mark.parametrize(
    ("options", "compiler", "name", "words"),
    [
        ("", "gcc", "a.c", ["-O2"]),
        (",lzo", "gcc", "a.c", ["-O2", "-g"]),
        ("", "gcc", "a.c", ["-Wall", "-Wextra"]),
        (",lzo", "g++", "a.cc", ["-O1", "-g", "-std=c++17"]),
    ],
)
def test_like_a_compile_of_the_text(
    world: World, server: Daemon, options: str, compiler: str, name: str, words: list[str]
) -> None:
    done = distcc(world, compiler, *words, "-c", name, "-o", "m.o", hosts=server.host(options))
    assert done.status == 0, done
    assert ((world.src / "m.o").read_bytes(), done.err) == of_the_text(world, compiler, words, name)
    assert f"compile {name} on {server.host(options)} completed ok" in log(world)
    assert "exec on localhost" not in log(world)


def test_the_compiler_need_not_be_named(world: World, server: Daemon) -> None:
    assert distcc(world, "-c", "a.c", hosts=server.host()).status == 0
    assert "completed ok" in log(world)
    made = (world.src / "a.o").read_bytes()
    assert world.call("cc", "-c", "a.c", bare=True).status == 0
    assert made == (world.src / "a.o").read_bytes()


def test_there_is_no_cache(world: World, server: Daemon) -> None:
    before = len(server.summaries())
    for _ in range(3):
        assert distcc(world, "gcc", "-c", "a.c", hosts=server.host()).status == 0
    server.summaries_of(before + 3)
    assert world.stats() == {}


@pytest.mark.parametrize(
    ("name", "text"),
    [("bad.c", "int f(\n"), ("pre.c", "#error no\n"), ("gone.c", '#include "x"\n')],
)
def test_what_does_not_compile(world: World, server: Daemon, name: str, text: str) -> None:
    world.write(name, text)
    done = distcc(world, "gcc", "-Wall", "-c", name, hosts=server.host())
    bare = world.call("gcc", "-Wall", "-c", name, bare=True)
    assert (done.status, done.err, done.out) == (bare.status, bare.err, bare.out)
    assert not (world.src / name.replace(".c", ".o")).exists()


def test_skipping_the_local_retry(world: World, server: Daemon) -> None:
    world.write("bad.c", "int f(\n")
    done = distcc(world, "gcc", "-c", "bad.c", hosts=server.host(), DISTCC_SKIP_LOCAL_RETRY="1")
    assert done.status == 1
    assert b"bad.c:1" in done.err
    assert "exec on localhost" not in log(world)


@WAYS
def test_a_large_text_and_many_at_once(world: World, server: Daemon, options: str) -> None:
    world.write("big.c", a_large_text())
    hosts = server.host(options, slots=6)
    assert distcc(world, "gcc", "-c", "big.c", hosts=hosts).status == 0
    made = (world.src / "big.o").read_bytes()
    assert world.call("gcc", "-c", "big.c", bare=True).status == 0
    assert made == (world.src / "big.o").read_bytes()
    for number in range(50):
        world.write(f"{number}.c", f"int f{number} = {number};\n")
    env = {"DISTCC_HOSTS": hosts}
    with ThreadPoolExecutor(50) as pool:
        done = list(
            pool.map(lambda n: world.call("distcc", "gcc", "-c", f"{n}.c", env=env), range(50))
        )
    assert [(one.status, one.err) for one in done] == [(0, b"")] * 50
    for number in range(50):
        made = (world.src / f"{number}.o").read_bytes()
        assert world.call("gcc", "-c", f"{number}.c", bare=True).status == 0
        assert made == (world.src / f"{number}.o").read_bytes()


def test_what_is_no_compile_runs_here(world: World) -> None:
    world.write("main.c", "int main(void) { return 7; }\n")
    assert distcc(world, "gcc", "main.c", "-o", "prog", hosts="127.0.0.1:1").status == 0
    assert subprocess.run([world.src / "prog"], check=False).returncode == 7
    done = distcc(world, "gcc", "-E", "main.c", hosts="127.0.0.1:1")
    assert b"return 7" in done.out
    assert "exec on localhost: gcc -E main.c" in log(world)


@pytest.mark.parametrize(
    ("words", "status"),
    [(["/bin/false", "-c", "a.c"], 1), (["/bin/true", "-c", "a.c"], 0), (["nosuchcc", "a.c"], 110)],
)
def test_exit_codes_are_the_compilers(world: World, words: list[str], status: int) -> None:
    assert distcc(world, *words, hosts="localhost").status == status


@pytest.mark.parametrize(
    ("words", "env", "status", "out", "err"),
    [
        (["--version"], {}, 0, VERSION, ""),
        (["--show-principal"], {}, 0, "Principal\t: Not Set.\n", ""),
        (["--show-principal"], {"DISTCC_PRINCIPAL": "x"}, 0, "Principal is\t: x\n", ""),
        (["--help"], {}, 0, r"(?s)distcc .*Usage:.*DISTCC_HOSTS.*", ""),
        ([], {}, 101, "", r"distcc: missing option/operand\n.*\n"),
        (["-j"], {"DISTCC_HOSTS": "localhost a/3 b/7,lzo"}, 0, "12\n", ""),
        (["--show-hosts"], {"DISTCC_HOSTS": "a/3 @b # c"}, 0, "a/3\n@b\n", ""),
        (["-c", "a.c"], {"DISTCC_IO_TIMEOUT": "0"}, 101, "", "distcc.*DISTCC_IO_TIMEOUT.*\n"),
        (
            ["-c", "a.c"],
            {"_DISTCC_SAFEGUARD": "1"},
            111,
            "",
            "distcc.*invoked itself recursively!\n",
        ),
        (
            ["-c", "a.c"],
            {"DISTCC_HOSTS": ""},
            0,
            "",
            r"(?s).*Warning: \$DISTCC_HOSTS contained no hosts; can't.*",
        ),
        (
            ["-c", "a.c"],
            NOWHERE,
            0,
            "",
            r"(?s).*Warning: failed to distribute.*running locally instead\n",
        ),
        (
            ["-c", "a.c"],
            {**NOWHERE, "DISTCC_FALLBACK": "0"},
            116,
            "",
            r"(?s).*fallbacks are disabled\n",
        ),
        (
            ["-c", "a.c"],
            {"DISTCC_LOG": "/no/such/file", "DISTCC_HOSTS": "localhost"},
            0,
            "",
            r"(?s).*failed to open logfile /no/such/file.*",
        ),
    ],
)
@pytest.mark.parametrize("resident", ["1", "0"])
def test_what_it_says(
    world: World,
    words: list[str],
    env: dict[str, str],
    status: int,
    out: str,
    err: str,
    resident: str,
) -> None:
    done = world.call("distcc", *words, env={**env, "PYCC_RESIDENT": resident})
    assert done.status == status, done
    assert re.fullmatch(out, done.out.decode()), done
    assert re.fullmatch(err, done.err.decode()), done


def test_without_a_server_of_ours(world: World) -> None:
    """The user's compile runs whatever happens to us."""
    env = {"XDG_RUNTIME_DIR": "/dev/null", "HOME": "/dev/null", "DISTCC_HOSTS": "127.0.0.1:1"}
    (world.install.prefix / "bin/pycc-server").rename(world.install.prefix / "bin/away")
    try:
        for words in (["gcc", "-c", "a.c"], ["-c", "a.c"], ["/usr/bin/gcc", "-c", "a.c"]):
            world.eager = False
            assert world.call("distcc", *words, env={**env, "PYCC_RESIDENT": "0"}).status == 0
            (world.src / "a.o").unlink()
        done = world.call("distcc", "--version", env={**env, "PYCC_RESIDENT": "0"})
        assert done.status == 1
        assert b"pycc-server is neither beside distcc nor on PATH" in done.err
    finally:
        (world.install.prefix / "bin/away").rename(world.install.prefix / "bin/pycc-server")
