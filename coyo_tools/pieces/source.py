"""SOURCE: parquet files found, to be opened and bound to COYO's column names.

A source is a local or remote folder, file or glob of parquet, `hf://datasets/OWNER/NAME[@REV]`,
an output folder of an earlier command, or an object of the `datasets` library. Only footers are
read here; columns come a row group at a time through `OpenPart.read`, or as polars frames through
`pieces.bites`.
"""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote, urlsplit

from coyo_tools.machinery.manifest import Manifest, read_manifest
from coyo_tools.machinery.ranges import is_web, size_of
from coyo_tools.machinery.storage import (
    filesystem,
    folder_at,
    is_remote,
    local_path,
    reading_errors,
)
from coyo_tools.machinery.traffic import Fetched, Traffic
from coyo_tools.machinery.web import Place
from coyo_tools.machinery.within import names_within
from coyo_tools.pieces import dataset_objects, hub, web_folders
from coyo_tools.pieces.binding import Binding, bind, recognise
from coyo_tools.pieces.local_files import LocalFiles, below, looked_at
from coyo_tools.pieces.parts import OpenPart, Part, open_part
from coyo_tools.words.errors import SettingsError, SourceError, SourceNotFound

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

SourceLike: TypeAlias = "str | os.PathLike[str] | Dataset | IterableDataset"

__all__ = [
    "Binding", "OpenPart", "Part", "Source", "SourceLike",
    "as_url", "bind", "find", "keep_apart", "open_part", "part_at", "recognise",
    "refuse_same", "tell_apart",
]  # fmt: skip
_GLOB = frozenset("*?[")
_STARS_OF_THE_WEB = _GLOB - {"?"}  # behind which signatures come
_NUMBERED = re.compile(r"part-(\d{5})\b")  # Spark's
_AT_ONCE = 16  # footers read concurrently


@dataclass(frozen=True)
class Source:
    """The parquet files behind one SOURCE, in name order. manifest: of the run that wrote them.

    traffic: counts what is fetched of them where they are remote.
    """

    url: str
    parts: tuple[Part, ...]
    schema: str = "auto"
    manifest: Manifest | None = None
    traffic: Traffic = field(default_factory=Traffic, compare=False, repr=False)

    def keep_out(self, out: str, writes: Iterable[str]) -> None:
        """Refuse an output that a later look at this source would take for input: what a manifest
        lists stays as it is. writes: see `keep_apart`. Raises SettingsError."""
        keep_apart(self.url, out, writes if self.manifest is None else ())

    def first(self, limit_files: int | None) -> Source:
        """The same source, cut to its first files."""
        return replace(self, parts=self.parts[:limit_files])

    @property
    def fetched(self) -> Fetched | None:
        """What has been fetched of the source so far; None of a local one."""
        return self.traffic.fetched(of=sum(part.bytes for part in self.parts))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth telling of the files: a part number that is missing between two others."""
        numbers = [int(n[1]) for p in self.parts if (n := _NUMBERED.match(p.name))]
        if len(numbers) < len(self.parts) or not numbers or _GLOB & set(self.url):
            return ()
        first, last = min(numbers), max(numbers)
        gaps = sorted(set(range(first, last)) - set(numbers))
        if not gaps:
            return ()
        named = ", ".join(f"{n:05d}" for n in gaps[:3])
        named += f" and {len(gaps) - 3:,} more" * (len(gaps) > 3)
        return (f"not there, of the parts {first:05d} to {last:05d}: {named}",)

    def facts(self) -> dict[str, Any]:
        """`fetched` for runs.jsonl; nothing of a local source."""
        return {"fetched": self.fetched.to_dict()} if self.fetched else {}

    def open_all(self) -> list[OpenPart]:
        """Every part's footer, read several at a time. Raises SourceError of the first bad one."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            opening = [
                pool.submit(open_part, part, self.schema, self.traffic) for part in self.parts
            ]
            try:
                return [part.result() for part in opening]
            except BaseException:
                pool.shutdown(cancel_futures=True)  # one bad part is enough to stop
                raise


