"""``pyccd --check``: whether a daemon with these settings would work, found out as its user.

What goes wrong with a compile server goes wrong silently: clients compile by themselves, and the
build only is slower than it should be. So each thing that a job needs is tried, by a child process
that has become the user that the daemon would be, and what fails is said with its remedy.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from pycc.cache.remote_backend import StorageFailed
from pycc.cache.remote_url import Url
from pycc.errors import ConfigError, Fatal
from pycc.record import record

from . import cache_place, mdns, provision, register
from .access import Mask
from .child import End, run
from .compilers import Rules, nothing_to_run, runnable
from .discovery import is_usable
from .privileges import User, become, current_user, group_name
from .settings import Settings

LEAST_ROOM = 200 << 20
"""Bytes of the temporary directory: one large C++ source with its object takes tens of MB."""
TRIAL_SECONDS = 30.0


@record
class Finding:
    """``remedy`` is empty where all is well."""

    thing: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        if not self.remedy:
            return f"ok: {self.thing}: {self.text}"
        return f"PROBLEM: {self.thing}: {self.text}; {self.remedy}"


def check(
    settings: Settings, environment: Mapping[str, str], user: User | None
) -> Iterator[Finding]:
    """Everything that is found; ``user`` is whom the daemon would become, None if it stays who
    it is."""
    yield from _ports(settings)
    yield from _allowed(provision.masks(settings), settings)
    yield from _tls(settings)
    for name in ("log_file", "pid_file"):
        # Both are opened before privileges go.
        if settings(name):
            yield _file(name.replace("_", " "), settings(name))
    if settings("auth"):
        # As is what the library consists of.
        with suppress(Fatal):
            provision.gss(settings, environment)
    if settings("zeroconf"):
        yield _zeroconf(settings("listen"))
    if settings("announce"):
        yield _announce(settings("announce"), settings("listen"))
    # As is the cache's place.
    made = bool(settings("cache_dir")) and cache_place.can_be_made(settings("cache_dir"))
    yield from _as_user(user, lambda: _users_findings(settings, environment, made))


def _zeroconf(listen: str) -> Finding:
    try:
        mdns.load()
    except mdns.Unavailable as problem:
        said, _, remedy = str(problem).partition(": ")
        return Finding("zeroconf", said, remedy)
    if listen and not is_usable(listen):
        text = f"no other machine can reach {listen}"
        return Finding("zeroconf", text, "leave --zeroconf out, or give --listen another address")
    return Finding("zeroconf", "can be announced")


def _announce(url: Url, listen: str) -> Finding:
    try:
        address = register.reachable_at(url, listen)
        redis = register.open_redis(url)
        there = register.members(redis, here=register.is_here(url))
    except (ConfigError, StorageFailed, register.Unreachable) as problem:
        text = f"cannot be announced in {url.shown()}: {problem}"
        return Finding("announce", text, "see --announce and --listen")
    said = f"as {address} in {url.shown()}, where {len(there)} are"
    return Finding("announce", said)


def _users_findings(
    settings: Settings, environment: Mapping[str, str], cache_is_made: bool
) -> Iterator[Finding]:
    yield _cache(settings, cache_is_made)
    yield _temporary(environment.get("TMPDIR", ""))
    yield from _gss(settings, environment)
    try:
        rules = provision.rules(settings, environment)
    except Fatal as problem:
        yield Finding("compilers", str(problem), "give DISTCC_CMDLIST a file that can be read")
        return
    yield from _compilers(rules, provision.compile_environment(settings, environment))


def _as_user(user: User | None, find: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What ``find`` finds when it is called as ``user``."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            if user is not None:
                become(user)
            # Bytes: this user may not be able to read the modules of other encodings.
            with open(writer, "wb") as pipe:
                for found in find():
                    line = json.dumps([found.thing, found.text, found.remedy])
                    pipe.write(line.encode() + b"\n")
            status = 0
        except Fatal as problem:
            print(f"PROBLEM: user: {problem}", flush=True)
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as pipe:
        findings = [Finding(*json.loads(line)) for line in pipe.read().splitlines()]
    _, status = os.waitpid(child, 0)
    yield from findings
    if status:
        yield Finding("check", "it did not come to its end", "look at what is said above")


# As the user.


def _cache(settings: Settings, is_made: bool) -> Finding:
    directory = settings("cache_dir")
    if settings("no_cache"):
        return Finding("cache", "none (--no-cache)")
    if not directory:
        return Finding("cache", "none; --cache-dir DIR keeps results")
    me = current_user()
    found = cache_place.obstacle(directory, me)
    if found is not None and found.missing and is_made:
        return Finding("cache", f"{found.text}, the daemon will make it")
    if found is not None:
        return Finding("cache", found.text, found.remedy)
    root = os.path.join(directory, cache_place.SUBDIRECTORY)
    status = os.stat(root)
    if cache_place.umask_for(status.st_mode) is None:
        return Finding("cache", f"{root} is {me.name}'s alone")
    return Finding("cache", f"{root} is shared with the group {group_name(status.st_gid)}")


def _gss(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    if not (settings("auth") or settings("whitelist") or settings("blacklist")):
        return
    try:
        provision.gss(settings, environment)
    except Fatal as problem:
        yield Finding("GSS-API", str(problem), "the daemon would not start")
    else:
        yield Finding("GSS-API", f"clients are authenticated as {environment['DISTCCD_PRINCIPAL']}")


def _temporary(wanted: str) -> Finding:
    try:
        place = tempfile.gettempdir()
        trial = tempfile.mkdtemp(prefix="pyccd_", dir=place)
        try:
            with open(os.path.join(trial, "x"), "wb") as file:
                file.write(b"x" * 4096)
        finally:
            shutil.rmtree(trial, ignore_errors=True)
        found = os.statvfs(place)
    except OSError as problem:
        remedy = "give TMPDIR a directory that this user may write in"
        return Finding("temporary directory", str(problem), remedy)
    if wanted and os.path.realpath(wanted) != os.path.realpath(place):
        remedy = "give TMPDIR a directory that this user may write in"
        text = f"{wanted} cannot be written, {place} would be used"
        return Finding("temporary directory", text, remedy)
    room = found.f_bavail * found.f_frsize
    if room < LEAST_ROOM:
        return Finding("temporary directory", f"{place} has {room >> 20} MB", "make room")
    return Finding("temporary directory", f"{place} can be written, {room >> 20} MB are free")


def _compilers(rules: Rules, environment: Mapping[bytes, bytes]) -> Iterator[Finding]:
    if rules.commands is not None:
        for listed in rules.commands.programs:
            if not os.access(listed, os.X_OK):
                text = f"{os.fsdecode(listed)} of DISTCC_CMDLIST cannot be run"
                yield Finding("compiler", text, "correct it")
    found = runnable(rules)
    if not found:
        text, _, remedy = nothing_to_run(rules).partition(": ")
        yield Finding("compilers", text, remedy)
        return
    tried: dict[bytes, str] = {}
    with tempfile.TemporaryDirectory(prefix="pyccd_") as place:
        for name, program in found.items():
            real = os.path.realpath(program)
            if real not in tried:
                tried[real] = _trial(program, os.fsencode(place), environment)
            shown = os.fsdecode(name)
            if tried[real]:
                remedy = "install all of it, or take its link away"
                yield Finding("compiler", f"{shown} ({os.fsdecode(real)}): {tried[real]}", remedy)
    working = [os.fsdecode(n) for n, path in found.items() if not tried[os.path.realpath(path)]]
    if working:
        yield Finding("compilers", " ".join(working))


def _trial(program: bytes, place: bytes, environment: Mapping[bytes, bytes]) -> str:
    """Why the compiler does not compile; empty if it does."""
    text, made = os.path.join(place, b"t.ii"), os.path.join(place, b"t.o")
    with open(text, "wb") as file:
        file.write(b"int x;\n")
    with suppress(FileNotFoundError):
        os.unlink(made)
    language = b"c++-cpp-output" if b"++" in os.path.basename(program) else b"cpp-output"
    try:
        ran = run(
            (program, b"-x", language, b"-c", text, b"-o", made),
            cwd=place,
            environment={**environment, b"TMPDIR": place},
            seconds=TRIAL_SECONDS,
        )
    except OSError as problem:
        return f"cannot be run: {problem.strerror}"
    if ran.end is not End.DONE:
        return f"did not end in {TRIAL_SECONDS:.0f} seconds"
    if ran.status or not os.path.exists(made):
        said = ran.err.decode(errors="replace").strip().splitlines()
        return f"does not compile: {said[0] if said else f'wait status {ran.status}'}"
    return ""


# As whoever asks, which is who opens these.


def _file(thing: str, path: str) -> Finding:
    remedy = f"give --{thing.replace(' ', '-')} another name, or make it writable"
    directory = os.path.dirname(path) or "."
    if os.path.isdir(path):
        return Finding(thing, f"{path} is a directory", remedy)
    if os.path.exists(path):
        if os.access(path, os.W_OK, effective_ids=True):
            return Finding(thing, f"{path} can be written")
        return Finding(thing, f"{path} cannot be written", remedy)
    if not os.path.isdir(directory):
        return Finding(thing, f"there is no directory {directory}", f"mkdir -p {directory}")
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        return Finding(thing, f"{path} cannot be made", remedy)
    return Finding(thing, f"{path} can be made")


def _ports(settings: Settings) -> Iterator[Finding]:
    if settings("inetd"):
        return
    wanted = [("port", settings("port"))]
    if settings("stats"):
        wanted.append(("stats port", settings("stats_port")))
    for thing, port in wanted:
        where = f"{settings('listen') or '*'}:{port}"
        try:
            provision.listen(settings("listen"), port).close()
        except Fatal as problem:
            running = _running(settings("pid_file"))
            if running:
                text = f"{where} is taken by the running daemon, process {running}"
                yield Finding(thing, text)
                continue
            option = "--" + thing.replace(" ", "-")
            remedy = f"stop what listens there, or give {option} another number"
            yield Finding(thing, str(problem), remedy)
        else:
            yield Finding(thing, f"{where} is free")


def _running(pid_file: str) -> int:
    """The process of the pid file, if it is a Python program that lives; else 0."""
    content = provision.read_file(pid_file) if pid_file else None
    try:
        number = int(content or "")
        with open(f"/proc/{number}/cmdline", "rb") as file:
            words = file.read(1 << 16)
    except (OSError, ValueError):
        return 0
    return number if b"pyccd" in words or b"distccd" in words else 0


def _tls(settings: Settings) -> Iterator[Finding]:
    if not (settings("tls_cert") or settings("tls_key") or settings("tls_ca")):
        return
    try:
        provision.tls(settings)
    except Fatal as problem:
        yield Finding("TLS", str(problem), "the daemon would not start")
        return
    named = settings("tls_ca")
    known = f"a certificate that {named} signed is asked for" if named else "of clients none is"
    yield Finding("TLS", f"{settings('tls_cert')} is shown; {known}")


def _allowed(masks: Sequence[Mask], settings: Settings) -> Iterator[Finding]:
    if settings("inetd"):
        return
    listen = settings("listen")
    here = bool(listen) and provision.is_loopback(listen)
    text = " ".join(map(str, masks))
    everybody = [mask for mask in masks if mask.prefixlen == 0]
    reachable = [mask for mask in masks if not mask.network_address.is_loopback]
    if everybody and not here and not settings("tls_ca"):
        remedy = "name the networks of your clients: whoever may connect may run compilers here"
        yield Finding("allow", f"{everybody[0]} lets the whole world in", remedy)
    elif settings("enable_tcp_insecure") and reachable and not here:
        remedy = "leave the option out, or listen on a loopback address only"
        yield Finding("allow", f"--enable-tcp-insecure lets {text} run any program", remedy)
    elif here and settings("allow") and reachable == list(masks):
        remedy = "add --allow 127.0.0.1, or listen on another address"
        yield Finding("allow", f"nobody who is allowed ({text}) can reach {listen}", remedy)
    else:
        yield Finding("allow", text)
