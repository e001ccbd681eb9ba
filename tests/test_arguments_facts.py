"""Command lines: the facts about them that the rest of the program asks for."""

import pytest

from pycc.arguments import Family
from pycc.invocation import Debug, InputFile, Kind, PrefixMap
from tests.command_lines import CLANG, GCC, key, refused, understood

DEPENDENCIES = [
    # line, path, system, targets, default target
    ("-MD", b"t.d", True, [], b"t.o"),
    ("-MMD", b"t.d", False, [], b"t.o"),
    ("-MMD -MD", b"t.d", False, [], b"t.o"),
    ("-MD -o d/x.y", b"d/x.d", True, [], b"d/x.y"),
    ("-MD -o d/x", b"d/x.d", True, [], b"d/x"),
    ("-MD -o d/.o", b"d/.d", True, [], b"d/.o"),
    ("-MD -MF a.d -MF b.d", b"b.d", True, [], b"t.o"),
    ("-MFa.d -MMD", b"a.d", False, [], b"t.o"),
    ("-MD -MF a.d -o x.o", b"a.d", True, [], b"x.o"),
    ("-Wp,-MD,a.d", b"a.d", True, [], b"t.o"),
    ("-Wp,-MMD,a.d -o x.o", b"a.d", False, [], b"t.o"),
    ("-MMD -Wp,-MD,a.d -o x.o", b"a.d", True, [], b"x.o"),
    ("-Wp,-MMD,a.d -Wp,-MD,b.d", b"b.d", True, [], b"t.o"),
    ("-Wp,-MMD,a.d,-MT,foo", b"a.d", False, [(b"foo", False)], b"t.o"),
    ("-Xpreprocessor -MD -Xpreprocessor a.d", b"a.d", True, [], b"t.o"),
    ("-MD -MQ b -MTa", b"t.d", True, [(b"a", False), (b"b", True)], b"t.o"),
    ("-MD -Wp,-MT,a -MT b", b"t.d", True, [(b"b", False), (b"a", False)], b"t.o"),
    ("-MD -o x.o -Wp,-MT,a", b"x.d", True, [(b"a", False), (b"x.o", True)], b"x.o"),
    ("--write-dependencies -o x.o", b"x.d", True, [], b"x.o"),
    ("-S -MD", b"t.d", True, [], b"t.o"),
    ("-fsyntax-only -MD -MF a.d", b"a.d", True, [], b"t.o"),
]


@pytest.mark.parametrize(("line", "path", "system", "targets", "default"), DEPENDENCIES)
def test_dependency_file_of_gcc(
    line: str, path: bytes, system: bool, targets: list[tuple[bytes, bool]], default: bytes
) -> None:
    found = understood(f"-c t.c {line}").dependencies
    assert found is not None
    assert (found.path, found.system) == (path, system)
    assert (list(found.targets), found.default_target) == (targets, default)


@pytest.mark.parametrize(
    ("line", "path", "system", "targets", "default"),
    [
        ("-MD -o d/x.y", b"d/x.d", True, [], b"d/x.y"),
        ("-MD -MMD", b"t.d", False, [], b"t.o"),
        ("-Wp,-MD,a.d -o x.o", b"a.d", True, [], b"x.o"),
        ("-Wp,-MMD,a.d,-MT,foo -o x.o", b"x.d", False, [], b"x.o"),
        ("-MD -MQ b -MT a", b"t.d", True, [(b"b", True), (b"a", False)], b"t.o"),
        ("-fsyntax-only -MD", b"t.d", True, [], b"t.o"),
    ],
)
def test_dependency_file_of_clang(
    line: str, path: bytes, system: bool, targets: list[tuple[bytes, bool]], default: bytes
) -> None:
    found = understood(f"-c t.c {line}", CLANG).dependencies
    assert found is not None
    assert (found.path, found.system) == (path, system)
    assert (list(found.targets), found.default_target) == (targets, default)


@pytest.mark.parametrize("line", ["-MF x.d", "-MD -MF /dev/null", "-MT x", "-Wp,-MD,/dev/null"])
def test_no_dependency_file(line: str) -> None:
    assert understood(f"-c t.c {line}").dependencies is None


@pytest.mark.parametrize("source", ["t.s", "t.i", "t.ii"])
def test_preprocessed_sources_have_no_dependency_file(source: str) -> None:
    assert understood(f"-c {source} -MD").dependencies is None


def test_phony_and_generated_are_part_of_the_request() -> None:
    found = understood("-c t.c -MD -MP -Wp,-MG").dependencies
    assert found is not None
    assert (found.phony, found.generated) == (True, True)


