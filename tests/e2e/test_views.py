"""Who meets which server: other users, namespaces and roots, and no place for a socket at all."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import diskcache
import pytest

from tests.e2e.kit import SYSTEM_PATH, Done, Install, World, real, wait_until
from tests.mounting import UNSHARE, need_private_mounts

SOURCE = "int f(int x) { return x + 1; }\n"
STRANGER = 54321
"""A user id that nobody has."""

pytestmark = pytest.mark.usefixtures("as_root")


@pytest.fixture
def world(private: World) -> World:
    return private


def unshared(world: World, text: str) -> Done:
    """A shell script in a mount namespace of its own."""
    need_private_mounts()
    done = subprocess.run(
        [*UNSHARE, "/bin/sh", "-ec", text],
        env=world.environment(None) | {"PATH": f"{world.env['PATH']}:/usr/sbin:/sbin"},
        cwd=world.src,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def same_as_bare(world: World) -> None:
    made = (world.src / "a.o").read_bytes()
    assert world.call("gcc", "-c", "a.c", bare=True).status == 0
    assert (world.src / "a.o").read_bytes() == made


def test_another_mount_namespace_has_another_server(world: World) -> None:
    world.write("a.c", SOURCE)
    outer = world.server()
    assert unshared(world, "gcc -c a.c").status == 0
    same_as_bare(world)
    assert len(world.servers()) == 2
    assert outer in world.servers()
    assert len(world.sockets()) == 2


def test_two_namespaces_see_their_own_headers(world: World) -> None:
    world.write("inc/v.h", "#define V 1\n")
    world.write("other/v.h", "#define V 2\n")
    world.write("a.c", "#include <v.h>\nint v = V;\n")
    for _ in range(2):
        world.gcc("-Iinc", "-c", "a.c", "-o", "one.o")
        done = unshared(world, "mount --bind other inc; gcc -Iinc -c a.c -o two.o")
        assert done.status == 0, done
    for name, directory in (("one", "inc"), ("two", "other")):
        made = (world.src / f"{name}.o").read_bytes()
        world.call("gcc", f"-I{directory}", "-c", "a.c", "-o", "bare.o", bare=True)
        assert (world.src / "bare.o").read_bytes() == made


def test_without_proc_the_plain_compiler_runs(world: World) -> None:
    world.write("a.c", SOURCE)
    world.eager = False
    done = unshared(world, "mount -t tmpfs none /proc; gcc -c a.c")
    assert done == Done(0, b"", b"")
    same_as_bare(world)
    assert not world.servers()


def test_in_a_chroot_without_proc_the_plain_compiler_runs(world: World) -> None:
    if os.stat("/").st_dev != os.stat(world.src).st_dev:
        pytest.skip("the temporary directory is on another file system than /")
    world.write("a.c", SOURCE)
    world.server()
    new = world.root / "new root"
    new.mkdir()
    inner = f"cd {world.src} && gcc -c a.c"
    done = unshared(world, f"mount --bind / '{new}'; chroot '{new}' /bin/sh -c '{inner}'")
    assert done == Done(0, b"", b"")
    same_as_bare(world)
    assert len(world.servers()) == 1


def test_in_a_chroot_with_proc_another_server_answers(world: World) -> None:
    if os.stat("/").st_dev != os.stat(world.src).st_dev:
        pytest.skip("the temporary directory is on another file system than /")
    world.write("a.c", SOURCE)
    world.server()
    new = world.root / "root"
    new.mkdir()
    inner = f"cd {world.src} && gcc -c a.c"
    script = (
        f"mount --bind / {new}; mount -t proc none {new}/proc; mount --bind /dev {new}/dev;"
        f"chroot {new} /bin/sh -c '{inner}'"
    )
    done = unshared(world, script)
    assert done == Done(0, b"", b"")
    same_as_bare(world)
    assert len(world.servers()) == 2


# ---- other users ---------------------------------------------------------------------------


def test_a_request_of_another_user_is_refused(world: World) -> None:
    world.server()
    (path,) = world.sockets()
    for place in (world.runtime, world.run_dir, path):
        place.chmod(0o777)
    code = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.settimeout(5)\n"
        "s.connect(sys.argv[1])\n"
        "try:\n    print(len(s.recv(100)))\n"
        "except ConnectionResetError:\n    print(0)\n"
    )
    # Not the environment's interpreter: another user may not be allowed to read it.
    python = real("python3") or sys.executable
    command = [python, "-I", "-c", code, str(path)]
    refused = subprocess.run(
        command,
        user=STRANGER,
        group=STRANGER,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (refused.returncode, refused.stdout) == (0, "0\n"), refused
    for place in (world.runtime, world.run_dir):
        place.chmod(0o700)
    world.write("a.c", SOURCE)
    world.compare("gcc", "-c", "a.c")


def test_a_server_of_another_user_is_not_asked(world: World) -> None:
    world.write("a.c", SOURCE)
    world.server()
    (path,) = world.sockets()
    world.kill_server()
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    code = (
        "import os, socket, sys\n"
        "s = socket.socket(fileno=0)\n"
        "s.listen(5)\n"
        "sys.stdout.write('ready\\n'); sys.stdout.flush()\n"
        "c, _ = s.accept()\n"
        "sys.stdout.write('%d\\n' % len(c.recv(1000))); sys.stdout.flush()\n"
    )
    python = real("python3") or sys.executable
    stranger = subprocess.Popen(
        [python, "-I", "-c", code],
        stdin=listener.fileno(),
        user=STRANGER,
        group=STRANGER,
        extra_groups=[],
        stdout=subprocess.PIPE,
    )
    try:
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == b"ready\n"
        world.compare("gcc", "-c", "a.c", times=1)
        assert stranger.stdout.readline() == b"0\n"  # connected to, but told nothing
    finally:
        stranger.kill()
        stranger.communicate()
        listener.close()


def test_a_runtime_directory_that_others_may_enter_is_not_used(world: World) -> None:
    world.eager = False
    world.run_dir.chmod(0o755)
    world.write("a.c", SOURCE)
    # /tmp/pycc-<uid> is the user's own; only where it is unusable as well is the call made
    # in process. Either way nothing may be put into the open directory.
    world.compare("gcc", "-c", "a.c", env={"PYCC_RESIDENT": "0"}, times=1)
    assert not list(world.run_dir.iterdir())


# ---- no place for a socket -----------------------------------------------------------------


def find_python(packages: str) -> str:
    """An interpreter that the stranger may run, and that can load what pycc needs."""
    code = f"import sys; sys.path.append({packages!r}); import diskcache, xxhash, zstandard"
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            done = subprocess.run(
                [python, "-c", code],
                user=STRANGER,
                group=STRANGER,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                check=False,
            )
        except OSError:
            continue
        if done.returncode == 0:
            return python
    pytest.skip("another user cannot run this Python")


class Stranger:
    """A user without a home, who has a source directory and a copy of pycc to read."""

    def __init__(self, installed: Install) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="pe-", dir="/tmp"))
        self.root.chmod(0o755)
        shutil.copytree(installed.prefix, self.root / "prefix", symlinks=True)
        (self.root / "prefix").chmod(0o755)
        server = self.root / "prefix/bin/pycc-server"
        text = server.read_text().replace(str(installed.prefix), f"{self.root}/prefix")
        packages = os.path.dirname(os.path.dirname(diskcache.__file__))
        text = text.replace("import sys\n", f"import sys\nsys.path.append({packages!r})\n")
        server.write_text(text.replace(sys.executable, find_python(packages)))
        self.src = self.root / "src"
        self.src.mkdir()
        (self.src / "a.c").write_text(SOURCE)
        links = self.root / "links"
        links.mkdir()
        (links / "gcc").symlink_to(self.root / "prefix/bin/pycc")
        self.env = {
            "PATH": f"{links}:{SYSTEM_PATH}",
            "CCACHE_DIR": f"{self.root}/src/cache",
            "HOME": "/nowhere/at/home",
            "TMPDIR": "/tmp",
        }
        os.chown(self.src, STRANGER, STRANGER)
        self.place = Path(f"/tmp/pycc-{STRANGER}")

    def gcc(self, *words: str, bare: bool = False) -> Done:
        program = "/usr/bin/gcc" if bare else f"{self.root}/links/gcc"
        done = subprocess.run(
            [program, *words],
            env=self.env,
            cwd=self.src,
            capture_output=True,
            user=STRANGER,
            group=STRANGER,
            extra_groups=[],
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def servers(self) -> list[int]:
        mark = b"--serve\0" + os.fsencode(self.place)
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdecimal() and mark in entry.joinpath("cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def close(self) -> None:
        for pid in self.servers():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.servers())
        shutil.rmtree(self.root)
        shutil.rmtree(self.place, ignore_errors=True)


@pytest.fixture
def stranger(installed: Install) -> Iterator[Stranger]:
    if os.path.lexists(f"/tmp/pycc-{STRANGER}"):
        pytest.skip("somebody has this user id")
    made = Stranger(installed)
    try:
        yield made
    finally:
        made.close()


def check_two_calls(stranger: Stranger) -> None:
    assert stranger.gcc("-c", "a.c", bare=True) == Done(0, b"", b"")
    expected = (stranger.src / "a.o").read_bytes()
    for _ in range(2):
        (stranger.src / "a.o").unlink()
        assert stranger.gcc("-c", "a.c") == Done(0, b"", b"")
        assert (stranger.src / "a.o").read_bytes() == expected


def test_without_a_runtime_directory_the_socket_is_in_tmp(stranger: Stranger) -> None:
    if not os.stat("/tmp").st_mode & 0o002:
        stranger.place.mkdir(mode=0o700)  # nobody else could make it here
        os.chown(stranger.place, STRANGER, STRANGER)
    check_two_calls(stranger)
    assert os.stat(stranger.place).st_mode & 0o777 == 0o700
    assert len(stranger.servers()) == 1


@pytest.mark.parametrize("what", ["foreign directory", "link", "file", "open directory"])
def test_without_any_place_the_call_is_made_in_process(stranger: Stranger, what: str) -> None:
    match what:
        case "foreign directory":
            stranger.place.mkdir(mode=0o700)
        case "link":
            target = stranger.root / "target"
            target.mkdir(mode=0o700)
            os.chown(target, STRANGER, STRANGER)
            stranger.place.symlink_to(target)
        case "file":
            stranger.place.write_text("")
        case "open directory":
            stranger.place.mkdir()
            stranger.place.chmod(0o777)
            os.chown(stranger.place, STRANGER, STRANGER)
    try:
        stranger.env["XDG_RUNTIME_DIR"] = "/nowhere/at/all"
        check_two_calls(stranger)
        assert not stranger.servers()
        assert (stranger.src / "cache").exists()
    finally:
        if stranger.place.is_symlink() or stranger.place.is_file():
            stranger.place.unlink()


def test_a_read_only_home_and_no_cache_is_a_plain_compile(stranger: Stranger) -> None:
    stranger.env["CCACHE_DIR"] = "/nowhere/at/all"
    before = time.monotonic()
    check_two_calls(stranger)
    assert time.monotonic() - before < 30
