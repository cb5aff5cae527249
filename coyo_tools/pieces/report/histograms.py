"""Numeric columns of a source, sampled by whole row groups, and what their charts need.

Histograms compare shapes: heights are shares of a side's own rows. Quantiles are values that
occur (the smallest v such that at least the share q of the values is <= v). Null and NaN are
counted together and take no part; infinities take part in quantiles and lie beyond every chart.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces.report.charts import nice_step

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from coyo_tools.pieces.source import OpenPart

    Values = np.ndarray[Any, Any]

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
_MOST_BINS = 56
_NUMERIC = ("int", "uint", "float", "double", "halffloat")


@dataclass(frozen=True)
class Sample:
    """Columns of the rows that were read. rows: in the whole source. rows_read: of them.

    columns: name to 1-d array without null and NaN. nulls: name to how many those were.
    """

    rows: int
    rows_read: int
    columns: Mapping[str, Values]
    nulls: Mapping[str, int]

    @property
    def whole(self) -> bool:
        """Whether every row was read."""
        return self.rows_read == self.rows


@dataclass(frozen=True)
class Summary:
    """One column of one side. quantiles: at `QUANTILES`. All None without a value."""

    rows: int
    nulls: int
    mean: float | None
    minimum: float | None
    maximum: float | None
    quantiles: tuple[float | None, ...]


@dataclass(frozen=True)
class Histogram:
    """Common bins of several sides. heights, below, above: shares of each side's values.

    whole: every value is a whole number; then edges lie halfway between them.
    """

    edges: tuple[float, ...]
    heights: tuple[tuple[float, ...], ...]
    below: tuple[float, ...]
    above: tuple[float, ...]
    whole: bool = False


def is_numeric(dtype: str) -> bool:
    """Whether an arrow type name is a number's."""
    return dtype.startswith(_NUMERIC)


