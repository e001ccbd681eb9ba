"""A real Kerberos on loopback, with a realm, services and users of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.daemon_kit import free_port, open_place, wait_for

REALM = "FARM.TEST"
KDC = "/usr/sbin/krb5kdc"
SERVICE = "host/localhost"


@dataclass
class Kerberos:
    """Keys lie in ``place``, by the first part of the principal's name."""

    place: Path
    environment: dict[str, str]

    def keytab(self, principal: str) -> Path:
        """Of a principal that is made if it is not there. Whoever runs a daemon may read it."""
        path = self.place / f"{principal.replace('/', '-')}.keytab"
        if not path.exists():
            self.local(f"addprinc -randkey {principal}")
            self.local(f"ktadd -k {path} {principal}")
            path.chmod(0o644)
        return path

    def local(self, command: str) -> None:
        words = ["/usr/sbin/kadmin.local", "-r", REALM, "-q", command]
        subprocess.run(words, env=self.environment, check=True, capture_output=True)

    def user(self, name: str) -> dict[str, str]:
        """What a client's call needs to be ``name``."""
        return {
            "KRB5_CONFIG": self.environment["KRB5_CONFIG"],
            "KRB5_CLIENT_KTNAME": f"FILE:{self.keytab(name)}",
            "KRB5CCNAME": f"FILE:{self.place}/tickets-{name}",
        }

    def service(self, principal: str = SERVICE) -> dict[str, str]:
        """What a daemon needs to be the service."""
        return {
            "KRB5_CONFIG": self.environment["KRB5_CONFIG"],
            "KRB5_KTNAME": f"FILE:{self.keytab(principal)}",
            "KRB5RCACHENAME": "none:",
            "DISTCCD_PRINCIPAL": principal,
        }


@contextmanager
def a_kdc() -> Iterator[Kerberos]:
    with open_place() as place:
        port = free_port()
        (place / "krb5.conf").write_text(
            f"""\
[libdefaults]
    default_realm = {REALM}
    dns_lookup_kdc = false
    dns_lookup_realm = false
    dns_canonicalize_hostname = false
    rdns = false
    udp_preference_limit = 1
[realms]
    {REALM} = {{
        kdc = 127.0.0.1:{port}
    }}
[domain_realm]
    localhost = {REALM}
"""
        )
        (place / "kdc.conf").write_text(
            f"""\
[realms]
    {REALM} = {{
        database_name = {place}/principal
        key_stash_file = {place}/stash
        acl_file = {place}/acl
        kdc_listen = 127.0.0.1:{port}
        kdc_tcp_listen = 127.0.0.1:{port}
    }}
[logging]
    kdc = FILE:{place}/kdc.log
    admin_server = FILE:{place}/admin.log
"""
        )
        environment = {
            "PATH": os.defpath,
            "KRB5_CONFIG": str(place / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(place / "kdc.conf"),
        }
        subprocess.run(
            ["/usr/sbin/kdb5_util", "create", "-s", "-r", REALM, "-P", "master"],
            env=environment,
            check=True,
            capture_output=True,
        )
        process = subprocess.Popen([KDC, "-n", "-r", REALM], env=environment)
        try:
            log = place / "kdc.log"
            wait_for(lambda: log.exists() and "commencing operation" in log.read_text())
            yield Kerberos(place, environment)
        finally:
            process.terminate()
            process.wait()
