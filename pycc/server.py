"""The resident server: accepts launchers, answers hits inline, hands the rest to threads.

One selectors loop owns the listening socket. A launcher sends its whole request at once, so the
loop usually has it with one recv; an answer that needs nothing but memory, stats and the store is
sent at once on the same thread. Whatever has to wait (the compiler runs, a large file is hashed,
a lock is held) raises NotHere on the loop and is done again, or gone on with, on a thread of its
own, over the same socket made blocking: compile.py has no side effects before its first question.

A request that raises is logged, counted and answered with FALLBACK: the launcher runs the user's
command line as if we did not exist. This is the one place where every exception is caught.

Leaving must never be felt. To leave, the server removes the socket's name under the lock that
starters take, accepts what had queued up before that, finishes what runs, flushes statistics and
ends. A launcher that connected in between sees its connection closed and starts another server.
"""

from __future__ import annotations

import os
import queue
import select
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

from .frame import (
    HEADER,
    Fallback,
    FrameError,
    Op,
    Request,
    frame_length,
    read_request,
    reply_parts,
    write_reply,
)
from .ready import Ready
from .sharing import Large, Slot, Slots
from .talk import Gone, LoopTalk, NotHere, SocketTalk, Talk

IDLE_SECONDS = 600.0
STEP_SECONDS = 1.0
"""How often the loop looks at itself: counters to write, silent launchers, reasons to leave."""
REQUEST_SECONDS = 5.0
"""A launcher that has connected but does not send is dropped after this."""
INSTANT_MS = 1
"""So long the loop itself waits for a launcher that has connected."""
MAX_THREADS = 512
IDLE_THREAD_SECONDS = 5.0
SEND_SPACE = 160 << 10  # bytes that every system's socket takes at once


class Handler(Protocol):
    """What the server serves (resident.Resident; a fake in tests)."""

    def answer(self, request: Request, talk: Talk) -> Sequence[Op]: ...
    def quick(
        self, frame: bytes, room: Callable[[int], memoryview | None]
    ) -> bytes | Sequence[bytes] | Ready | Large | None: ...
    def failed(self, request: Request | None, problem: BaseException) -> None: ...
    def tick(self, now: float) -> None: ...
    def should_leave(self) -> bool: ...
    def close(self) -> None: ...


class _Incoming:
    __slots__ = ("connection", "data", "deadline", "pid")

    def __init__(self, connection: socket.socket, pid: int, deadline: float) -> None:
        self.connection = connection
        self.pid = pid
        self.data = bytearray()
        self.deadline = deadline


