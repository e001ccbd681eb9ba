"""A client that lies about files: what another client of exact jobs receives is what he would have
compiled himself."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path

import pytest

from pycc.cache import manifest
from pycc.cache.digest import digest_of
from pycc.cache.manifest import ManifestEntry
from pycc.remote.client_view import ClientFile, View
from pycc.remote.exact_wire import (
    ASK,
    EXACT,
    MISSING,
    TAKE,
    Ask,
    Result,
    Work,
    pack_ask,
    pack_work,
    unpack_digests,
    unpack_result,
)
from pycc.remote.protocol import NOT_KEPT, OTHER_COMPILER, OURS_PLAIN, Reply, Request
from tests.daemon_kit import Daemon, a_farm, identity_of_gcc
from tests.mounting import NO_ROOTS

CWD = b"/home/honest/project"
ENVIRONMENT = {b"PATH": b"/usr/bin:/bin", b"LC_ALL": b"C.UTF-8"}
_numbers = count(1)


@pytest.fixture(scope="module")
def farm() -> Iterator[Daemon]:
    with a_farm() as farm:
        if not farm.serves_exact_jobs:
            pytest.skip(NO_ROOTS)
        yield farm


@pytest.fixture(scope="module")
def identity() -> bytes:
    return identity_of_gcc()


@pytest.fixture
def argv() -> tuple[bytes, ...]:
    """No other test has the same."""
    number = b"-DNUMBER=%d" % next(_numbers)
    return (b"/usr/bin/gcc", b"-O1", number, b"-c", b"a.c", b"-o", b"a.o")


SOURCE = b'#include "own.h"\nint answer(void) { return OWN + NUMBER; }\n'
TRUE, FALSE = b"#define OWN 1\n", b"#define OWN 666\n"


def view_of(files: Mapping[bytes, bytes], *, mtime: int = 10**18, cwd: bytes = CWD) -> View:
    listed = [ClientFile(cwd + b"/" + name, digest_of(text), mtime) for name, text in files.items()]
    return View(cwd, tuple(listed))


def compiled(
    farm: Daemon,
    identity: bytes,
    argv: tuple[bytes, ...],
    view: View,
    contents: tuple[bytes, ...],
    *,
    bound: bool = False,
) -> Reply:
    body = pack_work(Work(view, (), bound, contents))
    return farm.ask(Request(OURS_PLAIN, (EXACT, identity, *argv), body))


def asked(
    farm: Daemon, identity: bytes, argv: tuple[bytes, ...], cwd: bytes = b""
) -> tuple[ManifestEntry, ...]:
    ask = Ask(cwd, (), digest_of(SOURCE))
    reply = farm.ask(Request(OURS_PLAIN, (ASK, identity, *argv), pack_ask(ask)))
    if reply.status == NOT_KEPT << 8:
        return ()
    assert reply.status == 0
    return manifest.unpack(reply.out)


def object_in(value: bytes) -> bytes:
    result: Result = unpack_result(value)
    (made,) = result.outputs
    assert made.path == b"a.o"
    return made.content


def honest(
    farm: Daemon, identity: bytes, argv: tuple[bytes, ...], header: bytes, tmp_path: Path
) -> None:
    """What a client whose header is ``header`` ends up with."""
    (tmp_path / "a.c").write_bytes(SOURCE)
    (tmp_path / "own.h").write_bytes(header)
    subprocess.run([*argv[:-1], "plain.o"], cwd=tmp_path, check=True)
    expected = (tmp_path / "plain.o").read_bytes()
    for entry in asked(farm, identity, argv):
        if dict(entry.files)[b"own.h"] == digest_of(header):
            words = (TAKE, entry.result_key.hex().encode(), *argv)
            assert object_in(farm.ask(Request(OURS_PLAIN, words)).object) == expected
            break
    else:
        view = view_of({b"a.c": SOURCE, b"own.h": header})
        reply = compiled(farm, identity, argv, view, (SOURCE, header))
        assert reply.status == 0, reply
        assert object_in(reply.object) == expected


def test_about_its_compiler(
    farm: Daemon, identity: bytes, argv: tuple[bytes, ...], tmp_path: Path
) -> None:
    view = view_of({b"a.c": SOURCE, b"own.h": FALSE})
    for false in (b"00" * 32, b"", b"zz", identity[:-2] + b"00"):
        reply = compiled(farm, false, argv, view, (SOURCE, FALSE))
        assert reply.status in (OTHER_COMPILER << 8, 110 << 8)
        assert asked(farm, identity, argv) == ()
    honest(farm, identity, argv, TRUE, tmp_path)


def test_about_what_a_digest_is_of(
    farm: Daemon, identity: bytes, argv: tuple[bytes, ...], tmp_path: Path
) -> None:
    """It names the honest header, and sends another."""
    unheard = TRUE + b"// %d\n" % next(_numbers)
    view = view_of({b"a.c": SOURCE, b"own.h": unheard})
    reply = compiled(farm, identity, argv, view, (SOURCE, FALSE))
    assert reply.status == MISSING << 8
    assert unpack_digests(reply.out) == (digest_of(unheard),)
    assert asked(farm, identity, argv) == ()
    honest(farm, identity, argv, unheard, tmp_path)


def test_about_which_source_it_is(
    farm: Daemon, identity: bytes, argv: tuple[bytes, ...], tmp_path: Path
) -> None:
    """The key is made of what was compiled, so nothing comes to lie under the honest one's."""
    other = SOURCE.replace(b"OWN +", b"666 +")
    view = view_of({b"a.c": other, b"own.h": TRUE})
    assert compiled(farm, identity, argv, view, (other, TRUE)).status == 0
    assert asked(farm, identity, argv) == ()
    honest(farm, identity, argv, TRUE, tmp_path)


