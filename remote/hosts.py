"""The host list: which machines compile, as distcc's users write it.

    list      = { word | comment }              separated by white space
    comment   = "#" to the end of the line      also directly after a word
    word      = local | tcp | ssh | global
    local     = "localhost" [ "/" N ]           only this literal word: 127.0.0.1 is reached by TCP,
                                                and so is localhost with a port or an option alone
    tcp       = name [ "/" N ] [ ":" PORT ] [ "/" N ] options
              | "[" address "]" [ "/" N | "=" N ] [ ":" PORT ] [ "/" N ] options
    ssh       = [ user ] "@" name [ "/" N ] [ ":" COMMAND ] options
    options   = { ",lzo" | ",cpp" | ",auth" [ "=" name ] | ",down" | ",tls" }
    global    = "--randomize" | "--localslots" = N | "--localslots_cpp" = N | "+zeroconf"
              | "+" URL options             redis:, rediss: or redis+unix:, as of remote storage

N is the number of jobs that may run there at once; of two the later counts. It stands before the
port in lists of the oldest releases. ``,down`` marks a host that is to be left out (lsdistcc -x
writes it). ``,tls`` and the membership URLs are ours, all else is distcc's (src/hosts.c; distcc(1),
"HOST SPECIFICATIONS").

distcc reads a word from its left and forgets what it did not understand: ``red,lzo/8`` has four
slots, ``red/8x,lzo`` is not compressed, ``red:`` has port 0, ``red=8`` and ``--localslots=x`` are
names of hosts. Such a word is an error here, because nobody notices a host that is only slow or
never used. A word that is accepted, of distcc's own, means the same to distcc; only a comment that
stands directly after a name or a command is a part of it there, and options after ``localhost/N``,
which mean nothing, are not even read.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Final

from ..errors import PyccError
from ..pattern import pattern
from ..record import record, replace

DEFAULT_PORT: Final = 3632
REMOTE_SLOTS: Final = 4
LOCALHOST_SLOTS: Final = 2
LOCAL_SLOTS: Final = 4
LOCAL_CPP_SLOTS: Final = 8

MAX_PORT: Final = 65535
# distcc keeps the number in a C int, and 99999999999 becomes 1215752191 there.
MAX_SLOTS: Final = 2**31 - 1

OPTIONS: Final = ("lzo", "cpp", "auth", "down", "tls")

_LOCALHOST: Final = "localhost"
_MEMBERSHIP: Final = ("redis://", "rediss://", "redis+unix:")
# What separates the parts of a word, so that no part can hold it; "=" because distcc makes
# "red=8" a name that is never found, and a user who wrote it meant slots.
_NOT_IN_NAMES: Final = frozenset("/:,@=[]")

_SECRET: Final = pattern(r"//.*@")
_WORD: Final = pattern(r"#[^\r\n]*|[^# \t\n\v\f\r]+")
_AFTER_HOST: Final = pattern(r"(?:/(?P<early>[^/:]*))?(?::(?P<port>[^/]*))?(?:/(?P<late>[^/]*))?")
_BARE_IPV6: Final = pattern(r"[0-9A-Fa-f]*:[0-9A-Fa-f.:]*:")
# Longer numbers are too large anyway, and int() refuses very long ones in its own words.
_NUMBER: Final = pattern(r"[0-9]{1,20}")


class HostSpecError(PyccError):
    """A word of the host list is wrong; the text names it, says why, and what to write instead.

    distcc then compiles locally after a warning, or exits with ``status`` where it must not
    (DISTCC_FALLBACK=0) and where the list itself was asked for (--show-hosts, -j).
    """

    status: Final = 106

    def __init__(self, word: str, reason: str) -> None:
        # Bytes that are not text, and what a terminal would obey, are shown as escapes.
        shown = _SECRET.sub("//********@", word if word.isprintable() else ascii(word)[1:-1])
        super().__init__(f'bad word "{shown}" in the host list: {reason}')
        self.word = word


class Kind(Enum):
    """How a host is reached."""

    LOCAL = "local"
    TCP = "tcp"
    SSH = "ssh"


@record
class HostSpec:
    """One host of the list.

    host        name or address, an IPv6 address without brackets
    port        TCP port; means nothing for other kinds
    slots       jobs that this client may have there at once, at least 1
    user        for ssh -l; empty leaves it to ssh
    command     the daemon that ssh starts; empty is the default one
    lzo         requests and replies are compressed
    cpp         pump mode: the server preprocesses; never without lzo
    auth        GSSAPI, with `auth_name` in place of the host's own name if that is not empty
    tls         ours: the connection is encrypted
    down        listed, and not to be used
    spelled     the word as it was written: log lines name a host by it
    """

    kind: Kind
    host: str
    port: int = DEFAULT_PORT
    slots: int = REMOTE_SLOTS
    user: str = ""
    command: str = ""
    lzo: bool = False
    cpp: bool = False
    auth: bool = False
    auth_name: str = ""
    tls: bool = False
    down: bool = False
    spelled: str = ""


@record
class Membership:
    """Hosts that come and go are written down in a Redis server. ``at``: behind so many hosts of
    the list; ``options`` are those of each of them, as they were written."""

    url: str
    at: int = 0
    options: tuple[str, ...] = ()

    def word(self, *options: str) -> str:
        """The word of a list that says this, with other options if there are any."""
        return ",".join((f"+{self.url}", *(options or self.options)))


@record
class HostList:
    """A whole list.

    hosts             in the order of the list, which is the order of preference
    local_slots       jobs on this machine that cannot be distributed
    local_cpp_slots   preprocessors on this machine
    randomize         the order is to be drawn by chance, once per client
    zeroconf          hosts that announce themselves on the network are to be added
    zeroconf_at       behind so many of `hosts`
    membership        where hosts that come and go are written down
    """

    hosts: tuple[HostSpec, ...] = ()
    local_slots: int = LOCAL_SLOTS
    local_cpp_slots: int = LOCAL_CPP_SLOTS
    randomize: bool = False
    zeroconf: bool = False
    zeroconf_at: int = 0
    membership: tuple[Membership, ...] = ()

    @property
    def names_nobody(self) -> bool:
        """Whether no host can ever come of it.

        distcc then warns ``SOURCE contained no hosts; can't distribute work`` and goes on as after
        an error. It is none here: only the caller knows the source (`host_texts`).
        """
        return not (self.hosts or self.zeroconf or self.membership)


def parse_hosts(text: str) -> HostList:
    """Read a host list. Raises HostSpecError for the first wrong word: a list is used or it is not.

    Of a global word that is repeated, the last counts.
    """
    hosts: list[HostSpec] = []
    membership: list[Membership] = []
    slots = {"--localslots": LOCAL_SLOTS, "--localslots_cpp": LOCAL_CPP_SLOTS}
    flags: set[str] = set()
    zeroconf_at = 0
    for word in _WORD.findall(text):
        if word.startswith("#"):
            continue
        if not word.isprintable():
            # A NUL would end the name in the resolver, an escape sequence would reach a terminal,
            # and a space that is none (U+00A0, pasted from a web page) cannot be seen.
            raise HostSpecError(word, "it holds a character that cannot be seen; write it again")
        key, number = _cut(word, "=/")
        if key in slots and number:
            slots[key] = _slots(number[1:], word)
        elif word in ("--randomize", "+zeroconf"):
            flags.add(word)
            zeroconf_at = len(hosts) if word == "+zeroconf" else zeroconf_at
        elif word.startswith("+"):
            membership.append(_membership(word, len(hosts)))
        elif word.startswith("-"):
            known = "--randomize, --localslots=N and --localslots_cpp=N"
            raise HostSpecError(word, f"only {known} begin with a minus")
        else:
            hosts.append(_host(word))
    return HostList(
        hosts=tuple(hosts),
        local_slots=slots["--localslots"],
        local_cpp_slots=slots["--localslots_cpp"],
        randomize="--randomize" in flags,
        zeroconf="+zeroconf" in flags,
        zeroconf_at=zeroconf_at,
        membership=tuple(membership),
    )


def render(spec: HostSpec) -> str:
    """Write a host as a word of a list, in the new order and without what is the default anyway.

    `parse_hosts` of it gives ``spec`` again, but for `HostSpec.spelled`, if it could be the reading
    of a word at all.
    """
    if spec.kind is Kind.LOCAL:
        return _LOCALHOST if spec.slots == LOCALHOST_SLOTS else f"{_LOCALHOST}/{spec.slots}"
    slots = "" if spec.slots == REMOTE_SLOTS else f"/{spec.slots}"
    if spec.kind is Kind.SSH:
        word = f"{spec.user}@{spec.host}{slots}" + (f":{spec.command}" if spec.command else "")
    else:
        # A daemon on this machine may be listed as localhost:3632; the bare word is no TCP host.
        default = spec.port == DEFAULT_PORT and spec.host != _LOCALHOST
        name = f"[{spec.host}]" if ":" in spec.host else spec.host
        word = name + ("" if default else f":{spec.port}") + slots
    options = {
        "lzo": spec.lzo,
        "cpp": spec.cpp,
        f"auth={spec.auth_name}".removesuffix("="): spec.auth,
        "down": spec.down,
        "tls": spec.tls,
    }
    return ",".join([word, *(option for option, given in options.items() if given)])


def lock_name(spec: HostSpec) -> str:
    """What distcc's lock files call a host, between ``cpu_`` or ``backoff_`` and ``_SLOT``.

    The local machine has one name whatever the job, so that --localslots and --localslots_cpp count
    in the same files (dcc_make_lock_filename in src/lock.c). No name holds a slash.
    """
    if spec.kind is Kind.LOCAL:
        return _LOCALHOST
    return f"ssh_{spec.host}" if spec.kind is Kind.SSH else f"tcp_{spec.host}_{spec.port}"


def host_texts(
    environment: Mapping[bytes, bytes],
    read: Callable[[bytes], str | None],
    sysconf: bytes = b"/etc",
) -> tuple[str, str] | None:
    """Find the host list: its text, and where it came from for messages; None when there is none.

    ``read`` gives a file's text, or None if it cannot be read. The first of these counts, alone:
    $DISTCC_HOSTS, even when it is empty; hosts in $DISTCC_DIR, or if that is not set in ~/.distcc;
    distcc/hosts in ``sysconf`` (dcc_get_hostlist in src/hosts.c).
    """
    listed = environment.get(b"DISTCC_HOSTS")
    if listed is not None:
        return os.fsdecode(listed), "$DISTCC_HOSTS"
    paths = [sysconf + b"/distcc/hosts"]
    top, home = environment.get(b"DISTCC_DIR"), environment.get(b"HOME")
    if top is None and home is not None:
        top = home + b"/.distcc"
    if top is not None:
        paths.insert(0, top + b"/hosts")
    for path in paths:
        text = read(path)
        if text is not None:
            return text, os.fsdecode(path)
    return None


def _host(word: str) -> HostSpec:
    place, *options = word.split(",")
    given, auth_name = _options(options, word)
    name, number = _cut(place, "/")
    if name == _LOCALHOST and (number or not options):
        if ":" in number:
            raise HostSpecError(word, "for a daemon on this machine write 127.0.0.1:PORT/N")
        slots = _slots(number[1:], word) if number else LOCALHOST_SLOTS
        return HostSpec(Kind.LOCAL, _LOCALHOST, slots=slots, spelled=word)
    user = command = ""
    port = DEFAULT_PORT
    kind = Kind.SSH if "@" in place else Kind.TCP
    if kind is Kind.SSH:
        host, slots, user, command = _ssh(place, word)
    else:
        host, slots, port = _tcp(place, word)
    if "cpp" in given and "lzo" not in given:
        reason = "pump mode (',cpp') requires compression (',lzo')"
        raise HostSpecError(word, f"{reason}; write ,lzo,cpp")
    if "tls" in given and kind is Kind.SSH:
        raise HostSpecError(word, "ssh encrypts by itself; leave ,tls out")
    return HostSpec(
        kind=kind,
        host=host,
        port=port,
        slots=slots,
        user=user,
        command=command,
        lzo="lzo" in given,
        cpp="cpp" in given,
        auth="auth" in given,
        auth_name=auth_name,
        tls="tls" in given,
        down="down" in given,
        spelled=word,
    )


def _tcp(place: str, word: str) -> tuple[str, int, int]:
    """Host, slots and port of what stands before the options."""
    if place.startswith("["):
        host, bracket, rest = place[1:].partition("]")
        if not bracket:
            raise HostSpecError(word, "the bracket is not closed; write [ADDRESS]:PORT/N")
        # Without brackets distcc takes "=N" for a part of the name, and after a port for an error.
        rest = "/" + rest[1:] if rest.startswith("=") else rest
        _check_name(host, word, "address", _NOT_IN_NAMES - {":"})
    else:
        host, rest = _cut(place, "/:")
        if _BARE_IPV6.match(place):
            raise HostSpecError(word, "write an IPv6 address in brackets, [ADDRESS]:PORT/N")
        _check_name(host, word, "name")
    parts = _AFTER_HOST.fullmatch(rest)
    if parts is None:
        raise HostSpecError(word, f'"{rest}" cannot follow the host; write HOST:PORT/N,OPTIONS')
    slots, port = REMOTE_SLOTS, DEFAULT_PORT
    for text in parts.group("early", "late"):
        if text is not None:
            slots = _slots(text, word)
    if parts["port"] is not None:
        port = _number(parts["port"], word, "port", MAX_PORT)
    return host, slots, port


def _ssh(place: str, word: str) -> tuple[str, int, str, str]:
    """Host, slots, user and command of what stands before the options."""
    user, _, rest = place.partition("@")
    if user:
        _check_name(user, word, "user")
    rest, command = _cut(rest, ":")
    host, number = _cut(rest, "/")
    if host.startswith("["):
        # To distcc this is a host "[" with a command.
        raise HostSpecError(word, "ssh takes no brackets; give the address a name in ~/.ssh/config")
    _check_name(host, word, "name")
    slots = _slots(number[1:], word) if number else REMOTE_SLOTS
    if command[1:2] == "-":
        # ssh looks for options behind the host as well.
        raise HostSpecError(word, 'no command begins with "-"')
    return host, slots, user, command[1:]


def _options(written: Sequence[str], word: str) -> tuple[frozenset[str], str]:
    """Which options are given, and the name in ``auth=NAME``."""
    given = set()
    auth_name = ""
    for option in written:
        name, equals, value = option.partition("=")
        if name not in OPTIONS or (equals and name != "auth"):
            known = ", ".join(OPTIONS)
            raise HostSpecError(word, f'unrecognized option "{option}"; there are {known}')
        given.add(name)
        if value:
            _check_name(value, word, "name for auth")
        if equals:
            auth_name = value
    return frozenset(given), auth_name


def with_options(spec: HostSpec, options: Sequence[str]) -> HostSpec:
    """The host with more options, which are known ones."""
    if not options:
        return spec
    given, auth_name = _options(options, ",".join(options))
    return replace(
        spec,
        lzo=spec.lzo or "lzo" in given,
        cpp=spec.cpp or "cpp" in given,
        auth=spec.auth or "auth" in given,
        auth_name=auth_name or spec.auth_name,
        tls=spec.tls or "tls" in given,
    )


def _membership(word: str, at: int) -> Membership:
    url = word[1:]
    if not any(url.startswith(scheme) and url != scheme for scheme in _MEMBERSHIP):
        raise HostSpecError(word, "only +zeroconf and +redis://HOST begin with a plus")
    options: list[str] = []
    # A URL may hold commas: what stands behind one is an option if it is a known one.
    while True:
        before, comma, last = url.rpartition(",")
        if not comma or last.partition("=")[0] not in OPTIONS or last == "down":
            break
        url = before
        options.insert(0, last)
    given, _ = _options(options, word)
    if "cpp" in given and "lzo" not in given:
        reason = "pump mode (',cpp') requires compression (',lzo')"
        raise HostSpecError(word, f"{reason}; write ,lzo,cpp")
    return Membership(url, at, tuple(options))


def _check_name(name: str, word: str, what: str, forbidden: frozenset[str] = _NOT_IN_NAMES) -> None:
    if not name:
        raise HostSpecError(word, f"the {what} is missing; write HOST:PORT/N or USER@HOST/N")
    if name[0] in "-+":
        # ssh would take such a name for an option: @-oProxyCommand=... runs any program.
        raise HostSpecError(word, f'no {what} begins with "{name[0]}"')
    wrong = next((letter for letter in name if letter in forbidden), "")
    if wrong:
        remedy = "the number of jobs is written HOST/N" if wrong == "=" else "write USER@HOST/N"
        raise HostSpecError(word, f'the {what} "{name}" cannot hold "{wrong}"; {remedy}')


def _slots(text: str, word: str) -> int:
    return _number(text, word, "number of jobs", MAX_SLOTS)


def _number(text: str, word: str, what: str, largest: int) -> int:
    value = int(text) if _NUMBER.fullmatch(text) else 0
    if not 1 <= value <= largest:
        raise HostSpecError(word, f'bad {what} "{text}"; write one from 1 to {largest}')
    return value


def _cut(text: str, separators: str) -> tuple[str, str]:
    """What stands before the first of the separators, and the rest with it."""
    end = min((at for s in separators if (at := text.find(s)) >= 0), default=len(text))
    return text[:end], text[end:]
