"""The words of a command line: options with their values, with what forbids to send them.

distcc (src/arg.c) looks for options in every word; here options are told from their values first
(``cut``): ``-D -c`` does not ask for an object. A compile whose options make, read or run files
that only one machine has belongs to that machine; distcc knows a few of them and loses what the
others make.

Sources: ``gcc --help=joined,separate`` (12), ``clang --help-hidden`` (14), ``as --help`` (2.40),
what is known of later releases, and trials with these compilers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pycc.pattern import pattern
from pycc.record import record


@record
class Word:
    """One option with its value, or one word that is no option."""

    index: int  # in the vector
    name: bytes  # as spelled, without the value
    value: bytes | None = None
    joined: bool = False  # the value is in the same word
    missing: bool = False  # the vector ends where the value should be

    @property
    def file(self) -> bool:
        """Whether the compiler takes it for an input."""
        return self.name[:1] != b"-" or self.name == b"-"


_STRIPPED_GLUED = frozenset(
    b"-D -U -I -L -l -F -MF -MT -MQ -include -imacros -iprefix -iwithprefix -iwithprefixbefore"
    b" -isystem -iquote -idirafter -imultilib -imultiarch -iframework -isystem-after -cxx-isystem"
    b" -c-isystem -objc-isystem -objcxx-isystem -stdlib++-isystem -iwithsysroot"
    b" -iframeworkwithsysroot".split()
)
_STRIPPED_SEPARATE = frozenset(
    b"-Xpreprocessor -Xlinker -z -u -framework --sysroot --define-macro --undefine-macro --include"
    b" --imacros --include-directory --include-directory-after --include-prefix"
    b" --include-with-prefix --include-with-prefix-before --include-with-prefix-after".split()
)
_STRIPPED_FLAGS = frozenset(
    b"-undef -nostdinc -nostdinc++ -nostdlibinc -nobuiltininc --no-standard-includes"
    b" -MD -MMD -MG -MP".split()
)
_STRIPPED_STARTS = (
    b"-Wp,",
    b"-Wl,",
    b"-stdlib",
    # gcc would turn the text, which is UTF-8 by then, into UTF-8 once more (seen with gcc 12:
    # one letter in a string became four bytes). distcc sends it.
    b"-finput-charset=",
    b"-fuse-ld=",
    b"--ld-path=",
    *(name + b"=" for name in _STRIPPED_SEPARATE if name[:2] == b"--"),
)

_GLUED = _STRIPPED_GLUED | {b"-o", b"-x", b"-isysroot", b"-G", b"-A"}
"""Options whose value is glued to them, or the next word."""

_SEPARATE = _STRIPPED_SEPARATE | frozenset(
    b"--param -Xclang -Xassembler -Xanalyzer -target -arch -mllvm -meabi -mthread-model -aux-info"
    b" -dumpbase -dumpbase-ext -dumpdir --dumpbase --dumpbase-ext --dumpdir -wrapper -specs --specs"
    b" -B -gcc-toolchain -resource-dir --config -include-pch -include-pth -ivfsoverlay"
    b" -serialize-diagnostics --serialize-diagnostics -dependency-file -dependency-dot -MJ"
    b" -ftrapv-handler -fdebug-compilation-dir -working-directory --output --language".split()
)
_VALUED = _GLUED | _SEPARATE
_LONGEST_FIRST = sorted(_GLUED, key=lambda name: (-len(name), name))

# distcc asks whether the word after anything that begins with -x begins with "c", so it sends
# headers to be precompiled (c-header), CUDA (cuda) and OpenCL (cl), sends `-xassembler code.S`,
# and keeps `-xc hello.c` at home. None of this is copied: the language is the value, glued or
# not, and is one of these.
PREPROCESSED_LANGUAGE = {
    b"c": b"cpp-output",
    b"c++": b"c++-cpp-output",
    b"objective-c": b"objective-c-cpp-output",
    b"objective-c++": b"objective-c++-cpp-output",
}
"""The languages that are sent, and what ``-x`` calls them once they are preprocessed."""

PREPROCESSED_LANGUAGES = frozenset(PREPROCESSED_LANGUAGE.values()) | {
    b"objc-cpp-output",
    b"objc++-cpp-output",
}

_LOST = "makes files that would not come back"
_PROFILES = "reads or writes profiles"
_READS = "reads a file that only this machine has"
_PARTS = "chooses parts of the compiler, which only this machine has"
_NO_OBJECT = "asks for something other than an object"
_TEXT = "alters what preprocessing gives"
_MODULES = "reads or writes modules"

_TABLE: dict[str, str] = {
    # distcc sends all but -frepo, --coverage and the first profiles; the side files are lost.
    _LOST: "-frepo -gsplit-dwarf* -save-temps* -save-stats* -fstack-usage -fcallgraph-info*"
    " -fdump-* -ftime-trace* -fsave-optimization-record* -foptimization-record-* -aux-info*"
    " -serialize-diagnostics* -fdiagnostics-log* -fdiagnostics-add-output=*"
    " -fdiagnostics-set-output=* -fcompare-debug* -fproc-stat-report* -fthin-link-bitcode=*"
    " -dependency-file* -dependency-dot* -module-dependency-dir* -index-store-path*"
    " -index-unit-output-path* -gen-cdb-fragment-path* -gen-reproducer* -fcrash-diagnostics-dir=*"
    " -dsym-dir* -via-file-asm -time=* -fsave-mixins=* -fverify-debuginfo-preserve-export=*"
    " -dumpbase* -dumpdir* -object-file-name* -working-directory* --output* -fopenmp-targets=*"
    " --offload-arch=* -fself-test=* -fixit*",
    _PROFILES: "--coverage -coverage -ftest-coverage -fcondition-coverage -fpath-coverage"
    " -fprofile-* -fauto-profile* -fbranch-probabilities -fcs-profile-* -fmemory-profile*"
    " -fcreate-profile",
    _MODULES: "-fmodule* -fcxx-modules -fprebuilt-* -fimplicit-module* -fbuiltin-module-map"
    " -fbuild-session-file=* -gmodules -fdep*",
    _READS: "-fsanitize-ignorelist=* -fsanitize-blacklist=* -fsanitize-system-ignorelist=*"
    " -fsanitize-system-blacklist=* -fsanitize-coverage-allowlist=*"
    " -fsanitize-coverage-whitelist=* -fsanitize-coverage-ignorelist=*"
    " -fsanitize-coverage-blacklist=* -fxray-always-instrument=* -fxray-never-instrument=*"
    " -fxray-attr-list=* -frandomize-layout-seed-file=* --warning-suppression-mappings=*"
    " -fthinlto-index=* -ivfsoverlay* -ivfsstatcache* -fembed-offload-object=*"
    " -fms-secure-hotpatch-functions-file=* -foverride-record-layout=* -fresolution=* -fwpa*"
    " -fltrans* -fopenmp-host-ir-file-path* -fbasic-block-sections=list*"
    " -fintrinsic-modules-path* -mmlir*",
    _PARTS: "-B* --prefix* -specs* -wrapper* --config* -fplugin* -fpass-plugin* -iplugindir*"
    " -gcc-toolchain* -gcc-install-dir* -gcc-triple* -resource-dir* -ccc-* -Xarch_* -Xcuda*"
    " -Xclang=* -Xopenmp* -Xanalyzer* --machine*",
    _NO_OBJECT: "-### -fsyntax-only -emit-ast -emit-pch -emit-pth -emit-interface-stubs"
    " -emit-merged-ifs -emit-static-lib -rewrite-* -verify-pch -extract-api -analyze* -precompile"
    " -print-* -help* -version -target-help -completion=* -objcmt-* -driver-mode=c* --assemble"
    " --dependencies --user-dependencies --write-* --dump*",
    _TEXT: "-P -fpreprocessed -fno-preprocessed -fdirectives-only -fpch-preprocess -include-pch*"
    " -include-pth* --no-line-commands",
    "names a language that is not sent": "-ObjC -ObjC++ --language*",
    "may take options for the assembler": "--for-assembler*",
}


def _rows(starts: bool) -> Iterator[tuple[bytes, str]]:
    for why, names in _TABLE.items():
        for name in names.encode().split():
            if name.endswith(b"*") is starts:
                yield name.removesuffix(b"*"), why


_EXACT = dict(_rows(False))
_STARTS = dict(_rows(True))
_ANY_START = tuple(_STARTS)

_SHAPES = (
    (pattern(rb"-fopt-info[^=]*=."), _LOST),
    (pattern(rb"-fdiagnostics-format=.*file"), _LOST),
    # Not only what distcc knows (-march=, -mtune=): -mcpu= is the same on ARM and POWER.
    (pattern(rb"-m(?:arch|tune|cpu)=native"), "means this machine's processor"),
)

_DEPENDENCY_WORDS = frozenset(b"-MD -MMD -MG -MP -MF -MT -MQ".split())
_STANDARD_OUTPUT = frozenset(b"- /dev/stdout /dev/fd/1 /proc/self/fd/1".split())
# -dM makes the preprocessor print macros in place of the text: distcc sends that, and an empty
# object comes back. The others, but for these, write dumps (-dr, -da) or answer (-dumpversion).
_DUMP_WORDS = frozenset(b"-dA -dD -dP -dp".split())

_CC1 = tuple(
    b"-load -plugin -add-plugin -o -E -S -x -M -dependency- -header-include -serialize-diagnostic"
    b" -diagnostic-log-file -stats-file -coverage- -split-dwarf -opt-record -analyze -ast- -emit-"
    b" -dump -rewrite -verify -main-file-name -code-completion -include -internal- -mlink-"
    b" -print- -fcuda-include-gpubinary -fsystem-module -arcmt -objcmt".split()
)
"""Beginnings of what clang -cc1 (behind -Xclang) reads files by, writes files by or answers to."""

# as takes long options with one dash or two, and any beginning of them that is clear.
_ASSEMBLER_FILES = pattern(rb"-a|--?M|-o|-I|@|[^-].*[./]")


def cut(argv: Sequence[bytes]) -> Iterator[Word]:
    """The vector behind the compiler as options with their values, and words that are none."""
    index = 1
    while index < len(argv):
        word = argv[index]
        if word in _VALUED:
            missing = index + 1 == len(argv)
            value = None if missing else argv[index + 1]
            yield Word(index, word, value, False, missing)
            index += 1 if missing else 2
            continue
        name = _glued_to(word)
        yield Word(index, word) if name is None else Word(index, name, word[len(name) :], True)
        index += 1


def _glued_to(word: bytes) -> bytes | None:
    if word[:1] != b"-":
        return None
    for name in _LONGEST_FIRST:
        if word.startswith(name):
            # To clang these are options of their own; distcc takes them for -o.
            own = name == b"-o" and word.startswith((b"-objcmt-", b"-object-file-name"))
            return None if own else name
    return None


def shown(word: bytes) -> str:
    """A word for a sentence that people read, never longer than a line."""
    text = word.decode("utf-8", "backslashreplace")
    return text if len(text) <= 100 else text[:97] + "..."


def local_reason(word: bytes) -> str | None:
    """Why one option, by its spelling, keeps a compile on this machine; None: it does not."""
    spellings = [word]
    if word[:2] == b"--":
        # gcc reads --word as -fword, clang many as -word (gcc/opts-common.cc, option_map).
        spellings += [word[1:], b"-f" + word[2:]]
    for spelling in spellings:
        why = _EXACT.get(spelling)
        if why is None and spelling.startswith(_ANY_START):
            why = next(_STARTS[start] for start in _ANY_START if spelling.startswith(start))
        for shape, reason in _SHAPES:
            if why is None and shape.match(spelling):
                why = reason
        if why is not None:
            return f"{shown(word)} {why}"
    if word.startswith(b"-M") and word not in _DEPENDENCY_WORDS:
        return f"{shown(word)} writes dependencies in place of an object"
    if word.startswith(b"-d") and word not in _DUMP_WORDS:
        return f"{shown(word)} writes dumps, or changes or replaces the output"
    return None


def left_out(word: Word) -> bool:
    """Whether only the preprocessor or the linker needs it."""
    return (
        word.name in _STRIPPED_GLUED
        or word.name in _STRIPPED_SEPARATE
        or word.name in _STRIPPED_FLAGS
        or word.name.startswith(_STRIPPED_STARTS)
    )


def reason(word: Word) -> str | None:
    """Why one word with its value keeps a compile on this machine; None: it does not."""
    name, value = word.name, word.value or b""
    if word.missing:
        return f"{shown(name)} lacks its value"
    if word.file:
        return None
    if name == b"--":
        return "-- makes files of the words behind it"
    if name == b"-x":
        if value in PREPROCESSED_LANGUAGE or value in PREPROCESSED_LANGUAGES:
            return None
        return f"-x {shown(value)} names a language that is not sent"
    if name == b"-MF" and value in _STANDARD_OUTPUT:
        # distcc collects text and dependencies from one pipe, and sends both as the text.
        return f"-MF {shown(value)} mixes dependencies with the preprocessed text"
    if name == b"-Xclang":
        if value.startswith(_CC1):
            return f"-Xclang {shown(value)} may read or write files"
        return local_reason(value)
    if name == b"-Xassembler":
        return _assembler_reason(name, [value])
    if name.startswith(b"-Wa,"):
        return _assembler_reason(name, name[4:].split(b","))
    if name == b"-Xpreprocessor":
        return local_reason(value) or (
            f"-Xpreprocessor {shown(value)} is the preprocessor's alone"
            if value[:2] in (b"-M", b"-o", b"-E")
            else None
        )
    if name.startswith(b"-Wp,"):
        inner = cut((b"", *wp_words(name)))
        return next(filter(None, map(reason, inner)), None)
    return local_reason(name)


def _assembler_reason(option: bytes, words: Sequence[bytes]) -> str | None:
    for word in words:
        if _ASSEMBLER_FILES.match(word):
            return f"{shown(option)} makes the assembler read or write files ({shown(word)})"
    return None


def wp_words(option: bytes) -> Iterator[bytes]:
    """The compiler's words for one ``-Wp,a,b``; the preprocessor's -MD and -MMD name a file."""
    parts = iter(filter(None, option[4:].split(b",")))
    for part in parts:
        yield part
        if part in (b"-MD", b"-MMD"):
            file = next(parts, None)
            if file is not None:
                yield from (b"-MF", file)
