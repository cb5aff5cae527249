"""What some files of a source say of all of them: ratio estimates with 95 % confidence intervals.

A file is a cluster of rows. n of N files are drawn by the hash of their names: without replacement,
and with no regard to what is in them. With m_i rows in a file, y_i of them counted, and M rows in
all N files (their footers say so):

    R = sum(y_i) / sum(m_i)        total = R M        s^2 = sum((y_i - R m_i)^2) / (n - 1)
    variance of the total = N^2 (1 - n / N) s^2 / n

and the interval is total +- t s.e. with n - 1 degrees of freedom (Cochran, Sampling Techniques, 3rd
edition, 1977, chapters 6 and 9A: the ratio estimate, and clusters of unequal sizes). Of a count of
rows the variance is taken no smaller than if rows had been drawn one by one, with Agresti and
Coull's two rows more on either side, so that few files which agree, or a count of none, do not
look certain; and no bound contradicts what was seen.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coyo_tools.pieces.sampling import hash_of

_T_FEW = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706)  # Student's t at 97.5 %, 1 to 5 degrees
_Z = 1.959964


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % confidence interval; low and high equal the value where it is exact."""

    value: float
    low: float
    high: float

    @classmethod
    def exactly(cls, value: float) -> Estimate:
        """Known, not estimated."""
        return cls(value, value, value)

    @property
    def exact(self) -> bool:
        """Whether it is known."""
        return self.low == self.high

    def times(self, other: Estimate) -> Estimate:
        """The product of two independent figures, none negative: their relative errors add up in
        squares, below and above."""
        value = self.value * other.value
        if not value:
            return Estimate(value, 0.0, self.high * other.high)
        low = math.hypot(_log(self.low / self.value), _log(other.low / other.value))
        high = math.hypot(_log(self.high / self.value), _log(other.high / other.value))
        return Estimate(value, value * math.exp(-low), value * math.exp(high))

    def inverse(self) -> Estimate:
        """1 / x. Needs a value above 0."""
        low = 1 / self.low if self.low else math.inf
        return Estimate(1 / self.value, 1 / self.high, low)

    def plus(self, other: Estimate) -> Estimate:
        """The sum of two figures that err together."""
        return Estimate(self.value + other.value, self.low + other.low, self.high + other.high)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"value": self.value, "low": self.low, "high": self.high}


def _log(ratio: float) -> float:
    return math.log(ratio) if ratio else -math.inf


def drawn(names: Sequence[str], count: int) -> list[int]:
    """Which files of these names make up the sample: the `count` smallest h, in source order."""

    def h(index: int) -> int:
        return hash_of(int.from_bytes(hashlib.sha256(names[index].encode()).digest()[:8]))

    return sorted(sorted(range(len(names)), key=h)[:count])


@dataclass(frozen=True)
class Clusters:
    """The files that were looked at. rows: of each. files, all_rows: of the whole source."""

    rows: Sequence[int]
    files: int
    all_rows: int

    @property
    def whole(self) -> bool:
        """Whether they are all files."""
        return len(self.rows) == self.files

    @property
    def factor(self) -> float:
        """Rows of the whole source to a row looked at."""
        return self.all_rows / sum(self.rows) if sum(self.rows) else 0.0

    def rows_like(self, seen: Sequence[int]) -> Estimate:
        """Rows of the whole source, from so many in each file."""
        count, rest = sum(seen), sum(self.rows) - sum(seen)
        low, high = float(count), float(self.all_rows - rest)
        if self.whole:
            return Estimate.exactly(count)
        value = count * self.factor
        wide = _t(len(seen) - 1) * math.sqrt(max(self._between(seen), self._within(count)))
        return Estimate(value, max(low, value - wide), min(high, value + wide))

    def total_like(self, seen: Sequence[float]) -> Estimate:
        """A sum over the whole source of something that is not negative, from its sum in each
        file."""
        count = math.fsum(seen)
        if self.whole:
            return Estimate.exactly(count)
        value = count * self.factor
        wide = _t(len(seen) - 1) * math.sqrt(self._between(seen))
        return Estimate(value, max(count, value - wide), value + wide)

    def _between(self, seen: Sequence[float]) -> float:
        """Variance of the total, from how the files differ."""
        n = len(seen)
        if n < 2 or not sum(self.rows):
            return math.inf
        ratio = math.fsum(seen) / sum(self.rows)
        squares = math.fsum((y - ratio * m) ** 2 for y, m in zip(seen, self.rows, strict=True)) / (
            n - 1
        )
        return self.files**2 * (1 - n / self.files) * squares / n

    def _within(self, count: int) -> float:
        """Variance of the total, had the rows been drawn one by one."""
        looked = sum(self.rows)
        share = (count + 2) / (looked + 4)
        others = self.all_rows - looked
        return self.all_rows * others * share * (1 - share) / (looked + 4)


def _t(degrees: int) -> float:
    """Student's t at 97.5 %; beyond 5 degrees by its expansion in 1 / degrees (Fisher and Cornish,
    The percentile points of distributions having known cumulants, 1960), within 0.002."""
    if degrees <= len(_T_FEW):
        return _T_FEW[max(degrees, 1) - 1]
    z, v = _Z, degrees
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )
