"""What finished score files come to: rows, errors, values, means, and their ids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery.sorted_runs import Spill
from coyo_tools.pieces.source import Part, open_part

if TYPE_CHECKING:
    from coyo_tools.machinery.sorted_runs import Run


class Tally:
    """Counts over the finished files, read once, a row group at a time."""

    def __init__(self, columns: Sequence[str], scratch: Path) -> None:
        self._columns = columns
        self._rows = 0
        self._errors: dict[str, int] = {}
        self._values = dict.fromkeys(columns, 0)
        self._numbers = dict.fromkeys(columns, 0)  # values that are finite
        self._sums: dict[str, list[float]] = {}
        self._ids = Spill(scratch)  # to the disk: those of a full data set would fill the memory

    def take(self, url: str, name: str) -> None:
        """Count one file."""
        part = open_part(Part(url, name, 0), "coyo")
        for table in part.batches(["id", *self._columns, "error"]):
            self._rows += table.num_rows
            self._ids.add(table.column("id").drop_null().to_numpy())
            for found in table.column("error").drop_null().value_counts().to_pylist():
                self._errors[found["values"]] = (
                    self._errors.get(found["values"], 0) + found["counts"]
                )
            for column in self._columns:
                self._count(column, table.column(column).drop_null())

    def _count(self, column: str, values: Any) -> None:
        import numpy as np
        import pyarrow as pa

        self._values[column] += len(values)
        if pa.types.is_floating(values.type) or pa.types.is_integer(values.type):
            numbers = values.to_numpy().astype(np.float64)
            numbers = numbers[np.isfinite(numbers)]
            self._sums.setdefault(column, []).append(float(numbers.sum()))
            self._numbers[column] += len(numbers)

    def runs(self) -> list[Run]:
        """The ids of all files, sorted run by run."""
        return self._ids.runs()

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
