"""What calls do with a local and a remote tier, with gcc and a directory as remote storage."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycc.cache.manifest import pack as pack_manifest
from pycc.cache.result import Entry, Kind, ResultError, linked, pack, unpack
from pycc.cache.storage import manifest_key, result_key, seal
from pycc.resident import Resident
from tests.compile_kit import Bench

MISS = {
    "cache_miss": 1,
    "direct_cache_miss": 1,
    "preprocessed_cache_miss": 1,
    "local_storage_miss": 1,
    "local_storage_read_miss": 2,
    "local_storage_write": 2,
    "remote_storage_miss": 1,
    "remote_storage_read_miss": 2,
    "remote_storage_write": 2,
}
LOCAL_HIT = {"direct_cache_hit": 1, "local_storage_hit": 1, "local_storage_read_hit": 2}
REMOTE_HIT = {
    "direct_cache_hit": 1,
    "local_storage_miss": 1,
    "local_storage_read_miss": 2,
    "local_storage_write": 2,
    "remote_storage_hit": 1,
    "remote_storage_read_hit": 2,
}


@pytest.fixture(scope="module")
def resident() -> Iterator[Resident]:
    resident = Resident()
    yield resident
    resident.close()


@pytest.fixture
def bench(tmp_path: Path, resident: Resident) -> Bench:
    bench = Bench(tmp_path, resident).setup(REMOTE_STORAGE=f"file:{tmp_path}/remote")
    bench.file("a.c", '#include "h.h"\nint x = V;\n')
    bench.file("h.h", "#define V 1\n")
    return bench


def counts(bench: Bench) -> dict[str, int]:
    bench.resident.remotes.written()
    return bench.counters()


def forget_locally(bench: Bench) -> None:
    bench.command("-C")
    counts(bench)


def entries(bench: Bench) -> list[Path]:
    found = sorted((bench.root / "remote").glob("??/*"))
    return [path for path in found if path.is_file()]


def compiled(bench: Bench, line: str = "-c a.c -o a.o") -> dict[str, int]:
    assert bench.call(line) == 0
    return counts(bench)


def test_a_miss_is_stored_in_both_and_found_again_in_the_remote_one(bench: Bench) -> None:
    assert compiled(bench) == MISS
    made = (bench.cwd / "a.o").read_bytes()
    assert len(entries(bench)) == 2
    assert (bench.root / "remote/CACHEDIR.TAG").is_file()
    assert compiled(bench) == LOCAL_HIT
    forget_locally(bench)
    (bench.cwd / "a.o").unlink()
    assert compiled(bench) == REMOTE_HIT
    assert (bench.cwd / "a.o").read_bytes() == made
    assert not any(b"-c" in command.argv for command in bench.commands)
    assert compiled(bench) == LOCAL_HIT


def test_without_a_local_tier_everything_is_remote(bench: Bench) -> None:
    bench.configure(REMOTE_ONLY="1")
    local = ("local_storage_miss", "local_storage_read_miss", "local_storage_write")
    assert compiled(bench) == {k: v for k, v in MISS.items() if k not in local}
    for _ in range(2):
        assert compiled(bench) == {k: v for k, v in REMOTE_HIT.items() if k not in local}
    assert "files_in_cache\t0" in bench.command("--print-stats")


def test_a_storage_that_is_read_only_is_not_written(bench: Bench) -> None:
    assert compiled(bench) == MISS
    bench.configure(REMOTE_STORAGE=f"file:{bench.root}/remote read-only")
    forget_locally(bench)
    assert compiled(bench) == REMOTE_HIT
    bench.file("b.c", "int y;\n")
    assert compiled(bench, "-c b.c").get("remote_storage_write") is None
    assert len(entries(bench)) == 2


def test_all_storages_are_written_and_the_first_that_has_it_is_read(bench: Bench) -> None:
    bench.configure(REMOTE_STORAGE=f"file:{bench.root}/remote file:{bench.root}/other @layout=flat")
    assert compiled(bench) == {
        **MISS,
        "remote_storage_read_miss": 4,
        "remote_storage_write": 4,
    }
    assert len(list((bench.root / "other").iterdir())) == 3
    shutil.rmtree(bench.root / "remote")
    forget_locally(bench)
    assert compiled(bench) == {**REMOTE_HIT, "remote_storage_read_miss": 2}


def test_recache_asks_nobody_and_tells_everybody(bench: Bench) -> None:
    bench.configure(RECACHE="1")
    expected = {"recache": 1, "local_storage_write": 2, "remote_storage_write": 2}
    assert compiled(bench) == expected
    assert compiled(bench) == expected


def test_a_local_hit_is_shared_on_request(bench: Bench) -> None:
    storage = bench.variables.pop(b"CCACHE_REMOTE_STORAGE").decode()
    bench.call("-c a.c -o a.o")
    counts(bench)
    bench.configure(REMOTE_STORAGE=storage)
    assert compiled(bench) == LOCAL_HIT
    bench.configure(RESHARE="1")
    for _ in range(2):
        assert compiled(bench) == {**LOCAL_HIT, "remote_storage_write": 2}
    assert len(entries(bench)) == 2
    forget_locally(bench)
    assert compiled(bench) == REMOTE_HIT


def test_a_result_that_is_a_link_is_not_shared(bench: Bench) -> None:
    storage = bench.variables.pop(b"CCACHE_REMOTE_STORAGE").decode()
    bench.configure(HARDLINK="1")
    bench.call("-c a.c -o a.o")
    counts(bench)
    bench.configure(REMOTE_STORAGE=storage, RESHARE="1")
    assert compiled(bench) == {**LOCAL_HIT, "remote_storage_write": 1}


def test_a_result_is_fetched_where_the_manifest_is_known(bench: Bench) -> None:
    assert compiled(bench) == MISS
    bench.file("h.h", "#define V 2\n", age=1800)
    changed = compiled(bench)
    assert changed["local_storage_read_hit"] == changed["remote_storage_read_hit"] == 1
    assert changed["local_storage_write"] == 3, "the manifests of both, merged; the new ones"
    forget_locally(bench)
    assert compiled(bench) == REMOTE_HIT
    bench.file("h.h", "#define V 1\n", age=1700)
    assert compiled(bench) == {
        "direct_cache_hit": 1,
        "local_storage_miss": 1,
        "local_storage_read_hit": 1,
        "local_storage_read_miss": 1,
        "local_storage_write": 1,
        "remote_storage_hit": 1,
        "remote_storage_read_hit": 1,
    }


def test_manifests_of_two_machines_become_one(bench: Bench) -> None:
    storage = bench.variables[b"CCACHE_REMOTE_STORAGE"].decode()
    assert compiled(bench) == MISS
    forget_locally(bench)
    del bench.variables[b"CCACHE_REMOTE_STORAGE"]
    bench.file("h.h", "#define V 2\n", age=1800)
    bench.call("-c a.c -o a.o")
    counts(bench)
    bench.configure(REMOTE_STORAGE=storage)
    bench.file("h.h", "#define V 1\n", age=1700)
    assert compiled(bench)["remote_storage_hit"] == 1
    del bench.variables[b"CCACHE_REMOTE_STORAGE"]
    for age, value in ((1600, 2), (1500, 1)):
        bench.file("h.h", f"#define V {value}\n", age=age)
        assert compiled(bench) == LOCAL_HIT


def test_preprocessed_text_is_asked_for_too(bench: Bench) -> None:
    bench.configure(NODIRECT="1")
    first = compiled(bench)
    assert first["remote_storage_read_miss"] == first["remote_storage_write"] == 1
    forget_locally(bench)
    assert compiled(bench) == {
        "preprocessed_cache_hit": 1,
        "local_storage_miss": 1,
        "local_storage_read_miss": 1,
        "local_storage_write": 1,
        "remote_storage_hit": 1,
        "remote_storage_read_hit": 1,
    }


def test_checkouts_in_different_directories_share(bench: Bench) -> None:
    """With ``base_dir``, and with no cache but the remote one in common."""
    storage = bench.variables[b"CCACHE_REMOTE_STORAGE"].decode()
    for name, expected in (("one", MISS), ("other", REMOTE_HIT)):
        user = Bench(bench.root / name, bench.resident).setup(REMOTE_STORAGE=storage)
        user.configure(BASEDIR=str(user.cwd))
        user.file("src/a.c", '#include "h.h"\nint x = V;\n')
        user.file("include/h.h", "#define V 1\n")
        line = f"-c -I{user.cwd}/include {user.cwd}/src/a.c -o {user.cwd}/a.o"
        assert compiled(user, line) == expected


@pytest.mark.parametrize("line", ["-c a.c b.c", "a.c b.c main.c -o program"])
def test_commands_of_several_sources_ask_for_each(bench: Bench, line: str) -> None:
    bench.file("b.c", "int b;\n")
    bench.file("main.c", "int main(void) { return 0; }\n")
    sources = 3 if "main" in line else 2
    found = compiled(bench, line)
    assert (found["cache_miss"], found["remote_storage_write"]) == (sources, 2 * sources)
    made = (bench.cwd / ("program" if sources == 3 else "b.o")).read_bytes()
    forget_locally(bench)
    found = compiled(bench, line)
    assert (found["remote_storage_hit"], found.get("cache_miss")) == (sources, None)
    assert (bench.cwd / ("program" if sources == 3 else "b.o")).read_bytes() == made
    bench.configure(REMOTE_STORAGE="/nonsense")
    forget_locally(bench)
    assert bench.call(line) == 0, "as a whole, and uncached"


def test_times_of_another_machine_are_not_believed(bench: Bench) -> None:
    """Of two checkouts of one release all files may have one time, whatever is in them."""
    bench.configure(SLOPPINESS="file_stat_matches,file_stat_matches_ctime")
    header = bench.cwd / "h.h"
    assert compiled(bench) == MISS
    found = header.stat()
    header.write_text("#define V 2\n")
    os.utime(header, ns=(found.st_atime_ns, found.st_mtime_ns))
    forget_locally(bench)
    assert compiled(bench)["cache_miss"] == 1


def test_times_of_another_machine_are_not_believed_once_they_are_kept_here(bench: Bench) -> None:
    """A compile that fails adds nothing to the manifest that came from there."""
    bench.configure(SLOPPINESS="file_stat_matches,file_stat_matches_ctime")
    header = bench.cwd / "h.h"
    assert compiled(bench) == MISS
    found = header.stat()
    header.write_text("#error 1234\n"[: found.st_size - 1].ljust(found.st_size - 1) + "\n")
    os.utime(header, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert header.stat().st_size == found.st_size
    forget_locally(bench)
    for _ in range(2):
        assert bench.call("-c a.c -o a.o") == 1


def test_who_may_only_read_directly_asks_the_remote_tier(bench: Bench) -> None:
    assert compiled(bench) == MISS
    forget_locally(bench)
    bench.configure(READONLY_DIRECT="1")
    assert compiled(bench)["remote_storage_hit"] == 1
    bench.file("b.c", "int y;\n")
    assert "remote_storage_write" not in compiled(bench, "-c b.c")


def spoil(path: Path, how: str) -> None:
    data = path.read_bytes()
    match how:
        case "empty":
            data = b""
        case "cut":
            data = data[:-3]
        case "flipped":
            data = data[:-3] + bytes((data[-3] ^ 1,)) + data[-2:]
        case "foreign":
            data = b"<html>not what was asked for</html>"
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["empty", "cut", "flipped", "foreign", "exchanged"])
def test_a_spoiled_entry_is_an_error_and_no_entry(bench: Bench, how: str) -> None:
    assert compiled(bench) == MISS
    made = (bench.cwd / "a.o").read_bytes()
    forget_locally(bench)
    first, second = entries(bench)
    if how == "exchanged":
        other = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(other)
    else:
        for path in (first, second):
            spoil(path, how)
    found = compiled(bench)
    assert found["cache_miss"] == found["remote_storage_error"] == 1
    assert (bench.cwd / "a.o").read_bytes() == made
    forget_locally(bench)
    assert compiled(bench) == REMOTE_HIT, "the compile has replaced both"


def test_damage_is_told_to_the_user_and_counted_once_a_call(bench: Bench) -> None:
    """A storage that is away costs each call one error, as in ccache, and is asked once."""
    bench.configure(REMOTE_STORAGE="redis://127.0.0.1:1")
    for name in "ab":
        bench.file(f"{name}.c", f"int {name};\n")
        found = compiled(bench, f"-c {name}.c")
        assert (found["cache_miss"], found["remote_storage_error"]) == (1, 1)
        assert "remote_storage_read_miss" not in found


def name_of(path: Path) -> bytes:
    return bytes.fromhex(path.parent.name + path.name)


def put(path: Path, kind: bytes, value: bytes) -> None:
    key = (manifest_key if kind == b"M" else result_key)(name_of(path))
    path.write_bytes(seal(key, value))


def test_a_sound_frame_around_nonsense_is_an_error(bench: Bench) -> None:
    assert compiled(bench) == MISS
    forget_locally(bench)
    for path in entries(bench):
        kind = b"M" if b"PM\1" in path.read_bytes()[:16] else b"R"
        put(path, kind, b"PM\1 nonsense" if kind == b"M" else b"PR\1 nonsense")
    found = compiled(bench)
    assert found["cache_miss"] == found["remote_storage_error"] == 1


def test_a_result_from_elsewhere_never_names_a_file_of_the_store(bench: Bench) -> None:
    assert compiled(bench) == MISS
    forget_locally(bench)
    for path in entries(bench):
        if b"PR\1" in path.read_bytes()[:16]:
            put(path, b"R", pack([linked(b"F" + bytes(32), b"x")]))
    found = compiled(bench)
    assert found["cache_miss"] == 1
    assert "direct_cache_hit" not in found


@pytest.mark.parametrize(
    "outputs",
    [[], [Entry(Kind.OBJECT, b"")], [Entry(Kind.STDERR, b"warning")]],
    ids=["nothing", "an empty object", "no object"],
)
def test_a_result_from_elsewhere_has_the_object(bench: Bench, outputs: list[Entry]) -> None:
    assert compiled(bench) == MISS
    made = (bench.cwd / "a.o").read_bytes()
    forget_locally(bench)
    (bench.cwd / "a.o").unlink()
    for path in entries(bench):
        if b"PR\1" in path.read_bytes()[:16]:
            put(path, b"R", pack(outputs))
    found = compiled(bench)
    assert (found["cache_miss"], found["remote_storage_error"]) == (1, 1)
    assert (bench.cwd / "a.o").read_bytes() == made


def test_a_result_of_endless_nothings_is_refused(bench: Bench) -> None:
    """It would be small on its way and millions of objects in memory."""
    with pytest.raises(ResultError, match="too many"):
        unpack(pack([Entry(Kind.OTHER, b"")] * 100_000))


def test_an_empty_manifest_leads_nowhere(bench: Bench) -> None:
    assert compiled(bench) == MISS
    forget_locally(bench)
    for path in entries(bench):
        if b"PM\1" in path.read_bytes()[:16]:
            put(path, b"M", pack_manifest([]))
    assert compiled(bench)["cache_miss"] == 1


def test_an_entry_that_is_a_pipe_holds_nobody_up(bench: Bench) -> None:
    assert compiled(bench) == MISS
    forget_locally(bench)
    for path in entries(bench):
        path.unlink()
        os.mkfifo(path)
    assert compiled(bench)["cache_miss"] == 1


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_still_read(bench: Bench) -> None:
    assert compiled(bench) == MISS
    (bench.root / "remote").chmod(0o555)
    bench.file("b.c", "int y;\n")
    assert compiled(bench, "-c b.c")["remote_storage_error"] == 1
    forget_locally(bench)
    assert compiled(bench) == REMOTE_HIT


def test_a_file_in_place_of_the_directory_breaks_no_build(bench: Bench) -> None:
    (bench.root / "remote").write_text("")
    found = compiled(bench)
    assert (found["cache_miss"], found["remote_storage_error"]) == (1, 1)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("/qwerty", b"URL scheme must not be empty: /qwerty"),
        ("gopher://h", b"unknown remote storage scheme: gopher"),
        ("file://elsewhere/x", b"specifying a host other than localhost is not supported"),
        ("file:/x @umask=9", b'invalid unsigned octal integer: "9"'),
        ("http:/x", b"A host is required in HTTP storage URL"),
        ("http://me@h", b'Expected username:password in URL but got "********"'),
        ("redis://h/x", b'invalid unsigned integer: "x"'),
    ],
)
def test_a_setting_that_means_nothing_is_told_to_the_user(
    bench: Bench, setting: str, words: bytes
) -> None:
    bench.configure(REMOTE_STORAGE=setting)
    assert bench.call("-c a.c -o a.o") == 1
    assert words in bench.stderr


def test_the_log_says_what_ccaches_log_says_and_no_secret(bench: Bench) -> None:
    log = bench.root / "log"
    setting = f"file:{bench.root}/remote @token=geheim redis://geheim@127.0.0.1:1"
    bench.configure(REMOTE_STORAGE=setting, LOGFILE=str(log))
    bench.call("-c a.c -o a.o")
    text = log.read_text()
    assert "geheim" not in text
    for words in (
        "Unknown attribute: token",
        "No ",
        f" in file:{bench.root}/remote (",
        "Redis command failed: connection error: Connection refused",
        "Not putting in redis://********@127.0.0.1:1 since it failed earlier",
        "Stored ",
    ):
        assert words in text, words
