"""Single edits: pure functions from one state to another, and the tables that they choose from."""

from __future__ import annotations

import dataclasses
import random
import re

from tests.fuzz.project import Toolchain
from tests.fuzz.states import Command, State

NUMBER = re.compile(rb"(/\*n\*/|\.long )(\d\d\d)\b")
BLOCK = re.compile(rb"/\*\{\*/.*?/\*\}\*/\n", re.DOTALL)
ASSEMBLER = (b".S", b".s")
USED_HEADERS = (
    *(b"src/local.h", b"inc2/x.h", b"inc2/deep.h", b"inc3/y.h", b"sys2/z.h", b"inc2/sub/s.h"),
    *(b"dirA/l.h", b"dirA/m.h", b"store/f1.h", b"gen/gen.h", b"after/c.h"),
)


GCC_ONLY = (
    *((b"-fcallgraph-info",), (b"-fcallgraph-info=su",), (b"-O2", b"-fipa-pta")),
    *((b"-flto", b"-frandom-seed=one"), (b"-fstack-usage",)),
)
EXTRAS: tuple[tuple[bytes, ...], ...] = (
    (),
    (b"-fstack-usage",),
    (b"-g", b"-gsplit-dwarf"),
    (b"-fcallgraph-info",),
    (b"--coverage", b"-frandom-seed=one"),
    (b"-ftest-coverage", b"-frandom-seed=two"),
    (b"-flto", b"-frandom-seed=one"),
    (b"-fsanitize=address",),
)
DEPENDS: tuple[tuple[bytes, ...], ...] = (
    (),
    (b"-MD",),
    (b"-MMD",),
    (b"-MD", b"-MP"),
    (b"-MMD", b"-MP", b"-MF", b"{R}/out/dep.d"),
    (b"-MD", b"-MF{R}/out/joined.d"),
    (b"-MD", b"-MT", b"target one"),
    (b"-MMD", b"-MQ", b"$(target)/o", b"-MT", b"second"),
    (b"-Wp,-MD,{R}/out/wp.d",),
    (b"-Wp,-MMD,{R}/out/wpm.d",),
    (b"-MD", b"-MG"),
)
CATEGORIES: dict[str, tuple[tuple[bytes, ...], ...]] = {
    "mode": ((), (), (), (b"-S",)),
    "optimize": ((b"-O1",), (b"-O0",), (b"-O2",), (b"-Os",), (b"-O2", b"-fPIC")),
    "debug": (
        *((), (b"-g",), (b"-g3",), (b"-ggdb", b"-gdwarf-4"), (b"-g", b"-g0"), (b"-g1",)),
        *((b"-g", b"-gz"), (b"-fsanitize=undefined",), (b"-g", b"-fno-omit-frame-pointer")),
    ),
    "warn": (
        *((), (), (b"-Wall",), (b"-Wall", b"-Wextra"), (b"-Wall", b"-Wextra", b"-Werror")),
        *((b"-w",), (b"-Wundef",)),
    ),
    "extra": EXTRAS,
    "depend": DEPENDS,
    "define": ((), (b"-DDEF=1",), (b"-DDEF=3", b"-DOTHER"), (b"-DDEF=/*n*/7",)),
}


SETTINGS: tuple[tuple[bytes, bytes], ...] = (
    *((b"CCACHE_PREPROCESS_FIRST", b"1"), (b"CCACHE_NODIRECT", b"1"), (b"CCACHE_READONLY", b"1")),
    *((b"CCACHE_READONLY_DIRECT", b"1"), (b"CCACHE_RECACHE", b"1"), (b"CCACHE_NAMESPACE", b"n")),
    *((b"CCACHE_NOINODECACHE", b"1"), (b"CCACHE_NOCOMPRESS", b"1"), (b"CCACHE_NOSTATS", b"1")),
    *((b"CCACHE_COMPRESSLEVEL", b"9"), (b"CCACHE_COMMENTS", b"1"), (b"CCACHE_DISABLE", b"1")),
    *((b"CCACHE_COMPILERCHECK", b"content"), (b"CCACHE_COMPILERCHECK", b"mtime")),
    *((b"CCACHE_COMPILERTYPE", b"other"), (b"CCACHE_COMPILERTYPE", b"gcc")),
    *((b"CCACHE_RESPONSE_FILE_FORMAT", b"windows"), (b"CCACHE_PCH_EXTSUM", b"1")),
    *((b"CCACHE_EXTRAFILES", b"{R}/inc2/x.h"), (b"CCACHE_PREFIX", b"env")),
    *((b"CCACHE_PREFIX_CPP", b"env"), (b"CCACHE_TEMPDIR", b"/tmp"), (b"CCACHE_UMASK", b"027")),
    (b"CCACHE_FILECLONE", b"1"),
)
"""Settings under which everything is as without them."""
LENIENT: tuple[tuple[bytes, bytes], ...] = (
    *((b"CCACHE_IGNOREOPTIONS", b"-D* -W* -g*"), (b"CCACHE_IGNOREHEADERS", b"{R}/inc2:{R}/src")),
    *((b"CCACHE_DEPEND", b"1"), (b"CCACHE_NOHASHDIR", b"1"), (b"CCACHE_BASEDIR", b"{R}")),
    *((b"CCACHE_ABSSTDERR", b"1"), (b"CCACHE_SLOPPINESS", b"locale random_seed gcno_cwd")),
    (b"CCACHE_SLOPPINESS", b"time_macros system_headers pch_defines incbin"),
    (b"CCACHE_SLOPPINESS", b"include_file_mtime include_file_ctime"),
    (b"CCACHE_SLOPPINESS", b"file_stat_matches file_stat_matches_ctime"),
)
"""Settings under which a call may get, and store, what another must not."""


