"""Two pipes as one connection."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from pycc.remote.streams import Client, Pipes, is_socket, peer_of


@pytest.fixture
def pipes() -> Iterator[tuple[Pipes, int, int]]:
    """(the daemon's side, what the client writes to, what it reads from)."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    stream = Pipes(ours_in, ours_out, 0.2)
    yield stream, theirs_out, theirs_in
    stream.close()
    os.close(theirs_in)


def test_what_was_written_is_read_until_the_end(pipes: tuple[Pipes, int, int]) -> None:
    stream, theirs, _ = pipes
    os.write(theirs, b"abc")
    assert (stream.recv(2), stream.recv(10)) == (b"ab", b"c")
    os.close(theirs)
    assert stream.recv(10) == b""


def test_more_than_a_pipe_holds_is_sent(pipes: tuple[Pipes, int, int]) -> None:
    stream, theirs, reader = pipes
    os.close(theirs)
    data = os.urandom(1 << 20)
    taken = bytearray()

    def take() -> None:
        while len(taken) < len(data):
            taken.extend(os.read(reader, 1 << 16))

    thread = threading.Thread(target=take)
    thread.start()
    stream.sendall(data)
    thread.join(10)
    assert bytes(taken) == data


def test_silence_and_deafness_are_bounded(pipes: tuple[Pipes, int, int]) -> None:
    stream, theirs, _ = pipes
    with pytest.raises(TimeoutError):
        stream.recv(1)
    with pytest.raises(TimeoutError):
        stream.sendall(b"x" * (1 << 20))
    os.close(theirs)


def test_one_socket_for_both_directions() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        number = ours.detach()
        stream = Pipes(number, number, 5)
        threading.Timer(0.05, theirs.sendall, (b"abc",)).start()
        assert stream.recv(10) == b"abc"
        stream.sendall(b"def")
        assert theirs.recv(10) == b"def"
        stream.close()
        assert theirs.recv(10) == b""


def test_only_the_network_has_addresses() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert is_socket(ours.fileno())
        assert peer_of(ours.fileno()) == Client()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    with ours, theirs:
        assert peer_of(ours.fileno()) == Client("127.0.0.1", theirs.getsockname()[1])
    reader, writer = os.pipe()
    assert not is_socket(reader)
    assert peer_of(reader) == Client()
    os.close(reader)
    os.close(writer)
    assert not is_socket(reader)


def test_how_clients_are_shown() -> None:
    assert [str(c) for c in (Client("::1", 5), Client("10.0.0.1", 6), Client())] == [
        "[::1]:5",
        "10.0.0.1:6",
        "standard input",
    ]
