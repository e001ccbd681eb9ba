"""Scenarios: from one state, a few that follow it and differ in what a cache may overlook.

An edit at random rarely matters twice in a row, and a stale result only shows when something was
stored *just before* in the same surroundings.  So most edits come as scenarios: make sure that the
one dimension counts (a warning is printed before the locale changes, a __DATE__ is in the text
before the time zone does), compile, turn it, compile, often turn it back.  Scenarios are dealt from
a shuffled deck, so that each comes up equally often, on top of whatever flags are set then.
"""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Callable, Iterator

from tests.fuzz.edits import (
    DEPENDS,
    EXTRAS,
    GCC_ONLY,
    LENIENT,
    SETTINGS,
    USED_HEADERS,
    block,
    bump,
    c_like,
    flagged,
    is_assembler,
    is_cxx,
    switch_source,
    without_blocks,
    without_settings,
)
from tests.fuzz.oracle import PRIOR
from tests.fuzz.project import INCLUDES, Toolchain, header, shadow, wrapper_script
from tests.fuzz.states import File, Link, State

Scenario = Callable[[random.Random, State, Toolchain], Iterator[State]]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    """Put a function into SCENARIOS under its own name."""
    SCENARIOS[function.__name__] = function
    return function


@scenario
def header_edit(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """A header changes, and changes back."""
    yield state
    changed = bump(rng, state, rng.choice(USED_HEADERS))
    yield changed
    yield bump(rng, changed, rng.choice(USED_HEADERS))
    yield state.named("headers back")


@scenario
def settings(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """A setting comes and goes, while a header changes and changes back."""
    state = state.set(without_settings(state.command))
    path = rng.choice(USED_HEADERS)
    for name, value in rng.sample(SETTINGS, 2):
        with_it = state.command.with_variable(name, value)
        yield state.set(with_it, f"{name!r} {value!r}")
        yield bump(rng, state, path).set(with_it, f"{name!r} {value!r}, edited")
        yield state.named("without")


@scenario
def lenient_calls(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """What a call stores that lets more pass is not served to one that does not."""
    state = state.set(without_settings(state.command))
    name, value = rng.choice(LENIENT)
    path = rng.choice((*USED_HEADERS, state.command.source))
    defined = flagged(c_like(rng, state, tools), define=(b"-DDEF=3",))
    for one in (state, bump(rng, state, path), defined):
        command = one.command.with_variable(name, value)
        unseen = dataclasses.replace(command, unseen=True, race=0.0)
        yield one.set(unseen, f"lenient {name!r}")
        yield one.named(f"after lenient {name!r} {value!r}")
    yield state.named(f"back, after lenient {name!r} {value!r}")


@scenario
def quick_edits(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """Edits of one size follow each other within a tick, seen by the wrapper at once."""
    path = rng.choice((state.command.source, b"src/local.h", b"inc2/deep.h"))
    yield state.replace(wrapper_first=False)
    for index in range(4):
        state = bump(rng, state, path)
        state = state.replace(wrapper_first=index % 2 == 0)
        yield state
    yield state.replace("quick edits over", wrapper_first=False)


@scenario
def kept_mtime(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """A file of the same size is put in place with the old one's mtime."""
    path = rng.choice((state.command.source, *USED_HEADERS))
    entry = state.tree[path]
    if isinstance(entry, File):
        state = state.put(path, dataclasses.replace(entry, stamp=1_000_000_000))
        yield state
        changed = bump(rng, state, path)
        yield changed.named("same size and mtime")
        yield state.named("same size and mtime, back")
        yield state.put(path, dataclasses.replace(entry, stamp=None))


@scenario
def shadowing(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """A header appears in front of one in use, and goes again."""
    yield state
    path, name = rng.choice(
        (
            *((b"inc0/x.h", "x"), (b"inc1/x.h", "x"), (b"inc0/sub/s.h", "s")),
            *((b"inc1/sub/s.h", "s"), (b"quote/local.h", "local"), (b"src/x.h", "x")),
            *((b"inc2/y.h", "y"), (b"sys1/z.h", "z"), (b"inc1/z.h", "z"), (b"inc3/l.h", "l")),
            *((b"inc0/c.h", "c"), (b"sys2/c.h", "c"), (b"inc1/subl/m.h", "m")),
            *((b"inc0/deep.h", "deep"), (b"quote/x.h", "x"), (b"src/sub/s.h", "s")),
        )
    )
    if path not in state.tree:
        chained = name not in ("local", "x", "s") and rng.random() < 0.3
        changed = state.put(path, shadow(name, rng.randint(300, 303), chained=chained))
        yield changed.named(f"shadow {path!r}")
        yield state.named(f"no shadow {path!r}")


@scenario
def optional_header(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """What __has_include asks for appears and goes."""
    yield state
    path = rng.choice((b"inc0/opt.h", b"inc1/opt.h", b"sys1/opt.h", b"after/opt.h"))
    yield state.put(path, header("opt", rng.randint(400, 401))).named("optional header appears")
    yield state.named("optional header goes")


@scenario
def directory_link(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """A link to a directory of headers is switched."""
    yield state
    path, targets = rng.choice(
        ((b"lnk", (b"dirA", b"dirB")), (b"inc2/subl", (b"../dirA", b"../dirB")))
    )
    old = state.tree[path]
    target = targets[1] if old == Link(targets[0]) else targets[0]
    yield state.put(path, Link(target)).named(f"switch {path!r}")
    yield state.named(f"switch {path!r} back")


@scenario
def file_link(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """A link to a header is switched, or becomes a file."""
    yield state
    old = state.tree[b"inc1/f.h"]
    other: File | Link = Link(
        b"../store/f2.h" if old == Link(b"../store/f1.h") else b"../store/f1.h"
    )
    if rng.random() < 0.3:
        other = header("f", 333)
    yield state.put(b"inc1/f.h", other).named("switch inc1/f.h")
    yield state.named("switch inc1/f.h back")


@scenario
def include_variables(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """CPATH and its like change."""
    state = c_like(rng, state, tools)
    cxx = state.command.source.endswith(b".cc")
    own, other = (b"CPLUS_INCLUDE_PATH", b"C_INCLUDE_PATH")[:: 1 if cxx else -1]
    variable = rng.choice((b"CPATH", b"CPATH", own, own, other))
    state = state.set(state.command.with_variable(variable, None))
    yield state
    for directory in (b"{R}/cpathA", b"{R}/cpathB"):
        yield state.set(state.command.with_variable(variable, directory), f"{variable!r}")
    yield state.named(f"no {variable!r}")


@scenario
def time_zone(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """The date is another one in another time zone."""
    state = c_like(rng, state, tools)
    command = state.command.with_variable(b"SOURCE_DATE_EPOCH", None)
    state = state.set(command.with_variable(b"TZ", b"Pacific/Kiritimati"))
    path = rng.choice((command.source, b"src/local.h"))
    dated = block(state, path, "__attribute__((used)) static const char date[] = __DATE__;")
    yield dated.named("a date")
    yield dated.set(dated.command.with_variable(b"TZ", b"Etc/GMT+12"), "TZ")
    yield dated.set(dated.command.with_variable(b"TZ", None), "no TZ")
    yield without_blocks(dated, path)


@scenario
def source_date_epoch(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """SOURCE_DATE_EPOCH changes what __DATE__ and __TIME__ give."""
    state = c_like(rng, state, tools)
    macro = rng.choice(("__DATE__", "__TIME__"))
    path = rng.choice((state.command.source, b"src/local.h"))
    dated = block(state, path, f"__attribute__((used)) static const char date[] = {macro};")
    for value in (b"1000000000", b"1234567890", None):
        yield dated.set(dated.command.with_variable(b"SOURCE_DATE_EPOCH", value), "epoch")
    yield dated.named("time passes")
    yield without_blocks(dated, path)


@scenario
def timestamp(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """__TIMESTAMP__ follows the file's mtime and the time zone."""
    state = c_like(rng, state, tools)
    path = rng.choice((state.command.source, b"src/local.h"))
    dated = block(state, path, "__attribute__((used)) static const char at[] = __TIMESTAMP__;")
    entry = dated.tree[path]
    if isinstance(entry, File):
        for stamp in (1_000_000_000, 1_100_000_000, 1_000_000_000):
            touched = dated.put(path, dataclasses.replace(entry, stamp=stamp))
            yield touched.named("touch")
        yield touched.set(touched.command.with_variable(b"TZ", b"Etc/GMT+12"), "TZ")
    yield state


@scenario
def locale(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """The quotes in a warning depend on the locale."""
    state = c_like(rng, state, tools)
    warned = block(state, state.command.source, "static int unused_warning;")
    warned = flagged(warned, warn=(b"-Wall",))
    for name, value in ((b"LC_ALL", b"C"), (b"LC_ALL", b"C.UTF-8"), (b"LC_ALL", None)):
        yield warned.set(warned.command.with_variable(name, value), "locale")
    yield warned.set(warned.command.with_variable(b"LANG", b"C.UTF-8"), "LANG")
    yield state.named("no warning")


@scenario
def warnings_come_and_go(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """The same object with and without something on stderr."""
    state = flagged(c_like(rng, state, tools), warn=())
    path = rng.choice((state.command.source, b"src/local.h"))
    warned = block(state, path, "static int unused_warning;")
    yield warned
    yield flagged(warned, warn=(b"-Wall",)).named("-Wall")
    yield flagged(warned, warn=(b"-Wextra", b"-Wunused")).named("-Wextra")
    yield warned.named("no -Wall")
    quiet = block(state, path, "static int unused_warnine __attribute__((unused));")
    yield flagged(quiet, warn=(b"-Wall",)).named("warning gone")
    yield state


@scenario
def colours(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """Colour on stderr is asked for or not."""
    state = c_like(rng, state, tools)
    warned = block(state, state.command.source, "static int unused_warning;")
    for flags in (
        (b"-Wall",),
        (b"-Wall", b"-fdiagnostics-color=always"),
        (b"-Wall", b"-fno-diagnostics-color"),
    ):
        yield flagged(warned, warn=flags).named("colour")
    coloured = flagged(warned, warn=(b"-Wall", b"-fdiagnostics-color=always"))
    command = coloured.command.with_variable(b"GCC_COLORS", b"warning=01;33")
    yield coloured.set(command, "GCC_COLORS")
    yield state


@scenario
def working_directory(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """The same command line in another directory; debug information names it."""
    debug = rng.choice(((b"-g",), (b"-g3",), (b"-g", b"-gno-column-info")))
    state = flagged(c_like(rng, state, tools), debug=debug, map=())
    for cwd in (b"build", b"build2", b"cwdlink", b"build"):
        yield state.replace(f"cwd {cwd!r}", cwd=cwd)


@scenario
def two_trees(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """Two directories with the same files, of which one has what __has_include asks for."""
    debug = rng.choice(((), (), (b"-g",)))
    state = flagged(c_like(rng, state, tools), debug=debug, tree=(b"-I.",))
    used = "static const int twin __attribute__((used)) ="
    asks = f"#if __has_include(<twin.h>)\n{used} 1;\n#else\n{used} 2;\n#endif"
    state = block(state, b"src/local.h", asks)
    for there in rng.sample(((b"build2",), (b"build",), (), (b"build", b"build2")), 3):
        twins = state
        for directory in there:
            twins = twins.put(directory + b"/twin.h", File(b""))
        for cwd in (b"build", b"build2", b"build"):
            yield twins.replace(f"twins in {there!r}, cwd {cwd!r}", cwd=cwd)
    state = flagged(state, debug=(), tree=()).replace(cwd=b"build")
    yield without_blocks(state, b"src/local.h")


@scenario
def prefix_map(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """Prefix maps change what debug information and __FILE__ say."""
    state = flagged(c_like(rng, state, tools), debug=(b"-g",))
    state = block(state, b"src/local.h", "__attribute__((used)) static const char me[] = __FILE__;")
    option = rng.choice((b"-fdebug-prefix-map=", b"-ffile-prefix-map=", b"-fmacro-prefix-map="))
    state = state.replace(absolute=rng.random() < 0.5)
    for target in (b"/one", b"/two"):
        yield flagged(state, map=(option + b"{R}=" + target,)).named("prefix map")
    yield flagged(state, map=()).named("no prefix map")
    yield without_blocks(flagged(state, map=(), debug=()).replace(absolute=False), b"src/local.h")


@scenario
def include_order(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """Include directories change places or kinds."""
    yield state
    includes = list(state.command.includes)
    names = [directory for _, directory in includes]
    if b"inc2" in names and b"inc3" in names:
        i, j = names.index(b"inc2"), names.index(b"inc3")
        includes[i], includes[j] = includes[j], includes[i]
    yield state.replace("swap inc2 and inc3", includes=tuple(includes))
    index = rng.randrange(len(includes))
    option = rng.choice((b"-I", b"-iquote", b"-isystem", b"-idirafter"))
    includes[index] = (option, includes[index][1])
    yield state.replace("kind of include", includes=tuple(includes))
    yield state.replace("include order back", includes=INCLUDES)


@scenario
def response_file(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """What stands in a response file changes, the command line does not."""
    state = state.replace(response=rng.choice((1, 2)))
    for value in (b"1", b"2", b"1"):
        yield flagged(state, define=(b"-DDEF=" + value,)).named("response file")
    yield flagged(state.replace("no response file", response=0), define=())


@scenario
def defines(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """Macros of the command line change."""
    for define in ((b"-DDEF=1",), (b"-DDEF=2",), (b"-D", b"DEF=1"), (b"-DDEF=1", b"-UDEF"), ()):
        yield flagged(state, define=define).named("define")


@scenario
def assembler_program(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """Another `as` is put in front on PATH."""
    state = flagged(state, mode=())
    if rng.random() < 0.5:
        state = switch_source(rng, state, tools, assembler=True)
    if tools.clang:
        state = flagged(state, extra=(b"-fno-integrated-as",))
    yield state
    script = b'#!/bin/sh\nexec /usr/bin/as -L "$@"\n'
    yield state.put(b"tools/as", File(script, mode=0o755)).named("as -L on PATH")
    script = b'#!/bin/sh\nexec /usr/bin/as --defsym fz=7 "$@"\n'
    yield state.put(b"tools/as", File(script, mode=0o755)).named("as --defsym on PATH")
    yield flagged(state, extra=()).named("as of the system")


@scenario
def assembler_reads(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """Files that only the assembler reads change."""
    path = rng.choice((b"asm/part.inc", b"asm/blob.bin"))
    if rng.random() < 0.5:
        state = switch_source(rng, state, tools, assembler=True)
        inside = state
    else:
        state = flagged(c_like(rng, state, tools), mode=(), assembler=(b"-Wa,-I{R}/asm",))
        verb = ".include" if path.endswith(b"inc") else ".incbin"
        code = f'__asm__(".data\\n{verb} \\"{path.decode()[4:]}\\"\\n.text");'
        inside = block(state, state.command.source, code)
    yield inside
    if path.endswith(b"inc"):
        changed = bump(rng, inside, path)
    else:
        changed = inside.write(path, rng.choice((b"blob two", b"blob six")))
    yield changed.named(f"change {path!r}")
    yield inside.named(f"change {path!r} back")
    yield state


@scenario
def file_modes(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """The umask decides the modes of outputs, whatever it was when they were stored."""
    state = flagged(state, depend=rng.choice(((), (b"-MD",))))
    for umask in (0o022, 0o077, 0o000, 0o027):
        yield state.replace(f"umask {umask:03o}", umask=umask)
    yield state.replace("umask back", umask=0o022)


@scenario
def prior_output(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """Something already stands where the object goes."""
    yield state
    for prior in rng.sample(PRIOR[1:], 2):
        yield state.replace(f"prior output: {prior}", prior=prior)
    yield state.replace("no prior output", prior="")


@scenario
def dependencies(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """The dependency file's target, name and kind change."""
    old = state
    choices = [group for group in DEPENDS if group]
    for depend in rng.sample(choices, 2):
        state = flagged(state, depend=depend)
        yield state.named("depend")
        yield state.replace("other output", output=rng.choice((b"out/q.o", b"out2/t.x.o")))
    yield old.named("depend back")


@scenario
def columns(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """Comments and blanks shift columns and lines that may reach the object."""
    state = c_like(rng, state, tools)
    debug = rng.choice(((b"-g",), (b"-g",), (b"-g3",), (b"-fsanitize=undefined",)))
    state = flagged(state, debug=debug, warn=(), mode=())
    # Only with the preprocessor first is another source text looked up by what it comes to.
    if rng.random() < 0.8:
        state = state.set(state.command.with_variable(b"CCACHE_PREPROCESS_FIRST", b"1"))
    path = rng.choice((state.command.source, b"src/local.h"))
    if path == b"src/local.h":
        code = "static inline int ratio(int a, int b) { return a / b; }\n"
        code += "__attribute__((used)) static int (*ratio_used)(int, int) = ratio;"
        state = block(state, path, code)
    text = state.text(path)
    yield state
    shifted = re.sub(rb"return (a|twice)", rb"return /* wider */ \1", text)
    yield state.write(path, shifted).named("column shift")
    longer = re.sub(rb"return (a|twice)", rb"return /* a very, very much wider one */ \1", text)
    yield state.write(path, longer).named("column shift")
    lines = re.sub(rb"(?m)^(static inline )?int (work|ratio)", rb"\n\g<0>", text)
    yield state.write(path, lines).named("line shift")
    if rng.random() < 0.5:
        yield state.write(path, text + b"/* a comment at the end */\n").named("comment")
    state = state.set(state.command.with_variable(b"CCACHE_PREPROCESS_FIRST", None))
    yield without_blocks(flagged(state, debug=()), b"src/local.h")


@scenario
def dropped_compiler(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """Another compiler appears in front on PATH."""
    yield state
    name = b"tools/" + state.command.compiler
    if b"/" not in state.command.compiler:
        for number in (1, 2):
            script = b'#!/bin/sh\nexec /usr/bin/%s -DDROPPED=%d "$@"\n'
            script %= (state.command.compiler, number)
            yield state.put(name, File(script, mode=0o755)).named("dropped compiler")
        yield state.named("dropped compiler gone")


@scenario
def wrapper_compiler(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """The compiler is a script, which changes."""
    state = switch_source(rng, state, tools)
    if is_cxx(state):
        state = flagged(state, standard=(), language=(b"-x", b"c"))
        state = state.replace(source=b"src/a.c")
    explicit = state.replace("script", compiler=b"tools/wrap", explicit=True)
    explicit = flagged(explicit, language=())
    yield explicit
    yield explicit.put(b"tools/wrap", wrapper_script(tools, 2)).named("script changes")
    yield explicit.named("script back")


@scenario
def forced_include(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """A forced include changes."""
    option = rng.choice((b"-include", b"-imacros"))
    forced = flagged(state, forced=(option, b"{R}/src/forced.h"))
    yield forced
    yield bump(rng, forced, b"src/forced.h").named("forced include changes")
    yield flagged(forced, forced=()).named("no forced include")


@scenario
def racing(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """The tree changes while a compile runs."""
    yield state
    path = rng.choice(USED_HEADERS)
    switched = state.put(b"lnk", Link(b"dirB"))
    other = switched if rng.random() < 0.4 else bump(rng, state, path)
    # A new source text makes sure that the raced compile is a miss.
    raced = bump(rng, state, state.command.source)
    merged = dataclasses.replace(raced, tree={**other.tree, **_only(raced, state)})
    yield raced.replace("race", race=rng.choice((0.001, 0.004, 0.008, 0.014)))
    yield merged.named("after the race")
    yield raced.replace("after the race, back", race=0.0)


def _only(state: State, base: State) -> dict[bytes, File | Link]:
    return {path: e for path, e in state.tree.items() if base.tree.get(path) != e}


@scenario
def language(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """The language is told by -x, or the source comes on stdin."""
    state = flagged(state, depend=())
    if not is_assembler(state) and not is_cxx(state):
        yield flagged(state, language=(b"-x", b"c++")).named("as C++")
        yield flagged(state, language=(b"-xc",)).named("as C")
        stdin = state.replace("stdin", stdin=True, includes=(*INCLUDES, (b"-iquote", b"src")))
        yield flagged(stdin, language=(b"-x", b"c"))
    yield flagged(state, language=()).named("by its name")


@scenario
def generated(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """A generated header is written again, with the same or another content, or is missing."""
    yield state
    entry = state.tree[b"gen/gen.h"]
    if isinstance(entry, File):
        for stamp in (1_200_000_000, 1_300_000_000):
            yield state.put(b"gen/gen.h", dataclasses.replace(entry, stamp=stamp)).named("again")
        yield bump(rng, state, b"gen/gen.h")
        yield state.drop(b"gen/gen.h").named("generated header missing")
    yield state.named("generated header back")


@scenario
def same_text_elsewhere(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """Two sources of the same content; __FILE__ and debug information tell them apart."""
    state = switch_source(rng, state, tools)
    text = block(state, state.command.source, "const char *here(void) { return __FILE__; }")
    copy = b"src/copy" + state.command.source[state.command.source.rindex(b".") :]
    both = text.put(copy, text.tree[state.command.source])
    yield both
    yield both.replace("the copy", source=copy)
    debug = flagged(both, debug=(b"-g",))
    yield debug
    yield debug.replace("the copy, -g", source=copy)
    yield state


@scenario
def errors(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """A source stops compiling, and compiles again."""
    state = c_like(rng, state, tools)
    broken = block(state, state.command.source, "int broken(void) { return undeclared; }")
    yield broken.named("an error")
    yield state.named("no error")
    yield flagged(block(state, b"src/local.h", "static int odd;"), warn=(b"-Wall", b"-Werror"))
    yield state.named("no error")


@scenario
def fallthrough(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """Comments that silence a warning."""
    state = flagged(c_like(rng, state, tools), warn=(b"-Wextra", b"-Werror"))
    code = "int fall(int q) {{ switch (q) {{ case 1: q++; {} case 2: q--; }} return q; }}"
    for comment in ("/* fallthrough */", "/* something  */", "/* fallthrough */"):
        yield block(state, state.command.source, code.format(comment)).named("fall through")
    yield flagged(state, warn=())


@scenario
def extra_outputs(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """Options that make further files, under changing output names."""
    state = flagged(c_like(rng, state, tools), mode=())
    choices = [group for group in EXTRAS if group and not (tools.clang and group in GCC_ONLY)]
    extra = rng.choice(choices)
    state = flagged(state, extra=extra)
    yield state
    yield state.replace("other output", output=b"out/other.o")
    yield state.replace("other directory", output=b"out2/t.o", cwd=b"build2")
    yield flagged(state, extra=())


@scenario
def precompiled(rng: random.Random, state: State, tools: Toolchain) -> Iterator[State]:
    """A precompiled header is used, changes, and goes (made in the run, see differential)."""
    if b"pch/1" not in state.tree:
        yield state
        return
    state = switch_source(rng, state, tools)
    state = state.replace(source=b"src/a.c", compiler=tools.c)
    state = flagged(
        state, standard=(), language=(), warn=(), extra=(), debug=(), optimize=(b"-O1",)
    )
    state = flagged(state, forced=(b"-include", b"{R}/pch/p.h"), define=())
    suffix = b".pch" if tools.clang else b".gch"
    for number in (b"1", b"2"):
        made = state.put(b"pch/p.h", File(b"#define FORCED " + number + b"\n"))
        yield made.put(b"pch/p.h" + suffix, state.tree[b"pch/" + number]).named("precompiled")
    yield made.named("header without precompiled one")
    yield flagged(state, forced=())
