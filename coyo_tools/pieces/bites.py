"""Parts in bites of a few row groups, as polars frames under COYO's names and types.

polars reads local files by itself: its reader decodes what a filter drops only where it must, which
halves the cost of scattered survivors. Of a remote part, only the columns in question are
fetched, into a local file that polars reads in its place (`pieces.held`).
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from coyo_tools.machinery.storage import first_line, is_remote, local_path
from coyo_tools.pieces.binding import target_type
from coyo_tools.pieces.held import Remote
from coyo_tools.pieces.parts import MAGIC, OpenPart, does_not_fit
from coyo_tools.pieces.shares import in_shares
from coyo_tools.pieces.spans import spans_of
from coyo_tools.words.errors import CorruptFile, RuleError, SchemaError, SourceError

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

BITE_ROWS = 300_000  # smaller row groups are taken together; COYO has larger ones

ROW = "?row"  # a column of row numbers, uint32; no column of a file is called so


@dataclass(frozen=True)
class Bite:
    """Consecutive row groups of a part. offset: the file's row at which they begin."""

    part: OpenPart
    row_groups: range
    offset: int
    rows: int


def bites(part: OpenPart, rows: int = BITE_ROWS, *, without: Container[int] = ()) -> Iterator[Bite]:
    """Every row group of the part, in order, as many together as stay within `rows`.

    without: row groups to leave out.
    """
    first = offset = held = 0
    for index in range(part.row_groups):
        count = int(part.metadata.row_group(index).num_rows)
        if held and (held + count > rows or index in without):
            yield Bite(part, range(first, index), offset, held)
            first, offset, held = index, offset + held, 0
        if index in without:
            first, offset = index + 1, offset + count
        else:
            held += count
    if held:
        yield Bite(part, range(first, part.row_groups), offset, held)


class Served:
    """A bite whose columns can be scanned. Made by `serve`.

    file_with: the local file in which columns by these names are.
    """

    def __init__(self, bite: Bite, file_with: Callable[[Sequence[str]], Path]) -> None:
        self._bite, self._file_with = bite, file_with

    def scan(self, columns: Sequence[str]) -> pl.LazyFrame:
        """These columns, by COYO's names and types. Raises SchemaError, SourceError."""
        import polars as pl

        return self._named(pl.scan_parquet(self._path(columns), glob=False), columns)

    def scan_judged(self, columns: Sequence[str], judged: Sequence[str]) -> pl.LazyFrame:
        """The same with `ROW`, the row's number, and without a look at statistics.

        judged: those of the columns that a predicate looks at. Raises as `scan`.
        """
        import polars as pl

        frame = pl.scan_parquet(
            self._path(columns),
            glob=False,
            row_index_name=ROW,
            use_statistics=False,
            schema=evenly_decoded(self._bite, columns, judged),
        )
        return self._named(frame, columns, ROW)

    def _path(self, columns: Sequence[str]) -> Path:
        part = self._bite.part
        with reading(self._bite):
            return self._file_with(part.binding.in_file(columns, part.part.url))

    def _named(self, frame: pl.LazyFrame, columns: Sequence[str], *others: str) -> pl.LazyFrame:
        rows = frame.slice(self._bite.offset, self._bite.rows)
        return _named(rows, self._bite.part, columns, *others)


def schema_of(part: OpenPart, columns: Sequence[str]) -> pl.Schema:
    """The polars types that `Served.scan` gives these columns, from the footer alone."""
    return _named(_nothing(part), part, columns).collect_schema()


def _nothing(part: OpenPart) -> pl.LazyFrame:
    """The file's columns without its rows, from the footer alone."""
    import polars as pl

    return pl.scan_parquet(io.BytesIO(MAGIC + part.footer))


def evenly_decoded(
    bite: Bite, columns: Sequence[str], judged: Sequence[str]
) -> dict[str, pl.DataType]:
    """The file's columns and their types, in an order in which polars' threads have equal shares of
    `columns` to decode; judged: those that it decodes first. See `pieces.shares`."""
    import polars as pl

    part, threads = bite.part, pl.thread_pool_size()
    types = _nothing(part).collect_schema()
    weights = dict.fromkeys(part.binding.in_file(columns, part.part.url), 0)
    asked = [(bite.row_groups.start, name) for name in weights]
    for start, end, (_, name) in spans_of(part.metadata, asked):
        weights[name] += end - start
    first = part.binding.in_file(judged, part.part.url)
    then = [name for name in weights if name not in first]
    shares = [in_shares({name: weights[name] for name in each}, threads) for each in (first, then)]
    return {name: types[name] for name in dict.fromkeys([*shares[0], *shares[1], *types])}


def _named(
    frame: pl.LazyFrame, part: OpenPart, columns: Sequence[str], *others: str
) -> pl.LazyFrame:
    import pyarrow as pa

    own = part.binding.in_file(columns, part.part.url)
    types = part.metadata.schema.to_arrow_schema()
    as_they_are = not any(
        name in part.binding.casts or pa.types.is_dictionary(types.field(name).type)
        for name in own  # pandas' categories come as dictionaries, to which no text rule applies
    )
    if list(columns) == own and as_they_are:
        return frame.select(*columns, *others)
    return frame.select(*(_converted(part, name) for name in columns), *others)


@contextlib.contextmanager
def serve(bite: Bite) -> Iterator[Served]:
    """The bite, ready to be scanned; what had to be fetched is gone when the block ends, unless the
    part holds it."""
    url = bite.part.part.url
    if not is_remote(url):
        path = local_path(url)
        yield Served(bite, lambda _: path)
        return
    with tempfile.TemporaryDirectory(prefix="coyo-") as scratch:
        yield Served(bite, Remote(bite.part, bite.row_groups, Path(scratch)).file_with)


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
        if "conversion from `i128`" in str(error):  # no file has these: it is a calculated one
            raise RuleError(
                "a calculated number does not fit int64",
                where=where,
                todo="CAST a column of --by or --of AS DOUBLE",
            ) from error
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
