"""Remote storage in a bucket: signatures as Amazon's documents and programs make them; a server."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycc.cache.remote_s3 import Credentials, CredentialsFile, signed
from pycc.resident import Resident
from tests.compile_kit import Bench
from tests.remote_kit import Server, free_port
from tests.test_remote_tiers import LOCAL_HIT, MISS, REMOTE_HIT, compiled, forget_locally

EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
MAY_2013 = datetime.datetime(2013, 5, 24, tzinfo=datetime.UTC).timestamp()


def signature(fields: list[tuple[str, str]]) -> str:
    return dict(fields)["Authorization"].rpartition("Signature=")[2]


def test_the_examples_of_amazons_documentation() -> None:
    host = ("Host", "examplebucket.s3.amazonaws.com")
    got = signed(
        "GET",
        "/test.txt",
        [host, ("Range", "bytes=0-9")],
        NOTHING,
        EXAMPLE,
        "us-east-1",
        MAY_2013,
    )
    assert signature(got) == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    got = signed(
        "PUT",
        "/test%24file.text",
        [
            host,
            ("Date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ],
        "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        EXAMPLE,
        "us-east-1",
        MAY_2013,
    )
    assert signature(got) == "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"


def test_a_credentials_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    file = CredentialsFile(str(path), "ours")
    assert file.read() is None
    path.write_text("[default]\naws_access_key_id=a\naws_secret_access_key=b\n[ours]\n")
    assert file.read() is None
    path.write_text(
        "[ours]\naws_access_key_id = k\naws_secret_access_key = s=%1\naws_session_token=t\n"
    )
    assert file.read() == Credentials("k", "s=%1", "t")
    path.write_text("nonsense")
    assert file.read() is None


@pytest.fixture(scope="module")
def resident() -> Iterator[Resident]:
    resident = Resident()
    yield resident
    resident.close()


@pytest.fixture(scope="module")
def amazon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with a bucket."""
    place, port = tmp_path_factory.mktemp("s3"), free_port()
    words = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1"]
    server = Server([*words, "-p", str(port)], place, port)
    server.start()
    url = f"http://127.0.0.1:{port}"
    request = urllib.request.Request(f"{url}/team-cache", method="PUT")
    urllib.request.urlopen(request).close()
    yield url
    server.stop()


@pytest.fixture
def bench(tmp_path: Path, resident: Resident) -> Bench:
    bench = Bench(tmp_path, resident).setup(LOGFILE=str(tmp_path / "log"))
    bench.variables |= {b"AWS_ACCESS_KEY_ID": b"k", b"AWS_SECRET_ACCESS_KEY": b"geheim"}
    bench.file("a.c", f'#include "h.h"\nint x = V; /* {tmp_path} */\n')
    bench.file("h.h", "#define V 1\n")
    return bench


def test_a_bucket_keeps_entries(bench: Bench, amazon: str) -> None:
    bench.configure(REMOTE_STORAGE=f"s3://team-cache/a+b/c @endpoint={amazon}")
    assert compiled(bench) == MISS
    assert compiled(bench) == LOCAL_HIT
    forget_locally(bench)
    assert compiled(bench) == REMOTE_HIT
    log = (bench.root / "log").read_text()
    assert f"PUT {amazon}/team-cache/a%2Bb/c/" in log
    assert "geheim" not in log


def test_credentials_may_lie_in_a_file(bench: Bench, amazon: str) -> None:
    del bench.variables[b"AWS_ACCESS_KEY_ID"], bench.variables[b"AWS_SECRET_ACCESS_KEY"]
    bench.configure(REMOTE_STORAGE=f"s3://team-cache @endpoint={amazon} @profile=ours")
    found = compiled(bench)
    assert (found["cache_miss"], found["remote_storage_error"]) == (1, 1)
    assert "no credentials for S3" in (bench.root / "log").read_text()


@pytest.mark.parametrize("setting", ["s3://no-such-bucket", "s3://team-cache @region=eu-x"])
def test_a_bucket_that_is_not_there(bench: Bench, amazon: str, setting: str) -> None:
    bench.configure(REMOTE_STORAGE=f"{setting} @endpoint={amazon}")
    found = compiled(bench)
    assert found["cache_miss"] == 1
    assert found.get("remote_storage_error", 0) == ("no-such" in setting)


@pytest.mark.parametrize(
    ("setting", "words"),
    [("s3:/x", b"A bucket is required"), ("s3://b @endpoint=file:/x", b"Not an address")],
)
def test_a_setting_that_means_nothing(bench: Bench, setting: str, words: bytes) -> None:
    bench.configure(REMOTE_STORAGE=setting)
    assert bench.call("-c a.c -o a.o") == 1
    assert words in bench.stderr


COMPARE = """
import sys, hashlib
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
import botocore.auth, datetime
now = datetime.datetime(2024, 2, 29, 12, 30, 1)
botocore.auth.get_current_datetime = lambda *a, **k: now
request = AWSRequest("PUT", "https://h.example:9000/b/a%2Bb/%20x/00/ff", data=b"body",
    headers={"Host": "h.example:9000"})
request.context["payload_signing_enabled"] = True
S3SigV4Auth(Credentials("k", "s/e+c", "tok/en="), "s3", "eu-west-3").add_auth(request)
print(request.headers["Authorization"].rpartition("Signature=")[2])
"""


def test_amazons_own_library_signs_the_same() -> None:
    """In a process of its own: it warns of what it uses itself."""
    words = [sys.executable, "-W", "ignore", "-c", COMPARE]
    environment = {**os.environ, "TZ": "UTC"}
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=environment)
    now = datetime.datetime(2024, 2, 29, 12, 30, 1, tzinfo=datetime.UTC).timestamp()
    got = signed(
        "PUT",
        "/b/a%2Bb/%20x/00/ff",
        [("Host", "h.example:9000")],
        "230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5",
        Credentials("k", "s/e+c", "tok/en="),
        "eu-west-3",
        now,
    )
    assert signature(got) == done.stdout.strip()
