"""Which file on PATH is the real compiler: the first one that is no compiler wrapper.

Wrappers are our own launcher (any copy of it: its ELF header carries a mark) and links that end
at a program called pycc…, ccache… or distcc…. Everything that was looked at becomes a witness, so
that a compiler installed in front of the found one, or a link that changes, is seen at the next
call.
"""

from __future__ import annotations

import os
import time

from .native import ABSENT, SAME, SAME_LINK, absence, pack, signature
from .record import record

WRAPPERS = (b"pycc", b"ccache", b"distcc")
DEFAULT_PATH = b"/usr/local/bin:/usr/bin:/bin"
_MARK = b"pycc"
_MOST_LINKS = 40  # as the kernel follows


@record
class Located:
    """``path`` is absolute, ``physical`` the same behind all links (…/gcc-12 for gcc);
    ``witnesses`` are packed records (native.pack)."""

    path: bytes
    physical: bytes
    witnesses: bytes
    skipped: tuple[bytes, ...] = ()
    """The wrappers that stood in front: what each leads to (`_wrapped_by`)."""

    @property
    def real_name(self) -> bytes:
        """What the file itself is called."""
        return os.path.basename(self.physical)


def is_launcher(path: bytes) -> bool:
    """Whether the file is a copy of our launcher, of whatever build."""
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(16)
    except OSError:
        return False
    return head[:4] == b"\x7fELF" and head[9:13] == _MARK


def is_wrapper(path: bytes) -> bool:
    """Whether running ``path`` would only lead to another compiler on PATH."""
    return os.path.basename(os.path.realpath(path)).startswith(WRAPPERS) or is_launcher(path)


def locate(name: bytes, search_path: bytes, cwd: bytes) -> Located | None:
    """The first executable ``name`` on ``search_path`` that is no wrapper; None if there is none.

    A name with a slash is itself, unless it is a wrapper: then its basename is looked up.
    """
    witnesses: list[bytes] = []
    skipped: list[bytes] = []
    if b"/" in name:
        path = os.path.join(cwd, name)
        if not name.startswith(b"/") and b".." not in name.split(b"/"):
            path = os.path.normpath(path)  # ".." behind a link leads elsewhere than it reads
        witnesses.append(_witness(path))
        if os.access(path, os.X_OK) and os.path.isfile(path) and not is_wrapper(path):
            return Located(path, os.path.realpath(path), b"".join(witnesses))
        name = os.path.basename(name)
    for directory in search_path.split(b":"):
        path = os.path.join(cwd, directory or b".", name)
        found = signature(path)
        witnesses.append(_witness(path))
        if not found.is_regular or not os.access(path, os.X_OK):
            continue
        if is_wrapper(path):
            skipped.append(_wrapped_by(path))
            continue
        return Located(path, os.path.realpath(path), b"".join(witnesses), tuple(skipped))
    return None


def _wrapped_by(path: bytes) -> bytes:
    """The file that a wrapper is, by all links; for our own launcher under distcc's name the link
    of that name, because who set it up wants distcc."""
    end = os.path.realpath(path)
    if not is_launcher(end):
        return end
    for _ in range(_MOST_LINKS):
        try:
            path = os.path.join(os.path.dirname(path), os.readlink(path))
        except OSError:
            break
        if os.path.basename(path).startswith(b"distcc"):
            return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    return end


def _witness(path: bytes) -> bytes:
    target = signature(path)
    link = signature(path, follow=False)
    if not target.exists:
        if link.exists:  # a link to nothing: its target may appear elsewhere
            return pack(ABSENT, path)
        return absence(path, time.time_ns())
    if link != target:
        return pack(SAME_LINK, path, link) + pack(SAME, path, target)
    return pack(SAME, path, target)
