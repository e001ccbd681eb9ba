"""How one configuration value is written: text to value, value to text, and $VAR expansion.

The syntax and the words of every error are ccache's (manual, "Configuration value syntax" and
each option's entry; src/ccache/util/string.cpp of ccache e5731387), because people search for
these messages and because scripts compare ``--get-config`` output.
"""

from __future__ import annotations

import math
import os
import posixpath
import re
from collections.abc import Mapping
from typing import Self

from pycc.errors import ConfigError
from pycc.pattern import pattern

# C's isspace(); str.strip() without an argument would also eat Unicode spaces in names.
SPACE = " \t\n\v\f\r"

SLOPPINESS = (
    "clang_index_store",
    "file_stat_matches",
    "file_stat_matches_ctime",
    "gcno_cwd",
    "incbin",
    "include_file_ctime",
    "include_file_mtime",
    "ivfsoverlay",
    "locale",
    "modules",
    "pch_defines",
    "random_seed",
    "system_headers",
    "time_macros",
)
COMPILER_TYPES = frozenset(
    ("clang", "clang-cl", "gcc", "icl", "icx", "icx-cl", "msvc", "nvcc", "qcc", "other")
)

_NAME = pattern(r"[A-Za-z0-9_]*")
_NUMBER = pattern(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)", re.ASCII)
_INTEGER = pattern(r"[+-]?[0-9]+")
_UNSIGNED = {8: pattern(r"\+?[0-7]+"), 10: pattern(r"\+?[0-9]+")}
_UINT64_MAX = 2**64 - 1
_INT64 = (-(2**63), 2**63 - 1)
_PREFIX_POWER = {"k": 1, "K": 1, "M": 2, "G": 3, "T": 4}
_DURATION_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Size(int):
    """A number of bytes that remembers whether its owner counts in powers of 1000 or 1024."""

    decimal: bool

    def __new__(cls, count: int, decimal: bool = False) -> Self:
        """``count`` bytes, shown in powers of 1000 when ``decimal``."""
        size = super().__new__(cls, count)
        size.decimal = decimal
        return size


def expand_variables(text: str, environment: Mapping[bytes, bytes]) -> str:
    """Replace ``$VAR``, ``${VAR}`` and ``$$`` in ``text``.

    A dollar sign that no name follows stands for itself.
    Raises ConfigError when a variable is not set or a brace is not closed.
    """
    if "$" not in text:
        return text
    parts: list[str] = []
    left = 0
    while (dollar := text.find("$", left)) >= 0:
        parts.append(text[left:dollar])
        if text.startswith("$", dollar + 1):
            parts.append("$")
            left = dollar + 2
            continue
        curly = text.startswith("{", dollar + 1)
        start = dollar + 1 + curly
        match = _NAME.match(text, start)
        name = match.group() if match else ""
        end = start + len(name)
        if curly and not text.startswith("}", end):
            raise ConfigError(f"syntax error: missing '}}' after \"{text[start:]}\"")
        if not name:
            parts.append("$")
            left = start
            continue
        value = environment.get(name.encode())
        if value is None:
            raise ConfigError(f'environment variable "{name}" not set')
        parts.append(os.fsdecode(value))
        left = end + curly
    parts.append(text[left:])
    return "".join(parts)


def parse_bool(text: str) -> bool:
    """Read a boolean of a file or command line: exactly ``true`` or ``false``."""
    if text == "true":
        return True
    if text == "false":
        return False
    raise ConfigError(f'not a boolean value: "{text}"')


def check_environment_bool(text: str, opposite: str) -> None:
    """Refuse a boolean variable whose text is a negative word; any other text means "set".

    ccache once took ``CCACHE_DISABLE=0`` for true, which nobody who writes it means.
    ``opposite`` is the variable that does mean it, named in the ConfigError.
    """
    if text.lower() in ("0", "false", "disable", "no"):
        raise ConfigError(
            f'invalid boolean environment variable value "{text}"'
            f' (did you mean to set "{opposite}=true"?)'
        )


def format_bool(value: bool) -> str:
    """``true`` or ``false``."""
    return "true" if value else "false"


def parse_signed(text: str, minimum: int, maximum: int, description: str) -> int:
    """Read a decimal integer within the inclusive bounds; ``description`` names it in errors."""
    stripped = text.strip(SPACE)
    number = int(stripped) if _INTEGER.fullmatch(stripped) and len(stripped) < 100 else None
    if number is None or not _INT64[0] <= number <= _INT64[1]:
        raise ConfigError(f'invalid integer: "{stripped}"')
    if not minimum <= number <= maximum:
        raise ConfigError(f"{description} must be between {minimum} and {maximum}")
    return number


