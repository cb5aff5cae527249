"""Where a parquet file's columns lie, in bytes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pyarrow.parquet as pq

Column = tuple[int, str]  # row group, the file's name of it


class Span(NamedTuple):
    """Bytes from start to end of the file, one leaf of the column."""

    start: int
    end: int
    column: Column


def spans_of(metadata: pq.FileMetaData, columns: Collection[Column]) -> list[Span]:
    """Where these columns' bytes lie, in order."""
    return sorted(_spans(metadata, columns))


def joined(spans: Sequence[Span]) -> list[tuple[int, int]]:
    """(start, end), neighbours as one."""
    found: list[tuple[int, int]] = []
    for span in spans:
        if found and span.start <= found[-1][1]:
            found[-1] = (found[-1][0], max(span.end, found[-1][1]))
        else:
            found.append((span.start, span.end))
    return found


def _spans(metadata: pq.FileMetaData, columns: Collection[Column]) -> Iterator[Span]:
    for index in sorted({group for group, _ in columns}):
        own = {name for group, name in columns if group == index}
        group = metadata.row_group(index)
        for number in range(group.num_columns):
            chunk = group.column(number)
            path = chunk.path_in_schema
            name = next((n for n in own if path == n or path.startswith(f"{n}.")), None)
            if name is not None:
                offsets = [chunk.data_page_offset, chunk.dictionary_page_offset or 0]
                start = min(offset for offset in offsets if offset > 0)
                yield Span(start, start + chunk.total_compressed_size, (index, name))
