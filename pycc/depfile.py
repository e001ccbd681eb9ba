"""Dependency files: the make rules that gcc, clang and the assembler write beside an object.

A rule is read once, when a result is stored, and written again at every hit for another object
name, so `render` must reproduce the compilers' line breaks byte for byte. The layout was read off
gcc 12 and clang 14 and is proven against the installed compilers by the tests; the caller checks
``render(parse(x), own targets, style) == x`` before it relies on it and keeps ``x`` otherwise.

The quoting is make's, as far as the compilers follow it:

    " " and TAB   ``\\`` before it; each backslash that stands directly before is doubled
    "#"           ``\\`` before it; backslashes that stand before are left alone
    "$"           doubled
    ":" "%" "\\"   as they are

Two spellings cannot be told apart. A name that ends in a backslash is written as it is, so
``a\\ b`` can be the name ``a b`` or the names ``a\\`` and ``b``: it is read as make reads it. And
clang writes the backslashes of a prerequisite as slashes: such a name cannot be had back, and
names a file that does not exist.

gcc breaks a line before the name that would pass column 72 and counts the quoted name; clang keeps
75 columns, reserves two for the break, indents by two, counts a target as it is written but a
prerequisite before quoting, and writes an empty line before every phony rule.
"""

import re
from collections.abc import Iterable, Sequence
from enum import Enum

from pycc.errors import PyccError
from pycc.pattern import pattern
from pycc.record import record


class DepfileError(PyccError):
    """The text is no dependency file of the kind that this module knows."""


class Style(Enum):
    """Whose layout `render` reproduces."""

    GCC = "gcc"
    CLANG = "clang"


@record
class Rule:
    """One dependency file.

    target_text     what stands before the colon, exactly as written
    targets         the same as names: split, unquoted
    prerequisites   the files that were read, unquoted, in order; the source is among them
    phony           there are rules without prerequisites for them (-MP)
    main            index of the prerequisite that has no such rule: the source. It is 0 unless
                    clang was told of a file that it reads before the source
    """

    target_text: bytes
    targets: tuple[bytes, ...]
    prerequisites: tuple[bytes, ...]
    phony: bool = False
    main: int = 0


# A run of backslashes with what gives it its meaning, a dollar pair, or the end of a name. The
# look-behind keeps a long run of backslashes from being tried from each of its places.
_SPECIAL = pattern(rb"(?<!\\)(?:(\\*) |(\\+)([\t#]))|\$\$")
_SPLICE = pattern(rb"\\\r?\n")
# The first colon that ends a word ends the targets: compilers write one, then a blank, a
# continued line, or nothing. Colons inside names are left as they are by both compilers.
_TARGET_END = pattern(rb":(?=[ \t]|\\?\r?\n|\Z)")
_MODULE_MARKS = (b"CXX_IMPORTS", b".PHONY", b".c++m", b".gcm")


def parse(text: bytes) -> Rule:
    """Read what a compiler's -MD, -MMD or -M, or the assembler's --MD, wrote.

    Raises DepfileError when there is no rule, when a second rule has prerequisites (C++ modules),
    or when the text is not a list of rules at all.
    """
    end = _TARGET_END.search(text)
    if end is None:
        raise DepfileError("no rule in the dependency file")
    target_text = text[: end.start()]
    if b"\0" in text:
        raise DepfileError("NUL in the dependency file")
    lines = _SPLICE.sub(b" ", text[end.end() :]).replace(b"\r\n", b"\n").split(b"\n")
    prerequisites = _split(lines[0])
    phony = [line for line in lines[1:] if line.strip(b" \t")]
    for line in phony:
        if not line.endswith(b":"):
            raise DepfileError("a second rule with prerequisites")
    if any(mark in target_text for mark in _MODULE_MARKS) or b"|" in prerequisites:
        raise DepfileError("a module rule")
    main = 0
    if phony:
        named = {_only(line[:-1]) for line in phony}
        without = [i for i, name in enumerate(prerequisites) if name not in named]
        main = without[0] if without else 0
    return Rule(
        target_text=target_text,
        targets=_split(_SPLICE.sub(b" ", target_text)),
        prerequisites=prerequisites,
        phony=bool(phony),
        main=main,
    )


def as_depfile(text: bytes) -> Rule:
    """Read the assembler's ``--MD`` file; its quoting is gcc's, except that ``#`` has none."""
    return parse(text)


def _only(line: bytes) -> bytes:
    names = _split(line)
    return names[0] if len(names) == 1 else b""


