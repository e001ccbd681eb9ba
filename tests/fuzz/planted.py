"""Bugs that are put into a running server on purpose, to show that the compile fuzzer finds them.

    python -m tests.fuzz.planted NAME SERVER-ARGUMENTS...

A fuzzer that finds nothing proves nothing until it has found what was hidden from it.  The program
under test knows nothing of this: the launcher starts the `pycc-server` beside it, so `install()`
puts a copy of the launcher next to a script of that name, which replaces one function and then
serves.
A patch that no longer finds its function fails loudly (`replace`), so that none can rot into a
test of nothing.
"""

from __future__ import annotations

import importlib
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pycc import record

REPOSITORY = Path(__file__).resolve().parents[2]


def replace(module: str, name: str, wrap: Callable[[Any], Any]) -> None:
    """Replace `name` of a module (dots go into classes) by what `wrap` makes of the original.

    Raises AttributeError when there is no such function.  Modules that imported the function by
    name keep the original, so `module` is the one that calls it.
    """
    owner: Any = importlib.import_module(module)
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    setattr(owner, last, wrap(getattr(owner, last)))


def forget_files(chosen: Callable[[bytes], bool]) -> None:
    """Let a manifest entry hold whatever the files are that `chosen` names."""

    def wrap(verify: Any) -> Any:
        def blind(self: Any, entry: Any, *rest: Any) -> Any:
            files = tuple(file for file in entry.files if not chosen(file[0]))
            return verify(self, record.replace(entry, files=files), *rest)

        return blind

    replace("pycc.cache.lookup", "Verifier.verify", wrap)


def resolve_links_once() -> None:
    """Look at the file that a path led to when it was first seen."""
    resolved: dict[bytes, bytes] = {}

    def wrap(verify: Any) -> Any:
        def stale(self: Any, entry: Any, cwd: bytes, *rest: Any) -> Any:
            files = []
            for path, digest in entry.files:
                full = os.path.join(cwd, path)
                files.append((resolved.setdefault(full, os.path.realpath(full)), digest))
            return verify(self, record.replace(entry, files=tuple(files)), cwd, *rest)

        return stale

    replace("pycc.cache.lookup", "Verifier.verify", wrap)


def forget_absent() -> None:
    """Let a manifest entry hold whatever has appeared."""

    def wrap(verify: Any) -> Any:
        return lambda self, entry, *rest: verify(self, record.replace(entry, groups=()), *rest)

    replace("pycc.cache.lookup", "Verifier.verify", wrap)


