"""`distcc-config`: which hosts compile, distcc's variables, and the masquerade, by command.

    --set-hosts HOSTS    write the host list: /etc/distcc/hosts for root, else $DISTCC_DIR/hosts or
                         ~/.distcc/hosts, where clients look for it
    --set-env NAME VALUE write a variable to /etc/env.d/02distcc, which Gentoo makes everybody's

The words, the files and the exit status are those of Gentoo's program of this name. A list that no
client could use is refused. A file is replaced as a whole, so that no build reads half of it, and
what it held is kept beside it as FILE.~1~, FILE.~2~ and so on.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from . import masquerade
from .errors import Fatal
from .pattern import pattern
from .record import record
from .remote.hosts import HostSpecError, host_texts, parse_hosts

HOSTS = "etc/distcc/hosts"
ENVIRONMENT = "etc/env.d/02distcc"
UPDATE = ("usr/sbin/env-update", "sbin/env-update")
LARGEST = 1 << 20
"""Bytes of a file that is read."""
EXIT_WRONG = 1

USAGE = """\
Usage: distcc-config --set-hosts HOSTS        | --get-hosts
       distcc-config --set-env NAME VALUE     | --get-env [NAME]
       distcc-config --set-verbose 0|1        | --get-verbose
       distcc-config --set-log FILE           | --get-log
       distcc-config --install [DIRECTORY]      (or --update-masquerade)
       distcc-config --help

HOSTS is a host list as in DISTCC_HOSTS. Root sets the machine's, others their own.
Variables are everybody's, and root sets them.
--install makes a link to pycc for each compiler of this machine.
"""

_NAME = pattern(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
# What a shell, which reads the file at login, would take for more than a letter.
_SPECIAL = frozenset('"\\$`\n\r\0')
_LINE = pattern(r"(?m)^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_]\w*)=(?P<value>.*)$")


@record
class Action:
    """What a command line asks for. ``words`` are the option's values."""

    option: str
    words: tuple[str, ...] = ()


_COUNTS: Mapping[str, tuple[int, int]] = {
    "--set-hosts": (1, 1000),
    "--get-hosts": (0, 0),
    "--set-env": (2, 2),
    "--get-env": (0, 1),
    "--set-verbose": (1, 1),
    "--get-verbose": (0, 0),
    "--set-log": (1, 1),
    "--get-log": (0, 0),
    "--install": (0, 1),
    "--update-masquerade": (0, 1),
    "--update-masquerade-with-crossdev": (0, 1),
    "--help": (0, 0),
}
"""Options, and the least and the most values of each."""
_FIXED = {"verbose": "DISTCC_VERBOSE", "log": "DISTCC_LOG"}


def read_words(words: Sequence[str]) -> Action:
    """What the words without the program's name ask for. Raises Fatal."""
    if not words or words[0] in ("-h", "-?"):
        return Action("--help")
    option, values = words[0], tuple(words[1:])
    if option not in _COUNTS:
        message = f"{option} is not an option: see distcc-config --help"
        raise Fatal(message)
    least, most = _COUNTS[option]
    if not least <= len(values) <= most:
        message = f"{option} with {len(values)} values: see distcc-config --help"
        raise Fatal(message)
    verb, _, name = option[2:].partition("-")
    if name in _FIXED:
        return Action(f"--{verb}-env", (_FIXED[name], *values))
    if option.startswith("--update-masquerade"):
        return Action("--install", values)
    return Action(option, values)


def value_in(text: str, name: str) -> str | None:
    """What an env.d file says of the variable ``name``; the last line counts."""
    found = [line["value"] for line in _LINE.finditer(text) if line["name"] == name]
    if not found:
        return None
    value = found[-1].strip()
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value


def with_value(text: str, name: str, value: str) -> str:
    """The file's text with the variable set, in its place or at the end. Raises Fatal for what such
    a file cannot hold."""
    if not _NAME.fullmatch(name):
        message = f"{name!r} is no name of a variable"
        raise Fatal(message)
    if _SPECIAL.intersection(value):
        message = f"{name} cannot hold quotes, backslashes, dollars or line ends: {value!r}"
        raise Fatal(message)
    said = f'{name}="{value}"'
    lines: list[str] = []
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is None or found["name"] != name:
            lines.append(line)
        elif said not in lines:  # of several that set it, the first becomes the only one
            lines.append(said)
    if said not in lines:
        lines.append(said)
    return "".join(f"{line}\n" for line in lines)


def hosts_file(variables: Mapping[str, str], root: str, *, privileged: bool) -> str:
    """The host list that this user sets. Raises Fatal."""
    if privileged:
        return os.path.join(root, HOSTS)
    directory = variables.get("DISTCC_DIR")
    if directory:
        return os.path.join(directory, "hosts")
    home = variables.get("HOME")
    if not home:
        raise Fatal("HOME is not set: set it, or DISTCC_DIR")
    return os.path.join(home, ".distcc/hosts")


def checked_hosts(words: Sequence[str]) -> tuple[str, str]:
    """(the list's text, what is said of it). Raises Fatal with distcc's status for a list that
    clients would not take."""
    text = " ".join(words).strip()
    try:
        hosts = parse_hosts(text)
    except HostSpecError as problem:
        raise Fatal(str(problem), problem.status) from None
    count = len(hosts.hosts)
    said = f"{count} host{'' if count == 1 else 's'}"
    if hosts.zeroconf or hosts.membership:
        said += " and those that announce themselves"
    elif hosts.names_nobody:
        said = "no host: nothing is distributed"
    return f"{text}\n", said


