"""CCACHE_DEBUG and CCACHE_LOGFILE: which files a call leaves, and what stands in them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from pycc.cache.fingerprint import Fingerprint
from pycc.config import Config
from pycc.debug import DebugFiles, object_name, opening_lines, without_secrets
from pycc.frame import Request
from tests.once import call

NAME = re.compile(r"a\.o\.\d{8}_\d{6}_\d{6}\.ccache-([a-z-]+)")
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


def request(cwd: Path, *words: bytes) -> Request:
    return Request((b"ccache", *words), b"", b"", bytes(cwd), 0o027, 4, 7)


def kinds(directory: Path) -> set[str]:
    return {m.group(1) for p in directory.iterdir() if (m := NAME.fullmatch(p.name))}


def debug_file(directory: Path, kind: str) -> Path:
    (found,) = directory.glob(f"*.ccache-{kind}")
    return found


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (b"-c a.c", b"a.o"),
        (b"-c d/a.c -o d/x.o", b"d/x.o"),
        (b"-c -od/x.o a.c", b"d/x.o"),
        (b"-S a.c", b"a.s"),
        (b"-I inc -c a.b.c", b"a.b.o"),
        (b"-c a.c -save-temps", b"a.o"),
        (b"a.o b.o -o prog", b"prog"),
        (b"-c a.c -o -", b""),
        (b"-v", b""),
    ],
)
def test_the_object_is_guessed_for_lines_that_are_not_understood(line: bytes, name: bytes) -> None:
    assert object_name(line.split()) == name


def filled(files: DebugFiles) -> DebugFiles:
    common = Fingerprint(trace=True)
    common.add(b"language", b"c")
    common.add(b"source", bytes(range(200, 220)))
    direct = common.copy()
    direct.add(b"arg", b"-DX", b"\xc3\xa9")
    files.add("c", common)
    files.add("d", direct, common)
    return files


def test_sections_hold_what_was_hashed(tmp_path: Path) -> None:
    filled(DebugFiles(request(tmp_path), Config(debug=True), [b"-c", b"a.c"])).write(b"log\n")
    assert kinds(tmp_path) == {"log", "input-c", "input-d", "input-p", "input-text"}
    assert debug_file(tmp_path, "log").read_bytes() == b"log\n"
    assert debug_file(tmp_path, "input-d").read_bytes() == b"arg\x002\x003\0-DX2\0\xc3\xa9"
    assert debug_file(tmp_path, "input-p").read_bytes() == b""
    assert debug_file(tmp_path, "input-text").read_bytes() == (
        b"=== COMMON ===\n### language\nc\n### source\n"
        b"c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadb\n"
        b"=== DIRECT MODE ===\n### arg\n-DX\n\xc3\xa9\n"
        b"=== PREPROCESSOR MODE ===\n### this call needed no preprocessed text\n"
    )


def test_common_and_direct_bytes_together_are_what_the_key_hashed() -> None:
    key = Fingerprint(trace=True)
    key.add(b"a", b"1", b"")
    rest = key.copy()
    rest.add(b"b")
    assert key.hashed() + rest.hashed(key) == rest.hashed() == b"a\x002\x001\x0010\0b\x000\0"


def test_a_call_that_was_not_understood_leaves_its_log_alone(tmp_path: Path) -> None:
    DebugFiles(request(tmp_path), Config(debug=True), [b"-c", b"a.c"]).write(b"")
    assert kinds(tmp_path) == {"log"}


def test_level_1_leaves_the_log_alone(tmp_path: Path) -> None:
    config = Config(debug=True, debug_level=1)
    filled(DebugFiles(request(tmp_path), config, [b"-c", b"a.c"])).write(b"")
    assert kinds(tmp_path) == {"log"}


def test_nothing_is_written_for_dev_null(tmp_path: Path) -> None:
    words = [b"-c", b"a.c", b"-o", b"/dev/null"]
    DebugFiles(request(tmp_path), Config(debug=True), words).write(b"")
    assert list(tmp_path.iterdir()) == []


def test_debug_dir_holds_the_files_under_their_whole_physical_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    config = Config(debug=True, debug_dir="dir/s", working_directory=str(tmp_path / "link"))
    DebugFiles(request(tmp_path / "link"), config, [b"-c", b"a.c"]).write(b"")
    assert kinds(tmp_path / "real/dir/s" / str(tmp_path / "real").lstrip("/")) == {"log"}


def test_files_have_the_clients_umask(tmp_path: Path) -> None:
    DebugFiles(request(tmp_path), Config(debug=True), [b"-c", b"a.c"]).write(b"")
    assert debug_file(tmp_path, "log").stat().st_mode & 0o777 == 0o640


def test_a_log_begins_with_the_settings_and_the_call(tmp_path: Path) -> None:
    config = Config(max_files=4, origins={"max_files": "environment"})
    lines = list(opening_lines(request(tmp_path, b"gcc", b"-c", b"a.c"), config))
    assert "Config: (environment) max_files = 4" in lines
    assert "Command line: ccache gcc -c a.c" in lines
    assert f"Working directory: {tmp_path}" in lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:word@host/x", "http://********@host/x"),
        ("redis://:word@host redis://host", "redis://********@host redis://host"),
        ("http://h @bearer-token=abc @x=1", "http://h @bearer-token=******** @x=********"),
        ("http://host:80/a@b", "http://host:80/a@b"),
        ("", ""),
    ],
)
def test_a_log_holds_no_password(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@needs_gcc
def test_a_miss_and_a_hit_leave_files_beside_the_object(tmp_path: Path) -> None:
    place = tmp_path / "w"
    place.mkdir()
    (place / "a.c").write_text("int x;\n")
    for outcome in ("cache_miss", "direct_cache_hit"):
        got = call(place, ["ccache", "max_files = 9", "gcc", "-c", "a.c"], {"CCACHE_DEBUG": "1"})
        assert (got.returncode, got.stderr) == (0, b"")
        assert kinds(place) == {"log", "input-c", "input-d", "input-p", "input-text"}
        log = debug_file(place, "log").read_text()
        assert f"Result: {outcome}\n" in log
        assert "Compiler type: gcc\n" in log
        assert "(command line) max_files = 9\n" in log
        for file in place.glob("*.ccache-*"):
            file.unlink()


@needs_gcc
def test_in_classic_order_the_preprocessed_text_is_shown(tmp_path: Path) -> None:
    place = tmp_path / "w"
    place.mkdir()
    (place / "a.c").write_text("#define Y\nint x Y;\n")
    variables = {"CCACHE_DEBUG": "1", "CCACHE_NODIRECT": "1"}
    assert call(place, ["ccache", "gcc", "-c", "a.c"], variables).returncode == 0
    assert kinds(place) == {"log", "input-c", "input-p", "input-text"}
    assert b"int x ;\n" in debug_file(place, "input-text").read_bytes()


@needs_gcc
def test_a_log_on_the_clients_stderr_comes_out_there(tmp_path: Path) -> None:
    place = tmp_path / "w"
    place.mkdir()
    (place / "a.c").write_text("int x;\n")
    got = call(place, ["ccache", "gcc", "-c", "a.c"], {"CCACHE_LOGFILE": "/dev/stderr"})
    assert b"Result: cache_miss\n" in got.stderr
    got = call(place, ["ccache", "no-such-compiler"], {"CCACHE_LOGFILE": "/dev/stderr"})
    assert b"Could not find compiler" in got.stderr
