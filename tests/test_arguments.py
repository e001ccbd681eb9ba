"""Command lines: why they are not cached, their outputs, keys, and words for the preprocessor."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycc import options
from pycc.arguments import Family, Invocation, reread, rewrite
from pycc.invocation import Action
from pycc.options import Scope
from pycc.outcome import ERRORS, UNCACHEABLE, Outcome
from tests.command_lines import CLANG, GCC, OTHER, key, read, refused, understood


def test_a_counter_is_an_error_or_a_reason_but_not_both() -> None:
    assert not ERRORS & UNCACHEABLE


def test_counters_are_those_of_ccache_print_stats() -> None:
    assert len(Outcome) == 53
    assert all(outcome.value == outcome.name.lower() for outcome in Outcome)


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        ("", "no_input_file"),
        ("-c -O2", "no_input_file"),
        ("--version", "no_input_file"),
        ("-v", "no_input_file"),
        ("-c -", "no_input_file"),
        ("-x c -c - t.c", "multiple_source_files"),
        ("-E -x c -", "no_input_file"),
        ("-E -c t.c", "called_for_preprocessing"),
        ("--preprocess t.c", "called_for_preprocessing"),
        ("-E a.c b.c", "called_for_link"),
        ("t.c -o t", "called_for_link"),
        ("t.o -o t", "called_for_link"),
        ("t.o u.o -lfoo", "called_for_link"),
        ("-save-temps t.c u.c", "called_for_link"),
        ("conftest.c", "autoconf_test"),
        ("-o conftest dir/conftest.cpp -lm", "autoconf_test"),
        ("-c conftest.d/t.ccc", "unsupported_source_language"),
        ("-c a.c b.c", "multiple_source_files"),
        ("-c a.o b.o", "multiple_source_files"),
        ("-c t.c data", "multiple_source_files"),
        ("-c t.c --unheard-of data.txt", "multiple_source_files"),
        ("-c --unheard-of value.c t.c", "multiple_source_files"),
        ("-c t.c -o -", "output_to_stdout"),
        ("-c t.c -save-temps -o -", "output_to_stdout"),
        ("-c t.c -I", "bad_compiler_arguments"),
        ("-c t.c -o", "bad_compiler_arguments"),
        ("-c t.c --param", "bad_compiler_arguments"),
        ("-c t.c -Xlinker", "bad_compiler_arguments"),
        ("-c t.c --ccache-skip", "bad_compiler_arguments"),
        ("-c t.c @missing.rsp", "bad_compiler_arguments"),
        ("-c t.ccc", "unsupported_source_language"),
        ("-c t", "unsupported_source_language"),
        ("-c .c", "unsupported_source_language"),
        ("-c t.f90", "unsupported_source_language"),
        ("-c t.CXX", "unsupported_source_language"),
        ("-x unknown -c t.c", "unsupported_source_language"),
        ("-x c -x none -c t.ccc", "unsupported_source_language"),
        ("-M foo -c t.c", "unsupported_compiler_option"),
        ("-M t.c", "unsupported_compiler_option"),
        ("-c t.c -fmodules", "could_not_use_modules"),
        ("-c t.cc -fmodules-ts", "unsupported_compiler_option"),
        ("-c t.c -Wp,-MMD,wp.d -MF mf.d", "unsupported_compiler_option"),
        ("-c t.c -Wp,-P,-DFOO", "unsupported_compiler_option"),
        ("-c t.c -Wp,-DFOO,-P", "unsupported_compiler_option"),
        ("-c t.c -Wa,-a=a.lst -Wa,-as=a.lst", "unsupported_compiler_option"),
        ("-c t.c -MD -MF -", "unsupported_compiler_option"),
        ("-fsyntax-only -MD t.c", "unsupported_compiler_option"),
        ("-fsyntax-only --coverage t.c", "unsupported_compiler_option"),
        ("-c t.c -MD -o /dev/null", "unsupported_compiler_option"),
        ("-c t.c --coverage -o /dev/null", "unsupported_compiler_option"),
        ("-S t.s", "unsupported_compiler_option"),
        ("-fsyntax-only t.S", "unsupported_compiler_option"),
        ("-c t.h -gsplit-dwarf", "unsupported_compiler_option"),
        ("t.h -MD", "unsupported_compiler_option"),
        ("-c t.c -fprofile-use -fprofile-generate", "unsupported_compiler_option"),
        ("-c t.c -fprofile-use -fauto-profile", "unsupported_compiler_option"),
        ("-c t.c -fprofile-unheard-of", "unsupported_compiler_option"),
        ("-c t.c --coverage -fno-test-coverage", "unsupported_compiler_option"),
    ],
)
def test_reason_for_not_caching(line: str, outcome: str) -> None:
    assert refused(line) == outcome


@pytest.mark.parametrize(
    "option",
    "-save-temps -save-temps=obj --save-temps -H --trace-includes -v -### -Q -gtoggle -aux-info=x "
    "-fdump-tree-all --dump-tree-all -fdump-go-spec=x -da -dD -dM -fcompare-debug -ftime-trace "
    "-ftime-trace=x -time=x -fmem-report -ftime-report -fopt-info-vec=x -fsave-optimization-record "
    "-fproc-stat-report=x -save-stats=obj -print-search-dirs --help=common -dumpversion -I- -MJx "
    "-fdirectives-only -fpreprocessed -fmodule-header -fplugin=libcc1plugin -Wa,--MD=x -Wa,@x "
    "-fdiagnostics-format=sarif-file -fdiagnostics-add-output=sarif --driver-mode=g++ --analyze "
    "-working-directory=x -Wp,-M -dependency-file=x".split(),
)
def test_option_whose_outputs_are_not_modelled(option: str) -> None:
    assert refused(f"-c t.c {option}") == "unsupported_compiler_option"


@pytest.mark.parametrize(
    "option",
    [
        "-emit-ast",
        "-Xclang -o -Xclang x",
        "-Xclang -dependency-file -Xclang x",
        "-MV",
        "-MD -MJ x",
        "--config gcc",
        "-arch x86_64 -arch arm64",
        "-ivfsoverlay x.yaml",
        "-index-store-path x",
        "-Xpreprocessor -MD",
        "-dumpdir x",
    ],
)
def test_clang_option_whose_outputs_are_not_modelled(option: str) -> None:
    assert refused(f"-c t.c {option}", CLANG) == "unsupported_compiler_option"


@pytest.mark.parametrize("name", [b"DEPENDENCIES_OUTPUT", b"SUNPRO_DEPENDENCIES"])
def test_environment_that_makes_outputs(name: bytes) -> None:
    assert refused("-c t.c", environment={name: b"x"}) == "unsupported_environment_variable"


def test_the_same_words_mean_the_same_only_to_the_same_compiler_with_the_same_settings() -> None:
    line = "-c t.c -o t.o"
    assert understood(line) == understood(line)
    assert understood(line, driver=b"g++").language == b"c++"
    assert understood(line, CLANG).family is CLANG
    assert understood(line, depend_mode=True).settings.depend_mode
    assert not understood(line).settings.depend_mode
    assert refused(line, environment={b"DEPENDENCIES_OUTPUT": b""})
    assert understood(line).language == b"c"


@pytest.mark.parametrize(
    ("line", "driver", "family", "language"),
    [
        ("-c t.c", b"gcc", GCC, b"c"),
        ("-x none -c t.c", b"g++", GCC, b"c"),
        ("-x c++ -x none -c t.c", b"g++", GCC, b"c"),
        ("-c t.c -x none", b"g++", GCC, b"c++"),
        ("-x none -c t.c", b"clang++", CLANG, b"c++"),
        ("-c t.c", b"g++", GCC, b"c++"),
        ("-c t.c", b"x86_64-linux-gnu-g++-12", GCC, b"c++"),
        ("-c t.i", b"g++", GCC, b"c++-cpp-output"),
        ("-c t.h", b"c++", GCC, b"c++-header"),
        ("-c t.c", b"clang++-14", CLANG, b"c++"),
        ("-c t.c", b"clang", CLANG, b"c"),
        ("-c t.CXX", b"clang", CLANG, b"c++"),
        ("-c t.C", b"gcc", GCC, b"c++"),
        ("-c t.c++", b"gcc", GCC, b"c++"),
        ("-c t.ii", b"gcc", GCC, b"c++-cpp-output"),
        ("-c t.m", b"gcc", GCC, b"objective-c"),
        ("-c t.mm", b"gcc", GCC, b"objective-c++"),
        ("-c t.M", b"gcc", GCC, b"objective-c++"),
        ("-c t.s", b"gcc", GCC, b"assembler"),
        ("-c t.S", b"gcc", GCC, b"assembler-with-cpp"),
        ("-c t.sx", b"gcc", GCC, b"assembler-with-cpp"),
        ("-c t.h", b"gcc", GCC, b"c-header"),
        ("-c t.hpp", b"gcc", GCC, b"c++-header"),
        ("-x c -c t.ccc", b"gcc", GCC, b"c"),
        ("-xc -c t.ccc", b"gcc", GCC, b"c"),
        ("--language=c -c t.ccc", b"gcc", GCC, b"c"),
        ("--language c -c t.ccc", b"gcc", GCC, b"c"),
        ("-x assembler -x none -c t.c", b"gcc", GCC, b"c"),
        ("-c t.c -x c++", b"gcc", GCC, b"c"),
        ("-x c -c /dev/null", b"gcc", GCC, b"c"),
        ("-c -fthinlto-index=t.bc t.o", b"clang", CLANG, b"ir"),
    ],
)
def test_language(line: str, driver: bytes, family: Family, language: bytes) -> None:
    assert understood(line, family, driver=driver).language == language


@pytest.mark.parametrize(
    ("line", "action", "output"),
    [
        ("-c t.c", Action.COMPILE, b"t.o"),
        ("-c src/t.x.c", Action.COMPILE, b"t.x.o"),
        ("-c t.c -o d/x", Action.COMPILE, b"d/x"),
        ("-c t.c -od/x", Action.COMPILE, b"d/x"),
        ("-c t.c -odir", Action.COMPILE, b"dir"),
        ("-c t.c -optf", Action.COMPILE, b"ptf"),
        ("-c t.c -o a -o b", Action.COMPILE, b"b"),
        ("-c t.c --output=x", Action.COMPILE, b"x"),
        ("--compile t.c --output x", Action.COMPILE, b"x"),
        ("-S t.c", Action.ASSEMBLE, b"t.s"),
        ("-S -c t.c", Action.ASSEMBLE, b"t.s"),
        ("-c -S t.c", Action.ASSEMBLE, b"t.s"),
        ("--assemble t.c", Action.ASSEMBLE, b"t.s"),
        ("-fsyntax-only -S t.c", Action.SYNTAX, None),
        ("-c -fsyntax-only t.c -o x", Action.SYNTAX, None),
        ("-x c -c src/foo", Action.COMPILE, b"foo.o"),
        ("-x c -c src/foo.", Action.COMPILE, b"foo.o"),
        ("-c src/t.h", Action.COMPILE, b"src/t.h.gch"),
        ("t.h", Action.COMPILE, b"t.h.gch"),
        ("t.h -o pch.gch", Action.COMPILE, b"pch.gch"),
    ],
)
def test_primary_output(line: str, action: Action, output: bytes | None) -> None:
    invocation = understood(line)
    assert (invocation.action, invocation.output) == (action, output)


@pytest.mark.parametrize("option", ["-emit-llvm", "-S -emit-llvm"])
def test_clang_bitcode_has_its_own_suffix(option: str) -> None:
    suffix = b".ll" if option.startswith("-S") else b".bc"
    assert understood(f"-c t.c {option}", CLANG).output == b"t" + suffix


@pytest.mark.parametrize(
    ("words", "in_key"),
    [
        ("-O2", ["-O2"]),
        ("-Ix", ["(-Ix)"]),
        ("-I x", ["(-I x)"]),
        ("--include-directory=x", ["(--include-directory=x)"]),
        ("-DX -D Y -UZ", ["(-DX)", "(-D Y)", "(-UZ)"]),
        ("--define-macro X", ["(--define-macro X)"]),
        ("-include x.h -imacros y.h", ["(-include x.h)", "(-imacros y.h)"]),
        ("-isystemx -iquote y -idirafter z", ["(-isystemx)", "(-iquote y)", "(-idirafter z)"]),
        ("-nostdinc -nostdinc++", ["(-nostdinc)", "(-nostdinc++)"]),
        ("--sysroot=/s --sysroot /s", ["--sysroot=/s", "--sysroot /s"]),
        ("-isysroot/s", ["(-isysroot/s)"]),
        ("--param x=y --param=x=y", ["--param x=y", "--param=x=y"]),
        ("-A x -G 8 -e main", ["-A x", "-G 8", "-e main"]),
        ("-trigraphs -remap", ["-trigraphs", "-remap"]),
        ("-fverbose-asm", ["-fverbose-asm", "-c -fverbose-asm t.c"]),
        ("-u x -z y -T z", ["-u x", "-z y", "-T z"]),
        ("-Wp,-DFOO", ["-Xpreprocessor -DFOO"]),
        ("-Xpreprocessor -DFOO", ["-Xpreprocessor -DFOO"]),
        ("-Wp,-P -P", ["-Wp,-P", "-P"]),
        ("-Wp,-MD,x.d", []),
        ("-MD -MFx.d -MT a -MQb -MP", []),
        ("-MD -MF /dev/null", ["-MD -MF /dev/null"]),
        ("-MF x.d", ["-MF x.d"]),
        ("-Wa,-a=x.lst,-L", ["-Wa,-a,-L"]),
        ("-Wa,-ahl -Wa,-R", ["-Wa,-ahl", "-Wa,-R"]),
        ("-Xassembler -a=x.lst", ["-Xassembler -Wa,-a"]),
        ("-ox -o y", []),
        ("-xc", []),
        ("-lfoo -L. -l foo -Wl,-x", []),
        ("-fdiagnostics-color=always", []),
        ("-fcolor-diagnostics", ["-fcolor-diagnostics"]),
        ("t.o libx.a", ["t.o", "libx.a"]),
        ("--ccache-skip -lfoo", ["-lfoo"]),
        ("--ccache-skip x.c", ["x.c"]),
        ("-Werror -Wall", ["-Werror", "-Wall"]),
        ("-B -L -DFOO", ["-B -L", "(-DFOO)"]),
        ("--unheard-of", ["--unheard-of"]),
        ("-frandom-seed=1", ["-frandom-seed=1"]),
    ],
)
def test_words_in_the_key(words: str, in_key: list[str]) -> None:
    key_of_gcc = key(understood(f"-c {words} t.c" if words != "-xc" else "-c -xc t"))
    assert sorted(key_of_gcc) == sorted(in_key)


@pytest.mark.parametrize(
    ("words", "in_key"),
    [
        ("-lfoo -L. -Wl,-x", ["-lfoo", "-L.", "-Wl,-x"]),
        ("-fcolor-diagnostics -fno-color-diagnostics", []),
        ("-Xclang -fcolor-diagnostics", []),
        ("-target x --target=x -mllvm -y", ["-target x", "--target=x", "-mllvm -y"]),
        ("-arch x86_64 -Xarch_x86_64 -O3", ["-arch x86_64", "-Xarch_x86_64 -O3"]),
        ("--serialize-diagnostics x.dia", ["--serialize-diagnostics"]),
        ("-Xclang -load -Xclang x.so", ["-Xclang -load", "-Xclang x.so"]),
        ("-MD -MMD", ["-MD -MMD"]),
        ("--", ["--"]),
    ],
)
def test_words_in_the_key_for_clang(words: str, in_key: list[str]) -> None:
    assert sorted(key(understood(f"-c {words} t.c", CLANG))) == sorted(in_key)


def test_other_compilers_are_asked_about_colour_themselves() -> None:
    invocation = understood("-c t.c -fcolor-diagnostics", OTHER)
    assert key(invocation) == ["-fcolor-diagnostics"]
    assert invocation.color is None


def test_late_language_is_in_the_key_because_clang_warns() -> None:
    assert key(understood("-c t.c -x c++", CLANG)) == ["-x c++"]


def test_ignored_options_are_in_no_key() -> None:
    patterns = (b"-DTEST=1*", b"-fx")
    ignored = "-c -DTEST=12 -fx -fxy -DTEST=2 t.c"
    assert key(understood(ignored, ignore_options=patterns)) == ["-fxy", "(-DTEST=2)"]


def test_ignored_options_are_not_interpreted() -> None:
    assert understood("-c -save-temps t.c", ignore_options=(b"-save-temps",)).direct


def test_skipped_word_reaches_the_compiler_without_the_marker() -> None:
    assert understood("-c --ccache-skip -save-temps t.c").args == (b"-c", b"-save-temps", b"t.c")


def test_random_seed_leaves_the_key_when_sloppy() -> None:
    sloppy = frozenset({"random_seed"})
    assert key(understood("-c t.c -frandom-seed=1", sloppiness=sloppy)) == []


def test_index_store_leaves_the_key_when_sloppy() -> None:
    sloppy = frozenset({"clang_index_store"})
    assert key(understood("-index-store-path foo -c t.c", CLANG, sloppiness=sloppy)) == []


def test_whole_command_line_is_in_the_key_when_the_object_records_it() -> None:
    invocation = understood("-frecord-gcc-switches -c t.c -o x.o")
    assert key(invocation)[-1] == "-frecord-gcc-switches -c t.c -o x.o"
    assert invocation.records_command_line
    assert invocation.object_name_sensitive


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-c t.c", "-E t.c"),
        ("-c t.c -o x.o -O2", "-E t.c -O2"),
        ("-c -x c t -x none", "-E -x c t -x none"),
        ("-c -Werror -rdynamic t.c", "-E t.c"),
        ("-MD -MF x.d -MT y -MP -c t.c -P -Wp,-P", "-E t.c"),
        ("-Wp,-MMD,x.d,-DX -c t.c", "-E t.c -Xpreprocessor -DX"),
        ("-c t.c -Wa,-a -Xassembler x -Wl,y -Xlinker z -lw -L.", "-E t.c"),
        ("-S -I x -Iy t.c -g -std=c11", "-E -I x -Iy t.c -g -std=c11"),
        ("-fsyntax-only t.c -finput-charset=latin1", "-E t.c -finput-charset=latin1"),
        ("-c --ccache-skip --x t.c", "-E --x t.c"),
        ("-c t.c -fdiagnostics-color", "-E t.c"),
        ("--compile --include-directory=x --output=y t.c", "-E --include-directory=x t.c"),
    ],
)
def test_words_for_the_preprocessor(line: str, expected: str) -> None:
    assert b" ".join(understood(line).preprocess_args()).decode() == expected


def test_double_dash_stays_before_the_source() -> None:
    assert understood("-c -- t.c", CLANG).preprocess_args() == (b"-E", b"--", b"t.c")


def test_after_double_dash_every_word_is_a_file() -> None:
    assert understood("-c -- -t.c", CLANG).source == b"-t.c"


def test_clang_options_take_no_value_from_gcc() -> None:
    # gcc reads -undefined as -u ndefined, and a.c as another source.
    assert refused("-c -undefined a.c t.c") == "multiple_source_files"
    assert understood("-c -undefined a.c t.c", CLANG).source == b"t.c"


def test_paths_are_rewritten_in_every_spelling() -> None:
    line = (
        "-I/b/i -I /b/j --include-directory=/b/k -include/b/x.h --sysroot=/b/s --sysroot /b/s "
        "-fprofile-use=/b/p -c /b/t.c -o /b/t.o -MD -MF /b/t.d -L/b -DX=/b -isystem=/b/s -B/b/bin"
    )
    invocation = rewrite(
        understood(line), lambda path: path.replace(b"/b/", b"") if path[:1] == b"/" else path
    )
    assert b" ".join(invocation.args).decode() == (
        "-Ii -I j --include-directory=k -includex.h --sysroot=s --sysroot s "
        "-fprofile-use=p -c t.c -o /b/t.o -MD -MF /b/t.d -L/b -DX=/b -isystem=/b/s -Bbin"
    )
    assert invocation.include.angle == (b"i", b"j", b"k")
    assert invocation.source == b"t.c"


def test_rewriting_leaves_names_of_outputs() -> None:
    before = understood("-c /b/src/t.c -MD -g -gsplit-dwarf")
    after = rewrite(before, lambda path: b"../" + path.rpartition(b"/")[2])
    assert (after.output, after.outputs, after.dependencies) == (
        before.output,
        before.outputs,
        before.dependencies,
    )


def test_rewriting_keeps_the_skipped_word_skipped() -> None:
    before = understood("--ccache-skip -save-temps -c /b/t.c")
    after = rewrite(before, lambda path: path.replace(b"/b/", b""))
    assert after.source == b"t.c"
    assert after.args == (b"-save-temps", b"-c", b"t.c")


def test_other_familys_rules_on_second_thought() -> None:
    first = understood("--ccache-skip -save-temps -c t.c -MD -o d/.o --coverage")
    again = reread(first, CLANG)
    assert isinstance(again, Invocation)
    assert b"-save-temps" in again.args
    assert (first.outputs[1].path, again.outputs[1].path) == (b"d/.o.gcno", b"d/.gcno")


def test_source_index_points_at_the_source() -> None:
    invocation = understood("--ccache-skip -x -c t.c -O2")
    assert invocation.args[invocation.source_index] == b"t.c"


def test_names_that_are_not_text() -> None:
    invocation = understood([b"-c", b"\xff \n.c", b"-I\xfe", b"-MD"])
    assert invocation.output == b"\xff \n.o"
    assert invocation.include.angle == (b"\xfe",)


WORDS = st.one_of(
    st.sampled_from([name for name in options.OPTIONS if name != b"--ccache-skip"]),
    st.sampled_from([b"t.c", b"u.cc", b"x.o", b"-c", b"-o", b"-x", b"c", b"-", b"", b"--", b"-g"]),
    st.sampled_from(list(options.OPTIONS)).flatmap(
        lambda name: st.binary(max_size=4).map(lambda value: name + value)
    ),
    st.binary(max_size=6),
)


@given(args=st.lists(WORDS, max_size=8), family=st.sampled_from(Family))
def test_no_command_line_raises(args: list[bytes], family: Family) -> None:
    result = read([*args, b"-c", b"t.c"], family)
    if isinstance(result, Invocation):
        assert list(result.args) == [w for w in [*args, b"-c", b"t.c"] if w != b"--ccache-skip"]
        assert result.args[result.source_index] == result.source


@given(args=st.lists(WORDS, max_size=6), family=st.sampled_from(Family))
def test_words_are_cut_without_loss(args: list[bytes], family: Family) -> None:
    cut = [word for piece in options.words(args) for word in piece.words]
    assert cut == args


@given(value=st.binary(min_size=1, max_size=8))
def test_unknown_option_is_in_every_key(value: bytes) -> None:
    word = b"-funheard-of" + value
    invocation = understood([b"-c", b"t.c", word])
    assert [(arg.words, arg.scope) for arg in invocation.key_args] == [((word,), Scope.BOTH)]
    assert word in invocation.preprocess_args()
