"""What a daemon was told: its command line, its environment and its configuration file.

distccd's options (its man page, and `dopt.c` for the names) and a few of our own. A value on the
command line counts before one in the environment, that before one in the file, that before the
default, and each knows where it came from, because the usual question about a daemon is why it
does not do what some file says.

In the file a setting is called as its option is, with ``_`` for ``-``; the grammar is that of
ccache's files (config_file.py). ``allow`` holds several values, separated by blanks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pycc import config_values as values
from pycc.cache.remote_url import Url
from pycc.config_file import ConfigSyntaxError, parse_items
from pycc.errors import ConfigError, Fatal
from pycc.record import record

from . import access
from .register import open_redis, url_of

EXIT_BAD_ARGUMENTS = 101  # distcc's
DEFAULT_FILE = "/etc/pyccd.conf"
DEFAULT_PORT = 3632
DEFAULT_STATS_PORT = 3633
LEVELS = {
    name: number
    for number, names in enumerate(
        (
            ("emerg", "emergency"),
            ("alert",),
            ("crit", "critical"),
            ("err", "error"),
            ("warn", "warning"),
            ("notice", "note"),
            ("info",),
            ("debug",),
        )
    )
    for name in names
}
"""syslog's numbers; rsync's logger, which distccd has, knows these names."""


def _port(text: str) -> int:
    return values.parse_unsigned(text, 1, 65_535, "port")


def _count(text: str) -> int:
    return values.parse_unsigned(text, 0, 1_000_000, "number")


def _jobs(text: str) -> int:
    return values.parse_unsigned(text, 1, 100_000, "number of jobs")


def _nice(text: str) -> int:
    return values.parse_signed(text, -20, 20, "nice level")


def _oom(text: str) -> int:
    return values.parse_signed(text, -1000, 1000, "OOM score adjustment")


def _level(text: str) -> int:
    try:
        return LEVELS[text.lower()]
    except KeyError:
        message = f'"{text}" is no log level: use one of {", ".join(LEVELS)}'
        raise ConfigError(message) from None


def _flag(text: str) -> bool:
    return values.parse_bool(text)


def _masks(text: str) -> tuple[access.Mask, ...]:
    return tuple(map(access.parse_mask, text.split()))


def _register(text: str) -> Url | str:
    if not text:
        return ""
    url = url_of(text)
    open_redis(url).close()
    return url


@record
class Setting:
    """One row. ``short`` is the option's letter, ``variable`` an environment variable; a flag's
    option takes no value."""

    name: str
    read: Callable[[str], Any]
    default: Any
    text: str
    value: str = ""
    short: str = ""
    variable: str = ""
    several: bool = False
    other: str = ""
    """Another name of the option."""

    @property
    def option(self) -> str:
        return "--" + self.name.replace("_", "-")


_S = Setting
SETTINGS: tuple[Setting, ...] = (
    _S("daemon", _flag, False, "bind and listen on a socket"),
    _S("inetd", _flag, False, "serve one client on standard input and output"),
    _S("no_detach", _flag, False, "stay in the foreground"),
    _S("no_fork", _flag, False, "serve one connection after the other, for debugging"),
    _S("wizard", _flag, False, "for a debugger: --no-detach, --no-fork, --verbose", short="W"),
    _S("port", _port, DEFAULT_PORT, "TCP port to listen on", "PORT", "p"),
    _S("listen", str, "", "IP address to listen on", "ADDRESS"),
    _S("allow", _masks, (), "who may connect", "IP[/BITS]", "a", several=True),
    _S("allow_private", _flag, False, "private networks may connect (so without any --allow)"),
    _S("jobs", _jobs, 0, "most jobs at a time (processors + 2)", "LIMIT", "j"),
    _S("job_lifetime", _count, 0, "most seconds that a compile may take", "SECONDS"),
    _S("nice", _nice, 5, "lower the priority", "LEVEL", "N"),
    _S("oom_score_adj", _oom, None, "adjust the OOM killer's score", "ADJ"),
    _S("user", str, "", "who to be when started by root", "USER"),
    _S("pid_file", str, "", "write the process id there", "FILE", "P"),
    _S("log_file", str, "", "write messages there instead of to syslog", "FILE"),
    _S("log_level", _level, LEVELS["notice"], "how much is logged", "LEVEL"),
    _S("log_stderr", _flag, False, "write messages to standard error"),
    _S("verbose", _flag, False, "log everything"),
    _S("stats", _flag, False, "serve statistics over HTTP"),
    _S("stats_port", _port, DEFAULT_STATS_PORT, "TCP port for them", "PORT"),
    _S("lifetime", _count, 0, "leave after so many seconds", "SECONDS"),
    _S(
        "enable_tcp_insecure",
        _flag,
        False,
        "run compilers that are not in the list of allowed ones",
        other="make_me_a_botnet",
    ),
    _S("sysroot", str, "", "(nothing yet: -specs= is refused)", "DIR"),
    _S("no_fifo", _flag, False, "(nothing: for old scripts)"),
    _S("zeroconf", _flag, False, "announce the daemon by multicast DNS"),
    _S(
        "announce",
        _register,
        "",
        "announce the daemon in a Redis server, for clients with +URL",
        "URL",
        variable="PYCCD_ANNOUNCE",
    ),
    _S("tls_cert", str, "", "speak TLS, with this certificate (PEM, its chain behind it)", "FILE"),
    _S("tls_key", str, "", "its key, if it does not lie in the same file", "FILE"),
    _S("tls_ca", str, "", "clients need a certificate that this authority signed", "FILE"),
    _S("auth", _flag, False, "clients have to authenticate themselves by GSS-API (Kerberos)"),
    _S("whitelist", str, "", "with --auth: only the principals in this file may ask", "FILE"),
    _S("blacklist", str, "", "with --auth: the principals in this file may not ask", "FILE"),
    _S("cache_dir", str, "", "keep results there", "DIR", variable="CACHE_DIRECTORY"),
    _S("cache_size", values.parse_size, values.parse_size("5G"), "its size", "SIZE"),
    _S("no_cache", _flag, False, "compile everything anew"),
    _S("path", str, "", "where compilers are looked for", "PATH", variable="DISTCCD_PATH"),
    _S("cmdlist", str, "", "file of allowed compilers", "FILE", variable="DISTCC_CMDLIST"),
    _S(
        "cmdlist_numwords",
        _count,
        1,
        "how many words of a compiler's path are compared with it",
        "N",
        variable="DISTCC_CMDLIST_NUMWORDS",
    ),
)
_BY_NAME = {name: s for s in SETTINGS for name in (s.name, s.other) if name}
_BY_LETTER = {s.short: s for s in SETTINGS if s.short}

ACTIONS = {
    "check": "say whether a daemon with these settings would work, and exit",
    "fix_permissions": "make our directory in the cache's usable for --user, check, and exit",
    "print_config": "print every setting with its origin, and exit",
    "show_principal": "show the GSS-API principal and exit",
    "help": "explain usage and exit",
    "version": "show version and exit",
}
"""Options that are done instead of serving."""


@record
class Value:
    """A setting's value, and where it came from."""

    value: Any
    origin: str


