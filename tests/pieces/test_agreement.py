"""Agreement of stored and recomputed values: by hand, and against numpy's own."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.pieces import agreement as ag

FLOATS = st.floats(-1e6, 1e6, width=32)
PAIRS = st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=60)


def sides(pairs: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.array(pairs, np.float32).T
    return a, b


def test_figures_by_hand() -> None:
    found = ag.numbers(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.5, 3.0, 3.0]), ag.FLOAT64)
    assert found["rows"] == 4
    assert (found["equal_rows"], found["equal"]) == (2, 0.5)
    assert found["mean_difference"] == -0.125
    assert found["mean_absolute_difference"] == 0.375
    assert found["p50_absolute_difference"] == 0.25
    assert found["largest_difference"] == 1.0
    assert found["correlation"] == pytest.approx(np.corrcoef([1, 2, 3, 4], [1, 2.5, 3, 3])[0, 1])


@given(PAIRS)
def test_figures_agree_with_numpy(pairs: list[tuple[float, float]]) -> None:
    a, b = sides(pairs)
    found = ag.numbers(a, b, ag.FLOAT32)
    difference = b.astype(float) - a.astype(float)
    assert found["mean_difference"] == pytest.approx(difference.mean(), abs=1e-9)
    assert found["largest_difference"] == np.abs(difference).max()
    assert found["p99_absolute_difference"] == pytest.approx(np.quantile(np.abs(difference), 0.99))
    assert found["equal_rows"] == (a == b).sum()
    assert found["correlation"] is None or -1 <= found["correlation"] <= 1
    json.dumps(found, allow_nan=False)


def test_no_rows_and_constants_have_no_correlation() -> None:
    empty = ag.numbers(np.array([]), np.array([]), ag.FLOAT32)
    assert empty["rows"] == 0
    assert empty["equal"] is empty["mean_difference"] is empty["correlation"] is None
    assert ag.correlation(np.array([1.0, 1.0]), np.array([1.0, 2.0])) is None
    assert ag.correlation(np.array([1.0]), np.array([1.0])) is None


def test_infinities_are_values() -> None:
    stored, again = np.array([math.inf, math.inf, 1.0]), np.array([math.inf, -math.inf, 1.0])
    found = ag.numbers(stored, again, ag.FLOAT32)
    assert found["equal_rows"] == 2
    json.dumps(found | ag.histogram(ag.differences(stored, again)), allow_nan=False)


def test_float16_columns_are_equal_where_their_float16_is() -> None:
    stored = np.array([0.28271484375, 0.5], np.float32)  # representable in float16
    again = np.array([0.2827, 0.5005], np.float32)
    assert ag.equal(stored, again, ag.FLOAT16).tolist() == [True, False]
    assert ag.equal(stored, again, ag.FLOAT32).tolist() == [False, False]


def test_integers_are_compared_exactly() -> None:
    big = np.array([2**53, 2**53 + 1])
    assert ag.equal(big, np.array([2**53, 2**53]), ag.INTEGER).tolist() == [True, False]


@given(PAIRS)
def test_the_histogram_counts_every_row(pairs: list[tuple[float, float]]) -> None:
    a, b = sides(pairs)
    found = ag.histogram(ag.differences(a, b))
    assert sum(found["counts"]) + found["below"] + found["above"] == len(pairs)
    assert len(found["edges"]) == len(found["counts"]) + 1
    assert found["edges"] == sorted(found["edges"])


@given(st.integers(0, 2**32 - 1))
def test_the_sample_does_not_depend_on_the_rows_order(seed: int) -> None:
    ids = np.random.default_rng(seed).permutation(3000)
    found = ag.sample(ids, ids.astype(float), -ids.astype(float))
    straight = np.arange(3000)
    again = ag.sample(straight, straight.astype(float), -straight.astype(float))
    assert ids[found].tolist() == straight[again].tolist()
    assert len(found) == ag.SAMPLE


def test_the_sample_has_finite_values_on_both_sides() -> None:
    stored = np.array([1.0, np.inf, 3.0, np.nan])
    found = ag.sample(np.arange(4), stored, np.array([1.5, 2.0, -np.inf, 0.0]))
    assert found.tolist() == [0]
    assert ag.pairs(stored[found], stored[found]) == [[1.0, 1.0]]


def test_the_largest_differences_come_first_and_ties_by_id() -> None:
    difference = np.array([0.0, -3.0, 2.0, 3.0, 0.0])
    found = ag.largest(np.array([5, 9, 1, 2, 3]), difference, 10)
    assert found.tolist() == [3, 1, 2]
    assert ag.largest(np.array([5, 9, 1, 2, 3]), difference, 1).tolist() == [3]


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), max_size=20))
def test_bits(pairs: list[tuple[int, int]]) -> None:
    a = np.array([p[0] for p in pairs], np.uint64)
    b = np.array([p[1] for p in pairs], np.uint64)
    assert ag.bits(a, b).tolist() == [(x ^ y).bit_count() for x, y in pairs]


def test_hashes_by_hand() -> None:
    stored = np.array([0, 0, 0, 0], np.uint64)
    again = np.array([0, 0b11, 2**8 - 1, 2**9 - 1], np.uint64)
    found = ag.hashes(stored, again)
    assert (found["rows"], found["equal"], found["same_picture"]) == (4, 0.25, 0.75)
    assert [found["distances"][d] for d in (0, 2, 8, 9)] == [1, 1, 1, 1]
    assert sum(found["distances"]) == 4
    assert found["largest_difference"] == 9


def test_drifts() -> None:
    distance = np.array([0, 8, 9, 16, 17, 64, 0])
    known = np.array([True] * 6 + [False])
    said = [ag.DRIFTS[i] for i in ag.drifts(distance, known)]
    assert said == ["same", "same", "drifted", "drifted", "replaced", "replaced", "unknown"]
