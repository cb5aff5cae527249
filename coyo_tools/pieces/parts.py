"""One parquet file of a source: its footer, and its columns a row group at a time."""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery.ranges import RangeFile, read_ranges, size_of
from coyo_tools.machinery.storage import first_line, is_remote, local_path
from coyo_tools.machinery.traffic import Traffic
from coyo_tools.machinery.web import Place
from coyo_tools.pieces import hub
from coyo_tools.pieces.binding import Binding, bind, target_type
from coyo_tools.pieces.spans import joined, spans_of
from coyo_tools.words.errors import (
    CorruptFile,
    LfsPointer,
    SchemaError,
    SourceError,
    SourceNotFound,
)
from coyo_tools.words.schema import COYO

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from coyo_tools.pieces.held import Held

MAGIC = b"PAR1"
ENCRYPTED = b"PARE"  # in place of MAGIC where the footer is encrypted
_SIGNATURE = 28  # bytes behind a footer in plain text of a file with encrypted columns
LFS_HEAD = b"version https://git-lfs"
_WEB_PAGE = (b"<!doctype html", b"<html")
# Bytes asked for at first, so that most footers of remote files come with one request: up to
# 64 KiB, and of small files a share, because what is no footer was fetched for nothing.
_TAIL_MOST, _TAIL_LEAST, _TAIL_SHARE = 1 << 16, 1 << 13, 256
_AGAIN = "fetch the file again"


@dataclass(frozen=True)
class Part:
    """One parquet file of a source. name: unique within it. revision: the hub's commit, or None.

    sha256: of the whole file where it is temporary, made from a `datasets` object. keep: held as
    long as the part is, because the file goes with it.
    """

    url: str
    name: str
    bytes: int
    revision: str | None = None
    sha256: str | None = None
    keep: object = field(default=None, repr=False, compare=False)

    @property
    def place(self) -> Place:
        """Where a remote part's bytes come from."""
        return hub.place(self.url) if self.url.startswith(hub.SCHEME) else Place(self.url, self.url)


