"""Tests of what is built and installed: sdist, wheel, editable install, launcher."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from setuptools.errors import PlatformError

from pycc.launcher import build_launcher
from pycc.locate import is_launcher

ROOT = Path(__file__).resolve().parent.parent
OFFLINE = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps")
UNWANTED = shutil.ignore_patterns(
    *".git .*cache .venv .hypothesis build dist *.egg-info __pycache__".split(),
    *"_build.py _sandbox *.so".split(),
)
SDIST_FILES = """
    LICENSE Makefile README.md pyproject.toml scripts/bootstrap tests/test_packaging.py
    pycc/launcher/launcher.c pycc/launcher/frame.h pycc/launcher/statcheck.c
    pycc/launcher/sandbox.c pycc/launcher/lookups.h pycc/launcher/syscalls.h
    pycc/launcher/build_launcher.py packaging/pyccd.conf packaging/debian/control
    docs/wiki-recipes.md
""".split()


def run(*command: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        cwd=cwd,
        env=env,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
    )
    assert done.returncode == 0, f"{words}:\n{done.stdout}"
    return done.stdout


def pip(*words: object) -> str:
    return run(sys.executable, "-m", "pip", *words)


@dataclass(frozen=True, slots=True)
class Environment:
    """A clean environment that has pycc's dependencies, but of itself no pycc."""

    root: Path

    @property
    def python(self) -> Path:
        return self.root / "bin/python"

    @property
    def packages(self) -> Path:
        return next(self.root.glob("lib/python*/site-packages"))

    @staticmethod
    def make(root: Path) -> Environment:
        run(sys.executable, "-m", "venv", "--without-pip", root)
        environment = Environment(root)
        # A directory named in a .pth file is searched, but its own .pth files are not read: an
        # editable pycc beside the dependencies stays invisible.
        dependencies = [path for path in sys.path if path.endswith("site-packages")]
        (environment.packages / "dependencies.pth").write_text("\n".join(dependencies) + "\n")
        return environment

    def install(self, *words: object) -> None:
        pip("--python", self.python, "install", *OFFLINE, *words)

    def evaluate(self, expression: str) -> str:
        code = f"import pycc, pycc._build, pycc.cache; print({expression})"
        return run(self.python, "-I", "-c", code).strip()


@dataclass(frozen=True, slots=True)
class Built:
    """One source tree, its sdist, the wheel made from the sdist, and both kinds of install."""

    tree: Path
    sdist: Path
    wheel: Path
    installed: Environment
    editable: Environment


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    root = tmp_path_factory.mktemp("packaging")
    tree = root / "tree"
    shutil.copytree(ROOT, tree, symlinks=True, ignore=UNWANTED)
    # What a build of another state left behind must not be packed.
    (tree / "pycc/_build.py").write_text('BUILD_ID = "stale"\n')
    code = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    run(sys.executable, "-c", code, root / "sdist", cwd=tree)
    (sdist,) = (root / "sdist").iterdir()
    pip("wheel", *OFFLINE, "--no-build-isolation", "--wheel-dir", root / "wheel", sdist)
    (wheel,) = (root / "wheel").iterdir()
    installed = Environment.make(root / "installed")
    installed.install(wheel)
    editable = Environment.make(root / "editable")
    editable.install("--no-build-isolation", "--editable", tree)
    return Built(tree, sdist, wheel, installed, editable)


