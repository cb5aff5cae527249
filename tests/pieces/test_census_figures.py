"""What a census reckons: shares, ratios and rates, and whether their intervals hold the truth."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.pieces.census_figures import (
    BLOCKS,
    HOSTS,
    by_host,
    by_quantile,
    share,
    to_a_picture,
    to_a_second,
)


def test_wilson_s_interval_as_published():
    # Newcombe, Two-sided confidence intervals for the single proportion, 1998, table I, method 3
    for count, of, low, high in [
        (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718),
    ]:  # fmt: skip
        found = share(count, of)
        assert (round(found.low, 4), round(found.high, 4)) == (low, high)
        assert found.value == count / of
    assert share(20, 20).high == 1.0
    assert share(0, 0).to_dict() == {"value": 0.0, "low": 0.0, "high": 1.0}


@given(st.integers(1, 10_000), st.data())
def test_a_share_lies_within_its_interval(of, data):
    count = data.draw(st.integers(0, of))
    found = share(count, of)
    assert 0 <= found.low <= found.value <= found.high <= 1


def held(draws: int, truth: float, sample) -> float:
    rng = np.random.default_rng(5)
    found = [sample(rng) for _ in range(draws)]
    return float(np.mean([each.low <= truth <= each.high for each in found]))


def test_95_of_100_intervals_hold_the_truth():
    assert 0.93 <= held(2_000, 0.3, lambda r: share(r.binomial(400, 0.3), 400)) <= 0.975

    def bytes_to_a_picture(rng):
        alive = rng.random(400) < 0.6
        body = rng.lognormal(0, 0.7, 400) * np.where(alive, 1.0, 0.1)  # failures cost bytes too
        return to_a_picture(body * 1e5, alive)

    each = math.exp(0.7**2 / 2) * 1e5
    truth = each * (0.6 + 0.4 * 0.1) / 0.6
    assert 0.92 <= held(2_000, truth, bytes_to_a_picture) <= 0.975

    def rate(rng):
        return to_a_second(np.sort(rng.random(rng.poisson(1_000)) * 10), [(0.0, 10.0)])[0]

    assert 0.92 <= held(1_000, 100.0, rate) <= 0.975


def test_without_a_picture_no_more_than_what_came():
    found = to_a_picture(np.array([10.0, 20.0]), np.zeros(2, bool))
    assert found.to_dict() == {"value": 0.0, "low": 0.0, "high": 30.0}


def test_time_between_two_runs_does_not_count():
    one = np.linspace(0.05, 9.95, 100)
    whole, seconds = to_a_second(one, [(0, 6), (5, 10)])
    assert seconds == 10
    assert whole.value == pytest.approx(10)
    assert whole.high - whole.low < 1e-6  # as many in each of the stretches
    later = np.where(one > 5, one + 1_000, one)
    assert to_a_second(later, [(0, 5), (1_005, 1_010)]) == (whole, seconds)
    uneven, _ = to_a_second(one[:50], [(0, 10)])
    assert uneven.value == pytest.approx(5)
    assert uneven.high - uneven.low > 4  # of BLOCKS, half are empty
    assert BLOCKS == 20
    assert to_a_second(np.empty(0), []) == (share(0, 0).times(share(0, 0)).__class__(0, 0, 0), 0.0)


def test_hosts_with_most_urls_and_what_fails_there():
    hosts = ["b.org"] * 3 + ["a.org"] * 3 + ["c.org"] + [f"{n}.net" for n in range(30)]
    errors = [None, "http_404", "http_404", "dns", "connect", None, *[None] * 31]
    found = by_host(hosts, errors)
    assert [(f.host, f.urls, f.worst) for f in found[:3]] == [
        ("a.org", 3, "connect"), ("b.org", 3, "http_404"), ("0.net", 1, None),
    ]  # fmt: skip
    assert found[1].alive.value == pytest.approx(1 / 3)
    assert len(found) == HOSTS


def test_tenths_by_value_and_ties_are_never_parted():
    values = np.arange(1_000) / 1_000
    cells = by_quantile(values, values >= 0.5)
    assert [cell.urls for cell in cells] == [100] * 10
    assert [cell.alive.value for cell in cells] == [0.0] * 5 + [1.0] * 5
    assert (cells[0].low, cells[0].high) == (0.0, 0.099)
    tied = by_quantile(np.array([0.0] * 60 + list(range(1, 41))), np.ones(100, bool))
    assert (tied[0].urls, tied[0].low, tied[0].high) == (60, 0.0, 0.0)
    assert sum(cell.urls for cell in tied) == 100


def test_urls_without_a_value_are_a_cell_of_their_own():
    cells = by_quantile(np.array([np.nan, 1.0, np.nan]), np.array([True, False, False]))
    assert [(c.low, c.urls, c.alive.value) for c in cells] == [(1.0, 1, 0.0), (None, 2, 0.5)]
    assert by_quantile(np.empty(0), np.empty(0, bool)) == ()


@given(st.lists(st.floats(0, 1) | st.just(math.nan), max_size=50))
def test_every_url_is_in_one_cell(values):
    cells = by_quantile(np.array(values, float), np.zeros(len(values), bool))
    assert sum(cell.urls for cell in cells) == len(values)
    known = [cell for cell in cells if cell.low is not None]
    assert all(a.high < b.low for a, b in itertools.pairwise(known))
