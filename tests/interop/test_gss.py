"""GSS-API with a real Kerberos: our client and the stock one, our daemon and the stock one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.daemon_kit import Daemon, daemon, free_port, said, wait_for
from tests.e2e.kit import World
from tests.interop.kdc_kit import REALM, SERVICE, Kerberos, a_kdc
from tests.interop.kit import WAYS, farm_counts, write_sources
from tests.interop.test_tls import Papers, papers

__all__ = ["papers"]

pytest.importorskip("gssapi")
DAEMONS = pytest.mark.parametrize("kind", ["distccd", "pyccd"])


@pytest.fixture(scope="module")
def kerberos() -> Iterator[Kerberos]:
    with a_kdc() as made:
        yield made


@pytest.fixture(scope="module")
def daemons(kerberos: Kerberos) -> Iterator[dict[str, Daemon]]:
    service = kerberos.service()
    with (
        daemon("distccd", "--auth", **service) as stock,
        daemon("pyccd", "--auth", **service) as ours,
    ):
        yield {"distccd": stock, "pyccd": ours}


@pytest.fixture
def world(private: World, kerberos: Kerberos) -> World:
    """The library reads its configuration once, so our server has to have it from the beginning."""
    private.env["KRB5_CONFIG"] = kerberos.environment["KRB5_CONFIG"]
    write_sources(private.src)
    return private


def compiled(world: World, env: dict[str, str]) -> int:
    counts = farm_counts(world, env)
    return sum(counts.get(name, 0) for name in ("compiled", "exact", "known"))


@WAYS
@DAEMONS
def test_the_stock_client(
    daemons: dict[str, Daemon], kerberos: Kerberos, kind: str, options: str
) -> None:
    server = daemons[kind]
    write_sources(server.place / "project")
    words = ("gcc", "-O2", "-c", "a.c", "-o", "made")
    done = server.distcc(*words, options=f",auth{options}", cwd=None, **kerberos.user("alice"))
    assert (done.returncode, done.stderr) == (0, b"")
    if kind == "pyccd":
        assert f"is alice@{REALM}" in server.log


@WAYS
@DAEMONS
def test_our_client(
    world: World, daemons: dict[str, Daemon], kerberos: Kerberos, kind: str, options: str
) -> None:
    env = {**kerberos.user("alice"), "DISTCC_HOSTS": daemons[kind].host(f",auth{options}")}
    if kind == "pyccd":
        world.compare("gcc", "-O2", "-c", "a.c", env=env)
    else:
        assert world.call("gcc", "-O2", "-c", "a.c", env=env).status == 0
    assert compiled(world, env) == 1


def test_the_tickets_are_the_callers(
    world: World, daemons: dict[str, Daemon], kerberos: Kerberos
) -> None:
    server = daemons["pyccd"]
    for name in ("bob", "carol"):
        env = {**kerberos.user(name), "DISTCC_HOSTS": server.host(",auth")}
        world.write(f"{name}.c", f"int {name};\n")
        before = len(server.log)
        assert world.call("gcc", "-c", f"{name}.c", env=env).status == 0
        assert f"is {name}@{REALM}" in server.log[before:]
    assert compiled(world, env) == 2


def test_a_service_and_a_name_of_choice(world: World, kerberos: Kerberos) -> None:
    service = {**kerberos.service("distcc/localhost"), "DISTCCD_PRINCIPAL": "distcc@localhost"}
    with daemon("pyccd", "--auth", **service) as server:
        env = {**kerberos.user("alice"), "DISTCC_PRINCIPAL": "distcc"}
        write_sources(server.place / "project")
        words = ("gcc", "-c", "a.c", "-o", "made")
        done = server.distcc(*words, options=",auth=localhost", cwd=None, **env)
        assert (done.returncode, done.stderr) == (0, b"")
        env["DISTCC_HOSTS"] = server.host(",auth=localhost")
        world.compare("gcc", "-c", "a.c", env=env)
        assert compiled(world, env) == 1


def test_inside_of_tls(world: World, kerberos: Kerberos, papers: Papers) -> None:
    with daemon("pyccd", "--auth", *papers.serving(), **kerberos.service()) as server:
        env = {**kerberos.user("alice"), **papers.variables()}
        env["DISTCC_HOSTS"] = server.host(",auth,tls,lzo")
        world.compare("gcc", "-c", "a.c", env=env)
        assert compiled(world, env) == 1
        assert f"is commonName=client, alice@{REALM}" in server.log


@pytest.mark.parametrize(
    ("trouble", "here", "there"),
    [
        ("no tickets", "GSS-API: Major", ""),
        ("no auth here", "server provided no answer", "a client that does not authenticate"),
        ("no auth there", "is pyccd or distccd there started with --auth?", "a client with ,auth"),
        ("other service", "GSS-API: Major", ""),
        ("not listed", "does not let this principal in", "bob@FARM.TEST may not ask"),
        ("listed", "does not let this principal in", "alice@FARM.TEST may not ask"),
    ],
)
def test_who_is_not_believed_costs_nothing(
    world: World,
    daemons: dict[str, Daemon],
    kerberos: Kerberos,
    trouble: str,
    here: str,
    there: str,
) -> None:
    log = world.root / "distcc.log"
    user = kerberos.user("bob" if trouble == "not listed" else "alice")
    server, options = daemons["pyccd"], ",auth"
    more: list[str] = []
    listed = kerberos.place / "listed"
    listed.write_text("# who\nalice\n")
    if trouble == "no tickets":
        user = {"KRB5CCNAME": f"FILE:{kerberos.place}/none", "KRB5_CLIENT_KTNAME": "FILE:/none"}
    elif trouble == "no auth here":
        options = ""
    elif trouble == "no auth there":
        more = ["--verbose"]
    elif trouble == "other service":
        options = ",auth=elsewhere"
    elif trouble in ("listed", "not listed"):
        more = ["--auth", "--whitelist" if trouble == "not listed" else "--blacklist", str(listed)]

    def compare(server: Daemon) -> None:
        env = {**user, "DISTCC_HOSTS": server.host(options), "DISTCC_LOG": str(log)}
        before = len(server.log)
        world.compare("gcc", "-c", "a.c", env=env, times=1)
        assert farm_counts(world, env) == {"unreachable": 1}
        assert here in log.read_text()
        if there:
            wait_for(lambda: there in server.log[before:])

    if more:
        with daemon("pyccd", *more, **kerberos.service()) as other:
            compare(other)
    else:
        compare(server)


def test_who_is_listed_may(world: World, kerberos: Kerberos) -> None:
    listed = kerberos.place / "may"
    listed.write_text("alice\n")
    with daemon("pyccd", "--auth", "--whitelist", str(listed), **kerberos.service()) as server:
        env = {**kerberos.user("alice"), "DISTCC_HOSTS": server.host(",auth")}
        world.compare("gcc", "-c", "a.c", env=env)
        assert compiled(world, env) == 1


@pytest.mark.parametrize(
    ("line", "variables", "text"),
    [
        ("--auth", {}, "DISTCCD_PRINCIPAL is not set"),
        ("--auth", {"KRB5_KTNAME": "FILE:/nowhere"}, "look at KRB5_KTNAME and its owner"),
        ("--auth --whitelist /nowhere", {}, "--whitelist /nowhere: cannot be read"),
        ("--auth --whitelist /f --blacklist /f", {}, "Can't specify both"),
        ("--whitelist /f", {}, "--whitelist means nothing without --auth"),
    ],
)
def test_nothing_is_served_with_less_than_was_asked_for(
    kerberos: Kerberos, line: str, variables: dict[str, str], text: str
) -> None:
    environment = {**kerberos.service(), **variables} if variables else {}
    port = str(free_port())
    status, _, err = said("--daemon", "--no-detach", "--port", port, *line.split(), **environment)
    assert status in (101, 119)
    assert text in err
    _, out, _ = said("--check", "--port", port, *line.split(), **environment)
    assert "PROBLEM: GSS-API: " in out


def test_check_says_who_the_daemon_is(kerberos: Kerberos) -> None:
    _, out, _ = said("--check", "--port", str(free_port()), "--auth", **kerberos.service())
    assert f"ok: GSS-API: clients are authenticated as {SERVICE}" in out
