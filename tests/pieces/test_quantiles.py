"""Ranks against numpy's sort, whatever the type, the ties and the memory allowed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coyo_tools.pieces import quantiles
from coyo_tools.pieces.quantiles import Order, Tally, narrow, rank_of_share, window_over

TYPES = {"int": np.int64, "f32": np.float32, "f64": np.float64, "hash": np.uint64}
NUMBERS = {
    "int": st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-1, 0, 2**18 - 1, 2**18, 2**18 + 1]),
    "f32": st.floats(width=32, allow_nan=False) | st.sampled_from([0.0, -0.0, 0.3, 1e-45]),
    "f64": st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, 0.3, 5e-324]),
    "hash": st.integers(0, 2**64 - 1) | st.integers(0, 3),
}  # fmt: skip
columns = st.sampled_from(list(TYPES)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.lists(NUMBERS[kind], min_size=1, max_size=60))
)


def found_by(order: Order, values: np.ndarray[Any, Any], ranks: list[int]) -> list[Any]:
    tally = Tally(order)
    for piece in np.array_split(values, 3):
        tally.add(piece, nulls=1)
    assert (tally.values, tally.nulls) == (len(values), 3)
    searches = [tally.search(rank) for rank in ranks]

    def look(answers: Any) -> None:
        for piece in np.array_split(values, 2):
            for answer in answers:
                answer.add(order.keys(piece))

    narrow([(0, search) for search in searches], look)
    keys = np.sort(order.keys(values))
    for rank, search in zip(ranks, searches, strict=True):
        assert search.below == np.searchsorted(keys, keys[rank], side="left")
        assert search.count == np.count_nonzero(keys == keys[rank])
    return [order.value(search.lo) for search in searches]


@settings(max_examples=300, deadline=None)
@given(column=columns, held=st.sampled_from([0, 3, 10**6]))
def test_every_rank_is_the_sorted_value(column, held) -> None:
    kind, numbers = column
    values = np.array(numbers, TYPES[kind])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantiles, "HELD_AT_MOST", held)
        found = found_by(Order(kind), values, list(range(len(values))))
    assert found == np.sort(values).tolist()


@pytest.mark.parametrize("kind", ["f32", "int"])
def test_columns_of_few_values_need_one_pass(kind) -> None:
    values = np.random.default_rng(0).normal(0, 0.3, 10_000).astype(np.float16).astype(np.float32)
    if kind == "int":
        values = (values * 10_000).astype(np.int64)
    tally = Tally(Order(kind))
    tally.add(values)
    assert all(tally.search(rank).found for rank in range(0, 10_000, 100))
    assert tally.order.value(tally.greatest or 0) == values.max()
    assert tally.order.value(tally.least or 0) == values.min()


def test_one_value_of_full_precision_is_not_taken_for_its_bin() -> None:
    tally = Tally(Order("f32"))
    tally.add(np.array([-0.25, 0.5], np.float32))
    assert all(tally.search(rank).found for rank in (0, 1))
    tally.add(np.array([np.float32(0.1)]))
    assert not any(tally.search(rank).found for rank in range(3))


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_windows_cover_their_keys_and_stay_small(a: int, b: int) -> None:
    lo, hi = sorted((a, b))
    window = window_over(lo, hi)
    assert window.bins <= 2**quantiles.BIN_BITS + 1
    assert window.keys_of(1, 2**64 - 1)[0] == lo
    assert window.keys_of(window.bins, 2**64 - 1)[1] == hi


def test_several_searches_share_a_pass() -> None:
    order, passes = Order("f64"), []
    values = np.random.default_rng(0).normal(size=2000)
    tally = Tally(order)
    tally.add(values)
    searches = [(0, tally.search(rank_of_share(q, 2000))) for q in (1, 50, 99)]
    narrow(searches, lambda answers: passes.append([a.add(order.keys(values)) for a in answers]))
    assert len(passes) == 1
    wanted = np.quantile(values, [0.01, 0.5, 0.99], method="inverted_cdf").tolist()
    assert [order.value(search.lo) for _, search in searches] == wanted


@given(st.integers(1, 99), st.integers(1, 500))
def test_quantiles_are_numpys_inverted_cdf(hundredths: int, count: int) -> None:
    # numpy multiplies in floats, which for 0.07 * 100 and its like is a little too much.
    rank = rank_of_share(hundredths, count)
    assert (rank + 1) * 100 >= hundredths * count
    assert rank == 0 or rank * 100 < hundredths * count
