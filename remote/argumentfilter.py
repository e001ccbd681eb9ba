"""The reasons why a server must not run an argument vector on preprocessed text.

Whoever reaches the port chooses the words, and a compiler is a large program with many ways to
run others, to load code, and to read or write any file of its user. distccd knows two of them
(-fplugin=, -specs=). So this is a list of what passes: a word is run when its shape is known and
names no file, and everything else is refused, because compilers grow options every year and a
server hears of them last. A refused job is compiled where it came from.

The vector is judged as ``commandline.strip`` leaves it: stock clients send search lists
(-iquote) and ``-x c``, with which the server would preprocess the text itself, and include its own
files. The names of source and output are not judged, because ``commandline.with_files`` replaces
them. What the *text* can do is not judged here either: clang obeys ``#include`` in preprocessed
text, and the assembler obeys ``.incbin``.
"""

from __future__ import annotations

from collections.abc import Sequence

from pycc.pattern import pattern
from pycc.remote.commandline import read, strip
from pycc.remote.optionwords import (
    PREPROCESSED_LANGUAGES,
    Word,
    cut,
    left_out,
    local_reason,
    shown,
    wp_words,
)

MAX_WORDS = 4096
MAX_BYTES = 128 * 1024
"""Several times what the largest builds use; what one word may have on Linux (MAX_ARG_STRLEN)."""

_FLAGS = frozenset(
    b"-c -S -pipe -w -ansi -pedantic -pedantic-errors -p -pg -v -H -C -CC -pthread -pthreads"
    b" -static -static-pie -shared -s -r -rdynamic -pie -no-pie -nostdlib -nostdlib++"
    b" -nodefaultlibs -nostartfiles -nolibc -trigraphs -remap -traditional -traditional-cpp"
    b" -Q -Qn -Qy -Qunused-arguments -canonical-prefixes -no-canonical-prefixes -emit-llvm"
    b" -integrated-as -no-integrated-as -no-integrated-cpp -undef -nostdinc -nostdinc++"
    b" -nostdlibinc -nobuiltininc -dA -dD -dP -dp -time -EL -EB"
    b" --start-no-unused-arguments --end-no-unused-arguments"
    b" --driver-mode=g++ --driver-mode=gcc".split()
)

_TEXT_MAY_HAVE_PATHS = (
    # Written into the output or compared with names in it; no file is opened.
    b"-D",
    b"-U",
    b"-fdebug-prefix-map=",
    b"-ffile-prefix-map=",
    b"-fmacro-prefix-map=",
    b"-fcoverage-prefix-map=",
    b"-fdebug-compilation-dir=",
    b"-ffile-compilation-dir=",
    b"-fcoverage-compilation-dir=",
    b"-frandom-seed=",
    b"-finstrument-functions-exclude-file-list=",
)

_SHAPES = (
    pattern(rb"-O(?:[0-9]*|fast|s|g|z)"),
    pattern(rb"-(?:-?std|stdlib)=[\w+:.]+"),
    pattern(rb"-W(?![alp],)[^/]*"),
    pattern(rb"-R[^/]*"),
    pattern(rb"-g[\w+=,-]*"),
    # Some processors' -m names two cores with a dot between them, so a dot makes no file here;
    # a name without a slash stays in the job's own directory.
    pattern(rb"-m[^/]+"),
    pattern(rb"-f[^/]+"),
    pattern(rb"-(?:static|shared)-lib[a-z+]+"),
    pattern(rb"--param=[\w-]+=[\w-]+"),
    pattern(rb"--target=[\w.+-]+"),
    pattern(rb"--?(?:rtlib|unwindlib)=[\w+-]+"),
)
"""Whole words that pass when no table forbids them."""

_LLVM = pattern(rb"--?(?!load|view|dot)[A-Za-z][\w-]*(?:=(?:-?\d+|true|false))?")

