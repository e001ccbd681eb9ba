"""How counters are shown: to scripts, to people, and in the statistics log.

The names, their order, the columns and the labels are those of ccache's ``--print-stats`` and
``--show-stats`` at e5731387, because scripts and eyes are used to them. All functions are pure.
"""

import json
import time
from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from enum import Enum
from itertools import accumulate
from typing import Final

from ..record import record
from .storage import Totals

OWN_PREFIX: Final = "pycc_"


class Kind(Enum):
    """What a counter says of the call that it counts."""

    UNCACHEABLE = "uncacheable"
    ERROR = "error"
    OTHER = "other"


@record
class Counter:
    """One of ccache's counters: its id, its label in ``-sv`` and its kind."""

    name: str
    label: str = ""
    kind: Kind = Kind.OTHER


def _rows(kind: Kind, text: str) -> tuple[Counter, ...]:
    split = (line.strip().partition(" ") for line in text.strip().splitlines())
    return tuple(Counter(name, label.strip(), kind) for name, _, label in split)


_UNCACHEABLE: Final = """
    autoconf_test                     Autoconf compile/link
    bad_compiler_arguments            Bad compiler arguments
    called_for_link                   Called for linking
    called_for_preprocessing          Called for preprocessing
    compile_failed                    Compilation failed
    compiler_produced_empty_output    Compiler produced empty output
    compiler_produced_no_output       Compiler output file missing
    compiler_produced_stdout          Compiler produced stdout
    could_not_use_modules             Could not use modules
    could_not_use_precompiled_header  Could not use precompiled header
    disabled                          Ccache disabled
    multiple_source_files             Multiple source files
    no_input_file                     No input file
    output_to_stdout                  Output to stdout
    preprocessor_error                Preprocessing failed
    recache                           Forced recache
    unsupported_code_directive        Unsupported code directive
    unsupported_compiler_option       Unsupported compiler option
    unsupported_environment_variable  Unsupported environment variable
    unsupported_source_encoding       Unsupported source encoding
    unsupported_source_language       Unsupported source language
"""

_ERROR: Final = """
    bad_input_file                    Could not read or parse input file
    bad_output_file                   Could not write to output file
    compiler_check_failed             Compiler check failed
    could_not_find_compiler           Could not find compiler
    error_hashing_extra_file          Error hashing extra file
    internal_error                    Internal error
    missing_cache_file                Missing cache file
    modified_input_file               Input file modified during compilation
"""

_OTHER: Final = """
    cache_miss
    cache_size_kibibyte
    cleanups_performed
    direct_cache_hit
    direct_cache_miss
    files_in_cache
    local_storage_hit
    local_storage_miss
    local_storage_read_hit
    local_storage_read_miss
    local_storage_write
    max_cache_size_kibibyte
    max_files_in_cache
    preprocessed_cache_hit
    preprocessed_cache_miss
    remote_storage_error
    remote_storage_hit
    remote_storage_miss
    remote_storage_read_hit
    remote_storage_read_miss
    remote_storage_timeout
    remote_storage_write
    stats_updated_timestamp
    stats_zeroed_timestamp
"""

COUNTERS: Final = (
    *_rows(Kind.UNCACHEABLE, _UNCACHEABLE),
    *_rows(Kind.ERROR, _ERROR),
    *_rows(Kind.OTHER, _OTHER),
)
NAMES: Final = tuple(sorted(counter.name for counter in COUNTERS))

# Derived from the configuration or the store: no call ever counts them.
_NEVER_LOGGED: Final = frozenset(
    {
        "cache_size_kibibyte",
        "files_in_cache",
        "max_cache_size_kibibyte",
        "max_files_in_cache",
        "stats_updated_timestamp",
        "stats_zeroed_timestamp",
    }
)


@record
class StatsContext:
    """What ``--show-stats`` says beside the counters. Sizes are in bytes, 0 means no limit."""

    cache_dir: str = ""
    config_file: str = ""
    directory_config_file: str = ""
    system_config_file: str = ""
    max_size: int = 0
    max_files: int = 0
    binary_units: bool = True
    """Whether ``max_size`` was given in powers of 1024, as it is by default."""


