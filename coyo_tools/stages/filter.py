"""One part of metadata in, one part out: the rows that pass every rule, in their order.

The part is read in bites of a few row groups. Of each, the rules' columns are read first and
counted; only where something survives are the others read too, by polars' own reader, which
decodes what the rules drop only where it must. The next bite is read while this one's survivors
are written.
Memory is bounded by a bite (one row group, or several small ones), never by the part.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from coyo_tools.machinery.storage import Folder
from coyo_tools.pieces.bites import Bite, bites, reading, serve
from coyo_tools.pieces.funnel import Counts, counted, counting, tests_of
from coyo_tools.pieces.rules import AnyRule
from coyo_tools.pieces.selections import cuts_of
from coyo_tools.pieces.source import OpenPart, open_part, part_at
from coyo_tools.words.errors import CorruptFile, CoyoError
from coyo_tools.words.schema import COYO

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

METADATA_KEY = "coyo.filter"
ROW_GROUP_ROWS = 131_072  # of the output: about 20 MB a row group, small enough for every reader
ZSTD_LEVEL = 1  # against level 3: 3 % more bytes for 22 % less CPU in writing (bench_filter.py)

Item = TypeVar("Item")


@dataclass(frozen=True)
class Filter:
    """What to do with a part. columns: to write, COYO's names. fingerprint: of rules and columns.

    ids: whether the ids of the kept rows are to be handed on for the digest.
    """

    rules: tuple[AnyRule, ...]
    columns: tuple[str, ...]
    fingerprint: str
    ids: bool


@dataclass(frozen=True)
class Filtered:
    """A part that is done. bytes: of the output file. ids: a sorted .npy of int64, or None."""

    counts: Counts
    bytes: int
    ids: Path | None


class Stopped(Exception):
    """Another part failed: this one is left unwritten."""


def filter_part(
    part: OpenPart,
    what: Filter,
    folder: Folder,
    scratch: Path,
    *,
    read_ahead: bool = True,
    on_rows: Callable[[int], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Filtered:
    """Filter one part into `folder`, under its name.

    scratch: a local folder for the ids. read_ahead: read the next bite while this one's rows are
    written, for about twice the memory. on_rows: hears how many more rows have been read.
    stopped: asked before each bite whether to give up, by raising Stopped.
    Raises SourceError, SchemaError, StorageError.
    """
    counts = Counts.none(len(what.rules))
    ids: list[np.ndarray[Any, Any]] = []
    with folder.stage(part.part.name) as path:
        with _Writer(path, part, what) as writer:
            bitten = _survivors(part, what)
            for bite_counts, kept in _ahead(bitten) if read_ahead else bitten:
                if stopped():
                    raise Stopped
                counts += bite_counts
                if kept is not None:
                    if what.ids:
                        ids.append(kept["id"].drop_nulls().to_numpy())
                    writer.write(kept.select(what.columns))
                on_rows(bite_counts.rows)
            found = {"cuts": cuts} if (cuts := cuts_of(what.rules)) else {}
            writer.close({"filter": what.fingerprint, "counts": counts.to_json(), **found})
        size = path.stat().st_size
    return Filtered(counts, size, _save(ids, scratch, part.part.name) if what.ids else None)


def filtered_before(part: OpenPart, what: Filter, folder: Folder, scratch: Path) -> Filtered | None:
    """What an earlier run made of this part, from its output's metadata; None where it has to run.

    An output of other rules, of another input or one that cannot be read counts as none.
    """
    if not folder.exists(part.part.name):
        return None
    try:
        output = open_part(part_at(folder.url_of(part.part.name)), "coyo")
        said = json.loads((output.metadata.metadata or {})[METADATA_KEY.encode()])
        counts = Counts.from_json(said["counts"])
        if said["filter"] != what.fingerprint or counts.kept != output.rows:
            return None
        ids = _ids_again(part, output, what) if what.ids else []
    except (CoyoError, KeyError, TypeError, ValueError):
        return None
    path = _save(ids, scratch, part.part.name) if what.ids else None
    return Filtered(counts, output.part.bytes, path)


def _ids_again(part: OpenPart, output: OpenPart, what: Filter) -> list[np.ndarray[Any, Any]]:
    """The kept ids from the output, or from the input where they were not written."""
    if "id" in what.columns:
        return [_numbers(t.column("id")) for t in output.batches(["id"])]
    only_ids = Filter(what.rules, ("id",), what.fingerprint, True)
    kept = [frame for _, frame in _survivors(part, only_ids) if frame is not None]
    return [frame["id"].drop_nulls().to_numpy() for frame in kept]


def _numbers(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.asarray(column.drop_null().to_numpy())


def _save(ids: Sequence[np.ndarray[Any, Any]], scratch: Path, name: str) -> Path:
    import numpy as np

    path = scratch / f"{name}.npy"
    whole = np.concatenate([np.empty(0, np.int64), *ids])
    whole.sort()
    np.save(path, whole)
    return path


def _survivors(part: OpenPart, what: Filter) -> Iterator[tuple[Counts, pl.DataFrame | None]]:
    """Per bite its counts and the rows that pass, all columns that are asked for."""
    tests, read = tests_of(what.rules, part)
    wanted = tuple(dict.fromkeys([*what.columns, *(("id",) if what.ids else ())]))
    for bite in bites(part):
        with reading(bite), serve(bite) as served:
            counts = Counts(bite.rows)
            if tests:
                row = served.scan(read).select(counting(tests)).collect().row(0, named=True)
                counts = counted(bite.rows, row, len(tests))
            if counts.kept == 0:
                yield counts, None
                continue
            needed = tuple(dict.fromkeys([*wanted, *read]))
            found = served.scan(needed)
            if tests:  # polars takes no empty list of conditions
                found = found.filter([t.passes for t in tests])
            rows = found.select(wanted).collect()
        _agree(bite, counts, rows)
        yield counts, rows


def _agree(bite: Bite, counts: Counts, rows: pl.DataFrame) -> None:
    """Both passes over the bite have to see the same rows: the file has not changed meanwhile."""
    if rows.height != counts.kept:
        raise CorruptFile(
            f"gave {counts.kept:,} rows and then {rows.height:,} for the same rules",
            where=bite.part.part.url,
            todo="make sure that nothing writes the file, and run again",
        )


def _ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, the next one made in a thread while this one is in use."""
    with ThreadPoolExecutor(1) as pool, contextlib.suppress(StopIteration):
        coming = pool.submit(_next, items)
        while True:
            (item,) = coming.result()
            coming = pool.submit(_next, items)
            yield item


