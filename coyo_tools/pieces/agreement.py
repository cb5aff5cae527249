"""How far stored and recomputed values agree: plain functions over aligned arrays.

Row i of every array is the same picture. A value that is missing on either side is left out by
the caller; differences are recomputed minus stored.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces import sampling
from coyo_tools.pieces.phash import DRIFTED, DRIFTED_AT_MOST, REPLACED, SAME, SAME_AT_MOST, UNKNOWN

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

FLOAT16, FLOAT32, FLOAT64, INTEGER, HASH = "float16", "float32", "float64", "integer", "hash"
BINS = 40
SAMPLE = 1000  # pairs
DRIFTS = (SAME, DRIFTED, REPLACED, UNKNOWN)


def equal(stored: Array, recomputed: Array, precision: str) -> Array:
    """Where both are the same value of `precision`: floats are rounded to it first."""
    import numpy as np

    if precision not in (FLOAT16, FLOAT32):
        return np.asarray(stored == recomputed)
    with np.errstate(over="ignore"):
        return np.asarray(stored.astype(precision) == recomputed.astype(precision))


def numbers(stored: Array, recomputed: Array, precision: str) -> dict[str, Any]:
    """Rows, share equal, mean, mean absolute, p50, p99 and largest difference, Pearson's r.

    None stands for what cannot be said: of no rows, a correlation with a constant, infinities.
    """
    import numpy as np

    rows = len(stored)
    same = int(np.count_nonzero(equal(stored, recomputed, precision)))
    found: dict[str, Any] = {"rows": rows, "equal_rows": same}
    if not rows:
        nothing = ("equal", *_DIFFERENCES, "correlation")
        return found | dict.fromkeys(nothing)
    difference = differences(stored, recomputed)
    size = np.abs(difference)
    with np.errstate(invalid="ignore"):  # infinities
        p50, p99 = np.quantile(size, [0.5, 0.99])
        values = (difference.mean(), size.mean(), p50, p99, size.max())
    return (
        found
        | {"equal": same / rows}
        | dict(zip(_DIFFERENCES, map(_finite, values), strict=True))
        | {"correlation": correlation(stored, recomputed)}
    )


_DIFFERENCES = (
    "mean_difference",
    "mean_absolute_difference",
    "p50_absolute_difference",
    "p99_absolute_difference",
    "largest_difference",
)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def differences(stored: Array, recomputed: Array) -> Array:
    """Recomputed minus stored, float64; 0 where both are the same infinity."""
    import numpy as np

    a, b = stored.astype(np.float64), recomputed.astype(np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(a == b, 0.0, b - a)


def correlation(stored: Array, recomputed: Array) -> float | None:
    """Pearson's r, -1 to 1; None for fewer than two rows, a constant, or infinities."""
    import numpy as np

    a, b = stored.astype(np.float64), recomputed.astype(np.float64)
    if len(a) < 2 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    if not scale:
        return None
    return max(-1.0, min(1.0, float((a * b).sum()) / scale))


def histogram(difference: Array) -> dict[str, Any]:
    """Counts of differences in equal bins around 0, out to the 99th percentile of their size.

    below, above: how many lie outside the edges.
    """
    import numpy as np

    finite = difference[np.isfinite(difference)]
    size = np.abs(finite)
    reach = float(np.quantile(size, 0.99)) if len(size) else 0.0
    reach = reach or (float(size.max()) if len(size) else 0.0) or 1.0
    counts, edges = np.histogram(finite, bins=BINS, range=(-reach, reach))
    return {
        "edges": edges.tolist(),
        "counts": counts.tolist(),
        "below": int(np.count_nonzero(difference < -reach)),
        "above": int(np.count_nonzero(difference > reach)),
    }


def sample(ids: Array, stored: Array, recomputed: Array) -> Array:
    """Positions of at most 1,000 rows, those with the smallest h(id, 0) and finite values: the same
    for any order of rows."""
    import numpy as np

    chosen = np.argsort(sampling.hashes(ids, 0), kind="stable")[:SAMPLE]
    return np.asarray(chosen[np.isfinite(stored[chosen]) & np.isfinite(recomputed[chosen])])


def pairs(stored: Array, recomputed: Array) -> list[list[float]]:
    """Both values of each row."""
    return [[a, b] for a, b in zip(stored.tolist(), recomputed.tolist(), strict=True)]


def largest(ids: Array, difference: Array, count: int) -> Array:
    """Positions of the largest differences that are not 0, largest first, then by id."""
    import numpy as np

    size = np.abs(difference)
    order = np.lexsort((ids, -size))[:count]
    return np.asarray(order[size[order] > 0])


def bits(a: Array, b: Array) -> Array:
    """Bits in which hashes (uint64) differ, 0 to 64, as int64."""
    import numpy as np

    octets = (a ^ b).astype(np.uint64).view(np.uint8).reshape(-1, 8)
    return np.asarray(np.unpackbits(octets, axis=1).sum(axis=1, dtype=np.int64))


def hashes(stored: Array, recomputed: Array) -> dict[str, Any]:
    """Rows, equal rows, share equal and share of the same picture, bits apart."""
    import numpy as np

    distance = bits(stored, recomputed)
    rows = len(distance)
    same = int(np.count_nonzero(distance == 0))
    near = int(np.count_nonzero(distance <= SAME_AT_MOST))
    return {
        "rows": rows,
        "equal_rows": same,
        "equal": same / rows if rows else None,
        "same_picture": near / rows if rows else None,
        "mean_absolute_difference": float(distance.mean()) if rows else None,
        "p50_absolute_difference": float(np.quantile(distance, 0.5)) if rows else None,
        "p99_absolute_difference": float(np.quantile(distance, 0.99)) if rows else None,
        "largest_difference": int(distance.max()) if rows else None,
        "distances": np.bincount(distance, minlength=65).tolist(),
    }


def drifts(distance: Array, known: Array) -> Array:
    """Index into DRIFTS for every row: same, drifted, replaced, or unknown."""
    import numpy as np

    found = np.digitize(distance, [SAME_AT_MOST + 1, DRIFTED_AT_MOST + 1])
    return np.where(known, found, DRIFTS.index(UNKNOWN))