@pytest.mark.parametrize(
    ("words", "direct"),
    [
        ("-Wp,-DX", True),
        ("-Wp,-UX,-DX=2", True),
        ("-Wp,-MD,x.d", True),
        ("-Wp,-MP -MD", True),
        ("-Wp,-P", True),
        ("-Xpreprocessor -fopenmp", True),
        ("-Xpreprocessor -DX", False),
        ("-Wp,-I,x", False),
        ("-Wp,-MMD,x.d,-MT,y", False),
    ],
)
def test_direct_mode_needs_to_understand_the_preprocessors_words(words: str, direct: bool) -> None:
    assert understood(f"-c t.c {words}").direct is direct


@pytest.mark.parametrize(
    ("options", "debug", "level3"),
    [
        ("", Debug.NONE, False),
        ("-g", Debug.FULL, False),
        ("-g -g0", Debug.NONE, False),
        ("-g0 -g", Debug.FULL, False),
        ("-ggdb0", Debug.NONE, False),
        ("-g1", Debug.LINES, False),
        ("-gmlt", Debug.LINES, False),
        ("-gline-tables-only", Debug.LINES, False),
        ("-g3", Debug.FULL, True),
        ("-ggdb3", Debug.FULL, True),
        ("-g3 -g", Debug.FULL, True),
        ("-g3 -g2", Debug.FULL, False),
        ("-gdwarf-4", Debug.FULL, False),
        ("-g1 -gdwarf-5", Debug.FULL, False),
        ("-gz", Debug.NONE, False),
        ("-gz=zlib", Debug.NONE, False),
        ("-gno-column-info", Debug.NONE, False),
        ("-grecord-gcc-switches", Debug.NONE, False),
        ("-gsplit-dwarf", Debug.FULL, False),
        ("-gunheard-of", Debug.FULL, False),
        ("--debug", Debug.FULL, False),
        ("--debug=0", Debug.NONE, False),
        ("-gcc-toolchain /x", Debug.FULL, False),
    ],
)
def test_debug_level(options: str, debug: Debug, level3: bool) -> None:
    invocation = understood(f"-c t.c {options}".replace("/x", "x.o"))
    assert (invocation.debug, invocation.debug_level3) == (debug, level3)
    assert invocation.cwd_sensitive is (debug is not Debug.NONE)


def test_last_debug_option_decides_for_clang() -> None:
    assert not understood("-c t.c -g3 -g", CLANG).debug_level3


def test_toolchain_option_is_no_debug_option() -> None:
    assert understood("-c t.c -gcc-toolchain /x", CLANG).debug is Debug.NONE


def test_column_info() -> None:
    assert understood("-c t.c -g").column_info
    assert not understood("-c t.c -g -gno-column-info").column_info


@pytest.mark.parametrize(
    ("options", "sanitize"),
    [
        ("-fsanitize=address", True),
        ("-fsanitize=address,undefined -fno-sanitize=address", True),
        ("-fsanitize=address -fno-sanitize=address", False),
        ("-fsanitize=address,leak -fno-sanitize=all", False),
        ("-fno-sanitize=all -fsanitize=leak", True),
        ("-fsanitize-recover=all", False),
        ("-fsanitize-coverage=trace-pc", True),
    ],
)
def test_sanitize(options: str, sanitize: bool) -> None:
    assert understood(f"-c t.c {options}").sanitize is sanitize


@pytest.mark.parametrize(
    ("options", "lto"),
    [
        ("-flto", True),
        ("-flto=auto", True),
        ("-flto -fno-lto", False),
        ("-fno-lto -flto", True),
        ("-flto-partition=none", False),
    ],
)
def test_lto(options: str, lto: bool) -> None:
    assert understood(f"-c t.c {options}").lto is lto


@pytest.mark.parametrize(
    ("options", "color"),
    [
        ("", None),
        ("-fdiagnostics-color", True),
        ("-fdiagnostics-color=always", True),
        ("-fdiagnostics-color=never", False),
        ("-fno-diagnostics-color", False),
        ("-fdiagnostics-color=always -fdiagnostics-color=auto", None),
    ],
)
def test_colour_wish(options: str, color: bool | None) -> None:
    assert understood(f"-c t.c {options}").color is color


@pytest.mark.parametrize("option", ["-fcolor-diagnostics", "-Xclang -fcolor-diagnostics"])
def test_colour_wish_of_clang(option: str) -> None:
    assert understood(f"-c t.c {option}", CLANG).color is True


@pytest.mark.parametrize(
    ("option", "structured"),
    [
        ("-fdiagnostics-format=json", True),
        ("-fdiagnostics-format=text", False),
        ("-fdiagnostics-parseable-fixits", True),
        ("-fdiagnostics-show-option", False),
    ],
)
def test_diagnostics_that_show_columns(option: str, structured: bool) -> None:
    assert understood(f"-c t.c {option}").structured_diagnostics is structured


