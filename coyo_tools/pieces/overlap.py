"""How several sets of rows overlap, from one number a row: bit n tells whether set n has it.

Rows of one pattern of bits are counted together, so that sizes, intersections and what only one set
has are exact in memory for the patterns, whatever the rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

MOST_SETS = 63  # bits


@dataclass(frozen=True)
class Member:
    """One set. rows: it has. only: that no other set has. share: of all rows, 0 to 1."""

    name: str
    rows: int
    only: int
    share: float


@dataclass(frozen=True)
class Pair:
    """Two sets. both: rows that both have. of_a, of_b: their share of each set's rows; jaccard:
    of the rows that either has. 0 to 1; 0 of no rows."""

    a: str
    b: str
    both: int
    of_a: float
    of_b: float
    jaccard: float


@dataclass(frozen=True)
class Overlap:
    """Sets of rows against each other. in_all, in_any: rows that all, or some, of the sets have."""

    rows: int
    members: tuple[Member, ...]
    pairs: tuple[Pair, ...]
    in_all: int
    in_any: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def overlap_of(names: Sequence[str], patterns: Mapping[int, int]) -> Overlap:
    """What the counts by pattern say. patterns: rows by their bits, bit n for the n-th name."""
    rows = sum(patterns.values())

    def having(bits: int) -> int:
        return sum(count for pattern, count in patterns.items() if pattern & bits == bits)

    sizes = [having(1 << n) for n in range(len(names))]
    members = [
        Member(name, size, patterns.get(1 << n, 0), _share(size, rows))
        for n, (name, size) in enumerate(zip(names, sizes, strict=True))
    ]
    pairs = []
    for a, b in itertools.combinations(range(len(names)), 2):
        both = having(1 << a | 1 << b)
        shares = (_share(both, of) for of in (sizes[a], sizes[b], sizes[a] + sizes[b] - both))
        pairs.append(Pair(names[a], names[b], both, *shares))
    in_all = having((1 << len(names)) - 1)
    return Overlap(rows, tuple(members), tuple(pairs), in_all, rows - patterns.get(0, 0))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
