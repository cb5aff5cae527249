"""kill -9 at random moments, then the same command: the result is an undisturbed run's.

Five moments a verb, seeded: a number of finished units, and up to 20 ms more. The parent alone
is killed, as the system's out-of-memory killer would; its workers have to end by themselves.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.pictures import PictureServer
from tests.tables import coyo_table, write_parts

pytestmark = pytest.mark.slow
KILLS = 5


def coyo(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "coyo_tools", *arguments]


def fingerprint(folder: Path) -> dict[str, str]:
    """SHA-256 of every file but the log of runs; times are taken out of `*_stats.json`."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "runs.jsonl"):
        data = path.read_bytes()
        if path.name.endswith("_stats.json"):
            stats = json.loads(data)
            for key in ("start_time", "end_time", "duration"):
                stats.pop(key)
            data = json.dumps(stats).encode()
        found[path.relative_to(folder).as_posix()] = hashlib.sha256(data).hexdigest()
    return found


def finished_units(out: Path) -> int:
    """Parts or shards that are there."""
    return len(list(out.glob("*.parquet")))


def is_complete(out: Path) -> bool:
    return json.loads((out / "manifest.json").read_text())["complete"]


def kill_once(command: list[str], out: Path, after_units: int, then_s: float) -> bool:
    """Kill the parent `then_s` seconds after so many units; True where it had not finished yet."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (out / "manifest.json").exists() or finished_units(out) < after_units:
        assert process.poll() is None, "it ended before the moment"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(then_s)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    return not is_complete(out)


def five_kills(command: Callable[[Path], list[str]], folder: Path) -> None:
    whole = folder / "undisturbed"
    subprocess.run(command(whole), stdout=subprocess.DEVNULL, check=True, timeout=120)
    expected, units = fingerprint(whole), finished_units(whole)
    moments = random.Random(20261122)
    caught = 0
    for number, after_units in enumerate(moments.sample(range(units * 3 // 4), KILLS)):
        out = folder / f"killed-{number}"
        caught += kill_once(command(out), out, after_units, moments.uniform(0, 0.02))
        subprocess.run(command(out), stdout=subprocess.DEVNULL, check=True, timeout=120)
        assert is_complete(out)
        assert fingerprint(out) == expected
    assert caught >= 3, f"only {caught} of {KILLS} kills came before the end"


def test_filter(tmp_path):
    urls = [f"https://example.org/{n}.jpg" for n in range(20_000)]
    source = tmp_path / "metadata"
    for part in range(60):
        table = coyo_table(urls, seed=part, first_id=2**41 + part * 2**33)
        write_parts(source / f"{part:02}", table, parts=1, row_group_rows=5_000)
    five_kills(
        lambda out: coyo("filter", str(source), "-o", str(out), "--min-clip-l14", "0.25"), tmp_path
    )


def test_download(tmp_path):
    with PictureServer(delay_s=0.02) as server:
        source = write_parts(tmp_path / "metadata", coyo_table(server.urls(1_200)))
        five_kills(
            lambda out: coyo(
                "download",
                str(source),
                "-o",
                str(out),
                "--allow-private-addresses",
                "--samples-per-shard",
                "100",
                "--processes",
                "2",
                "--connections",
                "8",
                "--image-size",
                "64",
            ),
            tmp_path,
        )


def test_score(tmp_path):
    with PictureServer() as server:
        source = write_parts(tmp_path / "metadata", coyo_table(server.urls(1_500)))
        shards = tmp_path / "shards"
        subprocess.run(
            coyo(
                "download",
                str(source),
                "-o",
                str(shards),
                "--allow-private-addresses",
                "--samples-per-shard",
                "100",
            ),
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=120,
        )
    five_kills(
        lambda out: coyo(
            "score",
            str(shards),
            "-o",
            str(out),
            "-c",
            "image_phash",
            "-c",
            "num_tokens_gpt",
        ),
        tmp_path,
    )
