"""The compilers that a daemon offers, as it tells others of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

from .child import run
from .compilers import Rules, runnable
from .identities import Identities
from .membership import MOST_COMPILERS, Compiler

FIRST = (b"cc", b"gcc", b"g++", b"c++", b"clang", b"clang++")
ASK_SECONDS = 10.0


def offered(
    rules: Rules, variables: Mapping[bytes, bytes], identities: Identities
) -> tuple[Compiler, ...]:
    """Those that jobs may run, the usual names first, MOST_COMPILERS at most; asks each file once,
    which takes a tenth of a second or so."""
    programs = runnable(rules)
    names = [name for name in FIRST if name in programs]
    names += sorted(set(programs) - set(names))
    asked: dict[str, tuple[str, str]] = {}
    found: list[Compiler] = []
    for name in names:
        if len(found) >= MOST_COMPILERS:
            break
        program = programs[name]
        file = os.path.realpath(os.fsdecode(program))
        if file not in asked:
            asked[file] = (
                _said(program, b"-dumpmachine", variables),
                _said(program, b"-dumpversion", variables),
            )
        machine, version = asked[file]
        if machine and version:
            language = b"c++" if b"++" in name else b"c"
            identity = identities.of(program, language) or b""
            found.append(Compiler(os.fsdecode(name), machine, version, identity.hex()))
    return tuple(found)


def _said(program: bytes, option: bytes, variables: Mapping[bytes, bytes]) -> str:
    with suppress(OSError):
        ran = run((program, option), cwd=b"/", environment=variables, seconds=ASK_SECONDS)
        words = ran.out.decode("ascii", "replace").split()
        return words[0] if len(words) == 1 else ""
    return ""