def pick_row_groups(sizes: Sequence[int], max_rows: int) -> list[int]:
    """Indices of row groups, spread evenly, of at most `max_rows` rows together (at least one).

    sizes: rows of each. The same sizes always give the same pick.
    """
    if sum(sizes) <= max_rows:
        return [i for i, size in enumerate(sizes) if size]
    filled = [i for i, size in enumerate(sizes) if size]
    wanted = len(filled)
    while wanted > 1 and (read := sum(sizes[i] for i in _spread(filled, wanted))) > max_rows:
        wanted = max(1, min(wanted - 1, wanted * max_rows // read))
    return _spread(filled, max(wanted, 1))


def _spread(items: Sequence[int], wanted: int) -> list[int]:
    """`wanted` items at even distances, from the middle of each stretch."""
    return [items[(2 * i + 1) * len(items) // (2 * wanted)] for i in range(wanted)]


def sample(parts: Sequence[OpenPart], columns: Sequence[str], max_rows: int) -> Sample:
    """Read `columns` from whole row groups spread evenly over the parts. Raises SourceError.

    A column that a part lacks is read from the others.
    """
    import numpy as np

    read: dict[str, list[Values]] = {name: [] for name in columns}
    nulls = dict.fromkeys(columns, 0)
    rows_read = 0
    for table in tables(parts, columns, max_rows):
        rows_read += table.num_rows
        for name in table.column_names:
            values, missing = numbers(table.column(name))
            read[name].append(values)
            nulls[name] += missing
    arrays = {n: np.concatenate(v) if v else np.empty(0) for n, v in read.items()}
    return Sample(sum(part.rows for part in parts), rows_read, arrays, nulls)


def tables(parts: Sequence[OpenPart], columns: Sequence[str], max_rows: int) -> Iterator[pa.Table]:
    """Row groups of at most `max_rows` rows together (at least one), spread evenly."""
    groups = [(part, g) for part in parts for g in range(part.row_groups)]
    sizes = [int(part.metadata.row_group(g).num_rows) for part, g in groups]
    picked = [groups[index] for index in pick_row_groups(sizes, max_rows)]
    for _, of_part in groupby(picked, key=lambda pair: id(pair[0])):
        yield from _of_one_part(list(of_part), columns)


def _of_one_part(
    picked: Sequence[tuple[OpenPart, int]], columns: Sequence[str]
) -> Iterator[pa.Table]:
    part = picked[0][0]
    present = [name for name in columns if name in part.binding.columns]
    with contextlib.closing(part):
        for _, group in picked if present else ():
            yield part.read(group, present)


def numbers(column: Any) -> tuple[Values, int]:
    """An arrow column's values without null and NaN, and how many those were."""
    import numpy as np

    dense = column.drop_null()
    values = np.asarray(dense.to_numpy())
    if values.dtype.kind == "f":
        values = values[~np.isnan(values)]
    return values, len(column) - len(values)


def summarize(values: Values, nulls: int = 0) -> Summary:
    """Count, mean, range and quantiles. values: 1-d, without NaN."""
    import numpy as np

    if not len(values):
        return Summary(nulls, nulls, None, None, None, (None,) * len(QUANTILES))
    quantiles = np.quantile(values, QUANTILES, method="inverted_cdf")
    finite = values[np.isfinite(values)]
    mean = float(finite.mean(dtype=np.float64)) if len(finite) else None
    return Summary(
        len(values) + nulls,
        nulls,
        mean,
        float(values.min()),
        float(values.max()),
        tuple(float(q) for q in quantiles),
    )


def histogram(sides: Sequence[Values], bounds: Sequence[float] = ()) -> Histogram | None:
    """Common bins for all sides; None without a finite value. bounds: values to keep in sight."""
    import numpy as np

    whole = all(side.dtype.kind in "iu" for side in sides if len(side))
    # Edges are float64, and float32 cannot hold every one of them.
    sides = [side.astype(np.float64) for side in sides]
    finite = [side[np.isfinite(side)] for side in sides]
    if not any(len(side) for side in finite):
        return None
    edges = _edges(np.concatenate(finite), whole, bounds)
    counted = [np.histogram(side, edges)[0] for side in finite]
    totals = [max(len(side), 1) for side in sides]
    below = [np.count_nonzero(s < edges[0]) / t for s, t in zip(sides, totals, strict=True)]
    above = [np.count_nonzero(s > edges[-1]) / t for s, t in zip(sides, totals, strict=True)]
    heights = [(c / t).tolist() for c, t in zip(counted, totals, strict=True)]
    return Histogram(tuple(edges), tuple(map(tuple, heights)), tuple(below), tuple(above), whole)


def _edges(values: Values, whole: bool, bounds: Sequence[float]) -> list[float]:
    """Round bin edges over the bulk of the values: a long tail would squeeze all else."""
    low, high = _bulk(values)
    bins = min(_MOST_BINS, max(8, round(4 * len(values) ** (1 / 3))))
    reach = (high - low or 1.0) * 0.5
    for bound in bounds:
        if low - reach <= bound <= high + reach:
            low, high = min(low, bound), max(high, bound)
    if whole:
        step = max(1.0, float(round(nice_step((high - low + 1) / bins))))
        first, count = low // step * step - 0.5, int((high - low // step * step) // step) + 1
    else:
        wide = high - low > 1e-6 * max(abs(low), abs(high))
        step = nice_step((high - low) / bins if wide else abs(high) / 50 or 0.02)
        # A value on the last edge belongs to the last bin, so only a real excess adds one.
        begin = _floor(low / step)
        first, count = begin * step, max(1, -_floor(-high / step) - begin)
    return [float(f"{first + i * step:.12g}") for i in range(count + 1)]


def _floor(ratio: float) -> int:
    import math

    nearest = round(ratio)
    return nearest if abs(ratio - nearest) < 1e-6 else math.floor(ratio)


def _bulk(values: Values) -> tuple[float, float]:
    import numpy as np

    points = (0.0, 0.001, 0.05, 0.5, 0.95, 0.999, 1.0)
    low, low_tail, p5, middle, p95, high_tail, high = map(float, np.quantile(values, points))
    # The ends themselves where they are near, else the last quantile that is.
    left = low if middle - low <= 4 * (middle - p5) else max(low, min(low_tail, middle))
    right = high if high - middle <= 4 * (p95 - middle) else high_tail
    if right - middle > 6 * (p95 - middle) > 0:
        right = float(np.quantile(values, 0.99))
    return left, max(right, left)
