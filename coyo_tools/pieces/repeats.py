"""Values that occur more than once in a long column, in bounded memory.

Hashes are spread over files by their leading bits, so that equal ones meet in one file; each
file is then sorted by itself. Memory: about 64 bytes for each of `ROWS_A_FILE` rows, and 16
bytes for each repeated row as it is handed out; disk: 16 bytes a row.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np

Array = np.ndarray[Any, Any]
ROWS_A_FILE = 4_000_000


class Repeats:
    """Finds for each row the first row with an equal 64-bit value.

    rows: how many will come. Use as a context manager: its files are temporary.
    """

    def __init__(self, rows: int, rows_a_file: int = ROWS_A_FILE) -> None:
        files = max(1, -(-rows // rows_a_file))
        self._bits = (files - 1).bit_length()
        self._scratch = tempfile.TemporaryDirectory(prefix="coyo-repeats-")
        root = Path(self._scratch.name)
        self._paths = [root / f"{number}" for number in range(1 << self._bits)]
        self._files = [path.open("wb", buffering=1 << 16) for path in self._paths]
        self._seen = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()
        self._scratch.cleanup()

    def add(self, values: Array) -> None:
        """The next rows' values, uint64."""
        rows = np.arange(self._seen, self._seen + len(values), dtype=np.uint64)
        self._seen += len(values)
        pairs = np.column_stack([values.astype(np.uint64, copy=False), rows])
        if not self._bits:
            self._files[0].write(pairs.tobytes())
            return
        target = _mixed(pairs[:, 0]) >> np.uint64(64 - self._bits)
        order = np.argsort(target, kind="stable")
        edges = np.searchsorted(target[order], np.arange(len(self._files) + 1, dtype=np.uint64))
        for number, file in enumerate(self._files):
            file.write(pairs[order[edges[number] : edges[number + 1]]].tobytes())

    def found(self) -> tuple[Array, Array]:
        """Rows that repeat an earlier one, ascending, and for each the first; int64 both."""
        rows, firsts = [], []
        for path, file in zip(self._paths, self._files, strict=True):
            file.close()
            later, first = _repeated(np.fromfile(path, np.uint64).reshape(-1, 2))
            rows.append(later)
            firsts.append(first)
        row, first = np.concatenate(rows), np.concatenate(firsts)
        order = np.argsort(row)
        return row[order], first[order]


def _mixed(values: Array) -> Array:
    """Spread values that share their leading bits, such as ids (Fibonacci hashing)."""
    return values * np.uint64(0x9E3779B97F4A7C15)


def _repeated(pairs: Array) -> tuple[Array, Array]:
    order = np.argsort(pairs[:, 0], kind="stable")  # rows of a value stay ascending
    values, rows = pairs[order, 0], pairs[order, 1].astype(np.int64)
    if not len(values):
        return rows, rows
    starts = np.concatenate([[True], values[1:] != values[:-1]])
    first = rows[np.maximum.accumulate(np.where(starts, np.arange(len(rows)), 0))]
    return rows[~starts], first[~starts]


def hashes(urls: Any) -> Array:
    """64-bit hashes of a string column (arrow), uint64 (n,). Equal strings have equal hashes
    within one version of polars; they are compared with nothing that is kept."""
    import polars as pl

    series = pl.from_arrow(urls)
    assert isinstance(series, pl.Series)
    return series.hash(seed=0).to_numpy()


def concatenated(parts: Iterable[Array]) -> Array:
    """One int64 array of several."""
    return np.concatenate([np.empty(0, np.int64), *parts])
