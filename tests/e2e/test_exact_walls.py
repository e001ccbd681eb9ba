"""What a compile in an exact root cannot do, what is shown to it of the server, and its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycc.cache.digest import digest_of
from pycc.remote import ground
from pycc.remote.child import End
from pycc.remote.client_view import ClientFile, ClientLink, Refused, View
from pycc.remote.exact_root import Ground, Plan, content_name
from pycc.remote.sandbox import Compiled, ContentGone, Sandbox, SandboxFailed
from tests.exact_kit import Server, build, build_with_libc, need, serving
from tests.mounting import NO_ROOTS, has_user_namespaces

CWD = b"/home/client/project"
ENVIRONMENT = {b"PATH": b"/usr/bin:/bin", b"LC_ALL": b"C"}

ETC = {os.path.basename(path) for path in ground.RELEASES} | {
    *(b"ld.so.cache", b"alternatives", b"clang", b"locale.alias")
}
"""What is shown of /etc."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, program: Path) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), program) as made:
        yield made


def file(server: Server, path: bytes, text: bytes) -> ClientFile:
    server.contents.put(digest_of(text), text)
    return ClientFile(path, digest_of(text), 1_600_000_000_000_000_000)


def compiled(server: Server, text: bytes, *words: bytes) -> Compiled:
    """A C source that is compiled in a directory of its own."""
    view = View(CWD, (file(server, CWD + b"/a.c", text),))
    return server.sandbox.run(
        server.plan(view),
        (b"/usr/bin/gcc", b"-c", b"a.c", *words),
        environment=ENVIRONMENT,
        seconds=60,
    )


def shell(server: Server, script: str, *, seconds: float = 60, client: int | None = None) -> bytes:
    """What a shell script says in a root; its standard error as well."""
    words = (b"/bin/sh", b"-c", f"exec 2>&1\n{script}".encode())
    plan = server.plan(View(CWD))
    done = server.sandbox.run(
        plan, words, environment=ENVIRONMENT, seconds=seconds, client=client
    )  # fmt: skip
    return done.ran.out


SECRET = b"a secret of the server"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    path.chmod(0o644)
    return path


@pytest.mark.parametrize(
    "text",
    [
        '#include "{secret}"\n',
        '__asm__(".incbin \\"{secret}\\"");\n',
        '__asm__(".include \\"{secret}\\"");\n',
        '#include "/etc/passwd"\n',
        '__asm__(".incbin \\"/etc/shadow\\"");\n',
        '#include "/proc/1/root/etc/passwd"\n',
        '#include "/../../../../etc/passwd"\n',
    ],
)
def test_files_of_the_server_are_not_there(server: Server, secret: Path, text: str) -> None:
    done = compiled(server, text.format(secret=secret).encode())
    assert os.waitstatus_to_exitcode(done.ran.status) == 1
    reasons = (b"No such file", b"can't open", b"file not found", b"Permission denied")
    assert any(reason in done.ran.err for reason in reasons)
    assert done.outputs == ()
    assert SECRET not in done.ran.err


def test_the_same_source_compiles_where_the_file_is_sent(server: Server, secret: Path) -> None:
    text = f'__asm__(".incbin \\"{secret}\\"");\n'.encode()
    sent = file(server, bytes(secret), b"a secret of the client")
    view = View(CWD, (file(server, CWD + b"/a.c", text), sent))
    words = (b"/usr/bin/gcc", b"-c", b"a.c")
    done = server.sandbox.run(server.plan(view), words, environment=ENVIRONMENT)
    assert done.ran.status == 0
    assert b"a secret of the client" in done.outputs[0].content


def test_links_of_the_client_lead_to_nothing_of_the_server(server: Server, secret: Path) -> None:
    links = tuple(
        ClientLink(CWD + b"/l%d" % n, target)
        for n, target in enumerate(
            (bytes(secret), b"../../../../../.." + bytes(secret), b"/..", b"/proc/1/root")
        )
    )
    plan = server.plan(View(CWD, (), links))
    words = (b"/bin/sh", b"-c", b"cat l0 l1 l2%b l3%b" % (bytes(secret), bytes(secret)))
    done = server.sandbox.run(plan, words, environment=ENVIRONMENT)
    assert done.ran.out == b""
    assert done.ran.err.count(b"No such file") == 3
    assert done.ran.err.count(b"Permission denied") == 1


