"""What lies within a folder, however either is spelled: through links, `..`, `file://`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from coyo_tools.machinery.storage import Folder, filesystem, is_remote, local_path

_REVISION = re.compile(r"(?<=^hf://)(datasets/[^/]+/[^/@]+)@[^/]*")
_SCHEMES = {"s3a": "s3", "gcs": "gs"}


def names_within(folder: str, urls: Iterable[str]) -> set[str]:
    """Of these files and folders those within the folder, by their names in it; "." is itself."""
    if is_remote(folder):
        near = _remote(folder)
        found = (_remote(url) for url in urls if is_remote(url))
        return {far[len(near) :].strip("/") or "." for far in found if far.startswith(near)}
    root = _resolved(local_path(folder))
    paths = [local_path(url) for url in urls if not is_remote(url)]
    parents = {parent: _resolved(parent) for parent in {path.parent for path in paths}}
    # Where the path leads, and where it is itself: a link to a file is a file of both places.
    places = {Path(os.path.normpath(parents[path.parent] / path.name)) for path in paths}
    places |= {_resolved(path) for path in paths if _is_link(path)}
    return {place.relative_to(root).as_posix() for place in places if place.is_relative_to(root)}


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))  # pathlib's raises where a link leads to itself


def _is_link(path: Path) -> bool:
    return os.path.islink(path)  # noqa: PTH114  pathlib's raises where a name is too long


def _remote(url: str) -> str:
    scheme, _, path = _REVISION.sub(r"\1", url).partition("://")
    return f"{_SCHEMES.get(scheme, scheme)}://{path.rstrip('/')}/"


def files_below(folder: Folder) -> set[str]:
    """Names of the folder's files at any depth."""
    fs, root = filesystem(folder.url)
    fs.invalidate_cache()
    found = (path for path in fs.find(root) if not path.endswith("/"))
    return {path[len(root) :].lstrip("/") for path in found}
