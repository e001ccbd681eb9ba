"""The compiler option tables: how each option takes its value, and how far that value reaches.

An option that is missing here is hashed as it stands and takes no value. If it did take one, that
value looks like another input file, and the call is not cached: a gap in the table costs a hit,
never an object. What a table cannot hold (options that depend on each other) is in ``arguments``.

Sources: ``gcc --help=separate``, ``gcc --help=joined``, ``clang --help-hidden``, gcc's
``gcc/common.opt`` and ``gcc/opts-common.cc`` (long forms), ccache's list of path-taking and
unsupported options, and trials with gcc 12 and clang 14 for what they leave in the directory.
"""

from collections.abc import Iterator, Sequence
from enum import Enum, auto
from functools import lru_cache

from .record import record


class Value(Enum):
    """Where an option's value stands."""

    NONE = auto()
    JOINED = auto()  # only glued to the name: -fplugin=x
    SEPARATE = auto()  # only the next word: -target x
    EITHER = auto()  # glued, or the next word when nothing is glued: -Ix, -I x


class Scope(Enum):
    """What an option's words can reach."""

    BOTH = auto()  # the preprocessed text and the code made from it
    CPP = auto()  # the preprocessed text only
    CODE = auto()  # the code only: kept from the preprocessor, part of every key
    NONE = auto()  # no output at all, or an output that is described in another field


@record
class Option:
    """One row: ``name`` as typed, up to and including any ``=``."""

    name: bytes
    value: Value
    scope: Scope
    path: bool  # the value is a path that base_dir may rewrite
    probe: bool  # alters the built-in include search path
    hard: bool  # makes outputs that are not modelled: never cached
    clang: bool  # gcc reads the same letters as another option


@record
class Word:
    """One option of a command line with its value, or one word that is not an option."""

    words: tuple[bytes, ...]  # as spelled
    name: bytes  # the short spelling without its value; for a non-option the word itself
    text: bytes  # the short spelling of the first word, a glued value included
    value: bytes | None
    offset: int  # of the value in the last word
    option: Option | None  # None: unknown option, or no option at all
    verbatim: bool = False  # the user asked for no interpretation (--ccache-skip, ignore_options)
    ignored: bool = False  # by ignore_options: not in any key
    missing: bool = False  # the command line ends where the value should be
    file: bool = False  # not an option: the compiler takes it for an input file


def _rows(value: Value, scope: Scope, names: str, *marks: str) -> Iterator[tuple[bytes, Option]]:
    flags = [mark in marks for mark in (_PATH, _PROBE, _HARD, _CLANG)]
    for name in names.encode().split():
        yield name, Option(name, value, scope, *flags)


_NONE, _JOINED, _SEPARATE, _EITHER = Value.NONE, Value.JOINED, Value.SEPARATE, Value.EITHER
_BOTH, _CPP, _CODE, _OUT = Scope.BOTH, Scope.CPP, Scope.CODE, Scope.NONE
_PATH, _PROBE, _HARD, _CLANG = "path", "probe", "hard", "clang"

