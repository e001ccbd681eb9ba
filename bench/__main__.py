"""Measures pycc beside gcc and ccache in one run and prints the ratios against the budgets.

    python -m bench [--pycc BIN] [--ccache BIN] [--new-ccache BIN] [--project DIR]

Every figure is of whole processes, from before posix_spawn to after the wait (spawn.c).  What is
compared is measured in the same run in interleaved rounds, because a machine is never as fast
twice; so ratios count, not milliseconds.  A figure that should be of hits is thrown away when the
wrapper's own counters do not say that each of them was one.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.builds import Builds, measure_builds
from bench.farm import measure_farm
from bench.measure import Spawner, Task, Times
from bench.sources import header_count, synthetic_project, write_makefile, write_sources
from bench.subjects import BenchError, Subject, interpreter, is_static, subject

CLASSIC = {"CCACHE_PREPROCESS_FIRST": "1"}
MEMORY_CALLS = 10_000


@dataclasses.dataclass(frozen=True, slots=True)
class Bound:
    """One budget: what was measured, the most that it may be, and whether that was kept."""

    what: str
    value: float
    limit: float
    unit: str = "x"

    @property
    def kept(self) -> bool:
        """Whether the value is within the limit."""
        return self.value <= self.limit


class Bench:
    """One run: its directory, its subjects and what it has measured so far."""

    def __init__(self, options: argparse.Namespace, place: Path) -> None:
        """Build the timing loop, the sources and the subjects."""
        self.options = options
        self.place = place
        self.spawner = Spawner(place)
        self.sources = place / "sources"
        write_sources(self.sources)
        self.plain = subject("gcc", None, place)
        self.debian = self.optional("ccache", options.ccache)
        self.newest = self.optional("ccache-new", options.new_ccache)
        self.sccache = self.optional("sccache", shutil.which("sccache"))
        self.pycc = self.optional("pycc", options.pycc)
        self.bounds: list[Bound] = []
        self.figures: dict[str, dict[str, list[float]]] = {}

    def optional(self, name: str, program: str | None) -> Subject | None:
        """A subject, or None when there is no such program."""
        return subject(name, Path(program).absolute(), self.place) if program else None

    @property
    def wrappers(self) -> list[Subject]:
        """The subjects with a cache."""
        every = (self.pycc, self.newest, self.debian, self.sccache)
        return [wrapper for wrapper in every if wrapper is not None]

    def show(self, title: str, times: Mapping[str, Times], unit: str = "µs") -> None:
        """Print medians and ranges, with the ratio of pycc to each."""
        print(f"\n{title} ({unit}, median [range] of rounds)")
        self.figures[title] = {name: list(value.rounds) for name, value in times.items()}
        ours = times.get("pycc")
        for name, value in times.items():
            ratio = f"  pycc = {ours.median / value.median:.2f} x" if ours else ""
            print(f"  {name:22}{value!s:>28}{ratio if name != 'pycc' else ''}", flush=True)

    def bound(self, what: str, value: float, limit: float, unit: str = "x") -> None:
        """Note a budget."""
        self.bounds.append(Bound(what, value, limit, unit))

    def task(self, who: Subject, source: str, count: int, *, renew: bool = False) -> Task:
        """The compile of one source by one subject."""
        compiler = "g++" if source.endswith(".cc") else "gcc"
        path = self.sources / source
        output = os.fspath(who.place / f"{source}.o")
        argv = (*who.compilers[compiler], "-O1", "-c", os.fspath(path), "-o", output)
        renewed = os.fspath(path) if renew else ""
        return Task(argv, who.environment, who.place, count, renew=renewed)

    def hits(self, source: str) -> dict[str, Times]:
        """Direct hits on one source, each of them counted as one by its wrapper."""
        options = self.options
        tasks = {}
        for who in self.wrappers:
            task = self.task(who, source, options.count)
            for _ in range(3):  # one stores, one may still have to learn, one hits
                self.spawner.run(dataclasses.replace(task, count=1))
            tasks[who.name] = task
        before = {who.name: who.counters().get("direct_cache_hit") for who in self.wrappers}
        times = self.spawner.interleave(tasks, options.rounds)
        for who in self.wrappers:
            old = before[who.name]
            if old is None:
                continue
            made = who.counters().get("direct_cache_hit", 0) - old
            if made != options.rounds * options.count:
                message = f"{who.name}: {made} of {options.rounds * options.count} were direct hits"
                raise BenchError(message)
        return times

    def against(self, what: str, times: Mapping[str, Times]) -> None:
        """Note the budgets of a hit against both ccaches."""
        if "pycc" not in times:
            return
        ours = times["pycc"].median
        if "ccache" in times:
            self.bound(f"{what} / ccache", ours / times["ccache"].median, 0.2)
        if self.newest and self.newest.program and "ccache-new" in times:
            if is_static(self.newest.program):
                ratio = ours / times["ccache-new"].median
                self.bound(f"{what} / newest ccache, static", ratio, 0.3)
            else:
                print("  (the newest ccache is not linked statically: no bound applies)")

    def direct_hits(self) -> None:
        """Hits with few, many and generated headers, and the floors under them."""
        noops = {
            "no-op without libc": self.spawner.bare_noop,
            "no-op, static glibc": self.spawner.static_noop,
        }
        floor = self.spawner.interleave(
            {
                name: Task((os.fspath(path),), self.plain.environment, self.place, 100)
                for name, path in noops.items()
            },
            self.options.rounds,
        )
        self.show("a process that does nothing", floor)
        for source in ("c.c", "cxx.cc"):
            compiler = "g++" if source.endswith(".cc") else "gcc"
            headers = header_count(compiler, self.sources / source)
            times = self.hits(source)
            what = f"direct hit, {'C++' if compiler == 'g++' else 'C'}, {headers} headers"
            self.show(what, times)
            self.against(what, times)
            if source == "c.c" and "pycc" in times:
                ratio = times["pycc"].median / floor["no-op, static glibc"].median
                self.bound(f"{what} / static glibc no-op", ratio, 1.0)
        generated = {count: self.hits(f"gen{count}.c") for count in (0, 200, 800)}
        for count, times in generated.items():
            self.show(f"direct hit, {count} generated headers", times)
        if self.pycc:
            none, most = (generated[count]["pycc"].median for count in (0, 800))
            self.bound("growth of a hit from 0 to 800 headers", most / none, 2.5)
            if "ccache-new" in generated[800]:
                ratio = most / generated[800]["ccache-new"].median
                self.bound("direct hit, 800 headers / newest ccache", ratio, 0.3)

    def misses(self) -> None:
        """Compiles of sources that nobody has seen."""
        for source, what, limit in (("tiny.c", "tiny C", 1.10), ("c.c", "C", None)):
            tasks = {
                who.name: self.task(who, source, self.options.misses, renew=True)
                for who in (self.plain, *self.wrappers)
            }
            # Compilers, directories and headers are known in a build after its first file.
            for task in tasks.values():
                self.spawner.run(dataclasses.replace(task, count=2))
            times = self.spawner.interleave(tasks, self.options.rounds)
            self.show(f"miss, {what}, a new source each time", times)
            if "pycc" in times and limit:
                ratio = times["pycc"].median / times["gcc"].median
                self.bound(f"miss, {what} / gcc", ratio, limit)

    def starts(self) -> None:
        """The call that starts the server, and calls without one."""
        if self.pycc is None:
            return
        task = self.task(self.pycc, "c.c", 1)
        self.spawner.run(task)
        first = dataclasses.replace(task, before=self.pycc.stop)
        without = {**self.pycc.environment, "PYCC_RESIDENT": "0"}
        tasks = {
            "first call": first,
            "without a server": dataclasses.replace(task, environment=without, count=3),
        }
        times = self.spawner.interleave(tasks, self.options.rounds)
        self.show("calls without a running server", times)
        self.bound("first call", times["first call"].median / 1000, 250, "ms")
        self.bound("hit without a server", times["without a server"].median / 1000, 100, "ms")

    def builds(self) -> None:
        """Cold and warm builds of the project."""
        if self.options.project:
            project = Path(self.options.project).absolute()
        else:
            project = synthetic_project(self.place / "project")
        place = self.place / "build"
        files = write_makefile(project, place, self.options.flags.split())
        if files < 40:
            message = f"{project}: only {files} C files compile on their own, 40 are needed"
            raise BenchError(message)
        who = [self.plain, *self.wrappers]
        if self.pycc:
            who.append(subject("pycc-classic", self.pycc.program, self.place, CLASSIC))
        built = measure_builds(
            project, place, files, who, self.spawner.static_noop, self.options.builds
        )
        name = project.name if self.options.project else "a made-up project"
        self.show(f"cold build of {name}, {files} files, make -j2", built.cold, "ms")
        self.show("warm build of it", {**built.warm, "no-op compiler": built.noop}, "ms")
        self.build_bounds(built)

    def build_bounds(self, built: Builds) -> None:
        """Note the budgets of builds."""
        if "pycc" not in built.cold:
            return
        plain = built.cold["gcc"].median
        self.bound("cold build / gcc", built.cold["pycc"].median / plain, 1.05)
        if "ccache" in built.cold:
            classic = built.cold["pycc-classic"].median
            ratio = classic / built.cold["ccache"].median
            self.bound("cold build in classic order / ccache", ratio, 1.0)
            floor = built.noop.median
            for ours in ("pycc", "pycc-classic"):
                ratio = (built.warm[ours].median - floor) / (built.warm["ccache"].median - floor)
                self.bound(f"warm build of {ours} above a no-op / ccache's", ratio, 0.35)

    def farm(self) -> None:
        """A cold client of a warm server, and remote misses."""
        if self.pycc is None:
            return
        place, rounds = self.place / "farm", self.options.rounds
        found = measure_farm(place, self.sources, self.plain, self.pycc, self.spawner, rounds)
        if found is None:
            print("  (no distcc and ccache here: no farm is measured)")
            return
        self.show("a C++ file that the server has compiled before", found.served)
        theirs = found.served["distcc, server's ccache"].median
        for what, limit in (("nothing known", 0.35), ("digests known", 0.2)):
            ratio = found.served[f"pycc, {what}"].median / theirs
            self.bound(f"cold client, {what} / distcc with ccache", ratio, limit)
        self.show("the same, new to the server each time", found.missed)
        alone = found.missed["g++ alone"].median
        ours, distcc = (found.missed[name].median - alone for name in ("pycc", "distcc"))
        self.bound("remote job above its compile / distcc's", ours / distcc, 1.0)

    def memory(self) -> None:
        """The server's memory after many calls."""
        if self.pycc is None:
            return
        for source in ("c.c", "cxx.cc"):
            self.spawner.run(self.task(self.pycc, source, MEMORY_CALLS // 2))
        used = self.pycc.server_memory()
        if used is None:
            message = "no server answers below its runtime directory"
            raise BenchError(message)
        self.bound(f"server memory after {MEMORY_CALLS} compiles", used / 1024, 80, "MiB")

    def close(self) -> None:
        """Stop all servers."""
        for who in self.wrappers:
            who.stop()
        classic = self.place / "pycc-classic"
        if self.pycc and classic.exists():
            environment = {**self.pycc.environment, "XDG_RUNTIME_DIR": os.fspath(classic / "run")}
            dataclasses.replace(self.pycc, environment=environment).stop()


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pycc", help="an installed launcher; without it only anchors")
    parser.add_argument("--ccache", default=shutil.which("ccache"), help="default: on PATH")
    parser.add_argument("--new-ccache", default=os.environ.get("CCACHE"), help="default: $CCACHE")
    parser.add_argument("--project", help="a directory with at least 40 C files")
    parser.add_argument("--flags", default="", help="what it is compiled with, in its directory")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--count", type=int, default=200, help="hits a round, in one go as a build")
    parser.add_argument("--misses", type=int, default=8, help="misses a round")
    parser.add_argument("--builds", type=int, default=3, help="builds of each kind")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure only these parts")
    return parser.parse_args(argv)


PARTS = ("direct_hits", "misses", "starts", "builds", "farm", "memory")


def report(bounds: Sequence[Bound]) -> int:
    """Print the budgets; 1 when one was not kept."""
    print(f"\n{'budget':58}{'measured':>10}{'at most':>10}")
    for bound in bounds:
        word = "ok" if bound.kept else "FAIL"
        row = f"{bound.what:58}{bound.value:>10.2f}{bound.limit:>10.2f}"
        print(f"{row} {bound.unit:4}{word}")
    return int(any(not bound.kept for bound in bounds))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 0 when every budget was kept, 1 when not, 2 when nothing can be measured."""
    options = arguments(argv)
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"warning: load average {load:.1f}: this machine is busy", file=sys.stderr)
    place = Path(tempfile.mkdtemp(prefix="bench-"))
    bench = None
    try:
        if options.pycc:
            print(f"pycc runs on {interpreter(Path(options.pycc))}")
        bench = Bench(options, place)
        for part in options.only or PARTS:
            getattr(bench, part)()
        if options.json:
            options.json.write_text(json.dumps(bench.figures, indent=1) + "\n")
        return report(bench.bounds)
    except (BenchError, subprocess.CalledProcessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    finally:
        if bench:
            bench.close()
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
