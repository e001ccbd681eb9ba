"""The program ``pyccd``: from its command line to a daemon that serves.

    settings        what was told                                    settings.py
    open the log    before privileges go, so that /var/log will do    provision.py
    make the cache  and give it to the user that the daemon will be   cache_place.py
    listen          before anything is detached: a busy port is an error of the command
    detach          unless --no-detach; the pid file holds the daemon's own number
    become          --user, else distcc, else nobody; never root      privileges.py
    serve           daemon.py

The order is distccd's but for the log, which distccd opens as the user that may not write it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import FrameType

from pycc import __version__, native
from pycc.cache import disk_cache
from pycc.cache.directory import CacheDirectory
from pycc.cache.statistics import Statistics
from pycc.cache.storage_local import open_local
from pycc.errors import Fatal
from pycc.unfinished import Unfinished

from . import cache_place, checkup, daemon_log, discovery, mdns, provision, register
from .admission import OPEN
from .child import Stop, run
from .compilers import Rules, choose, nothing_to_run, runnable
from .daemon import Daemon
from .daemon_log import Level, Log
from .exactness import open_exactness, opened
from .identities import Identities
from .job import EXIT_COMPILER_MISSING, Workshop
from .mdns import Announcement, Announcer
from .membership import Member
from .metrics import Metrics
from .offered import offered
from .privileges import User, become, current_user, lower_priority, restrict, wanted_user
from .sandbox import PROGRAM
from .server_cache import ServerCache
from .settings import Settings, config_text, help_text, read_settings
from .stats_server import StatsServer
from .streams import is_socket, peer_of

EXIT_IO_ERROR, EXIT_ACCESS_DENIED = 107, 113  # distcc's
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h
LARGE_BLOCK, SPARE_BLOCKS, ARENAS = 4 << 20, 16 << 20, 2
GOODBYE_SECONDS, CC_SECONDS = 2.0, 10.0
_VERSION_TEXT = """\
{name} {version} pycc
  (protocols 1, 2 and 3) (default port 3632)
  serves distcc's clients, and keeps what it compiles (--cache-dir)
"""


def main() -> None:
    """Entry point of ``pyccd``, which is also installed as ``distccd``."""
    name = os.path.basename(sys.argv[0]) or "pyccd"
    try:
        sys.exit(start(name, sys.argv[1:], dict(os.environ)))
    except Fatal as problem:
        # A socket there is the client's own, where a text would be taken for an answer.
        if not is_socket(2):
            print(f"{name}: {problem}", file=sys.stderr)
        sys.exit(problem.status)


def start(name: str, words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Do what the command line says; returns the exit status. Raises Fatal."""
    settings = read_settings(words, environment, provision.read_file)
    if settings.action == "help":
        print(help_text(name), end="")
    elif settings.action == "version":
        print(_VERSION_TEXT.format(name=name, version=__version__), end="")
    elif settings.action == "print_config":
        print(config_text(settings), end="")
    elif settings.action == "show_principal":
        principal = environment.get("DISTCCD_PRINCIPAL")
        print("Principal\t: Not Set" if principal is None else f"Principal is\t: {principal}")
    elif settings.action in ("check", "fix_permissions"):
        return _check(settings, environment)
    else:
        return _run(name, settings, environment)
    return 0


def _check(settings: Settings, environment: Mapping[str, str]) -> int:
    user = wanted_user(settings("user"))
    directory = settings("cache_dir")
    try:
        if settings.action == "fix_permissions" and directory:
            place = cache_place.prepare(directory, user)
            for path in place.made:
                print(f"fixed: {path}: made")
            for said in cache_place.mend(place, user or current_user()):
                print(f"fixed: {said}")
    except OSError as problem:
        print(f"not fixed: {problem}")
    findings = list(checkup.check(settings, environment, user))
    for finding in findings:
        print(finding)
    return 1 if any(finding.remedy for finding in findings) else 0


_LOADED = (disk_cache,)
"""Loaded as root: the user that the daemon becomes may not be able to read where we lie."""


def _run(name: str, settings: Settings, environment: Mapping[str, str]) -> int:
    native.load()
    # As distccd: a program that inetd or ssh starts need not be told so.
    inetd = settings("inetd") or (not settings("daemon") and is_socket(0))
    user = wanted_user(settings("user"))
    rules = provision.rules(settings, environment)
    if not (rules.anything or rules.commands or runnable(rules)):
        raise Fatal(nothing_to_run(rules), EXIT_COMPILER_MISSING)
    log = provision.open_log(name, settings, inetd=inetd)
    try:
        return _serve(settings, environment, rules, user, log, inetd=inetd)
    except Fatal as problem:
        # Whoever reads the log later has not seen what the command said, if anybody has.
        log(Level.CRITICAL, str(problem))
        raise


