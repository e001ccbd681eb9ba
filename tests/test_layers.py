"""The architecture: who may import whom, how long a file may be, what is nowhere done.

A new module needs a row in ALLOWED, a new arrow a word in one; both are to be thought about, not
waved through. Arrows under TYPE_CHECKING are free: they cost nothing and make no circle.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"pycc": ROOT / "pycc", "pycc.cache": ROOT / "cache", "pycc.remote": ROOT / "remote"}
LONGEST = 600

LEAVES = """
    blake commands_text config_access directives elf errors frame native options optionroles outcome
    pattern record searchchain unfinished cache.compression cache.digest cache.fingerprint
    cache.mounts cache.storage remote.access remote.hosts
"""
"""They import nothing of ours, or errors alone."""

EVERYBODYS = {"_build", "blake", "pattern", "record"}
"""What the standard library has too, only slower to load."""

ALLOWED = {
    # Configuration.
    "config_values": "errors",
    "config_table": "config_values",
    "config_file": "config_values errors",
    "config_reading": "config_access config_file config_table config_values errors",
    "config": "config_access config_file config_reading config_table config_values errors",
    "log": "config_values",
    "debug": "cache.fingerprint config config_access frame options",
    # Reading a command line.
    "invocation": "options outcome",
    "languages": "invocation",
    "debuginfo": "invocation",
    "embedded": "debuginfo invocation",
    "sidefiles": "invocation languages",
    "profiling": "invocation sidefiles",
    "dependencies": "invocation languages options sidefiles",
    "wordreader": "debuginfo dependencies invocation optionroles options outcome profiling",
    "responsefile": "errors",
    "arguments": "debuginfo dependencies invocation languages options outcome sidefiles wordreader",
    # What files say, and what is asked of the file system.
    "depfile": "errors",
    "basedir": "arguments depfile invocation",
    "places": "cache.lookup",
    "textlookups": "cache.lookup directives places searchchain",
    "includes": "cache.lookup directives places searchchain textlookups",
    "stability": "native",
    "watch": "native",
    "locate": "native",
    "links": "errors locate",
    "masquerade": "errors lifecycle links",
    "distcc_config": "errors masquerade remote.hosts",
    "lifecycle": "native",
    # Talking with a launcher.
    "talk": "frame",
    "server": "frame ready sharing talk",
    "ready": "cache.result frame",
    "sharing": "cache.result",
    "execute": "frame locate resident talk",
    # One compile.
    "call": "cache.digest cache.statistics_text config config_access debug distribution errors"
    " frame locate log native outcome",
    "compiler": "cache.digest elf frame invocation native searchchain talk",
    "toolchains": "cache.digest call compiler invocation native searchchain talk",
    "delivery": "basedir cache.result depfile frame invocation",
    "searched": "cache.digest cache.lookup directives includes invocation native places searchchain"
    " textlookups",
    "precompiled": "cache.lookup invocation languages outcome places searched",
    "hardlinks": "cache.lookup cache.result frame invocation",
    "keying": "basedir cache.fingerprint call compiler embedded invocation native options outcome"
    " precompiled",
    "remotes": "cache.remote_making lifecycle locate unfinished",
    "tiers": "cache.manifest cache.remote_backend cache.remote_lease cache.remote_storage"
    " cache.result cache.storage distribution frame hot job outcome talk",
    "job": "basedir cache.digest cache.fingerprint cache.manifest call compiler delivery invocation"
    " keying native outcome",
    "hot": "cache.manifest cache.storage job outcome",
    "execution": "call depfile frame invocation job keying outcome talk",
    "preprocess": "cache.lookup call depfile execution frame invocation job keying locate native"
    " outcome precompiled searchchain talk",
    "collect": "basedir cache.digest cache.lookup cache.result call delivery depfile directives"
    " frame invocation native outcome precompiled stability",
    "keep": "cache.fingerprint cache.lookup cache.manifest cache.result cache.storage collect"
    " directives execution hardlinks job native outcome precompiled preprocess searched stability"
    " tiers",
    "distribution": "",
    "tokens": "",
    "closure": "cache.digest cache.lookup directives places searchchain searched textlookups",
    "exact": "cache.lookup cache.manifest cache.result closure collect compiler frame"
    " invocation keying native remote.client_view remote.exact_wire searchchain searched",
    "announced": "call frame locate native remote.client_settings remote.discovery remote.farm"
    " remote.hosts talk",
    "user_headers": "cache.lookup depfile directives remote.pump_words searched",
    "pump": "basedir cache.digest cache.lookup cache.manifest cache.result closure collect"
    " depfile exact execution frame invocation keep keying native remote.bulk"
    " remote.client_view remote.protocol remote.pump_probe remote.pump_words searchchain"
    " user_headers",
    "dispatch": "announced cache.lookup call dependencies distribution exact execution frame"
    " invocation job keying locate options outcome pump remote.client_log remote.client_settings"
    " remote.commandline remote.daemon_log remote.exact_client remote.exact_wire remote.farm"
    " remote.hosts remote.monitor_state remote.protocol remote.pump_client remote.pump_words"
    " remote.transport talk",
    "distcc_command": "announced call dispatch exact frame locate miss remote.client_log"
    " remote.client_settings remote.commandline remote.daemon_log remote.farm remote.hosts"
    " remote.monitor_state remote.transport responsefile talk",
    "miss": "cache.digest cache.lookup cache.result cache.storage collect dispatch distribution"
    " dependencies execution frame hardlinks hot invocation job keep keying outcome precompiled"
    " preprocess stability talk",
    "parts": "arguments invocation languages options sidefiles",
    "several": "call delivery distribution errors frame invocation job miss outcome parts talk"
    " tiers",
    "commands_session": "cache.cleanup cache.directory cache.statistics_text config config_access"
    " frame talk",
    "commands_store": "cache.blake3 cache.cleanup cache.digest cache.recompression cache.storage"
    " commands_entries commands_session config config_values errors trimming",
    "commands": "cache.cleanup cache.statistics_text commands_session commands_store commands_text"
    " config config_values errors frame lifecycle links locate talk",
    "commands_entries": "cache.manifest cache.recompression cache.result cache.storage errors"
    " frame",
    "trimming": "cache.cleanup cache.compression cache.recompression cache.shared_files"
    " cache.storage errors",
    "compile": "arguments basedir cache.digest cache.lookup cache.manifest cache.storage call"
    " commands compiler delivery distcc_command distribution errors execution frame hardlinks hot"
    " invocation job keying miss outcome responsefile several talk tiers toolchains unfinished",
    # The server and the ways in.
    "memos": "cache.directory cache.result frame native watch",
    "resident": "cache.digest cache.directory cache.lookup cache.mounts cache.result"
    " cache.statistics cache.storage cache.storage_files cache.storage_local compile config"
    " directives frame lifecycle log memos native ready remote.farm remote.transport remotes"
    " searchchain server sharing talk tokens unfinished watch",
    "__main__": "cache.disk_cache cache.remote_crsh cache.remote_file cache.remote_http"
    " cache.remote_redis cache.remote_s3 commands commands_entries distcc_command execute lifecycle"
    " miss monitor native pump remote.mdns remote.register resident server tiers trimming",
    # The monitor.
    "monitor_view": "remote.hosts remote.monitor_state remote.running_jobs remote.stats_client",
    "monitor": "cache.statistics config config_access errors monitor_view remote.client_settings"
    " remote.running_jobs remote.stats_client",
    # The compile farm: the wire, what the daemon is told, and command lines.
    "remote.bulk": "errors",
    "remote.protocol": "errors remote.bulk",
    "remote.settings": "cache.remote_url config_file config_values errors remote.access"
    " remote.register",
    "remote.optionwords": "",
    "remote.commandline": "remote.optionwords",
    "remote.argumentfilter": "remote.commandline remote.optionwords",
    # The compile farm: one job of a client.
    "remote.client_settings": "remote.hosts",
    "remote.client_log": "remote.client_settings remote.daemon_log",
    "remote.balance": "blake remote.hosts",
    "remote.monitor_state": "",
    "remote.discovery": "remote.hosts",
    "remote.mdns": "errors remote.discovery remote.hosts",
    "remote.membership": "remote.discovery remote.hosts",
    "remote.register": "cache.remote_backend cache.remote_resp cache.remote_url errors"
    " remote.discovery remote.hosts remote.membership",
    "remote.offered": "remote.child remote.compilers remote.identities remote.membership",
    "remote.connection": "errors",
    "remote.kept": "remote.connection",
    "remote.ssh": "remote.client_settings remote.connection remote.hosts",
    "remote.gss": "remote.client_settings remote.connection remote.hosts remote.streams",
    "remote.tls": "remote.client_settings remote.connection remote.hosts",
    "remote.transport": "remote.client_settings remote.connection remote.hosts remote.kept"
    " remote.gss remote.protocol remote.ssh remote.tls",
    "remote.pump_words": "depfile errors remote.commandline remote.optionwords",
    "remote.pump_probe": "remote.protocol",
    "remote.pump_client": "remote.daemon_log remote.farm remote.hosts remote.monitor_state"
    " remote.protocol remote.pump_probe",
    "remote.farm": "remote.balance remote.client_log remote.client_settings remote.connection"
    " remote.daemon_log remote.discovery remote.hosts remote.mdns remote.monitor_state"
    " remote.protocol remote.pump_probe remote.register remote.transport",
    # The compile farm: one job of the daemon.
    "remote.child": "",
    "remote.textfilter": "",
    "remote.compilers": "locate",
    "remote.identities": "cache.digest compiler frame native options remote.child talk",
    "remote.server_cache": "cache.directory cache.fingerprint cache.result cache.storage",
    "remote.job": "remote.argumentfilter remote.child remote.client_view remote.commandline"
    " remote.compilers remote.identities remote.protocol remote.server_cache remote.textfilter"
    " unfinished",
    # The compile farm: exact jobs.
    "remote.client_view": "errors",
    "remote.exact_root": "remote.client_view",
    "remote.contents": "cache.digest errors remote.exact_root",
    "remote.ground": "cache.digest native remote.client_view remote.exact_root",
    "remote.sandbox": "errors remote.child remote.client_view remote.exact_root",
    "remote.exact_wire": "cache.compression remote.client_view remote.protocol",
    "remote.exact_client": "cache.digest cache.manifest remote.client_view remote.daemon_log"
    " remote.exact_wire remote.farm remote.hosts remote.monitor_state remote.protocol",
    "remote.exactness": "cache.digest directives native remote.cache_place remote.compilers"
    " remote.contents remote.daemon_log remote.exact_root remote.ground remote.job remote.sandbox",
    "remote.witness": "cache.manifest remote.client_view remote.exact_root remote.sandbox",
    "remote.monitor_text": "remote.monitor_state remote.running_jobs",
    "remote.lsdistcc": "remote.hosts remote.protocol",
    "remote.pump_command": "remote.hosts remote.lsdistcc",
    "remote.running_jobs": "remote.monitor_state",
    "remote.stats_client": "",
    "remote.in_root": "cache.digest cache.fingerprint cache.lookup cache.manifest cache.storage"
    " remote.client_view remote.contents remote.exact_root remote.exact_wire remote.exactness"
    " remote.job remote.sandbox remote.witness",
    "remote.exact_job": "cache.fingerprint cache.storage remote.argumentfilter remote.client_view"
    " remote.commandline remote.compilers remote.exact_wire remote.exactness remote.in_root"
    " remote.job remote.protocol remote.witness unfinished",
    "remote.pump_job": "cache.digest cache.manifest cache.storage options remote.argumentfilter"
    " remote.client_view remote.commandline remote.compilers remote.exact_root remote.exact_wire"
    " remote.exactness remote.in_root remote.job remote.protocol remote.witness unfinished",
    # The compile farm: the daemon.
    "remote.daemon_log": "errors",
    "remote.metrics": "",
    "remote.streams": "",
    "remote.admission": "remote.gss remote.streams remote.tls",
    "remote.privileges": "errors",
    "remote.cache_place": "remote.privileges",
    "remote.provision": "errors locate remote.access remote.admission remote.compilers"
    " remote.daemon_log remote.gss remote.settings remote.tls",
    "remote.stats_page": "",
    "remote.stats_server": "remote.access remote.metrics remote.stats_page",
    "remote.checkup": "cache.remote_backend cache.remote_url errors remote.access"
    " remote.cache_place remote.child remote.compilers remote.discovery remote.mdns"
    " remote.privileges remote.provision remote.register remote.settings",
    "remote.room": "remote.protocol",
    "remote.daemon": "remote.access remote.admission remote.daemon_log remote.exact_job"
    " remote.exactness remote.job remote.metrics remote.protocol remote.pump_job remote.room"
    " remote.server_cache remote.streams",
    "remote.pyccd": "cache.directory cache.disk_cache cache.statistics cache.storage_local errors"
    " native remote.admission remote.cache_place remote.checkup remote.child remote.compilers"
    " remote.daemon remote.daemon_log remote.discovery remote.exactness remote.identities"
    " remote.job remote.mdns remote.membership remote.metrics remote.offered remote.privileges"
    " remote.provision remote.register remote.sandbox remote.server_cache remote.settings"
    " remote.stats_server remote.streams unfinished",
    # The cache: what things are called.
    "cache.blake3": "",
    "cache.recompression": "cache.cleanup cache.compression cache.result cache.storage",
    "cache.manifest": "cache.compression cache.digest cache.fingerprint",
    "cache.result": "cache.compression",
    "cache.lookup": "cache.digest cache.fingerprint cache.manifest",
    # The cache: where things are.
    "cache.shared_files": "cache.storage",
    "cache.value_files": "cache.shared_files cache.storage",
    "cache.aside": "cache.shared_files cache.storage",
    "cache.disk_cache": "cache.storage cache.value_files",
    "cache.local_database": "cache.disk_cache cache.shared_files cache.storage cache.value_files",
    "cache.generations": "cache.local_database cache.shared_files",
    "cache.local_handle": "cache.generations cache.local_database cache.shared_files cache.storage",
    "cache.storage_local": "cache.generations cache.local_database cache.local_handle"
    " cache.storage cache.value_files",
    "cache.storage_files": "cache.local_database cache.shared_files cache.storage",
    "cache.statistics": "cache.shared_files cache.storage",
    "cache.statistics_text": "cache.storage",
    "cache.remote_url": "errors",
    "cache.remote_settings": "cache.remote_url errors",
    "cache.remote_backend": "cache.storage",
    "cache.remote_stream": "cache.remote_backend",
    "cache.remote_breaker": "cache.remote_backend",
    "cache.remote_signing": "errors",
    "cache.remote_storage": "cache.remote_backend cache.remote_breaker cache.remote_lease"
    " cache.remote_settings"
    " cache.remote_signing cache.storage errors",
    "cache.remote_file": "cache.local_handle cache.mounts cache.remote_backend"
    " cache.remote_settings cache.remote_url cache.shared_files errors",
    "cache.remote_http_wire": "",
    "cache.remote_http": "cache.remote_backend cache.remote_http_wire cache.remote_settings"
    " cache.remote_stream cache.remote_url errors",
    "cache.remote_resp": "cache.remote_backend cache.remote_stream cache.remote_url errors",
    "cache.remote_lease": "cache.remote_backend",
    "cache.remote_redis": "cache.remote_backend cache.remote_lease cache.remote_resp"
    " cache.remote_settings cache.remote_url errors",
    "cache.remote_s3": "cache.remote_backend cache.remote_http cache.remote_http_wire"
    " cache.remote_settings cache.remote_stream cache.remote_url errors",
    "cache.remote_crsh": "cache.remote_backend cache.remote_settings cache.remote_stream"
    " cache.remote_url cache.shared_files",
    "cache.remote_program": "cache.remote_backend cache.remote_crsh cache.remote_making"
    " cache.remote_settings cache.remote_storage cache.remote_url errors",
    "cache.remote_making": "cache.remote_backend cache.remote_crsh cache.remote_file"
    " cache.remote_http cache.remote_redis cache.remote_s3 cache.remote_settings"
    " cache.remote_signing cache.remote_storage errors",
    "cache.cleanup": "cache.statistics cache.statistics_text cache.storage",
    "cache.directory": "cache.aside cache.shared_files cache.statistics cache.storage",
    **dict.fromkeys(LEAVES.split(), "errors"),
}

THIRD_PARTY = {
    "zstandard": {"cache.compression"},
    "cryptography": {"cache.remote_signing"},
    "diskcache": {"cache.disk_cache"},
    "xxhash": {"cache.digest", "cache.remote_settings", "cache.storage"},
    "lzo": {"remote.bulk"},
    "filelock": {"cache.storage_files", "cache.shared_files"},
    "gssapi": {"remote.gss"},
    "setuptools": {"launcher.build_launcher"},
    "zeroconf": {"remote.mdns"},
    "ifaddr": {"remote.mdns"},
}
"""Foreign libraries, and the edge modules that may know them."""


def modules() -> dict[str, Path]:
    """Every module by its name below ``pycc``; packages themselves are left out."""
    found = {}
    for package, directory in PACKAGES.items():
        for path in directory.glob("*.py"):
            if path.stem not in ("__init__", "_build"):
                found[f"{package}.{path.stem}".removeprefix("pycc.")] = path
    return found


MODULES = modules()


def statements(tree: ast.AST, typed: bool = False) -> Iterator[tuple[ast.stmt, bool]]:
    """Every import, with whether it is for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, typed
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for inner in node.body:
                yield from statements(ast.Module([inner], []), typed=True)
        else:
            yield from statements(node, typed)


