"""Tar shards, ours or img2dataset's, read once from front to back, but for their identity.

Members of one sample follow each other and share a key: the name up to the first dot of its
last part. KEY.jpg is the picture, KEY.txt the caption, KEY.json the row.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any
from urllib.parse import unquote

from coyo_tools.machinery.manifest import Manifest, read_manifest
from coyo_tools.machinery.ranges import RangeFile, is_web, size_of
from coyo_tools.machinery.storage import (
    filesystem,
    folder_at,
    is_remote,
    local_path,
    reading_errors,
)
from coyo_tools.machinery.traffic import Traffic
from coyo_tools.machinery.web import Place
from coyo_tools.pieces import web_folders
from coyo_tools.pieces.source import as_url, tell_apart
from coyo_tools.pieces.tar_members import members
from coyo_tools.words.errors import CorruptFile, SourceError, SourceNotFound

PICTURE_EXTENSIONS = frozenset(
    ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "ppm", "pgm", "pbm", "pnm")
)
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_GLOB = frozenset("*?[")
_ENDS = 1 << 16  # bytes at each end that go into a shard's identity
_AHEAD = 1 << 20  # bytes that are read at once, or asked of a web server
_MAX_ID = 1 << 63
_MOST_DIGITS = len(str(_MAX_ID))


@dataclass(frozen=True)
class Shard:
    """One tar file. name: unique among its siblings, with .tar; stem: without."""

    url: str
    name: str
    bytes: int

    @property
    def stem(self) -> str:
        """`00000` of `00000.tar`."""
        return self.name.removesuffix(".tar")

    def identity(self) -> dict[str, Any]:
        """What the manifest records: name, bytes, and a digest of both ends of the file.

        The ends, not the whole: a folder of shards is large, and each is read once. This is an
        open of its own, and 128 KiB at most, before a run is begun.
        """
        with open_shard(self) as handle:
            digest = hashlib.sha256(handle.read(_ENDS))
            if self.bytes > _ENDS:
                handle.seek(max(_ENDS, self.bytes - _ENDS))
                digest.update(handle.read())
        return {"name": self.name, "bytes": self.bytes, "ends_sha256": digest.hexdigest()}


@dataclass(frozen=True)
class Shards:
    """The shards of one folder, in name order. manifest: of the run that wrote them, if ours.

    has_tables: whether there is parquet beside them.
    """

    url: str
    shards: tuple[Shard, ...]
    manifest: Manifest | None = None
    has_tables: bool = False


@dataclass
class Entry:
    """One sample of a tar, not decoded. id: None where none is known. caption: None if absent."""

    key: str
    picture: bytes | None = None
    text: bytes | None = None
    row: bytes | None = None
    _facts: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def facts(self) -> dict[str, Any]:
        """KEY.json, {} where it is absent or no JSON object."""
        if self._facts is None:
            self._facts = _parse(self.row)
        return self._facts

    @property
    def id(self) -> int | None:
        """The row's id: from KEY.json; where there is no KEY.json, the key itself if digits.

        A KEY.json without an id is img2dataset's with keys that only number the rows: no id.
        """
        if self.row is not None:
            found = self.facts.get("id")
            if isinstance(found, bool) or not isinstance(found, int):
                return None
            return found if -_MAX_ID <= found < _MAX_ID else None
        digits = self.key.lstrip("0") or "0"
        if not (self.key.isascii() and self.key.isdigit() and len(digits) <= _MOST_DIGITS):
            return None
        return int(digits) if int(digits) < _MAX_ID else None

    @property
    def caption(self) -> str | None:
        """KEY.txt, else the caption of KEY.json; bytes that are no UTF-8 are replaced by U+FFFD."""
        if self.text is not None:
            return self.text.decode("utf-8", "replace")
        found = self.facts.get("caption")
        return found if isinstance(found, str) else None


def _parse(row: bytes | None) -> dict[str, Any]:
    if row is None:
        return {}
    try:
        found = json.loads(row)
    except (ValueError, RecursionError):  # bad JSON, bad UTF-8, brackets without end
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: _writable(v) if isinstance(v, str) else v for name, v in found.items()}


def _writable(text: str) -> str:
    r"""The text, U+FFFD in place of half a character: JSON may say "\ud800", UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def find_shards(place: str | os.PathLike[str]) -> Shards | None:
    """The tar shards at a folder, file or glob; None where there is none.

    Raises SourceNotFound where nothing is there, SourceError where `coyo download` has not
    finished the folder, where two of them would have one name, or where they are compressed.
    """
    url = as_url(place)
    if is_web(url):
        return _on_the_web(url)
    with reading_errors(url):
        fs, path = filesystem(url)
        if path.endswith(".tar") and fs.isfile(path):
            return Shards(url, (Shard(url, path.rsplit("/", 1)[-1], int(fs.size(path))),))
        if not fs.isdir(path):
            if not fs.exists(path) and _GLOB & set(url):
                return _matching(url, fs, path)
            if fs.exists(path):
                _refuse_compressed(url, [path], path)
                return None
            raise SourceNotFound("no such file or folder", where=url, todo="check the path")
        there = fs.find(path, detail=True)
    found = [p for p in sorted(there) if _is_one(p, path, ".tar")]
    tables = any(_is_one(p, path, ".parquet") for p in there)
    if not found:
        if not tables:
            _refuse_compressed(url, [p for p in sorted(there) if _is_one(p, path, "")], path)
        return None
    shards = tuple(_shard(url, path, p, there[p]) for p in found)
    tell_apart([shard.name for shard in shards], url)
    return Shards(url, shards, _manifest(url), tables)


