"""One part of metadata in, what its footer says out. No column is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery.traffic import Traffic
from coyo_tools.pieces.binding import type_name
from coyo_tools.pieces.source import OpenPart, Part, open_part
from coyo_tools.words.errors import SchemaError, SourceError

if TYPE_CHECKING:
    import pyarrow.parquet as pq


@dataclass(frozen=True)
class Look:
    """What one footer says. problem: the sentence, where the part cannot be used; then the rest is
    empty. row_group_rows: rows of each. codecs: column chunks by codec. columns: file's name to
    arrow type; names: COYO's name to the file's. nulls: by file's name, None where the footer
    does not say. written_by: the program, as it calls itself."""

    part: Part
    problem: str | None = None
    schema: str = ""
    row_group_rows: tuple[int, ...] = ()
    codecs: Mapping[str, int] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    nulls: Mapping[str, int | None] = field(default_factory=dict)
    written_by: str = ""

    @property
    def rows(self) -> int:
        """Rows in the file."""
        return sum(self.row_group_rows)


def look_at(part: Part, schema: str = "auto", traffic: Traffic | None = None) -> Look:
    """Read a part's footer. What is wrong with the part is told in `problem`, not raised."""
    try:
        return _look(open_part(part, schema, traffic))
    except (SourceError, SchemaError) as error:
        return Look(part, problem=str(error))


def _look(part: OpenPart) -> Look:
    metadata = part.metadata
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    types = metadata.schema.to_arrow_schema()
    return Look(
        part.part,
        schema=part.binding.schema,
        row_group_rows=tuple(int(group.num_rows) for group in groups),
        codecs=Counter(
            str(group.column(i).compression).lower()
            for group in groups
            for i in range(group.num_columns)
        ),
        columns={f.name: type_name(f.type) for f in types},
        names=dict(part.binding.columns),
        nulls={f.name: _nulls(groups, f.name) for f in types},
        written_by=str(metadata.created_by or ""),
    )


def _nulls(groups: list[pq.RowGroupMetaData], name: str) -> int | None:
    """The column's nulls over all row groups; None where one of them does not say."""
    total = 0
    for group in groups:
        found = _null_count(group, name)
        if found is None:
            return None
        total += found
    return total


def _null_count(group: Any, name: str) -> int | None:
    for index in range(group.num_columns):
        chunk = group.column(index)
        if chunk.path_in_schema == name:
            stats = chunk.statistics
            return int(stats.null_count) if stats is not None and stats.has_null_count else None
    return None  # nested: its leaves' nulls are not its own
