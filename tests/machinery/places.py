"""Real places for the tests: a small disk, a read-only one, an S3 server."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(place: Path, options: str) -> Iterator[Path]:
    """A tmpfs at `place` while the block lasts; the test is skipped where mounting is refused."""
    place.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting a tmpfs is not permitted: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@contextlib.contextmanager
def read_only(place: Path) -> Iterator[Path]:
    """`place`, a mounted tmpfs with whatever it holds, not writable while the block lasts."""
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)


@contextlib.contextmanager
def s3_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a real S3 endpoint with a bucket `bucket`; s3fs is pointed at it.

    Run in a process of its own, so that its threads and warnings are not the tests'.
    """
    pytest.importorskip("s3fs", reason="the s3 extra is not installed")
    import sys

    script = (
        "from moto.server import ThreadedMotoServer as S; import sys, time\n"
        "s = S(ip_address='127.0.0.1', port=0, verbose=False); s.start()\n"
        "print(s.get_host_and_port()[1], flush=True); sys.stdin.read()"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    try:
        address = f"http://127.0.0.1:{int(server.stdout.readline())}"
        for name, value in {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
        }.items():
            monkeypatch.setenv(name, value)
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("bucket")
        yield address
        s3fs.S3FileSystem.clear_instance_cache()
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
        if server.stdin:
            server.stdin.close()