_VALUES = {
    b"--param": pattern(rb"[\w-]+=[\w-]+"),
    b"-target": pattern(rb"[\w.+-]+"),
    b"-arch": pattern(rb"[\w-]+"),
    b"-meabi": pattern(rb"[\w-]+"),
    b"-mthread-model": pattern(rb"[\w-]+"),
    b"-ftrapv-handler": pattern(rb"[\w.$]+"),
    b"-fdebug-compilation-dir": pattern(rb"[^/@-][^/]*"),
    # Without a path, for a compiler may take the -D for another option's value.
    b"-D": pattern(rb"[^/]+"),
    b"-U": pattern(rb"\w+"),
    # No value but a number or a truth: LLVM expands @file here, and options by the hundred name
    # files. A file that is called "1" stays in the job's own directory.
    b"-mllvm": _LLVM,
    b"-G": pattern(rb"\d+"),
}
"""Options that pass when the next word, or what is glued to them, has this shape."""

_LOOKS_LIKE_A_FILE = pattern(rb"-f[^=]*=(?:[.~]|.*[=,:][.~]|.*\.[A-Za-z_])")

_CC1_VALUES = {
    b"-target-feature": pattern(rb"[+-][\w.-]+"),
    b"-target-cpu": pattern(rb"[\w.+-]+"),
    b"-tune-cpu": pattern(rb"[\w.+-]+"),
    b"-target-abi": pattern(rb"[\w.+-]+"),
    b"-mllvm": _LLVM,
    b"-fdebug-compilation-dir": _VALUES[b"-fdebug-compilation-dir"],
}
"""What clang -cc1 takes from the next -Xclang."""

_ASSEMBLER = pattern(
    rb"--?(?:32|64|x32|n32|defsym=\w+=\w+|(?:no)?execstack|(?:no-)?warn|fatal-warnings|keep-locals"
    rb"|gen-debug|g?dwarf-?\w*|gstabs\+?|gdwarf-\w+(?:=\d+)?|(?:no)?compress-debug-sections(?:=[\w-]+)?"
    rb"|size-check=\w+|elf-stt-common=\w+|generate-missing-build-notes=\w+|reduce-memory-overheads"
    rb"|hash-size=\d+|no-pad-sections|strip-local-absolute|traditional-format|crel|no-?cpp)"
    rb"|-(?:[gLJKRWXZknswfq]|Q[yn]|E[BL]|O[012s]|A[\w+]+|(?:m|xarch=)[\w+=.-]+)"
)
"""Words for the assembler that pass."""

_DEFSYM = frozenset((b"--defsym", b"-defsym"))
_SYMBOL = pattern(rb"[\w.$]+=\w+")
# --debug-prefix-map and its like are not among them: after a word that takes one more than is
# known here (-march on x86), their values would be files to assemble.


def refusal(argv: Sequence[bytes]) -> str | None:
    """Why a server must not run the vector, for people; None: it may.

    ``argv[0]`` is not judged: which compilers may be run is another question. Nothing is raised,
    whatever the vector.
    """
    if len(argv) > MAX_WORDS:
        return f"{len(argv)} words, more than {MAX_WORDS}"
    if sum(map(len, argv)) + len(argv) > MAX_BYTES:
        return f"more than {MAX_BYTES} bytes of words"
    if any(b"\0" in word for word in argv):
        return "a word contains a zero byte"
    reading = read(argv)
    if reading.preprocess:
        return "-E: this server does not preprocess"
    if reading.reason is not None:
        return reading.reason
    if reading.action is None:
        return "neither -c nor -S: not a compile"
    if len(reading.inputs) != 1:
        return f"{len(reading.inputs)} source files"
    if len(reading.outputs) > 1:
        return "more than one output"
    if reading.others:
        return f"{shown(reading.others[0].name)} is a file that was not sent"
    expected: list[bytes] = []
    for word in reading.words:
        why = _refused(word, expected)
        if why is not None:
            return why
    if expected:
        return f"-Xclang {shown(expected[0])} lacks its value"
    return None


