"""distcc-config: what it writes is what clients read, and nothing that was there is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from pycc.distcc_config import (
    Action,
    Program,
    checked_hosts,
    hosts_file,
    read_words,
    replace_file,
    value_in,
    with_value,
)
from pycc.errors import Fatal
from pycc.remote.client_settings import read_settings
from tests.daemon_kit import ROOT


@pytest.mark.parametrize(
    ("words", "action"),
    [
        ([], Action("--help")),
        (["--help"], Action("--help")),
        (["--set-hosts", "red", "blue/3"], Action("--set-hosts", ("red", "blue/3"))),
        (["--get-hosts"], Action("--get-hosts")),
        (["--set-env", "A", "b"], Action("--set-env", ("A", "b"))),
        (["--get-env"], Action("--get-env")),
        (["--get-env", "A"], Action("--get-env", ("A",))),
        (["--set-verbose", "1"], Action("--set-env", ("DISTCC_VERBOSE", "1"))),
        (["--get-verbose"], Action("--get-env", ("DISTCC_VERBOSE",))),
        (["--set-log", "/l"], Action("--set-env", ("DISTCC_LOG", "/l"))),
        (["--get-log"], Action("--get-env", ("DISTCC_LOG",))),
        (["--update-masquerade"], Action("--install")),
        (["--update-masquerade-with-crossdev"], Action("--install")),
        (["--install", "/d"], Action("--install", ("/d",))),
    ],
)
def test_words_are_understood(words: list[str], action: Action) -> None:
    assert read_words(words) == action


@pytest.mark.parametrize(
    "words",
    [["--set-hosts"], ["--set-env", "A"], ["--get-hosts", "x"], ["--remove"], ["red"], ["--get-"]],
)
def test_other_words_are_refused(words: list[str]) -> None:
    with pytest.raises(Fatal, match="see distcc-config --help"):
        read_words(words)


ENV = '# distcc\nDISTCC_LOG=""\nPATH="/usr/lib/distcc/bin"\n'


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        (ENV, "DISTCC_LOG", ""),
        (ENV, "PATH", "/usr/lib/distcc/bin"),
        (ENV, "DISTCC_VERBOSE", None),
        (ENV, "LOG", None),
        ("A=1\nA='2'\n", "A", "2"),
        ("export A=1", "A", "1"),
        ('# A="1"\n', "A", None),
    ],
)
def test_a_variable_is_read(text: str, name: str, value: str | None) -> None:
    assert value_in(text, name) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 'A="x y"\n'),
        ("# first\nB=1", '# first\nB=1\nA="x y"\n'),
        ('A="1"\n\nB=1\n', 'A="x y"\n\nB=1\n'),
        ("A=1\nB=1\nA=2\n", 'A="x y"\nB=1\n'),
        ("AA=1\n", 'AA=1\nA="x y"\n'),
    ],
)
def test_a_variable_is_set_in_its_place_and_all_else_stays(text: str, expected: str) -> None:
    assert with_value(text, "A", "x y") == expected
    assert with_value(expected, "A", "x y") == expected


@pytest.mark.parametrize("value", ['a"b', "a$b", "a`b`", "a\\b", "a\nB=1", "a\0"])
def test_what_a_shell_would_obey_is_no_value(value: str) -> None:
    with pytest.raises(Fatal, match="cannot hold"):
        with_value("", "A", value)


@pytest.mark.parametrize("name", ["", "A B", "A=B", "1A", "A\n", "Ä"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(Fatal, match="no name of a variable"):
        with_value("", name, "x")


def test_hosts_are_written_where_the_clients_of_this_user_read() -> None:
    assert hosts_file({"HOME": "/h"}, "/", privileged=True) == "/etc/distcc/hosts"
    assert hosts_file({"HOME": "/h"}, "/", privileged=False) == "/h/.distcc/hosts"
    both = {"HOME": "/h", "DISTCC_DIR": "/d"}
    assert hosts_file(both, "/", privileged=False) == "/d/hosts"
    with pytest.raises(Fatal, match="HOME is not set"):
        hosts_file({}, "/", privileged=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["red blue/3,lzo"], "2 hosts"),
        (["red", "@blue"], "2 hosts"),
        (["localhost"], "1 host"),
        (["+zeroconf"], "0 hosts and those that announce themselves"),
        (["red", "+redis://h"], "1 host and those that announce themselves"),
        (["--randomize"], "no host: nothing is distributed"),
        ([""], "no host: nothing is distributed"),
    ],
)
def test_a_list_is_counted(words: list[str], said: str) -> None:
    assert checked_hosts(words) == (" ".join(words) + "\n", said)


def test_a_list_that_no_client_would_take_is_refused_with_distccs_status() -> None:
    with pytest.raises(Fatal, match=r"red,what.*unrecognized option") as problem:
        checked_hosts(["red,what"])
    assert problem.value.status == 106


class Machine:
    """A file system of its own, with somebody who configures it."""

    def __init__(self, root: Path, *, privileged: bool = True) -> None:
        self.root = root
        self.said: list[str] = []
        self.variables = {"HOME": str(root / "home"), "PATH": "/usr/bin"}
        self.privileged = privileged
        (root / "home").mkdir()

    def run(self, *words: str) -> str:
        self.said.clear()
        program = Program(
            self.variables, root=str(self.root), privileged=self.privileged, say=self.said.append
        )
        program.run(words)
        return "\n".join(self.said)

    def seen(self) -> list[str]:
        """The hosts that a client of this user has."""
        variables = {name.encode(): value.encode() for name, value in self.variables.items()}

        def read(path: bytes) -> str | None:
            inside = os.fsdecode(path).replace("/etc", str(self.root / "etc"), 1)
            place = Path(inside if path.startswith(b"/etc") else os.fsdecode(path))
            return place.read_text() if place.exists() else None

        hosts = read_settings(variables, read).hosts
        return [] if hosts is None else [host.spelled for host in hosts.hosts]


@pytest.mark.parametrize("privileged", [True, False])
def test_hosts_that_were_set_are_what_clients_see(tmp_path: Path, privileged: bool) -> None:
    machine = Machine(tmp_path, privileged=privileged)
    path = tmp_path / ("etc/distcc/hosts" if privileged else "home/.distcc/hosts")
    assert machine.run("--set-hosts", "red blue/3,lzo") == f"{path}: 2 hosts"
    assert machine.seen() == ["red", "blue/3,lzo"]
    assert machine.run("--get-hosts") == "red blue/3,lzo"
    assert path.stat().st_mode & 0o777 == 0o644


def test_each_list_that_was_there_is_kept(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    path = tmp_path / "etc/distcc/hosts"
    path.parent.mkdir(parents=True)
    path.write_text("# by hand\nred\n")
    path.chmod(0o640)
    assert f"what hosts held is in {path}.~1~" in machine.run("--set-hosts", "blue")
    assert "~" not in machine.run("--set-hosts", "blue")
    machine.run("--set-hosts", "green")
    assert Path(f"{path}.~1~").read_text() == "# by hand\nred\n"
    assert Path(f"{path}.~2~").read_text() == "blue\n"
    assert path.read_text() == "green\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert len(list(path.parent.iterdir())) == 3


def test_a_refused_list_changes_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.run("--set-hosts", "red")
    with pytest.raises(Fatal):
        machine.run("--set-hosts", "red:70000")
    assert machine.seen() == ["red"]
    assert len(list((tmp_path / "etc/distcc").iterdir())) == 1


def test_what_hides_the_list_is_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.variables["DISTCC_HOSTS"] = "green"
    assert "$DISTCC_HOSTS counts before it" in machine.run("--set-hosts", "red")
    del machine.variables["DISTCC_HOSTS"]
    (tmp_path / "home/.distcc").mkdir()
    (tmp_path / "home/.distcc/hosts").write_text("own\n")
    assert "/home/.distcc/hosts counts before it" in machine.run("--set-hosts", "blue")
    assert machine.run("--get-hosts") == "own"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (tmp_path / "etc/distcc").mkdir(parents=True)
    (tmp_path / "etc/distcc/hosts").symlink_to(tmp_path / "elsewhere")
    machine.run("--set-hosts", "red")
    assert (tmp_path / "etc/distcc/hosts").is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "red\n"


def test_without_a_list_it_says_how_to_have_one(tmp_path: Path) -> None:
    assert "--set-hosts" in Machine(tmp_path).run("--get-hosts")


def gentoo(root: Path, status: int = 0) -> Path:
    """Gentoo's directory of variables, and its program, which leaves a word."""
    (root / "etc/env.d").mkdir(parents=True)
    (root / "usr/sbin").mkdir(parents=True)
    program = root / "usr/sbin/env-update"
    program.write_text(f"#!/bin/sh\ntouch {root}/updated\nexit {status}\n")
    program.chmod(0o755)
    return root / "etc/env.d/02distcc"


