"""What a compile asked the file system: all of it, with the right answers, and nothing else."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pycc.cache.digest import digest_of
from pycc.remote import ground
from pycc.remote.child import End
from pycc.remote.client_view import ClientFile, ClientLink, View
from pycc.remote.exact_root import Ground, Plan
from pycc.remote.sandbox import Compiled, Found, Lookup, Sandbox, SandboxFailed
from tests.exact_kit import Server, build, build_with_libc, need, serving

CWD = b"/home/client/project"
ENVIRONMENT = {b"PATH": b"/usr/bin:/bin", b"LC_ALL": b"C"}
ABSENT, FILE, CONTENT = Found.ABSENT, Found.FILE, Found.CONTENT
DIRECTORY, LISTED, OTHER = Found.DIRECTORY, Found.LISTED, Found.OTHER


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of programs of our own."""
    directory = tmp_path_factory.mktemp("tools").resolve()
    source = Path(__file__).with_name("asker.c")
    flags = "-O1 -Wall -Wno-unused-result -static -pthread".split()
    subprocess.run(["gcc", *flags, source, "-o", directory / "asker"], check=True)
    return directory


def everything(tools: Path) -> Ground:
    found = ground.find()
    trees = (*found.trees, bytes(tools))
    return Ground(trees, found.files, found.links.items(), found.nodes)


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, program: Path, tools: Path
) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), program, everything(tools)) as made:
        if not made.sandbox.records:
            pytest.skip("no records here")
        yield made


def view(server: Server, files: dict[str, str], directories: tuple[str, ...] = ()) -> View:
    """Files in CWD; one whose text begins with -> is a link."""
    sent, links = [], []
    for number, (name, text) in enumerate(files.items()):
        path, data = os.path.join(CWD, name.encode()), text.encode()
        if text.startswith("->"):
            links.append(ClientLink(path, data[2:]))
            continue
        server.contents.put(digest_of(data), data)
        sent.append(ClientFile(path, digest_of(data), (1_600_000_000 + number) * 10**9))
    inside = tuple(CWD + b"/" + name.encode() for name in directories)
    return View(CWD, tuple(sent), tuple(links), inside)


def compiled(
    server: Server,
    words: str,
    files: dict[str, str],
    *,
    directories: tuple[str, ...] = (),
    environment: dict[bytes, bytes] = ENVIRONMENT,
) -> Compiled:
    first, *rest = words.split()
    done = server.sandbox.run(
        server.plan(view(server, files, directories)),
        tuple(word.encode() for word in (need(first), *rest)),
        environment=environment,
        seconds=60,
        record=True,
    )
    assert done.lookups is not None
    return done


def answers(done: Compiled) -> dict[str, Found]:
    assert done.lookups is not None
    found = {os.fsdecode(one.path): one.found for one in done.lookups}
    assert len(found) == len(done.lookups)
    return found


# What compilers ask.

