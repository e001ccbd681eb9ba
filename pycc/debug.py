"""What CCACHE_DEBUG leaves beside an object, and the first lines of every log.

The files are ccache's, so that its documentation on cache misses holds ("Cache debugging"):

    OBJECT.TIME.ccache-log          the log of this call
    OBJECT.TIME.ccache-input-c      the bytes of the key that all lookups share
    OBJECT.TIME.ccache-input-d      what the direct mode adds to them
    OBJECT.TIME.ccache-input-p      what the preprocessed text adds to them
    OBJECT.TIME.ccache-input-text   the three for people, to be compared between two builds

TIME is YYYYMMDD_HHMMSS_microseconds. With debug_level 1 there is the log only. A call that
was answered without preprocessing has an empty third part, with a line that says so.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence

from . import __version__
from .cache.fingerprint import Fingerprint
from .config import Config, show_lines
from .config_access import make_directories
from .frame import Request
from .options import words
from .pattern import pattern

SECTIONS = {"c": b"COMMON", "d": b"DIRECT MODE", "p": b"PREPROCESSOR MODE"}
_NOT_PREPROCESSED = b"### this call needed no preprocessed text\n"
_USER = pattern(r"(//)[^/@\s|]+@")
_ATTRIBUTE = pattern(
    r"((?:^|[\s|])(?:@[^\s|=]+|bearer-token|header)=)[^\s|]+",
)


def without_secrets(text: str) -> str:
    """A remote_storage value that may be shown: passwords and attributes are kept to ourselves."""
    return _ATTRIBUTE.sub(r"\1********", _USER.sub(r"\1********@", text))


def opening_lines(request: Request, config: Config) -> Iterator[str]:
    """What a log begins with: who was called how, and every setting with its origin."""
    yield f"=== pycc {__version__} STARTED ".ljust(64, "=")
    yield f"Configuration file: {config.config_path}"
    yield f"Directory configuration file: {config.dir_config_path}"
    yield f"System configuration file: {config.system_config_path}"
    for line in show_lines(config):
        hide = ") remote_storage = " in line
        yield "Config: " + (without_secrets(line) if hide else line)
    shown = b" ".join(request.argv)
    yield f"Command line: {without_secrets(os.fsdecode(shown))}"
    yield f"Hostname: {socket.gethostname()}"
    yield f"Working directory: {os.fsdecode(request.cwd)}"


def object_name(args: Sequence[bytes]) -> bytes:
    """What the command line makes, by the look of it; for calls that were not understood."""
    output = source = b""
    suffix = b".o"
    for word in words(args):
        if word.name == b"-o" and word.value:
            output = word.value
        elif word.name == b"-S":
            suffix = b".s"
        elif word.file and not source:
            source = word.text
    if output or not source:
        return output if output != b"-" else b""
    base = source.rpartition(b"/")[2]
    return (base.rpartition(b".")[0] or base) + suffix


class DebugFiles:
    """Collects what one call may leave; nothing is written before ``write``.

    ``output`` is the primary output, as named on the command line; b"" leaves no files.
    """

    def __init__(self, request: Request, config: Config, args: Sequence[bytes]) -> None:
        self.output = object_name(args)
        self._cwd = request.cwd
        self._umask = request.umask
        self._inputs = config.debug_level >= 2
        self._directory = config.absolute(config.debug_dir) if config.debug_dir else b""
        self._now = time.time()
        self._sections: dict[str, tuple[Fingerprint, Fingerprint | None]] = {}

    def add(self, letter: str, key: Fingerprint, after: Fingerprint | None = None) -> None:
        """A section's key, and the key that it was copied from."""
        self._sections[letter] = (key, after)

    def write(self, log: bytes) -> None:
        """Write all files. Raises OSError."""
        if not self.output or self.output == b"/dev/null":
            return
        prefix = self._prefix()
        make_directories(os.fsdecode(os.path.dirname(prefix)), 0o777 & ~self._umask)
        if self._inputs and self._sections:
            text = []
            for letter, title in SECTIONS.items():
                key, after = self._sections.get(letter, (None, None))
                if key is None and not (letter == "p" and "d" in self._sections):
                    continue
                data = b"" if key is None else key.hashed(after)
                self._put(prefix + b"input-" + letter.encode(), data)
                text.append(b"=== " + title + b" ===\n")
                text.append(_NOT_PREPROCESSED if key is None else key.text(after))
            self._put(prefix + b"input-text", b"".join(text))
        self._put(prefix + b"log", log)

    def _prefix(self) -> bytes:
        path = os.path.join(self._cwd, self.output)
        if self._directory:
            shown = self.output if self.output[:1] == b"/" else os.path.realpath(path)
            path = self._directory + b"/" + shown.lstrip(b"/")
        seconds = int(self._now)
        stamp = time.strftime("%Y%m%d_%H%M%S", time.localtime(seconds))
        stamp += f"_{int((self._now - seconds) * 1e6):06d}"
        return path + b"." + stamp.encode() + b".ccache-"

    def _put(self, path: bytes, data: bytes) -> None:
        # A name with a microsecond in it is new; a link that waits there is not ours.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o666 & ~self._umask)
            file.write(data)