def digest_by_size_and_second() -> None:
    """Take a file for the same while its size and the second of its mtime are."""
    seen: dict[tuple[bytes, int, int], bytes] = {}

    def wrap_known(known: Any) -> Any:
        def careless(self: Any, path: bytes, signature: Any) -> Any:
            found = seen.get((path, signature.size, signature.mtime // 10**9))
            return known(self, path, signature) if found is None else found

        return careless

    def wrap_read(read: Any) -> Any:
        def noting(self: Any, path: bytes, *limit: Any) -> Any:
            got = read(self, path, *limit)
            if got is not None:
                seen[(path, got[2].size, got[2].mtime // 10**9)] = got[0]
            return got

        return noting

    replace("pycc.cache.digest", "FileDigests.known", wrap_known)
    replace("pycc.cache.digest", "FileDigests.read", wrap_read)


def edit_operations(edit: Callable[[Any], Any]) -> None:
    """Pass each operation of a hit through `edit`; None leaves it out."""

    def wrap(operations: Any) -> Any:
        def edited(self: Any, entries: Any) -> Any:
            ops = operations(self, entries)
            return None if ops is None else [op for op in map(edit, ops) if op is not None]

        return edited

    replace("pycc.delivery", "Delivery.operations", wrap)


def old_mode(op: Any) -> Any:
    """Write a file with the mode that it has under the usual umask."""
    return record.replace(op, mode=0o644) if type(op).__name__ == "Write" else op


def without_stderr(op: Any) -> Any:
    """Leave out what goes to stderr."""
    return None if type(op).__name__ == "Out" and op.fd == 2 else op


def stale_dependency_target() -> None:
    """Deliver a dependency file as it was stored."""
    replace("pycc.delivery", "Delivery._dependency_text", lambda _: lambda self, entry: entry.data)


def sorted_include_order() -> None:
    """Key the arguments of the preprocessor without their order."""

    def wrap(direct: Any) -> Any:
        def unordered(base: Any, call: Any, invocation: Any, *rest: Any) -> Any:
            words = tuple(sorted(invocation.key_args, key=lambda arg: arg.words))
            return direct(base, call, record.replace(invocation, key_args=words), *rest)

        return unordered

    replace("pycc.keying", "direct", wrap)


def response_file_by_name() -> None:
    """Read each response file once and for all."""
    seen: dict[Any, Any] = {}

    def wrap(expand: Any) -> Any:
        def once(words: Any, *rest: Any) -> Any:
            if not any(word.startswith(b"@") for word in words):
                return expand(words, *rest)
            key = tuple(words)
            if key not in seen:
                seen[key] = expand(words, *rest)
            return seen[key]

        return once

    replace("pycc.compile", "expand", wrap)


def assembler_of_the_system() -> None:
    """Never look for the assembler on PATH."""

    def wrap(tool: Any) -> Any:
        def fixed(talk: Any, compiler: bytes, special: Any, name: bytes, *rest: Any) -> Any:
            if name != b"as":
                return tool(talk, compiler, special, name, *rest)
            return b"/usr/bin/as", []

        return fixed

    replace("pycc.compiler", "_tool", wrap)


def found_compiler_for_ever() -> None:
    """Look for each compiler once."""
    seen: dict[Any, Any] = {}

    def wrap(locate: Any) -> Any:
        def once(name: bytes, search_path: bytes, cwd: bytes) -> Any:
            key = (name, search_path)
            if key not in seen:
                seen[key] = locate(name, search_path, cwd)
            return seen[key]

        return once

    replace("pycc.call", "locate", wrap)


def unseen_directives(*names: str) -> None:
    """Do not notice these in the text of sources."""

    def wrap(scan: Any) -> Any:
        return lambda text: record.replace(scan(text), **dict.fromkeys(names, False))

    replace("pycc.directives", "scan", wrap)


def epoch_not_keyed() -> None:
    """Take SOURCE_DATE_EPOCH for one of the variables that do not matter."""

    def wrap(_: Any) -> Any:
        def by_the_clock(self: Any, now: float) -> bytes:
            local_day = importlib.import_module("pycc.job").local_day
            day: bytes = local_day(self.call.variables.get(b"TZ"), now)
            return day

        return by_the_clock

    replace("pycc.job", "Job.day", wrap)


def nothing(module: str, name: str) -> Callable[[], None]:
    """A patch that empties a tuple of names."""
    return lambda: replace(module, name, lambda _: ())


@record.record
class Planted:
    """One bug: what is wrong, the scenario that should meet it, and the patch."""

    name: str
    wrong: str
    scenario: str
    patch: Callable[[], None]


PLANTED = (
    Planted(
        "header_left_out",
        "the manifest forgets some headers",
        "header_edit",
        lambda: forget_files(lambda path: path.endswith((b"deep.h", b"/y.h", b"gen.h"))),
    ),
    Planted(
        "cpath",
        "CPATH and its like are not keyed",
        "include_variables",
        nothing("pycc.keying", "SEARCH_VARIABLES"),
    ),
    Planted(
        "tz",
        "__DATE__ is keyed in the server's time zone",
        "time_zone",
        lambda: replace("pycc.job", "local_day", lambda day: lambda zone, now: day(None, now)),
    ),
    Planted(
        "locale",
        "LANG, LC_ALL and LC_MESSAGES are not keyed",
        "locale",
        nothing("pycc.keying", "LOCALE_VARIABLES"),
    ),
    Planted(
        "cwd_under_g",
        "the working directory is not keyed with -g",
        "working_directory",
        lambda: replace("pycc.embedded", "debug_directory", lambda _: lambda invocation, cwd: b""),
    ),
    Planted("include_order", "the order of -I is not keyed", "include_order", sorted_include_order),
    Planted(
        "response_file",
        "an @file is keyed by its name, not its content",
        "response_file",
        response_file_by_name,
    ),
    Planted(
        "as_on_path",
        "the assembler on PATH is not part of the compiler",
        "assembler_program",
        assembler_of_the_system,
    ),
    Planted(
        "assembler_include",
        ".include and .incbin are not in the manifest",
        "assembler_reads",
        lambda: forget_files(lambda path: b"asm/" in path),
    ),
    Planted("absent_candidate", "absent candidates are not recorded", "shadowing", forget_absent),
    Planted(
        "directory_link",
        "a path's links are resolved once and for all",
        "directory_link",
        resolve_links_once,
    ),
    Planted(
        "same_size_edit",
        "a digest is remembered by size and whole seconds",
        "quick_edits",
        digest_by_size_and_second,
    ),
    Planted(
        "umask",
        "outputs of a hit ignore the umask",
        "file_modes",
        lambda: edit_operations(old_mode),
    ),
    Planted(
        "stale_stderr",
        "a hit does not print what the compiler printed",
        "locale",
        lambda: edit_operations(without_stderr),
    ),
    Planted(
        "dependency_target",
        "the dependency file keeps its first target",
        "dependencies",
        stale_dependency_target,
    ),
    Planted(
        "column_shift",
        "preprocessed text is the key although columns show",
        "columns",
        lambda: replace("pycc.keying", "free_text_allowed", lambda _: lambda invocation: True),
    ),
    Planted(
        "source_date_epoch",
        "SOURCE_DATE_EPOCH is not keyed",
        "source_date_epoch",
        epoch_not_keyed,
    ),
    Planted(
        "found_compiler",
        "a found compiler is never looked for again",
        "dropped_compiler",
        found_compiler_for_ever,
    ),
    Planted(
        "forced_include",
        "files of -include are not in the manifest",
        "forced_include",
        lambda: forget_files(lambda path: path.endswith(b"forced.h")),
    ),
    Planted(
        "timestamp",
        "__TIMESTAMP__ is not noticed",
        "timestamp",
        lambda: unseen_directives("timestamp"),
    ),
)


def find(name: str) -> Planted:
    """The bug of that name; KeyError when there is none."""
    return {planted.name: planted for planted in PLANTED}[name]


def install(name: str, launcher: Path, place: Path) -> Path:
    """Make a launcher in `place` whose server has the bug; returns the launcher."""
    place.mkdir(parents=True, exist_ok=True)
    copy = place / "pycc"
    shutil.copy2(launcher, copy)
    server = place / "pycc-server"
    words = [sys.executable, "-m", "tests.fuzz.planted", name]
    # The server is started with an empty environment.
    server.write_text(
        f"#!/bin/sh\nexport PYTHONPATH={shlex.quote(os.fspath(REPOSITORY))}\n"
        f'exec {shlex.join(words)} "$@"\n'
    )
    server.chmod(0o755)
    return copy


def main(argv: list[str]) -> int:
    """Apply one patch, then be the server."""
    find(argv[1]).patch()
    sys.argv = ["pycc-server", *argv[2:]]
    importlib.import_module("pycc.__main__").server()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
