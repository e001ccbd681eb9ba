"""Hosts that announce themselves, for one call: which compiler they are to have, who is there.

They do by multicast DNS (+zeroconf), or in a Redis server (+redis://...). Asked for is the kind of
``cc``, whatever the call's compiler is called, because servers announce that of theirs. Two daemons
of ours compare the compilers themselves before anything is compiled.
"""

from __future__ import annotations

from collections.abc import Mapping

from .call import RECURSION_GUARD
from .frame import CAPTURE_ERR, CAPTURE_OUT, Run
from .locate import DEFAULT_PATH, locate
from .native import signature
from .remote.client_settings import ClientSettings
from .remote.discovery import Register, kind_of, with_announced
from .remote.farm import Farm
from .remote.hosts import HostList, HostSpec
from .talk import Talk

KINDS = 100
WAIT_MS = 60_000
NO_CC = "+zeroconf: there is no cc on PATH whose kind servers could be asked for"


def announces(hosts: HostList) -> bool:
    """Whether the list asks for hosts that announce themselves."""
    return hosts.zeroconf or bool(hosts.membership)


def with_discovered(
    settings: ClientSettings, farm: Farm, talk: Talk, variables: Mapping[bytes, bytes], cwd: bytes
) -> tuple[HostList | None, str]:
    """The list with those who announce themselves, if it asks for them, and why there can be none.
    May wait for DISCOVERY_SECONDS, once. Raises talk.NotHere, talk.Gone."""
    hosts = settings.hosts
    if hosts is None or not announces(hosts):
        return hosts, ""
    talk.wait(WAIT_MS)
    kind = _kind(farm, talk, variables.get(b"PATH", DEFAULT_PATH), cwd)
    talk.wait(WAIT_MS)
    found: list[tuple[int, tuple[HostSpec, ...]]] = []
    problems = []
    if hosts.zeroconf and kind is None:
        problems.append(NO_CC)
    elif hosts.zeroconf and kind is not None:
        those, problem = farm.announced(kind, settings)
        found.append((hosts.zeroconf_at, those))
        problems += [f"+zeroconf: {problem}"] if problem else []
    for one in hosts.membership:
        # All of them compare their compilers; a kind only spares them questions.
        those, problem = farm.announced(Register(one.url, kind or "", one.options), settings)
        found.append((one.at, those))
        problems += [f"+redis: {problem}"] if problem else []
    return with_announced(hosts, found), "; ".join(problems)


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
