"""What the compiler is: its family, the programs and libraries behind it, where it searches.

The identity of a compiler is the content of everything whose change could change its output: the
driver, cc1 or cc1plus, the assembler that it would run, their shared libraries, specs files and
clang's configuration files. gcc takes ``as`` from the *client's* PATH when its own directories
hold none, so every answer here belongs to an environment, and carries witnesses: the signatures
of all those files and the absence of those that would be taken if they appeared.

The compiler is asked (``-v``, ``-print-prog-name``, ``-print-search-dirs``) through the launcher,
because it runs with the client's environment, limits and namespaces.
"""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence

from . import elf
from .blake import blake2b
from .cache.digest import FileDigests
from .frame import CAPTURE_ERR, CAPTURE_OUT, Run
from .invocation import Family
from .native import ABSENT, SAME, Signature, absence, pack, signature
from .pattern import pattern
from .record import record
from .searchchain import SearchChain, parse_search_output
from .talk import Talk

KEY_VARIABLES = (
    b"COMPILER_PATH",
    b"GCC_EXEC_PREFIX",
    b"GCC_COMPARE_DEBUG",
    b"LD_PRELOAD",
    b"LD_LIBRARY_PATH",
    b"CCC_OVERRIDE_OPTIONS",
    b"CCC_ADD_ARGS",
    b"CLANG_CONFIG_FILE_SYSTEM_DIR",
    b"CLANG_CONFIG_FILE_USER_DIR",
    b"CLANG_NO_DEFAULT_CONFIG",
    b"MACOSX_DEPLOYMENT_TARGET",
    b"SDKROOT",
    b"DEVELOPER_DIR",
    b"QNX_HOST",
    b"QNX_TARGET",
)
"""Variables that choose programs or change what every compile does; part of every key."""


PROBE_ENVIRONMENT = (
    b"LC_ALL=C",
    b"CPATH",
    b"C_INCLUDE_PATH",
    b"CPLUS_INCLUDE_PATH",
    b"OBJC_INCLUDE_PATH",
    b"OBJCPLUS_INCLUDE_PATH",
)
"""The search path is asked for without the user's variables; searchchain.py adds them."""

_PROGRAM_PATHS = (b"COMPILER_PATH", b"GCC_EXEC_PREFIX")
_FIXED_PLACE = pattern(
    rb"/.*|-m.*|-no.*|--?(?:target|stdlib|rtlib|gcc-triple)=.*|-[^=]*=/.*|-(?![BFi])[^=]*|"
    rb"(?:-B|-F|-iframework|-iprefix|-iwith[a-z]+|-isysroot|-imulti[a-z]+|-isystem-after)(?:/.*)?",
    re.DOTALL,
)
"""Words of IncludeFlags.special that mean the same in every working directory."""


HASHING_MS = 60_000
"""clang's code lies in libraries of 100 MB and more."""


@record
class Toolchain:
    """A compiler as one environment sees it, for one language and one set of special options."""

    path: bytes
    family: Family
    version: bytes
    identity: bytes
    witnesses: bytes
    chain: SearchChain
    native: tuple[bytes, ...]
    """What -march=native and its like stand for on this machine: cc1's own words."""
    scripted: bool = False
    """Whether it or one of its programs is a script: what another machine has under its name does
    something else."""


class ProbeFailed(Exception):
    """The compiler does not answer as gcc or clang would: its output is not cached."""


def looks_below_directory(special: Sequence[bytes], variables: Mapping[bytes, bytes]) -> bool:
    """Whether the compiler looks for its parts below the working directory, too."""
    if not all(_FIXED_PLACE.fullmatch(word) for word in special):
        return True
    paths = [variables.get(name, b"/").split(b":") for name in (b"PATH", *_PROGRAM_PATHS)]
    return any(part[:1] != b"/" for parts in paths for part in parts)


def ask(
    talk: Talk,
    path: bytes,
    words: Sequence[bytes],
    environment: Sequence[bytes] = PROBE_ENVIRONMENT,
) -> tuple[bytes, bytes]:
    """(stdout, stderr) of the compiler called with ``words``. Raises ProbeFailed."""
    report = talk.run(Run((path, *words), CAPTURE_ERR | CAPTURE_OUT, environment))
    if not report.ok:
        raise ProbeFailed(os.fsdecode(path + b" " + b" ".join(words)))
    return report.out, report.err


def _front_end(stderr: bytes) -> list[bytes]:
    """The words of the cc1 command that -v prints, or nothing."""
    for line in stderr.split(b"\n"):
        if not line.startswith(b" "):
            continue
        try:
            words = [os.fsencode(word) for word in shlex.split(os.fsdecode(line))]
        except ValueError:
            continue
        if words and (os.path.basename(words[0]).startswith(b"cc1") or b"-cc1" in words[1:2]):
            return words
    return []


def _family(stderr: bytes) -> tuple[Family, bytes]:
    for line in stderr.split(b"\n"):
        if b"clang version" in line:
            return Family.CLANG, line
        if line.startswith(b"gcc version"):
            return Family.GCC, line
    return Family.OTHER, b""