def _split(line: bytes) -> tuple[bytes, ...]:
    """The names of one logical line, unquoted."""
    # Both compilers separate with blanks alone, and clang writes a TAB in a name as it is.
    if b"\\" not in line and b"$" not in line:
        return tuple(name for name in line.split(b" ") if name)
    names: list[bytes] = []
    parts: list[bytes] = []
    at = 0
    for match in _SPECIAL.finditer(line):
        before_blank, slashes, special = match.groups()
        parts.append(line[at : match.start()])
        at = match.end()
        if special == b"#":
            parts.append(slashes[:-1] + b"#")
        elif special is not None:
            parts.append(slashes[: len(slashes) // 2] + special)
        elif before_blank is None:
            parts.append(b"$")
        elif len(before_blank) % 2:
            parts.append(before_blank[: len(before_blank) // 2] + b" ")
        else:
            # make halves an even run here, but the compilers do not double it.
            parts.append(before_blank)
            names.append(b"".join(parts))
            parts.clear()
    parts.append(line[at:])
    names.append(b"".join(parts))
    return tuple(name for name in names if name)


_QUOTED = pattern(rb"(?<!\\)(\\*)([ \t])|#|\$")
_QUOTED_BY_CLANG = pattern(rb"(?<!\\)(\\*)( )|#|\$")


def quote(name: bytes, special: re.Pattern[bytes] = _QUOTED) -> bytes:
    """One name (without an end of line) as gcc writes it."""

    def quoted(match: re.Match[bytes]) -> bytes:
        if match.group(2) is not None:
            return match.group(1) * 2 + b"\\" + match.group(2)
        return b"$$" if match.group() == b"$" else b"\\" + match.group()

    return special.sub(quoted, name)


def render(rule: Rule, targets: Sequence[tuple[bytes, bool]], style: Style) -> bytes | None:
    """The dependency file that ``style``'s compiler would write for ``targets``.

    ``targets`` are those of -MT (text, False) and -MQ (text, True) in the order of the command
    line, or `default_target` alone. None when the layout is not known: no target at all, an
    end of line in a name, or nothing read.
    """
    names = [text for text, _ in targets]
    if not names or not rule.prerequisites:
        return None
    if any(b"\n" in name or not name for name in (*names, *rule.prerequisites)):
        return None
    if style is Style.GCC:
        return _render_gcc(rule, targets)
    return _render_clang(rule, targets)


def _render_gcc(rule: Rule, targets: Sequence[tuple[bytes, bool]]) -> bytes:
    # The driver hands all -MQ to cc1 before any -MT, and libcpp keeps the unquoted ones in
    # front by swapping, so that the order of -MQ options can turn around.
    ordered: list[bytes] = []
    unquoted = 0
    for text, quoted in sorted(targets, key=lambda target: not target[1]):
        name = without_dot_slash(text)
        if quoted:
            ordered.append(quote(name))
            continue
        if unquoted != len(ordered):
            ordered[unquoted], name = name, ordered[unquoted]
        ordered.append(name)
        unquoted += 1
    out: list[bytes] = []
    column = _wrap_gcc(out, 0, ordered)
    out.append(b":")
    prerequisites = [quote(name) for name in rule.prerequisites]
    _wrap_gcc(out, column + 1, prerequisites)
    out.append(b"\n")
    if rule.phony:
        out += (name + b":\n" for name in prerequisites[1:])
    return b"".join(out)


def _wrap_gcc(out: list[bytes], column: int, names: Iterable[bytes]) -> int:
    for name in names:
        if column:
            if column + len(name) > 72:
                out.append(b" \\\n")
                column = 0
            out.append(b" ")
            column += 1
        out.append(name)
        column += len(name)
    return column


def _render_clang(rule: Rule, targets: Sequence[tuple[bytes, bool]]) -> bytes:
    out: list[bytes] = []
    column = 0
    for text, quoted in targets:
        name = quote(text) if quoted else text
        if column == 0:
            column = len(name)
        elif column + len(name) + 2 > 75:
            column = len(name) + 2
            out.append(b" \\\n  ")
        else:
            column += len(name) + 1
            out.append(b" ")
        out.append(name)
    out.append(b":")
    column += 1
    prerequisites = [quote(name, _QUOTED_BY_CLANG) for name in rule.prerequisites]
    for name, written in zip(rule.prerequisites, prerequisites, strict=True):
        if column + len(name) + 3 > 75:
            out.append(b" \\\n ")
            column = 2
        out += (b" ", written)
        column += len(name) + 1
    out.append(b"\n")
    if rule.phony:
        for index, written in enumerate(prerequisites):
            if index != rule.main:
                out += (b"\n", written, b":\n")
    return b"".join(out)


def without_dot_slash(name: bytes) -> bytes:
    """``name`` without leading ``./``, as both compilers write the names of files.

    gcc strips targets as well, clang does not.
    """
    while name.startswith(b"./"):
        name = name[2:].lstrip(b"/")
    return name


def default_target(
    object_path: bytes | None, source: bytes, style: Style, *, past_driver: bool = False
) -> tuple[bytes, bool]:
    """The target that the compiler takes when there is no -MT and no -MQ; it is quoted.

    ``object_path`` is the value of -o, None without one. ``past_driver``: the request was
    spelled ``-Wp,-MD,file``, which gcc's driver does not see, so that its -o does not count;
    clang's does.
    """
    if object_path is not None and not (past_driver and style is Style.GCC):
        return object_path, True
    base = source.rpartition(b"/")[2]
    stem, dot, _ = base.rpartition(b".")
    return (stem if dot else base) + b".o", True
