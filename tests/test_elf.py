"""Shared libraries as they are read from programs."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycc.elf import CACHE_PATH, dynamic, libraries, read_cache
from tests.quick import quick

TRUE = os.fsencode(shutil.which("true") or "")
GCC = shutil.which("gcc") or "gcc"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """prog needs liba (by RUNPATH $ORIGIN/lib), liba needs libb, libb needs nothing."""
    root = tmp_path_factory.mktemp("elf")
    (root / "lib").mkdir()
    (root / "x.c").write_text("int main(void) { return 0; }\n")

    def link(target: str, *words: str) -> None:
        command = [GCC, "-nostdlib", "-Wl,--no-as-needed", "-o", str(root / target), *words]
        subprocess.run([*command, str(root / "x.c")], check=True)

    shared = ("-shared", "-fPIC")
    link("lib/libb.so", *shared, "-Wl,-soname,libb.so")
    link("lib/liba.so", *shared, "-Wl,-soname,liba.so", "-L", f"{root}/lib", "-lb")
    search = "-Wl,--enable-new-dtags,-rpath,$ORIGIN/lib:/nowhere"
    link("prog", "-Wl,-e,main", search, "-L", f"{root}/lib", "-la", f"-Wl,-rpath-link,{root}/lib")
    link("static", "-static", "-Wl,-e,main")
    return root


def test_what_a_program_needs(built: Path) -> None:
    place = os.fsencode(built / "lib")
    assert dynamic(os.fsencode(built / "prog")) == ([b"liba.so"], [place, b"/nowhere"])
    assert dynamic(os.fsencode(built / "lib/liba.so")) == ([b"libb.so"], [])


def test_a_static_program_needs_nothing(built: Path) -> None:
    assert dynamic(os.fsencode(built / "static")) == ([], [])


def test_libraries_are_followed(built: Path) -> None:
    place = os.fsencode(built / "lib")
    found = libraries([os.fsencode(built / "prog")], [place], {})
    assert found == [place + b"/liba.so", place + b"/libb.so"]


def test_where_a_library_is_looked_for(built: Path) -> None:
    program = os.fsencode(built / "prog")
    cache = {b"liba.so": b"/cache/liba.so"}
    asked: list[bytes] = []

    def nowhere(path: bytes) -> bool:
        asked.append(path)
        return False

    assert libraries([program], [b"/first"], cache, nowhere) == []
    expected = [b"/first", os.fsencode(built / "lib"), b"/nowhere", b"/cache", b"/lib64"]
    assert [os.path.dirname(path) for path in asked[:5]] == expected


@pytest.mark.parametrize("kind", ["script", "missing", "directory", "empty"])
def test_what_is_no_program(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    match kind:
        case "script":
            path.write_text("#!/bin/sh\n")
        case "directory":
            path.mkdir()
        case "empty":
            path.write_bytes(b"")
    assert dynamic(os.fsencode(path)) is None
    assert libraries([os.fsencode(path)], [], {}) == []


def test_a_cut_program_is_none(built: Path, tmp_path: Path) -> None:
    whole = (built / "prog").read_bytes()
    path = tmp_path / "cut"
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        dynamic(os.fsencode(path))


@quick
@given(st.data())
def test_a_damaged_program_raises_nothing(built: Path, data: st.DataObject) -> None:
    damaged = bytearray((built / "prog").read_bytes())
    section = damaged.find(b"liba.so")
    places = st.one_of(st.integers(0, 1000), st.integers(section - 2000, section + 100))
    for at in data.draw(st.lists(places, min_size=1, max_size=8)):
        damaged[at : at + 8] = struct.pack("<Q", data.draw(st.integers(0, 2**64 - 1)))
    path = built / "damaged"
    path.write_bytes(damaged)
    dynamic(os.fsencode(path))


def test_the_cache_agrees_with_ldconfig() -> None:
    data = Path(os.fsdecode(CACHE_PATH)).read_bytes()
    found = read_cache(data)
    listed = subprocess.run(
        ["/sbin/ldconfig", "-p"], check=True, capture_output=True
    ).stdout.splitlines()[1:]
    for line in listed:
        name, arrow, path = line.strip().partition(b" => ")
        if arrow:
            assert found[name.split(b" ")[0]].rpartition(b"/")[2] == name.split(b" ")[0]
            assert path
    assert len(found) > 1


@quick
@given(st.binary(max_size=200))
def test_a_cache_of_another_format_is_empty_or_read(data: bytes) -> None:
    read_cache(data)
    read_cache(b"glibc-ld.so.cache1.1" + data)


def test_the_compiler_of_this_machine_has_libraries() -> None:
    cache = read_cache(Path(os.fsdecode(CACHE_PATH)).read_bytes())
    listed = libraries([os.fsencode(os.path.realpath(GCC))], [], cache)
    assert any(b"libc.so" in path for path in listed)
