"""lsdistcc: which words mean what, which names are asked when, what is printed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from ipaddress import ip_address

import pytest

from pycc.remote.lsdistcc import (
    TRIES,
    Lookups,
    Options,
    domain_of,
    host_line,
    names_of,
    read_options,
    run,
    same_network,
    tolerated,
)
from pycc.remote.protocol import Reply, request_reader, write_reply

HOME = ip_address("127.0.0.1")


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], Options()),
        (["-l", "-n", "-x", "-d"], Options(latency=True, numeric=True, down=True, domain=True)),
        (["-v", "-v"], Options(verbose=2)),
        (["-t3", "-h4", "-c5", "-k6"], Options(False, False, False, False, 0, 3, 4, 5, 6)),
        (["-m24", "-o2", "-g3"], Options(bits=24, overlap=2, gap=3)),
        (["-r4000", "-P3", "-pgcc-12"], Options(port=4000, protocol=3, compiler="gcc-12")),
        (["-l", "a", "-n"], Options(latency=True, rest=("a", "-n"))),
        (["-t", "-cx"], Options(seconds=0, connect_ms=0)),
        (["-t5s"], Options(seconds=5)),
        (["-long"], Options(latency=True)),
    ],
)
def test_words_mean_what_they_mean_to_distccs_program(words: list[str], options: Options) -> None:
    assert read_options(words) == options


@pytest.mark.parametrize(
    "word",
    "--help -? - -P0 -P4 -r0 -r-1 -r65536 -m32 -m-1 -p -t-1 -h-1 -c-1 -k-1 -o-1 -g-1 -z".split(),
)
def test_what_is_not_understood_shows_the_usage(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([word, "127.0.0.1"], {}) == 1
    shown = capsys.readouterr()
    assert shown.out.startswith("Usage: lsdistcc")
    assert shown.err == ""


def test_names_are_those_of_the_format_or_of_the_list() -> None:
    assert names_of(Options())[:2] == ("distcc1", "distcc2")
    assert names_of(Options(rest=("n%d%%.lan", "x")))[499:] == ("n500%.lan",)
    assert names_of(Options(rest=("a", "b%d"))) == ("a", "b%d")
    assert names_of(Options(domain=True, rest=("a",)), "lan") == ("a.lan",)


@pytest.mark.parametrize(
    ("words", "gap"), [([], 0), (["-g2", "x%d"], 2), (["a", "b"], None), (["-g1", "a", "b"], 1)]
)
def test_only_a_format_ends_by_itself_at_a_missing_name(words: list[str], gap: int | None) -> None:
    options = read_options(words)
    assert options is not None
    assert tolerated(options) == gap


@pytest.mark.parametrize(
    ("variables", "name", "domain"),
    [
        ({"HOST": "a.lan", "HOSTNAME": "a.long.lan"}, "x.other", "long.lan"),
        ({"HOST": "a", "HOSTNAME": "b"}, "x.other", "other"),
        ({}, "x", "found"),
        ({}, "unknown", None),
        ({"HOST": "a.l an"}, "x.other", None),
        ({"HOST": "a."}, "x.other", None),
    ],
)
def test_domain_comes_from_the_environment_or_from_the_machines_name(
    variables: dict[str, str], name: str, domain: str | None
) -> None:
    assert domain_of(variables, name, lambda n: "x.found" if n == "x" else n) == domain


@pytest.mark.parametrize(
    ("first", "other", "bits", "same"),
    [
        ("10.0.0.1", "192.0.2.1", 0, True),
        ("10.0.0.1", "10.0.0.254", 24, True),
        ("10.0.0.1", "10.0.1.1", 24, False),
        ("10.0.0.1", "10.0.1.1", 23, True),
        ("127.0.0.1", "128.0.0.1", 1, False),
        ("10.0.0.1", "::1", 8, False),
        ("fe80::1", "fe80::2", 31, True),
    ],
)
def test_networks_are_compared_by_their_first_bits(
    first: str, other: str, bits: int, same: bool
) -> None:
    assert same_network(ip_address(first), ip_address(other), bits) is same


@pytest.mark.parametrize(
    ("options", "name", "line"),
    [
        (Options(), "red", "red"),
        (Options(port=4000), "red", "red:4000"),
        (Options(protocol=2), "red", "red,lzo"),
        (Options(protocol=3, port=1), "red", "red:1,lzo,cpp"),
        (Options(numeric=True), "red", "127.0.0.1"),
        (Options(latency=True), "red", "red 7"),
        (Options(port=4000), "::1", "[::1]:4000"),
        (Options(port=4000), "[::1]", "[::1]:4000"),
    ],
)
def test_a_host_is_printed_as_a_word_of_a_host_list(options: Options, name: str, line: str) -> None:
    assert host_line(options, name, HOME, up=True, milliseconds=7) == line


def test_a_host_that_is_down_is_marked() -> None:
    options = Options(protocol=3, latency=True)
    assert host_line(options, "red", HOME, up=False, milliseconds=9) == "red,lzo,cpp,down 9"


def all_due(lookups: Lookups, now: float) -> list[int]:
    found = []
    while (number := lookups.due(now)) is not None:
        found.append(number)
    return found


def test_one_name_more_than_the_overlap_is_asked_for_at_once() -> None:
    lookups = Lookups(9, 2, 0, 0.5)
    assert all_due(lookups, 0.0) == [0, 1, 2]
    lookups.answered(1, found=True)
    assert all_due(lookups, 0.1) == [3]


def test_a_missing_name_ends_the_search_behind_those_that_were_begun() -> None:
    lookups = Lookups(9, 1, 0, 0.5)
    assert all_due(lookups, 0.0) == [0, 1]
    lookups.answered(0, found=False)
    assert all_due(lookups, 0.1) == []
    assert not lookups.done
    lookups.answered(1, found=True)
    assert lookups.done


def test_as_many_names_may_be_missing_as_are_tolerated() -> None:
    lookups = Lookups(9, 0, 2, 0.5)
    for number in range(3):
        assert not lookups.done
        assert all_due(lookups, 0.0) == [number]
        lookups.answered(number, found=False)
    assert lookups.done


def test_a_name_without_an_answer_is_asked_for_again_and_holds_nobody_up() -> None:
    lookups = Lookups(2, 0, 0, 0.5)
    assert all_due(lookups, 0.0) == [0]
    assert all_due(lookups, 0.4) == []
    assert all_due(lookups, 0.5) == [0, 1]
    for again in range(2, TRIES):
        assert all_due(lookups, 0.5 * again) == [0, 1]
    assert all_due(lookups, 0.5 * TRIES) == [1]
    assert all_due(lookups, 9.0) == []
    assert not lookups.done


def test_of_several_answers_the_first_counts() -> None:
    lookups = Lookups(1, 0, 0, 0.5)
    all_due(lookups, 0.0)
    assert lookups.answered(0, found=True)
    assert not lookups.answered(0, found=False)


@contextmanager
def server(serve: Callable[[socket.socket], object]) -> Iterator[int]:
    """The port of somebody who serves one client."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def accept() -> None:
            connection, _ = listener.accept()
            with closing(connection):
                serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join(20)


