"""Tests of pycc.links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pycc.errors import Fatal
from pycc.links import (
    Present,
    find_compilers,
    install_links,
    is_compiler_name,
    plan_links,
    search_directories,
)

COMPILERS = """
    gcc g++ cc c++ clang clang++ c89 c99
    gcc-12 g++-12 clang-14 clang++-14 gcc-4.9 gcc-12.2.0 gcc13 g++13 clang15 clang++15
    gcc-mp-13 clang-mp-16
    x86_64-linux-gnu-gcc x86_64-linux-gnu-gcc-12 x86_64-linux-gnu-g++-12 x86_64-pc-linux-gnu-gcc
    x86_64-linux-musl-gcc x86_64-w64-mingw32-gcc-posix i686-w64-mingw32-g++-12-win32
    arm-none-eabi-gcc arm-none-eabi-g++ arm-linux-gnueabihf-gcc-12 armv7a-linux-androideabi21-clang
    aarch64-linux-gnu-gcc aarch64_be-none-linux-gnu-gcc riscv64-unknown-elf-gcc avr-gcc
    msp430-elf-gcc
    xtensa-esp32-elf-g++ mips64el-linux-gnuabi64-gcc powerpc64le-linux-gnu-cc s390x-linux-gnu-c++
    sh4-linux-gnu-gcc sparc64-linux-gnu-gcc-13 or1k-elf-gcc wasm32-wasi-clang++
""".split()

OTHERS = """
    gcc-ar gcc-nm gcc-ranlib gcc-ar-12 gcov gcov-12 x86_64-linux-gnu-gcc-ar
    x86_64-linux-gnu-gcc-nm-12
    clang-format clang-format-14 clang-tidy clang-cpp clang-cl clang-check clangd clang++-check
    cpp cpp-12 cc1 cc1plus cc1obj c++filt c++decl as ld collect2 gccgo gfortran g77 gdb gccmakedep
    ccache distcc pycc ccache-gcc distcc-gcc afl-gcc afl-clang-fast++ hfuzz-clang musl-gcc c89-gcc
    c99-gcc winegcc mpicc icc tcc pcc hipcc nvcc rustc gcc- -gcc gcc-x gcc.exe gcc~ clang-
    arm-none-eabi-