def test_with_headers_of_its_own(
    farm: Daemon, identity: bytes, argv: tuple[bytes, ...], tmp_path: Path
) -> None:
    """That is no lie, and no matter: the entry says which header it was."""
    view = view_of({b"a.c": SOURCE, b"own.h": FALSE})
    assert compiled(farm, identity, argv, view, (SOURCE, FALSE)).status == 0
    (entry,) = asked(farm, identity, argv)
    assert dict(entry.files)[b"own.h"] == digest_of(FALSE)
    honest(farm, identity, argv, TRUE, tmp_path)
    honest(farm, identity, argv, FALSE, tmp_path)


def test_about_whether_the_directory_counts(
    farm: Daemon, identity: bytes, argv: tuple[bytes, ...]
) -> None:
    with_names = (*argv, b"-g")
    view = view_of({b"a.c": SOURCE, b"own.h": TRUE}, cwd=b"/home/liar")
    assert compiled(farm, identity, with_names, view, (SOURCE, TRUE)).status == 0
    assert asked(farm, identity, with_names, CWD) == ()


@pytest.mark.parametrize("same", [b"", CWD + b"/one/x.h"])
def test_about_times_and_second_names(
    farm: Daemon, identity: bytes, argv: tuple[bytes, ...], same: bytes
) -> None:
    """Whether two files count as one under #pragma once depends on them: that is told to nobody."""
    twice = b"#pragma once\nint twice;\n"
    source = b'#include "one/x.h"\n#include "other/x.h"\n'
    files = (
        ClientFile(CWD + b"/a.c", digest_of(source), 1),
        ClientFile(CWD + b"/one/x.h", digest_of(twice), 1),
        ClientFile(CWD + b"/other/x.h", digest_of(twice), 1, same),
    )
    reply = compiled(farm, identity, argv, View(CWD, files), (source, twice))
    assert reply.status == 110 << 8
    assert b"twice" in reply.err


@pytest.mark.parametrize(
    "word", [b"-fplugin=x", b"-B/tmp", b"-wrapper", b"-specs=x", b"@x", b"-Wp,-specs,x"]
)
def test_about_what_is_to_be_run(
    farm: Daemon, identity: bytes, argv: tuple[bytes, ...], word: bytes
) -> None:
    view = view_of({b"a.c": SOURCE, b"own.h": TRUE})
    reply = compiled(farm, identity, (*argv, word), view, (SOURCE, TRUE))
    assert reply.status == 110 << 8


def test_with_variables_that_choose_programs(
    farm: Daemon, identity: bytes, argv: tuple[bytes, ...]
) -> None:
    view = view_of({b"a.c": SOURCE, b"own.h": TRUE})
    body = pack_work(Work(view, ((b"LD_PRELOAD", b"/x.so"),), False, (SOURCE, TRUE)))
    reply = farm.ask(Request(OURS_PLAIN, (EXACT, identity, *argv), body))
    assert reply.status == 110 << 8
    assert b"LD_PRELOAD is not taken" in reply.err


@pytest.mark.parametrize("kind", [ASK, TAKE, EXACT])
@pytest.mark.parametrize("body", [b"", b"PX\x01", b"\xff" * 99])
def test_with_what_is_no_request(
    farm: Daemon, identity: bytes, argv: tuple[bytes, ...], kind: bytes, body: bytes
) -> None:
    for word in (identity, b"", b"x", b"\xff" * 40):
        reply = farm.ask(Request(OURS_PLAIN, (kind, word, *argv), body))
        assert reply.status in (110 << 8, NOT_KEPT << 8)
