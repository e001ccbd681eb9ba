"""Counters as text: names, order, columns and labels are those that ccache's users know."""

import json

import pytest

from pycc import outcome
from pycc.cache.cleanup import removal_text, size_text
from pycc.cache.statistics_text import (
    COUNTERS,
    NAMES,
    Kind,
    StatsContext,
    log_entry,
    print_stats_json,
    print_stats_tab,
    read_log,
    show_stats,
    with_contents,
)
from pycc.cache.storage import Totals

SOME = {
    "direct_cache_hit": 12,
    "direct_cache_miss": 3,
    "cache_miss": 3,
    "called_for_link": 2,
    "internal_error": 1,
    "local_storage_hit": 12,
    "local_storage_miss": 3,
}
CONTEXT = StatsContext("/c", "/c/ccache.conf", "", "/etc/ccache.conf", max_size=5 << 30)


def test_the_names_are_those_of_the_outcomes() -> None:
    assert list(NAMES) == sorted(item.value for item in outcome.Outcome)
    assert len(NAMES) == 53


def test_the_kinds_are_those_of_the_outcomes() -> None:
    for kind, expected in ((Kind.ERROR, outcome.ERRORS), (Kind.UNCACHEABLE, outcome.UNCACHEABLE)):
        assert {c.name for c in COUNTERS if c.kind is kind} == {item.value for item in expected}


def test_every_counter_of_a_reason_has_a_label_of_its_own() -> None:
    labels = [counter.label for counter in COUNTERS if counter.kind is not Kind.OTHER]
    assert all(labels)
    assert len(set(labels)) == len(labels)


def test_tab_output_has_all_names_in_order() -> None:
    lines = print_stats_tab(SOME).splitlines()
    assert [line.split("\t")[0] for line in lines] == list(NAMES)
    assert "direct_cache_hit\t12" in lines
    assert "recache\t0" in lines


def test_json_output_has_the_same_content() -> None:
    text = print_stats_json(SOME)
    assert text.startswith('{\n  "autoconf_test": 0,\n')
    assert text.endswith("\n}\n")
    tab = dict(line.split("\t") for line in print_stats_tab(SOME).splitlines())
    assert json.loads(text) == {name: int(count) for name, count in tab.items()}


def test_our_own_counters_are_shown_only_when_asked_for() -> None:
    counters = {"pycc_storage_corrupt": 1, "nobody_knows": 1}
    assert "pycc" not in print_stats_tab(counters)
    assert "pycc_storage_corrupt\t1\n" in print_stats_tab(counters, own=True)
    assert "nobody" not in print_stats_tab(counters, own=True)


def test_contents_come_from_the_store_and_limits_from_the_configuration() -> None:
    counters = with_contents({"cache_miss": 1}, Totals(1025, 7), 5 << 30, 9)
    assert counters == {
        "cache_miss": 1,
        "cache_size_kibibyte": 2,
        "files_in_cache": 7,
        "max_cache_size_kibibyte": 5 << 20,
        "max_files_in_cache": 9,
    }


def test_the_log_names_the_source_and_each_counter_as_often_as_it_moved() -> None:
    counts = {"local_storage_write": 2, "cache_miss": 1, "pycc_x": 1, "stats_updated_timestamp": 9}
    assert log_entry(b"a\xff.c", counts) == (
        b"# a\xff.c\ncache_miss\nlocal_storage_write\nlocal_storage_write\n"
    )


def test_a_source_name_cannot_forge_a_counter() -> None:
    assert read_log(log_entry(b"a\ncache_miss\n.c", {})) == {}


def test_the_log_is_read_back() -> None:
    text = log_entry(b"a.c", {"cache_miss": 1}) + log_entry(b"b.c", {"cache_miss": 1, "recache": 1})
    assert read_log(text + b"unknown\n\n") == {"cache_miss": 2, "recache": 1}


def show(counters: dict[str, int], verbosity: int, context: StatsContext = CONTEXT) -> list[str]:
    full = with_contents(counters, Totals(123_456_789, 42), context.max_size, context.max_files)
    return show_stats(full, context, verbosity).splitlines()


def test_the_summary_of_an_unused_cache() -> None:
    counters = with_contents({}, Totals(0, 0), 5 << 30, 0)
    assert show_stats(counters, CONTEXT) == (
        "Local storage:\n  Cache size (GiB): 0.0 / 5.0 ( 0.00%)\n"
    )