INC = {"a.c": "#include <n.h>\n#include <n.h>\n", "two/n.h": "int n;\n", "one/x": ""}
SEARCHED = {"one/n.h": ABSENT, "two/n.h": CONTENT}
ASKED: dict[str, tuple[str, dict[str, str], dict[str, Found | None]]] = {
    "every directory of the chain": ("gcc -c a.c -Ione -Itwo -Ithree", INC,
                                     {**SEARCHED, "a.c": CONTENT, "three": ABSENT}),
    "and by clang": ("clang -c a.c -Ione -Itwo -Ithree", INC,
                     {**SEARCHED, "a.c": CONTENT, "three": ABSENT}),
    "the includer's directory": (
        "gcc -c s/a.c -Iinc", {"s/a.c": '#include "h.h"\n', "inc/h.h": ""},
        {"s/a.c": CONTENT, "s/h.h": ABSENT, "inc/h.h": CONTENT, "h.h": None}),
    "__has_include": (
        "gcc -c a.c -Iinc",
        {"a.c": "#if __has_include(<no.h>) || __has_include(<yes.h>)\n#endif\n", "inc/yes.h": ""},
        {"inc/no.h": ABSENT, "/usr/include/no.h": ABSENT, "inc/yes.h": CONTENT}),
    "__has_include of clang": (
        "clang -c a.c -Iinc",
        {"a.c": "#if __has_include(<no.h>) || __has_include(<yes.h>)\n#endif\n", "inc/yes.h": ""},
        {"inc/no.h": ABSENT, "/usr/include/no.h": ABSENT, "inc/yes.h": CONTENT}),
    "an output": (
        "gcc -c a.c -MD -MF a.d",
        {"a.c": '#if __has_include("a.d") || __has_include("b.d")\n#endif\n'},
        {"a.d": ABSENT, "b.d": ABSENT, "a.o": None}),
    "an output, by clang": (
        "clang -c a.c -MD -MF a.d",
        {"a.c": '#if __has_include("a.d") || __has_include("b.d")\n#endif\n'},
        {"./a.d": ABSENT, "./b.d": ABSENT, "a.o": None}),
    "standard output": ("clang -S a.c -o /dev/stdout", {"a.c": "int x;"},
                        {"/dev/stdout": OTHER, "/proc/self": None, "/proc/1": None}),
    "precompiled headers": (
        "gcc -c a.c -include f.h", {"a.c": "", "f.h": ""},
        {"./f.h.gch": ABSENT, "./f.h": CONTENT}),
    "#include_next": (
        "gcc -c a.c -Ione -Itwo -Ithree",
        {"a.c": "#include <n.h>\n", "one/n.h": "#include_next <n.h>\n", "three/n.h": "",
         "two/x": ""},
        {"one/n.h": CONTENT, "two/n.h": ABSENT, "three/n.h": CONTENT}),
    "#include_next of clang": (
        "clang -c a.c -Ione -Itwo -Ithree",
        {"a.c": "#include <n.h>\n", "one/n.h": "#include_next <n.h>\n", "three/n.h": "",
         "two/x": ""},
        {"one/n.h": CONTENT, "two/n.h": ABSENT, "three/n.h": CONTENT}),
    ".incbin": ("gcc -c a.c", {"a.c": '__asm__(".incbin \\"d.bin\\"");\n', "d.bin": "1"},
                {"d.bin": CONTENT}),
    ".incbin of clang": ("clang -c a.c -Wa,-Iinc",
                         {"a.c": '__asm__(".incbin \\"d.bin\\"");\n', "inc/d.bin": "1"},
                         {"d.bin": ABSENT, "inc/d.bin": CONTENT}),
    ".include": ("gcc -c a.S -Wa,-Iinc", {"a.S": '.include "i.inc"\n', "inc/i.inc": ""},
                 {"a.S": CONTENT, "./i.inc": ABSENT, "inc/i.inc": CONTENT}),
    "a missing directory": ("gcc -c a.c -Inone -isystem never", {"a.c": "#include <stddef.h>\n"},
                            {"none": ABSENT, "never": ABSENT}),
    "a file where a directory should be": ("gcc -c a.c -Ifile", {"a.c": "int x;", "file": ""},
                                           {"file": FILE}),
    "a directory where a file should be": (
        "gcc -c a.c -Iinc -Itwo", {"a.c": "#include <d>\n", "inc/d/x": "", "two/d": ""},
        {"inc/d": LISTED, "two/d": CONTENT}),
    "a profile": ("gcc -c -O1 -fprofile-use a.c", {"a.c": "int f(void) { return 1; }\n"},
                  {"/home/client/project/a.gcda": ABSENT}),
    "a response file": ("gcc @args -c a.c", {"a.c": "int x;", "args": "-DX"}, {"args": CONTENT}),
    "a missing source": ("gcc -c b.c", {}, {"b.c": ABSENT}),
    "a missing directory of outputs": ("gcc -c a.c -o no/a.o", {"a.c": "int x;"}, {"no": ABSENT}),
    "a directory of outputs": ("gcc -c a.c -o o/a.o", {"a.c": "int x;", "o/x": ""},
                               {"o": DIRECTORY}),
    "an output that is a device": ("gcc -c a.c -o /dev/null", {"a.c": "int x;"},
                                   {"/dev/null": OTHER}),
}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
def test_asked(server: Server, name: str) -> None:
    words, files, expected = ASKED[name]
    found = answers(compiled(server, words, files))
    assert {path: found.get(path) for path in expected} == expected


