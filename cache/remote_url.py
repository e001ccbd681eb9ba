"""The URL of a remote storage: its parts, what may be shown of it, and ccache's words of refusal.

    <url>       ::= [<scheme> ":"] ["//" <authority>] <path> ["?" <query>] ["#" <fragment>]
    <authority> ::= [<user info> "@"] ( "[" <IPv6> "]" | <host> ) [":" <port>]

ccache reads URLs with the library CxxUrl, which is stricter than Python's: people search for its
messages, so they are kept (src/third_party/cxxurl of ccache e5731387). What was percent-encoded is
decoded in every part, and the path has no empty, ``.`` or ``..`` elements.
"""

from __future__ import annotations

import os
import socket

from ..errors import ConfigError
from ..pattern import pattern
from ..record import record, replace

LONGEST = 8000
SECRET = "********"  # noqa: S105
"""What is shown in place of a password or a token."""

_PLAIN = r"!$&'()*+,\-.0-9;=A-Z_a-z~"
_BEFORE_HOST = pattern(r"(//).*@")
_SCHEME = pattern(r"[A-Za-z][A-Za-z0-9+\-.]*")
_PATH = pattern(rf"[{_PLAIN}@:/%]*")
_USER = pattern(rf"[{_PLAIN}:%]*")
_NAME = pattern(rf"[{_PLAIN}]*")
_QUERY = pattern(rf"[{_PLAIN}@:/?%]*")
_IPV4 = pattern(r"[0-9.]{7,254}")
_IPV6 = pattern(r"[0-9A-Fa-f:.]{2,254}")
_PORT = pattern(r"0|[1-9][0-9]{0,4}")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


@record
class Url:
    """The decoded parts; ``host`` of an IPv6 address is without its brackets."""

    scheme: str = ""
    user_info: str = ""
    host: str = ""
    port: str = ""
    path: str = ""
    query: tuple[tuple[str, str], ...] = ()
    fragment: str = ""

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL and in an HTTP request."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if not self.port or _DEFAULT_PORTS.get(self.scheme) == self.port:
            return host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        parts = [f"{self.scheme}:"] if self.scheme else []
        if self.host:
            user = f"{encode(self.user_info, ':')}@" if self.user_info else ""
            parts += ["//", user, self.authority]
        parts.append(encode(self.path, ":/@"))
        for number, (key, value) in enumerate(self.query):
            parts += ["&" if number else "?", _encode_query(key)]
            parts += ["=", _encode_query(value)] if value else []
        parts += ["#", encode(self.fragment, ":/@?")] if self.fragment else []
        return "".join(parts)

    def shown(self) -> str:
        """The URL as it may be logged."""
        return str(replace(self, user_info=SECRET)) if self.user_info else str(self)


def parse_url(text: str) -> Url:
    """Read a URL. Raises ConfigError in ccache's words."""
    try:
        url = _parse(text)
        _check(url)
    except ValueError as problem:
        raise ConfigError(f"Cannot parse URL {without_user(text)}: {problem}") from None
    if not url.scheme:
        raise ConfigError(f"URL scheme must not be empty: {without_user(text)}")
    return url


def without_user(text: str) -> str:
    """What may be shown of a URL that is wrong, perhaps on account of what is in its password."""
    return _BEFORE_HOST.sub(rf"\1{SECRET}@", text)


