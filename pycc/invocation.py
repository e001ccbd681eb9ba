"""The records that say what one compiler command line asks for.

They hold what the command line says and nothing of what the file system says: whether the source
exists, which profile or precompiled header is there, and whether the output directory is writable
are the caller's questions. So one command line in one directory always gives equal records, and the
caller may keep them as long as its words, directory and settings stay the same.
"""

from enum import Enum, StrEnum

from pycc.options import Scope
from pycc.outcome import Outcome
from pycc.record import record


class Family(Enum):
    """Whose rules the compiler follows."""

    GCC = "gcc"
    CLANG = "clang"
    OTHER = "other"


class Action(Enum):
    """What the primary output is."""

    COMPILE = "compile"  # -c: an object file, or a precompiled header
    ASSEMBLE = "assemble"  # -S: assembler text
    SYNTAX = "syntax"  # -fsyntax-only: none


class Debug(Enum):
    """How much debug information the object holds."""

    NONE = "none"
    LINES = "lines"  # -g1, -gmlt, -gline-tables-only
    FULL = "full"


class Kind(StrEnum):
    """The files a compile makes; the value is the usual suffix."""

    OBJECT = "o"
    DEPENDENCY = "d"
    COVERAGE_NOTES = "gcno"
    COVERAGE_NOTES_MANGLED = "gcno-mangled"
    STACK_USAGE = "su"
    CALLGRAPH = "ci"
    SPLIT_DWARF = "dwo"
    DIAGNOSTICS = "dia"
    LISTING = "al"
    IPA_CLONES = "ipa-clones"


@record
class Uncacheable:
    """The call cannot be cached: run the compiler as it was called, and count ``outcome``."""

    outcome: Outcome
    detail: bytes  # the option or file that decided it, for the log


@record
class ParseSettings:
    """The part of the configuration that reading a command line depends on."""

    sloppiness: frozenset[str] = frozenset()  # ccache's names
    direct_mode: bool = True
    depend_mode: bool = False
    ignore_options: tuple[bytes, ...] = ()  # ccache's patterns


@record
class KeyArg:
    """One option with its value as it enters a key; ``scope`` is BOTH or CPP, see the options.

    CPP words only change the preprocessed text, so a key made from that text leaves them out.
    """

    words: tuple[bytes, ...]
    scope: Scope


@record
class PathArg:
    """A path in the command line: ``args[index][offset:]``. ``option`` is b"" for the source."""

    option: bytes
    index: int
    offset: int
    path: bytes


@record
class InputFile:
    """A file, besides source and headers, whose content is part of the key.

    ``optional`` ones may be absent, and then their absence is part of the key. Of the files with
    role ``profile`` at least one must exist, and a ``thinlto-index`` must (else: NO_INPUT_FILE).
    ``plugin`` and ``specs`` may be bare names that the compiler looks up in its own directories.
    """

    role: bytes
    path: bytes
    optional: bool = False


@record
class IncludeFlags:
    """The user's include search path; ``special`` words go to the compiler that is asked for the
    built-in part of it, in order and unchanged."""

    quote: tuple[bytes, ...] = ()
    angle: tuple[bytes, ...] = ()
    system: tuple[bytes, ...] = ()
    cxx_system: tuple[bytes, ...] = ()
    after: tuple[bytes, ...] = ()
    forced: tuple[tuple[bytes, bytes], ...] = ()  # (b"-include" | b"-imacros" | …, name)
    special: tuple[bytes, ...] = ()


@record
class DependencyRequest:
    """The dependency file that was asked for.

    ``system``, ``phony`` and ``generated`` change what is in it, so they belong in the key.
    ``targets`` are in the order in which the compiler writes them, with whether it quotes them for
    make; when there are none, it writes ``default_target``, quoted.
    """

    path: bytes
    system: bool  # -MD lists system headers too, -MMD does not
    targets: tuple[tuple[bytes, bool], ...]
    default_target: bytes
    phony: bool  # -MP
    generated: bool  # -MG


@record
class Output:
    """A file that the command makes besides the primary one; ``optional``: not by every version."""

    kind: Kind
    path: bytes
    optional: bool = False


@record
class PrefixMap:
    """One ``-f*-prefix-map=old=new``; the compiler tries the last one on the line first."""

    kind: bytes  # b"file", b"debug", b"macro", b"coverage", b"profile"
    old: bytes
    new: bytes


@record
class Profile:
    """Instrumentation and feedback options."""

    arcs: bool = False  # -fprofile-arcs, --coverage: the object names its .gcda file
    generate: bool = False
    use: bool = False
    directory: bytes = b""  # -fprofile-dir=, or the value of -fprofile-generate= and -use=
    prefix_path: bytes = b""
    absolute_path: bool = False  # -fprofile-abs-path: the physical directory is in the .gcno


@record
class Invocation:
    """A command line that can be cached."""

    family: Family
    driver: bytes
    settings: ParseSettings
    cwd: bytes
    args: tuple[bytes, ...]  # without the compiler; @files expanded, --ccache-skip taken out
    skipped: tuple[int, ...]  # the words in ``args`` that --ccache-skip stood before
    source: bytes
    source_index: int
    language: bytes  # a word that -x takes
    action: Action
    output: bytes | None  # None for SYNTAX
    output_given: bool
    key_args: tuple[KeyArg, ...]
    path_args: tuple[PathArg, ...]
    cpp_args: tuple[bytes, ...]
    input_files: tuple[InputFile, ...]
    include: IncludeFlags
    dependencies: DependencyRequest | None
    outputs: tuple[Output, ...]
    direct: bool  # False: options were passed to the preprocessor that nobody here understands
    debug: Debug
    debug_level3: bool  # macros are in the debug information
    split_dwarf: bool
    column_info: bool
    coverage: bool  # -ftest-coverage: a .gcno file
    profile: Profile
    sanitize: bool
    lto: bool
    records_command_line: bool
    uses_pch: bool  # by an explicit option; see also pch_candidates
    generates_pch: bool
    pch_candidates: tuple[bytes, ...]  # used instead of a forced header if they exist
    warnings: bool
    native: tuple[bytes, ...]  # the -march=native, -mtune=native, -mcpu=native words
    color: bool | None  # the user's wish; None: as the terminal is
    structured_diagnostics: bool  # JSON, SARIF, fix-its, --serialize-diagnostics: columns are shown
    cwd_sensitive: bool  # some output may contain the working directory
    object_name_sensitive: bool  # some output may contain the primary output's name
    assembler_listing: bytes | None  # the file's name, b"" for standard output
    prefix_maps: tuple[PrefixMap, ...]
    debug_compilation_dir: bytes | None
    coverage_compilation_dir: bytes | None
    debug_implied: bool  # the debug information is asked for by -gsplit-dwarf alone

    @property
    def preprocessed(self) -> bool:
        """Whether the source is not preprocessed any more."""
        return b"cpp-output" in self.language or self.language in (b"assembler", b"ir")

    @property
    def compiles(self) -> bool:
        """Whether a compiler, and not only an assembler, runs."""
        return not self.language.startswith(b"assembler")

    def preprocess_args(self) -> tuple[bytes, ...]:
        """The words for preprocessing the same source to standard output, ``-E`` first."""
        return (b"-E", *self.cpp_args)
