"""Calls from request to reply with a real gcc: outcome vectors, objects, commands that ran."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pycc import compile as compiling
from pycc import native
from pycc.cache.digest import digest_of
from pycc.frame import Exec, Exit, Fallback, Out, Report, Run, Write
from pycc.outcome import Outcome
from pycc.resident import Resident
from pycc.sidefiles import mangle
from pycc.talk import Gone, LoopTalk, NotHere
from tests.compile_kit import GCC, Bench, Launcher, request_of

MISS = {
    "cache_miss": 1,
    "direct_cache_miss": 1,
    "preprocessed_cache_miss": 1,
    "local_storage_miss": 1,
    "local_storage_read_miss": 2,
    "local_storage_write": 2,
}
CHANGED = {**MISS, "local_storage_read_hit": 1, "local_storage_read_miss": 1}
"""A miss whose manifest was found."""
DIRECT_HIT = {"direct_cache_hit": 1, "local_storage_hit": 1, "local_storage_read_hit": 2}
TEXT_HIT = {
    "preprocessed_cache_hit": 1,
    "direct_cache_miss": 1,
    "local_storage_hit": 1,
    "local_storage_read_hit": 2,
    "local_storage_write": 1,
}


NEW_TEXT_HIT = {**TEXT_HIT, "local_storage_read_hit": 1, "local_storage_read_miss": 1}
"""One whose manifest was not there, because the source is another."""


@pytest.fixture(scope="module")
def resident() -> Iterator[Resident]:
    """One server's memory for all tests, so that gcc is asked once what it is."""
    resident = Resident()
    yield resident
    resident.close()


@pytest.fixture
def bench(tmp_path: Path, resident: Resident) -> Bench:
    bench = Bench(tmp_path, resident).setup()
    bench.file("a.c", '#include "h.h"\nint x = V;\n')
    bench.file("h.h", "#define V 1\n")
    bench.file("bad.c", "int x = ;\n")
    bench.file("main.c", "int main(void) { return 0; }\n")
    bench.file("time.c", "const char *t = __TIME__;\n")
    bench.file("date.c", "const char *t = __DATE__;\n")
    bench.file("off.c", "/* ccache:disable */ int x;\n")
    bench.file("warn.c", "int f(void) { int unused; return 0; }\n")
    bench.file("out/file", "")
    return bench


def plainly(bench: Bench, line: str, output: str) -> bytes:
    """What gcc itself makes of the line."""
    words = line.replace("OUT", f"plain/{output}").split()
    (bench.cwd / "plain").mkdir(exist_ok=True)
    subprocess.run([GCC, *words], cwd=bench.cwd, check=True, capture_output=True)
    return (bench.cwd / "plain" / output).read_bytes()


def compilers_run(bench: Bench) -> int:
    """Commands of the last call that were no questions about the compiler itself."""
    asked = (b"-print-search-dirs", b"-print-prog-name=as", b"/dev/null")
    return sum(not any(word in asked for word in c.argv) for c in bench.commands)


Row = tuple[str, dict[str, str], dict[str, int], dict[str, int]]


def twice(line: str, settings: dict[str, str], outcome: dict[str, int]) -> Row:
    return line, settings, outcome, outcome


# One call each, then the same call again.

