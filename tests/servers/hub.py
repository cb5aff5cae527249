"""As much of the Hugging Face hub's API as reading a dataset needs, over a local folder.

dataset info, tree (with pages), paths-info, resolve with ranges and a redirect to a "CDN".
What is asked of it is counted: `requests` by kind, `bytes_sent` of file content.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from aiohttp import web

from tests.servers.base import ThreadedServer


class HubServer(ThreadedServer):
    """Serves `folder` as dataset `name` at commit `sha`; every other name is answered 401."""

    def __init__(self, folder: Path, name: str = "kakaobrain/coyo-700m", token: str | None = None):
        self.folder, self.name, self.token = folder, name, token
        self.sha = hashlib.sha1(name.encode()).hexdigest()
        self.requests: Counter[str] = Counter()
        self.bytes_sent = 0
        self.fail_next: list[web.Response] = []
        self.broken_after: int | None = None  # file requests that are answered, before only 403

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._front])
        dataset = "/api/datasets/{owner}/{repo}"
        app.router.add_get(dataset, self._info)
        app.router.add_get(dataset + "/revision/{revision:.+}", self._info)
        app.router.add_get(dataset + "/tree/{revision}", self._tree)
        app.router.add_get(dataset + "/tree/{revision}/{path:.*}", self._tree)
        app.router.add_post(dataset + "/paths-info/{revision}", self._paths_info)
        app.router.add_get("/datasets/{owner}/{repo}/resolve/{revision}/{path:.+}", self._resolve)
        app.router.add_get("/cdn/{path:.+}", self._cdn)
        return app

    @web.middleware
    async def _front(self, request: web.Request, handler):
        if self.fail_next:
            return self.fail_next.pop(0)
        shown = request.headers.get("Authorization") == f"Bearer {self.token}"
        if self.token and not shown and not request.path.startswith("/cdn/"):
            return _refusal(401, "Unauthorized")
        owner, repo = request.match_info.get("owner"), request.match_info.get("repo")
        if owner and f"{owner}/{repo}" != self.name:
            return _refusal(401, "RepoNotFound")
        revision = request.match_info.get("revision", "main")
        if revision not in ("main", self.sha):
            return _refusal(404, "RevisionNotFound")
        return await handler(request)

    async def _info(self, request: web.Request) -> web.Response:
        self.requests["info"] += 1
        siblings = [{"rfilename": n} for n in self._names()]
        return web.json_response(
            {"id": self.name, "sha": self.sha, "private": False, "tags": [], "siblings": siblings}
        )

    def _names(self) -> list[str]:
        files = (p for p in self.folder.rglob("*") if p.is_file())
        return sorted(p.relative_to(self.folder).as_posix() for p in files)

    def _entry(self, name: str) -> dict:
        size = (self.folder / name).stat().st_size
        oid = hashlib.sha1(name.encode()).hexdigest()
        return {
            "type": "file",
            "path": name,
            "size": size,
            "oid": oid,
            "lfs": {"oid": oid + "0" * 24, "size": size, "pointerSize": 135},
        }

    async def _tree(self, request: web.Request) -> web.Response:
        self.requests["tree"] += 1
        under = request.match_info.get("path", "").strip("/")
        inside = [n for n in self._names() if not under or n.startswith(under + "/")]
        if not inside:
            return _refusal(404, "EntryNotFound")
        if request.query.get("recursive") in ("true", "True", "1"):
            return web.json_response(self._folders(inside) + [self._entry(n) for n in inside])
        depth = len(under) + 1 if under else 0
        here = [self._entry(n) for n in inside if "/" not in n[depth:]]
        folders = sorted({n[: depth + n[depth:].index("/")] for n in inside if "/" in n[depth:]})
        return web.json_response([_folder(f) for f in folders] + here)

    def _folders(self, names: list[str]) -> list[dict]:
        parents = {p.as_posix() for n in names for p in Path(n).parents if p.as_posix() != "."}
        return [_folder(p) for p in sorted(parents)]

    async def _paths_info(self, request: web.Request) -> web.Response:
        self.requests["paths-info"] += 1
        form = await request.post() if "json" not in request.content_type else await request.json()
        paths = form.getall("paths") if hasattr(form, "getall") else form["paths"]
        names = self._names()
        found = [self._entry(p) for p in paths if p in names]
        found += [_folder(p) for p in paths if any(n.startswith(p + "/") for n in names)]
        return web.json_response(found)

    async def _resolve(self, request: web.Request) -> web.Response:
        self.requests["resolve"] += 1
        name = request.match_info["path"]
        if name not in self._names():
            return _refusal(404, "EntryNotFound")
        raise web.HTTPFound(f"/cdn/{name}", headers={"X-Repo-Commit": self.sha})

    async def _cdn(self, request: web.Request) -> web.Response:
        self.requests["cdn"] += 1
        if self.broken_after is not None and self.requests["cdn"] > self.broken_after:
            return web.Response(status=403, text="the link has expired")
        data = (self.folder / request.match_info["path"]).read_bytes()
        start, end = 0, len(data)
        if "Range" in request.headers:
            asked = request.http_range
            start = asked.start or 0
            end = min(len(data), asked.stop) if asked.stop is not None else len(data)
        self.bytes_sent += end - start if request.method == "GET" else 0
        headers = {"ETag": '"x"', "Accept-Ranges": "bytes"}
        if end - start < len(data):
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
            return web.Response(status=206, body=data[start:end], headers=headers)
        return web.Response(body=data, headers=headers)


def _folder(path: str) -> dict:
    return {
        "type": "directory",
        "path": path,
        "size": 0,
        "oid": hashlib.sha1(path.encode()).hexdigest(),
    }


def _refusal(status: int, code: str) -> web.Response:
    return web.Response(status=status, headers={"X-Error-Code": code, "X-Error-Message": code})
