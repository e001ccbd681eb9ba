"""What particular options stand for: include lists, files that are read, colours, clang -cc1.

These tables belong to the option table in ``options``, but speak the reader's language: each is
looked up by one handler of ``wordreader``.
"""

NATIVE = frozenset((b"-march=native", b"-mtune=native", b"-mcpu=native"))

INCLUDE_LISTS = {
    b"-iquote": "quote",
    b"-I": "angle",
    b"-isystem": "system",
    b"-cxx-isystem": "cxx_system",
    b"-idirafter": "after",
}
# Linker options that alter nothing under gcc -c, not even stderr; clang warns of them.
GCC_SAYS_NOTHING = frozenset((b"-Wl,", b"-L", b"-l"))
FORCED = frozenset((b"-include", b"-imacros", b"-include-pch", b"-include-pth"))

INPUT_ROLES = {
    b"-specs": b"specs",
    b"--specs": b"specs",
    b"-specs=": b"specs",
    b"--specs=": b"specs",
    b"-fsanitize-ignorelist=": b"sanitize-ignorelist",
    b"-fsanitize-blacklist=": b"sanitize-ignorelist",
    b"-fsanitize-system-ignorelist=": b"sanitize-ignorelist",
    b"-fsanitize-coverage-allowlist=": b"sanitize-coverage",
    b"-fsanitize-coverage-whitelist=": b"sanitize-coverage",
    b"-fsanitize-coverage-ignorelist=": b"sanitize-coverage",
    b"-fsanitize-coverage-blacklist=": b"sanitize-coverage",
    b"-frandomize-layout-seed-file=": b"randomize-layout-seed",
    b"--warning-suppression-mappings=": b"warning-suppression-mappings",
    b"-fplugin=": b"plugin",
    b"-fpass-plugin=": b"plugin",
    b"-fthinlto-index=": b"thinlto-index",
    b"-fbuild-session-file=": b"build-session",
    b"-fmodule-map-file=": b"module-map",
    b"-ivfsoverlay": b"vfs-overlay",
    b"-ivfsstatcache": b"vfs-overlay",
    b"-fxray-always-instrument=": b"xray",
    b"-fxray-never-instrument=": b"xray",
    b"-fxray-attr-list=": b"xray",
    b"-fprofile-list=": b"profile-list",
    b"-fprofile-remapping-file=": b"profile-remapping",
    b"-fmemory-profile-use=": b"memory-profile",
    b"-fembed-offload-object=": b"offload-object",
    b"-fms-secure-hotpatch-functions-file=": b"hotpatch",
}

STRUCTURED = (
    b"-fdiagnostics-format=",
    b"-fdiagnostics-parseable-fixits",
    b"-fdiagnostics-generate-patch",
    b"-fdiagnostics-print-source-range-info",
)
PLAIN_FORMATS = frozenset((b"text", b"clang", b"msvc", b"vi", b"default"))

# What clang -cc1 takes behind -Xclang.
XCLANG_COMPILER = frozenset((b"-emit-pch", b"-emit-pth"))
XCLANG_LIKE_DRIVER = frozenset((b"-include", b"--include", b"-include-pch", b"-include-pth"))
XCLANG_SEARCH = (b"-I", b"-iquote", b"-isystem", b"-idirafter", b"-internal-", b"-cxx-isystem")
XCLANG_WRITES = (
    b"-o",
    b"-x",
    b"-M",
    b"-E",
    b"-dependency",
    b"-header-include-file",
    b"-module-dependency-dir",
    b"-serialize-diagnostic",
    b"-diagnostic-log-file",
    b"-stats-file",
    b"-coverage-",
    b"-split-dwarf",
    b"-opt-record",
    b"-dwarf-debug-flags",
    b"-analyze",
    b"-ast-",
    b"-emit-",
    b"-dump-",
    b"-rewrite",
    b"-verify",
    b"-main-file-name",
    b"-working-directory",
    b"-fmodule",
    b"-ftime-trace",
    b"-fsystem-module",
    b"-plugin",
    b"-add-plugin",
    b"-fdebug-compilation-dir",
    b"-code-completion",
    b"-dump",
    b"-print-",
)

COLORS = {
    b"-fdiagnostics-color": True,
    b"-fdiagnostics-color=always": True,
    b"-fdiagnostics-color=auto": None,
    b"-fdiagnostics-color=never": False,
    b"-fno-diagnostics-color": False,
    b"-fcolor-diagnostics": True,
    b"-fno-color-diagnostics": False,
}

CLANG_COLORS = (b"-fcolor-diagnostics", b"-fno-color-diagnostics")
