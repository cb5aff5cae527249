"""A web server for benchmarks: nginx on 127.0.0.1, over http and over TLS."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NGINX = """
worker_processes 1; daemon off; pid {root}/nginx.pid; error_log {root}/error.log;
events {{ worker_connections 2048; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000; keepalive_timeout 75s;
  types {{ image/jpeg jpg; image/png png; image/webp webp; }}
  client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;
  uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
  server {{
    listen 127.0.0.1:{port}; listen 127.0.0.1:{tls_port} ssl; root {root}/www;
    ssl_certificate {root}/own.pem; ssl_certificate_key {root}/own.key;
  }}
}}
"""


def certify(root: Path) -> None:
    """A certificate for 127.0.0.1 that vouches for itself."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(root / "own.key"), "-out", str(root / "own.pem")],
        check=True, capture_output=True,
    )  # fmt: skip


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def nginx(root: Path) -> Iterator[dict[str, str]]:
    """A web server of our own on free ports; gives its urls by scheme."""
    certify(root)
    ports = {"http": free_port(), "https": free_port()}
    config = root / "nginx.conf"
    config.write_text(NGINX.format(root=root, port=ports["http"], tls_port=ports["https"]))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    process = subprocess.Popen([program, "-c", str(config), "-p", str(root)])
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", ports["https"])) == 0:
                    break
            time.sleep(0.05)
        yield {scheme: f"{scheme}://127.0.0.1:{port}" for scheme, port in ports.items()}
    finally:
        process.terminate()
        process.wait(10)
