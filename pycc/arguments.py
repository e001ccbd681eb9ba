"""Reading a compiler command line: what it asks for, or why it cannot be cached.

When a line has several faults, the one reported is the one that ccache reports, because its
counters are what users compare: first the number of input files, then output to standard output,
then the first unsupported option, then precompiled headers, the missing ``-c``, the language, and
the environment.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

from pycc import languages, sidefiles
from pycc.debuginfo import DebugOptions
from pycc.dependencies import DependencyOptions, UnsupportedError
from pycc.invocation import (
    Action,
    Debug,
    Family,
    IncludeFlags,
    Invocation,
    KeyArg,
    ParseSettings,
    PathArg,
    Uncacheable,
)
from pycc.options import Scope, words
from pycc.outcome import Outcome
from pycc.record import replace
from pycc.wordreader import Input, Reader, UncacheableError, unsupported

__all__ = ["Family", "Invocation", "ParseSettings", "Uncacheable", "parse", "reread", "rewrite"]

_UNSUPPORTED_ENVIRONMENT = (
    b"DEPENDENCIES_OUTPUT",
    b"SUNPRO_DEPENDENCIES",
    # clang: one edits the command line, the others write files on the side.
    b"CCC_OVERRIDE_OPTIONS",
    b"CC_PRINT_OPTIONS",
    b"CC_PRINT_HEADERS",
    b"CC_LOG_DIAGNOSTICS",
    b"CC_PRINT_PROC_STAT",
    b"CC_PRINT_INTERNAL_STAT",
    # gcc 15 sends its diagnostics there.
    b"EXPERIMENTAL_SARIF_SOCKET",
)


def parse(
    args: Sequence[bytes],
    *,
    family: Family,
    driver: bytes,
    settings: ParseSettings,
    cwd: bytes,
    environment: Mapping[bytes, bytes],
) -> Invocation | Uncacheable:
    """Read ``args``, a command line without the compiler and with its @files expanded.

    ``driver`` is the base name of the compiler (``g++`` reads ``.c`` as C++), ``cwd`` the absolute
    working directory as the compiler sees it. ccache's words on the line are obeyed and left out.
    """
    short = sum(map(len, args)) <= SHORT
    found = (_parse_once if short else _parse)(tuple(args), family, driver, settings, cwd)
    if isinstance(found, Invocation):
        for name in _UNSUPPORTED_ENVIRONMENT:
            if name in environment:
                return Uncacheable(Outcome.UNSUPPORTED_ENVIRONMENT_VARIABLE, name)
    return found


def _parse(
    args: tuple[bytes, ...], family: Family, driver: bytes, settings: ParseSettings, cwd: bytes
) -> Invocation | Uncacheable:
    debug, dependencies = DebugOptions(family), DependencyOptions(family)
    reader = Reader(family, driver, settings, cwd, list(args), debug, dependencies)
    for word in words(args, settings.ignore_options, gcc=family is Family.GCC):
        try:
            reader.take(word)
        except UncacheableError as stop:
            reader.error = reader.error or stop.answer
    try:
        return _finish(reader)
    except UncacheableError as stop:
        return stop.answer
    except UnsupportedError as error:
        return Uncacheable(Outcome.UNSUPPORTED_COMPILER_OPTION, error.detail)


# Who edits and compiles gives the same words each time: 0.25 ms of a miss.
_parse_once = lru_cache(maxsize=128)(_parse)
SHORT = 1 << 14  # bytes: 128 longer ones would be too much to keep


def reread(invocation: Invocation, family: Family) -> Invocation | Uncacheable:
    """The same command line by the rules of ``family``, when the first guess was wrong."""
    return _again(invocation, list(invocation.args), family)


def rewrite(invocation: Invocation, f: Callable[[bytes], bytes]) -> Invocation:
    """The same invocation with ``f`` applied to each path that is read (not to outputs).

    What would otherwise be derived from the source's name keeps the name it has.
    """
    args = list(invocation.args)
    for path in invocation.path_args:
        args[path.index] = args[path.index][: path.offset] + (f(path.path) or path.path)
    if args == list(invocation.args):
        return invocation
    again = _again(invocation, args, invocation.family)
    if isinstance(again, Uncacheable):
        return invocation
    return replace(
        again,
        output=invocation.output,
        outputs=invocation.outputs,
        dependencies=invocation.dependencies,
    )


def _again(invocation: Invocation, args: list[bytes], family: Family) -> Invocation | Uncacheable:
    for index in reversed(invocation.skipped):
        args.insert(index, b"--ccache-skip")
    return parse(
        args,
        family=family,
        driver=invocation.driver,
        settings=invocation.settings,
        cwd=invocation.cwd,
        environment={},
    )


def _finish(reader: Reader) -> Invocation:
    """What the words ask for together. Raises UncacheableError or Unsupported."""
    source, language = _choose_source(reader)
    if reader.output == b"-":
        raise UncacheableError(Outcome.OUTPUT_TO_STDOUT, b"-o -")
    if reader.error is not None:
        raise UncacheableError(reader.error.outcome, reader.error.detail)
    for other in reader.inputs:
        # It may be a file that an option unknown to us reads, so its name alone is no key.
        if other is not source and not languages.is_linker_input(other.name):
            raise UncacheableError(Outcome.MULTIPLE_SOURCE_FILES, other.name)
    uses_pch, candidates = _precompiled_headers(reader)
    header = language is not None and languages.is_header(language)
    generates = header or (reader.output is not None and _names_pch(reader.output))
    if generates and "pch_defines" not in reader.settings.sloppiness:
        raise UncacheableError(Outcome.COULD_NOT_USE_PRECOMPILED_HEADER, source.name)
    if not reader.actions and not generates:
        raise _link([source])
    known = languages.SUPPORTED | (
        {b"ir"} if any(file.role == b"thinlto-index" for file in reader.files) else set()
    )
    if language not in known or language is None:
        raise UncacheableError(Outcome.UNSUPPORTED_SOURCE_LANGUAGE, language or source.name)
    return _assemble(reader, source, language, uses_pch, candidates, header or generates)


def _link(inputs: Sequence[Input]) -> UncacheableError:
    test = b"conftest." in inputs[0].name.rpartition(b"/")[2]
    outcome = Outcome.AUTOCONF_TEST if test else Outcome.CALLED_FOR_LINK
    return UncacheableError(outcome, inputs[0].name)


def _choose_source(reader: Reader) -> tuple[Input, bytes | None]:
    """The input that is compiled, and its language where it has one."""
    if not reader.inputs:
        raise UncacheableError(Outcome.NO_INPUT_FILE, b"")
    if len(reader.inputs) > 1 and not reader.actions:
        raise _link(reader.inputs)
    if reader.standard_input:
        raise UncacheableError(Outcome.MULTIPLE_SOURCE_FILES, b"-")
    cxx = languages.is_cxx_driver(reader.driver)
    # g++ takes no C file for C++ behind an -x, "-x none" among them (gcc/cp/g++spec.cc).
    gcc = reader.family is not Family.CLANG
    found = [
        (
            one,
            one.explicit
            or languages.of_file(
                one.name, reader.family, cxx_driver=cxx and not (gcc and one.follows_x)
            ),
        )
        for one in reader.inputs
    ]
    if any(file.role == b"thinlto-index" for file in reader.files) and len(found) == 1:
        found = [(found[0][0], b"ir")]
    sources = [pair for pair in found if pair[1] is not None]
    if len(sources) > 1 or (not sources and len(found) > 1):
        raise UncacheableError(Outcome.MULTIPLE_SOURCE_FILES, found[1][0].name)
    chosen = sources[0] if sources else found[0]
    # The compiler warns of inputs that only a linker could use, and so names them.
    for one, _ in found:
        if one is not chosen[0]:
            reader.key.append(KeyArg((one.name,), Scope.BOTH))
    return chosen


def _precompiled_headers(reader: Reader) -> tuple[bool, tuple[bytes, ...]]:
    pch = (b"-include-pch", b"-include-pth")
    uses = b"-fpch-preprocess" in reader.flags or any(kind in pch for kind, _ in reader.forced)
    candidates = [
        name + suffix for name in reader.headers for suffix in (b".gch", b".pch", b".pth")
    ]
    if uses and "time_macros" not in reader.settings.sloppiness:
        raise UncacheableError(Outcome.COULD_NOT_USE_PRECOMPILED_HEADER, b"time_macros")
    return uses, tuple(candidates)


def _assemble(
    reader: Reader,
    source: Input,
    language: bytes,
    uses_pch: bool,
    candidates: tuple[bytes, ...],
    generates_pch: bool,
) -> Invocation:
    action = _choose_action(reader, language)
    names = sidefiles.Names(
        family=reader.family,
        action=action,
        language=language,
        source=source.name,
        given=reader.output,
        dumpdir=reader.names.get(b"-dumpdir"),
        dumpbase=reader.names.get(b"-dumpbase"),
        dumpbase_ext=reader.names.get(b"-dumpbase-ext"),
        object_option=b"-c" in reader.actions,
        # What is in assembly is assembled all the same.
        bitcode=b"-emit-llvm" in reader.flags
        and reader.family is not Family.GCC
        and not language.startswith(b"assembler"),
    )
    dependencies = reader.dependencies.resolve(names, compile_given=bool(reader.actions))
    for words_left_out in _words_that_still_speak(reader, action, dependencies is None):
        reader.key.append(KeyArg(words_left_out, Scope.BOTH))
    rest = reader.dependencies.rest()
    if rest:
        passed = tuple(word for one in rest for word in (b"-Xpreprocessor", one))
        reader.key.append(KeyArg(passed, Scope.BOTH))
        reader.cpp += passed
    profile = reader.profile.profile()
    requests = sidefiles.Requests(
        coverage=reader.profile.notes,
        stack_usage=b"-fstack-usage" in reader.flags,
        callgraph=not reader.flags.isdisjoint((b"-fcallgraph-info", b"-fcallgraph-info=")),
        split_dwarf=reader.debug.split,
        ipa_clones=b"-fdump-ipa-clones" in reader.flags,
        profile_directory=bool(profile.directory),
        lto=reader.lto,
        debug=reader.debug.level > 0,
        debug_implied=reader.debug.implied,
        listing=reader.listing,
        diagnostics=reader.diagnostics,
        dependency=None if dependencies is None else dependencies.path,
    )
    _check_derived_names(reader, names, requests)
    records = not reader.flags.isdisjoint((b"-frecord-gcc-switches", b"-frecord-command-line"))
    if records or b"-fverbose-asm" in reader.flags:
        # gcc before 11 lists the preprocessor's options in a verbose assembler file, too.
        reader.key.append(KeyArg(tuple(reader.given), Scope.BOTH))
    files = (*reader.files, *reader.profile.data_files(reader.family, names.auxiliary, reader.cwd))
    instrumented = reader.profile.notes or profile.arcs or profile.generate
    debug = reader.debug.debug
    reader.paths.append(PathArg(b"", source.index, 0, source.name))
    return Invocation(
        family=reader.family,
        driver=reader.driver,
        settings=reader.settings,
        cwd=reader.cwd,
        args=tuple(reader.args),
        skipped=tuple(reader.skipped),
        source=source.name,
        source_index=source.index,
        language=language,
        action=action,
        output=names.output,
        output_given=reader.output is not None,
        key_args=tuple(reader.key),
        path_args=tuple(reader.paths),
        cpp_args=tuple(reader.cpp),
        input_files=files,
        include=IncludeFlags(
            **{name: tuple(paths) for name, paths in reader.includes.items()},
            forced=tuple(reader.forced),
            special=tuple(reader.special),
        ),
        dependencies=dependencies,
        outputs=sidefiles.outputs(names, requests, reader.cwd),
        direct=reader.direct and reader.dependencies.direct,
        debug=debug,
        debug_level3=reader.debug.level == 3,
        split_dwarf=reader.debug.split,
        column_info=reader.debug.column_info,
        coverage=reader.profile.notes,
        profile=profile,
        sanitize=bool(reader.sanitizers),
        lto=reader.lto,
        records_command_line=records,
        uses_pch=uses_pch,
        generates_pch=generates_pch,
        pch_candidates=candidates,
        warnings=reader.warnings,
        native=tuple(reader.native),
        color=reader.color,
        structured_diagnostics=reader.structured,
        cwd_sensitive=(
            debug is not Debug.NONE
            or instrumented
            or not reader.flags.isdisjoint((b"-fcoverage-mapping", b"-fmodules"))
            or language.startswith(b"assembler")
        ),
        # Tried with gcc 12 and clang 14: .su, .ci and dumps do not hold the name.
        object_name_sensitive=instrumented or records or reader.debug.split,
        assembler_listing=reader.listing,
        prefix_maps=tuple(reader.maps),
        debug_compilation_dir=reader.debug_dir,
        coverage_compilation_dir=reader.coverage_dir,
        debug_implied=reader.debug.implied,
    )


def _choose_action(reader: Reader, language: bytes) -> Action:
    assembler = language.startswith(b"assembler")
    for name, action in (
        (b"-fsyntax-only", Action.SYNTAX),
        (b"-S", Action.ASSEMBLE),
    ):
        if name in reader.actions:
            if assembler:
                # Nothing is assembled, or the preprocessed text goes to standard output.
                raise unsupported(name)
            return action
    return Action.COMPILE


def _words_that_still_speak(
    reader: Reader, action: Action, no_dependencies: bool
) -> Iterator[tuple[bytes, ...]]:
    """Words that are described in other fields, but here also make errors or warnings."""
    if no_dependencies and reader.dependency_words:
        # -MF without -MD is an error in gcc, -MD for a preprocessed file a warning in clang.
        yield tuple(reader.dependency_words)
    elif reader.dependencies.system and reader.dependencies.user:
        yield (b"-MD", b"-MMD")
    if len(reader.actions) > 1:
        yield tuple(sorted(reader.actions))
    if action is Action.SYNTAX and reader.output is not None:
        yield (b"-o",)


def _check_derived_names(
    reader: Reader, names: sidefiles.Names, requests: sidefiles.Requests
) -> None:
    """Refuse side files whose names differ from one release to the next."""
    if b"-dumpbase-ext" in reader.names and b"-dumpbase" not in reader.names:
        raise unsupported(b"-dumpbase-ext")
    if not requests.derived:
        return
    if names.given == b"/dev/null":
        raise unsupported(b"-o /dev/null")
    if languages.is_header(names.language):
        raise unsupported(names.language)
    if names.action is Action.SYNTAX and reader.family is not Family.CLANG:
        raise unsupported(b"-fsyntax-only")


def _names_pch(output: bytes) -> bool:
    directory, _, base = output.rpartition(b"/")
    return base.endswith((b".gch", b".pch", b".pth")) or directory.endswith(b".gch")
