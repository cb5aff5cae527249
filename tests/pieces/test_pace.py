"""What is usual, and who is slow beside it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.pieces.pace import SLOW_FACTOR, Pace, mean_after


def paced(*answers: float, deadline_s: float = 10.0) -> Pace:
    pace = Pace(deadline_s)
    for each in answers:
        pace.add(each)
    return pace


def test_before_an_answer_nobody_is_slow():
    assert paced().usual_s == math.inf
    assert not paced().is_slow(9.0)
    assert not paced(0.1, 0.1).is_slow(None)


@given(st.lists(st.floats(0.002, 60), min_size=1, max_size=200))
def test_what_is_usual_is_the_lower_median_and_up_to_a_quarter_more(answers):
    median = sorted(answers)[(len(answers) - 1) // 2]
    assert median * 0.999 <= paced(*answers).usual_s <= median * 1.2501


def test_slow_is_both_much_slower_than_most_and_long_beside_the_deadline():
    pace = paced(*[0.1] * 5, 3.0)
    assert pace.is_slow(1.0)
    assert not pace.is_slow(0.9)  # less than a tenth of the deadline
    assert not paced(*[0.5] * 5).is_slow(1.9)
    assert paced(*[0.5] * 5).is_slow(0.5 * 1.25 * SLOW_FACTOR)


def test_most_answers_are_usual_whoever_gives_them():
    assert not paced(*[0.01] * 4, *[5.0] * 5).is_slow(5.0)


def test_answers_of_no_time_are_answers():
    assert paced(0.0, 0.0).usual_s == pytest.approx(0.001, rel=0.3)


def test_a_mean_follows_its_host():
    mean = None
    for took in [4.0] * 3 + [0.1] * 20:
        mean = mean_after(mean, took)
    assert mean == pytest.approx(0.1, abs=0.01)
