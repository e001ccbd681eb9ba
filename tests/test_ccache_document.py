"""docs/ccache-compatibility.md names everything that a user of ccache may look for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pycc import commands
from pycc.config_table import SETTINGS
from pycc.config_values import SLOPPINESS

TEXT = (Path(__file__).parent.parent / "docs/ccache-compatibility.md").read_text()
NAMED = set(re.findall(r"`([^`\n]+)`", TEXT))
WORDS = {word for name in NAMED for word in name.split()}


@pytest.mark.parametrize("name", [s.key for s in SETTINGS] + list(SLOPPINESS))
def test_a_setting_has_its_row(name: str) -> None:
    assert name in NAMED


@pytest.mark.parametrize("name", commands.LONG)
def test_an_option_has_its_row(name: str) -> None:
    assert f"--{name.rstrip('=')}" in WORDS


def test_every_row_has_a_state() -> None:
    tables = TEXT.split("## What is counted otherwise")[0]
    rows = [row.split("|")[2].strip() for row in tables.splitlines() if row.startswith("| ")]
    assert set(rows) == {"state", "same", "ours", "taken", "no"}
