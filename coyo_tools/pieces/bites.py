"""Parts in bites of a few row groups, as polars frames under COYO's names and types.

polars reads local files by itself: its reader decodes what a filter drops only where it must, which
halves the cost of scattered survivors. Of a remote part, the byte ranges of the columns in question
are laid into a sparse local file at their own offsets, with the footer at its end; polars
reads that, and no byte is fetched that no one asked for.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from coyo_tools.machinery.ranges import copy_ranges
from coyo_tools.machinery.storage import first_line, is_remote, local_path, storage_errors
from coyo_tools.pieces.binding import target_type
from coyo_tools.pieces.parts import MAGIC, OpenPart, does_not_fit
from coyo_tools.words.errors import CorruptFile, RuleError, SchemaError, SourceError

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

BITE_ROWS = 650_000  # a row group of Spark's at COYO's row width; smaller ones are taken together

ROW = "?row"  # a column of row numbers, uint32; no column of a file is called so


@dataclass(frozen=True)
class Bite:
    """Consecutive row groups of a part. offset: the file's row at which they begin."""

    part: OpenPart
    row_groups: range
    offset: int
    rows: int


def bites(part: OpenPart, rows: int = BITE_ROWS) -> Iterator[Bite]:
    """Every row group of the part, in order, as many together as stay within `rows`."""
    first = offset = held = 0
    for index in range(part.row_groups):
        count = int(part.metadata.row_group(index).num_rows)
        if held and held + count > rows:
            yield Bite(part, range(first, index), offset, held)
            first, offset, held = index, offset + held, 0
        held += count
    if held:
        yield Bite(part, range(first, part.row_groups), offset, held)


class Served:
    """A bite whose columns can be scanned. Made by `serve`."""

    def __init__(self, bite: Bite, path: Path, *, remote: bool) -> None:
        self._bite, self._path, self._remote = bite, path, remote
        self._here: set[str] = set()

    def scan(self, columns: Sequence[str]) -> pl.LazyFrame:
        """These columns, by COYO's names and types. Raises SchemaError, SourceError."""
        import polars as pl

        part, bite = self._bite.part, self._bite
        if self._remote:
            own = part.binding.in_file(columns, part.part.url)
            self._fetch([name for name in own if name not in self._here])
        frame = pl.scan_parquet(self._path, glob=False).slice(bite.offset, bite.rows)
        return _named(frame, part, columns)

    def _fetch(self, own: Sequence[str]) -> None:
        if not own:
            return
        part = self._bite.part
        with reading(self._bite), self._path.open("r+b") as file:

            def sink(position: int, chunk: bytes) -> None:
                with storage_errors(str(self._path)):
                    file.seek(position)
                    file.write(chunk)

            ranges = _ranges(self._bite, own)
            copy_ranges(part.part.place, ranges, part.traffic, sink, part.part.bytes)
        self._here.update(own)


def scan(part: OpenPart, columns: Sequence[str]) -> pl.LazyFrame:
    """These columns of a whole local part, by COYO's names and types, and `ROW`, the row's number.

    No row group is left out for its statistics. Raises SchemaError.
    """
    import polars as pl

    path = local_path(part.part.url)
    frame = pl.scan_parquet(path, glob=False, row_index_name=ROW, use_statistics=False)
    return _named(frame, part, columns, ROW)


def schema_of(part: OpenPart, columns: Sequence[str]) -> pl.Schema:
    """The polars types that `Served.scan` gives these columns, from the footer alone."""
    import polars as pl

    nothing = pl.scan_parquet(io.BytesIO(MAGIC + part.footer))
    return _named(nothing, part, columns).collect_schema()


def _named(
    frame: pl.LazyFrame, part: OpenPart, columns: Sequence[str], *others: str
) -> pl.LazyFrame:
    own = part.binding.in_file(columns, part.part.url)
    if list(columns) == own and not any(name in part.binding.casts for name in columns):
        return frame.select(*columns, *others)
    return frame.select(*(_converted(part, name) for name in columns), *others)


@contextlib.contextmanager
def serve(bite: Bite) -> Iterator[Served]:
    """The bite, ready to be scanned; what had to be fetched is gone when the block ends."""
    part = bite.part.part
    if not is_remote(part.url):
        yield Served(bite, local_path(part.url), remote=False)
        return
    with tempfile.TemporaryDirectory(prefix="coyo-") as scratch:
        path = Path(scratch) / "part.parquet"
        with storage_errors(scratch), path.open("wb") as file:
            file.write(MAGIC)
            file.seek(part.bytes - len(bite.part.footer))
            file.write(bite.part.footer)
        yield Served(bite, path, remote=True)


