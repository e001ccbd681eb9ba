"""Hosts that announce themselves, for one call: which compiler they are to have, who is there.

Asked for is the kind of ``cc``, whatever the call's compiler is called, because servers announce
that of theirs. Two daemons of ours compare the compilers themselves before anything is compiled.
"""

from __future__ import annotations

from collections.abc import Mapping

from .call import RECURSION_GUARD
from .frame import CAPTURE_ERR, CAPTURE_OUT, Run
from .locate import DEFAULT_PATH, locate
from .native import signature
from .remote.discovery import kind_of, with_announced
from .remote.farm import Farm
from .remote.hosts import HostList
from .talk import Talk

KINDS = 100
WAIT_MS = 60_000
NO_CC = "+zeroconf: there is no cc on PATH whose kind servers could be asked for"


def with_discovered(
    hosts: HostList, farm: Farm, talk: Talk, variables: Mapping[bytes, bytes], cwd: bytes
) -> tuple[HostList, str]:
    """The list with those who announce themselves, if it asks for them, and why there can be none.
    May wait for DISCOVERY_SECONDS, once. Raises talk.NotHere, talk.Gone."""
    if not hosts.zeroconf:
        return hosts, ""
    talk.wait(WAIT_MS)
    kind = _kind(farm, talk, variables.get(b"PATH", DEFAULT_PATH), cwd)
    if kind is None:
        return hosts, NO_CC
    talk.wait(WAIT_MS)
    found, problem = farm.announced(kind)
    return with_announced(hosts, found), f"+zeroconf: {problem}" if problem else ""


def _kind(farm: Farm, talk: Talk, search_path: bytes, cwd: bytes) -> str | None:
    found = locate(b"cc", search_path, cwd)
    if found is None:
        return None
    key = (found.path, signature(found.path))
    if key not in farm.kinds:
        said = []
        for option in (b"-dumpmachine", b"-dumpversion"):
            flags = CAPTURE_OUT | CAPTURE_ERR
            report = talk.run(Run((found.path, option), flags, (RECURSION_GUARD,)))
            said.append(report.out if report.ok else b"")
        if len(farm.kinds) >= KINDS:
            farm.kinds.clear()
        farm.kinds[key] = kind_of(*said)
    return farm.kinds[key]