def find(source: SourceLike, *, schema: str = "auto", traffic: Traffic | None = None) -> Source:
    """The source's files, without reading them; a `datasets` object may be read into some first.

    traffic: to count in what is fetched of a remote source.

    Raises SourceNotFound where nothing is there, SourceError where an earlier command has not
    finished the folder.
    """
    traffic = traffic or Traffic()
    if dataset_objects.is_dataset(source):
        return _of_dataset(source, schema, traffic)
    url = as_url(source)
    if url.startswith(dataset_objects.SCHEME):
        raise SourceError(
            "was an object of the datasets library",
            where=url,
            todo="give the object to the function of coyo_tools, or name its files",
        )
    if url.startswith(hub.SCHEME):
        return _on_the_hub(url, schema, traffic)
    stars = _STARS_OF_THE_WEB if is_web(url) else _GLOB
    if (url.endswith(".parquet") or (is_web(url) and "?" in url)) and not stars & set(url):
        return Source(url, (part_at(url, traffic),), schema, traffic=traffic)
    if stars & set(url) and not _exists(url):
        return Source(url, _matched(url, _matching(url, traffic)), schema, traffic=traffic)
    manifest = None if is_web(url) else read_manifest(folder_at(url))
    if manifest is not None and not manifest.complete:
        raise SourceError(
            f"`coyo {manifest.command}` has not finished this folder",
            where=url,
            todo="run that command again first: it goes on where it stopped",
        )
    return Source(url, _in_folder(url, manifest, traffic), schema, manifest, traffic)


def as_url(place: str | os.PathLike[str]) -> str:
    """A path or url as text, without a `/` behind it. Raises SourceNotFound where it is empty."""
    if not os.fspath(place):
        raise SourceNotFound("names no source", where="''", todo="name a folder, a file or a url")
    return os.fspath(place).rstrip("/") or "/"


def _on_the_hub(url: str, schema: str, traffic: Traffic) -> Source:
    pinned, commit = hub.pin(url, traffic)
    if _GLOB & set(pinned):
        parts = _matched(pinned, hub.matching(pinned, traffic))
    else:
        path = pinned.removeprefix(hub.SCHEME)
        found = hub.listed(pinned, traffic)
        is_file = found.get(path, {}).get("type") == "file"
        parts = _parts(pinned, found) if is_file else _held(pinned, path, found, None)
    pinned_parts = tuple(replace(p, revision=commit) for p in parts)
    return Source(pinned, pinned_parts, schema, None, traffic)


def _of_dataset(data: Any, schema: str, traffic: Traffic) -> Source:
    """The dataset's own parquet files where it shows them unchanged, else temporary ones."""
    dataset_objects.check_readable(data)
    whole = _of_files(dataset_objects.plain_files(data) or [], schema, traffic)
    if whole.parts:
        found = open_part(whole.parts[0], schema, traffic).metadata.schema.to_arrow_schema()
        if dataset_objects.same_columns(data, found):
            return whole
    spool = dataset_objects.Spool(data)
    parts = (
        Part(str(path), path.name, path.stat().st_size, sha256=digest, keep=spool)
        for path, digest in spool.files
    )
    return Source(dataset_objects.name_of(data), tuple(parts), schema)


def _of_files(files: Sequence[str], schema: str, traffic: Traffic) -> Source:
    """These files, none where they cannot be told apart by name; of the hub as `find` has them."""
    folder = files[0].rpartition("/")[0] if files else ""
    while folder and not all(file.startswith(f"{folder}/") for file in files):
        folder = folder.rpartition("/")[0]
    # Not the folder itself: it may hold more, such as what is to be written.
    url = files[0] if len(files) == 1 else f"{folder}/*.parquet"
    pinned = re.match(r"hf://datasets/[^/]+/[^/@]+@[0-9a-f]{40}(?=/|$)", folder)
    if pinned:
        url = pinned[0]  # one request for them all
        parts = tuple(part for part in find(url, traffic=traffic).parts if part.url in files)
    else:
        parts = tuple(part_at(file, traffic) for file in sorted(files))
    apart = len({part.name for part in parts}) == len(files)
    return Source(url, parts if apart else (), schema, traffic=traffic)


def _exists(url: str) -> bool:
    with reading_errors(url):
        return not is_remote(url) and local_path(url).exists()


def _files(url: str) -> tuple[Any, str]:
    """What answers for the files at a path or url, and the path as it names it."""
    return filesystem(url) if is_remote(url) else (LocalFiles, str(local_path(url).absolute()))


def part_at(url: str, traffic: Traffic | None = None) -> Part:
    """The part that a path or url names, whatever characters are in it. Raises SourceError."""
    if is_web(url):
        return _on_the_web(url, traffic or Traffic())
    fs, path = _files(url)
    try:
        with reading_errors(url):
            info = fs.info(path)
    except FileNotFoundError as error:
        raise SourceNotFound("no such file", where=url, todo="check the path") from error
    if info["type"] == "directory":
        raise SourceError("a folder with a file's name", where=url, todo="rename it")
    return _part(url, path.rsplit("/", 1)[-1], info)


def _on_the_web(url: str, traffic: Traffic) -> Part:
    try:
        size = size_of(Place(url, url), traffic)
    except FileNotFoundError as error:
        raise SourceNotFound("no such file", where=url, todo="check the address") from error
    return _part(url, unquote(PurePosixPath(urlsplit(url).path).name), {"size": size})