def imported(name: str, path: Path) -> tuple[set[str], set[str]]:
    """(ours, foreign): what a module imports when it runs, at its top or later."""
    package = ["pycc", *name.split(".")][:-1]
    ours: set[str] = set()
    foreign: set[str] = set()
    for node, typed in statements(ast.parse(path.read_text())):
        if typed:
            continue
        if isinstance(node, ast.Import):
            bases = [(alias.name, "") for alias in node.names]
        else:
            assert isinstance(node, ast.ImportFrom)
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            bases = [(base, alias.name) for alias in node.names]
        for base, member in bases:
            if base.split(".")[0] != "pycc":
                foreign.add(base.split(".")[0])
                continue
            short = base.removeprefix("pycc").removeprefix(".")
            inner = f"{short}.{member}".removeprefix(".")
            ours.add(inner if inner in MODULES else short)
    return ours - {""}, foreign


IMPORTS = {name: imported(name, path) for name, path in MODULES.items()}


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_along_the_arrows(name: str) -> None:
    assert name in ALLOWED, "a new module needs a row"
    assert IMPORTS[name][0] - set(ALLOWED[name].split()) - EVERYBODYS == set()


def test_rows_are_of_modules() -> None:
    assert set(ALLOWED) - set(MODULES) == set()


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith("cache.")])
def test_the_cache_knows_nothing_of_compilers(name: str) -> None:
    ours = {other for other in IMPORTS[name][0] if not other.startswith("cache.")}
    assert ours <= {"errors", *EVERYBODYS}


