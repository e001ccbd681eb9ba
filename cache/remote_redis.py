"""Remote storage in a Redis server, or one that speaks its protocol.

The keys are ccache's: ``ccache:`` and the digest in hexadecimal.
"""

from __future__ import annotations

from ..errors import ConfigError
from .remote_backend import Say, StorageFailed, StorageRefused
from .remote_resp import Redis, ReplyError
from .remote_settings import REQUEST_TIMEOUT, StorageSettings, timeouts
from .remote_url import Url


class RedisBackend:
    """See Backend."""

    def __init__(self, url: Url, settings: StorageSettings, unknown: Say = lambda _: None) -> None:
        attributes = dict(settings.attributes)
        known = ("connect-timeout", "operation-timeout", "ca-file")
        for key in attributes:
            if key not in known:
                unknown(f"Unknown attribute: {key}")
        connect, data = timeouts(settings, attributes, far=url.scheme == "rediss")
        whole = REQUEST_TIMEOUT if settings.request_timeout is None else settings.request_timeout
        ca_file = attributes.get("ca-file", "")
        try:
            self._redis = Redis(url, connect=connect, data=data, whole=whole, ca_file=ca_file)
        except OSError as problem:
            raise ConfigError(str(problem)) from problem

    def get(self, key: bytes, say: Say) -> bytes | None:
        name = _name(key)
        say(f"Redis GET {name.decode()}")
        value = self._redis.ask(b"GET", name)
        if value is None or isinstance(value, bytes):
            return value
        raise StorageFailed("no reply to GET")

    def put(self, key: bytes, value: bytes, say: Say, *, overwrite: bool) -> bool:
        name = _name(key)
        if not overwrite:
            say(f"Redis EXISTS {name.decode()}")
            if self._redis.ask(b"EXISTS", name) == 1:
                say(f"Entry {name.decode()} already in Redis")
                return False
        say(f"Redis SET {name.decode()} [{len(value)} bytes]")
        try:
            self._redis.ask(b"SET", name, value)
        except ReplyError as problem:
            raise StorageRefused(str(problem)) from problem
        return True

    def remove(self, key: bytes, say: Say) -> bool:
        name = _name(key)
        say(f"Redis DEL {name.decode()}")
        return self._redis.ask(b"DEL", name) != 0

    def give_up(self) -> None:
        self._redis.give_up()

    def stop(self) -> bool:
        return False

    def close(self) -> None:
        self._redis.close()


def _name(key: bytes) -> bytes:
    return b"ccache:" + key.hex().encode()
