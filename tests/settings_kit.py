"""Calls with settings, and what became of them."""

from __future__ import annotations

import stat
from pathlib import Path

from tests.compile_kit import Bench

WORDS = {"direct_cache_hit": "hit", "preprocessed_cache_hit": "text", "cache_miss": "miss"}


def seen(bench: Bench, line: str = "-c a.c -o a.o", /, **settings: str) -> str:
    """What became of one call with these settings more; a line may name its compiler first."""
    before = dict(bench.variables)
    bench.configure(**settings)
    name, _, rest = ("", "", line) if line[:1] in ("-", "@") else line.partition(" ")
    bench.call(rest, name=name.encode() or b"gcc")
    bench.variables.clear()
    bench.variables |= before
    return counted(bench)


def counted(bench: Bench) -> str:
    found = bench.counters()
    said = [name for name in found if not name.startswith("local_storage_")]
    return next((word for counter, word in WORDS.items() if counter in found), " ".join(said))


def from_two_directories(bench: Bench, line: str, **settings: str) -> str:
    """What became of the second call."""
    bench.configure(**settings)
    bench.file("below/b.c", "int v;\n")
    seen(bench, line)
    before, bench.root = bench.root, bench.root / "other"
    bench.cwd.mkdir(parents=True, exist_ok=True)
    bench.call(line)
    bench.root = before
    return counted(bench)


def in_turn(bench: Bench, *calls: dict[str, str], line: str = "-c a.c -o a.o") -> list[str]:
    return [seen(bench, line, **settings) for settings in calls]


def words_of(bench: Bench) -> list[tuple[bytes, ...]]:
    return [tuple(command.argv) for command in bench.commands]


def log_of(bench: Bench, **settings: str) -> str:
    log = bench.root / "log"
    seen(bench, LOGFILE=str(log), **settings)
    return log.read_text()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def wrapper(bench: Bench, name: str, text: str) -> Path:
    path = bench.file(name, "#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path
