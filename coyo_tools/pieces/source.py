"""SOURCE: parquet files found, to be opened and bound to COYO's column names.

A source is a local or remote folder, file or glob of parquet, `hf://datasets/OWNER/NAME[@REV]`,
or an output folder of an earlier command. Only footers are read here; columns come a row group
at a time through `OpenPart.read`, or as polars frames through `pieces.bites`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from coyo_tools.machinery.manifest import Manifest, read_manifest
from coyo_tools.machinery.storage import filesystem, folder_at, is_remote, local_path
from coyo_tools.pieces import hub
from coyo_tools.pieces.binding import Binding, bind, recognise
from coyo_tools.pieces.parts import OpenPart, Part, open_part
from coyo_tools.words.errors import SourceError, SourceNotFound

__all__ = [
    "Binding", "OpenPart", "Part", "Source", "bind", "find", "open_part", "part_at", "recognise",
]  # fmt: skip
_GLOB = frozenset("*?[")
_AT_ONCE = 16  # footers read concurrently


@dataclass(frozen=True)
class Source:
    """The parquet files behind one SOURCE, in name order. manifest: of the run that wrote them."""

    url: str
    parts: tuple[Part, ...]
    schema: str = "auto"
    manifest: Manifest | None = None

    def first(self, limit_files: int | None) -> Source:
        """The same source, cut to its first files."""
        return Source(self.url, self.parts[:limit_files], self.schema, self.manifest)

    def open_all(self) -> list[OpenPart]:
        """Every part's footer, read several at a time. Raises SourceError of the first bad one."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            opening = [pool.submit(open_part, part, self.schema) for part in self.parts]
            try:
                return [part.result() for part in opening]
            except BaseException:
                pool.shutdown(cancel_futures=True)  # one bad part is enough to stop
                raise


def find(source: str | os.PathLike[str], *, schema: str = "auto") -> Source:
    """The source's files, without reading them.

    Raises SourceNotFound where nothing is there, SourceError where an earlier command has not
    finished the folder.
    """
    url = os.fspath(source).rstrip("/") or "/"
    if url.startswith(hub.SCHEME):
        return _on_the_hub(url, schema)
    if url.endswith(".parquet") and not _GLOB & set(url):
        return Source(url, (part_at(url),), schema)
    if _GLOB & set(url) and not _exists(url):
        return Source(url, _globbed(url), schema)
    manifest = None if url.startswith("http") else read_manifest(folder_at(url))
    if manifest is not None and not manifest.complete:
        raise SourceError(
            f"`coyo {manifest.command}` has not finished this folder",
            where=url,
            todo="run that command again first: it goes on where it stopped",
        )
    return Source(url, _in_folder(url, manifest), schema, manifest)


def _on_the_hub(url: str, schema: str) -> Source:
    pinned, commit = hub.pin(url)
    with hub.hub_errors(url):
        parts = _globbed(pinned) if _GLOB & set(pinned) else _in_folder(pinned, None)
    return Source(pinned, tuple(replace(p, revision=commit) for p in parts), schema)


def _exists(url: str) -> bool:
    return not is_remote(url) and local_path(url).exists()


def part_at(url: str) -> Part:
    """The part that a path or url names, whatever characters are in it. Raises SourceError."""
    fs, path = filesystem(url)
    try:
        info = fs.info(path)
    except FileNotFoundError as error:
        raise SourceNotFound("no such file", where=url, todo="check the path") from error
    if info["type"] == "directory":
        raise SourceError("a folder with a file's name", where=url, todo="rename it")
    return _part(url, path.rsplit("/", 1)[-1], info)


def _part(url: str, name: str, info: Mapping[str, Any]) -> Part:
    return Part(url, name, int(info.get("size") or 0))


def _globbed(url: str) -> tuple[Part, ...]:
    fs, path = filesystem(url)
    matching = fs.glob(path, detail=True).items()
    # As in a shell, a star stands for no hidden file: a half-written one is hidden, for instance.
    found = {p: i for p, i in matching if i["type"] == "file" and PurePosixPath(p).name[0] != "."}
    if not found:
        raise SourceNotFound("no file matches", where=url, todo="check the pattern")
    return _parts(url, found)


def _parts(url: str, found: Mapping[str, Mapping[str, Any]]) -> tuple[Part, ...]:
    """In path order, named by what follows the folder they have in common."""
    if not found:
        return ()
    common = str(PurePosixPath(os.path.commonpath([PurePosixPath(p).parent for p in found])))
    parts = [
        _part(_with_scheme(url, p), _relative(p, common).replace("/", "__"), found[p])
        for p in sorted(found)
    ]
    name, times = Counter(p.name for p in parts).most_common(1)[0]
    if times > 1:
        raise SourceError(f"two of its files would be named {name}", where=url, todo="rename one")
    return tuple(parts)


def _in_folder(url: str, manifest: Manifest | None) -> tuple[Part, ...]:
    fs, path = filesystem(url)
    if not fs.isdir(path):
        if fs.exists(path):
            return (part_at(url),)
        raise SourceNotFound("no such file or folder", where=url, todo="check the path")
    found = {p: i for p, i in fs.find(path, detail=True).items() if _is_data(p, path)}
    if manifest is not None:
        found = _as_listed(url, {_relative(p, path): (p, i) for p, i in found.items()}, manifest)
    if not found and manifest is None:
        raise SourceNotFound(
            "holds no parquet file", where=url, todo="name the folder that holds the parts"
        )
    return _parts(url, found)


def _as_listed(
    url: str, found: Mapping[str, tuple[str, Any]], manifest: Manifest
) -> dict[str, Any]:
    """The files the manifest lists, by path. A part that has gone is no reason to go on without."""
    listed = [name for name in manifest.files if name.endswith(".parquet")]
    for name in listed:
        if name not in found:
            raise SourceError(
                f"its manifest lists {name}, which is not there",
                where=url,
                todo=f"run the `coyo {manifest.command}` that made it again: it makes what is gone",
            )
    return dict(found[name] for name in listed)


def _is_data(path: str, root: str) -> bool:
    inner = PurePosixPath(_relative(path, root)).parts
    return path.endswith(".parquet") and not any(p.startswith((".", "_")) for p in inner)


def _relative(path: str, root: str) -> str:
    return path[len(root) :].lstrip("/") if path.startswith(root) else path


def _with_scheme(url: str, path: str) -> str:
    if not is_remote(url) or "://" in path:
        return path
    return f"{url.split('://', 1)[0]}://{path}"
