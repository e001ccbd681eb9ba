"""From what an exact compile asked the file system to an entry of a manifest.

The sandbox records every question and what the answer was, so the entry is complete whatever the
compiler is: it holds where all answers are the same (cache/lookup.py asks for them). Left out is
only what cannot reach an output, or is known to be the same by the compiler's identity: programs'
libraries, the kernel's own trees, and what the compile made itself.

A content is known by its digest: the client's own files by what he sent, the server's by reading
them, if they have stood still since before the compile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable

from pycc.cache.manifest import WHOLE, ManifestEntry
from pycc.pattern import pattern

from .client_view import View, check, shown
from .exact_root import TEMPORARY, Ground
from .sandbox import Found, Lookup

_KERNELS = (b"/proc/", b"/dev/", b"/sys/")
_KNOWN = pattern(
    rb"(?s:.*/)?(?:ld\.so\.[^/]*|[^/]*\.so(?:\.[^/]*)?|glibc-hwcaps(?s:/.*)?)"
    rb"|/etc/(?:debian_version|[^/]+-release)|/usr/lib/os-release"
)
"""Libraries, and the loader's settings, which are other ones on each machine; what clang's driver
asks about its distribution. The compiler's identity tells what comes of them."""
MOST_LINKS = 40

Digest = Callable[[bytes], bytes | None]
ReadLink = Callable[[bytes], bytes | None]


class Unwitnessed(Exception):
    """Why nobody else can be given this result; the text is for the log."""


class Places:
    """Which physical path a name leads to in the root of an exact job. ``read_link`` gives the
    target of a link among the server's own files, None where there is none."""

    def __init__(self, view: View, ground: Ground, read_link: ReadLink) -> None:
        self._cwd = view.cwd
        self._links = {link.path: link.target for link in view.links} | ground.links
        self._ground = ground
        self._read_link = read_link
        self._laid = check(view) | {file.path for file in view.files}
        """What lies over whatever the server has there."""
        self._known: dict[bytes, bytes] = {}

    def physical(self, name: bytes) -> bytes:
        """Raises Unwitnessed for links that go round."""
        path = name if name[:1] == b"/" else self._cwd + b"/" + name
        known = self._known.get(path)
        if known is None:
            known = self._known[path] = self._walk(path)
        return known

    def target(self, name: bytes) -> bytes:
        """What the link with this name holds; nothing if it is none. Raises Unwitnessed."""
        directory, slash, last = name.rpartition(b"/")
        place = self.physical(directory or slash or b".").rstrip(b"/") + b"/" + last
        target = self._links.get(place)
        if target is None:
            target = self._servers_link(place)
        return target or b""

    def _servers_link(self, place: bytes) -> bytes | None:
        if place in self._laid or self._ground.tree_of(place) is None:
            return None
        return self._read_link(place)

    def _walk(self, path: bytes) -> bytes:
        here = b""
        waiting = path.split(b"/")[::-1]
        links = 0
        while waiting:
            part = waiting.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                here = here.rpartition(b"/")[0]
                continue
            here += b"/" + part
            target = self._links.get(here)
            if target is None:
                target = self._servers_link(here)
            if target is None:
                continue
            links += 1
            if links > MOST_LINKS:
                raise Unwitnessed(f"{shown(path)} leads round in a circle")
            here = b"" if target[:1] == b"/" else here.rpartition(b"/")[0]
            waiting += target.split(b"/")[::-1]
        return here or b"/"


def _is_of_tools(physical: bytes, ground: Ground) -> bool:
    """Whether a path is one of the server's own, and not among headers."""
    if any(part.startswith(b"include") for part in physical.split(b"/")[:-1]):
        return False
    return ground.tree_of(physical) is not None or physical.startswith(b"/etc/")


def entry(
    key: Callable[[tuple[tuple[bytes, bytes], ...], tuple[bytes, ...]], bytes],
    lookups: Iterable[Lookup],
    source: bytes,
    view: View,
    places: Places,
    ground: Ground,
    *,
    made: Collection[bytes],
    digest: Digest,
    runs: Callable[[bytes], bool],
) -> tuple[ManifestEntry, tuple[tuple[bytes, bytes], ...]]:
    """The entry of a compile of ``source``, as it was named, and those of its names that are
    symbolic links, with what they hold: gcc shortens names of headers by them.

    ``key`` gives the result's key for what was read and what was there, ``made`` are the physical
    paths of outputs, ``digest`` is asked for contents of the server's, of which those that ``runs``
    calls programs are known by the compiler's identity. Raises Unwitnessed."""
    sent = {file.path: file.content for file in view.files}
    files: dict[bytes, bytes] = {}
    absent: dict[bytes, set[bytes]] = defaultdict(set)
    present: list[bytes] = []
    links: dict[bytes, bytes] = {}
    for lookup in lookups:
        name = lookup.path
        if name.startswith(_KERNELS) or name == TEMPORARY:
            continue
        physical = places.physical(name)
        if physical.startswith(_KERNELS) or physical == view.cwd:
            continue
        of_tools = physical not in sent and _is_of_tools(physical, ground)
        if of_tools and _KNOWN.fullmatch(name):
            continue
        if lookup.target and lookup.found is not Found.ABSENT:
            links[name] = lookup.target
        match lookup.found:
            case Found.ABSENT:
                if physical in made:  # gcc's driver asks whether it is a link to the source
                    continue
                while name.endswith((b"/", b"/.")):  # gcc asks so for directories
                    name = name.rstrip(b"/").removesuffix(b"/.")
                directory, slash, last = name.rpartition(b"/")
                if last in (b"", b".", b".."):
                    raise Unwitnessed(f"{shown(name)} was looked for in vain")
                absent[directory or slash or b"."].add(last)
            case Found.CONTENT:
                if of_tools and runs(physical):
                    links.pop(name, None)
                    continue
                content = sent.get(physical) or digest(physical)
                if content is None:
                    raise Unwitnessed(f"{shown(name)} moved during the compile")
                if name != source:
                    files[name] = content
            case Found.FILE:
                present.append(name)
            case Found.DIRECTORY:
                present.append(name.rstrip(b"/") + b"/")
            case Found.LISTED:
                if ground.tree_of(physical) is None and physical not in ground.above:
                    raise Unwitnessed(f"the names in {shown(name)} were read")
                present.append(name.rstrip(b"/") + b"/")
            case _:
                raise Unwitnessed(f"{shown(name)} is neither file nor directory")
    listed = tuple(sorted(files.items()))
    groups = tuple((where, tuple(sorted(names))) for where, names in sorted(absent.items()))
    there = tuple(sorted(present))
    found = ManifestEntry(key(listed, there), listed, groups, there, WHOLE)
    return found, tuple(sorted(links.items()))
