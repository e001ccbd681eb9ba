"""An installed copy of pycc, a world of its own to serve, and the bare compiler to compare with.

The copy is made of the checkout once: package, launcher, `pycc-server` and masquerading links under
one prefix, so that edits to the checkout cannot disturb a running test. Every world has its own
runtime directory, and so its own server, which is killed by its process id at the end.
"""

from __future__ import annotations

import compileall
import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pycc.launcher import build_launcher
from pycc.lifecycle import ABANDONED, MEMORY, mark_of

ROOT = Path(__file__).resolve().parent.parent.parent
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
NAMES = "gcc g++ cc c++ clang clang++ gcc-12 as-is".split()
LIMIT = 60.0  # seconds for one call; a call that hangs is a failure

Word = str | bytes | os.PathLike[str]


def real(name: str) -> str | None:
    """The bare compiler of that name."""
    return shutil.which(name, path=SYSTEM_PATH)


def triplet_name() -> str | None:
    """The installed gcc's name with triplet and version, like x86_64-linux-gnu-gcc-12."""
    words = []
    for option in ("-dumpmachine", "-dumpversion"):
        done = subprocess.run(["gcc", option], capture_output=True, text=True, check=True)
        words.append(done.stdout.strip())
    name = f"{words[0]}-gcc-{words[1].split('.')[0]}"
    return name if real(name) else None


# ---- the installed copy --------------------------------------------------------------------


class Counts(dict[str, int]):
    """Counters by name; asking for one that is missing shows those that are there."""

    def __missing__(self, name: str) -> int:
        raise AssertionError(f"no {name} among {dict(self)}")


@dataclass(frozen=True, slots=True)
class Install:
    """A prefix: bin/pycc, bin/pycc-server, links/gcc …, lib/pycc."""

    prefix: Path

    @property
    def launcher(self) -> Path:
        return self.prefix / "bin/pycc"

    @property
    def links(self) -> Path:
        return self.prefix / "links"

    def link(self, name: str) -> Path:
        """A masquerading link of that name."""
        path = self.links / name
        if not path.is_symlink():
            path.symlink_to(self.launcher)
        return path


def _compile(source: Path, target: Path, define: str, *, shared: bool) -> None:
    compiler = build_launcher.find_compiler(os.environ)
    macros = subprocess.run(
        [*compiler, "-dM", "-E", "-x", "c", os.devnull], capture_output=True, text=True, check=True
    )
    freestanding = build_launcher.is_freestanding_target(macros.stdout)
    command = build_launcher.compile_commands(compiler, freestanding, shared)[0]
    subprocess.run([*command, define, "-o", target, source], check=True)


def install(prefix: Path, *, identity: str = "") -> Install:
    """Make a copy of the checkout under ``prefix``; another ``identity`` is another build."""
    package = prefix / "lib/pycc"
    ignored = shutil.ignore_patterns("__pycache__", "*.so", "_build.py", "cache", "remote")
    shutil.copytree(ROOT / "pycc", package, ignore=ignored)
    for name in ("cache", "remote"):
        shutil.copytree(ROOT / name, package / name, ignore=ignored)
    identity = identity or build_launcher.build_id(ROOT, "e2e")
    define = f'-DPYCC_BUILD_ID="{identity}"'
    (prefix / "bin").mkdir()
    (prefix / "links").mkdir()
    made = Install(prefix)
    source = ROOT / build_launcher.LAUNCHER_DIRECTORY
    _compile(source / "launcher.c", made.launcher, define, shared=False)
    build_launcher.mark_launcher(made.launcher)
    made.launcher.chmod(0o755)
    _compile(source / "statcheck.c", package / build_launcher.STAT_CHECKER, define, shared=True)
    (package / build_launcher.BUILD_MODULE).write_text(build_launcher.BUILD_MODULE_TEXT % identity)
    # Many first servers start at once: none of them should have to compile the modules.
    compileall.compile_dir(package, quiet=2)
    lines = [
        f"#!{sys.executable}",
        "import sys",
        f"sys.path.insert(0, {str(prefix / 'lib')!r})",
        "from pycc.__main__ import server",
        "server()",
    ]
    server = prefix / "bin/pycc-server"
    server.write_text("\n".join(lines) + "\n")
    server.chmod(0o755)
    for name in NAMES:
        made.link(name)
    return made


def with_server_script(installed: Install, prefix: Path, text: str) -> Install:
    """The same launcher beside another pycc-server: the shell script ``text``, in which $SERVER
    is the real one."""
    (prefix / "bin").mkdir(parents=True)
    (prefix / "links").mkdir()
    made = Install(prefix)
    shutil.copy(installed.launcher, made.launcher)
    server = prefix / "bin/pycc-server"
    server.write_text(f"#!/bin/sh\nSERVER={installed.prefix}/bin/pycc-server\n{text}\n")
    server.chmod(0o755)
    for name in NAMES:
        made.link(name)
    return made


# ---- what a call leaves behind -------------------------------------------------------------

Item = tuple[str, int, bytes]
Tree = dict[bytes, Item]


