"""Our client in front of the real distccd and of pyccd: what is sent, and what comes back."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from pycc.resident import FARMS
from tests.daemon_kit import ENVIRONMENT, Daemon, daemon, free_port
from tests.e2e.kit import World
from tests.interop.kit import SOURCE, WAYS, a_large_text, of_the_text
from tests.interop.kit import farm_counts as exact_counts

SERVERS = pytest.mark.parametrize("kind", ["distccd", "pyccd"])


def farm_counts(world: World, env: dict[str, str]) -> dict[str, int]:
    """What became of misses; in which way servers compiled them is asked in test_exact_farm."""
    found: Counter[str] = Counter()
    for name, count in exact_counts(world, env).items():
        found["compiled" if name in ("exact", "known") else name] += count
    return dict(found)


@pytest.mark.parametrize(
    ("options", "compiler", "name", "words"),
    [
        ("", "gcc", "a.c", ["-O2"]),
        (",lzo", "gcc", "a.c", ["-O2", "-g"]),
        ("", "gcc", "a.c", ["-Wall", "-Wextra"]),
        (",lzo", "gcc", "a.c", ["-march=native", "-O2"]),
        (",lzo", "g++", "a.cc", ["-O1", "-std=c++17"]),
        ("", "g++", "a.cc", ["-O1", "-g", "-fno-exceptions"]),
    ],
)
def test_a_miss_is_compiled_there_and_stored_here(
    world: World, server: Daemon, options: str, compiler: str, name: str, words: list[str]
) -> None:
    env = {"DISTCC_HOSTS": server.host(options)}
    native = [w for w in words if w != "-march=native"]
    before = len(server.summaries())
    for number in range(3):
        done = world.call(compiler, *words, "-MD", "-c", name, "-o", "made.o", env=env)
        assert done.status == 0, done
        made = (world.src / "made.o").read_bytes()
        exact = server.serves_exact_jobs
        if native == words and not exact:
            assert (made, done.err) == of_the_text(world, compiler, words, name)
        plain = world.call(compiler, *words, "-MD", "-c", name, "-o", "local.o", bare=True)
        assert plain.status == 0
        if exact:
            assert done.err == plain.err
        if exact or "-g" not in words or name.endswith(".c"):
            assert made == (world.src / "local.o").read_bytes()
        depfile = (world.src / "local.d").read_bytes().replace(b"local.o", b"made.o")
        assert (world.src / "made.d").read_bytes() == depfile
        for path in ("made.o", "made.d", "local.o", "local.d"):
            (world.src / path).unlink()
        assert world.stats(env).get("direct_cache_hit", 0) == number
    summary = server.summaries_of(before + 1)[-1]
    assert summary.startswith("COMPILE_OK exit:0"), summary
    assert farm_counts(world, env) == {"compiled": 1}


def test_what_other_machines_made_is_for_who_distributes_alone(
    world: World, server: Daemon
) -> None:
    """Where columns matter, a call that compiles here does not get what was made of the text."""
    exact, compared = server.serves_exact_jobs, server.kind == "pyccd"
    env = {"DISTCC_HOSTS": server.host()}
    words = ("-g", "-O1", "-c", "a.cc", "-o", "made.o")
    assert world.call("g++", *words, env=env).status == 0
    assert farm_counts(world, env) == {"compiled": 1}
    (world.src / "made.o").unlink()
    world.compare("g++", *words)
    assert world.stats()["cache_miss"] == (1 if exact else 2)
    world.write("c.c", "int f(void) { return 1; }\n")
    assert world.call("gcc", "-c", "c.c", env=env).status == 0
    (world.src / "c.o").unlink()
    world.compare("gcc", "-c", "c.c")
    # Columns cannot matter here; a stock daemon's compiler might.
    assert world.stats()["cache_miss"] == (2 if exact else 3 if compared else 4)
    assert farm_counts(world, env) == {"compiled": 2}


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("name", ["é.h", 'a"b.h', "a\\b.h", "a b.h", "a#$.h"])
def test_headers_of_any_name_are_watched(
    world: World, server: Daemon, compiler: str, name: str
) -> None:
    env = {"DISTCC_HOSTS": server.host()}
    world.write(name, "#define VALUE 1\n")
    world.write("n.c", f"#include <{name}>\nint value = VALUE;\n")
    words = ("-MMD", "-I.", "-c", "n.c")
    for value in (1, 2):
        world.write(name, f"#define VALUE {value}\n")
        assert world.call(compiler, *words, env=env).status == 0
        made = (world.src / "n.o").read_bytes()
        assert world.call(compiler, *words, bare=True).status == 0
        assert made == (world.src / "n.o").read_bytes()


@pytest.mark.parametrize(
    "words",
    [
        ["-march=native", "-mno-avx2", "-mtune=generic"],
        ["-mtune=native", "--param", "l1-cache-size=64"],
        ["-march=native", "-march=x86-64"],
    ],
)
def test_the_users_words_win_over_native(world: World, server: Daemon, words: list[str]) -> None:
    env = {"DISTCC_HOSTS": server.host()}
    world.write("v.c", "void f(float *a, float *b) { for (int i = 0; i < 64; i++) a[i] += b[i]; }")
    made = []
    for bare in (False, True):
        done = world.call("gcc", "-O3", *words, "-S", "v.c", env=env, bare=bare)
        assert done.status == 0, done
        made.append((world.src / "v.s").read_bytes())
    assert made[0] == made[1]
    assert farm_counts(world, env) == {"local" if "-march=x86-64" in words else "compiled": 1}


def test_a_colour_word_for_clangs_own_front_end(world: World, server: Daemon) -> None:
    env = {"DISTCC_HOSTS": server.host()}
    words = ("-Xclang", "-fcolor-diagnostics", "-fno-color-diagnostics", "-Wall", "-c", "a.c")
    world.compare("clang", *words, env=env)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bad.c", '#include "own.h"\nint f(\n'),
        ("pre.c", "#error no\n"),
        ("gone.c", '#include "x"\n'),
    ],
)
def test_what_does_not_compile_says_what_the_compiler_says(
    world: World, server: Daemon, name: str, text: str
) -> None:
    env = {"DISTCC_HOSTS": server.host()}
    world.write(name, text)
    world.compare("gcc", "-Wall", "-c", name, env=env)
    world.write("a.c", SOURCE.replace("3", "4"))
    assert world.call("gcc", "-c", "a.c", env=env).status == 0
    assert farm_counts(world, env)["compiled"] == 1  # no host is avoided for it


def test_many_at_once(world: World, server: Daemon) -> None:
    env = {"DISTCC_HOSTS": server.host(",lzo", slots=6)}
    for number in range(50):
        world.write(f"{number}.c", f'#include "own.h"\nint f{number} = OWN + {number};\n')
    # Without the start of a server, which a launcher awaits for a second.
    world.write("first.c", "int first;\n")
    assert world.call("gcc", "-c", "first.c", env=env).status == 0
    assert world.call(world.install.launcher, "--zero-stats", env=env).status == 0
    with ThreadPoolExecutor(50) as pool:
        done = list(pool.map(lambda n: world.call("gcc", "-c", f"{n}.c", env=env), range(50)))
    assert [one.status for one in done] == [0] * 50
    assert [one.err for one in done] == [b""] * 50
    for number in range(50):
        made = (world.src / f"{number}.o").read_bytes()
        assert world.call("gcc", "-c", f"{number}.c", bare=True).status == 0
        assert made == (world.src / f"{number}.o").read_bytes()
    assert farm_counts(world, env) == {"compiled": 50}


@WAYS
def test_a_large_text(world: World, server: Daemon, options: str) -> None:
    env = {"DISTCC_HOSTS": server.host(options)}
    world.write("big.c", a_large_text())
    assert world.call("gcc", "-c", "big.c", env=env).status == 0
    made = (world.src / "big.o").read_bytes()
    assert world.call("gcc", "-c", "big.c", bare=True).status == 0
    assert made == (world.src / "big.o").read_bytes()
    assert farm_counts(world, env) == {"compiled": 1}


@pytest.mark.parametrize(
    "words",
    [
        ["-fstack-usage"],
        ["-gsplit-dwarf", "-g"],
        ["--coverage", "-frandom-seed=1"],
        ["-save-temps"],
        ["-fprofile-generate", "-frandom-seed=1"],
        ["-Wa,-adhln=a.lst"],
    ],
)
def test_what_another_machine_would_not_send_is_compiled_here(
    world: World, server: Daemon, words: list[str]
) -> None:
    env = {"DISTCC_HOSTS": server.host()}
    before = len(server.summaries())
    world.compare("gcc", *words, "-c", "a.c", env=env)
    assert len(server.summaries()) == before
    assert "compiled" not in farm_counts(world, env)


def test_an_assembler_that_reads_files_reads_ours(world: World, server: Daemon) -> None:
    env = {"DISTCC_HOSTS": server.host()}
    world.write("blob", "ours")
    world.write("i.c", '__asm__(".section .blob\\n.incbin \\"blob\\"\\n");\n')
    world.compare("gcc", "-c", "i.c", env=env)
    assert "compiled" not in farm_counts(world, env)


def test_the_servers_cache_serves_who_has_lost_his(world: World) -> None:
    with daemon("pyccd") as server:
        env = {"DISTCC_HOSTS": server.host()}
        assert world.call("gcc", "-O2", "-Wall", "-c", "a.c", env=env).status == 0
        first = (world.src / "a.o").read_bytes()
        world.call(world.install.launcher, "--clear", env=env)
        assert world.call("gcc", "-O2", "-Wall", "-c", "a.c", env=env).status == 0
        assert (world.src / "a.o").read_bytes() == first
        one, other = server.summaries_of(2)
        assert one.endswith("cache:miss")
        assert other.endswith("cache:hit")


def test_nobody_there(world: World) -> None:
    """The compile succeeds, says nothing, and the reason is counted and can be read."""
    log = world.root / "distcc.log"
    env = {"DISTCC_HOSTS": "127.0.0.1:1 127.0.0.1:2,lzo", "DISTCC_LOG": str(log)}
    world.compare("gcc", "-c", "a.c", env=env)
    assert farm_counts(world, env) == {"unreachable": 1}
    text = log.read_text()
    assert "Warning: 127.0.0.1:1: failed to connect to 127.0.0.1:1: Connection refused" in text
    assert "Warning: failed to distribute, running locally instead" in text


def test_nobody_there_and_no_fallback(world: World) -> None:
    env = {"DISTCC_HOSTS": "127.0.0.1:1", "DISTCC_FALLBACK": "0"}
    done = world.call("gcc", "-c", "a.c", env=env)
    assert done.status == 116
    assert b"failed to distribute and fallbacks are disabled" in done.err
    assert not (world.src / "a.o").exists()
    assert world.call("gcc", "-fstack-usage", "-c", "a.c", env=env).status == 0


@pytest.mark.parametrize(
    ("hosts", "why"),
    [
        ("", "$DISTCC_HOSTS contained no hosts; can't distribute work"),
        ("127.0.0.1,cpp", "pump mode (',cpp') requires compression"),
    ],
)
def test_a_list_of_no_use(world: World, hosts: str, why: str) -> None:
    log = world.root / "distcc.log"
    env = {"DISTCC_HOSTS": hosts, "DISTCC_LOG": str(log)}
    world.compare("gcc", "-c", "a.c", env=env)
    assert why in log.read_text()


def test_localhost_in_the_list_compiles_here(world: World) -> None:
    env = {"DISTCC_HOSTS": "localhost/2"}
    world.compare("gcc", "-g", "-Wall", "-c", "a.c", env=env)
    assert farm_counts(world, env) == {}


def test_a_server_that_dies_in_the_middle_costs_nothing(world: World) -> None:
    with daemon("pyccd") as server:
        env = {"DISTCC_HOSTS": server.host()}
        assert world.call("gcc", "-c", "a.c", env=env).status == 0
        server.process.kill()
        server.process.wait()
        world.write("b.c", SOURCE.replace("int f", "int g"))
        world.compare("gcc", "-c", "b.c", env=env)
    assert farm_counts(world, env) == {"compiled": 1, "unreachable": 1}


@SERVERS
def test_a_link_to_distcc_behind_ours_switches_it_on(world: World, kind: str) -> None:
    """PATH=ours:distcc's links:$PATH and a hosts file, as the wikis have it for ccache."""
    with daemon(kind) as server:
        links = world.root / "distcc-links"
        links.mkdir()
        (links / "gcc").symlink_to("/usr/bin/distcc")
        (world.root / "home/.distcc").mkdir()
        (world.root / "home/.distcc/hosts").write_text(server.host() + "\n")
        path = os.pathsep.join([str(world.install.links), str(links), "/usr/bin", "/bin"])
        assert world.call("gcc", "-c", "a.c", env={"PATH": path}).status == 0
        assert len(server.summaries_of(1)) == 1
        assert farm_counts(world, {"PATH": path}) == {"compiled": 1}
        # The hosts file alone does not.
        world.write("b.c", SOURCE)
        assert world.call("gcc", "-c", "b.c").status == 0
        assert len(server.summaries()) == 1


