"""Counts of different values: exact up to the cap, HyperLogLog within its stated error beyond."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.pieces import distinct
from coyo_tools.pieces.distinct import Count, Distinct, Sketch


@given(st.lists(st.lists(st.integers(0, 50), max_size=40), max_size=10), st.integers(0, 60))
def test_few_values_are_counted(pieces, waiting):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distinct, "_WAITING_AT_MOST", waiting)
        found = Distinct()
        for piece in pieces:
            found.add(np.array(piece, np.uint64))
        assert found.count() == Count(len({v for piece in pieces for v in piece}), True, 0.0)
        assert found.count().to_dict()["method"] == "exact"


def test_the_same_rows_again_change_nothing_while_parts_are_counted():
    found = Distinct()
    found.add(np.arange(1000, dtype=np.uint64))
    assert found.count().values == 1000
    found.add(np.arange(500, 1500, dtype=np.uint64))
    assert found.count().values == 1500


@pytest.mark.parametrize("salt", range(4))
def test_beyond_the_cap_the_estimate_is_within_its_error(salt, monkeypatch):
    monkeypatch.setattr(distinct, "HELD_AT_MOST", 1_400_000)
    values = np.arange(3_000_000, dtype=np.uint64) + np.uint64(salt << 40)  # consecutive: mixed
    found = Distinct()
    for start in range(0, len(values), 500_000):
        found.add(values[start : start + 700_000])
    count = found.count()
    assert not count.exact
    assert count.standard_error == pytest.approx(0.00203, abs=1e-5)
    assert abs(count.values / len(values) - 1) < 3 * count.standard_error
    assert count.values != len(values)  # else the sketch was not what counted


def test_the_cap_is_of_different_values_not_of_rows(monkeypatch):
    monkeypatch.setattr(distinct, "HELD_AT_MOST", 1000)
    found = Distinct()
    for _ in range(20):
        found.add(np.arange(1000, dtype=np.uint64))
    assert found.count() == Count(1000, True, 0.0)


def test_neither_order_nor_threads_change_the_answer(monkeypatch):
    monkeypatch.setattr(distinct, "HELD_AT_MOST", 50_000)
    monkeypatch.setattr(distinct, "_WAITING_AT_MOST", 20_000)
    pieces = [np.arange(n * 900, n * 900 + 3000, dtype=np.uint64) for n in range(200)]
    counts = set()
    for order in (pieces, pieces[::-1]):
        found = Distinct()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(found.add, order))
        counts.add(found.count())
    assert len(counts) == 1


def test_a_hash_whose_low_bits_are_all_zero_has_the_longest_run():
    sketch = Sketch()
    sketch.add(np.array([0, 1, 1 << 46], np.uint64))
    assert sketch._registers[0] == 47
    assert sketch._registers[1] == 47
    assert sketch._registers.sum() == 94
