"""What is remembered of a search chain gives the same answer as looking each time."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
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

DIRECTORIES = ("src", "src/sub", "inc", "inc/sub", "inc/deep/sub", "sys", "sys/sub", "gone", "two")
NAMES = ("a.h", "b.h", "sub/a.h", "sub/c.h", "../a.h", "deep/sub/a.h", "vector", "B.h", "\xe4.h")
CHAIN = SearchChain((b"two",), (b"inc", b"gone/nowhere", b"./inc/deep", b"sys", b"src/../two"))


class Tree:
    """Directories with headers that come, go and change their kind."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.random = root, random.Random(seed)
        for _ in range(30):
            self.change()

    def change(self) -> None:
        """One thing more, less or other, if it can be done."""
        with contextlib.suppress(OSError):
            self.do()

    def do(self) -> None:
        choose = self.random.choice
        directory = self.root / choose(DIRECTORIES)
        path = directory / choose(NAMES)
        match choose(
            ("file", "file", "file", "gone", "directory", "link", "all gone", "swap", "precompiled")
        ):
            case "precompiled" if path.parent.is_dir():
                path.with_name(path.name + ".gch").write_text("")
            case "file" if not path.exists() and not path.parent.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.is_symlink():
                    path.write_text("")
            case "gone" if path.is_file() or path.is_symlink():
                path.unlink()
            case "directory" if not path.exists() and not path.is_symlink():
                if not path.parent.is_file():
                    path.mkdir(parents=True)
            case "link" if directory.is_dir() and not path.is_symlink() and not path.exists():
                if path.parent.is_dir():
                    target = self.root / choose(DIRECTORIES) / choose(NAMES)
                    path.symlink_to(choose((target, self.root / "nothing", directory)))
            case "all gone" if self.random.random() < 0.2:
                shutil.rmtree(directory, ignore_errors=True)
            case "swap" if path.is_file() and not path.is_symlink():
                path.unlink()
                path.mkdir()

    def compile(self) -> dict[bytes, Directives]:
        """The texts of a compile that read some of the files that are there."""
        (self.root / "src").mkdir(exist_ok=True)
        found = [b"src/m.c"]
        found += (
            str(path.relative_to(self.root)).encode()
            for directory in DIRECTORIES
            for path in sorted((self.root / directory).glob("*"))
            if path.is_file() and self.random.random() < 0.7
        )
        return {name: self.text() for name in dict.fromkeys(found)}

    def text(self) -> Directives:
        lines = []
        for _ in range(self.random.randrange(4)):
            name = self.random.choice(NAMES)
            form = self.random.choice(("<%s>", '"%s"'))
            line = self.random.choice(
                ("#include %s", "#include %s", "#include %s", "#if __has_include(%s)\n#endif")
            )
            if self.random.random() < 0.05:
                line = self.random.choice(
                    ("#include_next %s", "#if __has_include_next(%s)\n#endif")
                )
            lines.append(line % (form % name))
        return scan("\n".join(lines).encode())


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