def test_directories_that_were_listed(server: Server) -> None:
    """clang looks through gcc's."""
    found = answers(compiled(server, "clang++ -c a.cc", {"a.cc": "int x;"}))
    assert any(kind is LISTED and "/lib/gcc" in path for path, kind in found.items())


def test_links_are_told_with_the_ways_to_them(server: Server) -> None:
    files = {
        "a.c": "#include <h.h>\n",
        "real/deep/h.h": "",
        "l": "->real",
        "real/m": "->../real/deep",
    }
    done = compiled(server, "gcc -c a.c -Il/m", files)
    assert done.lookups is not None
    found = {one.path: one for one in done.lookups}
    assert found[b"l/m/h.h"] == Lookup(b"l/m/h.h", CONTENT)
    assert found[b"l"] == Lookup(b"l", DIRECTORY, b"real")
    assert found[b"real"] == Lookup(b"real", DIRECTORY)
    assert found[b"real/m"] == Lookup(b"real/m", DIRECTORY, b"../real/deep")
    assert found[b"real/deep"] == Lookup(b"real/deep", DIRECTORY)
    assert found[b"real/deep/h.h"].found in (FILE, CONTENT)


def test_what_was_canonicalized_is_told(server: Server) -> None:
    """gcc opens a system header by its shorter physical path, which it has from readlink: the
    spelled one goes through a link that no other call names."""
    files = {"a.c": "#include <s/h.h>\n", "sys/s": "->../o", "o/h.h": ""}
    done = compiled(server, f"gcc -c a.c -isystem {CWD.decode()}/sys", files)
    assert Lookup(CWD + b"/sys/s", DIRECTORY, b"../o") in (done.lookups or ())
    assert answers(done)[CWD.decode() + "/o/h.h"] is CONTENT


# Against strace, in the same root.

SOURCE = """\
#include <stdio.h>
#include "a.h"
#if __has_include(<none.h>)
#endif
int f(int x) { return x; }
"""
TRACED = [
    "gcc -c a.c -Iinc -Inone -MD",
    "gcc -g -O1 -gsplit-dwarf -c a.c -Iinc -save-temps",
    "gcc -pipe --coverage -c a.c -Iinc",
    "g++ -std=c++17 -c a.cc -Iinc -MMD -include vector",
    "clang -g -c a.c -Iinc -MD",
    "clang++ -std=c++17 -c a.cc -Iinc -include vector",
]
CALL = re.compile(r'^\d+ +(\w+)\((?:AT_FDCWD, )?"([^"]+)"(?:, (?:AT_FDCWD, )?"([^"]+)")?(.*)')


def traced(text: str) -> tuple[set[str], set[str]]:
    """The paths that were asked for, and those that were made."""
    asked, made = set(), set()
    for line in text.splitlines():
        call = CALL.match(line)
        if call is None or call[1] in ("getcwd", "chdir"):
            assert "+++" in line or "---" in line or '("' not in line or "getcwd" in line, line
            continue
        name, path, other, rest = call.groups()
        asked.add(path)
        if "O_CREAT" in rest:
            made.add(path)
        if name.startswith("rename") and other:
            made.add(other)
    return asked, made


@pytest.mark.parametrize("words", TRACED)
def test_nothing_is_missed_and_nothing_is_added(server: Server, words: str) -> None:
    files = {"a.c": SOURCE, "a.cc": SOURCE, "inc/a.h": "", "l": "->inc"}
    strace = need("strace")
    # Its first execve is its own.
    under = compiled_plainly(server, f"{strace} -f -s 4096 -e trace=%file -o trace", words, files)
    trace = next(one for one in under.outputs if one.path == CWD + b"/trace")
    asked, made = traced(trace.content.decode())
    done = compiled(server, words, files)
    assert done.ran.status == under.ran.status == 0
    found = answers(done)
    expected = {path for path in asked - made if not path.startswith("/proc/self/")}
    temporary = re.compile(r"/tmp/|-[0-9a-f]{6,}\.")
    assert {path for path in expected - found.keys() if not temporary.search(path)} == set()
    # What nobody asked for is on the way to something.
    for path in found.keys() - expected:
        below = [other for other in found if other.startswith(path + "/")]
        led = [one for one in done.lookups or () if one.target]
        assert below or led, path
        assert found[path] in (DIRECTORY, FILE), path
    assert not any(temporary.search(path) for path in found)
    outputs = {os.path.relpath(one.path, CWD).decode() for one in done.outputs}
    assert outputs.isdisjoint(found)


