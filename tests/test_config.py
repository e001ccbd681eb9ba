"""Where a setting's value comes from: files found, order of strength, errors, witnesses."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pycc import config, config_table
from pycc.config import Config
from pycc.errors import ConfigError, Fatal
from tests.config_request import (
    CWD,
    HERE,
    HOME,
    PARENT,
    SYSTEM_CONFIG,
    USER_CONFIG,
    Nodes,
    error_of,
    load,
)
from tests.fake_files import FakeDirectory, FakeFile, FakeFiles

# The table and the record


def test_every_setting_has_a_field_and_every_field_is_accounted_for() -> None:
    fields = set(Config.__match_args__)
    found = {
        "origins",
        "config_path",
        "dir_config_path",
        "system_config_path",
        "working_directory",
        "consulted",
    }
    assert fields - found == config_table.BY_KEY.keys()


def test_no_key_stands_twice() -> None:
    assert len(config_table.BY_KEY) == len(config_table.SETTINGS)


def test_every_default_can_be_written_and_read_again() -> None:
    for setting in config_table.SETTINGS:
        default = getattr(Config(), setting.key)
        assert setting.kind.parse(setting.kind.format(default)) == default, setting.key


def test_no_variable_name_begins_with_a_negation() -> None:
    names = [name for setting in config_table.SETTINGS for name in setting.variables]
    assert not [name for name in names if name.split("_", 1)[1].startswith("NO")]


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        load().stats = False  # type: ignore[misc]


# Strength of the places

SYSTEM: dict[str, str | FakeFile | FakeDirectory] = {SYSTEM_CONFIG: "namespace = system"}
USER = {USER_CONFIG: "namespace = user"}
DIRECTORY = {HERE: "namespace = directory"}
ENVIRONMENT = {"CCACHE_NAMESPACE": "environment"}


@pytest.mark.parametrize(
    ("nodes", "environment", "overrides", "value", "origin"),
    [
        ({}, {}, [], "", "default"),
        (SYSTEM, {}, [], "system", SYSTEM_CONFIG),
        (SYSTEM | USER, {}, [], "user", USER_CONFIG),
        (SYSTEM | USER | DIRECTORY, {}, [], "directory", HERE),
        (SYSTEM | USER | DIRECTORY, ENVIRONMENT, [], "environment", "environment"),
        (DIRECTORY, ENVIRONMENT, ["namespace=words"], "words", "command line"),
    ],
)
def test_the_stronger_place_wins(
    nodes: Nodes, environment: Mapping[str, str], overrides: list[str], value: str, origin: str
) -> None:
    found = load(nodes, environment, overrides)
    assert (found.namespace, found.origin("namespace")) == (value, origin)


def test_places_add_up() -> None:
    found = load(
        {SYSTEM_CONFIG: "path = a", USER_CONFIG: "compiler = b", HERE: "namespace = c"},
        {"CCACHE_PREFIX": "d"},
        ["debug_dir=e"],
    )
    values = (found.path, found.compiler, found.namespace, found.prefix_command, found.debug_dir)
    assert values == ("a", "b", "c", "d", "e")


def test_an_empty_umask_changes_nothing_but_its_origin() -> None:
    found = load({SYSTEM_CONFIG: "umask = 027"}, {"CCACHE_UMASK": ""})
    assert (found.umask, found.origin("umask")) == (0o027, "environment")


# Environment


@pytest.mark.parametrize(
    ("name", "value", "key", "expected"),
    [
        ("CCACHE_DISABLE", "1", "disable", True),
        ("CCACHE_DISABLE", "", "disable", True),
        ("CCACHE_NODISABLE", "1", "disable", False),
        ("CCACHE_NODIRECT", "", "direct_mode", False),
        ("CCACHE_NOHASHDIR", "1", "hash_dir", False),
        ("CCACHE_NOCOMPRESS", "yes", "compression", False),
        ("CCACHE_CC", "gcc", "compiler", "gcc"),
        ("CCACHE_SECONDARY_STORAGE", "file:/x", "remote_storage", "file:/x"),
        ("CCACHE_MAXSIZE", "1k", "max_size", 1000),
        ("CCACHE_BASEDIR", "/a/:/b", "base_dir", ("/a", "/b")),
        ("CCACHE_SLOPPINESS", "locale", "sloppiness", frozenset({"locale"})),
        ("CCACHE_UMASK", "077", "umask", 0o77),
        ("CCACHE_NODIR", "/x", "cache_dir", "/x"),
        ("PYCC_PREPROCESS_FIRST", "1", "preprocess_first", True),
        ("CCACHE_PREPROCESS_FIRST", "1", "preprocess_first", True),
        ("CCACHE_NOPREPROCESS_FIRST", "1", "preprocess_first", False),
        ("PYCC_REREAD_FILES", "1", "reread_files", True),
        ("PYCC_NOREREAD_FILES", "1", "reread_files", False),
        ("PYCC_SPLIT_COMMANDS", "1", "split_commands", True),
        ("PYCC_NOSPLIT_COMMANDS", "1", "split_commands", False),
    ],
)
def test_variables(name: str, value: str, key: str, expected: object) -> None:
    found = load({}, {name: value})
    assert (getattr(found, key), found.origin(key)) == (expected, "environment")


@pytest.mark.parametrize(
    "name",
    [
        "CCACHE_CPP2",
        "CCACHE_NOCPP2",
        "CCACHE_EXTENSION",
        "CCACHE_NEW",
        "CCACHE_REREAD_FILES",
        "PYCC_DIR",
    ],
)
def test_unknown_and_removed_variables_are_ignored(name: str) -> None:
    assert load({}, {name: "0"}) == load()


@pytest.mark.parametrize(
    ("names", "value"),
    [(["CCACHE_CC", "CCACHE_COMPILER"], "1"), (["CCACHE_COMPILER", "CCACHE_CC"], "1")],
)
def test_of_two_variables_for_one_key_the_last_counts(names: list[str], value: str) -> None:
    assert load({}, {names[0]: "0", names[1]: value}).compiler == value


NEGATIVE = '{}: invalid boolean environment variable value "{}" (did you mean to set "{}=true"?)'


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("CCACHE_DISABLE", "0", NEGATIVE.format("CCACHE_DISABLE", "0", "CCACHE_NODISABLE")),
        ("CCACHE_NODISABLE", "No", NEGATIVE.format("CCACHE_NODISABLE", "No", "CCACHE_DISABLE")),
        (
            "PYCC_REREAD_FILES",
            "0",
            NEGATIVE.format("PYCC_REREAD_FILES", "0", "PYCC_NOREREAD_FILES"),
        ),
        ("CCACHE_MAXSIZE", "x", 'CCACHE_MAXSIZE: invalid size: "x"'),
        ("CCACHE_BASEDIR", "x", 'CCACHE_BASEDIR: not an absolute path: "x"'),
        ("CCACHE_PREFIX", "$NOPE", 'CCACHE_PREFIX: environment variable "NOPE" not set'),
        ("CCACHE_DEBUGLEVEL", "256", "CCACHE_DEBUGLEVEL: debug level must be between 0 and 255"),
    ],
)
def test_wrong_variables_are_named(name: str, value: str, message: str) -> None:
    assert error_of({}, {name: value}) == message


def test_variables_are_expanded_in_values() -> None:
    assert load({USER_CONFIG: "base_dir = $ROOT/x"}, {"ROOT": "/r"}).base_dir == ("/r/x",)


# Files


def test_unknown_and_removed_keys_in_a_file_are_ignored() -> None:
    text = (
        "run_second_cpp = x\ncpp_extension = i\nlimit_multiple = 0.9\nfuture = 1\nstats = false\n"
    )
    assert not load({USER_CONFIG: text}).stats


def test_the_old_name_of_remote_storage_is_accepted() -> None:
    found = load({USER_CONFIG: "secondary_storage = file:/x"})
    assert (found.remote_storage, found.origin("remote_storage")) == ("file:/x", USER_CONFIG)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# x\nstats = yes", '2: not a boolean value: "yes"'),
        ("stats = true\nnonsense", "2: missing equal sign"),
        ("max_files = -1", '1: invalid unsigned integer: "-1"'),
        ("path = $NOPE", '1: environment variable "NOPE" not set'),
        ("\n stats = true", "2: indented key"),
    ],
)
def test_wrong_lines_in_a_file_are_named(text: str, message: str) -> None:
    assert error_of({USER_CONFIG: text}) == f"{USER_CONFIG}:{message}"


def test_configpath_is_the_only_file_that_is_read() -> None:
    found = load(
        {"/only.conf": "path = x", **SYSTEM, **USER, **DIRECTORY},
        {"CCACHE_CONFIGPATH": "/only.conf"},
    )
    assert (found.path, found.namespace, found.system_config_path) == ("x", "", "")


def test_configpath_may_be_relative_and_is_shown_as_written() -> None:
    found = load({f"{CWD}/own.conf": "path = x"}, {"CCACHE_CONFIGPATH": "own.conf"})
    assert (found.path, found.origin("path")) == ("x", "own.conf")


def test_configpath2_replaces_the_system_wide_file() -> None:
    found = load({"/sys.conf": "path = x", **SYSTEM}, {"CCACHE_CONFIGPATH2": "/sys.conf"})
    assert (found.path, found.namespace) == ("x", "")


@pytest.mark.parametrize(
    ("nodes", "environment", "overrides", "config_path", "cache_dir"),
    [
        ({}, {}, [], USER_CONFIG, "/home/u/.cache/ccache"),
        (
            {},
            {"XDG_CACHE_HOME": "/xc", "XDG_CONFIG_HOME": "/xf"},
            [],
            "/xf/ccache/ccache.conf",
            "/xc/ccache",
        ),
        (
            {"/home/u/.ccache": FakeDirectory()},
            {"XDG_CACHE_HOME": "/xc", "XDG_CONFIG_HOME": "/xf"},
            [],
            "/home/u/.ccache/ccache.conf",
            "/home/u/.ccache",
        ),
        (
            {"/home/u/.ccache": FakeDirectory()},
            {"CCACHE_DIR": "/d/"},
            [],
            "/d/ccache.conf",
            "/d",
        ),
        ({SYSTEM_CONFIG: "cache_dir = /s"}, {}, [], "/s/ccache.conf", "/s"),
        ({SYSTEM_CONFIG: "cache_dir = /s"}, {"CCACHE_DIR": "/d"}, [], "/d/ccache.conf", "/d"),
        (
            {SYSTEM_CONFIG: "cache_dir = /s"},
            {"CCACHE_DIR": ""},
            [],
            USER_CONFIG,
            "/home/u/.cache/ccache",
        ),
        ({}, {"CCACHE_DIR": "/d"}, ["cache_dir=/o"], "/o/ccache.conf", "/o"),
        ({}, {"CCACHE_DIR": "rel"}, [], "rel/ccache.conf", "rel"),
        ({"/c.conf": "cache_dir = /c"}, {"CCACHE_CONFIGPATH": "/c.conf"}, [], "/c.conf", "/c"),
    ],
)
def test_where_the_cache_and_its_configuration_are(
    nodes: Nodes,
    environment: Mapping[str, str],
    overrides: list[str],
    config_path: str,
    cache_dir: str,
) -> None:
    found = load(nodes, environment, overrides)
    assert (found.config_path, found.cache_dir) == (config_path, cache_dir)


def test_relative_values_are_resolved_against_the_working_directory() -> None:
    found = load({f"{CWD}/rel/ccache.conf": "path = x"}, {"CCACHE_DIR": "rel"})
    assert (found.path, found.absolute(found.cache_dir)) == ("x", f"{CWD}/rel".encode())


@pytest.mark.parametrize(
    ("nodes", "environment", "temporary_dir"),
    [
        ({}, {}, "/home/u/.cache/ccache/tmp"),
        ({}, {"CCACHE_DIR": "/d"}, "/d/tmp"),
        ({}, {"CCACHE_TEMPDIR": "/t"}, "/t"),
        ({}, {"XDG_RUNTIME_DIR": "/run/u"}, "/home/u/.cache/ccache/tmp"),
        ({"/run/u": FakeDirectory()}, {"XDG_RUNTIME_DIR": "/run/u"}, "/run/u/ccache-tmp"),
        (
            {"/run/u": FakeDirectory(permissions=0o555)},
            {"XDG_RUNTIME_DIR": "/run/u"},
            "/home/u/.cache/ccache/tmp",
        ),
        (
            {"/run/u/ccache-tmp": FakeDirectory(permissions=0o555)},
            {"XDG_RUNTIME_DIR": "/run/u"},
            "/home/u/.cache/ccache/tmp",
        ),
        (
            {"/run/u/ccache-tmp": FakeFile()},
            {"XDG_RUNTIME_DIR": "/run/u"},
            "/home/u/.cache/ccache/tmp",
        ),
    ],
)
def test_where_temporary_files_go(
    nodes: Nodes, environment: Mapping[str, str], temporary_dir: str
) -> None:
    assert load(nodes, environment).temporary_dir == temporary_dir


# Home directory


def test_without_home_the_user_database_counts() -> None:
    found = config.load({}, b"/", files=FakeFiles({}), home="/home/db")
    assert found.cache_dir == "/home/db/.cache/ccache"


def test_without_any_home_there_is_no_configuration() -> None:
    with pytest.raises(Fatal, match="Could not determine home directory"):
        config.load({}, b"/", files=FakeFiles({}))


@pytest.mark.parametrize("home", ["", "relative"])
def test_a_home_that_is_not_absolute_is_no_ceiling(home: str) -> None:
    assert load({}, {"HOME": home}).ceiling_dirs == ()


# Command line


@pytest.mark.parametrize(
    ("word", "settings"),
    [
        ("a=b", [("a", "b")]),
        (" a = b ", [("a", "b")]),
        ("a=b=c", [("a", "b=c")]),
        ("a=", [("a", "")]),
        ("#a=b", []),
        ("=b", []),
    ],
)
def test_settings_of_the_command_line(word: str, settings: list[tuple[str, str]]) -> None:
    assert config.parse_overrides([word.encode()]) == settings


def test_unknown_settings_of_the_command_line_are_ignored() -> None:
    assert load({}, {}, ["future=1"]) == load()


def test_wrong_settings_of_the_command_line_are_named() -> None:
    message = 'when parsing command line config "stats": not a boolean value: "x"'
    assert error_of({}, {}, ["stats=x"]) == message


# Witnesses


@pytest.mark.parametrize(
    ("nodes", "environment"),
    [
        ({}, {}),
        ({PARENT: "stats = false", "/run/u": FakeDirectory()}, {"XDG_RUNTIME_DIR": "/run/u"}),
        ({"/home/u/.ccache": FakeDirectory(), f"{CWD}/.git": FakeFile()}, {}),
        ({}, {"CCACHE_CONFIGPATH": "own.conf"}),
        ({SYSTEM_CONFIG: "cache_dir = /s"}, {"CCACHE_CEILING_MARKERS": "a:b"}),
    ],
)
def test_every_path_that_was_asked_about_is_a_witness(
    nodes: Nodes, environment: Mapping[str, str]
) -> None:
    files = FakeFiles({CWD: FakeDirectory()} | dict(nodes))
    variables = {b"HOME": HOME.encode()} | {k.encode(): v.encode() for k, v in environment.items()}
    found = config.load(variables, CWD.encode(), files=files)
    assert set(found.consulted) == files.asked
    assert all(path.startswith("/") for path in found.consulted)


# Showing


def test_show_tells_no_secret() -> None:
    text = (
        "redis://me:geheim@h @token=geheim bearer-token=geheim|@layout=flat read-only x://geheim@"
    )
    loaded = load({USER_CONFIG: f"remote_storage = {text}"}, {})
    assert config.value_text(loaded, "remote_storage") == text
    (line,) = (x for x in config.show(loaded).splitlines() if "remote_storage" in x)
    assert "geheim" not in line
    assert "redis://********@h @token=******** bearer-token=********|@layout=flat read-only" in line


def test_the_configuration_is_shown_sorted_with_origins() -> None:
    lines = config.show(load({USER_CONFIG: "max_size = 10G"}, {"CCACHE_DEBUG": "1"})).splitlines()
    keys = [line.split(") ")[1].split(" =")[0] for line in lines]
    assert keys == sorted(config_table.BY_KEY)
    assert "(environment) debug = true" in lines
    assert f"({USER_CONFIG}) max_size = 10.0 GB" in lines
    assert "(default) umask = " in lines


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("max_size", "40.0 GiB"),
        ("umask", "002"),
        ("sloppiness", "locale, time_macros"),
        ("base_dir", "/a:/b"),
        ("secondary_storage", "file:/x"),
    ],
)
def test_single_values_are_shown(key: str, text: str) -> None:
    found = load(
        {},
        {
            "CCACHE_MAXSIZE": "40",
            "CCACHE_UMASK": "2",
            "CCACHE_SLOPPINESS": "time_macros,locale",
            "CCACHE_BASEDIR": "/a:/b",
            "CCACHE_REMOTE_STORAGE": "file:/x",
        },
    )
    assert config.value_text(found, key) == text


def test_a_key_that_does_not_exist_cannot_be_shown() -> None:
    with pytest.raises(ConfigError, match=r'^unknown configuration option "run_second_cpp"$'):
        config.value_text(Config(), "run_second_cpp")


# Setting


def test_a_value_is_set_where_it_stands() -> None:
    files = FakeFiles({"/c.conf": "# mine\nmax_size = 1G\n"})
    config.set_value("/c.conf", "max_size", "2G", files)
    assert files.nodes["/c.conf"] == FakeFile(b"# mine\nmax_size = 2G\n")


def test_a_file_is_made_with_the_umask_of_the_user() -> None:
    files = FakeFiles({})
    config.set_value("/d/c.conf", "stats", "false", files, umask=0o002)
    assert files.nodes["/d/c.conf"] == FakeFile(b"stats = false\n", permissions=0o664)


def test_a_value_is_written_unexpanded() -> None:
    files = FakeFiles({})
    config.set_value("/c.conf", "base_dir", "$ROOT", files, environment={b"ROOT": b"/r"})
    assert files.read("/c.conf") == b"base_dir = $ROOT\n"


def test_bytes_that_are_not_utf8_survive_in_the_file() -> None:
    files = FakeFiles({"/c.conf": FakeFile(b"path = \xff\n")})
    config.set_value("/c.conf", "stats", "true", files)
    assert files.read("/c.conf") == b"path = \xff\nstats = true\n"


@pytest.mark.parametrize(
    ("path", "key", "value", "message"),
    [
        ("/c.conf", "nope", "1", 'unknown configuration option "nope"'),
        ("/c.conf", "stats", "x", 'not a boolean value: "x"'),
        ("/c.conf", "path", "$NOPE", 'environment variable "NOPE" not set'),
        ("/c.conf", "path", "a\nb", 'value of "path" holds a line break'),
        ("/wrong.conf", "path", "a", "failed to read /wrong.conf: 1: missing equal sign"),
        ("/directory", "path", "a", "failed to write to /directory: Is a directory"),
    ],
)
def test_what_cannot_be_set(path: str, key: str, value: str, message: str) -> None:
    nodes: Nodes = {"/wrong.conf": "x", "/directory": FakeDirectory(), "/c.conf": "path = b"}
    files = FakeFiles(nodes)
    with pytest.raises(ConfigError) as error:
        config.set_value(path, key, value, files)
    assert str(error.value) == message
    assert files.nodes == FakeFiles(nodes).nodes
