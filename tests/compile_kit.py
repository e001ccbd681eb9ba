"""A launcher in this process: calls of compile.py with real compilers and a cache of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pycc import compile as compiling
from pycc.cache.digest import file_clock
from pycc.execute import Executor
from pycc.frame import (
    OWN_NAME,
    Exec,
    Exit,
    Link,
    Op,
    Out,
    Report,
    Request,
    Run,
    Unlink,
    Write,
    read_request,
)
from pycc.resident import Resident
from pycc.talk import HereTalk
from tests.test_frame import a_request

GCC = shutil.which("gcc", path="/usr/local/bin:/usr/bin:/bin") or ""
OLD = time.time() - 3600


def frame_of_call(
    argv: Sequence[bytes], environment: Mapping[bytes, bytes], cwd: bytes, flags: int = 0
) -> bytes:
    words = b"".join(word + b"\0" for word in argv)
    variables = b"".join(b"%s=%s\0" % item for item in environment.items())
    return a_request(words, variables, cwd, flags=flags)


def request_of(
    argv: Sequence[bytes], environment: Mapping[bytes, bytes], cwd: bytes, flags: int = 0
) -> Request:
    return read_request(frame_of_call(argv, environment, cwd, flags), os.getpid())


class Launcher(HereTalk):
    """A Talk that runs commands as a launcher would and keeps what it was told."""

    def __init__(self, environment: Mapping[bytes, bytes], cwd: bytes) -> None:
        self.environment = dict(environment)
        self.cwd = cwd
        self.commands: list[Run] = []
        self.said = b""

    def give(self, ops: Sequence[Op]) -> None:
        self.said += self.carry_out([*ops, Exit(0)])[1]

    def run(self, command: Run, meanwhile: Callable[[], None] | None = None) -> Report:
        if meanwhile is not None:
            meanwhile()
        self.commands.append(command)
        environment = dict(self.environment)
        for edit in command.environment:
            key, equals, value = edit.partition(b"=")
            if equals:
                environment[key] = value
            else:
                environment.pop(key, None)
        done = subprocess.run(
            list(command.argv), env=environment, cwd=self.cwd, capture_output=True, check=False
        )
        out = done.stdout
        if command.out_path:
            Path(os.fsdecode(command.out_path)).write_bytes(out)
            out = b""
        status = -done.returncode if done.returncode < 0 else done.returncode << 8
        return Report(status, 0, out, done.stderr, 1)

    def carry_out(self, ops: Sequence[Op]) -> tuple[int, bytes]:
        """(exit status, stderr) of the operations that end a call."""
        said = b""
        for op in ops:
            match op:
                case Exec(argv, edits):
                    report = self.run(Run(argv, 0, edits))
                    return report.status >> 8, said + report.err
                case Exit(status):
                    return status >> 8, said
                case Out(2, data):
                    said += data
                case Write(path, data, flags, mode):
                    full = os.path.join(self.cwd, path)
                    Executor().carry_out([Write(full, data, flags, mode)])
                case Unlink(path):
                    Path(os.fsdecode(os.path.join(self.cwd, path))).unlink(missing_ok=True)
                case Link(source, target, flags):
                    full = os.path.join(self.cwd, target)
                    Executor().carry_out([Link(source, full, flags)])
        raise AssertionError("operations that do not end")


@dataclass
class Bench:
    """A directory with sources, a cache, and one server's memory."""

    root: Path
    resident: Resident = field(default_factory=Resident)
    variables: dict[bytes, bytes] = field(default_factory=dict)
    status: int = 0
    stderr: bytes = b""
    commands: list[Run] = field(default_factory=list)

    @property
    def cwd(self) -> Path:
        return self.root / "work"

    def setup(self, **settings: str) -> Bench:
        """``settings`` are CCACHE_ variables."""
        self.cwd.mkdir(parents=True, exist_ok=True)
        self.variables = {
            b"PATH": b"/usr/local/bin:/usr/bin:/bin",
            b"HOME": os.fsencode(self.root / "home"),
            b"CCACHE_DIR": os.fsencode(self.root / "cache"),
            b"CCACHE_TEMPDIR": os.fsencode(self.root / "tmp"),
        }
        return self.configure(**settings)

    def configure(self, **settings: str) -> Bench:
        for name, value in settings.items():
            self.variables[f"CCACHE_{name}".encode()] = value.encode()
        return self

    def file(self, name: str, text: str, *, age: float = 3600) -> Path:
        """A source file that is old enough to be remembered."""
        path = self.cwd / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (time.time() - age, time.time() - age))
        made = path.stat().st_ctime_ns
        while file_clock() <= made:  # a compile in the same tick would not trust it
            time.sleep(0.001)
        return path

    def call(self, line: str | Sequence[bytes], *, name: bytes = b"gcc", flags: int = 0) -> int:
        words = line.encode().split() if isinstance(line, str) else list(line)
        launcher = Launcher(self.variables, os.fsencode(self.cwd))
        request = request_of([name, *words], self.variables, launcher.cwd, flags)
        ops = compiling.answer(request, launcher, self.resident)
        self.commands = list(launcher.commands)
        self.status, self.stderr = launcher.carry_out(ops)
        return self.status

    def command(self, line: str) -> str:
        """Standard output of a maintenance command."""
        launcher = Launcher(self.variables, os.fsencode(self.cwd))
        words = [b"pycc", *line.encode().split()]
        request = request_of(words, self.variables, launcher.cwd, OWN_NAME)
        ops = compiling.answer(request, launcher, self.resident)
        self.status, self.stderr = launcher.carry_out(ops)
        return b"".join(op.data for op in ops if isinstance(op, Out) and op.fd == 1).decode()

    def counters(self) -> dict[str, int]:
        """What was counted since the last time, without times and contents."""
        found: dict[str, int] = {}
        for cache in self.resident._caches.values():
            if not cache._root.startswith(str(self.root)):
                continue
            cache.drain()
            found |= cache.statistics.read()
            cache.statistics.zero()
        return {k: v for k, v in found.items() if v and not k.endswith("_timestamp")}

    def close(self) -> None:
        self.resident.close()
