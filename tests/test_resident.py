"""What a server remembers between calls, and what keeps it true."""

from __future__ import annotations

import os
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pycc import ready
from pycc import resident as residing
from pycc.cache.directory import CacheDirectory
from pycc.frame import Exit, Shared, Write, read_reply, read_request, write_reply
from pycc.lifecycle import Place
from pycc.memos import Memo, Records, drop_oldest
from pycc.native import ABSENT, SAME, pack, signature
from pycc.resident import Resident
from pycc.talk import NotHere
from tests.compile_kit import Bench, frame_of_call
from tests.test_frame import a_request as frame_of

# Not the root, where anybody's first mount or directory is made.
STILL = pack(SAME, b"/usr", signature(b"/usr"))


def pair(value: str) -> tuple[bytes, str]:
    return STILL, value


def holding(path: Path) -> bytes:
    return pack(SAME, os.fsencode(path), signature(os.fsencode(path)))


class TestMemo:
    """A table of values with their witnesses."""

    def test_a_value_is_made_once(self) -> None:
        memo, made = Memo(10), iter([(STILL, "one"), (STILL, "two")])
        for _ in range(2):
            assert memo.get("key", lambda: next(made)) == (STILL, "one")

    def test_a_value_whose_witness_fails_is_made_again(self, tmp_path: Path) -> None:
        memo, path = Memo(10), tmp_path / "f"
        path.write_text("")
        assert memo.get("key", lambda: (holding(path), 1))[1] == 1
        path.write_text("more")
        assert memo.get("key", lambda: (holding(path), 2))[1] == 2

    def test_it_is_bounded(self) -> None:
        memo = Memo(3)
        for number in range(10):
            memo.get(number, partial(pair, str(number)))
        assert len(memo._entries) == 3
        assert memo.get(9, lambda: (STILL, "new"))[1] == "9"
        assert memo.get(0, lambda: (STILL, "new"))[1] == "new"

    def test_what_was_dropped_is_made_again(self) -> None:
        memo = Memo(3)
        memo.get("key", lambda: (STILL, 1))
        memo.drop("key")
        memo.drop("other")
        assert memo.get("key", lambda: (STILL, 2))[1] == 2

    def test_a_value_that_cannot_be_made_here_leaves_nothing(self) -> None:
        memo = Memo(3)

        def fail() -> tuple[bytes, int]:
            raise NotHere

        with pytest.raises(NotHere):
            memo.get("key", fail)
        assert memo.get("key", lambda: (STILL, 1))[1] == 1


def test_room_is_made_in_an_empty_table() -> None:
    table: dict[str, int] = {}
    drop_oldest(table)
    assert table == {}


def in_threads(work: Callable[[int], None], number: int = 6) -> list[BaseException]:
    """What was raised by ``work`` on some threads at once."""
    raised: list[BaseException] = []

    def run(which: int) -> None:
        try:
            work(which)
        except BaseException as problem:
            raised.append(problem)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.fixture
def quick_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def a_frame(number: int = 0) -> bytes:
    return frame_of(b"gcc\0-c\0%d.c\0" % number)


class TestEnvironments:
    """The variables of calls."""

    def test_equal_blocks_are_one(self) -> None:
        resident = Resident()
        assert resident.environment(b"A=1\0") is resident.environment(b"A=1\0")

    def test_they_are_bounded(self) -> None:
        resident = Resident()
        for number in range(residing.ENVIRONMENTS + 20):
            resident.environment(b"A=%d\0" % number)
        assert len(resident._environments) == residing.ENVIRONMENTS

    def test_no_two_have_one_number(self, quick_switches: None) -> None:
        resident = Resident()
        found: dict[int, set[bytes]] = {}

        def ask(which: int) -> None:
            for number in range(300):
                block = b"A=%d %d\0" % (which, number)
                found.setdefault(resident.environment(block).number, set()).add(block)

        assert in_threads(ask) == []
        assert all(len(blocks) == 1 for blocks in found.values())


def test_records_are_numbered_once() -> None:
    records = Records()
    one = records.number([b"a", b"b", b"a"])
    two = records.number([b"b", b"c"])
    assert list(one) == [0, 1, 0]
    assert records.take(two) == [b"b", b"c"]
    assert len(records) == 3


