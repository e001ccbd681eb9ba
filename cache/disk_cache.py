"""What diskcache does for us: it makes the tables and writes the rows, and it pickles nothing.

Loading the library takes longer than finding an entry, and finding needs nothing of it. So this
module is imported only inside the functions that write, and what reads must not come to need it.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping

import diskcache

from .storage import LOCK_WAIT
from .value_files import MODE_BINARY, MODE_RAW, ValueFiles


class BytesDisk(diskcache.Disk):  # type: ignore[misc]  # the library publishes no types
    """Keys are str, values are bytes, and whatever asks for pickle is refused (CVE-2025-69872)."""

    def __init__(self, directory: str, **settings: object) -> None:
        super().__init__(directory, **settings)
        self._files = ValueFiles(directory, None)

    def put(self, key: str) -> tuple[str, bool]:
        """Return the key as stored; raises ValueError for anything but str."""
        if type(key) is not str:
            msg = f"key of type {type(key).__name__}"
            raise ValueError(msg)
        return key, True

    def get(self, key: str, raw: bool) -> str:
        """Return the key as it was put; raises ValueError for one that was pickled."""
        if not raw:
            msg = "pickled key"
            raise ValueError(msg)
        return key

    def store(
        self,
        value: bytes,
        read: bool,
        key: object = None,  # noqa: ARG002
    ) -> tuple[int, int, str | None, bytes | None]:
        """Return (charged size, mode, file name, value); raises OSError and ValueError."""
        if type(value) is not bytes or read:
            msg = f"value of type {type(value).__name__}"
            raise ValueError(msg)
        return self._files.store(value)

    def fetch(self, mode: int, filename: str | None, value: bytes | None, read: bool) -> bytes:
        """Return the stored bytes; raises OSError, and ValueError for any mode but ours."""
        if mode == MODE_BINARY and filename is not None and not read:
            return self._files.read(filename)
        if mode == MODE_RAW and type(value) is bytes:
            return value
        msg = f"mode {mode}"
        raise ValueError(msg)

    def filename(self, key: object = None, value: object = None) -> tuple[str, str]:  # noqa: ARG002
        """Return a fresh name of a value file, relative and absolute."""
        return self._files.fresh_name()

    def remove(self, file_path: str) -> None:
        """Remove a value file, if it is there and of our naming."""
        self._files.remove(file_path)


class Rows(diskcache.Cache):  # type: ignore[misc]  # the library publishes no types
    """The library's way to write a row, on a connection of ours and in its transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        # The parent's constructor is not called: it opens, and writes every setting.
        self._ours = connection

    @property
    def _con(self) -> sqlite3.Connection:
        # What the library's own methods call.
        return self._ours

    def insert(self, key: str, now: float, columns: tuple[object, ...]) -> None:
        """Write a new row for ``key``."""
        self._row_insert(key, 1, now, columns)

    def update(self, row: int, now: float, columns: tuple[object, ...]) -> None:
        """Write the columns of the row of this id anew."""
        self._row_update(row, now, columns)


def make_tables(directory: str, settings: Mapping[str, object], additions: Iterable[str]) -> None:
    """Make the library's tables in ``directory``, as ``settings`` say, and execute ``additions``.

    ``directory`` must not hold a $: the library expands $NAME. Raises `DatabaseErrors`.
    """
    with contextlib.closing(
        diskcache.Cache(directory, timeout=LOCK_WAIT, disk=BytesDisk, **settings)
    ) as cache:
        for statement in additions:
            cache._sql(statement).close()
