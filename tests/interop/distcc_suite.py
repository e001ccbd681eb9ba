"""Runs distcc's own test suite with a client, our daemon and lsdistcc; prints one line a case.

    python -m tests.interop.distcc_suite --suite DIR [--distcc PATH] [--distccd PATH] [case...]

DIR holds `testdistcc.py` and `comfychair.py`, as the directory `test` of distcc's sources does. No
line of them is kept here; they are run where they are, and find the programs by PATH alone.

Every case runs plainly, with compressed bodies and in pump mode, each in a process of its own: one
that hangs costs its time limit, and what it leaves running is found and ended. It is found by a
variable in its environment, because daemons leave the session and the process group that they were
started in.

A case passes if it is OK. One that says that it cannot run here (NOTRUN) passes only if it says so
with the real daemon, too. The h_* programs of distcc's own build are those of
tests/interop/distcc_words.py here. The cases that are left out are listed with the reason, and a
name in the list that the suite does not know is an error.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.interop.distcc_words import PROGRAMS

ROOT = Path(__file__).resolve().parent.parent.parent
UNPRIVILEGED = 65534
CASE_SECONDS = 180
LEAVE_SECONDS = 5.0
"""For a daemon that was told to leave at the end of its case."""
MARK = "DISTCC_SUITE_MARK"
MODES = {"plain": (), "lzo": ("--lzo",), "pump": ("--pump",)}
NOT_OURS = {
    "Compile_c_Case": "asks for the files that the include server leaves for its client",
    "Getline_Case": "asks for a replacement of a function of the C library",
    "ScanArgs_Case": "its table is that of tests/test_commandline.py, but for -specs=FILE: sent by"
    " distcc, refused by a distccd that has no --sysroot, compiled here by us",
}
# distccd 3.4 does not know the option that the newest suite gives it.
WITHOUT_SYSROOT = """\
#!%s
import os, sys
words = sys.argv[1:]
if "--sysroot" in words:
    at = words.index("--sysroot")
    del words[at : at + 2]
