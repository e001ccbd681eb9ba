"""What a source text may ask of the file system and the clock, read from its raw bytes.

The answer is an over-approximation, and that decides every rule below. A name that is listed
although the compiler never looks for it costs a few string comparisons; a name that is missing
can cost a wrong object. So nothing is evaluated: text in comments, strings, raw strings and
untaken branches counts like any other, and a directive need not begin its line (a comment may
stand before it).

What must not fool the scan is therefore whatever *hides* a directive from a plain search: line
splices (also with blanks before the end of the line, which both gcc and clang take for a splice,
and with a lone carriage return, which both take for an end of line), comments between the words
of a directive, trigraphs, and the digraph ``%:``. Splices are removed once, up front: removing
one too many (inside a raw string) can only join texts that hold no directive. Trigraphs and
digraphs depend on the language standard and may stand literally in a name, so a text that holds
one is scanned as it is *and* translated, and the findings are joined.

Speed comes from asking CPython's substring search, which runs at one to six gigabytes per second,
before any alternation of the ``re`` module, which runs at a tenth of that: each pattern below
begins with a literal that is rare in headers.

Known limits, shared by every text scan of this kind: words that only macro expansion makes
(``__##x##__`` with ``DATE``, ``"." "incbin"`` from two strings), sources that are not in an
ASCII-compatible encoding (-finput-charset), and ``-traditional-cpp``, where ``inc/**/lude`` is one
word. Command lines can hold such words too: give the bodies of ``-D`` options to `scan` as well.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

NOTHING: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Directives:
    """The findings of one text, or of several joined by `union`.

    Names are the bytes between the delimiters, splices removed, escapes left alone (header names
    have none). A quoted name is looked for beside the file that holds it first.

    quoted, angled   names of ``#include``, ``#include_next`` and ``#import`` in either form
    next             names of ``#include_next`` and ``__has_include_next``, in either form
    has_include      (quoted, name) of ``__has_include`` and ``__has_include_next``
    computed_include       some ``#include`` takes its name from a macro
    computed_has_include   some ``__has_include`` operand cannot be read off the text
    embed            ``#embed`` or ``__has_embed``
    incbin           the assembler's ``.incbin``
    asm_include      the assembler's ``.include``, or a string that may become one of the two
    date, time, timestamp  the words ``__DATE__``, ``__TIME__``, ``__TIMESTAMP__``
    columns          a source column can reach the program (``std::source_location``)
    modules          C++20 ``import``/``module``, Objective-C ``@import``, clang's pragma
    escape           a raw ESC byte, which a diagnostic would pass on to a terminal
    pch_pragma       ``#pragma GCC pch_preprocess`` (the text names a precompiled header)
    dependency_pragma      ``#pragma GCC dependency`` (compares time stamps of files)
    """

    quoted: frozenset[bytes] = NOTHING
    angled: frozenset[bytes] = NOTHING
    next: frozenset[bytes] = NOTHING
    has_include: frozenset[tuple[bool, bytes]] = frozenset()
    computed_include: bool = False
    computed_has_include: bool = False
    embed: bool = False
    incbin: bool = False
    asm_include: bool = False
    date: bool = False
    time: bool = False
    timestamp: bool = False
    columns: bool = False
    modules: bool = False
    escape: bool = False
    pch_pragma: bool = False
    dependency_pragma: bool = False

    def union(self, other: "Directives") -> "Directives":
        """Both sets of findings as those of one text."""
        return Directives(*(getattr(self, name) | getattr(other, name) for name in _FIELDS))


_FIELDS: tuple[str, ...] = tuple(Directives.__dataclass_fields__)

# What gcc and clang pass over inside a directive. Both take NUL for a blank; a lone CR ends the
# line for both, but reading on past one can only find more.
_BLANK = rb"[ \t\f\v\r\0]*"
_NAME = rb'(?:"([^"\n]*)"|<([^>\n]*)>)'
_IDENTIFIER = rb"[A-Za-z0-9_$\x80-\xff]"

_SPLICE = re.compile(rb"\\[ \t\f\v\0]*(?:\r\n?|\n)")
_TRIGRAPH = re.compile(rb"\?\?[=/'()!<>-]")
_TRIGRAPHS = {
    b"??=": b"#",
    b"??/": b"\\",
    b"??'": b"^",
    b"??(": b"[",
    b"??)": b"]",
    b"??!": b"|",
    b"??<": b"{",
    b"??>": b"}",
    b"??-": b"~",
}

# Groups: 1 the word, 2 quoted name, 3 angled name of a plain include; 4 what needs a closer look.
_HASH = re.compile(
    rb"#" + _BLANK + rb"(?:(include(?:_next)?|import)" + _BLANK + _NAME + rb"|"
    rb"(include|import|embed|/\*|#" + _BLANK + rb"include|"
    rb"pragma[^\n]*(?:pch_preprocess|dependency|module)))"
)
_KEYWORD = re.compile(rb"(include_next|include|import|embed|pragma)(?!" + _IDENTIFIER + rb")")
_OPERAND = re.compile(_NAME)
_MACRO_START = re.compile(rb"[A-Za-z_$\\\x80-\xff]")
_RESERVED = re.compile(
    rb"__(?:DATE__|TIME__|TIMESTAMP__|has_(?:include|embed)"
    rb"|builtin_(?:COLUMN|source_location))"
)
_HAS_TAIL = re.compile(rb"(?:_next)?(?:__)?(?!" + _IDENTIFIER + rb")")
# The assembler does not mind the case of a directive, so `.IncBin` reads a file as well. A string
# that breaks off within the word may be continued by the next one or by an escape; `"x.inc"` at
# the end of a line is a file name.
_ASSEMBLER = re.compile(
    rb"\.[iI][nN][cC](?:([bB][iI][nN]\b)|[lL][uU][dD][eE]\b"
    rb"|[A-Za-z]*(?:\\[0-7A-Za-z@]|\"[ \t]*[\"A-Za-z_#]|\"[ \t]*\r?\n[ \t]*\"))"
)
_MODULE_NAME = rb"[A-Za-z_$\x80-\xff][\w.:$\x80-\xff]*"
# A sentence in a comment may begin with these words; a declaration ends after one name.
_MODULE_TAIL = re.compile(
    _BLANK + rb"(?:[;:<\"]|/\*)|[ \t\f\v\r\0]+" + _MODULE_NAME + _BLANK + rb"(?:[;:\[\n/]|$)"
)
_MODULE_HEAD = re.compile(rb"(?:^|[\n\r;@}]|\*/|\bexport)[ \t\f\v\r\0]*$")
_DEFINE = re.compile(rb"#" + _BLANK + rb"define\b")
_MENTION = re.compile(rb"\b(?:ifdef|ifndef|elifdef|elifndef|defined|define|undef)[ \t\f\v\r\0(]*$")
# gcc and clang predefine these without underscores in their gnu dialects, on some target.
_PLAIN_MACROS = frozenset(
    b"arm avr bfin bool far hpux i386 i686 linux m68k mc68000 mips near pixel pyr sparc sun "
    b"unix vax vector".split()
)
_BLANKS = b" \t\f\v\r\0"
_WORD = re.compile(rb"[A-Za-z_$\x80-\xff][A-Za-z0-9_$\x80-\xff]*")


class _Findings:
    """The accumulator behind one `scan`; one more pass over the same text only adds to it."""

    __slots__ = ("angled", "flags", "has_include", "next", "quoted")

    def __init__(self) -> None:
        self.quoted: set[bytes] = set()
        self.angled: set[bytes] = set()
        self.next: set[bytes] = set()
        self.has_include: set[tuple[bool, bytes]] = set()
        self.flags: dict[str, bool] = {}


def scan(text: bytes) -> Directives:
    """Everything that ``text`` may ask of the file system and the clock; never raises."""
    found = _Findings()
    if b"\x1b" in text:
        found.flags["escape"] = True
    plain = _SPLICE.sub(b"", text) if b"\\" in text else text
    _scan_alternative_tokens(plain, found)
    if b"?" in plain and b"??" in plain:
        translated = _TRIGRAPH.sub(lambda m: _TRIGRAPHS[m.group()], plain)
        if translated != plain:
            _scan_alternative_tokens(_SPLICE.sub(b"", translated), found)
    return Directives(
        frozenset(found.quoted),
        frozenset(found.angled),
        frozenset(found.next),
        frozenset(found.has_include),
        **found.flags,
    )


def _scan_alternative_tokens(text: bytes, found: _Findings) -> None:
    _scan_plain(text, found)
    if b"%" in text and b"%:" in text:
        _scan_plain(text.replace(b"%:", b"#"), found)


def _scan_plain(text: bytes, found: _Findings) -> None:
    """One text in which every directive is spelled with ``#`` and without splices."""
    special = False
    for word, quoted, angled, other in _HASH.findall(text):
        if other:
            special = True
        elif quoted:
            found.quoted.add(quoted)
        elif angled:
            found.angled.add(angled)
        if word == b"include_next":
            found.next.add(quoted or angled)
    skip = _blanks_and_comments(text)
    if special:
        for match in _HASH.finditer(text):
            if match.group(4):
                _note_special(text, match.start(), skip, found)
    for match in _RESERVED.finditer(text):
        _note_reserved(text, match, skip, found)
    if _holds_module_words(text, b"import") or _holds_module_words(text, b"module"):
        found.flags["modules"] = True
    for match in _ASSEMBLER.finditer(text):
        found.flags["asm_include" if match.group(1) is None else "incbin"] = True


