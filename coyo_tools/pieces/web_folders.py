"""Folders of web servers: the pages of links that they show in a folder's place.

The pages go through `machinery.web` like every other request, so that they are counted, tried
again and bounded alike. What links lead to outside of the folder is none of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from coyo_tools.machinery import web
from coyo_tools.machinery.traffic import Traffic
from coyo_tools.machinery.web import Place
from coyo_tools.words.errors import SourceError, SourceNotFound

_DEEPEST = 32  # folders in one another; beyond, a link leads back to a folder above it
Found = dict[str, dict[str, Any]]  # address: `type` and `size` (None: not said), as of fsspec


def listed(url: str, traffic: Traffic) -> Found:
    """The files at any depth below a folder, but for folders with `.` or `_` before their name.

    Nothing where `url` is a file. Raises SourceNotFound, SourceError.
    """
    try:
        return _below(url, traffic, lambda folder: _name(folder)[0] not in "._")
    except FileNotFoundError as error:
        raise SourceNotFound("no such file or folder", where=url, todo="check the path") from error


def matching(url: str, traffic: Traffic) -> Found:
    """The files that an address with stars matches. Raises SourceError."""
    from fsspec.utils import glob_translate

    fixed = re.split(r"[*\[]", url, maxsplit=1)[0].rpartition("/")[0]
    deepest = None if "**" in url else url.count("/")
    pattern = re.compile(glob_translate(url))
    try:
        below = _below(fixed, traffic, lambda each: deepest is None or each.count("/") <= deepest)
    except FileNotFoundError:
        return {}
    return {p: i for p, i in below.items() if pattern.match(p) or pattern.match(unquote(p))}


def _below(url: str, traffic: Traffic, enters: Callable[[str], bool]) -> Found:
    """The files below a folder, and below those of its folders that are entered."""
    seen = dict.fromkeys(_links(url, traffic))
    waiting = [link for link in seen if link.endswith("/")]
    while waiting:
        folder = waiting.pop()
        if enters(folder):
            _check_depth(folder, folder.count("/") - url.rstrip("/").count("/") - 1)
            inner = [link for link in _links(folder, traffic) if link not in seen]
            seen |= dict.fromkeys(inner)
            waiting += [link for link in dict.fromkeys(inner) if link.endswith("/")]
    return {link: {"type": "file", "size": None} for link in seen if not link.endswith("/")}


def _check_depth(folder: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise SourceError(
            f"lies {depth} folders deep: its server's pages lead to themselves",
            where=folder,
            todo="name the folder that holds the files",
        )


def _name(folder: str) -> str:
    return unquote(folder.rstrip("/").rpartition("/")[2])


def _links(folder: str, traffic: Traffic) -> Iterator[str]:
    """The links of the folder's page; none of what is no page. Raises FileNotFoundError."""
    try:
        page = _page(folder, traffic)
    except FileNotFoundError:
        if folder.endswith("/"):
            raise
        page = _page(f"{folder}/", traffic)
    return links_in(page, folder)


def links_in(page: str, folder: str) -> Iterator[str]:
    """Addresses below the folder that a page of HTML links to; those of folders end with `/`."""
    base = folder.rstrip("/") + "/"
    here = urlsplit(base)
    above = unquote(here.path).split("/")[:-1]
    for href in _hrefs(page):
        try:
            there = urlsplit(urljoin(base, href))
        except ValueError:  # no address at all
            continue
        names = there.path.split("/")
        inside = [unquote(name) for name in names[: len(above)]] == above
        inner = "/".join(names[len(above) :])
        if inside and inner and there.netloc == here.netloc and not there.query:
            yield base + inner


def _page(url: str, traffic: Traffic) -> str:
    return web.get(Place(url, url), traffic, only="text/html")[0].decode(errors="replace")


def _hrefs(page: str) -> list[str]:
    found: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(value for key, value in attrs if (tag, key) == ("a", "href") and value)

    Links().feed(page)
    return found
