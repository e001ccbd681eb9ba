"""What the monitor shows of what is known."""

from __future__ import annotations

import pytest

from pycc.monitor_view import (
    Counts,
    Course,
    HostRow,
    Look,
    Pace,
    counts_of,
    host_rows,
    lines,
    stats_place,
)
from pycc.remote.hosts import parse_hosts
from pycc.remote.monitor_state import Phase
from pycc.remote.running_jobs import RunningJob
from pycc.remote.stats_client import ServerCounts

SERVER = ServerCounts(3, 8, 100, 40, 2, 1.25)


def job(number: int = 1, host: str = "a", phase: Phase = Phase.COMPILE) -> RunningJob:
    return RunningJob(100 + number, f"f{number}.c", host, number, phase, 1000, 900.0, 940.0)


# ---- counters ------------------------------------------------------------------------------


def test_counters_are_summed_over_files() -> None:
    first = {"direct_cache_hit": 3, "cache_miss": 5, "pycc_farm_exact": 2, "pycc_farm_local": 1}
    second = {"preprocessed_cache_hit": 1, "cache_miss": 1, "pycc_farm_known": 1}
    third = {"compile_failed": 2, "called_for_link": 4, "local_storage_hit": 99}
    counts = counts_of([first, second, third])
    assert counts == Counts(hits=4, misses=6, remote=3, failed=2, other=4)
    assert (counts.local, counts.all) == (3, 16)
    assert counts_of([]) == Counts()


def test_the_rate_is_that_of_the_last_seconds() -> None:
    course = Course()
    for second in range(31):
        course.note(100.0 + second, Counts(hits=2 * second), 1)
    assert course.lately == Pace(Counts(hits=20), 10.0)
    assert course.lately.rate == 2.0
    assert course.build == Pace(Counts(hits=60), 30.0)


def test_a_build_ends_with_the_last_of_it() -> None:
    course = Course()
    course.note(0.0, Counts(misses=1000), 0)
    course.note(1.0, Counts(misses=1001), 4)
    course.note(2.0, Counts(misses=1004), 0)
    for second in range(3, 60):
        course.note(float(second), Counts(misses=1004), 0)
    assert course.build == Pace(Counts(misses=4), 2.0)
    assert course.lately.counts == Counts()


def test_after_a_pause_another_build_begins() -> None:
    course = Course()
    for second, misses in ((0, 0), (1, 5), (11, 5), (12, 5), (13, 6), (14, 9)):
        course.note(float(second), Counts(misses=misses), 0)
    assert course.build == Pace(Counts(misses=4), 2.0)


def test_a_build_of_one_long_compile_is_one_build() -> None:
    course = Course()
    course.note(0.0, Counts(misses=7), 0)
    for second in range(1, 100):
        course.note(float(second), Counts(misses=7), 1)
    course.note(100.0, Counts(misses=8), 0)
    assert course.build == Pace(Counts(misses=1), 100.0)


def test_zeroed_counters_begin_anew() -> None:
    course = Course()
    course.note(0.0, Counts(hits=50), 0)
    course.note(1.0, Counts(hits=2), 0)
    course.note(2.0, Counts(hits=3), 0)
    assert course.build.counts == Counts(hits=1)


def test_nothing_is_known_at_first() -> None:
    course = Course()
    assert (course.lately, course.build) == (Pace(), Pace())
    assert course.build.rate == 0.0


# ---- hosts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "place"),
    [
        ("a", ("a", 3633)),
        ("a:4000/3,lzo", ("a", 4001)),
        ("[::1]:4000", ("::1", 4001)),
        ("localhost/2", None),
        ("me@a", None),
        ("a,down", None),
        ("a:65535", None),
    ],
)
def test_where_a_host_may_serve_statistics(word: str, place: tuple[str, int] | None) -> None:
    assert stats_place(parse_hosts(word).hosts[0]) == place


