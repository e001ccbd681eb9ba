"""Entries that are signed, and readers who believe only some writers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycc.cache.remote_signing import HEAD, MAGIC, Signing, unsigned
from pycc.cache.storage import seal
from pycc.errors import ConfigError
from pycc.resident import Resident
from tests.compile_kit import Bench
from tests.storage_kit import key, value
from tests.test_remote_tiers import MISS, REMOTE_HIT, compiled, entries, forget_locally


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two writers, ``a`` with keys by openssl and ``b`` by ssh-keygen, and what both are known by
    in ``trusted``; ``rsa`` is of another kind."""
    place = tmp_path_factory.mktemp("keys")
    commands = [
        "openssl genpkey -algorithm ed25519 -out a.pem",
        "openssl pkey -in a.pem -pubout -out a.pub",
        "ssh-keygen -q -t ed25519 -N '' -f b",
        "openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:1024 -out rsa.pem",
        "mkdir trusted",
    ]
    for command in commands:
        words = [word.strip("'") for word in command.split(" ")]
        subprocess.run(words, cwd=place, check=True, capture_output=True)
    (place / "trusted/a.pub").write_bytes((place / "a.pub").read_bytes())
    (place / "trusted/b.pub").write_bytes(b"# ours\n" + (place / "b.pub").read_bytes())
    return place


@pytest.mark.parametrize("name", ["a.pem", "b"])
def test_what_is_signed_is_believed_by_who_knows_the_writer(keys: Path, name: str) -> None:
    writer = Signing(str(keys / name), "")
    frame = seal(key(1), value(1))
    signed = writer.sign(key(1), frame)
    assert len(signed) == HEAD + len(frame)
    assert unsigned(signed) == unsigned(frame) == frame
    assert writer.opened(key(1), signed) == frame
    assert Signing("", str(keys / "trusted")).opened(key(1), signed) == frame
    own = keys / ("a.pub" if name == "a.pem" else "b.pub")
    assert Signing("", str(own)).opened(key(1), signed) == frame
    other = keys / ("b.pub" if name == "a.pem" else "a.pub")
    assert Signing("", str(other)).opened(key(1), signed) is None


def test_nothing_else_is_believed(keys: Path) -> None:
    reader = Signing("", str(keys / "trusted"))
    frame = seal(key(1), value(1))
    signed = Signing(str(keys / "a.pem"), "").sign(key(1), frame)
    assert reader.opened(key(1), frame) is None
    assert reader.opened(key(2), signed) is None, "another entry's"
    for at in (len(MAGIC), len(MAGIC) + 40, HEAD, len(signed) - 1):
        changed = signed[:at] + bytes((signed[at] ^ 1,)) + signed[at + 1 :]
        assert reader.opened(key(1), changed) is None
    for cut in (0, 3, HEAD - 1, HEAD, len(signed) - 1):
        assert reader.opened(key(1), signed[:cut]) is None


def test_who_is_trusted_is_read_again_when_it_changes(keys: Path, tmp_path: Path) -> None:
    trusted = tmp_path / "keys"
    trusted.write_bytes((keys / "a.pub").read_bytes())
    reader = Signing("", str(trusted))
    frame = seal(key(1), value(1))
    signed = Signing(str(keys / "b"), "").sign(key(1), frame)
    assert reader.opened(key(1), signed) is None
    trusted.write_bytes((keys / "a.pub").read_bytes() + (keys / "b.pub").read_bytes())
    assert reader.opened(key(1), signed) == frame
    trusted.unlink()
    assert reader.opened(key(1), signed) is None


@pytest.mark.parametrize(
    ("sign", "trust", "words"),
    [
        ("absent", "", "No such file"),
        ("a.pub", "", "not a private key"),
        ("rsa.pem", "", "not an Ed25519 key"),
        ("", "absent", "No such file"),
        ("", "a.pem", "no Ed25519 public key"),
        ("", "empty", "no Ed25519 public key"),
    ],
)
def test_a_key_that_is_none_is_told(keys: Path, sign: str, trust: str, words: str) -> None:
    (keys / "empty").mkdir(exist_ok=True)
    paths = [str(keys / name) if name else "" for name in (sign, trust)]
    with pytest.raises(ConfigError, match=words):
        Signing(*paths)


# Calls.


@pytest.fixture(scope="module")
def resident() -> Iterator[Resident]:
    resident = Resident()
    yield resident
    resident.close()


@pytest.fixture
def bench(tmp_path: Path, resident: Resident) -> Bench:
    bench = Bench(tmp_path, resident).setup()
    bench.file("a.c", '#include "h.h"\nint x = V;\n')
    bench.file("h.h", "#define V 1\n")
    return bench


def test_a_build_takes_what_a_trusted_one_has_signed(bench: Bench, keys: Path) -> None:
    storage = f"file:{bench.root}/remote"
    bench.configure(REMOTE_STORAGE=f"{storage} @sign-key={keys}/a.pem")
    assert compiled(bench) == MISS
    assert all(path.read_bytes().startswith(MAGIC) for path in entries(bench))
    for more in (f"@trusted-keys={keys}/a.pub", f"@trusted-keys={keys}/trusted", ""):
        bench.configure(REMOTE_STORAGE=f"{storage} {more}")
        forget_locally(bench)
        assert compiled(bench) == REMOTE_HIT


def test_a_build_takes_nothing_else_and_leaves_it_alone(bench: Bench, keys: Path) -> None:
    storage = f"file:{bench.root}/remote"
    bench.configure(REMOTE_STORAGE=storage)
    assert compiled(bench) == MISS
    before = [path.read_bytes() for path in entries(bench)]
    bench.configure(REMOTE_STORAGE=f"{storage} @trusted-keys={keys}/trusted")
    forget_locally(bench)
    found = compiled(bench)
    assert found["cache_miss"] == 1
    assert found["remote_storage_error"] == found["pycc_remote_untrusted"] == 1
    assert "remote_storage_write" not in found
    assert [path.read_bytes() for path in entries(bench)] == before


def test_a_key_may_be_named_from_the_directory_of_the_call(bench: Bench, keys: Path) -> None:
    os.symlink(keys / "a.pem", bench.cwd / "key")
    bench.configure(REMOTE_STORAGE=f"file:{bench.root}/remote @sign-key=key")
    assert compiled(bench) == MISS
    bench.configure(REMOTE_STORAGE=f"file:{bench.root}/remote @sign-key=other")
    assert bench.call("-c a.c -o b.o") == 0, "a local hit asks for nothing"
    forget_locally(bench)
    assert bench.call("-c a.c -o a.o") == 1
    assert b"other: No such file or directory" in bench.stderr
