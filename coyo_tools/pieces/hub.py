"""The Hugging Face hub, or a mirror of it: revisions pinned, refusals told in a sentence.

Three of its calls are needed (info, tree, resolve); they go through `machinery.web` like every
other request, so that they are counted, tried again and bounded alike. HF_ENDPOINT (with a path,
where a mirror has one), HF_TOKEN or the token that `hf auth login` keeps, and HF_HUB_OFFLINE are
honoured as `huggingface_hub` does.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urljoin

from coyo_tools.machinery import web
from coyo_tools.machinery.ranges import is_web
from coyo_tools.machinery.traffic import Traffic
from coyo_tools.machinery.web import Place
from coyo_tools.words.errors import CoyoError, SettingsError, SourceError, SourceNotFound

SCHEME = "hf://"
DATASETS = "hf://datasets/"
_ELSEWHERE = "try later, or set HF_ENDPOINT to a mirror, or name a local folder"


@dataclass(frozen=True)
class _Address:
    """`hf://datasets/OWNER/NAME[@REVISION][/PATH]`, taken apart. A revision's `/` is not quoted."""

    dataset: str
    revision: str
    path: str

    @classmethod
    def of(cls, url: str) -> _Address:
        if not url.startswith(DATASETS) or url.count("/") < 4:
            raise SourceError(
                "is no dataset of the hub",
                where=url,
                todo="write hf://datasets/OWNER/NAME[@REVISION]",
            )
        owner, name, *rest = url.removeprefix(DATASETS).split("/")
        name, _, revision = name.partition("@")
        # A branch such as refs/convert/parquet is written with %2F in such urls.
        return cls(f"{owner}/{name}", revision.replace("%2F", "/"), "/".join(rest))

    @property
    def url(self) -> str:
        """As it is written."""
        revision = f"@{quote(self.revision, safe='')}" if self.revision else ""
        return f"{DATASETS}{self.dataset}{revision}" + (f"/{self.path}" if self.path else "")


def endpoint() -> str:
    """The hub's address: HF_ENDPOINT, or huggingface.co. Raises SettingsError."""
    said = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
    if not is_web(said):
        raise SettingsError(
            "is no address", where=f"HF_ENDPOINT {said}", todo="write https:// before it"
        )
    return said


def pin(url: str, traffic: Traffic) -> tuple[str, str]:
    """The same url at the commit its revision stands for now, and that commit.

    url: `hf://datasets/OWNER/NAME[@REVISION][/PATH]`. Raises SourceNotFound, SourceError.
    """
    address = _Address.of(url)
    at = f"/revision/{quote(address.revision, safe='')}" if address.revision else ""
    said = _ask(f"/api/datasets/{address.dataset}{at}", url, traffic)[0]
    commit = str(said["sha"])
    return _Address(address.dataset, commit, address.path).url, commit


def listed(url: str, traffic: Traffic) -> dict[str, dict[str, Any]]:
    """What lies at or below a pinned url: url without scheme to `type` and `size`, as of fsspec.

    One file where the url names one. Raises SourceNotFound, SourceError.
    """
    address = _Address.of(url)
    if address.path:
        kind = f"/api/datasets/{address.dataset}/paths-info/{address.revision}"
        asked = {"paths": [address.path], "expand": False}
        entries = _ask(kind, url, traffic, asked)[0]
        if not entries:
            raise SourceNotFound("no such file or folder", where=url, todo="check the path")
        if entries[0]["type"] == "file":
            return dict(_entry(address, entry) for entry in entries)
    return dict(_entry(address, entry) for entry in _tree(address, url, traffic))


def matching(url: str, traffic: Traffic) -> dict[str, dict[str, Any]]:
    """The files that a pinned url with stars matches, as `listed` gives them."""
    from fsspec.utils import glob_translate

    address = _Address.of(url)
    fixed = re.split(r"[*?\[]", address.path, maxsplit=1)[0].rpartition("/")[0]
    pattern = re.compile(glob_translate(url.removeprefix(SCHEME)))
    below = listed(_Address(address.dataset, address.revision, fixed).url, traffic)
    return {path: entry for path, entry in below.items() if pattern.match(path)}


