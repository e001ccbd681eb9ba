"""Every sloppiness lets something pass, and only to calls that are as sloppy."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pycc.cache import manifest
from pycc.cache.storage import MANIFEST
from pycc.config_values import SLOPPINESS
from tests.compile_kit import Bench
from tests.settings_kit import (
    from_two_directories,
    in_turn,
    seen,
    words_of,
    wrapper,
)

Row = Callable[[Bench], None]

LENIENT: dict[str, Row] = {}


def lenient(value: str) -> Callable[[Row], Row]:
    def add(test: Row) -> Row:
        assert value not in LENIENT
        LENIENT[value] = test
        return test

    return add


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path).setup()
    bench.file("h.h", "#define V 1\n")
    bench.file("a.c", '#include "h.h"\nint v = V;\n')
    yield bench
    bench.close()


def strict_and_lenient(bench: Bench, value: str, line: str = "-c a.c -o a.o") -> list[str]:
    return in_turn(bench, {}, {"SLOPPINESS": value}, line=line)


def future(path: Path) -> None:
    later = time.time() + 3600
    os.utime(path, (later, later))


@lenient("include_file_mtime")
def _(bench: Bench) -> None:
    future(bench.cwd / "h.h")
    sloppy = {"SLOPPINESS": "include_file_mtime"}
    assert in_turn(bench, {}, sloppy, sloppy, {}) == [
        *("modified_input_file", "miss", "hit", "modified_input_file"),
    ]


@lenient("include_file_ctime")
def _(bench: Bench) -> None:
    # A header that is touched while the compiler runs: only its ctime tells.
    text = "for f; do case $f in *.c) chmod 640 h.h; chmod 644 h.h;; esac; done\n"
    script = wrapper(bench, "bin/gcc", text + 'exec /usr/bin/gcc "$@"\n')
    bench.variables[b"PATH"] = os.fsencode(script.parent) + b":" + bench.variables[b"PATH"]
    sloppy = {"SLOPPINESS": "include_file_ctime"}
    assert in_turn(bench, {}, sloppy, sloppy, {}) == [
        *("modified_input_file", "miss", "hit", "modified_input_file"),
    ]


@lenient("time_macros")
def _(bench: Bench) -> None:
    bench.file("a.c", "char t[] = __TIME__;\n")
    sloppy = {"SLOPPINESS": "time_macros"}
    seen(bench)
    time.sleep(1.1)
    assert in_turn(bench, {}, sloppy) == ["miss", "miss"]
    time.sleep(1.1)
    assert in_turn(bench, sloppy, {}) == ["hit", "miss"]


@lenient("pch_defines")
def _(bench: Bench) -> None:
    line = "-c h.h -o h.h.gch"
    assert strict_and_lenient(bench, "pch_defines,time_macros", line) == [
        *("could_not_use_precompiled_header", "miss"),
    ]
    assert strict_and_lenient(bench, "time_macros", line) == 2 * [
        "could_not_use_precompiled_header"
    ]


@lenient("locale")
def _(bench: Bench) -> None:
    german = {"LC_ALL": "de_DE.UTF-8"}
    bench.variables[b"LANG"] = b"C"
    assert seen(bench, SLOPPINESS="locale") == "miss"
    bench.variables[b"LC_ALL"] = german["LC_ALL"].encode()
    assert in_turn(bench, {"SLOPPINESS": "locale"}, {}) == ["hit", "miss"]
    del bench.variables[b"LC_ALL"], bench.variables[b"LANG"]
    assert in_turn(bench, {}) == ["miss"]  # not what was made in any language


@lenient("system_headers")
def _(bench: Bench) -> None:
    bench.file("a.c", "#include <stdio.h>\nint v;\n")
    in_turn(bench, {"SLOPPINESS": "system_headers"})
    (entry,) = _entries(bench)
    assert not [path for path, _ in entry.files if path.startswith(b"/usr/include")]
    assert in_turn(bench, {}) == ["miss"]


def _entries(bench: Bench) -> tuple[manifest.ManifestEntry, ...]:
    found: list[manifest.ManifestEntry] = []
    for cache in bench.resident._caches.values():
        cache.drain()
        for listed in cache.storage.listing():
            if listed.key[:1] == MANIFEST:
                found += manifest.unpack(cache.get(listed.key) or b"")
    return tuple(found)


@lenient("file_stat_matches")
def _(bench: Bench) -> None:
    _by_stat(bench, "file_stat_matches")


@lenient("file_stat_matches_ctime")
def _(bench: Bench) -> None:
    _by_stat(bench, "file_stat_matches,file_stat_matches_ctime")


def _by_stat(bench: Bench, value: str) -> None:
    """A header that is another one, but for its size and times, as far as they count."""
    sloppy = {"SLOPPINESS": value}
    header = bench.cwd / "h.h"
    assert in_turn(bench, sloppy) == ["miss"]
    before = header.stat()
    header.write_text("#define V 9\n")
    os.utime(header, ns=(before.st_atime_ns, before.st_mtime_ns))
    bench.file("later", "")  # a tick passes
    expected = "hit" if "ctime" in value else "miss"
    assert in_turn(bench, sloppy) == [expected]
    assert in_turn(bench, {}) == ["hit" if expected == "miss" else "miss"]


@lenient("random_seed")
def _(bench: Bench) -> None:
    line = "-c a.c -o a.o -frandom-seed="
    sloppy = {"SLOPPINESS": "random_seed"}
    assert in_turn(bench, sloppy, line=line + "1") == ["miss"]
    assert in_turn(bench, sloppy, {}, line=line + "2") == ["hit", "miss"]
    assert in_turn(bench, {}) == ["miss"]  # without a seed nobody's seed will do


@lenient("gcno_cwd")
def _(bench: Bench) -> None:
    line = f"--coverage -c {bench.cwd}/below/b.c -o {bench.root}/a.o"
    assert from_two_directories(bench, line) == "miss"
    assert from_two_directories(bench, line, SLOPPINESS="gcno_cwd") == "hit"


@lenient("modules")
def _(bench: Bench) -> None:
    bench.configure(DEPEND="1")
    bench.file("module.modulemap", 'module M { header "h.h" export * }\n')
    bench.file("a.c", "#pragma clang module import M\nint v = V;\n")
    line = "clang -fmodules -fmodules-cache-path=cache -I. -MD -c a.c -o a.o"
    sloppy = {"SLOPPINESS": "modules"}
    assert in_turn(bench, {}, sloppy, sloppy, {}, line=line) == [
        *("could_not_use_modules", "miss", "hit", "could_not_use_modules"),
    ]
    # More than once: its preprocessed text names a module, and is the same all the time.
    for name, text in (("h.h", "#undef V\n#define V 2\n"), ("module.modulemap", "\n")) * 3:
        bench.file(name, (bench.cwd / name).read_text() + text)
        assert in_turn(bench, sloppy, line=line) == ["miss"]


@lenient("ivfsoverlay")
def _(bench: Bench) -> None:
    bench.file("v.yaml", '{"version": 0, "roots": []}\n')
    line = "clang -ivfsoverlay v.yaml -c a.c -o a.o"
    assert seen(bench, line) == "unsupported_compiler_option"
    assert seen(bench, line, SLOPPINESS="ivfsoverlay") == "miss"


@lenient("clang_index_store")
def _(bench: Bench) -> None:
    line = "clang -index-store-path i -c a.c -o a.o"
    assert seen(bench, line) == "unsupported_compiler_option"
    assert seen(bench, line, SLOPPINESS="clang_index_store") == "miss"


@lenient("incbin")
def _(bench: Bench) -> None:
    # clang's own assembler does not say what it reads.
    bench.file("data", "1")
    bench.file("a.c", '__asm__(".incbin \\"data\\"");\n')
    sloppy = {"SLOPPINESS": "incbin"}
    line = "clang -c a.c -o a.o"
    assert in_turn(bench, {}, {}, line=line) == ["miss", "unsupported_code_directive"]
    assert in_turn(bench, sloppy, line=line) == ["miss"]
    bench.file("data", "2")
    assert in_turn(bench, sloppy, {}, line=line) == ["hit", "unsupported_code_directive"]


@pytest.mark.parametrize("value", sorted(SLOPPINESS))
def test_the_sloppiness_has_its_effect(bench: Bench, value: str) -> None:
    LENIENT[value](bench)


def test_every_value_has_its_row() -> None:
    assert set(SLOPPINESS) == LENIENT.keys()


MODULES = (
    ("g++ -fmodules-ts -c m.cpp", "unsupported_compiler_option"),
    ("g++ -fmodules -c m.cpp", "could_not_use_modules"),
    ("g++ -fmodule-mapper=map -c m.cpp", "could_not_use_modules"),
    ("g++ -fmodule-header -c m.h", "unsupported_compiler_option"),
    ("g++ -x c++-system-header -c iostream", "could_not_use_precompiled_header"),
    ("clang++ -std=c++20 --precompile m.cppm -o m.pcm", "unsupported_compiler_option"),
    ("clang++ -std=c++20 -c m.cppm", "unsupported_source_language"),
    ("clang++ -std=c++20 -x c++-module -c m.cpp", "unsupported_source_language"),
    ("clang++ -std=c++20 -fmodule-output -c m.cpp", "could_not_use_modules"),
    ("clang++ -std=c++20 -fprebuilt-module-path=. -c m.cpp", "could_not_use_modules"),
    ("clang++ -std=c++20 -c m.pcm", "unsupported_source_language"),
)


@pytest.mark.parametrize(("line", "outcome"), MODULES)
def test_modules_of_cxx20_are_not_cached(bench: Bench, line: str, outcome: str) -> None:
    for name in ("m.cpp", "m.cppm", "m.h", "m.pcm"):
        bench.file(name, "int v;\n")
    assert seen(bench, line) == outcome


def test_an_import_belongs_to_the_module_that_it_names(bench: Bench) -> None:
    """clang is told where the module lies: its content is part of the key."""
    bench.file("use.cpp", "import m;\nint v = f();\n")
    line = "clang++ -std=c++20 -fmodule-file=m.pcm -c use.cpp -o use.o"
    objects = []
    for number in ("1", "2"):
        bench.file("m.cppm", f"export module m;\nexport inline int f() {{ return {number}; }}\n")
        bench.call(b"-std=c++20 --precompile m.cppm -o m.pcm".split(), name=b"clang++")
        bench.file("later", "")
        bench.counters()
        outcomes = in_turn(bench, {}, {}, {}, line=line)
        assert outcomes[0] == "miss"
        assert "hit" not in outcomes
        objects.append((bench.cwd / "use.o").read_bytes())
    assert objects[0] != objects[1]


def test_an_import_without_its_module_is_the_compilers_to_refuse(bench: Bench) -> None:
    bench.file("use.cpp", "import m;\n")
    for _twice in range(2):
        seen(bench, "clang++ -std=c++20 -c use.cpp")
        assert bench.status != 0


# Found by looking for settings that had no effect, or too much.


@pytest.mark.parametrize("words", ["--ccache-skip -DX=1 -c a.c", "-E --ccache-skip a.c"])
def test_words_for_us_do_not_reach_the_compiler(bench: Bench, words: str) -> None:
    bench.call(words)
    assert bench.status == 0
    assert not any(b"--ccache-skip" in argv for argv in words_of(bench))


def test_quoting_by_other_rules_is_another_command(bench: Bench) -> None:
    """A backslash is itself by Windows' rules: two names, where the usual rules see one."""
    bench.file("a.c", "#define S_(x) #x\n#define S(x) S_(x)\nchar v[] = S(X);\n")
    objects = set()
    for text in (r"-DX=a\b", r"-DX=ab"):
        bench.file("args", text)
        assert seen(bench, "clang --rsp-quoting=windows -c a.c -o a.o @args") == "miss"
        objects.add((bench.cwd / "a.o").read_bytes())
    assert len(objects) == 2


def test_what_was_stored_leniently_serves_no_strict_call(bench: Bench) -> None:
    ignoring = {"IGNOREOPTIONS": "-DV*", "SLOPPINESS": "system_headers"}
    bench.file("a.c", "#ifndef V\n#define V 1\n#endif\nint v = V;\n")
    assert seen(bench, "-DV=2 -c a.c -o a.o", **ignoring) == "miss"
    assert seen(bench) == "miss"
    assert re.search(rb"\x01\0\0\0", (bench.cwd / "a.o").read_bytes())
