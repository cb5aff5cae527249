"""kill -9 at random moments, then the same command: the result is an undisturbed run's.

Five moments a verb, seeded: a number of finished units, and up to 20 ms more. The parent is
killed, as the system's out-of-memory killer would; its workers have to end by themselves. For
`download` twenty more, of which some are of workers.
"""

from __future__ import annotations

import contextlib
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


def download(source: Path, out: Path, *more: str) -> list[str]:
    """In twelve shards, by two processes."""
    options = {"samples-per-shard": 100, "processes": 2, "connections": 8, "image-size": 64}
    given = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return coyo("download", str(source), "-o", str(out), "--allow-private-addresses", *given, *more)


def test_download(tmp_path):
    with PictureServer(delay_s=0.02) as server:
        source = write_parts(tmp_path / "metadata", coyo_table(server.urls(1_200)))
        five_kills(lambda out: download(source, out), tmp_path)


def test_download_that_looks_for_placeholders(tmp_path):
    """Every picture of the server is that of 24 urls, none with the hash that was published."""
    with PictureServer(delay_s=0.02) as server:
        source = write_parts(tmp_path / "metadata", coyo_table(server.urls(1_200)))
        five_kills(lambda out: download(source, out, "--verify-phash"), tmp_path)
    found = json.loads((tmp_path / "killed-0/manifest.json").read_text())["result"]
    assert found["placeholders"]["rows"] == found["successes"]


KILLS_IN_ALL, KILLS_EACH = 20, 5  # of all folders, of one folder at most


def workers(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill_again_and_again(command: list[str], out: Path, moments: random.Random) -> dict[str, int]:
    """Kill parents and workers; a run that goes on without its worker is hit again."""
    killed = {"parent": 0, "worker": 0}
    process = None
    for after_units in sorted(moments.sample(range(11), KILLS_EACH)):
        while finished_units(out) < after_units or process is None or process.poll() is not None:
            if process is None or process.poll() is not None:
                if out.exists() and is_complete(out):
                    return killed
                process = subprocess.Popen(
                    command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
            while not (out / "manifest.json").exists() or not workers(process.pid):
                time.sleep(0.001)
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.1))
        with contextlib.suppress(OSError, IndexError):
            if moments.random() < 0.5:
                os.kill(process.pid, signal.SIGKILL)
                process.wait(10)
                killed["parent"] += 1
            else:
                os.kill(moments.choice(workers(process.pid)), signal.SIGKILL)
                killed["worker"] += 1
    process.kill()
    process.wait(10)
    return killed


def test_download_with_parents_and_workers_killed_twenty_times(tmp_path):
    moments = random.Random(20261123)
    killed = {"parent": 0, "worker": 0}
    with PictureServer(delay_s=0.02) as server:
        source = write_parts(tmp_path / "metadata", coyo_table(server.urls(1_200)))
        whole = tmp_path / "undisturbed"
        subprocess.run(download(source, whole), stdout=subprocess.DEVNULL, check=True, timeout=120)
        while sum(killed.values()) < KILLS_IN_ALL:
            out = tmp_path / f"killed-{sum(killed.values())}"
            for who, count in kill_again_and_again(download(source, out), out, moments).items():
                killed[who] += count
            done = subprocess.run(download(source, out), capture_output=True, timeout=120)
            assert done.returncode == 0, done.stderr
            assert fingerprint(out) == fingerprint(whole)
    assert min(killed.values()) >= 4, killed


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