def test_prefix_commands(world: World) -> None:
    (world.root / "distcc").mkdir()  # the real one makes its own directories only
    with daemon("pyccd") as server:
        hosts = {"DISTCC_HOSTS": server.host(), "DISTCC_DIR": str(world.root / "distcc")}
        # The real distcc does it where there is one …
        env = {**hosts, "CCACHE_PREFIX": "distcc"}
        assert world.call("gcc", "-c", "a.c", env=env).status == 0
        assert len(server.summaries_of(1)) == 1
        assert farm_counts(world, env) == {}
        # … and we where the user asks for us.
        world.write("b.c", SOURCE.replace("int f", "int g"))
        env = {**hosts, "CCACHE_PREFIX": "pycc"}
        assert world.call("gcc", "-c", "b.c", env=env).status == 0
        assert len(server.summaries_of(2)) == 2
        assert farm_counts(world, env) == {"compiled": 1}


def test_the_monitor_shows_jobs(world: World) -> None:
    with daemon("distccd") as server:
        directory = world.root / "distcc"
        env = {"DISTCC_HOSTS": server.host(), "DISTCC_DIR": str(directory)}
        world.write(
            "slow.c", "".join(f"int f{n}(int a) {{ return a * {n}; }}\n" for n in range(5000))
        )
        shown = ""
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(world.call, "gcc", "-O1", "-c", "slow.c", env=env)
            while "Compile     slow.c" not in shown and not done.done():
                monitor = subprocess.run(
                    ["/usr/bin/distccmon-text"],
                    env={**ENVIRONMENT, "DISTCC_DIR": str(directory)},
                    capture_output=True,
                    text=True,
                    check=False,  # there is no such directory yet
                )
                shown += monitor.stdout
        assert done.result().status == 0
        assert "Compile     slow.c" in shown
        assert "127.0.0.1[0]" in shown
        assert not list((directory / "state").iterdir())


