"""The grammar of configuration files: text to items, and text with one value replaced.

    <file>         ::= { <blank> | <comment> | <item> }
    <blank>        ::= whitespace only
    <comment>      ::= [whitespace] "#" anything          also between the lines of a value
    <item>         ::= <key> [whitespace] "=" <value> { <continuation> | <comment> | <blank> }
    <key>          ::= begins in the first column, holds no "="
    <continuation> ::= whitespace, then text              joined to the value by one space

Continuation lines came with ccache 4.13; before that an indented line was an item of its own.
"""

from __future__ import annotations

from pycc.config_values import SPACE
from pycc.errors import ConfigError
from pycc.record import record


class ConfigSyntaxError(ConfigError):
    """A line (counted from 1) is neither blank, comment, item nor continuation."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"{line}: {message}")
        self.line = line
        self.message = message


@record
class Item:
    """One setting: its line (from 1), and the span of its raw value in the text."""

    line: int
    key: str
    value: str
    start: int
    end: int


def parse_items(text: str) -> list[Item]:
    """The items of ``text`` in order; ConfigSyntaxError names the first line that is wrong."""
    items: list[Item] = []
    key = ""
    first_line = start = end = offset = 0
    parts: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip(SPACE)
        line_end = offset + len(line.removesuffix("\r"))
        if not stripped or stripped[0] == "#":
            pass
        elif line[0] in SPACE:
            if not first_line:
                raise ConfigSyntaxError(number, "indented key")
            parts.append(stripped)
            end = line_end
        else:
            equal = line.find("=")
            if equal < 0:
                raise ConfigSyntaxError(number, "missing equal sign")
            if first_line:
                items.append(Item(first_line, key, " ".join(parts), start, end))
            first_line, key, end = number, line[:equal].rstrip(SPACE), line_end
            raw = line[equal + 1 :]
            start = min(end, offset + equal + 1 + len(raw) - len(raw.lstrip(SPACE)))
            value = raw.strip(SPACE)
            # A value that begins with a hash sign is a comment to ccache as well.
            parts = [value] if value and value[0] != "#" else []
        offset += len(line) + 1
    if first_line:
        items.append(Item(first_line, key, " ".join(parts), start, end))
    return items


def replace_value(text: str, key: str, value: str) -> str:
    """``text`` with ``key`` set to ``value``: the item that counts is changed, or one is appended.

    Where a key stands more than once its last item counts, so that one is changed (ccache
    changes the first, and the new value then has no effect).
    """
    found = [item for item in parse_items(text) if item.key == key]
    if found:
        item = found[-1]
        bare = text[item.start - 1] == "=" and not text[item.start : item.end].strip(SPACE)
        gap = " " if bare or text.startswith("\n", item.start) else ""
        return f"{text[: item.start]}{gap}{value}{text[item.end :]}"
    if text and not text.endswith("\n"):
        text += "\n"
    return f"{text}{key} = {value}\n"