def test_hosts_of_the_list_in_its_order_then_others() -> None:
    known = parse_hosts("b/3 localhost/2 a:4000/8 a:5000/8 c,down")
    phases = [Phase.COMPILE, Phase.SEND, Phase.BLOCKED, Phase.STARTUP, Phase.RECEIVE]
    jobs = [job(n, "a", phase) for n, phase in enumerate(phases)]
    jobs += [job(7, "z"), job(8, "localhost", Phase.PREPROCESS), job(9, "")]
    assert host_rows(known, jobs, {("a", 5001): SERVER, ("b", 1): SERVER}) == [
        HostRow("b", 3, 0),
        HostRow("localhost", 2, 1),
        HostRow("a", 16, 3, False, (SERVER,)),
        HostRow("c", 0, 0, True),
        HostRow("z", 0, 1),
    ]


def test_this_machine_is_shown_when_it_works() -> None:
    known = parse_hosts("--localslots=7 a")
    assert host_rows(known, [job(1, "localhost")], {})[1] == HostRow("localhost", 7, 1)
    assert host_rows(None, [job(1, "localhost")], {}) == [HostRow("localhost", 4, 1)]
    assert host_rows(None, [], {}) == []


# ---- lines ---------------------------------------------------------------------------------


def look(jobs: int = 2, hosts: int = 2) -> Look:
    return Look(
        now=1000.0,
        clock="12:00:00",
        jobs=[job(n) for n in range(jobs)],
        hosts=[
            HostRow("a", 50, 2, False, (SERVER,)),
            HostRow("z", 0, 1),
            *(HostRow(f"h{n}", 4, 0) for n in range(2, hosts)),
        ],
        total=Counts(30, 70, 60, 1, 5),
        lately=Pace(Counts(10, 30), 10.0),
        build=Pace(Counts(20, 60, 50, 1, 3), 125.0),
        users={1000: "ann"},
        load=2.5,
    )


def test_every_line() -> None:
    shown = lines(look())
    build = "Build: 84 done in 2m05s (0.7/s): 20 hits, 60 misses (50 remote, 10 local)"
    assert shown[:3] == [
        "pycc monitor   12:00:00   2 jobs running   load 2.50",
        f"{build}, 1 failed, 3 not cached",
        "Last 10 s: 4.0 jobs/s, hits 25 %   Cache: 30 hits, 70 misses, hits 30 %",
    ]
    assert [line.split() for line in shown[3:]] == [
        [],
        "Host used slots free what its daemon says".split(),
        "a 2 50 48 3/8 run, 100 compiled, 40 from its cache, 2 refused, load 1.25".split(),
        "z 1 ? ?".split(),
        [],
        "pid phase age in it file host[slot] user".split(),
        "100 Compile 1m40s 1m00s f0.c a[0] ann".split(),
        "101 Compile 1m40s 1m00s f1.c a[1] ann".split(),
    ]
    for row, head, column in ((5, 4, "free"), (9, 8, "in it"), (10, 8, "host[slot]")):
        assert shown[row][shown[head].index(column) + len(column)] == " "


@pytest.mark.parametrize("width", [20, 40, 79])
@pytest.mark.parametrize("height", [3, 8, 12, 24])
@pytest.mark.parametrize("jobs", [0, 5, 500])
@pytest.mark.parametrize("hosts", [2, 40])
def test_it_fits(width: int, height: int, jobs: int, hosts: int) -> None:
    shown = lines(look(jobs, hosts), width, height)
    assert len(shown) <= height
    assert max(map(len, shown)) <= width


def test_what_does_not_fit_is_counted() -> None:
    shown = lines(look(jobs=500, hosts=2), 120, 20)
    assert len(shown) == 20
    assert sum(".c " in line for line in shown) == 10
    assert shown[-1] == "  ... 490 more jobs"
    shown = lines(look(jobs=10, hosts=40), 120, 20)
    assert sum(".c " in line for line in shown) == 2
    assert shown[-1] == "  ... 8 more jobs"
    assert any(line.endswith(" more hosts") for line in shown)


def test_a_wrong_host_list_is_named() -> None:
    wrong = look().__class__(
        0.0, "", (), (), Counts(), Pace(), Pace(), {}, problem='bad word "x:" in the host list'
    )
    assert 'Hosts: bad word "x:" in the host list' in lines(wrong)
    assert "Build: 0 done in 0s (-)" in lines(wrong)[1]
