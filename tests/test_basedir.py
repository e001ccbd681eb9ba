"""base_dir: which names become relative, and what else changes with them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from pycc import native
from pycc.arguments import parse
from pycc.basedir import (
    BaseDirectories,
    absolute_diagnostics,
    apparent_directory,
    lexically_relative,
    normal,
)
from pycc.depfile import Style
from pycc.invocation import Family, Invocation, ParseSettings


@dataclass(frozen=True)
class Entry:
    """What the fake disk says of a path."""

    inode: int
    is_directory: bool = True
    exists: bool = True
    device: int = 1


class Disk:
    """Directories and files by name, with links resolved as a kernel does."""

    def __init__(self, directories: str, files: str = "", links: str = "") -> None:
        self.links = dict(pair.split("=") for pair in links.split())
        self.names = {"/": True, **dict.fromkeys(directories.split(), True)}
        self.names.update(dict.fromkeys(files.split(), False))
        self.numbers = {name: number for number, name in enumerate(self.names, 1)}

    def look(self, path: bytes) -> Entry:
        at = ""
        for part in os.fsdecode(path).split("/"):
            if part == "..":
                at = at.rpartition("/")[0]
            elif part not in ("", "."):
                at += "/" + part
                while at in self.links:
                    at = self.links[at]
                if at not in self.names:
                    return Entry(0, exists=False)
        at = at or "/"
        return Entry(self.numbers[at], self.names[at])


DISK = Disk(
    "/home /home/a /home/a/p /home/a/p/src /home/a/p/build /home/a/q /usr /usr/include"
    " /mnt /mnt/deep /mnt/deep/tree",
    "/home/a/p/src/x.c /home/a/p/build/y.c /mnt/deep/tree/z.c",
    "/home/a/link=/mnt/deep/tree /home/a/p/src/l.c=/home/a/p/build/y.c",
)


def base(directories: str, cwd: bytes, pwd: bytes | None = None) -> BaseDirectories:
    return BaseDirectories(os.fsencode(directories).split(b":"), cwd, pwd, DISK.look)


@pytest.mark.parametrize(
    ("directories", "path", "expected"),
    [
        ("/home/a/p", "/home/a/p/src/x.c", "../src/x.c"),
        ("/home/a/p/src", "/home/a/p/src/x.c", "../src/x.c"),
        ("/home/a/p", "/home/a/p/build/y.c", "y.c"),
        ("/home/a/p", "/home/a/p/build", "."),
        ("/home/a/p", "/home/a/p/build/", "."),
        ("/home/a/p", "/home/a/p", ".."),
        # Not below it, or only as text.
        ("/home/a/p", "/home/a/q", "/home/a/q"),
        ("/home/a/p/sr", "/home/a/p/src", "/home/a/p/src"),
        ("/home/a/q:/home/a/p", "/home/a/p/src", "../src"),
        # As ccache's manual shows it.
        ("/home", "/usr/include", "/usr/include"),
        ("/", "/usr/include", "../../../../usr/include"),
        # Other spellings of the same place.
        ("/home/a/p", "/home//a/p/./src/../src/x.c", "../src/x.c"),
        ("/home/a/p", "/home/a/p/src/..", ".."),
        # What does not exist yet, and what its directory is.
        ("/home/a/p", "/home/a/p/build/new.o", "new.o"),
        ("/home/a/p", "/home/a/p/src/no/such/new.o", "../src/no/such/new.o"),
        ("/home/a/p", "/home/a/p/none/../src/x.c", "/home/a/p/none/../src/x.c"),
        # Folding .. behind a link would lead elsewhere.
        ("/home/a", "/home/a/link/../p", "/home/a/link/../p"),
        ("/home/a", "/home/a/link/z.c", "../../link/z.c"),
        ("/home/a/p", "/home/a/p/src/l.c", "../src/l.c"),
        ("/home/a/p", "src/x.c", "src/x.c"),
        ("/home/a/p", "", ""),
    ],
)
def test_a_path_below_a_base_directory_becomes_relative(
    directories: str, path: str, expected: str
) -> None:
    names = base(directories, b"/home/a/p/build")
    assert os.fsdecode(names.relative(os.fsencode(path))) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        # Shorter from the apparent directory, and the same place from the physical one.
        (b"/home/a/link/z.c", b"z.c"),
        # From /home/a/link it is ../p, from where we are that is nothing.
        (b"/home/a/p/src/x.c", b"../../../home/a/p/src/x.c"),
        (b"/mnt/deep/tree/z.c", b"z.c"),
    ],
)
def test_a_relative_name_starts_at_the_apparent_directory_where_that_is_right(
    path: bytes, expected: bytes
) -> None:
    assert base("/", b"/mnt/deep/tree", b"/home/a/link").relative(path) == expected


@pytest.mark.parametrize(
    ("pwd", "expected"),
    [
        (b"/home/a/link", b"/home/a/link"),
        (b"/home/a/p", b"/mnt/deep/tree"),
        (b"/no/such", b"/mnt/deep/tree"),
        (b".", b"/mnt/deep/tree"),
        (None, b"/mnt/deep/tree"),
    ],
)
def test_the_apparent_directory_is_pwd_when_it_leads_there(
    pwd: bytes | None, expected: bytes
) -> None:
    assert apparent_directory(b"/mnt/deep/tree", pwd, DISK.look) == expected


def test_the_same_file_through_another_directory_is_not_the_same_name(tmp_path: Path) -> None:
    # "h.h" is looked for beside the name that is given, so a hard link elsewhere will not do.
    (tmp_path / "b/c/d").mkdir(parents=True)
    (tmp_path / "b/c/x").mkdir()
    (tmp_path / "x").mkdir()
    (tmp_path / "x/f.c").write_text("")
    (tmp_path / "b/c/x/f.c").hardlink_to(tmp_path / "x/f.c")
    (tmp_path / "link").symlink_to("b/c/d")
    root = os.fsencode(tmp_path)
    names = BaseDirectories([root], root + b"/b/c/d", root + b"/link", native.signature)
    assert names.relative(root + b"/x/f.c") == b"../../../x/f.c"


@pytest.mark.parametrize(
    ("path", "folded"),
    [(b"/", b"/"), (b"//a//b/", b"/a/b"), (b"/a/../../b", b"/b"), (b"/a/./b/..", b"/a")],
)
def test_a_normal_path_is_folded_without_looking(path: bytes, folded: bytes) -> None:
    assert normal(path) == folded


@pytest.mark.parametrize(
    ("path", "directory", "expected"),
    [
        (b"/a/b", b"/a/b", b"."),
        (b"/a", b"/a/b/c", b"../.."),
        (b"/a/b", b"/", b"a/b"),
        (b"/", b"/a", b".."),
        (b"/ab", b"/a", b"../ab"),
    ],
)
def test_lexical_distance(path: bytes, directory: bytes, expected: bytes) -> None:
    assert lexically_relative(path, directory) == expected


def invocation(line: str) -> Invocation:
    found = parse(
        os.fsencode(line).split(),
        family=Family.GCC,
        driver=b"gcc",
        settings=ParseSettings(),
        cwd=b"/home/a/p/build",
        environment={},
    )
    assert isinstance(found, Invocation)
    return found


def test_inputs_become_relative_and_outputs_stay() -> None:
    line = (
        "-I/home/a/p/src -isystem /usr/include -c /home/a/p/src/x.c"
        " -o /home/a/p/build/x.o -MD -MF /home/a/p/build/x.d -MT /home/a/p/build/x.o"
    )
    found = base("/home", b"/home/a/p/build").invocation(invocation(line))
    assert b" ".join(found.args) == (
        b"-I../src -isystem /usr/include -c ../src/x.c"
        b" -o /home/a/p/build/x.o -MD -MF /home/a/p/build/x.d -MT /home/a/p/build/x.o"
    )


def test_the_object_is_named_after_the_source_as_before() -> None:
    found = base("/home", b"/home/a/p/build").invocation(invocation("-c /home/a/p/src/x.c -MD"))
    assert found.output == b"x.o"
    assert found.dependencies is not None
    assert found.dependencies.default_target == b"x.o"


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("-fdebug-prefix-map=/home/a/p/build=x", b"-fdebug-prefix-map=.=x"),
        ("-ffile-prefix-map=/home/a/p/=/x/", b"-ffile-prefix-map=../=/x/"),
        ("-fdebug-prefix-map=/usr=x", b"-fdebug-prefix-map=/usr=x"),
        ("-fdebug-prefix-map=a=/home/a/p", b"-fdebug-prefix-map=a=/home/a/p"),
        # Matches only what is spelled with a dot as well.
        ("-fdebug-prefix-map=/home/./a=x", b"-fdebug-prefix-map=/home/./a=x"),
    ],
)
def test_of_a_prefix_map_only_the_key_changes(word: str, key: bytes) -> None:
    found = base("/home", b"/home/a/p/build").invocation(invocation(f"{word} -c y.c"))
    assert os.fsencode(word) in found.args
    assert (key,) in [arg.words for arg in found.key_args]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'# 1 "/home/a/p/src/x.c" 1\nint x;\n', b'# 1 "../src/x.c" 1\nint x;\n'),
        (b'# 1 "/home/a/p/build//"\n', b'# 1 "."\n'),
        (b'#line 3 "/home/a/p/src/x.c"\n', b'#line 3 "../src/x.c"\n'),
        (b'# 1 "/usr/include/s.h" 1 3\n', b'# 1 "/usr/include/s.h" 1 3\n'),
        (b'# 1 "<built-in>"\n', b'# 1 "<built-in>"\n'),
        (b'char *s = "/home/a/p/src";\n', b'char *s = "/home/a/p/src";\n'),
        (b'# 1 "/home/a/p/\\"q.c"\n', b'# 1 "/home/a/p/\\"q.c"\n'),
    ],
)
def test_line_markers_become_relative(text: bytes, expected: bytes) -> None:
    assert base("/home", b"/home/a/p/build").markers(text) == expected


def test_a_dependency_file_keeps_its_target_and_gets_relative_names() -> None:
    names = base("/", b"/home/a/p/build")
    text = b"/home/a/p/build/x.o: ../src/x.c /usr/include/s.h\n"
    got = names.depfile(text, [(b"/home/a/p/build/x.o", True)], Style.GCC)
    assert got == b"/home/a/p/build/x.o: ../src/x.c ../../../../usr/include/s.h\n"


@pytest.mark.parametrize("text", [b"x.o: x.c\n", b"other: /home/a/p/src/x.c\n", b"no rule"])
def test_a_dependency_file_without_such_names_or_of_another_form_stays(text: bytes) -> None:
    assert base("/", b"/home/a/p/build").depfile(text, [(b"x.o", True)], Style.GCC) is None


def test_witnesses_below_a_search_directory_have_their_relative_name_alone() -> None:
    names = base("/", b"/home/a/p/build")
    files, groups, present = names.witnesses(
        [(b"/usr/include/s.h", b"1")], [(b"/usr/include", (b"t.h",))], [], [b"/usr/include"]
    )
    assert files == ((b"../../../../usr/include/s.h", b"1"),)
    assert groups == ((b"../../../../usr/include", (b"t.h",)),)
    assert present == ()


def test_a_name_that_a_source_spells_out_stays_a_witness_itself() -> None:
    names = base("/home", b"/home/a/p/build")
    files, groups, present = names.witnesses(
        [(b"/home/a/p/src/x.c", b"1")],
        [(b"/", (b"home/a/p/none.h",))],
        [b"/home/a/p/src/x.c"],
        [b"/usr/include"],
    )
    assert files == ((b"../src/x.c", b"1"), (b"/home/a/p/src/x.c", b"1"))
    assert groups == ((b".", (b"../none.h",)), (b"/", (b"home/a/p/none.h",)))
    assert present == (b"../src/x.c", b"/home/a/p/src/x.c")


def test_moved_directories_are_those_with_another_name() -> None:
    names = base("/usr", b"/home/a/p/build")
    assert names.moved([b"/usr/include", b"/home/a", b"x"]) == (b"../../../../usr/include",)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"x.c:1:2: warning: w", b"/r/x.c:1:2: warning: w"),
        (b"In file included from x.c:1:", b"In file included from /r/x.c:1:"),
        (b"                 from x.c:1:", b"                 from /r/x.c:1:"),
        (b"    inlined from 'int f()' at x.c:3:", b"    inlined from 'int f()' at /r/x.c:3:"),
        (
            b"In file included from \x1b[01m\x1b[Kx.c:1\x1b[m\x1b[K:",
            b"In file included from \x1b[01m\x1b[K/r/x.c:1\x1b[m\x1b[K:",
        ),
        (b"    1 | #warning x.c", b"    1 | #warning x.c"),
        (b":1: x", b":1: x"),
        (b"", b""),
    ],
)
def test_the_path_at_the_head_of_a_message_becomes_absolute(line: bytes, expected: bytes) -> None:
    def real(path: bytes) -> bytes:
        return b"/r/" + path if path == b"x.c" else path

    assert absolute_diagnostics(line, real) == expected
    assert absolute_diagnostics(line + b"\n" + line, real) == expected + b"\n" + expected


def test_without_absolute_paths_the_invocation_is_the_same_object() -> None:
    plain = invocation("-Isrc -c y.c")
    assert base("/home", b"/home/a/p/build").invocation(plain) is plain
