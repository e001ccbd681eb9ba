"""Random commands of several sources, and compiles that link, plainly and through a wrapper.

    python -m tests.fuzz.commands --wrapper PATH [--commands N] [--seed S] [--cc gcc]

Each command runs three times as the plain compiler has it, twice to see whether that agrees with
itself, and then cold and warm through the wrapper. Outputs, their permissions, messages and status
must be the same, but for the random names of temporary objects; and none of these may be left.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.kit import SYSTEM_PATH, Tree, put_back, tree_of

WARNS = "int %s(void) { int unused; char *p = 1; return *p; }\n"
SOURCES = {
    "main.c": '#include <stdio.h>\n#include "one.h"\nint one(void);\nstatic int local(int n)\n'
    '{ return n + ONE; }\nint main(void) { return printf(__FILE__ "%d", local(one())) < 0; }\n',
    "one.c": '#include "one.h"\nstatic int count;\nint one(void) { return count++ + ONE; }\n',
    "two.c": "#include <string.h>\nint two(const char *s) { return (int)strlen(s); }\n",
    "warns.c": WARNS % "warns",
    "dir/one.c": "int other(void) { return 2; }\n",
    "dir/three.c": "#ifdef X\nint three = X;\n#else\nint three;\n#endif\n",
    "error.c": "int error(void) { return nothing; }\nint more = ;\n",
    "missing.c": '#include "nothing.h"\n',
    "empty.c": "",
    "temp.c": "#include <stdio.h>\nstatic char n[L_tmpnam];\n"
    "char *temp(void) { return tmpnam(n); }\n",
    "main.cc": "#include <vector>\n#include <cstdio>\nstruct S { std::vector<int> v; } s;\n"
    'int main() { int un; s.v.push_back(1); try { throw 1; } catch (int) { std::puts(""); } }\n',
    "more.cpp": "#include <string>\nnamespace { std::string hidden = __FILE__; }\n"
    "template <class T> T twice(T t) { return t + t; }\nint more() { return twice(2); }\n",
    "text.S": "#ifndef N\n#define N 1\n#endif\n.globl text\n.type text,@function\n"
    'text: mov $N, %eax\nret\n.section .note.GNU-stack,"",@progbits\n',
    "bare.s": '.globl bare\nbare: ret\n.section .note.GNU-stack,"",@progbits\n',
    "ready.i": "int ready(void) { return 4; }\n",
    "bare.h": "#define BARE\n",
    "one.h": "#define ONE 1\n",
    "script.x": "int scripted(void) { return 5; }\n",
}
MAKERS = ["main.c", "main.cc"]
ORDINARY = ["one.c", "two.c", "warns.c", "dir/three.c", "empty.c", "temp.c"]
ODD = ["dir/one.c", "error.c", "missing.c", "text.S", "bare.s", "ready.i", "more.cpp", "absent.c"]
OPTIONS = """
    -O0|-O1|-O2|-O3|-Os|-g|-g -O2|-g3|-gdwarf-4|-Wall|-Wall -Wextra|-w|-Werror=unused|-std=c11
    -std=gnu99|-fPIC|-fPIE -pie|-no-pie|-no-pie -fno-pie|-static|-shared -fPIC|-pthread|-pipe
    -DX=3|-DX=4|-UX|-Idir|-I.|-include one.h|-MD|-MMD -MP|-MD -MF deps|-MMD -MT t|-Wp,-MD,deps
    -ffunction-sections -Wl,--gc-sections|-Wl,-Map=map|-Wl,--build-id=sha1|-s|-Wl,-O1,--as-needed
    -lm|-L. -lready|ready.o|libready.a|-rdynamic|-fopenmp|-pg|-fvisibility=hidden|-fno-common
    -fsanitize=undefined|-Wa,--noexecstack|-Xlinker -z -Xlinker now|-u one|-fstack-protector-strong
    -flto -frandom-seed=1|--coverage -frandom-seed=1|-ftest-coverage -frandom-seed=1|-flto
    -fprofile-arcs -frandom-seed=1|-g -gsplit-dwarf|-save-temps
    -frecord-gcc-switches|-fno-such-option|-Wno-such-warning|-x c script.x -x none|-nostdlib
    -fdiagnostics-color=always|-fmax-errors=1|-ffile-prefix-map=dir=d|-fdebug-prefix-map=/=/r/
    -r|-fverbose-asm|-pass-exit-codes|-Wl,--trace|-Wl,--no-such-option|-march=native|-m32|-P
    -fno-asynchronous-unwind-tables|-fuse-ld=gold|-Wl,--defsym=d=1|-static-libgcc|-e main
