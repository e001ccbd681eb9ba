"""Reading the words of a compiler command line, one after the other.

Most words need only their row in the option table; each of the others has a handler below. What
the words mean together is decided in ``arguments``.
"""

from collections.abc import Callable

from pycc.debuginfo import DebugOptions
from pycc.dependencies import DependencyOptions
from pycc.invocation import (
    Family,
    InputFile,
    KeyArg,
    ParseSettings,
    PathArg,
    PrefixMap,
    Uncacheable,
)
from pycc.optionroles import (
    CLANG_COLORS,
    COLORS,
    FORCED,
    GCC_SAYS_NOTHING,
    INCLUDE_LISTS,
    INPUT_ROLES,
    NATIVE,
    PLAIN_FORMATS,
    STRUCTURED,
    XCLANG_COMPILER,
    XCLANG_LIKE_DRIVER,
    XCLANG_SEARCH,
    XCLANG_WRITES,
)
from pycc.options import Scope, Word
from pycc.outcome import Outcome
from pycc.profiling import PREFIXES as PROFILE_PREFIXES
from pycc.profiling import ProfileOptions
from pycc.record import made, mutable


class UncacheableError(Exception):
    """The line cannot be cached; carried up to ``parse``, which decides whether it is reported."""

    def __init__(self, outcome: Outcome, detail: bytes) -> None:
        super().__init__(outcome, detail)
        self.answer = Uncacheable(outcome, detail)


def unsupported(detail: bytes) -> UncacheableError:
    """The error for an option whose outputs are not modelled."""
    return UncacheableError(Outcome.UNSUPPORTED_COMPILER_OPTION, detail)


@mutable
class Input:
    """A word that is not an option."""

    index: int  # in the reader's ``args``
    name: bytes
    explicit: bytes | None  # the -x language in force
    follows_x: bool = False  # it is the first input behind an -x


