"""From a launcher's request to a call: whose configuration, which compiler, which words.

A call also collects what it will leave behind (counters, log lines, debug files). Nothing of that
happens before ``commit``, so a call that cannot be answered on the loop's thread is simply begun
again on another one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from . import native
from .cache.digest import SETTLED_NS, file_clock
from .config import Config, load, parse_overrides
from .config_access import home_directory
from .distribution import means_us
from .errors import ConfigError, Fatal
from .frame import Exec, Exit, Op, Out, Request
from .locate import DEFAULT_PATH, Located, is_launcher, locate
from .log import NO_LOG, Log, open_log
from .outcome import Outcome
from .record import made, mutable

if TYPE_CHECKING:
    from .cache.directory import CacheDirectory
    from .debug import DebugFiles
    from .memos import Environment
    from .resident import Resident

RECURSION_GUARD = b"CCACHE_DISABLE=1"
"""For whatever the compiler runs: a ccache inside a wrapper script must not cache once more."""

OWN_WORDS = b"--ccache-"
COULD_NOT_FIND = 1


@mutable
class Call:
    """One compile. The fields before ``tally`` never change."""

    request: Request
    environment: Environment
    config: Config
    driver: bytes
    """Basename under which the compiler was called; it decides the language of clang and g++."""
    compiler: bytes
    """Absolute path of the real compiler."""
    physical: bytes
    """The same behind all links, when it was last found."""
    named: bytes
    """The compiler as the user named it, if by a path, else as it was found."""
    words: tuple[bytes, ...]
    """The user's arguments after the compiler's name, untouched."""
    prefix: tuple[bytes, ...]
    records: list[bytes]
    """Witnesses of everything above."""
    cache: CacheDirectory
    log: Log
    behind: tuple[bytes, ...] = ()
    """The wrappers that PATH names before the compiler, as `Located.skipped` has them."""
    dispatches: bool = False
    """Whether prefix_command means our own dispatcher."""
    debug: DebugFiles | None = None
    tally: list[Outcome] = made(factory=list)
    extra: dict[str, int] = made(factory=dict)
    source: bytes = b""

    @property
    def variables(self) -> dict[bytes, bytes]:
        return self.environment.variables

    @property
    def cwd(self) -> bytes:
        return self.request.cwd

    @property
    def real_name(self) -> bytes:
        """What the compiler's file itself is called."""
        return os.path.basename(self.physical)

    @property
    def compiler_words(self) -> Sequence[bytes]:
        """The words that the compiler is to see: --ccache-skip is for us alone."""
        return [word for word in self.words if not word.startswith(OWN_WORDS)]

    def count(self, *outcomes: Outcome) -> None:
        """Note what became of the call; counted by ``commit``."""
        self.tally += outcomes

    def add(self, name: str, count: int = 1) -> None:
        """Note something that is counted besides the outcome."""
        self.extra[name] = self.extra.get(name, 0) + count

    def take_back(self) -> None:
        """Count nothing of what became of the call so far, but what storages were asked."""
        self.tally.clear()
        self.extra = {name: n for name, n in self.extra.items() if name.startswith("remote_")}

    def plain(self, *outcomes: Outcome) -> list[Op]:
        """Run the user's own command as if we were not there."""
        self.count(*outcomes)
        return [Exec((*self.prefix, self.compiler, *self.compiler_words), (RECURSION_GUARD,))]

    def refuse(self, outcome: Outcome, detail: str) -> list[Op]:
        """Run the user's own command, because of ``detail``."""
        self.log(f"Not cached: {detail}")
        return self.plain(outcome)

    def commit(self) -> list[Op]:
        """Count what is not counted yet, log, and write what debugging asks for; the operations
        that do the rest, to be carried out first."""
        for outcome in self.tally:
            self.log(f"Result: {outcome.value}")
        if self.config.stats and (self.tally or self.extra):
            self.cache.count(self._counts())
        if self.config.stats_log and self.tally:
            self._append_stats_log()
        self.tally.clear()
        self.extra.clear()
        if not self.log.enabled:
            return []
        if self.debug is not None:
            try:
                self.debug.write(self.log.text)
            except OSError as problem:
                self.log(f"Debug files cannot be written: {problem}")
        return _say(self.log)

    def _append_stats_log(self) -> None:
        path = self.config.absolute(self.config.stats_log)
        from .cache.statistics_text import log_entry

        entry = log_entry(self.source, self._counts())
        with suppress(OSError), open(path, "ab") as file:
            file.write(entry)

    def _counts(self) -> dict[str, int]:
        counts = dict(self.extra)
        for outcome in self.tally:
            counts[outcome.value] = counts.get(outcome.value, 0) + 1
        return counts


def message(text: str, status: int) -> list[Op]:
    """Say something on stderr and end."""
    return [Out(2, os.fsencode(f"pycc: error: {text}\n")), Exit(status << 8)]


