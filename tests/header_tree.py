"""A tree of headers that changes at random, and what texts in it ask for."""

from __future__ import annotations

import contextlib
import random
import shutil
from pathlib import Path

from pycc.directives import Directives, scan
from pycc.searchchain import SearchChain

DIRECTORIES = ("src", "src/sub", "inc", "inc/sub", "inc/deep/sub", "sys", "sys/sub", "gone", "two")
NAMES = ("a.h", "b.h", "sub/a.h", "sub/c.h", "../a.h", "deep/sub/a.h", "vector", "B.h", "\xe4.h")
CHAIN = SearchChain((b"two",), (b"inc", b"gone/nowhere", b"./inc/deep", b"sys", b"src/../two"))


class Tree:
    """Directories with headers that come, go and change their kind."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.random = root, random.Random(seed)
        for _ in range(30):
            self.change()

    def change(self) -> None:
        """One thing more, less or other, if it can be done."""
        with contextlib.suppress(OSError):
            self.do()

    def do(self) -> None:
        choose = self.random.choice
        directory = self.root / choose(DIRECTORIES)
        path = directory / choose(NAMES)
        match choose(
            ("file", "file", "file", "gone", "directory", "link", "all gone", "swap", "precompiled")
        ):
            case "precompiled" if path.parent.is_dir():
                path.with_name(path.name + ".gch").write_text("")
            case "file" if not path.exists() and not path.parent.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.is_symlink():
                    path.write_text("")
            case "gone" if path.is_file() or path.is_symlink():
                path.unlink()
            case "directory" if not path.exists() and not path.is_symlink():
                if not path.parent.is_file():
                    path.mkdir(parents=True)
            case "link" if directory.is_dir() and not path.is_symlink() and not path.exists():
                if path.parent.is_dir():
                    target = self.root / choose(DIRECTORIES) / choose(NAMES)
                    path.symlink_to(choose((target, self.root / "nothing", directory)))
            case "all gone" if self.random.random() < 0.2:
                shutil.rmtree(directory, ignore_errors=True)
            case "swap" if path.is_file() and not path.is_symlink():
                path.unlink()
                path.mkdir()

    def compile(self) -> dict[bytes, Directives]:
        """The texts of a compile that read some of the files that are there."""
        (self.root / "src").mkdir(exist_ok=True)
        found = [b"src/m.c"]
        found += (
            str(path.relative_to(self.root)).encode()
            for directory in DIRECTORIES
            for path in sorted((self.root / directory).glob("*"))
            if path.is_file() and self.random.random() < 0.7
        )
        return {name: self.text() for name in dict.fromkeys(found)}

    def text(self) -> Directives:
        """What some text asks for."""
        return scan(self.lines().encode())

    def lines(self) -> str:
        """Some text."""
        lines = []
        for _ in range(self.random.randrange(4)):
            name = self.random.choice(NAMES)
            form = self.random.choice(("<%s>", '"%s"'))
            line = self.random.choice(
                ("#include %s", "#include %s", "#include %s", "#if __has_include(%s)\n#endif")
            )
            if self.random.random() < 0.05:
                line = self.random.choice(
                    ("#include_next %s", "#if __has_include_next(%s)\n#endif")
                )
            lines.append(line % (form % name))
        return "\n".join(lines)
