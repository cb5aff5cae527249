"""Means against fractions, to the last bit."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.pieces import exact_sum
from coyo_tools.pieces.exact_sum import ExactSum

singles = st.floats(width=32, allow_nan=False, allow_infinity=False)
doubles = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize(
    ("numbers", "dtype"), [(singles, np.float32), (doubles, np.float64), (integers, np.int64)]
)
def test_the_mean_is_the_exact_one_rounded_once(numbers, dtype) -> None:
    @given(st.lists(numbers, min_size=1, max_size=40))
    def check(values: list[float]) -> None:
        found = ExactSum()
        for piece in np.array_split(np.array(values, dtype), 3):
            found.add(piece)
        assert found.mean(len(values)) == float(sum(map(Fraction, values)) / len(values))

    check()


def test_many_values_of_one_exponent(monkeypatch) -> None:
    values = np.random.default_rng(0).random(100_000).astype(np.float32)
    found = ExactSum()
    found.add(values)
    assert found.mean(len(values)) == math.fsum(values.tolist()) / len(values)
    monkeypatch.setattr(exact_sum, "_AT_ONCE", 999)
    again = ExactSum()
    again.add(values[::-1].copy())
    assert again.mean(len(values)) == found.mean(len(values))


def test_infinities_and_nothing() -> None:
    found = ExactSum()
    assert found.mean(0) is None
    found.add(np.array([1.0, np.inf]))
    assert found.mean(2) == math.inf
    found.add(np.array([-np.inf], np.float32))
    assert math.isnan(found.mean(3) or 0.0)
