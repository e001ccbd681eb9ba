"""One command that compiles several sources, or compiles and links, as one command for each part.

`gcc -c a.c b.c` is `gcc -c a.c` and `gcc -c b.c`. `gcc a.c b.c -o app` is a compile of each source
into a temporary object, as the driver itself does it, and a link in which the objects stand in
their sources' places. Only what is known to come out byte for byte the same is taken apart:

* The compiles of a link are named by the driver after the program (gcc's -dumpdir app-, since
  release 11). Nothing of that is in an object, but it is in coverage notes, .dwo, .su and dumps,
  and in recorded command lines; so commands that ask for these stay whole, and those with -flto,
  where the link itself compiles and sees what its inputs are called.
* -MD of a link names the program as target, and its file after it (gcc/gcc.cc, cpp_unique_options);
  of several sources each writes over that of the one before. One source is told its names.
* clang has its assembler relax all branches (-mrelax-all) or not by what else there is to do, and
  shows it so: nothing with a source in assembly.
* clang warns of words that none of its jobs has asked for. Words of which it says so in a compile
  cannot have had a part in it, and are left out there; the same in a link.

Where a driver says anything itself (it begins the line with its name), the whole command is to be
run instead: several.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from posixpath import normpath

from . import languages
from .arguments import parse
from .invocation import Action, Family, Invocation, Kind, ParseSettings, Uncacheable
from .options import Word, words
from .record import mutable, record
from .sidefiles import beside

MOST = 200
"""Parts of one command: each is looked up by itself, and nobody waits for long."""

ACTIONS = frozenset((b"-c", b"-S", b"-fsyntax-only"))

_WHOLE = frozenset((b"-E", b"-specs", b"--specs", b"-specs=", b"--specs=", b"-dumpbase"))
_WHOLE |= frozenset((b"-dumpdir", b"-dumpbase-ext", b"-Xpreprocessor", b"-pass-exit-codes"))
_WHOLE |= frozenset((b"--serialize-diagnostics", b"-serialize-diagnostics", b"-arch"))
_WHOLE |= frozenset((b"-index-store-path", b"-index-unit-output-path"))
"""Options that speak of the whole command, or make it do something else."""

_CLANG_LINKS = frozenset(
    b"-l -L -u -z -T -e -h -Wl, -Xlinker -rpath -shared -pie -no-pie -nopie -static-pie -rdynamic "
    b"-s -r -t -n -nolibc -static-libgcc -shared-libgcc -static-libstdc++ -fuse-ld= -rtlib= "
    b"--rtlib= -unwindlib= --unwindlib= --ld-path= -export-dynamic".split()
)
"""What clang 14 warns of in a compile: it is for the link alone."""

_CLANG_COMPILES = frozenset(
    b"-Wa, -Xassembler -nostdinc -nostdinc++ -nobuiltininc -undef -fno-ident".split()
)
"""What it warns of in a link of objects."""

_BY_VALUE = (b"-fuse-ld=", b"-unwindlib=", b"--unwindlib=", b"--ld-path=")


@record
class Part:
    """One source; ``words`` are the arguments of its own command."""

    words: tuple[bytes, ...]
    invocation: Invocation


@record
class Parts:
    """What one command consists of. ``link`` is empty where there is none, and else the arguments
    of the link; the parts' outputs are temporary then. ``inputs`` are all files that it names."""

    family: Family
    parts: tuple[Part, ...]
    link: tuple[bytes, ...]
    inputs: tuple[bytes, ...]


@mutable
class _Input:
    at: int  # in the list of words
    name: bytes
    explicit: bytes | None
    language: bytes | None


def split(
    args: Sequence[bytes],
    *,
    family: Family,
    driver: bytes,
    settings: ParseSettings,
    cwd: bytes,
    environment: Mapping[bytes, bytes],
    temporary: Callable[[bytes], bytes],
) -> Parts | None:
    """Take ``args`` apart, a command line without the compiler and with no @files; None where it
    is to stay whole. ``temporary`` names an object for a source; the rest is as for
    ``arguments.parse``."""
    found = list(words(args, settings.ignore_options, gcc=family is Family.GCC))
    if family is Family.OTHER or any(_keeps_whole(word) for word in found):
        return None
    inputs = _inputs(found, family, languages.is_cxx_driver(driver))
    sources = [one for one in inputs if one.language is not None]
    others = [one for one in inputs if one.language is None]
    links = not any(word.name in ACTIONS for word in found)
    if languages.is_cxx_driver(driver) and any(word.name == b"-x" for word in found):
        return None  # for g++ it holds for one file alone, and libraries depend on it
    if inputs and any(word.name == b"-x" for word in found[inputs[-1].at :]):
        return None  # drivers warn that it comes too late
    output = next((word.value for word in reversed(found) if word.name == b"-o"), None)
    if not 1 <= len(sources) <= MOST or b"conftest." in inputs[0].name.rpartition(b"/")[2]:
        return None
    if links:
        if not all(one.explicit is None and languages.is_linker_input(one.name) for one in others):
            return None
        if normpath(output or b"a.out") in {normpath(one.name) for one in inputs}:
            return None
    elif others or len(sources) < 2 or output is not None:
        return None
    if family is Family.CLANG and any(b"assembler" in (one.language or b"") for one in sources):
        return None
    objects = {one.at: temporary(one.name) for one in sources} if links else {}
    parts = []
    for source in sources:
        made = _words_of(found, source, objects.get(source.at, b""), family)
        invocation = _parse(made, family, driver, settings, cwd, environment)
        if links and invocation is not None and invocation.dependencies is not None:
            named = _dependency_words(found, output)
            if named is None or len(sources) > 1:
                return None
            made = (*named, *made)
            invocation = _parse(made, family, driver, settings, cwd, environment)
        if invocation is None or (links and not _fits_link(invocation)):
            return None
        parts.append(Part(made, invocation))
    if not _are_separate([part.invocation for part in parts]):
        return None
    link = _link_words(found, objects, family) if links else ()
    return Parts(family, tuple(parts), link, tuple(one.name for one in inputs))


