"""What the cache holds, entry by entry: listing, showing and taking out.

ccache's ``--inspect`` and ``--extract-result`` take the path of an entry's file. Most of our
entries are rows of a database, so these take an entry's name instead, or enough of its beginning;
``--print-entries`` lists the names. A name is the entry's kind (``R`` a result, ``M`` a manifest,
``F`` an object stored as a file) with its key in hexadecimal digits. A path to a file (of the tier
of files, or of remote storage) is taken, too.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence

from .cache import manifest, result
from .cache.manifest import ManifestEntry
from .cache.recompression import content_size, is_compressed
from .cache.result import Entry, Kind
from .cache.storage import FILE, HEADER_SIZE, MAGIC, MAX_VALUE, Listed, Storage
from .errors import Fatal
from .frame import REPLACE, Write
from .record import record

KINDS = {b"R": "result", b"M": "manifest", b"F": "file"}
TYPES = {b"PR": (0, "result"), b"PM": (1, "manifest")}
"""ccache's numbers."""

SHORTEST = 4  # characters that a name may be cut to

SUFFIXES = {
    Kind.OBJECT: ".o",
    Kind.LINKED: ".o",
    Kind.DEPENDENCY: ".d",
    Kind.STDERR: "<stderr>",
    Kind.STDERR_COLOUR: "<stderr>",
    Kind.STDOUT: "<stdout>",
    Kind.COVERAGE: ".gcno-unmangled",
    Kind.STACK_USAGE: ".su",
    Kind.DIAGNOSTICS: ".dia",
    Kind.DWO: ".dwo",
    Kind.LISTING: ".al",
    Kind.CALLGRAPH: ".ci",
    Kind.IPA_CLONES: ".000i.ipa-clones",
    Kind.OTHER: ".other",
}
"""As ccache shows what a result holds."""


@record
class Named:
    """One entry that was asked for; ``listed`` is None for a file."""

    value: bytes
    listed: Listed | None


def name_of(key: bytes) -> str:
    """The name of the entry with this key."""
    return key[:1].decode("ascii", "replace") + key[1:].hex()


def listing_text(entries: Iterable[Listed], *, as_json: bool) -> str:
    """All entries, the one used last first: name, kind, bytes, when it was used, namespace."""
    found = sorted(entries, key=lambda entry: (-entry.used, entry.key))
    if as_json:
        rows = [
            {
                "name": name_of(entry.key),
                "type": KINDS.get(entry.key[:1], "unknown"),
                "size": entry.size,
                "used": int(entry.used),
                "namespace": entry.namespace,
            }
            for entry in found
        ]
        return json.dumps(rows, indent=2) + "\n"
    return "".join(
        f"{name_of(entry.key)}\t{KINDS.get(entry.key[:1], 'unknown')}\t{entry.size}\t"
        f"{int(entry.used)}\t{entry.namespace}\n"
        for entry in found
    )


def find(storage: Storage, name: str, cwd: bytes) -> Named:
    """The entry called ``name``, or the file at that path. Raises Fatal."""
    path = os.path.join(os.fsdecode(cwd), name)
    if os.path.isfile(path):
        return Named(read_file(path), None)
    if len(name) < SHORTEST or name[:1].encode() not in KINDS:
        raise Fatal(f"{name} is no file, and no name of an entry (see --print-entries)")
    matching = [entry for entry in storage.listing() if name_of(entry.key).startswith(name)]
    if len(matching) != 1:
        raise Fatal(f"{'no entry is' if not matching else 'several entries are'} called {name}")
    value = b"" if matching[0].key[:1] == FILE else storage.get(matching[0].key)
    if value is None:
        raise Fatal(f"the entry {name} cannot be read")
    return Named(value, matching[0])


def read_file(path: str) -> bytes:
    """The packed value in a file, with or without the seal of a store. Raises Fatal."""
    try:
        with open(path, "rb") as file:
            return unsealed(file.read(MAX_VALUE))
    except OSError as problem:
        raise Fatal(f"Failed to read {path}: {problem.strerror}") from problem


def unsealed(data: bytes) -> bytes:
    """The packed value in ``data``; the checksum of a seal is not asked, as it needs the key."""
    if data.startswith(MAGIC):
        data = data[HEADER_SIZE:]
        size = int.from_bytes(data[:2], "big")  # the namespace, in the tier of files
        if data[2 + size : 4 + size] in TYPES:
            data = data[2 + size :]
    if data[:2] not in TYPES:
        raise Fatal(f"Bad magic value: 0x{data[:2].hex()}")
    return data