def replace_file(path: str, text: str) -> str:
    """Give a file another text; returns the name of the copy of what it held, empty if there was
    nothing to keep. Raises Fatal."""
    path = os.path.realpath(path)
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        before = _read_bytes(path)
        new = os.fsencode(text)
        if before == new:
            return ""
        kept = "" if before is None or not before.strip() else _keep(path, before)
        partial = f"{path}.{os.getpid()}.tmp"
        with open(partial, "xb") as file:
            try:
                file.write(new)
                file.flush()
                mode, owner = _like(path)
                os.fchmod(file.fileno(), mode)
                if owner is not None and os.geteuid() == 0:
                    os.fchown(file.fileno(), *owner)
                os.rename(partial, path)
            except OSError:
                os.unlink(partial)
                raise
    except OSError as problem:
        denied = isinstance(problem, PermissionError)
        remedy = f": see who owns {os.path.dirname(path)}" if denied else ""
        message = f"{path}: cannot be written: {problem.strerror}{remedy}"
        raise Fatal(message) from None
    return kept


def _like(path: str) -> tuple[int, tuple[int, int] | None]:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return 0o644, None
    return stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid)


def _keep(path: str, content: bytes) -> str:
    for number in range(1, 1000):
        kept = f"{path}.~{number}~"
        with suppress(FileExistsError), open(kept, "xb") as file:
            file.write(content)
            shutil.copystat(path, kept)
            return kept
    message = f"{path}: there are 999 copies of it already: remove some"
    raise Fatal(message)


def _read_bytes(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        return None
    if len(content) > LARGEST:
        message = f"{path} has more than {LARGEST} bytes: this is no file of distcc's"
        raise Fatal(message)
    return content


def _text_of(path: str) -> str | None:
    try:
        content = _read_bytes(path)
    except OSError as problem:
        message = f"{path}: cannot be read: {problem.strerror}"
        raise Fatal(message) from None
    return None if content is None else os.fsdecode(content)


class Program:
    """One run. ``root`` is the file system's root, ``say`` prints a line."""

    def __init__(
        self,
        variables: Mapping[str, str],
        *,
        root: str = "/",
        privileged: bool,
        say: Callable[[str], None] = print,
    ) -> None:
        self._variables = variables
        self._root = root
        self._privileged = privileged
        self._say = say

    def run(self, words: Sequence[str]) -> None:
        """Do what the words say. Raises Fatal."""
        action = read_words(words)
        given = action.words
        match action.option:
            case "--help":
                self._say(USAGE.rstrip())
            case "--get-hosts":
                self._get_hosts()
            case "--set-hosts":
                self._set_hosts(given)
            case "--get-env":
                self._get_env(given)
            case "--set-env":
                self._set_env(*given)
            case _:
                places = [os.fsencode(place) for place in given]
                masquerade.update(places, os.fsencode(self._path()), self._say)

    def _path(self) -> str:
        return self._variables.get("PATH", os.defpath)

    def _listed(self) -> tuple[str, str] | None:
        """What clients of this user find: (text, origin)."""
        variables = {os.fsencode(n): os.fsencode(v) for n, v in self._variables.items()}

        def read(path: bytes) -> str | None:
            with suppress(Fatal):
                return _text_of(os.fsdecode(path))
            return None

        return host_texts(variables, read, os.fsencode(os.path.join(self._root, "etc")))

    def _get_hosts(self) -> None:
        found = self._listed()
        if found is None:
            self._say("No host list was found. Set one with distcc-config --set-hosts.")
            return
        self._say(found[0].rstrip())

    def _set_hosts(self, words: Sequence[str]) -> None:
        path = hosts_file(self._variables, self._root, privileged=self._privileged)
        text, said = checked_hosts(words)
        kept = replace_file(path, text)
        self._say(f"{path}: {said}")
        self._say_kept(path, kept)
        found = self._listed()
        if found is not None and os.path.realpath(found[1]) != os.path.realpath(path):
            self._say(f"{found[1]} counts before it, for this user")

    def _say_kept(self, path: str, kept: str) -> None:
        if kept:
            self._say(f"what {os.path.basename(path)} held is in {kept}")

    def _get_env(self, words: Sequence[str]) -> None:
        path = os.path.join(self._root, ENVIRONMENT)
        text = _text_of(path)
        if not words:
            self._say((text or "").rstrip() or f"{path} is empty or missing")
            return
        value = None if text is None else value_in(text, words[0])
        self._say(f"{words[0]} not set." if value is None else f"{words[0]}={value}")

    def _set_env(self, name: str, value: str) -> None:
        path = os.path.join(self._root, ENVIRONMENT)
        if not os.path.isdir(os.path.dirname(path)):
            message = (
                f"there is no {os.path.dirname(path)}, which Gentoo has: write"
                f" `export {name}=...` into your shell's profile"
            )
            raise Fatal(message)
        if not self._privileged:
            message = f"only root sets variables for everybody: write `export {name}=...` into"
            raise Fatal(f"{message} your shell's profile")
        kept = replace_file(path, with_value(_text_of(path) or "", name, value))
        self._say(f'{path}: {name}="{value}"')
        self._say_kept(path, kept)
        self._update_environment()

    def _update_environment(self) -> None:
        programs = [os.path.join(self._root, name) for name in UPDATE]
        program = next((p for p in programs if os.access(p, os.X_OK)), None)
        if program is None:
            self._say("env-update was not found: run it, or log in again, to have this everywhere")
            return
        status = subprocess.run([program], check=False).returncode
        if status:
            message = f"{program} failed with {status}: the variable is set, but nowhere in use"
            raise Fatal(message)
        self._say("To have it in a shell that runs already: source /etc/profile")


def main() -> None:
    """The entry point."""
    try:
        Program(os.environ, privileged=os.geteuid() == 0).run(sys.argv[1:])
    except Fatal as problem:
        print(f"distcc-config: {problem}", file=sys.stderr)
        sys.exit(problem.status)