@mutable
class Reader:
    """What was read so far. Words go to ``args`` (the compiler's) and ``cpp`` (the preprocessor's)
    as they come; ``place`` is where the next one will stand in ``args``."""

    family: Family
    driver: bytes
    settings: ParseSettings
    cwd: bytes
    given: list[bytes]
    debug: DebugOptions
    dependencies: DependencyOptions
    error: Uncacheable | None = None
    args: list[bytes] = made(factory=list)
    skipped: list[int] = made(factory=list)  # places of --ccache-skip's words
    cpp: list[bytes] = made(factory=list)
    key: list[KeyArg] = made(factory=list)
    paths: list[PathArg] = made(factory=list)
    inputs: list[Input] = made(factory=list)
    standard_input: bool = False
    language: bytes | None = None
    language_set: bool = False  # since the last input
    actions: set[bytes] = made(factory=set)
    output: bytes | None = None
    names: dict[bytes, bytes] = made(factory=dict)  # -dumpbase and its kin
    includes: dict[str, list[bytes]] = made(factory=dict)
    forced: list[tuple[bytes, bytes]] = made(factory=list)
    headers: list[bytes] = made(factory=list)  # may have precompiled ones beside them
    special: list[bytes] = made(factory=list)
    files: list[InputFile] = made(factory=list)
    maps: list[PrefixMap] = made(factory=list)
    native: list[bytes] = made(factory=list)
    dependency_words: list[bytes] = made(factory=list)
    arches: set[bytes] = made(factory=set)
    flags: set[bytes] = made(factory=set)
    sanitizers: set[bytes] = made(factory=set)
    lto: bool = False
    color: bool | None = None
    front_end_colors: bool = False
    """-Xclang -fcolor-diagnostics wins over the driver's words, wherever it stands."""
    structured: bool = False
    warnings: bool = False
    direct: bool = True
    diagnostics: bytes | None = None
    listing: bytes | None = None
    debug_dir: bytes | None = None
    coverage_dir: bytes | None = None
    xclang: bytes = b""  # the cc1 option whose value the next -Xclang carries
    profile: ProfileOptions = made(factory=ProfileOptions)

    # ---- one word

    def take(self, word: Word) -> None:
        """Read one word. Raises UncacheableError; the words have been recorded all the same."""
        place = len(self.args)
        if word.verbatim and not word.ignored:
            self.skipped.append(place)
        self.args += word.words
        if word.missing:
            raise UncacheableError(Outcome.BAD_COMPILER_ARGUMENTS, word.words[0])
        if word.file:
            self._take_file(word)
        elif word.verbatim or word.text == b"--":
            self.cpp += word.words
            if not word.ignored:
                self.key.append(KeyArg(word.words, Scope.BOTH))
        else:
            self._take_option(word, place)

    def _take_file(self, word: Word) -> None:
        if word.text[:1] == b"@":
            raise UncacheableError(Outcome.BAD_COMPILER_ARGUMENTS, word.text)
        self.cpp += word.words
        if word.text == b"-":
            self.standard_input = True
        else:
            place = len(self.args) - 1
            self.inputs.append(Input(place, word.text, self.language, self.language_set))
            self.language_set = False

    def _take_option(self, word: Word, place: int) -> None:
        row = word.option
        scope = Scope.BOTH
        if row is not None:
            scope = row.scope
            if row.hard:
                raise unsupported(word.words[0])
            if row.probe:
                self.special += word.words
            if row.path and word.value:
                at = place + len(word.words) - 1
                self.paths.append(PathArg(word.name, at, word.offset, word.value))
        if self.family is Family.GCC and word.name in GCC_SAYS_NOTHING:
            scope = Scope.NONE
        handler = _HANDLERS.get(word.name)
        if (
            handler is None
            and word.text.startswith(_PREFIXES)
            and not (row is not None and row.probe)
        ):
            handler = next(named for prefix, named in _BY_PREFIX if word.text.startswith(prefix))
        answer = scope if handler is None else handler(self, word)
        scope = scope if answer is None else answer
        if scope is Scope.BOTH or scope is Scope.CPP:
            self.cpp += word.words
        if scope is not Scope.NONE:
            self.key.append(KeyArg(word.words, Scope.CPP if scope is Scope.CPP else Scope.BOTH))

    # ---- handlers: each may give another scope than the row's, or raise UncacheableError

    def _action(self, word: Word) -> Scope | None:
        self.actions.add(word.name)
        return Scope.NONE

    def _preprocess(self, word: Word) -> Scope | None:
        raise UncacheableError(Outcome.CALLED_FOR_PREPROCESSING, word.words[0])

    def _output(self, word: Word) -> Scope | None:
        self.output = _value(word)
        return Scope.NONE

    def _set_language(self, word: Word) -> Scope | None:
        language = _value(word)
        self.language = None if language == b"none" else language
        self.language_set = True
        if self.inputs:
            return Scope.BOTH  # clang warns that it comes too late
        self.cpp += word.words  # where it stands decides which files it speaks of
        return Scope.NONE

    def _dependency(self, word: Word) -> Scope | None:
        self.dependencies.take(word.name, word.value or b"")
        self.dependency_words += word.words
        return Scope.NONE

    def _wrapped(self, word: Word) -> Scope | None:
        pieces = _value(word).split(b",")
        if pieces == [b"-P"]:
            return Scope.CODE
        if b"-P" in pieces:
            raise unsupported(word.text)
        self.dependencies.take_wrapped(pieces)
        if any(piece[:2] == b"-M" for piece in pieces):
            self.dependency_words += word.words
        return Scope.NONE

    def _preprocessor_word(self, word: Word) -> Scope | None:
        self.dependencies.take_preprocessor_word(_value(word))
        if _value(word)[:2] == b"-M":
            self.dependency_words += word.words
        return Scope.NONE

    def _include_list(self, word: Word) -> Scope | None:
        self.includes.setdefault(INCLUDE_LISTS[word.name], []).append(_value(word))
        return None

    def _force(self, word: Word) -> Scope | None:
        self.forced.append((word.name, _value(word)))
        if word.name == b"-include":
            self.headers.append(_value(word))
        return None

    def _dump_name(self, word: Word) -> Scope | None:
        if self.family is Family.CLANG or (not word.value and word.name != b"-dumpdir"):
            raise unsupported(word.text)
        self.names[word.name] = _value(word)
        return None

    def _input_file(self, word: Word) -> Scope | None:
        self.files.append(InputFile(INPUT_ROLES[word.name], _value(word)))
        if word.name == b"-ivfsoverlay" and "ivfsoverlay" not in self.settings.sloppiness:
            raise unsupported(word.text)
        return None

    def _config(self, word: Word) -> Scope | None:
        # A bare name is searched for in directories that only the compiler knows.
        if b"/" not in _value(word):
            raise unsupported(word.text)
        self.files.append(InputFile(b"config", _value(word)))
        return None

    def _profile(self, word: Word) -> Scope | None:
        if not self.profile.take(word.text):
            raise unsupported(word.text)
        return None

    def _debug(self, word: Word) -> Scope | None:
        if self.family is Family.CLANG and word.text.startswith(b"-grecord-"):
            self.flags.add(b"-frecord-command-line")
        self.debug.take(word.text)
        return None

    def _flag(self, word: Word) -> Scope | None:
        self.flags.add(word.name)
        return None

    def _lto(self, word: Word) -> Scope | None:
        self.lto = not word.text.startswith(b"-fno-")
        return None

    def _sanitize(self, word: Word) -> Scope | None:
        name, equals, value = word.text.partition(b"=")
        if name == b"-fsanitize":
            self.sanitizers.update(value.split(b","))
        elif name == b"-fno-sanitize":
            self.sanitizers.difference_update(value.split(b","))
            if value == b"all":
                self.sanitizers.clear()
        elif name == b"-fsanitize-coverage" and equals:
            self.sanitizers.add(name)
        return None

    def _prefix_map(self, word: Word) -> Scope | None:
        old, _, new = _value(word).partition(b"=")
        kind = word.name.removeprefix(b"-f").removesuffix(b"-prefix-map=")
        self.maps.append(PrefixMap(kind, old, new))
        return None

    def _compilation_dir(self, word: Word) -> Scope | None:
        if not word.name.startswith(b"-fcoverage"):
            self.debug_dir = _value(word)
        if not word.name.startswith(b"-fdebug"):
            self.coverage_dir = _value(word)
        return None

    def _module_file(self, word: Word) -> Scope | None:
        value = _value(word)
        name, equals, path = value.partition(b"=")
        self.files.append(InputFile(b"module", path if equals else name))
        return None

    def _section_list(self, word: Word) -> Scope | None:
        if _value(word).startswith(b"list="):
            self.files.append(InputFile(b"section-list", _value(word)[5:]))
        return None

    def _modules(self, word: Word) -> Scope | None:
        settings = self.settings
        if (
            word.name == b"-fmodules"
            and self.family is not Family.GCC
            and settings.depend_mode
            and settings.direct_mode
            and "modules" in settings.sloppiness
        ):
            self.flags.add(word.name)
            return None
        raise UncacheableError(Outcome.COULD_NOT_USE_MODULES, word.text)

    def _index_store(self, word: Word) -> Scope | None:
        if "clang_index_store" not in self.settings.sloppiness:
            raise unsupported(word.text)
        return Scope.NONE

    def _serialize(self, word: Word) -> Scope | None:
        self.diagnostics = _value(word)
        self.structured = True
        self.key.append(KeyArg(word.words[:1], Scope.BOTH))
        return Scope.NONE

    def _optimizations(self, word: Word) -> Scope | None:
        if b"=" in word.text:
            raise unsupported(word.text)
        return None

    def _diagnostics(self, word: Word) -> Scope | None:
        text = word.text
        if text.startswith(STRUCTURED):
            value = text.partition(b"=")[2]
            if value.endswith(b"-file"):
                raise unsupported(text)
            self.structured |= value not in PLAIN_FORMATS
        return None

    def _color(self, word: Word) -> Scope | None:
        if self.family is Family.OTHER:
            return None
        answer = COLORS.get(word.text)
        if word.text not in COLORS or (self.family is Family.GCC and word.text in CLANG_COLORS):
            return None
        if (answer is not None or word.text.endswith(b"=auto")) and not self.front_end_colors:
            self.color = answer
        return Scope.NONE

    def _warning(self, word: Word) -> Scope | None:
        self.warnings |= not word.text.startswith((b"-Wno-", b"-Wl,"))
        return None

    def _assembler(self, word: Word) -> Scope | None:
        pieces = _value(word).split(b",") if word.name == b"-Wa," else [_value(word)]
        kept = [self._assembler_word(piece) for piece in pieces]
        if kept == pieces:
            return None
        sign = (word.words[0],) if word.name == b"-Xassembler" else ()
        self.key.append(KeyArg((*sign, b"-Wa," + b",".join(kept)), Scope.BOTH))
        return Scope.NONE

    def _assembler_word(self, piece: bytes) -> bytes:
        """Read one word for the assembler; gives it as it enters the key."""
        if piece[:1] == b"@" or piece.startswith((b"-o", b"--MD", b"-MD", b"-a@")):
            raise unsupported(piece)
        if piece.startswith((b"-g", b"--g")):
            self.debug.take(b"-g")
        name, _, path = piece.partition(b"=")
        if name[:2] == b"-a" and not name[2:].strip(b"cdghilmnsE"):
            if self.listing is not None:
                raise unsupported(piece)
            self.listing = path
            return name
        return piece

    def _machine(self, word: Word) -> Scope | None:
        if word.text in NATIVE:
            self.native.append(word.text)
        return None

    def _arch(self, word: Word) -> Scope | None:
        self.arches.add(_value(word))
        if len(self.arches) > 1:
            raise unsupported(word.text)
        return None

    def _random_seed(self, word: Word) -> Scope | None:
        if "random_seed" in self.settings.sloppiness:
            self.cpp += word.words
            return Scope.NONE
        return None

    def _xclang(self, word: Word) -> Scope | None:
        value = _value(word)
        if self.xclang:
            name, self.xclang = self.xclang, b""
            if name == b"-load":
                self.files.append(InputFile(b"plugin", value))
            else:
                self.forced.append((name.replace(b"--", b"-"), value))
            return None
        if value in XCLANG_COMPILER:
            self.flags.add(value)
            return Scope.CODE
        if value in XCLANG_LIKE_DRIVER or value == b"-load":
            self.xclang = value
        elif value == b"-fno-pch-timestamp":
            self.flags.add(value)
        elif value == b"-fcolor-diagnostics" and self.family is Family.CLANG:
            self.color = self.front_end_colors = True
            return Scope.NONE
        elif value.startswith(XCLANG_WRITES):
            raise unsupported(b"-Xclang " + value)
        elif value.startswith(XCLANG_SEARCH):
            self.direct = False
        return None