def without_settings(command: Command) -> Command:
    """The command without settings of the wrapper."""
    kept = ((n, v) for n, v in command.environment if not n.startswith(b"CCACHE_"))
    return dataclasses.replace(command, environment=tuple(kept))


def is_assembler(state: State) -> bool:
    """Whether the source is for the assembler."""
    return state.command.source.endswith(ASSEMBLER)


def is_cxx(state: State) -> bool:
    """Whether the source is C++."""
    return state.command.source.endswith(b".cc")


def bump(rng: random.Random, state: State, path: bytes) -> State:
    """Change one number of a file; its size stays."""
    text = state.text(path)
    spots = list(NUMBER.finditer(text))
    if not spots:
        return state
    spot = rng.choice(spots)
    # Few values, so that the same content comes back.
    values = [b"%d" % n for n in (201, 202, 203, 204) if b"%d" % n != spot[2]]
    changed = text[: spot.start(2)] + rng.choice(values) + text[spot.end(2) :]
    return state.write(path, changed).named(f"bump {path!r}")


def block(state: State, path: bytes, text: str, *, before: bool = False) -> State:
    """Add a block of C (or, for the assembler, nothing visible) to a file."""
    added = f"/*{{*/\n#ifndef __ASSEMBLER__\n{text}\n#endif\n/*}}*/\n".encode()
    old = state.text(path)
    return state.write(path, added + old if before else old + added)


def without_blocks(state: State, path: bytes) -> State:
    """Remove every block() of a file."""
    return state.write(path, BLOCK.sub(b"", state.text(path)))


def switch_source(
    rng: random.Random, state: State, tools: Toolchain, *, assembler: bool = False
) -> State:
    """Another source with its compiler, standard and output."""
    if assembler:
        source = b"src/s.S"
    else:
        source = rng.choice([s for s in tools.sources if not s.endswith(ASSEMBLER)])
    stem = source.rpartition(b"/")[2].partition(b".")[0]
    command = dataclasses.replace(
        state.command,
        source=source,
        compiler=tools.compiler(source),
        output=b"out/" + stem + b".o",
        stdin=False,
    )
    command = command.with_group("standard", (b"-std=c++20",) if source.endswith(b".cc") else ())
    command = command.with_group("language", ())
    return state.set(fitting(command, tools), "source")


def fitting(command: Command, tools: Toolchain) -> Command:
    """The command without the groups that its language cannot have."""
    if command.source.endswith(ASSEMBLER):
        for category in ("warn", "extra", "debug", "mode"):
            command = command.with_group(category, ())
    if tools.clang:
        for category, group in command.groups:
            if group in GCC_ONLY:
                command = command.with_group(category, ())
    return command


def c_like(rng: random.Random, state: State, tools: Toolchain) -> State:
    """The state, with a C or C++ source if it had another."""
    return switch_source(rng, state, tools) if is_assembler(state) else state


def flagged(state: State, **groups: tuple[bytes, ...]) -> State:
    """The state with groups of arguments set."""
    command = state.command
    for category, arguments in groups.items():
        command = command.with_group(category, arguments)
    return state.set(command)


def anything(rng: random.Random, state: State, tools: Toolchain) -> State:
    """One edit at random."""
    kind = rng.randrange(11)
    if kind < 4:
        category = rng.choice(sorted(CATEGORIES))
        group = rng.choice(CATEGORIES[category])
        command = state.command.with_group(category, group)
        return state.set(fitting(command, tools), f"{category} {group!r}")
    if kind < 6:
        return switch_source(rng, state, tools, assembler=rng.random() < 0.15)
    if kind == 6:
        name = rng.choice(("joined", "explicit", "absolute"))
        return state.replace(name, **{name: not getattr(state.command, name)})
    if kind == 7:
        output = rng.choice((b"out/t.o", None, b"out/a b.o", b"src/a.o", b"out/noext"))
        return state.replace("output", output=output)
    if kind == 10:
        command = without_settings(state.command)
        if rng.random() < 0.3:
            return state.set(command, "no settings")
        variable, setting = rng.choice(SETTINGS)
        return state.set(command.with_variable(variable, setting), f"{variable!r} {setting!r}")
    if kind == 8:
        return state.replace("response", response=rng.choice((0, 0, 1, 2)))
    return state.replace("cwd", cwd=rng.choice((b"build", b"build2", b"cwdlink", b"src")))
