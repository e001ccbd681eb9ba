"""Which of the files that a compile read -MMD would have listed: all that are not the system's.

To gcc (libcpp/files.cc, ``_cpp_stack_file``) and clang a file is the system's if it was found in a
directory of the system chain, or was included by such a file, or by one with ``#pragma GCC
system_header``. A list of -MD does not tell who included whom. But where no file of the system's
asks for a name that may lead to one of the user's, and the other way round, the directories decide;
and elsewhere nothing is said.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .cache.lookup import absolute
from .depfile import without_dot_slash
from .directives import Directives
from .remote.pump_words import CannotPump
from .searched import Looker

if TYPE_CHECKING:
    from .job import Job
    from .resident import Resident


def of(job: Job, resident: Resident, names: Sequence[bytes]) -> tuple[bytes, ...]:
    """Those of ``names`` that are the user's, the source first. Raises CannotPump where it cannot
    be known."""
    systems = _system_directories(job)
    look = Looker(job.call.cwd, resident)
    include = job.invocation.include
    searched = {_prefix(directory) for directory in (*include.quote, *include.angle)}
    users: list[bytes] = []
    others: list[bytes] = []
    asked_by_users: set[bytes] = set()
    asked_by_systems: set[bytes] = set()
    for name in names:
        asked = _directives(job, resident, name, look)
        if name.startswith(systems):
            others.append(name)
            asked_by_systems |= asked.quoted | asked.angled
            if asked.computed_include:
                raise CannotPump("a macro names a header in one of the system's")
        else:
            users.append(name)
            asked_by_users |= asked.quoted | asked.angled
            if _says_system(job, resident, name):
                raise CannotPump("a header of the user's says that it is the system's")
    if users[:1] != list(names[:1]):
        raise CannotPump("the source lies in a directory of the system's")
    by_systems = _may_lead_to(asked_by_systems, searched)
    for name in users:
        if by_systems(name):
            raise CannotPump(f"{os.fsdecode(name)} may be included by a header of the system's")
    beside = {name[: name.rfind(b"/") + 1] for name in users}
    by_users = _may_lead_to(asked_by_users, searched | beside)
    for name in others:
        if by_users(name):
            raise CannotPump(f"{os.fsdecode(name)} may be included as one of the user's")
    return tuple(users)


def _may_lead_to(wanted: set[bytes], prefixes: set[bytes]) -> Callable[[bytes], bool]:
    """Tells whether a file is one that an #include of ``wanted`` may find behind ``prefixes``."""
    climbing = [one for one in wanted if b"./" in one or b"//" in one]
    reached = {os.path.normpath(prefix + one) for one in climbing for prefix in prefixes}

    def may(name: bytes) -> bool:
        if any(name.startswith(p) and name[len(p) :] in wanted for p in prefixes):
            return True
        return bool(reached) and os.path.normpath(name) in reached

    return may


def _prefix(directory: bytes) -> bytes:
    plain = without_dot_slash(directory.rstrip(b"/") + b"/")
    return plain if plain != b"./" else b""


def _system_directories(job: Job) -> tuple[bytes, ...]:
    """As they stand before names. Raises CannotPump."""
    include = job.invocation.include
    named = (*include.system, *include.cxx_system, *include.after)
    systems = set(map(_prefix, (*job.toolchain.chain.bracket, *named)))
    if systems & set(map(_prefix, (*include.quote, *include.angle))):
        raise CannotPump("a directory is the user's and the system's")
    return tuple(systems)


def _directives(job: Job, resident: Resident, name: bytes, look: Looker) -> Directives:
    path = absolute(job.call.cwd, name)
    digest = resident.digests.digest(path, look(path))
    asked = None if digest is None else resident.directives(path, digest)
    if asked is None:
        raise CannotPump(f"{os.fsdecode(name)} is being changed")
    return asked


def _says_system(job: Job, resident: Resident, name: bytes) -> bool:
    got = resident.digests.read(absolute(job.call.cwd, name))
    return got is None or b"system_header" in got[1]
