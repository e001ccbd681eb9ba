"""What distcc's rules make of a raw argument vector: whether it is sent, in which words.

A vector is judged without a user's whole command line around it, because a server has to judge
what a client sent in just the same way. Here as in distcc (src/arg.c, src/strip.c,
src/filename.c, src/dotd.c) a doubt means a compile on the user's own machine: that costs time, an
object that is another one, or lacks a file beside it, costs trust. Where distcc doubts too little
the rule here is stricter, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import Enum
from functools import lru_cache

from pycc.record import record
from pycc.remote.optionwords import (
    PREPROCESSED_LANGUAGE,
    PREPROCESSED_LANGUAGES,
    Word,
    cut,
    left_out,
    reason,
    shown,
    wp_words,
)


class Action(Enum):
    """What the compiler is asked for; the value is what is put after the stem of its output."""

    COMPILE = b".o"
    ASSEMBLE = b".s"


@record
class Distributable:
    """A vector that another machine may run."""

    input: bytes
    output: bytes
    argv: tuple[bytes, ...]  # names the output, even where the user left that to the compiler
    action: Action


@record
class Local:
    """A vector that only this machine may run."""

    reason: str  # for people; names the word
    preprocess: bool = False  # -E: takes one of the slots for preprocessors


@record
class Dependencies:
    """Where the dependency file goes."""

    file: bytes | None  # None: there is neither an output nor a source to name it after
    wanted: bool
    names_target: bool  # by -MT or -MQ
    target: bytes | None  # the one that DEPENDENCIES_OUTPUT gives


@record
class Reading:
    """A vector as it was understood; every list is in the order of the vector."""

    words: tuple[Word, ...]
    action: Action | None
    inputs: tuple[Word, ...]  # words that look like sources
    others: tuple[Word, ...]  # words that the compiler takes for inputs as well
    outputs: tuple[Word, ...]
    languages: tuple[bytes, ...]  # what -x names
    preprocess: bool
    reason: str | None  # why no other machine may run it; None: no option forbids it


def extension(name: bytes) -> bytes | None:
    """The extension with its dot; None when there is none or the name ends with the dot.

    distcc takes the last dot of the whole path; here a dot in a directory's name is none.
    """
    base = name.rpartition(b"/")[2]
    dot = base.rfind(b".")
    return base[dot:] if 0 <= dot < len(base) - 1 else None


_PREPROCESSED_EXTENSION = {
    extension: preprocessed
    for preprocessed, extensions in {
        b".i": b".c .i",
        b".ii": b".cc .cpp .cxx .cp .c++ .C .ii",
        b".mi": b".m .mi",
        b".mii": b".mm .M .mii",
    }.items()
    for extension in extensions.split()
}


def is_source(name: bytes) -> bool:
    """Whether it is a source that is sent, by its extension. Assembler (.s, .S) is not: what its
    .include and .incbin read would be the server's files."""
    return extension(name) in _PREPROCESSED_EXTENSION


def is_preprocessed(name: bytes) -> bool:
    """Whether the extension says that the preprocessor has nothing left to do."""
    return extension(name) in _PREPROCESSED_EXTENSION.values()


def preprocessed_extension(name: bytes) -> bytes | None:
    """What the preprocessed text of ``name`` is called; None when it is no source that is sent."""
    return _PREPROCESSED_EXTENSION.get(extension(name) or b"")


def find_compiler(argv: Sequence[bytes]) -> tuple[bytes, ...]:
    """The compiler's vector in one that begins with distcc's own name (src/implicit.c).

    ``distcc gcc -c x.c`` names the compiler; before an option, a source or an object it is ``cc``.
    """
    if len(argv) > 1:
        first = argv[1]
        if first[:1] != b"-" and not is_source(first) and extension(first) != b".o":
            return tuple(argv[1:])
    return (b"cc", *argv[1:])