"""
CHOICES = [one.split() for line in OPTIONS.strip().splitlines() for one in line.strip().split("|")]


def command(rng: random.Random, cc: str) -> list[str]:
    """One command line; most of them succeed."""
    cxx = cc.replace("clang", "clang++") if "clang" in cc else cc.replace("gcc", "g++")
    main = rng.choice(MAKERS)
    sources = [main, *rng.sample(ORDINARY, rng.randrange(4))]
    if main == "main.c" and "one.c" not in sources and rng.random() < 0.9:
        sources.append("one.c")
    if rng.random() < 0.25:
        sources.append(rng.choice(ODD))
    if rng.random() < 0.3:
        rng.shuffle(sources)
    if rng.random() < 0.03:
        sources.append(rng.choice(sources))
    groups: list[list[str]] = [[source] for source in sources]
    for options in rng.sample(CHOICES, rng.choice([0, 1, 1, 2, 2, 3, 4])):
        groups.insert(rng.randrange(len(groups) + 1), options)
    action = rng.choice([[], [], [], [], ["-c"], ["-c"], ["-S"], ["-fsyntax-only"], ["-E"]])
    if action and rng.random() < 0.95 and len(sources) < 2:
        groups.append(["two.c"])
    output = rng.choice([["-o", "app"], ["-o", "out/app.x"], ["-oapp"], []])
    if action and rng.random() < 0.95:
        output = []
    groups.insert(rng.randrange(len(groups) + 1), action)
    groups.insert(rng.randrange(len(groups) + 1), output)
    return [cxx if main == "main.cc" else cc, *(word for group in groups for word in group)]


def without_names(text: bytes) -> bytes:
    text = re.sub(rb"/cc\w{6}\.", b"/ccXXXXXX.", text)
    return re.sub(rb"/([\w.]+)-[0-9a-f]{6}\.(o|s)", rb"/\1-xxxxxx.\2", text)


Left = dict[object, object]
"""What a call left: files by their names, and status, out, err and tmp."""


class Place:
    """A directory with the sources, a cache, and a server."""

    def __init__(self, root: Path, wrapper: str, cc: str) -> None:
        self.src = root / "src"
        self.temporary = root / "tmp"
        self._wrapper = wrapper
        links, run = root / "links", root / "run"
        for path in (self.src, self.temporary, links, run / "pycc", root / "home"):
            path.mkdir(parents=True)
        (run / "pycc").chmod(0o700)
        for name in (cc, cc.replace("clang", "clang++"), cc.replace("gcc", "g++")):
            if not (links / name).exists():
                (links / name).symlink_to(Path(wrapper).resolve())
        self.plain = {
            "PATH": SYSTEM_PATH,
            "HOME": str(root / "home"),
            "TMPDIR": str(self.temporary),
            "LC_ALL": "C",
        }
        self.wrapped = {
            **self.plain,
            "PATH": f"{links}:{SYSTEM_PATH}",
            "CCACHE_DIR": str(root / "cache"),
            "XDG_RUNTIME_DIR": str(run),
        }
        for name, text in SOURCES.items():
            (self.src / name).parent.mkdir(exist_ok=True)
            (self.src / name).write_text(text)
            os.utime(self.src / name, (time.time() - 3600,) * 2)
        (self.src / "out").mkdir()
        for words in ("gcc -c ready.i -o ready.o", "ar rcs libready.a ready.o"):
            subprocess.run(words.split(), cwd=self.src, check=True)

    def left(self, words: Sequence[str], environment: dict[str, str], before: Tree) -> Left:
        """What one call says and leaves; the files are put back."""
        done = subprocess.run(
            words,
            cwd=self.src,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
        )
        tree = {
            name: (kind, mode, without_names(text) if name in (b"map", b"deps") else text)
            for name, (kind, mode, text) in tree_of(self.src).items()
        }
        put_back(self.src, before)
        remains = sorted(path.name for path in self.temporary.iterdir())
        for name in remains:
            (self.temporary / name).unlink()
        out, err = without_names(done.stdout), without_names(done.stderr)
        said: dict[object, object] = {"status": done.returncode, "out": out, "err": err}
        return said | {"tmp": remains} | dict(tree.items())

    def hits(self) -> int:
        """Direct hits so far."""
        done = subprocess.run(
            [self._wrapper, "--print-stats"], env=self.wrapped, capture_output=True, check=True
        )
        found = re.search(rb"^direct_cache_hit\t(\d+)$", done.stdout, re.MULTILINE)
        return int(found[1]) if found else 0

    def stop(self) -> None:
        subprocess.run([self._wrapper, "--stop-server"], env=self.wrapped, check=False)


def differences(plain: Left, ours: Left) -> list[str]:
    """What is not the same."""
    return [
        f"{key!r}: {str(plain.get(key))[:200]} / {str(ours.get(key))[:200]}"
        for key in {**plain, **ours}
        if plain.get(key) != ours.get(key)
    ]


def main() -> int:
    """1 where anything differed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wrapper", required=True)
    parser.add_argument("--commands", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cc", default="gcc")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    root = Path(tempfile.mkdtemp(prefix="fuzz-commands-", dir="/tmp"))
    place = Place(root, options.wrapper, options.cc)
    bad = undecided = failed = 0
    try:
        before = tree_of(place.src)
        for number in range(options.commands):
            words = command(rng, options.cc)
            plain = place.left(words, place.plain, before)
            again = place.left(words, place.plain, before)
            failed += plain["status"] != 0
            for way in ("cold", "warm"):
                ours = place.left(words, place.wrapped, before)
                found = differences(plain, ours)
                if found and plain != again:
                    undecided += 1
                    print(f"undecided {number}: {' '.join(words)}", flush=True)
                elif found:
                    bad += 1
                    print(
                        f"BAD {number} {way}: {' '.join(words)}", *found, sep="\n    ", flush=True
                    )
        print(
            f"{options.commands} commands, {failed} of them failing, {place.hits()} hits: "
            f"{bad} different, {undecided} undecided"
        )
        return 1 if bad else 0
    finally:
        place.stop()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