TWICE: list[Row] = [
    ("-c a.c -o a.o", {}, MISS, DIRECT_HIT),
    ("-S a.c -o a.s", {}, MISS, DIRECT_HIT),
    ("-c -MD a.c -o a.o", {}, MISS, DIRECT_HIT),
    ("-c -MMD a.c -o a.o", {}, MISS, DIRECT_HIT),
    ("-c -MD -MF /dev/null a.c -o a.o", {}, MISS, DIRECT_HIT),
    ("-c -g a.c -o a.o", {}, MISS, DIRECT_HIT),
    ("-c date.c", {}, MISS, DIRECT_HIT),
    ("-fsyntax-only a.c", {}, MISS, DIRECT_HIT),
    ("-c a.c", {"PREPROCESS_FIRST": "1"}, MISS, DIRECT_HIT),
    ("-c a.c", {"NAMESPACE": "n", "COMPRESSLEVEL": "5"}, MISS, DIRECT_HIT),
    (
        "-c a.c",
        {"NODIRECT": "1"},
        {
            "cache_miss": 1,
            "preprocessed_cache_miss": 1,
            "local_storage_miss": 1,
            "local_storage_read_miss": 1,
            "local_storage_write": 1,
        },
        {"preprocessed_cache_hit": 1, "local_storage_hit": 1, "local_storage_read_hit": 1},
    ),
    (
        "-c -MD a.c",
        {"DEPEND": "1"},
        {
            **{name: count for name, count in MISS.items() if name != "preprocessed_cache_miss"},
            "local_storage_read_miss": 1,
        },
        DIRECT_HIT,
    ),
    twice("-c a.c", {"RECACHE": "1"}, {"recache": 1, "local_storage_write": 2}),
    twice(
        "-c a.c",
        {"READONLY": "1"},
        {"cache_miss": 1, "direct_cache_miss": 1, "preprocessed_cache_miss": 1},
    ),
    twice("-c a.c", {"READONLY_DIRECT": "1"}, {"cache_miss": 1, "direct_cache_miss": 1}),
    ("-c a.c", {"DISABLE": "1"}, {}, {}),
    ("-c a.c", {"NOSTATS": "1"}, {}, {}),
    twice("main.c -o main", {"NOSPLIT_COMMANDS": "1"}, {"called_for_link": 1}),
    ("main.c -o main", {}, MISS, DIRECT_HIT),
    twice("-flto main.c -o main", {}, {"called_for_link": 1}),
    twice("main.o -o main", {}, {"called_for_link": 1}),
    twice("-E a.c", {}, {"called_for_preprocessing": 1}),
    twice("-c a.c main.c", {"NOSPLIT_COMMANDS": "1"}, {"multiple_source_files": 1}),
    twice("-c a.c main.c -o a.o", {}, {"multiple_source_files": 1}),
    twice("-c none.c", {}, {"no_input_file": 1}),
    twice("-c", {}, {"no_input_file": 1}),
    twice("-c a.c -o out", {}, {"bad_output_file": 1}),
    twice("-c a.c -o none/a.o", {}, {"bad_output_file": 1}),
    twice("-c a.c -o -", {}, {"output_to_stdout": 1}),
    twice("-c a.c -o", {}, {"bad_compiler_arguments": 1}),
    twice("-c @none", {}, {"no_input_file": 1}),
    twice("-c off.c", {}, {"disabled": 1}),
    twice("-c bad.c", {}, {"compile_failed": 1}),
    twice("-M a.c", {}, {"unsupported_compiler_option": 1}),
    twice("-c a.c", {"EXTRAFILES": "none"}, {"error_hashing_extra_file": 1}),
    ("-c a.c", {"EXTRAFILES": "h.h"}, MISS, DIRECT_HIT),
]


@pytest.mark.parametrize(("line", "settings", "first", "second"), TWICE)
def test_what_is_counted(
    bench: Bench,
    line: str,
    settings: dict[str, str],
    first: dict[str, int],
    second: dict[str, int],
) -> None:
    bench.configure(**settings)
    bench.call(line)
    assert bench.counters() == first
    status, said = bench.status, bench.stderr
    bench.call(line)
    assert bench.counters() == second
    assert (bench.status, bench.stderr) == (status, said)