def portable(
    argv: Sequence[bytes], *, clang: bool, triplet: bytes, same: Callable[[bytes], bool]
) -> tuple[bytes, ...]:
    """The vector with a compiler that other machines find and that makes code for this one
    (dcc_rewrite_generic_compiler, dcc_gcc_rewrite_fqn, dcc_add_clang_target, src/compile.c).

    A compiler that is named by a path stays. ``cc`` and ``c++`` become those of the family,
    clang gets ``-target``, and gcc its target's name if that is the ``same`` program here.
    """
    name, *words = argv
    if b"/" in name:
        return tuple(argv)
    if name in (b"cc", b"c++"):
        plain = name == b"cc"
        name = (b"clang" if plain else b"clang++") if clang else (b"gcc" if plain else b"g++")
    if clang:
        if not any(word.startswith((b"-target", b"--target")) for word in words):
            words += (b"-target", triplet)
    elif name.split(b"-", 1)[0] in (b"gcc", b"g++") and same(full := b"%s-%s" % (triplet, name)):
        name = full
    return (name, *words)


def messages(text: bytes, sent: bytes, here: bytes, said: bytes = b"") -> bytes:
    """What a compiler that was ``sent`` by one name says, as the same would say it that is called
    ``here`` by another: the driver's own lines begin with the name. Those that were ``said``
    before, by the driver that preprocessed, are left out."""
    name, own = (word.rpartition(b"/")[2] for word in (sent, here))
    if not name or name + b":" not in text:
        return text
    colour = rb"\x1b\[[0-9;]*[mK]"
    lines = re.compile(rb"(?m)^((?:%s)*)%s(?=:)(.*\n?)" % (colour, re.escape(name)))
    before = set(re.sub(colour, b"", said).splitlines())

    def renamed(match: re.Match[bytes]) -> bytes:
        line = match.group(1) + own + match.group(2)
        return b"" if re.sub(colour, b"", line).rstrip(b"\n") in before else line

    return lines.sub(renamed, text)


def read(argv: Sequence[bytes]) -> Reading:
    """Understand a vector, its compiler first, as far as options alone decide.

    ``reason`` is that of the first word that has one. Nothing is raised, whatever the vector.
    """
    words = tuple(cut(argv))
    names = {word.name for word in words}
    action = None
    if b"-S" in names:  # wherever it stands, it beats -c
        action = Action.ASSEMBLE
    elif b"-c" in names:
        action = Action.COMPILE
    files = [word for word in words if word.file]
    why = None
    if not argv or not argv[0] or argv[0][:1] == b"-":
        why = "the command names no compiler"
    elif lists := [word for word in argv[1:] if word[:1] == b"@"]:
        # Compilers read one wherever it stands, as another option's value too.
        why = f"{shown(lists[0])} stands for options that are not known here"
    else:
        why = next(filter(None, map(reason, words)), None)
    return Reading(
        words,
        action,
        tuple(word for word in files if is_source(word.name)),
        tuple(word for word in files if not is_source(word.name)),
        tuple(word for word in words if word.name == b"-o"),
        tuple(word.value or b"" for word in words if word.name == b"-x"),
        not names.isdisjoint((b"-E", b"--preprocess")),
        why,
    )


def scan(argv: Sequence[bytes]) -> Distributable | Local:
    """Whether another machine may run the vector (distcc's dcc_scan_args, src/arg.c).

    ``argv[0]`` is the compiler; response files (``@file``) and ``-march=native`` should have been
    expanded, for one that is left keeps the compile here. Nothing is raised, whatever the vector.
    """
    return (_scan_once if sum(map(len, argv)) <= SHORT else _scan)(tuple(argv))


def _scan(argv: tuple[bytes, ...]) -> Distributable | Local:
    reading = read(argv)
    if reading.preprocess:
        return Local("-E asks for the preprocessor alone", preprocess=True)
    why = reading.reason or _whole_reason(reading)
    if why is not None or reading.action is None:
        return Local(why or "neither -c nor -S: not a compile")
    source = reading.inputs[0].name
    words = argv
    if reading.outputs:
        output = reading.outputs[0].value or b""
    else:
        base = source.rpartition(b"/")[2]
        output = base[: base.rfind(b".")] + reading.action.value
        words = (*words, b"-o", output)
    return Distributable(source, output, words, reading.action)


