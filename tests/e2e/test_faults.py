"""Bad input and bad luck: a message where ccache gives one, else silence and a correct compile."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.e2e.kit import SYSTEM_PATH, Done, World
from tests.mounting import UNSHARE, need_private_mounts

SOURCE = "int f(int x) { int unused; return x + 1; }\n"
WORDS = ("gcc", "-Wall", "-c", "a.c")
RESIDENT = pytest.mark.parametrize("resident", ["1", "0"])


@pytest.fixture
def world(private: World) -> World:
    return private


@pytest.fixture(autouse=True)
def source(world: World) -> None:
    world.write("a.c", SOURCE)


def remove(directory: Path, depth: int = 0) -> None:
    """What the server is just writing may appear behind rm's back: call it again, as users do."""
    command = ["find", str(directory), "-mindepth", str(depth), "-delete"]
    assert any(not subprocess.run(command, check=False).returncode for _ in range(100))


def stored(world: World) -> list[Path]:
    """The files of the cache, those of the running server's database included."""
    return sorted(path for path in world.cache.rglob("*") if path.is_file())


# ---- configuration -------------------------------------------------------------------------


@RESIDENT
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_size = lots\n", b'invalid size: "lots"'),
        ("stats = maybe\n", b"not a boolean value"),
        ("just words\n", b"missing equal sign"),
    ],
)
def test_a_broken_configuration_line_is_named_and_ends_the_call(
    world: World, text: str, message: bytes, resident: str
) -> None:
    world.cache.mkdir()
    config = world.cache / "ccache.conf"
    config.write_text(text)
    env = {"PYCC_RESIDENT": resident}
    world.eager = False
    done = world.call(*WORDS, env=env)
    assert done.status == 1
    assert os.fsencode(f"{config}:1: ") in done.err
    assert message in done.err
    assert not (world.src / "a.o").exists()
    config.write_text("")
    world.compare(*WORDS, env=env)


def test_an_unknown_setting_is_ignored(world: World) -> None:
    world.cache.mkdir()
    (world.cache / "ccache.conf").write_text("shiny_new_setting = 1\n")
    world.compare(*WORDS)
    assert world.stats()["direct_cache_hit"] == 1


def test_a_configuration_that_changes_holds_at_once(world: World) -> None:
    world.compare(*WORDS)
    (world.cache / "ccache.conf").write_text("disable = true\n")
    before = world.stats()
    world.compare(*WORDS)
    assert world.stats() == before


@RESIDENT
def test_a_broken_variable_ends_the_call_with_a_message(world: World, resident: str) -> None:
    env = {"CCACHE_MAXSIZE": "lots", "PYCC_RESIDENT": resident}
    world.eager = False
    done = world.call(*WORDS, env=env)
    assert done.status == 1
    assert b'invalid size: "lots"' in done.err


def test_a_log_file_that_cannot_be_written(world: World) -> None:
    world.compare(*WORDS, env={"CCACHE_LOGFILE": "/nowhere/at/all/log"})


# ---- the cache directory -------------------------------------------------------------------


@RESIDENT
@pytest.mark.parametrize("place", ["a file", "below a file", "/proc/nowhere", "a link to nothing"])
def test_a_cache_directory_that_cannot_be_made(world: World, place: str, resident: str) -> None:
    path = world.root / "place"
    match place:
        case "a file" | "below a file":
            path.write_text("")
        case "a link to nothing":
            path.symlink_to("/nowhere/at/all")
    where = {"below a file": f"{path}/cache", "/proc/nowhere": place}.get(place, str(path))
    world.compare(*WORDS, env={"CCACHE_DIR": where, "PYCC_RESIDENT": resident})


def test_a_cache_directory_that_is_removed_under_the_server(world: World) -> None:
    world.compare(*WORDS)
    remove(world.cache)
    world.compare(*WORDS, times=3)
    assert world.stats()["direct_cache_hit"] == 2
    assert stored(world)


def test_a_cache_directory_that_is_exchanged_under_the_server(world: World) -> None:
    world.compare(*WORDS)
    world.stats()  # what is on its way to the disk arrives there
    world.cache.rename(world.root / "old")
    world.gcc("-c", "-DOTHER", "a.c")
    assert world.stats()["cache_miss"] == 1
    remove(world.cache)
    (world.root / "old").rename(world.cache)
    world.compare(*WORDS)
    assert world.stats()["direct_cache_hit"] == 3


def test_a_cache_directory_that_is_emptied_under_the_server(world: World) -> None:
    world.compare(*WORDS)
    remove(world.cache, depth=1)
    world.compare(*WORDS, times=3)
    assert world.stats()["direct_cache_hit"] == 2


