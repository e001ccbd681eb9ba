"""URLs and the setting remote_storage, in ccache's syntax and with its words."""

from __future__ import annotations

import pytest

from pycc.cache.remote_making import Surroundings, open_remotes
from pycc.cache.remote_settings import parse_storages, percent_decode, shard_of, timeouts
from pycc.cache.remote_url import Url, parse_url
from pycc.errors import ConfigError
from tests.storage_kit import digest

URLS = [
    ("file:/a/b", Url("file", path="/a/b")),
    ("file:///a%20b//c/../d", Url("file", path="/a b/d")),
    ("file://localhost/x/.", Url("file", host="localhost", path="/x/")),
    ("http://h", Url("http", host="h")),
    ("http://H:81/p/", Url("http", host="h", port="81", path="/p/")),
    ("HTTP://me:p%40ss@h/", Url("http", "me:p@ss", "h", path="/")),
    ("http://[0:0::1]:8/x", Url("http", host="::1", port="8", path="/x")),
    ("redis://pw@h:1/2", Url("redis", "pw", "h", "1", "/2")),
    ("redis+unix:/s?db=3", Url("redis+unix", path="/s", query=(("db", "3"),))),
    ("crsh:name.sock", Url("crsh", path="name.sock")),
    ("x://h/p?a=1&b#f", Url("x", "", "h", "", "/p", (("a", "1"), ("b", "")), "f")),
]

RELATIVE = "The first segment of the relative path can't contain ':'"


@pytest.mark.parametrize(("text", "url"), URLS)
def test_a_url_has_parts(text: str, url: Url) -> None:
    assert parse_url(text) == url


@pytest.mark.parametrize("text", [row[0] for row in URLS])
def test_a_url_that_is_written_reads_the_same(text: str) -> None:
    assert parse_url(str(parse_url(text))) == parse_url(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("://qwerty", "Cannot parse URL ://qwerty: Scheme in '://qwerty' is invalid"),
        ("/qwerty", "URL scheme must not be empty: /qwerty"),
        ("http://foo@", "Cannot parse URL http://********@: User info defined, but host is empty"),
        ("file:foo:bar", f"Cannot parse URL file:foo:bar: {RELATIVE}"),
        ("http://h:x/", "Cannot parse URL http://h:x/: Port 'x' in 'http://h:x/' is invalid"),
        ("http://h/%zz", "Cannot parse URL http://h/%zz: Invalid percent encoding"),
        ("http://[::1", "Cannot parse URL http://[::1: Missing ] in 'http://[::1'"),
        (
            "http://h\\x/",
            "Cannot parse URL http://h\\x/: Host address in 'http://h\\x/' is invalid",
        ),
        ("http://:8/", "Cannot parse URL http://:8/: Port defined, but host is empty"),
        ("", "URL scheme must not be empty: "),
    ],
)
def test_a_wrong_url_is_refused_in_the_words_that_people_know(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as problem:
        parse_url(text)
    assert str(problem.value) == words


@pytest.mark.parametrize(
    "text",
    [
        "redis://:ge^heim@h",
        "redis://:ge/heim@h",
        "redis://:ge?heim^@h",
        "redis://:ge#heim^@h",
        "redis://:ge%zzheim@h",
        "redis://:geheim@h:x",
        "redis://:geheim@",
        "file://:geheim@h/x",
        "http://geheim@h",
        "s3://bucket @endpoint=x://me:geheim@h",
        "http://h @bearer-token=geheim%zz",
        "http://h bearer-token=geheim%zz",
    ],
)
def test_a_refusal_tells_no_secret(text: str) -> None:
    """It is printed to wherever the build's output goes."""
    around = Surroundings("/", {}, (), 0o077, stays=False)
    with pytest.raises(ConfigError) as problem:
        open_remotes(text, around, print, print)
    for part in ("geheim", "heim", "ge"):
        assert part not in str(problem.value).replace("argument", "").replace("integer", "")


def test_a_property_that_means_nothing_is_told_without_its_value() -> None:
    told: list[str] = []
    around = Surroundings("/", {}, (), 0o077, stays=False)
    open_remotes("http://h token=geheim @header=geheim", around, told.append, told.append)
    assert len(told) >= 2
    assert "geheim" not in "".join(told)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:word@h/x", "http://********@h/x"),
        ("redis://word@h", "redis://********@h"),
        ("http://h:8/x", "http://h:8/x"),
        ("http://h:80/x", "http://h/x"),
    ],
)
def test_a_url_is_shown_without_its_password(text: str, shown: str) -> None:
    assert parse_url(text).shown() == shown


