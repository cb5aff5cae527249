"""Pillow's Lanczos resize of a grey picture to 32 x 32, to the last bit, in less time.

Pillow resizes rows first, then columns, each to 8 bits with weights of 22 fractional bits
(libImaging/Resample.c). The first pass is nearly all of the cost. Here it is a few matrix
products in float32, whose error has a strict bound; the one value in a hundred that lies within
that bound of a rounding edge is computed again in float64, where the sum is exact. The second
pass is Pillow's own.

Tall pictures are left to Pillow, because Pillow 13 resizes their columns first (where the height
is above about twice the width less 32 px). Whether the installed Pillow gives these very pixels is
checked once; where it does not, it does the work.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Array = np.ndarray[Any, Any]

SIDE = 32  # px
_NARROWEST = 2 * SIDE  # px; below, there is nothing to win
_FRACTION_BITS = 22
_SUPPORT = 3.0  # of the Lanczos window, in output px
_DOUBT = 1e-6  # of a rounding edge, in units of a weight; numpy's sine errs by 1e-8 of that
_GROUPS = 4  # of output columns: each reads only its part of a row
_AT_ONCE = 64  # rows that are computed again together
_PRODUCT = 1 << 18  # multiplications; BLAS runs larger products in threads of its own


class _Group(NamedTuple):
    """Weights of some output columns over the input columns `start` to `stop`."""

    first: int
    start: int
    stop: int
    weights: Array  # float32, which holds multiples of 2^-22 exactly
    error: float  # bound on the error of a float32 sum


def shrink(grey: Image.Image) -> Array:
    """`grey.resize((32, 32), LANCZOS)` of a mode L picture, as uint8 (32, 32)."""
    import numpy as np

    if _worth_it(grey.width, grey.height) and _agrees_with_pillow():
        return _columns(_rows(np.asarray(grey)))
    return _pillows(grey)


def _worth_it(width: int, height: int) -> bool:
    return width >= _NARROWEST and height <= 1.75 * width - SIDE


def _pillows(grey: Image.Image) -> Array:
    import numpy as np
    from PIL import Image

    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def _columns(narrow: Array) -> Array:
    from PIL import Image

    return _pillows(Image.fromarray(narrow))


def _rows(pixels: Array) -> Array:
    """Every row resized to 32 px: uint8 (height, width) to (height, 32)."""
    import numpy as np

    groups = _groups(pixels.shape[1])
    sums = np.empty((len(pixels), SIDE), np.float32)
    for group in groups:
        rows = max(1, _PRODUCT // group.weights.size)
        columns = slice(group.first, group.first + group.weights.shape[1])
        for top in range(0, len(pixels), rows):
            band = pixels[top : top + rows, group.start : group.stop].astype(np.float32)
            np.matmul(band, group.weights, out=sums[top : top + rows, columns])
    sums += np.float32(0.5)
    floors = np.floor(sums)
    above = sums - floors
    # Adding a half and subtracting the floor round once more, by at most an ulp of 512.
    error = max(group.error for group in groups) + 2.0**-14
    _again(pixels, groups, floors, (above < error) | (above > 1 - error))
    return floors.clip(0, 255).astype(np.uint8)


def _again(pixels: Array, groups: list[_Group], floors: Array, unsure: Array) -> None:
    """Compute the values that float32 cannot decide, exactly, in place."""
    import numpy as np

    for group in groups:
        rows, columns = np.nonzero(unsure[:, group.first : group.first + group.weights.shape[1]])
        for first in range(0, len(rows), _AT_ONCE):
            row, column = rows[first : first + _AT_ONCE], columns[first : first + _AT_ONCE]
            part = pixels[row, group.start : group.stop].astype(np.float64)
            exact = np.einsum("ij,ij->i", part, group.weights.T[column])
            floors[row, group.first + column] = np.floor(exact + 0.5)


@lru_cache(maxsize=256)
def _groups(width: int) -> list[_Group]:
    import numpy as np

    weights = _weights(width)
    per = SIDE // _GROUPS
    found = []
    for first in range(0, SIDE, per):
        part = weights[:, first : first + per]
        used = np.flatnonzero(part.any(axis=1))
        start, stop = int(used[0]), int(used[-1]) + 1
        part = np.ascontiguousarray(part[start:stop])
        terms = int((part != 0).sum(axis=0).max())
        # Sum of n products, in any order: at most (n + 1) roundings of half an ulp each.
        error = (terms + 1) * 2.0**-24 * 255 * float(np.abs(part).sum(axis=0).max()) * 1.01
        found.append(_Group(first, start, stop, part.astype(np.float32), error))
    return found


def _weights(width: int) -> Array:
    """Pillow's fixed-point Lanczos weights, over 2^22: float64 (width, 32).

    precompute_coeffs and normalize_coeffs_8bpc, with numpy's sine, which may differ from the C
    library's in the last places. Where that could move a weight over a rounding edge, all are
    computed again with the C library's.
    """
    import numpy as np

    scale = width / SIDE
    starts, stops, centres = _windows(width)
    x = starts[:, None] + np.arange(int((stops - starts).max()))
    t = (x - centres[:, None] + 0.5) * (1.0 / scale)
    inside = (x < stops[:, None]) & (t >= -_SUPPORT) & (t < _SUPPORT)
    values = np.where(inside, np.sinc(t) * np.sinc(t / _SUPPORT), 0.0)
    fixed = values / values.sum(axis=1, keepdims=True) * (1 << _FRACTION_BITS)
    edge = np.abs(np.abs(fixed) % 1 - 0.5)
    found = np.zeros((width, SIDE))
    column, at = np.nonzero(inside)
    found[x[column, at], column] = np.trunc(fixed + np.copysign(0.5, fixed))[column, at]
    if (edge[inside] < _DOUBT).any():
        return _weights_one_by_one(width)
    return found / (1 << _FRACTION_BITS)


def _windows(width: int) -> tuple[Array, Array, Array]:
    """First and last input column, and the centre, of every output column."""
    import numpy as np

    scale = width / SIDE
    centres = (np.arange(SIDE) + 0.5) * scale
    starts = np.maximum((centres - _SUPPORT * scale + 0.5).astype(np.int64), 0)
    stops = np.minimum((centres + _SUPPORT * scale + 0.5).astype(np.int64), width)
    return starts, stops, centres


def _weights_one_by_one(width: int) -> Array:
    """The same, operation by operation as Pillow does it."""
    import numpy as np

    inverse = 1.0 / (width / SIDE)
    found = np.zeros((width, SIDE))
    for column, (start, stop, centre) in enumerate(zip(*_windows(width), strict=True)):
        values = [_lanczos((x - float(centre) + 0.5) * inverse) for x in range(start, stop)]
        total = 0.0
        for value in values:
            total += value
        for x, value in enumerate(values, start):
            fixed = value / total * (1 << _FRACTION_BITS)
            found[x, column] = int(fixed - 0.5 if fixed < 0 else fixed + 0.5)
    return found / (1 << _FRACTION_BITS)


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / 3) if -_SUPPORT <= x < _SUPPORT else 0.0


def _sinc(x: float) -> float:
    return 1.0 if x == 0.0 else math.sin(x * math.pi) / (x * math.pi)


@cache
def _agrees_with_pillow() -> bool:
    """Whether the installed Pillow resizes noise and edges as this does."""
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0)
    for width, height in ((64, 80), (160, 248), (331, 97), (640, 480)):
        pixels = noise.integers(0, 256, (height, width), np.uint8)
        pixels[:, : width // 2] = np.where(pixels[:, : width // 2] > 127, 255, 0)
        if not np.array_equal(_columns(_rows(pixels)), _pillows(Image.fromarray(pixels))):
            return False
    return True
