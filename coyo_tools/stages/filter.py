"""One part of metadata in, one part out: the rows that pass every rule, in their order.

The part is read in bites of a few row groups, and polars writes one while the next is read. A local
bite is one query: the rules' columns are decoded first and judged, the rest only where it must be.
A local part whose row groups are small is one bite, and that query writes it too.
Of a remote bite no byte is fetched that is not needed: first the rules' columns, then the
others where something survives. Both give the same bytes. Row groups that statistics rule out are
not read.
Memory is bounded by a few row groups, never by the part.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery.storage import Folder, is_remote
from coyo_tools.pieces.bites import BITE_ROWS, Bite, Served, bites, reading, schema_of, serve
from coyo_tools.pieces.funnel import Counts, columns_after, tests_of
from coyo_tools.pieces.judging import Judge, Stopped
from coyo_tools.pieces.prune import ruled_out
from coyo_tools.pieces.rules import AnyRule
from coyo_tools.pieces.selections import cuts_of
from coyo_tools.pieces.source import OpenPart, open_part, part_at
from coyo_tools.pieces.sql_terms import expr_of
from coyo_tools.pieces.written import ROW_GROUP_ROWS, write_frame
from coyo_tools.words.errors import CorruptFile, CoyoError

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "Filter",
    "Filtered",
    "Hooks",
    "Stopped",
    "filter_part",
    "filtered_before",
    "has_large_groups",
]

METADATA_KEY = "coyo.filter"
# Of the rows judged so far. Where no more pass, two parts at once take about the memory of one of
# which a third does: 290 to 350 MB in the median of runs (benchmarks/RESULTS.md).
_FEW = 0.1
_ENOUGH = BITE_ROWS  # rows, to tell by
# Rows of a row group. polars decodes several at once where it can: of this size that is faster than
# bites and takes less memory; of 125,000 it is no faster and takes 80 MB more.
_SMALL = ROW_GROUP_ROWS


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
    """A part that is done. bytes: of the output file. ids: a .npy of int64, or None."""

    counts: Counts
    bytes: int
    ids: Path | None


@dataclass(frozen=True)
class Hooks:
    """What is heard from a part on its way, in any thread.

    on_rows: how many more rows have been judged. on_room: another part may be begun beside this
    one, as its last row group is decoded (of small ones, judged) and what is left is to write it;
    or as so few pass that two take little memory. stopped: whether to give up, by raising Stopped.
    """

    on_rows: Callable[[int], None] = lambda _: None
    on_room: Callable[[], None] = lambda: None
    stopped: Callable[[], bool] = lambda: False


def filter_part(
    part: OpenPart, what: Filter, folder: Folder, scratch: Path, hooks: Hooks | None = None
) -> Filtered:
    """Filter one part into `folder`, under its name. scratch: a local folder for the ids.

    Raises SourceError, SchemaError, StorageError, Stopped.
    """
    query = _Query(part, what, hooks or Hooks())
    with folder.stage(part.part.name) as path:
        query.write(path)
        size = path.stat().st_size
        ids = _save(query.ids(path), scratch, part.part.name) if what.ids else None
    return Filtered(query.counts, size, ids)


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


def _ids_again(part: OpenPart, output: OpenPart, what: Filter) -> list[pl.Series]:
    """The kept ids from the output, or from the input where they were not written."""
    import polars as pl

    if "id" in what.columns:
        numbers = (t.column("id").drop_null() for t in output.batches(["id"]))
        return [pl.Series(column) for column in numbers]
    query = _Query(part, Filter(what.rules, ("id",), what.fingerprint, ids=False), Hooks())
    with query.errors():
        return [query.rows().select("id").drop_nulls().collect().to_series()]


def _save(ids: Sequence[pl.Series], scratch: Path, name: str) -> Path:
    import numpy as np
    import polars as pl

    path = scratch / f"{name}.npy"
    whole = pl.concat([pl.Series("id", [], pl.Int64), *(each.alias("id") for each in ids)])
    np.save(path, whole.to_numpy())
    return path


def has_large_groups(part: OpenPart) -> bool:
    """Whether polars is given the part's row groups one by one."""
    groups = range(part.row_groups)
    return any(int(part.metadata.row_group(group).num_rows) > _SMALL for group in groups)


