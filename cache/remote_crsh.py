"""Remote storage behind a program: ccache's storage helpers, and what speaks their protocol.

    <greeting> ::= 0x01 <number:u8> { <capability:u8> }     0 get, put, remove; 1 info; 2 exists
    <get>      ::= 0x00 <key>                           →  ok <value> | noop | err
    <put>      ::= 0x01 <key> <flags:u8> <value>        →  ok | noop | err      flag 1: overwrite
    <remove>   ::= 0x02 <key>                           →  ok | noop | err
    <stop>     ::= 0x03                                 →  ok
    <info>     ::= 0x04                                 →  <text> <number:u8> { <text> }
    <exists>   ::= 0x05 <key>                           →  ok <bool:u8> | err
    <key>      ::= <length:u8> bytes ; <value> ::= <length:u64> bytes ; <text> ::= <length:u8> bytes
    <ok> ::= 0x00 ; <noop> ::= 0x01 ; <err> ::= 0x02 <text>      u64 in this machine's byte order

(doc/remote_storage_helper_spec.md of ccache e5731387.) The program is started when nobody listens
on its socket; it ends by itself when it was idle for a while, and serves every process that names
the same URL and attributes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol, TypeVar

from ..blake import blake2b
from .remote_backend import LARGEST, Say, StorageFailed, StorageRefused
from .remote_settings import DATA_TIMEOUT, IDLE_TIMEOUT, REQUEST_TIMEOUT, StorageSettings
from .remote_stream import GIVEN_UP, Connections, Peer, Stream, text_of
from .remote_url import Url
from .shared_files import locked

T = TypeVar("T")

VERSION: Final = 1
GET, PUT, REMOVE, STOP, INFO, EXISTS = range(6)
OK, NOOP, ERR = range(3)
CAN_STORE, CAN_INFORM, CAN_ASK = range(3)
START_SECONDS: Final = 10.0
STUCK_SECONDS: Final = 60.0
"""After which a program of ours that does not listen is ended."""
STEP_SECONDS: Final = 0.005


class SaidNo(StorageFailed):
    """The program's own words."""


class Reader(Protocol):
    """Raises EOFError where the other end closes too early."""

    def exactly(self, size: int) -> bytes: ...


def read_greeting(stream: Reader) -> bytes:
    """The capabilities. Raises ValueError, EOFError."""
    version, number = stream.exactly(2)
    if version != VERSION:
        raise ValueError(f"Unsupported protocol version: {version}")
    capabilities = stream.exactly(number)
    if CAN_STORE not in capabilities:
        raise ValueError("Storage helper cannot get, put and remove")
    return capabilities


def request(kind: int, key: bytes) -> bytes:
    """A request about one entry, up to its flags. Raises ValueError."""
    if len(key) > 255:
        raise ValueError("Key too long (max 255 bytes)")
    return bytes((kind, len(key))) + key


def put_request(key: bytes, size: int, *, overwrite: bool) -> bytes:
    """What goes before a value of ``size`` bytes."""
    return request(PUT, key) + bytes((overwrite,)) + size.to_bytes(8, sys.byteorder)


def read_status(stream: Reader) -> bool:
    """True for ok, False for noop. Raises StorageFailed with the program's words, ValueError."""
    (status,) = stream.exactly(1)
    if status == ERR:
        (length,) = stream.exactly(1)
        raise SaidNo(text_of([stream.exactly(length)]))
    if status not in (OK, NOOP):
        raise ValueError(f"Invalid status code: {status}")
    return bool(status == OK)


def read_value(stream: Reader, most: int = LARGEST) -> bytes | None:
    """The answer to GET. Raises StorageFailed, ValueError, EOFError."""
    if not read_status(stream):
        return None
    size = int.from_bytes(stream.exactly(8), sys.byteorder)
    if size > most:
        raise ValueError(f"an entry of {size} bytes")
    return stream.exactly(size)


