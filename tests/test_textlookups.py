"""What is remembered of a search chain gives the same answer as looking each time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pycc import searched, textlookups
from pycc.cache.digest import file_clock
from pycc.directives import Directives, scan
from pycc.includes import Absent, absent, precompiled
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


def test_what_is_precompiled_is_found_without_asking_for_the_rest(tmp_path: Path) -> None:
    found = 0
    for seed in range(20):
        root = tmp_path / str(seed)
        root.mkdir()
        tree, resident = Tree(root, seed), Resident()
        texts = tree.compile()
        for number in range(15):
            tree.change()
            if number % 5 == 0:
                texts = tree.compile()
            look = Looker(bytes(root), resident)
            fresh, known = (
                precompiled(texts[b"src/m.c"], b"src/m.c", CHAIN, look.probes(), remembered=one)
                for one in (None, look.remembered(CHAIN))
            )
            assert fresh == known
            found += len(known)
    assert found


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


@pytest.fixture
def switched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Resident:
    """A chain that begins behind the link ``cur``, which leads to v1, where no a.h is; it is in v2
    and in sys. Whatever is found is believed at once."""
    for name in ("src", "v1/inc", "v2/inc/sub", "sys/sub"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("src/m.c", "sys/a.h", "v2/inc/a.h", "sys/sub/a.h", "v2/inc/sub/a.h"):
        (tmp_path / name).write_text("")
    (tmp_path / "v1/inc/sub").write_text("")
    (tmp_path / "cur").symlink_to("v1")
    resident = Resident()
    monkeypatch.setattr(resident.digests, "settled", lambda *_: True)
    return resident


BEHIND = SearchChain((), (b"cur/inc", b"sys"))


def switch(root: Path) -> None:
    (root / "new").symlink_to("v2")
    (root / "new").rename(root / "cur")


def in_vain(look: Looker, texts: dict[bytes, Directives]) -> tuple[bytes, ...]:
    """The files that lie where ``texts`` have others found."""
    remembered = look.remembered(BEHIND)
    found = absent(texts, b"src/m.c", BEHIND, look.probes(), remembered=remembered)
    return found.present_untaken


@pytest.mark.parametrize("name", [b"a.h", b"sub/a.h"])
def test_a_link_that_is_switched_while_one_look_lasts_deceives_no_later_one(
    tmp_path: Path, switched: Resident, name: bytes
) -> None:
    texts = {b"src/m.c": scan(b"#include <%s>" % name), b"sys/" + name: scan(b"")}
    look = Looker(bytes(tmp_path), switched)
    assert in_vain(look, texts) == ()
    switch(tmp_path)
    in_vain(look, texts)
    for resident in (switched, Resident()):
        assert in_vain(Looker(bytes(tmp_path), resident), texts) == (b"cur/inc/" + name,)


def test_two_names_of_one_directory_are_both_asked_about(
    tmp_path: Path, switched: Resident
) -> None:
    other = bytes(tmp_path) + b"/cur/inc/q.h"
    one = {b"src/m.c": scan(b"#include <a.h>"), b"sys/a.h": scan(b"")}
    two = {b"src/m.c": scan(b'#include "%s"' % other), other: scan(b'#include "k.h"')}
    first = Looker(bytes(tmp_path), switched)
    known = first.remembered(BEHIND)
    assert set(first.listing(b"cur/inc") or ()) == {b"sub"}
    switch(tmp_path)
    (tmp_path / "v2/inc/q.h").write_text("")
    second = Looker(bytes(tmp_path), switched)
    both_known = second.remembered(BEHIND)
    absent(one, b"src/m.c", BEHIND, first.probes(), remembered=known)
    absent(two, b"src/m.c", BEHIND, second.probes(), remembered=both_known)
    assert in_vain(Looker(bytes(tmp_path), switched), one) == (b"cur/inc/a.h",)


def test_a_listing_that_is_another_directorys_is_not_believed(
    tmp_path: Path, switched: Resident
) -> None:
    look = Looker(bytes(tmp_path), switched)
    assert look(b"cur/inc").is_directory
    switch(tmp_path)
    assert look.listing(b"cur/inc") is None


def lead(root: Path, version: str) -> None:
    (root / "next").symlink_to(version)
    (root / "next").rename(root / "cur")


def briefly(
    monkeypatch: pytest.MonkeyPatch, root: Path, function: str, version: str, end: bytes = b""
) -> None:
    """While that function of os is called, for a name with that end, ``cur`` leads to ``version``,
    afterwards again to v2."""
    real = getattr(os, function)

    def called(name: Any, *args: Any, **named: Any) -> Any:
        if isinstance(name, int) or not os.fsencode(name).endswith(end):
            return real(name, *args, **named)
        lead(root, version)
        try:
            return real(name, *args, **named)
        finally:
            lead(root, "v2")

    monkeypatch.setattr(os, function, called)


@pytest.mark.parametrize("function", ["open", "listdir"])
def test_a_link_that_is_switched_and_back_while_names_are_listed_deceives_nobody(
    tmp_path: Path, switched: Resident, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    lead(tmp_path, "v2")
    look = Looker(bytes(tmp_path), switched)
    assert look(b"cur/inc").is_directory
    briefly(monkeypatch, tmp_path, function, "v1")
    assert look.listing(b"cur/inc") in (None, {b"a.h", b"sub"})


@pytest.mark.parametrize("function", ["open", "stat"])
def test_a_link_that_is_switched_and_back_while_a_way_is_looked_for_deceives_no_later_one(
    tmp_path: Path, switched: Resident, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    texts = {b"src/m.c": scan(b"#include <sub/a.h>"), b"sys/sub/a.h": scan(b"")}
    lead(tmp_path, "v2")
    look = Looker(bytes(tmp_path), switched)
    assert look(b"cur/inc").is_directory
    with monkeypatch.context() as patch:
        briefly(patch, tmp_path, function, "v1", b"inc/sub" if function == "stat" else b"inc")
        in_vain(look, texts)
    assert in_vain(Looker(bytes(tmp_path), switched), texts) == (b"cur/inc/sub/a.h",)


def test_a_directory_whose_name_is_too_long_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    look = Looker(bytes(tmp_path), Resident())
    long = b"x" * 70_000

    def made(identity: Callable[[bytes], object]) -> SearchChain:
        return SearchChain((), tuple(name for name in (b"src", long) if identity(name)))

    for _ in range(2):
        chain = look.chain("key", made)
        assert chain.bracket == (b"src",)
