"""What is said to remote storages and what they answer, without any of them."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycc.cache import remote_crsh as crsh
from pycc.cache import remote_http_wire as http
from pycc.cache import remote_resp as redis
from pycc.cache.remote_backend import StorageFailed, entry_path
from pycc.cache.remote_stream import Connections, Peer, Stream


class Bytes:
    """A stream of known bytes, which ends."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def line(self) -> bytes:
        line, newline, rest = self.data.partition(b"\n")
        if not newline:
            raise EOFError
        self.data = rest
        return line.rstrip(b"\r")

    def exactly(self, size: int) -> bytes:
        if len(self.data) < size:
            raise EOFError
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def rest(self, most: int) -> bytes:
        taken, self.data = self.data[:most], b""
        return taken


# Redis.


def test_a_command_of_redis() -> None:
    assert b"".join(redis.command(b"SET", b"k", b"a\r\nb")) == (
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n"
    )


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"+OK\r\n", "OK"),
        (b":12\r\n", 12),
        (b":-2\r\n", -2),
        (b"$-1\r\n", None),
        (b"$0\r\n\r\n", b""),
        (b"$4\r\na\r\nb\r\n", b"a\r\nb"),
    ],
)
def test_a_reply_of_redis(data: bytes, reply: object) -> None:
    assert redis.read_reply(Bytes(data)) == reply
    for cut in range(len(data)):
        with pytest.raises((EOFError, ValueError)):
            redis.read_reply(Bytes(data[:cut]))


@pytest.mark.parametrize(
    "data",
    [
        b"*1\r\n$1\r\na\r\n",
        b"$x\r\n",
        b"$-2\r\n",
        b"$9\r\n",
        b"$3\r\nabcd\r\n",
        b"\r\n",
        b"HTTP\r\n",
    ],
)
def test_a_reply_that_is_none(data: bytes) -> None:
    with pytest.raises((ValueError, EOFError)):
        redis.read_reply(Bytes(data), most=8)


def test_what_redis_complains_of() -> None:
    with pytest.raises(redis.ReplyError, match="NOAUTH Authentication required"):
        redis.read_reply(Bytes(b"-NOAUTH Authentication required\r\n"))


# HTTP.


def test_a_request_of_http() -> None:
    assert http.request("PUT", "/ab/cd", [("Host", "h")], 3) == (
        b"PUT /ab/cd HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n"
    )
    with pytest.raises(ValueError, match="more than a line"):
        http.request("GET", "/", [("A", "b\r\nC: d")])


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWERS = [
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", http.Answer(200, b"abc", True)),
    ("GET", b"HTTP/1.1 404 No\r\ncontent-length:0\r\n\r\n", http.Answer(404, b"", True)),
    (
        "GET",
        CHUNKED + b"2;x=y\r\nab\r\n1\r\nc\r\n0\r\nT: 1\r\n\r\n",
        http.Answer(200, b"abc", True),
    ),
    (
        "PUT",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n",
        http.Answer(201, b"", True),
    ),
    ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", http.Answer(200, b"", True)),
    ("PUT", b"HTTP/1.1 204 No Content\r\n\r\n", http.Answer(204, b"", True)),
    (
        "GET",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na",
        http.Answer(200, b"a", False),
    ),
    ("GET", b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", http.Answer(200, b"a", False)),
]


@pytest.mark.parametrize(("method", "data", "answer"), ANSWERS)
def test_an_answer_of_http(method: str, data: bytes, answer: http.Answer) -> None:
    assert http.read_answer(Bytes(data), method, 100) == answer
    for cut in range(len(data)):
        with pytest.raises((EOFError, ValueError)):
            http.read_answer(Bytes(data[:cut]), method, 100)


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    data = b"HTTP/1.1 200 OK\r\n\r\nabc"
    assert http.read_answer(Bytes(data), "GET", 100) == http.Answer(200, b"abc", False)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"a" * 101,
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
    ],
)
def test_an_answer_that_is_too_much_or_none(data: bytes) -> None:
    try:
        answer = http.read_answer(Bytes(data), "GET", 100)
    except (ValueError, EOFError):
        return
    assert not answer.again
    assert len(answer.body) <= 100


def test_a_long_complaint_is_not_read() -> None:
    data = b"HTTP/1.1 500 Oops\r\nContent-Length: 70000\r\n\r\n"
    assert http.read_answer(Bytes(data), "GET", 1 << 20) == http.Answer(500, b"", False)


@given(st.binary(max_size=200))
def test_no_bytes_are_taken_for_what_they_are_not(data: bytes) -> None:
    readers: list[Callable[[Bytes], object]] = [
        lambda stream: redis.read_reply(stream, 64),
        lambda stream: http.read_answer(stream, "GET", 64),
        lambda stream: crsh.read_value(stream, 64),
        crsh.read_greeting,
    ]
    for read in readers:
        try:
            read(Bytes(data))
        except (ValueError, EOFError, StorageFailed):
            continue


# Storage helpers.


