"""Absent candidates: every place where a header could appear and change a result."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from pycc import depfile
from pycc.directives import Directives, scan
from pycc.includes import Absent, Remembered, absent
from pycc.places import Probes, normal
from pycc.searchchain import SearchChain, parse_search_output, user_chain
from pycc.textlookups import TextLookups


class Files:
    """A file system of names: files, directories (also those that hold files), dangling links."""

    def __init__(self, files: Iterable[bytes], empty: Iterable[bytes], links: Iterable[bytes]):
        self.files = set(map(os.path.normpath, files))
        self.links = set(links)
        self.directories = set(empty)
        for name in [*self.files, *self.links, *empty]:
            while b"/" in name:
                name = name.rpartition(b"/")[0]
                self.directories.add(name or b"/")

    def exists(self, path: bytes) -> bool:
        return os.path.normpath(path) in self.files

    def is_directory(self, path: bytes) -> bool:
        above, step, _ = path.partition(b"/..")
        return os.path.normpath(path) in self.directories and (not step or self.is_directory(above))

    def is_link(self, path: bytes) -> bool:
        return path in self.links

    def listing(self, path: bytes) -> set[bytes]:
        directory = os.path.normpath(path)
        here = {name.rpartition(b"/") for name in self.files | self.links | self.directories}
        return {
            name.lower() for parent, slash, name in here if (parent or slash or b".") == directory
        }


def search(
    texts: Mapping[bytes, bytes],
    *,
    quote: Sequence[bytes] = (),
    bracket: Sequence[bytes] = (),
    also: Iterable[bytes] = (),
    empty: Iterable[bytes] = (),
    links: Iterable[bytes] = (),
    forced: Sequence[bytes] = (),
    clang: bool = True,
) -> Absent:
    """`absent` for a compile that read ``texts``, the source first; no .gch unless asked for."""
    files = Files([*map(normal, texts), *also], empty, links)
    lookups = TextLookups()
    found, listed, learnt, known = (
        absent(
            {name: scan(text) for name, text in texts.items()},
            next(iter(texts)),
            SearchChain(tuple(quote), tuple(bracket)),
            Probes(files.exists, files.is_directory, files.is_link, listing),
            remembered=remembered,
            forced=forced,
            clang=clang,
        )
        for listing, remembered in (
            (None, None),
            (files.listing, None),
            (files.listing, Remembered(lookups, lambda _: None)),
            (files.listing, Remembered(lookups, lambda _: None)),
        )
    )
    assert found == listed == learnt == known
    return found


def test_a_quoted_name_beside_its_file_was_searched_nowhere_else() -> None:
    texts = {b"s/m.c": b'#include "x.h"', b"s/x.h": b""}
    found = search(texts, bracket=[b"i"], empty=[b"i"], clang=False)
    assert found.groups == (
        (b"i", (b"stdc-predef.h", b"stdc-predef.h.gch")),
        (b"s", (b"m.c.gch", b"x.h.gch")),
    )


@pytest.mark.parametrize("name", [b"x.h", b"sub/x.h"])
def test_a_directory_of_the_chain_is_not_the_texts_own_as_clang_would_notice(name: bytes) -> None:
    """It would name the header as one of that directory."""
    texts = {b"s/m.c": b'#include "%s"' % name, b"s/" + name: b""}
    found = search(texts, quote=[b"q"], bracket=[b"s", b"i", b"/usr/include"], empty=[b"q", b"i"])
    assert found.groups == ((b"i", (name,)), (b"q", (name,)))
    assert search(texts, bracket=[b"i"], also=[b"i/" + name]) == Absent()


def test_a_quoted_name_was_missing_beside_its_file_and_along_both_chains() -> None:
    found = search(
        {b"s/m.c": b'#include "x.h"', b"j/x.h": b""},
        quote=[b"q"],
        bracket=[b"i", b"j", b"k"],
        empty=[b"q", b"i", b"k"],
    )
    assert found.groups == ((b"i", (b"x.h",)), (b"q", (b"x.h",)), (b"s", (b"x.h",)))


def test_an_angled_name_was_missing_along_the_bracket_chain() -> None:
    found = search(
        {b"s/m.c": b"#include <x.h>", b"j/x.h": b""},
        quote=[b"q"],
        bracket=[b"i", b"j"],
        empty=[b"q", b"i"],
    )
    assert found.groups == ((b"i", (b"x.h",)),)


def test_the_directory_of_the_including_file_is_meant_as_it_was_named() -> None:
    found = search(
        {b"m.c": b"#include <l/a.h>", b"i/l/a.h": b'#include "b.h"', b"i/b.h": b""},
        bracket=[b"i"],
    )
    assert found.groups == ((b"i/l", (b"b.h",)),)


def test_the_working_directory_is_a_dot() -> None:
    found = search({b"m.c": b'#include "x.h"', b"i/x.h": b""}, bracket=[b"i"])
    assert found.groups == ((b".", (b"x.h",)),)


@pytest.mark.parametrize("source", [b"./m.c", b".//m.c", b"m.c"])
def test_leading_dots_do_not_matter(source: bytes) -> None:
    found = search({source: b'#include "./x.h"', b"x.h": b""})
    assert found == Absent()


def test_slashes_are_collapsed() -> None:
    found = search({b"m.c": b"#include <a//x.h>", b"i/a/x.h": b""}, bracket=[b"j/", b"i//"])
    assert found.groups == ((b".", (b"j/a/x.h",)),)


def test_a_missing_directory_is_watched_from_the_one_above() -> None:
    found = search(
        {b"/s/m.c": b"#include <bits/x.h>", b"/u/bits/x.h": b""},
        bracket=[b"/no/such", b"/i", b"/u"],
        empty=[b"/i"],
    )
    assert found.groups == ((b"/", (b"no/such/bits/x.h",)), (b"/i", (b"bits/x.h",)))


def test_an_existing_subdirectory_is_watched_itself() -> None:
    found = search(
        {b"m.c": b"#include <bits/x.h>", b"u/bits/x.h": b""},
        bracket=[b"i", b"u"],
        empty=[b"i/bits"],
    )
    assert found.groups == ((b"i/bits", (b"x.h",)),)


def test_parent_steps_are_not_folded() -> None:
    found = search(
        {b"s/t/m.c": b'#include "../x.h"', b"i/k/../x.h": b""},
        bracket=[b"j/k", b"i/k"],
        empty=[b"j/k", b"i/k"],
    )
    assert found.groups == ((b"j/k/..", (b"x.h",)), (b"s/t/..", (b"x.h",)))


def test_parent_steps_through_a_missing_directory() -> None:
    found = search(
        {b"s/m.c": b"#include <../x.h>", b"i/k/../x.h": b""},
        bracket=[b"j/k", b"i/k"],
        empty=[b"j", b"i/k"],
    )
    assert found.groups == ((b"j", (b"k/../x.h",)),)


def test_include_next_goes_on_past_a_dependency() -> None:
    found = search(
        {b"m.c": b"#include <x.h>", b"i/x.h": b"#include_next <x.h>", b"k/x.h": b""},
        bracket=[b"i", b"j", b"k", b"l"],
        empty=[b"j", b"l"],
    )
    assert found.groups == ((b"j", (b"x.h",)), (b"l", (b"x.h",)))


def test_a_negative_has_include_is_absent_everywhere() -> None:
    found = search(
        {b"s/m.c": b'#if __has_include("x.h")'}, quote=[b"q"], bracket=[b"i"], empty=[b"q", b"i"]
    )
    assert found.groups == ((b"i", (b"x.h",)), (b"q", (b"x.h",)), (b"s", (b"x.h",)))


def test_a_positive_has_include_relies_on_the_file() -> None:
    found = search(
        {b"m.c": b"#if __has_include(<x.h>)"},
        bracket=[b"i", b"j", b"k"],
        also=[b"j/x.h"],
        empty=[b"i", b"k"],
    )
    assert found.present == (b"j/x.h",)
    assert found.groups == ((b"i", (b"x.h",)),)


def test_a_has_include_that_cannot_be_read_makes_the_answer_incomplete() -> None:
    assert not search({b"m.c": b"#if __has_include(M)"}).complete


def test_a_computed_include_is_taken_from_what_was_read() -> None:
    found = search(
        {b"s/m.c": b"#include M", b"j/a/x.h": b""},
        quote=[b"q"],
        bracket=[b"i", b"j"],
        empty=[b"q", b"i/a"],
    )
    assert found.complete
    assert found.groups == ((b"i/a", (b"x.h",)), (b"q", (b"a/x.h",)), (b"s", (b"a/x.h",)))


def test_a_computed_include_may_reach_what_a_literal_one_explains() -> None:
    found = search(
        {b"m.c": b'#include "i/a.h"\n#include <i/b.h>', b"i/a.h": b"", b"i/b.h": b"#include M"},
        bracket=[b"k", b"i", b"."],
        empty=[b"k"],
    )
    assert (b"k", (b"a.h", b"b.h", b"i/a.h", b"i/b.h")) in found.groups


def test_a_file_that_no_directive_explains_is_split_along_the_chain() -> None:
    found = search({b"m.c": b"", b"/u/predef.h": b""}, bracket=[b"/i", b"/u"], empty=[b"/i"])
    assert found.groups == ((b"/i", (b"predef.h",)),)


def test_a_forced_name_is_looked_for_in_the_working_directory_first() -> None:
    found = search(
        {b"s/m.c": b"", b"i/f.h": b""},
        quote=[b"q"],
        bracket=[b"i"],
        empty=[b"q"],
        forced=[b"f.h"],
        clang=False,
    )
    assert (b"q", (b"f.h", b"f.h.gch")) in found.groups
    assert (b".", (b"f.h", b"f.h.gch")) in found.groups


def test_an_absolute_name_is_itself() -> None:
    found = search({b"m.c": b'#include "/a/x.h"\n#include </a/y.h>', b"/a/x.h": b""})
    assert found.groups == ((b"/a", (b"y.h",)),)


def test_an_earlier_file_that_was_not_read_is_kept_apart() -> None:
    found = search(
        {b"m.c": b"#include <x.h>", b"k/x.h": b""},
        bracket=[b"i", b"j", b"k"],
        also=[b"j/x.h"],
        empty=[b"i"],
    )
    assert found.present_untaken == (b"j/x.h",)
    assert found.groups == ((b"i", (b"x.h",)),)


def test_a_directory_of_the_name_is_no_file() -> None:
    found = search({b"m.c": b"#include <x>", b"j/x": b""}, bracket=[b"i", b"j"], empty=[b"i/x"])
    assert found.groups == ((b"i", (b"x",)),)


def test_a_dangling_link_is_listed_by_itself() -> None:
    found = search(
        {b"m.c": b"#include <x.h>\n#include <d/y.h>", b"j/x.h": b"", b"j/d/y.h": b""},
        bracket=[b"i", b"j"],
        links=[b"i/x.h", b"i/d"],
    )
    assert found.dangling == (b"i/d/y.h", b"i/x.h")
    assert found.groups == ((b"i", (b"d/y.h", b"x.h")),)


def test_gcc_looks_for_precompiled_headers_up_to_the_header() -> None:
    found = search(
        {b"s/m.c": b"#include <x.h>", b"j/x.h": b"#include <y.h>", b"k/y.h": b""},
        bracket=[b"i", b"j", b"k"],
        empty=[b"i"],
        clang=False,
    )
    groups = dict(found.groups)
    assert set(groups[b"i"]) == {b"stdc-predef.h", b"stdc-predef.h.gch", b"x.h", b"x.h.gch", b"y.h"}
    assert set(groups[b"j"]) == {b"stdc-predef.h", b"stdc-predef.h.gch", b"x.h.gch", b"y.h"}
    assert set(groups[b"k"]) == {b"stdc-predef.h", b"stdc-predef.h.gch"}
    assert groups[b"s"] == (b"m.c.gch",)


@pytest.mark.parametrize("shape", ["file", "directory"])
def test_a_precompiled_header_that_exists_is_kept_apart(shape: str) -> None:
    found = search(
        {b"m.c": b'#include "x.h"', b"x.h": b""},
        also=[b"x.h.gch"] if shape == "file" else [],
        empty=[b"x.h.gch"] if shape == "directory" else [],
        clang=False,
    )
    assert found.precompiled == (b"x.h.gch",)


def test_clang_looks_for_precompiled_headers_where_they_are_spelled() -> None:
    found = search({b"m.c": b"", b"p.h": b""}, forced=[b"p.h"])
    assert found.groups == ((b".", (b"p.gch", b"p.h.gch", b"p.h.pch", b"p.pch")),)


def test_each_path_is_asked_for_once() -> None:
    asked: list[tuple[str, bytes]] = []
    files = Files([b"m.c", b"k/x.h", b"k/y.h"], [b"i", b"j"], [])

    def exists(path: bytes) -> bool:
        asked.append(("file", path))
        return files.exists(path)

    def is_directory(path: bytes) -> bool:
        asked.append(("directory", path))
        return files.is_directory(path)

    absent(
        {
            b"m.c": scan(b"#include <x.h>\n#include <u.h>"),
            b"k/x.h": scan(b"#include <y.h>"),
            b"k/y.h": scan(b'#include "u.h"\n#if __has_include(<u.h>)'),
        },
        b"m.c",
        SearchChain((), (b"i", b"no", b"j", b"k")),
        Probes(exists, is_directory),
    )
    assert len(asked) == len(set(asked))


def test_the_answer_does_not_depend_on_the_order_of_sets() -> None:
    names = [b"h%d.h" % i for i in range(50)]
    texts = [
        b"".join(b"#include <%s>\n" % name for name in order) for order in (names, names[::-1])
    ]
    first, second = (
        search({b"m.c": text, b"j/h7.h": b""}, bracket=[b"i", b"j"], empty=[b"i"]) for text in texts
    )
    assert first == second
    assert list(first.groups[0][1]) == sorted(names)


def test_a_precompiled_header_among_the_files_read_asks_for_nothing() -> None:
    found = absent(
        {b"m.c": scan(b""), b"p.h.pch": Directives()},
        b"m.c",
        SearchChain(),
        Probes(lambda path: path == b"p.h.pch", lambda path: path == b"."),
        forced=[b"p.h"],
        clang=True,
    )
    assert found.precompiled == (b"p.h.pch",)


# Reality: a header is put into every place of a small project that could matter, one at a time;
# whenever the compiler then reads other files, the place must have been listed.

PROJECT = {
    "src/m.c": """
        #include "own.h"
        #include "quoted.h"
        #include <angled.h>
        #include <sub/below.h>
        #define COMPUTED <computed.h>
        #include COMPUTED
        #if __has_include("maybe.h")
        #include "maybe.h"
        #endif
        #if 0
        #include "never.h"
        #endif
    """,
    "src/own.h": '#include "../up.h"\n',
    "up.h": "#include <stddef.h>\n",
    "after/quoted.h": '#include "beside.h"\n',
    "after/beside.h": "",
    "two/angled.h": "#include_next <angled.h>\n",
    "after/angled.h": "",
    "system/sub/below.h": '#include "inner.h"\n',
    "system/inner.h": "",
    "system/computed.h": "",
    "after/forced.h": "",
}
DIRECTORIES = (".", "src", "quote", "one", "two", "system", "after", "lacking")
NAMES = "quoted.h angled.h sub/below.h computed.h maybe.h forced.h inner.h stddef.h".split()
FLAGS = "-iquote quote -Ilacking -Ione -Itwo -isystem system -idirafter after -include forced.h"


def dependencies(compiler: str) -> tuple[bytes, ...]:
    command = [compiler, "-w", "-M", "-MF", "m.d", *FLAGS.split(), "src/m.c"]
    subprocess.run(command, check=True)
    return depfile.parse(Path("m.d").read_bytes()).prerequisites


def real_identity(name: bytes) -> tuple[int, int] | None:
    if not os.path.isdir(name):
        return None
    status = os.stat(name)
    return (status.st_dev, status.st_ino)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_every_place_that_changes_the_compile_is_listed(
    compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler} here")
    monkeypatch.chdir(tmp_path)
    for variable in ("CPATH", "C_INCLUDE_PATH"):
        monkeypatch.delenv(variable, raising=False)
    for name, text in PROJECT.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    for name in ("quote", "one"):
        Path(name).mkdir()
    read = dependencies(compiler)
    probe = [compiler, "-E", "-v", "-xc", os.devnull, "-o", os.devnull]
    output = subprocess.run(
        probe, check=True, capture_output=True, env={**os.environ, "LC_ALL": "C"}
    ).stderr
    chain = user_chain(
        parse_search_output(output),
        identity=real_identity,
        quote=[b"quote"],
        angle=[b"lacking", b"one", b"two"],
        system=[b"system"],
        after=[b"after"],
        clang=compiler == "clang",
    )
    found = absent(
        {name: scan(Path(os.fsdecode(name)).read_bytes()) for name in read},
        b"src/m.c",
        chain,
        Probes(os.path.isfile, os.path.isdir),
        forced=[b"forced.h"],
        clang=compiler == "clang",
    )
    assert found.complete
    listed = {
        normal(directory + b"/" + name) for directory, names in found.groups for name in names
    }
    mattered = 0
    for directory in DIRECTORIES:
        for name in NAMES:
            place = Path(directory, name)
            if place.exists():
                continue
            made = [parent for parent in place.parents if not parent.exists()]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("")
            if dependencies(compiler) != read:
                mattered += 1
                assert os.fsencode(place) in listed, place
            place.unlink()
            for parent in made:
                parent.rmdir()
    assert mattered > 20
