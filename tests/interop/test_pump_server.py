"""pyccd and clients in pump mode: the real one, with its files from a small include server, and one
that sends what it likes."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from pycc.remote import bulk
from pycc.remote.protocol import PUMP, File, Link, Reply, Request
from tests.daemon_kit import ENVIRONMENT, Daemon, a_farm
from tests.mounting import NO_ROOTS

CWD = b"/home/somebody/project"
SOURCE = '#include <stdio.h>\n#include "own.h"\nint f(void) { return printf("%d", OWN); }\n'
HEADER = "#define OWN 3\n"
SYSTEM = [b"/usr/include", b"/usr/lib/gcc/x86_64-linux-gnu/12/include"]


@pytest.fixture(scope="module")
def farm() -> Iterator[Daemon]:
    with a_farm() as made:
        if not made.serves_exact_jobs:
            pytest.skip(NO_ROOTS)
        yield made


def _request(stream: BinaryIO) -> list[bytes]:
    """The directory and the words that an include server is asked about; nothing at the end."""

    def field() -> bytes:
        return stream.read(int(stream.read(12)[4:] or b"0", 16))

    directory = field()
    count = int(stream.read(12)[4:] or b"0", 16)
    return [directory, *(field() for _ in range(count))] if directory else []


@contextmanager
def include_server(answers: Mapping[bytes, bytes]) -> Iterator[str]:
    """What `pump` starts: tells every compile to send these files, whatever it asks for."""
    with tempfile.TemporaryDirectory(prefix="pump-", dir="/tmp") as place:
        # The client takes three directories off the front of what it is told.
        paths = []
        for path, content in answers.items():
            stored = Path(f"{place}/files{os.fsdecode(path)}.lzo")
            stored.parent.mkdir(parents=True, exist_ok=True)
            stored.write_bytes(bulk.compress(content))
            paths.append(os.fsencode(stored))
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{place}/socket")
        listener.listen(8)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    if not _request(connection.makefile("rb")):
                        return
                    reply = b"ARGC%08x" % len(paths)
                    reply += b"".join(b"ARGV%08x%s" % (len(path), path) for path in paths)
                    connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"{place}/socket"
        finally:
            with socket.socket(socket.AF_UNIX) as last:
                last.connect(f"{place}/socket")
            thread.join(10)
            listener.close()


@pytest.mark.parametrize("words", [["-O2"], ["-g", "-MMD"], ["-O1", "-MD", "-MF", "deps"]])
def test_the_real_client(farm: Daemon, words: list[str]) -> None:
    project = farm.place / "project"
    for left in project.iterdir():
        left.unlink()
    farm.write("a.c", SOURCE)
    farm.write("own.h", HEADER)
    command = ["gcc", *words, "-c", "a.c", "-o", "a.o"]
    subprocess.run(command, cwd=project, env=ENVIRONMENT, check=True)
    made = set(os.listdir(project)) - {"a.c", "own.h"}
    expected = {name: farm.read(name) for name in made}
    files = {bytes(project / "a.c"): SOURCE.encode(), bytes(project / "own.h"): HEADER.encode()}
    before = len(farm.summaries())
    with include_server(files) as port:
        for name in expected:
            (project / name).unlink()
        done = farm.distcc(*command, options=",cpp,lzo", INCLUDE_SERVER_PORT=port)
    assert (done.returncode, done.stderr) == (0, b"")
    assert {name: farm.read(name) for name in expected} == expected
    (summary,) = farm.summaries_of(before + 1)[before:]
    assert summary.startswith("COMPILE_OK"), summary


def request(files: Mapping[bytes, bytes], *words: bytes, links: tuple[Link, ...] = ()) -> Request:
    sent = [File(CWD + b"/" + name, content) for name, content in files.items()]
    own = tuple(Link(path, b"../" * 30 + path[1:]) for path in SYSTEM)
    argv = (b"gcc", *words, b"-c", b"a.c", b"-o", b"a.o")
    return Request(PUMP, argv, cwd=CWD, files=(*sent, *own, *links))


def plain(files: Mapping[bytes, bytes], *words: bytes) -> tuple[bytes, bytes]:
    """(object, dependencies) of the plain compiler, where nothing tells the directory."""
    with tempfile.TemporaryDirectory() as place:
        for name, content in files.items():
            path = Path(place, os.fsdecode(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        command = ["gcc", *map(os.fsdecode, words), "-MMD", "-c", "a.c", "-o", "a.o"]
        subprocess.run(command, cwd=place, env=ENVIRONMENT, check=True)
        return Path(place, "a.o").read_bytes(), Path(place, "a.d").read_bytes()


FILES = {b"a.c": SOURCE.encode(), b"own.h": HEADER.encode(), b"inc/x.h": b""}


def good(farm: Daemon, *arguments: object) -> Reply:
    reply = farm.ask(request(*arguments))  # type: ignore[arg-type]
    assert reply.status == 0, reply.err
    return reply


def cache_of_last(farm: Daemon, count: int) -> str:
    return farm.summaries_of(count)[-1].rpartition(" ")[2]


def test_results_are_kept_by_what_was_read(farm: Daemon) -> None:
    before = len(farm.summaries())
    for number, (files, cache) in enumerate(
        (
            (FILES, "cache:miss"),
            (FILES, "cache:hit"),
            (FILES | {b"other.h": b"never read"}, "cache:hit"),
            (FILES | {b"own.h": b"#define OWN 4\n"}, "cache:miss"),
            (FILES | {b"inc/own.h": b"#define OWN 5\n"}, "cache:hit"),
            (FILES, "cache:hit"),
        )
    ):
        reply = good(farm, files, b"-O2", b"-Iinc")
        assert (reply.object, reply.dependencies) == plain(files, b"-O2", b"-Iinc")
        assert cache_of_last(farm, before + number + 1) == cache


def test_a_header_that_shadows(farm: Daemon) -> None:
    text = {b"a.c": b"#include <own.h>\nint x = OWN;\n", b"inc/own.h": b"#define OWN 1\n"}
    before = len(farm.summaries())
    words = (b"-O2", b"-Ifirst", b"-Iinc")
    first = good(farm, text, *words)
    shadowed = text | {b"first/own.h": b"#define OWN 2\n"}
    second = good(farm, shadowed, *words)
    assert first.object == plain(text, *words)[0]
    assert second.object == plain(shadowed, *words)[0] != first.object
    assert good(farm, text, *words).object == first.object
    assert [line.rpartition(" ")[2] for line in farm.summaries_of(before + 3)[before:]] == [
        "cache:miss",
        "cache:miss",
        "cache:hit",
    ]


def test_a_directory_is_no_file(farm: Daemon) -> None:
    """A file where others have a directory of headers, and the other way round."""
    text = {b"a.c": b"#include <own.h>\nint x = OWN;\n", b"last/own.h": b"#define OWN 1\n"}
    words = (b"-O2", b"-w", b"-Imaybe", b"-Ilast")
    shapes: tuple[dict[bytes, bytes], ...] = (
        {b"maybe": b""},
        {},
        {b"maybe/own.h": b"#define OWN 2\n"},
        {b"maybe/other.h": b""},
    )
    made = [good(farm, text | shape, *words).object for shape in (*shapes, *reversed(shapes))]
    expected = [plain(text | shape, *words)[0] for shape in shapes]
    assert made == [*expected, *reversed(expected)]


def test_a_file_over_the_servers_link_or_directory(farm: Daemon) -> None:
    header = next((path for path in Path("/usr/include").rglob("*.h") if path.is_symlink()), None)
    if header is None:
        pytest.skip("no header of this machine is a link")
    name = bytes(header)
    text = {b"a.c": b"#include <%s>\nint x = 1;\n" % name[len(b"/usr/include/") :]}
    first = farm.ask(request(text))
    sent = File(name, b"#define x evil\n")
    mine = request(text)
    other = Request(PUMP, mine.argv, cwd=CWD, files=(*mine.files, sent))
    second = farm.ask(other)
    assert farm.ask(mine) == first
    if second.status == 0:
        assert b"evil" in second.object
        assert farm.ask(other) == second


def test_debug_information_names_the_clients_directory(farm: Daemon) -> None:
    for words in ((b"-g", b"-gdwarf-4"), (b"-g", b"-gdwarf-5")):
        made = good(farm, FILES, *words).object
        assert CWD in made
        assert b"pyccd" not in made
        assert b"distccd" not in made


def test_links(farm: Daemon) -> None:
    files = {b"a.c": b'#include "l.h"\nint x = OWN;\n', b"own.h": HEADER.encode()}
    link = Link(CWD + b"/l.h", CWD + b"/own.h")
    reply = farm.ask(request(files, b"-O2", links=(link,)))
    assert reply.status == 0, reply.err
    other = Link(CWD + b"/l.h", CWD + b"/none.h")
    assert farm.ask(request(files, b"-O2", links=(other,))).status == 1 << 8


def test_what_does_not_compile(farm: Daemon) -> None:
    reply = farm.ask(request(FILES | {b"a.c": b"int f(\n"}))
    assert reply.status == 1 << 8
    assert b"a.c:1" in reply.err


@pytest.mark.parametrize(
    "bad",
    [
        request({b"a.c": b"", b"../../../../etc/x": b""}),
        request({b"b.c": b""}),
        request(FILES, links=(Link(CWD + b"/a.c", b"x"),)),
        request(FILES, b"-fplugin=x"),
        request(FILES, b"-B/tmp"),
        request(FILES, links=(Link(CWD + b"/a.o", b"/dev/null"),)),
        request(FILES, links=(Link(CWD + b"/.pyccd-dependencies", b"/dev/null"),)),
        request(FILES | {b"a.o": b"", b".pyccd-dependencies": b""}),
        Request(PUMP, (), cwd=CWD),
        Request(PUMP, (b"gcc", b"-c", b"a.c"), cwd=CWD, files=(File(CWD + b"/a.c", b""),)),
        Request(PUMP, (b"evil", b"-c", b"a.c", b"-o", b"a.o"), cwd=CWD),
        Request(PUMP, (b"gcc", b"-c", b"a.c", b"-o", b"a.o"), cwd=b"project"),
    ],
)
def test_what_is_refused(farm: Daemon, bad: Request) -> None:
    reply = farm.ask(bad)
    assert reply.status != 0
    assert reply.err.startswith(b"pyccd: ")


def test_the_servers_own_headers_are_used_only_where_they_are_meant(farm: Daemon) -> None:
    """A link out of the place is taken for a name, and not followed."""
    with tempfile.NamedTemporaryFile(suffix=".h") as outside:
        outside.write(b"#define SECRET 1\n")
        outside.flush()
        os.chmod(outside.name, 0o644)
        path = os.fsencode(outside.name)
        files = {b"a.c": b'#include "%s"\nint x = SECRET;\n' % path}
        for target in (path, b"../" * 30 + path[1:], b"/proc/1/root" + path):
            links = (Link(path, b"../" * 30 + path[1:]), Link(CWD + b"/l.h", target))
            reply = farm.ask(request(files, links=links))
            assert reply.status != 0
