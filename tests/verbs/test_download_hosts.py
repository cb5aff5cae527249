"""`download` from many hosts: what each is asked, and what a bad one costs the others."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq
import pytest
from aiohttp import web

from coyo_tools.pieces.host_limits import ERRORS, FIRST_CONNECTIONS, LAST_TRIES, STRIKES
from coyo_tools.stages import turns
from coyo_tools.verbs.download import download
from tests.servers.hosts import ManyHosts
from tests.servers.pictures import PictureServer, picture
from tests.servers.raw import RawServer, resets, sends
from tests.servers.relay import Relay
from tests.tables import coyo_table, write_parts
from tests.verbs.test_download import answer, data_files, settings

PICTURE = picture(1)


async def usual(_: web.Request) -> web.Response:
    return web.Response(body=PICTURE)


def errors_of(folder) -> list[str | None]:
    parts = sorted(folder.glob("*.parquet"))
    return [error for part in parts for error in pq.read_table(part).column("error").to_pylist()]


@pytest.fixture
def no_backoff(monkeypatch):
    monkeypatch.setattr(turns, "BACKOFF_S", 0.05)


@pytest.mark.parametrize("processes", [1, 2])
def test_no_host_gets_more_connections_or_requests_than_its_allowance(tmp_path, processes):
    async def slowly(request: web.Request) -> web.Response:
        await asyncio.sleep(0.05)
        return await usual(request)

    with ManyHosts(slowly) as server:
        urls = [server.url(f"127.0.0.{2 + n % 3}", n) for n in range(120)]
        write_parts(tmp_path / "in", coyo_table(urls), 1)
        chosen = settings(
            processes=processes, connections=32, per_host=4, per_host_rate=20, samples_per_shard=30
        )
        result = download(tmp_path / "in", tmp_path / "out", chosen)
        assert result.successes == 120
        assert len(server.times) == 3
        assert max(server.most.values()) <= 4
        for times in server.times.values():
            for first, last in itertools.combinations(range(len(times)), 2):
                # A little is allowed for requests that were held up on their way.
                assert last - first + 1 <= 20 * (times[last] - times[first] + 0.25) + 20 + 1


def test_a_slow_host_keeps_nobody_else_waiting(tmp_path):
    """The slow one's rows come first and would fill every connection."""

    async def very_slowly(request: web.Request) -> web.Response:
        await asyncio.sleep(0.5)
        return await usual(request)

    with ManyHosts(usual, {"127.0.0.9": very_slowly}) as server:
        urls = [server.url("127.0.0.9", n) for n in range(24)]
        urls += [server.url(f"127.0.0.{2 + n % 5}", n) for n in range(100)]
        write_parts(tmp_path / "in", coyo_table(urls), 1)
        chosen = settings(connections=16, per_host=8, samples_per_shard=200)
        assert download(tmp_path / "in", tmp_path / "out", chosen).successes == 124
        slow = sorted(server.times.pop("127.0.0.9"))
        assert max(map(max, server.times.values())) < slow[8]  # done before its second wave


def test_a_host_that_says_429_is_left_alone_as_long_as_it_asks(tmp_path):
    told = []

    async def busy(request: web.Request) -> web.Response:
        if not told or (len(told) < 8 and time.monotonic() < told[0] + 1.0):
            told.append(time.monotonic())
            return web.Response(status=429, headers={"Retry-After": "1"})
        return await usual(request)

    with ManyHosts(usual, {"127.0.0.9": busy}) as server:
        urls = [server.url(f"127.0.0.{(9, 2)[n % 2]}", n) for n in range(40)]
        write_parts(tmp_path / "in", coyo_table(urls), 1)
        chosen = settings(connections=16, samples_per_shard=100, timeout_s=3)
        result = download(tmp_path / "in", tmp_path / "out", chosen)
        assert result.successes == 40
        after = [t for t in server.times["127.0.0.9"] if t > max(told)]
        assert min(after) - min(told) >= 0.99
        assert len(server.times["127.0.0.9"]) == 20 + len(told)


