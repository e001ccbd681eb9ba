"""What distributions take from packaging/: units, scripts and samples."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pycc.remote.settings import SETTINGS, read_settings
from tests.daemon_kit import said

ROOT = Path(__file__).resolve().parent.parent
PACKAGING = ROOT / "packaging"


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False
    )


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is there."""
    text = (PACKAGING / "systemd/pyccd.service").read_text()
    assert "ExecStart=/usr/bin/pyccd --daemon --no-detach\n" in text
    path = tmp_path / "pyccd.service"
    path.write_text(text.replace("/usr/bin/pyccd", "/bin/true"))
    return path


def test_systemd_takes_the_unit(unit: Path) -> None:
    done = run(needs("systemd-analyze"), "verify", "--man=no", unit)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_is_hardened(unit: Path) -> None:
    done = run(needs("systemd-analyze"), "security", "--offline=true", "--threshold=40", unit)
    assert done.returncode == 0, done.stdout.splitlines()[-1]


@pytest.mark.parametrize("namespace", ["user", "mnt", "pid", "net", "ipc"])
def test_the_unit_lets_exact_jobs_have_their_namespaces(namespace: str) -> None:
    text = (PACKAGING / "systemd/pyccd.service").read_text()
    (allowed,) = [x for x in text.splitlines() if x.startswith("RestrictNamespaces=")]
    assert namespace in allowed.partition("=")[2].split()
    source = (ROOT / "pycc/launcher/sandbox.c").read_text()
    names = {"mnt": "NEWNS"}
    assert f"CLONE_{names.get(namespace, 'NEW' + namespace.upper())}" in source


@pytest.mark.parametrize(
    "line",
    "ProtectKernelTunables ProtectKernelLogs ProtectKernelModules ProtectProc ProcSubset"
    " PrivateUsers MemoryDenyWriteExecute".split(),
)
def test_the_unit_has_nothing_that_exact_jobs_cannot_bear(line: str) -> None:
    lines = (PACKAGING / "systemd/pyccd.service").read_text().splitlines()
    assert not any(one.startswith(f"{line}=") for one in lines)


def test_the_unit_forbids_no_system_call_of_exact_jobs() -> None:
    program = needs("systemd-analyze")
    lines = (PACKAGING / "systemd/pyccd.service").read_text().splitlines()
    (denied,) = [x.partition("=~")[2].split() for x in lines if x.startswith("SystemCallFilter=")]
    listed = run(program, "syscall-filter", *denied).stdout.splitlines()
    names = {line.strip() for line in listed if line.startswith("    ")} - {""}
    assert "init_module" in names
    source = "".join(
        (ROOT / "pycc/launcher" / name).read_text() for name in ("sandbox.c", "lookups.h")
    )
    used = set(re.findall(r"\bSYS\((\w+)", source))
    assert {"mount", "unshare", "pivot_root"} & used
    assert used & names == set()


def test_sysusers_makes_the_user(tmp_path: Path) -> None:
    program = needs("systemd-sysusers")
    (tmp_path / "etc").mkdir()
    (tmp_path / "file.conf").write_text((PACKAGING / "systemd/pyccd.sysusers").read_text())
    done = run(program, f"--root={tmp_path}", tmp_path / "file.conf")
    assert done.returncode == 0, done.stderr
    fields = (tmp_path / "etc/passwd").read_text().splitlines()[-1].split(":")
    assert (fields[0], *fields[4:]) == (
        "pyccd", "Compile server", "/var/cache/pycc", "/usr/sbin/nologin",
    )  # fmt: skip


def test_tmpfiles_are_understood(tmp_path: Path) -> None:
    program = needs("systemd-tmpfiles")
    text = (PACKAGING / "systemd/pyccd.tmpfiles").read_text().replace("pyccd pyccd", "- -")
    (tmp_path / "file.conf").write_text(text)
    done = run(program, "--create", f"--root={tmp_path}", tmp_path / "file.conf")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "var/cache/pycc").stat().st_mode & 0o777 == 0o750


def test_the_daemon_takes_the_sample_of_its_settings() -> None:
    status, out, err = said("--config", str(PACKAGING / "pyccd.conf"), "--print-config")
    assert (status, err) == (0, "")
    assert f"({PACKAGING}/pyccd.conf:" in out
    lines = dict(line.partition(") ")[2].split(" = ", 1) for line in out.splitlines())
    assert lines["allow"] == "127.0.0.1/32"
    assert (lines["cache_dir"], lines["user"]) == ("/var/cache/pycc", "pyccd")


def test_what_is_commented_out_in_the_sample_is_understood_as_well() -> None:
    lines = (PACKAGING / "pyccd.conf").read_text().splitlines()
    text = "\n".join(line.lstrip("# ") for line in lines if " = " in line)
    settings = read_settings(["--config", "x"], {}, lambda _: text)
    assert settings("stats_port") == 3633
    assert [str(mask) for mask in settings("allow")] == ["127.0.0.1/32"]


@pytest.mark.parametrize(
    "words",
    [
        "--port 3632 --log-level notice --log-file /var/log/distccd.log -N 15 --allow 192.168.0.4",
        "--user nobody --allow 192.168.0.0/24 --log-level error --log-file /tmp/distccd.log",
        "--no-detach --daemon --port 3632 -N 15 --allow 127.0.0.1 --allow 192.168.1.0/24",
    ],
)
def test_options_of_distccds_scripts_can_be_kept(words: str) -> None:
    read_settings(words.split(), {}, lambda _: None)


def test_the_table_of_settings_names_settings_that_there_are() -> None:
    names = {setting.name for setting in SETTINGS}
    text = (PACKAGING / "README.md").read_text()
    table = text[text.index("| there | here |") :]
    for row in table.splitlines():
        for word in row.rpartition(" | ")[2].split("`")[1::2]:
            if " = " in word:
                assert word.split(" = ")[0] in names, word


@pytest.mark.parametrize(
    ("shell", "name"),
    [
        ("sh", "openrc/pyccd.initd"),
        ("sh", "openrc/pyccd.confd"),
        ("sh", "profile.d-pycc.sh"),
        ("sh", "env.d-60pycc"),
        ("bash", "portage/make.conf"),
        ("bash", "portage/nodistcc.conf"),
        ("bash", "makepkg/pycc.conf"),
    ],
)
def test_shells_can_read(shell: str, name: str) -> None:
    done = run(needs(shell), "-n", PACKAGING / name)
    assert (done.returncode, done.stderr) == (0, "")


def test_nobody_gets_the_links_on_path_twice() -> None:
    script = f". {PACKAGING}/profile.d-pycc.sh; . {PACKAGING}/profile.d-pycc.sh; echo $PATH"
    done = subprocess.run(
        ["/bin/sh", "-c", script], env={"PATH": "/bin"}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "/usr/lib/pycc/bin:/bin\n"


def test_every_file_is_in_the_table() -> None:
    text = (PACKAGING / "README.md").read_text()
    for path in PACKAGING.rglob("*"):
        name = str(path.relative_to(PACKAGING))
        if path.is_file() and name != "README.md":
            assert name in text or f"{path.parent.name}/`" in text, name