def parse_unsigned(
    text: str,
    minimum: int = 0,
    maximum: int = _UINT64_MAX,
    description: str = "integer",
    base: int = 10,
) -> int:
    """Read an unsigned integer of base 8 or 10 within the inclusive bounds."""
    stripped = text.strip(SPACE)
    fits = _UNSIGNED[base].fullmatch(stripped) and len(stripped) < 100
    number = int(stripped, base) if fits else None
    if number is None or number > _UINT64_MAX:
        kind = "octal " if base == 8 else ""
        raise ConfigError(f'invalid unsigned {kind}integer: "{stripped}"')
    if not minimum <= number <= maximum:
        raise ConfigError(f"{description} must be between {minimum} and {maximum}")
    return number


def parse_umask(text: str) -> int | None:
    """Read an octal umask; an empty text is None and leaves an earlier setting alone."""
    return parse_unsigned(text, 0, 0o777, "umask", 8) if text else None


def format_umask(value: int | None) -> str:
    """At least three octal digits, or nothing when no umask is set."""
    return "" if value is None else f"{value:03o}"


def parse_size(text: str) -> Size:
    """Read a size in bytes: a number, then k, M, G or T (decimal) or Ki, Mi, Gi, Ti (binary).

    Without a suffix the number counts GiB. As in ccache only the suffix's first two characters
    are looked at, so ``5GB``, ``5 GiB`` and ``5G`` are all accepted.
    """
    match = _NUMBER.match(text)
    number = float(match.group(1)) if match else -1.0
    if match is None or number < 0 or math.isinf(number):
        raise ConfigError(f'invalid size: "{text}"')
    suffix = text[match.end() :].lstrip(SPACE)
    decimal = suffix != "" and suffix[1:2] != "i"
    power = _PREFIX_POWER.get(suffix[0]) if suffix else 3
    if power is None:
        raise ConfigError(f'invalid size: "{text}"')
    count = number * (1000 if decimal else 1024) ** power
    return Size(min(int(count), _UINT64_MAX), decimal)


def format_size(size: int, decimal: bool = False) -> str:
    """Write a size for people, to one decimal: ``5.0 GiB``, ``1.5 kB``, ``40 bytes``."""
    factor = 1000 if decimal else 1024
    infix = "" if decimal else "i"
    for power, prefix in ((3, "G"), (2, "M"), (1, "k" if decimal else "K")):
        if size >= factor**power:
            return f"{size / factor**power:.1f} {prefix}{infix}B"
    return "1 byte" if size == 1 else f"{size} bytes"


def format_size_setting(size: int) -> str:
    """Write a size so that `parse_size` can read it again: `format_size` without " bytes"."""
    return format_size(size, getattr(size, "decimal", False)).removesuffix(" bytes")


def parse_duration(text: str) -> int:
    """Read a duration (``30d``, ``10m``, ``150ms``) as milliseconds; the suffix is required."""
    if not text:
        raise ConfigError('invalid empty duration: ""')
    suffix = "ms" if text.endswith("ms") else text[-1]
    factor = _DURATION_MS.get(suffix)
    if factor is None:
        raise ConfigError(
            "invalid suffix (supported: ms (millisecond), s (second), m (minute), h (hour),"
            f' d (day)): "{text}"'
        )
    return factor * parse_unsigned(text[: -len(suffix)])


def parse_sloppiness(text: str) -> frozenset[str]:
    """Read words separated by commas or spaces; unknown ones are ignored, for newer files."""
    words = set(text.replace(",", " ").split(" "))
    if "no_system_headers" in words:
        words.add("system_headers")
    return frozenset(words.intersection(SLOPPINESS))


def format_sloppiness(value: frozenset[str]) -> str:
    """The words in ccache's order."""
    return ", ".join(word for word in SLOPPINESS if word in value)


def parse_compiler_type(text: str) -> str:
    """A known compiler type, or ``auto`` for anything else, for newer files."""
    return text if text in COMPILER_TYPES else "auto"


def parse_response_file_format(text: str) -> str:
    """``posix``, ``windows``, or ``auto`` for anything else."""
    return text if text in ("posix", "windows") else "auto"


def normal_path(path: str) -> str:
    """Drop ``.``, ``..``, doubled and trailing slashes from ``path`` without looking at the disk.

    Unlike posixpath.normpath an empty path stays empty and two leading slashes become one.
    """
    if not path:
        return ""
    normal = posixpath.normpath(path)
    return normal[1:] if normal.startswith("//") else normal


def split_path_list(text: str) -> tuple[str, ...]:
    """The non-empty members of a colon-separated list, as written."""
    return tuple(path for path in text.split(":") if path)


def parse_absolute_path_list(text: str) -> tuple[str, ...]:
    """The normal forms of a list of absolute paths; ConfigError when one is relative."""
    return tuple(_absolute(path) for path in text.split(":") if path)


def parse_safe_dirs(text: str) -> tuple[str, ...]:
    """Like `parse_absolute_path_list`, where ``*`` alone stands for every directory."""
    return tuple(path if path == "*" else _absolute(path) for path in split_path_list(text))


def join_path_list(paths: tuple[str, ...]) -> str:
    """The inverse of `split_path_list`."""
    return ":".join(paths)


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ConfigError(f'not an absolute path: "{path}"')
    return normal_path(path)