OPTIONS: dict[bytes, Option] = dict(
    [
        # The preprocessor's own.
        *_rows(_EITHER, _CPP, "-D -U"),
        *_rows(_EITHER, _CPP, "-I -iquote -isystem -idirafter -include -imacros", _PATH),
        *_rows(_EITHER, _CPP, "-include-pch -include-pth -cxx-isystem", _PATH, _CLANG),
        *_rows(_EITHER, _CPP, "-F -iframework -iprefix -iwithprefix", _PATH, _PROBE),
        *_rows(_EITHER, _CPP, "-iwithprefixbefore -isysroot -imultilib", _PATH, _PROBE),
        *_rows(_EITHER, _CPP, "-isystem-after -iwithsysroot", _PROBE, _CLANG),
        *_rows(_EITHER, _CPP, "-iframeworkwithsysroot -stdlib++-isystem", _PROBE, _CLANG),
        *_rows(_EITHER, _CPP, "-c-isystem -objc-isystem -objcxx-isystem", _PROBE, _CLANG),
        *_rows(_EITHER, _CPP, "-imultiarch", _PROBE),
        *_rows(_NONE, _CPP, "-nostdinc -nostdinc++ -nostdlibinc -nobuiltininc", _PROBE),
        *_rows(_JOINED, _CPP, "-stdlib=", _PROBE),
        # gcc writes these into the debug information (DW_AT_producer).
        *_rows(_EITHER, _BOTH, "-A"),
        *_rows(_NONE, _BOTH, "-remap", _PROBE),
        *_rows(_NONE, _BOTH, "-trigraphs -fworking-directory -fno-working-directory"),
        *_rows(_NONE, _CODE, "-P"),
        *_rows(_SEPARATE, _CPP, "-Xpreprocessor"),
        *_rows(_JOINED, _CPP, "-Wp,"),
        *_rows(_NONE, _BOTH, "-fpch-preprocess -fno-pch-timestamp"),
        *_rows(_NONE, _BOTH, "-undef -ansi -traditional-cpp"),
        # Where the compiler and its headers come from.
        *_rows(_EITHER, _BOTH, "-B", _PATH, _PROBE),
        *_rows(_JOINED, _BOTH, "--sysroot= --gcc-toolchain= --gcc-install-dir=", _PATH, _PROBE),
        *_rows(_SEPARATE, _BOTH, "--sysroot", _PATH, _PROBE),
        *_rows(_SEPARATE, _BOTH, "-gcc-toolchain", _PATH, _PROBE, _CLANG),
        *_rows(_JOINED, _BOTH, "--target= -specs= --specs= -resource-dir=", _PROBE),
        *_rows(_JOINED, _BOTH, "-rtlib= --rtlib= -iplugindir= --gcc-triple= --config=", _PROBE),
        *_rows(_SEPARATE, _BOTH, "-specs --specs -arch -b -V", _PROBE),
        *_rows(_SEPARATE, _BOTH, "-target -resource-dir --config", _PROBE, _CLANG),
        *_rows(_SEPARATE, _BOTH, "-ccc-install-dir -ccc-gcc-name", _PROBE, _CLANG),
        *_rows(_NONE, _BOTH, "-no-canonical-prefixes -canonical-prefixes", _PROBE),
        *_rows(_JOINED, _BOTH, "-m", _PROBE),
        *_rows(_JOINED, _BOTH, "-mtune= -mcmodel= -mbranch-protection= -mprefer-vector-width="),
        *_rows(_SEPARATE, _BOTH, "-meabi -mllvm -mmlir -mthread-model", _CLANG),
        # Code generation.
        *_rows(_JOINED, _BOTH, "--param= -std="),
        *_rows(_SEPARATE, _BOTH, "--param --em-config -dumpbase -dumpbase-ext -dumpdir"),
        *_rows(_SEPARATE, _BOTH, "-Xclang -Xanalyzer -Xcuda-fatbinary -Xcuda-ptxas", _CLANG),
        *_rows(_SEPARATE, _BOTH, "-Xopenmp-target -ftrapv-handler", _CLANG),
        *_rows(_SEPARATE, _BOTH, "-fmodules-user-build-path -fdebug-compilation-dir", _CLANG),
        *_rows(_JOINED, _BOTH, "-Xarch_", _CLANG),
        *_rows(_EITHER, _BOTH, "-G"),
        *_rows(_NONE, _BOTH, "-dA -dp -dP"),
        *_rows(_NONE, _BOTH, "-ftest-coverage -fno-test-coverage -fprofile-arcs --coverage"),
        *_rows(_NONE, _BOTH, "-fprofile-generate -fprofile-use -fbranch-probabilities -flto"),
        *_rows(_NONE, _BOTH, "-fno-profile-arcs -fno-lto -fauto-profile"),
        *_rows(_JOINED, _BOTH, "-fdebug-prefix-map= -ffile-prefix-map= -fmacro-prefix-map="),
        *_rows(_JOINED, _BOTH, "-fcoverage-prefix-map= -fprofile-prefix-map="),
        *_rows(_JOINED, _BOTH, "-fdebug-compilation-dir= -ffile-compilation-dir="),
        *_rows(_JOINED, _BOTH, "-fcoverage-compilation-dir= -finput-charset="),
        *_rows(_NONE, _CODE, "-Werror -Wno-error --offload-compress"),
        *_rows(_NONE, _CODE, "-emit-pch -emit-pth -emit-llvm"),
        *_rows(_JOINED, _CODE, "-Wa,"),
        *_rows(_SEPARATE, _CODE, "-Xassembler"),
        # Files that are read besides source and headers.
        *_rows(_JOINED, _BOTH, "-fprofile-use= -fprofile-instr-use= -fprofile-sample-use=", _PATH),
        *_rows(_JOINED, _BOTH, "-fauto-profile= -fsanitize-ignorelist=", _PATH),
        *_rows(_JOINED, _BOTH, "-fsanitize-blacklist= -fbuild-session-file=", _PATH),
        *_rows(_JOINED, _BOTH, "-fmodule-map-file= -fmodules-cache-path=", _PATH),
        *_rows(_JOINED, _BOTH, "-fplugin= -fpass-plugin= -frandomize-layout-seed-file="),
        *_rows(_JOINED, _BOTH, "--warning-suppression-mappings= -fthinlto-index="),
        *_rows(_JOINED, _BOTH, "-fprofile-remapping-file= -fsanitize-coverage-allowlist="),
        *_rows(_JOINED, _BOTH, "-fsanitize-coverage-ignorelist= -fsanitize-system-ignorelist="),
        *_rows(_JOINED, _BOTH, "-fsanitize-coverage-whitelist= -fsanitize-coverage-blacklist="),
        *_rows(_JOINED, _BOTH, "-fxray-always-instrument= -fxray-never-instrument="),
        *_rows(_JOINED, _BOTH, "-fxray-attr-list= -fprofile-list= -fmodule-file="),
        *_rows(_JOINED, _BOTH, "-fbasic-block-sections= -fmemory-profile-use="),
        *_rows(_JOINED, _BOTH, "-fembed-offload-object= -fms-secure-hotpatch-functions-file="),
        *_rows(_EITHER, _BOTH, "-ivfsoverlay", _PATH, _CLANG),
        *_rows(_EITHER, _BOTH, "-ivfsstatcache", _CLANG),
        # What the command is for, and outputs that have fields of their own.
        *_rows(_EITHER, _OUT, "-o -x -MF -MT -MQ"),
        *_rows(_NONE, _OUT, "-c -S -fsyntax-only -MD -MMD -MP -MG"),
        *_rows(_SEPARATE, _OUT, "--serialize-diagnostics -serialize-diagnostics", _CLANG),
        *_rows(_SEPARATE, _OUT, "-index-store-path -index-unit-output-path", _CLANG),
        *_rows(_NONE, _CODE, "-fstack-usage -fdump-ipa-clones -fcallgraph-info"),
        *_rows(_JOINED, _CODE, "-fcallgraph-info="),
        # The linker's: gcc ignores them in silence under -c, clang warns.
        *_rows(_EITHER, _CODE, "-L -l -u -z -T -e -h -Tbss -Tdata -Ttext"),
        *_rows(_JOINED, _CODE, "-Wl,"),
        *_rows(_SEPARATE, _CODE, "-Xlinker"),
        *_rows(_SEPARATE, _CODE, "-framework -weak_framework -install_name -rpath", _CLANG),
        *_rows(_SEPARATE, _CODE, "-current_version -compatibility_version -undefined", _CLANG),
        *_rows(_SEPARATE, _CODE, "-exported_symbols_list -unexported_symbols_list", _CLANG),
        *_rows(_SEPARATE, _CODE, "-filelist -bundle_loader -force_load -dylib_file", _CLANG),
        *_rows(_SEPARATE, _CODE, "-umbrella -weak_library -allowable_client -init", _CLANG),
        *_rows(_SEPARATE, _CODE, "-client_name -image_base", _CLANG),
        *_rows(_NONE, _CODE, "-all_load -bind_at_load -bundle -nolibc -pie -prebind -preload"),
        *_rows(_NONE, _CODE, "-rdynamic -dynamiclib -dynamic -dead_strip -export-dynamic"),
        # Module files are in no dependency list.
        *_rows(_NONE, _BOTH, "-fmodules -fmodule-output"),
        *_rows(_JOINED, _BOTH, "-fmodule-output= -fmodule-mapper= -fprebuilt-module-path= -fdeps-"),
        # Never cached: files that nobody models, output on the terminal, other programs.
        *_rows(
            _NONE, _BOTH, "-M -MM -save-temps -H -v -### -Q -gtoggle -repo -frepo -I- -MV", _HARD
        ),
        *_rows(_NONE, _BOTH, "-fpreprocessed -fdirectives-only -fltrans -fwpa -link", _HARD),
        *_rows(_NONE, _BOTH, "-fprofile-report -fstats -set-default --emit-static-lib", _HARD),
        *_rows(_NONE, _BOTH, "-fmodules-embed-all-files -module-file-info", _HARD),
        *_rows(_NONE, _BOTH, "-ast-view -verify-pch -rewrite-objc -rewrite-legacy-objc", _HARD),
        *_rows(_EITHER, _BOTH, "-MJ -aux-info -wrapper -working-directory", _HARD),
        *_rows(_SEPARATE, _BOTH, "-dependency-file -dependency-dot -dsym-dir", _HARD),
        *_rows(_SEPARATE, _BOTH, "-module-dependency-dir -gen-cdb-fragment-path", _HARD),
        *_rows(_SEPARATE, _BOTH, "-ast-merge --analyzer-output -ccc-arcmt-migrate", _HARD),
        *_rows(_SEPARATE, _BOTH, "-ccc-objcmt-migrate -arcmt-migrate-report-output", _HARD),
        *_rows(_JOINED, _BOTH, "-d -time -save-temps= -save-stats -emit- -print- --print-", _HARD),
        *_rows(_JOINED, _BOTH, "--help -help --version --target-help --completion=", _HARD),
        *_rows(_JOINED, _BOTH, "-fdump- -ftime-trace -ftime-report -fmem-report", _HARD),
        *_rows(_JOINED, _BOTH, "-fproc-stat-report -fsave-optimization-record", _HARD),
        *_rows(_JOINED, _BOTH, "-foptimization-record- -fthin-link-bitcode=", _HARD),
        *_rows(_JOINED, _BOTH, "-fcompare-debug -fmodule-header -fmodules-ts", _HARD),
        *_rows(_JOINED, _BOTH, "-fplugin=libcc1plugin -fprofile-note=", _HARD),
        *_rows(_JOINED, _BOTH, "-fdiagnostics-add-output= -fdiagnostics-set-output=", _HARD),
        # The object holds the words of the inner compiler, with those that we would add.
        *_rows(_JOINED, _BOTH, "-fembed-bitcode", _HARD, _CLANG),
        *_rows(_JOINED, _BOTH, "-fdiagnostics-log -extract-api -gen-reproducer=", _HARD),
        *_rows(_JOINED, _BOTH, "--config-system-dir= --config-user-dir= --output-pch=", _HARD),
        *_rows(_JOINED, _BOTH, "--driver-mode= --precompile --analyze -analyze", _HARD),
    ]
)
"""Every option of which something must be known, by name."""

