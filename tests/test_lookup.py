"""Whether manifest entries hold, and what pins the answer, on a disk in memory."""

from __future__ import annotations

import random

import pytest

from pycc.cache import lookup
from pycc.cache.digest import DIGEST_SIZE, digest_of
from pycc.cache.fingerprint import KEY_SIZE
from pycc.cache.lookup import FEW_NAMES, Verdict, Verifier, absolute, result_key_of, stamped
from pycc.cache.manifest import TIMES, ManifestEntry
from tests.fake_disk import SECOND, Disk, DiskDigests

NFS = 0x6969


class World:
    """A disk with headers in /w and /inc that have stood still, and who verifies there."""

    def __init__(self) -> None:
        self.disk = Disk()
        for path in (b"/w/a.h", b"/inc/b.h", b"/inc/sys/c.h"):
            self.disk.write(path, b"content of " + path)
        self.disk.tick(3600)
        self.digests = DiskDigests(self.disk)
        self.verifier = Verifier(self.disk, self.digests, lambda: self.disk.now)

    def files(self, *names: bytes) -> tuple[tuple[bytes, bytes], ...]:
        found = []
        for name in names:
            node = self.disk.find(absolute(b"/w", name))
            assert node is not None
            found.append((name, digest_of(node.content)))
        return tuple(found)

    def verify(self, entry: ManifestEntry) -> Verdict:
        return self.verifier.verify(entry, b"/w")

    def holds_pinned(self, entry: ManifestEntry) -> tuple[bytes, ...]:
        verdict = self.verify(entry)
        assert verdict.holds
        assert verdict.records is not None
        assert self.disk.holds(verdict.records)
        return verdict.records


@pytest.fixture
def world() -> World:
    return World()


def entry(
    files: tuple[tuple[bytes, bytes], ...] = (),
    groups: tuple[tuple[bytes, tuple[bytes, ...]], ...] = (),
    present: tuple[bytes, ...] = (),
    flags: int = 0,
) -> ManifestEntry:
    return ManifestEntry(bytes(KEY_SIZE), files, groups, present, flags)


def test_relative_paths_are_of_the_call() -> None:
    assert absolute(b"/w", b"a.h") == b"/w/a.h"
    assert absolute(b"/w", b"/a.h") == b"/a.h"


class TestFiles:
    """The digests of the files that were read."""

    def test_settled_files_hold_and_are_pinned(self, world: World) -> None:
        records = world.holds_pinned(entry(world.files(b"a.h", b"/inc/b.h")))
        assert len(records) == 2

    def test_settled_files_are_read_once(self, world: World) -> None:
        wanted = entry(world.files(b"a.h"))
        for _ in range(3):
            world.verify(wanted)
        assert world.digests.read_files == [b"/w/a.h"]

    @pytest.mark.parametrize("content", [b"CONTENT OF /w/a.h", b"longer than it was before"])
    def test_another_content_does_not_hold(self, world: World, content: bytes) -> None:
        wanted = entry(world.files(b"/inc/b.h", b"a.h"))
        world.verify(wanted)
        world.disk.write(b"/w/a.h", content)
        assert world.verify(wanted).reason == b"/w/a.h"

    def test_a_missing_file_does_not_hold(self, world: World) -> None:
        wanted = entry(world.files(b"a.h"))
        world.disk.remove(b"/w/a.h")
        assert world.verify(wanted).reason == b"/w/a.h"

    def test_a_directory_in_place_of_a_file_does_not_hold(self, world: World) -> None:
        wanted = entry(world.files(b"a.h"))
        world.disk.remove(b"/w/a.h")
        world.disk.mkdir(b"/w/a.h")
        assert not world.verify(wanted).holds

    def test_a_file_that_was_touched_still_holds(self, world: World) -> None:
        wanted = entry(world.files(b"a.h"))
        world.disk.write(b"/w/a.h", b"content of /w/a.h")
        assert world.verify(wanted).holds

    @pytest.mark.parametrize(("seconds", "pinned"), [(0, False), (2, False), (2.1, True)])
    def test_a_fresh_file_holds_but_pins_nothing(
        self, world: World, seconds: float, pinned: bool
    ) -> None:
        world.disk.write(b"/w/a.h", b"new")
        wanted = entry(world.files(b"a.h"))
        world.disk.tick(seconds)
        verdict = world.verify(wanted)
        assert verdict.holds
        assert (verdict.records is not None) is pinned

    def test_a_second_edit_within_a_tick_is_seen(self, world: World) -> None:
        world.disk.write(b"/w/a.h", b"one")
        wanted = entry(world.files(b"a.h"))
        assert world.verify(wanted).holds
        node = world.disk.find(b"/w/a.h")
        assert node is not None
        node.content = b"two"
        world.disk.tick(1)
        assert not world.verify(wanted).holds

    def test_a_network_file_system_pins_nothing_and_is_read_every_time(self, world: World) -> None:
        world.disk.fs_type = NFS
        wanted = entry(world.files(b"a.h"), ((b"/inc", (b"x.h",)),), (b"/inc/b.h",))
        for _ in range(3):
            assert world.verify(wanted) == Verdict(b"", None)
        assert len(world.digests.read_files) == 3

    def test_times_belong_to_the_digest_where_they_are_asked_for(self, world: World) -> None:
        ((name, digest),) = world.files(b"a.h")
        mtime = world.disk.signature(b"/w/a.h").mtime
        wanted = entry(((name, stamped(digest, mtime)),), flags=TIMES)
        assert world.verify(wanted).holds
        world.disk.write(b"/w/a.h", b"content of /w/a.h")
        assert not world.verify(wanted).holds


