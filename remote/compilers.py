"""Which program a job may run: distccd's list of allowed compilers, and where they are.

distccd takes a name without a slash if a link of that name lies in /usr/lib/distcc, and takes
/usr/bin/NAME and /bin/NAME for NAME. So do we; our own masquerade directory counts too, and a name
that can only be a compiler's is allowed without a link, so that a machine needs no package of links
to serve. ccache sends absolute names, and masquerade directories may come first on PATH: the
program that is run is always the first one on the daemon's own PATH that is no compiler wrapper, so
that no wrapper calls us again.

distccd does not start where its list is empty, because it would refuse every job. The same holds
here where no allowed name leads to a program.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from pycc.locate import is_wrapper, locate
from pycc.pattern import pattern
from pycc.record import record

LISTS = (b"/usr/local/lib/distcc", b"/usr/lib/distcc", b"/usr/lib/pycc/bin")
_PLACES = (b"/usr/bin", b"/bin")
_NAME = pattern(
    rb"(?:[A-Za-z0-9_.]+-)*(?:gcc|g\+\+|cc|c\+\+|c89|c99|clang|clang\+\+)(?:-[0-9][0-9.]*)?"
)


@record
class Refused:
    """Why a job's program is not run."""

    reason: str


@record
class Missing:
    """An allowed program that this machine does not have."""

    name: bytes


@record
class CommandList:
    """DISTCC_CMDLIST: programs by the last ``words`` parts of their paths."""

    programs: tuple[bytes, ...]
    words: int

    def find(self, name: bytes) -> bytes | None:
        """The listed program that ``name`` stands for."""
        wanted = name.split(b"/")[-self.words :] if self.words else []
        for program in self.programs:
            if program.split(b"/")[-self.words :] == wanted and wanted:
                return program
        return None


@record
class Rules:
    """What the daemon's settings say of programs. ``anything``: --enable-tcp-insecure."""

    search_path: bytes
    anything: bool = False
    commands: CommandList | None = None
    lists: tuple[bytes, ...] = LISTS


def choose(name: bytes, rules: Rules) -> bytes | Refused | Missing:
    """The path of the program that a job calls ``name``."""
    if rules.commands is not None:
        listed = rules.commands.find(name)
        if listed is not None:
            return listed
        # distccd goes on, with a warning and without its list of links.
    directory, base = os.path.split(name)
    if not base or b"\0" in name:
        return Refused("no compiler is named")
    if directory and not rules.anything and directory not in _PLACES:
        shown = os.fsdecode(name)
        return Refused(
            f"compiler name <{shown}> cannot be an absolute path"
            " (or must set DISTCC_CMDLIST or pass --enable-tcp-insecure)"
        )
    if not rules.anything and not _allowed(base, rules.lists):
        places = " or ".join(map(os.fsdecode, rules.lists))
        return Refused(f"{os.fsdecode(base)} not in {places} whitelist.")
    if directory and rules.anything and os.access(name, os.X_OK) and not is_wrapper(name):
        return name
    found = locate(base, rules.search_path, b"/")
    return Missing(base) if found is None else found.path


def runnable(rules: Rules) -> dict[bytes, bytes]:
    """The programs that jobs may run, by the names that stand for them; empty where every job would
    be refused."""
    names = {name for place in rules.lists for name in _entries(place)}
    names |= {
        name
        for place in rules.search_path.split(b":")
        for name in _entries(place or b".")
        if _NAME.fullmatch(name)
    }
    if rules.commands is not None:
        names |= {program.rpartition(b"/")[2] for program in rules.commands.programs}
    found = {name: choose(name, rules) for name in sorted(names)}
    return {
        name: path
        for name, path in found.items()
        if isinstance(path, bytes) and os.access(path, os.X_OK)
    }


def _entries(place: bytes) -> list[bytes]:
    try:
        return os.listdir(place)
    except OSError:
        return []


def nothing_to_run(rules: Rules) -> str:
    """What to say where `runnable` is empty, with the remedies."""
    path = os.fsdecode(rules.search_path)
    places = ", ".join(map(os.fsdecode, rules.lists))
    return (
        f"there is no compiler to run: no gcc or clang on PATH ({path}), and nothing of what is"
        f" linked in {places}: install a compiler, set DISTCCD_PATH to where there is one, run"
        " pycc --install-links, list programs in a file and name it in DISTCC_CMDLIST, or pass"
        " --enable-tcp-insecure to run whatever a client asks for"
    )


def _allowed(base: bytes, lists: Sequence[bytes]) -> bool:
    if _NAME.fullmatch(base):
        return True
    return any(os.access(os.path.join(one, base), os.X_OK) for one in lists)