def test_a_server_with_another_compiler_is_not_used(world: World) -> None:
    """The names are the same, what is behind them is not."""
    with daemon("pyccd") as server:
        log = world.root / "distcc.log"
        env = {"DISTCC_HOSTS": server.host(), "DISTCC_LOG": str(log)}
        assert world.call("gcc", "-c", "a.c", env=env).status == 0
        assert farm_counts(world, env) == {"compiled": 1}
        changed = world.script("changed/gcc", 'exec /usr/bin/gcc "$@"').parent
        env["PATH"] = f"{world.install.links}:{changed}:/usr/bin:/bin"
        world.write("b.c", SOURCE.replace("int f", "int g"))
        assert world.call("gcc", "-c", "b.c", env=env).status == 0
        counts = farm_counts(world, env)
        assert counts == {"compiled": 1, "other_compiler": 1, "unreachable": 1}
        assert "has another compiler than this machine" in log.read_text()
        exact = server.serves_exact_jobs
        first, *others = server.summaries_of(3 if exact else 2)
        assert first.startswith("COMPILE_OK")
        if exact:  # not where it is here
            assert others.pop(0).startswith("REJ_BAD_REQ exit:110")
        assert others[0].startswith("REJ_BAD_REQ exit:121")


def test_a_fault_is_remembered_for_its_own_directory(world: World) -> None:
    """$DISTCC_DIR is where distcc keeps which hosts are avoided."""
    for number in range(FARMS + 1):  # however many a server has seen
        other = {"DISTCC_HOSTS": "127.0.0.1:1", "DISTCC_DIR": f"{world.src}/{number}"}
        assert world.call("gcc", "-c", "a.c", "-o", f"{number}.o", env=other).status == 0
    world.call(world.install.launcher, "-zC")
    port = free_port()
    env = {"DISTCC_HOSTS": f"127.0.0.1:{port}"}
    for number, directory in enumerate(("one", "one", "two")):
        world.write("a.c", f"int a{number};\n")
        env["DISTCC_DIR"] = os.fspath(world.src / directory)
        if directory == "two":
            with daemon("pyccd", at=str(port)):
                assert world.call("gcc", "-c", "a.c", env=env).status == 0
        else:
            assert world.call("gcc", "-c", "a.c", env=env).status == 0
    counts = farm_counts(world, env)
    assert counts == {"compiled": 1, "unreachable": 2}
