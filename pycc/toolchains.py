"""The toolchain of a call: remembered, found in the cache directory, or asked of the compiler.

Asking costs three runs of the compiler and the digests of everything behind it, so the answer is
also kept beside the store with its witnesses. A process that starts asks the witnesses and has the
identity of a compiler of 100 MB within a millisecond.
"""

from __future__ import annotations

from collections.abc import Hashable
from struct import Struct
from struct import error as struct_error
from typing import TYPE_CHECKING, Any

from . import native
from .blake import blake2b
from .cache.digest import SETTLED_NS, file_clock
from .call import Call
from .compiler import (
    KEY_VARIABLES,
    ProbeFailed,
    Toolchain,
    check_identity,
    is_command,
    looks_below_directory,
    probe,
    unknown,
)
from .invocation import Family, Invocation
from .record import replace
from .searchchain import SearchChain
from .talk import Talk

if TYPE_CHECKING:
    from .resident import Resident

NEVER = native.pack(native.ABSENT, b"/")
"""A witness that does not hold: what it stands beside is found out again each time."""

VERSION = b"pycc toolchain 3"

PATIENCE_SECONDS, OTHERS_MS = 1.0, 10_000
"""Who asks the compiler may have been stopped; his answer is waited for so long."""


def toolchain(call: Call, talk: Talk, resident: Resident, invocation: Invocation) -> Toolchain:
    """What the compiler of this call is. Raises ProbeFailed, talk.NotHere, talk.Gone."""
    key = _memo_key(call, invocation)

    def make() -> tuple[bytes, Toolchain]:
        digest = blake2b(VERSION + repr(key).encode(), digest_size=32).digest()
        # The same disk may be started on another processor, whose -march=native is another.
        keeps = not invocation.native
        stored = call.cache.aside.get(digest) if keeps else None
        known = None if stored is None else decode(stored)
        if known is None or native.check(known.witnesses) >= 0:
            known = _ask(call, talk, resident, invocation)
            if keeps and NEVER not in known.witnesses and not call.config.read_only:
                value = encode(known)
                call.cache.later(lambda: call.cache.aside.put(digest, value))
        return known.witnesses, known

    known: Toolchain | None = resident.toolchains.known(key)
    if known is not None:
        return known
    # A build that starts with many jobs needs the answer once; three runs for each are too many.
    talk.may_block()
    asking = resident.asking(key)
    mine = asking.acquire(blocking=False)
    if not mine:
        talk.wait(OTHERS_MS)
        mine = asking.acquire(timeout=PATIENCE_SECONDS)
    try:
        return resident.toolchains.get(key, make)[1]
    finally:
        if mine:
            asking.release()


def _memo_key(call: Call, invocation: Invocation) -> Hashable:
    config, variables = call.config, call.variables
    language = invocation.language.replace(b"-cpp-output", b"").replace(b"-header", b"")
    special = invocation.include.special
    relative = looks_below_directory(special, variables)
    return (
        call.compiler,
        call.driver,
        _LANGUAGES.get(language, language),
        special,
        invocation.native,
        tuple(variables.get(name) for name in (*KEY_VARIABLES, b"PATH")),
        call.cwd if relative else b"",
        invocation.split_dwarf,
        _native_environment(call, invocation),
        config.compiler_check if config.origin("compiler_check") != "default" else "",
        config.compiler_type,
    )


_LANGUAGES = {b"cpp-output": b"c", b"assembler": b"assembler-with-cpp"}


def _native_environment(call: Call, invocation: Invocation) -> Hashable:
    """A compiler script may decide by any variable what -march=native stands for."""
    return tuple(sorted(call.variables.items())) if invocation.native else ()


def _ask(call: Call, talk: Talk, resident: Resident, invocation: Invocation) -> Toolchain:
    config = call.config
    language = invocation.language.replace(b"-cpp-output", b"").replace(b"-header", b"")
    now = file_clock()
    found = _probe(
        talk,
        call.compiler,
        language=_LANGUAGES.get(language, language),
        special=invocation.include.special,
        native=invocation.native,
        environment=call.variables,
        cwd=call.cwd,
        split_dwarf=invocation.split_dwarf,
        digests=resident.digests,
        compiler_check=lambda path: _compiler_check(call, talk, path),
        configured=config.compiler_type,
    )
    # Only a check command itself knows whether it would still say the same; and a file that was
    # written a moment ago may be written again without another time stamp.
    fresh = any(
        signature.is_regular and signature.changed > now - SETTLED_NS
        for signature in map(native.signature, native.paths(found.witnesses))
    )
    if is_command(config.compiler_check) or fresh:
        return replace(found, witnesses=found.witnesses + NEVER)
    return found


def _probe(talk: Talk, path: bytes, *, configured: str, **options: Any) -> Toolchain:
    try:
        if configured not in ("auto", "gcc", "clang"):
            raise ProbeFailed(f"compiler_type is {configured}")
        return probe(talk, path, **options)
    except ProbeFailed:
        # A script that the user calls a compiler: the preprocessor's text and its own content.
        checked = options["compiler_check"](path)
        return unknown(talk, path, options["native"], options["digests"], checked)


def _compiler_check(call: Call, talk: Talk, path: bytes) -> bytes | None:
    """The compiler's identity as compiler_check asks for it; None: its whole content, which is
    our default and stronger than ccache's (the driver's mtime)."""
    config = call.config
    if config.origin("compiler_check") == "default":
        return None
    return check_identity(talk, path, call.named, config.compiler_check)


_COUNT = Struct("<I")
_FIELDS = 6


def encode(known: Toolchain) -> bytes:
    """A toolchain as bytes: the fields, then the lists with their lengths.

    <toolchain> ::= { <field> } { <count:u32> { <field> } } ; <field> ::= <length:u32> <bytes>
    """
    fields = (known.path, known.family.value.encode(), known.version, known.identity)
    scripted = b"script" if known.scripted else b""
    parts = [_field(value) for value in (*fields, known.witnesses, scripted)]
    for values in (known.chain.quote, known.chain.bracket, known.native):
        parts.append(_COUNT.pack(len(values)))
        parts += map(_field, values)
    return b"".join(parts)


def _field(value: bytes) -> bytes:
    return _COUNT.pack(len(value)) + value


def decode(value: bytes) -> Toolchain | None:
    """The inverse of encode; None for anything else."""
    at = 0

    def number() -> int:
        nonlocal at
        (count,) = _COUNT.unpack_from(value, at)
        at += _COUNT.size
        return int(count)

    def field() -> bytes:
        nonlocal at
        length = number()
        if length > len(value) - at:
            raise ValueError("a field that is cut")
        at += length
        return value[at - length : at]

    def fields() -> tuple[bytes, ...]:
        return tuple(field() for _ in range(number()))

    try:
        path, family, version, identity, witnesses, scripted = (field() for _ in range(_FIELDS))
        chain = SearchChain(fields(), fields())
        words = fields()
        kind = Family(family.decode())
    except (ValueError, struct_error):
        return None
    if at != len(value):
        return None
    return Toolchain(path, kind, version, identity, witnesses, chain, words, bool(scripted))
