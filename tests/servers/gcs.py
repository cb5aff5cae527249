"""A bucket of Google Cloud Storage's emulator, which gcsfs takes for the real one."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def gcs_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty bucket called `bucket`."""
    import gcsfs
    from gcp_storage_emulator.server import create_server

    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://localhost:{port}")
    # gcsfs would ask by gRPC what kind of bucket it is; the emulator speaks HTTP only.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    server = create_server("localhost", port, in_memory=True, default_bucket="bucket")
    server.start()
    gcsfs.GCSFileSystem.clear_instance_cache()
    try:
        yield
    finally:
        gcsfs.GCSFileSystem.clear_instance_cache()
        server.stop()
