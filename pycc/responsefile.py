"""Expansion of ``@file`` words, by the rules of libiberty's ``expandargv`` and LLVM's tokenizer.

Both compilers replace a word ``@file`` by the words in the file, wherever it stands and however
deeply such words nest; a file that cannot be read leaves the word as it is. Words are separated by
white space; a backslash takes the next character as it is; single and double quotes hold white
space together.

clang reads by Windows' rules where the command line says --rsp-quoting=windows: a backslash is
itself unless quotes follow, and single quotes mean nothing.

In corners the readers differ from each other and from release to release: a backslash in single
quotes is an ordinary character since binutils 2.43, LLVM drops words that are empty, drops a
byte-order mark and converts UTF-16, libiberty ends at a NUL. A wrong guess would hand out another
command's object, so such a file is refused, and the call is not cached.
"""

from collections.abc import Callable, Sequence

from pycc.errors import PyccError

LIMIT = 2000
"""Files read for one command line; gcc gives up at this number."""

MAX_WORDS = 1_000_000
"""More words than any system can pass to a program; files that name themselves end here."""

_SPACE = b" \t\n\v\f\r"
_QUOTES = b"'\""
_ESCAPED_IN_DOUBLE_QUOTES = b'"\\$`'


class ResponseFileError(PyccError):
    """A response file that cannot be expanded for certain; the text says why."""


def is_windows(args: Sequence[bytes]) -> bool:
    """Whether clang reads the response files of this command line by Windows' rules."""
    chosen = [word for word in args if word.startswith(b"--rsp-quoting=")]
    return bool(chosen) and chosen[-1] != b"--rsp-quoting=posix"


def expand(
    args: Sequence[bytes], read: Callable[[bytes], bytes | None], wanted: str = "auto"
) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Replace every ``@file`` word in ``args`` (without the compiler) by the file's words.

    ``wanted`` is the setting response_file_format: a file that would be other words by the rules
    that the compiler follows is refused.

    ``read`` returns a file's bytes, or None when it cannot be read (a directory included). Gives
    the words and the names of the files that were asked for, in order, unreadable ones included,
    because one that appears later changes the answer. Raises ResponseFileError.
    """
    if not any(word[:1] == b"@" for word in args):
        return tuple(args), ()
    windows = is_windows(args)
    rules = split_windows if windows else split
    disputed = wanted not in ("auto", "windows" if windows else "posix")
    expanded: list[bytes] = []
    asked: list[bytes] = []
    pending = list(reversed(args))
    while pending:
        word = pending.pop()
        if word[:1] != b"@":
            expanded.append(word)
            continue
        if len(asked) + 1 >= LIMIT:
            raise ResponseFileError("too many @-files")
        name = word[1:]
        asked.append(name)
        content = read(name)
        if content is None:
            expanded.append(word)
            continue
        if disputed and any(byte in content for byte in (b"\\", b"'", b'"')):
            raise ResponseFileError(f"the compiler reads an @-file by other rules than {wanted}")
        pending.extend(reversed(rules(content)))
        if len(pending) + len(expanded) > MAX_WORDS:
            raise ResponseFileError("too many words in @-files")
    return tuple(expanded), tuple(asked)


def split(content: bytes) -> list[bytes]:
    """The words of a response file's ``content``.

    Raises ResponseFileError where compilers disagree about them.
    """
    _check_plain(content)
    if b"\\" not in content and b"'" not in content and b'"' not in content:
        return content.split()
    words: list[bytes] = []
    word = bytearray()
    inside = False  # a word has begun, though it may still be empty
    quote = 0
    at = 0
    while at < len(content):
        byte = content[at]
        at += 1
        if byte == 0x5C:
            _check_escape(content[at : at + 1], quote)
            word += content[at : at + 1]
            at += 1
            inside = True
        elif quote:
            if byte == quote:
                quote = 0
            else:
                word.append(byte)
        elif byte in _QUOTES:
            quote = byte
            inside = True
        elif byte in _SPACE:
            if inside:
                words.append(_finished(word))
                word.clear()
                inside = False
        else:
            word.append(byte)
            inside = True
    if quote:
        raise ResponseFileError("an @-file ends inside quotes")
    if inside:
        words.append(_finished(word))
    return words


def split_windows(content: bytes) -> list[bytes]:
    """The same by Windows' rules (llvm's ``TokenizeWindowsCommandLine``): backslashes are
    themselves, but before double quotes two stand for one, and an odd one takes the quotes as they
    are."""
    _check_plain(content)
    if b"\v" in content or b"\f" in content:
        raise ResponseFileError("an @-file has white space that not every reader takes for it")
    words: list[bytes] = []
    word = bytearray()
    inside = quoted = False
    at = 0
    while at < len(content):
        byte = content[at]
        if byte == 0x5C:
            end = at
            while content[end : end + 1] == b"\\":
                end += 1
            count = end - at
            if content[end : end + 1] == b'"':
                word += b"\\" * (count // 2) + b'"' * (count % 2)
                end += count % 2
            else:
                word += b"\\" * count
            at = end
            inside = True
            continue
        at += 1
        if byte == 0x22:
            if quoted and content[at : at + 1] == b'"':
                raise ResponseFileError("an @-file has quotes beside quotes")
            quoted = not quoted
            inside = True
        elif byte in _SPACE and not quoted:
            if inside:
                words.append(_finished(word))
                word.clear()
                inside = False
        else:
            word.append(byte)
            inside = True
    if quoted:
        raise ResponseFileError("an @-file ends inside quotes")
    if inside:
        words.append(_finished(word))
    return words


def _check_plain(content: bytes) -> None:
    if content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
        raise ResponseFileError("an @-file is not plain text")


def _check_escape(escaped: bytes, quote: int) -> None:
    if not escaped or escaped == b"\n":
        raise ResponseFileError("an @-file has a backslash at the end of a line")
    if quote == 0x27 or (quote and escaped not in _ESCAPED_IN_DOUBLE_QUOTES):
        raise ResponseFileError("an @-file has a backslash inside quotes")


def _finished(word: bytearray) -> bytes:
    if not word:
        raise ResponseFileError("an @-file has an empty word")
    return bytes(word)