@pytest.mark.parametrize(
    ("line", "output"),
    [
        ("-c a.c -o OUT", "a.o"),
        ("-c -O2 -g a.c -o OUT", "a.o"),
        ("-S a.c -o OUT", "a.s"),
        ("-c -MD -MT x -MF OUT a.c -o a.o", "a.d"),
        ("-c -MMD -MP -MF OUT a.c -o a.o", "a.d"),
        ("-c -fstack-usage -dumpbase a a.c -o OUT", "a.o"),
    ],
)
@pytest.mark.parametrize("classic", [False, True])
def test_a_miss_and_a_hit_make_what_the_compiler_makes(
    bench: Bench, line: str, output: str, classic: bool
) -> None:
    expected = plainly(bench, line, output)
    if classic:
        bench.configure(PREPROCESS_FIRST="1")
    for outcome in (MISS, DIRECT_HIT):
        ours = line.replace("OUT", output)
        assert bench.call(ours) == 0
        assert bench.counters() == outcome
        assert (bench.cwd / output).read_bytes() == expected
        (bench.cwd / output).unlink()


def test_a_hit_runs_no_compiler(bench: Bench) -> None:
    bench.call("-c a.c")
    assert compilers_run(bench) == 1
    bench.call("-c a.c")
    assert bench.commands == []


def test_the_classic_order_runs_the_preprocessor_first(bench: Bench) -> None:
    bench.configure(PREPROCESS_FIRST="1")
    bench.call("-c a.c")
    ran = [b"-E" in c.argv for c in bench.commands if b"a.c" in c.argv]
    assert ran == [True, False]


def test_a_comment_in_a_header_is_a_preprocessed_hit_the_second_time(bench: Bench) -> None:
    bench.call("-c a.c")
    bench.counters()
    bench.file("h.h", "#define V 1 /* comment */\n", age=1800)
    bench.call("-c a.c")
    assert bench.counters() == CHANGED, "the first text of this source was never seen"
    bench.file("h.h", "#define V 1 /* another */\n", age=1700)
    bench.call("-c a.c")
    assert bench.counters() == TEXT_HIT
    bench.call("-c a.c")
    assert bench.counters() == DIRECT_HIT


def test_a_comment_is_a_preprocessed_hit_at_once_in_the_classic_order(bench: Bench) -> None:
    bench.configure(PREPROCESS_FIRST="1")
    bench.call("-c a.c")
    bench.counters()
    bench.file("a.c", '#include "h.h"\nint x = V; /* comment */\n', age=1800)
    bench.call("-c a.c")
    assert bench.counters() == NEW_TEXT_HIT


@pytest.mark.parametrize("flag", ["-g", "-Wall", "-fsanitize=undefined", "--coverage"])
def test_no_comment_is_overlooked_where_columns_are_seen(bench: Bench, flag: str) -> None:
    bench.configure(PREPROCESS_FIRST="1")
    bench.call(f"-c {flag} a.c")
    bench.counters()
    bench.file("a.c", '#include "h.h"\n/* comment */ int x = V;\n', age=1800)
    bench.call(f"-c {flag} a.c")
    assert bench.counters()["cache_miss"] == 1


def test_an_edited_header_is_a_miss_and_its_return_a_hit(bench: Bench) -> None:
    expected = plainly(bench, "-c a.c -o OUT", "a.o")
    bench.call("-c a.c -o a.o")
    bench.file("h.h", "#define V 2\n", age=1800)
    bench.counters()
    bench.call("-c a.c -o a.o")
    assert bench.counters() == CHANGED
    assert (bench.cwd / "a.o").read_bytes() != expected
    bench.file("h.h", "#define V 1\n", age=1700)
    bench.call("-c a.c -o a.o")
    assert bench.counters() == DIRECT_HIT
    assert (bench.cwd / "a.o").read_bytes() == expected


def test_a_header_that_shadows_another_is_seen(bench: Bench) -> None:
    bench.file("inc2/s.h", "#define V 1\n")
    bench.file("inc1/other.h", "")
    bench.file("b.c", "#include <s.h>\nint x = V;\n")
    line = "-c -Iinc1 -Iinc2 b.c -o b.o"
    for outcome in (MISS, DIRECT_HIT):
        bench.call(line)
        assert bench.counters() == outcome
    bench.file("inc1/s.h", "#define V 2\n")
    bench.call(line)
    assert bench.counters() == CHANGED
    assert (bench.cwd / "b.o").read_bytes() == plainly(bench, line.replace("b.o", "OUT"), "b.o")