_ALIASES = {
    b"--all-warnings": b"-Wall",
    b"--assemble": b"-S",
    b"--assert": b"-A",
    b"--comments": b"-C",
    b"--comments-in-macros": b"-CC",
    b"--compile": b"-c",
    b"-coverage": b"--coverage",
    b"--debug": b"-g",
    b"--define-macro": b"-D",
    b"--dependencies": b"-M",
    b"--dump": b"-d",
    b"--dumpbase": b"-dumpbase",
    b"--dumpbase-ext": b"-dumpbase-ext",
    b"--dumpdir": b"-dumpdir",
    b"--entry": b"-e",
    b"--extra-warnings": b"-Wextra",
    b"--for-assembler": b"-Xassembler",
    b"--for-linker": b"-Xlinker",
    b"--force-link": b"-u",
    b"--imacros": b"-imacros",
    b"--include": b"-include",
    b"--include-barrier": b"-I-",
    b"--include-directory": b"-I",
    b"--include-directory-after": b"-idirafter",
    b"--include-prefix": b"-iprefix",
    b"--include-with-prefix": b"-iwithprefix",
    b"--include-with-prefix-after": b"-iwithprefix",
    b"--include-with-prefix-before": b"-iwithprefixbefore",
    b"--language": b"-x",
    b"--library-directory": b"-L",
    b"--machine": b"-m",
    b"--no-line-commands": b"-P",
    b"--no-standard-includes": b"-nostdinc",
    b"--no-warnings": b"-w",
    b"--optimize": b"-O",
    b"--output": b"-o",
    b"--pedantic": b"-Wpedantic",
    b"--prefix": b"-B",
    b"--preprocess": b"-E",
    b"--print-missing-file-dependencies": b"-MG",
    b"--profile": b"-p",
    b"--save-temps": b"-save-temps",
    b"--std": b"-std=",
    b"--trace-includes": b"-H",
    b"--traditional-cpp": b"-traditional-cpp",
    b"--trigraphs": b"-trigraphs",
    b"--undefine-macro": b"-U",
    b"--user-dependencies": b"-MM",
    b"--verbose": b"-v",
    b"--write-dependencies": b"-MD",
    b"--write-user-dependencies": b"-MMD",
}
"""Long spellings without their ``=``, and what they stand for."""

