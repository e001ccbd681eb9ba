"""TLS between our client and our daemon: who is believed, and what is said to who is not."""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from pycc.remote.daemon import CONNECTIONS_A_TURN, MORE_CONNECTIONS
from pycc.remote.protocol import HELLO, OURS_PLAIN, Request, write_request
from tests.daemon_kit import Daemon, answer, daemon, free_port, said, wait_for
from tests.e2e.kit import World
from tests.interop.kit import WAYS, a_large_text, farm_counts
from tests.interop.test_inetd import listening
from tests.interop.tls_kit import Authority

NAMES = "DNS:localhost,IP:127.0.0.1"


@dataclass
class Papers:
    """``ours`` signs whoever belongs here, ``theirs`` others."""

    ours: Authority
    theirs: Authority
    server: tuple[Path, Path]
    client: tuple[Path, Path]

    def serving(self, shown: tuple[Path, Path] | None = None) -> list[str]:
        certificate, key = shown or self.server
        words = ["--tls-cert", str(certificate), "--tls-key", str(key)]
        return [*words, "--tls-ca", str(self.ours.ca)]

    def variables(
        self, believed: Path | None = None, shown: tuple[Path, Path] | None = None
    ) -> dict[str, str]:
        certificate, key = shown or self.client
        return {
            "PYCC_TLS_CA": str(believed or self.ours.ca),
            "PYCC_TLS_CERT": str(certificate),
            "PYCC_TLS_KEY": str(key),
        }


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    place = tmp_path_factory.mktemp("papers")
    ours, theirs = Authority(place, "ours"), Authority(place, "theirs")
    return Papers(ours, theirs, ours.sign("server", alternative=NAMES), ours.sign("client"))


@pytest.fixture(scope="module")
def server(papers: Papers) -> Iterator[Daemon]:
    with daemon("pyccd", *papers.serving()) as made:
        yield made


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
@WAYS
def test_both_know_each_other(
    world: World, server: Daemon, papers: Papers, name: str, options: str
) -> None:
    host = f"{name}:{server.port}/4,tls{options}"
    env = {**papers.variables(), "DISTCC_HOSTS": host}
    world.write("a.c", f"int {name.replace('.', '_').replace('1', 'one')}{len(options)};\n")
    world.compare("gcc", "-O2", "-c", "a.c", env=env)
    counts = farm_counts(world, env)
    assert sum(counts.get(way, 0) for way in ("compiled", "exact", "known")) == 1, counts
    assert "is commonName=client" in server.log


def test_hands_are_shaken_once(world: World, server: Daemon, papers: Papers) -> None:
    env = {**papers.variables(), "DISTCC_HOSTS": server.host(",tls")}
    counts: list[int] = []
    for number in range(4):
        world.write("a.c", f"int once{number};\n")
        world.compare("gcc", "-c", "a.c", env=env, times=1)
        counts.append(server.log.count("is commonName=client"))
    assert counts[-1] == counts[1]


def test_idle_connections_have_their_limit(papers: Papers) -> None:
    context = ssl.create_default_context(cafile=papers.ours.ca)
    context.load_cert_chain(*papers.client)
    hello = b"".join(write_request(Request(OURS_PLAIN, (HELLO,))))
    with daemon("pyccd", "--jobs", "1", *papers.serving()) as server, ExitStack() as stack:
        connections = []
        for _ in range(CONNECTIONS_A_TURN + MORE_CONNECTIONS + 1):
            plain = socket.create_connection(("127.0.0.1", server.port), 20)
            secured = context.wrap_socket(plain, server_hostname="127.0.0.1")
            stack.callback(secured.close)
            secured.sendall(hello)
            assert answer(secured, OURS_PLAIN).status == 0
            connections.append(secured)
        last = connections.pop()
        assert last.recv(1) == b""
        for connection in connections:
            connection.sendall(hello)
            assert answer(connection, OURS_PLAIN).status == 0


