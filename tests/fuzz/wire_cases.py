"""What a hostile client sends: case K of seed S is always the same bytes (but for the place).

A case is bytes and the manner of sending them. Where it is known what a daemon that is right has to
answer, the case says so.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import random
from collections.abc import Callable

from pycc.remote import bulk
from pycc.remote.protocol import (
    COMPILE,
    FETCH,
    HELLO,
    OURS_LZO,
    OURS_PLAIN,
    PUMP,
    File,
    Link,
    Request,
    text_digest,
    write_request,
)
from tests.fuzz import wire_exact
from tests.fuzz.wire_mutations import any_mutation, bomb, cut

QUICK = b"quick-gcc"
TEXTS = tuple(b"int v%d = %d;\n" % (n, n) * (1 + n * 3) for n in range(40))
REAL_TEXTS = tuple(b"int real%d(int a) { return a * %d; }\n" % (n, n) for n in range(12))
VERSIONS = (1, 1, 2, 2, OURS_PLAIN, OURS_LZO)
LARGEST_BOMB = 32 << 20


class Ending(enum.Enum):
    """What the client does when all is sent. ANSWER: it waits, and then there must be one, or the
    end, at once. HALF: it says that no more comes, and waits. CLOSE, RESET: it goes."""

    ANSWER = "answer"
    HALF = "half"
    CLOSE = "close"
    RESET = "reset"


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """``text`` is that of a job which must succeed; with ``real`` it is gcc's, with ``exact`` of an
    exact job. ``known``: from a request without a text, so that there may be no result."""

    kind: str
    pieces: tuple[bytes, ...]
    ending: Ending = Ending.ANSWER
    pause: float = 0.0
    connections: int = 1
    text: bytes | None = None
    real: bool = False
    known: bool = False
    exact: bool = False


def encoded(request: Request) -> bytes:
    """The bytes of a request."""
    return b"".join(write_request(request))


def _job(
    rng: random.Random,
    text: bytes,
    *,
    compiler: bytes = QUICK,
    words: tuple[bytes, ...] = (),
    source: bytes = b"a.c",
    output: bytes = b"a.o",
    version: int = 0,
) -> Request:
    version = version or rng.choice(VERSIONS)
    argv = (compiler, *words, b"-c", source, b"-o", output)
    if version in (OURS_PLAIN, OURS_LZO):
        argv = (COMPILE, b"", *argv)
    return Request(version, argv, text)


# What is valid.


def _good(rng: random.Random, _: bytes) -> Case:
    text = rng.choice(TEXTS)
    if rng.random() < 0.3:  # nobody has asked for this one before
        text += b"// %d\n" % rng.getrandbits(60)
    source = rng.choice((b"a.c", b"/home/u/b c.cc", b"x.y.cpp", b"\xff.m", b"../../d/-e.i"))
    words = rng.choice(((), (b"-O2", b"-g"), (b"-DX=/a/b", b"-I.", b"-Wall", b"-fPIC")))
    return Case("good", (encoded(_job(rng, text, words=words, source=source)),), text=text)


def _real(rng: random.Random, _: bytes) -> Case:
    text = rng.choice(REAL_TEXTS)
    words = (b"-DN=%d" % rng.randrange(200),)
    request = _job(rng, text, compiler=rng.choice((b"gcc", b"/usr/bin/gcc", b"cc")), words=words)
    return Case("real", (encoded(request),), text=text, real=True)


def _kept(rng: random.Random, _: bytes) -> Case:
    text = rng.choice(TEXTS)
    argv = (FETCH, b"", text_digest(text).hex().encode(), QUICK, b"-c", b"a.c", b"-o", b"a.o")
    return Case("kept", (encoded(Request(OURS_PLAIN, argv)),), text=text, known=True)


# What is not.


def _pump(rng: random.Random, ground: bytes) -> Request:
    names = (
        b"/src/a.c",
        b"/src/../../../.." + ground + b"/x",
        b"../../../.." + ground + b"/x",
        ground + b"/x",
        ground + b"/made",
        b"",
        b"/",
        b"/src/" + b"d/" * 1000,
    )
    targets = (b"/etc/passwd", ground, b"../" * 30 + ground[1:], b"a\0b", b"")
    files: list[File | Link] = []
    for _ in range(rng.randrange(6)):
        name = rng.choice(names)
        content = rng.choice((b"int x;\n", b"", b'#include "/etc/passwd"\n'))
        link = rng.random() < 0.4
        files.append(Link(name, rng.choice(targets)) if link else File(name, content))
    cwd = rng.choice((b"/src", ground, b"/..", b"src", b""))
    argv = (rng.choice((QUICK, b"gcc")), b"-c", rng.choice(names), b"-MMD", b"-o", b"a.o")
    return Request(PUMP, argv, cwd=cwd, files=tuple(files))


def _valid(rng: random.Random, ground: bytes) -> bytes:
    """Any valid message, for mutations."""
    dice = rng.random()
    if dice < 0.2:
        return encoded(_pump(rng, ground))
    if dice < 0.35:
        return encoded(_extension(rng, ground))
    compiler = b"gcc" if dice > 0.97 else QUICK
    return encoded(_job(rng, rng.choice(TEXTS[:8]), words=(b"-O2", b"-Wall"), compiler=compiler))


def _mutated(rng: random.Random, ground: bytes) -> Case:
    name, data = any_mutation(rng, _valid(rng, ground))
    return Case(name, (data,))


def _extension(rng: random.Random, ground: bytes) -> Request:
    digests: tuple[bytes, ...] = (
        b"",
        b"0",
        b"zz",
        b"00" * 32,
        b"00" * 33,
        b"ff" * 5000,
        b"../" * 10 + ground,
        b"\xff" * 64,
        text_digest(TEXTS[0]).hex().upper().encode(),
        text_digest(TEXTS[0]),
    )
    digests = tuple(digest.replace(b"\0", b"") for digest in digests)
    job = (rng.choice((QUICK, b"gcc", b"evil", b"")), b"-c", b"a.c", b"-o", b"a.o")
    identity = rng.choice(digests)
    argv = rng.choice(
        (
            (HELLO,),
            (HELLO, *job),
            (HELLO,) * 100,
            (COMPILE,),
            (COMPILE, identity),
            (COMPILE, identity, *job),
            (COMPILE, identity, COMPILE, identity, *job),
            (COMPILE, identity, FETCH, identity, *job),
            (FETCH,),
            (FETCH, identity),
            (FETCH, identity, rng.choice(digests)),
            (FETCH, identity, rng.choice(digests), *job),
            (FETCH, b"", rng.choice(digests), *job),
            (FETCH, b"", b"", HELLO),
            (b"store", identity, *job),
            (),
        )
    )
    return Request(rng.choice((OURS_PLAIN, OURS_LZO, 1)), argv, rng.choice((b"", *TEXTS[:3])))


_WORDS = b"""
@{P}/response|@a.i|@|-D|@{P}/response|-D@{P}/response|-B{P}/parts|-B {P}/parts/|-B.|-specs={P}/specs
--specs={P}/specs|-specs {P}/specs|-wrapper {P}/evil|-wrapper {P}/evil,x|-fplugin={P}/evil.so
-fplugin=evil|-fplugin-arg-evil-x=1|-iplugindir={P}|-o {P}/out|-o{P}/out|--output={P}/out|--output
-o ../../playground/out|-MF {P}/dep|-MD|-MMD|-MT x|-Wp,-MD,{P}/dep|-Wp,-o,{P}/x|-Wa,-a={P}/x
-Wa,-ahl={P}/x|-Wa,--MD={P}/x|-Wa,-o,{P}/x|-Wa,-I,{P}|-Wa,@{P}/response|-Xassembler -o
-Xassembler {P}/x|-Xassembler @{P}/response|-save-temps|-save-temps=obj|--save-temps=cwd
-dumpdir {P}/|-dumpbase {P}/x|-dumpbase-ext x|-auxbase {P}/x|-auxbase-strip {P}/x|-dumpspecs
-fdump-tree-all={P}/x|-fdump-tree-all|-fdump-rtl-all|-fdump-final-insns={P}/x|-fdump-go-spec={P}/x
-fcallgraph-info|-fstack-usage|-fprofile-use={P}|-fprofile-generate={P}|-fprofile-dir={P}
-fauto-profile={P}/x|-ftest-coverage|--coverage|-fprofile-note={P}/x|-fopt-info-all={P}/x
-fopt-info=x|-fsave-optimization-record|-fdiagnostics-format=sarif-file|-gsplit-dwarf|-aux-info
-fdiagnostics-format=json-file|-include {P}/h|-imacros {P}/h|-I{P}|-isystem {P}|-idirafter{P}
--sysroot={P}|-isysroot {P}|-iprefix {P}|-iwithprefix x|-L{P}|-T {P}/script|-Wl,-o,{P}/x|-Xlinker x
-Xpreprocessor -MD|-x c|-xc|-x assembler-with-cpp|-x none|-x c-header|--language=c|-E|-M|-MM|-###
--help|--help=common|--version|-print-prog-name=x|-pass-exit-codes|-no-integrated-cpp|-time={P}/x
-fmodules-ts|-fmodule-mapper=|{P}/evil|-fmodule-mapper={P}/x|-fmodule-header|-flto|-flto=jobserver
-fuse-ld={P}/evil|-fuse-linker-plugin|-Xclang -load -Xclang {P}/evil.so|-mllvm -load={P}/evil.so
-Xclang|-mllvm|-fcompare-debug|-fcompare-debug=-fplugin=evil|-fcompare-debug=-wrapper {P}/evil
-fsanitize-ignorelist={P}/x|-fcrash-diagnostics-dir={P}|-ftime-trace={P}/x|-fproc-stat-report={P}/x
-gen-reproducer|-working-directory={P}|-resource-dir={P}|-ccc-gcc-name evil|--gcc-toolchain={P}
--config={P}/x|--config {P}/x|--ld-path={P}/evil|{P}/other.c|other.c|other.o|-|--|b.i|-l{P}/x
-foffload=x|-fself-test={P}|-fpreprocessed|-fdirectives-only|-fmem-report|-ftime-report|-march=native
-mtune={P}|-mcpu=../../x|-std={P}|-Wno-error={P}|-fabi-version={P}|-frandom-seed={P}/x|-dA|-Q|-v
-fdebug-prefix-map={P}=x|-fdebug-prefix-map|-ffile-prefix-map=@{P}/response=x|-D {P}/x|-U @x|-G 8
--param {P}|--param=x=y|--param|-pipe|-S|-c|-C|-shared|-static|-r|-emit-llvm|-fsyntax-only|-nostdinc
-fdiagnostics-color=always|-fmessage-length=0|-finput-charset=x|-fexec-charset=UTF-16
-fno-exceptions|-fprofile-filter-files={P}|-finstrument-functions-exclude-file-list={P}
-fplugin|-fpch-deps|-fsplit-stack
-fpch-preprocess|-include-pch {P}/x|-fembed-bitcode|-fdump-ada-spec|-fgnu-tm|-fopenacc
"""


@functools.lru_cache(1)
def _hostile_words(ground: bytes) -> list[tuple[bytes, ...]]:
    return [
        tuple(word.replace(b"{P}", ground) for word in entry.split(b" "))
        for entry in _WORDS.replace(b"\n", b"|").split(b"|")
        if entry
    ]


_ODD_WORDS: tuple[tuple[bytes, ...], ...] = (
    (b"",),
    (b" ",),
    (b"-",),
    (b"\n",),
    (b"-D" + b"x" * 100_000,),
    (b"\xff" * 300,),
    (b"-O2",) * 5000,
    (b"-o",),
    (b"-x",),
)


def _words(rng: random.Random, ground: bytes) -> Case:
    hostile = _hostile_words(ground)
    argv = [b"-O2", b"-c", b"a.c", b"-o", b"a.o"]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        entry = rng.choice(_ODD_WORDS) if rng.random() < 0.05 else rng.choice(hostile)
        at = rng.randrange(len(argv) + 1)
        argv[at:at] = entry
    version = rng.choice(VERSIONS)
    compiler = b"gcc" if rng.random() < 0.2 else rng.choice((QUICK, QUICK, b"quick-g++", b"clang"))
    whole = (compiler, *argv)
    if version in (OURS_PLAIN, OURS_LZO):
        whole = (COMPILE, b"", *whole)
    # A text that is a response file as well, should somebody ask for it as one.
    text = rng.choice((TEXTS[0], b"-wrapper " + ground + b"/evil\n"))
    return Case("words", (encoded(Request(version, whole, text)),))


def _names(rng: random.Random, ground: bytes) -> Case:
    compilers = (
        QUICK,
        b"/bin/sh",
        b"sh",
        b"evil",
        b"bash",
        b"gcc.real",
        b"distcc",
        b"ccache",
        b"python3",
        ground + b"/evil",
        ground + b"/parts/cc1",
        b"../playground/evil",
        b"./evil",
        b"/usr/bin/../../" + ground + b"/evil",
        b"/usr/bin/env",
        b"/bin/../bin/sh",
        b"",
        b".",
        b"..",
        b"/",
        b"gcc\n",
        b"gcc ",
        b"gcc-",
        b"-gcc",
        b"\xff-gcc",
        b"x" * 300 + b"-gcc",
        b"x-" * 3000 + b"gcc",
        b"a" * 60_000,
    )
    names = (
        b"a.c",
        ground + b"/x.c",
        b"../" * 10 + ground + b"/x.c",
        b"../../playground/x.c",
        b"@a.c",
        b"-a.c",
        b".c",
        b"..c",
        b"a",
        b"",
        b"/",
        b"a.s",
        b"a.S",
        b"a.h",
        b"a.o",
        b"out.c",
        b"out.o.c",
        b"x" * 5000 + b".c",
        b"\xff\xfe\n.cc",
        b'"; touch x;".c',
        b"$(touch x).c",
        b"con.tar.mii",
    )
    outputs = (b"a.o", ground + b"/out", b"../../playground/out", b"-", b"", b"/dev/null", b"a.c")
    compiler = rng.choice(compilers) if rng.random() < 0.6 else QUICK
    source = rng.choice(names) if rng.random() < 0.8 else b"a.c"
    request = _job(rng, TEXTS[1], compiler=compiler, source=source, output=rng.choice(outputs))
    return Case("names", (encoded(request),))


def _texts(rng: random.Random, ground: bytes) -> Case:
    secret = ground + b"/secret"
    hard = (b'."\n' + b" " * 60, b'."', b'"" ', b"\\", b"/*", b"#\n", b"??/", b'."\n#', b"\\x2e")
    texts = (
        b'asm(".incbin \\"' + secret + b'\\"");\n',
        b'asm(".inc" "lude \\"' + secret + b'\\"");\n',
        b'#include "' + secret + b'"\n',
        b'#pragma GCC pch_preprocess "' + secret + b'"\n',
        b'# 1 "' + secret + b'"\nint f( {\n',
        b"int " + b"(" * 2000 + b"x" + b")" * 2000 + b";\n",
        b"\0" * 1000,
        b"\xff" * 1000,
        b"",
        rng.randbytes(3000),
        rng.choice(hard) * rng.choice((10, 3000)),
        b"x" * 300_000,
    )
    compiler = b"gcc" if rng.random() < 0.05 else QUICK
    request = _job(rng, rng.choice(texts), compiler=compiler, source=rng.choice((b"a.c", b"b.cc")))
    return Case("texts", (encoded(request),))


def _behaviour(rng: random.Random, _: bytes) -> Case:
    """Compilers that crash, fail, talk too much, leave children or files, or make nothing."""
    names = (b"slow", b"crash", b"fail", b"none", b"loud", b"litter")
    weights = (4, 4, 4, 4, 1, 4)
    name = rng.choices((*names, b"linger"), (*weights, 0.2))[0]
    text = b"//" + name + b" %d\n" % rng.getrandbits(60)
    return Case("behaviour", (encoded(_job(rng, text)),))


def _impatient(rng: random.Random, _: bytes) -> Case:
    """A client that leaves: anywhere in its request, or while it is compiled."""
    text = b"//slow %d\n" % rng.getrandbits(60)
    data = encoded(_job(rng, text))
    if rng.random() < 0.7:
        data = cut(rng, data)
    ending = rng.choice((Ending.HALF, Ending.CLOSE, Ending.RESET))
    pause = rng.choice((0.0, 0.0, 0.0, 0.02))
    return Case("impatient", (data, b""), ending, pause)


def _slow(rng: random.Random, _: bytes) -> Case:
    text = rng.choice(TEXTS[:4])
    data = encoded(_job(rng, text))
    size = max(1, len(data) // rng.choice((3, 10, 30)))
    pieces = tuple(data[at : at + size] for at in range(0, len(data), size))
    return Case("slow", pieces, pause=0.2 / len(pieces), text=text)


def _crowd(rng: random.Random, _: bytes) -> Case:
    """More at once than the daemon serves, all of them silent in the middle of a request."""
    data = cut(rng, encoded(_job(rng, TEXTS[0])))
    ending = rng.choice((Ending.CLOSE, Ending.RESET, Ending.HALF))
    return Case("crowd", (data,), ending, pause=0.02, connections=rng.randrange(20, 45))


def _bomb(rng: random.Random, _: bytes) -> Case:
    size = rng.choice((LARGEST_BOMB, 1 << 20, 1 << 20, 1 << 16, 1 << 16))
    request = _job(rng, b"x", version=rng.choice((2, OURS_LZO)))
    head = encoded(request)[: -(12 + len(bulk.compress(b"x")))]
    body = bomb(rng, size)
    return Case("bomb", (head + b"DOTI%08x" % len(body) + body,))


def _exact(rng: random.Random, _: bytes) -> Case:
    request, text = wire_exact.good(rng)
    return Case("exact", (encoded(request),), text=text, exact=True)


def _exact_hostile(rng: random.Random, ground: bytes) -> Case:
    request = wire_exact.hostile(rng, ground, _hostile_words(ground))
    return Case("exact hostile", (encoded(request),))


def _exact_impatient(rng: random.Random, _: bytes) -> Case:
    """One that leaves while its root is made, or its compiler runs."""
    request, _ = wire_exact.good(rng)
    argv = (*request.argv[:3], b"-DN=%d" % rng.getrandbits(60), *request.argv[3:])
    data = encoded(Request(request.version, argv, request.text))
    ending = rng.choice((Ending.CLOSE, Ending.RESET))
    return Case("exact impatient", (data, b""), ending, rng.choice((0.0, 0.005, 0.02, 0.05)))


KINDS: dict[str, tuple[float, Callable[[random.Random, bytes], Case]]] = {
    "good": (8, _good),
    "real": (1, _real),
    "kept": (2, _kept),
    "mutated": (45, _mutated),
    "pump": (4, lambda rng, ground: Case("pump", (encoded(_pump(rng, ground)),))),
    "extension": (6, lambda rng, ground: Case("extension", (encoded(_extension(rng, ground)),))),
    "words": (18, _words),
    "names": (8, _names),
    "texts": (3, _texts),
    "behaviour": (2, _behaviour),
    "impatient": (4, _impatient),
    "slow": (0.5, _slow),
    "crowd": (0.05, _crowd),
    "bomb": (0.4, _bomb),
    "exact": (1, _exact),
    "exact hostile": (5, _exact_hostile),
    "exact spoiled": (5, lambda rng, _: Case("exact spoiled", (encoded(wire_exact.spoiled(rng)),))),
    "exact thief": (
        0.5,
        lambda rng, ground: Case("exact thief", (encoded(wire_exact.thief(rng, ground)),)),
    ),
    "exact question": (
        4,
        lambda rng, ground: Case("exact question", (encoded(wire_exact.question(rng, ground)),)),
    ),
    "exact impatient": (0.5, _exact_impatient),
}
"""By name: how often, and how one is made."""


def case_of(seed: int, number: int, ground: bytes) -> Case:
    """Case ``number``; ``ground`` is the path of the playground."""
    rng = random.Random(f"{seed}/{number}")
    names = list(KINDS)
    name = rng.choices(names, [KINDS[one][0] for one in names])[0]
    return KINDS[name][1](rng, ground)
