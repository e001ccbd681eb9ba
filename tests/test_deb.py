"""The Debian package: what is in it, and what Debian's own checker says."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILDER = ROOT / "scripts/build_deb.py"


def run(*words: object) -> str:
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("no Debian")
    return Path(run(sys.executable, "-I", BUILDER, tmp_path_factory.mktemp("deb")).strip())


@pytest.fixture(scope="module")
def tree(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tree")
    run("dpkg-deb", "--raw-extract", package, place)
    return place


def fields(package: Path) -> dict[str, str]:
    lines = run("dpkg-deb", "--field", package).splitlines()
    return dict(line.split(": ", 1) for line in lines if line[:1].isalpha())


def test_its_libraries_are_debians(package: Path) -> None:
    names = {word.split()[0] for word in fields(package)["Depends"].split(", ")}
    with (ROOT / "pyproject.toml").open("rb") as file:
        wanted: list[str] = tomllib.load(file)["project"]["dependencies"]
    libraries = {one.partition(">")[0].removeprefix("python-") for one in wanted}
    assert names == {"python3", *(f"python3-{name}" for name in libraries)}


def test_everything_is_roots_and_nobody_elses_to_write(package: Path) -> None:
    for line in run("dpkg-deb", "--contents", package).splitlines():
        mode, owner, *_ = line.split()
        assert owner == "root/root"
        assert mode[0] == "l" or (mode[5], mode[8]) == ("-", "-"), line
        assert "s" not in mode, line


@pytest.mark.parametrize(
    "path",
    """
    usr/bin/pycc usr/bin/pycc-server usr/bin/pyccd usr/lib/pycc/compat/distccmon-text
    usr/lib/pycc/compat/distccmon-gui usr/lib/pycc/python/pycc/_build.py
    usr/lib/pycc/python/pycc/_sandbox usr/lib/pycc/python/pycc/_statcheck.so
    usr/lib/pycc/python/pycc/cache/storage.py usr/lib/pycc/python/pycc/remote/pyccd.py
    lib/systemd/system/pyccd.service usr/lib/sysusers.d/pyccd.conf etc/pyccd.conf
    usr/share/doc/pycc/copyright usr/share/doc/pycc/build-systems.md DEBIAN/postinst
    """.split(),
)
def test_it_holds(tree: Path, path: str) -> None:
    assert (tree / path).is_file()


def test_no_file_is_one_of_debians_distcc_or_ccache(tree: Path) -> None:
    names = {path.name for path in (tree / "usr/bin").iterdir()}
    assert names == {"pycc", "pycc-server", "pyccd"}
    assert {path.name for path in (tree / "usr/lib").iterdir()} == {"pycc", "sysusers.d"}


def test_nothing_is_left_from_the_build(tree: Path) -> None:
    assert not [path for path in tree.rglob("*") if path.suffix == ".pyc"]
    assert "pycc-deb-" not in "".join(
        path.read_text() for path in (tree / "usr/bin").glob("pycc?*")
    )


def test_the_programs_run(tree: Path, tmp_path: Path) -> None:
    text = (tree / "usr/bin/pyccd").read_text()
    assert text.startswith("#!/usr/bin/python3 -I\n")
    assert 'sys.path.insert(0, "/usr/lib/pycc/python")' in text
    moved = text.replace('"/usr/lib', f'"{tree}/usr/lib')
    done = run(
        sys.executable, "-c", moved.replace("main()", 'sys.argv[1:] = ["--version"]; main()')
    )
    assert "(protocols 1, 2 and 3)" in done


def test_its_times_are_the_commits(package: Path) -> None:
    head = package.read_bytes()[8:68].split()
    times = {line.split()[3:5][0] for line in run("dpkg-deb", "-c", package).splitlines()}
    assert len(times) == 1
    assert int(head[1]) < package.stat().st_mtime


@pytest.mark.parametrize("name", ["postinst", "prerm", "postrm"])
def test_its_scripts_can_be_read(tree: Path, name: str) -> None:
    run("sh", "-n", tree / "DEBIAN" / name)


def test_debians_checker_finds_no_error(package: Path) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("lintian is not installed")
    done = subprocess.run(
        ["lintian", "--fail-on", "error", "--allow-root", package],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
