"""The wire fuzzer finds what it is there for: each planted bug, and nothing where there is none."""

from __future__ import annotations

import pytest

from pycc.remote import protocol, transport
from pycc.remote.protocol import Reply
from tests.fuzz import wire_client, wire_daemon
from tests.fuzz.wire import attack_client, attack_daemon
from tests.fuzz.wire_cases import KINDS, case_of
from tests.fuzz.wire_client import lie_of
from tests.fuzz.wire_mutations import MUTATIONS, packets

CONNECTIONS = 500
START = 'import sys; sys.argv[0] = "pyccd"; from pycc.remote.pyccd import main'

PLANTED = {
    "leaks a descriptor": (
        # Not the connection's own, which the client would not see the end of.
        (
            "from pycc.remote.daemon import Daemon; import os; forget = Daemon._forget\n"
            "Daemon._forget = lambda self, connection:"
            " (os.open('/dev/null', 0), forget(self, connection))"
        ),
        "descriptors, at first",
    ),
    "leaves the directories of jobs": (
        "from pycc.remote import job; job.shutil.rmtree = lambda *a, **k: None",
        "in the temporary directory",
    ),
    "lets every word pass": (
        "from pycc.remote import job; job.refusal = lambda argv: None",
        "noted: word-",
    ),
    "runs every program": (
        (
            "from pycc.remote import job; import shutil, os\n"
            "job.choose = lambda name, rules:"
            " os.fsencode(shutil.which(os.fsdecode(name)) or '/usr/bin/gcc')"
        ),
        "noted: ran-",
    ),
    "writes outside": (
        (
            "from pycc.remote import job; import os; strip = job.commandline.strip\n"
            "def write(argv):\n"
            "    for word in argv:\n"
            "        if b'/playground/' in word and word.startswith(b'/'):\n"
            "            open(word, 'ab').close(); os.utime(word)\n"
            "    return strip(argv)\n"
            "job.commandline.strip = write"
        ),
        "touched: playground/",
    ),
    "dies of a text": (
        (
            "from pycc.remote import job; import os; refusal = job.text_refusal\n"
            "job.text_refusal = lambda text, **k: refusal(text, **k) and os._exit(3)"
        ),
        "the daemon is dead (3)",
    ),
    "leaves a process": (
        (
            "from pycc.remote import job; import subprocess; run = job.run; left = []\n"
            "def leave(*a, **k):\n"
            "    left.append(subprocess.Popen(['/bin/sleep', '60'])) if not left else None\n"
            "    return run(*a, **k)\n"
            "job.run = leave"
        ),
        "left: processes",
    ),
    "takes one text for another": (
        (
            "from pycc.remote import job; key_of = job.key_of\n"
            "job.key_of = lambda a, b, c, d, text: key_of(a, b, c, d, text[:1])"
        ),
        "another object",
    ),
    "raises what nobody expects": (
        (
            "from pycc.remote import compilers, job; choose = job.choose\n"
            "job.choose = lambda name, rules: choose(name.decode().encode(), rules)"
        ),
        "CRITICAL",
    ),
    "does not end its answer": (
        (
            "from pycc.remote import daemon; write = daemon.write_reply\n"
            "daemon.write_reply = lambda reply: write(reply)[: -4 if reply.status else None]"
        ),
        "no reply",
    ),
    "shows exact jobs what is not theirs": (
        (
            "from pycc.remote import ground; import os; find = ground.find\n"
            "ground.find = lambda extra=(): find([os.fsencode(os.environ['TMPDIR'])[:-4]])"
        ),
        "it shows what lies outside",
    ),
    "gives one exact result for another": (
        (
            "from pycc.remote import in_root; pack = in_root.pack_result; kept = []\n"
            "in_root.pack_result = lambda result: kept.append(pack(result)) or kept[0]"
        ),
        "exact: another object",
    ),
    "never answers some": (
        (
            "from pycc.remote import job; import time; choose = job.choose\n"
            "job.choose = lambda name, rules:"
            " time.sleep(9 * (name[:1] == b'.')) or choose(name, rules)"
        ),
        "TimeoutError",
    ),
    "keeps what it was sent": (
        (
            "from pycc.remote import job; do = job.do; kept = []\n"
            "job.do = lambda *a: kept.append(b'x' * (1 << 20)) or do(*a)"
        ),
        "memory: ",
    ),
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bugs are there to stay: nobody has to wait long for their end."""
    monkeypatch.setattr(wire_daemon, "SETTLE_SECONDS", 4.0)


def test_a_daemon_without_a_planted_bug() -> None:
    report = attack_daemon(1, 0, CONNECTIONS)
    assert report.findings == []
    assert len(report.kinds) > 15


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "never answers some":
        monkeypatch.setattr(wire_daemon, "ANSWER_SECONDS", 3.0)
    code, expected = PLANTED[name]
    report = attack_daemon(1, 0, CONNECTIONS, program=f"{START}\n{code}\nmain()")
    assert any(expected in said for _, _, said in report.findings), report.findings[:5]


def test_a_daemon_that_does_not_serve_is_not_attacked() -> None:
    with pytest.raises(RuntimeError, match="does not serve"):
        attack_daemon(1, 0, 10, program="raise SystemExit(3)")


def test_a_client_without_a_planted_bug() -> None:
    assert attack_client(1, 0, 1000).findings == []


def test_a_client_that_takes_what_was_cut_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol.Reader, "end", lambda self: Reply(1, 0))
    said = [said for _, _, said in attack_client(1, 0, 500).findings]
    assert any("an answer that was cut was taken" in one for one in said)


def test_a_client_that_takes_any_status_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "_ended", lambda status: True)
    monkeypatch.setattr(wire_client, "FARM_SHARE", 0.5)
    said = [said for _, _, said in attack_client(1, 0, 4000).findings]
    assert any("OverflowError" in one for one in said)
    assert any("a status that no process ends with" in one for one in said)


def test_a_client_that_waits_too_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_client, "SLACK", 0.5)
    monkeypatch.setattr(wire_client, "SILENT_SHARE", 1.0)
    begin = transport.Conversation.__init__

    def patient(self: transport.Conversation, connection: object, seconds: float, *more: object):  # type: ignore[no-untyped-def]
        begin(self, connection, seconds + 2, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(transport.Conversation, "__init__", patient)
    said = [said for _, _, said in attack_client(1, 0, 16).findings]
    assert any("it took 2" in one for one in said)


# The cases.


def test_a_case_is_decided_by_its_number() -> None:
    for number in range(300):
        assert case_of(7, number, b"/p") == case_of(7, number, b"/p")
        assert lie_of(7, number) == lie_of(7, number)
    assert case_of(7, 1, b"/p") != case_of(8, 1, b"/p")


def test_every_kind_of_case_comes() -> None:
    found = {case_of(1, number, b"/p").kind for number in range(8000)}
    assert found == {*KINDS, *MUTATIONS} - {"mutated"}


def test_a_message_is_cut_at_its_packets() -> None:
    data = b"DIST00000001ARGC00000001ARGV00000003gccDOTI00000000"
    assert packets(data) == [
        b"DIST00000001",
        b"ARGC00000001",
        b"ARGV00000003gcc",
        b"DOTI00000000",
    ]
