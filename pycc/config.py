"""The configuration of one compilation: every setting of ccache and ours, and where it came from.

Six places can name a value. From the strongest: KEY=VALUE words on the command line, variables of
the environment, the directory-specific file, the cache-specific file, the system-wide file, the
defaults below. Which files these are depends on values of stronger and weaker places, so the
order of reading is not the order of strength:

The system-wide file comes first, because its cache_dir says where the cache-specific file is,
unless the environment or the command line says so. (ccache meant to ignore a cache_dir in the
cache-specific file but does not, and people rely on it with CCACHE_CONFIGPATH; so it counts.)

Then the directory-specific file is looked for, from the working directory upwards. Where the
search ends (ceiling_dirs, ceiling_markers) and what such a file may say (safe_dirs) is taken
from the environment and the command line before the file is read, else it could free itself.

Only then the environment and the command line are applied in full, over everything.

A configuration belongs to a request, not to the process: environment and working directory are
arguments, and every path that was looked at is listed in ``consulted``, so that a caller can keep
the answer for as long as nothing there has changed. Of a directory in that list only identity,
owner and permissions matter: what counted inside it is listed as well, and the times of a build
directory change with every object.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from pycc.config_access import FileAccess, RealFiles
from pycc.config_file import ConfigSyntaxError, replace_value
from pycc.config_reading import Reading, environment_text
from pycc.config_table import BY_KEY, find_setting
from pycc.config_values import (
    SPACE,
    Size,
    expand_variables,
    format_size,
    normal_path,
    parse_duration,
    parse_size,
)
from pycc.errors import ConfigError, Fatal
from pycc.pattern import pattern
from pycc.record import record

__all__ = [
    "Config",
    "FileAccess",
    "RealFiles",
    "Size",
    "format_size",
    "load",
    "parse_duration",
    "parse_overrides",
    "parse_size",
    "set_value",
    "show",
    "show_lines",
    "value_text",
]

SYSTEM_CONFIG = "/etc/ccache.conf"
LIBEXEC_DIRS = ("/usr/local/libexec", "/usr/libexec")

_NO_ORIGINS: Mapping[str, str] = MappingProxyType({})


@record
class Config:
    """All settings. Paths and lists are text as os.fsdecode gives it; see `absolute`.

    Lists that ccache splits only when it uses them (extra_files_to_hash,
    ignore_headers_in_manifest: ``:``; ignore_options, remote_storage: blanks) stay one text.
    """

    absolute_paths_in_stderr: bool = False
    base_dir: tuple[str, ...] = ()
    cache_dir: str = ""
    ceiling_dirs: tuple[str, ...] = ()
    ceiling_markers: tuple[str, ...] = (".git",)
    compiler: str = ""
    compiler_check: str = "mtime"
    compiler_type: str = "auto"
    compression: bool = True
    compression_level: int = 0
    debug: bool = False
    debug_dir: str = ""
    debug_level: int = 2
    depend_mode: bool = False
    direct_mode: bool = True
    disable: bool = False
    extra_files_to_hash: str = ""
    file_clone: bool = False
    hard_link: bool = False
    hash_dir: bool = True
    ignore_headers_in_manifest: str = ""
    ignore_options: str = ""
    inode_cache: bool = True
    keep_comments_cpp: bool = False
    libexec_dirs: tuple[str, ...] = LIBEXEC_DIRS
    log_file: str = ""
    max_files: int = 0
    max_size: int = Size(5 * 1024**3)
    msvc_dep_prefix: str = "Note: including file:"
    msvc_utf8: bool = True
    namespace: str = ""
    path: str = ""
    pch_external_checksum: bool = False
    prefix_command: str = ""
    prefix_command_cpp: str = ""
    read_only: bool = False
    read_only_direct: bool = False
    recache: bool = False
    remote_only: bool = False
    remote_storage: str = ""
    reshare: bool = False
    response_file_format: str = "auto"
    safe_dirs: tuple[str, ...] = ()
    sloppiness: frozenset[str] = frozenset()
    stats: bool = True
    stats_log: str = ""
    temporary_dir: str = ""
    umask: int | None = None

    distribute: bool = False
    preprocess_first: bool = False
    reread_files: bool = False
    split_commands: bool = True

    # Not settings: where they were found.
    origins: Mapping[str, str] = _NO_ORIGINS
    config_path: str = ""  # where --set-config writes
    dir_config_path: str = ""  # "" when there is none
    system_config_path: str = ""  # "" when CCACHE_CONFIGPATH is set
    working_directory: str = "/"
    consulted: tuple[str, ...] = ()

    def absolute(self, path: str) -> bytes:
        """``path`` for use outside the client's process: joined to its working directory.

        Values such as cache_dir, log_file and debug_dir may be relative.
        """
        return os.fsencode(posixpath.join(self.working_directory, path))

    @property
    def reads_again(self) -> bool:
        """Whether no content is remembered by its file's time stamps: what our memory does for all
        calls is what ccache's inode cache does, so whoever switches that off wants it so."""
        return self.reread_files or not self.inode_cache

    def origin(self, key: str) -> str:
        """Where the value of ``key`` came from, in ccache's words."""
        return self.origins.get(key, "default")