def tree_of(root: Path) -> Tree:
    """Every path below ``root``: (kind, permissions, content or target)."""
    found: Tree = {}
    for directory, names, files in os.walk(os.fsencode(root)):
        for name in (*names, *files):
            path = os.path.join(directory, name)
            mode = os.lstat(path).st_mode
            kind, content = "other", b""
            if stat.S_ISLNK(mode):
                kind, content = "link", os.readlink(path)
            elif stat.S_ISREG(mode):
                kind, content = "file", Path(os.fsdecode(path)).read_bytes()
            elif stat.S_ISDIR(mode):
                kind = "directory"
            found[os.path.relpath(path, os.fsencode(root))] = (kind, stat.S_IMODE(mode), content)
    return found


def put_back(root: Path, before: Tree) -> None:
    """Undo what a call did to files, and only that: untouched inputs keep their times."""
    now = tree_of(root)
    for name in sorted(now, reverse=True):
        if name not in before or now[name] != before[name]:
            path = os.path.join(os.fsencode(root), name)
            if now[name][0] == "directory":
                if name not in before:
                    os.rmdir(path)
            else:
                os.unlink(path)
    now = tree_of(root)
    for name, (kind, mode, content) in before.items():
        path = os.path.join(os.fsencode(root), name)
        if name in now:
            continue
        if kind == "link":
            os.symlink(content, path)
        elif kind == "file":
            with open(path, "wb") as file:
                file.write(content)
            os.chmod(path, mode)


@dataclass(frozen=True, slots=True)
class Done:
    """How a call ended. ``status`` is negative for a signal, as subprocess has it."""

    status: int
    out: bytes
    err: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """A call and everything it left in the source directory."""

    done: Done
    tree: Tree = field(repr=False)

    def differences(self, other: Outcome) -> list[str]:
        """A line for each thing in which ``other``, the wrapper's, is not like this."""
        lines = []
        for name in ("status", "out", "err"):
            mine, theirs = getattr(self.done, name), getattr(other.done, name)
            if mine != theirs:
                lines.append(f"{name}: bare {mine!r}, wrapped {theirs!r}")
        for path in sorted({*self.tree, *other.tree}):
            a, b = self.tree.get(path), other.tree.get(path)
            if a == b:
                continue
            if a is None or b is None:
                lines.append(f"{path!r}: only {'wrapped' if a is None else 'bare'}")
            elif a[:2] != b[:2]:
                lines.append(f"{path!r}: bare {a[0]} {a[1]:04o}, wrapped {b[0]} {b[1]:04o}")
            else:
                lines.append(f"{path!r}: content differs ({len(a[2])} and {len(b[2])} bytes)")
        return lines


# ---- a world of one user -------------------------------------------------------------------