def test_the_root_holds_only_what_is_shown(server: Server) -> None:
    tops = set(shell(server, "ls -A /").split())
    shown = {tree.split(b"/")[1] for tree in server.ground.trees}
    shown |= {link.split(b"/")[1] for link in server.ground.links}
    assert tops == shown | {b"dev", b"proc", b"tmp", b"home"}
    assert set(shell(server, "ls -A /etc").split()) <= ETC


def test_nothing_of_the_server_can_be_written(server: Server) -> None:
    done = shell(server, "for f in /usr/bin/x /usr/include/x /usr/local/include/x; do : > $f; done")
    assert done.count(b"Read-only") + done.count(b"Permission denied") >= 1
    assert not Path("/usr/include/x").exists()
    assert not Path("/usr/local/include/x").exists()


def test_outputs_are_found_wherever_they_are_written(server: Server) -> None:
    view = View(CWD, (file(server, CWD + b"/in.h", b"x"),), (), (b"/srv/deep/er", CWD + b"/none"))
    script = b"echo 1 > /srv/deep/er/a; echo 2 > b; ln -s b c; mkfifo d; chmod 600 b; echo 3 > /e"
    words = (b"/bin/sh", b"-c", script)
    done = server.sandbox.run(server.plan(view), words, environment=ENVIRONMENT)
    found = sorted((one.path, one.mode, one.content) for one in done.outputs)
    assert found == [
        (b"/e", 0o666, b"3\n"),
        (CWD + b"/b", 0o600, b"2\n"),
        (b"/srv/deep/er/a", 0o666, b"1\n"),
    ]


def test_sent_files_can_be_neither_run_nor_loaded(server: Server) -> None:
    view = View(CWD, (file(server, CWD + b"/run", b"#!/bin/sh\necho ran\n"),))
    script = b"./run; chmod 755 run; ./run; cp /bin/true t; ./t && echo ran"
    words = (b"/bin/sh", b"-c", script)
    done = server.sandbox.run(server.plan(view), words, environment=ENVIRONMENT)
    assert done.ran.out == b""
    assert done.ran.err.count(b"Permission denied") == 3


def test_there_is_no_network_and_no_capability(server: Server) -> None:
    said = shell(
        server, "grep -E '^(Cap(Prm|Eff|Amb)|NoNewPrivs)' /proc/self/status; cat /proc/net/dev"
    )
    values = dict(line.split(b":") for line in said.splitlines() if line[:3] in (b"Cap", b"NoN"))
    assert {int(v, 16) for n, v in values.items() if n != b"NoNewPrivs"} == {0}
    assert values[b"NoNewPrivs"].strip() == b"1"
    assert b"eth" not in said
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
        done = server.sandbox.run(
            server.plan(View(CWD)), (b"/usr/bin/python3", b"-c", code.encode()), environment={}
        )
    assert done.ran.status != 0


def test_no_namespaces_are_made_in_it(server: Server) -> None:
    before = Path("/proc/sys/user/max_user_namespaces").read_text()
    said = shell(server, "unshare --user true && echo made; unshare --mount true && echo made")
    assert b"made" not in said
    assert b"unshare failed" in said
    assert Path("/proc/sys/user/max_user_namespaces").read_text() == before


def test_other_processes_are_not_seen(server: Server) -> None:
    said = shell(server, "cd /proc && ls -d [0-9]*")
    assert all(int(number) < 10 for number in said.split())
    assert said.split()


def test_how_a_program_ends_is_told(server: Server) -> None:
    plan = server.plan(View(CWD))

    def status(script: bytes) -> int:
        words = (b"/bin/sh", b"-c", script)
        return server.sandbox.run(plan, words, environment=ENVIRONMENT).ran.status

    assert status(b"exit 3") == 3 << 8
    assert status(b"kill -ABRT $$") & 0x7F == signal.SIGABRT
    assert status(b"kill -TERM $$") & 0x7F == signal.SIGTERM


def test_a_program_that_is_not_there(server: Server) -> None:
    with pytest.raises(SandboxFailed, match="starting the compiler: No such file"):
        server.sandbox.run(server.plan(View(CWD)), (b"/usr/bin/no-such",), environment={})


def test_a_content_that_has_gone_is_named(server: Server) -> None:
    one = file(server, CWD + b"/gone.c", b"int gone;\n")
    plan = server.plan(View(CWD, (one,)))
    os.unlink(content_name(one.content), dir_fd=server.contents.descriptor)
    with pytest.raises(ContentGone, match=r"gone\.c"):
        server.sandbox.run(plan, (b"/bin/true",), environment={})


