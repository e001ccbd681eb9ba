"""Whether a stock server's own headers are those of this machine, found out by compiling.

A server in pump mode compiles what it is sent with the headers that it has itself under /usr. No
message of distcc's protocol tells which those are. But a compile can tell: ``#if __has_include``
says whether a file is there, and ``.incbin`` puts its content into the object. One such job asks
about all headers that are not known yet, so that a build asks a few times only.

What is asked are the facts that a result depends on (cache/manifest.py): which files were read,
which names were looked for in vain, which were only found to be there.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from pycc.pattern import pattern
from pycc.record import made, mutable, record

from .protocol import PUMP, File, Reply, Request

T = TypeVar("T")

DIRECTORY = b"/pycc-question"
SOURCE = DIRECTORY + b"/question.c"
MOST_BYTES = 64 << 20
"""Of all contents that one question asks for."""
KNOWN_SECONDS = 600.0
MOST_KEYS = 100
_THERE = b'#if __has_include("%s")\n#error "%s" is there\n#endif\n'
_MISSING = b'#if !__has_include("%s")\n#error "%s" is not there\n#endif\n'
_CONTENT = b'".incbin \\"%s\\"\\n"\n".ascii \\"%s\\"\\n"\n'
_ASKABLE = pattern(rb"/[\x20\x21\x23-\x5b\x5d-\x7e]+")
"""Names that mean the same in a directive, in a string and to the assembler."""


@record
class Facts:
    """What has to hold on a server: (path, digest of the content); paths that are files; and those
    that are none, as (what stands before them, the rest of each)."""

    files: tuple[tuple[bytes, bytes], ...] = ()
    present: tuple[bytes, ...] = ()
    absent: tuple[tuple[bytes, tuple[bytes, ...]], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.files or self.present or self.absent)


@record
class Question:
    """``contents`` are expected, in this order, with a ``mark`` before and behind each."""

    request: Request
    mark: bytes
    contents: tuple[tuple[bytes, bytes], ...]


def question(
    facts: Facts, compiler: bytes, read: Callable[[bytes, bytes], bytes | None]
) -> Question | str:
    """The job that asks for ``facts``, or which of them cannot be asked for. ``read(path, digest)``
    gives this machine's content."""
    mark = os.urandom(16).hex().encode()
    contents: list[tuple[bytes, bytes]] = []
    total = 0
    for path, digest in facts.files:
        content = read(path, digest)
        if content is None:
            return f"{os.fsdecode(path)} has changed"
        total += len(content)
        contents.append((path, content))
    missing = sorted({prefix + name for prefix, rest in facts.absent for name in rest})
    names = (*(path for path, _ in facts.files), *facts.present, *missing)
    for name in names:
        if not _ASKABLE.fullmatch(name):
            return f"{os.fsdecode(name)} cannot be asked for"
    if total > MOST_BYTES:
        return f"{total} bytes are too many to compare"
    lines = [_THERE % (name, name) for name in missing]
    lines += [_MISSING % (name, name) for name in facts.present]
    lines.append(b'__asm__(".section .rodata\\n"\n".ascii \\"%s\\"\\n"\n' % mark)
    # A mark behind each tells which of them is longer there.
    lines += (_CONTENT % (path, mark) for path, _ in contents)
    lines.append(b'".text\\n");\n')
    source = os.path.basename(SOURCE)
    argv = (compiler, b"-x", b"c", b"-w", b"-O0", b"-c", source, b"-o", b"question.o")
    request = Request(PUMP, argv, cwd=DIRECTORY, files=(File(SOURCE, b"".join(lines)),))
    return Question(request, mark, tuple(contents))


def differing(asked: Question, reply: Reply) -> str:
    """What a server's answer says is another there; empty if all is the same."""
    if reply.status:
        lines = reply.err.decode(errors="backslashreplace").splitlines()
        why = next((line for line in lines if "#error" in line or "rror:" in line), "it failed")
        return why.rpartition("error")[2].strip(" :")[:200] or "it failed"
    start = reply.object.find(asked.mark) + len(asked.mark)
    if start < len(asked.mark):
        return "the answer is none"
    for path, content in asked.contents:
        if not reply.object.startswith(content + asked.mark, start):
            return os.fsdecode(path)
        start += len(content) + len(asked.mark)
    return ""


@mutable
class _Asked:
    """What holds on one host."""

    files: set[tuple[bytes, bytes]] = made(factory=set)
    present: set[bytes] = made(factory=set)
    lookups: dict[object, int] = made(factory=dict)
    absent: dict[bytes, set[bytes]] = made(factory=dict)


def _others(wanted: tuple[T, ...], known: set[T]) -> tuple[T, ...]:
    return () if known.issuperset(wanted) else tuple(one for one in wanted if one not in known)


def _left(
    absent: Iterable[tuple[bytes, tuple[bytes, ...]]], asked: dict[bytes, set[bytes]]
) -> Iterator[tuple[bytes, tuple[bytes, ...]]]:
    for prefix, rest in absent:
        known = asked.get(prefix, set())
        if not known.issuperset(rest):
            yield prefix, tuple(set(rest) - known)


class Known:
    """What is known of hosts; safe for several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._hosts: dict[str, tuple[float, _Asked]] = {}
        self._different: dict[str, tuple[float, str]] = {}

    def different(self, host: str) -> str:
        """What is another there than here, as far as it was asked lately."""
        until, what = self._different.get(host, (0.0, ""))
        return what if self._clock() < until else ""

    def unknown(self, host: str, facts: Facts) -> Facts:
        """Those that have not been asked there."""
        until, asked = self._hosts.get(host, (0.0, _Asked()))
        if self._clock() >= until:
            return facts
        return Facts(
            _others(facts.files, asked.files),
            _others(facts.present, asked.present),
            tuple(_left(facts.absent, asked.absent)),
        )

    def lookups(self, host: str, key: object) -> int:
        """The bits of lookups with the numbers of ``key`` that found nothing there, either."""
        until, asked = self._hosts.get(host, (0.0, _Asked()))
        return asked.lookups.get(key, 0) if self._clock() < until else 0

    def period(self, host: str) -> object:
        """What stands for the time in which what is known now holds; None where nothing is."""
        until, asked = self._hosts.get(host, (0.0, None))
        return asked if self._clock() < until else None

    def learn(
        self, host: str, facts: Facts, key: object = None, lookups: int = 0, since: object = None
    ) -> None:
        """These hold there. ``lookups`` count only if what they rest on is known ``since`` this
        period began, and not since another that is over."""
        with self._lock:
            now = self._clock()
            until, asked = self._hosts.get(host, (0.0, _Asked()))
            if now >= until:
                asked = _Asked()
                self._hosts[host] = (now + KNOWN_SECONDS, asked)
            if len(asked.lookups) >= MOST_KEYS:
                asked.lookups.clear()
            if asked is since:
                asked.lookups[key] = asked.lookups.get(key, 0) | lookups
            asked.files.update(facts.files)
            asked.present.update(facts.present, (path for path, _ in facts.files))
            for prefix, rest in facts.absent:
                asked.absent.setdefault(prefix, set()).update(rest)

    def learn_difference(self, host: str, what: str) -> None:
        """``what`` is another there."""
        self._different[host] = (self._clock() + KNOWN_SECONDS, what)
