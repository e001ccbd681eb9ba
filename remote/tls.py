"""TLS between client and daemon, for networks that nobody vouches for (RFC 8446; 1.2 at least).

The port of a daemon with a certificate speaks TLS and nothing else: were plain clients served as
well, whoever stands between could make one of any. The client asks for the name that its host list
has; the daemon, where it was given an authority (--tls-ca), for a certificate that it signed.

Where one side refuses the other's certificate it says so in an alert, in TLS 1.3 only after the
client believes that all is done. So the daemon does not hang up at once, which would reset the
connection under the alert, and the client looks for one when its words do not get through.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
from contextlib import suppress
from typing import Any

from .client_settings import ClientSettings
from .connection import (
    EXIT_ACCESS_DENIED,
    EXIT_CONNECT_FAILED,
    Connection,
    Fault,
    NotReady,
)
from .hosts import HostSpec

CLIENT_SECONDS = 10.0
HANDSHAKE_SECONDS = 20.0
"""For a client's whole handshake: who sends a byte now and then holds a thread no longer."""
LINGER_SECONDS, ALERT_SECONDS = 1.0, 0.5
_PLAIN = b"DIST"
"""How a client begins that does not know of TLS."""


class TlsError(Exception):
    """A handshake failed; the text says why, for the log."""


def client_context(settings: ClientSettings) -> ssl.SSLContext:
    """What this client believes and shows. Raises Fault."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    files = settings.tls
    try:
        if files.authority:
            context.load_verify_locations(os.fsdecode(files.authority))
        else:
            context.load_default_certs()
        if files.certificate:
            key = os.fsdecode(files.key) if files.key else None
            context.load_cert_chain(os.fsdecode(files.certificate), key, _no_passphrase)
    except (OSError, ValueError) as problem:
        named = b" ".join(filter(None, (files.authority, files.certificate, files.key))).decode(
            errors="backslashreplace"
        )
        text = f"TLS: {said(problem)}: look at PYCC_TLS_CA, PYCC_TLS_CERT, PYCC_TLS_KEY ({named})"
        raise Fault(text, EXIT_CONNECT_FAILED) from None
    return context


def server_context(certificate: str, key: str, authority: str) -> ssl.SSLContext:
    """What a daemon shows, and whom it believes. Raises OSError, with `said`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A ticket for a connection that carries one job is read by nobody.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    context.load_cert_chain(certificate, key or None, _no_passphrase)
    if authority:
        context.load_verify_locations(authority)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _no_passphrase() -> str:
    # Without this OpenSSL asks whatever terminal there is.
    raise ValueError("the key has a passphrase: nobody can be asked for it")


