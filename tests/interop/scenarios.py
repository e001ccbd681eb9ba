"""Days of a programmer, with ccache and with pycc: hits, misses and objects side by side.

    python -m tests.interop.scenarios --launcher PYCC --reference CCACHE --work DIRECTORY [PROJECT…]

Three real projects, fetched from wherever pip is configured to look, are built in one scenario
after another with each wrapper: again, after a header was touched, after a comment changed, after
an unused -D came, on another branch and back, and in another checkout with base_dir. Every object
is compared with the plain compiler's for the same state of the tree; with base_dir, which gives the
compiler relative names, with that for relative names. The exit status is 1 where pycc has fewer
hits than ccache has with the plain compiler's objects, or any object that differs; for the two
scenarios whose text after preprocessing is the same, the classic order (preprocess_first) counts.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

JOBS = 2
SAME_TEXT = ("changed comment", "unused -D")


@dataclass(frozen=True)
class Project:
    """A project from an index: what is compiled (patterns), how, and the header that changes."""

    name: str
    version: str
    compiler: str
    flags: str
    sources: tuple[str, ...]
    left_out: tuple[str, ...]
    header: str


PROJECTS = (
    Project(
        "pycryptodome",
        "3.20.0",
        "gcc",
        "-O1 -Isrc -Isrc/libtom -DHAVE_STDINT_H -DHAVE_UINT128 -DLTC_NO_ASM -DSYS_BITS=64"
        " -DPYCRYPTO_LITTLE_ENDIAN -maes -mpclmul -mssse3 -DHAVE_X86INTRIN_H -DHAVE_WMMINTRIN_H"
        " -DHAVE_POSIX_MEMALIGN -DHAVE_CPUID_H",
        ("src/*.c",),
        ("blake2", "block_common", "blowfish_init", "ghash_clmul", "hash_SHA2_template"),
        "src/common.h",
    ),
    Project(
        "fasttext",
        "0.9.3",
        "g++",
        "-O1 -std=c++17 -pthread",
        ("src/*.cc",),
        (),
        "src/real.h",
    ),
    Project(
        "libsass",
        "0.23.0",
        "g++",
        "-O0 -std=c++11 -Ilibsass/include -DLIBSASS_VERSION=__FILE__",
        ("libsass/src/[a-c]*.cpp",),
        (),
        "libsass/src/constants.hpp",
    ),
)


@dataclass(frozen=True)
class Wrapper:
    """A wrapper under comparison; ``extra`` are its variables."""

    name: str
    program: Path | None
    extra: Mapping[str, str]


@dataclass(frozen=True)
class Outcome:
    """One scenario with one wrapper: hits and misses as counted, objects unlike the plain ones."""

    hits: int
    misses: int
    wrong: int


def fetch(project: Project, directory: Path) -> Path:
    """The unpacked source of a project."""
    found = directory / f"{project.name}-{project.version}"
    if not found.is_dir():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary"]
        command += [":all:", "--dest", str(directory), f"{project.name}=={project.version}"]
        subprocess.run(command, check=True)
        with tarfile.open(directory / f"{project.name}-{project.version}.tar.gz") as archive:
            archive.extractall(directory, filter="data")
    return found


class Days:
    """The scenarios of one project with one wrapper, in checkouts below ``root``."""

    def __init__(self, project: Project, source: Path, root: Path, wrapper: Wrapper) -> None:
        self.project, self.source, self.root, self.wrapper = project, source, root, wrapper
        self.flags = project.flags.split()
        self.tree = root / "one"
        self.environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(root),
            "LC_ALL": "C",
            "CCACHE_DIR": str(root / "cache"),
            "CCACHE_CONFIGPATH": str(root / "none.conf"),
            "XDG_RUNTIME_DIR": str(root / "run"),
            **wrapper.extra,
        }

    def all(self) -> Iterator[tuple[str, list[str]]]:
        """(scenario, digests of the objects), the tree being in the scenario's state."""
        shutil.rmtree(self.root, ignore_errors=True)
        (self.root / "run/pycc").mkdir(parents=True, mode=0o700)
        self.check_out("one")
        header = self.tree / self.project.header
        text = header.read_text()
        yield "cold", self.build()
        yield "again", self.build()
        self.age(header, 5)
        yield "touched header", self.build()
        header.write_text(text + "/* a word */\n")
        self.age(header, 600)
        yield "changed comment", self.build()
        header.write_text(text)
        self.age(header, 600)
        self.flags.append("-DNOBODY_ASKS_FOR_THIS=1")
        yield "unused -D", self.build()
        self.flags.pop()
        branch = sorted(self.tree.glob(self.project.sources[0]))[:6]
        texts = {path: path.read_text() for path in branch}
        for path, old in texts.items():
            path.write_text(f"{old}\nint added_to_{path.stem.replace('-', '_')};\n")
            self.age(path, 300)
        yield "branch", self.build()
        for path, old in texts.items():
            path.write_text(old)
        yield "and back", self.build()
        self.check_out("two")
        self.environment["CCACHE_BASEDIR"] = str(self.root)
        yield "base_dir set", self.build(absolute="one")
        yield "other checkout", self.build(absolute="two")

    def check_out(self, name: str) -> None:
        shutil.copytree(self.source, self.root / name)
        for path in (self.root / name).rglob("*"):
            if path.is_file():
                self.age(path, 3600)

    @staticmethod
    def age(path: Path, seconds: int) -> None:
        stamp = path.stat().st_ctime - seconds
        os.utime(path, (stamp, stamp))

    def commands(self, absolute: str) -> list[tuple[list[str], Path, Path]]:
        """(command, directory, object) of each compile; with absolute names for a checkout, if a
        wrapper makes relative ones of them."""
        tree = self.root / (absolute or "one")
        absolute = absolute if self.wrapper.program is not None else ""
        flags = [
            f"-I{tree}/{flag[2:]}" if absolute and flag.startswith("-I") else flag
            for flag in self.flags
        ]
        found = []
        for pattern in self.project.sources:
            for path in sorted(tree.glob(pattern)):
                if path.stem not in self.project.left_out:
                    made = tree / "objects" / f"{path.stem}.o"
                    source = str(path if absolute else path.relative_to(tree))
                    command = [self.project.compiler, *flags, "-c", source, "-o", str(made)]
                    found.append((command, tree, made))
        return found

    def build(self, absolute: str = "") -> list[str]:
        """Compile everything; digests of the objects."""
        prefix = [] if self.wrapper.program is None else [str(self.wrapper.program)]
        (self.root / (absolute or "one") / "objects").mkdir(exist_ok=True)

        def compiled(job: tuple[list[str], Path, Path]) -> str:
            command, directory, made = job
            made.unlink(missing_ok=True)
            subprocess.run([*prefix, *command], cwd=directory, env=self.environment, check=True)
            return hashlib.blake2b(made.read_bytes()).hexdigest()

        with ThreadPoolExecutor(JOBS) as pool:
            return list(pool.map(compiled, self.commands(absolute)))

    def counted(self) -> tuple[int, int]:
        """Hits and misses since the last time."""
        program = str(self.wrapper.program)
        done = subprocess.run(
            [program, "--print-stats"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        counts = {
            name: int(value) for name, value in (line.split() for line in done.stdout.splitlines())
        }
        subprocess.run([program, "-z"], env=self.environment, capture_output=True, check=True)
        hits = counts["direct_cache_hit"] + counts["preprocessed_cache_hit"]
        return hits, counts["cache_miss"]


def compare(project: Project, source: Path, work: Path, wrappers: Sequence[Wrapper]) -> bool:
    """Print one project's table; whether pycc is as good."""
    root = work / "days"
    plain = dict(Days(project, source, root, Wrapper("plain", None, {})).all())
    found: dict[str, dict[str, Outcome]] = {}
    for wrapper in wrappers:
        days = Days(project, source, root, wrapper)
        for scenario, objects in days.all():
            hits, misses = days.counted()
            wrong = sum(a != b for a, b in zip(objects, plain[scenario], strict=True))
            found.setdefault(scenario, {})[wrapper.name] = Outcome(hits, misses, wrong)
        if wrapper.name != "ccache":
            command = [str(wrapper.program), "--stop-server"]
            subprocess.run(command, env=days.environment, capture_output=True, check=False)
    names = [wrapper.name for wrapper in wrappers]
    print(f"\n{project.name} {project.version}, {len(plain['cold'])} files: hits/misses (wrong)")
    print(f"{'':16}" + "".join(f"{name:>18}" for name in names))
    good = True
    for scenario, outcomes in found.items():
        cells = [
            f"{o.hits}/{o.misses}" + (f" ({o.wrong})" if o.wrong else "") for o in outcomes.values()
        ]
        ours = outcomes["classic" if scenario in SAME_TEXT else "pycc"]
        theirs = outcomes["ccache"]
        fine = ours.hits >= theirs.hits - theirs.wrong and not any(
            outcomes[name].wrong for name in names if name != "ccache"
        )
        good = good and fine
        print(f"{scenario:16}" + "".join(f"{c:>18}" for c in cells) + ("" if fine else "   FAIL"))
    return good


def main() -> int:
    """Compare; the exit status."""
    parser = argparse.ArgumentParser(description="pycc and ccache over the same days")
    parser.add_argument("--launcher", type=Path, required=True)
    parser.add_argument("--reference", type=Path, default=Path("/usr/bin/ccache"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("projects", nargs="*")
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    wrappers = (
        Wrapper("ccache", options.reference.resolve(), {}),
        Wrapper("pycc", options.launcher.absolute(), {}),
        Wrapper("classic", options.launcher.absolute(), {"CCACHE_PREPROCESS_FIRST": "1"}),
    )
    good = True
    for project in PROJECTS:
        if not options.projects or project.name in options.projects:
            good = compare(project, fetch(project, work), work, wrappers) and good
    print("pycc is as good as ccache" if good else "pycc is worse than ccache somewhere")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
