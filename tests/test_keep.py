"""What may be stored at all (pycc/keep.py); what of it is right is told by whole compiles."""

from __future__ import annotations

from typing import cast

import pytest

from pycc.job import Job
from pycc.keep import Decision, store
from pycc.resident import Resident


def test_what_rests_on_proven_lookups_is_never_stored() -> None:
    """Two such results would be taken for each other."""
    nobody = cast(Job, None), cast(Resident, None)
    with pytest.raises(ValueError, match="names no result"):
        store(*nobody, Decision(b"", None), None)
