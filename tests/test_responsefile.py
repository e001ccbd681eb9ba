"""Response files: the rules by table, and the same words as the installed compilers see."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycc.responsefile import (
    LIMIT,
    ResponseFileError,
    expand,
    is_windows,
    split,
    split_windows,
)

WORDS = [
    (b"", []),
    (b" \t\n\v\f\r", []),
    (b"a", [b"a"]),
    (b"a b\tc\nd\ve\ff\r\ng", [b"a", b"b", b"c", b"d", b"e", b"f", b"g"]),
    (b"'a b' c", [b"a b", b"c"]),
    (b'"a b" c', [b"a b", b"c"]),
    (b"a'b 'c\" d\"", [b"ab c d"]),
    (b'"it\'s"', [b"it's"]),
    (b"'say \"x\"'", [b'say "x"']),
    (rb"a\ b", [b"a b"]),
    (rb"\a\\b", [rb"a\b"]),
    (rb"-DX=\"y\"", [b'-DX="y"']),
    (rb'"-DX=\"y\\z\""', [rb'-DX="y\z"']),
    (rb'"\$ \`"', [b"$ `"]),
    (rb"\'", [b"'"]),
    (b'-DX=""', [b"-DX="]),
    (b"-DX=''y", [b"-DX=y"]),
    (b"# not a comment", [b"#", b"not", b"a", b"comment"]),
    (b"\xff \xfe\xc3", [b"\xff", b"\xfe\xc3"]),
    (b"'a\nb'", [b"a\nb"]),
    (b"--not @nested 'with @at'", [b"--not", b"@nested", b"with @at"]),
]


@pytest.mark.parametrize(("content", "words"), WORDS)
def test_words_of_a_file(content: bytes, words: list[bytes]) -> None:
    assert split(content) == words


WINDOWS_WORDS = [
    (rb"-DX=a\b -DY", [rb"-DX=a\b", b"-DY"]),
    (rb'-DX="a b"', [b"-DX=a b"]),
    (rb"-DX=\"a\"", [b'-DX="a"']),
    (rb'"-DY=c d\\" -DZ', [b"-DY=c d\\", b"-DZ"]),
    (rb'"-DX=a\\\"b"', [b'-DX=a\\"b']),
    (b"-DX='a -Db'", [b"-DX='a", b"-Db'"]),
]


@pytest.mark.parametrize(("content", "words"), WINDOWS_WORDS)
def test_words_by_windows_rules(content: bytes, words: list[bytes], tmp_path: Path) -> None:
    assert split_windows(content) == words
    clang = shutil.which("clang")
    if clang is not None:
        (tmp_path / "f").write_bytes(content)
        line = [clang, "-###", "--rsp-quoting=windows", "-xc", "-c", "/dev/null", f"@{tmp_path}/f"]
        said = subprocess.run(line, capture_output=True, check=True).stderr.decode()
        seen = shlex.split(said.splitlines()[-1])
        given = [f"-D{seen[at + 1]}".encode() for at, word in enumerate(seen) if word == "-D"]
        assert given == words


@pytest.mark.parametrize("content", [b'"a', b'"a""b"', b"a\fb", b'""', b"\xff\xfea\0"])
def test_what_is_doubtful_by_windows_rules_is_refused(content: bytes) -> None:
    with pytest.raises(ResponseFileError):
        split_windows(content)


def test_rules_other_than_the_compilers_are_refused_where_it_matters() -> None:
    for line, wanted in ([b"@f"], "windows"), ([b"--rsp-quoting=windows", b"@f"], "posix"):
        assert expand(line, lambda _: b"-DX=1", wanted)[0][-1] == b"-DX=1"
        with pytest.raises(ResponseFileError):
            expand(line, lambda _: b'-DX="1"', wanted)


def test_the_last_word_on_quoting_counts() -> None:
    words = [b"--rsp-quoting=windows", b"--rsp-quoting=posix"]
    assert not is_windows(words)
    assert is_windows(words[::-1])
    assert not is_windows([b"-c"])


@pytest.mark.parametrize(
    "content",
    [
        rb"'a\b'",
        rb'"a\b"',
        b"a\\\nb",
        b"a\\",
        b"''",
        b'a "" b',
        b"'a",
        b'a "b',
        b"a\0b",
        b"\xef\xbb\xbfa",
        b"\xff\xfea\0",
    ],
)
def test_what_compilers_read_in_different_ways_is_refused(content: bytes) -> None:
    with pytest.raises(ResponseFileError):
        split(content)


def test_line_without_files_is_left_alone() -> None:
    assert expand([b"-c", b"t.c"], lambda name: b"") == ((b"-c", b"t.c"), ())


def test_file_is_expanded_in_place_wherever_it_stands() -> None:
    files = {b"f": b"-DX t.c", b"o": b"x.o"}
    words, asked = expand([b"-c", b"@f", b"-o", b"@o", b"-g"], files.get)
    assert words == (b"-c", b"-DX", b"t.c", b"-o", b"x.o", b"-g")
    assert asked == (b"f", b"o")


def test_unreadable_file_stays_and_is_reported() -> None:
    assert expand([b"@gone", b"-c"], lambda name: None) == ((b"@gone", b"-c"), (b"gone",))


def test_at_sign_alone_names_the_empty_file() -> None:
    assert expand([b"@"], lambda name: None) == ((b"@",), (b"",))


def test_files_nest_in_order() -> None:
    files = {b"a": b"1 @b 3", b"b": b"@c 2", b"c": b""}
    assert expand([b"@a", b"4"], files.get) == (
        (b"1", b"2", b"3", b"4"),
        (b"a", b"b", b"c"),
    )


def test_file_that_names_itself_ends() -> None:
    with pytest.raises(ResponseFileError, match="too many"):
        expand([b"@a"], lambda name: b"@a x")


def test_file_that_multiplies_itself_ends() -> None:
    with pytest.raises(ResponseFileError, match="too many"):
        expand([b"@a"], lambda name: b"@a " + b"x " * 10_000)


def test_as_many_files_as_libiberty_reads() -> None:
    args = [b"@x"] * (LIMIT - 1)
    assert expand(args, lambda name: b"")[0] == ()
    with pytest.raises(ResponseFileError):
        expand([*args, b"@x"], lambda name: b"")


@given(words=st.lists(st.text(alphabet='ab \t\n$`"#@\xe9', min_size=1, max_size=5), max_size=4))
def test_quoted_words_come_back(words: list[str]) -> None:
    quoted = b" ".join(b'"' + w.encode().replace(b'"', b'\\"') + b'"' for w in words)
    assert split(quoted) == [w.encode() for w in words]


@given(content=st.binary(max_size=40))
def test_any_file_is_split_or_refused(content: bytes) -> None:
    try:
        words = split(content)
    except ResponseFileError:
        return
    assert all(words)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_compilers_see_the_same_words(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    # One definition for each word, so that the compiler's own report shows them apart.
    expected = []
    lines = []
    for number, (content, words) in enumerate(WORDS):
        # A white-space file has no word to glue to, and @nested would be looked for.
        if len(words) == 1 and b"\n" not in words[0]:
            lines.append(b"-DW%d=" % number + content)
            expected.append(f"W{number}=".encode() + words[0])
    (tmp_path / "f").write_bytes(b"\n".join(lines))
    (tmp_path / "t.c").write_bytes(b"")
    done = subprocess.run(
        [compiler, "-###", "-c", "@f", "t.c"], cwd=tmp_path, capture_output=True, check=True
    )
    report = next(x for x in done.stderr.decode("latin-1").splitlines() if "W2=" in x)
    # clang escapes the dollar sign for the shell, which shlex does not undo.
    seen = [w.encode("latin-1") for w in shlex.split(report.replace(r"\$", "$"))]
    for word in expected:
        assert word in seen or b"-D" + word in seen
