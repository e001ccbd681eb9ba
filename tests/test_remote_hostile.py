"""Peers of remote storage that lie, stall and say too much."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from pycc.cache import remote_crsh, remote_http_wire
from pycc.cache.remote_backend import Backend, StorageFailed
from pycc.cache.remote_crsh import CrshBackend
from pycc.cache.remote_http import HttpBackend
from pycc.cache.remote_redis import RedisBackend
from pycc.cache.remote_settings import parse_storages
from pycc.cache.remote_stream import Peer

KEY = bytes(range(32))


def quietly(_: str) -> None:
    pass


@contextmanager
def listening(talk: Callable[[Any], None]) -> Iterator[tuple[int, list[socket.socket]]]:
    """A port on which ``talk`` is had with a file for each connection, and the connections."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                accepted.append(connection)
                threading.Thread(target=converse, args=(connection,), daemon=True).start()

    def converse(connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rwb") as file:
            talk(file)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1], accepted
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def storage(text: str) -> Backend:
    (settings,) = parse_storages(text)
    kind = HttpBackend if settings.scheme == "http" else RedisBackend
    return kind(settings.shards[0].url, settings)


def answering(answer: bytes) -> Callable[[Any], None]:
    def talk(file: Any) -> None:
        while file.readline():
            while file.readline() not in (b"\r\n", b""):
                pass
            file.write(answer)
            file.flush()

    return talk


def test_what_comes_after_an_answer_is_not_taken_for_the_next_one() -> None:
    """Some servers send a body after the answer to HEAD."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 404 No\r\n\r\n"
    with listening(answering(answer)) as (port, accepted):
        one = storage(f"http://127.0.0.1:{port}")
        assert [one.get(KEY, quietly) for _ in range(3)] == [b"ok"] * 3
        assert len(accepted) == 3
        one.close()


@pytest.mark.parametrize(
    "setting",
    [
        f"http://{'a' * 70}.example",
        f"redis://{'a' * 70}.example",
        "redis+unix:/tmp/%00s",
        "http://127.0.0.1:1 data-timeout=9999999999d request-timeout=9999999999d",
    ],
)
def test_an_address_that_cannot_be_one_is_a_failure_like_others(setting: str) -> None:
    with pytest.raises(StorageFailed, match="connection error"):
        storage(setting).get(KEY, quietly)


def test_limits_of_ages_are_limits() -> None:
    with listening(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as (port, _):
        limits = "data-timeout=9999999999d request-timeout=9999999999d"
        one = storage(f"http://127.0.0.1:{port} {limits}")
        assert one.get(KEY, quietly) == b"ok"
        one.close()


def test_name_servers_that_are_silent_are_not_awaited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: gate.wait(20))
    start = time.monotonic()
    with pytest.raises(StorageFailed, match="connection timeout") as problem:
        Peer("cache.example", 80, "", 0.1, 0.1, 1.0).connect()
    gate.set()
    assert problem.value.timeout
    assert time.monotonic() - start < 10


def test_who_waits_for_a_greeting_can_be_told_to_wait_no_longer() -> None:
    with listening(lambda file: time.sleep(10)) as (port, _):
        one = storage(f"redis://word@127.0.0.1:{port}")
        threading.Timer(0.2, one.give_up).start()
        with pytest.raises(StorageFailed, match="given up"):
            one.get(KEY, quietly)


def test_many_small_chunks_take_no_more_than_they_are() -> None:
    class Endless:
        left = 3000

        def line(self) -> bytes:
            self.left -= 1
            return b"" if self.left % 2 == 0 else b"2" if self.left > 2 else b"0"

        def exactly(self, size: int) -> bytes:
            return b"x" * size

    body = remote_http_wire._chunks(Endless(), 1 << 20)  # type: ignore[arg-type]
    assert body is not None
    assert set(body) == {ord("x")}


@pytest.mark.parametrize(
    ("user", "words"),
    [("geheim", ["geheim"]), ("me:ge%20heim", ["me", "ge heim"])],
)
def test_a_password_that_a_server_repeats_is_not_told(user: str, words: list[str]) -> None:
    """As Redis does where AUTH has been renamed."""

    def talk(file: Any) -> None:
        file.readline()
        said = " ".join(f"'{word}'" for word in words)
        file.write(f"-ERR unknown command 'AUTH', with args beginning with: {said}\r\n".encode())
        file.flush()

    with listening(talk) as (port, _), pytest.raises(StorageFailed) as problem:
        storage(f"redis://{user}@127.0.0.1:{port}").get(KEY, quietly)
    assert words[-1] not in str(problem.value)
    assert "unknown command" in str(problem.value)


def silent_program(place: Path, monkeypatch: pytest.MonkeyPatch) -> CrshBackend:
    program = place / "program"
    program.write_text(f'#!/bin/sh\necho $$ >> "{place}/started"\nexec sleep 30\n')
    program.chmod(0o755)
    (settings,) = parse_storages("x:y data-timeout=100ms")
    monkeypatch.setattr(remote_crsh, "START_SECONDS", 0.2)
    return CrshBackend(settings, str(place / "s"), str(program), os.environb)


def test_a_program_that_does_not_listen_is_not_started_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = silent_program(tmp_path, monkeypatch)
    for _ in range(2):
        with pytest.raises(StorageFailed, match="does not listen"):
            one.get(KEY, quietly)
    monkeypatch.setattr(remote_crsh, "STUCK_SECONDS", 0.0)
    with pytest.raises(StorageFailed, match="does not listen"):
        one.get(KEY, quietly)
    first, second = map(int, (tmp_path / "started").read_text().split())
    for _ in range(200):
        with suppress(ProcessLookupError):
            os.kill(first, 0)
            time.sleep(0.02)
            continue
        break
    else:
        pytest.fail("the first one still runs")
    os.kill(second, signal.SIGKILL)


def test_who_waits_for_a_program_can_be_told_to_wait_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = silent_program(tmp_path, monkeypatch)
    monkeypatch.setattr(one, "_start_seconds", 20.0)
    threading.Timer(0.3, one.give_up).start()
    with pytest.raises(StorageFailed, match="given up"):
        one.get(KEY, quietly)
    os.kill(int((tmp_path / "started").read_text()), signal.SIGKILL)


CONVERSATIONS = {
    "http": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nword",
    "http chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nword\r\n0\r\n\r\n",
    "redis": b"$4\r\nword\r\n",
}


@pytest.mark.parametrize("reused", [False, True])
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("kind", CONVERSATIONS)
def test_a_connection_that_ends_anywhere_gives_the_whole_value_or_a_failure(
    kind: str, reset: bool, reused: bool
) -> None:
    answer = CONVERSATIONS[kind]
    script: list[bytes] = []

    def talk(file: Any) -> None:
        while file.readline():
            for _ in range(4 if kind == "redis" else 2):
                file.readline()
            said = script.pop(0) if script else b""
            file.write(said)
            file.flush()
            if said != answer:
                if reset:
                    now = struct.pack("ii", 1, 0)
                    accepted[-1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
                return

    with listening(talk) as (port, accepted):
        for cut in range(len(answer)):
            one = storage(f"{kind.split()[0]}://127.0.0.1:{port} connect-timeout=5000")
            # A reused connection may have been closed before, so that request is made again.
            script[:] = [answer] * reused + [answer[:cut]] * 2
            if reused:
                assert one.get(KEY, quietly) == b"word"
            with pytest.raises(StorageFailed) as problem:
                one.get(KEY, quietly)
            assert not problem.value.timeout
            one.close()
