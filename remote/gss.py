"""GSS-API authentication in front of distcc's protocol (distcc's src/auth_*.c), with Kerberos.

    client  "*"                      server  "*"
    both    { "TLEN" length token }  until the context stands
    server  "y" or "n"               the principal may ask, or not
    then    the protocol as ever, and in clear: this says who asks, and protects nothing said later

The client looks for ``host/NAME``, where NAME is what the server's address is called (or ``auth=``
says), or with DISTCC_PRINCIPAL for that service there; the server is DISTCCD_PRINCIPAL. Both have
to agree on mutual authentication and on noticing replays and changed orders, as distcc wants it.

The library is the package ``gssapi`` (its extra here has the same name), and only who uses it needs
it.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

from pycc.record import record

from .client_settings import ClientSettings
from .connection import (
    EXIT_ACCESS_DENIED,
    EXIT_GSSAPI_FAILED,
    Fault,
)
from .hosts import HostSpec
from .streams import Stream

CLIENT_SECONDS = 10.0
"""distcc's gives a server one second to say that it will; ours may be busy."""
HANDSHAKE_SECONDS = 20.0
"""For a client's whole handshake."""
LONGEST_TOKEN = 1 << 20
"""Bytes; tickets with the groups of a large domain take some 60 kB."""
_HANDSHAKE, _ACCESS, _NO_ACCESS = b"*", b"y", b"n"


class GssError(Exception):
    """It failed, for the reason in the text."""


def _library() -> Any:
    """The package. Raises GssError."""
    try:
        import gssapi
    except ImportError as problem:
        text = f"the Python package gssapi cannot be loaded ({problem}): pip install 'pycc[gssapi]'"
        raise GssError(text) from None
    return gssapi


class _Talk:
    """Tokens there and back, until a deadline."""

    def __init__(self, stream: Stream, seconds: float) -> None:
        self._stream = stream
        self._end = time.monotonic() + seconds

    def _hurry(self) -> None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise GssError("the other side took too long")
        self._stream.settimeout(left)

    def send(self, data: bytes) -> None:
        self._hurry()
        self._stream.sendall(data)

    def receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            self._hurry()
            some = self._stream.recv(count - len(data))
            if not some:
                raise GssError("the other side hung up")
            data += some
        return data

    def send_token(self, token: bytes) -> None:
        self.send(b"TLEN%08x%s" % (len(token), token))

    def receive_token(self) -> bytes:
        head = self.receive(12)
        try:
            length = int(head[4:], 16) if head[:4] == b"TLEN" else 0
        except ValueError:
            length = 0
        if not 0 < length <= LONGEST_TOKEN:
            raise GssError("no token came, or too long a one")
        return self.receive(length)


def _flags(gssapi: Any) -> Any:
    wanted = gssapi.RequirementFlag
    return wanted.mutual_authentication | wanted.replay_detection | wanted.out_of_sequence_detection


def _agreed(gssapi: Any, context: Any) -> None:
    wanted = _flags(gssapi)
    if int(context.actual_flags) & int(wanted) != int(wanted):
        raise GssError("the other side does not offer mutual authentication and replay detection")


# The client's side.


def authenticate(stream: Stream, host: HostSpec, settings: ClientSettings, peer: str) -> None:
    """Say to the host at the address ``peer`` who we are, and see who it is. Blocks. Raises
    Fault."""
    try:
        gssapi = _library()
    except GssError as problem:
        raise _fault(str(problem)) from None
    talk = _Talk(stream, CLIENT_SECONDS)
    try:
        context = _initiate(gssapi, host, settings, peer)
        talk.send(_HANDSHAKE)
        try:
            answer = talk.receive(1)
        except (GssError, OSError):
            raise GssError("no answer: is pyccd or distccd there started with --auth?") from None
        if answer != _HANDSHAKE:
            raise GssError("the server does not shake hands: is it started with --auth?")
        token = context.step()
        while True:
            if token:
                talk.send_token(token)
            if context.complete:
                break
            token = context.step(talk.receive_token())
        _agreed(gssapi, context)
        if talk.receive(1) != _ACCESS:
            text = "the server does not let this principal in (its --whitelist or --blacklist)"
            raise _fault(text, EXIT_ACCESS_DENIED)
    except (GssError, OSError) as problem:
        raise _fault(_said(problem)) from None
    except gssapi.exceptions.GSSError as problem:
        raise _fault(_said(problem)) from None


