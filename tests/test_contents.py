"""The store of contents: nothing but what a digest says, never too much, many writers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycc.cache.digest import digest_of
from pycc.remote import contents as module
from pycc.remote.contents import Contents, WrongContent
from pycc.remote.exact_root import content_name

LIMIT = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Contents]:
    made = Contents(str(tmp_path / "contents"), limit=LIMIT)
    yield made
    made.close()


def place(tmp_path: Path, content: bytes) -> Path:
    return tmp_path / "contents" / os.fsdecode(content_name(digest_of(content)))


def put(store: Contents, content: bytes) -> bytes:
    digest = digest_of(content)
    store.put(digest, content)
    return digest


def files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "contents").rglob("*") if path.is_file()]


@pytest.mark.parametrize("content", [b"", b"x", b"x" * 100_000])
def test_what_was_put_is_there_and_cannot_be_written(
    store: Contents, tmp_path: Path, content: bytes
) -> None:
    assert store.missing([digest_of(content)]) == (digest_of(content),)
    digest = put(store, content)
    assert store.missing([digest]) == ()
    path = place(tmp_path, content)
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o7777 == 0o444
    assert path.parent.stat().st_mode & 0o77 == 0


def test_each_missing_one_is_named_once(store: Contents) -> None:
    here, one, two = put(store, b"here"), digest_of(b"1"), digest_of(b"2")
    assert store.missing([two, here, one, two, here]) == (two, one)


def test_another_content_is_not_taken(store: Contents, tmp_path: Path) -> None:
    with pytest.raises(WrongContent, match="5 bytes is not"):
        store.put(digest_of(b"other"), b"these")
    assert files(tmp_path) == []


@pytest.mark.parametrize("damage", [b"", b"tra", b"tr0ing", b"training more"])
def test_a_damaged_content_is_missing_and_goes(
    store: Contents, tmp_path: Path, damage: bytes
) -> None:
    digest = put(store, b"training")
    assert store.missing([digest]) == ()
    path = place(tmp_path, b"training")
    path.chmod(0o644)
    path.write_bytes(damage)
    assert store.missing([digest]) == (digest,)
    assert not path.exists()
    put(store, b"training")
    assert store.missing([digest]) == ()


def test_a_damaged_content_is_found_by_the_next_daemon(store: Contents, tmp_path: Path) -> None:
    digest = put(store, b"training")
    path = place(tmp_path, b"training")
    times = path.stat()
    path.chmod(0o644)
    path.write_bytes(b"tr0ining")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    other = Contents(str(tmp_path / "contents"), limit=LIMIT)
    assert other.missing([digest]) == (digest,)
    other.close()


def test_a_link_is_no_content(store: Contents, tmp_path: Path) -> None:
    path = place(tmp_path, b"secret")
    path.parent.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    path.symlink_to(tmp_path / "secret")
    assert store.missing([digest_of(b"secret")]) == (digest_of(b"secret"),)


def test_what_fails_to_be_written_leaves_nothing(
    store: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(OSError, match="No space"):
        put(store, b"content")
    assert files(tmp_path) == []


def aged(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_what_was_not_asked_for_longest_goes_first(store: Contents, tmp_path: Path) -> None:
    texts = [b"%d" % n * (LIMIT // 8) for n in range(8)]
    digests = [put(store, text) for text in texts]
    assert store.make_room() == 0
    for n, text in enumerate(texts):
        aged(place(tmp_path, text), 10_000 - n)
    assert store.missing(digests[:1]) == ()  # asked for
    put(store, b"9" * (LIMIT // 8))
    assert set(store.missing(digests)) == {digests[1], digests[2]}
    assert sum(path.stat().st_size for path in files(tmp_path)) <= LIMIT


def test_the_limit_is_kept_without_being_asked(store: Contents, tmp_path: Path) -> None:
    for n in range(100):
        put(store, b"%03d" % n * (LIMIT // 60))
    total = sum(path.stat().st_size for path in files(tmp_path))
    assert LIMIT / 2 < total <= LIMIT * (1 + 2 / module.SLACK)


def test_what_a_killed_writer_left_goes(store: Contents, tmp_path: Path) -> None:
    put(store, b"content")
    left = place(tmp_path, b"content").with_name("tmp-old")
    left.write_bytes(b"half")
    aged(left, module.STALE_SECONDS + 60)
    fresh = left.with_name("tmp-new")
    fresh.write_bytes(b"half")
    store.make_room()
    assert not left.exists()
    assert fresh.exists()


def test_room_is_made_by_one_at_a_time(store: Contents, tmp_path: Path) -> None:
    for n in range(3):
        put(store, b"%d" % n * (LIMIT // 2 // 16))
    other = Contents(str(tmp_path / "contents"), limit=1)
    with module._held(str(tmp_path / "contents/lock")) as ours:
        assert ours
        assert other.make_room() == 0
    assert other.make_room() == 3 * (LIMIT // 2 // 16)
    other.close()


def test_many_processes_put_the_same(store: Contents, tmp_path: Path) -> None:
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from pycc.cache.digest import digest_of
from pycc.remote.contents import Contents
store = Contents({str(tmp_path / "contents")!r}, limit={LIMIT})
for _ in range(5):
    for n in range(40):
        text = b"%d" % n * 100
        store.put(digest_of(text), text)
        assert store.missing([digest_of(text)]) == ()
"""
    writers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    assert len(files(tmp_path)) == 40
    assert store.missing(digest_of(b"%d" % n * 100) for n in range(40)) == ()