_scan_once = lru_cache(maxsize=32)(_scan)  # one job asks a few times
SHORT = 1 << 16  # bytes: nobody keeps a long one


def _whole_reason(reading: Reading) -> str | None:
    """What is wrong with the words as a whole."""
    if reading.action is None:
        return None
    if not reading.inputs:
        return "no source file"
    source = reading.inputs[0].name
    others = [word for word in reading.others if not _runs_the_compiler(word)]
    for extra in (*reading.inputs[1:], *others):
        return f"{shown(extra.name)} is another input beside {shown(source)}"
    base = source.rpartition(b"/")[2]
    if base.startswith((b"conftest.", b"tmp.conftest.")):
        return f"{shown(base)} is a trial of configure"
    for language in reading.languages:
        # distcc sends the text with `-x c` as it stands, so that it is preprocessed twice.
        if (language in PREPROCESSED_LANGUAGES) is not is_preprocessed(source):
            return f"-x {shown(language)} contradicts the name {shown(source)}"
    if is_preprocessed(source) and any(
        w.name.startswith(b"-finput-charset=") for w in reading.words
    ):
        return "-finput-charset= matters to text that is sent as it is"
    return _output_reason(reading, base)


def _runs_the_compiler(word: Word) -> bool:
    """``ccache gcc -c x.c``: a plain name right behind the first word is the compiler's own."""
    return word.index == 1 and word.name not in (b"", b"-") and extension(word.name) is None


def _output_reason(reading: Reading, base: bytes) -> str | None:
    if len(reading.outputs) > 1:
        return f"two outputs, {' and '.join(shown(w.value or b'') for w in reading.outputs[:2])}"
    if reading.outputs:
        output = reading.outputs[0].value or b""
        if output in (b"", b"-"):
            # Some compilers write to standard output then, some to a file of that name.
            return f"-o {shown(output)} may be standard output"
        return None
    if len(base) < 3:
        return f"{shown(base)} gives the output no name"
    if any(word.name == b"-emit-llvm" for word in reading.words):
        return "-emit-llvm without -o names its output otherwise"
    return None


def strip(argv: Sequence[bytes]) -> tuple[bytes, ...]:
    """What is sent with preprocessed text: the vector without the preprocessor's and linker's own.

    Beyond distcc's dcc_strip_local_args (src/strip.c) it leaves out every search list, glued or
    not, ``--sysroot``, ``-finput-charset=`` and the linker's ``-Xlinker``, ``-z`` and ``-u``; and
    ``-x c`` becomes ``-x cpp-output``. With ``-x c`` gcc preprocesses the text again: an
    identifier ``linux`` turns into 1, and an ``#include`` reads the server's files. A server
    should strip what stock clients send it, for the same reason. (clang 14 does both to any
    preprocessed text, whatever its name.)
    """
    stripped = list(argv[:1])
    for word in cut(argv):
        if word.name == b"-x" and not word.missing:
            language = word.value or b""
            stripped += [b"-x", PREPROCESSED_LANGUAGE.get(language, language)]
        elif not left_out(word):
            stripped += _spelled(word, argv)
    return tuple(stripped)


def _spelled(word: Word, argv: Sequence[bytes]) -> Sequence[bytes]:
    separate = word.value is not None and not word.joined
    return argv[word.index : word.index + 1 + separate]


