"""Estimates from a sample of files: coverage by simulation, bounds that never contradict."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.pieces import clusters
from coyo_tools.pieces.clusters import Clusters, Estimate, drawn


def coverage(shares: np.ndarray, rows: np.ndarray, n: int, draws: int) -> float:
    """How often the interval of a sample of n files holds the truth."""
    rng = np.random.default_rng(1)
    kept = rng.binomial(rows, shares)
    held = 0
    for _ in range(draws):
        chosen = rng.choice(len(rows), n, replace=False)
        sample = Clusters(rows[chosen].tolist(), len(rows), int(rows.sum()))
        estimate = sample.rows_like(kept[chosen].tolist())
        held += estimate.low <= kept.sum() <= estimate.high
    return held / draws


@pytest.mark.parametrize("n", [3, 8, 32, 96])
def test_the_interval_holds_the_truth_in_95_of_100_samples_where_files_differ(n):
    rng = np.random.default_rng(7)
    rows = rng.integers(500, 1500, 128)
    assert 0.93 <= coverage(rng.beta(20, 60, 128), rows, n, 2000) <= 0.985


@pytest.mark.parametrize("share", [0.3, 0.002])
def test_and_at_least_as_often_where_files_are_alike(share):
    rows = np.full(128, 1000)
    assert coverage(np.full(128, share), rows, 5, 1000) >= 0.93


def test_large_and_small_files_weigh_as_they_should():
    rng = np.random.default_rng(3)
    rows = np.where(np.arange(64) % 2, 100, 10_000)
    shares = np.clip(rng.normal(np.where(np.arange(64) % 2, 0.9, 0.2), 0.05), 0, 1)
    assert 0.88 <= coverage(shares, rows, 16, 1000) <= 0.985


def test_sums_are_held_too():
    rng = np.random.default_rng(5)
    rows = rng.integers(500, 1500, 100)
    pixels = rows * rng.normal(1e5, 1e4, 100)
    held = 0
    for _ in range(1000):
        chosen = rng.choice(100, 8, replace=False)
        found = Clusters(rows[chosen].tolist(), 100, int(rows.sum())).total_like(pixels[chosen])
        held += found.low <= pixels.sum() <= found.high
    assert 0.92 <= held / 1000 <= 0.98


@given(
    files=st.lists(st.tuples(st.integers(1, 1000), st.floats(0, 1)), min_size=1, max_size=12),
    others=st.integers(0, 5),
    more=st.integers(1, 5000),
)
def test_no_bound_contradicts_what_was_seen(files, others, more):
    rows = [m for m, _ in files]
    seen = [int(m * share) for m, share in files]
    everything = sum(rows) + (more if others else 0)
    found = Clusters(rows, len(rows) + others, everything).rows_like(seen)
    assert found.low <= found.value <= found.high or math.isclose(found.low, found.value)
    assert sum(seen) <= found.low <= everything - (sum(rows) - sum(seen))
    assert found.high <= everything - (sum(rows) - sum(seen))
    assert found.exact or others


def test_all_files_are_no_estimate():
    assert Clusters([10, 20], 2, 30).rows_like([1, 2]) == Estimate(3, 3, 3)
    assert Clusters([10, 20], 2, 30).total_like([1.5, 2]) == Estimate.exactly(3.5)


def test_one_file_alone_bounds_nothing_but_what_was_seen():
    one = Clusters([100], 10, 1000)
    assert one.rows_like([30]) == Estimate(300, 30, 930)
    assert one.total_like([5.0]) == Estimate(50, 5, math.inf)


def test_a_count_of_none_does_not_look_certain():
    found = Clusters([1000] * 4, 100, 100_000).rows_like([0] * 4)
    assert (found.value, found.low) == (0, 0)
    assert 75 < found.high < 1000  # a share of three in the rows seen would be 75


def test_files_without_rows():
    assert Clusters([0, 0], 3, 10).rows_like([0, 0]) == Estimate(0, 0, 10)
    assert Clusters([], 0, 0).rows_like([]) == Estimate.exactly(0)


@pytest.mark.parametrize(
    ("degrees", "t"),
    [(0, 12.706), (1, 12.706), (2, 4.303), (5, 2.571), (6, 2.447), (7, 2.365), (10, 2.228),
     (30, 2.042), (120, 1.980), (10**6, 1.960)],
)  # fmt: skip
def test_students_t_is_that_of_the_tables(degrees, t):
    assert clusters._t(degrees) == pytest.approx(t, abs=2e-3)


def test_files_are_drawn_by_their_names_alone():
    names = [f"part-{n:05d}.parquet" for n in range(128)]
    chosen = drawn(names, 16)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 16
    assert chosen != list(range(16))
    assert set(drawn(names, 8)) < set(chosen)
    shuffled = names[::-1]
    assert {shuffled[n] for n in drawn(shuffled, 16)} == {names[n] for n in chosen}
    assert drawn(names, 500) == list(range(128))


def test_each_file_is_drawn_about_as_often_as_any_other():
    times = np.zeros(20)
    for release in range(2000):
        times[drawn([f"{release}-{n}" for n in range(20)], 5)] += 1
    assert abs(times - 500).max() < 5 * math.sqrt(2000 * 0.25 * 0.75)


def test_products_and_quotients_add_relative_errors_in_squares():
    a, b = Estimate(100, 100 / 1.1, 110), Estimate(2, 2 / 1.2, 2.4)
    both = a.times(b)
    assert both.value == 200
    assert math.log(both.high / 200) == pytest.approx(math.hypot(math.log(1.1), math.log(1.2)))
    assert math.log(200 / both.low) == pytest.approx(math.hypot(math.log(1.1), math.log(1.2)))
    assert a.times(Estimate.exactly(3)).high == pytest.approx(330)
    assert Estimate(4, 2, 8).inverse() == Estimate(0.25, 0.125, 0.5)
    assert Estimate(4, 0, 8).inverse().high == math.inf
    assert Estimate(0, 0, 0.5).times(a) == Estimate(0, 0, 55)
    assert Estimate(5, 0, 6).times(a).low == 0