""".split()


@pytest.mark.parametrize("name", COMPILERS)
def test_name_is_a_compiler(name: str) -> None:
    assert is_compiler_name(name.encode())


@pytest.mark.parametrize("name", [*OTHERS, "", "gcc\n", "gcc-\u0661\u0662"])
def test_name_is_no_compiler(name: str) -> None:
    assert not is_compiler_name(name.encode())


def test_name_that_is_no_utf_8_is_no_compiler() -> None:
    assert not is_compiler_name(b"gcc-\xff")


@pytest.mark.parametrize(
    ("present", "link", "remove", "refuse"),
    [
        (None, True, False, False),
        (Present.OURS, True, False, False),
        (Present.CURRENT, False, False, False),
        (Present.FOREIGN, False, False, True),
    ],
)
def test_plan_for_a_compiler(
    present: Present | None, link: bool, remove: bool, refuse: bool
) -> None:
    plan = plan_links([b"gcc"], {b"gcc": present} if present else {})
    assert (bool(plan.link), bool(plan.remove), bool(plan.refuse)) == (link, remove, refuse)


@pytest.mark.parametrize(
    ("present", "removed"),
    [(Present.OURS, (b"gcc",)), (Present.CURRENT, (b"gcc",)), (Present.FOREIGN, ())],
)
def test_plan_for_a_compiler_that_is_gone(present: Present, removed: tuple[bytes, ...]) -> None:
    assert plan_links([], {b"gcc": present}).remove == removed


class Machine:
    """A directory of programs, a launcher, and a place for the links."""

    def __init__(self, root: Path) -> None:
        self.programs = root / "programs"
        self.links = root / "links"
        self.launcher = root / "pycc"
        self.programs.mkdir()
        self.launcher.write_bytes(b"\x7fELF\2\1\1\0\0pycc\0\1\0")
        self.launcher.chmod(0o755)

    def add(self, *names: str, mode: int = 0o755) -> None:
        for name in names:
            (self.programs / name).write_text("#!/bin/sh\n")
            (self.programs / name).chmod(mode)

    def install(self) -> list[bytes]:
        return install_links(bytes(self.links), bytes(self.launcher), bytes(self.programs))

    def found(self) -> set[bytes]:
        return find_compilers([bytes(self.programs)])


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr("pycc.links.ALWAYS_SEARCHED", ())
    return Machine(tmp_path)


def test_compiler_gets_a_link_to_the_launcher(machine: Machine) -> None:
    machine.add("avr-elf-gcc")
    assert machine.install() == [b"avr-elf-gcc"]
    assert (machine.links / "avr-elf-gcc").readlink() == machine.launcher


def test_compilers_of_this_machine_are_found_without_a_path() -> None:
    assert b"gcc" in find_compilers(search_directories(b""))


def test_directory_is_searched_once() -> None:
    assert search_directories(b"/usr/bin:/usr//bin/:/usr/bin").count(b"/usr/bin") == 1


def test_relative_directory_of_the_path_is_not_searched() -> None:
    assert all(d.startswith(b"/") for d in search_directories(b":.:bin"))


def test_program_that_cannot_be_run_is_no_compiler(machine: Machine) -> None:
    machine.add("gcc", mode=0o644)
    assert machine.found() == set()


def test_directory_with_the_name_of_a_compiler_is_none(machine: Machine) -> None:
    (machine.programs / "gcc").mkdir()
    assert machine.found() == set()


def test_dangling_link_is_no_compiler(machine: Machine) -> None:
    (machine.programs / "gcc").symlink_to("nowhere")
    assert machine.found() == set()


@pytest.mark.parametrize("wrapper", ["ccache", "distcc", "pycc"])
def test_link_to_a_wrapper_is_no_compiler(machine: Machine, wrapper: str) -> None:
    machine.add(wrapper)
    (machine.programs / "gcc").symlink_to(wrapper)
    assert machine.found() == set()


def test_copy_of_the_launcher_is_no_compiler(machine: Machine) -> None:
    copy = machine.programs / "gcc"
    copy.write_bytes(machine.launcher.read_bytes())
    copy.chmod(0o755)
    assert machine.found() == set()


def test_link_of_ours_does_not_count_as_a_compiler(machine: Machine) -> None:
    machine.add("avr-elf-gcc")
    machine.install()
    assert find_compilers([bytes(machine.links)]) == set()


def test_second_install_changes_nothing(machine: Machine) -> None:
    machine.add("avr-elf-gcc")
    machine.install()
    before = (machine.links / "avr-elf-gcc").lstat()
    assert machine.install() == [b"avr-elf-gcc"]
    assert (machine.links / "avr-elf-gcc").lstat() == before


def test_link_is_removed_when_its_compiler_is_gone(machine: Machine) -> None:
    machine.add("avr-elf-gcc", "avr-elf-g++")
    machine.install()
    (machine.programs / "avr-elf-gcc").unlink()
    assert machine.install() == [b"avr-elf-g++"]
    assert not (machine.links / "avr-elf-gcc").is_symlink()


def test_link_of_a_deleted_environment_is_turned_to_this_launcher(machine: Machine) -> None:
    machine.add("avr-elf-gcc")
    machine.links.mkdir()
    (machine.links / "avr-elf-gcc").symlink_to("/deleted/bin/pycc")
    machine.install()
    assert (machine.links / "avr-elf-gcc").readlink() == machine.launcher


@pytest.mark.parametrize("link", [True, False])
def test_thing_that_is_not_ours_is_refused_and_nothing_is_changed(
    machine: Machine, link: bool
) -> None:
    machine.add("avr-elf-gcc", "arm-elf-gcc")
    machine.links.mkdir()
    taken = machine.links / "avr-elf-gcc"
    taken.symlink_to("/usr/bin/gcc") if link else taken.write_text("mine")
    with pytest.raises(Fatal, match=r"not a link of pycc's.*links/avr-elf-gcc"):
        machine.install()
    assert list(machine.links.iterdir()) == [taken]


def test_file_of_another_name_is_left_alone(machine: Machine) -> None:
    machine.add("avr-elf-gcc")
    machine.links.mkdir()
    (machine.links / "README").write_text("mine")
    machine.install()
    assert (machine.links / "README").read_text() == "mine"


def test_directory_that_cannot_be_made_is_a_clear_error(machine: Machine) -> None:
    machine.add("avr-elf-gcc")
    machine.links.write_text("a file")
    with pytest.raises(Fatal, match=r"cannot make links in .*/links: File exists"):
        machine.install()


def test_missing_permission_says_what_to_do(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    machine.add("avr-elf-gcc")
    monkeypatch.setattr(os, "symlink", refuse)
    with pytest.raises(Fatal, match=r"Permission denied; run this as root, or name a directory"):
        machine.install()


def test_machine_without_compilers_is_a_clear_error(machine: Machine) -> None:
    with pytest.raises(Fatal, match="no compiler was found"):
        machine.install()
    assert not machine.links.exists()


def test_spaces_and_bytes_that_are_no_utf_8_in_the_path_work(machine: Machine) -> None:
    machine.add("avr-elf-gcc")
    directory = bytes(machine.links) + b" \xff"
    install_links(directory, bytes(machine.launcher), bytes(machine.programs))
    assert os.readlink(directory + b"/avr-elf-gcc") == bytes(machine.launcher)