def _read_files(stderr: bytes, driver: bytes) -> list[bytes]:
    """Specs and configuration files that -v says were read."""
    files = []
    for line in stderr.split(b"\n"):
        if line.startswith(b"Reading specs from "):
            files.append(line[len(b"Reading specs from ") :])
        elif line.startswith(b"Configuration file: "):
            files.append(line[len(b"Configuration file: ") :])
    return [path for path in files if os.path.isabs(path) and path != driver]


def _search_dirs(stdout: bytes, kind: bytes) -> list[bytes]:
    for line in stdout.split(b"\n"):
        if line.startswith(kind + b": ="):
            return [part for part in line[len(kind) + 3 :].split(b":") if part]
    return []


def _configuration_names(path: bytes) -> list[bytes]:
    """Files that newer clangs read from beside the driver when they are there."""
    real = os.path.realpath(path)
    names = {os.path.basename(path), os.path.basename(real), b"clang", b"clang++"}
    return [os.path.join(os.path.dirname(real), name + b".cfg") for name in sorted(names)]


def probe(
    talk: Talk,
    path: bytes,
    *,
    language: bytes,
    special: Sequence[bytes],
    native: Sequence[bytes],
    environment: Mapping[bytes, bytes],
    cwd: bytes,
    split_dwarf: bool,
    digests: FileDigests,
    compiler_check: Callable[[bytes], bytes | None],
) -> Toolchain:
    """Ask the compiler at ``path``. ``compiler_check`` gives the driver's own identity as the
    setting of that name demands, or None for the whole content. Raises ProbeFailed."""
    words = (*special, *native, b"-E", b"-v", b"-x", language, b"/dev/null")
    checked = compiler_check(path)
    _, stderr = ask(talk, path, words)
    family, version = _family(stderr)
    front = _front_end(stderr)
    if family is Family.OTHER or not front:
        raise ProbeFailed("neither gcc nor clang")
    dirs, _ = ask(talk, path, (*special, b"-print-search-dirs"))
    tools = [b"as"] + ([b"objcopy"] if split_dwarf and family is Family.GCC else [])
    programs = [os.path.join(cwd, front[0])] if b"/" in front[0] else []
    witnesses: list[bytes] = []
    program_dirs = [os.path.join(cwd, d) for d in _search_dirs(dirs, b"programs")]
    if family is Family.CLANG:  # which has -no-integrated-as
        found, seen = _tool(talk, path, special, b"as", program_dirs, environment, cwd)
        witnesses += seen
        programs += [] if found is None else [found]
    if family is Family.GCC:
        for directory in program_dirs:
            candidate = os.path.join(directory, os.path.basename(front[0]))
            if os.path.normpath(candidate) == os.path.normpath(programs[0] if programs else b""):
                break
            witnesses.append(_absent_or_same(candidate))
        for tool in tools:
            found, seen = _tool(talk, path, special, tool, program_dirs, environment, cwd)
            witnesses += seen
            if found is not None:
                programs.append(found)
        library_dirs = (os.path.join(cwd, d) for d in _search_dirs(dirs, b"libraries"))
        specs = {os.path.normpath(os.path.join(d, b"specs")) for d in library_dirs}
        witnesses += (_absent_or_same(p) for p in sorted(specs) if not signature(p).exists)
    else:
        configs = _configuration_names(path)
        witnesses += (_absent_or_same(p) for p in configs if not signature(p).exists)
    talk.wait(HASHING_MS)
    contents = [] if checked is not None else [path, *programs]
    if checked is None:
        cache = _loader_cache(witnesses)
        library_path = environment.get(b"LD_LIBRARY_PATH", b"").split(b":")
        contents += elf.libraries([path, *programs], [p for p in library_path if p], cache)
    settings = [os.path.join(cwd, p) for p in _read_files(stderr, path)]
    state = blake2b(digest_size=32)
    for part in (version, checked or b"", os.path.basename(front[0])):
        state.update(b"%d\0%s" % (len(part), part))
    digest_of = dict.fromkeys(contents, digests.program) | dict.fromkeys(settings, digests.digest)
    for file, digest in digest_of.items():
        found_signature = signature(file)
        content = digest(file, found_signature)
        if content is None:
            raise ProbeFailed(f"{os.fsdecode(file)} cannot be read")
        state.update(b"%d\0%s" % (len(content), content))
        witnesses.append(pack(SAME, file, found_signature))
    if checked is not None:
        witnesses.append(pack(SAME, path, signature(path)))
    if checked is not None and checked.startswith(_BY_MTIME):
        # Asked for is the compiler's, but who puts another assembler on PATH has another compiler.
        for file in programs:
            found_signature = signature(file)
            state.update(_by_mtime(found_signature))
            witnesses.append(pack(SAME, file, found_signature))
    return Toolchain(
        path,
        family,
        version,
        state.digest(),
        b"".join(witnesses),
        parse_search_output(stderr),
        _expansion(front, native),
        any(map(is_script, (path, *programs))),
    )


