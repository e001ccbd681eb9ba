"""What goes into a key: every fact about a call that can change one of its outputs.

``common`` is what direct and preprocessed keys share. ``direct`` adds what the preprocessor reads
from the command line, the environment and the source, and gives the manifest's key. What the
included files hold is not here: the manifest's entries witness it (cache/manifest.py).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

from .basedir import Place, apparent_directory
from .cache.fingerprint import Fingerprint
from .call import Call
from .compiler import KEY_VARIABLES, Toolchain
from .invocation import DependencyRequest, Invocation
from .options import Scope

LOCALE_VARIABLES = (b"LANG", b"LANGUAGE", b"LC_ALL", b"LC_CTYPE", b"LC_MESSAGES")
DIAGNOSTIC_VARIABLES = (b"GCC_COLORS", b"GCC_EXTRA_DIAGNOSTIC_OUTPUT", b"GCC_DIAGNOSTICS_LOG")
SEARCH_VARIABLES = (
    b"CPATH",
    b"C_INCLUDE_PATH",
    b"CPLUS_INCLUDE_PATH",
    b"OBJC_INCLUDE_PATH",
    b"OBJCPLUS_INCLUDE_PATH",
    b"INCLUDE",
)

ACTION_WORDS = ((b"-c",), (b"-S",))
"""What they mean is Invocation.action."""


class Files(Protocol):
    """What keys ask of the file system (job.Witnesses)."""

    def content(self, path: bytes) -> bytes | None: ...
    def signature(self, path: bytes) -> Place: ...


class KeyProblem(Exception):
    """A file whose content belongs to the key cannot be read; the text names it."""


def mapped_cwd(invocation: Invocation, cwd: bytes) -> bytes:
    """The working directory as debug information shows it, prefix maps applied."""
    if invocation.debug_compilation_dir is not None:
        return invocation.debug_compilation_dir
    for prefix_map in reversed(invocation.prefix_maps):
        if prefix_map.kind in (b"file", b"debug") and cwd.startswith(prefix_map.old):
            return prefix_map.new + cwd[len(prefix_map.old) :]
    return cwd


def common(
    call: Call, invocation: Invocation, toolchain: Toolchain, files: Files
) -> Fingerprint:
    """The fields of every key of this call. Raises KeyProblem."""
    config = call.config
    key = Fingerprint(trace=call.debug is not None)
    key.add(b"namespace", os.fsencode(config.namespace))
    key.add(b"language", invocation.language)
    key.add(b"action", invocation.action.value.encode())
    key.add(b"compiler", call.driver, toolchain.identity)
    key.add(b"native", *toolchain.native)
    variables = call.variables
    names: tuple[bytes, ...] = KEY_VARIABLES + DIAGNOSTIC_VARIABLES
    if "locale" not in config.sloppiness:
        names += LOCALE_VARIABLES
    key.add_pairs(b"environment", ((n, variables[n]) for n in names if n in variables))
    for arg in invocation.key_args:
        if arg.scope is Scope.BOTH and arg.words not in ACTION_WORDS:
            key.add(b"arg", *arg.words)
    key.add(b"outputs", *(output.kind.value.encode() for output in invocation.outputs))
    if invocation.cwd_sensitive and config.hash_dir:
        # Compilers write $PWD where it is the same directory, and the physical name on demand.
        cwd = apparent_directory(call.cwd, call.variables.get(b"PWD"), files.signature)
        key.add(b"cwd", mapped_cwd(invocation, cwd))
        if invocation.profile.absolute_path:
            key.add(b"physical cwd", call.cwd)
    if invocation.object_name_sensitive and invocation.output is not None:
        key.add(b"output", invocation.output, *(o.path for o in invocation.outputs))
    if not forces_colour(invocation):
        key.add(b"colour", str(invocation.color).encode())
    for file in invocation.input_files:
        content = files.content(os.path.join(call.cwd, file.path))
        if content is None and not file.optional:
            raise KeyProblem(os.fsdecode(file.path))
        key.add(b"input " + file.role, file.path, content or b"absent")
    for name in filter(None, config.extra_files_to_hash.split(":")):
        content = files.content(config.absolute(name))
        if content is None:
            raise KeyProblem(name)
        key.add(b"extra file", content)
    return key


def direct(
    base: Fingerprint,
    call: Call,
    invocation: Invocation,
    source_digest: bytes,
    moved: Sequence[bytes] = (),
) -> Fingerprint:
    """The manifest's key. ``moved``: see Job.moved."""
    key = base.copy()
    variables = call.variables
    for arg in invocation.key_args:
        if arg.scope is not Scope.BOTH:
            key.add(b"cpp arg", *arg.words)
    key.add_pairs(b"search", ((n, variables[n]) for n in SEARCH_VARIABLES if n in variables))
    if moved:
        key.add(b"search below base_dir", *moved)
    if b"SOURCE_DATE_EPOCH" in variables:
        key.add(b"SOURCE_DATE_EPOCH", variables[b"SOURCE_DATE_EPOCH"])
    wanted = invocation.dependencies
    if wanted is not None:
        key.add(b"depfile", depfile_shape(wanted))
    key.add(b"source", invocation.source, source_digest)
    return key


def depfile_shape(wanted: DependencyRequest) -> bytes:
    """What of a dependency request decides its text, but for the targets themselves."""
    named = {quoted for _, quoted in wanted.targets}
    return b"%d%d%d%d%d" % (
        wanted.system,
        wanted.phony,
        wanted.generated,
        False in named,
        True in named,
    )


def free_text_allowed(invocation: Invocation) -> bool:
    """Whether the preprocessed text alone decides the outputs.

    It does not where columns or comments reach them: debug information with columns, sanitizers,
    diagnostics in structured form, and warnings (-Wimplicit-fallthrough reads comments,
    -Wmisleading-indentation columns).
    """
    return not (
        invocation.debug.value != "none"
        or invocation.sanitize
        or invocation.structured_diagnostics
        or invocation.warnings
        or invocation.coverage
        or invocation.profile.use
    )


def forces_colour(invocation: Invocation) -> bool:
    """Whether the compile may be told to colour its diagnostics, to be stripped at need.

    clang stores its command line where it is asked to record it."""
    return not invocation.records_command_line and invocation.family.value != "other"
