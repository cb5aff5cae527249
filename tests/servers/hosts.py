"""Many hosts on one machine: a server on several addresses 127.0.0.x that notes when each is
asked, and how many requests are under way."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable

from aiohttp import web

from tests.servers.base import ThreadedServer, end

Answer = Callable[[web.Request], Awaitable[web.Response]]


class ManyHosts(ThreadedServer):
    """answers: by address, what it does; others give `usual`.

    times: when each address was asked; most: the largest number under way at once.
    """

    def __init__(self, usual: Answer, answers: dict[str, Answer] | None = None) -> None:
        self.usual, self.answers = usual, answers or {}
        self.times: defaultdict[str, list[float]] = defaultdict(list)
        self.under_way: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        host = request.url.host
        self.times[host].append(time.monotonic())
        self.under_way[host] += 1
        self.most[host] = max(self.most[host], self.under_way[host])
        try:
            return await self.answers.get(host, self.usual)(request)
        finally:
            self.under_way[host] -= 1

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        listening = socket.create_server(("0.0.0.0", 0))
        await web.SockSite(runner, listening).start()
        self.port = listening.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}"
        self._ready.set()
        await self._stop.wait()
        await end(runner)

    def url(self, host: str, path: object) -> str:
        """The url of a path on an address."""
        return f"http://{host}:{self.port}/{path}"
