"""Real servers for remote storage, on free ports of the loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

REDIS = shutil.which("redis-server") or "redis-server"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "nginx"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Server:
    """A process that serves on ``port``, or on ``path``."""

    words: Sequence[str]
    place: Path
    port: int = 0
    path: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen(self.words, cwd=self.place, stdout=log, stderr=log)
        deadline = time.monotonic() + 60  # a busy machine
        while not self.answers():
            assert time.monotonic() < deadline, (self.place / "log").read_text()
            time.sleep(0.02)

    def answers(self) -> bool:
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX if self.path else socket.AF_INET) as one,
        ):
            one.connect(self.path or ("127.0.0.1", self.port))
            return True
        return False

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextmanager
def redis(place: Path, *options: str) -> Iterator[Server]:
    place.mkdir(parents=True, exist_ok=True)
    port, path = free_port(), str(place / "s")
    words = [REDIS, "--bind", "127.0.0.1", "--port", str(port), "--unixsocket", path]
    words += ["--save", "", "--dir", str(place), *options]
    server = Server(words, place, port)
    server.start()
    try:
        yield server
    finally:
        server.stop()


NGINX_CONFIG = """
daemon off; master_process off; pid {place}/pid; error_log {place}/error.log;
worker_rlimit_nofile 512; events {{ worker_connections 128; }}
http {{
  access_log {place}/access.log; client_max_body_size 64m;
  client_body_temp_path {place}/body; proxy_temp_path {place}/p; fastcgi_temp_path {place}/f;
  uwsgi_temp_path {place}/u; scgi_temp_path {place}/c;
  keepalive_timeout 75s;
  server {{
    listen 127.0.0.1:{port}; listen 127.0.0.1:{tls} ssl;
    ssl_certificate {place}/cert.pem; ssl_certificate_key {place}/key.pem;
    root {place}/files;
    location / {{ dav_methods PUT DELETE; create_full_put_path on; }}
    location /private/ {{
      auth_basic "x"; auth_basic_user_file {place}/users;
      dav_methods PUT DELETE; create_full_put_path on;
    }}
    location /token/ {{
      if ($http_authorization != "Bearer t0ken") {{ return 403; }}
      dav_methods PUT DELETE; create_full_put_path on;
    }}
    location /readable/ {{ alias {place}/files/open/; }}
  }}
}}
"""


@dataclass
class Web:
    """nginx with WebDAV; ``certificate`` is what its TLS port proves itself with."""

    server: Server
    tls: int
    files: Path
    certificate: Path

    def requests(self) -> list[str]:
        return (self.server.place / "access.log").read_text().splitlines()


@contextmanager
def web(place: Path) -> Iterator[Web]:
    files = place / "files"
    files.mkdir(parents=True)
    port, tls = free_port(), free_port()
    (place / "nginx.conf").write_text(NGINX_CONFIG.format(place=place, port=port, tls=tls))
    (place / "users").write_text("me:{PLAIN}geheim\n")
    words = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
        " -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 2"
        " -keyout key.pem -out cert.pem"
    ).split()
    subprocess.run(words, cwd=place, check=True, capture_output=True)
    if os.getuid() == 0:  # its user is nobody
        for path in (place, files):
            path.chmod(0o777)
    server = Server([NGINX, "-p", str(place), "-c", "nginx.conf"], place, port)
    server.start()
    try:
        yield Web(server, tls, files, place / "cert.pem")
    finally:
        server.stop()
