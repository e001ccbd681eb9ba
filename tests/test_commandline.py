"""Raw command lines: what is sent, what stays, what is left out; distcc's own tables first."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycc.remote import commandline
from pycc.remote.commandline import Action, Dependencies, Distributable, Local
from pycc.remote.optionwords import cut
from tests.option_lines import KEPT, SENT


def words(line: str) -> tuple[bytes, ...]:
    return tuple(word.encode() for word in shlex.split(line))


def scan(line: str) -> Distributable | Local:
    return commandline.scan(words(line))


def reason(line: str) -> str:
    scanned = scan(line)
    assert isinstance(scanned, Local), f"{line}: {scanned}"
    return scanned.reason


@pytest.mark.parametrize(
    ("text", "said", "here"),
    [
        (b"x-gcc: warning: a\nb.c:1: x-gcc: b\n", b"", b"cc: warning: a\nb.c:1: x-gcc: b\n"),
        (b"\x1b[01m\x1b[Kx-gcc:\x1b[m\x1b[K a\n", b"", b"\x1b[01m\x1b[Kcc:\x1b[m\x1b[K a\n"),
        (b"b.c: b\nx-gcc: a\nx-gcc: c\n", b"cc: a\nb.c: b\n", b"b.c: b\ncc: c\n"),
        (b"x-gcc: a", b"cc: a\n", b""),
        (b"\x1b[01m\x1b[Kx-gcc:\x1b[m\x1b[K a\n", b"cc: a\n", b""),
        (b"ax-gcc: a\nx-gcc a\n", b"", b"ax-gcc: a\nx-gcc a\n"),
        (b"", b"", b""),
    ],
)
def test_the_drivers_own_messages_begin_with_its_name_here(
    text: bytes, said: bytes, here: bytes
) -> None:
    assert commandline.messages(text, b"/usr/bin/x-gcc", b"cc", said) == here


# What distcc's ExtractExtension case holds, then ours.
@pytest.mark.parametrize(
    ("name", "extension"),
    [
        (b"hello.c", b".c"),
        (b"hello.cpp", b".cpp"),
        (b"hello.2.4.4.4.c", b".c"),
        (b".foo", b".foo"),
        (b"gcc", None),
        (b"hello.", None),
        (b"", None),
        (b"dir.d/gcc", None),
        (b"dir.d/x.c", b".c"),
        (b"\xff.c", b".c"),
    ],
)
def test_extension(name: bytes, extension: bytes | None) -> None:
    assert commandline.extension(name) == extension


# What distcc's IsSource case holds, then ours; with what the preprocessed text is called.
@pytest.mark.parametrize(
    ("name", "source", "preprocessed", "becomes"),
    [
        (b"hello.c", True, False, b".i"),
        (b"hello.cc", True, False, b".ii"),
        (b"hello.cxx", True, False, b".ii"),
        (b"hello.cpp", True, False, b".ii"),
        (b"hello.c++", True, False, b".ii"),
        (b"hello.m", True, False, b".mi"),
        (b"hello.M", True, False, b".mii"),
        (b"hello.mm", True, False, b".mii"),
        (b"hello.mi", True, True, b".mi"),
        (b"hello.mii", True, True, b".mii"),
        (b"hello.2.4.4.i", True, True, b".i"),
        (b".foo", False, False, None),
        (b"gcc", False, False, None),
        (b"hello.ii", True, True, b".ii"),
        (b"boot.s", False, False, None),
        (b"boot.S", False, False, None),
        (b"hello.cp", True, False, b".ii"),
        (b"hello.C", True, False, b".ii"),
        (b"hello.h", False, False, None),
        (b"hello.f90", False, False, None),
        (b"hello.cu", False, False, None),
        (b"hello.go", False, False, None),
        (b"hello.CPP", False, False, None),
    ],
)
def test_sources(name: bytes, source: bool, preprocessed: bool, becomes: bytes | None) -> None:
    assert commandline.is_source(name) is source
    assert commandline.is_preprocessed(name) is preprocessed
    assert commandline.preprocessed_extension(name) == becomes


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("distcc -c hello.c", "cc -c hello.c"),
        ("distcc hello.c -c", "cc hello.c -c"),
        ("distcc hello.o", "cc hello.o"),
        ("distcc gcc -c hello.c", "gcc -c hello.c"),
        ("distcc ccache gcc -c hello.c", "ccache gcc -c hello.c"),
        ("distcc /usr/bin/c++ -c hello.c", "/usr/bin/c++ -c hello.c"),
        ("distcc gcc-12.2 -c hello.c", "gcc-12.2 -c hello.c"),
        ("distcc", "cc"),
    ],
)
def test_the_compiler_may_be_implied(line: str, found: str) -> None:
    assert commandline.find_compiler(words(line)) == words(found)


# What distcc's ScanArgs and ImplicitCompilerScan cases hold, behind the word `distcc`.
@pytest.mark.parametrize(
    ("line", "source", "output"),
    [
        ("gcc -c hello.c", "hello.c", "hello.o"),
        ("gcc -o /tmp/hello.o -c ../src/hello.c", "../src/hello.c", "/tmp/hello.o"),
        ("gcc -DMYNAME=quasibar.c bar.c -c -o bar.o", "bar.c", "bar.o"),
        ("gcc -ohello.o -c hello.c", "hello.c", "hello.o"),
        ("ccache gcc -c hello.c", "hello.c", "hello.o"),
        ("gcc -S hello.c", "hello.c", "hello.s"),
        ("gcc -c -S hello.c", "hello.c", "hello.s"),
        ("gcc -S -c hello.c", "hello.c", "hello.s"),
        ("gcc -MD -c hello.c", "hello.c", "hello.o"),
        ("gcc -MMD -c hello.c", "hello.c", "hello.o"),
        ("gcc -ofoo.o foo.c -c", "foo.c", "foo.o"),
        ("foo.c -o foo.o -c", "foo.c", "foo.o"),
        ("gcc -Wa,-xarch=v8 -c foo.c", "foo.c", "foo.o"),
        ("-c hello.c", "hello.c", "hello.o"),
        ("hello.c -c", "hello.c", "hello.o"),
        ("-o hello.o -c hello.c", "hello.c", "hello.o"),
    ],
)
def test_distcc_sends_and_so_does_this(line: str, source: str, output: str) -> None:
    found = commandline.scan(commandline.find_compiler(words("distcc " + line)))
    assert isinstance(found, Distributable), found
    assert (found.input, found.output) == (source.encode(), output.encode())


@pytest.mark.parametrize(
    "line",
    [
        "gcc hello.c",
        "gcc hello.o",
        "gcc -o hello.o hello.c",
        "gcc -o hello.o -c hello.s",
        "gcc -o hello.o -c hello.S",
        "gcc -fprofile-arcs -ftest-coverage -c hello.c",
        "gcc -M hello.c",
        "gcc -ME hello.c",
        "gcc -S foo.c -o -",
        "-S -o - foo.c",
        "-c -S -o - foo.c",
        "-S -c -o - foo.c",
        "gcc -ofoo foo.o",
        "foo.c -o foo.o",
        "gcc -Wa,-alh,-a=foo.lst -c foo.c",
        "gcc -Wa,--MD -c foo.c",
        "g++ -frepo foo.C",
        "gcc -xassembler-with-cpp -c foo.c",
        "gcc -x assembler-with-cpp -c foo.c",
        "gcc -dr -c foo.c",
        # distcc's newest table sends this one, and its server refuses it.
        "gcc -specs=foo.specs -c foo.c",
    ],
)
def test_distcc_keeps_and_so_does_this(line: str) -> None:
    found = commandline.scan(commandline.find_compiler(words("distcc " + line)))
    assert isinstance(found, Local)
    assert not found.preprocess


@pytest.mark.parametrize("options", SENT)
def test_sent(options: str) -> None:
    found = scan(f"gcc {options} -c x.c -o d/x.o")
    assert isinstance(found, Distributable), found
    assert (found.input, found.output, found.action) == (b"x.c", b"d/x.o", Action.COMPILE)


@pytest.mark.parametrize(
    ("options", "why"), [(line, why) for why, lines in KEPT.items() for line in lines]
)
def test_kept(options: str, why: str) -> None:
    assert why in reason(f"gcc -c x.c -o x.o {options}")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "no compiler"),
        ("-c x.c", "no compiler"),
        ("gcc", "not a compile"),
        ("gcc x.c", "not a compile"),
        ("gcc -D -c x.c", "not a compile"),
        ("gcc -c", "no source file"),
        ("gcc -c x.f90", "no source file"),
        ("gcc -c x.o", "no source file"),
        ("gcc -c -", "no source file"),
        ("gcc -c x.c -o", "lacks its value"),
        ("gcc -c x.c -o -", "standard output"),
        ("gcc -c x.c -o-", "standard output"),
        ("gcc -c x.c x.o", "another input"),
        ("gcc y -c x.o", "no source file"),
        ("gcc -c y x.c", "another input"),
        ("gcc -c conftest.c", "trial of configure"),
        ("gcc -c dir/conftest.cpp -o x.o", "trial of configure"),
        ("gcc -c tmp.conftest.c", "trial of configure"),
        ("gcc -c .c", "no name"),
        ("clang -c -emit-llvm x.c", "-emit-llvm"),
        ("gcc -x c -c x.i", "contradicts"),
        ("gcc -finput-charset=latin1 -c x.i", "-finput-charset"),
    ],
)
def test_kept_as_a_whole(line: str, why: str) -> None:
    assert why in reason(line)


@pytest.mark.parametrize(
    "line", ["gcc -E x.c", "gcc -c -E x.c", "gcc -march=native -E", "gcc --preprocess x.c"]
)
def test_preprocessing_has_slots_of_its_own(line: str) -> None:
    found = scan(line)
    assert isinstance(found, Local)
    assert found.preprocess


@pytest.mark.parametrize(
    ("line", "whole", "action"),
    [
        ("gcc -c d/x.y.c", "gcc -c d/x.y.c -o x.y.o", Action.COMPILE),
        ("gcc -S d/x.cc -g", "gcc -S d/x.cc -g -o x.s", Action.ASSEMBLE),
        ("gcc -c -ox x.c", "gcc -c -ox x.c", Action.COMPILE),
        ("gcc -c x.i", "gcc -c x.i -o x.o", Action.COMPILE),
        ("gcc -x c++-cpp-output -c x.i", "gcc -x c++-cpp-output -c x.i -o x.o", Action.COMPILE),
        ("gcc -S x.c -o /dev/null", "gcc -S x.c -o /dev/null", Action.ASSEMBLE),
        ("clang -emit-llvm -c x.c -o x.bc", "clang -emit-llvm -c x.c -o x.bc", Action.COMPILE),
    ],
)
def test_the_output_is_made_explicit(line: str, whole: str, action: Action) -> None:
    found = scan(line)
    assert isinstance(found, Distributable)
    assert (found.argv, found.action) == (words(whole), action)


def test_reasons_fit_a_line() -> None:
    assert len(reason("gcc -c x.c -fplugin=" + "y" * 10_000)) < 200
    assert "\\xff" in commandline.scan([b"gcc", b"-c", b"x.c", b"-fplugin=\xff"]).reason  # type: ignore[union-attr]


# What distcc's StripArgs case holds, then ours.
@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("gcc -c hello.c", "gcc -c hello.c"),
        ("cc -Dhello hello.c -c", "cc hello.c -c"),
        (
            "gcc -g -O2 -W -Wall -Wshadow -Wpointer-arith -Wcast-align -c -o h_strip.o h_strip.c",
            "gcc -g -O2 -W -Wall -Wshadow -Wpointer-arith -Wcast-align -c -o h_strip.o h_strip.c",
        ),
        ("cc -c hello.c -D", "cc -c hello.c"),
        ("cc -c hello.c -D -D", "cc -c hello.c"),
        ("cc -c hello.c -I ../include", "cc -c hello.c"),
        ("cc -c -I ../include  hello.c", "cc -c hello.c"),
        ("cc -c -I. -I.. -I../include -I/home/x -c -o foo.o foo.c", "cc -c -c -o foo.o foo.c"),
        ("cc -c -DDEBUG -DFOO=23 -D BAR -c -o foo.o foo.c", "cc -c -c -o foo.o foo.c"),
        (
            "cc -o a.o -c -DOS=\"Linux2.4\" -DO -I../i -fPIC -g -include c.h -Wp,-MD,.deps/a a.c",
            "cc -o a.o -c -fPIC -g a.c",
        ),
        ("gcc -MD -MMD -MG -MP -MF f -MFf -MT t -MTt -MQ q -MQq -c x.c", "gcc -c x.c"),
        ("gcc -include a -imacros b -iprefix c -iwithprefix d -iwithprefixbefore e x", "gcc x"),
        ("gcc -isystem a -isystemb -idirafter c -iquote d -Ie -Ff x", "gcc x"),
        ("gcc -includea -iquoteb -isystem-after c -stdlib++-isystem d x", "gcc x"),
        ("gcc -lm -l m -Ldir -L dir -Wl,-z,now -Xlinker -z -z now -u sym x", "gcc x"),
        ("gcc -undef -nostdinc -nostdinc++ -stdlib=libc++ -Xpreprocessor -DX x", "gcc x"),
        ("gcc --sysroot=/s --sysroot /s --include=a --define-macro B x", "gcc x"),
        ("gcc -finput-charset=latin1 -fexec-charset=latin1 x", "gcc -fexec-charset=latin1 x"),
        ("gcc -x c x.c", "gcc -x cpp-output x.c"),
        ("gcc -xc++ x.c", "gcc -x c++-cpp-output x.c"),
        ("gcc -x objective-c x", "gcc -x objective-c-cpp-output x"),
        ("gcc -xobjective-c++ x", "gcc -x objective-c++-cpp-output x"),
        ("gcc -fdebug-prefix-map=a=b -Ix x", "gcc -fdebug-prefix-map=a=b x"),
        ("gcc -include-pch x -isysroot y", "gcc -include-pch x -isysroot y"),
        ("gcc -Xclang -D -mllvm -I --param -l -D -c x", "gcc -Xclang -D -mllvm -I --param -l x"),
    ],
)  # fmt: skip
def test_what_text_does_not_need_is_left_out(line: str, left: str) -> None:
    assert commandline.strip(words(line)) == words(left)


@pytest.mark.parametrize(
    ("line", "expanded"),
    [
        ("gcc -Wp,-MD,dir/x.d -c x.c", "gcc -MD -MF dir/x.d -c x.c"),
        ("gcc -Wp,-MMD,x.d,-MT,t,-DA=1 x.c", "gcc -MMD -MF x.d -MT t -DA=1 x.c"),
        ("gcc -Wp,-MD -c", "gcc -MD -c"),
        ("gcc -Wp,-D,A -Wp,-P", "gcc -D A -P"),
        ("gcc -Wp, -c", "gcc -c"),
        ("gcc -Xclang -Wp,-P -I -Wp,-P", "gcc -Xclang -Wp,-P -I -Wp,-P"),
    ],
)
def test_wp_is_expanded(line: str, expanded: str) -> None:
    assert commandline.expand_wp(words(line)) == words(expanded)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("gcc -O2 -c x.c -o x.o", "gcc -O2 -E x.c"),
        ("gcc -c -c -S x.c -ox.o", "gcc -E -E -E x.c"),
        ("gcc -D -c -D -o -c x.c", "gcc -D -c -D -o -E x.c"),
        ("gcc -MD -c x.c -o d/x.o", "gcc -MD -E x.c -MF d/x.d -MQ d/x.o"),
        ("gcc -MMD -MF f -c x.c -o d/x.o", "gcc -MMD -MF f -E x.c -MQ d/x.o"),
        ("gcc -MD -MT t -c x.c -o d/x.o", "gcc -MD -MT t -E x.c -MF d/x.d"),
        ("gcc -MD -c x.c", "gcc -MD -E x.c"),
        ("gcc -Wp,-MD,f -c x.c -o d/x.o", "gcc -Wp,-MD,f -E x.c"),
    ],
)
def test_the_preprocessor_writes_to_standard_output(line: str, command: str) -> None:
    assert commandline.preprocess_argv(words(line)) == words(command)


# What distcc's DotD case holds (names as gcc gives them), then ours.
@pytest.mark.parametrize(
    ("line", "file", "wanted", "names_target"),
    [
        ("foo.c -o hello.o -MD", "hello.d", True, False),
        ("foo.c -o hello.. -MD", "hello..d", True, False),
        ("foo.c -o hello.bar.foo -MD", "hello.bar.d", True, False),
        ("foo.c -o hello.o", "hello.d", False, False),
        ("foo.c -MD", "foo.d", True, False),
        ("foo.c -o hello. -MD", "hello.d", True, False),
        ("foo.c -o hello. -MD -MT tootoo", "hello.d", True, True),
        ("foo.c -o hello.o -MD -MT tootoo", "hello.d", True, True),
        ("foo.c -o hello.o -MD -MF foobar", "foobar", True, False),
        ("foo.cpp -o hello.o", "hello.d", False, False),
        ("foo.cpp -o hello", "hello.d", False, False),
        ("foo.c -o hello -MD", "hello.d", True, False),
        ("foo.c -ohello.o -MMD -MTx", "hello.d", True, True),
        ("foo.c -MFx -MD -MQ y", "x", True, True),
        ("dir/foo.c -MD", "foo.d", True, False),
        ("foo.c -o dir.x/hello -MD", "dir.x/hello.d", True, False),
        ("foo.c -Wp,-MD,x.d -o hello.o", "x.d", True, False),
        ("foo.c -MP -MG", "foo.d", False, False),
        ("foo.c -MTx -MF y", "y", False, True),
        ("-MD", None, True, False),
    ],
)
def test_where_dependencies_go(
    line: str, file: str | None, wanted: bool, names_target: bool
) -> None:
    expected = None if file is None else file.encode()
    assert commandline.dependency_target(words("gcc -c " + line)) == Dependencies(
        expected, wanted, names_target, None
    )


@pytest.mark.parametrize(
    ("line", "value", "file", "target"),
    [
        ("gcc -c foo.c", b"xxx.d yyy", b"xxx.d", b"yyy"),
        ("gcc -c foo.c", b"zzz.d", b"zzz.d", None),
        ("gcc -c foo.c -MD -MF aaa", b"xxx.d yyy", b"aaa", None),
    ],
)
def test_dependencies_output_asks_too(
    line: str, value: bytes, file: bytes, target: bytes | None
) -> None:
    assert commandline.dependency_target(words(line), value) == Dependencies(
        file, True, False, target
    )


@pytest.mark.parametrize(
    ("line", "replaced"),
    [
        ("gcc -c x.c -o x.o", "gcc -c in.i -o out.o"),
        ("gcc -ox.o -c -D x.c x.c", "gcc -oout.o -c -D x.c in.i"),
        ("gcc -c x.c", "gcc -c in.i -o out.o"),
        ("gcc -c x.c -o", "gcc -c in.i -o out.o"),
    ],
)
def test_files_are_replaced(line: str, replaced: str) -> None:
    assert commandline.with_files(words(line), b"in.i", b"out.o") == words(replaced)


@pytest.mark.parametrize(
    ("line", "source", "output"),
    [
        ("gcc -c", b"in.i", b"out.o"),
        ("gcc -c x.c y.c", b"in.i", b"out.o"),
        ("gcc -c x.c -o a -o b", b"in.i", b"out.o"),
        ("gcc -c x.c", b"-x.i", b"out.o"),
        ("gcc -c x.c", b"in.i", b"@out"),
    ],
)
def test_files_that_cannot_be_replaced(line: str, source: bytes, output: bytes) -> None:
    with pytest.raises(ValueError, match="the "):
        commandline.with_files(words(line), source, output)


WORD = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        sorted({word for line in SENT for word in words(line)})
        + sorted({word for lines in KEPT.values() for line in lines for word in words(line)})
        + b"-c -S -E -o x.c y.i x.o -Wp,-MD,f -Wp,-D -x c -xc++ -oy -MD".split()
    ),
)
VECTOR = st.lists(WORD, max_size=12)
COMPILE = st.builds(
    lambda line, output: [b"gcc", *words(line), b"-c", b"x.c", *output],
    st.lists(st.sampled_from(SENT), max_size=3).map(" ".join),
    st.sampled_from([[], [b"-o", b"x"], [b"-oy.o"]]),
)


@given(VECTOR)
def test_nothing_is_raised_by_any_vector(argv: list[bytes]) -> None:
    commandline.scan(argv)
    commandline.strip(argv)
    commandline.expand_wp(argv)
    commandline.preprocess_argv(argv)
    commandline.dependency_target(argv)
    commandline.find_compiler(argv)


@given(VECTOR)
def test_no_word_is_lost_in_cutting(argv: list[bytes]) -> None:
    again: list[bytes] = []
    for word in cut(argv):
        again += [word.name + (word.value or b"")] if word.joined else [word.name]
        again += [word.value] if word.value is not None and not word.joined else []
    assert again == argv[1:]


@given(VECTOR)
def test_what_is_stripped_stays_so(argv: list[bytes]) -> None:
    once = commandline.strip(argv)
    assert commandline.strip(once) == once


@given(st.one_of(VECTOR, COMPILE))
def test_a_vector_that_is_sent_reads_the_same(argv: list[bytes]) -> None:
    found = commandline.scan(argv)
    if isinstance(found, Distributable):
        assert commandline.scan(found.argv) == found


@given(COMPILE)
def test_what_is_sent_has_the_files_that_it_is_given(argv: list[bytes]) -> None:
    sent = commandline.strip(argv)
    replaced = commandline.with_files(sent, b"in.i", b"out.o")
    reading = commandline.read(replaced)
    assert [word.name for word in reading.inputs] == [b"in.i"]
    assert [word.value for word in reading.outputs] == [b"out.o"]
    assert reading.reason is None


@pytest.mark.parametrize(
    ("line", "clang", "sent"),
    [
        ("cc -c a.c", False, "x-linux-gnu-gcc -c a.c"),
        ("c++ -c a.cc", False, "g++ -c a.cc"),
        ("gcc-12 -c a.c", False, "x-linux-gnu-gcc-12 -c a.c"),
        ("gcc -c a.c", False, "x-linux-gnu-gcc -c a.c"),
        ("g++-11 -c a.cc", False, "g++-11 -c a.cc"),
        ("cc -c a.c", True, "clang -c a.c -target x-linux-gnu"),
        ("c++ -c a.cc", True, "clang++ -c a.cc -target x-linux-gnu"),
        ("clang-14 -c a.c -target arm", True, "clang-14 -c a.c -target arm"),
        ("clang --target=arm -c a.c", True, "clang --target=arm -c a.c"),
        ("/usr/bin/gcc -c a.c", False, "/usr/bin/gcc -c a.c"),
        ("/usr/bin/clang -c a.c", True, "/usr/bin/clang -c a.c"),
        ("arm-linux-gnueabi-gcc -c a.c", False, "arm-linux-gnueabi-gcc -c a.c"),
        ("c89 -c a.c", False, "c89 -c a.c"),
    ],
)
def test_a_compiler_that_other_machines_find(line: str, clang: bool, sent: str) -> None:
    here = {b"x-linux-gnu-gcc", b"x-linux-gnu-gcc-12"}
    argv = commandline.portable(
        line.encode().split(), clang=clang, triplet=b"x-linux-gnu", same=here.__contains__
    )
    assert b" ".join(argv).decode() == sent


def test_a_long_vector_is_read_each_time() -> None:
    """Kept ones of a response file's size would fill the memory."""
    short = (b"gcc", b"-c", b"once.c", b"-o", b"once.o")
    long = (*short, *[b"-DX=%d" % number for number in range(commandline.SHORT // 4)])
    for vector, kept in ((short, True), (long, False)):
        assert (commandline.scan(vector) is commandline.scan(list(vector))) is kept
