"""SOURCE: parquet files found, opened and bound to COYO's column names.

A source is a local or remote folder, file or glob of parquet, `hf://datasets/OWNER/NAME[@REV]`,
or an output folder of an earlier command. Only footers are read here; columns come a row group
at a time through `OpenPart.read`.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery.manifest import Manifest, read_manifest
from coyo_tools.machinery.storage import filesystem, folder_at, is_remote, local_path
from coyo_tools.pieces import hub
from coyo_tools.words.errors import (
    CorruptFile,
    LfsPointer,
    SchemaError,
    SourceError,
    SourceNotFound,
    nearest,
)
from coyo_tools.words.schema import COYO, SCHEMAS

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

MAGIC = b"PAR1"
LFS_HEAD = b"version https://git-lfs"
_GLOB = frozenset("*?[")
_AT_ONCE = 16  # footers read concurrently


@dataclass(frozen=True)
class Part:
    """One parquet file of a source. name: unique within it. revision: the hub's commit, or None."""

    url: str
    name: str
    bytes: int
    revision: str | None = None


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
            return list(pool.map(lambda part: open_part(part, self.schema), self.parts))


def find(source: str | os.PathLike[str], *, schema: str = "auto") -> Source:
    """The source's files, without reading them.

    Raises SourceNotFound where nothing is there, SourceError where an earlier command has not
    finished the folder.
    """
    url = os.fspath(source).rstrip("/") or "/"
    if url.startswith(hub.SCHEME):
        return _on_the_hub(url, schema)
    if url.endswith(".parquet") and not _GLOB & set(url):
        return Source(url, (_single(url),), schema)
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


def _single(url: str) -> Part:
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
    found = {p: i for p, i in fs.glob(path, detail=True).items() if i["type"] == "file"}
    if not found:
        raise SourceNotFound("no file matches", where=url, todo="check the pattern")
    return _parts(url, found)


def _parts(url: str, found: Mapping[str, Mapping[str, Any]]) -> tuple[Part, ...]:
    """In path order, named by what follows the folder they have in common."""
    if not found:
        return ()
    common = str(PurePosixPath(os.path.commonpath([PurePosixPath(p).parent for p in found])))
    return tuple(
        _part(_with_scheme(url, p), _relative(p, common).replace("/", "__"), found[p])
        for p in sorted(found)
    )


def _in_folder(url: str, manifest: Manifest | None) -> tuple[Part, ...]:
    fs, path = filesystem(url)
    if not fs.isdir(path):
        if fs.exists(path):
            return (_single(url),)
        raise SourceNotFound("no such file or folder", where=url, todo="check the path")
    found = {p: i for p, i in fs.find(path, detail=True).items() if _is_data(p, path)}
    if manifest is not None:
        own = set(manifest.files)
        found = {p: i for p, i in found.items() if _relative(p, path) in own}
    if not found and manifest is None:
        raise SourceNotFound(
            "holds no parquet file", where=url, todo="name the folder that holds the parts"
        )
    return _parts(url, found)


def _is_data(path: str, root: str) -> bool:
    inner = PurePosixPath(_relative(path, root)).parts
    return path.endswith(".parquet") and not any(p.startswith((".", "_")) for p in inner)


def _relative(path: str, root: str) -> str:
    return path[len(root) :].lstrip("/") if path.startswith(root) else path


def _with_scheme(url: str, path: str) -> str:
    if not is_remote(url) or "://" in path:
        return path
    return f"{url.split('://', 1)[0]}://{path}"


@dataclass(frozen=True)
class Binding:
    """How a file's columns answer to COYO's names. columns: COYO name to name in the file.

    casts: COYO name to the file's own type, where it is not COYO's.
    """

    columns: Mapping[str, str]
    casts: Mapping[str, str]

    def in_file(self, names: Sequence[str], where: str) -> list[str]:
        """The file's names for `names`. Raises SchemaError with the nearest name."""
        for name in names:
            if name not in self.columns:
                near = nearest(name, list(self.columns))
                raise SchemaError(
                    f"has no column {name!r}",
                    where=where,
                    todo=f"did you mean {near!r}?" if near else f"it has {', '.join(self.columns)}",
                )
        return [self.columns[name] for name in names]


def bind(schema: pa.Schema, wanted: str, where: str) -> Binding:
    """Match a file's columns to COYO's by name. Raises SchemaError on a type that cannot be cast.

    Columns that are not COYO's keep their names and types.
    """
    aliases = SCHEMAS[recognise(schema.names) if wanted == "auto" else wanted]
    columns, casts = {}, {}
    for field in schema:
        name = aliases.get(field.name, field.name)
        if name in columns or (name != field.name and name in schema.names):
            name = field.name
        columns[name] = field.name
        if name in COYO and str(field.type) != COYO[name].dtype:
            _check_castable(str(field.type), name, where)
            casts[name] = str(field.type)
    return Binding(columns, casts)


def recognise(names: Sequence[str]) -> str:
    """Whose names these are: the neighbour with the most of its own names present, else coyo."""
    present = set(names)
    scores = {kind: len(present & set(aliases)) for kind, aliases in SCHEMAS.items()}
    best = max(scores, key=lambda kind: scores[kind])
    return best if scores[best] else "coyo"