def _parse(text: str) -> Url:
    if len(text) > LONGEST:
        raise ValueError(f"URI is longer than {LONGEST} characters")
    shown = without_user(text)

    def part_shown(part: str) -> str:
        return part if shown == text else SECRET

    def checked(allowed: object, part: str, what: str) -> str:
        if not allowed.fullmatch(part):  # type: ignore[attr-defined]
            raise ValueError(f"{what} in '{shown}' is invalid")
        return part

    scheme = user = host = port = ""
    rest = text
    first = next((c for c in text if c in ":/?#"), "")
    if first == ":":
        scheme, _, rest = text.partition(":")
        checked(_SCHEME, scheme, "Scheme")
    if first and rest.startswith("//"):
        end = _first_of(rest, "/?#", 2)
        authority, rest = rest[2:end], rest[end:]
        if "@" in authority:
            user, _, authority = authority.partition("@")
            checked(_USER, user, "User info")
        if authority.startswith("["):
            host, bracket, authority = authority[1:].partition("]")
            if not bracket:
                raise ValueError(f"Missing ] in '{shown}'")
            checked(_IPV6, host, "Host address")
            host = _normal_ipv6(host)
            if authority and not authority.startswith(":"):
                raise ValueError(f"Host address in '{shown}' is invalid")
        else:
            host, colon, after = authority.partition(":")
            authority = colon + after
            if not _IPV4.fullmatch(host):
                checked(_NAME, host, "Host address")
            host = host.lower()
        if authority:
            port = authority[1:]
            if not _PORT.fullmatch(port) or int(port) > 65535:
                raise ValueError(f"Port '{part_shown(port)}' in '{shown}' is invalid")
    end = _first_of(rest, "?#")
    path = checked(_PATH, rest[:end], f"Path '{part_shown(rest[:end])}'")
    query_text, _, fragment = rest[end:].partition("#")
    checked(_QUERY, fragment, f"Fragment '{part_shown(fragment)}'")
    query = []
    if query_text:
        for item in query_text[1:].replace(";", "&").split("&"):
            key, _, value = item.partition("=")
            checked(_QUERY, key, f"Query key '{part_shown(key)}'")
            checked(_QUERY, value, f"Query value '{part_shown(value)}'")
            query.append((decode(key.replace("+", " ")), decode(value.replace("+", " "))))
    return Url(
        scheme.lower(),
        decode(user),
        host,
        port,
        _normal_path(decode(path)),
        tuple(query),
        decode(fragment),
    )


def _check(url: Url) -> None:
    """What CxxUrl finds out when it writes the URL."""
    if url.host:
        if url.path and url.path[0] != "/":
            raise ValueError("Path must start with '/' when host is not empty")
    else:
        if url.user_info:
            raise ValueError("User info defined, but host is empty")
        if url.port:
            raise ValueError("Port defined, but host is empty")
        if ":" in url.path.partition("/")[0]:
            raise ValueError("The first segment of the relative path can't contain ':'")
    for number, (key, _) in enumerate(url.query):
        if not key:
            raise ValueError(
                "A query entry has no key" if number else "First query entry has no key"
            )


def _first_of(text: str, characters: str, start: int = 0) -> int:
    return min((i for c in characters if (i := text.find(c, start)) >= 0), default=len(text))


def _normal_ipv6(host: str) -> str:
    try:
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host))
    except OSError:
        raise ValueError(f"IPv6 [{host}] is invalid") from None


def _normal_path(path: str) -> str:
    if not path:
        return path
    *inner, last = path.split("/")
    elements: list[str] = []
    for element in inner:
        if element == "..":
            del elements[-1:]
        elif element not in ("", "."):
            elements.append(element)
    if last == "..":
        del elements[-1:]
    else:
        elements.append("" if last == "." else last)
    return ("/" if path[0] == "/" else "") + "/".join(elements)


def decode(text: str) -> str:
    """Undo percent-encoding. Raises ValueError."""
    if "%" not in text:
        return text
    first, *parts = os.fsencode(text).split(b"%")
    decoded = [first]
    for part in parts:
        if len(part) < 2 or not _is_hex(part[:2]):
            raise ValueError("Invalid percent encoding")
        decoded += (bytes.fromhex(part[:2].decode()), part[2:])
    return os.fsdecode(b"".join(decoded))


def _is_hex(text: bytes) -> bool:
    return all(c in b"0123456789abcdefABCDEF" for c in text)


_UNCODED = frozenset(
    "!$&'()*+,-.0123456789;=_~ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)


def encode(text: str, besides: str) -> str:
    """Percent-encode what is not plain or one of ``besides``."""
    return "".join(
        c if c in _UNCODED or c in besides else "".join(f"%{b:02X}" for b in os.fsencode(c))
        for c in text
    )


def _encode_query(text: str) -> str:
    return "".join(
        "+" if c == " " else f"%{ord(c):02X}" if c in "+=&;" else encode(c, ":/@?") for c in text
    )
