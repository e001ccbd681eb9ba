"""What one server remembers between calls, each thing with the witnesses that keep it true.

The memos stand in the order in which a call uses them: environment, configuration, compiler on
PATH, toolchain, file digests and directives, and at the end ``hot``: calls that were direct hits
are kept as one list of witness records and the key of their result, so that the same call again
costs one native check, one read of the store and one reply.
"""

from __future__ import annotations

import itertools
import os
import resource
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from . import compile as compiling
from . import native
from .cache.digest import LOCAL_FILE_SYSTEMS, FileDigests
from .cache.directory import CacheDirectory
from .cache.lookup import Verifier
from .cache.mounts import is_network
from .cache.result import Room, size_of
from .cache.statistics import Statistics
from .cache.storage import DIGEST_SIZE, Storage, result_key
from .cache.storage_local import open_local
from .config import Config
from .frame import Op, Request, Shared, name_of, read_environment, reply_parts
from .log import log_problem
from .memos import Contents, Environment, Headers, HotCall, Memo, Records, drop_oldest
from .ready import LARGEST_BYTES, Ready, Replies, make_ready
from .remotes import RemoteTiers
from .searchchain import is_systems
from .sharing import Large
from .talk import NotHere, Talk
from .unfinished import Unfinished
from .watch import Watch

if TYPE_CHECKING:
    from .directives import Directives
    from .lifecycle import Place
    from .places import Spot
    from .pump import Own
    from .remote.farm import Farm
    from .searchchain import SearchChain
    from .textlookups import TextLookups

ENVIRONMENTS, CONFIGS, LOCATIONS, TOOLCHAINS, DIRECTIVES = 64, 256, 256, 256, 20_000
DOUBTFUL, FARMS = 500, 20
CONTENTS = 16 << 20  # bytes
LARGE = 512 << 10
"""Bytes from which on a result is unpacked by another thread: about 1 ms, in which the loop answers
others, and a second processor unpacks theirs."""
HOT_CALLS, HOT_RECORDS = 20_000, 60_000
MOST_DESCRIPTORS = 8_192
MEMORY_LIMIT = 400 << 20  # bytes resident; beyond it the server leaves and the next one starts


