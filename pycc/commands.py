"""The maintenance command line: ccache's options and ours, answered for the client's own view.

Options are carried out in the order in which they stand, as ccache does; those that modify others
(--dir, --config-path, --format, --verbose, --dry-run, --evict-namespace) are read first.
"""

from __future__ import annotations

import getopt
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import __version__, config, links
from .cache import cleanup, recompression, statistics_text
from .cache.digest import checksum
from .cache.directory import CacheDirectory
from .cache.storage import MAX_VALUE
from .commands_text import FEATURES, HELP
from .config_access import home_directory
from .config_values import parse_signed, parse_unsigned
from .errors import ConfigError, Fatal, PyccError
from .frame import Exec, Exit, Op, Out, Request
from .lifecycle import program_path
from .locate import DEFAULT_PATH
from .talk import Talk

if TYPE_CHECKING:
    from . import commands_entries
    from .resident import Resident

SHORT = "cCd:F:hk:M:o:psvVxX:z"
LONG = (
    "checksum-file=",
    "cleanup",
    "clear",
    "config-path=",
    "dir=",
    "directory=",
    "dry-run",
    "dump-manifest=",
    "dump-result=",
    "evict-namespace=",
    "evict-older-than=",
    "extract-result=",
    "format=",
    "get-config=",
    "hash-file=",
    "help",
    "inspect=",
    "install-links",
    "max-files=",
    "max-size=",
    "monitor",
    "print-entries",
    "print-log-stats",
    "print-stats",
    "print-version",
    "recompress-threads=",
    "recompress=",
    "server-status",
    "set-config=",
    "show-compression",
    "show-config",
    "show-log-stats",
    "show-stats",
    "stop-server",
    "stop-storage-helpers",
    "threads=",
    "trim-dir=",
    "trim-max-size=",
    "trim-method=",
    "trim-recompress-threads=",
    "trim-recompress=",
    "verbose",
    "version",
    "zero-stats",
)
SAME = {
    "-c": "--cleanup",
    "-C": "--clear",
    "-d": "--dir",
    "--directory": "--dir",
    "--dump-manifest": "--inspect",
    "--dump-result": "--inspect",
    "-F": "--max-files",
    "-h": "--help",
    "-k": "--get-config",
    "-M": "--max-size",
    "-o": "--set-config",
    "-p": "--show-config",
    "--recompress-threads": "--threads",
    "-s": "--show-stats",
    "--trim-recompress-threads": "--threads",
    "-v": "--verbose",
    "-V": "--version",
    "-x": "--show-compression",
    "-X": "--recompress",
    "-z": "--zero-stats",
}
MODIFIERS = frozenset(
    {
        "--config-path",
        "--dir",
        "--dry-run",
        "--format",
        "--threads",
        "--trim-max-size",
        "--trim-method",
        "--trim-recompress",
        "--verbose",
    }
)
CHANGING = frozenset(
    {
        "--extract-result",
        "--max-files",
        "--max-size",
        "--recompress",
        "--set-config",
        "--stop-storage-helpers",
        "--zero-stats",
    }
)
"""Not to be carried out with --dry-run, which would have nothing to show."""
ON_STANDARD_INPUT = frozenset({"--checksum-file", "--extract-result", "--hash-file", "--inspect"})
"""With the argument ``-``; a server does not have the caller's."""
LAST = frozenset({"--extract-result", "--help", "--inspect"})
"""What comes behind them is not carried out."""
PATIENCE_MS = 600_000
PIECE = 1 << 20  # bytes
DEFAULT_LINKS = b"/usr/lib/pycc/bin"


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