def _holds_module_words(text: bytes, word: bytes) -> bool:
    at = text.find(word)
    while at >= 0:
        if _MODULE_TAIL.match(text, at + 6) and _MODULE_HEAD.search(text, max(0, at - 80), at):
            return True
        at = text.find(word, at + 6)
    return False


def _note_special(text: bytes, hash_at: int, skip: Callable[[int], int], found: _Findings) -> None:
    """A directive that is not a plain include; ``hash_at`` is the offset of its ``#``."""
    at = skip(hash_at + 1)
    if text[at : at + 1] == b"#":
        # `a ## include` may complete `__has_`.
        found.flags["computed_has_include"] = True
        return
    keyword = _KEYWORD.match(text, at)
    if keyword is None:
        return
    word = keyword.group(1)
    if word == b"embed":
        found.flags["embed"] = True
    elif word == b"pragma":
        end = text.find(b"\n", at)
        _note_pragma(text[at : end if end >= 0 else len(text)], found)
    else:
        operand = skip(keyword.end())
        name = _OPERAND.match(text, operand)
        if name is not None:
            spelled = name.group(1) or name.group(2)
            if spelled:
                (found.quoted if name.group(1) else found.angled).add(spelled)
                if word == b"include_next":
                    found.next.add(spelled)
        elif _MACRO_START.match(text, operand) and _begins_line(text, hash_at):
            found.flags["computed_include"] = True


