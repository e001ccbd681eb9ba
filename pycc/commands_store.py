"""The commands that look into the store or change it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from . import config
from .cache import cleanup, recompression
from .cache.digest import checksum
from .cache.storage import MAX_VALUE
from .commands_session import Session
from .config_values import parse_signed
from .errors import Fatal

if TYPE_CHECKING:
    from . import commands_entries

PIECE = 1 << 20  # bytes


def _clear(session: Session, _: str) -> str:
    cache = session.cache()
    if session.dry_run:
        removed = cache.storage.totals()
    else:
        removed = cleanup.clear(cache.storage, cache.statistics)
    session.resident.forget_hits()
    return cleanup.removal_text(removed, dry_run=session.dry_run)


def _cleanup(session: Session, _: str) -> str:
    cache = session.cache()
    removed = cleanup.clean_up(cache.storage, cache.statistics, dry_run=session.dry_run)
    return cleanup.removal_text(removed, dry_run=session.dry_run)


def evict(session: Session, eviction: cleanup.Eviction) -> str:
    """Remove what is old or of a namespace, and say how much that was."""
    cache = session.cache()
    removed = cleanup.evict(cache.storage, cache.statistics, eviction, dry_run=session.dry_run)
    return cleanup.removal_text(removed, dry_run=session.dry_run)


def _evict_older(session: Session, value: str) -> str:
    seconds = config.parse_duration(value) / 1000
    return evict(session, cleanup.Eviction(seconds, session.namespace))


def _binary_units(session: Session) -> bool:
    """Sizes are shown as the limit is written."""
    limit = session.settings().max_size
    return not (isinstance(limit, config.Size) and limit.decimal)


def compression_level(text: str) -> int | None:
    """zstd's level; None where nothing is to be compressed."""
    return None if text == "uncompressed" else parse_signed(text, -128, 127, "compression level")


def _show_compression(session: Session, _: str) -> str:
    sizes = recompression.measure(session.cache().storage, session.go_on)
    return recompression.sizes_text(sizes, binary_units=_binary_units(session))


def _recompress(session: Session, value: str) -> str:
    level, cache = compression_level(value), session.cache()
    done = recompression.recompress(cache.storage, level, session.go_on)
    cleanup.account(cache.storage, cache.statistics)
    session.resident.forget_hits()
    return recompression.recompressed_text(done, binary_units=_binary_units(session))


def _print_entries(session: Session, _: str) -> str:
    from .commands_entries import listing_text

    session.go_on()
    listed = session.cache().storage.listing()
    return listing_text(listed, as_json=session.json)


def _entry(session: Session, name: str) -> commands_entries.Named:
    from .commands_entries import Named, find, unsealed

    if name == "-":
        return Named(unsealed(sys.stdin.buffer.read(MAX_VALUE)), None)
    return find(session.cache().storage, name, session.request.cwd)


def _inspect(session: Session, name: str) -> str:
    from .commands_entries import inspection

    return inspection(_entry(session, name))


def _extract_result(session: Session, name: str) -> str:
    from .commands_entries import extraction

    session.ops += extraction(session.cache().storage, _entry(session, name))
    return ""


def _pieces(session: Session, name: str, verb: str) -> Iterator[bytes]:
    try:
        with sys.stdin.buffer if name == "-" else open(session.path(name), "rb") as file:
            while piece := file.read(PIECE):
                session.go_on()
                yield piece
    except OSError as problem:
        raise Fatal(f"Failed to {verb} {name}: {problem.strerror}") from problem


def _checksum_file(session: Session, name: str) -> str:
    return f"{checksum(_pieces(session, name, 'checksum')).hex()}\n"


def _hash_file(session: Session, name: str) -> str:
    from .cache import blake3

    return f"{blake3.digest(_pieces(session, name, 'hash'))[:20].hex()}\n"


def _trim_dir(session: Session, directory: str) -> str:
    from .trimming import trim

    if session.dry_run and session.trim_recompress:
        raise Fatal("--dry-run cannot be used with --trim-recompress")
    size = session.trim_size
    if size is None:
        raise Fatal("please specify --trim-max-size when using --trim-dir")
    return trim(
        session.path(directory),
        size,
        binary_units=not size.decimal,
        by_mtime=session.trim_by_mtime,
        recompress=bool(session.trim_recompress),
        level=compression_level(session.trim_recompress or "uncompressed"),
        dry_run=session.dry_run,
        go_on=session.go_on,
    )


COMMANDS: Mapping[str, Callable[[Session, str], str]] = {
    "--checksum-file": _checksum_file,
    "--cleanup": _cleanup,
    "--clear": _clear,
    "--evict-older-than": _evict_older,
    "--extract-result": _extract_result,
    "--hash-file": _hash_file,
    "--inspect": _inspect,
    "--print-entries": _print_entries,
    "--recompress": _recompress,
    "--show-compression": _show_compression,
    "--trim-dir": _trim_dir,
}
