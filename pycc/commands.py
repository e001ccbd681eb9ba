"""The maintenance command line: ccache's options and ours, answered for the client's own view.

Options are carried out in the order in which they stand, as ccache does; those that modify others
(--dir, --config-path, --format, --verbose, --dry-run, --evict-namespace) are read first.
"""

from __future__ import annotations

import getopt
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from . import __version__, commands_store, config, links
from .cache import cleanup, statistics_text
from .commands_session import Session
from .commands_text import FEATURES, HELP
from .config_values import parse_unsigned
from .errors import ConfigError, Fatal, PyccError
from .frame import Exec, Exit, Op, Out, Request
from .lifecycle import program_path
from .locate import DEFAULT_PATH
from .talk import Talk

if TYPE_CHECKING:
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
DEFAULT_LINKS = b"/usr/lib/pycc/bin"


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
                commands_store.compression_level(value)
                session.trim_recompress = value


def _carry_out(
    session: Session, option: str, value: str, commands: Sequence[tuple[str, str]]
) -> str:
    if session.dry_run and option in CHANGING:
        raise Fatal(f"--dry-run cannot be used with {option}")
    if option == "--evict-namespace":
        if any(other == "--evict-older-than" for other, _ in commands):
            return ""  # one eviction by both
        return commands_store.evict(session, cleanup.Eviction(None, value))
    return _COMMANDS[option](session, value)


def _help(session: Session, _: str) -> str:
    return HELP.format(name=session.name)


def _version(session: Session, _: str) -> str:
    return (
        f"{session.name} version {__version__}\nFeatures: {FEATURES}\n\n"
        "This is pycc, a compiler wrapper and compile farm.\n"
        "License: GPL-2.0-or-later\n"
    )


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
    **commands_store.COMMANDS,
    "--get-config": _get_config,
    "--help": _help,
    "--install-links": _install_links,
    "--max-files": _max_files,
    "--max-size": _max_size,
    "--print-log-stats": _print_log_stats,
    "--print-stats": _print_stats,
    "--print-version": lambda _session, _value: f"{__version__}\n",
    "--server-status": _server_status,
    "--set-config": _set_config,
    "--show-config": _show_config,
    "--show-log-stats": _show_log_stats,
    "--show-stats": _show_stats,
    "--stop-server": _stop_server,
    "--stop-storage-helpers": _stop_storage_programs,
    "--version": _version,
    "--zero-stats": _zero_stats,
}