def _serve(
    settings: Settings,
    environment: Mapping[str, str],
    rules: Rules,
    user: User | None,
    log: Log,
    *,
    inetd: bool,
) -> int:
    # Who came in through ssh is asked for nothing more, and as him we may not read the keys.
    through_ssh = inetd and not peer_of(0).address
    admission = OPEN if through_ssh else provision.admission(settings, environment)
    place = _place(settings, user, log)
    foreground = inetd or settings("no_detach") or settings("wizard")
    listeners = [] if inetd else [provision.listen(settings("listen"), settings("port"))]
    stats = settings("stats") and not inetd
    statistics = provision.listen(settings("listen"), settings("stats_port")) if stats else None
    if not foreground:
        _detach(settings("log_stderr"))
    pid_file = _PidFile("" if inetd else settings("pid_file"))
    lower_priority(settings("nice"), settings("oom_score_adj"))
    sandbox = opened(PROGRAM)
    announces = settings("zeroconf") and not inetd and _can_announce(log)
    writes_down = settings("announce") and not inetd
    if user is not None:
        become(user)
        text = f"discarded root privileges, changed to uid={user.uid} gid={user.gid}"
        log(Level.INFO, text, "dcc_discard_root")
    restrict(settings("cache_size"))
    _return_memory()
    temporary = _temporary()
    cache = _cache(place, settings, log)
    jobs = settings("jobs") or (os.cpu_count() or 1) + 2
    turns = 1 if settings("no_fork") or settings("wizard") else jobs
    wanted = bool(settings("cache_dir")) and not settings("no_cache")
    state = "used" if cache is not None else "unusable" if wanted else "none"
    metrics = Metrics(turns, cache=state)
    root = "" if place is None or cache is None else place.root
    exact = open_exactness(sandbox, root, settings("cache_size"), rules, log)
    workshop = _workshop(settings, environment, rules, cache, temporary)
    daemon = Daemon(
        workshop,
        log,
        turns=turns,
        masks=provision.masks(settings),
        metrics=metrics,
        exact=exact,
        admission=admission,
    )
    announcement = _announcement(settings, environment, rules, jobs) if announces else None
    announcers: list[Announcer | register.Announcer] = []

    def leave(number: int, frame: FrameType | None) -> None:
        for announcer in announcers:  # before the last job has ended: new ones are to go elsewhere
            announcer.leave()
        daemon.leave(number, frame)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, leave)
    # What no thread expected: one job is lost, and the log says why.
    threading.excepthook = lambda problem: log(
        Level.CRITICAL, f"{problem.thread}: {problem.exc_type.__name__}: {problem.exc_value}"
    )
    os.chdir(temporary)
    log(Level.INFO, f"daemon's PATH is {provision.search_path(settings, environment)}")
    try:
        if inetd:
            return 0 if daemon.serve_standard_input() else EXIT_ACCESS_DENIED
        log(Level.INFO, f"allowing up to {jobs} active jobs")
        if statistics is not None:
            masks = provision.masks(settings)
            StatsServer(statistics, metrics, masks, temporary).start()
            log(Level.INFO, f"HTTP server started on port {settings('stats_port')}")
        if announcement is not None:
            announcers.append(Announcer(announcement, lambda said: log(Level.NOTICE, said)))
        if writes_down:
            told = _member(settings, environment, rules, jobs, workshop, exact=exact is not None)
            announcers.append(
                register.Announcer(
                    settings("announce"),
                    settings("listen"),
                    told,
                    lambda: metrics.snapshot().running,
                    lambda said: log(Level.NOTICE, said),
                )
            )
        daemon.serve(listeners, settings("lifetime") or None)
    finally:
        for announcer in announcers:
            announcer.close(GOODBYE_SECONDS)
        if cache is not None:
            cache.close()
        if exact is not None:
            exact.close()
        pid_file.remove()
    return 0


def _can_announce(log: Log) -> bool:
    """Whether the package for --zeroconf is there; it is loaded while we may read it."""
    try:
        mdns.load()
    except mdns.Unavailable as problem:
        log(Level.WARNING, f"--zeroconf: not announced: {problem}")
        return False
    return True