def compiled_plainly(
    server: Server, before: str, words: str, files: dict[str, str]
) -> Compiled:  # fmt: skip
    first, *rest = words.split()
    argv = (*before.split(), need(first), *rest)
    return server.sandbox.run(
        server.plan(view(server, files)), tuple(map(str.encode, argv)), environment=ENVIRONMENT
    )


@pytest.mark.parametrize("compiler", ["gcc", "g++", "clang", "clang++"])
def test_all_dependencies_are_content(server: Server, compiler: str) -> None:
    header = "vector" if compiler.endswith("++") else "stdio.h"
    files = {f"a.{'cc' if compiler.endswith('++') else 'c'}": f"#include <{header}>\n"}
    (source,) = files
    done = compiled(server, f"{compiler} -MD -c {source} -o a.o", files)
    depfile = next(one.content for one in done.outputs if one.path.endswith(b".d"))
    names = depfile.decode().replace("\\\n", " ").split()[1:]
    assert len(names) > 10
    found = answers(done)
    assert {found[name] for name in names} == {CONTENT}


# Programs of our own.


def asked(
    server: Server, tools: Path, *ways: str, seconds: float | None = 60, record: bool = True
) -> Compiled:
    files = {"there": "text", "inc/h.h": "", "l": "->there", "dangling": "->nothing"}
    return server.sandbox.run(
        server.plan(view(server, files)),
        (bytes(tools) + b"/asker", *(way.encode() for way in ways)),
        environment={},
        seconds=seconds,
        record=record,
    )


def recorded(server: Server, tools: Path, *ways: str) -> set[tuple[str, Found]] | None:
    """What was noted below CWD; None when it is incomplete."""
    done = asked(server, tools, *ways)
    assert os.waitstatus_to_exitcode(done.ran.status) == 0, done.ran.err
    if done.lookups is None:
        return None
    return {
        (os.fsdecode(one.path), one.found)
        for one in done.lookups
        if not one.path.startswith(b"/") or one.path.startswith(CWD)
    }


THERE = "/home/client/project/there"
NOTED: dict[tuple[str, ...], set[tuple[str, Found]]] = {
    ("stat=there",): {("there", FILE)},
    ("lstat=there",): {("there", FILE)},
    ("access=there",): {("there", FILE)},
    ("readlink=there",): {("there", FILE)},
    ("statx=there",): {("there", FILE)},
    ("open=there",): {("there", CONTENT)},
    ("stat=there", "open=there", "stat=there"): {("there", CONTENT)},
    ("handle=there",): {("there", FILE)},
    ("run=there",): {("there", CONTENT)},
    ("open=none",): {("none", ABSENT)},
    ("open=there/none",): {("there/none", ABSENT)},
    ("open=none/none",): {("none/none", ABSENT)},
    ("stat=inc",): {("inc", DIRECTORY)},
    ("list=inc",): {("inc", LISTED)},
    ("open=inc",): {("inc", LISTED)},
    ("handle=inc",): {("inc", DIRECTORY)},
    ("list=there",): {("there", FILE)},
    ("open=l",): {("l", CONTENT), ("there", FILE)},
    ("stat=dangling",): {("dangling", ABSENT)},
    ("readlink=l",): {("l", FILE), ("there", FILE)},
    ("stat=inc/../there",): {("inc/../there", FILE), ("inc", DIRECTORY), ("there", FILE)},
    ("absolute=" + THERE,): {(THERE, FILE), ("/home/client/project", DIRECTORY)},
    ("edge=" + "d/" * 100 + "there",): {("d/" * 100 + "there", ABSENT)},
    ("edge=there",): {("there", FILE)},
    ("across=there",): {("there", FILE)},
    ("across=" + "d/" * 300 + "there",): {("d/" * 300 + "there", ABSENT)},
    ("nowhere=", "long=", "fstat=", "empty="): set(),
    ("create=out",): set(),
    ("stat=out", "create=out", "open=out", "unlink=out", "stat=out"): set(),
    ("open=out", "create=out", "open=out"): {("out", ABSENT)},
    ("create=inc/out",): {("inc", DIRECTORY)},
    ("create=none/out",): {("none/out", ABSENT), ("none", ABSENT)},
    ("create=/usr/include/out", "stat=/usr/include/out"): set(),
    ("exclusive=there",): {("there", FILE)},
    ("create=inc",): {("inc", DIRECTORY)},
    ("mkdir=out", "create=out/file", "open=out/file", "list=out"): set(),
    ("mkdir=inc",): {("inc", DIRECTORY)},
    ("create=made", "rename-to=out", "open=out", "stat=made"): set(),
    ("create=made", "link=made", "open=linked"): set(),
    ("create=made", "symlink=out", "open=out"): set(),
    ("create=out", "truncate=out", "chmod=out", "write=out"): set(),
    ("unlink=none", "truncate=none", "chmod=none", "write=none"): {("none", ABSENT)},
    ("suspended=", "stat=there"): {("there", FILE)},
}


