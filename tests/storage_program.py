"""A storage program as doc/remote_storage_helper_spec.md of ccache has it, in memory.

Runs as ``ccache-storage-…``; CRSH_ATTR_VALUE_0 names a file that tells what it was asked."""

import os
import socket
import sys
import threading

ENTRIES: dict[bytes, bytes] = {}
LOG = os.environ.get("CRSH_ATTR_VALUE_0", "/dev/null")


def note(word: str) -> None:
    with open(LOG, "a") as file:
        file.write(f"{word}\n")


def serve(connection: socket.socket) -> None:
    with connection, connection.makefile("rwb") as file:

        def key() -> bytes:
            return file.read(file.read(1)[0])

        file.write(b"\1\3\0\1\2")
        file.flush()
        while kind := file.read(1):
            match kind[0]:
                case 0:
                    found = ENTRIES.get(key())
                    note("get")
                    if found is None:
                        file.write(b"\1")
                    else:
                        file.write(b"\0" + len(found).to_bytes(8, sys.byteorder) + found)
                case 1:
                    name, _flags = key(), file.read(1)
                    ENTRIES[name] = file.read(int.from_bytes(file.read(8), sys.byteorder))
                    note("put")
                    file.write(b"\2\4full" if os.path.exists(f"{LOG}.full") else b"\0")
                case 2:
                    file.write(b"\1" if ENTRIES.pop(key(), None) is None else b"\0")
                case 3:
                    note("stop")
                    os._exit(0)
                case 5:
                    file.write(b"\0\1" if key() in ENTRIES else b"\0\0")
                case _:
                    return
            file.flush()


def main() -> None:
    assert os.environ["CRSH_IDLE_TIMEOUT"] == "600"
    note(f"start {os.environ['CRSH_URL']}")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.environ["CRSH_IPC_ENDPOINT"])
    listener.listen()
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


if __name__ == "__main__":
    main()