@WAYS
def test_a_large_text_in_pieces_of_any_size(
    world: World, server: Daemon, papers: Papers, options: str
) -> None:
    env = {**papers.variables(), "DISTCC_HOSTS": server.host(f",tls{options}")}
    world.write("big.c", a_large_text() + f"int of_{len(options)};\n")
    world.compare("gcc", "-c", "big.c", env=env, times=1)
    counts = farm_counts(world, env)
    assert sum(counts.get(way, 0) for way in ("compiled", "exact", "known")) == 1, counts


def test_many_at_once_while_some_say_nothing(world: World, server: Daemon, papers: Papers) -> None:
    env = {**papers.variables(), "DISTCC_HOSTS": server.host(",tls")}
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]
    try:
        silent[0].send(b"\x16\x03\x01")  # the beginning of a handshake
        for number in range(20):
            world.write(f"{number}.c", f"int number{number} = {number};\n")
        with ThreadPoolExecutor(20) as pool:
            done = list(pool.map(lambda n: world.call("gcc", "-c", f"{n}.c", env=env), range(20)))
        assert [one.status for one in done] == [0] * 20
        counts = farm_counts(world, env)
        assert sum(counts.get(way, 0) for way in ("compiled", "exact", "known")) == 20, counts
    finally:
        for connection in silent:
            connection.close()


def test_what_is_no_handshake_harms_nobody(papers: Papers) -> None:
    chance = random.Random(1)
    context = ssl.create_default_context(cafile=papers.ours.ca)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    begun = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLWantReadError):
        begun.do_handshake()
    hello = outgoing.read()
    junk = [b"", b"D", b"\x16", hello[:50], hello + b"x" * 300, b"GET / HTTP/1.0\r\n\r\n"]
    for _ in range(10):
        broken = bytearray(hello)
        for _ in range(3):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        junk.append(bytes(broken))
    junk.append(hello[:5] + chance.randbytes(200_000))
    with daemon("pyccd", *papers.serving()) as server:
        before = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
        for data in junk:
            connection = socket.create_connection(("127.0.0.1", server.port), 20)
            with connection, suppress(ConnectionError):
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):
                    pass
        descriptors = Path(f"/proc/{server.process.pid}/fd")
        wait_for(lambda: len(list(descriptors.iterdir())) <= before)
        assert len(server.summaries_of(len(junk))) == len(junk)
        assert "Traceback" not in server.log + (server.place / "output").read_text()
        assert "CRITICAL" not in server.log


@contextmanager
def troubled(
    trouble: str, papers: Papers, server: Daemon
) -> Iterator[tuple[Daemon, str, dict[str, str]]]:
    """(the daemon, its host in a list, the client's variables)."""
    host, env = server.host(",tls"), papers.variables()
    other: list[str] = []
    if trouble == "our authority":
        env = papers.variables(believed=papers.theirs.ca)
    elif trouble == "our certificate":
        env = papers.variables(shown=papers.theirs.sign("stranger"))
    elif trouble == "our certificate's end":
        env = papers.variables(shown=papers.ours.sign("late", days=-1))
    elif trouble == "no certificate":
        del env["PYCC_TLS_CERT"], env["PYCC_TLS_KEY"]
    elif trouble == "no file":
        env["PYCC_TLS_CERT"] = "/nowhere"
    elif trouble == "passphrase":
        env = papers.variables(shown=papers.ours.sign("secret", passphrase="secret"))
    elif trouble == "its end":
        other = papers.serving(papers.ours.sign("old", alternative=NAMES, days=-1))
    elif trouble == "its name":
        other = papers.serving(papers.ours.sign("else", alternative="DNS:elsewhere"))
    elif trouble == "no TLS there":
        other = ["--verbose"]
    elif trouble == "no TLS here":
        host = server.host()
    if other:
        with daemon("pyccd", *other) as made:
            yield made, made.host(",tls"), env
    else:
        yield server, host, env