@pytest.mark.parametrize("ways", NOTED, ids=" ".join)
def test_noted(server: Server, tools: Path, ways: tuple[str, ...]) -> None:
    assert recorded(server, tools, *ways) == NOTED[ways]


SPOILING = [
    *("chdir=inc", "fchdir=", "chroot=/", "other directory=inc", "openat2=there", "statfs=there"),
    *("getxattr=there", "unshare=", "io_uring_setup=", "unknown=", "open=/proc/self/maps"),
    *("open=/proc/1/status", "stat=/proc/self/task", "list=/proc", "open=/dev/fd/0"),
    *("create=there", "write=there", "unlink=there", "truncate=there", "chmod=there"),
    *("rename=there", "link=there", "unlink=l", "unlink=dangling", "very many="),
]


@pytest.mark.parametrize("way", SPOILING)
def test_incomplete(server: Server, tools: Path, way: str) -> None:
    assert recorded(server, tools, "stat=there", way, "stat=inc") is None


def test_overwriting_what_was_there_is_incomplete(server: Server, tools: Path) -> None:
    assert recorded(server, tools, "create=made", "rename-to=there") is None


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs an x86")
@pytest.mark.parametrize("way", ["x32=there", "i386=there"])
def test_calls_of_other_architectures_are_incomplete(server: Server, tools: Path, way: str) -> None:
    assert asked(server, tools, way).lookups is None


def test_a_place_that_cannot_be_written_is_asked_for(server: Server, tools: Path) -> None:
    done = asked(server, tools, "create=/usr/include/out")
    assert Lookup(b"/usr/include/out", ABSENT) in (done.lookups or ())


def test_threads_and_children(server: Server, tools: Path) -> None:
    found = recorded(server, tools, "threads=x", "children=x", "killed children=x")
    expected = {f"x/t{n}" for n in range(200)} | {f"x/c{n}" for n in range(40)} | {"x/k0"}
    assert found == {(path, ABSENT) for path in expected}


def test_many_at_a_time(server: Server, tools: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(recorded, server, tools, f"stat=x{n}", "threads=x") for n in range(8)]
    threads = {(f"x/t{n}", ABSENT) for n in range(200)}
    assert [job.result() for job in jobs] == [{(f"x{n}", ABSENT), *threads} for n in range(8)]


def test_signals_interrupt_no_call(server: Server, tools: Path) -> None:
    done = asked(server, tools, "alarm=there")
    assert done.ran.out == b"1 0\n"
    assert done.lookups is not None


def test_how_it_ends_is_told(server: Server, tools: Path) -> None:
    done = asked(server, tools, "stat=there", "die=")
    assert done.ran.status & 0x7F == signal.SIGTERM
    assert Lookup(b"there", FILE) in (done.lookups or ())


def test_what_outlives_the_program_is_not_waited_for(server: Server, tools: Path) -> None:
    began = time.monotonic()
    assert (THERE, FILE) in (recorded(server, tools, "orphan=x", "stat=" + THERE) or ())
    assert time.monotonic() - began < 20


def alive(token: bytes) -> bool:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if token in words and not words.startswith(sys.executable.encode()):
                return True
    return False


def gone(token: bytes) -> bool:
    for _ in range(500):
        if not alive(token):
            return True
        time.sleep(0.01)
    return False


def test_its_time_is_bounded_while_it_asks(server: Server, tools: Path) -> None:
    done = asked(server, tools, "forever=98.765", seconds=0.5)
    assert done.ran.end is End.TIMEOUT
    assert done.lookups is None
    assert gone(b"98.765")


