from __future__ import annotations

import asyncio
import io
import socket
import time
from collections.abc import AsyncIterator, Iterator
from importlib.resources import files

import aiohttp
import pytest
from PIL import Image
from yarl import URL

from coyo_tools.pieces.demo_data import PLACEHOLDER_FILE, DemoRow, demo_rows, picture_bytes
from coyo_tools.pieces.demo_server import DemoServer

MAGIC = {"image/jpeg": b"\xff\xd8", "image/png": b"\x89PNG", "image/gif": b"GIF8"}


@pytest.fixture(scope="module")
def server() -> Iterator[DemoServer]:
    with DemoServer(slow_s=0.3) as running:
        yield running


@pytest.fixture
async def client(server: DemoServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def rows_of(answer: str) -> list[DemoRow]:
    rows = [row for row in demo_rows() if row.answer == answer]
    assert rows
    return rows


async def test_every_picture_is_served_as_it_is(
    server: DemoServer, client: aiohttp.ClientSession
) -> None:
    for row in rows_of("picture"):
        async with client.get(server.base_url + row.path) as response:
            assert response.status == 200
            body = await response.read()
        assert row.file
        assert body == picture_bytes(row.file)
        assert body.startswith(MAGIC.get(response.content_type, b"RIFF"))


async def test_connections_are_kept(server: DemoServer) -> None:
    opened = 0

    async def count(*_: object) -> None:
        nonlocal opened
        opened += 1

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(count)
    async with aiohttp.ClientSession(trace_configs=[trace]) as session:
        for row in rows_of("picture")[:5]:
            async with session.get(server.base_url + row.path) as response:
                await response.read()
    assert opened == 1


@pytest.mark.parametrize(
    ("answer", "status"),
    [("not_found", 404), ("gone", 410), ("forbidden", 403), ("server_error", 500), ("html", 200)],
)
async def test_no_picture_but_a_page(
    server: DemoServer, client: aiohttp.ClientSession, answer: str, status: int
) -> None:
    for row in rows_of(answer):
        async with client.get(server.base_url + row.path) as response:
            assert (response.status, response.content_type) == (status, "text/html")
            assert b"no picture" in await response.read()


async def test_redirect_leads_to_its_picture(
    server: DemoServer, client: aiohttp.ClientSession
) -> None:
    [row] = rows_of("redirect")
    async with client.get(server.base_url + row.path) as response:
        assert row.file
        assert [step.status for step in response.history] == [302]
        assert await response.read() == picture_bytes(row.file)


async def test_redirect_loop_does_not_end(
    server: DemoServer, client: aiohttp.ClientSession
) -> None:
    [row] = rows_of("redirect_loop")
    with pytest.raises(aiohttp.TooManyRedirects):
        await client.get(server.base_url + row.path)
    assert server.hits[row.path] >= 2


async def test_truncated_breaks_off_half_way(
    server: DemoServer, client: aiohttp.ClientSession
) -> None:
    [row] = rows_of("truncated")
    assert row.file
    async with client.get(server.base_url + row.path) as response:
        assert response.content_length == len(picture_bytes(row.file))
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_empty_has_no_bytes(server: DemoServer, client: aiohttp.ClientSession) -> None:
    [row] = rows_of("empty")
    async with client.get(server.base_url + row.path) as response:
        assert (response.status, await response.read()) == (200, b"")


async def test_placeholder_comes_with_status_200(
    server: DemoServer, client: aiohttp.ClientSession
) -> None:
    for row in rows_of("placeholder"):
        async with client.get(server.base_url + row.path) as response:
            assert (response.status, response.content_type) == (200, "image/png")
            assert await response.read() == picture_bytes(PLACEHOLDER_FILE)


async def test_slow_takes_its_time(server: DemoServer, client: aiohttp.ClientSession) -> None:
    [row] = rows_of("slow")
    start = time.monotonic()
    async with client.get(server.base_url + row.path) as response:
        assert row.file
        assert await response.read() == picture_bytes(row.file)
    assert time.monotonic() - start >= 0.3


async def test_slow_outlasts_an_impatient_client(
    server: DemoServer, client: aiohttp.ClientSession
) -> None:
    [row] = rows_of("slow")
    with pytest.raises(asyncio.TimeoutError):
        await client.get(server.base_url + row.path, timeout=aiohttp.ClientTimeout(0.05))


async def test_noai_says_so_in_a_header(server: DemoServer, client: aiohttp.ClientSession) -> None:
    [row] = rows_of("noai")
    async with client.get(server.base_url + row.path) as response:
        assert response.headers["X-Robots-Tag"] == "noai"
        Image.open(io.BytesIO(await response.read())).verify()


async def test_svg_is_no_raster_picture(server: DemoServer, client: aiohttp.ClientSession) -> None:
    [row] = rows_of("svg")
    async with client.get(server.base_url + row.path) as response:
        assert response.content_type == "image/svg+xml"
        assert (await response.read()).startswith(b"<svg")


async def test_too_many_requests_succeeds_on_the_second_try() -> None:
    [row] = rows_of("too_many_requests")
    with DemoServer() as fresh:
        async with aiohttp.ClientSession() as session:
            async with session.get(fresh.base_url + row.path) as response:
                assert (response.status, response.headers["Retry-After"]) == (429, "1")
            async with session.get(fresh.base_url + row.path) as response:
                assert row.file
                assert await response.read() == picture_bytes(row.file)


async def test_wrong_type_is_a_png_called_jpeg(
    server: DemoServer, client: aiohttp.ClientSession
) -> None:
    [row] = rows_of("wrong_type")
    async with client.get(server.base_url + row.path) as response:
        assert response.content_type == "image/jpeg"
        assert (await response.read()).startswith(MAGIC["image/png"])


async def test_no_path_reaches_the_file_system(
    server: DemoServer, client: aiohttp.ClientSession
) -> None:
    here = str(files("coyo_tools") / "data" / "demo" / "pictures.json")
    for path in (
        "/../pictures.json",
        "/%2e%2e/%2e%2e/pictures.json",
        here,
        "/raccoon.jpg",
        "//etc",
    ):
        async with client.get(URL(server.base_url + path, encoded=True)) as response:
            assert response.status == 404, path


async def test_robots_txt_allows_everything(
    server: DemoServer, client: aiohttp.ClientSession
) -> None:
    async with client.get(server.base_url + "/robots.txt") as response:
        assert await response.text() == "User-agent: *\nDisallow:\n"


async def test_hits_count_each_path_with_its_query(client: aiohttp.ClientSession) -> None:
    path = rows_of("picture")[0].path
    with DemoServer() as fresh:
        for _ in range(2):
            async with client.get(fresh.base_url + path):
                pass
        async with client.get(fresh.base_url + "/nowhere?x=1"):
            pass
    assert fresh.hits == {path: 2, "/nowhere?x=1": 1}


def test_a_taken_port_is_an_oserror(server: DemoServer) -> None:
    port = int(server.base_url.rpartition(":")[2])
    with pytest.raises(OSError, match="address already in use"), DemoServer(port):
        pass


def test_leaving_frees_the_port() -> None:
    with DemoServer() as fresh:
        port = int(fresh.base_url.rpartition(":")[2])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
