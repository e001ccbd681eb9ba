"""Runs a command plainly and through the wrapper in one directory, and says how they differ.

Both runs must start from the same files.  Everything that is not the project's own (objects,
dependency files, whatever a flag adds) is an artifact: what the first run changed is recorded and
put back before the second.  What is compared is not a list of expected outputs but every path that
either run added, changed or removed, so an output that nobody thought of is compared as well.

Two plain compiles may differ from each other: the clock ticks on for __TIME__, and some options
draw random numbers.  A difference is therefore confirmed by a second plain run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from tests.fuzz.project import Toolchain
from tests.fuzz.pumping import accounted, accounted_messages
from tests.fuzz.states import (
    FIXED_DIRECTORIES,
    ROOT,
    Command,
    File,
    State,
    Tree,
    apply_tree,
    command_line,
    full_tree,
)

TIMEOUT = 60.0  # seconds for one compile; a wrapper that hangs is a difference
# What may already stand where the object goes.
PRIOR = ("", "mode 0444", "mode 0600", "mode 0777", "link", "dangling", "hard link", "absent")
Signature = tuple[int, int, int, int, int, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Artifact:
    """What a run left at one path: kind is "file", "link" or "other"; `fresh`: of this run."""

    kind: str
    mode: int
    content: bytes
    fresh: bool
    mtime: int = dataclasses.field(default=0, compare=False)  # ns


@dataclasses.dataclass(frozen=True, slots=True)
class Ran:
    """Everything one run did; `changes` has None for a path that it removed."""

    status: int
    stdout: bytes
    stderr: bytes
    changes: Mapping[bytes, Artifact | None]
    leftovers: tuple[bytes, ...]


def differences(plain: Ran, wrapped: Ran) -> list[str]:
    """What the wrapped run did otherwise, a line each; empty when all is the same."""
    found: list[str] = []
    for name in ("status", "stdout", "stderr", "leftovers"):
        ours, theirs = getattr(wrapped, name), getattr(plain, name)
        if ours != theirs:
            found.append(f"{name}: plain {theirs!r}, wrapped {ours!r}"[:600])
    for path in sorted({*plain.changes, *wrapped.changes}):
        theirs = plain.changes.get(path, "untouched")
        ours = wrapped.changes.get(path, "untouched")
        if ours != theirs:
            found.append(f"{os.fsdecode(path)}: {compare_artifacts(theirs, ours)}")
    return found


def compare_artifacts(plain: object, wrapped: object) -> str:
    """Where two artifacts differ, in words."""
    if not (isinstance(plain, Artifact) and isinstance(wrapped, Artifact)):
        words = ["removed" if a is None else getattr(a, "kind", a) for a in (plain, wrapped)]
        return f"plain {words[0]}, wrapped {words[1]}"
    parts = []
    if plain.kind != wrapped.kind:
        parts.append(f"plain a {plain.kind}, wrapped a {wrapped.kind}")
    if plain.mode != wrapped.mode:
        parts.append(f"mode plain {plain.mode:04o}, wrapped {wrapped.mode:04o}")
    if plain.fresh != wrapped.fresh:
        parts.append("only one is newer than the start of the run")
    if plain.content != wrapped.content:
        pairs = zip(plain.content, wrapped.content, strict=False)
        at = next(
            (i for i, (a, b) in enumerate(pairs) if a != b),
            min(len(plain.content), len(wrapped.content)),
        )
        parts.append(
            f"content differs at byte {at}: plain {len(plain.content)} bytes "
            f"{plain.content[at : at + 24]!r}, wrapped {len(wrapped.content)} bytes "
            f"{wrapped.content[at : at + 24]!r}"
        )
    return "; ".join(parts)


class Oracle:
    """One project on disk, with the plain compiler and the wrapper to run in it."""

    def __init__(
        self,
        place: bytes,
        tools: Toolchain,
        wrapper: bytes,
        extra: Mapping[bytes, bytes],
        *,
        log: bool = False,
        pumping: bool = False,
        by_name: bytes = b"",
    ) -> None:
        """Make the directories below `place`; `extra` is environment for the wrapper alone. With
        `pumping` it compiles on a stock server, see pumping.py. It goes `by_name`, if that is
        given, in front of each command.

        With `log` the wrapper keeps a statistics log, for outcome(); a wrapper may answer hits by
        another way then, so a run that should prove something goes without.
        """
        self.place = place
        self.pumping = pumping
        self.root = os.path.join(place, b"project")
        self.temporary = os.path.join(place, b"tmp")
        self.wrapper = wrapper
        self.links = os.path.join(place, b"links")
        self.stats_log = os.path.join(place, b"stats.log")
        self.tree: Tree = {}
        # The artifacts as they are on disk, to which restore() brings them back.
        self.prior: dict[bytes, Artifact] = {}
        for directory in (self.temporary, self.links, os.path.join(place, b"home")):
            os.makedirs(directory)
        # A server of our own, whose directory must be there already: a launcher that finds none
        # looks for one in /tmp, and would meet the user's server, or give him a planted bug.
        runtime = os.path.join(place, b"run")
        os.makedirs(runtime, mode=0o700)
        os.mkdir(os.path.join(runtime, b"pycc"), mode=0o700)
        for directory in FIXED_DIRECTORIES:
            os.makedirs(os.path.join(self.root, directory))
        for name in (tools.c, tools.cxx, b"ccache", *filter(None, [by_name])):
            os.symlink(wrapper, os.path.join(self.links, name))
        self.by_name = by_name and os.path.join(self.links, by_name)
        self.base_environment = {
            b"PATH": os.path.join(self.root, b"tools") + b":" + os.environb[b"PATH"],
            b"HOME": os.path.join(place, b"home"),
            b"TMPDIR": self.temporary,
        }
        self.wrapper_environment = {
            b"CCACHE_DIR": os.path.join(place, b"cache"),
            b"XDG_RUNTIME_DIR": runtime,
            **({b"CCACHE_STATSLOG": self.stats_log} if log else {}),
            **extra,
        }
        os.symlink(b"build", os.path.join(self.root, b"cwdlink"))

    def environment(self, command: Command, *, wrapped: bool) -> dict[bytes, bytes]:
        """The environment of one run."""
        environment = dict(self.base_environment)
        for name, value in command.environment:
            environment[name] = value.replace(ROOT, self.root)
        environment[b"PWD"] = os.path.join(self.root, command.cwd)
        if wrapped:
            environment.update(self.wrapper_environment)
            if not (command.explicit or self.by_name):
                environment[b"PATH"] = self.links + b":" + environment[b"PATH"]
        return environment

    def accounted(self, ran: Ran) -> Ran:
        """What of a run is compared."""
        if not self.pumping:
            return ran
        changes = {
            path: artifact and dataclasses.replace(artifact, content=accounted(artifact.content))
            for path, artifact in ran.changes.items()
        }
        return dataclasses.replace(ran, stderr=accounted_messages(ran.stderr), changes=changes)

    def maintenance(self, *arguments: str) -> str:
        """What the wrapper's own command line prints."""
        ran = subprocess.run(
            [os.path.join(self.links, b"ccache"), *arguments],
            env={**self.base_environment, **self.wrapper_environment},
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        return ran.stdout.decode(errors="replace")

    def hits(self) -> int:
        """Direct and preprocessed hits so far, as the wrapper counts them."""
        counters = dict(
            line.split("\t", 1)
            for line in self.maintenance("--print-stats").splitlines()
            if "\t" in line
        )
        names = ("direct_cache_hit", "preprocessed_cache_hit")
        return sum(int(counters.get(name, "0")) for name in names)

    def enter(self, state: State, *, in_place: bool) -> None:
        """Put a state's tree on disk."""
        tree = full_tree(state, self.root)
        apply_tree(self.root, self.tree, tree, in_place=in_place)
        self.tree = tree

    def clean(self) -> None:
        """Remove all artifacts."""
        for path in self.scan():
            if path not in self.tree and path != b"cwdlink":
                os.unlink(os.path.join(self.root, path))
        self.prior = {}

    def run(self, command: Command, *, wrapped: bool) -> Ran:
        """Run the command once; the artifacts stay as it leaves them."""
        before = self.scan()
        old_temporary = set(os.listdir(self.temporary))
        begin = time.time_ns()
        status, stdout, stderr = self.execute(command, wrapped=wrapped)
        after = self.scan()
        changes: dict[bytes, Artifact | None] = {}
        for path, signature in after.items():
            if before.get(path) != signature:
                changes[path] = self.read(path, begin)
        for path in before:
            if path not in after:
                changes[path] = None
        left = tuple(sorted(set(os.listdir(self.temporary)) - old_temporary))
        for name in left:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self.temporary, name))
        return Ran(status, stdout, stderr, changes, tuple(map(self.anonymous, left)))

    def execute(self, command: Command, *, wrapped: bool) -> tuple[int, bytes, bytes]:
        """Start the command line and collect what it prints."""
        process = self.start(command, wrapped=wrapped)
        try:
            stdout, stderr = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            stderr += b"\n(killed after %d s)" % TIMEOUT
        return process.returncode, self.anonymous(stdout), self.anonymous(stderr)

    def start(self, command: Command, *, wrapped: bool) -> subprocess.Popen[bytes]:
        """Start the command line."""
        argv = command_line(command, self.root)
        if wrapped and (command.explicit or self.by_name):
            argv.insert(0, self.by_name or self.wrapper)
        environment = self.environment(command, wrapped=wrapped)
        # subprocess looks a program up on the PATH of the environment that it is given, but a path
        # with a slash is relative to the new directory: both are what a shell does there.
        source = os.path.join(self.root, command.source) if command.stdin else os.devnull.encode()
        with open(source, "rb") as stdin:
            return subprocess.Popen(
                argv,
                cwd=os.path.join(self.root, command.cwd),
                env=environment,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                umask=command.umask,
            )

    def anonymous(self, text: bytes) -> bytes:
        """Output without the random names that the compiler driver draws for its temporaries."""
        return re.sub(rb"\bcc[A-Za-z0-9]{6}\b", b"ccXXXXXX", text)

    def scan(self) -> dict[bytes, Signature]:
        """Every file and link of the project and what tells whether it was touched."""
        found: dict[bytes, Signature] = {}
        pending = [b""]
        while pending:
            directory = pending.pop()
            with os.scandir(os.path.join(self.root, directory)) as entries:
                for entry in entries:
                    path = os.path.join(directory, entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(path)
                        continue
                    s = entry.stat(follow_symlinks=False)
                    found[path] = (
                        *(s.st_ino, s.st_size, s.st_mtime_ns, s.st_mode, s.st_nlink, s.st_ctime_ns),
                    )
        return found

    def read(self, path: bytes, begin: int) -> Artifact:
        """One artifact; `begin` is when its run started, in ns."""
        full = os.path.join(self.root, path)
        status = os.lstat(full)
        # File systems stamp with a clock that lags by up to a tick of 10 ms.
        fresh = status.st_mtime_ns > begin - 20_000_000
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISLNK(status.st_mode):
            return Artifact("link", mode, os.readlink(full), fresh)
        if not stat.S_ISREG(status.st_mode):
            return Artifact("other", mode, b"", fresh)
        with open(full, "rb") as stream:
            return Artifact("file", mode, stream.read(), fresh, status.st_mtime_ns)

    def remember(self, changes: Mapping[bytes, Artifact | None]) -> None:
        """Take over what a run changed as the artifacts that are on disk now."""
        for path, artifact in changes.items():
            if path in self.tree:
                continue
            if artifact is None:
                self.prior.pop(path, None)
            else:
                self.prior[path] = artifact

    def restore(self, changes: Mapping[bytes, Artifact | None]) -> None:
        """Undo a run: bring what it changed back to what remember() noted."""
        for path in changes:
            full = os.path.join(self.root, path)
            entry = self.tree.get(path)
            # A run that changed a file of the project did so in both cases, or is caught anyway.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(full)
            if isinstance(entry, File):
                with open(full, "wb") as stream:
                    stream.write(entry.content)
                os.chmod(full, entry.mode)
            elif entry is not None:
                os.symlink(entry.target, full)
            elif path in self.prior:
                artifact = self.prior[path]
                if artifact.kind == "link":
                    os.symlink(artifact.content, full)
                    continue
                with open(full, "wb") as stream:
                    stream.write(artifact.content)
                os.chmod(full, artifact.mode)
                os.utime(full, ns=(artifact.mtime, artifact.mtime))

    def place_prior(self, command: Command) -> None:
        """Put what the command is to find at its output path there; see PRIOR."""
        if not command.prior or command.output is None:
            return
        path = os.path.join(self.root, command.output)
        kept = os.path.join(self.root, b"keep", b"other")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self.prior.pop(command.output, None)
        if command.prior.startswith("mode"):
            self._write_old(path, b"older object", int(command.prior.split()[1], 8))
        elif command.prior == "link":
            os.symlink(b"../keep/other", path)
        elif command.prior == "dangling":
            os.symlink(b"../keep/nothing", path)
        if command.prior in ("link", "hard link"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(kept)
            self._write_old(kept, b"other file", 0o644)
            if command.prior == "hard link":
                os.link(kept, path)

    def _write_old(self, path: bytes, content: bytes, mode: int) -> None:
        with open(path, "wb") as stream:
            stream.write(content)
        os.chmod(path, mode)
        os.utime(path, (10**9, 10**9))

    def race(self, state: State, following: State, delay: float) -> None:
        """Swap the tree for another while the wrapper compiles; the outcome itself is anybody's.

        What counts is what it leaves in the cache for the next step.
        """
        process = self.start(state.command, wrapped=True)
        time.sleep(delay)
        self.enter(following, in_place=True)
        process.communicate(timeout=TIMEOUT)
        self.enter(state, in_place=True)

    def unseen(self, state: State) -> None:
        """Run the command through the wrapper; what it makes is nobody's concern."""
        self.execute(state.command, wrapped=True)
        self.outcome()

    def outcome(self) -> str:
        """What the wrapper says it did in the last run, from its statistics log."""
        try:
            with open(self.stats_log, "rb") as stream:
                lines = stream.read().decode(errors="replace").splitlines()
            os.unlink(self.stats_log)
        except FileNotFoundError:
            return ""
        return " ".join(line for line in lines if not line.startswith("#"))

    def close(self, *, keep: bool = False) -> None:
        """Stop a resident server, if the wrapper has one, and remove the directory."""
        if os.path.exists(os.path.join(os.path.dirname(self.wrapper), b"pycc-server")):
            self.maintenance("--stop-server")
        if keep:
            return
        # A server says that it leaves before it has, and may still write.
        for _ in range(50):
            shutil.rmtree(self.place, ignore_errors=True)
            if not os.path.exists(self.place):
                break
            time.sleep(0.1)


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """The comparison of one step; `undecided` when two plain runs do not agree either."""

    plain: Ran
    wrapped: Ran
    found: Sequence[str]
    undecided: bool
    outcome: str


def agree_now(oracle: Oracle, run: Callable[..., Ran]) -> bool:
    """Whether another wrapped and another plain run, one right after the other, agree."""
    for _ in range(3):
        wrapped = run(wrapped=True)
        oracle.outcome()
        if not differences(run(wrapped=False), wrapped):
            return True
    return False


def check(oracle: Oracle, state: State, *, in_place: bool = True) -> Checked:
    """Enter a state, run its command both ways, and compare."""
    command = state.command
    oracle.enter(state, in_place=in_place)
    if command.settle:
        time.sleep(command.settle)
    runs: dict[bool, Ran] = {}
    outcome = ""
    changed: dict[bytes, Artifact | None] = {}

    def run(*, wrapped: bool) -> Ran:
        oracle.restore(changed)
        oracle.place_prior(command)
        ran = oracle.run(command, wrapped=wrapped)
        changed.clear()
        changed.update(ran.changes)
        return oracle.accounted(ran)

    for wrapped in (True, False) if command.wrapper_first else (False, True):
        runs[wrapped] = run(wrapped=wrapped)
        if wrapped:
            outcome = oracle.outcome()
    plain = runs[False]
    found = differences(plain, runs[True])
    undecided = False
    if found:
        again = [run(wrapped=False), run(wrapped=False)]
        if any(not differences(ran, runs[True]) for ran in again):
            found = []
        elif command.wrapper_first and "cache_hit" not in outcome and agree_now(oracle, run):
            # What the wrapper compiled was right at its time, and the clock ticked before the
            # plain compiles. Were it not, the wrapper's next answer would be wrong again.
            found = []
        else:
            agree = not differences(plain, again[0]) and not differences(again[0], again[1])
            undecided = not agree
    oracle.remember(changed)
    if command.prior:
        oracle.clean()
    return Checked(plain, runs[True], found, undecided, outcome)
