"""The sources that are compiled: with few, many and generated headers, and a project."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

C_HEADERS = (
    *("stdio.h", "stdlib.h", "string.h", "unistd.h", "fcntl.h", "errno.h", "sys/types.h"),
    "sys/stat.h",
)
CXX_HEADERS = (
    *("iostream", "vector", "map", "unordered_map", "string", "algorithm", "functional", "memory"),
    *("regex", "thread", "mutex", "future", "random", "sstream", "set", "deque", "chrono"),
    *("condition_variable", "filesystem", "iomanip", "numeric", "tuple", "variant", "optional"),
)
# A source ends with a number that the timing loop overwrites to make it a new one, for those that
# look at the preprocessed text too.
TAIL = 'const char *stamp = "' + "0" * 20 + '";'


def write_sources(place: Path) -> None:
    """Write c.c, cxx.cc, tiny.c and gen0.c, gen200.c, gen800.c with their headers."""
    place.mkdir()
    body = "int f(int a) { return a + 1; }\n"
    text = "".join(f"#include <{name}>\n" for name in C_HEADERS)
    (place / "c.c").write_text(text + body + TAIL)
    text = "".join(f"#include <{name}>\n" for name in CXX_HEADERS)
    (place / "cxx.cc").write_text(text + body + TAIL)
    (place / "tiny.c").write_text(body + TAIL)
    (place / "gen").mkdir()
    filler = "".join(f"#define FILLER_%d_{i} (%d + {i}) /* {'x' * 40} */\n" for i in range(45))
    for number in range(800):
        content = filler.replace("%d", str(number)) + f"int g{number}(int);\n"
        (place / "gen" / f"g{number}.h").write_text(content)
    for count in (0, 200, 800):
        text = "".join(f'#include "gen/g{number}.h"\n' for number in range(count))
        (place / f"gen{count}.c").write_text(text + body + TAIL)
    # Older than any compile, as sources mostly are.
    for path in place.rglob("*.*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))


def header_count(compiler: str, source: Path) -> int:
    """How many files a source includes."""
    command = [compiler, "-M", "-MG", os.fspath(source)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return len(ran.stdout.replace("\\\n", " ").split(":", 1)[1].split()) - 1


def synthetic_project(place: Path, count: int = 60) -> Path:
    """A project of `count` C files, for when none is given."""
    place.mkdir()
    (place / "all.h").write_text(
        "".join(f"int work{n}(int, const char *);\n" for n in range(count))
    )
    for number in range(count):
        chosen = [C_HEADERS[(number + k) % len(C_HEADERS)] for k in range(4)]
        lines = [f"#include <{name}>" for name in {*chosen, "string.h"}] + ['#include "all.h"']
        for part in range(12):
            lines += [
                f"static int part{part}(int n, const char *s) {{",
                f"    int sum = {part}; for (int i = 0; i < n; i++) sum += s[i % 7] * i;",
                f"    if (strlen(s) > {part}u) sum ^= n; return sum;",
                "}",
            ]
        calls = " + ".join(f"part{part}(n, s)" for part in range(12))
        lines.append(f"int work{number}(int n, const char *s) {{ return {calls}; }}")
        (place / f"work{number}.c").write_text("\n".join(lines) + "\n")
    return place


def write_makefile(project: Path, place: Path, flags: Sequence[str] = ()) -> int:
    """A makefile in `place`, for use in `project`, that compiles every C file that compiles alone.

    `flags` are for the compiler; without them -O2 and every directory that holds a header. Returns
    how many files that are.
    """
    place.mkdir()
    if not flags:
        directories = sorted({path.parent for path in project.rglob("*.h")})
        flags = ["-O2", *(f"-I{directory}" for directory in directories)]
    sources = [path for path in sorted(project.rglob("*.c")) if " " not in os.fspath(path)]
    rules = []
    for index, source in enumerate(sources):
        name = source.relative_to(project)
        command = ["gcc", *flags, "-c", os.fspath(name), "-o", os.fspath(place / "try.o")]
        if subprocess.run(command, cwd=project, capture_output=True, check=False).returncode == 0:
            out = f"{place}/out/{index}-{source.stem}.o"
            rules.append((out, f"{out}:\n\t@$(CC) $(FLAGS) -c {name} -o {out}\n"))
    text = f"FLAGS = {' '.join(flags)}\nall: " + " ".join(out for out, _ in rules) + "\n"
    (place / "Makefile").write_text(text + "".join(rule for _, rule in rules))
    return len(rules)
