"""Compiles a small, ever edited project plainly and through a wrapper, and compares everything.

    python -m tests.fuzz.differential --wrapper PATH [--steps N] [--seed S] [--cc gcc] [--jobs J]

The compiler is the oracle: whatever it does, outputs, modes, messages and status, the wrapper has
to do, cold or warm.  The run is decided by its seed.  For each kind of difference a directory is
kept with the smallest list of steps that was found to show it, as a shell script.  Where two plain
runs do not agree with each other (the clock, random numbers) the step is undecided, and printed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.edits import flagged
from tests.fuzz.oracle import Oracle, check
from tests.fuzz.project import Toolchain, first_state
from tests.fuzz.pumping import pump_server
from tests.fuzz.reproduce import minimize, script
from tests.fuzz.states import File, State
from tests.fuzz.walk import Walk

REMEMBERED = 120  # states before a difference that a reproduction may need


@dataclasses.dataclass(slots=True)
class Report:
    """What one walk found; filled while it runs."""

    steps: int = 0
    hits: int = 0
    failed_compiles: int = 0
    undecided: list[str] = dataclasses.field(default_factory=list)
    # Note of the step, and how often.
    differences: dict[str, int] = dataclasses.field(default_factory=dict)


def toolchain(cc: str) -> Toolchain:
    """The compilers for a family name, gcc or clang, with an optional version suffix."""
    clang = "clang" in cc
    cxx = cc.replace("clang", "clang++") if clang else cc.replace("gcc", "g++")
    for program in (cc, cxx):
        if shutil.which(program) is None:
            raise SystemExit(f"differential: {program} not found")
    trial = subprocess.run(
        [cc, "-x", "objective-c", "-c", "-o", "/dev/null", "-"],
        input=b"int x;\n",
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return Toolchain(cc.encode(), cxx.encode(), clang, trial.returncode == 0)


def precompile(tools: Toolchain, state: State, place: str) -> State:
    """The state with two precompiled headers in its tree, for the scenario that uses them."""
    for number in (b"1", b"2"):
        source, output = Path(place, "p.h"), Path(place, "p.out")
        source.write_bytes(b"#define FORCED " + number + b"\n")
        command = [tools.c, b"-O1", b"-x", b"c-header", os.fsencode(source), b"-o"]
        if subprocess.run([*command, os.fsencode(output)], check=False).returncode == 0:
            state = state.put(b"pch/" + number, File(output.read_bytes()))
            output.unlink()
    return state


class Run:
    """One walk with one oracle."""

    def __init__(self, options: argparse.Namespace, tools: Toolchain, seed: int) -> None:
        """Nothing is started yet."""
        self.options = options
        self.tools = tools
        self.seed = seed
        self.report = Report()
        self.shown: list[State] = []

    def make_oracle(self) -> Oracle:
        """An oracle in a new directory with an empty cache."""
        place = tempfile.mkdtemp(prefix="fz-").encode()
        wrapper = os.path.abspath(os.fsencode(self.options.wrapper))
        extra = dict(item.encode().split(b"=", 1) for item in self.options.env)
        options = self.options
        how = {"pumping": options.pump, "by_name": b"distcc" if options.distcc else b""}
        return Oracle(place, self.tools, wrapper, extra, log=options.verbose, **how)

    def run(self, steps: int) -> Report:
        """Walk that many steps."""
        report = self.report
        oracle = self.make_oracle()
        try:
            with tempfile.TemporaryDirectory() as place:
                start = precompile(self.tools, first_state(self.tools), place)
            # What may have the assembler read a file is sent nowhere.
            always = {"assembler": ()} if self.options.pump else {}
            walk = Walk(self.seed, self.tools, flagged(start, **always), **always)
            while report.steps < steps:
                state = walk.next()
                self.shown = [*self.shown[-REMEMBERED:], state]
                following = walk.following()
                if state.command.race and following is not None:
                    oracle.enter(state, in_place=True)
                    oracle.race(state, following, state.command.race)
                    continue
                if state.command.unseen:
                    oracle.enter(state, in_place=True)
                    oracle.unseen(state)
                    continue
                if walk.rng.random() < 0.1:
                    oracle.clean()
                checked = check(oracle, state, in_place=walk.rng.random() < 0.5)
                report.steps += 1
                report.failed_compiles += checked.plain.status != 0
                walk.tell(compiled=checked.plain.status == 0)
                if self.options.verbose:
                    self.say(state, checked.outcome or f"status {checked.plain.status}")
                if checked.undecided:
                    report.undecided.append(f"{state.note}: {checked.found[0]}")
                elif checked.found:
                    self.difference(state, checked.found)
                    if self.options.stop_first:
                        break
            report.hits = oracle.hits()
            if self.options.pump:
                print(oracle.maintenance("--show-stats"))
        finally:
            oracle.close()
        return report

    def say(self, state: State, what: str) -> None:
        """One line about one step."""
        print(f"seed {self.seed} step {self.report.steps}: {state.note}: {what}", flush=True)

    def difference(self, state: State, found: Sequence[str]) -> None:
        """Count a difference; for the first of its kind keep a small reproduction."""
        count = self.report.differences.get(state.note, 0)
        self.report.differences[state.note] = count + 1
        if count or len(self.report.differences) > self.options.max_reproductions:
            return
        self.say(state, "DIFFERENCE\n  " + "\n  ".join(found))
        states, shown = minimize(self.make_oracle, self.shown)
        wrapper = os.path.abspath(os.fsencode(self.options.wrapper))
        text = script(states, wrapper, [state.note, *found])
        place = Path(self.options.keep) / f"{self.seed}-{self.report.steps}"
        place.mkdir(parents=True, exist_ok=True)
        (place / "reproduce.sh").write_bytes(os.fsencode(text))
        notes = [f"{s.note}" for s in states]
        (place / "report.txt").write_bytes(
            os.fsencode("\n".join([*found, "", "steps:", *notes]) + "\n")
        )
        how = f"{len(states)} steps" if shown else "not seen again in a replay; last steps kept"
        print(f"  {place}/reproduce.sh ({how})", flush=True)
        if self.options.shell:
            sys.stdout.buffer.write(os.fsencode(text))


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--wrapper", required=True, help="masquerading wrapper under test")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cc", default="gcc", help="gcc, clang, gcc-13, ... (default: gcc)")
    parser.add_argument("--jobs", "-j", type=int, default=1, help="walks at the same time")
    parser.add_argument("--env", action="append", default=[], help="NAME=VALUE for the wrapper")
    parser.add_argument("--pump", action="store_true", help="compile on a stock server, by pump")
    parser.add_argument("--distcc", action="store_true", help="the same by the name of distcc")
    parser.add_argument("--keep", help="directory for reproductions (default: a temporary one)")
    parser.add_argument("--max-reproductions", type=int, default=8)
    parser.add_argument("--min-hits", type=float, default=0, help="fail below this percentage")
    parser.add_argument("--stop-first", action="store_true", help="stop at the first difference")
    parser.add_argument("--shell", action="store_true", help="print the reproduction scripts")
    parser.add_argument("--verbose", "-v", action="store_true", help="print every step")
    options = parser.parse_args(argv)
    options.pump = options.pump or options.distcc
    if options.keep is None:
        options.keep = os.path.join(tempfile.gettempdir(), f"fuzz-compile-{os.getpid()}")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the walks; 0 without a difference, else 1."""
    options = arguments(argv)
    if not options.pump:
        return walk(options)
    with pump_server() as variables:
        options.env[:0] = [f"{name}={value}" for name, value in variables.items()]
        return walk(options)


