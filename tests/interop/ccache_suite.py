"""Runs ccache's own integration suite against a launcher, one verdict per test case.

    python tests/interop/ccache_suite.py --git DIR --cc gcc --launcher PATH [suite...]

ccache's `test/run` stops a suite at its first failed expectation and cannot be told otherwise,
so nothing is learnt about the cases behind it.  The suite is GPL-3 and we are GPL-2-or-later, so
no line of it is kept here: it is taken out of a git directory or a work tree that the caller
names, and a few bash functions are *redefined* in that copy while it runs (`HOOKS`), which turns
a failed expectation into a record and lets the case go on.

Cases that we knowingly fail stand in `ccache-suite.md`, each with its reason.  A list of
exceptions rots in two ways, and both are errors: a case that is listed but passes, and a case
that is listed but does not exist.  A suite that skips itself tests nothing, therefore a skip is
an error too unless the real ccache (`--reference`) skips that suite in the same call; so is a
single case that the reference executes and we do not.

The second table of `ccache-suite.md` names the cases that count a preprocessed hit which our
default order of work trades away.  Suites with such cases run a second time with the classic
order.  The suite clears CCACHE_* before each case, so the setting is exported again from the
function that does the clearing; nothing in the program under test knows about the suite.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DEFAULT_SUITES = (
    *("base", "basedir", "cache_levels", "cleanup", "color_diagnostics", "config"),
    *("coverage_compilation_dir", "coverage_prefix_map", "debug_compilation_dir"),
    *("debug_prefix_map", "depend", "direct", "fileclone", "fmodule_file", "hardlink"),
    *("inode_cache", "input_charset", "ivfsoverlay", "masquerading", "modules", "namespace"),
    *("no_compression", "pch", "profiling"),
    *("profiling_clang", "profiling_gcc", "profiling_gcc_10+", "profiling_hip_clang", "readonly"),
    *("readonly_direct", "remote_file", "remote_http", "remote_only", "remote_redis"),
    *("remote_redis_unix", "remote_url", "sanitize_ignorelist", "serialize_diagnostics"),
    *("source_date_epoch", "split_dwarf", "stats_log", "trim_dir", "upgrade"),
)
# These probe whether a directory can be made unwritable, which for root it cannot.
UNPRIVILEGED_SUITES = frozenset({"readonly", "readonly_direct"})
UNPRIVILEGED_ID = 65534
# These start servers on ports of their own choice: no two of one suite at a time.
SERVING_SUITES = frozenset({"remote_http", "remote_redis"})

LIST_FILE = Path(__file__).with_name("ccache-suite.md")
WHOLE = "*"  # names all cases of a suite that skips itself with us
LISTED_MAX = 51  # the agreed number of names in the first table
ORDERS = {"default": "", "classic": "CCACHE_PREPROCESS_FIRST=1"}

# Sourced by the copy of `run` after its functions and before its main program.  A failed
# expectation is recorded and returns, so one case may record several; the first is what failed.
HOOKS = r"""
renamed() { eval "harness_$(declare -f "$1")"; }
renamed TEST
renamed reset_environment
renamed run_suite

harness_record() { (IFS=$'\t'; printf '%s\n' "$*") >>"$HARNESS_RESULTS"; }

TEST() {
    harness_record TEST "$CURRENT_SUITE" "$1" "$EPOCHREALTIME"
    harness_TEST "$@"
}

reset_environment() {
    harness_reset_environment
    export PYCC_NOSPLIT_COMMANDS=1  # ccache's counters are those of whole commands
    if [ -n "$HARNESS_ORDER" ]; then export "$HARNESS_ORDER"; fi
}

run_suite() {
    harness_run_suite "$@"
    local status=$?
    harness_record END "$1" "$status" "$EPOCHREALTIME"
    return $status
}

