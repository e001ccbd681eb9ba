"""Remote storage behind HTTP: any server that takes GET, PUT, HEAD and DELETE.

Any status but 2xx means, as to ccache, that there is no such entry when one is fetched, and a
refusal when one is stored.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..record import replace
from .remote_backend import LARGEST, Say, StorageFailed, StorageRefused, entry_path
from .remote_http_wire import Answer, read_answer, request
from .remote_settings import REQUEST_TIMEOUT, StorageSettings, timeouts
from .remote_stream import Connections, Peer, Stream, context
from .remote_url import SECRET, Url, encode

if TYPE_CHECKING:
    import ssl

PORTS = {"http": 80, "https": 443}
AGENT = "pycc"


class HttpBackend:
    """See Backend. ``attributes`` as of ccache's backend, and ``ca-file`` for https."""

    def __init__(
        self,
        url: Url,
        settings: StorageSettings,
        unknown: Say = lambda _: None,
    ) -> None:
        if not url.host:
            raise ConfigError(f'A host is required in HTTP storage URL "{url}"')
        attributes = dict(settings.attributes)
        self._fields = [("Host", url.authority), ("User-Agent", AGENT)]
        if url.user_info:
            user, colon, password = url.user_info.partition(":")
            if not colon:
                raise ConfigError(f'Expected username:password in URL but got "{SECRET}"')
            pair = f"{user}:{password}".encode("utf-8", "surrogateescape")
            self._fields.append(("Authorization", "Basic " + base64.b64encode(pair).decode()))
        self._layout, keep, ca_file = "subdirs", True, ""
        for key, value in settings.attributes:
            match key:
                case "bearer-token":
                    self._fields = [f for f in self._fields if f[0] != "Authorization"]
                    self._fields.append(("Authorization", f"Bearer {value}"))
                case "ca-file":
                    ca_file = value
                case "keep-alive":
                    keep = value == "true"
                case "layout" if value in ("bazel", "flat", "subdirs"):
                    self._layout = value
                case "layout":
                    unknown(f"Unknown layout: {value}")
                case "header":
                    name, equals, text = value.partition("=")
                    if equals:
                        self._fields.append((name, text))
                    else:
                        unknown(f"Incomplete header specification: {SECRET}")
                case "connect-timeout" | "operation-timeout":
                    pass
                case _:
                    unknown(f"Unknown attribute: {key}")
        if not keep:
            self._fields.append(("Connection", "close"))
        self._shown = str(replace(url, user_info="", path="", query=(), fragment=""))
        self._prefix = encode(url.path if url.path.endswith("/") else url.path + "/", ":/@")
        self._connections = Connections(peer_of(url, settings, attributes, ca_file), keep=keep)

    def _target(self, key: bytes) -> str:
        return self._prefix + entry_path(key, self._layout)

    def get(self, key: bytes, say: Say) -> bytes | None:
        target = self._target(key)
        answer = self._ask("GET", target, say)
        return answer.body if answer.ok else None

    def put(self, key: bytes, value: bytes, say: Say, *, overwrite: bool) -> bool:
        target = self._target(key)
        if not overwrite:
            answer = self._ask("HEAD", target, say)
            if answer.ok:
                say(f"Found entry {target} already within http storage: {_code(answer)}")
                return False
        answer = self._ask("PUT", target, say, value)
        if not answer.ok:
            raise StorageRefused(f"Failed to put {target} to http storage: {_code(answer)}")
        return True

    def remove(self, key: bytes, say: Say) -> bool:
        target = self._target(key)
        answer = self._ask("DELETE", target, say)
        if not answer.ok:
            raise StorageRefused(f"Failed to delete {target} from http storage: {_code(answer)}")
        return True

    def give_up(self) -> None:
        self._connections.give_up()

    def stop(self) -> bool:
        return False

    def close(self) -> None:
        self._connections.close()

    def _ask(self, method: str, target: str, say: Say, body: bytes | None = None) -> Answer:
        answer = ask(self._connections, method, target, self._fields, body)
        say(f"{method} {self._shown}{target} -> {answer.status}")
        return answer


def ask(
    connections: Connections,
    method: str,
    target: str,
    fields: Sequence[tuple[str, str]],
    body: bytes | None = None,
) -> Answer:
    """What a server of HTTP answers. Raises StorageFailed."""
    size = None
    if body is not None:
        size, fields = len(body), [*fields, ("Content-Type", "application/octet-stream")]
    try:
        head = request(method, target, fields, size)
    except ValueError as problem:
        raise StorageFailed(str(problem)) from problem

    def exchange(stream: Stream) -> tuple[Answer, bool]:
        refused: StorageFailed | None = None
        try:
            stream.send(head, *(() if body is None else (body,)))
        except StorageFailed as problem:
            if problem.timeout:
                raise
            refused = problem  # a server that does not want the body may have said so
        try:
            answer = read_answer(stream, method, LARGEST)
        except (StorageFailed, EOFError, ValueError) as problem:
            raise refused or problem from problem
        return answer, answer.again and refused is None

    try:
        return connections.ask(exchange)
    except StorageFailed as problem:
        verb = {"GET": "get", "HEAD": "check for", "PUT": "put"}.get(method, "delete")
        text = f"Failed to {verb} {target} in http storage: {problem}"
        raise StorageFailed(text, timeout=problem.timeout) from problem


def _code(answer: Answer) -> str:
    return f"status code: {answer.status}"


def peer_of(
    url: Url, settings: StorageSettings, attributes: Mapping[str, str], ca_file: str = ""
) -> Peer:
    """Where a URL of HTTP leads. Raises ConfigError."""
    connect, data = timeouts(settings, attributes, far=url.scheme == "https")
    whole = REQUEST_TIMEOUT if settings.request_timeout is None else settings.request_timeout
    tls: ssl.SSLContext | None = None
    if url.scheme == "https":
        try:
            tls = context(ca_file)
        except OSError as problem:
            raise ConfigError(f"{ca_file}: {problem.strerror or problem}") from problem
    port = int(url.port) if url.port else PORTS[url.scheme]
    return Peer(url.host, port, "", connect, data, whole, tls)
