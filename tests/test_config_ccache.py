"""The configuration that the installed ccache sees is the one that we see.

Only rules that ccache 4.7 and its newest version share are compared; the others are tested by
themselves.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from pycc import config
from pycc.errors import ConfigError

# Written or computed in another way by one version or the other.
CHANGED = frozenset(("max_size", "inode_cache", "temporary_dir", "libexec_dirs"))

USER = "home/.config/ccache/ccache.conf"


def prepare(root: Path, files: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """Write the files and return the environment; @ stands for the root in both."""
    (root / "home").mkdir()
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text(text.replace("@", str(root)))
        else:
            path.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": f"{root}/home",
        "CCACHE_CONFIGPATH2": f"{root}/system.conf",
    }
    return environment | {name: text.replace("@", str(root)) for name, text in variables.items()}


def theirs(root: Path, environment: Mapping[str, str], *words: str) -> tuple[str, str]:
    run = subprocess.run(
        ["ccache", *words], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    return run.stdout, run.stderr.removeprefix("ccache: error: ").rstrip("\n")


def ours(root: Path, environment: Mapping[str, str]) -> tuple[str, str]:
    encoded = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
    try:
        return config.show(config.load(encoded, os.fsencode(root))), ""
    except ConfigError as error:
        return "", str(error)


def shown(text: str) -> dict[str, str]:
    matches = re.findall(r"^\((.*?)\) (\w+) = (.*)$", text, re.MULTILINE)
    return {key: f"({origin}) {value}" for origin, key, value in matches if key not in CHANGED}


CASES: list[tuple[dict[str, str], dict[str, str]]] = [
    ({}, {}),
    ({}, {"CCACHE_DIR": "@/cache"}),
    ({}, {"CCACHE_DIR": ""}),
    ({}, {"CCACHE_DIR": "relative"}),
    ({}, {"XDG_CACHE_HOME": "@/xc", "XDG_CONFIG_HOME": "@/xf"}),
    ({"home/.ccache/": ""}, {"XDG_CACHE_HOME": "@/xc", "XDG_CONFIG_HOME": "@/xf"}),
    ({"home/.ccache/ccache.conf": "stats = false"}, {}),
    ({"home/.ccache/ccache.conf": "stats = false"}, {"CCACHE_DIR": "@/cache"}),
    ({"cache/ccache.conf": "stats = false"}, {"CCACHE_DIR": "@/cache"}),
    ({"relative/ccache.conf": "stats = false"}, {"CCACHE_DIR": "relative"}),
    ({"xf/ccache/ccache.conf": "debug = true"}, {"XDG_CONFIG_HOME": "@/xf"}),
    ({"system.conf": "cache_dir = @/s", "s/ccache.conf": "path = x"}, {}),
    ({"system.conf": "cache_dir = @/s", USER: "path = y"}, {"CCACHE_DIR": ""}),
    ({"system.conf": "path = s\ncompiler = s", USER: "path = u"}, {}),
    ({"system.conf": "path = s", "own.conf": "compiler = o"}, {"CCACHE_CONFIGPATH": "own.conf"}),
    ({"own.conf": "cache_dir = @/from_file"}, {"CCACHE_CONFIGPATH": "@/own.conf"}),
    ({"cache/ccache.conf": "cache_dir = @/other"}, {"CCACHE_DIR": "@/cache"}),
    ({}, {"CCACHE_CONFIGPATH": "/dev/null"}),
    ({}, {"CCACHE_CONFIGPATH": "@/absent"}),
    ({}, {"CCACHE_CONFIGPATH": "@/home"}),
    ({USER: "# comment\n\n  \nstats=false\n"}, {}),
    ({USER: "stats = false\r\nhash_dir = false\r\n"}, {}),
    ({USER: "path = a = b\n"}, {}),
    ({USER: "path =\n"}, {}),
    ({USER: "path = a # no comment\n"}, {}),
    ({USER: "= x\nunknown = x\n"}, {}),
    ({USER: "path = 1\npath = 2"}, {"CCACHE_COMPILER": "gcc"}),
    ({USER: "path = $VALUE/${VALUE}/$/-$"}, {"VALUE": "v"}),
    ({USER: "secondary_storage = file:/x"}, {}),
    ({USER: "nonsense"}, {}),
    ({USER: "\n# x\nstats = yes"}, {}),
    ({USER: "path = $NOPE"}, {}),
    ({USER: "path = ${NOPE"}, {}),
    ({USER: "umask = 8"}, {}),
    ({USER: "max_files = -1"}, {}),
    ({USER: "base_dir = relative"}, {}),
    ({"own.conf": "x"}, {"CCACHE_CONFIGPATH": "own.conf"}),
    ({}, {"CCACHE_DISABLE": "1", "CCACHE_NODIRECT": "", "CCACHE_READONLY": "x"}),
    ({}, {"CCACHE_NOCOMPRESS": "1", "CCACHE_DEPEND": "1", "CCACHE_HARDLINK": "true"}),
    ({}, {"CCACHE_DISABLE": "0"}),
    ({}, {"CCACHE_NOSTATS": "FALSE"}),
    ({}, {"CCACHE_RECACHE": "no"}),
    ({}, {"CCACHE_BASEDIR": "/a//b/../c/"}),
    ({}, {"CCACHE_BASEDIR": "x"}),
    ({}, {"CCACHE_BASEDIR": ""}),
    ({}, {"CCACHE_CC": "gcc"}),
    ({}, {"CCACHE_SECONDARY_STORAGE": "file:/x"}),
    ({}, {"CCACHE_REMOTE_STORAGE": "file:/x|read-only http://y"}),
    ({}, {"CCACHE_SLOPPINESS": "bogus,time_macros locale,no_system_headers"}),
    ({}, {"CCACHE_UMASK": "7"}),
    ({}, {"CCACHE_UMASK": ""}),
    ({}, {"CCACHE_UMASK": "1000"}),
    ({}, {"CCACHE_UMASK": "9"}),
    ({}, {"CCACHE_COMPRESSLEVEL": "+5"}),
    ({}, {"CCACHE_COMPRESSLEVEL": "1000"}),
    ({}, {"CCACHE_COMPRESSLEVEL": "x"}),
    ({}, {"CCACHE_MAXFILES": "1000"}),
    ({}, {"CCACHE_MAXFILES": "1k"}),
    ({}, {"CCACHE_MAXSIZE": "x"}),
    ({}, {"CCACHE_MAXSIZE": "-1G"}),
    ({}, {"CCACHE_COMPILERTYPE": "clang"}),
    ({}, {"CCACHE_COMPILERTYPE": "zzz"}),
    ({}, {"CCACHE_COMPILERCHECK": "%compiler% --version"}),
    ({}, {"CCACHE_EXTRAFILES": "a:b", "CCACHE_IGNOREHEADERS": "c", "CCACHE_IGNOREOPTIONS": "-d*"}),
    ({}, {"CCACHE_LOGFILE": "log", "CCACHE_STATSLOG": "slog", "CCACHE_DEBUGDIR": "d"}),
    ({}, {"CCACHE_PREFIX": "distcc", "CCACHE_PREFIX_CPP": "p", "CCACHE_PATH": "/x:/y"}),
    ({}, {"CCACHE_NAMESPACE": "n", "CCACHE_MSVC_DEP_PREFIX": "m", "CCACHE_PCH_EXTSUM": "1"}),
    ({}, {"CCACHE_UNKNOWN": "0", "CCACHE_NO": "0", "CCACHE_": "0"}),
    ({}, {"CCACHE_PREFIX": "$NOPE"}),
    ({}, {"CCACHE_NODIR": "@/x"}),
]


@pytest.mark.parametrize(("files", "variables"), CASES)
def test_the_installed_ccache_agrees(
    tmp_path: Path, files: dict[str, str], variables: dict[str, str]
) -> None:
    environment = prepare(tmp_path, files, variables)
    their_text, their_error = theirs(tmp_path, environment, "--show-config")
    our_text, our_error = ours(tmp_path, environment)
    their_values, our_values = shown(their_text), shown(our_text)
    common = their_values.keys() & our_values.keys()
    assert our_error == their_error
    assert len(common) > 35 or their_error
    assert {key: our_values[key] for key in common} == {key: their_values[key] for key in common}


EDITS = [
    (None, "path", "a"),
    ("", "path", "a"),
    ("path = old\n", "path", "new"),
    ("# x\npath = old\n\n# y\nstats = true\n", "path", "new one"),
    ("path = old", "stats", "true"),
    ("path = old\n", "umask", "002"),
    ("# path = old\n", "path", "new"),
    ("nonsense = 1\n", "path", "$HOME/x"),
    ("path = old\n", "unknown", "1"),
    ("path = old\n", "stats", "yes"),
    ("path = old\n", "path", "$NOPE"),
]


@pytest.mark.parametrize(("content", "key", "value"), EDITS)
def test_the_installed_ccache_writes_the_same_file(
    tmp_path: Path, content: str | None, key: str, value: str
) -> None:
    environment = prepare(tmp_path, {}, {})
    results = []
    for name in ("theirs.conf", "ours.conf"):
        path = tmp_path / name
        if content is not None:
            path.write_text(content)
        if name == "theirs.conf":
            used = environment | {"CCACHE_CONFIGPATH": str(path)}
            error = theirs(tmp_path, used, "--set-config", f"{key}={value}")[1]
        else:
            encoded = {os.fsencode(k): os.fsencode(v) for k, v in environment.items()}
            error = ""
            try:
                config.set_value(str(path), key, value, environment=encoded)
            except ConfigError as fault:
                error = str(fault)
        # 4.7 makes an absent file before it looks at the value.
        written = path.read_text().replace(" = ", "=") if path.exists() else ""
        results.append((written, error))
    assert results[0] == results[1]