def test_variables_are_set_for_everybody(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    path = gentoo(tmp_path)
    path.write_text(ENV)
    assert "source /etc/profile" in machine.run("--set-log", "/var/log/distcc.log")
    machine.run("--set-env", "DISTCC_DIR", "/var/tmp/portage/.distcc")
    assert machine.run("--get-log") == "DISTCC_LOG=/var/log/distcc.log"
    assert machine.run("--get-env", "DISTCC_DIR") == "DISTCC_DIR=/var/tmp/portage/.distcc"
    assert machine.run("--get-env", "DISTCC_X") == "DISTCC_X not set."
    assert machine.run("--get-env") == path.read_text().rstrip()
    assert path.read_text().startswith("# distcc\n")
    assert Path(f"{path}.~1~").read_text() == ENV
    assert (tmp_path / "updated").exists()


def test_elsewhere_than_on_gentoo_it_says_what_to_do_instead(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match=r"export DISTCC_VERBOSE=\.\.\."):
        Machine(tmp_path).run("--set-verbose", "1")


def test_only_root_sets_variables_for_everybody(tmp_path: Path) -> None:
    path = gentoo(tmp_path)
    with pytest.raises(Fatal, match="only root"):
        Machine(tmp_path, privileged=False).run("--set-verbose", "1")
    assert not path.exists()


def test_an_update_that_fails_is_said(tmp_path: Path) -> None:
    path = gentoo(tmp_path, status=3)
    with pytest.raises(Fatal, match="env-update failed with 3"):
        Machine(tmp_path).run("--set-verbose", "1")
    assert path.read_text() == 'DISTCC_VERBOSE="1"\n'


def test_a_file_that_is_too_large_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(Fatal, match="no file of distcc's"):
        replace_file(str(path), "red\n")
    assert path.stat().st_size == (1 << 20) + 1


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Fatal, match="cannot be written"):
        replace_file(str(tmp_path / "file/hosts"), "red\n")


def command(
    module: str, *words: str, variables: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"from pycc.{module} import main; main()", *words],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_prints_and_fails_as_others_do() -> None:
    done = command("distcc_config", "--help", variables={})
    assert (done.returncode, done.stdout[:6], done.stderr) == (0, "Usage:", "")
    done = command("distcc_config", "--nothing", variables={})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("distcc-config: --nothing is not an option")
    done = command("distcc_config", "--get-hosts", variables={"DISTCC_HOSTS": "red blue"})
    assert (done.returncode, done.stdout) == (0, "red blue\n")


def test_the_other_command_has_a_usage() -> None:
    done = command("masquerade", "--help", variables={})
    assert (done.returncode, done.stdout[:6], done.stderr) == (0, "Usage:", "")
    done = command("masquerade", "--nothing", variables={})
    assert (done.returncode, done.stdout, done.stderr[:6]) == (1, "", "Usage:")