def walk(options: argparse.Namespace) -> int:
    """Run the walks of one command line."""
    tools = toolchain(options.cc)
    share = -(-options.steps // options.jobs)
    begin = time.monotonic()
    runs = [Run(options, tools, options.seed * 1000 + index) for index in range(options.jobs)]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        reports = list(pool.map(lambda run: run.run(share), runs))
    seconds = time.monotonic() - begin
    steps = sum(report.steps for report in reports)
    hits = sum(report.hits for report in reports)
    failed = sum(report.failed_compiles for report in reports)
    undecided = [line for report in reports for line in report.undecided]
    kinds: dict[str, int] = {}
    for report in reports:
        for note, count in report.differences.items():
            kinds[note] = kinds.get(note, 0) + count
    share_of_hits = 100 * hits / steps if steps else 0.0
    print(
        f"{options.cc}, seed {options.seed}: {steps} steps in {seconds:.0f} s "
        f"({steps / seconds:.1f}/s), {hits} hits ({share_of_hits:.0f} %), "
        f"{failed} compiles failed as they should, {len(undecided)} undecided, "
        f"{sum(kinds.values())} differences"
    )
    for line in undecided:
        print(f"undecided (two plain compiles differ): {line}"[:300])
    for note, count in sorted(kinds.items(), key=lambda item: -item[1]):
        print(f"{count:6} times: {note}")
    if share_of_hits < options.min_hits:
        print(f"fewer hits than {options.min_hits} %: the run proves little")
    return 1 if kinds or share_of_hits < options.min_hits else 0


if __name__ == "__main__":
    sys.exit(main())