_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_NUMERIC = frozenset((*_INTEGERS, "halffloat", "float", "double"))
_TEXTUAL = frozenset(("string", "large_string", "string_view"))


def _check_castable(found: str, name: str, where: str) -> None:
    expected = COYO[name].dtype
    family = _TEXTUAL if expected == "string" else _NUMERIC
    if found in family or found == "null" or found.startswith("dictionary<values=string"):
        return
    raise SchemaError(
        f"column {name!r} is {found}, expected {expected}",
        where=where,
        todo="convert the column, or name the right --schema",
    )


@dataclass(frozen=True)
class OpenPart:
    """A part whose footer has been read. Columns go by COYO's names and types."""

    part: Part
    binding: Binding
    footer_sha256: str
    file: pq.ParquetFile

    @property
    def rows(self) -> int:
        """Rows in the file."""
        return int(self.file.metadata.num_rows)

    @property
    def row_groups(self) -> int:
        """Row groups in the file."""
        return int(self.file.metadata.num_row_groups)

    @cached_property
    def schema(self) -> pa.Schema:
        """The file's columns under COYO's names and types, other columns as they are."""
        import pyarrow as pa

        raw = self.file.schema_arrow
        return pa.schema(
            [
                pa.field(name, _target_type(name, raw.field(own).type))
                for name, own in self.binding.columns.items()
            ]
        )

    def identity(self) -> dict[str, Any]:
        """What the manifest records: name, bytes and a digest of the footer (or the revision)."""
        known = {
            "name": self.part.name,
            "bytes": self.part.bytes,
            "rows": self.rows,
            "footer_sha256": self.footer_sha256,
        }
        return known | ({"revision": self.part.revision} if self.part.revision else {})

    def read(self, row_group: int, columns: Sequence[str]) -> pa.Table:
        """These columns of one row group, in this order. Raises SchemaError, CorruptFile."""
        own = self.binding.in_file(columns, self.part.url)
        try:
            raw = self.file.read_row_group(row_group, columns=own)
        except (OSError, ValueError) as error:
            raise CorruptFile(
                f"row group {row_group} cannot be read: {_first_line(error)}",
                where=self.part.url,
                todo="fetch the file again",
            ) from error
        return self._named(raw, columns)

    def _named(self, raw: pa.Table, columns: Sequence[str]) -> pa.Table:
        import pyarrow as pa

        arrays = []
        for name in columns:
            column = raw.column(self.binding.columns[name])
            try:
                arrays.append(column.cast(_target_type(name, column.type)))
            except pa.ArrowInvalid as error:
                raise SchemaError(
                    f"column {name!r} does not fit {COYO[name].dtype}: {_first_line(error)}",
                    where=self.part.url,
                ) from error
        return pa.table(arrays, names=list(columns)) if arrays else raw

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Row group by row group, in order."""
        for row_group in range(self.row_groups):
            yield self.read(row_group, columns)


def _target_type(name: str, found: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    return pa.type_for_alias(COYO[name].dtype) if name in COYO else found


def open_part(part: Part, schema: str = "auto") -> OpenPart:
    """Read a part's footer and bind its columns. Raises LfsPointer, CorruptFile, SchemaError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    handle = _open_file(part)
    digest = _check_ends(part, handle)
    try:
        file = pq.ParquetFile(handle, pre_buffer=is_remote(part.url))
    except (pa.ArrowInvalid, OSError) as error:
        raise CorruptFile(
            f"is no readable parquet: {_first_line(error)}",
            where=part.url,
            todo="fetch the file again",
        ) from error
    return OpenPart(part, bind(file.schema_arrow, schema, part.url), digest, file)


def _open_file(part: Part) -> Any:
    try:
        if not is_remote(part.url):
            return local_path(part.url).open("rb")
        fs, path = filesystem(part.url)
        return fs.open(path, "rb")
    except FileNotFoundError as error:
        raise SourceNotFound("no such file", where=part.url) from error
    except PermissionError as error:
        raise SourceError("may not be read: permission denied", where=part.url) from error


def _check_ends(part: Part, handle: Any) -> str:
    """The footer's sha256, after a look at both ends of the file."""
    size = handle.seek(0, os.SEEK_END)
    handle.seek(0)
    head = handle.read(min(size, len(LFS_HEAD)))
    if head == LFS_HEAD:
        raise LfsPointer(
            "is a git-lfs pointer, not the data", where=part.url, todo="run: git lfs pull"
        )
    handle.seek(max(0, size - 8))
    tail = handle.read(8)
    if size < 12 or not head.startswith(MAGIC):
        raise CorruptFile("is no parquet file", where=part.url, todo="fetch the file again")
    if tail[4:] != MAGIC:
        raise CorruptFile(
            f"is truncated: {size:,} bytes and no parquet footer",
            where=part.url,
            todo="fetch the file again",
        )
    length = struct.unpack("<I", tail[:4])[0]
    handle.seek(max(0, size - 8 - length))
    digest = hashlib.sha256(handle.read(length)).hexdigest()
    handle.seek(0)
    return digest


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0][:200]
