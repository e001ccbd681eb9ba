"""What a step of the compile fuzzer looks like: a tree of files and one compiler command.

States are values.  An edit is a function from one state to the next, so that any earlier state can
be gone back to (which is what makes hits), and a difference is reproduced by replaying a list of
states, which is what makes it small.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

# Stands for the project's root in arguments, environment and links; it becomes a relative or an
# absolute path when the command line is made.
ROOT = b"{R}"
# Directories that are there from the start and stay when they are empty.
FIXED_DIRECTORIES = (b"build", b"build2", b"out", b"out2", b"keep", b"src", b"tools")


@dataclasses.dataclass(frozen=True, slots=True)
class File:
    """A regular file; `stamp` is an mtime in seconds to set, None leaves the time of writing."""

    content: bytes
    mode: int = 0o644
    stamp: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: bytes


Tree = Mapping[bytes, File | Link]


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
    """One compiler call; every path is relative to the project's root."""

    source: bytes
    compiler: bytes
    cwd: bytes = b"build"
    # In order: the option and its directory.
    includes: tuple[tuple[bytes, bytes], ...] = ()
    # Category and its arguments; one entry a category, in order of the command line.
    groups: tuple[tuple[str, tuple[bytes, ...]], ...] = ()
    output: bytes | None = b"out/t.o"
    joined: bool = False
    environment: tuple[tuple[bytes, bytes], ...] = ()
    umask: int = 0o022
    # 0: no response file; 1: all arguments in one; 2: in one that names another.
    response: int = 0
    # Called as `wrapper compiler` instead of through a link named like the compiler.
    explicit: bool = False
    absolute: bool = False
    stdin: bool = False
    # What already stands where the object goes: see oracle.PRIOR.
    prior: str = ""
    # Run the wrapper before the plain compiler: two edits then follow each other within a tick.
    wrapper_first: bool = False
    # Seconds after which, while a compile runs, the tree is swapped for the next one; see race().
    race: float = 0.0
    # Through the wrapper alone, and nobody compares: what counts is what it leaves in the cache.
    unseen: bool = False
    # Seconds to wait before the compile, so that the files' times can be trusted.
    settle: float = 0.0

    def group(self, category: str) -> tuple[bytes, ...]:
        """The arguments of one category."""
        return dict(self.groups).get(category, ())

    def with_group(self, category: str, arguments: tuple[bytes, ...]) -> Command:
        """The command with the arguments of one category replaced, at the place they had."""
        groups = dict(self.groups)
        groups[category] = arguments
        return dataclasses.replace(self, groups=tuple(groups.items()))

    def with_variable(self, name: bytes, value: bytes | None) -> Command:
        """The command with one environment variable set, or unset with None."""
        environment = dict(self.environment)
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
        return dataclasses.replace(self, environment=tuple(sorted(environment.items())))


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """The tree, the command, and what was done to get here (for people)."""

    tree: Tree
    command: Command
    note: str = ""

    def put(self, path: bytes, entry: File | Link) -> State:
        """The state with one file or link added or replaced."""
        return dataclasses.replace(self, tree={**self.tree, path: entry})

    def drop(self, path: bytes) -> State:
        """The state without one file."""
        return dataclasses.replace(
            self, tree={name: entry for name, entry in self.tree.items() if name != path}
        )

    def text(self, path: bytes) -> bytes:
        """The content of a file, empty when there is none or it is a link."""
        entry = self.tree.get(path)
        return entry.content if isinstance(entry, File) else b""

    def write(self, path: bytes, content: bytes) -> State:
        """The state with other content in a file; its mode and stamp stay."""
        entry = self.tree.get(path)
        if isinstance(entry, File):
            return self.put(path, dataclasses.replace(entry, content=content))
        return self.put(path, File(content))

    def replace(self, note: str = "", **changes: object) -> State:
        """The state with fields of its command changed."""
        command = dataclasses.replace(self.command, **changes)  # type: ignore[arg-type]
        return dataclasses.replace(self, command=command, note=note or self.note)

    def set(self, command: Command, note: str = "") -> State:
        """The state with another command."""
        return dataclasses.replace(self, command=command, note=note or self.note)

    def named(self, note: str) -> State:
        """The state under another note."""
        return dataclasses.replace(self, note=note)


