"""The small programs by which distcc's suite asks what words mean (its h_*), over our modules.

The name that it is called by says which: ``h_scanargs gcc -c x.c``. Each says what the suite's
case of that name reads, and leaves with the status that it expects.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from pycc.errors import Fatal
from pycc.remote import commandline
from pycc.remote.access import allows, parse_mask
from pycc.remote.hosts import HostSpec, HostSpecError, Kind, host_texts, parse_hosts

ACCESS_DENIED = 113


def strip(*words: str) -> int:
    print(*map(os.fsdecode, commandline.strip(_raw(words))))
    return 0


def issource(name: str) -> int:
    raw = os.fsencode(name)
    source, done = commandline.is_source(raw), commandline.is_preprocessed(raw)
    print("source" if source else "not-source", "preprocessed" if done else "not-preprocessed")
    return 0


def exten(name: str) -> int:
    sys.stdout.write(os.fsdecode(commandline.extension(os.fsencode(name)) or b"(NULL)"))
    return 0


def scanargs(*words: str) -> int:
    scanned = commandline.scan(commandline.find_compiler((b"distcc", *_raw(words))))
    if isinstance(scanned, commandline.Local):
        print("local", "(NULL)", "(NULL)")
    else:
        print("distribute", os.fsdecode(scanned.input), os.fsdecode(scanned.output))
    return 0


def dotd(_function: str, *words: str) -> int:
    given = os.environb.get(b"DEPENDENCIES_OUTPUT")
    where = commandline.dependency_target(_raw(words), given)
    said = {
        "dotd_fname": os.fsdecode(where.file or b""),
        "needs_dotd": int(where.wanted),
        "sets_dotd_target": int(where.names_target),
        "dotd_target": os.fsdecode(where.target or b"None"),
    }
    sys.stdout.write(repr(said))
    return 0


def hosts(*_verbose: str) -> int:
    listed = host_texts(os.environb, lambda _path: None)
    try:
        found = parse_hosts(listed[0] if listed else "").hosts
    except HostSpecError as problem:
        print(problem, file=sys.stderr)
        return problem.status
    if not found:
        return HostSpecError.status
    print(len(found))
    for spec in found:
        print(f"{spec.slots:4} {_reached(spec)}")
    return 0


def _reached(spec: HostSpec) -> str:
    if spec.kind is Kind.LOCAL:
        return "LOCAL"
    if spec.kind is Kind.SSH:
        return f"SSH {spec.user or '(no-user)'} {spec.host} {spec.command or '(no-command)'}"
    return f"TCP {spec.host} {spec.port}"


def parsemask(mask: str, client: str) -> int:
    try:
        return 0 if allows([parse_mask(mask)], client) else ACCESS_DENIED
    except Fatal as problem:
        print(problem, file=sys.stderr)
        return problem.status


def _raw(words: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(map(os.fsencode, words))


PROGRAMS: dict[str, Callable[..., int]] = {
    f"h_{asked.__name__}": asked
    for asked in (strip, issource, exten, scanargs, dotd, hosts, parsemask)
}


def main(name: str) -> int:
    return PROGRAMS[name](*sys.argv[1:])
