"""A compiler that is a script of the user's, or has one for its assembler, is nobody else's."""

from __future__ import annotations

from tests.daemon_kit import Daemon
from tests.e2e.kit import World
from tests.interop.kit import farm_counts


def test_a_script_is_not_compiled_for_by_another_compiler(world: World, server: Daemon) -> None:
    script = world.script("changed/gcc", 'exec /usr/bin/gcc -DOWN_SCRIPT "$@"').parent
    path = f"{world.install.links}:{script}:/usr/bin:/bin"
    world.write("s.c", "#ifndef OWN_SCRIPT\n#error another compiler\n#endif\nint x;\n")
    for options in ("", ",lzo,cpp"):
        env = {"DISTCC_HOSTS": server.host(options), "PATH": path}
        for number in range(2):
            words = ("gcc", f"-DN={number}{len(options)}", "-c", "s.c", "-o", "s.o")
            done = world.call(*words, env=env)
            assert (done.status, done.err) == (0, b"")
        counts = farm_counts(world, env)
        assert counts and counts.keys() <= {"unreachable", "other_compiler"}, counts


def test_a_script_for_an_assembler(world: World, server: Daemon) -> None:
    script = world.script("changed/as", 'exec /usr/bin/as --defsym ours=1 "$@"').parent
    path = f"{world.install.links}:{script}:/usr/bin:/bin"
    for options in ("", ",lzo,cpp"):
        env = {"DISTCC_HOSTS": server.host(options), "PATH": path}
        assert world.call("gcc", f"-DN={len(options)}", "-c", "a.c", env=env).status == 0
        assert b"ours" in (world.src / "a.o").read_bytes()