def is_script(path: bytes) -> bool:
    """Whether a program is interpreted."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def _expansion(front: list[bytes], native: Sequence[bytes]) -> tuple[bytes, ...]:
    """cc1's machine options in its own order, when the user left them to the machine."""
    if not native:
        return ()
    wanted = (b"-m", b"--param", b"-target-cpu", b"-target-feature", b"-tune-cpu", b"l1-", b"l2-")
    words = []
    for before, word in zip([b"", *front], front, strict=False):
        if word.startswith(wanted) or before in (
            b"-target-cpu",
            b"-target-feature",
            b"-tune-cpu",
            b"--param",
        ):
            words.append(word)
    return tuple(words)


def _absent_or_same(path: bytes) -> bytes:
    found = signature(path)
    if found.exists:
        return pack(SAME, path, found)
    if os.path.lexists(path):  # a link to nothing: its target may appear elsewhere
        return pack(ABSENT, path)
    return absence(path, time.time_ns())


def _tool(
    talk: Talk,
    compiler: bytes,
    special: Sequence[bytes],
    tool: bytes,
    program_dirs: Sequence[bytes],
    environment: Mapping[bytes, bytes],
    cwd: bytes,
) -> tuple[bytes | None, list[bytes]]:
    """Where gcc finds ``tool``: its own directories, then the client's PATH."""
    out, _ = ask(talk, compiler, (*special, b"-print-prog-name=" + tool))
    answer = out.strip(b"\n")
    witnesses: list[bytes] = []
    if b"/" in answer:
        places = program_dirs
        found: bytes | None = os.path.join(cwd, answer)
    else:
        path = environment.get(b"PATH", b"/bin:/usr/bin")
        places = [*program_dirs, *(os.path.join(cwd, d or b".") for d in path.split(b":"))]
        found = None
    for directory in places:
        candidate = os.path.join(directory, answer if found is None else os.path.basename(answer))
        if found is None and os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return candidate, witnesses
        if found is not None and os.path.normpath(candidate) == os.path.normpath(found):
            break
        witnesses.append(_absent_or_same(candidate))
    return found, witnesses


def _loader_cache(witnesses: list[bytes]) -> dict[bytes, bytes]:
    try:
        with open(elf.CACHE_PATH, "rb") as file:
            data = file.read(1 << 24)
    except OSError:
        return {}
    witnesses.append(_absent_or_same(elf.CACHE_PATH))
    return elf.read_cache(data)


def unknown(
    talk: Talk,
    path: bytes,
    native: Sequence[bytes],
    digests: FileDigests,
    checked: bytes | None,
) -> Toolchain:
    """A compiler that is neither gcc nor clang: known by its own file alone, as ccache does.

    Raises ProbeFailed when it cannot be read."""
    found = signature(path)
    content = checked if checked is not None else digests.program(path, found)
    if content is None:
        raise ProbeFailed(f"{os.fsdecode(path)} cannot be read")
    expansion: tuple[bytes, ...] = ()
    if native:
        _, err = ask(talk, path, (b"-###", *native, b"-E", b"-"))
        expansion = tuple(line for line in err.split(b"\n") if b"cc1" in line)
    return Toolchain(
        path,
        Family.OTHER,
        b"",
        b"other " + content,
        pack(SAME, path, found),
        SearchChain(),
        expansion,
    )


_BY_MTIME = b"mtime "


def _by_mtime(found: Signature) -> bytes:
    return _BY_MTIME + b"%d %d\0" % (found.size, found.mtime)


def is_command(setting: str) -> bool:
    """Whether compiler_check names a command, whose answer nothing else witnesses."""
    return setting not in ("content", "none", "mtime") and not setting.startswith("string:")


def check_identity(talk: Talk, path: bytes, shown: bytes, setting: str) -> bytes | None:
    """The compiler's identity by ccache's compiler_check; None means its whole content.

    ``shown`` is what %compiler% stands for: the compiler as the user named it.

    Raises ProbeFailed when the given command fails."""
    if setting == "content":
        return None
    if setting == "none":
        return b"none"
    if setting == "mtime":
        return _by_mtime(signature(path))
    if setting.startswith("string:"):
        return os.fsencode(setting)
    output = []
    for command in setting.split(";"):
        try:
            words = [os.fsencode(w) for w in shlex.split(command)]
        except ValueError as problem:
            raise ProbeFailed(f"compiler_check: {problem}: {command}") from problem
        words = [w.replace(b"%compiler%", shown) for w in words]
        if not words:
            continue
        argv = words if b"/" in words[0] else [b"/usr/bin/env", *words]
        report = talk.run(Run(argv, CAPTURE_ERR | CAPTURE_OUT, (b"CCACHE_DISABLE=1",)))
        if not report.ok:
            raise ProbeFailed(f"compiler_check command failed: {command}")
        output.append(report.out + report.err)
    return b"command\0" + b"".join(output)
