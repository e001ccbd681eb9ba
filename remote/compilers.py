"""Which program a job may run: distccd's list of allowed compilers, and where they are.

distccd takes a name without a slash if a link of that name lies in /usr/lib/distcc, and takes
/usr/bin/NAME and /bin/NAME for NAME. So do we; a name that can only be a compiler's is allowed
without a link, because no package makes links for us. ccache sends absolute names, and masquerade
directories may come first on PATH: the program that is run is always the first one on the daemon's
own PATH that is no compiler wrapper, so that no wrapper calls us again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from pycc.locate import is_wrapper, locate
from pycc.pattern import pattern
from pycc.record import record

LISTS = (b"/usr/local/lib/distcc", b"/usr/lib/distcc")
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


def _allowed(base: bytes, lists: Sequence[bytes]) -> bool:
    if _NAME.fullmatch(base):
        return True
    return any(os.access(os.path.join(one, base), os.X_OK) for one in lists)
