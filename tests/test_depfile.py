"""Dependency files: reading, writing again, and what the installed compilers write."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycc.depfile import (
    DepfileError,
    Rule,
    Style,
    as_depfile,
    default_target,
    parse,
    render,
    without_dot_slash,
)

COMPILERS = [
    pytest.param(
        name, style, marks=pytest.mark.skipif(not shutil.which(name), reason=f"no {name} here")
    )
    for name, style in (("gcc", Style.GCC), ("clang", Style.CLANG))
]


@pytest.mark.parametrize(
    ("text", "prerequisites"),
    [
        (b"a.o: a.c\n", (b"a.c",)),
        (b"a.o: a.c b.h", (b"a.c", b"b.h")),
        (b"a.o: a.c \\\n b.h \\\n  c.h\n", (b"a.c", b"b.h", b"c.h")),
        (b"a.o: a.c \\\r\n b.h\r\n", (b"a.c", b"b.h")),
        (b"a.o: \\\n  a.c\n", (b"a.c",)),
        (rb"a.o: a\ b.h", (b"a b.h",)),
        (rb"a.o: a\\\ b.h", (rb"a\ b.h",)),
        (rb"a.o: a\\ b.h", (rb"a\\", b"b.h")),
        (b"a.o: a\\\tb.h", (b"a\tb.h",)),
        (b"a.o: a\tb.h", (b"a\tb.h",)),
        (rb"a.o: a\#b.h", (b"a#b.h",)),
        (rb"a.o: a\\#b.h", (rb"a\#b.h",)),
        (rb"a.o: $$a$$$$b.h", (b"$a$$b.h",)),
        (rb"a.o: a\b.h", (rb"a\b.h",)),
        (b"a.o: c:d.h a:.h", (b"c:d.h", b"a:.h")),
        (b"a.o: \xff\xe9.h", (b"\xff\xe9.h",)),
        (b"a.o:\n", ()),
    ],
)
def test_prerequisites_are_unquoted_in_order(text: bytes, prerequisites: tuple[bytes, ...]) -> None:
    assert parse(text).prerequisites == prerequisites


def test_target_text_stays_as_written() -> None:
    assert parse(b"a\\ b$$.o q: c.c\n").target_text == b"a\\ b$$.o q"


def test_targets_are_split_and_unquoted() -> None:
    assert parse(b"a\\ b$$.o \\\n q: c.c\n").targets == (b"a b$.o", b"q")


def test_a_colon_inside_a_target_does_not_end_it() -> None:
    assert parse(b"c:a.o: a.c\n").targets == (b"c:a.o",)


def test_phony_rules_are_seen() -> None:
    assert parse(b"a.o: a.c b.h\nb.h:\n").phony
    assert not parse(b"a.o: a.c b.h\n").phony


def test_the_prerequisite_without_a_phony_rule_is_the_main_one() -> None:
    assert parse(b"a.o: p.h a.c b.h\n\np.h:\n\nb.h:\n").main == 1


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"nothing here\n",
        b"a.o: a.c\nb.o: b.c\n",
        b"a.o: a.c\0\n",
        b"a.o: a.c\nx.c++m: a.o\nCXX_IMPORTS += x.c++m\n",
        b"a.o gcm.cache/x.gcm: a.c\n",
        b"a.o: a.c | b\n",
        b"a.o: a.c\n.PHONY: x.c++m\n",
    ],
)
def test_other_texts_are_refused(text: bytes) -> None:
    with pytest.raises(DepfileError):
        parse(text)


def test_the_assembler_quotes_like_gcc() -> None:
    rule = as_depfile(b"q\\ x.o: d#$$.bin b\\ c.inc q.s\n")
    assert rule.targets == (b"q x.o",)
    assert rule.prerequisites == (b"d#$.bin", b"b c.inc", b"q.s")


@pytest.mark.parametrize(
    ("target", "prerequisites"),
    [
        ((b"", True), (b"a.c",)),
        ((b"a\nb", True), (b"a.c",)),
        ((b"a.o", True), ()),
        ((b"a.o", True), (b"a\nb",)),
    ],
)
def test_unknown_layouts_are_not_rendered(
    target: tuple[bytes, bool], prerequisites: tuple[bytes, ...]
) -> None:
    assert render(Rule(b"", (), prerequisites), [target], Style.GCC) is None


def test_no_target_is_not_rendered() -> None:
    assert render(Rule(b"", (), (b"a.c",)), [], Style.GCC) is None


@pytest.mark.parametrize(
    ("object_path", "source", "style", "past_driver", "target"),
    [
        (b"./d/x.o", b"a.c", Style.GCC, False, b"./d/x.o"),
        (b"x.o", b"a.c", Style.GCC, True, b"a.o"),
        (b"x.o", b"a.c", Style.CLANG, True, b"x.o"),
        (None, b"d.e/a.b.c", Style.GCC, False, b"a.b.o"),
        (None, b"d.e/noext", Style.CLANG, False, b"noext.o"),
        (None, b".c", Style.GCC, False, b".o"),
    ],
)
def test_default_target(
    object_path: bytes | None, source: bytes, style: Style, past_driver: bool, target: bytes
) -> None:
    assert default_target(object_path, source, style, past_driver=past_driver) == (target, True)


@pytest.mark.parametrize(
    ("name", "bare"),
    [(b"./a", b"a"), (b".//./a", b"a"), (b"../a", b"../a"), (b"a/./b", b"a/./b")],
)
def test_leading_dots_go(name: bytes, bare: bytes) -> None:
    assert without_dot_slash(name) == bare


# A name that ends in a backslash is ambiguous in the format itself, and a line cannot hold "\n".
names = st.binary(min_size=1, max_size=40).filter(
    lambda n: not n.endswith((b"\\", b"\r")) and not set(n) & set(b"\n\0")
)
gcc_names = names.filter(lambda n: b"\\\r" not in n and n != b"|")


@given(st.lists(gcc_names, min_size=1, max_size=30, unique=True), st.booleans())
def test_what_gcc_would_write_is_read_back(prerequisites: list[bytes], phony: bool) -> None:
    phony = phony and len(prerequisites) > 1
    rule = Rule(b"x.o", (b"x.o",), tuple(prerequisites), phony)
    text = render(rule, [(b"x.o", False)], Style.GCC)
    assert text is not None
    assert parse(text) == rule


@given(st.lists(gcc_names.filter(lambda n: b"\\" not in n), min_size=1, max_size=30, unique=True))
def test_what_clang_would_write_is_read_back(prerequisites: list[bytes]) -> None:
    rule = Rule(b"x.o", (b"x.o",), tuple(prerequisites))
    text = render(rule, [(b"x.o", False)], Style.CLANG)
    assert text is not None
    assert parse(text) == rule


@given(st.binary(max_size=300))
def test_any_text_is_read_or_refused(text: bytes) -> None:
    try:
        parse(b"a: " + text)
    except DepfileError:
        return


def test_long_runs_of_backslashes_take_linear_time() -> None:
    assert parse(b"a: " + b"\\" * 1_000_000).prerequisites == (b"\\" * 1_000_000,)


HEADERS = (
    b"plain.h",
    b"sub/dir/deep.h",
    b"with space.h",
    b"two  spaces.h",
    b"dollar$$x.h",
    b"hash#tag.h",
    b"colon:x.h",
    b"percent%.h",
    b"back slash .h",
    b"caf\xc3\xa9-\xff.h",
    *(b"h%02d-%s.h" % (i, b"x" * (i * 5 % 37)) for i in range(40)),
)
TARGETS: tuple[tuple[tuple[bytes, bool], ...], ...] = (
    (),
    ((b"one.o", False),),
    ((b"./dir/one o.o", True),),
    ((b"./a$(B)#.o", False),),
    ((b"q$1", True), (b"t$1", False), (b"q2 #", True), (b"t2", False)),
    (
        (b"q1", True),
        (b"q2", True),
        (b"t1", False),
        (b"t2", False),
        (b"t3" + b"x" * 40, False),
        (b"q3" + b"y" * 40, True),
    ),
    tuple((b"target%d.o" % i, i % 3 == 0) for i in range(12)),
)


@pytest.fixture(scope="module")
def headers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("headers")
    for name in HEADERS:
        path = root / Path(name.decode("utf-8", "surrogateescape"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (root / "o").mkdir()
    for source in ("m.c", "m s$.c"):
        text = b"".join(b'#include "%s"\n' % name for name in HEADERS) + b"#include <stddef.h>\n"
        (root / source).write_bytes(text)
    return root


def compile_(root: Path, command: Sequence[bytes]) -> bytes:
    subprocess.run([*command, b"-w", b"-S", b"-MF", b"x.d"], cwd=root, check=True)
    return (root / "x.d").read_bytes()


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize(("compiler", "style"), COMPILERS)
def test_rendered_text_is_what_the_compiler_writes(
    headers: Path, compiler: str, style: Style, targets: tuple[tuple[bytes, bool], ...]
) -> None:
    command = [compiler.encode(), b"-MD", b"-o", b"./o/m x.s", b"m.c"]
    for text, quoted in targets:
        command += [b"-MQ" if quoted else b"-MT", text]
    written = compile_(headers, command)
    own = targets or (default_target(b"./o/m x.s", b"m.c", style),)
    assert render(parse(written), own, style) == written


@pytest.mark.parametrize(("compiler", "style"), COMPILERS)
def test_a_rule_can_be_rendered_for_another_target(
    headers: Path, compiler: str, style: Style
) -> None:
    command = [compiler.encode(), b"-MMD", b"-MP", b"m s$.c", b"-o"]
    first = compile_(headers, [*command, b"o/first.s"])
    long_name = b"o/" + b"second-" * 12 + b".s"
    second = compile_(headers, [*command, long_name])
    assert render(parse(first), [(long_name, True)], style) == second


@pytest.mark.parametrize(("compiler", "style"), COMPILERS)
def test_every_prerequisite_that_is_read_exists(headers: Path, compiler: str, style: Style) -> None:
    rule = parse(compile_(headers, [compiler.encode(), b"-MD", b"m.c", b"-o", b"o/m.s"]))
    assert set(HEADERS) <= set(rule.prerequisites)
    assert all(
        (headers / Path(name.decode("utf-8", "surrogateescape"))).exists()
        for name in rule.prerequisites
    )


@pytest.mark.parametrize(("compiler", "style"), COMPILERS)
@pytest.mark.parametrize("out", [None, b"./o/z.s"])
def test_the_default_target_past_the_driver(
    headers: Path, compiler: str, style: Style, out: bytes | None
) -> None:
    command = [compiler.encode(), b"-Wp,-MMD,y.d", b"-w", b"-S", b"m.c"]
    subprocess.run([*command, *([b"-o", out] if out else [])], cwd=headers, check=True)
    written = (headers / "y.d").read_bytes()
    own = default_target(out, b"m.c", style, past_driver=True)
    assert render(parse(written), [own], style) == written


@pytest.mark.skipif(not shutil.which("as"), reason="no assembler here")
def test_the_assembler_names_what_it_read(tmp_path: Path) -> None:
    (tmp_path / "b c.inc").write_text(".long 1\n")
    (tmp_path / "d$.bin").write_text("x")
    (tmp_path / "q.s").write_text('.include "b c.inc"\n.incbin "d$.bin"\n')
    subprocess.run(["as", "--MD", "as.d", "q.s", "-o", "q.o"], cwd=tmp_path, check=True)
    rule = as_depfile((tmp_path / "as.d").read_bytes())
    assert set(rule.prerequisites) == {b"q.s", b"b c.inc", b"d$.bin"}
