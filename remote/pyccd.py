"""The program ``pyccd``: from its command line to a daemon that serves.

    settings        what was told                                    settings.py
    open the log    before privileges go, so that /var/log will do    daemon_log.py
    make the cache  and give it to the user that the daemon will be
    listen          before anything is detached: a busy port is an error of the command
    detach          unless --no-detach; the pid file holds the daemon's own number
    become          --user, else distcc, else nobody; never root
    serve           daemon.py

The order is distccd's but for the log, which distccd opens as the user that may not write it.
"""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress

from pycc import __version__, native
from pycc.cache import disk_cache
from pycc.cache.directory import CacheDirectory
from pycc.cache.statistics import Statistics
from pycc.cache.storage_local import open_local
from pycc.errors import Fatal
from pycc.locate import DEFAULT_PATH

from . import access, daemon_log
from .compilers import CommandList, Rules
from .daemon import Daemon
from .daemon_log import Level, Log
from .identities import Identities
from .job import Workshop
from .server_cache import ServerCache
from .settings import Settings, config_text, help_text, read_settings

EXIT_BIND, EXIT_SETUID = 102, 112  # distcc's
PR_SET_NO_NEW_PRIVS = 38
BACKLOG = 1024
USERS = ("distcc", "nobody")
KEPT_VARIABLES = ("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LD_LIBRARY_PATH")
"""What a compile inherits beside PATH and TMPDIR; above all no CCACHE_PREFIX and no DISTCC_HOSTS,
which make a wrapper on the server call back into the farm."""


def main() -> None:
    """Entry point of ``pyccd``, which is also installed as ``distccd``."""
    name = os.path.basename(sys.argv[0]) or "pyccd"
    try:
        sys.exit(start(name, sys.argv[1:], dict(os.environ)))
    except Fatal as problem:
        print(f"{name}: {problem}", file=sys.stderr)
        sys.exit(problem.status)


def start(name: str, words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Do what the command line says; returns the exit status. Raises Fatal."""
    settings = read_settings(words, environment, _read_file)
    if settings.action == "help":
        print(help_text(name), end="")
    elif settings.action == "version":
        print(f"{name} {__version__} pycc\n  (protocols 1, 2 and 3) (default port 3632)")
    elif settings.action == "print_config":
        print(config_text(settings), end="")
    else:
        _run(name, settings, environment)
    return 0


def _read_file(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(1 << 20)
    except OSError:
        return None


_LOADED = (disk_cache,)
"""Loaded as root: the user that the daemon becomes may not be able to read where we lie."""


def _run(name: str, settings: Settings, environment: Mapping[str, str]) -> None:
    native.load()
    log = _open_log(name, settings)
    user = _user(settings)
    cache = _cache(settings, user, log)
    listeners = _listen(settings)
    if not (settings("no_detach") or settings("wizard")):
        _detach(settings("log_stderr"))
    _write_pid_file(settings("pid_file"))
    _lower(settings)
    if user is not None:
        _become(user, log)
    # Whatever a compiler on our PATH is, it gains nothing by being setuid.
    ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    jobs = settings("jobs") or (os.cpu_count() or 1) + 2
    daemon = Daemon(
        _workshop(settings, environment, cache),
        log,
        turns=1 if settings("no_fork") or settings("wizard") else jobs,
        masks=_masks(settings),
    )
    signal.signal(signal.SIGTERM, daemon.leave)
    signal.signal(signal.SIGINT, daemon.leave)
    os.chdir(tempfile.gettempdir())
    log(Level.INFO, f"allowing up to {jobs} active jobs")
    log(Level.INFO, f"daemon's PATH is {_search_path(settings, environment)}")
    try:
        daemon.serve(listeners, settings("lifetime") or None)
    finally:
        if cache is not None:
            cache.close()
        if settings("pid_file"):
            with suppress(OSError):
                os.unlink(settings("pid_file"))


def _open_log(name: str, settings: Settings) -> Log:
    level = Level.DEBUG if settings("verbose") or settings("wizard") else settings("log_level")
    if settings("log_file"):
        return Log(level, daemon_log.to_file(settings("log_file")), name)
    if settings("log_stderr") or settings("no_detach") or settings("wizard"):
        return Log(level, daemon_log.to_standard_error(), name)
    return Log(level, daemon_log.to_syslog(name), name)


def _masks(settings: Settings) -> tuple[access.Mask, ...]:
    given: tuple[access.Mask, ...] = settings("allow")
    if settings("allow_private") or not given:
        return (*given, *access.PRIVATE)
    return given


def _user(settings: Settings) -> pwd.struct_passwd | None:
    """Who to become; None for a daemon that was not started by root."""
    if os.getuid() != 0:
        return None
    names = (settings("user"),) if settings("user") else USERS
    for name in names:
        with suppress(KeyError):
            found = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
            if found.pw_uid == 0:
                raise Fatal(f"refusing to run as {name}: give --user another user", EXIT_SETUID)
            return found
    raise Fatal(f"there is no user {' or '.join(names)}: give --user one", EXIT_SETUID)


def _cache(settings: Settings, user: pwd.struct_passwd | None, log: Log) -> ServerCache | None:
    """The cache, made now and given to ``user``; None where there is none."""
    directory = settings("cache_dir")
    if settings("no_cache") or not directory:
        return None
    root = os.path.join(directory, "pycc")
    try:
        for path in (directory, root):
            with suppress(FileExistsError):
                os.mkdir(path, 0o755)
                if user is not None:
                    os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
    except OSError as problem:
        log(Level.WARNING, f"no cache: {problem}")
        return None
    storage = open_local(directory, max_size=settings("cache_size"))
    return ServerCache(CacheDirectory(root, storage, Statistics(directory)))


def _listen(settings: Settings) -> list[socket.socket]:
    """Raises Fatal with distcc's status when the port cannot be had."""
    port, address = settings("port"), settings("listen")
    family = socket.AF_INET6 if ":" in address or not address else socket.AF_INET
    both = not address and socket.has_dualstack_ipv6()
    if not address and not both:
        family = socket.AF_INET
    try:
        return [
            socket.create_server(
                (address, port), family=family, backlog=BACKLOG, dualstack_ipv6=both
            )
        ]
    except OSError as problem:
        message = f"cannot listen on {address or '*'}:{port}: {problem.strerror}"
        raise Fatal(message, EXIT_BIND) from None


def _detach(keep_standard_error: bool) -> None:
    """Go on as a grandchild that no terminal stops."""
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        # Until the pid file is written, or the child has ended without.
        os._exit(0 if os.read(reader, 1) else 1)
    os.close(reader)
    os.setsid()
    os.set_inheritable(writer, False)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1) if keep_standard_error else (0, 1, 2):
        os.dup2(null, number)
    _ready.append(writer)