_LONG_PREFIXES = (
    (b"--optimize=", b"-O"),
    (b"--debug=", b"-g"),
    (b"--machine=", b"-m"),
    (b"--machine-", b"-m"),
    (b"--std=", b"-std="),
    (b"--stdlib=", b"-stdlib="),
    (b"--warn-", b"-W"),
    (b"--save-temps=", b"-save-temps="),
    (b"--dump=", b"-d"),
)
"""Long spellings whose value is glued to the short one without a sign."""

_LONGEST = max(map(len, OPTIONS))


def find(word: bytes, *, gcc: bool = False) -> Option | None:
    """The row for ``word``: the exact name, else the longest name that its value is glued to.

    With ``gcc``, rows that only clang has are passed over.
    """
    row = OPTIONS.get(word)
    if row is not None and not (gcc and row.clang):
        return row
    return _find_glued(word[:_LONGEST], len(word) <= _LONGEST, gcc)


# A build repeats the same options in every command; this halves the time to read one.
@lru_cache(maxsize=4096)
def _find_glued(start: bytes, whole: bool, gcc: bool) -> Option | None:
    for end in range(len(start) - whole, 1, -1):
        row = OPTIONS.get(start[:end])
        if row is None or (gcc and row.clang):
            continue
        if row.value is Value.JOINED or row.value is Value.EITHER:
            return row
    return None