def quote_response(argument: bytes) -> bytes:
    """An argument as it is written into a response file."""
    return re.sub(rb"([\s\\'\"])", rb"\\\1", argument)


def plain_arguments(command: Command, root: bytes) -> list[bytes]:
    """The arguments without response files."""
    base = root if command.absolute else os.path.relpath(b"/", b"/" + command.cwd)
    arguments: list[bytes] = [b"-S" if command.group("mode") == (b"-S",) else b"-c"]
    for category, group in command.groups:
        if category != "mode":
            arguments += group
    for option, directory in command.includes:
        path = ROOT + b"/" + directory
        arguments += [option + path] if option == b"-I" else [option, path]
    if command.stdin:
        arguments.append(b"-")
    else:
        arguments.append(ROOT + b"/" + command.source)
    if command.output is not None:
        path = ROOT + b"/" + command.output
        arguments += [b"-o" + path] if command.joined else [b"-o", path]
    return [argument.replace(ROOT, base) for argument in arguments]


def command_line(command: Command, root: bytes) -> list[bytes]:
    """The whole command line as the plain compiler gets it; argv[0] is found on PATH."""
    base = root if command.absolute else os.path.relpath(b"/", b"/" + command.cwd)
    compiler = command.compiler
    if b"/" in compiler:
        compiler = base + b"/" + compiler
    if command.response:
        return [compiler, b"@" + base + b"/rsp/1"]
    return [compiler, *plain_arguments(command, root)]


def full_tree(state: State, root: bytes) -> Tree:
    """The tree with the response files that the command needs."""
    if not state.command.response:
        return state.tree
    tree = dict(state.tree)
    quoted = [quote_response(argument) for argument in plain_arguments(state.command, root)]
    if state.command.response == 2 and len(quoted) > 4:
        tree[b"rsp/2"] = File(b"\n".join(quoted[2:-2]) + b"\n")
        # A response file names another relative to the working directory, not to itself.
        base = os.path.relpath(b"/", b"/" + state.command.cwd)
        quoted = [*quoted[:2], b"@" + base + b"/rsp/2", *quoted[-2:]]
    tree[b"rsp/1"] = File(b" ".join(quoted) + b"\n")
    return tree


def apply_tree(root: bytes, old: Tree, new: Tree, *, in_place: bool) -> None:
    """Make the tree on disk, which is `old`, into `new`, touching only what differs.

    With `in_place` a changed file is written over, else it is replaced by renaming a new one.
    """
    gone = [path for path in old if path not in new]
    changed = [path for path, entry in new.items() if old.get(path) != entry]
    for path in gone:
        os.unlink(os.path.join(root, path))
    for path in gone:
        parent = os.path.dirname(path)
        if parent not in FIXED_DIRECTORIES:
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(root, parent))
    for path in changed:
        write_entry(os.path.join(root, path), new[path], in_place=in_place)


def write_entry(path: bytes, entry: File | Link, *, in_place: bool) -> None:
    """Make one file or link."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    is_file = not os.path.islink(path)
    target = path
    if isinstance(entry, Link):
        target = path + b"~"
        os.symlink(entry.target, target)
    else:
        if not (in_place and is_file):
            target = path + b"~"
        with open(target, "wb") as stream:
            stream.write(entry.content)
        os.chmod(target, entry.mode)
        if entry.stamp is not None:
            os.utime(target, (entry.stamp, entry.stamp))
    if target != path:
        os.rename(target, path)


def display(path: bytes) -> str:
    """A path for people."""
    return str(PurePosixPath(os.fsdecode(path)))
