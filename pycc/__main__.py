"""The ways in: ``pycc-server --serve SOCKET [IDLE_SECONDS]`` (resident), ``--once ARGV…`` (in
process) and ``--monitor [SECONDS]``."""

from __future__ import annotations

import gc
import os
import sys
import threading

GARBAGE = 10_000
"""Objects between two collections: a miss makes thousands, and hardly a cycle."""


def server() -> None:
    """Entry point of the ``pycc-server`` program, which the launcher runs."""
    gc.disable()  # loading makes many objects and no garbage
    arguments = sys.argv[1:]
    if len(arguments) in (2, 3) and arguments[0] == "--serve":
        _serve(arguments[1], *map(float, arguments[2:]))
    elif arguments and arguments[0] == "--once":
        from .execute import once

        once([os.fsencode(word) for word in arguments[1:]])
    elif arguments and arguments[0] == "--monitor":
        from .monitor import run

        sys.exit(run(arguments[1:], os.environ))
    else:
        print(
            "pycc-server is started by pycc; to compile, put pycc's links first on PATH"
            " (pycc --install-links), or run: pycc gcc -c file.c",
            file=sys.stderr,
        )
        sys.exit(2)


def _serve(socket_path: str, idle: float | None = None) -> None:
    from . import native
    from .lifecycle import Place, listener_from, program_path
    from .resident import Resident, raise_descriptor_limit
    from .server import IDLE_SECONDS, Server

    native.load()
    raise_descriptor_limit()
    place = Place(socket_path)
    place.settle(program_path())
    sys.setswitchinterval(0.0005)
    gc.freeze()
    gc.set_threshold(GARBAGE, 20, 50)
    gc.enable()
    resident = Resident(place)
    threading.Thread(target=_load_the_rest, daemon=True).start()
    try:
        Server(
            listener_from(3),
            resident,
            unlink=place.unlink,
            still_ours=place.still_ours,
            idle=IDLE_SECONDS if idle is None else idle,
        ).serve()
    finally:
        place.unlink()
        place.clear()


def _load_the_rest() -> None:
    """What a hit does not need, before an upgrade takes it away from under a running server."""
    from . import commands, commands_entries, distcc_command, miss, pump, tiers, trimming
    from .cache import disk_cache, remote_crsh, remote_file, remote_http, remote_redis, remote_s3
    from .remote import mdns, register

    del commands, commands_entries, disk_cache, distcc_command, mdns, miss, pump, register, tiers
    del remote_crsh, remote_file, remote_http, remote_redis, remote_s3, trimming


if __name__ == "__main__":
    server()