def on_small_disk(world: World, size: str, text: str) -> Done:
    """A shell script whose cache directory is a small file system of its own."""
    need_private_mounts()
    world.cache.mkdir()
    mount = f"mount -t tmpfs -o size={size} none $CCACHE_DIR"
    done = subprocess.run(
        [*UNSHARE, "/bin/sh", "-ec", f"{mount}; {text}"],
        env=world.environment(None) | {"PATH": f"{world.env['PATH']}:/usr/sbin:/sbin"},
        cwd=world.src,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("size", "resident"), [("4k", "1"), ("64k", "1"), ("300k", "1"), ("100k", "0")]
)
def test_a_full_disk_costs_only_the_caching(
    world: World, as_root: None, size: str, resident: str
) -> None:
    count = 6 if resident == "1" else 2
    for number in range(count):
        # Large and hardly compressible, so that each result fills the disk.
        text = secrets.token_urlsafe(100_000)
        world.write(f"{number}.c", f'const char d{number}[] = "{text}";\n')
        assert world.call("gcc", "-c", f"{number}.c", bare=True).status == 0
    expected = {path.name: path.read_bytes() for path in world.src.glob("*.o")}
    for path in world.src.glob("*.o"):
        path.unlink()
    text = f"for n in {' '.join(map(str, range(count)))}; do gcc -c $n.c; gcc -c $n.c; done"
    done = on_small_disk(world, size, f"export PYCC_RESIDENT={resident}; {text}")
    assert done == Done(0, b"", b"")
    assert {path.name: path.read_bytes() for path in world.src.glob("*.o")} == expected
    world.may_complain = True


@RESIDENT
def test_a_read_only_file_system_still_hits(world: World, as_root: None, resident: str) -> None:
    world.env["PATH"] = f"{world.install.launcher.parent}:{world.env['PATH']}"
    # The server that wrote keeps the file system from becoming read-only until it has left.
    script = (
        "gcc -c a.c; pycc --stop-server >/dev/null;"
        "until mount -o remount,ro $CCACHE_DIR 2>/dev/null; do sleep 0.05; done; rm a.o;"
        f"export CCACHE_LOGFILE=$HOME/log PYCC_RESIDENT={resident}; gcc -c a.c; gcc -c -DMISS a.c"
    )
    done = on_small_disk(world, "10m", script)
    assert done == Done(0, b"", b"")
    assert "direct_cache_hit" in (world.root / "home/log").read_text()


