"""Pillow's Lanczos resize of a grey picture to 32 x 32, to the last bit, in less time.

Pillow resizes rows first, then columns, each to 8 bits with weights of 22 fractional bits
(libImaging/Resample.c). Here a pass is a few matrix products. In float64 8 bits times 22 add up
exactly, in any order. Wide rows are multiplied in float32, which is twice as fast and errs within
a strict bound; where a value lies within it of a rounding edge, float64 decides.

The order is that of every Pillow from 9 to 12.1, with which the published hashes and those of other
programs were made. Pillow 13 resizes the columns of tall pictures first, which rounds otherwise,
so nothing here is left to the installed Pillow (docs/decisions/0011-phash-order.md).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

SIDE = 32  # px
_FRACTION_BITS = 22
_SUPPORT = 3.0  # of the Lanczos window, in output px
_DOUBT = 1e-6  # in units of a weight's last place
_GROUP = 8  # output columns that are computed together: they read only a part of a row
_FLOAT32_FROM = 640  # px; below, looking for values in doubt takes longer than it saves
_ABSOLUTE = 1.4  # more than the sizes of a column's weights add up to, from that width on
_BAND = 1 << 19  # bytes of a picture that are floats at a time, which a core's cache holds
_PRODUCT = 1 << 18  # multiplications; BLAS runs larger products in threads of its own


class _Group(NamedTuple):
    """Weights of some output columns over the input columns `start` to `stop`."""

    columns: slice
    start: int
    stop: int
    weights: Array  # float64 or float32, which both hold multiples of 2^-22 exactly


class _Table(NamedTuple):
    """What a width needs. error: bound on that of a sum, in grey levels; 0 in float64."""

    groups: list[_Group]
    error: float


def shrink(grey: Array) -> Array:
    """A grey picture, uint8 (height, width), as Pillow 9 to 12.1 resize it: uint8 (32, 32)."""
    return _rows(_rows(grey).T).T


def _rows(pixels: Array) -> Array:
    """Every row resized to 32 px: uint8 (height, width) to (height, 32)."""
    import numpy as np

    if pixels.shape[1] == SIDE:
        return pixels
    table = _table(pixels.shape[1])
    sums = _sums(pixels, table.groups)
    sums += 0.5
    if table.error:
        _settle(pixels, table, sums)
    return sums.clip(0, 255, out=sums).astype(np.uint8)


def _sums(pixels: Array, groups: list[_Group]) -> Array:
    """The weighted sums of every row, (height, 32) of the weights' type."""
    import numpy as np

    (height, width), kind = pixels.shape, groups[0].weights.dtype
    widest = max(group.weights.size for group in groups)
    step = max(1, min(height, _BAND // (width * kind.itemsize), _PRODUCT // widest))
    band = np.empty((step, width), kind)
    sums = np.empty((height, SIDE), kind)
    for top in range(0, height, step):
        part = band[: min(step, height - top)]
        np.copyto(part, pixels[top : top + step])
        for group in groups:
            into = sums[top : top + step, group.columns]
            np.matmul(part[:, group.start : group.stop], group.weights, out=into)
    return sums


def _settle(pixels: Array, table: _Table, sums: Array) -> None:
    """Compute again what float32 cannot decide: sums whose whole part the error could change."""
    import numpy as np

    above = sums - np.floor(sums)
    # The half was added with at most half an ulp of 512.
    unsure = np.abs(above - np.float32(0.5)) > 0.5 - table.error - 2.0**-14
    for at, group in enumerate(table.groups):
        rows = np.flatnonzero(unsure.view(np.uint64)[:, at])  # a group is 8 columns, 8 bytes
        if len(rows):
            sums[rows, group.columns] = _exactly(pixels, rows, group)


def _exactly(pixels: Array, rows: Array, group: _Group) -> Array:
    """The rounded sums of some rows, in float64."""
    import numpy as np

    weights = group.weights.astype(np.float64)
    step = max(1, _PRODUCT // weights.size)
    found = np.empty((len(rows), weights.shape[1]))
    for first in range(0, len(rows), step):
        part = pixels[rows[first : first + step], group.start : group.stop]
        np.matmul(part.astype(np.float64), weights, out=found[first : first + step])
    return np.asarray(np.floor(found + 0.5))


@lru_cache(maxsize=512)  # of about 50 kB
def _table(width: int) -> _Table:
    import numpy as np

    kind = np.float64 if width < _FLOAT32_FROM else np.float32
    weights = _weights(width)
    groups = []
    for first in range(0, SIDE, _GROUP):
        columns = slice(first, first + _GROUP)
        start = min(at for at, _ in weights[columns])
        stop = max(at + len(column) for at, column in weights[columns])
        part = np.zeros((stop - start, _GROUP), kind)
        for place, (at, column) in enumerate(weights[columns]):
            part[at - start : at - start + len(column), place] = column
        groups.append(_Group(columns, start, stop, part))
    # A sum of n products in float32, in any order: (n + 1) roundings of half an ulp each.
    terms = max(len(column) for _, column in weights)
    error = 0.0 if kind is np.float64 else (terms + 1) * 2.0**-24 * 255 * _ABSOLUTE
    return _Table(groups, error)


def _weights(width: int) -> list[tuple[int, Array]]:
    """Pillow's fixed-point Lanczos weights, over 2^22: for each of the 32 output columns the first
    input column and the weights from there on.

    precompute_coeffs and normalize_coeffs_8bpc for the left half, which the right half mirrors.
    The sine errs by 1e-8 of a weight's unit at most; where that, or the mirroring, could move a
    weight over a rounding edge, all are computed again as Pillow does it.
    """
    import numpy as np

    starts, stops, centres = (each[: SIDE // 2] for each in _windows(width))
    x = starts[:, None] + np.arange(int((stops - starts).max()))
    values = _lanczos_of((x - centres[:, None] + 0.5) * (1.0 / _scale(width)))
    values[x >= stops[:, None]] = 0.0
    values *= (1 << _FRACTION_BITS) / values.sum(axis=1, keepdims=True)
    fixed = np.rint(values)
    if (np.abs(values - fixed) > 0.5 - _DOUBT).any():
        return _weights_one_by_one(width)
    fixed /= 1 << _FRACTION_BITS
    ends = list(zip(starts.tolist(), stops.tolist(), strict=True))
    left = [(start, row[: stop - start]) for (start, stop), row in zip(ends, fixed, strict=True)]
    right = [(width - start - len(row), row[::-1]) for start, row in reversed(left)]
    return left + right


def _lanczos_of(x: Array) -> Array:
    """sinc(x) sinc(x / 3) within the window, with the sine of a triple angle."""
    import numpy as np

    with np.errstate(invalid="ignore"):
        third = x * (math.pi / _SUPPORT)
        sine = np.sin(third)
        square = sine * sine
        found = square * (3.0 - 4.0 * square) / (_SUPPORT * third * third)
    found[x == 0.0] = 1.0
    found[(x < -_SUPPORT) | (x >= _SUPPORT)] = 0.0
    return np.asarray(found)


def _scale(width: int) -> float:
    """Input px that the filter's unit spans; at least one, also where the picture grows."""
    return max(width / SIDE, 1.0)


def _windows(width: int) -> tuple[Array, Array, Array]:
    """First and last input column, and the centre, of every output column."""
    import numpy as np

    support = _SUPPORT * _scale(width)
    centres = (np.arange(SIDE) + 0.5) * (width / SIDE)
    starts = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    stops = np.minimum((centres + support + 0.5).astype(np.int64), width)
    return starts, stops, centres


def _weights_one_by_one(width: int) -> list[tuple[int, Array]]:
    """The same, operation by operation as Pillow does it."""
    import numpy as np

    inverse = 1.0 / _scale(width)
    found = []
    for start, stop, centre in zip(*(each.tolist() for each in _windows(width)), strict=True):
        values = [_lanczos((x - centre + 0.5) * inverse) for x in range(start, stop)]
        total = 0.0
        for value in values:
            total += value
        scaled = [value / total * (1 << _FRACTION_BITS) for value in values]
        fixed = [int(each - 0.5 if each < 0 else each + 0.5) for each in scaled]
        found.append((start, np.array(fixed) / (1 << _FRACTION_BITS)))
    return found


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / 3) if -_SUPPORT <= x < _SUPPORT else 0.0


def _sinc(x: float) -> float:
    return 1.0 if x == 0.0 else math.sin(x * math.pi) / (x * math.pi)
