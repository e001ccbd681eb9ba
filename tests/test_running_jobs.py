"""Which jobs run: what several users' state files say."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pycc.remote.monitor_state import Phase, pack_state
from pycc.remote.running_jobs import RunningJobs, candidates, process_began

NOW = 1_000_000.0


class Processes:
    """When each began; who is not here does not run."""

    def __init__(self, **began: float) -> None:
        self.began = {int(name[1:]): when for name, when in began.items()}
        self.asked = 0

    def __call__(self, pid: int) -> float | None:
        self.asked += 1
        return self.began.get(pid)


def say(
    place: Path, pid: int, phase: Phase, written: float = NOW, file: bytes = b"a.c", slot: int = 0
) -> Path:
    path = place / f"binstate_{pid}"
    path.write_bytes(pack_state(pid, file, b"host", slot, phase))
    os.utime(path, (written, written))
    return path


@pytest.fixture(autouse=True)
def everybody_lives(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    gone: set[int] = set()
    monkeypatch.setattr("pycc.remote.running_jobs.exists", lambda pid: pid not in gone)
    return gone


def test_ages_of_a_job_and_of_its_phase(tmp_path: Path) -> None:
    jobs = RunningJobs(Processes(p7=NOW - 90))
    say(tmp_path, 7, Phase.SEND, NOW - 80)
    (job,) = jobs.look([str(tmp_path)], NOW - 70)
    assert (job.pid, job.phase, job.began, job.changed) == (7, Phase.SEND, NOW - 90, NOW - 80)
    say(tmp_path, 7, Phase.COMPILE, NOW - 60)
    say(tmp_path, 7, Phase.COMPILE, NOW - 60)
    (job,) = jobs.look([str(tmp_path)], NOW - 50)
    assert (job.phase, job.began, job.changed) == (Phase.COMPILE, NOW - 90, NOW - 60)
    say(tmp_path, 7, Phase.COMPILE, NOW - 40)  # the same again, so that distccmon goes on showing
    (job,) = jobs.look([str(tmp_path)], NOW)
    assert (job.began, job.changed) == (NOW - 90, NOW - 60)
    assert job.user == os.getuid()


def test_a_compile_of_an_hour_is_shown(tmp_path: Path) -> None:
    path = say(tmp_path, 7, Phase.COMPILE, NOW - 3600)
    assert RunningJobs(Processes(p7=NOW - 3601)).look([str(tmp_path)], NOW)
    assert path.exists()


def test_who_has_the_number_of_an_ended_job_is_not_taken_for_it(tmp_path: Path) -> None:
    path = say(tmp_path, 7, Phase.COMPILE, NOW - 3600)
    assert RunningJobs(Processes(p7=NOW - 60)).look([str(tmp_path)], NOW) == []
    assert path.exists()


@pytest.mark.parametrize("what", ["done", "gone", "nothing", "link", "fifo", "other name"])
def test_not_a_running_job(tmp_path: Path, what: str) -> None:
    path = say(tmp_path, 7, Phase.DONE if what == "done" else Phase.COMPILE)
    if what == "nothing":
        path.write_bytes(b"x" * 296)
    elif what == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    elif what == "fifo":
        path.unlink()
        os.mkfifo(path)
    elif what == "other name":
        path.rename(tmp_path / "binstate_7.tmp")
    processes = Processes() if what == "gone" else Processes(p7=NOW - 1)
    assert RunningJobs(processes).look([str(tmp_path)], NOW) == []


def test_what_has_not_changed_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, everybody_lives: set[int]
) -> None:
    processes = Processes(p7=NOW - 9, p8=NOW - 9)
    jobs = RunningJobs(processes)
    say(tmp_path, 7, Phase.COMPILE, NOW - 5)
    say(tmp_path, 8, Phase.SEND, NOW - 5)
    first = jobs.look([str(tmp_path)], NOW)
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", lambda *_: pytest.fail("read again"))
        assert jobs.look([str(tmp_path)], NOW + 1) == first
        everybody_lives.add(8)
        assert [job.pid for job in jobs.look([str(tmp_path)], NOW + 2)] == [7]
    assert processes.asked == 2


def test_what_was_only_just_written_is_read_again(tmp_path: Path) -> None:
    jobs = RunningJobs(Processes(p7=NOW - 9))
    say(tmp_path, 7, Phase.SEND, NOW)
    assert jobs.look([str(tmp_path)], NOW)[0].phase is Phase.SEND
    say(tmp_path, 7, Phase.COMPILE, NOW)  # in the same tick
    assert jobs.look([str(tmp_path)], NOW + 1)[0].phase is Phase.COMPILE


def test_a_file_that_is_just_being_written_still_says_the_old(tmp_path: Path) -> None:
    jobs = RunningJobs(Processes(p7=NOW - 9))
    path = say(tmp_path, 7, Phase.SEND, NOW - 5)
    before = jobs.look([str(tmp_path)], NOW)
    path.write_bytes(b"")
    assert jobs.look([str(tmp_path)], NOW) == before


def test_a_directory_by_two_names_is_looked_at_once(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    say(real, 7, Phase.COMPILE)
    places = [str(tmp_path / "link"), str(real), str(tmp_path / "missing")]
    assert len(RunningJobs(Processes(p7=NOW - 1)).look(places, NOW)) == 1


def test_names_do_no_harm_to_a_terminal(tmp_path: Path) -> None:
    say(tmp_path, 7, Phase.COMPILE, file=b"\x1b[2J\xff\n.c")
    (job,) = RunningJobs(Processes(p7=NOW - 1)).look([str(tmp_path)], NOW)
    assert job.file.isprintable()


def test_where_users_say_what_they_do() -> None:
    assert candidates({"HOME": "/home/a", "DISTCC_DIR": "/d/"}, ["/home/a", "/home/b"]) == [
        "/d/state",
        "/home/a/.distcc/state",
        "/home/b/.distcc/state",
        "/var/tmp/portage/.distcc/state",
    ]
    assert candidates({"HOME": "/root", "DISTCC_DIR": ""}, ["/root"])[0] == "/root/.distcc/state"


def test_when_a_process_began(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    ended = subprocess.Popen(["/bin/true"])
    ended.wait()
    assert process_began(ended.pid) is None
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as young:
        ours, its = process_began(os.getpid()), process_began(young.pid)
        assert ours is not None
        assert its is not None
        assert ours <= its
        assert abs(its - os.stat(f"/proc/{young.pid}").st_mtime) < 5