def test_a_killed_daemon_leaves_nothing_that_asks(
    server: Server, program: Path, tools: Path, tmp_path: Path
) -> None:
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from tests.e2e.test_exact_lookups import asked, everything
from tests.exact_kit import Server
tools = Path({str(tools)!r})
server = Server(Path({str(tmp_path)!r}), Path({str(program)!r}), everything(tools))
asked(server, tools, "forever=98.766", seconds=None)
"""
    daemon = subprocess.Popen([sys.executable, "-c", code])
    try:
        for _ in range(1000):
            if alive(b"98.766"):
                break
            time.sleep(0.01)
        assert daemon.poll() is None
    finally:
        daemon.kill()
        daemon.wait()
    assert gone(b"98.766")


# Without.


def test_nothing_is_told_unasked(server: Server, tools: Path) -> None:
    assert asked(server, tools, "stat=there", record=False).lookups is None


def test_a_program_that_is_not_there(server: Server) -> None:
    plan = server.plan(View(CWD))
    with pytest.raises(SandboxFailed, match="starting the compiler: No such file"):
        server.sandbox.run(plan, (b"/none",), environment={}, record=True)
    nowhere = Plan(b"/nowhere", plan.steps, plan.contents)
    with pytest.raises(SandboxFailed, match="starting the compiler: No such file"):
        server.sandbox.run(nowhere, (b"/bin/true",), environment={}, record=True)


def test_no_descriptor_is_left(server: Server, tools: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        asked(server, tools, "stat=there")
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_program_gets_no_descriptor_of_ours(server: Server) -> None:
    plan = server.plan(View(CWD))
    words = (b"/bin/ls", b"/proc/self/fd")
    said = {
        server.sandbox.run(plan, words, environment={}, record=record).ran.out
        for record in (False, True)
    }
    assert said == {b"0\n1\n2\n3\n"}


SANITIZE = "-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all".split()


@pytest.mark.parametrize("flags", [[], SANITIZE], ids=["through libc", "sanitized"])
def test_other_builds_tell_the_same(
    server: Server, tools: Path, tmp_path: Path, flags: list[str]
) -> None:
    files = {"a.c": "#include <stdio.h>\n#include <h.h>\n", "real/h.h": "", "l": "->real/../real"}
    plan = server.plan(view(server, files))
    words = (need("gcc").encode(), b"-c", b"a.c", b"-Il", b"-isystem", CWD + b"/none/..")
    expected = server.sandbox.run(plan, words, environment=ENVIRONMENT, record=True)
    assert expected.lookups is not None
    with_libc = str(build_with_libc(tmp_path, flags))
    other = Sandbox.open(server.contents.descriptor, server.ground, with_libc)
    assert other.records
    assert other.run(plan, words, environment=ENVIRONMENT, record=True) == expected
    many = (bytes(tools) + b"/asker", b"very many=")
    assert other.run(plan, many, environment={}, record=True).lookups is None
    other.close()


LISTENING = """\
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {1, &allow};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    int flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
    int fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    fcntl(fd, F_SETFD, 0);
    return fd < 0 || argc < 2 || execv(argv[1], argv + 1);
}
"""


def test_where_another_listens_nothing_is_told(
    server: Server, program: Path, tools: Path, tmp_path: Path
) -> None:
    """A kernel has one listener for a process: some containers are it."""
    (tmp_path / "listening.c").write_text(LISTENING)
    listening = tmp_path / "listening"
    subprocess.run(["gcc", "-o", listening, tmp_path / "listening.c"], check=True)
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from tests.e2e.test_exact_lookups import asked, everything
from tests.exact_kit import Server
tools = Path({str(tools)!r})
server = Server(Path({str(tmp_path)!r}), Path({str(program)!r}), everything(tools))
done = asked(server, tools, "create=out")
print(server.sandbox.records, done.ran.status, done.lookups, [one.path for one in done.outputs])
"""
    done = subprocess.run(
        [listening, sys.executable, "-c", code], capture_output=True, check=False, text=True
    )
    expected = f"False 0 None {[CWD + b'/out']}\n"
    assert (done.stdout, done.stderr) == (expected, "")
