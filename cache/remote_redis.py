"""Remote storage in a Redis server, or one that speaks its protocol (RESP 2).

    <command> ::= "*" count CRLF { "$" length CRLF bytes CRLF }
    <reply>   ::= "+" text CRLF | "-" text CRLF | ":" number CRLF
                | "$" length CRLF bytes CRLF | "$-1" CRLF

The keys are ccache's: ``ccache:`` and the digest in hexadecimal.
"""

from __future__ import annotations

from typing import Final, Protocol

from ..errors import ConfigError
from .remote_backend import LARGEST, Say, StorageFailed, StorageRefused
from .remote_settings import REQUEST_TIMEOUT, StorageSettings, timeouts
from .remote_stream import Connections, Peer, Stream, context, text_of
from .remote_url import SECRET, Url

PORT: Final = 6379
MOST_DATABASES: Final = 2**32 - 1


class Reader(Protocol):
    """Raises EOFError where the other end closes too early."""

    def line(self) -> bytes: ...
    def exactly(self, size: int) -> bytes: ...


class ReplyError(StorageFailed):
    """The server's own words."""


def command(*words: bytes) -> list[bytes]:
    """A command as the parts to send; the last word is not copied."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        parts += (b"$%d\r\n" % len(word), word, b"\r\n")
    return [b"".join(parts[:-2]), *parts[-2:]]


def read_reply(stream: Reader, most: int = LARGEST) -> bytes | int | str | None:
    """One reply: bytes of a value, a number, the text of a status, or None.

    Raises ValueError, EOFError, and ReplyError for an error reply."""
    line = stream.line()
    kind, text = line[:1], line[1:]
    match kind:
        case b"+":
            return text_of([text])
        case b"-":
            raise ReplyError(text_of([text]))
        case b":" | b"$":
            digits = text[1:] if text[:1] == b"-" else text
            if not digits.isdigit() or len(digits) > 18:
                raise ValueError("a number that is none")
            number = int(text)
            if kind == b":":
                return number
            if number == -1:
                return None
            if not 0 <= number <= most:
                raise ValueError(f"a value of {number} bytes")
            value = stream.exactly(number)
            if stream.exactly(2) != b"\r\n":
                raise ValueError("a value that is longer than it says")
            return value
        case _:
            raise ValueError("no reply of Redis")


class RedisBackend:
    """See Backend."""

    def __init__(self, url: Url, settings: StorageSettings, unknown: Say = lambda _: None) -> None:
        unix = url.scheme == "redis+unix"
        if unix and url.host not in ("", "localhost"):
            raise ConfigError(
                f'invalid file path "{url}": specifying a host other than localhost is not'
                " supported"
            )
        attributes = dict(settings.attributes)
        known = ("connect-timeout", "operation-timeout", "ca-file")
        for key in attributes:
            if key not in known:
                unknown(f"Unknown attribute: {key}")
        connect, data = timeouts(settings, attributes, far=url.scheme == "rediss")
        whole = REQUEST_TIMEOUT if settings.request_timeout is None else settings.request_timeout
        tls = None
        if url.scheme == "rediss":
            try:
                tls = context(attributes.get("ca-file", ""))
            except OSError as problem:
                raise ConfigError(str(problem)) from problem
        self._connections = Connections(
            Peer(
                "" if unix else url.host or "localhost",
                int(url.port or PORT),
                url.path if unix else "",
                connect,
                data,
                whole,
                tls,
            ),
            self._greet,
        )
        self._login = _login(url.user_info)
        self._database = _database(url, unix)

    def _greet(self, stream: Stream) -> None:
        commands = [self._login] if self._login else []
        commands += [(b"SELECT", b"%d" % self._database)] if self._database else []
        for words in commands:
            stream.send(*command(*words))
            try:
                read_reply(stream)
            except ReplyError as problem:
                name = words[0].decode()
                raise StorageFailed(f"Redis {name} {SECRET} failed: {problem}") from problem

    def get(self, key: bytes, say: Say) -> bytes | None:
        name = _name(key)
        say(f"Redis GET {name.decode()}")
        value = self._ask(b"GET", name)
        if value is None or isinstance(value, bytes):
            return value
        raise StorageFailed("no reply to GET")

    def put(self, key: bytes, value: bytes, say: Say, *, overwrite: bool) -> bool:
        name = _name(key)
        if not overwrite:
            say(f"Redis EXISTS {name.decode()}")
            if self._ask(b"EXISTS", name) == 1:
                say(f"Entry {name.decode()} already in Redis")
                return False
        say(f"Redis SET {name.decode()} [{len(value)} bytes]")
        try:
            self._ask(b"SET", name, value)
        except ReplyError as problem:
            raise StorageRefused(str(problem)) from problem
        return True

    def remove(self, key: bytes, say: Say) -> bool:
        name = _name(key)
        say(f"Redis DEL {name.decode()}")
        return self._ask(b"DEL", name) != 0

    def stop(self) -> bool:
        return False

    def close(self) -> None:
        self._connections.close()

    def _ask(self, *words: bytes) -> bytes | int | str | None:
        def exchange(stream: Stream) -> tuple[bytes | int | str | ReplyError | None, bool]:
            stream.send(*command(*words))
            try:
                return read_reply(stream), True
            except ReplyError as problem:
                return problem, True

        try:
            reply = self._connections.ask(exchange)
        except ReplyError:
            raise
        except StorageFailed as problem:
            text = f"Redis command failed: {problem}"
            raise StorageFailed(text, timeout=problem.timeout) from problem
        if isinstance(reply, ReplyError):
            raise ReplyError(f"Redis command failed: {reply}")
        return reply


def _name(key: bytes) -> bytes:
    return b"ccache:" + key.hex().encode()


def _login(user_info: str) -> tuple[bytes, ...]:
    """``USER:PASSWORD`` or ``PASSWORD``, as the words of AUTH."""
    user, colon, password = user_info.partition(":")
    if not user:
        return ()
    words = (user, password) if colon else (user,)
    return (b"AUTH", *(word.encode("utf-8", "surrogateescape") for word in words))


def _database(url: Url, unix: bool) -> int:
    text = next((value for key, value in url.query if key == "db"), "") if unix else url.path[1:]
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal()):
        raise ConfigError(f'invalid unsigned integer: "{text}"')
    if int(text) > MOST_DATABASES:
        raise ConfigError(f"db number must be between 0 and {MOST_DATABASES}")
    return int(text)
