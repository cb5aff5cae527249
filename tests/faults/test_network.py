"""The network of the machine goes away: afterwards ids, bytes and statuses are an undisturbed
run's. And hosts that are merely dead, all of them, are not taken for that."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.faults.test_kill import coyo, fingerprint, finished_units
from tests.servers.network import Network, is_possible
from tests.tables import coyo_table, write_parts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_possible(), reason="needs network namespaces (unshare -rn)"),
]
ROWS, A_HOST, A_SHARD = 600, 12, 60  # each shard has five hosts that no other has


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network() as running:
        yield running


@pytest.fixture(autouse=True)
def mended(network) -> Iterator[None]:
    yield
    network.mend()


@pytest.fixture(scope="module")
def source(network, tmp_path_factory) -> Path:
    urls = [network.url(f"h{n // A_HOST}.example", n) for n in range(ROWS)]
    return write_parts(tmp_path_factory.mktemp("metadata"), coyo_table(urls))


def download(network: Network, source: Path, out: Path, *more: str) -> list[str]:
    options = {"samples-per-shard": A_SHARD, "processes": 2, "connections": 4, "image-size": 64,
               "timeout": 2, "per-host-rate": 0, "name-server": network.name_server,
               "progress": "json"}  # fmt: skip
    given = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    called = ("download", str(source), "-o", str(out), "--allow-private-addresses")
    return network.inside(*coyo(*called, *given, *more))


@pytest.fixture(scope="module")
def undisturbed(network, source, tmp_path_factory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    done = subprocess.run(
        download(network, source, out), check=True, capture_output=True, text=True, timeout=120
    )
    assert news(done.stderr) == []
    return fingerprint(out)


def begun(command: list[str], out: Path, shards: int = 0) -> subprocess.Popen[str]:
    """The command, once it has finished so many shards."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while finished_units(out) < shards:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    return process


def news(stderr: str) -> list[str]:
    """The sentences told of the network."""
    lines = [json.loads(line) for line in stderr.splitlines() if line.startswith("{")]
    return [line["news"] for line in lines if line["news"]]


def ended(process: subprocess.Popen[str]) -> list[str]:
    said = process.communicate(timeout=180)
    assert process.returncode == 0, said
    return news(said[1])


def until_told(process: subprocess.Popen[str]) -> None:
    """Wait until the process says that the network is gone."""
    assert process.stderr is not None
    for line in process.stderr:
        if news(line):
            return
    raise AssertionError("it ended")


@pytest.mark.parametrize("how", ["silence", "cut"])
@pytest.mark.parametrize("shards", [0, 3])
def test_an_outage_costs_nothing_and_is_told_once(
    network, source, undisturbed, tmp_path, how, shards
):
    out = tmp_path / "out"
    if not shards:
        getattr(network, how)()
    process = begun(download(network, source, out), out, shards)
    if shards:
        getattr(network, how)()
    time.sleep(10)
    assert finished_units(out) < shards + 3
    network.mend()
    gone, back = ended(process)
    assert gone.startswith("the network is gone")
    assert back.startswith("the network is back after ")
    assert fingerprint(out) == undisturbed


@pytest.mark.parametrize("seconds", [1.5, 3.0])
def test_a_short_outage_costs_nothing_noticed_or_not(
    network, source, undisturbed, tmp_path, seconds
):
    out = tmp_path / "out"
    process = begun(download(network, source, out), out, shards=2)
    network.cut()
    time.sleep(seconds)
    network.mend()
    ended(process)
    assert fingerprint(out) == undisturbed


def test_an_outage_that_lasts_too_long_ends_the_run_which_can_go_on_later(
    network, source, undisturbed, tmp_path
):
    out = tmp_path / "out"
    process = begun(download(network, source, out, "--network-wait", "3"), out, shards=2)
    network.silence()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    last = stderr.splitlines()[-1]
    assert "the network has been gone for 3 s" in last
    assert "run the same command again" in last
    assert finished_units(out) < ROWS / A_SHARD
    network.mend()
    assert ended(begun(download(network, source, out), out)) == []
    assert fingerprint(out) == undisturbed


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_run_can_be_ended_while_it_waits(network, source, undisturbed, tmp_path, sent):
    out = tmp_path / "out"
    process = begun(download(network, source, out), out, shards=2)
    network.cut()
    until_told(process)
    process.send_signal(sent)
    process.communicate(timeout=5)
    assert process.returncode == (130 if sent == signal.SIGINT else -sent)
    network.mend()
    ended(begun(download(network, source, out), out))
    assert fingerprint(out) == undisturbed


def test_without_waiting_rows_fail_as_if_their_hosts_were_gone(network, source, tmp_path):
    out = tmp_path / "out"
    network.cut()
    assert ended(begun(download(network, source, out, "--network-wait", "0"), out)) == []
    assert set(errors_of(out)) == {"dns"}


def errors_of(out: Path) -> list[str | None]:
    tables = [pq.read_table(part) for part in sorted(out.glob("*.parquet"))]
    return [error for table in tables for error in table.column("error").to_pylist()]


def dead(network: Network) -> dict[str, tuple[str, str]]:
    """Kinds of dead hosts: an example with a place for a number, and the class it fails with."""
    port = network.port
    return {
        "lost": (f"http://dead{{}}.example:{port}/1", "timeout"),
        "failing": (f"http://failing{{}}.example:{port}/1", "dns"),
        "unknown": (f"http://unknown{{}}.example:{port}/1", "no_such_host"),
        "refusing": ("http://h{}.example:9/1", "connect"),
        "IPv6 only": (f"http://[2001:db8::{{}}]:{port}/1", "connect"),
        "no way to": (f"http://10.8.0.{{}}:{port}/1", "connect"),
    }


def check(network: Network, urls: list[str], expected: list[str | None], folder: Path) -> None:
    """A run over these hosts says nothing of the network, and fails as expected."""
    source = write_parts(folder / "in", coyo_table(urls), 1)
    command = download(network, source, folder / "out", "--connections", "16")
    assert ended(begun(command, folder / "out")) == []
    assert errors_of(folder / "out") == expected


@pytest.mark.parametrize("rows", [3, 24])
@pytest.mark.parametrize(
    "kind", ["lost", "failing", "unknown", "refusing", "IPv6 only", "no way to"]
)
def test_hosts_that_are_all_dead_are_no_outage(network, tmp_path, kind, rows):
    url, error = dead(network)[kind]
    check(network, [url.format(n) for n in range(1, rows + 1)], [error] * rows, tmp_path)


def test_dead_hosts_of_all_kinds_at_the_end_are_no_outage(network, tmp_path):
    urls = [network.url(f"h{n % 5}.example", n + 1) for n in range(9)]
    expected: list[str | None] = [None] * 9
    for url, error in dead(network).values():
        urls += [url.format(n) for n in range(1, 11)]
        expected += [error] * 10
    check(network, urls, expected, tmp_path)


def test_a_mirror_that_is_gone_is_no_outage(network, tmp_path):
    """Named by its address, in a network without name servers, as the only one or beside others."""
    urls = [network.url("10.9.0.1", n) for n in range(1, 5)]
    urls += [f"http://10.7.0.{n}:{network.port}/1" for n in range(1, 9)]
    check(network, urls, [None] * 4 + ["timeout"] * 8, tmp_path)
