"""Applying files, environment and command line to the values of a configuration, one by one."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Mapping
from typing import Any

from pycc.config_access import FileAccess
from pycc.config_file import ConfigSyntaxError, parse_items
from pycc.config_table import BOOLEAN, VARIABLES, DirectoryPolicy, Setting, find_setting
from pycc.config_values import (
    check_environment_bool,
    expand_variables,
    normal_path,
    parse_absolute_path_list,
    parse_safe_dirs,
    split_path_list,
)
from pycc.errors import ConfigError

_SAFE_COMPILER_CHECKS = ("none", "mtime", "content")


class Reading:
    """The values found so far, with their origins and the paths that were asked about."""

    def __init__(self, environment: Mapping[bytes, bytes], cwd: str, files: FileAccess) -> None:
        self.environment = environment
        self.cwd = cwd
        self.files = files
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.consulted: dict[str, None] = {}

    def absolute(self, path: str) -> str:
        """``path`` joined to the working directory of the request."""
        return path if path.startswith("/") else posixpath.join(self.cwd, path)

    def is_dir(self, path: str) -> bool:
        """Whether ``path`` is a directory; it becomes a witness."""
        path = self.absolute(path)
        self.consulted[path] = None
        status = self.files.stat(path)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def assign(self, setting: Setting, unexpanded: str, origin: str) -> None:
        """Expand, parse and store a value that is not a boolean of the environment."""
        self.store(
            setting, setting.kind.parse(expand_variables(unexpanded, self.environment)), origin
        )

    def store(self, setting: Setting, value: Any, origin: str) -> None:
        """Keep a parsed value, over whatever a weaker place said."""
        # Only an empty umask parses to None: it changes nothing but is shown as the origin.
        if value is not None:
            self.values[setting.key] = value
        self.origins[setting.key] = origin

    def apply_file(self, path: str) -> None:
        """Apply a system-wide or cache-specific file; unknown keys are for other versions."""
        for line, key, value in self.items(path):
            setting = find_setting(key)
            if setting is not None:
                try:
                    self.assign(setting, value, path)
                except ConfigError as error:
                    raise ConfigError(f"{path}:{line}: {error}") from None

    def apply_directory_file(self, path: str) -> None:
        """Apply a directory-specific file, which may come with a source tree from anywhere."""
        trusted = is_safe_dir(posixpath.dirname(path), self.values.get("safe_dirs", ()))
        for line, key, value in self.items(path):
            try:
                setting = find_setting(key)
                if setting is None:
                    raise ConfigError(f'unknown configuration option "{key}"')
                self.check_policy(setting, key, value, trusted)
                self.assign(setting, value, path)
            except ConfigError as error:
                raise ConfigError(f"{path}:{line}: {error}") from None

    def check_policy(self, setting: Setting, key: str, value: str, trusted: bool) -> None:
        """Refuse what a directory-specific file may not set (`DirectoryPolicy`)."""
        option = f'configuration option "{key}" is'
        if setting.policy is DirectoryPolicy.REJECT:
            raise ConfigError(f"{option} not allowed in directory configuration files")
        if setting.policy is not DirectoryPolicy.UNSAFE or trusted:
            return
        where = "only allowed in directory configuration files located under safe_dirs"
        if setting.key != "compiler_check":
            raise ConfigError(f"{option} considered unsafe and is {where}")
        expanded = expand_variables(value, self.environment)
        if expanded not in _SAFE_COMPILER_CHECKS and not expanded.startswith("string:"):
            raise ConfigError(
                f"{option} considered unsafe when it invokes a command and is {where}"
            )

    def items(self, path: str) -> list[tuple[int, str, str]]:
        """Line, key and value of each item in the file; nothing when it cannot be read."""
        if not path:
            return []
        absolute = self.absolute(path)
        self.consulted[absolute] = None
        content = self.files.read(absolute)
        if content is None:
            return []
        try:
            return [(item.line, item.key, item.value) for item in parse_items(os.fsdecode(content))]
        except ConfigSyntaxError as error:
            raise ConfigError(f"{path}:{error}") from None

    def apply_environment(self) -> None:
        """Apply the variables in their order; of two that set the same key the last counts."""
        for name in filter(VARIABLES.__contains__, self.environment):
            variable = VARIABLES[name]
            setting, text = variable.setting, os.fsdecode(self.environment[name])
            try:
                if setting.kind is BOOLEAN:
                    expanded = expand_variables(text, self.environment)
                    check_environment_bool(expanded, variable.opposite)
                    self.store(setting, not variable.negated, "environment")
                else:
                    self.assign(setting, text, "environment")
            except ConfigError as error:
                raise ConfigError(f"{name.decode()}: {error}") from None

    def apply_overrides(self, settings: Mapping[str, str]) -> None:
        """Apply the settings of the command line; unknown keys are ignored as in ccache."""
        for key, value in settings.items():
            setting = find_setting(key)
            if setting is not None:
                try:
                    self.assign(setting, value, "command line")
                except ConfigError as error:
                    raise ConfigError(
                        f'when parsing command line config "{key}": {error}'
                    ) from None

    def apply_search_limits(self, settings: Mapping[str, str]) -> None:
        """Settle what the search for a directory-specific file depends on, before it begins."""
        for key, name, parse in (
            ("ceiling_dirs", b"CCACHE_CEILING_DIRS", parse_absolute_path_list),
            ("ceiling_markers", b"CCACHE_CEILING_MARKERS", split_path_list),
            ("safe_dirs", b"CCACHE_SAFE_DIRS", parse_safe_dirs),
        ):
            text = settings.get(key)
            if text is None:
                text = environment_text(self.environment, name)
            if text is not None:
                self.values[key] = parse(expand_variables(text, self.environment))

    def find_directory_config(self) -> str:
        """The directory-specific file for the working directory, or "" when there is none.

        ConfigError when it belongs to another user or everybody may write it.
        """
        if not self.cwd.startswith("/"):
            return ""
        ceilings = self.values.get("ceiling_dirs", ())
        markers = self.values.get("ceiling_markers", (".git",))
        user = self.files.user()
        directory = normal_path(self.cwd)
        device = None
        while directory not in ceilings:
            self.consulted[directory] = None
            status = self.files.stat(directory)
            if status is None or not stat.S_ISDIR(status.st_mode) or status.st_uid != user:
                break
            if device not in (None, status.st_dev):
                break
            device = status.st_dev
            prefix = directory if directory == "/" else f"{directory}/"
            candidate = f"{prefix}ccache.conf"
            if self.exists(candidate) and self.is_acceptable(candidate, user):
                return candidate
            if any(self.exists(m if m[0] == "/" else prefix + m) for m in markers):
                break
            if directory == "/":
                break
            directory = directory[: directory.rindex("/")] or "/"
        return ""

    def is_acceptable(self, candidate: str, user: int) -> bool:
        """Whether ``candidate`` is a regular file; ConfigError when others may have written it."""
        status = self.files.stat(candidate)
        if status is None or not stat.S_ISREG(status.st_mode):
            return False
        what = f"directory-specific configuration file {candidate}"
        if status.st_uid != user:
            raise ConfigError(f"{what} owned by another user (owner {status.st_uid} != uid {user})")
        if status.st_mode & stat.S_IWOTH:
            raise ConfigError(f"{what} is world-writable")
        return True

    def exists(self, path: str) -> bool:
        """Whether anything is at ``path`` (absolute); it becomes a witness."""
        self.consulted[path] = None
        return self.files.exists(path)

    def default_temporary_dir(self, cache_dir: str) -> str:
        """The directory that ccache would use (and make) when temporary_dir is not set."""
        runtime = environment_text(self.environment, b"XDG_RUNTIME_DIR")
        if runtime and self.is_dir(runtime):
            path = posixpath.join(runtime, "ccache-tmp")
            absolute = self.absolute(path)
            self.consulted[absolute] = None
            status = self.files.stat(absolute)
            place = self.absolute(runtime) if status is None else absolute
            usable = status is None or stat.S_ISDIR(status.st_mode)
            if usable and self.files.writable(place):
                return path
        return posixpath.join(cache_dir, "tmp")


def is_safe_dir(directory: str, safe_dirs: tuple[str, ...]) -> bool:
    """Whether ``directory`` is one of ``safe_dirs``, or below one that ends in ``/*``."""
    for safe_dir in safe_dirs:
        prefix = safe_dir[:-1] if safe_dir.endswith("/*") else None
        if safe_dir in ("*", directory):
            return True
        if prefix and directory.startswith(prefix) and directory != prefix:
            return True
    return False


def environment_text(environment: Mapping[bytes, bytes], name: bytes) -> str | None:
    """The variable ``name`` as text, or None when it is not set."""
    value = environment.get(name)
    return None if value is None else os.fsdecode(value)
