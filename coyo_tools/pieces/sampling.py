"""h(id, seed): the hash by which rows are sampled and ties are broken; and how much to keep.

h(id, seed) = splitmix64(uint64(id) + splitmix64(uint64(seed))) mod 2^64. splitmix64 is a bijection,
so two ids never have one hash. (Steele, Lea and Flood, Fast Splittable Pseudorandom Number
Generators, 2014; the constants are those of Vigna's public-domain C code.)
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from coyo_tools.words.errors import RuleError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

SPAN = 1 << 64
_GAMMA, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def splitmix64(x: int) -> int:
    """One step of splitmix64. x: any integer, taken modulo 2^64. Returns 0 to 2^64 - 1."""
    x = (x + _GAMMA) % SPAN
    z = ((x ^ x >> 30) * _FIRST) % SPAN
    z = ((z ^ z >> 27) * _SECOND) % SPAN
    return z ^ z >> 31


def hash_of(id: int, seed: int = 0) -> int:
    """h(id, seed), 0 to 2^64 - 1."""
    return splitmix64(id + splitmix64(seed))


def hashes(ids: np.ndarray[Any, Any], seed: int = 0) -> np.ndarray[Any, Any]:
    """h of each id. ids: int64 (n,). Returns uint64 (n,)."""
    import numpy as np

    # Arrays of unsigned integers wrap silently, as C's do.
    z = ids.astype(np.int64).view(np.uint64) + np.uint64((splitmix64(seed) + _GAMMA) % SPAN)
    z = (z ^ z >> np.uint64(30)) * np.uint64(_FIRST)
    z = (z ^ z >> np.uint64(27)) * np.uint64(_SECOND)
    return z ^ z >> np.uint64(31)


def hash_expr(seed: int = 0, column: str = "id") -> pl.Expr:
    """h of an int64 column, UInt64; null where the id is."""
    import polars as pl

    def word(value: int) -> pl.Expr:
        return pl.lit(value % SPAN, dtype=pl.UInt64)

    def shifted(x: pl.Expr, bits: int) -> pl.Expr:
        return x ^ (x // word(1 << bits))  # polars has no shift

    ids = pl.col(column).reinterpret(signed=False)
    x = ids + word(splitmix64(seed) + _GAMMA)
    return shifted(shifted(shifted(x, 30) * word(_FIRST), 27) * word(_SECOND), 31)


@dataclass(frozen=True)
class Amount:
    """How many rows to keep: `rows`, or a `share` of them, above 0 and at most 1."""

    rows: int | None = None
    share: Decimal | None = None

    def of(self, rows: int) -> int:
        """Of so many rows: floor(share * rows + 0.5), or `rows` themselves."""
        if self.share is None:
            return min(self.rows or 0, rows)
        return math.floor(Fraction(self.share) * rows + Fraction(1, 2))

    @property
    def hash_bound(self) -> int:
        """A hash below this is within the share: h < share * 2^64, without rounding."""
        assert self.share is not None
        return math.ceil(Fraction(self.share) * SPAN)

    @property
    def written(self) -> str | int:
        """As a recipe writes it: "30%" or 1000000."""
        if self.share is None:
            return self.rows or 0
        return f"{(self.share * 100).normalize():f}%"

    def __str__(self) -> str:
        return self.written if isinstance(self.written, str) else f"{self.written:,}"


_SHARE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*%")


def amount_of(value: Any, where: str) -> Amount:
    """`"30%"`, `1000000` or `"1000000"`. Raises RuleError; where: what to blame."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return Amount(rows=value)
    text = value.strip() if isinstance(value, str) else ""
    found = _SHARE.fullmatch(text)
    if found and 0 < Decimal(found.group(1)) <= 100:
        return Amount(share=Decimal(found.group(1)).scaleb(-2))
    if re.fullmatch(r"[1-9][\d_]*", text) and not text.endswith("_"):
        return Amount(rows=int(text))
    raise RuleError(
        f"{value!r} is no amount", where=where, todo="write a share such as 30%, or a row count"
    )


def seed_of(value: Any, where: str) -> int:
    """A seed, 0 to 2^64 - 1. Raises RuleError."""
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and text.isdecimal():
        text = int(text)
    if isinstance(text, bool) or not isinstance(text, int) or not 0 <= text < SPAN:
        raise RuleError(
            f"{value!r} is no seed", where=where, todo="write a whole number from 0 to 2^64 - 1"
        )
    return text
