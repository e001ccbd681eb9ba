"""Runs command lines through ccache and through our launcher, and compares counters and statuses.

    python tests/interop/ccache_lines.py --launcher PATH --reference CCACHE [--cc gcc] [WORD...]

Each line runs twice, in a directory of its own and with a cache of its own: what ccache counts the
first and the second time, and the exit statuses, are to be ours. Lines where they are not stand in
EXPLAINED with the reason, those of one compiler with its name; one that is listed there and does
not differ is an error, too. With WORDs only lines that contain one of them run.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

LEFT_OUT = ("local_storage", "cache_size", "files_in", "stats_", "max_", "cleanups", "remote_")
NOT_OURS = frozenset({"direct_cache_miss", "preprocessed_cache_miss"})


def lines_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


FILES = {
    "a.c": '#include "h.h"\nint a(void) { return V; }\n',
    "h.h": "#define V 1\n",
    "w.c": "int f(int x) { int unused; return x; }\n",
    "b.cpp": "#include <cstddef>\nint b(std::size_t n) { return int(n); }\n",
    "e.c": "#error no\n",
    "t.c": "const char *t = __TIME__;\n",
    "d.c": "const char *d = __DATE__;\n",
    "inc.c": '__asm__(".incbin \\"h.h\\"");\n',
    "off.c": "// ccache:disable\nint o;\n",
    "missing.c": '#include "nothing.h"\n',
    "s.s": ".globl s\ns: .long 1\n",
    "p.S": "#define W 3\n.globl p\np: .long W\n",
    "m.m": "int m;\n",
    "k.cu": "int k;\n",
    "conftest.c": "int main(void) { return 0; }\n",
    "main.c": "int main(void) { return 0; }\n",
    "args": "-DX=1 -O1",
    "nested": "@args -DY=2",
    "bad": "-DX='1",
    "pre.i": '# 1 "a.c"\nint pre;\n',
    "empty.c": "",
    "ignore.txt": "fun:nothing\n",
    "a b.c": "int blank;\n",
}

COMPILES = """
-c a.c
-c a.c -o a.o
-c a.c -oa.o
-c a.c -o sub/a.o
-c a.c -o nowhere/a.o
-c a.c -o sub
-c a.c -o /dev/null
-c a.c -o -
-c -o a.o
-c
-v
--version
-dumpmachine
-print-search-dirs
-E a.c
-E a.c -o a.i
-M a.c
-MM a.c
-MD -c a.c
-MMD -c a.c
-MMD -MF x.d -c a.c
-MD -MP -MT target -c a.c
-MD -MQ '$target' -c a.c
-MF x.d -c a.c
-MG -MD -c a.c
-Wp,-MD,x.d -c a.c
-Wp,-MMD,x.d -c a.c
-Wp,-MD,x.d -MF y.d -c a.c
-Wp,-P -c a.c
-Wp,-DX=1 -c a.c
-Wp,-P,-DX -c a.c
-Xpreprocessor -DX -c a.c
-S a.c
-S a.c -o a.s
-fsyntax-only a.c
-g -c a.c
-g3 -c a.c
-ggdb -gdwarf-4 -c a.c
-g -gsplit-dwarf -c a.c
-gz -g -c a.c
-gtoggle -c a.c
-O2 -c a.c
-O2 -Wall -Wextra -c w.c
-Wall -Werror -c w.c
-fdiagnostics-color=always -Wall -c w.c
-fdiagnostics-color=never -Wall -c w.c
-fdiagnostics-format=json -Wall -c w.c
-w -c w.c
-c e.c
-c missing.c
-c nothing.c
-c empty.c
-c d.c
-c inc.c
-c off.c
-c s.s
-c p.S
-x c -c k.cu
-c k.cu
-c m.m
-x c++ -c a.c
-x none -c a.c
-x nothing -c a.c
-x assembler-with-cpp -c p.S
-x c-header -c h.h -o h.h.gch
-c h.h
-x cpp-output -c pre.i
-c pre.i
-fpreprocessed -c pre.i
-fdirectives-only -c a.c
-P -c a.c
-P -E a.c
-C -c a.c
-c a.c w.c
a.c -c w.c -o x.o
-c a.c h.h
-c a.c nothing.o
main.c
main.c -o main
conftest.c
conftest.c -o conftest
-c conftest.c
a.o b.o -o x
-c a.c -lm -L.
-c a.c -Wl,--as-needed
-shared -c a.c
-pipe -c a.c
-save-temps -c a.c
--save-temps -c a.c
-save-temps=obj -c a.c
-ftime-trace -c a.c
-fdump-tree-all -c a.c
-fdump-ipa-clones -c a.c
-fstack-usage -c a.c
-fcallgraph-info -c a.c
--coverage -c a.c
-fprofile-arcs -c a.c
-ftest-coverage -c a.c
-fprofile-generate -c a.c
-fprofile-use -c a.c
-fprofile-use=nothing.gcda -c a.c
-fprofile-dir=sub --coverage -c a.c
-fauto-profile=nothing -c a.c
-fbranch-probabilities -c a.c
-flto -c a.c
-flto -fstack-usage -c a.c
-flto=auto -ffat-lto-objects -c a.c
-frandom-seed=1 -c a.c
-march=native -c a.c
-mtune=native -O2 -c a.c
-m32 -E a.c
-fsanitize=address -c a.c
-fsanitize=undefined -g -c a.c
-fsanitize-blacklist=ignore.txt -c a.c
-Wa,-a=a.lst -c a.c
-Wa,-a -c a.c
-Wa,-a=a.lst -Wa,-ad=b.lst -c a.c
-Wa,--noexecstack -c a.c
-Xassembler --noexecstack -c a.c
-I. -c a.c
-I . -c a.c
-Isub -iquote . -isystem sub -c a.c
-include h.h -c empty.c
-include nothing.h -c a.c
-imacros h.h -c empty.c
-isysroot / -c empty.c
--sysroot=/ -c empty.c
-DX -UX -DY=1 -c a.c
-D X -c a.c
-DX=\\"x\\ y\\" -c a.c
-nostdinc -c a.c
-nostdinc++ -c a.c
-std=c99 -c a.c
-ansi -pedantic -c a.c
-trigraphs -c a.c
-undef -c a.c
-fworking-directory -c a.c
-fdebug-prefix-map=/tmp=/x -g -c a.c
-ffile-prefix-map=/tmp=/x -c a.c
-fmacro-prefix-map=/tmp=/x -c a.c
-frecord-gcc-switches -c a.c
-fverbose-asm -S a.c
-finput-charset=utf-8 -c a.c
-fexec-charset=latin1 -c a.c
-fplugin=nothing.so -c a.c
-specs=nothing -c a.c
-wrapper env -c a.c
-B. -c a.c
-aux-info x -c a.c
-dumpbase x -c a.c
-dumpdir x -c a.c
-fmodules-ts -c b.cpp
-fno-working-directory -c a.c
@args -c a.c
@nested -c a.c
@nothing -c a.c
@bad -c a.c
-c @args a.c -o a.o
--ccache-skip -DX=1 -c a.c
-c a.c --ccache-skip
-c -- a.c
'-c' 'a b.c'
-c ./a.c
-c sub/../a.c
-c sub
-c /dev/null -o n.o
-unknown-option -c a.c
-funknown-option -c a.c
-Wno-unknown -c a.c
-o
-include
-D
"""

SETTINGS = """
CCACHE_DISABLE=1 -c a.c
CCACHE_NODIRECT=1 -c a.c
CCACHE_DEPEND=1 -MD -c a.c
CCACHE_DEPEND=1 -c a.c
CCACHE_READONLY=1 -c a.c
CCACHE_READONLY_DIRECT=1 -c a.c
CCACHE_RECACHE=1 -c a.c
CCACHE_NOSTATS=1 -c a.c
CCACHE_NAMESPACE=n -c a.c
CCACHE_EXTRAFILES=h.h -c a.c
CCACHE_EXTRAFILES=nothing -c a.c
CCACHE_COMPILERCHECK=none -c a.c
CCACHE_COMPILERCHECK=content -c a.c
CCACHE_COMPILERCHECK=string:x -c a.c
CCACHE_COMPILERCHECK='%compiler%\\ -v' -c a.c
CCACHE_COMPILERCHECK=false -c a.c
CCACHE_COMPILER=nothing -c a.c
CCACHE_PREFIX=env -c a.c
CCACHE_PREFIX=nothing -c a.c
CCACHE_PREFIX_CPP=env -c a.c
CCACHE_SLOPPINESS=time_macros -c t.c
CCACHE_SLOPPINESS=incbin -c inc.c
CCACHE_SLOPPINESS=pch_defines,time_macros -c h.h -o h.h.gch
CCACHE_SLOPPINESS=unknown -c a.c
CCACHE_HARDLINK=1 -c a.c
CCACHE_NOCOMPRESS=1 -c a.c
CCACHE_COMPRESSLEVEL=19 -c a.c
CCACHE_COMPRESSLEVEL=300 -c a.c
CCACHE_DIRECT=0 -c a.c
CCACHE_DIRECT=no -c a.c
CCACHE_UMASK=002 -c a.c
CCACHE_UMASK=999 -c a.c
CCACHE_MAXSIZE=much -c a.c
CCACHE_BASEDIR=relative -c a.c
CCACHE_BASEDIR=/ -c a.c
CCACHE_COMPILERTYPE=clang -c a.c
CCACHE_COMPILERTYPE=other -c a.c
CCACHE_COMPILERTYPE=nonsense -c a.c
CCACHE_COMMENTS=1 -c a.c
CCACHE_IGNOREOPTIONS=-DX=* -DX=1 -c a.c
CCACHE_RESPONSE_FILE_FORMAT=windows @args -c a.c
DEPENDENCIES_OUTPUT=x -c a.c
SUNPRO_DEPENDENCIES=x -c a.c
"""

COMMANDS = """
-s
-sv
-svv
-z
-c
-C
-p
-x
-X 3
-X uncompressed
-X much
-X 500
-k max_size
-k nothing
-o max_files=3
-o nothing=1
-o max_files
-o max_files=x
-o base_dir=relative
-M 3G
-M 3GiB
-M 0
-M x
-F 3
-F 0
-F x
--evict-older-than 1d
--evict-older-than 3x
--evict-namespace n
--evict-namespace n --evict-older-than 1d
--dry-run --evict-older-than 1s
--dry-run --clear
--dry-run -c
--dry-run -M 3
--print-stats
--print-stats --format json
--print-stats --format xml
--print-log-stats
--show-log-stats
--print-version
--version
-V
--help
-h
--checksum-file a.c
--checksum-file nothing
--hash-file a.c
--hash-file nothing
--inspect nothing
--inspect a.c
--extract-result nothing
--extract-result a.c
--trim-dir sub
--trim-dir sub --trim-max-size 1M
--trim-dir sub --trim-max-size 1M --trim-method mtime
--trim-dir sub --trim-max-size 0 --trim-recompress 4
--trim-dir sub --trim-max-size 0 --trim-recompress x
--trim-dir nothing --trim-max-size 1
--threads 2 -x
--threads 0 -x
--recompress-threads 2 -x
-d other --print-version
--dir other -k max_files
--directory other -k max_files
--config-path my.conf -o max_files=4
--stop-storage-helpers
--dump-manifest nothing
--nothing
-Q
-M
--max-size
--p
--zero
--show-s
-s -z -s
-k
"""

SAFER = "passed through: it makes or reads files that ccache's hit would not bring or notice"
SAID = "where ccache says nothing, what was removed is told"
DUMP = "clang's names for what -dumpbase and -dumpdir say differ between releases"
EXPLAINED = {
    "-c inc.c": "cached: the assembler is asked which files it reads",
    "-c k.cu": "counted by its language; ccache runs the compiler to see that nothing comes",
    "-fpreprocessed -c pre.i": "passed through",
    "-fdirectives-only -c a.c": "passed through",
    "-aux-info x -c a.c": SAFER,
    "-fplugin=nothing.so -c a.c": "a file that belongs to the key is missing",
    "-specs=nothing -c a.c": "a file that belongs to the key is missing",
    "@bad -c a.c": "compilers disagree about quotes that do not end",
    **dict.fromkeys(("-c a.c w.c", "main.c", "main.c -o main"), "each compile is cached by itself"),
    "-c sub": "a directory has no language; ccache counts it as no input",
    "a.o b.o -o x": "counted as a link, though the objects are missing",
    "CCACHE_COMPILER=nothing -c a.c": "counted, too",
    "CCACHE_PREFIX=nothing -c a.c": "compiled without the prefix, so the build goes on",
    "CCACHE_COMPILERTYPE=clang -c a.c (gcc)": "the compiler is asked; a wrong type harms nothing",
    "-dumpbase x -c a.c (clang)": DUMP,
    "-dumpdir x -c a.c (clang)": DUMP,
    "CCACHE_COMPILERTYPE=other -c a.c": "unknown compilers are served by preprocessed text only",
    "-C": SAID,
    "--dry-run --clear": "tells what would be removed",
    "--config-path my.conf -o max_files=4": "works; ccache fails on a path without a directory",
}


def words_of(line: str) -> tuple[dict[str, str], list[str]]:
    """(environment, arguments) of a line."""
    words = shlex.split(line)
    environment = {}
    while words and "=" in words[0] and not words[0].startswith(("-", "@")):
        name, _, value = words.pop(0).partition("=")
        environment[name] = value
    return environment, words


class Bench:
    """One program, and its own directory below ``place``."""

    def __init__(self, program: Path, place: Path, cc: str) -> None:
        self.cc = cc
        self.place = place
        self.link = place / "bin" / "ccache"
        self.link.parent.mkdir(parents=True)
        self.link.symlink_to(program)
        self.runtime = place / "r"
        (self.runtime / "pycc").mkdir(mode=0o700, parents=True)
        self.runtime.chmod(0o700)

    def run(self, number: int, line: str, *, compiles: bool) -> list[object]:
        """What the line gives: twice (status, counters), or (status, said) of a command."""
        work = self.place / "work" / str(number) / "project"
        (work / "sub").mkdir(parents=True)
        for name, text in FILES.items():
            (work / name).write_text(text)
            os.utime(work / name, (1_500_000_000, 1_500_000_000))
        time.sleep(0.01)
        variables, words = words_of(line)
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.place),
            "LC_ALL": "C",
            "CCACHE_DIR": str(work.parent / "cache"),
            "XDG_RUNTIME_DIR": str(self.runtime),
        }
        if not compiles:
            self.call(["gcc", "-c", "a.c"], work, environment)
            done = self.call(words, work, environment | variables)
            return [done.returncode, *shape(done)]
        found: list[object] = []
        for _ in range(2):
            done = self.call([self.cc, *words], work, environment | variables)
            found += [done.returncode, self.counters(work, environment)]
        return found

    def call(
        self, words: Sequence[str], cwd: Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self.link, *words],
            cwd=cwd,
            env=dict(environment),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )

    def counters(self, work: Path, environment: Mapping[str, str]) -> dict[str, int]:
        text = self.call(["--print-stats"], work, environment).stdout.decode()
        pairs = (row.split("\t") for row in text.splitlines())
        # By default nothing is preprocessed before a compile: the compiler fails, and not cpp.
        return {
            "compile_failed" if name == "preprocessor_error" else name: int(count)
            for name, count in pairs
            if int(count) and not name.startswith(LEFT_OUT) and name not in NOT_OURS
        }


def shape(done: subprocess.CompletedProcess[bytes]) -> tuple[object, ...]:
    """What of a command's output has to be the same: where it says something."""
    return bool(done.stdout), bool(done.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Compare all lines; 0 if all that differ are explained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--launcher", required=True, type=Path)
    parser.add_argument("--reference", required=True, type=Path)
    parser.add_argument("--cc", default="gcc")
    parser.add_argument("words", nargs="*")
    options = parser.parse_args(argv)
    lines = [(line, True) for line in lines_of(COMPILES + SETTINGS)]
    lines += [(line, False) for line in lines_of(COMMANDS)]
    if options.words:
        lines = [pair for pair in lines if any(word in pair[0] for word in options.words)]
    bad = explained = 0
    with tempfile.TemporaryDirectory(prefix="cmp-") as top:
        programs = (options.reference.resolve(), options.launcher.absolute())
        benches = [
            Bench(program, Path(top) / str(number), options.cc)
            for number, program in enumerate(programs)
        ]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for number, (line, compiles) in enumerate(lines):
                theirs, ours = pool.map(
                    lambda bench, n=number, text=line, c=compiles: bench.run(n, text, compiles=c),
                    benches,
                )
                reason = EXPLAINED.get(line) or EXPLAINED.get(f"{line} ({options.cc})")
                explained += theirs != ours and reason is not None
                if (theirs == ours) == (reason is None):
                    continue
                bad += 1
                print(f"{line}\n  ccache {theirs}\n  ours   {ours}")
                if reason is not None:
                    print("  is listed as different, and is not")
        benches[1].call(["--stop-server"], Path(top), {"XDG_RUNTIME_DIR": str(benches[1].runtime)})
    print(f"{len(lines)} lines with {options.cc}: {explained} explained, {bad} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