def _initiate(gssapi: Any, host: HostSpec, settings: ClientSettings, peer: str) -> Any:
    service = os.fsdecode(settings.environment.get(b"DISTCC_PRINCIPAL", b""))
    name = host.auth_name or _name_of(peer)
    if service:
        target = gssapi.Name(f"{service}@{name}", gssapi.NameType.hostbased_service)
    else:
        target = gssapi.Name(f"host/{name}", gssapi.NameType.user)
    _use_configuration(settings)
    # Our server's own environment says nothing of anybody's tickets.
    store = {}
    for variable, key in ((b"KRB5CCNAME", "ccache"), (b"KRB5_CLIENT_KTNAME", "client_keytab")):
        if settings.environment.get(variable):
            store[key] = os.fsdecode(settings.environment[variable])
    credentials = gssapi.Credentials(usage="initiate", store=store) if store else None
    return gssapi.SecurityContext(
        name=target, creds=credentials, flags=_flags(gssapi), usage="initiate"
    )


_configuring = threading.Lock()


def _use_configuration(settings: ClientSettings) -> None:
    """Have the library read the caller's KRB5_CONFIG, which it takes from our environment alone. Of
    two callers with different ones, at the same moment, one may get the other's; and it is touched
    only where somebody has one, because other threads may be reading it."""
    wanted = settings.environment.get(b"KRB5_CONFIG")
    with _configuring:
        if wanted is not None and os.environb.get(b"KRB5_CONFIG") != wanted:
            os.environb[b"KRB5_CONFIG"] = wanted


def _name_of(peer: str) -> str:
    try:
        return socket.gethostbyaddr(peer)[0]
    except OSError as problem:
        text = f"{peer} has no name ({problem.strerror}): write ,auth=NAME in the list of hosts"
        raise GssError(text) from None


def _said(problem: Exception) -> str:
    return getattr(problem, "strerror", None) or str(problem) or "the other side took too long"


def _fault(text: str, status: int = EXIT_GSSAPI_FAILED) -> Fault:
    return Fault(f"GSS-API: {text}", status)


# The daemon's side.


@record
class Principals:
    """Who may ask. A name without a realm is one of the server's own realm where it lets somebody
    in, and of any where it keeps somebody out."""

    listed: frozenset[str] = frozenset()
    listed_may: bool = False
    """They alone may, or they alone may not."""

    def admits(self, principal: str, server: str) -> bool:
        """Whether ``principal`` may ask ``server``; both as Kerberos writes them."""
        name, _, realm = principal.rpartition("@")
        if principal in self.listed:
            return self.listed_may
        short = name in self.listed
        if self.listed_may:
            return short and realm == server.rpartition("@")[2]
        return not short


EVERYBODY = Principals()


def parse_principals(text: str, *, may: bool) -> Principals:
    """A list has a principal a line; empty lines and those with # in front are none."""
    lines = (line.strip() for line in text.splitlines())
    return Principals(frozenset(line for line in lines if line and line[0] != "#"), may)


@record
class Acceptor:
    """What a daemon is, and whom it believes."""

    credentials: Any
    principals: Principals = EVERYBODY


def acceptor(environment: Mapping[str, str], principals: Principals) -> Acceptor:
    """For DISTCCD_PRINCIPAL, a service as service@host or a principal. Raises GssError."""
    gssapi = _library()
    wanted = environment.get("DISTCCD_PRINCIPAL", "")
    if not wanted:
        raise GssError("DISTCCD_PRINCIPAL is not set: say which principal this daemon is")
    kind = gssapi.NameType.hostbased_service if "@" in wanted else gssapi.NameType.user
    try:
        name = gssapi.Name(wanted, kind)
        return Acceptor(gssapi.Credentials(name=name, usage="accept"), principals)
    except gssapi.exceptions.GSSError as problem:
        raise GssError(f"{wanted}: {problem}: look at KRB5_KTNAME and its owner") from None


def accept(stream: Stream, ours: Acceptor) -> str:
    """Have a client say who he is; his principal. Blocks. Raises GssError, OSError; then nothing
    more can be said."""
    gssapi = _library()
    talk = _Talk(stream, HANDSHAKE_SECONDS)
    if talk.receive(1) != _HANDSHAKE:
        raise GssError("a client that does not authenticate: write ,auth behind this host")
    talk.send(_HANDSHAKE)
    try:
        context = gssapi.SecurityContext(creds=ours.credentials, usage="accept")
        while not context.complete:
            token = context.step(talk.receive_token())
            if token:
                talk.send_token(token)
        _agreed(gssapi, context)
        principal, server = str(context.initiator_name), str(context.target_name)
    except gssapi.exceptions.GSSError as problem:
        raise GssError(f"GSS-API: {problem}") from None
    if not ours.principals.admits(principal, server):
        talk.send(_NO_ACCESS)
        raise GssError(f"{principal} may not ask (--whitelist, --blacklist)")
    talk.send(_ACCESS)
    return principal