_FOR_THE_MACHINE = (
    b"-m",
    b"--target=",
    b"-nostdinc",
    b"-nobuiltininc",
    b"-nostdlibinc",
    b"-stdlib=",
)


def are_for_the_machine(special: Sequence[bytes]) -> bool:
    """Whether these of a command's words that alter the search path (IncludeFlags.special) mean the
    same on every machine: none names a place."""
    return all(
        word.startswith(_FOR_THE_MACHINE) or b"-target" in (before, word)
        for before, word in zip((b"", *special), special, strict=False)
    )


def special_words(args: Sequence[bytes]) -> tuple[bytes, ...]:
    """The words of a command line (without the compiler) that alter the search path."""
    found = (word for word in words(args) if word.option is not None and word.option.probe)
    return tuple(w for word in found for w in word.words)


def machine_words(args: Sequence[bytes]) -> tuple[bytes, ...]:
    """Those of them that mean the same on every machine."""
    found = (word for word in words(args) if word.option is not None and word.option.probe)
    return tuple(w for word in found if are_for_the_machine(word.words) for w in word.words)


def canonical(word: bytes) -> bytes:
    """``word`` in its short spelling where it is a long one; a value keeps its place.

    ``--include-directory=x`` gives ``-Ix``, ``--include-directory`` gives ``-I``. gcc reads any
    other ``--word`` as ``-fword`` (``--test-coverage``), and ``--no-word`` as ``-fno-word``
    (gcc/opts-common.cc, ``option_map``); so does this, where that names a known option.
    """
    short = _ALIASES.get(word)
    if short is not None:
        return short
    if word[:2] != b"--" or len(word) == 2:
        return word
    for long, glued in _LONG_PREFIXES:
        if word.startswith(long):
            return glued + word[len(long) :]
    name, equals, value = word.partition(b"=")
    short = _ALIASES.get(name)
    if equals and short is not None:
        return short + value
    if find(word) is None and find(b"-f" + word[2:]) is not None:
        return b"-f" + word[2:]
    return word


