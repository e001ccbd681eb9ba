"""What goes into a key: every fact that can change an output, and nothing that cannot."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import pytest

from pycc import keying
from pycc.call import Call
from pycc.compiler import Toolchain
from pycc.frame import Request
from pycc.invocation import Family, Invocation
from pycc.log import NO_LOG
from pycc.memos import Environment
from pycc.native import NO_FILE, Signature
from pycc.outcome import Outcome
from pycc.record import replace
from pycc.searchchain import SearchChain
from tests.command_lines import understood
from tests.config_request import load

DIGEST = b"source digest"
FILES = {b"/w/extra": b"1", b"/w/list.txt": b"2"}


class FakeFiles:
    """The file system as keys ask it: contents by path."""

    def __init__(self, contents: Mapping[bytes, bytes]) -> None:
        self.contents = contents

    def content(self, path: bytes) -> bytes | None:
        return self.contents.get(path)

    def signature(self, path: bytes) -> Signature:
        if path in (b"/w", b"/also/w"):
            return Signature(0o40755, 1, 7, 0, 0, 0)
        return NO_FILE

    def exists(self, path: bytes) -> bool:
        return path in self.contents

    def names(self, path: bytes) -> tuple[bytes, ...]:
        return ()


@dataclass(frozen=True)
class Facts:
    """Everything that a key is made of."""

    line: str = "-c a.c -o a.o"
    driver: bytes = b"gcc"
    family: Family = Family.GCC
    identity: bytes = b"gcc 12"
    native: tuple[bytes, ...] = ()
    variables: Mapping[bytes, bytes] | None = None
    settings: Mapping[str, str] | None = None
    cwd: bytes = b"/w"
    files: Mapping[bytes, bytes] | None = None
    digest: bytes = DIGEST
    compiler: bytes = b"/usr/bin/gcc"
    umask: int = 0o22
    tty: bool = False

    def keys(self) -> tuple[bytes, bytes]:
        """(the part that preprocessed and direct mode share, the manifest's key)"""
        invocation = understood(self.line, self.family, driver=self.driver)
        invocation = replace(invocation, cwd=self.cwd)
        call = self.call(invocation)
        toolchain = Toolchain(
            self.compiler, self.family, b"12.2", self.identity, b"", SearchChain(), self.native
        )
        files = FakeFiles(FILES if self.files is None else self.files)
        base = keying.common(call, invocation, toolchain, files)
        return base.key(), keying.direct(base, call, invocation, self.digest).key()

    def call(self, invocation: Invocation) -> Call:
        words = tuple(word.encode() for word in shlex.split(self.line))
        request = Request((self.driver, *words), b"", b"", self.cwd, self.umask, int(self.tty))
        return Call(
            request=request,
            environment=Environment(dict(self.variables or {}), 1),
            config=load(environment=self.settings or {}, cwd=self.cwd.decode()),
            driver=self.driver,
            compiler=self.compiler,
            physical=self.compiler,
            named=self.compiler,
            words=words,
            prefix=(),
            records=[],
            cache=cast(Any, None),
            log=NO_LOG,
        )


BASE = Facts()
WITH_G = Facts(line="-c -g a.c -o a.o")
WITH_MD = Facts(line="-c -MD a.c -o a.o")


def line(text: str) -> dict[str, str]:
    return {"line": text}


def env(**variables: str) -> dict[str, dict[bytes, bytes]]:
    return {"variables": {name.encode(): value.encode() for name, value in variables.items()}}


BOTH: list[tuple[Facts, dict[str, Any]]] = [
    (BASE, line("-c -O2 a.c -o a.o")),
    (BASE, line("-c -g a.c -o a.o")),
    (BASE, line("-c -fPIC a.c -o a.o")),
    (BASE, line("-c -std=c99 a.c -o a.o")),
    (BASE, line("-c -x c++ a.c -o a.o")),
    (BASE, line("-S a.c -o a.o")),
    (BASE, line("-c -fstack-usage a.c -o a.o")),
    (BASE, line("-c --coverage a.c -o a.o")),
    (BASE, {"driver": b"cc"}),
    (BASE, {"identity": b"gcc 13"}),
    (BASE, {"native": (b"-march=znver4",)}),
    (BASE, env(LANG="de_DE.UTF-8")),
    (BASE, env(LC_MESSAGES="de_DE.UTF-8")),
    (BASE, env(LANG="")),
    (BASE, env(LD_PRELOAD="/x.so")),
    (BASE, env(LD_LIBRARY_PATH="/x")),
    (BASE, env(COMPILER_PATH="/x")),
    (BASE, env(GCC_EXEC_PREFIX="/x/")),
    (BASE, env(GCC_COLORS="error=1")),
    (BASE, {"settings": {"CCACHE_NAMESPACE": "n"}}),
    (BASE, {"settings": {"CCACHE_EXTRAFILES": "extra"}}),
    (WITH_G, {"cwd": b"/v"}),
    (WITH_G, line("-c -g -O2 a.c -o a.o")),
    (WITH_G, line("-c -g1 a.c -o a.o")),
    (Facts(line="-c -gsplit-dwarf -g a.c -o a.o"), line("-c -gsplit-dwarf -g a.c -o b.o")),
    (Facts(line="-c --coverage a.c -o a.o"), line("-c --coverage a.c -o b.o")),
    (
        Facts(settings={"CCACHE_EXTRAFILES": "extra"}),
        {"files": {b"/w/extra": b"another content"}},
    ),
    (
        Facts(line="-c -g -fdebug-prefix-map=/w=/x a.c -o a.o"),
        line("-c -g -fdebug-prefix-map=/w=/y a.c -o a.o"),
    ),
]
"""(facts, what differs): direct and preprocessed keys must both differ."""

DIRECT_ONLY: list[tuple[Facts, dict[str, Any]]] = [
    (BASE, line("-c -DX a.c -o a.o")),
    (BASE, line("-c -DX=1 a.c -o a.o")),
    (BASE, line("-c -UX a.c -o a.o")),
    (BASE, line("-c -Iinc a.c -o a.o")),
    (BASE, line("-c -isystem inc a.c -o a.o")),
    (BASE, line("-c -include h.h a.c -o a.o")),
    (BASE, line("-c -nostdinc a.c -o a.o")),
    (BASE, line("-c b.c -o a.o")),
    (BASE, line("-c ./a.c -o a.o")),
    (BASE, env(CPATH="/x")),
    (BASE, env(C_INCLUDE_PATH="/x")),
    (BASE, env(CPLUS_INCLUDE_PATH="/x")),
    (BASE, {"digest": b"another source"}),
    (BASE, {"settings": {"CCACHE_SLOPPINESS": "time_macros"}}),
    (WITH_MD, line("-c -MMD a.c -o a.o")),
    (WITH_MD, line("-c -MD -MP a.c -o a.o")),
    (WITH_MD, line("-c -MD -MG a.c -o a.o")),
    (WITH_MD, line("-c -Wp,-MD,a.d a.c -o a.o")),
    (Facts(line="-c -Ione -Itwo a.c"), line("-c -Itwo -Ione a.c")),
    (Facts(line="-c -I one -I two a.c"), line("-c -I one -Itwo a.c")),
    (Facts(line="-c -DA -DB a.c"), line("-c -DB -DA a.c")),
    (Facts(line="-c '-DA -DB' a.c"), line("-c -DA -DB a.c")),
    (Facts(line="-c -I -O2 a.c"), line("-c -I-O2 a.c")),
]
"""(facts, what differs): what preprocessing consumes is in the manifest's key alone."""

NEITHER: list[tuple[Facts, dict[str, Any]]] = [
    (BASE, line("-c a.c -o b.o")),
    (BASE, line("-c a.c")),
    (BASE, line("-o a.o a.c -c")),
    (BASE, {"cwd": b"/v"}),
    (BASE, {"umask": 0o77}),
    (BASE, {"tty": True}),
    (BASE, env(PATH="/x", HOME="/y", MAKEFLAGS="-j", TERM="xterm", PWD="/z")),
    (BASE, env(CCACHE_DIR="/x")),
    (BASE, {"compiler": b"/usr/local/bin/gcc"}),
    (BASE, {"settings": {"CCACHE_MAXSIZE": "1G", "CCACHE_COMPRESSLEVEL": "7"}}),
    (BASE, line("-c -fdiagnostics-color=always a.c -o a.o")),
    (WITH_MD, line("-c -MD -MF x.d a.c -o a.o")),
    (WITH_MD, line("-c -MD a.c -o b.o")),
    (Facts(variables={b"LANG": b"de"}, settings={"CCACHE_SLOPPINESS": "locale"}),
     {"variables": {b"LANG": b"en"}}),
    (Facts(line="-c -g a.c", settings={"CCACHE_NOHASHDIR": "1"}), {"cwd": b"/v"}),
    (WITH_G, env(PWD="/w")),
    (WITH_G, env(PWD="/nowhere")),
    (WITH_G, env(PWD="also/w")),
]  # fmt: skip
"""(facts, what differs): what no output can show must not cost a hit."""


@pytest.mark.parametrize(("facts", "change"), BOTH)
def test_what_changes_every_key(facts: Facts, change: dict[str, Any]) -> None:
    before, after = facts.keys(), replace(facts, **change).keys()
    assert before[0] != after[0]
    assert before[1] != after[1]


@pytest.mark.parametrize(("facts", "change"), DIRECT_ONLY)
def test_what_changes_the_manifests_key(facts: Facts, change: dict[str, Any]) -> None:
    assert facts.keys()[1] != replace(facts, **change).keys()[1]


@pytest.mark.parametrize(("facts", "change"), NEITHER)
def test_what_changes_no_key(facts: Facts, change: dict[str, Any]) -> None:
    assert facts.keys() == replace(facts, **change).keys()


def test_a_manifest_is_never_found_by_the_shared_part() -> None:
    base, direct = BASE.keys()
    assert base != direct


def test_the_directory_as_the_user_sees_it_is_what_compilers_write() -> None:
    seen = replace(WITH_G, variables={b"PWD": b"/also/w"})
    assert seen.keys() != WITH_G.keys()


def test_relative_names_below_base_dir_count() -> None:
    invocation = understood("-c a.c", driver=b"gcc")
    call = BASE.call(invocation)
    toolchain = Toolchain(b"", Family.GCC, b"", b"", b"", SearchChain(), ())
    base = keying.common(call, invocation, toolchain, FakeFiles({}))
    keys = {
        keying.direct(base, call, invocation, DIGEST, moved).key()
        for moved in ((), (b"inc",), (b"in", b"c"))
    }
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        (Facts(settings={"CCACHE_EXTRAFILES": "none"}), Outcome.ERROR_HASHING_EXTRA_FILE),
        (Facts(line="-c -fprofile-use=p.gcda a.c"), Outcome.NO_INPUT_FILE),
        (
            Facts(line="-c -fsanitize-ignorelist=none.txt a.c", family=Family.CLANG),
            Outcome.BAD_INPUT_FILE,
        ),
    ],
)
def test_a_file_that_is_missing_makes_no_key(facts: Facts, outcome: Outcome) -> None:
    with pytest.raises(keying.KeyProblem) as problem:
        facts.keys()
    assert problem.value.outcome is outcome


