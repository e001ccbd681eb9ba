"""The daemon's command line, environment and configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network

import pytest

from pycc.errors import Fatal
from pycc.remote.settings import SETTINGS, Settings, config_text, help_text, read_settings


def read(
    line: str, environment: Mapping[str, str] | None = None, files: Mapping[str, str] | None = None
) -> Settings:
    return read_settings(line.split(), environment or {}, (files or {}).get)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("", "port", 3632),
        ("--port 4000", "port", 4000),
        ("--port=4000", "port", 4000),
        ("-p 4000", "port", 4000),
        ("-p4000", "port", 4000),
        ("-p=4000", "port", 4000),
        ("--daemon", "daemon", True),
        ("--jobs 7", "jobs", 7),
        ("-j7", "jobs", 7),
        ("--nice -3", "nice", -3),
        ("-N 19", "nice", 19),
        ("--log-level=error", "log_level", 3),
        ("--log-level critical", "log_level", 2),
        ("--make-me-a-botnet", "enable_tcp_insecure", True),
        ("--enable-tcp-insecure", "enable_tcp_insecure", True),
        ("-W", "wizard", True),
        ("--cache-size 2G", "cache_size", 2_000_000_000),
        ("--cache-size 2GiB", "cache_size", 2 << 30),
        (
            "-a 10.0.0.0/8 --allow=::1 -a 192.168.1.7",
            "allow",
            tuple(map(ip_network, ("10.0.0.0/8", "::1", "192.168.1.7"))),
        ),
    ],
)
def test_options(line: str, name: str, value: object) -> None:
    assert read(line)(name) == value


def test_the_command_line_of_distccs_own_suite() -> None:
    settings = read(
        "--verbose --lifetime=60 --daemon --log-file /t/d.log --pid-file /t/p --port 42000"
        " --allow 127.0.0.1 --enable-tcp-insecure --sysroot /t/root"
    )
    shown = {name: settings(name) for name in ("verbose", "lifetime", "log_file", "sysroot")}
    assert shown == {
        "verbose": True,
        "lifetime": 60,
        "log_file": "/t/d.log",
        "sysroot": "/t/root",
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--port 80000", "--port: port must be between 1 and 65535"),
        ("--port x", "--port: invalid unsigned integer"),
        ("--port", "--port needs a value"),
        ("--jobs 0", "--jobs: number of jobs must be between"),
        ("--stats-port 0", "--stats-port: port must be between 1 and 65535"),
        ("--bogus-option", "unknown option --bogus-option"),
        ("-Q", "unknown option -Q"),
        ("--daemon=1", "--daemon takes no value"),
        ("word", "unexpected argument 'word'"),
        ("--allow 10.0.0.0/99", "--allow: invalid mask"),
        ("--log-level loud", '--log-level: "loud" is no log level'),
        ("--config /missing", "/missing: cannot be read"),
    ],
)
def test_what_is_wrong_is_named_and_ends_with_distccs_status(line: str, said: str) -> None:
    with pytest.raises(Fatal) as caught:
        read(line)
    assert said in str(caught.value)
    assert caught.value.status == 101


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("bogus = 1", "/f:1: unknown setting 'bogus'"),
        ("\nport = x", "/f:2: invalid unsigned integer"),
        ("port", "/f:1: missing equal sign"),
        ("allow = nobody", '/f:1: can\'t parse internet address "nobody"'),
    ],
)
def test_what_is_wrong_in_a_file_is_named(content: str, said: str) -> None:
    with pytest.raises(Fatal) as caught:
        read("--config /f", files={"/f": content})
    assert said in str(caught.value)
    assert caught.value.status == 101


def test_the_nearest_value_counts_and_is_shown_with_its_origin() -> None:
    file = "port = 1\njobs = 3\ncache_dir = /file\nallow = 10.0.0.0/8 ::1\n"
    settings = read(
        "--port 2 --allow 127.0.0.1",
        {"CACHE_DIRECTORY": "/env"},
        {"/etc/pyccd.conf": file},
    )
    shown = config_text(settings).splitlines()
    assert "(command line) port = 2" in shown
    assert "(/etc/pyccd.conf:2) jobs = 3" in shown
    assert "($CACHE_DIRECTORY) cache_dir = /env" in shown
    assert "(command line) allow = 127.0.0.1/32" in shown
    assert "(default) nice = 5" in shown
    assert "(default) cache_size = 5.0 GB" in shown
    assert len(shown) == len(SETTINGS)


def test_every_option_of_distccd_is_taken() -> None:
    line = (
        "-a 127.0.0.1 --allow-private --auth --blacklist /f -j 3 --daemon --inetd --lifetime 5"
        " --listen ::1 --log-file /f --log-level info --log-stderr --job-lifetime 3 -N 4"
        " --no-detach --no-fifo --no-fork --oom-score-adj 5 -P /f -p 4000 --user u --verbose"
        " --whitelist /f -W --stats --stats-port 4001 --zeroconf --make-me-a-botnet"
        " --enable-tcp-insecure --sysroot /d"
        " --tls-cert /c --tls-key /k --tls-ca /a"
    )
    settings = read(line)
    given = {name for name, value in settings.values.items() if value.origin == "command line"}
    assert {s.name for s in SETTINGS} - given == {
        *("announce", "cache_dir", "cache_size", "no_cache", "path", "cmdlist", "cmdlist_numwords")
    }


@pytest.mark.parametrize(
    ("line", "action"),
    [
        ("--help", "help"),
        ("-?", "help"),
        ("--version", "version"),
        ("--port 1 --print-config", "print_config"),
        ("--check", "check"),
        ("--fix-permissions --user u", "fix_permissions"),
        ("--show-principal", "show_principal"),
        ("--daemon", ""),
    ],
)
def test_what_is_done_instead_of_serving(line: str, action: str) -> None:
    assert read(line).action == action


def test_help_names_every_option() -> None:
    text = help_text("pyccd")
    assert text.startswith("Usage: pyccd [OPTIONS]\n")
    assert all(setting.option in text for setting in SETTINGS)