def test_a_host_that_asks_for_an_hour_is_not_asked_again(tmp_path):
    async def busy(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "3600"})

    with ManyHosts(usual, {"127.0.0.9": busy}) as server:
        urls = [server.url(f"127.0.0.{(9, 2)[n % 2]}", n) for n in range(200)]
        write_parts(tmp_path / "in", coyo_table(urls), 1)
        chosen = settings(connections=16, samples_per_shard=50, timeout_s=3)
        started = time.monotonic()
        result = download(tmp_path / "in", tmp_path / "out", chosen)
        assert time.monotonic() - started < 30
        assert result.by_error == {"http_429": 100}
        assert errors_of(tmp_path / "out") == ["http_429", None] * 100
        assert len(server.times["127.0.0.9"]) <= FIRST_CONNECTIONS


def test_a_host_that_asks_to_wait_holds_its_shard_up_no_longer_than_the_deadline(tmp_path):
    async def busy(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "8"})

    with ManyHosts(busy) as server:
        urls = [server.url(f"127.0.0.{2 + n % 2}", n) for n in range(4)]
        write_parts(tmp_path / "in", coyo_table(urls), 1)
        started = time.monotonic()
        result = download(tmp_path / "in", tmp_path / "out", settings(timeout_s=2))
        assert time.monotonic() - started < 8
        assert result.by_error == {"http_429": 4}
        assert sum(map(len, server.times.values())) == 4


def test_a_host_that_answers_between_its_pauses_is_waited_for_as_long_as_it_earns(tmp_path):
    """Seven pauses of a second, in which a shard of nothing else would wait for two."""
    seen: Counter[str] = Counter()
    until = [0.0]

    async def now_and_then(request: web.Request) -> web.Response:
        seen["all"] += time.monotonic() > until[0]
        if seen["all"] % 30 == 0 or time.monotonic() < until[0]:
            until[0] = max(until[0], time.monotonic() + 0.5)
            return web.Response(status=503, headers={"Retry-After": "1"})
        return await usual(request)

    with ManyHosts(now_and_then) as server:
        write_parts(
            tmp_path / "in", coyo_table([server.url("127.0.0.2", n) for n in range(200)]), 1
        )
        chosen = settings(timeout_s=2, connections=4, samples_per_shard=100)
        assert download(tmp_path / "in", tmp_path / "out", chosen).successes == 200


def silent_socket() -> socket.socket:
    """Takes connections and says nothing."""
    return socket.create_server(("127.0.0.8", 0), backlog=1024)


@pytest.mark.usefixtures("no_backoff")
def test_a_dead_host_with_a_thousand_rows_costs_no_more_than_its_allowance(tmp_path):
    with ManyHosts(usual) as server, silent_socket() as silent:
        dead = f"http://127.0.0.8:{silent.getsockname()[1]}"
        urls = [f"{dead}/{n}" if n % 2 else server.url("127.0.0.2", n) for n in range(2000)]
        write_parts(tmp_path / "in", coyo_table(urls), 1)
        chosen = settings(connections=16, samples_per_shard=1000, timeout_s=1.0, image_size=16)
        started = time.monotonic()
        result = download(tmp_path / "in", tmp_path / "out", chosen)
        took = time.monotonic() - started
        assert result.by_error == {"timeout": 1000}
        assert errors_of(tmp_path / "out") == [None, "timeout"] * 1000
        # Asked one by one, 8 at once and twice, it would have been 250 s.
        assert took < 60
        asked = 0
        silent.settimeout(0.2)
        while True:
            try:
                silent.accept()[0].close()
            except TimeoutError:
                break
            asked += 1
        assert asked <= max(STRIKES, FIRST_CONNECTIONS) + 2 * LAST_TRIES


class NoTls(RawServer):
    """Speaks no TLS; counts its connections."""

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hits["connections"] += 1
        hello = await reader.read(1 << 16)
        if hello.startswith(b"GET"):
            writer.write(answer(PICTURE))
        else:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()


@pytest.mark.parametrize("plain", [(), (40, 50)])
def test_a_host_without_sound_tls_is_put_aside_and_still_asked_by_plain_http(tmp_path, plain):
    with NoTls({}) as server:
        secure = server.base_url.replace("http", "https")
        urls = [f"{server.base_url if n in plain else secure}/{n}" for n in range(60)]
        write_parts(tmp_path / "in", coyo_table(urls), 1)
        chosen = settings(connections=4, samples_per_shard=100)
        result = download(tmp_path / "in", tmp_path / "out", chosen)
        assert result.by_error == {"tls": 60 - len(plain)}
        assert errors_of(tmp_path / "out") == [None if n in plain else "tls" for n in range(60)]
        if not plain:
            assert server.hits["connections"] <= STRIKES + LAST_TRIES