def test_a_link_that_is_switched_while_the_compiler_runs_is_not_stored(bench: Bench) -> None:
    (bench.cwd / "h.h").unlink()
    for number in (1, 2):
        bench.file(f"h{number}.h", f"#define V {number}\n")
    (bench.cwd / "h.h").symlink_to("h1.h")
    time.sleep(0.02)

    class Switching(Launcher):
        def run(self, command: Run, meanwhile: Callable[[], None] | None = None) -> Report:
            report = super().run(command, meanwhile)
            if b"a.c" in command.argv:
                (bench.cwd / "new").symlink_to("h2.h")
                (bench.cwd / "new").replace(bench.cwd / "h.h")
            return report

    launcher = Switching(bench.variables, os.fsencode(bench.cwd))
    request = request_of([b"gcc", b"-c", b"a.c"], bench.variables, launcher.cwd)
    launcher.carry_out(compiling.answer(request, launcher, bench.resident))
    assert bench.counters()["modified_input_file"] == 1
    time.sleep(0.02)
    bench.call("-c a.c")
    assert bench.counters()["cache_miss"] == 1
    assert (bench.cwd / "a.o").read_bytes() == plainly(bench, "-c a.c -o OUT", "a.o")


def test_notes_of_another_output_are_others(bench: Bench) -> None:
    bench.file("static.c", "static int f(int x) { return x; }\nint g(int x) { return f(x); }\n")
    for name in ("one", "two"):
        bench.call(f"-c -ftest-coverage -frandom-seed=1 static.c -o {name}.o")
        made = (bench.cwd / f"{name}.gcno").read_bytes()
        words = f"-c -ftest-coverage -frandom-seed=1 static.c -o {name}.o".split()
        subprocess.run([GCC, *words], cwd=bench.cwd, check=True)
        assert made == (bench.cwd / f"{name}.gcno").read_bytes()


def test_an_output_that_was_not_written_is_not_kept(bench: Bench) -> None:
    """gcc 9 would write its notes under the mangled name; under gcc 12 an older gcc's lie there."""
    line = "-c --coverage -fprofile-dir=notes -frandom-seed=1 main.c"
    names = [mangle(b"main", os.fsencode(bench.cwd)), b"main"]
    plainly(bench, line + " -o OUT", "main.o")
    stale, *_ = (
        name for name in names if not (bench.cwd / "plain" / f"{name.decode()}.gcno").exists()
    )
    older = bench.file(f"{stale.decode()}.gcno", "an older compile's\n")
    bench.call(line)
    assert bench.counters()["cache_miss"] == 1
    older.unlink()
    bench.call(line)
    assert bench.counters()["direct_cache_hit"] == 1
    assert not older.exists()


def test_an_object_that_was_not_written_is_not_kept(bench: Bench) -> None:
    """A compiler that succeeds without an object, where an older one lies."""
    lazy = bench.file("lazy/gcc", f'#!/bin/sh\ncase "$*" in *lazy.c*) exit 0;; esac\n{GCC} "$@"\n')
    lazy.chmod(0o755)
    bench.file("lazy.c", "int x;\n")
    bench.file("lazy.o", "an older one")
    bench.configure(COMPILER=str(lazy))
    bench.call("-c lazy.c")
    assert bench.counters()["compiler_produced_no_output"] == 1
    assert "local_storage_write" not in bench.counters()


def test_time_is_never_kept_by_its_manifest(bench: Bench) -> None:
    bench.call("-c time.c")
    assert bench.counters() == {**MISS, "local_storage_write": 1}
    bench.call("-c time.c")
    assert "direct_cache_hit" not in bench.counters()