def _ranges(bite: Bite, own: Sequence[str]) -> list[tuple[int, int]]:
    """Where these columns' bytes lie: (start, end), in order, neighbours joined."""
    spans = sorted(_spans(bite, set(own)))
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _spans(bite: Bite, own: set[str]) -> Iterator[tuple[int, int]]:
    for index in bite.row_groups:
        group = bite.part.metadata.row_group(index)
        for number in range(group.num_columns):
            chunk = group.column(number)
            path = chunk.path_in_schema
            if path in own or any(path.startswith(f"{name}.") for name in own):
                offsets = [chunk.data_page_offset, chunk.dictionary_page_offset or 0]
                start = min(offset for offset in offsets if offset > 0)
                yield start, start + chunk.total_compressed_size


def _converted(part: OpenPart, name: str) -> pl.Expr:
    """The file's column under COYO's name and type; what does not fit raises in polars."""
    import polars as pl

    own = pl.col(part.binding.columns[name])
    raw = part.metadata.schema.to_arrow_schema().field(part.binding.columns[name]).type
    if name not in part.binding.casts and target_type(name, raw) == raw:
        return own.alias(name)
    wanted = _polars_type(str(target_type(name, raw))) or pl.String()
    if wanted.is_integer() and str(raw) in ("halffloat", "float", "double"):
        # A copy made through JSON or pandas: nulls came as NaN; a fraction, or an id beyond what
        # a float tells apart, becomes a value that no integer type holds, so that the cast fails.
        value = own.cast(pl.Float64).fill_nan(None)
        whole = (value == value.round()) & (value.abs() <= 2.0**53)
        own = pl.when(whole | value.is_null()).then(value).otherwise(1e300)
    return own.cast(wanted, strict=True).alias(name)


def polars_types(schema: pa.Schema) -> dict[str, pl.DataType]:
    """The columns of `OpenPart.schema` as polars names them; Unknown where no rule can read them.

    By a table, because polars' and arrow's own ways to find out import pandas.
    """
    import polars as pl

    return {field.name: _polars_type(str(field.type)) or pl.Unknown() for field in schema}


def _polars_type(arrow: str) -> pl.DataType | None:
    import polars as pl

    odd = {"float": pl.Float32(), "double": pl.Float64(), "bool": pl.Boolean(),
           "string": pl.String(), "null": pl.Null(), "halffloat": pl.Float32()}  # fmt: skip
    if arrow in odd:
        return odd[arrow]
    bits = arrow.removeprefix("u").removeprefix("int")
    if bits in ("8", "16", "32", "64") and arrow.endswith(f"int{bits}"):
        dtype: pl.DataType = getattr(pl, ("UInt" if arrow.startswith("u") else "Int") + bits)()
        return dtype
    return None


@contextlib.contextmanager
def reading(bite: Bite) -> Iterator[None]:
    """Turn what polars says about the file's bytes or values into one sentence."""
    import polars as pl

    where = bite.part.part.url
    try:
        yield
    except pl.exceptions.InvalidOperationError as error:
        if "conversion" in str(error):
            raise _misfit(bite, error) from error
        raise RuleError(
            f"a rule cannot be evaluated: {first_line(error)}",
            where=where,
            todo="put it in other words, or convert the column",
        ) from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise CorruptFile(
            f"{_groups(bite)} cannot be read: {first_line(error)}",
            where=where,
            todo="fetch the file again",
        ) from error
    except FileNotFoundError as error:
        raise SourceError("is gone since it was listed", where=where) from error
    except OSError as error:
        raise SourceError(
            f"{_groups(bite)} cannot be read: {os.strerror(error.errno) if error.errno else error}",
            where=where,
        ) from error


def _groups(bite: Bite) -> str:
    first, last = bite.row_groups.start, bite.row_groups.stop - 1
    return f"row group {first}" if first == last else f"one of row groups {first} to {last}"


def _misfit(bite: Bite, error: Exception) -> SchemaError:
    """Which column it was: polars names it in its message, by the file's name."""
    binding = bite.part.binding
    named = [n for n in binding.casts if f"'{binding.columns[n]}'" in str(error)]
    name = (named or list(binding.casts) or ["id"])[0]
    found = binding.casts.get(name, "another type")
    return does_not_fit(name, bite.part.part.url, f"it is {found}, with a fraction or out of range")