test_failed_internal() {
    local line reason log
    line="$(caller 1)"
    reason="${1//[$'\n\t']/ }"
    harness_record FAIL "$CURRENT_SUITE" "$CURRENT_TEST" "${line%% *}" "${reason:0:300}"
    if [ -n "$HARNESS_LOGS" ]; then
        log="$HARNESS_LOGS/$CURRENT_SUITE-${line%% *}.log"
        {
            printf '%s\nline %s: %s\n\n' "$CURRENT_TEST" "${line%% *}" "$1"
            "$CCACHE" --print-stats 2>&1 | awk '$2 != 0'
            tail -n 400 "${CCACHE_LOGFILE:-/dev/null}"
        } >>"$log" 2>&1
    fi
}
"""
HOOKS_ANCHOR = "# main program\n"
NEEDED_FUNCTIONS = ("TEST()", "reset_environment()", "run_suite()", "test_failed_internal()")


class SuiteError(Exception):
    """The run cannot be made or its list cannot be read; the message is for the user."""


@dataclasses.dataclass(frozen=True, slots=True)
class Listed:
    """One row of `ccache-suite.md`; `compilers` is empty when the row holds for every compiler."""

    suite: str
    test: str
    kind: str  # "a", "b" or "classic"
    compilers: frozenset[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """One suite run once by one program; `subject` is "launcher" or "reference"."""

    subject: str
    suite: str
    order: str


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """What one test case did: `failure` is None or "line N: reason"."""

    suite: str
    test: str
    failure: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What one job did: `skip` is why the suite skipped itself, `broken` why it did not finish."""

    job: Job
    cases: tuple[Case, ...]
    seconds: float
    skip: str | None = None
    broken: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one case or suite; `good` verdicts do not fail the run."""

    suite: str
    test: str
    order: str
    verdict: str
    good: bool
    detail: str


def parse_list(text: str) -> list[Listed]:
    """Read the two tables of `ccache-suite.md`.

    A row is `| suite | test | class | reason |` with class a or b, or `| suite | test | reason |`
    in the table of the classic order.  A suite may be followed by the compilers that the row is
    about: `direct (gcc)`.  Raises SuiteError for a row without a reason or with another class.
    """
    rows: list[Listed] = []
    for line in text.splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|") or cells[0] == "suite" or set(cells[0]) <= set("-: "):
            continue
        suite, _, qualifier = cells[0].partition(" ")
        compilers = frozenset(qualifier.strip("()").replace(",", " ").split())
        kind = cells[2] if len(cells) == 4 else "classic"
        if len(cells) not in (3, 4) or kind not in ("a", "b", "classic") or not cells[-1]:
            msg = f"{LIST_FILE.name}: bad row: {line}"
            raise SuiteError(msg)
        rows.append(Listed(suite, cells[1], kind, compilers))
    count = len({(row.suite, row.test) for row in rows if row.kind != "classic"})
    if count > LISTED_MAX:
        msg = f"{LIST_FILE.name}: {count} cases, at most {LISTED_MAX} are agreed"
        raise SuiteError(msg)
    return rows


def parse_records(job: Job, records: str, stdout: str, seconds: float) -> Outcome:
    """Turn the records written by HOOKS, and what the suite printed, into an Outcome."""
    skip = re.search(r"^Skipped test suite \S+ \[(.*)\]$", stdout, re.MULTILINE)
    if skip:
        return Outcome(job, (), seconds, skip=skip[1])
    failures: dict[str, str | None] = {}
    ended = False
    for line in records.splitlines():
        fields = line.split("\t")
        if fields[0] == "TEST":
            # A loop may run one name several times; it fails if any of them fails.
            failures.setdefault(neutral(fields[2]), None)
        elif fields[0] == "FAIL":
            name = neutral(fields[2])
            if failures.get(name) is None:
                failures[name] = f"line {fields[3]}: {' '.join(fields[4:])}"
        elif fields[0] == "END":
            ended = fields[2] == "0"
    cases = tuple(Case(job.suite, name, why) for name, why in failures.items())
    if ended and not cases:
        return Outcome(job, (), seconds, skip="no case is for this compiler")
    return Outcome(job, cases, seconds, broken=None if ended else "the suite did not finish")


def neutral(name: str) -> str:
    """A test name without this run's directory, so that it can be listed."""
    return re.sub(r"/\S*/testdir/\d+", "TESTDIR", name)