def test_sdist_holds_no_built_file(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {Path(name).name for name in archive.getnames()}
    assert not names & {"_build.py", "_sandbox", "_statcheck.so", "__pycache__"}


@pytest.mark.parametrize("name", SDIST_FILES)
def test_sdist_holds(built: Built, name: str) -> None:
    with tarfile.open(built.sdist) as archive:
        assert any(found.partition("/")[2] == name for found in archive.getnames())


def test_sdist_holds_each_module_once(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        found = [name for name in archive.getnames() if name.endswith("/cache/__init__.py")]
    assert len(found) == 1


def test_wheel_is_for_any_python_3_on_this_platform(built: Built) -> None:
    assert built.wheel.stem.split("-")[2:4] == ["py3", "none"]
    assert built.wheel.stem.split("-")[4] != "any"


def test_wheel_names_the_license(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("dist-info/METADATA"))
        assert b"\nLicense-Expression: GPL-2.0-or-later\n" in archive.read(name)


def test_one_name_is_installed(built: Built) -> None:
    before = {"dependencies.pth"}
    names = {path.name.split("-")[0] for path in built.installed.packages.iterdir()} - before
    assert names == {"pycc"}


def test_every_module_is_installed(built: Built) -> None:
    places = {"pycc": "pycc", "cache": "pycc/cache", "remote": "pycc/remote"}
    tree = {
        f"{place}/{path.name}"
        for source, place in places.items()
        for path in (built.tree / source).glob("*.py")
    }
    installed = {
        str(path.relative_to(built.installed.packages))
        for path in (built.installed.packages / "pycc").rglob("*.py")
    }
    assert installed == tree


@pytest.mark.parametrize("kind", ["installed", "editable"])
def test_launcher_carries_the_mark(built: Built, kind: str) -> None:
    environment: Environment = getattr(built, kind)
    assert is_launcher(bytes(environment.root / "bin/pycc"))


@pytest.mark.parametrize("kind", ["installed", "editable"])
def test_launcher_and_package_have_the_same_build_id(built: Built, kind: str) -> None:
    environment: Environment = getattr(built, kind)
    identity = environment.evaluate("pycc._build.BUILD_ID")
    assert len(identity) == 16
    assert identity.encode() in (environment.root / "bin/pycc").read_bytes()


@pytest.mark.skipif(os.uname().machine not in ("x86_64", "aarch64"), reason="has no system calls")
def test_launcher_is_static_and_small(built: Built) -> None:
    content = (built.installed.root / "bin/pycc").read_bytes()
    assert b"/ld-linux" not in content
    assert len(content) < 65536


def test_editable_build_is_never_taken_for_a_real_one(built: Built) -> None:
    assert built.editable.evaluate("pycc._build.BUILD_ID").startswith("dev")
    assert not built.installed.evaluate("pycc._build.BUILD_ID").startswith("dev")


def test_editable_install_imports_the_source_tree(built: Built) -> None:
    place = Path(built.editable.evaluate("pycc.cache.__file__")).resolve()
    assert place == built.tree / "cache/__init__.py"


@pytest.mark.parametrize("name", ["_statcheck.so", "_sandbox"])
def test_what_is_not_python_is_beside_the_modules(built: Built, name: str) -> None:
    assert (built.installed.packages / "pycc" / name).exists()
    assert (built.tree / "pycc" / name).exists()


def test_the_sandbox_can_be_run_by_any_user(built: Built) -> None:
    program = built.installed.packages / "pycc/_sandbox"
    assert program.stat().st_mode & 0o777 == 0o755


@pytest.fixture
def caller(built: Built, tmp_path: Path) -> Iterator[dict[str, str]]:
    # Not below tmp_path, whose name may be too long for a socket.
    run_directory = Path(tempfile.mkdtemp(prefix="pycc-", dir="/tmp"))
    (run_directory / "pycc").mkdir(mode=0o700)
    environment = {
        "PATH": f"{built.installed.root / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "CCACHE_DIR": str(tmp_path / "cache"),
        "XDG_RUNTIME_DIR": str(run_directory),
    }
    yield environment
    run("pycc", "--stop-server", env=environment)
    shutil.rmtree(run_directory)


def test_installed_program_compiles_and_hits(
    built: Built, caller: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "x.c").write_text("int x;\n")
    past = tmp_path.stat().st_mtime - 100
    os.utime(tmp_path / "x.c", (past, past))
    for _ in range(2):
        run("pycc", "gcc", "-c", "x.c", cwd=tmp_path, env=caller)
    counters = dict(
        line.split("\t") for line in run("pycc", "--print-stats", env=caller).splitlines()
    )
    assert (counters["cache_miss"], counters["direct_cache_hit"]) == ("1", "1")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    for name in ("pycc/a.py", "cache/b.py", "remote/c.py", "pycc/launcher/d.c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    return tmp_path


def test_build_id_is_the_same_for_the_same_sources(sources: Path) -> None:
    assert build_launcher.build_id(sources, "1") == build_launcher.build_id(sources, "1")


@pytest.mark.parametrize(
    "name",
    ["pycc/a.py", "cache/b.py", "remote/c.py", "pycc/launcher/d.c", "pycc/launcher/new.h"],
)
def test_build_id_changes_with_a_source(sources: Path, name: str) -> None:
    before = build_launcher.build_id(sources, "1")
    (sources / name).write_text("2")
    assert build_launcher.build_id(sources, "1") != before


def test_build_id_changes_with_the_name_of_a_source(sources: Path) -> None:
    before = build_launcher.build_id(sources, "1")
    (sources / "pycc/a.py").rename(sources / "pycc/z.py")
    assert build_launcher.build_id(sources, "1") != before


def test_build_id_changes_with_the_version(sources: Path) -> None:
    assert build_launcher.build_id(sources, "1") != build_launcher.build_id(sources, "2")


def test_build_id_does_not_depend_on_an_earlier_build(sources: Path) -> None:
    before = build_launcher.build_id(sources, "1")
    (sources / "pycc/_build.py").write_text("BUILD_ID = 1")
    assert build_launcher.build_id(sources, "1") == before


def test_compiler_may_have_arguments() -> None:
    assert build_launcher.find_compiler({"CC": "ccache gcc -m64"}) == ["ccache", "gcc", "-m64"]


def test_missing_compiler_is_a_clear_error() -> None:
    with pytest.raises(PlatformError, match="install gcc or clang, or set CC"):
        build_launcher.find_compiler({"PATH": "/nowhere"})


@pytest.mark.parametrize(
    ("macros", "expected"),
    [
        ("__linux__ __x86_64__ __LP64__", True),
        ("__linux__ __aarch64__", True),
        ("__linux__ __x86_64__ __ILP32__", False),
        ("__linux__ __i386__", False),
        ("__linux__ __riscv", False),
        ("__APPLE__ __x86_64__", False),
        ("", False),
    ],
)
def test_launcher_without_libc_on(macros: str, expected: bool) -> None:
    text = "".join(f"#define {name} 1\n" for name in macros.split())
    assert build_launcher.is_freestanding_target(text) is expected


def test_slower_variants_follow_the_fast_one() -> None:
    commands = build_launcher.compile_commands(["cc"], freestanding=True, shared=False)
    assert ["-nostdlib" in command for command in commands] == [True, False, False]


def test_file_that_is_no_elf_gets_no_mark(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\xcf\xfa\xed\xfe" + b"." * 20)
    build_launcher.mark_launcher(program)
    assert program.read_bytes() == b"\xcf\xfa\xed\xfe" + b"." * 20
