"""The installed copy of pycc, users with something to compile, and compile servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.daemon_kit import Daemon, daemon, open_place
from tests.e2e.conftest import as_root, installed, long_lived, private
from tests.e2e.conftest import world as another_world
from tests.e2e.kit import World
from tests.interop.gate_kit import Gate
from tests.interop.kit import write_sources

__all__ = ["another_world", "as_root", "installed", "long_lived", "private"]


@pytest.fixture(scope="module", params=["distccd", "pyccd"])
def server(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    with daemon(request.param) as made:
        yield made


@pytest.fixture
def gate() -> Iterator[Gate]:
    with open_place() as place:
        made = Gate(place)
        yield made
        made.close()


@pytest.fixture
def world(another_world: World) -> World:
    """A user with something to compile."""
    write_sources(another_world.src)
    return another_world
