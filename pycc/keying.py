"""What goes into a key: every fact about a call that can change one of its outputs.

``common`` is what direct and preprocessed keys share. ``direct`` adds what the preprocessor reads
from the command line, the environment and the source, and gives the manifest's key. What the
included files hold is not here: the manifest's entries witness it (cache/manifest.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Protocol

from . import embedded, precompiled
from .basedir import apparent_directory
from .cache.fingerprint import Fingerprint
from .call import Call
from .compiler import KEY_VARIABLES, Toolchain
from .invocation import DependencyRequest, Family, Invocation
from .native import Signature
from .options import Scope
from .outcome import Outcome
from .pattern import pattern

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

ACTION_WORDS = frozenset({b"-c", b"-S", b"-fsyntax-only"})
"""What they mean is Invocation.action."""


def only_acts(words: Sequence[bytes]) -> bool:
    """Whether the words say no more than Invocation.action does."""
    return ACTION_WORDS.issuperset(words)


class Files(Protocol):
    """What keys ask of the file system (job.Witnesses)."""

    def content(self, path: bytes) -> bytes | None:
        """The digest of the file at an absolute path, None when there is none."""

    def signature(self, path: bytes) -> Signature:
        """What is at an absolute path."""

    def names(self, path: bytes) -> tuple[bytes, ...]:
        """The names in the directory at an absolute path."""


class KeyProblem(Exception):
    """A file whose content belongs to the key cannot be read; ``outcome`` counts that."""

    def __init__(self, path: bytes, outcome: Outcome) -> None:
        super().__init__(path, outcome)
        self.path = path
        self.outcome = outcome


def common(call: Call, invocation: Invocation, toolchain: Toolchain, files: Files) -> Fingerprint:
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
        if arg.scope is not Scope.BOTH or only_acts(arg.words):
            continue
        if not embedded.is_prefix_option(arg.words):
            key.add(b"arg", *arg.words)
    for words in embedded.words(invocation):
        key.add(b"prefix", *words)
    for field in _leniency(call, invocation):
        key.add(b"lenient", *field)
    key.add(b"outputs", *(output.kind.value.encode() for output in invocation.outputs))
    if invocation.cwd_sensitive or invocation.object_name_sensitive:
        for fields in embedded.embedded(
            invocation,
            # Compilers write $PWD where it is the same directory, and the physical name on demand.
            apparent_directory(call.cwd, variables.get(b"PWD"), files.signature),
            call.cwd,
            toolchain.version,
            hash_dir=config.hash_dir,
            gcno_cwd="gcno_cwd" in config.sloppiness,
        ):
            key.add(*fields)
    if precompiled.records_times(invocation):
        mtime = files.signature(os.path.join(call.cwd, invocation.source)).mtime
        key.add(b"time of source", b"%d" % mtime)
    key.add(b"precompiled", *precompiled.key_fields(invocation, call.cwd, files))
    if config.pch_external_checksum:
        key.add(b"pch_external_checksum")
    if invocation.lto and invocation.family is not Family.CLANG:
        # gcc's intermediate language holds names of files below the working directory.
        apparent = apparent_directory(call.cwd, variables.get(b"PWD"), files.signature)
        key.add(b"lto", call.cwd, apparent)
    if not forces_colour(invocation):
        key.add(b"colour", str(invocation.color).encode())
    _add_files(key, call, invocation, files)
    return key


def _leniency(call: Call, invocation: Invocation) -> Iterator[tuple[bytes, ...]]:
    """What the settings let pass in this call. What was made so must not be served to a call that
    would not have let it pass, and whose other fields are the same."""
    config, variables = call.config, call.variables
    sloppy = config.sloppiness
    named = {"include_file_mtime", "include_file_ctime", "incbin"}
    if "locale" in sloppy and any(name in variables for name in LOCALE_VARIABLES):
        named.add("locale")
    if "random_seed" in sloppy and any(w.startswith(b"-frandom-seed") for w in invocation.args):
        named.add("random_seed")
    yield from ((name.encode(),) for name in sorted(named & sloppy))
    # By the options' names: whether one value or all are ignored is the same leniency (ccache's
    # suite has such lists share).
    ignored = {p.partition("=")[0].rstrip("*") for p in config.ignore_options.split()}
    if ignored:
        yield b"ignore_options", *map(os.fsencode, sorted(ignored))


def _direct_leniency(call: Call, invocation: Invocation) -> Iterator[tuple[bytes, ...]]:
    """The same for what only a manifest entry may leave out."""
    config, wanted = call.config, invocation.dependencies
    if "system_headers" in config.sloppiness:
        yield (b"system_headers",)
    if config.ignore_headers_in_manifest:
        yield b"ignore_headers", os.fsencode(config.ignore_headers_in_manifest)
    if config.depend_mode and wanted is not None and not wanted.system:
        yield (b"depend_mode",)


def _add_files(key: Fingerprint, call: Call, invocation: Invocation, files: Files) -> None:
    profiles = found = 0
    for file in invocation.input_files:
        content = files.content(os.path.join(call.cwd, file.path))
        if content is None and not file.optional:
            missing = file.role == b"thinlto-index"
            raise KeyProblem(
                file.path, Outcome.NO_INPUT_FILE if missing else Outcome.BAD_INPUT_FILE
            )
        if file.role == b"profile":
            profiles += 1
            found += content is not None
        key.add(b"input " + file.role, file.path, content or b"absent")
    if profiles and not found:
        raise KeyProblem(b"profile data", Outcome.NO_INPUT_FILE)
    for name in filter(None, call.config.extra_files_to_hash.split(":")):
        content = files.content(call.config.absolute(name))
        if content is None:
            raise KeyProblem(os.fsencode(name), Outcome.ERROR_HASHING_EXTRA_FILE)
        key.add(b"extra file", content)


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
    if "time_macros" in call.config.sloppiness:
        # An entry that was made like this holds although the time has gone on.
        key.add(b"time_macros")
    for field in _direct_leniency(call, invocation):
        key.add(b"lenient", *field)
    epoch = variables.get(b"SOURCE_DATE_EPOCH", b"")
    if epoch and not epoch.isdigit():
        # clang 16 and later refuse it; what a good one decides is the day of a manifest entry.
        key.add(b"SOURCE_DATE_EPOCH", epoch)
    wanted = invocation.dependencies
    if wanted is not None:
        key.add(b"depfile", depfile_shape(invocation, wanted))
    key.add(b"source", source_name(invocation), source_digest)
    return key


def source_name(invocation: Invocation) -> bytes:
    """The source's name as far as it means anything: a stock distccd has us compile each text under
    a name of its own, drawn by lot, which an object may hold all the same (clang's)."""
    name = invocation.source
    return b"distccd" if invocation.preprocessed and _DRAWN.fullmatch(name) else name


_DRAWN = pattern(rb"(?s:.*/)?distccd_[0-9a-f]{8}\.(?:i|ii|mi|mii)")


def depfile_shape(invocation: Invocation, wanted: DependencyRequest) -> bytes:
    """What of a dependency request decides its text, but for the targets themselves."""
    named = {quoted for _, quoted in wanted.targets}
    to_preprocessor = any(word.startswith(b"-Wp,-M") for word in invocation.args)
    return b"%d%d%d%d%d%d" % (
        wanted.system,
        wanted.phony,
        wanted.generated,
        False in named,
        True in named,
        to_preprocessor,
    )


def free_text_allowed(invocation: Invocation) -> bool:
    """Whether the preprocessed text alone decides the outputs.

    It does not where columns or comments reach them: debug information with columns, sanitizers,
    diagnostics in structured form, and warnings (-Wimplicit-fallthrough reads comments,
    -Wmisleading-indentation columns). Of clang's modules it holds the names alone.
    """
    return not (
        b"-fmodules" in invocation.args
        or invocation.debug.value != "none"
        or invocation.sanitize
        or invocation.structured_diagnostics
        or invocation.warnings
        or invocation.coverage
        or invocation.profile.use
        or invocation.generates_pch
    )


def tokens_matter(invocation: Invocation) -> bool:
    """Whether it reaches the object which tokens came of one macro (tokens.py)."""
    chosen = [word for word in invocation.args if word.startswith(b"-O")]
    optimised = bool(chosen) and chosen[-1] != b"-O0"
    return invocation.family is not Family.CLANG and invocation.compiles and not optimised


def forces_colour(invocation: Invocation) -> bool:
    """Whether the compile may be told to colour its diagnostics, to be stripped at need.

    clang stores its command line where it is asked to record it, and says of a file in assembly
    that the word is not used (with -Werror that is an error). Where gcc breaks lines
    (-fmessage-length) it counts the bytes that colour them."""
    if invocation.family is Family.GCC and any(map(_BREAKS_LINES, invocation.args)):
        return False
    if invocation.family is Family.CLANG and invocation.language == b"assembler":
        return False
    return not invocation.records_command_line and invocation.family.value != "other"


_BREAKS_LINES = pattern(rb"-fmessage-length=0*[1-9]").match
