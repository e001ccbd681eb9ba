"""The grammar of configuration files: items, their lines, errors, and replaced values."""

from __future__ import annotations

import pytest

from pycc.config_file import ConfigSyntaxError, parse_items, replace_value


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", []),
        ("\n \n# x\n  # y\n", []),
        ("a=b", [(1, "a", "b")]),
        ("a = b\n", [(1, "a", "b")]),
        ("a\t=\t b c \t\n", [(1, "a", "b c")]),
        ("a = b\r\nc = d\r\n", [(1, "a", "b"), (2, "c", "d")]),
        ("a = b = c", [(1, "a", "b = c")]),
        ("a =\nb = c\n", [(1, "a", ""), (2, "b", "c")]),
        ("= b", [(1, "", "b")]),
        ("a = b # c", [(1, "a", "b # c")]),
        ("a = #b", [(1, "a", "")]),
        ("a = b\na = c", [(1, "a", "b"), (2, "a", "c")]),
        ("a = b\n  c\n\td\n", [(1, "a", "b c d")]),
        ("a =\n  b\n# x\n\n  # y\n  c # z\n\n# w\nd = e", [(1, "a", "b c # z"), (9, "d", "e")]),
        ("# x\n\na = b", [(3, "a", "b")]),
        ("a = \udcff", [(1, "a", "\udcff")]),
    ],
)
def test_items(text: str, items: list[tuple[int, str, str]]) -> None:
    assert [(item.line, item.key, item.value) for item in parse_items(text)] == items


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "1: missing equal sign"),
        ("a = b\n\nx", "3: missing equal sign"),
        ("  a = b", "1: indented key"),
        ("# c\n\ta = b", "2: indented key"),
    ],
)
def test_wrong_lines_are_named(text: str, message: str) -> None:
    with pytest.raises(ConfigSyntaxError) as error:
        parse_items(text)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("", "key = new\n"),
        ("a = b", "a = b\nkey = new\n"),
        ("a = b\n", "a = b\nkey = new\n"),
        ("# key = old\n", "# key = old\nkey = new\n"),
        ("key = old", "key = new"),
        ("key=old\nb=c\n", "key=new\nb=c\n"),
        ("key =   old one  \n", "key =   new\n"),
        ("key = old\r\nb = c\r\n", "key = new\r\nb = c\r\n"),
        ("key =\nb = c\n", "key = new\nb = c\n"),
        ("key =", "key = new"),
        ("key =\n  old\nb = c\n", "key = new\nb = c\n"),
        ("key = old\n  older\n# x\n  oldest\n\n# y\nb = c", "key = new\n\n# y\nb = c"),
        ("key = 1\nkey = 2\nb = c\n", "key = 1\nkey = new\nb = c\n"),
        ("keys = old\n", "keys = old\nkey = new\n"),
    ],
)
def test_one_value_is_replaced_and_the_rest_stays(text: str, changed: str) -> None:
    assert replace_value(text, "key", "new") == changed


@pytest.mark.parametrize(
    "text", ["", "key =", "key = a\n b\n#c\n d\n", "x = y\nkey=\n\n", "key=a\r\n"]
)
def test_a_replaced_value_is_read_back(text: str) -> None:
    items = parse_items(replace_value(text, "key", "new value"))
    assert [item.value for item in items if item.key == "key"] == ["new value"]


def test_a_file_with_a_wrong_line_is_not_changed() -> None:
    with pytest.raises(ConfigSyntaxError):
        replace_value("x\nkey = old\n", "key", "new")
