"""`update-distcc-symlinks [DIRECTORY...]`: the masquerade, after compilers came or went.

Without words, pycc's own directory, and those of distcc as far as they are ours: where a package of
distcc made its links, which end at distcc itself, its own program of this name keeps them, and they
are left alone. `pyccd` needs no links to serve.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from . import links
from .errors import Fatal
from .lifecycle import program_path

OURS = links.DEFAULT_DIRECTORY
DISTCCS = (b"/usr/lib/distcc/bin", b"/usr/lib/distcc", b"/usr/local/lib/distcc")
USAGE = """\
Usage: update-distcc-symlinks [DIRECTORY...]

Makes a link to pycc for each compiler of this machine, and removes those of
compilers that are gone: in DIRECTORY, or in /usr/lib/pycc/bin and those
directories of distcc's that hold nothing else.
"""


def launcher() -> bytes:
    """The launcher beside this program. Raises Fatal."""
    path = os.path.join(os.path.dirname(os.fsencode(program_path())), b"pycc")
    if not os.access(path, os.X_OK):
        message = f"there is no {os.fsdecode(path)} to link to: install pycc completely"
        raise Fatal(message)
    return path


def is_free(directory: bytes) -> bool:
    """Whether a directory is there, and nothing in it but links to pycc and what is no compiler."""
    try:
        names = [name for name in os.listdir(directory) if links.is_compiler_name(name)]
    except OSError:
        return False
    return all(links.is_ours(os.path.join(directory, name)) for name in names)


def update(
    places: Sequence[bytes],
    search_path: bytes,
    say: Callable[[str], None],
    *,
    default: bytes = OURS,
    others: Sequence[bytes] = DISTCCS,
) -> None:
    """Bring the links in ``places`` up to date, or in ``default`` and those of ``others`` that are
    free; say what was done. Raises Fatal."""
    target = launcher()
    optional = [] if places else [place for place in others if os.path.isdir(place)]
    wanted = list(places) or [default, *(place for place in optional if is_free(place))]
    for place in optional:
        if place not in wanted:
            say(f"{os.fsdecode(place)}: left alone, its links are not pycc's")
    for place in wanted:
        before = _entries(place)
        mask = os.umask(0o022)
        try:
            names = set(links.install_links(place, target, search_path))
        finally:
            os.umask(mask)
        added, removed = sorted(names - before), sorted(before - _entries(place))
        say(f"{os.fsdecode(place)}: {len(names)} links")
        for what, changed in (("added", added), ("removed", removed)):
            if changed:
                say(f"  {what}: {os.fsdecode(b' '.join(changed))}")


def _entries(directory: bytes) -> set[bytes]:
    try:
        return set(os.listdir(directory))
    except OSError:
        return set()


def main() -> None:
    """The entry point."""
    words = sys.argv[1:]
    if any(word.startswith("-") for word in words):
        help_wanted = words[0] in ("--help", "-h")
        print(USAGE, end="", file=sys.stdout if help_wanted else sys.stderr)
        sys.exit(0 if help_wanted else 1)
    try:
        update([os.fsencode(word) for word in words], os.environb.get(b"PATH", b""), print)
    except Fatal as problem:
        print(f"update-distcc-symlinks: {problem}", file=sys.stderr)
        sys.exit(problem.status)
