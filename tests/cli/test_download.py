"""`coyo download`: what it prints, and how it ends when interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from coyo_tools.cli.download import command
from coyo_tools.words.failures import FAILURES
from tests.servers.pictures import PictureServer
from tests.tables import coyo_table, write_parts


@pytest.fixture(scope="module")
def server():
    with PictureServer() as running:
        yield running


def test_it_prints_outcomes_by_class(server, tmp_path):
    write_parts(tmp_path / "in", coyo_table(server.urls(30)), 1)
    arguments = [str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--allow-private-addresses"]
    done = CliRunner().invoke(command, [*arguments, "--processes", "1", "--image-size", "64"])
    assert done.exit_code == 0, done.output
    assert "http_404" in done.stdout
    assert FAILURES["http_404"].meaning in done.stdout
    assert done.stdout.rstrip().endswith(
        f"next: coyo score {tmp_path / 'out'} -o scores -c image_phash"
    )
    done = CliRunner().invoke(command, [*arguments, "--image-size", "64", "--json"])
    assert json.loads(done.stdout)["successes"] == 25


def test_it_counts_what_is_worth_fetching_again(server, tmp_path):
    nobody = "http://127.0.0.1:9/p.jpg"  # connections to it are refused
    write_parts(tmp_path / "in", coyo_table([*server.urls(10), f"{nobody}?1", f"{nobody}?2"]), 1)
    done = CliRunner().invoke(
        command,
        [str(tmp_path / "in"), "-o", str(tmp_path / "my out"), "--allow-private-addresses",
         "--processes", "1", "--retries", "0"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert done.stdout.rstrip().endswith(
        f"next: coyo score '{tmp_path / 'my out'}' -o scores -c image_phash   "
        "or the same download with --retry-failed, for 2 rows whose failure may have passed"
    )


def test_interrupted_it_says_130_at_once_and_leaves_no_worker(tmp_path):
    with PictureServer(delay_s=5.0) as slow:
        write_parts(tmp_path / "in", coyo_table(slow.urls(40)), 1)
        process = subprocess.Popen(
            [sys.executable, "-m", "coyo_tools", "download", str(tmp_path / "in"), "-o",
             str(tmp_path / "out"), "--allow-private-addresses", "--timeout", "30",
             "--samples-per-shard", "10", "--processes", "2"],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while not slow.hits and time.monotonic() < deadline:
            time.sleep(0.05)
        assert slow.hits
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        _, said = process.communicate(timeout=20)
        assert process.returncode == 130, said
        assert time.monotonic() - started < 10
        for child in children:
            with pytest.raises(ProcessLookupError):
                os.kill(int(child), 0)
    assert not list(tmp_path.glob("out/0*"))
