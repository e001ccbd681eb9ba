"""What a hostile client sends of exact jobs: files under names that could lead anywhere.

A job of these that is right gives gcc's own object, which is known; of the others it is known that
nothing outside its root is read or written: the playground's secret is in no answer.
"""

from __future__ import annotations

import functools
import random
import subprocess
import tempfile
from pathlib import Path

from pycc.cache.digest import digest_of
from pycc.remote.client_view import ClientFile, ClientLink, View
from pycc.remote.exact_wire import ASK, DIGEST, EXACT, TAKE, Ask, Work, pack_ask, pack_work
from pycc.remote.protocol import OURS_LZO, OURS_PLAIN, Request
from tests.daemon_kit import identity_of_gcc
from tests.fuzz.wire_mutations import flip_bits, set_bytes

GCC = b"/usr/bin/gcc"
CWD = b"/home/somebody/project"
SECRET = b"the canary called secret"
HEADER = b"#define OWN 3\n"
SOURCES = tuple(b'#include "own.h"\nint f%d(int a) { return a * OWN; }\n' % n for n in range(8))
WORDS = (b"-O1", b"-c", b"a.c", b"-o", b"a.o")

identity = functools.lru_cache(1)(identity_of_gcc)


def objects() -> dict[bytes, bytes]:
    """What the plain compiler makes of SOURCES."""
    made: dict[bytes, bytes] = {}
    with tempfile.TemporaryDirectory() as place:
        Path(place, "own.h").write_bytes(HEADER)
        for text in SOURCES:
            Path(place, "a.c").write_bytes(text)
            subprocess.run(["gcc", *map(bytes.decode, WORDS)], cwd=place, check=True)
            made[text] = Path(place, "a.o").read_bytes()
    return made


def _file(path: bytes, content: bytes, mtime: int = 10**18, same_as: bytes = b"") -> ClientFile:
    return ClientFile(path, digest_of(content), mtime, same_as)


def _request(rng: random.Random, argv: tuple[bytes, ...], body: bytes) -> Request:
    return Request(rng.choice((OURS_PLAIN, OURS_LZO)), argv, body)


def good(rng: random.Random) -> tuple[Request, bytes]:
    """(a job that must be done, its source)."""
    text = rng.choice(SOURCES)
    files = (_file(CWD + b"/a.c", text), _file(CWD + b"/own.h", HEADER))
    work = Work(View(CWD, files), ((b"LC_ALL", b"C.UTF-8"),), False, (text, HEADER))
    return _request(rng, (EXACT, identity(), GCC, *WORDS), pack_work(work)), text


def spoiled(rng: random.Random) -> Request:
    """A job whose body was changed in flight, in a message that is in order."""
    request, _ = good(rng)
    body = request.text
    for _ in range(rng.choice((1, 1, 3))):
        body = rng.choice((flip_bits, set_bytes, _cut, _doubled, _length))(rng, body)
    return Request(request.version, request.argv, body)


def _cut(rng: random.Random, body: bytes) -> bytes:
    return body[: rng.randrange(1, len(body) + 1)]


def _doubled(rng: random.Random, body: bytes) -> bytes:
    start, end = sorted(rng.randrange(len(body) + 1) for _ in range(2))
    return body[:end] + body[start:end] + body[end:]


def _length(rng: random.Random, body: bytes) -> bytes:
    """Something else where a length, or a number of fields, may stand."""
    at = rng.randrange(max(1, len(body) - 8))
    size = rng.choice((4, 8))
    value = rng.choice((0, 1, 2, 255, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1))
    return body[:at] + value.to_bytes(size, "little") + body[at + size :]


def _paths(ground: bytes) -> tuple[bytes, ...]:
    return (
        CWD + b"/own.h",
        CWD + b"/a.c",
        CWD,
        ground + b"/secret",
        ground + b"/x",
        CWD + b"/../../.." + ground + b"/secret",
        b"../" * 9 + ground[1:] + b"/x",
        b"own.h",
        b"",
        b"/",
        b"/.",
        b"//etc//passwd",
        b"/etc/ld.so.preload",
        b"/etc/passwd",
        GCC,
        b"/usr/lib/gcc/x86_64-linux-gnu/12/cc1",
        b"/usr/lib/x86_64-linux-gnu/libc.so.6",
        b"/usr/include/stdio.h",
        b"/usr/include/new/deep/x.h",
        b"/usr/local/include/x.h",
        b"/lib/x.h",
        b"/proc/self/mem",
        b"/dev/null",
        b"/dev/shm/x",
        b"/tmp/x.h",
        b"/home/other/" + b"d/" * 200 + b"x.h",
        b"/" + b"n" * 255 + b"/x.h",
        b"/" + b"n" * 300,
        b"/x" * 3000,
        CWD + b"/with\nline\\and \xff\x01.h",
        CWD + b"/nul\0.h",
    )