def answer(request: Request, talk: Talk, resident: Resident) -> Sequence[Op]:
    """Carry out a command line that begins with an option. Raises NotHere."""
    talk.may_block()
    resident.unfinished.wait()
    resident.remotes.written()
    name = os.path.basename(os.fsdecode(request.argv[0]))
    session = Session(request, talk, resident, name)
    words = [os.fsdecode(word) for word in request.argv[1:]]
    if not words:
        return [Out(2, os.fsencode(HELP.format(name=name))), Exit(1 << 8)]
    try:
        options, session.rest = getopt.gnu_getopt(words, SHORT, list(LONG))
    except getopt.GetoptError as problem:
        text = f"{os.fsdecode(request.argv[0])}: {_usage_problem(problem)}\n"
        return [Out(2, os.fsencode(text)), Exit(1 << 8)]
    commands = [(SAME.get(option, option), value) for option, value in options]
    said: list[str] = []
    try:
        _modify(session, commands)
        if any(option == "--monitor" for option, _ in commands):
            return [_monitor(session)]
        if resident.place is not None and any(
            option in ON_STANDARD_INPUT and value == "-" for option, value in commands
        ):
            return [Exec((os.fsencode(program_path()), b"--once", *request.argv))]
        for option, value in commands:
            if option not in MODIFIERS:
                said.append(_carry_out(session, option, value, commands))
            if option in LAST:
                break
    except PyccError as problem:
        text = f"{name}: error: {problem}\n"
        status = problem.status if isinstance(problem, Fatal) else 1
        return [Out(1, os.fsencode("".join(said))), Out(2, os.fsencode(text)), Exit(status << 8)]
    return [Out(1, os.fsencode("".join(said))), *session.ops, Exit(0)]


def _usage_problem(problem: getopt.GetoptError) -> str:
    """In the words of glibc's getopt_long, which ccache's callers see."""
    option, said = problem.opt, problem.msg
    long = f"--{option} " in said
    shown = f"--{option}" if long else f"-{option}"
    if "not a unique prefix" in said:
        those = sorted(f"--{name.rstrip('=')}" for name in LONG if name.startswith(option))
        return f"option '{shown}' is ambiguous; possibilities: " + " ".join(map(repr, those))
    if "must not have an argument" in said:
        return f"option '{shown}' doesn't allow an argument"
    if "requires argument" in said:
        needs = "requires an argument"
        return f"option '{shown}' {needs}" if long else f"option {needs} -- '{option}'"
    return f"unrecognized option '{shown}'" if long else f"invalid option -- '{option}'"


def _modify(session: Session, commands: Sequence[tuple[str, str]]) -> None:
    for option, value in commands:
        match option:
            case "--verbose":
                session.verbosity += 1
            case "--dry-run":
                session.dry_run = True
            case "--dir":
                session.directory = os.path.join(os.fsdecode(session.request.cwd), value)
            case "--config-path":
                session.config_path = os.path.join(os.fsdecode(session.request.cwd), value)
            case "--evict-namespace":
                session.namespace = value
            case "--format":
                if value not in ("tab", "json"):
                    raise Fatal(f'unknown format "{value}"')
                session.json = value == "json"
            case "--threads":
                # Taken, but one thread does: what takes the time lets others run meanwhile.
                parse_unsigned(value, 1, 2**32 - 1, "threads")
            case "--trim-max-size":
                session.trim_size = config.parse_size(value)
            case "--trim-method":
                session.trim_by_mtime = value == "mtime"
            case "--trim-recompress":
                _level(value)
                session.trim_recompress = value


def _carry_out(
    session: Session, option: str, value: str, commands: Sequence[tuple[str, str]]
) -> str:
    if session.dry_run and option in CHANGING:
        raise Fatal(f"--dry-run cannot be used with {option}")
    if option == "--evict-namespace":
        if any(other == "--evict-older-than" for other, _ in commands):
            return ""  # one eviction by both
        return _evict(session, cleanup.Eviction(None, value))
    return _COMMANDS[option](session, value)


def _help(session: Session, _: str) -> str:
    return HELP.format(name=session.name)


def _version(session: Session, _: str) -> str:
    return (
        f"{session.name} version {__version__}\nFeatures: {FEATURES}\n\n"
        "This is pycc, a compiler wrapper and compile farm.\n"
        "License: GPL-2.0-or-later\n"
    )


def _clear(session: Session, _: str) -> str:
    cache = session.cache()
    if session.dry_run:
        removed = cache.storage.totals()
    else:
        removed = cleanup.clear(cache.storage, cache.statistics)
    session.resident.forget_hits()
    return cleanup.removal_text(removed, dry_run=session.dry_run)


def _cleanup(session: Session, _: str) -> str:
    cache = session.cache()
    removed = cleanup.clean_up(cache.storage, cache.statistics, dry_run=session.dry_run)
    return cleanup.removal_text(removed, dry_run=session.dry_run)


def _evict(session: Session, eviction: cleanup.Eviction) -> str:
    cache = session.cache()
    removed = cleanup.evict(cache.storage, cache.statistics, eviction, dry_run=session.dry_run)
    return cleanup.removal_text(removed, dry_run=session.dry_run)


