"""What a client is told: distcc's variables, and the host list with where it came from.

Names, defaults and the meaning of odd values are distcc's (distcc(1), "ENVIRONMENT VARIABLES";
dcc_getenv_bool in src/util.c: only "1" and "0" mean anything for a switch).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from pycc.record import record

from .hosts import HostList, HostSpecError, host_texts, parse_hosts

BACKOFF_SECONDS = 60.0
IO_SECONDS = 300.0
MOST_SECONDS = 24 * 3600.0
EXIT_BAD_ARGUMENTS = 101
NO_VARIABLES: Final[Mapping[bytes, bytes]] = MappingProxyType({})


@record
class TlsFiles:
    """Whom we believe (empty: whomever this machine does), and who we are (empty: nobody); without
    ``key`` that lies in the file of the certificate."""

    authority: bytes = b""
    certificate: bytes = b""
    key: bytes = b""


NO_FILES: Final = TlsFiles()


@record
class ClientSettings:
    """One call's settings. ``hosts`` is None where there is no list; then ``problem`` says why,
    or is empty because nobody wrote one."""

    hosts: HostList | None
    origin: str = ""
    """The list's, for messages."""
    problem: str = ""
    fallback: bool = True
    """What cannot be distributed is compiled here."""
    local_retry: bool = True
    """What failed elsewhere is compiled here, and that counts."""
    backoff: float = BACKOFF_SECONDS
    io_timeout: float = IO_SECONDS
    """How long a server may be silent; 0 or less is an error (EXIT_BAD_ARGUMENTS)."""
    directory: bytes = b""
    """For the state of jobs; empty where there is none."""
    log: bytes = b""
    verbose: bool = False
    rewrite_names: bool = True
    """gcc is called by its target's name, so that another machine finds the same."""
    errors_to: int = 2
    """The descriptor that messages go to: ccache gives one that it does not store."""
    ssh: tuple[bytes, ...] = (b"ssh",)
    """The command that reaches hosts with an @."""
    cwd: bytes = b"/"
    environment: Mapping[bytes, bytes] = NO_VARIABLES
    """The call's own, for programs that reach hosts."""

    tls: TlsFiles = NO_FILES
    """For hosts with ,tls."""


NOTHING_TOLD: Final = ClientSettings(None)


def read_settings(
    environment: Mapping[bytes, bytes], read: Callable[[bytes], str | None], cwd: bytes = b"/"
) -> ClientSettings:
    """The settings of a call in ``cwd``. ``read`` gives a file's text or None (hosts.host_texts).

    DISTCC_SSH is split at blanks and nothing else (dcc_ssh_connect in src/ssh.c)."""
    hosts, problem = None, ""
    found = host_texts(environment, read)
    origin = "" if found is None else found[1]
    if found is not None:
        try:
            hosts = parse_hosts(found[0])
        except HostSpecError as wrong:
            problem = str(wrong)
        if hosts is not None and hosts.names_nobody:
            problem = f"{origin} contained no hosts; can't distribute work"
            hosts = None
    directory = environment.get(b"DISTCC_DIR", b"")
    if not directory and environment.get(b"HOME"):
        directory = environment[b"HOME"] + b"/.distcc"
    errors_to = _whole(environment.get(b"UNCACHED_ERR_FD", b""), 2)
    return ClientSettings(
        hosts=hosts,
        origin=origin,
        problem=problem,
        fallback=_flag(environment, b"DISTCC_FALLBACK", True),
        local_retry=b"DISTCC_SKIP_LOCAL_RETRY" not in environment,
        backoff=_seconds(environment, b"DISTCC_BACKOFF_PERIOD", BACKOFF_SECONDS),
        io_timeout=_seconds(environment, b"DISTCC_IO_TIMEOUT", IO_SECONDS),
        directory=directory,
        log=environment.get(b"DISTCC_LOG", b""),
        verbose=_flag(environment, b"DISTCC_VERBOSE", False),
        rewrite_names=b"DISTCC_NO_REWRITE_CROSS" not in environment,
        errors_to=errors_to if 0 <= errors_to < 1 << 16 else 2,
        ssh=tuple(word for word in environment.get(b"DISTCC_SSH", b"").split(b" ") if word)
        or (b"ssh",),
        cwd=cwd,
        environment=environment,
        tls=_tls_files(environment, read, cwd)
        if hosts is not None and any(host.tls for host in hosts.hosts)
        else NO_FILES,
    )


def _tls_files(
    environment: Mapping[bytes, bytes], read: Callable[[bytes], str | None], cwd: bytes
) -> TlsFiles:
    """PYCC_TLS_CA, PYCC_TLS_CERT and PYCC_TLS_KEY; else ca.pem, cert.pem and key.pem of pycc/tls in
    the user's configuration, where they are."""
    top = environment.get(b"XDG_CONFIG_HOME", b"")
    if not top and environment.get(b"HOME"):
        top = environment[b"HOME"] + b"/.config"

    def usual(name: bytes) -> bytes:
        path = top + b"/pycc/tls/" + name
        return path if top and read(path) is not None else b""

    def told(name: bytes) -> bytes:
        path = environment.get(name, b"")
        return os.path.join(cwd, path) if path else b""

    authority = told(b"PYCC_TLS_CA") or usual(b"ca.pem")
    certificate, key = told(b"PYCC_TLS_CERT"), told(b"PYCC_TLS_KEY")
    if not certificate:
        certificate = usual(b"cert.pem")
        key = key or usual(b"key.pem")
    return TlsFiles(authority, certificate, key)


def _flag(environment: Mapping[bytes, bytes], name: bytes, default: bool) -> bool:
    return {b"1": True, b"0": False}.get(environment.get(name, b""), default)


def _seconds(environment: Mapping[bytes, bytes], name: bytes, default: float) -> float:
    text = environment.get(name, b"")
    return min(float(_whole(text, 0)), MOST_SECONDS) if text else default


def _whole(text: bytes, default: int) -> int:
    """The number at the beginning, as atoi(3) reads it."""
    text = text.strip()
    end = 1 if text[:1] in (b"-", b"+") else 0
    while end < len(text) and end < 18 and text[end : end + 1].isdigit():
        end += 1
    try:
        return int(text[:end])
    except ValueError:
        return default
