"""The compiler behind the wrappers, and what would change the answer."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pycc import native
from pycc.launcher.build_launcher import MARK, mark_launcher
from pycc.locate import is_launcher, is_wrapper, locate


class Machine:
    """Directories of programs below a temporary one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "work").mkdir()

    def program(self, name: str, content: bytes = b"#!/bin/sh\n", mode: int = 0o755) -> Path:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
        return path

    def link(self, name: str, target: str) -> None:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(target)

    def path(self, *directories: str) -> bytes:
        return b":".join(os.fsencode(self.root / name) for name in directories)

    def locate(self, name: str, *directories: str) -> str | None:
        found = self.located(name, *directories)
        return None if found is None else found[0]

    def located(self, name: str, *directories: str) -> tuple[str, bytes] | None:
        cwd = os.fsencode(self.root / "work")
        found = locate(os.fsencode(name), self.path(*directories), cwd)
        if found is None:
            return None
        return os.fsdecode(found.path).removeprefix(f"{self.root}/"), found.witnesses


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_first_on_path_is_taken(machine: Machine) -> None:
    machine.program("b/gcc")
    machine.program("c/gcc")
    assert machine.locate("gcc", "a", "b", "c") == "b/gcc"


@pytest.mark.parametrize("target", ["pycc", "pycc-1.2", "ccache", "ccache-swig", "distcc"])
def test_links_to_wrappers_are_passed_over(machine: Machine, target: str) -> None:
    machine.program(f"bin/{target}")
    machine.link("a/gcc", f"../bin/{target}")
    machine.program("b/gcc")
    assert machine.locate("gcc", "a", "b") == "b/gcc"


def test_a_chain_of_links_is_followed_to_its_end(machine: Machine) -> None:
    machine.program("bin/ccache")
    machine.link("x/alternative", "../bin/ccache")
    machine.link("a/gcc", "../x/alternative")
    machine.program("bin/gcc-12")
    machine.link("b/gcc", "../bin/gcc-12")
    assert machine.locate("gcc", "a", "b") == "b/gcc"


def test_a_copy_of_the_launcher_is_known_by_its_mark(machine: Machine, tmp_path: Path) -> None:
    copy = machine.program("a/gcc", Path(shutil.which("true") or "").read_bytes())
    assert not is_launcher(os.fsencode(copy))
    mark_launcher(copy)
    assert is_launcher(os.fsencode(copy))
    machine.program("b/gcc")
    assert machine.locate("gcc", "a", "b") == "b/gcc"


@pytest.mark.parametrize(
    "head",
    [b"", b"\x7fELF", b"\x7fELF" + bytes(12), b"\x7fELX" + bytes(5) + MARK, b"x" * 9 + MARK],
)
def test_what_carries_no_mark(machine: Machine, head: bytes) -> None:
    assert not is_wrapper(os.fsencode(machine.program("a/gcc", head)))


@pytest.mark.parametrize("kind", ["directory", "no right to run", "dangling link", "pipe"])
def test_what_cannot_be_run_is_passed_over(machine: Machine, kind: str) -> None:
    machine.program("b/gcc")
    (machine.root / "a").mkdir()
    match kind:
        case "directory":
            (machine.root / "a" / "gcc").mkdir()
        case "no right to run":
            machine.program("a/gcc", mode=0o644)
        case "dangling link":
            machine.link("a/gcc", "gone")
        case "pipe":
            os.mkfifo(machine.root / "a" / "gcc", 0o755)
    assert machine.locate("gcc", "a", "b") == "b/gcc"


def test_nothing_is_found_where_there_is_nothing(machine: Machine) -> None:
    machine.link("a/gcc", "../bin/ccache")
    machine.program("bin/ccache")
    assert machine.locate("gcc", "a", "none") is None


@pytest.mark.parametrize("name", ["./gcc", "sub/gcc", "../b/gcc"])
def test_a_name_with_a_slash_is_itself(machine: Machine, name: str) -> None:
    machine.program("a/gcc")
    machine.program("b/gcc")
    for directory in ("work", "work/sub"):
        (machine.root / directory).mkdir(exist_ok=True)
        machine.program(f"{directory}/gcc")
    found = machine.locate(name, "a")
    assert found is not None
    assert (machine.root / found).samefile(machine.root / "work" / name)


