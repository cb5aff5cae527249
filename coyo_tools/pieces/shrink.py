"""Pillow's Lanczos resize of a grey picture to 32 x 32, to the last bit, in less time.

Pillow resizes rows first, then columns, each to 8 bits with weights of 22 fractional bits
(libImaging/Resample.c). Here a pass is a few matrix products. In float64 8 bits times 22 add up
exactly, in any order. Large pictures are multiplied in float32, which is twice as fast and errs
within a strict bound; where a value lies within it of a rounding edge, whole numbers decide.

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
_SUPPORT = 3  # of the Lanczos window, in output px
_DOUBT = 4e-6  # of a weight times 2^22
_GROUP = 4  # output columns that are computed together: they read only a part of a row
_FLOAT32_FROM = 200_000  # px; below, looking for values in doubt takes longer than it saves
_ABSOLUTE = 1.6  # more than the sizes of a column's weights add up to, at any width
_BAND = 1 << 19  # bytes of a picture that are floats at a time, which a core's cache holds
_PRODUCT = 1 << 18  # multiplications; BLAS runs larger products in threads of its own


class _Table(NamedTuple):
    """What a width needs.

    groups: of output columns that are computed together: the input columns, the output columns and
    the weights, (terms, columns) of float64 or float32, which both hold multiples of 2^-22 exactly.
    starts: the first input column of each group. fixed: the weights of the 32 output columns from
    there on times 2^22, int32 (32, terms).
    """

    groups: list[tuple[slice, slice, Array]]
    starts: list[int]
    fixed: Array


def shrink(grey: Array) -> Array:
    """A grey picture, uint8 (height, width), as Pillow 9 to 12.1 resize it: uint8 (32, 32)."""
    return _rows(_rows(grey).T).T


def _rows(pixels: Array) -> Array:
    """Every row resized to 32 px: uint8 (height, width) to (height, 32)."""
    import numpy as np

    width = pixels.shape[1]
    if width == SIDE:
        return pixels
    if pixels.size < _FLOAT32_FROM:
        sums = _sums(pixels, _table(width, np.float64))
        sums += 0.5
        return sums.clip(0, 255, out=sums).astype(np.uint8)
    table = _table(width, np.float32)
    found = _rounded(pixels, table, _sums(pixels, table))
    return found.clip(0, 255, out=found).astype(np.uint8)


def _sums(pixels: Array, table: _Table) -> Array:
    """The weighted sums of every row, (height, 32) of the weights' type."""
    import numpy as np

    (height, width), kind = pixels.shape, table.groups[0][2].dtype
    product = _PRODUCT // (_GROUP * table.fixed.shape[1])
    step = max(1, min(height, product, _BAND // (width * kind.itemsize)))
    band = np.empty_like(pixels[:step], kind)  # in the order of the pixels, which copies faster
    sums = np.empty((height, SIDE), kind)
    for top in range(0, height, step):
        part, into = band[: min(step, height - top)], sums[top : top + step]
        np.copyto(part, pixels[top : top + step])
        for read, columns, weights in table.groups:
            np.matmul(part[:, read], weights, out=into[:, columns])
    return sums


def _rounded(pixels: Array, table: _Table, sums: Array) -> Array:
    """Sums in float32 rounded, computed again where their error could change that."""
    import numpy as np

    terms = table.fixed.shape[1]
    # A sum of n products in float32, in any order: (n + 1) roundings of half an ulp each.
    error = (terms + 1) * 2.0**-24 * 255 * _ABSOLUTE
    found = np.rint(sums)
    sums -= found
    unsure = np.flatnonzero(np.abs(sums, out=sums) >= 0.5 - error)
    step = max(1, _PRODUCT // terms)
    for first in range(0, len(unsure), step):
        some = unsure[first : first + step]
        found.reshape(-1)[some] = _exactly(pixels, table, some // SIDE, some % SIDE)
    return found


def _exactly(pixels: Array, table: _Table, rows: Array, columns: Array) -> Array:
    """The rounded sums of some rows, for an output column each, in whole numbers."""
    import numpy as np

    terms = table.fixed.shape[1]
    windows = np.lib.stride_tricks.as_strided(
        pixels,
        (len(pixels), pixels.shape[1] - terms + 1, terms),
        (*pixels.strides, pixels.strides[1]),
        writeable=False,
    )
    read = windows[rows, np.array(table.starts)[columns // _GROUP]]
    sums = np.einsum("ij,ij->i", read, table.fixed[columns])
    sums += 1 << (_FRACTION_BITS - 1)  # int32 holds it: at most 255 x 1.6 x 2^22 before
    sums >>= _FRACTION_BITS
    return np.asarray(sums)


@lru_cache(maxsize=512)  # of about 70 kB
def _table(width: int, kind: type[np.floating[Any]]) -> _Table:
    import numpy as np

    starts, fixed = _weights(width)
    weights, terms = fixed.astype(kind), fixed.shape[1]
    weights *= 2.0**-_FRACTION_BITS
    groups = [
        (slice(start, start + terms), slice(at, at + _GROUP), weights[at : at + _GROUP].T)
        for start, at in zip(starts, range(0, SIDE, _GROUP), strict=True)
    ]
    return _Table(groups, starts, fixed.astype(np.int32))


def _weights(width: int) -> tuple[list[int], Array]:
    """Pillow's fixed-point Lanczos weights times 2^22, float64 (32, terms), and for each group of
    output columns the input column from which they are.

    The right half mirrors the left, whose weights err by 1e-6 of these units at most. Where that,
    or the mirroring, could move one over a rounding edge, its output column is computed as Pillow
    does it.
    """
    import numpy as np

    if width < SIDE:
        whole = [_weights_of(column, width, 0, width) for column in range(SIDE)]
        return [0] * (SIDE // _GROUP), np.array(whole)
    starts, half = _left_half(width)
    terms = half.shape[1]
    starts += [width - terms - start for start in reversed(starts)]
    fixed = np.rint(half)
    half -= fixed
    off = np.abs(half, out=half)
    weights = np.concatenate([fixed, fixed[::-1, ::-1]])
    if off.max() > 0.5 - _DOUBT:
        unsure = np.flatnonzero(off.max(axis=1) > 0.5 - _DOUBT).tolist()
        for column in unsure + [SIDE - 1 - each for each in unsure]:
            weights[column] = _weights_of(column, width, starts[column // _GROUP], terms)
    return starts, weights


def _left_half(width: int) -> tuple[list[int], Array]:
    """The same of the left 16 output columns, not yet rounded. width: 32 px or more.

    Input column x lies t = m / (2 width) of the filter's units right of the centre of output column
    j, where m = 64 x + 32 - (2 j + 1) width. In whole numbers the window's edges are exact. But for
    a factor, sinc(t) sinc(t / 3) is sine^2 (3 - 4 sine^2) / m^2, with the sine of pi t / 3. A sine
    takes longer than all the rest, so those of a row are sin(a + b) of its first and its steps.
    """
    import numpy as np

    edge = 2 * _SUPPORT * width  # m where a window ends
    starts = [max(0, (each * width - edge + 32) // 64) for each in range(1, SIDE, 2 * _GROUP)]
    terms = -(-(2 * (_GROUP - 1) * width + 2 * edge) // 64)
    columns = range(SIDE // 2)
    first = np.array([64.0 * starts[j // _GROUP] + 32 - (2 * j + 1) * width for j in columns])
    steps = np.arange(0.0, 64 * terms, 64)
    angle = math.pi / edge
    quarter = math.pi / 2  # makes a cosine of a sine
    begun = np.sin(first * angle + [[0.0], [quarter]])
    turned = np.sin(steps * angle + [[quarter], [0.0]])
    square = begun.T @ turned
    square *= square
    away = first[:, None] + steps
    away *= away
    if width % 64 == 32:  # else no m is zero, where it would be 0 / 0: what it is 1e-6 beside it
        np.maximum(square, (1e-6 * angle) ** 2, out=square)
        np.maximum(away, 1e-12, out=away)
    values = 3.0 - 4.0 * square
    values *= square
    values /= away
    values *= away < edge**2
    values *= (1 << _FRACTION_BITS) / values.sum(axis=1, keepdims=True)
    return starts, values


def _weights_of(column: int, width: int, start: int, terms: int) -> Array:
    """The same of one output column, for so many input columns from the start, operation by
    operation as Pillow's precompute_coeffs and normalize_coeffs_8bpc compute them."""
    import numpy as np

    scale = max(width / SIDE, 1.0)  # input px of the filter's unit, also where the picture grows
    centre = (column + 0.5) * (width / SIDE)
    first = max(int(centre - _SUPPORT * scale + 0.5), 0)
    # Past the input columns asked for Pillow's window may have one more, which weighs nothing.
    stop = min(int(centre + _SUPPORT * scale + 0.5), start + terms)
    values = [_lanczos((x - centre + 0.5) * (1.0 / scale)) for x in range(first, stop)]
    total = 0.0
    for value in values:
        total += value
    scaled = [value / total * (1 << _FRACTION_BITS) for value in values]
    found = np.zeros(terms)
    found[first - start : stop - start] = [int(e - 0.5 if e < 0 else e + 0.5) for e in scaled]
    return found


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / 3) if -_SUPPORT <= x < _SUPPORT else 0.0


def _sinc(x: float) -> float:
    return 1.0 if x == 0.0 else math.sin(x * math.pi) / (x * math.pi)