def _part(url: str, name: str, info: Mapping[str, Any]) -> Part:
    # What is written of a part has its name, and a folder is read by this ending alone.
    named = name if name.endswith(".parquet") else f"{name}.parquet"
    return Part(url, named, int(info.get("size") or 0))


def _matching(url: str, traffic: Traffic) -> Mapping[str, Mapping[str, Any]]:
    """What a pattern matches, as fsspec lists it."""
    if is_web(url):
        return web_folders.matching(url, traffic)
    with reading_errors(url):
        fs, path = filesystem(url)
        found = fs.glob(path, detail=is_remote(url))
    return found if is_remote(url) else looked_at(found)


def _matched(url: str, matching: Mapping[str, Mapping[str, Any]]) -> tuple[Part, ...]:
    # As in a shell, a star stands for no hidden file: a half-written one is hidden, for instance.
    found = {
        p: i for p, i in matching.items() if i["type"] == "file" and PurePosixPath(p).name[0] != "."
    }
    if not found:
        raise SourceNotFound("no file matches", where=url, todo="check the pattern")
    return _parts(url, found)


def _parts(url: str, found: Mapping[str, Mapping[str, Any]]) -> tuple[Part, ...]:
    """In path order, named by what follows the folder they have in common."""
    if not found:
        return ()
    named = {p: unquote(urlsplit(p).path) if is_web(p) else p for p in found}
    common = os.path.commonpath([PurePosixPath(p).parent for p in named.values()])
    parts = [
        _part(_with_scheme(url, p), _relative(named[p], common).replace("/", "__"), found[p])
        for p in sorted(found)
    ]
    tell_apart([part.name for part in parts], url)
    return tuple(parts)


def tell_apart(names: Iterable[str], where: str) -> None:
    """Refuse files of which two would be written under one name. Raises SourceError."""
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise SourceError(f"two of its files would be named {name}", where=where, todo="rename one")


def _in_folder(url: str, manifest: Manifest | None, traffic: Traffic) -> tuple[Part, ...]:
    if is_web(url):
        listed = web_folders.listed(url, traffic)
        return _held(url, url, listed, None) if listed else (part_at(url, traffic),)
    fs, path = _files(url)
    with reading_errors(url):
        if fs.isdir(path):
            files = fs.find(path, detail=True) if is_remote(url) else below(path)
            return _held(url, path, files, manifest)
        if fs.exists(path):
            return (part_at(url, traffic),)
    raise SourceNotFound("no such file or folder", where=url, todo="check the path")


def _held(
    url: str, path: str, files: Mapping[str, Mapping[str, Any]], manifest: Manifest | None
) -> tuple[Part, ...]:
    """The parquet files of a folder. path: the folder, as the files' paths begin."""
    found = {p: i for p, i in files.items() if i["type"] == "file" and _is_data(p, path)}
    if manifest is not None:
        found = _as_listed(url, {_relative(p, path): (p, i) for p, i in found.items()}, manifest)
    if not found and (manifest is None or manifest.command != "filter"):  # which may keep no part
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


def keep_apart(source: str, out: str, writes: Iterable[str] = (), *, option: str = "-o") -> None:
    """Refuse an output in place of the source, or that a later look at it would take for input.

    writes: names of the files in the output that such a look finds, where it is below the source.
    """
    if source.startswith(dataset_objects.SCHEME):
        return  # of temporary files
    if _GLOB & set(source) and not _exists(source):
        matches = _matcher(source)
        inside = any(matches(f"{out}/{name}") for name in writes)
    else:
        found = names_within(source, [out])
        inside = "." in found or bool(found and list(writes))
    if inside:
        raise SettingsError(
            f"lies inside the source {source}",
            where=out,
            todo=f"choose a folder beside it with {option}",
        )


def refuse_same(option: str, place: str, out: str) -> None:
    """Refuse one folder for two things. option: that names `place`."""
    if "." in names_within(place, [out]):
        raise SettingsError(
            f"is the folder of -o, {out}",
            where=f"{option} {place}",
            todo="name a folder of its own",
        )


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a pattern finds what would be at a path or url."""
    from fsspec.utils import glob_translate

    if is_remote(pattern):
        return lambda url: bool(re.match(glob_translate(pattern), url))
    head, rest = _fixed(str(local_path(pattern)))
    known = re.compile(glob_translate(f"{glob.escape(str(Path(head).resolve()))}/{rest}"))

    def matches(place: str) -> bool:
        path = local_path(place)
        return not is_remote(place) and bool(known.match(str(path.parent.resolve() / path.name)))

    return matches


def _fixed(pattern: str) -> tuple[str, str]:
    """A local pattern's folder before its first special character, and the rest."""
    before = pattern[: min(pattern.index(c) for c in _GLOB if c in pattern)]
    head, slash, _ = before.rpartition("/")
    return head + slash or ".", pattern[len(head + slash) :]