os.execv(%r, ["distccd", *words])
"""
FROM_HERE = """\
#!%s
import sys
sys.path.insert(0, %r)
from %s import main
sys.exit(main(%s))
"""


class SuiteError(Exception):
    """The run cannot be made; the message is for the user."""


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What a case said: OK, NOTRUN, FAIL, TIMEOUT or LEFT (processes of it lived on)."""

    word: str
    more: str = ""
    output: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Bench:
    """Where cases run: a directory that an unprivileged user may write in, and the programs."""

    place: Path
    suite: Path
    programs: Path

    def environment(self, mark: str) -> dict[str, str]:
        return {
            "HOME": str(self.place),
            "TMPDIR": str(self.place),
            "PATH": f"{self.programs}:/usr/bin:/bin",
            MARK: mark,
        }

    def command(self, *words: str) -> list[str]:
        return _unprivileged(sys.executable, "-B", str(self.suite / "testdistcc.py"), *words)

    def check(self) -> None:
        """A program on PATH that cannot be run makes the shell take the next of its name, which
        would be the real one."""
        environment = self.environment("check")
        for name in ("distcc", "distccd"):
            said = [
                subprocess.run(
                    _unprivileged("/bin/sh", "-c", f"exec {program} --version"),
                    env=environment,
                    capture_output=True,
                    check=False,
                )
                for program in (name, self.programs / name)
            ]
            if said[1].returncode or said[0].stdout != said[1].stdout:
                text = said[1].stderr.decode(errors="replace")
                raise SuiteError(f"{self.programs / name} cannot be run: {text}")

    def names(self) -> list[str]:
        done = subprocess.run(
            # With that alone the suite would read its options for ever.
            self.command("-v", "--list"),
            cwd=self.place,
            env=self.environment("list"),
            capture_output=True,
            text=True,
            check=False,
            timeout=CASE_SECONDS,
        )
        names = done.stdout.split()
        if done.returncode or not names:
            message = f"the suite does not list its cases:\n{done.stdout}{done.stderr}"
            raise SuiteError(message)
        return names

    def run(self, name: str, mode: str) -> Verdict:
        mark = f"{MARK}-{os.getpid()}-{secrets.token_hex(8)}"
        rundir = Path(tempfile.mkdtemp(prefix="case-", dir=self.place))
        rundir.chmod(0o777)
        process = subprocess.Popen(
            self.command(*MODES[mode], name),
            cwd=rundir,
            env=self.environment(mark),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            output, _ = process.communicate(timeout=CASE_SECONDS)
        except subprocess.TimeoutExpired:
            _end_marked(mark, 0.0)
            process.kill()
            output, _ = process.communicate()
            return Verdict("TIMEOUT", f"after {CASE_SECONDS} s", output)
        finally:
            left = _end_marked(mark, LEAVE_SECONDS)
        found = re.search(rf"^{name}\s+(OK|FAIL|NOTRUN)(.*)$", output, re.MULTILINE)
        if found is None:
            return Verdict("FAIL", f"no verdict, status {process.returncode}", output)
        if left:
            return Verdict("LEFT", f"processes {', '.join(map(str, left))}", output)
        shutil.rmtree(rundir, ignore_errors=True)
        return Verdict(found.group(1), found.group(2).strip(" ,"), output)


def _end_marked(mark: str, patience: float) -> list[int]:
    """End the processes that have ``mark`` in their environment and still live after ``patience``
    seconds; returns them."""
    deadline = time.monotonic() + patience
    while (alive := _marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for number in alive:
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return alive


def _marked(mark: str) -> list[int]:
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            content = Path(f"/proc/{entry}/environ").read_bytes()
        except OSError:
            continue
        if wanted in content.split(b"\0"):
            found.append(int(entry))
    return found


def _unprivileged(*command: str) -> list[str]:
    """``command``, run by somebody else than root. The capability lets this user reach programs
    in root's own directories, where an environment's Python often is."""
    if os.getuid() != 0:
        return list(command)
    caps = "+dac_read_search"
    user = str(UNPRIVILEGED)
    return [
        *("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"),
        *(f"--inh-caps={caps}", f"--ambient-caps={caps}", *command),
    ]


def _script(path: Path, content: str) -> None:
    path.write_text(content)
    path.chmod(0o755)


def _from_here(path: Path, module: str, given: str = "") -> None:
    _script(path, FROM_HERE % (sys.executable, str(ROOT), module, given))


def _bench(place: Path, name: str, suite: Path, distcc: Path, distccd: Path | None) -> Bench:
    programs = place / name
    programs.mkdir()
    (programs / "distcc").symlink_to(distcc)
    for asked in PROGRAMS:
        _from_here(programs / asked, "tests.interop.distcc_words", repr(asked))
    if name != "reference":
        installed = distccd and distccd.with_name("lsdistcc")
        if installed and installed.exists():
            (programs / "lsdistcc").symlink_to(installed)
        else:
            _from_here(programs / "lsdistcc", "pycc.remote.lsdistcc")
    if distccd is None:
        _from_here(programs / "distccd", "pycc.remote.pyccd")
    elif name == "reference":
        _script(programs / "distccd", WITHOUT_SYSROOT % (sys.executable, str(distccd)))
    else:
        (programs / "distccd").symlink_to(distccd)
    return Bench(place, suite, programs)


def _cases(bench: Bench, wanted: list[str]) -> list[str]:
    names = bench.names()
    unknown = (NOT_OURS.keys() | set(wanted)) - set(names)
    if unknown:
        message = f"the suite has no {', '.join(sorted(unknown))}"
        raise SuiteError(message)
    return wanted or [name for name in names if name not in NOT_OURS]


def _main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--suite", required=True, type=Path, help="directory of testdistcc.py")
    parser.add_argument("--distcc", default="/usr/bin/distcc", type=Path, help="the client")
    parser.add_argument("--distccd", type=Path, help="the daemon (this checkout's pyccd)")
    parser.add_argument("--reference", default="/usr/bin/distccd", type=Path, help="real daemon")
    parser.add_argument("--mode", action="append", choices=list(MODES))
    parser.add_argument("case", nargs="*")
    arguments = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="distcc-suite-"))
    place.chmod(0o777)
    try:
        # The user that the cases run as may not be able to reach where the suite lies.
        suite = place / "suite"
        suite.mkdir()
        for name in ("testdistcc.py", "comfychair.py"):
            shutil.copyfile(arguments.suite / name, suite / name)
        distccd = arguments.distccd and arguments.distccd.resolve()
        ours = _bench(place, "ours", suite, arguments.distcc.resolve(), distccd)
        reference = _bench(place, "reference", suite, arguments.distcc, arguments.reference)
        ours.check()
        cases = _cases(ours, arguments.case)
        bad = 0
        for mode in arguments.mode or MODES:
            for case in cases:
                bad += not _passes(case, mode, ours, reference)
        print(f"{bad} failed of {len(cases)} cases in {len(arguments.mode or MODES)} modes")
        return 1 if bad else 0
    except (SuiteError, OSError) as problem:
        print(f"distcc_suite: {problem}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _passes(case: str, mode: str, ours: Bench, reference: Bench) -> bool:
    began = time.monotonic()
    verdict = ours.run(case, mode)
    passes = verdict.word == "OK"
    more = verdict.more
    if verdict.word == "NOTRUN":
        real = reference.run(case, mode)
        passes = real.word == "NOTRUN"
        more += "" if passes else f" (the real daemon: {real.word})"
    print(f"{mode:5} {case:40} {verdict.word:7} {time.monotonic() - began:5.1f} s  {more}")
    if not passes:
        print("    | " + "\n    | ".join(verdict.output.splitlines()[-60:]))
    sys.stdout.flush()
    return passes


if __name__ == "__main__":
    sys.exit(_main())
