"""Lines of the wikis' pages on distcc and ccache, as docs/wiki-recipes.md answers them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycc.remote.hosts import parse_hosts
from tests.daemon_kit import ROOT, Daemon, a_farm, daemon, free_port, open_place, said
from tests.e2e.kit import SYSTEM_PATH, World
from tests.interop.kit import farm_counts

HELLO = '#include <stdio.h>\nint main(void) { printf("Hello distcc!\\n"); return 0; }\n'
DOCUMENT = ROOT / "docs/wiki-recipes.md"


@pytest.fixture(scope="module")
def server() -> Iterator[Daemon]:
    with a_farm() as made:
        yield made


@pytest.fixture
def world(another_world: World) -> World:
    another_world.write("main.c", HELLO)
    return another_world


@pytest.fixture
def path(world: World) -> str:
    """`distcc` and `pycc` are ours; nothing masquerades yet."""
    programs = world.root / "bin"
    programs.mkdir()
    for name in ("distcc", "ccache", "pycc"):
        (programs / name).symlink_to(world.install.launcher)
    return f"{programs}:{SYSTEM_PATH}"


def masquerade(world: World, name: str, *, text: str = "") -> Path:
    """A directory of links to distcc's name, or of shell scripts, for gcc and g++."""
    place = world.root / name
    place.mkdir()
    for compiler in ("gcc", "g++"):
        if text:
            (place / compiler).write_text(f'#!/bin/sh\n{text} /usr/bin/{compiler} "$@"\n')
            (place / compiler).chmod(0o755)
        else:
            (place / compiler).symlink_to("../bin/distcc")
    return place


def sh(world: World, script: str, **env: str) -> str:
    """What a user's shell prints, both streams."""
    done = world.call("sh", "-ec", f"exec 2>&1\n{script}", env=env)
    assert done.status == 0, done.out.decode()
    return done.out.decode()


# ---- testing by hand -----------------------------------------------------------------------


def test_hello_distcc(world: World, server: Daemon, path: str) -> None:
    script = """
        export DISTCC_VERBOSE=1
        distcc gcc -c main.c -o main.o
        gcc main.o -o main
        ./main
    """
    text = sh(world, script, PATH=path, DISTCC_HOSTS=server.host())
    assert f"compile main.c on {server.host()} completed ok" in text
    assert text.endswith("Hello distcc!\n")


def test_a_makefile_with_distcc_in_cc(world: World, server: Daemon, path: str) -> None:
    world.write("Makefile", "CC = gcc\nall: main.o\n\t$(CC) main.o -o main\n")
    before = len(server.summaries())
    script = 'make -j2 CC="distcc gcc -std=gnu99" && ./main'
    assert sh(world, script, PATH=path, DISTCC_HOSTS=server.host()).endswith("Hello distcc!\n")
    server.summaries_of(before + 1)


def test_response_files(world: World, server: Daemon, path: str) -> None:
    world.write("words.rsp", "-O1 -c main.c -o main.o")
    before = len(server.summaries())
    sh(world, "distcc gcc @words.rsp", PATH=path, DISTCC_HOSTS=server.host(), DISTCC_FALLBACK="0")
    server.summaries_of(before + 1)


def test_the_statistics_by_ccaches_name(world: World, path: str) -> None:
    assert "Cacheable calls:" in sh(world, "ccache gcc -c main.c; ccache --show-stats", PATH=path)


def test_march_native_is_distributed(world: World, server: Daemon) -> None:
    env = {"DISTCC_HOSTS": server.host()}
    assert world.call("gcc", "-march=native", "-O2", "-c", "main.c", env=env).status == 0
    assert farm_counts(world, env).get("local", 0) == 0


# ---- PATH ----------------------------------------------------------------------------------


def test_ccaches_directory_before_distccs(world: World, server: Daemon, path: str) -> None:
    links = masquerade(world, "distcc-bin")
    (world.root / "hosts").mkdir()
    (world.root / "hosts/hosts").write_text(server.host())
    before = len(server.summaries())
    sh(
        world,
        "gcc -O2 -c main.c",
        PATH=f"{world.install.links}:{links}:{path}",
        DISTCC_DIR=str(world.root / "hosts"),
    )
    server.summaries_of(before + 1)
    assert world.stats()["cache_miss"] == 1


@pytest.mark.parametrize("order", [[0, 1], [1, 0], [0, 1, 0], [1, 1]])
def test_several_masquerade_directories_do_not_recurse(
    world: World, server: Daemon, path: str, order: list[int]
) -> None:
    places = [world.install.links, masquerade(world, "distcc-bin")]
    search = ":".join(str(places[number]) for number in order)
    text = sh(world, "gcc -c main.c -o a.o && gcc a.o -o main && ./main", PATH=f"{search}:{path}")
    assert text.endswith("Hello distcc!\n")
    assert "recursive" not in text


