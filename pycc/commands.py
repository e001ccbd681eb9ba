"""The maintenance command line: ccache's options, answered by the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .frame import Exit, Op, Out, Request
from .talk import Talk

if TYPE_CHECKING:
    from .resident import Resident


def answer(request: Request, talk: Talk, resident: Resident) -> Sequence[Op]:
    from .call import configuration

    _, config = configuration(request, resident)
    cache = resident.cache(config)
    text = "".join(f"{k}\t{v}\n" for k, v in sorted(cache.statistics.read().items()))
    return [Out(1, text.encode()), Exit(0)]
