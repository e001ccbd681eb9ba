"""update-distcc-symlinks: whose links are renewed, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pycc import masquerade
from pycc.distcc_config import Program
from pycc.errors import Fatal


class Machine:
    """Programs, a launcher beside the command, our directory and one of distcc's."""

    def __init__(self, root: Path) -> None:
        self.programs, self.ours, self.distccs = (root / n for n in ("bin", "links", "distcc"))
        self.programs.mkdir()
        self.launcher = self.add("pycc", b"\x7fELF\2\1\1\0\0pycc\0\1\0")
        self.said: list[str] = []

    def add(self, name: str, content: bytes = b"#!/bin/sh\n") -> Path:
        path = self.programs / name
        path.write_bytes(content)
        path.chmod(0o755)
        return path

    def update(self, *places: Path) -> str:
        self.said.clear()
        masquerade.update(
            [bytes(place) for place in places],
            bytes(self.programs),
            self.said.append,
            default=bytes(self.ours),
            others=[bytes(self.distccs)],
        )
        return "\n".join(self.said)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr("pycc.links.ALWAYS_SEARCHED", ())
    monkeypatch.setattr("sys.argv", [str(tmp_path / "bin/update-distcc-symlinks")])
    made = Machine(tmp_path)
    made.add("avr-elf-gcc")
    return made


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_links_are_made_and_removed_and_both_are_said(machine: Machine) -> None:
    assert machine.update() == f"{machine.ours}: 1 links\n  added: avr-elf-gcc"
    (machine.programs / "avr-elf-gcc").unlink()
    machine.add("avr-elf-g++")
    said = machine.update()
    assert said == f"{machine.ours}: 1 links\n  added: avr-elf-g++\n  removed: avr-elf-gcc"
    assert (machine.ours / "avr-elf-g++").readlink() == machine.launcher
    assert machine.update() == f"{machine.ours}: 1 links"


def test_a_directory_of_distccs_is_renewed_where_it_holds_nothing_else(machine: Machine) -> None:
    machine.distccs.mkdir()
    (machine.distccs / "README").write_text("")
    machine.update()
    assert names(machine.distccs) == ["README", "avr-elf-gcc"]


def test_links_to_distcc_itself_are_left_alone(machine: Machine) -> None:
    machine.distccs.mkdir()
    (machine.distccs / "cc").symlink_to("../../bin/distcc")
    assert f"{machine.distccs}: left alone" in machine.update()
    assert names(machine.distccs) == ["cc"]
    assert names(machine.ours) == ["avr-elf-gcc"]


def test_a_directory_of_distccs_is_not_made(machine: Machine) -> None:
    machine.update()
    assert not machine.distccs.exists()


def test_a_directory_that_is_named_is_the_only_one(machine: Machine, tmp_path: Path) -> None:
    machine.distccs.mkdir()
    machine.update(tmp_path / "mine")
    assert names(tmp_path / "mine") == ["avr-elf-gcc"]
    assert names(machine.distccs) == []
    assert not machine.ours.exists()


def test_without_a_launcher_nothing_is_made(machine: Machine) -> None:
    machine.launcher.unlink()
    with pytest.raises(Fatal, match="install pycc completely"):
        machine.update()
    assert not machine.ours.exists()


def test_distcc_config_makes_the_same_links(machine: Machine, tmp_path: Path) -> None:
    variables = {"PATH": str(machine.programs)}
    Program(variables, privileged=False, say=machine.said.append).run(
        ["--install", str(tmp_path / "mine")]
    )
    assert names(tmp_path / "mine") == ["avr-elf-gcc"]
    assert machine.said[0] == f"{tmp_path / 'mine'}: 1 links"