def _keeps_whole(word: Word) -> bool:
    if word.file:
        return word.text == b"-" or word.text[:1] == b"@"
    odd = word.verbatim or word.missing or word.text == b"--"
    hard = word.option is not None and word.option.hard
    return odd or hard or word.name in _WHOLE or word.text.startswith((b"-Wp,-M", b"-Wp,@"))


def _inputs(found: Sequence[Word], family: Family, cxx_driver: bool) -> list[_Input]:
    inputs: list[_Input] = []
    explicit: bytes | None = None
    for at, word in enumerate(found):
        if word.file:
            language = explicit or languages.of_file(word.text, family, cxx_driver=cxx_driver)
            inputs.append(_Input(at, word.text, explicit, language))
        elif word.name == b"-x":
            explicit = None if word.value == b"none" else word.value
    return inputs


def _words_of(
    found: Sequence[Word], source: _Input, temporary: bytes, family: Family
) -> tuple[bytes, ...]:
    """The command of one source; with ``temporary``, it is that of a link."""
    made: list[bytes] = [b"-c", b"-o", temporary] if temporary else []
    left_out = _CLANG_LINKS if temporary and family is Family.CLANG else frozenset()
    for at, word in enumerate(found):
        if at == source.at:
            made += (b"-x", source.explicit) if source.explicit else ()
        elif word.file or word.name == b"-x" or _is_among(word, left_out):
            continue
        if not (temporary and word.name == b"-o"):
            made += word.words
    return tuple(made)


def _link_words(
    found: Sequence[Word], objects: Mapping[int, bytes], family: Family
) -> tuple[bytes, ...]:
    made: list[bytes] = []
    left_out = _CLANG_COMPILES if family is Family.CLANG else frozenset()
    for at, word in enumerate(found):
        if at in objects:
            made.append(objects[at])
        elif word.name != b"-x" and not _is_among(word, left_out):
            made += word.words
    return tuple(made)


def _is_among(word: Word, names: frozenset[bytes]) -> bool:
    return not word.file and (
        word.name in names or any(word.text.startswith(p) for p in _BY_VALUE if p in names)
    )


def _parse(
    made: Sequence[bytes],
    family: Family,
    driver: bytes,
    settings: ParseSettings,
    cwd: bytes,
    environment: Mapping[bytes, bytes],
) -> Invocation | None:
    invocation = parse(
        made, family=family, driver=driver, settings=settings, cwd=cwd, environment=environment
    )
    return None if isinstance(invocation, Uncacheable) else invocation


def _dependency_words(found: Sequence[Word], output: bytes | None) -> tuple[bytes, ...] | None:
    """What -MD of a link with one source means, in words for its compile; None where releases
    differ: without -o."""
    names = {word.name for word in found}
    if output is None:
        return None
    file = () if b"-MF" in names else (b"-MF", beside(output, b".d"))
    target = () if names & {b"-MT", b"-MQ"} else (b"-MQ", output)
    return (*file, *target)


def _fits_link(invocation: Invocation) -> bool:
    """Whether nothing that this compile makes depends on its object's name."""
    profile = invocation.profile
    profiles = profile.arcs or profile.generate or profile.use or profile.directory
    return not (
        invocation.action is not Action.COMPILE
        or invocation.lto
        or invocation.split_dwarf
        or invocation.coverage
        or profiles
        or invocation.object_name_sensitive
        or invocation.records_command_line
        or invocation.assembler_listing is not None
        or any(output.kind is not Kind.DEPENDENCY for output in invocation.outputs)
    )


def _are_separate(invocations: Sequence[Invocation]) -> bool:
    """Whether no part writes what another one writes or reads."""
    written: set[bytes] = set()
    for one in invocations:
        own = {output.path for output in one.outputs} | ({one.output} if one.output else set())
        own = {normpath(path) for path in own if path != b"/dev/null"}
        if own & written:
            return False
        written |= own
    return written.isdisjoint(normpath(one.source) for one in invocations)
