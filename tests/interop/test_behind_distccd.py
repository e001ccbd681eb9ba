"""pycc as the compiler behind a stock distccd: texts are found again whatever they are called."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon_kit import ENVIRONMENT, daemon
from tests.e2e.kit import World, install, wait_until
from tests.mounting import NO_ROOTS, has_user_namespaces


def compile_by(
    world: World, compiler: str, host: str, *words: str
) -> subprocess.CompletedProcess[bytes]:
    state = world.root / "distcc"
    state.mkdir(exist_ok=True)
    return subprocess.run(
        ["/usr/bin/distcc", compiler, *words],
        cwd=world.src,
        env={**ENVIRONMENT, "DISTCC_HOSTS": host, "DISTCC_DIR": str(state), "DISTCC_FALLBACK": "0"},
        capture_output=True,
        check=False,
    )


NOT_ROOT = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
"""distccd would become a user who may not be able to run our Python."""


@pytest.fixture(scope="module")
def reachable() -> Iterator[Path]:
    """A directory that distccd's user may enter, with a copy of ours in it."""
    if NOT_ROOT and not has_user_namespaces():
        pytest.skip(NO_ROOTS)
    place = Path(tempfile.mkdtemp(prefix="behind-"))
    place.chmod(0o755)
    try:
        installed = install(place / "prefix")
        for name in ("gcc", "g++"):  # the client asks for these
            installed.link(f"{sys.implementation._multiarch}-{name}")
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.mark.parametrize(
    ("compiler", "name", "text"),
    [
        ("gcc", "a.c", '#include <stdio.h>\nint f(void) { return puts(""); }\n'),
        ("g++", "a.cc", "#include <string>\nstd::string f() { return __FILE__; }\n"),
        ("clang", "a.c", "int f(void) { int unused; return 1; }\n"),
    ],
)
@pytest.mark.parametrize("words", [("-O2",), ("-g", "-Wall")])
def test_the_second_time_nothing_is_compiled(
    private: World, reachable: Path, compiler: str, name: str, text: str, words: tuple[str, ...]
) -> None:
    world, cache = private, Path(tempfile.mkdtemp(dir=reachable))
    for path in (cache, cache / "run"):
        path.mkdir(exist_ok=True)
        path.chmod(0o777)
    settings = {
        "PATH": f"{reachable}/prefix/links:/usr/bin:/bin",
        "CCACHE_DIR": str(cache),
        "XDG_RUNTIME_DIR": str(cache / "run"),
    }
    world.write(name, text)
    with daemon("distccd", wrapper=NOT_ROOT, **settings) as server:
        made = []
        for _ in range(3):
            done = compile_by(world, compiler, server.host(), *words, "-c", name, "-o", "a.o")
            assert done.returncode == 0, done
            made.append(((world.src / "a.o").read_bytes(), done.stderr))
        assert len(server.summaries_of(3)) == 3
        assert made[0] == made[1] == made[2]

        def counts() -> tuple[int, int]:
            done = world.call(
                world.install.launcher, "--print-stats", env={"CCACHE_DIR": str(cache)}
            )
            found = dict(line.split("\t") for line in done.out.decode().splitlines())
            hits = int(found["direct_cache_hit"]) + int(found["preprocessed_cache_hit"])
            return hits, int(found["cache_miss"])

        wait_until(lambda: counts() == (2, 1))
