"""What of directories and output names is in a key: what an output shows, and no more."""

import pytest

from pycc.embedded import embedded, words
from pycc.invocation import Family
from tests.command_lines import CLANG, GCC, understood

CWD, PHYSICAL = b"/w/run", b"/w/run.real"
GCC_12, CLANG_14 = b"gcc version 12.2.0 (Debian)", b"Debian clang version 14.0.6"


def fields(
    line: str,
    family: Family = GCC,
    *,
    cwd: bytes = CWD,
    version: bytes = b"",
    hash_dir: bool = True,
    gcno_cwd: bool = False,
) -> dict[bytes, tuple[bytes, ...]]:
    version = version or (GCC_12 if family is GCC else CLANG_14)
    found = embedded(
        understood(line, family), cwd, PHYSICAL, version, hash_dir=hash_dir, gcno_cwd=gcno_cwd
    )
    return {name: tuple(rest) for name, *rest in found}


@pytest.mark.parametrize(
    ("line", "cwd"),
    [
        ("-g -c a.c", b"/w/run"),
        ("-g -fdebug-prefix-map=/w/run=. -c a.c", b"."),
        ("-g -fdebug-prefix-map=/w=/x -c a.c", b"/x/run"),
        ("-g -ffile-prefix-map=/w=/x -c a.c", b"/x/run"),
        ("-g -fmacro-prefix-map=/w=/x -c a.c", b"/w/run"),
        ("-g -fdebug-prefix-map=/w=/x -fdebug-prefix-map=/w/run=/y -c a.c", b"/w/run"),
        ("-g -fdebug-prefix-map=/other=/x -c a.c", b"/w/run"),
    ],
)
def test_debug_information_shows_the_working_directory_as_prefix_maps_leave_it(
    line: str, cwd: bytes
) -> None:
    assert fields(line) == {b"cwd": (cwd,)}


def test_a_compilation_directory_replaces_the_working_directory() -> None:
    assert fields("-g -fdebug-compilation-dir=here -c a.c", CLANG) == {b"cwd": (b"here",)}


@pytest.mark.parametrize("output", ["x.s", "../out/x.o"])
def test_assembly_names_the_dwo_file_that_will_be_made_of_it(output: str) -> None:
    """gcc -S -gsplit-dwarf -o ../out/x.o writes ../out/x.dwo into it, and makes no such file."""
    assert fields(f"-g -gsplit-dwarf -S a.c -o {output}")[b"dwo"] == (output.encode(),)


def test_hash_dir_false_leaves_the_debug_directory_out() -> None:
    assert fields("-g -c a.c", hash_dir=False) == {}


def test_hash_dir_false_does_not_leave_the_profile_name_out() -> None:
    assert b"profile" in fields("-g -fprofile-arcs -c a.c", hash_dir=False)


def test_notes_show_the_working_directory() -> None:
    assert fields("-ftest-coverage -c a.c")[b"cwd in notes"] == (CWD,)


def test_notes_with_absolute_paths_show_the_physical_directory_too() -> None:
    line = "-ftest-coverage -fprofile-abs-path -c a.c"
    assert fields(line)[b"cwd in notes"] == (CWD, PHYSICAL)


def test_sloppiness_leaves_the_directory_of_notes_out() -> None:
    found = fields("-ftest-coverage -fprofile-abs-path -c a.c", gcno_cwd=True)
    assert found == {b"auxiliary name": (b"a.o",)}


