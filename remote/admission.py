"""What a client has to prove on its connection before anything of it is read as a request."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from pycc.record import record

from .streams import Stream

if TYPE_CHECKING:
    import ssl

    from .gss import Acceptor


class Refused(Exception):
    """He could not; the text says it for the log."""


@record
class Admission:
    """Nothing is asked for where one is None."""

    tls: ssl.SSLContext | None = None
    gss: Acceptor | None = None

    @property
    def needs_socket(self) -> bool:
        """Whether pipes will not do."""
        return self.tls is not None

    def stream(self, channel: socket.socket) -> Stream:
        """The connection as it will be spoken on; nothing is said yet. Raises OSError."""
        if self.tls is None:
            return channel
        from .tls import secured

        return secured(channel, self.tls)

    def prove(self, stream: Stream) -> str:
        """Have the client say who he is; returns that, as far as he has to. Blocks. Raises
        Refused, OSError."""
        known = []
        if self.tls is not None:
            import ssl

            from .tls import TlsError, accept_tls

            if not isinstance(stream, ssl.SSLSocket):
                raise Refused("TLS is spoken on connections of a network only")
            try:
                known.append(accept_tls(stream))
            except TlsError as problem:
                raise Refused(str(problem)) from None
        if self.gss is not None:
            from .gss import GssError, accept

            try:
                known.append(accept(stream, self.gss))
            except GssError as problem:
                raise Refused(str(problem)) from None
        return ", ".join(filter(None, known))


OPEN = Admission()