def _matching(url: str, fs: Any, pattern: str) -> Shards | None:
    """The tars that a glob matches, named by what follows the folder it begins with."""
    there = fs.glob(pattern, detail=True)
    root = pattern[: min(at for c in _GLOB if (at := pattern.find(c)) >= 0)].rpartition("/")[0]
    found = [p for p in sorted(there) if p.endswith(".tar")]
    if not found:
        _refuse_compressed(url, sorted(there), root)
        return None
    shards = tuple(_shard(url, root, p, there[p]) for p in found)
    tell_apart([shard.name for shard in shards], url)
    return Shards(url, shards)


def _refuse_compressed(url: str, paths: Sequence[str], root: str) -> None:
    packed = next((path for path in paths if path.endswith(_COMPRESSED)), None)
    if packed is not None:
        raise SourceError(
            "is a compressed tar, and shards are read as plain ones",
            where=_shard(url, root, packed, {"size": 0}).url,
            todo="decompress it first, such as with: gunzip",
        )


def _on_the_web(url: str) -> Shards | None:
    traffic = Traffic()
    if url.endswith(".parquet") or _GLOB & set(url):
        return None
    listed = (url,) if url.endswith(".tar") else web_folders.listed(url, traffic)
    tars = [p for p in sorted(listed, key=unquote) if _is_one(p, url, ".tar")]
    found = tuple(_shard_on_the_web(url, p, traffic) for p in tars)
    tell_apart([shard.name for shard in found], url)
    tables = any(_is_one(p, url, ".parquet") for p in listed)
    return Shards(url, found, has_tables=tables) if found else None


def _shard_on_the_web(url: str, path: str, traffic: Traffic) -> Shard:
    name = unquote(path[len(url) :].strip("/") or path.rpartition("/")[2]).replace("/", "__")
    try:
        return Shard(path, name, size_of(Place(path, path), traffic))
    except FileNotFoundError as error:
        raise SourceNotFound("no such file", where=path, todo="check the address") from error


def _is_one(path: str, root: str, ending: str) -> bool:
    inner = path[len(root) :].strip("/").split("/")
    return path.endswith(ending) and not any(part.startswith((".", "_")) for part in inner)


def _shard(url: str, root: str, path: str, info: dict[str, Any]) -> Shard:
    scheme = f"{url.split('://', 1)[0]}://" if is_remote(url) and "://" not in path else ""
    name = path[len(root) :].strip("/").replace("/", "__")
    return Shard(scheme + path, name, int(info["size"]))


def _manifest(url: str) -> Manifest | None:
    found = read_manifest(folder_at(url)) if not url.startswith("hf://") else None
    if found is not None and not found.complete:
        raise SourceError(
            f"`coyo {found.command}` has not finished this folder",
            where=url,
            todo="run that command again first: it goes on where it stopped",
        )
    return found


def open_shard(shard: Shard) -> IO[bytes]:
    """The tar's bytes. Raises SourceNotFound."""
    try:
        if not is_remote(shard.url):
            return local_path(shard.url).open("rb", _AHEAD)
        if is_web(shard.url):
            file = RangeFile(Place(shard.url, shard.url), shard.bytes, Traffic())
            return io.BufferedReader(file, _AHEAD)
        with reading_errors(shard.url):
            fs, path = filesystem(shard.url)
            handle: IO[bytes] = fs.open(path, "rb")
    except FileNotFoundError as error:
        raise SourceNotFound("no such file", where=shard.url) from error
    except PermissionError as error:
        raise SourceError("may not be read: permission denied", where=shard.url) from error
    return handle


def read_shard(shard: Shard) -> Iterator[Entry]:
    """Every sample of the tar that holds a picture, in its order, read sequentially once.

    Raises CorruptFile where the tar is truncated or none.
    """
    with open_shard(shard) as handle, _corrupt(shard):
        entry: Entry | None = None
        key = extension = ""

        def is_read(name: str) -> bool:
            nonlocal key, extension
            key, extension = split_name(name)
            return extension in PICTURE_EXTENSIONS or extension in ("txt", "json")

        for _, data in members(handle, is_read):
            if entry is None or entry.key != key:
                if entry is not None and entry.picture is not None:
                    yield entry
                entry = Entry(key)
            _take(entry, extension, data)
        if entry is not None and entry.picture is not None:
            yield entry


def split_name(name: str) -> tuple[str, str]:
    """Key and extension of a member: `a/b.seg.png` is (`a/b`, `seg.png`)."""
    folder, slash, last = name.removeprefix("./").rpartition("/")
    stem, _, extension = last.partition(".")
    return folder + slash + stem, extension.lower()


def _take(entry: Entry, extension: str, data: bytes | None) -> None:
    if extension in PICTURE_EXTENSIONS and entry.picture is None:
        entry.picture = data
    elif extension == "txt":
        entry.text = data
    elif extension == "json":
        entry.row = data


@contextlib.contextmanager
def _corrupt(shard: Shard) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError) as error:
        raise CorruptFile(
            f"is truncated or no tar file: {error}",
            where=shard.url,
            todo="make or fetch it again, then run the same command: it goes on where it stopped",
        ) from error
