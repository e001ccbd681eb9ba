"""``pycc-storage``: our storages for a real ccache, as one of its storage helpers.

ccache starts it (``remote_storage = s3://bucket helper=pycc-storage``) with the URL and the
attributes in its environment and speaks over a Unix socket, as remote_crsh.py has it from the other
side. So a ccache has TLS, S3, signed entries and a storage that is left alone while it is away. The
program ends when nobody has asked for a while.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from ..errors import ConfigError, PyccError
from . import remote_crsh as crsh
from .remote_backend import LARGEST, StorageFailed
from .remote_making import BUILT_IN, Surroundings, make_storage
from .remote_settings import Shard, StorageSettings
from .remote_storage import RemoteStorage
from .remote_url import parse_url

_Read = Callable[[int], bytes]
_Write = Callable[[bytes], object]

IDENTITY = b"pycc-storage"
CCACHES = b"C"
"""The kind of entries that are ccache's, for keys of storage.py."""
STEP_SECONDS = 1.0
MOST_ATTRIBUTES = 1000


def main() -> None:
    """Entry point; the status is 1 where it cannot serve."""
    try:
        program = Program(os.environb)
        program.listen()
    except (PyccError, OSError) as problem:
        print(f"pycc-storage: {problem}", file=sys.stderr)
        sys.exit(1)
    program.serve()


class Program:
    """What the environment ``variables`` ask for. Raises ConfigError."""

    def __init__(self, variables: Mapping[bytes, bytes]) -> None:
        self._endpoint = variables.get(b"CRSH_IPC_ENDPOINT", b"")
        url = os.fsdecode(variables.get(b"CRSH_URL", b""))
        if not (self._endpoint and url):
            raise ConfigError(
                "started by ccache, with remote_storage = URL helper=pycc-storage; in the"
                " environment there is no CRSH_IPC_ENDPOINT or no CRSH_URL"
            )
        self._idle = _number(variables, b"CRSH_IDLE_TIMEOUT", 0)
        count = min(_number(variables, b"CRSH_NUM_ATTR", 0), MOST_ATTRIBUTES)
        attributes = tuple(
            (
                os.fsdecode(variables.get(b"CRSH_ATTR_KEY_%d" % number, b"")),
                os.fsdecode(variables.get(b"CRSH_ATTR_VALUE_%d" % number, b"")),
            )
            for number in range(count)
        )
        shard = Shard("", 0.0, parse_url(url))
        settings = StorageSettings(url, (shard,), attributes, program=BUILT_IN)
        around = Surroundings(os.getcwd(), variables, (), 0o077, stays=True)
        self._storage: RemoteStorage = make_storage(settings, around, lambda _: None)
        (self._place,) = self._storage.places
        self._listener = socket.socket(socket.AF_UNIX)
        self._asked = time.monotonic()
        self._open = 0  # requests that are being answered
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def listen(self) -> None:
        """Raises OSError, also where somebody listens already."""
        umask = os.umask(0o077)
        try:
            self._listener.bind(self._endpoint)
        finally:
            os.umask(umask)
        self._listener.listen(128)

    def serve(self) -> None:
        """Answer until nobody has asked for the idle time, or one says stop."""
        threading.Thread(target=self._accept, daemon=True).start()
        while not self._ended.wait(STEP_SECONDS):
            if self._idle and not self._open and time.monotonic() - self._asked > self._idle:
                break
        with suppress(OSError):
            os.unlink(self._endpoint)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # no descriptor to be had
                time.sleep(0.05)
                continue
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as file, suppress(OSError, EOFError):
            file.write(bytes((crsh.VERSION, 2, crsh.CAN_STORE, crsh.CAN_INFORM)))
            file.flush()
            while kind := file.read(1):
                with self._lock:
                    self._open += 1
                try:
                    if not self._answer(kind[0], _Words(file.read), file.write):
                        return
                    file.flush()
                finally:
                    with self._lock:
                        self._open -= 1
                    self._asked = time.monotonic()
                if kind[0] == crsh.STOP:
                    self._ended.set()

    def _answer(self, kind: int, words: _Words, write: _Write) -> bool:
        """Answer one request; False where nothing may follow."""
        if kind == crsh.STOP:
            write(bytes((crsh.OK,)))
            return True
        if kind == crsh.INFO:
            write(bytes((len(IDENTITY),)) + IDENTITY + b"\0")
            return True
        if kind not in (crsh.GET, crsh.PUT, crsh.REMOVE):
            return False
        key, value, overwrite = words.text(), b"", False
        if kind == crsh.PUT:
            overwrite = bool(words.exactly(1)[0] & 1)
            size = int.from_bytes(words.exactly(8), sys.byteorder)
            if size > LARGEST:
                return False
            value = words.exactly(size)
        try:
            write(self._done(kind, key, value, overwrite))
        except (StorageFailed, ConfigError) as problem:
            if isinstance(problem, StorageFailed):
                self._place.breaker.trip(problem)
            said = str(problem).encode("utf-8", "replace")[:255]
            write(bytes((crsh.ERR, len(said))) + said)
        return True

    def _done(self, kind: int, key: bytes, value: bytes, overwrite: bool) -> bytes:
        failure = self._place.breaker.failure(writing=kind == crsh.PUT)
        if failure is not None:
            raise failure
        backend, signing = self._place.backend, self._storage.signing
        if kind == crsh.GET:
            found = backend.get(key, _unsaid)
            opened = None if found is None else self._storage.opened(CCACHES + key, found)
            if opened is None:
                return bytes((crsh.NOOP,))
            return bytes((crsh.OK,)) + len(opened).to_bytes(8, sys.byteorder) + opened
        if signing is not None and not signing.writes:
            return bytes((crsh.NOOP,))
        if kind == crsh.PUT:
            sent = value if signing is None else signing.sign(CCACHES + key, value)
            done = backend.put(key, sent, _unsaid, overwrite=overwrite)
        else:
            done = backend.remove(key, _unsaid)
        return bytes((crsh.OK if done else crsh.NOOP,))


class _Words:
    """Bytes of a request. Raises EOFError."""

    def __init__(self, read: _Read) -> None:
        self._read = read

    def exactly(self, size: int) -> bytes:
        data = self._read(size)
        if len(data) != size:
            raise EOFError
        return data

    def text(self) -> bytes:
        return self.exactly(self.exactly(1)[0])


def _unsaid(_: str) -> None:
    pass


def _number(variables: Mapping[bytes, bytes], name: bytes, default: int) -> int:
    text = variables.get(name, b"")
    return int(text) if text.isdigit() and len(text) < 10 else default
