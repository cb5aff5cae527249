"""What finished score files come to: rows, errors, values, means, and their ids."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces.source import Part, open_part

if TYPE_CHECKING:
    import numpy as np


class Tally:
    """Counts over the finished files, read once, a row group at a time."""

    def __init__(self, columns: Sequence[str], scratch: Path) -> None:
        self._columns, self._scratch = columns, scratch
        self._rows = 0
        self._errors: dict[str, int] = {}
        self._values = dict.fromkeys(columns, 0)
        self._numbers = dict.fromkeys(columns, 0)  # values that are finite
        self._sums: dict[str, list[float]] = {}
        self._ids: list[Path] = []

    def take(self, url: str, name: str) -> None:
        """Count one file."""
        import numpy as np

        part = open_part(Part(url, name, 0), "coyo")
        ids = []
        for table in part.batches(["id", *self._columns, "error"]):
            self._rows += table.num_rows
            ids.append(table.column("id").drop_null().to_numpy())
            for found in table.column("error").drop_null().value_counts().to_pylist():
                self._errors[found["values"]] = (
                    self._errors.get(found["values"], 0) + found["counts"]
                )
            for column in self._columns:
                self._count(column, table.column(column).drop_null())
        self._keep(np.concatenate(ids) if ids else np.empty(0, np.int64))

    def _count(self, column: str, values: Any) -> None:
        import numpy as np
        import pyarrow as pa

        self._values[column] += len(values)
        if pa.types.is_floating(values.type) or pa.types.is_integer(values.type):
            numbers = values.to_numpy().astype(np.float64)
            numbers = numbers[np.isfinite(numbers)]
            self._sums.setdefault(column, []).append(float(numbers.sum()))
            self._numbers[column] += len(numbers)

    def _keep(self, ids: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        """Ids go to the disk, sorted by file: a full data set of them would fill the memory."""
        import numpy as np

        path = self._scratch / f"{len(self._ids)}.npy"
        np.save(path, np.sort(ids))
        self._ids.append(path)

    def runs(self) -> list[np.ndarray[Any, Any]]:
        """The sorted ids of every file."""
        import numpy as np

        loaded: Iterable[Any] = (np.load(path) for path in self._ids)
        if self._rows > 1 << 22:
            loaded = (np.load(path, mmap_mode="r") for path in self._ids)
        return list(loaded)

    def result(self) -> dict[str, Any]:
        """The manifest's `result`."""
        return {
            "rows": self._rows,
            "errors": dict(sorted(self._errors.items())),
            "columns": {name: self._column(name) for name in self._columns},
        }

    def _column(self, name: str) -> dict[str, Any]:
        values = self._values[name]
        numbers = self._numbers[name]
        mean = math.fsum(self._sums[name]) / numbers if numbers else None
        return {"values": values, "nulls": self._rows - values, "mean": mean}
