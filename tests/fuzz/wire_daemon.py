"""A daemon under attack: how cases are sent to it, and what must hold when none is on its way."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from pycc.errors import PyccError
from pycc.remote.exact_wire import AGAIN, unpack_result
from pycc.remote.protocol import (
    NOT_KEPT,
    OURS_PLAIN,
    Reply,
    Request,
    reply_reader,
    request_reader,
)
from tests.fuzz import wire_exact
from tests.fuzz.wire_cases import REAL_TEXTS, Case, Ending, encoded
from tests.fuzz.wire_ground import Ground, quick_object

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PROGRAM = 'import sys; sys.argv[0] = "pyccd"; from pycc.remote.pyccd import main; main()'
JOBS = 4
ANSWER_SECONDS = 60.0
"""For an answer on a machine that is busy with the attack itself; the daemon's own limit is 300."""
SETTLE_SECONDS = 20.0
MORE_DESCRIPTORS, MORE_THREADS = 40, 3
"""SQLite keeps as many descriptors of its file as have been open at once, for the next ones."""
RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def gcc_objects() -> dict[bytes, bytes]:
    """What the plain compiler makes of the texts for it."""
    made: dict[bytes, bytes] = {}
    with tempfile.TemporaryDirectory() as place:
        for text in REAL_TEXTS:
            Path(place, "a.i").write_bytes(text)
            subprocess.run(["gcc", "-c", "a.i", "-o", "out.o"], cwd=place, check=True)
            made[text] = Path(place, "out.o").read_bytes()
    return made


@dataclasses.dataclass(frozen=True, slots=True)
class Meaning:
    """What bytes are to a daemon. ``settled``: it can know that there is something to answer, or to
    refuse; ``request``: the whole request that they begin with."""

    settled: bool
    request: Request | None


def meaning_of(data: bytes) -> Meaning:
    """By the daemon's own reader: it only decides how long to wait, and what is due."""
    try:
        request = request_reader().feed(data)
    except PyccError:
        return Meaning(settled=True, request=None)
    return Meaning(request is not None, request)


def parse_answer(data: bytes) -> Reply | None:
    """The reply, if the bytes are one and nothing else; whatever its version."""
    try:
        version = int(data[4:12], 16)
        reader = reply_reader(version)
        reader.feed(data)
        reply = reader.end()
    except (PyccError, ValueError):
        return None
    # On failure an empty body follows that the reader leaves alone.
    return reply if reader.rest in (b"", b"DOTO00000000") else None


def _only_output(value: bytes) -> bytes:
    """The output in the result of an exact job; nothing if it is none."""
    try:
        return b"".join(made.content for made in unpack_result(value).outputs)
    except PyccError:
        return b""


