"""The daemon's own cache of preprocessed compiles: the same text, words and compiler, once.

A key holds what determines the output and nothing else: the content of the compiler and of all
that it runs (compiler.py), the words of the command without the compiler's path and without the
names of input and output, the name under which the text is compiled, the variables that alter
messages, and the text. Whose job it is, where the client keeps the source, and the daemon's
temporary names do not enter; working directories do, in the text, where debug information asks for
them.

Only successes are kept. A cache that cannot be used means compiling, never a failed job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pycc.cache.directory import CacheDirectory
from pycc.cache.fingerprint import Fingerprint
from pycc.cache.result import Entry, Kind, ResultError, pack, unpack
from pycc.cache.storage import result_key
from pycc.record import record

VERSION = b"pyccd 3"
"""To be raised with every text that textfilter.py refuses from then on: only a miss is asked."""
VARIABLES = (b"LANG", b"LANGUAGE", b"LC_ALL", b"LC_CTYPE", b"LC_MESSAGES", b"SOURCE_DATE_EPOCH")
"""They alter messages or, with macros expanded, at most those."""


FAULTS = {
    "full": "there is no room left, so results are not kept",
    "failures": "a result could not be kept or read",
    "corrupt": "some of what it kept was damaged, and is compiled again",
    "rebuilt": "it was damaged, and begun anew",
    "timeouts": "",
}
"""What may go wrong with the store, by its own names, in words for the log: none for what only
costs a result now and then."""


@record
class Output:
    """What a successful compile gave."""

    object: bytes
    err: bytes = b""
    out: bytes = b""


def key_of(
    identity: bytes,
    words: Sequence[bytes],
    name: bytes,
    environment: Mapping[bytes, bytes],
    text: bytes,
) -> bytes:
    """``words`` have no compiler and no names of input and output, ``name`` is that of the text,
    ``text`` its digest (protocol.text_digest)."""
    state = Fingerprint()
    state.add(b"version", VERSION)
    state.add(b"compiler", identity)
    state.add(b"words", *words)
    state.add(b"name", name)
    for variable in VARIABLES:
        if variable in environment:
            state.add(b"variable", variable, environment[variable])
    state.add(b"text", text)
    return result_key(state.key())


class ServerCache:
    """Safe for several threads."""

    def __init__(self, directory: CacheDirectory) -> None:
        self._directory = directory

    def get(self, key: bytes) -> Output | None:
        """The output under ``key``; a value that cannot be read is none."""
        value = self._directory.get(key)
        if value is None:
            return None
        try:
            entries = unpack(value)
        except ResultError:
            return None
        found = {entry.kind: bytes(entry.data) for entry in entries}
        if Kind.OBJECT not in found:
            return None
        self._directory.storage.touch(key)
        return Output(found[Kind.OBJECT], found.get(Kind.STDERR, b""), found.get(Kind.STDOUT, b""))

    def put(self, key: bytes, output: Output) -> bool:
        """Have ``output`` stored; False when too much is waiting already."""
        entries = [Entry(Kind.OBJECT, output.object)]
        if output.err:
            entries.append(Entry(Kind.STDERR, output.err))
        if output.out:
            entries.append(Entry(Kind.STDOUT, output.out))
        return self._directory.put(key, pack(entries))

    def value(self, key: bytes) -> bytes | None:
        """What is kept under ``key`` as it is (exact jobs)."""
        value = self._directory.get(key)
        if value is not None:
            self._directory.storage.touch(key)
        return value

    def keep(self, key: bytes, value: bytes) -> bool:
        """Have ``value`` stored; False when too much is waiting already."""
        return self._directory.put(key, value)

    def faults(self) -> dict[str, int]:
        """What went wrong since this was asked last, by the names of FAULTS. Results are written
        behind a job's back, so it is told with one of the next."""
        counts = self._directory.storage.counts.take()
        return {name: counts[name] for name in FAULTS if counts.get(name)}

    def close(self) -> None:
        """Write what waits."""
        self._directory.close()