def configuration(
    request: Request, resident: Resident, overrides: Sequence[tuple[str, str]] = ()
) -> tuple[bytes, Config]:
    """(witness records, configuration) of the request. Raises ConfigError, Fatal."""
    environment = resident.environment(request.environment_block)

    def make() -> tuple[bytes, Config]:
        now = file_clock()
        config = load(
            environment.variables, request.cwd, overrides=overrides, home=home_directory()
        )
        consulted = [os.fsencode(path) for path in config.consulted]
        records = [native.as_found(path, contents=False) for path in consulted]
        found = native.signatures(consulted)
        if any(s.is_regular and s.changed > now - SETTLED_NS for s in found):
            # It may be written once more in the same tick: read it again next time.
            records.append(native.pack(native.ABSENT, b"/"))
        return b"".join(records), config

    key = (environment.number, request.cwd, tuple(overrides))
    return resident.configs.get(key, make)


def _compiler_words(request: Request) -> tuple[list[bytes], bytes, tuple[bytes, ...]]:
    """(settings, compiler as named, its arguments) of the command line."""
    if not request.own_name:
        return [], os.path.basename(request.argv[0]), request.argv[1:]
    words = list(request.argv[1:])
    settings = []
    while words and b"=" in words[0] and b"/" not in words[0].split(b"=")[0]:
        settings.append(words.pop(0))
    # "ccache ccache gcc" and "pycc pycc gcc" mean one wrapper.
    while words and os.path.basename(words[0]) in (b"pycc", b"ccache"):
        words.pop(0)
    if not words:
        return settings, b"", ()
    return settings, words[0], tuple(words[1:])


def open_call(request: Request, resident: Resident) -> Call | list[Op]:
    """Understand a request to compile, or the operations that end it at once."""
    environment = resident.environment(request.environment_block)
    settings, name, words = _compiler_words(request)
    try:
        config_records, config = configuration(request, resident, parse_overrides(settings))
    except (ConfigError, Fatal) as problem:
        return message(str(problem), 1)
    search_path = environment.variables.get(b"PATH", DEFAULT_PATH)
    if config.path:
        search_path = os.fsencode(config.path)
    driver = os.path.basename(name)
    wanted = os.fsencode(config.compiler) if config.compiler else name

    located = locate_once(resident, wanted, search_path, request.cwd)
    if located is None:
        log = _log(request, config)[0]
        log(f"Could not find compiler {os.fsdecode(wanted)} in PATH")
        cache = resident.cache(config)
        if config.stats:
            cache.count({Outcome.COULD_NOT_FIND_COMPILER.value: 1})
        text = f'could not find compiler "{os.fsdecode(wanted)}" in PATH'
        return [*_say(log), *message(text, COULD_NOT_FIND)]
    log, debug = _log(request, config, words)
    prefix, prefix_records, dispatches = _prefix(config, search_path, request.cwd)
    return Call(
        request=request,
        environment=environment,
        config=config,
        driver=driver,
        compiler=located.path,
        physical=located.physical,
        named=wanted if b"/" in wanted else located.path,
        words=words,
        prefix=prefix,
        records=[config_records, located.witnesses, prefix_records],
        cache=resident.cache(config),
        log=log,
        behind=located.skipped,
        dispatches=dispatches,
        debug=debug,
    )


def _log(
    request: Request, config: Config, words: Sequence[bytes] = ()
) -> tuple[Log, DebugFiles | None]:
    if not (config.log_file or config.debug):
        return NO_LOG, None
    from . import debug

    path = config.absolute(config.log_file) if config.log_file else b""
    if config.log_file == "syslog":
        path = b"syslog"
    log = open_log(path, request.pid, debug=config.debug, umask=request.umask)
    log.bulk(debug.opening_lines(request, config))
    return log, debug.DebugFiles(request, config, words) if config.debug else None


def _say(log: Log) -> list[Op]:
    """Write the log; what goes to the client's own stdout or stderr is the client's to write."""
    log.flush()
    return [Out(log.stream, log.text)] if log.stream is not None else []


def locate_once(resident: Resident, name: bytes, search_path: bytes, cwd: bytes) -> Located | None:
    """The same as `locate`, from memory while its witnesses hold."""

    def make() -> tuple[bytes, Located | None]:
        located = locate(name, search_path, cwd)
        # Nothing found has no witnesses worth having: look again next time.
        return b"" if located is None else located.witnesses, located

    relative = not name.startswith(b"/") and (
        b"/" in name or any(not d.startswith(b"/") for d in search_path.split(b":"))
    )
    key = (name, search_path, cwd if relative else b"")
    located = resident.locations.get(key, make)[1]
    if located is None:
        resident.locations.drop(key)
    return located


def _prefix(
    config: Config, search_path: bytes, cwd: bytes
) -> tuple[tuple[bytes, ...], bytes, bool]:
    """prefix_command with its program found on PATH, its witnesses, and whether it means our own
    dispatcher; a program that is not found is left as it is."""
    words, records = [], []
    dispatches = False
    for word in os.fsencode(config.prefix_command).split():
        found = which(word, search_path, cwd)
        if found:
            records.append(native.as_found(found))
        if means_us(word, found, found is not None and is_launcher(found)):
            dispatches = True
        else:
            words.append(found or word)
    return tuple(words), b"".join(records), dispatches


def which(name: bytes, search_path: bytes, cwd: bytes) -> bytes | None:
    """The first executable file of that name, wrappers included."""
    for directory in search_path.split(b":"):
        path = os.path.join(cwd, directory or b".", name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None
