"""Remote storage in a bucket: Amazon S3, or a server that speaks its protocol.

    s3://BUCKET[/PREFIX] [@region=…] [@endpoint=http[s]://HOST[:PORT]] [@layout=…] [@profile=…]

Objects are addressed by path (``/BUCKET/KEY``), which every such server understands, and requests
are signed (AWS Signature Version 4). Credentials are looked for where Amazon's own programs look
first: in the variables of the call, then in the credentials file. Those of a machine's role would
have to be asked for over the network; who has only these lets the build's start-up export them.

Without the right to list a bucket, an object that is not there is "access denied" like one that is
forbidden. Both are a miss; credentials that are wrong have codes of their own.
"""

from __future__ import annotations

import configparser
import hashlib
import hmac
import os
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from ..errors import ConfigError
from ..pattern import pattern
from ..record import record
from .remote_backend import Say, StorageFailed, StorageRefused, entry_path
from .remote_http import ask, peer_of
from .remote_http_wire import Answer
from .remote_settings import StorageSettings
from .remote_stream import Connections
from .remote_url import Url, parse_url

REGION = "us-east-1"
_CODE = pattern(rb"<Code>([A-Za-z0-9]{1,64})</Code>")
_ABSENT = frozenset({"NoSuchKey", "AccessDenied"})


@record
class Credentials:
    """Who asks; ``token`` belongs to those that are lent for a while."""

    key: str
    secret: str
    token: str = ""


def signed(
    method: str,
    path: str,
    fields: Sequence[tuple[str, str]],
    payload: str,
    credentials: Credentials,
    region: str,
    now: float,
) -> list[tuple[str, str]]:
    """``fields`` with those that sign a request without a query; ``path`` is percent-encoded,
    ``payload`` the hexadecimal SHA-256 of the body, ``now`` in seconds since 1970.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html"""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    added = [("x-amz-content-sha256", payload), ("x-amz-date", stamp)]
    if credentials.token:
        added.append(("x-amz-security-token", credentials.token))
    both = [*fields, *added]
    lines = sorted((name.lower(), " ".join(value.split())) for name, value in both)
    names = ";".join(name for name, _ in lines)
    canonical = "\n".join(
        (method, path, "", *(f"{name}:{value}" for name, value in lines), "", names, payload)
    )
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}"
    key = f"AWS4{credentials.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    proof = (
        f"AWS4-HMAC-SHA256 Credential={credentials.key}/{scope},SignedHeaders={names},"
        f"Signature={signature}"
    )
    return [*both, ("Authorization", proof)]


class CredentialsFile:
    """One profile of a credentials file, read again when the file has changed."""

    def __init__(self, path: str, profile: str) -> None:
        self._path, self._profile = path, profile
        self._seen: tuple[int, int, int] | None = None
        self._found: Credentials | None = None

    def read(self) -> Credentials | None:
        try:
            found = os.stat(self._path)
            now = (found.st_ino, found.st_size, found.st_mtime_ns)
            if now != self._seen:
                parser = configparser.RawConfigParser()
                with open(self._path, encoding="utf-8") as file:
                    parser.read_file(file)
                section: Mapping[str, str] = (
                    parser[self._profile] if parser.has_section(self._profile) else {}
                )
                self._seen, self._found = now, _credentials(section, str.lower)
        except (OSError, ValueError, configparser.Error):
            return None
        return self._found


def _credentials(values: Mapping[str, str], name: Callable[[str], str]) -> Credentials | None:
    key, secret, token = (
        values.get(name(n), "")
        for n in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    )
    return Credentials(key, secret, token) if key and secret else None


