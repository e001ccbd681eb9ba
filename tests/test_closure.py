"""The files that a compile may read: the same by what is remembered as by looking each time."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pycc.cache.digest import file_clock
from pycc.closure import Closure
from pycc.resident import Resident
from pycc.searchchain import SearchChain
from tests.header_tree import CHAIN, DIRECTORIES, NAMES, Tree


def job(cwd: Path, source: bytes = b"src/m.c", chain: SearchChain = CHAIN) -> Any:
    """As much of one as is asked for."""
    include = SimpleNamespace(forced=((b"-include", b"sub/a.h"),))
    invocation = SimpleNamespace(source=source, include=include, args=())
    call = SimpleNamespace(cwd=bytes(cwd))
    return SimpleNamespace(call=call, chain=chain, invocation=invocation)


def found(cwd: Path, resident: Resident, *, remembers: bool) -> tuple[set[bytes], str, bool]:
    closure = Closure(job(cwd), resident, remembers=remembers)
    names = {os.path.normpath(name) for name in closure.names}
    return names, closure.reason, closure.absolute


class Written(Tree):
    """Files hold what the tree's texts ask for."""

    def write(self) -> None:
        (self.root / "src").mkdir(exist_ok=True)
        places = [self.root / d / n for d in DIRECTORIES for n in (*NAMES, "m.c")]
        for path in [self.root / "src/m.c", *filter(Path.is_file, places)]:
            if path.name == "m.c" or not path.stat().st_size or self.random.random() < 0.1:
                path.write_text(self.lines())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("settled", [False, True])
def test_the_files_are_those_of_looking_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, settled: bool
) -> None:
    """``settled``: files and directories are believed by their signatures, a tick after each
    change."""
    resident = Resident()
    if settled:
        monkeypatch.setattr(resident.digests, "settled", lambda *_: True)
    tree = Written(tmp_path, seed)
    most = 0
    for _ in range(30):
        tree.change()
        tree.write()
        if settled:
            now = file_clock()
            while file_clock() <= now:
                time.sleep(0.001)
        looked = found(tmp_path, Resident(), remembers=False)
        assert found(tmp_path, resident, remembers=True) == looked
        assert found(tmp_path, resident, remembers=True) == looked
        most = max(most, len(looked[0]))
    assert most > 2


def test_a_header_behind_a_link_that_leads_elsewhere_now_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = Resident()
    monkeypatch.setattr(resident.digests, "settled", lambda *_: True)
    for name in ("src", "inc", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "src/m.c").write_text("#include <a.h>")
    (tmp_path / "other/one.h").write_text('#include "b.h"')
    (tmp_path / "other/two.h").write_text('#include "c.h"')
    (tmp_path / "inc/b.h").write_text("")
    (tmp_path / "inc/c.h").write_text("")
    (tmp_path / "switch").symlink_to("other/one.h")
    (tmp_path / "inc/a.h").symlink_to("../switch")
    both = {b"src/m.c", b"inc/a.h"}
    assert found(tmp_path, resident, remembers=True) == (both | {b"inc/b.h"}, "", False)
    (tmp_path / "switch").unlink()
    (tmp_path / "switch").symlink_to("other/two.h")
    assert found(tmp_path, resident, remembers=True) == (both | {b"inc/c.h"}, "", False)
    (tmp_path / "switch").unlink()
    assert found(tmp_path, resident, remembers=True) == ({b"src/m.c"}, "", False)


def test_every_header_that_include_next_may_mean_is_taken(tmp_path: Path) -> None:
    for name in ("src", "inc", "sys"):
        (tmp_path / name).mkdir()
    (tmp_path / "src/m.c").write_text("#include <a.h>")
    (tmp_path / "inc/a.h").write_text("#include_next <a.h>")
    (tmp_path / "sys/a.h").write_text("")
    names = {b"src/m.c", b"inc/a.h", b"sys/a.h"}
    for remembers in (False, True):
        assert found(tmp_path, Resident(), remembers=remembers) == (names, "", False)


def test_a_name_that_is_absolute_is_told(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/m.c").write_text('#if __has_include("/nowhere/a.h")\n#endif')
    resident = Resident()
    for remembers in (False, True, True):
        assert found(tmp_path, resident, remembers=remembers) == ({b"src/m.c"}, "", True)