def judge(
    cc: str,
    suites: Sequence[str],
    listed: Iterable[Listed],
    outcomes: Mapping[Job, Outcome],
    order: str = "default",
) -> list[Verdict]:
    """Compare what was run with what is listed and with the reference; every case is judged once.

    `order` is the order of the first run; with "classic" the whole suite was run in it, and the
    classic table is then not consulted.
    """
    rows = {
        (row.suite, row.test): row.kind
        for row in listed
        if row.suite in suites and (not row.compilers or cc in row.compilers)
    }
    verdicts: list[Verdict] = []
    for suite in suites:
        ours = outcomes[Job("launcher", suite, order)]
        reference = outcomes.get(Job("reference", suite, "default"))
        second = outcomes.get(Job("launcher", suite, "classic"))
        classic = {case.test: case for case in second.cases} if second else {}
        whole = rows.pop((suite, WHOLE), None)
        if ours.skip is not None:
            good = reference is not None and reference.skip is not None
            word = "SKIP" if whole is None else f"LISTED-{whole}"
            why = ours.skip + ("" if reference else " (no reference to compare with)")
            verdicts.append(Verdict(suite, "", order, word, good or whole is not None, why))
            continue
        if whole is not None:
            verdicts.append(Verdict(suite, WHOLE, order, "STALE", False, "listed, but not skipped"))
        verdicts.extend(
            Verdict(suite, "", outcome.job.order, "BROKEN", False, outcome.broken)
            for outcome in (ours, second)
            if outcome and outcome.broken
        )
        for case in ours.cases:
            kind = rows.get((suite, case.test))
            verdicts.append(judge_case(case, kind, classic.get(case.test), order))
        names = {case.test for case in ours.cases}
        for row_suite, name in rows:
            if row_suite == suite and name not in names:
                detail = f"listed, but {cc} runs no such case"
                verdicts.append(Verdict(suite, name, order, "STALE", False, detail))
        for case in reference.cases if reference else ():
            if case.test not in names:
                detail = "the reference executes this case"
                verdicts.append(Verdict(suite, case.test, order, "MISSING", False, detail))
    return verdicts


def judge_case(case: Case, kind: str | None, classic: Case | None, order: str) -> Verdict:
    """Judge a case of the first run; `kind` is its class, `classic` is its second run."""

    def verdict(word: str, good: bool, detail: str = "") -> Verdict:
        return Verdict(case.suite, case.test, order, word, good, detail)

    if case.failure is None:
        if kind is None or (kind == "classic" and order == "classic"):
            return verdict("PASS", True)
        return verdict("STALE", False, f"listed ({kind}), but passes")
    if kind in ("a", "b"):
        return verdict(f"LISTED-{kind}", True, case.failure)
    if kind == "classic" and classic is not None and classic.failure is None:
        return verdict("CLASSIC", True, case.failure)
    detail = case.failure if classic is None else f"{case.failure}; classic: {classic.failure}"
    return verdict("FAIL", False, detail if kind == "classic" else case.failure)


def export_suite(source: Path, target: Path) -> None:
    """Put ccache's `test` directory into `target`, from a work tree or from a git directory's HEAD.

    Raises SuiteError when there is none, or when its `run` no longer has what HOOKS redefine.
    """
    if (source / "test" / "run").is_file():
        shutil.copytree(source / "test", target / "test", symlinks=True)
    else:
        command = ["git", "--git-dir", os.fspath(source), "archive", "HEAD", "test"]
        archive = subprocess.run(command, capture_output=True, check=False)
        if archive.returncode:
            message = archive.stderr.decode(errors="replace").strip()
            msg = f"{source} is no ccache work tree or git directory: {message}"
            raise SuiteError(msg)
        subprocess.run(["tar", "-x", "-C", os.fspath(target)], input=archive.stdout, check=True)
    run = target / "test" / "run"
    text = run.read_text()
    missing = [name for name in NEEDED_FUNCTIONS if f"\n{name} {{" not in text]
    if text.count(HOOKS_ANCHOR) != 1 or missing:
        msg = f"{run} has changed: cannot hook {missing or HOOKS_ANCHOR!r}"
        raise SuiteError(msg)
    (target / "hooks.bash").write_text(HOOKS)
    run.write_text(text.replace(HOOKS_ANCHOR, HOOKS_ANCHOR + '. "$HARNESS_HOOKS"\n'))


