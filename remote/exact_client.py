"""The client's side of exact jobs: who is asked, what is sent, when an answer counts.

    ask    the hosts that may keep a result for their manifests; none of them compiles for it
    take   the result of an entry that holds here
    exact  else have it compiled by the host whose turn it is; contents that it lacks are sent

An entry that does not hold is no fault of anybody's: here something is other than there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator

from pycc.cache import manifest
from pycc.cache.digest import digest_of
from pycc.cache.manifest import ManifestEntry
from pycc.record import record

from .client_view import ClientFile
from .daemon_log import Level
from .exact_wire import (
    AGAIN,
    ASK,
    EXACT,
    MISSING,
    TAKE,
    Ask,
    Result,
    Work,
    pack_ask,
    pack_work,
    unpack_digests,
    unpack_result,
)
from .farm import Answer, Farm, Job, exchange
from .hosts import HostSpec, Kind
from .monitor_state import Phase
from .protocol import OURS_LZO, OURS_PLAIN, ProtocolError, Request

SENT_UNASKED = 256 << 10
"""Bytes of contents that are sent to a host which may have them."""
ROUNDS = 3


@record
class ExactJob:
    """``job.argv`` is the whole command. ``key`` chooses the host; ``work`` gives the compile, if
    its files can be told, ``content`` the bytes of one of them, unless they have changed;
    ``differs`` says which answer of an entry is another here."""

    job: Job
    key: bytes
    ask: Ask
    work: Callable[[], Work | None]
    content: Callable[[ClientFile], bytes | None]
    differs: Callable[[ManifestEntry], str]


@record
class Done:
    """``host`` gave it, or compiled it now."""

    host: HostSpec
    result: Result
    entry: ManifestEntry
    compiled: bool


def exactly(farm: Farm, exact: ExactJob) -> Generator[HostSpec | Answer | Done, None, None]:
    """Yields Done, or ends without when no host can or may do it. Yields a HostSpec of this machine
    when the job is its own, whose slot is held until the caller goes on, and an Answer of a compile
    that failed. Raises what `farm.elsewhere` raises."""
    job = exact.job
    hosts = list(job.settings.hosts.hosts) if job.settings.hosts is not None else []
    farm.peers.meet(hosts, job.settings)
    offering = [host for host in hosts if farm.peers.exact(host)]
    if not offering:
        return
    for keeper in farm.keepers(offering, exact.key):
        kept = _kept(farm, keeper, exact)
        if kept is not None:
            yield kept
            return
    work = exact.work()
    if work is None:
        return
    job.state.enter(Phase.BLOCKED)
    with farm.slot(hosts, job.waiting, key=exact.key) as host:
        if host is None:
            return
        if host.kind is Kind.LOCAL:
            job.state.enter(Phase.COMPILE, host.host, farm.jobs(host) - 1)
            yield host
        elif farm.peers.exact(host):
            found = _compile(farm, host, exact, work)
            if found is not None:
                yield found


def _say(
    farm: Farm, host: HostSpec, job: Job, words: tuple[bytes, ...], body: bytes
) -> Answer | None:
    version = OURS_LZO if host.lzo else OURS_PLAIN
    reply = exchange(farm, host, job, Request(version, (*words, *job.argv), body))
    return None if reply is None else Answer(host, reply)


def _kept(farm: Farm, host: HostSpec, exact: ExactJob) -> Done | None:
    job = exact.job
    answer = _say(farm, host, job, (ASK, job.identity.hex().encode()), pack_ask(exact.ask))
    if answer is None or answer.reply.status:
        return None
    try:
        entries = manifest.unpack(answer.reply.out)
    except manifest.ManifestError as problem:
        job.log(Level.WARNING, f"{host.spelled}: {problem}")
        return None
    for entry in entries:
        if exact.differs(entry):
            continue
        taken = _say(farm, host, job, (TAKE, entry.result_key.hex().encode()), b"")
        if taken is None or taken.reply.status:
            return None
        result = _result(host, job, taken.reply.object)
        if result is not None:
            job.log(Level.INFO, f"{job.source} was known on {host.host}")
            job.log.ended("compile", job.source, host.spelled, 0)
            return Done(host, result, entry, False)
    return None


def _result(host: HostSpec, job: Job, value: bytes) -> Result | None:
    try:
        return unpack_result(value)
    except ProtocolError as problem:
        job.log(Level.WARNING, f"{host.spelled}: {problem}")
        return None


def _compile(farm: Farm, host: HostSpec, exact: ExactJob, work: Work) -> Answer | Done | None:
    job = exact.job
    began = time.monotonic()
    job.log(Level.INFO, f"exec on {host.spelled}: {b' '.join(job.argv).decode(errors='replace')}")
    contents = _first_contents(farm, host, exact, work)
    for _ in range(ROUNDS):
        if contents is None:
            return None
        body = pack_work(Work(work.view, work.environment, work.bound, tuple(contents.values())))
        answer = _say(farm, host, job, (EXACT, job.identity.hex().encode()), body)
        if answer is None:
            return None
        farm.note_sent(host, contents)
        if answer.reply.status == AGAIN << 8:
            kept = _kept(farm, host, exact)
            if kept is not None:
                return kept
            continue
        if answer.reply.status != MISSING << 8:
            break
        try:
            wanted = unpack_digests(answer.reply.out)
        except ProtocolError as problem:
            job.log(Level.WARNING, f"{host.spelled}: {problem}")
            return None
        contents = _contents(exact, work, wanted)
    else:
        return None
    reply = answer.reply
    if reply.status:
        return answer
    result = _result(host, job, reply.object)
    if result is None:
        return None
    try:
        (entry,) = manifest.unpack(result.manifest)
    except (manifest.ManifestError, ValueError):
        job.log(Level.WARNING, f"{host.spelled}: a result without its manifest entry")
        return None
    differs = exact.differs(entry)
    if differs:
        job.log(Level.INFO, f"{differs} is another here than on {host.spelled}")
        return None
    passed = time.monotonic() - began
    job.log(Level.INFO, f"{job.source} compiled on {host.host} in {passed:.4f}s")
    job.log.ended("compile", job.source, host.spelled, 0)
    return Done(host, result, entry, True)


def _first_contents(
    farm: Farm, host: HostSpec, exact: ExactJob, work: Work
) -> dict[bytes, bytes] | None:
    """What the host cannot have yet, unless it is so much that asking is cheaper."""
    sent = farm.sent_to(host)
    unknown = {file.content: file for file in work.view.files if file.content not in sent}
    contents: dict[bytes, bytes] = {}
    total = 0
    for digest, file in unknown.items():
        content = exact.content(file)
        if content is None:
            return None
        total += len(content)
        if total > SENT_UNASKED:
            break
        contents[digest] = content
    return contents


def _contents(exact: ExactJob, work: Work, wanted: tuple[bytes, ...]) -> dict[bytes, bytes] | None:
    by_digest = {file.content: file for file in work.view.files}
    contents: dict[bytes, bytes] = {}
    for digest in wanted:
        content = exact.content(by_digest[digest]) if digest in by_digest else None
        if content is None or digest_of(content) != digest:
            return None
        contents[digest] = content
    return contents