def _peer(connection: socket.socket) -> tuple[int, int]:
    """(process id, user id) of the client."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, uid, _ = struct.unpack("3i", credentials)
    return pid, uid


def _comes_at_once(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(INSTANT_MS))


class Server:
    """``serve`` runs until idle for ``idle`` seconds or told to leave.

    ``unlink`` takes the socket's name away (under the starters' lock); ``still_ours`` says
    whether the name still leads to this server.
    """

    def __init__(
        self,
        listener: socket.socket,
        handler: Handler,
        *,
        unlink: Callable[[], None],
        still_ours: Callable[[], bool],
        idle: float = IDLE_SECONDS,
    ) -> None:
        self._listener = listener
        self._handler = handler
        self._unlink = unlink
        self._still_ours = still_ours
        self._idle = idle
        self._selector = selectors.DefaultSelector()
        self._incoming: dict[int, _Incoming] = {}
        self._threads = 0
        self._idle_threads = 0
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._threads_lock = threading.Lock()
        self._last_use = time.monotonic()
        self._loop_talk = LoopTalk()
        self._slots = Slots()

    def serve(self) -> None:
        """Answer until there is nobody left to answer."""
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        next_tick = time.monotonic() + STEP_SECONDS
        while True:
            self._step(STEP_SECONDS)
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + STEP_SECONDS
                self._drop_silent(now)
                self._slots.sweep()
                self._handler.tick(now)
                idle = now - self._last_use > self._idle and not self._threads
                if idle or self._handler.should_leave() or not self._still_ours():
                    break
        self._leave()

    def _leave(self) -> None:
        self._unlink()
        self._step(0.0)
        self._selector.unregister(self._listener)
        self._listener.close()
        deadline = time.monotonic() + 24 * 3600
        while (self._threads or self._incoming) and time.monotonic() < deadline:
            self._step(0.2)
            self._drop_silent(time.monotonic())
        self._handler.close()

    def _step(self, timeout: float) -> None:
        for key, _ in self._selector.select(timeout):
            if key.data is None:
                self._accept()
            else:
                self._more(key.data)

    def _accept(self) -> None:
        for number in range(64):
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptor to be had: the connection waits, and so do we
                time.sleep(0.01)
                return
            self._last_use = time.monotonic()
            connection.setblocking(False)
            pid, uid = _peer(connection)
            if uid != os.getuid():
                connection.close()
                continue
            incoming = _Incoming(connection, pid, self._last_use + REQUEST_SECONDS)
            # A request that is on its way is awaited here, which is cheaper than to be woken again.
            done = self._read(incoming)
            if not done and not number and _comes_at_once(connection):
                done = self._read(incoming)
            if not done:
                self._incoming[connection.fileno()] = incoming
                self._selector.register(connection, selectors.EVENT_READ, incoming)

    def _more(self, incoming: _Incoming) -> None:
        fd = incoming.connection.fileno()
        self._selector.unregister(incoming.connection)
        if self._read(incoming):
            del self._incoming[fd]
        else:
            self._selector.register(incoming.connection, selectors.EVENT_READ, incoming)

    def _read(self, incoming: _Incoming) -> bool:
        """True when this connection needs no more reading: answered, handed on, or closed."""
        connection = incoming.connection
        try:
            data = connection.recv(1 << 18)
        except BlockingIOError:
            return False
        except OSError:
            connection.close()
            return True
        if not data:
            connection.close()
            return True
        frame = incoming.data
        frame += data
        if len(frame) < HEADER.size:
            return False
        try:
            length = frame_length(frame)
            if len(frame) < length:
                return False
            reply = self._quick(bytes(frame))
            slot = self._slots.taken()
            if isinstance(reply, Ready):
                self._send_along(connection, reply.parts, reply.fd)
                connection.close()
            elif isinstance(reply, Large) and self._threads < MAX_THREADS:
                slot = self._slots.lend(reply.size)
                what = (reply, slot, bytes(frame), incoming.pid)
                if not self._start(self._send_large, connection, *what) and slot is not None:
                    slot.lent = False
            elif reply is not None and not isinstance(reply, Large):
                if slot is None:
                    self._send(connection, reply)
                elif self._send_along(connection, reply, slot.fd):
                    slot.reader = connection
                else:
                    connection.close()
            else:
                self._answer(connection, read_request(bytes(frame), incoming.pid))
        except FrameError as problem:
            self._handler.failed(None, problem)
            connection.close()
        return True

    def _quick(self, frame: bytes) -> bytes | Sequence[bytes] | Ready | Large | None:
        try:
            return self._handler.quick(frame, self._slots.take)
        except Exception as problem:
            self._handler.failed(None, problem)
            return None

    def _answer(self, connection: socket.socket, request: Request) -> None:
        try:
            reply: Sequence[bytes] = reply_parts(self._handler.answer(request, self._loop_talk))
        except NotHere as elsewhere:
            self._hand_on(connection, request, elsewhere.go_on)
            return
        except Exception as problem:
            self._handler.failed(request, problem)
            reply = reply_parts([Fallback()])
        self._send(connection, reply)

    def _send(self, connection: socket.socket, reply: bytes | Sequence[bytes]) -> None:
        parts = (reply,) if isinstance(reply, bytes) else reply
        size = sum(map(len, parts))
        try:
            if size > SEND_SPACE:
                # As much as the system allows: to go on in a thread costs 0.2 ms.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
            sent = connection.sendmsg(parts)
        except BlockingIOError:
            sent = 0
        except OSError:
            connection.close()
            return
        if sent == size:
            connection.close()
        else:
            self._start(self._send_rest, connection, b"".join(parts)[sent:])

    def _send_along(
        self, connection: socket.socket, reply: bytes | Sequence[bytes], fd: int
    ) -> bool:
        """Send a reply with a descriptor; False if it does not go at once, and then the launcher
        runs the compiler."""
        parts = (reply,) if isinstance(reply, bytes) else reply
        size = sum(map(len, parts))
        rights = struct.pack("i", fd)
        try:
            if size > SEND_SPACE:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
            return (
                connection.sendmsg(parts, [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]) == size
            )
        except OSError:
            return False

    def _send_large(
        self, connection: socket.socket, large: Large, slot: Slot | None, frame: bytes, pid: int
    ) -> None:
        made: Sequence[bytes] | Ready | None = None
        try:
            made = large.make(lambda size: None if slot is None else slot.memory[:size])
        except Exception as problem:
            self._handler.failed(None, problem)
        if slot is not None and (made is None or isinstance(made, Ready)):
            slot.lent = False
        if made is None:
            self._converse(connection, read_request(frame, pid), None)
        elif isinstance(made, Ready):
            self._send_with(connection, made.parts, made.fd)
            self._done(connection)
        elif slot is None:
            self._send_rest(connection, b"".join(made))
        else:
            sent = self._send_with(connection, made, slot.fd)
            slot.reader = connection if sent else None
            slot.lent = False
            if sent:
                self._ended()
            else:
                self._done(connection)

    def _send_with(self, connection: socket.socket, parts: Sequence[bytes], fd: int) -> bool:
        """Send a reply with a descriptor; may wait."""
        rights = struct.pack("i", fd)
        try:
            connection.settimeout(10.0)
            sent = connection.sendmsg(parts, [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            connection.sendall(b"".join(parts)[sent:])
            connection.setblocking(False)
        except OSError:
            return False
        return True

    def _hand_on(
        self,
        connection: socket.socket,
        request: Request,
        go_on: Callable[[Talk], Sequence[Op]] | None,
    ) -> None:
        if self._threads < MAX_THREADS:
            self._start(self._converse, connection, request, go_on)
            return
        with suppress(OSError):
            connection.send(write_reply([Fallback()]))
        connection.close()

    def _start(self, target: Callable[..., None], connection: socket.socket, *what: object) -> bool:
        """False when no thread could be had; the connection is closed then."""
        work = partial(target, connection, *what)
        with self._threads_lock:
            self._threads += 1
            ready = self._idle_threads > 0
            self._idle_threads -= ready
        if ready:
            self._work.put(work)
            return True
        try:
            threading.Thread(target=self._work_on, args=(work,), daemon=True).start()
        except RuntimeError:  # no more threads to be had
            with self._threads_lock:
                self._threads -= 1
            connection.close()
            return False
        return True

    def _work_on(self, work: Callable[[], None]) -> None:
        """A thread's life; it waits for more work, because threads are slow to start."""
        while True:
            work()
            with self._threads_lock:
                self._idle_threads += 1
            while True:
                try:
                    work = self._work.get(timeout=IDLE_THREAD_SECONDS)
                    break
                except queue.Empty:
                    with self._threads_lock:
                        if self._idle_threads:  # else there is work that counts on this thread
                            self._idle_threads -= 1
                            return

    def _done(self, connection: socket.socket) -> None:
        connection.close()
        self._ended()

    def _ended(self) -> None:
        with self._threads_lock:
            self._threads -= 1
        self._last_use = time.monotonic()

    def _send_rest(self, connection: socket.socket, data: bytes) -> None:
        try:
            connection.settimeout(10.0)
            connection.sendall(data)
        except OSError:
            pass
        finally:
            self._done(connection)

    def _converse(
        self,
        connection: socket.socket,
        request: Request,
        go_on: Callable[[Talk], Sequence[Op]] | None,
    ) -> None:
        talk = SocketTalk(connection)
        try:
            connection.settimeout(10.0)
            try:
                ops = self._handler.answer(request, talk) if go_on is None else go_on(talk)
                reply = write_reply(ops)
            except Gone:
                return
            except Exception as problem:
                self._handler.failed(request, problem)
                reply = write_reply([Fallback()])
            if talk.released:
                return
            connection.settimeout(10.0)
            connection.sendall(reply)
        except OSError:
            pass
        finally:
            self._done(connection)

    def _drop_silent(self, now: float) -> None:
        for fd, incoming in list(self._incoming.items()):
            if now > incoming.deadline:
                self._selector.unregister(incoming.connection)
                incoming.connection.close()
                del self._incoming[fd]
