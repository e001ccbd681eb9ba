"""The dependency options: which file the compiler writes for make, and what it names in it.

gcc's driver hands the options to cc1 in an order of its own: ``-MD`` with a derived name, ``-MMD``
with one (so it wins over ``-MD`` wherever it stands), ``-MF``, ``-MT`` and ``-MQ``, and last what
``-Wp,`` and ``-Xpreprocessor`` carry; in cc1 the last one counts. The writer prints unquoted
targets before quoted ones. clang knows ``-Wp,-MD,file`` only as two values, and reads it as
``-MD -MF file``.
"""

from collections.abc import Sequence

from pycc.invocation import Action, DependencyRequest, Family
from pycc.languages import is_header
from pycc.options import find
from pycc.record import made, mutable
from pycc.sidefiles import Names

_STANDARD_OUTPUT = frozenset((b"-", b"/dev/stdout", b"/dev/stderr", b"/dev/fd/1", b"/dev/fd/2"))
_WITH_VALUE = frozenset((b"-MF", b"-MT", b"-MQ"))


_SPELLED_OUT = (b"--print-missing-", b"--write-", b"--user-dep", b"--dependencies")


def is_dependency_word(word: bytes) -> bool:
    """Whether it is one of these options, with which another means something else."""
    return word.startswith((b"-M", *_SPELLED_OUT)) or (word.startswith(b"-Wp,") and b",-M" in word)


class UnsupportedError(Exception):
    """The options contradict each other or go where nobody can follow; the text is the option."""

    def __init__(self, detail: bytes) -> None:
        super().__init__(detail)
        self.detail = detail


@mutable
class DependencyOptions:
    """The options read so far, and the words for the preprocessor."""

    family: Family
    system: bool = False  # -MD
    user: bool = False  # -MMD
    file: bytes | None = None  # -MF
    targets: list[tuple[bytes, bool]] = made(factory=list)  # (text, quoted)
    phony: bool = False
    generated: bool = False
    stream: list[bytes] = made(factory=list)  # -Wp, and -Xpreprocessor words in order
    wrapped: bool = False  # a -Wp, word names a dependency file
    direct: bool = True  # every word in the stream is understood

    def take(self, name: bytes, value: bytes) -> None:
        """Read one ``-M…`` option of the driver."""
        match name:
            case b"-MD":
                self.system = True
            case b"-MMD":
                self.user = True
            case b"-MF":
                self.file = value
            case b"-MT" | b"-MQ":
                self.targets.append((value, name == b"-MQ"))
            case b"-MP":
                self.phony = True
            case b"-MG":
                self.generated = True

    def take_wrapped(self, pieces: Sequence[bytes]) -> None:
        """Read what one ``-Wp,`` option carries. Raises UnsupportedError."""
        if pieces[0] in (b"-MD", b"-MMD"):
            self.wrapped = True
            self.direct &= len(pieces) == 2
            if self.family is Family.CLANG:
                self.take(pieces[0], b"")
                if len(pieces) == 2:
                    self.stream += [b"-MF", pieces[1]]
                return
        elif not (
            all(len(piece) > 2 and piece[:2] in (b"-D", b"-U") for piece in pieces)
            or pieces == [b"-MP"]
            or (len(pieces) == 2 and pieces[0] in _WITH_VALUE)
        ):
            self.direct = False
        self.stream += pieces

    def take_preprocessor_word(self, word: bytes) -> None:
        """Read the value of one ``-Xpreprocessor``."""
        self.direct &= word == b"-fopenmp"
        self.stream.append(word)

    def rest(self) -> tuple[bytes, ...]:
        """The preprocessor's words without the dependency options. Raises UnsupportedError."""
        return tuple(self._resolve_stream().rest)

    def resolve(self, names: Names, *, compile_given: bool) -> DependencyRequest | None:
        """What is written; None: nothing. Raises UnsupportedError. ``compile_given``: -c was."""
        stream = self._resolve_stream()
        if self.wrapped and self.file is not None:
            # gcc writes the one file, clang the other; ccache counts it as unsupported.
            raise UnsupportedError(b"-Wp,-MD with -MF")
        system = self.system and not self.user
        wanted = self.system or self.user
        if stream.system is not None:
            system, wanted = stream.system, True
        path = self.file if stream.file is None else stream.file
        preprocessed = b"cpp-output" in names.language or names.language in (b"assembler", b"ir")
        if not wanted or preprocessed or path == b"/dev/null":
            return None
        if path is None:
            self._check_derived(names, compile_given)
            path = names.dependency_file
        if path in _STANDARD_OUTPUT or not path:
            raise UnsupportedError(b"-MF " + path)
        targets = list(self.targets)
        default = names.default_target
        if names.given is not None and (self.family is Family.CLANG or self.system or self.user):
            default = names.given
            if stream.targets and not targets:
                targets.append((default, True))
        targets += stream.targets
        if self.family is not Family.CLANG:
            targets.sort(key=lambda target: target[1])
        return DependencyRequest(
            path=path,
            system=system,
            targets=tuple(targets),
            default_target=default,
            phony=self.phony or stream.phony,
            generated=self.generated or stream.generated,
        )

    def _check_derived(self, names: Names, compile_given: bool) -> None:
        if names.given == b"/dev/null":
            raise UnsupportedError(b"-MD -o /dev/null")
        # gcc 11 began to call these a-SOURCE.d, like those of a link.
        if names.given is None and self.family is not Family.CLANG:
            if names.action is Action.SYNTAX:
                raise UnsupportedError(b"-MD -fsyntax-only")
            if is_header(names.language) and not compile_given:
                raise UnsupportedError(b"-MD")

    def _resolve_stream(self) -> "_Stream":
        found = _Stream()
        words = list(self.stream)
        while words:
            word = words.pop(0)
            name, value = word, b""
            if name[:3] in _WITH_VALUE:
                name, value = word[:3], word[3:]
            if name in (b"-MD", b"-MMD") or (name in _WITH_VALUE and not value):
                if not words:
                    raise UnsupportedError(word)
                value = words.pop(0)
            match name:
                case b"-MD" | b"-MMD":
                    found.system = name == b"-MD"
                    found.file = value
                case b"-MF":
                    found.file = value
                case b"-MT" | b"-MQ":
                    found.targets.append((value, name == b"-MQ"))
                case b"-MP":
                    found.phony = True
                case b"-MG":
                    found.generated = True
                case _:
                    _check_plain(word)
                    found.rest.append(word)
        if self.family is Family.CLANG and (found.system is not None or found.targets):
            # Given to clang -cc1, which has other options for this.
            raise UnsupportedError(b"-Xpreprocessor -M")
        return found


@mutable
class _Stream:
    system: bool | None = None
    file: bytes | None = None
    targets: list[tuple[bytes, bool]] = made(factory=list)
    phony: bool = False
    generated: bool = False
    rest: list[bytes] = made(factory=list)


def _check_plain(word: bytes) -> None:
    row = find(word)
    hard = row is not None and (row.hard or row.name in (b"-o", b"-x"))
    if hard or word in (b"-P", b"-E", b"-S") or word[:1] == b"@":
        raise UnsupportedError(word)