@pytest.mark.parametrize(
    "option", ["-ftest-coverage", "--coverage", "-fprofile-generate", "-fprofile-use=/p/a.gcda"]
)
def test_gcc_numbers_functions_by_the_auxiliary_name(option: str) -> None:
    assert fields(f"{option} -c a.c -o out/b.o")[b"auxiliary name"] == (b"out/b.o",)
    assert b"auxiliary name" not in fields(f"{option} -c a.c -o out/b.o", CLANG)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("-fprofile-arcs -c a.c", b"/w/run/a.o"),
        ("-fprofile-arcs -c a.c -o /o/a.o", b"/o/a.o"),
        ("-fprofile-generate -c a.c", b"/w/run/a.o"),
        ("-fprofile-generate=data -c a.c", b"/w/run/a.o"),
        ("-fprofile-arcs -fprofile-dir=d -fprofile-prefix-path=/w/run -c a.c", b"a.o"),
        ("-fprofile-arcs -fprofile-dir=d -fprofile-prefix-path=/w -c a.c", b"run/a.o"),
        ("-fprofile-arcs -fprofile-dir=d -fprofile-prefix-path=/x -c a.c", b"/w/run/a.o"),
        ("-fprofile-arcs -fprofile-prefix-path=/w/run -c a.c", b"/w/run/a.o"),
        ("-fprofile-arcs -fprofile-dir=d -fprofile-prefix-path=/o -c a.c -o /o/a.o", b"/o/a.o"),
    ],
)
def test_an_instrumented_object_names_its_data_file(line: str, name: bytes) -> None:
    assert fields(line)[b"profile"] == (name,)


def test_clang_names_data_files_only_for_coverage() -> None:
    assert b"profile" in fields("--coverage -c a.c", CLANG)
    assert b"profile" not in fields("-fprofile-instr-generate -c a.c", CLANG)


@pytest.mark.parametrize(
    ("option", "directory"),
    [
        ("", b"/w/run"),
        ("-fcoverage-prefix-map=/w=/x", b"/x/run"),
        ("-fcoverage-compilation-dir=here", b"here"),
        ("-fdebug-prefix-map=/w=/x", b"/w/run"),
    ],
)
def test_clang_profiles_show_the_coverage_directory(option: str, directory: bytes) -> None:
    found = fields(f"-fprofile-instr-generate {option} -c a.c", CLANG)
    assert found == {b"coverage directory": (directory,)}


def test_split_debug_information_names_its_file_as_it_was_given() -> None:
    line = "-g -gsplit-dwarf -fdebug-prefix-map=/w/run=. -c a.c -o /w/run/x.o"
    assert fields(line) == {b"cwd": (b".",), b"dwo": (b"/w/run/x.dwo",)}


def test_split_dwarf_alone_is_no_debug_information_since_gcc_11() -> None:
    assert fields("-gsplit-dwarf -c a.c -o /w/run/x.o") == {b"dwo": (b"x.dwo",)}


@pytest.mark.parametrize("version", [b"gcc version 10.2.1 20210110", b"who knows"])
def test_split_dwarf_alone_is_debug_information_before_gcc_11(version: bytes) -> None:
    found = fields("-gsplit-dwarf -c a.c -o /w/run/x.o", version=version)
    assert found == {b"cwd": (CWD,), b"dwo": (b"/w/run/x.dwo",)}


def test_a_plain_object_shows_nothing() -> None:
    assert fields("-O2 -c a.c -o /w/run/x.o") == {}


def option_words(line: str) -> list[bytes]:
    return [one[0] for one in words(understood(line))]


def test_the_order_of_prefix_maps_that_cannot_meet_is_no_difference() -> None:
    one, other = "-ffile-prefix-map=/a=x", "-fdebug-prefix-map=/b=y"
    assert option_words(f"{one} {other} -c a.c") == option_words(f"{other} {one} -c a.c")


def test_the_order_of_prefix_maps_that_begin_alike_is_a_difference() -> None:
    one, other = "-ffile-prefix-map=/a=x", "-fdebug-prefix-map=/a/b=y"
    assert option_words(f"{one} {other} -c a.c") != option_words(f"{other} {one} -c a.c")


@pytest.mark.parametrize(
    ("line", "there"),
    [
        ("-fprofile-arcs -fprofile-dir=d -fprofile-prefix-path=/w -c a.c", False),
        ("-fprofile-arcs -fprofile-dir=d -fprofile-prefix-path=/w -g -c a.c", True),
        ("-fprofile-arcs -fprofile-prefix-path=/w -c a.c", True),
    ],
)
def test_a_profile_prefix_counts_by_its_effect_unless_options_are_recorded(
    line: str, there: bool
) -> None:
    assert (b"-fprofile-prefix-path=/w" in option_words(line)) is there
