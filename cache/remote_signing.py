"""Entries that are signed by who wrote them, and readers that take nothing else (Ed25519).

    <signed>    ::= "pys" 0x01 <public key:32> <signature:64> <frame>
    <signature> ::= of "pycc remote entry" NUL <key> <BLAKE2b-256 of the frame>

Whoever can write to a storage could otherwise put any object under any key. A signature binds the
frame to its key, so one entry cannot stand in for another; it need not say when it was made,
because what a key leads to is the same at all times. What came from a trusted writer is stored
locally as if it had been made here.

Keys are files as ``openssl genpkey -algorithm ed25519`` and ``ssh-keygen -t ed25519`` make them,
without a passphrase. Trusted ones lie in a file, any number of them, or in the files of a
directory; both are read again when they change. The library is loaded where a setting names a key.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from ..blake import blake2b
from ..errors import ConfigError
from ..pattern import pattern

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

T = TypeVar("T")

MAGIC: Final = b"pys\x01"
_PUBLIC, _SIGNATURE = 32, 64
HEAD: Final = len(MAGIC) + _PUBLIC + _SIGNATURE
LONGEST_FILE, MOST_FILES = 64 << 10, 1000
_PEM = pattern(rb"-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----")
_SSH = pattern(rb"^ssh-ed25519 [A-Za-z0-9+/=]+", 8)  # re.MULTILINE


class _Unreadable(Exception):
    """No key is to be had there; the text says why."""


def unsigned(value: bytes) -> bytes:
    """What a value holds, whoever signed it."""
    return value[HEAD:] if value[: len(MAGIC)] == MAGIC else value


class Signing:
    """``sign_key`` is the file of this writer's key, ``trusted`` that, or the directory, of those
    that are believed; either may be empty. Raises ConfigError."""

    def __init__(self, sign_key: str, trusted: str) -> None:
        self._writer: _Changing[Ed25519PrivateKey] | None = None
        self._trusted: _Changing[frozenset[bytes]] | None = None
        if sign_key:
            self._writer = _Changing(sign_key, _private_key)
        if trusted:
            self._trusted = _Changing(trusted, _public_keys)

    @property
    def writes(self) -> bool:
        """Whether what this one stores would be believed by those who trust the same."""
        return self._writer is not None or self._trusted is None

    def sign(self, key: bytes, frame: bytes) -> bytes:
        """The frame as it is stored under ``key``. Raises ConfigError where the key has gone."""
        if self._writer is None:
            return frame
        writer = self._writer.get()
        public = writer.public_key().public_bytes_raw()
        return b"".join((MAGIC, public, writer.sign(_message(key, frame)), frame))

    def opened(self, key: bytes, value: bytes) -> bytes | None:
        """The frame; None if it is from nobody who is trusted."""
        if self._trusted is None:
            return unsigned(value)
        if value[: len(MAGIC)] != MAGIC or len(value) < HEAD:
            return None
        public = value[len(MAGIC) : len(MAGIC) + _PUBLIC]
        try:
            if public not in self._trusted.get():
                return None
        except ConfigError:
            return None
        frame = value[HEAD:]
        return frame if _verified(public, value[HEAD - _SIGNATURE : HEAD], key, frame) else None


def _message(key: bytes, frame: bytes) -> bytes:
    return b"pycc remote entry\0" + key + blake2b(frame, digest_size=32).digest()


def _verified(public: bytes, signature: bytes, key: bytes, frame: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _message(key, frame))
    except (InvalidSignature, ValueError):
        return False
    return True


class _Changing(Generic[T]):
    """What ``load`` makes of a path, made again when the path has changed."""

    def __init__(self, path: str, load: Callable[[str], T]) -> None:
        self._path, self._load = path, load
        self._seen: tuple[int, int, int] | None = None
        self._made: T | None = None
        self.get()

    def get(self) -> T:
        """Raises ConfigError."""
        try:
            found = os.stat(self._path)
            now = (found.st_ino, found.st_size, found.st_mtime_ns)
            if now != self._seen or self._made is None:
                self._made = self._load(self._path)
                self._seen = now
        except OSError as problem:
            raise ConfigError(f"{self._path}: {problem.strerror}") from problem
        except _Unreadable as problem:
            raise ConfigError(f"{self._path}: {problem}") from problem
        except ImportError as problem:
            raise ConfigError(
                "signed entries need the Python package cryptography (pip install pycc[signing])"
            ) from problem
        return self._made


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        data = file.read(LONGEST_FILE + 1)
    if len(data) > LONGEST_FILE:
        raise _Unreadable("too long for a key")
    return data


def _private_key(path: str) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    data = _read(path)
    openssh = b"BEGIN OPENSSH PRIVATE KEY" in data
    try:
        load = serialization.load_ssh_private_key if openssh else serialization.load_pem_private_key
        key = load(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as problem:
        raise _Unreadable("not a private key without a passphrase") from problem
    if not isinstance(key, Ed25519PrivateKey):
        raise _Unreadable("not an Ed25519 key")
    return key


def _public_keys(path: str) -> frozenset[bytes]:
    if not os.path.isdir(path):
        keys = frozenset(_keys_of(_read(path)))
    else:
        names = sorted(os.listdir(path))[:MOST_FILES]
        files = filter(os.path.isfile, (f"{path}/{name}" for name in names))
        keys = frozenset(key for file in files for key in _keys_of(_read(file)))
    if not keys:
        raise _Unreadable("no Ed25519 public key")
    return keys


def _keys_of(data: bytes) -> Iterator[bytes]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    loaders = (
        (_PEM, serialization.load_pem_public_key),
        (_SSH, serialization.load_ssh_public_key),
    )
    for shape, load in loaders:
        for text in shape.findall(data):
            try:
                key = load(text)
            except (ValueError, UnsupportedAlgorithm):
                continue
            if isinstance(key, Ed25519PublicKey):
                yield key.public_bytes_raw()
