"""Fixtures: one installed copy of pycc for all tests, a world of its own for each."""

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
def world(installed: Install, tmp_path: Path) -> Iterator[World]:
    with world_in(installed, tmp_path) as made:
        yield made


@pytest.fixture
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def clang() -> None:
    if real("clang") is None:
        pytest.skip("needs clang")
