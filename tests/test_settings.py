"""Every setting does something: one row a setting, which fails if it did nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pycc import native
from pycc.cache import value_files
from pycc.cache.digest import digest_of
from pycc.config_table import SETTINGS
from tests.compile_kit import Bench
from tests.settings_kit import (
    from_two_directories,
    in_turn,
    log_of,
    mode_of,
    seen,
    words_of,
    wrapper,
)

Row = Callable[[Bench], None]

ROWS: dict[str, Row] = {}

# Without effect here, each for a reason that docs/ccache-compatibility.md tells.
NOTHING_TO_DO = {
    "msvc_dep_prefix": "no MSVC on the systems that pycc runs on",
    "msvc_utf8": "no MSVC on the systems that pycc runs on",
    "libexec_dirs": "where ccache's storage helpers lie: remote storage",
    "remote_only": "remote storage",
    "remote_storage": "remote storage",
    "reshare": "remote storage",
    "distribute": "has tests with servers",
    "sloppiness": "has a table of its own: test_sloppiness",
}


def row(key: str) -> Callable[[Row], Row]:
    def add(test: Row) -> Row:
        assert key not in ROWS
        ROWS[key] = test
        return test

    return add


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path).setup()
    bench.file("h.h", "#define V 1\n")
    bench.file("a.c", '#include "h.h"\nint v = V;\n')
    yield bench
    bench.close()


@pytest.mark.parametrize("key", sorted(ROWS.keys() | {s.key for s in SETTINGS}))
def test_the_setting_has_its_effect(bench: Bench, key: str) -> None:
    if key not in NOTHING_TO_DO:
        ROWS[key](bench)


def test_every_setting_has_its_row() -> None:
    keys = {setting.key for setting in SETTINGS}
    assert keys == ROWS.keys() | NOTHING_TO_DO.keys()
    assert not ROWS.keys() & NOTHING_TO_DO.keys()


# What is run and where.


@row("compiler")
def _(bench: Bench) -> None:
    seen(bench, "nothing -c a.c", COMPILER="/usr/bin/gcc")
    assert bench.status == 0


@row("path")
def _(bench: Bench) -> None:
    wrapper(bench, "bin/gcc", 'exec /usr/bin/gcc "$@"\n')
    seen(bench, PATH=f"{bench.cwd}/bin")
    assert words_of(bench)[-1][0] == os.fsencode(bench.cwd / "bin/gcc")


@row("prefix_command")
def _(bench: Bench) -> None:
    seen(bench, PREFIX="env")
    assert words_of(bench)[-1][0].endswith(b"/env")


@row("prefix_command_cpp")
def _(bench: Bench) -> None:
    seen(bench, PREFIX_CPP="env", PREPROCESS_FIRST="1")
    assert words_of(bench)[-2][0].endswith(b"/env")
    assert b"-E" in words_of(bench)[-2]


@row("disable")
def _(bench: Bench) -> None:
    assert in_turn(bench, {"DISABLE": "1"}, {}) == ["", "miss"]


@row("compiler_type")
def _(bench: Bench) -> None:
    assert in_turn(
        bench,
        {"COMPILERTYPE": "other"},
        {"COMPILERTYPE": "gcc"},
        {"COMPILERTYPE": "nvcc"},
    ) == ["miss", "miss", "unsupported_compiler_option"]
    assert "Compiler type: clang" in log_of(bench, COMPILERTYPE="clang")


@row("temporary_dir")
def _(bench: Bench) -> None:
    place = bench.root / "elsewhere"
    place.mkdir()
    seen(bench, TEMPDIR=str(place))
    assert any(os.fsencode(place) in word for word in words_of(bench)[-1])


@row("umask")
def _(bench: Bench) -> None:
    seen(bench, UMASK="007")
    assert mode_of(bench.root / "cache/pycc") == 0o770


# Which configuration is read.


@row("cache_dir")
def _(bench: Bench) -> None:
    assert in_turn(bench, {}, {"DIR": str(bench.root / "other")}) == ["miss", "miss"]
    assert (bench.root / "other/pycc").is_dir()


def _configured(bench: Bench, directory: Path) -> None:
    (directory / "ccache.conf").write_text("disable = true\n")


@row("ceiling_dirs")
def _(bench: Bench) -> None:
    _configured(bench, bench.root)
    assert in_turn(bench, {}, {"CEILING_DIRS": str(bench.root)}) == ["", "miss"]


@row("ceiling_markers")
def _(bench: Bench) -> None:
    _configured(bench, bench.root)
    (bench.cwd / "end").touch()
    assert in_turn(bench, {}, {"CEILING_MARKERS": "end"}) == ["", "miss"]


@row("safe_dirs")
def _(bench: Bench) -> None:
    (bench.cwd / "ccache.conf").write_text("prefix_command = env\n")
    seen(bench)
    assert bench.status == 1
    assert seen(bench, SAFE_DIRS=str(bench.cwd)) == "miss"


# What is looked up and stored.


@row("direct_mode")
def _(bench: Bench) -> None:
    assert in_turn(bench, {}, {"NODIRECT": "1"}, {"NODIRECT": "1"}) == ["miss", "miss", "text"]


@row("depend_mode")
def _(bench: Bench) -> None:
    line = "-c -MMD a.c -o a.o"
    assert seen(bench, line) == "miss"
    assert any(b"-E" in words for words in words_of(bench))
    bench.file("a.c", '#include "h.h"\nint w = V;\n')
    assert seen(bench, line, DEPEND="1") == "miss"
    assert not any(b"-E" in words for words in words_of(bench))


@row("preprocess_first")
def _(bench: Bench) -> None:
    seen(bench, PREPROCESS_FIRST="1")
    assert any(b"-E" in words for words in words_of(bench))


@row("read_only")
def _(bench: Bench) -> None:
    only = {"READONLY": "1"}
    assert in_turn(bench, only, only, {}, only) == ["miss", "miss", "miss", "hit"]


@row("read_only_direct")
def _(bench: Bench) -> None:
    only = {"READONLY_DIRECT": "1"}
    text = {"NODIRECT": "1"}
    assert in_turn(bench, only, text, only, text, only | text) == [
        *("miss", "miss", "miss", "text", "miss"),
    ]
    assert in_turn(bench, {}, only) == ["miss", "hit"]


@row("recache")
def _(bench: Bench) -> None:
    assert in_turn(bench, {}, {"RECACHE": "1"}, {}) == ["miss", "recache", "hit"]


@row("namespace")
def _(bench: Bench) -> None:
    assert in_turn(bench, {}, {"NAMESPACE": "n"}, {"NAMESPACE": "n"}) == ["miss", "miss", "hit"]
    bench.command("--evict-namespace n")
    assert in_turn(bench, {}, {"NAMESPACE": "n"}) == ["hit", "miss"]


def _size_of(bench: Bench, **settings: str) -> int:
    for number in range(4):
        bench.file(f"{number}.c", f"int v{number}[20000] = {{1}};\n")
        seen(bench, f"-c {number}.c", **settings)
    return sum(cache.storage.totals().size for cache in bench.resident._caches.values())


@row("compression")
def _(bench: Bench) -> None:
    packed = _size_of(bench)
    assert _size_of(bench, NOCOMPRESS="1", NAMESPACE="n") > 2 * packed


@row("compression_level")
def _(bench: Bench) -> None:
    text = "".join(f"int f{n}(int a) {{ return a * {n * n} + {n % 7}; }}\n" for n in range(1500))
    bench.file("b.c", text)
    seen(bench, "-c b.c", COMPRESSLEVEL="1")
    fast = _stored(bench)
    seen(bench, "-c b.c", COMPRESSLEVEL="19", RECACHE="1")
    assert _stored(bench) < fast


def _stored(bench: Bench) -> int:
    caches = bench.resident._caches.values()
    for cache in caches:
        cache.drain()
    return sum(cache.storage.totals().size for cache in caches)


@row("max_files")
def _(bench: Bench) -> None:
    assert in_turn(bench, {"MAXFILES": "1"}, {"MAXFILES": "1"}) == ["miss", "miss"]


@row("max_size")
def _(bench: Bench) -> None:
    bench.file("a.c", f"char v[] = {os.urandom(60_000).hex()!r};\n".replace("'", '"'))
    assert in_turn(bench, {"MAXSIZE": "20k"}, {"MAXSIZE": "20k"}) == ["miss", "miss"]


@row("hard_link")
def _(bench: Bench) -> None:
    in_turn(bench, {"HARDLINK": "1"}, {"HARDLINK": "1"})
    assert (bench.cwd / "a.o").stat().st_nlink == 2


@row("file_clone")
def _(bench: Bench) -> None:
    clones: list[int] = []

    def pretend(target: int, request: int, source: int) -> None:
        assert request == value_files.FICLONE
        clones.append(os.write(target, os.pread(source, 1 << 20, 0)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pycc.cache.value_files.fcntl.ioctl", pretend)
        assert in_turn(bench, {"FILECLONE": "1"}) == ["miss"]
    made = (bench.cwd / "a.o").read_bytes()
    assert clones == [len(made)]
    (bench.cwd / "a.o").unlink()
    assert in_turn(bench, {"FILECLONE": "1"}) == ["hit"]
    assert (bench.cwd / "a.o").read_bytes() == made
    assert (bench.cwd / "a.o").stat().st_nlink == 1
    assert "Cloning /" in log_of(bench, FILECLONE="1")


@row("reread_files")
def _(bench: Bench) -> None:
    _trusts_no_memory(bench, b"PYCC_REREAD_FILES")


@row("inode_cache")
def _(bench: Bench) -> None:
    _trusts_no_memory(bench, b"CCACHE_NOINODECACHE")


def _trusts_no_memory(bench: Bench, variable: bytes) -> None:
    """As after a store through a shared mapping, which moves no time stamp."""
    header = os.fsencode(bench.cwd / "h.h")
    assert seen(bench) == "miss"
    old = digest_of((bench.cwd / "h.h").read_bytes())
    bench.file("h.h", "#define V 2\n")
    bench.resident.digests._memo[header] = (native.signature(header), old)
    assert seen(bench) == "hit"
    bench.variables[variable] = b"1"
    assert seen(bench) == "miss"


# What belongs to a key.


@row("base_dir")
def _(bench: Bench) -> None:
    tops = [bench.root / "w" / place for place in ("one", "two")]

    def in_two_places() -> str:
        before = bench.root
        for top in tops:
            bench.root = top
            bench.file("h.h", "#define V 1\n")
            bench.file("a.c", '#include "h.h"\nint v = V;\n')
            bench.call(f"-c {bench.cwd}/a.c -o a.o -I{bench.cwd}")
        bench.root = before
        return " ".join(sorted(bench.counters()))

    assert "hit" not in in_two_places()
    bench.configure(BASEDIR=str(bench.root))
    assert "direct_cache_hit" in in_two_places()


@row("hash_dir")
def _(bench: Bench) -> None:
    line = f"-g -c {bench.cwd}/below/b.c -o a.o"
    assert from_two_directories(bench, line) == "miss"
    assert from_two_directories(bench, line, NOHASHDIR="1") == "hit"


@row("compiler_check")
def _(bench: Bench) -> None:
    script = wrapper(bench, "bin/gcc", 'exec /usr/bin/gcc "$@"\n')
    bench.variables[b"PATH"] = os.fsencode(script.parent) + b":" + bench.variables[b"PATH"]

    def after_a_change(check: str | None, *, touch: bool = False) -> str:
        settings = {} if check is None else {"COMPILERCHECK": check}
        wrapper(bench, "bin/gcc", 'exec /usr/bin/gcc "$@"\n')
        assert seen(bench, **settings, RECACHE="1") == "recache"
        text = 'exec /usr/bin/gcc "$@"' + ("\n" if touch else f"  # {check}\n")
        path = wrapper(bench, "bin/gcc", text)
        os.utime(path, (1_000_000_000, 1_000_000_000))
        return seen(bench, **settings)

    assert after_a_change(None) == "miss"
    assert after_a_change(None, touch=True) == "hit"
    assert after_a_change("content") == "miss"
    assert after_a_change("content", touch=True) == "hit"
    assert after_a_change("mtime", touch=True) == "miss"
    assert after_a_change("none") == "hit"
    assert after_a_change("string:one") == "hit"
    assert seen(bench, COMPILERCHECK="string:two") == "miss"
    assert after_a_change("%compiler% -dumpmachine") == "hit"
    assert after_a_change("echo one; cat %compiler%") == "miss"
    assert seen(bench, COMPILERCHECK="false") == "compiler_check_failed"
    assert seen(bench, COMPILERCHECK="mtime") == "miss"
    assert seen(bench, COMPILERCHECK="mtime") == "hit"
    wrapper(bench, "bin/as", 'exec /usr/bin/as -L "$@"\n')
    assert seen(bench, COMPILERCHECK="mtime") == "miss"
    assert seen(bench, COMPILERCHECK="none") == "hit"


@row("extra_files_to_hash")
def _(bench: Bench) -> None:
    extra = {"EXTRAFILES": f"x:{bench.cwd}/y"}
    bench.file("x", "1")
    assert in_turn(bench, extra) == ["error_hashing_extra_file"]
    for name, content in (("y", "1"), ("x", "2"), ("y", "2")):
        bench.file(name, content)
        assert in_turn(bench, extra, extra) == ["miss", "hit"]


@row("ignore_options")
def _(bench: Bench) -> None:
    ignore = {"IGNOREOPTIONS": "-Wunused* -DX=1"}
    assert seen(bench, **ignore) == "miss"
    for line, outcome in (
        ("-Wunused-function -c a.c -o a.o", "hit"),
        ("-DX=1 -c a.c -o a.o", "hit"),
        ("-DX=2 -c a.c -o a.o", "miss"),
        ("-Wall -c a.c -o a.o", "miss"),
    ):
        assert seen(bench, line, **ignore) == outcome


@row("keep_comments_cpp")
def _(bench: Bench) -> None:
    seen(bench, COMMENTS="1", PREPROCESS_FIRST="1")
    assert any(b"-C" in words for words in words_of(bench))


@row("ignore_headers_in_manifest")
def _(bench: Bench) -> None:
    bench.file("inc/one.h", "#define ONE 1\n")
    bench.file("inc2.h", "#define TWO 2\n")
    bench.file("d/three.h", "#define THREE 3\n")
    text = '#include "inc/one.h"\n#include "./inc2.h"\n#include "d/three.h"\nint x = ONE;\n'
    bench.file("a.c", text)
    ignore = {"IGNOREHEADERS": f"inc:{bench.cwd}/d/three.h"}
    assert in_turn(bench, ignore) == ["miss"]
    bench.file("inc/one.h", "#define ONE 100\n")
    bench.file("d/three.h", "#define THREE 300\n")
    assert in_turn(bench, ignore) == ["hit"]
    bench.file("inc2.h", "#define TWO 200\n")
    assert in_turn(bench, ignore) == ["miss"]


@row("pch_external_checksum")
def _(bench: Bench) -> None:
    sloppy = {"SLOPPINESS": "pch_defines,time_macros"}
    bench.call("-c h.h -o h.h.gch")
    bench.file("a.c", "int v = V;\n")
    bench.file("h.h.gch.sum", "1")
    line = "-include h.h -c a.c -o a.o"
    with_sum = {**sloppy, "PCH_EXTSUM": "1"}
    assert in_turn(bench, with_sum, with_sum, sloppy, line=line) == ["miss", "hit", "miss"]
    bench.file("h.h.gch.sum", "2")
    assert in_turn(bench, with_sum, line=line) == ["miss"]


@row("response_file_format")
def _(bench: Bench) -> None:
    bench.file("args", '-DX="1"')
    line = "-c a.c -o a.o @args"
    assert seen(bench, line) == "miss"
    assert seen(bench, line, RESPONSE_FILE_FORMAT="posix") == "hit"
    assert seen(bench, line, RESPONSE_FILE_FORMAT="windows") == "bad_compiler_arguments"
    assert seen(bench, line) == "hit"


# What is said.


@row("absolute_paths_in_stderr")
def _(bench: Bench) -> None:
    bench.file("a.c", '#warning "w"\n')
    for _miss_and_hit in range(2):
        seen(bench, ABSSTDERR="1")
        assert bench.stderr.startswith(os.fsencode(bench.cwd / "a.c"))


@row("debug")
def _(bench: Bench) -> None:
    seen(bench, DEBUG="1")
    assert {p.name.rpartition("ccache-")[2] for p in bench.cwd.glob("a.o.*")} >= {"log", "input-d"}


@row("debug_dir")
def _(bench: Bench) -> None:
    seen(bench, DEBUG="1", DEBUGDIR=str(bench.root / "debug"))
    assert list((bench.root / "debug").rglob("a.o.*.ccache-log"))


@row("debug_level")
def _(bench: Bench) -> None:
    seen(bench, DEBUG="1", DEBUGLEVEL="1")
    assert [p.name.rpartition("ccache-")[2] for p in bench.cwd.glob("a.o.*")] == ["log"]


@row("log_file")
def _(bench: Bench) -> None:
    assert "Result: cache_miss" in log_of(bench)


@row("stats")
def _(bench: Bench) -> None:
    assert in_turn(bench, {"NOSTATS": "1"}, {}) == ["", "hit"]


@row("stats_log")
def _(bench: Bench) -> None:
    seen(bench, STATSLOG=str(bench.root / "stats"))
    assert "cache_miss" in (bench.root / "stats").read_text()


@row("split_commands")
def _(bench: Bench) -> None:
    bench.file("b.c", "int main(void) { return 0; }\n")
    line, whole = "-Wall a.c b.c -o app", {"NOSPLIT_COMMANDS": "1"}
    assert in_turn(bench, whole, {}, {}, line=line) == ["called_for_link", "miss", "hit"]


@pytest.mark.parametrize("name", ["nvcc", "clang-cl", "icl"])
def test_compilers_with_options_of_their_own_are_passed_through(bench: Bench, name: str) -> None:
    script = wrapper(bench, f"bin/{name}", 'echo "$@" >said\n')
    bench.variables[b"PATH"] = os.fsencode(script.parent) + b":" + bench.variables[b"PATH"]
    bench.file("k.cu", "int k;\n")
    for line in ("-c k.cu -o k.o", "-x cu -c a.c", "-arch=sm_70 -dc k.cu"):
        assert seen(bench, f"{name} {line}") == "unsupported_compiler_option"
        assert (bench.cwd / "said").read_text() == f"{line}\n"
