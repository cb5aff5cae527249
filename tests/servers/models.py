"""As much of the hub's API as fetching the files of models needs, over a local folder."""

from __future__ import annotations

import hashlib

from aiohttp import web

from tests.servers.files import FileServer


class ModelHub(FileServer):
    """Serves OWNER/NAME/FILE of the folder as files of models, the large ones with their sha256."""

    LARGE = (".safetensors", ".bin")

    def app(self) -> web.Application:
        app = super().app()
        app.router.add_post("/api/models/{owner}/{repo}/paths-info/{revision}", self._paths_info)
        app.router.add_get("/{owner}/{repo}/resolve/{revision}/{name}", self._resolved)
        return app

    async def _paths_info(self, request: web.Request) -> web.Response:
        (name,) = (await request.json())["paths"]
        said = request.match_info
        if not (self.folder / said["owner"] / said["repo"]).is_dir():
            return web.Response(status=401)
        path = self.folder / said["owner"] / said["repo"] / name
        if not path.is_file():
            return web.json_response([])
        entry = {"type": "file", "path": name, "size": path.stat().st_size}
        if path.suffix in self.LARGE:
            oid = hashlib.sha256(path.read_bytes()).hexdigest()
            entry["lfs"] = {"oid": oid, "size": entry["size"]}
        return web.json_response([entry])

    async def _resolved(self, request: web.Request) -> web.StreamResponse:
        said = request.match_info
        said["path"] = f"{said['owner']}/{said['repo']}/{said['name']}"
        return await self.send(request, "file")
