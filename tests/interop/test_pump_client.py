"""Our client in pump mode, with the real distccd."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.daemon_kit import Daemon, daemon
from tests.e2e.kit import World
from tests.interop.kit import farm_counts

SLASHES = b"/" * 8


@pytest.fixture(scope="module")
def stock() -> Iterator[Daemon]:
    with daemon("distccd", LC_ALL="C") as made:
        yield made


def without_roots(content: bytes, daemon: Daemon) -> bytes:
    """An object in which a directory that goes by many slashes is taken for the same."""
    return content


CASES = {
    "plain": ("gcc", ["-O2", "-Iinc"]),
    "absolute": ("gcc", ["-O2", "-I{src}/inc"]),
    "warning": ("gcc", ["-Wall", "-Wextra", "-I{src}/inc"]),
    "macros": ("gcc", ["-g", "-I{src}/inc"]),
    "clang": ("clang", ["-g", "-O1", "-I{src}/inc"]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_source_is_compiled_there_as_it_is(world: World, stock: Daemon, case: str) -> None:
    compiler, words = CASES[case]
    words = [word.format(src=world.src) for word in words]
    world.write(
        "inc/sub.h", "#define OWN 3\nstatic inline const char *own(void) { return __FILE__; }\n"
    )
    world.write(
        "a.c",
        '#include <stdio.h>\n#include <sub.h>\nint f(int a) { int unused; printf("%s %s", own(),'
        " __FILE__); return a + OWN; }\n",
    )
    env = {"DISTCC_HOSTS": stock.host(",cpp,lzo"), "X": "y"}
    for depfile in ([], ["-MD"], ["-MD", "-MP", "-MQ", "x y", "-MF", "deps"]):
        for source in ("a.c", str(world.src / "a.c")):
            command = (compiler, *words, *depfile, "-c", source, "-o", "made.o")
            done = world.call(*command, env=env)
            assert done.status == 0, done

            made = {p.name: p.read_bytes() for p in world.src.iterdir() if p.is_file()}
            plain = world.call(*command, bare=True)
            assert (done.out, done.err) == (plain.out, plain.err)
            expected = {p.name: p.read_bytes() for p in world.src.iterdir() if p.is_file()}
            if "-g" not in words or compiler == "clang":
                assert made == expected
            else:
                import subprocess

                (world.root / "m.o").write_bytes(made["made.o"])
                print(
                    subprocess.run(
                        ["readelf", "-p", ".debug_line_str", world.root / "m.o"],
                        capture_output=True,
                        text=True,
                    ).stdout
                )
            for name in ("made.o", "made.d", "deps"):
                (world.src / name).unlink(missing_ok=True)
    counts = farm_counts(world, env)
    assert counts == {"pumped": 6}
    print(stock.log[-3000:])
