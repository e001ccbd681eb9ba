"""What a client in pump mode asks of a stock server: the command, and the names in its answer.

distccd lays a client's files out below a temporary directory, and compiles below that in the
client's working directory. It puts its directory in front of the absolute paths that it finds
behind -I and its like, so that the name of every header that is found there, and with it __FILE__
and the debug information, begins with a directory that nobody can foresee. So no absolute path is
sent. What the user spells ``/home/u/include`` goes as ``../../../home/u/include`` with as many
steps up as the working directory is deep, which is the same place below any root; and
``-ffile-prefix-map=../../../=/`` has the compiler write the name that it would write here. Neither
gcc nor clang notes that option in the object.

What is left is the directory of the compile itself (DW_AT_comp_dir). clang is told it. gcc finds
it out; see `scrubbed`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct, error, unpack_from

from pycc.depfile import DepfileError, Rule, parse
from pycc.errors import PyccError
from pycc.pattern import pattern
from pycc.record import record, replace

from .commandline import expand_wp, is_source
from .optionwords import cut, shown

_PATHS = frozenset(b"-I -iquote -isystem -idirafter -include -imacros -cxx-isystem".split())
_LONG = frozenset(b"-F -iprefix -iwithprefix -iwithprefixbefore -iwithsysroot -iframework".split())
_DEPENDENCY_VALUES = frozenset(b"-MF -MT -MQ".split())
_DEPENDENCY_FLAGS = frozenset(b"-MD -MMD -MG -MP".split())
_DEBUG, _COMPRESSED = b".debug_", 0x800  # SHF_COMPRESSED
_PACKED_DEBUG = b".zdebug_"  # -gz=zlib-gnu
_SECTION = Struct("<I4xQ8xQQ24x")  # name, flags, offset, size
_ROOT = pattern(rb"(/(?:[\x21-\x2e\x30-\x7e]{1,255}/){0,16}distccd_[A-Za-z0-9]{6})(?=/)")
_SHORTEST_ROOT = len(b"/distccd_XXXXXX")
_DIAGNOSTIC = rb"^((?:In file included from | {3,40}from |)(?:\x1b\[[0-9;]*[mK])*)"


class CannotPump(PyccError):
    """This compile cannot be sent in pump mode; the text says why, for people."""


@record
class Command:
    """``argv`` as it is sent; ``steps`` leads from the working directory to the root, and stands
    for it in what comes back. ``mapped``: names that it begins were given."""

    argv: tuple[bytes, ...]
    steps: bytes
    mapped: bool


def command(argv: Sequence[bytes], cwd: bytes, *, clang: bool) -> Command:
    """The command for a Distributable's vector (commandline.py) that a client runs in ``cwd``; it
    asks for a list of all headers. Raises CannotPump."""
    if cwd in (b"", b"/"):
        raise CannotPump("the working directory is the root")
    steps = b"../" * cwd.count(b"/")
    sent = [argv[0]]
    mapped = False

    def path(value: bytes) -> bytes:
        nonlocal mapped
        if value.startswith((b"=", b"$SYSROOT")):
            raise CannotPump(f"{shown(value)} is below the server's system root")
        if value.startswith(steps):
            raise CannotPump(f"{shown(value)} goes up to the root by itself")
        if not value.startswith(b"/"):
            return value
        mapped = True
        return steps + value.lstrip(b"/")

    vector = expand_wp(argv)
    for word in cut(vector):
        name, value = word.name, word.value
        if name in _DEPENDENCY_FLAGS or name in _DEPENDENCY_VALUES:
            continue
        if name in _PATHS and value is not None:
            sent += (name, path(value)) if not word.joined else (name + path(value),)
        elif name in _LONG or name.startswith((b"--include", b"--imacros", b"-Xpreprocessor")):
            raise CannotPump(f"{shown(name)} is not sent")
        elif name.startswith(b"-fsanitize-undefined-strip-path-components"):
            raise CannotPump(f"{shown(name)} counts the steps of a name as it is sent")
        elif b"-prefix-map=" in name or name.startswith(b"-fdebug-compilation-dir"):
            raise CannotPump(f"{shown(name)} would meet the server's directory")
        elif word.file and is_source(name):
            sent.append(path(name))
        elif value is not None and (not word.joined or name == b"-x"):
            sent += (name, value)  # distccd takes -xc for an option of its own
        else:
            sent.append(name + (value or b""))
    # In front: behind "--" it would be a file, and the user's own words win.
    ours = [b"-MD"]
    if mapped:
        ours.append(b"-ffile-prefix-map=" + steps + b"=/")
    if clang:
        ours.append(b"-fdebug-compilation-dir=" + cwd)
    return Command((sent[0], *ours, *sent[1:]), steps, mapped)


def is_shortened(directory: bytes, physical: bytes, steps: bytes) -> bool:
    """Whether gcc may write the name of a file in a system directory (-isystem) in another way here
    than below a root: it takes the physical one where that is shorter."""
    if not directory.startswith(b"/"):
        return len(directory) > len(physical)
    sent = len(steps) + len(directory.lstrip(b"/"))
    return len(directory) > len(physical) or sent > _SHORTEST_ROOT + len(physical)


def _here(name: bytes, steps: bytes, owns: Callable[[bytes], bool]) -> bytes:
    """A name in an answer, as the compiler would write it here."""
    if name.startswith(steps):
        return b"/" + name[len(steps) :]
    if name.startswith(b"/") and not owns(name):
        raise CannotPump(f"the server read {shown(name)} of its own")
    return name


def dependencies(text: bytes, steps: bytes, owns: Callable[[bytes], bool]) -> Rule:
    """The list of files that an answer brings, with the names that they have here. ``owns`` tells
    which absolute paths, as they are spelled, are the server's own files. Raises CannotPump where
    it cannot be read, and where the server read other files of its own."""
    try:
        rule = parse(text)
    except DepfileError as problem:
        raise CannotPump(f"the server's list of dependencies: {problem}") from None
    names = tuple(_here(name, steps, owns) for name in rule.prerequisites)
    return replace(rule, prerequisites=names)


def diagnostics(text: bytes, steps: bytes) -> bytes:
    """Messages with the names that files have here."""
    if steps not in text:
        return text
    found = pattern(_DIAGNOSTIC + steps.replace(b".", rb"\.") + rb"(?!\.\./)")
    return b"\n".join(found.sub(rb"\1/", line) for line in text.split(b"\n"))


def scrubbed(content: bytes, what: Command) -> bytes:
    """An object without the server's directory: in debug information slashes stand in its place,
    which lead to the same file (so distccd does it where it knows how; it does not know the
    strings of DWARF 5). Raises CannotPump where it is elsewhere, and where a name is as it was
    sent: neither compiler maps those that sanitizers report."""
    if what.mapped and _begins_with(what.steps, content):
        raise CannotPump("the object holds a name as it was sent")
    ranges = _debug_sections(content) if b"debug_" in _section_names(content) else []
    if b"/distccd_" not in content:
        return content
    roots = {match.group(1) for match in _ROOT.finditer(content)}
    made = bytearray(content)
    for root in sorted(roots, key=len, reverse=True):
        at = content.find(root + b"/")
        while at >= 0:
            if not any(start <= at and at + len(root) < end for start, end in ranges):
                raise CannotPump("the server's directory is in the object")
            made[at : at + len(root)] = b"/" * len(root)
            at = content.find(root + b"/", at + 1)
    return bytes(made)


def _begins_with(steps: bytes, content: bytes) -> bool:
    """Whether a name in ``content`` may begin with ``steps``: not one that has them in it."""
    at = content.find(steps)
    while at > 0 and content[at - 1] == ord("/"):
        at = content.find(steps, at + 1)
    return at >= 0


def _section_names(content: bytes) -> bytes:
    """Those of an ELF file of 64 bits, else the whole file: where debug information may be, they
    say so."""
    try:
        (table,) = unpack_from("<Q", content, 40)
        size, count, names = unpack_from("<HHH", content, 58)
        if content[:6] != b"\x7fELF\x02\x01" or not count:
            return content
        start, length = unpack_from("<QQ", content, table + size * names + 24)
    except error:
        return content
    return content[start : start + length] if length else content


def _debug_sections(content: bytes) -> list[tuple[int, int]]:
    """Where the sections with debug information lie in an ELF file of 64 bits; none of others.
    Raises CannotPump where one is compressed."""
    found: list[tuple[int, int]] = []
    try:
        if content[:6] != b"\x7fELF\x02\x01":
            return []
        (table,) = unpack_from("<Q", content, 40)
        size, count, names = unpack_from("<HHH", content, 58)
        if table and not count:  # more than 65,279
            raise CannotPump("the object has too many sections")
        (strings,) = unpack_from("<Q", content, table + size * names + 24)
        # C++ makes thousands of sections.
        headers = memoryview(content)[table : table + size * count]
        for name, flags, start, length in _SECTION.iter_unpack(headers):
            if content.startswith((_DEBUG, _PACKED_DEBUG), strings + name):
                if flags & _COMPRESSED or content.startswith(_PACKED_DEBUG, strings + name):
                    raise CannotPump("the debug information is compressed")
                found.append((start, start + length))
    except (error, ValueError):
        return []
    return found
