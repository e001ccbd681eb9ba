"""The log of a request: the form of its lines, when and where they are written."""

from __future__ import annotations

import os
import re
import stat
import syslog
import time
from pathlib import Path

import pytest

from pycc.log import MAX_SIZE, NO_LOG, Log, open_log

NOON = time.mktime((2026, 1, 2, 12, 0, 0, 0, 0, -1)) + 0.25


def log_at_noon(path: bytes = b"", pid: int = 123, *, debug: bool = True) -> Log:
    return Log(path, pid, debug=debug, clock=lambda: NOON)


@pytest.mark.parametrize(("pid", "shown"), [(1, "1    "), (12345, "12345"), (4194304, "4194304")])
def test_a_line_has_the_form_of_ccache(pid: int, shown: str) -> None:
    log = log_at_noon(pid=pid)
    log("Result: direct_cache_hit")
    assert log.text == f"[2026-01-02T12:00:00.250000 {shown}] Result: direct_cache_hit\n".encode()


def test_the_real_clock_gives_the_same_form() -> None:
    log = Log(b"", 7, debug=True)
    log("x")
    form = rb"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6} 7    \] x\n"
    assert re.fullmatch(form, log.text)


def test_lines_in_bulk_share_their_time() -> None:
    ticks = iter((NOON, NOON + 1))
    log = Log(b"", 1, debug=True, clock=lambda: next(ticks))
    log.bulk(["a", "b"])
    log("c")
    assert [line[12:20] for line in log.text.splitlines()] == [
        b"12:00:00",
        b"12:00:00",
        b"12:00:01",
    ]


def test_nothing_is_opened_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = log_at_noon(os.fsencode(path))
    log("a")
    assert not path.exists()
    assert log.flush() is None
    assert path.read_bytes() == log.text


def test_a_log_without_lines_makes_no_file(tmp_path: Path) -> None:
    log_at_noon(os.fsencode(tmp_path / "log")).flush()
    assert list(tmp_path.iterdir()) == []


def test_lines_are_appended_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"earlier\n")
    log = log_at_noon(os.fsencode(path))
    for text in ("a", "b"):
        log(text)
        log.flush()
        log.flush()
    assert [line[-1:] for line in path.read_bytes().splitlines()] == [b"r", b"a", b"b"]


def test_a_new_file_follows_the_umask_of_the_client(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Log(os.fsencode(path), 1, umask=0o002)
    log("a")
    log.flush()
    assert stat.S_IMODE(path.stat().st_mode) == 0o664


def test_bytes_that_are_not_utf8_are_logged_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = log_at_noon(os.fsencode(path))
    log(os.fsdecode(b"\xff"))
    log.flush()
    assert path.read_bytes().endswith(b" \xff\n")


def test_a_file_that_cannot_be_written_is_reported_with_the_words_of_ccache(
    tmp_path: Path,
) -> None:
    path = tmp_path / "missing/log"
    log = log_at_noon(os.fsencode(path))
    log("a")
    assert log.flush() == f"Failed to write to {path}: No such file or directory"


def test_a_pipe_that_nobody_reads_does_not_stop_us(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    log = log_at_noon(os.fsencode(tmp_path / "pipe"))
    log("a")
    assert "No such device" in (log.flush() or "")


@pytest.mark.parametrize(
    ("path", "stream"),
    [
        (b"/dev/stderr", 2),
        (b"/dev/stdout", 1),
        (b"//dev/fd/2", 2),
        (b"/tmp/log", None),
        (b"", None),
    ],
)
def test_standard_streams_are_left_to_the_caller(path: bytes, stream: int | None) -> None:
    assert log_at_noon(path).stream == stream


def test_a_standard_stream_is_not_opened_here(capfd: pytest.CaptureFixture[str]) -> None:
    log = log_at_noon(b"/dev/stderr")
    log("a")
    assert log.flush() is None
    assert capfd.readouterr().err == ""


def test_syslog_lines_carry_the_process_of_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(syslog, "openlog", lambda *words: calls.append(words))
    monkeypatch.setattr(syslog, "syslog", lambda *words: calls.append(words))
    monkeypatch.setattr(syslog, "closelog", lambda: calls.append(()))
    log = log_at_noon(b"syslog")
    log("a\udcff")
    log.flush()
    tag = ("ccache[123]", 0, syslog.LOG_USER)
    assert calls == [tag, (syslog.LOG_DEBUG, "a\\udcff"), ()]


def test_a_log_that_grows_without_end_is_cut() -> None:
    log = log_at_noon()
    for _ in range(5):
        log("x" * (MAX_SIZE // 3))
    assert len(log.text) < MAX_SIZE
    assert log.text.endswith(b"Log is too long; the rest is dropped\n")


def test_without_a_wish_there_is_no_log() -> None:
    assert open_log(b"", 1) is NO_LOG
    assert not NO_LOG.enabled


def test_the_log_that_is_none_keeps_nothing() -> None:
    NO_LOG("a")
    NO_LOG.bulk(["a"])
    assert (NO_LOG.text, NO_LOG.flush(), NO_LOG.stream) == (b"", None, None)


def test_a_debug_log_alone_writes_no_file(tmp_path: Path) -> None:
    log = open_log(b"", 1, debug=True)
    log("a")
    assert (log.enabled, log.flush(), len(log.text.splitlines())) == (True, None, 1)