class Daemon:
    """A running pyccd (or what ``program`` is) in a place full of traps."""

    def __init__(self, place: Path, program: str = PROGRAM, python: str = sys.executable) -> None:
        self.ground = Ground(place)
        self.place = place
        self.port, self._stats_port = free_port(), free_port()
        self.objects = gcc_objects()
        self.exact_objects = wire_exact.objects()
        words = ["--daemon", "--no-detach", "--listen", "127.0.0.1", "--port", str(self.port)]
        words += ["--allow", "127.0.0.1", "--jobs", str(JOBS), "--log-level", "warning"]
        words += ["--stats", "--stats-port", str(self._stats_port), "--nice", "0"]
        words += ["--log-file", str(place / "log"), "--cache-dir", str(place / "cache")]
        words += ["--user", "nobody"] if os.getuid() == 0 else []
        environment = {
            "PATH": f"{place}/bin:/usr/bin:/bin",
            "PYTHONPATH": str(REPOSITORY),
            "TMPDIR": str(place / "tmp"),
            "LC_ALL": "C.UTF-8",
        }
        with open(place / "stderr", "wb") as output:
            self.process = subprocess.Popen(
                [python, "-c", program, *words], env=environment, stdout=output, stderr=output
            )
        self._log_at = 0
        if not self._wait(self._answers):
            said = (place / "stderr").read_text(errors="replace") + self._log()
            self.close()
            raise RuntimeError(f"the daemon does not serve: {said[-2000:]}")
        for _ in range(3):  # all that is loaded, opened and asked once
            self._good_jobs()
        self._wait(lambda: not self._children() and not os.listdir(place / "tmp"))
        self.descriptors, self.threads = self._descriptors(), self._threads()
        self.resident = self.memory("VmRSS")
        self.ground.findings()

    def close(self) -> list[str]:
        """End it; what was wrong with that."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        for number in self._children():  # they are to be found, not to stay
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        return [] if status == 0 else [f"the daemon ended with {status}"]

    def _answers(self) -> bool:
        try:
            return self._good_jobs() == []
        except OSError:
            return False

    def _wait(self, true: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + SETTLE_SECONDS
        while not true():
            if time.monotonic() > deadline or self.process.poll() is not None:
                return False
            time.sleep(0.02)
        return True

    # One case.

    def run(self, case: Case) -> list[str]:
        """Send it; what was wrong with the answer."""
        connections: list[socket.socket] = []
        meaning = meaning_of(b"".join(case.pieces))
        try:
            for _ in range(case.connections):
                connection = socket.create_connection(("127.0.0.1", self.port), ANSWER_SECONDS)
                connection.settimeout(ANSWER_SECONDS)
                connections.append(connection)
            answers = [self._converse(connection, case, meaning) for connection in connections]
        except OSError as problem:
            return [f"{case.kind}: {type(problem).__name__}: {problem}"]
        finally:
            for connection in connections:
                connection.close()
        return [said for answer in answers for said in self._judge(case, meaning, answer)]

    def _converse(self, connection: socket.socket, case: Case, meaning: Meaning) -> bytes | None:
        """What came; None where nobody waited for it. Raises TimeoutError."""
        ending = case.ending
        if ending is Ending.ANSWER and not meaning.settled:
            ending = Ending.HALF
        try:
            for number, piece in enumerate(case.pieces):
                if number and case.pause:
                    time.sleep(case.pause)
                connection.sendall(piece)
            if ending is Ending.HALF:
                connection.shutdown(socket.SHUT_WR)
        except TimeoutError:
            raise
        except OSError:
            pass  # it has said no already; what it said may still be read
        if ending in (Ending.CLOSE, Ending.RESET):
            if ending is Ending.RESET:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            return None
        parts: list[bytes] = []
        try:
            while data := connection.recv(1 << 16):
                parts.append(data)
        except TimeoutError:
            raise
        except OSError:
            # A close with bytes unread is a reset, which may overtake what was said.
            return None
        return b"".join(parts)

    def _judge(self, case: Case, meaning: Meaning, answer: bytes | None) -> list[str]:
        due = meaning.request if case.ending is Ending.ANSWER else None
        if answer is None:
            if case.text is not None:
                return [f"{case.kind}: reset instead of an answer"]
            return []
        reply = parse_answer(answer)
        # Of a text's job it is known that gcc quotes lines of the files that line markers name.
        shown = answer + (_only_output(reply.object) if reply is not None else b"")
        if case.kind.startswith("exact") and wire_exact.SECRET in shown:
            return [f"{case.kind}: it shows what lies outside: {answer[:200]!r}"]
        if reply is None and answer:
            return [f"{case.kind}: no reply: {answer[:200]!r}"]
        if reply is None:
            return [f"{case.kind}: a whole request without an answer"] if due is not None else []
        if case.text is not None:
            return self._judge_object(case, case.text, reply)
        if due is not None and due.text and reply.object.startswith(b"OBJ "):
            return self._judge_object(case, due.text, reply)
        return []

    def _judge_object(self, case: Case, text: bytes, reply: Reply) -> list[str]:
        if case.known and reply.status == NOT_KEPT << 8:
            return []
        made, expected = reply.object, quick_object(text)
        if case.real:
            expected = self.objects[text]
        elif case.exact:
            if reply.status == AGAIN << 8:  # somebody else's compile has just given it
                return []
            expected, made = self.exact_objects[text], _only_output(made)
        if reply.status or made != expected:
            said = f"status {reply.status:#x}, {reply.err[:200]!r}, {reply.object[:60]!r}"
            return [f"{case.kind}: another object: {said}"]
        return []

    # What must hold while nothing is on its way.

    def findings(self) -> list[str]:
        """What is wrong with the daemon and its surroundings, once it has come to rest."""
        if self.process.poll() is not None:
            said = (self.place / "stderr").read_text(errors="replace")[-2000:]
            return [f"the daemon is dead ({self.process.returncode}): {said}{self._log()[-2000:]}"]
        found = [f"it took no end: {what}" for what in self._unrest()]
        found += self._good_jobs()
        found += [f"left: {what}" for what in self._unrest()]
        found += self.ground.findings()
        found += [line for line in self._log().splitlines() if "CRITICAL" in line]
        return found

    def _unrest(self) -> list[str]:
        """What has not come back to what it was, after some time for it."""
        what: list[str] = []

        def at_rest() -> bool:
            what.clear()
            if children := self._children():
                what.append(f"processes {children}")
            if names := os.listdir(self.place / "tmp"):
                what.append(f"{len(names)} in the temporary directory, {names[:3]}")
            if (number := self._descriptors()) > self.descriptors + MORE_DESCRIPTORS:
                what.append(f"{number} descriptors, at first {self.descriptors}")
            if (number := self._threads()) > self.threads + MORE_THREADS:
                what.append(f"{number} threads, at first {self.threads}")
            return not what

        self._wait(at_rest)
        return what

    def _good_jobs(self) -> list[str]:
        """Jobs as ordinary clients have them; each is new, and then known."""
        text = b"int fresh_%d;\n" % time.monotonic_ns()
        found: list[str] = []
        job = (b"-c", b"a.c", b"-o", b"a.o")
        for version, compiler in ((1, b"quick-gcc"), (2, b"quick-gcc"), (1, b"gcc")):
            real = compiler == b"gcc"
            told = REAL_TEXTS[0] if real else text
            data = encoded(Request(version, (compiler, *job), told))
            found += self.run(Case("good job", (data,), text=told, real=real))
        with socket.create_connection(("127.0.0.1", self.port), ANSWER_SECONDS) as connection:
            connection.sendall(encoded(Request(OURS_PLAIN, (b"hello",))))
            answer = b"".join(iter(lambda: connection.recv(1 << 12), b""))
        reply = parse_answer(answer)
        if reply is None or not reply.out.startswith(b"pyccd "):
            found.append(f"no greeting: {answer[:100]!r}")
        return found

    def _log(self) -> str:
        try:
            with open(self.place / "log", "rb") as file:
                file.seek(self._log_at)
                said = file.read()
        except FileNotFoundError:  # it did not come so far
            return ""
        self._log_at += len(said)
        return said.decode(errors="replace")

    def _children(self) -> list[int]:
        """Processes that the daemon started, or whose file or directory is in its place."""
        found: list[int] = []
        ours = os.fsencode(self.place)
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) in (self.process.pid, os.getpid()):
                continue
            try:
                status = Path("/proc", name, "stat").read_bytes().rpartition(b")")[2].split()
                words = Path("/proc", name, "environ").read_bytes()
            except OSError:
                continue
            if status[0] in b"ZX" and int(status[1]) != self.process.pid:
                continue
            if int(status[1]) == self.process.pid or b"TMPDIR=" + ours + b"/tmp/" in words:
                found.append(int(name))
        return found

    def _descriptors(self) -> int:
        try:
            return len(os.listdir(f"/proc/{self.process.pid}/fd"))
        except OSError:
            return 0

    def _threads(self) -> int:
        return self._status("Threads")

    def memory(self, name: str) -> int:
        """VmRSS or VmHWM, in kB."""
        return self._status(name)

    def _status(self, name: str) -> int:
        try:
            lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith(name + ":")), 0)

    def counters(self) -> dict[str, object]:
        """The daemon's own count of what it did."""
        url = f"http://127.0.0.1:{self._stats_port}/json"
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answered:
            page: dict[str, object] = json.load(answered)
        return page