@dataclass(frozen=True)
class OpenPart:
    """A part whose footer has been read. Columns go by COYO's names and types.

    footer: the file's last bytes, from the start of its metadata on. traffic: counts what is read
    of a remote one; held: where its columns stay once fetched, or None. statistics:
    whether to believe the footer's, and leave row groups unread for them. Nothing is held open.
    """

    part: Part
    binding: Binding
    footer_sha256: str
    metadata: pq.FileMetaData
    footer: bytes
    traffic: Traffic = field(default_factory=Traffic, compare=False, repr=False)
    held: Held | None = field(default=None, compare=False, repr=False)
    statistics: bool = True

    @property
    def rows(self) -> int:
        """Rows in the file."""
        return int(self.metadata.num_rows)

    @property
    def row_groups(self) -> int:
        """Row groups in the file."""
        return int(self.metadata.num_row_groups)

    @cached_property
    def schema(self) -> pa.Schema:
        """The file's columns under COYO's names and types, other columns as they are."""
        import pyarrow as pa

        raw = self.metadata.schema.to_arrow_schema()
        return pa.schema(
            [
                pa.field(name, target_type(name, raw.field(own).type))
                for name, own in self.binding.columns.items()
            ]
        )

    @cached_property
    def file(self) -> pq.ParquetFile:  # noqa: TID251  `read` shows no thread a Python file
        """The file, opened on first use. Raises SourceError."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with _read_errors(self.part.url):
            return pq.ParquetFile(  # noqa: TID251
                self._remote or pa.OSFile(str(local_path(self.part.url)), "rb"),  # without the GIL
                metadata=self.metadata,
                pre_buffer=False,
            )

    @cached_property
    def _remote(self) -> RangeFile | None:
        here = not is_remote(self.part.url)
        return None if here else RangeFile(self.part.place, self.part.bytes, self.traffic)

    def close(self) -> None:
        """Let go of the file; reading opens it again."""
        file = self.__dict__.pop("file", None)
        self.__dict__.pop("_remote", None)
        if file is not None:
            file.close(force=True)

    def holding(self, held: Held | None) -> OpenPart:
        """The same part, whose columns stay in `held` once fetched; of no use to a local one."""
        return replace(self, held=held) if is_remote(self.part.url) else self

    def believing(self, statistics: bool) -> OpenPart:
        """The same part, whose statistics are believed or not."""
        return replace(self, statistics=statistics)

    def identity(self) -> dict[str, Any]:
        """What the manifest records: name, bytes and a digest of the footer; the hub's revision;
        of a temporary file its whole digest."""
        known = {
            "name": self.part.name,
            "bytes": self.part.bytes,
            "rows": self.rows,
            "footer_sha256": self.footer_sha256,
        }
        own = {"revision": self.part.revision, "sha256": self.part.sha256}
        return known | {name: value for name, value in own.items() if value}

    def read(self, row_group: int, columns: Sequence[str]) -> pa.Table:
        """These columns of one row group, in this order. Raises SchemaError, CorruptFile."""
        own = self.binding.in_file(columns, self.part.url)
        try:
            if (remote := self._remote) is None:
                raw = self.file.read_row_group(row_group, columns=own)
            else:
                spans = spans_of(self.metadata, [(row_group, name) for name in own])
                with remote.holding(joined(spans)):
                    raw = self.file.read_row_group(row_group, columns=own, use_threads=False)
        except (OSError, ValueError) as error:
            raise CorruptFile(
                f"row group {row_group} cannot be read: {first_line(error)}",
                where=self.part.url,
                todo=_AGAIN,
            ) from error
        return self._named(raw, columns)

    def _named(self, raw: pa.Table, columns: Sequence[str]) -> pa.Table:
        import pyarrow as pa

        arrays = []
        for name in columns:
            column = _without_nan(raw.column(self.binding.columns[name]), name)
            try:
                arrays.append(column.cast(target_type(name, column.type)))
            except pa.ArrowInvalid as error:
                raise does_not_fit(name, self.part.url, first_line(error)) from error
        return pa.table(arrays, names=list(columns)) if arrays else raw

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Row group by row group, in order; then the file is let go of."""
        with contextlib.closing(self):
            for row_group in range(self.row_groups):
                yield self.read(row_group, columns)


def does_not_fit(name: str, where: str, why: str) -> SchemaError:
    """The error of a value that COYO's type of its column cannot hold."""
    return SchemaError(f"column {name!r} does not fit {COYO[name].dtype}: {why}", where=where)


def _without_nan(column: Any, name: str) -> Any:
    """Counts that came as floats write their nulls as NaN: give them back."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_floating(column.type) or COYO.get(name) is None:
        return column
    if COYO[name].dtype.startswith("int"):
        return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column


def open_part(part: Part, schema: str = "auto", traffic: Traffic | None = None) -> OpenPart:
    """Read a part's footer and bind its columns. Raises LfsPointer, CorruptFile, SchemaError."""
    traffic = traffic or Traffic()
    with _read_errors(part.url):
        if is_remote(part.url) and not part.bytes:  # listings over HTTP do not tell sizes
            part = replace(part, bytes=size_of(part.place, traffic))
        footer = _footer(part, traffic)
    metadata = _parse(footer, part.url)
    _check_readable(metadata, footer, part.url)
    digest = hashlib.sha256(footer[:-8]).hexdigest()
    binding = bind(metadata.schema.to_arrow_schema(), schema, part.url)
    return OpenPart(part, binding, digest, metadata, footer, traffic)


def _parse(footer: bytes, where: str) -> pq.FileMetaData:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(pa.BufferReader(MAGIC + footer))
    except (pa.ArrowException, OSError) as error:
        raise CorruptFile(
            f"its footer is no parquet footer: {first_line(error)}", where=where, todo=_AGAIN
        ) from error