def expand_wp(argv: Sequence[bytes]) -> tuple[bytes, ...]:
    """The vector with each ``-Wp,a,b`` as the words ``a`` and ``b`` (src/arg.c).

    The preprocessor's own -MD and -MMD name their file, the compiler's do not: ``-Wp,-MD,f``
    gives ``-MD -MF f``. For judging and pump mode only: a command that is run on this machine
    keeps the user's spelling, because ``-Wp,-MD,f -o dir/x.o`` writes the target ``x.o`` where
    ``-MD -MF f`` writes ``dir/x.o``.
    """
    expanded = list(argv[:1])
    for word in cut(argv):
        expanded += wp_words(word.name) if word.name.startswith(b"-Wp,") else _spelled(word, argv)
    return tuple(expanded)


def preprocess_argv(argv: Sequence[bytes]) -> tuple[bytes, ...]:
    """The command that writes the preprocessed text of a Distributable's vector to its output.

    ``-o`` is left out and ``-c`` and ``-S`` become ``-E``. From ``-o`` the compiler would have
    named the dependency file and its target; distcc loses both (src/cpp.c says so), here they are
    given with ``-MF`` and ``-MQ``.
    """
    command = list(argv[:1])
    output = None
    names = set()
    for word in cut(argv):
        names.add(word.name)
        if word.name == b"-o":
            output = word.value
        elif word.name in (b"-c", b"-S"):
            command.append(b"-E")
        else:
            command += _spelled(word, argv)
    if output is not None and not names.isdisjoint((b"-MD", b"-MMD")):
        if b"-MF" not in names:
            command += [b"-MF", _dependency_file(output)]
        if names.isdisjoint((b"-MT", b"-MQ")):
            command += [b"-MQ", output]
    return tuple(command)


def dependency_target(
    argv: Sequence[bytes], dependencies_output: bytes | None = None
) -> Dependencies:
    """Where a compile of this vector puts its dependency file (dcc_get_dotd_info, src/dotd.c).

    ``dependencies_output`` is the environment's DEPENDENCIES_OUTPUT, a file that a blank and a
    target may follow. Stricter than distcc: only -MD and -MMD ask for a file, ``-MTx`` and ``-ox``
    count as ``-MT x`` and ``-o x``, and without -o the file is in the working directory. Words
    inside ``-Wp,`` count.
    """
    words = list(cut(expand_wp(argv)))
    last = {word.name: word.value for word in words if word.value is not None}
    names_target = b"-MT" in last or b"-MQ" in last
    wanted = dependencies_output is not None or any(w.name in (b"-MD", b"-MMD") for w in words)
    if b"-MF" in last:
        return Dependencies(last[b"-MF"], wanted, names_target, None)
    if dependencies_output is not None:
        file, blank, target = dependencies_output.partition(b" ")
        return Dependencies(file, wanted, names_target, target if blank else None)
    named = last.get(b"-o")
    if named is None:
        source = next((w.name for w in words if w.file and is_source(w.name)), None)
        named = None if source is None else source.rpartition(b"/")[2]
    return Dependencies(
        None if named is None else _dependency_file(named), wanted, names_target, None
    )


def _dependency_file(name: bytes) -> bytes:
    directory, slash, base = name.rpartition(b"/")
    stem, dot, _ = base.rpartition(b".")
    return directory + slash + (stem if dot else base) + b".d"


def with_files(argv: Sequence[bytes], source: bytes, output: bytes) -> tuple[bytes, ...]:
    """The same vector with other names for its one source and its one output.

    Raises ValueError when it has not one source, or more than one output, or when a new name
    would be read as something else than a file.
    """
    reading = read(argv)
    if len(reading.inputs) != 1 or len(reading.outputs) > 1:
        raise ValueError("the command has not one source and one output")
    if source[:1] in (b"-", b"@", b"") or output[:1] in (b"-", b"@", b""):
        raise ValueError("the name would be read as an option")
    words = list(argv)
    words[reading.inputs[0].index] = source
    for word in reading.outputs:
        if word.joined:
            words[word.index] = b"-o" + output
        elif not word.missing:
            words[word.index + 1] = output
        else:
            words.append(output)
    return tuple(words) if reading.outputs else (*words, b"-o", output)
