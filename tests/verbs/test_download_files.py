"""More connections than the shell's limit of open files, and more than the system's."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.pictures import PictureServer
from tests.tables import coyo_table, write_parts


def coyo_download(folder: Path, connections: int, limits: tuple[int, int], *more: str):
    """The command, with this soft and hard limit of open files."""
    return subprocess.run(
        [sys.executable, "-m", "coyo_tools", "download", str(folder / "in"), "-o",
         str(folder / "out"), "--allow-private-addresses", "--image-size", "64", "--json",
         "--processes", "1", "--connections", str(connections), "--per-host", "1000",
         "--retries", "0", *more],
        capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits),
    )  # fmt: skip


def test_the_limit_is_raised_for_the_connections_asked_for(tmp_path):
    with PictureServer(delay_s=0.4) as server:
        write_parts(tmp_path / "in", coyo_table(server.urls(400)), parts=1)
        done = coyo_download(tmp_path, 300, (60, 1000))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["by_error"].keys() == {"http_404", "not_an_image"}


@pytest.mark.parametrize("more", [(), ("--census", "5")])
def test_connections_that_the_system_does_not_allow_are_refused(tmp_path, more):
    write_parts(tmp_path / "in", coyo_table(["http://127.0.0.1:9/a"]), parts=1)
    done = coyo_download(tmp_path, 300, (150, 400), *more)
    assert done.returncode == 1
    assert done.stderr == (
        "coyo: --connections: 300 connections and 128 other files are more than the 400 files that "
        "a process may have open here; lower it, or raise `ulimit -Hn`\n"
    )
    assert not (tmp_path / "out").exists()
