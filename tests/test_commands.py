"""The maintenance command line, carried out in this process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycc import __version__, commands
from pycc.commands_text import HELP
from pycc.talk import LoopTalk, NotHere
from tests.compile_kit import Bench, request_of


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path).setup()
    yield bench
    bench.close()


@pytest.fixture
def used(bench: Bench) -> Bench:
    """A cache with one result and one manifest."""
    bench.file("a.c", "int x;\n")
    bench.call("-c a.c")
    return bench


def counters(bench: Bench) -> dict[str, int]:
    lines = bench.command("--print-stats").splitlines()
    return {name: int(count) for name, count in (line.split("\t") for line in lines)}


@pytest.mark.parametrize("option", ["-h", "--help", "--he"])
def test_help(bench: Bench, option: str) -> None:
    assert bench.command(option) == HELP.format(name="pycc")
    assert bench.status == 0


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(bench: Bench, option: str) -> None:
    assert bench.command(option).startswith(f"pycc version {__version__}\nFeatures: ")


def test_version_alone(bench: Bench) -> None:
    assert bench.command("--print-version") == f"{__version__}\n"


def test_no_words_show_the_help(bench: Bench) -> None:
    assert bench.command("") == ""
    assert bench.status == 1
    assert bench.stderr == HELP.format(name="pycc").encode()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--no-such-option", "unrecognized option '--no-such-option'"),
        ("-Q", "invalid option -- 'Q'"),
        ("--max-size", "option '--max-size' requires an argument"),
        ("-M", "option requires an argument -- 'M'"),
        ("--help=x", "option '--help' doesn't allow an argument"),
        ("--max", "option '--max' is ambiguous; possibilities: '--max-files' '--max-size'"),
    ],
)
def test_a_wrong_command_line_is_told_in_getopts_words(bench: Bench, line: str, said: str) -> None:
    assert bench.command(line) == ""
    assert bench.status == 1
    assert bench.stderr == f"pycc: {said}\n".encode()


def test_every_option_that_is_read_is_carried_out_or_refused() -> None:
    options = {f"--{name.rstrip('=')}" for name in commands.LONG}
    options |= {f"-{letter}" for letter in commands.SHORT if letter != ":"}
    known = {commands.SAME.get(option, option) for option in options}
    alone = {"--evict-namespace", "--monitor"}
    ends = {*commands._COMMANDS, *commands.MODIFIERS, *alone}
    assert known == ends


def test_counters_of_a_new_cache_are_zero(bench: Bench) -> None:
    found = counters(bench)
    assert found["cache_miss"] == 0
    assert found["files_in_cache"] == 0


def test_counters_of_a_used_cache(used: Bench) -> None:
    found = counters(used)
    assert found["cache_miss"] == 1
    assert found["files_in_cache"] == 2
    assert found["cache_size_kibibyte"] > 0


def test_calls_under_another_umask_are_counted(used: Bench) -> None:
    used.variables[b"CCACHE_UMASK"] = b"002"
    used.call("-c a.c")
    del used.variables[b"CCACHE_UMASK"]
    found = counters(used)
    assert found["direct_cache_hit"] + found["cache_miss"] == 2


def test_counters_as_json(used: Bench) -> None:
    assert json.loads(used.command("--print-stats --format=json"))["cache_miss"] == 1


def test_an_unknown_format(bench: Bench) -> None:
    assert bench.command("--print-stats --format=xml") == ""
    assert b'unknown format "xml"' in bench.stderr


@pytest.mark.parametrize("option", ["-z", "--zero-stats"])
def test_zeroing_keeps_the_contents(used: Bench, option: str) -> None:
    assert used.command(option) == "Statistics zeroed\n"
    found = counters(used)
    assert (found["cache_miss"], found["files_in_cache"]) == (0, 2)


@pytest.mark.parametrize("option", ["-C", "--clear"])
def test_clearing_keeps_the_counters(used: Bench, option: str) -> None:
    used.command(option)
    found = counters(used)
    assert (found["cache_miss"], found["files_in_cache"]) == (1, 0)
    used.call("-c a.c")
    assert counters(used)["cache_miss"] == 2


def test_commands_are_carried_out_in_their_order(used: Bench) -> None:
    text = used.command("-C -z --print-stats")
    assert "Statistics zeroed\n" in text
    assert "files_in_cache\t0\n" in text


@pytest.mark.parametrize(
    ("option", "left"),
    [
        ("--evict-older-than 1d", 2),
        ("--evict-older-than 50s", 0),
        ("--evict-older-than 0s", 0),
        ("--evict-namespace n", 2),
        ("--evict-namespace n --evict-older-than 0s", 2),
        ("--evict-older-than 0s --dry-run", 2),
        ("--clear --dry-run", 2),
        ("--cleanup", 2),
    ],
)
def test_evictions(used: Bench, monkeypatch: pytest.MonkeyPatch, option: str, left: int) -> None:
    used.resident.drain()
    for cache in used.resident._caches.values():
        later = cache.storage.clock() + 60
        monkeypatch.setattr(cache.storage, "clock", lambda later=later: later)
    used.command(option)
    assert used.status == 0
    assert counters(used)["files_in_cache"] == left


def test_a_namespace_is_evicted_alone(used: Bench) -> None:
    used.configure(NAMESPACE="n")
    used.call("-c a.c -o b.o")
    used.command("--evict-namespace n")
    assert counters(used)["files_in_cache"] == 2


def test_settings_are_set_and_read(bench: Bench) -> None:
    assert bench.command("--set-config max_files=7") == ""
    assert bench.command("--get-config max_files") == "7\n"
    assert bench.command("-k max_files") == "7\n"
    assert "max_files = 7" in bench.command("-p")


@pytest.mark.parametrize(
    ("line", "said", "key", "value"),
    [
        ("-M 5G", "Set cache size limit to 5.0 GB\n", "max_size", "5.0 GB"),
        ("-M 2Gi", "Set cache size limit to 2.0 GiB\n", "max_size", "2.0 GiB"),
        ("-M 0", "Unset cache size limit\n", "max_size", "0"),
        ("-F 12", "Set cache file limit to 12\n", "max_files", "12"),
        ("-F 0", "Unset cache file limit\n", "max_files", "0"),
    ],
)
def test_limits(bench: Bench, line: str, said: str, key: str, value: str) -> None:
    assert bench.command(line) == said
    assert bench.command(f"-k {key}").split()[0] == value.split()[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--get-config nothing", b"nothing"),
        ("--set-config max_files", b"missing equal sign"),
        ("--set-config max_files=many", b"many"),
        ("-F many", b"many"),
        ("-M much", b"much"),
        ("--evict-older-than long", b"long"),
        ("--show-log-stats", b"No stats log has been configured"),
        ("--print-log-stats", b"No stats log has been configured"),
        ("-X much", b'invalid integer: "much"'),
        ("-X 300", b"compression level must be between -128 and 127"),
        ("-X 5 --dry-run", b"--dry-run cannot be used with --recompress"),
        ("--threads 0 -x", b"threads must be between 1 and 4294967295"),
        ("--trim-dir .", b"please specify --trim-max-size when using --trim-dir"),
        ("--trim-dir nothing --trim-max-size 1k", b"nothing"),
        ("--inspect nothing", b"no name of an entry"),
        ("--inspect Rabcdef", b"no entry is called Rabcdef"),
        ("--inspect a.c", b"Bad magic value"),
        ("--extract-result /dev", b"no name of an entry"),
        ("--checksum-file nothing", b"Failed to checksum nothing: No such file or directory"),
        ("--hash-file nothing", b"Failed to hash nothing: No such file or directory"),
        ("-z --dry-run", b"--dry-run cannot be used with --zero-stats"),
        ("--dry-run -F 5", b"--dry-run cannot be used with --max-files"),
    ],
)
def test_what_is_refused_is_told(bench: Bench, line: str, said: bytes) -> None:
    bench.file("a.c", "int x;\n")
    bench.command(line)
    assert bench.status == 1
    assert said in bench.stderr


def test_a_configuration_that_cannot_be_written_is_told(bench: Bench) -> None:
    (bench.root / "cache").write_text("a file where the directory should be")
    bench.command("--set-config max_files=7")
    assert bench.status == 1
    assert bench.stderr != b""


def test_what_was_said_before_an_error_is_said(bench: Bench) -> None:
    assert bench.command("--print-version --get-config nothing") == f"{__version__}\n"
    assert bench.status == 1


def test_another_directory(used: Bench) -> None:
    other = used.root / "other"
    assert "cache_miss\t0\n" in used.command(f"--print-stats -d {other}")
    assert "cache_miss\t0\n" in used.command("--dir relative --print-stats")
    assert counters(used)["cache_miss"] == 1


def test_another_configuration_file(bench: Bench) -> None:
    bench.command("--config-path mine.conf --set-config max_files=3")
    assert (bench.cwd / "mine.conf").read_text() == "max_files = 3\n"


def test_the_statistics_log(bench: Bench) -> None:
    bench.configure(STATSLOG=str(bench.root / "log"))
    bench.file("a.c", "int x;\n")
    for _ in range(2):
        bench.call("-c a.c")
    assert json.loads(bench.command("--print-log-stats --format=json"))["direct_cache_hit"] == 1
    assert "Hits:" in bench.command("--show-log-stats")


def test_statistics_for_people(used: Bench) -> None:
    assert "Misses:" in used.command("-s")
    assert len(used.command("-sv")) > len(used.command("-s"))


def test_without_a_server_there_is_none_to_stop(bench: Bench) -> None:
    assert bench.command("--stop-server") == "No server is running\n"
    assert bench.command("--server-status").startswith("No server is running")


def test_commands_wait_for_a_thread_of_their_own(bench: Bench) -> None:
    request = request_of([b"pycc", b"-s"], bench.variables, os.fsencode(bench.cwd), 4)
    with pytest.raises(NotHere):
        commands.answer(request, LoopTalk(), bench.resident)


def test_links_are_installed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.root / "bin").mkdir()
    for name in ("pycc", "pycc-server"):
        (bench.root / "bin" / name).write_text("")
        (bench.root / "bin" / name).chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(bench.root / "bin" / "pycc-server")])
    before = os.umask(0o22)
    os.umask(before)
    said = bench.command("--install-links links")
    assert bench.status == 0
    assert (bench.cwd / "links" / "gcc").is_symlink()
    assert f"export PATH={bench.cwd}/links:$PATH" in said
    after = os.umask(before)
    assert after == before