def _next(items: Iterator[Item]) -> tuple[Item]:
    """The next item, packed; at the end an empty tuple would not unpack, so it stops there."""
    return (next(items),)


class _Writer:
    """The output file: row groups of `ROW_GROUP_ROWS`, the last one smaller."""

    def __init__(self, path: Path, part: OpenPart, what: Filter) -> None:
        import pyarrow as pa

        self._path = path
        self._schema = pa.schema([part.schema.field(name) for name in what.columns])
        self._waiting: list[pa.Table] = []
        self._file: pq.ParquetWriter | None = None

    def __enter__(self) -> _Writer:
        import pyarrow.parquet as pq

        self._file = pq.ParquetWriter(
            self._path,
            self._schema,
            compression="zstd",
            compression_level=ZSTD_LEVEL,
            use_dictionary=[f.name for f in self._schema if _repeats(f)],
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, rows: pl.DataFrame) -> None:
        """Add rows; full row groups go to the file."""
        import polars as pl

        start = 0
        while start < rows.height:
            piece = rows.slice(start, ROW_GROUP_ROWS - self._held)
            start += piece.height
            table = piece.to_arrow(compat_level=pl.CompatLevel.oldest())
            self._waiting.append(table.cast(self._schema))
            if self._held == ROW_GROUP_ROWS:
                self._flush()

    def close(self, record: dict[str, Any]) -> None:
        """Write what waits, and the record into the file's metadata."""
        assert self._file is not None
        if self._waiting:
            self._flush()
        self._file.add_key_value_metadata({METADATA_KEY: json.dumps(record)})

    @property
    def _held(self) -> int:
        return sum(len(table) for table in self._waiting)

    def _flush(self) -> None:
        import pyarrow as pa

        assert self._file is not None
        # One chunk a column: how the input was cut must not show in the output's pages.
        group = pa.concat_tables(self._waiting).combine_chunks()
        self._waiting = []
        self._file.write_table(group, row_group_size=ROW_GROUP_ROWS)


def _repeats(field: pa.Field) -> bool:
    """Whether a dictionary is worth trying: not for keys, captions and full-precision scores."""
    import pyarrow as pa

    known = COYO.get(field.name)
    if known is not None:
        return known.dtype == "int32" or known.float16_valued
    return bool(pa.types.is_integer(field.type) or pa.types.is_string(field.type))
