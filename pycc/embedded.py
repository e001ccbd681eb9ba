"""What a compiler writes of its caller's directories and output names into what it makes.

Each field is there only where an output holds it, and as the output holds it, prefix maps applied:
two checkouts of one project share their entries unless something in them really differs.

Tried with gcc 12 and clang 14 and read in gcc/coverage.cc, gcc/opts.cc and clang's Clang.cpp:

* debug information names the working directory, and a .dwo file by its name as given, unmapped;
* gcc's notes (.gcno) name the working directory, with -fprofile-abs-path the physical one;
* an instrumented object of gcc names its .gcda file. That name is absolute; with -fprofile-dir it
  is relieved of -fprofile-prefix-path. clang does so for --coverage, but its own profiles are
  named without a directory;
* gcc numbers functions that are not public by its auxiliary name, which is the output's, in notes
  and where it writes or reads profiles (coverage_compute_profile_id in gcc/coverage.cc);
* clang's coverage mapping names the working directory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pycc.debuginfo import split_dwarf_is_debug
from pycc.invocation import Debug, Family, Invocation, Kind, PrefixMap
from pycc.pattern import pattern

_PREFIX_MAP = pattern(rb"-f[a-z]+-prefix-map=")
_PREFIX_PATH = b"-fprofile-prefix-path="


def embedded(
    invocation: Invocation,
    cwd: bytes,
    physical: bytes,
    version: bytes,
    *,
    hash_dir: bool,
    gcno_cwd: bool,
) -> Iterator[tuple[bytes, ...]]:
    """The fields for a key, each with its name first.

    ``cwd`` is the working directory as the user sees it, ``physical`` its real name; ``version``
    is the compiler's; ``hash_dir`` and ``gcno_cwd`` are the setting and the sloppiness."""
    profile = invocation.profile
    clang = invocation.family is Family.CLANG
    debug = invocation.debug is not Debug.NONE and not (
        invocation.debug_implied and not split_dwarf_is_debug(invocation.family, version)
    )
    other = invocation.language.startswith(b"assembler") or _has(invocation, b"-fmodules")
    if hash_dir and (debug or other):
        yield b"cwd", debug_directory(invocation, cwd)
    if _has(invocation, b"-fcoverage-mapping") or (clang and profile.generate):
        yield b"coverage directory", _coverage_directory(invocation, cwd)
    if invocation.coverage and not gcno_cwd:
        yield (b"cwd in notes", cwd, *((physical,) if profile.absolute_path else ()))
    if invocation.output is None:
        return
    if profile.arcs or (profile.generate and not clang):
        yield b"profile", _profile_name(invocation, cwd)
    if not clang and (invocation.coverage or profile.arcs or profile.generate or profile.use):
        yield b"auxiliary name", invocation.output
    if invocation.split_dwarf:
        names = [o.path for o in invocation.outputs if o.kind is Kind.SPLIT_DWARF]
        # gcc's assembly names one that is not made yet after the assembly.
        names = names or [invocation.output]
        yield (b"dwo", *(name if debug else name.rpartition(b"/")[2] for name in names))
    if invocation.records_command_line:
        yield b"output", invocation.output


def debug_directory(invocation: Invocation, cwd: bytes) -> bytes:
    """The working directory as debug information shows it."""
    if invocation.debug_compilation_dir is not None:
        return invocation.debug_compilation_dir
    return _mapped(invocation.prefix_maps, b"debug", cwd)


def _coverage_directory(invocation: Invocation, cwd: bytes) -> bytes:
    if invocation.coverage_compilation_dir is not None:
        return invocation.coverage_compilation_dir
    return _mapped(invocation.prefix_maps, b"coverage", cwd)


def _mapped(maps: Sequence[PrefixMap], kind: bytes, path: bytes) -> bytes:
    """``path`` with the prefix map that applies; unchanged where several could, because releases
    differ in which one they take."""
    fitting = {(m.old, m.new) for m in maps if m.kind in (b"file", kind) and path.startswith(m.old)}
    if len(fitting) != 1:
        return path
    ((old, new),) = fitting
    return new + path[len(old) :]


def _has(invocation: Invocation, word: bytes) -> bool:
    return any(arg.words[0] == word for arg in invocation.key_args)


def _profile_name(invocation: Invocation, cwd: bytes) -> bytes:
    name = invocation.output or b""
    if name[:1] != b"/":
        name = cwd + b"/" + name
    prefix = invocation.profile.prefix_path
    if _relieves(invocation) and name.startswith(prefix):
        return name[len(prefix) :].lstrip(b"/")
    return name


def _relieves(invocation: Invocation) -> bool:
    profile = invocation.profile
    return bool(profile.prefix_path and profile.directory) and (
        (invocation.output or b"/")[:1] != b"/"
    )


def words(invocation: Invocation) -> Iterator[tuple[bytes, ...]]:
    """The prefix options, which no key takes as they stand.

    Their order decides only where one prefix begins another. Of -fprofile-prefix-path only the
    effect counts, unless debug information lists the options."""
    maps = [arg.words for arg in invocation.key_args if is_prefix_option(arg.words)]
    ordered = [one for one in maps if not one[0].startswith(_PREFIX_PATH)]
    olds = [_PREFIX_MAP.sub(b"", one[0]).partition(b"=")[0] for one in ordered]
    overlap = any(
        i != j and one.startswith(other)
        for i, one in enumerate(olds)
        for j, other in enumerate(olds)
    )
    yield from ordered if overlap else sorted(ordered)
    for one in maps:
        if one[0].startswith(_PREFIX_PATH) and not (
            _relieves(invocation)
            and invocation.debug is Debug.NONE
            and not invocation.records_command_line
        ):
            yield one


def is_prefix_option(option: Sequence[bytes]) -> bool:
    """Whether `words` stands for this option."""
    return option[0].startswith(_PREFIX_PATH) or _PREFIX_MAP.match(option[0]) is not None
