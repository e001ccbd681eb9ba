"""The small project that the compile fuzzer edits: its sources, headers and first command.

Every header contributes a number to an array in the object, so that using the wrong one, or a stale
one, cannot stay invisible.  `/*n*/123` marks a number that an edit may change without changing the
file's size.
"""

from __future__ import annotations

import dataclasses

from tests.fuzz.states import Command, File, Link, State, Tree

# Where the numbers come from: (name, include line).
HEADERS = (
    ("local", '"local.h"'),
    ("x", '"x.h"'),
    ("y", "<y.h>"),
    ("z", "<z.h>"),
    ("s", '"sub/s.h"'),
    ("l", '"l.h"'),
    ("m", "<subl/m.h>"),
    ("f", '"f.h"'),
    ("gen", "<gen.h>"),
    ("c", '"c.h"'),
)
INCLUDES = (
    (b"-iquote", b"quote"),
    (b"-I", b"inc0"),  # does not exist at first
    (b"-I", b"inc1"),
    (b"-I", b"inc2"),
    (b"-I", b"inc3"),
    (b"-I", b"lnk"),  # a link to dirA or dirB
    (b"-I", b"gen"),
    (b"-isystem", b"sys1"),
    (b"-isystem", b"sys2"),
    (b"-idirafter", b"after"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Toolchain:
    """The compiler under which the fuzzer runs, and what of the project it can compile."""

    c: bytes
    cxx: bytes
    clang: bool
    objc: bool

    @property
    def sources(self) -> tuple[bytes, ...]:
        """The sources that can be compiled."""
        objc = (b"src/m.m",) if self.objc else ()
        return (b"src/a.c", b"src/b.cc", b"src/s.S", b"src/sp ace.c", b"src/n\xff.c", *objc)

    def compiler(self, source: bytes) -> bytes:
        """The command that compiles a source."""
        return self.cxx if source.endswith(b".cc") else self.c


def header(name: str, number: int, extra: str = "") -> File:
    """A header that gives V_name a number; `extra` is C that the assembler does not see."""
    text = f"#define V_{name} /*n*/{number}\n"
    if extra:
        text += f"#ifndef __ASSEMBLER__\n{extra}#endif\n"
    return File(text.encode())


def shadow(name: str, number: int, *, chained: bool) -> File:
    """A header that shadows another of the same name; with `chained` it includes that one first."""
    before = f"#include_next <{name}.h>\n#undef V_{name}\n" if chained else ""
    return File(f"{before}#define V_{name} /*n*/{number}\n".encode())


def _prologue(stem: str) -> str:
    lines = [f"#include {spelling}" for _, spelling in HEADERS]
    lines += ["#if __has_include(<opt.h>)", "#include <opt.h>", "#endif"]
    for name, number in (("DEF", 0), ("DROPPED", 0), ("V_opt", 0), ("FORCED", 0)):
        lines += [f"#ifndef {name}", f"#define {name} {number}", "#endif"]
    return f"/* {stem} */\n" + "\n".join(lines) + "\n"


VALUES = ", ".join(f"V_{name}" for name, _ in HEADERS) + ", V_opt, DEF, DROPPED, FORCED"


def c_source(stem: str) -> File:
    """A C source (also valid C++ and Objective-C)."""
    return File(
        (
            _prologue(stem)
            + f"int data_{stem}[] = {{ {VALUES}, /*n*/100 }};\n"
            + f"static int inner_{stem}(int q) {{ return q * data_{stem}[q & 3]; }}\n"
            + f"int work_{stem}(int a, int b) {{ return a / (b + inner_{stem}(a)); }}\n"
        ).encode()
    )


def cxx_source(stem: str, *, clang: bool) -> File:
    """A C++20 source that looks at its own columns."""
    location = (
        f"unsigned column_{stem}() {{ return __builtin_COLUMN(); }}\n"
        if clang
        else "#include <source_location>\n"
        f"unsigned column_{stem}() {{ return std::source_location::current().column(); }}\n"
    )
    return File(
        (
            _prologue(stem)
            + location
            + f"extern const int data_{stem}[] = {{ {VALUES}, /*n*/100 }};\n"
            + "template <typename T> concept Small = sizeof(T) < 9;\n"
            + "template <Small T> T twice(T v) { auto f = [v](T w) { return v + w; };"
            + " return f(v); }\n"
            + f"int work_{stem}(int a, int b) {{ return twice(a) / b; }}\n"
        ).encode()
    )


def assembler_source() -> File:
    """An assembler source that the preprocessor and the assembler both read files for."""
    return File(
        (
            _prologue("s")
            + f"\t.data\n\t.globl data_s\ndata_s:\n\t.long {VALUES}, /*n*/100\n"
            + '\t.include "part.inc"\n\t.incbin "blob.bin"\n'
            + "\t.text\n\t.globl work_s\nwork_s:\n.Lloop:\n\tnop\n\tjmp .Lloop\n"
        ).encode()
    )


def first_tree(tools: Toolchain) -> Tree:
    """The tree that a run begins with."""
    tree: dict[bytes, File | Link] = {
        b"src/a.c": c_source("a"),
        b"src/sp ace.c": c_source("sp"),
        b"src/n\xff.c": c_source("n"),
        b"src/m.m": c_source("m"),
        b"src/b.cc": cxx_source("b", clang=tools.clang),
        b"src/s.S": assembler_source(),
        b"src/local.h": header("local", 101),
        b"src/forced.h": File(b"#define FORCED /*n*/103\n"),
        b"inc2/x.h": File(b'#include "deep.h"\n#define V_x (V_deep + /*n*/104)\n'),
        b"inc2/deep.h": header("deep", 105),
        b"inc3/x.h": header("x", 106),
        b"inc3/y.h": header("y", 107),
        b"inc2/sub/s.h": header("s", 108),
        b"inc1/sub/other.h": header("other", 109),
        b"inc2/subl": Link(b"../dirA"),
        b"inc1/f.h": Link(b"../store/f1.h"),
        b"store/f1.h": header("f", 110),
        b"store/f2.h": header("f", 111),
        b"lnk": Link(b"dirA"),
        b"dirA/l.h": header("l", 112),
        b"dirB/l.h": header("l", 113),
        b"dirA/m.h": header("m", 114),
        b"dirB/m.h": header("m", 115),
        b"gen/gen.h": header("gen", 116),
        b"sys1/other.h": header("other", 117),
        b"sys2/z.h": header("z", 118, "static inline int z_unused(void) { return 0; }\n"),
        b"after/z.h": header("z", 119),
        b"after/c.h": header("c", 120),
        b"cpathA/c.h": header("c", 121),
        b"cpathB/c.h": header("c", 122),
        b"asm/part.inc": File(b"\t.long 123\n"),
        b"asm/blob.bin": File(b"blob one"),
        b"keep/kept": File(b"must stay as it is\n"),
        b"tools/wrap": wrapper_script(tools, 1),
    }
    return tree


def wrapper_script(tools: Toolchain, number: int) -> File:
    """A compiler that is a script around the real one."""
    text = b'#!/bin/sh\nexec %s -DDEF=%d "$@"\n' % (tools.c, number)
    return File(text, mode=0o755)


def first_state(tools: Toolchain, source: bytes = b"src/a.c") -> State:
    """The state that a run begins with, for one source."""
    stem = source.rpartition(b"/")[2].partition(b".")[0]
    groups: tuple[tuple[str, tuple[bytes, ...]], ...] = (
        ("mode", ()),
        ("language", ()),
        ("standard", (b"-std=c++20",) if source.endswith(b".cc") else ()),
        ("optimize", (b"-O1",)),
        ("debug", ()),
        ("warn", ()),
        ("extra", ()),
        ("define", ()),
        ("forced", ()),
        ("map", ()),
        ("assembler", (b"-Wa,-I{R}/asm",)),
        ("depend", ()),
    )
    command = Command(
        source=source,
        compiler=tools.compiler(source),
        includes=INCLUDES,
        groups=groups,
        output=b"out/" + stem + b".o",
    )
    return State(first_tree(tools), command, "start")