# ---- damaged entries -----------------------------------------------------------------------


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if not data:
        return
    match how:
        case "flipped":
            for at in range(0, len(data), 997):
                data[at] ^= 0xFF
        case "flipped in the middle":
            for at in range(len(data) // 2, len(data) // 2 + 200):
                if at < len(data):
                    data[at] ^= 0x55
        case "truncated":
            del data[len(data) // 2 :]
        case "empty":
            data.clear()
        case "zeros":
            data = bytearray(len(data))
        case "text":
            data = bytearray(b"this is no database\n" * 100)
    with open(path, "r+b") as file:
        file.write(data)
        file.truncate()


HOW = ["flipped", "flipped in the middle", "truncated", "empty", "zeros", "text"]


def big_source(world: World) -> None:
    """One whose result is large enough for a file of its own, and quickly compiled."""
    world.write("big.c", f'const char d[] = "{secrets.token_urlsafe(120_000)}";\n')


@pytest.mark.parametrize("alive", [True, False], ids=["with a server", "without"])
@pytest.mark.parametrize("how", HOW)
def test_damaged_files_never_give_a_wrong_object(world: World, how: str, alive: bool) -> None:
    world.may_complain = True
    big_source(world)
    world.compare(*WORDS)
    world.compare("gcc", "-c", "big.c")
    world.stats()
    if not alive:
        world.kill_server()
    files = [path for path in stored(world) if path.suffix not in (".conf", "")]
    assert files
    for path in files:
        damage(path, how)
    world.compare(*WORDS, times=3)
    world.compare("gcc", "-c", "big.c", times=3)
    if not alive:
        assert world.stats().get("direct_cache_hit", 0) >= 2  # it works again


@pytest.mark.parametrize("how", ["truncated", "empty", "flipped in the middle"])
def test_a_damaged_value_is_a_miss_and_is_stored_again(world: World, how: str) -> None:
    big_source(world)
    world.compare("gcc", "-c", "big.c")
    world.stats()
    values = [path for path in stored(world) if path.stat().st_size > 40_000]
    values = [path for path in values if not path.read_bytes().startswith(b"SQLite")]
    values = [path for path in values if "wal" not in path.name and "shm" not in path.name]
    if not values:
        pytest.skip("values of this size are kept in the database")
    for path in values:
        damage(path, how)
    world.compare("gcc", "-c", "big.c", times=3)
    stats = world.stats()
    assert stats["cache_miss"] == 2
    assert stats["direct_cache_hit"] == 3


def test_a_lock_on_the_database_is_not_waited_for(world: World) -> None:
    world.compare(*WORDS)
    world.stats()
    databases = [p for p in stored(world) if p.read_bytes()[:6] == b"SQLite"]
    assert databases
    held = [sqlite3.connect(path) for path in databases]
    try:
        for database in held:
            database.execute("BEGIN IMMEDIATE")
        world.compare(*WORDS)  # hits need no lock
        world.compare("gcc", "-DMISS", "-c", "a.c")
    finally:
        for database in held:
            database.rollback()
            database.close()


# ---- sources -------------------------------------------------------------------------------


@RESIDENT
def test_a_source_that_does_not_compile_is_not_cached(world: World, resident: str) -> None:
    env = {"PYCC_RESIDENT": resident}
    world.write("bad.c", "int f( {\n#warning seen\n")
    outcome = world.compare("gcc", "-c", "bad.c", "-MD", env=env)
    assert outcome.done.status == 1
    stats = world.stats(env)
    assert stats["compile_failed"] == 2
    assert "direct_cache_hit" not in stats
    world.write("bad.c", "int f(void);\n")
    world.compare("gcc", "-c", "bad.c", env=env)


def test_a_missing_input_is_the_compilers_own_message(world: World) -> None:
    outcome = world.compare("gcc", "-c", "missing.c")
    assert b"missing.c" in outcome.done.err
    assert world.stats()["no_input_file"] == 2


def test_an_unreadable_input(world: World) -> None:
    (world.src / "dir.c").mkdir()
    world.compare("gcc", "-c", "dir.c")
    world.compare("gcc", "-c", "/proc/self/mem")


def test_a_missing_header_that_appears(world: World) -> None:
    world.write("b.c", '#include "b.h"\nint b = B;\n')
    assert world.compare("gcc", "-c", "b.c").done.status == 1
    world.write("b.h", "#define B 1\n")
    assert world.compare("gcc", "-c", "b.c").done.status == 0
    (world.src / "b.h").unlink()
    assert world.compare("gcc", "-c", "b.c").done.status == 1


def test_a_compiler_that_crashes_is_told_as_it_is(world: World) -> None:
    script = world.script(
        "crash/gcc",
        'case " $* " in *" -c "*) echo "internal compiler error" >&2; kill -SEGV $$;;'
        ' *) exec /usr/bin/gcc "$@";; esac',
    )
    env = {"PATH": f"{world.install.links}:{script.parent}:{SYSTEM_PATH}"}
    outcome = world.compare(*WORDS, env=env)
    assert outcome.done.status == -signal.SIGSEGV
    assert outcome.done.err == b"internal compiler error\n"
    assert "direct_cache_hit" not in world.stats(env)


def test_a_compiler_that_makes_no_output_is_not_cached(world: World) -> None:
    script = world.script(
        "none/gcc", 'case " $* " in *" -c "*) exit 0;; *) exec /usr/bin/gcc "$@";; esac'
    )
    env = {"PATH": f"{world.install.links}:{script.parent}:{SYSTEM_PATH}"}
    world.compare(*WORDS, env=env)
    assert world.stats(env)["compiler_produced_no_output"] == 2


def test_a_compiler_that_cannot_be_executed(world: World) -> None:
    script = world.root / "odd/gcc"
    script.parent.mkdir()
    script.write_bytes(b"\x7fELF nonsense")
    script.chmod(0o755)
    env = {"PATH": f"{world.install.links}:{script.parent}:{SYSTEM_PATH}"}
    done = world.call(*WORDS, env=env)
    assert done.status in (1, 126)
    assert done.err


def test_a_temporary_directory_that_is_swept_under_the_server(world: World) -> None:
    world.compare(*WORDS)
    for path in world.temporary_directories():
        shutil.rmtree(path)
    world.compare("gcc", "-DMISS", "-Wall", "-c", "a.c")
    env = {"CCACHE_NODIRECT": "1"}
    for path in world.temporary_directories():
        shutil.rmtree(path)
    world.compare("gcc", "-DMISS", "-Wall", "-c", "a.c", env=env)


@pytest.mark.parametrize("nodirect", [None, "1"], ids=["our order", "classic order"])
def test_a_temporary_directory_that_cannot_be_used(world: World, nodirect: str | None) -> None:
    world.start()
    (place,) = world.temporary_directories()
    shutil.rmtree(place)
    place.write_text("")
    world.compare(*WORDS, "-O2", env={"CCACHE_NODIRECT": nodirect})
    world.compare("gcc", "-c", "missing.c", env={"CCACHE_NODIRECT": nodirect})
    place.unlink()


def test_a_temporary_directory_that_cannot_be_made(world: World) -> None:
    world.write("b.c", "int b;\n")
    for env in (
        {"CCACHE_TEMPDIR": "/proc/nowhere"},
        {"CCACHE_TEMPDIR": "/proc/nowhere", "CCACHE_NODIRECT": "1"},
    ):
        world.compare("gcc", "-c", "b.c", env={**env, "PYCC_RESIDENT": "0"})
