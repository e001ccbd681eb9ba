"""What the maintenance commands do with a store, its counters and its limits.

The store knows how to remove; here it is decided what, the counters learn of it, and the answer is
worded as ccache words it.
"""

from ..record import record
from .statistics import Statistics
from .statistics_text import from_storage
from .storage import Storage, Totals


@record
class Eviction:
    """What to evict: not used for ``older_than`` seconds, stored under ``namespace``, or both."""

    older_than: float | None = None
    namespace: str | None = None


def account(storage: Storage, statistics: Statistics) -> None:
    """Move what the store has counted into the statistics (in memory; flush is the caller's)."""
    statistics.add(from_storage(storage.counts.take()))


def clean_up(storage: Storage, statistics: Statistics, *, dry_run: bool = False) -> Totals:
    """Bring the store below its limits (``--cleanup``); return what went."""
    removed = storage.cleanup(dry_run=dry_run)
    account(storage, statistics)
    statistics.flush()
    return removed


def clear(storage: Storage, statistics: Statistics) -> Totals:
    """Remove every entry (``--clear``); return what went. The counters stay, as in ccache."""
    removed = storage.clear()
    if removed.entries:
        statistics.add({"cleanups_performed": 1})
    account(storage, statistics)
    statistics.flush()
    return removed


def evict(
    storage: Storage, statistics: Statistics, eviction: Eviction, *, dry_run: bool = False
) -> Totals:
    """Remove what ``eviction`` names (``--evict-older-than``, ``--evict-namespace``)."""
    if eviction.older_than is not None:
        removed = storage.evict_older_than(eviction.older_than, eviction.namespace, dry_run=dry_run)
    elif eviction.namespace is not None:
        removed = storage.evict_namespace(eviction.namespace, dry_run=dry_run)
    else:
        removed = Totals(0, 0)
    account(storage, statistics)
    statistics.flush()
    return removed


def removal_text(removed: Totals, *, dry_run: bool, binary_units: bool = True) -> str:
    """Return the two lines that tell what was, or would be, removed."""
    quantity, unit = size_text(removed.size, binary_units=binary_units).split(" ", 1)
    verb = "Would remove" if dry_run else "Removed"
    width = max(len(quantity), len(str(removed.entries)))
    return f"{verb} data:  {quantity:>{width}} {unit}\n{verb} files: {removed.entries:>{width}}\n"


def size_text(size: int, *, binary_units: bool = True) -> str:
    """Return ``size`` (bytes) for people, as ccache prints it: ``1.5 MiB``, ``1 byte``."""
    factor, units = (1024, ("KiB", "MiB", "GiB")) if binary_units else (1000, ("kB", "MB", "GB"))
    for power in (3, 2, 1):
        if size >= factor**power:
            return f"{size / factor**power:.1f} {units[power - 1]}"
    return "1 byte" if size == 1 else f"{size} bytes"
