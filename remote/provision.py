"""What a daemon works with, made from its settings: addresses, compilers, sockets, a log."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pycc.errors import Fatal
from pycc.locate import DEFAULT_PATH

from . import access, daemon_log
from .admission import Admission
from .compilers import CommandList, Rules
from .daemon_log import Level, Log
from .settings import EXIT_BAD_ARGUMENTS, Settings

if TYPE_CHECKING:
    import ssl

    from .gss import Acceptor

EXIT_BIND, EXIT_GSSAPI_FAILED = 102, 119  # distcc's
BACKLOG = 1024
LONGEST_FILE = 1 << 20
KEPT_VARIABLES = ("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LD_LIBRARY_PATH")
"""What a compile inherits beside PATH and TMPDIR; above all no CCACHE_PREFIX and no DISTCC_HOSTS,
which make a wrapper on the server call back into the farm."""


def read_file(path: str) -> str | None:
    """The text of a small file; None where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(LONGEST_FILE)
    except OSError:
        return None


def open_log(name: str, settings: Settings, *, inetd: bool) -> Log:
    """The log that was asked for; syslog where its file cannot be written, as distccd does.

    In inetd mode standard error may be the client's own socket."""
    level = Level.DEBUG if settings("verbose") or settings("wizard") else settings("log_level")
    problem = ""
    if settings("log_file") and not settings("log_stderr"):
        try:
            return Log(level, daemon_log.to_file(settings("log_file")), name)
        except Fatal as said:
            problem = str(said)
    foreground = (settings("no_detach") or settings("wizard")) and not inetd
    if settings("log_stderr") or foreground:
        log = Log(level, daemon_log.to_standard_error(), name)
    else:
        log = Log(level, daemon_log.to_syslog(name), name)
        if problem and not inetd:
            print(f"{name}: {problem}: the log goes to syslog", file=sys.stderr)
    if problem:
        log(Level.ERROR, problem)
    return log


def masks(settings: Settings) -> tuple[access.Mask, ...]:
    """Who may connect."""
    given: tuple[access.Mask, ...] = settings("allow")
    if settings("allow_private") or not given:
        return (*given, *access.PRIVATE)
    return given


def admission(settings: Settings, environment: Mapping[str, str]) -> Admission:
    """What a client has to prove. Raises Fatal: nothing is served with less than was asked for."""
    return Admission(tls(settings), gss(settings, environment))


def gss(settings: Settings, environment: Mapping[str, str]) -> Acceptor | None:
    """Who a daemon is, and who may ask; None without --auth. Raises Fatal."""
    lists = [name for name in ("whitelist", "blacklist") if settings(name)]
    if not settings("auth"):
        for name in lists:
            raise Fatal(f"--{name} means nothing without --auth", EXIT_BAD_ARGUMENTS)
        return None
    if len(lists) == 2:
        raise Fatal("Can't specify both --whitelist and --blacklist.", EXIT_BAD_ARGUMENTS)
    from .gss import EVERYBODY, GssError, acceptor, parse_principals

    principals = EVERYBODY
    for name in lists:
        content = read_file(settings(name))
        if content is None:
            raise Fatal(f"--{name} {settings(name)}: cannot be read", EXIT_GSSAPI_FAILED)
        principals = parse_principals(content, may=name == "whitelist")
    try:
        return acceptor(environment, principals)
    except GssError as problem:
        raise Fatal(f"--auth: {problem}", EXIT_GSSAPI_FAILED) from None


def tls(settings: Settings) -> ssl.SSLContext | None:
    """What a daemon shows and asks for; None without TLS. Raises Fatal."""
    certificate, key, authority = (settings(name) for name in ("tls_cert", "tls_key", "tls_ca"))
    if not certificate:
        for name in ("tls_key", "tls_ca"):
            if settings(name):
                option = "--" + name.replace("_", "-")
                raise Fatal(f"{option} means nothing without --tls-cert", EXIT_BAD_ARGUMENTS)
        return None
    # Who sets up TLS leaves the trusted network; then its addresses are no defence.
    if not (authority or settings("allow") or settings("allow_private")):
        text = "--tls-cert without --tls-ca lets clients in whom nobody knows: give --tls-ca FILE,"
        raise Fatal(f"{text} or say with --allow from where they come", EXIT_BAD_ARGUMENTS)
    from .tls import said, server_context

    try:
        return server_context(certificate, key, authority)
    except (OSError, ValueError) as problem:
        files = " ".join(filter(None, (certificate, key, authority)))
        raise Fatal(f"TLS: {said(problem)}: look at {files}", daemon_log.EXIT_NO_FILE) from None


def listen(address: str, port: int) -> socket.socket:
    """A listening socket; on every address of both families where ``address`` is empty or ``::``,
    as the kernel has it by default. Raises Fatal with distcc's status when the port cannot be
    had."""
    family = socket.AF_INET6 if ":" in address or not address else socket.AF_INET
    both = address in ("", "::") and socket.has_dualstack_ipv6()
    if not address and not both:
        family = socket.AF_INET
    try:
        return socket.create_server(
            (address, port), family=family, backlog=BACKLOG, dualstack_ipv6=both
        )
    except OSError as problem:
        message = f"cannot listen on {address or '*'}:{port}: {problem.strerror}"
        raise Fatal(message, EXIT_BIND) from None


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach a listener at ``address``."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return address == "localhost"


def search_path(settings: Settings, environment: Mapping[str, str]) -> str:
    """Where compilers are looked for."""
    return settings("path") or environment.get("PATH") or os.fsdecode(DEFAULT_PATH)


def compile_environment(settings: Settings, environment: Mapping[str, str]) -> dict[bytes, bytes]:
    """That of every compile, but for TMPDIR."""
    kept = {os.fsencode(n): os.fsencode(environment[n]) for n in KEPT_VARIABLES if n in environment}
    return {**kept, b"PATH": os.fsencode(search_path(settings, environment))}


def rules(settings: Settings, environment: Mapping[str, str]) -> Rules:
    """Which programs may be run. Raises Fatal."""
    path = os.fsencode(search_path(settings, environment))
    return Rules(path, settings("enable_tcp_insecure"), _commands(settings("cmdlist"), settings))


def _commands(path: str, settings: Settings) -> CommandList | None:
    if not path:
        return None
    content = read_file(path)
    if content is None:
        raise Fatal(f"DISTCC_CMDLIST {path}: cannot be read", daemon_log.EXIT_NO_FILE)
    lines = (line.strip() for line in content.splitlines())
    programs = tuple(os.fsencode(line) for line in lines if line and not line.startswith("#"))
    return CommandList(programs, settings("cmdlist_numwords"))