@pytest.mark.parametrize("command", ["distcc", "pycc", "ccache"])
def test_shell_scripts_in_place_of_links(
    world: World, server: Daemon, path: str, command: str
) -> None:
    scripts = masquerade(world, "scripts", text=command)
    before = len(server.summaries())
    sh(
        world,
        "gcc -O3 -c main.c -o main.o; gcc main.o -o main; ./main",
        PATH=f"{scripts}:{path}",
        DISTCC_HOSTS=server.host(),
    )
    server.summaries_of(before + 1)


@pytest.mark.parametrize("value", ["distcc", "pycc"])
def test_ccache_prefix(world: World, server: Daemon, path: str, value: str) -> None:
    (world.root / "hosts").mkdir()
    (world.root / "hosts/hosts").write_text(server.host())
    before = len(server.summaries())
    env = {"CCACHE_PREFIX": value, "DISTCC_DIR": str(world.root / "hosts")}
    sh(world, "gcc -O1 -g -c main.c", PATH=f"{world.install.links}:{path}", **env)
    server.summaries_of(before + 1)


# ---- DISTCC_DIR ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["a link into /tmp", "a link to what is gone", "a file", "/dev/null"]
)
def test_the_directory_of_states_may_be_anything(
    world: World, server: Daemon, path: str, kind: str
) -> None:
    place = world.root / "home/.distcc"
    env = {"PATH": f"{world.install.links}:{path}", "DISTCC_HOSTS": server.host()}
    if kind == "a link into /tmp":
        (world.root / "tmp/.distcc").mkdir()
        place.symlink_to(world.root / "tmp/.distcc")
    elif kind == "a link to what is gone":
        place.symlink_to("/tmp/gone/.distcc")
    elif kind == "a file":
        place.write_text("")
    else:
        env["DISTCC_DIR"] = "/dev/null/.distcc"
    assert sh(world, "gcc -O2 -c main.c && gcc main.o && ./a.out", **env) == "Hello distcc!\n"
    if kind == "a link into /tmp":
        assert (world.root / "tmp/.distcc/state").is_dir()


def test_the_monitor_of_portages_builds(world: World, tmp_path: Path) -> None:
    from pycc.remote.monitor_state import JobState, Phase

    state = JobState(os.fsencode(tmp_path), os.getpid(), b"kfifo.c")
    state.enter(Phase.COMPILE, "192.168.0.2", 1)
    code = "from pycc.remote.monitor_text import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"DISTCC_DIR": f"{tmp_path}/", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[1:4] == ["Compile", "kfifo.c", "192.168.0.2[1]"]
    state.leave()


# ---- host lists ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("192.168.0.1          192.168.0.2                       192.168.0.3", [4, 4, 4]),
        ("192.168.0.1/2        192.168.0.2                       192.168.0.3/10", [2, 4, 10]),
        ("192.168.0.1:4000/2   192.168.0.2/1                     192.168.0.3:3632/4", [2, 1, 4]),
        ("@192.168.0.1         @192.168.0.2:/usr/bin/distccd     192.168.0.3", [4, 4, 4]),
        ("192.168.0.1,cpp,lzo 192.168.0.2,cpp,lzo", [4, 4]),
        ("192.168.0.1/8\n192.168.0.2/4\n192.168.0.3/16\n", [8, 4, 16]),
        ("localhost host1 host2 host3", [2, 4, 4, 4]),
        ("@test1 @test2", [4, 4]),
        ("localhost/2 @bigman/16:/opt/bin/distccd old:4200/1\n# down\nfar/3,lzo", [2, 16, 1, 3]),
        ("127.0.0.1\n192.168.1.2\n192.168.1.3\n#...\n", [4, 4, 4]),
        ("127.0.0.1:4000 127.0.0.1:4001", [4, 4]),
        ("192.168.0.2/5 192.168.0.3/3 192.168.0.4/3", [5, 3, 3]),
        ("192.168.0.2:3692/5 192.168.0.3:3692/3", [5, 3]),
        ("--randomize --localslots=2 --localslots_cpp=8 +zeroconf a", [4]),
    ],
)  # fmt: skip
def test_host_lists(text: str, slots: list[int]) -> None:
    assert [host.slots for host in parse_hosts(text).hosts] == slots


# ---- the daemon ----------------------------------------------------------------------------


