"""Who may ask by the lists of principals, and what is no handshake."""

from __future__ import annotations

import socket
import sys
import threading

import pytest

from pycc.remote.client_settings import NOTHING_TOLD
from pycc.remote.connection import EXIT_GSSAPI_FAILED, Fault
from pycc.remote.gss import (
    EVERYBODY,
    Acceptor,
    GssError,
    accept,
    acceptor,
    authenticate,
    parse_principals,
)
from pycc.remote.hosts import parse_hosts
from pycc.remote.transport import Ways

SERVER = "host/farm@HOME"
HOST = parse_hosts("farm,auth=farm").hosts[0]


@pytest.mark.parametrize(
    ("listed", "principal", "in_whitelist", "past_blacklist"),
    [
        ("alice", "alice@HOME", True, False),
        ("  alice  \n#bob\n", "alice@HOME", True, False),
        ("alice", "bob@HOME", False, True),
        ("#bob", "bob@HOME", False, True),
        ("alice", "alice@ELSEWHERE", False, False),
        ("alice@ELSEWHERE", "alice@ELSEWHERE", True, False),
        ("alice@ELSEWHERE", "alice@HOME", False, True),
        ("host/a", "host/a@HOME", True, False),
        ("alice", "alice/admin@HOME", False, True),
        ("", "alice@HOME", False, True),
    ],
)
def test_lists(listed: str, principal: str, in_whitelist: bool, past_blacklist: bool) -> None:
    assert parse_principals(listed, may=True).admits(principal, SERVER) is in_whitelist
    assert parse_principals(listed, may=False).admits(principal, SERVER) is past_blacklist
    assert EVERYBODY.admits(principal, SERVER)


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", None)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(Fault, match=r"pip install 'pycc\[gssapi\]'") as caught:
            authenticate(ours, HOST, NOTHING_TOLD, "127.0.0.1")
        assert caught.value.status == EXIT_GSSAPI_FAILED
    with pytest.raises(GssError, match="pip install"):
        acceptor({"DISTCCD_PRINCIPAL": "x"}, EVERYBODY)


def test_ssh_has_its_own() -> None:
    with pytest.raises(Fault, match="leave ,auth out"):
        Ways().connect(parse_hosts("@a,auth").hosts[0], NOTHING_TOLD)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "hung up"),
        (b"DIST00000001", "does not authenticate"),
        (b"*", "hung up"),
        (b"*TLEN0000", "hung up"),
        (b"*TLEN00000000", "no token"),
        (b"*TLENffffffff", "no token"),
        (b"*TLEN-0000001", "no token"),
        (b"*TLEN00000005xxxxx", "GSS-API: "),
        (b"*DIST00000005xxxxx", "no token"),
    ],
)
def test_what_is_no_handshake(said: bytes, why: str) -> None:
    pytest.importorskip("gssapi")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(said)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(GssError, match=why):
            accept(ours, Acceptor(None))


def test_a_server_that_lies_is_no_friend() -> None:
    pytest.importorskip("gssapi")
    ours, theirs = socket.socketpair()

    def answer() -> None:
        theirs.recv(1)
        theirs.sendall(b"y" * 100)

    with ours, theirs:
        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Fault, match="GSS-API: "):
            authenticate(ours, HOST, NOTHING_TOLD, "127.0.0.1")
        theirs.close()
        thread.join()
