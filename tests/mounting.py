"""Mounts that only one test sees."""

from __future__ import annotations

import shutil
import subprocess

import pytest

UNSHARE = ("unshare", "--mount")


def need_private_mounts() -> None:
    """Skip where mounts would be everybody's: not root, or a chroot that is no mount point."""
    if (
        shutil.which("unshare") is None
        or subprocess.run([*UNSHARE, "true"], check=False).returncode
    ):
        pytest.skip("cannot make mount namespaces")
