"""Digests of files, and when they may be remembered."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import pytest
import xxhash

from pycc.cache import digest
from pycc.cache.digest import BLOCK, DIGEST_SIZE, SETTLED_NS, FileDigests, digest_of, file_clock
from pycc.native import NO_FILE, Signature, signature

EXT4, NFS, FUSE = 0xEF53, 0x6969, 0x65735546
HOUR = 3600 * 10**9


class Memory:
    """A FileDigests over real files with a clock, a file system type and a count of its own."""

    def __init__(self, fs_type: int = EXT4) -> None:
        self.now = file_clock() + HOUR
        self.fs_type = fs_type
        self.types_asked = 0
        self.digests = FileDigests(self.look, self.type_of, lambda: self.now)
        self.before_second_look: Callable[[], None] | None = None
        self.looks = 0

    def look(self, path: bytes) -> Signature:
        self.looks += 1
        if self.looks == 2 and self.before_second_look is not None:
            self.before_second_look()
        return signature(path)

    def type_of(self, path: bytes) -> int:
        self.types_asked += 1
        return self.fs_type

    def of(self, path: Path) -> bytes | None:
        name = os.fsencode(path)
        return self.digests.digest(name, signature(name))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.h"
    path.write_bytes(b"one")
    return path


def test_a_digest_is_a_blake2b() -> None:
    assert digest_of(b"x") == blake2b(b"x", digest_size=DIGEST_SIZE).digest()


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 70_000, BLOCK, 2 * BLOCK + 1])
def test_every_size_is_read_whole(tmp_path: Path, size: int) -> None:
    path = tmp_path / "f"
    path.write_bytes(os.urandom(size))
    memory = Memory()
    assert memory.of(path) == digest_of(path.read_bytes())
    name = os.fsencode(path)
    program = Memory().digests.program(name, signature(name))
    assert program == xxhash.xxh3_128_digest(path.read_bytes())


def test_a_settled_file_is_read_once(file: Path) -> None:
    memory = Memory()
    memory.of(file)
    looks = memory.looks
    assert memory.of(file) == digest_of(b"one")
    assert memory.looks == looks
    assert len(memory.digests) == 1


@pytest.mark.parametrize(
    ("age", "known"), [(SETTLED_NS + 1, True), (SETTLED_NS, False), (0, False)]
)
def test_only_a_file_that_is_older_than_a_tick_is_remembered(
    file: Path, age: int, known: bool
) -> None:
    memory = Memory()
    memory.now = signature(os.fsencode(file)).changed + age
    memory.of(file)
    assert len(memory.digests) == known


def test_an_edit_of_the_same_size_within_a_tick_is_seen(file: Path) -> None:
    memory = Memory()
    memory.now = signature(os.fsencode(file)).changed
    before = signature(os.fsencode(file))
    assert memory.of(file) == digest_of(b"one")
    file.write_bytes(b"two")
    name = os.fsencode(file)
    # What a coarse clock makes of it: every field of the signature is as before.
    assert memory.digests.known(name, before) is None
    assert memory.of(file) == digest_of(b"two")


def test_the_moment_before_reading_decides(file: Path) -> None:
    memory = Memory()
    changed = signature(os.fsencode(file)).changed
    memory.now = changed + SETTLED_NS

    def long_pause() -> None:
        memory.now += HOUR

    memory.before_second_look = long_pause
    memory.of(file)
    assert len(memory.digests) == 0


def test_a_times_in_the_future_is_not_remembered(file: Path) -> None:
    memory = Memory()
    later = memory.now + HOUR
    os.utime(file, ns=(later, later))
    memory.of(file)
    assert len(memory.digests) == 0


@pytest.mark.parametrize("fs_type", [NFS, FUSE, 0, -2])
def test_network_file_systems_are_never_remembered(file: Path, fs_type: int) -> None:
    memory = Memory(fs_type)
    assert memory.of(file) == digest_of(b"one")
    assert len(memory.digests) == 0


def test_the_file_system_is_asked_once_in_ten_seconds(file: Path) -> None:
    memory = Memory()
    name = os.fsencode(file)
    found = signature(name)
    for _ in range(3):
        memory.digests.settled(name, found, memory.now)
    assert memory.types_asked == 1
    memory.digests.settled(name, found, memory.now + 10 * 10**9)
    assert memory.types_asked == 2
    memory.digests.settled(name, found, memory.now - 1)
    assert memory.types_asked == 3


def test_another_mount_of_the_same_number_is_asked_anew(file: Path) -> None:
    memory = Memory()
    memory.of(file)
    memory.fs_type = NFS
    memory.now += 11 * 10**9
    name = os.fsencode(file)
    assert not memory.digests.settled(name, signature(name), memory.now)


@pytest.mark.parametrize("change", ["edit", "grow", "shrink", "remove"])
def test_a_file_that_changes_while_it_is_read_has_no_digest(file: Path, change: str) -> None:
    def disturb() -> None:
        match change:
            case "edit":
                file.write_bytes(b"two")
            case "grow":
                file.write_bytes(b"longer")
            case "shrink":
                file.write_bytes(b"")
            case "remove":
                file.unlink()

    memory = Memory()
    os.utime(file, (1, 1))
    memory.before_second_look = disturb
    assert memory.of(file) is None
    assert len(memory.digests) == 0


def test_a_signature_from_before_a_change_gets_no_digest(file: Path) -> None:
    memory = Memory()
    name = os.fsencode(file)
    before = signature(name)
    os.utime(file, (1, 1))
    assert memory.digests.digest(name, before) is None
    assert memory.digests.program(name, before) is None


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe", "long"])
def test_what_is_not_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    match kind:
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "long":
            path.write_bytes(b"12345")
    assert Memory().digests.read(os.fsencode(path), limit=4) is None


def test_nothing_has_no_digest() -> None:
    assert Memory().digests.digest(b"/no/such/file", NO_FILE) is None


@pytest.mark.parametrize(("at", "disables"), [(0, True), (4000, True), (4090, False)])
def test_the_comment_that_disables_stands_near_the_beginning(
    file: Path, at: int, disables: bool
) -> None:
    file.write_bytes(b" " * at + b"/* ccache:disable */")
    memory = Memory()
    found = memory.of(file)
    assert (found in memory.digests.disabling) is disables


def test_the_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "MEMO_LIMIT", 3)
    memory = Memory()
    for number in range(10):
        path = tmp_path / str(number)
        path.write_text(str(number))
        memory.of(path)
        assert len(memory.digests) <= 3


def test_the_clock_is_that_of_new_files(tmp_path: Path) -> None:
    before = file_clock()
    (tmp_path / "new").write_text("")
    made = signature(os.fsencode(tmp_path / "new")).mtime
    # Kernels with fine-grained stamps may be ahead of the coarse clock, never of the real one.
    assert before <= made <= time.time_ns()


def test_a_program_that_is_shorter_than_it_was(tmp_path: Path) -> None:
    path = tmp_path / "cc1"
    path.write_bytes(bytes(2 * BLOCK))
    before = signature(bytes(path))
    path.write_bytes(bytes(BLOCK))
    assert Memory().digests.program(bytes(path), before) is None
    path.unlink()
    assert Memory().digests.program(bytes(path), before) is None


def test_a_program_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path, memory, found = tmp_path / "cc1", Memory(), set()
    for content in (b"one", b"two"):
        path.write_bytes(content)
        os.utime(path, (1, 1))
        found.add(memory.digests.program(bytes(path), signature(bytes(path))))
    assert len(found) == 2
