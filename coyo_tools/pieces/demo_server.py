"""A web server on this machine for `coyo demo` and the tests: real pictures and real misbehaviour.

    picture            the picture, with its content type
    not_found, gone, forbidden, server_error    404, 410, 403, 500 with an HTML page
    redirect           302 to a picture
    redirect_loop      302 to itself and back, without end
    html               200 and an HTML page in place of the picture
    truncated          Content-Length of the whole picture, half of it sent, then closed
    empty              200 and no bytes
    placeholder        200 and the "Image not found" picture
    slow               the picture after slow_s seconds
    noai               the picture with X-Robots-Tag: noai
    svg                200 and an SVG drawing
    too_many_requests  429 with Retry-After: 1 on the first request, then the picture
    wrong_type         a PNG that is declared as image/jpeg

Paths are looked up in a table: nothing that a client sends reaches the file system. Anything else
is a 404, but for /robots.txt, which allows everything.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import unquote

from coyo_tools.pieces.demo_data import PLACEHOLDER_FILE, Answer, demo_rows, picture_bytes

if TYPE_CHECKING:
    from aiohttp import web

START_TIMEOUT_S: Final = 10.0
STATUSES: Final[dict[Answer, int]] = {
    "not_found": 404,
    "gone": 410,
    "forbidden": 403,
    "server_error": 500,
    "html": 200,
}
CONTENT_TYPES: Final = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
}
SVG: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="300" height="300">'
    '<circle cx="150" cy="150" r="120" fill="#a4c639" stroke="#558b2f" stroke-width="12"/></svg>'
)
HTML: Final = "<!doctype html><title>{0}</title><h1>{0}</h1><p>There is no picture here.</p>"


@dataclass(frozen=True)
class Page:
    """What is served at one path. body: the picture's bytes, empty where there is none. home: the
    path of that picture, where a redirect leads."""

    answer: Answer
    content_type: str
    body: bytes
    home: str


def demo_pages() -> dict[str, Page]:
    """Every page of the site by its percent-decoded path and query."""
    rows = demo_rows()
    homes = {row.file: row.path for row in rows if row.answer == "picture" and row.file}
    pages: dict[str, Page] = {}
    for row in rows:
        file = PLACEHOLDER_FILE if row.answer == "placeholder" else row.file
        body = picture_bytes(file) if file else b""
        content_type = CONTENT_TYPES[file.rpartition(".")[2]] if file else "image/jpeg"
        home = homes.get(row.file, row.path) if row.file else row.path
        pages[unquote(row.path)] = Page(row.answer, content_type, body, home)
    return pages


class DemoServer:
    """Serves the demo's site from its own thread while the `with` block runs.

    port: 0 picks a free one. slow_s: how long a slow answer takes, seconds. hits: how often each
    percent-decoded path (with its query) was asked for; only ever added to. Raises OSError on
    entering when the port is taken.
    """

    def __init__(self, port: int = 0, *, slow_s: float = 2.0) -> None:
        self.hits: Counter[str] = Counter()
        self.slow_s = slow_s
        self._port = port
        self._pages = demo_pages()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    @property
    def base_url(self) -> str:
        """Where the site is, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        ready: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        self._port = ready.result(START_TIMEOUT_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._loop is not None
        assert self._stop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self, ready: Future[int]) -> None:
        try:
            asyncio.run(self._serve(ready))
        except OSError as error:
            if ready.done():
                raise
            ready.set_exception(error)

    async def _serve(self, ready: Future[int]) -> None:
        from aiohttp import web

        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self._port).start()
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            ready.set_result(runner.addresses[0][1])
            await self._stop.wait()
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = unquote(request.raw_path)
        self.hits[path] += 1
        page = self._pages.get(path)
        if page is None:
            return _unlisted(path, self._pages)
        if page.answer == "slow":
            await asyncio.sleep(self.slow_s)
        if page.answer == "truncated":
            return await _truncated(request, page)
        if page.answer == "too_many_requests" and self.hits[path] == 1:
            return _page_of_text(429, "Too many requests", {"Retry-After": "1"})
        return _whole(page)


def _whole(page: Page) -> web.Response:
    """The answer to a path that needs neither patience nor memory."""
    from aiohttp import web

    if page.answer in STATUSES:
        return _page_of_text(STATUSES[page.answer], page.answer.replace("_", " "))
    if page.answer == "redirect":
        return web.Response(status=302, headers={"Location": page.home})
    if page.answer == "redirect_loop":
        return web.Response(status=302, headers={"Location": page.home + "?again=1"})
    if page.answer == "svg":
        return web.Response(text=SVG, content_type="image/svg+xml")
    content_type = "image/jpeg" if page.answer == "wrong_type" else page.content_type
    headers = {"X-Robots-Tag": "noai"} if page.answer == "noai" else {}
    return web.Response(body=page.body, content_type=content_type, headers=headers)


def _unlisted(path: str, pages: dict[str, Page]) -> web.Response:
    """robots.txt, the way back of the redirect loop, or a 404."""
    from aiohttp import web

    origin = path.removesuffix("?again=1")
    if origin in pages and pages[origin].answer == "redirect_loop":
        return web.Response(status=302, headers={"Location": pages[origin].home})
    if path == "/robots.txt":
        return web.Response(text="User-agent: *\nDisallow:\n")
    return _page_of_text(404, "not found")


async def _truncated(request: web.Request, page: Page) -> web.StreamResponse:
    """Promises the whole picture, sends half of it and closes the connection."""
    from aiohttp import web

    response = web.StreamResponse(headers={"Content-Type": page.content_type})
    response.content_length = len(page.body)
    await response.prepare(request)
    await response.write(page.body[: len(page.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


def _page_of_text(status: int, title: str, headers: dict[str, str] | None = None) -> web.Response:
    from aiohttp import web

    body = HTML.format(title.capitalize())
    return web.Response(status=status, text=body, content_type="text/html", headers=headers)
