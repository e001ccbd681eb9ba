"""base_dir with a real compiler: two checkouts share what is right for both, and only that."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.once import call, results

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
LONG_AGO = 1_000_000_000


class Trees:
    """Two equal source trees, and pycc called in one of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "log"

    def write(self, name: str, text: str, trees: str = "one two") -> None:
        for tree in trees.split():
            file = self.root / tree / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text.replace("@", str(self.root / tree)))
            os.utime(file, (LONG_AGO, LONG_AGO))

    def compile(self, tree: str, *words: str, **variables: str) -> tuple[str, bytes]:
        """(first outcome, stderr); ``@`` stands for the tree."""
        here = self.root / tree
        argv = ["ccache", "gcc", *(word.replace("@", str(here)) for word in words)]
        self.log.unlink(missing_ok=True)
        variables = {
            "CCACHE_BASEDIR": str(here),
            "CCACHE_LOGFILE": str(self.log),
            "CCACHE_SLOPPINESS": "include_file_ctime",
            **variables,
        }
        got = call(here, argv, variables)
        assert got.returncode == 0, got.stderr
        return results(self.log)[0], got.stderr


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    made = Trees(tmp_path)
    made.write("src/a.c", "#include <h.h>\nint a = H;\n")
    made.write("include/h.h", "#define H 1\n")
    return made


def test_two_trees_share_a_result_and_its_dependency_file(trees: Trees) -> None:
    words = ("-I@/include", "-c", "@/src/a.c", "-o", "@/a.o", "-MMD", "-MF", "@/a.d")
    assert trees.compile("one", *words)[0] == "cache_miss"
    assert trees.compile("two", *words)[0] == "direct_cache_hit"
    there = trees.root / "two"
    text = (there / "a.d").read_text().replace("\\\n", "")
    assert text.split() == [f"{there}/a.o:", "src/a.c", "include/h.h"]


def test_another_header_in_the_other_tree_is_a_miss(trees: Trees) -> None:
    trees.write("include/h.h", "#define H 2\n", "two")
    words = ("-I@/include", "-c", "@/src/a.c")
    assert trees.compile("one", *words)[0] == "cache_miss"
    assert trees.compile("two", *words)[0] == "cache_miss"


def test_a_header_named_absolutely_in_the_source_stays_a_witness(trees: Trees) -> None:
    # Both trees include the header of the first.
    text = f'#include "{trees.root}/one/include/h.h"\nint a = H;\n'
    trees.write("src/a.c", text)
    base = str(trees.root)
    assert trees.compile("one", "-c", "src/a.c", CCACHE_BASEDIR=base)[0] == "cache_miss"
    trees.write("include/h.h", "#define H 2\n", "one")
    assert trees.compile("two", "-c", "src/a.c", CCACHE_BASEDIR=base)[0] == "cache_miss"


def test_debug_information_names_the_apparent_directory(trees: Trees) -> None:
    link = trees.root / "link"
    link.symlink_to("one")
    assert trees.compile("one", "-g", "-c", "src/a.c", "-Iinclude")[0] == "cache_miss"
    words = ("-g", "-c", "src/a.c", "-Iinclude")
    assert trees.compile("one", *words, PWD=str(link))[0] == "cache_miss"
    assert trees.compile("one", *words, PWD=str(link))[0] == "direct_cache_hit"
    served = (trees.root / "one/a.o").read_bytes()
    plain = ["gcc", *words, "-o", "plain.o"]
    environment = {**os.environ, "PWD": str(link)}
    subprocess.run(plain, cwd=trees.root / "one", env=environment, check=True)
    assert served == (trees.root / "one/plain.o").read_bytes()


def test_messages_are_relative_or_absolute_as_asked(trees: Trees) -> None:
    trees.write("src/a.c", "#warning w\n")
    word = "@/src/a.c"
    assert trees.compile("one", "-c", word)[1].startswith(b"src/a.c:1:2: warning")
    outcome, said = trees.compile("two", "-c", word, CCACHE_ABSSTDERR="1")
    assert outcome == "direct_cache_hit"
    assert said.startswith(bytes(trees.root / "two/src/a.c") + b":1:2: warning")
    trees.write("src/b.c", "#warning w\n")
    said = trees.compile("one", "-c", "@/src/b.c", CCACHE_ABSSTDERR="1")[1]
    assert said.startswith(bytes(trees.root / "one/src/b.c") + b":1:2: warning")
