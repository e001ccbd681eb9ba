"""Entries as commands list, show, take out and compress them; directories that are trimmed."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from pycc import commands
from pycc.cache import blake3
from pycc.cache.recompression import content_size, is_compressed, repacked
from pycc.cache.result import Entry, Kind, pack, unpack
from pycc.cache.storage_files import open_files
from pycc.cache.storage_local import open_local
from pycc.frame import OWN_NAME, Exec
from tests.compile_kit import Bench, Launcher, request_of

if TYPE_CHECKING:
    from pycc.lifecycle import Place


@pytest.fixture
def used(tmp_path: Path) -> Iterator[Bench]:
    """A cache with the results of two calls that are hits from now on."""
    bench = Bench(tmp_path).setup()
    bench.file("h.h", "#define V 1\n")
    bench.file("a.c", '#include "h.h"\n#warning "w"\nint v[9000] = { V };\n')
    bench.call("-c a.c -MD")
    bench.configure(NAMESPACE="n")
    bench.call("-c a.c -MD")
    bench.counters()
    yield bench
    bench.close()


def entries(bench: Bench, kind: str) -> list[dict[str, object]]:
    found = json.loads(bench.command("--print-entries --format=json"))
    return [entry for entry in found if entry["type"] == kind]


def test_entries_are_listed(used: Bench) -> None:
    results, manifests = entries(used, "result"), entries(used, "manifest")
    assert [len(results), len(manifests)] == [2, 2]
    assert {str(entry["namespace"]) for entry in results} == {"", "n"}
    lines = used.command("--print-entries").splitlines()
    assert {line.split("\t")[0] for line in lines} >= {str(entry["name"]) for entry in results}


def test_a_manifest_is_shown(used: Bench) -> None:
    said = used.command(f"--inspect {entries(used, 'manifest')[0]['name']}")
    assert "Entry type: 1 (manifest)\n" in said
    assert ": h.h\n" in said
    assert f"Key: {entries(used, 'result')[0]['name']}"[:20] in said.replace("R", "R", 1)
    assert "    Hash: " in said


def test_a_result_is_shown_by_the_beginning_of_its_name(used: Bench) -> None:
    name = str(entries(used, "result")[0]["name"])
    said = used.command(f"--inspect {name[:12]}")
    assert "Entry type: 0 (result)\nCompression type: zstd\n" in said
    assert "Embedded file #0: .o (" in said
    assert ": .d (" in said
    assert ": <stderr> (" in said


def test_a_result_is_taken_out(used: Bench) -> None:
    name = entries(used, "result")[0]["name"]
    assert used.command(f"--extract-result {name}") == ""
    assert used.status == 0
    for suffix in ("o", "d"):
        taken = (used.cwd / f"ccache-result.{suffix}").read_bytes()
        assert taken == (used.cwd / f"a.{suffix}").read_bytes()
    assert b"#warning" in (used.cwd / "ccache-result.stderr").read_bytes()


def test_a_linked_object_is_taken_out(used: Bench) -> None:
    used.configure(HARDLINK="1", NAMESPACE="linked")
    used.call("-c a.c")
    (name,) = (e["name"] for e in entries(used, "result") if e["namespace"] == "linked")
    assert "Raw file #0: .o (" in used.command(f"--inspect {name}")
    used.command(f"--extract-result {name}")
    assert (used.cwd / "ccache-result.o").read_bytes() == (used.cwd / "a.o").read_bytes()
    (file,) = (e["name"] for e in entries(used, "file"))
    assert "Entry type: 2 (file)" in used.command(f"--inspect {file}")
    used.command(f"--extract-result {file}")
    assert (used.status, b"not a result" in used.stderr) == (1, True)


def test_a_packed_value_in_a_file_is_shown(used: Bench) -> None:
    (used.cwd / "value").write_bytes(pack([Entry(Kind.OBJECT, b"x")]))
    assert "Embedded file #0: .o (1 bytes)" in used.command("--inspect value")
    used.command("--extract-result value")
    assert (used.cwd / "ccache-result.o").read_bytes() == b"x"


def test_an_entry_of_the_tier_of_files_is_shown(used: Bench) -> None:
    store = open_files(str(used.root / "files"))
    store.set(b"R" + bytes(32), pack([Entry(Kind.OBJECT, b"x")]), "space")
    (path,) = (used.root / "files").rglob("R*")
    assert "Embedded file #0: .o (1 bytes)" in used.command(f"--inspect {path}")
    (listed,) = store.listing()
    assert (listed.key, listed.namespace) == (b"R" + bytes(32), "space")


@pytest.mark.parametrize("data", [b"", b"PR", b"PR\1\0\xff\xff\xff\xff", b"PM\1\0\5\0\0\0x"])
def test_what_is_no_entry_is_told(used: Bench, data: bytes) -> None:
    (used.cwd / "value").write_bytes(data)
    for option in ("--inspect", "--extract-result"):
        used.command(f"{option} value")
        assert used.status == 1
        assert used.stderr.startswith(b"pycc: error: ")


def test_compression_is_shown(used: Bench) -> None:
    said = used.command("-x")
    assert said.splitlines()[0].startswith("Total data:  ")
    assert [line.split(":")[0] for line in said.splitlines()] == [
        *("Total data", "Compressed data", "  Original size", "  Compression ratio"),
        "Incompressible data",
    ]


@pytest.mark.parametrize("level", ["uncompressed", "19", "-7", "0"])
def test_entries_are_compressed_again_and_still_hit(used: Bench, level: str) -> None:
    before = (used.cwd / "a.o").read_bytes()
    order = [entry["name"] for entry in entries(used, "result")]
    said = used.command(f"-X {level}")
    assert said.splitlines()[-1].startswith("Size change: ")
    assert order == [entry["name"] for entry in entries(used, "result")]
    packed = "none" if level == "uncompressed" else "zstd"
    assert f"Compression type: {packed}\n" in used.command(f"--inspect {order[0]}")
    (used.cwd / "a.o").unlink()
    used.call("-c a.c -MD")
    assert "direct_cache_hit" in used.counters()
    assert (used.cwd / "a.o").read_bytes() == before


def test_packed_values_are_packed_anew() -> None:
    contents = [Entry(Kind.OBJECT, b"abc" * 1000), Entry(Kind.STDERR, b"w")]
    value = pack(contents)
    plain = repacked(value, None)
    assert (is_compressed(value), is_compressed(plain)) == (True, False)
    assert content_size(plain) == content_size(value)
    assert unpack(repacked(plain, 19)) == unpack(plain) == contents
    assert content_size(b"PX") is None


def test_an_entry_keeps_its_age_when_it_is_stored_again(tmp_path: Path) -> None:
    for store in (open_local(str(tmp_path)), open_files(str(tmp_path))):
        store.set(b"R" + bytes(32), b"value", used=1_000_000.0)
        (listed,) = store.listing()
        assert listed.used == 1_000_000.0
        assert store.get(listed.key) == b"value"
        store.close()


def test_listings_go_on_behind_a_page(tmp_path: Path) -> None:
    store = open_local(str(tmp_path))
    keys = {b"R" + n.to_bytes(32, "big") for n in range(1203)}
    for key in keys:
        store.set(key, b"v", "n" if key[-1] % 2 else "")
    assert {entry.key for entry in store.listing()} == keys
    store.close()


# Directories of remote storage.


def some_files(bench: Bench) -> Path:
    directory = bench.cwd / "remote"
    for number, name in enumerate(("ab/one", "ab/two", "cd/ef/three")):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(8192))
        os.utime(path, (3_000_000 - number, 1_000_000 + number))
    return directory


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("options", "left", "said"),
    [
        ("--trim-max-size 16k", {"one"}, "Trimmed 24.6 kB to 8.2 kB (-16.4 kB, -2 files)\n"),
        ("--trim-max-size 16Ki", {"one", "two"}, "(-8.0 KiB, -1 file)\n"),
        ("--trim-max-size 16Ki --trim-method mtime", {"two", "three"}, "-1 file)\n"),
        ("--trim-max-size 0", {"one", "two", "three"}, "(0 bytes, 0 files)\n"),
        ("--trim-max-size 16Ki --dry-run", {"one", "two", "three"}, "-1 file)\n"),
    ],
)
def test_trimming(used: Bench, options: str, left: set[str], said: str) -> None:
    directory = some_files(used)
    assert used.command(f"--trim-dir remote {options}").endswith(said)
    assert names(directory) == left


def test_trimming_compresses_first(used: Bench) -> None:
    directory = some_files(used)
    value = pack([Entry(Kind.OBJECT, b"abc" * 20_000)], compressed=False)
    (directory / "value").write_bytes(value)
    said = used.command("--trim-dir remote --trim-max-size 0 --trim-recompress 5")
    assert said.startswith("Recompressed ")
    assert len((directory / "value").read_bytes()) < 4096
    used.command("--trim-dir remote --trim-max-size 0 --trim-recompress uncompressed")
    assert (directory / "value").read_bytes() == value
    used.command("--trim-dir remote --trim-max-size 0 --trim-recompress 5 --dry-run")
    assert used.status == 1


@pytest.mark.parametrize("layout", ["subdirs", "flat"])
def test_entries_of_remote_storage_are_compressed_and_still_served(
    used: Bench, layout: str
) -> None:
    remote = used.root / "remote"
    used.configure(REMOTE_STORAGE=f"file:{remote} @layout={layout}", NAMESPACE="remote")
    used.call("-c a.c")
    used.resident.close()
    before = {path: path.stat().st_size for path in remote.rglob("*") if path.is_file()}
    assert len(before) == 3  # with CACHEDIR.TAG
    said = used.command(f"--trim-dir {remote} --trim-max-size 0 --trim-recompress uncompressed")
    assert said.startswith("Recompressed ")
    assert sum(path.stat().st_size for path in before) > sum(before.values()) + 30_000
    path = max(before, key=lambda one: one.stat().st_size)
    assert "Embedded file #0: .o (" in used.command(f"--inspect {path}")
    used.command("--clear")
    used.counters()
    used.call("-c a.c")
    assert used.counters()["direct_cache_hit"] == 1


@pytest.mark.parametrize("name", ["ccache.conf", "stats", "cache.db"])
def test_a_local_cache_is_not_trimmed(used: Bench, name: str) -> None:
    directory = some_files(used)
    (directory / "ab" / name).touch()
    used.command("--trim-dir remote --trim-max-size 1")
    assert (used.status, len(names(directory))) == (1, 4)
    assert b"this looks like a local cache directory" in used.stderr


# Hashes.


def test_hashes_are_ccaches(used: Bench) -> None:
    used.file("empty", "")
    used.file("text", "int x;\n")
    assert used.command("--hash-file empty") == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9\n"
    assert used.command("--hash-file text") == "083aa968c0a898c4c106b0c89991b17e5c035e5c\n"
    assert used.command("--checksum-file text") == "32bba88a794f0032b574aa6a6b7d6a5b\n"


@pytest.mark.parametrize(
    ("size", "digest"),
    [
        (1, "2d3adedff11b61f14c886e35afa036736dcd87a7"),
        (64, "4eed7141ea4a5cd4b788606bd23f46e212af9cac"),
        (65, "de1e5fa0be70df6d2be8fffd0e99ceaa8eb6e8c9"),
        (1023, "10108970eeda3eb932baac1428c7a2163b0e924c"),
        (1024, "42214739f095a406f3fc83deb889744ac00df831"),
        (1025, "d00278ae47eb27b34faecf67b4fe263f82d54129"),
        (2048, "e776b6028c7cd22a4d0ba182a8bf62205d2ef576"),
        (2049, "5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c4"),
        (5121, "628bd2cb2004694adaab7bbd778a25df25c47b9d"),
        (8193, "bab6c09cb8ce8cf459261398d2e7aef35700bf48"),
        (31744, "62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32"),
    ],
)
def test_blake3_of_bytes_that_count_to_251(size: int, digest: str) -> None:
    """The inputs of the specification's test vectors, hashed by ccache e5731387."""
    data = bytes(n % 251 for n in range(size))
    pieces = [data[: size // 3], data[size // 3 :]]
    assert blake3._digest(pieces)[:20].hex() == digest
    assert blake3.digest(pieces)[:20].hex() == digest


OPTIONS_OF_FILES = ["--checksum-file", "--hash-file", "--inspect", "--extract-result"]


@pytest.mark.parametrize("option", OPTIONS_OF_FILES)
def test_standard_input_is_the_callers(used: Bench, option: str) -> None:
    """A server has another one: the launcher becomes a process that answers this call."""
    words = [b"pycc", option.encode(), b"-"]
    request = request_of(words, used.variables, os.fsencode(used.cwd), OWN_NAME)
    used.resident.place = cast("Place", object())
    try:
        (op,) = commands.answer(request, Launcher({}, b"/"), used.resident)
    finally:
        used.resident.place = None
    assert isinstance(op, Exec)
    assert list(op.argv[1:]) == [b"--once", *words]


@pytest.mark.parametrize("option", OPTIONS_OF_FILES)
def test_standard_input_is_read_in_that_process(
    used: Bench, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    value = pack([Entry(Kind.OBJECT, b"x")])
    (used.cwd / "value").write_bytes(value)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(value)))
    from_input = used.command(f"{option} -")
    assert used.status == 0
    assert from_input == used.command(f"{option} value")
