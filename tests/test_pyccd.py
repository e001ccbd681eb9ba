"""The daemon as a program: how it starts, what it takes from jobs, how it ends."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pycc.remote.protocol import Request
from tests.daemon_kit import ROOT, a_farm, alive, answer, free_port, open_place, said, wait_for

JOB = Request(1, tuple(b"gcc -c a.c -o a.o".split()), b"int x;\n")
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root becomes somebody else")


# Who asks what the compiler is gets no answer; a job has this output.
JOBS_ONLY = 'case " $* " in *" out.o "*) ;; *) exit 1 ;; esac; '
NOTE = JOBS_ONLY + 'echo $$ > "$(dirname "$0")/../notes/pid"; '
SLOW = NOTE + "exec sleep 60"


def pid_in(place: Path) -> int:
    path = place / "notes/pid"
    wait_for(lambda: path.exists() and path.read_text().strip())
    return int(path.read_text())


@pytest.fixture
def place() -> Iterator[Path]:
    with open_place() as place:
        yield place


# Starting.


def test_without_any_compiler_it_does_not_start(place: Path) -> None:
    port = str(free_port())
    status, _, err = said("--daemon", "--no-detach", "--port", port, PATH=str(place))
    assert status == 110
    for remedy in ("DISTCC_CMDLIST", "--install-links", "--enable-tcp-insecure", "DISTCCD_PATH"):
        assert remedy in err


@pytest.mark.parametrize("way", ["insecure", "cmdlist"])
def test_without_a_compiler_but_with_leave_to_run_something_it_starts(
    place: Path, way: str
) -> None:
    (place / "list").write_text("/bin/true\n")
    words = {
        "insecure": ("--enable-tcp-insecure",),
        "cmdlist": ("--cmdlist", str(place / "list")),
    }
    with a_farm(*words[way], PATH=str(place)) as farm:
        assert farm.process.poll() is None


def test_who_is_to_be_authenticated_needs_a_principal_to_talk_to() -> None:
    status, _, err = said("--daemon", "--auth")
    assert status == 119
    assert "--auth: " in err


def test_the_principal_is_shown() -> None:
    assert said("--show-principal")[:2] == (0, "Principal\t: Not Set\n")
    assert said("--show-principal", DISTCCD_PRINCIPAL="x")[:2] == (0, "Principal is\t: x\n")


@pytest.mark.parametrize("home", [None, "/dev/null", "/missing"])
def test_home_does_not_matter(home: str | None) -> None:
    with a_farm(**({} if home is None else {"HOME": home})) as farm:
        assert farm.ask(JOB).status == 0
        wait_for(lambda: "cache:miss" in farm.log)
        assert farm.ask(JOB).status == 0
        wait_for(lambda: "cache:hit" in farm.log)
        assert (farm.place / "cache/pycc/1").is_dir()


@pytest.mark.parametrize("directory", ["/dev/null/.cache/ccache", "/proc/nothing", "relative"])
def test_a_cache_that_cannot_be_made_costs_one_warning(directory: str) -> None:
    with a_farm("--cache-dir", directory) as farm:
        for _ in range(2):
            assert farm.ask(JOB).status == 0
        wait_for(lambda: len(farm.summaries()) == 2)
        assert [line.split()[-1] for line in farm.summaries()] == ["cache:off"] * 2
        assert farm.log.count("compiling without a cache") == 1


@pytest.mark.parametrize(
    ("directory", "state", "cache"),
    [
        ("/dev/null/x", "unusable", {"hit": 0, "miss": 0, "off": 2}),
        ("", "none", {"hit": 0, "miss": 0, "off": 2}),
        (None, "used", {"hit": 1, "miss": 1, "off": 0}),
    ],
)
def test_the_counters_of_a_running_daemon(
    directory: str | None, state: str, cache: dict[str, int]
) -> None:
    port = free_port()
    words = ["--stats", "--stats-port", str(port)]
    with a_farm(*words, *([] if directory is None else ["--cache-dir", directory])) as farm:
        assert farm.ask(JOB).status == 0
        wait_for(lambda: len(farm.summaries()) == 1)
        assert farm.ask(JOB).status == 0
        wait_for(lambda: len(farm.summaries()) == 2)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=10) as answered:
            page = json.load(answered)
        assert page["jobs"]["compile_ok"] == 2
        assert (page["cache_state"], page["cache"]) == (state, cache)


@needs_root
def test_a_cache_of_somebody_else_costs_one_warning(place: Path) -> None:
    (place / "cache/pycc").mkdir(parents=True, mode=0o755)
    with a_farm("--cache-dir", str(place / "cache")) as farm:
        assert farm.ask(JOB).status == 0
        assert farm.log.count("compiling without a cache") == 1
        assert "--fix-permissions" in farm.log


# What a job may use.


def test_the_limits_of_a_compile() -> None:
    script = JOBS_ONLY + (
        'out="$(dirname "$0")/../notes/limits"; { ulimit -c; ulimit -f; nice; '
        "grep NoNewPrivs /proc/self/status; } > $out.new; mv $out.new $out; exit 1"
    )
    with a_farm("--enable-tcp-insecure", "--nice", "7", compiler=script) as farm:
        assert farm.ask(JOB).status == 1 << 8
        core, size, nice, privileges = (farm.place / "notes/limits").read_text().splitlines()
    assert core == "0"
    assert int(size) == 5_000_000_000 // 512
    assert int(nice) == min(os.nice(0) + 7, 19)
    assert privileges.split() == ["NoNewPrivs:", "1"]


def test_a_job_that_takes_too_long_is_ended_and_answered() -> None:
    with a_farm("--enable-tcp-insecure", "--job-lifetime", "1", compiler=SLOW) as farm:
        reply = farm.ask(JOB)
        assert reply.status == 118 << 8
        assert b"--job-lifetime" in reply.err
        wait_for(lambda: "COMPILE_TIMEOUT" in farm.log)
        wait_for(lambda: not alive(pid_in(farm.place)))


def test_a_client_that_leaves_ends_its_compile() -> None:
    with a_farm("--enable-tcp-insecure", compiler=SLOW) as farm:
        with farm.send(JOB):
            number = pid_in(farm.place)
            assert alive(number)
        wait_for(lambda: not alive(number), 5)
        wait_for(lambda: "CLI_DISCONN" in farm.log)


@pytest.mark.parametrize(
    "text", [b'asm(".incbin \\"/etc/passwd\\"");\n', b'#pragma GCC pch_preprocess "/x"\n']
)
def test_a_text_that_reads_the_servers_files_is_refused(text: bytes) -> None:
    with a_farm() as farm:
        reply = farm.ask(Request(1, JOB.argv, text))
        assert reply.status == 110 << 8
        assert b"read" in reply.err
        wait_for(lambda: "REJ_BAD_REQ" in farm.log)


@pytest.mark.parametrize(("compiler", "status"), [("gcc", 0), ("clang", 110 << 8)])
def test_only_compilers_that_obey_directives_are_kept_from_them(compiler: str, status: int) -> None:
    text = b'const char *s = R"(\n#include "/etc/passwd"\n)";\n'
    argv = f"{compiler} -c a.cc -o a.o".encode().split()
    with a_farm() as farm:
        assert farm.ask(Request(1, tuple(argv), text)).status == status


def test_the_memory_of_large_jobs_is_given_back() -> None:
    """Texts of all sizes on many connections at once: what is kept of each adds up otherwise."""
    with a_farm() as farm:

        def resident() -> int:
            status = Path(f"/proc/{farm.process.pid}/status").read_text()
            return int(status.partition("VmRSS:")[2].split()[0]) >> 10

        def refused(megabytes: int) -> int:
            text = bytes(megabytes << 20)
            return farm.ask(Request(2, (b"nothing", b"-c", b"a.c"), text)).status

        assert refused(1) == 110 << 8
        before = resident()
        with ThreadPoolExecutor(6) as pool:
            assert set(pool.map(refused, [1, 2, 3, 5, 8, 12, 16, 20] * 4)) == {110 << 8}
        wait_for(lambda: resident() < before + 36)  # two arenas with something to spare


# Leaving.


def test_a_signal_lets_jobs_finish() -> None:
    script = NOTE + "sleep 1; echo made >&2; exit 3"
    with a_farm("--enable-tcp-insecure", compiler=script) as farm, farm.send(JOB) as connection:
        pid_in(farm.place)
        farm.process.send_signal(signal.SIGTERM)
        reply = answer(connection)
        assert (reply.status, reply.err) == (3 << 8, b"made\n")
        assert farm.process.wait(10) == 0
        with pytest.raises(ConnectionRefusedError):
            farm.send(JOB)


def test_a_second_signal_ends_jobs_at_once_and_says_so() -> None:
    with (
        a_farm("--enable-tcp-insecure", compiler=SLOW) as farm,
        farm.send(JOB) as connection,
    ):
        number = pid_in(farm.place)
        began = time.monotonic()
        farm.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "leaving on signal 15" in farm.log)
        assert alive(number)
        farm.process.send_signal(signal.SIGTERM)
        reply = answer(connection)
        assert (reply.status, reply.err) == (114 << 8, b"pyccd: the daemon is leaving\n")
        assert farm.process.wait(10) == 0
        assert time.monotonic() - began < 5
        assert not alive(number)
        left = farm.place / "pid"
        assert not left.exists() or left.read_text() == ""


# Checking.


def check(place: Path, *words: str, **variables: str) -> tuple[int, list[str]]:
    temporary = place / "tmp"
    temporary.mkdir(exist_ok=True)
    temporary.chmod(0o1777)
    words = ("--check", "--port", str(free_port()), "--allow", "10.0.0.0/8", *words)
    status, out, err = said(*words, TMPDIR=str(temporary), **variables)
    assert err == ""
    return status, out.splitlines()


def test_all_is_well(place: Path) -> None:
    status, lines = check(place)
    assert status == 0
    assert all(line.startswith("ok: ") for line in lines)
    things = [line.split(": ")[1] for line in lines]
    assert things == ["port", "allow", "cache", "temporary directory", "compilers"]
    assert " gcc " in lines[-1]


def test_each_problem_has_its_line_and_remedy(place: Path) -> None:
    (place / "bin").mkdir()
    (place / "bin/gcc-99").write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    (place / "bin/gcc-99").chmod(0o755)
    (place / "bin").chmod(0o755)
    words = ["--cache-dir", "/dev/null/cache", "--log-file", str(place / "no/log")]
    words += ["--pid-file", str(place), "--allow", "0.0.0.0/0"]
    status, lines = check(place, *words, PATH=f"{place}/bin:/usr/bin:/bin")
    assert status == 1
    problems = {
        line.split(": ")[1]: line for line in lines if line.startswith("PROBLEM: ") and "; " in line
    }
    assert set(problems) == {"allow", "log file", "pid file", "cache", "compiler"}
    assert "lets the whole world in" in problems["allow"]
    assert "mkdir -p" in problems["log file"]
    assert "is a directory" in problems["pid file"]
    assert "a file is in its way" in problems["cache"]
    assert "gcc-99" in problems["compiler"]
    assert "broken" in problems["compiler"]


def test_a_check_makes_no_cache(place: Path) -> None:
    status, lines = check(place, "--cache-dir", str(place / "missing/cache"))
    assert f"ok: cache: {place}/missing/cache does not exist, the daemon will make it" in lines
    assert status == 0
    assert not (place / "missing").exists()


def test_a_taken_port_is_a_problem_unless_it_is_our_own() -> None:
    with a_farm() as farm:
        words = ["--check", "--listen", "127.0.0.1", "--port", str(farm.port)]
        status, out, _ = said(*words)
        assert status == 1
        assert "PROBLEM: port: cannot listen on" in out
        status, out, _ = said(*words, "--pid-file", str(farm.place / "pid"))
        assert f"is taken by the running daemon, process {farm.process.pid}" in out
        assert status == 0


def test_a_check_says_what_keeps_a_daemon_from_being_announced(place: Path) -> None:
    words = ("--check", "--zeroconf", "--no-cache", "--port", str(free_port()))
    assert "ok: zeroconf: can be announced" in said(*words)[1]
    status, out, _ = said(*words, "--listen", "127.0.0.1")
    assert status == 1
    assert "PROBLEM: zeroconf: no other machine can reach 127.0.0.1; leave" in out
    (place / "zeroconf.py").write_text("raise ImportError\n")
    status, out, _ = said(*words, PYTHONPATH=f"{place}:{ROOT}")
    assert status == 1
    assert "PROBLEM: zeroconf: the Python package zeroconf is not installed; pip" in out


@needs_root
def test_permissions_are_mended_and_then_checked(place: Path) -> None:
    (place / "cache/pycc/1").mkdir(parents=True, mode=0o755)
    words = ["--user", "nobody", "--cache-dir", str(place / "cache")]
    assert any("PROBLEM: cache" in line for line in check(place, *words)[1])
    status, lines = check(place, *words, "--fix-permissions")
    assert status == 0
    assert f"fixed: {place}/cache/pycc/1: given to nobody:nogroup" in lines
    assert (place / "cache").stat().st_uid == 0