def words(
    args: Sequence[bytes], ignore_options: Sequence[bytes] = (), *, gcc: bool = False
) -> Iterator[Word]:
    """Cut a command line (without the compiler) into options with their values.

    ``ignore_options`` are ccache's patterns: a whole word, or a prefix followed by ``*``. With
    ``gcc``, options that only clang has are unknown.
    """
    index = 0
    only_files = False
    while index < len(args):
        word = args[index]
        if word == b"--ccache-skip" and not only_files:
            skipped = tuple(args[index + 1 : index + 2])
            yield _plain(skipped or (word,), verbatim=True, missing=not skipped)
            index += 2
        elif only_files or len(word) < 2 or word[:1] != b"-":
            yield _plain((word,), file=True)
            index += 1
        elif word == b"--":
            only_files = True
            yield _plain((word,))
            index += 1
        elif _ignored(word, ignore_options):
            yield _plain((word,), verbatim=True, ignored=True)
            index += 1
        else:
            cut, takes_next = _cut(word, gcc)
            index += 1
            if takes_next and index < len(args):
                value = args[index]
                yield Word((word, value), cut.name, cut.text, value, 0, cut.option)
                index += 1
            else:
                yield cut


def _plain(
    words: tuple[bytes, ...],
    *,
    verbatim: bool = False,
    ignored: bool = False,
    missing: bool = False,
    file: bool = False,
) -> Word:
    first = words[0]
    return Word(words, first, first, None, 0, None, verbatim, ignored, missing, file)


def _ignored(word: bytes, patterns: Sequence[bytes]) -> bool:
    return any(
        word == pattern or (pattern[-1:] == b"*" and word.startswith(pattern[:-1]))
        for pattern in patterns
    )


# A build repeats the same options in every command.
@lru_cache(maxsize=4096)
def _cut(word: bytes, gcc: bool) -> tuple[Word, bool]:
    """(the option if it is the last word, whether it takes another one as its value)."""
    name, equals, value = word.partition(b"=")
    row = OPTIONS.get(_ALIASES.get(name, b"")) if equals else None
    if row is not None and row.value is Value.SEPARATE:
        return Word((word,), row.name, row.name, value, len(name) + 1, row), False
    text = canonical(word)
    row = find(text, gcc=gcc)
    if row is None or row.value is Value.NONE:
        return Word((word,), text, text, None, 0, row), False
    glued = text[len(row.name) :]
    if not _takes_next_word(row, glued, word):
        return Word((word,), row.name, text, glued, len(word) - len(glued), row), False
    return Word((word,), row.name, text, None, 0, row, missing=True), True


def _takes_next_word(row: Option, glued: bytes, word: bytes) -> bool:
    if row.value is Value.SEPARATE or row.name == b"-Xarch_":
        return True
    if glued or (row.name == word and row.value is Value.JOINED):
        return False
    # --include-directory= has a value, the empty one; the next word is not it.
    return word[:2] != b"--" or word[-1:] != b"="