def test_variables_that_broke_a_daemon_are_harmless() -> None:
    variables = {
        "HOME": "/dev/null",
        "CCACHE_PREFIX": "distcc",
        "CCACHE_DIR": "/dev/null/.cache/ccache",
        "DISTCC_DIR": "/dev/null/.distcc",
        "DISTCC_HOSTS": "127.0.0.1",
        "DISTCC_VERBOSE": "1",
        "DISTCC_SAVE_TEMPS": "1",
    }
    with daemon("pyccd", **variables) as one:
        one.write("main.c", HELLO)
        for number in range(2):
            done = one.distcc("gcc", "-c", "main.c", "-o", "main.o")
            assert done.returncode == 0, done.stderr
            want = "cache:hit" if number else "cache:miss"
            assert one.summaries_of(number + 1)[-1].endswith(want)


def test_a_daemon_whose_path_has_ccaches_links_first() -> None:
    """The server's own masquerade directory: the compiler behind it is found."""
    with open_place() as place:
        (place / "gcc").symlink_to("/usr/bin/ccache")
        with daemon("pyccd", DISTCCD_PATH=f"{place}:/usr/bin:/bin") as one:
            one.write("main.c", HELLO)
            done = one.distcc("gcc", "-c", "main.c", "-o", "main.o", DISTCC_NO_REWRITE_CROSS="1")
            assert done.returncode == 0, done.stderr


def test_a_path_that_systemd_did_not_expand_is_said_at_once(tmp_path: Path) -> None:
    status, _, err = said("--daemon", "--no-detach", DISTCCD_PATH="/usr/lib/ccache/bin:$PATH")
    assert status == 110
    assert "/usr/lib/ccache/bin:$PATH" in err


def test_the_log_is_opened_before_rights_go(as_root: None) -> None:
    with open_place() as place:
        words = [
            "--daemon",
            "--no-detach",
            "--port",
            str(free_port()),
            "--lifetime",
            "1",
            "--verbose",
        ]
        log = place / "log/distccd.log"
        log.parent.mkdir(mode=0o755)
        status, _, err = said(*words, "--log-file", str(log), "--user", "nobody")
        assert (status, err) == (0, "")
        assert "allowing up to" in log.read_text()


def test_a_toolchain_a_daemon(tmp_path: Path) -> None:
    """As docs/cross-compilers.md has it: the same name, two directories, two ports."""
    with open_place() as place:
        for name, compiler in (("arm", "gcc"), ("riscv", "clang")):
            (place / name).mkdir()
            (place / name / "x-gcc").symlink_to(f"/usr/bin/{compiler}")
            (place / name / "as").symlink_to("/usr/bin/as")
        made = {}
        for name in ("arm", "riscv"):
            config = place / f"{name}.conf"
            config.write_text(f"path = {place}/{name}\n")
            with daemon("pyccd", "--config", str(config)) as one:
                one.write("main.i", "int f(void) { return 1; }\n")
                done = one.distcc("x-gcc", "-c", "main.i", "-o", "main.o")
                assert done.returncode == 0, done.stderr
                made[name] = one.read("main.o")
                refused = one.distcc("gcc", "-c", "main.i", "-o", "other.o")
                assert refused.returncode
        assert b"GCC: (" in made["arm"]
        assert b"clang version" in made["riscv"]


def test_the_toolchain_is_tried_as_the_daemons_user(as_root: None) -> None:
    with open_place() as place:
        (place / "bin").mkdir()
        (place / "bin/gcc").write_text('#!/bin/sh\nexec /usr/bin/gcc "$@"\n')
        words = ["--check", "--user", "nobody", "--path", str(place / "bin"), "--port"]
        for mode, fine in ((0o755, True), (0o700, False)):
            (place / "bin/gcc").chmod(mode)
            _, out, _ = said(*words, str(free_port()))
            assert ("PROBLEM: compilers:" not in out) == fine, out


# ---- the document --------------------------------------------------------------------------


def test_every_row_says_whether_it_is_replayed() -> None:
    rows = [x for x in DOCUMENT.read_text().splitlines() if x.startswith("| ")]
    rows = [row for row in rows if not re.match(r"\| (what stands there|---)", row)]
    assert len(rows) > 80
    for row in rows:
        last = row.rstrip(" |").rpartition(" | ")[2].strip()
        assert last == "no" or last.startswith("`"), row


def test_the_tests_that_it_names_exist() -> None:
    text = DOCUMENT.read_text()
    names = set(re.findall(r"`(test_\w+)`", text))
    assert names
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    files = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    for name in names - files:
        assert f"def {name}(" in sources, name
