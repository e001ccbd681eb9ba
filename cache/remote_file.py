"""Remote storage in a directory, which several machines may share (``file:DIRECTORY``).

Entries are files, whole or not there. Nothing is ever cleaned up here: that is for whoever owns the
directory (``ccache --trim-dir``).

A file system behind a network may stand still for hours, and a thread that waits for it cannot be
called back. There each request is made by a thread of its own, which is left behind when the time
is over.
"""

from __future__ import annotations

import errno
import os
import queue
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from ..errors import ConfigError
from .local_handle import TAG_FILE, TAG_TEXT
from .mounts import is_network
from .remote_backend import LARGEST, Say, StorageFailed, StorageRefused, entry_path
from .remote_settings import DATA_TIMEOUT, StorageSettings
from .remote_url import Url
from .shared_files import make_directories, replace, write_new

T = TypeVar("T")

MOST_LEFT = 16
"""Threads that wait in vain; with so many the others are told at once."""
_OF_ONE_ENTRY = frozenset({errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO})
"""Somebody else's file, a pipe or a link that leads nowhere: no reason to ask for no other."""


class FileBackend:
    """See Backend. ``umask`` is that of files and directories where ``@umask`` does not say."""

    def __init__(
        self,
        url: Url,
        settings: StorageSettings,
        umask: int,
        unknown: Say = lambda _: None,
    ) -> None:
        if url.host not in ("", "localhost"):
            raise ConfigError(
                f'invalid file URL "{url.shown()}": specifying a host other than localhost is not'
                " supported"
            )
        if "\0" in url.path:
            raise ConfigError(f'invalid file URL "{url.shown()}"')
        self._directory = url.path
        self._umask = umask
        self._layout = "subdirs"
        self._update_mtime = False
        for key, value in settings.attributes:
            match key:
                case "layout" if value in ("flat", "subdirs"):
                    self._layout = value
                case "layout":
                    unknown(f"Unknown layout: {value}")
                case "umask":
                    self._umask = parse_umask(value)
                case "update-mtime":
                    self._update_mtime = value == "true"
                case _:
                    unknown(f"Unknown attribute: {key}")
        data = DATA_TIMEOUT if settings.data_timeout is None else settings.data_timeout
        self._seconds = data if is_network(url.path) else 0.0
        self._left: list[threading.Thread] = []

    def _path(self, key: bytes) -> str:
        return f"{self._directory}/{entry_path(key, self._layout)}"

    def get(self, key: bytes, say: Say) -> bytes | None:
        return self._patiently(lambda: self._read(self._path(key), say))

    def put(self, key: bytes, value: bytes, say: Say, *, overwrite: bool) -> bool:
        path = self._path(key)
        return self._patiently(lambda: self._write(path, value, overwrite))

    def remove(self, key: bytes, say: Say) -> bool:
        return self._patiently(lambda: _remove(self._path(key)))

    def give_up(self) -> None:
        return

    def stop(self) -> bool:
        return False

    def close(self) -> None:
        return

    def _read(self, path: str, say: Say) -> bytes | None:
        try:
            # Not to be held up by a pipe that somebody put there.
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as problem:
            reason = f"Failed to read {path}: {problem.strerror}"
            if problem.errno in _OF_ONE_ENTRY:
                say(reason)
                return b""
            raise StorageFailed(reason) from problem
        try:
            with open(fd, "rb", buffering=0) as file:
                found = os.fstat(fd)
                if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
                    return b""
                if self._update_mtime:
                    with suppress(OSError):
                        os.utime(fd)
                return file.read(found.st_size)
        except OSError as problem:
            raise StorageFailed(f"Failed to read {path}: {problem.strerror}") from problem

    def _write(self, path: str, value: bytes, overwrite: bool) -> bool:
        if not overwrite and os.path.exists(path):
            return False
        try:
            try:
                replace(path, value, self._umask)
            except FileNotFoundError:
                make_directories(os.path.dirname(path), self._umask)
                tag = f"{self._directory}/{TAG_FILE}"
                with suppress(FileExistsError):
                    write_new(tag, TAG_TEXT, self._umask)
                replace(path, value, self._umask)
        except OSError as problem:
            raise StorageRefused(f"Failed to write {path}: {problem.strerror}") from problem
        return True

    def _patiently(self, work: Callable[[], T]) -> T:
        if not self._seconds:
            return work()
        self._left = [thread for thread in self._left if thread.is_alive()]
        if len(self._left) >= MOST_LEFT:
            raise StorageFailed(f"{self._directory} does not answer", timeout=True)
        done: queue.SimpleQueue[tuple[T | None, StorageFailed | None]] = queue.SimpleQueue()

        def run() -> None:
            try:
                done.put((work(), None))
            except StorageFailed as problem:
                done.put((None, problem))

        thread = threading.Thread(target=run, daemon=True)
        try:
            thread.start()
        except RuntimeError as full:
            raise StorageFailed(str(full)) from full
        try:
            got, problem = done.get(timeout=self._seconds)
        except queue.Empty:
            self._left.append(thread)
            raise StorageFailed(f"{self._directory} does not answer", timeout=True) from None
        if problem is not None:
            raise problem
        return got  # type: ignore[return-value]  # None only where T may be None


def _remove(path: str) -> bool:
    try:
        os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as problem:
        raise StorageRefused(f"Failed to remove {path}: {problem.strerror}") from problem
    return True


def parse_umask(text: str) -> int:
    """Read an octal umask. Raises ConfigError."""
    stripped = text.strip()
    if not stripped or set(stripped) - set("01234567") or len(stripped) > 20:
        raise ConfigError(f'invalid unsigned octal integer: "{stripped}"')
    if int(stripped, 8) > 0o777:
        raise ConfigError("umask must be between 0 and 511")
    return int(stripped, 8)