def _value(word: Word) -> bytes:
    return word.value or b""


_Handler = Callable[[Reader, Word], Scope | None]

_HANDLERS: dict[bytes, _Handler] = {
    **dict.fromkeys((b"-c", b"-S", b"-fsyntax-only"), Reader._action),
    b"-E": Reader._preprocess,
    b"-o": Reader._output,
    b"-x": Reader._set_language,
    **dict.fromkeys(b"-MD -MMD -MF -MT -MQ -MP -MG".split(), Reader._dependency),
    b"-Wp,": Reader._wrapped,
    b"-Xpreprocessor": Reader._preprocessor_word,
    **dict.fromkeys(INCLUDE_LISTS, Reader._include_list),
    **dict.fromkeys(FORCED, Reader._force),
    **dict.fromkeys((b"-dumpdir", b"-dumpbase", b"-dumpbase-ext"), Reader._dump_name),
    **dict.fromkeys(INPUT_ROLES, Reader._input_file),
    **dict.fromkeys((b"--config", b"--config="), Reader._config),
    **dict.fromkeys(
        b"-fstack-usage -fcallgraph-info -fcallgraph-info= -fdump-ipa-clones -fpch-preprocess "
        b"-fno-pch-timestamp -emit-llvm -frecord-gcc-switches -frecord-command-line "
        b"-fcoverage-mapping -fverbose-asm".split(),
        Reader._flag,
    ),
    **dict.fromkeys(
        b"-fdebug-compilation-dir -fdebug-compilation-dir= -ffile-compilation-dir= "
        b"-fcoverage-compilation-dir=".split(),
        Reader._compilation_dir,
    ),
    **dict.fromkeys(
        (b"-f%s-prefix-map=" % kind for kind in b"debug file macro coverage profile".split()),
        Reader._prefix_map,
    ),
    **dict.fromkeys((b"-flto", b"-fno-lto"), Reader._lto),
    b"-fmodule-file=": Reader._module_file,
    b"-fbasic-block-sections=": Reader._section_list,
    **dict.fromkeys(
        b"-fmodules -fmodule-output -fmodule-output= -fmodule-mapper= -fprebuilt-module-path= "
        b"-fdeps-".split(),
        Reader._modules,
    ),
    **dict.fromkeys((b"-index-store-path", b"-index-unit-output-path"), Reader._index_store),
    **dict.fromkeys((b"--serialize-diagnostics", b"-serialize-diagnostics"), Reader._serialize),
    **dict.fromkeys((b"-Wa,", b"-Xassembler"), Reader._assembler),
    b"-m": Reader._machine,
    b"-mtune=": Reader._machine,
    b"-arch": Reader._arch,
    b"-Xclang": Reader._xclang,
}

_BY_PREFIX: tuple[tuple[bytes | tuple[bytes, ...], _Handler], ...] = (
    (PROFILE_PREFIXES, Reader._profile),
    (b"-g", Reader._debug),
    (b"-W", Reader._warning),
    (b"-pedantic", Reader._warning),
    ((b"-fsanitize", b"-fno-sanitize"), Reader._sanitize),
    (b"-flto=", Reader._lto),
    (tuple(COLORS), Reader._color),
    (b"-fdiagnostics-", Reader._diagnostics),
    (b"-fopt-info", Reader._optimizations),
    (b"-frandom-seed", Reader._random_seed),
)
_PREFIXES = tuple(
    one for prefix, _ in _BY_PREFIX for one in (prefix if isinstance(prefix, tuple) else (prefix,))
)
