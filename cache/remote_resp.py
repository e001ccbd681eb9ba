"""A Redis server, or one that speaks its protocol (RESP 2), asked by commands.

<command> ::= "*" count CRLF { "$" length CRLF bytes CRLF }
<reply>   ::= "+" text CRLF | "-" text CRLF | ":" number CRLF
            | "$" length CRLF bytes CRLF | "$-1" CRLF
            | "*" count CRLF { <reply> }                        read by ``read_replies`` alone
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from ..errors import ConfigError
from .remote_backend import LARGEST, StorageFailed
from .remote_stream import Connections, Peer, Stream, context, text_of
from .remote_url import SECRET, Url

PORT: Final = 6379
MOST_DATABASES: Final = 2**32 - 1
SCHEMES: Final = ("redis", "rediss", "redis+unix")

Reply = bytes | int | str | None


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


def read_reply(stream: Reader, most: int = LARGEST) -> Reply:
    """One reply that is no list: bytes of a value, a number, the text of a status, or None.

    Raises ValueError, EOFError, and ReplyError for an error reply."""
    return _reply(stream.line(), stream, most)


def read_replies(stream: Reader, most_items: int, most: int) -> list[Reply]:
    """A list of at most ``most_items`` values of at most ``most`` bytes each; raises as above."""
    line = stream.line()
    if line[:1] != b"*":
        _reply(line, stream, most)
        raise ValueError("no list")
    if not line[1:].isdigit() or len(line) > 18 or int(line[1:]) > most_items:
        raise ValueError("a list that is too long")
    return [read_reply(stream, most) for _ in range(int(line[1:]))]


def _reply(line: bytes, stream: Reader, most: int) -> Reply:
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


class Redis:
    """One server and one of its databases, by its URL. For several threads.

    Every method raises StorageFailed where it cannot be asked."""

    def __init__(
        self, url: Url, *, connect: float, data: float, whole: float, ca_file: str = ""
    ) -> None:
        """The times are seconds: to connect, in which no byte may move, of a request in all.
        Raises ConfigError, OSError for a ``ca_file`` that cannot be used."""
        unix = url.scheme == "redis+unix"
        if unix and url.host not in ("", "localhost"):
            raise ConfigError(
                f'invalid file path "{url.shown()}": specifying a host other than localhost is not'
                " supported"
            )
        tls = context(ca_file) if url.scheme == "rediss" else None
        host = "" if unix else url.host or "localhost"
        path = url.path if unix else ""
        peer = Peer(host, int(url.port or PORT), path, connect, data, whole, tls)
        self._connections = Connections(peer, self._greet)
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
                name, said = words[0].decode(), _without(str(problem), words[-1])
                raise StorageFailed(f"Redis {name} {SECRET} failed: {said}") from None

    def ask(self, *words: bytes) -> Reply:
        """The reply to one command; raises ReplyError for one of refusal."""
        return raised(self.ask_all([words])[0])

    def ask_all(
        self, commands: Sequence[Sequence[bytes]], most: int = LARGEST
    ) -> list[Reply | ReplyError]:
        """The replies to commands that are sent together; values of at most ``most`` bytes."""

        def exchange(stream: Stream) -> tuple[list[Reply | ReplyError], bool]:
            stream.send(*(part for words in commands for part in command(*words)))
            replies: list[Reply | ReplyError] = []
            for _ in commands:
                try:
                    replies.append(read_reply(stream, most))
                except ReplyError as problem:
                    replies.append(problem)
            return replies, True

        try:
            return self._connections.ask(exchange)
        except StorageFailed as problem:
            raise _failed(problem) from problem

    def ask_for_list(self, *words: bytes, most_items: int, most: int) -> list[Reply]:
        """A list, bounded as by ``read_replies``."""

        def exchange(stream: Stream) -> tuple[list[Reply] | ReplyError, bool]:
            stream.send(*command(*words))
            try:
                return read_replies(stream, most_items, most), True
            except ReplyError as problem:
                # In the middle of a list nobody knows what else is on its way.
                return problem, False

        try:
            found = self._connections.ask(exchange)
        except StorageFailed as problem:
            raise _failed(problem) from problem
        if isinstance(found, ReplyError):
            raise ReplyError(f"Redis command failed: {found}")
        return found

    def give_up(self) -> None:
        """End what other threads have asked for and wait for."""
        self._connections.give_up()

    def close(self) -> None:
        """Let go of idle connections."""
        self._connections.close()


def raised(reply: Reply | ReplyError) -> Reply:
    """The reply; raises it where it is an error."""
    if isinstance(reply, ReplyError):
        raise ReplyError(f"Redis command failed: {reply}")
    return reply


def _failed(problem: StorageFailed) -> StorageFailed:
    return StorageFailed(f"Redis command failed: {problem}", timeout=problem.timeout)


def _without(said: str, secret: bytes) -> str:
    """A server's words without ours: one that does not know AUTH (``rename-command``, a proxy)
    repeats what it was given, quoted and perhaps cut."""
    return said.replace(text_of([secret]), SECRET).partition("'")[0].partition("`")[0].rstrip()


def _login(user_info: str) -> tuple[bytes, ...]:
    """``USER:PASSWORD`` or ``PASSWORD``, as the words of AUTH; also ``:PASSWORD``, which is Redis's
    own spelling and to ccache none."""
    user, colon, password = user_info.partition(":")
    words = (user, password) if user and colon else (user or password,)
    if words == ("",):
        return ()
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
