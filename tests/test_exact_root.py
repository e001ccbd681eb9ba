"""Plans of exact roots: what is put where, what is left to the server, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycc.remote.client_view import ClientFile, ClientLink, Refused, View
from pycc.remote.exact_root import (
    MOST_PATCHES,
    SECOND,
    Ground,
    Kind,
    Layout,
    Plan,
    Spot,
    Step,
    content_name,
)
from tests.quick import quick

ONE, TWO = b"1" * 20, b"2" * 20
CWD = b"/home/u/p"
GROUND = Ground(
    trees=(b"/usr/bin", b"/usr/include", b"/usr/lib", b"/usr/share", b"/etc/ld.so.cache"),
    files=(b"/etc/ld.so.cache",),
    links=((b"/lib", b"usr/lib"), (b"/bin", b"usr/bin")),
    nodes=(b"/dev/null",),
)
DIRECTORY = Spot(Kind.DIRECTORY)
SERVER = {
    b"/usr/bin": DIRECTORY,
    b"/usr/bin/as": Spot(Kind.FILE),
    b"/usr/include": DIRECTORY,
    b"/usr/include/a.h": Spot(Kind.FILE, ONE, mtime=5 * SECOND, inode=(1, 1)),
    b"/usr/include/b.h": Spot(Kind.FILE, ONE, mtime=5 * SECOND, inode=(1, 2)),
    b"/usr/include/c.h": Spot(Kind.FILE, ONE, mtime=5 * SECOND, inode=(1, 1)),
    b"/usr/include/l.h": Spot(Kind.LINK, target=b"a.h"),
    b"/usr/include/d": DIRECTORY,
    b"/usr/include/d/a.h": Spot(Kind.FILE, ONE, inode=(1, 9)),
    b"/usr/include/k": Spot(Kind.LINK, target=b"d"),
    b"/usr/include/fifo": Spot(Kind.OTHER),
    b"/usr/lib": DIRECTORY,
    b"/usr/lib/gcc": DIRECTORY,
    b"/usr/lib/gcc/cc1": Spot(Kind.FILE, ONE),
    b"/usr/lib/gcc/include": DIRECTORY,
    b"/usr/lib/gcc/include/stddef.h": Spot(Kind.FILE, ONE),
    b"/usr/lib/libc.so.6": Spot(Kind.FILE, ONE),
    b"/usr/share": DIRECTORY,
    b"/usr/share/data": Spot(Kind.FILE, ONE),
}


def file(path: bytes, content: bytes = ONE, mtime: int = 5, same_as: bytes = b"") -> ClientFile:
    return ClientFile(path, content, mtime * SECOND + 7, same_as)


def made(
    *files: ClientFile,
    links: tuple[ClientLink, ...] = (),
    directories: tuple[bytes, ...] = (),
    absent: tuple[bytes, ...] = (),
    cwd: bytes = CWD,
) -> Plan:
    view = View(cwd, files, links, directories, absent)
    layout = Layout(view, GROUND)
    asked = layout.questions()
    # A plan that looked at what it did not ask for would see nothing there.
    answers = {path: SERVER[path] for path in asked.contents | asked.kinds if path in SERVER}
    return layout.plan(answers)


def words(found: Plan, letter: bytes) -> list[tuple[bytes, ...]]:
    return [step.words for step in found.steps if step.letter == letter]


def test_the_whole_of_a_small_plan() -> None:
    found = made(file(CWD + b"/a.c"), links=(ClientLink(b"/home/l", b"u"),))
    assert found.cwd == CWD
    assert found.contents == {ONE}
    assert found.patched == ()
    assert found.steps == (
        Step(b"D", (b"/dev",)),
        Step(b"D", (b"/etc",)),
        Step(b"D", (b"/home",)),
        Step(b"D", (b"/home/u",)),
        Step(b"D", (CWD,)),
        Step(b"D", (b"/proc",)),
        Step(b"T", (b"/tmp",)),
        Step(b"D", (b"/usr",)),
        Step(b"D", (b"/usr/bin",)),
        Step(b"D", (b"/usr/include",)),
        Step(b"D", (b"/usr/lib",)),
        Step(b"D", (b"/usr/share",)),
        Step(b"I", (b"/dev/null",)),
        Step(b"I", (b"/etc/ld.so.cache",)),
        Step(b"L", (b"/bin", b"usr/bin")),
        Step(b"L", (b"/dev/fd", b"/proc/self/fd")),
        Step(b"L", (b"/dev/stderr", b"/proc/self/fd/2")),
        Step(b"L", (b"/dev/stdin", b"/proc/self/fd/0")),
        Step(b"L", (b"/dev/stdout", b"/proc/self/fd/1")),
        Step(b"L", (b"/home/l", b"u")),
        Step(b"L", (b"/lib", b"usr/lib")),
        *(Step(b"B", (tree, tree)) for tree in GROUND.trees),
        Step(b"N", (b"/dev/null", b"/dev/null")),
        Step(b"F", (CWD + b"/a.c", content_name(ONE), b"5", b"7")),
        Step(b"P", (b"/proc",)),
    )


def test_contents_are_named_by_their_digest() -> None:
    assert content_name(ONE) == b"31/" + b"31" * 19


def test_what_is_asked_of_the_server() -> None:
    view = View(
        CWD,
        (file(CWD + b"/a.c"), file(b"/usr/include/d/a.h")),
        (ClientLink(b"/usr/include/k", b"d"),),
        (b"/usr/include/e",),
        (b"/usr/lib/gcc/x.h", b"/home/x.h"),
    )
    asked = Layout(view, GROUND).questions()
    assert asked.contents == {b"/usr/include/d/a.h"}
    assert asked.kinds == {
        b"/usr/include", b"/usr/include/d", b"/usr/include/e", b"/usr/include/k",
        b"/usr/lib", b"/usr/lib/gcc", b"/usr/lib/gcc/x.h",
    }  # fmt: skip


SAME_HERE: list[dict[str, object]] = [
    {"files": (file(b"/usr/include/a.h"),)},
    {"files": (file(b"/usr/include/a.h"), file(b"/usr/include/b.h"))},
    {"files": (file(b"/usr/lib/libc.so.6"),)},
    {"files": (file(b"/usr/lib/gcc/include/stddef.h", mtime=9),)},
    {"links": (ClientLink(b"/usr/include/l.h", b"a.h"),)},
    {"links": (ClientLink(b"/lib", b"usr/lib"),)},
    {"directories": (b"/usr/include/d", b"/usr/lib", b"/usr", b"/tmp")},
    {"absent": (b"/usr/include/none.h", b"/usr/include/no/ne.h", b"/usr/bin/x")},
    {"absent": (b"/usr/include/a.h/x.h", b"/opt/x/y.h", b"/usr/local/include/x.h")},
]


@pytest.mark.parametrize("case", SAME_HERE)
def test_what_is_the_same_here_is_left_to_the_server(case: dict[str, tuple[object, ...]]) -> None:
    files = case.pop("files", ())
    found = made(*files, **case)  # type: ignore[arg-type]
    case["files"] = files
    assert (found.patched, found.contents) == ((), frozenset())
    assert words(found, b"F") == []
    assert sorted(words(found, b"L")) == sorted(words(made(), b"L"))


PATCH = b"/.pycc-patches/0"


def test_a_header_that_differs_is_laid_over() -> None:
    found = made(file(b"/usr/include/d/a.h", TWO))
    assert found.patched == (b"/usr/include",)
    assert found.contents == {TWO}
    assert (PATCH + b"/d",) in words(found, b"D")
    assert words(found, b"F") == [(PATCH + b"/d/a.h", content_name(TWO), b"5", b"7")]
    assert words(found, b"O") == [(b"/usr/include", b"lowerdir=" + PATCH + b":/usr/include")]
    letters = b"".join(step.letter for step in found.steps)
    assert letters.index(b"B") < letters.index(b"F") < letters.index(b"O")


def test_a_header_that_is_missing_here_is_laid_over() -> None:
    found = made(file(b"/usr/include/new/x.h"))
    assert [path for path, *_ in words(found, b"F")] == [PATCH + b"/new/x.h"]
    assert (PATCH + b"/new",) in words(found, b"D")


def test_a_header_that_the_client_has_not_is_hidden() -> None:
    found = made(absent=(b"/usr/include/a.h", b"/usr/include/d"))
    assert words(found, b"W") == [(PATCH + b"/a.h",), (PATCH + b"/d",)]
    assert found.contents == frozenset()


@pytest.mark.parametrize("name", [b"/usr/include/k", b"/usr/include/d"])
def test_what_would_lie_in_a_file_of_the_client_is_not_hidden(name: bytes) -> None:
    found = made(file(name), absent=(name + b"/a.h",))
    assert words(found, b"W") == []
    assert [path for path, *_ in words(found, b"F")] == [PATCH + name[len("/usr/include") :]]


def test_what_lies_in_something_hidden_is_not_hidden_again() -> None:
    found = made(absent=(b"/usr/include/d", b"/usr/include/d/a.h"))
    assert words(found, b"W") == [(PATCH + b"/d",)]


def test_what_is_no_plain_file_here_is_laid_over() -> None:
    for name in (b"/usr/include/l.h", b"/usr/include/d", b"/usr/include/fifo"):
        found = made(file(name))
        assert [path for path, *_ in words(found, b"F")] == [PATCH + name[len("/usr/include") :]]


def test_a_directory_takes_the_place_of_a_link() -> None:
    found = made(file(b"/usr/include/k/a.h"))
    assert (PATCH + b"/k",) in words(found, b"D")
    assert [path for path, *_ in words(found, b"F")] == [PATCH + b"/k/a.h"]


def test_a_link_that_leads_elsewhere_is_laid_over() -> None:
    found = made(links=(ClientLink(b"/usr/include/l.h", b"b.h"),))
    assert (PATCH + b"/l.h", b"b.h") in words(found, b"L")


def test_what_a_link_of_the_server_leads_to_is_hidden() -> None:
    found = made(absent=(b"/usr/include/k/a.h",))
    assert words(found, b"W") == [(PATCH + b"/k",)]


def test_patches_are_never_one_in_another() -> None:
    found = made(
        file(b"/usr/lib/gcc/include/stddef.h", TWO), file(b"/usr/lib/glib/include/x.h", TWO)
    )
    assert found.patched == (b"/usr/lib",)
    assert [path for path, *_ in words(found, b"F")] == [
        PATCH + b"/gcc/include/stddef.h", PATCH + b"/glib/include/x.h",
    ]  # fmt: skip
    assert made(file(b"/usr/lib/gcc/include/stddef.h", TWO)).patched == (b"/usr/lib/gcc/include",)


def test_files_of_one_content_keep_their_times() -> None:
    # gcc would take them for one under #pragma once, or for two.
    found = made(file(b"/usr/include/a.h", mtime=5), file(b"/usr/include/b.h", mtime=6))
    assert [(f[0], f[2]) for f in words(found, b"F")] == [
        (PATCH + b"/a.h", b"5"), (PATCH + b"/b.h", b"6"),
    ]  # fmt: skip


def test_files_of_one_content_are_two_inodes() -> None:
    found = made(file(b"/usr/include/a.h"), file(b"/usr/include/c.h"))
    assert len(words(found, b"F")) == 2
    assert words(found, b"K") == []
    found = made(file(b"/p/a.h"), file(b"/p/b.h"))
    assert len(words(found, b"F")) == 2


def test_second_names_are_one_inode() -> None:
    found = made(file(b"/p/b.h"), file(b"/p/a.h", same_as=b"/p/b.h"), file(b"/p/c.h"))
    assert [path for path, *_ in words(found, b"F")] == [b"/p/a.h", b"/p/c.h"]
    assert words(found, b"K") == [(b"/p/b.h", b"/p/a.h")]


def test_files_come_in_ascending_order() -> None:
    found = made(
        file(b"/zz", same_as=b"/-a"), file(b"/-a"), file(b"/usr/include/a.h", TWO),
        file(b"/p/a/b"), file(b"/p/a-b"),
    )  # fmt: skip
    paths = [step.words[0] for step in found.steps if step.letter in (b"F", b"K")]
    assert paths == sorted(paths)
    assert len(paths) == 5


def test_sources_in_usr_src_are_the_clients_own() -> None:
    found = made(file(b"/usr/src/linux/a.c"), cwd=b"/usr/src/linux")
    assert (b"/usr/src/linux",) in words(found, b"D")
    assert [path for path, *_ in words(found, b"F")] == [b"/usr/src/linux/a.c"]


REFUSED: list[tuple[dict[str, tuple[object, ...] | bytes], str]] = [
    # What would alter the compiler.
    ({"files": (file(b"/usr/bin/as", TWO),)}, "no include directory"),
    ({"files": (file(b"/usr/bin/new", TWO),)}, "no include directory"),
    ({"files": (file(b"/usr/lib/libc.so.6", TWO),)}, "no include directory"),
    ({"files": (file(b"/usr/lib/gcc/cc1", TWO),)}, "no include directory"),
    ({"files": (file(b"/usr/lib/gcc/specs", TWO),)}, "no include directory"),
    ({"files": (file(b"/usr/share/data", TWO),)}, "no include directory"),
    ({"files": (file(b"/usr/include/libx.so", TWO),)}, "is a library"),
    ({"files": (file(b"/usr/include/libx.so.6", TWO),)}, "is a library"),
    ({"links": (ClientLink(b"/usr/bin/cc", b"/p/cc"),)}, "no include directory"),
    ({"links": (ClientLink(b"/usr/lib/gcc", b"/p/gcc"),)}, "no include directory"),
    ({"directories": (b"/usr/lib/new",)}, "no include directory"),
    ({"absent": (b"/usr/bin/as",)}, "no include directory"),
    ({"absent": (b"/usr/lib/gcc",)}, "no include directory"),
    # Places that are the server's.
    ({"files": (file(b"/etc/ld.so.preload"),)}, "the server's"),
    ({"files": (file(b"/etc/ld.so.cache"),)}, "no include directory"),
    ({"files": (file(b"/etc/ld.so.cache/x"),)}, "no directory"),
    ({"files": (file(b"/usr/lib/libc.so.6/include/x.h"),)}, "no include directory"),
    ({"files": (file(b"/usr/lib/new/x.h"),)}, "no include directory"),
    ({"files": (file(b"/proc/1/mem"),)}, "the server's"),
    ({"files": (file(b"/sys/x"),)}, "the server's"),
    ({"files": (file(b"/dev/null"),)}, "the server's"),
    ({"files": (file(b"/dev/shm/x"),)}, "the server's"),
    ({"files": (file(b"/lib64/ld-linux.so.2"),)}, "the server's"),
    ({"files": (file(b"/sbin/x"),)}, "the server's"),
    ({"files": (file(b"/.pycc-patches/0/x"),)}, "the server's"),
    ({"files": (file(b"/x"), file(b"/etc/x"))}, "the server's"),
    ({"links": (ClientLink(b"/etc", b"/p"),)}, "has its own"),
    ({"links": (ClientLink(b"/proc", b"/p"),)}, "the server's"),
    ({"links": (ClientLink(b"/usr", b"/p"),)}, "has its own"),
    ({"links": (ClientLink(b"/tmp", b"/p"),)}, "has its own"),
    ({"links": (ClientLink(b"/usr/lib", b"/p"),)}, "no include directory"),
    ({"files": (file(b"/usr"),)}, "has its own"),
    ({"files": (file(b"/tmp"),)}, "has its own"),
    ({"directories": (b"/dev/x",)}, "the server's"),
    ({"cwd": b"/usr/include/d"}, "lies among the server's own files"),
    ({"cwd": b"/proc/self"}, "the server's"),
    # What is reached by another way here.
    ({"files": (file(b"/lib/x.h"),)}, "the server's"),
    ({"links": (ClientLink(b"/lib", b"/p"),)}, "the server's"),
    ({"absent": (b"/lib/x.h",)}, "is a link here"),
    ({"absent": (b"/dev/null",)}, "always here"),
    ({"absent": (b"/usr",)}, "always here"),
    ({"absent": (b"/proc/self/maps",)}, "always here"),
    ({"absent": (b"/usr/include",)}, "no include directory|cannot be laid over"),
    # One inode here and there.
    ({"files": (file(b"/p/a.h"), file(b"/usr/include/a.h", same_as=b"/p/a.h"))}, "has a name"),
]


@pytest.mark.parametrize(("case", "reason"), REFUSED)
def test_a_job_that_is_refused(case: dict[str, tuple[object, ...] | bytes], reason: str) -> None:
    rest = dict(case)
    files = rest.pop("files", ())
    with pytest.raises(Refused, match=reason):
        made(*files, **rest)  # type: ignore[arg-type]


def test_a_place_that_no_mount_option_can_name() -> None:
    server = SERVER | {b"/usr/lib/a,b": DIRECTORY, b"/usr/lib/a,b/include": DIRECTORY}
    view = View(CWD, (file(b"/usr/lib/a,b/include/x.h"),))
    with pytest.raises(Refused, match="cannot be laid over"):
        Layout(view, GROUND).plan(server)


def test_there_are_not_too_many_patches() -> None:
    names = [b"/usr/lib/%d" % n for n in range(MOST_PATCHES + 1)]
    server = dict(SERVER)
    for name in names:
        server |= {name: DIRECTORY, name + b"/include": DIRECTORY}
    files = tuple(file(name + b"/include/x.h") for name in names)
    assert len(Layout(View(CWD, files[1:]), GROUND).plan(server).patched) == MOST_PATCHES
    with pytest.raises(Refused, match="17 directories differ"):
        Layout(View(CWD, files), GROUND).plan(server)


def test_the_tree_of_a_path() -> None:
    assert GROUND.tree_of(b"/usr/include") == b"/usr/include"
    assert GROUND.tree_of(b"/usr/include/a/b") == b"/usr/include"
    for path in (b"/usr", b"/usr/includes", b"/usr/local/include", b"/", b"/home/usr/include"):
        assert GROUND.tree_of(path) is None


PREFIXES = [
    b"",
    b"/usr/include",
    b"/usr/include/d",
    b"/usr/lib/gcc/include",
    b"/usr",
    b"/home",
    CWD,
]
NAMES = b"usr include lib etc tmp a.h k d x.so new ..".split()
PATHS = st.builds(
    lambda prefix, parts: b"/".join([prefix, *parts]),
    st.sampled_from(PREFIXES),
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=2),
)
VIEWS = st.builds(
    View,
    st.sampled_from([CWD, b"/tmp", b"/usr/src", b"/usr/include"]),
    st.lists(st.builds(ClientFile, PATHS, st.sampled_from([ONE, TWO]), st.just(0)), max_size=2)
    .map(tuple),
    st.lists(st.builds(ClientLink, PATHS, st.sampled_from([b"a.h", b"/etc"])), max_size=1)
    .map(tuple),
    st.lists(PATHS, max_size=1).map(tuple),
    st.lists(PATHS, max_size=2).map(tuple),
)  # fmt: skip
taken = {"plans": 0}


@settings(quick, max_examples=200)
@given(VIEWS)
def test_no_view_gets_anything_into_places_of_the_server(view: View) -> None:
    try:
        found = Layout(view, GROUND).plan(SERVER)
    except Refused:
        return
    taken["plans"] += 1
    sent = {file.path for file in view.files}
    own = {step.words[0] for step in made().steps}
    placed: list[bytes] = []
    for step in found.steps:
        path = step.words[0]
        if path in own or step.letter == b"O":
            continue
        assert path not in placed, "made twice"
        placed.append(path)
        parts = path.split(b"/")
        assert b".." not in parts
        if parts[1] == b".pycc-patches":
            continue
        assert GROUND.tree_of(path) is None
        assert parts[1] not in (b"etc", b"lib", b"bin", b"proc", b"dev")
        assert step.letter in (b"D", b"L") or path in sent
    for root in found.patched:
        assert root.startswith((b"/usr/include", b"/usr/lib"))
    order = [step.words[0] for step in found.steps if step.letter in (b"F", b"K")]
    assert order == sorted(set(order))
    assert found.contents <= {file.content for file in view.files}


def test_some_views_were_taken() -> None:
    assert taken["plans"] > 5