def test_too_large_an_output_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pycc.remote.sandbox.SIZE_LIMIT", 1 << 20)
    plan = server.plan(View(CWD))
    words = (b"/bin/sh", b"-c", b"head -c 900000 /dev/zero > a; head -c 900000 /dev/zero > b")
    done = server.sandbox.run(plan, words, environment=ENVIRONMENT)
    # The tmpfs is full before the limit of all outputs is reached.
    assert b"No space left" in done.ran.err
    assert sum(len(one.content) for one in done.outputs) <= 1 << 20


def alive(token: str) -> list[int]:
    """The processes that have ``token`` in their command lines."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = Path("/proc", entry, "cmdline").read_bytes()
                state = Path("/proc", entry, "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if token.encode() in words and state not in "ZX":
                found.append(int(entry))
    return found


def gone(token: str) -> bool:
    for _ in range(500):
        if not alive(token):
            return True
        time.sleep(0.01)
    return False


HARD_TO_KILL = "trap '' TERM INT HUP; setsid sleep {0} & sleep {0} & sleep {0}; wait"


def test_its_time_is_bounded_and_nothing_is_left(server: Server) -> None:
    began = time.monotonic()
    words = (b"/bin/sh", b"-c", HARD_TO_KILL.format("98.761").encode())
    done = server.sandbox.run(
        server.plan(View(CWD)), words, environment=ENVIRONMENT, seconds=0.5
    )  # fmt: skip
    assert done.ran.end is End.TIMEOUT
    assert done.outputs == ()
    assert time.monotonic() - began < 10
    assert gone("98.761")


def test_a_client_that_leaves_ends_it(server: Server) -> None:
    ours, theirs = socket.socketpair()
    seen: list[bool] = []

    def leave() -> None:
        for _ in range(500):
            if len(alive("98.762")) >= 3:
                seen.append(True)
                break
            time.sleep(0.01)
        theirs.close()

    thread = threading.Thread(target=leave)
    thread.start()
    with ours:
        words = (b"/bin/sh", b"-c", HARD_TO_KILL.format("98.762").encode())
        done = server.sandbox.run(
            server.plan(View(CWD)), words, environment=ENVIRONMENT, client=ours.fileno()
        )
    thread.join()
    assert seen
    assert done.ran.end is End.CLIENT_LEFT
    assert gone("98.762")


def test_what_it_leaves_running_ends_with_it(server: Server) -> None:
    said = shell(server, "setsid sleep 98.763 > /dev/null 2>&1 & echo said")
    assert said == b"said\n"
    assert gone("98.763")


def test_a_killed_daemon_leaves_nothing(program: Path, tmp_path: Path) -> None:
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from tests.exact_kit import Server
from pycc.remote.client_view import View
server = Server(Path({str(tmp_path)!r}), Path({str(program)!r}))
words = (b"/bin/sh", b"-c", {HARD_TO_KILL.format("98.764").encode()!r})
server.sandbox.run(server.plan(View({CWD!r})), words, environment={ENVIRONMENT!r})
"""
    # A temporary directory of its own: in the common one other tests work at the same time.
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    daemon = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(temporary)},
        stderr=subprocess.PIPE,
    )
    try:
        for _ in range(1000):
            # Three sleeps, and the shells and daemon that have the number in their words.
            if len(alive("98.764")) >= 5 or daemon.poll() is not None:
                break
            time.sleep(0.01)
        if daemon.poll() is not None:
            assert daemon.stderr is not None
            pytest.skip(daemon.stderr.read().decode().splitlines()[-1])
    finally:
        daemon.kill()
        daemon.wait()
        assert daemon.stderr is not None
        daemon.stderr.close()
    assert gone("98.764")
    assert not list(temporary.iterdir())
    assert "pycc /" not in Path("/proc/self/mounts").read_text()


def test_no_descriptor_is_left(server: Server) -> None:
    plan = server.plan(View(CWD))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        server.sandbox.run(plan, (b"/bin/true",), environment={})
        with pytest.raises(SandboxFailed):
            server.sandbox.run(plan, (b"/missing",), environment={})
    assert len(os.listdir("/proc/self/fd")) == before


def test_many_at_a_time(server: Server) -> None:
    results: dict[int, tuple[int, bytes]] = {}

    def one(number: int) -> None:
        done = compiled(server, b"int x%d;\n" % number, b"-O1")
        results[number] = (done.ran.status, done.outputs[0].content)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 12
    assert all(status == 0 and b"x%d\0" % n in o for n, (status, o) in results.items())


