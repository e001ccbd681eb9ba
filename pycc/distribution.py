"""Whether misses go to other machines.

Distribution is on where DISTCC_HOSTS is set, where ``prefix_command`` is ``distcc`` and no real
one is on PATH, or is ``pycc``, where ``distribute`` says so, and where a link to distcc stands on
PATH behind ours: that is how the wikis set up ccache and distcc together. A hosts file alone does
not switch it on, because Debian's package brings one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .call import Call

DISPATCHERS = (b"distcc", b"pycc")
"""Values of prefix_command that can mean us."""


def distributes(call: Call) -> bool:
    """Whether misses of this call go to other machines, if there are any."""
    if call.prefix:
        return False
    return (
        b"DISTCC_HOSTS" in call.variables
        or call.dispatches
        or call.config.distribute
        or any(map(is_distcc, call.behind))
    )


def is_distcc(name: bytes) -> bool:
    """Whether somebody who calls ``name`` wants distcc."""
    return os.path.basename(name).startswith(b"distcc")


def means_us(word: bytes, found: bytes | None, ours: bool) -> bool:
    """Whether the prefix command ``word``, which PATH leads to ``found``, is our own dispatcher;
    ``ours``: that is our launcher."""
    return word in DISPATCHERS and (found is None or ours)
