"""The real distcc's client with our daemon: objects, messages, refusals, and the daemon's cache."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pycc.remote.protocol import Request
from tests.daemon_kit import PROGRAM, ROOT, Daemon, a_farm, alive, free_port, wait_for
from tests.interop.kit import CXX, SOURCE, WAYS, a_large_text, write_sources


@pytest.fixture
def farm() -> Iterator[Daemon]:
    with a_farm() as farm:
        write_sources(farm.place / "project")
        yield farm


@WAYS
@pytest.mark.parametrize(
    ("compiler", "name", "text", "words"),
    [
        ("gcc", "a.c", SOURCE, ["-O2"]),
        ("gcc", "a.c", SOURCE, ["-O2", "-g"]),
        ("gcc", "a.c", SOURCE, ["-Wall", "-Wextra"]),
        ("gcc", "a.c", SOURCE, ["-S"]),
        ("g++", "a.cc", CXX, ["-O1", "-std=c++17"]),
        ("/usr/bin/gcc", "a.c", SOURCE, ["-O2"]),
        ("gcc", "a.c", "int f(\n", []),
        ("gcc", "a.c", "#error no\n", []),
    ],
)
def test_like_a_local_compile_of_the_text(
    farm: Daemon, options: str, compiler: str, name: str, text: str, words: list[str]
) -> None:
    farm.write(name, text)
    what = "-S" if "-S" in words else "-c"
    flags = [word for word in words if word != "-S"]
    suffix = ".ii" if name.endswith("cc") else ".i"
    for directory in ("project", "local"):
        (farm.place / directory).mkdir(exist_ok=True)
    # What a stock client asks for: the preprocessed text, compiled.
    preprocessed = subprocess.run(
        [compiler, *flags, "-E", name, "-o", f"../local/a{suffix}"],
        cwd=farm.place / "project",
        capture_output=True,
        check=False,
    )
    expected = subprocess.run(
        [compiler, *flags, what, f"a{suffix}", "-o", "../project/expected"],
        cwd=farm.place / "local",  # where there is no source to show lines of
        capture_output=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    )
    for _ in range(2):
        done = farm.distcc(compiler, *flags, what, name, "-o", "made", options=options)
        if preprocessed.returncode:
            assert done.returncode
            continue
        assert done.returncode == expected.returncode
        if expected.returncode == 0:
            assert farm.read("made") == farm.read("expected")
            assert done.stderr == expected.stderr
        else:
            assert expected.stderr in done.stderr
    if not preprocessed.returncode:
        kept = "cache:hit" if expected.returncode == 0 else "cache:miss"
        code = "COMPILE_OK exit:0" if expected.returncode == 0 else "COMPILE_ERROR exit:1"
        first, second = farm.summaries_of(2)
        assert first.startswith(code)
        assert first.endswith("cache:miss")
        assert second.startswith(code)
        assert second.endswith(kept)


@WAYS
def test_a_large_text(farm: Daemon, options: str) -> None:
    farm.write("big.c", a_large_text())
    done = farm.distcc("gcc", "-c", "big.c", "-o", "made", options=options)
    assert done.returncode == 0, done.stderr
    subprocess.run(["gcc", "-c", "big.c", "-o", "expected"], cwd=farm.place / "project", check=True)
    assert farm.read("made") == farm.read("expected")


def test_fifty_jobs_at_once(farm: Daemon) -> None:
    for number in range(50):
        farm.write(f"n{number}.c", f"int n{number} = {number};\n")
    with ThreadPoolExecutor(50) as pool:
        done = list(pool.map(lambda n: farm.distcc("gcc", "-c", f"n{n}.c"), range(50)))
    assert [one.returncode for one in done] == [0] * 50
    farm.summaries_of(50)
    assert all(farm.read(f"n{number}.o") for number in range(50))


def test_another_directory_hits_the_daemons_cache(farm: Daemon) -> None:
    other = farm.place / "other"
    other.mkdir()
    for directory in (farm.place / "project", other):
        write_sources(directory)
        assert farm.distcc("gcc", "-O2", "-c", "a.c", cwd=directory).returncode == 0
    assert [line.rsplit(" ", 1)[1] for line in farm.summaries_of(2)] == ["cache:miss", "cache:hit"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (b"/bin/sh -c a.c -o a.o", b"sh not in"),
        (b"/tmp/gcc -c a.c -o a.o", b"cannot be an absolute path"),
        (b"gcc-99 -c a.c -o a.o", b"failed to exec gcc-99"),
        (b"gcc -fplugin=x.so -c a.c -o a.o", b"-fplugin="),
        (b"gcc -wrapper /bin/sh -c a.c -o a.o", b"-wrapper"),
        (b"gcc a.c -o a", b"not a compile"),
        (b"", b"no command"),
    ],
)
def test_a_refusal_says_why_inside_the_protocol(farm: Daemon, words: bytes, said: bytes) -> None:
    reply = farm.ask(Request(1, tuple(words.split()), b"int x;\n"))
    assert reply.status == 110 << 8
    assert said in reply.err
    assert reply.object == b""


def test_what_is_refused_is_compiled_by_the_client_itself(farm: Daemon) -> None:
    farm.write("a.c", SOURCE)
    done = farm.distcc("gcc", "-fdump-tree-optimized", "-c", "a.c", DISTCC_FALLBACK="1")
    assert done.returncode == 0
    assert farm.summaries_of(1)[0].startswith("REJ_BAD_REQ")
    assert farm.read("a.o")
    assert list((farm.place / "project").glob("*.optimized"))  # which distccd would have kept


def test_a_file_for_the_assembler_is_the_clients(farm: Daemon) -> None:
    farm.write("data", "the client's")
    farm.write("a.c", 'asm(".incbin \\"data\\"");\n')
    done = farm.distcc("gcc", "-c", "a.c", DISTCC_FALLBACK="1")
    assert done.returncode == 0, done.stderr
    assert b"the client's" in farm.read("a.o")
    assert farm.summaries_of(1)[0].startswith("REJ_BAD_REQ exit:110")


def test_a_detached_daemon(farm: Daemon, tmp_path: Path) -> None:
    port = free_port()
    words = ["--daemon", "--port", str(port), "--listen", "127.0.0.1", "--lifetime", "60"]
    words += ["--pid-file", str(tmp_path / "pid"), "--log-file", str(tmp_path / "log")]
    command = [sys.executable, "-c", PROGRAM, *words]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    started = subprocess.run(command, env=environment, check=False, timeout=30)
    assert started.returncode == 0
    number = int((tmp_path / "pid").read_text())
    try:
        assert farm_on(farm, port).ask(Request(1, (), b"")).status == 110 << 8
        again = subprocess.run(
            command, env=environment, capture_output=True, check=False, timeout=30
        )
        assert again.returncode == 102
        assert b"cannot listen on" in again.stderr
    finally:
        os.kill(number, signal.SIGTERM)
    wait_for(lambda: not alive(number))


def farm_on(farm: Daemon, port: int) -> Daemon:
    """The same place with another daemon."""
    return Daemon(farm.kind, farm.place, port, farm.process)


def test_nothing_is_left_in_the_temporary_directory(farm: Daemon) -> None:
    farm.write("a.c", SOURCE)
    farm.write("bad.c", "int f(\n")
    for name in ("a.c", "bad.c", "a.c"):
        farm.distcc("gcc", "-c", name)
    farm.summaries_of(3)
    wait_for(lambda: not list((farm.place / "tmp").iterdir()))