# System headers that differ.


@pytest.fixture
def system(tmp_path: Path, program: Path) -> Iterator[Server]:
    """A server that has another tree of system headers."""
    include = tmp_path / "system/include"
    (include / "sub").mkdir(parents=True)
    (include / "same.h").write_text("#define SAME 1\n")
    (include / "other.h").write_text("#define OTHER 1\n")
    (include / "extra.h").write_text("#define EXTRA 1\n")
    (include / "sub/same.h").write_text("#define SUB 1\n")
    (include / "link.h").symlink_to("same.h")
    found = ground.find()
    trees = (*found.trees, bytes(include))
    with serving(tmp_path, program) as made:
        made.sandbox.close()
        made.ground = Ground(trees, found.files, found.links.items(), found.nodes)
        made.sandbox = Sandbox.open(made.contents.descriptor, made.ground, str(program))
        if not made.sandbox.patches:
            pytest.skip("no overlays here")
        yield made


def seen_by(server: Server, view: View, include: bytes) -> dict[bytes, bytes]:
    """The files that a compile finds in the system's include directory, links followed."""
    script = b"cd %b && find -L . -type f -exec grep -H . {} +" % include
    done = server.sandbox.run(
        server.plan(view), (b"/bin/sh", b"-c", script), environment=ENVIRONMENT
    )  # fmt: skip
    assert done.ran.err == b""
    return dict(line[2:].split(b":", 1) for line in done.ran.out.splitlines())


def test_the_client_sees_its_own_system_headers(system: Server, tmp_path: Path) -> None:
    include = bytes(tmp_path) + b"/system/include"
    view = View(
        CWD,
        (
            file(system, include + b"/same.h", b"#define SAME 1\n"),
            file(system, include + b"/other.h", b"#define OTHER 2\n"),
            file(system, include + b"/sub/new.h", b"#define NEW 2\n"),
            file(system, include + b"/fresh/new.h", b"#define FRESH 2\n"),
        ),
        (ClientLink(include + b"/link.h", b"other.h"),),
        (),
        (include + b"/extra.h", include + b"/nothing.h"),
    )
    assert seen_by(system, view, include) == {
        b"same.h": b"#define SAME 1",
        b"other.h": b"#define OTHER 2",
        b"sub/same.h": b"#define SUB 1",
        b"sub/new.h": b"#define NEW 2",
        b"fresh/new.h": b"#define FRESH 2",
        b"link.h": b"#define OTHER 2",
    }


def test_what_agrees_is_not_laid_over(system: Server, tmp_path: Path) -> None:
    include = bytes(tmp_path) + b"/system/include"
    same = ClientFile(include + b"/same.h", digest_of(b"#define SAME 1\n"), 0)
    plan = system.plan(View(CWD, (same,)))
    assert (plan.patched, plan.contents) == ((), frozenset())
    assert seen_by(system, View(CWD, (same,)), include)[b"extra.h"] == b"#define EXTRA 1"