def _check_readable(metadata: pq.FileMetaData, footer: bytes, where: str) -> None:
    # A footer that is signed, not encrypted: its columns are, and arrow ends the process over them.
    if len(footer) - 8 - metadata.serialized_size == _SIGNATURE:
        raise _encrypted(where)
    if not metadata.num_row_groups:
        return
    group = metadata.row_group(0)
    for number in range(group.num_columns):
        codec = str(group.column(number).compression)
        if codec == "LZO":  # the one codec of the format that no reader here knows
            raise SourceError(
                f"is compressed with {codec}, which cannot be read",
                where=where,
                todo="write it anew with snappy or zstd",
            )


def _encrypted(where: str) -> SourceError:
    return SourceError("is encrypted", where=where, todo="decrypt it with its key first")


def _footer(part: Part, traffic: Traffic) -> bytes:
    """The file's end from its metadata on, after a look at both ends."""
    with contextlib.closing(_Ends(part, traffic)) as file:
        share = file.size // _TAIL_SHARE
        tail = file.range(file.size - min(_TAIL_MOST, max(_TAIL_LEAST, share)), file.size)
        _check_ends(part, file, tail)
        length = struct.unpack("<I", tail[-8:-4])[0] + 8
        if length + len(MAGIC) > file.size:
            raise CorruptFile("its footer is larger than the file", where=part.url, todo=_AGAIN)
        return (file.range(file.size - length, file.size - len(tail)) + tail)[-length:]


class _Ends:
    """The two ends of a file; of a remote one, no byte more than asked for."""

    def __init__(self, part: Part, traffic: Traffic) -> None:
        self._part, self._traffic = part, traffic
        self._handle = None
        if is_remote(part.url):
            self.size = part.bytes
        else:
            self._handle = local_path(part.url).open("rb")
            self.size = self._handle.seek(0, os.SEEK_END)

    def range(self, start: int, end: int) -> bytes:
        """The bytes from start to end; none where start is not before it."""
        start = max(0, start)
        if end <= start:
            return b""
        if self._handle is None:
            return read_ranges(self._part.place, [(start, end)], self._traffic, self.size)[0]
        self._handle.seek(start)
        return self._handle.read(end - start)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.close()


def _check_ends(part: Part, file: _Ends, tail: bytes) -> None:
    whole = file.size <= len(tail)
    # A remote file that ends as it should is believed: its head would be one more request.
    skip = is_remote(part.url) and tail[-4:] == MAGIC
    head = tail if whole else MAGIC if skip else file.range(0, min(len(LFS_HEAD), file.size))
    if head.startswith(LFS_HEAD):
        raise LfsPointer(
            "is a git-lfs pointer, not the data", where=part.url, todo="run: git lfs pull"
        )
    if head.lstrip().lower().startswith(_WEB_PAGE):
        raise CorruptFile(
            "is a web page, not the data",
            where=part.url,
            todo="open its address in a browser: it may want a login, or have moved",
        )
    if tail[-4:] == ENCRYPTED:
        raise _encrypted(part.url)
    if file.size < 12 or not head.startswith(MAGIC):
        what = "is no parquet file" if file.size else "is empty: 0 bytes"
        raise CorruptFile(what, where=part.url, todo=_AGAIN)
    if tail[-4:] != MAGIC:
        raise CorruptFile(
            f"is truncated: {file.size:,} bytes and no parquet footer", where=part.url, todo=_AGAIN
        )


@contextlib.contextmanager
def _read_errors(url: str) -> Iterator[None]:
    """What the system says about reading, as one sentence."""
    try:
        yield
    except FileNotFoundError as error:
        link = not is_remote(url) and local_path(url).is_symlink()
        what = "is a link that leads nowhere" if link else "no such file"
        raise SourceNotFound(what, where=url, todo="check the path") from error
    except PermissionError as error:
        raise SourceError(
            "may not be read: permission denied", where=url, todo="ask its owner for the permission"
        ) from error
    except IsADirectoryError as error:
        raise SourceError("a folder with a file's name", where=url, todo="rename it") from error
    except OSError as error:
        said = os.strerror(error.errno) if error.errno else first_line(error)
        raise SourceError(f"cannot be read: {said}", where=url) from error
