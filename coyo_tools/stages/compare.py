"""The one unit of `compare`: scores in memory, the source streamed past them by row group.

Memory is proportional to the rows of the scores, whatever the size of the source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces.first_rows import first_rows
from coyo_tools.pieces.phash import HEX_DIGITS
from coyo_tools.pieces.source import OpenPart
from coyo_tools.words.errors import SchemaError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

PHASH = "image_phash"
PHASH_NOW = "image_phash_now"  # of the fetched original, as `download --verify-phash` stores it
NOT_COMPARED = frozenset(("id", "key", "url", "text", "caption", "error"))


@dataclass
class Values:
    """One column, a row a scored picture in id order. known: where there is a value (no NaN)."""

    array: Array
    known: Array


@dataclass
class Joined:
    """Scores beside what SOURCE stores for the same ids.

    ids: sorted, each once. found: which of them SOURCE has. recomputed, stored: by column.
    duplicate_ids: further rows of an id that was taken already, on either side.
    """

    ids: Array
    found: Array
    recomputed: dict[str, Values]
    stored: dict[str, Values] = field(default_factory=dict)
    rows: int = 0
    without_id: int = 0
    duplicate_ids_in_scores: int = 0
    duplicate_ids_in_source: int = 0


def comparable_in(parts: Iterable[OpenPart]) -> dict[str, str]:
    """Columns that can be compared in one part or another, with their kind, in their order."""
    return {name: kind for part in parts for name, kind in comparable(part).items()}


def comparable(part: OpenPart) -> dict[str, str]:
    """Columns of a part that can be compared, with their kind: number or hash."""
    import pyarrow as pa

    found = {}
    for name in part.schema.names:
        kind = part.schema.field(name).type
        if name in NOT_COMPARED:
            continue
        if name in (PHASH, PHASH_NOW):
            if pa.types.is_string(kind):
                found[name] = "hash"
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
            found[name] = "number"
    return found


def load_scores(parts: Iterable[OpenPart], columns: Sequence[str]) -> Joined:
    """All scores, sorted by id, rows without an id and further rows of one id left out.

    What one of the parts has not, or not as number or hash, is not known there.
    """
    import numpy as np

    rows, ids = 0, []
    found: dict[str, list[Values]] = {name: [] for name in columns}
    for part in parts:
        if "id" not in part.binding.columns:
            raise SchemaError("has no column 'id' to join on", where=part.part.url)
        here = [name for name in comparable(part) if name in columns]
        for table in part.batches(["id", *here]):
            whole = table.filter(table.column("id").is_valid())
            rows += table.num_rows
            ids.append(whole.column("id").to_numpy())
            for name, pieces in found.items():
                known = name in here
                pieces.append(values_of(whole.column(name)) if known else _unknown(whole.num_rows))
    together = np.concatenate(ids)
    each, first = np.unique(together, return_index=True)
    return Joined(
        each,
        np.zeros(len(each), bool),
        {name: _at(first, pieces) for name, pieces in found.items()},
        rows=rows,
        without_id=rows - len(together),
        duplicate_ids_in_scores=len(together) - len(each),
    )


def _unknown(rows: int) -> Values:
    import numpy as np

    return Values(np.zeros(rows, np.uint8), np.zeros(rows, bool))  # changes no other type


def _at(places: Array, pieces: Sequence[Values]) -> Values:
    """The values of these rows of all pieces, in the type that holds them all."""
    import numpy as np

    array = np.concatenate([piece.array for piece in pieces])
    return Values(array[places], np.concatenate([piece.known for piece in pieces])[places])


def values_of(column: pa.ChunkedArray) -> Values:
    """A column as numpy values and where they are known; hashes as uint64."""
    import numpy as np
    import pyarrow as pa

    known = column.is_valid().to_numpy()
    if pa.types.is_floating(column.type):
        array = column.fill_null(np.nan).to_numpy()
        return Values(array, known & ~np.isnan(array))
    if pa.types.is_integer(column.type):
        whole = np.uint64 if pa.types.is_uint64(column.type) else np.int64
        return Values(column.fill_null(0).to_numpy().astype(whole), known)
    return _hashes(column)


def _hashes(column: pa.ChunkedArray) -> Values:
    """16 hex digits as uint64; anything else is not known."""
    import numpy as np
    import pyarrow.compute as pc

    pattern = f"^[0-9a-fA-F]{{{HEX_DIGITS}}}$"
    known = pc.match_substring_regex(column.cast("string"), pattern).fill_null(False).to_numpy()
    digits = "".join(column.filter(known).to_pylist())
    array = np.zeros(len(known), np.uint64)
    array[known] = np.frombuffer(bytes.fromhex(digits), ">u8").astype(np.uint64)
    return Values(array, known)


def join(
    joined: Joined,
    parts: Sequence[OpenPart],
    columns: Sequence[str],
    told: Callable[[int], None],
) -> None:
    """Fill in what SOURCE stores. The first row of an id counts. told: rows read, by row group."""
    for part in parts:
        here = [name for name in comparable(part) if name in columns]
        if "id" not in part.binding.columns:
            raise SchemaError("has no column 'id' to join on", where=part.part.url)
        for table in part.batches(["id", *here]):
            _fill(joined, table, here)
            told(table.num_rows)


def _fill(joined: Joined, table: pa.Table, columns: Sequence[str]) -> None:
    import numpy as np

    table = table.filter(table.column("id").is_valid())
    ids = table.column("id").to_numpy()
    places, rows, further = first_rows(joined.ids, joined.found, ids)
    joined.duplicate_ids_in_source += further
    joined.found[places] = True
    taken = table.take(rows)
    for name in columns:
        values = values_of(taken.column(name))
        if name not in joined.stored:
            size = len(joined.ids)
            joined.stored[name] = Values(np.zeros(size, values.array.dtype), np.zeros(size, bool))
        into = joined.stored[name]
        if into.array.dtype != values.array.dtype:
            into.array = into.array.astype(np.result_type(into.array, values.array))
        into.array[places] = values.array
        into.known[places] = values.known