class FakeCache:
    """A cache directory whose one value is the test's."""

    def __init__(self) -> None:
        self.value: bytes | None = b"object"
        self.gone = False
        self.counted: list[dict[str, int]] = []
        self.touched: list[bytes] = []
        self.storage = self

    def replaced(self) -> bool:
        return self.gone

    def get(self, key: bytes) -> bytes | None:
        return self.value

    def count(self, counts: dict[str, int]) -> None:
        self.counted.append(counts)

    def touch(self, key: bytes) -> None:
        self.touched.append(key)

    def abandon(self) -> None:
        pass

    def tick(self) -> None:
        pass

    def close(self) -> None:
        pass


def deliver(value: bytes, room: object = None) -> list[Write | Exit] | None:
    return None if value == b"useless" else [Write(b"a.o", value), Exit(0)]


class Hot:
    """A resident with one call that was a direct hit."""

    def __init__(self, tmp_path: Path) -> None:
        self.resident = Resident()
        self.cache = FakeCache()
        self.file = tmp_path / "a.c"
        self.file.write_text("one")
        self.frame = a_frame()
        self.remember()

    def remember(self, key: bytes = b"R1", cache: FakeCache | None = None) -> None:
        self.resident.remember(
            read_request(self.frame),
            [holding(self.file)],
            cache or self.cache,  # type: ignore[arg-type]
            (b"M", key),
            deliver,
            {"direct_cache_hit": 1},
        )

    def reply(self) -> bytes | None:
        """The object in the reply, None when the call is not answered at once."""
        reply = self.resident.quick(self.frame)
        assert reply is None or isinstance(reply, bytes)
        if reply is None:
            return None
        write = read_reply(reply)[0]
        assert isinstance(write, Write)
        return write.data


@pytest.fixture
def hot(tmp_path: Path) -> Hot:
    return Hot(tmp_path)


