"""Which programs a daemon runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pycc.remote.compilers import (
    CommandList,
    Missing,
    Refused,
    Rules,
    choose,
    nothing_to_run,
    runnable,
)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    for name in ("gcc", "x86_64-linux-gnu-g++-12", "clang++-14", "odd"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    (tmp_path / "links").mkdir()
    (tmp_path / "bin" / "ccache").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "ccache").chmod(0o755)
    (tmp_path / "links" / "gcc").symlink_to(tmp_path / "bin" / "ccache")
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "odd").symlink_to("/bin/true")
    return tmp_path


def rules(machine: Path, **more: object) -> Rules:
    path = os.fsencode(f"{machine}/links:{machine}/bin")
    fields = {"search_path": path, "lists": (os.fsencode(machine / "list"),), **more}
    return Rules(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (b"gcc", "gcc"),
        (b"/usr/bin/gcc", "gcc"),
        (b"/bin/gcc", "gcc"),
        (b"x86_64-linux-gnu-g++-12", "x86_64-linux-gnu-g++-12"),
        (b"clang++-14", "clang++-14"),
        (b"odd", "odd"),
    ],
)
def test_compilers_are_found_behind_wrappers(machine: Path, name: bytes, found: str) -> None:
    assert choose(name, rules(machine)) == os.fsencode(machine / "bin" / found)


def test_a_compiler_that_is_not_here(machine: Path) -> None:
    assert choose(b"gcc-99", rules(machine)) == Missing(b"gcc-99")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (b"sh", "sh not in"),
        (b"/bin/sh", "sh not in"),
        (b"gcc\n", "not in"),
        (b"/tmp/gcc", "cannot be an absolute path"),
        (b"../gcc", "cannot be an absolute path"),
        (b"/usr/bin/../../tmp/gcc", "cannot be an absolute path"),
        (b"", "no compiler"),
        (b"/usr/bin/", "no compiler"),
        (b"g\0cc", "no compiler"),
    ],
)
def test_other_programs_are_refused(machine: Path, name: bytes, said: str) -> None:
    refused = choose(name, rules(machine))
    assert isinstance(refused, Refused)
    assert said in refused.reason


def test_anything_runs_where_that_was_asked_for(machine: Path) -> None:
    loose = rules(machine, anything=True)
    assert choose(b"/bin/false", loose) == b"/bin/false"
    assert choose(os.fsencode(machine / "links" / "gcc"), loose) == os.fsencode(
        machine / "bin" / "gcc"
    )
    assert choose(b"/missing/gcc", loose) == os.fsencode(machine / "bin" / "gcc")


@pytest.mark.parametrize(
    ("name", "words", "found"),
    [
        (b"gcc", 1, b"/opt/cross/bin/gcc"),
        (b"/usr/bin/gcc", 1, b"/opt/cross/bin/gcc"),
        (b"/x/bin/gcc", 2, b"/opt/cross/bin/gcc"),
        (b"/x/y/gcc", 2, None),
        (b"g++", 1, None),
        (b"gcc", 0, None),
    ],
)
def test_a_list_of_commands(name: bytes, words: int, found: bytes | None) -> None:
    assert CommandList((b"/opt/cross/bin/gcc",), words).find(name) == found


def test_what_can_be_run_at_all(machine: Path) -> None:
    bin_ = os.fsencode(machine / "bin")
    assert runnable(rules(machine)) == {
        name: bin_ + b"/" + name
        for name in (b"clang++-14", b"gcc", b"odd", b"x86_64-linux-gnu-g++-12")
    }


def test_where_nothing_can_be_run_the_remedies_are_named(machine: Path) -> None:
    links = rules(machine, search_path=os.fsencode(machine / "links"))
    assert runnable(links) == {}
    text = nothing_to_run(links)
    assert f"{machine}/links" in text
    assert f"{machine}/list" in text
    assert all(remedy in text for remedy in ("DISTCC_CMDLIST", "DISTCCD_PATH", "--install-links"))


def test_listed_commands_count_if_they_are_there(machine: Path) -> None:
    odd = os.fsencode(machine / "bin/odd")
    listed = CommandList((odd, b"/missing/cc"), 1)
    found = runnable(rules(machine, search_path=b"/missing", lists=(), commands=listed))
    assert found == {b"odd": odd}
