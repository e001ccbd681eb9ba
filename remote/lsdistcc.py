"""`lsdistcc [OPTIONS] [FORMAT | HOST...]`: which compile servers answer, one host word each.

Names come from a format with ``%d`` in it, numbered from 1 until one cannot be looked up, or from
the command line. A host counts if its port takes a connection and, where a compiler is named (-p),
if it compiles a line of C. Options, numbers and output are those of distcc's program of this name
(src/lsdistcc.c; lsdistcc(1)): its words stand as they are in DISTCC_HOSTS.

In three things its manual is followed and not the program, which stops a list of hosts at the first
name that is not found, as it stops a format (here a list only does so with -g), takes a host that
does not listen for one that was found, and exits with 0 when the time is up. And a name that has
only IPv6 addresses is reached by them.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from queue import Empty, SimpleQueue
from typing import Final

from pycc.record import mutable, record, replace

from .hosts import DEFAULT_PORT, MAX_PORT
from .protocol import PUMP, File, Limits, ProtocolError, Request, reply_reader, write_request

MOST_HOSTS: Final = 500
TRIES: Final = 5
"""So often a name is looked up; an answer to an earlier question counts as well."""
EXIT_NOTHING: Final = 1
_SUFFIXES: Final = {1: "", 2: ",lzo", 3: ",lzo,cpp"}
_PROGRAM: Final = b"int foo(){return 0;}"
_LIMITS: Final = Limits(text=1 << 20, total=1 << 20)
_HOSTNAME: Final = re.compile(r"[A-Za-z0-9.-]{1,512}")

USAGE = """\
Usage: lsdistcc [OPTIONS] [FORMAT | HOST...]

Prints the compile servers that answer, as words of a host list. Names are made
of FORMAT (distcc%d) with 1, 2 and so on in place of %d, until one is not found.
Of a list of hosts, each is asked.

Options; a value follows its letter at once:
  -l         print the milliseconds that each host took, without the look-up
  -n         print addresses in place of names
  -x         print hosts that do not answer, too, with ,down
  -tSECONDS  end the search after that time, 0 for never (7)
  -hMS       look a name up again after so many milliseconds (500)
  -cMS       wait so many milliseconds for a connection, 0 to make none (900)
  -kMS       wait so many milliseconds for a compile, 0 to try none (1500)
  -mBITS     bits of an address that must be those of the first one found (0)
  -oNUMBER   look up so many names more at the same time (1)
  -gNUMBER   go on behind so many names that are not found (0)
  -rPORT     the port of the servers (3632)
  -PVERSION  the protocol, 1 to 3 (1)
  -pCOMPILER have it compile a line of C
  -d         append this machine's domain to each name
  -v         say what is done; again for more

Exit status: 0 if a server was found, else 1.

Example:
  DISTCC_HOSTS=$(lsdistcc -pgcc hosta hostb)