class S3Backend:
    """See Backend. ``variables`` are those of the calls that use it."""

    def __init__(
        self,
        url: Url,
        settings: StorageSettings,
        variables: Mapping[bytes, bytes],
        unknown: Say = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not url.host:
            raise ConfigError(f'A bucket is required in S3 storage URL "{url}"')
        named = {os.fsdecode(k): os.fsdecode(v) for k, v in variables.items() if k[:4] == b"AWS_"}
        attributes = dict(settings.attributes)
        self._region = (
            attributes.get("region")
            or named.get("AWS_REGION")
            or named.get("AWS_DEFAULT_REGION")
            or REGION
        )
        default = f"https://s3.{self._region}.amazonaws.com"
        endpoint = parse_url(
            attributes.get("endpoint")
            or named.get("AWS_ENDPOINT_URL_S3")
            or named.get("AWS_ENDPOINT_URL")
            or default
        )
        if endpoint.scheme not in ("http", "https") or not endpoint.host:
            raise ConfigError(f'Not an address of a server: "{endpoint.shown()}"')
        self._layout = attributes.get("layout", "subdirs")
        known = {"region", "endpoint", "layout", "profile", "ca-file"}
        known |= {"connect-timeout", "operation-timeout"}
        for key in attributes:
            if key not in known:
                unknown(f"Unknown attribute: {key}")
        prefix = "/".join(filter(None, (endpoint.path.strip("/"), url.host, url.path.strip("/"))))
        self._prefix = f"/{quote(os.fsencode(prefix), safe='/')}/"
        self._host = endpoint.authority
        self._shown = f"{endpoint.scheme}://{self._host}"
        peer = peer_of(endpoint, settings, attributes, attributes.get("ca-file", ""))
        self._connections = Connections(peer)
        self._named = _credentials(named, str)
        home = os.fsdecode(variables.get(b"HOME", b""))
        self._file = CredentialsFile(
            named.get("AWS_SHARED_CREDENTIALS_FILE") or f"{home}/.aws/credentials",
            attributes.get("profile") or named.get("AWS_PROFILE") or "default",
        )
        self._clock = clock

    def get(self, key: bytes, say: Say) -> bytes | None:
        answer = self._ask("GET", key, say)
        if answer.ok:
            return answer.body
        self._absent(answer)
        return None

    def put(self, key: bytes, value: bytes, say: Say, *, overwrite: bool) -> bool:
        if not overwrite and self._ask("HEAD", key, say).ok:
            return False
        answer = self._ask("PUT", key, say, value)
        if not answer.ok:
            raise StorageRefused(f"Failed to put an object in S3: {_said(answer)}")
        return True

    def remove(self, key: bytes, say: Say) -> bool:
        answer = self._ask("DELETE", key, say)
        if not answer.ok:
            raise StorageRefused(f"Failed to delete an object in S3: {_said(answer)}")
        return True

    def give_up(self) -> None:
        self._connections.give_up()

    def stop(self) -> bool:
        return False

    def close(self) -> None:
        self._connections.close()

    def _absent(self, answer: Answer) -> None:
        if answer.status not in (403, 404) or (
            answer.status == 403 and _code(answer) not in _ABSENT
        ):
            raise StorageFailed(f"Failed to get an object from S3: {_said(answer)}")
        if _code(answer) == "NoSuchBucket":
            raise StorageFailed(f"Failed to get an object from S3: {_said(answer)}")

    def _ask(self, method: str, key: bytes, say: Say, body: bytes | None = None) -> Answer:
        credentials = self._named or self._file.read()
        if credentials is None:
            raise StorageFailed("no credentials for S3: AWS_ACCESS_KEY_ID is not set")
        target = self._prefix + entry_path(key, self._layout)
        payload = hashlib.sha256(body or b"").hexdigest()
        host = [("Host", self._host)]
        now = self._clock()
        fields = signed(method, target, host, payload, credentials, self._region, now)
        answer = ask(self._connections, method, target, fields, body)
        say(f"{method} {self._shown}{target} -> {answer.status}")
        return answer


def _code(answer: Answer) -> str:
    match = _CODE.search(answer.body)
    return match[1].decode() if match else ""


def _said(answer: Answer) -> str:
    return f"status code: {answer.status} {_code(answer)}".rstrip()
