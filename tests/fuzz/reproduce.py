"""Makes a difference small, and writes it down as a shell script."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Sequence

from tests.fuzz.oracle import Checked, Oracle, check
from tests.fuzz.states import ROOT, File, Link, State, Tree, command_line, full_tree

SECONDS = 60.0  # for the search of one small reproduction
MARK = b"@ROOT@"
LISTING = """listing() {
    find . -type f -newer "$PLACE/stamp" -exec ls -l {} + | awk '{print $1, $5, $9, $10}'
    find out out2 -type f -exec cksum {} +
}"""


def replay(make: Callable[[], Oracle], states: Sequence[State]) -> Checked | None:
    """Run the states one after the other with an empty cache; what the last one gave."""
    oracle = make()
    checked = None
    try:
        for index, state in enumerate(states):
            if state.command.race and index + 1 < len(states):
                oracle.enter(state, in_place=True)
                oracle.race(state, states[index + 1], state.command.race)
            elif state.command.unseen:
                oracle.enter(state, in_place=True)
                oracle.unseen(state)
            else:
                checked = check(oracle, state)
    finally:
        oracle.close()
    return checked


def minimize(make: Callable[[], Oracle], states: Sequence[State]) -> tuple[list[State], bool]:
    """The shortest list found that ends in the same difference, and whether it does.

    Most differences need two states: the one whose result was stored and the one that got it.
    """
    deadline = time.monotonic() + SECONDS
    last = states[-1]

    def shows(candidate: Sequence[State]) -> bool:
        checked = replay(make, candidate)
        return checked is not None and bool(checked.found) and not checked.undecided

    if shows([last]):
        return [last], True
    for earlier in reversed(states[-40:-1]):
        if time.monotonic() > deadline:
            break
        if shows([earlier, last]):
            return [earlier, last], True
    size = 3
    while size <= 2 * len(states) and time.monotonic() < deadline:
        window = list(states[-size:])
        if shows(window):
            return _thin(shows, window, deadline), True
        size *= 2
    return list(states[-12:]), False


def _thin(
    shows: Callable[[Sequence[State]], bool], states: list[State], deadline: float
) -> list[State]:
    index = len(states) - 2
    while index >= 0 and time.monotonic() < deadline:
        fewer = states[:index] + states[index + 1 :]
        if shows(fewer):
            states = fewer
        index -= 1
    return states


def shell_word(text: bytes) -> str:
    """A word of a shell script, in which the root's mark becomes "$ROOT"."""
    parts = [shlex.quote(os.fsdecode(part)) if part else "" for part in text.split(MARK)]
    return '"$ROOT"'.join(parts) or "''"


def printed(content: bytes) -> str:
    """The argument with which printf prints these bytes."""
    safe = set(b' !#$&()*+,-./:;<=>?@[]^_`{|}~"')
    out = "".join(
        chr(byte) if (byte < 128 and chr(byte).isalnum()) or byte in safe else f"\\{byte:03o}"
        for byte in content
    )
    return f"'{out}'"


def shell_tree(old: Tree, new: Tree) -> list[str]:
    """The commands that turn one tree into another."""
    lines = [f"rm -f {shell_word(path)}" for path in old if path not in new]
    for path, entry in new.items():
        if old.get(path) == entry:
            continue
        word = shell_word(path)
        directory = os.path.dirname(path)
        if directory and directory not in (os.path.dirname(name) for name in old):
            lines.append(f"mkdir -p {shell_word(directory)}")
        if isinstance(entry, Link):
            lines.append(f"ln -sfn {shell_word(entry.target)} {word}")
        elif isinstance(entry, File) and len(entry.content) > 50_000:
            lines.append(f"# {word}: {len(entry.content)} bytes, a precompiled header: not shown")
        else:
            assert isinstance(entry, File)
            mark = f' | sed "s|{MARK.decode()}|$ROOT|g"' if MARK in entry.content else ""
            lines.append(f"printf {printed(entry.content)}{mark} > {word}")
            if entry.mode != 0o644:
                lines.append(f"chmod {entry.mode:o} {word}")
            if entry.stamp is not None:
                lines.append(f"touch -d @{entry.stamp} {word}")
    return lines


def shell_command(state: State) -> str:
    """A subshell that runs the state's command, through $WRAPPER when that is not empty."""
    command = state.command
    words = " ".join(shell_word(word) for word in command_line(command, MARK))
    source = shell_word(MARK + b"/" + command.source) if command.stdin else "/dev/null"
    exports = [f"umask {command.umask:03o}", 'PATH="$ROOT/tools:$PATH"']
    exports += [
        f"export {os.fsdecode(name)}={shell_word(value.replace(ROOT, MARK))}"
        for name, value in command.environment
    ]
    if command.explicit:
        call = f"$WRAPPER {words}"
    else:
        exports.append('if [ -n "$WRAPPER" ]; then PATH="$ROOT/../links:$PATH"; fi')
        call = words
    setup = "; ".join(exports)
    cwd = os.fsdecode(command.cwd)
    return f'( {setup}; cd "$ROOT"/{cwd} && {call} ) < {source}; echo "status $?"'


def script(states: Sequence[State], wrapper: bytes, found: Sequence[str]) -> str:
    """A shell script that shows the difference in a new temporary directory."""
    lines = ["#!/bin/sh", *(f"# {line}" for line in "\n".join(found).splitlines())]
    lines += [
        "# Runs the last command plainly and through $1; the two blocks should be the same.",
        f"wrapper=${{1:-{shlex.quote(os.fsdecode(wrapper))}}}",
        "PLACE=$(mktemp -d); ROOT=$PLACE/project",
        'export CCACHE_DIR="$PLACE/cache" XDG_RUNTIME_DIR="$PLACE/run"',
        'mkdir "$PLACE/run"; mkdir -m 700 "$PLACE/run/pycc"',
        'for d in build build2 out out2 keep src tools; do mkdir -p "$ROOT/$d"; done',
        'ln -s build "$ROOT/cwdlink"; mkdir "$PLACE/links"; cd "$ROOT" || exit 1',
        'for n in gcc g++ clang clang++ ccache; do ln -s "$wrapper" "$PLACE/links/$n"; done',
        LISTING,
    ]
    old: Tree = {}
    for index, state in enumerate(states):
        tree = full_tree(state, MARK)
        lines += ["", f"# {state.note}", *shell_tree(old, tree)]
        old = tree
        if index + 1 < len(states):
            lines.append(f"WRAPPER=$wrapper; {shell_command(state)}")
    prior = states[-1].command.prior
    if prior:
        lines.append(f"# Before each of the two runs there was at the output path: {prior}")
    lines += ["", 'touch "$PLACE/stamp"; rm -rf out/* out2/*', 'WRAPPER=""; echo "== plain"']
    lines += [f"{shell_command(states[-1])}; listing", "rm -rf out/* out2/*"]
    lines += ['WRAPPER=$wrapper; echo "== wrapped"', f"{shell_command(states[-1])}; listing"]
    return "\n".join(lines) + "\n"
