"""Builds a real project plainly, then cold and warm through pycc, and compares every object.

    demo.py [--fetch-only | --print-flags] DIRECTORY

DIRECTORY holds the environment (env/, made before) and everything that the demonstration makes; a
second run needs no network. The exit status is 1 when an object differs or a hit is missing.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from pycc.locate import is_wrapper

# A disassembler framework in C: 79 files, the largest of 1 MB, that need neither a configuration
# step nor any library. Its sdist is taken from whichever index pip is configured to use.
PROJECT = "capstone"
VERSION = "5.0.9"
SUBDIRECTORY = "src"
ARCHITECTURES = (
    "ARM ARM64 BPF EVM M680X M68K MIPS MOS65XX PPC RISCV SH SPARC SYSZ TMS320C64X TRICORE WASM X86"
    " XCORE"
).split()
FLAGS = ["-O2", "-g", "-Iinclude", "-I.", "-DCAPSTONE_USE_SYS_DYN_MEM"] + [
    f"-DCAPSTONE_HAS_{name}" for name in ARCHITECTURES
]

# The project's own would do, but for the place of the objects.
MAKEFILE = """\
CC = gcc
SOURCES := $(sort $(shell find . -name '*.c'))
all: $(SOURCES:./%.c=objects/%.o)
objects/%.o: %.c
\t@mkdir -p $(@D)
\t$(CC) $(CFLAGS) -c -o $@ $<
"""

LEAST_HITS = 0.99


@dataclass(frozen=True, slots=True)
class Build:
    """One finished build of the project."""

    name: str
    seconds: float
    objects: Path


def main() -> int:
    """Run the demonstration; return the exit status."""
    parser = argparse.ArgumentParser(description="build a real project with and without pycc")
    parser.add_argument("--fetch-only", action="store_true", help="only unpack the source")
    parser.add_argument("--print-flags", action="store_true", help="only say how it is compiled")
    parser.add_argument("directory", type=Path)
    options = parser.parse_args()
    if options.print_flags:
        print(" ".join(FLAGS))
        return 0
    directory = options.directory.resolve()
    source = fetch(directory)
    if options.fetch_only:
        return 0

    # A server of its own, that no other install of the same version meets. Not below DIRECTORY,
    # whose name may be too long for a socket.
    with tempfile.TemporaryDirectory(prefix="pycc-", dir="/tmp") as runtime:
        Path(runtime, "pycc").mkdir(mode=0o700)
        return demonstrate(directory, source, runtime)


def demonstrate(directory: Path, source: Path, runtime: str) -> int:
    """Build three times, and print what came of it; return the exit status."""
    launcher = directory / "env" / "bin" / "pycc"
    links = directory / "links"
    cache = directory / "cache"
    remove(cache)
    plain = plain_environment(os.environ)
    wrapped = plain | {
        "PATH": f"{links}{os.pathsep}{plain['PATH']}",
        "CCACHE_DIR": str(cache),
        "CCACHE_CONFIGPATH": str(cache / "ccache.conf"),
        "XDG_RUNTIME_DIR": runtime,
    }
    subprocess.run([launcher, "--install-links", links], env=wrapped, check=True, stdout=sys.stderr)
    try:
        builds = [
            build(directory, source, "plain", plain),
            build(directory, source, "cold", wrapped),
        ]
        before = counters(launcher, wrapped)
        builds.append(build(directory, source, "warm", wrapped))
        after = counters(launcher, wrapped)
        statistics = run_text([launcher, "--show-stats"], wrapped)
    finally:
        subprocess.run([launcher, "--stop-server"], env=wrapped, check=False, stdout=sys.stderr)

    sources = len(objects_of(builds[0]))
    direct = after["direct_cache_hit"] - before["direct_cache_hit"]
    good = [len(same_objects(builds[0], other)) for other in builds]
    print(table(builds, good, sources))
    print(f"\nwarm build: {direct} of {sources} direct hits ({100 * direct / sources:.1f} %)")
    print(f"speed-up:   {builds[0].seconds / builds[2].seconds:.0f} times\n")
    print(statistics)
    failures = [
        f"the {other.name} build's objects are not the plain build's"
        for other, count in zip(builds, good, strict=True)
        if count != sources
    ]
    if direct < LEAST_HITS * sources:
        failures.append(
            f"fewer than {LEAST_HITS:.0%} of the warm build's compiles were direct hits"
        )
    for failure in failures:
        print(f"demo: {failure}", file=sys.stderr)
    return 1 if failures else 0


def fetch(directory: Path) -> Path:
    """Return the project's source directory, fetched and unpacked unless it is there."""
    source = directory / "source"
    if (source / "Makefile").exists():
        return source
    download = directory / "download"
    # Without build isolation pip asks the sdist for its name and version, and fetches nothing else.
    command = [sys.executable, "-I", "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--no-build-isolation", "--no-binary", PROJECT]
    found = sorted(download.glob("*.tar.gz"))
    if not found:
        subprocess.run([*command, "--dest", download, f"{PROJECT}=={VERSION}"], check=True)
        found = sorted(download.glob("*.tar.gz"))
    unpacked = directory / "unpacked"
    remove(unpacked)
    remove(source)
    with tarfile.open(found[0]) as archive:
        # The oldest supported Python has no filters; they became the default later.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
        archive.extractall(unpacked)
    project = unpacked / found[0].name.removesuffix(".tar.gz") / SUBDIRECTORY
    (project / "Makefile").write_text(MAKEFILE.replace("$(CFLAGS)", " ".join(FLAGS)))
    project.rename(source)
    return source


