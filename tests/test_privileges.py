"""Who the daemon becomes, and what it can no longer do then."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable

import pytest

from pycc.errors import Fatal
from pycc.remote.privileges import (
    User,
    become,
    current_user,
    group_name,
    user_name,
    wanted_user,
)

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root becomes somebody else")


def in_a_child(do: Callable[[], str]) -> str:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, do().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


@needs_root
@pytest.mark.parametrize("name", ["root", "0", "nobody-of-this-name", "4294967294"])
def test_whom_it_will_not_be(name: str) -> None:
    with pytest.raises(Fatal, match="--user") as caught:
        wanted_user(name)
    assert caught.value.status == 112


@needs_root
def test_the_user_is_found_by_name_and_by_number() -> None:
    nobody = pwd.getpwnam("nobody")
    found = wanted_user("nobody")
    assert found == wanted_user(str(nobody.pw_uid))
    assert found is not None
    assert (found.uid, found.gid) == (nobody.pw_uid, nobody.pw_gid)
    assert nobody.pw_gid in found.groups


@needs_root
def test_there_is_no_way_back() -> None:
    user = User("x", 12345, 12345, (12345, 12346))

    def after() -> str:
        become(user)
        try:
            os.setresuid(0, 0, 0)
        except PermissionError:
            return f"{os.getresuid()} {os.getresgid()} {sorted(os.getgroups())}"
        return "root again"

    assert in_a_child(after) == "(12345, 12345, 12345) (12345, 12345, 12345) [12345, 12346]"


@needs_root
def test_who_is_not_root_stays_who_it_is() -> None:
    def after() -> str:
        become(User("x", 12345, 12345, (12345,)))
        return f"{wanted_user('nobody')} {current_user()}"

    expected = User("12345", 12345, 12345, (12345,))
    assert in_a_child(after) == f"None {expected}"


def test_names_for_people() -> None:
    assert (user_name(0), group_name(0)) == ("root", "root")
    assert (user_name(1234567), group_name(1234567)) == ("1234567", "1234567")
