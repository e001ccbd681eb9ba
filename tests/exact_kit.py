"""A sandbox that was built for the tests, and views of directories as a client would send them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pycc import native
from pycc.cache.digest import FileDigests, digest_of
from pycc.launcher.build_launcher import (
    SANDBOX,
    compile_commands,
    find_compiler,
    is_freestanding_target,
)
from pycc.remote import ground
from pycc.remote.client_view import ClientFile, ClientLink, View
from pycc.remote.contents import Contents
from pycc.remote.exact_root import Ground, Layout, Plan
from pycc.remote.sandbox import Sandbox, SandboxFailed

SOURCE = Path(native.__file__).with_name("launcher") / "sandbox.c"


def build_with_libc(directory: Path, flags: Iterable[str]) -> Path:
    """The program as other architectures have it, or with sanitizers."""
    target = directory / SANDBOX
    command = ["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-DPYCC_USE_LIBC", *flags]
    subprocess.run([*command, "-o", target, SOURCE], check=True)
    target.chmod(0o755)
    return target


def build(directory: Path) -> Path:
    """Compile the sandbox's program as an installation does."""
    target = directory / SANDBOX
    compiler = find_compiler(dict(os.environ))
    command = [*compiler, "-dM", "-E", "-x", "c", os.devnull]
    macros = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    command = compile_commands(compiler, is_freestanding_target(macros), shared=False)[0]
    subprocess.run([*command, "-Werror", "-o", target, SOURCE], check=True)
    target.chmod(0o755)
    return target


class Server:
    """What a daemon has for exact jobs."""

    def __init__(self, directory: Path, program: Path, ground_: Ground | None = None) -> None:
        self.contents = Contents(str(directory / "contents"), limit=1 << 30)
        self.ground = ground_ or ground.find()
        self.sandbox = Sandbox.open(self.contents.descriptor, self.ground, str(program))
        self.survey = ground.Survey(FileDigests(native.signature, native.fs_type))

    def close(self) -> None:
        self.sandbox.close()
        self.contents.close()

    def plan(self, view: View) -> Plan:
        layout = Layout(view, self.ground)
        return layout.plan(self.survey(layout.questions()))


@contextmanager
def serving(directory: Path, program: Path, ground_: Ground | None = None) -> Iterator[Server]:
    """A server in ``directory``; skips where the machine allows no namespaces."""
    try:
        server = Server(directory, program, ground_)
    except SandboxFailed as problem:
        pytest.skip(str(problem))
    try:
        yield server
    finally:
        server.close()


def view_of(
    top: Path,
    cwd: Path,
    contents: Contents,
    *,
    system: Iterable[Path] = (),
    absent: Iterable[Path] = (),
) -> View:
    """Everything below ``top`` and the files ``system``, whose contents are sent; ``top`` must
    have no link on its way."""
    files: list[ClientFile] = []
    links: list[ClientLink] = []
    directories: list[bytes] = []
    inodes: dict[tuple[int, int], bytes] = {}

    def add(path: Path, *, send: bool = True) -> None:
        data, found = path.read_bytes(), path.stat()
        first = inodes.setdefault((found.st_dev, found.st_ino), bytes(path))
        same_as = first if first != bytes(path) else b""
        files.append(ClientFile(bytes(path), digest_of(data), found.st_mtime_ns, same_as))
        if send:
            contents.put(digest_of(data), data)

    for name, names, others in os.walk(top):
        directories.append(os.fsencode(name))
        for one in sorted(names + others):
            path = Path(name, one)
            if path.is_symlink():
                links.append(ClientLink(bytes(path), os.fsencode(os.readlink(path))))
            elif not path.is_dir():
                add(path)
    for path in system:
        add(path, send=False)
    return View(
        bytes(cwd), tuple(files), tuple(links), tuple(directories), tuple(map(bytes, absent))
    )


def read_by(argv: list[str], cwd: Path, environment: dict[str, str], top: Path) -> list[Path]:
    """The files outside of ``top`` that the compiler reads for a command line, by their physical
    paths."""
    words = list(argv)
    for output in ("-o", "--serialize-diagnostics"):
        if output in words:
            del words[words.index(output) : words.index(output) + 2]
    words = [word for word in words if not word.startswith(("-M", "-c", "-S", "-save-temps"))]
    command = [*words, "-M", "-MG", "-E"]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, check=False)
    names = done.stdout.replace(b"\\\n", b" ").split()
    found = set()
    for name in names[1:]:
        path = Path(os.fsdecode(name))
        if path.is_absolute() and path.is_file():
            path = path.resolve()
            if top not in path.parents:
                found.add(path)
    return sorted(found)


def need(compiler: str) -> str:
    """The path of a compiler, or skip."""
    found = shutil.which(compiler, path="/usr/bin:/bin")
    if found is None:
        pytest.skip(f"needs {compiler}")
    return found
