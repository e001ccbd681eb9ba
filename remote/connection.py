"""A connection to a host, however that is reached: bytes there and back, and what its end means.

What is below a `Conversation` never blocks: it says for which event it waits. Behind TLS a read may
have to wait until something can be written, and what is to be read may have been unpacked already,
so one reads first and waits then.
"""

from __future__ import annotations

import select
import socket
from types import TracebackType
from typing import Self

from pycc.errors import PyccError

EXIT_CONNECT_FAILED, EXIT_IO_ERROR, EXIT_TRUNCATED, EXIT_PROTOCOL_ERROR = 103, 107, 108, 109
EXIT_ACCESS_DENIED, EXIT_TIMEOUT, EXIT_GSSAPI_FAILED = 113, 118, 119  # distcc's, all of them

CONNECT_SECONDS = 4.0  # distcc's


class Fault(PyccError):
    """The network or the daemon failed, not the compile. ``status`` is distcc's exit code."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class NoAnswer(Fault):
    """The peer closed the connection without a byte, as a stock distccd does with what it does not
    know."""


class NotReady(BlockingIOError):
    """Wait until ``event`` (of poll) is there, and try again."""

    def __init__(self, event: int) -> None:
        super().__init__()
        self.event = event


class Connection:
    """Over a socket, and plain. Closed at the end of a ``with``."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        channel.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._channel.fileno()

    def send(self, data: memoryview, /) -> int:
        """How many bytes went. Raises NotReady, OSError."""
        try:
            return self._channel.send(data)
        except BlockingIOError:
            raise NotReady(select.POLLOUT) from None

    def recv(self, most: int, /) -> bytes:
        """What has come; nothing at the end. Raises NotReady, OSError."""
        try:
            return self._channel.recv(most)
        except BlockingIOError:
            raise NotReady(select.POLLIN) from None

    def look_after(self) -> None:
        """To be called now and then by who waits for the other side."""

    def fault(self, *, began: bool) -> Fault | None:
        """Why it ended, where that is known better than by its end; ``began``: an answer had."""
        del began
        return None

    def close(self) -> None:
        """Give up what it holds."""
        self._channel.close()
