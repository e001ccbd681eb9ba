"""The reasons why a server must not compile a text: what in it makes a compiler read files.

A preprocessed text has everything in it, so whatever still asks for a file would get the *server's*
file: an object that is quietly another one, or a way to read what the daemon's user may read. Three
things ask:

* the assembler's ``.incbin`` and ``.include``, which reach it through strings: asm statements,
  names of sections, names of symbols;
* directives. gcc obeys none of those that read files in preprocessed text (the options with which
  it would are refused by argumentfilter.py); clang preprocesses such text like any other;
* a few pragmas, for both.

A name may be hidden by splices, by escapes, and by a string that goes on in the next one; that is
seen through. What the assembler's own macros put together from pieces is not: whoever wants to hide
a directive on purpose can, and only a sandbox keeps the server's files from such a one. In doubt a
text is refused, which costs the client a local compile.

Everything is linear in the text: no repetition in a pattern is unbounded, none begins within
another's reach more than a bounded number of times, and one within another is possessive. A search
holds the interpreter, so texts are searched in pieces, between which other jobs have their turn.
"""

from __future__ import annotations

import re

PIECE = 1 << 20
OVERLAP = 1 << 16
"""No match is longer."""

_BLANK = rb"[ \t\f\v\0]"
_COMMENT = rb"/\*[^*]{0,200}\*{1,8}/|//[^\n]{0,200}\n"
# What may stand between two strings that are one: also the line marker after a macro's end. What is
# taken is never given back: each part begins with another character and so does what comes after,
# so there is only one way to read a gap; but a run of n blanks can be cut into parts in 2**n ways.
_GAP = rb'(?:"(?:[ \t\f\v\r\n\0]{1,64}+|#[^\n]{0,400}\n|' + _COMMENT + rb'){0,16}+"){0,4}+'


def _escape(letter: str) -> bytes:
    """A pattern of what may follow the backslash of an escape that means ``letter``."""
    spellings = []
    for code in sorted({ord(letter.lower()), ord(letter.upper())}):
        digits = f"(?i:{code:x})"
        spellings.append(rf"x0{{0,8}}{digits}|0?{code:o}|u00{digits}|U000000{digits}")
        spellings.append(rf"[xu]\{{0{{0,8}}{digits}|o\{{0{{0,8}}{code:o}")
    return f"(?:{'|'.join(spellings)})".encode()


def _letter(letter: str) -> bytes:
    """A pattern of one character of a string, in each spelling that C has for it."""
    plain = f"[{letter.lower()}{letter.upper()}]".encode()
    return rb"(?:" + plain + rb"|\\" + _escape(letter) + rb"\}?)"


def _word(word: str) -> bytes:
    return _GAP.join(map(_letter, word))


# A member may be called `include`; what follows it is never a string, as the directive's operand
# is (or a macro's argument, or the rest of the operand in the next string).
_NAME = (
    _GAP
    + _word("inc")
    + _GAP
    + rb"(?:"
    + _word("bin")
    + rb"(?![A-Za-z0-9_$])|"
    + _word("lude")
    + rb'(?:[ \t]|\\[tvf]){0,64}["\\/%])'
)
# Each begins with one character, which the engine looks for by itself, and then fails soon: four
# times as quick as one pattern that begins with a choice.
_ASSEMBLER = (
    re.compile(rb'\.(?=[iI"\\])' + _NAME),
    re.compile(rb"\\(?=[xuoU0-9])" + _escape(".") + rb"\}?" + _NAME),
)
_BY_NAME = re.compile(rb"\\N\{(?:FULL STOP|LATIN [A-Z]{5,7} LETTER [BCDEILNU])\}")
"""C++23 spells characters by name; in preprocessed text nobody does."""

_UNUSUAL = rb"(?![ \t]{0,64}(?:[0-9]|\r|\n|\Z|(?:line|pragma|ident|define|undef)[ \t]))"
_DIRECTIVE = (re.compile(rb"#" + _UNUSUAL), re.compile(rb"%:" + _UNUSUAL))
"""All but what preprocessors write themselves."""
_BLANKS = b" \t\f\v\0" + bytes(range(0x80, 0x100))
"""clang takes the bytes of foreign blanks for blanks."""
LOOK_BACK = 1024
MOST_CANDIDATES = 200_000

_WORDS = (b"pch_preprocess", b"include_alias")
_READS = rb"(?:" + _BLANK + rb"|" + _COMMENT + rb"){1,64}(?:dependency|module)\b"
_PRAGMA = (re.compile(rb"GCC" + _READS), re.compile(rb"clang" + _READS))
_SPLICE = re.compile(rb"\\[ \t\f\v\0]{0,1024}(?:\r\n?|\n)")


def refusal(text: bytes, *, obeys_directives: bool) -> str | None:
    """Why the text must not be compiled here, for people; None: it may.

    ``obeys_directives``: the compiler is not known to be one that leaves directives of preprocessed
    text alone. Nothing is raised, whatever the text."""
    why = _refusal(text, obeys_directives)
    if why is None and b"??" in text:
        # Whether they mean anything depends on the standard, so both ways are looked at.
        translated = text.replace(b"??=", b"#").replace(b"??/", b"\\")
        if translated != text:
            why = _refusal(translated, obeys_directives)
    return why


def _refusal(text: bytes, obeys_directives: bool) -> str | None:
    escapes = b"\\" in text
    plain = _SPLICE.sub(b"", text) if escapes and _found(_SPLICE, text) else text
    assembler = _ASSEMBLER if escapes else _ASSEMBLER[:1]
    if any(_found(one, plain) for one in assembler):
        return "the text has the assembler read a file (.incbin or .include)"
    if b"\\N{" in plain and _found(_BY_NAME, plain):
        return "the text spells by name what the assembler may read as .incbin or .include"
    for word in _WORDS:
        if word in plain:
            return f"the text has a pragma that reads a file: {word.decode()}"
    for pragma in _PRAGMA:
        found = _found(pragma, plain)
        if found is not None:
            return f"the text has a pragma that reads a file: {_shown(found.group())}"
    return _directive(plain) if obeys_directives else None


def _directive(text: bytes) -> str | None:
    text = text.removeprefix(b"\xef\xbb\xbf")
    candidates = 0
    for pattern in _DIRECTIVE if b"%:" in text else _DIRECTIVE[:1]:
        for match in pattern.finditer(text):
            at = match.start()
            candidates += 1
            if candidates > MOST_CANDIDATES:
                return f"the text has more than {MOST_CANDIDATES} of what may be directives"
            before = text[max(0, at - LOOK_BACK) : at]
            # Most often a string or a comment has it in the middle of its line.
            before = before.rstrip(_BLANKS)
            if before and not before.endswith((b"\n", b"\r", b"*/")):
                continue
            return f"the text still has a directive: {_shown(text[at : at + 60])}"
    return None


def _found(pattern: re.Pattern[bytes], text: bytes) -> re.Match[bytes] | None:
    for at in range(0, len(text), PIECE):
        match = pattern.search(text, at, at + PIECE + OVERLAP)
        if match is not None:
            return match
    return None


def _shown(found: bytes) -> str:
    line = found.partition(b"\n")[0].strip(b" \t\f\v\r\0")
    return line[:60].decode(errors="backslashreplace")
