"""The setting ``remote_storage``: several storages, each a URL with properties and attributes.

    <setting>   ::= { <storage> }                      separated by blanks, tabs or "|"
    <storage>   ::= <url> { <property> | "@" <attribute> }
    <property>  ::= <key> [ "=" <value> ]              no value: "true"; percent-encoded
    <shards>    ::= <name> [ "(" <weight> ")" ] { "," … }   each takes the place of "*" in the URL

Properties belong to the storage whatever its scheme is, attributes to what speaks its scheme; some
old attributes may be written without their "@". Words of errors are ccache's (its manual, "Remote
storage backends"; src/ccache/storage/storage.cpp of ccache e5731387).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence

import xxhash

from ..errors import ConfigError
from ..pattern import pattern
from ..record import record
from .remote_url import SECRET, Url, parse_url

CONNECT_TIMEOUT, DATA_TIMEOUT, REQUEST_TIMEOUT, IDLE_TIMEOUT = 0.1, 10.0, 60.0, 600.0
"""Seconds, where nothing else is said: ccache's."""
FAR_CONNECT_TIMEOUT = 3.0
LONGEST_LIMIT = 86400.0
"""poll(2) takes no more than 24 days."""

_OLD_ATTRIBUTES = frozenset(
    {
        "bearer-token",
        "connect-timeout",
        "header",
        "keep-alive",
        "layout",
        "operation-timeout",
        "umask",
        "update-mtime",
    }
)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = pattern(r"\+?([0-9]{1,18})")
_PERCENT = pattern(r"%(?![0-9A-Fa-f]{2})")
_BYTE = pattern(rb"%([0-9A-Fa-f]{2})")
_FLOAT = pattern(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


@record
class Shard:
    """One of the places among which a storage's keys are divided."""

    name: str
    weight: float
    url: Url


@record
class StorageSettings:
    """One storage. Times are in seconds; None: not said."""

    url: str
    """As written, with its asterisk."""
    shards: tuple[Shard, ...]
    attributes: tuple[tuple[str, str], ...] = ()
    read_only: bool = False
    program: str = ""
    """The property ``helper``: which program, or ``_builtin_``."""
    data_timeout: float | None = None
    request_timeout: float | None = None
    idle_timeout: float | None = None

    @property
    def scheme(self) -> str:
        return self.shards[0].url.scheme


def parse_storages(
    text: str, unknown: Callable[[str], None] = lambda _: None
) -> tuple[StorageSettings, ...]:
    """Read the whole setting; ``unknown`` is told each property that means nothing.

    Raises ConfigError."""
    words = [word for word in text.replace("|", " ").replace("\t", " ").split(" ") if word]
    storages = []
    while words:
        end = next((i for i, word in enumerate(words) if i and _is_url(word)), len(words))
        storages.append(_parse_storage(words[0], words[1:end], unknown))
        words = words[end:]
    return tuple(storages)


def _is_url(word: str) -> bool:
    before, colon, _ = word.partition(":")
    return bool(colon) and "=" not in before


def _parse_storage(
    url: str, words: Sequence[str], unknown: Callable[[str], None]
) -> StorageSettings:
    attributes: list[tuple[str, str]] = []
    shards: tuple[Shard, ...] = ()
    read_only, program = False, ""
    times: dict[str, float] = {}
    for word in words:
        key, equals, raw = word.partition("=")
        try:
            value = percent_decode(raw if equals else "true")
        except ConfigError as problem:
            if key[:1] != "@" and key not in _OLD_ATTRIBUTES:
                raise
            raise ConfigError(str(problem).removesuffix(raw) + SECRET) from None  # maybe a token
        if key in _OLD_ATTRIBUTES:
            key = f"@{key}"
        match key:
            case "data-timeout" | "idle-timeout" | "request-timeout":
                times[key] = min(parse_duration(value), LONGEST_LIMIT)
            case "helper":
                program = value
            case "read-only":
                read_only = value == "true"
            case "shards":
                shards = _parse_shards(url, value)
            case _ if key[:1] == "@":
                attributes.append((key[1:], value))
            case _:
                unknown(key)  # its value may be a token
    return StorageSettings(
        url,
        shards or (Shard("", 0.0, parse_url(url)),),
        tuple(attributes),
        read_only,
        program,
        times.get("data-timeout"),
        times.get("request-timeout"),
        times.get("idle-timeout"),
    )


def _parse_shards(url: str, value: str) -> tuple[Shard, ...]:
    if "*" not in url:
        raise ConfigError(f'Missing "*" in URL when using shards: "{url}"')
    if url.count("*") > 1:
        raise ConfigError(f'Multiple "*" in URL when using shards: "{url}"')
    shards: list[Shard] = []
    for word in filter(None, value.split(",")):
        name, parenthesis, rest = word.partition("(")
        weight = 1.0
        if parenthesis:
            if not rest.endswith(")"):
                raise ConfigError(f'Invalid shard name: "{word}"')
            if not _FLOAT.fullmatch(rest[:-1]):
                raise ConfigError(f'invalid floating point: "{rest[:-1]}"')
            weight = float(rest[:-1])
            if weight < 0.0:
                raise ConfigError(f'Invalid shard weight: "{weight:g}"')
        shard = Shard(name, weight, parse_url(url.replace("*", name)))
        if shards and shard.url.scheme != shards[0].url.scheme:
            raise ConfigError(
                f"Expanding {url} with shards results in different schemes"
                f" ({shard.url.scheme} != {shards[0].url.scheme})"
            )
        shards.append(shard)
    return tuple(shards)


def shard_of(key: bytes, shards: Sequence[Shard]) -> Shard:
    """Where an entry with this key lies: weighted rendezvous hashing, as ccache does it."""
    if len(shards) == 1:
        return shards[0]
    best, highest = shards[0], -1.0
    for shard in shards:
        digest = xxhash.xxh3_64_intdigest(key + shard.name.encode("utf-8", "surrogateescape"))
        score = (digest & ((1 << 53) - 1)) / (1 << 53)
        weighted = shard.weight / -math.log(score) if score else 0.0
        if weighted > highest:
            best, highest = shard, weighted
    return best


def percent_decode(text: str) -> str:
    """Undo percent-encoding. Raises ConfigError."""
    wrong = _PERCENT.search(text)
    if wrong:
        raise ConfigError(f"invalid percent-encoded string at position {wrong.start()}: {text}")
    if "%" not in text:
        return text
    return os.fsdecode(_BYTE.sub(lambda m: bytes([int(m[1], 16)]), os.fsencode(text)))


def parse_duration(text: str) -> float:
    """Read a duration (``10s``, ``150ms``) as seconds. Raises ConfigError."""
    if not text:
        raise ConfigError('invalid empty duration: ""')
    suffix = "ms" if text.endswith("ms") else text[-1]
    factor = _SECONDS.get(suffix)
    if factor is None:
        raise ConfigError(
            "invalid suffix (supported: ms (millisecond), s (second), m (minute), h (hour),"
            f' d (day)): "{text}"'
        )
    number = text[: -len(suffix)].strip(" \t\n\v\f\r")
    match = _DURATION.fullmatch(number)
    if match is None:
        raise ConfigError(f'invalid unsigned integer: "{number}"')
    return int(match[1]) * factor


def parse_milliseconds(text: str) -> float:
    """Read a timeout of the old attributes as seconds. Raises ConfigError."""
    match = _DURATION.fullmatch(text.strip(" \t\n\v\f\r"))
    if match is None:
        raise ConfigError(f'invalid unsigned integer: "{text}"')
    if not 1 <= int(match[1]) <= 60_000:
        raise ConfigError("timeout must be between 1 and 60000")
    return int(match[1]) / 1000


def timeouts(
    settings: StorageSettings, attributes: Mapping[str, str], *, far: bool = False
) -> tuple[float, float]:
    """(seconds to connect, seconds without a byte) of what is built in; ``far``: it may not be in
    this LAN. Raises ConfigError."""
    connect = attributes.get("connect-timeout")
    operation = attributes.get("operation-timeout")
    data = DATA_TIMEOUT if settings.data_timeout is None else settings.data_timeout
    return (
        (FAR_CONNECT_TIMEOUT if far else CONNECT_TIMEOUT)
        if connect is None
        else parse_milliseconds(connect),
        data if operation is None else parse_milliseconds(operation),
    )
