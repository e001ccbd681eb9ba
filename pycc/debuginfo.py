"""The ``-g`` options: which level of debug information a command line ends with.

``-g`` alone never lowers a level in gcc (gcc/opts.cc, ``set_debug_level``), while in clang the last
option decides. Selecting a format (``-gdwarf-4``, ``-ggdb``) turns debug information on.
"""

from pycc.invocation import Debug, Family
from pycc.pattern import pattern
from pycc.record import mutable

_LEVEL = pattern(
    rb"-g(?:gdb|dwarf(?:-[0-9]+)?|stabs\+?|xcoff\+?|coff|vms|ctf|btf|lldb|sce|dbx|codeview)?"
    rb"(?P<level>(?<!-)[0-9]+)?$"
)
_LINES = frozenset((b"-gmlt", b"-gline-tables-only", b"-gline-directives-only"))
_NEUTRAL = pattern(
    rb"-g(?:no-.*|z(?:=.*)?|column-info|record-.*|strict-dwarf|pubnames|gnu-pubnames|as-loc.*"
    rb"|statement-frontiers|variable-location-views.*|inline-points|internal-reset-.*"
    rb"|describe-dies|dwarf32|dwarf64|simple-template-names.*|embed-source|codeview-.*"
    rb"|dwarf-aranges|inline-line-tables|key-instructions|structor-decl-linkage-names)$"
)


_VERSION = pattern(rb"version (?P<major>[0-9]{1,4})\.")
_SPLIT_ALONE_IS_NOTHING = {Family.GCC: 11, Family.CLANG: 12}


def split_dwarf_is_debug(family: Family, version: bytes) -> bool:
    """Whether -gsplit-dwarf asks for debug information by itself; ``version`` is the line with
    which the compiler names its release."""
    match = _VERSION.search(version)
    since = _SPLIT_ALONE_IS_NOTHING.get(family)
    return match is None or since is None or int(match["major"]) < since


@mutable
class DebugOptions:
    """The options read so far."""

    family: Family
    level: int = 0
    split: bool = False  # -gsplit-dwarf: a .dwo file
    implied: bool = False  # nothing but -gsplit-dwarf asks for debug information
    column_info: bool = True

    def take(self, text: bytes) -> None:
        """Read one option that begins with ``-g``; an unknown one turns debug information on."""
        if text in (b"-gcolumn-info", b"-gno-column-info"):
            self.column_info = text == b"-gcolumn-info"
        elif text in (b"-gsplit-dwarf", b"-gsplit-dwarf=split", b"-gsplit-dwarf=single"):
            self.split = not text.endswith(b"=single")
            # gcc before 11 and clang before 12 take it as -g too.
            self.implied |= self.level == 0
            self.level = max(self.level, 2)
        elif text == b"-gno-split-dwarf":
            self.split = False
        elif text in _LINES:
            self.level = 1
            self.implied = False
        elif _NEUTRAL.match(text) is None:
            match = _LEVEL.match(text)
            if match is not None and match["level"] is not None:
                self.level = min(int(match["level"][:4]), 3)
            else:
                self.level = 2 if self.family is Family.CLANG else max(self.level, 2)
            self.implied = False

    @property
    def debug(self) -> Debug:
        """The level that the compiler ends with."""
        return (Debug.NONE, Debug.LINES, Debug.FULL, Debug.FULL)[self.level]
