"""h(id, seed) of the contract."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.pieces.draw import draw, splitmix64

MASK = (1 << 64) - 1


def by_hand(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & MASK
    z = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
    return z ^ z >> 31


def test_the_published_sequence_of_splitmix64() -> None:
    """Seed 1234567, as in the generator's reference tests."""
    states = [(1234567 + i * 0x9E3779B97F4A7C15) & MASK for i in range(3)]
    found = splitmix64(np.array(states, np.uint64)).tolist()
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(st.lists(st.integers(-(2**63), 2**63 - 1)), st.integers(-(2**63), 2**64 - 1))
def test_h_by_its_definition(ids: list[int], seed: int) -> None:
    expected = [by_hand((i + by_hand(seed & MASK)) & MASK) for i in ids]
    assert draw(np.array(ids, np.int64), seed).tolist() == expected