@record
class Settings:
    """``action`` is one of ACTIONS or empty; ``values`` has a row for each setting."""

    action: str
    values: Mapping[str, Value]

    def __call__(self, name: str) -> Any:
        """The value of the setting ``name``."""
        return self.values[name].value


def read_settings(
    words: Sequence[str],
    environment: Mapping[str, str],
    read_file: Callable[[str], str | None],
) -> Settings:
    """What the command line ``words`` (without the program) and all else says.

    ``read_file`` gives a file's text, None if there is none. Raises Fatal with distcc's exit
    status for what cannot be understood."""
    action, given = "", []
    file, required = DEFAULT_FILE, False
    for name, text, spelled in _options(words):
        if name in ACTIONS:
            action = name
        elif name == "config":
            file, required = text, True
        else:
            given.append((_BY_NAME[name], text, spelled))
    found = {s.name: Value(s.default, "default") for s in SETTINGS}
    content = read_file(file)
    if content is None and required:
        raise Fatal(f"{file}: cannot be read", EXIT_BAD_ARGUMENTS)
    for setting, text, origin in _file_items(file, content or ""):
        found[setting.name] = Value(_read(setting, text, origin), origin)
    for setting in SETTINGS:
        if setting.variable and setting.variable in environment:
            origin = f"${setting.variable}"
            text = environment[setting.variable]
            found[setting.name] = Value(_read(setting, text, origin), origin)
    seen: set[str] = set()
    for setting, text, spelled in given:
        value = _read(setting, text, spelled)
        if setting.several and setting.name in seen:
            value = (*found[setting.name].value, *value)
        seen.add(setting.name)
        found[setting.name] = Value(value, "command line")
    return Settings(action, found)


