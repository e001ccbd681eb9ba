"""The launcher as the user meets it: names, the way to the real compiler, words, directories."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.kit import SYSTEM_PATH, World, real, tree_of, triplet_name

SOURCE = "int f(int x) { return x + 1; }\n"


# ---- names ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gcc", "cc", "g++", "c++", "clang", "clang++"])
def test_masquerades_as(world: World, name: str) -> None:
    if real(name) is None:
        pytest.skip(f"needs {name}")
    world.write("a.c", SOURCE)
    world.compare(name, "-c", "a.c")
    assert world.stats() == {
        "cache_miss": 1,
        "direct_cache_miss": 1,
        "direct_cache_hit": 1,
        "preprocessed_cache_miss": 1,
    }


def test_masquerades_as_a_compiler_with_triplet_and_version(world: World) -> None:
    name = triplet_name()
    if name is None:
        pytest.skip("gcc has no such name here")
    world.install.link(name)
    world.write("a.c", SOURCE)
    world.compare(name, "-c", "a.c")
    assert world.stats()["direct_cache_hit"] == 1


@pytest.mark.parametrize("compiler", ["gcc", "/usr/bin/gcc"])
def test_takes_the_compiler_as_a_word(world: World, compiler: str) -> None:
    world.write("a.c", SOURCE)
    words = [compiler, "-c", "a.c"]
    world.compare(*words, wrapped=[world.install.launcher, *words])
    assert world.stats()["direct_cache_hit"] == 1


def test_serves_under_the_name_ccache(world: World) -> None:
    world.install.link("ccache")
    world.write("a.c", SOURCE)
    world.compare("gcc", "-c", "a.c", wrapped=["ccache", "gcc", "-c", "a.c"])
    assert world.stats()["direct_cache_hit"] == 1


def test_settings_before_the_compiler_hold_for_one_call(world: World) -> None:
    world.write("a.c", SOURCE)
    wrapped = [str(world.install.launcher), "disable=true", "gcc", "-c", "a.c"]
    world.compare("gcc", "-c", "a.c", wrapped=wrapped)
    assert "cache_miss" not in world.stats()


def test_a_copy_of_the_launcher_named_gcc_is_a_compiler(private: World) -> None:
    private.eager = False
    elsewhere = private.root / "copies"
    elsewhere.mkdir()
    shutil.copy(private.install.launcher, elsewhere / "gcc")
    private.write("a.c", SOURCE)
    env = {"PATH": f"{elsewhere}:{SYSTEM_PATH}"}
    private.compare("gcc", "-c", "a.c", wrapped=[elsewhere / "gcc", "-c", "a.c"], env=env, times=1)
    assert not private.servers()  # it does not know where its server is


def test_a_copy_of_the_launcher_meets_the_server_that_runs(world: World) -> None:
    elsewhere = world.root / "copies"
    elsewhere.mkdir()
    shutil.copy(world.install.launcher, elsewhere / "gcc")
    world.write("a.c", SOURCE)
    world.server()
    env = {"PATH": f"{elsewhere}:{SYSTEM_PATH}"}
    world.compare("/usr/bin/gcc", "-c", "a.c", wrapped=["gcc", "-c", "a.c"], env=env)
    assert world.stats()["direct_cache_hit"] == 1


# ---- the way to the real compiler ----------------------------------------------------------


@pytest.mark.parametrize("resident", ["1", "0"])
@pytest.mark.parametrize("wrapper", ["ccache", "distcc", "pycc"])
def test_the_compiler_is_found_behind_links_of(world: World, wrapper: str, resident: str) -> None:
    other = world.root / "wrappers"
    other.mkdir()
    program = world.root / wrapper
    program.write_text("#!/bin/sh\nexit 77\n")
    program.chmod(0o755)
    (other / "gcc").symlink_to(program)
    world.write("a.c", SOURCE)
    env = {"PATH": f"{world.install.links}:{other}:{SYSTEM_PATH}", "PYCC_RESIDENT": resident}
    world.compare("/usr/bin/gcc", "-c", "a.c", wrapped=["gcc", "-c", "a.c"], env=env)
    assert world.stats(env)["direct_cache_hit"] == 1


@pytest.mark.parametrize("resident", ["1", "0"])
def test_a_compiler_named_by_our_own_link_is_the_next_one(world: World, resident: str) -> None:
    world.write("a.c", SOURCE)
    link = world.install.links / "gcc"
    world.compare(
        "/usr/bin/gcc",
        "-c",
        "a.c",
        wrapped=[world.install.launcher, link, "-c", "a.c"],
        env={"PYCC_RESIDENT": resident},
    )


@pytest.mark.parametrize("resident", ["1", "0"])
def test_a_wrapper_script_that_calls_itself_is_named_and_ends_with_111(
    world: World, resident: str
) -> None:
    script = world.script("wrap/gcc", 'gcc "$@"')
    world.write("a.c", SOURCE)
    path = f"{world.install.links}:{script.parent}:{SYSTEM_PATH}"
    done = world.call("gcc", "-c", "a.c", env={"PATH": path, "PYCC_RESIDENT": resident})
    assert done.status == 111
    assert b"recursive invocation: gcc" in done.err


def test_a_wrapper_script_in_front_of_us_works_with_a_path_setting(world: World) -> None:
    script = world.script("wrap/gcc", f'exec {world.install.links}/gcc "$@"')
    world.write("a.c", SOURCE)
    env = {"PATH": f"{script.parent}:{SYSTEM_PATH}", "CCACHE_PATH": SYSTEM_PATH}
    world.compare("/usr/bin/gcc", "-c", "a.c", wrapped=["gcc", "-c", "a.c"], env=env)
    assert world.stats(env)["direct_cache_hit"] == 1


def test_a_compiler_that_is_a_script_around_gcc_is_cached(world: World) -> None:
    script = world.script("wrap/gcc", 'exec /usr/bin/gcc -DV=1 "$@"')
    world.write("a.c", "int v = V;\n")
    env = {"PATH": f"{world.install.links}:{script.parent}:{SYSTEM_PATH}"}
    world.compare("gcc", "-c", "a.c", env=env)
    assert world.stats(env)["direct_cache_hit"] == 1
    world.script("wrap/gcc", 'exec /usr/bin/gcc -DV=2 "$@"')
    world.compare("gcc", "-c", "a.c", env=env)


def test_a_compiler_dropped_in_front_is_used_at_once(world: World) -> None:
    front = world.root / "front"
    front.mkdir()
    world.write("a.c", "int v = V;\n")
    env = {"PATH": f"{world.install.links}:{front}:{SYSTEM_PATH}"}
    words = ["gcc", "-DV=1", "-c", "a.c"]
    world.compare(*words, env=env)
    world.script("front/gcc", 'exec /usr/bin/gcc "$@" -UV -DV=2')
    world.compare(*words, env=env)
    (front / "gcc").unlink()
    world.compare(*words, env=env)


def test_a_relative_path_entry_is_looked_up_from_the_working_directory(world: World) -> None:
    for value, name in enumerate(("one", "two")):
        script = f'#!/bin/sh\nexec /usr/bin/gcc "$@" -DV={value}\n'
        world.write(f"{name}/bin/gcc", script, 0o755)
        world.write(f"{name}/a.c", "int v = V + 7;\n")
    env = {"PATH": f"{world.install.links}:bin:{SYSTEM_PATH}"}
    made = []
    for name in ("one", "two"):
        for _ in range(2):
            assert world.call("gcc", "-c", "a.c", env=env, cwd=world.src / name).status == 0
        made.append((world.src / name / "a.o").read_bytes())
        subprocess.run(
            [f"{world.src}/{name}/bin/gcc", "-c", "a.c", "-o", "bare.o"],
            cwd=world.src / name,
            check=True,
        )
        assert made[-1] == (world.src / name / "bare.o").read_bytes()
    assert made[0] != made[1]


@pytest.mark.parametrize("path", [None, "", ":", "/nowhere"])
def test_without_a_path_to_it_the_compiler_is_the_systems_or_not_found(
    world: World, path: str | None
) -> None:
    world.write("a.c", SOURCE)
    link = world.install.links / "gcc"
    done = world.call(link, "-c", "a.c", env={"PATH": path})
    if path is None:
        assert (done.status, done.err) == (0, b"")
        assert (world.src / "a.o").exists()
    else:
        assert done.status == 1
        assert b'could not find compiler "gcc" in PATH' in done.err


def test_a_compiler_that_is_not_there_is_named_and_counted(world: World) -> None:
    done = world.call(world.install.links / "as-is", "-c", "a.c")
    assert done.status == 1
    assert b'could not find compiler "as-is" in PATH' in done.err
    assert world.stats()["could_not_find_compiler"] == 1


# ---- words and directories -----------------------------------------------------------------


def test_names_and_words_that_are_not_utf8(world: World) -> None:
    name = b"\xff\xfe b\xe4r.c"
    with open(os.path.join(os.fsencode(world.src), name), "wb") as file:
        file.write(b"const char *v = V;\n")
    outcome = world.compare("gcc", b'-DV="\xe9"', "-c", name, "-o", b"\xf6 .o", "-MD")
    assert b"\xf6 .o" in outcome.tree
    assert world.stats()["direct_cache_hit"] == 1


def test_a_working_directory_that_is_not_utf8(world: World) -> None:
    directory = os.path.join(os.fsencode(world.src), b"\xfcber")
    os.mkdir(directory)
    world.src = Path(os.fsdecode(directory))
    world.write("a.c", SOURCE)
    world.compare("gcc", "-g", "-c", "a.c")
    assert world.stats()["direct_cache_hit"] == 1


def test_an_argument_of_120_kilobytes(world: World) -> None:
    world.write("a.c", "const char v[] = V;\n")
    world.compare("gcc", f'-DV="{"x" * 120_000}"', "-c", "a.c")
    assert world.stats()["direct_cache_hit"] == 1


def test_5000_arguments(world: World) -> None:
    world.write("a.c", "int v = D4999;\n")
    world.compare("gcc", *(f"-DD{n}={n}" for n in range(5000)), "-c", "a.c")
    assert world.stats()["direct_cache_hit"] == 1


def test_more_words_than_gcc_itself_can_hand_on(world: World) -> None:
    world.write("a.c", SOURCE)
    world.compare("gcc", *(f"-DD{n}=1" for n in range(40_000)), "-c", "a.c", times=1)


def test_no_arguments(world: World) -> None:
    world.compare("gcc", times=1)


def test_an_empty_argument(world: World) -> None:
    world.compare("gcc", "", "-c", "a.c", times=1)


def test_a_deleted_working_directory(world: World) -> None:
    world.write("a.c", SOURCE)
    for program in ("/usr/bin/gcc", str(world.install.links / "gcc")):
        gone = world.root / "gone"
        gone.mkdir()
        out = world.root / f"{program.count('l')}.o"
        text = f"cd {gone} && rmdir {gone} && {program} -c {world.src}/a.c -o {out}"
        done = subprocess.run(
            ["/bin/sh", "-c", text], env=world.environment(None), check=False, capture_output=True
        )
        (world.root / "result").write_bytes(b"%d %s" % (done.returncode, done.stderr))
        if program == "/usr/bin/gcc":
            expected = (done.returncode, done.stderr, out.exists())
        else:
            assert (done.returncode, done.stderr, out.exists()) == expected


def test_a_directory_that_cannot_be_searched_upwards(world: World) -> None:
    world.write("deep/er/a.c", SOURCE)
    world.src = world.src / "deep/er"
    world.compare("gcc", "-c", "a.c")


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["-v"],
        ["-print-prog-name=cc1"],
        ["-E", "a.c"],
        ["-M", "a.c"],
        ["-fsyntax-only", "a.c"],
        ["a.c", "-c", "b.c"],
        ["-print-search-dirs"],
        ["-dM", "-E", "a.c"],
        ["-c", "a.c", "-o", "-"],
        ["-S", "a.c", "-o", "-"],
        ["a.c", "-o", "prog"],
    ],
)
def test_what_cannot_be_cached_runs_as_it_is(world: World, words: list[str]) -> None:
    world.write("a.c", SOURCE)
    world.write("b.c", "int main(void) { return 0; }\n")
    if words[-1] == "prog":
        words = ["b.c", *words[1:]]
    world.compare("gcc", *words, times=1)


@pytest.mark.parametrize(
    "words",
    [
        ["-c", "a.c"],
        ["-c", "a.c", "-o", "b.o"],
        ["-c", "-g", "a.c", "-MD"],
        ["-S", "a.c"],
        ["-c", "a.c", "-MMD", "-MF", "x.d", "-MT", "t"],
        ["-c", "bad.c"],
        ["-c", "warn.c", "-Wall"],
        ["-c", "missing.c"],
        ["-E", "a.c"],
    ],
)
def test_without_a_server_the_results_are_the_same(private: World, words: list[str]) -> None:
    private.write("a.c", SOURCE)
    private.write("bad.c", "int f( {\n")
    private.write("warn.c", "int f(void) { int unused; return 0; }\n")
    private.compare("gcc", *words, env={"PYCC_RESIDENT": "0"})
    assert not private.servers()
    assert list((private.root / "tmp").iterdir()) == []


def test_a_server_and_calls_without_one_share_the_cache(world: World) -> None:
    world.write("a.c", SOURCE)
    world.gcc("-c", "a.c", env={"PYCC_RESIDENT": "0"})
    world.gcc("-c", "a.c")
    assert world.stats()["direct_cache_hit"] == 1


def test_nothing_is_left_in_the_source_directory(world: World) -> None:
    world.write("a.c", SOURCE)
    world.gcc("-c", "a.c")
    assert sorted(tree_of(world.src)) == [b"a.c", b"a.o"]
