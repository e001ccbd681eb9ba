"""The other end of a conversation, be it a socket or the two pipes that ssh or inetd gives.

ssh runs the daemon with pipes, with one socket or with two, and inetd with a socket of the network
for everything. Only the last has an address, and only it is held against the access list: whoever
came in through ssh has proven more than an address.
"""

from __future__ import annotations

import os
import select
import socket
from contextlib import suppress
from typing import Protocol

from pycc.record import record


@record
class Client:
    """A connection's other end; both empty for one that has no address."""

    address: str = ""
    port: int = 0

    def __str__(self) -> str:
        if not self.address:
            return "standard input"
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


class Stream(Protocol):
    """What a job needs of a connection; the methods raise OSError."""

    def recv(self, most: int, /) -> bytes:
        """What has come, at most ``most`` bytes; nothing at the end."""

    def sendall(self, data: bytes, /) -> None:
        """Send everything."""

    def fileno(self) -> int:
        """The descriptor that tells when the client has left."""

    def settimeout(self, seconds: float, /) -> None:
        """The other side may be silent for so long."""

    def close(self) -> None:
        """Say no more."""


class Pipes:
    """Two descriptors as one `Stream`; neither may be silent for more than ``seconds``."""

    def __init__(self, reader: int, writer: int, seconds: float) -> None:
        self._reader = reader
        self._writer = writer
        self._seconds = seconds
        # A client that takes nothing more must not hold a write for ever.
        os.set_blocking(writer, False)

    def _wait(self, descriptor: int, event: int) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        if not poll.poll(self._seconds * 1000):
            raise TimeoutError(f"nothing happened for {self._seconds:.0f} seconds")

    def recv(self, most: int) -> bytes:
        while True:
            self._wait(self._reader, select.POLLIN)
            # One socket for both directions does not block when it is read, either.
            with suppress(BlockingIOError):
                return os.read(self._reader, most)

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self._wait(self._writer, select.POLLOUT)
            with suppress(BlockingIOError):
                rest = rest[os.write(self._writer, rest) :]

    def fileno(self) -> int:
        return self._reader

    def settimeout(self, seconds: float) -> None:
        self._seconds = seconds

    def close(self) -> None:
        os.close(self._reader)
        if self._writer != self._reader:
            os.close(self._writer)


def is_socket(descriptor: int) -> bool:
    """Whether the descriptor is open and a socket."""
    try:
        with socket.socket(fileno=os.dup(descriptor)):
            return True
    except OSError:
        return False


def peer_of(descriptor: int) -> Client:
    """Who is at the other end of a descriptor."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            if connection.family not in (socket.AF_INET, socket.AF_INET6):
                return Client()
            address = connection.getpeername()
    except OSError:
        return Client()
    return Client(address[0].partition("%")[0], address[1])
