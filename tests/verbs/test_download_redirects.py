"""`download` where redirects lead to other hosts: each is asked as if its own urls named it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter

import pyarrow.parquet as pq
import pytest
from aiohttp import web

from coyo_tools.pieces.fetch import Fetched, Fetcher, Moved, Refused
from coyo_tools.pieces.host_limits import Host
from coyo_tools.stages import hearing, turns
from coyo_tools.verbs.download import download
from tests.servers.hosts import ManyHosts
from tests.servers.pictures import picture
from tests.tables import coyo_table, write_parts
from tests.verbs.test_download import settings

PICTURE = picture(1)
STORE = "127.0.0.9"  # where the others keep their pictures


async def usual(_: web.Request) -> web.Response:
    return web.Response(body=PICTURE)


async def elsewhere(request: web.Request) -> web.Response:
    """The same path, of the store."""
    target = request.url.with_host(STORE)
    return web.Response(status=302, headers={"Location": str(target)})


def errors_of(folder) -> Counter[str | None]:
    parts = sorted(folder.glob("*.parquet"))
    return Counter(e for part in parts for e in pq.read_table(part).column("error").to_pylist())


@pytest.mark.parametrize("processes", [1, 2])
def test_the_host_behind_redirects_gets_no_more_than_its_allowance(tmp_path, processes):
    with ManyHosts(elsewhere, {STORE: usual}) as server:
        urls = [server.url(f"127.0.0.{2 + n % 5}", n) for n in range(100)]
        write_parts(tmp_path / "in", coyo_table(urls), 1)
        chosen = settings(processes=processes, connections=32, per_host=4, per_host_rate=40)
        result = download(tmp_path / "in", tmp_path / "out", chosen)
        assert result.successes == 100
        times = sorted(server.times[STORE])
    assert len(times) == 100
    for first, last in itertools.combinations(range(len(times)), 2):
        assert last - first + 1 <= 40 * (times[last] - times[first] + 0.25) + 40 + 1
    assert times[-1] - times[0] >= 1  # 100 at 40 a second, of which 40 may come at once


def test_a_host_behind_redirects_that_says_429_is_left_alone_and_the_first_is_not(tmp_path):
    told: list[float] = []

    async def busy(request: web.Request) -> web.Response:
        if not told:
            told.append(time.monotonic())
            return web.Response(status=429, headers={"Retry-After": "2"})
        return await usual(request)

    async def half(request: web.Request) -> web.Response:
        return await (elsewhere if int(request.path[1:]) % 2 else usual)(request)

    with ManyHosts(half, {STORE: busy}) as server:
        urls = [server.url("127.0.0.2", n) for n in range(60)]
        write_parts(tmp_path / "in", coyo_table(urls), 1)
        chosen = settings(processes=1, connections=4, per_host=2, per_host_rate=0, retries=2)
        result = download(tmp_path / "in", tmp_path / "out", chosen)
        assert result.successes == 60
        asked = sorted(server.times[STORE])
        first = sorted(server.times["127.0.0.2"])
    late = [t for t in asked if told[0] + 0.3 < t < told[0] + 2]
    assert not late
    assert max(first) < told[0] + 2  # its own pictures did not wait


def test_a_host_behind_redirects_that_is_gone_takes_only_its_rows_along(tmp_path, monkeypatch):
    monkeypatch.setattr(turns, "BACKOFF_S", 0.05)

    async def half(request: web.Request) -> web.Response:
        if int(request.path[1:]) % 2:
            return web.Response(
                status=302, headers={"Location": f"http://127.0.0.8:1{request.path}"}
            )
        return await usual(request)

    with ManyHosts(half) as server:
        urls = [server.url("127.0.0.2", n) for n in range(60)]
        write_parts(tmp_path / "in", coyo_table(urls), 1)
        chosen = settings(processes=1, connections=8, per_host=8, retries=1)
        download(tmp_path / "in", tmp_path / "out", chosen)
    assert errors_of(tmp_path / "out") == {None: 30, "connect": 30}


async def test_a_redirect_within_a_host_is_followed_at_once_and_one_away_from_it_is_told():
    async def answers(request: web.Request) -> web.Response:
        if request.path == "/away":
            return await elsewhere(request)
        if request.path == "/here":
            return web.Response(status=301, headers={"Location": "/there"})
        return await usual(request)

    with ManyHosts(answers) as server:
        async with Fetcher(settings()) as fetcher:
            assert await fetcher.fetch_here(server.url("127.0.0.2", "here")) == Fetched(PICTURE)
            moved = await fetcher.fetch_here(server.url("127.0.0.2", "away"))
            assert isinstance(moved, Moved)
            assert (moved.url, moved.hops) == (server.url(STORE, "away"), 1)
            assert 0 < moved.spent_s < 1
            assert len(server.times) == 1  # the other one was not asked


async def test_the_deadline_is_one_for_all_hosts_of_a_url():
    async def slowly(request: web.Request) -> web.Response:
        await asyncio.sleep(0.6)
        return await (elsewhere if request.url.host != STORE else usual)(request)

    with ManyHosts(slowly) as server:
        async with Fetcher(settings(timeout_s=1)) as fetcher:
            answer = await fetcher.fetch(server.url("127.0.0.2", 1))
    assert isinstance(answer, Refused)
    assert answer.failure.error == "timeout"


async def test_a_host_that_was_asked_too_late_to_answer_is_not_blamed():
    """The first host takes most of the deadline; the store behind it has no strike for the rest."""

    async def slowly(request: web.Request) -> web.Response:
        await asyncio.sleep(0.7)
        return await (elsewhere if request.url.host != STORE else usual)(request)

    with ManyHosts(slowly) as server:
        async with Fetcher(settings(timeout_s=1)) as fetcher:
            late = await fetcher.fetch(server.url("127.0.0.2", 1))
        async with Fetcher(settings(timeout_s=0.3)) as fetcher:
            silent = await fetcher.fetch(server.url(STORE, 1))
    assert isinstance(late, Refused)
    assert isinstance(silent, Refused)
    strikes = []
    for answer in (late, silent):
        host = Host(connections=8, rate=0.0)
        for _ in range(20):
            host.ask(0.0)
            host.hear(0.0, hearing.heard(answer), 1.0)
        assert host.busy == 0
        strikes.append((host.strikes > 0, host.aside is not None))
    assert strikes == [(False, False), (True, True)]