def plain_environment(environment: os._Environ[str]) -> dict[str, str]:
    """Return the environment without compiler wrappers and without their settings."""
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith(("CCACHE_", "DISTCC_", "PYCC_", "MAKE", "MFLAGS"))
        and name not in ("CC", "CFLAGS")
    }
    directories = kept.get("PATH", os.defpath).split(os.pathsep)
    kept["PATH"] = os.pathsep.join(
        d for d in directories if not is_wrapper(os.fsencode(Path(d, "gcc")))
    )
    return kept


def build(directory: Path, source: Path, name: str, environment: dict[str, str]) -> Build:
    """Build everything from nothing, and put the objects aside."""
    print(f"building the project: {name}", file=sys.stderr)
    objects = source / "objects"
    aside = directory / f"objects-{name}"
    remove(objects)
    remove(aside)
    # What the last build wrote must not be written back to the disk during this one.
    os.sync()
    start = time.monotonic()
    done = subprocess.run(
        ["make", "--silent", f"-j{os.cpu_count() or 1}"],
        cwd=source,
        env=environment,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    seconds = time.monotonic() - start
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        sys.exit(f"demo: the {name} build failed")
    objects.rename(aside)
    return Build(name, seconds, aside)


def objects_of(built: Build) -> list[Path]:
    """Return the paths of a build's objects, relative to its directory."""
    return sorted(path.relative_to(built.objects) for path in built.objects.rglob("*.o"))


def same_objects(first: Build, second: Build) -> list[Path]:
    """Return the objects that both builds made, byte for byte the same."""
    names = [str(path) for path in objects_of(first)]
    same, _, _ = filecmp.cmpfiles(first.objects, second.objects, names, shallow=False)
    return [Path(name) for name in same]


def counters(launcher: Path, environment: dict[str, str]) -> dict[str, int]:
    """Return pycc's statistics by name."""
    lines = run_text([launcher, "--print-stats"], environment).splitlines()
    return {name: int(value) for name, value in (line.split("\t") for line in lines)}


def run_text(command: list[str | Path], environment: dict[str, str]) -> str:
    """Return what a command prints; CalledProcessError when it fails."""
    return subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def table(builds: list[Build], good: list[int], total: int) -> str:
    """Return the table of times for people."""
    lines = [f"{'build':<8}{'seconds':>10}{'of plain':>12}{'objects the same':>20}"]
    for built, count in zip(builds, good, strict=True):
        share = built.seconds / builds[0].seconds
        counted = f"{count} of {total}"
        lines.append(f"{built.name:<8}{built.seconds:>10.2f}{share:>12.3f}{counted:>20}")
    return "\n".join(lines)


def remove(directory: Path) -> None:
    """Delete a directory tree that may not be there."""
    if directory.exists():
        shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main())
