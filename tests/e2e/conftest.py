"""Fixtures: one installed copy of pycc for all tests, directories of its own for each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.kit import Install, World, install, real, world_in


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Install:
    return install(tmp_path_factory.mktemp("prefix"))


@pytest.fixture
def private(installed: Install, tmp_path: Path) -> Iterator[World]:
    """A world with a server of its own."""
    with world_in(installed, tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def long_lived(installed: Install, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_in(installed, tmp_path_factory.mktemp("long")) as made:
        yield made


@pytest.fixture
def world(long_lived: World, tmp_path: Path) -> World:
    """A world whose server has served others before: cheap, and its memos are full."""
    if not long_lived.servers():
        long_lived.start()
    return World(long_lived.install, tmp_path, long_lived.runtime)


@pytest.fixture(scope="module")
def hits() -> Iterator[list[int]]:
    """Hits of the whole module: without them these tests would prove nothing."""
    found: list[int] = []
    yield found
    assert len(found) < 50 or sum(found) > 2 * len(found), found


@pytest.fixture
def count_hits(world: World, hits: list[int]) -> Iterator[None]:
    yield
    stats = world.stats()
    hits.append(stats.get("direct_cache_hit", 0) + stats.get("preprocessed_cache_hit", 0))


@pytest.fixture
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def clang() -> None:
    if real("clang") is None:
        pytest.skip("needs clang")
