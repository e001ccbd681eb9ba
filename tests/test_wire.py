"""A short attack on the daemon and on our client; `make fuzz-wire` is the long one."""

from __future__ import annotations

from tests.fuzz.wire import attack_client, attack_daemon


def test_a_daemon_stands_some_hostile_connections() -> None:
    assert attack_daemon(1, 0, 150).findings == []


def test_a_client_stands_some_hostile_answers() -> None:
    assert attack_client(1, 0, 400).findings == []