"""


@record
class Options:
    """A command line. Times are in the units of their letters; ``gap`` is None if it is not given,
    ``compiler`` empty."""

    latency: bool = False
    numeric: bool = False
    down: bool = False
    domain: bool = False
    verbose: int = 0
    seconds: int = 7
    lookup_ms: int = 500
    connect_ms: int = 900
    compile_ms: int = 1500
    bits: int = 0
    overlap: int = 1
    gap: int | None = None
    port: int = DEFAULT_PORT
    protocol: int = 1
    compiler: str = ""
    rest: tuple[str, ...] = ()


_FLAGS = {"l": "latency", "n": "numeric", "x": "down", "d": "domain"}
_LARGEST = 10**9
_NUMBERS = {
    "t": ("seconds", 0, _LARGEST),
    "h": ("lookup_ms", 0, _LARGEST),
    "c": ("connect_ms", 0, _LARGEST),
    "k": ("compile_ms", 0, _LARGEST),
    "m": ("bits", 0, 31),
    "o": ("overlap", 0, _LARGEST),
    "g": ("gap", 0, _LARGEST),
    "r": ("port", 1, MAX_PORT),
    "P": ("protocol", 1, 3),
}


def read_options(words: Sequence[str]) -> Options | None:
    """What the words without the program's name say; None if they are not understood.

    As there, what is no number is 0, and letters behind a flag are not looked at."""
    options, at = Options(), 0
    for word in words:
        if not word.startswith("-"):
            break
        at += 1
        letter, value = word[1:2], word[2:]
        if letter in _FLAGS:
            options = replace(options, **{_FLAGS[letter]: True})
        elif letter == "v":
            options = replace(options, verbose=options.verbose + 1)
        elif letter == "p" and value:
            options = replace(options, compiler=value)
        elif letter in _NUMBERS:
            name, least, most = _NUMBERS[letter]
            number = _atoi(value)
            if not least <= number <= most:
                return None
            options = replace(options, **{name: number})
        else:
            return None
    return replace(options, rest=tuple(words[at:]))


def _atoi(text: str) -> int:
    found = re.match(r"\s*([+-]?[0-9]{1,10})", text)
    return int(found[1]) if found else 0


def names_of(options: Options, domain: str = "") -> tuple[str, ...]:
    """The names to ask, in their order."""
    words = options.rest or ("distcc%d",)
    if "%d" in words[0]:
        numbers = range(1, MOST_HOSTS + 1)
        words = tuple(words[0].replace("%d", str(n)).replace("%%", "%") for n in numbers)
    return tuple(f"{word}.{domain}" for word in words) if options.domain else tuple(words)


def tolerated(options: Options) -> int | None:
    """How many names may be missing before the search ends; None for any number."""
    is_list = bool(options.rest) and "%d" not in options.rest[0]
    return options.gap if options.gap is not None or is_list else 0


def domain_of(
    variables: Mapping[str, str], hostname: str, look_up: Callable[[str], str]
) -> str | None:
    """This machine's domain, from the longer of $HOST and $HOSTNAME that holds a dot, else from its
    own name, which is looked up only if that holds none (dcc_get_dns_domain, src/util.c)."""
    host, other = (variables.get(name, "") for name in ("HOST", "HOSTNAME"))
    dotted = [name for name in (host, other) if "." in name]
    name = max(dotted, key=len) if dotted else hostname
    if "." not in name:
        name = look_up(name)
    return name.partition(".")[2] or None if _HOSTNAME.fullmatch(name) else None


Address = IPv4Address | IPv6Address


def same_network(first: Address, other: Address, bits: int) -> bool:
    """Whether the addresses agree in their first ``bits`` bits."""
    if first.version != other.version:
        return not bits
    return (int(first) ^ int(other)) >> (first.max_prefixlen - bits) == 0


def host_line(options: Options, name: str, address: Address, *, up: bool, milliseconds: int) -> str:
    """What is printed of a host."""
    shown = str(address) if options.numeric else name
    if ":" in shown and not shown.startswith("["):
        shown = f"[{shown}]"
    port = "" if options.port == DEFAULT_PORT else f":{options.port}"
    mark = "" if up else ",down"
    latency = f" {milliseconds}" if options.latency else ""
    return f"{shown}{port}{_SUFFIXES[options.protocol]}{mark}{latency}"


@mutable
class _Name:
    tries: int = 0
    again: float = 0.0
    known: bool = False


class Lookups:
    """Which of ``count`` names is looked up when; times are seconds of one monotonic clock.

    ``overlap`` + 1 names are asked for at the same time, not counting those that had to be asked
    for again; after ``gap`` missing ones and one more, no further name is begun."""

    def __init__(self, count: int, overlap: int, gap: int | None, patience: float) -> None:
        self._names = [_Name() for _ in range(count)]
        self._begun = 0
        self._end = count
        self._overlap = overlap
        self._gap = gap
        self._patience = patience

    def due(self, now: float) -> int | None:
        """The name to ask for now, by its number from 0."""
        pending = [n for n in range(self._begun) if not self._names[n].known]
        for number in pending:
            name = self._names[number]
            if name.tries < TRIES and now >= name.again:
                return self._ask(number, now)
        first = sum(self._names[number].tries == 1 for number in pending)
        if self._begun < self._end and first <= self._overlap:
            self._begun += 1
            return self._ask(self._begun - 1, now)
        return None

    def _ask(self, number: int, now: float) -> int:
        name = self._names[number]
        name.tries += 1
        name.again = now + self._patience
        return number

    def answered(self, number: int, *, found: bool) -> bool:
        """An answer has come; False if there was one before."""
        if self._names[number].known:
            return False
        self._names[number].known = True
        if not found and self._gap is not None:
            self._gap -= 1
            if self._gap < 0:
                self._end = self._begun
        return True

    @property
    def done(self) -> bool:
        """Whether nothing is to come any more."""
        return self._begun >= self._end and all(name.known for name in self._names[: self._begun])


@record
class _Looked:
    number: int
    address: Address | None


@record
class _Asked:
    number: int
    address: Address
    up: bool
    milliseconds: int


def _look_up(name: str) -> Address | None:
    try:
        found = socket.getaddrinfo(name.strip("[]"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    first = min(found, key=lambda one: one[0] != socket.AF_INET)
    return ip_address(str(first[4][0]))


class _Search:
    def __init__(self, options: Options, names: Sequence[str]) -> None:
        self._options = options
        self._names = names
        self._events: SimpleQueue[_Looked | _Asked] = SimpleQueue()
        gap, patience = tolerated(options), options.lookup_ms / 1000
        self._lookups = Lookups(len(names), options.overlap, gap, patience)
        self._network: Address | None = None
        self._running = 0
        self.found = 0

    def run(self) -> None:
        """Ask, and print what answers, until all is known or the time is up."""
        end = time.monotonic() + (self._options.seconds or float("inf"))
        while not self._lookups.done or self._running:
            while (number := self._lookups.due(time.monotonic())) is not None:
                self._say(1, f"looking up {self._names[number]}")
                self._start(self._resolve, number)
            left = end - time.monotonic()
            if left <= 0:
                self._say(1, "Timeout!")
                return
            try:
                self._take(self._events.get(timeout=min(left, 0.05)))
            except Empty:
                continue

    def _start(self, target: Callable[..., None], *what: object) -> None:
        threading.Thread(target=target, args=what, daemon=True).start()

    def _take(self, event: _Looked | _Asked) -> None:
        name = self._names[event.number]
        if isinstance(event, _Asked):
            self._running -= 1
            self.found += event.up
            if event.up or self._options.down:
                print(
                    host_line(
                        self._options,
                        name,
                        event.address,
                        up=event.up,
                        milliseconds=event.milliseconds,
                    ),
                    flush=True,
                )
            return
        address = event.address
        if address is not None and self._network is None:
            self._network = address
        if self._network is not None and address is not None:
            near = same_network(self._network, address, self._options.bits)
            address = address if near else None
        if not self._lookups.answered(event.number, found=address is not None):
            return
        if address is None:
            self._say(1, f"{name} not found")
            return
        self._running += 1
        self._start(self._ask, event.number, address)

    def _resolve(self, number: int) -> None:
        self._events.put(_Looked(number, _look_up(self._names[number])))

    def _ask(self, number: int, address: Address) -> None:
        began, up = time.monotonic(), False
        try:
            up = self._answers(self._names[number], address)
        except (OSError, ProtocolError) as problem:
            self._say(1, f"{self._names[number]}: {problem}")
        finally:
            passed = round((time.monotonic() - began) * 1000)
            self._events.put(_Asked(number, address, up, passed))

    def _answers(self, name: str, address: Address) -> bool:
        options = self._options
        if not options.connect_ms:
            return True
        self._say(1, f"connecting to {name}")
        where = (str(address), options.port)
        with socket.create_connection(where, options.connect_ms / 1000) as connection:
            if not options.compile_ms or not options.compiler:
                return True
            self._say(1, f"{name}: sending compile request")
            return self._compiles(name, connection)

    def _compiles(self, name: str, connection: socket.socket) -> bool:
        options = self._options
        argv = (os.fsencode(options.compiler), b"-c", b"hello.c", b"-o", b"hello.o")
        if options.protocol == PUMP:
            request = Request(PUMP, argv, cwd=b"/", files=(File(b"/hello.c", _PROGRAM),))
        else:
            request = Request(options.protocol, argv, _PROGRAM)
        end = time.monotonic() + options.compile_ms / 1000
        reader = reply_reader(options.protocol, _LIMITS)
        connection.sendall(b"".join(write_request(request)))
        while reader.message is None:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out while compiling")
            connection.settimeout(left)
            data = connection.recv(1 << 16)
            if not data:
                reader.end()
                break
            reader.feed(data)
        answer = reader.message
        if answer is None or answer.status:
            status = "" if answer is None else f"! status {answer.status:#x}"
            self._say(2, f"test compile on {name} failed{status}")
            return False
        return True

    def _say(self, level: int, text: str) -> None:
        if self._options.verbose >= level:
            now = time.time()
            print(f"now {int(now)} {int(now % 1 * 1000)}: {text}", file=sys.stderr)


def _canonical(name: str) -> str:
    try:
        return socket.gethostbyname_ex(name)[0]
    except (OSError, UnicodeError):
        return name


def run(words: Sequence[str], variables: Mapping[str, str]) -> int:
    """The command; ``words`` without its name. Returns the exit status."""
    options = read_options(words)
    if options is None:
        # On standard output and with this status for --help, too: scripts look for it there.
        print(USAGE, end="")
        return EXIT_NOTHING
    domain = domain_of(variables, socket.gethostname(), _canonical) if options.domain else ""
    if domain is None:
        print("lsdistcc: cannot find this machine's domain: leave -d out", file=sys.stderr)
        return EXIT_NOTHING
    search = _Search(options, names_of(options, domain))
    search.run()
    return 0 if search.found else EXIT_NOTHING


def main() -> None:
    """The entry point."""
    try:
        status = run(sys.argv[1:], os.environ)
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # nobody looks any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = EXIT_NOTHING
    sys.exit(status)