@pytest.mark.parametrize(
    ("option", "warnings"),
    [("-Wall", True), ("-pedantic", True), ("--all-warnings", True), ("-Wno-unused", False)]
    + [(option, False) for option in ("-w", "-Wa,x", "-Wl,x", "-Wp,-DX")],
)
def test_warnings(option: str, warnings: bool) -> None:
    assert understood(f"-c t.c {option}").warnings is warnings


def test_native_words_are_collected() -> None:
    found = understood("-c t.c -march=native -mtune=native -mcpu=native -march=x86-64").native
    assert found == (b"-march=native", b"-mtune=native", b"-mcpu=native")


def test_long_form_of_native() -> None:
    assert understood("-c t.c --machine=arch=native").native == (b"-march=native",)


def test_include_path_is_kept_by_kind_and_in_order() -> None:
    found = understood(
        "-c t.c -Ia -I b -iquotec -isystem d -idirafter e --include-directory f -include x.h "
        "-imacros y.h --include=z.h -cxx-isystemg",
        CLANG,
    ).include
    assert found.angle == (b"a", b"b", b"f")
    assert (found.quote, found.system, found.after) == ((b"c",), (b"d",), (b"e",))
    assert found.cxx_system == (b"g",)
    assert found.forced == ((b"-include", b"x.h"), (b"-imacros", b"y.h"), (b"-include", b"z.h"))


@pytest.mark.parametrize(
    "words",
    [
        "--sysroot=/s",
        "--sysroot /s",
        "-isysroot /s",
        "-nostdinc",
        "-nostdinc++",
        "-m32",
        "-march=armv7-a",
        "-iprefix x",
        "-iwithprefix x",
        "-iwithprefixbeforex",
        "-imultilib x",
        "-B/x",
        "-specs=x",
        "--gcc-toolchain=/x",
        "-remap",
        "-F x",
        "--no-standard-includes",
    ],
)
def test_words_that_move_the_built_in_search_path(words: str) -> None:
    assert understood(f"-c t.c {words}").include.special == tuple(words.encode().split())


@pytest.mark.parametrize("words", ["-std=c++20", "-O2", "-Ix", "-g", "-mtune=native", "-DX"])
def test_words_that_leave_the_built_in_search_path(words: str) -> None:
    assert understood(f"-c t.c {words}").include.special == ()


@pytest.mark.parametrize(
    ("option", "role", "path"),
    [
        ("-specs=x", b"specs", b"x"),
        ("--specs x", b"specs", b"x"),
        ("-fsanitize-ignorelist=x", b"sanitize-ignorelist", b"x"),
        ("-fsanitize-blacklist=x", b"sanitize-ignorelist", b"x"),
        ("-frandomize-layout-seed-file=x", b"randomize-layout-seed", b"x"),
        ("-fplugin=x.so", b"plugin", b"x.so"),
        ("--warning-suppression-mappings=x", b"warning-suppression-mappings", b"x"),
        ("-fbuild-session-file=x", b"build-session", b"x"),
        ("-fmodule-file=x", b"module", b"x"),
        ("-fmodule-file=name=x", b"module", b"x"),
        ("--config=/x", b"config", b"/x"),
        ("-Xclang -load -Xclang x", b"plugin", b"x"),
    ],
)
def test_files_that_are_part_of_the_key(option: str, role: bytes, path: bytes) -> None:
    assert understood(f"-c t.c {option}", CLANG).input_files == (InputFile(role, path),)


@pytest.mark.parametrize(
    ("line", "family", "paths"),
    [
        ("-fprofile-use", GCC, [b"t.gcda"]),
        ("-fbranch-probabilities -o d/x.o", GCC, [b"d/x.gcda"]),
        ("-fprofile-use=p", GCC, [b"p/#w#t.gcda", b"p/t.gcda", b"p"]),
        ("-fprofile-use -fprofile-dir=p", GCC, [b"p/#w#t.gcda", b"p/t.gcda", b"p"]),
        ("-fprofile-use=p -fprofile-prefix-path=/w", GCC, [b"p/t.gcda", b"p/t.gcda", b"p"]),
        ("-fauto-profile", GCC, [b"fbdata.afdo"]),
        ("-fauto-profile=x", GCC, [b"x"]),
        ("-fprofile-use", CLANG, [b"default.profdata"]),
        ("-fprofile-instr-use=p", CLANG, [b"p", b"p/default.profdata"]),
        ("-fprofile-sample-use=p", CLANG, [b"p", b"p/default.profdata"]),
    ],
)
def test_where_profile_data_is_looked_for(line: str, family: Family, paths: list[bytes]) -> None:
    invocation = understood(f"-c t.c {line}", family)
    assert [(file.role, file.path) for file in invocation.input_files] == [
        (b"profile", path) for path in paths
    ]
    assert invocation.profile.use


