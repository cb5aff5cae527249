"""The input of a download: row groups of many parts, seen as one run of rows."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coyo_tools.pieces import rows, source
from coyo_tools.pieces.binding import type_name
from coyo_tools.words.errors import SchemaError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Group:
    """A row group. first_row: in the whole input."""

    part: int
    index: int
    first_row: int
    rows: int


@dataclass
class Plan:
    """The input as one run of rows, cut into shards.

    columns: shard column to metadata column, see `rows.layout`. schema: of the metadata, by
    COYO's names, of types that hold every part's values; None where there is no part.
    """

    parts: list[source.OpenPart]
    rows_a_shard: int
    columns: Mapping[str, str]
    groups: list[Group]
    schema: pa.Schema | None = field(default=None, repr=False)

    @staticmethod
    def of(found: source.Source, rows_a_shard: int, *, with_phash: bool) -> Plan:
        """Read every part's footer. Raises SourceError, SchemaError."""
        parts = found.open_all()
        schema = parts[0].schema if parts else None
        names = schema.names if schema is not None else ["url"]
        columns = rows.layout(names, found.url, with_phash=with_phash)
        for part in parts[1:]:
            _check_same(part, parts[0])
            schema = _common(schema, part)
        return Plan(parts, rows_a_shard, columns, list(_groups(parts)), schema)

    @property
    def rows(self) -> int:
        """Rows of the whole input."""
        return sum(group.rows for group in self.groups)

    @property
    def shards(self) -> int:
        """Shards of the whole input."""
        return -(-self.rows // self.rows_a_shard)

    def read(self, at: int, columns: Sequence[str]) -> pa.Table:
        """These columns of a row group; its file is let go with the last one."""
        group = self.groups[at]
        part = self.parts[group.part]
        table = part.read(group.index, columns)
        if group.index == part.row_groups - 1:
            part.close()
        return table

    def read_all(self, at: int) -> pa.Table:
        """Every column of a row group, as `schema` has it. Raises SchemaError."""
        import pyarrow as pa

        assert self.schema is not None
        table = self.read(at, self.schema.names)
        where = self.parts[self.groups[at].part].part.url
        arrays = [_cast(table.column(each.name), each, where) for each in self.schema]
        return pa.table(arrays, schema=self.schema)

    def rows_of(self, number: int) -> tuple[int, int]:
        """First row of a shard and the one after its last."""
        size = self.rows_a_shard
        return number * size, min((number + 1) * size, self.rows)

    def rows_in(self, numbers: Sequence[int]) -> int:
        """Rows of these shards together."""
        return sum(end - start for start, end in map(self.rows_of, numbers))


def as_stream(table: pa.Table) -> bytes:
    """A table as an arrow IPC stream, in which form a worker is given it."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def _groups(parts: Sequence[source.OpenPart]) -> Iterator[Group]:
    at = 0
    for number, part in enumerate(parts):
        for index in range(part.row_groups):
            count = int(part.metadata.row_group(index).num_rows)
            yield Group(number, index, at, count)
            at += count


def _check_same(part: source.OpenPart, first: source.OpenPart) -> None:
    if set(part.schema.names) != set(first.schema.names):
        differing = sorted(set(part.schema.names) ^ set(first.schema.names))
        raise SchemaError(
            f"has other columns than {first.part.name}: {', '.join(differing[:5])}",
            where=part.part.url,
            todo="make the parts alike, for example with `coyo filter --columns`",
        )


def _common(schema: pa.Schema, part: source.OpenPart) -> pa.Schema:
    """The schema, wide enough for another part too: int32 and int64 become int64."""
    import pyarrow as pa

    common = []
    for one in schema:
        other = part.schema.field(one.name)
        try:
            kinds = (one.type, other.type)
            if any(map(pa.types.is_decimal, kinds)) and any(map(pa.types.is_floating, kinds)):
                raise pa.ArrowTypeError("neither holds the other's values")
            both = [pa.schema([each]) for each in (one, other)]
            common += pa.unify_schemas(both, promote_options="permissive")
        except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
            raise SchemaError(
                f"column {one.name!r} is {type_name(other.type)}, but {type_name(one.type)} in the "
                "parts before it",
                where=part.part.url,
                todo="write the parts anew with one type, or drop the column, for example with "
                "`coyo filter --columns`",
            ) from error
    return pa.schema(common)


def _cast(values: pa.ChunkedArray, wanted: pa.Field, where: str) -> pa.ChunkedArray:
    import pyarrow as pa

    try:
        return values.cast(wanted.type)
    except pa.ArrowInvalid as error:
        raise SchemaError(
            f"column {wanted.name!r} is {type_name(values.type)} with values that "
            f"{type_name(wanted.type)}, the common type of all parts, does not hold",
            where=where,
            todo="write the parts anew with one type",
        ) from error


class Reader:
    """Reads rows by number, each row group once, the next one ahead of its time.

    Memory: two row groups, decoded.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._pool = ThreadPoolExecutor(1)
        self._held: dict[int, Future[pa.Table]] = {}
        self._starts = [group.first_row for group in plan.groups]

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        for part in self._plan.parts:
            part.close()

    def stream(self, start: int, end: int) -> bytes:
        """Rows start to end, under the shard's column names, as an arrow IPC stream."""
        import pyarrow as pa

        pieces = []
        at = bisect.bisect_right(self._starts, start) - 1
        while at < len(self._starts) and self._starts[at] < end:
            group = self._plan.groups[at]
            a = max(0, start - group.first_row)
            b = min(group.rows, end - group.first_row)
            pieces.append(self._table(at).slice(a, b - a))
            at += 1
        whole = pa.concat_tables(pieces)
        shaped = rows.to_shard_columns(whole, self._plan.columns, start).combine_chunks()
        return as_stream(shaped)

    def _table(self, at: int) -> pa.Table:
        for old in [number for number in self._held if number < at]:
            del self._held[old]
        for number in (at, at + 1):
            if number < len(self._plan.groups) and number not in self._held:
                self._held[number] = self._pool.submit(self._plan.read_all, number)
        return self._held[at].result()