def test_dot_dot_behind_a_link_is_not_folded(machine: Machine) -> None:
    (machine.root / "other" / "sub").mkdir(parents=True)
    machine.program("other/gcc")
    machine.program("work/gcc")
    machine.link("work/link", "../other/sub")
    found = machine.locate("link/../gcc")
    assert found is not None
    assert (machine.root / found).samefile(machine.root / "other/gcc")


def test_a_wrapper_with_a_slash_is_looked_up_by_its_name(machine: Machine) -> None:
    machine.program("bin/ccache")
    machine.link("work/gcc", "../bin/ccache")
    machine.program("a/gcc")
    assert machine.locate("./gcc", "a") == "a/gcc"


def test_empty_and_relative_directories_are_those_of_the_call(machine: Machine) -> None:
    machine.program("work/gcc")
    cwd = os.fsencode(machine.root / "work")
    for path in (b"", b"/none:", b".", b":/none"):
        found = locate(b"gcc", path, cwd)
        assert found is not None
        assert os.path.samefile(found.path, machine.root / "work/gcc")


def test_names_need_not_be_text(machine: Machine) -> None:
    path = os.path.join(os.fsencode(machine.root), b"work/\xff\xfe")
    Path(os.fsdecode(path)).write_bytes(b"#!/bin/sh\n")
    os.chmod(path, 0o755)
    found = locate(b"./\xff\xfe", b"", os.fsencode(machine.root / "work"))
    assert found is not None
    assert found.path == path


def test_our_launcher_by_distccs_name_is_distcc(machine: Machine) -> None:
    launcher = machine.program("bin/pycc", b"\x7fELF" + bytes(12))
    mark_launcher(launcher)
    machine.link("bin/distcc", "pycc")
    machine.link("a/gcc", "../bin/distcc")
    machine.link("b/gcc", "../bin/pycc")
    machine.program("c/gcc")
    found = locate(b"gcc", machine.path("a", "b", "c"), b"/")
    assert found is not None
    names = [os.fsdecode(name).removeprefix(f"{machine.root}/") for name in found.skipped]
    assert names == ["bin/distcc", "bin/pycc"]


def test_skipped_wrappers_are_named(machine: Machine) -> None:
    machine.program("bin/distcc")
    machine.link("a/gcc", "../bin/distcc")
    machine.program("b/gcc")
    found = locate(b"gcc", machine.path("a", "b"), b"/")
    assert found is not None
    assert found.skipped == (os.fsencode(machine.root / "bin/distcc"),)


CHANGES = [
    "nothing",
    "new in front",
    "link moves",
    "edited",
    "removed",
    "wrapper changes",
    "behind",
]


@pytest.mark.parametrize("change", CHANGES)
def test_witnesses_see_what_would_change_the_answer(machine: Machine, change: str) -> None:
    (machine.root / "a").mkdir()
    machine.program("bin/ccache")
    machine.program("bin/gcc-11")
    machine.program("bin/gcc-12")
    machine.link("w/gcc", "../bin/ccache")
    machine.link("b/gcc", "../bin/gcc-12")
    directories = ("w", "a", "none/at/all", "b", "c")
    found = machine.located("gcc", *directories)
    assert found is not None
    assert found[0] == "b/gcc"
    assert native.check(found[1]) == -1
    match change:
        case "new in front":
            machine.program("a/gcc")
        case "link moves":
            (machine.root / "b/gcc").unlink()
            machine.link("b/gcc", "../bin/gcc-11")
        case "edited":
            machine.program("bin/gcc-12", b"#!/bin/sh\nexec true\n")
        case "removed":
            (machine.root / "bin/gcc-12").unlink()
        case "wrapper changes":
            (machine.root / "w/gcc").unlink()
            machine.program("w/gcc")
        case "behind":
            machine.program("c/gcc")
    assert (native.check(found[1]) == -1) is (change in ("nothing", "behind"))


def test_a_directory_that_appears_on_path_is_seen(machine: Machine) -> None:
    machine.program("b/gcc")
    found = machine.located("gcc", "new/bin", "b")
    assert found is not None
    (machine.root / "new").mkdir()
    (machine.root / "new/bin").mkdir()
    machine.program("new/bin/gcc")
    assert native.check(found[1]) >= 0