def test_what_a_storage_helper_is_asked() -> None:
    size = (5).to_bytes(8, sys.byteorder)
    assert crsh.request(crsh.GET, b"key") == b"\0\3key"
    assert crsh.put_request(b"key", 5, overwrite=True) == b"\1\3key\1" + size
    with pytest.raises(ValueError, match="Key too long"):
        crsh.request(crsh.GET, bytes(256))


def test_what_a_storage_helper_answers() -> None:
    assert crsh.read_greeting(Bytes(b"\1\3\0\1\2")) == b"\0\1\2"
    assert crsh.read_value(Bytes(b"\0" + (2).to_bytes(8, sys.byteorder) + b"ab")) == b"ab"
    assert crsh.read_value(Bytes(b"\1")) is None
    assert crsh.read_status(Bytes(b"\0"))
    with pytest.raises(crsh.SaidNo, match="no way"):
        crsh.read_status(Bytes(b"\2\6no way"))
    for wrong in (b"\2\0", b"\1\1\1"):
        with pytest.raises(ValueError, match=r"version|cannot"):
            crsh.read_greeting(Bytes(wrong))
    with pytest.raises(ValueError, match="status code: 7"):
        crsh.read_status(Bytes(b"\7"))
    with pytest.raises(ValueError, match="an entry of"):
        crsh.read_value(Bytes(b"\0" + b"\xff" * 8))


# Where entries lie.


def test_the_layouts() -> None:
    key = bytes(range(32))
    name = key.hex()
    assert entry_path(key, "flat") == name
    assert entry_path(key, "subdirs") == f"00/{name[2:]}"
    assert entry_path(key, "bazel") == f"ac/{name}"
    assert entry_path(key[:20], "bazel") == f"ac/{name[:40]}{name[:24]}"


# Connections.


class Echo:
    """A server that answers each line with itself; ``most`` lines a connection."""

    def __init__(self, place: Path, most: int = 1000) -> None:
        self.path = str(place / "s")
        self.accepted = 0
        self._most = most
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            with connection, connection.makefile("rwb") as file:
                for _, line in zip(range(self._most), file, strict=False):
                    file.write(line)
                    file.flush()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def say(words: bytes) -> Callable[[Stream], tuple[bytes, bool]]:
    def exchange(stream: Stream) -> tuple[bytes, bool]:
        stream.send(words, b"\n")
        return stream.line(), True

    return exchange


def peer(path: str, seconds: float = 5.0) -> Peer:
    return Peer("", 0, path, 1.0, seconds, 10.0)


def test_a_connection_serves_many_requests(tmp_path: Path) -> None:
    server = Echo(tmp_path)
    connections = Connections(peer(server.path))
    assert [connections.ask(say(b"%d" % n)) for n in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    assert server.accepted == 1
    connections.close()
    server.close()


def test_a_request_is_made_again_where_the_other_end_had_gone(tmp_path: Path) -> None:
    server = Echo(tmp_path, most=1)
    connections = Connections(peer(server.path))
    assert [connections.ask(say(b"%d" % n)) for n in range(3)] == [b"0", b"1", b"2"]
    assert server.accepted == 3
    server.close()
    with pytest.raises(StorageFailed, match="connection error"):
        connections.ask(say(b"x"))
    connections.close()


def test_who_never_answers_is_not_awaited_for_long(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    with pytest.raises(StorageFailed, match="timeout") as problem:
        Connections(peer(str(tmp_path / "s"), 0.1)).ask(say(b"x"))
    assert problem.value.timeout
    listener.close()


@pytest.mark.parametrize("reused", [False, True])
def test_who_waits_can_be_told_to_wait_no_longer(tmp_path: Path, reused: bool) -> None:
    """And asks nobody else then, as he would on a connection that had been closed."""
    server = Echo(tmp_path)
    connections = Connections(peer(server.path, 30.0))
    if reused:
        assert connections.ask(say(b"x")) == b"x"

    def silence(stream: Stream) -> tuple[bytes, bool]:
        threading.Timer(0.1, connections.give_up).start()
        return stream.line(), True

    with pytest.raises(StorageFailed, match="given up") as problem:
        connections.ask(silence)
    assert problem.value.timeout
    assert server.accepted == 1
    assert connections.ask(say(b"y")) == b"y"
    connections.close()
    server.close()


def test_a_socket_may_have_a_long_name(tmp_path: Path) -> None:
    server = Echo(tmp_path)
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    (tmp_path / "s").rename(deep / "s")
    connections = Connections(peer(str(deep / "s")))
    assert connections.ask(say(b"x")) == b"x"
    connections.close()
    server.close()


def test_a_drop_at_a_time_is_not_waited_for_without_end(tmp_path: Path) -> None:
    """Each byte comes within the limit for bytes; the request as a whole has one, too."""
    ours, theirs = socket.socketpair()
    stop = threading.Event()

    def drip() -> None:
        with suppress(OSError):
            while not stop.wait(0.02):
                theirs.send(b"x")

    dripping = threading.Thread(target=drip)
    dripping.start()
    stream = Stream(ours, 5.0)
    stream.begin(0.2)
    with pytest.raises(StorageFailed, match="timeout"):
        stream.line()
    stop.set()
    dripping.join()
    theirs.close()
    stream.close()
