"""BLAKE2b without the rest of hashlib, which loads OpenSSL (4 ms, of 100 that a hit may take)."""

from __future__ import annotations

try:
    from _blake2 import blake2b
except ImportError:  # another build of Python
    from hashlib import blake2b

__all__ = ["blake2b"]