def load(
    environment: Mapping[bytes, bytes],
    cwd: bytes,
    *,
    overrides: Sequence[tuple[str, str]] = (),
    files: FileAccess | None = None,
    home: str | None = None,
) -> Config:
    """Read the configuration that holds for one call.

    ``overrides`` are the command line's settings (`parse_overrides`), ``home`` is the home
    directory of the user database, used when HOME is not set. Raises ConfigError with ccache's
    text, or Fatal when no home directory is known.
    """
    directory = os.fsdecode(cwd)
    reading = Reading(environment, directory, RealFiles() if files is None else files)
    home_dir = environment_text(environment, b"HOME")
    if home_dir is None:
        home_dir = home
    if home_dir is None:
        raise Fatal("Could not determine home directory from $HOME or getpwuid(3)")
    # ccache refuses to run when HOME is relative; without a ceiling the search ends soon enough.
    if home_dir.startswith("/"):
        reading.values["ceiling_dirs"] = (normal_path(home_dir),)
    settings = dict(overrides)
    legacy_dir = f"{home_dir}/.ccache"

    config_path = environment_text(environment, b"CCACHE_CONFIGPATH")
    only_one_file = config_path is not None
    system_path = dir_config_path = ""
    if config_path is None:
        system_path = normal_path(_text(environment, b"CCACHE_CONFIGPATH2", SYSTEM_CONFIG))
        reading.apply_file(system_path)
        config_dir = _config_dir(reading, settings, home_dir, legacy_dir)
        config_path = f"{config_dir}/ccache.conf" if config_dir else "ccache.conf"
    config_path = normal_path(config_path)
    reading.apply_file(config_path)

    if not only_one_file:
        reading.apply_search_limits(settings)
        dir_config_path = reading.find_directory_config()
        if dir_config_path:
            reading.apply_directory_file(dir_config_path)

    reading.apply_environment()
    reading.apply_overrides(settings)

    values = reading.values
    if not values.get("cache_dir"):
        if reading.is_dir(legacy_dir):
            cache_dir = legacy_dir
        else:
            parent = _text(environment, b"XDG_CACHE_HOME", f"{home_dir}/.cache")
            cache_dir = posixpath.join(parent, "ccache")
        values["cache_dir"] = normal_path(cache_dir)
    if not values.get("temporary_dir"):
        values["temporary_dir"] = reading.default_temporary_dir(values["cache_dir"])
    return Config(
        **values,
        origins=MappingProxyType(reading.origins),
        config_path=config_path,
        dir_config_path=dir_config_path,
        system_config_path=system_path,
        working_directory=directory,
        consulted=tuple(reading.consulted),
    )


