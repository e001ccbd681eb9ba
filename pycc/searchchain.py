"""The include search chain: which directories the compiler looks through, in order.

The compiler prints its chain under ``-E -v``. It is asked once, without the user's directories,
and these are merged in here for each command line, because a process for each would cost more than
the compile cache may. The order, and what happens to a directory that is named twice, is the same
for gcc and clang (gcc/incpath.cc and the "Directory Options" of gcc's manual; clang imitates it):

    -iquote      for quoted names only
    -I, CPATH    then
    -isystem, C_INCLUDE_PATH and the like for the other languages, the compiler's own directories,
    -idirafter   for all names

The last line is one chain of system directories. A directory that occurs twice in a chain counts
where it stands first; but a -I directory that is in the system chain too counts *there*, whatever
its spelling, since directories are compared by device and inode. gcc treats -iquote alike, clang
does not.

A directory that does not exist is left out by the compiler. Here it is kept, because a header that
appears in it will be found.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence

from .pattern import pattern
from .record import record


@record
class SearchChain:
    """Directories in the order of the search, as the compiler names them; some may not exist.

    quote    looked through for ``"x"`` after the directory of the including file
    bracket  looked through for ``<x>``, and for ``"x"`` after those
    """

    quote: tuple[bytes, ...] = ()
    bracket: tuple[bytes, ...] = ()


_SYSTEMS = (b"/usr/", b"/lib")
_OWN = (b"/usr/local/", b"/usr/src/")


def is_systems(path: bytes) -> bool:
    """Whether a header at an absolute path comes with the system, and changes with that only."""
    return path.startswith(_SYSTEMS) and not path.startswith(_OWN)


_SYSTEM_VARIABLES: Mapping[bytes, bytes] = {
    b"c": b"C_INCLUDE_PATH",
    b"c++": b"CPLUS_INCLUDE_PATH",
    b"objective-c": b"OBJC_INCLUDE_PATH",
    b"objective-c++": b"OBJCPLUS_INCLUDE_PATH",
    b"assembler-with-cpp": b"C_INCLUDE_PATH",
}
# Translations of gcc set the directory between other quotation marks.
_QUOTED_PATH = pattern(
    rb'["\xab\xbb]([^"\n]+?)["\xab\xbb]|'
    rb"(?:\xe2\x80[\x9c-\x9f]|\xc2[\xab\xbb])(.+?)(?:\xe2\x80[\x9c-\x9f]|\xc2[\xab\xbb])"
)
_NOTES = (b" (framework directory)", b" (headermap)")


def parse_search_output(output: bytes) -> SearchChain:
    """The chain out of the standard error of ``cc -E -v``; empty when it shows none.

    Directories that the compiler left out because they do not exist stand in front: it does not
    say where they belong, and in front they are taken for earlier than every header, which is the
    safe side. Run it with LC_ALL=C; in another locale "nonexistent" cannot be told from
    "duplicate", and both are put in front.
    """
    quote: list[bytes] = []
    bracket: list[bytes] = []
    missing: list[bytes] = []
    section: list[bytes] | None = None
    for line in output.split(b"\n"):
        line = line.rstrip(b"\r")
        if line.startswith(b'#include "..."'):
            section = quote
        elif line.startswith(b"#include <...>"):
            section = bracket
        elif section is not None and line.startswith(b" "):
            for note in _NOTES:
                line = line.removesuffix(note)
            section.append(line[1:])
        elif section is None:
            missing += _left_out(line)
        else:
            section = None
            if bracket:
                break
    known = {*quote, *bracket}
    front = tuple(name for name in dict.fromkeys(missing) if name not in known)
    return SearchChain(tuple(quote), front + tuple(bracket))


def _left_out(line: bytes) -> list[bytes]:
    if line.startswith(b"ignoring duplicate"):
        return []
    if not line.startswith(b"ignoring nonexistent") and b"=" in line.partition(b'"')[0]:
        return []
    # Other lines with quotes: clang's -cc1 command, `configured with`, the environment.
    if line.startswith((b" ", b"Configured with", b"clang", b"COLLECT", b"Thread model")):
        return []
    match = _QUOTED_PATH.search(line)
    return [match.group(1) or match.group(2)] if match else []


def user_chain(
    base: SearchChain,
    *,
    identity: Callable[[bytes], Hashable | None],
    quote: Sequence[bytes] = (),
    angle: Sequence[bytes] = (),
    system: Sequence[bytes] = (),
    after: Sequence[bytes] = (),
    environment: Mapping[bytes, bytes] | None = None,
    language: bytes = b"c",
    sysroot: bytes = b"",
    clang: bool = False,
) -> SearchChain:
    """``base`` with the directories of one command line and its environment.

    ``base`` is the compiler's own chain for the same language and the same options that alter it
    (--sysroot, -nostdinc, -m32, ...), printed with none of these directories and with CPATH and
    its like unset. ``quote`` is -iquote, ``angle`` -I, ``system`` -isystem, ``after``
    -idirafter, each as given, in order. ``identity`` tells directories apart, by device and
    inode; None means that there is no such directory. ``language`` is a word of gcc's -x.
    """
    variables = environment or {}
    rooted = _under_sysroot(sysroot)
    cpath, own_variable = variables_of(language)
    from_environment = _path_list(variables.get(own_variable)) if own_variable else []
    system_chain = _unique(
        [*map(rooted, system), *from_environment, *base.bracket, *map(rooted, after)], identity
    )
    in_system = {identity(name) for name in system_chain} - {None}
    user = [*map(rooted, angle), *_path_list(variables.get(cpath))]
    user_part = [name for name in _unique(user, identity) if identity(name) not in in_system]
    bracket = _unique([*user_part, *system_chain], identity)
    quoted = _unique([*map(rooted, quote), *base.quote], identity)
    if not clang:
        quoted = [name for name in quoted if identity(name) not in in_system]
    return SearchChain(tuple(quoted), tuple(bracket))


def variables_of(language: bytes) -> tuple[bytes, bytes]:
    """The variables that name directories for ``language``: for all, and for it alone, if any."""
    return b"CPATH", _SYSTEM_VARIABLES.get(language, b"")


def _unique(names: Sequence[bytes], identity: Callable[[bytes], Hashable | None]) -> list[bytes]:
    """The first of each directory; those that do not exist are told apart by their names."""
    kept: list[bytes] = []
    seen: set[Hashable] = set()
    for name in names:
        which = identity(name)
        mark: Hashable = name if which is None else (which,)
        if mark not in seen:
            seen.add(mark)
            kept.append(name)
    return kept


def _path_list(value: bytes | None) -> list[bytes]:
    """The directories of a variable like PATH; an empty element is the working directory."""
    if not value:
        return []
    return [name or b"." for name in value.split(b":")]


def _under_sysroot(sysroot: bytes) -> Callable[[bytes], bytes]:
    """``=dir`` and ``$SYSROOT/dir`` mean ``dir`` below the system root."""

    def rooted(name: bytes) -> bytes:
        if name.startswith(b"="):
            return sysroot.rstrip(b"/") + name[1:]
        if name.startswith(b"$SYSROOT"):
            return sysroot.rstrip(b"/") + name[8:]
        return name

    return rooted