def test_there_are_no_circles() -> None:
    done: set[str] = set()

    def follow(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name in done:
            return
        for other in sorted(IMPORTS.get(name, (set(), set()))[0]):
            follow(other, (*way, name))
        done.add(name)

    for name in MODULES:
        follow(name, ())


@pytest.mark.parametrize("library", THIRD_PARTY)
def test_foreign_libraries_stay_at_the_edge(library: str) -> None:
    users = {name for name, (_, foreign) in IMPORTS.items() if library in foreign}
    assert users <= THIRD_PARTY[library]


PRODUCT = [*MODULES.values(), ROOT / "pycc/launcher/build_launcher.py"]
OTHERS = [
    path
    for directory in ("tests", "bench", "scripts")
    for path in (ROOT / directory).rglob("*.py")
    if "e2e" not in path.parts
]


@pytest.mark.parametrize("path", [*PRODUCT, *OTHERS], ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_is_too_long(path: Path) -> None:
    assert path.read_text().count("\n") <= LONGEST


@pytest.mark.parametrize("path", PRODUCT, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_begins_with_its_room(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert text is not None
    assert text.split("\n\n")[0].rstrip().endswith((".", ":"))


@pytest.mark.parametrize("path", PRODUCT, ids=lambda p: str(p.relative_to(ROOT)))
def test_names_say_what_things_are(path: Path) -> None:
    empty = re.compile(r"manager|helper|util", re.IGNORECASE)
    assert not empty.search(path.stem)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            assert not empty.search(node.name), node.name


@pytest.mark.parametrize("path", PRODUCT, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_dangerous_is_done(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for statement, _ in statements(tree):
        names = {alias.name for alias in getattr(statement, "names", [])}
        names.add(getattr(statement, "module", "") or "")
        assert not {"pickle", "marshal", "shelve", "dill"} & names
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("eval", "exec", "os.system", "os.popen"), called
            assert not any(k.arg == "shell" and k.value for k in node.keywords), called


def test_only_the_server_catches_everything() -> None:
    found = set()
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler):
                caught = "" if node.type is None else ast.unparse(node.type)
                passes_on = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
                if caught in ("", "Exception", "BaseException") and not passes_on:
                    found.add(name)
    assert found <= {"server", "execute"}