def test_without_overlays_what_differs_is_refused(
    system: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    include = bytes(tmp_path) + b"/system/include"
    plan = system.plan(View(CWD, (), (), (), (include + b"/extra.h",)))
    monkeypatch.setattr(system.sandbox, "patches", False)
    with pytest.raises(SandboxFailed, match="include differs here"):
        system.sandbox.run(plan, (b"/bin/true",), environment={})


def test_an_extra_header_of_the_server_is_not_found(system: Server, tmp_path: Path) -> None:
    include = bytes(tmp_path) + b"/system/include"
    source = file(
        system, CWD + b"/a.c", b"#if __has_include(<extra.h>)\nint extra;\n#endif\nint x;\n"
    )
    words = (need("gcc").encode(), b"-I" + include, b"-S", b"a.c", b"-o", b"-")
    for absent, found in (((), True), ((include + b"/extra.h",), False)):
        plan = system.plan(View(CWD, (source,), (), (), absent))
        done = system.sandbox.run(plan, words, environment=ENVIRONMENT)
        assert (b"extra" in done.ran.out) is found


def test_programs_and_libraries_are_never_replaced(server: Server) -> None:
    for path in (b"/usr/bin/as", b"/usr/lib/x86_64-linux-gnu/libc.so.6", b"/etc/ld.so.preload"):
        with pytest.raises(Refused):
            server.plan(View(CWD, (file(server, path, b"evil"),)))


# The program itself.

SANITIZE = "-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all".split()


@pytest.mark.parametrize("flags", [[], SANITIZE], ids=["through libc", "sanitized"])
def test_other_builds_of_the_program_do_the_same(
    server: Server, tmp_path: Path, flags: list[str]
) -> None:
    view = View(
        CWD,
        (file(server, CWD + b"/a.c", b'#include "a.h"\nint x = A;\n'),
         file(server, CWD + b"/inc/a.h", b"#define A 1\n"),
         file(server, b"/usr/include/new/b.h", b"")),
        (ClientLink(CWD + b"/a.h", b"inc/a.h"),),
        (b"/d" * 100,),
        (b"/usr/include/stdio.h",),
    )  # fmt: skip
    plan = server.plan(view)
    words = (b"/usr/bin/gcc", b"-c", b"-g", b"-MD", b"a.c")
    expected = server.sandbox.run(plan, words, environment=ENVIRONMENT)
    assert len(expected.outputs) == 2
    other = Sandbox.open(
        server.contents.descriptor, server.ground, str(build_with_libc(tmp_path, flags))
    )
    assert other.run(plan, words, environment=ENVIRONMENT) == expected
    with pytest.raises(SandboxFailed, match="starting the compiler"):
        other.run(plan, (b"/missing",), environment={})
    other.close()


# What a machine lacks.


@pytest.mark.parametrize("compiler", ["gcc", "g++", "clang", "clang++"])
def test_compilers_do_without_proc(server: Server, compiler: str) -> None:
    """A container may allow no proc; the program then goes on without."""
    program = need(compiler).encode()
    text = b"#include <stddef.h>\nsize_t x;\nint f(void) { return 0; }\n"
    plan = server.plan(View(CWD, (file(server, CWD + b"/a.c", text),)))
    without = Plan(plan.cwd, tuple(s for s in plan.steps if s.letter != b"P"), plan.contents)
    words = (program, b"-c", b"-g", b"-MD", b"-Wall", b"a.c")
    done = server.sandbox.run(without, words, environment=ENVIRONMENT)
    assert done.ran.status == 0
    assert done == server.sandbox.run(plan, words, environment=ENVIRONMENT)
    listed = (b"/bin/ls", b"-A", b"/proc")
    assert server.sandbox.run(without, listed, environment={}).ran.out == b""
    assert server.sandbox.run(plan, listed, environment={}).ran.out != b""


def test_a_program_that_is_no_sandbox(server: Server, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\nexit 7\n")
    other.chmod(0o755)
    with pytest.raises(SandboxFailed, match="ended with status 1792"):
        Sandbox.open(server.contents.descriptor, server.ground, str(other))
    with pytest.raises(SandboxFailed, match="No such file"):
        Sandbox.open(server.contents.descriptor, server.ground, str(tmp_path / "none"))


def test_a_machine_without_namespaces_says_so(program: Path, tmp_path: Path, as_root: None) -> None:
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from tests.exact_kit import Server
Server(Path({str(tmp_path)!r}), Path({str(program)!r}))
"""
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    done = subprocess.run(
        # The limit of a user namespace of its own: that of the machine stays as it is.
        ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh",
         sys.executable, "-c", code],
        capture_output=True, check=False, text=True,
    )  # fmt: skip
    if "Permission denied" in done.stderr or "unshare failed" in done.stderr:
        pytest.skip("cannot forbid namespaces here")
    assert "making namespaces: No space left on device" in done.stderr
    assert "max_user_namespaces" in done.stderr


def test_an_unprivileged_user_can_do_it(program: Path, tmp_path: Path, as_root: None) -> None:
    if not has_user_namespaces():
        pytest.skip(NO_ROOTS)
    place = tmp_path / "theirs"
    place.mkdir()
    os.chown(place, 65534, 65534)
    code = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
import tests.exact_kit
from tests.exact_kit import Server
from pycc.remote.client_view import View
from pycc.remote.sandbox import Sandbox
Sandbox
helper = os.open({str(program)!r}, os.O_PATH)
os.chdir({str(place)!r})
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
server = Server(Path("."), Path(f"/proc/self/fd/{{helper}}"))
done = server.sandbox.run(server.plan(View({CWD!r})), (b"/usr/bin/id", b"-u"), environment={{}})
print(done.ran.out.decode(), server.sandbox.patches)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, text=True
    )  # fmt: skip
    assert done.stdout.split() == ["65534", "True"], done.stderr
