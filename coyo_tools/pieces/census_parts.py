"""Where a census keeps what came of its urls: a shard's table without the tar.

A part is `00000.parquet` (a shard's columns, and those of `MEASURED`) and, last,
`00000_stats.json`, its completion record.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from coyo_tools.machinery.storage import Folder
from coyo_tools.pieces import shards
from coyo_tools.pieces.rows import Outcome, Rows

ROWS_A_PART = 250
# fetched_bytes: of the body; stored_bytes: of the picture as a shard would hold it; ended_at: when
# the row was done with, seconds since 1970.
MEASURED = {"fetched_bytes": "int64", "stored_bytes": "int64", "ended_at": "float64"}


class CensusWriter:
    """Takes a part's rows as `shards.ShardWriter` does, and keeps no picture."""

    def __init__(self, folder: Folder, number: int, rows: Rows) -> None:
        self.number, self.rows = number, rows
        self._folder = folder
        self._own: dict[int, Mapping[str, Any]] = {}
        self._measured: dict[int, tuple[int, int, float]] = {}
        self._lock = threading.Lock()

    def add(self, row: int, outcome: Outcome) -> None:
        """A row's outcome."""
        own = self.rows.own(row, outcome)
        with self._lock:
            self._own[row] = own
            self._measured[row] = (outcome.fetched_bytes, len(outcome.data), time.time())

    def add_blob(self, row: int, own: Mapping[str, Any], blob: bytes) -> None:
        """Of a part that is made again, which a census never does."""
        raise NotImplementedError

    def finish(self, stats: Mapping[str, Any]) -> dict[str, Any]:
        """Write the table, and last the counts with these stats. Raises StorageError."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        order = range(len(self.rows))
        own = [self._own[row] for row in order]
        table = self.rows.to_table(own)
        table = table.drop_columns([name for name in MEASURED if name in table.column_names])
        columns = zip(*(self._measured[row] for row in order), strict=True)
        for (name, kind), values in zip(MEASURED.items(), columns, strict=True):
            table = table.append_column(name, pa.array(values, pa.type_for_alias(kind)))
        name = shards.parquet_name(self.number)
        with self._folder.stage(name) as path:
            pq.write_table(table, path, compression="zstd")
            sizes = {name: path.stat().st_size}
        complete = shards.counts(own) | dict(stats) | {"files": sizes}
        self._folder.write_json(shards.stats_name(self.number), complete)
        return complete

    def abort(self) -> None:
        """Nothing is on disk yet."""
        self._own.clear()
