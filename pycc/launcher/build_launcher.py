"""Compiles the package's C programs while setuptools builds or installs it.

Everything hangs on one command, `build_scripts`, and not on a custom `build_py`: setuptools turns
an error of a custom `build_py` into a mere warning in editable installs, and an install without
its launcher must fail. The launcher becomes the script `pycc`; the stat checker, the sandbox and
`_build.py`, which holds the build id, are put beside the modules: into the build tree, or for an
editable install into the source tree itself (these names are ignored by git).

The build id is in the name of the server's socket, so that a launcher never talks to a server of
another build. It is a hash of the sources and nothing else: two builds of one source agree.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import ClassVar

from setuptools import Command
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build
from setuptools.errors import CompileError, PlatformError

LAUNCHER_DIRECTORY = Path("pycc/launcher")
PACKAGE_DIRECTORIES = (Path("pycc"), Path("cache"), Path("remote"))
BUILD_MODULE = "_build.py"
BUILD_MODULE_TEXT = (
    '"""The identity of this build, written by the build itself."""\n\nBUILD_ID = "%s"\n'
)
STAT_CHECKER = "_statcheck.so"
SANDBOX = "_sandbox"

# Written over the padding at the end of the ELF identification (bytes 9 to 15), which kernels and
# linkers ignore: by it any copy of the launcher, whatever it is called, is known as no compiler.
ELF_MAGIC = b"\x7fELF"
MARK_OFFSET = 9
MARK = b"pycc\0\1\0"

COMMON_FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra")

# Without libc start-up the process costs a tenth of one with static glibc. Distributions turn on
# stack protectors, PIE and fortification by default, all of which need libc: each is turned off.
FREESTANDING_FLAGS = (
    "-ffreestanding",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-U_FORTIFY_SOURCE",
    "-nostdlib",
    "-Wl,--build-id=none",
    "-Wl,-z,noexecstack",
    "-Wl,-z,noseparate-code",
)
LAUNCHER_FLAGS = ("-static", "-fno-pic", "-no-pie", "-s")
SHARED_FLAGS = ("-shared", "-fPIC", "-s")
LIBC_FLAGS = ("-DPYCC_USE_LIBC",)

# The machines for which the launcher has its own system calls.
FREESTANDING_MACHINES = ("__x86_64__", "__aarch64__")


def build_id(root: Path, version: str) -> str:
    """Name this state of the sources under ``root``: 16 hexadecimal digits."""
    digest = hashlib.blake2b(version.encode(), digest_size=8)
    files = [path for directory in PACKAGE_DIRECTORIES for path in (root / directory).glob("*.py")]
    files += (root / LAUNCHER_DIRECTORY).glob("*.[ch]")
    for path in sorted(files):
        if path.name == BUILD_MODULE:
            continue
        content = path.read_bytes()
        digest.update(b"\0%s\0%d\0" % (os.fsencode(path.relative_to(root)), len(content)))
        digest.update(content)
    return digest.hexdigest()


def find_compiler(environment: os._Environ[str] | dict[str, str]) -> list[str]:
    """Return the C compiler's command: ``CC``, else the first of cc, gcc and clang on PATH.

    Raises PlatformError when there is none.
    """
    if environment.get("CC", "").strip():
        return shlex.split(environment["CC"])
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name, path=environment.get("PATH")):
            return [name]
    message = "pycc needs a C compiler to build its launcher: install gcc or clang, or set CC"
    raise PlatformError(message)


def is_freestanding_target(predefined_macros: str) -> bool:
    """Tell from ``cc -dM -E`` whether the launcher can do without libc on the compiler's target.

    The compiler is asked, not the kernel: a 32-bit user land may run on a 64-bit kernel. x32 is
    refused because its system call numbers differ.
    """
    names = {line.split()[1] for line in predefined_macros.splitlines() if line.count(" ") >= 1}
    return (
        "__linux__" in names
        and "__ILP32__" not in names
        and any(machine in names for machine in FREESTANDING_MACHINES)
    )


def compile_commands(compiler: list[str], freestanding: bool, shared: bool) -> list[list[str]]:
    """Return the command prefixes to try in turn, best first; a later one costs only speed."""
    kind = SHARED_FLAGS if shared else LAUNCHER_FLAGS
    commands = [[*compiler, *COMMON_FLAGS, *FREESTANDING_FLAGS, *kind]] if freestanding else []
    if shared:
        commands.append([*compiler, *COMMON_FLAGS, *LIBC_FLAGS, "-shared", "-fPIC"])
    else:
        commands.append([*compiler, *COMMON_FLAGS, *LIBC_FLAGS, "-static"])
        commands.append([*compiler, *COMMON_FLAGS, *LIBC_FLAGS])
    return commands


def mark_launcher(path: Path) -> None:
    """Write the launcher's mark into ``path`` when it is an ELF file; others carry none."""
    with path.open("r+b") as file:
        if file.read(len(ELF_MAGIC)) == ELF_MAGIC:
            file.seek(MARK_OFFSET)
            file.write(MARK)


