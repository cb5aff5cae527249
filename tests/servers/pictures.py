"""Many small pictures, some of them gone, with an answer that is the same every time."""

from __future__ import annotations

import asyncio
import io
from collections import Counter

import numpy as np
from aiohttp import web
from PIL import Image

from tests.servers.base import ThreadedServer


def picture(number: int, size: tuple[int, int] = (160, 120)) -> bytes:
    """A JPEG with blobs whose places follow from `number`."""
    rng = np.random.default_rng(number)
    small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


class PictureServer(ThreadedServer):
    """`/p/N.jpg`: every tenth N is 404, every 25th is an HTML page; the rest are pictures.

    delay_s: how long each answer takes, so that a run can be caught in the middle.
    """

    def __init__(self, distinct: int = 50, delay_s: float = 0.0) -> None:
        self._pictures = [picture(n) for n in range(distinct)]
        self.delay_s = delay_s
        self.hits: Counter[str] = Counter()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/p/{number:\\d+}.jpg", self._serve_picture)
        return app

    async def _serve_picture(self, request: web.Request) -> web.Response:
        self.hits[request.path] += 1
        number = int(request.match_info["number"])
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if number % 10 == 9:
            return web.Response(status=404)
        if number % 25 == 3:
            return web.Response(text="<html>moved</html>", content_type="text/html")
        return web.Response(
            body=self._pictures[number % len(self._pictures)], content_type="image/jpeg"
        )

    def urls(self, count: int) -> list[str]:
        """Distinct urls of this server."""
        return [f"{self.base_url}/p/{n}.jpg" for n in range(count)]
