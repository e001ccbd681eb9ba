"""``pump COMMAND``: run a build whose sources go to the servers as they are (distcc's pump(1)).

    pump make -j20              the command, with every host of the list in pump mode
    eval `pump --startup`       the same for a shell; pump --shutdown ends it

distcc's program starts an include server beside the build, and distcc asks that for headers. Here
the resident server looks for headers itself, and a host that is listed with ``,cpp,lzo`` gets
sources without any of this. What is left is the host list: DISTCC_POTENTIAL_HOSTS are looked
through with lsdistcc, and hosts that are not listed with ``,cpp,lzo`` are taken as if they were.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys
from collections.abc import Mapping, Sequence

from pycc.record import replace

from .hosts import HostList, HostSpecError, Kind, host_texts, parse_hosts, render

EXIT_BAD_ARGUMENTS, EXIT_NO_HOSTS, EXIT_MISSING = 101, 116, 127
HOSTS_LIMIT = 1 << 20
USAGE = """\
Usage:
    pump COMMAND [ARG...]
    pump --startup
    pump --shutdown

Run COMMAND with all compile servers of the host list in pump mode: sources are
sent as they are, and servers preprocess them. --startup prints this as settings
for a shell, --shutdown is there for scripts that call it.

Environment variables:
    DISTCC_POTENTIAL_HOSTS   hosts that lsdistcc is to ask; the ones that answer are used
    LSDISTCC_ARGS            more words for lsdistcc
    DISTCC_HOSTS             the host list; else $DISTCC_DIR/hosts, ~/.distcc/hosts
                             or /etc/distcc/hosts
"""


def in_pump_mode(hosts: HostList) -> str:
    """A host list with the same machines, all of which get sources."""
    words = [f"--localslots={hosts.local_slots}", f"--localslots_cpp={hosts.local_cpp_slots}"]
    words += ["--randomize"] if hosts.randomize else []
    words += [
        render(host if host.kind is Kind.LOCAL else replace(host, lzo=True, cpp=True))
        for host in hosts.hosts
    ]
    words += ["+zeroconf"] if hosts.zeroconf else []
    words += [one.word("lzo", "cpp", *_others(one.options)) for one in hosts.membership]
    return " ".join(words)


def _others(options: Sequence[str]) -> list[str]:
    return [option for option in options if option not in ("lzo", "cpp")]


def _read(path: bytes) -> str | None:
    try:
        with open(path, "rb") as file:
            return os.fsdecode(file.read(HOSTS_LIMIT))
    except OSError:
        return None


def _potential(words: Sequence[str], environment: Mapping[str, str]) -> str:
    """The hosts that lsdistcc finds."""
    from .lsdistcc import run

    found = io.StringIO()
    with contextlib.redirect_stdout(found):
        run([*words, *environment["DISTCC_POTENTIAL_HOSTS"].split()], environment)
    return " ".join(found.getvalue().split())


def host_list(environment: Mapping[str, str]) -> str:
    """DISTCC_HOSTS for the command; empty where there is no list. Raises HostSpecError."""
    if environment.get("DISTCC_POTENTIAL_HOSTS"):
        text = _potential(environment.get("LSDISTCC_ARGS", "").split(), environment)
    else:
        variables = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
        found = host_texts(variables, _read)
        text = "" if found is None else found[0]
    hosts = parse_hosts(text)
    return "" if hosts.names_nobody else in_pump_mode(hosts)


def run(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """The status; does not return where a command is to be run and can be."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    if words[0] == "--shutdown":
        return 0
    if words[0].startswith("-") and words[0] != "--startup":
        print(f"pump: {words[0]} is no option of it; try `pump --help'", file=sys.stderr)
        return EXIT_BAD_ARGUMENTS
    try:
        hosts = host_list(environment)
    except HostSpecError as problem:
        print(f"pump: {problem}", file=sys.stderr)
        return problem.status
    if not hosts:
        print("pump: there is no host list; set DISTCC_HOSTS", file=sys.stderr)
    if words[0] == "--startup":
        if hosts:
            print(f"export DISTCC_HOSTS={shlex.quote(hosts)}")
        return 0 if hosts else EXIT_NO_HOSTS
    try:
        os.execvpe(
            words[0], [*words], {**environment, **({"DISTCC_HOSTS": hosts} if hosts else {})}
        )
    except OSError as problem:
        print(f"pump: {words[0]}: {problem.strerror}", file=sys.stderr)
        return EXIT_MISSING


def main() -> None:
    """The entry point."""
    status = run(sys.argv[1:], os.environ)
    sys.stdout.flush()
    sys.exit(status)