_ready: list[int] = []


def _write_pid_file(path: str) -> None:
    if path:
        try:
            with open(path, "w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")
        except OSError as problem:
            raise Fatal(f"{path}: {problem.strerror}", daemon_log.EXIT_NO_FILE) from None
    while _ready:
        os.write(_ready[-1], b"x")
        os.close(_ready.pop())


def _lower(settings: Settings) -> None:
    with suppress(OSError):
        os.nice(settings("nice"))
    if settings("oom_score_adj") is not None:
        with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(settings("oom_score_adj")))


def _become(user: pwd.struct_passwd, log: Log) -> None:
    groups = [user.pw_gid, *(g.gr_gid for g in grp.getgrall() if user.pw_name in g.gr_mem)]
    try:
        os.setgroups(sorted(set(groups)))
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    except OSError as problem:
        raise Fatal(f"cannot become {user.pw_name}: {problem.strerror}", EXIT_SETUID) from None
    text = f"discarded root privileges, changed to uid={user.pw_uid} gid={user.pw_gid}"
    log(Level.INFO, text, "dcc_discard_root")


def _search_path(settings: Settings, environment: Mapping[str, str]) -> str:
    return settings("path") or environment.get("PATH") or os.fsdecode(DEFAULT_PATH)


def _workshop(
    settings: Settings, environment: Mapping[str, str], cache: ServerCache | None
) -> Workshop:
    path = os.fsencode(_search_path(settings, environment))
    kept = {os.fsencode(n): os.fsencode(environment[n]) for n in KEPT_VARIABLES if n in environment}
    compile_environment = {**kept, b"PATH": path}
    return Workshop(
        Rules(path, settings("enable_tcp_insecure"), _commands(settings)),
        compile_environment,
        Identities(compile_environment),
        cache,
        tempfile.gettempdir(),
        settings("job_lifetime") or None,
    )


def _commands(settings: Settings) -> CommandList | None:
    path = settings("cmdlist")
    if not path:
        return None
    content = _read_file(path)
    if content is None:
        raise Fatal(f"DISTCC_CMDLIST {path}: cannot be read", daemon_log.EXIT_NO_FILE)
    lines = (line.strip() for line in content.splitlines())
    programs = tuple(os.fsencode(line) for line in lines if line and not line.startswith("#"))
    return CommandList(programs, settings("cmdlist_numwords"))
