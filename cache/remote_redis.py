"""Remote storage in a Redis server, or one that speaks its protocol.

The keys are ccache's: ``ccache:`` and the digest in hexadecimal. Leases are ours (remote_lease.py):
``pycc:lease:`` and the digest.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ConfigError
from .remote_backend import Say, StorageFailed, StorageRefused
from .remote_lease import LONGEST_VALUE
from .remote_resp import Redis, Reply, ReplyError
from .remote_settings import REQUEST_TIMEOUT, StorageSettings, timeouts
from .remote_url import Url


class RedisBackend:
    """See Backend."""

    def __init__(self, url: Url, settings: StorageSettings, unknown: Say = lambda _: None) -> None:
        attributes = dict(settings.attributes)
        known = ("connect-timeout", "operation-timeout", "ca-file", "single-flight")
        for key in attributes:
            if key not in known:
                unknown(f"Unknown attribute: {key}")
        connect, data = timeouts(settings, attributes, far=url.scheme == "rediss")
        whole = REQUEST_TIMEOUT if settings.request_timeout is None else settings.request_timeout
        self.leases = attributes.get("single-flight", "true") != "false"
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

    def lease(self, key: bytes, value: bytes, ms: int) -> bytes | None:
        name = _lease_name(key)
        given, found = self._redis.ask_all(
            [(b"SET", name, value, b"NX", b"PX", b"%d" % ms), (b"GET", name)], LONGEST_VALUE
        )
        _lease(given)
        return _lease(found)

    def lease_value(self, key: bytes) -> bytes | None:
        (found,) = self._redis.ask_all([(b"GET", _lease_name(key))], LONGEST_VALUE)
        return _lease(found)

    def prolong_leases(self, keys: Sequence[bytes], ms: int) -> None:
        self._redis.ask_all([(b"PEXPIRE", _lease_name(key), b"%d" % ms) for key in keys])

    def end_lease(self, key: bytes, value: bytes, end: bytes, ms: int) -> None:
        # Between the two another may take it over, if it lapses just then: both would compile.
        name = _lease_name(key)
        if self.lease_value(key) == value:
            words = (b"SET", name, end, b"XX", b"PX", b"%d" % ms) if end else (b"DEL", name)
            self._redis.ask(*words)

    def stop(self) -> bool:
        return False

    def close(self) -> None:
        self._redis.close()


def _lease(reply: Reply | ReplyError) -> bytes | None:
    """Its value; raises StorageRefused where there are no leases."""
    if isinstance(reply, ReplyError):
        raise StorageRefused(str(reply))
    return reply if isinstance(reply, bytes) else None


def _lease_name(key: bytes) -> bytes:
    return b"pycc:lease:" + key.hex().encode()


def _name(key: bytes) -> bytes:
    return b"ccache:" + key.hex().encode()
