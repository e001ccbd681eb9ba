"""From what a compile asked to what must be the same elsewhere."""

from __future__ import annotations

import pytest

from pycc.cache.manifest import WHOLE, ManifestEntry
from pycc.remote.client_view import ClientFile, ClientLink, View
from pycc.remote.exact_root import Ground
from pycc.remote.sandbox import Found, Lookup
from pycc.remote.witness import Places, Unwitnessed, entry

GROUND = Ground(
    [b"/usr/include", b"/usr/lib", b"/usr/bin"], links=[(b"/lib", b"usr/lib")], nodes=[b"/dev/null"]
)
OWN, SYSTEM = b"o" * 20, b"s" * 20
VIEW = View(
    b"/home/me/project",
    (
        ClientFile(b"/home/me/project/a.c", b"a" * 20, 1),
        ClientFile(b"/home/me/project/real/x.h", OWN, 1),
    ),
    (ClientLink(b"/home/me/project/linked", b"real"),),
    (b"/home/me/project/empty",),
)
SERVER_LINKS = {b"/usr/lib/cc": b"../bin/cc-12"}


def places() -> Places:
    return Places(VIEW, GROUND, SERVER_LINKS.get)


def witness(*lookups: tuple[str, Found], made: tuple[bytes, ...] = ()) -> ManifestEntry:
    def digest(path: bytes) -> bytes | None:
        return None if path.endswith(b"moved.h") else SYSTEM

    found, links = entry(
        lambda files, present: b"k" * 32,
        [Lookup(path.encode(), found) for path, found in lookups],
        b"a.c",
        VIEW,
        places(),
        GROUND,
        made=made,
        digest=digest,
        runs=lambda path: path.startswith(b"/usr/bin/"),
    )
    assert links == ()
    return found


@pytest.mark.parametrize(
    ("name", "physical"),
    [
        (b"a.c", b"/home/me/project/a.c"),
        (b"./linked//x.h", b"/home/me/project/real/x.h"),
        (b"linked/../a.c", b"/home/me/project/a.c"),
        (b"/lib/x", b"/usr/lib/x"),
        (b"/usr/lib/cc", b"/usr/bin/cc-12"),
        (b"/../..", b"/"),
        (b"../../../../etc", b"/etc"),
    ],
)
def test_where_a_name_leads(name: bytes, physical: bytes) -> None:
    assert places().physical(name) == physical


def test_links_that_go_round() -> None:
    view = View(b"/w", (), (ClientLink(b"/w/a", b"b"), ClientLink(b"/w/b", b"a")))
    with pytest.raises(Unwitnessed, match="circle"):
        Places(view, GROUND, lambda path: None).physical(b"a/x")


def test_what_was_read_asked_and_missing() -> None:
    found = witness(
        ("a.c", Found.CONTENT),
        ("linked/x.h", Found.CONTENT),
        ("/usr/include/stdio.h", Found.CONTENT),
        ("first/x.h", Found.ABSENT),
        ("first/y.h", Found.ABSENT),
        ("x.h", Found.ABSENT),
        ("/nowhere", Found.ABSENT),
        ("empty", Found.DIRECTORY),
        ("/usr/include/maybe.h", Found.FILE),
        ("/usr/lib/gcc", Found.LISTED),
    )
    assert found.files == ((b"/usr/include/stdio.h", SYSTEM), (b"linked/x.h", OWN))
    assert found.groups == ((b".", (b"x.h",)), (b"/", (b"nowhere",)), (b"first", (b"x.h", b"y.h")))
    assert found.present == (b"/usr/include/maybe.h", b"/usr/lib/gcc/", b"empty/")
    assert found.flags == WHOLE


def test_what_reaches_no_output() -> None:
    found = witness(
        ("a.c", Found.CONTENT),
        ("/proc/self/maps", Found.CONTENT),
        ("/dev/null", Found.OTHER),
        ("/tmp", Found.DIRECTORY),
        ("/home/me/project", Found.DIRECTORY),
        ("/etc/ld.so.cache", Found.CONTENT),
        ("/lib/libc.so.6", Found.CONTENT),
        ("/usr/bin/as", Found.CONTENT),
        ("a.o", Found.ABSENT),
        made=(b"/home/me/project/a.o",),
    )
    assert found == ManifestEntry(b"k" * 32, (), flags=WHOLE)


def test_headers_with_the_names_of_libraries_are_headers() -> None:
    found = witness(
        ("/usr/include/data.so.h", Found.CONTENT),
        ("own.so.h", Found.ABSENT),
        ("first/glibc-hwcaps/x.h", Found.ABSENT),
        ("/usr/include/linux-release", Found.FILE),
    )
    assert found.files == ((b"/usr/include/data.so.h", SYSTEM),)
    assert [name for name, _ in found.groups] == [b".", b"first/glibc-hwcaps"]
    assert found.present == (b"/usr/include/linux-release",)


def test_links_are_told() -> None:
    lookups = [
        Lookup(b"linked", Found.DIRECTORY, b"real"),
        Lookup(b"linked/x.h", Found.CONTENT),
        Lookup(b"/usr/bin/as", Found.CONTENT, b"x86-as"),
    ]
    _, links = entry(
        lambda files, present: b"k" * 32,
        lookups,
        b"a.c",
        VIEW,
        places(),
        GROUND,
        made=(),
        digest=lambda path: SYSTEM,
        runs=lambda path: path.startswith(b"/usr/bin/"),
    )
    assert links == ((b"linked", b"real"),)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/usr/include/moved.h", Found.CONTENT),
        ("empty", Found.LISTED),
        ("/usr/include/pipe", Found.OTHER),
    ],
)
def test_what_cannot_be_told_to_others(path: str, found: Found) -> None:
    with pytest.raises(Unwitnessed):
        witness((path, found))
