"""Command lines written as in a shell, read without a compiler."""

import shlex

from pycc.arguments import Family, Invocation, ParseSettings, Uncacheable, parse
from pycc.options import Scope

GCC, CLANG, OTHER = Family.GCC, Family.CLANG, Family.OTHER
ALL_SLOPPY = frozenset({"pch_defines", "time_macros"})


def read(
    line: str | list[bytes],
    family: Family = GCC,
    driver: bytes = b"gcc",
    sloppiness: frozenset[str] = ALL_SLOPPY,
    environment: dict[bytes, bytes] | None = None,
    depend_mode: bool = False,
    ignore_options: tuple[bytes, ...] = (),
) -> Invocation | Uncacheable:
    return parse(
        [w.encode() for w in shlex.split(line)] if isinstance(line, str) else line,
        family=family,
        driver=driver,
        settings=ParseSettings(sloppiness, True, depend_mode, ignore_options),
        cwd=b"/w",
        environment=environment or {},
    )


def understood(line: str | list[bytes], family: Family = GCC, **more: object) -> Invocation:
    result = read(line, family, **more)  # type: ignore[arg-type]
    assert isinstance(result, Invocation), result
    return result


def refused(line: str | list[bytes], family: Family = GCC, **more: object) -> str:
    result = read(line, family, **more)  # type: ignore[arg-type]
    assert isinstance(result, Uncacheable), result
    return result.outcome.value


def key(invocation: Invocation) -> list[str]:
    """The key's words; those of the preprocessor only in parentheses."""
    return [
        f"({text})" if arg.scope is Scope.CPP else text
        for arg in invocation.key_args
        for text in [b" ".join(arg.words).decode()]
    ]