def test_a_setting_names_several_storages() -> None:
    text = "file:/a read-only  @umask=002|update-mtime\thttp://h|@header=A=b:c data-timeout=5s x=1"
    unknown: list[str] = []
    first, second = parse_storages(text, unknown.append)
    assert (first.url, first.read_only, first.scheme) == ("file:/a", True, "file")
    assert first.attributes == (("umask", "002"), ("update-mtime", "true"))
    assert second.attributes == (("header", "A=b:c"),)
    assert (second.data_timeout, second.read_only, unknown) == (5.0, False, ["x"])


def test_values_are_percent_decoded() -> None:
    (storage,) = parse_storages("http://h @bearer-token=a%20b%7C%25 helper=_builtin_")
    assert storage.attributes == (("bearer-token", "a b|%"),)
    assert storage.program == "_builtin_"
    with pytest.raises(ConfigError, match="invalid percent-encoded string at position 1: a%2"):
        percent_decode("a%2")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://h shards=a", 'Missing "*" in URL when using shards: "http://h"'),
        ("http://*/* shards=a", 'Multiple "*" in URL when using shards: "http://*/*"'),
        ("http://* shards=a(2", 'Invalid shard name: "a(2"'),
        ("http://* shards=a(x)", 'invalid floating point: "x"'),
        ("http://* shards=a(-1)", 'Invalid shard weight: "-1"'),
        (
            "* shards=http://a,file:/b",
            "Expanding * with shards results in different schemes (file != http)",
        ),
        ("http://h data-timeout=", 'invalid empty duration: ""'),
        ("http://h request-timeout=x5s", 'invalid unsigned integer: "x5"'),
        ("/x", "URL scheme must not be empty: /x"),
    ],
)
def test_a_wrong_setting_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as problem:
        parse_storages(text)
    assert str(problem.value) == words


def test_shards_take_their_share_of_the_keys() -> None:
    (storage,) = parse_storages("http://h/* shards=a(3),b,c(0)")
    taken = [shard_of(digest(n), storage.shards).name for n in range(2000)]
    assert 1400 < taken.count("a") < 1600
    assert taken.count("a") + taken.count("b") == 2000
    assert [shard.url.path for shard in storage.shards] == ["/a", "/b", "/c"]


def test_a_key_keeps_its_shard_when_another_goes() -> None:
    three = parse_storages("http://h/* shards=a,b,c")[0].shards
    two = parse_storages("http://h/* shards=a,b")[0].shards
    for number in range(200):
        before = shard_of(digest(number), three).name
        assert before == "c" or shard_of(digest(number), two).name == before


def test_time_limits_are_properties_or_old_attributes() -> None:
    for text, expected in [
        ("http://h", (0.1, 10.0)),
        ("http://h data-timeout=3s", (0.1, 3.0)),
        ("http://h @connect-timeout=250 operation-timeout=1500 data-timeout=3s", (0.25, 1.5)),
    ]:
        (storage,) = parse_storages(text)
        assert timeouts(storage, dict(storage.attributes)) == expected
    (storage,) = parse_storages("http://h @connect-timeout=0")
    with pytest.raises(ConfigError, match="timeout must be between 1 and 60000"):
        timeouts(storage, dict(storage.attributes))
