"""Runs the launcher, built with the address and undefined-behaviour sanitizers, through its ways.

The launcher under test makes its calls through libc, as on machines for which it has no system
calls of its own; everything else is the code that users run. A report of a sanitizer and any
difference from the plain compiler (status, output, object) is a failure. Wants to be run by the
Python of an environment in which pycc is installed: its server answers.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pycc._build import BUILD_ID

ROOT = Path(__file__).resolve().parent.parent
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
SERVER_DIRECTORY = Path(sys.executable).parent
REAL_COMPILER = shutil.which("gcc", path="/usr/local/bin:/usr/bin:/bin") or "gcc"
TIME_LIMIT = 60


@dataclass(frozen=True, slots=True)
class Case:
    """One way through the launcher: ``gcc`` with these words must do what the compiler does."""

    name: str
    words: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    text: bytes = b""
    times: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command left behind."""

    status: int
    stdout: bytes
    stderr: bytes
    output: str
    """A digest of out.o, or nothing."""


CASES = [
    Case("a compile, a hit and another hit", ["-c", "good.c", "-o", "out.o"], times=3),
    Case("a large object", ["-c", "large.c", "-o", "out.o"], times=3),
    Case("warnings", ["-Wall", "-c", "warned.c", "-o", "out.o"], times=2),
    Case("a source that does not compile", ["-c", "bad.c", "-o", "out.o"], times=2),
    Case("a source that is not there", ["-c", "absent.c", "-o", "out.o"]),
    Case("no words at all", []),
    Case("a link", ["good.c", "-shared", "-fPIC", "-Wl,--build-id=none", "-o", "out.o"]),
    Case("a dependency file", ["-MD", "-MF", "out.d", "-c", "good.c", "-o", "out.o"], times=2),
    Case("preprocessing to stdout", ["-E", "good.c"]),
    Case("a source from stdin", ["-x", "c", "-", "-c", "-o", "out.o"], text=b"int x;\n"),
    Case("an empty word", ["-c", "good.c", "", "-o", "out.o"]),
    Case("20,000 words", [f"-DN{n}" for n in range(20000)] + ["-c", "good.c", "-o", "out.o"]),
    Case("a word of 100 kB", ["-DX=" + "x" * 100_000, "-c", "good.c", "-o", "out.o"]),
    Case("an environment of 1 MB", ["-c", "good.c", "-o", "out.o"],
         {f"BIG{n}": "x" * 100_000 for n in range(10)}),
    Case("a place that cannot be written", ["-c", "good.c", "-o", "absent/out.o"]),
    Case("no server", ["-c", "good.c", "-o", "out.o"], {"XDG_RUNTIME_DIR": "/dev/null"}),
    Case("in process", ["-c", "good.c", "-o", "out.o"], {"PYCC_RESIDENT": "0"}),
    Case("a runtime directory of a long name", ["-c", "good.c", "-o", "out.o"],
         {"XDG_RUNTIME_DIR": "/tmp/" + "x" * 200}),
]  # fmt: skip


def main() -> int:
    """Run all cases; return the exit status."""
    # A short name: the path of a Unix socket must fit into 107 bytes.
    with tempfile.TemporaryDirectory(prefix="pycc-", dir="/tmp") as name:
        room = Path(name)
        launcher = build(room)
        environment = {
            "PATH": f"{room / 'links'}:{SERVER_DIRECTORY}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(room),
            "CCACHE_DIR": str(room / "cache"),
            "XDG_RUNTIME_DIR": str(room / "run"),
            "ASAN_OPTIONS": f"detect_leaks=0:log_path={room / 'report'}",
            "UBSAN_OPTIONS": f"print_stacktrace=1:log_path={room / 'report'}",
        }
        try:
            failures = list(run_all(room, launcher, environment))
        finally:
            stop_server(room, launcher, environment)
        failures += [path.read_text(errors="replace") for path in sorted(room.glob("report*"))]
        for failure in failures:
            print(failure, file=sys.stderr)
        print(f"{len(CASES) + len(SIGNALS) + 3} cases, {len(failures)} failures")
        return 1 if failures else 0


