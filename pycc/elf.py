"""Which shared libraries an ELF program loads, read from the files themselves.

A compiler's code may live in a library (clang's is in libLLVM and libclang-cpp), so its identity
has to cover them. Running ldd would run the program; instead the dynamic section is read (System
V ABI, chapter 5) and names are looked up as ld.so(8) does: LD_LIBRARY_PATH, RPATH or RUNPATH,
ld.so.cache (glibc's "new" format), the default directories.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from struct import error, unpack_from

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 0, 1, 5, 15, 29
_HEAD = 1 << 16
_CACHE_MAGIC = b"glibc-ld.so.cache1.1"
CACHE_PATH = b"/etc/ld.so.cache"
_DEFAULT_DIRECTORIES = (b"/lib64", b"/usr/lib64", b"/lib", b"/usr/lib")
MAX_LIBRARIES = 200


def dynamic(path: bytes) -> tuple[list[bytes], list[bytes]] | None:
    """(needed names, search directories) of a 64-bit little-endian ELF file; None for others.

    A static program gives two empty lists.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(_HEAD)
            if head[:6] != b"\x7fELF\x02\x01":
                return None
            offset, count = unpack_from("<Q", head, 32)[0], unpack_from("<H", head, 56)[0]
            loads, table = [], None
            for i in range(count):
                kind, _, start, address, _, size = unpack_from("<IIQQQQ", head, offset + 56 * i)
                if kind == _PT_LOAD:
                    loads.append((address, start, size))
                elif kind == _PT_DYNAMIC:
                    table = (start, size)
            if table is None:
                return [], []
            file.seek(table[0])
            section = file.read(min(table[1], 1 << 16))
            entries = [unpack_from("<QQ", section, at) for at in range(0, len(section) - 15, 16)]
            strings_at = next(value for tag, value in entries if tag == _DT_STRTAB)
            place = next(s + strings_at - a for a, s, n in loads if a <= strings_at < a + n)
            file.seek(place)
            strings = file.read(1 << 20)
    except (OSError, OverflowError, error, StopIteration):
        return None

    def text(at: int) -> bytes:
        return strings[at : strings.index(b"\0", at)]

    needed: list[bytes] = []
    search: list[bytes] = []
    origin = os.path.dirname(os.path.realpath(path))
    try:
        for tag, value in entries:
            if tag == _DT_NULL:
                break
            if tag == _DT_NEEDED:
                needed.append(text(value))
            elif tag in (_DT_RPATH, _DT_RUNPATH):
                paths = text(value).replace(b"${ORIGIN}", origin).replace(b"$ORIGIN", origin)
                search += paths.split(b":")
    except ValueError:
        return None
    return needed, search


def read_cache(data: bytes) -> dict[bytes, bytes]:
    """Library name -> path from ld.so.cache; empty when the format is another."""
    start = data.find(_CACHE_MAGIC)
    if start < 0:
        return {}
    try:
        count = unpack_from("<I", data, start + 20)[0]
        found: dict[bytes, bytes] = {}
        for i in range(min(count, 100_000)):
            _, key, value, _, _ = unpack_from("<iIIIQ", data, start + 48 + 24 * i)
            name = data[start + key : data.index(b"\0", start + key)]
            path = data[start + value : data.index(b"\0", start + value)]
            # The 32-bit variants of a name come after the native ones.
            found.setdefault(name, path)
        return found
    except (error, ValueError):
        return {}


def libraries(
    programs: Sequence[bytes],
    library_path: Sequence[bytes],
    cache: dict[bytes, bytes],
    exists: Callable[[bytes], bool] = os.path.isfile,
) -> list[bytes]:
    """Paths of all libraries that the programs load, directly or through one another.

    A name that is found nowhere is left out: the program cannot start without it.
    """
    found: dict[bytes, bytes] = {}
    queue = list(programs)
    while queue and len(found) < MAX_LIBRARIES:
        read = dynamic(queue.pop())
        if read is None:
            continue
        needed, search = read
        for name in needed:
            if name in found:
                continue
            places = [os.path.join(d, name) for d in (*library_path, *search) if d]
            if name in cache:
                places.append(cache[name])
            places += [os.path.join(d, name) for d in _DEFAULT_DIRECTORIES]
            path = next((place for place in places if exists(place)), None)
            if path is not None:
                found[name] = path
                queue.append(path)
    return sorted(found.values())