class World:
    """A source directory, a cache directory, a runtime directory and what is needed to compile.

    ``src`` is the working directory of every call.
    """

    def __init__(self, installed: Install, root: Path, runtime: Path | None = None) -> None:
        """With ``runtime``, another world's, its server serves this one as well."""
        self.install = installed
        self.root = root
        self.src = root / "src"
        self.cache = root / "cache"
        # Short, because a socket's path has 107 bytes. The launcher's own directory must be there
        # beforehand: one that finds none looks in /tmp first, and would meet the user's server.
        self.runtime = runtime or Path(tempfile.mkdtemp(prefix="pe-", dir="/tmp"))
        self.run_dir = self.runtime / "pycc"
        self.run_dir.mkdir(mode=0o700, exist_ok=True)
        self.src.mkdir()
        (root / "home").mkdir()
        (root / "tmp").mkdir()
        self.env = {
            "PATH": f"{installed.links}:{SYSTEM_PATH}",
            "HOME": str(root / "home"),
            "TMPDIR": str(root / "tmp"),
            "LC_ALL": "C",
            "CCACHE_DIR": str(self.cache),
            "XDG_RUNTIME_DIR": str(self.runtime),
        }
        self.may_complain = False
        """Whether the server's log may hold problems."""
        self.eager = runtime is None
        """Whether the server is started, and waited for, before the first call: on a busy machine
        its start may take longer than a launcher waits. Tests of the start itself switch it off."""

    # Files.

    def write(self, name: str, text: str | bytes, mode: int | None = None) -> Path:
        path = self.src / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        if mode is not None:
            path.chmod(mode)
        return path

    def script(self, name: str, text: str) -> Path:
        """An executable shell script outside the source directory."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    # Calls.

    def environment(self, env: Mapping[str, str | None] | None) -> dict[str, str]:
        merged: dict[str, str | None] = {**self.env, **(env or {})}
        return {key: value for key, value in merged.items() if value is not None}

    def call(
        self,
        *words: Word,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        stdin: bytes | None = None,
        umask: int = -1,
        bare: bool = False,
    ) -> Done:
        """One call, found on PATH behind or, ``bare``, without our links."""
        if self.eager and not bare and (env or {}).get("PYCC_RESIDENT") != "0":
            self.eager = False
            self.start()
        environment = self.environment(env)
        path = environment.get("PATH", SYSTEM_PATH)
        if bare:
            links = str(self.install.links)
            path = ":".join(part for part in path.split(":") if part != links)
            if "PATH" in environment:
                environment["PATH"] = path
        program: Word = words[0]
        if "/" not in os.fsdecode(program):
            found = shutil.which(os.fsdecode(program), path=path)
            # The bare compiler under its whole name, which its messages do not show.
            program = found if found is not None and bare else program
            executable = found
        else:
            executable = os.fsdecode(program)
        done = subprocess.run(
            [program, *words[1:]],
            executable=executable,
            env=environment,
            cwd=cwd or self.src,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            umask=umask,
            timeout=LIMIT,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def gcc(self, *words: Word, **how: object) -> Done:
        """``gcc`` with ``words``; it must succeed."""
        done = self.call("gcc", *words, **how)  # type: ignore[arg-type]
        assert done.status == 0, done
        return done

    def compare(
        self,
        *words: Word,
        times: int = 2,
        wrapped: Sequence[Word] | None = None,
        prepare: Callable[[], object] | None = None,
        env: Mapping[str, str | None] | None = None,
        stdin: bytes | None = None,
        umask: int = -1,
    ) -> Outcome:
        """The bare call, then ``times`` the wrapped one, each from the same files; all must leave
        the same. ``prepare`` makes what should stand there before each."""
        before = tree_of(self.src)

        def run(command: Sequence[Word], bare: bool) -> Outcome:
            if prepare is not None:
                prepare()
            done = self.call(*command, env=env, stdin=stdin, umask=umask, bare=bare)
            outcome = Outcome(done, tree_of(self.src))
            put_back(self.src, before)
            return outcome

        expected = run(words, True)
        for number in range(times):
            found = expected.differences(run(wrapped or words, False))
            assert not found, f"call {number + 1} of {words}: " + "; ".join(found)
        return expected

    # Counters.

    def stats(self, env: Mapping[str, str | None] | None = None) -> dict[str, int]:
        """The counters that are not 0, without times, sizes and storage's own."""
        done = self.call(self.install.launcher, "--print-stats", env=env)
        assert done.status == 0, done
        pairs = [line.split(b"\t") for line in done.out.splitlines()]
        hidden = ("timestamp", "storage", "cache_size", "files_in_cache", "max_")
        return Counts(
            (key.decode(), int(value))
            for key, value in pairs
            if int(value) and not any(word in key.decode() for word in hidden)
        )

    # Servers.

    def servers(self) -> list[int]:
        """Process ids of the servers of this world."""
        return servers_in(self.runtime)

    def sockets(self) -> list[Path]:
        return [path for path in self.run_dir.iterdir() if path.is_socket()]

    def server(self) -> int:
        """The process id of the only server; started if there is none."""
        if not self.servers():
            self.start()
        (pid,) = self.servers()
        return pid

    def start(self) -> None:
        """Until a server answers."""
        self.eager = False
        wait_until(lambda: self.call(self.install.launcher, "--server-status").status == 0, 20.0)

    def kill_server(self) -> int:
        pid = self.server()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: pid not in self.servers())
        return pid

    def log(self) -> str:
        """What the servers wrote to their logs."""
        return "".join(path.read_text() for path in self.run_dir.glob("*.log"))

    def temporary_directories(self) -> list[Path]:
        """Where the servers keep files of running compiles."""
        in_memory = Path(MEMORY).glob(f"{mark_of(self.run_dir)}-*.tmp")
        return [*self.run_dir.glob("*.tmp"), *in_memory]

    def leftovers(self) -> list[Path]:
        """Files of unfinished work in the runtime directory, the live servers' own left out, and
        so what a later server is to remove."""
        live = {str(pid) for pid in self.servers()}
        found = []
        for path in self.temporary_directories():
            if path.name.split(".")[-2] in live:
                found += list(path.iterdir())
            elif not (path / ABANDONED).exists():
                found.append(path)
        return found

    def close(self) -> None:
        """Kill the servers and remove what is not below the test's own directory."""
        end_servers(self.runtime)
        for path in (self.runtime, *self.temporary_directories()):
            shutil.rmtree(path, ignore_errors=True)


def servers_in(runtime: Path) -> list[int]:
    """Process ids of the servers with that XDG_RUNTIME_DIR."""
    mark = b"--serve\0" + os.fsencode(runtime) + b"/"
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdecimal() and mark in Path("/proc", entry, "cmdline").read_bytes():
                found.append(int(entry))
    return sorted(found)


def end_servers(runtime: Path) -> None:
    """Kill them, and those that were just being started."""
    for _ in range(3):
        for pid in servers_in(runtime):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not servers_in(runtime), 2.0)
            break


def define(world: World, path: str, value: int) -> Path:
    """A header that defines V."""
    return world.write(path, f"#define V {value}\n")


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Until it holds; it must within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


@contextlib.contextmanager
def world_in(installed: Install, root: Path) -> Iterator[World]:
    """A world that is closed at the end; a server that met an internal error is a failure."""
    world = World(installed, root)
    try:
        yield world
        assert world.may_complain or "Traceback" not in world.log(), world.log()
    finally:
        world.close()
