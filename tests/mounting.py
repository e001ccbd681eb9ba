"""Mounts that only one test sees."""

from __future__ import annotations

import shutil
import subprocess

import pytest

UNSHARE = ("unshare", "--mount")

NO_ROOTS = "no user namespaces: the kernel forbids them, in a chroot always"


def has_user_namespaces() -> bool:
    """Whether anybody may make one; a daemon makes the roots of its exact jobs so."""
    command = ["unshare", "--user", "true"]
    return (
        shutil.which("unshare") is not None
        and not subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode
    )


def need_private_mounts() -> None:
    """Skip where mounts would be everybody's: not root, or a chroot that is no mount point."""
    if (
        shutil.which("unshare") is None
        or subprocess.run([*UNSHARE, "true"], check=False).returncode
    ):
        pytest.skip("cannot make mount namespaces")
