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
from collections.abc import Iterable
from operator import attrgetter

from .record import record

NOTHING: frozenset[bytes] = frozenset()


@record
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


_FLAGS = tuple(
    name for name, value in Directives.__annotations__.items() if value in ("bool", bool)
)
_flags_of = attrgetter(*_FLAGS)


def flags_of(texts: Iterable[Directives]) -> Directives:
    """What any of ``texts`` asks for, without the names."""
    found = map(any, zip(*set(map(_flags_of, texts)), strict=True))
    return Directives(NOTHING, NOTHING, NOTHING, frozenset(), *found)


# What gcc and clang pass over inside a directive. Both take NUL for a blank; a lone CR ends the
# line for both, but reading on past one can only find more.
_BLANK = rb"[ \t\f\v\r\0]*"
_NAME = rb'(?:"([^"\r\n]*)"|<([^>\r\n]*)>)'
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
    rb"pragma"
    + _BLANK
    + rb"(?:/\*|(?:GCC|clang)"
    + _BLANK
    + rb"(?:/\*|pch_preprocess|dependency|module))))"
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
_MODULE_NAME = rb"[A-Za-z_$\x80-\xff][\w.$\x80-\xff]*" + _BLANK
# What follows `import` or `module` in a declaration, up to its end: a comment may begin a line
# with the same words.
_MODULE_TAIL = re.compile(
    _BLANK + rb"(?:;|/\*|" + _NAME + rb"|:" + _BLANK + _MODULE_NAME + rb"[;\[/])"
    rb"|[ \t\f\v\r\0]+" + _MODULE_NAME + rb"(?::" + _BLANK + _MODULE_NAME + rb")?[;\[/]"
)
_DEFINED = re.compile(rb"#" + _BLANK + rb"define[ \t]+([A-Za-z_$\x80-\xff][\w$\x80-\xff]*)")
_DEFINE = re.compile(rb"#" + _BLANK + rb"define\b")
_MENTION = re.compile(rb"\b(?:ifdef|ifndef|elifdef|elifndef|defined|define|undef)[ \t\f\v\r\0(]*$")
# gcc and clang predefine these without underscores in their gnu dialects, on some target.
_PLAIN_MACROS = frozenset(
    b"arm avr bfin bool far hpux i386 i686 linux m68k mc68000 mips near pixel pyr sparc sun "
    b"unix vax vector".split()
)
_BLANKS = b" \t\f\v\r\0"
_BLANK_BYTES = frozenset(_BLANKS[i : i + 1] for i in range(len(_BLANKS)))
# Lines that end in hundreds of splices become one; looking back is bounded, so that a text made
# for the purpose cannot cost more than linear time. Beyond it the worse case is assumed.
_LOOK_BACK = 4096
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

    def add_include(self, word: bytes, quoted: bytes | None, angled: bytes | None) -> None:
        """A name that follows ``word``; an empty one is an error of the source."""
        name = quoted or angled
        if name:
            (self.quoted if quoted else self.angled).add(name)
            if word == b"include_next":
                self.next.add(name)


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
    reader = _Reader(text)
    special = False
    for word, quoted, angled, other in _HASH.findall(text):
        if other:
            special = True
        elif quoted or angled:
            found.add_include(word, quoted, angled)
    if special:
        for match in _HASH.finditer(text):
            if match.group(4):
                _note_special(reader, match.start(), found)
    for match in _RESERVED.finditer(text):
        _note_reserved(reader, match, found)
    if _declares_modules(text, b"import") or _declares_modules(text, b"module"):
        found.flags["modules"] = True
    for match in _ASSEMBLER.finditer(text):
        found.flags["asm_include" if match.group(1) is None else "incbin"] = True


def _declares_modules(text: bytes, word: bytes) -> bool:
    at = text.find(word)
    while at >= 0:
        if _MODULE_TAIL.match(text, at + len(word)):
            before = text[max(0, at - 80) : at].rstrip(_BLANKS)
            if not before or before.endswith((b"\n", b";", b"@", b"}", b"*/", b"export")):
                return True
        at = text.find(word, at + len(word))
    return False