class TestAbsentNames:
    """Names that must not exist in a directory."""

    def test_a_settled_directory_is_one_witness(self, world: World) -> None:
        names = tuple(b"no%d.h" % i for i in range(FEW_NAMES + 1))
        assert len(world.holds_pinned(entry(groups=((b"/inc", names),)))) == 1

    def test_a_few_names_are_asked_singly(self, world: World) -> None:
        """A directory changes when a build directory in it is removed and made anew."""
        names = tuple(b"no%d.h" % i for i in range(FEW_NAMES))
        wanted = entry(groups=((b"/inc", names),))
        assert len(world.holds_pinned(wanted)) == FEW_NAMES
        always = Verifier(world.disk, world.digests, lambda: world.disk.now, lambda _: True)
        verdict = always.verify(wanted, b"/w")
        assert verdict.records is not None
        assert len(verdict.records) == 1

    def test_a_fresh_directory_is_asked_name_by_name(self, world: World) -> None:
        wanted = entry(groups=((b".", (b"x.h", b"y.h")),))
        world.disk.write(b"/w/a.o")
        records = world.holds_pinned(wanted)
        assert len(records) == 2
        world.disk.tick()
        world.disk.write(b"/w/b.o")
        assert world.disk.holds(records)
        world.disk.write(b"/w/x.h")
        assert not world.disk.holds(records)

    def test_many_names_in_a_fresh_directory_are_not_pinned(self, world: World) -> None:
        names = tuple(b"no%d.h" % i for i in range(lookup.MOST_SINGLE + 1))
        world.disk.write(b"/inc/new.o")
        assert world.verify(entry(groups=((b"/inc", names),))) == Verdict(b"", None)

    @pytest.mark.parametrize("settled", [True, False])
    @pytest.mark.parametrize("number", [1, 100])
    def test_a_name_that_appears_does_not_hold(
        self, world: World, settled: bool, number: int
    ) -> None:
        names = tuple(b"x%d.h" % i for i in range(number))
        wanted = entry(groups=((b"/inc", names),))
        assert world.verify(wanted).holds
        world.disk.write(b"/inc/x0.h")
        if settled:
            world.disk.tick()
        assert world.verify(wanted).reason == b"/inc/x0.h"

    def test_a_directory_of_that_name_is_no_header(self, world: World) -> None:
        wanted = entry(groups=((b"/inc", (b"sys", b"sys/no.h")),))
        assert world.verify(wanted).holds

    def test_a_name_below_a_directory_that_came_later_is_pinned(self, world: World) -> None:
        wanted = entry(groups=((b"/inc", (b"new/x.h",)),))
        world.disk.mkdir(b"/inc/new")
        world.disk.tick()
        records = world.holds_pinned(wanted)
        world.disk.write(b"/inc/new/x.h")
        assert not world.disk.holds(records)
        assert not world.verify(wanted).holds

    def test_the_target_of_a_link_is_pinned(self, world: World) -> None:
        wanted = entry(groups=((b"/inc", (b"x.h",)),))
        world.disk.link(b"/inc/x.h", b"/elsewhere/x.h")
        world.disk.mkdir(b"/elsewhere")
        world.disk.tick()
        records = world.holds_pinned(wanted)
        world.disk.write(b"/elsewhere/x.h")
        assert not world.disk.holds(records)
        assert not world.verify(wanted).holds

    def test_a_missing_directory_is_witnessed_by_its_names(self, world: World) -> None:
        wanted = entry(groups=((b"/none", (b"x.h",)),))
        records = world.holds_pinned(wanted)
        world.disk.write(b"/none/x.h")
        assert not world.disk.holds(records)
        assert not world.verify(wanted).holds

    def test_a_settled_directory_is_listed_once(self, world: World) -> None:
        wanted = entry(groups=((b"/inc", (b"x.h",)),))
        for _ in range(3):
            world.verify(wanted)
        assert world.disk.listings == [b"/inc"]
        world.disk.write(b"/inc/y.h")
        world.disk.tick()
        world.verify(wanted)
        assert world.disk.listings == [b"/inc", b"/inc"]

    def test_a_huge_directory_is_not_remembered(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lookup, "LARGEST_LISTING", 1)
        wanted = entry(groups=((b"/inc", (b"x.h", b"new/x.h")),))
        records = world.holds_pinned(wanted)
        world.disk.write(b"/inc/x.h")
        assert not world.disk.holds(records)
        assert world.verify(wanted).reason == b"/inc/x.h"

    def test_listings_are_bounded_and_forgotten(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lookup, "LISTINGS_LIMIT", 2)
        for number in range(5):
            world.disk.mkdir(b"/d%d" % number)
        world.disk.tick()
        for number in range(5):
            world.verify(entry(groups=((b"/d%d" % number, (b"x.h",)),)))
            assert len(world.verifier._listings) <= 2