class Build(build):
    """`build` in a directory of its own.

    In the usual build/lib, modules that were deleted or renamed since the last build stay and are
    installed, and two installs from one tree at a time mix their files.
    """

    def initialize_options(self) -> None:
        """Choose the directory; --build-base and configuration files still win."""
        super().initialize_options()
        self.build_base = tempfile.mkdtemp(prefix="pycc-build-")
        atexit.register(shutil.rmtree, self.build_base, ignore_errors=True)


class BuildLauncher(Command):
    """`build_scripts`: compile the script `pycc`, what stands beside the modules, and `_build`."""

    description = "compile the launcher, the stat checker and the sandbox"
    user_options: ClassVar[list[tuple[str, str, str]]] = [
        ("build-dir=", "d", "directory for the launcher")
    ]

    def initialize_options(self) -> None:
        """Declare the attributes that setuptools sets; `editable_mode` is its convention."""
        self.build_dir: str | None = None
        self.build_lib: str | None = None
        self.editable_mode = False

    def finalize_options(self) -> None:
        """Take over the directories that `build` chose."""
        self.set_undefined_options(
            "build", ("build_scripts", "build_dir"), ("build_lib", "build_lib")
        )

    def get_source_files(self) -> list[str]:
        """List what a source distribution must hold for this command to work."""
        return [str(path) for path in sorted(LAUNCHER_DIRECTORY.glob("*.[ch]"))]

    def get_outputs(self) -> list[str]:
        """List the built files inside the command's own directory."""
        return [str(Path(self.build_dir or "") / "pycc")]

    def run(self) -> None:
        """Compile; raises CompileError or PlatformError, which end the build."""
        identity = build_id(Path(), self.distribution.get_version())
        if self.editable_mode:
            # Sources change under an editable install, so its server must never be taken for one
            # of a real install of the same sources. As long as any other id: 16 characters.
            identity = f"dev{identity[:13]}"
            package = Path("pycc")
        else:
            package = Path(self.build_lib or "") / "pycc"
        scripts = Path(self.build_dir or "")
        scripts.mkdir(parents=True, exist_ok=True)
        package.mkdir(parents=True, exist_ok=True)

        define = f'-DPYCC_BUILD_ID="{identity}"'
        launcher = scripts / "pycc"
        self._compile(LAUNCHER_DIRECTORY / "launcher.c", launcher, define, shared=False)
        mark_launcher(launcher)
        launcher.chmod(0o755)
        # Neither is needed: the package asks os.stat where there is no stat checker, and a daemon
        # without a sandbox says that it cannot compile exactly.
        for source, name in (("statcheck.c", STAT_CHECKER), ("sandbox.c", SANDBOX)):
            try:
                target = package / name
                self._compile(LAUNCHER_DIRECTORY / source, target, define, shared=".so" in name)
            except CompileError as error:
                self.warn(str(error))
        (package / BUILD_MODULE).write_text(BUILD_MODULE_TEXT % identity, encoding="ascii")

    def _compile(self, source: Path, target: Path, define: str, *, shared: bool) -> None:
        compiler = find_compiler(os.environ)
        macros = self._run([*compiler, "-dM", "-E", "-x", "c", os.devnull])
        freestanding = macros.returncode == 0 and is_freestanding_target(macros.stdout)
        errors: list[str] = []
        for command in compile_commands(compiler, freestanding, shared):
            # Into a new name first: an editable install may replace a library that is in use.
            partial = target.with_name(f"{target.name}.{os.getpid()}.tmp")
            done = self._run([*command, define, "-o", str(partial), str(source)])
            if done.returncode == 0:
                # A daemon runs as another user than the one who installs it, whatever his umask.
                partial.chmod(0o755)
                partial.replace(target)
                if errors:
                    self.warn(f"{source.name}: built a slower variant, because:\n{errors[0]}")
                return
            partial.unlink(missing_ok=True)
            errors.append(f"{shlex.join(command)}\n{done.stdout}")
        message = f"{source.name} does not compile:\n" + "\n".join(errors)
        raise CompileError(message)

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                command,
                check=False,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        except OSError as error:
            message = f"cannot run the C compiler {command[0]!r}: {error.strerror}"
            raise CompileError(message) from error


class BdistWheel(bdist_wheel):
    """`bdist_wheel` for a wheel that depends on the platform, but on no version of Python."""

    def finalize_options(self) -> None:
        """Mark the wheel as holding machine code."""
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self) -> tuple[str, str, str]:
        """Return the wheel's tag: any Python 3, no extension module, this platform."""
        return "py3", "none", super().get_tag()[2]
