"""What a server runs on preprocessed text, and what it refuses."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycc.remote.argumentfilter import MAX_BYTES, MAX_WORDS, refusal
from pycc.remote.commandline import strip


def words(line: str) -> tuple[bytes, ...]:
    return tuple(word.encode() for word in shlex.split(line))


PASSES = [
    "-O2 -g -Wall -Wextra -Wno-error=foo -Wformat=2 -Werror -w -pedantic",
    "-O -O0 -O3 -Os -Oz -Og -Ofast -pipe -pthread -pg -ansi",
    "-std=c11 -std=iso9899:1999 -std=gnu++2b --std=c++20",
    "-g3 -ggdb -gdwarf-5 -gz=zlib -gno-column-info -gstrict-dwarf",
    "-fPIC -fno-exceptions -fstack-protector-strong -fvisibility=hidden -flto=auto -fopenmp",
    "-fsanitize=address,undefined -fno-sanitize-recover=all -fcf-protection=full",
    "-ffixed-r9 -fmax-errors=5 -fdiagnostics-color=always -fopt-info-vec",
    "-fclang-abi-compat=3.8 -fms-compatibility-version=19.28.29333",
    "-m64 -march=x86-64-v3 -march=armv8.2-a+crypto -mtune=cortex-a72.cortex-a53 -mabi=ilp32d",
    "-fdebug-prefix-map=/a/b=/c -ffile-prefix-map=/a=. -frandom-seed=d/x.o",
    "-fdebug-compilation-dir=/a -frecord-gcc-switches -grecord-gcc-switches",
    "-finstrument-functions-exclude-file-list=/usr/include,foo.c",
    "--param max-inline-insns-single=5 --param=ssp-buffer-size=4",
    '-DX=1 -D Y=/a/b "-DZ=\\"a\\""',
    "-target x86_64-linux-gnu --target=aarch64-linux-gnu -arch arm64 -G 0 -G8",
    "-Wa,--noexecstack -Wa,-mimplicit-it=thumb,--defsym,A=1 -Xassembler --warn -Wa,-xarch=v8",
    "-Xclang -target-feature -Xclang +avx -Xclang -fno-validate-pch",
    "-Xclang -fdebug-compilation-dir -Xclang . -mllvm -inline-threshold=5 -mllvm -enable-foo",
    "-mllvm=-inline-threshold=5",
    "-static -shared -nostdlib -rtlib=compiler-rt -unwindlib=libunwind",
    "-x cpp-output -fno-integrated-as -Qunused-arguments -emit-llvm",
    "--driver-mode=g++ -EL -dA",
    # What stock clients leave in is stripped first.
    "-iquote /a -I /b -isystem c -MD -MF /x -x c -Wl,-z,now -lm -L/x --sysroot=/y -stdlib=libc++",
]


@pytest.mark.parametrize("options", PASSES)
def test_passes(options: str) -> None:
    assert refusal(strip(words(f"gcc {options} -c x.c -o /any/where/x.o"))) is None


REFUSED = {
    # Loads code or runs a program.
    "-fplugin": ["-fplugin=x.so", "-fplugin=x", "-fplugin-arg-x-y=z"],
    "--plugin": ["--plugin=x"],
    "--prefix": ["--prefix=."],
    "-fpass-plugin": ["-fpass-plugin=x.so", "-Xclang -fpass-plugin=x"],
    "-specs": ["-specs=x", "-specs x", "--specs=x", "--specs x"],
    "-B": ["-B.", "-B ."],
    "-wrapper": ["-wrapper sh,-c"],
    "-fmodule-mapper": ["-fmodule-mapper=|program"],
    "-Xclang": [
        "-Xclang -load -Xclang x.so",
        "-Xclang -plugin -Xclang x",
        "-Xclang x.c",
        "-Xclang -include -Xclang x",
        "-Xclang -target-cpu",
        "-Xclang -target-cpu -Xclang /x",
        "-Xclang -mlink-bitcode-file -Xclang x",
        "-Xclang -mllvm -Xclang x",
        "-Xclang -unheard-of",
        "-Xclang=-load",
    ],
    "-mllvm": ["-mllvm -load=x", "-mllvm x", "-mllvm -y=/z", "-mllvm=-load=x"],
    "--config": ["--config x", "--config=x"],
    "-fuse-cas": ["-fuse-cas=./x"],
    "-Xarch_host": ["-Xarch_host -fplugin"],
    "--gcc-toolchain": ["--gcc-toolchain=/x"],
    "-resource-dir": ["-resource-dir x", "-resource-dir=x"],
    # Reads files.
    "@": ["@x", "-D @x", "--param @x", "-mllvm @x", "-Xclang -mllvm -Xclang @x"],
    "-foverride": ["-Xclang -foverride-record-layout=x"],
    "-D": ["-D X=/etc/passwd"],
    "-fintrinsic": ["-fintrinsic-modules-path x"],
    "-include": ["-include /etc/passwd", "-includex"],
    "-imacros": ["-imacros x"],
    "-isystem": ["-isystem x"],
    "-I": ["-Ix", "-I x"],
    "-isysroot": ["-isysroot /x"],
    "--sysroot": ["--sysroot=/x"],
    "-ivfsoverlay": ["-ivfsoverlay x"],
    "-include-pch": ["-include-pch x"],
    "-fprofile-use": ["-fprofile-use=x", "-fprofile-use"],
    "-fauto-profile": ["-fauto-profile=x"],
    "-fmodule-file": ["-fmodule-file=x"],
    "-fsanitize-": ["-fsanitize-ignorelist=x", "-fsanitize-coverage-allowlist=x"],
    "-fbasic-block-sections": ["-fbasic-block-sections=list=x", "-fbasic-block-sections=x.txt"],
    "-fno-preprocessed": ["-fno-preprocessed"],
    "-x c": ["-x c", "-xc++"],
    "-ObjC": ["-ObjC"],
    "-funheard-of": [
        "-funheard-of=/x",
        "-funheard-of=../x",
        "-funheard-of=x.so",
        "-funheard-of=~x",
    ],
    "-munheard-of": ["-munheard-of=/x", "-munheard-of=../x"],
    "-Wunheard-of": ["-Wunheard-of=a/b"],
    "--unheard-of": ["--unheard-of"],
    "-unheard-of": ["-unheard-of"],
    "-T": ["-Tscript"],
    "-Wa,": [
        "-Wa,-I,/x",
        "-Wa,@x",
        "-Wa,/etc/passwd",
        "-Wa,passwd",
        "-Wa,-march,--debug-prefix-map,/etc/a=b",
        "-Wa,--defsym",
        "-Wa,--defsym,/x=1",
        "-Wa,-unheard",
        "-Wa,",
    ],
    "-Xassembler": ["-Xassembler -Ix", "-Xassembler x", "-Xassembler --defsym -Xassembler A=1"],
    "-target": ["-target ../x"],
    "--target": ["--target=../x"],
    # Writes files.
    "-fdump-": ["-fdump-tree-all=/x", "-fdump-go-spec=x"],
    "-save-temps": ["-save-temps", "-save-temps=cwd"],
    "-dump": ["-dumpdir x", "-dumpbase x"],
    "-MD": ["-MD"],
    "-MF": ["-MF x", "-MFx"],
    "-aux-info": ["-aux-info x"],
    "-gsplit-dwarf": ["-gsplit-dwarf"],
    "-gen-reproducer": ["-gen-reproducer"],
    "-Wa,-a": ["-Wa,-al=x"],
    "-Wa,--MD": ["-Wa,--MD,x"],
    "-fdiagnostics-format": ["-fdiagnostics-format=sarif-file"],
    # Is for another stage, or asks for something else.
    "-Wp,": ["-Wp,-MD,x", "-Wp,-DX"],
    "-Wl,": ["-Wl,x"],
    "-E": ["-E"],
    "-M": ["-M"],
    "-Xlinker": ["-Xlinker x"],
    "-march=native": ["-march=native"],
    "--version": ["--version"],
}


@pytest.mark.parametrize(
    ("options", "named"), [(line, name) for name, lines in REFUSED.items() for line in lines]
)
def test_refused_by_name(options: str, named: str) -> None:
    why = refusal(words(f"gcc -c x.c -o x.o {options}"))
    assert why is not None
    assert named in why


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "no compiler"),
        ("gcc -o x.o x.c", "not a compile"),
        ("gcc -c", "0 source files"),
        ("gcc -c x.c y.c", "2 source files"),
        ("gcc -c x.c y.o", "y.o"),
        ("gcc -c x.c ''", "a file that was not sent"),
        ("ccache gcc -c x.c", "gcc"),
        ("gcc -c x.c -o a -o b", "more than one output"),
        ("gcc -c x.c -", "- is a file"),
        ("gcc -c -- x.c", "--"),
    ],
)
def test_refused_as_a_whole(line: str, why: str) -> None:
    assert why in (refusal(words(line)) or "")


def test_lengths_are_limited() -> None:
    compile_x = (b"gcc", b"-c", b"x.c")
    assert refusal(compile_x + (b"-g",) * (MAX_WORDS - 3)) is None
    assert "words" in (refusal(compile_x + (b"-g",) * (MAX_WORDS - 2)) or "")
    assert refusal((*compile_x, b"-DX=" + b"x" * (MAX_BYTES - 100))) is None
    assert "bytes" in (refusal((*compile_x, b"-DX=" + b"x" * MAX_BYTES)) or "")


def test_zero_bytes_are_refused() -> None:
    assert "zero" in (refusal([b"gcc", b"-c", b"x.c", b"-DX=\0"]) or "")


PARTS = [b"/", b".", b"=", b",", b"x", b"@", b"-", b"..", b"so", b"1"]


@given(st.lists(st.binary(max_size=8), max_size=10))
def test_nothing_is_raised_by_any_vector(argv: list[bytes]) -> None:
    refusal(argv)


@given(
    st.sampled_from(b"-f -m -W -g -O -R -Wa, -Wa,- --param= --target= -std= -x -mllvm= -G".split()),
    st.lists(st.sampled_from(PARTS), max_size=6).map(b"".join),
)
def test_no_option_passes_with_a_path(option: bytes, rest: bytes) -> None:
    if b"/" in rest:
        assert refusal([b"gcc", b"-c", b"x.c", option + rest]) is not None


@given(
    st.sampled_from(b"-Xclang -Xassembler -mllvm --param -target -arch -G -x -meabi".split()),
    st.lists(st.sampled_from(PARTS), max_size=6).map(b"".join),
)
def test_no_value_passes_with_a_path(option: bytes, value: bytes) -> None:
    if b"/" in value:
        assert refusal([b"gcc", b"-c", b"x.c", option, value]) is not None
