"""What is remembered of a search chain gives the same answer as looking each time."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pycc import searched, textlookups
from pycc.cache.digest import file_clock
from pycc.directives import Directives, scan
from pycc.includes import Absent, absent
from pycc.resident import Resident
from pycc.searchchain import SearchChain
from pycc.searched import Looker
from tests.header_tree import CHAIN, Tree


def both(
    texts: dict[bytes, Directives], cwd: bytes, resident: Resident, clang: bool
) -> tuple[Absent, Absent]:
    """(by looking each time, by what is remembered). What was read is there: others would have been
    refused before."""
    texts = {
        k: v
        for k, v in texts.items()
        if k == b"src/m.c" or (Path(os.fsdecode(cwd)) / os.fsdecode(k)).is_file()
    }
    look = Looker(cwd, resident)
    fresh, known = (
        absent(texts, b"src/m.c", CHAIN, look.probes(), remembered=remembered, clang=clang)
        for remembered in (None, look.remembered(CHAIN))
    )
    return fresh, known


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("settled", [False, True])
def test_the_answer_is_that_of_looking_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, settled: bool
) -> None:
    """``settled``: directories are believed by their signatures, a tick after each change."""
    resident = Resident()
    if settled:
        monkeypatch.setattr(resident.digests, "settled", lambda *_: True)
    tree = Tree(tmp_path, seed)
    compiles = [tree.compile() for _ in range(3)]
    for number in range(40):
        if number % 3 == 0:
            tree.change()
            compiles[tree.random.randrange(3)] = tree.compile()
        if settled:
            now = file_clock()
            while file_clock() <= now:
                time.sleep(0.001)
        for texts in compiles:
            fresh, known = both(texts, bytes(tmp_path), resident, clang=bool(number % 2))
            assert fresh == known


def test_what_is_known_of_standing_directories_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for directory in ("src", "inc", "sys", "two"):
        (tmp_path / directory).mkdir()
    (tmp_path / "inc/a.h").write_text("")
    resident = Resident()
    monkeypatch.setattr(resident.digests, "settled", lambda *_: True)
    texts = {b"src/m.c": scan(b"#include <a.h>"), b"inc/a.h": scan(b'#include "b.h"')}
    both(texts, bytes(tmp_path), resident, clang=True)
    look = Looker(bytes(tmp_path), resident)
    remembered = look.remembered(CHAIN)
    asked: list[bytes] = []
    probes = look.probes()

    def exists(path: bytes) -> bool:
        asked.append(path)
        return look.exists(path)

    probes.exists = exists
    absent(texts, b"src/m.c", CHAIN, probes, remembered=remembered, clang=True)
    assert asked == []


def test_a_file_that_became_a_directory_is_looked_for_again(tmp_path: Path) -> None:
    for directory in ("src", "inc", "sys", "two"):
        (tmp_path / directory).mkdir()
    (tmp_path / "inc/a.h").write_text("")
    (tmp_path / "sys/a.h").write_text("")
    resident = Resident()
    texts = {b"src/m.c": scan(b"#include <a.h>")}
    fresh, known = both(texts, bytes(tmp_path), resident, clang=True)
    assert fresh == known and fresh.present_untaken == (b"inc/a.h",)
    (tmp_path / "inc/a.h").unlink()
    (tmp_path / "inc/a.h").mkdir()
    fresh, known = both(texts, bytes(tmp_path), resident, clang=True)
    assert fresh == known and fresh.present_untaken == (b"sys/a.h",)


def test_too_many_lookups_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textlookups, "MOST_LOOKUPS", 1)
    for directory in ("src", "inc"):
        (tmp_path / directory).mkdir()
    resident = Resident()
    for name in (b"a.h", b"b.h"):
        texts = {b"src/m.c": scan(b"#include <%s>\n#include <x/%s>" % (name, name))}
        fresh, known = both(texts, bytes(tmp_path), resident, clang=True)
        assert fresh == known
        (lookups,) = resident.text_lookups.values()
        wanted = lookups.directories[b"inc"].wanted
        assert (b"a.h" in wanted) == (name == b"a.h")


def test_too_many_chains_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searched, "TEXT_LOOKUPS", 2)
    resident = Resident()
    look = Looker(bytes(tmp_path), resident)
    for number in range(5):
        look.remembered(SearchChain((), (b"%d" % number,)))
        assert len(resident.text_lookups) <= 2


def test_what_all_chains_hold_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searched, "TEXT_LOOKUP_BYTES", 100_000)
    (tmp_path / "src").mkdir()
    resident = Resident()
    sizes = []
    for number in range(100):
        chain = SearchChain((), (b"src", b"%d" % (number % 3)))
        look = Looker(bytes(tmp_path), resident)
        texts = {b"src/%d.c" % number: scan(b'#include "%d.h"' % number)}
        absent(texts, next(iter(texts)), chain, look.probes(), remembered=look.remembered(chain))
        sizes.append(sum(one.size for one in resident.text_lookups.values()))
    assert 50_000 < max(sizes) < 110_000


def test_many_texts_that_ask_for_the_same_are_not_kept_for_ever(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    resident = Resident()
    asked = scan(b"#include <a.h>")
    for number in range(3):
        texts = {b"src/%d.c" % number: asked}
        both_of = Looker(bytes(tmp_path), resident)
        known = both_of.remembered(CHAIN)
        before = known.lookups.size
        absent(texts, next(iter(texts)), CHAIN, both_of.probes(), remembered=known)
        assert known.lookups.size >= before + textlookups.TEXT_BYTES


def test_a_file_that_is_found_behind_one_beside_the_text_is_explained(tmp_path: Path) -> None:
    """Else a place was named for it where nobody had looked."""
    for name in ("src/m.c", "src/sub/a.h", "src/sub/x/b.h", "inc/x/b.h", "sys/c.h"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    texts = {
        b"src/m.c": scan(b""),
        b"src/sub/a.h": scan(b'#include "x/b.h"'),
        b"inc/x/b.h": scan(b""),
    }
    chain = SearchChain((), (b"sys", b"inc", b"inc/x"))
    look = Looker(bytes(tmp_path), Resident())
    fresh, known = (
        absent(texts, b"src/m.c", chain, look.probes(), remembered=remembered)
        for remembered in (None, look.remembered(chain))
    )
    assert fresh == known


def test_a_chain_that_begins_beside_the_text_is_followed_past_a_file_that_was_not_read(
    tmp_path: Path,
) -> None:
    for name in ("src/m.c", "src/a.h", "src/vector", "inc/vector"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "two").mkdir()
    texts = {
        b"src/m.c": scan(b""),
        b"src/a.h": scan(b'#include "vector"'),
        b"inc/vector": scan(b'#include "vector"'),
    }
    chain = SearchChain((b"src", b"two"), (b"inc",))
    look = Looker(bytes(tmp_path), Resident())
    fresh, known = (
        absent(texts, b"src/m.c", chain, look.probes(), remembered=remembered)
        for remembered in (None, look.remembered(chain))
    )
    assert fresh == known
    assert (b"two", (b"vector",)) in fresh.groups