def test_the_summary() -> None:
    assert show(SOME, 0) == [
        "Cacheable calls:     15 /  18 (83.33%)",
        "  Hits:              12 /  15 (80.00%)",
        "    Direct:          12 /  12 (100.0%)",
        "    Preprocessed:     0 /  12 ( 0.00%)",
        "  Misses:             3 /  15 (20.00%)",
        "Uncacheable calls:    2 /  18 (11.11%)",
        "Errors:               1 /  18 ( 5.56%)",
        "Local storage:",
        "  Cache size (GiB): 0.1 / 5.0 ( 2.30%)",
        "  Hits:              12 /  15 (80.00%)",
        "  Misses:             3 /  15 (20.00%)",
    ]


def test_the_verbose_summary() -> None:
    assert show(SOME, 1) == [
        "Cache directory:       /c",
        "Config file:           /c/ccache.conf",
        "Directory config file:",
        "System config file:    /etc/ccache.conf",
        "Stats updated:         never",
        "Cacheable calls:        15 /  18 (83.33%)",
        "  Hits:                 12 /  15 (80.00%)",
        "    Direct:             12 /  12 (100.0%)",
        "    Preprocessed:        0 /  12 ( 0.00%)",
        "  Misses:                3 /  15 (20.00%)",
        "Uncacheable calls:       2 /  18 (11.11%)",
        "  Called for linking:    2 /   2 (100.0%)",
        "Errors:                  1 /  18 ( 5.56%)",
        "  Internal error:        1 /   1 (100.0%)",
        "Successful lookups:",
        "  Direct:               12 /  15 (80.00%)",
        "  Preprocessed:          0",
        "Local storage:",
        "  Cache size (GiB):    0.1 / 5.0 ( 2.30%)",
        "  Files:                42",
        "  Hits:                 12 /  15 (80.00%)",
        "  Misses:                3 /  15 (20.00%)",
        "  Reads:                 0",
        "  Writes:                0",
    ]


def test_the_most_verbose_summary_names_every_reason() -> None:
    lines = show({}, 2)
    for counter in COUNTERS:
        if counter.kind is not Kind.OTHER:
            assert any(line.startswith(f"  {counter.label}: ") for line in lines), counter
    assert "Remote storage:" in lines
    assert lines[5].startswith("Stats zeroed:  ")


def test_a_limit_of_files_is_shown_as_a_ratio() -> None:
    lines = show({}, 0, StatsContext(max_files=84))
    assert any(line.split() == ["Files:", "42", "/", "84", "(50.00%)"] for line in lines)
    assert any(line.split() == ["Cache", "size", "(GiB):", "0.1"] for line in lines)


def test_decimal_units_when_the_limit_was_given_in_them() -> None:
    lines = show({}, 0, StatsContext(max_size=5 * 10**9, binary_units=False))
    assert "  Cache size (GB): 0.1 / 5.0 ( 2.47%)" in lines


def test_remote_faults_are_shown_when_there_are_any() -> None:
    lines = show({"remote_storage_timeout": 3}, 0)
    assert any(line.split() == ["Timeouts:", "3"] for line in lines)
    assert not any(line.startswith("  Errors:") for line in lines)


def test_what_other_machines_compiled_meanwhile_is_shown() -> None:
    counters = {"remote_storage_hit": 2, "pycc_remote_followed": 2, "pycc_remote_not_followed": 1}
    lines = show(counters, 0)
    assert any(line.split() == ["Compiled", "elsewhere", "meanwhile:", "2"] for line in lines)
    assert any(line.split() == ["Waited", "for", "in", "vain:", "1"] for line in lines)


def test_the_log_s_summary_says_nothing_of_the_cache() -> None:
    assert show_stats(read_log(b"cache_miss\n"), CONTEXT, from_log=True).splitlines() == [
        "Cacheable calls:  1 / 1 (100.0%)",
        "  Hits:           0 / 1 ( 0.00%)",
        "    Direct:       0",
        "    Preprocessed: 0",
        "  Misses:         1 / 1 (100.0%)",
    ]


@pytest.mark.parametrize(
    ("size", "binary", "text"),
    [
        (0, True, "0 bytes"),
        (1, True, "1 byte"),
        (1023, True, "1023 bytes"),
        (1024, True, "1.0 KiB"),
        (1 << 20, True, "1.0 MiB"),
        (5 << 30, True, "5.0 GiB"),
        (5 << 40, True, "5120.0 GiB"),
        (1000, False, "1.0 kB"),
        (10**9, False, "1.0 GB"),
    ],
)
def test_sizes_for_people(size: int, binary: bool, text: str) -> None:
    assert size_text(size, binary_units=binary) == text


def test_what_was_removed_is_told_in_two_lines() -> None:
    assert removal_text(Totals(1536, 12345), dry_run=False) == (
        "Removed data:    1.5 KiB\nRemoved files: 12345\n"
    )
    assert removal_text(Totals(0, 0), dry_run=True) == (
        "Would remove data:  0 bytes\nWould remove files: 0\n"
    )
