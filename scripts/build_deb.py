"""Builds pycc's Debian package: ``python scripts/build_deb.py DIRECTORY`` prints where it is.

What `pip` would install is put below /usr/lib/pycc, with Debian's packages for the libraries, and
with programs in /usr/bin that run it. Commands that are called as distcc's own are not there,
because Debian's distcc may be installed as well, but in /usr/lib/pycc/compat. dpkg-deb alone is
needed (and a C compiler for the launcher); debhelper would have to be taught all of this.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from email.utils import formatdate
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGING = ROOT / "packaging"
PRIVATE = "usr/lib/pycc/python"
COMPAT = "usr/lib/pycc/compat"
PROGRAMS = ("pycc-server", "pyccd")
"""Entry points that are programs of ours; all others are called as distcc's."""
LINKS = ("ccache", "distcc")
"""Names under which the launcher itself is called."""
PROGRAM = """\
#!/usr/bin/python3 -I
import sys

sys.path.insert(0, "/{private}")
from {module} import {function}

{function}()
"""
FILES = {
    "pyccd.conf": "etc/pyccd.conf",
    "systemd/pyccd.service": "lib/systemd/system/pyccd.service",
    "systemd/pyccd.sysusers": "usr/lib/sysusers.d/pyccd.conf",
    "debian/lintian-overrides": "usr/share/lintian/overrides/pycc",
    "README.md": "usr/share/doc/pycc/distributions.md",
}
SCRIPTS = ("postinst", "prerm", "postrm")
COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: pycc

Files: *
Copyright: The pycc developers
License: GPL-2+
 This program is free software; you can redistribute it and/or modify it under
 the terms of the GNU General Public License as published by the Free Software
 Foundation; either version 2 of the License, or (at your option) any later
 version.
 .
 The whole license is in /usr/share/common-licenses/GPL-2.
"""


def run(*words: object, cwd: Path | None = None) -> str:
    """Output of a command that must succeed."""
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, check=False, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{words[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def wheel(place: Path) -> Path:
    """What pip installs, unpacked."""
    options = "--quiet --disable-pip-version-check --no-deps --no-build-isolation".split()
    run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", place, ROOT)
    (built,) = place.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(place / "unpacked")
    return place / "unpacked"


def entry_points() -> dict[str, tuple[str, str]]:
    """Module and function by the program's name."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        scripts: dict[str, str] = tomllib.load(file)["project"]["scripts"]
    return {
        name: (text.partition(":")[0], text.partition(":")[2]) for name, text in scripts.items()
    }


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Make a file, and its directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def install(unpacked: Path, tree: Path) -> str:
    """Put everything in its place below ``tree``; returns the version."""
    (information,) = unpacked.glob("*.dist-info")
    (data,) = unpacked.glob("*.data")
    package = next(place for place in (data / "purelib/pycc", unpacked / "pycc") if place.exists())
    shutil.copytree(package, tree / PRIVATE / "pycc")
    (tree / "usr/bin").mkdir(parents=True)
    (tree / COMPAT).mkdir(parents=True)
    (tree / "usr/lib/pycc/bin").mkdir()
    shutil.copy(data / "scripts/pycc", tree / "usr/bin/pycc")
    (tree / "usr/bin/pycc").chmod(0o755)
    for name in ("_sandbox", "_statcheck.so"):
        if (tree / PRIVATE / "pycc" / name).exists():
            (tree / PRIVATE / "pycc" / name).chmod(0o755 if name == "_sandbox" else 0o644)
    for name, (module, function) in entry_points().items():
        place = "usr/bin" if name in PROGRAMS else COMPAT
        text = PROGRAM.format(private=PRIVATE, module=module, function=function)
        write(tree / place / name, text, 0o755)
    for name in LINKS:
        (tree / COMPAT / name).symlink_to("../../../bin/pycc")
    for source, target in FILES.items():
        write(tree / target, (PACKAGING / source).read_text(encoding="utf-8"))
    for path in (ROOT / "docs").glob("*.md"):
        write(tree / "usr/share/doc/pycc" / path.name, path.read_text(encoding="utf-8"))
    write(tree / "usr/share/doc/pycc/copyright", COPYRIGHT)
    found = re.search(r"^Version: (.+)$", (information / "METADATA").read_text(), re.MULTILINE)
    return found[1] if found else "0"


def changes(version: str, when: float) -> bytes:
    """Debian's changelog, which points to ours."""
    text = (
        f"pycc ({version}) unstable; urgency=medium\n\n"
        "  * See NEWS.gz for what changed.\n\n"
        f" -- The pycc developers <pycc@lists.invalid>  {formatdate(when)}\n"
    )
    return gzip.compress(text.encode(), 9, mtime=int(when))


def describe(tree: Path, version: str, when: float) -> None:
    """Write what dpkg wants to know."""
    documents = tree / "usr/share/doc/pycc"
    (documents / "changelog.gz").write_bytes(changes(version, when))
    news = (ROOT / "CHANGELOG.md").read_bytes()
    (documents / "NEWS.gz").write_bytes(gzip.compress(news, 9, mtime=int(when)))
    size = sum(path.lstat().st_size for path in tree.rglob("*")) >> 10
    values = {
        "@VERSION@": version,
        "@ARCHITECTURE@": run("dpkg", "--print-architecture").strip(),
        "@SIZE@": str(size),
    }
    control = (PACKAGING / "debian/control").read_text(encoding="utf-8")
    for name, value in values.items():
        control = control.replace(name, value)
    write(tree / "DEBIAN/control", control)
    write(tree / "DEBIAN/conffiles", "/etc/pyccd.conf\n")
    write(tree / "DEBIAN/triggers", (PACKAGING / "debian/triggers").read_text(encoding="utf-8"))
    for name in SCRIPTS:
        text = (PACKAGING / "debian" / name).read_text(encoding="utf-8")
        write(tree / "DEBIAN" / name, text, 0o755)


def settle(tree: Path, when: float) -> None:
    """The same modes and times whoever builds it, and whatever his umask is."""
    for path in (tree, *tree.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
        elif not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & 0o111 else 0o644)
        os.utime(path, (when, when), follow_symlinks=False)


def commit_time() -> float:
    """Of what is built; SOURCE_DATE_EPOCH says it where there is no git."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return float(given)
    done = subprocess.run(
        ["git", "-C", ROOT, "log", "-1", "--format=%ct"],
        check=False,
        capture_output=True,
        text=True,
    )
    return float(done.stdout) if done.stdout.strip().isdecimal() else time.time()


def build(output: Path) -> Path:
    """The package's file."""
    if shutil.which("dpkg-deb") is None:
        sys.exit("dpkg-deb is missing: install dpkg")
    output.mkdir(parents=True, exist_ok=True)
    when = commit_time()
    with tempfile.TemporaryDirectory(prefix="pycc-deb-") as place:
        tree = Path(place) / "tree"
        tree.mkdir()
        version = install(wheel(Path(place) / "wheel"), tree)
        describe(tree, version, when)
        settle(tree, when)
        os.environ["SOURCE_DATE_EPOCH"] = str(int(when))  # for the times in the archive's own head
        said = run("dpkg-deb", "--build", "--root-owner-group", tree, output)
    return Path(said.rpartition(" in '")[2].rstrip().rstrip(".'"))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Build pycc's Debian package.")
    parser.add_argument("directory", type=Path, help="where to put it")
    print(build(parser.parse_args().directory.absolute()))


if __name__ == "__main__":
    main()