def test_the_content_of_an_input_file_counts() -> None:
    facts = Facts(line="-c -fsanitize-ignorelist=list.txt a.c", family=Family.CLANG)
    other = replace(facts, files={**FILES, b"/w/list.txt": b"another"})
    assert facts.keys()[0] != other.keys()[0]


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("-c a.c", True),
        ("-c -O2 a.c", True),
        ("-c -g a.c", False),
        ("-c -g0 a.c", True),
        ("-c -Wall a.c", False),
        ("-c -Wextra a.c", False),
        ("-c -w a.c", True),
        ("-c -fsanitize=address a.c", False),
        ("-c -fdiagnostics-format=json a.c", False),
        ("-c --coverage a.c", False),
        ("-c -fprofile-use a.c", False),
        ("-c a.h", False),
    ],
)
def test_where_the_text_alone_decides(text: str, allowed: bool) -> None:
    assert keying.free_text_allowed(understood(text)) is allowed


@pytest.mark.parametrize(
    ("text", "family", "forced"),
    [
        ("-c a.c", Family.GCC, True),
        ("-c a.c", Family.CLANG, True),
        ("-c a.c", Family.OTHER, False),
        ("-c -frecord-gcc-switches a.c", Family.GCC, False),
        ("-c -grecord-command-line -g a.c", Family.CLANG, False),
        ("-c a.s", Family.CLANG, False),
        ("-c -x assembler a.c", Family.CLANG, False),
        ("-c a.S", Family.CLANG, True),
        ("-c a.s", Family.GCC, True),
        ("-c -fmessage-length=72 a.c", Family.GCC, False),
        ("-c -fmessage-length=0 a.c", Family.GCC, True),
        ("-c -fmessage-length=72 a.c", Family.CLANG, True),
    ],
)
def test_where_colour_may_be_asked_for(text: str, family: Family, forced: bool) -> None:
    assert keying.forces_colour(understood(text, family)) is forced


SHAPES = ["-MD", "-MMD", "-MD -MP", "-MD -MG", "-MD -MT x", "-MD -MQ x", "-MD -MT x -MQ y"]


def test_dependency_files_of_every_shape_are_told_apart() -> None:
    shapes = set()
    for words in SHAPES:
        invocation = understood(f"-c {words} a.c")
        assert invocation.dependencies is not None
        shapes.add(keying.depfile_shape(invocation, invocation.dependencies))
    assert len(shapes) == len(SHAPES)
