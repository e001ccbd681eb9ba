"""The tables of what a server remembers, each bounded or growing by number only."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from . import native
from .cache.directory import CacheDirectory
from .cache.result import Room
from .frame import Op
from .record import record
from .watch import Watch, is_system

if TYPE_CHECKING:
    from .directives import Directives

T = TypeVar("T")


def drop_oldest(table: dict[Any, Any]) -> None:
    """Make room for one entry; another thread may be doing the same."""
    with suppress(StopIteration, RuntimeError):  # empty, or changed between the two steps
        table.pop(next(iter(table)), None)


class Memo:
    """A bounded table of values that hold while their witness records hold."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: dict[Hashable, tuple[bytes, object]] = {}

    def get(self, key: Hashable, make: Callable[[], tuple[bytes, T]]) -> tuple[bytes, T]:
        """(records, value), from memory if every record still holds, else from ``make``."""
        entry = self._entries.get(key)
        if entry is not None and native.check(entry[0]) < 0:
            return entry  # type: ignore[return-value]  # what make gave under this key
        made = make()
        if len(self._entries) >= self._limit:
            drop_oldest(self._entries)
        self._entries[key] = made
        return made

    def known(self, key: Hashable) -> Any:
        """The value, if there is one and every record holds, else None."""
        entry = self._entries.get(key)
        return entry[1] if entry is not None and native.check(entry[0]) < 0 else None

    def drop(self, key: Hashable) -> None:
        """Forget one answer."""
        self._entries.pop(key, None)


@record
class Header:
    """A file that was read as text: its witness, what it holds and asks for, its signature, and
    when that last changed (ns)."""

    witness: bytes
    digest: bytes
    asked: Directives
    found: native.Signature
    changed: int


class Headers:
    """Files that many compiles read, by their absolute names; only such whose signature pins their
    content (digest.FileDigests.settled), and no links."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: dict[bytes, Header] = {}

    def keep(self, path: bytes, found: native.Signature, digest: bytes, asked: Directives) -> None:
        """``found`` is of the file itself, links not followed."""
        if len(self._known) >= self._limit:
            self._known.clear()
        witness = native.pack(native.SAME_LINK, path, found)
        self._known[path] = Header(witness, digest, asked, found, found.changed)

    def forget(self) -> None:
        """Let everything be read again."""
        self._known.clear()

    def standing(self, paths: Sequence[bytes], start: int) -> dict[bytes, Header]:
        """Those of ``paths`` that are known, unchanged from before ``start`` (ns) until now."""
        known = self._known
        found: dict[bytes, Header] = {}
        for path in paths:
            header = known.get(path)
            if header is not None and header.changed < start:
                found[path] = header
        order = list(found)
        witnesses = b"".join([header.witness for header in found.values()])
        failed = native.check(witnesses)
        while failed >= 0:
            del found[order[failed]]
            known.pop(order[failed], None)
            failed = native.check(witnesses, failed + 1)
        return found


class Contents:
    """What files hold, by its digest, as far as it fits into ``limit`` bytes: the headers of a
    project go along with each of its jobs."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: dict[bytes, bytes] = {}
        self._size = 0
        self._lock = threading.Lock()

    def get(self, digest: bytes) -> bytes | None:
        return self._known.get(digest)

    def keep(self, digest: bytes, content: bytes) -> None:
        """What is too large for many to fit is not kept."""
        if len(content) > self._limit // 16:
            return
        with self._lock:
            if self._size + len(content) > self._limit:
                self._known.clear()
                self._size = 0
            if self._known.setdefault(digest, content) is content:
                self._size += len(content)


@record
class Environment:
    """The variables of one call; ``number`` names the whole block in other memos' keys."""

    variables: dict[bytes, bytes]
    number: int


class Records:
    """Witness records by number: the same header stands in thousands of hot calls.

    It only grows; one thread at a time may add, any may read."""

    def __init__(self, generation: int = -1) -> None:
        self._numbers: dict[bytes, int] = {}
        self._records: list[bytes] = []
        self._places: list[tuple[bytes, bytes, bytes]] = []
        self.system: set[int] = set()
        """Records of system files (watch.py)."""
        self.verified: set[int] = set()
        """Watched records that hold in ``generation`` (watch.py)."""
        self.generation = generation
        self.wanted: set[int] = set()
        """Records whose watches are being laid."""

    def number(self, records: Iterable[bytes]) -> list[int]:
        """Their numbers, in the order of their places."""
        numbers = self._numbers
        found: list[int] = []
        for single in records:
            number = numbers.get(single)
            if number is None:
                number = numbers[single] = len(self._records)
                self._records.append(single)
                self._places.append(native.place_of(single))
                if is_system(single):
                    self.system.add(number)
            found.append(number)
        return sorted(found, key=self._places.__getitem__)

    def take(self, numbers: Iterable[int]) -> list[bytes]:
        return list(map(self._records.__getitem__, numbers))

    def begin(self, generation: int) -> None:
        """Something that is watched may have changed: nothing is verified any more."""
        self.verified = set()
        self.wanted = set()
        self.generation = generation

    def want(self, numbers: Sequence[int]) -> list[int]:
        """Those of ``numbers`` that nobody has begun to watch; now somebody has."""
        missing = [n for n in numbers if n not in self.wanted]
        self.wanted.update(missing)
        return missing

    def cover(self, watch: Watch, numbers: Sequence[int]) -> None:
        """Lay the watches of these records, ask them, and know them verified from then on."""
        before = watch.generation()
        covered = [n for n in numbers if watch.covers(self._records[n])]
        if not covered or not native.all_hold(self.take(covered)):
            return
        verified = self.verified
        if before == watch.generation() == self.generation:
            verified.update(covered)

    def __len__(self) -> int:
        return len(self._records)


@record
class HotCall:
    """A direct hit: it is one again while its records hold and the result is there."""

    table: Records
    records: array[int]
    system: array[int]
    """Those of system files: not asked one by one while they are watched and verified."""
    cache: CacheDirectory
    keys: tuple[bytes, ...]
    deliver: Callable[[bytes, Room | None], Sequence[Op] | None]
    counts: dict[str, int]
