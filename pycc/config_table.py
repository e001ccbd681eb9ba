"""The list of settings: key, environment variables, value kind, and rule for directory files.

Keys, variables and rules are ccache's (facts of src/ccache/config.cpp at e5731387); the last
rows are our own. A new setting is a row here, a field in `pycc.config.Config` and a line in the
manual.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any

from pycc import config_values as values

from .record import record


class DirectoryPolicy(enum.Enum):
    """What a directory-specific configuration file may do with a setting."""

    ALLOW = "allow"
    UNSAFE = "unsafe"  # only in files under safe_dirs: names commands, files or servers
    REJECT = "reject"


@record
class Kind:
    """How the values of a setting are read and written."""

    parse: Callable[[str], Any]
    format: Callable[[Any], str]


@record
class Setting:
    """One row: ``variables`` are full names; a boolean's negations are derived from them."""

    key: str
    kind: Kind
    variables: tuple[str, ...]
    policy: DirectoryPolicy = DirectoryPolicy.ALLOW


@record
class Variable:
    """An environment variable, and the one that a person who wrote ``=0`` wanted."""

    setting: Setting
    negated: bool
    opposite: str


BOOLEAN = Kind(values.parse_bool, values.format_bool)
TEXT = Kind(str, str)
PATHS = Kind(values.split_path_list, values.join_path_list)
ABSOLUTE_PATHS = Kind(values.parse_absolute_path_list, values.join_path_list)
SAFE_DIRS = Kind(values.parse_safe_dirs, values.join_path_list)
CACHE_DIR = Kind(values.normal_path, str)
COMPILER_TYPE = Kind(values.parse_compiler_type, str)
RESPONSE_FILE_FORMAT = Kind(values.parse_response_file_format, str)
COMPRESSION_LEVEL = Kind(
    lambda text: values.parse_signed(text, -128, 127, "compression_level"), str
)
DEBUG_LEVEL = Kind(lambda text: values.parse_unsigned(text, 0, 255, "debug level"), str)
COUNT = Kind(values.parse_unsigned, str)
SIZE = Kind(values.parse_size, values.format_size_setting)
SLOPPINESS = Kind(values.parse_sloppiness, values.format_sloppiness)
UMASK = Kind(values.parse_umask, values.format_umask)

_UNSAFE = DirectoryPolicy.UNSAFE
_REJECT = DirectoryPolicy.REJECT