class CrshBackend:
    """See Backend. ``program`` is started for ``environment`` where nobody answers at
    ``endpoint``; without one it is left at that."""

    def __init__(
        self,
        settings: StorageSettings,
        endpoint: str,
        program: str = "",
        environment: Mapping[bytes, bytes] | None = None,
    ) -> None:
        data = DATA_TIMEOUT if settings.data_timeout is None else settings.data_timeout
        whole = REQUEST_TIMEOUT if settings.request_timeout is None else settings.request_timeout
        self._peer = Peer("", 0, endpoint, data, data, whole)
        self._program = program
        self._environment = environment or {}
        self._start_seconds = max(START_SECONDS, data)
        self._capabilities = b""
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._given_up = 0  # how many times
        self._connections = Connections(self._peer, self._greet, self._connect)

    def _greet(self, stream: Stream) -> None:
        self._capabilities = read_greeting(stream)

    def _connect(self) -> Stream:
        given_up = self._given_up
        try:
            return self._peer.connect()
        except StorageFailed:
            if not self._program:
                raise
        with locked(f"{self._peer.path}.lock", None, self._start_seconds) as held:
            if not held:
                raise StorageFailed("Failed to acquire spawn lock", timeout=True)
            with suppress(StorageFailed):  # somebody else may have started it meanwhile
                return self._peer.connect()
            return self._started(given_up)

    def _started(self, given_up: int) -> Stream:
        process = self._process
        # One that is slow is not started again and again, and one that is stuck is not left behind.
        slow = process is not None and process.returncode is None
        if slow and time.monotonic() - self._began > STUCK_SECONDS:
            process.kill()  # type: ignore[union-attr]
            slow = False
        if process is None or not slow:
            process = self._start()
        deadline = time.monotonic() + self._start_seconds
        while True:
            try:
                return self._peer.connect()
            except StorageFailed as problem:
                if process.returncode is not None:
                    raise StorageFailed(
                        f"{self._program} ended with status {process.returncode}"
                    ) from problem
                if self._given_up != given_up:
                    raise StorageFailed(GIVEN_UP, timeout=True) from None
                if time.monotonic() > deadline:
                    raise StorageFailed(f"{self._program} does not listen", timeout=True) from None
            time.sleep(STEP_SECONDS)

    def _start(self) -> subprocess.Popen[bytes]:
        with suppress(OSError):
            os.unlink(self._peer.path)  # one that was killed could not
        try:
            process = subprocess.Popen(
                [self._program],
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                umask=0o077,
            )
        except OSError as problem:
            raise StorageFailed(f"Failed to spawn helper: {problem.strerror}") from problem
        threading.Thread(target=process.wait, daemon=True).start()
        self._process, self._began = process, time.monotonic()
        return process

    def get(self, key: bytes, say: Say) -> bytes | None:
        def exchange(stream: Stream) -> tuple[bytes | None, bool]:
            stream.send(request(GET, key))
            return read_value(stream), True

        return self._asked("get", exchange)

    def put(self, key: bytes, value: bytes, say: Say, *, overwrite: bool) -> bool:
        def ask(stream: Stream) -> tuple[bool, bool]:
            stream.send(request(EXISTS, key))
            there = read_status(stream) and stream.exactly(1) != b"\0"
            return there, True

        def store(stream: Stream) -> tuple[bool, bool]:
            stream.send(put_request(key, len(value), overwrite=overwrite), value)
            return read_status(stream), True

        if not overwrite and CAN_ASK in self._capabilities and self._asked("exists", ask):
            return False
        try:
            return self._asked("put", store)
        except SaidNo as problem:
            raise StorageRefused(str(problem)) from problem

    def remove(self, key: bytes, say: Say) -> bool:
        def exchange(stream: Stream) -> tuple[bool, bool]:
            stream.send(request(REMOVE, key))
            return read_status(stream), True

        return self._asked("remove", exchange)

    def give_up(self) -> None:
        self._given_up += 1
        self._connections.give_up()

    def stop(self) -> bool:
        try:
            stream = self._peer.connect()
        except StorageFailed:
            return False
        try:
            stream.begin(self._start_seconds)
            read_greeting(stream)
            stream.send(bytes((STOP,)))
            with suppress(EOFError, ValueError):  # it may close before it answers
                read_status(stream)
        except (EOFError, ValueError) as problem:
            raise StorageFailed(str(problem)) from problem
        finally:
            stream.close()
        self.close()
        return True

    def close(self) -> None:
        self._connections.close()

    def _asked(self, what: str, exchange: Callable[[Stream], tuple[T, bool]]) -> T:
        try:
            return self._connections.ask(exchange)
        except SaidNo as problem:
            raise SaidNo(f"Remote storage {what} failed: {problem}") from problem
        except StorageFailed as problem:
            text = f"Remote storage {what} failed: {problem}"
            raise StorageFailed(text, timeout=problem.timeout) from problem


def endpoint_name(url: Url, attributes: object) -> str:
    """A name for the socket of the program that serves this user, URL and these attributes."""
    text = repr((os.getuid(), str(url), attributes)).encode("utf-8", "surrogateescape")
    return f"storage-{url.scheme}-{blake2b(text, digest_size=16).hexdigest()}"


def endpoint_directory(variables: Mapping[bytes, bytes]) -> str:
    """Where sockets of such programs lie: private to the user, with a short path.

    Raises StorageFailed."""
    runtime = variables.get(b"XDG_RUNTIME_DIR", b"")
    if runtime and os.access(runtime, os.W_OK | os.X_OK):
        path = f"{os.fsdecode(runtime)}/ccache-tmp"
    else:
        # Not below TMPDIR, which may be too long for a socket.
        path = f"/tmp/ccache-tmp-{os.getuid()}"  # noqa: S108
    try:
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        found = os.lstat(path)
    except OSError as problem:
        raise StorageFailed(f"{path}: {problem.strerror}") from problem
    private = found.st_mode & 0o170077 == 0o040000
    if not private or found.st_uid != os.getuid():
        raise StorageFailed(f"{path} is not a private directory of this user")
    return path


def environment_for(
    variables: Mapping[bytes, bytes], url: Url, endpoint: str, settings: StorageSettings
) -> dict[bytes, bytes]:
    """What the program is started with."""
    kept = {name: value for name, value in variables.items() if not name.startswith(b"CRSH_")}
    idle = IDLE_TIMEOUT if settings.idle_timeout is None else settings.idle_timeout
    told = {
        "CRSH_IPC_ENDPOINT": endpoint,
        "CRSH_URL": str(url),
        "CRSH_IDLE_TIMEOUT": str(int(idle)),
        "CRSH_NUM_ATTR": str(len(settings.attributes)),
    }
    for number, (key, value) in enumerate(settings.attributes):
        told[f"CRSH_ATTR_KEY_{number}"] = key
        told[f"CRSH_ATTR_VALUE_{number}"] = value
    return {**kept, **{os.fsencode(name): os.fsencode(value) for name, value in told.items()}}