def _tree(address: _Address, url: str, traffic: Traffic) -> Iterator[Any]:
    """Every entry of the tree, page by page."""
    path = f"/{quote(address.path)}" if address.path else ""
    page: str | None = (
        f"/api/datasets/{address.dataset}/tree/{address.revision}{path}?recursive=true&expand=false"
    )
    while page:
        entries, headers = _ask(page, url, traffic)
        yield from entries
        following = re.search(r'<([^>]+)>;\s*rel="?next"?', headers.get("Link", ""))
        page = urljoin(_full(page), following[1]) if following else None


def _entry(address: _Address, entry: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    inner = _Address(address.dataset, address.revision, entry["path"]).url
    size = (entry.get("lfs") or entry).get("size")
    return inner.removeprefix(SCHEME), {"type": entry["type"], "size": size}


def place(url: str) -> Place:
    """Where the bytes of a pinned url's file come from."""
    address = _Address.of(url)
    path = f"/datasets/{address.dataset}/resolve/{address.revision}/{quote(address.path)}"
    return _place(path, url, fixed=True)


def model_file(
    repository: str, revision: str, name: str, traffic: Traffic
) -> tuple[Place, int, str | None]:
    """Where a file of a model's repository comes from, its bytes, and its sha256 where it has one.

    Only files in git-lfs have one. Raises SourceNotFound, SourceError.
    """
    where, at = f"{endpoint()}/{repository}", quote(revision, safe="")
    asked = _model_place(f"/api/models/{repository}/paths-info/{at}", where)
    try:
        entries = json.loads(web.get(asked, traffic, {"paths": [name], "expand": False})[0])
        (entry,) = entries
        large = entry.get("lfs") or {}
        size, sha256 = int(large.get("size", entry["size"])), large.get("oid")
    except FileNotFoundError as error:
        raise SourceNotFound("no such repository or revision", where=where) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceNotFound(f"no such file: {name}", where=where) from error
    return _model_place(f"/{repository}/resolve/{at}/{quote(name)}", where), size, sha256


def _model_place(page: str, where: str) -> Place:
    return replace(_place(page, where), explain=lambda _, __: None)  # the usual words will do


def _place(page: str, where: str, *, fixed: bool = False) -> Place:
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # made lazily

    if constants.HF_HUB_OFFLINE:
        raise SourceError("HF_HUB_OFFLINE forbids asking the hub", where=where, todo="unset it")
    # A page's link may lead elsewhere: the token stays here.
    headers = build_hf_headers() if _full(page).startswith(f"{endpoint()}/") else {}
    return Place(_full(page), where, headers, fixed, functools.partial(_refusal, where))


def _full(page: str) -> str:
    return endpoint() + page if page.startswith("/") else page


def _ask(page: str, url: str, traffic: Traffic, asked: Any = None) -> tuple[Any, Mapping[str, str]]:
    """The JSON at a page of the endpoint, and the answer's headers."""
    try:
        body, headers = web.get(_place(page, url), traffic, asked)
        return json.loads(body), headers
    except FileNotFoundError as error:
        raise _hidden(url) from error
    except ValueError as error:
        raise SourceError(
            f"{endpoint()} does not answer as a hub does", where=url, todo=_ELSEWHERE
        ) from error
    except SourceError as error:
        if not error.what.startswith("cannot be read"):
            raise
        said = error.what.removeprefix("cannot be read: ")
        raise SourceError(
            f"{endpoint()} cannot be reached or refuses ({said})", where=url, todo=_ELSEWHERE
        ) from error


def _refusal(where: str, status: int, headers: Mapping[str, str]) -> CoyoError | None:
    """What the hub means by a status. It answers 401 for names that do not exist, too."""
    dataset = _Address.of(where).dataset
    match headers.get("X-Error-Code", ""):
        case "RevisionNotFound":
            return SourceNotFound("has no such revision", where=where)
        case "EntryNotFound":
            return SourceNotFound("no such file or folder", where=where, todo="check the path")
        case "GatedRepo":
            return SourceError(
                "is gated: its owner has to let you in",
                where=where,
                todo=f"ask at {endpoint()}/datasets/{dataset} and set HF_TOKEN",
            )
    return _hidden(where) if status in (401, 403, 404) else None


def _hidden(where: str) -> SourceNotFound:
    return SourceNotFound(
        f"{endpoint()} has no such dataset, or does not show it to you",
        where=where,
        todo="check the name; for a private or gated one set HF_TOKEN",
    )
