"""Keys, clocks and other processes for the tests of the stores."""

import hashlib
import subprocess
import sys
from pathlib import Path

from pycc.cache.storage import manifest_key, result_key

ROOT = Path(__file__).resolve().parent.parent


def digest(number: int) -> bytes:
    """Return a digest that belongs to ``number``."""
    return hashlib.blake2b(b"%d" % number, digest_size=32).digest()


def key(number: int) -> bytes:
    """Return a result's key."""
    return result_key(digest(number))


def manifest(number: int) -> bytes:
    """Return a manifest's key."""
    return manifest_key(digest(number))


def value(number: int, size: int = 2000) -> bytes:
    """Return bytes that belong to ``number``."""
    seed = hashlib.blake2b(b"value %d" % number).digest()
    return (seed * (size // len(seed) + 1))[:size]


class Clock:
    """A clock that ticks when told to."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def start(code: str, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start another Python with ``code``; sys.argv[1:] are ``arguments``."""
    environment = {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
