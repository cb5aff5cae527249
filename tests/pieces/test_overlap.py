"""Overlaps from patterns of bits, against Python's own sets."""

from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.pieces.overlap import overlap_of

NAMES = ("a", "b", "c", "d")


@given(st.lists(st.integers(0, 15), max_size=60))
def test_sizes_and_pairs_are_those_of_sets(rows):
    sets = [{at for at, bits in enumerate(rows) if bits >> n & 1} for n in range(4)]
    found = overlap_of(NAMES, Counter(rows))
    assert (found.rows, found.in_all) == (len(rows), len(set.intersection(*sets)))
    assert found.in_any == len(set.union(*sets))
    for n, each in enumerate(found.members):
        others = set().union(*(s for m, s in enumerate(sets) if m != n))
        assert (each.name, each.rows, each.only) == (NAMES[n], len(sets[n]), len(sets[n] - others))
        assert each.share == (len(sets[n]) / len(rows) if rows else 0)
    pairs = itertools.combinations(zip(NAMES, sets, strict=True), 2)
    for pair, ((a, of_a), (b, of_b)) in zip(found.pairs, pairs, strict=True):
        both, either = len(of_a & of_b), len(of_a | of_b)
        assert (pair.a, pair.b, pair.both) == (a, b, both)
        assert pair.jaccard == (both / either if either else 0)
        assert pair.of_a == (both / len(of_a) if of_a else 0)
        assert pair.of_b == (both / len(of_b) if of_b else 0)


def test_one_set_and_63_of_them():
    assert overlap_of(["a"], {1: 3, 0: 1}).to_dict() == {
        "rows": 4, "members": ({"name": "a", "rows": 3, "only": 3, "share": 0.75},), "pairs": (),
        "in_all": 3, "in_any": 3,
    }  # fmt: skip
    many = overlap_of([str(n) for n in range(63)], {2**63 - 1: 2, 1 << 62: 1})
    assert (many.in_all, many.members[62].rows, many.members[62].only) == (2, 3, 1)