def _begins_line(text: bytes, at: int) -> bool:
    """May ``at`` be the first token of its line? Prose speaks of ``#include`` in mid-line."""
    before = text[max(text.rfind(b"\n", 0, at), text.rfind(b"\r", 0, at)) + 1 : at].strip(_BLANKS)
    return not before or before.endswith(b"*/")


def _note_pragma(line: bytes, found: _Findings) -> None:
    if b"pch_preprocess" in line:
        found.flags["pch_pragma"] = True
    if b"dependency" in line:
        found.flags["dependency_pragma"] = True
    if b"clang" in line and b"module" in line:
        found.flags["modules"] = True


_RESERVED_FLAGS = {
    b"__DATE__": "date",
    b"__TIME__": "time",
    b"__TIMESTAMP__": "timestamp",
    b"__has_embed": "embed",
    b"__builtin_COLUMN": "columns",
    b"__builtin_source_location": "columns",
}


def _note_reserved(
    text: bytes, match: re.Match[bytes], skip: Callable[[int], int], found: _Findings
) -> None:
    flag = _RESERVED_FLAGS.get(match.group())
    if flag is not None:
        found.flags[flag] = True
        return
    tail = _HAS_TAIL.match(text, match.end())
    if tail is None:
        return
    operand = skip(tail.end())
    parenthesis = text[operand : operand + 1] == b"("
    if parenthesis:
        operand = skip(operand + 1)
    name = _OPERAND.match(text, operand)
    line = text[text.rfind(b"\n", 0, match.start()) + 1 : match.start()]
    if name is not None:
        quoted, angled = name.groups()
        spelled = angled if quoted is None else quoted
        if spelled:
            found.has_include.add((quoted is not None, spelled))
            if tail.group().startswith(b"_next"):
                found.next.add(spelled)
        # A macro is expanded in another file, beside which its quoted name is then looked for.
        if _DEFINE.search(line) and (quoted is not None or _has_macro_name(spelled, text)):
            found.flags["computed_has_include"] = True
    elif parenthesis and text[operand : operand + 1] != b")":
        if not _MENTION.search(line):
            found.flags["computed_has_include"] = True
    elif not parenthesis and not _is_mention(line):
        found.flags["computed_has_include"] = True


def _is_mention(line: bytes) -> bool:
    """Does ``__has_include``, after ``line``, name the operator without using it?

    Without an operand it can still be handed to a macro or be the body of one, but only in a
    directive; it cannot in ``#ifdef`` and ``defined``, in a comment, or in running text.
    """
    if b"#" not in line and b"*/" not in line:
        return True
    if _MENTION.search(line):
        return True
    if b'"' in line or b"'" in line:
        return False
    return b"//" in line or line.rfind(b"/*") > line.rfind(b"*/")


def _has_macro_name(name: bytes, text: bytes) -> bool:
    """Could a word of ``name`` be expanded?

    In the body of a macro ``<linux/x.h>`` is not one token but seven, and in gcc's gnu dialects
    ``linux`` is 1. Any word may be a macro of another file; libstdc++ has such a body in every
    C++ compile, so only the known words and those that this text defines count.
    """
    words = frozenset(_WORD.findall(name))
    if words & _PLAIN_MACROS:
        return True
    return any(
        re.search(rb"#" + _BLANK + rb"define[ \t]+" + re.escape(word) + rb"(?![A-Za-z0-9_])", text)
        for word in words
    )


def _blanks_and_comments(text: bytes) -> Callable[[int], int]:
    """A function that moves an offset past blanks and block comments, ends of line excepted.

    The end of the comment that was found last is remembered: without that, a text of nothing
    but ``#/*`` would take quadratic time.
    """
    blank = re.compile(_BLANK)
    known_from, known_end = 0, -1

    def skip(at: int) -> int:
        nonlocal known_from, known_end
        while True:
            match = blank.match(text, at)
            at = match.end() if match else at
            if text[at : at + 2] != b"/*":
                return at
            if not known_from <= at + 2 <= known_end:
                end = text.find(b"*/", at + 2)
                known_from, known_end = at + 2, end if end >= 0 else len(text)
            at = known_end + 2
            if at > len(text):
                return len(text)

    return skip
