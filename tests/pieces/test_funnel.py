"""What the funnel counts, against a count row by row."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.pieces import selections
from coyo_tools.pieces.funnel import counting_unique_kills

rows = st.lists(st.tuples(*[st.sampled_from([True, False, None])] * 3), max_size=30)


@given(rows=rows, rules=st.integers(1, 3))
def test_a_unique_kill_is_a_row_that_one_rule_drops_and_all_others_keep(rows, rules):
    names = [f"p{n}" for n in range(3)]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.Boolean), orient="row")
    tests = [selections.Tests(pl.col(name), pl.col(name).is_null()) for name in names[:rules]]
    counted = frame.select(counting_unique_kills(tests)).row(0)
    dropped_by = [[n for n in range(rules) if not row[n]] for row in rows]
    assert list(counted) == [dropped_by.count([n]) for n in range(rules)]


def test_without_rules_there_is_nothing_to_count():
    assert counting_unique_kills([]) == []
