"""The compiler as our own child: signals that come before it is known."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable

import pytest

from pycc.execute import Executor
from pycc.frame import Run


def signalled(popen: Callable[..., object]) -> Callable[..., object]:
    """Like ``popen``, but the user's Ctrl-C comes as soon as the child runs."""

    def start(*args: object, **how: object) -> object:
        child = popen(*args, **how)
        os.kill(os.getpid(), signal.SIGINT)
        return child

    return start


def test_a_signal_that_comes_with_the_compiler_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", signalled(subprocess.Popen))
    report = Executor().run(Run((b"sleep", b"60"), 0))
    assert report.status == signal.SIGINT


def test_a_signal_is_ours_where_no_compiler_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object, **__: object) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        raise FileNotFoundError(2, "no such compiler")

    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(KeyboardInterrupt):
        Executor().run(Run((b"nowhere",), 0))
