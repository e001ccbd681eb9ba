"""Directory-specific files: where the search for one ends, and what it may say."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pycc import config
from tests.config_request import CWD, HERE, PARENT, SYSTEM_CONFIG, Nodes, error_of, load
from tests.fake_files import FakeDirectory, FakeFile, FakeFiles


@pytest.mark.parametrize(
    ("nodes", "environment", "found"),
    [
        ({HERE: "stats = false"}, {}, HERE),
        ({PARENT: "stats = false"}, {}, PARENT),
        ({HERE: "stats = false", PARENT: "debug = true"}, {}, HERE),
        ({"/home/u/ccache.conf": "stats = false"}, {}, ""),
        ({"/home/u/ccache.conf": ""}, {"CCACHE_CEILING_DIRS": "/"}, "/home/u/ccache.conf"),
        ({"/ccache.conf": ""}, {"CCACHE_CEILING_DIRS": ""}, "/ccache.conf"),
        ({HERE: ""}, {"CCACHE_CEILING_DIRS": "$HOME/project/src/."}, ""),
        ({PARENT: "", f"{CWD}/.git": FakeDirectory()}, {}, ""),
        ({PARENT: "", f"{CWD}/.git": FakeFile()}, {}, ""),
        ({HERE: "", f"{CWD}/.git": FakeDirectory()}, {}, HERE),
        ({PARENT: "", f"{CWD}/.hg": FakeDirectory()}, {}, PARENT),
        ({PARENT: "", f"{CWD}/.hg": FakeDirectory()}, {"CCACHE_CEILING_MARKERS": ".hg"}, ""),
        ({PARENT: "", f"{CWD}/.git": FakeDirectory()}, {"CCACHE_CEILING_MARKERS": ""}, PARENT),
        ({PARENT: "", f"{CWD}/a/b": ""}, {"CCACHE_CEILING_MARKERS": "x:a/b"}, ""),
        ({PARENT: "", "/mark": ""}, {"CCACHE_CEILING_MARKERS": "/mark"}, ""),
        ({HERE: "", CWD: FakeDirectory(owner=0)}, {}, ""),
        ({PARENT: "", "/home/u/project": FakeDirectory(owner=0)}, {}, ""),
        ({PARENT: "", "/home/u/project": FakeDirectory(device=2)}, {}, ""),
        ({HERE: FakeDirectory(), PARENT: ""}, {}, PARENT),
        ({HERE: "", CWD: FakeFile()}, {}, ""),
    ],
)
def test_where_the_search_for_a_directory_file_ends(
    nodes: Nodes, environment: Mapping[str, str], found: str
) -> None:
    assert load(nodes, environment).dir_config_path == found


def test_ceilings_of_the_command_line_hold_for_the_search() -> None:
    assert (
        load({HERE: ""}, {"CCACHE_CEILING_DIRS": ""}, [f"ceiling_dirs={CWD}"]).dir_config_path == ""
    )


def test_markers_of_the_system_wide_file_hold_for_the_search() -> None:
    system = {SYSTEM_CONFIG: "ceiling_markers = .hg"}
    assert load({**system, f"{CWD}/.hg": FakeDirectory(), PARENT: ""}).dir_config_path == ""


def test_a_working_directory_that_is_gone_has_no_directory_file() -> None:
    found = config.load(
        {b"HOME": b"/h"}, b"(unreachable)/x", files=FakeFiles({"(unreachable)/x/ccache.conf": ""})
    )
    assert found.dir_config_path == ""


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (FakeFile(permissions=0o646), "is world-writable"),
        (FakeFile(owner=0), "owned by another user (owner 0 != uid 1000)"),
    ],
)
def test_a_directory_file_of_others_is_an_error(node: FakeFile, message: str) -> None:
    assert error_of({HERE: node}) == f"directory-specific configuration file {HERE} {message}"


UNSAFE = "is considered unsafe and is only allowed in directory configuration files located"
UNSAFE_COMMAND = (
    'configuration option "compiler_check" is considered unsafe when it invokes a command and is'
    " only allowed in directory configuration files located under safe_dirs"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("umask = 077", f'configuration option "umask" {UNSAFE} under safe_dirs'),
        (
            "secondary_storage = x",
            f'configuration option "secondary_storage" {UNSAFE} under safe_dirs',
        ),
        ("compiler_check = %compiler% -v", UNSAFE_COMMAND),
        (
            "safe_dirs = *",
            'configuration option "safe_dirs" is not allowed in directory configuration files',
        ),
        ("run_second_cpp = true", 'unknown configuration option "run_second_cpp"'),
        ("stats = x", 'not a boolean value: "x"'),
        ("compiler_check = $NOPE", 'environment variable "NOPE" not set'),
    ],
)
def test_what_a_directory_file_may_not_say(text: str, message: str) -> None:
    assert error_of({HERE: f"debug = true\n{text}"}) == f"{HERE}:2: {message}"


@pytest.mark.parametrize("value", ["none", "mtime", "content", "string:x", "$CHECK"])
def test_a_compiler_check_without_a_command_is_allowed(value: str) -> None:
    found = load({HERE: f"compiler_check = {value}"}, {"CHECK": "none"})
    assert found.origin("compiler_check") == HERE


@pytest.mark.parametrize(
    ("safe_dirs", "allowed"),
    [
        ("*", True),
        (CWD, True),
        (f"{CWD}/", True),
        ("/home/u/project/*", True),
        ("/x:/*", True),
        ("/home/u/project", False),
        (f"{CWD}/*", False),
        ("/home/u/pro/*", False),
        ("", False),
    ],
)
def test_safe_dirs_allow_unsafe_options(safe_dirs: str, allowed: bool) -> None:
    nodes, environment = {HERE: "umask = 077"}, {"CCACHE_SAFE_DIRS": safe_dirs}
    if allowed:
        assert load(nodes, environment).umask == 0o77
    else:
        assert "unsafe" in error_of(nodes, environment)
