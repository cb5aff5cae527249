"""`download` where slow hosts are the last of a shard: how long it waits, and for whom it does."""

from __future__ import annotations

import asyncio
import json
import time

import pyarrow.parquet as pq
import pytest
from aiohttp import web

from coyo_tools.verbs.download import download
from tests.servers.hosts import ManyHosts
from tests.servers.pictures import picture
from tests.tables import coyo_table, write_parts
from tests.verbs.test_download import settings

PICTURE = picture(1)
DEADLINE_S = 3.0
SLOW = [f"127.0.1.{n}" for n in range(1, 101)]
QUICK = [f"127.0.0.{n}" for n in range(2, 7)]


async def usual(_: web.Request) -> web.Response:
    return web.Response(body=PICTURE)


def after(seconds: float):
    """Answers so late."""

    async def late(request: web.Request) -> web.Response:
        await asyncio.sleep(seconds)
        return await usual(request)

    return late


async def drips(request: web.Request) -> web.StreamResponse:
    """Sends a byte now and then."""
    answer = web.StreamResponse(headers={"Content-Length": str(len(PICTURE))})
    await answer.prepare(request)
    for at in range(600):
        await answer.write(PICTURE[at : at + 1])
        await asyncio.sleep(0.1)
    return answer


def busy(seconds: float):
    """Wants to be left alone for so long, whenever it is asked."""

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": str(seconds)})

    return refuse


def made(tmp_path, urls: list[str], **changed):
    """What comes of these urls, in one shard."""
    write_parts(tmp_path / "in", coyo_table(urls), 1)
    chosen = settings(
        **{"connections": 128, "timeout_s": DEADLINE_S, "samples_per_shard": 1000, **changed}
    )
    return download(tmp_path / "in", tmp_path / "out", chosen), chosen


def held_up_s(tmp_path, server: ManyHosts) -> float:
    """For how long the shard went on after the last quick host was last asked."""
    stats = json.loads((tmp_path / "out" / "00000_stats.json").read_text())
    quick = max(max(server.times[host]) for host in QUICK) + time.time() - time.monotonic()
    return stats["end_time"] - quick


CASES = {
    "many rows of one, each of nearly a deadline": (after(0.8 * DEADLINE_S), SLOW[:1] * 20, {}),
    "many rows of one, over one connection": (after(0.5), SLOW[:1] * 60, {"per_host": 1}),
    "a hundred hosts": (after(0.6 * DEADLINE_S), SLOW * 4, {"per_host": 1}),
    "a byte now and then": (drips, SLOW[:3] * 4, {"retries": 4}),
    "silent, and many tries": (after(60), SLOW[:2], {"retries": 4}),
    "silent, and put aside": (after(60), SLOW[:2] * 30, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_slow_hosts_hold_their_shard_up_no_longer_than_the_deadline(tmp_path, case):
    behaviour, hosts, changed = CASES[case]
    with ManyHosts(usual, dict.fromkeys(SLOW, behaviour)) as server:
        urls = [server.url(host, n) for n, host in enumerate(hosts)]
        urls += [server.url(QUICK[n % 5], n) for n in range(100)]
        # Where nobody answers any more, it takes time to know that it is not the network.
        result, _ = made(tmp_path, urls, network_wait_s=0, **changed)
        assert held_up_s(tmp_path, server) < DEADLINE_S + 0.5
    assert result.successes >= 100
    assert set(result.by_error) <= {"timeout"}
    table = pq.read_table(tmp_path / "out" / "00000.parquet", columns=["key", "status"])
    assert table["status"].to_pylist()[len(hosts) :] == ["success"] * 100


def test_what_a_slow_host_did_not_come_to_is_for_another_run(tmp_path):
    """There it is no slow host, as there is no other; nothing is asked for in vain."""
    with ManyHosts(usual, {SLOW[0]: after(0.5)}) as server:
        urls = [server.url(SLOW[0], n) for n in range(30)]
        urls += [server.url(QUICK[n % 5], n) for n in range(100)]
        result, chosen = made(tmp_path, urls, per_host=1)
        assert 100 < result.successes < 115
        assert result.by_error == {"timeout": 130 - result.successes}
        table = pq.read_table(tmp_path / "out" / "00000.parquet")
        assert "much slower" in table.column("error_message").to_pylist()[29]
        cut_short = len(server.times[SLOW[0]]) - (result.successes - 100)
        assert cut_short <= 1
        again = download(tmp_path / "in", tmp_path / "out", chosen, retry_failed=True)
        assert again.successes == 130


@pytest.mark.parametrize("pause_s", [1, 2.5])
def test_slow_busy_and_dead_hosts_are_waited_for_together(tmp_path, pause_s):
    """Each for a deadline, and the shard for one and not for three: neither when the busy one is
    given up long after the quick ones."""
    answers = {SLOW[0]: after(1.0), SLOW[1]: after(60), SLOW[2]: busy(pause_s)}
    with ManyHosts(usual, answers) as server:
        urls = [server.url(SLOW[n % 3], n) for n in range(60)]
        urls += [server.url(QUICK[n % 5], n) for n in range(100)]
        result, _ = made(tmp_path, urls, per_host=2)
        assert held_up_s(tmp_path, server) < DEADLINE_S + 2
    assert result.by_error["http_429"] == 20
    assert result.successes + result.by_error["timeout"] == 140


def test_a_slow_mirror_is_read_to_its_end(tmp_path):
    """What takes long for most rows is no host's slowness, nor is it where another is faster."""
    with ManyHosts(usual, {SLOW[0]: after(0.5)}) as server:
        urls = [server.url(SLOW[0], n) for n in range(24)] + [server.url(QUICK[0], 1)] * 2
        result, _ = made(tmp_path, urls, per_host=2, timeout_s=2)
        assert result.successes == 26


@pytest.mark.parametrize(
    "beside", [[], ["ftp://a.example/1.jpg", "file:///etc/hostname", "http://"]]
)
def test_a_shard_of_slow_hosts_alone_is_read_to_its_end(tmp_path, beside):
    """Nobody is held up by them, however quick the hosts of other shards are; nor is a url for
    which nothing is sent of another host."""
    with ManyHosts(usual, {SLOW[0]: after(0.5)}) as server:
        urls = [server.url(QUICK[n % 5], n) for n in range(100)]
        urls += [*beside, *(server.url(SLOW[0], n) for n in range(20))]
        result, _ = made(tmp_path, urls, per_host=2, timeout_s=2, samples_per_shard=100)
        assert result.by_error == ({"bad_url": len(beside)} if beside else {})
        assert result.successes == 120


def test_a_quick_host_of_many_rows_is_read_to_its_end(tmp_path):
    """It takes long by its limits, and not by its answers."""
    with ManyHosts(usual) as server:
        urls = [server.url(QUICK[n % 5], n) for n in range(50)]
        urls += [server.url(SLOW[0], n) for n in range(60)]
        result, _ = made(tmp_path, urls, per_host_rate=20, timeout_s=0.5)
        assert result.successes == 110
