"""Who the daemon is while it serves: never root, whoever started it.

distccd leaves itself the one group of its user. Here the user's other groups stay too, because a
cache directory that is shared is shared with a group (root:portage 2775), and being a member of it
is how an administrator says who may use it.
"""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import resource
from contextlib import suppress

from pycc.errors import Fatal
from pycc.record import record

EXIT_SETUID = 112  # distcc's
USERS = ("distcc", "nobody")
PR_SET_NO_NEW_PRIVS = 38
LEAST_FILE_LIMIT = 4 << 30
"""Bytes: the protocol carries no larger object."""
NO_CACHE_LIMIT = 1 << 40


@record
class User:
    """``groups`` has the primary one, too."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def wanted_user(name: str) -> User | None:
    """Whom to become: the user (or number) ``name``, or distccd's defaults where it is empty; None
    for a daemon that was not started by root. Raises Fatal."""
    if os.getuid() != 0 and os.geteuid() != 0:
        return None
    for one in (name,) if name else USERS:
        with suppress(KeyError):
            found = pwd.getpwuid(int(one)) if one.isdigit() else pwd.getpwnam(one)
            if found.pw_uid == 0:
                raise Fatal(f"refusing to run as {one}: give --user another user", EXIT_SETUID)
            return _with_groups(found)
    raise Fatal(f"there is no user {name or ' or '.join(USERS)}: give --user one", EXIT_SETUID)


def current_user() -> User:
    """Who this process is."""
    uid = os.geteuid()
    name = str(uid)
    with suppress(KeyError):
        name = pwd.getpwuid(uid).pw_name
    return User(name, uid, os.getegid(), tuple(sorted({os.getegid(), *os.getgroups()})))


def _with_groups(found: pwd.struct_passwd) -> User:
    more = {group.gr_gid for group in grp.getgrall() if found.pw_name in group.gr_mem}
    groups = tuple(sorted({found.pw_gid, *more}))
    return User(found.pw_name, found.pw_uid, found.pw_gid, groups)


def become(user: User) -> None:
    """Be ``user`` from now on, without a way back. Raises Fatal."""
    try:
        os.setgroups(user.groups)
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    except OSError as problem:
        raise Fatal(f"cannot become {user.name}: {problem.strerror}", EXIT_SETUID) from None
    if 0 in os.getresuid():
        raise Fatal("still have root privileges after discarding them", EXIT_SETUID)


def restrict(cache_size: int) -> None:
    """Take from this process, and from every compile that it starts, what none of them needs.

    It is done once, before there are threads: between fork and exec of a process with threads
    nothing can be done safely, and a limit that is set on a running child comes too late for what
    that has started already. So the limit of a file's size is also the daemon's own, and leaves
    room for the cache's database (``cache_size`` bytes; 0 means that nothing bounds it)."""
    # Whatever a compiler on our PATH is, it gains nothing by being setuid.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _lower_limit(resource.RLIMIT_CORE, 0)
    _lower_limit(resource.RLIMIT_FSIZE, max(LEAST_FILE_LIMIT, cache_size or NO_CACHE_LIMIT))


def _lower_limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(what, (most, most))


def lower_priority(nice: int, oom_score_adj: int | None) -> None:
    """Give way to others; as far as this is allowed, and before privileges go."""
    with suppress(OSError):
        os.nice(nice)
    if oom_score_adj is not None:
        with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(oom_score_adj))


def group_name(gid: int) -> str:
    """For people; the number where the group has no name."""
    with suppress(KeyError):
        return grp.getgrgid(gid).gr_name
    return str(gid)


def user_name(uid: int) -> str:
    """For people; the number where the user has no name."""
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)
