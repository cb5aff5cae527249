"""The hub's write side over a local folder: repositories, LFS uploads, commits.

What `huggingface_hub` needs with HF_HUB_DISABLE_XET=1, and what `datasets` then needs to read it
back. Files with the endings of `LFS` go the LFS way, as on the hub; every commit changes `sha`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

from aiohttp import web

from tests.servers.hub import HubServer, _refusal

LFS = (".parquet", ".png")
REFUSAL = {"X-Error-Message": "as you wish", "Retry-After": "7"}
WRITES = {"create", "branch", "preupload", "batch", "put", "commit"}


class WritableHub(HubServer):
    """A hub that begins without any dataset; the token `token` may write.

    events: what was asked of it to write, in order. refuse: the status with which a kind of
    request ("info", "create", "batch", "put", "commit") is answered, and after how many good ones.
    """

    def __init__(self, folder: Path, token: str = "writer"):
        super().__init__(folder, name="")
        self.writer, self.private = token, False
        self.events: list[str] = []
        self.refuse: dict[str, tuple[int, int]] = {}
        self.objects: dict[str, bytes] = {}
        self.commits: list[dict] = []
        self.asked: dict = {}  # of the dataset that was made

    def app(self) -> web.Application:
        app = super().app()
        app.middlewares.append(self._may_write)
        dataset = "/api/datasets/{owner}/{repo}"
        app.router.add_post("/api/repos/create", self._create)
        app.router.add_post("/api/validate-yaml", self._validate)
        app.router.add_post(dataset + "/preupload/{revision}", self._preupload)
        app.router.add_post(dataset + "/commit/{revision}", self._commit)
        app.router.add_post("/datasets/{owner}/{repo}.git/info/lfs/objects/batch", self._batch)
        app.router.add_post(dataset + "/branch/{branch}", self._branch)
        app.router.add_put("/lfs/{oid}", self._put)
        return app

    @web.middleware
    async def _may_write(self, request: web.Request, handler):
        kind = handler.__name__.removeprefix("_")
        status, good = self.refuse.get(kind, (0, 0))
        if status and good <= 0:
            return web.Response(status=status, headers=REFUSAL)
        if status:
            self.refuse[kind] = (status, good - 1)
        shown = request.headers.get("Authorization") == f"Bearer {self.writer}"
        if kind in WRITES - {"put"} and not shown:
            return _refusal(401, "Unauthorized")
        if kind in WRITES:
            self.events.append(kind)
        return await handler(request)

    async def _create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        name = f"{asked['organization']}/{asked['name']}"
        if name == self.name:
            return web.json_response({"url": name}, status=409)
        self.name = name
        self.asked = asked
        self.private = asked.get("visibility") == "private" or asked.get("private", False)
        (self.folder / ".gitattributes").write_text("*.parquet filter=lfs\n")
        return web.json_response({"url": f"{self.base_url}/datasets/{name}", "name": name})

    async def _branch(self, request: web.Request) -> web.Response:
        """Another name for main: this hub keeps one state of the files."""
        self.branches.add(request.match_info["branch"])
        return web.json_response({})

    async def _info(self, request: web.Request) -> web.Response:
        answer = json.loads((await super()._info(request)).body)
        return web.json_response(answer | {"private": self.private})

    async def _validate(self, request: web.Request) -> web.Response:
        asked = await request.json()
        assert asked["content"].startswith("---\n")
        return web.json_response({"errors": [], "warnings": []})

    def _entry(self, name: str) -> dict:
        data = (self.folder / name).read_bytes()
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        entry = {"type": "file", "path": name, "size": len(data), "oid": blob}
        if name.endswith(LFS):
            oid = hashlib.sha256(data).hexdigest()
            entry["lfs"] = {"oid": oid, "size": len(data), "pointerSize": 135}
        return entry

    async def _preupload(self, request: web.Request) -> web.Response:
        names = self._names()
        files = []
        for file in (await request.json())["files"]:
            kind = "lfs" if file["path"].endswith(LFS) else "regular"
            known = self._entry(file["path"]) if file["path"] in names else {}
            oid = known.get("lfs", known).get("oid")
            files.append(
                {"path": file["path"], "uploadMode": kind, "shouldIgnore": False, "oid": oid}
            )
        return web.json_response({"files": files})

    async def _batch(self, request: web.Request) -> web.Response:
        objects = []
        for wanted in (await request.json())["objects"]:
            oid = wanted["oid"]
            answer = {"oid": oid, "size": wanted["size"]}
            if oid not in self.objects:
                answer["actions"] = {"upload": {"href": f"{self.base_url}/lfs/{oid}"}}
            objects.append(answer)
        return web.json_response({"transfer": "basic", "objects": objects})

    async def _put(self, request: web.Request) -> web.Response:
        data = await request.read()
        assert hashlib.sha256(data).hexdigest() == request.match_info["oid"]
        self.objects[request.match_info["oid"]] = data
        return web.Response()

    async def _commit(self, request: web.Request) -> web.Response:
        lines = [json.loads(line) for line in (await request.text()).splitlines()]
        head = lines[0]["value"]
        if head.get("parentCommit", self.sha) != self.sha:
            return web.Response(status=412, headers={"X-Error-Message": "A commit has happened"})
        changes = [(line["key"], line["value"]) for line in lines[1:]]
        for kind, value in changes:
            path = self.folder / value["path"]
            if kind == "deletedFile":
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            lfs = kind == "lfsFile"
            path.write_bytes(
                self.objects[value["oid"]] if lfs else base64.b64decode(value["content"])
            )
        self.sha = hashlib.sha1(f"{self.sha}{len(self.commits)}".encode()).hexdigest()
        self.commits.append(
            {
                "summary": head["summary"],
                "revision": request.match_info["revision"],
                "added": [v["path"] for k, v in changes if k != "deletedFile"],
                "deleted": [v["path"] for k, v in changes if k == "deletedFile"],
            }
        )
        url = f"{self.base_url}/datasets/{self.name}/commit/{self.sha}"
        return web.json_response({"commitUrl": url, "commitOid": self.sha})

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        """The file itself, for `datasets` looks for the commit and the digest in the answer."""
        name = request.match_info["path"]
        if name not in self._names():
            return _refusal(404, "EntryNotFound")
        entry = self._entry(name)
        return web.FileResponse(
            self.folder / name,
            headers={
                "X-Repo-Commit": self.sha,
                "ETag": f'"{entry.get("lfs", entry)["oid"]}"',
                "X-Linked-Size": str(entry["size"]),
            },
        )