class Runner:
    """Runs jobs below one temporary directory, in a clean environment of their own."""

    def __init__(self, root: Path, cc: str, programs: Mapping[str, Path], logs: Path | None):
        self.root = root
        self.cc = cc
        self.logs = logs
        self.serving = {suite: threading.Lock() for suite in SERVING_SUITES}
        for subject, program in programs.items():
            links = root / "bin" / subject
            links.mkdir(parents=True)
            # ccache answers options only when it is called by a name that starts with its own.
            (links / "ccache").symlink_to(program)
            # A copied launcher has no server beside it and looks for one on PATH, as it would
            # where pycc is installed.
            path = root / "path" / subject
            path.mkdir(parents=True)
            server = program.with_name("pycc-server")
            if server.exists():
                (path / server.name).symlink_to(server)

    def run(self, job: Job, timeout: float) -> Outcome:
        """Run one suite; one that takes over `timeout` seconds is killed and counts as broken."""
        with self.serving.get(job.suite, contextlib.nullcontext()):
            return self._run(job, timeout)

    def _run(self, job: Job, timeout: float) -> Outcome:
        place = self.root / "jobs" / f"{job.subject}-{job.order}-{job.suite}"
        build, home = place / "build", place / "home"
        # Short, because a socket's whole name has 107 bytes at most.
        runtime = self.root / "r" / f"{len(job.suite)}{job.subject[0]}{job.order[0]}{job.suite[:9]}"
        records = place / "records"
        logs = self.logs if job.subject == "launcher" else None
        for directory in (place, build, home, runtime):
            directory.mkdir(parents=True)
        # Made beforehand, or a launcher might meet the user's server in /tmp, or he ours.
        (runtime / "pycc").mkdir(mode=0o700)
        runtime.chmod(0o700)
        records.touch()
        drop = os.geteuid() == 0 and job.suite in UNPRIVILEGED_SUITES
        if drop:
            for owned in (build, home, runtime, runtime / "pycc", records):
                os.chown(owned, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
        launcher = self.root / "bin" / job.subject / "ccache"
        environment = {
            "PATH": f"{os.environ['PATH']}:{self.root / 'path' / job.subject}",
            "HOME": os.fspath(home),
            "XDG_RUNTIME_DIR": os.fspath(runtime),
            "CC": self.cc,
            "CCACHE": os.fspath(launcher),
            "HARNESS_HOOKS": os.fspath(self.root / "hooks.bash"),
            "HARNESS_RESULTS": os.fspath(records),
            "HARNESS_LOGS": os.fspath(logs) if logs else "",
            "HARNESS_ORDER": ORDERS[job.order] if job.subject == "launcher" else "",
        }
        begin = time.monotonic()
        stdout = self._bash(job.suite, build, environment, timeout, drop)
        seconds = time.monotonic() - begin
        if job.subject == "launcher" and (self.root / "path" / "launcher" / "pycc-server").exists():
            self._start([os.fspath(launcher), "--stop-server"], build, environment, drop).wait(30)
        outcome = parse_records(job, records.read_text(errors="replace"), stdout, seconds)
        if outcome.broken and seconds >= timeout:
            outcome = dataclasses.replace(outcome, broken=f"killed after {timeout:.0f} s")
        elif outcome.broken:
            tail = " / ".join(stdout.strip().splitlines()[-3:])
            outcome = dataclasses.replace(outcome, broken=f"{outcome.broken}: {tail}")
        return outcome

    def _start(
        self, command: list[str], cwd: Path, environment: dict[str, str], drop: bool
    ) -> subprocess.Popen[bytes]:
        identity = UNPRIVILEGED_ID if drop else None
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            user=identity,
            group=identity,
            extra_groups=[] if drop else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _bash(
        self, suite: str, cwd: Path, environment: dict[str, str], timeout: float, drop: bool
    ) -> str:
        process = self._start(
            ["bash", os.fspath(self.root / "test" / "run"), suite], cwd, environment, drop
        )
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
        return output.decode(errors="replace")


def table(verdicts: Sequence[Verdict], outcomes: Mapping[Job, Outcome], order: str) -> str:
    """A line per suite: verdicts counted, seconds of the first run."""
    words = [
        "PASS",
        "LISTED-a",
        "LISTED-b",
        "CLASSIC",
        "FAIL",
        "STALE",
        "MISSING",
        "BROKEN",
        "SKIP",
    ]
    present = [word for word in words if any(v.verdict == word for v in verdicts)]
    lines = [f"{'suite':26}" + "".join(f"{word:>9}" for word in present) + f"{'s':>8}"]
    suites = list(dict.fromkeys(v.suite for v in verdicts))
    for suite in [*suites, "total"]:
        chosen = [v for v in verdicts if suite in (v.suite, "total")]
        counts = [sum(v.verdict == word for v in chosen) for word in present]
        outcome = outcomes.get(Job("launcher", suite, order))
        seconds = f"{outcome.seconds:8.1f}" if outcome else ""
        lines.append(f"{suite:26}" + "".join(f"{n or '':>9}" for n in counts) + seconds)
    return "\n".join(lines)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--git", required=True, type=Path, help="ccache git directory or work tree")
    parser.add_argument("--cc", default="gcc", help="compiler, found on PATH (default: gcc)")
    parser.add_argument("--launcher", required=True, type=Path, help="program under test")
    parser.add_argument("--reference", type=Path, help="real ccache, run in the same call")
    parser.add_argument("--list", type=Path, default=LIST_FILE, help="listed cases")
    parser.add_argument("--classic", action="store_true", help="run all suites in classic order")
    parser.add_argument("--jobs", "-j", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=600, help="seconds a suite may take")
    parser.add_argument("--json", type=Path, help="write every verdict to this file")
    parser.add_argument("--logs", type=Path, help="keep log and counters of failed cases here")
    parser.add_argument("suites", nargs="*", help="default: the agreed ones")
    return parser.parse_args(argv)


def missing_tools(cc: str) -> list[str]:
    """Programs without which cases fail or suites skip for the wrong reason."""
    tools = ["bash", "perl", "python3", "objdump", "script", "git", cc.split()[0]]
    if "clang" in cc:
        tools.append("eu-elfcmp")
    return [tool for tool in tools if shutil.which(tool) is None]


def run_suites(options: argparse.Namespace) -> tuple[list[Verdict], dict[Job, Outcome]]:
    """Run all jobs of one call; raises SuiteError when they cannot be run."""
    suites = list(dict.fromkeys(options.suites or DEFAULT_SUITES))
    listed = parse_list(options.list.read_text())
    programs = {"launcher": options.launcher, "reference": options.reference}
    programs = {subject: path.absolute() for subject, path in programs.items() if path}
    for path in programs.values():
        if not os.access(path, os.X_OK):
            msg = f"{path} cannot be executed"
            raise SuiteError(msg)
    if lacking := missing_tools(options.cc):
        msg = f"needed and not found: {' '.join(lacking)}"
        raise SuiteError(msg)
    if options.logs:
        options.logs.mkdir(parents=True, exist_ok=True)
        options.logs.chmod(0o777)
    order = "classic" if options.classic else "default"
    jobs = [Job("launcher", suite, order) for suite in suites]
    if order == "default":
        again = {row.suite for row in listed if row.kind == "classic"}
        jobs += [Job("launcher", suite, "classic") for suite in suites if suite in again]
    if options.reference:
        jobs += [Job("reference", suite, "default") for suite in suites]
    with tempfile.TemporaryDirectory(prefix="suite-", ignore_cleanup_errors=True) as name:
        root = Path(name).resolve()
        root.chmod(0o755)
        export_suite(options.git, root)
        unknown = [s for s in suites if not (root / "test" / "suites" / f"{s}.bash").is_file()]
        if unknown:
            msg = f"ccache has no suite named {' '.join(unknown)}"
            raise SuiteError(msg)
        logs = options.logs.absolute() if options.logs else None
        runner = Runner(root, options.cc, programs, logs)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            done = pool.map(lambda job: runner.run(job, options.timeout), jobs)
            outcomes = {outcome.job: outcome for outcome in done}
    return judge(options.cc, suites, listed, outcomes, order), outcomes


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and return the exit status: 0 when every verdict is good, 2 when not runnable."""
    options = arguments(argv)
    try:
        verdicts, outcomes = run_suites(options)
    except SuiteError as error:
        print(f"ccache_suite: {error}", file=sys.stderr)
        return 2
    print(table(verdicts, outcomes, "classic" if options.classic else "default"))
    for verdict in verdicts:
        if not verdict.good:
            print(f"{verdict.verdict}: {verdict.suite}: {verdict.test}: {verdict.detail}")
    if options.json:
        rows = [dataclasses.asdict(verdict) for verdict in verdicts]
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    bad = sum(not verdict.good for verdict in verdicts)
    print(f"{options.cc}: {len(verdicts)} verdicts, {bad} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