class TestHotCalls:
    """Calls that are answered from their witnesses."""

    def test_it_is_answered(self, hot: Hot) -> None:
        assert hot.reply() == b"object"
        assert hot.resident.quick(hot.frame) == write_reply(deliver(b"object") or [])

    @pytest.mark.parametrize(
        "fields",
        [
            {"argv": b"gcc\0-c\0b.c\0"},
            {"environment": b"A=2\0"},
            {"cwd": b"/v"},
            {"umask": 0},
            {"flags": 1},
        ],
    )
    def test_another_call_is_not(self, hot: Hot, fields: dict[str, Any]) -> None:
        same: dict[str, Any] = {"argv": b"gcc\0-c\x000.c\0"}
        assert hot.resident.quick(frame_of(**same)) is not None
        assert hot.resident.quick(frame_of(**{**same, **fields})) is None

    def test_not_after_a_witness_failed(self, hot: Hot) -> None:
        hot.reply()
        hot.file.write_text("two")
        assert hot.reply() is None

    def test_not_with_the_reply_to_an_older_content(self, hot: Hot) -> None:
        assert hot.reply() == b"object"
        hot.file.write_text("two")
        hot.cache.value = b"new object"
        hot.remember(b"R2")
        assert hot.reply() == b"new object"
        assert hot.reply() == b"new object"

    def test_not_when_the_value_is_gone(self, hot: Hot) -> None:
        hot.cache.value = None
        assert hot.reply() is None

    def test_not_when_the_value_does_not_serve(self, hot: Hot) -> None:
        hot.cache.value = b"useless"
        assert hot.reply() is None

    def test_not_when_the_directory_was_replaced(self, hot: Hot) -> None:
        hot.reply()
        hot.cache.gone = True
        assert hot.reply() is None
        hot.cache.gone = False
        assert hot.reply() is None, "everything of it was forgotten"

    def test_not_after_entries_were_removed(self, hot: Hot) -> None:
        hot.reply()
        hot.resident.forget_hits()
        assert hot.reply() is None

    def test_it_is_counted_with_the_next_tick(self, hot: Hot) -> None:
        for _ in range(3):
            hot.reply()
        hot.resident.tick(0.0)
        assert hot.cache.counted == [{"direct_cache_hit": 1}] * 3
        assert hot.cache.touched == [b"M", b"R1"] * 3
        hot.resident.tick(0.0)
        assert len(hot.cache.counted) == 3

    def test_two_may_count_at_once(self, hot: Hot, quick_switches: None) -> None:
        for _ in range(2000):
            hot.reply()
        assert in_threads(lambda _: hot.resident.settle()) == []
        assert len(hot.cache.counted) == 2000

    def test_they_are_bounded(self, hot: Hot, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(residing, "HOT_CALLS", 5)
        for number in range(20):
            hot.frame = a_frame(number)
            hot.remember()
            assert hot.reply() == b"object"
            assert len(hot.resident._hot) <= 5

    def test_their_witnesses_are_bounded(
        self, hot: Hot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(residing, "HOT_RECORDS", 5)
        for number in range(20):
            hot.file = tmp_path / f"{number}.c"
            hot.file.write_text("")
            hot.frame = a_frame(number)
            hot.remember()
            assert hot.reply() == b"object"
            assert len(hot.resident._records) <= 5

    def test_kept_replies_are_bounded(self, hot: Hot, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ready, "BYTES_SIZE", 5000)
        hot.cache.value = bytes(1000)
        for number in range(20):
            hot.frame = a_frame(number)
            hot.remember()
            hot.reply()
            kept = [reply for _, reply in hot.resident._replies._small.values()]
            assert 0 < sum(map(len, kept)) <= 5000

    def test_threads_that_remember_do_not_mix_up_witnesses(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_switches: None
    ) -> None:
        monkeypatch.setattr(residing, "HOT_RECORDS", 50)
        resident, cache = Resident(), FakeCache()
        resident.environment(b"A=1\0")
        good = [pack(ABSENT, b"/no/%d" % i) for i in range(40)]
        bad = [pack(ABSENT, b"/" + b"/" * i) for i in range(40)]
        wrong: list[int] = []

        def work(which: int) -> None:
            for number in range(150):
                frame = a_frame(which * 1000 + number)
                records = good[number % 30 : number % 30 + 5]
                if which % 2:
                    records = [*records, bad[number % 40]]
                keys = (b"M", b"R")
                request = read_request(frame)
                resident.remember(request, records, cache, keys, deliver, {})  # type: ignore[arg-type]
                if resident.quick(frame) is not None and which % 2:
                    wrong.append(number)

        assert in_threads(work) == []
        assert wrong == []


def test_ticks_and_new_cache_directories_do_not_meet(tmp_path: Path, quick_switches: None) -> None:
    resident = Resident()
    done = threading.Event()

    def work(which: int) -> None:
        if which == 0:
            while not done.is_set():
                resident._dirty = True
                resident.tick(0.0)
        else:
            for number in range(300):
                resident._caches[str(number), None] = FakeCache()  # type: ignore[assignment]
            done.set()

    assert in_threads(work, 2) == []


class TestDirectives:
    """What texts ask for, by their content."""

    def test_a_content_is_read_once(self, tmp_path: Path) -> None:
        path = tmp_path / "a.h"
        path.write_text('#include "b.h"\n')
        name = os.fsencode(path)
        resident = Resident()
        digest = resident.digests.digest(name, signature(name))
        assert digest is not None
        asked = resident.directives(name, digest)
        assert asked is not None
        assert b"b.h" in asked.quoted
        path.unlink()
        assert resident.directives(name, digest) is asked

    def test_another_content_is_not_taken_for_it(self, tmp_path: Path) -> None:
        path = tmp_path / "a.h"
        path.write_text("")
        assert Resident().directives(os.fsencode(path), b"another") is None

    def test_they_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(residing, "DIRECTIVES", 3)
        resident = Resident()
        for number in range(10):
            resident.learn(b"%d" % number, b"")
            assert len(resident._directives) <= 3


def test_doubtful_directories_are_bounded_and_kept_once() -> None:
    resident = Resident()
    for number in range(residing.DOUBTFUL + 50):
        resident.doubt(b"/%d" % number)
        resident.doubt(b"/%d" % number)
    assert len(resident.doubtful_directories()) == residing.DOUBTFUL
    assert resident.doubtful_directories()[-1] == b"/%d" % (residing.DOUBTFUL + 49)


class TestLeaving:
    """When the server is to end."""

    def test_when_told(self) -> None:
        resident = Resident()
        assert not resident.should_leave()
        resident.leave()
        assert resident.should_leave()

    def test_when_it_is_too_large(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(residing, "memory_in_use", lambda: residing.MEMORY_LIMIT + 1)
        assert Resident().should_leave()

    def test_when_it_runs_out_of_descriptors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        resident = Resident()
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        monkeypatch.setattr(residing, "descriptors_in_use", lambda: soft * 3 // 4)
        assert not resident.should_leave()
        monkeypatch.setattr(residing, "descriptors_in_use", lambda: soft * 3 // 4 + 1)
        assert resident.should_leave()

    def test_memory_and_descriptors_are_measured(self) -> None:
        assert 5 << 20 < residing.memory_in_use() < 2 << 30
        before = residing.descriptors_in_use()
        with open(os.devnull, "rb"), open(os.devnull, "rb"):
            assert residing.descriptors_in_use() == before + 2 > 2


def test_fallbacks_are_counted_where_somebody_looks(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "build-id"))
    place.fallbacks.write_text("server_gone\nserver_gone\n")
    cache = FakeCache()
    Resident(place).read_fallbacks(cache)  # type: ignore[arg-type]
    Resident(None).read_fallbacks(cache)  # type: ignore[arg-type]
    assert cache.counted == [{"pycc_launcher_server_gone": 2}]


class TestWithCompiler:
    """Hot calls of a real compile."""

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[Bench]:
        bench = Bench(tmp_path).setup()
        bench.file("inc1/keep.h", "")
        (bench.cwd / "out").mkdir()
        bench.file("inc2/sub/h.h", "#define V 1\n")
        bench.file("a.c", "#include <sub/h.h>\nint x = V;\n")
        # What is younger than two seconds is not pinned.
        late = bench.resident.digests._clock
        bench.resident.digests._clock = lambda: late() + 10**11
        bench.resident.verifier._clock = bench.resident.digests._clock
        yield bench
        bench.close()

    LINE = "-c -Iinc1 -Iinc2 a.c -o out/a.o"

    def quick(self, bench: Bench) -> bytes | None:
        words = [b"gcc", *self.LINE.encode().split()]
        frame = frame_of_call(words, bench.variables, os.fsencode(bench.cwd))
        reply = bench.resident.quick(frame)
        assert reply is None or isinstance(reply, bytes)
        if reply is None:
            return None
        write = read_reply(reply)[0]
        assert isinstance(write, Write)
        return write.data

    def warm(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> bytes:
        clock = bench.resident.digests._clock
        monkeypatch.setattr("pycc.job.file_clock", clock)
        for _ in range(2):
            bench.call(self.LINE)
        made = (bench.cwd / "out/a.o").read_bytes()
        assert self.quick(bench) == made
        return made

    def test_a_miss_has_its_next_reply_ready(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pycc.job.file_clock", bench.resident.digests._clock)
        monkeypatch.setattr(type(bench.resident), "stays", True)
        bench.call(self.LINE)
        bench.resident.drain()
        monkeypatch.setattr("pycc.cache.directory.CacheDirectory.get", lambda *_: None)
        assert self.quick(bench) == (bench.cwd / "out/a.o").read_bytes()

    def test_so_has_one_with_a_large_object(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pycc.job.file_clock", bench.resident.digests._clock)
        monkeypatch.setattr(type(bench.resident), "stays", True)
        get = CacheDirectory.get
        words = [b"gcc", *self.LINE.encode().split()]
        frame = frame_of_call(words, bench.variables, os.fsencode(bench.cwd))
        for number in range(3):
            bench.file("a.c", f"int a[200000] = {{{number + 1}}};\n")
            bench.call(self.LINE)
            bench.resident.drain()
            monkeypatch.setattr(CacheDirectory, "get", lambda *_: None)
            reply = bench.resident.quick(frame)
            monkeypatch.setattr(CacheDirectory, "get", get)
            assert isinstance(reply, ready.Ready)
            shared = read_reply(b"".join(reply.parts))[0]
            assert isinstance(shared, Shared)
            content = os.pread(reply.fd, shared.size, shared.at)
            assert content == (bench.cwd / "out/a.o").read_bytes()

    def test_an_edited_header_is_seen(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        made = self.warm(bench, monkeypatch)
        bench.file("inc2/sub/h.h", "#define V 2\n")
        assert self.quick(bench) is None
        for _ in range(2):
            bench.call(self.LINE)
        assert self.quick(bench) == (bench.cwd / "out/a.o").read_bytes()
        assert (bench.cwd / "out/a.o").read_bytes() != made

    def test_a_header_below_a_directory_that_came_later_is_seen(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.warm(bench, monkeypatch)
        (bench.cwd / "inc1/sub").mkdir()
        assert self.quick(bench) is not None
        bench.file("inc1/sub/h.h", "#define V 2\n")
        assert self.quick(bench) is None

    def test_an_output_that_became_a_directory_is_seen(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.warm(bench, monkeypatch)
        (bench.cwd / "out/a.o").unlink()
        assert self.quick(bench) is not None
        (bench.cwd / "out/a.o").mkdir()
        assert self.quick(bench) is None