def hostile(rng: random.Random, ground: bytes, words: list[tuple[bytes, ...]]) -> Request:
    """A job with files, links, directories, words and variables as nobody needs them."""
    paths, source = _paths(ground), rng.choice(SOURCES)
    contents = [source, HEADER, b"", b"x" * 100_000, b"#pragma once\n", b"\0\xff"]
    files = [_file(CWD + b"/a.c", source), _file(CWD + b"/own.h", HEADER)]
    for _ in range(rng.choice((0, 1, 1, 2, 6))):
        mtime = rng.choice((0, 1, 10**18, 10**19 - 1, (1 << 63) - 1))
        same_as = rng.choice((b"", b"", b"", *paths))
        files.append(_file(rng.choice(paths), rng.choice(contents), mtime, same_as))
    if rng.random() < 0.1:
        digest = rng.choice((b"", b"short", rng.randbytes(DIGEST), b"../" * 6 + b"xx"))
        files.append(ClientFile(CWD + b"/other.h", digest, 1))
    targets = (*paths, b".", b"..", b"a.c", b"loop", b"/proc/1/root" + ground + b"/secret")
    links = [
        ClientLink(rng.choice((*paths, CWD + b"/loop", CWD + b"/own.h/x")), rng.choice(targets))
        for _ in range(rng.choice((0, 0, 1, 2, 5)))
    ]
    some = [rng.choice(paths) for _ in range(rng.choice((0, 0, 1, 4)))]
    absent = [rng.choice(paths) for _ in range(rng.choice((0, 0, 1, 4)))]
    cwd = rng.choice((CWD, CWD, CWD, CWD, CWD, *paths))
    rng.shuffle(files)
    view = View(cwd, tuple(files), tuple(links), tuple(some), tuple(absent))
    names = (b"LD_PRELOAD", b"PATH", b"GCC_EXEC_PREFIX", b"CPATH", b"PWD", b"LANG", b"", b"A=B")
    values = (ground, ground + b"/evil.so", b"", b"C", b"x" * 10_000, b"a\nb", b":", b"%n%s")
    variables = [(rng.choice(names), rng.choice(values)) for _ in range(rng.choice((0, 0, 1, 3)))]
    argv = list(WORDS)
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        argv[(at := rng.randrange(len(argv) + 1)) : at] = rng.choice(words)
    include = rng.choice((b"-I" + ground, b"-I/proc/1/root" + ground, b"-I/etc", b"-I" + CWD))
    argv[:0] = [include] if rng.random() < 0.3 else []
    compiler = rng.choice((GCC, GCC, GCC, GCC, b"gcc", b"quick-gcc", b"/bin/sh", ground + b"/evil"))
    given = [content for content in contents if rng.random() < 0.8]
    work = Work(view, tuple(variables), rng.random() < 0.3, tuple(given))
    known = identity() if rng.random() < 0.9 else rng.choice((b"", b"00", b"zz", b"ff" * 32))
    return _request(rng, (EXACT, known, compiler, *argv), pack_work(work))


def thief(rng: random.Random, ground: bytes) -> Request:
    """A source that would show the playground's secret, could it be reached."""
    secret = ground + b"/secret"
    way = rng.choice((secret, b"/proc/1/root" + secret, b"/proc/self/cwd/../../.." + secret, b"l"))
    text = rng.choice(
        (
            b'#include "%s"\n' % way,
            b'__asm__(".incbin \\"%s\\"");\n' % way,
            b'__asm__(".include \\"%s\\"");\n' % way,
            b'#if __has_include("%s")\n#error it is there\n#endif\n#include "%s"\n' % (way, way),
        )
    )
    links = (ClientLink(CWD + b"/l", rng.choice((secret, b"/proc/1/root" + secret))),)
    view = View(CWD, (_file(CWD + b"/a.c", text),), links)
    work = Work(view, (), False, (text,))
    return _request(rng, (EXACT, identity(), GCC, *WORDS), pack_work(work))


def question(rng: random.Random, ground: bytes) -> Request:
    """ASK and TAKE, with anything for a key."""
    digests = (b"", b"x", digest_of(SOURCES[0]), rng.randbytes(DIGEST), rng.randbytes(5000))
    ask = pack_ask(
        Ask(
            rng.choice((b"", CWD, ground, b"\0" * 100)),
            ((b"LC_ALL", b"C.UTF-8"),) * rng.choice((1, 1, 0, 2000)),
            rng.choice(digests),
        )
    )
    if rng.random() < 0.5:
        ask = rng.choice((flip_bits, set_bytes, _cut, _doubled, _length))(rng, ask)
    names = (b"", b"zz", b"00" * 32, b"ff" * 31, b"00" * 40_000, b"../" * 9 + ground, b"\xff" * 64)
    key = rng.choice((identity(), *names))
    job = rng.choice(((), (GCC,), (GCC, *WORDS), (b"", b""), (b"-c",)))
    return _request(rng, (rng.choice((ASK, TAKE)), key, *job), rng.choice((ask, b"", ask * 50)))