class _Query:
    """The rows of one part that pass. To be asked for once: asking counts them."""

    def __init__(self, part: OpenPart, what: Filter, hooks: Hooks) -> None:
        self._part, self._what, self._hooks = part, what, hooks
        self._tests, self._read = tests_of(what.rules, part)
        self._unread = ruled_out(part, what.rules)
        self._remote = is_remote(part.part.url)
        self._whole = not self._remote and not has_large_groups(part)
        # Ids that are not written are caught on their way.
        self._catch_ids = what.ids and "id" not in what.columns
        self._judge = self._new_judge()
        self._ids: list[pl.Series] = []
        self._from_bites = False
        self._failure: BaseException | None = None

    def _new_judge(self) -> Judge:
        return Judge(
            self._tests,
            on_rows=self._heard,
            stopped=self._hooks.stopped,
            catch_ids=self._catch_ids and not self._remote,
        )

    @property
    def counts(self) -> Counts:
        """What the rules have done so far."""
        return self._judge.counts

    def write(self, path: Path) -> None:
        """Write the rows that pass. Raises what `filter_part` does."""
        with self.errors():
            if not (self._whole and self._wrote_at_once(path)):
                self._write(self.rows(), path)
        if self.counts.rows != self._part.rows:
            raise self._changed(f"{self.counts.rows:,} rows where it said {self._part.rows:,}")

    def _wrote_at_once(self, path: Path) -> bool:
        """Write the part in one query, in which no row comes by Python; whether that was done.

        Where it fails it is made again from bites, which tells what could not be read from what
        could not be written.
        """
        import polars as pl

        found = list(self._bites())
        if len(found) != 1:
            return False
        try:
            with serve(found[0]) as served:
                self._leave_unread()
                self._write(self._passing(served), path)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
            self._failure = self._judge.failure
            if self._failure is not None:
                raise
            self._hooks = replace(self._hooks, on_rows=lambda _: None)  # they were told already
            self._judge = self._new_judge()
            return False
        return True

    def _write(self, rows: pl.LazyFrame, path: Path) -> None:
        import pyarrow as pa

        schema = pa.schema([self._part.schema.field(name) for name in self._what.columns])
        write_frame(rows.select(self._written()), path, schema, self._record)

    def _written(self) -> list[pl.Expr]:
        """The columns to write, as the rules leave them."""
        columns = columns_after(self._what.rules, self._part)
        return [expr_of(columns, name).alias(name) for name in self._what.columns]

    def _record(self) -> dict[str, str]:
        said: dict[str, Any] = {"filter": self._what.fingerprint, "counts": self.counts.to_json()}
        said |= {"cuts": cuts} if (cuts := cuts_of(self._what.rules)) else {}
        return {METADATA_KEY: json.dumps(said)}

    def ids(self, path: Path) -> list[pl.Series]:
        """The ids of the rows that passed: as they were caught, or of the file that was written.

        They are handed over: a query and its judge know one another, and go only when Python next
        looks for such circles.
        """
        import polars as pl

        if self._catch_ids or self._from_bites:
            found = [*self._judge.ids, *self._ids]
            self._judge.ids, self._ids = [], []
            return found
        return [pl.read_parquet(path, columns=["id"], glob=False).to_series().drop_nulls()]

    def rows(self) -> pl.LazyFrame:
        """The rows that pass, with the columns that are asked for as the file has them."""
        from polars.io.plugins import register_io_source

        self._leave_unread()
        schema = schema_of(self._part, self._what.columns)
        return register_io_source(lambda *_: self._bitten(), schema=schema)

    def _leave_unread(self) -> None:
        """Count the row groups that statistics rule out."""
        for group, by in self._unread.items():
            rows = int(self._part.metadata.row_group(group).num_rows)
            self._judge.counts += Counts.ruled_out(rows, by, len(self._tests))
            self._heard(rows)

    def _bitten(self) -> Iterator[pl.DataFrame]:
        """The same, a bite at a time."""
        self._from_bites = True
        try:
            for bite in self._bites():
                with reading(bite), serve(bite) as served:
                    if self._whole:
                        frames = self._passing(served).collect_batches(chunk_size=ROW_GROUP_ROWS)
                        yield from map(self._noted, frames)
                        continue
                    rows = self._fetched(served) if self._remote else self._scanned(served)
                self._look_for_room()
                if rows is not None:
                    yield self._noted(rows)
        except BaseException as error:
            self._failure = self._judge.failure or error
            raise

    def _noted(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Keep the ids, where they are among what is written."""
        if self._what.ids and not self._catch_ids:
            self._ids.append(rows["id"].drop_nulls())
        return rows

    def _bites(self) -> Iterator[Bite]:
        if self._whole:
            return bites(self._part, self._part.rows, without=self._unread)
        return bites(self._part, without=self._unread)

    def _scanned(self, served: Served) -> pl.DataFrame:
        """What passes of a local bite."""
        return self._passing(served).collect(engine="streaming")

    def _passing(self, served: Served) -> pl.LazyFrame:
        """What passes of a local bite, in one query."""
        also = ("id",) if self._catch_ids else ()
        judged = tuple(dict.fromkeys([*self._read, *also]))
        needed = tuple(dict.fromkeys([*self._what.columns, *judged]))
        rows = self._judge.passing(served.scan_judged(needed, judged), judged)
        return rows.select(self._what.columns)

    def _fetched(self, served: Served) -> pl.DataFrame | None:
        """What passes of a remote bite, from no more bytes than it takes: two queries."""
        kept = int(self._judge.ask(served.scan(self._read).collect()).sum())
        if not kept:
            return None
        wanted = (*self._what.columns, "id") if self._catch_ids else self._what.columns
        found = served.scan(tuple(dict.fromkeys([*wanted, *self._read])))
        if self._tests:  # polars takes no empty list of conditions
            found = found.filter([test.passes for test in self._tests])
        rows = found.select(list(dict.fromkeys(wanted))).collect()
        if rows.height != kept:  # both looks have to see the same rows
            raise self._changed(f"{kept:,} rows and then {rows.height:,} for the same rules")
        if self._catch_ids:
            self._ids.append(rows["id"].drop_nulls())
        return rows.select(self._what.columns)

    def _heard(self, rows: int) -> None:
        self._hooks.on_rows(rows)
        if self._whole:
            self._look_for_room()

    def _look_for_room(self) -> None:
        counts = self.counts
        few = counts.rows >= _ENOUGH and counts.kept <= _FEW * counts.rows
        if (few and not self._whole) or counts.rows == self._part.rows:
            self._hooks.on_room()

    def _changed(self, what: str) -> CorruptFile:
        return CorruptFile(
            f"gave {what}",
            where=self._part.part.url,
            todo="make sure that nothing writes the file, and run again",
        )

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Raise what really happened in place of what polars made of it."""
        import polars as pl

        try:
            yield
        except (CoyoError, Stopped) as error:
            raise (self._failure or error) from None
        except (pl.exceptions.PolarsError, OSError) as error:
            if isinstance(self._failure, (CoyoError, Stopped)):  # polars 1 wraps it
                raise self._failure from None
            if number := re.search(r"\(os error (\d+)\)", str(error)):  # in writing
                raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
            raise