def test_another_day_is_another_entry(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    days = [b"2024-02-28", b"2024-02-29"]
    for day, outcome in [(days[0], MISS), (days[1], CHANGED), (days[0], DIRECT_HIT)]:
        monkeypatch.setattr("pycc.job.Job.day", lambda job, now, day=day: day)
        bench.call("-c date.c")
        assert bench.counters() == outcome


def test_a_day_that_turns_during_the_compile_is_not_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = iter([b"2024-02-28", b"2024-02-29"])
    monkeypatch.setattr("pycc.job.Job.day", lambda job, now: next(days))
    bench.call("-c date.c")
    assert "local_storage_write" not in bench.counters()


@pytest.mark.parametrize("tty", [0, 1])
def test_a_hit_says_what_the_miss_said(bench: Bench, tty: int) -> None:
    bench.variables[b"TERM"] = b"xterm"
    bench.call("-c -Wall warn.c", flags=0)
    first = bench.stderr
    assert b"warning" in first
    assert b"\x1b" not in first
    bench.call("-c -Wall warn.c", flags=tty)
    assert bench.counters()["direct_cache_hit"] == 1
    assert (b"\x1b" in bench.stderr) is bool(tty)
    bench.call("-c -Wall warn.c -fdiagnostics-color=never", flags=tty)
    assert bench.stderr == first


@pytest.mark.parametrize("line", ["-c -MF x.d a.c", "-c -MP a.c", "-c -fno-such-option a.c"])
def test_what_the_compiler_refuses_stays_refused(bench: Bench, line: str) -> None:
    done = subprocess.run([GCC, *line.split()], cwd=bench.cwd, capture_output=True, check=False)
    for _ in range(2):
        assert bench.call(line) == done.returncode


def test_the_outputs_go_where_each_call_wants_them(bench: Bench) -> None:
    bench.call("-c -MD a.c -o one.o")
    bench.counters()
    bench.call("-c -MD a.c -o two.o")
    assert bench.counters() == DIRECT_HIT
    assert (bench.cwd / "two.o").read_bytes() == (bench.cwd / "one.o").read_bytes()
    assert (bench.cwd / "two.d").read_bytes() == plainly(bench, "-c -MD -MF OUT -MT two.o a.c", "d")


def test_names_need_not_be_text(bench: Bench) -> None:
    name = b"\xff \xe9.c"
    path = os.path.join(os.fsencode(bench.cwd), name)
    Path(os.fsdecode(path)).write_bytes(b"int x;\n")
    os.utime(path, (1, 1))
    time.sleep(0.01)
    for outcome in (MISS, DIRECT_HIT):
        bench.call([b"-c", name, b"-o", b"\xfe.o"])
        assert bench.counters() == outcome


def test_a_compiler_that_is_not_there_is_told(bench: Bench) -> None:
    assert bench.call("-c a.c", name=b"no-such-gcc") == 1
    assert b'could not find compiler "no-such-gcc" in PATH' in bench.stderr
    assert bench.counters() == {"could_not_find_compiler": 1}


def test_a_wrong_setting_is_told(bench: Bench) -> None:
    bench.configure(MAXSIZE="much")
    assert bench.call("-c a.c") == 1
    assert b"much" in bench.stderr


def test_no_temporary_file_stays(bench: Bench) -> None:
    for line in ("-c a.c", "-c -MMD a.c", "-c bad.c", "-c time.c"):
        bench.call(line)
    assert list((bench.root / "tmp").iterdir()) == []


class Leaving(Launcher):
    """A launcher that is killed while the compiler runs."""

    def run(self, command: Run, meanwhile: Callable[[], None] | None = None) -> Report:
        report = super().run(command, meanwhile)
        if b"a.c" in command.argv:
            raise Gone
        return report


@pytest.mark.parametrize("classic", ["0", "1"])
def test_no_temporary_file_stays_when_the_launcher_is_killed(bench: Bench, classic: str) -> None:
    if classic == "1":
        bench.configure(PREPROCESS_FIRST="1")
    launcher = Leaving(bench.variables, os.fsencode(bench.cwd))
    request = request_of([b"gcc", b"-c", b"a.c"], bench.variables, launcher.cwd)
    with pytest.raises(Gone):
        compiling.answer(request, launcher, bench.resident)
    assert list((bench.root / "tmp").iterdir()) == []
    assert bench.counters() == {}


def test_nothing_happens_on_the_loop_before_the_first_question(bench: Bench) -> None:
    request = request_of([b"gcc", b"-c", b"a.c"], bench.variables, os.fsencode(bench.cwd))
    for _ in range(2):
        with pytest.raises(NotHere):
            compiling.answer(request, LoopTalk(), bench.resident)
    assert bench.counters() == {}
    bench.call("-c a.c")
    ops = compiling.answer(request, LoopTalk(), bench.resident)
    assert [type(op) for op in ops] == [Write, Exit]


class Canned(Launcher):
    """A launcher whose compiler writes ``a_o``, if that is given, and reports."""

    def __init__(self, bench: Bench, report: Report, a_o: bytes | None = None) -> None:
        super().__init__(bench.variables, os.fsencode(bench.cwd))
        self.report = report
        self.a_o = a_o

    def run(self, command: Run, meanwhile: Callable[[], None] | None = None) -> Report:
        if b"a.c" not in command.argv:
            return super().run(command, meanwhile)
        self.commands.append(command)
        if self.a_o is not None:
            Path(os.fsdecode(self.cwd), "a.o").write_bytes(self.a_o)
        return self.report


@pytest.mark.parametrize(
    ("report", "outcome"),
    [
        (Report(0, 0, b"", b"", 1), "compiler_produced_no_output"),
        (Report(256, 0, b"", b"error", 1), "compile_failed"),
        (Report(9, 0, b"", b"", 1), "compile_failed"),
        (Report(0, 2, b"", b"", 1), "internal_error"),
        (Report(256, 0, b"", b"unrecognized option '--MD'", 1), "internal_error"),
    ],
)
def test_compilers_that_do_not_do_their_work(bench: Bench, report: Report, outcome: str) -> None:
    launcher = Canned(bench, report)
    request = request_of([b"gcc", b"-c", b"a.c"], bench.variables, launcher.cwd)
    ops = compiling.answer(request, launcher, bench.resident)
    counted = bench.counters()
    assert counted[outcome] == 1
    assert "local_storage_write" not in counted
    match ops[-1]:
        case Exec(argv):
            assert outcome == "internal_error"
            assert list(argv[1:]) == [b"-c", b"a.c"]
        case last:
            assert last == Exit(report.status)


@pytest.mark.parametrize(("content", "outcome"), [(b"", "compiler_produced_empty_output")])
def test_an_empty_object_is_not_kept(bench: Bench, content: bytes, outcome: str) -> None:
    launcher = Canned(bench, Report(0, 0, b"", b"", 1), content)
    request = request_of([b"gcc", b"-c", b"a.c"], bench.variables, launcher.cwd)
    compiling.answer(request, launcher, bench.resident)
    assert bench.counters()[outcome] == 1


def test_without_its_list_of_headers_nothing_is_kept(bench: Bench) -> None:
    launcher = Canned(bench, Report(0, 0, b"", b"", 1), b"object")
    request = request_of([b"gcc", b"-c", b"a.c"], bench.variables, launcher.cwd)
    compiling.answer(request, launcher, bench.resident)
    assert bench.counters() == {"internal_error": 1}


def test_the_users_words_are_untouched_where_nothing_is_cached(bench: Bench) -> None:
    words = [b"main.c", b"-flto", b"-o", b"main", b"-Wl,-x"]
    request = request_of([b"gcc", *words], bench.variables, os.fsencode(bench.cwd))
    ops = compiling.answer(request, Launcher({}, b"/"), bench.resident)
    (last,) = ops
    assert isinstance(last, Exec)
    assert list(last.argv) == [os.fsencode(GCC), *words]
    assert list(last.environment) == [b"CCACHE_DISABLE=1"]


def test_a_damaged_result_is_a_miss(bench: Bench) -> None:
    bench.call("-c a.c")
    bench.counters()
    (cache,) = (c for c in bench.resident._caches.values() if c._root.startswith(str(bench.root)))
    good = cache.get
    cache.get = lambda key: b"PR damaged" if key[:1] == b"R" else good(key)  # type: ignore[method-assign]
    bench.call("-c a.c")
    assert bench.counters()["cache_miss"] == 1
    cache.get = lambda key: b"PM damaged"  # type: ignore[method-assign]
    bench.call("-c a.c")
    assert bench.counters()["cache_miss"] == 1


def test_a_failure_is_counted_where_its_user_looks(bench: Bench) -> None:
    request = request_of([b"gcc", b"-c", b"a.c"], bench.variables, os.fsencode(bench.cwd))
    compiling.count_failure(request, bench.resident)
    assert bench.counters() == {Outcome.INTERNAL_ERROR.value: 1}
    bench.configure(MAXSIZE="much")
    request = request_of([b"gcc", b"-c", b"a.c"], bench.variables, os.fsencode(bench.cwd))
    compiling.count_failure(request, bench.resident)


@pytest.mark.parametrize("words", [["pycc"], ["pycc", "-h"], ["pycc", "--version"]])
def test_options_are_commands(bench: Bench, words: list[str]) -> None:
    launcher = Launcher(bench.variables, os.fsencode(bench.cwd))
    request = request_of([os.fsencode(w) for w in words], bench.variables, launcher.cwd, 4)
    ops = compiling.answer(request, launcher, bench.resident)
    assert isinstance(ops[0], Out)
    assert not any(isinstance(op, Fallback) for op in ops)


@pytest.mark.parametrize("words", ["gcc", "ccache gcc", "pycc pycc gcc", "stats=false gcc", GCC])
def test_a_compiler_may_be_named_behind_us(bench: Bench, words: str) -> None:
    line = [os.fsencode(word) for word in f"{words} -c a.c".split()]
    assert bench.call(line, name=b"pycc", flags=4) == 0
    assert compilers_run(bench) == 1
    assert bench.counters() == ({} if "stats" in words else MISS)


def test_an_include_path_below_a_relative_directory_belongs_to_its_directory(
    bench: Bench, tmp_path: Path
) -> None:
    """-Bbin finds another assembler in each working directory."""
    for number in ("1", "2"):
        tool = bench.file(f"{number}/bin/as", f'#!/bin/sh\n# {number}\nexec /usr/bin/as "$@"\n')
        tool.chmod(0o755)
        bench.file(f"{number}/x.c", "int x;\n")
    seen = []
    for number in ("1", "2", "1"):
        cwd = os.fsencode(bench.cwd / number)
        launcher = Launcher(bench.variables, cwd)
        request = request_of([b"gcc", b"-Bbin", b"-c", b"x.c"], bench.variables, cwd)
        launcher.carry_out(compiling.answer(request, launcher, bench.resident))
        seen.append("cache_miss" in bench.counters())
    assert seen == [True, True, False]


def test_reread_files_trusts_no_time_stamp(bench: Bench) -> None:
    """As after a store through a shared mapping, which moves no time stamp."""
    line = "-c a.c -o a.o"
    for outcome in (MISS, DIRECT_HIT):
        bench.call(line)
        assert bench.counters() == outcome
    header = os.fsencode(bench.cwd / "h.h")
    old = digest_of((bench.cwd / "h.h").read_bytes())
    bench.file("h.h", "#define V 2\n", age=1800)
    memo = bench.resident.digests._memo
    memo[header] = (native.signature(header), old)
    bench.call(line)
    assert bench.counters() == DIRECT_HIT
    bench.variables[b"PYCC_REREAD_FILES"] = b"1"
    bench.call(line)
    assert bench.counters() == CHANGED
    assert (bench.cwd / "a.o").read_bytes() == plainly(bench, "-c a.c -o OUT", "a.o")