def answer(connection: socket.socket, status: int) -> None:
    reader = request_reader()
    while reader.message is None:
        reader.feed(connection.recv(1 << 16))
    made = b"" if status else b"object"
    connection.sendall(b"".join(write_reply(Reply(reader.message.version, status, object=made))))


def read_all(connection: socket.socket) -> None:
    connection.settimeout(20)
    while connection.recv(4096):
        pass


SERVERS: dict[str, tuple[Callable[[socket.socket], object], bool]] = {
    "compiles": (lambda one: answer(one, 0), True),
    "fails": (lambda one: answer(one, 1 << 8), False),
    "hangs up": (lambda one: one.recv(1), False),
    "talks nonsense": (lambda one: one.sendall(b"HTTP/1.1 400 Bad Request\r\n"), False),
    "sends too much": (lambda one: one.sendall(b"DONE00000001STAT00000000SERR7fffffff"), False),
    "says nothing": (lambda one: read_all(one), False),
}


@pytest.mark.parametrize("protocol", [1, 2, 3])
@pytest.mark.parametrize("name", SERVERS)
def test_who_is_to_compile_is_found_only_if_he_does(
    name: str, protocol: int, capsys: pytest.CaptureFixture[str]
) -> None:
    serve, up = SERVERS[name]
    with server(serve) as port:
        patience = "-k20000" if up else "-k200"
        status = run([f"-P{protocol}", f"-r{port}", "-x", patience, "-pgcc", "127.0.0.1"], {})
    suffix = {1: "", 2: ",lzo", 3: ",lzo,cpp"}[protocol] + ("" if up else ",down")
    assert capsys.readouterr().out == f"127.0.0.1:{port}{suffix}\n"
    assert status == (0 if up else 1)


def test_without_a_compiler_it_is_enough_to_listen(capsys: pytest.CaptureFixture[str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        assert run([f"-r{port}", "127.0.0.1"], {}) == 0
    assert run([f"-r{port}", "127.0.0.1"], {}) == 1
    assert capsys.readouterr().out == f"127.0.0.1:{port}\n"


def test_hosts_on_another_network_than_the_first_are_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["-c0", "-o0", "-m16", "10.1.0.1", "10.1.2.3", "10.2.0.1", "10.1.0.9"], {}) == 0
    assert sorted(capsys.readouterr().out.split()) == ["10.1.0.1", "10.1.0.9", "10.1.2.3"]


def test_the_search_ends_when_its_time_is_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    released = threading.Event()

    def slow(*_: object, **__: object) -> list[object]:
        released.wait(30)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    try:
        assert run(["-t1", "-v", "somebody"], {}) == 1
    finally:
        released.set()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[-1].endswith("Timeout!")
