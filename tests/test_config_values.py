"""Values of settings as text: what is read, what is refused with which words, what is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pycc import config_values as values
from pycc.errors import ConfigError

GIB = 1024**3


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", "plain"),
        ("$A", "one"),
        ("${A}", "one"),
        ("x$A/y", "xone/y"),
        ("x${A}y", "xoney"),
        ("$A$B", "onetwo"),
        ("$$A", "$A"),
        ("$$$A", "$one"),
        ("a$", "a$"),
        ("a$-b", "a$-b"),
        ("${}b", "$}b"),
        ("$EMPTY.", "."),
        ("$A_B", "three"),
    ],
)
def test_variables_are_expanded(text: str, expanded: str) -> None:
    environment = {b"A": b"one", b"B": b"two", b"EMPTY": b"", b"A_B": b"three"}
    assert values.expand_variables(text, environment) == expanded


def test_expansion_keeps_bytes_that_are_not_utf8() -> None:
    assert (
        values.expand_variables("$A", {b"A": b"\xff"}).encode(errors="surrogateescape") == b"\xff"
    )


def test_expansion_is_not_repeated() -> None:
    assert values.expand_variables("$A", {b"A": b"$B"}) == "$B"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$NOPE", 'environment variable "NOPE" not set'),
        ("a${NOPE}b", 'environment variable "NOPE" not set'),
        ("a${NOPE", "syntax error: missing '}' after \"NOPE\""),
        ("${A-b}", "syntax error: missing '}' after \"A-b}\""),
    ],
)
def test_wrong_expansions_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        values.expand_variables(text, {b"A": b"one"})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "size", "shown"),
    [
        ("0", 0, "0"),
        ("1k", 1000, "1.0 kB"),
        ("0.5k", 500, "500"),
        ("0.001k", 1, "1 byte"),
        ("1K", 1000, "1.0 kB"),
        ("1Ki", 1024, "1.0 KiB"),
        ("1M", 10**6, "1.0 MB"),
        ("1Mi", 2**20, "1.0 MiB"),
        ("1.5G", 1_500_000_000, "1.5 GB"),
        ("1.5GiB", 1_610_612_736, "1.5 GiB"),
        ("5 GiB", 5 * GIB, "5.0 GiB"),
        (" 5G", 5_000_000_000, "5.0 GB"),
        ("5GB", 5_000_000_000, "5.0 GB"),
        ("2T", 2 * 10**12, "2000.0 GB"),
        ("2Ti", 2 * 2**40, "2048.0 GiB"),
        ("40", 40 * GIB, "40.0 GiB"),
        ("1e1", 10 * GIB, "10.0 GiB"),
        (".5", GIB // 2, "512.0 MiB"),
        ("1e30", 2**64 - 1, "17179869184.0 GiB"),
    ],
)
def test_sizes(text: str, size: int, shown: str) -> None:
    parsed = values.parse_size(text)
    assert (parsed, values.format_size_setting(parsed)) == (size, shown)


@pytest.mark.parametrize("text", ["", "x", "-1", "5x", "G", "5 B", "1e999", "inf", "nan", "5,5G"])
def test_wrong_sizes_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^invalid size: "):
        values.parse_size(text)


@pytest.mark.parametrize(
    ("size", "decimal", "shown"),
    [
        (0, False, "0 bytes"),
        (1, False, "1 byte"),
        (1023, False, "1023 bytes"),
        (1023, True, "1.0 kB"),
        (1024, False, "1.0 KiB"),
        (5 * GIB, False, "5.0 GiB"),
        (5 * GIB, True, "5.4 GB"),
    ],
)
def test_sizes_for_people(size: int, decimal: bool, shown: str) -> None:
    assert values.format_size(size, decimal) == shown


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("0s", 0),
        ("150ms", 150),
        ("3s", 3000),
        ("2m", 120_000),
        ("1h", 3_600_000),
        ("1d", 86_400_000),
    ],
)
def test_durations(text: str, milliseconds: int) -> None:
    assert values.parse_duration(text) == milliseconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'invalid empty duration: ""'),
        ("d", 'invalid unsigned integer: ""'),
        ("-1d", 'invalid unsigned integer: "-1"'),
        ("1.5h", 'invalid unsigned integer: "1.5"'),
        (
            "10",
            (
                "invalid suffix (supported: ms (millisecond), s (second), m (minute), h (hour),"
                ' d (day)): "10"'
            ),
        ),
    ],
)
def test_wrong_durations_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        values.parse_duration(text)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "umask", "shown"),
    [("", None, ""), ("0", 0, "000"), ("2", 2, "002"), ("077", 63, "077")],
)
def test_umasks(text: str, umask: int | None, shown: str) -> None:
    parsed = values.parse_umask(text)
    assert (parsed, values.format_umask(parsed)) == (umask, shown)


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (values.parse_bool, "yes", 'not a boolean value: "yes"'),
        (values.parse_bool, "True", 'not a boolean value: "True"'),
        (values.parse_umask, "8", 'invalid unsigned octal integer: "8"'),
        (values.parse_umask, "0o7", 'invalid unsigned octal integer: "0o7"'),
        (values.parse_umask, "1000", "umask must be between 0 and 511"),
        (values.parse_unsigned, "-1", 'invalid unsigned integer: "-1"'),
        (values.parse_unsigned, "1_0", 'invalid unsigned integer: "1_0"'),
        (values.parse_unsigned, "\u0663", 'invalid unsigned integer: "\u0663"'),
        (values.parse_unsigned, "9" * 5000, f'invalid unsigned integer: "{"9" * 5000}"'),
        (values.parse_unsigned, str(2**64), f'invalid unsigned integer: "{2**64}"'),
        (values.parse_absolute_path_list, "/a:b", 'not an absolute path: "b"'),
        (values.parse_safe_dirs, "*:b", 'not an absolute path: "b"'),
    ],
)
def test_wrong_values_are_refused(parse: Callable[[str], Any], text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(text)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", 'invalid integer: "a"'),
        ("0x5", 'invalid integer: "0x5"'),
        ("128", "level must be between -128 and 127"),
        ("-129", "level must be between -128 and 127"),
        (str(2**63), f'invalid integer: "{2**63}"'),
    ],
)
def test_wrong_signed_numbers_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        values.parse_signed(text, -128, 127, "level")
    assert str(error.value) == message


@pytest.mark.parametrize(("text", "number"), [("5", 5), ("-5", -5), ("+5", 5), (" 5 ", 5)])
def test_signed_numbers(text: str, number: int) -> None:
    assert values.parse_signed(text, -128, 127, "level") == number


@pytest.mark.parametrize("text", ["0", "false", "FALSE", "disable", "Disable", "no", "NO"])
def test_negative_words_in_a_boolean_variable_are_refused(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        values.check_environment_bool(text, "CCACHE_NODISABLE")
    assert str(error.value) == (
        f'invalid boolean environment variable value "{text}"'
        ' (did you mean to set "CCACHE_NODISABLE=true"?)'
    )


@pytest.mark.parametrize("text", ["", "1", "true", "yes", "off", "anything"])
def test_other_words_in_a_boolean_variable_are_accepted(text: str) -> None:
    values.check_environment_bool(text, "CCACHE_NODISABLE")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", set()),
        ("locale", {"locale"}),
        ("time_macros,locale", {"locale", "time_macros"}),
        (" time_macros , locale ", {"locale", "time_macros"}),
        ("bogus locale", {"locale"}),
        ("no_system_headers", {"system_headers"}),
    ],
)
def test_sloppiness(text: str, words: set[str]) -> None:
    assert values.parse_sloppiness(text) == words


def test_every_sloppiness_survives_a_round_trip() -> None:
    everything = frozenset(values.SLOPPINESS)
    assert values.parse_sloppiness(values.format_sloppiness(everything)) == everything


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("", ""),
        (".", "."),
        ("/", "/"),
        ("//a//b/", "/a/b"),
        ("///a", "/a"),
        ("/a/./b/../c", "/a/c"),
        ("/..", "/"),
        ("a/..", "."),
        ("./a/.", "a"),
        ("../a/", "../a"),
    ],
)
def test_normal_paths(path: str, normal: str) -> None:
    assert values.normal_path(path) == normal


def test_path_lists_drop_empty_members() -> None:
    assert values.split_path_list(":a::b/:") == ("a", "b/")


def test_absolute_path_lists_are_normalised() -> None:
    assert values.parse_absolute_path_list("/b/:/a//:/b/..") == ("/b", "/a", "/")


def test_safe_dirs_know_the_star() -> None:
    assert values.parse_safe_dirs("/a/*:*:/c/") == ("/a/*", "*", "/c")


@pytest.mark.parametrize(
    ("text", "kind"), [("gcc", "gcc"), ("clang-cl", "clang-cl"), ("zzz", "auto"), ("", "auto")]
)
def test_unknown_compiler_types_mean_auto(text: str, kind: str) -> None:
    assert values.parse_compiler_type(text) == kind


@pytest.mark.parametrize(
    ("text", "kind"), [("posix", "posix"), ("windows", "windows"), ("x", "auto")]
)
def test_unknown_response_file_formats_mean_auto(text: str, kind: str) -> None:
    assert values.parse_response_file_format(text) == kind