def parse_overrides(words: Iterable[bytes]) -> list[tuple[str, str]]:
    """The settings in the KEY=VALUE words that precede the compiler's name.

    Blanks around keys and values do not count; words that begin with ``#`` are ignored.
    """
    settings: list[tuple[str, str]] = []
    for word in words:
        text = os.fsdecode(word).strip(SPACE)
        key, _, value = text.partition("=")
        if key.strip(SPACE) and not text.startswith("#"):
            settings.append((key.strip(SPACE), value.strip(SPACE)))
    return settings


def value_text(config: Config, key: str) -> str:
    """The value of ``key`` as ``--get-config`` prints it; ConfigError when there is no such key."""
    setting = find_setting(key)
    if setting is None:
        raise ConfigError(f'unknown configuration option "{key}"')
    return setting.kind.format(getattr(config, setting.key))


_PUBLIC = (
    "ca-file connect-timeout endpoint keep-alive layout operation-timeout profile region sign-key"
    " single-flight trusted-keys umask update-mtime"
)
_USER = pattern(r"(//)[^/@\s|]+@")
_ATTRIBUTE = pattern(
    rf"([\s|](?:@(?!(?:{_PUBLIC.replace(' ', '|')})=)[^\s|=]+|bearer-token|header)=)[^\s|]+"
)


def show_lines(config: Config) -> list[str]:
    """One ``(origin) key = value`` line a setting, in the order of the keys."""
    return [f"({config.origin(key)}) {key} = {value_text(config, key)}" for key in sorted(BY_KEY)]


def show(config: Config) -> str:
    """The output of ``--show-config``, which is put into logs and reports: without the passwords
    and tokens of remote storages, which ccache shows, and `value_text` gives to who asks."""
    lines = show_lines(config)
    for number, line in enumerate(lines):
        if ") remote_storage = " in line:
            lines[number] = _ATTRIBUTE.sub(r"\1********", _USER.sub(r"\1********@", line))
    return "".join(f"{line}\n" for line in lines)


def set_value(
    path: str,
    key: str,
    value: str,
    files: FileAccess | None = None,
    *,
    environment: Mapping[bytes, bytes] = MappingProxyType({}),
    umask: int = 0o022,
) -> None:
    """Set ``key`` in the configuration file ``path`` (absolute), which is made when absent.

    Everything else in the file stays as it is. The value must be valid with the variables of
    ``environment``; it is written unexpanded. ConfigError says what is wrong.
    """
    files = RealFiles() if files is None else files
    setting = find_setting(key)
    if setting is None:
        raise ConfigError(f'unknown configuration option "{key}"')
    setting.kind.parse(expand_variables(value, environment))
    if "\n" in value:
        raise ConfigError(f'value of "{key}" holds a line break')
    content = files.read(path)
    if content is None and (status := files.stat(path)) and stat.S_ISREG(status.st_mode):
        raise ConfigError(f"failed to read {path}")
    try:
        text = replace_value(os.fsdecode(content or b""), key, value)
    except ConfigSyntaxError as error:
        raise ConfigError(f"failed to read {path}: {error}") from None
    try:
        files.replace(path, os.fsencode(text), umask)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"failed to write to {path}: {reason}") from None


def _config_dir(
    reading: Reading, settings: Mapping[str, str], home_dir: str, legacy_dir: str
) -> str:
    override = settings.get("cache_dir")
    if override is not None:
        return override
    from_environment = environment_text(reading.environment, b"CCACHE_DIR")
    if from_environment:
        return from_environment
    # CCACHE_DIR that is set but empty means: not what the system-wide file says.
    from_system = reading.values.get("cache_dir")
    if from_system and from_environment is None:
        return str(from_system)
    if reading.is_dir(legacy_dir):
        return legacy_dir
    parent = _text(reading.environment, b"XDG_CONFIG_HOME", f"{home_dir}/.config")
    return posixpath.join(parent, "ccache")


def _text(environment: Mapping[bytes, bytes], name: bytes, default: str) -> str:
    value = environment_text(environment, name)
    return default if value is None else value
