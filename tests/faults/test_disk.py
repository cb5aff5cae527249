"""A full disk and a read-only folder: one sentence, exit 1, and the same command goes on later."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.mounts import mounted, remount
from tests.servers.pictures import PictureServer
from tests.tables import coyo_table, write_parts

pytestmark = pytest.mark.slow


def coyo(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "coyo_tools", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def server():
    with PictureServer() as server:
        yield server


@pytest.fixture(scope="module")
def metadata(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("disk") / "metadata"
    return write_parts(folder, coyo_table(server.urls(4_000)), parts=4)


@pytest.fixture(scope="module")
def shards(metadata):
    out = metadata.parent / "shards"
    done = coyo(
        "download", metadata, "-o", out, "--allow-private-addresses", "--samples-per-shard", "500"
    )
    assert done.returncode == 0, done.stderr
    return out


def command(verb: str, metadata: Path, shards: Path, out: Path) -> list[str | Path]:
    return {
        "filter": ["filter", metadata, "-o", out],
        "download": [
            "download",
            metadata,
            "-o",
            out,
            "--allow-private-addresses",
            "--samples-per-shard",
            "500",
        ],
        "score": ["score", shards, "-o", out, "-c", "image_phash", "-c", "text_length"],
    }[verb]


SIZES = {"filter": "100k", "download": "3m", "score": "60k"}


@pytest.mark.parametrize("verb", ["filter", "download", "score"])
def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(
    verb, metadata, shards, tmp_path
):
    with mounted(tmp_path / "small", f"size={SIZES[verb]}") as disk:
        out = disk / "out"
        arguments = command(verb, metadata, shards, out)
        full = coyo(*arguments)
        assert full.returncode == 1, full.stdout + full.stderr
        assert "no space left" in full.stderr
        assert "Traceback" not in full.stderr
        assert len(full.stderr.strip().splitlines()) == 1, full.stderr
        assert not list(out.rglob("*.coyo-tmp"))
        remount(disk, "size=200m")
        again = coyo(*arguments)
        assert again.returncode == 0, again.stderr
        elsewhere = coyo(*command(verb, metadata, shards, tmp_path / "undisturbed"))
        assert elsewhere.returncode == 0
        ours = json.loads((out / "manifest.json").read_text())
        theirs = json.loads((tmp_path / "undisturbed" / "manifest.json").read_text())
        assert ours == theirs


@pytest.mark.parametrize("verb", ["filter", "download", "score"])
def test_a_read_only_folder_is_named(verb, metadata, shards, tmp_path):
    with mounted(tmp_path / "readonly", "ro,size=1m") as disk:
        done = coyo(*command(verb, metadata, shards, disk / "out"))
    assert done.returncode == 1
    assert "read-only" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
