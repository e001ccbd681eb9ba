"""What is said to ssh, and what is made of what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pycc.remote import transport
from pycc.remote.client_settings import ClientSettings
from pycc.remote.connection import Fault
from pycc.remote.hosts import parse_hosts
from pycc.remote.protocol import Reply, Request, write_reply
from pycc.remote.ssh import FAILED, SESSIONS, Masters, _failure, has_only_options
from pycc.remote.transport import Conversation, Ways


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("ssh", True),
        ("/usr/bin/ssh -p 2222", True),
        ("ssh -p2222 -v", True),
        ("ssh -vp 22 -C", True),
        ("ssh -o BatchMode=no -F file -4", True),
        ("ssh gate ssh", False),
        ("ssh -J gate -A inner", False),
        ("ssh -4 gate", False),
        ("ssh -p 22 gate", False),
        ("ssh --", False),
        ("ssh -", False),
    ],
)
def test_words_in_front_of_a_destination(command: str, expected: bool) -> None:
    assert has_only_options(tuple(command.encode().split())) is expected


@pytest.mark.parametrize(
    ("word", "status", "said", "expected"),
    [
        ("@a", FAILED, b"x\r\nlast words.\r\n\r\n", "last words. (does `ssh -oBatchMode=yes a`"),
        ("u@a", FAILED, b"", "ssh failed: it said nothing (does `ssh -oBatchMode=yes -l u a`"),
        ("@a", FAILED, b"\x1b[2J", "ssh failed: \\x1b[2J ("),
        (
            "@a:x",
            127,
            b"sh: x: not found",
            "x was not found there (sh: x: not found): write @HOST:",
        ),
        ("@a", 126, b"", "distccd cannot be run there (it said nothing)"),
    ],
)
def test_why_it_failed(word: str, status: int, said: bytes, expected: str) -> None:
    assert expected in str(_failure(parse_hosts(word).hosts[0], status, said))


def test_a_connection_has_few_sessions() -> None:
    masters = Masters("/run")
    taken = [masters.take("/run/x") for _ in range(2 * SESSIONS + 1)]
    assert taken == ["/run/x-0"] * SESSIONS + ["/run/x-1"] * SESSIONS + ["/run/x-2"]
    masters.give_back("/run/x-0")
    assert masters.take("/run/x") == "/run/x-0"
    assert masters.take("/run/y") == "/run/y-0"


def test_whatever_it_says_the_job_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe holds 64 kB: in one job more is said, and in all of them together."""
    monkeypatch.setattr(transport, "_TOUCH_SECONDS", 0.05)
    reply = b"".join(write_reply(Reply(1, 0, b"", b"", b"object")))
    program = tmp_path / "reach"
    program.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        "for size in (300_000, 40_000, 40_000, 40_000):\n"
        "    os.read(0, 1 << 16)\n"
        "    sys.stderr.write('x' * size + '\\n')\n"
        "    sys.stderr.flush()\n"
        f"    os.write(1, {reply!r})\n"
        "sys.stderr.write('last words\\n')\n"
        "sys.exit(255)\n"
    )
    program.chmod(0o755)
    told = ClientSettings(None, ssh=(b"reach",), environment={b"PATH": bytes(tmp_path)})
    with Ways().connect(parse_hosts("@a").hosts[0], told) as connection:
        talk = Conversation(connection, 20)
        for _ in range(4):
            talk.send(Request(1, (b"gcc",), b""))
            assert talk.receive(1).object == b"object"
        with pytest.raises(Fault, match="ssh failed: last words"):
            talk.receive(1)
