"""Sums without rounding, so that a mean does not depend on the order of the rows."""

from __future__ import annotations

import threading
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_AT_ONCE = 1 << 17  # values: sums of 32-bit pieces of so many stay below 2^53


class ExactSum:
    """The sum of integers or floats, exact. `add` may be called from several threads.

    A float is its mantissa times a power of two: mantissas are added up by exponent, as whole
    numbers below 2^53, which float64 adds exactly.
    """

    def __init__(self) -> None:
        self._sum = Fraction(0)
        self._infinite = {1: 0, -1: 0}
        self._lock = threading.Lock()

    def add(self, values: Array) -> None:
        """Add values without NaN: int64, float32 or float64 (n,)."""
        import numpy as np

        for start in range(0, len(values), _AT_ONCE):
            piece = values[start : start + _AT_ONCE]
            infinite = {1: 0, -1: 0}
            if piece.dtype.kind == "f":
                finite = np.isfinite(piece)
                if not finite.all():
                    infinite = {s: int(np.count_nonzero(piece == s * np.inf)) for s in (1, -1)}
                    piece = piece[finite]
                found = _of_floats(piece)
            else:
                found = Fraction(_of_integers(piece))
            with self._lock:
                self._sum += found
                for sign, count in infinite.items():
                    self._infinite[sign] += count

    def mean(self, count: int) -> float | None:
        """The mean, rounded once to float64; None of no values. NaN where both infinities met."""
        if count == 0:
            return None
        if any(self._infinite.values()):
            return sum(s * float("inf") for s, times in self._infinite.items() if times)
        return float(self._sum / count)


def _of_integers(values: Array) -> int:
    import numpy as np

    high, low = values >> 32, values & 0xFFFFFFFF
    return (int(high.sum(dtype=np.int64)) << 32) + int(low.sum(dtype=np.int64))


def _of_floats(values: Array) -> Fraction:
    import numpy as np

    single = values.dtype == np.float32
    bits, digits = (32, 23) if single else (64, 52)
    word: Any = np.uint32 if single else np.uint64
    raw: Array = values.view(word)
    exponents = ((raw >> word(digits)) & word((1 << (bits - 1 - digits)) - 1)).astype(np.int64)
    mantissas = (raw & word((1 << digits) - 1)).astype(np.int64)
    mantissas |= (exponents > 0).astype(np.int64) << digits
    np.negative(mantissas, out=mantissas, where=(raw >> word(bits - 1)).astype(bool))
    offset = (127 if single else 1023) + digits
    total = Fraction(0)
    for shift, piece in ((26, mantissas >> 26), (0, mantissas & ((1 << 26) - 1))):
        sums = np.bincount(exponents, weights=piece.astype(np.float64))
        for exponent in np.flatnonzero(sums).tolist():
            power = max(exponent, 1) - offset + shift
            total += int(sums[exponent]) * Fraction(2) ** power
    return total
