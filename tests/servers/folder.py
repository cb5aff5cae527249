"""A folder of this machine served as plain files: listings, HEAD, byte ranges."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from tests.servers.base import ThreadedServer


class FolderServer(ThreadedServer):
    """Serves every file below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_static("/", self.folder, show_index=True)
        return app
