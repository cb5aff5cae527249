"""A web server of the files in a folder, with byte ranges; it misbehaves on demand.

`faults[kind]` is a list: the next requests of that kind are answered by its items, in order, and
by the truth where that is None or the list is empty. What is asked is counted: `requests` by kind,
`bytes_sent`. A folder is answered by a page of links, kind "listing".
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from tests.servers.base import ThreadedServer

# Given the request and the answer's headers and body as they should be.
Fault = Callable[[web.Request, dict[str, str], bytes], Awaitable[web.StreamResponse]]


def refuses(status: int, **headers: str) -> Fault:
    """Another status. headers: with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def fault(*_: object) -> web.StreamResponse:
        return web.Response(status=status, headers=named, text="no")

    return fault


def breaks(after: int, *, reset: bool = False, silent_s: float = 0.0) -> Fault:
    """So many bytes of the body, then silence for a while, then the connection ends."""

    async def fault(request: web.Request, headers: dict[str, str], body: bytes):
        answer = web.StreamResponse(status=206, headers=headers)
        answer.content_length = len(body) or 1000
        await answer.prepare(request)
        await answer.write(body[:after])
        await asyncio.sleep(silent_s)
        if request.transport is None:  # the client was not as patient
            return answer
        if reset:
            sock = request.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.close()
        return answer

    return fault


def tags(value: str) -> Fault:
    """The right bytes under another ETag."""

    async def fault(_: web.Request, headers: dict[str, str], body: bytes) -> web.StreamResponse:
        return web.Response(status=206, headers={**headers, "ETag": value}, body=body)

    return fault


class FileServer(ThreadedServer):
    """Serves `folder` under /files/."""

    def __init__(self, folder: Path, delay_s: float = 0.0) -> None:
        self.folder, self.delay_s = folder, delay_s
        self.requests: Counter[str] = Counter()
        self.bytes_sent = 0
        self.faults: defaultdict[str, list[Fault | None]] = defaultdict(list)
        self.asked: list[tuple[str, int, int]] = []  # path, start, end of file requests

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/files/{path:.+}", self._file)
        return app

    async def _file(self, request: web.Request) -> web.StreamResponse:
        path = self.folder / request.match_info["path"]
        if path.is_dir():
            return await self._listing(request, path)
        return await self.send(request, "file")

    async def _listing(self, request: web.Request, folder: Path) -> web.StreamResponse:
        """A page of links, as nginx and Apache make them."""
        self.requests["listing"] += 1
        if self.faults["listing"] and (fault := self.faults["listing"].pop(0)) is not None:
            return await fault(request, {"Content-Type": "text/html"}, b"")
        if not request.path.endswith("/"):
            raise web.HTTPMovedPermanently(f"{request.path}/")
        return web.Response(text=_page_of(folder), content_type="text/html")

    async def send(self, request: web.Request, kind: str) -> web.StreamResponse:
        """The file or its range, or what the next fault makes of it."""
        self.requests[kind] += 1
        await asyncio.sleep(self.delay_s)
        name = request.match_info["path"]
        path = self.folder / name
        if not path.is_file():
            return web.Response(status=404)
        size = path.stat().st_size
        start, end = 0, size
        if "Range" in request.headers:
            asked = request.http_range
            start = asked.start or 0
            end = min(size, asked.stop) if asked.stop is not None else size
        if start >= size:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{size}"})
        with path.open("rb") as file:
            file.seek(start)
            body = file.read(end - start)
        headers = {"ETag": '"x"', "Accept-Ranges": "bytes"}
        if "Range" in request.headers:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self.asked.append((name, start, end))
        if self.faults[kind] and (fault := self.faults[kind].pop(0)) is not None:
            return await fault(request, headers, body)
        self.bytes_sent += len(body)
        status = 206 if "Range" in request.headers else 200
        return web.Response(status=status, headers=headers, body=body)


def _page_of(folder: Path) -> str:
    names = [quote(p.name) + "/" * p.is_dir() for p in sorted(folder.iterdir())]
    links = [f'<a href="{href}">x</a>' for href in ("?C=N;O=D", "../", "/", *names, *names)]
    return "\n".join(["<!DOCTYPE html>", *links])
