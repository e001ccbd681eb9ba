"""Regular expressions that are compiled when they are first used.

A call in a process of its own uses a few of the forty that its modules define, and each takes 0.2
to 1 ms to compile.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast


def pattern(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """What ``re.compile`` gives, later. Raises re.error then."""
    return cast("re.Pattern[AnyStr]", _Pattern(text, flags))


class _Pattern:
    def __init__(self, text: Any, flags: int) -> None:
        self._source = text, flags

    def __getattr__(self, name: str) -> Any:
        # Only what the instance does not have yet comes here.
        value = getattr(re.compile(*self._source), name)
        setattr(self, name, value)
        return value
