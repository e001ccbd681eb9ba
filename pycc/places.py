"""Where names are looked for: directories as the file system shows them at one moment.

Names that must stay absent are grouped by the deepest directory that exists now: as long as that
one has not changed, nothing can have appeared in it. A symbolic link whose target is missing
breaks this rule (the target appears elsewhere).
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from pycc.cache.lookup import may_be_among
from pycc.record import record

Probe = Callable[[bytes], bool]
Listing = Callable[[bytes], AbstractSet[bytes] | None]


@record
class Spot:
    """What is where a prefix points: a directory, or what would be one below ``rest``.

    directory  the deepest one that exists on the way, without a slash at its end
    rest       what comes between that and the names, with a slash at its end; empty if nothing does
    linked     ``rest`` begins with a symbolic link: one without a target, or not to a directory
    listing    the names that are here, in lower case; None if not known
    """

    directory: bytes
    rest: bytes
    linked: bool
    listing: AbstractSet[bytes] | None


Memory = Callable[[bytes, Callable[[bytes], Spot]], Spot]
"""(prefix, what finds out) -> its spot, which may be remembered while nothing has changed."""


@record
class Place:
    """Where names are looked for.

    prefix   what stands before the names: a directory's name with a slash at its end, or nothing
    group    the names that must stay absent from the deepest directory that exists on the way
    directory, rest, linked, listing  as for `Spot`
    """

    prefix: bytes
    group: set[bytes]
    directory: bytes
    rest: bytes
    linked: bool
    listing: AbstractSet[bytes] | None


def normal(path: bytes) -> bytes:
    """``path`` without empty and ``.`` components; ``..`` stays, for the sake of links."""
    if b"//" not in path and b"/./" not in path and path[:2] != b"./" and path[-2:] != b"/.":
        return path
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    return (b"/" if path.startswith(b"/") else b"") + b"/".join(parts)


def prefix_of(directory: bytes) -> bytes:
    """What to put before a name to have it in ``directory``, in the form of `normal`."""
    name = normal(directory)
    if name in (b"", b"."):
        return b""
    return name if name.endswith(b"/") else name + b"/"


def _split(path: bytes) -> tuple[bytes, bytes]:
    """The directory and the last part of a path."""
    head, slash, last = path.rpartition(b"/")
    return head or slash or b".", last


def lacks(listing: AbstractSet[bytes] | None, name: bytes) -> bool:
    """Whether a listing shows that there is no ``name``, which may be ``..``."""
    if listing is None or name in (b".", b".."):
        return False
    return not may_be_among(name, listing)


class Probes:
    """What may be asked of the file system. ``exists`` tells whether a non-directory is there now
    (links followed), ``is_directory`` likewise; ``is_link`` tells whether the name itself is a
    symbolic link, and without it dangling links are taken for nothing. ``listing`` gives the names
    in a directory, in lower case, or None; ``expect`` is told of paths that will be asked about."""

    def __init__(
        self,
        exists: Probe,
        is_directory: Probe,
        is_link: Probe | None = None,
        listing: Listing | None = None,
        memory: Memory | None = None,
        expect: Callable[[Sequence[bytes]], None] | None = None,
    ) -> None:
        self.exists = exists
        self.is_directory = is_directory
        self.is_link = is_link
        self.listing = listing
        self.memory = memory
        self.expect = expect


class Places:
    """The places of one search. Each path is asked about at most once, and not at all where a
    listing shows that there is nothing."""

    def __init__(self, probes: Probes) -> None:
        self._probes = probes
        self._places: dict[bytes, Place] = {}
        # What was, or may have been, looked for in vain; the directory without a slash.
        self.groups: dict[bytes, set[bytes]] = {}
        self._listings: dict[bytes, AbstractSet[bytes] | None] = {}
        self._files: dict[bytes, bool] = {}
        self._directories: dict[bytes, bool] = {b".": True, b"/": True}

    def at(self, prefix: bytes) -> Place:
        """The place with this prefix, a directory's name with a slash at its end or nothing."""
        known = self._places.get(prefix)
        if known is not None:
            return known
        memory = self._probes.memory
        spot = self._spot(prefix) if memory is None else memory(prefix, self._spot)
        group = self.groups.setdefault(spot.directory, set())
        known = Place(prefix, group, spot.directory, spot.rest, spot.linked, spot.listing)
        self._places[prefix] = known
        self._directories[spot.directory] = True
        return known

    def below(self, place: Place, head: bytes) -> Place:
        """The place ``head`` below another; most of those along a chain are missing."""
        prefix = place.prefix + head
        known = self._places.get(prefix)
        if known is None:
            if place.rest:
                rest, linked = place.rest + head, place.linked
            elif lacks(place.listing, head[: head.index(b"/")]):
                rest, linked = head, False
            else:
                return self.at(prefix)
            known = Place(prefix, place.group, place.directory, rest, linked, None)
            self._places[prefix] = known
        return known

    def _spot(self, prefix: bytes) -> Spot:
        directory = prefix[:-1] or prefix or b"."
        rest = b""
        while not self.is_directory(directory):
            directory, last = _split(directory)
            rest = last + b"/" + rest
        linked = False
        if rest and self._probes.is_link is not None:
            first = prefix_of(directory) + rest[: rest.index(b"/")]
            linked = self._may_be_there(first) and self._probes.is_link(first)
        return Spot(directory, rest, linked, None if rest else self.listing(directory))

    def expect(self, paths: Sequence[bytes]) -> None:
        """These will be asked about."""
        if self._probes.expect is not None:
            self._probes.expect(paths)

    def exists(self, path: bytes) -> bool:
        """Whether there is anything but a directory."""
        known = self._files.get(path)
        if known is None:
            known = self._files[path] = self._probes.exists(path)
        return known

    def is_link(self, path: bytes) -> bool:
        return self._probes.is_link is not None and self._probes.is_link(path)

    def listing(self, directory: bytes) -> AbstractSet[bytes] | None:
        """The names in a directory that exists, in lower case; None if they are not known."""
        try:
            return self._listings[directory]
        except KeyError:
            ask = self._probes.listing
            listing = self._listings[directory] = None if ask is None else ask(directory)
            return listing

    def is_directory(self, path: bytes) -> bool:
        known = self._directories.get(path)
        if known is None:
            # Most directories of a name are missing in most directories of the chain.
            known = self._may_be_there(path) and self._probes.is_directory(path)
            self._directories[path] = known
        return known

    def _may_be_there(self, path: bytes) -> bool:
        """False when what is known of its directory shows that it is not."""
        parent, last = _split(path)
        known = self._directories.get(parent)
        return known is None or (known and not lacks(self.listing(parent), last))
