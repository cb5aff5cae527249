from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.pieces.report.histograms import (
    QUANTILES,
    histogram,
    is_numeric,
    numbers,
    pick_row_groups,
    sample,
    summarize,
)
from coyo_tools.pieces.source import find

VALUES = st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=200)
WHOLE = st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=200)


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 500))
def test_row_groups_are_picked_within_the_limit(sizes: list[int], most: int) -> None:
    picked = pick_row_groups(sizes, most)
    assert picked == sorted(set(picked))
    total = sum(sizes[i] for i in picked)
    assert total <= most or len(picked) == 1
    assert total == sum(sizes) or sum(sizes) > most
    assert bool(picked) == bool(sum(sizes))


def test_picked_row_groups_are_spread_evenly() -> None:
    picked = pick_row_groups([10] * 100, 100)
    assert len(picked) == 10
    gaps = np.diff(picked)
    assert gaps.min() >= 9
    assert gaps.max() <= 11


@given(VALUES)
def test_quantiles_are_values_that_reach_their_share(values: list[float]) -> None:
    array = np.array(values, np.float32)
    found = summarize(array).quantiles
    for share, quantile in zip(QUANTILES, found, strict=True):
        assert quantile in array.astype(float)
        assert np.count_nonzero(array <= quantile) >= share * len(array) - 1e-9


def test_a_summary_counts_nulls_and_leaves_infinities_out_of_the_mean() -> None:
    found = summarize(np.array([1.0, 3.0, np.inf]), nulls=2)
    assert (found.rows, found.nulls, found.mean, found.maximum) == (5, 2, 2.0, np.inf)
    empty = summarize(np.empty(0), nulls=4)
    assert (empty.rows, empty.mean, empty.quantiles) == (4, None, (None,) * 5)


@given(VALUES, VALUES)
def test_heights_and_what_lies_beyond_are_all_of_it(a: list[float], b: list[float]) -> None:
    sides = [np.array(a, np.float32), np.array(b, np.float32)]
    found = histogram(sides)
    if found is None:
        assert not np.isfinite(np.concatenate(sides)).any()
        return
    assert list(found.edges) == sorted(set(found.edges))
    for i in range(2):
        whole = sum(found.heights[i]) + found.below[i] + found.above[i]
        assert whole == pytest.approx(1)


@given(WHOLE)
def test_bins_of_whole_numbers_lie_between_them(values: list[int]) -> None:
    found = histogram([np.array(values, np.int32)])
    assert found is not None
    assert found.whole
    assert all(edge % 1 == 0.5 for edge in found.edges)
    assert sum(found.heights[0]) + found.below[0] + found.above[0] == pytest.approx(1)


def test_a_long_tail_does_not_squeeze_the_rest() -> None:
    found = histogram([np.array([*range(200, 1200), 21449], np.int32)])
    assert found is not None
    assert found.edges[-1] < 3000
    assert found.above[0] == pytest.approx(1 / 1001)


def test_a_bound_near_the_values_is_in_sight_and_a_far_one_is_not() -> None:
    values = [np.linspace(0.3, 0.5, 1000, dtype=np.float32)]
    near, far = histogram(values, [0.25]), histogram(values, [-5.0])
    assert near is not None
    assert far is not None
    assert near.edges[0] <= 0.25
    assert far.edges[0] == pytest.approx(0.3, abs=0.01)


def test_one_value_and_none() -> None:
    assert histogram([np.empty(0), np.array([np.inf])]) is None
    found = histogram([np.array([0.5, 0.5])])
    assert found is not None
    assert sum(found.heights[0]) == 1


def test_null_and_nan_are_counted_together() -> None:
    values, missing = numbers(pa.chunked_array([[1.0, None], [float("nan"), -0.0]]))
    assert (values.tolist(), missing) == ([1.0, 0.0], 2)


def test_numeric_types() -> None:
    assert all(is_numeric(dtype) for dtype in ("int32", "uint8", "double", "float", "halffloat"))
    assert not any(is_numeric(dtype) for dtype in ("string", "bool", "list<item: int64>"))


def test_a_sample_reads_whole_row_groups_of_every_part(tmp_path: Path) -> None:
    for part in range(4):
        rows = pa.table({"id": range(100), "num_faces": pa.array([part] * 100, pa.int32())})
        pq.write_table(rows, tmp_path / f"{part}.parquet", row_group_size=10)
    parts = find(tmp_path).open_all()
    some = sample(parts, ["num_faces"], 80)
    assert (some.rows, some.rows_read, some.whole) == (400, 80, False)
    assert np.bincount(some.columns["num_faces"]).tolist() == [20, 20, 20, 20]
    assert sample(parts, ["num_faces"], 400).whole


def test_a_column_that_one_part_lacks_is_read_from_the_others(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2], "b": [5.0, 6.0]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"a": [3]}), tmp_path / "1.parquet")
    read = sample(find(tmp_path).open_all(), ["a", "b"], 100)
    assert read.columns["a"].tolist() == [1, 2, 3]
    assert read.columns["b"].tolist() == [5.0, 6.0]