@pytest.mark.usefixtures("no_backoff")
def test_a_host_of_nothing_but_server_errors_is_not_asked_for_every_row(tmp_path):
    async def broken(_: web.Request) -> web.Response:
        return web.Response(status=500)

    with ManyHosts(usual, {"127.0.0.9": broken}) as server:
        urls = [server.url(f"127.0.0.{(9, 2)[n % 2]}", n) for n in range(200)]
        write_parts(tmp_path / "in", coyo_table(urls), 1)
        result = download(tmp_path / "in", tmp_path / "out", settings(samples_per_shard=200))
        assert result.by_error == {"http_5xx": 100}
        asked = len(server.times["127.0.0.9"])
        assert asked <= ERRORS + FIRST_CONNECTIONS + 2 * LAST_TRIES


@pytest.mark.usefixtures("no_backoff")
def test_a_dead_host_gives_the_same_bytes_on_any_number_of_workers(tmp_path):
    with socket.socket() as unused, ManyHosts(usual) as server:
        unused.bind(("127.0.0.8", 0))
        dead = f"http://127.0.0.8:{unused.getsockname()[1]}"
        urls = [f"{dead}/{n}" if n % 2 else server.url("127.0.0.2", n) for n in range(160)]
        write_parts(tmp_path / "in", coyo_table(urls), 1)
        for processes in (1, 2):
            chosen = settings(processes=processes, samples_per_shard=40)
            result = download(tmp_path / "in", tmp_path / f"out{processes}", chosen)
            assert result.by_error == {"connect": 80}
    assert data_files(tmp_path / "out1") == data_files(tmp_path / "out2")


@pytest.mark.usefixtures("no_backoff")
def test_a_host_that_comes_back_gets_all_its_rows(tmp_path):
    """It is put aside, and well again when its last tries come."""
    seen: Counter[str] = Counter()

    async def wakes_up(request: web.Request) -> web.Response:
        seen["all"] += 1
        if seen["all"] <= STRIKES:
            await asyncio.sleep(5)
        return await usual(request)

    async def slowly(request: web.Request) -> web.Response:
        await asyncio.sleep(0.3)
        return await usual(request)

    with ManyHosts(slowly, {"127.0.0.9": wakes_up}) as server:
        urls = [server.url(f"127.0.0.{(9, 2)[n % 2]}", n) for n in range(80)]
        urls += urls[:7]  # these follow the rows before them
        write_parts(tmp_path / "in", coyo_table(urls), 1)
        chosen = settings(connections=32, samples_per_shard=100, timeout_s=1.0, retries=1)
        result = download(tmp_path / "in", tmp_path / "out", chosen)
    assert result.successes == 87, result.by_error


@pytest.mark.parametrize("connections", [2, 8])
def test_a_host_that_was_there_is_waited_for_when_it_is_gone(tmp_path, connections):
    """With fewer rows under way than put a host aside, and with more."""
    with (
        PictureServer(delay_s=0.3) as server,
        Relay(int(server.base_url.rsplit(":", 1)[1])) as relay,
        ThreadPoolExecutor(1) as beside,
    ):
        urls = [f"{relay.base_url}/p/{10 * n}.jpg" for n in range(2 * connections)]
        write_parts(tmp_path / "in", coyo_table(urls), 1)
        chosen = settings(connections=connections, samples_per_shard=100)
        running = beside.submit(download, tmp_path / "in", tmp_path / "out", chosen)
        while sum(server.hits.values()) <= connections:
            time.sleep(0.01)  # the second half is under way
        relay.pull()
        time.sleep(4)
        relay.mend()
        assert running.result().by_error == {}


def test_a_row_that_finds_nobody_while_its_host_answers_others_is_not_asked_for_again(tmp_path):
    async def at_leisure(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        await sends(answer(PICTURE))(reader, writer)

    routes = {f"/{n}": at_leisure for n in range(60)} | {"/0": resets(b"")}
    with RawServer(routes) as server:
        urls = [f"{server.base_url}/{n}" for n in range(60)]
        write_parts(tmp_path / "in", coyo_table(urls), 1)
        chosen = settings(connections=4, per_host=4, samples_per_shard=100)
        assert download(tmp_path / "in", tmp_path / "out", chosen).by_error == {"connect": 1}
        assert server.hits["/0"] <= 4  # two tries, each of which aiohttp may make twice
