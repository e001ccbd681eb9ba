"""The profile and coverage options: instrumentation, feedback, and where their data lies."""

from pycc.invocation import Family, InputFile, Profile
from pycc.record import made, mutable
from pycc.sidefiles import profile_data

_KNOWN = frozenset(
    b"-fprofile-correction -fprofile-reorder-functions -fprofile-sample-accurate -fprofile-values "
    b"-fprofile-partial-training -fprofile-info-section".split()
)
_KNOWN_PREFIXES = (
    b"-fprofile-update",
    b"-fprofile-reproducible=",
    b"-fprofile-filter-files=",
    b"-fprofile-exclude-files=",
    b"-fprofile-info-section=",
    b"-fprofile-prefix-map=",
    b"-fprofile-list=",
    b"-fprofile-remapping-file=",
    b"-fprofile-function-groups=",
    b"-fprofile-selected-function-group=",
    b"-fprofile-continuous",
)
_GENERATE = frozenset(
    (b"-fprofile-generate", b"-fprofile-instr-generate", b"-fcs-profile-generate")
)
_USE = frozenset(
    b"-fprofile-use -fprofile-instr-use -fprofile-sample-use -fbranch-probabilities "
    b"-fauto-profile".split()
)
_POSITIVE = _GENERATE | _USE | {b"-fprofile-arcs", b"-ftest-coverage", b"--coverage"}
PREFIXES = (
    b"-fprofile-",
    b"-fauto-profile",
    b"-fcs-profile-",
    b"-fbranch-probabilities",
    b"-ftest-coverage",
    b"--coverage",
    b"-fno-profile-",
    b"-fno-test-coverage",
    b"-fno-branch-probabilities",
    b"-fno-auto-profile",
)
"""What the options that are read here begin with."""


@mutable
class ProfileOptions:
    """The options read so far."""

    notes: bool = False  # -ftest-coverage: a .gcno file
    arcs: bool = False
    generate: bool = False
    use: bytes = b""  # the option, without a value
    directory: bytes = b""
    prefix_path: bytes = b""
    absolute_path: bool = False
    _given: set[bytes] = made(factory=set)
    _denied: set[bytes] = made(factory=set)

    def take(self, text: bytes) -> bool:
        """Read one option; False: its effect, or the effect of two together, is unknown."""
        name, equals, value = text.partition(b"=")
        if text.startswith(b"-fno-"):
            self._denied.add(b"-f" + text[5:])
        elif name in _POSITIVE:
            self._given.add(name)
            if not self._take_positive(name, value if equals else None):
                return False
        elif text == b"-fprofile-abs-path":
            self.absolute_path = True
        elif name == b"-fprofile-dir":
            self.directory = value
        elif name == b"-fprofile-prefix-path":
            self.prefix_path = value
        elif text not in _KNOWN and not text.startswith(_KNOWN_PREFIXES):
            return False
        if b"--coverage" in self._given and self._denied & {b"-fprofile-arcs", b"-ftest-coverage"}:
            return False
        return not self._given & self._denied and not (self.generate and self.use)

    def _take_positive(self, name: bytes, value: bytes | None) -> bool:
        if name == b"-fprofile-arcs":
            self.arcs = True
        elif name == b"-ftest-coverage":
            self.notes = True
        elif name == b"--coverage":
            self.arcs = self.notes = True
        elif name in _GENERATE:
            self.generate = True
            self.directory = value or self.directory
        else:
            if self.use:
                return False
            self.use = name
            self.directory = value or self.directory
        return True

    def profile(self) -> Profile:
        """The options as a record."""
        return Profile(
            arcs=self.arcs,
            generate=self.generate,
            use=bool(self.use),
            directory=self.directory,
            prefix_path=self.prefix_path,
            absolute_path=self.absolute_path,
        )

    def data_files(self, family: Family, auxiliary: bytes, cwd: bytes) -> tuple[InputFile, ...]:
        """Where profile data may lie; which of them the compiler reads depends on its release."""
        if not self.use:
            return ()
        directory = self.directory
        if self.use == b"-fauto-profile":
            paths: tuple[bytes, ...] = (directory or b"fbdata.afdo",)
        elif family is Family.CLANG:
            default = b"default.profdata"
            paths = (directory, directory + b"/" + default) if directory else (default,)
        else:
            paths = profile_data(auxiliary, directory, self.prefix_path, cwd)
        return tuple(InputFile(b"profile", path, optional=True) for path in paths)
