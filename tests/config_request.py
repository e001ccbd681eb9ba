"""Loading a configuration from a fake file system, as one request would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from pycc import config
from pycc.config import Config
from pycc.errors import ConfigError
from tests.fake_files import FakeDirectory, FakeFile, FakeFiles

HOME = "/home/u"
CWD = "/home/u/project/src"
USER_CONFIG = "/home/u/.config/ccache/ccache.conf"
SYSTEM_CONFIG = "/etc/ccache.conf"
HERE = f"{CWD}/ccache.conf"
PARENT = "/home/u/project/ccache.conf"

Nodes = Mapping[str, str | FakeFile | FakeDirectory]


def load(
    nodes: Nodes | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
    cwd: str = CWD,
) -> Config:
    variables = {"HOME": HOME} | dict(environment or {})
    return config.load(
        {name.encode(): value.encode() for name, value in variables.items()},
        cwd.encode(),
        overrides=config.parse_overrides(word.encode() for word in overrides),
        files=FakeFiles({cwd: FakeDirectory()} | dict(nodes or {})),
    )


def error_of(
    nodes: Nodes | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
) -> str:
    with pytest.raises(ConfigError) as error:
        load(nodes, environment, overrides)
    return str(error.value)
