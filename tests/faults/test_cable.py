"""Connections reset, and a server that is gone for ten seconds: afterwards ids, bytes and statuses
are an undisturbed run's."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.test_kill import download, fingerprint, finished_units
from tests.servers.pictures import PictureServer
from tests.servers.relay import Relay
from tests.tables import coyo_table, write_parts

pytestmark = pytest.mark.slow
GONE_S = 10.0
STUBBORN = ("--retries", "6")  # for a cable that is pulled ten times in two seconds


@pytest.fixture
def relay() -> Iterator[Relay]:
    with (
        PictureServer(delay_s=0.05) as server,
        Relay(int(server.base_url.rsplit(":", 1)[1])) as relay,
    ):
        yield relay


@pytest.fixture
def source(relay, tmp_path) -> Path:
    urls = [f"{relay.base_url}/p/{n}.jpg" for n in range(1_200)]
    return write_parts(tmp_path / "metadata", coyo_table(urls))


def undisturbed(source: Path, out: Path) -> dict[str, str]:
    subprocess.run(download(source, out), check=True, stdout=subprocess.DEVNULL, timeout=120)
    return fingerprint(out)


def started(command: list[str], out: Path, shards: int) -> subprocess.Popen:
    """The command, once it has finished so many shards."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while finished_units(out) < shards:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    return process


def ended(process: subprocess.Popen) -> None:
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said


def test_a_server_that_is_gone_for_ten_seconds_costs_nothing(relay, source, tmp_path):
    out = tmp_path / "out"
    process = started(download(source, out), out, shards=3)
    relay.pull()
    time.sleep(GONE_S)
    assert finished_units(out) < 12
    relay.mend()
    ended(process)
    assert fingerprint(out) == undisturbed(source, tmp_path / "undisturbed")


def test_what_a_gone_server_cost_is_fetched_by_retry_failed(relay, source, tmp_path):
    out = tmp_path / "out"
    process = started(download(source, out, "--retries", "0"), out, shards=3)
    relay.pull()
    ended(process)
    lost = json.loads((out / "manifest.json").read_text())["result"]["by_error"]
    relay.mend()
    assert lost["connect"] > 100
    again = download(source, out, "--retry-failed")
    subprocess.run(again, check=True, stdout=subprocess.DEVNULL, timeout=120)
    whole = undisturbed(source, tmp_path / "undisturbed")
    found = fingerprint(out)
    told = {name for name in whole if name.endswith(".json")}  # they count attempts
    assert {n: d for n, d in found.items() if n not in told} == {
        n: d for n, d in whole.items() if n not in told
    }


def test_connections_that_are_reset_cost_nothing(relay, source, tmp_path):
    out = tmp_path / "out"
    moments = random.Random(20261124)
    process = started(download(source, out, *STUBBORN), out, shards=1)
    resets = 0
    for _ in range(10):
        resets += relay.reset()
        time.sleep(moments.uniform(0.05, 0.3))
    ended(process)
    assert resets > 20
    assert fingerprint(out) == undisturbed(source, tmp_path / "undisturbed")
