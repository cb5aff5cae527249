"""Sorted runs of int64, merged range by range: memory is bounded, whatever the runs hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Run = Array | Path  # int64, ascending; or the .npy file that holds it

CHUNK_ROWS = 1 << 20
SPILL_ROWS = 4_000_000  # values sorted at once


def merged(runs: Sequence[Run], chunk_rows: int = CHUNK_ROWS) -> Iterator[list[Array]]:
    """Of every run, in order, its values within one range after another.

    The ranges ascend and share no value: equal values of all runs come together. A range holds
    at most about `chunk_rows` values, more only where one value is repeated that often.
    """
    step = max(1, chunk_rows // max(1, len(runs)))
    cursors = [_Cursor(run, step) for run in runs]
    while any(cursor.held.size for cursor in cursors):
        limits = [int(c.held[-1]) for c in cursors if c.more]
        bound = min(limits) if limits else None
        yield [cursor.take(bound) for cursor in cursors]


class Spill:
    """Makes runs of what comes in small pieces: `rows` values at a time are sorted and written,
    but for the last.

    folder: a temporary one, which has to stay until the runs are merged.
    """

    def __init__(self, folder: Path, rows: int = SPILL_ROWS) -> None:
        self._folder, self._rows = folder, rows
        self._held: list[Array] = []
        self._count = 0
        self._written: list[Run] = []

    def add(self, values: Array) -> None:
        """Further values, int64, in any order."""
        self._held.append(values)
        self._count += len(values)
        if self._count >= self._rows:
            self._write()

    def runs(self) -> list[Run]:
        """All of them; nothing may be added later."""
        if self._held:
            self._written.append(self._sorted())  # stays in memory: it is what is merged next
        return self._written

    def _write(self) -> None:
        import numpy as np

        path = self._folder / f"{len(self._written)}.npy"
        np.save(path, self._sorted())
        self._written.append(path)

    def _sorted(self) -> Array:
        """What is held, which is then held no more."""
        import numpy as np
        import polars as pl

        held, self._held, self._count = self._held, [], 0
        whole = pl.Series(_Handed(np.concatenate(held, dtype=np.int64)))
        del held
        # numpy takes three times as long, and two threads of polars no less than one.
        return whole.sort(multithreaded=False).to_numpy()


class _Handed:
    """int64 as any library takes them over that speaks arrow's C interface.

    polars looks at numpy's arrays with `numpy.ma` and at arrow's with `pyarrow.compute`: to import
    either takes as long as to sort a million.
    """

    def __init__(self, values: Array) -> None:
        import pyarrow as pa

        buffers = [None, pa.py_buffer(values)]
        self._values = pa.Array.from_buffers(pa.int64(), len(values), buffers)

    def __arrow_c_array__(self, schema: object = None) -> tuple[object, object]:
        handed: tuple[object, object] = self._values.__arrow_c_array__(schema)
        return handed


class _Cursor:
    """A place in a run. held: the next values, none at the end; more: whether others follow."""

    def __init__(self, run: Run, step: int) -> None:
        self._run, self._step, self._at = run, step, 0
        self._size = len(_values(run))
        self._read()

    @property
    def more(self) -> bool:
        return self._at < self._size

    def _read(self) -> None:
        end = min(self._at + self._step, self._size)
        self.held = _values(self._run)[self._at : end]
        if isinstance(self._run, Path):
            self.held = self.held.copy()  # mapped pages would stay and count as memory
        self._at = end

    def take(self, bound: int | None) -> Array:
        """The values up to the bound; None: all that are held."""
        import numpy as np

        taken = []
        while self.held.size:
            end = len(self.held)
            if bound is not None:
                end = int(np.searchsorted(self.held, bound, side="right"))
            taken.append(self.held[:end])
            self.held = self.held[end:]
            if self.held.size:
                break
            self._read()
        return taken[0] if len(taken) == 1 else np.concatenate([np.empty(0, np.int64), *taken])


def _values(run: Run) -> Array:
    """The whole run; of a file, a map of it."""
    import numpy as np

    if not isinstance(run, Path):
        return run
    # numpy maps no empty file.
    values: Array = np.load(run, mmap_mode="r" if run.stat().st_size > _HEAD_AT_MOST else None)
    return values


_HEAD_AT_MOST = 4096  # bytes; a .npy of so few is as well read