def _refused(word: Word, expected: list[bytes]) -> str | None:
    """Why one word with its value is refused. ``expected`` holds the -cc1 option whose value the
    next -Xclang has, if any."""
    name, value = word.name, word.value or b""
    if name == b"-Xclang":
        return _refused_cc1(value, expected)
    if word.file or name == b"-o":
        return None
    if name == b"-x":
        if value in PREPROCESSED_LANGUAGES:
            return None
        return f"-x {shown(value)} would have the text preprocessed again"
    if name == b"-Xassembler" or name.startswith(b"-Wa,"):
        return _refused_assembler(name, [value] if name == b"-Xassembler" else name[4:].split(b","))
    if word.joined and name in (b"-D", b"-U"):
        return None
    if name in _VALUES:
        if _VALUES[name].fullmatch(value):
            return None
        return f"{shown(name)} {shown(value)} is not known to be harmless"
    if word.value is not None:
        return f"{shown(name)} names a file or a place, or is not for a compiler"
    return _refused_option(name)


def _refused_option(name: bytes) -> str | None:
    """Why an option without a separate value is refused."""
    why = local_reason(name)
    if why is not None or name in _FLAGS or name.startswith(_TEXT_MAY_HAVE_PATHS):
        return why
    if name.startswith(b"-mllvm="):
        return None if _LLVM.fullmatch(name[7:]) else f"{shown(name)} is not known to be harmless"
    if b"/" in name or b"\\" in name or _LOOKS_LIKE_A_FILE.match(name):
        return f"{shown(name)} may name a file"
    if name.startswith(b"-M"):
        return f"{shown(name)} writes a file of dependencies"
    if any(shape.fullmatch(name) for shape in _SHAPES):
        return None
    return f"{shown(name)} is not known to be harmless"


def _refused_cc1(value: bytes, expected: list[bytes]) -> str | None:
    harmless = True
    if expected:
        harmless = _CC1_VALUES[expected.pop()].fullmatch(value) is not None
    elif value in _CC1_VALUES:
        expected.append(value)
    else:
        # -cc1 has options of the driver's shapes; the tables of files were asked by `read`.
        shaped = value[:2] in (b"-f", b"-m", b"-W", b"-O", b"-D", b"-U")
        harmless = shaped and _refused_option(value) is None
    return None if harmless else f"-Xclang {shown(value)} is not known to be harmless"


def _refused_assembler(option: bytes, words: Sequence[bytes]) -> str | None:
    before = b""
    for word in words:
        if before in _DEFSYM:
            harmless = _SYMBOL.fullmatch(word) is not None
            before = b""
        else:
            harmless = word in _DEFSYM or _ASSEMBLER.fullmatch(word) is not None
            before = word
        if not harmless:
            return f"{shown(word)} in {shown(option)} is not known to be harmless"
    return f"{shown(before)} in {shown(option)} lacks its value" if before in _DEFSYM else None


def exact_refusal(argv: Sequence[bytes]) -> str | None:
    """The same for a source that is compiled in a root of its own, where the words for the
    preprocessor can name no file but the client's, and those for the linker mean nothing."""
    why = refusal(strip(argv))
    if why is not None:
        return why
    for word in cut(argv):
        if not left_out(word):
            continue
        inner = [word]
        if word.name.startswith(b"-Wp,"):
            inner = list(cut((b"", *wp_words(word.name))))
        if not all(one.name.startswith(_IN_A_ROOT) and left_out(one) for one in inner):
            return f"{shown(word.name)} is not known to be harmless"
    return None


_IN_A_ROOT = tuple(
    b"-D -U -I -L -l -F -M -i -u -z -Wl, -Xlinker -nostdinc -nobuiltininc -stdlib -finput-charset="
    b" -fuse-ld= --ld-path= --define-macro --undefine-macro --include --imacros".split()
)
"""Beginnings of words that strip leaves out (optionwords.left_out) and that pass."""
