"""A stock server for the compile fuzzer, which gets jobs of pump mode alone.

What a stock server makes of preprocessed text is not what the compiler makes of the source, so a
gate in front of it hangs up on everything else, and the wrapper compiles that itself. Two things
are another there and are accounted for: the directory of the compile in debug information, which
goes by another name of the same place, and the quotation marks of the server's locale.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.daemon_kit import daemon

PUMP = b"DIST00000003"
_DIRECTORY = re.compile(rb"\A/{2,}(?=[^/])")
_COMPRESSED_DEBUG = (b".debug_", b".rela.debug_")
_NAMES = (b".debug_str", b".debug_line_str")


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _serve(client: socket.socket, port: int) -> None:
    with client, suppress(OSError):
        head = client.recv(len(PUMP), socket.MSG_WAITALL)
        if head != PUMP:
            return
        with socket.create_connection(("127.0.0.1", port)) as server:
            server.sendall(head)
            thread = threading.Thread(target=_pass_on, args=(client, server))
            thread.start()
            _pass_on(server, client)
            thread.join()


@contextmanager
def pump_server() -> Iterator[dict[str, str]]:
    """Variables for a client."""
    with daemon("distccd", LC_ALL="C") as stock, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=_serve, args=(client, stock.port), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        port = listener.getsockname()[1]
        yield {
            "DISTCC_HOSTS": f"127.0.0.1:{port}/8,cpp,lzo",
            "DISTCC_BACKOFF_PERIOD": "0",
            "DISTCC_LOG": "/dev/null",
        }
        listener.shutdown(socket.SHUT_RDWR)


def accounted_messages(text: bytes) -> bytes:
    """Messages with the quotation marks of the C locale."""
    return text.replace(b"\xe2\x80\x98", b"'").replace(b"\xe2\x80\x99", b"'")


def accounted(content: bytes) -> bytes:
    """What is compared of a file: of an object with debug information all other sections, and the
    names in the debug information."""
    if content[:6] != b"\x7fELF\x02\x01" or b".debug_" not in content:
        return content
    (table,) = struct.unpack_from("<Q", content, 40)
    size, count, names = struct.unpack_from("<HHH", content, 58)
    (strings,) = struct.unpack_from("<Q", content, table + size * names + 24)
    parts: list[bytes] = []
    for number in range(count):
        at = table + size * number
        name, kind, flags, _, start, length = struct.unpack_from("<IIQQQQ", content, at)
        title = content[strings + name : content.index(b"\0", strings + name)]
        body = content[start : start + length] if kind != 8 else b"%d" % length
        if title in _NAMES:
            found = {_DIRECTORY.sub(b"/", one) for one in body.split(b"\0")}
            body = b"\0".join(sorted(found))
        elif title.startswith(_COMPRESSED_DEBUG):
            body = b""
        parts.append(b"%s %d %d\n%s\n" % (title, kind, flags, body))
    return b"".join(parts)
