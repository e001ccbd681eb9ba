"""The real distcc's client through ssh: our daemon on pipes and on sockets."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycc.remote.protocol import Request, write_request
from tests.daemon_kit import DISTCC, PROGRAM, ROOT, answer, open_place

SOURCE = "#include <stddef.h>\nsize_t f(void) { return 7; }\n"
JOB = Request(1, tuple(b"gcc -c a.c -o a.o".split()), b"int x;\n")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
COMMAND = [sys.executable, "-c", PROGRAM]


@pytest.fixture
def place() -> Iterator[Path]:
    """Has an ssh that writes its words down and runs the command here, through pipes as sshd
    does or with the client's own sockets."""
    with open_place() as place:
        (place / "project").mkdir()
        (place / "project/a.c").write_text(SOURCE)
        (place / "pyccd.py").write_text(PROGRAM)
        (place / "pyccd").write_text(
            f"#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} {place}/pyccd.py"
            f' --log-file {place}/log --verbose "$@"\n'
        )
        head = f'#!/bin/sh\nprintf "%s\\n" "$@" > {place}/words\n[ "$1" = -l ] && shift 2\nshift\n'
        (place / "ssh-sockets").write_text(f'{head}exec "$@"\n')
        (place / "ssh-pipes").write_text(f'{head}cat | "$@" | cat\n')
        for name in ("pyccd", "ssh-sockets", "ssh-pipes"):
            (place / name).chmod(0o755)
        yield place


@pytest.mark.parametrize("way", ["ssh-pipes", "ssh-sockets"])
@pytest.mark.parametrize("options", ["", ",lzo"])
def test_a_client_through_ssh(place: Path, way: str, options: str) -> None:
    done = subprocess.run(
        [DISTCC, "gcc", "-O2", "-c", "a.c", "-o", "made"],
        cwd=place / "project",
        env={
            **ENVIRONMENT,
            "DISTCC_HOSTS": f"somebody@host:{place}/pyccd{options}",
            "DISTCC_SSH": str(place / way),
            "DISTCC_DIR": str(place),
            "DISTCC_FALLBACK": "0",
        },
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert (place / "words").read_text().split() == [
        *("-l", "somebody", "host", f"{place}/pyccd", "--inetd", "--enable-tcp-insecure")
    ]
    subprocess.run(["gcc", "-O2", "-c", "a.c", "-o", "expected"], cwd=place / "project", check=True)
    project = place / "project"
    assert (project / "made").read_bytes() == (project / "expected").read_bytes()
    log = (place / "log").read_text()
    assert "client: standard input COMPILE_OK exit:0" in log


@pytest.mark.parametrize("options", [[], ["--tls-cert", "/no", "--tls-ca", "/no", "--auth"]])
def test_a_socket_on_standard_input_needs_no_option(place: Path, options: list[str]) -> None:
    """And what a configuration asks of clients of the network is none of its business."""
    ours, theirs = socket.socketpair()
    ours.settimeout(60)
    with ours, theirs:
        process = subprocess.Popen(
            [*COMMAND, "--log-file", str(place / "log"), *options],
            env=ENVIRONMENT,
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
        )
        theirs.close()
        ours.sendall(b"".join(write_request(JOB)))
        assert answer(ours).status == 0
        assert process.wait(20) == 0


@pytest.mark.parametrize(("allow", "status"), [("127.0.0.1", 0), ("10.0.0.0/8", 113)])
def test_a_client_of_inetd_has_an_address(place: Path, allow: str, status: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    ours.settimeout(60)
    with ours, theirs:
        process = subprocess.Popen(
            [*COMMAND, "--inetd", "--allow", allow, "--log-file", str(place / "log")],
            env=ENVIRONMENT,
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=theirs.fileno(),
        )
        theirs.close()
        ours.sendall(b"".join(write_request(JOB)))
        if status == 0:
            assert answer(ours).status == 0
        assert process.wait(20) == status
        try:
            assert ours.recv(100) == b""
        except ConnectionResetError:
            assert status  # what it sent was not read
    assert ("denied by access list" in (place / "log").read_text()) == (status != 0)


def test_a_start_that_fails_says_nothing_to_the_client(place: Path) -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(60)
    with ours, theirs:
        process = subprocess.Popen(
            [*COMMAND, "--inetd", "--bogus"],
            env=ENVIRONMENT,
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=theirs.fileno(),
        )
        theirs.close()
        assert process.wait(20) == 101
        assert ours.recv(100) == b""


def test_a_client_that_leaves_ends_the_compile(place: Path) -> None:
    (place / "bin").mkdir(mode=0o755)
    (place / "notes").mkdir()
    (place / "notes").chmod(0o777)
    (place / "bin/gcc").write_text(
        '#!/bin/sh\ncase " $* " in *" out.o "*) ;; *) exit 1 ;; esac\n'
        f"echo $$ > {place}/notes/pid\nexec sleep 60\n"
    )
    (place / "bin/gcc").chmod(0o755)
    process = subprocess.Popen(
        [*COMMAND, "--inetd", "--enable-tcp-insecure", "--log-file", str(place / "log")],
        env={**ENVIRONMENT, "PATH": f"{place}/bin:/usr/bin:/bin"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(b"".join(write_request(JOB)))
    process.stdin.flush()
    waiting = threading.Event()
    for _ in range(1000):
        if (place / "notes/pid").exists() or waiting.wait(0.02):
            break
    assert (place / "notes/pid").exists()
    process.stdin.close()
    assert process.wait(20) == 0
    assert process.stdout is not None
    assert process.stdout.read() == b""
    process.stdout.close()
    assert "CLI_DISCONN" in (place / "log").read_text()
