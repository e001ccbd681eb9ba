"""The remote tier over backends that do as they are told."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest

from pycc.cache import remote_storage as tier
from pycc.cache.remote_backend import Say, StorageFailed, StorageRefused
from pycc.cache.remote_breaker import Breaker
from pycc.cache.remote_settings import parse_storages
from pycc.cache.remote_storage import Put, Remotes, RemoteStorage, Visit
from pycc.cache.storage import seal
from tests.storage_kit import Clock, key, manifest, value


class Fake:
    """A backend in memory; ``failure`` is raised instead of an answer."""

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}
        self.failure: StorageFailed | None = None
        self.asked = 0
        self.written: list[bytes] = []
        self.gate = threading.Event()
        self.gate.set()

    def _answer(self) -> None:
        self.asked += 1
        assert self.gate.wait(10)
        if self.failure is not None:
            raise self.failure

    def get(self, key: bytes, say: Say) -> bytes | None:
        self._answer()
        return self.entries.get(key)

    def put(self, key: bytes, value: bytes, say: Say, *, overwrite: bool) -> bool:
        self._answer()
        self.written.append(key)
        if key in self.entries and not overwrite:
            return False
        self.entries[key] = value
        return True

    def remove(self, key: bytes, say: Say) -> bool:
        self._answer()
        return self.entries.pop(key, None) is not None

    def give_up(self) -> None:
        return

    def stop(self) -> bool:
        return False

    def close(self) -> None:
        return


class Bench:
    def __init__(self, setting: str = "x:/a", watched: bool = False) -> None:
        self.backends = [Fake() for _ in parse_storages(setting)]
        self.warnings: list[str] = []
        self.counts: Counter[str] = Counter()
        fakes = iter(self.backends)
        self.remotes = Remotes(
            [
                RemoteStorage(one, lambda _: next(fakes), watched=watched)
                for one in parse_storages(setting)
            ],
            self.warnings.append,
        )

    def visit(self, synchronous: bool = True) -> Visit:
        def count(name: str) -> None:
            self.counts[name] += 1

        return Visit(lambda _: None, count, count, synchronous)

    def get(self, key: bytes) -> list[bytes]:
        return list(self.remotes.values(key, self.visit()))

    def put(self, *keys: bytes, synchronous: bool = True) -> None:
        visit = self.visit(synchronous)
        visit.puts += [Put(one, value(1), True) for one in keys]
        self.remotes.flush(visit)


def test_what_is_put_is_found_under_its_key_alone() -> None:
    bench = Bench()
    bench.put(key(1), manifest(2))
    assert bench.get(key(1)) == bench.get(manifest(2)) == [value(1)]
    assert bench.get(manifest(1)) == bench.get(key(3)) == []
    assert bench.counts == {
        tier.WRITE: 2,
        tier.READ_HIT: 2,
        tier.HIT: 1,
        tier.READ_MISS: 1,
        tier.ERROR: 1,
    }


def test_an_entry_of_another_key_is_an_error() -> None:
    bench = Bench()
    bench.backends[0].entries[key(1)[1:]] = seal(key(2), value(1))
    assert bench.get(key(1)) == []
    assert bench.counts == {tier.ERROR: 1}


def test_writing_goes_on_behind_the_callers_back_and_is_seen_at_once() -> None:
    bench = Bench()
    bench.backends[0].gate.clear()
    start = time.monotonic()
    bench.put(key(1), manifest(1), synchronous=False)
    assert bench.get(key(1)) == [value(1)]
    assert not bench.remotes.written(0.05)
    assert time.monotonic() - start < 5
    bench.backends[0].gate.set()
    assert bench.remotes.written(10)
    assert bench.backends[0].written == [key(1)[1:], manifest(1)[1:]], "the manifest comes last"


def test_what_is_too_much_is_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tier, "WAITING_LIMIT", 5000)
    bench = Bench()
    bench.backends[0].gate.clear()
    for number in range(5):
        bench.put(key(number), synchronous=False)
    assert bench.counts[tier.NOT_WRITTEN] == 3
    bench.backends[0].gate.set()
    assert bench.remotes.written(10)
    assert bench.counts[tier.WRITE] == 2


def test_many_writers_write_everything() -> None:
    bench = Bench("x:/a x:/b")
    for number in range(200):
        bench.put(key(number), synchronous=False)
    assert bench.remotes.written(20)
    assert [len(backend.entries) for backend in bench.backends] == [200, 200]
    bench.remotes.close(1)


def test_a_storage_that_fails_is_asked_once_and_counted_once_a_call() -> None:
    bench = Bench("x:/a x:/b")
    bench.put(key(1))
    bench.backends[0].failure = StorageFailed("gone", timeout=True)
    asked = bench.backends[0].asked
    bench.counts.clear()
    for _ in range(3):
        visit = bench.visit()
        for one in (manifest(7), key(1)):
            list(bench.remotes.values(one, visit))
        visit.puts.append(Put(key(5), b"x", True))
        bench.remotes.flush(visit)
    assert bench.backends[0].asked == asked + 1
    assert bench.counts[tier.TIMEOUT] == 3
    assert bench.counts[tier.READ_HIT] == 3
    assert len(bench.warnings) == 1
    assert "x:/a is left alone until it answers: gone" in bench.warnings[0]


def test_a_storage_that_refuses_to_store_is_read() -> None:
    bench = Bench()
    bench.put(key(1))
    bench.backends[0].failure = StorageRefused("full")
    bench.put(key(2), key(3))
    bench.put(key(4))
    bench.backends[0].failure = None
    assert bench.get(key(1)) == [value(1)]
    assert bench.counts[tier.ERROR] == 2
    assert bench.backends[0].asked == 3
    assert len(bench.warnings) == 1


def test_a_storage_that_is_read_only_is_never_told_anything() -> None:
    bench = Bench("x:/a read-only x:/b")
    bench.put(key(1))
    assert [len(backend.entries) for backend in bench.backends] == [0, 1]
    assert bench.get(key(1)) == [value(1)]


def test_keys_are_divided_among_shards() -> None:
    setting = parse_storages("x:/* shards=a,b")
    fakes = {"/a": Fake(), "/b": Fake()}
    remotes = Remotes([RemoteStorage(setting[0], lambda shard: fakes[shard.url.path])])
    visit = Bench().visit()
    for number in range(40):
        visit.puts.append(Put(key(number), value(1), True))
        remotes.flush(visit)
    assert {len(fake.entries) for fake in fakes.values()} <= set(range(8, 33))
    assert all(list(remotes.values(key(n), visit)) == [value(1)] for n in range(40))


# The breaker.


def test_a_breaker_closes_when_there_is_an_answer() -> None:
    clock = Clock(0.0)
    answers = [StorageFailed("a"), StorageFailed("b"), None]
    pauses: list[float] = []

    def probe() -> None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.now += seconds

    breaker = Breaker(probe, watched=False, sleep=sleep, clock=clock)
    assert breaker.failure() is None
    assert breaker.trip(StorageFailed("gone"))
    assert not breaker.trip(StorageFailed("gone"))
    assert str(breaker.failure()) == "gone"
    breaker.watch()
    assert pauses == [0.5, 1.0, 2.0]
    assert breaker.failure() is None


def test_a_breaker_that_nobody_wants_closes_by_itself() -> None:
    clock = Clock(0.0)

    def probe() -> None:
        raise StorageFailed("still")

    def sleep(seconds: float) -> None:
        clock.now += seconds

    breaker = Breaker(probe, watched=False, sleep=sleep, clock=clock)
    breaker.trip(StorageFailed("gone"))
    breaker.watch()
    assert 120 <= clock.now < 160
    assert breaker.failure() is None


def test_a_breaker_whose_probe_breaks_leaves_nothing_behind() -> None:
    def probe() -> None:
        raise MemoryError

    breaker = Breaker(probe, watched=False, sleep=lambda _: None)
    breaker.trip(StorageFailed("gone"))
    with pytest.raises(MemoryError):
        breaker.watch()
    assert breaker.failure() is None


def test_a_breaker_without_a_thread_to_watch_stays_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    breaker = Breaker(lambda: None, watched=True)
    assert breaker.trip(StorageFailed("gone"))
    assert breaker.failure() is None


def test_a_storage_that_is_late_again_and_again_is_asked_less_and_less() -> None:
    """For an entry that nobody has there is an answer at once, for others there is none."""
    clock = Clock(0.0)

    def sleep(seconds: float) -> None:
        clock.now += seconds

    breaker = Breaker(lambda: None, watched=False, sleep=sleep, clock=clock)
    waits = 0
    while clock.now < 3600:
        clock.now += 10  # a compile waits
        waits += 1
        breaker.trip(StorageFailed("timeout", timeout=True))
        breaker.watch()
    assert waits < 20
    clock.now += 1000
    since = clock.now
    breaker.trip(StorageFailed("timeout", timeout=True))
    breaker.watch()
    assert clock.now - since < 1, "that was long ago"


def test_a_refusal_holds_up_writing_for_a_moment() -> None:
    clock = Clock(100.0)
    breaker = Breaker(lambda: None, watched=False, clock=clock)
    assert breaker.trip(StorageRefused("full"))
    assert breaker.failure() is None
    assert breaker.failure(writing=True) is not None
    clock.now += 3
    assert breaker.failure(writing=True) is None
    assert not breaker.trip(StorageRefused("full")), "told not long ago"