def from_storage(taken: Mapping[str, int]) -> dict[str, int]:
    """Return the statistics of what `storage.Counts.take` gave."""
    named = {"cleanups": "cleanups_performed"}
    return {named.get(name, f"{OWN_PREFIX}storage_{name}"): n for name, n in taken.items()}


def with_contents(
    counters: Mapping[str, int], totals: Totals, max_size: int, max_files: int
) -> dict[str, int]:
    """Return ``counters`` completed by what the store and the configuration know."""
    return {
        **counters,
        "cache_size_kibibyte": -(-totals.size // 1024),
        "files_in_cache": totals.entries,
        "max_cache_size_kibibyte": max_size // 1024,
        "max_files_in_cache": max_files,
    }


def _shown(counters: Mapping[str, int], own: bool) -> dict[str, int]:
    names = set(NAMES)
    if own:
        names |= {name for name in counters if name.startswith(OWN_PREFIX)}
    return {name: counters.get(name, 0) for name in sorted(names)}


def print_stats_tab(counters: Mapping[str, int], *, own: bool = False) -> str:
    """Return ``--print-stats``: every counter of ccache's, with ``own`` ours as well."""
    return "".join(f"{name}\t{count}\n" for name, count in _shown(counters, own).items())


def print_stats_json(counters: Mapping[str, int], *, own: bool = False) -> str:
    """Return ``--print-stats --format=json``."""
    return json.dumps(_shown(counters, own), indent=2) + "\n"


# The statistics log: per call a comment with the source file, then the counters that it moved.


def log_entry(source: bytes, counts: Mapping[str, int]) -> bytes:
    """Return what one call appends: a name stands once for each time that it was counted."""
    names = sorted(
        name
        for name, count in counts.items()
        if name not in _NEVER_LOGGED and not name.startswith(OWN_PREFIX)
        for _ in range(count)
    )
    return b"# " + source.replace(b"\n", b" ") + b"\n" + "".join(f"{n}\n" for n in names).encode()


def read_log(text: bytes) -> dict[str, int]:
    """Return the counters of a statistics log; lines that are no counter's are skipped."""
    known = {name.encode() for name in NAMES}
    return {name.decode(): n for name, n in Tally(text.split(b"\n")).items() if name in known}


# For people.


@record
class _Cell:
    text: str
    right: bool = False
    span: int = 1


_Row = tuple[_Cell, ...]


def _render(rows: Iterable[_Row | str]) -> str:
    """Lay out rows of cells; a plain string is a heading, which takes no part in the widths."""
    rows = list(rows)
    placed = sorted(
        (last, cell.span, len(cell.text))
        for row in rows
        if not isinstance(row, str)
        for cell, last in zip(row, accumulate(cell.span for cell in row), strict=True)
    )
    # A cell that spans columns widens only the last of them, by what the others leave over.
    widths: dict[int, int] = {}
    for last, span, length in placed:
        beside = sum(widths.get(last - i, 0) + 1 for i in range(1, span))
        widths[last] = max(widths.get(last, 0), length - beside)
    return "".join(_line(row, widths) + "\n" for row in rows)


def _line(row: _Row | str, widths: Mapping[int, int]) -> str:
    if isinstance(row, str):
        return row
    parts = []
    column = 1
    for cell in row:
        columns = range(column, column + cell.span)
        width = sum(widths.get(i, 0) for i in columns) + cell.span - 1
        parts.append(cell.text.rjust(width) if cell.right else cell.text.ljust(width))
        column += cell.span
    return " ".join(parts).rstrip()


def _percent(part: float, whole: float) -> str:
    if not whole:
        return ""
    share = 100.0 * part / whole
    text = f"({share:5.2f}%)"
    return text if len(text) <= len("(12.34%)") else f"({share:5.1f}%)"


def _number(value: int) -> _Cell:
    return _Cell(str(value), right=True)


def _ratio(label: str, part: int, whole: int) -> _Row:
    if not whole:
        return _Cell(label), _number(part)
    return _Cell(label), _number(part), _Cell("/"), _number(whole), _Cell(_percent(part, whole))


def _when(timestamp: int) -> str:
    return time.strftime("%c", time.localtime(timestamp)) if timestamp else "never"


def show_stats(
    counters: Mapping[str, int],
    context: StatsContext,
    verbosity: int = 0,
    *,
    from_log: bool = False,
) -> str:
    """Return ``--show-stats`` (``verbosity`` 0 to 2) or, with ``from_log``, ``--show-log-stats``.

    ``counters`` are those of `with_contents`, or of `read_log`.
    """
    rows: list[_Row | str] = []
    if verbosity and not from_log:
        rows += _places(counters, context, verbosity)
    rows += _calls(counters, verbosity)
    rows += _farm(counters)
    rows += _local(counters, context, verbosity, from_log)
    rows += _remote(counters, verbosity)
    return _render(rows)


def _places(counters: Mapping[str, int], context: StatsContext, verbosity: int) -> list[_Row]:
    lines = [
        ("Cache directory:", context.cache_dir),
        ("Config file:", context.config_file),
        ("Directory config file:", context.directory_config_file),
        ("System config file:", context.system_config_file),
        ("Stats updated:", _when(counters.get("stats_updated_timestamp", 0))),
    ]
    if verbosity > 1:
        lines.append(("Stats zeroed:", _when(counters.get("stats_zeroed_timestamp", 0))))
    return [(_Cell(label), _Cell(text, span=4)) for label, text in lines]


def _calls(counters: Mapping[str, int], verbosity: int) -> list[_Row | str]:
    get = counters.get
    direct, preprocessed = get("direct_cache_hit", 0), get("preprocessed_cache_hit", 0)
    hits, misses = direct + preprocessed, get("cache_miss", 0)
    sums = {
        kind: sum(get(counter.name, 0) for counter in COUNTERS if counter.kind is kind)
        for kind in (Kind.UNCACHEABLE, Kind.ERROR)
    }
    calls = hits + misses + sum(sums.values())
    rows: list[_Row | str] = []
    if calls or verbosity > 1:
        rows += [
            _ratio("Cacheable calls:", hits + misses, calls),
            _ratio("  Hits:", hits, hits + misses),
            _ratio("    Direct:", direct, hits),
            _ratio("    Preprocessed:", preprocessed, hits),
            _ratio("  Misses:", misses, hits + misses),
        ]
    for kind, title in ((Kind.UNCACHEABLE, "Uncacheable calls:"), (Kind.ERROR, "Errors:")):
        if sums[kind] or verbosity > 1:
            rows.append(_ratio(title, sums[kind], calls))
            if verbosity:
                rows += _reasons(counters, kind, sums[kind], every=verbosity > 1)
    if calls and verbosity:
        rows += [
            "Successful lookups:",
            _ratio("  Direct:", direct, direct + get("direct_cache_miss", 0)),
            _ratio(
                "  Preprocessed:", preprocessed, preprocessed + get("preprocessed_cache_miss", 0)
            ),
        ]
    return rows


_FARM: Final = {
    "exact": "Compiled there:",
    "pumped": "Compiled there in pump mode:",
    "compiled": "Compiled there from preprocessed text:",
    "local": "Had to stay here:",
    "known": "Known there:",
    "other_compiler": "Another compiler there:",
    "retried": "Failed there, done again here:",
    "failed": "Failed there, not done again:",
    "refused": "Refused there, done here:",
    "unreachable": "No server to be had, done here:",
    "unannounced": "No server announces itself, done here:",
    "undiscovered": "No discovery, done here (see the log):",
}
"""What became of misses where work is distributed, each counted as ``pycc_farm_NAME``."""

_FARM_BESIDE: Final = {
    "other_compiler": "Servers with another compiler:",
    "other_headers": "Servers with other headers:",
    "not_pumped": "Not fit for pump mode:",
}
"""What is counted beside."""


def _farm(counters: Mapping[str, int]) -> list[_Row | str]:
    counts = {label: counters.get(f"{OWN_PREFIX}farm_{name}", 0) for name, label in _FARM.items()}
    whole = sum(counts.values())
    if not whole:
        return []
    shown = [_ratio(f"  {label}", count, whole) for label, count in counts.items() if count]
    for name, label in _FARM_BESIDE.items():
        count = counters.get(f"{OWN_PREFIX}farm_{name}", 0)
        if count:
            shown.append((_Cell(f"  {label}"), _number(count)))
    return ["Compile servers:", *shown]


def _reasons(counters: Mapping[str, int], kind: Kind, whole: int, *, every: bool) -> list[_Row]:
    labels = sorted((c.label, counters.get(c.name, 0)) for c in COUNTERS if c.kind is kind)
    return [_ratio(f"  {label}:", count, whole) for label, count in labels if count or every]


def _local(
    counters: Mapping[str, int], context: StatsContext, verbosity: int, from_log: bool
) -> list[_Row | str]:
    get = counters.get
    hits, misses = get("local_storage_hit", 0), get("local_storage_miss", 0)
    rows: list[_Row | str] = []
    if not from_log or verbosity or hits + misses:
        rows.append("Local storage:")
    if not from_log:
        rows.append(_size_row(get("cache_size_kibibyte", 0) * 1024, context))
        files = get("files_in_cache", 0)
        if context.max_files:
            rows.append(_ratio("  Files:", files, context.max_files))
        elif verbosity:
            rows.append((_Cell("  Files:"), _number(files)))
        cleanups = get("cleanups_performed", 0)
        if cleanups or verbosity > 1:
            rows.append((_Cell("  Cleanups:"), _number(cleanups)))
    if verbosity or hits + misses:
        rows += [_ratio("  Hits:", hits, hits + misses), _ratio("  Misses:", misses, hits + misses)]
    if verbosity:
        rows += _traffic(counters, "local")
    return rows


def _size_row(size: int, context: StatsContext) -> _Row:
    unit, divider = ("GiB", 1 << 30) if context.binary_units else ("GB", 10**9)
    row = (_Cell(f"  Cache size ({unit}):"), _Cell(f"{size / divider:.1f}", right=True))
    if not context.max_size:
        return row
    limit = _Cell(f"{context.max_size / divider:.1f}", right=True)
    return (*row, _Cell("/"), limit, _Cell(_percent(size, context.max_size)))


def _traffic(counters: Mapping[str, int], tier: str) -> list[_Row]:
    read_hits = counters.get(f"{tier}_storage_read_hit", 0)
    reads = read_hits + counters.get(f"{tier}_storage_read_miss", 0)
    writes = counters.get(f"{tier}_storage_write", 0)
    return [(_Cell("  Reads:"), _number(reads)), (_Cell("  Writes:"), _number(writes))]


_AWAITED: Final = {
    "followed": "  Compiled elsewhere meanwhile:",
    "not_followed": "  Waited for in vain:",
}
"""What is shown where several machines share a storage that knows leases (remote_lease.py)."""


def _remote(counters: Mapping[str, int], verbosity: int) -> list[_Row | str]:
    hits, misses, errors, timeouts = (
        counters.get(f"remote_storage_{name}", 0) for name in ("hit", "miss", "error", "timeout")
    )
    if verbosity < 2 and not hits + misses + errors + timeouts:
        return []
    rows: list[_Row | str] = [
        "Remote storage:",
        _ratio("  Hits:", hits, hits + misses),
        _ratio("  Misses:", misses, hits + misses),
    ]
    if verbosity:
        rows += _traffic(counters, "remote")
    for label, count in (("  Errors:", errors), ("  Timeouts:", timeouts)):
        if verbosity > 1 or count:
            rows.append((_Cell(label), _number(count)))
    for name, label in _AWAITED.items():
        if counters.get(f"{OWN_PREFIX}remote_{name}"):
            rows.append((_Cell(label), _number(counters[f"{OWN_PREFIX}remote_{name}"])))
    return rows