@pytest.mark.parametrize(
    ("trouble", "here", "there"),
    [
        ("our authority", "the server's certificate is not taken: self-signed", "unknown ca"),
        ("our certificate", "does not know who signed our certificate", "unable to get"),
        ("our certificate's end", "our certificate has expired", "certificate has expired"),
        ("no certificate", "the server wants a certificate of ours", "did not return a certific"),
        ("no file", "No such file or directory: look at PYCC_TLS_CA, PYCC_TLS_CERT", ""),
        ("passphrase", "the key has a passphrase", ""),
        ("its end", "the server's certificate is not taken: certificate has expired", "expired"),
        ("its name", "certificate is not valid for '127.0.0.1'", "TLS:"),
        ("no TLS there", "does it speak TLS", "dcc_r_token"),
        ("no TLS here", "server provided no answer", "a client without TLS: write ,tls behind"),
    ],
)
def test_who_is_not_believed_costs_nothing(
    world: World, server: Daemon, papers: Papers, trouble: str, here: str, there: str
) -> None:
    log = world.root / "distcc.log"
    with troubled(trouble, papers, server) as (other, host, variables):
        env = {**variables, "DISTCC_HOSTS": host, "DISTCC_LOG": str(log)}
        env["DISTCC_BACKOFF_PERIOD"] = "0"  # the next test has the same host
        before = len(other.log)
        world.write("a.c", f'const char text[] = "{trouble}{"x" * 400_000}";\n')
        world.compare("gcc", "-c", "a.c", env=env, times=1)
        assert farm_counts(world, env) == {"unreachable": 1}
        assert here in log.read_text()
        if there:
            wait_for(lambda: there in other.log[before:])


def test_a_client_who_shows_nothing_where_nobody_asks(world: World, papers: Papers) -> None:
    """Private by TLS, and open to the addresses of --allow."""
    with daemon("pyccd", *papers.serving()[:-2]) as server:
        home = world.root / "home/.config/pycc/tls"
        home.mkdir(parents=True)
        (home / "ca.pem").write_bytes(papers.ours.ca.read_bytes())
        env = {"DISTCC_HOSTS": server.host(",tls")}
        world.write("a.c", "int open_to_all;\n")
        world.compare("gcc", "-c", "a.c", env=env, times=1)
        assert "unreachable" not in farm_counts(world, env)
        context = ssl.create_default_context(cafile=papers.ours.ca)
        with pytest.warns(DeprecationWarning):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        refused = pytest.raises((ssl.SSLError, ConnectionError))
        with socket.create_connection(("127.0.0.1", server.port)) as old, refused:
            context.wrap_socket(old, server_hostname="127.0.0.1")


def test_below_inetd(world: World, papers: Papers) -> None:
    with listening("socat", *papers.serving()) as (place, port):
        env = {**papers.variables(), "DISTCC_HOSTS": f"127.0.0.1:{port},tls"}
        world.write("a.c", "int below_inetd;\n")
        world.compare("gcc", "-c", "a.c", env=env, times=1)
        assert "unreachable" not in farm_counts(world, env)
        assert "is commonName=client" in (place / "log").read_text()


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--tls-cert {cert} --tls-key {key}", "lets clients in whom nobody knows: give --tls-ca"),
        ("--tls-ca {ca}", "--tls-ca means nothing without --tls-cert"),
        ("--tls-cert {cert} --tls-key {ca} --tls-ca {ca}", "TLS: "),
        ("--tls-cert /nowhere --tls-ca {ca}", "TLS: No such file or directory: look at /nowhere"),
        ("--tls-cert {cert} --tls-key {key} --tls-ca /nowhere", "No such file or directory"),
    ],
)
def test_nothing_is_served_with_less_than_was_asked_for(
    papers: Papers, line: str, text: str
) -> None:
    certificate, key = papers.server
    words = line.format(cert=certificate, key=key, ca=papers.ours.ca).split()
    status, _, err = said("--daemon", "--no-detach", "--port", str(free_port()), *words)
    assert status in (101, 115)
    assert text in err
    _, out, _ = said("--check", "--port", str(free_port()), *words)
    assert "PROBLEM: TLS: " in out


def test_check_says_who_is_asked_for_what(papers: Papers) -> None:
    _, out, _ = said(
        "--check", "--port", str(free_port()), "--allow", "0.0.0.0/0", *papers.serving()
    )
    assert (
        f"ok: TLS: {papers.server[0]} is shown; a certificate that {papers.ours.ca} signed" in out
    )
    assert "ok: allow: 0.0.0.0/0" in out
