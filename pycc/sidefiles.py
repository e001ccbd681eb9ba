"""Names of the files that a compile makes: the default output, and everything beside it.

gcc (11 and later, ``process_command`` in gcc/gcc.cc) derives all side files from one auxiliary
name: ``-o`` without its suffix, or the source's base name in the working directory without one;
``-dumpdir`` replaces the directory part and ``-dumpbase`` the rest. Earlier releases agree with it
when neither is given. clang replaces the suffix of ``-o``, or uses the source's stem in the working
directory. The two differ in what counts as a suffix: ``.o`` alone has one only for clang.
"""

from pycc.invocation import Action, Family, Kind, Output
from pycc.languages import is_header
from pycc.record import record


@record
class Names:
    """What file names are derived from; None: the option was not given."""

    family: Family
    action: Action
    language: bytes
    source: bytes
    given: bytes | None  # -o
    dumpdir: bytes | None = None
    dumpbase: bytes | None = None
    dumpbase_ext: bytes | None = None
    object_option: bool = True  # -c was given
    bitcode: bool = False  # clang -emit-llvm

    @property
    def output(self) -> bytes | None:
        """The primary output."""
        if self.action is Action.SYNTAX or self.given is not None:
            return None if self.action is Action.SYNTAX else self.given
        if is_header(self.language):
            return self.source + b".gch"
        return _stem(_base(self.source)) + self._suffix()

    def _suffix(self) -> bytes:
        if self.action is Action.ASSEMBLE:
            return b".ll" if self.bitcode else b".s"
        return b".bc" if self.bitcode else b".o"

    @property
    def auxiliary(self) -> bytes:
        """The name that side files other than the dependency file add their suffix to."""
        if self.family is Family.CLANG:
            return _stem(_base(self.source)) if self.given is None else _llvm_stem(self.given)
        if self.dumpbase is not None:
            base = self.dumpbase
            if self.dumpbase_ext and base.endswith(self.dumpbase_ext):
                base = base[: -len(self.dumpbase_ext)]
        else:
            base = _stem(_base(self.source if self.given is None else self.given))
        return self._in_dump_directory(base)

    @property
    def dump(self) -> bytes:
        """The name that gcc's dumps add their number and suffix to."""
        if self.dumpbase is not None:
            return self._in_dump_directory(self.dumpbase)
        base = _base(self.source)
        return self.auxiliary + base[len(_stem(base)) :]

    def _in_dump_directory(self, base: bytes) -> bytes:
        if b"/" in base:
            return base
        if self.dumpdir is not None:
            return self.dumpdir + base
        return _directory(self.given or b"") + base

    @property
    def split_dwarf(self) -> bytes:
        """The .dwo file. clang follows ``-o`` only where ``-c`` was given too."""
        if self.family is Family.CLANG and not self.object_option:
            return _stem(_base(self.source)) + b".dwo"
        return self.auxiliary + b".dwo"

    @property
    def dependency_file(self) -> bytes:
        """Where ``-MD`` writes without ``-MF``."""
        if self.given is not None:
            return beside(self.given, b".d")
        return self.auxiliary + b".d"

    @property
    def default_target(self) -> bytes:
        """The make target when no ``-o`` reaches the dependency writer."""
        return _stem(_base(self.source)) + b".o"


@record
class Requests:
    """Which side files the options ask for."""

    coverage: bool = False
    stack_usage: bool = False
    callgraph: bool = False
    split_dwarf: bool = False
    ipa_clones: bool = False
    profile_directory: bool = False
    lto: bool = False
    debug: bool = False
    debug_implied: bool = False  # by -gsplit-dwarf alone
    listing: bytes | None = None  # b"" goes to standard output
    diagnostics: bytes | None = None
    dependency: bytes | None = None

    @property
    def derived(self) -> bool:
        """Whether any is asked for whose name is derived."""
        return (
            self.coverage
            or self.stack_usage
            or self.callgraph
            or self.split_dwarf
            or self.ipa_clones
        )


def outputs(names: Names, requests: Requests, cwd: bytes) -> tuple[Output, ...]:
    """Every file made besides the primary one. ``cwd`` is the absolute working directory."""
    found: list[Output] = []

    def add(kind: Kind, path: bytes, *, optional: bool = False) -> None:
        if path != b"/dev/null":
            found.append(Output(kind, path, optional))

    if requests.dependency is not None:
        add(Kind.DEPENDENCY, requests.dependency)
    if requests.diagnostics is not None:
        add(Kind.DIAGNOSTICS, requests.diagnostics)
    if names.action is Action.SYNTAX:
        return tuple(found)
    clang = names.family is Family.CLANG
    compiles = not names.language.startswith(b"assembler") and names.language != b"ir"
    aux = names.auxiliary
    if requests.coverage and compiles:
        # gcc 9 and 10 mangle the whole path into a name in the working directory when there is a
        # profile directory; of the two forms one appears.
        mangled = requests.profile_directory and not clang
        add(Kind.COVERAGE_NOTES, aux + b".gcno", optional=mangled)
        if mangled:
            add(Kind.COVERAGE_NOTES_MANGLED, mangle(aux, cwd) + b".gcno", optional=True)
    if requests.stack_usage and compiles and not requests.lto:
        add(Kind.STACK_USAGE, aux + b".su")
    if requests.callgraph and compiles and not requests.lto and not clang:
        add(Kind.CALLGRAPH, aux + b".ci")
    if requests.split_dwarf and (
        (requests.debug and not requests.lto) if clang else names.action is Action.COMPILE
    ):
        add(Kind.SPLIT_DWARF, names.split_dwarf, optional=clang and requests.debug_implied)
    if requests.listing and names.action is Action.COMPILE:
        add(Kind.LISTING, requests.listing)
    if requests.ipa_clones and compiles and not clang:
        add(Kind.IPA_CLONES, names.dump + b".000i.ipa-clones")
    return tuple(found)


def absolute(path: bytes, cwd: bytes) -> bytes:
    """``path`` as seen from the root; no dots are resolved, because gcc resolves none."""
    return path if path.startswith(b"/") else cwd.rstrip(b"/") + b"/" + path


def mangle(path: bytes, cwd: bytes) -> bytes:
    """The absolute form of ``path`` as one file name (gcc/coverage.cc, ``mangle_path``)."""
    return absolute(path, cwd).replace(b"/", b"#")


def profile_data(aux: bytes, directory: bytes, prefix: bytes, cwd: bytes) -> tuple[bytes, ...]:
    """Where ``-fprofile-use`` looks, by release of gcc; ``directory`` is b"" when none was given.

    Of ``prefix`` (``-fprofile-prefix-path``) the mangled name is relieved.
    """
    if not directory:
        return (aux + b".gcda",)
    full = absolute(aux, cwd)
    if prefix and full.startswith(prefix.rstrip(b"/") + b"/"):
        full = full[len(prefix.rstrip(b"/")) + 1 :]
    return (
        directory + b"/" + full.replace(b"/", b"#") + b".gcda",
        directory + b"/" + aux + b".gcda",
        directory,
    )


def beside(path: bytes, suffix: bytes) -> bytes:
    """``path`` with another suffix, as both drivers name files after an output."""
    return _llvm_stem(path) + suffix


def _base(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def _directory(path: bytes) -> bytes:
    return path[: path.rfind(b"/") + 1]


def _stem(name: bytes) -> bytes:
    stem, dot, _ = name.rpartition(b".")
    return stem if dot and stem else name


def _llvm_stem(path: bytes) -> bytes:
    base = _base(path)
    stem, dot, _ = base.rpartition(b".")
    return _directory(path) + (stem if dot else base)
