"""What ``parse`` says a command line will write, against what the installed compilers write."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pycc.arguments import Family, Invocation, ParseSettings, parse
from pycc.options import Scope

SOURCES = {
    "t.c": "static int twice(int x) { return 2 * x; }\nint main(void) { return twice(0); }\n",
    "t.x.c": "int x;\n",
    "noext": "int x;\n",
    "t.i": "int x;\n",
    "t.s": "\t.globl x\nx:\n",
    "t.S": "#define NAME x\n\t.globl NAME\nNAME:\n",
    "t.cc": "struct s { virtual ~s(); }; s::~s() {}\n",
    "t.h": "int x;\n",
    "src/t.c": "int x;\n",
    "d/keep": "",
}

CLANG_ALL = "-MD -fstack-usage --coverage -gsplit-dwarf"
ALL = f"{CLANG_ALL} -fcallgraph-info"

GCC = [
    "-c t.c",
    "-c t.c -o d/x.y",
    "-S t.c",
    "-S t.c -o d/q",
    "-fsyntax-only t.c",
    "-fsyntax-only -c t.c -o d/x.o",
    "-fsyntax-only -Wp,-MD,x.d t.c",
    "-fsyntax-only -MD -o d/x.o t.c",
    f"-c t.c {ALL}",
    f"-c t.c {ALL} -o d/x.y",
    f"-c t.c {ALL} -o d/x",
    f"-c t.c {ALL} -o d/.o",
    f"-c t.x.c {ALL}",
    f"-c src/t.c {ALL}",
    f"-c -x c noext {ALL}",
    f"-S t.c {ALL}",
    f"-S t.c {ALL} -o d/q",
    f"-c t.c {ALL} -dumpbase foo.c -o d/x.o",
    f"-c t.c {ALL} -dumpbase foo.c -dumpbase-ext .c -o d/x.o",
    f"-c t.c {ALL} -dumpdir d/p- -o x.o",
    f"-c t.c {ALL} -dumpbase d/foo -o x.o",
    f"-c t.c {ALL} -dumpdir d/ -dumpbase foo",
    f"-c t.c {ALL} -dumpdir d/p-",
    f"-c t.c {ALL} -flto",
    f"-c t.c {ALL} -flto -fno-lto",
    f"-c t.i {ALL}",
    f"-c t.s {ALL}",
    f"-c t.S {ALL}",
    f"-c t.cc {ALL}",
    "-c t.c -gsplit-dwarf -g0",
    "-c t.c -gsplit-dwarf -gno-split-dwarf -g",
    "-c t.c --coverage -fprofile-dir=pd -o d/x.o",
    "-c t.c -ftest-coverage -fprofile-generate=pd -o d/x.o",
    "-c t.c -fprofile-arcs",
    "-c t.c -O2 -fdump-ipa-clones -o d/x.o",
    "-c t.c -fdump-ipa-clones -flto",
    "-c t.c -fdump-ipa-clones -dumpbase foo.c -dumpbase-ext .c",
    "-c t.s -fdump-ipa-clones",
    "-c t.c -Wa,-a=l.lst",
    "-c t.c -Wa,-as=d/l.lst,-L",
    "-S t.c -Wa,-a=l.lst",
    "-c t.c --for-assembler=-a=l.lst",
    "-c t.c -Wp,-MD,f.d",
    "-c t.c -Wp,-MMD,f.d -Wp,-MD,g.d",
    "-c t.c -Wp,-MMD,f.d,-MT,foo",
    "-c t.c -Xpreprocessor -MD -Xpreprocessor f.d",
    "-c t.c -MD -MF g.d -MF h.d",
    "-c t.c -MD -MF /dev/null",
    "-c t.c --write-dependencies -o d/x.o",
    "-c t.c --test-coverage",
    "-c t.i -Wp,-MD,x.d",
    "t.h",
    "t.h -o d/foo",
    "-c t.h -MD",
    "-c t.h -MD -o d/t.h.gch",
    "--compile --output=x.o t.c",
    "--compile --include-directory=d t.c",
    "--language=c --compile noext",
    "-c t.c -o d/a.o -o d/b.o",
    "-c t.c -o /dev/null",
    "-c t.c -lfoo -L. -Wl,-foo -s -static -z now -u main -T foo -Xlinker x",
]

CLANG = [
    "-c t.c",
    "-c t.c -o d/x.y",
    "-S t.c",
    "-fsyntax-only t.c",
    f"-c t.c -g {CLANG_ALL}",
    f"-c t.c -g {CLANG_ALL} -o d/x.y",
    f"-c t.c -g {CLANG_ALL} -o d/x",
    f"-c t.c -g {CLANG_ALL} -o d/.o",
    f"-c src/t.c -g {CLANG_ALL}",
    f"-S t.c -g {CLANG_ALL}",
    f"-S t.c -g {CLANG_ALL} -o d/q",
    f"-fsyntax-only t.c -g {CLANG_ALL}",
    f"-c t.c -g {CLANG_ALL} -flto",
    f"-c t.i -g {CLANG_ALL}",
    f"-c t.cc -g {CLANG_ALL}",
    f"-c t.s -g {CLANG_ALL}",
    f"-c t.S -g {CLANG_ALL}",
    "-c t.c -gsplit-dwarf",
    "-c t.c -gsplit-dwarf -g0",
    "-c t.c -gsplit-dwarf -g1",
    "-c t.c -gsplit-dwarf=single -g",
    "-c t.c -fprofile-arcs",
    "-c t.c --coverage -fprofile-dir=pd",
    "-c t.c --serialize-diagnostics x.dia",
    "-c t.c -Wp,-MD,f.d",
    "-c t.c -MMD -Wp,-MD,f.d -o d/x.o",
    "-c t.c -Wp,-MMD,f.d,-MT,foo",
    "-c t.h",
    "-c t.h -MD",
    "t.h -MD",
    "-c t.c -emit-llvm",
    "-S t.c -emit-llvm",
    "-c t.c -o /dev/null",
    "-c -- t.c",
]

CASES = [("gcc", line) for line in GCC] + [("clang", line) for line in CLANG]
SETTINGS = ParseSettings(sloppiness=frozenset({"pch_defines", "time_macros"}))


def written(directory: Path) -> set[str]:
    return {
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if path.is_file() and path.stat().st_mtime > 1
    }


def prepare(directory: Path) -> None:
    for name, text in SOURCES.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)
        os.utime(directory / name, (1, 1))


def run(compiler: str, words: list[str], directory: Path) -> bytes:
    done = subprocess.run([compiler, *words], cwd=directory, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def understand(compiler: str, line: str, directory: Path) -> Invocation:
    invocation = parse(
        [os.fsencode(word) for word in line.split()],
        family=Family.GCC if compiler == "gcc" else Family.CLANG,
        driver=os.fsencode(compiler),
        settings=SETTINGS,
        cwd=os.fsencode(directory),
        environment={},
    )
    assert isinstance(invocation, Invocation), invocation
    return invocation


@pytest.mark.parametrize(("compiler", "line"), CASES)
def test_outputs_are_exactly_the_files_that_appear(
    compiler: str, line: str, tmp_path: Path
) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    prepare(tmp_path)
    run(compiler, line.split(), tmp_path)
    invocation = understand(compiler, line, tmp_path)
    paths = {os.fsdecode(one.path) for one in invocation.outputs if not one.optional}
    possible = {os.fsdecode(one.path) for one in invocation.outputs}
    if invocation.output not in (None, b"/dev/null"):
        assert invocation.output is not None
        paths.add(os.fsdecode(invocation.output))
    appeared = written(tmp_path)
    assert {os.path.normpath(path) for path in paths} <= appeared
    assert appeared <= {os.path.normpath(path) for path in paths | possible}


TARGETS = [
    "-c t.c -MD",
    "-c t.c -MMD -o d/x.o",
    "-c src/t.c -MD",
    "-S t.c -MD",
    "-S t.c -MD -o d/x.s",
    "-c t.h -MD",
    "-c t.h -MD -o d/x.gch",
    "-c t.c -MD -MT a$ -MQ b$ -MT c",
    "-c t.c -Wp,-MD,f.d -o x.o",
    "-c t.c -MMD -Wp,-MD,f.d -o x.o",
    "-c t.c -Wp,-MMD,f.d -MD",
    "-c t.c -MMD -MD",
    "-c t.c -MD -MMD",
    "-c t.c -MT foo.o -Wp,-MMD,f.d",
    "-fsyntax-only t.c -MD -MF f.d",
    "-fsyntax-only t.c -MD -MF f.d -o x.o",
    "-c -x c noext -MD -MF f.d",
    "-c t.S -MD",
]
GCC_TARGETS = [  # clang -cc1 knows none of these
    "-c t.c -MD -Wp,-MP",
    "-c t.c -MD -Wp,-MT,foo -MT bar",
    "-c t.c -MD -o x.o -Wp,-MT,foo",
    "-c t.c -Wp,-MMD,f.d,-MT,foo -o x.o",
    "-c t.c -Xpreprocessor -MD -Xpreprocessor f.d",
    "-c t.c -dumpdir d/p- -MD",
]


@pytest.mark.parametrize(
    ("compiler", "line"),
    [(compiler, line) for compiler in ("gcc", "clang") for line in TARGETS]
    + [("gcc", line) for line in GCC_TARGETS],
)
def test_dependency_file_has_the_expected_targets_and_headers(
    compiler: str, line: str, tmp_path: Path
) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    prepare(tmp_path)
    for name in ("t.c", "t.h", "t.S", "noext", "src/t.c"):
        (tmp_path / name).write_text("#include <limits.h>\n" if name != "t.S" else "#\n")
    run(compiler, line.split(), tmp_path)
    wanted = understand(compiler, line, tmp_path).dependencies
    assert wanted is not None
    text = (tmp_path / os.fsdecode(wanted.path)).read_bytes()
    targets = wanted.targets or ((wanted.default_target, True),)
    quoted = [text.replace(b"$", b"$$") if quote else text for text, quote in targets]
    assert text.startswith(b" ".join(quoted) + b": ")
    if "t.S" not in line:
        assert (b"limits.h" in text) is wanted.system


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize(
    "line",
    [
        f"-c t.c {CLANG_ALL} -g -o d/x.o",
        "-S t.c -MD -MF x.d -Wp,-DFOO -Wa,-L -Wl,-x -lfoo -L. -O2",
        "-c -x c noext -Wp,-MMD,f.d -P -Werror",
        "-fsyntax-only t.cc -MMD -MF f.d",
        "-c t.S -MD",
    ],
)
def test_preprocessing_writes_only_to_standard_output(
    compiler: str, line: str, tmp_path: Path
) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    prepare(tmp_path)
    words = [os.fsdecode(w) for w in understand(compiler, line, tmp_path).preprocess_args()]
    assert run(compiler, words, tmp_path).strip()
    assert written(tmp_path) == set()


WORDS = [
    "-DX",
    "-UX",
    "-A x=y",
    "-Id",
    "-iquote d",
    "-isystem d",
    "-idirafter d",
    "-include empty",
    "-imacros empty",
    "-nostdinc",
    "-trigraphs",
    "-remap",
    "-iprefix d",
    "-isysroot /",
    "-fworking-directory",
    "-MD -MF f.d",
    "-MD -MP -MT x",
    "-Wp,-MD,f.d",
    "-Wp,-DX",
    "-P",
    "-lfoo",
    "-L.",
    "-Wl,x",
    "-x c",
    "-fdiagnostics-color=always",
    "-fstack-usage",
]


def left_out(compiler: str, words: str) -> bool:
    """Whether ``words`` are in no key that is made from preprocessed text."""
    found = understand(compiler, f"{words} -c t.c", Path("/w")).key_args
    return all(arg.scope is Scope.CPP for arg in found)


@pytest.mark.parametrize(
    ("compiler", "words"),
    [(one, words) for one in ("gcc", "clang") for words in WORDS if left_out(one, words)],
)
def test_words_left_out_of_the_preprocessed_key_do_not_reach_the_object(
    compiler: str, words: str, tmp_path: Path
) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    (tmp_path / "t.c").write_text("int x;\n")
    (tmp_path / "empty").touch()
    (tmp_path / "d").mkdir()
    run(compiler, ["-g", "-c", "t.c"], tmp_path)
    plain = (tmp_path / "t.o").read_bytes()
    run(compiler, ["-g", *words.split(), "-c", "t.c"], tmp_path)
    assert (tmp_path / "t.o").read_bytes() == plain
