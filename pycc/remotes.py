"""The remote storages that the calls of one server have named, open until it ends."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from .lifecycle import program_path
from .locate import DEFAULT_PATH
from .pattern import pattern
from .unfinished import PATIENCE_SECONDS

if TYPE_CHECKING:
    from .cache.remote_storage import Remotes
    from .config import Config
    from .frame import Request

_RELATIVE = pattern(r"(?:crsh:|sign-key=|trusted-keys=)[^/]|helper=[^/\s|]+/")
"""The name of a file that depends on the directory of the call."""
MOST_SETTINGS = 20
CLOSE_SECONDS = 10.0


class RemoteTiers:
    """The remote storages of one server, by the settings that name them. For several threads."""

    def __init__(self) -> None:
        self._remotes: dict[object, Remotes] = {}
        self._lock = threading.Lock()

    def of(
        self,
        config: Config,
        variables: Mapping[bytes, bytes],
        request: Request,
        say: Callable[[str], None],
        *,
        stays: bool,
    ) -> Remotes:
        """Those of this call; ``stays`` as `Surroundings` has it. Raises ConfigError."""
        from .cache.remote_making import Surroundings, open_remotes  # most have none

        umask = request.umask if config.umask is None else config.umask
        path = os.fsdecode(variables.get(b"PATH", DEFAULT_PATH))
        here = os.path.dirname(os.fsdecode(program_path()))
        around = Surroundings(
            os.fsdecode(request.cwd),
            variables,
            (*config.libexec_dirs, here, *path.split(":")),
            umask,
            stays,
        )
        text = config.remote_storage
        key = (
            text,
            around.search,
            umask if "file:" in text else None,
            tuple(sorted(v for v in variables.items() if v[0][:4] == b"AWS_"))
            if "s3:" in text
            else None,
            request.cwd if _RELATIVE.search(text) else b"",
        )
        with self._lock:
            remotes = self._remotes.pop(key, None)
            if remotes is None:
                remotes = open_remotes(text, around, _warn, say)
                if len(self._remotes) >= MOST_SETTINGS:
                    oldest = self._remotes.pop(next(iter(self._remotes)))
                    threading.Thread(
                        target=oldest.close, args=(CLOSE_SECONDS,), daemon=True
                    ).start()
            self._remotes[key] = remotes  # the one used last is the last to go
            return remotes

    def status_text(self) -> str:
        """A line for each URL: whether it is asked, and why not."""
        places = (place for remotes in list(self._remotes.values()) for place in remotes.places)
        return "".join(
            f"remote storage      {place.shown}: {place.breaker.failure() or 'in use'}\n"
            for place in places
        )

    def written(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until what waits now is written, for at most ``seconds``."""
        deadline = time.monotonic() + seconds
        for remotes in list(self._remotes.values()):
            remotes.written(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        """Write what waits and let go of everything."""
        deadline = time.monotonic() + CLOSE_SECONDS
        for remotes in list(self._remotes.values()):
            remotes.close(max(0.0, deadline - time.monotonic()))


def _warn(text: str) -> None:
    """To the server's own log."""
    print(f"[{time.strftime('%Y-%m-%d %H:%M:%S')}] {text}", file=sys.stderr, flush=True)
