"""As much of the Hugging Face hub's API as reading a dataset needs, over a local folder.

dataset info, tree (with pages), paths-info, resolve with a redirect to a "CDN" whose links expire.
What is asked of it is counted: `requests` by kind (info, tree, paths-info, resolve, cdn),
`bytes_sent` of file content; `faults` of each kind as of any `FileServer`.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from tests.servers.files import FileServer


class HubServer(FileServer):
    """Serves `folder` as dataset `name` at commit `sha`; every other name is answered 401.

    token: without it nothing is shown. prefix: path before everything, as some mirrors have one.
    gated: seen, but not read, without a token. page: entries of a page of the tree. link_serves:
    requests after which a link to the CDN has expired. delay_s: before every answer.
    """

    def __init__(
        self,
        folder: Path,
        name: str = "kakaobrain/coyo-700m",
        token: str | None = None,
        *,
        prefix: str = "",
        gated: bool = False,
        page: int = 1000,
        link_serves: int | None = None,
        delay_s: float = 0.0,
    ) -> None:
        super().__init__(folder, delay_s)
        self.name, self.token, self.prefix, self.gated = name, token, prefix, gated
        self.page, self.link_serves = page, link_serves
        self.sha = hashlib.sha1(name.encode()).hexdigest()
        self.broken_after: int | None = None  # file requests that are answered, before only 403
        self.tokens_at_cdn = 0
        self.branches: set[str] = set()  # further names of the same commit
        self._links: list[int] = []  # requests that each link has served

    @property
    def endpoint(self) -> str:
        """What HF_ENDPOINT should say."""
        return self.base_url + self.prefix

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._front])
        dataset = self.prefix + "/api/datasets/{owner}/{repo}"
        app.router.add_get(dataset, self._info)
        app.router.add_get(dataset + "/revision/{revision:.+}", self._info)
        app.router.add_get(dataset + "/tree/{revision}", self._tree)
        app.router.add_get(dataset + "/tree/{revision}/{path:.*}", self._tree)
        app.router.add_post(dataset + "/paths-info/{revision}", self._paths_info)
        app.router.add_get(
            self.prefix + "/datasets/{owner}/{repo}/resolve/{revision}/{path:.+}", self._resolve
        )
        app.router.add_get("/cdn/{path:.+}", self._cdn)
        return app

    @web.middleware
    async def _front(self, request: web.Request, handler):
        kind = handler.__name__.removeprefix("_").replace("_", "-")
        if kind == "cdn":
            self.tokens_at_cdn += "Authorization" in request.headers
            return await handler(request)
        self.requests[kind] += 1
        await asyncio.sleep(self.delay_s)
        if self.faults[kind]:
            return await self.faults[kind].pop(0)(request, {}, b"")
        shown = request.headers.get("Authorization") == f"Bearer {self.token}"
        if self.token and not shown:
            return _refusal(401, "Unauthorized")
        owner, repo = request.match_info.get("owner"), request.match_info.get("repo")
        if owner and f"{owner}/{repo}" != self.name:
            return _refusal(401, "RepoNotFound")
        revision = request.match_info.get("revision", "main")
        if revision not in ("main", self.sha, *self.branches):
            return _refusal(404, "RevisionNotFound")
        return await handler(request)

    async def _info(self, request: web.Request) -> web.Response:
        siblings = [{"rfilename": n} for n in self._names()]
        return web.json_response(
            {"id": self.name, "sha": self.sha, "private": False, "tags": [], "siblings": siblings}
        )

    def _names(self) -> list[str]:
        files = (p for p in self.folder.rglob("*") if p.is_file())
        return sorted(p.relative_to(self.folder).as_posix() for p in files)

    def _entry(self, name: str) -> dict:
        size = (self.folder / name).stat().st_size
        return {
            "type": "file",
            "path": name,
            "size": size,
            "oid": hashlib.sha1(name.encode()).hexdigest(),
            "lfs": {"oid": _oid(name), "size": size, "pointerSize": 135},
        }

    async def _tree(self, request: web.Request) -> web.Response:
        under = request.match_info.get("path", "").strip("/")
        inside = [n for n in self._names() if not under or n.startswith(under + "/")]
        if not inside:
            return _refusal(404, "EntryNotFound")
        if request.query.get("recursive") in ("true", "True", "1"):
            return self._paged(request, self._folders(inside) + [self._entry(n) for n in inside])
        depth = len(under) + 1 if under else 0
        here = [self._entry(n) for n in inside if "/" not in n[depth:]]
        folders = sorted({n[: depth + n[depth:].index("/")] for n in inside if "/" in n[depth:]})
        return web.json_response([_folder(f) for f in folders] + here)

    def _paged(self, request: web.Request, entries: list[dict]) -> web.Response:
        at = int(request.query.get("cursor", 0))
        answer = web.json_response(entries[at : at + self.page])
        if at + self.page < len(entries):
            following = request.url.update_query(cursor=at + self.page)
            answer.headers["Link"] = f'<{following}>; rel="next"'
        return answer

    def _folders(self, names: list[str]) -> list[dict]:
        parents = {p.as_posix() for n in names for p in Path(n).parents if p.as_posix() != "."}
        return [_folder(p) for p in sorted(parents)]

    async def _paths_info(self, request: web.Request) -> web.Response:
        form = await request.post() if "json" not in request.content_type else await request.json()
        paths = form.getall("paths") if hasattr(form, "getall") else form["paths"]
        names = self._names()
        found = [self._entry(p) for p in paths if p in names]
        found += [_folder(p) for p in paths if any(n.startswith(p + "/") for n in names)]
        return web.json_response(found)

    async def _resolve(self, request: web.Request) -> web.Response:
        if self.gated and "Authorization" not in request.headers:
            return _refusal(403, "GatedRepo")
        name = request.match_info["path"]
        if name not in self._names():
            return _refusal(404, "EntryNotFound")
        size = (self.folder / name).stat().st_size
        facts = {"X-Repo-Commit": self.sha, "ETag": '"small"'}
        if not name.endswith(".parquet"):  # not in LFS
            return web.Response(body=(self.folder / name).read_bytes(), headers=facts)
        self._links.append(0)
        signed = f"/cdn/{quote(name)}?link={len(self._links) - 1}&Signature=a%2Bb~c%3D"
        linked = {"X-Linked-Size": str(size), "X-Linked-Etag": f'"{_oid(name)}"'}
        raise web.HTTPFound(signed, headers={"X-Repo-Commit": self.sha, **linked})

    async def _cdn(self, request: web.Request) -> web.StreamResponse:
        link = int(request.query["link"])
        self._links[link] += 1
        expired = self.link_serves is not None and self._links[link] > self.link_serves
        broken = self.broken_after is not None and self.requests["cdn"] >= self.broken_after
        if expired or broken or "Signature=a%2Bb~c%3D" not in request.raw_path:
            self.requests["cdn"] += 1
            return web.Response(status=403, text="the link has expired")
        return await self.send(request, "cdn")


def _oid(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _folder(path: str) -> dict:
    return {
        "type": "directory",
        "path": path,
        "size": 0,
        "oid": hashlib.sha1(path.encode()).hexdigest(),
    }


def _refusal(status: int, code: str) -> web.Response:
    return web.Response(status=status, headers={"X-Error-Code": code, "X-Error-Message": code})
