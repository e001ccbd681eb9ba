"""What configuration asks of the file system: the questions and the real disk."""

from __future__ import annotations

import os
import pwd
import stat
from typing import Protocol

# A configuration file is a few lines; the bound keeps a wrong CCACHE_CONFIGPATH from being read
# into a long-lived process.
MAX_FILE_SIZE = 4 * 1024 * 1024


class FileAccess(Protocol):
    """The file system as configuration sees it; paths are absolute and decoded by os.fsdecode."""

    def read(self, path: str) -> bytes | None:
        """The content of a regular file (no device, no pipe), or None if it cannot be read."""

    def stat(self, path: str) -> os.stat_result | None:
        """What is at ``path``, links followed, or None when nothing is."""

    def exists(self, path: str) -> bool:
        """Whether anything is at ``path``, links followed."""

    def writable(self, path: str) -> bool:
        """Whether the user may create files in the directory ``path``."""

    def user(self) -> int:
        """The effective user id."""

    def replace(self, path: str, content: bytes, umask: int) -> None:
        """Make ``content`` the file at ``path`` at one instant, with its directories.

        Links are followed. Raises OSError, and IsADirectoryError or FileExistsError when
        something other than a regular file is there.
        """


class RealFiles:
    """`FileAccess` over the disk of this process."""

    def read(self, path: str) -> bytes | None:
        """See `FileAccess.read`; None also for a file larger than `MAX_FILE_SIZE`."""
        try:
            # Non-blocking, because a pipe without a writer would stop the server.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except (OSError, ValueError):
            return None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            parts: list[bytes] = []
            size = 0
            while part := os.read(descriptor, 65536):
                parts.append(part)
                size += len(part)
                if size > MAX_FILE_SIZE:
                    return None
            return b"".join(parts)
        except OSError:
            return None
        finally:
            os.close(descriptor)

    def stat(self, path: str) -> os.stat_result | None:
        """See `FileAccess.stat`."""
        try:
            return os.stat(path)
        except (OSError, ValueError):
            return None

    def exists(self, path: str) -> bool:
        """See `FileAccess.exists`."""
        try:
            # Half the time of a stat that fails: no exception is made.
            return os.access(path, os.F_OK)
        except ValueError:
            return False

    def writable(self, path: str) -> bool:
        """See `FileAccess.writable`."""
        try:
            return os.access(path, os.W_OK | os.X_OK)
        except ValueError:
            return False

    def user(self) -> int:
        """See `FileAccess.user`."""
        return os.geteuid()

    def replace(self, path: str, content: bytes, umask: int) -> None:
        """See `FileAccess.replace`."""
        target = os.path.realpath(path)
        if os.path.isdir(target):
            raise IsADirectoryError(21, os.strerror(21), path)
        if os.path.exists(target) and not os.path.isfile(target):
            # ccache renames over it, which as root replaces /dev/null by a file.
            raise FileExistsError(17, "Not a regular file", path)
        directory = os.path.dirname(target)
        make_directories(directory, 0o777 & ~umask)
        temporary = f"{target}.tmp.{os.urandom(6).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600)
        try:
            try:
                with open(descriptor, "wb", closefd=False) as stream:
                    stream.write(content)
                os.fchmod(descriptor, 0o666 & ~umask)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise


def make_directories(path: str, mode: int) -> None:
    """Make ``path`` and what is missing on the way to it with ``mode``. Raises OSError."""
    missing: list[str] = []
    while path and not os.path.isdir(path) and path != os.path.dirname(path):
        missing.append(path)
        path = os.path.dirname(path)
    for directory in reversed(missing):
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            continue
        # The mode is set afterwards so that the umask of this process has no say.
        os.chmod(directory, mode)


def home_directory() -> str | None:
    """From the user database, where HOME is not set."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return None