SETTINGS: tuple[Setting, ...] = (
    Setting("absolute_paths_in_stderr", BOOLEAN, ("CCACHE_ABSSTDERR",)),
    Setting("base_dir", ABSOLUTE_PATHS, ("CCACHE_BASEDIR",)),
    Setting("cache_dir", CACHE_DIR, ("CCACHE_DIR",), _REJECT),
    Setting("ceiling_dirs", ABSOLUTE_PATHS, ("CCACHE_CEILING_DIRS",), _REJECT),
    Setting("ceiling_markers", PATHS, ("CCACHE_CEILING_MARKERS",), _REJECT),
    Setting("compiler", TEXT, ("CCACHE_COMPILER", "CCACHE_CC"), _UNSAFE),
    Setting("compiler_check", TEXT, ("CCACHE_COMPILERCHECK",), _UNSAFE),
    Setting("compiler_type", COMPILER_TYPE, ("CCACHE_COMPILERTYPE",)),
    Setting("compression", BOOLEAN, ("CCACHE_COMPRESS",)),
    Setting("compression_level", COMPRESSION_LEVEL, ("CCACHE_COMPRESSLEVEL",)),
    Setting("debug", BOOLEAN, ("CCACHE_DEBUG",)),
    Setting("debug_dir", TEXT, ("CCACHE_DEBUGDIR",), _UNSAFE),
    Setting("debug_level", DEBUG_LEVEL, ("CCACHE_DEBUGLEVEL",)),
    Setting("depend_mode", BOOLEAN, ("CCACHE_DEPEND",)),
    Setting("direct_mode", BOOLEAN, ("CCACHE_DIRECT",)),
    Setting("disable", BOOLEAN, ("CCACHE_DISABLE",)),
    Setting("extra_files_to_hash", TEXT, ("CCACHE_EXTRAFILES",)),
    Setting("file_clone", BOOLEAN, ("CCACHE_FILECLONE",)),
    Setting("hard_link", BOOLEAN, ("CCACHE_HARDLINK",)),
    Setting("hash_dir", BOOLEAN, ("CCACHE_HASHDIR",)),
    Setting("ignore_headers_in_manifest", TEXT, ("CCACHE_IGNOREHEADERS",)),
    Setting("ignore_options", TEXT, ("CCACHE_IGNOREOPTIONS",)),
    Setting("inode_cache", BOOLEAN, ("CCACHE_INODECACHE",)),
    Setting("keep_comments_cpp", BOOLEAN, ("CCACHE_COMMENTS",)),
    Setting("libexec_dirs", PATHS, ("CCACHE_LIBEXEC_DIRS",), _UNSAFE),
    Setting("log_file", TEXT, ("CCACHE_LOGFILE",), _UNSAFE),
    Setting("max_files", COUNT, ("CCACHE_MAXFILES",), _REJECT),
    Setting("max_size", SIZE, ("CCACHE_MAXSIZE",), _REJECT),
    Setting("msvc_dep_prefix", TEXT, ("CCACHE_MSVC_DEP_PREFIX",)),
    Setting("msvc_utf8", BOOLEAN, ("CCACHE_MSVC_UTF8",)),
    Setting("namespace", TEXT, ("CCACHE_NAMESPACE",)),
    Setting("path", TEXT, ("CCACHE_PATH",), _UNSAFE),
    Setting("pch_external_checksum", BOOLEAN, ("CCACHE_PCH_EXTSUM",)),
    Setting("prefix_command", TEXT, ("CCACHE_PREFIX",), _UNSAFE),
    Setting("prefix_command_cpp", TEXT, ("CCACHE_PREFIX_CPP",), _UNSAFE),
    Setting("read_only", BOOLEAN, ("CCACHE_READONLY",)),
    Setting("read_only_direct", BOOLEAN, ("CCACHE_READONLY_DIRECT",)),
    Setting("recache", BOOLEAN, ("CCACHE_RECACHE",)),
    Setting("remote_only", BOOLEAN, ("CCACHE_REMOTE_ONLY",)),
    Setting("remote_storage", TEXT, ("CCACHE_REMOTE_STORAGE", "CCACHE_SECONDARY_STORAGE"), _UNSAFE),
    Setting("reshare", BOOLEAN, ("CCACHE_RESHARE",)),
    Setting("response_file_format", RESPONSE_FILE_FORMAT, ("CCACHE_RESPONSE_FILE_FORMAT",)),
    Setting("safe_dirs", SAFE_DIRS, ("CCACHE_SAFE_DIRS",), _REJECT),
    Setting("sloppiness", SLOPPINESS, ("CCACHE_SLOPPINESS",)),
    Setting("stats", BOOLEAN, ("CCACHE_STATS",)),
    Setting("stats_log", TEXT, ("CCACHE_STATSLOG",), _UNSAFE),
    Setting("temporary_dir", TEXT, ("CCACHE_TEMPDIR",), _UNSAFE),
    Setting("umask", UMASK, ("CCACHE_UMASK",), _UNSAFE),
    # Ours. Who needs them: preprocess_first, trees whose sources change in comments only (the
    # first such edit is then a hit, at the price of preprocessing every miss); reread_files,
    # trees written through mmap, which moves no timestamp; distribute, whoever has a hosts file and
    # nothing else that says so; split_commands = false, whoever counts links and commands of
    # several sources as ccache does.
    Setting("distribute", BOOLEAN, ("PYCC_DISTRIBUTE",)),
    Setting("preprocess_first", BOOLEAN, ("CCACHE_PREPROCESS_FIRST", "PYCC_PREPROCESS_FIRST")),
    Setting("reread_files", BOOLEAN, ("PYCC_REREAD_FILES",)),
    Setting("split_commands", BOOLEAN, ("CCACHE_SPLIT_COMMANDS", "PYCC_SPLIT_COMMANDS")),
)

BY_KEY: Mapping[str, Setting] = {setting.key: setting for setting in SETTINGS}

# Keys of older ccache versions that mean a key above; accepted everywhere, shown nowhere.
ALIASES: Mapping[str, str] = {"secondary_storage": "remote_storage"}


def find_setting(key: str) -> Setting | None:
    """The row of ``key`` or of the key that it is an alias of; None when there is none."""
    return BY_KEY.get(ALIASES.get(key, key))


def _variables() -> dict[bytes, Variable]:
    table: dict[bytes, Variable] = {}
    for setting in SETTINGS:
        for name in setting.variables:
            prefix, _, rest = name.partition("_")
            negation = f"{prefix}_NO{rest}"
            table[name.encode()] = Variable(setting, False, negation)
            # ccache strips NO before it knows the kind, so CCACHE_NODIR=x sets cache_dir to x.
            table[negation.encode()] = Variable(setting, True, name)
    return table


VARIABLES: Mapping[bytes, Variable] = _variables()