def _evict_older(session: Session, value: str) -> str:
    seconds = config.parse_duration(value) / 1000
    return _evict(session, cleanup.Eviction(seconds, session.namespace))


def _set(session: Session, key: str, value: str) -> None:
    settings = session.settings()
    config.set_value(
        os.fsdecode(settings.absolute(settings.config_path)),
        key,
        value,
        environment=session.variables(),
        umask=session.request.umask,
    )


def _set_config(session: Session, value: str) -> str:
    key, equals, text = value.partition("=")
    if not equals:
        raise Fatal(f'missing equal sign in "{value}"')
    _set(session, key, text)
    return ""


def _get_config(session: Session, key: str) -> str:
    return config.value_text(session.settings(), key) + "\n"


def _show_config(session: Session, _: str) -> str:
    return config.show(session.settings())


def _max_size(session: Session, value: str) -> str:
    size = config.parse_size(value)
    _set(session, "max_size", value)
    if not size:
        return "Unset cache size limit\n"
    return f"Set cache size limit to {config.format_size(size, size.decimal)}\n"


def _max_files(session: Session, value: str) -> str:
    if not value.isdecimal():
        raise ConfigError(f'invalid unsigned integer: "{value}"')
    _set(session, "max_files", value)
    if not int(value):
        return "Unset cache file limit\n"
    return f"Set cache file limit to {int(value)}\n"


def _print_stats(session: Session, _: str) -> str:
    counters, _settings = session.counters()
    own = session.verbosity > 0
    if session.json:
        return statistics_text.print_stats_json(counters, own=own)
    return statistics_text.print_stats_tab(counters, own=own)


def _show_stats(session: Session, _: str) -> str:
    counters, settings = session.counters()
    context = statistics_text.StatsContext(
        os.fsdecode(settings.absolute(settings.cache_dir)),
        settings.config_path,
        settings.dir_config_path,
        settings.system_config_path,
        settings.max_size,
        settings.max_files,
    )
    return statistics_text.show_stats(counters, context, session.verbosity)


def _log_counters(session: Session) -> dict[str, int]:
    settings = session.settings()
    if not settings.stats_log:
        raise Fatal("No stats log has been configured")
    try:
        with open(settings.absolute(settings.stats_log), "rb") as file:
            return statistics_text.read_log(file.read())
    except OSError as problem:
        raise Fatal(f"Failed to open {settings.stats_log}: {problem.strerror}") from problem


def _show_log_stats(session: Session, _: str) -> str:
    counters = _log_counters(session)
    return statistics_text.show_stats(
        counters, statistics_text.StatsContext(), session.verbosity, from_log=True
    )


def _print_log_stats(session: Session, _: str) -> str:
    counters = _log_counters(session)
    if session.json:
        return statistics_text.print_stats_json(counters)
    return statistics_text.print_stats_tab(counters)


def _zero_stats(session: Session, _: str) -> str:
    cache = session.cache()
    session.resident.read_fallbacks(cache)
    if not cache.statistics.zero():
        raise Fatal("the statistics cannot be written; see the permissions of the cache directory")
    return "Statistics zeroed\n"


def _install_links(session: Session, _: str) -> str:
    given = os.fsencode(session.rest[0]) if session.rest else DEFAULT_LINKS
    directory = os.path.join(session.request.cwd, given)
    launcher = os.path.join(os.path.dirname(os.fsencode(program_path())), b"pycc")
    variables = session.variables()
    before = os.umask(0o022)
    try:
        names = links.install_links(directory, launcher, variables.get(b"PATH", DEFAULT_PATH))
    finally:
        os.umask(before)
    where = os.fsdecode(directory)
    listed = " ".join(os.fsdecode(name) for name in sorted(names))
    return f"{where}: {listed}\nTo use them: export PATH={where}:$PATH\n"


def _binary_units(session: Session) -> bool:
    """Sizes are shown as the limit is written."""
    limit = session.settings().max_size
    return not (isinstance(limit, config.Size) and limit.decimal)


def _level(text: str) -> int | None:
    """zstd's level; None where nothing is to be compressed."""
    return None if text == "uncompressed" else parse_signed(text, -128, 127, "compression level")


def _show_compression(session: Session, _: str) -> str:
    sizes = recompression.measure(session.cache().storage, session.go_on)
    return recompression.sizes_text(sizes, binary_units=_binary_units(session))


