"""The masquerade directory: one link to the launcher for each compiler that this machine has.

A link is made only for a name behind which a real compiler was found. A link too many is not
harmless: `configure` would find a clang that is not there, and report it as broken.
"""

from __future__ import annotations

import enum
import errno
import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping

from .errors import Fatal
from .locate import is_launcher, is_wrapper
from .record import record

DEFAULT_DIRECTORY = b"/usr/lib/pycc/bin"
ALWAYS_SEARCHED = (b"/usr/local/bin", b"/usr/bin", b"/opt/*/bin")

# The first part of a cross compiler's name is a processor, from this list. Any word would do if
# afl-gcc, hfuzz-clang, c89-gcc and winegcc's friends were not wrappers that change what a compile
# makes; a processor that is missing here costs one link.
_PROCESSORS = rb"""
    aarch64\w* alpha\w* amdgcn arc\w* arm\w* avr\d* bfin bpf c6x csky epiphany frv ft32 h8300\w*
    hppa\w* i[3-7]86 ia64 lm32 loongarch\w* m32r m6811 m68hc1[12] m68k m88k microblaze\w* mips\w*
    mmix moxie msp430 nds32\w* nios2 nvptx\w* or1k powerpc\w* ppc\w* pru riscv\w* rl78 rx s390x?
    sh\d?\w* sparc\w* spu thumb\w* tricore v8\d\d\w* vax visium wasm(?:32|64) x86_64\w* xstormy16
    xtensa\w* z80
"""
_TRIPLET = rb"(?:(?:%s)(?:-\w[\w.]*){0,3}-)?" % b"|".join(_PROCESSORS.split())
# Debian's -12, MacPorts' -mp-12, MinGW's -posix and -12-win32; BSD has gcc13, but cc1 is no cc.
_VERSION = rb"(?:(?:-mp)?-\d+(?:\.\d+)*)?(?:-posix|-win32)?"
_DRIVER = (
    rb"(?:(?:gcc|g\+\+|cc|c\+\+|clang|clang\+\+)"
    + _VERSION
    + rb"|(?:gcc|g\+\+|clang|clang\+\+)\d+|c89|c99)"
)
_COMPILER_NAME = re.compile(_TRIPLET + _DRIVER, re.ASCII)


class Present(enum.Enum):
    """What stands in the masquerade directory under a compiler's name."""

    CURRENT = enum.auto()
    """A link to this launcher."""
    OURS = enum.auto()
    """A link to a launcher somewhere else or no longer there, or a copy of one."""
    FOREIGN = enum.auto()
    """Anything else: never touched."""


@record
class Plan:
    """What must be done to the directory; sorted names."""

    link: tuple[bytes, ...]
    remove: tuple[bytes, ...]
    refuse: tuple[bytes, ...]


def is_compiler_name(name: bytes) -> bool:
    """Tell whether a program of this name is a C or C++ compiler, by its name alone."""
    return _COMPILER_NAME.fullmatch(name) is not None


def plan_links(found: Iterable[bytes], present: Mapping[bytes, Present]) -> Plan:
    """Decide what turns the directory's ``present`` entries into links for the names ``found``."""
    names = sorted(set(found))
    return Plan(
        link=tuple(n for n in names if present.get(n, Present.OURS) is Present.OURS),
        remove=tuple(
            n for n, what in sorted(present.items()) if n not in names and what != Present.FOREIGN
        ),
        refuse=tuple(n for n in names if present.get(n) is Present.FOREIGN),
    )


def search_directories(path: bytes) -> list[bytes]:
    """Return the directories of ``path`` (as in PATH), then the usual places, each once."""
    usual = (d for pattern in ALWAYS_SEARCHED for d in sorted(glob.glob(pattern)))
    # A relative entry of PATH means another directory tomorrow.
    given = (d for d in path.split(b":") if os.path.isabs(d))
    return list(dict.fromkeys(os.path.normpath(d) for d in (*given, *usual)))


def find_compilers(directories: Iterable[bytes]) -> set[bytes]:
    """Return the names of all compilers in ``directories`` that are no compiler wrappers."""
    return {name for directory in directories for name in _compilers_in(directory)}


def is_ours(path: bytes) -> bool:
    """Tell whether what stands there may be replaced: a link to a launcher, or a copy of one."""
    return _what_is(path, b"") is not Present.FOREIGN


def install_links(directory: bytes, launcher_path: bytes, search_path: bytes) -> list[bytes]:
    """Make ``directory`` hold one link to the launcher for each compiler found; return the names.

    ``search_path`` is written as PATH is. Links of an earlier install are kept, turned to this
    launcher, or removed when their compiler is gone. Raises Fatal, and then has changed nothing
    unless the file system failed half-way, when no compiler is found, when something that is not
    ours has the name of a link, and when the directory cannot be written.
    """
    directory = os.path.abspath(directory)
    launcher_path = os.path.abspath(launcher_path)
    same = os.path.realpath(directory)
    found = find_compilers(
        d for d in search_directories(search_path) if os.path.realpath(d) != same
    )
    if not found:
        message = "no compiler was found on PATH or in the usual places: install gcc or clang"
        raise Fatal(message)
    try:
        os.makedirs(directory, exist_ok=True)
        plan = plan_links(found, _present(directory, launcher_path))
        if plan.refuse:
            taken = b", ".join(os.path.join(directory, name) for name in plan.refuse)
            message = f"not a link of pycc's, and therefore not replaced: {os.fsdecode(taken)}"
            raise Fatal(message)
        for name in plan.link:
            _link(launcher_path, os.path.join(directory, name))
        for name in plan.remove:
            os.unlink(os.path.join(directory, name))
    except OSError as error:
        raise Fatal(_failure_text(directory, error)) from error
    return sorted(found)


def _compilers_in(directory: bytes) -> Iterator[bytes]:
    try:
        names = [name for name in os.listdir(directory) if is_compiler_name(name)]
    except OSError:
        return
    for name in names:
        path = os.path.join(directory, name)
        if os.path.isfile(path) and os.access(path, os.X_OK) and not is_wrapper(path):
            yield name


def _present(directory: bytes, launcher_path: bytes) -> dict[bytes, Present]:
    names = filter(is_compiler_name, os.listdir(directory))
    return {name: _what_is(os.path.join(directory, name), launcher_path) for name in names}


def _what_is(path: bytes, launcher_path: bytes) -> Present:
    if os.path.islink(path):
        target = os.readlink(path)
        if target == launcher_path:
            return Present.CURRENT
        # The launcher of an environment that was deleted is known only by its name.
        if is_launcher(path) or os.path.basename(target) == b"pycc":
            return Present.OURS
        return Present.FOREIGN
    return Present.OURS if is_launcher(path) else Present.FOREIGN


def _link(target: bytes, path: bytes) -> None:
    # By rename, so that a build that runs meanwhile always finds a compiler.
    partial = b"%s.%d.tmp" % (path, os.getpid())
    os.symlink(target, partial)
    try:
        os.rename(partial, path)
    except OSError:
        os.unlink(partial)
        raise


def _failure_text(directory: bytes, error: OSError) -> str:
    text = f"cannot make links in {os.fsdecode(directory)}: {error.strerror}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{text}; run this as root, or name a directory of yours: --install-links DIR"
    return text
