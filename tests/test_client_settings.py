"""distcc's variables."""

from __future__ import annotations

import pytest

from pycc.remote.client_settings import (
    BACKOFF_SECONDS,
    IO_SECONDS,
    NO_FILES,
    ClientSettings,
    TlsFiles,
    read_settings,
)

FILES = {b"/etc/distcc/hosts": "etc", b"/home/u/.distcc/hosts": "home/2,lzo", b"/d/hosts": "own"}


def settings(variables: dict[str, str], files: dict[bytes, str] | None = None) -> ClientSettings:
    environment = {name.encode(): value.encode() for name, value in variables.items()}
    return read_settings(environment, (FILES if files is None else files).get)


@pytest.mark.parametrize(
    ("variables", "names", "origin"),
    [
        ({"DISTCC_HOSTS": "a b"}, ["a", "b"], "$DISTCC_HOSTS"),
        ({"HOME": "/home/u"}, ["home"], "/home/u/.distcc/hosts"),
        ({"HOME": "/home/u", "DISTCC_DIR": "/d"}, ["own"], "/d/hosts"),
        ({}, ["etc"], "/etc/distcc/hosts"),
    ],
)
def test_where_hosts_come_from(variables: dict[str, str], names: list[str], origin: str) -> None:
    found = settings(variables)
    assert found.hosts is not None
    assert [host.host for host in found.hosts.hosts] == names
    assert found.origin == origin
    assert found.problem == ""


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"DISTCC_HOSTS": ""}, "$DISTCC_HOSTS contained no hosts; can't distribute work"),
        ({"DISTCC_HOSTS": "# none"}, "$DISTCC_HOSTS contained no hosts; can't distribute work"),
        ({"DISTCC_HOSTS": "a/x"}, 'bad word "a/x" in the host list'),
    ],
)
def test_lists_of_no_use(variables: dict[str, str], problem: str) -> None:
    found = settings(variables)
    assert found.hosts is None
    assert problem in found.problem


def test_nobody_wrote_a_list() -> None:
    found = settings({}, {})
    assert (found.hosts, found.problem, found.origin) == (None, "", "")


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("DISTCC_FALLBACK", "0", "fallback", False),
        ("DISTCC_FALLBACK", "1", "fallback", True),
        ("DISTCC_FALLBACK", "no", "fallback", True),
        ("DISTCC_FALLBACK", "", "fallback", True),
        ("DISTCC_SKIP_LOCAL_RETRY", "", "local_retry", False),
        ("DISTCC_BACKOFF_PERIOD", "0", "backoff", 0.0),
        ("DISTCC_BACKOFF_PERIOD", "7s", "backoff", 7.0),
        ("DISTCC_BACKOFF_PERIOD", "", "backoff", BACKOFF_SECONDS),
        ("DISTCC_BACKOFF_PERIOD", "many", "backoff", 0.0),
        ("DISTCC_IO_TIMEOUT", " 12", "io_timeout", 12.0),
        ("DISTCC_IO_TIMEOUT", "-3", "io_timeout", -3.0),
        ("DISTCC_IO_TIMEOUT", "9" * 40, "io_timeout", 86400.0),
        ("DISTCC_VERBOSE", "1", "verbose", True),
        ("DISTCC_VERBOSE", "yes", "verbose", False),
        ("DISTCC_LOG", "log", "log", b"log"),
        ("DISTCC_NO_REWRITE_CROSS", "0", "rewrite_names", False),
        ("DISTCC_DIR", "/d", "directory", b"/d"),
        ("HOME", "/h", "directory", b"/h/.distcc"),
        ("DISTCC_SSH", "", "ssh", (b"ssh",)),
        ("DISTCC_SSH", "  ", "ssh", (b"ssh",)),
        ("DISTCC_SSH", " ssh  -p 7 'a b'", "ssh", (b"ssh", b"-p", b"7", b"'a", b"b'")),
        ("UNCACHED_ERR_FD", "7", "errors_to", 7),
        ("UNCACHED_ERR_FD", "-1", "errors_to", 2),
        ("UNCACHED_ERR_FD", "x", "errors_to", 2),
        ("UNCACHED_ERR_FD", "99999999", "errors_to", 2),
    ],
)
def test_variables(name: str, value: str, field: str, expected: object) -> None:
    assert getattr(settings({name: value}), field) == expected


KEPT = {b"/h/.config/pycc/tls/ca.pem": "", b"/x/pycc/tls/cert.pem": "", b"/x/pycc/tls/key.pem": ""}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, NO_FILES),
        ({"HOME": "/h"}, TlsFiles(b"/h/.config/pycc/tls/ca.pem")),
        (
            {"HOME": "/h", "XDG_CONFIG_HOME": "/x"},
            TlsFiles(b"", b"/x/pycc/tls/cert.pem", b"/x/pycc/tls/key.pem"),
        ),
        (
            {"XDG_CONFIG_HOME": "/x", "PYCC_TLS_CA": "ca", "PYCC_TLS_CERT": "/both"},
            TlsFiles(b"/cwd/ca", b"/both", b""),
        ),
        (
            {"PYCC_TLS_CERT": "c", "PYCC_TLS_KEY": "k", "HOME": "/h"},
            TlsFiles(b"/h/.config/pycc/tls/ca.pem", b"/cwd/c", b"/cwd/k"),
        ),
    ],
)
def test_files_of_tls(variables: dict[str, str], expected: TlsFiles) -> None:
    environment = {name.encode(): value.encode() for name, value in variables.items()}
    hosts = {b"DISTCC_HOSTS": b"a,tls"}
    assert read_settings({**environment, **hosts}, KEPT.get, b"/cwd").tls == expected


def test_files_of_tls_are_not_looked_for_in_vain() -> None:
    def read(path: bytes) -> str | None:
        raise AssertionError(path)

    assert read_settings({b"DISTCC_HOSTS": b"a", b"HOME": b"/h"}, read).tls == NO_FILES


def test_defaults() -> None:
    found = settings({})
    assert (found.fallback, found.local_retry, found.verbose) == (True, True, False)
    assert (found.backoff, found.io_timeout) == (BACKOFF_SECONDS, IO_SECONDS)
    assert (found.log, found.directory, found.errors_to) == (b"", b"", 2)