def inspection(entry: Named) -> str:
    """What an entry holds, for people. Raises Fatal."""
    said = []
    listed = entry.listed
    if listed is not None:
        said += [f"Name: {name_of(listed.key)}", f"Namespace: {listed.namespace}"]
        said += [f"Size in the cache: {listed.size}", f"Last used: {_moment(listed.used)}"]
        if listed.key[:1] == FILE:
            return "\n".join([*said, "Entry type: 2 (file)"]) + "\n"
    value = entry.value
    if content_size(value) is None:
        raise Fatal("the entry is damaged: it is cut, or another kind of thing")
    number, kind = TYPES[value[:2]]
    packed = "zstd" if is_compressed(value) else "none"
    said += [f"Magic: {value[:2].decode()}", f"Entry type: {number} ({kind})"]
    said += [f"Compression type: {packed}", f"Entry size: {len(value)}"]
    said += [f"Content size: {content_size(value)}"]
    try:
        if kind == "result":
            said += _result_lines(value[2], result.unpack(value))
        else:
            said += _manifest_lines(value[2], manifest.unpack(value))
    except (result.ResultError, manifest.ManifestError) as problem:
        raise Fatal(f"the entry is damaged: {problem}") from problem
    return "\n".join(said) + "\n"


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _result_lines(version: int, entries: Sequence[Entry]) -> list[str]:
    said = [f"Result format version: {version}", f"Number of files: {len(entries)}"]
    for number, entry in enumerate(entries):
        raw = entry.kind is Kind.LINKED
        size = result.read_linked(entry).size if raw else len(entry.data)
        form = "Raw" if raw else "Embedded"
        said.append(f"{form} file #{number}: {SUFFIXES[entry.kind]} ({size} bytes)")
    return said


def _manifest_lines(version: int, entries: Sequence[ManifestEntry]) -> list[str]:
    paths: dict[bytes, int] = {}
    infos: dict[tuple[bytes, bytes, tuple[int, int, int] | None], int] = {}
    used: list[list[int]] = []
    for entry in entries:
        stats = entry.stats or (None,) * len(entry.files)
        numbers = []
        for (path, digest), stat in zip(entry.files, stats, strict=True):
            paths.setdefault(path, len(paths))
            numbers.append(infos.setdefault((path, digest, stat), len(infos)))
        used.append(numbers)
    said = [f"Manifest format version: {version}", f"File paths ({len(paths)}):"]
    said += [f"  {number}: {os.fsdecode(path)}" for path, number in paths.items()]
    said.append(f"File infos ({len(infos)}):")
    for (path, digest, stat), number in infos.items():
        size, mtime, ctime = ("-", "-", "-") if stat is None else (str(n) for n in stat)
        said += [f"  {number}:", f"    Path index: {paths[path]}", f"    Hash: {digest.hex()}"]
        said += [f"    File size: {size}", f"    Mtime: {mtime}", f"    Ctime: {ctime}"]
    said.append(f"Results ({len(entries)}):")
    for number, (entry, numbers) in enumerate(zip(entries, used, strict=True)):
        said += [f"  {number}:", "    File info indexes:" + "".join(f" {n}" for n in numbers)]
        absent = sum(len(names) for _, names in entry.groups)
        said.append(f"    Names that must be absent: {absent}")
        said += [f"    Must be there: {os.fsdecode(path)}" for path in entry.present]
        if entry.day:
            said.append(f"    Day: {os.fsdecode(entry.day)}")
        key = "- (preprocess first)" if entry.flags & manifest.NEEDS_TEXT else entry.result_key
        said.append(f"    Key: {key if isinstance(key, str) else 'R' + key.hex()}")
    return said


def extraction(storage: Storage, entry: Named) -> list[Write]:
    """The files of a result, to be written to the working directory as ``ccache-result.*``. Raises
    Fatal."""
    if entry.value[:2] != b"PR":
        raise Fatal("not a result")
    try:
        entries = result.unpack(entry.value)
    except result.ResultError as problem:
        raise Fatal(f"the entry is damaged: {problem}") from problem
    files = []
    for one in entries:
        data = _linked_data(storage, one) if one.kind is Kind.LINKED else bytes(one.data)
        suffix = SUFFIXES[one.kind].replace("<", ".").rstrip(">")
        files.append(Write(f"ccache-result{suffix}".encode(), data, REPLACE))
    return files


def _linked_data(storage: Storage, entry: Entry) -> bytes:
    try:
        file = result.read_linked(entry)
        path = storage.file_of(file.key)
        if path is not None:
            with open(path, "rb") as opened:
                data = opened.read(file.size + 1)
            if result.holds(file, data):
                return data
    except (OSError, result.ResultError):
        pass
    raise Fatal("the object that the cache holds as a file has gone, or was changed")
