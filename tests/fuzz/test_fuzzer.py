"""The compile fuzzer's own rooms: states are pure values, and the oracle sees what it should."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from tests.fuzz.differential import toolchain
from tests.fuzz.oracle import Oracle, check
from tests.fuzz.project import Toolchain, first_state
from tests.fuzz.scenarios import SCENARIOS
from tests.fuzz.states import (
    File,
    Link,
    State,
    Tree,
    apply_tree,
    command_line,
    full_tree,
    quote_response,
)
from tests.fuzz.walk import Walk

TOOLS = Toolchain(b"gcc", b"g++", clang=False, objc=False)
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

# Called through a link named like the compiler, as a masquerading wrapper is.
HONEST = '#!/bin/sh\nexec /usr/bin/"${0##*/}" "$@"\n'
LIARS = {
    "stderr": '#!/bin/sh\n/usr/bin/"${0##*/}" "$@" 2>/dev/null\n',
    "status": '#!/bin/sh\n/usr/bin/"${0##*/}" "$@"\nexit 3\n',
    "mode": '#!/bin/sh\numask 077\nexec /usr/bin/"${0##*/}" "$@"\n',
    "content": '#!/bin/sh\nexec /usr/bin/"${0##*/}" -DDEF=99 "$@"\n',
    "leftover": '#!/bin/sh\n: >"$TMPDIR/left"\nexec /usr/bin/"${0##*/}" "$@"\n',
    "extra file": '#!/bin/sh\n: >extra\nexec /usr/bin/"${0##*/}" "$@"\n',
}


def oracle_for(script: str, tmp_path: Path) -> Oracle:
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(script)
    wrapper.chmod(0o755)
    return Oracle(os.fsencode(tmp_path / "place"), toolchain("gcc"), os.fsencode(wrapper), {})


def warned() -> State:
    state = first_state(TOOLS)
    source = state.command.source
    state = state.write(source, state.text(source) + b"static int unused;\n")
    return state.set(state.command.with_group("warn", (b"-Wall",)))


@needs_gcc
def test_honest_wrapper_differs_in_nothing(tmp_path: Path) -> None:
    oracle = oracle_for(HONEST, tmp_path)
    assert not check(oracle, warned()).found


@needs_gcc
@pytest.mark.parametrize("lie", LIARS)
def test_wrapper_that_lies_is_seen(lie: str, tmp_path: Path) -> None:
    checked = check(oracle_for(LIARS[lie], tmp_path), warned())
    assert checked.found
    assert not checked.undecided


def test_walk_is_the_same_for_the_same_seed() -> None:
    walks = [Walk(7, TOOLS, first_state(TOOLS)) for _ in range(2)]
    for _ in range(300):
        assert walks[0].next() == walks[1].next()
        for walk in walks:
            walk.tell(compiled=True)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_yields_states_from_every_source(name: str) -> None:
    for source in TOOLS.sources:
        for seed in range(5):
            states = list(SCENARIOS[name](random.Random(seed), first_state(TOOLS, source), TOOLS))
            assert states
            for state in states:
                assert state.command.stdin or state.command.source in state.tree


def test_nested_response_file_holds_the_middle_of_the_command_line() -> None:
    state = first_state(TOOLS).replace(response=2)
    tree = full_tree(state, b"/root")
    outer, inner = tree[b"rsp/1"], tree[b"rsp/2"]
    assert isinstance(outer, File)
    assert isinstance(inner, File)
    assert b"@../rsp/2" in outer.content
    assert b"-I../inc1" in inner.content
    assert command_line(state.command, b"/root") == [b"gcc", b"@../rsp/1"]


def test_blank_is_escaped_in_a_response_file() -> None:
    assert quote_response(b'a "b\\') == b'a\\ \\"b\\\\'


@pytest.mark.parametrize("in_place", [True, False])
def test_tree_on_disk_follows_the_state(in_place: bool, tmp_path: Path) -> None:
    root = os.fsencode(tmp_path)
    old: Tree = {b"d/a": File(b"one"), b"d/l": Link(b"a"), b"gone/x": File(b"x")}
    new: Tree = {b"d/a": File(b"two", mode=0o755), b"d/l": File(b"three")}
    apply_tree(root, {}, old, in_place=in_place)
    apply_tree(root, old, new, in_place=in_place)
    assert (tmp_path / "d/a").read_bytes() == b"two"
    assert (tmp_path / "d/l").read_bytes() == b"three"
    assert not (tmp_path / "d/l").is_symlink()
    assert not (tmp_path / "gone").exists()
