"""The rows of a shard: which columns they have, and what one fetched row came to.

Own columns come first and are the same in every shard; every column of the metadata follows. A
metadata column whose name is one of the own names is kept as `metadata_NAME`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coyo_tools.words.errors import SchemaError
from coyo_tools.words.failures import SUCCESS, Failure

if TYPE_CHECKING:
    import pyarrow as pa

# Own columns with their arrow types. `id`, `url` and `caption` come from the metadata.
OWN = {
    "id": "int64",
    "key": "string",
    "url": "string",
    "caption": "string",
    "status": "string",
    "error": "string",
    "error_message": "string",
    "width": "int32",
    "height": "int32",
    "original_width": "int32",
    "original_height": "int32",
    "sha256": "string",
}
OWN_PHASH = {"image_phash_now": "string", "phash_distance": "int32", "drift": "string"}
_FROM_METADATA = {"id": "id", "url": "url", "caption": "text"}
_STORED_PHASH = "image_phash"


@dataclass(frozen=True)
class Outcome:
    """What became of one row. Sizes in px. extension, data: of the stored picture.

    failure: None for a success. sha256: of the fetched bytes, where there were any. phash: of
    the fetched original, where it was asked for. fetched_bytes: of the body, where one was decoded
    in this run.
    """

    failure: Failure | None = None
    extension: str = ""
    data: bytes = b""
    width: int | None = None
    height: int | None = None
    original_width: int | None = None
    original_height: int | None = None
    sha256: str | None = None
    phash: str | None = None
    fetched_bytes: int = 0


def key_of(row_id: int) -> str:
    """The row's name in the tar: its id, zero-padded to 16 digits."""
    return f"{row_id:016d}"


def own_columns(with_phash: bool) -> dict[str, str]:
    """Names and arrow types of the own columns, in order."""
    return {**OWN, **OWN_PHASH} if with_phash else dict(OWN)


def layout(names: Sequence[str], where: str, *, with_phash: bool) -> dict[str, str]:
    """Shard column to metadata column, for id, url and caption and everything that is kept.

    names: the metadata's columns, by COYO's names. Raises SchemaError where there is no url.
    """
    if "url" not in names:
        raise SchemaError(
            "has no column 'url'", where=where, todo="name the right --schema, or keep the column"
        )
    found = {own: name for own, name in _FROM_METADATA.items() if name in names}
    if "text" not in names and "caption" in names:
        found["caption"] = "caption"
    taken = set(own_columns(with_phash)) | set(names)
    own = own_columns(with_phash)
    for name in names:
        if name in found.values():
            continue
        kept = name
        while kept in own or (kept != name and kept in taken):
            kept = f"metadata_{kept}"
        found[kept] = name
    return found


def to_shard_columns(table: pa.Table, columns: Mapping[str, str], first_row: int) -> pa.Table:
    """The metadata's rows under the shard's names: id, url, caption, then the metadata columns.

    first_row: number of the table's first row in the whole input; where there is no id, rows
    are numbered. A caption that is absent is null.
    """
    import pyarrow as pa

    rows = table.num_rows
    arrays: dict[str, Any] = {}
    for own in _FROM_METADATA:
        kind = pa.type_for_alias(OWN[own])
        if own in columns:
            arrays[own] = table.column(columns[own]).cast(kind)
        elif own == "id":
            arrays[own] = pa.array(range(first_row, first_row + rows), kind)
        else:
            arrays[own] = pa.nulls(rows, kind)
    for name, source in columns.items():
        arrays.setdefault(name, table.column(source))
    return pa.table(arrays)


class Rows:
    """The metadata rows of one shard, and their records.

    table: as `to_shard_columns` makes it.
    """

    def __init__(self, table: pa.Table, *, with_phash: bool) -> None:
        self.table, self.with_phash = table, with_phash
        self.ids: list[int] = table.column("id").to_pylist()
        self.urls: list[str | None] = table.column("url").to_pylist()
        self.captions: list[str | None] = table.column("caption").to_pylist()
        self._names = [n for n in table.column_names if n not in _FROM_METADATA]
        self._columns = [table.column(name).to_pylist() for name in self._names]
        self._own = own_columns(with_phash)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def own_names(self) -> list[str]:
        """Names of the own columns, in order."""
        return list(self._own)

    def own(self, row: int, outcome: Outcome) -> dict[str, Any]:
        """The own columns of one row, in order."""
        failure = outcome.failure
        values = {
            "id": self.ids[row],
            "key": key_of(self.ids[row]),
            "url": self.urls[row],
            "caption": self.captions[row],
            "status": failure.status if failure else SUCCESS,
            "error": failure.error if failure else None,
            "error_message": (failure.message or failure.error) if failure else None,
            "width": outcome.width,
            "height": outcome.height,
            "original_width": outcome.original_width,
            "original_height": outcome.original_height,
            "sha256": outcome.sha256,
        }
        return values | self._phash(row, outcome.phash) if self.with_phash else values

    def _phash(self, row: int, now: str | None) -> dict[str, Any]:
        from coyo_tools.pieces import phash

        stored = None
        if _STORED_PHASH in self._names:
            stored = self._columns[self._names.index(_STORED_PHASH)][row]
        try:
            bits = phash.distance(stored, now) if stored and now else None
        except ValueError:
            bits = None
        return {
            "image_phash_now": now,
            "phash_distance": bits,
            "drift": None if bits is None else phash.drift(bits),
        }

    def to_json(self, row: int, own: Mapping[str, Any]) -> bytes:
        """The row as KEY.json holds it. NaN and infinities become null: JSON has no such number."""
        record = dict(own)
        record.update(zip(self._names, (column[row] for column in self._columns), strict=True))
        try:
            text = json.dumps(record, ensure_ascii=False, allow_nan=False, default=str)
        except ValueError:
            text = json.dumps(_finite(record), ensure_ascii=False, default=str)
        return text.encode()

    def to_table(self, own: Sequence[Mapping[str, Any]]) -> pa.Table:
        """Every row as the shard's parquet holds it. own: `own()` of each row, in order."""
        import pyarrow as pa

        arrays = {
            name: pa.array([values[name] for values in own], pa.type_for_alias(kind))
            for name, kind in self._own.items()
        }
        arrays.update({name: self.table.column(name) for name in self._names})
        return pa.table(arrays)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
