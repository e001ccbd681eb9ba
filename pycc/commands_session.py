"""One maintenance command line being carried out, and what its commands ask for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import config
from .cache import cleanup, statistics_text
from .cache.directory import CacheDirectory
from .config_access import home_directory
from .frame import Op, Request
from .talk import Talk

if TYPE_CHECKING:
    from .resident import Resident

PATIENCE_MS = 600_000


@dataclass(slots=True)
class Session:
    """One command line being carried out."""

    request: Request
    talk: Talk
    resident: Resident
    name: str
    verbosity: int = 0
    json: bool = False
    dry_run: bool = False
    config_path: str = ""
    directory: str = ""
    namespace: str | None = None
    rest: Sequence[str] = ()
    trim_size: config.Size | None = None
    trim_by_mtime: bool = False
    trim_recompress: str = ""
    ops: list[Op] = field(default_factory=list)

    def go_on(self) -> None:
        """The launcher waits as long as it takes."""
        self.talk.wait(PATIENCE_MS)

    def path(self, name: str) -> str:
        """``name`` as seen from the caller's directory."""
        return os.path.join(os.fsdecode(self.request.cwd), name)

    def variables(self) -> dict[bytes, bytes]:
        found = dict(self.resident.environment(self.request.environment_block).variables)
        if self.directory:
            found[b"CCACHE_DIR"] = os.fsencode(self.directory)
            found.pop(b"CCACHE_CONFIGPATH", None)
        if self.config_path:
            found[b"CCACHE_CONFIGPATH"] = os.fsencode(self.config_path)
        return found

    def settings(self) -> config.Config:
        """The configuration as it is now; commands before this one may have changed it."""
        return config.load(self.variables(), self.request.cwd, home=home_directory())

    def cache(self) -> CacheDirectory:
        cache = self.resident.cache(self.settings())
        self.resident.drain(cache.root)
        return cache

    def counters(self) -> tuple[dict[str, int], config.Config]:
        settings = self.settings()
        cache = self.cache()
        self.resident.read_fallbacks(cache)
        cleanup.account(cache.storage, cache.statistics)
        counters = statistics_text.with_contents(
            cache.statistics.read(),
            cache.storage.totals(),
            settings.max_size,
            settings.max_files,
        )
        return counters, settings