class Resident:
    """The handler of server.Server, and the memory that compile.py works with."""

    def __init__(self, place: Place | None = None) -> None:
        self.place = place
        self.files = native.RealFiles()
        # Whether signatures can be trusted matters to whoever remembers them for another call.
        fs_type = native.fs_type if place is not None else lambda _: next(iter(LOCAL_FILE_SYSTEMS))
        self.digests = FileDigests(native.signature, fs_type)
        self.verifier = Verifier(self.files, self.digests, stands=is_systems)
        self.configs = Memo(CONFIGS)
        self.locations = Memo(LOCATIONS)
        self.toolchains = Memo(TOOLCHAINS)
        # What searched.py remembers.
        self.headers = Headers(DIRECTIVES)
        self.contents = Contents(CONTENTS)
        self.bodies = Contents(CONTENTS)  # as they go over the wire, by the digest of the content
        self.text_lookups: dict[tuple[bytes, SearchChain], TextLookups] = {}
        self.spots: dict[tuple[bytes, bytes], tuple[native.Signature, Spot]] = {}
        self.chains: dict[Hashable, tuple[bytes, SearchChain]] = {}
        self.owns: dict[SearchChain, Own] = {}
        self._doubtful: dict[bytes, None] = {}
        self.started = time.time()
        self.requests = 0
        self._environments: dict[bytes, Environment] = {}
        self._environment_numbers = itertools.count()  # no two threads get the same
        self._directives: dict[bytes, Directives] = {}
        self._caches_lock = threading.Lock()
        self._caches: dict[tuple[str, int | None], CacheDirectory] = {}
        self._hot: dict[bytes, HotCall] = {}
        self._watch = Watch(enabled=place is not None)
        self._records = Records(self._watch.generation())
        self._hot_lock = threading.Lock()
        self.unfinished = Unfinished()
        self.compiling = Unfinished()
        self._tokens: dict[bytes, bytes] = {}
        self._farms: dict[bytes, Farm] = {}
        self._whole: dict[bytes, None] = {}
        self._asking: dict[Hashable, threading.Lock] = {}
        self._leaving = False
        self._dirty = False
        self._replies = Replies()
        self._uses: deque[HotCall] = deque()
        self.remotes = RemoteTiers()

    # Calls.

    def quick(
        self, frame: bytes, room: Room | None = None
    ) -> bytes | Sequence[bytes] | Ready | Large | None:
        """The reply, maybe in pieces, to a request that was a direct hit before and still is one,
        else None. What lies in ``room`` has to go along."""
        name = name_of(frame)
        call = self._hot.get(name)
        if call is None or not self._holds(call):
            return None
        if call.cache.replaced():
            self._abandon(call.cache)
            return None
        reply = self._replies.get(name, call)
        if reply is None:
            value = call.cache.get(call.keys[-1])
            if value is not None and room is not None and (size := size_of(value)) >= LARGE:
                return Large(size, partial(self._deliver, name, call, value))
            ops = None if value is None else call.deliver(value, room)
            if ops is None:
                return None
            parts = reply_parts(ops)
            self._uses.append(call)
            if sum(map(len, parts)) > LARGEST_BYTES or any(op.__class__ is Shared for op in ops):
                return parts
            reply = b"".join(parts)
            self._replies.keep(name, call, reply)
            return reply
        self._uses.append(call)
        return reply

    def _deliver(
        self, name: bytes, call: HotCall, value: bytes, room: Room
    ) -> Sequence[bytes] | Ready | None:
        made = self._made_ready(name, call, value)
        if made is None:
            ops = call.deliver(value, room)
            if ops is None:
                return None
            made = reply_parts(ops)
        self._uses.append(call)
        return made

    def _made_ready(
        self, name: bytes, call: HotCall, value: bytes
    ) -> Ready | Sequence[bytes] | None:
        """The reply, which is kept if it is a large one; None where there is no room for one."""
        size = size_of(value)
        made = (
            make_ready(partial(call.deliver, value), size) if self._replies.has_room(size) else None
        )
        if isinstance(made, Ready):
            self._replies.keep(name, call, made)
        return made

    def _holds(self, call: HotCall) -> bool:
        """Whether every witness of the call is true at this moment."""
        table = call.table
        generation = self._watch.generation()
        if generation != table.generation:
            table.begin(generation)
        elif table.verified.issuperset(call.system):
            return native.all_hold(table.take(call.records))
        if not native.all_hold(table.take((*call.records, *call.system))):
            return False
        missing = table.want(call.system)
        if missing and generation >= 0:
            call.cache.later(lambda: table.cover(self._watch, missing))
        return True

    def watch_over(self, request: Request) -> None:
        """Watch the system files of a call that has become hot, if they are not; to be called
        where it may take time."""
        call = self._hot.get(request.name)
        if call is not None and (missing := call.table.want(call.system)):
            call.table.cover(self._watch, missing)

    def prepare(self, request: Request) -> None:
        """Have the reply to a hot call ready, if there is room; where it may take time."""
        call = self._hot.get(request.name)
        value = None if call is None else call.cache.get(call.keys[-1])
        if call is None or value is None:
            return
        if size_of(value) > LARGEST_BYTES:
            self._made_ready(request.name, call, value)
            return
        ops = call.deliver(value, None)
        if ops is not None and not any(op.__class__ is Shared for op in ops):
            self._replies.keep(request.name, call, b"".join(reply_parts(ops)))

    def settle(self) -> None:
        """Count the hot calls since the last time, and note that their entries were used."""
        while True:
            try:
                call = self._uses.popleft()
            except IndexError:  # another thread may be settling, too
                return
            call.cache.count(call.counts)
            for used in call.keys:
                call.cache.storage.touch(used)
            self.requests += 1
            self._dirty = True

    def answer(self, request: Request, talk: Talk) -> Sequence[Op]:
        """What the launcher is to do. Raises talk.NotHere where it would have to wait."""
        try:
            ops = compiling.answer(request, talk, self)
        except NotHere as elsewhere:
            self.requests += elsewhere.go_on is not None
            raise
        self.requests += 1
        self._dirty = True
        return ops

    def failed(self, request: Request | None, problem: BaseException) -> None:
        """A call raised: the launcher falls back, and the reason can be read."""
        log_problem(problem)
        if request is not None:
            compiling.count_failure(request, self)

    def remember(
        self,
        request: Request,
        records: Sequence[bytes],
        cache: CacheDirectory,
        keys: tuple[bytes, ...],
        deliver: Callable[[bytes, Room | None], Sequence[Op] | None],
        counts: dict[str, int],
    ) -> None:
        """Keep a direct hit whose every witness is pinned."""
        if not request.name:
            return
        single = native.unpack(records)
        with self._hot_lock:
            if len(self._hot) >= HOT_CALLS or len(self._records) >= HOT_RECORDS:
                # The loop may be reading the old table; it stays as it is.
                self.forget_hits()
                self._records = Records(self._watch.generation())
            table = self._records
            numbers = table.number(single)
            own = array("I", [n for n in numbers if n not in table.system])
            system = array("I", [n for n in numbers if n in table.system])
            call = HotCall(table, own, system, cache, keys, deliver, counts)
            self._hot[request.name] = call

    def stay_whole(self, request: Request) -> None:
        """This call is not to be taken apart again (several.py)."""
        if len(self._whole) >= CONFIGS:
            drop_oldest(self._whole)
        self._whole[request.name] = None

    def stays_whole(self, request: Request) -> bool:
        return bool(request.name) and request.name in self._whole

    @property
    def stays(self) -> bool:
        """Whether there will be another call (not so without a server)."""
        return self.place is not None

    def look(self, paths: Sequence[bytes], follow: bool) -> list[native.Signature]:
        """Signatures of many paths, links followed or not."""
        return native.signatures(paths, follow=follow)

    def doubt(self, directory: bytes) -> None:
        """This directory could not be told to have stood still; look at it beforehand next
        time (stability.py)."""
        if len(self._doubtful) >= DOUBTFUL and directory not in self._doubtful:
            drop_oldest(self._doubtful)
        self._doubtful[directory] = None

    def doubtful_directories(self) -> list[bytes]:
        return list(self._doubtful)

    # Memory.

    def environment(self, block: bytes) -> Environment:
        known = self._environments.get(block)
        if known is None:
            if len(self._environments) >= ENVIRONMENTS:
                drop_oldest(self._environments)
            known = Environment(read_environment(block), next(self._environment_numbers))
            self._environments[block] = known
        return known

    def directives(self, path: bytes, digest: bytes) -> Directives | None:
        """What the file with this content asks for; None when it no longer has it."""
        known = self._directives.get(digest)
        if known is not None:
            return known
        got = self.digests.read(path)
        if got is None or got[0] != digest:
            return None
        return self.learn(digest, got[1])

    def learn(self, digest: bytes, content: bytes) -> Directives:
        """The directives of ``content``, remembered by its digest."""
        known = self._directives.get(digest)
        if known is None:
            from .directives import scan

            known = scan(content)
            if len(self._directives) >= DIRECTIVES:
                self._directives.clear()
            self._directives[digest] = known
        return known

    def tokens(self, path: bytes, digest: bytes) -> bytes:
        """The digest of what the file with this content consists of (tokens.py); of something
        else, when it no longer has it."""
        known = self._tokens.get(digest)
        if known is not None:
            return known
        got = self.digests.read(path)
        if got is None or got[0] != digest:
            return digest
        from .tokens import tokens_digest

        if len(self._tokens) >= DIRECTIVES:
            self._tokens.clear()
        known = self._tokens[digest] = tokens_digest(got[1])
        return known

    def farm(self, directory: bytes) -> Farm:
        """What is known of other machines to the builds with this DISTCC_DIR, where distcc itself
        keeps which slots are taken and which hosts are avoided."""
        gone: Farm | None = None
        with self._caches_lock:
            farm = self._farms.pop(directory, None)
            if farm is None:
                from .remote.farm import Farm
                from .remote.transport import Ways

                place = "" if self.place is None else str(self.place.directory)
                ways = next((other.ways for other in self._farms.values()), None) or Ways(place)
                farm = Farm(ways=ways) if self.stays else Farm(ways=ways, browse=None)
                if len(self._farms) >= FARMS:
                    gone = self._farms.pop(next(iter(self._farms)))
            self._farms[directory] = farm  # the one used last is the last to go
        if gone is not None:
            gone.stop_looking()
        return farm

    def asking(self, key: Hashable) -> threading.Lock:
        """Held by whoever asks a compiler what ``key`` stands for."""
        if len(self._asking) > TOOLCHAINS:
            self._asking.clear()
        return self._asking.setdefault(key, threading.Lock())

    def cache(self, config: Config) -> CacheDirectory:
        """The cache directory of this configuration, opened anew when it was replaced."""
        directory = os.fsdecode(config.absolute(config.cache_dir))
        key = (directory, config.umask)
        with self._caches_lock:
            return self._open_cache(config, directory, key)

    def _open_cache(
        self, config: Config, directory: str, key: tuple[str, int | None]
    ) -> CacheDirectory:
        cache = self._caches.get(key)
        if cache is not None and cache.replaced():
            self._forget_cache(cache)
            cache = None
        if cache is None:
            storage: Storage
            if is_network(directory):
                from .cache.storage_files import open_files

                storage = open_files(directory, umask=config.umask)
            else:
                storage = open_local(directory, umask=config.umask)
            statistics = Statistics(directory, umask=config.umask)
            root = os.path.join(directory, "pycc")
            # Before anybody else can ask it: the first calls of a build come together.
            storage.contains(result_key(bytes(DIGEST_SIZE)))
            cache = self._caches[key] = CacheDirectory(root, storage, statistics, config.umask)
        cache.storage.alive()
        cache.storage.set_limits(config.max_size, config.max_files)
        return cache

    def _abandon(self, gone: CacheDirectory) -> None:
        with self._caches_lock:
            self._forget_cache(gone)

    def _forget_cache(self, gone: CacheDirectory) -> None:
        gone.abandon()
        self.forget_hits()
        self._caches = {key: cache for key, cache in self._caches.items() if cache is not gone}

    def scratch(self) -> bytes:
        """The same for who has no configuration."""
        from tempfile import gettempdir

        return os.fsencode(gettempdir() if self.place is None else self.place.usable_temporary())

    def temporary_directory(self, config: Config) -> bytes:
        """Where files of one compile lie until it ends: ours alone, in memory if possible."""
        wanted = config.absolute(config.temporary_dir)
        if self.place is None:
            return wanted
        if config.origin("temporary_dir") != "default":
            with suppress(OSError):
                os.makedirs(wanted, exist_ok=True)
            if os.access(wanted, os.W_OK | os.X_OK):
                return wanted
        return os.fsencode(self.place.usable_temporary())

    def forget_hits(self) -> None:
        """Entries were removed or replaced: nothing may be answered from what was known."""
        self._hot = {}
        self._replies.clear()

    def read_fallbacks(self, cache: CacheDirectory) -> None:
        """Count what launchers noted when they ran the compiler without a server."""
        if self.place is None:
            return
        for reason, count in self.place.take_fallbacks().items():
            cache.count({f"pycc_launcher_{reason}": count})

    def status_text(self) -> str:
        """What ``--server-status`` prints."""
        if self.place is None:
            return "No server is running (PYCC_RESIDENT=0, or no directory for its socket)\n"
        minutes = (time.time() - self.started) / 60
        return (
            f"pid                 {os.getpid()}\n"
            f"socket              {self.place.socket}\n"
            f"log                 {self.place.log}\n"
            f"up                  {minutes:.1f} min\n"
            f"calls               {self.requests}\n"
            f"memory              {memory_in_use() / 2**20:.1f} MiB\n"
            f"descriptors         {descriptors_in_use()}\n"
            f"hot calls           {len(self._hot)}\n"
            f"files known         {len(self.digests)}\n"
            f"cache directories   {len(self._caches)}\n"
        )

    # The server's own life.

    def tick(self, now: float) -> None:
        self.settle()
        self._replies.sweep(now)
        dirty, self._dirty = self._dirty, False
        for cache in list(self._caches.values()):
            if dirty or cache.statistics.pending:
                cache.tick()

    def leave(self) -> None:
        """End after what is running (``--stop-server``)."""
        self._leaving = True

    def should_leave(self) -> bool:
        if self._leaving or memory_in_use() > MEMORY_LIMIT:
            return True
        # Each cache directory takes four and is never closed, each connection one.
        return descriptors_in_use() > resource.getrlimit(resource.RLIMIT_NOFILE)[0] * 3 // 4

    def drain(self, root: str | None = None) -> None:
        """Bring everything to disk now, or what belongs to one cache directory, which may be open
        more than once: for each umask that writes there."""
        self.settle()
        for cache in list(self._caches.values()):
            if root in (None, cache.root):
                cache.drain()

    def close(self) -> None:
        self.settle()
        self.remotes.close()
        for farm in self._farms.values():
            farm.close()
        for cache in self._caches.values():
            cache.close()
        self._caches.clear()


def raise_descriptor_limit() -> None:
    """Let this process have as many descriptors as it may, within reason: the soft limit is 1,024
    in most sessions, for the sake of programs that use select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(MOST_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def descriptors_in_use() -> int:
    """Open descriptors of this process; 0 where that cannot be known."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def memory_in_use() -> int:
    """Resident bytes of this process, from /proc; the peak where there is none."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:
            return int(file.read(64).split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
