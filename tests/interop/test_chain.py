"""Three machines: a client and two servers, each a network namespace, and a real project.

The servers start as root, become an unprivileged user without a home, and make their cache
directories themselves. The project is Brotli's C library, from the sdist of its Python package.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.daemon_kit import ENVIRONMENT, PROGRAM, ROOT, wait_for
from tests.e2e.kit import Install, end_servers
from tests.mounting import need_private_mounts

PROJECT, VERSION = "Brotli", "1.1.0"
PORT = 3632
USER = "nobody"
# Not -O0: there gcc keeps a no-op for a jump that has a place in the source of its own, and what
# came out of one macro has one place. So the object of the text is not that of the source.
CFLAGS = "-O1 -MD"
# The file that is left out takes a quarter of the compiler's time for itself. The part is all but
# the encoder: a third of the files, an eighth of the time.
MAKEFILE = """\
PART := $(wildcard c/common/*.c c/dec/*.c c/tools/*.c)
SOURCES := $(PART) $(filter-out c/enc/backward_references.c, $(wildcard c/enc/*.c))
all: $(SOURCES:.c=.o)
part: $(PART:.c=.o)
%.o: %.c
\t$(CC) $(CFLAGS) -Ic/include -c $< -o $@
"""
LEAST_HITS = 0.99
# 0E30 is the port; 0A is the state "listening".
LISTENS = ("grep", "-qE", ":0E30 .* 0A ", "/proc/net/tcp", "/proc/net/tcp6")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source."""
    need_private_mounts()  # ip netns
    place = tmp_path_factory.mktemp("project")
    command = [sys.executable, "-I", "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--no-build-isolation", "--no-binary", PROJECT]
    subprocess.run([*command, "--dest", place, f"{PROJECT}=={VERSION}"], check=True)
    (archive,) = place.glob("*.tar.gz")
    subprocess.run(["tar", "-xf", archive, "-C", place], check=True)
    made = place / f"{PROJECT}-{VERSION}"
    (made / "Makefile").write_text(MAKEFILE)
    return made


class Machine:
    """A network namespace with an address of its own."""

    def __init__(self, name: str) -> None:
        self.name = f"pycc-{os.getpid()}-{name}"
        run("ip", "netns", "add", self.name)
        run("ip", "-n", self.name, "link", "set", "lo", "up")

    def command(self, *words: str | Path) -> list[str]:
        return ["ip", "netns", "exec", self.name, *map(str, words)]

    def close(self) -> None:
        run("ip", "netns", "del", self.name)


def run(*words: str) -> None:
    subprocess.run(words, check=True)


def connect(one: Machine, other: Machine, number: int) -> str:
    """Lay a wire between two machines; returns the other's address."""
    ends = (f"p{os.getpid() % 100000}a{number}", f"p{os.getpid() % 100000}b{number}")
    run("ip", "link", "add", ends[0], "netns", one.name, "type", "veth",
        "peer", "name", ends[1], "netns", other.name)  # fmt: skip
    addresses = (f"10.77.{number}.1", f"10.77.{number}.2")
    for machine, end, address in zip((one, other), ends, addresses, strict=True):
        run("ip", "-n", machine.name, "addr", "add", f"{address}/24", "dev", end)
        run("ip", "-n", machine.name, "link", "set", end, "up")
    return addresses[1]


class Server:
    """A pyccd on a machine of its own."""

    def __init__(self, machine: Machine, address: str, place: Path, *words: str) -> None:
        self.machine, self.address, self.place = machine, address, place
        self.log = place / "pyccd.log"
        self.log.touch()
        self.log.chmod(0o666)
        (place / "tmp").mkdir()
        (place / "tmp").chmod(0o1777)
        words = words or ("--cache-dir", str(place / "cache"), "--user", USER)
        environment = {**ENVIRONMENT, "HOME": "/dev/null", "PYTHONPATH": str(ROOT)}
        environment["TMPDIR"] = str(place / "tmp")
        self.process = subprocess.Popen(
            machine.command(
                sys.executable, "-c", PROGRAM, "--daemon", "--no-detach", "--jobs", "4",
                "--allow", "10.77.0.0/16", "--log-file", self.log, "--log-level", "info", *words,
            ),
            env=environment,
        )  # fmt: skip
        wait_for(self._listens)

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return not subprocess.run(self.machine.command(*LISTENS), check=False).returncode

    def jobs(self) -> list[str]:
        """The summaries of compiles."""
        lines = self.log.read_text().splitlines()
        return [line for line in lines if "(dcc_job_summary) " in line and "COMPILE_OK" in line]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)


class World:
    """The client's machine and two servers."""

    def __init__(self, stack: ExitStack, installed: Install) -> None:
        self.install = installed
        self.place = Path(tempfile.mkdtemp(prefix="chain-"))
        self.place.chmod(0o755)
        stack.callback(shutil.rmtree, self.place, ignore_errors=True)
        self.client = Machine("client")
        stack.callback(self.client.close)
        self.servers: list[Server] = []
        for number in (1, 2):
            machine = Machine(f"server{number}")
            stack.callback(machine.close)
            address = connect(self.client, machine, number)
            (self.place / f"server{number}").mkdir()
            server = Server(machine, address, self.place / f"server{number}")
            stack.callback(server.close)
            self.servers.append(server)
        (self.place / "run/pycc").mkdir(parents=True)
        for path in ("run", "run/pycc"):
            (self.place / path).chmod(0o700)
        (self.place / "home").mkdir()
        stack.callback(self.end_servers)

    @property
    def hosts(self) -> str:
        return " ".join(f"{server.address}/4,lzo" for server in self.servers)

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "PATH": f"{self.install.links}:/usr/bin:/bin",
            "HOME": str(self.place / "home"),
            "XDG_RUNTIME_DIR": str(self.place / "run"),
            "CCACHE_DIR": str(self.place / "client-cache"),
            "LC_ALL": "C.UTF-8",
            "DISTCC_HOSTS": self.hosts,
            **more,
        }

    def build(
        self, source: Path, name: str, *, goal: str = "all", cflags: str = CFLAGS, **env: str
    ) -> dict[str, str]:
        """Digests of what ``make goal`` in a copy of the source, called ``name``, makes."""
        directory = self.place / name
        shutil.copytree(source, directory)
        environment = self.environment(**env)
        command = self.client.command("make", "-s", "-j8", goal, f"CFLAGS={cflags}", "CC=gcc")
        done = subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        return digests(directory)

    def end_servers(self) -> None:
        # `ip netns exec` gives each command a mount namespace of its own, and so a server that no
        # other command reaches.
        end_servers(self.place / "run")

    def forget(self) -> None:
        """The client's cache is lost, and so is what its server remembers."""
        self.end_servers()
        shutil.rmtree(self.place / "client-cache", ignore_errors=True)

    def jobs(self, count: int) -> list[str]:
        """The summaries of so many compiles, all since the last time; they come after the reply."""

        def all_jobs() -> list[str]:
            return [line for server in self.servers for line in server.jobs()]

        wait_for(lambda: len(all_jobs()) >= count)
        found = all_jobs()
        for server in self.servers:
            server.log.write_text("")
        assert len(found) == count, found
        return found


def digests(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*.[od]"))
    }


@pytest.fixture(scope="module")
def plain(project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the bare compiler makes."""
    directory = tmp_path_factory.mktemp("plain") / "p"
    shutil.copytree(project, directory)
    subprocess.run(
        ["make", "-s", "-j2", f"CFLAGS={CFLAGS}", "CC=gcc"],
        cwd=directory,
        env=ENVIRONMENT,
        check=True,
    )
    made = digests(directory)
    assert len(made) > 60
    return made


@pytest.fixture(scope="module")
def part(plain: dict[str, str]) -> dict[str, str]:
    """The same without the encoder."""
    found = {path: digest for path, digest in plain.items() if not path.startswith("c/enc/")}
    assert len(found) > 20
    return found


@pytest.fixture
def world(installed: Install) -> Iterator[World]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("making network namespaces needs root and iproute2")
    if subprocess.run(["ip", "netns", "add", f"pycc-{os.getpid()}"], check=False).returncode:
        pytest.skip("cannot make network namespaces")
    run("ip", "netns", "del", f"pycc-{os.getpid()}")
    with ExitStack() as stack:
        yield World(stack, installed)


def hits(jobs: list[str]) -> float:
    return sum(job.endswith("cache:hit") for job in jobs) / len(jobs)


def test_the_chain(world: World, project: Path, plain: dict[str, str]) -> None:
    files = len(plain) // 2
    # The first client: every miss reaches a server.
    assert world.build(project, "first") == plain
    jobs = world.jobs(files)
    assert hits(jobs) < 0.2
    for server in world.servers:
        owner = (server.place / "cache").stat()
        assert (owner.st_uid, owner.st_gid) == (65534, 65534)
    # Its own cache serves it again.
    assert world.build(project, "again") == plain
    world.jobs(0)
    # That cache is lost: the servers' are not.
    world.forget()
    assert world.build(project, "second") == plain
    jobs = world.jobs(files)
    assert hits(jobs) >= LEAST_HITS
    # Another client, elsewhere.
    world.forget()
    assert world.build(project, "another/directory/of/another/name") == plain
    jobs = world.jobs(files)
    assert hits(jobs) >= LEAST_HITS


def test_a_server_that_is_killed_in_the_middle(
    world: World, project: Path, plain: dict[str, str]
) -> None:
    victim = world.servers[0]
    source = shutil.copytree(project, world.place / "doomed")
    build = subprocess.Popen(
        world.client.command("make", "-s", "-j8", f"CFLAGS={CFLAGS}", "CC=gcc"),
        cwd=source,
        env=world.environment(),
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 30
    while victim.log.read_text().count("COMPILE_OK") < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    victim.kill()
    assert build.communicate(timeout=120)[1] == b""
    assert build.returncode == 0
    assert digests(source) == plain


def test_the_stock_programs_in_front(world: World, project: Path, part: dict[str, str]) -> None:
    """ccache with CCACHE_PREFIX=distcc: the chain of the wikis, whose second cache never hit."""
    files = len(part) // 2
    links = world.place / "ccache-links"
    links.mkdir()
    (links / "gcc").symlink_to("/usr/bin/ccache")
    distcc = world.place / "distcc"
    distcc.mkdir()
    # One server: distcc scatters jobs, and two caches hit one time in two.
    env = {
        "PATH": f"{links}:/usr/bin:/bin",
        "CCACHE_PREFIX": "distcc",
        "DISTCC_DIR": str(distcc),
        "DISTCC_HOSTS": f"{world.servers[0].address}/8",
        "DISTCC_FALLBACK": "0",
    }
    for name in ("stock", "stock-again"):
        shutil.rmtree(world.place / "client-cache", ignore_errors=True)
        # Without -MD: this distcc puts dependency files elsewhere, and this ccache then compiles
        # once more.
        objects = {path: digest for path, digest in part.items() if path.endswith(".o")}
        assert world.build(project, name, goal="part", cflags="-O1", **env) == objects
        jobs = world.jobs(files)
        assert hits(jobs) >= LEAST_HITS if name == "stock-again" else hits(jobs) < 0.2


def test_a_hosts_file_and_the_wikis_path(world: World, project: Path, part: dict[str, str]) -> None:
    links = world.place / "distcc-links"
    links.mkdir()
    (links / "gcc").symlink_to("/usr/bin/distcc")
    (world.place / "home/.distcc").mkdir()
    (world.place / "home/.distcc/hosts").write_text(world.hosts + "\n")
    environment = world.environment(PATH=f"{world.install.links}:{links}:/usr/bin:/bin")
    del environment["DISTCC_HOSTS"]
    source = shutil.copytree(project, world.place / "wiki")
    command = world.client.command("make", "-s", "-j8", "part", f"CFLAGS={CFLAGS}", "CC=gcc")
    subprocess.run(command, cwd=source, env=environment, check=True)
    assert digests(source) == part
    world.jobs(len(part) // 2)


def test_a_cache_of_a_group_stays_what_it_is(
    world: World, project: Path, part: dict[str, str]
) -> None:
    """root:games 2775 stands for root:portage: the server is in that group, and owns nothing."""
    shared = world.place / "shared"
    shared.mkdir()
    os.chown(shared, 0, 60)
    shared.chmod(0o2775)
    (shared / "of-somebody").write_text("else")
    env = {"CCACHE_DIR": str(shared), "CCACHE_UMASK": "002"}
    server = world.servers[0]
    server.close()
    place = world.place / "shared-server"
    place.mkdir()
    again = Server(
        server.machine, server.address, place, "--cache-dir", str(shared), "--user", "games"
    )
    try:
        one = {"DISTCC_HOSTS": f"{server.address}/8"}
        assert world.build(project, "group", goal="part", **one) == part
        world.forget()
        assert world.build(project, "group-again", goal="part", **one) == part
        files = len(part) // 2
        wait_for(lambda: len(again.jobs()) == 2 * files)
        assert hits(again.jobs()[files:]) >= LEAST_HITS
        found = shared.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (0, 60, 0o2775)
        assert (shared / "of-somebody").read_text() == "else"
        # The real ccache lives in the same directory.
        (world.place / "x.c").write_text("int x;\n")
        for _ in range(2):
            subprocess.run(
                ["/usr/bin/ccache", "gcc", "-c", "x.c"],
                cwd=world.place,
                env={**ENVIRONMENT, **env},
                check=True,
            )
        stats = subprocess.run(
            ["/usr/bin/ccache", "--print-stats"],
            env={**ENVIRONMENT, **env},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert "direct_cache_hit\t1\n" in stats
    finally:
        again.close()
