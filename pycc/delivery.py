"""From a stored result to the operations that put its outputs where this call wants them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from .basedir import absolute_diagnostics
from .cache.result import Entry, Kind, ResultError, Room, unpack
from .depfile import DepfileError, Style, parse, render
from .frame import REPLACE, REPLACE_ALWAYS, Exit, Op, Out, Shared, Write
from .invocation import Action, DependencyRequest, Family, Invocation
from .invocation import Kind as OutputKind
from .pattern import pattern
from .record import record

KINDS: dict[OutputKind, Kind] = {
    OutputKind.OBJECT: Kind.OBJECT,
    OutputKind.DEPENDENCY: Kind.DEPENDENCY,
    OutputKind.COVERAGE_NOTES: Kind.COVERAGE,
    OutputKind.COVERAGE_NOTES_MANGLED: Kind.COVERAGE,
    OutputKind.STACK_USAGE: Kind.STACK_USAGE,
    OutputKind.CALLGRAPH: Kind.CALLGRAPH,
    OutputKind.SPLIT_DWARF: Kind.DWO,
    OutputKind.DIAGNOSTICS: Kind.DIAGNOSTICS,
    OutputKind.LISTING: Kind.LISTING,
    OutputKind.IPA_CLONES: Kind.IPA_CLONES,
}
"""How each file that a command line names is kept in a result."""

NULL = b"/dev/null"

_ANSI = pattern(rb"\x1b\[[0-9;]*[mK]")


def without_colour(text: bytes) -> bytes:
    """What the compiler would have printed without colours (SGR and EL sequences only)."""
    return _ANSI.sub(b"", text) if b"\x1b" in text else text


def target_name(dependencies: DependencyRequest) -> bytes:
    """The targets of a dependency file as one name, to tell equal requests."""
    targets = dependencies.targets or ((dependencies.default_target, True),)
    return b"\0".join(b"%d%s" % (quoted, text) for text, quoted in targets)


_SIDE_FLAGS = {
    # objcopy makes a new file, where clang itself writes into the one that is there.
    (Kind.DWO, Style.GCC): REPLACE,
    (Kind.DIAGNOSTICS, Style.CLANG): REPLACE_ALWAYS,
}


@record
class Delivery:
    """Where the outputs of one call go; small, because hot calls keep theirs."""

    output: bytes | None
    output_flags: int
    files: tuple[tuple[Kind, bytes], ...]
    dependencies: DependencyRequest | None
    style: Style
    colour: bool
    base: bytes
    """With absolute_paths_in_stderr the working directory, else nothing."""
    linked: Callable[[Entry, bytes, int], Op | None] | None = None
    """Makes the output (path, flags) of an object that the store has as a file (hardlinks.py)."""

    def __call__(self, value: bytes, room: Room | None = None) -> Sequence[Op] | None:
        """The operations for a result's value; None when it cannot serve this call."""
        try:
            entries = unpack(value, room)
        except ResultError:
            return None
        return self.operations(entries)

    def operations(self, entries: Sequence[Entry]) -> Sequence[Op] | None:
        """Files first, then what the compiler said, then its status."""
        ops: list[Op] = []
        said: list[Op] = []
        paths: dict[Kind, list[bytes]] = {}
        for kind, path in self.files:
            paths.setdefault(kind, []).append(path)
        for entry in entries:
            match entry.kind:
                case Kind.OBJECT:
                    if self.output is None:
                        return None
                    if self.output == NULL:
                        continue
                    flags, at = self.output_flags, entry.at
                    if at >= 0:
                        ops.append(Shared(self.output, at, len(entry.data), flags))
                    else:
                        ops.append(Write(self.output, entry.data, flags))
                case Kind.LINKED:
                    made = self._linked(entry)
                    if made is None:
                        return None
                    ops += made
                case Kind.STDERR:
                    said.append(Out(2, self.diagnostics(entry.data, coloured=False)))
                case Kind.STDERR_COLOUR:
                    said.append(Out(2, self.diagnostics(entry.data, coloured=True)))
                case Kind.STDOUT:
                    said.append(Out(1, entry.data))
                case Kind.DEPENDENCY:
                    text_or_none = self._dependency_text(entry)
                    if self.dependencies is None or text_or_none is None:
                        return None
                    ops.append(Write(self.dependencies.path, text_or_none))
                case _:
                    waiting = paths.get(entry.kind)
                    if not waiting:
                        return None
                    flags = _SIDE_FLAGS.get((entry.kind, self.style), 0)
                    ops.append(Write(waiting.pop(0), entry.data, flags))
        return [*ops, *said, Exit(0)]

    def _linked(self, entry: Entry) -> Sequence[Op] | None:
        if self.output is None or self.linked is None:
            return None
        if self.output == NULL:
            return ()
        made = self.linked(entry, self.output, self.output_flags)
        return None if made is None else (made,)

    def diagnostics(self, text: bytes, *, coloured: bool) -> bytes:
        """The compiler's messages as this call shows them; ``coloured``: by our wish."""
        if coloured and not self.colour:
            text = without_colour(text)
        return absolute_diagnostics(text, self._real) if self.base else text

    def _real(self, path: bytes) -> bytes:
        try:
            return os.path.realpath(os.path.join(self.base, path), strict=True)
        except (OSError, ValueError):
            return path

    def _dependency_text(self, entry: Entry) -> bytes | None:
        wanted = self.dependencies
        if wanted is None:
            return None
        if entry.name.removeprefix(b"=") == target_name(wanted):
            return entry.data
        if entry.name[:1] == b"=":  # collect.py: not understood, so for nobody else
            return None
        targets = wanted.targets or ((wanted.default_target, True),)
        try:
            return render(parse(entry.data), targets, self.style)
        except DepfileError:
            return None


def delivery_for(
    invocation: Invocation,
    colour: bool,
    base: bytes = b"",
    linked: Callable[[Entry, bytes, int], Op | None] | None = None,
) -> Delivery:
    """How the outputs of this invocation are delivered; the fields say what the rest is."""
    clang = invocation.family is Family.CLANG
    if clang:
        flags = REPLACE_ALWAYS
    elif invocation.action is Action.COMPILE and not invocation.generates_pch:
        flags = REPLACE
    else:
        flags = 0
    files = tuple(
        (KINDS[output.kind], output.path)
        for output in invocation.outputs
        if output.kind not in (OutputKind.DEPENDENCY, OutputKind.OBJECT)
    )
    return Delivery(
        invocation.output,
        flags,
        files,
        invocation.dependencies,
        Style.CLANG if clang else Style.GCC,
        colour,
        base,
        linked,
    )