def _note_special(reader: "_Reader", hash_at: int, found: _Findings) -> None:
    """A directive that is not a plain include; ``hash_at`` is the offset of its ``#``."""
    text = reader.text
    at = reader.skip(hash_at + 1)
    if text[at : at + 1] == b"#":
        # `a ## include` may complete `__has_`; or a lone `#` ended its line with a CR.
        found.flags["computed_has_include"] = True
        hash_at = at
        at = reader.skip(at + 1)
    keyword = _KEYWORD.match(text, at)
    if keyword is None:
        return
    word = keyword.group(1)
    operand = reader.skip(keyword.end())
    if word == b"embed":
        found.flags["embed"] = True
    elif word == b"pragma":
        owner = _WORD.match(text, operand)
        if owner is not None:
            what = _WORD.match(text, reader.skip(owner.end()))
            flag = _PRAGMA_FLAGS.get((owner.group(), what.group() if what else b""))
            if flag is not None:
                found.flags[flag] = True
    else:
        name = _OPERAND.match(text, operand)
        if name is not None:
            found.add_include(word, *name.groups())
        elif _MACRO_START.match(text, operand) and reader.begins_line(hash_at):
            found.flags["computed_include"] = True


_PRAGMA_FLAGS = {
    (b"GCC", b"pch_preprocess"): "pch_pragma",
    (b"GCC", b"dependency"): "dependency_pragma",
    (b"clang", b"module"): "modules",
}
_RESERVED_FLAGS = {
    b"__DATE__": "date",
    b"__TIME__": "time",
    b"__TIMESTAMP__": "timestamp",
    b"__has_embed": "embed",
    b"__builtin_COLUMN": "columns",
    b"__builtin_source_location": "columns",
}


def _note_reserved(reader: "_Reader", match: re.Match[bytes], found: _Findings) -> None:
    flag = _RESERVED_FLAGS.get(match.group())
    if flag is not None:
        found.flags[flag] = True
        return
    text = reader.text
    tail = _HAS_TAIL.match(text, match.end())
    if tail is None:
        return
    operand = reader.skip(tail.end())
    parenthesis = text[operand : operand + 1] == b"("
    if parenthesis:
        operand = reader.skip(operand + 1)
    line = reader.line_before(match.start())
    if line is None:
        line = b"#define"
    name = _OPERAND.match(text, operand)
    if name is not None:
        quoted, angled = name.groups()
        found.has_include.add((quoted is not None, quoted or angled or b""))
        if tail.group().startswith(b"_next"):
            found.next.add(quoted or angled or b"")
        # A macro is expanded in another file, beside which its quoted name is then looked for.
        if _DEFINE.search(line) and (quoted is not None or reader.has_macro_word(angled)):
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


class _Reader:
    """A text, and how to move about in it in linear time."""

    __slots__ = ("_comment", "_comment_end", "_defined", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._comment = 0
        self._comment_end = -1
        self._defined: frozenset[bytes] | None = None

    def skip(self, at: int) -> int:
        """``at`` moved past blanks and block comments; the end of a line stops it.

        The end of the comment found last is remembered: without that, a text of nothing but
        ``#/*`` would take quadratic time.
        """
        text = self.text
        while True:
            while text[at : at + 1] in _BLANK_BYTES:
                at += 1
            if text[at : at + 2] != b"/*":
                return at
            if not self._comment <= at + 2 <= self._comment_end:
                end = text.find(b"*/", at + 2)
                self._comment = at + 2
                self._comment_end = end if end >= 0 else len(text)
            at = min(self._comment_end + 2, len(text))

    def line_before(self, at: int) -> bytes | None:
        """The line up to ``at``; None when it is too long to look at."""
        start = self.text.rfind(b"\n", max(0, at - _LOOK_BACK), at)
        if start < 0 and at > _LOOK_BACK:
            return None
        return self.text[start + 1 : at]

    def begins_line(self, at: int) -> bool:
        """May ``at`` be the first token of its line? Prose speaks of ``#include`` in mid-line."""
        line = self.line_before(at)
        if line is None:
            return True
        before = line[line.rfind(b"\r") + 1 :].strip(_BLANKS)
        return not before or before.endswith(b"*/")

    def has_macro_word(self, name: bytes) -> bool:
        """Could a word of ``name`` be expanded?

        In the body of a macro ``<linux/x.h>`` is not one token but seven, and in gcc's gnu
        dialects ``linux`` is 1. Any word may be a macro of another file; libstdc++ has such a
        body in every C++ compile, so only the known words and those that this text defines count.
        """
        if self._defined is None:
            self._defined = frozenset(_DEFINED.findall(self.text)) | _PLAIN_MACROS
        return not self._defined.isdisjoint(_WORD.findall(name))