class TestPresentPaths:
    """Paths that answered __has_include."""

    def test_they_hold_while_they_exist(self, world: World) -> None:
        wanted = entry(present=(b"/inc/b.h", b"a.h"))
        assert len(world.holds_pinned(wanted)) == 2
        world.disk.remove(b"/w/a.h")
        assert world.verify(wanted).reason == b"/w/a.h"

    def test_a_fresh_one_pins_nothing(self, world: World) -> None:
        world.disk.write(b"/w/new.h")
        assert world.verify(entry(present=(b"new.h",))) == Verdict(b"", None)


@pytest.mark.parametrize("seed", range(60))
def test_while_the_records_hold_so_does_the_entry(seed: int) -> None:
    choice = random.Random(seed)
    world = World()
    names = [b"a.h", b"b.h", b"sys/c.h", b"new/x.h", b"new/y/z.h", b"l/x.h", b"q.h"]
    directories = [b".", b"/inc", b"/inc2", b"/"]

    def path() -> bytes:
        return (
            absolute(b"/w", choice.choice(directories)).rstrip(b"/") + b"/" + choice.choice(names)
        )

    def change() -> None:
        match choice.randrange(5):
            case 0 | 1:
                world.disk.write(path(), bytes([choice.randrange(3)]))
            case 2:
                world.disk.remove(path())
            case 3:
                world.disk.mkdir(path().rpartition(b"/")[0])
            case 4:
                world.disk.link(path(), b"/inc/" + choice.choice(names))

    for _ in range(20):
        change()
        if choice.random() < 0.7:
            world.disk.tick(choice.choice([0.5, 5]))
        groups = []
        for directory in directories:
            where = absolute(b"/w", directory)
            asked = [n for n in names if not world.disk.signature(absolute(where, n)).exists]
            groups.append((directory, tuple(asked)))
        here = [n for n in names if world.disk.signature(b"/w/" + n).is_regular]
        wanted = entry(world.files(*here), tuple(groups), tuple(here[:1]))
        verdict = world.verify(wanted)
        if verdict.records is None:
            continue
        world.disk.tick(3)
        for _ in range(6):
            change()
            world.disk.tick(choice.choice([0.1, 3]))
            if not world.disk.holds(verdict.records):
                break
            again = world.verify(wanted)
            assert again.holds, (again.reason, wanted)


@pytest.mark.parametrize(
    ("files", "day"),
    [
        ((), b""),
        (((b"a", b"1" * DIGEST_SIZE),), b""),
        (((b"a", b"2" * DIGEST_SIZE),), b""),
        (((b"b", b"1" * DIGEST_SIZE),), b""),
        (((b"a", b"1" * DIGEST_SIZE), (b"b", b"1" * DIGEST_SIZE)), b""),
        ((), b"2024-01-01"),
        ((), b"epoch 1"),
        (((b"a" * 25, b"1" * DIGEST_SIZE),), b"epoch 1"),
        (((b"a" * 5, b"1" * DIGEST_SIZE),), b"epoch 12"),
    ],
)
def test_result_keys_differ(
    files: tuple[tuple[bytes, bytes], ...], day: bytes, seen: dict[bytes, object]
) -> None:
    key = result_key_of(b"m" * KEY_SIZE, files, day)
    assert len(key) == KEY_SIZE
    assert seen.setdefault(key, (files, day)) == (files, day)


def test_what_is_there_and_was_not_read_decides_too() -> None:
    files = ((b"a.c", b"1" * DIGEST_SIZE),)
    keys = [
        result_key_of(b"m", files, b"", present)
        for present in ((), (b"x.h",), (b"y.h",), (b"x.h", b"y.h"))
    ]
    assert len(set(keys)) == 4
    assert result_key_of(b"m", files, b"", (b"y.h", b"x.h")) == keys[3]


@pytest.fixture(scope="module")
def seen() -> dict[bytes, object]:
    return {}


def test_the_order_of_files_makes_no_other_key() -> None:
    files = ((b"a", b"1" * DIGEST_SIZE), (b"b", b"2" * DIGEST_SIZE))
    assert result_key_of(b"m", files) == result_key_of(b"m", files[::-1])


def test_a_day_has_no_run_in_with_the_first_path() -> None:
    digest = b"1" * DIGEST_SIZE
    one = result_key_of(b"m", ((b"a" * 25, digest),), b"epoch 1")
    rest = b"a" * 25 + digest
    other = result_key_of(b"m", ((rest[:5], rest[5:25]),), b"epoch 12")
    assert one != other


def test_a_moment_is_part_of_a_stamped_digest() -> None:
    assert stamped(b"d", SECOND) != stamped(b"d", SECOND + 1)
    assert len(stamped(b"d", 1)) == DIGEST_SIZE