def _announcement(
    settings: Settings, environment: Mapping[str, str], rules: Rules, jobs: int
) -> Announcement:
    """What --zeroconf says of this daemon: how many jobs, and which compiler ``cc`` is."""
    variables = provision.compile_environment(settings, environment)
    program = choose(b"cc", rules)
    said = [b"", b""]
    if isinstance(program, bytes):
        with suppress(OSError):
            said = [
                run((program, option), cwd=b"/", environment=variables, seconds=CC_SECONDS).out
                for option in (b"-dumpmachine", b"-dumpversion")
            ]
    texts = discovery.texts(
        cpus=os.cpu_count() or 1,
        jobs=jobs,
        release=f"pyccd-{__version__}",
        machine=said[0],
        version=said[1],
    )
    kind = discovery.kind_of(*said)
    return Announcement(kind, settings("port"), texts, settings("listen"))


def _member(
    settings: Settings,
    environment: Mapping[str, str],
    rules: Rules,
    jobs: int,
    workshop: Workshop,
    *,
    exact: bool,
) -> Callable[[], Member]:
    """What --announce says of this daemon."""
    features = {
        "cache": workshop.cache is not None,
        "exact": exact,
        "tls": bool(settings("tls_cert")),
        "auth": settings("auth"),
    }

    def describe() -> Member:
        variables = provision.compile_environment(settings, environment)
        return Member(
            "",
            settings("port"),
            jobs,
            os.cpu_count() or 1,
            release=f"pyccd-{__version__}",
            features=tuple(name for name, has in features.items() if has),
            compilers=offered(rules, variables, workshop.identities),
        )

    return describe


def _return_memory() -> None:
    """Have the C library give large texts and objects back as soon as they are no longer needed.

    glibc keeps what threads have freed, each in an arena of its own, and raises the size from which
    on it does not with every large block, up to 32 MB: a daemon that had 4 MB in use came to 350.
    Usual texts stay in memory that is kept: fresh pages for 2 MB would cost a hit a millisecond."""
    with suppress(OSError, AttributeError):  # another C library
        set_option = ctypes.CDLL(None).mallopt
        set_option(M_MMAP_THRESHOLD, LARGE_BLOCK)
        set_option(M_TRIM_THRESHOLD, SPARE_BLOCKS)
        set_option(M_ARENA_MAX, ARENAS)


def _place(settings: Settings, user: User | None, log: Log) -> cache_place.Place | None:
    """The cache's place, made now and given to ``user``; None where there is none."""
    if settings("no_cache") or not settings("cache_dir"):
        return None
    try:
        return cache_place.prepare(settings("cache_dir"), user)
    except OSError as problem:
        log(Level.WARNING, f"compiling without a cache: {problem}; see --check")
        return None


def _cache(place: cache_place.Place | None, settings: Settings, log: Log) -> ServerCache | None:
    """The cache, if whom the daemon is by now can use it."""
    if place is None:
        return None
    obstacle = cache_place.obstacle(place.directory, current_user())
    if obstacle is not None:
        log(Level.WARNING, f"compiling without a cache: {obstacle}; see --check")
        return None
    size, umask = settings("cache_size"), place.umask
    storage = open_local(place.directory, umask=umask, max_size=size)
    statistics = Statistics(place.directory, umask=umask)
    return ServerCache(CacheDirectory(place.root, storage, statistics, umask))


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


class _PidFile:
    """The file of --pid-file, if there is one; made as whoever started the daemon. Raises Fatal."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._opened = -1
        if path:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            try:
                self._opened = os.open(path, flags, 0o644)
                os.write(self._opened, b"%d\n" % os.getpid())
            except OSError as problem:
                raise Fatal(f"{path}: {problem.strerror}", daemon_log.EXIT_NO_FILE) from None
        while _ready:
            os.write(_ready[-1], b"x")
            os.close(_ready.pop())

    def remove(self) -> None:
        """In a directory that only root may write in, it is emptied: the number may soon be another
        process's."""
        if self._opened >= 0:
            try:
                os.unlink(self._path)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._opened, 0)
            os.close(self._opened)


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError as problem:
        message = f"{problem}: give TMPDIR a directory that this user may write in"
        raise Fatal(message, EXIT_IO_ERROR) from None


def _workshop(
    settings: Settings,
    environment: Mapping[str, str],
    rules: Rules,
    cache: ServerCache | None,
    temporary: str,
) -> Workshop:
    compile_environment = provision.compile_environment(settings, environment)
    stop = Stop()
    return Workshop(
        rules,
        compile_environment,
        Identities(compile_environment, stop),
        cache,
        temporary,
        Unfinished(),
        settings("job_lifetime") or None,
        stop,
    )