def build(room: Path) -> Path:
    """Compile the launcher with sanitizers, and lay out what the cases need."""
    launcher = room / "pycc"
    command = ["gcc", "-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", *SANITIZE]
    command += ["-DPYCC_USE_LIBC", f'-DPYCC_BUILD_ID="{BUILD_ID}"', "-o", str(launcher)]
    subprocess.run([*command, str(ROOT / "pycc/launcher/launcher.c")], check=True)
    with launcher.open("r+b") as file:
        file.seek(9)
        file.write(b"pycc\0\1\0")
    for directory in ("links", "run", "run/pycc", "work"):
        (room / directory).mkdir(mode=0o700)
    (room / "links/gcc").symlink_to(launcher)
    work = room / "work"
    (work / "good.c").write_text('#include <stdio.h>\nint main(void) { return puts("x"); }\n')
    (work / "large.c").write_text(f'char text[] = "{"0123456789" * 30_000}";\n')
    (work / "warned.c").write_text("int main(void) { int unused; return 0; }\n")
    (work / "bad.c").write_text("int main(void) { return\n")
    (work / "slow.c").write_text("int x;\n")
    return launcher


def stop_server(room: Path, launcher: Path, environment: dict[str, str]) -> None:
    """Stop the server, and wait until it has written its last result."""
    run([str(launcher), "--stop-server"], room / "work", environment)
    deadline = time.monotonic() + 10
    while list(room.glob("run/pycc/*.tmp")) and time.monotonic() < deadline:
        time.sleep(0.05)


def run_all(room: Path, launcher: Path, environment: dict[str, str]) -> Iterator[str]:
    """Run every case; yield what went wrong."""
    work = room / "work"
    for case in CASES:
        env = environment | case.environment
        expected = run([REAL_COMPILER, *case.words], work, env, case.text)
        for _ in range(case.times):
            found = run(["gcc", *case.words], work, env, case.text)
            if found != expected:
                yield f"{case.name}:\n  expected {expected}\n  found    {found}"
    yield from explicit(work, launcher, environment)
    yield from directory_deleted(room, environment)
    for number in SIGNALS:
        yield from killed_by(number, room, environment)


def explicit(work: Path, launcher: Path, environment: dict[str, str]) -> Iterator[str]:
    """The compiler named as an argument, and a command that only the server can carry out."""
    words = ["-c", "good.c", "-o", "out.o"]
    expected = run([REAL_COMPILER, *words], work, environment)
    if run([str(launcher), "gcc", *words], work, environment) != expected:
        yield "pycc gcc: not what gcc does"
    if run([str(launcher), "--version"], work, environment).status != 0:
        yield "pycc --version: failed"


def directory_deleted(room: Path, environment: dict[str, str]) -> Iterator[str]:
    """A working directory that is gone: the compiler's own message, and no crash."""
    for command in (REAL_COMPILER, "gcc"):
        gone = room / "gone"
        gone.mkdir()
        script = 'rmdir "$1" && shift && exec "$@"'
        words = ["sh", "-c", script, "sh", str(gone), command, "-c", "good.c", "-o", "out.o"]
        outcome = run(words, gone, environment)
        if outcome.status != 1:
            yield f"deleted directory, {command}: {outcome}"


SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]


def killed_by(number: signal.Signals, room: Path, environment: dict[str, str]) -> Iterator[str]:
    """A signal that ends the compile ends the launcher in the same way."""
    fifo = room / "work" / "fifo.h"
    fifo.unlink(missing_ok=True)
    os.mkfifo(fifo)
    process = subprocess.Popen(
        ["gcc", "-include", "fifo.h", "-c", "slow.c", "-o", "out.o"],
        executable=room / "links/gcc",
        cwd=room / "work",
        env=environment | {"CCACHE_DISABLE": "1"},
        stderr=subprocess.DEVNULL,
    )
    # Opening the other end waits until the compiler proper has opened its own.
    with fifo.open("wb"):
        process.send_signal(number)
        status = process.wait(timeout=TIME_LIMIT)
    fifo.unlink()
    if status != -number:
        yield f"{number.name}: status {status}"


def run(command: list[str], work: Path, environment: dict[str, str], text: bytes = b"") -> Outcome:
    """Run a command in ``work`` and return everything that it left."""
    output = work / "out.o"
    output.unlink(missing_ok=True)
    program = shutil.which(command[0], path=environment["PATH"])
    done = subprocess.run(
        command,
        executable=program, cwd=work, env=environment, input=text, check=False,
        capture_output=True, timeout=TIME_LIMIT,
    )  # fmt: skip
    content = hashlib.blake2b(output.read_bytes()).hexdigest()[:16] if output.exists() else ""
    # gcc says its own name in its messages, which is an absolute path behind the launcher.
    stderr = done.stderr.replace(REAL_COMPILER.encode() + b":", b"gcc:")
    return Outcome(done.returncode, done.stdout, stderr, content)


if __name__ == "__main__":
    sys.exit(main())