def _recompress(session: Session, value: str) -> str:
    level, cache = _level(value), session.cache()
    done = recompression.recompress(cache.storage, level, session.go_on)
    cleanup.account(cache.storage, cache.statistics)
    session.resident.forget_hits()
    return recompression.recompressed_text(done, binary_units=_binary_units(session))


def _print_entries(session: Session, _: str) -> str:
    from .commands_entries import listing_text

    session.go_on()
    listed = session.cache().storage.listing()
    return listing_text(listed, as_json=session.json)


def _entry(session: Session, name: str) -> commands_entries.Named:
    from .commands_entries import Named, find, unsealed

    if name == "-":
        return Named(unsealed(sys.stdin.buffer.read(MAX_VALUE)), None)
    return find(session.cache().storage, name, session.request.cwd)


def _inspect(session: Session, name: str) -> str:
    from .commands_entries import inspection

    return inspection(_entry(session, name))


def _extract_result(session: Session, name: str) -> str:
    from .commands_entries import extraction

    session.ops += extraction(session.cache().storage, _entry(session, name))
    return ""


def _pieces(session: Session, name: str, verb: str) -> Iterator[bytes]:
    try:
        with sys.stdin.buffer if name == "-" else open(session.path(name), "rb") as file:
            while piece := file.read(PIECE):
                session.go_on()
                yield piece
    except OSError as problem:
        raise Fatal(f"Failed to {verb} {name}: {problem.strerror}") from problem


def _checksum_file(session: Session, name: str) -> str:
    return f"{checksum(_pieces(session, name, 'checksum')).hex()}\n"


def _hash_file(session: Session, name: str) -> str:
    from .cache import blake3

    return f"{blake3.digest(_pieces(session, name, 'hash'))[:20].hex()}\n"


def _trim_dir(session: Session, directory: str) -> str:
    from .trimming import trim

    if session.dry_run and session.trim_recompress:
        raise Fatal("--dry-run cannot be used with --trim-recompress")
    size = session.trim_size
    if size is None:
        raise Fatal("please specify --trim-max-size when using --trim-dir")
    return trim(
        session.path(directory),
        size,
        binary_units=not size.decimal,
        by_mtime=session.trim_by_mtime,
        recompress=bool(session.trim_recompress),
        level=_level(session.trim_recompress or "uncompressed"),
        dry_run=session.dry_run,
        go_on=session.go_on,
    )


def _monitor(session: Session) -> Op:
    """The launcher becomes the monitor: a server prints for nobody who is still looking."""
    words = [os.fsencode(word) for word in ("--monitor", *session.rest)]
    edits = [b"CCACHE_DIR=" + os.fsencode(session.directory)] if session.directory else []
    return Exec((os.fsencode(program_path()), *words), edits)


def _stop_server(session: Session, _: str) -> str:
    if session.resident.place is None:
        return "No server is running\n"
    session.resident.drain()
    session.resident.leave()
    return "The server is leaving\n"


def _stop_storage_programs(session: Session, _: str) -> str:
    """Those of ccache's that remote storage has started."""
    resident, settings = session.resident, session.settings()
    if settings.remote_storage:
        variables = session.variables()
        resident.remotes.of(
            settings, variables, session.request, lambda _: None, stays=resident.stays
        ).stop()
    return ""


def _server_status(session: Session, _: str) -> str:
    return session.resident.status_text() + session.resident.remotes.status_text()


_COMMANDS: Mapping[str, Callable[[Session, str], str]] = {
    "--checksum-file": _checksum_file,
    "--cleanup": _cleanup,
    "--clear": _clear,
    "--evict-older-than": _evict_older,
    "--extract-result": _extract_result,
    "--get-config": _get_config,
    "--hash-file": _hash_file,
    "--help": _help,
    "--inspect": _inspect,
    "--install-links": _install_links,
    "--max-files": _max_files,
    "--max-size": _max_size,
    "--print-entries": _print_entries,
    "--print-log-stats": _print_log_stats,
    "--print-stats": _print_stats,
    "--print-version": lambda _session, _value: f"{__version__}\n",
    "--recompress": _recompress,
    "--server-status": _server_status,
    "--set-config": _set_config,
    "--show-compression": _show_compression,
    "--show-config": _show_config,
    "--show-log-stats": _show_log_stats,
    "--show-stats": _show_stats,
    "--stop-server": _stop_server,
    "--stop-storage-helpers": _stop_storage_programs,
    "--trim-dir": _trim_dir,
    "--version": _version,
    "--zero-stats": _zero_stats,
}
