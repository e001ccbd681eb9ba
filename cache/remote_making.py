"""From the setting ``remote_storage`` to storages that can be asked.

As with ccache a program ``ccache-storage-SCHEME`` is used where there is one; else what is built in
here. Modules of schemes are loaded when a setting names them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from ..errors import ConfigError
from ..record import record, replace
from .remote_backend import Backend, Say, StorageFailed, Unusable
from .remote_settings import Shard, StorageSettings, parse_storages
from .remote_signing import Signing
from .remote_storage import Remotes, RemoteStorage

BUILT_IN = "_builtin_"
SIGN_KEY, TRUSTED_KEYS = "sign-key", "trusted-keys"


@record
class Surroundings:
    """What the storages of a call depend on besides the setting."""

    cwd: str
    variables: Mapping[bytes, bytes]
    search: tuple[str, ...]
    """Directories in which storage programs are looked for, in this order."""
    umask: int
    stays: bool
    """Whether this process goes on after the call."""


def open_remotes(text: str, around: Surroundings, warn: Callable[[str], None], say: Say) -> Remotes:
    """Raises ConfigError in ccache's words; nothing is asked yet."""

    def unknown(word: str) -> None:
        say(f"Unknown remote config property: {word}")

    return Remotes(
        [make_storage(settings, around, say) for settings in parse_storages(text, unknown)], warn
    )


def make_storage(whole: StorageSettings, around: Surroundings, say: Say) -> RemoteStorage:
    """One storage of the setting. Raises ConfigError."""
    own = [(key, value) for key, value in whole.attributes if key in (SIGN_KEY, TRUSTED_KEYS)]
    settings = replace(whole, attributes=tuple(a for a in whole.attributes if a not in own))
    scheme = settings.scheme
    program = ""
    if scheme not in ("crsh", "file") and settings.program != BUILT_IN:
        program = _find(settings.program or f"ccache-storage-{scheme}", around, say)
    make = None if program else _BUILT_IN.get(scheme)
    if not program and make is None:
        raise ConfigError(f"unknown remote storage scheme: {scheme}")

    def backend(shard: Shard) -> Backend:
        if make is not None:
            return make(shard, settings, around, say)
        return _behind_program(program, shard, settings, around)

    paths = {key: os.path.join(around.cwd, value) for key, value in own}
    signing = Signing(paths.get(SIGN_KEY, ""), paths.get(TRUSTED_KEYS, "")) if own else None
    return RemoteStorage(settings, backend, signing, watched=around.stays)


def _find(name: str, around: Surroundings, say: Say) -> str:
    if "/" in name:
        candidates = [os.path.join(around.cwd, name)]
    else:
        candidates = [os.path.join(around.cwd, place, name) for place in around.search if place]
    for path in candidates:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            say(f"Found remote storage helper {path}")
            return path
    say(f'Could not find remote storage helper program "{name}"')
    return ""


def _behind_program(
    program: str, shard: Shard, settings: StorageSettings, around: Surroundings
) -> Backend:
    from . import remote_crsh as crsh

    try:
        directory = crsh.endpoint_directory(around.variables)
    except StorageFailed as problem:
        return Unusable(problem)
    endpoint = f"{directory}/{crsh.endpoint_name(shard.url, settings.attributes)}"
    environment = crsh.environment_for(around.variables, shard.url, endpoint, settings)
    return crsh.CrshBackend(settings, endpoint, program, environment)


def _crsh(shard: Shard, settings: StorageSettings, around: Surroundings, say: Say) -> Backend:
    from .remote_crsh import CrshBackend

    return CrshBackend(settings, os.path.join(around.cwd, shard.url.path))


def _file(shard: Shard, settings: StorageSettings, around: Surroundings, say: Say) -> Backend:
    from .remote_file import FileBackend

    return FileBackend(shard.url, settings, around.umask, say)


def _http(shard: Shard, settings: StorageSettings, around: Surroundings, say: Say) -> Backend:
    from .remote_http import HttpBackend

    return HttpBackend(shard.url, settings, say)


def _redis(shard: Shard, settings: StorageSettings, around: Surroundings, say: Say) -> Backend:
    from .remote_redis import RedisBackend

    return RedisBackend(shard.url, settings, say)


def _s3(shard: Shard, settings: StorageSettings, around: Surroundings, say: Say) -> Backend:
    from .remote_s3 import S3Backend

    return S3Backend(shard.url, settings, around.variables, say)


_BUILT_IN: Mapping[str, Callable[[Shard, StorageSettings, Surroundings, Say], Backend]] = {
    "crsh": _crsh,
    "file": _file,
    "http": _http,
    "https": _http,
    "redis": _redis,
    "redis+unix": _redis,
    "rediss": _redis,
    "s3": _s3,
}
SCHEMES: Sequence[str] = tuple(_BUILT_IN)
