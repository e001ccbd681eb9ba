"""The installed copy of pycc, a world with a server of its own, and compile servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.daemon_kit import Daemon, daemon
from tests.e2e.conftest import installed, private
from tests.e2e.kit import World
from tests.interop.kit import write_sources

__all__ = ["installed", "private"]


@pytest.fixture(scope="module", params=["distccd", "pyccd"])
def server(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    with daemon(request.param) as made:
        yield made


@pytest.fixture
def world(private: World) -> World:
    """A user with something to compile."""
    write_sources(private.src)
    return private