def _read(setting: Setting, text: str, origin: str) -> Any:
    try:
        return setting.read(text)
    except ConfigError as problem:
        raise Fatal(f"{origin}: {problem}", EXIT_BAD_ARGUMENTS) from None
    except access.AccessError as problem:
        raise Fatal(f"{origin}: {problem}", EXIT_BAD_ARGUMENTS) from None


def _options(words: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """(name, value, the word as it was written) of each option."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in ("-?", "-h"):
            yield "help", "", word
            continue
        if not word.startswith("-") or word in ("-", "--"):
            raise Fatal(f"unexpected argument {word!r}: see --help", EXIT_BAD_ARGUMENTS)
        if word.startswith("--"):
            spelled, equals, text = word.partition("=")
            name = spelled[2:].replace("-", "_")
            glued = text if equals else None
        else:
            spelled, name = word[:2], _BY_LETTER[word[1]].name if word[1] in _BY_LETTER else ""
            glued = word[2:].removeprefix("=") or None
        takes_value = name == "config" or (name in _BY_NAME and _BY_NAME[name].read is not _flag)
        if name not in _BY_NAME and name not in ACTIONS and name != "config":
            raise Fatal(f"unknown option {spelled}: see --help", EXIT_BAD_ARGUMENTS)
        if not takes_value:
            if glued is not None:
                raise Fatal(f"{spelled} takes no value", EXIT_BAD_ARGUMENTS)
            yield name, "true", spelled
        elif glued is not None:
            yield name, glued, spelled
        elif rest:
            yield name, rest.pop(0), spelled
        else:
            raise Fatal(f"{spelled} needs a value", EXIT_BAD_ARGUMENTS)


def _file_items(file: str, content: str) -> Iterator[tuple[Setting, str, str]]:
    try:
        items = parse_items(content)
    except ConfigSyntaxError as problem:
        raise Fatal(f"{file}:{problem}", EXIT_BAD_ARGUMENTS) from None
    for item in items:
        setting = _BY_NAME.get(item.key)
        if setting is None:
            message = f"{file}:{item.line}: unknown setting {item.key!r}"
            raise Fatal(message, EXIT_BAD_ARGUMENTS)
        yield setting, item.value, f"{file}:{item.line}"


def help_text(program: str) -> str:
    """What --help prints."""
    lines = [f"Usage: {program} [OPTIONS]", "", "Options:"]
    rows = [(s.option, s.short, s.value, s.text) for s in SETTINGS]
    rows += [
        ("--config", "", "FILE", f"read settings from there ({DEFAULT_FILE})"),
        *(("--" + name.replace("_", "-"), "", "", text) for name, text in ACTIONS.items()),
    ]
    for option, short, value, text in rows:
        left = f"-{short}, {option}" if short else f"    {option}"
        lines.append(f"  {left + (' ' + value if value else ''):34} {text}")
    return "\n".join(lines) + "\n"


def config_text(settings: Settings) -> str:
    """What --print-config prints: ``(origin) name = value``, as ccache does."""
    return "".join(
        f"({value.origin}) {name} = {_shown(value.value)}\n"
        for name, value in sorted(settings.values.items())
    )


def _shown(value: Any) -> str:
    if isinstance(value, Url):
        return value.shown()
    if isinstance(value, bool):
        return values.format_bool(value)
    if isinstance(value, values.Size):
        return values.format_size_setting(value)
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return "" if value is None else str(value)