def said(problem: Exception) -> str:
    """What a library's error means."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        return problem.verify_message.rstrip(".")
    if isinstance(problem, ssl.SSLError) and problem.reason:
        return problem.reason.lower().replace("_", " ")
    return getattr(problem, "strerror", None) or str(problem) or "it took too long"


def open_tls(channel: socket.socket, host: HostSpec, context: ssl.SSLContext) -> ssl.SSLSocket:
    """The client's end of a connection, which is closed where that fails. Hands are shaken with the
    first bytes that are sent: a busy server may let us wait for that as long as for an answer, and
    meanwhile the launcher is watched. Raises Fault."""
    try:
        return context.wrap_socket(
            channel, server_hostname=host.host, do_handshake_on_connect=False
        )
    except (OSError, ValueError) as problem:
        channel.close()
        raise _fault(problem) from None


def shake_hands(channel: ssl.SSLSocket) -> None:
    """Do it now, where something else has to be said before the first request. Raises Fault, and
    the connection is closed."""
    channel.settimeout(CLIENT_SECONDS)
    try:
        channel.do_handshake()
    except (OSError, ValueError) as problem:
        channel.close()
        raise _fault(problem) from None


_HINTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the server wants a certificate of ours:"
    " name one with PYCC_TLS_CERT and PYCC_TLS_KEY",
    "TLSV1_ALERT_UNKNOWN_CA": "the server does not know who signed our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "our certificate has expired, says the server",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "our certificate is revoked, says the server",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the server does not take our certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the server does not take our certificate",
    "WRONG_VERSION_NUMBER": "no TLS is spoken there: leave ,tls out, or give pyccd --tls-cert",
}


def _fault(problem: Exception) -> Fault:
    if isinstance(problem, ssl.SSLCertVerificationError):
        text = f"the server's certificate is not taken: {said(problem)}"
        return Fault(f"TLS: {text} (PYCC_TLS_CA says whom we believe)", EXIT_CONNECT_FAILED)
    reason = getattr(problem, "reason", None) or ""
    if isinstance(problem, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionError):
        text = "the server hung up: does it speak TLS, and may we ask it?"
    else:
        text = _HINTS.get(reason) or said(problem)
    denied = "ALERT" in reason
    return Fault(f"TLS: {text}", EXIT_ACCESS_DENIED if denied else EXIT_CONNECT_FAILED)


class TlsConnection(Connection):
    """Over a socket on which hands are shaken when the first bytes go."""

    def __init__(self, channel: ssl.SSLSocket) -> None:
        super().__init__(channel)
        self._problem: Exception | None = None

    def send(self, data: memoryview, /) -> int:
        try:
            return self._channel.send(data)
        except ssl.SSLWantReadError:
            raise NotReady(select.POLLIN) from None
        except ssl.SSLWantWriteError:
            raise NotReady(select.POLLOUT) from None
        except OSError as problem:
            self._problem = problem
            raise

    def recv(self, most: int, /) -> bytes:
        try:
            return self._channel.recv(most)
        except ssl.SSLWantReadError:
            raise NotReady(select.POLLIN) from None
        except ssl.SSLWantWriteError:
            raise NotReady(select.POLLOUT) from None
        except OSError as problem:
            self._problem = problem
            raise

    def fault(self, *, began: bool) -> Fault | None:
        """Why the server, or the library, did not go on."""
        del began
        problem = self._problem
        if problem is not None and not isinstance(problem, ssl.SSLError):
            # Ours did not get through: why may be waiting to be read.
            self._problem = problem = self._alert() or problem
        return _fault(problem) if isinstance(problem, ssl.SSLError) else None

    def _alert(self) -> Exception | None:
        end = time.monotonic() + ALERT_SECONDS
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        try:
            while time.monotonic() < end:
                poll.poll(50)
                with suppress(ssl.SSLWantReadError):
                    if not self._channel.recv(1 << 12):
                        return None
        except OSError as problem:
            return problem
        return None


def secured(channel: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    """The daemon's end of a connection, on which nothing was said yet. Raises OSError."""
    return context.wrap_socket(channel, server_side=True, do_handshake_on_connect=False)


def accept_tls(channel: ssl.SSLSocket) -> str:
    """Shake hands with a client, in HANDSHAKE_SECONDS at most; returns whom his certificate names,
    if he showed one. Raises TlsError; then nothing more can be said."""
    end = time.monotonic() + HANDSHAKE_SECONDS
    with socket.socket(fileno=os.dup(channel.fileno())) as plain:
        try:
            plain.settimeout(HANDSHAKE_SECONDS)
            begins = plain.recv(len(_PLAIN), socket.MSG_PEEK)
            if begins and _PLAIN.startswith(begins):
                raise TlsError("a client without TLS: write ,tls behind this host in its list")
            channel.setblocking(False)
            _shake(channel, end)
        except (OSError, ValueError) as problem:
            _linger(plain)
            raise TlsError(f"TLS: {said(problem)}") from None
    return name_of(channel)


def _shake(channel: ssl.SSLSocket, end: float) -> None:
    while True:
        poll = select.poll()
        try:
            channel.do_handshake()
            return
        except ssl.SSLWantReadError:
            poll.register(channel.fileno(), select.POLLIN)
        except ssl.SSLWantWriteError:
            poll.register(channel.fileno(), select.POLLOUT)
        if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
            raise TimeoutError(f"no handshake in {HANDSHAKE_SECONDS:.0f} s")


def _linger(plain: socket.socket) -> None:
    """End without a reset under what was said last: read what still comes, for a moment."""
    end = time.monotonic() + LINGER_SECONDS
    with suppress(OSError):
        plain.shutdown(socket.SHUT_WR)
        while (left := end - time.monotonic()) > 0:
            plain.settimeout(left)
            if not plain.recv(1 << 16):
                break


def name_of(channel: ssl.SSLSocket) -> str:
    """Who the client's certificate says that he is; empty where he showed none."""
    subject: Any = (channel.getpeercert() or {}).get("subject", ())
    return ", ".join(f"{name}={value}" for group in subject for name, value in group)