def test_instrumentation() -> None:
    invocation = understood("-c t.c --coverage -fprofile-prefix-path=/w -fprofile-dir=d")
    assert invocation.coverage
    assert invocation.profile.arcs
    assert (invocation.profile.prefix_path, invocation.profile.directory) == (b"/w", b"d")
    assert invocation.cwd_sensitive
    assert invocation.object_name_sensitive


def test_profile_directory_adds_the_mangled_name_of_older_gcc() -> None:
    outputs = understood("-c t.c --coverage -fprofile-dir=d -o x/t.o").outputs
    assert [(one.kind, one.path, one.optional) for one in outputs] == [
        (Kind.COVERAGE_NOTES, b"x/t.gcno", True),
        (Kind.COVERAGE_NOTES_MANGLED, b"#w#x#t.gcno", True),
    ]


def test_split_dwarf_without_debug_is_optional_for_clang() -> None:
    (output,) = understood("-c t.c -gsplit-dwarf", CLANG).outputs
    assert output.optional


def test_listing_on_standard_output_is_no_file() -> None:
    invocation = understood("-c t.c -Wa,-a")
    assert (invocation.assembler_listing, invocation.outputs) == (b"", ())


def test_prefix_maps_are_kept_in_order() -> None:
    invocation = understood(
        "-c t.c -g -fdebug-prefix-map=a=b -ffile-prefix-map=c=d=e -fprofile-prefix-map=f=g"
    )
    assert invocation.prefix_maps == (
        PrefixMap(b"debug", b"a", b"b"),
        PrefixMap(b"file", b"c", b"d=e"),
        PrefixMap(b"profile", b"f", b"g"),
    )


@pytest.mark.parametrize(
    ("option", "debug", "coverage"),
    [
        ("-fdebug-compilation-dir=x", b"x", None),
        ("-fdebug-compilation-dir x", b"x", None),
        ("-fcoverage-compilation-dir=x", None, b"x"),
        ("-ffile-compilation-dir=x", b"x", b"x"),
    ],
)
def test_compilation_directories(option: str, debug: bytes | None, coverage: bytes | None) -> None:
    invocation = understood(f"-c t.c {option}", CLANG)
    found = (invocation.debug_compilation_dir, invocation.coverage_compilation_dir)
    assert found == (debug, coverage)


@pytest.mark.parametrize("line", ["-c t.h", "-x c-header -c t.c", "-c t.c -o t.h.gch/foo"])
def test_making_a_precompiled_header_needs_sloppiness(line: str) -> None:
    assert refused(line, sloppiness=frozenset()) == "could_not_use_precompiled_header"
    assert understood(line).generates_pch


@pytest.mark.parametrize("line", ["-fpch-preprocess", "-include-pch x.pch"])
def test_using_a_precompiled_header_needs_sloppiness(line: str) -> None:
    line = f"-c t.c {line}"
    assert refused(line, CLANG, sloppiness=frozenset()) == "could_not_use_precompiled_header"
    assert understood(line, CLANG).uses_pch


def test_forced_headers_may_have_precompiled_ones() -> None:
    invocation = understood("-c t.c -include d/x.h")
    assert not invocation.uses_pch
    assert invocation.pch_candidates == (b"d/x.h.gch", b"d/x.h.pch", b"d/x.h.pth")


def test_precompiled_header_by_way_of_xclang() -> None:
    line = "-Xclang -include-pch -Xclang x.h.pch -Xclang -include -Xclang x.h -c t.c"
    invocation = understood(line, CLANG)
    assert invocation.uses_pch
    assert invocation.include.forced == ((b"-include-pch", b"x.h.pch"), (b"-include", b"x.h"))


def test_emit_pch_is_kept_from_the_preprocessor() -> None:
    invocation = understood("-Xclang -emit-pch -o x.h.pch -c x.h", CLANG)
    assert invocation.preprocess_args() == (b"-E", b"x.h")
    assert key(invocation) == ["-Xclang -emit-pch"]


def test_modules_with_clang_in_sloppy_depend_mode() -> None:
    sloppy = frozenset({"modules"})
    line = "-c -x c++ t.cc -fmodules"
    assert understood(line, CLANG, sloppiness=sloppy, depend_mode=True)
    assert refused(line, CLANG, sloppiness=sloppy) == "could_not_use_modules"
    assert refused(line, GCC, sloppiness=sloppy, depend_mode=True) == "could_not_use_modules"
