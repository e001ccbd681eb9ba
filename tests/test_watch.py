"""A watched record is trusted only while nothing can have changed it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pycc import native, watch
from pycc.memos import Records
from pycc.watch import Watch, is_system
from tests.mounting import UNSHARE, need_private_mounts

Edit = Callable[[Path], object]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """system/include -> real/, with a.h and sub/b.h; another directory beside it."""
    root = Path(os.path.realpath(tmp_path)) / "system"
    (root / "real/sub").mkdir(parents=True)
    (root / "other/sub").mkdir(parents=True)
    (root / "include").symlink_to("real")
    for name in ("real/a.h", "real/sub/b.h", "other/a.h", "other/sub/b.h"):
        (root / name).write_text(f"int {name[0]};\n")
    monkeypatch.setattr(watch, "SYSTEM", (os.fsencode(root),))
    return root


@pytest.fixture
def watcher() -> Iterator[Watch]:
    found = Watch()
    yield found
    found.close()


def record(path: Path) -> bytes:
    name = os.fsencode(path)
    return native.pack(native.SAME, name, native.signature(name))


def covered(watcher: Watch, *paths: Path) -> tuple[Records, list[int]]:
    """A table in which these paths are verified, as a hot call would have it. The way to them leads
    through directories in which other tests work, and each of their changes ends the trust."""
    for _ in range(200):
        table = Records()
        numbers = table.number([record(path) for path in paths])
        table.begin(watcher.generation())
        table.cover(watcher, numbers)
        if still_trusted(watcher, table, numbers):
            break
    return table, numbers


def still_trusted(watcher: Watch, table: Records, numbers: list[int]) -> bool:
    return watcher.generation() == table.generation and table.verified.issuperset(numbers)


def write_same_size(path: Path) -> None:
    status = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def rename_over(path: Path) -> None:
    fresh = path.with_name("fresh")
    fresh.write_text("other\n")
    fresh.replace(path)


def swap(directory: Path) -> None:
    directory.rename(directory.with_name("gone"))
    shutil.copytree(directory.with_name("other"), directory)


def switch(link: Path) -> None:
    link.unlink()
    link.symlink_to("other")


EDITS: dict[str, Edit] = {
    "in place": lambda root: (root / "real/a.h").write_text("int changed;\n"),
    "same size, times restored": lambda root: write_same_size(root / "real/a.h"),
    "renamed over": lambda root: rename_over(root / "real/a.h"),
    "truncated": lambda root: os.truncate(root / "real/a.h", 0),
    "removed": lambda root: (root / "real/a.h").unlink(),
    "mode": lambda root: (root / "real/a.h").chmod(0o600),
    "link switched": lambda root: switch(root / "include"),
    "directory swapped": lambda root: swap(root / "real"),
    "grandparent swapped": lambda root: (
        root.rename(root.with_name("gone")),
        shutil.copytree(root.with_name("gone"), root, symlinks=True),
    ),
    "new name in a directory": lambda root: (root / "real/new.h").touch(),
    "by another process": lambda root: subprocess.run(
        ["sh", "-c", f"echo more >> {root}/real/a.h"], check=True
    ),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edit_ends_the_trust(edit: Edit, tree: Path, watcher: Watch) -> None:
    paths = (tree / "include/a.h", tree / "include/sub/b.h", tree / "real/sub")
    table, numbers = covered(watcher, *paths)
    assert still_trusted(watcher, table, numbers)
    edit(tree)
    assert not still_trusted(watcher, table, numbers)


def test_an_edit_through_a_hard_link_ends_the_trust(tree: Path, watcher: Watch) -> None:
    elsewhere = tree.parent / "elsewhere.h"
    os.link(tree / "real/a.h", elsewhere)
    table, numbers = covered(watcher, tree / "include/a.h")
    elsewhere.write_text("changed\n")
    assert not still_trusted(watcher, table, numbers)


def test_an_edit_through_a_descriptor_opened_before_ends_the_trust(
    tree: Path, watcher: Watch
) -> None:
    with open(tree / "real/a.h", "r+b", buffering=0) as file:
        table, numbers = covered(watcher, tree / "include/a.h")
        assert still_trusted(watcher, table, numbers)
        file.write(b"XYZ")
        assert not still_trusted(watcher, table, numbers)


def test_a_replaced_file_is_watched_again(tree: Path, watcher: Watch) -> None:
    covered(watcher, tree / "include/a.h")
    rename_over(tree / "real/a.h")
    table, numbers = covered(watcher, tree / "include/a.h")
    assert still_trusted(watcher, table, numbers)
    (tree / "real/a.h").write_text("changed again\n")
    assert not still_trusted(watcher, table, numbers)


def test_a_record_that_is_wrong_when_its_watch_is_laid_is_not_trusted(
    tree: Path, watcher: Watch
) -> None:
    stale = record(tree / "include/a.h")
    (tree / "real/a.h").write_text("changed before\n")
    table = Records()
    numbers = table.number([stale])
    table.begin(watcher.generation())
    table.cover(watcher, numbers)
    assert not still_trusted(watcher, table, numbers)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_mount_ends_the_trust(tree: Path) -> None:
    need_private_mounts()
    code = (
        "import os, subprocess, sys; from pathlib import Path; sys.path.insert(0, '.');"
        "from pycc import watch; from tests.test_watch import covered, still_trusted;"
        "root = Path(sys.argv[1]); watch.SYSTEM = (os.fsencode(root),); w = watch.Watch();"
        "table, numbers = covered(w, root / 'real/a.h'); assert still_trusted(w, table, numbers);"
        "subprocess.run(['mount', '--bind', root / 'other', root / 'real'], check=True);"
        "assert not still_trusted(w, table, numbers)"
    )
    subprocess.run(
        [*UNSHARE, sys.executable, "-c", code, str(tree)],
        check=True,
        cwd=Path(__file__).parents[1],
    )


def test_other_kinds_and_places_are_not_watched(tree: Path, watcher: Watch) -> None:
    name = os.fsencode(tree / "real/a.h")
    assert is_system(record(tree / "real/a.h"))
    assert not is_system(native.pack(native.ABSENT, name))
    assert not is_system(record(tree.parent))


def test_file_systems_that_do_not_report_everything_are_not_watched(tree: Path) -> None:
    watcher = Watch(fs_type=lambda path: 0x794C7630)
    assert not watcher.covers(record(tree / "real/a.h"))
    watcher.close()
