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

import dataclasses
import importlib
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


@dataclasses.dataclass(frozen=True, slots=True)
class Planted:
    """One bug: what is wrong, the scenario that should meet it, and the patch."""

    name: str
    wrong: str
    scenario: str
    patch: Callable[[], None] | None = None


PLANTED = (
    Planted("header_left_out", "the manifest forgets one header in three", "header_edit"),
    Planted("cpath", "CPATH and its like are not keyed", "include_variables"),
    Planted("tz", "__DATE__ is keyed in the server's time zone", "time_zone"),
    Planted("locale", "LANG, LC_ALL and LC_MESSAGES are not keyed", "locale"),
    Planted("cwd_under_g", "the working directory is not keyed with -g", "working_directory"),
    Planted("include_order", "-I directories are keyed sorted", "include_order"),
    Planted("response_file", "an @file is keyed by its name, not its content", "response_file"),
    Planted("as_on_path", "the assembler is not part of the compiler", "assembler_program"),
    Planted("assembler_include", ".include and .incbin are not in the manifest", "assembler_reads"),
    Planted("absent_candidate", "absent candidates are not recorded", "shadowing"),
    Planted("directory_link", "a path's links are resolved once and for all", "directory_link"),
    Planted("same_size_edit", "a digest is memoised by size and whole seconds", "quick_edits"),
    Planted("umask", "outputs are written with the mode of the first compile", "file_modes"),
    Planted("stale_stderr", "a hit does not print what the compiler printed", "locale"),
    Planted("dependency_target", "the dependency file keeps its first target", "dependencies"),
    Planted("column_shift", "preprocessed text is keyed although columns show", "columns"),
    Planted("source_date_epoch", "SOURCE_DATE_EPOCH is not keyed", "source_date_epoch"),
    Planted("found_compiler", "the found compiler is not looked for again", "dropped_compiler"),
    Planted("forced_include", "-include files are not in the manifest", "forced_include"),
    Planted("timestamp", "__TIMESTAMP__ is not noticed", "timestamp"),
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
    planted = find(argv[1])
    if planted.patch is None:
        print(f"planted: {planted.name} has no patch yet", file=sys.stderr)
        return 2
    planted.patch()
    server = importlib.import_module("pycc.server")
    sys.argv = ["pycc-server", *argv[2:]]
    return int(server.main() or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
